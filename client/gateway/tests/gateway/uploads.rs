//! Resumable uploads, as tus 1.0 has them.

use crate::support::http::{Answer, Request};
use crate::support::sign::Signer;
use crate::support::{ACCESS, SECRET, TestGateway, noise};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cairn_common::wire::command::{Grant, Rights};
use tokio::io::AsyncWriteExt as _;

const FILE: &str = "/v1/objects/bucket/key";

fn with_key(method: &str, target: &str, access: &str) -> Request {
    let basic = format!("Basic {}", STANDARD.encode(format!("{access}:{SECRET}")));
    Request::new(method, target).with("authorization", basic)
}

fn request(method: &str, target: &str) -> Request {
    with_key(method, target, ACCESS)
}

fn tus(method: &str, target: &str) -> Request {
    request(method, target).with("tus-resumable", "1.0.0")
}

fn patch(at: &str, offset: usize, body: &[u8]) -> Request {
    let request = tus("PATCH", at).with("content-type", "application/offset+octet-stream");
    request.with("upload-offset", offset.to_string()).body(body)
}

async fn send(gateway: &TestGateway, request: Request) -> Answer {
    let answer = request.send(gateway.api).await;
    assert_eq!(answer.header("tus-resumable"), "1.0.0");
    answer
}

/// Begins an upload; its address.
async fn begin(gateway: &TestGateway, length: usize) -> String {
    let begin = tus("POST", "/v1/uploads/bucket/key").with("upload-length", length.to_string());
    let metadata = "filetype dGV4dC9wbGFpbg==,author Wm/Dqw==";
    let made = send(gateway, begin.with("upload-metadata", metadata)).await;
    assert_eq!(made.status, 201, "{}", made.text());
    assert!(made.find("upload-expires").is_some());
    made.header("location").to_owned()
}

async fn offset(gateway: &TestGateway, at: &str) -> usize {
    let head = send(gateway, tus("HEAD", at)).await;
    assert_eq!((head.status, head.header("cache-control")), (200, "no-store"));
    head.header("upload-offset").parse().unwrap()
}

async fn read(gateway: &TestGateway) -> Answer {
    request("GET", FILE).send(gateway.api).await
}

#[tokio::test]
async fn a_file_is_sent_in_pieces_and_appears_with_the_last() {
    let gateway = TestGateway::with_bucket().await;
    let body = noise(300_000);
    let at = begin(&gateway, body.len()).await;
    let mut sent = 0;
    for piece in [1, 100_000, 7, 150_000] {
        let answer = send(&gateway, patch(&at, sent, &body[sent..sent + piece])).await;
        sent += piece;
        assert_eq!((answer.status, answer.header("upload-offset")), (204, sent.to_string().as_str()));
        assert_eq!(offset(&gateway, &at).await, sent);
        assert_eq!(gateway.stored("key"), None);
    }
    let head = send(&gateway, tus("HEAD", &at)).await;
    assert_eq!(head.header("upload-metadata"), "filetype dGV4dC9wbGFpbg==,author Wm/Dqw==");
    let last = send(&gateway, patch(&at, sent, &body[sent..])).await;
    assert_eq!((last.status, last.header("x-replicas-durable")), (204, "1"));
    assert_eq!(last.header("content-location"), FILE);
    let read = read(&gateway).await;
    assert_eq!((read.status, &read.body), (200, &body));
    assert_eq!((read.header("content-type"), read.header("x-meta-author")), ("text/plain", "Zoë"));
    assert_eq!((last.header("etag"), last.header("x-commit")), (read.header("etag"), read.header("x-commit")));
    // Whoever did not hear the last answer is told that all is there.
    let head = send(&gateway, tus("HEAD", &at)).await;
    assert_eq!((head.header("upload-offset"), head.header("etag")), ("300000", read.header("etag")));
    assert_eq!(send(&gateway, patch(&at, body.len(), b"")).await.problem(), "no-such-upload");
}

#[tokio::test]
async fn what_came_before_a_connection_broke_need_not_be_sent_again() {
    let gateway = TestGateway::with_bucket().await;
    let body = noise(3 << 20);
    let at = begin(&gateway, body.len()).await;
    let half = patch(&at, 0, b"").with("content-length", body.len().to_string());
    let mut stream = tokio::net::TcpStream::connect(gateway.api).await.unwrap();
    stream.write_all(half.head(gateway.api).as_bytes()).await.unwrap();
    stream.write_all(&body[..2 << 20]).await.unwrap();
    stream.flush().await.unwrap();
    drop(stream);
    let mut there = 0;
    for _ in 0..1000 {
        there = offset(&gateway, &at).await;
        if there > 0 {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert!(there > 0 && there <= 2 << 20, "{there}");
    let rest = send(&gateway, patch(&at, there, &body[there..])).await;
    assert_eq!(rest.status, 204, "{}", rest.text());
    assert_eq!(read(&gateway).await.body, body);
}

#[tokio::test]
async fn bytes_that_do_not_match_their_checksum_are_not_kept() {
    let gateway = TestGateway::with_bucket().await;
    let at = begin(&gateway, 10).await;
    let with = |sum: &str| patch(&at, 0, b"hello").with("upload-checksum", sum);
    let wrong = send(&gateway, with("sha1 AAAAAAAAAAAAAAAAAAAAAAAAAAA=")).await;
    assert_eq!((wrong.status, wrong.problem().as_str()), (460, "checksum-mismatch"));
    assert_eq!(send(&gateway, with("md4 AAAA")).await.status, 400);
    assert_eq!(offset(&gateway, &at).await, 0);
    let right = send(&gateway, with("sha1 qvTGHdzF6KLavt4PO0gs2a6pQ00=")).await;
    assert_eq!(right.status, 204, "{}", right.text());
    let md5 = patch(&at, 5, b"world").with("upload-checksum", "md5 fXkwN6B2AYZXSwKC8vQ15w==");
    assert_eq!(send(&gateway, md5).await.status, 204);
    assert_eq!(read(&gateway).await.text(), "helloworld");
}

#[tokio::test]
async fn only_what_belongs_at_the_end_of_an_upload_is_appended() {
    let gateway = TestGateway::with_bucket().await;
    let at = begin(&gateway, 5).await;
    assert_eq!(send(&gateway, patch(&at, 1, b"x")).await.problem(), "offset-mismatch");
    assert_eq!(send(&gateway, patch(&at, 0, b"hello!")).await.problem(), "too-large");
    let chunked = patch(&at, 0, b"6\r\nhello!\r\n0\r\n\r\n").with("transfer-encoding", "chunked");
    assert_eq!(send(&gateway, chunked).await.problem(), "too-large");
    assert_eq!(offset(&gateway, &at).await, 0);
    let other_type = tus("PATCH", &at).with("upload-offset", "0").body("hello");
    assert_eq!(send(&gateway, other_type).await.problem(), "media-type");
    assert_eq!(send(&gateway, patch(&at, 0, b"he")).await.status, 204);
    assert_eq!(send(&gateway, patch(&at, 0, b"he")).await.problem(), "offset-mismatch");
    // Two at once: one comes first, and the file is one of both.
    let one = patch(&at, 2, b"llo");
    let two = patch(&at, 2, b"LLO");
    let (one, two) = tokio::join!(send(&gateway, one), send(&gateway, two));
    assert_eq!([one.status, two.status].iter().filter(|status| **status == 204).count(), 1, "{one:?} {two:?}");
    assert!(["hello", "heLLO"].contains(&read(&gateway).await.text().as_str()));
}

#[tokio::test]
async fn an_upload_can_be_given_up_and_is_nobody_elses() {
    let gateway = TestGateway::with_bucket().await;
    let rights = Rights { write: true, ..Rights::default() };
    let grant = Grant { bucket: None, prefix: "other/".to_owned(), rights };
    gateway.masters.add_key("AKOTHER", SECRET, false, vec![grant]);
    let at = begin(&gateway, 5).await;
    for method in ["HEAD", "PATCH", "DELETE"] {
        let stranger = with_key(method, &at, "AKOTHER").with("tus-resumable", "1.0.0");
        assert_eq!(send(&gateway, stranger).await.status, 403, "{method}");
        let nobody = Request::new(method, &at).with("tus-resumable", "1.0.0");
        assert_eq!(send(&gateway, nobody).await.status, 401, "{method}");
    }
    for target in ["/v1/uploads/bucket/key", "/v1/uploads/bucket"] {
        let begin = with_key("POST", target, "AKOTHER").with("tus-resumable", "1.0.0").with("upload-length", "5");
        assert_eq!(send(&gateway, begin.with("upload-metadata", "filename a2V5")).await.status, 403, "{target}");
    }
    // The same id with another key's name is no upload.
    let id = at.split_once("upload=").unwrap().1;
    let elsewhere = format!("/v1/uploads/bucket/other/key?upload={id}");
    let stranger = with_key("HEAD", &elsewhere, "AKOTHER").with("tus-resumable", "1.0.0");
    assert_eq!(send(&gateway, stranger).await.status, 404);
    assert_eq!(send(&gateway, tus("DELETE", &at)).await.status, 204);
    assert_eq!(send(&gateway, tus("HEAD", &at)).await.status, 404);
    assert_eq!(send(&gateway, tus("DELETE", &at)).await.problem(), "no-such-upload");
}

#[tokio::test]
async fn conditions_are_judged_when_the_upload_begins_and_when_it_ends() {
    let gateway = TestGateway::with_bucket().await;
    let create = || tus("POST", "/v1/uploads/bucket/key").with("upload-length", "1").with("if-none-match", "*");
    let at = send(&gateway, create()).await.header("location").to_owned();
    assert_eq!(request("PUT", FILE).body("other").send(gateway.api).await.status, 201);
    assert_eq!(send(&gateway, create()).await.problem(), "precondition-failed");
    let last = patch(&at, 0, b"x").with("if-none-match", "*");
    assert_eq!(send(&gateway, last).await.problem(), "precondition-failed");
    assert_eq!(read(&gateway).await.text(), "other");
    // The bytes are there: without the condition it becomes a file.
    assert_eq!(send(&gateway, tus("HEAD", &at)).await.status, 200);
    assert_eq!(read(&gateway).await.text(), "x");
}

#[tokio::test]
async fn the_protocol_is_spoken_as_it_is_written() {
    let gateway = TestGateway::with_bucket().await;
    let options = send(&gateway, request("OPTIONS", "/v1/uploads/bucket")).await;
    assert_eq!((options.status, options.header("tus-version")), (204, "1.0.0"));
    assert_eq!(options.header("tus-extension"), "creation,expiration,checksum,termination");
    let old = request("POST", "/v1/uploads/bucket/key").with("tus-resumable", "0.2.2").with("upload-length", "1");
    let old = send(&gateway, old).await;
    assert_eq!((old.status, old.header("tus-version")), (412, "1.0.0"));
    assert_eq!(send(&gateway, tus("POST", "/v1/uploads/bucket/key")).await.status, 400);
    let huge = tus("POST", "/v1/uploads/bucket/key").with("upload-length", "1099511627777");
    assert_eq!(send(&gateway, huge).await.status, 413);
    let nameless = tus("POST", "/v1/uploads/bucket").with("upload-length", "1");
    assert_eq!(send(&gateway, nameless).await.status, 400);
    let no_bucket = tus("POST", "/v1/uploads/nowhere/key").with("upload-length", "1");
    assert_eq!(send(&gateway, no_bucket).await.problem(), "no-such-bucket");
    // A file of no bytes is done at once.
    let empty =
        tus("POST", "/v1/uploads/bucket").with("upload-length", "0").with("upload-metadata", "filename ZW1wdHk=");
    let empty = send(&gateway, empty).await;
    assert_eq!((empty.status, empty.header("x-replicas-durable")), (201, "1"));
    assert_eq!(gateway.stored("empty").map(|info| info.length), Some(0));
    // A POST that stands for another method.
    let at = begin(&gateway, 5).await;
    let meant = |method: &str| {
        let request = Request { method: "POST".to_owned(), ..patch(&at, 0, b"hello") };
        request.with("x-http-method-override", method)
    };
    assert_eq!(send(&gateway, meant("PUT")).await.status, 400);
    assert_eq!(send(&gateway, meant("PATCH")).await.status, 204);
    assert_eq!(read(&gateway).await.text(), "hello");
}

#[tokio::test]
async fn an_upload_that_s3_made_too_long_takes_nothing_more() {
    let gateway = TestGateway::with_bucket().await;
    let at = begin(&gateway, 1).await;
    let id = at.split_once("upload=").unwrap().1;
    let part = Request::new("PUT", &format!("/bucket/key?partNumber=1&uploadId={id}")).body("xx");
    let part = Signer::default().sign(part, gateway.s3, "UNSIGNED-PAYLOAD").send(gateway.s3).await;
    assert_eq!(part.status, 200, "{}", part.text());
    assert_eq!(send(&gateway, patch(&at, 2, b"")).await.status, 400);
    assert_eq!(send(&gateway, patch(&at, 2, b"x")).await.problem(), "too-large");
}
