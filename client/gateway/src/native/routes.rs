//! What can be asked for: method and resource together are an operation, with the parameters it takes and the rights it needs.

use super::problem::{Outcome, Problem, bad_request};
use super::target::{Query, Target};
use http::{Method, StatusCode, header};

/// An operation of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    PutFile,
    GetFile,
    HeadFile,
    DeleteFile,
    CopyFile,
    MoveFile,
    WhereFile,
    ListFiles,
    ListBuckets,
    GetBucket,
    PutBucket,
    PatchBucket,
    DeleteBucket,
    Status,
    Metrics,
    UploadOptions,
    CreateUpload,
    HeadUpload,
    AppendUpload,
    DeleteUpload,
    Presign,
    OpenApi,
}

/// What an operation needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    AnyKey,
    Read,
    Write,
    Delete,
    List,
    BucketAdmin,
    ClusterAdmin,
}

impl Operation {
    #[cfg(test)]
    pub(crate) const ALL: [Operation; 22] = [
        Operation::PutFile,
        Operation::GetFile,
        Operation::HeadFile,
        Operation::DeleteFile,
        Operation::CopyFile,
        Operation::MoveFile,
        Operation::WhereFile,
        Operation::ListFiles,
        Operation::ListBuckets,
        Operation::GetBucket,
        Operation::PutBucket,
        Operation::PatchBucket,
        Operation::DeleteBucket,
        Operation::Status,
        Operation::Metrics,
        Operation::UploadOptions,
        Operation::CreateUpload,
        Operation::HeadUpload,
        Operation::AppendUpload,
        Operation::DeleteUpload,
        Operation::Presign,
        Operation::OpenApi,
    ];

    /// Its name, in logs and metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Operation::PutFile => "PutFile",
            Operation::GetFile => "GetFile",
            Operation::HeadFile => "HeadFile",
            Operation::DeleteFile => "DeleteFile",
            Operation::CopyFile => "CopyFile",
            Operation::MoveFile => "MoveFile",
            Operation::WhereFile => "WhereFile",
            Operation::ListFiles => "ListFiles",
            Operation::ListBuckets => "ListBuckets",
            Operation::GetBucket => "GetBucket",
            Operation::PutBucket => "PutBucket",
            Operation::PatchBucket => "PatchBucket",
            Operation::DeleteBucket => "DeleteBucket",
            Operation::Status => "Status",
            Operation::Metrics => "Metrics",
            Operation::UploadOptions => "UploadOptions",
            Operation::CreateUpload => "CreateUpload",
            Operation::HeadUpload => "HeadUpload",
            Operation::AppendUpload => "AppendUpload",
            Operation::DeleteUpload => "DeleteUpload",
            Operation::Presign => "Presign",
            Operation::OpenApi => "OpenApi",
        }
    }

    /// What a key must allow. Copies and moves also read, or remove, what they are made of; that is checked with its name. So is
    /// the file of an upload that is begun, which its metadata may name. A link allows what its key does when it is used.
    pub(crate) fn needs(self) -> Needs {
        match self {
            Operation::GetFile | Operation::HeadFile | Operation::WhereFile => Needs::Read,
            Operation::PutFile | Operation::CopyFile | Operation::MoveFile => Needs::Write,
            Operation::DeleteFile => Needs::Delete,
            Operation::ListFiles => Needs::List,
            Operation::CreateUpload | Operation::HeadUpload | Operation::AppendUpload | Operation::DeleteUpload => {
                Needs::Write
            }
            Operation::ListBuckets
            | Operation::GetBucket
            | Operation::UploadOptions
            | Operation::Presign
            | Operation::OpenApi => Needs::AnyKey,
            Operation::PutBucket | Operation::PatchBucket | Operation::DeleteBucket => Needs::BucketAdmin,
            Operation::Status | Operation::Metrics => Needs::ClusterAdmin,
        }
    }

    /// Parameters of its query.
    pub(crate) fn parameters(self) -> &'static [&'static str] {
        match self {
            Operation::DeleteFile => &["strict"],
            Operation::CopyFile => &["copy"],
            Operation::MoveFile => &["move"],
            Operation::WhereFile => &["where", "offset"],
            Operation::ListFiles => &["list", "prefix", "delimiter", "limit", "cursor"],
            _ => &[],
        }
    }
}

/// Finds the operation.
pub(crate) fn resolve(method: &Method, target: &Target, query: &Query) -> Outcome<Operation> {
    let operation = match target {
        Target::File(_) => file(method, query)?,
        Target::Files(_) => match *method {
            Method::GET if query.has("list") => Operation::ListFiles,
            Method::GET => {
                let detail = "Add ?list to see the files of the bucket, or a key to read one.";
                return Err(bad_request(detail));
            }
            _ => return Err(not_allowed("GET")),
        },
        Target::Buckets => match *method {
            Method::GET => Operation::ListBuckets,
            _ => return Err(not_allowed("GET")),
        },
        Target::Bucket(_) => match *method {
            Method::GET => Operation::GetBucket,
            Method::PUT => Operation::PutBucket,
            Method::PATCH => Operation::PatchBucket,
            Method::DELETE => Operation::DeleteBucket,
            _ => return Err(not_allowed("GET, PUT, PATCH, DELETE")),
        },
        Target::Uploads(_) | Target::NewUpload(_) => match *method {
            Method::POST => Operation::CreateUpload,
            Method::OPTIONS => Operation::UploadOptions,
            _ => return Err(not_allowed("POST, OPTIONS")),
        },
        Target::Upload(..) => match *method {
            Method::HEAD => Operation::HeadUpload,
            Method::PATCH => Operation::AppendUpload,
            Method::DELETE => Operation::DeleteUpload,
            Method::OPTIONS => Operation::UploadOptions,
            _ => return Err(not_allowed("HEAD, PATCH, DELETE, OPTIONS")),
        },
        Target::Presign if method == Method::POST => Operation::Presign,
        Target::Presign => return Err(not_allowed("POST")),
        Target::OpenApi if method == Method::GET => Operation::OpenApi,
        Target::Status if method == Method::GET => Operation::Status,
        Target::Metrics if method == Method::GET => Operation::Metrics,
        Target::Status | Target::Metrics | Target::OpenApi => return Err(not_allowed("GET")),
    };
    query.only(operation.parameters())?;
    Ok(operation)
}

fn file(method: &Method, query: &Query) -> Outcome<Operation> {
    Ok(match *method {
        Method::GET if query.has("where") => Operation::WhereFile,
        Method::GET => Operation::GetFile,
        Method::HEAD => Operation::HeadFile,
        Method::PUT => Operation::PutFile,
        Method::DELETE => Operation::DeleteFile,
        Method::POST if query.has("copy") => Operation::CopyFile,
        Method::POST if query.has("move") => Operation::MoveFile,
        Method::POST => return Err(bad_request("POST to a file needs ?copy or ?move; to store a file, use PUT.")),
        _ => return Err(not_allowed("GET, HEAD, PUT, DELETE, POST")),
    })
}

fn not_allowed(allowed: &'static str) -> Problem {
    let detail = format!("This resource answers to {allowed}.");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "The method is not allowed", detail)
        .with(header::ALLOW, allowed)
}

#[cfg(test)]
mod tests {
    use super::super::target;
    use super::*;

    fn of(method: &str, uri: &str) -> Outcome<Operation> {
        let (target, query) = target::read(&uri.parse().unwrap())?;
        resolve(&method.parse().unwrap(), &target, &query)
    }

    #[test]
    fn every_operation_has_a_request() {
        let requests = [
            ("PUT", "/v1/objects/one/a", Operation::PutFile),
            ("GET", "/v1/objects/one/a", Operation::GetFile),
            ("HEAD", "/v1/objects/one?key=a", Operation::HeadFile),
            ("DELETE", "/v1/objects/one/a?strict", Operation::DeleteFile),
            ("POST", "/v1/objects/one/a?copy", Operation::CopyFile),
            ("POST", "/v1/objects/one/a?move", Operation::MoveFile),
            ("GET", "/v1/objects/one/a?where&offset=0", Operation::WhereFile),
            ("GET", "/v1/objects/one?list&prefix=a&delimiter=/&limit=5&cursor=x", Operation::ListFiles),
            ("GET", "/v1/buckets", Operation::ListBuckets),
            ("GET", "/v1/buckets/one", Operation::GetBucket),
            ("PUT", "/v1/buckets/one", Operation::PutBucket),
            ("PATCH", "/v1/buckets/one", Operation::PatchBucket),
            ("DELETE", "/v1/buckets/one", Operation::DeleteBucket),
            ("GET", "/v1/status", Operation::Status),
            ("GET", "/metrics", Operation::Metrics),
            ("OPTIONS", "/v1/uploads/one", Operation::UploadOptions),
            ("POST", "/v1/uploads/one/a", Operation::CreateUpload),
            ("POST", "/v1/uploads/one", Operation::CreateUpload),
            ("HEAD", "/v1/uploads/one/a?upload=0000000000000001", Operation::HeadUpload),
            ("PATCH", "/v1/uploads/one?key=a&upload=0000000000000001", Operation::AppendUpload),
            ("DELETE", "/v1/uploads/one/a?upload=0000000000000001", Operation::DeleteUpload),
            ("POST", "/v1/presign", Operation::Presign),
            ("GET", "/v1/openapi.json", Operation::OpenApi),
        ];
        for (method, uri, operation) in requests {
            assert_eq!(of(method, uri).unwrap(), operation, "{method} {uri}");
        }
        assert!(Operation::ALL.iter().all(|operation| requests.iter().any(|(_, _, found)| found == operation)));
    }

    #[test]
    fn what_is_not_in_the_table_is_refused() {
        for (method, uri) in [
            ("PATCH", "/v1/objects/one/a"),
            ("POST", "/v1/objects/one/a"),
            ("PUT", "/v1/objects/one"),
            ("DELETE", "/v1/objects/one"),
            ("GET", "/v1/objects/one"),
            ("POST", "/v1/buckets"),
            ("PUT", "/v1/status"),
            ("GET", "/v1/objects/one/a?prefix=x"),
            ("PUT", "/v1/objects/one/a?strict"),
            ("POST", "/v1/objects/one/a?copy&move"),
            ("POST", "/metrics"),
            ("GET", "/v1/status?all"),
            ("PUT", "/v1/uploads/one/a"),
            ("POST", "/v1/uploads/one/a?upload=0000000000000001"),
            ("PATCH", "/v1/uploads/one/a"),
            ("GET", "/v1/uploads/one/a?upload=0000000000000001"),
            ("HEAD", "/v1/uploads/one/a?upload=0000000000000001&x"),
            ("GET", "/v1/presign"),
            ("POST", "/v1/openapi.json"),
        ] {
            assert!(of(method, uri).is_err(), "{method} {uri}");
        }
    }
}
