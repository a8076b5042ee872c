//! GetObject, HeadObject, GetObjectAttributes.

use super::dto::{self, Sums};
use super::error::{self, custom, error};
use super::lock;
use super::refuse;
use super::service::Caller;
use super::tagging;
use bytes::Bytes;
use cairn_client::{FileReader, GetError, GetOptions, GetOutcome};
use cairn_common::error::ErrorKind;
use cairn_common::file::{FileInfo, S3Tag};
use cairn_common::wire::master::{Found, RangeWanted};
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use s3s::dto::{
    Checksum, ChecksumMode, GetObjectAttributesInput, GetObjectAttributesOutput, GetObjectAttributesParts,
    GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput, ObjectAttributes, Range, StorageClass,
    StreamingBlob, Timestamp, TimestampFormat,
};
use s3s::stream::{ByteStream, RemainingLength};
use s3s::{S3Error, S3ErrorCode, S3Response, S3Result, StdError};
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};

const TIMES: [&str; 2] = ["if-modified-since", "if-unmodified-since"];

/// Opens a file with one call to the masters and streams it. The first piece is read before the answer begins, so that a file
/// that cannot be read is an error and not a broken connection.
pub(crate) async fn get_object(caller: &Caller, input: GetObjectInput) -> S3Result<S3Response<GetObjectOutput>> {
    let version = dto::version(input.version_id.as_deref())?;
    dto::expect_owner(input.expected_bucket_owner.as_deref(), caller.tenant())?;
    refuse::customer_keys(&caller.headers)?;
    let path = dto::path(&input.bucket, &input.key)?;
    let condition = dto::read_condition(input.if_match, input.if_none_match, &caller.headers, TIMES);
    let wanted = wanted(input.range, input.part_number)?;
    let outcome =
        caller.client.get(&path, GetOptions { range: wanted, version, condition }).await.map_err(error::get)?;
    let mut reader = match outcome {
        GetOutcome::File(reader) => reader,
        GetOutcome::NotModified(info) => return Err(not_modified(&info)),
    };
    let info = reader.info().clone();
    check_part(&info, input.part_number)?;
    let (start, end) = reader.range();
    let partial = wanted != RangeWanted::All || input.part_number.is_some();
    let first = reader.try_next().await.map_err(error::get)?;
    let body = FileBody { first, rest: Mutex::new(reader), left: end - start };
    let shown = input.checksum_mode.is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED) && !partial;
    let sums = Sums::shown(&info, shown);
    let (object_lock_mode, object_lock_retain_until_date, object_lock_legal_hold_status) = lock::shown(&info);
    let output = GetObjectOutput {
        object_lock_mode,
        object_lock_retain_until_date,
        object_lock_legal_hold_status,
        version_id: dto::version_id(info.version),
        accept_ranges: Some("bytes".to_owned()),
        body: Some(StreamingBlob::new(body)),
        cache_control: info.attributes.cache_control.clone(),
        checksum_crc32: sums.crc32,
        checksum_crc32c: sums.crc32c,
        checksum_crc64nvme: sums.crc64nvme,
        checksum_sha1: sums.sha1,
        checksum_sha256: sums.sha256,
        checksum_type: sums.kind,
        content_disposition: info.attributes.content_disposition.clone(),
        content_encoding: info.attributes.content_encoding.clone(),
        content_language: info.attributes.content_language.clone(),
        content_length: Some(signed(end - start)?),
        content_range: (partial && end > start).then(|| dto::content_range((start, end), info.length)),
        content_type: Some(content_type(&info)),
        e_tag: Some(dto::tag(&info.tags)),
        last_modified: Some(dto::time(info.stamp)),
        metadata: dto::metadata(&info.attributes),
        tag_count: tagging::count(&info.attributes.tags),
        ..GetObjectOutput::default()
    };
    // What the query overrides, `s3s` has put over `output`; these headers would come over that again.
    let headers = if input.response_expires.is_some() { HeaderMap::new() } else { expires(&info) };
    Ok(S3Response::with_headers(output, headers))
}

/// As GetObject, without the bytes.
pub(crate) async fn head_object(caller: &Caller, input: HeadObjectInput) -> S3Result<S3Response<HeadObjectOutput>> {
    let version = dto::version(input.version_id.as_deref())?;
    dto::expect_owner(input.expected_bucket_owner.as_deref(), caller.tenant())?;
    refuse::customer_keys(&caller.headers)?;
    let path = dto::path(&input.bucket, &input.key)?;
    let overrides = overrides(&input)?;
    let condition = dto::read_condition(input.if_match, input.if_none_match, &caller.headers, TIMES);
    let info = match caller.client.stat_version(&path, version, condition).await.map_err(error::operation)? {
        Found::Here(info) => info,
        Found::NotModified(info) => return Err(not_modified(&info)),
    };
    check_part(&info, input.part_number)?;
    let wanted = wanted(input.range, input.part_number)?;
    let (start, end) = wanted.of(info.length).ok_or_else(|| error::unsatisfiable(info.length))?;
    let partial = wanted != RangeWanted::All || input.part_number.is_some();
    let shown = input.checksum_mode.is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED) && !partial;
    let sums = Sums::shown(&info, shown);
    let (object_lock_mode, object_lock_retain_until_date, object_lock_legal_hold_status) = lock::shown(&info);
    let output = HeadObjectOutput {
        object_lock_mode,
        object_lock_retain_until_date,
        object_lock_legal_hold_status,
        version_id: dto::version_id(info.version),
        accept_ranges: Some("bytes".to_owned()),
        cache_control: info.attributes.cache_control.clone(),
        checksum_crc32: sums.crc32,
        checksum_crc32c: sums.crc32c,
        checksum_crc64nvme: sums.crc64nvme,
        checksum_sha1: sums.sha1,
        checksum_sha256: sums.sha256,
        checksum_type: sums.kind,
        content_disposition: info.attributes.content_disposition.clone(),
        content_encoding: info.attributes.content_encoding.clone(),
        content_language: info.attributes.content_language.clone(),
        content_length: Some(signed(end - start)?),
        content_range: (partial && end > start).then(|| dto::content_range((start, end), info.length)),
        content_type: Some(content_type(&info)),
        e_tag: Some(dto::tag(&info.tags)),
        last_modified: Some(dto::time(info.stamp)),
        metadata: dto::metadata(&info.attributes),
        ..HeadObjectOutput::default()
    };
    let mut headers = expires(&info);
    headers.extend(overrides);
    // S3 sends it since 2025; `s3s` has no field for it yet.
    let tags = tagging::count(&info.attributes.tags).map(HeaderValue::from);
    headers.extend(tags.map(|count| (HeaderName::from_static("x-amz-tagging-count"), count)));
    let status = output.content_range.is_some().then_some(StatusCode::PARTIAL_CONTENT);
    Ok(S3Response { status, ..S3Response::with_headers(output, headers) })
}

/// Tags, checksums and sizes of an object.
pub(crate) async fn get_object_attributes(
    caller: &Caller,
    input: GetObjectAttributesInput,
) -> S3Result<S3Response<GetObjectAttributesOutput>> {
    let version = dto::version(input.version_id.as_deref())?;
    dto::expect_owner(input.expected_bucket_owner.as_deref(), caller.tenant())?;
    refuse::customer_keys(&caller.headers)?;
    let path = dto::path(&input.bucket, &input.key)?;
    let info = caller.stat_version(&path, version).await?;
    // `s3s` takes each header for one name; clients put all names into one header.
    let names = || input.object_attributes.iter().flat_map(|names| names.as_str().split(','));
    let wants = |name: &str| names().any(|wanted| wanted.trim() == name);
    let sums = Sums::of(&info.attributes.checksums);
    let has_sums = sums.kind.is_some();
    let checksum = Checksum {
        checksum_crc32: sums.crc32,
        checksum_crc32c: sums.crc32c,
        checksum_crc64nvme: sums.crc64nvme,
        checksum_sha1: sums.sha1,
        checksum_sha256: sums.sha256,
        checksum_type: sums.kind,
    };
    let parts = match info.tags.s3 {
        S3Tag::Multipart(_, parts) => i32::try_from(parts).ok(),
        S3Tag::Md5(_) | S3Tag::Root => None,
    };
    let parts = parts.map(|parts| GetObjectAttributesParts { total_parts_count: Some(parts), ..Default::default() });
    let output = GetObjectAttributesOutput {
        version_id: dto::version_id(info.version),
        checksum: (has_sums && wants(ObjectAttributes::CHECKSUM)).then_some(checksum),
        e_tag: wants(ObjectAttributes::ETAG).then(|| dto::tag(&info.tags)),
        last_modified: Some(dto::time(info.stamp)),
        object_parts: parts.filter(|_| wants(ObjectAttributes::OBJECT_PARTS)),
        object_size: if wants(ObjectAttributes::OBJECT_SIZE) { Some(signed(info.length)?) } else { None },
        storage_class: wants(ObjectAttributes::STORAGE_CLASS)
            .then(|| StorageClass::from_static(StorageClass::STANDARD)),
        ..GetObjectAttributesOutput::default()
    };
    Ok(S3Response::new(output))
}

/// Which bytes are asked for. A part of an object that was not made of parts is the whole.
fn wanted(range: Option<Range>, part: Option<i32>) -> S3Result<RangeWanted> {
    match (range, part) {
        (Some(_), Some(_)) => Err(error(S3ErrorCode::InvalidRequest, "Range and partNumber exclude each other")),
        (range, None) => Ok(dto::range(range)),
        (None, Some(1..=10_000)) => Ok(RangeWanted::All),
        (None, Some(_)) => Err(error(S3ErrorCode::InvalidArgument, "partNumber must be from 1 to 10,000")),
    }
}

fn check_part(info: &FileInfo, part: Option<i32>) -> S3Result<()> {
    match (part, info.tags.s3) {
        (None, _) | (Some(1), S3Tag::Md5(_) | S3Tag::Root) => Ok(()),
        (Some(_), S3Tag::Multipart(..)) => Err(refuse::part_of_multipart()),
        (Some(_), _) => {
            Err(custom("InvalidPartNumber", StatusCode::RANGE_NOT_SATISFIABLE, "The object has no such part"))
        }
    }
}

fn content_type(info: &FileInfo) -> String {
    info.attributes.content_type.clone().unwrap_or_else(|| dto::DEFAULT_TYPE.to_owned())
}

/// `Expires` as it was given, which need not be a date.
fn expires(info: &FileInfo) -> HeaderMap {
    let value = info.attributes.expires.as_ref().and_then(|expires| HeaderValue::from_str(expires).ok());
    value.map(|value| (header::EXPIRES, value)).into_iter().collect()
}

/// `response-*` parameters, which `s3s` puts over the headers of GetObject, and not over those of HeadObject.
fn overrides(input: &HeadObjectInput) -> S3Result<HeaderMap> {
    let texts = [
        (header::CACHE_CONTROL, &input.response_cache_control),
        (header::CONTENT_DISPOSITION, &input.response_content_disposition),
        (header::CONTENT_ENCODING, &input.response_content_encoding),
        (header::CONTENT_LANGUAGE, &input.response_content_language),
        (header::CONTENT_TYPE, &input.response_content_type),
    ];
    let mut headers = HeaderMap::new();
    for (name, value) in texts {
        if let Some(value) = value {
            headers.insert(name.clone(), overriding(&name, value)?);
        }
    }
    if let Some(expires) = &input.response_expires {
        headers.insert(header::EXPIRES, overriding(&header::EXPIRES, &http_date(expires))?);
    }
    Ok(headers)
}

fn overriding(name: &HeaderName, value: &str) -> S3Result<HeaderValue> {
    let invalid = |_| error(S3ErrorCode::InvalidArgument, format!("The overriding value of {name} is not valid"));
    HeaderValue::from_str(value).map_err(invalid)
}

fn http_date(time: &Timestamp) -> String {
    let mut text = Vec::new();
    // Writing to memory does not fail; a year beyond four digits does, and then there is no header.
    let _ = time.format(TimestampFormat::HttpDate, &mut text);
    String::from_utf8(text).unwrap_or_default()
}

/// 304, with what a cache needs.
fn not_modified(info: &FileInfo) -> S3Error {
    let mut error = S3Error::new(S3ErrorCode::NotModified);
    let tag = HeaderValue::from_str(&format!("\"{}\"", info.tags.s3()));
    let date = HeaderValue::from_str(&http_date(&dto::time(info.stamp)));
    let headers = [tag.map(|tag| (header::ETAG, tag)), date.map(|date| (header::LAST_MODIFIED, date))];
    error.set_headers(headers.into_iter().flatten().collect());
    error
}

/// A length as `s3s` has it.
pub(crate) fn signed(length: u64) -> S3Result<i64> {
    i64::try_from(length).map_err(S3Error::internal_error)
}

/// The bytes of a file on their way out. An error in the middle breaks the connection off before the stated length is reached,
/// so that no client takes what it got for the whole.
struct FileBody {
    first: Option<Bytes>,
    /// `s3s` wants bodies that are `Sync`. It is only polled through `&mut`, so the lock is never taken.
    rest: Mutex<FileReader>,
    left: u64,
}

impl Stream for FileBody {
    type Item = Result<Bytes, StdError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let polled = match this.first.take() {
            Some(first) => Poll::Ready(Some(Ok(first))),
            None => {
                let rest = this.rest.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
                rest.poll_next_unpin(context)
            }
        };
        if let Poll::Ready(Some(Ok(piece))) = &polled {
            this.left = this.left.saturating_sub(piece.len() as u64);
        }
        polled.map_err(|error| {
            report(&error);
            StdError::from(error)
        })
    }
}

impl ByteStream for FileBody {
    fn remaining_length(&self) -> RemainingLength {
        usize::try_from(self.left).map_or_else(|_| RemainingLength::unknown(), RemainingLength::new_exact)
    }
}

/// Logs why an answer that had begun is broken off.
pub(crate) fn report(error: &GetError) {
    if error.kind() == ErrorKind::Corrupt {
        tracing::error!(%error, "a file is damaged");
    } else {
        tracing::warn!(%error, "a file could not be read to its end");
    }
}
