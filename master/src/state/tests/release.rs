use super::*;
use crate::store::key::{DueKey, HoldKey, HoldRow, Record, RowKey};
use crate::store::{KeyRange, Order, Table, WriteBatch};
use cairn_common::limits::{READ_GRACE_MS, RELEASE_ROWS_MAX, SEGMENT_ENTRIES};

fn hold(world: &World, stamp: Stamp, held: bool) {
    let mut batch = WriteBatch::new();
    match held {
        true => batch.put(HoldKey::TABLE, HoldKey(stamp).encode(), HoldRow { purpose: String::new() }.to_bytes()),
        false => batch.delete(HoldKey::TABLE, HoldKey(stamp).encode()),
    }
    world.store.write(&batch, &world.store.applied().unwrap()).unwrap();
}

#[test]
fn nothing_is_due_and_nothing_changes() {
    let mut world = World::new();
    assert_eq!(world.bare(Command::Release), Ok(Done::Released { rows: 0, more: false }));
}

#[test]
fn a_large_file_is_let_go_in_bounded_steps() {
    let mut world = World::new();
    let Ok(Done::Upload(upload)) = world.run(Command::BeginStaging { bucket: name("one"), chunking: Chunking::FIXED })
    else {
        panic!()
    };
    let segments = 9;
    for index in 0..segments {
        let first = u64::from(index) * SEGMENT_ENTRIES as u64;
        let entries: Vec<Entry> = (first..first + SEGMENT_ENTRIES as u64).map(entry).collect();
        let receipts = world.receipts_of(&world.servers, &entries);
        world.run(Command::AppendSegment { staging: upload, index, entries, receipts }).unwrap();
    }
    world.run(Command::AbortStaging { staging: upload }).unwrap();
    let mut entries = 0;
    loop {
        let envelope = Envelope { session: None, command: Command::Release };
        let batch = world.machine.apply_entry(&*world.store, world.now.next(1), &[envelope]).unwrap().batch;
        assert!(batch.len() <= RELEASE_ROWS_MAX, "{} rows", batch.len());
        let Ok(Done::Released { more, .. }) = world.bare(Command::Release) else { panic!() };
        entries += 1;
        if !more {
            break;
        }
    }
    assert!(entries > 1);
    assert_eq!((world.references(1), world.references(9000), world.releasing()), (0, 0, 0));
}

#[test]
fn many_small_files_are_let_go_in_bounded_steps() {
    let mut world = World::new();
    world.checked = false;
    for n in 0..2000 {
        world.put_chunks(&format!("k{n}"), &[n]);
    }
    for first in (0..2000).step_by(1000) {
        let key = |n| (Key::new(format!("k{n}")).unwrap(), Condition::default());
        let files = (first..first + 1000).map(key).collect();
        world.run(Command::DeleteFiles { bucket: name("one"), files }).unwrap();
    }
    assert_eq!(world.releasing(), 2000);
    world.wait_ms(READ_GRACE_MS);
    world.checked = true;
    world.release();
    assert_eq!((world.releasing(), world.references(7)), (0, 0));
    let mut rows = world.view().scan(Table::References, KeyRange::default(), Order::Forward).unwrap();
    assert_eq!(rows.row(), None);
    rows = world.view().scan(Table::System, KeyRange::prefix(DueKey::all()), Order::Forward).unwrap();
    assert_eq!(rows.row(), None, "the window's hour is over, too");
}

#[test]
fn what_was_there_at_a_held_stamp_waits_for_the_hold() {
    let mut world = World::new();
    world.put_chunks("before", &[1]);
    world.put_chunks("gone", &[2]);
    world.delete("gone").unwrap();
    let held = world.now;
    hold(&world, held, true);
    world.put_chunks("after", &[3]);
    for key in ["before", "after"] {
        world.delete(key).unwrap();
    }
    world.wait_ms(READ_GRACE_MS);
    world.release();
    assert_eq!((world.references(1), world.references(2), world.references(3)), (1, 0, 0));
    assert_eq!(world.releasing(), 1);
    world.wait_ms(READ_GRACE_MS);
    world.release();
    assert_eq!(world.references(1), 1);
    hold(&world, held, false);
    world.wait_ms(READ_GRACE_MS);
    world.release();
    assert_eq!((world.references(1), world.releasing()), (0, 0));
}

#[test]
fn a_walk_over_the_queue_begins_where_the_last_one_ended() {
    let mut world = World::new();
    world.put_chunks("k", &[1]);
    world.delete("k").unwrap();
    world.wait_ms(READ_GRACE_MS);
    world.release();
    let from = world.view().row(&TotalsKey).unwrap().unwrap().due_from;
    assert!(from > Stamp::from_ms(START_MS + READ_GRACE_MS - 1));
    world.open_window();
    world.put_chunks("k", &[2]);
    world.delete("k").unwrap();
    world.wait_ms(READ_GRACE_MS);
    world.release();
    assert_eq!(world.references(2), 0);
}
