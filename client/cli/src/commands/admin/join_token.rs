//! `admin join-token create`: prints nothing but the token, so that a script can put it into a file.

use crate::args::DryRun;
use crate::failure::Failure;
use crate::output::{Column, Record, left};
use crate::run::Session;
use crate::transfer::Tally;
use clap::Subcommand;
use serde::Serialize;

/// Verbs of `admin join-token`.
#[derive(Subcommand, Debug)]
pub(crate) enum JoinTokenVerb {
    /// Make a token with which one node can join within 24 hours, and print it
    Create(DryRun),
}

#[derive(Serialize)]
struct JoinTokenRecord {
    token: String,
}

impl Record for JoinTokenRecord {
    const COLUMNS: &'static [Column] = &[left("TOKEN")];

    fn kind(&self) -> &'static str {
        "join_token"
    }

    fn cells(&self, _exact: bool) -> Vec<String> {
        vec![self.token.clone()]
    }
}

/// Runs `admin join-token create`.
pub(super) async fn create(session: &Session, dry: DryRun) -> Result<Tally, Failure> {
    let client = session.clients.current().await?;
    if dry.dry_run {
        // Says whether the key may do this kind of thing.
        client.status().await?;
        return Ok(Tally::one(0));
    }
    let token = client.create_join_token().await?;
    session.out.line(&JoinTokenRecord { token })?;
    Ok(Tally::one(0))
}
