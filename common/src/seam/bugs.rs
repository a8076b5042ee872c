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
    "collect-without-horizon",
    "no-collect-fuse",
    // Masters.
    "skip-log-sync",
    "purge-below-unflushed",
    "count-receipts-of-dead-volumes",
    "commit-below-quorum",
    "retry-executed-twice",
    // Client.
    "read-only-newest-epoch",
    "skip-verification",
];

/// Whether the bug `name` is switched on in this process. Always false, at no cost, in an ordinary build.
///
/// # Panics
/// If there is no such bug.
#[cfg(feature = "seeded-bugs")]
pub fn seeded_bug(name: &'static str) -> bool {
    static CHOSEN: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    assert!(SEEDED_BUGS.contains(&name), "no seeded bug is called {name}");
    CHOSEN.get_or_init(|| std::env::var("CAIRN_SEEDED_BUG").ok()).as_deref() == Some(name)
}

/// Whether the bug `name` is switched on in this process. Always false, at no cost, in an ordinary build.
#[cfg(not(feature = "seeded-bugs"))]
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
