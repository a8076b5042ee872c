//! Buckets, uploads, keys, sessions, and what is due.

use super::members;
use crate::query::{
    QueryError, bucket, buckets, counts, join_token, key, keys, oldest_window, parts, release_due, session,
    sessions_due, staging, uploads, window_end,
};
use crate::state::tests::{World, entry, name, path};
use cairn_common::chunk::Chunking;
use cairn_common::file::Attributes;
use cairn_common::ids::{Stamp, TenantId, UploadId, WindowId};
use cairn_common::limits::{READ_GRACE_MS, SESSION_TTL_MS, WINDOW_MAX_MS};
use cairn_common::manifest::{Entry, RootHasher};
use cairn_common::name::Key;
use cairn_common::wire::command::{Command, CommitPart, Done, KeyRecord, MultipartRef, NewContent, Refusal};
use cairn_common::wire::master::{Caller, UploadsPage, Usage};
use std::collections::BTreeMap;

#[test]
fn buckets_are_shown_to_their_tenant_with_exact_counts() {
    let mut world = World::new();
    let create =
        |text: &str, tenant, replicas| Command::CreateBucket { name: name(text), tenant, replicas, lock: false };
    world.run(create("two", TenantId(2), Some(5))).unwrap();
    world.run(create("abc", TenantId::FIRST, None)).unwrap();
    world.put_inline("k", b"hello");
    let members = members(&world);
    let of = |tenant| -> Vec<String> {
        let buckets = buckets(world.view(), &members, tenant).unwrap();
        buckets.into_iter().map(|bucket| bucket.name.to_string()).collect()
    };
    assert_eq!(
        (of(TenantId::FIRST), of(TenantId(2)), of(TenantId(3))),
        (vec!["abc".into(), "one".into()], vec!["two".into()], vec![])
    );
    let info = bucket(world.view(), &members, &name("one")).unwrap();
    assert_eq!((info.replicas, info.replicas_follow), (3, true));
    assert_eq!(info.usage, Usage { files: 1, bytes: 5, ..Usage::default() });
    let info = bucket(world.view(), &members, &name("two")).unwrap();
    assert_eq!((info.replicas, info.replicas_follow, info.tenant), (5, false, TenantId(2)));
    let missing = bucket(world.view(), &members, &name("none"));
    assert!(matches!(missing, Err(QueryError::Refused(Refusal::NoSuchBucket(_)))));
    let counts = counts(world.view()).unwrap();
    assert_eq!((counts.buckets, counts.sessions, counts.stamp), (3, 1, world.now));
    assert_eq!(counts.usage, Usage { files: 1, bytes: 5, ..Usage::default() });
}

#[test]
fn the_leader_learns_what_is_due() {
    let mut world = World::new();
    assert!(!release_due(world.view(), world.now).unwrap());
    world.put_chunks("k", &[1]);
    world.delete("k").unwrap();
    let due = world.now.plus_ms(READ_GRACE_MS);
    assert_eq!(counts(world.view()).unwrap().releasing, 1);
    assert!(!release_due(world.view(), world.now.plus_ms(READ_GRACE_MS - 60_000)).unwrap());
    assert!(release_due(world.view(), due).unwrap());
    world.wait_ms(READ_GRACE_MS);
    world.release();
    assert!(!release_due(world.view(), world.now).unwrap());

    let id = world.session;
    let info = session(world.view(), id).unwrap().unwrap();
    assert_eq!(info.owner, Caller::Key("tester".to_owned()));
    let before = Stamp(info.expires.0 - 1);
    assert_eq!(sessions_due(world.view(), before, 10).unwrap(), []);
    assert_eq!(sessions_due(world.view(), info.expires, 10).unwrap(), [id]);
    assert_eq!(sessions_due(world.view(), info.expires, 0).unwrap(), []);
    world.wait_ms(SESSION_TTL_MS);
    world.bare(Command::ExpireSessions { sessions: vec![id] }).unwrap();
    assert_eq!(session(world.view(), id).unwrap(), None);
}

#[test]
fn the_oldest_open_window_is_known() {
    let mut world = World::new();
    let first = world.window;
    world.open_window();
    let (id, second) = (world.session, world.window);
    assert_eq!(oldest_window(world.view()).unwrap(), Some(first));
    assert_eq!(window_end(world.view(), id, first).unwrap(), Some(Stamp(first.0).plus_ms(WINDOW_MAX_MS)));
    world.run(Command::CloseWindow { window: first }).unwrap();
    assert_eq!(oldest_window(world.view()).unwrap(), Some(second));
    assert_eq!(window_end(world.view(), id, first).unwrap(), None);
    world.bare(Command::EndSession { session: id }).unwrap();
    assert_eq!(oldest_window(world.view()).unwrap(), None);
    assert_eq!(window_end(world.view(), id, WindowId(1)).unwrap(), None);
}

#[test]
fn keys_are_shown_without_their_secrets() {
    let mut world = World::new();
    for (access, tenant) in [("AK2", 1), ("AK1", 1), ("AK3", 2)] {
        let record = KeyRecord {
            access: access.to_owned(),
            name: "tester".to_owned(),
            sealed_secret: vec![1, 2, 3],
            tenant: TenantId(tenant),
            cluster_admin: false,
            grants: Vec::new(),
            created: Stamp(1),
            expires: None,
        };
        world.run(Command::CreateKey(Box::new(record))).unwrap();
    }
    let shown: Vec<String> = keys(world.view()).unwrap().into_iter().map(|key| key.access).collect();
    assert_eq!(shown, ["AK1", "AK2", "AK3"]);
    assert_eq!(key(world.view(), "AK3").unwrap().unwrap().sealed_secret, [1, 2, 3]);
    assert_eq!(key(world.view(), "AK4").unwrap(), None);
    assert!(join_token(world.view(), "token of node-2").unwrap().unwrap().used_by.is_some());
    assert_eq!(join_token(world.view(), "x").unwrap(), None);
}

fn begin(world: &mut World, key: &str) -> UploadId {
    let attributes = Attributes::default();
    match world.run(Command::BeginMultipart {
        path: path(key),
        attributes,
        checksum: Some(("CRC32".into(), true)),
        length: None,
    }) {
        Ok(Done::Upload(upload)) => upload,
        other => panic!("{other:?}"),
    }
}

#[test]
fn parts_are_shown_in_pages() {
    let mut world = World::new();
    let upload = begin(&mut world, "k");
    for number in [3u32, 1, 10_000, 7] {
        let entries: Vec<Entry> = vec![entry(u64::from(number))];
        let part = CommitPart {
            upload: MultipartRef { path: path("k"), upload },
            number,
            content: NewContent::Chunks(world.chunks(None, &entries)),
            root: RootHasher::of(&entries),
            length: entries[0].length,
            md5: [number as u8; 16],
            checksums: BTreeMap::new(),
        };
        world.run(Command::CommitPart(Box::new(part))).unwrap();
    }
    let page = |after, limit| {
        let page = parts(world.view(), &path("k"), upload, after, limit).unwrap();
        assert_eq!(page.checksum, Some(("CRC32".to_owned(), true)));
        (page.parts.into_iter().map(|part| part.number).collect::<Vec<_>>(), page.more)
    };
    assert_eq!(page(0, 0), (vec![1, 3, 7, 10_000], false));
    assert_eq!(page(0, 2), (vec![1, 3], true));
    assert_eq!(page(3, 2), (vec![7, 10_000], false));
    assert_eq!(page(u32::MAX, 2), (vec![], false));
    let other = parts(world.view(), &path("l"), upload, 0, 0);
    assert!(matches!(other, Err(QueryError::Refused(Refusal::NoSuchUpload(_)))));
}

fn shown(page: &UploadsPage) -> Vec<(&str, u64)> {
    page.uploads.iter().map(|upload| (upload.key.as_str(), upload.upload.0)).collect()
}

#[test]
fn uploads_are_shown_by_key_and_id_in_pages_that_lose_nothing() {
    let mut world = World::new();
    world.bucket("two");
    let mut all = Vec::new();
    for key in ["b", "a\0", "a", "a\0\u{1}", "a", "c/1", "c/2", "d", "\u{10ffff}", "c/1", "c"] {
        all.push((key, begin(&mut world, key).0));
    }
    all.sort();
    let list = |prefix: &str, delimiter, after: Option<&(String, Option<UploadId>)>, limit| {
        uploads(world.view(), &name("one"), prefix, delimiter, after, limit).unwrap()
    };
    assert_eq!(shown(&list("", None, None, 1000)), all);
    for limit in 1..=all.len() as u32 {
        for delimiter in [None, Some("/")] {
            let (mut seen, mut prefixes, mut after) = (Vec::new(), Vec::new(), None);
            loop {
                let page = list("", delimiter, after.as_ref(), limit);
                assert!(page.uploads.len() + page.prefixes.len() <= limit as usize);
                seen.extend(page.uploads.iter().map(|upload| (upload.key.as_str().to_owned(), upload.upload.0)));
                prefixes.extend(page.prefixes);
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            let wanted: Vec<_> = all.iter().filter(|(key, _)| delimiter.is_none() || !key.contains('/')).collect();
            assert_eq!(
                seen.iter().map(|(key, id)| (key.as_str(), *id)).collect::<Vec<_>>(),
                wanted.into_iter().copied().collect::<Vec<_>>()
            );
            assert_eq!(prefixes, if delimiter.is_some() { vec!["c/".to_owned()] } else { Vec::new() });
        }
    }
    let a: Vec<u64> = all.iter().filter(|(key, _)| *key == "a").map(|(_, id)| *id).collect();
    let behind = list("a", None, Some(&("a".to_owned(), Some(UploadId(a[0])))), 1);
    assert_eq!(shown(&behind), [("a", a[1])]);
    let behind = list("a", None, Some(&("a".to_owned(), None)), 1);
    assert_eq!(shown(&behind)[0].0, "a\0");
    assert_eq!(shown(&list("c/", None, None, 10)).len(), 3);
    assert_eq!(shown(&list("", None, None, 0)).len(), 0);
    assert_eq!(uploads(world.view(), &name("two"), "", None, None, 10).unwrap().uploads.len(), 0);
    assert_eq!(Key::new("a").unwrap(), list("", None, None, 1).uploads[0].key);
}

#[test]
fn a_staged_upload_says_whose_it_is() {
    let mut world = World::new();
    let command = Command::BeginStaging { bucket: name("one"), chunking: Chunking::CONTENT };
    let Ok(Done::Upload(upload)) = world.run(command) else { panic!() };
    let info = staging(world.view(), upload).unwrap().unwrap();
    assert_eq!((info.owner, info.segments, info.length), (Caller::Key("tester".to_owned()), 0, 0));
    assert_eq!(info.chunking, Chunking::CONTENT);
    assert_eq!(staging(world.view(), UploadId(1)).unwrap(), None);
}
