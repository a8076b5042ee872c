//! `cat`: files to standard output, one after the other.

use super::stat::folder_hint;
use crate::address::Remote;
use crate::failure::Failure;
use crate::output::stdout_failure;
use crate::run::Session;
use crate::transfer::{Did, Tally};
use cairn_client::{Client, GetOptions};
use cairn_common::name::FilePath;
use clap::Args;
use futures::TryStreamExt as _;
use tokio::io::AsyncWriteExt as _;

/// Arguments of `cat`.
#[derive(Args, Debug)]
pub(crate) struct CatArgs {
    /// Files
    #[arg(required = true, value_name = "ADDRESS")]
    addresses: Vec<String>,
}

/// Runs `cat`.
pub(crate) async fn run(session: &Session, args: CatArgs) -> Result<Tally, Failure> {
    let mut tally = Tally::default();
    for text in args.addresses {
        match one(session, &text).await {
            Ok(bytes) => tally.count(Did::Done(bytes)),
            Err(failure) if failure.message.is_empty() => return Err(failure),
            Err(failure) => {
                session.out.error(&failure);
                tally.fail(failure.exit);
            }
        }
    }
    Ok(tally)
}

async fn one(session: &Session, text: &str) -> Result<u64, Failure> {
    let remote = Remote::parse(text)?;
    let client = session.clients.of(&remote).await?;
    to_stdout(&client, &remote.file()?).await.map_err(|failure| folder_hint(failure, &remote))
}

/// Streams a file to standard output. An error in the middle means that what was written before is right and the rest missing.
pub(super) async fn to_stdout(client: &Client, path: &FilePath) -> Result<u64, Failure> {
    let mut file = client.get(path, GetOptions::default()).await?.into_file()?;
    let mut stdout = tokio::io::stdout();
    let mut bytes = 0;
    while let Some(piece) = file.try_next().await? {
        bytes += piece.len() as u64;
        stdout.write_all(&piece).await.map_err(|error| stdout_failure(&error))?;
    }
    stdout.flush().await.map_err(|error| stdout_failure(&error))?;
    Ok(bytes)
}
