//! Giving the state away.
//!
//! A snapshot is a consistent picture of the store, walked over once by a thread of its own. Pages are handed out in order; the last
//! one is kept, so that it can be asked for again when its answer was lost. A snapshot that nobody asks for is dropped.

use super::message::{PeerReply, SnapshotTag, rows_of};
use crate::raft::{ConfState, SnapshotSource, TakenSnapshot};
use crate::store::{MetaStore as _, RocksStore, StoreError, export};
use crate::stores::Stores;
use cairn_common::seam::{Clock, spawn_thread};
use cairn_common::wire;
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Bytes of rows in a page.
const PAGE_BYTES: usize = 1 << 20;
/// Snapshots kept at a time.
const KEPT_MAX: usize = 4;
/// A snapshot that nobody asked about for this long is dropped.
const IDLE: Duration = Duration::from_secs(60);
/// One that was begun, and nobody asked about for this long, is not being fetched any more.
const STALLED: Duration = Duration::from_secs(10);
/// A snapshot younger than this is given to the next member that needs one as well, if nobody has begun on it.
const FRESH: Duration = Duration::from_secs(10);

/// What is given away now.
pub(crate) struct SnapshotServer {
    stores: Arc<Stores>,
    clock: Arc<dyn Clock>,
    kept: Mutex<BTreeMap<u64, Kept>>,
}

struct Kept {
    tag: SnapshotTag,
    conf: ConfState,
    made: Duration,
    /// Whether it may be given to a member that needs one.
    for_members: bool,
    asked: Duration,
    pages: Receiver<PeerReply>,
    /// Number of the next page, and the one before.
    next: u64,
    last: Option<PeerReply>,
}

impl SnapshotServer {
    pub(crate) fn new(stores: Arc<Stores>, clock: Arc<dyn Clock>) -> SnapshotServer {
        SnapshotServer { stores, clock, kept: Mutex::default() }
    }

    /// A page. Blocks while it is read.
    pub(crate) fn page(&self, id: u64, page: u64) -> PeerReply {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(snapshot) = kept.get_mut(&id) else { return PeerReply::Gone };
        snapshot.asked = self.clock.monotonic();
        if page + 1 == snapshot.next {
            return snapshot.last.clone().unwrap_or(PeerReply::Gone);
        }
        if page != snapshot.next {
            return PeerReply::Gone;
        }
        let Ok(reply) = snapshot.pages.recv() else { return PeerReply::Gone };
        snapshot.next += 1;
        snapshot.last = Some(reply.clone());
        reply
    }

    /// Takes a snapshot that is given to nobody else.
    pub(crate) fn begin(&self) -> Result<SnapshotTag, StoreError> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.monotonic();
        kept.retain(|_, snapshot| now.saturating_sub(snapshot.asked) < IDLE);
        if kept.len() >= KEPT_MAX {
            return Err(StoreError::Failed("the state is being given to others already; try again".to_owned()));
        }
        let id = next_id(&kept, now);
        let snapshot = Kept { for_members: false, ..self.take(id)? };
        let tag = snapshot.tag.clone();
        kept.insert(id, snapshot);
        Ok(tag)
    }

    fn take(&self, id: u64) -> Result<Kept, StoreError> {
        let (sender, pages) = sync_channel(1);
        let (started, begun) = sync_channel(1);
        let store = self.stores.current();
        spawn_thread("give-state", move || give(&store, &started, &sender));
        let (position, conf) = match begun.recv() {
            Ok(begun) => begun?,
            Err(_) => return Err(StoreError::Failed("the snapshot thread ended".to_owned())),
        };
        let now = self.clock.monotonic();
        let tag = SnapshotTag { id, position };
        Ok(Kept { tag, conf, made: now, for_members: true, asked: now, pages, next: 0, last: None })
    }
}

/// Higher than any before, also than those of an earlier run, as far as time has gone on since.
fn next_id(kept: &BTreeMap<u64, Kept>, now: Duration) -> u64 {
    kept.keys().next_back().map_or(1, |last| last + 1).max(now.as_millis() as u64)
}

type Begun = Result<(crate::store::Position, ConfState), StoreError>;

/// Walks over the state; ends when nobody takes its pages any more.
fn give(store: &RocksStore, started: &SyncSender<Begun>, pages: &SyncSender<PeerReply>) {
    let view = match store.snapshot() {
        Ok(view) => view,
        Err(error) => {
            let _ = started.send(Err(error));
            return;
        }
    };
    let begun = view.position().and_then(|position| Ok((position, crate::machine::conf_in(view.as_ref())?)));
    if started.send(begun).is_err() {
        return;
    }
    let mut digest = [0; 32];
    let walked = export(view.as_ref(), PAGE_BYTES, |batch| {
        digest = batch.digest(&digest);
        let page = PeerReply::Page { rows: rows_of(&batch) };
        pages.send(page).map_err(|_| StoreError::Failed("nobody takes the snapshot".to_owned()))
    });
    match walked {
        Ok(()) => {
            let _ = pages.send(PeerReply::End { digest });
        }
        Err(error) => tracing::debug!(%error, "a snapshot was not given to its end"),
    }
}

impl SnapshotSource for SnapshotServer {
    fn take(&self) -> Option<TakenSnapshot> {
        let now = self.clock.monotonic();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, snapshot| now.saturating_sub(snapshot.asked) < IDLE);
        let is_fresh =
            |snapshot: &&Kept| snapshot.for_members && snapshot.next == 0 && now.saturating_sub(snapshot.made) < FRESH;
        let fresh = kept.values().find(is_fresh);
        let (tag, conf) = match fresh {
            Some(snapshot) => (snapshot.tag.clone(), snapshot.conf.clone()),
            None if kept.len() >= KEPT_MAX => return None,
            None => {
                let id = next_id(&kept, now);
                let snapshot = match SnapshotServer::take(self, id) {
                    Ok(snapshot) => snapshot,
                    Err(error) => {
                        tracing::error!(%error, "cannot take a snapshot of the state");
                        return None;
                    }
                };
                let both = (snapshot.tag.clone(), snapshot.conf.clone());
                kept.insert(id, snapshot);
                both
            }
        };
        let data = wire::encode(&tag);
        Some(TakenSnapshot { index: tag.position.index, term: tag.position.term, conf, data })
    }

    fn oldest_in_use(&self) -> Option<u64> {
        let now = self.clock.monotonic();
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let in_use = kept.values().filter(|snapshot| now.saturating_sub(snapshot.asked) < IDLE);
        in_use.map(|snapshot| snapshot.tag.position.index).min()
    }

    fn is_read(&self) -> bool {
        let now = self.clock.monotonic();
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.values().any(|snapshot| {
            let under_way = snapshot.next > 0 && !matches!(snapshot.last, Some(PeerReply::End { .. }));
            under_way && now.saturating_sub(snapshot.asked) < STALLED
        })
    }
}
