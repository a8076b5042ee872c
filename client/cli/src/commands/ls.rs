//! `ls`: buckets, or what is in one.

use super::records::{BucketRecord, ListedRecord, address};
use crate::address::Remote;
use crate::failure::{Exit, Failure};
use crate::listing;
use crate::output::{Column, Record, left, right};
use crate::run::Session;
use crate::transfer::{Did, Tally};
use crate::units::printable;
use cairn_client::Client;
use cairn_common::name::FilePath;
use cairn_common::wire::master::Listed;
use clap::Args;
use futures::TryStreamExt as _;
use serde::Serialize;

/// Arguments of `ls`.
#[derive(Args, Debug)]
pub(crate) struct LsArgs {
    /// Buckets, folders or files; without any: all buckets
    #[arg(value_name = "ADDRESS")]
    addresses: Vec<String>,
    /// Everything below, not folder by folder
    #[arg(short, long)]
    recursive: bool,
}

#[derive(Serialize)]
struct PrefixRecord {
    path: String,
    #[serde(skip)]
    prefix: String,
}

impl Record for PrefixRecord {
    const COLUMNS: &'static [Column] = &[left("MODIFIED"), right("SIZE"), left("KEY")];

    fn kind(&self) -> &'static str {
        "prefix"
    }

    fn cells(&self, _exact: bool) -> Vec<String> {
        vec!["-".to_owned(), "-".to_owned(), printable(&self.prefix)]
    }
}

/// Runs `ls`.
pub(crate) async fn run(session: &Session, args: LsArgs) -> Result<Tally, Failure> {
    let mut tally = Tally::default();
    if args.addresses.is_empty() {
        for info in session.clients.current().await?.buckets().await? {
            tally.count(Did::Done(info.usage.bytes));
            session.out.record(&BucketRecord::from(info))?;
        }
    }
    for text in args.addresses {
        match list(session, &text, args.recursive).await {
            Ok(listed) => tally.add(listed),
            Err(failure) if failure.message.is_empty() => return Err(failure),
            Err(failure) => {
                session.out.error(&failure);
                tally.fail(failure.exit);
            }
        }
    }
    Ok(tally)
}

async fn list(session: &Session, text: &str, recursive: bool) -> Result<Tally, Failure> {
    let remote = Remote::parse(text)?;
    let client = session.clients.of(&remote).await?;
    let at = |failure: Failure| failure.at(&remote);
    let mut tally = below(session, &client, &remote, remote.prefix(), recursive).await.map_err(at)?;
    if !remote.is_bucket() && !remote.slash {
        tally.add(itself(session, &client, &remote).await.map_err(at)?);
    }
    if tally.done == 0 && !remote.is_bucket() {
        return Err(Failure::new(Exit::NotFound, "there is no file and nothing below it").at(&remote));
    }
    Ok(tally)
}

/// What is below the address.
async fn below(
    session: &Session,
    client: &Client,
    remote: &Remote,
    prefix: String,
    recursive: bool,
) -> Result<Tally, Failure> {
    let delimiter = (!recursive).then(|| "/".to_owned());
    let pages = listing::pages(client.clone(), remote.bucket.clone(), prefix, delimiter);
    let mut pages = std::pin::pin!(pages);
    let mut tally = Tally::default();
    while let Some(page) = pages.try_next().await? {
        tally.add(show(session, remote, page)?);
    }
    Ok(tally)
}

/// The file of exactly this key: a key can be a file and a folder at once.
async fn itself(session: &Session, client: &Client, remote: &Remote) -> Result<Tally, Failure> {
    let key = remote.key.clone();
    let mut pages = std::pin::pin!(listing::pages(client.clone(), remote.bucket.clone(), key, Some("/".to_owned())));
    // In order of keys the file itself comes first of all that start with its key.
    let Some(mut page) = pages.try_next().await? else { return Ok(Tally::default()) };
    page.prefixes.clear();
    page.files.retain(|file| file.key.as_str() == remote.key);
    show(session, remote, page)
}

/// Prints a page, files and folders together in the order of their names.
fn show(session: &Session, remote: &Remote, page: Listed) -> Result<Tally, Failure> {
    let profile = remote.profile.as_deref();
    let mut tally = Tally::default();
    let mut prefixes = page.prefixes.into_iter().peekable();
    let prefix = |prefix: String| {
        session.out.record(&PrefixRecord { path: remote.with_key(prefix.as_str()).to_string(), prefix })
    };
    for file in page.files {
        while let Some(earlier) = prefixes.next_if(|prefix| prefix.as_str() < file.key.as_str()) {
            prefix(earlier)?;
            tally.count(Did::Done(0));
        }
        let path = FilePath { bucket: remote.bucket.clone(), key: file.key.clone() };
        tally.count(Did::Done(file.length));
        session.out.record(&ListedRecord::new(address(profile, &path), file))?;
    }
    for last in prefixes {
        prefix(last)?;
        tally.count(Did::Done(0));
    }
    Ok(tally)
}
