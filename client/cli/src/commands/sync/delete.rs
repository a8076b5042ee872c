//! The second pass of `sync --delete`: what only the destination has is removed.
//!
//! A stored file is removed only if it is still the version that was listed, so that one that somebody has just written stays.

use super::Tree;
use crate::commands::records::{ActionRecord, address};
use crate::failure::{Exit, Failure};
use crate::pairs::{Pair, Place, Side};
use crate::run::Session;
use crate::transfer::{Did, Tally};
use cairn_client::Client;
use cairn_common::file::{Condition, ETags, TagCondition};
use cairn_common::limits::LIST_MAX_KEYS;
use cairn_common::name::{FilePath, Key};
use cairn_common::wire::command::Deleted;
use futures::stream::{BoxStream, StreamExt as _};
use std::path::Path;

/// Files that are to go at once, at most.
const BATCH: usize = LIST_MAX_KEYS as usize;

/// Removes what only the destination has. `may_remove`: the source has files, or it is meant all the same.
pub(super) async fn run(
    session: &Session,
    mut pairs: BoxStream<'static, Result<Pair, Failure>>,
    destination: &Tree,
    (may_remove, dry_run): (bool, bool),
) -> Result<Tally, Failure> {
    let mut removal = Removal { session, destination, dry_run, waiting: Vec::new(), tally: Tally::default() };
    while let Some(pair) = pairs.next().await {
        let Pair::Right(side) = pair? else { continue };
        if !may_remove {
            return Err(empty_source());
        }
        removal.waiting.push(side);
        if removal.waiting.len() >= BATCH {
            removal.flush().await?;
        }
    }
    removal.flush().await?;
    Ok(removal.tally)
}

fn empty_source() -> Failure {
    let failure = Failure::new(Exit::Usage, "the source has no files that take part: this would remove everything");
    failure.advise("if that is meant: --yes; to see what it would remove: --yes -n")
}

struct Removal<'a> {
    session: &'a Session,
    destination: &'a Tree,
    dry_run: bool,
    waiting: Vec<Side>,
    tally: Tally,
}

impl Removal<'_> {
    async fn flush(&mut self) -> Result<(), Failure> {
        let waiting = std::mem::take(&mut self.waiting);
        match self.destination {
            Tree::Local(root) => {
                for side in waiting {
                    self.local(root, side).await?;
                }
            }
            Tree::Remote(root, client) => {
                let stored = waiting.into_iter().filter_map(|side| match side.place {
                    Place::Remote(path, tags) => Some((path, tags, side.length)),
                    Place::Local(_) => None,
                });
                let stored: Vec<_> = stored.collect();
                if !stored.is_empty() {
                    self.remote(client, root.profile.as_deref(), stored).await.map_err(|failure| failure.at(root))?;
                }
            }
        }
        Ok(())
    }

    async fn local(&mut self, root: &Path, side: Side) -> Result<(), Failure> {
        let Place::Local(path) = side.place else { return Ok(()) };
        if !self.dry_run {
            let (path, root) = (path.clone(), root.to_owned());
            let removed = self.session.pool.run(move || remove_file(&root, &path)).await;
            if let Err(failure) = removed {
                self.session.out.error(&failure);
                self.tally.fail(failure.exit);
                return Ok(());
            }
        }
        self.done(path.display().to_string(), side.length)
    }

    async fn remote(
        &mut self,
        client: &Client,
        profile: Option<&str>,
        stored: Vec<(FilePath, ETags, u64)>,
    ) -> Result<(), Failure> {
        let results = match (&stored[..], self.dry_run) {
            (_, true) => vec![Deleted::Removed; stored.len()],
            ([], false) => Vec::new(),
            ([(first, ..), ..], false) => {
                let files = stored.iter().map(|(path, tags, _)| only_this_version(&path.key, tags)).collect();
                client.delete(&first.bucket, files).await?
            }
        };
        for ((path, _, length), result) in stored.into_iter().zip(results) {
            let shown = address(profile, &path);
            match result {
                Deleted::Removed | Deleted::Marked(_) | Deleted::MarkRemoved => self.done(shown, length)?,
                Deleted::Absent => self.tally.count(Did::Skipped),
                Deleted::Locked => {
                    self.session.out.error(&Failure::new(Exit::Denied, "it is locked").at(shown));
                    self.tally.fail(Exit::Denied);
                }
                Deleted::ConditionFailed => {
                    self.session.out.error(&Failure::new(Exit::Conflict, "it was changed meanwhile").at(shown));
                    self.tally.fail(Exit::Conflict);
                }
            }
        }
        Ok(())
    }

    fn done(&mut self, path: String, length: u64) -> Result<(), Failure> {
        let record = ActionRecord { size: Some(length), ..ActionRecord::of("rm", path, self.dry_run) };
        self.session.out.action(&record, self.dry_run)?;
        self.tally.count(Did::Done(0));
        Ok(())
    }
}

fn only_this_version(key: &Key, tags: &ETags) -> (Key, Condition) {
    let if_match = Some(TagCondition::OneOf(vec![tags.native()]));
    (key.clone(), Condition { if_match, ..Condition::default() })
}

/// Removes a file, and the folders above it that are empty then: a bucket knows none.
fn remove_file(root: &Path, path: &Path) -> Result<(), Failure> {
    std::fs::remove_file(path).map_err(|error| Failure::local(path, "remove it", &error))?;
    let above = path.ancestors().skip(1).take_while(|folder| *folder != root && folder.starts_with(root));
    for folder in above {
        // Refused as soon as one has anything in it.
        if std::fs::remove_dir(folder).is_err() {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_goes_with_the_folders_that_it_leaves_empty_and_never_the_root() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        std::fs::create_dir_all(at("a/b/c")).unwrap();
        for name in ["a/b/c/f", "a/g"] {
            std::fs::write(at(name), "").unwrap();
        }
        remove_file(root.path(), &at("a/b/c/f")).unwrap();
        assert!(!at("a/b").exists() && at("a/g").exists());
        remove_file(root.path(), &at("a/g")).unwrap();
        assert!(!at("a").exists() && root.path().exists());
        assert_eq!(remove_file(root.path(), &at("a/g")).unwrap_err().exit, Exit::NotFound);
    }
}
