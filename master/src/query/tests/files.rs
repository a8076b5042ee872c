//! Files, pages, and the order of nodes.

use super::{LIMITS, members};
use crate::query::{FileBytes, OpenedFile, PageLimits, QueryError, open, page, stat, where_is};
use crate::state::tests::{Server, World, address, entry, if_absent, if_match, inline, name, of_chunks, path};
use cairn_common::chunk::{ChunkAddress, Chunking};
use cairn_common::file::{Attributes, Condition, S3Tag, TagCondition};
use cairn_common::ids::{ManifestId, NodeId};
use cairn_common::limits::{READ_GRACE_MS, SEGMENT_ENTRIES};
use cairn_common::manifest::{Entry, Extent, RootHasher};
use cairn_common::wire::command::{Command, CommitFile, CommitPart, CompleteMultipart, Done, MultipartRef, Refusal};
use cairn_common::wire::command::{NewChunks, NewContent};
use cairn_common::wire::master::{Found, RangeWanted};
use std::collections::BTreeMap;

fn opened(world: &World, key: &str, range: RangeWanted) -> OpenedFile {
    let found = open(world.view(), &members(world), (&path(key), None), &Condition::default(), range, LIMITS).unwrap();
    match found {
        Found::Here(opened) => opened,
        Found::NotModified(_) => panic!("nothing was asked"),
    }
}

fn manifest_of(opened: &OpenedFile) -> ManifestId {
    match &opened.bytes {
        FileBytes::Chunks { manifest, .. } => *manifest,
        other => panic!("{other:?}"),
    }
}

fn number_of(wanted: ChunkAddress) -> u64 {
    thread_local! {
        static NUMBERS: BTreeMap<ChunkAddress, u64> = (0..20_000).map(|n| (address(n), n)).collect();
    }
    NUMBERS.with(|numbers| numbers[&wanted])
}

/// Offset, chunk, first byte in it, length.
fn stretches(world: &World, manifest: ManifestId, offset: u64, end: u64, entries: usize) -> (Vec<[u64; 4]>, bool) {
    let limits = PageLimits { entries, nodes: 1 };
    let page = page(world.view(), &members(world), manifest, offset, end, limits).unwrap();
    let number = |entry: &Entry| match entry.extent {
        Extent::Chunk { address, offset, .. } => (number_of(address), offset),
        _ => panic!("{entry:?}"),
    };
    let stretch = |stretch: &crate::query::Stretch| {
        let (chunk, skipped) = number(&stretch.entry);
        [stretch.offset, chunk, u64::from(skipped), stretch.entry.length]
    };
    (page.stretches.iter().map(stretch).collect(), page.more)
}

#[test]
fn a_stat_tells_all_that_was_stored_with_a_file() {
    let mut world = World::new();
    let attributes = Attributes { expires: Some("never".to_owned()), ..Attributes::default() };
    let committed = world.put(CommitFile { attributes: attributes.clone(), ..inline("k", b"hello") }).unwrap();
    let Found::Here(info) = stat(world.view(), &path("k"), None, &Condition::default()).unwrap() else { panic!() };
    assert_eq!((info.stamp, info.length, info.tags), (committed.stamp, 5, committed.tags));
    assert_eq!(info.attributes, attributes);
    let refused = |condition| match stat(world.view(), &path("k"), None, &condition) {
        Err(QueryError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(if_match("x")), Refusal::ConditionFailed { path: path("k") });
    let known = Condition { if_none_match: Some(TagCondition::Any), ..Condition::default() };
    assert_eq!(known, if_absent());
    let Found::NotModified(same) = stat(world.view(), &path("k"), None, &known).unwrap() else { panic!() };
    assert_eq!(*same, info);
    let absent = stat(world.view(), &path("x"), None, &Condition::default());
    assert!(matches!(absent, Err(QueryError::Refused(Refusal::NoSuchFile(_)))));
}

#[test]
fn a_small_file_is_opened_with_its_bytes() {
    let mut world = World::new();
    world.put_inline("k", b"hello");
    world.put_inline("empty", b"");
    let file = opened(&world, "k", RangeWanted::FromTo(1, 3));
    assert_eq!(file.range, (1, 3));
    let FileBytes::Inline { bytes, hash } = file.bytes else { panic!() };
    assert_eq!((bytes.as_ref(), blake3::hash(b"hello").as_bytes()), (&b"hello"[..], &hash));
    let file = opened(&world, "empty", RangeWanted::All);
    assert_eq!(file.range, (0, 0));
    let FileBytes::Inline { bytes, hash } = file.bytes else { panic!() };
    assert_eq!((bytes.len(), blake3::hash(b"").as_bytes()), (0, &hash));
    assert_eq!(opened(&world, "k", RangeWanted::From(5)).bytes, FileBytes::Unsatisfiable);
}

#[test]
fn a_file_is_opened_at_the_chunk_that_has_the_first_byte_wanted() {
    let mut world = World::new();
    world.put_chunks("k", &[1, 2, 3]);
    let file = opened(&world, "k", RangeWanted::FromTo(1001, 2004));
    let FileBytes::Chunks { head, page, domain, .. } = &file.bytes else { panic!() };
    assert_eq!((head.entries, head.length, domain.0), (3, 3006, 1));
    let offsets: Vec<u64> = page.stretches.iter().map(|stretch| stretch.offset).collect();
    assert_eq!((offsets, page.more), (vec![1001, 2003], false));
    let manifest = manifest_of(&file);
    assert_eq!(stretches(&world, manifest, 1000, 1001, 9).0, [[0, 1, 0, 1001]]);
    assert_eq!(stretches(&world, manifest, 0, 3006, 2), (vec![[0, 1, 0, 1001], [1001, 2, 0, 1002]], true));
    assert_eq!(stretches(&world, manifest, 3006, 9999, 2), (vec![], false));
}

/// A file of two full segments and a tail.
fn large(world: &mut World, key: &str) -> Vec<Entry> {
    let command = Command::BeginStaging { bucket: name("one"), chunking: Chunking::FIXED };
    let Ok(Done::Upload(upload)) = world.run(command) else { panic!() };
    let full = SEGMENT_ENTRIES as u64;
    let entries: Vec<Entry> = (0..2 * full + 3).map(|n| Entry::chunk(address(n), 4000 + n as u32)).collect();
    for (index, segment) in (0..2).zip(entries.chunks(SEGMENT_ENTRIES)) {
        let receipts = world.receipts_of(&world.servers, segment);
        let entries = segment.to_vec();
        world.run(Command::AppendSegment { staging: upload, index, entries, receipts }).unwrap();
    }
    let new = world.chunks(Some(upload), &entries[2 * SEGMENT_ENTRIES..]);
    let root = RootHasher::of(&entries);
    let length = entries.iter().map(|entry| entry.length).sum();
    world.put(CommitFile { root, length, ..of_chunks(key, new) }).unwrap();
    entries
}

#[test]
fn pages_of_a_large_file_join_without_gaps() {
    let mut world = World::new();
    let entries = large(&mut world, "k");
    let manifest = manifest_of(&opened(&world, "k", RangeWanted::All));
    let length: u64 = entries.iter().map(|entry| entry.length).sum();
    let mut offset = 0;
    let mut seen = Vec::new();
    loop {
        let (page, more) = stretches(&world, manifest, offset, length, 700);
        offset = page.last().map(|[offset, _, _, length]| offset + length).unwrap();
        seen.extend(page);
        if !more {
            break;
        }
    }
    assert_eq!(offset, length);
    let chunks: Vec<u64> = seen.iter().map(|[_, chunk, ..]| *chunk).collect();
    assert_eq!(chunks, (0..entries.len() as u64).collect::<Vec<_>>());
    // Every place where a segment begins or ends.
    let mut start = 0;
    for (n, entry) in entries.iter().enumerate() {
        if [0, 1, 1023, 1024, 1025, 2047, 2048, 2050].contains(&n) {
            let n = n as u64;
            assert_eq!(stretches(&world, manifest, start, start + 1, 9).0, [[start, n, 0, entry.length]]);
            let last = start + entry.length - 1;
            assert_eq!(stretches(&world, manifest, last, last + 1, 9).0, [[start, n, 0, entry.length]]);
        }
        start += entry.length;
    }
}

#[test]
fn ranges_of_other_manifests_are_resolved_to_stretches_of_chunks() {
    let mut world = World::new();
    large(&mut world, "source");
    let source = manifest_of(&opened(&world, "source", RangeWanted::All));
    let attributes = Attributes::default();
    let begun = world.run(Command::BeginMultipart { path: path("k"), attributes, checksum: None, length: None });
    let Ok(Done::Upload(upload)) = begun else { panic!() };
    let upload = MultipartRef { path: path("k"), upload };
    // 6 MB from the middle of a chunk on, across a segment's edge; then a chunk of its own; then 2 bytes.
    let mib = Entry::chunk(address(15_000), 4 << 20);
    let entries = [mib.clone(), mib];
    let content = NewContent::Chunks(world.chunks(None, &entries));
    let (root, md5, checksums) = (RootHasher::of(&entries), [2; 16], BTreeMap::new());
    let part = CommitPart { upload: upload.clone(), number: 2, content, root, length: 8 << 20, md5, checksums };
    world.run(Command::CommitPart(Box::new(part))).unwrap();
    let mut parts = BTreeMap::from([(2, hex::encode(md5))]);
    let start = 500;
    for (number, range) in [(1, (start, start + (5 << 20))), (3, (1001, 1003))] {
        let (from, from_condition) = (path("source"), Condition::default());
        let command = Command::CopyPart {
            upload: upload.clone(),
            number,
            from,
            from_version: None,
            from_condition,
            range: Some(range),
        };
        let Ok(Done::Part { md5, .. }) = world.run(command) else { panic!() };
        parts.insert(number, hex::encode(md5));
    }
    let parts = parts.into_iter().collect();
    let (condition, checksums) = (Condition::default(), BTreeMap::new());
    let complete = CompleteMultipart { upload, parts, condition, checksums };
    world.run(Command::CompleteMultipart(Box::new(complete))).unwrap();

    let file = opened(&world, "k", RangeWanted::All);
    let (manifest, length) = (manifest_of(&file), file.info.length);
    assert_eq!(length, (5 << 20) + (8 << 20) + 2);
    let (all, more) = stretches(&world, manifest, 0, length, usize::MAX);
    assert!(!more);
    assert_eq!(all[0], [0, 0, 500, 3500], "the first chunk from its middle on");
    let gaps = all.windows(2).filter(|pair| pair[0][0] + pair[0][3] != pair[1][0]).count();
    assert_eq!((gaps, all.last().map(|last| last[0] + last[3])), (0, Some(length)));
    assert_eq!(all[all.len() - 1], [length - 2, 0, 1001, 2]);
    // The same bytes as the source has there.
    let end = start + (5 << 20);
    let (of_source, _) = stretches(&world, source, start, end, usize::MAX);
    let clipped = of_source.iter().map(|[at, chunk, skipped, length]| {
        let (from, to) = ((*at).max(start), (at + length).min(end));
        [from - start, *chunk, skipped + (from - at), to - from]
    });
    let within: Vec<[u64; 4]> = all.iter().copied().filter(|stretch| stretch[0] < 5 << 20).collect();
    assert_eq!(within, clipped.collect::<Vec<_>>());
    // From any offset, the first stretch has the byte that was asked for, and is one of those above.
    for offset in (0..length).step_by(99_991).chain(all.iter().map(|stretch| stretch[0])) {
        let (from_here, _) = stretches(&world, manifest, offset, length, 3);
        let first = all.iter().position(|stretch| stretch[0] <= offset && offset < stretch[0] + stretch[3]).unwrap();
        assert_eq!(from_here, all[first..(first + 3).min(all.len())], "{offset}");
    }
}

#[test]
fn an_opened_file_is_read_on_after_it_is_removed_until_the_grace_is_over() {
    let mut world = World::new();
    large(&mut world, "k");
    let manifest = manifest_of(&opened(&world, "k", RangeWanted::All));
    world.delete("k").unwrap();
    world.wait_ms(READ_GRACE_MS - 1000);
    world.release();
    assert_eq!(stretches(&world, manifest, 0, 1, 1).0, [[0, 0, 0, 4000]]);
    world.wait_ms(1000);
    // One step: some segments are gone, others not.
    world.bare(Command::Release).unwrap();
    let read = |world: &World| page(world.view(), &members(world), manifest, 0, 1, LIMITS).map(drop);
    assert!(matches!(read(&world), Err(QueryError::Gone)), "{:?}", read(&world));
    world.release();
    assert!(matches!(read(&world), Err(QueryError::Gone)));
}

/// Owners of chunk 1 and the others.
fn owners(world: &World) -> (Vec<Server>, Vec<Server>) {
    let members = members(world);
    let owners: Vec<NodeId> = members.ring().unwrap().owners(address(1).slot(), 2).collect();
    world.servers.iter().copied().partition(|server| owners.contains(&server.node))
}

#[test]
fn readers_ask_owners_first_then_earlier_owners_then_hints_then_everyone() {
    let mut world = World::with(Box::new(crate::store::MemoryStore::new()), &["a", "b", "c", "d", "e"], 2);
    world.bucket("one");
    world.put_chunks("other", &[2]);
    let (_, off) = owners(&world);
    let tail = vec![entry(1)];
    let receipts = world.receipts_of(&off[1..], &tail);
    let new = NewChunks { staging: None, chunking: Chunking::FIXED, tail, receipts };
    world.put(of_chunks("k", new)).unwrap();
    let first_owners = members(&world).ring().unwrap().owners(address(1).slot(), 2).collect::<Vec<_>>();
    // The owners lose all their weight: others own the chunk now.
    for node in &first_owners {
        world.bare(Command::SetNode { node: *node, weight: Some(0), zone: None }).unwrap();
    }
    let members = members(&world);
    let newest: Vec<NodeId> = members.ring().unwrap().owners(address(1).slot(), 2).collect();
    assert!(newest.iter().all(|node| !first_owners.contains(node)));
    let file = opened(&world, "k", RangeWanted::All);
    let FileBytes::Chunks { page, .. } = &file.bytes else { panic!() };
    let nodes = &page.stretches[0].nodes;
    let all: Vec<NodeId> = world.servers.iter().map(|server| server.node).collect();
    let mut sorted = nodes.clone();
    sorted.sort();
    assert_eq!(sorted, all, "everyone, once");
    assert_eq!(nodes[..2], newest);
    let by_ring = members.rings_newest_first().flat_map(|ring| ring.owners(address(1).slot(), 2).collect::<Vec<_>>());
    let hints = off[1..].iter().map(|server| server.node);
    let mut wanted: Vec<NodeId> = Vec::new();
    for node in by_ring.chain(hints).chain(members.ring().unwrap().preference(address(1).slot())) {
        if !wanted.contains(&node) {
            wanted.push(node);
        }
    }
    assert_eq!(*nodes, wanted);
    assert_eq!(members.rings_newest_first().count(), 3);

    let found = where_is(world.view(), &members, &path("k"), 0, LIMITS).unwrap();
    assert_eq!((found.replicas, found.more, found.manifest), (2, false, Some(manifest_of(&file))));
    let [stretch] = &found.stretches[..] else { panic!() };
    assert_eq!((&stretch.owners, &stretch.nodes), (&newest, nodes));
    let hinted: Vec<NodeId> = off[1..].iter().map(|server| server.node).collect();
    assert_eq!(stretch.misplaced, hinted);
}

#[test]
fn the_place_of_a_small_file_is_with_the_masters() {
    let mut world = World::new();
    world.put(CommitFile { tag: S3Tag::Md5([1; 16]), ..inline("k", b"hello") }).unwrap();
    let found = where_is(world.view(), &members(&world), &path("k"), 0, LIMITS).unwrap();
    assert_eq!((found.replicas, found.manifest, found.stretches.len(), found.more), (3, None, 0, false));
}
