//! What a request is about: path and query, read raw.
//!
//! A key is everything behind the bucket, percent-decoded once and taken literally: `..`, `//` and `%2F` are bytes of it. No
//! router looks at the path before, because routers fold and decode. In a query `+` stands for a space, as every tool that
//! writes queries has it.

use super::problem::{Outcome, Problem, bad_request};
use cairn_common::ids::UploadId;
use cairn_common::name::{BucketName, FilePath, Key};
use cairn_common::wire::command::Refusal;
use http::{StatusCode, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// What stands literally in a path that we write.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

const OBJECTS: &str = "/v1/objects/";
/// What the addresses of resumable uploads start with.
pub(crate) const UPLOADS: &str = "/v1/uploads/";

/// A resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A file.
    File(FilePath),
    /// The files of a bucket.
    Files(BucketName),
    /// All buckets.
    Buckets,
    /// A bucket.
    Bucket(BucketName),
    /// How the cluster is.
    Status,
    /// Figures of this process.
    Metrics,
    /// Resumable uploads into a bucket, of files that are named elsewhere.
    Uploads(BucketName),
    /// A resumable upload that is to be begun.
    NewUpload(FilePath),
    /// A resumable upload.
    Upload(FilePath, UploadId),
    /// Links to files.
    Presign,
    /// What this API is, for programs.
    OpenApi,
}

/// Parameters of a query, each at most once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    fn parse(text: &str) -> Outcome<Query> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode(&name.replace('+', " "))?, decode(&value.replace('+', " "))?);
            if pairs.iter().any(|(other, _)| *other == name) {
                return Err(bad_request(format!("The query has {name:?} more than once.")));
            }
            pairs.push((name, value));
        }
        Ok(Query(pairs))
    }

    /// The value of a parameter.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// The value of a parameter, which is then gone.
    pub(crate) fn take(&mut self, name: &str) -> Option<String> {
        self.0.iter().position(|(other, _)| other == name).map(|at| self.0.remove(at).1)
    }

    /// Whether a parameter is there.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Refuses parameters that mean nothing here: most are misspelt ones, and ignoring them would do something else than was
    /// meant.
    pub(crate) fn only(&self, known: &[&str]) -> Outcome<()> {
        match self.0.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            None => Ok(()),
            Some((name, _)) if known.is_empty() => {
                Err(bad_request(format!("This request takes no query parameters; {name:?} is one.")))
            }
            Some((name, _)) => {
                let known = known.join(", ");
                Err(bad_request(format!("There is no query parameter {name:?} here; there are: {known}.")))
            }
        }
    }
}

/// Reads path and query.
pub(crate) fn read(uri: &Uri) -> Outcome<(Target, Query)> {
    let mut query = Query::parse(uri.query().unwrap_or_default())?;
    let target = match uri.path() {
        "/metrics" => Target::Metrics,
        "/v1/status" => Target::Status,
        "/v1/presign" => Target::Presign,
        "/v1/openapi.json" => Target::OpenApi,
        "/v1/buckets" | "/v1/buckets/" => Target::Buckets,
        path => {
            if let Some(name) = path.strip_prefix("/v1/buckets/") {
                Target::Bucket(BucketName::new(decode(name)?)?)
            } else if let Some(rest) = path.strip_prefix(OBJECTS) {
                objects(rest, &mut query)?
            } else if let Some(rest) = path.strip_prefix(UPLOADS) {
                uploads(rest, &mut query)?
            } else {
                let detail = "There is nothing here. The API is below /v1: objects, buckets, uploads, status.";
                return Err(Problem::new(StatusCode::NOT_FOUND, "not-found", "No such resource", detail));
            }
        }
    };
    Ok((target, query))
}

/// Whether the request names a file. One that is not understood names none.
pub(crate) fn is_file(uri: &Uri) -> bool {
    matches!(read(uri), Ok((Target::File(_), _)))
}

/// An upload: of a file, by its id, or one that is to be begun.
fn uploads(rest: &str, query: &mut Query) -> Outcome<Target> {
    let named = query.take("upload");
    match (objects(rest, query)?, named) {
        (Target::File(path), Some(id)) => Ok(Target::Upload(path, upload_id(&id)?)),
        (Target::File(path), None) => Ok(Target::NewUpload(path)),
        (Target::Files(bucket), None) => Ok(Target::Uploads(bucket)),
        (_, _) => Err(bad_request("An upload is named by its file and its id: use the address that you were given.")),
    }
}

/// The id behind its one text. Another text is that of an upload that does not exist.
fn upload_id(text: &str) -> Outcome<UploadId> {
    let id = u64::from_str_radix(text, 16).ok().map(UploadId).filter(|id| format!("{:016x}", id.0) == text);
    id.ok_or_else(|| Refusal::NoSuchUpload(UploadId(0)).into())
}

/// A file, by path or by `?key=`; or all files of a bucket.
fn objects(rest: &str, query: &mut Query) -> Outcome<Target> {
    let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
    let bucket = BucketName::new(decode(bucket)?)?;
    let asked = query.take("key");
    let key = match (key, asked) {
        ("", None) => return Ok(Target::Files(bucket)),
        ("", Some(key)) => Key::new(key)?,
        (key, None) => Key::new(decode(key)?)?,
        (_, Some(_)) => return Err(bad_request("The key is in the path and in the query; leave one away.")),
    };
    Ok(Target::File(FilePath { bucket, key }))
}

/// Percent-decodes once.
fn decode(text: &str) -> Outcome<String> {
    let whole = |(at, _): (usize, &str)| {
        let digits = text.as_bytes().get(at + 1..at + 3);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    if !text.match_indices('%').all(whole) {
        return Err(bad_request("A percent sign is not followed by two hex digits; a literal one is written %25."));
    }
    let decoded = percent_decode_str(text).decode_utf8();
    let decoded = decoded.map_err(|_| bad_request("Names are UTF-8; percent-encode other bytes differently."))?;
    Ok(decoded.into_owned())
}

/// The path of a file as it is written in `Location` and `Link`.
pub(crate) fn location(path: &FilePath) -> String {
    let key = path.key.as_str();
    // Where a client would fold the path, the key goes into the query.
    let folds =
        key.split('/').any(|segment| matches!(segment, "." | "..")) || key.contains("//") || key.starts_with('/');
    if folds {
        format!("/v1/objects/{}?key={}", path.bucket, encode(key))
    } else {
        format!("/v1/objects/{}/{}", path.bucket, encode(key))
    }
}

/// The address of an upload: of its file, with its id.
pub(crate) fn upload_location(path: &FilePath, upload: UploadId) -> String {
    let file = location(path);
    let rest = file.strip_prefix(OBJECTS).unwrap_or_default();
    let mark = if rest.contains('?') { '&' } else { '?' };
    format!("{UPLOADS}{rest}{mark}upload={:016x}", upload.0)
}

/// Percent-encodes everything but unreserved characters and slashes.
pub(crate) fn encode(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn target(uri: &str) -> Outcome<Target> {
        read(&uri.parse().unwrap()).map(|(target, _)| target)
    }

    fn file(bucket: &str, key: &str) -> Target {
        Target::File(FilePath::new(bucket, key).unwrap())
    }

    #[test]
    fn a_key_is_taken_literally_and_decoded_once() {
        for (path, key) in [
            ("/v1/objects/one/a/b", "a/b"),
            ("/v1/objects/one/a/../b", "a/../b"),
            ("/v1/objects/one//a//", "/a//"),
            ("/v1/objects/one/..", ".."),
            ("/v1/objects/one/a%2Fb%2e%2e", "a/b.."),
            ("/v1/objects/one/%2561", "%61"),
            ("/v1/objects/one/a+b%20c", "a+b c"),
            ("/v1/objects/one/%C3%A4%00", "ä\0"),
            ("/v1/objects/one?key=a/../b", "a/../b"),
            ("/v1/objects/one/?key=%2F", "/"),
            ("/v1/objects/one?key=a+b%2Bc", "a b+c"),
        ] {
            assert_eq!(target(path).unwrap(), file("one", key), "{path}");
        }
    }

    #[test]
    fn resources_are_found_by_their_paths() {
        let bucket = || BucketName::new("one").unwrap();
        assert_eq!(target("/v1/objects/one").unwrap(), Target::Files(bucket()));
        assert_eq!(target("/v1/objects/one/?list").unwrap(), Target::Files(bucket()));
        assert_eq!(target("/v1/buckets").unwrap(), Target::Buckets);
        assert_eq!(target("/v1/buckets/one").unwrap(), Target::Bucket(bucket()));
        assert_eq!(target("/v1/status").unwrap(), Target::Status);
        assert_eq!(target("/v1/uploads/one").unwrap(), Target::Uploads(bucket()));
        assert!(matches!(target("/v1/uploads/one/a/b"), Ok(Target::NewUpload(_))));
        assert!(matches!(target("/v1/uploads/one/a?upload=00000000000000ff"), Ok(Target::Upload(_, UploadId(255)))));
        for bad in [
            "/",
            "/v1",
            "/v2/objects/one/a",
            "/v1/objects",
            "/v1/objects/",
            "/v1/objects//a",
            "/v1/objects/o%2Fne/a",
            "/v1/objects/UP/a",
            "/v1/objects/one/%zz",
            "/v1/objects/one/%4",
            "/v1/objects/one/%ff",
            "/v1/buckets/a/b",
            "/v1/uploads/",
            "/v1/uploads/one?upload=00000000000000ff",
            "/v1/uploads/one/a?upload=ff",
            "/v1/uploads/one/a?upload=00000000000000FF",
            "/v1/objects/one/a?key=b",
            "/v1/objects/one?key=",
            "/v1/objects/one/a?x=1&x=2",
            "/v1/objects/one?list&prefix=%ff",
        ] {
            assert!(target(bad).is_err(), "{bad}");
        }
        assert!(target(&format!("/v1/objects/one/{}", "a".repeat(1024))).is_ok());
        assert!(target(&format!("/v1/objects/one/{}", "a".repeat(1025))).is_err());
    }

    #[test]
    fn parameters_that_mean_nothing_are_refused() {
        let (_, query) = read(&"/v1/objects/one?list&prefx=a".parse().unwrap()).unwrap();
        assert!(query.only(&["list", "prefix"]).is_err());
        assert!(query.only(&["list", "prefx"]).is_ok());
        assert_eq!((query.get("list"), query.get("prefx"), query.get("x")), (Some(""), Some("a"), None));
    }

    proptest! {
        #[test]
        fn every_key_is_found_again_under_its_location(key in "\\PC{1,40}|[./]{1,9}|[%+&=?#a]{1,9}") {
            let path = FilePath::new("one", key).unwrap();
            let location = location(&path);
            prop_assert_eq!(target(&location).unwrap(), Target::File(path.clone()));
            let upload = UploadId(0xab_cdef);
            prop_assert_eq!(target(&upload_location(&path, upload)).unwrap(), Target::Upload(path, upload));
            prop_assert!(!location.split('?').next().unwrap().contains("/../"));
        }

        #[test]
        fn no_path_panics(path in "(/[%a-zA-Z0-9./]{0,12}){0,6}", query in "[%a-z0-9=&+]{0,20}") {
            if let Ok(uri) = format!("/v1{path}?{query}").parse() {
                let _ = read(&uri);
            }
        }
    }
}
