//! Cross-origin access: a bucket's rules, answers to what browsers ask first, and the headers that let scripts see an answer.
//!
//! What a browser asks first carries no signature, so it is answered for everybody, from rules that only the masters know. An
//! origin that no rule is for gets no headers, and the browser keeps the answer from its script.

use super::buckets::look;
use super::dto;
use super::error::{self, custom, error};
use super::host::BaseDomains;
use super::service::Caller;
use crate::front::Front;
use axum::body::Body;
use axum::response::Response;
use cairn_common::bucket::BucketChange;
use cairn_common::cors::{CorsError, CorsRule, check_cors};
use cairn_common::name::BucketName;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use percent_encoding::percent_decode_str;
use s3s::dto::{
    CORSRule, DeleteBucketCorsInput, DeleteBucketCorsOutput, GetBucketCorsInput, GetBucketCorsOutput,
    PutBucketCorsInput, PutBucketCorsOutput,
};
use s3s::{S3Error, S3ErrorCode, S3Response, S3Result};

/// The rules of a bucket.
pub(crate) async fn get(caller: &Caller, input: GetBucketCorsInput) -> S3Result<S3Response<GetBucketCorsOutput>> {
    let info = look(caller, &input.bucket, input.expected_bucket_owner.as_deref()).await?;
    if info.settings.cors.is_empty() {
        return Err(error(S3ErrorCode::NoSuchCORSConfiguration, "The CORS configuration does not exist"));
    }
    let cors_rules = Some(info.settings.cors.into_iter().map(shown).collect());
    Ok(S3Response::new(GetBucketCorsOutput { cors_rules }))
}

/// Gives a bucket rules instead of those it has.
pub(crate) async fn put(caller: &Caller, input: PutBucketCorsInput) -> S3Result<S3Response<PutBucketCorsOutput>> {
    dto::expect_owner(input.expected_bucket_owner.as_deref(), caller.tenant())?;
    let rules = input.cors_configuration.cors_rules;
    if rules.is_empty() {
        return Err(refused(CorsError::Nothing));
    }
    let rules = rules.into_iter().map(read).collect::<S3Result<Vec<_>>>()?;
    check_cors(&rules).map_err(refused)?;
    set(caller, &input.bucket, rules).await?;
    Ok(S3Response::new(PutBucketCorsOutput::default()))
}

/// Takes all rules off a bucket.
pub(crate) async fn delete(
    caller: &Caller,
    input: DeleteBucketCorsInput,
) -> S3Result<S3Response<DeleteBucketCorsOutput>> {
    dto::expect_owner(input.expected_bucket_owner.as_deref(), caller.tenant())?;
    set(caller, &input.bucket, Vec::new()).await?;
    Ok(S3Response::new(DeleteBucketCorsOutput::default()))
}

async fn set(caller: &Caller, bucket: &str, rules: Vec<CorsRule>) -> S3Result<()> {
    let change = BucketChange { cors: Some(rules), ..BucketChange::default() };
    caller.client.set_bucket(&dto::bucket(bucket)?, change).await.map_err(error::operation)
}

fn read(rule: CORSRule) -> S3Result<CorsRule> {
    let invalid = |_| error(S3ErrorCode::InvalidRequest, "MaxAgeSeconds is not negative");
    Ok(CorsRule {
        id: rule.id,
        origins: rule.allowed_origins,
        methods: rule.allowed_methods,
        headers: rule.allowed_headers.unwrap_or_default(),
        expose: rule.expose_headers.unwrap_or_default(),
        max_age_s: rule.max_age_seconds.map(u32::try_from).transpose().map_err(invalid)?,
    })
}

fn shown(rule: CorsRule) -> CORSRule {
    let some = |list: Vec<String>| (!list.is_empty()).then_some(list);
    CORSRule {
        allowed_headers: some(rule.headers),
        allowed_methods: rule.methods,
        allowed_origins: rule.origins,
        expose_headers: some(rule.expose),
        id: rule.id,
        max_age_seconds: rule.max_age_s.and_then(|age| i32::try_from(age).ok()),
    }
}

fn refused(problem: CorsError) -> S3Error {
    let code = match problem {
        CorsError::Nothing => S3ErrorCode::MalformedXML,
        CorsError::Size | CorsError::Method | CorsError::Pattern => S3ErrorCode::InvalidRequest,
    };
    error(code, problem.to_string())
}

/// A request of a script, as its browser marks it.
pub(crate) struct CrossOrigin {
    origin: String,
    /// What it is about: of what a browser asks first, the method that would follow.
    method: String,
    /// Headers that would come with it.
    headers: Vec<String>,
    bucket: Option<BucketName>,
}

impl CrossOrigin {
    /// Whether the browser asks first: no script's request is this.
    pub(crate) fn is_question(parts: &Parts) -> bool {
        parts.method == Method::OPTIONS
    }

    /// What a request says of its origin; `None`: nothing.
    pub(crate) fn of(parts: &Parts, domains: &BaseDomains) -> Option<CrossOrigin> {
        let text = |name: HeaderName| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let origin = text(header::ORIGIN)?.to_owned();
        let method = match CrossOrigin::is_question(parts) {
            true => text(header::ACCESS_CONTROL_REQUEST_METHOD)?.to_owned(),
            false => parts.method.as_str().to_owned(),
        };
        let names = text(header::ACCESS_CONTROL_REQUEST_HEADERS).unwrap_or_default();
        let names = names.split(',').map(str::trim).filter(|name| !name.is_empty());
        let headers = names.map(str::to_owned).collect();
        Some(CrossOrigin { origin, method, headers, bucket: bucket(parts, domains) })
    }

    /// The headers that let the script see the answer; `None`: no rule is for it.
    pub(crate) async fn headers(&self, front: &Front) -> S3Result<Option<HeaderMap>> {
        let Some(bucket) = &self.bucket else { return Ok(None) };
        let rules = front.cors(bucket).await.map_err(error::operation)?;
        Ok(self.judge(&rules))
    }

    fn judge(&self, rules: &[CorsRule]) -> Option<HeaderMap> {
        let (rule, pattern) = rules.iter().find_map(|rule| {
            let pattern = rule.allows(&self.origin, &self.method)?;
            rule.allows_headers(self.headers.iter().map(String::as_str)).then_some((rule, pattern))
        })?;
        let any = pattern == "*";
        let mut headers = HeaderMap::new();
        let mut put = |name: HeaderName, value: &str| {
            headers.extend(HeaderValue::from_str(value).map(|value| (name, value)));
        };
        put(header::ACCESS_CONTROL_ALLOW_ORIGIN, if any { "*" } else { &self.origin });
        put(header::ACCESS_CONTROL_ALLOW_METHODS, &rule.methods.join(", "));
        if !any {
            put(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
        }
        if !self.headers.is_empty() {
            put(header::ACCESS_CONTROL_ALLOW_HEADERS, &self.headers.join(", ").to_ascii_lowercase());
        }
        if !rule.expose.is_empty() {
            put(header::ACCESS_CONTROL_EXPOSE_HEADERS, &rule.expose.join(", "));
        }
        if let Some(age) = rule.max_age_s {
            put(header::ACCESS_CONTROL_MAX_AGE, &age.to_string());
        }
        put(header::VARY, "Origin, Access-Control-Request-Headers, Access-Control-Request-Method");
        Some(headers)
    }
}

/// Answers what a browser asks first.
pub(crate) async fn answer(question: Option<CrossOrigin>, front: &Front) -> S3Result<Response> {
    let question = question.ok_or_else(|| {
        let message = "Insufficient information. Origin and Access-Control-Request-Method headers are needed.";
        custom("BadRequest", StatusCode::BAD_REQUEST, message)
    })?;
    let headers = question.headers(front).await?.ok_or_else(|| {
        custom("AccessForbidden", StatusCode::FORBIDDEN, "CORSResponse: This CORS request is not allowed")
    })?;
    let mut response = Response::new(Body::empty());
    *response.headers_mut() = headers;
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(0));
    Ok(response)
}

/// The bucket that a request is about.
fn bucket(parts: &Parts, domains: &BaseDomains) -> Option<BucketName> {
    let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = domains.bucket(host).or_else(|| {
        let path = percent_decode_str(parts.uri.path()).decode_utf8_lossy();
        path.strip_prefix('/')?.split('/').next().map(str::to_owned)
    });
    BucketName::new(name?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: &str, headers: &[(&'static str, &'static str)]) -> Option<CrossOrigin> {
        let mut request = http::Request::builder().method(method).uri("/my-bucket/k").header("host", "localhost");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        CrossOrigin::of(&parts, &BaseDomains::new(&[]))
    }

    fn rule(origin: &str, methods: &[&str]) -> CorsRule {
        CorsRule {
            origins: vec![origin.to_owned()],
            methods: methods.iter().map(|method| (*method).to_owned()).collect(),
            headers: vec!["x-*".to_owned()],
            expose: vec!["ETag".to_owned()],
            max_age_s: Some(60),
            id: None,
        }
    }

    fn header_of<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
        headers.get(name).and_then(|value| value.to_str().ok())
    }

    #[test]
    fn what_a_browser_asks_first_is_answered_by_the_first_rule_that_allows_all_of_it() {
        let question = asked(
            "OPTIONS",
            &[
                ("origin", "https://a.org"),
                ("access-control-request-method", "PUT"),
                ("access-control-request-headers", "X-One, x-two"),
            ],
        );
        let question = question.unwrap();
        assert_eq!(question.bucket.as_ref().map(BucketName::as_str), Some("my-bucket"));
        let answer = question.judge(&[rule("https://a.org", &["GET"]), rule("https://*", &["PUT", "GET"])]).unwrap();
        assert_eq!(header_of(&answer, "access-control-allow-origin"), Some("https://a.org"));
        assert_eq!(header_of(&answer, "access-control-allow-methods"), Some("PUT, GET"));
        assert_eq!(header_of(&answer, "access-control-allow-headers"), Some("x-one, x-two"));
        assert_eq!(header_of(&answer, "access-control-allow-credentials"), Some("true"));
        assert_eq!(header_of(&answer, "access-control-max-age"), Some("60"));
        assert!(question.judge(&[rule("https://a.org", &["GET"])]).is_none());
        assert!(question.judge(&[CorsRule { headers: Vec::new(), ..rule("*", &["PUT"]) }]).is_none());
    }

    #[test]
    fn everybody_is_told_by_a_star_and_gets_no_credentials() {
        let answer = asked("GET", &[("origin", "null")]).unwrap().judge(&[rule("*", &["GET"])]).unwrap();
        assert_eq!(header_of(&answer, "access-control-allow-origin"), Some("*"));
        assert_eq!(header_of(&answer, "access-control-allow-credentials"), None);
        assert_eq!(header_of(&answer, "access-control-expose-headers"), Some("ETag"));
    }

    #[test]
    fn a_request_without_an_origin_is_no_script_s() {
        assert!(asked("GET", &[]).is_none());
        assert!(asked("OPTIONS", &[("origin", "https://a.org")]).is_none());
        assert!(asked("OPTIONS", &[("access-control-request-method", "GET")]).is_none());
    }
}
