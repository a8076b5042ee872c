//! Many threads at once on a real disk, with restarts between, against a plain map.

use super::super::super::index::RocksIndexes;
use super::super::super::pack::PackNumber;
use super::{Read, Rig, Volume, chunk, put, read_whole, remove, touch};
use cairn_common::seam::{Random, RealDisk};
use cairn_common::sim::SeededRandom;
use std::collections::BTreeSet;
use std::sync::Arc;

const THREADS: u32 = 4;
const CHUNKS_PER_THREAD: u32 = 40;
const OPERATIONS: u32 = 250;
const ROUNDS: u64 = 3;

fn of(thread: u32, number: u32) -> cairn_common::chunk::VerifiedChunk {
    chunk(thread * 1_000 + number, 1 + (number as usize * 7_919) % 200_000)
}

/// Works on chunks of its own, and on one that all share; returns which of its own are there.
fn work(volume: &Volume, thread: u32, seed: u64, mut there: BTreeSet<u32>) -> BTreeSet<u32> {
    let random = SeededRandom::new(seed);
    for _ in 0..OPERATIONS {
        let number = random.below(u64::from(CHUNKS_PER_THREAD)) as u32;
        let mine = of(thread, number);
        match random.below(10) {
            0..=3 => {
                put(volume, &mine).unwrap();
                there.insert(number);
            }
            4 | 5 => {
                remove(volume, mine.address()).unwrap();
                there.remove(&number);
            }
            6 => assert_eq!(touch(volume, mine.address(), 9).unwrap().is_some(), there.contains(&number)),
            7 => {
                put(volume, &of(99, number)).unwrap();
                assert_eq!(read_whole(volume, &of(99, number)), Read::Right);
            }
            _ => {
                let expected = if there.contains(&number) { Read::Right } else { Read::Absent };
                assert_eq!(read_whole(volume, &mine), expected, "chunk {number} of thread {thread}");
            }
        }
    }
    there
}

#[test]
fn threads_find_what_they_wrote_and_removed_over_compactions_and_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let indexes = Arc::new(RocksIndexes::with_memory(1 << 20, 8 << 20));
    let mut rig = Rig::new(Arc::new(RealDisk), indexes, &folder.path().join("disk-1"));
    let mut models = vec![BTreeSet::new(); THREADS as usize];
    for round in 0..ROUNDS {
        let volume = rig.start().unwrap();
        models = std::thread::scope(|scope| {
            let (volume, models) = (&volume, std::mem::take(&mut models));
            let workers: Vec<_> = (0..THREADS)
                .zip(models)
                .map(|(thread, there)| {
                    scope.spawn(move || work(volume, thread, round * 100 + u64::from(thread), there))
                })
                .collect();
            scope.spawn(move || {
                for _ in 0..5 {
                    let sealed: Vec<PackNumber> = volume.packs().iter().map(|(number, ..)| *number).collect();
                    sealed.into_iter().for_each(|number| assert!(volume.compact(number).is_ok()));
                }
            });
            workers.into_iter().map(|worker| worker.join().unwrap()).collect()
        });
        if round == 1 {
            crate::store::volume::tests::block_on(volume.stop()).unwrap();
        }
        drop(volume);
        if round == 2 {
            std::fs::remove_dir_all(rig.root.join("index")).unwrap();
        }
        let volume = rig.start().unwrap();
        for (thread, there) in (0..THREADS).zip(&models) {
            for number in 0..CHUNKS_PER_THREAD {
                let expected = if there.contains(&number) { Read::Right } else { Read::Absent };
                assert_eq!(read_whole(&volume, &of(thread, number)), expected, "round {round}: {thread}/{number}");
            }
        }
        assert_eq!(volume.report().damaged, 0);
        assert_eq!(volume.set_aside().unwrap(), []);
    }
}
