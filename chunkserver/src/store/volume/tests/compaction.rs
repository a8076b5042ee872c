//! Compaction keeps what lives, drops what is dead, and never deletes the last trace of anything.

use super::super::super::index::ChunkIndex;
use super::super::super::pack::PackNumber;
use super::super::{AppendError, CompactError, Compaction, Health, Removal};
use super::{MIB, Read, Rig, Sim, Volume, check_counts, chunk, on_both, put, put_touched, read, remove};
use cairn_common::ids::Stamp;
use cairn_common::seam::Disk;
use cairn_common::sim::disk::{CrashPolicy, DiskErrno, DiskFault, DiskOp};

const FIRST: PackNumber = PackNumber(1);

/// Fills pack 1 with four chunks of 1 MiB and begins pack 2.
fn two_packs(rig: &mut Rig) -> Volume {
    let volume = rig.start().unwrap();
    (0..5).for_each(|number| assert!(put_touched(&volume, &chunk(number, MIB), 10 + u64::from(number)).is_ok()));
    assert_eq!(volume.packs().len(), 2);
    volume
}

fn reads(volume: &Volume, numbers: impl IntoIterator<Item = u32>) -> Vec<Read> {
    numbers.into_iter().map(|number| read(volume, &chunk(number, MIB))).collect()
}

#[test]
fn what_lives_is_moved_and_the_pack_is_gone() {
    on_both(|rig| {
        let volume = two_packs(rig);
        remove(&volume, chunk(0, MIB).address()).unwrap();
        remove(&volume, chunk(2, MIB).address()).unwrap();
        let used = volume.space().unwrap().used_bytes;
        let Compaction::Dropped { freed_bytes } = volume.compact(FIRST).unwrap() else { panic!("it was kept") };
        assert!(freed_bytes > 2 * MIB as u64);
        assert!(!rig.disk.exists(&rig.pack_path(1)).unwrap());
        assert!(volume.space().unwrap().used_bytes < used - MIB as u64, "accounting sees the freed space");
        let expected = [Read::Absent, Read::Right, Read::Absent, Read::Right, Read::Right];
        assert_eq!(reads(&volume, 0..5), expected);
        let row = volume.find(&chunk(1, MIB).address()).unwrap().unwrap();
        assert_eq!(row.touched, Stamp(11), "a copy keeps its touch");
        assert!(row.verified_ms > 0);
        drop(volume);
        assert_eq!(reads(&rig.start().unwrap(), 0..5), expected);
    });
}

#[test]
fn a_pack_that_is_being_appended_to_is_kept() {
    let mut sim = Sim::new();
    let volume = two_packs(&mut sim.rig);
    assert_eq!(volume.compact(PackNumber(2)).unwrap(), Compaction::Kept);
    assert_eq!(volume.compact(PackNumber(9)).unwrap(), Compaction::Kept);
}

#[test]
fn a_pack_with_a_record_that_fails_is_kept() {
    let mut sim = Sim::new();
    let volume = two_packs(&mut sim.rig);
    let at = volume.find(&chunk(2, MIB).address()).unwrap().unwrap().position;
    sim.damage(at, 500_000);
    assert_eq!(volume.compact(FIRST).unwrap(), Compaction::Kept);
    assert!(sim.disk.exists(&sim.rig.pack_path(1)).unwrap());
    assert_eq!(volume.set_aside().unwrap().len(), 1);
    assert_eq!(reads(&volume, 0..5)[2], Read::Absent, "the bad copy is not served");
    assert_eq!(volume.compact(FIRST).unwrap(), Compaction::Kept, "and not forgotten");
    // A good copy settles it, and the pack may go.
    put(&volume, &chunk(2, MIB)).unwrap();
    assert!(matches!(volume.compact(FIRST).unwrap(), Compaction::Dropped { .. }));
    assert_eq!(reads(&volume, 0..5), [Read::Right, Read::Right, Read::Right, Read::Right, Read::Right]);
}

#[test]
fn a_pack_with_a_chunk_behind_a_damaged_header_is_kept() {
    let mut sim = Sim::new();
    let volume = two_packs(&mut sim.rig);
    let at = volume.find(&chunk(2, MIB).address()).unwrap().unwrap().position;
    sim.damage(at, 20);
    drop(volume);
    let volume = sim.start();
    assert_eq!(volume.compact(FIRST).unwrap(), Compaction::Kept);
    assert!(sim.disk.exists(&sim.rig.pack_path(1)).unwrap());
}

#[test]
fn a_dead_record_that_is_damaged_does_not_matter() {
    let mut sim = Sim::new();
    let volume = two_packs(&mut sim.rig);
    let at = volume.find(&chunk(2, MIB).address()).unwrap().unwrap().position;
    remove(&volume, chunk(2, MIB).address()).unwrap();
    sim.damage(at, 500_000);
    assert!(matches!(volume.compact(FIRST).unwrap(), Compaction::Dropped { .. }));
}

#[test]
fn a_removal_survives_the_compaction_of_its_tombstone() {
    let mut sim = Sim::new();
    let volume = two_packs(&mut sim.rig);
    // The tombstone is in pack 2, its chunk in pack 1, which stays.
    remove(&volume, chunk(0, MIB).address()).unwrap();
    (10..15).for_each(|number| assert!(put(&volume, &chunk(number, MIB)).is_ok()));
    assert!(matches!(volume.compact(PackNumber(2)).unwrap(), Compaction::Dropped { .. }));
    drop(volume);
    sim.lose_index();
    let volume = sim.start();
    assert_eq!(reads(&volume, 0..5)[0], Read::Absent, "it does not come back out of pack 1");
    check_counts(&sim.index());
}

#[test]
fn a_tombstone_of_the_oldest_pack_is_dropped() {
    let mut sim = Sim::new();
    let volume = two_packs(&mut sim.rig);
    (0..4).for_each(|number| assert!(remove(&volume, chunk(number, MIB).address()).is_ok()));
    (10..15).for_each(|number| assert!(put(&volume, &chunk(number, MIB)).is_ok()));
    assert!(matches!(volume.compact(FIRST).unwrap(), Compaction::Dropped { .. }));
    let used = volume.space().unwrap().used_bytes;
    assert!(matches!(volume.compact(PackNumber(2)).unwrap(), Compaction::Dropped { .. }));
    assert!(volume.space().unwrap().used_bytes < used);
    drop(volume);
    sim.lose_index();
    let volume = sim.start();
    assert_eq!(reads(&volume, 0..4), [Read::Absent, Read::Absent, Read::Absent, Read::Absent]);
}

#[test]
fn a_chunk_that_was_written_again_does_not_lose_to_its_old_tombstone() {
    let mut sim = Sim::new();
    let volume = two_packs(&mut sim.rig);
    remove(&volume, chunk(0, MIB).address()).unwrap();
    put(&volume, &chunk(0, MIB)).unwrap();
    (10..15).for_each(|number| assert!(put(&volume, &chunk(number, MIB)).is_ok()));
    assert!(matches!(volume.compact(PackNumber(2)).unwrap(), Compaction::Dropped { .. }));
    drop(volume);
    sim.lose_index();
    assert_eq!(reads(&sim.start(), [0]), [Read::Right]);
}

#[test]
fn readers_finish_what_they_began_while_the_pack_goes() {
    on_both(|rig| {
        let volume = two_packs(rig);
        let reader = volume.open(&chunk(1, MIB).address()).unwrap();
        volume.compact(FIRST).unwrap();
        assert_eq!(reader.read(0, MIB as u32).unwrap(), chunk(1, MIB).data());
        assert_eq!(reads(&volume, [1]), [Read::Right], "and new ones find the copy");
    });
}

#[test]
fn a_compaction_that_fails_loses_nothing() {
    for op in [DiskOp::Sync, DiskOp::Write] {
        let mut sim = Sim::new();
        let volume = two_packs(&mut sim.rig);
        sim.disk.inject(DiskFault::once(op, "00000002.pack", DiskErrno::NoSpace));
        let result = volume.compact(FIRST);
        assert!(matches!(result, Err(CompactError::Append(AppendError::Full))), "{result:?}");
        assert_eq!(volume.health(), Health::Serving);
        drop(volume);
        sim.crash(CrashPolicy::LoseUnsynced);
        let volume = sim.start();
        assert_eq!(reads(&volume, 0..5), [Read::Right, Read::Right, Read::Right, Read::Right, Read::Right]);
        assert!(matches!(volume.compact(FIRST).unwrap(), Compaction::Dropped { .. }), "and it can be tried again");
        check_counts(&sim.index());
    }
}

#[test]
fn a_chunk_that_is_removed_while_it_is_moved_stays_removed() {
    let mut sim = Sim::new();
    let volume = two_packs(&mut sim.rig);
    std::thread::scope(|scope| {
        scope.spawn(|| volume.compact(FIRST).unwrap());
        for number in 0..4 {
            assert_eq!(remove(&volume, chunk(number, MIB).address()).unwrap(), Removal::Removed);
        }
    });
    assert_eq!(reads(&volume, 0..4), [Read::Absent, Read::Absent, Read::Absent, Read::Absent]);
    drop(volume);
    sim.lose_index();
    assert_eq!(reads(&sim.start(), 0..4), [Read::Absent, Read::Absent, Read::Absent, Read::Absent]);
    check_counts(&sim.index());
    assert!(sim.index().packs().unwrap().iter().all(|(_, row)| row.bad == 0));
}
