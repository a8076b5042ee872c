//! `put`: local files into a bucket, streamed straight to the chunkservers.

use super::records::ActionRecord;
use super::relayed;
use crate::address::{Address, Remote};
use crate::args::DryRun;
use crate::failure::{Exit, Failure};
use crate::filter::{Filter, FilterArgs};
use crate::local::is_partial;
use crate::names::{key_for_file, prefix_for_folder};
use crate::run::Session;
use crate::transfer::{Did, Tally, each};
use crate::units::{MTIME, mtime_text};
use crate::walk::{Found, Links, walk};
use cairn_client::{Client, Inspector, Progress, PutError, PutOptions, RefusedBody};
use cairn_common::error::ErrorKind;
use cairn_common::file::{Attributes, Checksum, Condition, TagCondition};
use clap::Args;
use futures::stream::{self, BoxStream, StreamExt as _};
use indicatif::ProgressBar;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Arguments of `put`.
#[derive(Args, Debug)]
#[command(override_usage = "cairn put [OPTIONS] SOURCE… DESTINATION")]
pub(crate) struct PutArgs {
    /// Local files or folders, or - for standard input; and then where they go
    #[arg(required = true, num_args = 2.., value_name = "PATH")]
    paths: Vec<OsString>,
    /// Folders with everything below them
    #[arg(short, long)]
    recursive: bool,
    /// Symbolic links inside folders
    #[arg(long, value_enum, default_value_t)]
    links: Links,
    /// Replace nothing: a file that exists is a conflict (exit code 6)
    #[arg(long)]
    no_clobber: bool,
    /// Content type to store with each file
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// Metadata to store with each file (may be repeated)
    #[arg(long, value_name = "NAME=VALUE", value_parser = name_and_value)]
    meta: Vec<(String, String)>,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    pub(crate) dry: DryRun,
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or("write NAME=VALUE")?;
    Ok((name.to_ascii_lowercase(), value.to_owned()))
}

/// How files are stored.
#[derive(Clone, Debug, Default)]
pub(super) struct Sending {
    /// Replace nothing.
    pub(super) no_clobber: bool,
    /// Content type of each file.
    pub(super) content_type: Option<String>,
    /// Metadata of each file.
    pub(super) meta: Vec<(String, String)>,
    /// Change nothing.
    pub(super) dry_run: bool,
}

impl PutArgs {
    fn sending(&self) -> Sending {
        let (content_type, meta) = (self.content_type.clone(), self.meta.clone());
        Sending { no_clobber: self.no_clobber, content_type, meta, dry_run: self.dry.dry_run }
    }
}

/// One file on its way.
enum Item {
    File { path: PathBuf, key: String },
    Standard { key: String },
    Skip(PathBuf, &'static str),
}

/// Runs `put`.
pub(crate) async fn run(session: &Session, mut args: PutArgs) -> Result<Tally, Failure> {
    let destination = args.paths.pop().unwrap_or_default();
    let destination = Address::parse(&destination)?.into_remote("write the destination as cairn://bucket/key")?;
    if args.paths.len() > 1 && !destination.slash && !destination.is_bucket() {
        let failure = Failure::new(Exit::Usage, "several sources need a destination to go into").at(&destination);
        return Err(failure.advise(format!("end it with a slash: {destination}/")));
    }
    let client = session.clients.of(&destination).await?;
    client.bucket(&destination.bucket).await.map_err(|error| Failure::from(error).at(&destination))?;
    session.out.start_progress();
    let filter = args.filter.build()?;
    let sources = std::mem::take(&mut args.paths);
    let items = stream::iter(sources)
        .map(|source| match items(session, &args, &filter, &destination, source) {
            Ok(items) => items,
            Err(failure) => stream::iter([Err(failure)]).boxed(),
        })
        .flatten();
    let (sending, client, destination) = (&args.sending(), &client, &destination);
    each(session, items, |item| async move {
        match item {
            Item::Skip(path, why) => {
                session.out.note(&format!("skipped {}: {why}", path.display()));
                Ok(Did::Skipped)
            }
            Item::Standard { key } => from_stdin(session, sending, client, destination.with_key(key)).await,
            Item::File { path, key } => {
                let to = destination.with_key(key);
                from_file(session, sending, client, &path, to).await.map_err(|failure| failure.at(path.display()))
            }
        }
    })
    .await
}

fn items(
    session: &Session,
    args: &PutArgs,
    filter: &Filter,
    destination: &Remote,
    source: OsString,
) -> Result<BoxStream<'static, Result<Item, Failure>>, Failure> {
    let contents = source.as_bytes().ends_with(b"/") || source.as_bytes().ends_with(b"/.");
    let path = match Address::parse(&source)? {
        Address::Local(path) => path,
        Address::Standard if destination.slash || destination.is_bucket() => {
            let failure = Failure::new(Exit::Usage, "standard input has no name").at(destination);
            return Err(failure.advise("name the key: cairn://bucket/key"));
        }
        Address::Standard => return Ok(stream::iter([Ok(Item::Standard { key: destination.key.clone() })]).boxed()),
        Address::Remote(remote) => {
            let failure = Failure::new(Exit::Usage, "it is in Cairn already").at(remote);
            return Err(failure.advise("cairn cp copies within Cairn; a local path of that name: ./cairn:/…"));
        }
    };
    let metadata = std::fs::metadata(&path).map_err(|error| Failure::local(&path, "look at it", &error))?;
    let name = || local_name(&path);
    if metadata.is_file() {
        let key = key_for_file(destination, &name()?);
        session.out.bar().inc_length(metadata.len());
        return Ok(stream::iter([Ok(Item::File { path, key })]).boxed());
    }
    if !metadata.is_dir() {
        // A pipe or a device has a length only when it has been read.
        let failure = Failure::new(Exit::Usage, "it is neither a file nor a folder").at(path.display());
        return Err(failure.advise(format!("cat {} | cairn put - {destination}", path.display())));
    }
    if !args.recursive {
        return Err(Failure::new(Exit::Usage, "it is a folder").at(path.display()).advise("to store it: -r"));
    }
    let prefix = match destination.slash && !contents {
        true => prefix_for_folder(destination, &name()?, false),
        false => prefix_for_folder(destination, "", true),
    };
    let (filter, bar) = (filter.clone(), session.out.bar().clone());
    let found = walk(path, args.links, session.pool.clone()).filter_map(move |found| {
        let item = match found {
            Err(failure) => Some(Err(failure)),
            Ok(Found::Skipped(path, why)) => Some(Ok(Item::Skip(path, why))),
            Ok(Found::File(file)) if is_partial(&file.path) => {
                Some(Ok(Item::Skip(file.path, "a download that was broken off")))
            }
            Ok(Found::File(file)) => filter.takes(&file.name).then(|| {
                bar.inc_length(file.length);
                Ok(Item::File { key: format!("{prefix}{}", file.name), path: file.path })
            }),
        };
        futures::future::ready(item)
    });
    Ok(found.boxed())
}

/// The last component of a local path, also of `.` and of one that ends with `..`.
fn local_name(path: &Path) -> Result<String, Failure> {
    let whole = match path.file_name() {
        Some(_) => path.to_owned(),
        None => path.canonicalize().map_err(|error| Failure::local(path, "find its name", &error))?,
    };
    let name = whole.file_name().and_then(|name| name.to_str()).map(str::to_owned);
    name.ok_or_else(|| {
        let failure = Failure::new(Exit::Other, "it has no name that is UTF-8, and keys are").at(path.display());
        failure.advise("name the key: cairn://bucket/key")
    })
}

/// Moves the bar, and counts what was not sent because it was there.
struct Sent {
    bar: ProgressBar,
    found: AtomicU64,
}

impl Progress for Sent {
    fn advanced(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    fn found(&self, bytes: u64) {
        self.found.fetch_add(bytes, Ordering::Relaxed);
    }
}

fn options(session: &Session, sending: &Sending) -> (PutOptions, Arc<Sent>) {
    let condition = match sending.no_clobber {
        true => Condition { if_none_match: Some(TagCondition::Any), ..Condition::default() },
        false => Condition::default(),
    };
    let attributes = Attributes {
        content_type: sending.content_type.clone(),
        user: sending.meta.iter().cloned().collect(),
        ..Attributes::default()
    };
    let sent = Arc::new(Sent { bar: session.out.bar().clone(), found: AtomicU64::new(0) });
    let progress: Arc<dyn Progress> = Arc::<Sent>::clone(&sent);
    (PutOptions { attributes, condition, progress: Some(progress), ..PutOptions::default() }, sent)
}

async fn from_stdin(session: &Session, sending: &Sending, client: &Client, to: Remote) -> Result<Did, Failure> {
    let record = ActionRecord::from("put", "-", &to, None, sending.dry_run);
    if sending.dry_run {
        session.out.action(&record, true)?;
        return Ok(Did::Done(0));
    }
    if session.routes.never_straight() {
        let failure = Failure::new(Exit::Unsupported, "standard input cannot go through the HTTP API").at(&to);
        return Err(failure.advise("store it in a file first, or put that with curl -T -"));
    }
    let (options, sent) = options(session, sending);
    let committed = client.put(&to.file()?, tokio::io::stdin(), options).await;
    let committed = committed.map_err(|error| Failure::from(error).at(&to))?;
    let record = ActionRecord { found: Some(sent.found.load(Ordering::Relaxed)), ..record };
    session.out.action(&record.committed(&committed), false)?;
    Ok(Did::Done(committed.length))
}

/// Stores one file.
pub(super) async fn from_file(
    session: &Session,
    sending: &Sending,
    client: &Client,
    path: &Path,
    to: Remote,
) -> Result<Did, Failure> {
    let file = to.file()?;
    let local = |error: &std::io::Error| Failure::local(path, "read it", error);
    let body = tokio::fs::File::open(path).await.map_err(|error| local(&error))?;
    let metadata = body.metadata().await.map_err(|error| local(&error))?;
    let record = ActionRecord::from("put", path.display(), &to, Some(metadata.len()), sending.dry_run);
    if sending.dry_run {
        session.out.action(&record, true)?;
        return Ok(Did::Done(metadata.len()));
    }
    if let Some(relay) = session.routes.of(session, &to, client).await? {
        return relayed::put(session, (&relay, client), sending, (path, &to), record).await;
    }
    let (mut options, sent) = options(session, sending);
    if let Some(mtime) = metadata.modified().ok().and_then(mtime_text) {
        options.attributes.user.entry(MTIME.to_owned()).or_insert(mtime);
    }
    // Some kernel files say 0 and have more.
    options.length = Some(metadata.len()).filter(|length| *length > 0);
    options.inspector = Some(Box::new(Unchanged { path: path.to_owned(), before: metadata }));
    let committed = match client.put(&file, body, options).await {
        Err(PutError::Source(error)) => return Err(local(&error)),
        Err(error @ PutError::ShortOfQuorum { .. }) if error.kind() == ErrorKind::Unavailable => {
            let Some(relay) = session.routes.fall_back(session, &to).await? else { return Err(error.into()) };
            return relayed::put(session, (&relay, client), sending, (path, &to), record).await;
        }
        committed => committed?,
    };
    let record = ActionRecord { found: Some(sent.found.load(Ordering::Relaxed)), ..record };
    session.out.action(&record.committed(&committed), false)?;
    Ok(Did::Done(committed.length))
}

/// Refuses a file that was changed while it was read: what was read may be a mix of two states that never existed.
pub(super) struct Unchanged {
    pub(super) path: PathBuf,
    pub(super) before: Metadata,
}

impl Inspector for Unchanged {
    fn update(&mut self, _bytes: &[u8]) {}

    fn finish(self: Box<Self>, _md5: Option<[u8; 16]>) -> Result<BTreeMap<String, Checksum>, RefusedBody> {
        self.check()?;
        Ok(BTreeMap::new())
    }
}

impl Unchanged {
    /// Whether the file is as it was; else why not.
    pub(super) fn check(&self) -> Result<(), String> {
        let state = |metadata: &Metadata| {
            let changed = (metadata.ctime(), metadata.ctime_nsec(), metadata.mtime(), metadata.mtime_nsec());
            (metadata.dev(), metadata.ino(), metadata.len(), changed)
        };
        match std::fs::metadata(&self.path) {
            Ok(after) if state(&after) == state(&self.before) => Ok(()),
            // Replaced by rename, or removed: what was opened was whole, and is stored as it was.
            Ok(after) if after.ino() != self.before.ino() || after.dev() != self.before.dev() => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Ok(_) => Err("it was changed while it was read".to_owned()),
            Err(error) => Err(format!("it cannot be looked at any more: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_changed_while_it_was_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        let inspect = |before| Box::new(Unchanged { path: path.clone(), before }).finish(None);
        write("one");
        let before = std::fs::metadata(&path).unwrap();
        assert!(inspect(before.clone()).is_ok());
        std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(5).unwrap();
        assert!(inspect(before.clone()).is_err());
        write("two");
        let before = std::fs::metadata(&path).unwrap();
        std::fs::write(folder.path().join("new"), "three").unwrap();
        std::fs::rename(folder.path().join("new"), &path).unwrap();
        assert!(inspect(before.clone()).is_ok(), "a file replaced by rename was read whole");
        std::fs::remove_file(&path).unwrap();
        assert!(inspect(before).is_ok());
    }

    #[test]
    fn metadata_is_a_name_and_a_value() {
        assert_eq!(name_and_value("Owner=me=you"), Ok(("owner".to_owned(), "me=you".to_owned())));
        assert!(name_and_value("=x").is_err() && name_and_value("x").is_err());
    }
}
