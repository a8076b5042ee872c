//! Several volumes as one store.

use super::*;
use crate::start::Chunkserver;
use crate::testing::{TestMaster, TestNode, chunk};
use cairn_common::ids::Domain;
use cairn_common::sim::disk::{DiskErrno, DiskFault, DiskOp};
use proptest::prelude::*;
use std::collections::BTreeSet;

async fn started(disks: &[&str]) -> (TestNode, Chunkserver) {
    let node = TestNode::new(disks);
    let server = node.start(&TestMaster::new()).await.unwrap();
    (node, server)
}

#[tokio::test]
async fn new_chunks_are_spread_over_the_volumes_and_found_again() {
    let (_node, server) = started(&["/disk-1", "/disk-2", "/disk-3"]).await;
    let store = server.service().store();
    let mut used = BTreeSet::new();
    for number in 0..30 {
        let stored = store.put(chunk(number, 1_000), Stamp(1)).await.unwrap();
        used.insert(stored.volume);
        assert_eq!(store.put(chunk(number, 1_000), Stamp(2)).await.unwrap(), stored, "the same copy, not another");
        let stat = store.stat(chunk(number, 0).address()).await.unwrap();
        assert_eq!(stat, None);
    }
    assert_eq!(used.len(), 3);
    let chunks: u64 = store.reports().iter().map(|report| report.chunks).sum();
    assert_eq!(chunks, 30);
}

#[tokio::test]
async fn when_a_volume_fails_in_the_middle_of_a_write_another_takes_the_chunk() {
    let (node, server) = started(&["/disk-1", "/disk-2"]).await;
    let store = server.service().store();
    node.disk.inject(DiskFault::forever(DiskOp::Sync, "/disk-1/packs", DiskErrno::Io));
    let failing = store.volumes()[0].id();
    for number in 0..20 {
        let stored = store.put(chunk(number, 1_000), Stamp(1)).await.unwrap();
        assert_ne!(stored.volume, failing);
    }
    assert!(!store.volumes()[0].is_serving());
    node.disk.inject(DiskFault::forever(DiskOp::Sync, "/disk-2/packs", DiskErrno::Io));
    let error = store.put(chunk(100, 1_000), Stamp(1)).await.unwrap_err();
    assert!(matches!(error, PutError::Failed { .. }), "{error}");
    assert_eq!(store.put(chunk(100, 1_000), Stamp(1)).await, Err(PutError::NoVolume));
    assert_eq!(store.inventory(chunk(1, 1_000).address().slot(), None).await, Ok(Vec::new()), "nothing is attested");
    store.open(chunk(1, 1_000).address()).await.unwrap();
}

#[tokio::test]
async fn a_full_volume_passes_chunks_on_to_the_next_until_all_are_full() {
    let mut node = TestNode::new(&["/disk-1", "/disk-2"]);
    node.config.disks[0].capacity_bytes = Some(24 << 20);
    node.config.disks[1].capacity_bytes = Some(40 << 20);
    let server = node.start(&TestMaster::new()).await.unwrap();
    let store = server.service().store();
    let mut stored = 0;
    let error = loop {
        match store.put(chunk(stored, 1 << 20), Stamp(1)).await {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error, PutError::Full);
    assert!(stored >= 28, "{stored} chunks of 1 MiB in 24 and 40 MiB");
    assert!(store.reports().iter().all(|report| report.fault.is_none()));
}

#[tokio::test]
async fn every_copy_is_removed() {
    let (_node, server) = started(&["/disk-1", "/disk-2"]).await;
    let store = server.service().store();
    let one = chunk(1, 1_000);
    // A second copy, as it is after one volume was out for a while.
    for volume in store.volumes() {
        let (volume, one) = (Arc::clone(volume), one.clone());
        let prepared = {
            let (volume, address) = (Arc::clone(&volume), one.address());
            store.run(move || volume.prepare(&address).unwrap()).await
        };
        volume.put(one, Stamp(1), prepared).await.unwrap();
    }
    assert_eq!(store.inventory(one.address().slot(), None).await.unwrap().len(), 1, "a chunk is listed once");
    assert_eq!(store.remove(one.address(), || Box::new(|_| false)).await.unwrap(), Removal::Kept);
    assert_eq!(store.remove(one.address(), || Box::new(|_| true)).await.unwrap(), Removal::Removed);
    assert_eq!(store.remove(one.address(), || Box::new(|_| true)).await.unwrap(), Removal::Absent);
    assert!(matches!(store.open(one.address()).await, Err(ReadError::Absent)));
}

proptest! {
    #[test]
    fn the_choice_of_a_volume_follows_the_address_and_the_room(weights in proptest::collection::vec(0u64..1 << 45, 1..8), seed: [u8; 8]) {
        let address = ChunkAddress::of(Domain(1), &seed);
        let chosen = choose(&address, &weights);
        prop_assert_eq!(chosen, choose(&address, &weights));
        prop_assert!(chosen < weights.len());
        prop_assert!(weights[chosen] >> 20 > 0 || weights.iter().all(|weight| weight >> 20 == 0));
    }
}

#[test]
fn volumes_get_chunks_in_proportion_to_their_room() {
    let weights = [1 << 30, 3 << 30, 0];
    let mut counts = [0u32; 3];
    for number in 0..4_000u32 {
        counts[choose(&ChunkAddress::of(Domain(1), &number.to_be_bytes()), &weights)] += 1;
    }
    assert!((900..1_100).contains(&counts[0]) && counts[2] == 0, "{counts:?}");
}
