//! Multipart uploads over S3.

use crate::support::http::{Answer, Request};
use crate::support::sign::{Signer, sha256};
use crate::support::{TestGateway, noise};
use s3s::crypto::{Checksum as _, Crc32, Crc64Nvme, Md5};

const PART: usize = 5 << 20;

async fn send(gateway: &TestGateway, request: Request) -> Answer {
    let payload = sha256(&request.body);
    Signer::default().sign(request, gateway.s3, &payload).send(gateway.s3).await
}

fn between(text: &str, tag: &str) -> String {
    let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
    let found = text.split_once(&open).and_then(|(_, rest)| rest.split_once(&close));
    found.unwrap_or_else(|| panic!("no {tag} in {text}")).0.to_owned()
}

async fn begin(gateway: &TestGateway, headers: &[(&str, &str)]) -> String {
    let mut request = Request::new("POST", "/bucket/key?uploads=");
    for (name, value) in headers {
        request = request.with(name, *value);
    }
    let answer = send(gateway, request).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    between(&answer.text(), "UploadId")
}

fn part(upload: &str, number: u32, body: &[u8]) -> Request {
    Request::new("PUT", &format!("/bucket/key?partNumber={number}&uploadId={upload}")).body(body)
}

async fn upload(gateway: &TestGateway, id: &str, number: u32, body: &[u8]) -> String {
    let answer = send(gateway, part(id, number, body)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.header("etag").to_owned()
}

fn completing(upload: &str, parts: &[(u32, &str)]) -> Request {
    let list: String = parts
        .iter()
        .map(|(number, tag)| format!("<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>"))
        .collect();
    let body = format!("<CompleteMultipartUpload>{list}</CompleteMultipartUpload>");
    Request::new("POST", &format!("/bucket/key?uploadId={upload}")).body(body)
}

#[tokio::test]
async fn parts_become_an_object_with_the_tag_that_clients_expect() {
    let gateway = TestGateway::with_bucket().await;
    let id = begin(&gateway, &[("content-type", "text/odd"), ("x-amz-meta-a", "b")]).await;
    let bodies = [noise(PART), noise(PART + 7), b"end".to_vec()];
    let mut tags = Vec::new();
    for (number, body) in [3, 1, 2].into_iter().map(|number| (number, &bodies[number as usize - 1])) {
        let tag = upload(&gateway, &id, number, body).await;
        assert_eq!(tag, format!("\"{}\"", hex::encode(Md5::checksum(body))));
        tags.push((number, tag));
    }
    tags.sort();
    assert_eq!(gateway.stored("key"), None, "parts are no object yet");
    let listed = send(&gateway, Request::new("GET", &format!("/bucket/key?max-parts=2&uploadId={id}"))).await.text();
    assert_eq!(
        (between(&listed, "IsTruncated"), between(&listed, "NextPartNumberMarker")),
        ("true".into(), "2".into())
    );
    let rest = format!("/bucket/key?part-number-marker=2&uploadId={id}");
    let listed = send(&gateway, Request::new("GET", &rest)).await.text();
    assert_eq!((between(&listed, "IsTruncated"), between(&listed, "Size")), ("false".into(), "3".into()));
    let uploads = send(&gateway, Request::new("GET", "/bucket?uploads=")).await.text();
    assert_eq!(between(&uploads, "UploadId"), id);

    let parts: Vec<(u32, &str)> = tags.iter().map(|(number, tag)| (*number, tag.as_str())).collect();
    let done = send(&gateway, completing(&id, &parts)).await;
    assert_eq!(done.status, 200, "{}", done.text());
    let md5s: Vec<u8> = bodies.iter().flat_map(|body| Md5::checksum(body)).collect();
    let wanted = format!("\"{}-3\"", hex::encode(Md5::checksum(&md5s)));
    assert_eq!(between(&done.text(), "ETag").replace("&quot;", "\""), wanted);
    let read = send(&gateway, Request::new("GET", "/bucket/key").with("x-amz-checksum-mode", "ENABLED")).await;
    assert_eq!((&read.body, read.header("content-type")), (&bodies.concat(), "text/odd"));
    assert_eq!((read.header("x-amz-meta-a"), read.header("etag")), ("b", wanted.as_str()));
    // Nobody asked for a checksum, and there is one of the whole all the same.
    let crc = base64(&Crc64Nvme::checksum(&bodies.concat()));
    assert_eq!(
        (read.header("x-amz-checksum-crc64nvme"), read.header("x-amz-checksum-type")),
        (crc.as_str(), "FULL_OBJECT")
    );
    let across = Request::new("GET", "/bucket/key").with("range", format!("bytes={}-{}", PART - 2, PART + 1));
    assert_eq!(send(&gateway, across).await.body, bodies.concat()[PART - 2..PART + 2]);

    let again = send(&gateway, completing(&id, &parts)).await;
    assert_eq!(
        (again.status, between(&again.text(), "ETag")),
        (200, between(&done.text(), "ETag")),
        "the first answer"
    );
    let attributes = Request::new("GET", "/bucket/key?attributes=").with("x-amz-object-attributes", "ObjectParts");
    assert_eq!(between(&send(&gateway, attributes).await.text(), "PartsCount"), "3");
}

#[tokio::test]
async fn parts_of_an_object_are_read_and_listed() {
    let gateway = TestGateway::with_bucket().await;
    let id = begin(&gateway, &[]).await;
    let bodies = [noise(PART), noise(PART + 7), b"end".to_vec()];
    let mut tags = Vec::new();
    for (number, body) in (2..).zip(&bodies) {
        tags.push((number, upload(&gateway, &id, number, body).await));
    }
    let parts: Vec<(u32, &str)> = tags.iter().map(|(number, tag)| (*number, tag.as_str())).collect();
    assert_eq!(send(&gateway, completing(&id, &parts)).await.status, 200);
    let whole = bodies.concat();
    let mut start = 0;
    for (number, body) in (1..).zip(&bodies) {
        let target = format!("/bucket/key?partNumber={number}");
        let read = send(&gateway, Request::new("GET", &target)).await;
        let head = send(&gateway, Request::new("HEAD", &target)).await;
        assert_eq!((read.status, &read.body), (206, body));
        let range = format!("bytes {start}-{}/{}", start + body.len() - 1, whole.len());
        for answer in [&read, &head] {
            assert_eq!(answer.header("content-range"), range);
            assert_eq!(answer.header("content-length"), body.len().to_string());
            assert_eq!(answer.header("x-amz-mp-parts-count"), "3");
        }
        start += body.len();
    }
    assert!(send(&gateway, Request::new("HEAD", "/bucket/key")).await.find("x-amz-mp-parts-count").is_none());
    for (number, code) in [("4", "InvalidPartNumber"), ("0", "InvalidArgument"), ("10001", "InvalidArgument")] {
        let answer = send(&gateway, Request::new("GET", &format!("/bucket/key?partNumber={number}"))).await;
        assert_eq!((answer.code().as_str(), answer.status == 416), (code, number == "4"));
    }
    let both = Request::new("GET", "/bucket/key?partNumber=1").with("range", "bytes=0-1");
    assert_eq!(send(&gateway, both).await.code(), "InvalidRequest");

    let attributes = |headers: &[(&str, &str)]| {
        let request = Request::new("GET", "/bucket/key?attributes=").with("x-amz-object-attributes", "ObjectParts");
        headers.iter().fold(request, |request, (name, value)| request.with(name, *value))
    };
    let first = send(&gateway, attributes(&[("x-amz-max-parts", "2")])).await.text();
    assert_eq!((between(&first, "IsTruncated"), between(&first, "NextPartNumberMarker")), ("true".into(), "2".into()));
    assert_eq!((between(&first, "PartNumber"), between(&first, "Size")), ("1".into(), PART.to_string()));
    let rest = send(&gateway, attributes(&[("x-amz-part-number-marker", "2")])).await.text();
    assert_eq!((between(&rest, "IsTruncated"), between(&rest, "PartNumber")), ("false".into(), "3".into()));
    assert_eq!(between(&rest, "Size"), "3");

    // An object that was sent in one piece is its own first part.
    send(&gateway, Request::new("PUT", "/bucket/plain").body("hello")).await;
    let read = send(&gateway, Request::new("GET", "/bucket/plain?partNumber=1")).await;
    assert_eq!((read.status, read.text().as_str()), (206, "hello"));
    assert_eq!(read.header("content-range"), "bytes 0-4/5");
    assert!(read.find("x-amz-mp-parts-count").is_none());
    assert_eq!(send(&gateway, Request::new("HEAD", "/bucket/plain?partNumber=2")).await.status, 416);
}

fn base64(bytes: &[u8]) -> String {
    use ::base64::Engine as _;
    ::base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[tokio::test]
async fn what_is_wrong_with_a_completion_is_said_and_nothing_is_made() {
    let gateway = TestGateway::with_bucket().await;
    let id = begin(&gateway, &[]).await;
    let one = upload(&gateway, &id, 1, &noise(PART)).await;
    let small = upload(&gateway, &id, 2, b"small").await;
    let last = upload(&gateway, &id, 3, b"last").await;
    let code = async |request: Request| send(&gateway, request).await.code();
    let (one, small, last) = (one.as_str(), small.as_str(), last.as_str());
    assert_eq!(code(completing(&id, &[(1, one), (2, small), (3, last)])).await, "EntityTooSmall");
    assert_eq!(code(completing(&id, &[(3, last), (1, one)])).await, "InvalidPartOrder");
    assert_eq!(code(completing(&id, &[(1, one), (1, one)])).await, "InvalidPartOrder");
    assert_eq!(code(completing(&id, &[(1, small)])).await, "InvalidPart");
    assert_eq!(code(completing(&id, &[(9, one)])).await, "InvalidPart");
    assert_eq!(code(completing(&id, &[])).await, "MalformedXML");
    assert_eq!(code(completing("0000000000000001", &[(1, one)])).await, "NoSuchUpload");
    assert_eq!(code(completing("nonsense", &[(1, one)])).await, "NoSuchUpload");
    let mut elsewhere = completing(&id, &[(1, one)]);
    elsewhere.target = elsewhere.target.replace("/key", "/other");
    assert_eq!(code(elsewhere).await, "NoSuchUpload");
    let size = completing(&id, &[(1, one)]).with("x-amz-mp-object-size", "1");
    assert_eq!(code(size).await, "InvalidRequest");
    assert_eq!(code(completing(&id, &[(1, one)]).with("if-match", "\"x\"")).await, "NoSuchKey");
    assert_eq!(gateway.stored("key"), None);
    send(&gateway, Request::new("PUT", "/bucket/key").body("there")).await;
    assert_eq!(code(completing(&id, &[(1, one)]).with("if-none-match", "*")).await, "PreconditionFailed");
    assert_eq!(gateway.stored("key").unwrap().length, 5);
    for number in ["0", "10001", "-1", "x"] {
        let bad = Request::new("PUT", &format!("/bucket/key?partNumber={number}&uploadId={id}")).body("x");
        assert_eq!(code(bad).await, "InvalidArgument", "{number}");
    }
    assert_eq!(gateway.masters.parts(), 3);
    let abort = || Request::new("DELETE", &format!("/bucket/key?uploadId={id}"));
    assert_eq!(send(&gateway, abort()).await.status, 204);
    assert_eq!(gateway.masters.parts(), 0);
    assert_eq!(code(part(&id, 4, b"late")).await, "NoSuchUpload");
    assert_eq!(code(abort()).await, "NoSuchUpload");
}

#[tokio::test]
async fn checksums_of_parts_are_checked_and_joined() {
    let gateway = TestGateway::with_bucket().await;
    let bodies = [noise(PART), b"end".to_vec()];
    let sums = [base64(&Crc32::checksum(&bodies[0])), base64(&Crc32::checksum(&bodies[1]))];
    for (kind, joined) in [
        (
            "COMPOSITE",
            format!(
                "{}-2",
                base64(&Crc32::checksum(&[Crc32::checksum(&bodies[0]), Crc32::checksum(&bodies[1])].concat()))
            ),
        ),
        ("FULL_OBJECT", base64(&Crc32::checksum(&bodies.concat()))),
    ] {
        let id = begin(&gateway, &[("x-amz-checksum-algorithm", "CRC32"), ("x-amz-checksum-type", kind)]).await;
        let wrong = part(&id, 1, &bodies[0]).with("x-amz-checksum-crc32", "AAAAAA==");
        assert_eq!(send(&gateway, wrong).await.code(), "BadDigest");
        let other = part(&id, 1, b"123456789").with("x-amz-checksum-crc32c", "4waSgw==");
        assert_eq!(send(&gateway, other).await.code(), "InvalidRequest");
        let stated = send(&gateway, part(&id, 1, &bodies[0]).with("x-amz-checksum-crc32", &*sums[0])).await;
        assert_eq!(stated.header("x-amz-checksum-crc32"), sums[0]);
        // What was asked for at the beginning is computed where the client does not state it.
        let computed = send(&gateway, part(&id, 2, &bodies[1])).await;
        assert_eq!(computed.header("x-amz-checksum-crc32"), sums[1]);
        let tags = [stated.header("etag").to_owned(), computed.header("etag").to_owned()];
        let parts = [(1, tags[0].as_str()), (2, tags[1].as_str())];
        let wrong = completing(&id, &parts).with("x-amz-checksum-crc32", "AAAAAA==");
        assert_eq!(send(&gateway, wrong).await.code(), "BadDigest");
        let mut forged = completing(&id, &parts);
        let body = String::from_utf8(forged.body).unwrap();
        forged.body = body.replacen("</ETag>", "</ETag><ChecksumCRC32>AAAAAA==</ChecksumCRC32>", 1).into_bytes();
        assert_eq!(send(&gateway, forged).await.code(), "InvalidPart");
        let done = send(&gateway, completing(&id, &parts).with("x-amz-checksum-crc32", &*joined)).await;
        assert_eq!(
            (between(&done.text(), "ChecksumCRC32"), between(&done.text(), "ChecksumType")),
            (joined.clone(), kind.to_owned())
        );
        let head = Request::new("HEAD", "/bucket/key").with("x-amz-checksum-mode", "ENABLED");
        assert_eq!(send(&gateway, head).await.header("x-amz-checksum-crc32"), joined);
    }
}

#[tokio::test]
async fn parts_can_be_made_of_other_objects() {
    let gateway = TestGateway::with_bucket().await;
    let source = noise(PART + 100);
    send(&gateway, Request::new("PUT", "/bucket/source").body(source.clone())).await;
    send(&gateway, Request::new("PUT", "/bucket/small").body("0123456789")).await;
    let copying = |id: &str, number: u32, range: Option<&str>| {
        let request = Request::new("PUT", &format!("/bucket/key?partNumber={number}&uploadId={id}"));
        let request = request.with("x-amz-copy-source", "/bucket/source");
        range.map_or(request.clone(), |range| request.with("x-amz-copy-source-range", range))
    };
    for headers in [&[][..], &[("x-amz-checksum-algorithm", "SHA256")]] {
        let id = begin(&gateway, headers).await;
        let first = send(&gateway, copying(&id, 1, None)).await;
        assert_eq!(first.status, 200, "{}", first.text());
        let second = send(&gateway, copying(&id, 2, Some("bytes=10-19"))).await.text();
        let tags = [between(&first.text(), "ETag"), between(&second, "ETag")];
        assert_eq!(second.contains("ChecksumSHA256"), !headers.is_empty(), "{second}");
        for (range, code) in [("bytes=0-99999999", "InvalidRange"), ("bytes=5-", "InvalidArgument")] {
            assert_eq!(send(&gateway, copying(&id, 3, Some(range))).await.code(), code);
        }
        let unmet = copying(&id, 3, None).with("x-amz-copy-source-if-match", "\"x\"");
        assert_eq!(send(&gateway, unmet).await.code(), "PreconditionFailed");
        // A small object has no chunks to refer to.
        let mut small = copying(&id, 2, Some("bytes=3-5"));
        small.headers[0].1 = "/bucket/small".to_owned();
        let tag = between(&send(&gateway, small).await.text(), "ETag");
        assert_ne!(tag, tags[1]);
        let done = send(&gateway, completing(&id, &[(1, &tags[0]), (2, &tag)])).await;
        assert_eq!(done.status, 200, "{}", done.text());
        let read = send(&gateway, Request::new("GET", "/bucket/key")).await;
        assert_eq!(read.body, [&source[..], b"345"].concat());
    }
}
