//! Who may do what over S3, and what is refused at the door.

use crate::support::http::Request;
use crate::support::sign::{Signer, sha256, time};
use crate::support::{ACCESS, TestGateway};
use cairn_common::name::BucketName;
use cairn_common::seam::SystemClock;
use cairn_common::wire::command::{Grant, Rights};
use cairn_common::wire::master::MasterError;
use cairn_gateway::GatewayOptions;
use std::sync::Arc;

const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn get(target: &str) -> Request {
    Request::new("GET", target)
}

#[tokio::test]
async fn every_kind_of_wrong_signature_is_refused() {
    let gateway = TestGateway::with_bucket().await;
    let code = async |signer: Signer| signer.sign(get("/bucket"), gateway.s3, EMPTY).send(gateway.s3).await.code();
    let right = Signer::default();
    assert_eq!(right.sign(get("/bucket"), gateway.s3, EMPTY).send(gateway.s3).await.status, 200);
    assert_eq!(code(Signer { secret: "wrong".to_owned(), ..Signer::default() }).await, "SignatureDoesNotMatch");
    assert_eq!(code(Signer { access: "AKNOBODY".to_owned(), ..Signer::default() }).await, "InvalidAccessKeyId");
    assert_eq!(
        code(Signer { region: "eu-west-1".to_owned(), ..Signer::default() }).await,
        "AuthorizationHeaderMalformed"
    );
    assert_eq!(code(Signer { time: time(-901), ..Signer::default() }).await, "RequestTimeTooSkewed");
    assert_eq!(code(Signer { time: time(905), ..Signer::default() }).await, "RequestTimeTooSkewed");
    assert_eq!(get("/bucket").send(gateway.s3).await.code(), "AccessDenied");
    // A signature of one request is none of another.
    let mut replayed = right.sign(get("/bucket"), gateway.s3, EMPTY);
    replayed.method = "DELETE".to_owned();
    assert_eq!(replayed.send(gateway.s3).await.code(), "SignatureDoesNotMatch");
    let mut moved = right.sign(get("/bucket"), gateway.s3, EMPTY);
    moved.target = "/other".to_owned();
    assert_eq!(moved.send(gateway.s3).await.code(), "SignatureDoesNotMatch");
    // A header that was added afterwards.
    let added = right.sign(get("/bucket"), gateway.s3, EMPTY).with("x-amz-acl", "private");
    assert_eq!(added.send(gateway.s3).await.code(), "AccessDenied");
}

#[tokio::test]
async fn presigned_urls_are_good_for_their_time_and_request_only() {
    let gateway = TestGateway::with_bucket().await;
    let put = Signer::default().presign("PUT", "/bucket/key", gateway.s3, 60).body("hello");
    assert_eq!(put.send(gateway.s3).await.status, 200);
    let read = Signer::default().presign("GET", "/bucket/key", gateway.s3, 60);
    assert_eq!(read.send(gateway.s3).await.text(), "hello");
    let overriding = "/bucket/key?response-content-type=text%2Fplain";
    let overridden = Signer::default().presign("GET", overriding, gateway.s3, 60).send(gateway.s3).await;
    assert_eq!(overridden.header("content-type"), "text/plain");

    let expired = Signer { time: time(-100), ..Signer::default() }.presign("GET", "/bucket/key", gateway.s3, 60);
    assert_eq!(expired.send(gateway.s3).await.code(), "AccessDenied");
    for seconds in [0, -1, 604_801] {
        let bad = Signer::default().presign("GET", "/bucket/key", gateway.s3, seconds);
        assert_eq!(bad.send(gateway.s3).await.code(), "AuthorizationQueryParametersError");
    }
    let mut other_method = read.clone();
    other_method.method = "DELETE".to_owned();
    assert_eq!(other_method.send(gateway.s3).await.code(), "SignatureDoesNotMatch");
    let mut extended = read.clone();
    extended.target = extended.target.replace("X-Amz-Expires=60", "X-Amz-Expires=6000");
    assert_eq!(extended.send(gateway.s3).await.code(), "SignatureDoesNotMatch");
    let mut widened = read.clone();
    widened.target.push_str("&response-content-type=text%2Fhtml");
    assert_eq!(widened.send(gateway.s3).await.code(), "SignatureDoesNotMatch");
    let both = Signer::default().sign(read.clone(), gateway.s3, EMPTY);
    assert_eq!(both.send(gateway.s3).await.code(), "InvalidArgument");
    assert!(gateway.stored("key").is_some());
}

#[tokio::test]
async fn keys_may_do_what_they_were_granted_and_no_more() {
    let gateway = TestGateway::with_bucket().await;
    gateway.masters.make_bucket("other");
    let bucket = Some(BucketName::new("bucket").unwrap());
    let rights = Rights { read: true, write: true, list: true, ..Rights::default() };
    gateway.masters.add_key("AKSOME", "secret", false, vec![Grant { bucket, prefix: "mine".to_owned(), rights }]);
    let some = Signer { access: "AKSOME".to_owned(), secret: "secret".to_owned(), ..Signer::default() };
    let send = async |request: Request| {
        let payload = sha256(&request.body);
        let answer = some.sign(request, gateway.s3, &payload).send(gateway.s3).await;
        if answer.status < 300 { "ok".to_owned() } else { answer.code() }
    };
    assert_eq!(send(Request::new("PUT", "/bucket/mine/a").body("x")).await, "ok");
    assert_eq!(send(get("/bucket/mine/a")).await, "ok");
    assert_eq!(send(get("/bucket?prefix=mine%2F")).await, "ok");
    for (method, target) in [
        ("PUT", "/bucket/other"),
        ("PUT", "/bucket/mineral"),
        ("GET", "/bucket/other"),
        ("DELETE", "/bucket/mine/a"),
        ("GET", "/bucket"),
        ("GET", "/bucket?prefix=m"),
        ("GET", "/other/mine/a"),
        ("PUT", "/new-bucket"),
        ("DELETE", "/bucket"),
        ("PUT", "/bucket?policy"),
    ] {
        assert_eq!(send(Request::new(method, target)).await, "AccessDenied", "{method} {target}");
    }
    // Nor through the back doors: copies from elsewhere, and batches.
    let root = Signer::default().sign(Request::new("PUT", "/other/secret").body("s"), gateway.s3, &sha256(b"s"));
    assert_eq!(root.send(gateway.s3).await.status, 200);
    let copy = Request::new("PUT", "/bucket/mine/b").with("x-amz-copy-source", "/other/secret");
    assert_eq!(send(copy).await, "AccessDenied");
    let batch = "<Delete><Object><Key>mine/a</Key></Object><Object><Key>x</Key></Object></Delete>";
    let batch = some.sign(Request::new("POST", "/bucket?delete").body(batch), gateway.s3, &sha256(batch.as_bytes()));
    let answer = batch.send(gateway.s3).await;
    assert_eq!(answer.text().matches("<Code>AccessDenied</Code>").count(), 2, "{}", answer.text());
    assert!(gateway.stored("mine/a").is_some());
}

#[tokio::test]
async fn a_removed_key_stops_working_and_a_new_one_works_at_once() {
    let gateway = TestGateway::with_bucket().await;
    let new = Signer { access: "AKNEW".to_owned(), secret: "s".to_owned(), ..Signer::default() };
    let request = new.sign(get("/"), gateway.s3, EMPTY);
    assert_eq!(request.send(gateway.s3).await.code(), "InvalidAccessKeyId");
    gateway.masters.add_key("AKNEW", "s", false, Vec::new());
    assert_eq!(request.send(gateway.s3).await.status, 200);
    let asked = gateway.masters.asked("Credential");
    assert_eq!(request.send(gateway.s3).await.status, 200);
    assert_eq!(gateway.masters.asked("Credential"), asked, "a credential is remembered for a moment");
    gateway.masters.remove_key("AKNEW");
    // The masters refuse what is asked in its name, even while it is remembered here.
    assert_eq!(request.send(gateway.s3).await.code(), "AccessDenied");
}

#[tokio::test]
async fn a_key_without_a_secret_is_no_key() {
    let gateway = TestGateway::with_bucket().await;
    gateway.masters.add_key(
        "AKEMPTY",
        "",
        true,
        vec![Grant { bucket: None, prefix: String::new(), rights: Rights::ALL }],
    );
    let empty = Signer { access: "AKEMPTY".to_owned(), secret: String::new(), ..Signer::default() };
    assert_eq!(empty.sign(get("/"), gateway.s3, EMPTY).send(gateway.s3).await.code(), "InvalidAccessKeyId");
    let nameless = Signer { access: String::new(), ..Signer::default() };
    assert_eq!(nameless.sign(get("/"), gateway.s3, EMPTY).send(gateway.s3).await.status / 100, 4);
}

#[tokio::test]
async fn what_s3s_would_misunderstand_never_reaches_it() {
    let gateway = TestGateway::with_bucket().await;
    let send = async |request: Request| {
        let payload = sha256(&request.body);
        Signer::default().sign(request, gateway.s3, &payload).send(gateway.s3).await.code()
    };
    assert_eq!(send(Request::new("PUT", "/bucket/key?renameObject=")).await, "NotImplemented");
    assert_eq!(send(Request::new("DELETE", "/bucket?metadataConfiguration=")).await, "NotImplemented");
    assert_eq!(gateway.stored("key"), None);
    assert!(gateway.client.bucket(&BucketName::new("bucket").unwrap()).await.is_ok());
    let form = Request::new("POST", "/bucket").with("content-type", "multipart/form-data; boundary=x").body("--x--");
    assert_eq!(form.send(gateway.s3).await.code(), "NotImplemented");
    let v2 = Request::new("GET", "/bucket").with("authorization", format!("AWS {ACCESS}:c2ln")).with("date", "x");
    assert_eq!(v2.send(gateway.s3).await.code(), "InvalidRequest");
    let v2 = Request::new("GET", &format!("/bucket?AWSAccessKeyId={ACCESS}&Signature=x&Expires=9999999999"));
    assert_eq!(v2.send(gateway.s3).await.code(), "InvalidRequest");
    let token = Request::new("GET", "/bucket").with("x-amz-security-token", "t");
    assert_eq!(send(token).await, "InvalidToken");
}

#[tokio::test]
async fn keys_are_utf8_of_1_to_1024_bytes_and_literal() {
    let gateway = TestGateway::with_bucket().await;
    let put = async |target: &str| {
        let request = Signer::default().sign(Request::new("PUT", target).body("x"), gateway.s3, &sha256(b"x"));
        request.send(gateway.s3).await
    };
    for (target, key) in [
        ("/bucket/a/../b", "a/../b"),
        ("/bucket//x//", "/x//"),
        ("/bucket/..", ".."),
        ("/bucket/%C3%A4%20%2B%2561", "ä +%61"),
        ("/bucket/plus+plus", "plus+plus"),
        ("/bucket/both", "both"),
        ("/bucket/both/below", "both/below"),
    ] {
        assert_eq!(put(target).await.status, 200, "{target}");
        assert!(gateway.stored(key).is_some(), "{key}");
    }
    assert_eq!(put(&format!("/bucket/{}", "k".repeat(1024))).await.status, 200);
    assert_eq!(put(&format!("/bucket/{}", "k".repeat(1025))).await.code(), "KeyTooLongError");
    assert_eq!(put("/bucket/%FF").await.code(), "InvalidURI");
    assert_eq!(put("/BUCKET/k").await.code(), "InvalidBucketName");
    assert_eq!(put(&format!("/bucket/{}", "%41".repeat(3000))).await.code(), "InvalidURI");
}

#[tokio::test]
async fn documents_are_bounded_and_compared_with_their_digests() {
    let gateway = TestGateway::with_bucket().await;
    let document = "<Delete><Object><Key>a</Key></Object></Delete>";
    let post = |body: &str| Request::new("POST", "/bucket?delete=").body(body);
    let send = async |request: Request, payload: &str| {
        Signer::default().sign(request, gateway.s3, payload).send(gateway.s3).await
    };
    let unsigned = "UNSIGNED-PAYLOAD";
    assert_eq!(send(post(document), unsigned).await.status, 200);
    assert_eq!(send(post(document), &sha256(b"other")).await.code(), "XAmzContentSHA256Mismatch");
    let md5 = post(document).with("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==");
    assert_eq!(send(md5, unsigned).await.code(), "BadDigest");
    let crc = post(document).with("x-amz-checksum-crc32", "AAAAAA==");
    assert_eq!(send(crc, unsigned).await.code(), "BadDigest");
    let chunked =
        post(document).with("x-amz-decoded-content-length", "5").with("x-amz-trailer", "x-amz-checksum-crc32");
    assert_eq!(send(chunked, "STREAMING-UNSIGNED-PAYLOAD-TRAILER").await.code(), "NotImplemented");
    for bad in ["", "<Delete", "<Delete></Delete>", "<Other/>", &"<a>".repeat(1000), "<Delete><Object/></Delete>"] {
        let answer = send(post(bad), unsigned).await;
        assert_eq!(answer.status, 400, "{bad}: {}", answer.text());
    }
    let many = format!("<Delete>{}</Delete>", "<Object><Key>a</Key></Object>".repeat(1001));
    assert_eq!(send(post(&many), unsigned).await.code(), "MalformedXML");
    let huge = post(&" ".repeat((8 << 20) + 1));
    assert_eq!(send(huge, unsigned).await.code(), "MaxMessageLengthExceeded");
    let entities =
        "<!DOCTYPE d [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]><Delete><Object><Key>&b;</Key></Object></Delete>";
    assert_eq!(send(post(entities), unsigned).await.status, 400);
}

#[tokio::test]
async fn trouble_inside_is_told_as_trouble_and_nothing_more() {
    let gateway = TestGateway::with_bucket().await;
    let read = || Signer::default().sign(get("/bucket/key"), gateway.s3, EMPTY);
    assert_eq!(read().send(gateway.s3).await.code(), "NoSuchKey");
    gateway.masters.fail_with(Some(MasterError::Bug("secret detail /var/lib".to_owned())));
    let bug = read().send(gateway.s3).await;
    assert_eq!((bug.status, bug.code().as_str()), (500, "InternalError"));
    assert!(!bug.text().contains("secret"), "{}", bug.text());
}

#[tokio::test]
async fn requests_beyond_the_bound_are_told_to_come_back() {
    let options = GatewayOptions { requests_max: 0, ..GatewayOptions::default() };
    let gateway = TestGateway::with(options, Arc::new(SystemClock::new())).await;
    let busy = Signer::default().sign(get("/"), gateway.s3, EMPTY).send(gateway.s3).await;
    assert_eq!((busy.status, busy.code().as_str(), busy.header("retry-after")), (503, "SlowDown", "1"));
    let busy = get("/v1/buckets").send(gateway.api).await;
    assert_eq!((busy.status, busy.problem().as_str(), busy.header("retry-after")), (503, "busy", "1"));
    assert_eq!(get("/healthz").send(gateway.api).await.status, 200);
}

#[tokio::test]
async fn bodies_can_be_required_to_be_signed() {
    let options = GatewayOptions { require_signed_payload: true, ..GatewayOptions::default() };
    let gateway = TestGateway::with(options, Arc::new(SystemClock::new())).await;
    gateway.masters.make_bucket("bucket");
    let put = || Request::new("PUT", "/bucket/key").body("x");
    let unsigned = Signer::default().sign(put(), gateway.s3, "UNSIGNED-PAYLOAD");
    assert_eq!(unsigned.send(gateway.s3).await.code(), "AccessDenied");
    let signed = Signer::default().sign(put(), gateway.s3, &sha256(b"x"));
    assert_eq!(signed.send(gateway.s3).await.status, 200);
}

#[tokio::test]
async fn buckets_can_be_named_in_the_host() {
    let options = GatewayOptions { base_domains: vec!["s3.test".to_owned()], ..GatewayOptions::default() };
    let gateway = TestGateway::with(options, Arc::new(SystemClock::new())).await;
    gateway.masters.make_bucket("bucket");
    let put = Request::new("PUT", "/dir/key").with("host", "bucket.s3.test:9000").body("x");
    assert_eq!(Signer::default().sign(put, gateway.s3, &sha256(b"x")).send(gateway.s3).await.status, 200);
    assert!(gateway.stored("dir/key").is_some());
    let path_style = get("/bucket/dir/key").with("host", "s3.test");
    assert_eq!(Signer::default().sign(path_style, gateway.s3, EMPTY).send(gateway.s3).await.text(), "x");
    let elsewhere = get("/bucket/dir/key").with("host", "other.example.org");
    assert_eq!(Signer::default().sign(elsewhere, gateway.s3, EMPTY).send(gateway.s3).await.text(), "x");
}
