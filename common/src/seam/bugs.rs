//! Bugs put in on purpose, to see the tests fail: the test of the tests.
//!
//! Each is one of the rules of docs/faults.md left out, compiled in only with the feature `seeded-bugs` and chosen at run time by
//! `CAIRN_SEEDED_BUG`. An ordinary build refuses to start when that variable is set.

/// The bugs that exist. A name that is not here is refused, so that a test cannot pass by a spelling mistake.
pub const SEEDED_BUGS: &[&str] = &[
    // Chunkserver.
    "skip-pack-sync",
    "cut-at-first-bad-record",
    "index-tail-unverified",
    "receipt-without-rehash",
    "fsync-error-retried",
    "drop-without-confirmation",
    "confirm-at-any-epoch",
    "confirm-without-touch",
    "drop-under-window",
    "no-touch-floor",
    "collect-without-horizon",
    "no-collect-fuse",
    // Masters.
    "skip-log-sync",
    "skip-vote-sync",
    "cut-synced-tail",
    "restore-without-gap",
    "believe-own-clock",
    "reply-before-commit",
    "stale-leader-read",
    "purge-below-unflushed",
    "count-receipts-of-dead-volumes",
    "commit-below-quorum",
    "retry-executed-twice",
    "retry-after-session-end",
    "position-outside-batch",
    "diverge-as-third",
    "read-only-newest-epoch",
    // Client; it has commit-below-quorum as well.
    "skip-verification",
];

#[cfg(feature = "sim")]
thread_local! {
    static ON_THIS_THREAD: std::cell::Cell<Option<&'static str>> = const { std::cell::Cell::new(None) };
}

/// Switches the bug `name` on for what `simulation` does on this thread, for simulations, which run on one.
#[cfg(feature = "sim")]
pub fn with_seeded_bug<T>(name: &'static str, simulation: impl FnOnce() -> T) -> T {
    struct Off;
    impl Drop for Off {
        fn drop(&mut self) {
            ON_THIS_THREAD.set(None);
        }
    }
    assert!(SEEDED_BUGS.contains(&name), "no seeded bug is called {name}");
    ON_THIS_THREAD.set(Some(name));
    let _off = Off;
    simulation()
}

/// The test of a test: with the rule `name` left out, `test`, which runs on this thread, must fail.
///
/// # Panics
/// If it does not.
#[cfg(feature = "sim")]
pub fn must_fail_without(name: &'static str, test: fn()) {
    let outcome = with_seeded_bug(name, || std::panic::catch_unwind(test));
    assert!(outcome.is_err(), "the bug {name} was not caught");
}

/// Whether the bug `name` is switched on in this process, or on this thread. Always false, at no cost, in an ordinary build.
///
/// # Panics
/// If there is no such bug.
#[cfg(any(feature = "seeded-bugs", feature = "sim"))]
pub fn seeded_bug(name: &'static str) -> bool {
    assert!(SEEDED_BUGS.contains(&name), "no seeded bug is called {name}");
    #[cfg(feature = "sim")]
    if ON_THIS_THREAD.get() == Some(name) {
        return true;
    }
    #[cfg(feature = "seeded-bugs")]
    {
        static CHOSEN: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
        if CHOSEN.get_or_init(|| std::env::var("CAIRN_SEEDED_BUG").ok()).as_deref() == Some(name) {
            return true;
        }
    }
    false
}

/// Whether the bug `name` is switched on in this process. Always false, at no cost, in an ordinary build.
#[cfg(not(any(feature = "seeded-bugs", feature = "sim")))]
#[inline(always)]
pub fn seeded_bug(_name: &'static str) -> bool {
    false
}

/// What is wrong with the wish for a seeded bug in this process's environment, if anything. Called once at start.
pub fn check_seeded_bug() -> Result<Option<String>, String> {
    let Ok(wanted) = std::env::var("CAIRN_SEEDED_BUG") else { return Ok(None) };
    if !cfg!(feature = "seeded-bugs") {
        return Err("CAIRN_SEEDED_BUG is set, and this build has no seeded bugs; unset it".to_owned());
    }
    if !SEEDED_BUGS.contains(&wanted.as_str()) {
        return Err(format!("CAIRN_SEEDED_BUG={wanted} is not one of {}", SEEDED_BUGS.join(", ")));
    }
    Ok(Some(wanted))
}
