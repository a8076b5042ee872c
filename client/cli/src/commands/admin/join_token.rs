//! `admin join-token create`: prints nothing but the token, so that a script can put it into a file; and behind it the
//! certificates by which this client trusts the masters, so that the new node can as well, from its first connection on.

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
    /// Certificates to trust, in PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    authority: Option<String>,
}

impl Record for JoinTokenRecord {
    const COLUMNS: &'static [Column] = &[left("TOKEN")];

    fn kind(&self) -> &'static str {
        "join_token"
    }

    fn cells(&self, _exact: bool) -> Vec<String> {
        let authority = self.authority.as_ref().map(|pem| format!("\n{}", pem.trim_end()));
        vec![format!("{}{}", self.token, authority.unwrap_or_default())]
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
    let authority = session.clients.trusted()?;
    let token = client.create_join_token().await?;
    session.out.line(&JoinTokenRecord { token, authority })?;
    Ok(Tally::one(0))
}
