//! `rm`: remove files.

use super::records::{ActionRecord, address};
use super::tree::{self, SourceFile};
use crate::address::Remote;
use crate::args::DryRun;
use crate::failure::{Exit, Failure};
use crate::filter::{Filter, FilterArgs};
use crate::run::Session;
use crate::transfer::{Did, Tally};
use cairn_client::Client;
use cairn_common::file::Condition;
use cairn_common::limits::LIST_MAX_KEYS;
use cairn_common::wire::command::Deleted;
use clap::Args;
use futures::StreamExt as _;

/// Arguments of `rm`.
#[derive(Args, Debug)]
pub(crate) struct RmArgs {
    /// Files, or with -r folders
    #[arg(required = true, value_name = "ADDRESS")]
    addresses: Vec<String>,
    /// Folders with everything below them
    #[arg(short, long)]
    recursive: bool,
    /// It is fine if a file is not there
    #[arg(short, long)]
    force: bool,
    /// Really everything in a bucket
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    pub(crate) dry: DryRun,
}

/// Runs `rm`.
pub(crate) async fn run(session: &Session, args: RmArgs) -> Result<Tally, Failure> {
    let filter = args.filter.build()?;
    let mut tally = Tally::default();
    for text in &args.addresses {
        match address_of(session, &args, &filter, text).await {
            Ok(removed) => tally.add(removed),
            Err(failure) if failure.message.is_empty() => return Err(failure),
            Err(failure) => {
                session.out.error(&failure);
                tally.fail(failure.exit);
            }
        }
    }
    Ok(tally)
}

async fn address_of(session: &Session, args: &RmArgs, filter: &Filter, text: &str) -> Result<Tally, Failure> {
    let remote = Remote::parse(text)?;
    let client = session.clients.of(&remote).await?;
    if args.recursive && remote.is_bucket() && !args.yes && !args.dry.dry_run {
        let files = client.bucket(&remote.bucket).await.map_err(|error| Failure::from(error).at(&remote))?.usage.files;
        let failure = Failure::new(Exit::Usage, format!("this may remove all {files} files of the bucket")).at(&remote);
        return Err(failure.advise("if that is meant: --yes; to see what it would remove: -n"));
    }
    let files = tree::files(client.clone(), remote.clone(), args.recursive, filter.clone());
    let mut batches = files.chunks(LIST_MAX_KEYS as usize);
    let mut tally = Tally::default();
    while let Some(batch) = batches.next().await {
        let mut files = Vec::with_capacity(batch.len());
        for file in batch {
            match file {
                Ok(file) => files.push(file),
                Err(failure) if failure.exit == Exit::NotFound && args.force => tally.count(Did::Skipped),
                Err(failure) => {
                    session.out.error(&failure);
                    tally.fail(failure.exit);
                }
            }
        }
        if !files.is_empty() {
            remove(session, args, &client, &remote, files, &mut tally).await?;
        }
    }
    Ok(tally)
}

async fn remove(
    session: &Session,
    args: &RmArgs,
    client: &Client,
    remote: &Remote,
    files: Vec<SourceFile>,
    tally: &mut Tally,
) -> Result<(), Failure> {
    let dry_run = args.dry.dry_run;
    let keys = files.iter().map(|file| (file.path.key.clone(), Condition::default())).collect();
    let results = match dry_run {
        true => vec![Deleted::Removed; files.len()],
        false => client.delete(&remote.bucket, keys).await.map_err(|error| Failure::from(error).at(remote))?,
    };
    for (file, result) in files.into_iter().zip(results) {
        let path = address(remote.profile.as_deref(), &file.path);
        match result {
            Deleted::Removed | Deleted::Marked(_) | Deleted::MarkRemoved => {
                let record = ActionRecord { size: file.length, ..ActionRecord::of("rm", path, dry_run) };
                session.out.action(&record, dry_run)?;
                tally.count(Did::Done(file.length.unwrap_or(0)));
            }
            // Somebody else was faster, below a folder; a name that was given must exist.
            Deleted::Absent if args.force || args.recursive => tally.count(Did::Skipped),
            Deleted::Absent => {
                let failure = Failure::new(Exit::NotFound, "there is no such file").at(path);
                session.out.error(&failure.advise("for a folder: -r"));
                tally.fail(Exit::NotFound);
            }
            Deleted::Locked => {
                session.out.error(&Failure::new(Exit::Denied, "it is locked").at(path));
                tally.fail(Exit::Denied);
            }
            Deleted::ConditionFailed => {
                session.out.error(&Failure::new(Exit::Conflict, "it was changed meanwhile").at(path));
                tally.fail(Exit::Conflict);
            }
        }
    }
    Ok(())
}
