//! Why a call failed, and what kind of failure a refusal is.

use super::super::command::Refusal;
use crate::error::ErrorKind;
use serde::{Deserialize, Serialize};

/// Why a master did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum MasterError {
    /// The state says no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The actor may not do this.
    #[error("access denied")]
    Denied,
    /// The request contradicts itself.
    #[error("bad request: {0}")]
    BadRequest(String),
    /// The ticket or token that came with the request is not good (any more).
    #[error("the ticket is not valid or has expired")]
    BadTicket,
    /// Another master leads; nothing was done.
    #[error("this master does not lead")]
    NotLeader {
        /// Base URL of the one that does, if known.
        leader: Option<String>,
    },
    /// No master could be reached or leads now; nothing was done.
    #[error("no master can serve now: {0}")]
    Unavailable(String),
    /// Too much waits already; nothing was done.
    #[error("the master is overloaded; try again")]
    Overloaded,
    /// The command was sent and no answer came.
    #[error("no answer came: the command may or may not have been executed")]
    Unknown,
    /// A broken invariant of ours.
    #[error("internal error: {0}")]
    Bug(String),
}

impl MasterError {
    /// What the caller can do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            MasterError::Refused(refusal) => refusal.kind(),
            MasterError::Denied => ErrorKind::Denied,
            MasterError::BadRequest(_) | MasterError::BadTicket => ErrorKind::Invalid,
            MasterError::NotLeader { .. } | MasterError::Unavailable(_) | MasterError::Overloaded => {
                ErrorKind::Unavailable
            }
            MasterError::Unknown => ErrorKind::Unknown,
            MasterError::Bug(_) => ErrorKind::Bug,
        }
    }
}

impl Refusal {
    /// What the caller can do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Refusal::SessionEnded => ErrorKind::Unknown,
            Refusal::SessionCrowded
            | Refusal::TooManySessions
            | Refusal::ShortOfQuorum { .. }
            | Refusal::WindowEnded
            | Refusal::TooManyEpochs => ErrorKind::Unavailable,
            Refusal::NoSuchBucket(_)
            | Refusal::NoSuchFile(_)
            | Refusal::NoSuchVersion { .. }
            | Refusal::FileRemoved { .. }
            | Refusal::NoSuchUpload(_)
            | Refusal::NoSuchNode(_)
            | Refusal::NoSuchVolume { .. }
            | Refusal::NoSuchKey(_) => ErrorKind::NotFound,
            Refusal::BucketExists { .. }
            | Refusal::BucketNotEmpty(_)
            | Refusal::ConditionFailed { .. }
            | Refusal::LockNeedsVersions
            | Refusal::NodeExists(_)
            | Refusal::KeyExists(_)
            | Refusal::StaleBoot { .. }
            | Refusal::StaleVolume { .. }
            | Refusal::TooFewNodes { .. }
            | Refusal::NodeInRing(_)
            | Refusal::AlreadyInitialised => ErrorKind::Conflict,
            Refusal::TooManyBuckets | Refusal::QuotaBytes { .. } | Refusal::QuotaFiles { .. } => ErrorKind::NoSpace,
            Refusal::BadJoinToken | Refusal::Locked { .. } => ErrorKind::Denied,
            Refusal::WrongDomain
            | Refusal::BadManifest(_)
            | Refusal::RootMismatch
            | Refusal::BadAttributes(_)
            | Refusal::BadSettings(_)
            | Refusal::RemovalMark { .. }
            | Refusal::NoObjectLock(_)
            | Refusal::LockInThePast
            | Refusal::InlineTooLarge { .. }
            | Refusal::SegmentOrder { .. }
            | Refusal::InvalidPart(_)
            | Refusal::InvalidPartOrder(_)
            | Refusal::PartTooSmall { .. }
            | Refusal::InvalidRange { .. }
            | Refusal::Unsupported(_)
            | Refusal::SourceInline(_)
            | Refusal::Invalid(_)
            | Refusal::BadPolicy(_) => ErrorKind::Invalid,
        }
    }
}
