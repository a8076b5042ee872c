//! Lifecycle: what rules end, judged again by the command, never a locked version.

use super::{START_MS, World, inline, name, path};
use crate::query;
use cairn_common::bucket::{BucketChange, Tags};
use cairn_common::file::{Attributes, Condition};
use cairn_common::lifecycle::{Expire, LifecycleRule, NoncurrentExpire, Scope};
use cairn_common::name::Key;
use cairn_common::version::{Lock, ObjectLock, Retention, RetentionMode, Versioning};
use cairn_common::wire::command::{Command, CommitFile, Done, Refusal};
use cairn_common::wire::master::Usage;

const DAY_MS: u64 = 86_400_000;

fn rule(id: &str) -> LifecycleRule {
    LifecycleRule { id: id.to_owned(), enabled: true, ..LifecycleRule::default() }
}

fn set(world: &mut World, change: BucketChange) {
    world.run(Command::SetBucket { name: name("one"), change }).unwrap();
}

fn rules(world: &mut World, rules: Vec<LifecycleRule>) {
    set(world, BucketChange { lifecycle: Some(rules), ..BucketChange::default() });
}

fn versioned() -> World {
    let mut world = World::new();
    set(&mut world, BucketChange { versioning: Some(Versioning::Enabled), ..BucketChange::default() });
    world
}

/// Walks as the leader does, in stretches of `limit` keys; answers how many versions ended.
fn walk(world: &mut World, limit: usize) -> u64 {
    let mut versions = 0;
    for bucket in query::lifecycle_buckets(world.view()).unwrap() {
        let mut after = None;
        loop {
            let now = world.now;
            let work = query::lifecycle_work(world.view(), &bucket, after.as_deref(), limit, now).unwrap();
            let command = Command::Expire { bucket: bucket.clone(), keys: work.keys, uploads: work.uploads };
            match world.bare(command) {
                Ok(Done::Expired { versions: ended }) => versions += ended,
                other => panic!("{other:?}"),
            }
            match work.next {
                None => break,
                next => after = next,
            }
        }
    }
    versions
}

fn keys(world: &World) -> Vec<String> {
    let request = cairn_common::wire::master::ListRequest {
        bucket: name("one"),
        prefix: String::new(),
        delimiter: None,
        after: cairn_common::wire::master::ListAfter::Start,
        limit: 1000,
    };
    let listed = query::list(world.view(), &request).unwrap();
    listed.files.into_iter().map(|file| file.key.as_str().to_owned()).collect()
}

#[test]
fn files_end_after_their_days_if_a_rule_is_for_them() {
    let mut world = World::new();
    let labelled = Attributes { tags: Tags::from([("a".to_owned(), "b".to_owned())]), ..Attributes::default() };
    for key in ["logs/1", "logs/2", "logs/3", "other"] {
        world.put_inline(key, b"12345");
    }
    world.put(CommitFile { attributes: labelled.clone(), ..inline("tagged", b"1") }).unwrap();
    let prefixed = Scope { prefix: "logs/".to_owned(), ..Scope::default() };
    let tagged = Scope { tags: labelled.tags, ..Scope::default() };
    let days = |id: &str, scope, days| LifecycleRule { expire: Some(Expire::Days(days)), scope, ..rule(id) };
    rules(&mut world, vec![days("a", prefixed, 1), days("b", tagged, 3)]);
    assert_eq!(walk(&mut world, 2), 0);
    world.wait_ms(2 * DAY_MS);
    assert_eq!(walk(&mut world, 2), 3);
    assert_eq!(keys(&world), ["other", "tagged"]);
    world.wait_ms(2 * DAY_MS);
    assert_eq!(walk(&mut world, 1), 1);
    assert_eq!(
        (keys(&world), world.usage()),
        (vec!["other".to_owned()], Usage { files: 1, bytes: 5, ..Usage::default() })
    );
}

#[test]
fn versions_end_one_after_the_other_and_then_the_mark_over_nothing() {
    let mut world = versioned();
    for body in [&b"1"[..], b"22", b"333"] {
        world.put_inline("k", body);
    }
    let noncurrent = Some(NoncurrentExpire { days: 1, keep: 1 });
    rules(
        &mut world,
        vec![
            LifecycleRule { expire: Some(Expire::Days(10)), ..rule("end") },
            LifecycleRule { noncurrent, ..rule("earlier") },
            LifecycleRule { expire: Some(Expire::LonelyMarks), ..rule("marks") },
        ],
    );
    world.wait_ms(2 * DAY_MS);
    assert_eq!(walk(&mut world, 10), 1, "the oldest of two earlier versions");
    assert_eq!(world.usage(), Usage { files: 1, bytes: 3, versions: 1, version_bytes: 2, ..Usage::default() });
    world.wait_ms(9 * DAY_MS);
    assert_eq!(walk(&mut world, 10), 1, "the current version, under a mark");
    assert_eq!(world.usage(), Usage { versions: 3, version_bytes: 5, ..Usage::default() });
    world.wait_ms(2 * DAY_MS);
    assert_eq!(walk(&mut world, 10), 1, "the older of the two");
    rules(
        &mut world,
        vec![
            LifecycleRule { noncurrent: Some(NoncurrentExpire { days: 1, keep: 0 }), ..rule("earlier") },
            LifecycleRule { expire: Some(Expire::LonelyMarks), ..rule("marks") },
        ],
    );
    assert_eq!(walk(&mut world, 10), 1, "the last one");
    assert_eq!(walk(&mut world, 10), 1, "the mark");
    assert_eq!(world.usage(), Usage::default());
}

#[test]
fn a_locked_version_does_not_end_before_its_lock() {
    let mut world = versioned();
    set(&mut world, BucketChange { lock: Some(ObjectLock::default()), ..BucketChange::default() });
    let retention = Some(Retention { mode: RetentionMode::Governance, until_ms: START_MS + 5 * DAY_MS });
    let attributes = Attributes { lock: Lock { retention, legal_hold: false }, ..Attributes::default() };
    world.put(CommitFile { attributes, ..inline("k", b"1") }).unwrap();
    world.put_inline("k", b"2");
    rules(&mut world, vec![LifecycleRule { noncurrent: Some(NoncurrentExpire { days: 1, keep: 0 }), ..rule("r") }]);
    world.wait_ms(3 * DAY_MS);
    assert_eq!(walk(&mut world, 10), 0);
    world.wait_ms(3 * DAY_MS);
    assert_eq!(walk(&mut world, 10), 1);
}

#[test]
fn what_is_proposed_is_judged_again() {
    let mut world = World::new();
    world.put_inline("k", b"1");
    rules(&mut world, vec![LifecycleRule { expire: Some(Expire::Days(1)), ..rule("r") }]);
    world.wait_ms(3 * DAY_MS);
    // Replaced between the look and the command: the new version has its days before it.
    world.put_inline("k", b"2");
    let expire = |keys: &[&str]| Command::Expire {
        bucket: name("one"),
        keys: keys.iter().map(|key| Key::new(*key).unwrap()).collect(),
        uploads: Vec::new(),
    };
    assert_eq!(world.bare(expire(&["k", "absent"])), Ok(Done::Expired { versions: 0 }));
    world.wait_ms(3 * DAY_MS);
    rules(&mut world, Vec::new());
    assert_eq!(world.bare(expire(&["k"])), Ok(Done::Expired { versions: 0 }));
    assert_eq!(keys(&world), ["k"]);
}

#[test]
fn forgotten_uploads_are_given_up() {
    let mut world = World::new();
    let attributes = Attributes::default();
    let begin = Command::BeginMultipart { path: path("logs/m"), attributes, checksum: None, length: None };
    world.run(begin.clone()).unwrap();
    let scope = Scope { prefix: "logs/".to_owned(), ..Scope::default() };
    rules(&mut world, vec![LifecycleRule { abort_uploads_days: Some(2), scope, ..rule("r") }]);
    world.wait_ms(DAY_MS);
    world.run(begin).unwrap();
    walk(&mut world, 10);
    assert_eq!(world.usage().uploads, 2);
    world.wait_ms(2 * DAY_MS);
    walk(&mut world, 10);
    assert_eq!(world.usage().uploads, 1);
}

#[test]
fn rules_that_cannot_be_kept_change_nothing() {
    let mut world = World::new();
    let lifecycle = Some(vec![rule("does nothing")]);
    let change = BucketChange { lifecycle, ..BucketChange::default() };
    let refused = world.run(Command::SetBucket { name: name("one"), change });
    assert!(matches!(refused, Err(Refusal::BadSettings(_))), "{refused:?}");
    rules(&mut world, vec![LifecycleRule { expire: Some(Expire::Days(1)), ..rule("r") }]);
    world
        .run(Command::DeleteFiles { bucket: name("one"), files: vec![(Key::new("k").unwrap(), Condition::default())] })
        .unwrap();
    world.run(Command::DeleteBucket { name: name("one") }).unwrap();
    assert_eq!(query::lifecycle_buckets(world.view()).unwrap(), []);
}
