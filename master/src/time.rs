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
mod tests {
    use super::*;
    use cairn_common::seam::must_fail_without;
    use std::sync::atomic::{AtomicU64, Ordering};

    const NOON: u64 = 1_795_000_000_000;
    const DECADE: u64 = 10 * 365 * 86_400_000;

    /// A machine's clocks, set by hand.
    #[derive(Default)]
    struct Set {
        wall_ms: AtomicU64,
        passed_ms: AtomicU64,
    }

    impl Set {
        fn at(wall_ms: u64) -> Arc<Set> {
            Arc::new(Set { wall_ms: AtomicU64::new(wall_ms), passed_ms: AtomicU64::new(0) })
        }

        fn pass(&self, ms: u64) {
            self.wall_ms.fetch_add(ms, Ordering::Relaxed);
            self.passed_ms.fetch_add(ms, Ordering::Relaxed);
        }

        fn jump_to(&self, wall_ms: u64) {
            self.wall_ms.store(wall_ms, Ordering::Relaxed);
        }
    }

    impl Clock for Set {
        fn wall_ms(&self) -> u64 {
            self.wall_ms.load(Ordering::Relaxed)
        }

        fn monotonic(&self) -> Duration {
            Duration::from_millis(self.passed_ms.load(Ordering::Relaxed))
        }

        fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
            Box::pin(std::future::pending())
        }
    }

    #[test]
    fn a_master_that_starts_ten_years_off_goes_by_its_state_and_then_by_the_others() {
        for wrong in [NOON + DECADE, NOON - DECADE] {
            let machine = Set::at(wrong);
            let clock = TrustedClock::new(Arc::clone(&machine) as Arc<_>, Some(NOON - 5000));
            assert!(clock.wall_ms() <= NOON - 5000, "nothing ends before others were heard");
            clock.compare(&[], 2);
            assert!(!clock.is_agreed() && clock.wall_ms() <= NOON - 5000, "one of three decides nothing");
            clock.compare(&[NOON, NOON + 200], 2);
            assert!(clock.is_agreed() && clock.wall_ms().abs_diff(NOON) <= 200, "{}", clock.wall_ms());
            assert!(clock.alarm().is_some());
            machine.pass(1000);
            assert!(clock.wall_ms().abs_diff(NOON + 1000) <= 200);
        }
    }

    #[test]
    fn a_clock_that_jumps_is_followed_only_if_others_agree() {
        let machine = Set::at(NOON);
        let clock = TrustedClock::new(Arc::clone(&machine) as Arc<_>, None);
        machine.jump_to(NOON + DECADE);
        assert_eq!(clock.wall_ms(), NOON);
        clock.compare(&[], 1);
        assert_eq!(clock.wall_ms(), NOON, "alone, it goes by the monotonic clock");
        assert!(clock.alarm().is_some());
        clock.compare(&[NOON + DECADE], 2);
        assert_eq!(clock.wall_ms(), NOON + DECADE);
        assert_eq!(clock.alarm(), None);
    }

    #[test]
    fn a_master_that_believes_its_own_clock_is_noticed() {
        must_fail_without(
            "believe-own-clock",
            a_master_that_starts_ten_years_off_goes_by_its_state_and_then_by_the_others,
        );
    }

    #[test]
    fn a_clock_that_is_a_little_off_is_the_masters_own_and_of_two_that_differ_the_earlier_counts() {
        let machine = Set::at(NOON + 60_000);
        let clock = TrustedClock::new(Arc::clone(&machine) as Arc<_>, Some(NOON));
        clock.compare(&[NOON], 2);
        assert_eq!((clock.wall_ms(), clock.alarm()), (NOON + 60_000, None));
        assert_eq!(judge(NOON + DECADE, &[NOON], 2), Agreement::Theirs(NOON));
        assert_eq!(judge(NOON, &[NOON + DECADE], 2), Agreement::Own);
    }
}
