//! Parameters that ask for features Cairn does not have: refused in words, where ignoring them would store something else than
//! was asked for.

use super::acl;
use super::error::{error, unsupported};
use http::HeaderMap;
use s3s::{S3ErrorCode, S3Result};

/// Headers of a write that ask for a feature, and what it is called.
const FEATURES: &[(&str, &str)] = &[
    ("x-amz-website-redirect-location", "Website redirection"),
    ("x-amz-write-offset-bytes", "Appending"),
    ("x-amz-mfa", "Multi-factor authentication"),
];

/// Headers of a write that there is no answer for but "not here".
pub(crate) fn in_write(headers: &HeaderMap) -> S3Result<()> {
    customer_keys(headers)?;
    if let Some((_, what)) = FEATURES.iter().find(|(name, _)| headers.contains_key(*name)) {
        return Err(unsupported(what));
    }
    let class = headers.get("x-amz-storage-class").map(http::HeaderValue::as_bytes);
    if class.is_some_and(|class| class != b"STANDARD") {
        return Err(error(S3ErrorCode::InvalidStorageClass, "The only storage class is STANDARD"));
    }
    acl::in_headers(headers)
}

/// Encryption, with keys of the customer or others. A read may ask for it too, and whoever does must not take what it gets for
/// what it wanted.
pub(crate) fn customer_keys(headers: &HeaderMap) -> S3Result<()> {
    let starts = |start: &str| headers.keys().any(|name| name.as_str().starts_with(start));
    let of_customers =
        starts("x-amz-server-side-encryption-customer-") || starts("x-amz-copy-source-server-side-encryption-");
    if of_customers {
        return Err(unsupported("Server-side encryption with customer keys"));
    }
    if starts("x-amz-server-side-encryption") { Err(unsupported("Server-side encryption")) } else { Ok(()) }
}
