//! What a caller can do about an error: the one classification that every error of every crate maps to.
//!
//! Retry policy, HTTP status, S3 code and CLI exit code are each one `match` over [`ErrorKind`] (with a few refined by the
//! variant of the concrete error), each in one file.

use serde::{Deserialize, Serialize};

/// The class of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ErrorKind {
    /// The named thing does not exist. Retrying does not help.
    NotFound,
    /// A precondition failed, or the thing exists already, or someone else was first.
    Conflict,
    /// The request itself is wrong. Retrying does not help.
    Invalid,
    /// The caller is not who it says, or may not do this.
    Denied,
    /// Not now: too few nodes, overload, a leader change. Nothing happened; retrying makes sense.
    Unavailable,
    /// No room, or a quota is used up.
    NoSpace,
    /// Bytes do not match their hash and no good copy was found.
    Corrupt,
    /// It may or may not have happened: the request was sent and no answer came.
    Unknown,
    /// A broken invariant of ours. Please report it.
    Bug,
}

impl ErrorKind {
    /// Whether the same request may succeed if it is sent again as it is.
    pub fn is_retryable(self) -> bool {
        matches!(self, ErrorKind::Unavailable | ErrorKind::Unknown)
    }
}
