//! `get`: files from a bucket, streamed straight from the chunkservers and verified; each appears whole or not at all. A download that was
//! broken off, even by `kill -9`, is gone on with by the next one to the same place.

use super::cat::to_stdout;
use super::records::ActionRecord;
use super::stat::{current, folder_hint};
use super::tree::{self, SourceFile};
use crate::address::{Address, Remote};
use crate::args::DryRun;
use crate::compare::same_until;
use crate::failure::{Exit, Failure};
use crate::filter::{Filter, FilterArgs};
use crate::local::{Partial, make_folders, prepare, write_file};
use crate::names::{BadName, LocalPlace, LocalPlaces};
use crate::relay::verified;
use crate::run::Session;
use crate::transfer::{Did, Tally, each};
use crate::units::{MTIME, mtime_of};
use bytes::Bytes;
use cairn_client::{Client, FileReader, GetError, GetOptions};
use cairn_common::error::ErrorKind;
use cairn_common::file::{Condition, FileInfo, TagCondition};
use cairn_common::name::FilePath;
use cairn_common::wire::master::RangeWanted;
use clap::Args;
use futures::TryStreamExt as _;
use futures::stream::{self, BoxStream, StreamExt as _};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::pin::Pin;

/// Arguments of `get`.
#[derive(Args, Debug)]
#[command(override_usage = "cairn get [OPTIONS] SOURCE… [DESTINATION]")]
pub(crate) struct GetArgs {
    /// Files, and then where they go: a path, or - for standard output; a single file goes into . without one
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<OsString>,
    /// Folders with everything below them
    #[arg(short, long)]
    recursive: bool,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    pub(crate) dry: DryRun,
}

impl GetArgs {
    /// Whether the file goes to standard output.
    pub(crate) fn to_stdout(&self) -> bool {
        self.paths.len() > 1 && self.paths.last().is_some_and(|path| path == "-")
    }
}

/// One file on its way.
pub(super) struct Item {
    pub(super) client: Client,
    pub(super) from: Remote,
    pub(super) place: LocalPlace,
}

/// Runs `get`.
pub(crate) async fn run(session: &Session, mut args: GetArgs) -> Result<Tally, Failure> {
    let last = if args.paths.len() > 1 { args.paths.pop() } else { None };
    let target = last.unwrap_or_else(|| "./".into());
    let into = target.as_bytes().ends_with(b"/");
    let target = match Address::parse(&target)? {
        Address::Local(path) => path,
        Address::Standard => return standard(session, args).await,
        Address::Remote(remote) => {
            let failure = Failure::new(Exit::Usage, "a local path is wanted as destination").at(remote);
            return Err(failure.advise("cairn cp copies within Cairn"));
        }
    };
    if args.paths.len() > 1 && !into {
        let failure = Failure::new(Exit::Usage, "several sources need a destination to go into").at(target.display());
        return Err(failure.advise(format!("end it with a slash: {}/", target.display())));
    }
    session.out.start_progress();
    let filter = args.filter.build()?;
    let mut tally = Tally::default();
    for source in &args.paths {
        let items = sources(session, source, args.recursive, &filter, (&target, into)).await;
        let items = items.unwrap_or_else(|failure| stream::iter([Err(failure)]).boxed());
        let dry_run = args.dry.dry_run;
        tally.add(each(session, items, |item| one(session, item, dry_run)).await?);
    }
    Ok(tally)
}

fn remote(source: &OsString) -> Result<Remote, Failure> {
    Address::parse(source)?.into_remote("write what to fetch as cairn://bucket/key; cairn put stores local files")
}

async fn standard(session: &Session, args: GetArgs) -> Result<Tally, Failure> {
    let [source] = &args.paths[..] else {
        return Err(
            Failure::new(Exit::Usage, "only one file can go to standard output").advise("cairn cat takes several")
        );
    };
    let from = remote(source)?;
    let client = session.clients.of(&from).await?;
    let fetched = async {
        match args.dry.dry_run {
            true => Ok(current(&client, &from.file()?).await?.length),
            false => to_stdout(&client, &from.file()?).await,
        }
    };
    let bytes = fetched.await.map_err(|failure| folder_hint(failure, &from))?;
    session.out.action(&ActionRecord::from("get", &from, "-", Some(bytes), args.dry.dry_run), args.dry.dry_run)?;
    Ok(Tally::one(bytes))
}

/// The files of one source, with their places.
async fn sources(
    session: &Session,
    source: &OsString,
    recursive: bool,
    filter: &Filter,
    (target, into): (&Path, bool),
) -> Result<BoxStream<'static, Result<Item, Failure>>, Failure> {
    let from = remote(source)?;
    let client = session.clients.of(&from).await?;
    let places = LocalPlaces::new(&from, target, into, target.is_dir());
    let files = tree::files(client.clone(), from.clone(), recursive, filter.clone());
    let bar = session.out.bar().clone();
    let item = move |file: SourceFile| {
        bar.inc_length(file.length.unwrap_or(0));
        let place = match file.name.is_empty() && !(recursive && from.slash) {
            true => places.own(),
            false => places.below(&file.name, file.length == Some(0)),
        };
        let from = from.with_key(file.path.key.as_str());
        let place = place.map_err(|error| bad_name(&from, error))?;
        Ok(Item { client: client.clone(), from, place })
    };
    Ok(files.map(move |file| item(file?)).boxed())
}

pub(super) fn bad_name(from: &Remote, reason: BadName) -> Failure {
    let failure = Failure::new(Exit::Unsupported, format!("the key cannot be a local path: {reason}")).at(from);
    failure.advise("fetch it alone and give it a name: cairn get ADDRESS NAME")
}

/// Fetches one file.
pub(super) async fn one(session: &Session, item: Item, dry_run: bool) -> Result<Did, Failure> {
    let Item { client, from, place: LocalPlace { root, relative, is_folder } } = item;
    let shown = root.join(&relative);
    if is_folder {
        if !dry_run {
            session.pool.run(move || make_folders(&root, &relative)).await?;
        }
        session.out.action(&ActionRecord::from("get", &from, shown.display(), Some(0), dry_run), dry_run)?;
        return Ok(Did::Done(0));
    }
    let path = from.file()?;
    let told = |failure: Failure| folder_hint(failure, &from);
    if dry_run {
        let length = current(&client, &path).await.map_err(told)?.length;
        session.out.action(&ActionRecord::from("get", &from, shown.display(), Some(length), true), true)?;
        return Ok(Did::Done(length));
    }
    let opened = client.get(&path, GetOptions::default()).await.and_then(|outcome| outcome.into_file());
    let file = opened.map_err(|error| told(error.into()))?;
    let info = file.info().clone();
    let target = session.pool.run(move || prepare(&root, &relative)).await?;
    // Small files come from the masters.
    let from_chunkservers = file.manifest().is_some();
    let (partial, kept, rest) = resume(session, (&client, &path), &target, file).await?;
    let rest = match from_chunkservers {
        true => either_way(session, &client, &from, (&info, kept), rest).await?,
        false => rest.map_err(Failure::from).boxed(),
    };
    let modified = info.attributes.user.get(MTIME).and_then(|text| mtime_of(text));
    let bar = session.out.bar();
    let body = rest.map(|piece| {
        let piece = piece.map_err(|failure| failure.at(&from))?;
        bar.inc(piece.len() as u64);
        Ok(piece)
    });
    let bytes = write_file(&session.pool, (partial, kept), body, modified).await?;
    let record = ActionRecord::from("get", &from, target.display(), Some(bytes), false);
    let record = ActionRecord { found: (kept > 0).then_some(kept), ..record };
    session.out.action(&record.version(&info), false)?;
    Ok(Did::Done(bytes))
}

/// Looks for what an earlier download left, and for how much of it is right: chunk by chunk against the manifest of the version that is
/// wanted now, whatever it was when it was fetched. Returns the reader of the rest.
async fn resume(
    session: &Session,
    (client, path): (&Client, &FilePath),
    target: &Path,
    file: FileReader,
) -> Result<(Partial, u64, BoxStream<'static, Result<Bytes, GetError>>), Failure> {
    let place = target.to_owned();
    let local = |error: &std::io::Error| Failure::local(target, "write beside it", error);
    let partial = session.pool.run(move || Partial::open(&place)).await.map_err(|error| local(&error))?;
    if partial.length() == 0 {
        return Ok((partial, 0, file.boxed()));
    }
    let contents = partial.contents().map_err(|error| local(&error))?;
    let (length, root, tag) = (file.info().length, file.info().tags.root, file.info().tags.native());
    let kept = same_until(client, &session.pool, contents, path, root).await?.unwrap_or(0).min(length);
    if kept == 0 {
        return Ok((partial, 0, file.boxed()));
    }
    session.out.bar().inc(kept);
    if kept == length {
        return Ok((partial, kept, stream::empty().boxed()));
    }
    let condition = Condition { if_match: Some(TagCondition::OneOf(vec![tag])), ..Condition::default() };
    let rest =
        client.get(path, GetOptions { range: RangeWanted::From(kept), condition, ..GetOptions::default() }).await;
    match rest.and_then(|outcome| outcome.into_file()) {
        Ok(rest) => Ok((partial, kept, rest.boxed())),
        // Replaced meanwhile: the version that was opened can still be read, from its beginning.
        Err(error) if error.kind() == ErrorKind::Conflict => Ok((partial, 0, file.boxed())),
        Err(error) => Err(error.into()),
    }
}

/// The rest of the body from the chunkservers, or through the HTTP API where that is the way or the chunkservers cannot be reached.
async fn either_way(
    session: &Session,
    client: &Client,
    from: &Remote,
    (info, kept): (&FileInfo, u64),
    rest: BoxStream<'static, Result<Bytes, GetError>>,
) -> Result<BoxStream<'static, Result<Bytes, Failure>>, Failure> {
    if kept == info.length {
        return Ok(stream::empty().boxed());
    }
    let mut rest = rest.peekable();
    let mut relay = session.routes.of(session, from, client).await?;
    if relay.is_none()
        && let Some(Err(error @ GetError::ChunkUnreadable { .. })) = Pin::new(&mut rest).peek().await
        && error.kind() == ErrorKind::Unavailable
    {
        relay = session.routes.fall_back(session, from).await?;
    }
    let Some(relay) = relay else { return Ok(rest.map_err(Failure::from).boxed()) };
    let path = from.file()?;
    let body = relay.get(&path, kept, &info.tags.native()).await?;
    Ok(verified(client.clone(), path, (info.tags.root, info.length, kept), body))
}
