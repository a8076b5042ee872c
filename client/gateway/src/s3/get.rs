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
use cairn_common::limits::PARTS_MAX;
use cairn_common::name::FilePath;
use cairn_common::version::VersionId;
use cairn_common::wire::master::{FilePartsPage, Found, RangeWanted};
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use s3s::dto::{
    Checksum, ChecksumMode, GetObjectAttributesInput, GetObjectAttributesOutput, GetObjectAttributesParts,
    GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput, ObjectAttributes, ObjectPart, Range,
    StorageClass, StreamingBlob, Timestamp, TimestampFormat,
};
use s3s::stream::{ByteStream, RemainingLength};
use s3s::{S3Error, S3ErrorCode, S3Response, S3Result, StdError};
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};

/// Parts in one answer of GetObjectAttributes.
const PARTS_LISTED_MAX: i32 = 1_000;
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
    let outcome = caller.client.get(&path, GetOptions { range: wanted, version, condition }).await;
    let mut reader = match outcome.map_err(|problem| unread(problem, wanted))? {
        GetOutcome::File(reader) => reader,
        GetOutcome::NotModified(info) => return Err(not_modified(&info)),
    };
    let info = reader.info().clone();
    let (start, end) = reader.range();
    let partial = wanted != RangeWanted::All;
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
        parts_count: parts_count(&info, wanted),
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
    let wanted = wanted(input.range, input.part_number)?;
    let (info, (start, end)) = look(caller, &path, GetOptions { range: wanted, version, condition }).await?;
    let partial = wanted != RangeWanted::All;
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
        parts_count: parts_count(&info, wanted),
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

/// A version, and where the bytes that are asked for begin and end, without reading them.
async fn look(caller: &Caller, path: &FilePath, options: GetOptions) -> S3Result<(FileInfo, (u64, u64))> {
    // Where a part begins only the masters know; they say it to whoever opens the file.
    if let RangeWanted::Part(_) = options.range {
        let wanted = options.range;
        return match caller.client.get(path, options).await.map_err(|problem| unread(problem, wanted))? {
            GetOutcome::File(reader) => Ok((reader.info().clone(), reader.range())),
            GetOutcome::NotModified(info) => Err(not_modified(&info)),
        };
    }
    let GetOptions { range, version, condition } = options;
    match caller.client.stat_version(path, version, condition).await.map_err(error::operation)? {
        Found::Here(info) => {
            let range = range.of(info.length).ok_or_else(|| error::unsatisfiable(info.length))?;
            Ok((info, range))
        }
        Found::NotModified(info) => Err(not_modified(&info)),
    }
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
    // `s3s` takes each header for one name; clients put all names into one header.
    let names = || input.object_attributes.iter().flat_map(|names| names.as_str().split(','));
    let wants = |name: &str| names().any(|wanted| wanted.trim() == name);
    let (info, object_parts) = if wants(ObjectAttributes::OBJECT_PARTS) {
        parts(caller, &path, version, input.part_number_marker, input.max_parts).await?
    } else {
        (caller.stat_version(&path, version).await?, None)
    };
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
    let output = GetObjectAttributesOutput {
        version_id: dto::version_id(info.version),
        checksum: (has_sums && wants(ObjectAttributes::CHECKSUM)).then_some(checksum),
        e_tag: wants(ObjectAttributes::ETAG).then(|| dto::tag(&info.tags)),
        last_modified: Some(dto::time(info.stamp)),
        object_parts,
        object_size: if wants(ObjectAttributes::OBJECT_SIZE) { Some(signed(info.length)?) } else { None },
        storage_class: wants(ObjectAttributes::STORAGE_CLASS)
            .then(|| StorageClass::from_static(StorageClass::STANDARD)),
        ..GetObjectAttributesOutput::default()
    };
    Ok(S3Response::new(output))
}

/// A page of the parts that an object was made of: their numbers and sizes. S3 counts them from 1 on, whatever their numbers were
/// in the upload.
async fn parts(
    caller: &Caller,
    path: &FilePath,
    version: Option<VersionId>,
    marker: Option<i32>,
    limit: Option<i32>,
) -> S3Result<(FileInfo, Option<GetObjectAttributesParts>)> {
    let negative = |_| error(S3ErrorCode::InvalidArgument, "A number of parts is not negative");
    let after = u32::try_from(marker.unwrap_or(0)).map_err(negative)?;
    let limit = u32::try_from(limit.unwrap_or(PARTS_LISTED_MAX)).map_err(negative)?;
    let page = caller.client.file_parts(path, version, after, limit).await.map_err(error::operation)?;
    let FilePartsPage { info, lengths } = page;
    let S3Tag::Multipart(_, total) = info.tags.s3 else { return Ok((info, None)) };
    let last = after.saturating_add(lengths.len() as u32);
    let part = |(number, length): (u32, u64)| {
        Ok(ObjectPart { part_number: Some(number.cast_signed()), size: Some(signed(length)?), ..ObjectPart::default() })
    };
    let listed: S3Result<Vec<ObjectPart>> = (after.saturating_add(1)..).zip(lengths).map(part).collect();
    let parts = GetObjectAttributesParts {
        is_truncated: Some(last < total),
        max_parts: Some(limit.min(PARTS_LISTED_MAX.cast_unsigned()).cast_signed()),
        next_part_number_marker: Some(last.cast_signed()),
        part_number_marker: Some(after.cast_signed()),
        parts: Some(listed?).filter(|listed| !listed.is_empty()),
        total_parts_count: Some(total.cast_signed()),
    };
    Ok((info, Some(parts)))
}

/// Which bytes are asked for.
fn wanted(range: Option<Range>, part: Option<i32>) -> S3Result<RangeWanted> {
    let number = part.map(|part| u32::try_from(part).ok().filter(|part| (1..=PARTS_MAX).contains(part)));
    match (range, number) {
        (Some(_), Some(_)) => Err(error(S3ErrorCode::InvalidRequest, "Range and partNumber exclude each other")),
        (range, None) => Ok(dto::range(range)),
        (None, Some(Some(number))) => Ok(RangeWanted::Part(number)),
        (None, Some(None)) => Err(error(S3ErrorCode::InvalidArgument, "partNumber must be from 1 to 10,000")),
    }
}

/// How many parts an object has, if one of them is asked for.
fn parts_count(info: &FileInfo, wanted: RangeWanted) -> Option<i32> {
    match (wanted, info.tags.s3) {
        (RangeWanted::Part(_), S3Tag::Multipart(_, parts)) => i32::try_from(parts).ok(),
        _ => None,
    }
}

/// Why an object cannot be opened.
fn unread(problem: GetError, wanted: RangeWanted) -> S3Error {
    match (problem, wanted) {
        (GetError::Unsatisfiable { .. }, RangeWanted::Part(_)) => {
            custom("InvalidPartNumber", StatusCode::RANGE_NOT_SATISFIABLE, "The object has no such part")
        }
        (problem, _) => error::get(problem),
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
