//! What only the real disk can show.

use super::{Disk, DiskTrouble, OpenMode, RealDisk};
use rustix::io::{Errno, ReadWriteFlags, preadv2};
use std::fs::File;
use std::io;

#[test]
fn symbolic_links_are_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    RealDisk.replace(&folder.path().join("secret"), b"x").unwrap();
    std::os::unix::fs::symlink(folder.path().join("secret"), folder.path().join("link")).unwrap();
    for mode in [OpenMode::Read, OpenMode::Write, OpenMode::CreateNew] {
        assert!(RealDisk.open(&folder.path().join("link"), mode).is_err());
    }
}

/// Whether a read at `offset` would be served from the page cache: asked for without waiting, any other read fails.
fn is_cached(file: &File, offset: u64) -> bool {
    let mut byte = [0];
    match preadv2(file, &mut [io::IoSliceMut::new(&mut byte)], offset, ReadWriteFlags::NOWAIT) {
        Ok(read) => read == 1,
        Err(Errno::AGAIN) => false,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_range_in_the_middle_of_a_large_file_is_really_dropped() {
    // Below the target folder: /tmp may be a tmpfs, which has nothing but its cache.
    let target = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    let folder = tempfile::tempdir_in(target).unwrap();
    let path = folder.path().join("pack");
    let file = RealDisk.open(&path, OpenMode::CreateNew).unwrap();
    file.allocate(16 << 20).unwrap();
    file.write_all_at(&vec![7; 16 << 20], 0).unwrap();
    file.sync_data().unwrap();
    let plain = File::open(&path).unwrap();
    let (start, length) = ((5 << 20) + 512, 300 << 10);
    assert!(is_cached(&plain, start) && is_cached(&plain, start + length - 1));
    file.drop_cache(start, length).unwrap();
    for at in [start, start + length / 2, start + length - 1] {
        assert!(!is_cached(&plain, at), "{at}");
    }
    assert!(is_cached(&plain, 12 << 20), "what lies far away stays");
}

#[test]
fn errors_are_told_apart_by_what_they_mean() {
    let of = |errno: Errno| DiskTrouble::of(&errno.into());
    assert_eq!(of(Errno::NOSPC), DiskTrouble::Full);
    assert_eq!(of(Errno::DQUOT), DiskTrouble::Full);
    assert_eq!(of(Errno::IO), DiskTrouble::Broken);
    assert_eq!(of(Errno::ROFS), DiskTrouble::ReadOnly);
    assert_eq!(of(Errno::NOENT), DiskTrouble::Other);
    assert_eq!(DiskTrouble::of(&io::ErrorKind::UnexpectedEof.into()), DiskTrouble::Other);
    assert_eq!(DiskTrouble::of(&io::ErrorKind::StorageFull.into()), DiskTrouble::Full);
}
