//! Multipart uploads: begun, listed, given up. Their parts are in [`parts`], their end in [`complete`].

mod complete;
mod parts;

pub(crate) use complete::complete;
pub(crate) use parts::{list_parts, upload_part, upload_part_copy};

use super::copy::algorithm;
use super::dto;
use super::error::{self, error, unsupported};
use super::list::{Encoding, limit, prefixes, shown_limit};
use super::refuse;
use super::service::Caller;
use crate::checksum::Algorithm;
use cairn_common::ids::UploadId;
use cairn_common::name::FilePath;
use cairn_common::wire::command::MultipartRef;
use cairn_common::wire::master::UploadInfo;
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, ChecksumAlgorithm, ChecksumType, CreateMultipartUploadInput,
    CreateMultipartUploadOutput, Initiator, ListMultipartUploadsInput, ListMultipartUploadsOutput, MultipartUpload,
    StorageClass,
};
use s3s::{S3ErrorCode, S3Response, S3Result};

/// The checksum that was asked for when an upload began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) algorithm: Algorithm,
    /// Of the whole object, or of its parts' checksums.
    pub(crate) full: bool,
}

impl Wanted {
    /// As the masters keep it.
    pub(crate) fn stored(checksum: Option<&(String, bool)>) -> Option<Wanted> {
        let (name, full) = checksum?;
        Some(Wanted { algorithm: Algorithm::from_name(name)?, full: *full })
    }

    /// As S3 says it.
    fn kind(self) -> ChecksumType {
        ChecksumType::from_static(if self.full { ChecksumType::FULL_OBJECT } else { ChecksumType::COMPOSITE })
    }
}

/// Begins an upload.
pub(crate) async fn create(
    caller: &Caller,
    input: CreateMultipartUploadInput,
) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
    let path = dto::path(&input.bucket, &input.key)?;
    dto::expect_owner(input.expected_bucket_owner.as_deref(), caller.tenant())?;
    refuse::in_write(&caller.headers)?;
    let attributes = dto::attributes(&caller.headers, input.metadata)?;
    attributes.check().map_err(error::attributes)?;
    let wanted = wanted(input.checksum_algorithm.as_ref(), input.checksum_type.as_ref())?;
    let checksum = wanted.map(|wanted| (wanted.algorithm.name().to_owned(), wanted.full));
    let upload = caller.client.begin_multipart(&path, attributes, checksum).await.map_err(error::operation)?;
    Ok(S3Response::new(CreateMultipartUploadOutput {
        bucket: Some(input.bucket),
        checksum_algorithm: wanted.map(|wanted| ChecksumAlgorithm::from_static(wanted.algorithm.name())),
        checksum_type: wanted.map(Wanted::kind),
        key: Some(input.key),
        upload_id: Some(upload_text(upload)),
        ..CreateMultipartUploadOutput::default()
    }))
}

fn wanted(name: Option<&ChecksumAlgorithm>, kind: Option<&ChecksumType>) -> S3Result<Option<Wanted>> {
    let invalid = |message: String| Err(error(S3ErrorCode::InvalidRequest, message));
    let Some(name) = name else {
        return match kind {
            None => Ok(None),
            Some(_) => invalid("x-amz-checksum-type needs x-amz-checksum-algorithm".to_owned()),
        };
    };
    let algorithm = algorithm(name.as_str())?;
    let full = match kind.map(ChecksumType::as_str) {
        None => algorithm.is_full_object_by_default(),
        Some(ChecksumType::FULL_OBJECT) if algorithm.is_crc() => true,
        Some(ChecksumType::COMPOSITE) if algorithm.is_composable() => false,
        Some(kind) => {
            return invalid(format!("The {kind} checksum type cannot be used with the {} algorithm", algorithm.name()));
        }
    };
    Ok(Some(Wanted { algorithm, full }))
}

/// Gives an upload up.
pub(crate) async fn abort(
    caller: &Caller,
    input: AbortMultipartUploadInput,
) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
    dto::expect_owner(input.expected_bucket_owner.as_deref(), caller.tenant())?;
    if input.if_match_initiated_time.is_some() {
        return Err(unsupported("A condition on the time of an upload"));
    }
    let upload = reference(dto::path(&input.bucket, &input.key)?, &input.upload_id)?;
    caller.client.abort_multipart(&upload).await.map_err(error::operation)?;
    Ok(S3Response::new(AbortMultipartUploadOutput::default()))
}

/// Open uploads of a bucket, by key and then by id, which is in the order in which they began.
pub(crate) async fn list_uploads(
    caller: &Caller,
    input: ListMultipartUploadsInput,
) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
    dto::expect_owner(input.expected_bucket_owner.as_deref(), caller.tenant())?;
    let bucket = dto::bucket(&input.bucket)?;
    let encoding = Encoding::parse(input.encoding_type.as_ref())?;
    let limit = limit(input.max_uploads)?;
    let prefix = input.prefix.as_deref().unwrap_or_default();
    let after = match input.key_marker.as_deref().filter(|key| !key.is_empty()) {
        None => None,
        Some(key) => {
            let upload = input.upload_id_marker.as_deref().filter(|id| !id.is_empty());
            Some((key.to_owned(), upload.map(upload_id).transpose()?))
        }
    };
    let delimiter = input.delimiter.clone().filter(|delimiter| !delimiter.is_empty());
    let page =
        caller.client.uploads(&bucket, prefix, delimiter, after, limit.max(1)).await.map_err(error::operation)?;
    // None are wanted, but the bucket must be there.
    let page = if limit == 0 {
        cairn_common::wire::master::UploadsPage { uploads: Vec::new(), prefixes: Vec::new(), next: None }
    } else {
        page
    };
    let upload = |info: UploadInfo| MultipartUpload {
        initiated: Some(dto::time(info.begun)),
        initiator: Some(initiator(caller)),
        key: Some(encoding.name(info.key.as_str())),
        owner: Some(dto::owner(caller.tenant())),
        storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
        upload_id: Some(upload_text(info.upload)),
        ..MultipartUpload::default()
    };
    let (next_key, next_upload) = match page.next {
        None => (None, None),
        Some((key, upload)) => (Some(encoding.name(&key)), upload.map(upload_text)),
    };
    Ok(S3Response::new(ListMultipartUploadsOutput {
        is_truncated: Some(next_key.is_some()),
        next_key_marker: next_key,
        next_upload_id_marker: next_upload,
        uploads: Some(page.uploads.into_iter().map(upload).collect()),
        common_prefixes: Some(prefixes(&page.prefixes, encoding)),
        bucket: Some(input.bucket),
        prefix: Some(encoding.name(prefix)),
        delimiter: input.delimiter.map(|delimiter| encoding.name(&delimiter)),
        key_marker: Some(encoding.name(input.key_marker.as_deref().unwrap_or_default())),
        upload_id_marker: input.upload_id_marker,
        max_uploads: Some(shown_limit(input.max_uploads)),
        encoding_type: input.encoding_type,
        ..ListMultipartUploadsOutput::default()
    }))
}

/// Who began an upload: the tenant, as all of its keys are one account to S3.
pub(crate) fn initiator(caller: &Caller) -> Initiator {
    let owner = dto::owner(caller.tenant());
    Initiator { display_name: owner.display_name, id: owner.id }
}

/// An upload as clients name it: by its file and its id.
pub(crate) fn reference(path: FilePath, id: &str) -> S3Result<MultipartRef> {
    Ok(MultipartRef { path, upload: upload_id(id)? })
}

fn upload_text(upload: UploadId) -> String {
    format!("{:016x}", upload.0)
}

/// The id behind its text. Another text is that of an upload that does not exist.
fn upload_id(text: &str) -> S3Result<UploadId> {
    let id = u64::from_str_radix(text, 16).ok().map(UploadId).filter(|id| upload_text(*id) == text);
    let unknown =
        || error(S3ErrorCode::NoSuchUpload, "The upload does not exist; it may have been aborted or completed");
    id.ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_id_has_one_text() {
        assert_eq!(upload_id(&upload_text(UploadId(0xab_cdef))).unwrap(), UploadId(0xab_cdef));
        for bad in ["", "0", "+000000000000001", "00000000000000AB", "00000000000000000", "zzzzzzzzzzzzzzzz", "../x"] {
            assert_eq!(upload_id(bad).unwrap_err().code(), &S3ErrorCode::NoSuchUpload, "{bad}");
        }
    }

    #[test]
    fn only_those_kinds_of_checksums_can_be_asked_for_that_exist() {
        let ask = |name: Option<&str>, kind: Option<&str>| {
            let name = name.map(|name| ChecksumAlgorithm::from(name.to_owned()));
            let kind = kind.map(|kind| ChecksumType::from(kind.to_owned()));
            wanted(name.as_ref(), kind.as_ref()).map(|wanted| wanted.map(|wanted| wanted.full))
        };
        assert_eq!(ask(None, None).unwrap(), None);
        assert_eq!(ask(Some("CRC32"), None).unwrap(), Some(false));
        assert_eq!(ask(Some("CRC32"), Some("FULL_OBJECT")).unwrap(), Some(true));
        assert_eq!(ask(Some("CRC64NVME"), None).unwrap(), Some(true));
        assert_eq!(ask(Some("SHA256"), None).unwrap(), Some(false));
        for (name, kind) in [
            (Some("SHA256"), Some("FULL_OBJECT")),
            (Some("CRC64NVME"), Some("COMPOSITE")),
            (Some("CRC32"), Some("HALF")),
            (Some("MD5"), None),
            (None, Some("COMPOSITE")),
        ] {
            assert!(ask(name, kind).is_err(), "{name:?} {kind:?}");
        }
    }
}
