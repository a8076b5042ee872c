//! Who tells whom to stop, to look, or to end.

use std::sync::Arc;
use tokio::sync::{Notify, watch};

/// Signals between a chunkserver's parts. Clones are the same signals.
#[derive(Clone, Debug)]
pub(crate) struct Signals {
    stop: Arc<watch::Sender<bool>>,
    fenced: Arc<watch::Sender<bool>>,
    failed: Arc<Notify>,
}

impl Signals {
    pub(crate) fn new() -> Signals {
        let (stop, fenced) = (Arc::new(watch::Sender::new(false)), Arc::new(watch::Sender::new(false)));
        Signals { stop, fenced, failed: Arc::new(Notify::new()) }
    }

    /// The tasks end.
    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Waits for that. Cancel-safe.
    pub(crate) async fn stopped(&self) {
        // The sender is held by `self`, so waiting can only end well.
        let _ = self.stop.subscribe().wait_for(|stop| *stop).await;
    }

    /// Another process has taken this node's place.
    pub(crate) fn fence(&self) {
        self.fenced.send_replace(true);
    }

    /// Waits for that. Cancel-safe.
    pub(crate) async fn fenced(&self) {
        let _ = self.fenced.subscribe().wait_for(|fenced| *fenced).await;
    }

    /// Notified when a volume fails.
    pub(crate) fn failed(&self) -> Arc<Notify> {
        Arc::clone(&self.failed)
    }
}
