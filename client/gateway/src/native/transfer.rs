//! Copies and moves: metadata only, whatever the size.

use super::Call;
use super::auth::may;
use super::conditions;
use super::json;
use super::problem::{Outcome, bad_request};
use super::representation;
use super::target::location;
use crate::front::Identity;
use crate::upload::IncomingBody;
use axum::body::Body;
use axum::response::Response;
use cairn_common::file::{Condition, TagCondition};
use cairn_common::name::FilePath;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;

/// What is copied or moved. `If-Match` and `If-None-Match` are of the target.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    /// `BUCKET/KEY`, literally.
    from: String,
    /// ETag that the source must have, without quotes.
    if_match: Option<String>,
}

struct Understood {
    from: FilePath,
    from_condition: Condition,
    condition: Condition,
}

async fn understand(headers: &HeaderMap, identity: &Identity, body: IncomingBody) -> Outcome<Understood> {
    let condition = conditions::of_write(headers)?;
    let missing = || bad_request("The body must be JSON: {\"from\": \"BUCKET/KEY\"}.");
    let order: Order = json::read(body).await?.ok_or_else(missing)?;
    let (bucket, key) = order.from.split_once('/').ok_or_else(|| bad_request("from is not BUCKET/KEY."))?;
    let from = FilePath::new(bucket, key)?;
    may(identity, &from, |rights| rights.read)?;
    let if_match = order.if_match.map(|tag| TagCondition::OneOf(vec![tag]));
    Ok(Understood { from, from_condition: Condition { if_match, ..Condition::default() }, condition })
}

/// Makes a new version of `to` with the bytes and attributes of another file.
pub(crate) async fn copy(call: Call, body: IncomingBody, to: FilePath) -> Outcome<Response> {
    let Call { client, headers, identity, .. } = call;
    let Understood { from, from_condition, condition } = understand(&headers, &identity, body).await?;
    let committed = client.copy(&from, from_condition, &to, condition, None).await?;
    Ok(made(&to, &committed))
}

/// Moves a file within its bucket, in one step.
pub(crate) async fn rename(call: Call, body: IncomingBody, to: FilePath) -> Outcome<Response> {
    let Call { client, headers, identity, .. } = call;
    let Understood { from, from_condition, condition } = understand(&headers, &identity, body).await?;
    may(&identity, &from, |rights| rights.delete)?;
    if from.bucket != to.bucket {
        let detail = "A move is one step within a bucket. Between buckets, copy the file and then delete it.";
        return Err(bad_request(detail));
    }
    let committed = client.rename(&from, from_condition, &to.key, condition).await?;
    Ok(made(&to, &committed))
}

fn made(to: &FilePath, committed: &cairn_common::wire::command::Committed) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = if committed.replaced { StatusCode::OK } else { StatusCode::CREATED };
    *response.headers_mut() = representation::of_commit(committed, None);
    response.headers_mut().extend(HeaderValue::from_str(&location(to)).map(|value| (header::LOCATION, value)));
    response
}

/// Parses a document as a request's.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz_order(data: &[u8]) -> bool {
    serde_json::from_slice::<Order>(data).is_ok()
}
