//! The chunkserver over a real port, through the client that everyone uses.

mod matrix;

use crate::start::Chunkserver;
use crate::testing::{
    DOMAIN, NODE, NOW_MS, TestMaster, TestNode, chunk, cluster_key, get_request, put_request, stat_request, token_keys,
};
use cairn_common::auth::{Mac, TokenError};
use cairn_common::ids::{ClusterId, Generation, Slot, WindowId};
use cairn_common::limits::{CHUNK_MAX_BYTES, CHUNK_STALL_MS, GROUP_BYTES};
use cairn_common::listen::{FrameService, ListenOptions, Listener, Shutdown, frames_route};
use cairn_common::net::RemoteChunkserver;
use cairn_common::net::handshake::{Credential, Identity};
use cairn_common::net::token_to_header;
use cairn_common::ring::SLOTS;
use cairn_common::seam::{HttpTransport, OsRandom, SystemClock, TlsTrust};
use cairn_common::sim::disk::{DiskErrno, DiskFault, DiskOp};
use cairn_common::wire::chunk::{ChunkError, ChunkService, GetChunk, PutChunk, header};
use cairn_common::wire::decode;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

struct Served {
    node: TestNode,
    server: Chunkserver,
    url: String,
    shutdown: Shutdown,
}

impl Served {
    async fn start() -> Served {
        let node = TestNode::new(&["/disk-1"]);
        let server = node.start(&TestMaster::new()).await.unwrap();
        let listener = Listener::bind("127.0.0.1:0", ListenOptions::default()).await.unwrap();
        let url = listener.base_url().unwrap();
        let frames = FrameService {
            handler: server.frames(),
            verifier: server.verifier(),
            clock: Arc::new(SystemClock::new()),
            random: Arc::new(OsRandom),
        };
        let shutdown = Shutdown::new();
        let router = server.router().merge(frames_route(frames));
        tokio::spawn(listener.serve(router, shutdown.clone(), Duration::from_secs(5)));
        Served { node, server, url, shutdown }
    }

    fn client(&self, credential: Credential) -> RemoteChunkserver {
        let transport = Arc::new(HttpTransport::new(&TlsTrust::default()).unwrap());
        let (clock, random) = (Arc::new(SystemClock::new()), Arc::new(OsRandom));
        RemoteChunkserver::new(self.url.clone(), transport, clock, random, credential, Some(ClusterId([1; 16])))
    }

    fn stranger(&self) -> RemoteChunkserver {
        self.client(Credential::anonymous())
    }

    fn master(&self) -> RemoteChunkserver {
        let secret = cluster_key().node_key(Generation(1), NODE).handshake();
        self.client(Credential { identity: Identity::Master, secret })
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.url.strip_prefix("http://").unwrap()).await.unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.shutdown.begin();
    }
}

#[tokio::test]
async fn chunks_of_every_shape_go_in_and_out_over_the_network() {
    let served = Served::start().await;
    let client = served.stranger();
    let group = GROUP_BYTES as usize;
    for (number, bytes) in (0..).zip([1, group, group + 1, 300_000, CHUNK_MAX_BYTES as usize]) {
        let chunk = chunk(number, bytes);
        let receipt = client.put(put_request(&chunk, 7), chunk.clone()).await.unwrap();
        assert_eq!(token_keys().check_receipt(&receipt, &chunk.address()), Ok(()));
        for (start, end) in [(0, bytes), (bytes / 2, bytes), (0, 1), (bytes - 1, bytes), (bytes / 3, bytes / 3 + 1)] {
            let (start, end) = (start as u32, end as u32);
            let slice = client.get(GetChunk { start, end, ..get_request(&chunk) }).await.unwrap();
            assert_eq!(slice.verify(&chunk.address()), Ok(()), "{start}..{end} of {bytes}");
            let wanted = start as usize - slice.start as usize..end as usize - slice.start as usize;
            assert_eq!(slice.data[wanted], chunk.data()[start as usize..end as usize]);
        }
        assert_eq!(client.stat(stat_request(&chunk)).await.unwrap().length as usize, bytes);
        client.touch(put_request(&chunk, 7)).await.unwrap();
        client.report_bad(stat_request(&chunk)).await.unwrap();
    }
}

#[tokio::test]
async fn every_refusal_arrives_as_what_it_is() {
    let served = Served::start().await;
    let client = served.stranger();
    let (there, absent) = (chunk(1, 200_000), chunk(2, 200_000));
    client.put(put_request(&there, 7), there.clone()).await.unwrap();
    assert_eq!(client.get(get_request(&absent)).await, Err(ChunkError::Absent));
    assert_eq!(client.stat(stat_request(&absent)).await, Err(ChunkError::Absent));
    let beyond = GetChunk { end: there.length() + 1, ..get_request(&there) };
    assert_eq!(client.get(beyond).await, Err(ChunkError::BadRange));
    let invalid = Err(ChunkError::Token(TokenError::Invalid));
    for chunk in [&there, &absent] {
        let mut get = get_request(chunk);
        get.token.mac = Mac([0; 16]);
        assert_eq!(client.get(get).await, invalid.clone().map(|()| unreachable!()));
        let mut put = put_request(chunk, 7);
        put.token.mac = Mac([0; 16]);
        assert_eq!(client.put(put, chunk.clone()).await, invalid.clone().map(|()| unreachable!()));
    }
    assert_eq!(client.put(put_request(&absent, 7), there.clone()).await, Err(ChunkError::HashMismatch));
    let token = token_keys().write_token(DOMAIN, WindowId(8), 100_000, NOW_MS + 1);
    let limited = PutChunk { token, ..put_request(&absent, 8) };
    assert_eq!(client.put(limited, absent.clone()).await, Err(ChunkError::LimitReached));
}

#[tokio::test]
async fn every_error_of_the_disk_is_an_error_of_the_answer() {
    for op in [DiskOp::Create, DiskOp::Allocate, DiskOp::Write, DiskOp::Sync, DiskOp::SyncDir] {
        for errno in [DiskErrno::Io, DiskErrno::NoSpace, DiskErrno::ReadOnly] {
            let served = Served::start().await;
            served.node.disk.inject(DiskFault::forever(op, "packs", errno));
            let chunk = chunk(1, 5_000);
            let error = served.stranger().put(put_request(&chunk, 7), chunk.clone()).await.unwrap_err();
            let expected = if errno == DiskErrno::NoSpace {
                matches!(error, ChunkError::Full)
            } else {
                matches!(error, ChunkError::Volume(_))
            };
            assert!(expected, "{op:?} {errno:?}: {error}");
        }
    }
}

#[tokio::test]
async fn a_disk_that_fails_in_the_middle_of_a_body_never_gives_a_short_one_that_looks_complete() {
    let served = Served::start().await;
    let chunk = chunk(1, 2 << 20);
    let client = served.stranger();
    client.put(put_request(&chunk, 7), chunk.clone()).await.unwrap();
    client.get(get_request(&chunk)).await.unwrap();
    // A check of the copy behind an answer would read as well, and could meet the error in the place of the next answer.
    let _unchecked = served.server.service().store().without_checks();
    for passing in 0..8 {
        served.node.disk.inject(DiskFault::once(DiskOp::Read, "packs", DiskErrno::Io).after(passing));
        let answer = client.get(get_request(&chunk)).await;
        served.node.disk.heal();
        match answer {
            Ok(slice) => assert!(slice.verify(&chunk.address()).is_err(), "{passing}: a whole body after an error"),
            Err(error) => {
                assert!(matches!(error, ChunkError::Volume(_) | ChunkError::Unknown(_)), "{passing}: {error}")
            }
        }
    }
    assert_eq!(client.get(get_request(&chunk)).await.unwrap().verify(&chunk.address()), Ok(()));
}

#[tokio::test]
async fn only_nodes_of_the_cluster_may_ask_for_inventories() {
    let served = Served::start().await;
    let chunk = chunk(1, 1_000);
    let (stranger, master) = (served.stranger(), served.master());
    stranger.put(put_request(&chunk, 7), chunk.clone()).await.unwrap();
    let slot = chunk.address().slot();
    assert_eq!(stranger.digests(Slot(0), SLOTS as u32).await, Err(ChunkError::Denied));
    assert_eq!(stranger.inventory(slot, None).await, Err(ChunkError::Denied));
    assert_eq!(stranger.whoami().await, Ok((NODE, served.server.boot())));
    assert_eq!(master.digests(Slot(0), SLOTS as u32).await.unwrap().len(), 1);
    assert_eq!(master.inventory(slot, None).await.unwrap()[0].address, chunk.address());
    assert_eq!(master.whoami().await, Ok((NODE, served.server.boot())));
    // A node key that is not this node's, and identities that a chunkserver does not know.
    let other = cluster_key().node_key(Generation(1), cairn_common::ids::NodeId(4)).handshake();
    let own = cluster_key().node_key(Generation(1), NODE).handshake();
    for (identity, secret) in [
        (Identity::Master, other),
        (Identity::Node(NODE), own.clone()),
        (Identity::Key("AK".to_owned()), own.clone()),
        (Identity::Joiner("J".to_owned()), own),
    ] {
        let client = served.client(Credential { identity, secret });
        assert!(matches!(client.whoami().await, Err(ChunkError::Unavailable(_))));
    }
}

/// Sends raw bytes and returns everything that comes back.
async fn exchange(served: &Served, request: &[u8]) -> Vec<u8> {
    let mut stream = served.connect().await;
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    answer
}

fn error_in(answer: &[u8]) -> (u16, ChunkError) {
    let head_end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let head = std::str::from_utf8(&answer[..head_end]).unwrap();
    (head[9..12].parse().unwrap(), decode(&answer[head_end..]).unwrap())
}

#[tokio::test]
async fn malformed_requests_get_answers_and_no_panics() {
    let served = Served::start().await;
    let chunk = chunk(1, 100);
    let address = chunk.address();
    let token = token_to_header(&put_request(&chunk, 7).token);
    let put = |path: &str, headers: &str| {
        format!("PUT {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}content-length: 0\r\n\r\n")
    };
    let good_path = format!("/v1/chunks/{address}");
    let (token_line, epoch_line) = (format!("{}: {token}\r\n", header::TOKEN), format!("{}: 1\r\n", header::EPOCH));
    let cases = [
        put("/v1/chunks/1-0-00", &format!("{token_line}{epoch_line}")),
        put("/v1/chunks/..%2f..%2fetc", &format!("{token_line}{epoch_line}")),
        put(&good_path.to_uppercase().replace("/V1/CHUNKS", "/v1/chunks"), &format!("{token_line}{epoch_line}")),
        put(&good_path, &epoch_line),
        put(&good_path, &token_line),
        put(&good_path, &format!("{token_line}{}: -1\r\n", header::EPOCH)),
        put(&good_path, &format!("{}: !!\r\n{epoch_line}", header::TOKEN)),
        put(&good_path, &format!("{}: AQ\r\n{epoch_line}", header::TOKEN)),
        format!("GET {good_path}?start=0 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{token_line}\r\n"),
        format!("GET {good_path}?start=0&end=-1 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{token_line}\r\n"),
        format!("GET {good_path}?start=0&end=1&more=1 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{token_line}\r\n"),
    ];
    for case in cases {
        let (status, error) = error_in(&exchange(&served, case.as_bytes()).await);
        assert_eq!(status, 400, "{case}");
        assert!(matches!(error, ChunkError::BadRequest(_)), "{case}: {error}");
    }
    let (status, error) =
        error_in(&exchange(&served, put(&good_path, &format!("{token_line}{epoch_line}")).as_bytes()).await);
    assert_eq!((status, error), (400, ChunkError::HashMismatch), "an empty body is not the chunk");
}

#[tokio::test]
async fn a_body_that_is_too_long_is_refused_whether_it_says_so_or_not() {
    let served = Served::start().await;
    let chunk = chunk(1, 100);
    let head = format!(
        "PUT /v1/chunks/{} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{}: {}\r\n{}: 1\r\n",
        chunk.address(),
        header::TOKEN,
        token_to_header(&put_request(&chunk, 7).token),
        header::EPOCH
    );
    let too_long = CHUNK_MAX_BYTES as usize + 1;
    let mut said = format!("{head}content-length: {too_long}\r\n\r\n").into_bytes();
    said.resize(said.len() + too_long, 0);
    let mut unsaid = format!("{head}transfer-encoding: chunked\r\n\r\n{too_long:x}\r\n").into_bytes();
    unsaid.resize(unsaid.len() + too_long, 0);
    unsaid.extend_from_slice(b"\r\n0\r\n\r\n");
    for request in [said, unsaid] {
        let (status, error) = error_in(&exchange(&served, &request).await);
        assert_eq!(status, 400);
        assert!(error.to_string().contains("longer than a chunk"), "{error}");
    }
}

/// Sends the head of a write and then whatever `trickle` sends, while time passes by `step_ms`.
async fn slow_write(served: &Served, step_ms: u64, trickle: bool) -> Vec<u8> {
    let chunk = chunk(1, 100_000);
    let head = format!(
        "PUT /v1/chunks/{} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{}: {}\r\n{}: 1\r\ncontent-length: 100000\r\n\r\n",
        chunk.address(),
        header::TOKEN,
        token_to_header(&put_request(&chunk, 7).token),
        header::EPOCH
    );
    let (mut reading, mut writing) = served.connect().await.into_split();
    writing.write_all(head.as_bytes()).await.unwrap();
    let clock = served.node.clock.clone();
    let mut answer = Vec::new();
    let passing = async {
        loop {
            if trickle {
                // The server may have closed the connection already.
                let _ = writing.write_all(b"x").await;
            }
            clock.advance(step_ms);
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        read = reading.read_to_end(&mut answer) => { let _ = read; }
        () = passing => unreachable!(),
    }
    answer
}

#[tokio::test]
async fn a_body_that_stalls_or_trickles_is_given_up() {
    for (step_ms, trickle) in [(CHUNK_STALL_MS, false), (1, true)] {
        let served = Served::start().await;
        let answer = slow_write(&served, step_ms, trickle).await;
        // If bytes were still on their way, the connection may have been reset before the answer arrived.
        if !answer.is_empty() {
            let (status, error) = error_in(&answer);
            assert_eq!(status, 400);
            assert!(error.to_string().contains("too slowly"), "{error}");
        }
    }
}
