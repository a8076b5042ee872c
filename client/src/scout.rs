//! Decides for which chunks it is worth asking whether they are there, before their bytes are sent.
//!
//! Asking costs a call; not asking costs the bytes of a chunk that was there. Uploads that are tried again, and files that were changed a
//! little, have long runs of known chunks, so one miss says little and a run of misses much. Shared by all uploads of a client: many
//! small new files are a run of misses too.

use std::sync::atomic::{AtomicU32, Ordering};

/// Chunks in a row that were not there after which only some are still asked for.
const MISSES_IN_A_ROW: u32 = 8;
/// Of those, one in so many.
const ASK_EVERY: u32 = 8;

/// What was learnt from the chunks asked for last. Uploads at the same time see each other's answers late: that costs a few calls.
#[derive(Debug, Default)]
pub(crate) struct Scout {
    misses: AtomicU32,
    since: AtomicU32,
}

impl Scout {
    /// Whether to ask for the next chunk.
    pub(crate) fn asks(&self) -> bool {
        let since = self.since.fetch_add(1, Ordering::Relaxed) + 1;
        let asks = self.misses.load(Ordering::Relaxed) < MISSES_IN_A_ROW || since >= ASK_EVERY;
        if asks {
            self.since.store(0, Ordering::Relaxed);
        }
        asks
    }

    /// A chunk that was asked for was there, or was not.
    pub(crate) fn learn(&self, found: bool) {
        match found {
            true => self.misses.store(0, Ordering::Relaxed),
            // Bounded by the number of chunks that a process can send; a wrap only asks once more.
            false => {
                self.misses.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_asked_for_until_many_in_a_row_are_missing_and_again_from_the_first_hit_on() {
        let scout = Scout::default();
        for _ in 0..MISSES_IN_A_ROW {
            assert!(scout.asks());
            scout.learn(false);
        }
        let asked: Vec<bool> = (0..2 * ASK_EVERY).map(|_| scout.asks()).collect();
        assert_eq!(asked.iter().filter(|asked| **asked).count(), 2);
        scout.learn(true);
        assert!((0..MISSES_IN_A_ROW).all(|_| scout.asks()));
    }
}
