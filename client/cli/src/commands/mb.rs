//! `mb`: make buckets.

use super::records::ActionRecord;
use crate::address::Remote;
use crate::args::DryRun;
use crate::failure::{Exit, Failure};
use crate::run::Session;
use crate::transfer::{Did, Tally, each};
use cairn_common::limits::REPLICAS_MAX;
use cairn_common::wire::command::Refusal;
use cairn_common::wire::master::MasterError;
use clap::Args;
use futures::stream;

/// Arguments of `mb`.
#[derive(Args, Debug)]
pub(crate) struct MbArgs {
    /// Buckets to make
    #[arg(required = true, value_name = "BUCKET")]
    buckets: Vec<String>,
    /// Copies of each chunk; without it the cluster's number, whatever it becomes
    #[arg(long, value_name = "R", value_parser = clap::value_parser!(u8).range(1..=i64::from(REPLICAS_MAX)))]
    replicas: Option<u8>,
    /// It is fine if it exists already
    #[arg(short = 'p', long)]
    exist_ok: bool,
    #[command(flatten)]
    pub(crate) dry: DryRun,
}

/// Reads the address of a bucket.
pub(super) fn bucket(text: &str) -> Result<Remote, Failure> {
    let remote = Remote::parse(text)?;
    if remote.is_bucket() {
        return Ok(remote);
    }
    Err(Failure::new(Exit::Usage, "a bucket is wanted here, not a file in one").at(text))
}

/// Runs `mb`.
pub(crate) async fn run(session: &Session, args: MbArgs) -> Result<Tally, Failure> {
    let (replicas, exist_ok, dry_run) = (args.replicas, args.exist_ok, args.dry.dry_run);
    let buckets = stream::iter(args.buckets.into_iter().map(|text| bucket(&text)));
    each(session, buckets, |remote| async move {
        if !dry_run {
            let made = session.clients.of(&remote).await?.create_bucket(&remote.bucket, replicas).await;
            match made.map_err(|error| (matches_existing(&error), Failure::from(error))) {
                Err((true, _)) if exist_ok => return Ok(Did::Skipped),
                made => made.map_err(|(_, failure)| failure.at(&remote))?,
            };
        }
        session.out.action(&ActionRecord::of("mb", &remote, dry_run), dry_run)?;
        Ok(Did::Done(0))
    })
    .await
}

fn matches_existing(error: &cairn_client::Error) -> bool {
    matches!(error, cairn_client::Error::Master(MasterError::Refused(Refusal::BucketExists { same_tenant: true, .. })))
}
