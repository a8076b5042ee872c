//! Object Lock: what keeps a version from being removed, and who may change that. Judged by the stamp of the command alone.
//!
//! A lock is kept with the attributes of its version; rows that cannot be read stop the node, so a lock that cannot be read is
//! never taken for none.

use super::history;
use super::tx::{Step, Tx};
use crate::store::key::BucketRow;
use cairn_common::file::{Attributes, Condition};
use cairn_common::name::{BucketName, FilePath};
use cairn_common::version::{Lock, LockChange, VersionId};
use cairn_common::wire::command::{Done, Refusal};

/// Changes the lock of a version.
pub(super) fn set(
    tx: &mut Tx<'_>,
    path: &FilePath,
    version: Option<VersionId>,
    change: LockChange,
    bypass: bool,
) -> Step<Done> {
    let (bucket, found) = history::find(tx, path, version, &Condition::default())?;
    if bucket.lock.is_none() {
        return Err(Refusal::NoObjectLock(path.bucket.clone()).into());
    }
    let before = found.attributes.lock;
    let lock = match change {
        LockChange::LegalHold(legal_hold) => Lock { legal_hold, ..before },
        LockChange::Retention(retention) => Lock { retention, ..before },
    };
    if let LockChange::Retention(new) = change {
        if new.is_some_and(|new| new.until_ms <= tx.stamp().ms()) {
            return Err(Refusal::LockInThePast.into());
        }
        if before.retention.is_some_and(|old| !old.may_become(new, tx.stamp(), bypass)) {
            return Err(Refusal::Locked { path: path.clone() }.into());
        }
    }
    let attributes = Attributes { lock, ..found.attributes.clone() };
    history::amend(tx, &bucket, &path.key, &found, attributes)?;
    Ok(Done::Nothing)
}

/// Whether a version must not be removed now.
pub(super) fn holds(tx: &Tx<'_>, attributes: &Attributes, bypass: bool) -> bool {
    attributes.lock.holds(tx.stamp(), bypass)
}

/// Whether a new version may ask for this lock.
pub(super) fn check(tx: &Tx<'_>, bucket: &BucketRow, name: &BucketName, wanted: Lock) -> Result<(), Refusal> {
    if wanted == Lock::default() {
        return Ok(());
    }
    if bucket.lock.is_none() {
        return Err(Refusal::NoObjectLock(name.clone()));
    }
    match wanted.retention {
        Some(retention) if retention.until_ms <= tx.stamp().ms() => Err(Refusal::LockInThePast),
        _ => Ok(()),
    }
}

/// The lock that a new version gets.
pub(super) fn of_new(tx: &Tx<'_>, bucket: &BucketRow, wanted: Lock) -> Lock {
    bucket.lock.map_or_else(Lock::default, |lock| lock.of_new(wanted, tx.stamp()))
}
