//! Versions of a file beside the current one, and what keeps them from being removed.
//!
//! A bucket keeps no earlier versions until versioning is switched on; from then on it can be suspended, never switched off.
//! A version that was made while it was on has an id of its own: its stamp. All others are the `null` version of their key, of
//! which there is at most one. A bucket with Object Lock keeps versions that are locked from everybody until their time is over.

use crate::ids::Stamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Which version of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum VersionId {
    /// The one that was made while versioning was not on.
    Null,
    /// The one of this stamp.
    At(Stamp),
}

/// The text is no version's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a version's id is \"null\" or 16 hex digits")]
pub struct NoVersionId;

impl fmt::Display for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VersionId::Null => f.write_str("null"),
            VersionId::At(stamp) => write!(f, "{:016x}", stamp.0),
        }
    }
}

/// Reads exactly what [`fmt::Display`] writes.
impl FromStr for VersionId {
    type Err = NoVersionId;

    fn from_str(text: &str) -> Result<VersionId, NoVersionId> {
        if text == "null" {
            return Ok(VersionId::Null);
        }
        let digits = text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let number = Some(text).filter(|_| digits).and_then(|text| u64::from_str_radix(text, 16).ok());
        number.map(|number| VersionId::At(Stamp(number))).ok_or(NoVersionId)
    }
}

/// Whether a bucket keeps earlier versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Versioning {
    /// It never did.
    #[default]
    Off,
    /// It keeps every version.
    Enabled,
    /// It keeps those that have an id; new versions are `null` versions and replace each other.
    Suspended,
}

/// How strictly a version is retained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RetentionMode {
    /// Whoever may configure the bucket can take it off, by saying so.
    Governance,
    /// Nobody can, and it can only become longer.
    Compliance,
}

/// Until when a version is kept from everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    /// How strictly.
    pub mode: RetentionMode,
    /// Its last moment, in milliseconds since 1970.
    pub until_ms: u64,
}

/// What keeps a version from being removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Lock {
    /// Until a time.
    pub retention: Option<Retention>,
    /// Until the hold is taken off.
    pub legal_hold: bool,
}

impl Lock {
    /// Whether the version must not be removed at `now`. `bypass`: by someone who may take governance off, and says so.
    pub fn holds(&self, now: Stamp, bypass: bool) -> bool {
        self.legal_hold
            || self.retention.is_some_and(|retention| {
                retention.is_active(now) && !(bypass && retention.mode == RetentionMode::Governance)
            })
    }
}

impl Retention {
    fn is_active(&self, now: Stamp) -> bool {
        self.until_ms >= now.ms()
    }

    /// Whether it may be replaced by `new` at `now`.
    pub fn may_become(&self, new: Option<Retention>, now: Stamp, bypass: bool) -> bool {
        if !self.is_active(now) {
            return true;
        }
        let longer = new.is_some_and(|new| new.mode == self.mode && new.until_ms >= self.until_ms);
        longer || (bypass && self.mode == RetentionMode::Governance)
    }
}

/// A length of time in the calendar of retention: a year has 365 days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Period {
    /// So many days.
    Days(u32),
    /// So many years.
    Years(u32),
}

impl Period {
    /// The longest that can be asked for, in days: a hundred years.
    pub const DAYS_MAX: u32 = 36_500;

    /// In days, if it is one that can be asked for.
    pub fn days(self) -> Option<u32> {
        let days = match self {
            Period::Days(days) => Some(days),
            Period::Years(years) => years.checked_mul(365),
        };
        days.filter(|days| (1..=Period::DAYS_MAX).contains(days))
    }
}

/// The retention that a version gets which asks for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefaultRetention {
    /// How strictly.
    pub mode: RetentionMode,
    /// For how long from its commit on.
    pub period: Period,
}

/// Object Lock of a bucket. Once a bucket has it, it has it for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ObjectLock {
    /// For versions that ask for none.
    pub default: Option<DefaultRetention>,
}

impl ObjectLock {
    /// The lock of a version that is made at `now` and asks for `wanted`.
    pub fn of_new(&self, wanted: Lock, now: Stamp) -> Lock {
        const DAY_MS: u64 = 86_400_000;
        let of_default = |default: DefaultRetention| {
            let days = default.period.days().unwrap_or(Period::DAYS_MAX);
            Retention { mode: default.mode, until_ms: now.ms().saturating_add(u64::from(days) * DAY_MS) }
        };
        Lock { retention: wanted.retention.or(self.default.map(of_default)), ..wanted }
    }
}

/// A change of a version's lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LockChange {
    /// Another retention, or none.
    Retention(Option<Retention>),
    /// The hold is put on or taken off.
    LegalHold(bool),
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Stamp = Stamp(1_000 << Stamp::COUNTER_BITS);

    fn until(mode: RetentionMode, until_ms: u64) -> Retention {
        Retention { mode, until_ms }
    }

    #[test]
    fn an_id_parses_what_it_prints_and_nothing_else() {
        for id in [VersionId::Null, VersionId::At(Stamp(0)), VersionId::At(Stamp(u64::MAX))] {
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        for text in ["", "NULL", "0", "+000000000000000", "000000000000000G", "00000000000000001", "00000000000000AB"] {
            assert_eq!(text.parse::<VersionId>(), Err(NoVersionId), "{text}");
        }
    }

    #[test]
    fn a_lock_holds_until_its_last_moment_and_only_governance_can_be_bypassed() {
        use RetentionMode::{Compliance, Governance};
        let lock = |mode, until_ms| Lock { retention: Some(until(mode, until_ms)), legal_hold: false };
        assert!(lock(Compliance, 1_000).holds(NOW, true) && !lock(Compliance, 999).holds(NOW, false));
        assert!(lock(Governance, 1_000).holds(NOW, false) && !lock(Governance, 1_000).holds(NOW, true));
        assert!(Lock { legal_hold: true, ..lock(Governance, 0) }.holds(NOW, true));
        assert!(!Lock::default().holds(NOW, false));
    }

    #[test]
    fn retention_grows_and_only_governance_is_ever_taken_off() {
        use RetentionMode::{Compliance, Governance};
        for (old, new, plain, bypassed) in [
            (until(Governance, 2_000), Some(until(Governance, 2_000)), true, true),
            (until(Governance, 2_000), Some(until(Governance, 1_999)), false, true),
            (until(Governance, 2_000), Some(until(Compliance, 9_000)), false, true),
            (until(Governance, 2_000), None, false, true),
            (until(Compliance, 2_000), Some(until(Compliance, 2_001)), true, true),
            (until(Compliance, 2_000), Some(until(Compliance, 1_999)), false, false),
            (until(Compliance, 2_000), Some(until(Governance, 9_000)), false, false),
            (until(Compliance, 2_000), None, false, false),
            (until(Compliance, 999), None, true, true),
        ] {
            assert_eq!(old.may_become(new, NOW, false), plain, "{old:?} {new:?}");
            assert_eq!(old.may_become(new, NOW, true), bypassed, "{old:?} {new:?}");
        }
    }

    #[test]
    fn a_version_gets_the_bucket_s_retention_unless_it_brings_its_own() {
        let period = Period::Days(2);
        let lock = ObjectLock { default: Some(DefaultRetention { mode: RetentionMode::Compliance, period }) };
        let given = lock.of_new(Lock::default(), NOW);
        assert_eq!(given.retention, Some(until(RetentionMode::Compliance, 1_000 + 2 * 86_400_000)));
        let own = Lock { retention: Some(until(RetentionMode::Governance, 5_000)), legal_hold: true };
        assert_eq!(lock.of_new(own, NOW), own);
        assert_eq!(ObjectLock::default().of_new(Lock::default(), NOW), Lock::default());
        assert_eq!(Period::Years(2).days(), Some(730));
        assert_eq!(
            (Period::Days(0).days(), Period::Years(101).days(), Period::Years(u32::MAX).days()),
            (None, None, None)
        );
    }
}
