//! The end of a multipart upload: parts are named, checksums joined and compared, and one commit makes the object.

use super::{Wanted, reference};
use crate::checksum::{Algorithm, PartSum, composite, encode, full_object};
use crate::s3::dto::{self, Sums};
use crate::s3::error::{self, error};
use crate::s3::put::write_refused;
use crate::s3::refuse;
use crate::s3::service::Caller;
use cairn_client::PutError;
use cairn_common::error::ErrorKind;
use cairn_common::file::{Checksum, Condition};
use cairn_common::limits::PARTS_MAX;
use cairn_common::name::FilePath;
use cairn_common::wire::command::Committed;
use cairn_common::wire::master::{Found, PartInfo, PartsPage};
use s3s::dto::{ChecksumType, CompleteMultipartUploadInput, CompleteMultipartUploadOutput, CompletedPart};
use s3s::{S3Error, S3ErrorCode, S3Response, S3Result};
use std::collections::BTreeMap;

/// Makes the object. Repeated after its answer was lost, it gives the same answer again.
pub(crate) async fn complete(
    caller: &Caller,
    input: CompleteMultipartUploadInput,
) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
    let upload = reference(dto::path(&input.bucket, &input.key)?, &input.upload_id)?;
    dto::expect_owner(input.expected_bucket_owner.as_deref(), caller.tenant())?;
    refuse::customer_keys(&caller.headers)?;
    let stated = Stated::read(&input)?;
    let named = named(input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default())?;
    let mut repeated = false;
    let checksums = match caller.client.parts(&upload, 0, 0).await {
        Ok(page) => stated.check(&page, &named)?,
        // It may have been completed by an earlier try of this request; then the commit has that one's answer.
        Err(problem) if problem.kind() == ErrorKind::NotFound => {
            repeated = true;
            BTreeMap::new()
        }
        Err(problem) => return Err(error::operation(problem)),
    };
    let parts = named.into_iter().map(|part| (part.number, part.tag)).collect();
    let must_exist = input.if_match.is_some();
    let condition = dto::write_condition(input.if_match, input.if_none_match);
    let completed = caller.client.complete_multipart(&upload, parts, condition, checksums.clone()).await;
    let committed = match completed {
        Ok(committed) => committed,
        Err(cairn_client::Error::Master(problem)) => {
            return Err(write_refused(&caller.client, &upload.path, must_exist, PutError::Master(problem)).await);
        }
    };
    let checksums = if repeated { made_before(caller, &upload.path, &committed).await } else { checksums };
    let sums = Sums::of(&checksums);
    Ok(S3Response::new(CompleteMultipartUploadOutput {
        location: Some(format!("/{}", upload.path)),
        bucket: Some(input.bucket),
        key: Some(input.key),
        checksum_crc32: sums.crc32,
        checksum_crc32c: sums.crc32c,
        checksum_crc64nvme: sums.crc64nvme,
        checksum_sha1: sums.sha1,
        checksum_sha256: sums.sha256,
        checksum_type: sums.kind,
        e_tag: Some(dto::tag(&committed.tags)),
        version_id: dto::made(committed.version),
        ..CompleteMultipartUploadOutput::default()
    }))
}

/// The checksums that an earlier try of the request answered with, while the object is still the one that it made.
async fn made_before(caller: &Caller, path: &FilePath, committed: &Committed) -> BTreeMap<String, Checksum> {
    match caller.client.stat(path, Condition::default()).await {
        Ok(Found::Here(info)) if info.stamp == committed.stamp => info.attributes.checksums,
        _ => BTreeMap::new(),
    }
}

/// A part as the client names it.
#[derive(Clone, Debug)]
struct Named {
    number: u32,
    /// Its tag, without quotes.
    tag: String,
    /// Its checksum as the client knows it.
    checksums: Vec<(Algorithm, String)>,
}

fn named(parts: Vec<CompletedPart>) -> S3Result<Vec<Named>> {
    let malformed =
        || error(S3ErrorCode::MalformedXML, "The body must name 1 to 10,000 parts, each by number and ETag");
    if parts.is_empty() || parts.len() > PARTS_MAX as usize {
        return Err(malformed());
    }
    let named = |part: CompletedPart| {
        let number = part.part_number.and_then(|number| u32::try_from(number).ok()).ok_or_else(malformed)?;
        let tag = part.e_tag.ok_or_else(malformed)?.into_value();
        let checksums = [
            (Algorithm::Crc32, part.checksum_crc32),
            (Algorithm::Crc32c, part.checksum_crc32c),
            (Algorithm::Crc64Nvme, part.checksum_crc64nvme),
            (Algorithm::Sha1, part.checksum_sha1),
            (Algorithm::Sha256, part.checksum_sha256),
        ];
        let checksums = checksums.into_iter().filter_map(|(algorithm, value)| Some((algorithm, value?))).collect();
        Ok(Named { number, tag, checksums })
    };
    parts.into_iter().map(named).collect()
}

/// What the client says about the object as a whole.
#[derive(Clone, Debug, Default)]
struct Stated {
    checksum: Option<(Algorithm, String)>,
    full: Option<bool>,
    length: Option<i64>,
}

impl Stated {
    fn read(input: &CompleteMultipartUploadInput) -> S3Result<Stated> {
        let checksums = [
            (Algorithm::Crc32, &input.checksum_crc32),
            (Algorithm::Crc32c, &input.checksum_crc32c),
            (Algorithm::Crc64Nvme, &input.checksum_crc64nvme),
            (Algorithm::Sha1, &input.checksum_sha1),
            (Algorithm::Sha256, &input.checksum_sha256),
        ];
        let mut stated = checksums.into_iter().filter_map(|(algorithm, value)| Some((algorithm, value.clone()?)));
        let checksum = stated.next();
        if stated.next().is_some() {
            return Err(invalid("Only one checksum may be stated"));
        }
        let full = input.checksum_type.as_ref().map(|kind| kind.as_str() == ChecksumType::FULL_OBJECT);
        Ok(Stated { checksum, full, length: input.mpu_object_size })
    }

    /// The checksums of the object, if everything that was stated is right.
    fn check(&self, page: &PartsPage, named: &[Named]) -> S3Result<BTreeMap<String, Checksum>> {
        let known: BTreeMap<u32, &PartInfo> = page.parts.iter().map(|part| (part.number, part)).collect();
        let find = |part: &Named| known.get(&part.number).copied().ok_or_else(|| invalid_part(part.number));
        let parts = named.iter().map(find).collect::<S3Result<Vec<&PartInfo>>>()?;
        for (named, part) in named.iter().zip(&parts) {
            let matches = |(algorithm, value): &(Algorithm, String)| {
                part.checksums.get(algorithm.name()).is_none_or(|known| encode(known) == *value)
            };
            if !named.checksums.iter().all(matches) {
                return Err(invalid_part(named.number));
            }
        }
        let length: u64 = parts.iter().map(|part| part.length).sum();
        if self.length.is_some_and(|stated| u64::try_from(stated).ok() != Some(length)) {
            return Err(invalid("The size stated in x-amz-mp-object-size is not that of the parts"));
        }
        self.checksum_of(Wanted::stored(page.checksum.as_ref()), &parts)
    }

    fn checksum_of(&self, wanted: Option<Wanted>, parts: &[&PartInfo]) -> S3Result<BTreeMap<String, Checksum>> {
        let stated = self.checksum.as_ref();
        // Nothing was asked for when the upload began: what the client states now, or what we computed by ourselves.
        let assumed = || {
            let algorithm = stated.map_or(Algorithm::Crc64Nvme, |(algorithm, _)| *algorithm);
            let full = self.full.unwrap_or(algorithm.is_full_object_by_default());
            Wanted { algorithm, full }
        };
        let Wanted { algorithm, full } = wanted.unwrap_or_else(assumed);
        if stated.is_some_and(|(stated, _)| *stated != algorithm) || self.full.is_some_and(|stated| stated != full) {
            return Err(invalid("The checksum stated is not of the kind that the upload was begun with"));
        }
        let sums: Option<Vec<PartSum<'_>>> = parts.iter().map(|part| sum(part, algorithm)).collect();
        let Some(sums) = sums else {
            // Parts that were copied by reference have no checksum.
            return if wanted.is_none() && stated.is_none() {
                Ok(BTreeMap::new())
            } else {
                Err(invalid("Not every part has a checksum of the algorithm that the upload was begun with"))
            };
        };
        let joined = if full { full_object(algorithm, &sums) } else { composite(algorithm, &sums) };
        let joined = joined.map_err(|problem| invalid(problem.to_string()))?;
        if let Some((_, value)) = stated
            && !is_same(value, &joined)
        {
            let message = format!("The {} that was stated is not that of the object", algorithm.name());
            return Err(error(S3ErrorCode::BadDigest, message));
        }
        Ok(BTreeMap::from([(algorithm.name().to_owned(), joined)]))
    }
}

fn sum<'a>(part: &'a PartInfo, algorithm: Algorithm) -> Option<PartSum<'a>> {
    let checksum = part.checksums.get(algorithm.name())?;
    Some(PartSum { value: &checksum.value, length: part.length })
}

/// Whether a stated value is the one that came out. Clients may leave the number of parts off a composite.
fn is_same(stated: &str, joined: &Checksum) -> bool {
    let plain = Checksum { parts: None, ..joined.clone() };
    stated == encode(joined) || stated == encode(&plain)
}

fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> S3Error {
    error(S3ErrorCode::InvalidRequest, message)
}

fn invalid_part(number: u32) -> S3Error {
    error(S3ErrorCode::InvalidPart, format!("Part {number} was not uploaded, or is another one than you named"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checksum::Hasher;
    use cairn_common::ids::Stamp;

    const BODIES: [&[u8]; 2] = [b"first part", b"second"];

    fn page(with: &[Algorithm], wanted: Option<(&str, bool)>) -> PartsPage {
        let part = |(number, body): (usize, &&[u8])| PartInfo {
            number: number as u32 + 1,
            stamp: Stamp(1),
            length: body.len() as u64,
            md5: [0; 16],
            checksums: with
                .iter()
                .map(|algorithm| {
                    let value = Hasher::of(*algorithm, body);
                    (algorithm.name().to_owned(), Checksum { value, parts: None })
                })
                .collect(),
        };
        let parts = BODIES.iter().enumerate().map(part).collect();
        let checksum = wanted.map(|(name, full)| (name.to_owned(), full));
        PartsPage { parts, more: false, checksum, appended: None }
    }

    fn both() -> Vec<Named> {
        (1..=2).map(|number| Named { number, tag: "t".to_owned(), checksums: Vec::new() }).collect()
    }

    fn code(outcome: S3Result<BTreeMap<String, Checksum>>) -> String {
        outcome.unwrap_err().code().as_str().to_owned()
    }

    #[test]
    fn the_kind_asked_for_at_the_beginning_is_made() {
        let sums = Stated::default().check(&page(&[Algorithm::Crc32], Some(("CRC32", true))), &both()).unwrap();
        let whole = Hasher::of(Algorithm::Crc32, &BODIES.concat());
        assert_eq!(sums["CRC32"], Checksum { value: whole, parts: None });
        let sums = Stated::default().check(&page(&[Algorithm::Sha256], Some(("SHA256", false))), &both()).unwrap();
        assert_eq!(sums["SHA256"].parts, Some(2));
    }

    #[test]
    fn without_a_wish_the_crc64_that_was_computed_anyway_is_kept() {
        let sums = Stated::default().check(&page(&[Algorithm::Crc64Nvme], None), &both()).unwrap();
        let whole = Hasher::of(Algorithm::Crc64Nvme, &BODIES.concat());
        assert_eq!(sums["CRC64NVME"], Checksum { value: whole, parts: None });
        assert!(Stated::default().check(&page(&[], None), &both()).unwrap().is_empty());
        let mixed = page(&[Algorithm::Crc32], None);
        assert!(Stated::default().check(&mixed, &both()).unwrap().is_empty());
    }

    #[test]
    fn what_is_stated_of_the_whole_must_be_right() {
        let page = page(&[Algorithm::Crc32], Some(("CRC32", false)));
        let right = encode(&Stated::default().check(&page, &both()).unwrap()["CRC32"]);
        assert!(right.ends_with("-2"));
        let state =
            |algorithm, value: &str| Stated { checksum: Some((algorithm, value.to_owned())), ..Stated::default() };
        assert!(state(Algorithm::Crc32, &right).check(&page, &both()).is_ok());
        assert!(state(Algorithm::Crc32, right.trim_end_matches("-2")).check(&page, &both()).is_ok());
        assert_eq!(code(state(Algorithm::Crc32, "AAAAAA==-2").check(&page, &both())), "BadDigest");
        assert_eq!(code(state(Algorithm::Sha1, "x").check(&page, &both())), "InvalidRequest");
        let full = Stated { full: Some(true), ..Stated::default() };
        assert_eq!(code(full.check(&page, &both())), "InvalidRequest");
        let size = |length| Stated { length: Some(length), ..Stated::default() };
        assert!(size(16).check(&page, &both()).is_ok());
        assert_eq!(code(size(15).check(&page, &both())), "InvalidRequest");
    }

    #[test]
    fn what_is_stated_of_a_part_must_be_right() {
        let page = page(&[Algorithm::Crc32], None);
        let mut parts = both();
        parts[1].checksums = vec![(Algorithm::Crc32, "AAAAAA==".to_owned())];
        assert_eq!(code(Stated::default().check(&page, &parts)), "InvalidPart");
        let mut parts = both();
        parts[1].number = 3;
        assert_eq!(code(Stated::default().check(&page, &parts)), "InvalidPart");
    }

    #[test]
    fn a_checksum_that_was_asked_for_is_not_left_out_in_silence() {
        let page = page(&[], Some(("CRC32", true)));
        assert_eq!(code(Stated::default().check(&page, &both())), "InvalidRequest");
    }

    #[test]
    fn a_body_names_parts_by_number_and_tag() {
        let part = |number: Option<i32>, tag: Option<&str>| CompletedPart {
            part_number: number,
            e_tag: tag.map(|tag| s3s::dto::ETag::Strong(tag.to_owned())),
            ..CompletedPart::default()
        };
        assert_eq!(named(vec![part(Some(1), Some("a"))]).unwrap()[0].tag, "a");
        for bad in [vec![], vec![part(None, Some("a"))], vec![part(Some(1), None)], vec![part(Some(-1), Some("a"))]] {
            assert_eq!(named(bad).unwrap_err().code(), &S3ErrorCode::MalformedXML);
        }
    }
}
