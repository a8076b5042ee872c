//! Uploads as hostile and unlucky clients send them: whatever is wrong is refused with the right code, and leaves nothing.

use crate::support::http::{Answer, Request};
use crate::support::sign::{self, Signer, sha256, unsigned_chunks};
use crate::support::{TestGateway, noise};

const SIGNED: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
const SIGNED_TRAILER: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER";
const UNSIGNED_TRAILER: &str = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";

fn put() -> Request {
    Request::new("PUT", "/bucket/key")
}

/// Sends it, expects it to be refused with `code`, and that nothing came of it.
async fn refused(gateway: &TestGateway, request: &Request, code: &str) {
    let answer = request.send(gateway.s3).await;
    assert_eq!(answer.code(), code, "{}", answer.text());
    assert!(answer.text().contains(&format!("<RequestId>{}</RequestId>", answer.header("x-amz-request-id"))));
    assert_eq!(gateway.stored("key"), None, "{code}: something is visible");
}

async fn stored(gateway: &TestGateway, request: &Request, body: &[u8]) -> Answer {
    let answer = request.send(gateway.s3).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let read = Signer::default().sign(Request::new("GET", "/bucket/key"), gateway.s3, &sha256(b""));
    assert_eq!(read.send(gateway.s3).await.body, body);
    answer
}

/// Small enough to be kept by the masters, and large enough not to be.
fn sizes() -> [Vec<u8>; 2] {
    [noise(1000), noise(3 << 20)]
}

#[tokio::test]
async fn a_signed_hash_must_be_that_of_the_body() {
    let gateway = TestGateway::with_bucket().await;
    for body in sizes() {
        let wrong = Signer::default().sign(put(), gateway.s3, &sha256(b"other")).body(body.clone());
        refused(&gateway, &wrong, "XAmzContentSHA256Mismatch").await;
    }
    for body in sizes() {
        let right = Signer::default().sign(put(), gateway.s3, &sha256(&body)).body(body.clone());
        stored(&gateway, &right, &body).await;
    }
}

#[tokio::test]
async fn a_content_md5_must_be_that_of_the_body() {
    let gateway = TestGateway::with_bucket().await;
    let send = |md5: &str, body: &[u8]| {
        let request = put().with("content-md5", md5).body(body);
        Signer::default().sign(request, gateway.s3, "UNSIGNED-PAYLOAD")
    };
    for body in sizes() {
        refused(&gateway, &send("AAAAAAAAAAAAAAAAAAAAAA==", &body), "BadDigest").await;
    }
    refused(&gateway, &send("nonsense", b"x"), "InvalidDigest").await;
    stored(&gateway, &send("XUFAKrxLKna5cZ2REBfFkg==", b"hello"), b"hello").await;
}

#[tokio::test]
async fn a_checksum_in_a_header_must_be_that_of_the_body() {
    let gateway = TestGateway::with_bucket().await;
    let send = |name: &str, value: &str| {
        let request = put().with(name, value).body("123456789");
        Signer::default().sign(request, gateway.s3, "UNSIGNED-PAYLOAD")
    };
    let right = [
        ("x-amz-checksum-crc32", "y/Q5Jg=="),
        ("x-amz-checksum-crc32c", "4waSgw=="),
        ("x-amz-checksum-crc64nvme", "rosUhgp5mIg="),
        ("x-amz-checksum-sha1", "98O8HYCOBHMq32eZZczDTKeuNEE="),
        ("x-amz-checksum-sha256", "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU="),
    ];
    for (name, value) in right {
        let zeros =
            format!("{}{}", "A".repeat(value.trim_end_matches('=').len()), &value[value.trim_end_matches('=').len()..]);
        refused(&gateway, &send(name, &zeros), "BadDigest").await;
        refused(&gateway, &send(name, "x"), "InvalidRequest").await;
    }
    for (name, value) in right {
        let answer = stored(&gateway, &send(name, value), b"123456789").await;
        assert_eq!(answer.header(name), value);
    }
}

#[tokio::test]
async fn a_body_shorter_or_longer_than_stated_is_refused() {
    let gateway = TestGateway::with_bucket().await;
    for length in [1001, 3_000_000] {
        // The connection ends before the body does.
        let short = put().with("content-length", length.to_string()).body(noise(1000));
        let short = Signer::default().sign(short, gateway.s3, "UNSIGNED-PAYLOAD");
        let mut stream = tokio::net::TcpStream::connect(gateway.s3).await.unwrap();
        let (mut reader, mut writer) = stream.split();
        use tokio::io::AsyncWriteExt as _;
        writer.write_all(short.head(gateway.s3).as_bytes()).await.unwrap();
        writer.write_all(&short.body).await.unwrap();
        writer.shutdown().await.unwrap();
        let mut rest = Vec::new();
        let _ = tokio::io::AsyncReadExt::read_to_end(&mut reader, &mut rest).await;
        assert_eq!(gateway.stored("key"), None);
    }
    let missing = Signer::default().sign(put().with("transfer-encoding", "chunked"), gateway.s3, "UNSIGNED-PAYLOAD");
    refused(&gateway, &missing.body("0\r\n\r\n"), "MissingContentLength").await;
}

/// A request with a chunked body, of which `stated` bytes are stated.
fn chunked(gateway: &TestGateway, mode: &str, stated: usize, trailer: Option<&str>) -> Request {
    let mut request =
        put().with("x-amz-decoded-content-length", stated.to_string()).with("content-encoding", "aws-chunked");
    if let Some(trailer) = trailer {
        request = request.with("x-amz-trailer", trailer);
    }
    Signer::default().sign(request, gateway.s3, mode)
}

#[tokio::test]
async fn signed_chunks_are_checked_to_the_last() {
    let gateway = TestGateway::with_bucket().await;
    for (body, chunk) in [(noise(20_000), 9_000), (noise(2 << 20), 64 << 10)] {
        let request = chunked(&gateway, SIGNED, body.len(), None);
        let chunks: Vec<&[u8]> = body.chunks(chunk).collect();
        let right = Signer::default().chunks(&sign::seed(&request), &chunks, &[]);
        // A byte changed in the first chunk, in the middle, in the last chunk, and in the last signature.
        for at in [200, right.len() / 2, right.len() - 200, right.len() - 10] {
            let mut bad = right.clone();
            bad[at] ^= 1;
            let answer = request.clone().body(bad).send(gateway.s3).await;
            assert!(matches!(answer.status, 400 | 403), "byte {at}: {}", answer.text());
            assert_eq!(gateway.stored("key"), None, "byte {at}");
        }
        // Two chunks in each other's place, and chunks signed with another key or behind another head.
        let mut swapped = right.clone();
        let head = right.windows(2).position(|window| window == b"\r\n").unwrap() + 2;
        let second = head + chunk + 2 + head;
        for at in 0..chunk {
            swapped.swap(head + at, second + at);
        }
        let other = Signer { secret: "other".to_owned(), ..Signer::default() };
        for bad in [
            swapped,
            other.chunks(&sign::seed(&request), &chunks, &[]),
            Signer::default().chunks(&sha256(b"another head"), &chunks, &[]),
        ] {
            let answer = request.clone().body(bad).send(gateway.s3).await;
            assert_eq!(answer.code(), "SignatureDoesNotMatch");
            assert_eq!(gateway.stored("key"), None);
        }
        // Without the last chunk, and cut anywhere.
        let last = right.windows(12).rposition(|window| window == b"\r\n0;chunk-si").unwrap() + 2;
        for end in [last, right.len() / 3, 50] {
            let cut = request.clone().body(&right[..end]).send(gateway.s3).await;
            assert_eq!(cut.code(), "IncompleteBody", "cut at {end} of {}", right.len());
            assert_eq!(gateway.stored("key"), None);
        }
        let trailing = request.clone().body([&right[..], b"more"].concat()).send(gateway.s3).await;
        assert_eq!(trailing.code(), "InvalidRequest");
        stored(&gateway, &request.body(right), &body).await;
        assert_eq!(gateway.stored("key").unwrap().attributes.content_encoding, None);
        let delete = Signer::default().sign(Request::new("DELETE", "/bucket/key"), gateway.s3, &sha256(b""));
        assert_eq!(delete.send(gateway.s3).await.status, 204);
    }
}

#[tokio::test]
async fn the_decoded_length_is_held() {
    let gateway = TestGateway::with_bucket().await;
    let body = noise(20_000);
    for stated in [19_999, 20_001] {
        let request = chunked(&gateway, SIGNED, stated, None);
        let chunks = Signer::default().chunks(&sign::seed(&request), &[&body], &[]);
        refused(&gateway, &request.body(chunks), "IncompleteBody").await;
    }
    let request = Signer::default().sign(put(), gateway.s3, SIGNED);
    refused(&gateway, &request.body("0\r\n\r\n"), "MissingContentLength").await;
    for bad in ["+5", "-1", "5x", ""] {
        let request = put().with("x-amz-decoded-content-length", bad);
        let request = Signer::default().sign(request, gateway.s3, SIGNED);
        let answer = request.body("0\r\n\r\n").send(gateway.s3).await;
        assert_eq!(answer.status / 100, 4, "{bad}");
        assert_eq!(gateway.stored("key"), None);
    }
    let huge = chunked(&gateway, SIGNED, (5 << 30) + 1, None);
    refused(&gateway, &huge.body("0\r\n\r\n"), "EntityTooLarge").await;
}

#[tokio::test]
async fn small_signed_chunks_are_refused_and_small_unsigned_ones_are_not() {
    let gateway = TestGateway::with_bucket().await;
    let body = noise(100_000);
    let chunks: Vec<&[u8]> = body.chunks(100).collect();
    let request = chunked(&gateway, SIGNED, body.len(), None);
    let signed = Signer::default().chunks(&sign::seed(&request), &chunks, &[]);
    refused(&gateway, &request.body(signed), "InvalidChunkSizeError").await;
    let single: Vec<&[u8]> = body.chunks(1).collect();
    let request = chunked(&gateway, UNSIGNED_TRAILER, body.len(), Some("x-amz-checksum-crc32"));
    let crc = crc32(&body);
    let right = unsigned_chunks(&single, Some(("x-amz-checksum-crc32", &crc)));
    stored(&gateway, &request.body(right), &body).await;
}

fn crc32(bytes: &[u8]) -> String {
    use base64::Engine as _;
    use s3s::crypto::{Checksum as _, Crc32};
    base64::engine::general_purpose::STANDARD.encode(Crc32::checksum(bytes))
}

#[tokio::test]
async fn trailers_are_checked_before_anything_is_visible() {
    let gateway = TestGateway::with_bucket().await;
    for body in sizes() {
        let crc = crc32(&body);
        let name = "x-amz-checksum-crc32";
        let unsigned = |trailer: Option<(&str, &str)>| {
            let request = chunked(&gateway, UNSIGNED_TRAILER, body.len(), Some(name));
            request.body(unsigned_chunks(&[&body], trailer))
        };
        refused(&gateway, &unsigned(None), "MalformedTrailerError").await;
        refused(&gateway, &unsigned(Some((name, "AAAAAA=="))), "BadDigest").await;
        refused(&gateway, &unsigned(Some((name, "not base64"))), "InvalidRequest").await;
        refused(&gateway, &unsigned(Some(("x-amz-checksum-crc32c", &crc))), "MalformedTrailerError").await;
        let without_last = unsigned_chunks(&[&body], None);
        let cut =
            chunked(&gateway, UNSIGNED_TRAILER, body.len(), Some(name)).body(&without_last[..without_last.len() - 5]);
        refused(&gateway, &cut, "IncompleteBody").await;
        let undeclared = chunked(&gateway, UNSIGNED_TRAILER, body.len(), None).body(unsigned_chunks(&[&body], None));
        refused(&gateway, &undeclared, "MalformedTrailerError").await;

        let signed = |value: &str, change: fn(&mut Vec<u8>)| {
            let request = chunked(&gateway, SIGNED_TRAILER, body.len(), Some(name));
            let mut framed = Signer::default().chunks(&sign::seed(&request), &[&body], &[(name, value)]);
            change(&mut framed);
            request.body(framed)
        };
        refused(&gateway, &signed("AAAAAA==", |_| ()), "BadDigest").await;
        let forge = |framed: &mut Vec<u8>| {
            let end = framed.len() - 10;
            framed[end] = if framed[end] == b'0' { b'1' } else { b'0' };
        };
        refused(&gateway, &signed(&crc, forge), "SignatureDoesNotMatch").await;

        let answer = stored(&gateway, &signed(&crc, |_| ()), &body).await;
        assert_eq!(answer.header(name), crc);
        let answer = stored(&gateway, &unsigned(Some((name, &crc))), &body).await;
        assert_eq!(answer.header("x-amz-checksum-type"), "FULL_OBJECT");
        let delete = Signer::default().sign(Request::new("DELETE", "/bucket/key"), gateway.s3, &sha256(b""));
        assert_eq!(delete.send(gateway.s3).await.status, 204);
    }
}

#[tokio::test]
async fn a_chunk_of_any_size_is_streamed_and_not_kept() {
    // One chunk for the whole body, as some SDKs send it: more than the client's memory budget would hold twice.
    let gateway = TestGateway::with_bucket().await;
    let body = noise(40 << 20);
    let request = chunked(&gateway, UNSIGNED_TRAILER, body.len(), Some("x-amz-checksum-crc32"));
    let framed = unsigned_chunks(&[&body], Some(("x-amz-checksum-crc32", &crc32(&body))));
    stored(&gateway, &request.body(framed), &body).await;
    assert_eq!(gateway.chunks.count(), 40);
}

#[tokio::test]
async fn a_body_is_not_asked_for_when_it_would_be_refused() {
    let gateway = TestGateway::with_bucket().await;
    let expecting = |target: &str, length: usize| {
        let request = Request::new("PUT", target).with("expect", "100-continue");
        request.with("content-length", length.to_string())
    };
    let large = 5 << 20;
    let missing = Signer::default().sign(expecting("/no-such-bucket/key", large), gateway.s3, "UNSIGNED-PAYLOAD");
    assert_eq!(missing.send(gateway.s3).await.code(), "NoSuchBucket");
    let forged = Signer { secret: "wrong".to_owned(), ..Signer::default() };
    let forged = forged.sign(expecting("/bucket/key", large), gateway.s3, "UNSIGNED-PAYLOAD");
    assert_eq!(forged.send(gateway.s3).await.code(), "SignatureDoesNotMatch");
    let unmet = expecting("/bucket/key", large).with("if-match", "\"x\"");
    let unmet = Signer::default().sign(unmet, gateway.s3, "UNSIGNED-PAYLOAD");
    assert_eq!(unmet.send(gateway.s3).await.code(), "NoSuchKey");
    // None of these has sent a byte of its body, and got its answer.
    assert_eq!(gateway.stored("key"), None);
}
