//! Strangers and slow clients: what they can make a gateway do, and hold.

use crate::support::http::{Request, read_answer};
use crate::support::sign::{Signer, sha256, time};
use crate::support::time::ManualClock;
use crate::support::{TestGateway, noise};
use cairn_common::seam::Clock;
use cairn_gateway::{GatewayOptions, limits};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

pub(crate) const MODES: [&str; 5] = [
    "UNSIGNED-PAYLOAD",
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
];

/// Every route that does something, and some that only read.
pub(crate) const ROUTES: [(&str, &str, &str); 32] = [
    ("PUT", "/bucket/key", ""),
    ("PUT", "/bucket/key", "x-amz-copy-source"),
    ("PUT", "/bucket/key?partNumber=1&uploadId=0000000000000001", ""),
    ("PUT", "/bucket/key?partNumber=1&uploadId=0000000000000001", "x-amz-copy-source"),
    ("PUT", "/bucket/key?acl=", ""),
    ("PUT", "/bucket/key?tagging=", ""),
    ("PUT", "/bucket", ""),
    ("PUT", "/bucket?policy=", ""),
    ("PUT", "/bucket?versioning=", ""),
    ("POST", "/bucket?delete=", ""),
    ("POST", "/bucket/key?uploads=", ""),
    ("POST", "/bucket/key?uploadId=0000000000000001", ""),
    ("POST", "/bucket/key?select=&select-type=2", ""),
    ("DELETE", "/bucket/key", ""),
    ("DELETE", "/bucket/key?uploadId=0000000000000001", ""),
    ("DELETE", "/bucket", ""),
    ("GET", "/bucket/key", ""),
    ("GET", "/bucket", ""),
    ("GET", "/", ""),
    ("HEAD", "/bucket/key", ""),
    ("HEAD", "/bucket", ""),
    ("GET", "/bucket?list-type=2", ""),
    ("GET", "/bucket?versions=", ""),
    ("GET", "/bucket?uploads=", ""),
    ("GET", "/bucket?tagging=", ""),
    ("GET", "/bucket/key?tagging=", ""),
    ("GET", "/bucket/key?attributes=", ""),
    ("GET", "/bucket/key?uploadId=0000000000000001", ""),
    ("PUT", "/bucket?tagging=", ""),
    ("PUT", "/bucket?acl=", ""),
    ("DELETE", "/bucket?tagging=", ""),
    ("DELETE", "/bucket/key?tagging=", ""),
];

/// What is wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Unsigned,
    WrongSecret,
    UnknownKey,
    ForgedQuery,
    EmptyQuery,
    BadHeader,
    OtherRegion,
    LongAgo,
    OfAnotherPath,
    OfAnotherMethod,
    HeaderAdded,
    QueryExpired,
    QueryOfAnotherPath,
    QueryFromTheFuture,
    QueryTwice,
    HeaderAndQuery,
    TwoHeaders,
    SessionToken,
    VersionTwo,
    SignatureCut,
    HostNotSigned,
}

const FAULTS: [Fault; 21] = [
    Fault::Unsigned,
    Fault::WrongSecret,
    Fault::UnknownKey,
    Fault::ForgedQuery,
    Fault::EmptyQuery,
    Fault::BadHeader,
    Fault::OtherRegion,
    Fault::LongAgo,
    Fault::OfAnotherPath,
    Fault::OfAnotherMethod,
    Fault::HeaderAdded,
    Fault::QueryExpired,
    Fault::QueryOfAnotherPath,
    Fault::QueryFromTheFuture,
    Fault::QueryTwice,
    Fault::HeaderAndQuery,
    Fault::TwoHeaders,
    Fault::SessionToken,
    Fault::VersionTwo,
    Fault::SignatureCut,
    Fault::HostNotSigned,
];

#[tokio::test]
async fn no_route_takes_a_wrong_signature_in_any_mode() {
    let gateway = TestGateway::with_bucket().await;
    let mut cases = 0;
    for (method, target, copy) in ROUTES {
        for mode in MODES {
            for fault in FAULTS {
                let mut request = Request::new(method, target).with("x-amz-decoded-content-length", "0");
                if !copy.is_empty() {
                    request = request.with(copy, "bucket/other");
                }
                if mode.ends_with("TRAILER") {
                    request = request.with("x-amz-trailer", "x-amz-checksum-crc32");
                }
                let request = faulty(&gateway, request, mode, fault).body("0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n");
                let before = gateway.masters.asked_for_real();
                let answer = request.send(gateway.s3).await;
                assert!(
                    matches!(answer.status, 400 | 403 | 501),
                    "{method} {target} {mode} {fault:?}: {}",
                    answer.status
                );
                // What a bucket allows to everybody the masters know: only without any signature they are asked.
                let asked = gateway.masters.asked_for_real() - before;
                assert!(asked <= usize::from(fault == Fault::Unsigned), "{method} {target} {mode} {fault:?}: {asked}");
                cases += 1;
            }
        }
    }
    assert_eq!(cases, 3360);
}

fn faulty(gateway: &TestGateway, mut request: Request, mode: &str, fault: Fault) -> Request {
    let right = Signer::default();
    let presigned = |request: Request, secret: &str| {
        let signer = Signer { secret: secret.to_owned(), ..Signer::default() };
        let signed = signer.presign(&request.method, &request.target, gateway.s3, 60);
        Request { target: signed.target, ..request.with("x-amz-content-sha256", mode) }
    };
    match fault {
        Fault::Unsigned => request.with("x-amz-content-sha256", mode),
        Fault::WrongSecret => Signer { secret: "x".to_owned(), ..Signer::default() }.sign(request, gateway.s3, mode),
        Fault::UnknownKey => Signer { access: "x".to_owned(), ..Signer::default() }.sign(request, gateway.s3, mode),
        Fault::OtherRegion => Signer { region: "eu-west-1".to_owned(), ..right }.sign(request, gateway.s3, mode),
        Fault::LongAgo => Signer { time: time(-1000), ..right }.sign(request, gateway.s3, mode),
        Fault::OfAnotherPath => {
            let target = std::mem::replace(&mut request.target, "/bucket/elsewhere".to_owned());
            Request { target, ..right.sign(request, gateway.s3, mode) }
        }
        Fault::OfAnotherMethod => {
            let method = std::mem::replace(&mut request.method, "OPTIONS".to_owned());
            Request { method, ..right.sign(request, gateway.s3, mode) }
        }
        Fault::HeaderAdded => right.sign(request, gateway.s3, mode).with("x-amz-meta-added", "x"),
        Fault::QueryExpired => queried(&Signer { time: time(-90), ..right }, &request, gateway),
        Fault::QueryFromTheFuture => queried(&Signer { time: time(1000), ..right }, &request, gateway),
        Fault::QueryOfAnotherPath => {
            let path = request.target.split('?').next().unwrap().to_owned();
            let elsewhere = request.target.replacen(&path, "/bucket/elsewhere", 1);
            let signed = queried(&right, &Request { target: elsewhere, ..request }, gateway);
            Request { target: signed.target.replacen("/bucket/elsewhere", &path, 1), ..signed }
        }
        Fault::QueryTwice => {
            let mut signed = queried(&right, &request, gateway);
            signed.target.push_str("&X-Amz-Expires=60");
            signed
        }
        Fault::HeaderAndQuery => {
            let target = queried(&right, &request, gateway).target;
            Request { target, ..right.sign(request, gateway.s3, mode) }
        }
        Fault::TwoHeaders => {
            let signed = right.sign(request, gateway.s3, mode);
            let authorization = signed.find("authorization").unwrap().to_owned();
            signed.with("authorization", authorization)
        }
        Fault::SessionToken => right.sign(request.with("x-amz-security-token", "x"), gateway.s3, mode),
        Fault::VersionTwo => {
            request.with("x-amz-content-sha256", mode).with("authorization", format!("AWS {}:c2ln", right.access))
        }
        Fault::SignatureCut => altered(right.sign(request, gateway.s3, mode), |value| {
            value.pop();
        }),
        Fault::HostNotSigned => altered(right.sign(request, gateway.s3, mode), |value| {
            *value = value.replace("SignedHeaders=host;", "SignedHeaders=");
        }),
        Fault::ForgedQuery => presigned(request, "x"),
        Fault::EmptyQuery => {
            let mut request = presigned(request, "x");
            let end = request.target.find("X-Amz-Signature=").unwrap() + "X-Amz-Signature=".len();
            request.target.truncate(end);
            request
        }
        Fault::BadHeader => {
            request.with("x-amz-content-sha256", mode).with("authorization", "AWS4-HMAC-SHA256 Credential=, Signature=")
        }
    }
}

/// A presigned request, right as it is: with no header that its signature does not cover.
fn queried(signer: &Signer, request: &Request, gateway: &TestGateway) -> Request {
    let signed = signer.presign(&request.method, &request.target, gateway.s3, 60);
    Request { body: request.body.clone(), ..signed }
}

/// A signed request whose Authorization header was changed.
fn altered(mut signed: Request, change: impl Fn(&mut String)) -> Request {
    let (_, value) = signed.headers.iter_mut().find(|(name, _)| name == "authorization").unwrap();
    change(value);
    signed
}

async fn started(clock: &Arc<ManualClock>) -> TestGateway {
    let clock = Arc::clone(clock) as Arc<dyn Clock>;
    let gateway = TestGateway::with(GatewayOptions::default(), clock).await;
    gateway.masters.make_bucket("bucket");
    gateway
}

#[tokio::test]
async fn a_client_that_stops_sending_is_told_and_left() {
    let stall = Duration::from_millis(limits::BODY_STALL_MS);
    for native in [false, true] {
        let clock = ManualClock::new();
        let gateway = started(&clock).await;
        let (to, request) = if native {
            let basic = "Basic QUtST09UOndKYWxyWFV0bkZFTUkvSzdNREVORytiUHhSZmlDWUVYQU1QTEVLRVk=";
            (gateway.api, Request::new("PUT", "/v1/objects/bucket/key").with("authorization", basic))
        } else {
            let request = Request::new("PUT", "/bucket/key");
            (gateway.s3, Signer::default().sign(request, gateway.s3, "UNSIGNED-PAYLOAD"))
        };
        let request = request.with("content-length", "100000");
        let mut stream = TcpStream::connect(to).await.unwrap();
        stream.write_all(request.head(to).as_bytes()).await.unwrap();
        clock.sleeper(stall).await;
        clock.advance(stall);
        let (mut reader, _writer) = stream.split();
        let answer = read_answer(&mut reader, "PUT").await;
        if native {
            assert_eq!((answer.status, answer.problem().as_str()), (408, "too-slow"));
        } else {
            assert_eq!((answer.status, answer.code().as_str()), (400, "RequestTimeout"));
        }
        assert_eq!(gateway.stored("key"), None);
    }
}

#[tokio::test]
async fn a_client_that_is_refused_while_it_sends_still_gets_its_answer() {
    let gateway = TestGateway::with_bucket().await;
    let body = noise(6 << 20);
    assert!(body.len() as u64 <= limits::DRAIN_MAX_BYTES);
    let wrong = Signer { secret: "x".to_owned(), ..Signer::default() };
    let refused = wrong.sign(Request::new("PUT", "/bucket/key"), gateway.s3, "UNSIGNED-PAYLOAD");
    let refused = refused.with("content-length", body.len().to_string());
    let mut stream = TcpStream::connect(gateway.s3).await.unwrap();
    stream.write_all(refused.head(gateway.s3).as_bytes()).await.unwrap();
    // A simple client: it sends everything before it looks.
    stream.write_all(&body).await.expect("the connection was reset");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("the connection was reset");
    assert!(String::from_utf8_lossy(&answer).contains("SignatureDoesNotMatch"));
}

#[tokio::test]
async fn what_strangers_send_is_not_read_without_end() {
    let gateway = TestGateway::with_bucket().await;
    let length = limits::DRAIN_MAX_BYTES * 8;
    let refused = Request::new("PUT", "/bucket/key").with("content-length", length.to_string());
    let mut stream = TcpStream::connect(gateway.s3).await.unwrap();
    stream.write_all(refused.head(gateway.s3).as_bytes()).await.unwrap();
    let piece = noise(1 << 20);
    let mut sent = 0;
    while sent < length && stream.write_all(&piece).await.is_ok() {
        sent += piece.len() as u64;
    }
    assert!(sent < length, "all of a refused body was read");
}

#[tokio::test]
async fn requests_that_contradict_themselves_are_refused() {
    let gateway = TestGateway::with_bucket().await;
    for head in [
        "content-length: 5\r\ncontent-length: 6",
        "content-length: 5\r\ntransfer-encoding: chunked\r\ntransfer-encoding: identity",
        "content-length: -1",
        "transfer-encoding: chunked, gzip",
        "a : b",
        "a: b\r\n c",
        "a: \0",
    ] {
        for to in [gateway.s3, gateway.api] {
            let mut stream = TcpStream::connect(to).await.unwrap();
            let request = format!("PUT /bucket/key HTTP/1.1\r\nhost: x\r\n{head}\r\n\r\nhello");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            let answer = String::from_utf8_lossy(&answer);
            assert!(answer.starts_with("HTTP/1.1 4"), "{head:?}: {answer}");
        }
    }
    assert_eq!(gateway.stored("key"), None);
}

#[tokio::test]
async fn large_heads_and_names_are_refused() {
    let gateway = TestGateway::with_bucket().await;
    let empty = sha256(b"");
    let long = "x".repeat(limits::URI_MAX_BYTES);
    let uri = Signer::default().sign(Request::new("GET", &format!("/bucket?prefix={long}")), gateway.s3, &empty);
    assert_eq!(uri.send(gateway.s3).await.code(), "InvalidURI");
    let native = Request::new("GET", &format!("/v1/objects/bucket?list&prefix={long}"));
    assert_eq!(native.send(gateway.api).await.problem(), "uri-too-long");
    let head = Request::new("GET", "/bucket").with("x-long", "x".repeat(70_000));
    assert_eq!(head.send(gateway.s3).await.status, 431);
}
