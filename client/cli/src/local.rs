//! Writing downloads: whole files under their final names, or nothing; and never outside the folder that was named.
//!
//! Until it is whole a download lies beside its target, under a name that follows from the target's. The next download to the same place
//! finds it there, however the one before ended, and goes on behind the bytes that it can prove to be right.

use crate::failure::{Exit, Failure};
use bytes::Bytes;
use cairn_common::seam::{OsRandom, Pool, Random as _};
use futures::{Stream, StreamExt as _};
use std::fs::{File, FileTimes, OpenOptions};
use std::io::{self, Seek as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use tokio::sync::mpsc;

/// How the names of unfinished downloads end.
const PARTIAL: &str = ".cairn-part";

/// Whether a file is a download that was not finished.
pub(crate) fn is_partial(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_bytes();
    let number = name.strip_prefix(b".").and_then(|name| name.strip_suffix(PARTIAL.as_bytes()));
    number.is_some_and(|number| number.len() == 16 && number.iter().all(u8::is_ascii_hexdigit))
}

/// Pieces between the network and the disk.
const PIECES_WAITING: usize = 4;

/// Fewer bytes are fetched again rather than left beside the target.
const KEEP_MIN_BYTES: u64 = 1 << 20;

/// A file that is being written beside its final place. Dropped before [`Partial::finish`] it stays for the next download to the same
/// place, if it is worth it. Locked, so that two downloads never write to one.
pub(crate) struct Partial {
    file: File,
    temporary: PathBuf,
    target: PathBuf,
    /// Whether the next download to the same place finds it.
    is_found: bool,
    finished: bool,
}

impl Partial {
    /// The unfinished download to `target`, with what an earlier one left of it; a new file where that is somebody else's. Blocks on
    /// the disk.
    pub(crate) fn open(target: &Path) -> io::Result<Partial> {
        // The name is made from the target's hash: that itself may be as long as a name can be.
        let name = target.file_name().unwrap_or_default().as_bytes();
        let number = blake3::hash(name).to_hex();
        let temporary = folder_of(target).join(format!(".{}{PARTIAL}", &number[..16]));
        match OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&temporary) {
            Ok(file) if is_ours(&file, &temporary) => {
                Ok(Partial { file, temporary, target: target.to_owned(), is_found: true, finished: false })
            }
            _ => Partial::alone(target),
        }
    }

    /// A new file that no other download finds; gone if it is not finished. Blocks on the disk.
    pub(crate) fn alone(target: &Path) -> io::Result<Partial> {
        let temporary = folder_of(target).join(format!(".{:016x}{PARTIAL}", OsRandom.number()));
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&temporary)?;
        Ok(Partial { file, temporary, target: target.to_owned(), is_found: false, finished: false })
    }

    /// The file as it is, to look at what is in it.
    pub(crate) fn contents(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Bytes in it, right or wrong.
    pub(crate) fn length(&self) -> u64 {
        self.file.metadata().map_or(0, |metadata| metadata.len())
    }

    /// Forgets all but the first `length` bytes, and goes on behind them.
    fn keep(&mut self, length: u64) -> io::Result<()> {
        self.file.set_len(length)?;
        self.file.seek(io::SeekFrom::Start(length)).map(drop)
    }

    /// `Ok`: the whole file is durable under its name, with the modification time that is asked for.
    fn finish(mut self, modified: Option<SystemTime>) -> io::Result<()> {
        if let Some(modified) = modified {
            self.file.set_times(FileTimes::new().set_modified(modified))?;
        }
        self.file.sync_all()?;
        std::fs::rename(&self.temporary, &self.target)?;
        self.finished = true;
        File::open(folder_of(&self.target))?.sync_all()
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        let is_kept = self.is_found && self.length() >= KEEP_MIN_BYTES;
        if !self.finished && !is_kept {
            // Nothing better can be done; the name says what it is.
            let _ = std::fs::remove_file(&self.temporary);
        }
    }
}

/// Locks it. Whether it is this download's alone: between opening and locking another may have finished with it, and what another
/// user made could be written to after it was checked.
fn is_ours(file: &File, path: &Path) -> bool {
    let locked = rustix::fs::flock(file, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_ok();
    let user = rustix::process::geteuid().as_raw();
    let same = std::fs::symlink_metadata(path).is_ok_and(|now| {
        let alone = now.is_file() && now.nlink() == 1 && now.uid() == user;
        alone && file.metadata().is_ok_and(|own| (own.dev(), own.ino()) == (now.dev(), now.ino()))
    });
    locked && same
}

fn folder_of(target: &Path) -> &Path {
    target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

enum Message {
    Piece(Bytes),
    End,
}

/// Writes `body` behind the first `kept` bytes of `partial` and gives it its name. `Ok`: durable under that name, bytes of the whole
/// file. `Err`, and dropping the future: the name is as it was before. Holds a few pieces at most.
pub(crate) async fn write_file(
    pool: &Pool,
    (mut partial, kept): (Partial, u64),
    mut body: impl Stream<Item = Result<Bytes, Failure>> + Unpin,
    modified: Option<SystemTime>,
) -> Result<u64, Failure> {
    let (sender, mut receiver) = mpsc::channel(PIECES_WAITING);
    let target = partial.target.clone();
    let writing = pool.run(move || -> io::Result<()> {
        partial.keep(kept)?;
        loop {
            match receiver.blocking_recv() {
                Some(Message::Piece(piece)) => partial.file.write_all(&piece)?,
                Some(Message::End) => return partial.finish(modified),
                None => return Ok(()),
            }
        }
    });
    let feeding = async move {
        let mut bytes = kept;
        while let Some(piece) = body.next().await {
            let piece = piece?;
            bytes += piece.len() as u64;
            if sender.send(Message::Piece(piece)).await.is_err() {
                // The disk said no; its error is the one to tell.
                return Ok(bytes);
            }
        }
        let _ = sender.send(Message::End).await;
        Ok(bytes)
    };
    let (written, fed) = tokio::join!(writing, feeding);
    written.map_err(|error| Failure::local(&target, "write the file", &error))?;
    fed
}

/// Makes the folders of `relative` below `root`, following no symbolic link below it, and returns the path of the file.
pub(crate) fn prepare(root: &Path, relative: &Path) -> Result<PathBuf, Failure> {
    make_folders(root, relative.parent().unwrap_or(Path::new("")))?;
    Ok(root.join(relative))
}

/// Makes `root` and the folders of `relative` below it, following no symbolic link below it.
pub(crate) fn make_folders(root: &Path, relative: &Path) -> Result<(), Failure> {
    if !root.as_os_str().is_empty() {
        make_folder(root, true)?;
    }
    let mut at = root.to_owned();
    for component in relative.components() {
        at.push(component);
        make_folder(&at, false)?;
    }
    Ok(())
}

fn make_folder(path: &Path, is_root: bool) -> Result<(), Failure> {
    let made = if is_root { std::fs::create_dir_all(path) } else { std::fs::create_dir(path) };
    match made {
        Ok(()) if is_root => return Ok(()),
        Ok(()) => {
            // Its name must last as long as what is fsynced inside it.
            let synced = File::open(folder_of(path)).and_then(|folder| folder.sync_all());
            return synced.map_err(|error| Failure::local(path, "make the folder", &error));
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(Failure::local(path, "make the folder", &error)),
    }
    let metadata = std::fs::symlink_metadata(path).map_err(|error| Failure::local(path, "look at it", &error))?;
    if metadata.is_dir() {
        return Ok(());
    }
    let what = if metadata.is_symlink() { "a symbolic link, which is not followed" } else { "not a folder" };
    Err(Failure::new(Exit::Conflict, format!("it is {what}")).at(path.display()).advise("move it out of the way"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream;
    use std::time::Duration;

    fn pieces(list: &[Result<&'static str, ()>]) -> impl Stream<Item = Result<Bytes, Failure>> + Unpin + use<> {
        let list: Vec<_> = list.iter().map(|piece| piece.map(|text| Bytes::from_static(text.as_bytes()))).collect();
        stream::iter(list).map(|piece| piece.map_err(|()| Failure::new(Exit::Corrupt, "damaged")))
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn bytes_in(folder: &Path) -> u64 {
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
    }

    #[test]
    fn what_another_file_shares_or_holds_is_not_gone_on_with() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("f");
        let mut partial = Partial::open(&target).unwrap();
        partial.file.set_len(KEEP_MIN_BYTES).unwrap();
        let place = partial.temporary.clone();
        assert_eq!(Partial::open(&target).unwrap().length(), 0, "another download is at it");
        drop(partial);
        assert_eq!(Partial::open(&target).unwrap().length(), KEEP_MIN_BYTES);
        std::fs::hard_link(&place, folder.path().join("other")).unwrap();
        partial = Partial::open(&target).unwrap();
        assert_eq!(partial.length(), 0);
        partial.file.set_len(KEEP_MIN_BYTES).unwrap();
        drop(partial);
        assert_eq!(names(folder.path()).len(), 2, "one that nobody finds again is not left behind");
    }

    #[tokio::test]
    async fn a_whole_file_appears_under_its_name_with_its_time() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("x".repeat(255));
        let modified = SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 5);
        let written = write_file(
            &Pool::new(1),
            (Partial::open(&target).unwrap(), 0),
            pieces(&[Ok("ab"), Ok("c")]),
            Some(modified),
        )
        .await;
        assert_eq!(written, Ok(3));
        assert_eq!(std::fs::read(&target).unwrap(), b"abc");
        assert_eq!(std::fs::metadata(&target).unwrap().modified().unwrap(), modified);
        assert_eq!(write_file(&Pool::new(1), (Partial::open(&target).unwrap(), 0), pieces(&[]), None).await, Ok(0));
        assert_eq!(names(folder.path()), ["x".repeat(255)]);
    }

    #[tokio::test]
    async fn a_body_that_fails_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("f");
        std::fs::write(&target, "old").unwrap();
        let failed =
            write_file(&Pool::new(1), (Partial::open(&target).unwrap(), 0), pieces(&[Ok("new"), Err(())]), None).await;
        assert_eq!(failed.unwrap_err().exit, Exit::Corrupt);
        assert_eq!(std::fs::read(&target).unwrap(), b"old");
        assert_eq!(names(folder.path()), ["f"]);
    }

    #[tokio::test]
    async fn a_download_of_little_that_is_dropped_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (pool, target) = (Pool::new(1), folder.path().join("f"));
        let stuck = pieces(&[Ok("half")]).chain(stream::pending());
        let writing = Box::pin(write_file(&pool, (Partial::open(&target).unwrap(), 0), stuck, None));
        let written = tokio::select! {
            biased;
            written = writing => Some(written),
            () = async { while bytes_in(folder.path()) == 0 { tokio::task::yield_now().await } } => None,
        };
        assert_eq!(written, None);
        // The pool has one thread: this runs after the writer has ended.
        pool.run(|| ()).await;
        assert_eq!(names(folder.path()), [""; 0]);
    }

    #[tokio::test]
    async fn a_download_that_broke_off_goes_on_behind_what_is_right() {
        let folder = tempfile::tempdir().unwrap();
        let (pool, target) = (Pool::new(1), folder.path().join("f"));
        let half = "x".repeat(KEEP_MIN_BYTES as usize);
        let body = stream::iter([Ok(Bytes::from(half.clone())), Err(Failure::new(Exit::Network, "gone"))]);
        let failed = write_file(&pool, (Partial::open(&target).unwrap(), 0), body, None).await;
        assert!(failed.is_err() && !target.exists());
        assert!(names(folder.path()).iter().all(|name| is_partial(Path::new(name))));
        let partial = Partial::open(&target).unwrap();
        assert_eq!(partial.length(), KEEP_MIN_BYTES);
        // Another download to the same place at the same time has a file of its own.
        assert_eq!(Partial::open(&target).unwrap().length(), 0);
        assert_eq!(write_file(&pool, (partial, 10), pieces(&[Ok("end")]), None).await, Ok(13));
        assert_eq!(std::fs::read(&target).unwrap(), format!("{}end", &half[..10]).as_bytes());
        assert_eq!(names(folder.path()), ["f"]);
    }

    #[test]
    fn nothing_is_written_through_a_link_below_the_target() {
        let folder = tempfile::tempdir().unwrap();
        let (root, outside) = (folder.path().join("root"), folder.path().join("outside"));
        std::fs::create_dir_all(&root).unwrap();
        std::fs::create_dir_all(&outside).unwrap();
        std::os::unix::fs::symlink(&outside, root.join("link")).unwrap();
        assert_eq!(prepare(&root, Path::new("link/f")).unwrap_err().exit, Exit::Conflict);
        assert_eq!(prepare(&root, Path::new("a/b/f")).unwrap(), root.join("a/b/f"));
        assert!(root.join("a/b").is_dir() && names(&outside).is_empty());
        std::fs::write(root.join("plain"), "").unwrap();
        assert_eq!(prepare(&root, Path::new("plain/f")).unwrap_err().exit, Exit::Conflict);
    }
}
