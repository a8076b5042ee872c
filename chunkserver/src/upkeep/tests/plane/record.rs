//! What happened: a trace of it, by which two runs of one seed are compared, and the first rule that was broken.

use super::clock::Timeline;
use std::sync::{Arc, Mutex};

/// What is worth a number in the trace.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    Call = 1,
    Lost,
    Start,
    Crash,
    Stop,
    Fault,
    Ring,
    Commit,
    Refused,
    Read,
    Removed,
    Command,
}

/// Clones are the same record.
#[derive(Clone)]
pub(super) struct Record {
    timeline: Timeline,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    trace: blake3::Hasher,
    broken: Option<String>,
    counts: [u64; 16],
}

impl Record {
    pub(super) fn new(timeline: &Timeline) -> Record {
        Record { timeline: timeline.clone(), inner: Arc::default() }
    }

    pub(super) fn note(&self, event: Event, what: &[u64]) {
        let now = self.timeline.now();
        let mut inner = self.inner.lock().unwrap();
        inner.counts[event as usize] += 1;
        inner.trace.update(&now.as_nanos().to_le_bytes()).update(&[event as u8]);
        for number in what {
            inner.trace.update(&number.to_le_bytes());
        }
    }

    /// A rule is broken. The first counts.
    pub(super) fn broken(&self, what: String) {
        let now_ms = self.timeline.now_ms();
        self.inner.lock().unwrap().broken.get_or_insert_with(|| format!("at {now_ms} ms: {what}"));
    }

    /// Fails if a rule was broken.
    pub(super) fn check(&self) -> Result<(), String> {
        self.inner.lock().unwrap().broken.clone().map_or(Ok(()), Err)
    }

    pub(super) fn count(&self, event: Event) -> u64 {
        self.inner.lock().unwrap().counts[event as usize]
    }

    pub(super) fn trace(&self) -> [u8; 32] {
        *self.inner.lock().unwrap().trace.finalize().as_bytes()
    }
}
