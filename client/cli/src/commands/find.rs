//! `find`: files by name, size and age, one a line.

use super::records::{ListedRecord, address};
use crate::address::Remote;
use crate::failure::Failure;
use crate::filter::FilterArgs;
use crate::listing;
use crate::run::Session;
use crate::transfer::{Did, Tally};
use crate::units::{parse_age, parse_size};
use cairn_common::name::FilePath;
use cairn_common::seam::{Clock as _, SystemClock};
use cairn_common::wire::master::ListedFile;
use clap::Args;
use futures::TryStreamExt as _;
use std::time::Duration;

/// Arguments of `find`.
#[derive(Args, Debug)]
pub(crate) struct FindArgs {
    /// Buckets or folders
    #[arg(required = true, value_name = "ADDRESS")]
    addresses: Vec<String>,
    /// At least so large, such as 10M
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    larger: Option<u64>,
    /// At most so large
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    smaller: Option<u64>,
    /// Stored within this time, such as 7d or 12h
    #[arg(long, value_name = "AGE", value_parser = parse_age)]
    newer: Option<Duration>,
    /// Stored before this time
    #[arg(long, value_name = "AGE", value_parser = parse_age)]
    older: Option<Duration>,
    #[command(flatten)]
    filter: FilterArgs,
}

impl FindArgs {
    fn takes(&self, file: &ListedFile, now_ms: u64) -> bool {
        let age = Duration::from_millis(now_ms.saturating_sub(file.stamp.ms()));
        self.larger.is_none_or(|size| file.length >= size)
            && self.smaller.is_none_or(|size| file.length <= size)
            && self.newer.is_none_or(|within| age <= within)
            && self.older.is_none_or(|before| age >= before)
    }
}

/// Runs `find`. Nothing found is no failure.
pub(crate) async fn run(session: &Session, args: FindArgs) -> Result<Tally, Failure> {
    let filter = args.filter.build()?;
    let now_ms = SystemClock::new().wall_ms();
    let mut tally = Tally::default();
    for text in &args.addresses {
        let remote = Remote::parse(text)?;
        let client = session.clients.of(&remote).await?;
        let prefix = remote.prefix();
        let strip = prefix.len();
        let mut files = std::pin::pin!(listing::files(client, remote.bucket.clone(), prefix));
        while let Some(file) = files.try_next().await.map_err(|failure| failure.at(&remote))? {
            if filter.takes(&file.key.as_str()[strip..]) && args.takes(&file, now_ms) {
                let path = FilePath { bucket: remote.bucket.clone(), key: file.key.clone() };
                tally.count(Did::Done(file.length));
                session.out.record(&ListedRecord::new(address(remote.profile.as_deref(), &path), file))?;
            }
        }
    }
    Ok(tally)
}
