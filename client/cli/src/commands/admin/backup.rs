//! `admin backup`: the masters' state as a file, from which `cairn master restore` makes a master when all are lost.

use crate::failure::{Exit, Failure};
use crate::local::{Partial, write_file};
use crate::output::{Column, Record, left, right};
use crate::run::Session;
use crate::transfer::Tally;
use crate::units::{moment, size};
use cairn_client::Client;
use clap::Args;
use futures::{StreamExt as _, TryStreamExt as _};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Times that a backup is begun when the leader changes under it.
const TRIES: u32 = 5;

/// Arguments of `admin backup`.
#[derive(Args, Debug)]
pub(crate) struct BackupArgs {
    /// Where to write it. It holds every secret of the cluster: keep it as safe as the masters themselves
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

#[derive(Serialize)]
struct BackupRecord {
    file: String,
    bytes: u64,
    /// The newest command in it.
    stamp: u64,
    made: String,
    generation: u32,
    cluster: String,
}

impl Record for BackupRecord {
    const COLUMNS: &'static [Column] = &[left("MADE"), right("SIZE"), right("STAMP"), left("FILE")];

    fn kind(&self) -> &'static str {
        "backup"
    }

    fn cells(&self, exact: bool) -> Vec<String> {
        vec![self.made.clone(), size(self.bytes, exact), self.stamp.to_string(), self.file.clone()]
    }
}

/// Runs `admin backup`.
pub(super) async fn run(session: &Session, args: BackupArgs) -> Result<Tally, Failure> {
    let client = session.clients.current().await?;
    if args.file.is_dir() {
        return Err(Failure::new(Exit::Usage, "it is a folder").at(args.file.display()));
    }
    // Nobody else may read it, not even while it is written.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let mut tries = 0;
    let record = loop {
        match fetch(session, &client, &args.file).await {
            Err(failure) if failure.exit == Exit::Network && tries < TRIES => tries += 1,
            result => break result?,
        }
    };
    let bytes = record.bytes;
    session.out.record(&record)?;
    session.out.flush()?;
    Ok(Tally::one(bytes))
}

async fn fetch(session: &Session, client: &Client, file: &Path) -> Result<BackupRecord, Failure> {
    let backup = client.begin_backup().await?;
    let header = backup.header().clone();
    let pieces = backup.into_pieces().map_err(Failure::from).boxed();
    let place = file.to_owned();
    // What another backup left of itself is of another moment, and what a download left may be for all to read.
    let partial = session.pool.run(move || Partial::alone(&place)).await;
    let partial = partial.map_err(|error| Failure::local(file, "write beside it", &error))?;
    let bytes = write_file(&session.pool, (partial, 0), pieces, None).await?;
    Ok(BackupRecord {
        file: file.display().to_string(),
        bytes,
        stamp: header.stamp.0,
        made: moment(header.made_ms),
        generation: header.generation.0,
        cluster: header.cluster.to_string(),
    })
}
