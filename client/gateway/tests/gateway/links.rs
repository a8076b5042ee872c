//! Links to files, and the digests and ranges that clients ask for.

use crate::support::http::{Answer, Request};
use crate::support::time::ManualClock;
use crate::support::{ACCESS, SECRET, TestGateway, noise};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cairn_common::seam::Clock;
use cairn_gateway::GatewayOptions;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const FILE: &str = "/v1/objects/bucket/a%20key";

fn request(method: &str, target: &str) -> Request {
    let basic = format!("Basic {}", STANDARD.encode(format!("{ACCESS}:{SECRET}")));
    Request::new(method, target).with("authorization", basic)
}

async fn send(gateway: &TestGateway, request: Request) -> Answer {
    request.send(gateway.api).await
}

async fn presign(gateway: &TestGateway, order: Value) -> String {
    let made = send(gateway, request("POST", "/v1/presign").body(order.to_string())).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let made: Value = serde_json::from_slice(&made.body).unwrap();
    made["path"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_link_reads_one_file_until_its_time_is_over() {
    let clock = ManualClock::new();
    let gateway = TestGateway::with(GatewayOptions::default(), Arc::clone(&clock) as Arc<dyn Clock>).await;
    gateway.masters.make_bucket("bucket");
    send(&gateway, request("PUT", FILE).body("hello")).await;
    let link = presign(&gateway, json!({"method": "GET", "file": "bucket/a key", "expires_s": 60})).await;
    let get = |target: &str| Request::new("GET", target);
    assert_eq!(send(&gateway, get(&link)).await.text(), "hello");
    assert_eq!(send(&gateway, get(&link).with("range", "bytes=1-2")).await.text(), "el");
    assert_eq!(send(&gateway, Request::new("HEAD", &link)).await.status, 200);
    let mut signature = link.clone();
    let last = signature.pop().unwrap();
    signature.push(if last == '0' { '1' } else { '0' });
    for other in [
        signature,
        link.replace("a%20key", "other"),
        link.replace("x-key=AKROOT", "x-key=AKOTHER"),
        link.replacen("x-expires=", "x-expires=9", 1),
        format!("{link}&where"),
        format!("{link}&x-max-bytes=9"),
        link[..link.find("&x-signature").unwrap()].to_owned() + "&x-signature=",
    ] {
        assert_eq!(send(&gateway, get(&other)).await.status, 401, "{other}");
    }
    for method in ["PUT", "DELETE", "POST"] {
        assert_eq!(send(&gateway, Request::new(method, &link).body("x")).await.status, 401, "{method}");
    }
    assert_eq!(send(&gateway, request("GET", &link)).await.status, 401, "two ways of saying who asks");
    clock.advance(Duration::from_secs(61));
    assert_eq!(send(&gateway, get(&link)).await.status, 401);
    assert_eq!(send(&gateway, request("GET", FILE)).await.text(), "hello");
}

#[tokio::test]
async fn a_link_stores_one_file_and_nothing_beside_it() {
    let gateway = TestGateway::with_bucket().await;
    let order = json!({"method": "PUT", "file": "bucket/a key", "max_bytes": 5});
    let link = presign(&gateway, order).await;
    let put = |body: &str| Request::new("PUT", &link).body(body);
    assert_eq!(send(&gateway, put("hello!")).await.status, 413);
    let chunked = put("5\r\nhello\r\n0\r\n\r\n").with("transfer-encoding", "chunked");
    assert_eq!(send(&gateway, chunked).await.status, 411);
    assert_eq!(send(&gateway, put("hello").with("x-meta-a", "b")).await.status, 400);
    assert_eq!(gateway.stored("a key"), None);
    assert_eq!(send(&gateway, put("hello")).await.status, 201);
    assert_eq!(send(&gateway, put("HELLO").with("if-none-match", "*")).await.status, 412);
    assert_eq!(send(&gateway, Request::new("GET", &link)).await.status, 401);
    assert_eq!(send(&gateway, request("GET", FILE)).await.text(), "hello");
}

#[tokio::test]
async fn links_that_cannot_be_are_not_made() {
    let gateway = TestGateway::with_bucket().await;
    for order in [
        json!({"method": "DELETE", "file": "bucket/key"}),
        json!({"method": "GET", "file": "bucket"}),
        json!({"method": "GET", "file": "bucket/key", "expires_s": 0}),
        json!({"method": "GET", "file": "bucket/key", "expires_s": 604_801}),
        json!({"method": "GET", "file": "bucket/key", "max_bytes": 1}),
        json!({"method": "GET", "file": "bucket/key", "other": 1}),
    ] {
        let asked = request("POST", "/v1/presign").body(order.to_string());
        assert_eq!(send(&gateway, asked).await.problem(), "bad-request", "{order}");
    }
    let nobody = Request::new("POST", "/v1/presign").body(json!({"method": "GET", "file": "bucket/key"}).to_string());
    assert_eq!(send(&gateway, nobody).await.status, 401);
}

#[tokio::test]
async fn a_link_allows_no_more_than_its_key() {
    let gateway = TestGateway::with_bucket().await;
    gateway.masters.add_key("AKNONE", SECRET, false, Vec::new());
    send(&gateway, request("PUT", FILE).body("hello")).await;
    for (method, file) in [("GET", "bucket/a key"), ("PUT", "bucket/new")] {
        let basic = format!("Basic {}", STANDARD.encode(format!("AKNONE:{SECRET}")));
        let order = json!({"method": method, "file": file}).to_string();
        let made = send(&gateway, Request::new("POST", "/v1/presign").with("authorization", basic).body(order)).await;
        let made: Value = serde_json::from_slice(&made.body).unwrap();
        let link = made["path"].as_str().unwrap();
        assert_eq!(send(&gateway, Request::new(method, link)).await.status, 403, "{method}");
    }
    assert_eq!(gateway.stored("new"), None);
}

#[tokio::test]
async fn digests_are_computed_for_those_who_want_them() {
    let gateway = TestGateway::with_bucket().await;
    let hello = "sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:";
    let put = request("PUT", FILE).body("hello");
    assert_eq!(send(&gateway, put.clone()).await.find("repr-digest"), None);
    let get = request("GET", FILE);
    assert_eq!(send(&gateway, get.clone()).await.find("repr-digest"), None);
    let wanted = send(&gateway, get.clone().with("want-repr-digest", "sha-256=5")).await;
    assert_eq!(wanted.header("repr-digest"), hello);
    let part = get.with("range", "bytes=1-1").with("want-content-digest", "sha-256=1");
    let part = send(&gateway, part).await;
    assert_eq!(part.header("content-digest"), "sha-256=:P3m7e0NbBTIWUdrv03TNxoHcBvqmXjdOODN7iMoEbeo=:");
    assert_eq!(send(&gateway, put.with("want-repr-digest", "sha-256=1")).await.header("repr-digest"), hello);
    // Of a large file, it is known once it was wanted.
    let large = request("PUT", FILE).body(noise(3 << 20)).with("want-repr-digest", "sha-256=1");
    let digest = send(&gateway, large).await.header("repr-digest").to_owned();
    assert_eq!(send(&gateway, request("GET", FILE)).await.header("repr-digest"), digest);
}

#[tokio::test]
async fn ranges_are_for_get_alone() {
    let gateway = TestGateway::with_bucket().await;
    send(&gateway, request("PUT", FILE).body("0123456789")).await;
    for range in ["bytes=2-4", "bytes=99-"] {
        let head = send(&gateway, request("HEAD", FILE).with("range", range)).await;
        assert_eq!((head.status, head.header("content-length")), (200, "10"), "{range}");
    }
}

#[tokio::test]
async fn the_api_describes_itself_to_those_who_have_a_key() {
    let gateway = TestGateway::with_bucket().await;
    let answer = send(&gateway, request("GET", "/v1/openapi.json")).await;
    let document: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((answer.status, document["openapi"].as_str()), (200, Some("3.1.0")));
    assert_eq!(send(&gateway, Request::new("GET", "/v1/openapi.json")).await.status, 401);
}
