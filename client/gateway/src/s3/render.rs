//! Answers on their way out: request ids in errors, messages where `s3s` gives none, no body where HTTP allows none.

use super::error::MISMATCH;
use crate::limits::RETRY_AFTER_S;
use crate::observe::RequestLog;
use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use s3s::{HttpError, HttpResponse, S3Error};

/// A refusal that did not go through `s3s`.
pub(crate) fn refusal(error: S3Error, region: &str, log: &RequestLog) -> Response {
    match error.to_http_response() {
        Ok(response) => answer(Ok(response), region, log),
        Err(error) => broken(&error.to_string()),
    }
}

/// An answer of `s3s`. `region`: the one that clients must sign for.
pub(crate) fn answer(answer: Result<HttpResponse, HttpError>, region: &str, log: &RequestLog) -> Response {
    let mut response = match answer {
        Ok(response) => response,
        Err(error) => return broken(&format!("{error:?}")),
    };
    let status = response.status();
    if status == StatusCode::NOT_MODIFIED || status == StatusCode::NO_CONTENT {
        response.headers_mut().remove(header::CONTENT_TYPE);
        return response.map(|_| Body::empty());
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().entry(header::RETRY_AFTER).or_insert_with(|| HeaderValue::from(RETRY_AFTER_S));
    }
    let explained = if status.is_client_error() || status.is_server_error() {
        response.body().bytes().and_then(|body| explain(std::str::from_utf8(&body).ok()?, region, &log.id))
    } else {
        response.body().bytes().and_then(|body| bare_tag(std::str::from_utf8(&body).ok()?))
    };
    match explained {
        Some(body) => response.map(|_| Body::from(body)),
        None => response.map(Body::new),
    }
}

/// GetObjectAttributes has its tag without quotes, unlike all else in S3; `s3s` writes all tags alike.
fn bare_tag(document: &str) -> Option<String> {
    let root = document.find("<GetObjectAttributesResponse")?;
    let before = root + document[root..].find("<ETag>\"")? + "<ETag>".len();
    let after = before + 1 + document[before + 1..].find('"')?;
    Some([&document[..before], &document[before + 1..after], &document[after + 1..]].concat())
}

/// The document of an error with the request's id in it, and a message if it has none. Where the region was wrong, the right one
/// is named: some clients begin with any region and learn it from there.
fn explain(document: &str, region: &str, id: &str) -> Option<String> {
    let inner = document.strip_suffix("</Error>")?;
    let code = inner.split_once("<Code>")?.1.split_once("</Code>")?.0;
    let message =
        if inner.contains("<Message>") { String::new() } else { format!("<Message>{}</Message>", message(code)) };
    let region = match code {
        "AuthorizationHeaderMalformed" => format!("<Region>{region}</Region>"),
        _ => String::new(),
    };
    Some(format!("{inner}{message}{region}<RequestId>{id}</RequestId></Error>"))
}

/// What to tell people about errors that `s3s` finds. No character of these needs escaping in XML.
fn message(code: &str) -> &'static str {
    match code {
        "AccessDenied" => "Access Denied",
        "SignatureDoesNotMatch" => MISMATCH,
        "InvalidURI" => "The path is not valid: it must be percent-encoded UTF-8",
        "InvalidBucketName" => "The name of the bucket is not valid",
        "KeyTooLongError" => "The key is too long: a key has at most 1,024 bytes",
        "MethodNotAllowed" => "This method is not allowed for this resource",
        "MalformedXML" => "The XML you provided is not well-formed or does not have the form that is wanted",
        "MissingRequestBodyError" => "The request needs a body",
        "MissingContentLength" => "You must provide the length of the body",
        "IncompleteBody" => "The body does not have the length that was stated",
        "MaxMessageLengthExceeded" => "The body is larger than such a request may have",
        "InternalError" => "We met an internal error; it was logged under the id of this request",
        _ => "The request was refused",
    }
}

fn broken(what: &str) -> Response {
    tracing::error!(what, "an answer could not be written");
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_attributes_of_an_object_have_a_bare_tag() {
        let written = "<GetObjectAttributesResponse xmlns=\"x\"><ETag>\"ab-1\"</ETag></GetObjectAttributesResponse>";
        let wanted = "<GetObjectAttributesResponse xmlns=\"x\"><ETag>ab-1</ETag></GetObjectAttributesResponse>";
        assert_eq!(bare_tag(written).as_deref(), Some(wanted));
        assert_eq!(bare_tag("<CopyObjectResult><ETag>\"ab\"</ETag></CopyObjectResult>"), None);
        assert_eq!(bare_tag("<GetObjectAttributesResponse></GetObjectAttributesResponse>"), None);
    }

    #[test]
    fn errors_get_the_id_of_their_request_and_a_message() {
        let bare = "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>";
        let whole = "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code><Message>Access Denied</Message>\
                     <RequestId>00AB</RequestId></Error>";
        assert_eq!(explain(bare, "r", "00AB").unwrap(), whole);
        let with = "<Error><Code>NoSuchKey</Code><Message>gone</Message></Error>";
        let whole = "<Error><Code>NoSuchKey</Code><Message>gone</Message><RequestId>1</RequestId></Error>";
        assert_eq!(explain(with, "r", "1").unwrap(), whole);
        let region = explain("<Error><Code>AuthorizationHeaderMalformed</Code></Error>", "r", "1").unwrap();
        assert!(region.contains("<Region>r</Region>"));
        assert_eq!(explain("<Other/>", "r", "1"), None);
    }
}
