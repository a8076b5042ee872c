//! The files below a local folder, in the order in which a bucket lists them as keys, so that both can be compared side by side
//! with little memory: that of the folders on the way down.

use crate::failure::{Exit, Failure};
use cairn_common::seam::Pool;
use futures::Stream;
use std::ffi::OsString;
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt as _;
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
    /// What is still to come, the next one last.
    pending: Vec<Entry>,
}

/// Walks the folder at `root`, its files in the order of their names as keys. What cannot be read is a failure of that item,
/// and the walk goes on. Empty folders leave no trace: a key space has none.
pub(crate) fn walk(root: PathBuf, links: Links, pool: Pool) -> impl Stream<Item = Result<Found, Failure>> {
    let pending = vec![Entry::Folder(Folder { path: root, name: String::new(), above: None })];
    futures::stream::unfold((Walk { links, pending }, pool), |(mut walk, pool)| async move {
        loop {
            match walk.pending.pop()? {
                Entry::Item(found) => return Some((found, (walk, pool))),
                Entry::Folder(folder) => {
                    walk = pool
                        .run(move || {
                            walk.read(&folder);
                            walk
                        })
                        .await;
                }
            }
        }
    })
}

/// What is in a folder.
enum Entry {
    Folder(Folder),
    Item(Result<Found, Failure>),
}

impl Walk {
    fn read(&mut self, folder: &Folder) {
        match names_in(&folder.path) {
            Err(error) => self.pending.push(Entry::Item(Err(Failure::local(&folder.path, "read the folder", &error)))),
            Ok((identity, _)) if is_above(folder.above.as_ref(), identity) => {
                let failure = Failure::new(Exit::Other, "a symbolic link leads back to a folder above it");
                let advice = "leave links out with --links skip";
                self.pending.push(Entry::Item(Err(failure.at(folder.path.display()).advise(advice))));
            }
            Ok((identity, names)) => {
                let above = Some(Arc::new(Ancestor { identity, above: folder.above.clone() }));
                let entry = |name: OsString| {
                    let mut place = name.as_bytes().to_owned();
                    let entry = match self.look(folder, &above, name) {
                        Ok(Looked::Folder(folder)) => {
                            // Among keys a folder stands where its name with a slash stands: `a-b` before `a/b`.
                            place.push(b'/');
                            Entry::Folder(folder)
                        }
                        Ok(Looked::Found(found)) => Entry::Item(Ok(found)),
                        Err(failure) => Entry::Item(Err(failure)),
                    };
                    (place, entry)
                };
                let mut entries: Vec<_> = names.into_iter().map(entry).collect();
                entries.sort_by(|(one, _), (other, _)| other.cmp(one));
                self.pending.extend(entries.into_iter().map(|(_, entry)| entry));
            }
        }
    }

    fn look(&self, folder: &Folder, above: &Option<Arc<Ancestor>>, name: OsString) -> Result<Looked, Failure> {
        let path = folder.path.join(&name);
        let Some(name) = name.to_str() else {
            let failure = Failure::new(Exit::Other, "the name is not UTF-8, and keys are");
            return Err(failure.at(path.display()).advise("rename it and repeat"));
        };
        let name = if folder.name.is_empty() { name.to_owned() } else { format!("{}/{name}", folder.name) };
        let failed = |error| Failure::local(&path, "look at it", &error);
        let mut metadata = std::fs::symlink_metadata(&path).map_err(failed)?;
        if metadata.is_symlink() {
            match self.links {
                Links::Skip => return Ok(Looked::Found(Found::Skipped(path, "a symbolic link"))),
                Links::Follow => metadata = std::fs::metadata(&path).map_err(failed)?,
            }
        }
        if metadata.is_dir() {
            return Ok(Looked::Folder(Folder { path, name, above: above.clone() }));
        }
        if !metadata.is_file() {
            return Ok(Looked::Found(Found::Skipped(path, "neither a file nor a folder")));
        }
        Ok(Looked::Found(Found::File(FoundFile { path, name, length: metadata.len() })))
    }
}

/// What an entry of a folder turned out to be.
enum Looked {
    Folder(Folder),
    Found(Found),
}

fn names_in(path: &Path) -> std::io::Result<((u64, u64), Vec<OsString>)> {
    let metadata: Metadata = std::fs::metadata(path)?;
    let names = std::fs::read_dir(path)?.map(|entry| Ok(entry?.file_name())).collect::<std::io::Result<Vec<_>>>()?;
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
            "d/e/ y 3",
            "d/x 1",
            "pipe skipped: neither a file nor a folder",
            "failed: the name is not UTF-8, and keys are",
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
                "d/f 1".to_owned(),
                format!("up {why}"),
                format!("file {why}"),
                format!("gone {why}"),
                format!("twin {why}"),
            ]
        );
        let followed = names(root.path(), Links::Follow).await;
        assert_eq!(followed.iter().filter(|line| line.contains("leads back")).count(), 2);
        assert_eq!(followed.iter().filter(|line| line.starts_with("failed: cannot look")).count(), 1);
        for file in ["file 1", "d/f 1", "twin/f 1"] {
            assert!(followed.contains(&file.to_owned()), "{followed:?}");
        }
    }
    #[tokio::test]
    async fn the_order_is_that_of_keys() {
        let root = tempfile::tempdir().unwrap();
        let mut keys = ["a-b", "a/b/c", "a/b-c", "a0", "a.d/x", "é", "z/z", "a/b.c/d"];
        for key in keys {
            let path = root.path().join(key);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        keys.sort();
        let walked = names(root.path(), Links::Follow).await;
        assert_eq!(walked, keys.map(|key| format!("{key} 0")));
    }
}
