//! The S3 front door: `s3s` for routing, signatures, XML and headers; around it what it leaves to us.
//!
//! A request goes through [`head`] (who signed what) and [`route`] (whose body it is), then through `s3s`, which verifies the
//! signature with a secret from [`access`], asks [`access`] whether the key may do this, and calls an operation of
//! [`service`]. Bodies of uploads go around `s3s` ([`arrival`]); all others are bounded and checked on their way in
//! ([`xml_body`]). Errors get their request id, and their code from [`error`].

mod access;
mod acl;
mod arrival;
mod asking;
mod buckets;
mod copy;
mod cors;
mod delete;
mod dto;
mod error;
mod expect;
mod get;
mod head;
mod host;
mod lifecycle;
mod list;
mod lock;
mod multipart;
mod policy;
mod put;
mod refuse;
mod render;
mod route;
mod service;
mod sharing;
mod tagging;
mod unset;
mod versioning;
mod xml_body;

pub(crate) use get::report;

use self::arrival::Arrival;
use self::cors::CrossOrigin;
use self::head::{Head, Signer};
use self::host::BaseDomains;
use self::route::Route;
use self::xml_body::{LargeBodies, XmlBody};
use crate::front::{Front, content_length};
use crate::limits::{URI_MAX_BYTES, XML_LIST_MAX_BYTES};
use crate::observe::{Api, RequestLog, observe};
use crate::upload::Expected;
use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::validation::NameValidation;
use s3s::{Body, S3ErrorCode, S3Result};
use std::sync::Arc;

/// What every S3 request needs.
struct Door {
    front: Arc<Front>,
    service: S3Service,
    domains: BaseDomains,
    large: LargeBodies,
}

/// All of S3, on a port of its own.
pub(crate) fn router(front: Arc<Front>) -> Router {
    let mut builder = S3ServiceBuilder::new(service::Service::new(Arc::clone(&front)));
    builder.set_auth(access::Secrets(Arc::clone(&front)));
    builder.set_access(access::Access(Arc::clone(&front)));
    builder.set_host(BaseDomains::new(&front.options.base_domains));
    builder.set_validation(OurNames);
    builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config()))));
    let domains = BaseDomains::new(&front.options.base_domains);
    let door = Door { front, service: builder.build(), domains, large: LargeBodies::default() };
    Router::new().fallback(serve).with_state(Arc::new(door))
}

fn config() -> S3Config {
    let mut config = S3Config::default();
    config.xml_max_body_size = XML_LIST_MAX_BYTES;
    // Forms are refused before; should one come through, nothing of it is kept.
    config.post_object_max_file_size = 0;
    config.form_max_fields_size = 0;
    config.presigned_url_max_skew_time_secs = (cairn_common::limits::CLOCK_SKEW_MS / 1000) as u32;
    config
}

/// Bucket names are judged by the operations, with our rules and our words.
struct OurNames;

impl NameValidation for OurNames {
    fn validate_bucket_name(&self, name: &str) -> bool {
        cairn_common::name::BucketName::new(name).is_ok()
    }
}

async fn serve(State(door): State<Arc<Door>>, request: Request) -> Response {
    let front = Arc::clone(&door.front);
    let region = &door.front.options.region;
    let busy = |log: &RequestLog| {
        let message = "Too many requests are being served; please reduce your request rate";
        render::refusal(error::error(S3ErrorCode::SlowDown, message), region, log)
    };
    observe(&front, Api::S3, request, |request, log| receive(Arc::clone(&door), request, log), busy).await
}

/// Answers what browsers ask first; tells their scripts whether they may see the answer to anything else.
async fn receive(door: Arc<Door>, request: Request, log: Arc<RequestLog>) -> Response {
    let (parts, body) = request.into_parts();
    let script = CrossOrigin::of(&parts, &door.domains);
    if CrossOrigin::is_question(&parts) {
        log.set_operation("Preflight");
        let region = &door.front.options.region;
        return cors::answer(script, &door.front)
            .await
            .unwrap_or_else(|refusal| render::refusal(refusal, region, &log));
    }
    let front = Arc::clone(&door.front);
    let shown = async {
        match &script {
            Some(script) => script.headers(&front).await,
            None => Ok(None),
        }
    };
    let (mut response, shown) = tokio::join!(admit(door, Request::from_parts(parts, body), log), shown);
    // Without the rules a browser shows its script nothing, which is the safe answer.
    if let Ok(Some(headers)) = shown {
        response.headers_mut().extend(headers);
    }
    response
}

/// Reads the head, sets the body aside or puts bounds around it, and lets `s3s` do the rest.
async fn admit(door: Arc<Door>, request: Request, log: Arc<RequestLog>) -> Response {
    let region = &door.front.options.region;
    let (mut parts, body) = request.into_parts();
    let body = door.front.body(&parts.headers, body, &log);
    let (head, route) = match examine(&door, &parts, &log) {
        Ok(examined) => examined,
        Err(refusal) => return render::refusal(refusal, region, &log),
    };
    parts.extensions.insert(Arc::clone(&log));
    let length = content_length(&parts.headers);
    let prepared = match route {
        Route::Upload => prepare_upload(&parts.headers, body, head).map(|arrival| {
            parts.extensions.insert(arrival);
            (Body::empty(), None)
        }),
        Route::Other => document_digests(&parts, head).map(|expected| {
            let (body, failure) = XmlBody::new(body, &parts.method, length, expected, &door.large);
            (Body::http_body_unsync(body), Some(failure))
        }),
        Route::Unknown => Err(error::unsupported("This operation")),
    };
    let (body, failure) = match prepared {
        Ok(prepared) => prepared,
        Err(refusal) => return render::refusal(refusal, region, &log),
    };
    let answer = door.service.call(http::Request::from_parts(parts, body)).await;
    match failure.and_then(|failure| failure.take()) {
        Some(refusal) => render::refusal(refusal, region, &log),
        None => render::answer(answer, region, &log),
    }
}

fn examine(door: &Door, parts: &http::request::Parts, log: &RequestLog) -> S3Result<(Head, Route)> {
    if parts.uri.path_and_query().is_some_and(|uri| uri.as_str().len() > URI_MAX_BYTES) {
        return Err(error::error(S3ErrorCode::InvalidURI, "The path and query are too long"));
    }
    let head = head::read(parts, &door.front.options.region)?;
    match &head.signer {
        Signer::Nobody => {}
        Signer::Header { access, .. } => log.set_access(access, "header"),
        Signer::Query { access } => log.set_access(access, "query"),
    }
    log.set_payload(head.payload.name());
    let route = route::route(parts, &door.domains);
    if route == Route::Upload && door.front.options.require_signed_payload && !head.payload.is_signed() {
        return Err(error::error(S3ErrorCode::AccessDenied, "The body must be signed"));
    }
    Ok((head, route))
}

fn prepare_upload(headers: &http::HeaderMap, body: crate::upload::IncomingBody, head: Head) -> S3Result<Arrival> {
    let length = arrival::stated_length(headers, head.payload)?;
    let expected = expect::read(headers, head.payload)?;
    Ok(Arrival::new(body, head, expected, length))
}

/// What the document of a request must be.
fn document_digests(parts: &http::request::Parts, head: Head) -> S3Result<Expected> {
    if head.payload.is_chunked() {
        return Err(error::unsupported("An aws-chunked body of anything but an object or a part"));
    }
    let mut headers = parts.headers.clone();
    let query = head::pairs(parts.uri.query().unwrap_or_default());
    if head::has(&query, "uploadId") || headers.contains_key("x-amz-copy-source") {
        // These are of the object that is being made, not of the document that asks for it.
        for algorithm in crate::checksum::Algorithm::ALL {
            headers.remove(algorithm.header());
        }
        headers.remove("x-amz-sdk-checksum-algorithm");
    }
    expect::read(&headers, head.payload)
}

/// Every header of S3 that is parsed, with this value.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz_header(data: &[u8]) {
    use s3s::dto::{CopySource, ETagCondition, Range};
    if let Ok(text) = std::str::from_utf8(data) {
        if let Ok(source) = CopySource::parse(text) {
            let _ = dto::source(&source);
        }
        if let cairn_common::wire::master::RangeWanted::FromTo(start, end) = dto::range(Range::parse(text).ok()) {
            assert!(start < end || end == u64::MAX, "an empty range was understood");
        }
    }
    let _ = ETagCondition::parse_http_header(data);
    let Ok(value) = http::HeaderValue::from_bytes(data) else { return };
    for name in ["authorization", "x-amz-content-sha256", "x-amz-date", "x-amz-tagging"] {
        let Ok(request) = http::Request::builder().uri("/b/k").header("host", "x").header(name, &value).body(()) else {
            return;
        };
        let _ = head::read(&request.into_parts().0, "us-east-1");
    }
}

/// An address: whose query may carry a signature.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz_address(uri: &http::Uri) {
    let Ok(request) = http::Request::builder().uri(uri.clone()).header("host", "x").body(()) else { return };
    let _ = head::read(&request.into_parts().0, "us-east-1");
}

/// An XML document.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz_document(data: &[u8]) {
    use s3s::dto::{CompletedMultipartUpload, CreateBucketConfiguration, Delete, Tagging};
    use s3s::xml::{Deserialize, Deserializer};
    let _ = Delete::deserialize(&mut Deserializer::new(data));
    let _ = CompletedMultipartUpload::deserialize(&mut Deserializer::new(data));
    let _ = Tagging::deserialize(&mut Deserializer::new(data));
    let _ = CreateBucketConfiguration::deserialize(&mut Deserializer::new(data));
}
