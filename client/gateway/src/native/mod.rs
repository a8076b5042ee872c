//! The native HTTP API: files, buckets and the cluster under `/v1`, for plain `curl`.
//!
//! A request is read raw ([`target`]), found in the table of operations ([`routes`]), its sender is asked for key and secret
//! ([`auth`]) or the request is such as a link allows ([`link`]), and a function of [`files`], [`transfer`], [`uploads`],
//! [`list`], [`buckets`] or [`status`] answers it. Errors are documents ([`problem`]). All of it happens before a byte of the body
//! is asked for. [`openapi`] describes it to programs.

mod auth;
mod buckets;
mod conditions;
mod digest;
mod files;
mod json;
mod link;
mod list;
mod openapi;
mod problem;
mod representation;
mod routes;
mod status;
mod target;
mod transfer;
mod uploads;
mod whereabouts;

use self::problem::{Outcome, Problem};
use self::routes::Operation;
use self::target::{Query, Target};
use crate::front::{Front, Identity};
use crate::limits::URI_MAX_BYTES;
use crate::observe::{Api, RequestLog, observe};
use crate::upload::IncomingBody;
use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use cairn_client::Client;
use http::{HeaderMap, StatusCode};
use std::sync::Arc;

/// A request that may be answered.
struct Call {
    front: Arc<Front>,
    identity: Identity,
    /// Asks the cluster in the caller's name.
    client: Client,
    headers: HeaderMap,
    query: Query,
    /// Of a link to store something: how long it may be, in bytes.
    body_max: Option<u64>,
}

/// The API on a port of its own, with the routes that ask whether the process is well.
pub(crate) fn router(front: Arc<Front>) -> Router {
    let health = cairn_common::listen::health_routes(front.options.health.clone());
    Router::new().fallback(serve).with_state(front).merge(health)
}

async fn serve(State(front): State<Arc<Front>>, request: Request) -> Response {
    let busy = |log: &RequestLog| problem::busy().into_response(log);
    let serve = |request: Request, log: Arc<RequestLog>| {
        let front = Arc::clone(&front);
        let resumable = request.uri().path().starts_with(target::UPLOADS);
        async move {
            let mut response = answer(front, request, &log).await.unwrap_or_else(|problem| problem.into_response(&log));
            if resumable {
                uploads::mark(response.headers_mut());
            }
            response
        }
    };
    observe(&front, Api::Native, request, serve, busy).await
}

async fn answer(front: Arc<Front>, request: Request, log: &RequestLog) -> Outcome<Response> {
    let (parts, body) = request.into_parts();
    let body = front.body(&parts.headers, body, log);
    if parts.uri.path_and_query().is_some_and(|uri| uri.as_str().len() > URI_MAX_BYTES) {
        let detail = format!("Path and query together have at most {URI_MAX_BYTES} bytes.");
        return Err(Problem::new(StatusCode::URI_TOO_LONG, "uri-too-long", "The path and query are too long", detail));
    }
    // Who asks comes first: strangers learn nothing about what there is, not even what there could be.
    let (identity, link) = auth::authenticate(&front, &parts, log).await?;
    let (target, mut query) = target::read(&parts.uri)?;
    let mut method = parts.method;
    if matches!(target, Target::Upload(..)) {
        method = uploads::meant(&method, &parts.headers)?;
    }
    let body_max = link.map_or(Ok(None), |link| link.apply(&mut query, &parts.headers))?;
    let operation = routes::resolve(&method, &target, &query)?;
    log.set_operation(operation.name());
    auth::authorize(&identity, operation, &target, &query)?;
    let client = front.client_of(&identity);
    let nobody = identity.is_nobody();
    let call = Call { front, identity, client, headers: parts.headers, query, body_max };
    match dispatch(call, body, operation, target).await {
        // Who said nothing about themselves may still do so.
        Err(problem) if nobody && problem.is_denial() => Err(auth::nobody()),
        answer => answer,
    }
}

async fn dispatch(call: Call, body: IncomingBody, operation: Operation, target: Target) -> Outcome<Response> {
    match (operation, target) {
        (Operation::PutFile, Target::File(path)) => files::put(call, body, path).await,
        (Operation::GetFile, Target::File(path)) => files::get(call, path).await,
        (Operation::HeadFile, Target::File(path)) => files::head(call, path).await,
        (Operation::DeleteFile, Target::File(path)) => files::delete(call, path).await,
        (Operation::WhereFile, Target::File(path)) => files::locate(call, path).await,
        (Operation::CopyFile, Target::File(path)) => transfer::copy(call, body, path).await,
        (Operation::MoveFile, Target::File(path)) => transfer::rename(call, body, path).await,
        (Operation::ListFiles, Target::Files(bucket)) => list::list(call, bucket).await,
        (Operation::ListBuckets, Target::Buckets) => buckets::list(call).await,
        (Operation::GetBucket, Target::Bucket(name)) => buckets::get(call, name).await,
        (Operation::PutBucket, Target::Bucket(name)) => buckets::put(call, body, name).await,
        (Operation::PatchBucket, Target::Bucket(name)) => buckets::patch(call, body, name).await,
        (Operation::DeleteBucket, Target::Bucket(name)) => buckets::delete(call, name).await,
        (Operation::Status, Target::Status) => status::status(call).await,
        (Operation::Metrics, Target::Metrics) => Ok(status::metrics(&call)),
        (Operation::UploadOptions, _) => Ok(uploads::options()),
        (Operation::CreateUpload, Target::Uploads(bucket)) => uploads::create(call, bucket, None).await,
        (Operation::CreateUpload, Target::NewUpload(path)) => uploads::create(call, path.bucket, Some(path.key)).await,
        (Operation::HeadUpload, Target::Upload(path, upload)) => uploads::head(call, path, upload).await,
        (Operation::AppendUpload, Target::Upload(path, upload)) => uploads::append(call, body, path, upload).await,
        (Operation::DeleteUpload, Target::Upload(path, upload)) => uploads::delete(call, path, upload).await,
        (Operation::Presign, Target::Presign) => link::presign(call, body).await,
        (Operation::OpenApi, Target::OpenApi) => Ok(openapi::answer()),
        (operation, target) => unreachable!("{operation:?} was resolved for {target:?}"),
    }
}

/// Every header that this API parses, with this value.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz_header(data: &[u8]) {
    let Ok(value) = http::HeaderValue::from_bytes(data) else { return };
    let names = http::HeaderName::from_static;
    let mut headers = HeaderMap::new();
    for name in
        ["if-match", "if-none-match", "if-modified-since", "if-range", "range", "repr-digest", "want-repr-digest"]
    {
        headers.insert(names(name), value.clone());
    }
    for name in ["content-type", "expires", "x-meta-a"] {
        headers.insert(names(name), value.clone());
    }
    let _ = (conditions::of_read(&headers), representation::expected(&headers), digest::wants_repr(&headers));
    if let cairn_common::wire::master::RangeWanted::FromTo(start, end) = conditions::range(&headers) {
        assert!(start < end || end == u64::MAX, "an empty range was understood");
    }
    if let Ok(attributes) = representation::attributes(&headers) {
        assert!(attributes.check().is_ok());
    }
    uploads::fuzz_header(&value);
}

/// An address, as a target and as a link.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz_address(uri: &http::Uri) {
    for method in ["GET", "PUT", "POST", "PATCH", "DELETE", "HEAD", "OPTIONS"] {
        let Ok(request) = http::Request::builder().method(method).uri(uri.clone()).body(()) else { return };
        let (parts, ()) = request.into_parts();
        let _ = link::Link::of(&parts);
        let Ok((target, query)) = target::read(&parts.uri) else { return };
        if let Target::File(path) = &target {
            let again = target::location(path).parse().map(|uri| target::read(&uri));
            assert!(matches!(again, Ok(Ok((Target::File(found), _))) if found == *path), "{path}");
        }
        let _ = routes::resolve(&parts.method, &target, &query);
    }
}

/// A JSON document.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz_document(data: &[u8]) {
    let _ = (link::fuzz_order(data), transfer::fuzz_order(data), buckets::fuzz_change(data));
}
