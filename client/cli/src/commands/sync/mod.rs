//! `sync`: makes one tree like another. Bytes are compared by root, so what is the same already is neither sent nor fetched.
//!
//! What is missing or differs is transferred in a first pass. With `--delete` a second pass lists both sides once more and
//! removes what only the destination has; it is not begun if anything failed before, because a source that could not be read
//! looks like one that has gone.

mod delete;

use super::cp::{self, Way};
use super::get;
use super::put::{self, Sending};
use super::records::{ActionRecord, address};
use crate::address::{Address, Remote};
use crate::args::DryRun;
use crate::compare::is_same;
use crate::failure::{Exit, Failure};
use crate::filter::{Filter, FilterArgs};
use crate::names::{LocalPlace, relative_path};
use crate::pairs::{self, Pair, Place, Seen, Side, Sides, pairs};
use crate::run::Session;
use crate::transfer::{Did, Tally, each};
use crate::walk::Links;
use cairn_client::Client;
use cairn_common::file::Condition;
use clap::Args;
use futures::future;
use futures::stream::StreamExt as _;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Arguments of `sync`.
#[derive(Args, Debug)]
pub(crate) struct SyncArgs {
    /// The folder or address whose files are wanted; a slash at its end changes nothing
    #[arg(value_name = "SOURCE")]
    source: OsString,
    /// The folder or address that is to have them
    #[arg(value_name = "DESTINATION")]
    destination: OsString,
    /// Remove what only the destination has
    #[arg(long)]
    delete: bool,
    /// Really remove everything, if the source has no files
    #[arg(long, requires = "delete")]
    yes: bool,
    #[command(flatten)]
    compared: Compared,
    #[command(flatten)]
    pub(crate) dry: DryRun,
}

/// Which files of two trees are compared, and how.
#[derive(Args, Debug)]
pub(super) struct Compared {
    /// Files of the same size are the same: reads nothing, and misses changes that keep the size
    #[arg(long)]
    pub(super) size_only: bool,
    /// Symbolic links in a local folder; in the destination of a sync they are never followed
    #[arg(long, value_enum, default_value_t)]
    pub(super) links: Links,
    #[command(flatten)]
    pub(super) filter: FilterArgs,
}

/// One side of a sync.
#[derive(Clone)]
pub(super) enum Tree {
    /// A folder.
    Local(PathBuf),
    /// An address, with the client of its cluster.
    Remote(Remote, Client),
}

impl Tree {
    /// The tree at an argument.
    pub(super) async fn open(session: &Session, argument: &OsString) -> Result<Tree, Failure> {
        match Address::parse(argument)? {
            Address::Local(path) => Ok(Tree::Local(path)),
            Address::Remote(remote) => {
                let client = session.clients.of(&remote).await?;
                Ok(Tree::Remote(remote, client))
            }
            Address::Standard => Err(Failure::new(Exit::Usage, "-: a folder or an address is wanted")),
        }
    }

    /// Its files, in order.
    pub(super) fn files(&self, session: &Session, links: Links, filter: &Filter) -> Sides {
        match self {
            Tree::Local(root) => pairs::local(root.clone(), links, filter.clone(), session.pool.clone()),
            Tree::Remote(root, client) => pairs::remote(client.clone(), root.clone(), filter.clone()),
        }
    }
}

/// A sync that is under way.
struct Sync<'a> {
    session: &'a Session,
    source: Tree,
    destination: Tree,
    size_only: bool,
    dry_run: bool,
}

/// Runs `sync`.
pub(crate) async fn run(session: &Session, args: SyncArgs) -> Result<Tally, Failure> {
    let source = Tree::open(session, &args.source).await?;
    let destination = Tree::open(session, &args.destination).await?;
    check(&source, &destination)?;
    if let Tree::Remote(remote, client) = &destination {
        client.bucket(&remote.bucket).await.map_err(|error| Failure::from(error).at(remote))?;
    }
    session.out.start_progress();
    let filter = args.compared.filter.build()?;
    let links = args.compared.links;
    // What is written to or removed from is never found through a link.
    let both = || pairs(source.files(session, links, &filter), destination.files(session, Links::Skip, &filter));
    let sync = Sync {
        session,
        source: source.clone(),
        destination: destination.clone(),
        size_only: args.compared.size_only,
        dry_run: args.dry.dry_run,
    };
    // What only the destination has is no item of this pass.
    let items = both().filter(|pair| future::ready(!matches!(pair, Ok(Pair::Right(_)))));
    let mut tally = each(session, items, |pair| sync.bring(pair)).await?;
    if !args.delete {
        return Ok(tally);
    }
    if tally.failed > 0 {
        session.out.note("something failed, so nothing was removed; repeat when it is put right");
        return Ok(tally);
    }
    let is_file = |seen| future::ready(matches!(seen, Ok(Seen::File(_))));
    let may_remove = args.yes || source.files(session, links, &filter).any(is_file).await;
    tally.add(delete::run(session, both(), &destination, (may_remove, args.dry.dry_run)).await?);
    Ok(tally)
}

/// Refuses what makes no sense before anything is done.
fn check(source: &Tree, destination: &Tree) -> Result<(), Failure> {
    match (source, destination) {
        (Tree::Local(one), Tree::Local(_)) => {
            let failure = Failure::new(Exit::Usage, "both sides are local").at(one.display());
            Err(failure.advise("write the one in Cairn as cairn://bucket/prefix"))
        }
        (Tree::Local(path), _) => {
            let metadata = std::fs::metadata(path).map_err(|error| Failure::local(path, "look at it", &error))?;
            if metadata.is_dir() {
                return Ok(());
            }
            Err(Failure::new(Exit::Usage, "it is no folder").at(path.display()).advise("for one file: cairn put"))
        }
        (Tree::Remote(from, _), Tree::Remote(to, _)) => {
            let same_bucket = from.profile == to.profile && from.bucket == to.bucket;
            let (one, other) = (from.prefix(), to.prefix());
            if same_bucket && (one.starts_with(&other) || other.starts_with(&one)) {
                return Err(Failure::new(Exit::Usage, format!("one of both lies in the other: {from}")).at(to));
            }
            Ok(())
        }
        (Tree::Remote(..), Tree::Local(path)) if path.exists() && !path.is_dir() => {
            Err(Failure::new(Exit::Usage, "it is no folder").at(path.display()).advise("for one file: cairn get"))
        }
        (Tree::Remote(..), Tree::Local(_)) => Ok(()),
    }
}

impl Sync<'_> {
    /// Brings the destination's file to what the source has.
    async fn bring(&self, pair: Pair) -> Result<Did, Failure> {
        match pair {
            Pair::Skipped(path, why) => {
                self.session.out.note(&format!("skipped {}: {why}", path.display()));
                Ok(Did::Skipped)
            }
            Pair::Right(_) => Ok(Did::Skipped),
            Pair::Left(side) => self.transfer(side).await,
            Pair::Both(one, other) => match self.same(&one, &other).await? {
                true => Ok(Did::Skipped),
                false => self.transfer(one).await,
            },
        }
    }

    async fn same(&self, one: &Side, other: &Side) -> Result<bool, Failure> {
        if one.length != other.length {
            return Ok(false);
        }
        let stored = |tree: &Tree| match tree {
            Tree::Remote(_, client) => Some(client.clone()),
            Tree::Local(_) => None,
        };
        match (&one.place, &other.place) {
            (Place::Remote(_, one), Place::Remote(_, other)) => Ok(self.size_only || one.root == other.root),
            _ if self.size_only => Ok(true),
            (Place::Local(local), Place::Remote(path, tags)) | (Place::Remote(path, tags), Place::Local(local)) => {
                let client = stored(&self.source).or(stored(&self.destination)).ok_or_else(both_local)?;
                is_same(&client, &self.session.pool, local, path, (one.length, tags.root)).await
            }
            (Place::Local(_), Place::Local(_)) => Err(both_local()),
        }
    }

    async fn transfer(&self, side: Side) -> Result<Did, Failure> {
        self.session.out.bar().inc_length(side.length);
        match (&self.destination, &side.place) {
            (Tree::Remote(root, client), Place::Local(path)) => {
                let to = root.with_key(format!("{}{}", root.prefix(), side.name));
                let sending = Sending { dry_run: self.dry_run, ..Sending::default() };
                let sent = put::from_file(self.session, &sending, client, path, to).await;
                sent.map_err(|failure| failure.at(path.display()))
            }
            (Tree::Local(root), Place::Remote(path, _)) => self.fetch(root, path.key.as_str(), &side).await,
            (Tree::Remote(root, target), Place::Remote(from, _)) => self.copy(root, target, from, &side).await,
            (Tree::Local(_), Place::Local(_)) => Err(both_local()),
        }
    }

    async fn fetch(&self, root: &Path, key: &str, side: &Side) -> Result<Did, Failure> {
        let Tree::Remote(source, client) = &self.source else { return Err(both_local()) };
        let from = source.with_key(key);
        // Some tools mark a folder by a key without bytes that ends with a slash.
        let (name, is_folder) = match side.name.strip_suffix('/').filter(|_| side.length == 0) {
            Some(folder) => (folder, true),
            None => (side.name.as_str(), false),
        };
        let relative = relative_path(name).map_err(|error| get::bad_name(&from, error))?;
        let place = LocalPlace { root: root.to_owned(), relative, is_folder };
        get::one(self.session, get::Item { client: client.clone(), from, place }, self.dry_run).await
    }

    async fn copy(
        &self,
        root: &Remote,
        target: &Client,
        from: &cairn_common::name::FilePath,
        side: &Side,
    ) -> Result<Did, Failure> {
        let Tree::Remote(source, client) = &self.source else { return Err(both_local()) };
        let to = root.file_at(&format!("{}{}", root.prefix(), side.name))?;
        let shown = address(source.profile.as_deref(), from);
        let record =
            ActionRecord::from("cp", &shown, address(root.profile.as_deref(), &to), Some(side.length), self.dry_run);
        if self.dry_run {
            self.session.out.action(&record, true)?;
            return Ok(Did::Done(side.length));
        }
        let same = source.profile == root.profile;
        let way = Way { source: client.clone(), target: target.clone(), same, condition: Condition::default() };
        let committed = cp::copy(&way, from, &to).await.map_err(|failure| failure.at(&shown))?;
        self.session.out.action(&record.committed(&committed), false)?;
        Ok(Did::Done(committed.length))
    }
}

/// Refused at the start; nothing leads here.
fn both_local() -> Failure {
    Failure::new(Exit::Other, "both sides are local")
}
