//! `admin collect`: how the removal of bytes that no file needs goes, and whether it may.

use super::node::collections;
use crate::failure::Failure;
use crate::output::{Column, Record, left, right};
use crate::run::Session;
use crate::transfer::{Did, Tally};
use clap::Subcommand;
use serde::Serialize;

/// Verbs of `admin collect`.
#[derive(Subcommand, Debug)]
pub(crate) enum CollectVerb {
    /// How it goes, by node
    Status,
    /// Go on now, also where it stopped because it would free more than a tenth of a node
    Run,
    /// Remove nothing until it is resumed
    Pause,
    /// Go on after a pause
    Resume,
    /// Change how long bytes of removed files are kept
    Set {
        /// In seconds: for so long readers that began before can finish, and nothing is freed
        #[arg(long, value_name = "SECONDS")]
        read_grace: u64,
    },
}

impl CollectVerb {
    pub(super) fn name(&self) -> &'static str {
        match self {
            CollectVerb::Status => "admin collect status",
            CollectVerb::Run => "admin collect run",
            CollectVerb::Pause => "admin collect pause",
            CollectVerb::Resume => "admin collect resume",
            CollectVerb::Set { .. } => "admin collect set",
        }
    }
}

#[derive(Serialize)]
struct CollectRecord {
    paused: bool,
    read_grace_seconds: u64,
    /// Manifests whose references are kept until their grace is over.
    releasing: u64,
}

impl Record for CollectRecord {
    const COLUMNS: &'static [Column] = &[left("COLLECTION"), right("GRACE"), right("RELEASING")];

    fn kind(&self) -> &'static str {
        "collect"
    }

    fn cells(&self, _: bool) -> Vec<String> {
        let state = if self.paused { "paused" } else { "on" };
        vec![state.to_owned(), format!("{} s", self.read_grace_seconds), self.releasing.to_string()]
    }
}

pub(super) async fn run(session: &Session, verb: CollectVerb) -> Result<Tally, Failure> {
    let client = session.clients.current().await?;
    match verb {
        CollectVerb::Status => {
            let status = client.status().await?;
            let (paused, _, read_grace_ms) = status.collect;
            let read_grace_seconds = read_grace_ms / 1000;
            session.out.facts(&CollectRecord { paused, read_grace_seconds, releasing: status.releasing })?;
            let mut tally = Tally::default();
            for record in collections(&status) {
                session.out.record(&record)?;
                tally.count(Did::Done(0));
            }
            return Ok(tally);
        }
        CollectVerb::Run => client.set_collection(Some(false), true, None).await?,
        CollectVerb::Pause => client.set_collection(Some(true), false, None).await?,
        CollectVerb::Resume => client.set_collection(Some(false), false, None).await?,
        CollectVerb::Set { read_grace } => {
            client.set_collection(None, false, Some(read_grace.saturating_mul(1000))).await?;
        }
    }
    Ok(Tally::one(0))
}
