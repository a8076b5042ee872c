//! Uploads through a gateway that are not finished: where each goes on, in a file of its own below `$XDG_STATE_HOME/cairn/uploads`.
//!
//! Its name follows from everything that the upload is made of: the cluster, the address, what is stored with the file, and which state of
//! which local file it is, by the marks that every change of it moves. So what is found there belongs to the very same bytes, or is
//! not found. Nothing depends on these files: without them an upload begins anew.

use cairn_common::limits::APPENDED_UPLOAD_MS;
use serde::{Deserialize, Serialize};
use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Bytes of such a file that are read.
const MAX_BYTES: u64 = 16 << 10;
/// Files that are looked at to find old ones.
const LOOKED_AT_MAX: usize = 1000;

/// Where an upload goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Place {
    /// Path and query of the upload at any gateway of the cluster.
    pub(crate) place: String,
    /// Bytes in each of its pieces.
    pub(crate) piece: u64,
}

/// What is kept about one upload, while this process works at it. Locked, so that two never work at the same.
pub(crate) struct Kept {
    file: File,
    path: PathBuf,
}

/// Where such files are.
pub(crate) fn folder(env: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let base = env("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let base = base.or_else(|| Some(PathBuf::from(env("HOME")?).join(".local/state")))?;
    Some(base.join("cairn/uploads"))
}

/// The name of an upload of a local file in this state. `parts`: what else makes it what it is.
pub(crate) fn name(parts: &[&str], file: &Metadata) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
    }
    for mark in [file.dev(), file.ino(), file.len()] {
        hasher.update(&mark.to_le_bytes());
    }
    for time in [file.mtime(), file.mtime_nsec(), file.ctime(), file.ctime_nsec()] {
        hasher.update(&time.to_le_bytes());
    }
    hasher.finalize().to_hex()[..32].to_owned()
}

impl Kept {
    /// What is kept under a name; empty at first. `None`: another process works at it. Removes what is so old that the upload has
    /// ended by itself, as of `now`.
    pub(crate) fn open(folder: &Path, name: &str, now: SystemTime) -> io::Result<Option<Kept>> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        remove_old(folder, now)?;
        let path = folder.join(format!("{name}.json"));
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&path)?;
        let locked = rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_ok();
        // Between opening and locking another process may have finished with it.
        let same = std::fs::metadata(&path).is_ok_and(|now| file.metadata().is_ok_and(|own| own.ino() == now.ino()));
        Ok((locked && same).then_some(Kept { file, path }))
    }

    /// Where the upload goes on, if it was begun.
    pub(crate) fn place(&mut self) -> Option<Place> {
        let mut text = Vec::new();
        self.file.rewind().ok()?;
        (&self.file).take(MAX_BYTES).read_to_end(&mut text).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Keeps where it goes on. Not synced: what is lost with the machine only costs that the upload begins anew.
    pub(crate) fn keep(&mut self, place: &Place) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(&serde_json::to_vec(place)?)
    }

    /// Forgets it: it is finished, or cannot be.
    pub(crate) fn forget(self) -> io::Result<()> {
        std::fs::remove_file(&self.path)
    }
}

fn remove_old(folder: &Path, now: SystemTime) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)?.take(LOOKED_AT_MAX).flatten() {
        // Another upload may end, and take its file away, at the same time.
        let modified = entry.metadata().and_then(|metadata| metadata.modified()).ok();
        let age = modified.and_then(|modified| now.duration_since(modified).ok());
        if age.is_some_and(|age| age > Duration::from_millis(APPENDED_UPLOAD_MS)) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEEK: Duration = Duration::from_millis(APPENDED_UPLOAD_MS);

    fn place(text: &str) -> Place {
        Place { place: text.to_owned(), piece: 5 }
    }

    /// The time of the newest change below a folder.
    fn now(folder: &Path) -> SystemTime {
        std::fs::metadata(folder).unwrap().modified().unwrap()
    }

    #[test]
    fn what_was_kept_is_found_until_it_is_forgotten_and_by_one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let (folder, now) = (folder.path().join("deep/uploads"), now(folder.path()));
        let open = |name: &str| Kept::open(&folder, name, now).unwrap();
        let mut kept = open("a").unwrap();
        assert_eq!(kept.place(), None);
        kept.keep(&place("/a long place")).unwrap();
        kept.keep(&place("/p")).unwrap();
        assert!(open("a").is_none(), "two work at one upload");
        assert_eq!(open("b").unwrap().place(), None);
        drop(kept);
        let mut kept = open("a").unwrap();
        assert_eq!(kept.place(), Some(place("/p")));
        kept.forget().unwrap();
        assert_eq!(open("a").unwrap().place(), None);
    }

    #[test]
    fn what_is_broken_is_as_if_it_were_not_there_and_what_is_old_goes() {
        let folder = tempfile::tempdir().unwrap();
        let (folder, now) = (folder.path(), now(folder.path()));
        for broken in ["", "{", "{\"place\":1}", &"x".repeat(1 << 20)] {
            std::fs::write(folder.join("a.json"), broken).unwrap();
            assert_eq!(Kept::open(folder, "a", now).unwrap().unwrap().place(), None);
        }
        Kept::open(folder, "b", now + WEEK * 2).unwrap().unwrap().keep(&place("/p")).unwrap();
        assert!(!folder.join("a.json").exists() && folder.join("b.json").exists());
    }

    #[test]
    fn every_change_of_the_file_or_of_what_is_asked_is_another_upload() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        let state = |text: &str| {
            std::fs::write(&path, text).unwrap();
            std::fs::metadata(&path).unwrap()
        };
        let one = state("one");
        assert_eq!(name(&["a", "b"], &one), name(&["a", "b"], &std::fs::metadata(&path).unwrap()));
        assert_ne!(name(&["a", "b"], &one), name(&["ab"], &one));
        let longer = state("longer");
        assert_ne!(name(&["a"], &one), name(&["a"], &longer));
        // The same length and time of change of its contents, in another file.
        let other = folder.path().join("g");
        std::fs::write(&other, "longer").unwrap();
        File::options().write(true).open(&other).unwrap().set_modified(longer.modified().unwrap()).unwrap();
        assert_ne!(name(&["a"], &std::fs::metadata(&other).unwrap()), name(&["a"], &longer));
    }

    #[test]
    fn the_folder_is_where_xdg_says() {
        let at = |list: &[(&str, &str)]| {
            folder(|name| list.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
        };
        assert_eq!(at(&[("HOME", "/h")]), Some("/h/.local/state/cairn/uploads".into()));
        assert_eq!(at(&[("HOME", "/h"), ("XDG_STATE_HOME", "/x")]), Some("/x/cairn/uploads".into()));
        assert_eq!(at(&[]), None);
    }
}
