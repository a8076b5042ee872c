//! Files and buckets.

use super::*;
use crate::store::key::{AttributesKey, CurrentKey, CurrentRow, InlineKey, InlineRow, ManifestKey, ManifestRow};
use crate::store::key::{Body, EMBEDDED_ENTRIES_MAX, HoldersKey};
use cairn_common::limits::{INLINE_MAX_BYTES, LIST_MAX_KEYS, READ_GRACE_MS};
use cairn_common::wire::command::{CopyFile, Deleted};
use std::collections::BTreeMap;

fn current_in(world: &World, bucket: &str, key: &str) -> Option<(CurrentRow, Attributes)> {
    let bucket = world.view().row(&BucketKey(&name(bucket))).unwrap().unwrap().id;
    let key = CurrentKey { bucket, key };
    let row = world.view().row(&key).unwrap()?;
    Some((row, world.view().row(&AttributesKey(key)).unwrap().unwrap_or_default()))
}

fn current(world: &World, key: &str) -> Option<CurrentRow> {
    current_in(world, "one", key).map(|(row, _)| row)
}

fn inline_of(world: &World, key: &str) -> InlineRow {
    let Body::Inline(id) = current(world, key).unwrap().body else { panic!("{key} is not inline") };
    world.view().row(&InlineKey(id)).unwrap().unwrap()
}

fn manifest_of(world: &World, key: &str) -> ManifestRow {
    let Body::Manifest(id) = current(world, key).unwrap().body else { panic!("{key} has no manifest") };
    world.view().row(&ManifestKey(id)).unwrap().unwrap()
}

/// Who holds the bytes of a file.
fn holders(world: &World, key: &str) -> u64 {
    let holders = match current(world, key).unwrap().body {
        Body::Empty => return 0,
        Body::Inline(id) => HoldersKey::Inline(id),
        Body::Manifest(id) => HoldersKey::Manifest(id),
    };
    world.view().row(&holders).unwrap().unwrap_or(0) + 1
}

fn typed(content_type: &str) -> Attributes {
    Attributes { content_type: Some(content_type.to_owned()), ..Attributes::default() }
}

fn copy(from: &str, to: &str) -> CopyFile {
    let (from_condition, condition) = (Condition::default(), Condition::default());
    CopyFile { from: path(from), from_version: None, from_condition, to: path(to), condition, attributes: None }
}

fn run_copy(world: &mut World, copy: CopyFile) -> Outcome {
    world.run(Command::CopyFile(Box::new(copy)))
}

fn rename(from: &str, to: &str) -> Command {
    let (from_condition, condition) = (Condition::default(), Condition::default());
    Command::RenameFile { from: path(from), to: Key::new(to).unwrap(), from_condition, condition }
}

#[test]
fn a_small_file_keeps_its_bytes_and_their_hash() {
    let mut world = World::new();
    let committed = world.put_inline("k", b"hello");
    let row = inline_of(&world, "k");
    assert_eq!((row.bytes.as_ref(), row.hash), (&b"hello"[..], *blake3::hash(b"hello").as_bytes()));
    assert_eq!(committed.replicas_durable, 2, "two of three masters hold the log entry");
    assert!(!committed.replaced);
    assert_eq!(world.usage(), Usage { files: 1, bytes: 5, ..Usage::default() });
}

#[test]
fn inline_bytes_have_a_limit_and_must_be_what_is_stated() {
    let mut world = World::new();
    let most: &'static [u8] = vec![7; INLINE_MAX_BYTES as usize].leak();
    assert!(world.put(inline("k", most)).is_ok());
    let more: &'static [u8] = vec![7; INLINE_MAX_BYTES as usize + 1].leak();
    let length = more.len() as u64;
    assert_eq!(world.put(inline("l", more)), Err(Refusal::InlineTooLarge { length }));
    let wrong = CommitFile { content: NewContent::Inline(Bytes::from_static(b"hellp")), ..inline("l", b"hello") };
    assert_eq!(world.put(wrong), Err(Refusal::RootMismatch));
}

#[test]
fn an_empty_file_is_the_same_however_it_comes() {
    let mut world = World::new();
    let first = world.put_inline("inline", b"");
    let new = world.chunks(None, &[]);
    let second = world.put(of_chunks("chunks", new)).unwrap();
    assert_eq!(first.tags, second.tags);
    for key in ["inline", "chunks"] {
        assert_eq!(current(&world, key).unwrap().body, Body::Empty);
    }
    assert_eq!(second.replicas_durable, 2);
    assert_eq!(world.usage(), Usage { files: 2, ..Usage::default() });
}

#[test]
fn the_root_of_a_file_does_not_depend_on_where_it_is_kept() {
    let mut world = World::new();
    let inline = world.put_inline("inline", b"hello");
    let chunk = Entry::chunk(ChunkAddress::of(Domain(1), b"hello"), 5);
    let new = world.chunks(None, &[chunk]);
    assert_eq!(world.put(of_chunks("chunk", new)).unwrap().tags.root, inline.tags.root);
}

#[test]
fn many_entries_go_into_a_segment_and_few_stay_with_their_manifest() {
    let mut world = World::new();
    let few: Vec<u64> = (0..EMBEDDED_ENTRIES_MAX as u64).collect();
    world.put_chunks("few", &few);
    assert_eq!(manifest_of(&world, "few").embedded.len(), few.len());
    let many: Vec<u64> = (0..=EMBEDDED_ENTRIES_MAX as u64).collect();
    world.put_chunks("many", &many);
    assert_eq!(manifest_of(&world, "many").embedded, []);
}

#[test]
fn an_overwritten_version_lets_go_of_what_it_had() {
    let mut world = World::new();
    world.put_chunks("k", &[1, 2]);
    let committed = world.put_chunks("k", &[2, 3]);
    assert!(committed.replaced);
    assert_eq!(world.usage(), Usage { files: 1, bytes: 2005, ..Usage::default() });
    assert_eq!((world.releasing(), world.references(1)), (1, 1), "whoever reads it may come to the end");
    world.wait_ms(READ_GRACE_MS - 1000);
    world.release();
    assert_eq!(world.references(1), 1);
    world.wait_ms(1000);
    world.release();
    assert_eq!((world.references(1), world.references(2), world.references(3)), (0, 1, 1));
    assert_eq!(world.releasing(), 0);
}

#[test]
fn attributes_come_and_go_with_their_version() {
    let mut world = World::new();
    let attributes = typed("text/plain");
    world.put(CommitFile { attributes: attributes.clone(), ..inline("k", b"1") }).unwrap();
    assert_eq!(current_in(&world, "one", "k").unwrap().1, attributes);
    world.put_inline("k", b"2");
    assert_eq!(current_in(&world, "one", "k").unwrap().1, Attributes::default());
    let user = BTreeMap::from([("k".to_owned(), "v".repeat(5000))]);
    let large = CommitFile { attributes: Attributes { user, ..Attributes::default() }, ..inline("k", b"3") };
    assert!(matches!(world.put(large), Err(Refusal::BadAttributes(_))));
}

#[test]
fn conditions_are_judged_against_what_is_replaced() {
    let mut world = World::new();
    let failed = Err(Refusal::ConditionFailed { path: path("k") });
    let absent = CommitFile { condition: if_absent(), ..inline("k", b"1") };
    let first = world.put(absent.clone()).unwrap();
    assert_eq!(world.put(absent), failed);
    let matching = CommitFile { condition: if_match(&first.tags.native()), ..inline("k", b"2") };
    assert!(world.put(matching.clone()).is_ok());
    assert_eq!(world.put(matching), failed, "it matched the version before");
    let nothing = CommitFile { condition: if_match("x"), ..inline("l", b"2") };
    assert_eq!(world.put(nothing), Err(Refusal::ConditionFailed { path: path("l") }));
}

#[test]
fn there_is_no_file_without_its_bucket() {
    let mut world = World::new();
    let mut commit = inline("k", b"1");
    commit.path.bucket = name("two");
    assert_eq!(world.put(commit), Err(Refusal::NoSuchBucket(name("two"))));
}

#[test]
fn files_are_removed_each_by_itself() {
    let mut world = World::new();
    world.put_inline("a", b"1");
    world.put_chunks("b", &[1]);
    world.put(CommitFile { attributes: typed("x"), ..inline("c", b"1") }).unwrap();
    let key = |key: &str, condition| (Key::new(key).unwrap(), condition);
    let files = vec![
        key("a", Condition::default()),
        key("b", if_match("other")),
        key("c", Condition::default()),
        key("d", if_match("any")),
        key("a", Condition::default()),
    ];
    let deleted = world.run(Command::DeleteFiles { bucket: name("one"), files });
    use Deleted::{Absent, ConditionFailed, Removed};
    assert_eq!(deleted, Ok(Done::Deleted(vec![Removed, ConditionFailed, Removed, Absent, Absent])));
    assert_eq!(world.usage(), Usage { files: 1, bytes: 1001, ..Usage::default() });
    let many = vec![key("a", Condition::default()); LIST_MAX_KEYS as usize + 1];
    let refused = world.run(Command::DeleteFiles { bucket: name("one"), files: many });
    assert!(matches!(refused, Err(Refusal::Unsupported(_))));
}

#[test]
fn a_copy_shares_the_bytes_of_its_source() {
    let mut world = World::new();
    world.put(CommitFile { attributes: typed("x"), ..inline("small", b"hello") }).unwrap();
    world.put_chunks("large", &[1, 2]);
    for (from, to) in [("small", "small copy"), ("large", "large copy")] {
        let Ok(Done::Committed(committed)) = run_copy(&mut world, copy(from, to)) else { panic!() };
        assert_eq!(current(&world, to).unwrap().body, current(&world, from).unwrap().body);
        assert_eq!(committed.tags, current(&world, from).unwrap().tags);
        assert!(committed.stamp > current(&world, from).unwrap().stamp);
        assert!(committed.replicas_durable >= 2);
    }
    assert_eq!((holders(&world, "small"), holders(&world, "large")), (2, 2));
    assert_eq!(world.references(1), 1, "a copy costs one row, whatever the size");
    assert_eq!(current_in(&world, "one", "small copy").unwrap().1, typed("x"));
    world.delete("small").unwrap();
    world.delete("large").unwrap();
    world.wait_ms(READ_GRACE_MS);
    world.release();
    assert_eq!(inline_of(&world, "small copy").bytes, Bytes::from_static(b"hello"));
    assert_eq!((holders(&world, "large copy"), world.references(1)), (1, 1));
    world.delete("large copy").unwrap();
    world.wait_ms(READ_GRACE_MS);
    world.release();
    assert_eq!(world.references(1), 0);
}

#[test]
fn a_file_copied_onto_itself_keeps_its_bytes() {
    let mut world = World::new();
    world.put_inline("small", b"hello");
    world.put_chunks("large", &[1, 2]);
    for key in ["small", "large"] {
        let copy = CopyFile { attributes: Some(typed("new")), ..copy(key, key) };
        assert!(matches!(run_copy(&mut world, copy), Ok(Done::Committed(Committed { replaced: true, .. }))));
        assert_eq!(current_in(&world, "one", key).unwrap().1, typed("new"));
    }
    world.wait_ms(READ_GRACE_MS);
    world.release();
    assert_eq!((holders(&world, "small"), holders(&world, "large")), (1, 1));
    assert_eq!((world.references(1), world.releasing()), (1, 0));
}

#[test]
fn copies_obey_conditions_on_both_ends() {
    let mut world = World::new();
    world.put_inline("a", b"1");
    world.put_inline("b", b"2");
    let source = CopyFile { from_condition: if_match("other"), ..copy("a", "c") };
    assert_eq!(run_copy(&mut world, source), Err(Refusal::ConditionFailed { path: path("a") }));
    let target = CopyFile { condition: if_absent(), ..copy("a", "b") };
    assert_eq!(run_copy(&mut world, target), Err(Refusal::ConditionFailed { path: path("b") }));
    assert_eq!(run_copy(&mut world, copy("x", "y")), Err(Refusal::NoSuchFile(path("x"))));
}

#[test]
fn bytes_never_cross_into_another_domain_by_reference() {
    let mut world = World::new();
    world.put_chunks("a", &[1]);
    let tenant = TenantId(2);
    world.run(Command::CreateBucket { name: name("other"), tenant, replicas: None, lock: false }).unwrap();
    let mut foreign = copy("a", "b");
    foreign.to.bucket = name("other");
    assert_eq!(run_copy(&mut world, foreign), Err(Refusal::WrongDomain));
}

#[test]
fn a_rename_moves_all_of_a_file() {
    let mut world = World::new();
    world.put(CommitFile { attributes: typed("x"), ..inline("a", b"hello") }).unwrap();
    world.put_chunks("b", &[1]);
    let before = current(&world, "a").unwrap();
    let Ok(Done::Committed(committed)) = world.run(rename("a", "b")) else { panic!() };
    assert!(committed.replaced && committed.tags == before.tags);
    assert_eq!(current(&world, "a"), None);
    let (row, attributes) = current_in(&world, "one", "b").unwrap();
    assert_eq!((row.body, attributes), (before.body, typed("x")));
    assert_eq!(holders(&world, "b"), 1);
    assert_eq!(world.usage(), Usage { files: 1, bytes: 5, ..Usage::default() });
    assert_eq!(world.run(rename("a", "c")), Err(Refusal::NoSuchFile(path("a"))));
}

#[test]
fn a_rename_onto_itself_changes_nothing() {
    let mut world = World::new();
    let first = world.put_chunks("a", &[1]);
    let Ok(Done::Committed(committed)) = world.run(rename("a", "a")) else { panic!() };
    assert_eq!(committed, Committed { replaced: false, ..first });
    assert_eq!((holders(&world, "a"), world.releasing()), (1, 0));
}

#[test]
fn a_rename_obeys_conditions_on_both_ends() {
    let mut world = World::new();
    world.put_inline("a", b"1");
    world.put_inline("b", b"2");
    let (from, to) = (path("a"), Key::new("b").unwrap());
    let command = |from_condition, condition| Command::RenameFile {
        from: from.clone(),
        to: to.clone(),
        from_condition,
        condition,
    };
    let refused = world.run(command(if_match("x"), Condition::default()));
    assert_eq!(refused, Err(Refusal::ConditionFailed { path: path("a") }));
    let refused = world.run(command(Condition::default(), if_absent()));
    assert_eq!(refused, Err(Refusal::ConditionFailed { path: path("b") }));
    assert!(world.run(command(Condition::default(), Condition::default())).is_ok());
}

#[test]
fn a_bucket_goes_only_when_it_is_empty_and_its_number_is_never_used_again() {
    let mut world = World::new();
    let first = world.view().row(&BucketKey(&name("one"))).unwrap().unwrap().id;
    world.put_inline("k", b"1");
    let delete = Command::DeleteBucket { name: name("one") };
    assert_eq!(world.run(delete.clone()), Err(Refusal::BucketNotEmpty(name("one"))));
    world.delete("k").unwrap();
    assert_eq!(world.run(delete.clone()), Ok(Done::Nothing));
    assert_eq!(world.run(delete), Err(Refusal::NoSuchBucket(name("one"))));
    world.bucket("one");
    assert_ne!(world.view().row(&BucketKey(&name("one"))).unwrap().unwrap().id, first);
}

#[test]
fn bucket_names_are_taken_once_and_say_by_whom() {
    let mut world = World::new();
    let create = |tenant, replicas| Command::CreateBucket { name: name("one"), tenant, replicas, lock: false };
    let taken = |same_tenant| Err(Refusal::BucketExists { name: name("one"), same_tenant });
    assert_eq!(world.run(create(TenantId::FIRST, None)), taken(true));
    assert_eq!(world.run(create(TenantId(2), None)), taken(false));
    for replicas in [0, 10] {
        let name = name("two");
        let refused =
            world.run(Command::CreateBucket { name, tenant: TenantId(2), replicas: Some(replicas), lock: false });
        assert!(matches!(refused, Err(Refusal::Invalid(_))));
    }
}

#[test]
fn buckets_of_a_tenant_are_bounded() {
    let mut world = World::new();
    use crate::store::key::{Record, RowKey, TenantKey, TenantRow};
    let mut batch = crate::store::WriteBatch::new();
    let full = TenantRow { buckets: cairn_common::limits::BUCKETS_MAX };
    batch.put(TenantKey::TABLE, TenantKey(TenantId(2)).encode(), full.to_bytes(&mut Vec::new()));
    world.store.write(&batch, &world.store.applied().unwrap()).unwrap();
    let create = Command::CreateBucket { name: name("two"), tenant: TenantId(2), replicas: None, lock: false };
    assert_eq!(world.run(create), Err(Refusal::TooManyBuckets));
}
