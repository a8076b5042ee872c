//! Tokens, receipts, limits, and what the calls answer.

use super::*;
use crate::start::Chunkserver;
use crate::testing::{
    DOMAIN, NODE, NOW_MS, TestMaster, TestNode, chunk, get_request, put_request, stat_request, token_keys,
};
use cairn_common::auth::{Mac, ReadToken, TokenError, WriteToken};
use cairn_common::error::ErrorKind;
use cairn_common::ids::{Domain, Epoch};
use cairn_common::limits::GROUP_BYTES;
use cairn_common::sim::disk::{DiskErrno, DiskFault, DiskOp};

async fn started() -> (TestNode, Chunkserver) {
    let node = TestNode::new(&["/disk-1", "/disk-2"]);
    let server = node.start(&TestMaster::new()).await.unwrap();
    (node, server)
}

#[tokio::test]
async fn a_stored_chunk_comes_back_with_a_receipt_that_masters_accept() {
    let (_node, server) = started().await;
    let (service, chunk) = (server.service(), chunk(1, 300_000));
    let receipt = service.put(put_request(&chunk, 7), chunk.clone()).await.unwrap();
    assert_eq!(token_keys().check_receipt(&receipt, &chunk.address()), Ok(()));
    assert_eq!((receipt.node, receipt.boot, receipt.window), (NODE, server.boot(), WindowId(7)));
    assert_eq!(receipt.length, 300_000);
    assert!(server.volumes().contains(&receipt.volume));
    let slice = service.get(get_request(&chunk)).await.unwrap();
    assert_eq!(slice.verify(&chunk.address()), Ok(()));
    assert_eq!(slice.data, chunk.data());
    let stat = service.stat(stat_request(&chunk)).await.unwrap();
    assert_eq!((stat.length, stat.volume, stat.verified_ms), (300_000, receipt.volume, 0));
}

#[tokio::test]
async fn any_range_is_served_as_whole_groups_with_their_proof() {
    let (_node, server) = started().await;
    let chunk = chunk(1, 5 * GROUP_BYTES as usize + 17);
    server.service().put(put_request(&chunk, 7), chunk.clone()).await.unwrap();
    let length = chunk.length();
    for (start, end) in
        [(0, 1), (GROUP_BYTES - 1, GROUP_BYTES + 1), (length - 1, length), (0, length), (70_000, 200_000)]
    {
        let slice = server.service().get(GetChunk { start, end, ..get_request(&chunk) }).await.unwrap();
        assert_eq!(slice.verify(&chunk.address()), Ok(()));
        assert!(slice.start <= start && slice.start + slice.data.len() as u32 >= end);
    }
    for (start, end) in [(0, 0), (5, 5), (7, 5), (0, length + 1), (length, length + 1), (u32::MAX, u32::MAX)] {
        let refused = server.service().get(GetChunk { start, end, ..get_request(&chunk) }).await;
        assert_eq!(refused, Err(ChunkError::BadRange), "{start}..{end}");
    }
}

#[tokio::test]
async fn a_bad_token_is_refused_before_anything_is_looked_at() {
    let (node, server) = started().await;
    let (service, there, absent) = (server.service(), chunk(1, 1_000), chunk(2, 1_000));
    service.put(put_request(&there, 7), there.clone()).await.unwrap();
    // Whatever would touch the disk from here on could not answer as it does.
    for op in [DiskOp::Open, DiskOp::Read, DiskOp::Write, DiskOp::Sync] {
        node.disk.inject(DiskFault::forever(op, "", DiskErrno::Io));
    }
    let invalid = ChunkError::Token(TokenError::Invalid);
    for chunk in [&there, &absent] {
        let other_chunk = ReadToken { ..get_request(&crate::testing::chunk(3, 1)).token };
        let altered = ReadToken { mac: Mac([0; 16]), ..get_request(chunk).token };
        let later = ReadToken { expires_ms: u64::MAX, ..get_request(chunk).token };
        for token in [other_chunk, altered, later] {
            let get = GetChunk { token: token.clone(), ..get_request(chunk) };
            let stat = StatChunk { address: chunk.address(), token };
            assert_eq!(service.get(get).await, Err(invalid.clone()));
            assert_eq!(service.stat(stat.clone()).await, Err(invalid.clone()));
            assert_eq!(service.report_bad(stat).await, Err(invalid.clone()));
        }
        let good = put_request(chunk, 7);
        let other_domain = token_keys().write_token(Domain(2), WindowId(7), 1 << 20, NOW_MS + 1);
        let more = WriteToken { limit_bytes: u64::MAX, ..good.token.clone() };
        for token in [other_domain, more] {
            let request = PutChunk { token, ..good.clone() };
            assert_eq!(service.put(request.clone(), chunk.clone()).await, Err(invalid.clone()));
            assert_eq!(service.touch(request).await, Err(invalid.clone()));
        }
    }
    node.clock.advance(60_001);
    let expired = ChunkError::Token(TokenError::Expired);
    assert_eq!(service.put(put_request(&there, 7), there.clone()).await, Err(expired.clone()));
    assert_eq!(service.get(get_request(&there)).await, Err(expired));
    node.disk.heal();
    assert!(service.store().volumes().iter().all(|volume| volume.is_serving()), "no disk was asked for anything");
}

#[tokio::test]
async fn bytes_of_another_chunk_are_refused() {
    let (_node, server) = started().await;
    let (one, other) = (chunk(1, 1_000), chunk(2, 1_000));
    let refused = server.service().put(put_request(&one, 7), other).await;
    assert_eq!(refused, Err(ChunkError::HashMismatch));
    assert_eq!(server.service().get(get_request(&one)).await, Err(ChunkError::Absent));
}

#[tokio::test]
async fn only_the_window_that_showed_the_bytes_gets_a_new_receipt_without_them() {
    let (_node, server) = started().await;
    let (service, chunk) = (server.service(), chunk(1, 1_000));
    assert_eq!(service.touch(put_request(&chunk, 7)).await, Err(ChunkError::Absent));
    service.put(put_request(&chunk, 7), chunk.clone()).await.unwrap();
    let receipt = service.touch(put_request(&chunk, 7)).await.unwrap();
    assert_eq!(token_keys().check_receipt(&receipt, &chunk.address()), Ok(()));
    // Another uploader of the same tenant knows the hash and nothing else.
    assert_eq!(service.touch(put_request(&chunk, 8)).await, Err(ChunkError::Absent));
    service.put(put_request(&chunk, 8), chunk.clone()).await.unwrap();
    service.touch(put_request(&chunk, 8)).await.unwrap();
}

#[tokio::test]
async fn who_may_read_everything_gets_a_receipt_for_a_name_after_the_copy_was_read_back() {
    let (node, server) = started().await;
    let (service, chunk) = (server.service(), chunk(1, 100_000));
    let finding = || {
        let PutChunk { address, token, epoch } = put_request(&chunk, 9);
        PutChunk { address, token: token_keys().finding(token), epoch }
    };
    assert_eq!(service.touch(finding()).await, Err(ChunkError::Absent));
    service.put(put_request(&chunk, 7), chunk.clone()).await.unwrap();
    let receipt = service.touch(finding()).await.unwrap();
    assert_eq!(token_keys().check_receipt(&receipt, &chunk.address()), Ok(()));
    assert_eq!((receipt.window, receipt.length), (WindowId(9), 100_000));
    // From now on it is this window's, and protected as long as this window is open.
    service.touch(put_request(&chunk, 9)).await.unwrap();
    // Whoever marks a token of their own as a finding one has no token.
    let PutChunk { address, token, epoch } = put_request(&chunk, 8);
    let forged = PutChunk { address, token: WriteToken { finds: true, ..token }, epoch };
    assert_eq!(service.touch(forged).await, Err(ChunkError::Token(TokenError::Invalid)));
    drop(node);
}

/// S29 of docs/faults.md: the same hash under another tenant's domain is another chunk, and one that is not there.
#[tokio::test]
async fn what_another_tenant_has_is_to_a_hash_as_what_nobody_has() {
    let (_node, server) = started().await;
    let service = server.service();
    let (there, nowhere) = (chunk(1, 5_000), chunk(2, 5_000));
    service.put(put_request(&there, 7), there.clone()).await.unwrap();
    let other = Domain(DOMAIN.0 + 1);
    let own = token_keys().write_token(other, WindowId(8), 1 << 20, NOW_MS + 1);
    for token in [token_keys().finding(own.clone()), own] {
        for chunk in [&there, &nowhere] {
            let address = ChunkAddress { domain: other, ..chunk.address() };
            let named = PutChunk { address, token: token.clone(), epoch: Epoch(1) };
            assert_eq!(service.touch(named.clone()).await, Err(ChunkError::Absent));
            // Its bytes are to be shown, whole, and are kept once more.
            assert_eq!(service.put(named.clone(), chunk.clone()).await, Err(ChunkError::HashMismatch));
            let theirs = PutChunk { address: chunk.address(), ..named };
            assert_eq!(service.touch(theirs.clone()).await, Err(ChunkError::Token(TokenError::Invalid)));
            assert_eq!(service.put(theirs, chunk.clone()).await, Err(ChunkError::Token(TokenError::Invalid)));
        }
    }
    let stat = StatChunk {
        address: ChunkAddress { domain: other, ..there.address() },
        token: token_keys().read_token(&there.address(), NOW_MS + 1),
    };
    assert_eq!(service.stat(stat).await, Err(ChunkError::Token(TokenError::Invalid)));
}

#[tokio::test]
async fn a_window_writes_no_more_than_its_token_says() {
    let (_node, server) = started().await;
    let token = token_keys().write_token(DOMAIN, WindowId(7), 2_500, NOW_MS + 60_000);
    let write = |number| {
        let chunk = chunk(number, 1_000);
        let request = PutChunk { token: token.clone(), ..put_request(&chunk, 7) };
        async { server.service().put(request, chunk).await }
    };
    write(1).await.unwrap();
    write(2).await.unwrap();
    let refused = write(3).await.unwrap_err();
    assert_eq!((refused.kind(), refused), (ErrorKind::NoSpace, ChunkError::LimitReached));
}

#[tokio::test]
async fn a_reported_copy_is_looked_at_and_nothing_else_happens_to_a_good_one() {
    let (node, server) = started().await;
    let (service, good, bad) = (server.service(), chunk(1, 100_000), chunk(2, 100_000));
    for chunk in [&good, &bad] {
        service.put(put_request(chunk, 7), chunk.clone()).await.unwrap();
    }
    for disk in ["/disk-1", "/disk-2"] {
        let path = std::path::Path::new(disk).join("packs/00000001.pack");
        let Ok(bytes) = cairn_common::seam::Disk::read(&node.disk, &path) else { continue };
        let part = &bad.data()[50_000..50_100];
        if let Some(at) = bytes.windows(100).position(|window| window == part) {
            node.disk.damage(&path, at as u64, 1);
        }
    }
    for chunk in [&good, &bad] {
        service.report_bad(stat_request(chunk)).await.unwrap();
    }
    assert!(service.stat(stat_request(&good)).await.unwrap().verified_ms <= NOW_MS);
    assert_eq!(service.get(get_request(&good)).await.unwrap().verify(&good.address()), Ok(()));
    assert_eq!(service.get(get_request(&bad)).await, Err(ChunkError::Absent));
    let damaged: u64 = service.store().reports().iter().map(|report| report.damaged).sum();
    assert_eq!(damaged, 1);
    service.put(put_request(&bad, 7), bad.clone()).await.unwrap();
    assert_eq!(service.get(get_request(&bad)).await.unwrap().verify(&bad.address()), Ok(()));
}

#[tokio::test]
async fn equal_sets_have_equal_digests_wherever_the_chunks_lie() {
    let ((_a, one), (_b, two)) = (started().await, started().await);
    let chunks: Vec<VerifiedChunk> = (0..60).map(|number| chunk(number, 100)).collect();
    for chunk in &chunks {
        one.service().put(put_request(chunk, 7), chunk.clone()).await.unwrap();
    }
    for chunk in chunks.iter().rev() {
        two.service().put(put_request(chunk, 9), chunk.clone()).await.unwrap();
    }
    let all = |server: &Chunkserver| {
        let service = Arc::clone(server.service());
        async move { service.digests(Slot(0), SLOTS as u32).await.unwrap() }
    };
    assert_eq!(all(&one).await, all(&two).await);
    let more = chunk(1_000, 10);
    two.service().put(put_request(&more, 9), more.clone()).await.unwrap();
    let (one, two) = (all(&one).await, all(&two).await);
    let different: Vec<&SlotDigest> = two.iter().filter(|digest| !one.contains(digest)).collect();
    assert_eq!(different.len(), 1);
    assert_eq!(different[0].slot, more.address().slot());
    assert_eq!(two.iter().map(|digest| digest.chunks).sum::<u32>(), 61);
}

#[tokio::test]
async fn an_inventory_lists_a_slot_page_by_page() {
    let (_node, server) = started().await;
    let service = server.service();
    let mut held = Vec::new();
    for number in 0..40 {
        let chunk = chunk(number, 100 + number as usize);
        let receipt = service.put(put_request(&chunk, 7), chunk.clone()).await.unwrap();
        held.push(Held { address: chunk.address(), length: chunk.length(), volume: receipt.volume, touched: Stamp(7) });
    }
    for held in &held {
        let listed = service.inventory(held.address.slot(), None).await.unwrap();
        assert!(listed.contains(held), "{listed:?} has {held:?}");
        let behind = service.inventory(held.address.slot(), Some(held.address)).await.unwrap();
        assert!(!behind.contains(held) && behind.len() < listed.len());
    }
    let refused = service.digests(Slot(1), SLOTS as u32).await;
    assert!(matches!(refused, Err(ChunkError::BadRequest(_))));
    assert_eq!(service.digests(Slot(1), 0).await, Ok(Vec::new()));
}

#[tokio::test]
async fn a_fenced_service_attests_nothing() {
    let (_node, server) = started().await;
    let (service, chunk) = (server.service(), chunk(1, 1_000));
    service.put(put_request(&chunk, 7), chunk.clone()).await.unwrap();
    service.fence();
    assert_eq!(service.put(put_request(&chunk, 7), chunk.clone()).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(service.touch(put_request(&chunk, 7)).await.unwrap_err().kind(), ErrorKind::Unavailable);
    service.get(get_request(&chunk)).await.unwrap();
}
