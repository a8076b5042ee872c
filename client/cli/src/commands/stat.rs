//! `stat`: everything known about files and buckets.

use super::records::{BucketRecord, FileRecord};
use crate::address::Remote;
use crate::failure::{Exit, Failure};
use crate::run::Session;
use crate::transfer::{Did, Tally, each};
use cairn_client::Client;
use cairn_common::file::{Condition, FileInfo};
use cairn_common::name::FilePath;
use cairn_common::wire::master::Found;
use clap::Args;
use futures::stream;

/// Arguments of `stat`.
#[derive(Args, Debug)]
pub(crate) struct StatArgs {
    /// Files or buckets
    #[arg(required = true, value_name = "ADDRESS")]
    addresses: Vec<String>,
}

/// The current version of a file.
pub(super) async fn current(client: &Client, path: &FilePath) -> Result<FileInfo, Failure> {
    match client.stat(path, Condition::default()).await? {
        Found::Here(info) => Ok(info),
        // Only an answer to a condition.
        Found::NotModified(info) => Ok(*info),
    }
}

/// Runs `stat`.
pub(crate) async fn run(session: &Session, args: StatArgs) -> Result<Tally, Failure> {
    let addresses = stream::iter(args.addresses.into_iter().map(|text| Remote::parse(&text)));
    each(session, addresses, |remote| async move {
        let client = session.clients.of(&remote).await?;
        if remote.is_bucket() {
            let info = client.bucket(&remote.bucket).await.map_err(|error| Failure::from(error).at(&remote))?;
            let bytes = info.usage.bytes;
            session.out.facts(&BucketRecord::from(info))?;
            return Ok(Did::Done(bytes));
        }
        let info = current(&client, &remote.file()?).await.map_err(|failure| folder_hint(failure, &remote))?;
        let bytes = info.length;
        session.out.facts(&FileRecord::new(remote.to_string(), info))?;
        Ok(Did::Done(bytes))
    })
    .await
}

/// A folder is no file: says how to look at it.
pub(super) fn folder_hint(failure: Failure, remote: &Remote) -> Failure {
    let failure = failure.at(remote);
    match failure.exit {
        Exit::NotFound if remote.slash => failure.advise(format!("for what is below it: cairn ls {remote}")),
        _ => failure,
    }
}
