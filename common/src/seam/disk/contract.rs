//! What every disk does, real or simulated. Each case gets an empty folder.

use super::{Disk, OpenMode, RealDisk};
use crate::sim::SimDisk;
use std::io::ErrorKind;
use std::path::Path;

type Case = fn(&dyn Disk, &Path);

const CASES: &[(&str, Case)] = &[
    ("bytes are read where they were written", bytes_are_read_where_they_were_written),
    ("reading past the end is an error", reading_past_the_end_is_an_error),
    ("a file is made once", a_file_is_made_once),
    ("a missing file is not found", a_missing_file_is_not_found),
    ("a handle for reading cannot write", a_handle_for_reading_cannot_write),
    ("allocated space is zeros and counts as length", allocated_space_is_zeros_and_counts_as_length),
    ("what was cut off comes back as zeros", what_was_cut_off_comes_back_as_zeros),
    ("dropping the cache changes no bytes", dropping_the_cache_changes_no_bytes),
    ("names are listed sorted", names_are_listed_sorted),
    ("a rename replaces its target", a_rename_replaces_its_target),
    ("a removed file lives until it is closed", a_removed_file_lives_until_it_is_closed),
    ("folders are made with those above them", folders_are_made_with_those_above_them),
    ("a file is replaced whole", a_file_is_replaced_whole),
    ("a lock holds until its file is closed", a_lock_holds_until_its_file_is_closed),
    ("space shrinks by what is allocated", space_shrinks_by_what_is_allocated),
];

#[test]
fn the_real_disk_keeps_the_contract() {
    for (name, case) in CASES {
        eprintln!("{name}");
        case(&RealDisk, tempfile::tempdir().unwrap().path());
    }
}

#[test]
fn the_simulated_disk_keeps_the_contract() {
    for (name, case) in CASES {
        eprintln!("{name}");
        let disk = SimDisk::with_capacity(1, 64 << 20);
        disk.create_dir_all(Path::new("/volume")).unwrap();
        case(&disk, Path::new("/volume"));
    }
}

fn bytes_are_read_where_they_were_written(disk: &dyn Disk, root: &Path) {
    let file = disk.open(&root.join("a"), OpenMode::CreateNew).unwrap();
    file.write_all_at(&[7; 10_000], 5_000).unwrap();
    file.write_all_at(&[8; 10], 9_999).unwrap();
    file.sync_data().unwrap();
    assert_eq!(file.len().unwrap(), 15_000);
    let other = disk.open(&root.join("a"), OpenMode::Read).unwrap();
    let mut bytes = vec![1; 15_000];
    other.read_exact_at(&mut bytes, 0).unwrap();
    assert!(bytes[..5_000].iter().all(|byte| *byte == 0));
    assert!(bytes[5_000..9_999].iter().all(|byte| *byte == 7));
    assert!(bytes[9_999..10_009].iter().all(|byte| *byte == 8));
    assert!(bytes[10_009..].iter().all(|byte| *byte == 7));
}

fn reading_past_the_end_is_an_error(disk: &dyn Disk, root: &Path) {
    let file = disk.open(&root.join("a"), OpenMode::CreateNew).unwrap();
    file.write_all_at(&[7; 10], 0).unwrap();
    let mut bytes = [0; 11];
    assert_eq!(file.read_exact_at(&mut bytes, 0).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    assert_eq!(file.read_exact_at(&mut bytes[..1], 10).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    file.read_exact_at(&mut bytes[..0], 10).unwrap();
}

fn a_file_is_made_once(disk: &dyn Disk, root: &Path) {
    disk.open(&root.join("a"), OpenMode::CreateNew).unwrap();
    let again = disk.open(&root.join("a"), OpenMode::CreateNew);
    assert_eq!(again.err().map(|error| error.kind()), Some(ErrorKind::AlreadyExists));
}

fn a_missing_file_is_not_found(disk: &dyn Disk, root: &Path) {
    for mode in [OpenMode::Read, OpenMode::Write] {
        let opened = disk.open(&root.join("a"), mode);
        assert_eq!(opened.err().map(|error| error.kind()), Some(ErrorKind::NotFound));
    }
    assert!(!disk.exists(&root.join("a")).unwrap());
    assert_eq!(disk.remove(&root.join("a")).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(disk.rename(&root.join("a"), &root.join("b")).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(disk.list(&root.join("a")).unwrap_err().kind(), ErrorKind::NotFound);
    let lost = disk.open(&root.join("a/b"), OpenMode::CreateNew);
    assert_eq!(lost.err().map(|error| error.kind()), Some(ErrorKind::NotFound));
}

fn a_handle_for_reading_cannot_write(disk: &dyn Disk, root: &Path) {
    disk.open(&root.join("a"), OpenMode::CreateNew).unwrap().write_all_at(b"x", 0).unwrap();
    let file = disk.open(&root.join("a"), OpenMode::Read).unwrap();
    assert!(file.write_all_at(b"y", 0).is_err());
    assert!(file.set_len(0).is_err());
}

fn allocated_space_is_zeros_and_counts_as_length(disk: &dyn Disk, root: &Path) {
    let file = disk.open(&root.join("a"), OpenMode::CreateNew).unwrap();
    file.write_all_at(b"x", 0).unwrap();
    file.allocate(100_000).unwrap();
    assert_eq!(file.len().unwrap(), 100_000);
    let mut bytes = vec![1; 99_999];
    file.read_exact_at(&mut bytes, 1).unwrap();
    assert!(bytes.iter().all(|byte| *byte == 0));
    file.allocate(10).unwrap();
    assert_eq!(file.len().unwrap(), 100_000);
}

fn what_was_cut_off_comes_back_as_zeros(disk: &dyn Disk, root: &Path) {
    let file = disk.open(&root.join("a"), OpenMode::CreateNew).unwrap();
    file.write_all_at(&[7; 10_000], 0).unwrap();
    file.set_len(100).unwrap();
    assert_eq!(file.len().unwrap(), 100);
    file.allocate(10_000).unwrap();
    let mut bytes = vec![1; 10_000];
    file.read_exact_at(&mut bytes, 0).unwrap();
    assert!(bytes[..100].iter().all(|byte| *byte == 7) && bytes[100..].iter().all(|byte| *byte == 0));
}

fn dropping_the_cache_changes_no_bytes(disk: &dyn Disk, root: &Path) {
    let file = disk.open(&root.join("a"), OpenMode::CreateNew).unwrap();
    file.write_all_at(&[7; 10_000], 0).unwrap();
    file.sync_data().unwrap();
    file.write_all_at(&[8; 5_000], 2_000).unwrap();
    for (offset, bytes) in [(0, 0), (3_000, 10), (9_000, 1 << 20)] {
        file.drop_cache(offset, bytes).unwrap();
    }
    let mut bytes = vec![0; 10_000];
    file.read_exact_at(&mut bytes, 0).unwrap();
    let expected = |at: usize| if (2_000..7_000).contains(&at) { 8 } else { 7 };
    assert!(bytes.iter().enumerate().all(|(at, byte)| *byte == expected(at)));
}

fn names_are_listed_sorted(disk: &dyn Disk, root: &Path) {
    for name in ["c", "a", "b.x"] {
        disk.open(&root.join(name), OpenMode::CreateNew).unwrap();
    }
    disk.create_dir_all(&root.join("d/e")).unwrap();
    assert_eq!(disk.list(root).unwrap(), ["a", "b.x", "c", "d"]);
    disk.remove(&root.join("b.x")).unwrap();
    assert_eq!(disk.list(root).unwrap(), ["a", "c", "d"]);
    disk.sync_dir(root).unwrap();
}

fn a_rename_replaces_its_target(disk: &dyn Disk, root: &Path) {
    for name in ["a", "b"] {
        disk.open(&root.join(name), OpenMode::CreateNew).unwrap().write_all_at(name.as_bytes(), 0).unwrap();
    }
    disk.rename(&root.join("a"), &root.join("b")).unwrap();
    assert_eq!(disk.list(root).unwrap(), ["b"]);
    assert_eq!(disk.read(&root.join("b")).unwrap(), b"a");
}

fn a_removed_file_lives_until_it_is_closed(disk: &dyn Disk, root: &Path) {
    let file = disk.open(&root.join("a"), OpenMode::CreateNew).unwrap();
    file.write_all_at(b"still here", 0).unwrap();
    let reader = disk.open(&root.join("a"), OpenMode::Read).unwrap();
    drop(file);
    disk.remove(&root.join("a")).unwrap();
    assert!(!disk.exists(&root.join("a")).unwrap());
    let mut bytes = [0; 10];
    reader.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"still here");
}

fn folders_are_made_with_those_above_them(disk: &dyn Disk, root: &Path) {
    disk.create_dir_all(&root.join("a/b/c")).unwrap();
    disk.create_dir_all(&root.join("a/b/c")).unwrap();
    disk.open(&root.join("a/b/c/file"), OpenMode::CreateNew).unwrap();
    assert_eq!(disk.list(&root.join("a/b")).unwrap(), ["c"]);
    assert!(disk.create_dir_all(&root.join("a/b/c/file/d")).is_err());
    assert!(disk.remove(&root.join("a")).is_err());
}

fn a_file_is_replaced_whole(disk: &dyn Disk, root: &Path) {
    disk.replace(&root.join("a"), b"one, which is longer").unwrap();
    disk.replace(&root.join("a"), b"two").unwrap();
    assert_eq!(disk.read(&root.join("a")).unwrap(), b"two");
    assert_eq!(disk.list(root).unwrap(), ["a"]);
}

fn a_lock_holds_until_its_file_is_closed(disk: &dyn Disk, root: &Path) {
    let first = disk.open(&root.join("lock"), OpenMode::CreateNew).unwrap();
    first.lock().unwrap();
    let second = disk.open(&root.join("lock"), OpenMode::Write).unwrap();
    assert!(second.lock().is_err());
    drop(first);
    second.lock().unwrap();
}

fn space_shrinks_by_what_is_allocated(disk: &dyn Disk, root: &Path) {
    let before = disk.space(root).unwrap();
    assert!(before.free_bytes <= before.total_bytes && before.free_inodes > 0);
    let file = disk.open(&root.join("a"), OpenMode::CreateNew).unwrap();
    file.allocate(8 << 20).unwrap();
    file.sync_data().unwrap();
    // Others may use the real disk meanwhile, so only the direction is certain there.
    assert!(disk.space(root).unwrap().free_bytes < before.free_bytes);
}
