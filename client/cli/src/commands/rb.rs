//! `rb`: remove empty buckets.

use super::mb::bucket;
use super::records::ActionRecord;
use crate::args::DryRun;
use crate::failure::Failure;
use crate::run::Session;
use crate::transfer::{Did, Tally, each};
use clap::Args;
use futures::stream;

/// Arguments of `rb`.
#[derive(Args, Debug)]
pub(crate) struct RbArgs {
    /// Buckets to remove; each must be empty
    #[arg(required = true, value_name = "BUCKET")]
    buckets: Vec<String>,
    #[command(flatten)]
    pub(crate) dry: DryRun,
}

/// Runs `rb`.
pub(crate) async fn run(session: &Session, args: RbArgs) -> Result<Tally, Failure> {
    let dry_run = args.dry.dry_run;
    let buckets = stream::iter(args.buckets.into_iter().map(|text| bucket(&text)));
    each(session, buckets, |remote| async move {
        let client = session.clients.of(&remote).await?;
        let removed = match dry_run {
            true => client.bucket(&remote.bucket).await.map(|_| ()),
            false => client.delete_bucket(&remote.bucket).await,
        };
        removed.map_err(|error| Failure::from(error).at(&remote))?;
        session.out.action(&ActionRecord::of("rb", &remote, dry_run), dry_run)?;
        Ok(Did::Done(0))
    })
    .await
}
