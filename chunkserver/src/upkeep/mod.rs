//! What a chunkserver does so that every chunk lies where it belongs, and nothing else lies here.
//!
//! - [`round`]: compares all slots with the masters' references, again and again, and puts right what differs:
//!   - [`fetch`]: chunks that this node owns and lacks come from nodes that have them (repair, moves, hand-offs going home);
//!   - [`shed`]: chunks that belong to others go, once those have them (the drop rule);
//!   - [`collect`]: chunks that nothing refers to go, once nobody can refer to them any more.
//! - [`scrub`]: reads every copy back and sets bad ones aside, which the next round fetches anew.
//! - [`reclaim`]: compacts packs in which little lives.
//!
//! There is no other way in which a copy is removed by itself. All of it can be broken off anywhere: what is to be done follows
//! from what is held and what is referred to, and is found again.
//!
//! Why nodes compare themselves with the references and not with each other: it takes one comparison instead of one with every
//! other owner, it finds a chunk that no owner has, and what nothing refers to spreads to nobody.

mod collect;
mod compare;
mod fetch;
mod pace;
mod peers;
mod progress;
mod reclaim;
mod round;
mod scrub;
mod shed;
#[cfg(test)]
mod tests;
mod view;

pub(crate) use peers::{Chunkservers, Peers, RemoteChunkservers};
pub(crate) use progress::Progress;
pub(crate) use view::ClusterView;

use crate::store::Store;
use crate::tasks::Signals;
use cairn_common::limits::{FETCH_BYTES_PER_SECOND, SCRUB_BYTES_PER_SECOND, UPKEEP_PAUSE_MS, UPKEEP_RETRY_MS};
use cairn_common::seam::{Clock, Pool};
use pace::Pace;
use std::sync::Arc;
use std::time::Duration;

/// Rounds take at most one part in so many of the time.
const IDLE_PARTS: u32 = 20;
/// Pause between two passes of the scrub, unless set.
const SCRUB_PAUSE: Duration = Duration::from_secs(24 * 60 * 60);

/// How upkeep goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpkeepSettings {
    /// Pause between two rounds that found nothing to do.
    pub pause: Duration,
    /// Bytes a second that are fetched from others.
    pub fetch_bytes_per_second: u64,
    /// Pause before each pass of the scrub.
    pub scrub_pause: Duration,
    /// Bytes a second that are read back.
    pub scrub_bytes_per_second: u64,
}

impl Default for UpkeepSettings {
    fn default() -> UpkeepSettings {
        UpkeepSettings {
            pause: Duration::from_millis(UPKEEP_PAUSE_MS),
            fetch_bytes_per_second: FETCH_BYTES_PER_SECOND,
            scrub_pause: SCRUB_PAUSE,
            scrub_bytes_per_second: SCRUB_BYTES_PER_SECOND,
        }
    }
}

/// What the parts of upkeep share.
pub(crate) struct Context {
    store: Arc<Store>,
    view: Arc<ClusterView>,
    peers: Peers,
    progress: Arc<Progress>,
    clock: Arc<dyn Clock>,
    computing: Pool,
    settings: UpkeepSettings,
    fetching: Pace,
    scrubbing: Pace,
}

impl Context {
    pub(crate) fn new(
        store: Arc<Store>,
        view: Arc<ClusterView>,
        peers: Peers,
        progress: Arc<Progress>,
        clock: Arc<dyn Clock>,
        computing: Pool,
        settings: UpkeepSettings,
    ) -> Context {
        let fetching = Pace::new(Arc::clone(&clock), settings.fetch_bytes_per_second);
        let scrubbing = Pace::new(Arc::clone(&clock), settings.scrub_bytes_per_second);
        Context { store, view, peers, progress, clock, computing, settings, fetching, scrubbing }
    }

    /// Runs until it is told to stop, or the masters say that this run is over.
    pub(crate) async fn run(self, signals: Signals) {
        tokio::select! {
            biased;
            () = signals.stopped() => {}
            () = signals.fenced() => {}
            () = self.rounds() => {}
            () = self.scrub(self.settings.scrub_pause) => {}
        }
    }

    async fn rounds(&self) {
        loop {
            let begun = self.clock.monotonic();
            let pause = match self.round().await {
                Ok(round) => {
                    self.reclaim().await;
                    if round.left_something() { self.retry() } else { self.settings.pause }
                }
                Err(round::RoundError::Epoch) => self.retry(),
                Err(error) => {
                    tracing::debug!(%error, "a round of upkeep was broken off");
                    self.retry()
                }
            };
            let took = self.clock.monotonic().saturating_sub(begun);
            // However large the node is, and however much news there is, comparing stays a part of what it does.
            self.clock.sleep(took).await;
            tokio::select! {
                biased;
                () = self.view.changed() => {}
                () = self.clock.sleep(pause.max(took * IDLE_PARTS)) => {}
            }
        }
    }

    fn retry(&self) -> Duration {
        self.settings.pause.min(Duration::from_millis(UPKEEP_RETRY_MS))
    }
}
