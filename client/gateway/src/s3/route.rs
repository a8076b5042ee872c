//! Which requests are uploads, and which ask for something that does not exist here.
//!
//! `s3s` takes a request with a sub-resource that it does not know for one without: `PUT /b/k?renameObject` would store an empty
//! object, `DELETE /b?…` remove the bucket. Such requests are refused before it sees them.

use super::head::{has, pairs};
use super::host::BaseDomains;
use http::request::Parts;
use http::{HeaderValue, Method, header};
use percent_encoding::percent_decode_str;

/// Names that may stand in a query without a value: the sub-resources that are routed, and parameters that may be empty.
#[rustfmt::skip]
const KNOWN: &[&str] = &[
    "accelerate", "acl", "analytics", "attributes", "cors", "delete", "encryption", "intelligent-tiering", "inventory",
    "legal-hold", "lifecycle", "location", "logging", "metadataTable", "metrics", "notification", "object-lock",
    "ownershipControls", "policy", "policyStatus", "publicAccessBlock", "replication", "requestPayment", "restore",
    "retention", "select", "tagging", "torrent", "uploads", "versioning", "versions", "website",
    "continuation-token", "delimiter", "encoding-type", "fetch-owner", "id", "key-marker", "list-type", "marker",
    "max-keys", "max-parts", "max-uploads", "part-number-marker", "partNumber", "prefix", "response-cache-control",
    "response-content-disposition", "response-content-encoding", "response-content-language", "response-content-type",
    "response-expires", "start-after", "upload-id-marker", "uploadId", "version-id-marker", "versionId", "x-id",
];

/// Sub-resources of an object that are written by `PUT`, with a document.
const DOCUMENTS: &[&str] = &["acl", "legal-hold", "retention", "tagging"];

/// Where a request belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// PutObject or UploadPart: the body goes to the store.
    Upload,
    /// Anything else: the body, if there is one, is a document.
    Other,
    /// To something that does not exist here.
    Unknown,
}

/// Finds out where a request belongs.
pub(crate) fn route(parts: &Parts, domains: &BaseDomains) -> Route {
    let query = pairs(parts.uri.query().unwrap_or_default());
    let unknown = |(name, value): &(String, String)| value.is_empty() && !KNOWN.contains(&name.as_str());
    if query.iter().any(unknown) || is_form(parts) {
        return Route::Unknown;
    }
    let document = DOCUMENTS.iter().any(|name| has(&query, name)) || parts.headers.contains_key("x-amz-copy-source");
    if parts.method == Method::PUT && !document && names_object(parts, domains) { Route::Upload } else { Route::Other }
}

/// A form of a browser: `s3s` would keep its file in memory before it knows whose it is.
fn is_form(parts: &Parts) -> bool {
    let kind = parts.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    parts.method == Method::POST && kind.to_ascii_lowercase().starts_with(b"multipart/form-data")
}

/// Whether the path has a key in it, as `s3s` reads paths: decoded once, then split.
fn names_object(parts: &Parts, domains: &BaseDomains) -> bool {
    let path = percent_decode_str(parts.uri.path()).decode_utf8_lossy();
    let path = path.strip_prefix('/').unwrap_or(&path);
    let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let key = if domains.bucket(host).is_some() { path } else { path.split_once('/').map_or("", |(_, key)| key) };
    !key.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(method: &str, host: &str, uri: &str, extra: Option<(&'static str, &'static str)>) -> Route {
        let mut request = http::Request::builder().method(method).uri(uri).header("host", host);
        if let Some((name, value)) = extra {
            request = request.header(name, value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        route(&parts, &BaseDomains::new(&["s3.test".to_owned()]))
    }

    #[test]
    fn uploads_are_puts_of_objects_and_parts() {
        let at = |uri| of("PUT", "localhost:9000", uri, None);
        for upload in [
            "/b/k",
            "/b/k/",
            "/b//",
            "/b%2Fk",
            "/b/k?partNumber=1&uploadId=x",
            "/b/k?x-id=PutObject",
            "/b/k?versionId=",
        ] {
            assert_eq!(at(upload), Route::Upload, "{upload}");
        }
        for other in ["/b", "/b/", "/", "/b?acl", "/b/k?acl", "/b/k?tagging", "/b/k?legal-hold", "/b/k?retention"] {
            assert_eq!(at(other), Route::Other, "{other}");
        }
        assert_eq!(of("PUT", "b.s3.test", "/k", None), Route::Upload);
        assert_eq!(of("PUT", "b.s3.test", "/", None), Route::Other);
        assert_eq!(of("PUT", "s3.test", "/b", None), Route::Other);
        assert_eq!(of("PUT", "localhost", "/b/k", Some(("x-amz-copy-source", "b/o"))), Route::Other);
        assert_eq!(of("GET", "localhost", "/b/k", None), Route::Other);
        assert_eq!(of("POST", "localhost", "/b/k?uploads", None), Route::Other);
    }

    #[test]
    fn what_s3s_would_misunderstand_is_unknown() {
        for (method, uri) in [
            ("PUT", "/b/k?renameObject"),
            ("PUT", "/b/k?renameObject="),
            ("DELETE", "/b/k?annotation"),
            ("DELETE", "/b?metadataConfiguration"),
            ("PUT", "/b?abac"),
            ("GET", "/b?abac"),
        ] {
            assert_eq!(of(method, "localhost", uri, None), Route::Unknown, "{method} {uri}");
        }
        let form = Some(("content-type", "Multipart/form-data; boundary=x"));
        assert_eq!(of("POST", "localhost", "/b", form), Route::Unknown);
        // Applications may add parameters with values, which are signed and mean nothing.
        assert_eq!(of("GET", "localhost", "/b/k?cache-buster=7", None), Route::Other);
    }
}
