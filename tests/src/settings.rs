//! What the scripts tell the suites through the environment.

use anyhow::{Context as _, Result};
use std::io::Write as _;
use std::path::PathBuf;

/// How much a suite does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// `scripts/test --quick`.
    Quick,
    /// `scripts/test`, and CI.
    Full,
    /// A round of `scripts/nightly`.
    Campaign,
}

/// How much is asked for.
pub fn effort() -> Effort {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    match (set("CAIRN_CAMPAIGN"), set("CAIRN_QUICK")) {
        (true, _) => Effort::Campaign,
        (_, true) => Effort::Quick,
        _ => Effort::Full,
    }
}

/// One of three numbers, by effort.
pub fn by_effort<T>(quick: T, full: T, campaign: T) -> T {
    match effort() {
        Effort::Quick => quick,
        Effort::Full => full,
        Effort::Campaign => campaign,
    }
}

/// The seed of everything random in a suite; the same one repeats its choices, not the timing of processes. Printed, so that a
/// failure can be repeated with `CAIRN_SEED`.
pub fn seed() -> u64 {
    let given = std::env::var("CAIRN_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or(20_261_123);
    println!("CAIRN_SEED={seed}");
    seed
}

/// The program under test: `CAIRN_BIN`, or the one that cargo built beside this test.
pub fn program() -> Result<PathBuf> {
    find("CAIRN_BIN", "cairn", "cargo build --release --package cairn")
}

/// The program with seeded bugs: `CAIRN_SEEDED_BIN`, or the copy that `scripts/test` keeps.
pub fn seeded_program() -> Result<PathBuf> {
    find("CAIRN_SEEDED_BIN", "cairn-seeded", "scripts/test system")
}

fn find(variable: &str, name: &str, advice: &str) -> Result<PathBuf> {
    let path = match std::env::var_os(variable).filter(|path| !path.is_empty()) {
        Some(path) => PathBuf::from(path),
        None => {
            // target/release/deps/SUITE-HASH
            let own = std::env::current_exe().context("where this test is")?;
            let folder = own.parent().and_then(std::path::Path::parent).context("the target folder")?;
            folder.join(name)
        }
    };
    let path = path.canonicalize().with_context(|| format!("no program {}; make it: {advice}", path.display()))?;
    Ok(path)
}

/// Tells a campaign what was done: rounds, operations. For the ledger of `scripts/nightly`.
pub fn report(rounds: u64, operations: u64) -> Result<()> {
    let Some(path) = std::env::var_os("CAIRN_REPORT") else { return Ok(()) };
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
    writeln!(file, "{rounds} {operations}")?;
    Ok(())
}
