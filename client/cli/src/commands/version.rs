//! `version`: which build this is.

use crate::failure::Failure;
use crate::output::{Column, Record, left};
use crate::run::Session;
use crate::transfer::Tally;
use serde::Serialize;

#[derive(Serialize)]
struct VersionRecord {
    version: &'static str,
    /// Whether this build has bugs on purpose, for testing the tests.
    seeded_bugs: bool,
}

impl Record for VersionRecord {
    const COLUMNS: &'static [Column] = &[left("VERSION")];

    fn kind(&self) -> &'static str {
        "version"
    }

    fn cells(&self, _exact: bool) -> Vec<String> {
        let remark = if self.seeded_bugs { " (with seeded bugs: keep no data with it)" } else { "" };
        vec![format!("cairn {}{remark}", self.version)]
    }
}

/// Runs `version`.
pub(crate) fn run(session: &Session) -> Result<Tally, Failure> {
    let version = env!("CARGO_PKG_VERSION");
    session.out.line(&VersionRecord { version, seeded_bugs: cfg!(feature = "seeded-bugs") })?;
    Ok(Tally::one(0))
}
