//! Parts of a file, after it was made of them.

use super::multipart::{MIB, begin, complete, complete_as, copy_part, put_part};
use super::*;
use crate::query::{FileBytes, PageLimits, file_parts, open};
use crate::store::key::FilePartsKey;
use crate::store::{KeyRange, Order, Table};
use cairn_common::limits::READ_GRACE_MS;
use cairn_common::wire::command::{CopyFile, MultipartRef};
use cairn_common::wire::master::{Found, RangeWanted};

fn lengths(world: &World, key: &str) -> Vec<u64> {
    file_parts(world.view(), &path(key), None, 0, 1_000).unwrap().lengths
}

/// The bytes that are a part; `None`: there is no such part.
fn part(world: &World, key: &str, number: u32) -> Option<(u64, u64)> {
    let members = world.members();
    let (limits, none) = (PageLimits { entries: 1, nodes: 1 }, Condition::default());
    match open(world.view(), &members, (&path(key), None), &none, RangeWanted::Part(number), limits).unwrap() {
        Found::Here(opened) if opened.bytes == FileBytes::Unsatisfiable => None,
        Found::Here(opened) => Some(opened.range),
        Found::NotModified(_) => panic!("nothing was asked"),
    }
}

fn rows(world: &World) -> usize {
    let mut cursor = world.view().scan(Table::System, KeyRange::prefix(FilePartsKey::all()), Order::Forward).unwrap();
    let mut rows = 0;
    while cursor.row().is_some() {
        rows += 1;
        cursor.advance().unwrap();
    }
    rows
}

/// Completes an upload with whatever tags its parts have.
fn finish(world: &mut World, upload: &MultipartRef) {
    let page = crate::query::parts(world.view(), &upload.path, upload.upload, 0, 0).unwrap();
    let parts = page.parts.into_iter().map(|part| (part.number, hex::encode(part.md5))).collect();
    world.run(Command::CompleteMultipart(Box::new(complete_as(upload, parts)))).unwrap();
}

#[test]
fn every_part_of_a_file_is_found_again() {
    let mut world = World::new();
    let upload = begin(&mut world, "k");
    for (number, chunks) in [(2, &[1, 2, 3, 4, 5][..]), (5, &[6, 7, 8, 9, 10, 11]), (9, &[12])] {
        put_part(&mut world, &upload, number, chunks).unwrap();
    }
    complete(&mut world, &upload, &[2, 5, 9]).unwrap();
    assert_eq!(lengths(&world, "k"), [5 * MIB, 6 * MIB, MIB]);
    assert_eq!(part(&world, "k", 1), Some((0, 5 * MIB)));
    assert_eq!(part(&world, "k", 2), Some((5 * MIB, 11 * MIB)));
    assert_eq!(part(&world, "k", 3), Some((11 * MIB, 12 * MIB)));
    assert_eq!((part(&world, "k", 0), part(&world, "k", 4)), (None, None));
    let page = file_parts(world.view(), &path("k"), None, 1, 1).unwrap();
    assert_eq!(page.lengths, [6 * MIB]);

    // A copy has the same parts, and keeps them when the source is gone.
    let copy = CopyFile {
        from: path("k"),
        from_version: None,
        from_condition: Condition::default(),
        to: path("copy"),
        condition: Condition::default(),
        attributes: None,
    };
    world.run(Command::CopyFile(Box::new(copy))).unwrap();
    world.delete("k").unwrap();
    world.wait_ms(READ_GRACE_MS);
    world.release();
    assert_eq!((lengths(&world, "copy"), rows(&world)), (vec![5 * MIB, 6 * MIB, MIB], 1));
    world.delete("copy").unwrap();
    world.wait_ms(READ_GRACE_MS);
    world.release();
    assert_eq!(rows(&world), 0);
}

#[test]
fn a_file_of_one_part_and_one_of_none_are_their_own_first() {
    let mut world = World::new();
    world.put_chunks("plain", &[1]);
    world.put_inline("small", b"hello");
    assert_eq!((part(&world, "plain", 1), part(&world, "plain", 2)), (Some((0, 1001)), None));
    assert_eq!((part(&world, "small", 1), part(&world, "small", 2)), (Some((0, 5)), None));
    assert_eq!((lengths(&world, "plain"), lengths(&world, "small")), (vec![], vec![]));
    let upload = begin(&mut world, "one");
    put_part(&mut world, &upload, 7, &[2, 3]).unwrap();
    complete(&mut world, &upload, &[7]).unwrap();
    assert_eq!((lengths(&world, "one"), part(&world, "one", 1)), (vec![2 * MIB], Some((0, 2 * MIB))));
    assert_eq!((part(&world, "one", 2), rows(&world)), (None, 0));
    let upload = begin(&mut world, "empty");
    put_part(&mut world, &upload, 1, &[]).unwrap();
    complete(&mut world, &upload, &[1]).unwrap();
    assert_eq!((lengths(&world, "empty"), part(&world, "empty", 1)), (vec![0], Some((0, 0))));
}

#[test]
fn parts_that_were_copied_or_are_empty_are_told_from_the_stretches_they_are_made_of() {
    let mut world = World::new();
    let upload = begin(&mut world, "two");
    put_part(&mut world, &upload, 1, &[1, 2, 3, 4, 5]).unwrap();
    put_part(&mut world, &upload, 2, &[6, 7, 8, 9, 10]).unwrap();
    complete(&mut world, &upload, &[1, 2]).unwrap();

    // A part of two stretches, a plain one, an empty one: as many stretches as parts, and other ones.
    let upload = begin(&mut world, "mixed");
    copy_part(&mut world, &upload, 1, "two", Some((MIB, 9 * MIB))).unwrap();
    put_part(&mut world, &upload, 2, &[11, 12, 13, 14, 15]).unwrap();
    put_part(&mut world, &upload, 3, &[]).unwrap();
    finish(&mut world, &upload);
    assert_eq!(lengths(&world, "mixed"), [8 * MIB, 5 * MIB, 0]);
    assert_eq!(part(&world, "mixed", 2), Some((8 * MIB, 13 * MIB)));
    assert_eq!(part(&world, "mixed", 3), Some((13 * MIB, 13 * MIB)));

    // A whole file of two parts as a part: alone it is the file, and has one part all the same.
    let upload = begin(&mut world, "alone");
    copy_part(&mut world, &upload, 1, "two", None).unwrap();
    finish(&mut world, &upload);
    assert_eq!(lengths(&world, "alone"), [10 * MIB]);
    let upload = begin(&mut world, "followed");
    copy_part(&mut world, &upload, 1, "two", None).unwrap();
    put_part(&mut world, &upload, 2, &[]).unwrap();
    finish(&mut world, &upload);
    assert_eq!(lengths(&world, "followed"), [10 * MIB, 0]);
    assert_eq!(lengths(&world, "two"), [5 * MIB, 5 * MIB]);
    for key in ["two", "mixed", "alone", "followed"] {
        world.delete(key).unwrap();
    }
    world.wait_ms(READ_GRACE_MS);
    world.release();
    world.release();
    assert_eq!(rows(&world), 0);
}
