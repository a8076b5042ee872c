//! Lifecycle: rules by which a bucket removes files, earlier versions, lonely marks of removal and forgotten uploads by itself.
//!
//! What a rule says about one file at one moment is decided here, and is pure: the same function answers who looks for work and
//! the command that does it. Days end at midnight UTC, as in S3: a file is due at the first midnight after its days are over.

use crate::bucket::{Tags, check_file_tags};
use crate::ids::Stamp;
use crate::limits::{
    KEY_MAX_BYTES, LIFECYCLE_DAYS_MAX, LIFECYCLE_ID_MAX_CHARS, LIFECYCLE_KEPT_MAX, LIFECYCLE_RULES_MAX,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

const DAY_MS: u64 = 86_400_000;

/// A rule of a bucket.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LifecycleRule {
    /// Its name, unique in its bucket.
    pub id: String,
    /// Whether it is in force.
    pub enabled: bool,
    /// Which files it is for.
    pub scope: Scope,
    /// When current versions end.
    pub expire: Option<Expire>,
    /// When earlier versions end.
    pub noncurrent: Option<NoncurrentExpire>,
    /// Days after which an upload that was begun and not ended is given up.
    pub abort_uploads_days: Option<u32>,
}

/// Which files a rule is for: those for which all of this holds.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Scope {
    /// How the rule was written, so that it is shown as it was given.
    pub form: ScopeForm,
    /// Keys that start with this.
    pub prefix: String,
    /// Files with all of these labels.
    pub tags: Tags,
    /// Files larger than this, in bytes.
    pub larger_than: Option<u64>,
    /// Files smaller than this, in bytes.
    pub smaller_than: Option<u64>,
}

/// How a scope is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum ScopeForm {
    /// A prefix beside the rule's other elements, as in the first version of the API.
    Prefix,
    /// A filter of at most one condition.
    #[default]
    Filter,
    /// A filter of several conditions.
    And,
}

/// When current versions end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expire {
    /// So many days after their commit.
    Days(u32),
    /// From this moment on, in milliseconds since 1970.
    Date(u64),
    /// Never; but a mark of removal ends that lies over nothing.
    LonelyMarks,
}

/// When earlier versions end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoncurrentExpire {
    /// So many days after another version or a mark took their place.
    pub days: u32,
    /// But for so many of the newest of them.
    pub keep: u32,
}

/// Rules that cannot be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum LifecycleError {
    /// Too many.
    #[error("a lifecycle has at most {LIFECYCLE_RULES_MAX} rules")]
    Count,
    /// A name is missing, too long, or there twice.
    #[error("every rule has an id of its own, of at most {LIFECYCLE_ID_MAX_CHARS} characters")]
    Id,
    /// A rule does nothing.
    #[error("a rule says what is to be done")]
    Nothing,
    /// A number of days out of its range.
    #[error("days are from 1 to {LIFECYCLE_DAYS_MAX}")]
    Days,
    /// A number of versions out of its range.
    #[error("at most {LIFECYCLE_KEPT_MAX} earlier versions are kept")]
    Kept,
    /// A date that is no midnight.
    #[error("a date of a rule is midnight UTC")]
    Date,
    /// A prefix that no key can have.
    #[error("a prefix has at most {KEY_MAX_BYTES} bytes")]
    Prefix,
    /// What neither marks nor uploads have.
    #[error("uploads and marks of removal have no labels and no size")]
    Scope,
    /// Labels that no file can have.
    #[error("a rule asks for labels that a file can have")]
    Tags,
}

/// What is known about a version that a rule may be for.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Its key.
    pub key: &'a str,
    /// Its labels.
    pub tags: &'a Tags,
    /// Its length, in bytes.
    pub length: u64,
}

impl Scope {
    fn covers(&self, subject: Subject<'_>) -> bool {
        subject.key.starts_with(&self.prefix)
            && self.tags.iter().all(|(name, value)| subject.tags.get(name) == Some(value))
            && self.larger_than.is_none_or(|bound| subject.length > bound)
            && self.smaller_than.is_none_or(|bound| subject.length < bound)
    }

    /// Whether it asks for what only versions with bytes have.
    fn is_of_files(&self) -> bool {
        !self.tags.is_empty() || self.larger_than.is_some() || self.smaller_than.is_some()
    }
}

/// Whether so many days are over, counted to the next midnight.
fn over(since: Stamp, days: u32, now: Stamp) -> bool {
    let end = since.ms().saturating_add(u64::from(days) * DAY_MS);
    now.ms() >= end.div_ceil(DAY_MS) * DAY_MS
}

impl LifecycleRule {
    /// Whether a current version that was committed at `since` has ended.
    pub fn ends_current(&self, subject: Subject<'_>, since: Stamp, now: Stamp) -> bool {
        self.enabled
            && self.scope.covers(subject)
            && match self.expire {
                Some(Expire::Days(days)) => over(since, days, now),
                Some(Expire::Date(date)) => now.ms() >= date,
                Some(Expire::LonelyMarks) | None => false,
            }
    }

    /// Whether a mark of removal that lies over nothing, and was made at `since`, has ended.
    pub fn ends_lonely_mark(&self, key: &str, since: Stamp, now: Stamp) -> bool {
        self.enabled
            && key.starts_with(&self.scope.prefix)
            && !self.scope.is_of_files()
            && match self.expire {
                Some(Expire::LonelyMarks) => true,
                Some(Expire::Days(days)) => over(since, days, now),
                Some(Expire::Date(date)) => now.ms() >= date,
                None => false,
            }
    }

    /// Whether an earlier version has ended whose place was taken at `replaced`, and beside which there are `newer` earlier
    /// versions that are newer.
    pub fn ends_noncurrent(&self, subject: Subject<'_>, replaced: Stamp, newer: u64, now: Stamp) -> bool {
        self.enabled
            && self.scope.covers(subject)
            && self.noncurrent.is_some_and(|rule| newer >= u64::from(rule.keep) && over(replaced, rule.days, now))
    }

    /// Whether an upload that was begun at `since` is to be given up.
    pub fn ends_upload(&self, key: &str, since: Stamp, now: Stamp) -> bool {
        self.enabled
            && key.starts_with(&self.scope.prefix)
            && self.abort_uploads_days.is_some_and(|days| over(since, days, now))
    }

    fn check(&self) -> Result<(), LifecycleError> {
        let length = self.id.chars().count();
        if length == 0 || length > LIFECYCLE_ID_MAX_CHARS {
            return Err(LifecycleError::Id);
        }
        if self.scope.prefix.len() > KEY_MAX_BYTES {
            return Err(LifecycleError::Prefix);
        }
        if check_file_tags(&self.scope.tags).is_err() {
            return Err(LifecycleError::Tags);
        }
        let days = |days: u32| (1..=LIFECYCLE_DAYS_MAX).contains(&days);
        match self.expire {
            Some(Expire::Days(count)) if !days(count) => return Err(LifecycleError::Days),
            Some(Expire::Date(date)) if !date.is_multiple_of(DAY_MS) => return Err(LifecycleError::Date),
            Some(Expire::LonelyMarks) if self.scope.is_of_files() => return Err(LifecycleError::Scope),
            _ => {}
        }
        if let Some(rule) = self.noncurrent {
            if !days(rule.days) {
                return Err(LifecycleError::Days);
            }
            if rule.keep > LIFECYCLE_KEPT_MAX {
                return Err(LifecycleError::Kept);
            }
        }
        if let Some(count) = self.abort_uploads_days {
            if !days(count) {
                return Err(LifecycleError::Days);
            }
            if self.scope.is_of_files() {
                return Err(LifecycleError::Scope);
            }
        }
        let nothing = self.expire.is_none() && self.noncurrent.is_none() && self.abort_uploads_days.is_none();
        if nothing { Err(LifecycleError::Nothing) } else { Ok(()) }
    }
}

/// The first rule that cannot be kept, if any. No rules at all is how a lifecycle is taken off.
pub fn check_rules(rules: &[LifecycleRule]) -> Result<(), LifecycleError> {
    if rules.len() > LIFECYCLE_RULES_MAX {
        return Err(LifecycleError::Count);
    }
    let ids: BTreeSet<&str> = rules.iter().map(|rule| rule.id.as_str()).collect();
    if ids.len() != rules.len() {
        return Err(LifecycleError::Id);
    }
    rules.iter().try_for_each(LifecycleRule::check)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIDNIGHT: u64 = 20_000 * DAY_MS;

    fn rule() -> LifecycleRule {
        LifecycleRule { id: "r".to_owned(), enabled: true, ..LifecycleRule::default() }
    }

    fn at(ms: u64) -> Stamp {
        Stamp::from_ms(ms)
    }

    #[test]
    fn days_end_at_the_first_midnight_after_them() {
        let rule = LifecycleRule { expire: Some(Expire::Days(1)), ..rule() };
        let (none, length) = (Tags::new(), 1);
        let subject = Subject { key: "k", tags: &none, length };
        let ends = |since: u64, now: u64| rule.ends_current(subject, at(since), at(now));
        assert!(!ends(MIDNIGHT + 1, MIDNIGHT + 2 * DAY_MS - 1) && ends(MIDNIGHT + 1, MIDNIGHT + 2 * DAY_MS));
        assert!(!ends(MIDNIGHT, MIDNIGHT + DAY_MS - 1) && ends(MIDNIGHT, MIDNIGHT + DAY_MS));
        let off = LifecycleRule { enabled: false, ..rule.clone() };
        assert!(!off.ends_current(subject, at(0), at(MIDNIGHT)));
        let date = LifecycleRule { expire: Some(Expire::Date(MIDNIGHT)), ..rule };
        assert!(
            date.ends_current(subject, at(0), at(MIDNIGHT)) && !date.ends_current(subject, at(0), at(MIDNIGHT - 1))
        );
    }

    #[test]
    fn a_rule_is_for_files_that_fulfil_all_of_its_scope() {
        let tags = |pairs: &[(&str, &str)]| -> Tags {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let scope = Scope {
            prefix: "a/".to_owned(),
            tags: tags(&[("x", "1"), ("y", "2")]),
            larger_than: Some(10),
            smaller_than: Some(20),
            ..Scope::default()
        };
        let rule = LifecycleRule { expire: Some(Expire::Days(1)), scope, ..rule() };
        let both = tags(&[("x", "1"), ("y", "2"), ("z", "3")]);
        let ends = |key, tags: &Tags, length| rule.ends_current(Subject { key, tags, length }, at(0), at(MIDNIGHT));
        assert!(ends("a/b", &both, 11) && ends("a/b", &both, 19));
        assert!(!ends("b", &both, 15) && !ends("a/b", &both, 10) && !ends("a/b", &both, 20));
        assert!(!ends("a/b", &tags(&[("x", "1")]), 15) && !ends("a/b", &tags(&[("x", "1"), ("y", "3")]), 15));
    }

    #[test]
    fn the_newest_earlier_versions_are_kept_as_asked() {
        let noncurrent = Some(NoncurrentExpire { days: 1, keep: 2 });
        let rule = LifecycleRule { noncurrent, ..rule() };
        let none = Tags::new();
        let subject = Subject { key: "k", tags: &none, length: 0 };
        let ends = |newer| rule.ends_noncurrent(subject, at(0), newer, at(MIDNIGHT));
        assert!(!ends(0) && !ends(1) && ends(2));
        assert!(!rule.ends_noncurrent(subject, at(MIDNIGHT), 2, at(MIDNIGHT)));
    }

    #[test]
    fn only_marks_over_nothing_end_and_only_where_no_rule_asks_for_labels() {
        let marks = LifecycleRule { expire: Some(Expire::LonelyMarks), ..rule() };
        assert!(marks.ends_lonely_mark("k", at(MIDNIGHT), at(MIDNIGHT)));
        let days = LifecycleRule { expire: Some(Expire::Days(1)), ..rule() };
        assert!(!days.ends_lonely_mark("k", at(MIDNIGHT), at(MIDNIGHT)));
        assert!(days.ends_lonely_mark("k", at(0), at(MIDNIGHT)));
        let scope = Scope { larger_than: Some(0), ..Scope::default() };
        assert!(!LifecycleRule { scope, ..days }.ends_lonely_mark("k", at(0), at(MIDNIGHT)));
    }

    #[test]
    fn rules_that_cannot_be_kept_are_refused() {
        let good = LifecycleRule { expire: Some(Expire::Days(1)), ..rule() };
        assert_eq!(check_rules(&[]), Ok(()));
        assert_eq!(check_rules(std::slice::from_ref(&good)), Ok(()));
        assert_eq!(check_rules(&[good.clone(), good.clone()]), Err(LifecycleError::Id));
        let tagged = Scope { tags: Tags::from([("a".to_owned(), "b".to_owned())]), ..Scope::default() };
        let nameless = Scope { tags: Tags::from([(String::new(), String::new())]), ..Scope::default() };
        for (wrong, problem) in [
            (rule(), LifecycleError::Nothing),
            (LifecycleRule { id: String::new(), ..good.clone() }, LifecycleError::Id),
            (LifecycleRule { id: "x".repeat(LIFECYCLE_ID_MAX_CHARS + 1), ..good.clone() }, LifecycleError::Id),
            (LifecycleRule { expire: Some(Expire::Days(0)), ..rule() }, LifecycleError::Days),
            (LifecycleRule { expire: Some(Expire::Date(MIDNIGHT + 1)), ..rule() }, LifecycleError::Date),
            (LifecycleRule { abort_uploads_days: Some(0), ..rule() }, LifecycleError::Days),
            (LifecycleRule { abort_uploads_days: Some(1), scope: tagged.clone(), ..rule() }, LifecycleError::Scope),
            (LifecycleRule { expire: Some(Expire::LonelyMarks), scope: tagged, ..rule() }, LifecycleError::Scope),
            (LifecycleRule { scope: nameless, ..good.clone() }, LifecycleError::Tags),
            (
                LifecycleRule { noncurrent: Some(NoncurrentExpire { days: 1, keep: 101 }), ..rule() },
                LifecycleError::Kept,
            ),
        ] {
            assert_eq!(check_rules(std::slice::from_ref(&wrong)), Err(problem), "{wrong:?}");
        }
    }
}
