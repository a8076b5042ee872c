//! Clients that begin to read and then take nothing.

use crate::support::http::Request;
use crate::support::sign::{Signer, sha256};
use crate::support::{ACCESS, TestGateway, noise};
use cairn_client::{Client, FileReader, GetOptions};
use cairn_common::name::FilePath;
use cairn_common::wire::master::Actor;
use futures::{StreamExt as _, poll};

/// More than there is memory for pieces under way.
const STOPPED: usize = 500;
/// How often everybody else has a turn before a read counts as stuck.
const TURNS: usize = 100_000;

async fn open(client: &Client) -> FileReader {
    let path = FilePath::new("bucket", "key").unwrap();
    client.get(&path, GetOptions::default()).await.unwrap().into_file().unwrap()
}

/// R14 of docs/faults.md: what a read waits for is handed out in turn, also to those that are not waiting any more.
#[tokio::test]
async fn readers_that_stop_in_the_middle_keep_nobody_waiting() {
    let gateway = TestGateway::with_bucket().await;
    let body = noise(2 << 20);
    let put = Request::new("PUT", "/bucket/key").body(body.clone());
    let payload = sha256(&put.body);
    assert_eq!(Signer::default().sign(put, gateway.s3, &payload).send(gateway.s3).await.status, 200);
    let client = gateway.client.acting_as(Actor::Key(ACCESS.to_owned()));
    let mut stopped = Vec::new();
    for _ in 0..STOPPED {
        let mut reader = open(&client).await;
        assert!(poll!(reader.next()).is_pending(), "a read is under way");
        stopped.push(reader);
    }
    let mut fresh = open(&client).await;
    let reading = async {
        let mut read = Vec::new();
        while let Some(piece) = fresh.next().await {
            read.extend_from_slice(&piece.unwrap());
        }
        read
    };
    let stuck = async {
        for _ in 0..TURNS {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        read = reading => assert!(read == body),
        () = stuck => panic!("{STOPPED} readers who ask for nothing keep another one waiting"),
    }
    // They may go on at any time.
    for reader in stopped.iter_mut().take(3) {
        assert_eq!(reader.next().await.unwrap().unwrap(), body[..256 << 10]);
    }
}
