//! Cross-origin access: which scripts of other origins browsers let at the files of a bucket. It is the browser that obeys; nobody
//! gets a right by it.

use crate::limits::{CORS_MAX_BYTES, CORS_RULES_MAX};
use serde::{Deserialize, Serialize};

/// A rule of a bucket.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CorsRule {
    /// Its name, for people.
    pub id: Option<String>,
    /// Origins it is for, each with at most one `*`.
    pub origins: Vec<String>,
    /// Methods it allows.
    pub methods: Vec<String>,
    /// Headers of requests that it allows, each with at most one `*`.
    pub headers: Vec<String>,
    /// Headers of answers that scripts may see.
    pub expose: Vec<String>,
    /// For how long a browser may remember it, in seconds.
    pub max_age_s: Option<u32>,
}

/// Methods that a rule can allow, as S3.
const METHODS: [&str; 5] = ["GET", "PUT", "POST", "DELETE", "HEAD"];

/// Rules that cannot be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum CorsError {
    /// Too many, or too much altogether.
    #[error("at most {CORS_RULES_MAX} rules for cross-origin access are kept, of {CORS_MAX_BYTES} bytes altogether")]
    Size,
    /// A rule allows nothing.
    #[error("a rule has at least one origin and one method")]
    Nothing,
    /// A method that is none of those that can be allowed.
    #[error("a rule can allow GET, PUT, POST, DELETE and HEAD")]
    Method,
    /// More than one `*` in a pattern.
    #[error("a pattern has at most one *")]
    Pattern,
}

impl CorsRule {
    /// Whether it allows a request of `origin` with `method`, and the pattern that says so.
    pub fn allows(&self, origin: &str, method: &str) -> Option<&str> {
        let pattern = self.origins.iter().find(|pattern| matches(pattern, origin, false))?;
        self.methods.iter().any(|allowed| allowed == method).then_some(pattern)
    }

    /// Whether it allows a request to carry these headers.
    pub fn allows_headers<'h>(&self, mut headers: impl Iterator<Item = &'h str>) -> bool {
        headers.all(|header| self.headers.iter().any(|pattern| matches(pattern, header, true)))
    }

    fn check(&self) -> Result<(), CorsError> {
        if self.origins.is_empty() || self.methods.is_empty() {
            return Err(CorsError::Nothing);
        }
        if self.methods.iter().any(|method| !METHODS.contains(&method.as_str())) {
            return Err(CorsError::Method);
        }
        let stars = |text: &String| text.bytes().filter(|byte| *byte == b'*').count();
        if self.origins.iter().chain(&self.headers).any(|pattern| stars(pattern) > 1) {
            return Err(CorsError::Pattern);
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        let lists = [&self.origins, &self.methods, &self.headers, &self.expose];
        let texts = lists.into_iter().flatten().chain(&self.id);
        texts.map(|text| text.len() + 1).sum()
    }
}

/// Whether `text` is what `pattern` stands for, in which one `*` is any text.
fn matches(pattern: &str, text: &str, any_case: bool) -> bool {
    let (pattern, text) = match any_case {
        true => (pattern.to_ascii_lowercase(), text.to_ascii_lowercase()),
        false => (pattern.to_owned(), text.to_owned()),
    };
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, end)) => text.len() >= start.len() + end.len() && text.starts_with(start) && text.ends_with(end),
    }
}

/// The first thing that is wrong with rules, if any. No rules at all is how they are taken off.
pub fn check_cors(rules: &[CorsRule]) -> Result<(), CorsError> {
    if rules.len() > CORS_RULES_MAX || rules.iter().map(CorsRule::bytes).sum::<usize>() > CORS_MAX_BYTES {
        return Err(CorsError::Size);
    }
    rules.iter().try_for_each(CorsRule::check)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(origins: &[&str], methods: &[&str], headers: &[&str]) -> CorsRule {
        let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        CorsRule { origins: list(origins), methods: list(methods), headers: list(headers), ..CorsRule::default() }
    }

    #[test]
    fn one_star_stands_for_any_text() {
        let rule = rule(&["https://*.example.com", "*suffix", "exact"], &["GET"], &[]);
        for origin in ["https://a.example.com", "https://.example.com", "suffix", "my.suffix", "exact"] {
            assert!(rule.allows(origin, "GET").is_some(), "{origin}");
        }
        for origin in ["https://example.com", "suffix.get", "exactly", "EXACT", ""] {
            assert!(rule.allows(origin, "GET").is_none(), "{origin}");
        }
        assert!(rule.allows("exact", "PUT").is_none());
        // The two halves must not overlap.
        assert!(!matches("aba*ba", "aba", false));
    }

    #[test]
    fn headers_are_compared_in_any_case_and_all_must_be_allowed() {
        let rule = rule(&["*"], &["PUT"], &["x-amz-meta-*", "Content-Type"]);
        assert!(rule.allows_headers(["X-Amz-Meta-A", "content-type"].into_iter()));
        assert!(!rule.allows_headers(["x-amz-meta-a", "x-other"].into_iter()));
        assert!(rule.allows_headers(std::iter::empty()));
    }

    #[test]
    fn rules_that_cannot_be_kept_are_refused() {
        let good = rule(&["*"], &["GET"], &["*"]);
        assert_eq!(check_cors(&vec![good.clone(); CORS_RULES_MAX]), Ok(()));
        assert_eq!(check_cors(&vec![good; CORS_RULES_MAX + 1]), Err(CorsError::Size));
        for (wrong, problem) in [
            (rule(&[], &["GET"], &[]), CorsError::Nothing),
            (rule(&["*"], &[], &[]), CorsError::Nothing),
            (rule(&["*"], &["OPTIONS"], &[]), CorsError::Method),
            (rule(&["*.*"], &["GET"], &[]), CorsError::Pattern),
            (rule(&[&"x".repeat(CORS_MAX_BYTES)], &["GET"], &[]), CorsError::Size),
        ] {
            assert_eq!(check_cors(std::slice::from_ref(&wrong)), Err(problem));
        }
    }
}
