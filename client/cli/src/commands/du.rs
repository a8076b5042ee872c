//! `du`: how many files and bytes there are. Of whole buckets it is known at once; folders are listed.

use super::tree;
use crate::address::Remote;
use crate::failure::Failure;
use crate::filter::FilterArgs;
use crate::output::{Column, Record, left, right};
use crate::run::Session;
use crate::transfer::{Did, Tally, each};
use crate::units::{printable, size};
use clap::Args;
use futures::{TryStreamExt as _, stream};
use serde::Serialize;

/// Arguments of `du`.
#[derive(Args, Debug)]
pub(crate) struct DuArgs {
    /// Buckets or folders; without any: all buckets
    #[arg(value_name = "ADDRESS")]
    addresses: Vec<String>,
    #[command(flatten)]
    filter: FilterArgs,
}

#[derive(Serialize)]
struct UsageRecord {
    path: String,
    files: u64,
    bytes: u64,
}

impl Record for UsageRecord {
    const COLUMNS: &'static [Column] = &[right("FILES"), right("SIZE"), left("PATH")];

    fn kind(&self) -> &'static str {
        "usage"
    }

    fn cells(&self, exact: bool) -> Vec<String> {
        vec![self.files.to_string(), size(self.bytes, exact), printable(&self.path)]
    }
}

/// Runs `du`.
pub(crate) async fn run(session: &Session, args: DuArgs) -> Result<Tally, Failure> {
    let filter = args.filter.build()?;
    if args.addresses.is_empty() {
        let mut tally = Tally::default();
        for info in session.clients.current().await?.buckets().await? {
            let path = format!("cairn://{}", info.name);
            session.out.record(&UsageRecord { path, files: info.usage.files, bytes: info.usage.bytes })?;
            tally.count(Did::Done(info.usage.bytes));
        }
        return Ok(tally);
    }
    let addresses = stream::iter(args.addresses.into_iter().map(|text| Remote::parse(&text)));
    let filter = &filter;
    each(session, addresses, |remote| async move {
        let client = session.clients.of(&remote).await?;
        let (files, bytes) = if remote.is_bucket() && filter.is_empty() {
            let usage = client.bucket(&remote.bucket).await.map_err(|error| Failure::from(error).at(&remote))?.usage;
            (usage.files, usage.bytes)
        } else {
            let files = tree::files(client, remote.clone(), true, filter.clone());
            let sum = |(files, bytes), file: tree::SourceFile| async move {
                Ok((files + 1, bytes + file.length.unwrap_or(0)))
            };
            files.try_fold((0, 0), sum).await?
        };
        session.out.record(&UsageRecord { path: remote.to_string(), files, bytes })?;
        Ok(Did::Done(bytes))
    })
    .await
}
