//! What a volume does when nothing goes wrong.

use super::super::{Health, Holding, Removal, VolumeError};
use super::{MIB, Read, Rig, Sim, block_on, check_counts, chunk, on_both, put, put_touched, read, remove, touch};
use cairn_common::ids::{Slot, Stamp};
use cairn_common::sim::disk::CrashPolicy;
use std::sync::{Arc, Mutex};

use super::super::super::index::After;

/// Lengths around every boundary that a record has.
fn lengths() -> Vec<usize> {
    let group = 64 << 10;
    vec![0, 1, 367, 368, 369, 4095, 4096, group - 1, group, group + 1, 2 * group, 3 * group + 17, MIB, 4 * MIB]
}

#[test]
fn chunks_of_every_length_come_back_also_after_a_restart() {
    on_both(|rig| {
        let chunks: Vec<_> = lengths().into_iter().zip(0..).map(|(bytes, number)| chunk(number, bytes)).collect();
        let volume = rig.start().unwrap();
        for chunk in &chunks {
            assert_eq!(read(&volume, chunk), Read::Absent);
            let placed = put(&volume, chunk).unwrap();
            assert_eq!(placed.length, chunk.length());
        }
        let all_right = |volume: &super::Volume| chunks.iter().all(|chunk| read(volume, chunk) == Read::Right);
        assert!(all_right(&volume));
        block_on(volume.stop()).unwrap();
        drop(volume);
        let volume = rig.start().unwrap();
        assert!(all_right(&volume));
        drop(volume);
        assert!(all_right(&rig.start().unwrap()), "also after a stop that was not clean");
    });
}

#[test]
fn a_chunk_that_is_there_is_confirmed_and_not_written_again() {
    on_both(|rig| {
        let volume = rig.start().unwrap();
        let chunk = chunk(1, 100_000);
        let first = put(&volume, &chunk).unwrap();
        let used = volume.space().unwrap().used_bytes;
        assert_eq!(put(&volume, &chunk).unwrap(), first);
        assert_eq!(touch(&volume, chunk.address(), 11).unwrap(), Some(first));
        assert_eq!(volume.space().unwrap().used_bytes, used);
    });
}

#[test]
fn a_hit_costs_a_write_and_a_sync_like_any_other_answer() {
    let mut sim = Sim::new();
    let volume = sim.start();
    put(&volume, &chunk(1, 1_000)).unwrap();
    let steps = |work: &dyn Fn()| {
        let before = sim.disk.steps();
        work();
        sim.disk.steps() - before
    };
    let miss = steps(&|| assert!(put(&volume, &chunk(2, 1_000)).is_ok()));
    let hit = steps(&|| assert!(put(&volume, &chunk(2, 1_000)).is_ok()));
    let touched = steps(&|| assert!(touch(&volume, chunk(2, 1_000).address(), 20).unwrap().is_some()));
    assert_eq!((miss, hit, touched), (2, 2, 2));
}

#[test]
fn a_page_that_was_synced_is_never_written_again() {
    let mut sim = Sim::new();
    let volume = sim.start();
    for number in 0..5 {
        let placed = put(&volume, &chunk(number, 100)).unwrap();
        assert_eq!(placed.position.offset, 4096 * (number + 1), "one group, one page");
        put(&volume, &chunk(0, 100)).unwrap();
    }
}

#[test]
fn writers_of_the_same_new_chunk_share_one_copy() {
    let mut sim = Sim::new();
    let volume = sim.start();
    let chunk = chunk(1, 100_000);
    // Both looked before either was there.
    let (first, second) = (volume.prepare(&chunk.address()).unwrap(), volume.prepare(&chunk.address()).unwrap());
    let both =
        futures::future::join(volume.put(chunk.clone(), Stamp(1), first), volume.put(chunk.clone(), Stamp(2), second));
    let (first, second) = block_on(both);
    assert_eq!(first.unwrap(), second.unwrap());
    assert_eq!(volume.find(&chunk.address()).unwrap().unwrap().touched, Stamp(2));
}

#[test]
fn a_removed_chunk_is_gone_for_good_and_can_be_written_again() {
    on_both(|rig| {
        let chunk = chunk(1, 5000);
        let volume = rig.start().unwrap();
        assert_eq!(remove(&volume, chunk.address()).unwrap(), Removal::Absent);
        put(&volume, &chunk).unwrap();
        assert_eq!(read(&volume, &chunk), Read::Right);
        assert_eq!(remove(&volume, chunk.address()).unwrap(), Removal::Removed);
        assert_eq!(read(&volume, &chunk), Read::Absent);
        assert_eq!(touch(&volume, chunk.address(), 11).unwrap(), None);
        drop(volume);
        let volume = rig.start().unwrap();
        assert_eq!(read(&volume, &chunk), Read::Absent);
        put(&volume, &chunk).unwrap();
        drop(volume);
        assert_eq!(read(&rig.start().unwrap(), &chunk), Read::Right);
    });
}

#[test]
fn a_removal_looks_at_the_chunk_at_the_last_moment() {
    let mut sim = Sim::new();
    let volume = sim.start();
    let chunk = chunk(1, 5000);
    put_touched(&volume, &chunk, 10).unwrap();
    put_touched(&volume, &chunk, 12).unwrap();
    put_touched(&volume, &chunk, 11).unwrap();
    let seen = Arc::new(Mutex::new(None));
    let look = Arc::clone(&seen);
    let keep = block_on(volume.remove(
        chunk.address(),
        Box::new(move |holding: Holding| {
            *look.lock().unwrap() = Some(holding.touched);
            false
        }),
    ));
    assert_eq!(keep.unwrap(), Removal::Kept);
    assert_eq!(*seen.lock().unwrap(), Some(Stamp(12)), "the latest touch, not the last one");
    assert_eq!(read(&volume, &chunk), Read::Right);
}

#[test]
fn a_confirmation_that_a_removal_overtook_writes_the_bytes_again() {
    let mut sim = Sim::new();
    let volume = sim.start();
    let chunk = chunk(1, 5000);
    let first = put(&volume, &chunk).unwrap();
    let prepared = volume.prepare(&chunk.address()).unwrap();
    assert_eq!(remove(&volume, chunk.address()).unwrap(), Removal::Removed);
    assert_eq!(block_on(volume.touch(chunk.address(), Stamp(9), prepared)).unwrap(), None);
    let again = block_on(volume.put(chunk.clone(), Stamp(9), prepared)).unwrap();
    assert!(again.position > first.position);
    assert_eq!(read(&volume, &chunk), Read::Right);
}

#[test]
fn touches_survive_a_clean_stop_and_are_replaced_by_the_start_after_any_other() {
    let mut sim = Sim::new();
    let (touched, bytes) = (Stamp::from_ms(50), chunk(1, 5000));
    let volume = sim.start();
    assert_eq!(volume.touch_floor(), Stamp::ZERO);
    put(&volume, &bytes).unwrap();
    put_touched(&volume, &bytes, touched.0).unwrap();
    block_on(volume.stop()).unwrap();
    drop(volume);
    let volume = sim.start();
    assert_eq!(volume.touch_floor(), Stamp::ZERO);
    assert_eq!(volume.find(&bytes.address()).unwrap().unwrap().touched, touched);
    drop(volume);
    sim.crash(CrashPolicy::LoseUnsynced);
    assert_eq!(sim.start().touch_floor(), Stamp::from_ms(3_000), "the stamp that admitted the third run");
    assert_eq!(sim.start().touch_floor(), Stamp::from_ms(4_000), "the third run did not stop cleanly either");
}

#[test]
fn a_lost_index_counts_as_lost_touches() {
    let mut sim = Sim::new();
    let volume = sim.start();
    put_touched(&volume, &chunk(1, 5000), 9_999_999).unwrap();
    block_on(volume.stop()).unwrap();
    drop(volume);
    sim.lose_index();
    let volume = sim.start();
    assert_eq!(volume.touch_floor(), Stamp::from_ms(2_000));
    assert_eq!(read(&volume, &chunk(1, 5000)), Read::Right);
}

#[test]
fn the_mark_of_a_clean_stop_counts_once_and_for_its_own_run() {
    let mut sim = Sim::new();
    let volume = sim.start();
    put(&volume, &chunk(1, 5000)).unwrap();
    block_on(volume.stop()).unwrap();
    drop(volume);
    let mark = sim.rig.disk.read(&sim.rig.root.join("clean")).unwrap();
    drop(sim.start());
    assert!(!sim.rig.disk.exists(&sim.rig.root.join("clean")).unwrap());
    // Somebody puts the old mark back.
    sim.rig.disk.replace(&sim.rig.root.join("clean"), &mark).unwrap();
    assert_eq!(sim.start().touch_floor(), Stamp::from_ms(3_000));
    sim.rig.disk.replace(&sim.rig.root.join("clean"), b"noise").unwrap();
    assert_eq!(sim.start().touch_floor(), Stamp::from_ms(4_000));
}

#[test]
fn a_stopped_volume_refuses_changes_and_still_reads() {
    let mut sim = Sim::new();
    let volume = sim.start();
    let (one, two) = (chunk(1, 5000), chunk(2, 5000));
    put(&volume, &one).unwrap();
    block_on(volume.stop()).unwrap();
    assert!(put(&volume, &two).is_err());
    assert_eq!(read(&volume, &one), Read::Right);
}

#[test]
fn a_folder_serves_one_process_at_a_time() {
    on_both(|rig| {
        let volume = rig.start().unwrap();
        let second = rig.start();
        assert!(matches!(second, Err(VolumeError::Folder(super::super::FolderError::Locked(_)))));
        drop(volume);
        rig.start().unwrap();
    });
}

#[test]
fn packs_are_filled_one_after_the_other_and_cut_to_what_they_hold() {
    on_both(|rig: &mut Rig| {
        let volume = rig.start().unwrap();
        let chunks: Vec<_> = (0..12).map(|number| chunk(number, MIB)).collect();
        chunks.iter().for_each(|chunk| assert!(put(&volume, chunk).is_ok()));
        let packs = volume.packs();
        assert_eq!(packs.len(), 3, "four chunks of 1 MiB and what surrounds them fit into 5 MiB");
        let length =
            |number: u32| rig.disk.open(&rig.pack_path(number), cairn_common::seam::OpenMode::Read).unwrap().len();
        assert!(length(1).unwrap() < 5 << 20 && length(3).unwrap() == 5 << 20);
        assert!(chunks.iter().all(|chunk| read(&volume, chunk) == Read::Right));
        assert_eq!(volume.report().chunks, 12);
        assert_eq!(volume.health(), Health::Serving);
    });
}

#[test]
fn rows_are_listed_by_slot_and_address() {
    on_both(|rig| {
        let volume = rig.start().unwrap();
        let mut chunks: Vec<_> = (0..50).map(|number| chunk(number, 10)).collect();
        chunks.iter().for_each(|chunk| assert!(put(&volume, chunk).is_ok()));
        chunks.sort_by_key(|chunk| (chunk.address().slot(), chunk.address()));
        let rows = volume.scan(After::SlotStart(Slot(0)), Slot(u16::MAX), 100).unwrap();
        let listed: Vec<_> = rows.iter().map(|(address, _)| *address).collect();
        assert_eq!(listed, chunks.iter().map(|chunk| chunk.address()).collect::<Vec<_>>());
    });
}

#[test]
fn verifying_remembers_when() {
    let mut sim = Sim::new();
    let volume = sim.start();
    let chunk = chunk(1, 5000);
    put(&volume, &chunk).unwrap();
    assert_eq!(volume.find(&chunk.address()).unwrap().unwrap().verified_ms, 0);
    assert!(volume.verify(&chunk.address()).unwrap().is_some_and(|row| row.verified_ms > 0));
    block_on(volume.stop()).unwrap();
    assert!(volume.find(&chunk.address()).unwrap().unwrap().verified_ms > 0);
    check_counts(&sim.index());
}

#[test]
fn touches_that_a_crash_may_have_lost_are_missed_without_their_floor() {
    let test = touches_survive_a_clean_stop_and_are_replaced_by_the_start_after_any_other;
    cairn_common::seam::must_fail_without("no-touch-floor", test);
}
