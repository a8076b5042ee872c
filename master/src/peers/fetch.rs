//! Taking a state over from another master.
//!
//! The pages go into a new database beside the one that counts, and are hashed on the way. Only when the last one has come and the
//! hash over all is right is the snapshot's message given to Raft, and the new database made the one that counts.

use super::message::{PeerReply, PeerRequest, SnapshotTag, batch_of};
use crate::store::{MetaStore as _, Position, StoreError, WriteBatch};
use crate::stores::{NewStore, Stores};
use cairn_common::net::FrameClient;
use cairn_common::seam::CallError;
use cairn_common::wire::frame::Service;
use cairn_common::wire::{DecodeError, decode, encode};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Fetched states that are kept.
const READY_MAX: usize = 2;

/// Why a state was not taken over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// The other master cannot be asked.
    #[error(transparent)]
    Call(#[from] CallError),
    /// It has dropped the snapshot.
    #[error("the other master does not keep the snapshot any more")]
    Gone,
    /// It was altered on the way.
    #[error("the hash over the snapshot is wrong: it was altered on the way")]
    Damaged,
    /// Another release, or altered.
    #[error("an answer cannot be read: {0}")]
    Decode(#[from] DecodeError),
    /// It cannot be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// States that were fetched and wait to be made the one that counts. Two at most: while one is about to be installed, the
/// next may come in.
#[derive(Clone)]
pub(crate) struct Staging {
    ready: Arc<Mutex<VecDeque<Staged>>>,
    fetching: Arc<Semaphore>,
}

struct Staged {
    new: NewStore,
    position: Position,
}

impl Default for Staging {
    fn default() -> Staging {
        Staging { ready: Arc::default(), fetching: Arc::new(Semaphore::new(1)) }
    }
}

impl Staging {
    /// The right to fetch; `None`: somebody has it.
    pub(crate) fn begin(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.fetching).try_acquire_owned().ok()
    }

    /// Fetches the state `tag` by `link`. Writes on the calling thread.
    pub(crate) async fn fetch(&self, stores: &Stores, link: &FrameClient, tag: SnapshotTag) -> Result<(), FetchError> {
        let new = stores.make_new()?;
        let (mut digest, nowhere) = ([0; 32], Position::default());
        for page in 0.. {
            let request = encode(&PeerRequest::SnapshotPage { id: tag.id, page });
            let answer = link.call(Service::Raft, request.into()).await?;
            match decode::<PeerReply>(&answer)? {
                PeerReply::Gone | PeerReply::Checkpoints(..) | PeerReply::Matched(_) => return Err(FetchError::Gone),
                PeerReply::End { digest: expected } if expected == digest => break,
                PeerReply::End { .. } => return Err(FetchError::Damaged),
                PeerReply::Page { rows } => {
                    let batch = batch_of(rows);
                    digest = batch.digest(&digest);
                    new.store.write(&batch, &nowhere)?;
                }
            }
        }
        new.store.write(&WriteBatch::new(), &tag.position)?;
        new.store.flush()?;
        let staged = Staged { new, position: tag.position };
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        ready.push_back(staged);
        if ready.len() > READY_MAX {
            ready.pop_front();
        }
        Ok(())
    }

    /// The state at this position, if it was fetched.
    pub(crate) fn take(&self, index: u64, term: u64) -> Option<NewStore> {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = |staged: &Staged| (staged.position.index, staged.position.term) == (index, term);
        let found = ready.iter().position(wanted).and_then(|place| ready.remove(place));
        found.map(|staged| staged.new)
    }
}
