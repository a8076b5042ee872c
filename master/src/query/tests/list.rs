//! Listings against a sorted set.

use crate::query::list;
use crate::state::tests::{World, name, path};
use crate::store::MetaView;
use crate::store::key::{Body, BucketKey, CurrentKey, CurrentRow, Record, RowKey};
use crate::store::{MemoryStore, MetaStore, WriteBatch};
use cairn_common::file::{ETags, S3Tag};
use cairn_common::ids::{BucketId, Stamp};
use cairn_common::limits::LIST_MAX_KEYS;
use cairn_common::manifest::Root;
use cairn_common::wire::command::{Command, Refusal};
use cairn_common::wire::master::{ListAfter, ListRequest, Listed};
use proptest::prelude::*;
use std::collections::BTreeSet;

fn request(prefix: &str, delimiter: Option<&str>, after: ListAfter, limit: u32) -> ListRequest {
    let (prefix, delimiter) = (prefix.to_owned(), delimiter.map(str::to_owned));
    ListRequest { bucket: name("one"), prefix, delimiter, after, limit }
}

fn names(listed: &Listed) -> (Vec<&str>, Vec<&str>, Option<&str>) {
    let files = listed.files.iter().map(|file| file.key.as_str()).collect();
    (files, listed.prefixes.iter().map(String::as_str).collect(), listed.next.as_deref())
}

/// What a listing shows, in one order: files and folded prefixes of the keys that start with `prefix`.
fn shown(keys: &BTreeSet<String>, prefix: &str, delimiter: Option<&str>) -> Vec<(String, bool)> {
    let mut shown: Vec<(String, bool)> = Vec::new();
    for key in keys.iter().filter(|key| key.starts_with(prefix)) {
        let rest = &key[prefix.len()..];
        let folded = delimiter
            .filter(|delimiter| !delimiter.is_empty())
            .and_then(|delimiter| rest.find(delimiter).map(|at| format!("{prefix}{}", &rest[..at + delimiter.len()])));
        let entry = folded.map_or_else(|| (key.clone(), false), |folded| (folded, true));
        if shown.last() != Some(&entry) {
            shown.push(entry);
        }
    }
    shown
}

/// All names of a page with whether they are folded, in order.
fn merged(listed: &Listed) -> Vec<(String, bool)> {
    let files = listed.files.iter().map(|file| (file.key.as_str().to_owned(), false));
    let mut all: Vec<_> = files.chain(listed.prefixes.iter().map(|prefix| (prefix.clone(), true))).collect();
    all.sort();
    all
}

/// Follows `next` from `after` on, and compares every page with the model.
fn walk(view: &dyn MetaView, keys: &BTreeSet<String>, first: ListRequest) {
    let shown = shown(keys, &first.prefix, first.delimiter.as_deref());
    let mut wanted: Vec<(String, bool)> = match &first.after {
        ListAfter::Start => shown,
        ListAfter::Token(token) => shown.into_iter().filter(|(name, _)| name > token).collect(),
        ListAfter::Name(after) => {
            let later: BTreeSet<String> = keys.iter().filter(|key| *key > after).cloned().collect();
            self::shown(&later, &first.prefix, first.delimiter.as_deref())
        }
    };
    wanted.reverse();
    let mut request = first;
    loop {
        let listed = list(view, &request).unwrap();
        let count = (request.limit as usize).min(wanted.len());
        let page: Vec<_> = (0..count).map(|_| wanted.pop().unwrap()).collect();
        let mut sorted = page.clone();
        sorted.sort();
        assert_eq!(merged(&listed), sorted, "{request:?}");
        let files: Vec<_> = page.iter().filter(|(_, folded)| !folded).map(|(name, _)| name.as_str()).collect();
        assert_eq!(names(&listed).0, files, "{request:?}");
        let next = page.last().filter(|_| !wanted.is_empty()).map(|(name, _)| name.as_str());
        assert_eq!(listed.next.as_deref(), next, "{request:?}");
        match listed.next {
            Some(next) => request.after = ListAfter::Token(next),
            None => return,
        }
    }
}

fn text(longest: usize) -> impl Strategy<Value = String> {
    let characters = vec!['a', 'b', '/', '-', '\0', '\u{1}', '\u{7f}', 'é', '\u{7ff}', '\u{ffff}', '\u{10ffff}'];
    proptest::collection::vec(proptest::sample::select(characters), 0..=longest)
        .prop_map(|characters| characters.into_iter().collect())
}

fn after() -> impl Strategy<Value = ListAfter> {
    prop_oneof![Just(ListAfter::Start), text(4).prop_map(ListAfter::Name), text(4).prop_map(ListAfter::Token),]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn pages_show_what_a_sorted_set_would(
        keys in proptest::collection::btree_set(text(6).prop_filter("not empty", |key| !key.is_empty()), 0..40),
        prefix in text(2),
        delimiter in proptest::option::of(text(2)),
        after in after(),
        limit in 1u32..8,
    ) {
        let store = STORE.with(|base| base.clone_with(&keys));
        // A token that the page before did not give may point into a folded prefix: then it is a name.
        let after = match after {
            ListAfter::Token(token) => match shown(&keys, &prefix, delimiter.as_deref()).iter().any(|(name, _)| *name == token) {
                true => ListAfter::Token(token),
                false => ListAfter::Name(token),
            },
            other => other,
        };
        walk(&store, &keys, request(&prefix, delimiter.as_deref(), after, limit));
    }
}

/// Making a cluster takes longer than a listing; one is enough.
struct Base(BucketId, bytes::Bytes);

impl Base {
    fn clone_with(&self, keys: &BTreeSet<String>) -> MemoryStore {
        let store = MemoryStore::new();
        let mut batch = WriteBatch::new();
        batch.put(BucketKey::TABLE, BucketKey(&name("one")).encode(), self.1.clone());
        let tags = ETags { root: Root([1; 32]), s3: S3Tag::Root };
        let row =
            CurrentRow { stamp: Stamp(5), length: 0, tags, body: Body::Empty, attributes: false, versioned: false };
        let mut put = |bucket, key: &str| {
            batch.put(CurrentKey::TABLE, CurrentKey { bucket, key }.encode(), row.to_bytes(&mut Vec::new()))
        };
        keys.iter().for_each(|key| put(self.0, key));
        put(BucketId(self.0.0 - 1), "zzz");
        put(BucketId(self.0.0 + 1), "aaa");
        store.write(&batch, &store.applied().unwrap()).unwrap();
        store
    }
}

thread_local! {
    static STORE: Base = {
        let world = World::new();
        let bucket = world.view().row(&BucketKey(&name("one"))).unwrap().unwrap();
        Base(bucket.id, bucket.to_bytes(&mut Vec::new()))
    };
}

#[test]
fn five_thousand_keys_in_one_folded_prefix_hide_nothing_behind_them() {
    let mut keys: BTreeSet<String> = (0..5000).map(|n| format!("logs/{n:05}")).collect();
    keys.extend(["a", "logs", "zebra", "zoo/1"].map(str::to_owned));
    let store = STORE.with(|base| base.clone_with(&keys));
    let listed = list(&store, &request("", Some("/"), ListAfter::Start, 1000)).unwrap();
    assert_eq!(names(&listed), (vec!["a", "logs", "zebra"], vec!["logs/", "zoo/"], None));
    for limit in [1, 2, 3, 999, 1000] {
        walk(&store, &keys, request("", Some("/"), ListAfter::Start, limit));
        walk(&store, &keys, request("logs/", None, ListAfter::Start, limit.max(100)));
    }
}

#[test]
fn a_token_passes_over_its_folded_prefix_and_a_name_shows_it_again() {
    let keys: BTreeSet<String> = ["a/1", "a/2", "b"].map(str::to_owned).into();
    let store = STORE.with(|base| base.clone_with(&keys));
    let page = |after| list(&store, &request("", Some("/"), after, 10)).unwrap();
    assert_eq!(names(&page(ListAfter::Token("a/".to_owned()))), (vec!["b"], vec![], None));
    assert_eq!(names(&page(ListAfter::Name("a/".to_owned()))), (vec!["b"], vec!["a/"], None));
    assert_eq!(names(&page(ListAfter::Name("a/2".to_owned()))), (vec!["b"], vec![], None));
    assert_eq!(names(&page(ListAfter::Token("zz".to_owned()))), (vec![], vec![], None));
}

#[test]
fn pages_are_bounded_and_may_be_empty() {
    let keys: BTreeSet<String> = (0..1500).map(|n| format!("{n:05}")).collect();
    let store = STORE.with(|base| base.clone_with(&keys));
    let all = list(&store, &request("", None, ListAfter::Start, u32::MAX)).unwrap();
    assert_eq!(all.files.len(), LIST_MAX_KEYS as usize);
    let none = list(&store, &request("", None, ListAfter::Start, 0)).unwrap();
    assert_eq!(names(&none), (vec![], vec![], None));
    let request = ListRequest { bucket: name("other"), ..request("", None, ListAfter::Start, 1) };
    assert!(matches!(list(&store, &request), Err(crate::query::QueryError::Refused(Refusal::NoSuchBucket(_)))));
}

#[test]
fn a_listing_shows_what_commits_made() {
    let mut world = World::new();
    let first = world.put_inline("b", b"12345");
    world.put_inline("a", b"1");
    world.delete("a").unwrap();
    let from = path("b");
    let (to, from_condition, condition) = (path("c").key, Default::default(), Default::default());
    let listed = list(world.view(), &request("", None, ListAfter::Start, 10)).unwrap();
    let [file] = &listed.files[..] else { panic!("{listed:?}") };
    assert_eq!((file.key.as_str(), file.stamp, file.length, file.tags), ("b", first.stamp, 5, first.tags));
    world.run(Command::RenameFile { from, to, from_condition, condition }).unwrap();
    let listed = list(world.view(), &request("", None, ListAfter::Start, 10)).unwrap();
    assert_eq!(names(&listed).0, ["c"]);
}
