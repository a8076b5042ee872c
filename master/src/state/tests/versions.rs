//! Versioning and Object Lock: by cases, and random commands against a reference model.

use super::{World, if_match, inline, name, path};
use crate::query;
use crate::store::key::ReferenceKey;
use cairn_common::bucket::BucketChange;
use cairn_common::file::{Attributes, Condition, TagCondition};
use cairn_common::ids::{Stamp, UploadId};
use cairn_common::name::Key;
use cairn_common::version::{
    DefaultRetention, Lock, LockChange, ObjectLock, Period, Retention, RetentionMode, VersionId, Versioning,
};
use cairn_common::wire::command::{
    Command, CommitFile, CompleteMultipart, CopyFile, Deleted, Done, MultipartRef, Outcome, Refusal,
};
use cairn_common::wire::master::{Found, ListAfter, ListRequest, ListVersions, Usage, Version};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn set(world: &mut World, versioning: Versioning) -> Outcome {
    let change = BucketChange { versioning: Some(versioning), ..BucketChange::default() };
    world.run(Command::SetBucket { name: name("one"), change })
}

fn enabled() -> World {
    let mut world = World::new();
    set(&mut world, Versioning::Enabled).unwrap();
    world
}

fn lockable() -> World {
    let mut world = enabled();
    set_lock(&mut world, None).unwrap();
    world
}

fn set_lock(world: &mut World, default: Option<DefaultRetention>) -> Outcome {
    let change = BucketChange { lock: Some(ObjectLock { default }), ..BucketChange::default() };
    world.run(Command::SetBucket { name: name("one"), change })
}

fn remove(world: &mut World, key: &str, version: VersionId, bypass: bool) -> Deleted {
    let versions = vec![(Key::new(key).unwrap(), version, Condition::default())];
    match world.run(Command::DeleteVersions { bucket: name("one"), versions, bypass }) {
        Ok(Done::Deleted(deleted)) => deleted[0],
        other => panic!("{other:?}"),
    }
}

fn hide(world: &mut World, key: &str) -> Deleted {
    match world.delete(key) {
        Ok(Done::Deleted(deleted)) => deleted[0],
        other => panic!("{other:?}"),
    }
}

fn body(world: &World, key: &str, version: Option<VersionId>) -> Result<u64, Refusal> {
    match query::stat(world.view(), &path(key), version, &Condition::default()) {
        Ok(Found::Here(info)) => Ok(info.length),
        Ok(Found::NotModified(_)) => panic!("nothing was asked"),
        Err(query::QueryError::Refused(refusal)) => Err(refusal),
        Err(other) => panic!("{other}"),
    }
}

fn labelled(world: &World, key: &str, version: VersionId) -> bool {
    match query::stat(world.view(), &path(key), Some(version), &Condition::default()) {
        Ok(Found::Here(info)) => !info.attributes.tags.is_empty(),
        _ => false,
    }
}

/// All versions of bucket `one`, in pages of `limit`.
fn versions(world: &World, limit: u32) -> Vec<Version> {
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let request = ListVersions { bucket: name("one"), prefix: String::new(), delimiter: None, after, limit };
        let page = query::versions(world.view(), &request).unwrap();
        assert!(page.versions.len() <= limit as usize);
        all.extend(page.versions);
        match page.next {
            None => return all,
            next => after = next,
        }
    }
}

fn at(world: &mut World, key: &str, body: &'static [u8]) -> VersionId {
    world.put_inline(key, body).version.expect("the bucket keeps versions")
}

#[test]
fn an_overwritten_and_a_removed_version_are_kept_and_come_back() {
    let mut world = enabled();
    let (first, second) = (at(&mut world, "k", b"1"), at(&mut world, "k", b"22"));
    assert_eq!(world.usage(), Usage { files: 1, bytes: 2, versions: 1, version_bytes: 1, ..Usage::default() });
    assert_eq!((body(&world, "k", None), body(&world, "k", Some(first))), (Ok(2), Ok(1)));
    let Deleted::Marked(mark) = hide(&mut world, "k") else { panic!("no mark") };
    assert_eq!(world.usage(), Usage { versions: 3, version_bytes: 3, ..Usage::default() });
    assert_eq!(body(&world, "k", None), Err(Refusal::FileRemoved { path: path("k"), mark }));
    assert_eq!(body(&world, "k", Some(second)), Ok(2));
    assert_eq!(body(&world, "k", Some(mark)), Err(Refusal::RemovalMark { path: path("k"), version: mark }));
    assert_eq!(remove(&mut world, "k", mark, false), Deleted::MarkRemoved);
    assert_eq!(body(&world, "k", None), Ok(2));
    assert_eq!(remove(&mut world, "k", second, false), Deleted::Removed);
    assert_eq!(body(&world, "k", None), Ok(1));
    assert_eq!(remove(&mut world, "k", second, false), Deleted::Absent);
    assert_eq!(remove(&mut world, "k", first, false), Deleted::Removed);
    assert_eq!((world.usage(), versions(&world, 10)), (Usage::default(), Vec::new()));
}

#[test]
fn what_was_there_before_versioning_is_the_null_version_and_suspended_versions_replace_each_other() {
    let mut world = World::new();
    assert_eq!(world.put_inline("k", b"old").version, None);
    set(&mut world, Versioning::Enabled).unwrap();
    let named = at(&mut world, "k", b"1");
    assert_eq!(body(&world, "k", Some(VersionId::Null)), Ok(3));
    set(&mut world, Versioning::Suspended).unwrap();
    assert_eq!(at(&mut world, "k", b"four"), VersionId::Null);
    assert_eq!(world.usage(), Usage { files: 1, bytes: 4, versions: 1, version_bytes: 1, ..Usage::default() });
    assert_eq!((body(&world, "k", Some(VersionId::Null)), body(&world, "k", Some(named))), (Ok(4), Ok(1)));
    assert_eq!(hide(&mut world, "k"), Deleted::Marked(VersionId::Null));
    assert_eq!(versions(&world, 1).len(), 2);
    assert_eq!(hide(&mut world, "k"), Deleted::Marked(VersionId::Null));
    assert_eq!(versions(&world, 1).len(), 2);
    assert_eq!(remove(&mut world, "k", VersionId::Null, false), Deleted::MarkRemoved);
    assert_eq!(body(&world, "k", None), Ok(1));
    let off = set(&mut world, Versioning::Off);
    assert!(matches!(off, Err(Refusal::Invalid(_))), "{off:?}");
}

#[test]
fn a_removal_is_marked_where_nothing_was_and_once_for_a_key_that_a_batch_names_twice() {
    let mut world = enabled();
    let Deleted::Marked(mark) = hide(&mut world, "k") else { panic!("no mark") };
    assert_eq!(versions(&world, 10).len(), 1);
    assert_eq!(remove(&mut world, "k", mark, false), Deleted::MarkRemoved);
    world.put_inline("k", b"1");
    let twice = vec![(Key::new("k").unwrap(), Condition::default()); 2];
    let Ok(Done::Deleted(deleted)) = world.run(Command::DeleteFiles { bucket: name("one"), files: twice }) else {
        panic!("not removed")
    };
    assert_eq!(deleted[0], deleted[1]);
    assert_eq!(world.usage().versions, 2);
    // A condition on what is not there marks nothing.
    let files = vec![(Key::new("absent").unwrap(), if_match("x"))];
    let outcome = world.run(Command::DeleteFiles { bucket: name("one"), files });
    assert_eq!(outcome, Ok(Done::Deleted(vec![Deleted::Absent])));
}

#[test]
fn conditions_are_judged_on_the_version_that_is_removed_and_a_mark_fulfils_only_that_it_is_there() {
    let mut world = enabled();
    let first = world.put_inline("k", b"1");
    world.put_inline("k", b"22");
    let mut remove_if = |version: VersionId, condition: Condition| {
        let versions = vec![(Key::new("k").unwrap(), version, condition)];
        let Ok(Done::Deleted(deleted)) =
            world.run(Command::DeleteVersions { bucket: name("one"), versions, bypass: false })
        else {
            panic!("not answered")
        };
        deleted[0]
    };
    let size = |size| Condition { size: Some(size), ..Condition::default() };
    let version = first.version.unwrap();
    assert_eq!(remove_if(version, size(2)), Deleted::ConditionFailed);
    assert_eq!(remove_if(version, size(1)), Deleted::Removed);
    let mut hide_if = |condition: Condition| {
        let files = vec![(Key::new("k").unwrap(), condition)];
        let Ok(Done::Deleted(deleted)) = world.run(Command::DeleteFiles { bucket: name("one"), files }) else {
            panic!("not answered")
        };
        deleted[0]
    };
    let any = || Condition { if_match: Some(TagCondition::Any), ..Condition::default() };
    assert_eq!(hide_if(size(1)), Deleted::ConditionFailed);
    assert!(matches!(hide_if(size(2)), Deleted::Marked(_)));
    assert_eq!(hide_if(size(2)), Deleted::ConditionFailed);
    assert!(matches!(hide_if(any()), Deleted::Marked(_)));
}

#[test]
fn earlier_versions_hold_their_chunks_until_they_are_removed_for_good() {
    let mut world = enabled();
    let first = world.put_chunks("k", &[1, 2]).version.unwrap();
    world.put_chunks("k", &[2, 3]);
    hide(&mut world, "k");
    world.wait_ms(10 * cairn_common::limits::READ_GRACE_MS);
    world.release();
    let references = |world: &World| [1, 2, 3].map(|n| world.references(n));
    assert_eq!(references(&world), [1, 2, 1]);
    assert_eq!(remove(&mut world, "k", first, false), Deleted::Removed);
    world.wait_ms(10 * cairn_common::limits::READ_GRACE_MS);
    world.release();
    assert_eq!(references(&world), [0, 1, 1]);
    assert!(world.view().row(&ReferenceKey::of(super::address(1))).unwrap().is_none());
}

#[test]
fn copies_take_the_version_that_is_named_with_its_attributes_and_without_its_lock() {
    let mut world = lockable();
    let attributes = Attributes { content_type: Some("a/b".to_owned()), lock: hold(), ..Attributes::default() };
    let first = world.put(CommitFile { attributes, ..inline("k", b"1") }).unwrap().version;
    world.put_inline("k", b"22");
    let copy = |from_version| CopyFile {
        from: path("k"),
        from_version,
        from_condition: Condition::default(),
        to: path("l"),
        condition: Condition::default(),
        attributes: None,
    };
    world.run(Command::CopyFile(Box::new(copy(first)))).unwrap();
    let Ok(Found::Here(info)) = query::stat(world.view(), &path("l"), None, &Condition::default()) else {
        panic!("no copy")
    };
    assert_eq!((info.length, info.attributes.content_type.as_deref()), (1, Some("a/b")));
    assert_eq!(info.attributes.lock, Lock::default());
    let missing = VersionId::At(Stamp(7));
    let refused = world.run(Command::CopyFile(Box::new(copy(Some(missing)))));
    assert_eq!(refused, Err(Refusal::NoSuchVersion { path: path("k"), version: missing }));
}

#[test]
fn a_move_leaves_a_mark_and_the_version_behind_it() {
    let mut world = enabled();
    let first = at(&mut world, "a", b"1");
    let rename = Command::RenameFile {
        from: path("a"),
        to: Key::new("b").unwrap(),
        from_condition: Condition::default(),
        condition: Condition::default(),
    };
    world.run(rename).unwrap();
    assert!(matches!(body(&world, "a", None), Err(Refusal::FileRemoved { .. })));
    assert_eq!((body(&world, "a", Some(first)), body(&world, "b", None)), (Ok(1), Ok(1)));
}

#[test]
fn labels_are_given_to_the_version_that_is_named() {
    let mut world = enabled();
    let first = at(&mut world, "k", b"1");
    world.put_inline("k", b"22");
    let tags = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
    let give = |version, tags| Command::SetTags { path: path("k"), version, tags };
    world.run(give(Some(first), tags.clone())).unwrap();
    let tags_of = |world: &World, version| match query::stat(world.view(), &path("k"), version, &Condition::default()) {
        Ok(Found::Here(info)) => info.attributes.tags,
        other => panic!("{other:?}"),
    };
    assert_eq!(tags_of(&world, Some(first)), tags);
    assert_eq!(tags_of(&world, None), BTreeMap::new());
}

#[test]
fn whoever_removes_what_each_page_shows_removes_everything() {
    for limit in [1, 2, 3] {
        let mut world = enabled();
        at(&mut world, "k", b"1");
        set(&mut world, Versioning::Suspended).unwrap();
        at(&mut world, "k", b"22");
        set(&mut world, Versioning::Enabled).unwrap();
        at(&mut world, "k", b"333");
        let mut after = None;
        loop {
            let request = ListVersions { bucket: name("one"), prefix: String::new(), delimiter: None, after, limit };
            let page = query::versions(world.view(), &request).unwrap();
            for version in &page.versions {
                remove(&mut world, version.key.as_str(), version.id, false);
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(world.usage(), Usage::default(), "in pages of {limit}");
    }
}

#[test]
fn a_bucket_with_versions_is_not_removed() {
    let mut world = enabled();
    let Deleted::Marked(mark) = hide(&mut world, "k") else { panic!("no mark") };
    let delete = Command::DeleteBucket { name: name("one") };
    assert_eq!(world.run(delete.clone()), Err(Refusal::BucketNotEmpty(name("one"))));
    remove(&mut world, "k", mark, false);
    assert_eq!(world.run(delete), Ok(Done::Nothing));
}

#[test]
fn a_quota_counts_all_versions_and_never_stops_a_removal() {
    let mut world = enabled();
    let change = BucketChange { quota_bytes: Some(Some(5)), quota_files: Some(Some(3)), ..BucketChange::default() };
    world.run(Command::SetBucket { name: name("one"), change }).unwrap();
    let first = at(&mut world, "k", b"123");
    assert!(matches!(world.put(inline("k", b"123")), Err(Refusal::QuotaBytes { .. })));
    at(&mut world, "k", b"12");
    at(&mut world, "l", b"");
    assert!(matches!(world.put(inline("k", b"")), Err(Refusal::QuotaFiles { .. })));
    assert!(matches!(hide(&mut world, "k"), Deleted::Marked(_)));
    remove(&mut world, "k", first, false);
}

fn hold() -> Lock {
    Lock { legal_hold: true, retention: None }
}

fn until(world: &World, mode: RetentionMode, ms: u64) -> Retention {
    Retention { mode, until_ms: world.now.ms() + ms }
}

fn locked(world: &mut World, key: &str, lock: Lock) -> VersionId {
    let attributes = Attributes { lock, ..Attributes::default() };
    world.put(CommitFile { attributes, ..inline(key, b"1") }).unwrap().version.unwrap()
}

fn change(world: &mut World, key: &str, version: VersionId, change: LockChange, bypass: bool) -> Outcome {
    world.run(Command::SetLock { path: path(key), version: Some(version), change, bypass })
}

#[test]
fn locked_versions_stay_until_their_time_is_over_wherever_they_lie() {
    use RetentionMode::{Compliance, Governance};
    let mut world = lockable();
    let [strict, mild] = [Compliance, Governance].map(|mode| {
        let lock = Lock { retention: Some(until(&world, mode, 60_000)), legal_hold: false };
        locked(&mut world, "k", lock)
    });
    for (version, bypass) in [(strict, false), (strict, true), (mild, false)] {
        assert_eq!(remove(&mut world, "k", version, bypass), Deleted::Locked);
    }
    // Over a locked version a mark can be put: it stays where it is.
    assert!(matches!(hide(&mut world, "k"), Deleted::Marked(_)));
    assert_eq!(remove(&mut world, "k", mild, true), Deleted::Removed);
    change(&mut world, "k", strict, LockChange::LegalHold(true), false).unwrap();
    world.wait_ms(60_001);
    assert_eq!(remove(&mut world, "k", strict, true), Deleted::Locked);
    change(&mut world, "k", strict, LockChange::LegalHold(false), false).unwrap();
    assert_eq!(remove(&mut world, "k", strict, false), Deleted::Removed);
}

#[test]
fn a_retention_becomes_longer_and_shorter_only_by_bypassing_governance() {
    use RetentionMode::{Compliance, Governance};
    let mut world = lockable();
    let version = at(&mut world, "k", b"1");
    let give = |world: &mut World, mode, ms, bypass| {
        let retention = LockChange::Retention(Some(until(world, mode, ms)));
        change(world, "k", version, retention, bypass)
    };
    let refused = Err(Refusal::Locked { path: path("k") });
    assert_eq!(give(&mut world, Governance, 50_000, false), Ok(Done::Nothing));
    assert_eq!(give(&mut world, Governance, 90_000, false), Ok(Done::Nothing));
    assert_eq!(give(&mut world, Governance, 10_000, false), refused);
    assert_eq!(give(&mut world, Compliance, 90_000, false), refused);
    assert_eq!(give(&mut world, Compliance, 90_000, true), Ok(Done::Nothing));
    assert_eq!(give(&mut world, Compliance, 10_000, true), refused);
    assert_eq!(change(&mut world, "k", version, LockChange::Retention(None), true), refused);
    let past = LockChange::Retention(Some(Retention { mode: Compliance, until_ms: world.now.ms() }));
    assert_eq!(change(&mut world, "k", version, past, true), Err(Refusal::LockInThePast));
}

#[test]
fn the_bucket_s_retention_is_given_to_every_new_version_also_of_multipart_uploads() {
    let mut world = lockable();
    let default = DefaultRetention { mode: RetentionMode::Compliance, period: Period::Days(1) };
    set_lock(&mut world, Some(default)).unwrap();
    let version = at(&mut world, "k", b"1");
    assert_eq!(remove(&mut world, "k", version, true), Deleted::Locked);
    let begin =
        Command::BeginMultipart { path: path("m"), attributes: Attributes::default(), checksum: None, length: None };
    let Ok(Done::Upload(upload)) = world.run(begin) else { panic!("no upload") };
    let upload = MultipartRef { path: path("m"), upload: UploadId(upload.0) };
    let part = Command::CopyPart {
        upload: upload.clone(),
        number: 1,
        from: path("empty"),
        from_version: None,
        from_condition: Condition::default(),
        range: None,
    };
    world.put_inline("empty", b"");
    let Ok(Done::Part { md5, .. }) = world.run(part) else { panic!("no part") };
    let complete = CompleteMultipart {
        upload,
        parts: vec![(1, hex::encode(md5))],
        condition: Condition::default(),
        checksums: BTreeMap::new(),
    };
    let Ok(Done::Committed(committed)) = world.run(Command::CompleteMultipart(Box::new(complete))) else {
        panic!("not completed")
    };
    assert_eq!(remove(&mut world, "m", committed.version.unwrap(), true), Deleted::Locked);
    world.wait_ms(86_400_001);
    assert_eq!(remove(&mut world, "k", version, false), Deleted::Removed);
}

#[test]
fn locks_need_object_lock_and_object_lock_needs_versions() {
    let mut world = World::new();
    assert_eq!(set_lock(&mut world, None), Err(Refusal::LockNeedsVersions));
    let asks = CommitFile { attributes: Attributes { lock: hold(), ..Attributes::default() }, ..inline("k", b"1") };
    assert_eq!(world.put(asks), Err(Refusal::NoObjectLock(name("one"))));
    set(&mut world, Versioning::Enabled).unwrap();
    let version = at(&mut world, "k", b"1");
    let refused = change(&mut world, "k", version, LockChange::LegalHold(true), true);
    assert_eq!(refused, Err(Refusal::NoObjectLock(name("one"))));
    set_lock(&mut world, None).unwrap();
    assert_eq!(set(&mut world, Versioning::Suspended), Err(Refusal::LockNeedsVersions));
}

#[derive(Clone, Debug)]
enum Op {
    Put(u8, u8),
    Delete(u8),
    Remove(u8, u8),
    Copy(u8, u8, u8),
    Rename(u8, u8),
    Mode(bool),
    Label(u8, u8, bool),
}

fn op() -> impl Strategy<Value = Op> {
    let (key, nth) = (0..3u8, 0..5u8);
    prop_oneof![
        4 => (key.clone(), 0..6u8).prop_map(|(key, size)| Op::Put(key, size)),
        2 => key.clone().prop_map(Op::Delete),
        4 => (key.clone(), nth.clone()).prop_map(|(key, nth)| Op::Remove(key, nth)),
        1 => (key.clone(), nth.clone(), key.clone()).prop_map(|(from, nth, to)| Op::Copy(from, nth, to)),
        1 => (key.clone(), key.clone()).prop_map(|(from, to)| Op::Rename(from, to)),
        1 => any::<bool>().prop_map(Op::Mode),
        1 => (key, nth, any::<bool>()).prop_map(|(key, nth, on)| Op::Label(key, nth, on)),
    ]
}

/// A version as the model has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kept {
    id: VersionId,
    length: Option<u64>,
    labelled: bool,
}

/// What a bucket must look like: versions of each key, the newest first.
#[derive(Default)]
struct Model {
    keys: BTreeMap<&'static str, Vec<Kept>>,
    enabled: bool,
}

const KEYS: [&str; 3] = ["a", "a\0b", "b"];

impl Model {
    fn add(&mut self, key: &'static str, stamp: Stamp, length: Option<u64>, labelled: bool) -> VersionId {
        let id = if self.enabled { VersionId::At(stamp) } else { VersionId::Null };
        let versions = self.keys.entry(key).or_default();
        versions.retain(|kept| self.enabled || kept.id != VersionId::Null);
        versions.insert(0, Kept { id, length, labelled });
        id
    }

    fn current(&self, key: &str) -> Option<u64> {
        self.keys.get(key).and_then(|versions| versions.first()).and_then(|kept| kept.length)
    }

    fn nth(&self, key: &str, nth: u8) -> Option<Kept> {
        self.keys.get(key).and_then(|versions| versions.get(usize::from(nth))).copied()
    }
}

struct Both {
    world: World,
    model: Model,
}

impl Both {
    fn step(&mut self, op: &Op) {
        match *op {
            Op::Put(key, size) => self.put(KEYS[usize::from(key)], size),
            Op::Delete(key) => {
                let key = KEYS[usize::from(key)];
                let deleted = hide(&mut self.world, key);
                let id = self.model.add(key, self.world.now, None, false);
                assert_eq!(deleted, Deleted::Marked(id));
            }
            Op::Remove(key, nth) => self.remove(KEYS[usize::from(key)], nth),
            Op::Copy(from, nth, to) => self.copy(KEYS[usize::from(from)], nth, KEYS[usize::from(to)]),
            Op::Rename(from, to) => self.rename(KEYS[usize::from(from)], KEYS[usize::from(to)]),
            Op::Mode(on) => {
                let versioning = if on { Versioning::Enabled } else { Versioning::Suspended };
                match set(&mut self.world, versioning) {
                    Ok(_) => self.model.enabled = on,
                    Err(refusal) => panic!("{refusal}"),
                }
            }
            Op::Label(key, nth, on) => self.label(KEYS[usize::from(key)], nth, on),
        }
    }

    fn put(&mut self, key: &'static str, size: u8) {
        // Small ones are kept by the masters, the others in chunks that are shared.
        let committed = match size {
            0 => self.world.put_inline(key, b""),
            1 => self.world.put_inline(key, b"1"),
            n => self.world.put_chunks(key, &[u64::from(n), 9]),
        };
        let id = self.model.add(key, self.world.now, Some(committed.length), false);
        assert_eq!(committed.version, Some(id));
    }

    fn remove(&mut self, key: &'static str, nth: u8) {
        let kept = self.model.nth(key, nth);
        let id = kept.map_or(VersionId::At(Stamp(1)), |kept| kept.id);
        let expected = match kept {
            None => Deleted::Absent,
            Some(Kept { length: None, .. }) => Deleted::MarkRemoved,
            Some(_) => Deleted::Removed,
        };
        assert_eq!(remove(&mut self.world, key, id, false), expected);
        if let Some(versions) = self.model.keys.get_mut(key) {
            versions.retain(|kept| kept.id != id);
        }
    }

    fn copy(&mut self, from: &'static str, nth: u8, to: &'static str) {
        let Some(kept) = self.model.nth(from, nth) else { return };
        let copy = CopyFile {
            from: path(from),
            from_version: Some(kept.id),
            from_condition: Condition::default(),
            to: path(to),
            condition: Condition::default(),
            attributes: None,
        };
        let outcome = self.world.run(Command::CopyFile(Box::new(copy)));
        match kept.length {
            Some(length) => {
                assert!(outcome.is_ok(), "{outcome:?}");
                self.model.add(to, self.world.now, Some(length), kept.labelled);
            }
            None => assert_eq!(outcome, Err(Refusal::RemovalMark { path: path(from), version: kept.id })),
        }
    }

    fn rename(&mut self, from: &'static str, to: &'static str) {
        let rename = Command::RenameFile {
            from: path(from),
            to: Key::new(to).unwrap(),
            from_condition: Condition::default(),
            condition: Condition::default(),
        };
        let outcome = self.world.run(rename);
        let source = self.model.nth(from, 0);
        let Some(length) = self.model.current(from) else {
            let removed = |mark: Kept| Refusal::FileRemoved { path: path(from), mark: mark.id };
            assert_eq!(outcome, Err(source.map_or_else(|| Refusal::NoSuchFile(path(from)), removed)));
            return;
        };
        assert!(outcome.is_ok(), "{outcome:?}");
        if from != to {
            self.model.add(from, self.world.now, None, false);
            let labelled = source.is_some_and(|source| source.labelled);
            self.model.add(to, self.world.now, Some(length), labelled);
        }
    }

    /// Labels stand for all that is kept beside a version: they must stay with it wherever it goes.
    fn label(&mut self, key: &'static str, nth: u8, on: bool) {
        let Some(kept) = self.model.nth(key, nth).filter(|kept| kept.length.is_some()) else { return };
        let tags = if on { BTreeMap::from([("label".to_owned(), String::new())]) } else { BTreeMap::new() };
        self.world.run(Command::SetTags { path: path(key), version: Some(kept.id), tags }).unwrap();
        self.model.keys.get_mut(key).unwrap()[usize::from(nth)].labelled = on;
    }

    fn compare(&self) {
        let mut expected = Vec::new();
        let (mut usage, mut current) = (Usage::default(), Vec::new());
        for (key, versions) in &self.model.keys {
            for (nth, kept) in versions.iter().enumerate() {
                expected.push((*key, kept.id, nth == 0, kept.length));
                let found = body(&self.world, key, Some(kept.id));
                let mark = Refusal::RemovalMark { path: path(key), version: kept.id };
                assert_eq!(found, kept.length.ok_or(mark));
                assert_eq!(labelled(&self.world, key, kept.id), kept.labelled);
                match kept.length {
                    Some(length) if nth == 0 => {
                        (usage.files, usage.bytes) = (usage.files + 1, usage.bytes + length);
                        current.push((*key).to_owned());
                    }
                    length => {
                        usage.versions += 1;
                        usage.version_bytes += length.unwrap_or(0);
                    }
                }
            }
            assert_eq!(body(&self.world, key, None).ok(), self.model.current(key));
        }
        assert_eq!(self.world.usage(), usage);
        for limit in [1, 2, 1000] {
            let listed = versions(&self.world, limit);
            let listed = listed.iter().map(|version| {
                let length = version.file.map(|(length, _)| length);
                (version.key.as_str(), version.id, version.latest, length)
            });
            assert_eq!(listed.collect::<Vec<_>>(), expected, "in pages of {limit}");
        }
        let request = ListRequest {
            bucket: name("one"),
            prefix: String::new(),
            delimiter: None,
            after: ListAfter::Start,
            limit: 1000,
        };
        let listed = query::list(self.world.view(), &request).unwrap();
        assert_eq!(listed.files.iter().map(|file| file.key.as_str().to_owned()).collect::<Vec<_>>(), current);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn random_commands_leave_what_a_reference_model_says(ops in prop::collection::vec(op(), 1..40)) {
        let mut world = World::new();
        world.put_inline("a", b"before");
        let first = Kept { id: VersionId::Null, length: Some(6), labelled: false };
        let keys = BTreeMap::from([("a", vec![first])]);
        set(&mut world, Versioning::Enabled).unwrap();
        let mut both = Both { world, model: Model { keys, enabled: true } };
        for op in ops {
            both.step(&op);
            both.compare();
        }
        both.world.wait_ms(10 * cairn_common::limits::READ_GRACE_MS);
        both.world.release();
        both.compare();
    }
}
