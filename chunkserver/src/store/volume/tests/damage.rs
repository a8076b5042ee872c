//! Every byte of a small volume is damaged in turn: right bytes or an explicit error, never wrong ones.

use super::super::super::index::RocksIndexes;
use super::{Read, Rig, Sim, chunk, put, read, touch};
use cairn_common::chunk::VerifiedChunk;
use cairn_common::seam::{Disk, OpenMode, RealDisk};
use std::sync::Arc;

/// One of a single group, one with an outboard.
fn small() -> Vec<VerifiedChunk> {
    vec![chunk(1, 700), chunk(2, (64 << 10) + 300)]
}

#[test]
fn whatever_byte_of_a_pack_is_damaged_readers_get_right_bytes_or_an_error() {
    let chunks = small();
    let mut sim = Sim::new();
    let volume = sim.start();
    let placed: Vec<_> = chunks.iter().map(|chunk| put(&volume, chunk).unwrap()).collect();
    drop(volume);
    drop(sim.start());
    let path = sim.rig.pack_path(1);
    let whole = sim.disk.read(&path).unwrap();
    // Every byte of headers and outboards, and samples of bodies and padding.
    let [one, two] = [placed[0].position.offset, placed[1].position.offset];
    let meaningful = (0..100).chain(one..one + 144 + 700).chain(two..two + 144 + 64 + 100);
    let sampled =
        (100..4096).step_by(997).chain((two + 300..two + 60_000).step_by(997)).chain([one + 900, two + 66_200]);
    for byte in meaningful.chain(sampled) {
        sim.disk.damage(&path, u64::from(byte), 0x10);
        // With the index as it was, and with the index made anew from the packs.
        for lose_index in [false, true] {
            if lose_index {
                sim.lose_index();
            }
            let volume = sim.rig.start().unwrap_or_else(|error| panic!("byte {byte}: {error}"));
            // Readers meet the damage first; then the disk itself is asked.
            let before: Vec<Read> = chunks.iter().map(|chunk| read(&volume, chunk)).collect();
            for (chunk, before) in chunks.iter().zip(before) {
                let receipt = touch(&volume, chunk.address(), 20).unwrap();
                let after = read(&volume, chunk);
                match before {
                    // Damage of the header shows only where the whole record is read.
                    Read::Right => assert_eq!(receipt.is_some(), after == Read::Right, "byte {byte}"),
                    Read::Absent | Read::Error => assert!(receipt.is_none() && after == Read::Absent, "byte {byte}"),
                }
            }
        }
        let file = sim.disk.open(&path, OpenMode::Write).unwrap();
        file.set_len(whole.len() as u64).unwrap();
        file.write_all_at(&whole[..two as usize + 70_000], 0).unwrap();
        file.sync_data().unwrap();
        sim.lose_index();
    }
    let volume = sim.start();
    assert!(chunks.iter().all(|chunk| read(&volume, chunk) == Read::Right), "the undamaged pack is whole again");
}

/// A real volume with the small chunks, stopped, its index flushed.
fn real() -> (tempfile::TempDir, Rig) {
    let folder = tempfile::tempdir().unwrap();
    let indexes = Arc::new(RocksIndexes::with_memory(1 << 20, 8 << 20));
    let mut rig = Rig::new(Arc::new(RealDisk), indexes, &folder.path().join("disk-1"));
    let volume = rig.start().unwrap();
    small().iter().for_each(|chunk| assert!(put(&volume, chunk).is_ok()));
    drop(volume);
    (folder, rig)
}

#[test]
fn damage_to_real_files_gives_right_bytes_or_an_error() {
    type Damage = (&'static str, fn(&Rig));
    let damages: [Damage; 6] = [
        ("a flipped bit", |rig| overwrite(rig, 5_000, &[0xff])),
        ("a zeroed page", |rig| overwrite(rig, 8192, &[0; 4096])),
        ("a cut file", |rig| {
            rig.disk.open(&rig.pack_path(1), OpenMode::Write).unwrap().set_len(30_000).unwrap();
        }),
        ("an emptied file", |rig| {
            rig.disk.open(&rig.pack_path(1), OpenMode::Write).unwrap().set_len(0).unwrap();
        }),
        ("an extended file", |rig| {
            let file = rig.disk.open(&rig.pack_path(1), OpenMode::Write).unwrap();
            file.write_all_at(&[7; 9_000], file.len().unwrap()).unwrap();
        }),
        ("a lost index", |rig| std::fs::remove_dir_all(rig.root.join("index")).unwrap()),
    ];
    for (name, damage) in damages {
        let (_folder, mut rig) = real();
        damage(&rig);
        for _ in 0..2 {
            let volume = rig.start().unwrap_or_else(|error| panic!("{name}: {error}"));
            for chunk in small() {
                // `read` panics on wrong bytes.
                read(&volume, &chunk);
                touch(&volume, chunk.address(), 20).unwrap();
            }
            // Whatever it was, sending the bytes again heals it.
            for chunk in small() {
                put(&volume, &chunk).unwrap();
                assert_eq!(read(&volume, &chunk), Read::Right, "{name}");
            }
        }
    }
}

#[test]
fn a_planted_symbolic_link_is_not_followed() {
    let (folder, mut rig) = real();
    let secret = folder.path().join("secret");
    std::fs::rename(rig.pack_path(1), &secret).unwrap();
    std::os::unix::fs::symlink(&secret, rig.pack_path(1)).unwrap();
    assert!(rig.start().is_err());
}

fn overwrite(rig: &Rig, offset: u64, bytes: &[u8]) {
    let file = rig.disk.open(&rig.pack_path(1), OpenMode::Write).unwrap();
    file.write_all_at(bytes, offset).unwrap();
    file.sync_data().unwrap();
}

#[test]
fn a_damaged_identity_stops_the_start_and_says_what_to_do() {
    let (_folder, mut rig) = real();
    let path = rig.root.join("volume.identity");
    let mut bytes = rig.disk.read(&path).unwrap();
    bytes[40] ^= 1;
    rig.disk.replace(&path, &bytes).unwrap();
    let said = rig.start().err().unwrap().to_string();
    assert!(said.contains("volume.identity is damaged") && said.contains("restore"), "{said}");
    RealDisk.remove(&path).unwrap();
    let said = rig.start().err().unwrap().to_string();
    assert!(said.contains("no volume.identity"), "{said}");
}
