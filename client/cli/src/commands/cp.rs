//! `cp`: copies within Cairn. Within one cluster by reference, whatever the size; between two, streamed through this machine.

use super::records::{ActionRecord, address};
use super::tree::{self, SourceFile, TreeArgs};
use crate::address::{Address, Remote};
use crate::failure::{Exit, Failure};
use crate::names::{key_for_file, prefix_for_folder};
use crate::run::Session;
use crate::transfer::{Did, Tally, each};
use cairn_client::{Client, GetOptions, PutOptions, StreamSource};
use cairn_common::file::{Condition, TagCondition};
use cairn_common::name::FilePath;
use cairn_common::wire::command::Committed;
use clap::Args;
use futures::StreamExt as _;
use std::ffi::OsString;

/// Arguments of `cp`.
#[derive(Args, Debug)]
#[command(override_usage = "cairn cp [OPTIONS] SOURCE… DESTINATION")]
pub(crate) struct CpArgs {
    #[command(flatten)]
    pub(crate) tree: TreeArgs,
}

/// A way from one place to another.
pub(super) struct Way {
    pub(super) source: Client,
    pub(super) target: Client,
    /// Whether both are the same cluster under the same key.
    pub(super) same: bool,
    /// On the version that is replaced.
    pub(super) condition: Condition,
}

/// Runs `cp`.
pub(crate) async fn run(session: &Session, args: CpArgs) -> Result<Tally, Failure> {
    over_files(session, args.tree, "cp", async |way: &Way, from: &FilePath, to: &FilePath| copy(way, from, to).await)
        .await
}

/// Copies one file.
pub(super) async fn copy(way: &Way, from: &FilePath, to: &FilePath) -> Result<Committed, Failure> {
    if way.same {
        let condition = way.condition.clone();
        return Ok(way.source.copy(from, Condition::default(), to, condition, None).await?);
    }
    let file = way.source.get(from, GetOptions::default()).await?.into_file()?;
    let info = file.info().clone();
    let options = PutOptions {
        attributes: info.attributes,
        condition: way.condition.clone(),
        length: Some(info.length),
        ..PutOptions::default()
    };
    Ok(way.target.put(to, StreamSource(file), options).await?)
}

/// Does `work` for every file of the sources, with its place at the destination.
pub(super) async fn over_files<W>(
    session: &Session,
    mut args: TreeArgs,
    verb: &'static str,
    work: W,
) -> Result<Tally, Failure>
where
    W: AsyncFn(&Way, &FilePath, &FilePath) -> Result<Committed, Failure>,
{
    let destination = args.paths.pop().unwrap_or_default();
    let destination = Address::parse(&destination)?.into_remote("cairn get writes to local paths")?;
    if args.paths.len() > 1 && !destination.slash && !destination.is_bucket() {
        let failure = Failure::new(Exit::Usage, "several sources need a destination to go into").at(&destination);
        return Err(failure.advise(format!("end it with a slash: {destination}/")));
    }
    let filter = args.filter.build()?;
    let dry_run = args.dry.dry_run;
    let mut tally = Tally::default();
    for source in &args.paths {
        let source = remote(source)?;
        refuse_into_itself(&source, &destination, args.recursive)?;
        let way = Way {
            source: session.clients.of(&source).await?,
            target: session.clients.of(&destination).await?,
            same: source.profile == destination.profile,
            condition: match args.no_clobber {
                true => Condition { if_none_match: Some(TagCondition::Any), ..Condition::default() },
                false => Condition::default(),
            },
        };
        let files = tree::files(way.source.clone(), source.clone(), args.recursive, filter.clone());
        let (way, source, destination, work) = (&way, &source, &destination, &work);
        let each_file = |file: SourceFile| async move {
            let to = destination.file_at(&key_at(destination, source, &file))?;
            let from = address(source.profile.as_deref(), &file.path);
            if way.same && to == file.path {
                return Err(Failure::new(Exit::Usage, "source and destination are the same file").at(from));
            }
            let record =
                ActionRecord::from(verb, &from, address(destination.profile.as_deref(), &to), file.length, dry_run);
            if dry_run {
                session.out.action(&record, true)?;
                return Ok(Did::Done(file.length.unwrap_or(0)));
            }
            let committed = work(way, &file.path, &to).await.map_err(|failure| failure.at(&from))?;
            session.out.action(&record.committed(&committed), false)?;
            Ok(Did::Done(committed.length))
        };
        tally.add(each(session, files.boxed(), each_file).await?);
    }
    Ok(tally)
}

fn remote(source: &OsString) -> Result<Remote, Failure> {
    Address::parse(source)?.into_remote("cairn put stores local files")
}

/// The key of a file of `source` at `destination`.
fn key_at(destination: &Remote, source: &Remote, file: &SourceFile) -> String {
    if file.name.is_empty() && !source.slash {
        return key_for_file(destination, source.base_name());
    }
    format!("{}{}", prefix_for_folder(destination, source.base_name(), source.slash), file.name)
}

/// A folder that is copied or moved into itself would meet its own copies for ever.
fn refuse_into_itself(source: &Remote, destination: &Remote, recursive: bool) -> Result<(), Failure> {
    let same_bucket = source.profile == destination.profile && source.bucket == destination.bucket;
    let target = prefix_for_folder(destination, source.base_name(), source.slash);
    if recursive && same_bucket && target.starts_with(&source.prefix()) {
        return Err(Failure::new(Exit::Usage, format!("it lies in the source {source}")).at(destination));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(text: &str) -> Remote {
        Remote::parse(text).unwrap()
    }

    #[test]
    fn a_folder_is_never_copied_into_itself() {
        let refused = |from, to| refuse_into_itself(&remote(from), &remote(to), true).is_err();
        assert!(refused("abc/a", "abc/a") && refused("abc/a", "abc/a/b") && refused("abc", "abc/x"));
        assert!(!refused("abc/a", "abc/b") && !refused("abc/a", "abc/ab") && !refused("abc/a", "xyz/a"));
        assert!(!refused("abc/a/b", "abc/a") && !refused("p@abc/a", "abc/a"));
        assert!(refuse_into_itself(&remote("abc/a"), &remote("abc/a/b"), false).is_ok());
    }

    #[test]
    fn files_keep_their_names_below_the_source() {
        let file = |key: &str, name: &str| SourceFile {
            path: FilePath::new("abc", key).unwrap(),
            name: name.to_owned(),
            length: None,
        };
        let key = |to, from, file: &SourceFile| key_at(&remote(to), &remote(from), file);
        assert_eq!(key("xyz", "abc/d/f", &file("d/f", "")), "f");
        assert_eq!(key("xyz/g", "abc/d/f", &file("d/f", "")), "g");
        assert_eq!(key("xyz/", "abc/d", &file("d/e/f", "e/f")), "d/e/f");
        assert_eq!(key("xyz/", "abc/d/", &file("d/e/f", "e/f")), "e/f");
        assert_eq!(key("xyz/n", "abc/d", &file("d/e/f", "e/f")), "n/e/f");
    }
}
