//! The native API as curl and scripts use it.

use crate::support::http::{Answer, Request};
use crate::support::{ACCESS, SECRET, TestGateway, noise};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cairn_common::name::BucketName;
use cairn_common::seam::SystemClock;
use cairn_common::wire::command::{Grant, Rights};
use cairn_common::wire::master::MasterError;
use cairn_gateway::GatewayOptions;
use serde_json::{Value, json};
use std::sync::Arc;

fn request(method: &str, target: &str) -> Request {
    Request::new(method, target).with("authorization", basic(ACCESS, SECRET))
}

fn basic(access: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{access}:{secret}")))
}

async fn send(gateway: &TestGateway, request: Request) -> Answer {
    request.send(gateway.api).await
}

async fn put(gateway: &TestGateway, target: &str, body: &[u8]) -> Answer {
    send(gateway, request("PUT", target).body(body)).await
}

fn parse(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{error}: {}", answer.text()))
}

#[tokio::test]
async fn files_of_every_size_come_back_with_a_receipt() {
    let gateway = TestGateway::with_bucket().await;
    for length in [0, 1, 16 << 10, (16 << 10) + 1, (2 << 20) + 3] {
        let body = noise(length);
        let target = format!("/v1/objects/bucket/f-{length}");
        let made = put(&gateway, &target, &body).await;
        assert_eq!(made.status, 201, "{}", made.text());
        assert_eq!((made.header("x-replicas-durable"), made.header("location")), ("1", target.as_str()));
        assert!(made.header("etag").starts_with("\"b3-"));
        let read = send(&gateway, request("GET", &target)).await;
        assert_eq!((read.status, read.whole, &read.body), (200, true, &body));
        let head = send(&gateway, request("HEAD", &target)).await;
        for name in ["etag", "content-length", "last-modified", "x-commit", "content-type", "accept-ranges"] {
            assert_eq!(read.header(name), head.header(name), "{name}");
        }
        assert_eq!((read.header("etag"), read.header("x-commit")), (made.header("etag"), made.header("x-commit")));
        assert_eq!(put(&gateway, &target, &body).await.status, 200, "replaced");
    }
}

#[tokio::test]
async fn a_body_of_unknown_length_is_taken_to_its_end_and_no_further() {
    let gateway = TestGateway::with_bucket().await;
    let chunked = |body: &str| request("PUT", "/v1/objects/bucket/key").with("transfer-encoding", "chunked").body(body);
    assert_eq!(send(&gateway, chunked("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n")).await.status, 201);
    assert_eq!(send(&gateway, request("GET", "/v1/objects/bucket/key")).await.text(), "hello world");
    assert_eq!(send(&gateway, request("DELETE", "/v1/objects/bucket/key")).await.status, 204);
    let mut stream = tokio::net::TcpStream::connect(gateway.api).await.unwrap();
    let cut = chunked("5\r\nhello\r\n6\r\n wor");
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    stream.write_all(cut.head(gateway.api).as_bytes()).await.unwrap();
    stream.write_all(&cut.body).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert_eq!(gateway.stored("key"), None);
}

#[tokio::test]
async fn keys_are_literal_in_path_and_query() {
    let gateway = TestGateway::with_bucket().await;
    for (target, key) in [
        ("/v1/objects/bucket/a/../b", "a/../b"),
        ("/v1/objects/bucket//x//", "/x//"),
        ("/v1/objects/bucket/%2e%2E/%2F", "..//"),
        ("/v1/objects/bucket?key=..%2Fb", "../b"),
    ] {
        let made = put(&gateway, target, key.as_bytes()).await;
        assert_eq!(made.status, 201, "{target}");
        assert!(gateway.stored(key).is_some(), "{key}");
        let again = send(&gateway, request("GET", made.header("location"))).await;
        assert_eq!(again.text(), key);
    }
}

#[tokio::test]
async fn a_digest_must_be_that_of_the_body() {
    let gateway = TestGateway::with_bucket().await;
    let target = "/v1/objects/bucket/key";
    let digest = "sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:";
    for body in [b"hellp".to_vec(), noise(1 << 20)] {
        let wrong = request("PUT", target).with("repr-digest", digest).body(body);
        assert_eq!(send(&gateway, wrong).await.problem(), "digest-mismatch");
        assert_eq!(gateway.stored("key"), None);
    }
    let md5 = request("PUT", target).with("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==").body("hello");
    assert_eq!(send(&gateway, md5).await.problem(), "digest-mismatch");
    let right = request("PUT", target).with("repr-digest", digest).body("hello");
    assert_eq!(send(&gateway, right).await.header("repr-digest"), digest);
    assert_eq!(send(&gateway, request("GET", target)).await.header("repr-digest"), digest);
}

#[tokio::test]
async fn conditions_and_ranges_are_those_of_rfc_9110() {
    let gateway = TestGateway::with_bucket().await;
    let target = "/v1/objects/bucket/key";
    let tag = put(&gateway, target, b"0123456789").await.header("etag").to_owned();
    let get = |name: &str, value: &str| request("GET", target).with(name, value);
    let status = async |request: Request| send(&gateway, request).await.status;
    assert_eq!(status(get("if-none-match", &tag)).await, 304);
    assert_eq!(status(get("if-none-match", &format!("\"x\", W/{tag}"))).await, 304);
    assert_eq!(status(get("if-match", &format!("\"x\", {tag}"))).await, 200);
    assert_eq!(status(get("if-match", &format!("W/{tag}"))).await, 412);
    assert_eq!(status(get("if-match", "unquoted")).await, 400);

    let part = send(&gateway, get("range", "bytes=2-4")).await;
    assert_eq!((part.status, part.text().as_str(), part.header("content-range")), (206, "234", "bytes 2-4/10"));
    let several = send(&gateway, get("range", "bytes=0-1,3-4")).await;
    assert_eq!((several.status, several.body.len()), (200, 10));
    let behind = send(&gateway, get("range", "bytes=10-")).await;
    assert_eq!((behind.problem().as_str(), behind.header("content-range")), ("range-not-satisfiable", "bytes */10"));
    for (range, if_range, status, length) in [
        ("bytes=2-4", tag.as_str(), 206, 3),
        ("bytes=2-4", "\"other\"", 200, 10),
        ("bytes=99-", "\"other\"", 200, 10),
        ("bytes=2-4", "Thu, 01 Jan 2015 00:00:00 GMT", 200, 10),
    ] {
        let answer = send(&gateway, get("range", range).with("if-range", if_range)).await;
        assert_eq!((answer.status, answer.body.len()), (status, length), "{range} {if_range}");
    }
    assert_eq!(status(get("range", "bytes=99-").with("if-range", &*tag)).await, 416);

    let write = |name: &str, value: &str| request("PUT", target).with(name, value).body("new");
    assert_eq!(send(&gateway, write("if-none-match", "*")).await.problem(), "precondition-failed");
    assert_eq!(send(&gateway, write("if-match", "\"x\"")).await.problem(), "precondition-failed");
    assert_eq!(send(&gateway, write("content-range", "bytes 0-2/10")).await.status, 400);
    assert_eq!(gateway.stored("key").unwrap().length, 10);
    assert_eq!(status(write("if-match", &tag)).await, 200);
    let delete = |name: &str, value: &str| request("DELETE", target).with(name, value);
    assert_eq!(status(delete("if-match", &tag)).await, 412);
    assert_eq!(status(request("DELETE", target)).await, 204);
    assert_eq!(status(request("DELETE", target)).await, 204);
    assert_eq!(send(&gateway, request("DELETE", "/v1/objects/bucket/key?strict")).await.problem(), "no-such-file");
}

#[tokio::test]
async fn what_will_be_refused_is_not_asked_for() {
    let gateway = TestGateway::with_bucket().await;
    put(&gateway, "/v1/objects/bucket/there", b"x").await;
    let expecting =
        |target: &str| request("PUT", target).with("expect", "100-continue").with("content-length", "1000000");
    let cases = [
        (
            Request::new("PUT", "/v1/objects/bucket/key").with("expect", "100-continue").with("content-length", "9"),
            "unauthorized",
        ),
        (expecting("/v1/objects/none/key"), "no-such-bucket"),
        (expecting("/v1/objects/none/key").with("if-match", "\"x\""), "no-such-bucket"),
        (expecting("/v1/objects/bucket/there").with("if-none-match", "*"), "precondition-failed"),
        (expecting("/v1/objects/bucket/key?typo"), "bad-request"),
        (expecting("/v1/objects/bucket/key").with("x-meta-a", "v".repeat(3000)), "metadata-too-large"),
    ];
    for (request, problem) in cases {
        // None of them sends its body, and all of them get an answer.
        assert_eq!(send(&gateway, request).await.problem(), problem);
    }
}

#[tokio::test]
async fn only_keys_with_their_secret_come_in() {
    let gateway = TestGateway::with_bucket().await;
    gateway.masters.add_key(
        "AKREAD",
        "s.e:c",
        false,
        vec![Grant {
            bucket: Some(BucketName::new("bucket").unwrap()),
            prefix: "open".to_owned(),
            rights: Rights { read: true, ..Rights::default() },
        }],
    );
    put(&gateway, "/v1/objects/bucket/open/a", b"x").await;
    let get =
        |authorization: &str| Request::new("GET", "/v1/objects/bucket/open/a").with("authorization", authorization);
    assert_eq!(send(&gateway, get("Bearer AKREAD.s.e:c")).await.text(), "x");
    assert_eq!(send(&gateway, get(&basic("AKREAD", "s.e:c"))).await.text(), "x");
    for bad in
        ["Bearer AKREAD.s.e", &basic("AKREAD", "s.e"), &basic("AKNONE", "s"), "Basic x", "Bearer AKREAD.", "Digest a"]
    {
        let answer = send(&gateway, get(bad)).await;
        assert_eq!(answer.problem(), "unauthorized", "{bad}");
        assert!(answer.header("www-authenticate").contains("Basic"));
    }
    for (method, target) in [
        ("PUT", "/v1/objects/bucket/open/a"),
        ("GET", "/v1/objects/bucket/opened"),
        ("GET", "/v1/objects/none/open"),
        ("DELETE", "/v1/objects/bucket/open/a"),
        ("GET", "/v1/objects/bucket?list&prefix=open/"),
        ("PUT", "/v1/buckets/more"),
        ("DELETE", "/v1/buckets/bucket"),
        ("GET", "/v1/status"),
        ("GET", "/metrics"),
    ] {
        let request = Request::new(method, target).with("authorization", basic("AKREAD", "s.e:c"));
        assert_eq!(send(&gateway, request).await.problem(), "forbidden", "{method} {target}");
    }
    let copy = Request::new("POST", "/v1/objects/bucket/b?copy").with("authorization", basic("AKREAD", "s.e:c"));
    assert_eq!(send(&gateway, copy.body("{\"from\":\"bucket/open/a\"}")).await.problem(), "forbidden");
    assert_eq!(send(&gateway, Request::new("GET", "/v1/nothing")).await.problem(), "unauthorized");
}

#[tokio::test]
async fn listings_come_in_pages_and_as_lines() {
    let gateway = TestGateway::with_bucket().await;
    for key in ["a", "b/1", "b/2", "c d", "e/1", "f"] {
        put(&gateway, &format!("/v1/objects/bucket?key={}", key.replace(' ', "%20")), b"x").await;
    }
    let mut names = Vec::new();
    let mut target = "/v1/objects/bucket?list&delimiter=/&limit=2".to_owned();
    loop {
        let answer = send(&gateway, request("GET", &target)).await;
        let page = parse(&answer);
        let (files, prefixes) = (page["files"].as_array().unwrap(), page["prefixes"].as_array().unwrap());
        assert!(files.len() + prefixes.len() <= 2);
        names.extend(files.iter().map(|file| file["key"].as_str().unwrap().to_owned()));
        names.extend(prefixes.iter().map(|prefix| prefix.as_str().unwrap().to_owned()));
        let Some(link) = answer.find("link") else { break };
        target = link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap().to_owned();
        assert!(target.ends_with(page["cursor"].as_str().unwrap()));
    }
    names.sort();
    assert_eq!(names, ["a", "b/", "c d", "e/", "f"]);

    let lines = request("GET", "/v1/objects/bucket?list").with("accept", "application/x-ndjson");
    let answer = send(&gateway, lines).await;
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    let lines: Vec<Value> = answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 7);
    assert_eq!((&lines[3]["key"], &lines[3]["size"], &lines[6]), (&json!("c d"), &json!(1), &json!({"type": "end"})));
    for bad in ["limit=0", "limit=x", "cursor=*", "prefx=a"] {
        let answer = send(&gateway, request("GET", &format!("/v1/objects/bucket?list&{bad}"))).await;
        assert_eq!(answer.problem(), "bad-request", "{bad}");
    }
    assert_eq!(send(&gateway, request("GET", "/v1/objects/none?list")).await.problem(), "no-such-bucket");
}

#[tokio::test]
async fn long_listings_are_streamed_page_by_page() {
    let gateway = TestGateway::with_bucket().await;
    for number in 0..2500 {
        let path = cairn_common::name::FilePath::new("bucket", format!("k{number:05}")).unwrap();
        gateway.client.put(&path, &b"x"[..], Default::default()).await.unwrap();
    }
    let lines = request("GET", "/v1/objects/bucket?list").with("accept", "application/x-ndjson");
    let answer = send(&gateway, lines).await;
    assert!(answer.whole);
    assert_eq!(answer.text().lines().count(), 2501);
    assert_eq!(gateway.masters.asked("List"), 3);
}

#[tokio::test]
async fn copies_and_moves_touch_no_bytes() {
    let gateway = TestGateway::with_bucket().await;
    let body = noise(1 << 20);
    let tag = put(&gateway, "/v1/objects/bucket/a%20b", &body).await.header("etag").to_owned();
    let chunks = gateway.chunks.count();
    let post = |target: &str, order: Value| request("POST", target).body(order.to_string());
    let copied = send(&gateway, post("/v1/objects/bucket/c?copy", json!({"from": "bucket/a b"}))).await;
    assert_eq!((copied.status, copied.header("etag")), (201, tag.as_str()));
    let moved = send(&gateway, post("/v1/objects/bucket/d?move", json!({"from": "bucket/c"}))).await;
    assert_eq!((moved.status, moved.header("location")), (201, "/v1/objects/bucket/d"));
    assert_eq!(send(&gateway, request("GET", "/v1/objects/bucket/d")).await.body, body);
    assert_eq!(gateway.stored("c"), None);
    assert_eq!(gateway.chunks.count(), chunks);

    gateway.masters.make_bucket("other");
    for (target, order, problem) in [
        ("/v1/objects/bucket/x?copy", json!({"from": "bucket/none"}), "no-such-file"),
        ("/v1/objects/bucket/x?copy", json!({"from": "bucket"}), "bad-request"),
        ("/v1/objects/bucket/x?copy", json!({"from": "bucket/d", "more": 1}), "bad-request"),
        ("/v1/objects/bucket/x?copy", json!({}), "bad-request"),
        ("/v1/objects/bucket/x?copy", json!({"from": "bucket/d", "if_match": "other"}), "precondition-failed"),
        ("/v1/objects/other/x?move", json!({"from": "bucket/d"}), "bad-request"),
        ("/v1/objects/none/x?copy", json!({"from": "bucket/d"}), "no-such-bucket"),
    ] {
        assert_eq!(send(&gateway, post(target, order)).await.problem(), problem, "{target}");
    }
    assert_eq!(send(&gateway, request("POST", "/v1/objects/bucket/x?copy")).await.problem(), "bad-request");
    let large = request("POST", "/v1/objects/bucket/x?copy").body(" ".repeat(70_000));
    assert_eq!(send(&gateway, large).await.problem(), "too-large");
    let unless = post("/v1/objects/bucket/d?copy", json!({"from": "bucket/a b"})).with("if-none-match", "*");
    assert_eq!(send(&gateway, unless).await.problem(), "precondition-failed");
    assert_eq!(gateway.stored("x"), None);
}

#[tokio::test]
async fn buckets_are_made_once_and_removed_empty() {
    let gateway = TestGateway::start().await;
    let send = async |method: &str, target: &str, body: &str| send(&gateway, request(method, target).body(body)).await;
    let made = send("PUT", "/v1/buckets/one", "").await;
    assert_eq!((made.status, &parse(&made)["name"]), (201, &json!("one")));
    assert_eq!(send("PUT", "/v1/buckets/one", "{}").await.status, 200);
    assert_eq!(send("PUT", "/v1/buckets/one", "{\"replicas\": 3}").await.problem(), "bucket-exists");
    assert_eq!(send("PUT", "/v1/buckets/two", "{\"replica\": 3}").await.problem(), "bad-request");
    assert_eq!(send("PUT", "/v1/buckets/ONE", "").await.problem(), "bad-request");
    put(&gateway, "/v1/objects/one/a", b"hello").await;
    let info = parse(&send("GET", "/v1/buckets/one", "").await);
    assert_eq!((&info["files"], &info["bytes"]), (&json!(1), &json!(5)));
    assert_eq!(parse(&send("GET", "/v1/buckets", "").await)["buckets"].as_array().unwrap().len(), 1);
    assert_eq!(send("DELETE", "/v1/buckets/one", "").await.problem(), "bucket-not-empty");
    assert_eq!(send("DELETE", "/v1/objects/one/a", "").await.status, 204);
    assert_eq!(send("DELETE", "/v1/buckets/one", "").await.status, 204);
    assert_eq!(send("GET", "/v1/buckets/one", "").await.problem(), "no-such-bucket");
    let posted = send("POST", "/v1/buckets/one", "").await;
    assert_eq!((posted.problem().as_str(), posted.header("allow")), ("method-not-allowed", "GET, PUT, PATCH, DELETE"));
}

#[tokio::test]
async fn headers_come_back_and_users_pages_do_not_run_here() {
    let gateway = TestGateway::with_bucket().await;
    let page = request("PUT", "/v1/objects/bucket/page.html")
        .with("content-type", "text/html")
        .with("x-meta-author", "Zoë")
        .with("cache-control", "no-cache")
        .body("<script>alert(1)</script>");
    assert_eq!(send(&gateway, page).await.status, 201);
    let answer = send(&gateway, request("GET", "/v1/objects/bucket/page.html")).await;
    assert_eq!((answer.header("content-type"), answer.header("cache-control")), ("text/html", "no-cache"));
    assert_eq!(gateway.stored("page.html").unwrap().attributes.user["author"], "Zoë");
    assert!(answer.header("content-security-policy").contains("sandbox"));
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
}

#[tokio::test]
async fn damage_and_trouble_are_told_in_words() {
    let gateway = TestGateway::with_bucket().await;
    let body = noise(4 << 20);
    put(&gateway, "/v1/objects/bucket/large", &body).await;
    gateway.chunks.damage(&body[2 << 20..(2 << 20) + 100]);
    let cut = send(&gateway, request("GET", "/v1/objects/bucket/large")).await;
    assert!(cut.status == 200 && !cut.whole && body.starts_with(&cut.body));
    let range = request("GET", "/v1/objects/bucket/large").with("range", "bytes=2097152-2097160");
    assert_eq!(send(&gateway, range).await.problem(), "file-damaged");
    gateway.masters.fail_with(Some(MasterError::Bug("inner detail".to_owned())));
    let bug = send(&gateway, request("GET", "/v1/objects/bucket/large")).await;
    assert_eq!(bug.problem(), "internal");
    assert!(!bug.text().contains("inner detail"));
}

#[tokio::test]
async fn health_is_open_and_figures_are_not() {
    let options = GatewayOptions { metrics: Some(Arc::new(|| "figures 1\n".to_owned())), ..GatewayOptions::default() };
    let health = options.health.clone();
    let gateway = TestGateway::with(options, Arc::new(SystemClock::new())).await;
    let open = async |target: &str| send(&gateway, Request::new("GET", target)).await.status;
    assert_eq!((open("/healthz").await, open("/readyz").await), (200, 503));
    health.set_ready(true);
    assert_eq!(open("/readyz").await, 200);
    assert_eq!((open("/metrics").await, open("/v1/status").await), (401, 401));
    assert_eq!(send(&gateway, request("GET", "/metrics")).await.text(), "figures 1\n");
    let status = parse(&send(&gateway, request("GET", "/v1/status")).await);
    assert_eq!((&status["leader"], &status["nodes"][0]["state"]), (&json!("node-1"), &json!("live")));
}

#[tokio::test]
async fn files_are_the_same_over_s3() {
    use crate::support::sign::{Signer, sha256};
    let gateway = TestGateway::with_bucket().await;
    let body = noise(1 << 20);
    put(&gateway, "/v1/objects/bucket/a/b", &body).await;
    let read = Signer::default().sign(Request::new("GET", "/bucket/a/b"), gateway.s3, &sha256(b""));
    let answer = read.send(gateway.s3).await;
    assert_eq!(answer.body, body);
    assert!(answer.header("etag").ends_with("-1\""), "not taken for an MD5");
    let write = Request::new("PUT", "/bucket/c").with("x-amz-meta-k", "v").body("hello");
    let write = Signer::default().sign(write, gateway.s3, &sha256(b"hello"));
    assert_eq!(write.send(gateway.s3).await.status, 200);
    let answer = send(&gateway, request("GET", "/v1/objects/bucket/c")).await;
    assert_eq!((answer.text().as_str(), answer.header("x-meta-k")), ("hello", "v"));
    let by_s3_tag =
        request("GET", "/v1/objects/bucket/c").with("if-none-match", "\"5d41402abc4b2a76b9719d911017c592\"");
    assert_eq!(send(&gateway, by_s3_tag).await.status, 304);
}

#[tokio::test]
async fn strangers_read_what_a_bucket_shows_to_everybody_and_nothing_else() {
    let gateway = TestGateway::with_bucket().await;
    for key in ["web/index.html", "webs", "private"] {
        put(&gateway, &format!("/v1/objects/bucket/{key}"), b"x").await;
    }
    let stranger = async |method: &str, target: &str| Request::new(method, target).send(gateway.api).await;
    assert_eq!(stranger("GET", "/v1/objects/bucket/web/index.html").await.problem(), "unauthorized");
    let change = request("PATCH", "/v1/buckets/bucket").body("{\"public\": [\"web\"]}");
    assert_eq!(parse(&send(&gateway, change).await)["public"][0], "web");
    assert_eq!(stranger("GET", "/v1/objects/bucket/web/index.html").await.text(), "x");
    assert_eq!(stranger("HEAD", "/v1/objects/bucket?key=web/index.html").await.status, 200);
    let over_s3 = async |method: &str, target: &str| Request::new(method, target).send(gateway.s3).await;
    assert_eq!(over_s3("GET", "/bucket/web/index.html").await.text(), "x");
    assert_eq!(over_s3("HEAD", "/bucket/web/index.html").await.status, 200);
    for (method, target) in [
        ("GET", "/v1/objects/bucket/webs"),
        ("GET", "/v1/objects/bucket/private"),
        ("GET", "/v1/objects/bucket/web-missing"),
        ("GET", "/v1/objects/none/web"),
        ("GET", "/v1/objects/bucket/web/index.html?where"),
        ("GET", "/v1/objects/bucket?list&prefix=web/"),
        ("PUT", "/v1/objects/bucket/web/index.html"),
        ("DELETE", "/v1/objects/bucket/web/index.html"),
        ("POST", "/v1/objects/bucket/web/a?copy"),
        ("GET", "/v1/buckets"),
        ("GET", "/v1/buckets/bucket"),
        ("PATCH", "/v1/buckets/bucket"),
        ("DELETE", "/v1/buckets/bucket"),
        ("GET", "/v1/status"),
        ("GET", "/metrics"),
    ] {
        assert_eq!(stranger(method, target).await.status, 401, "{method} {target}");
    }
    for (method, target) in [
        ("GET", "/bucket/webs"),
        ("GET", "/bucket/private"),
        ("GET", "/none/web"),
        ("GET", "/bucket?prefix=web"),
        ("GET", "/bucket/web/index.html?acl"),
        ("GET", "/bucket/web/index.html?tagging"),
        ("PUT", "/bucket/web/index.html"),
        ("DELETE", "/bucket/web/index.html"),
        ("GET", "/"),
    ] {
        assert_eq!(over_s3(method, target).await.status, 403, "{method} {target}");
    }
    assert_eq!(gateway.stored("web/index.html").unwrap().length, 1);
}

#[tokio::test]
async fn a_bucket_is_configured_member_by_member() {
    let gateway = TestGateway::with_bucket().await;
    let patch = async |body: &str| {
        let request = request("PATCH", "/v1/buckets/bucket").body(body);
        parse(&send(&gateway, request).await)
    };
    assert_eq!(patch("{\"quota_bytes\": 100, \"tags\": {\"team\": \"blue\"}}").await["quota_bytes"], 100);
    let both = patch("{\"quota_files\": 5}").await;
    assert_eq!((both["quota_bytes"].as_u64(), both["quota_files"].as_u64()), (Some(100), Some(5)));
    assert_eq!(both["tags"]["team"], "blue");
    assert!(patch("{\"quota_bytes\": null}").await["quota_bytes"].is_null());
    assert_eq!(patch("{\"quota\": 5}").await["status"], 400);
    let long = format!("{{\"public\": [\"{}\"]}}", "x".repeat(1025));
    assert_eq!(patch(&long).await["status"], 400);
}
