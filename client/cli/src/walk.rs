//! The files below a local folder, in order, one folder in memory at a time.

use crate::failure::{Exit, Failure};
use cairn_common::seam::Pool;
use futures::Stream;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What to do with symbolic links inside a folder. One that is named on the command line is always followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Links {
    /// Store what they point at; one that leads back into its own folders, or nowhere, is a failure
    #[default]
    Follow,
    /// Leave them out, and count them as skipped
    Skip,
}

/// What a walk comes across.
#[derive(Debug)]
pub(crate) enum Found {
    /// A regular file.
    File(FoundFile),
    /// Something that is not stored, and why.
    Skipped(PathBuf, &'static str),
}

/// A regular file below the folder.
#[derive(Debug)]
pub(crate) struct FoundFile {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Its name below the folder, components joined by slashes.
    pub(crate) name: String,
    /// Its length when it was found, in bytes.
    pub(crate) length: u64,
}

/// A folder on the way; identities of those above it, to notice a loop of links.
#[derive(Clone)]
struct Folder {
    path: PathBuf,
    name: String,
    above: Option<Arc<Ancestor>>,
}

struct Ancestor {
    identity: (u64, u64),
    above: Option<Arc<Ancestor>>,
}

struct Walk {
    links: Links,
    folders: Vec<Folder>,
    ready: VecDeque<Result<Found, Failure>>,
}

/// Walks the folder at `root`: its files sorted by name, then its folders. What cannot be read is a failure of that item, and
/// the walk goes on. Empty folders leave no trace: a key space has none.
pub(crate) fn walk(root: PathBuf, links: Links, pool: Pool) -> impl Stream<Item = Result<Found, Failure>> {
    let folders = vec![Folder { path: root, name: String::new(), above: None }];
    let walk = Walk { links, folders, ready: VecDeque::new() };
    futures::stream::unfold((walk, pool), |(mut walk, pool)| async move {
        while walk.ready.is_empty() {
            let folder = walk.folders.pop()?;
            walk = pool
                .run(move || {
                    walk.read(&folder);
                    walk
                })
                .await;
        }
        let found = walk.ready.pop_front()?;
        Some((found, (walk, pool)))
    })
}

impl Walk {
    fn read(&mut self, folder: &Folder) {
        match sorted_names(&folder.path) {
            Err(error) => self.ready.push_back(Err(Failure::local(&folder.path, "read the folder", &error))),
            Ok((identity, names)) => {
                if is_above(folder.above.as_ref(), identity) {
                    let failure = Failure::new(Exit::Other, "a symbolic link leads back to a folder above it");
                    let advice = "leave links out with --links skip";
                    self.ready.push_back(Err(failure.at(folder.path.display()).advise(advice)));
                    return;
                }
                let above = Some(Arc::new(Ancestor { identity, above: folder.above.clone() }));
                let mut below = Vec::new();
                for name in names {
                    match self.look(folder, &above, name) {
                        Ok(Some(found)) => self.ready.push_back(Ok(found)),
                        Ok(None) => {}
                        Err(Entry::Failed(failure)) => self.ready.push_back(Err(failure)),
                        Err(Entry::Folder(folder)) => below.push(folder),
                    }
                }
                self.folders.extend(below.into_iter().rev());
            }
        }
    }

    fn look(&self, folder: &Folder, above: &Option<Arc<Ancestor>>, name: OsString) -> Result<Option<Found>, Entry> {
        let path = folder.path.join(&name);
        let Some(name) = name.to_str() else {
            let failure = Failure::new(Exit::Other, "the name is not UTF-8, and keys are");
            return Err(Entry::Failed(failure.at(path.display()).advise("rename it and repeat")));
        };
        let name = if folder.name.is_empty() { name.to_owned() } else { format!("{}/{name}", folder.name) };
        let failed = |error| Entry::Failed(Failure::local(&path, "look at it", &error));
        let mut metadata = std::fs::symlink_metadata(&path).map_err(failed)?;
        if metadata.is_symlink() {
            match self.links {
                Links::Skip => return Ok(Some(Found::Skipped(path, "a symbolic link"))),
                Links::Follow => metadata = std::fs::metadata(&path).map_err(failed)?,
            }
        }
        if metadata.is_dir() {
            return Err(Entry::Folder(Folder { path, name, above: above.clone() }));
        }
        if !metadata.is_file() {
            return Ok(Some(Found::Skipped(path, "neither a file nor a folder")));
        }
        Ok(Some(Found::File(FoundFile { path, name, length: metadata.len() })))
    }
}

/// What is not handed on at once.
enum Entry {
    Folder(Folder),
    Failed(Failure),
}

fn sorted_names(path: &Path) -> std::io::Result<((u64, u64), Vec<OsString>)> {
    let metadata: Metadata = std::fs::metadata(path)?;
    let mut names =
        std::fs::read_dir(path)?.map(|entry| Ok(entry?.file_name())).collect::<std::io::Result<Vec<_>>>()?;
    names.sort();
    Ok(((metadata.dev(), metadata.ino()), names))
}

fn is_above(mut above: Option<&Arc<Ancestor>>, identity: (u64, u64)) -> bool {
    while let Some(ancestor) = above {
        if ancestor.identity == identity {
            return true;
        }
        above = ancestor.above.as_ref();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::StreamExt as _;
    use std::os::unix::ffi::OsStringExt as _;
    use std::os::unix::fs::symlink;

    async fn names(root: &Path, links: Links) -> Vec<String> {
        let found = walk(root.to_owned(), links, Pool::new(1)).collect::<Vec<_>>().await;
        let shown = found.into_iter().map(|found| match found {
            Ok(Found::File(file)) => format!("{} {}", file.name, file.length),
            Ok(Found::Skipped(path, why)) => format!("{} skipped: {why}", path.file_name().unwrap().display()),
            Err(failure) => format!("failed: {}", failure.message),
        });
        shown.collect()
    }

    #[tokio::test]
    async fn files_come_in_order_and_what_cannot_be_stored_is_told() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        std::fs::create_dir_all(at("d/e")).unwrap();
        std::fs::create_dir(at("empty")).unwrap();
        for (name, body) in [("b", "12"), ("a\n", ""), ("d/x", "1"), ("d/e/ y", "123"), ("-n", "1")] {
            std::fs::write(at(name), body).unwrap();
        }
        std::fs::write(root.path().join(OsString::from_vec(vec![b'z', 0xff])), "1").unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, at("pipe"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let wanted = [
            "-n 1",
            "a\n 0",
            "b 2",
            "pipe skipped: neither a file nor a folder",
            "failed: the name is not UTF-8, and keys are",
            "d/x 1",
            "d/e/ y 3",
        ];
        assert_eq!(names(root.path(), Links::Follow).await, wanted);
    }

    #[tokio::test]
    async fn links_are_followed_or_skipped_and_never_followed_for_ever() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        std::fs::create_dir(at("d")).unwrap();
        std::fs::write(at("d/f"), "1").unwrap();
        symlink("d/f", at("file")).unwrap();
        symlink("nowhere", at("gone")).unwrap();
        symlink("..", at("d/up")).unwrap();
        symlink("d", at("twin")).unwrap();
        let skipped = names(root.path(), Links::Skip).await;
        let why = "skipped: a symbolic link";
        assert_eq!(
            skipped,
            [
                format!("file {why}"),
                format!("gone {why}"),
                format!("twin {why}"),
                "d/f 1".to_owned(),
                format!("up {why}")
            ]
        );
        let followed = names(root.path(), Links::Follow).await;
        assert_eq!(followed.iter().filter(|line| line.contains("leads back")).count(), 2);
        assert_eq!(followed.iter().filter(|line| line.starts_with("failed: cannot look")).count(), 1);
        for file in ["file 1", "d/f 1", "twin/f 1"] {
            assert!(followed.contains(&file.to_owned()), "{followed:?}");
        }
    }
}
