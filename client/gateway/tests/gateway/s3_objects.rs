//! Objects over S3: what is stored comes back, under conditions, in ranges, or not at all.

use crate::support::http::{Answer, Request};
use crate::support::sign::{Signer, sha256};
use crate::support::{TestGateway, noise};
use std::sync::atomic::Ordering;

async fn send(gateway: &TestGateway, request: Request) -> Answer {
    let payload = sha256(&request.body);
    Signer::default().sign(request, gateway.s3, &payload).send(gateway.s3).await
}

async fn put(gateway: &TestGateway, key: &str, body: &[u8]) -> Answer {
    let answer = send(gateway, Request::new("PUT", &format!("/bucket/{key}")).body(body)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer
}

fn get(key: &str) -> Request {
    Request::new("GET", &format!("/bucket/{key}"))
}

#[tokio::test]
async fn files_of_every_size_come_back_whole_and_in_ranges() {
    let gateway = TestGateway::with_bucket().await;
    for length in [0, 1, 16 << 10, (16 << 10) + 1, 1 << 20, (3 << 20) + 5] {
        let body = noise(length);
        let stored = put(&gateway, "f", &body).await;
        let whole = send(&gateway, get("f")).await;
        assert_eq!((whole.status, whole.whole, &whole.body), (200, true, &body), "{length}");
        assert_eq!(whole.header("etag"), stored.header("etag"));
        let head = send(&gateway, Request::new("HEAD", "/bucket/f")).await;
        assert_eq!(head.header("content-length"), length.to_string());
        for (range, from, to) in [
            ("bytes=0-0", 0, 1),
            ("bytes=5-", 5, length),
            ("bytes=-7", length.saturating_sub(7), length),
            ("bytes=100-99999999999", 100, length),
            ("bytes=65530-65550", 65530, 65551),
            ("bytes=1048570-1048590", 1_048_570, 1_048_591),
        ] {
            let part = send(&gateway, get("f").with("range", range)).await;
            if from >= length {
                assert_eq!((part.status, part.code().as_str()), (416, "InvalidRange"), "{length} {range}");
                assert_eq!(part.header("content-range"), format!("bytes */{length}"));
                continue;
            }
            let to = to.min(length);
            assert_eq!((part.status, &part.body[..]), (206, &body[from..to]), "{length} {range}");
            assert_eq!(part.header("content-range"), format!("bytes {from}-{}/{length}", to - 1));
        }
    }
}

#[tokio::test]
async fn a_small_read_and_a_small_write_are_one_call_each() {
    let gateway = TestGateway::with_bucket().await;
    put(&gateway, "warm", b"x").await;
    let calls = |names: &[&str]| names.iter().map(|name| gateway.masters.asked(name)).collect::<Vec<_>>();
    let names = ["CommitFile", "Write", "Bucket", "Stat", "Open"];
    let before = calls(&names);
    put(&gateway, "f", b"hello").await;
    let written = calls(&names);
    assert_eq!(written, [before[0] + 1, before[1], before[2], before[3], before[4]]);
    send(&gateway, get("f")).await;
    assert_eq!(calls(&names), [written[0], written[1], written[2], written[3], written[4] + 1]);
}

#[tokio::test]
async fn conditions_hold_on_reads_and_writes() {
    let gateway = TestGateway::with_bucket().await;
    let tag = put(&gateway, "f", b"hello").await.header("etag").to_owned();
    let status = async |request: Request| send(&gateway, request).await.status;
    let on = |name: &'static str, value: &str| get("f").with(name, value);
    assert_eq!(status(on("if-match", &tag)).await, 200);
    assert_eq!(status(on("if-match", "\"other\"")).await, 412);
    assert_eq!(status(on("if-none-match", "\"other\"")).await, 200);
    assert_eq!(status(on("if-modified-since", "Thu, 01 Jan 2015 00:00:00 GMT")).await, 200);
    assert_eq!(status(on("if-modified-since", "Thu, 01 Jan 2099 00:00:00 GMT")).await, 304);
    assert_eq!(status(on("if-unmodified-since", "Thu, 01 Jan 2015 00:00:00 GMT")).await, 412);
    let cached = send(&gateway, on("if-none-match", &tag)).await;
    assert_eq!((cached.status, cached.header("etag"), cached.body.len()), (304, tag.as_str(), 0));
    let head = Request::new("HEAD", "/bucket/f").with("if-none-match", &*tag);
    assert_eq!(status(head).await, 304);

    let write = |key: &str, name: &str, value: &str| {
        Request::new("PUT", &format!("/bucket/{key}")).with(name, value).body("new")
    };
    let code = async |request: Request| {
        let answer = send(&gateway, request).await;
        if answer.status == 200 { "ok".to_owned() } else { answer.code() }
    };
    assert_eq!(code(write("f", "if-none-match", "*")).await, "PreconditionFailed");
    assert_eq!(code(write("f", "if-match", "\"other\"")).await, "PreconditionFailed");
    assert_eq!(code(write("none", "if-match", "\"other\"")).await, "NoSuchKey");
    assert_eq!(gateway.stored("f").unwrap().length, 5);
    assert_eq!(gateway.stored("none"), None);
    assert_eq!(code(write("none", "if-none-match", "*")).await, "ok");
    assert_eq!(code(write("f", "if-match", &tag)).await, "ok");

    let delete = |name: &str, value: &str| Request::new("DELETE", "/bucket/f").with(name, value);
    assert_eq!(status(delete("if-match", &tag)).await, 412);
    assert_eq!(status(delete("x-amz-if-match-size", "5")).await, 412);
    assert_eq!(status(delete("x-amz-if-match-size", "3")).await, 204);
    assert_eq!(gateway.stored("f"), None);
    assert_eq!(status(Request::new("DELETE", "/bucket/f")).await, 204);
}

#[tokio::test]
async fn headers_and_metadata_come_back() {
    let gateway = TestGateway::with_bucket().await;
    let request = Request::new("PUT", "/bucket/f")
        .with("content-type", "text/x-odd; charset=klingon")
        .with("content-encoding", "gzip, aws-chunked")
        .with("content-language", "de")
        .with("content-disposition", "attachment; filename=\"a b\"")
        .with("cache-control", "no-store")
        .with("expires", "Thu, 01 Dec 2033 16:00:00 GMT")
        .with("x-amz-storage-class", "STANDARD")
        .with("x-amz-acl", "bucket-owner-full-control")
        .with("x-amz-meta-Colour", "blue ")
        .body("x");
    assert_eq!(send(&gateway, request).await.status, 200);
    for method in ["GET", "HEAD"] {
        let answer = send(&gateway, Request::new(method, "/bucket/f")).await;
        assert_eq!(answer.header("content-type"), "text/x-odd; charset=klingon");
        assert_eq!(answer.header("content-encoding"), "gzip");
        assert_eq!(answer.header("content-language"), "de");
        assert_eq!(answer.header("content-disposition"), "attachment; filename=\"a b\"");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("expires"), "Thu, 01 Dec 2033 16:00:00 GMT");
        assert_eq!(answer.header("x-amz-meta-colour"), "blue");
        let target = "/bucket/f?response-cache-control=max-age%3D1&response-content-type=a%2Fb";
        let answer = send(&gateway, Request::new(method, target)).await;
        assert_eq!((answer.header("cache-control"), answer.header("content-type")), ("max-age=1", "a/b"));
    }
    for (name, value, code) in [
        ("x-amz-server-side-encryption", "AES256", "NotImplemented"),
        ("x-amz-tagging", "a=b&a=c", "InvalidTag"),
        ("x-amz-acl", "public-read", "AccessControlListNotSupported"),
        ("x-amz-storage-class", "GLACIER", "InvalidStorageClass"),
        ("x-amz-object-lock-mode", "COMPLIANCE", "InvalidArgument"),
        ("x-amz-object-lock-legal-hold", "maybe", "InvalidArgument"),
        ("x-amz-write-offset-bytes", "1", "NotImplemented"),
        ("x-amz-meta-large", &"v".repeat(2048), "MetadataTooLarge"),
    ] {
        let request = Request::new("PUT", "/bucket/refused").with(name, value).body("x");
        assert_eq!(send(&gateway, request).await.code(), code, "{name}");
        assert_eq!(gateway.stored("refused"), None);
    }
}

#[tokio::test]
async fn damage_is_an_error_or_a_broken_connection_and_never_other_bytes() {
    let gateway = TestGateway::with_bucket().await;
    put(&gateway, "small", b"hello").await;
    gateway.masters.damage_inline("bucket", "small");
    let answer = send(&gateway, get("small")).await;
    assert_eq!((answer.status, answer.code().as_str()), (500, "InternalError"));
    assert!(answer.text().contains("small is damaged"), "{}", answer.text());

    let body = noise(6 << 20);
    put(&gateway, "large", &body).await;
    gateway.chunks.damage(&body[3 << 20..(3 << 20) + 100]);
    let answer = send(&gateway, get("large")).await;
    assert_eq!(answer.status, 200);
    assert!(!answer.whole, "an answer that looks complete");
    assert!(answer.body.len() < body.len() && body.starts_with(&answer.body), "other bytes than those stored");
    let before = send(&gateway, get("large").with("range", "bytes=0-1000000")).await;
    assert_eq!((before.status, before.whole), (206, true));
    let within = send(&gateway, get("large").with("range", "bytes=3145728-3145800")).await;
    assert_eq!((within.status, within.code().as_str()), (500, "InternalError"));
}

#[tokio::test]
async fn a_full_cluster_says_so_and_goes_on_reading_and_deleting() {
    let gateway = TestGateway::with_bucket().await;
    let body = noise(2 << 20);
    put(&gateway, "f", &body).await;
    gateway.chunks.full.store(true, Ordering::SeqCst);
    let refused = send(&gateway, Request::new("PUT", "/bucket/g").body(noise(1 << 20))).await;
    assert_eq!((refused.status, refused.code().as_str()), (507, "InsufficientStorage"));
    assert_eq!(gateway.stored("g"), None);
    assert_eq!(send(&gateway, get("f")).await.body, body);
    assert_eq!(send(&gateway, Request::new("DELETE", "/bucket/f")).await.status, 204);
}

#[tokio::test]
async fn copies_keep_or_replace_what_is_stored_with_an_object() {
    let gateway = TestGateway::with_bucket().await;
    let original = Request::new("PUT", "/bucket/a%20b")
        .with("content-type", "text/plain")
        .with("x-amz-meta-one", "1")
        .with("x-amz-checksum-crc32", "NhCmhg==")
        .body("hello");
    assert_eq!(send(&gateway, original).await.status, 200);
    let copy = |to: &str| Request::new("PUT", &format!("/bucket/{to}")).with("x-amz-copy-source", "bucket/a%20b");
    let answer = send(&gateway, copy("b")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.text().contains("<ChecksumCRC32>NhCmhg==</ChecksumCRC32>"), "{}", answer.text());
    let (from, to) = (gateway.stored("a b").unwrap(), gateway.stored("b").unwrap());
    assert_eq!((from.attributes, from.tags), (to.attributes, to.tags));

    let replace = copy("c").with("x-amz-metadata-directive", "REPLACE").with("x-amz-meta-two", "2");
    assert_eq!(send(&gateway, replace).await.status, 200);
    let replaced = gateway.stored("c").unwrap().attributes;
    assert_eq!((replaced.content_type, replaced.user.len(), replaced.user["two"].as_str()), (None, 1, "2"));
    assert!(replaced.checksums.contains_key("CRC32"), "the bytes are the same, and so is their checksum");

    assert_eq!(send(&gateway, copy("a%20b")).await.code(), "InvalidRequest");
    let touch = copy("a%20b").with("x-amz-metadata-directive", "REPLACE");
    assert_eq!(send(&gateway, touch).await.status, 200);
    let conditions = [
        ("x-amz-copy-source-if-match", "\"other\""),
        ("x-amz-copy-source-if-none-match", "\"5d41402abc4b2a76b9719d911017c592\""),
        ("x-amz-copy-source-if-modified-since", "Thu, 01 Jan 2099 00:00:00 GMT"),
        ("x-amz-copy-source-if-unmodified-since", "Thu, 01 Jan 2015 00:00:00 GMT"),
    ];
    for (name, value) in conditions {
        assert_eq!(send(&gateway, copy("d").with(name, value)).await.code(), "PreconditionFailed", "{name}");
    }
    assert_eq!(send(&gateway, copy("b").with("if-none-match", "*")).await.code(), "PreconditionFailed");
    assert_eq!(gateway.stored("d"), None);
    let missing = Request::new("PUT", "/bucket/d").with("x-amz-copy-source", "bucket/none");
    assert_eq!(send(&gateway, missing).await.code(), "NoSuchKey");
    let computed = copy("e").with("x-amz-checksum-algorithm", "SHA256");
    assert_eq!(send(&gateway, computed).await.status, 200);
    let checksums = gateway.stored("e").unwrap().attributes.checksums;
    assert_eq!(hex::encode(&checksums["SHA256"].value), sha256(b"hello"));
}

#[tokio::test]
async fn checksums_are_shown_to_those_who_ask() {
    let gateway = TestGateway::with_bucket().await;
    put(&gateway, "f", b"123456789").await;
    let plain = send(&gateway, get("f")).await;
    assert_eq!(plain.find("x-amz-checksum-crc64nvme"), None);
    let shown = send(&gateway, get("f").with("x-amz-checksum-mode", "ENABLED")).await;
    assert_eq!(shown.header("x-amz-checksum-crc64nvme"), "rosUhgp5mIg=");
    assert_eq!(shown.header("x-amz-checksum-type"), "FULL_OBJECT");
    // Of the whole object: on part of it a client would take it for that of the part.
    let part = send(&gateway, get("f").with("x-amz-checksum-mode", "ENABLED").with("range", "bytes=0-3")).await;
    assert_eq!(part.find("x-amz-checksum-crc64nvme"), None);
    let attributes =
        Request::new("GET", "/bucket/f?attributes=").with("x-amz-object-attributes", "ETag,Checksum,ObjectSize");
    let text = send(&gateway, attributes).await.text();
    assert!(text.contains("<ChecksumCRC64NVME>rosUhgp5mIg=</ChecksumCRC64NVME>"), "{text}");
    assert!(text.contains("<ObjectSize>9</ObjectSize>") && !text.contains("StorageClass"), "{text}");
}

#[tokio::test]
async fn tags_of_objects_and_buckets_are_kept_changed_and_copied() {
    let gateway = TestGateway::with_bucket().await;
    let put = Request::new("PUT", "/bucket/key").with("x-amz-tagging", "team=blue&a+b=c").body("x");
    let before = send(&gateway, put).await;
    assert_eq!(before.status, 200);
    let read = send(&gateway, Request::new("GET", "/bucket/key?tagging")).await.text();
    assert!(read.contains("<Tag><Key>a b</Key><Value>c</Value></Tag>"), "{read}");
    assert_eq!(send(&gateway, get("key")).await.header("x-amz-tagging-count"), "2");
    let document =
        |name: &str| format!("<Tagging><TagSet><Tag><Key>{name}</Key><Value>v</Value></Tag></TagSet></Tagging>");
    let change = Request::new("PUT", "/bucket/key?tagging").body(document("new"));
    assert_eq!(send(&gateway, change).await.status, 200);
    assert_eq!(send(&gateway, get("key")).await.header("etag"), before.header("etag"));
    let copy = |headers: &[(&'static str, &'static str)]| {
        let copy = Request::new("PUT", "/bucket/copy").with("x-amz-copy-source", "bucket/key");
        headers.iter().fold(copy, |copy, (name, value)| copy.with(name, *value))
    };
    let replaced = [("x-amz-metadata-directive", "REPLACE")];
    for headers in [&[][..], &replaced[..]] {
        assert_eq!(send(&gateway, copy(headers)).await.status, 200);
        let read = send(&gateway, Request::new("GET", "/bucket/copy?tagging")).await.text();
        assert!(read.contains("<Key>new</Key>"), "{read}");
    }
    let other = [("x-amz-tagging-directive", "REPLACE"), ("x-amz-tagging", "other=1")];
    assert_eq!(send(&gateway, copy(&other)).await.status, 200);
    assert_eq!(gateway.stored("copy").unwrap().attributes.tags["other"], "1");
    assert_eq!(send(&gateway, Request::new("DELETE", "/bucket/key?tagging")).await.status, 204);
    assert!(gateway.stored("key").unwrap().attributes.tags.is_empty());

    assert_eq!(send(&gateway, Request::new("GET", "/bucket?tagging")).await.code(), "NoSuchTagSet");
    assert_eq!(send(&gateway, Request::new("PUT", "/bucket?tagging").body(document("b"))).await.status, 200);
    assert!(send(&gateway, Request::new("GET", "/bucket?tagging")).await.text().contains("<Key>b</Key>"));
    let empty = Request::new("PUT", "/bucket?tagging").body(document(""));
    assert_eq!(send(&gateway, empty).await.code(), "InvalidTag");
    assert_eq!(send(&gateway, Request::new("DELETE", "/bucket?tagging")).await.status, 204);
    assert_eq!(send(&gateway, Request::new("GET", "/bucket?tagging")).await.code(), "NoSuchTagSet");
}
