//! What a simulated disk loses, keeps, and refuses.

use super::{CrashPolicy, DiskErrno, DiskFault, DiskOp, PowerCut, SimDisk};
use crate::seam::{Disk, DiskFile, DiskTrouble, OpenMode};
use std::path::Path;

fn path() -> &'static Path {
    Path::new("/file")
}

/// A disk with one durable file of `length` bytes of 1.
fn disk_with_file(length: usize) -> (SimDisk, Box<dyn DiskFile>) {
    let disk = SimDisk::new(1);
    let file = disk.open(path(), OpenMode::CreateNew).unwrap();
    file.write_all_at(&vec![1; length], 0).unwrap();
    file.sync_data().unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    (disk, file)
}

fn all(file: &dyn DiskFile) -> Vec<u8> {
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

#[test]
fn a_crash_loses_what_was_not_synced() {
    let (disk, file) = disk_with_file(10);
    file.write_all_at(&[2; 20], 5).unwrap();
    assert_eq!(file.len().unwrap(), 25);
    disk.crash(CrashPolicy::LoseUnsynced);
    assert!(file.len().is_err(), "open files do not outlive a crash");
    assert_eq!(disk.read(path()).unwrap(), [1; 10]);
}

#[test]
fn a_dead_process_loses_nothing() {
    let (disk, file) = disk_with_file(10);
    file.write_all_at(&[2; 20], 5).unwrap();
    disk.open(Path::new("/other"), OpenMode::CreateNew).unwrap();
    disk.crash(CrashPolicy::KeepAll);
    assert_eq!(disk.read(path()).unwrap().len(), 25);
    assert_eq!(disk.list(Path::new("/")).unwrap(), ["file", "other"]);
}

#[test]
fn names_last_only_after_their_folder_was_synced() {
    let (disk, _file) = disk_with_file(1);
    let made = disk.open(Path::new("/made"), OpenMode::CreateNew).unwrap();
    made.write_all_at(b"synced, but without a name", 0).unwrap();
    made.sync_data().unwrap();
    disk.rename(path(), Path::new("/renamed")).unwrap();
    disk.crash(CrashPolicy::LoseUnsynced);
    assert_eq!(disk.list(Path::new("/")).unwrap(), ["file"]);
    disk.rename(path(), Path::new("/renamed")).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    disk.remove(Path::new("/renamed")).unwrap();
    disk.crash(CrashPolicy::LoseUnsynced);
    assert_eq!(disk.list(Path::new("/")).unwrap(), ["renamed"]);
}

#[test]
fn a_rename_between_folders_needs_both_to_be_synced() {
    let (disk, _file) = disk_with_file(1);
    disk.create_dir_all(Path::new("/folder")).unwrap();
    disk.rename(path(), Path::new("/folder/file")).unwrap();
    disk.sync_dir(Path::new("/folder")).unwrap();
    disk.crash(CrashPolicy::LoseUnsynced);
    assert!(disk.exists(path()).unwrap());
    disk.rename(path(), Path::new("/folder/file")).unwrap();
    disk.sync_dir(Path::new("/folder")).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    disk.crash(CrashPolicy::LoseUnsynced);
    assert!(disk.exists(Path::new("/folder/file")).unwrap() && !disk.exists(path()).unwrap());
}

#[test]
fn after_a_failed_sync_the_next_one_succeeds_and_saves_nothing() {
    let (disk, file) = disk_with_file(4096);
    file.write_all_at(&[2; 4096], 0).unwrap();
    disk.inject(DiskFault::once(DiskOp::Sync, "file", DiskErrno::Io));
    let error = file.sync_data().unwrap_err();
    assert_eq!(DiskTrouble::of(&error), DiskTrouble::Broken);
    file.sync_data().unwrap();
    assert_eq!(all(&*file), [2; 4096], "the page cache still shows the new bytes");
    file.drop_cache(0, 0).unwrap();
    assert_eq!(all(&*file), [1; 4096], "the disk never had them");
}

#[test]
fn a_lying_disk_loses_what_it_said_was_synced() {
    let (disk, file) = disk_with_file(10);
    disk.lie(true);
    file.write_all_at(&[2; 10], 0).unwrap();
    file.sync_data().unwrap();
    disk.crash(CrashPolicy::LoseUnsynced);
    assert_eq!(disk.read(path()).unwrap(), [1; 10]);
}

#[test]
fn dirty_pages_survive_dropping_the_cache() {
    let (_disk, file) = disk_with_file(3 * 4096);
    file.write_all_at(&[2; 4096], 4096).unwrap();
    file.drop_cache(0, 0).unwrap();
    assert_eq!(all(&*file)[4096..8192], [2; 4096]);
}

#[test]
fn damage_is_seen_once_the_cache_is_gone() {
    let (disk, file) = disk_with_file(3 * 4096);
    disk.damage(path(), 5000, 0x80);
    assert_eq!(all(&*file)[5000], 1);
    file.drop_cache(4096, 10).unwrap();
    assert_eq!(all(&*file)[5000], 0x81);
}

#[test]
fn a_bad_spot_gives_an_error_and_the_rest_can_be_read() {
    let (disk, file) = disk_with_file(3 * 4096);
    disk.make_unreadable(path(), 4096..8192);
    assert!(file.read_exact_at(&mut [0; 4096], 0).is_ok() && file.read_exact_at(&mut [0; 4096], 8192).is_ok());
    assert_eq!(DiskTrouble::of(&file.read_exact_at(&mut [0; 2], 4095).unwrap_err()), DiskTrouble::Broken);
    disk.heal();
    assert_eq!(all(&*file), [1; 3 * 4096]);
}

#[test]
fn a_torn_crash_keeps_whole_sectors_by_chance() {
    let torn = |seed| {
        let (disk, file) = disk_with_file(8 * 512);
        file.write_all_at(&[2; 8 * 512], 0).unwrap();
        disk.crash(CrashPolicy::Tear(seed));
        disk.read(path()).unwrap()
    };
    assert_eq!(torn(7), torn(7), "a seed repeats itself");
    let mut mixed = 0;
    for seed in 0..20 {
        let bytes = torn(seed);
        let sectors: Vec<u8> = bytes.chunks(512).map(|sector| sector[0]).collect();
        assert!(bytes.chunks(512).all(|sector| sector.iter().all(|byte| *byte == sector[0])));
        mixed += u32::from(sectors.contains(&1) && sectors.contains(&2));
    }
    assert!(mixed > 15, "{mixed} of 20");
}

#[test]
fn some_unsynced_changes_survive_a_crash_by_chance() {
    let survivors = |seed| {
        let (disk, _file) = disk_with_file(1);
        for name in ["/a", "/b", "/c", "/d"] {
            disk.open(Path::new(name), OpenMode::CreateNew).unwrap();
        }
        disk.crash(CrashPolicy::KeepSome(seed));
        disk.list(Path::new("/")).unwrap().len()
    };
    let counts: Vec<usize> = (0..20).map(survivors).collect();
    assert!(counts.iter().any(|count| *count < 4) && counts.iter().any(|count| *count > 2), "{counts:?}");
}

#[test]
fn power_goes_at_the_chosen_step_and_stays_off() {
    for (cut, expected) in [(PowerCut::Before, 1), (PowerCut::After, 2)] {
        let (disk, file) = disk_with_file(10);
        let write = disk.steps();
        disk.cut_power_at(write + 1, cut);
        file.write_all_at(&[2; 10], 0).unwrap();
        assert!(file.sync_data().is_err());
        assert!(!disk.has_power());
        assert!(file.write_all_at(&[3; 10], 0).is_err());
        assert!(disk.list(Path::new("/")).is_err());
        disk.crash(CrashPolicy::LoseUnsynced);
        assert!(disk.has_power());
        assert_eq!(disk.read(path()).unwrap(), [expected; 10], "{cut:?}");
    }
}

#[test]
fn a_torn_write_did_part_of_its_work() {
    let (disk, file) = disk_with_file(64 * 512);
    disk.cut_power_at(disk.steps(), PowerCut::Torn);
    assert!(file.write_all_at(&[2; 64 * 512], 0).is_err());
    disk.crash(CrashPolicy::KeepAll);
    let bytes = disk.read(path()).unwrap();
    let done = bytes.iter().take_while(|byte| **byte == 2).count();
    assert!(done < bytes.len() && done.is_multiple_of(512) && bytes[done..].iter().all(|byte| *byte == 1));
}

#[test]
fn faults_hit_the_operations_they_name() {
    let (disk, file) = disk_with_file(10);
    disk.inject(DiskFault::once(DiskOp::Write, "file", DiskErrno::NoSpace).after(1));
    disk.inject(DiskFault::forever(DiskOp::Read, "file", DiskErrno::Io));
    file.write_all_at(&[2; 10], 0).unwrap();
    assert_eq!(DiskTrouble::of(&file.write_all_at(&[3; 10], 0).unwrap_err()), DiskTrouble::Full);
    file.write_all_at(&[4; 5], 0).unwrap();
    for _ in 0..3 {
        assert!(file.read_exact_at(&mut [0], 0).is_err());
    }
    disk.heal();
    assert_eq!(all(&*file), [4, 4, 4, 4, 4, 2, 2, 2, 2, 2]);
    let other = disk.open(Path::new("/other"), OpenMode::CreateNew).unwrap();
    other.write_all_at(b"x", 0).unwrap();
}

#[test]
fn a_full_disk_refuses_space_and_files() {
    let disk = SimDisk::with_capacity(1, 10 * 4096);
    let file = disk.open(path(), OpenMode::CreateNew).unwrap();
    file.allocate(9 * 4096).unwrap();
    assert_eq!(DiskTrouble::of(&file.allocate(11 * 4096).unwrap_err()), DiskTrouble::Full);
    assert_eq!(DiskTrouble::of(&file.write_all_at(&[1; 8192], 9 * 4096).unwrap_err()), DiskTrouble::Full);
    assert_eq!(file.len().unwrap(), 9 * 4096, "nothing changed");
    disk.set_files_max(1);
    let made = disk.open(Path::new("/more"), OpenMode::CreateNew);
    assert_eq!(made.err().map(|error| DiskTrouble::of(&error)), Some(DiskTrouble::Full));
    let root = Path::new("/");
    let free = || disk.space(root).unwrap().free_bytes;
    disk.sync_dir(root).unwrap();
    disk.remove(path()).unwrap();
    disk.sync_dir(root).unwrap();
    assert_eq!(free(), 4096, "an open file keeps its space");
    drop(file);
    assert_eq!(free(), 10 * 4096);
}
