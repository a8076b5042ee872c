//! ListObjects in its two versions.
//!
//! A page is one question to the masters, answered out of one ordered range of keys; a token holds the last name of the page, so
//! it stays good whatever is written meanwhile.

use super::dto;
use super::error::{self, error};
use super::get::signed;
use super::service::Caller;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cairn_common::limits::LIST_MAX_KEYS;
use cairn_common::wire::master::{ListAfter, ListRequest, Listed, ListedFile};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::dto::{
    CommonPrefix, EncodingType, ListObjectsInput, ListObjectsOutput, ListObjectsV2Input, ListObjectsV2Output, Object,
    ObjectStorageClass, Owner,
};
use s3s::{S3ErrorCode, S3Response, S3Result};

/// What `encoding-type=url` leaves as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// How names are written in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Literal,
    Url,
}

impl Encoding {
    /// As asked for.
    pub(crate) fn parse(wanted: Option<&EncodingType>) -> S3Result<Encoding> {
        match wanted.map(EncodingType::as_str) {
            None => Ok(Encoding::Literal),
            Some(EncodingType::URL) => Ok(Encoding::Url),
            Some(_) => Err(error(S3ErrorCode::InvalidArgument, "Invalid Encoding Method specified in Request")),
        }
    }

    /// A name in an answer.
    pub(crate) fn name(self, name: &str) -> String {
        match self {
            Encoding::Literal => name.to_owned(),
            // A space as %20 and a plus as %2B: all clients read those alike, whether or not they take `+` for a space.
            Encoding::Url => utf8_percent_encode(name, PLAIN).to_string(),
        }
    }
}

/// The second version: opaque tokens.
pub(crate) async fn list_objects_v2(
    caller: &Caller,
    input: ListObjectsV2Input,
) -> S3Result<S3Response<ListObjectsV2Output>> {
    let encoding = Encoding::parse(input.encoding_type.as_ref())?;
    let after = match (&input.continuation_token, &input.start_after) {
        (Some(token), _) => ListAfter::Token(read_token(token)?),
        (None, Some(name)) if !name.is_empty() => ListAfter::Name(name.clone()),
        (None, _) => ListAfter::Start,
    };
    let question = Question {
        bucket: &input.bucket,
        prefix: input.prefix.as_deref(),
        delimiter: input.delimiter.as_deref(),
        after,
        limit: limit(input.max_keys)?,
        expected_owner: input.expected_bucket_owner.as_deref(),
    };
    let listed = question.ask(caller).await?;
    let owner = input.fetch_owner.unwrap_or(false).then(|| dto::owner(caller.tenant()));
    let output = ListObjectsV2Output {
        key_count: Some(count(&listed)?),
        is_truncated: Some(listed.next.is_some()),
        next_continuation_token: listed.next.as_deref().map(write_token),
        contents: Some(objects(listed.files, encoding, owner)?),
        common_prefixes: Some(prefixes(&listed.prefixes, encoding)),
        name: Some(input.bucket),
        prefix: Some(encoding.name(input.prefix.as_deref().unwrap_or_default())),
        max_keys: Some(shown_limit(input.max_keys)),
        continuation_token: input.continuation_token,
        delimiter: shown_delimiter(input.delimiter, encoding),
        encoding_type: input.encoding_type,
        start_after: input.start_after.map(|name| encoding.name(&name)),
        ..ListObjectsV2Output::default()
    };
    Ok(S3Response::new(output))
}

/// The first version: markers are names.
pub(crate) async fn list_objects(caller: &Caller, input: ListObjectsInput) -> S3Result<S3Response<ListObjectsOutput>> {
    let encoding = Encoding::parse(input.encoding_type.as_ref())?;
    let question = Question {
        bucket: &input.bucket,
        prefix: input.prefix.as_deref(),
        delimiter: input.delimiter.as_deref(),
        after: after_marker(input.marker.as_deref(), input.prefix.as_deref(), input.delimiter.as_deref()),
        limit: limit(input.max_keys)?,
        expected_owner: input.expected_bucket_owner.as_deref(),
    };
    let listed = question.ask(caller).await?;
    let output = ListObjectsOutput {
        is_truncated: Some(listed.next.is_some()),
        // S3 gives it only with a delimiter; without one clients go on after the last key, which is the same.
        next_marker: listed.next.as_deref().map(|next| encoding.name(next)),
        contents: Some(objects(listed.files, encoding, Some(dto::owner(caller.tenant())))?),
        common_prefixes: Some(prefixes(&listed.prefixes, encoding)),
        name: Some(input.bucket),
        prefix: Some(encoding.name(input.prefix.as_deref().unwrap_or_default())),
        marker: Some(encoding.name(input.marker.as_deref().unwrap_or_default())),
        max_keys: Some(shown_limit(input.max_keys)),
        delimiter: shown_delimiter(input.delimiter, encoding),
        encoding_type: input.encoding_type,
        ..ListObjectsOutput::default()
    };
    Ok(S3Response::new(output))
}

/// What both versions ask the masters.
struct Question<'a> {
    bucket: &'a str,
    prefix: Option<&'a str>,
    delimiter: Option<&'a str>,
    after: ListAfter,
    limit: u32,
    expected_owner: Option<&'a str>,
}

impl Question<'_> {
    async fn ask(self, caller: &Caller) -> S3Result<Listed> {
        dto::expect_owner(self.expected_owner, caller.tenant())?;
        let bucket = dto::bucket(self.bucket)?;
        if self.limit == 0 {
            // No keys are wanted, but the bucket must be there.
            caller.client.bucket(&bucket).await.map_err(error::operation)?;
            return Ok(Listed { files: Vec::new(), prefixes: Vec::new(), next: None });
        }
        let request = ListRequest {
            bucket,
            prefix: self.prefix.unwrap_or_default().to_owned(),
            delimiter: self.delimiter.filter(|delimiter| !delimiter.is_empty()).map(str::to_owned),
            after: self.after,
            limit: self.limit,
        };
        caller.client.list(request).await.map_err(error::operation)
    }
}

/// The delimiter as answers repeat it: an empty one is none.
pub(crate) fn shown_delimiter(delimiter: Option<String>, encoding: Encoding) -> Option<String> {
    delimiter.filter(|delimiter| !delimiter.is_empty()).map(|delimiter| encoding.name(&delimiter))
}

/// Where a listing goes on after a marker of the first version. One that is a folded prefix stands for all that is in it.
fn after_marker(marker: Option<&str>, prefix: Option<&str>, delimiter: Option<&str>) -> ListAfter {
    let Some(marker) = marker.filter(|marker| !marker.is_empty()) else { return ListAfter::Start };
    let rest = marker.strip_prefix(prefix.unwrap_or_default());
    let folded =
        |rest: &str, delimiter: &str| rest.find(delimiter).is_some_and(|at| at + delimiter.len() == rest.len());
    match (rest, delimiter.filter(|delimiter| !delimiter.is_empty())) {
        (Some(rest), Some(delimiter)) if folded(rest, delimiter) => ListAfter::Token(marker.to_owned()),
        _ => ListAfter::Name(marker.to_owned()),
    }
}

/// How many keys are wanted, at most 1,000.
pub(crate) fn limit(wanted: Option<i32>) -> S3Result<u32> {
    let negative = |_| error(S3ErrorCode::InvalidArgument, "A number of entries is not negative");
    Ok(wanted.map_or(Ok(LIST_MAX_KEYS), u32::try_from).map_err(negative)?.min(LIST_MAX_KEYS))
}

/// The limit as answers repeat it.
pub(crate) fn shown_limit(wanted: Option<i32>) -> i32 {
    wanted.unwrap_or(LIST_MAX_KEYS as i32).min(LIST_MAX_KEYS as i32)
}

fn count(listed: &Listed) -> S3Result<i32> {
    i32::try_from(listed.files.len() + listed.prefixes.len()).map_err(s3s::S3Error::internal_error)
}

fn objects(files: Vec<ListedFile>, encoding: Encoding, owner: Option<Owner>) -> S3Result<Vec<Object>> {
    let object = |file: ListedFile| {
        Ok(Object {
            e_tag: Some(dto::tag(&file.tags)),
            key: Some(encoding.name(file.key.as_str())),
            last_modified: Some(dto::time(file.stamp)),
            owner: owner.clone(),
            size: Some(signed(file.length)?),
            storage_class: Some(ObjectStorageClass::from_static(ObjectStorageClass::STANDARD)),
            ..Object::default()
        })
    };
    files.into_iter().map(object).collect()
}

/// Folded prefixes as answers have them.
pub(crate) fn prefixes(prefixes: &[String], encoding: Encoding) -> Vec<CommonPrefix> {
    prefixes.iter().map(|prefix| CommonPrefix { prefix: Some(encoding.name(prefix)) }).collect()
}

/// A token as clients see it: letters that are good in a URL and in XML, whatever the names are made of.
fn write_token(next: &str) -> String {
    URL_SAFE_NO_PAD.encode(next)
}

fn read_token(token: &str) -> S3Result<String> {
    let name = URL_SAFE_NO_PAD.decode(token).ok().and_then(|name| String::from_utf8(name).ok());
    name.ok_or_else(|| error(S3ErrorCode::InvalidArgument, "The continuation token provided is incorrect"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_that_is_a_folded_prefix_stands_for_all_in_it() {
        let after = |marker, prefix, delimiter| after_marker(Some(marker), prefix, delimiter);
        let (name, token) = (|s: &str| ListAfter::Name(s.to_owned()), |s: &str| ListAfter::Token(s.to_owned()));
        assert_eq!(after("a/", None, Some("/")), token("a/"));
        assert_eq!(after("p/a/", Some("p/"), Some("/")), token("p/a/"));
        assert_eq!(after("a/b/", None, Some("/")), name("a/b/"));
        assert_eq!(after("a/b", None, Some("/")), name("a/b"));
        assert_eq!(after("a/", None, None), name("a/"));
        assert_eq!(after("a/", Some("b"), Some("/")), name("a/"));
        assert_eq!(after("axx", None, Some("xx")), token("axx"));
        assert_eq!(after("x", None, Some("xx")), name("x"));
        assert_eq!(after("", None, Some("/")), ListAfter::Start);
    }

    #[test]
    fn limits_are_clamped_and_never_negative() {
        assert_eq!(limit(None).unwrap(), 1000);
        assert_eq!(limit(Some(5000)).unwrap(), 1000);
        assert_eq!(limit(Some(0)).unwrap(), 0);
        assert_eq!(limit(Some(7)).unwrap(), 7);
        assert!(limit(Some(-1)).is_err());
        assert_eq!(shown_limit(Some(5000)), 1000);
    }

    #[test]
    fn tokens_and_encoded_names_survive_odd_names() {
        for name in ["a/b c+d", "ä\u{301}/\0\n", "100%", "&<>\"'"] {
            assert_eq!(read_token(&write_token(name)).unwrap(), name);
            let encoded = Encoding::Url.name(name);
            assert!(encoded.bytes().all(|byte| byte.is_ascii_graphic()), "{encoded}");
            let decoded = percent_encoding::percent_decode_str(&encoded).decode_utf8().unwrap();
            assert_eq!(decoded, name);
        }
        assert_eq!(Encoding::Url.name("a/b c+d"), "a/b%20c%2Bd");
        assert!(read_token("!").is_err() && read_token("_w").is_err());
    }
}
