//! Conditions and ranges of RFC 9110, from headers.

use super::problem::{Outcome, bad_request};
use cairn_common::file::{Condition, FileInfo, TagCondition};
use cairn_common::wire::master::RangeWanted;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use std::time::UNIX_EPOCH;

/// How tags are compared (RFC 9110, 8.8.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    /// A weak tag equals none: all of ours are strong.
    Strong,
    /// Whether a tag is weak does not matter.
    Weak,
}

/// The conditions of a write.
pub(crate) fn of_write(headers: &HeaderMap) -> Outcome<Condition> {
    Ok(Condition {
        if_match: tags(headers, header::IF_MATCH, Comparison::Strong)?,
        if_none_match: tags(headers, header::IF_NONE_MATCH, Comparison::Weak)?,
        unmodified_since_ms: date(headers, &header::IF_UNMODIFIED_SINCE),
        ..Condition::default()
    })
}

/// The conditions of a read.
pub(crate) fn of_read(headers: &HeaderMap) -> Outcome<Condition> {
    Ok(Condition { modified_since_ms: date(headers, &header::IF_MODIFIED_SINCE), ..of_write(headers)? })
}

/// An HTTP date, in milliseconds since 1970. One that is none is no condition (RFC 9110, 13.1.3).
fn date(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    parse_date(headers.get(name)?.to_str().ok()?)
}

fn parse_date(text: &str) -> Option<u64> {
    let since = httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(since.as_millis()).ok()
}

fn tags(headers: &HeaderMap, name: HeaderName, comparison: Comparison) -> Outcome<Option<TagCondition>> {
    let mut list: Option<Vec<String>> = None;
    for value in headers.get_all(&name) {
        let text = value.to_str().ok().map(str::trim);
        if text == Some("*") && headers.get_all(&name).iter().count() == 1 {
            return Ok(Some(TagCondition::Any));
        }
        let tags = text.and_then(|text| parse_tags(text, comparison));
        let malformed = || bad_request(format!("{name} is neither * nor a list of ETags in double quotes."));
        list.get_or_insert_default().extend(tags.ok_or_else(malformed)?);
    }
    Ok(list.map(TagCondition::OneOf))
}

/// A list of tags, without quotes; those left out that can equal none.
fn parse_tags(text: &str, comparison: Comparison) -> Option<Vec<String>> {
    let mut rest = text;
    let mut tags = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return Some(tags);
        }
        let (weak, quoted) = match rest.strip_prefix("W/") {
            Some(quoted) => (true, quoted),
            None => (false, rest),
        };
        let (tag, behind) = quoted.strip_prefix('"')?.split_once('"')?;
        if !weak || comparison == Comparison::Weak {
            tags.push(tag.to_owned());
        }
        rest = behind.trim_start();
        if !rest.is_empty() && !rest.starts_with(',') {
            return None;
        }
    }
}

/// Which bytes a read wants. A range in another unit, or more than one, or one that is malformed, asks for the whole (RFC 9110,
/// 14.2: a server may ignore them).
pub(crate) fn range(headers: &HeaderMap) -> RangeWanted {
    let mut values = headers.get_all(header::RANGE).iter();
    let value = values.next().filter(|_| values.next().is_none()).and_then(|value| value.to_str().ok());
    value.and_then(parse_range).unwrap_or(RangeWanted::All)
}

fn parse_range(text: &str) -> Option<RangeWanted> {
    let (unit, range) = text.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = range.trim().split_once('-')?;
    match (first, last) {
        ("", count) => Some(RangeWanted::Last(digits(count)?)),
        (first, "") => Some(RangeWanted::From(digits(first)?)),
        (first, last) => {
            let (first, last) = (digits(first)?, digits(last)?);
            (first <= last).then(|| RangeWanted::FromTo(first, last.saturating_add(1)))
        }
    }
}

/// A number of digits alone; one that is too large is as good as the largest.
fn digits(text: &str) -> Option<u64> {
    let only = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    only.then(|| text.parse().unwrap_or(u64::MAX))
}

/// Whether the version that was found is the one that `If-Range` names; if not, the whole is wanted (RFC 9110, 13.1.5).
pub(crate) fn if_range_holds(headers: &HeaderMap, info: &FileInfo) -> bool {
    let Some(value) = headers.get(header::IF_RANGE) else { return true };
    let Ok(text) = value.to_str() else { return false };
    let text = text.trim();
    if text.starts_with('"') || text.starts_with("W/") {
        let tags = parse_tags(text, Comparison::Strong).unwrap_or_default();
        return matches!(tags.as_slice(), [tag] if info.tags.matches(tag));
    }
    // A date is exact to the second only, so it must equal: the version may have been replaced within its second.
    parse_date(text).is_some_and(|date| date / 1000 == info.stamp.ms() / 1000)
}

/// A header's value in double quotes.
pub(crate) fn quoted(tag: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(&format!("\"{tag}\"")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_common::file::{Attributes, ETags, S3Tag};
    use cairn_common::ids::Stamp;
    use cairn_common::manifest::Root;
    use proptest::prelude::*;

    fn one_of(tags: &[&str]) -> Option<TagCondition> {
        Some(TagCondition::OneOf(tags.iter().map(|tag| (*tag).to_owned()).collect()))
    }

    fn headers(name: HeaderName, values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (name.clone(), HeaderValue::from_str(value).unwrap())).fold(
            HeaderMap::new(),
            |mut map, (name, value)| {
                map.append(name, value);
                map
            },
        )
    }

    #[test]
    fn tags_are_lists_of_quoted_texts_or_a_star() {
        let of = |values: &[&str]| of_write(&headers(header::IF_NONE_MATCH, values)).map(|found| found.if_none_match);
        assert_eq!(of(&["*"]).unwrap(), Some(TagCondition::Any));
        assert_eq!(of(&["\"a\""]).unwrap(), one_of(&["a"]));
        assert_eq!(of(&["\"a\", W/\"b\" ,\"c,d\""]).unwrap(), one_of(&["a", "b", "c,d"]));
        assert_eq!(of(&["\"a\"", "\"b\""]).unwrap(), one_of(&["a", "b"]));
        assert_eq!(of(&["\"\""]).unwrap(), one_of(&[""]));
        for bad in ["a", "\"a", "\"a\" \"b\"", "W/a", "*, \"a\""] {
            assert!(of(&[bad]).is_err(), "{bad}");
        }
        assert!(of(&["*", "\"a\""]).is_err());
    }

    #[test]
    fn a_weak_tag_never_allows_a_write() {
        let condition = of_write(&headers(header::IF_MATCH, &["W/\"a\""])).unwrap();
        assert_eq!(condition.if_match, one_of(&[]));
    }

    #[test]
    fn ranges_are_understood_or_ignored() {
        let of = |text: &str| range(&headers(header::RANGE, &[text]));
        assert_eq!(of("bytes=0-4"), RangeWanted::FromTo(0, 5));
        assert_eq!(of("Bytes = 2-"), RangeWanted::From(2));
        assert_eq!(of("bytes=-3"), RangeWanted::Last(3));
        assert_eq!(of("bytes=0-99999999999999999999999"), RangeWanted::FromTo(0, u64::MAX));
        for ignored in ["bytes=4-0", "bytes=-", "bytes=0-1,3-4", "lines=0-4", "bytes=+1-2", "bytes=a-b", "bytes", ""] {
            assert_eq!(of(ignored), RangeWanted::All, "{ignored}");
        }
        assert_eq!(range(&headers(header::RANGE, &["bytes=0-1", "bytes=2-3"])), RangeWanted::All);
    }

    #[test]
    fn if_range_wants_exactly_this_version() {
        let tags = ETags { root: Root([1; 32]), s3: S3Tag::Md5([2; 16]) };
        let info = FileInfo {
            stamp: Stamp::from_ms(784_111_777_500),
            version: None,
            length: 1,
            tags,
            attributes: Attributes::default(),
        };
        let holds = |text: &str| if_range_holds(&headers(header::IF_RANGE, &[text]), &info);
        assert!(holds(&format!("\"{}\"", tags.native())) && holds(&format!("\"{}\"", tags.s3())));
        assert!(!holds(&format!("W/\"{}\"", tags.native())) && !holds("\"other\"") && !holds("nonsense"));
        assert!(holds("Sun, 06 Nov 1994 08:49:37 GMT"));
        assert!(!holds("Sun, 06 Nov 1994 08:49:38 GMT") && !holds("Sun, 06 Nov 1994 08:49:36 GMT"));
        assert!(if_range_holds(&HeaderMap::new(), &info));
    }

    proptest! {
        #[test]
        fn no_header_panics(text in "[ -~]{0,40}") {
            let _ = parse_tags(&text, Comparison::Weak);
            let _ = parse_range(&text);
            let _ = parse_date(&text);
        }
    }
}
