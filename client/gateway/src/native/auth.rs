//! Who asks: HTTP Basic with an access key and its secret, or the same two as one Bearer token.
//!
//! A Bearer token is `ACCESS.SECRET`: access keys have no dot in them, and what remains may have any letter that a token may
//! (RFC 6750, section 2.1), so it can be put together in a shell without encoding anything.

use super::link::Link;
use super::problem::{Outcome, Problem, forbidden, unauthorized};
use super::routes::{Needs, Operation};
use super::target::{self, Query, Target};
use crate::front::{Front, Identity};
use crate::observe::RequestLog;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cairn_common::name::FilePath;
use cairn_common::wire::command::Rights;
use http::request::Parts;
use http::{Method, header};

/// Finds out who asks, and by which link, if it is one. Nobody in particular may only read files, if their bucket shows them to
/// everybody: everything else is refused here, before anything else of the request is looked at.
pub(crate) async fn authenticate(front: &Front, parts: &Parts, log: &RequestLog) -> Outcome<(Identity, Option<Link>)> {
    let mut values = parts.headers.get_all(header::AUTHORIZATION).iter();
    let first = values.next();
    if let Some(link) = Link::of(parts)? {
        if first.is_some() {
            return Err(unauthorized("A link needs no Authorization header; leave one of the two away."));
        }
        log.set_access(&link.access, "link");
        let credential = link.check(front).await?;
        return Ok((Identity::of(credential), Some(link)));
    }
    let Some(value) = first else {
        let reads = matches!(parts.method, Method::GET | Method::HEAD);
        return if reads && target::is_file(&parts.uri) { Ok((Identity::nobody(), None)) } else { Err(nobody()) };
    };
    let text = value.to_str().ok().filter(|_| values.next().is_none());
    let (access, secret, scheme) = text.and_then(parse).ok_or_else(malformed)?;
    log.set_access(&access, scheme);
    Ok((Identity::of(front.credentials.check(&access, &secret).await?), None))
}

/// The answer to who must say who they are.
pub(crate) fn nobody() -> Problem {
    unauthorized("Send your access key and its secret: curl -u ACCESS:SECRET …")
}

fn malformed() -> Problem {
    unauthorized("The Authorization header is neither Basic with ACCESS:SECRET nor Bearer ACCESS.SECRET.")
}

/// Access key, secret and scheme.
fn parse(text: &str) -> Option<(String, String, &'static str)> {
    let (scheme, rest) = text.split_once(' ')?;
    let rest = rest.trim();
    let (access, secret, scheme) = if scheme.eq_ignore_ascii_case("basic") {
        let pair = String::from_utf8(STANDARD.decode(rest).ok()?).ok()?;
        let (access, secret) = pair.split_once(':')?;
        (access.to_owned(), secret.to_owned(), "basic")
    } else if scheme.eq_ignore_ascii_case("bearer") {
        let (access, secret) = rest.split_once('.')?;
        (access.to_owned(), secret.to_owned(), "bearer")
    } else {
        return None;
    };
    (!access.is_empty() && !secret.is_empty()).then_some((access, secret, scheme))
}

/// Whether the caller may ask for this. The masters judge again.
pub(crate) fn authorize(identity: &Identity, operation: Operation, target: &Target, query: &Query) -> Outcome<()> {
    let key = identity.key();
    if matches!(operation, Operation::GetFile | Operation::HeadFile) {
        // The masters know what a bucket shows to everybody.
        return Ok(());
    }
    if identity.is_nobody() {
        return Err(nobody());
    }
    let on = |right: fn(&Rights) -> bool| match target {
        Target::File(path) => key.allows(&path.bucket, Some(path.key.as_str()), right),
        Target::Files(bucket) => key.allows(bucket, query.get("prefix"), right),
        Target::Bucket(bucket) => key.allows(bucket, None, right),
        Target::Upload(path, _) | Target::NewUpload(path) => key.allows(&path.bucket, Some(path.key.as_str()), right),
        // Its file is named in its metadata, and asked about then.
        Target::Uploads(_) => true,
        Target::Buckets | Target::Status | Target::Metrics | Target::Presign | Target::OpenApi => false,
    };
    let allowed = match operation.needs() {
        Needs::AnyKey => true,
        Needs::Read => on(|rights| rights.read),
        Needs::Write => on(|rights| rights.write),
        Needs::Delete => on(|rights| rights.delete),
        Needs::List => on(|rights| rights.list),
        Needs::BucketAdmin => on(|rights| rights.admin),
        Needs::ClusterAdmin => key.cluster_admin,
    };
    if allowed { Ok(()) } else { Err(forbidden()) }
}

/// Whether the caller may do something with a file that its request names in a document.
pub(crate) fn may(identity: &Identity, path: &FilePath, right: fn(&Rights) -> bool) -> Outcome<()> {
    if identity.key().allows(&path.bucket, Some(path.key.as_str()), right) { Ok(()) } else { Err(forbidden()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_schemes_carry_key_and_secret() {
        let wanted = |scheme| Some(("AK".to_owned(), "s:e.c/r+t=".to_owned(), scheme));
        assert_eq!(parse(&format!("Basic {}", STANDARD.encode("AK:s:e.c/r+t="))), wanted("basic"));
        assert_eq!(parse("bearer  AK.s:e.c/r+t= "), wanted("bearer"));
        for bad in
            ["", "Basic", "Basic !", "Basic QUs=", "Bearer AK", "Bearer .s", "Bearer AK.", "Digest x", "Basic Og=="]
        {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
