//! Answers from the rows: everything that the masters can be asked and that changes nothing.
//!
//! Every function takes a view. Give it a snapshot of the store: what it reads in several steps then belongs together. Tokens
//! and tickets are not made here; the API makes them from what these functions say.

mod access;
mod bucket;
mod cluster;
mod file;
mod fold;
mod heal;
mod lifecycle;
mod list;
mod page;
mod parts;
mod place;
mod session;
#[cfg(test)]
mod tests;
mod upload;
mod versions;

pub use access::{join_token, key, keys};
pub use bucket::{BucketRules, bucket, buckets, cors, is_public, policy, rules};
pub use cluster::{Counts, counts, release_due};
pub use file::{FileBytes, OpenedFile, WhereFile, WhereStretch, open, stat, where_is};
pub use heal::{Moment, Owned, collection, compare, misplaced, place_chunks, rebalance, references};
pub use lifecycle::{LifecycleWork, lifecycle_buckets, lifecycle_work};
pub use list::list;
pub use page::{Page, PageLimits, Stretch, page};
pub use parts::file_parts;
pub use session::{SessionInfo, oldest_window, session, sessions_due, window_end};
pub use upload::{StagingInfo, parts, staging, uploads};
pub use versions::versions;

use crate::store::StoreError;
use cairn_common::error::ErrorKind;
use cairn_common::wire::command::Refusal;
use cairn_common::wire::master::MasterError;

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// What was asked about is not there, or a condition on it does not hold.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The manifest of a ticket has been let go: its file was removed longer ago than the grace.
    #[error("the file was removed too long ago to be read on")]
    Gone,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl QueryError {
    /// What the caller can do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            QueryError::Refused(refusal) => refusal.kind(),
            QueryError::Gone => ErrorKind::NotFound,
            QueryError::Store(error) => error.kind(),
        }
    }
}

impl From<QueryError> for MasterError {
    fn from(error: QueryError) -> MasterError {
        match error {
            QueryError::Refused(refusal) => MasterError::Refused(refusal),
            QueryError::Gone => MasterError::BadTicket,
            QueryError::Store(error) if error.kind() == ErrorKind::Unavailable => {
                MasterError::Unavailable(error.to_string())
            }
            QueryError::Store(error) => MasterError::Bug(error.to_string()),
        }
    }
}
