//! The native HTTP API: files, buckets and the cluster under `/v1`, for plain `curl`.
//!
//! A request is read raw ([`target`]), found in the table of operations ([`routes`]), its sender is asked for key and secret
//! ([`auth`]), and a function of [`files`], [`transfer`], [`list`], [`buckets`] or [`status`] answers it. Errors are documents
//! ([`problem`]). All of it happens before a byte of the body is asked for.

mod auth;
mod buckets;
mod conditions;
mod files;
mod json;
mod list;
mod problem;
mod representation;
mod routes;
mod status;
mod target;
mod transfer;
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
}

/// The API on a port of its own, with the routes that ask whether the process is well.
pub(crate) fn router(front: Arc<Front>) -> Router {
    let health = cairn_common::listen::health_routes(front.options.health.clone());
    Router::new().fallback(serve).with_state(front).merge(health)
}

async fn serve(State(front): State<Arc<Front>>, request: Request) -> Response {
    let busy = |log: &RequestLog| problem::busy().into_response(log);
    let serve = |request, log: Arc<RequestLog>| {
        let front = Arc::clone(&front);
        async move { answer(front, request, &log).await.unwrap_or_else(|problem| problem.into_response(&log)) }
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
    let identity = auth::authenticate(&front, &parts, log).await?;
    let (target, query) = target::read(&parts.uri)?;
    let operation = routes::resolve(&parts.method, &target, &query)?;
    log.set_operation(operation.name());
    auth::authorize(&identity, operation, &target, &query)?;
    let client = front.client_of(&identity);
    let nobody = identity.is_nobody();
    let call = Call { front, identity, client, headers: parts.headers, query };
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
        (operation, target) => unreachable!("{operation:?} was resolved for {target:?}"),
    }
}
