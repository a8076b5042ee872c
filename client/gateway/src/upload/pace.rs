//! How slowly a body may come: a client that stops, or trickles, must not hold buffers and a place among the running requests
//! for ever.
//!
//! Pure. Only time in which the client was waited for counts; while the gateway itself is busy, or waits for memory, the client
//! is not to blame.

use crate::limits::{BODY_PACE_BYTES, BODY_PACE_MS, BODY_STALL_MS};
use std::time::Duration;

const STALL: Duration = Duration::from_millis(BODY_STALL_MS);
const PATIENCE: Duration = Duration::from_millis(BODY_PACE_MS);

/// What a client has brought and how long it was waited for, since it last had brought [`BODY_PACE_BYTES`].
#[derive(Debug, Default)]
pub(crate) struct Pace {
    bytes: u64,
    waited: Duration,
}

impl Pace {
    /// When a pause that began at `since` will have been too long. Both are readings of the monotonic clock.
    pub(crate) fn deadline(&self, since: Duration) -> Duration {
        since + STALL.min(PATIENCE.saturating_sub(self.waited))
    }

    /// After a pause of `waited`, `bytes` came.
    pub(crate) fn arrived(&mut self, bytes: u64, waited: Duration) {
        self.bytes += bytes;
        self.waited += waited;
        if self.bytes >= BODY_PACE_BYTES {
            *self = Pace::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Sends `bytes` after each `pause` until the pace is too slow; the time waited until then.
    fn patience_with(bytes: u64, pause: Duration) -> Option<Duration> {
        let mut pace = Pace::default();
        let mut waited = Duration::ZERO;
        for _ in 0..1000 {
            if pace.deadline(Duration::ZERO) <= pause {
                return Some(waited + pace.deadline(Duration::ZERO));
            }
            pace.arrived(bytes, pause);
            waited += pause;
        }
        None
    }

    #[test]
    fn a_client_that_stops_is_given_up_after_the_stall_time() {
        assert_eq!(Pace::default().deadline(SECOND), SECOND + STALL);
        assert_eq!(patience_with(u64::MAX >> 1, STALL), Some(STALL));
    }

    #[test]
    fn a_client_that_trickles_is_given_up_however_often_it_sends() {
        assert_eq!(patience_with(1, SECOND), Some(PATIENCE));
        assert_eq!(patience_with(1, SECOND / 10), Some(PATIENCE));
        assert_eq!(patience_with(BODY_PACE_BYTES / 60 - 1, SECOND), Some(PATIENCE));
    }

    #[test]
    fn a_client_that_keeps_the_pace_is_never_given_up() {
        assert_eq!(patience_with(BODY_PACE_BYTES / 60 + 18, SECOND), None);
        assert_eq!(patience_with(BODY_PACE_BYTES, STALL - SECOND), None);
    }
}
