//! Full disks: chunks are refused, removal and compaction work, and space that comes back is used (rows 19, 20, 22).

use super::super::super::pack::PackNumber;
use super::super::{AppendError, Compaction, Health, Removal};
use super::{MIB, Read, Sim, Volume, block_on, check_counts, chunk, put, read, remove};
use cairn_common::seam::OpenMode;
use cairn_common::sim::disk::CrashPolicy;
use std::path::Path;

/// Puts chunks of 1 MiB until the volume is full; returns how many fitted.
fn fill(volume: &Volume) -> u32 {
    for number in 0.. {
        match put(volume, &chunk(number, MIB)) {
            Ok(_) => assert!(number < 1_000, "it never fills"),
            Err(AppendError::Full) => return number,
            Err(error) => panic!("{error}"),
        }
    }
    unreachable!()
}

#[test]
fn a_small_volume_fills_up_and_says_so_before_and_after() {
    let mut sim = Sim::with_capacity(24 << 20);
    let volume = sim.start();
    let before = volume.space().unwrap();
    assert!(before.free_bytes >= 10 << 20, "{before:?}");
    let fitted = fill(&volume);
    assert!(fitted >= 8, "{fitted} chunks of 1 MiB in 24 MiB");
    let after = volume.space().unwrap();
    assert!(after.free_bytes < MIB as u64 + 4096, "{after:?}");
    assert_eq!(volume.health(), Health::Serving);
    assert_eq!(volume.report().fault, None, "full is not a fault");
    assert!((0..fitted).all(|number| read(&volume, &chunk(number, MIB)) == Read::Right));
    // What still fits beside is taken.
    put(&volume, &chunk(500, 1_000)).unwrap();
    // A chunk that is there gets its receipt on a full disk as well.
    put(&volume, &chunk(0, MIB)).unwrap();
}

#[test]
fn on_a_disk_without_a_free_block_chunks_can_be_removed_and_packs_compacted() {
    let mut sim = Sim::with_capacity(24 << 20);
    let volume = sim.start();
    let fitted = fill(&volume);
    // Something else takes the rest of the file system.
    let free = sim.rig.disk.space(Path::new("/")).unwrap().free_bytes;
    let other = sim.rig.disk.open(Path::new("/other"), OpenMode::CreateNew).unwrap();
    other.allocate(free).unwrap();
    assert_eq!(sim.rig.disk.space(Path::new("/")).unwrap().free_bytes, 0);
    let mut removed = Vec::new();
    for number in (0..fitted).filter(|number| number % 4 != 3) {
        assert_eq!(remove(&volume, chunk(number, MIB).address()).unwrap(), Removal::Removed);
        removed.push(number);
    }
    assert!(matches!(volume.compact(PackNumber(1)).unwrap(), Compaction::Dropped { .. }));
    for number in 0..fitted {
        let expected = if removed.contains(&number) { Read::Absent } else { Read::Right };
        assert_eq!(read(&volume, &chunk(number, MIB)), expected, "chunk {number}");
    }
    // The reserve is short of its full size, so chunks have to wait until another pack was compacted.
    assert!(matches!(volume.compact(PackNumber(2)).unwrap(), Compaction::Dropped { .. }));
    put(&volume, &chunk(700, 1_000)).unwrap();
    check_counts(&sim.index());
    drop(volume);
    sim.crash(CrashPolicy::LoseUnsynced);
    let volume = sim.start();
    assert!(removed.iter().all(|number| read(&volume, &chunk(*number, MIB)) == Read::Absent));
    assert_eq!(read(&volume, &chunk(700, 1_000)), Read::Right);
}

#[test]
fn removal_works_when_even_the_active_pack_is_full() {
    let mut sim = Sim::with_capacity(24 << 20);
    let volume = sim.start();
    fill(&volume);
    // Small ones fill the last gap.
    let mut number = 10_000;
    while put(&volume, &chunk(number, 3_000)).is_ok() {
        number += 1;
    }
    let free = sim.rig.disk.space(Path::new("/")).unwrap().free_bytes;
    sim.rig.disk.open(Path::new("/other"), OpenMode::CreateNew).unwrap().allocate(free).unwrap();
    assert_eq!(remove(&volume, chunk(0, MIB).address()).unwrap(), Removal::Removed);
    assert!(!sim.rig.disk.exists(&sim.rig.root.join("reserve")).unwrap(), "the reserve became a pack");
    assert_eq!(put(&volume, &chunk(20_000, 100)).unwrap_err(), AppendError::Full, "which is not for chunks");
    drop(volume);
    let volume = sim.start();
    assert_eq!(put(&volume, &chunk(20_000, 100)).unwrap_err(), AppendError::Full, "after a restart neither");
    // Compaction frees a pack, the reserve is made again, and chunks are taken again.
    for number in [1, 2, 3] {
        remove(&volume, chunk(number, MIB).address()).unwrap();
    }
    assert!(matches!(volume.compact(PackNumber(1)).unwrap(), Compaction::Dropped { .. }));
    put(&volume, &chunk(20_000, 100)).unwrap();
}

#[test]
fn space_that_comes_back_is_used_at_once() {
    let mut sim = Sim::with_capacity(24 << 20);
    let volume = sim.start();
    let fitted = fill(&volume);
    sim.disk.set_capacity(48 << 20);
    for number in fitted..fitted + 4 {
        put(&volume, &chunk(number, MIB)).unwrap();
    }
    block_on(volume.stop()).unwrap();
}

#[test]
fn a_disk_without_inodes_is_full_and_not_broken() {
    let mut sim = Sim::new();
    let volume = sim.start();
    put(&volume, &chunk(0, MIB)).unwrap();
    sim.disk.set_files_max(1);
    let refused = (1..10).map(|number| put(&volume, &chunk(number, MIB))).find_map(Result::err);
    assert_eq!(refused, Some(AppendError::Full));
    assert_eq!(volume.health(), Health::Serving);
    sim.disk.set_files_max(1_000);
    put(&volume, &chunk(9, MIB)).unwrap();
}

#[test]
fn a_configured_capacity_is_kept() {
    let mut sim = Sim::new();
    sim.rig.settings.capacity_bytes = Some(32 << 20);
    let volume = sim.start();
    let fitted = u64::from(fill(&volume));
    let space = volume.space().unwrap();
    assert_eq!(space.capacity_bytes, 32 << 20);
    assert!((12..24).contains(&fitted) && space.used_bytes <= 32 << 20, "{fitted}: {space:?}");
}

#[test]
fn an_extra_large_reserve_of_other_settings_is_made_anew() {
    let mut sim = Sim::new();
    drop(sim.start());
    let length = |sim: &Sim| sim.rig.disk.open(&sim.rig.root.join("reserve"), OpenMode::Read).unwrap().len().unwrap();
    assert_eq!(length(&sim), 5 << 20);
    sim.rig.settings.pack_bytes = Some(8 << 20);
    drop(sim.start());
    assert_eq!(length(&sim), 8 << 20);
}
