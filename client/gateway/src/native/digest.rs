//! Digests that a client asks for (RFC 9530: `Want-Repr-Digest`, `Want-Content-Digest`).
//!
//! `Repr-Digest` is of the whole file, `Content-Digest` of what an answer carries. One that was stored with the file costs
//! nothing and is always shown; others are computed where the answer's bytes are all there before its head is sent. A large file
//! would have to be read twice: a client that wants its digest has it computed when it stores it.

use super::representation::{CONTENT_DIGEST as CONTENT, REPR_DIGEST as REPR, sha256_field};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use ring::digest::{SHA256, digest};

/// What an answer carries.
pub(crate) struct Whole<'a> {
    /// Whether it is the whole file.
    pub(crate) all: bool,
    /// Its length.
    pub(crate) bytes: u64,
    /// What of it was read already.
    pub(crate) first: Option<&'a Bytes>,
}

/// Whether a SHA-256 of the file is asked for.
pub(crate) fn wants_repr(headers: &HeaderMap) -> bool {
    wants(headers, "want-repr-digest")
}

/// Whether `sha-256` has a preference above 0. What is malformed asks for nothing: these fields are hints.
fn wants(headers: &HeaderMap, name: &str) -> bool {
    let members = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(','));
    let mut preferences = members.filter_map(|member| member.trim().strip_prefix("sha-256=")?.parse::<u8>().ok());
    preferences.next_back().is_some_and(|preference| (1..=10).contains(&preference))
}

/// Adds what is asked for and can be had.
pub(crate) fn show(asked: &HeaderMap, shown: &mut HeaderMap, whole: &Whole<'_>) {
    let (repr, content) = (wants_repr(asked) && whole.all, wants(asked, "want-content-digest"));
    let stored = shown.get(REPR).filter(|_| whole.all).cloned();
    let value = stored.or_else(|| (repr || content).then(|| computed(whole)).flatten());
    let Some(value) = value else { return };
    if repr {
        shown.insert(REPR, value.clone());
    }
    if content {
        shown.insert(CONTENT, value);
    }
}

fn computed(whole: &Whole<'_>) -> Option<HeaderValue> {
    let bytes = whole.first.map_or(&[][..], |first| first);
    let sum = (bytes.len() as u64 == whole.bytes).then(|| digest(&SHA256, bytes))?;
    sha256_field(sum.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderName;

    const EMPTY: &str = "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:";
    const ABC: &str = "sha-256=:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=:";

    fn shown(asked: &[(&'static str, &'static str)], stored: Option<&'static str>, whole: &Whole<'_>) -> HeaderMap {
        let asked = asked
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        let mut shown: HeaderMap = stored.map(|value| (REPR, HeaderValue::from_static(value))).into_iter().collect();
        show(&asked, &mut shown, whole);
        shown
    }

    #[test]
    fn what_is_asked_for_is_shown_where_it_is_known() {
        let abc = Bytes::from_static(b"abc");
        let small = Whole { all: true, bytes: 3, first: Some(&abc) };
        let both = [("want-repr-digest", "sha-512=9, sha-256=1"), ("want-content-digest", "sha-256=10")];
        let headers = shown(&both, None, &small);
        assert_eq!(
            (&headers[REPR], &headers[CONTENT]),
            (&HeaderValue::from_static(ABC), &HeaderValue::from_static(ABC))
        );
        let empty = Whole { all: true, bytes: 0, first: None };
        assert_eq!(shown(&both, None, &empty)[REPR], EMPTY);
        // Of a part, there is the digest of the content alone, and that of the file only if it was stored.
        let part = Whole { all: false, ..small };
        let headers = shown(&both, None, &part);
        assert!(headers.get(REPR).is_none() && headers[CONTENT] == ABC);
        let headers = shown(&both, Some(EMPTY), &part);
        assert_eq!(
            (&headers[REPR], &headers[CONTENT]),
            (&HeaderValue::from_static(EMPTY), &HeaderValue::from_static(ABC))
        );
        // More than what was read.
        let large = Whole { bytes: 4, ..small };
        assert!(shown(&both, None, &large).is_empty());
        assert_eq!(shown(&both, Some(EMPTY), &large)[CONTENT], EMPTY);
    }

    #[test]
    fn what_is_not_asked_for_is_not_computed() {
        let abc = Bytes::from_static(b"abc");
        let small = Whole { all: true, bytes: 3, first: Some(&abc) };
        for asked in ["sha-256=0", "sha-512=5", "sha-256", "sha-256=11", ""] {
            assert!(shown(&[("want-repr-digest", asked)], None, &small).is_empty(), "{asked}");
        }
    }
}
