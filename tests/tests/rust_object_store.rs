//! The suite that the Rust crate `object_store` brings along for stores, against real servers, over http and https: what Arrow, DataFusion,
//! Delta Lake and other users of that crate rely on. Its suite panics where a store is not as it should be.

// Helpers of tests are tests: what fails in them fails the test.
#![allow(clippy::unwrap_used)]

use cairn_tests::cluster::{Cluster, Plan, Shape};
use cairn_tests::suites::block_on;
use http::{HeaderName, HeaderValue, Method};
use object_store::aws::{AmazonS3, AmazonS3Builder, Checksum, S3CopyIfNotExists};
use object_store::integration as suite;
use object_store::multipart::{MultipartStore as _, PartId};
use object_store::path::Path;
use object_store::signer::{SignedUrlOptions, Signer as _};
use object_store::{Certificate, ClientOptions, ObjectStore as _, ObjectStoreExt as _, PutOptions, TagSet};
use std::process::Command;
use std::time::Duration;

/// A new cluster, and a way into it for stores of this crate.
fn start(tls: bool) -> Cluster {
    // The crate leaves it to programs which cryptography they bring; the second of both tests finds it there.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cluster = Cluster::start(Plan { replicas: Some(1), tls, ..Plan::new(Shape::Nodes(1)) }).unwrap();
    assert_eq!(cluster.s3.starts_with("https://"), tls);
    cluster.cli_json(&["mb", "abc", "signed"]).unwrap();
    cluster
}

fn store(cluster: &Cluster, bucket: &str, set: impl Fn(AmazonS3Builder) -> AmazonS3Builder) -> AmazonS3 {
    let mut client = ClientOptions::new().with_allow_http(true);
    if cluster.plan().tls {
        let authority = std::fs::read(cluster.authority("node-1")).unwrap();
        client = client.with_root_certificate(Certificate::from_pem(&authority).unwrap());
    }
    let builder = AmazonS3Builder::new()
        .with_endpoint(&cluster.s3)
        .with_region("us-east-1")
        .with_bucket_name(bucket)
        .with_access_key_id(&cluster.key.0)
        .with_secret_access_key(&cluster.key.1)
        .with_client_options(client);
    set(builder).build().unwrap()
}

/// The crate's suite, with the calls and in the order of the crate's own test of S3.
async fn whole_suite(cluster: &Cluster) {
    let plain = store(cluster, "abc", |builder| builder.with_copy_if_not_exists(S3CopyIfNotExists::Multipart));
    suite::put_get_delete_list(&plain).await;
    suite::list_with_offset_exclusivity(&plain).await;
    suite::get_opts(&plain).await;
    suite::list_uses_directories_correctly(&plain).await;
    suite::list_with_delimiter(&plain).await;
    suite::rename_and_copy(&plain).await;
    suite::stream_get(&plain).await;
    suite::multipart(&plain, &plain).await;
    suite::multipart_with_opts(&plain, &plain).await;
    suite::multipart_put_part_out_of_order(&plain, &plain).await;
    suite::multipart_race_condition(&plain, true).await;
    suite::multipart_out_of_order(&plain).await;
    suite::put_get_attributes(&plain).await;
    suite::list_paginated(&plain, &plain).await;
    suite::copy_if_not_exists(&plain).await;
    suite::copy_rename_nonexistent_object(&plain).await;
    suite::put_opts(&plain, true).await;
    let missing = suite::get_nonexistent_object(&plain, Some(Path::from("no/such/file"))).await.unwrap_err();
    assert!(matches!(missing, object_store::Error::NotFound { .. }), "{missing}");

    // What else the crate can be set to do, by the part of the suite where it shows.
    let if_none_match = S3CopyIfNotExists::Header("if-none-match".to_owned(), "*".to_owned());
    suite::copy_if_not_exists(&store(cluster, "abc", |builder| builder.with_copy_if_not_exists(if_none_match.clone())))
        .await;
    suite::put_get_delete_list(&store(cluster, "abc", |builder| builder.with_unsigned_payload(true))).await;
    for checksum in [Checksum::SHA256, Checksum::CRC64NVME] {
        let summed = store(cluster, "abc", |builder| builder.with_checksum_algorithm(checksum));
        suite::put_get_delete_list(&summed).await;
        suite::multipart(&summed, &summed).await;
        suite::multipart_out_of_order(&summed).await;
    }
}

/// Fetches a URL with nothing but what is in it; returns status and body.
fn fetch(cluster: &Cluster, method: &str, url: &str, headers: &[&str], body: Option<&str>) -> (String, String) {
    let mut command = Command::new("curl");
    command.args(["-q", "-sS", "-X", method, "-w", "\n%{http_code}", "--path-as-is"]).arg(url);
    if cluster.plan().tls {
        command.arg("--cacert").arg(cluster.authority("node-1"));
    }
    for header in headers {
        command.args(["-H", header]);
    }
    if let Some(body) = body {
        command.args(["--data-binary", body]);
    }
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, status) = text.rsplit_once('\n').unwrap_or_else(|| panic!("{:?}", output.stderr));
    (status.to_owned(), body.to_owned())
}

/// What the crate tests with helpers that it keeps to itself: signed URLs, tags.
async fn signed_urls_and_tags(cluster: &Cluster) {
    let store = store(cluster, "signed", |builder| builder);
    let (minute, none) = (Duration::from_secs(60), SignedUrlOptions::default);
    let sign = async |method: Method, path: &Path, options: SignedUrlOptions| -> String {
        store.signed_url_opts(method, path, minute, &options).await.unwrap().into()
    };
    let put = |url: &str, headers: &[&str], body: &str| {
        let kind = "content-type: application/octet-stream";
        fetch(cluster, "PUT", url, &[&[kind], headers].concat(), Some(body)).0
    };
    let odd = Path::from("a b/ü+%/x");
    for path in [Path::from("file.txt"), odd] {
        let (to, from) = (sign(Method::PUT, &path, none()).await, sign(Method::GET, &path, none()).await);
        assert_eq!(put(&to, &[], "hello world"), "200", "{to}");
        assert_eq!(fetch(cluster, "GET", &from, &[], None), ("200".to_owned(), "hello world".to_owned()));
        // The right to read is none to write, and none to anything else.
        assert_eq!(put(&from, &[], "other"), "403");
        assert_eq!(fetch(cluster, "GET", &from.replace("X-Amz-Expires=60", "X-Amz-Expires=61"), &[], None).0, "403");
    }
    let path = Path::from("summed");
    let sum = HeaderValue::from_static("uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek=");
    let options = none().with_signed_header(HeaderName::from_static("x-amz-checksum-sha256"), sum.clone());
    let url = sign(Method::PUT, &path, options).await;
    let header = format!("x-amz-checksum-sha256: {}", sum.to_str().unwrap());
    assert_eq!(put(&url, &[&header], "hello world"), "200");
    assert_eq!(put(&url, &[&header], "tampered"), "400");
    assert_eq!(put(&url, &[], "hello world"), "403", "a header that was signed was left out");

    let path = Path::from("parts");
    let id = store.create_multipart(&path).await.unwrap();
    let options = none().with_query([("partNumber", "1"), ("uploadId", id.as_str())]);
    assert_eq!(put(&sign(Method::PUT, &path, options).await, &[], "one part"), "200");
    // The tag of a part is that of a file of the same bytes.
    let tag = store.put(&Path::from("same"), "one part".into()).await.unwrap().e_tag.unwrap();
    store.complete_multipart(&path, &id, vec![PartId { content_id: tag }]).await.unwrap();
    let shown = "attachment; filename=\"a b.txt\"";
    let options = none().with_query([("response-content-disposition", shown)]);
    let url = sign(Method::GET, &path, options).await;
    assert_eq!(fetch(cluster, "GET", &url, &[], None), ("200".to_owned(), "one part".to_owned()));

    let mut tags = TagSet::default();
    tags.push("foo.com=bar/s", "bananas/foo.com-_");
    tags.push("namespace/key.foo", "value with a space");
    let path = Path::from("tagged");
    store.put_opts(&path, "test".into(), PutOptions::from(tags)).await.unwrap();
    let url = sign(Method::GET, &path, none().with_query([("tagging", "")])).await;
    let (status, told) = fetch(cluster, "GET", &url, &[], None);
    let both = told.contains("<Key>foo.com=bar/s</Key><Value>bananas/foo.com-_</Value>")
        && told.contains("<Key>namespace/key.foo</Key><Value>value with a space</Value>");
    assert!(status == "200" && both, "{status}: {told}");
    assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "test");
}

fn run(tls: bool) {
    let cluster = start(tls);
    block_on(async {
        whole_suite(&cluster).await;
        signed_urls_and_tags(&cluster).await;
        Ok(())
    })
    .unwrap();
    assert_eq!(cluster.complaints().unwrap(), Vec::<String>::new());
    cluster.wipe().unwrap();
}

#[test]
fn the_suite_of_the_crate_passes_over_http() {
    run(false);
}

#[test]
fn the_suite_of_the_crate_passes_over_https() {
    run(true);
}
