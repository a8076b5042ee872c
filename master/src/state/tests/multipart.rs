//! Multipart uploads.

use super::*;
use crate::store::EntryWalk;
use crate::store::key::{Body, CurrentKey, CurrentRow, ManifestKey, MultipartKey, PartKey, PartRow};
use cairn_common::file::Checksum;
use cairn_common::limits::{PART_MAX_BYTES, PART_MIN_BYTES, PARTS_MAX, READ_GRACE_MS, UPLOAD_RESULT_MS};
use cairn_common::manifest::Extent;
use cairn_common::wire::command::{CommitPart, CompleteMultipart, CopyFile, MultipartRef};
use md5::{Digest, Md5};
use std::collections::BTreeMap;

/// A chunk of 1 MiB.
fn mib(n: u64) -> Entry {
    Entry::chunk(address(n), 1 << 20)
}

pub(super) fn begin(world: &mut World, key: &str) -> MultipartRef {
    let attributes = Attributes { content_type: Some("x".to_owned()), ..Attributes::default() };
    match world.run(Command::BeginMultipart { path: path(key), attributes, checksum: None, length: None }) {
        Ok(Done::Upload(upload)) => MultipartRef { path: path(key), upload },
        other => panic!("{other:?}"),
    }
}

fn part_of(world: &World, upload: &MultipartRef, number: u32, chunks: &[u64]) -> CommitPart {
    let entries: Vec<Entry> = chunks.iter().map(|n| mib(*n)).collect();
    CommitPart {
        upload: upload.clone(),
        number,
        content: NewContent::Chunks(world.chunks(None, &entries)),
        root: RootHasher::of(&entries),
        length: entries.iter().map(|entry| entry.length).sum(),
        md5: [number as u8; 16],
        checksums: BTreeMap::new(),
    }
}

pub(super) fn put_part(world: &mut World, upload: &MultipartRef, number: u32, chunks: &[u64]) -> Outcome {
    let part = part_of(world, upload, number, chunks);
    world.run(Command::CommitPart(Box::new(part)))
}

fn tag_of(n: u32) -> String {
    hex::encode([n as u8; 16])
}

pub(super) fn complete_as(upload: &MultipartRef, parts: Vec<(u32, String)>) -> CompleteMultipart {
    let checksums = BTreeMap::new();
    CompleteMultipart { upload: upload.clone(), parts, condition: Condition::default(), checksums }
}

pub(super) fn complete(world: &mut World, upload: &MultipartRef, parts: &[u32]) -> Outcome {
    let parts = parts.iter().map(|n| (*n, tag_of(*n))).collect();
    world.run(Command::CompleteMultipart(Box::new(complete_as(upload, parts))))
}

pub(super) fn copy_part(
    world: &mut World,
    upload: &MultipartRef,
    number: u32,
    from: &str,
    range: Option<(u64, u64)>,
) -> Outcome {
    let (from, from_condition) = (path(from), Condition::default());
    world.run(Command::CopyPart { upload: upload.clone(), number, from, from_version: None, from_condition, range })
}

fn current(world: &World, key: &str) -> CurrentRow {
    let bucket = world.view().row(&BucketKey(&name("one"))).unwrap().unwrap().id;
    world.view().row(&CurrentKey { bucket, key }).unwrap().unwrap()
}

fn stored_part(world: &World, upload: &MultipartRef, number: u32) -> Option<PartRow> {
    world.view().row(&PartKey { upload: upload.upload, number }).unwrap()
}

/// The bytes of a file, as stretches of chunks: number of the chunk, first byte in it, length.
fn stretches(world: &World, key: &str) -> Vec<(u64, u64, u64)> {
    let chunk_number = |address: ChunkAddress| (0..1000).find(|n| super::address(*n) == address).unwrap();
    let mut stretches = Vec::new();
    let Body::Manifest(id) = current(world, key).body else { panic!("{key} has no manifest") };
    let row = world.view().row(&ManifestKey(id)).unwrap().unwrap();
    let mut walk = EntryWalk::at(world.view(), id, row, 0).unwrap();
    while let Some((_, entry)) = walk.next().unwrap() {
        match entry.extent {
            Extent::Chunk { address, .. } => stretches.push((chunk_number(address), 0, entry.length)),
            Extent::Range { manifest, offset, .. } => {
                let row = world.view().row(&ManifestKey(manifest)).unwrap().unwrap();
                assert!(!row.composite, "ranges refer to manifests of chunks");
                let mut inner = EntryWalk::at(world.view(), manifest, row, offset).unwrap();
                let end = offset + entry.length;
                while let Some((start, entry)) = inner.next().unwrap() {
                    if start >= end {
                        break;
                    }
                    let Extent::Chunk { address, .. } = entry.extent else { panic!() };
                    let from = offset.saturating_sub(start);
                    let to = entry.length.min(end - start);
                    stretches.push((chunk_number(address), from, to - from));
                }
            }
            Extent::Hole => panic!(),
        }
    }
    stretches
}

pub(super) const MIB: u64 = 1 << 20;

fn whole(chunks: &[u64]) -> Vec<(u64, u64, u64)> {
    chunks.iter().map(|n| (*n, 0, MIB)).collect()
}

#[test]
fn parts_become_a_file_in_the_order_of_their_numbers() {
    let mut world = World::new();
    let upload = begin(&mut world, "k");
    assert_eq!(world.usage(), Usage { uploads: 1, ..Usage::default() });
    for (number, chunks) in [(2, &[5, 6, 7, 8, 9][..]), (1, &[0, 1, 2, 3, 4]), (7, &[10])] {
        let Ok(Done::Part { md5, length, .. }) = put_part(&mut world, &upload, number, chunks) else { panic!() };
        assert_eq!((md5, length), ([number as u8; 16], chunks.len() as u64 * MIB));
    }
    assert_eq!(world.usage(), Usage { uploads: 1, pending_bytes: 11 * MIB, ..Usage::default() });
    let Ok(Done::Committed(committed)) = complete(&mut world, &upload, &[1, 2, 7]) else { panic!() };
    let mut md5 = Md5::new();
    for number in [1u8, 2, 7] {
        md5.update([number; 16]);
    }
    assert_eq!(committed.tags.s3, S3Tag::Multipart(md5.finalize().into(), 3));
    assert_eq!(committed.replicas_durable, 3);
    assert_eq!(stretches(&world, "k"), whole(&(0..=10).collect::<Vec<_>>()));
    assert_eq!(world.usage(), Usage { files: 1, bytes: 11 * MIB, ..Usage::default() });
    assert!(current(&world, "k").attributes, "what was given at the beginning is stored");
    world.delete("k").unwrap();
    world.wait_ms(READ_GRACE_MS);
    world.release();
    assert_eq!((world.references(0), world.references(10), world.releasing()), (0, 0, 0));
}

#[test]
fn a_file_of_one_part_is_that_part() {
    let mut world = World::new();
    let upload = begin(&mut world, "k");
    put_part(&mut world, &upload, 3, &[1]).unwrap();
    let Some(PartRow { body, .. }) = stored_part(&world, &upload, 3) else { panic!() };
    complete(&mut world, &upload, &[3]).unwrap();
    assert_eq!(current(&world, "k").body, body);
}

#[test]
fn parts_without_bytes_add_nothing() {
    let mut world = World::new();
    let upload = begin(&mut world, "k");
    put_part(&mut world, &upload, 1, &[]).unwrap();
    complete(&mut world, &upload, &[1]).unwrap();
    assert_eq!((current(&world, "k").body, current(&world, "k").length), (Body::Empty, 0));
    let upload = begin(&mut world, "l");
    put_part(&mut world, &upload, 1, &[1, 2, 3, 4, 5]).unwrap();
    put_part(&mut world, &upload, 2, &[]).unwrap();
    let Ok(Done::Committed(committed)) = complete(&mut world, &upload, &[1, 2]) else { panic!() };
    assert!(matches!(committed.tags.s3, S3Tag::Multipart(_, 2)));
    assert_eq!(stretches(&world, "l"), whole(&[1, 2, 3, 4, 5]));
}

#[test]
fn a_part_sent_again_replaces_the_first() {
    let mut world = World::new();
    let upload = begin(&mut world, "k");
    put_part(&mut world, &upload, 1, &[1, 2]).unwrap();
    put_part(&mut world, &upload, 1, &[3]).unwrap();
    assert_eq!((world.usage().pending_bytes, world.releasing()), (MIB, 1));
    world.wait_ms(READ_GRACE_MS);
    world.release();
    assert_eq!((world.references(1), world.references(3)), (0, 1));
}

#[test]
fn parts_that_are_not_named_are_let_go() {
    let mut world = World::new();
    let upload = begin(&mut world, "k");
    put_part(&mut world, &upload, 1, &[1]).unwrap();
    put_part(&mut world, &upload, 2, &[2]).unwrap();
    complete(&mut world, &upload, &[2]).unwrap();
    assert_eq!(world.usage(), Usage { files: 1, bytes: MIB, ..Usage::default() });
    world.wait_ms(READ_GRACE_MS);
    world.release();
    assert_eq!((world.references(1), world.references(2)), (0, 1));
}

#[test]
fn a_completion_checks_numbers_tags_and_sizes() {
    let mut world = World::new();
    let upload = begin(&mut world, "k");
    for number in [1, 2, 3] {
        put_part(&mut world, &upload, number, &[1, 2, 3, 4, 5][..if number == 2 { 4 } else { 5 }]).unwrap();
    }
    let order = |number| Err(Refusal::InvalidPartOrder(number));
    assert_eq!(complete(&mut world, &upload, &[2, 1]), order(1));
    assert_eq!(complete(&mut world, &upload, &[1, 1]), order(1));
    assert_eq!(complete(&mut world, &upload, &[0]), order(0));
    assert_eq!(complete(&mut world, &upload, &[PARTS_MAX + 1]), order(PARTS_MAX + 1));
    assert_eq!(complete(&mut world, &upload, &[1, 9]), Err(Refusal::InvalidPart(9)));
    assert_eq!(complete(&mut world, &upload, &[]), Err(Refusal::InvalidPart(0)));
    let other = complete_as(&upload, vec![(1, tag_of(2))]);
    assert_eq!(world.run(Command::CompleteMultipart(Box::new(other))), Err(Refusal::InvalidPart(1)));
    let small = Err(Refusal::PartTooSmall { number: 2, length: 4 * MIB });
    assert_eq!(complete(&mut world, &upload, &[1, 2, 3]), small);
    const { assert!(PART_MIN_BYTES == 5 * MIB) };
    let upper = complete_as(&upload, vec![(1, tag_of(1).to_uppercase()), (2, tag_of(2))]);
    assert!(world.run(Command::CompleteMultipart(Box::new(upper))).is_ok());
}

#[test]
fn a_completion_obeys_its_condition_and_can_be_tried_again() {
    let mut world = World::new();
    world.put_inline("k", b"1");
    let upload = begin(&mut world, "k");
    put_part(&mut world, &upload, 1, &[1]).unwrap();
    let parts = vec![(1, tag_of(1))];
    let absent = CompleteMultipart { condition: if_absent(), ..complete_as(&upload, parts.clone()) };
    let refused = Err(Refusal::ConditionFailed { path: path("k") });
    assert_eq!(world.run(Command::CompleteMultipart(Box::new(absent))), refused);
    let value = Checksum { value: vec![1, 2], parts: Some(1) };
    let checksums = BTreeMap::from([("CRC32".to_owned(), value)]);
    let good = CompleteMultipart { checksums: checksums.clone(), ..complete_as(&upload, parts) };
    let Ok(Done::Committed(committed)) = world.run(Command::CompleteMultipart(Box::new(good))) else { panic!() };
    assert!(committed.replaced);
}

#[test]
fn a_finished_upload_answers_for_a_day() {
    let mut world = World::new();
    let (done, given_up) = (begin(&mut world, "k"), begin(&mut world, "l"));
    put_part(&mut world, &done, 1, &[1]).unwrap();
    let first = complete(&mut world, &done, &[1]);
    assert!(first.is_ok());
    world.put_inline("k", b"later");
    let abort = |upload: &MultipartRef| Command::AbortMultipart { upload: upload.clone() };
    world.run(abort(&given_up)).unwrap();
    world.wait_ms(UPLOAD_RESULT_MS - 1000);
    world.release();
    world.open_session();
    assert_eq!(complete(&mut world, &done, &[1]), first, "and does nothing");
    assert_eq!(current(&world, "k").length, 5);
    assert_eq!(world.run(abort(&given_up)), Ok(Done::Nothing));
    let gone = |upload: &MultipartRef| Err(Refusal::NoSuchUpload(upload.upload));
    assert_eq!(world.run(abort(&done)), gone(&done), "it is a file");
    assert_eq!(complete(&mut world, &given_up, &[1]), gone(&given_up));
    world.wait_ms(2000);
    world.release();
    assert_eq!(complete(&mut world, &done, &[1]), gone(&done));
    assert_eq!(world.run(abort(&given_up)), gone(&given_up));
}

#[test]
fn an_upload_counts_for_its_own_file_only() {
    let mut world = World::new();
    world.bucket("two");
    let upload = begin(&mut world, "k");
    put_part(&mut world, &upload, 1, &[1]).unwrap();
    let gone = Err(Refusal::NoSuchUpload(upload.upload));
    let other_key = MultipartRef { path: path("l"), ..upload.clone() };
    let mut other_bucket = upload.clone();
    other_bucket.path.bucket = name("two");
    for other in [&other_key, &other_bucket] {
        assert_eq!(put_part(&mut world, other, 2, &[2]), gone);
        assert_eq!(complete(&mut world, other, &[1]), gone);
        assert_eq!(world.run(Command::AbortMultipart { upload: other.clone() }), gone);
    }
    complete(&mut world, &upload, &[1]).unwrap();
    assert_eq!(complete(&mut world, &other_key, &[1]), gone, "also when it is finished");
}

#[test]
fn parts_after_the_end_are_refused_and_all_of_an_upload_is_let_go() {
    let mut world = World::new();
    let upload = begin(&mut world, "k");
    put_part(&mut world, &upload, 1, &[1]).unwrap();
    world.run(Command::AbortMultipart { upload: upload.clone() }).unwrap();
    assert_eq!(put_part(&mut world, &upload, 2, &[2]), Err(Refusal::NoSuchUpload(upload.upload)));
    assert_eq!(world.usage(), Usage::default());
    let key = MultipartKey { bucket: current_bucket(&world), key: "k".to_owned(), upload: upload.upload };
    assert!(world.view().row(&key).unwrap().is_none());
    world.wait_ms(READ_GRACE_MS);
    world.release();
    assert_eq!(world.references(1), 0);
}

fn current_bucket(world: &World) -> cairn_common::ids::BucketId {
    world.view().row(&BucketKey(&name("one"))).unwrap().unwrap().id
}

#[test]
fn a_bucket_with_an_open_upload_is_not_empty() {
    let mut world = World::new();
    let upload = begin(&mut world, "k");
    let delete = Command::DeleteBucket { name: name("one") };
    assert_eq!(world.run(delete.clone()), Err(Refusal::BucketNotEmpty(name("one"))));
    world.run(Command::AbortMultipart { upload }).unwrap();
    assert!(world.run(delete).is_ok());
}

#[test]
fn parts_have_numbers_and_sizes_within_limits_and_lie_in_chunks() {
    let mut world = World::new();
    let upload = begin(&mut world, "k");
    for number in [0, PARTS_MAX + 1] {
        assert_eq!(put_part(&mut world, &upload, number, &[1]), Err(Refusal::InvalidPartOrder(number)));
    }
    let large = CommitPart { length: PART_MAX_BYTES + 1, ..part_of(&world, &upload, 1, &[1]) };
    assert!(matches!(world.run(Command::CommitPart(Box::new(large))), Err(Refusal::Invalid(_))));
    let content = NewContent::Inline(Bytes::from_static(b"x"));
    let small = CommitPart { content, ..part_of(&world, &upload, 1, &[1]) };
    assert!(matches!(world.run(Command::CommitPart(Box::new(small))), Err(Refusal::Unsupported(_))));
}

#[test]
fn a_part_can_be_a_whole_file() {
    let mut world = World::new();
    let new = world.chunks(None, &[mib(1), mib(2), mib(3), mib(4), mib(5)]);
    let tag = S3Tag::Md5([9; 16]);
    world.put(CommitFile { tag, ..of_chunks("source", new) }).unwrap();
    let upload = begin(&mut world, "k");
    let Ok(Done::Part { md5, length, .. }) = copy_part(&mut world, &upload, 1, "source", None) else { panic!() };
    assert_eq!((md5, length), ([9; 16], 5 * MIB));
    assert_eq!(stored_part(&world, &upload, 1).unwrap().body, current(&world, "source").body);
    put_part(&mut world, &upload, 2, &[6]).unwrap();
    let parts = vec![(1, hex::encode([9; 16])), (2, tag_of(2))];
    world.run(Command::CompleteMultipart(Box::new(complete_as(&upload, parts)))).unwrap();
    world.delete("source").unwrap();
    world.wait_ms(READ_GRACE_MS);
    world.release();
    assert_eq!(stretches(&world, "k"), whole(&[1, 2, 3, 4, 5, 6]));
}

#[test]
fn a_part_can_be_a_range_of_a_file_of_parts() {
    let mut world = World::new();
    let first = begin(&mut world, "source");
    put_part(&mut world, &first, 1, &[0, 1, 2, 3, 4]).unwrap();
    put_part(&mut world, &first, 2, &[5, 6, 7, 8, 9]).unwrap();
    put_part(&mut world, &first, 3, &[10]).unwrap();
    complete(&mut world, &first, &[1, 2, 3]).unwrap();

    let second = begin(&mut world, "k");
    let mut parts = Vec::new();
    for (number, range) in [(1, Some((3 * MIB + 7, 10 * MIB + 1))), (2, None), (3, Some((0, 5)))] {
        let Ok(Done::Part { md5, .. }) = copy_part(&mut world, &second, number, "source", range) else { panic!() };
        parts.push((number, hex::encode(md5)));
    }
    world.run(Command::CompleteMultipart(Box::new(complete_as(&second, parts)))).unwrap();
    world.delete("source").unwrap();
    world.wait_ms(READ_GRACE_MS);
    world.release();
    let mut wanted = vec![(3, 7, MIB - 7), (4, 0, MIB)];
    wanted.extend(whole(&[5, 6, 7, 8, 9]));
    wanted.push((10, 0, 1));
    wanted.extend(whole(&(0..=10).collect::<Vec<_>>()));
    wanted.push((0, 0, 5));
    assert_eq!(stretches(&world, "k"), wanted);
    assert_eq!(current(&world, "k").length, wanted.iter().map(|(_, _, length)| length).sum::<u64>());

    let copy = CopyFile {
        from_version: None,
        from: path("k"),
        from_condition: Condition::default(),
        to: path("copy"),
        condition: Condition::default(),
        attributes: None,
    };
    world.run(Command::CopyFile(Box::new(copy))).unwrap();
    for key in ["k", "copy"] {
        assert_eq!(world.references(7), 1);
        world.delete(key).unwrap();
        world.wait_ms(READ_GRACE_MS);
        world.release();
    }
    assert_eq!((0..=10).map(|n| world.references(n)).sum::<u64>(), 0);
    assert_eq!(world.releasing(), 0);
}

#[test]
fn copied_parts_check_their_source() {
    let mut world = World::new();
    world.put_chunks("source", &[1]);
    world.put_inline("small", b"hello");
    world.put_inline("empty", b"");
    let upload = begin(&mut world, "k");
    let length = 1001;
    for range in [(0, 1002), (5, 5), (7, 3), (2000, 3000)] {
        let refused = Err(Refusal::InvalidRange { length });
        assert_eq!(copy_part(&mut world, &upload, 1, "source", Some(range)), refused, "{range:?}");
    }
    assert_eq!(copy_part(&mut world, &upload, 1, "x", None), Err(Refusal::NoSuchFile(path("x"))));
    let inline = Err(Refusal::SourceInline(path("small")));
    assert_eq!(copy_part(&mut world, &upload, 1, "small", None), inline);
    assert!(matches!(copy_part(&mut world, &upload, 1, "empty", None), Ok(Done::Part { length: 0, .. })));
    let from_condition = if_match("other");
    let command =
        Command::CopyPart { upload, number: 1, from: path("source"), from_version: None, from_condition, range: None };
    assert_eq!(world.run(command), Err(Refusal::ConditionFailed { path: path("source") }));
}

#[test]
fn ten_thousand_parts_are_a_file_too() {
    let mut world = World::new();
    world.checked = false;
    let upload = begin(&mut world, "k");
    let chunks = [1, 2, 3, 4, 5];
    for number in 1..=PARTS_MAX {
        put_part(&mut world, &upload, number, &chunks).unwrap();
    }
    world.checked = true;
    let numbers: Vec<u32> = (1..=PARTS_MAX).collect();
    let Ok(Done::Committed(committed)) = complete(&mut world, &upload, &numbers) else { panic!() };
    assert_eq!(committed.length, u64::from(PARTS_MAX) * 5 * MIB);
    assert_eq!(world.references(1), u64::from(PARTS_MAX));
    world.delete("k").unwrap();
    world.checked = false;
    world.wait_ms(READ_GRACE_MS);
    world.release();
    world.checked = true;
    world.release();
    assert_eq!((world.references(1), world.releasing()), (0, 0));
}
