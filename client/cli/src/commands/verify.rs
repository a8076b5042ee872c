//! `verify`: stored files are read to their end and thrown away. Every byte is checked against its hash on the way; with a local
//! file beside them, also against that.

use super::get::bad_name;
use super::stat::folder_hint;
use super::tree::{self, SourceFile};
use crate::address::Remote;
use crate::failure::{Exit, Failure};
use crate::filter::FilterArgs;
use crate::names::LocalPlaces;
use crate::output::{Column, Record, left, right};
use crate::run::Session;
use crate::transfer::{Did, Tally, each};
use crate::units::{printable, size};
use bytes::Bytes;
use cairn_client::{Client, GetOptions};
use clap::Args;
use futures::TryStreamExt as _;
use futures::stream::StreamExt as _;
use serde::Serialize;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Arguments of `verify`.
#[derive(Args, Debug)]
pub(crate) struct VerifyArgs {
    /// A file, or with -r what is below an address
    #[arg(value_name = "ADDRESS")]
    address: String,
    /// Local file or folder that should have the same bytes, named as in `cairn get`
    #[arg(value_name = "LOCAL")]
    local: Option<PathBuf>,
    /// Everything below the address
    #[arg(short, long)]
    recursive: bool,
    #[command(flatten)]
    filter: FilterArgs,
}

/// A file whose every byte is right.
#[derive(Serialize)]
struct VerifiedRecord {
    path: String,
    local: Option<String>,
    size: u64,
    etag: String,
    version: u64,
}

impl Record for VerifiedRecord {
    const COLUMNS: &'static [Column] = &[left("VERIFIED"), right("SIZE"), left("PATH"), left("LOCAL")];

    fn kind(&self) -> &'static str {
        "verify"
    }

    fn cells(&self, exact: bool) -> Vec<String> {
        let local = printable(self.local.as_deref().unwrap_or("-"));
        vec!["ok".to_owned(), size(self.size, exact), printable(&self.path), local]
    }
}

struct Item {
    client: Client,
    from: Remote,
    local: Option<PathBuf>,
}

/// Runs `verify`.
pub(crate) async fn run(session: &Session, args: VerifyArgs) -> Result<Tally, Failure> {
    let from = Remote::parse(&args.address)?;
    let client = session.clients.of(&from).await?;
    session.out.start_progress();
    let bar = session.out.bar().clone();
    let places = args.local.map(|local| {
        let into = local.as_os_str().as_bytes().ends_with(b"/");
        LocalPlaces::new(&from, &local, into, local.is_dir())
    });
    let files = tree::files(client.clone(), from.clone(), args.recursive, args.filter.build()?);
    let (recursive, root) = (args.recursive, from.clone());
    let item = move |file: SourceFile| {
        bar.inc_length(file.length.unwrap_or(0));
        let from = root.with_key(file.path.key.as_str());
        let place = places.as_ref().map(|places| match file.name.is_empty() && !(recursive && root.slash) {
            true => places.own(),
            false => places.below(&file.name, file.length == Some(0)),
        });
        let place = place.transpose().map_err(|error| bad_name(&from, error))?;
        // The mark of a folder has no bytes to compare.
        let local = place.filter(|place| !place.is_folder).map(|place| place.root.join(place.relative));
        Ok(Item { client: client.clone(), from, local })
    };
    let items = files.map(move |file| item(file?));
    each(session, items, |item| async move {
        let at = item.from.clone();
        one(session, item).await.map_err(|failure| folder_hint(failure, &at))
    })
    .await
}

async fn one(session: &Session, item: Item) -> Result<Did, Failure> {
    let Item { client, from, local } = item;
    let mut file = client.get(&from.file()?, GetOptions::default()).await?.into_file()?;
    let info = file.info().clone();
    let mut beside = match &local {
        Some(path) => Some(Beside::open(path, info.length)?),
        None => None,
    };
    while let Some(piece) = file.try_next().await? {
        session.out.bar().inc(piece.len() as u64);
        if let Some(beside) = &mut beside {
            beside.compare(session, piece).await?;
        }
    }
    let record = VerifiedRecord {
        path: from.to_string(),
        local: local.map(|path| path.display().to_string()),
        size: info.length,
        etag: info.tags.native(),
        version: info.stamp.0,
    };
    session.out.action(&record, false)?;
    Ok(Did::Done(info.length))
}

/// A local file that is compared as the stored one comes in.
struct Beside {
    path: PathBuf,
    file: Arc<File>,
    at: u64,
}

impl Beside {
    fn open(path: &Path, length: u64) -> Result<Beside, Failure> {
        let local = |error: &io::Error| Failure::local(path, "read it", error);
        let file = File::open(path).map_err(|error| local(&error))?;
        let own = file.metadata().map_err(|error| local(&error))?.len();
        if own != length {
            let message = format!("{} has {own} bytes, the stored file {length}", path.display());
            return Err(Failure::new(Exit::Corrupt, message).advise(ADVICE));
        }
        Ok(Beside { path: path.to_owned(), file: Arc::new(file), at: 0 })
    }

    async fn compare(&mut self, session: &Session, piece: Bytes) -> Result<(), Failure> {
        let (file, at, length) = (Arc::clone(&self.file), self.at, piece.len() as u64);
        let same = session.pool.run(move || first_difference(&file, at, &piece)).await;
        match same.map_err(|error| Failure::local(&self.path, "read it", &error))? {
            None => {
                self.at += length;
                Ok(())
            }
            Some(offset) => {
                let message = format!("{} has another byte at {offset}", self.path.display());
                Err(Failure::new(Exit::Corrupt, message).advise(ADVICE))
            }
        }
    }
}

const ADVICE: &str =
    "the stored file is what its hashes say; look which of both is wanted, then cairn put or cairn get";

/// Where in the file the first byte is that is not the piece's, which belongs at `at`.
fn first_difference(file: &File, at: u64, piece: &[u8]) -> io::Result<Option<u64>> {
    let mut own = vec![0; piece.len()];
    let mut read = 0;
    while read < own.len() {
        match file.read_at(&mut own[read..], at + read as u64) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let differs = own[..read].iter().zip(piece).position(|(own, stored)| own != stored);
    Ok(differs.or((read < piece.len()).then_some(read)).map(|index| at + index as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_that_differs_is_found_also_behind_the_end() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(b"0123456789", 0).unwrap();
        assert_eq!(first_difference(&file, 2, b"2345").unwrap(), None);
        assert_eq!(first_difference(&file, 2, b"2x45").unwrap(), Some(3));
        assert_eq!(first_difference(&file, 8, b"89ab").unwrap(), Some(10));
        assert_eq!(first_difference(&file, 10, b"").unwrap(), None);
    }
}
