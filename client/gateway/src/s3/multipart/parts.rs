//! Parts: sent, made of other objects, listed.

use super::{Wanted, initiator, reference};
use crate::checksum::Algorithm;
use crate::s3::copy::SOURCE_TIMES;
use crate::s3::dto::{self, Sums};
use crate::s3::error::{self, error};
use crate::s3::get::signed;
use crate::s3::list::{limit, shown_limit};
use crate::s3::refuse;
use crate::s3::service::Caller;
use crate::upload::{BodyInspector, Expected, Value};
use cairn_client::{GetError, GetOptions, PutOptions, StreamSource};
use cairn_common::chunk::Chunking;
use cairn_common::file::Condition;
use cairn_common::limits::PARTS_MAX;
use cairn_common::name::FilePath;
use cairn_common::version::VersionId;
use cairn_common::wire::command::{MultipartRef, Refusal};
use cairn_common::wire::master::{MasterError, PartInfo, PartsPage, RangeWanted};
use s3s::dto::{
    ChecksumAlgorithm, CopyPartResult, ETag, ListPartsInput, ListPartsOutput, Part, Range, StorageClass,
    UploadPartCopyInput, UploadPartCopyOutput, UploadPartInput, UploadPartOutput,
};
use s3s::{S3ErrorCode, S3Response, S3Result};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Stores a part, or replaces the one of that number.
pub(crate) async fn upload_part(caller: &Caller, input: UploadPartInput) -> S3Result<S3Response<UploadPartOutput>> {
    let upload = reference(dto::path(&input.bucket, &input.key)?, &input.upload_id)?;
    dto::expect_owner(input.expected_bucket_owner.as_deref(), caller.tenant())?;
    refuse::customer_keys(&caller.headers)?;
    let number = number(input.part_number)?;
    // Also finds out that the upload is there before anything of the part was received.
    let wanted = wanted(caller, &upload, number).await?;
    let arrival = caller.arrival()?;
    if let (Some(wanted), Some(stated)) = (wanted, arrival.stated())
        && wanted.algorithm != stated
    {
        let (wanted, stated) = (wanted.algorithm.name(), stated.name());
        let message = format!("The upload was begun with the checksum algorithm {wanted}; the part came with {stated}");
        return Err(error(S3ErrorCode::InvalidRequest, message));
    }
    let body = arrival.open(caller.secret(), wanted.map_or(Algorithm::Crc64Nvme, |wanted| wanted.algorithm))?;
    let options = PutOptions {
        chunking: Some(Chunking::FIXED),
        length: Some(body.length),
        inspector: Some(Box::new(body.inspector)),
        ..PutOptions::default()
    };
    let part = caller.client.put_part(&upload, number, body.body, options).await.map_err(error::put)?;
    let sums = Sums::of(&part.checksums);
    Ok(S3Response::new(UploadPartOutput {
        checksum_crc32: sums.crc32,
        checksum_crc32c: sums.crc32c,
        checksum_crc64nvme: sums.crc64nvme,
        checksum_sha1: sums.sha1,
        checksum_sha256: sums.sha256,
        e_tag: Some(tag(&part)),
        ..UploadPartOutput::default()
    }))
}

/// Makes a part of bytes of another object: by reference, unless the upload wants a checksum, which must be computed, or the
/// object is a small one that the masters keep themselves.
pub(crate) async fn upload_part_copy(
    caller: &Caller,
    input: UploadPartCopyInput,
) -> S3Result<S3Response<UploadPartCopyOutput>> {
    let upload = reference(dto::path(&input.bucket, &input.key)?, &input.upload_id)?;
    let (from, version) = dto::source(&input.copy_source)?;
    caller.must_read(&from, version).await?;
    dto::expect_owner(input.expected_bucket_owner.as_deref(), caller.tenant())?;
    dto::expect_owner(input.expected_source_bucket_owner.as_deref(), caller.tenant())?;
    refuse::customer_keys(&caller.headers)?;
    let number = number(input.part_number)?;
    let range = input.copy_source_range.as_deref().map(source_range).transpose()?;
    let condition =
        dto::read_condition(input.copy_source_if_match, input.copy_source_if_none_match, &caller.headers, SOURCE_TIMES);
    let part = match wanted(caller, &upload, number).await? {
        None => refer(caller, &upload, number, ((&from, version), condition, range)).await?,
        Some(wanted) => stream(caller, &upload, number, ((&from, version), condition, range), wanted.algorithm).await?,
    };
    let sums = Sums::of(&part.checksums);
    let result = CopyPartResult {
        checksum_crc32: sums.crc32,
        checksum_crc32c: sums.crc32c,
        checksum_crc64nvme: sums.crc64nvme,
        checksum_sha1: sums.sha1,
        checksum_sha256: sums.sha256,
        e_tag: Some(tag(&part)),
        last_modified: Some(dto::time(part.stamp)),
    };
    let copy_source_version_id = dto::version_id(version);
    let copy_part_result = Some(result);
    Ok(S3Response::new(UploadPartCopyOutput { copy_part_result, copy_source_version_id, ..Default::default() }))
}

/// What a part is made of: a version of an object, on a condition, and which of its bytes.
type PartSource<'a> = ((&'a FilePath, Option<VersionId>), Condition, Option<(u64, u64)>);

/// Makes a part by reference, or of the bytes where there is nothing to refer to.
async fn refer(caller: &Caller, upload: &MultipartRef, number: u32, source: PartSource<'_>) -> S3Result<PartInfo> {
    let (from, condition, range) = source;
    match caller.client.copy_part(upload, number, from, condition.clone(), range).await {
        Err(cairn_client::Error::Master(MasterError::Refused(Refusal::SourceInline(_) | Refusal::WrongDomain))) => {
            stream(caller, upload, number, (from, condition, range), Algorithm::Crc64Nvme).await
        }
        copied => copied.map_err(error::operation),
    }
}

/// Reads bytes of an object and stores them as a part.
async fn stream(
    caller: &Caller,
    upload: &MultipartRef,
    number: u32,
    ((from, version), condition, range): PartSource<'_>,
    algorithm: Algorithm,
) -> S3Result<PartInfo> {
    let wanted = range.map_or(RangeWanted::All, |(start, end)| RangeWanted::FromTo(start, end));
    let opened = caller.client.get(from, GetOptions { range: wanted, version, condition }).await;
    let reader = match opened.map_err(error::get)? {
        cairn_client::GetOutcome::File(reader) => reader,
        cairn_client::GetOutcome::NotModified(_) => return Err(error::precondition_failed()),
    };
    let (start, end) = reader.range();
    if range.is_some_and(|range| range != (start, end)) {
        return Err(error::get(GetError::Unsatisfiable { length: reader.info().length }));
    }
    let expected = Expected { checksums: BTreeMap::from([(algorithm, Value::Unstated)]), ..Expected::default() };
    let options = PutOptions {
        chunking: Some(Chunking::FIXED),
        length: Some(end - start),
        inspector: Some(Box::new(BodyInspector::new(expected, Arc::default()))),
        ..PutOptions::default()
    };
    caller.client.put_part(upload, number, StreamSource(reader), options).await.map_err(error::put)
}

/// The parts of an upload, a page of them.
pub(crate) async fn list_parts(caller: &Caller, input: ListPartsInput) -> S3Result<S3Response<ListPartsOutput>> {
    let upload = reference(dto::path(&input.bucket, &input.key)?, &input.upload_id)?;
    dto::expect_owner(input.expected_bucket_owner.as_deref(), caller.tenant())?;
    let after = input.part_number_marker.unwrap_or_default();
    let after =
        u32::try_from(after).map_err(|_| error(S3ErrorCode::InvalidArgument, "A part number is not negative"))?;
    let limit = limit(input.max_parts)?;
    // To the masters 0 means all.
    let page = caller.client.parts(&upload, after, limit.max(1)).await.map_err(error::operation)?;
    let page = if limit == 0 { PartsPage { parts: Vec::new(), more: false, ..page } } else { page };
    let wanted = Wanted::stored(page.checksum.as_ref());
    let last = page.parts.last().and_then(|part| i32::try_from(part.number).ok());
    Ok(S3Response::new(ListPartsOutput {
        bucket: Some(input.bucket),
        checksum_algorithm: wanted.map(|wanted| ChecksumAlgorithm::from_static(wanted.algorithm.name())),
        checksum_type: wanted.map(Wanted::kind),
        initiator: Some(initiator(caller)),
        is_truncated: Some(page.more),
        key: Some(input.key),
        max_parts: Some(shown_limit(input.max_parts)),
        next_part_number_marker: last,
        owner: Some(dto::owner(caller.tenant())),
        part_number_marker: Some(input.part_number_marker.unwrap_or_default()),
        parts: Some(page.parts.into_iter().map(part).collect::<S3Result<_>>()?),
        storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
        upload_id: Some(input.upload_id),
        ..ListPartsOutput::default()
    }))
}

fn part(info: PartInfo) -> S3Result<Part> {
    let sums = Sums::of(&info.checksums);
    Ok(Part {
        checksum_crc32: sums.crc32,
        checksum_crc32c: sums.crc32c,
        checksum_crc64nvme: sums.crc64nvme,
        checksum_sha1: sums.sha1,
        checksum_sha256: sums.sha256,
        e_tag: Some(tag(&info)),
        last_modified: Some(dto::time(info.stamp)),
        part_number: i32::try_from(info.number).ok(),
        size: Some(signed(info.length)?),
    })
}

fn tag(part: &PartInfo) -> ETag {
    ETag::Strong(hex::encode(part.md5))
}

fn number(number: i32) -> S3Result<u32> {
    let number = u32::try_from(number).ok().filter(|number| (1..=PARTS_MAX).contains(number));
    number.ok_or_else(|| {
        error(S3ErrorCode::InvalidArgument, "Part number must be an integer between 1 and 10000, inclusive")
    })
}

/// The checksum that the upload was begun with.
async fn wanted(caller: &Caller, upload: &MultipartRef, number: u32) -> S3Result<Option<Wanted>> {
    let page = caller.client.parts(upload, number.saturating_sub(1), 1).await.map_err(error::operation)?;
    Ok(Wanted::stored(page.checksum.as_ref()))
}

/// `bytes=FIRST-LAST`, both stated; as the first byte and one past the last.
fn source_range(text: &str) -> S3Result<(u64, u64)> {
    match Range::parse(text) {
        Ok(Range::Int { first, last: Some(last) }) => Ok((first, last.saturating_add(1))),
        _ => Err(error(S3ErrorCode::InvalidArgument, "The range of the source must be bytes=FIRST-LAST")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn part_numbers_lie_between_1_and_10000() {
        assert_eq!(number(1).unwrap(), 1);
        assert_eq!(number(10_000).unwrap(), 10_000);
        for bad in [0, -1, 10_001, i32::MIN] {
            assert!(number(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_range_of_a_source_states_both_ends() {
        assert_eq!(source_range("bytes=0-4").unwrap(), (0, 5));
        for bad in ["bytes=0-", "bytes=-5", "0-4", "bytes=4-0", "bytes=0-1,2-3", ""] {
            assert!(source_range(bad).is_err(), "{bad}");
        }
    }
}
