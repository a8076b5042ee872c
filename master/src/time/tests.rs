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
    must_fail_without("believe-own-clock", a_master_that_starts_ten_years_off_goes_by_its_state_and_then_by_the_others);
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
