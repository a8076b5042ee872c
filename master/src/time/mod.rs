//! The time that a master goes by.
//!
//! A leader's time goes into every entry and never falls again, so a leader whose clock is years ahead would end every lease
//! there is. So masters do not believe their own wall clocks: they ask each other, and go by what most of them agree on. Between
//! two comparisons time runs by the monotonic clock, which does not jump. See docs/decisions/0014-masters-that-cannot-be-lost.md.

use cairn_common::limits::CLOCKS_APART_MAX_MS;
use cairn_common::seam::{Clock, seeded_bug};
use futures::future::BoxFuture;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A clock that others have a say in. Its wall time is trusted; [`TrustedClock::own_ms`] is what the machine believes.
pub(crate) struct TrustedClock {
    machine: Arc<dyn Clock>,
    state: Mutex<Anchored>,
}

#[derive(Clone, Debug)]
struct Anchored {
    /// What the time was, and when on the monotonic clock.
    wall_ms: u64,
    at: Duration,
    /// Whether a quorum has been heard since this master started.
    agreed: bool,
    alarm: Option<String>,
}

/// What masters' clocks come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Agreement {
    /// The own clock is right.
    Own,
    /// It is not, or nobody can say; this is what the others have, or the earlier.
    Theirs(u64),
    /// Too few were heard.
    Unheard,
}

/// Judges the own clock by those of others. `quorum`: masters, this one included, that decide.
fn judge(own_ms: u64, others: &[u64], quorum: usize) -> Agreement {
    let mut all = others.to_vec();
    all.push(own_ms);
    if all.len() < quorum {
        return Agreement::Unheard;
    }
    all.sort_unstable();
    // Of two, the earlier: it ends nothing that the later would not.
    let median = all[(all.len() - 1) / 2];
    if own_ms.abs_diff(median) <= CLOCKS_APART_MAX_MS { Agreement::Own } else { Agreement::Theirs(median) }
}

impl TrustedClock {
    /// A clock on the machine's. `last_ms`: the time of the newest command in the state, which this one goes by until others were
    /// heard; `None`: there are no others, or there is no state.
    pub(crate) fn new(machine: Arc<dyn Clock>, last_ms: Option<u64>) -> TrustedClock {
        let own_ms = machine.wall_ms();
        let wall_ms = last_ms.map_or(own_ms, |last_ms| last_ms.min(own_ms));
        let anchored = Anchored { wall_ms, at: machine.monotonic(), agreed: last_ms.is_none(), alarm: None };
        TrustedClock { machine, state: Mutex::new(anchored) }
    }

    /// What the machine believes.
    pub(crate) fn own_ms(&self) -> u64 {
        self.machine.wall_ms()
    }

    /// Whether enough masters were heard since the start.
    pub(crate) fn is_agreed(&self) -> bool {
        self.lock().agreed
    }

    /// What is wrong with the machine's clock, for people.
    pub(crate) fn alarm(&self) -> Option<String> {
        self.lock().alarm.clone()
    }

    /// Takes note of the clocks of other masters, just asked. `quorum`: masters, this one included, that decide.
    pub(crate) fn compare(&self, others: &[u64], quorum: usize) {
        let (own_ms, now_ms) = (self.own_ms(), self.wall_ms());
        let mut state = self.lock();
        let agreement = match judge(own_ms, others, quorum) {
            _ if seeded_bug("believe-own-clock") => Agreement::Own,
            // Alone, only its own monotonic clock can say that it jumped.
            Agreement::Own if others.is_empty() && own_ms.abs_diff(now_ms) > CLOCKS_APART_MAX_MS => {
                Agreement::Theirs(now_ms)
            }
            agreement => agreement,
        };
        let (wall_ms, alarm) = match agreement {
            Agreement::Own => (own_ms, None),
            Agreement::Theirs(wall_ms) => {
                let apart = own_ms.abs_diff(wall_ms) / 1000;
                let alarm =
                    format!("a master's clock is {apart} s off and is not gone by: set it right, then restart it");
                (wall_ms, Some(alarm))
            }
            Agreement::Unheard => return,
        };
        if let Some(alarm) = alarm.as_ref().filter(|_| state.alarm.is_none()) {
            tracing::warn!(alarm, "alarm");
        }
        *state = Anchored { wall_ms, at: self.machine.monotonic(), agreed: true, alarm };
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Anchored> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for TrustedClock {
    fn wall_ms(&self) -> u64 {
        let state = self.lock();
        let passed = self.machine.monotonic().saturating_sub(state.at);
        state.wall_ms.saturating_add(u64::try_from(passed.as_millis()).unwrap_or(u64::MAX))
    }

    fn monotonic(&self) -> Duration {
        self.machine.monotonic()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.machine.sleep(duration)
    }
}

#[cfg(test)]
mod tests;
