//! Buckets as documents.

use super::Call;
use super::json;
use super::problem::{Outcome, Problem};
use crate::upload::IncomingBody;
use axum::body::Body;
use axum::response::Response;
use cairn_common::bucket::{BucketChange, Tags};
use cairn_common::name::BucketName;
use cairn_common::wire::command::Refusal;
use cairn_common::wire::master::{BucketInfo, MasterError};
use http::StatusCode;
use serde::{Deserialize, Deserializer, Serialize};

#[derive(Serialize)]
struct Document {
    name: String,
    created: String,
    /// Copies of each chunk.
    replicas: u8,
    /// Whether that is the cluster's number and follows it.
    replicas_follow_cluster: bool,
    files: u64,
    bytes: u64,
    open_uploads: u64,
    /// Of uploads that are no files yet.
    pending_bytes: u64,
    /// Bytes that files and open uploads may have together; `null`: any number.
    quota_bytes: Option<u64>,
    /// Files that it may hold; `null`: any number.
    quota_files: Option<u64>,
    /// Prefixes below which anybody may read; `""`: all.
    public: Vec<String>,
    tags: Tags,
}

impl From<BucketInfo> for Document {
    fn from(info: BucketInfo) -> Document {
        Document {
            name: info.name.into(),
            created: json::time(info.created),
            replicas: info.replicas,
            replicas_follow_cluster: info.replicas_follow,
            files: info.usage.files,
            bytes: info.usage.bytes,
            open_uploads: info.usage.uploads,
            pending_bytes: info.usage.pending_bytes,
            quota_bytes: info.settings.quota.bytes,
            quota_files: info.settings.quota.files,
            public: info.settings.public,
            tags: info.settings.tags,
        }
    }
}

#[derive(Serialize)]
struct Documents {
    buckets: Vec<Document>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// Copies of each chunk; without it the cluster's number, whatever it becomes.
    replicas: Option<u8>,
}

/// What is to be another way; a member that is not there stays as it is (RFC 7396).
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    #[serde(default, deserialize_with = "stated")]
    quota_bytes: Option<Option<u64>>,
    #[serde(default, deserialize_with = "stated")]
    quota_files: Option<Option<u64>>,
    public: Option<Vec<String>>,
    tags: Option<Tags>,
}

/// A member that is there, be it `null`.
fn stated<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Option<u64>>, D::Error> {
    Option::deserialize(value).map(Some)
}

/// The caller's buckets.
pub(crate) async fn list(call: Call) -> Outcome<Response> {
    let buckets = call.client.buckets().await?.into_iter().map(Document::from).collect();
    Ok(json::answer(StatusCode::OK, &Documents { buckets }))
}

/// A bucket with its exact counts.
pub(crate) async fn get(call: Call, name: BucketName) -> Outcome<Response> {
    Ok(json::answer(StatusCode::OK, &Document::from(call.client.bucket(&name).await?)))
}

/// Makes a bucket, or finds it made already as it is wanted.
pub(crate) async fn put(call: Call, body: IncomingBody, name: BucketName) -> Outcome<Response> {
    let wanted: Wanted = json::read(body).await?.unwrap_or_default();
    let client = call.client;
    let status = match client.create_bucket(&name, wanted.replicas).await {
        Ok(_) => StatusCode::CREATED,
        Err(cairn_client::Error::Master(MasterError::Refused(Refusal::BucketExists { same_tenant: true, .. }))) => {
            StatusCode::OK
        }
        Err(problem) => return Err(problem.into()),
    };
    let info = client.bucket(&name).await?;
    if status == StatusCode::OK && wanted.replicas.is_some_and(|wanted| wanted != info.replicas) {
        let detail =
            format!("You have a bucket {name} already, with {} copies; that cannot be changed yet.", info.replicas);
        return Err(Problem::new(StatusCode::CONFLICT, "bucket-exists", "The bucket exists", detail));
    }
    Ok(json::answer(status, &Document::from(info)))
}

/// Configures a bucket.
pub(crate) async fn patch(call: Call, body: IncomingBody, name: BucketName) -> Outcome<Response> {
    let Change { quota_bytes, quota_files, public, tags } = json::read(body).await?.unwrap_or_default();
    let change = BucketChange { quota_bytes, quota_files, public, tags, ..BucketChange::default() };
    call.client.set_bucket(&name, change).await?;
    Ok(json::answer(StatusCode::OK, &Document::from(call.client.bucket(&name).await?)))
}

/// Removes an empty bucket.
pub(crate) async fn delete(call: Call, name: BucketName) -> Outcome<Response> {
    call.client.delete_bucket(&name).await?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

/// Parses a document as a request's.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz_change(data: &[u8]) -> bool {
    serde_json::from_slice::<Change>(data).is_ok()
}
