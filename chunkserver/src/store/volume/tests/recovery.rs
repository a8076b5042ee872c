//! The tables of `recover.rs`, row by row.

use super::super::super::index::{ChunkIndex, Why};
use super::super::super::pack::{PackHeader, PackNumber, Position};
use super::super::{Finding, RecoverError, VolumeError};
use super::{Entry, MIB, Read, Sim, check_counts, chunk, finding, put, read, remove, touch};
use cairn_common::chunk::VerifiedChunk;
use cairn_common::ids::VolumeId;
use cairn_common::seam::{Disk, OpenMode};
use cairn_common::sim::disk::{CrashPolicy, DiskErrno, DiskFault, DiskOp, PowerCut};

fn entries(chunks: &[VerifiedChunk]) -> Vec<Entry> {
    chunks.iter().cloned().map(Entry::Chunk).collect()
}

/// Two chunks of a few groups.
fn two() -> [VerifiedChunk; 2] {
    [chunk(1, 200_000), chunk(2, 300_000)]
}

/// A volume whose pack 1 is full and sealed, and whose pack 2 has something too.
fn with_two_packs() -> (Sim, Vec<VerifiedChunk>) {
    let mut sim = Sim::new();
    let chunks: Vec<VerifiedChunk> = (0..6).map(|number| chunk(number, MIB)).collect();
    let volume = sim.start();
    chunks.iter().for_each(|chunk| assert!(put(&volume, chunk).is_ok()));
    assert_eq!(volume.packs().len(), 2);
    drop(volume);
    // A first restart brings the index up to date, durably.
    drop(sim.start());
    (sim, chunks)
}

// Packs.

#[test]
fn a_settled_pack_is_not_read() {
    let (mut sim, chunks) = with_two_packs();
    sim.disk.inject(DiskFault::forever(DiskOp::Read, "00000001.pack", DiskErrno::Io));
    let volume = sim.start();
    assert_eq!(finding(&volume, 1), Some(Finding::Settled));
    sim.disk.heal();
    assert!(chunks.iter().all(|chunk| read(&volume, chunk) == Read::Right));
    assert_eq!(volume.report().damaged, 0);
}

#[test]
fn an_unfinished_pack_is_removed() {
    // The power goes after each step of making the first pack; whatever survives is removed.
    for (op, cut) in
        [(DiskOp::Create, PowerCut::After), (DiskOp::Allocate, PowerCut::After), (DiskOp::Write, PowerCut::Before)]
    {
        let mut sim = Sim::started_once();
        let volume = sim.start();
        let steps_to = match op {
            DiskOp::Create => 0,
            DiskOp::Allocate => 1,
            _ => 2,
        };
        sim.disk.cut_power_at(sim.disk.steps() + steps_to, cut);
        assert!(put(&volume, &chunk(1, 100)).is_err());
        drop(volume);
        sim.crash(CrashPolicy::KeepAll);
        assert!(sim.disk.exists(&sim.rig.pack_path(1)).unwrap());
        let volume = sim.start();
        assert_eq!(finding(&volume, 1), Some(Finding::Unfinished), "{op:?}");
        assert!(!sim.disk.exists(&sim.rig.pack_path(1)).unwrap());
        put(&volume, &chunk(1, 100)).unwrap();
    }
}

#[test]
fn an_empty_pack_is_removed_unless_it_is_the_last() {
    let mut sim = Sim::started_once();
    sim.rig.write_pack(1, &[]);
    sim.rig.write_pack(2, &[]);
    let volume = sim.start();
    assert_eq!((finding(&volume, 1), finding(&volume, 2)), (Some(Finding::Empty), Some(Finding::Continued)));
    assert!(!sim.disk.exists(&sim.rig.pack_path(1)).unwrap());
    assert_eq!(put(&volume, &chunk(1, 100)).unwrap().position, Position { pack: PackNumber(2), offset: 4096 });
}

#[test]
fn the_last_pack_is_continued_behind_its_last_record() {
    let mut sim = Sim::started_once();
    let chunks = two();
    sim.rig.write_pack(1, &[&entries(&chunks)]);
    let volume = sim.start();
    assert_eq!(finding(&volume, 1), Some(Finding::Continued));
    assert!(chunks.iter().all(|chunk| read(&volume, chunk) == Read::Right));
    let placed = put(&volume, &chunk(3, 100)).unwrap();
    assert_eq!(placed.position.pack, PackNumber(1));
    assert!(placed.position.offset > 500_000 && placed.position.offset.is_multiple_of(4096));
    check_counts(&sim.index());
}

#[test]
fn a_pack_before_the_last_is_ended_and_cut() {
    let mut sim = Sim::started_once();
    let chunks = two();
    sim.rig.write_pack(1, &[&entries(&chunks[..1])]);
    sim.rig.write_pack(2, &[&entries(&chunks[1..])]);
    let volume = sim.start();
    assert_eq!(finding(&volume, 1), Some(Finding::Ended));
    let length = sim.disk.open(&sim.rig.pack_path(1), OpenMode::Read).unwrap().len().unwrap();
    assert!((200_000..210_000).contains(&length), "{length}");
    assert!(chunks.iter().all(|chunk| read(&volume, chunk) == Read::Right));
    drop(volume);
    assert_eq!(finding(&sim.start(), 1), Some(Finding::Settled));
}

#[test]
fn a_pack_without_a_header_is_read_with_the_volumes_key() {
    let mut sim = Sim::started_once();
    let chunks = two();
    sim.rig.write_pack(1, &[&entries(&chunks)]);
    sim.disk.damage(&sim.rig.pack_path(1), 20, 1);
    let volume = sim.start();
    assert_eq!(finding(&volume, 1), Some(Finding::Headless));
    assert!(chunks.iter().all(|chunk| read(&volume, chunk) == Read::Right));
    assert_eq!(put(&volume, &chunk(3, 100)).unwrap().position.pack, PackNumber(2), "nothing is added to it");
    check_counts(&sim.index());
}

#[test]
fn a_header_that_is_damaged_later_loses_nothing() {
    let mut sim = Sim::new();
    let chunks = two();
    let volume = sim.start();
    chunks.iter().for_each(|chunk| assert!(put(&volume, chunk).is_ok()));
    drop(volume);
    drop(sim.start());
    sim.disk.damage(&sim.rig.pack_path(1), 0, 1);
    for lose_index in [false, true] {
        if lose_index {
            sim.lose_index();
        }
        let volume = sim.start();
        assert!(chunks.iter().all(|chunk| read(&volume, chunk) == Read::Right));
    }
}

#[test]
fn packs_under_each_others_names_are_left_alone_until_they_are_back() {
    let (mut sim, chunks) = with_two_packs();
    let swap = |sim: &Sim| {
        let [one, two, aside] = [1, 2, 99].map(|number| sim.rig.pack_path(number));
        let aside = aside.with_extension("aside");
        sim.disk.rename(&one, &aside).unwrap();
        sim.disk.rename(&two, &one).unwrap();
        sim.disk.rename(&aside, &two).unwrap();
    };
    // Neither is settled, so that both are looked at.
    sim.lose_index();
    swap(&sim);
    let volume = sim.start();
    assert_eq!((finding(&volume, 1), finding(&volume, 2)), (Some(Finding::Foreign), Some(Finding::Foreign)));
    assert!(chunks.iter().all(|chunk| read(&volume, chunk) == Read::Absent));
    let placed = put(&volume, &chunk(100, 10)).unwrap();
    assert_eq!(placed.position.pack, PackNumber(3));
    drop(volume);
    swap(&sim);
    let volume = sim.start();
    assert!(chunks.iter().all(|chunk| read(&volume, chunk) == Read::Right));
    assert_eq!(read(&volume, &chunk(100, 10)), Read::Right);
}

#[test]
fn settled_packs_under_each_others_names_give_errors_and_never_wrong_bytes() {
    let (mut sim, chunks) = with_two_packs();
    let more: Vec<VerifiedChunk> = (10..16).map(|number| chunk(number, MIB)).collect();
    let volume = sim.start();
    more.iter().for_each(|chunk| assert!(put(&volume, chunk).is_ok()));
    drop(volume);
    drop(sim.start());
    let [one, two, aside] = [1, 2, 99].map(|number| sim.rig.pack_path(number));
    sim.disk.rename(&one, &aside).unwrap();
    sim.disk.rename(&two, &one).unwrap();
    sim.disk.rename(&aside, &two).unwrap();
    let volume = sim.start();
    for chunk in chunks.iter().chain(&more) {
        let read = read(&volume, chunk);
        let position = volume.find(&chunk.address()).unwrap().unwrap().position;
        assert_eq!(read == Read::Right, position.pack > PackNumber(2), "{position:?}");
        if read != Read::Right {
            assert_eq!(touch(&volume, chunk.address(), 20).unwrap(), None, "no receipt for it either");
        }
    }
}

#[test]
fn a_pack_of_another_volume_is_left_alone() {
    let mut sim = Sim::started_once();
    sim.rig.write_pack(1, &[&entries(&two())]);
    let page = PackHeader {
        cluster: sim.rig.identity().cluster,
        node: sim.rig.identity().node,
        volume: VolumeId(78),
        number: PackNumber(1),
        boot: sim.rig.identity().boot,
    };
    let file = sim.disk.open(&sim.rig.pack_path(1), OpenMode::Write).unwrap();
    file.write_all_at(&page.encode(), 0).unwrap();
    file.sync_data().unwrap();
    let volume = sim.start();
    assert_eq!(finding(&volume, 1), Some(Finding::Foreign));
    assert!(sim.disk.exists(&sim.rig.pack_path(1)).unwrap());
}

#[test]
fn a_pack_of_a_newer_release_stops_the_start_and_is_not_touched() {
    let mut sim = Sim::started_once();
    sim.rig.write_pack(1, &[&entries(&two())]);
    let file = sim.disk.open(&sim.rig.pack_path(1), OpenMode::Write).unwrap();
    let mut page = vec![0; 4096];
    file.read_exact_at(&mut page, 0).unwrap();
    page[8] = 9;
    let checksum = *blake3::hash(&page[..64]).as_bytes();
    page[64..96].copy_from_slice(&checksum);
    file.write_all_at(&page, 0).unwrap();
    file.sync_data().unwrap();
    let before = sim.disk.read(&sim.rig.pack_path(1)).unwrap();
    let started = sim.rig.start();
    assert!(matches!(started, Err(VolumeError::Recover(RecoverError::Newer(PackNumber(1))))));
    assert_eq!(sim.disk.read(&sim.rig.pack_path(1)).unwrap(), before);
}

#[test]
fn a_pack_that_was_cut_short_loses_what_lay_behind_its_end_and_nothing_else() {
    let (mut sim, chunks) = with_two_packs();
    let file = sim.disk.open(&sim.rig.pack_path(1), OpenMode::Write).unwrap();
    file.set_len(2 * MIB as u64).unwrap();
    file.sync_data().unwrap();
    for _ in 0..2 {
        let volume = sim.start();
        let reads: Vec<Read> = chunks.iter().map(|chunk| read(&volume, chunk)).collect();
        assert_eq!(reads[0], Read::Right);
        assert_eq!(reads[1..4], [Read::Absent, Read::Absent, Read::Absent]);
        assert_eq!(reads[4..], [Read::Right, Read::Right]);
        check_counts(&sim.index());
    }
}

#[test]
fn what_is_lost_with_a_pack_is_counted_and_can_be_written_again() {
    let (mut sim, chunks) = with_two_packs();
    sim.disk.remove(&sim.rig.pack_path(1)).unwrap();
    let volume = sim.start();
    assert_eq!(finding(&volume, 1), Some(Finding::Missing));
    assert_eq!(volume.report().damaged, 4);
    assert!(chunks[..4].iter().all(|chunk| read(&volume, chunk) == Read::Absent));
    assert!(chunks[4..].iter().all(|chunk| read(&volume, chunk) == Read::Right));
    put(&volume, &chunks[0]).unwrap();
    assert_eq!(read(&volume, &chunks[0]), Read::Right);
    check_counts(&sim.index());
    drop(volume);
    let volume = sim.start();
    assert_eq!((finding(&volume, 1), volume.report().damaged), (None, 0));
}

// Records.

#[test]
fn records_that_the_index_does_not_cover_are_found() {
    let mut sim = Sim::new();
    let chunks = two();
    let volume = sim.start();
    chunks.iter().for_each(|chunk| assert!(put(&volume, chunk).is_ok()));
    drop(volume);
    sim.crash(CrashPolicy::LoseUnsynced);
    assert_eq!(sim.index().packs().unwrap(), []);
    let volume = sim.start();
    assert!(chunks.iter().all(|chunk| read(&volume, chunk) == Read::Right));
    check_counts(&sim.index());
}

#[test]
fn a_removal_that_the_index_does_not_cover_stays_one() {
    let mut sim = Sim::new();
    let [one, two] = two();
    let volume = sim.start();
    put(&volume, &one).unwrap();
    put(&volume, &two).unwrap();
    remove(&volume, one.address()).unwrap();
    remove(&volume, two.address()).unwrap();
    put(&volume, &two).unwrap();
    drop(volume);
    for lose_index in [false, true] {
        sim.crash(CrashPolicy::LoseUnsynced);
        if lose_index {
            sim.lose_index();
        }
        let volume = sim.start();
        assert_eq!((read(&volume, &one), read(&volume, &two)), (Read::Absent, Read::Right));
        check_counts(&sim.index());
    }
}

#[test]
fn a_removal_in_a_pack_reaches_the_records_before_it_and_none_behind() {
    let mut sim = Sim::started_once();
    let [one, two] = two();
    let gone = |chunk: &VerifiedChunk| Entry::Tombstone(chunk.address());
    sim.rig.write_pack(1, &[&entries(&[one.clone(), two.clone()]), &[gone(&one), gone(&two)]]);
    sim.rig.write_pack(2, &[&[gone(&two)], &entries(std::slice::from_ref(&two))]);
    let volume = sim.start();
    assert_eq!((read(&volume, &one), read(&volume, &two)), (Read::Absent, Read::Right));
    check_counts(&sim.index());
}

#[test]
fn a_damaged_record_before_a_later_group_is_set_aside_and_counted() {
    let mut sim = Sim::started_once();
    let chunks = two();
    let at = sim.rig.write_pack(1, &[&entries(&chunks[..1]), &entries(&chunks[1..])]);
    sim.damage(at[0], 1_000);
    let volume = sim.start();
    assert_eq!((read(&volume, &chunks[0]), read(&volume, &chunks[1])), (Read::Absent, Read::Right));
    assert_eq!(volume.report().damaged, 1);
    assert_eq!(volume.set_aside().unwrap(), [(chunks[0].address(), 200_000)]);
    assert_eq!(sim.index().bad(None).unwrap()[0].2.why, Why::Damaged);
    put(&volume, &chunks[0]).unwrap();
    assert_eq!(read(&volume, &chunks[0]), Read::Right);
    assert_eq!(volume.set_aside().unwrap(), []);
    drop(volume);
    sim.lose_index();
    let volume = sim.start();
    assert_eq!(read(&volume, &chunks[0]), Read::Right);
    assert_eq!(volume.set_aside().unwrap(), []);
    check_counts(&sim.index());
}

#[test]
fn a_record_that_was_torn_inside_its_group_is_skipped_and_the_rest_of_the_group_kept() {
    let mut sim = Sim::started_once();
    let chunks = two();
    let at = sim.rig.write_pack(1, &[&entries(&chunks)]);
    sim.damage(at[0], 1_000);
    let volume = sim.start();
    assert_eq!((read(&volume, &chunks[0]), read(&volume, &chunks[1])), (Read::Absent, Read::Right));
    assert_eq!(volume.report().damaged, 0, "nobody got a receipt, most likely");
    assert_eq!(sim.index().bad(None).unwrap()[0].2.why, Why::Torn);
    put(&volume, &chunks[0]).unwrap();
    assert_eq!(volume.set_aside().unwrap(), []);
}

#[test]
fn a_record_without_a_header_hides_nothing_behind_it() {
    let mut sim = Sim::started_once();
    let chunks = two();
    let at = sim.rig.write_pack(1, &[&entries(&chunks[..1]), &entries(&chunks[1..])]);
    sim.damage(at[0], 30);
    let volume = sim.start();
    assert_eq!((read(&volume, &chunks[0]), read(&volume, &chunks[1])), (Read::Absent, Read::Right));
    assert_eq!(volume.report().damaged, 1);
    assert_eq!(sim.index().packs().unwrap()[0].1.bad, 1, "the pack stays");
}

#[test]
fn what_looks_like_a_record_inside_a_chunk_is_none() {
    // A chunk whose bytes are a whole pack of this very volume, at the right offsets.
    let mut sim = Sim::started_once();
    sim.rig.write_pack(1, &[&entries(&two())]);
    let pack = sim.disk.read(&sim.rig.pack_path(1)).unwrap();
    sim.disk.remove(&sim.rig.pack_path(1)).unwrap();
    let evil = VerifiedChunk::hash(two()[0].address().domain, pack[..MIB].to_vec().into(), |_| ());
    let at = sim.rig.write_pack(2, &[&[Entry::Chunk(evil.clone())], &entries(&[chunk(9, 10)])]);
    sim.damage(at[0], 30);
    let volume = sim.start();
    assert!(two().iter().all(|chunk| read(&volume, chunk) == Read::Absent));
    assert_eq!(read(&volume, &chunk(9, 10)), Read::Right);
}

#[test]
fn a_torn_tail_is_cut_and_overwritten() {
    let mut sim = Sim::started_once();
    let chunks = two();
    let at = sim.rig.write_pack(1, &[&entries(&chunks[..1]), &entries(&chunks[1..])]);
    sim.damage(at[1], 100_000);
    let volume = sim.start();
    assert_eq!((read(&volume, &chunks[0]), read(&volume, &chunks[1])), (Read::Right, Read::Absent));
    assert_eq!((volume.report().damaged, volume.set_aside().unwrap().len()), (0, 0));
    let bytes = sim.disk.read(&sim.rig.pack_path(1)).unwrap();
    assert_eq!(bytes.len(), 5 << 20);
    assert!(bytes[at[1].offset as usize..].iter().all(|byte| *byte == 0), "zeros behind the cut");
    assert_eq!(put(&volume, &chunk(3, 100)).unwrap().position, at[1]);
    drop(volume);
    sim.lose_index();
    assert_eq!(read(&sim.start(), &chunk(3, 100)), Read::Right);
}

#[test]
fn records_behind_a_gap_of_zeros_are_found() {
    // The pages of the first record never reached the disk, those of the second did.
    let mut sim = Sim::started_once();
    let chunks = two();
    let at = sim.rig.write_pack(1, &[&entries(&chunks)]);
    let file = sim.disk.open(&sim.rig.pack_path(1), OpenMode::Write).unwrap();
    file.write_all_at(&vec![0; (at[1].offset - at[0].offset) as usize], u64::from(at[0].offset)).unwrap();
    file.sync_data().unwrap();
    let volume = sim.start();
    assert_eq!((read(&volume, &chunks[0]), read(&volume, &chunks[1])), (Read::Absent, Read::Right));
}

#[test]
fn what_the_disk_cannot_read_is_set_aside_and_never_cut() {
    let mut sim = Sim::started_once();
    let chunks = two();
    let at = sim.rig.write_pack(1, &[&entries(&chunks[..1]), &entries(&chunks[1..])]);
    for (bad, good) in [(0, 1), (1, 0)] {
        sim.lose_index();
        sim.disk
            .make_unreadable(&sim.rig.pack_path(1), u64::from(at[bad].offset) + 8192..u64::from(at[bad].offset) + 8193);
        let volume = sim.start();
        assert_eq!((read(&volume, &chunks[bad]), read(&volume, &chunks[good])), (Read::Absent, Read::Right));
        assert_eq!(sim.index().bad(None).unwrap()[0].2.why, Why::Unreadable);
        drop(volume);
        // The fault goes away, the index is made anew: everything is still there.
        sim.disk.heal();
        sim.lose_index();
        let volume = sim.start();
        assert!(chunks.iter().all(|chunk| read(&volume, chunk) == Read::Right));
    }
}

#[test]
fn an_unreadable_tail_seals_the_pack_as_it_is() {
    let mut sim = Sim::started_once();
    let chunks = two();
    let at = sim.rig.write_pack(1, &[&entries(&chunks[..1]), &entries(&chunks[1..])]);
    sim.disk.make_unreadable(&sim.rig.pack_path(1), u64::from(at[1].offset)..u64::from(at[1].offset) + 1);
    let volume = sim.start();
    assert_eq!(finding(&volume, 1), Some(Finding::Ended));
    assert_eq!(sim.disk.open(&sim.rig.pack_path(1), OpenMode::Read).unwrap().len().unwrap(), 5 << 20);
    assert_eq!(put(&volume, &chunk(3, 100)).unwrap().position.pack, PackNumber(2));
}

#[test]
fn a_bad_sync_at_the_start_keeps_the_volume_from_starting() {
    let mut sim = Sim::started_once();
    sim.rig.write_pack(1, &[&entries(&two())]);
    sim.disk.inject(DiskFault::once(DiskOp::Sync, "00000001.pack", DiskErrno::Io));
    let error = sim.rig.start().err().unwrap();
    assert!(error.is_broken(), "{error}");
    assert!(matches!(sim.rig.start(), Err(VolumeError::Retired(_))), "nor from ever starting again");
}

#[test]
fn bytes_that_are_only_in_the_page_cache_are_not_found() {
    // The process dies after a failed fsync: the cache shows the record, the disk does not have it.
    let mut sim = Sim::started_once();
    let volume = sim.start();
    put(&volume, &chunk(1, 100)).unwrap();
    sim.disk.inject(DiskFault::once(DiskOp::Sync, "00000001.pack", DiskErrno::NoSpace));
    assert!(put(&volume, &chunk(2, 100)).is_err());
    drop(volume);
    sim.crash_process();
    let volume = sim.start();
    assert_eq!((read(&volume, &chunk(1, 100)), read(&volume, &chunk(2, 100))), (Read::Right, Read::Absent));
    assert_eq!(touch(&volume, chunk(2, 100).address(), 20).unwrap(), None);
}
