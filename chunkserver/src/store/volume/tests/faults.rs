//! What a volume does when its disk or its index fails (promise P6, rows 8 to 16 and 23 of docs/faults.md).

use super::super::super::index::ChunkIndex;
use super::super::super::pack::PackNumber;
use super::super::{AppendError, FolderState, Health, VolumeError, VolumeFolder};
use super::{MIB, Read, Sim, Volume, block_on, check_counts, chunk, finding, put, read, remove, touch};
use cairn_common::sim::disk::{CrashPolicy, DiskErrno, DiskFault, DiskOp};
use std::sync::Arc;

fn is_retired(volume: &Volume) -> bool {
    matches!(volume.health(), Health::Retired(_))
}

#[test]
fn a_failed_fsync_fails_its_group_and_is_never_retried_into_success() {
    let mut sim = Sim::new();
    let volume = sim.start();
    put(&volume, &chunk(1, 5_000)).unwrap();
    sim.disk.inject(DiskFault::once(DiskOp::Sync, ".pack", DiskErrno::Io));
    assert!(matches!(put(&volume, &chunk(2, 5_000)), Err(AppendError::Failed(_))));
    assert!(is_retired(&volume), "EIO retires the incarnation");
    // The next sync would succeed, and it must not matter.
    for number in [2, 3] {
        assert!(matches!(put(&volume, &chunk(number, 5_000)), Err(AppendError::Failed(_))));
        assert_eq!(read(&volume, &chunk(number, 5_000)), Read::Absent);
    }
    assert!(remove(&volume, chunk(1, 5_000).address()).is_err());
    assert!(touch(&volume, chunk(1, 5_000).address(), 20).is_err(), "no receipt from a retired volume");
    assert_eq!(read(&volume, &chunk(1, 5_000)), Read::Right, "what is there can be read");
    assert!(volume.report().fault.is_some() && volume.report().free_bytes == 0);
}

#[test]
fn every_chunk_of_a_failed_group_is_refused() {
    let mut sim = Sim::new();
    let volume = sim.start();
    sim.disk.inject(DiskFault::forever(DiskOp::Sync, ".pack", DiskErrno::Io).after(1));
    let chunks: Vec<_> = (0..20).map(|number| chunk(number, 5_000)).collect();
    let prepared: Vec<_> = chunks.iter().map(|chunk| volume.prepare(&chunk.address()).unwrap()).collect();
    let puts = chunks
        .iter()
        .zip(prepared)
        .map(|(chunk, prepared)| volume.put(chunk.clone(), cairn_common::ids::Stamp(1), prepared));
    let answers = block_on(futures::future::join_all(puts));
    assert!(answers.iter().all(Result::is_err));
    drop(volume);
    sim.disk.heal();
    sim.crash(CrashPolicy::LoseUnsynced);
    assert!(matches!(sim.rig.start(), Err(VolumeError::Retired(_))));
}

#[test]
fn a_retired_volume_does_not_come_back_by_a_restart() {
    let mut sim = Sim::new();
    let volume = sim.start();
    put(&volume, &chunk(1, 5_000)).unwrap();
    sim.disk.inject(DiskFault::once(DiskOp::Sync, ".pack", DiskErrno::Io));
    assert!(put(&volume, &chunk(2, 5_000)).is_err());
    assert!(block_on(volume.stop()).is_err(), "and it does not stop cleanly");
    drop(volume);
    let Err(VolumeError::Retired(reason)) = sim.rig.start() else { panic!("it started") };
    assert!(reason.contains("appending"), "{reason}");
    let folder = VolumeFolder::lock(Arc::clone(&sim.rig.disk), &sim.rig.root).unwrap();
    assert!(matches!(folder.state().unwrap(), FolderState::Retired(..)));
}

#[test]
fn an_error_of_a_read_at_the_start_does_not_retire_the_volume() {
    let mut sim = Sim::new();
    let volume = sim.start();
    put(&volume, &chunk(1, 5_000)).unwrap();
    block_on(volume.stop()).unwrap();
    drop(volume);
    for fault in [
        DiskFault::once(DiskOp::Read, "clean", DiskErrno::Io),
        DiskFault::once(DiskOp::List, "packs", DiskErrno::Io),
        DiskFault::once(DiskOp::Open, "00000001.pack", DiskErrno::Io),
    ] {
        sim.disk.inject(fault.clone());
        let error = sim.rig.start().err().unwrap_or_else(|| panic!("{fault:?}: it started"));
        assert!(!error.is_broken(), "{fault:?}: {error}");
        sim.disk.heal();
    }
    assert_eq!(read(&sim.start(), &chunk(1, 5_000)), Read::Right);
}

#[test]
fn the_mark_of_an_earlier_life_of_the_disk_retires_nothing() {
    let mut sim = Sim::started_once();
    sim.rig.disk.replace(&sim.rig.root.join("retired"), b"v76\nan fsync failed").unwrap();
    drop(sim.start());
    sim.rig.disk.replace(&sim.rig.root.join("retired"), b"v77\nan fsync failed").unwrap();
    assert!(matches!(sim.rig.start(), Err(VolumeError::Retired(reason)) if reason == "an fsync failed"));
}

#[test]
fn a_failed_write_seals_the_pack_and_retires_the_volume() {
    let mut sim = Sim::new();
    let volume = sim.start();
    put(&volume, &chunk(1, 5_000)).unwrap();
    sim.disk.inject(DiskFault::once(DiskOp::Write, ".pack", DiskErrno::Io));
    assert!(put(&volume, &chunk(2, 5_000)).is_err());
    assert!(is_retired(&volume));
}

#[test]
fn no_room_at_a_sync_seals_the_pack_and_the_volume_goes_on_in_another() {
    // Space that was promised and is not there: thin provisioning.
    let mut sim = Sim::new();
    let volume = sim.start();
    put(&volume, &chunk(1, 5_000)).unwrap();
    sim.disk.inject(DiskFault::once(DiskOp::Sync, "00000001.pack", DiskErrno::NoSpace));
    assert_eq!(put(&volume, &chunk(2, 5_000)).unwrap_err(), AppendError::Full);
    assert_eq!(volume.health(), Health::Serving);
    assert_eq!(put(&volume, &chunk(3, 5_000)).unwrap().position.pack, PackNumber(2), "never again into that pack");
    assert_eq!(read(&volume, &chunk(2, 5_000)), Read::Absent);
    drop(volume);
    sim.crash(CrashPolicy::LoseUnsynced);
    let volume = sim.start();
    for (number, expected) in [(1, Read::Right), (2, Read::Absent), (3, Read::Right)] {
        assert_eq!(read(&volume, &chunk(number, 5_000)), expected);
    }
}

#[test]
fn a_file_system_that_became_read_only_takes_the_volume_out_until_it_is_started_again() {
    let mut sim = Sim::new();
    let volume = sim.start();
    put(&volume, &chunk(1, 5_000)).unwrap();
    sim.disk.inject(DiskFault::forever(DiskOp::Write, "", DiskErrno::ReadOnly));
    assert!(put(&volume, &chunk(2, 5_000)).is_err());
    assert!(matches!(volume.health(), Health::Failed(_)));
    assert_eq!(read(&volume, &chunk(1, 5_000)), Read::Right);
    drop(volume);
    assert!(matches!(sim.rig.start(), Err(VolumeError::Write(_))), "it cannot store its boot count");
    sim.disk.heal();
    let volume = sim.start();
    assert_eq!(read(&volume, &chunk(1, 5_000)), Read::Right);
    put(&volume, &chunk(2, 5_000)).unwrap();
}

#[test]
fn an_fsync_error_anywhere_in_the_making_of_a_pack_gives_no_receipt() {
    for (op, path) in [
        (DiskOp::Create, "00000001.pack"),
        (DiskOp::Allocate, "00000001.pack"),
        (DiskOp::Write, "00000001.pack"),
        (DiskOp::Sync, "00000001.pack"),
        (DiskOp::SyncDir, "packs"),
    ] {
        for errno in [DiskErrno::Io, DiskErrno::NoSpace] {
            let mut sim = Sim::new();
            let volume = sim.start();
            sim.disk.inject(DiskFault::once(op, path, errno));
            let answer = put(&volume, &chunk(1, 5_000));
            assert!(answer.is_err(), "{op:?} {errno:?}");
            assert_eq!(is_retired(&volume), errno == DiskErrno::Io, "{op:?} {errno:?}");
            if errno == DiskErrno::NoSpace {
                put(&volume, &chunk(1, 5_000)).unwrap();
                drop(volume);
                sim.crash(CrashPolicy::LoseUnsynced);
                assert_eq!(read(&sim.start(), &chunk(1, 5_000)), Read::Right);
            }
        }
    }
}

#[test]
fn a_failed_fsync_at_the_end_of_a_pack_retires_the_volume() {
    let mut sim = Sim::new();
    let volume = sim.start();
    (0..4).for_each(|number| assert!(put(&volume, &chunk(number, MIB)).is_ok()));
    sim.disk.inject(DiskFault::once(DiskOp::SetLen, "00000001.pack", DiskErrno::Io));
    assert!(put(&volume, &chunk(4, MIB)).is_err());
    assert!(is_retired(&volume));
    drop(volume);
}

#[test]
fn a_lying_disk_is_found_out_by_the_next_start() {
    let mut sim = Sim::new();
    let volume = sim.start();
    put(&volume, &chunk(1, 5_000)).unwrap();
    sim.disk.lie(true);
    put(&volume, &chunk(2, 5_000)).unwrap();
    drop(volume);
    sim.disk.lie(false);
    sim.disk.crash(CrashPolicy::LoseUnsynced);
    // The index was flushed and says that both are there.
    let volume = sim.start();
    assert_eq!(read(&volume, &chunk(1, 5_000)), Read::Right);
    assert_ne!(read(&volume, &chunk(2, 5_000)), Read::Right);
    assert_eq!(touch(&volume, chunk(2, 5_000).address(), 20).unwrap(), None, "and there is no receipt for it");
}

#[test]
fn a_copy_that_rotted_gets_no_receipt_and_is_replaced_by_what_was_sent() {
    let mut sim = Sim::new();
    let chunk = chunk(1, 200_000);
    let volume = sim.start();
    let first = put(&volume, &chunk).unwrap();
    sim.damage(first.position, 100_000);
    // The page cache still shows the right bytes; only the disk knows.
    assert_eq!(read(&volume, &chunk), Read::Right);
    let second = put(&volume, &chunk).unwrap();
    assert!(second.position > first.position);
    assert_eq!(read(&volume, &chunk), Read::Right);
    assert_eq!(volume.report().damaged, 1);
    assert_eq!(volume.set_aside().unwrap(), [], "the bad copy is settled by the good one");
    check_counts(&sim.index());
}

#[test]
fn a_touch_of_a_rotten_copy_gives_nothing() {
    let mut sim = Sim::new();
    let chunk = chunk(1, 200_000);
    let volume = sim.start();
    let placed = put(&volume, &chunk).unwrap();
    assert_eq!(read(&volume, &chunk), Read::Right, "and its place is remembered");
    sim.damage(placed.position, 100_000);
    assert_eq!(touch(&volume, chunk.address(), 20).unwrap(), None);
    assert_eq!(read(&volume, &chunk), Read::Absent, "it counts as absent");
    assert_eq!(volume.set_aside().unwrap(), [(chunk.address(), 200_000)]);
    assert_eq!(volume.verify(&chunk.address()).unwrap(), None);
}

#[test]
fn a_copy_that_cannot_be_read_is_an_error_then_set_aside() {
    let mut sim = Sim::new();
    let chunk = chunk(1, 200_000);
    let volume = sim.start();
    let placed = put(&volume, &chunk).unwrap();
    let spot = u64::from(placed.position.offset) + 100_000;
    sim.disk.make_unreadable(&sim.rig.pack_path(1), spot..spot + 1);
    assert_eq!(read(&volume, &chunk), Read::Error);
    assert_eq!(volume.verify(&chunk.address()).unwrap(), None);
    assert_eq!(read(&volume, &chunk), Read::Absent);
    put(&volume, &chunk).unwrap();
    assert_eq!(read(&volume, &chunk), Read::Right);
}

#[test]
fn one_flipped_bit_on_the_way_does_not_condemn_a_copy() {
    let mut sim = Sim::new();
    let chunk = chunk(1, 200_000);
    let volume = sim.start();
    put(&volume, &chunk).unwrap();
    sim.disk.inject(DiskFault::once(DiskOp::Read, ".pack", DiskErrno::Io));
    assert!(volume.verify(&chunk.address()).unwrap().is_some());
    assert_eq!(volume.report().damaged, 0);
}

#[test]
fn what_the_index_does_not_take_gets_no_receipt_until_it_does() {
    let mut sim = Sim::new();
    let volume = sim.start();
    put(&volume, &chunk(1, 5_000)).unwrap();
    sim.index().set_failing(true);
    assert!(matches!(put(&volume, &chunk(2, 5_000)), Err(AppendError::Index(_))));
    assert!(matches!(remove(&volume, chunk(1, 5_000).address()), Err(AppendError::Index(_))));
    assert_eq!(volume.health(), Health::Serving);
    sim.index().set_failing(false);
    put(&volume, &chunk(3, 5_000)).unwrap();
    for number in [1, 2, 3] {
        assert_eq!(read(&volume, &chunk(number, 5_000)), Read::Right, "chunk {number}");
    }
    check_counts(&sim.index());
    drop(volume);
    sim.crash(CrashPolicy::LoseUnsynced);
    let volume = sim.start();
    assert!((1..=3).all(|number| read(&volume, &chunk(number, 5_000)) == Read::Right));
}

#[test]
fn an_index_that_cannot_be_read_takes_its_volume_out_until_it_is_started_again() {
    let mut sim = Sim::new();
    let volume = sim.start();
    put(&volume, &chunk(1, 5_000)).unwrap();
    sim.index().set_unreadable(true);
    assert_eq!(read(&volume, &chunk(1, 5_000)), Read::Error, "not absent");
    assert!(matches!(volume.health(), Health::Failed(_)));
    sim.index().set_unreadable(false);
    assert!(matches!(put(&volume, &chunk(2, 5_000)), Err(AppendError::Failed(_))));
    drop(volume);
    sim.crash(CrashPolicy::LoseUnsynced);
    assert_eq!(read(&sim.start(), &chunk(1, 5_000)), Read::Right);
}

#[test]
fn a_start_reads_at_most_the_configured_lag() {
    let mut sim = Sim::new();
    sim.rig.settings.index_lag_bytes = Some(64 << 10);
    let volume = sim.start();
    (0..40).for_each(|number| assert!(put(&volume, &chunk(number, 10_000)).is_ok()));
    drop(volume);
    sim.crash(CrashPolicy::LoseUnsynced);
    let end = 4096 + 40 * 12_288;
    let covered = sim.index().packs().unwrap()[0].1.covered;
    assert!(end - covered < 64 << 10, "{covered} of {end}");
    let volume = sim.start();
    assert!((0..40).all(|number| read(&volume, &chunk(number, 10_000)) == Read::Right));
    assert_eq!(finding(&volume, 1), Some(super::Finding::Continued));
}
