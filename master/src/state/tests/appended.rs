//! Uploads that are appended to: parts in order, of any size, never replaced; the whole length; their end in time.

use super::*;
use crate::store::key::{AppendedKey, CurrentKey, MultipartKey, PartKey};
use cairn_common::limits::{
    APPENDED_MAX_BYTES, APPENDED_PARTS_MAX, APPENDED_UPLOAD_MS, READ_GRACE_MS, RELEASE_ROWS_MAX,
};
use cairn_common::wire::command::{CommitPart, CompleteMultipart, MultipartRef};
use std::collections::BTreeMap;

const CHUNK: u64 = 1000;

fn begin(world: &mut World, key: &str, length: u64) -> MultipartRef {
    let begin = Command::BeginMultipart {
        path: path(key),
        attributes: Attributes::default(),
        checksum: None,
        length: Some(length),
    };
    match world.run(begin) {
        Ok(Done::Upload(upload)) => MultipartRef { path: path(key), upload },
        other => panic!("{other:?}"),
    }
}

/// Appends a part of one small chunk.
fn append(world: &mut World, upload: &MultipartRef, number: u32) -> Outcome {
    let entries = [Entry::chunk(address(u64::from(number)), CHUNK as u32)];
    let part = CommitPart {
        upload: upload.clone(),
        number,
        content: NewContent::Chunks(world.chunks(None, &entries)),
        root: RootHasher::of(&entries),
        length: CHUNK,
        md5: [7; 16],
        checksums: BTreeMap::new(),
    };
    world.run(Command::CommitPart(Box::new(part)))
}

fn complete(world: &mut World, upload: &MultipartRef, parts: u32) -> Outcome {
    let parts = (1..=parts).map(|number| (number, hex::encode([7; 16]))).collect();
    let (condition, checksums) = (Condition::default(), BTreeMap::new());
    let complete = CompleteMultipart { upload: upload.clone(), parts, condition, checksums };
    world.run(Command::CompleteMultipart(Box::new(complete)))
}

fn is_open(world: &World, upload: &MultipartRef) -> bool {
    let bucket = world.view().row(&BucketKey(&name("one"))).unwrap().unwrap().id;
    let key = upload.path.key.as_str().to_owned();
    world.view().row(&MultipartKey { bucket, key, upload: upload.upload }).unwrap().is_some()
}

#[test]
fn parts_follow_each_other_and_are_never_replaced() {
    let mut world = World::new();
    let upload = begin(&mut world, "k", 3 * CHUNK);
    let refused = |number| Err(Refusal::InvalidPartOrder(number));
    assert_eq!(append(&mut world, &upload, 2), refused(2));
    append(&mut world, &upload, 1).unwrap();
    // Of two that append at the same place, one is told that it came too late.
    assert_eq!(append(&mut world, &upload, 1), refused(1));
    assert_eq!(append(&mut world, &upload, 3), refused(3));
    append(&mut world, &upload, 2).unwrap();
    assert_eq!(world.usage().pending_bytes, 2 * CHUNK);
    assert_eq!(append(&mut world, &upload, 0), refused(0));
}

#[test]
fn only_the_whole_becomes_a_file_and_its_parts_may_be_small() {
    let mut world = World::new();
    let upload = begin(&mut world, "k", 2 * CHUNK);
    append(&mut world, &upload, 1).unwrap();
    assert!(matches!(complete(&mut world, &upload, 1), Err(Refusal::Invalid(_))));
    append(&mut world, &upload, 2).unwrap();
    let Ok(Done::Committed(committed)) = complete(&mut world, &upload, 2) else { panic!() };
    assert_eq!(committed.length, 2 * CHUNK);
    assert_eq!(world.usage(), Usage { files: 1, bytes: 2 * CHUNK, ..Usage::default() });
    assert!(world.view().row(&AppendedKey(upload.upload)).unwrap().is_none());
    // Its time being over changes nothing any more.
    world.wait_ms(APPENDED_UPLOAD_MS + READ_GRACE_MS);
    world.release();
    let bucket = world.view().row(&BucketKey(&name("one"))).unwrap().unwrap().id;
    assert!(world.view().row(&CurrentKey { bucket, key: "k" }).unwrap().is_some());
    assert_eq!(world.references(1), 1);
}

#[test]
fn an_upload_ends_when_its_time_is_over_and_lets_go_of_all_of_its_parts_in_one_entry() {
    let mut world = World::new();
    let upload = begin(&mut world, "k", APPENDED_MAX_BYTES);
    // Checking everything after each of so many commands would take minutes.
    world.checked = false;
    for number in 1..=APPENDED_PARTS_MAX {
        append(&mut world, &upload, number).unwrap();
    }
    world.checked = true;
    let too_many = APPENDED_PARTS_MAX + 1;
    assert_eq!(append(&mut world, &upload, too_many), Err(Refusal::InvalidPartOrder(too_many)));
    world.wait_ms(APPENDED_UPLOAD_MS - 1000);
    world.release();
    assert!(is_open(&world, &upload));
    world.wait_ms(2000);
    world.release();
    assert!(!is_open(&world, &upload));
    assert_eq!(world.usage(), Usage::default());
    assert!(world.view().row(&PartKey { upload: upload.upload, number: 1 }).unwrap().is_none());
    world.wait_ms(READ_GRACE_MS);
    world.release();
    assert_eq!((world.references(1), world.references(u64::from(APPENDED_PARTS_MAX))), (0, 0));
    assert!(3 * APPENDED_PARTS_MAX as usize <= RELEASE_ROWS_MAX);
}

#[test]
fn an_upload_that_is_given_up_is_gone_before_its_time() {
    let mut world = World::new();
    let upload = begin(&mut world, "k", CHUNK);
    append(&mut world, &upload, 1).unwrap();
    world.run(Command::AbortMultipart { upload: upload.clone() }).unwrap();
    world.run(Command::DeleteBucket { name: name("one") }).unwrap();
    world.wait_ms(APPENDED_UPLOAD_MS + READ_GRACE_MS);
    world.release();
    assert!(world.view().row(&AppendedKey(upload.upload)).unwrap().is_none());
    assert_eq!(world.references(1), 0);
}

#[test]
fn the_length_of_an_upload_is_bounded() {
    let mut world = World::new();
    let begin = |length| Command::BeginMultipart {
        path: path("k"),
        attributes: Attributes::default(),
        checksum: None,
        length: Some(length),
    };
    assert!(world.run(begin(APPENDED_MAX_BYTES)).is_ok());
    assert!(world.run(begin(APPENDED_MAX_BYTES + 1)).is_err());
}
