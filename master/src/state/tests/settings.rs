//! How a bucket is configured: quotas, what is public, tags; and tags of files.

use super::*;
use crate::query;
use cairn_common::bucket::{BucketChange, PublicAccessBlock, Quota, SettingsError, Tags};
use cairn_common::file::AttributesError;
use cairn_common::limits::FILE_TAGS_MAX;
use cairn_common::policy::PolicyError;
use cairn_common::wire::command::{CommitPart, CompleteMultipart, CopyFile, MultipartRef};
use std::collections::BTreeMap;

fn set(world: &mut World, change: BucketChange) -> Outcome {
    world.run(Command::SetBucket { name: name("one"), change })
}

fn quota(world: &mut World, bytes: Option<u64>, files: Option<u64>) {
    let change = BucketChange { quota_bytes: Some(bytes), quota_files: Some(files), ..BucketChange::default() };
    assert_eq!(set(world, change), Ok(Done::Nothing));
}

fn tags(pairs: &[(&str, &str)]) -> Tags {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Whether a write was refused for want of bytes or files.
fn full<T: std::fmt::Debug>(outcome: &Result<T, Refusal>) -> Option<&'static str> {
    match outcome {
        Ok(_) => None,
        Err(Refusal::QuotaBytes { .. }) => Some("bytes"),
        Err(Refusal::QuotaFiles { .. }) => Some("files"),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn one_half_of_a_quota_leaves_the_other_as_it_was() {
    let mut world = World::new();
    set(&mut world, BucketChange { quota_bytes: Some(Some(7)), ..BucketChange::default() }).unwrap();
    set(&mut world, BucketChange { quota_files: Some(Some(3)), ..BucketChange::default() }).unwrap();
    let settings = |world: &World| query::bucket(world.view(), &world.members(), &name("one")).unwrap().settings.quota;
    assert_eq!(settings(&world), Quota { bytes: Some(7), files: Some(3) });
    set(&mut world, BucketChange { quota_bytes: Some(None), ..BucketChange::default() }).unwrap();
    assert_eq!(settings(&world), Quota { bytes: None, files: Some(3) });
}

#[test]
fn a_quota_of_bytes_is_held_to_the_byte() {
    let mut world = World::new();
    quota(&mut world, Some(10), None);
    assert_eq!(full(&world.put(inline("a", b"123456"))), None);
    assert_eq!(full(&world.put(inline("b", b"12345"))), Some("bytes"));
    assert_eq!(full(&world.put(inline("b", b"1234"))), None);
    assert_eq!((world.usage().files, world.usage().bytes), (2, 10));
    // What a write replaces makes room for it, and an empty file takes none.
    assert_eq!(full(&world.put(inline("a", b"654321"))), None);
    assert_eq!(full(&world.put(inline("c", b""))), None);
    assert_eq!(full(&world.put(inline("a", b"7654321"))), Some("bytes"));
    world.delete("b").unwrap();
    assert_eq!(full(&world.put(inline("a", b"0987654321"))), None);
}

#[test]
fn a_quota_of_files_counts_new_names_only() {
    let mut world = World::new();
    quota(&mut world, None, Some(2));
    assert_eq!(full(&world.put(inline("a", b"1"))), None);
    assert_eq!(full(&world.put(inline("b", b"1"))), None);
    assert_eq!(full(&world.put(inline("c", b"1"))), Some("files"));
    assert_eq!(full(&world.put(inline("b", b"12345"))), None);
    let rename = Command::RenameFile {
        from: path("b"),
        to: Key::new("c").unwrap(),
        from_condition: Condition::default(),
        condition: Condition::default(),
    };
    assert_eq!(full(&world.run(rename)), None, "a move takes no room");
    let copy = CopyFile {
        from_version: None,
        from: path("c"),
        from_condition: Condition::default(),
        to: path("d"),
        condition: Condition::default(),
        attributes: None,
    };
    assert_eq!(full(&world.run(Command::CopyFile(Box::new(copy)))), Some("files"));
}

#[test]
fn two_writers_in_one_entry_do_not_both_get_the_last_room() {
    let mut world = World::new();
    quota(&mut world, Some(5), None);
    let commands: Vec<Envelope> =
        ["a", "b"].map(|key| world.envelope(Command::CommitFile(Box::new(inline(key, b"12345"))))).into();
    let outcomes = world.entry(&commands);
    assert_eq!(full(&outcomes[0]), None);
    assert_eq!(full(&outcomes[1]), Some("bytes"));
    assert_eq!(world.usage().files, 1);
}

#[test]
fn open_uploads_have_their_room_and_give_it_back() {
    let mut world = World::new();
    let Ok(Done::Upload(upload)) = world.run(Command::BeginMultipart {
        path: path("m"),
        attributes: Attributes::default(),
        checksum: None,
        length: None,
    }) else {
        panic!("no upload");
    };
    let upload = MultipartRef { path: path("m"), upload };
    let part = |world: &World, number: u32, n: u64| {
        let tail = [entry(n)];
        Command::CommitPart(Box::new(CommitPart {
            upload: upload.clone(),
            number,
            content: NewContent::Chunks(world.chunks(None, &tail)),
            root: RootHasher::of(&tail),
            length: tail[0].length,
            md5: [1; 16],
            checksums: BTreeMap::new(),
        }))
    };
    quota(&mut world, Some(1500), None);
    let command = part(&world, 1, 1);
    assert_eq!(full(&world.run(command)), None);
    let command = part(&world, 2, 2);
    assert_eq!(full(&world.run(command)), Some("bytes"));
    assert_eq!(full(&world.put(inline("a", &[0; 500]))), Some("bytes"), "the part has its room already");
    let complete = CompleteMultipart {
        upload: upload.clone(),
        parts: vec![(1, hex::encode([1; 16]))],
        condition: Condition::default(),
        checksums: BTreeMap::new(),
    };
    assert_eq!(full(&world.run(Command::CompleteMultipart(Box::new(complete)))), None, "it becomes the file's");
    assert_eq!((world.usage().bytes, world.usage().pending_bytes), (1001, 0));
    world.delete("m").unwrap();
    assert_eq!(full(&world.put(inline("a", &[0; 500]))), None);
}

#[test]
fn a_staged_upload_of_many_segments_stops_at_the_quota() {
    let mut world = World::new();
    world.checked = false;
    let Ok(Done::Upload(staging)) = world.run(Command::BeginStaging { bucket: name("one"), chunking: Chunking::FIXED })
    else {
        panic!("no upload");
    };
    let entries: Vec<Entry> = (0..cairn_common::limits::SEGMENT_ENTRIES as u64).map(|_| entry(1)).collect();
    let length: u64 = entries.iter().map(|entry| entry.length).sum();
    quota(&mut world, Some(length), None);
    let append = |world: &World, index| Command::AppendSegment {
        staging,
        index,
        entries: entries.clone(),
        receipts: world.receipts_of(&world.servers, &entries[..1]),
    };
    let command = append(&world, 0);
    assert_eq!(full(&world.run(command)), None);
    let command = append(&world, 1);
    assert_eq!(full(&world.run(command)), Some("bytes"));
    world.run(Command::AbortStaging { staging }).unwrap();
    assert_eq!(world.usage().pending_bytes, 0);
}

#[test]
fn a_quota_below_what_is_there_removes_nothing_and_lets_files_shrink() {
    let mut world = World::new();
    world.put_inline("a", b"1234567890");
    quota(&mut world, Some(5), Some(0));
    assert_eq!(full(&world.put(inline("a", b"123456789"))), None);
    assert_eq!(full(&world.put(inline("b", b"1"))), Some("bytes"));
    quota(&mut world, None, None);
    assert_eq!(full(&world.put(inline("b", b"1"))), None);
}

#[test]
fn settings_change_one_by_one_and_end_with_their_bucket() {
    let mut world = World::new();
    quota(&mut world, Some(5), None);
    let labels = tags(&[("team", "blue")]);
    set(&mut world, BucketChange { tags: Some(labels.clone()), ..BucketChange::default() }).unwrap();
    let public = vec!["web".to_owned()];
    set(&mut world, BucketChange { public: Some(public.clone()), ..BucketChange::default() }).unwrap();
    let info = query::bucket(world.view(), &world.members(), &name("one")).unwrap().settings;
    assert_eq!((info.quota.bytes, info.tags, info.public), (Some(5), labels, public));
    for (key, is_public) in [("web", true), ("web/a", true), ("webs", false), ("a", false)] {
        assert_eq!(query::is_public(world.view(), &path(key)).unwrap(), is_public, "{key}");
    }
    let block = PublicAccessBlock { block_policy: true, restrict: true, ..PublicAccessBlock::default() };
    set(&mut world, BucketChange { public_access_block: Some(Some(block)), ..BucketChange::default() }).unwrap();
    assert!(!query::is_public(world.view(), &path("web")).unwrap(), "it is held back");
    let more = BucketChange { public: Some(vec!["more".to_owned()]), ..BucketChange::default() };
    assert_eq!(set(&mut world, more), Err(Refusal::BadSettings(SettingsError::PublicBlocked)));
    let many = (0..100).map(|n| (format!("{n}"), String::new())).collect();
    let refused = set(&mut world, BucketChange { tags: Some(many), ..BucketChange::default() });
    assert!(matches!(refused, Err(Refusal::BadSettings(SettingsError::TagCount { .. }))));
    world.run(Command::DeleteBucket { name: name("one") }).unwrap();
    assert!(!query::is_public(world.view(), &path("web")).unwrap());
    world.bucket("one");
    let info = query::bucket(world.view(), &world.members(), &name("one")).unwrap();
    assert_eq!(info.settings, Default::default(), "a new bucket of the name has nothing of the old one");
}

#[test]
fn a_policy_is_kept_as_it_was_given_only_if_it_is_understood_and_not_blocked() {
    let mut world = World::new();
    let give = |world: &mut World, policy: Option<&str>| {
        world.run(Command::SetPolicy { bucket: name("one"), policy: policy.map(str::to_owned) })
    };
    let kept = |world: &World| query::policy(world.view(), &name("one")).unwrap();
    let of = |principal: &str| {
        format!(
            r#" {{"Statement": {{"Effect": "Allow", "Principal": {principal}, "Action": "s3:GetObject",
                "Resource": "arn:aws:s3:::one/*"}}}}"#
        )
    };
    let (public, one) = (of("\"*\""), of(r#"{"AWS": "7"}"#));
    assert_eq!(give(&mut world, Some(&public)), Ok(Done::Nothing));
    assert_eq!(kept(&world).as_deref(), Some(public.as_str()));
    assert_eq!(give(&mut world, Some("{}")), Err(Refusal::BadPolicy(PolicyError::Form)));
    assert_eq!(kept(&world).as_deref(), Some(public.as_str()), "what was refused changed nothing");
    let block = PublicAccessBlock { block_policy: true, ..PublicAccessBlock::default() };
    set(&mut world, BucketChange { public_access_block: Some(Some(block)), ..BucketChange::default() }).unwrap();
    assert_eq!(give(&mut world, Some(&public)), Err(Refusal::BadPolicy(PolicyError::Public)));
    assert_eq!(give(&mut world, Some(&one)), Ok(Done::Nothing));
    assert_eq!(give(&mut world, None), Ok(Done::Nothing));
    assert_eq!(kept(&world), None);
    give(&mut world, Some(&one)).unwrap();
    world.run(Command::DeleteBucket { name: name("one") }).unwrap();
    world.bucket("one");
    assert_eq!(kept(&world), None, "a new bucket of the name has nothing of the old one");
    let elsewhere = world.run(Command::SetPolicy { bucket: name("none"), policy: Some(one) });
    assert!(matches!(elsewhere, Err(Refusal::NoSuchBucket(_))));
}

#[test]
fn tags_of_a_file_change_without_making_another_version() {
    let mut world = World::new();
    let before = world.put_inline("a", b"x");
    let give =
        |world: &mut World, key: &str, tags: Tags| world.run(Command::SetTags { path: path(key), version: None, tags });
    let stat = |world: &World| match query::stat(world.view(), &path("a"), None, &Condition::default()).unwrap() {
        cairn_common::wire::master::Found::Here(info) => info,
        cairn_common::wire::master::Found::NotModified(_) => unreachable!("nothing was asked"),
    };
    assert_eq!(give(&mut world, "a", tags(&[("k", "v")])), Ok(Done::Nothing));
    let info = stat(&world);
    assert_eq!((info.stamp, info.tags), (before.stamp, before.tags));
    assert_eq!(info.attributes.tags, tags(&[("k", "v")]));
    assert_eq!(give(&mut world, "a", Tags::new()), Ok(Done::Nothing));
    assert!(stat(&world).attributes.is_empty());
    assert!(matches!(give(&mut world, "b", Tags::new()), Err(Refusal::NoSuchFile(_))));
    let many = (0..=FILE_TAGS_MAX).map(|n| (n.to_string(), String::new())).collect();
    assert!(matches!(give(&mut world, "a", many), Err(Refusal::BadAttributes(AttributesError::Tags(_)))));
}
