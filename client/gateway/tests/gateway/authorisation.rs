//! Who may do what: every route of both APIs, for every kind of key, and for those who only claim to have one.
//!
//! The routes of the native API are those of the document that the gateway serves, which a test of its own holds against the
//! router; so a route that is added is in here without anybody thinking of it.

use crate::hostile::{MODES, ROUTES};
use crate::support::http::Request;
use crate::support::sign::Signer;
use crate::support::{ACCESS, SECRET, TestGateway};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cairn_common::name::BucketName;
use cairn_common::wire::command::{Grant, Rights};
use serde_json::Value;

/// A request of the native API, and what it needs.
struct Route {
    method: String,
    target: String,
    needs: String,
}

/// Every operation of the served document, on `bucket` and `key`.
async fn native_routes(gateway: &TestGateway) -> Vec<Route> {
    let ask = Request::new("GET", "/v1/openapi.json").with("authorization", basic(ACCESS, SECRET));
    let document: Value = serde_json::from_slice(&ask.send(gateway.api).await.body).unwrap();
    let mut routes = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap().iter().filter(|(name, _)| *name != "parameters") {
            let parameters: Vec<&Value> = operation["parameters"].as_array().into_iter().flatten().collect();
            let upload = parameters.iter().any(|one| one["name"] == "upload");
            for parameter in operation["x-operations"].as_object().unwrap().keys() {
                let upload = upload.then_some("upload=0000000000000001");
                let query: Vec<&str> = [upload, Some(parameter.as_str())].into_iter().flatten().collect();
                let path = path.replace("{bucket}", "bucket").replace("{key}", "key");
                routes.push(Route {
                    method: method.to_uppercase(),
                    target: format!("{path}?{}", query.join("&")).trim_end_matches(['?', '&']).to_owned(),
                    needs: operation["x-needs"].as_str().unwrap().to_owned(),
                });
            }
        }
    }
    routes
}

fn basic(access: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{access}:{secret}")))
}

/// Without the body that it would need: who may ask is judged before.
fn request(route: &Route) -> Request {
    Request::new(&route.method, &route.target).with("tus-resumable", "1.0.0").with("upload-length", "1")
}

/// Credentials that are none, as headers.
fn forged() -> Vec<(&'static str, Vec<String>)> {
    let colonless = format!("Basic {}", STANDARD.encode(ACCESS));
    let both = basic(ACCESS, SECRET);
    vec![
        ("none", vec![]),
        ("another secret", vec![basic(ACCESS, "x")]),
        ("a secret that is cut", vec![basic(ACCESS, &SECRET[..SECRET.len() - 1])]),
        ("a secret with something behind it", vec![basic(ACCESS, &format!("{SECRET}x"))]),
        ("no secret", vec![basic(ACCESS, "")]),
        ("no key", vec![basic("", SECRET)]),
        ("an unknown key", vec![basic("AKNOBODY", SECRET)]),
        ("the key in another case", vec![basic("akroot", SECRET)]),
        ("a key that has ended", vec![basic("AKENDED", SECRET)]),
        ("no colon", vec![colonless]),
        ("no base64", vec![format!("Basic {ACCESS}:{SECRET}")]),
        ("another secret as a token", vec![format!("Bearer {ACCESS}.x")]),
        ("half a token", vec![format!("Bearer {ACCESS}")]),
        ("another scheme", vec![format!("Digest {ACCESS}:{SECRET}")]),
        ("the scheme alone", vec!["Basic".to_owned()]),
        ("nothing", vec![String::new()]),
        ("two headers", vec![both.clone(), both]),
        ("a signature of S3", vec![format!("AWS4-HMAC-SHA256 Credential={ACCESS}/x, SignedHeaders=host, Signature=x")]),
    ]
}

#[tokio::test]
async fn no_route_of_the_native_api_takes_credentials_that_are_none() {
    let gateway = TestGateway::with_bucket().await;
    gateway.masters.add_key("AKENDED", SECRET, true, vec![all()]);
    gateway.masters.end_key("AKENDED");
    let routes = native_routes(&gateway).await;
    let before = gateway.masters.asked_for_real();
    let mut cases = 0;
    for route in &routes {
        for (fault, headers) in forged() {
            let with =
                headers.iter().fold(request(route), |request, value| request.with("authorization", value.clone()));
            let answer = with.send(gateway.api).await;
            let Route { method, target, .. } = route;
            assert_eq!(answer.status, 401, "{method} {target} with {fault}");
            assert!(answer.find("www-authenticate").is_some() && !answer.text().contains(SECRET));
            cases += 1;
        }
    }
    assert!(cases >= 400, "{cases}");
    // What a bucket shows to everybody, the masters know: a GET and a HEAD of a file.
    assert_eq!(gateway.masters.asked_for_real(), before + 2, "a refused request reached the masters");
}

fn all() -> Grant {
    Grant { bucket: None, prefix: String::new(), rights: Rights::ALL }
}

/// A kind of key: its name, whether it administers the cluster, its grants, and which needs they meet on `bucket` and `key`.
type Kind = (&'static str, bool, Vec<Grant>, Vec<&'static str>);

fn kinds() -> Vec<Kind> {
    let none = Rights::default();
    let of = |rights| vec![Grant { bucket: None, prefix: String::new(), rights }];
    let elsewhere = Grant { bucket: Some(BucketName::new("other").unwrap()), ..all() };
    let beside = Grant { prefix: "key2/".to_owned(), ..all() };
    vec![
        ("AKNONE", false, vec![], vec![]),
        ("AKREAD", false, of(Rights { read: true, ..none }), vec!["Read"]),
        ("AKWRITE", false, of(Rights { write: true, ..none }), vec!["Write"]),
        ("AKDELETE", false, of(Rights { delete: true, ..none }), vec!["Delete"]),
        ("AKLIST", false, of(Rights { list: true, ..none }), vec!["List"]),
        ("AKADMIN", false, of(Rights { admin: true, ..none }), vec!["BucketAdmin"]),
        ("AKCLUSTER", true, vec![], vec!["ClusterAdmin"]),
        ("AKELSEWHERE", false, vec![elsewhere], vec![]),
        ("AKBESIDE", false, vec![beside], vec![]),
        ("AKALL", false, vec![all()], vec!["Read", "Write", "Delete", "List", "BucketAdmin"]),
    ]
}

#[tokio::test]
async fn every_key_may_do_what_it_was_granted_on_every_route_and_no_more() {
    let mut cases = 0;
    for (access, cluster_admin, grants, meets) in kinds() {
        // A cluster of its own: some of what is allowed removes the bucket.
        let gateway = TestGateway::with_bucket().await;
        gateway.masters.add_key(access, SECRET, cluster_admin, grants);
        for route in &native_routes(&gateway).await {
            let Route { method, target, needs } = route;
            let answer = request(route).with("authorization", basic(access, SECRET)).send(gateway.api).await;
            let may = needs == "AnyKey" || meets.contains(&needs.as_str());
            // Here the file is named in the request's metadata, and judged then.
            let unnamed = target == "/v1/uploads/bucket";
            assert!(answer.status != 401, "{access}: {method} {target}");
            assert!(unnamed || (answer.status == 403) != may, "{access}: {method} {target}: {}", answer.status);
            cases += 1;
        }
    }
    assert!(cases >= 200, "{cases}");
}

#[tokio::test]
async fn a_right_signature_of_a_key_without_rights_does_nothing_over_s3() {
    let gateway = TestGateway::with_bucket().await;
    let mut cases = 0;
    for (access, cluster_admin, grants, meets) in kinds() {
        if !meets.iter().all(|need| *need == "ClusterAdmin") {
            continue;
        }
        gateway.masters.add_key(access, SECRET, cluster_admin, grants);
        // Which buckets a key sees, and what it may know of one, the masters judge.
        let judged_there = |method: &str, target: &str| {
            matches!((method, target), ("GET", "/") | ("HEAD", "/bucket") | ("GET", "/bucket?tagging="))
        };
        for (method, target, copy) in ROUTES.into_iter().filter(|(method, target, _)| !judged_there(method, target)) {
            for mode in MODES {
                let mut asked = Request::new(method, target).with("x-amz-decoded-content-length", "0");
                if !copy.is_empty() {
                    asked = asked.with(copy, "bucket/other");
                }
                if mode.ends_with("TRAILER") {
                    asked = asked.with("x-amz-trailer", "x-amz-checksum-crc32");
                }
                let signer = Signer { access: access.to_owned(), ..Signer::default() };
                let answer = signer.sign(asked, gateway.s3, mode).send(gateway.s3).await;
                let status = answer.status;
                assert!(matches!(status, 400 | 403 | 501), "{access}: {method} {target} {mode}: {status}");
                cases += 1;
            }
        }
    }
    assert_eq!(cases, 29 * 5 * 4);
}
