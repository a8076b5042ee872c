//! The state's database, and its replacement by one that came from another master.
//!
//! A database is a folder `state-N`; the file `state.current` says which one counts, and at which position of the log it was taken over
//! from elsewhere, if it was. A new one is filled beside it, and named only when it is whole and durable, so that a crash leaves
//! the old or the new one. The old one is not needed by anybody then: what this member acknowledged from its log is in the new.

use crate::store::{MetaStore as _, RocksMemory, RocksStore, StoreError};
use arc_swap::ArcSwap;
use cairn_common::seam::Disk;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Which database counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Current {
    number: u64,
    /// Index and term of the position at which it was taken over. The log must begin there or later.
    taken_over: Option<(u64, u64)>,
}

/// The database that counts now.
pub(crate) struct Stores {
    folder: PathBuf,
    disk: Arc<dyn Disk>,
    memory: RocksMemory,
    current: ArcSwap<RocksStore>,
    named: std::sync::Mutex<Current>,
    /// Number of the newest database that was made, whether or not it ever counts: a folder is never used twice in a run, so that
    /// nothing is removed under one that is about to count.
    made: AtomicU64,
}

/// A database that is whole and does not count yet.
pub(crate) struct NewStore {
    pub(crate) store: Arc<RocksStore>,
    number: u64,
}

impl Stores {
    /// Opens the database in `folder`, or makes it. Removes those that do not count.
    pub(crate) fn open(folder: &Path, disk: Arc<dyn Disk>, memory: RocksMemory) -> Result<Stores, StoreError> {
        let pointer = folder.join("state.current");
        let failed = |error: &dyn std::fmt::Display| StoreError::Failed(format!("{}: {error}", pointer.display()));
        disk.create_dir_all(folder).map_err(|error| failed(&error))?;
        let named = if disk.exists(&pointer).map_err(|error| failed(&error))? {
            let bytes = disk.read(&pointer).map_err(|error| failed(&error))?;
            serde_json::from_slice(&bytes)
                .map_err(|error| StoreError::Damaged(format!("{}: {error}", pointer.display())))?
        } else {
            check_not_wiped(disk.as_ref(), folder)?;
            let first = Current { number: 1, taken_over: None };
            write(disk.as_ref(), folder, first).map_err(|error| failed(&error))?;
            first
        };
        remove_others(folder, named.number).map_err(|error| failed(&error))?;
        let store = RocksStore::open(&path(folder, named.number), &memory)?;
        if store.applied()?.index > 0 {
            note_member(disk.as_ref(), folder).map_err(|error| failed(&error))?;
        }
        Ok(Stores {
            folder: folder.to_owned(),
            disk,
            memory,
            current: ArcSwap::from_pointee(store),
            named: std::sync::Mutex::new(named),
            made: AtomicU64::new(named.number),
        })
    }

    /// The database that counts now. Hold it briefly: after a replacement it shows the past.
    pub(crate) fn current(&self) -> Arc<RocksStore> {
        self.current.load_full()
    }

    /// Index and term at which the state was taken over from another master, if it was: the log must not begin before.
    pub(crate) fn taken_over(&self) -> Option<(u64, u64)> {
        self.named().taken_over
    }

    /// An empty database beside the one that counts.
    pub(crate) fn make_new(&self) -> Result<NewStore, StoreError> {
        let number = self.made.fetch_add(1, Ordering::Relaxed) + 1;
        let path = path(&self.folder, number);
        if path.exists() {
            std::fs::remove_dir_all(&path)
                .map_err(|error| StoreError::Failed(format!("{}: {error}", path.display())))?;
        }
        Ok(NewStore { store: Arc::new(RocksStore::open(&path, &self.memory)?), number })
    }

    /// Makes a whole and durable database the one that counts. Durable on return.
    pub(crate) fn replace(&self, new: NewStore) -> Result<(), StoreError> {
        let position = new.store.flushed()?;
        self.note_member()?;
        let named = Current { number: new.number, taken_over: Some((position.index, position.term)) };
        write(self.disk.as_ref(), &self.folder, named).map_err(|error| StoreError::Failed(error.to_string()))?;
        *self.named.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = named;
        self.current.store(new.store);
        Ok(())
    }

    /// Remembers, outside the folder, that this node is a member of its group. Durable on return.
    pub(crate) fn note_member(&self) -> Result<(), StoreError> {
        note_member(self.disk.as_ref(), &self.folder).map_err(|error| StoreError::Failed(error.to_string()))
    }

    fn named(&self) -> Current {
        *self.named.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Makes the first database of a folder that holds none, whatever it held before, and has `fill` fill it. It counts from the
/// moment on at which it is whole and durable. `None`: the folder has a database, or a log.
pub(crate) fn make_first<T, E: From<StoreError>>(
    folder: &Path,
    disk: &dyn Disk,
    memory: &RocksMemory,
    fill: impl FnOnce(&RocksStore) -> Result<T, E>,
) -> Result<Option<T>, E> {
    let failed = |error: io::Error| StoreError::Failed(format!("{}: {error}", folder.display()));
    disk.create_dir_all(folder).map_err(failed)?;
    for name in ["state.current", "log"] {
        if disk.exists(&folder.join(name)).map_err(failed)? {
            return Ok(None);
        }
    }
    let number = 1;
    remove_others(folder, number + 1).map_err(failed)?;
    let store = RocksStore::open(&path(folder, number), memory)?;
    let made = fill(&store)?;
    store.flush()?;
    let position = store.flushed()?;
    note_member(disk, folder).map_err(failed)?;
    let named = Current { number, taken_over: Some((position.index, position.term)) };
    write(disk, folder, named).map_err(failed)?;
    Ok(Some(made))
}

/// Beside the folder, not in it: there from before this node can first vote, so that a member whose folder is empty (wiped, or
/// not mounted) is told from a node that joins. It would vote again in terms in which it voted, and miss what it
/// acknowledged; the first of a cluster would even begin a second one under the same identity.
fn witness(folder: &Path) -> PathBuf {
    folder.with_extension("member")
}

fn note_member(disk: &dyn Disk, folder: &Path) -> io::Result<()> {
    let witness = witness(folder);
    if disk.exists(&witness)? {
        return Ok(());
    }
    disk.replace(&witness, b"This node is a member of its masters' group.\n")
}

fn check_not_wiped(disk: &dyn Disk, folder: &Path) -> Result<(), StoreError> {
    let witness = witness(folder);
    if !disk.exists(&witness).map_err(|error| StoreError::Failed(error.to_string()))? {
        return Ok(());
    }
    Err(StoreError::Damaged(format!(
        "{} holds nothing, and {} says that this node was a member of the masters' group. If it is on a disk that is not mounted, \
         mount it. Else the state is lost here: take this master out with `cairn admin master remove`, and let a node with an \
         empty data folder and a new join token take its place",
        folder.display(),
        witness.display()
    )))
}

fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("state-{number}"))
}

fn write(disk: &dyn Disk, folder: &Path, named: Current) -> io::Result<()> {
    disk.replace(&folder.join("state.current"), &serde_json::to_vec(&named)?)
}

/// RocksDB's folders are its own: they are made and removed with the standard library, not through the seam.
fn remove_others(folder: &Path, keep: u64) -> io::Result<()> {
    let keep = path(folder, keep);
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let is_state = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("state-"));
        if is_state && path != keep {
            std::fs::remove_dir_all(path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{MetaStore, MetaView as _, Position, Table, WriteBatch};
    use cairn_common::ids::Stamp;
    use cairn_common::seam::RealDisk;

    fn open(folder: &Path) -> Stores {
        Stores::open(folder, Arc::new(RealDisk), RocksMemory::new(1 << 20, 1 << 20)).unwrap()
    }

    fn write_row(store: &dyn MetaStore, value: &'static [u8], index: u64) {
        let mut batch = WriteBatch::new();
        batch.put(Table::System, &b"k"[..], value);
        store.write(&batch, &Position::default().after(index, 1, Stamp(index), &batch)).unwrap();
        store.flush().unwrap();
    }

    #[test]
    fn a_member_whose_folder_was_wiped_is_refused_and_a_node_that_only_began_to_join_is_not() {
        let data = tempfile::tempdir().unwrap();
        let folder = data.path().join("master");
        drop(open(&folder));
        std::fs::remove_dir_all(&folder).unwrap();
        let stores = open(&folder);
        let new = stores.make_new().unwrap();
        write_row(new.store.as_ref(), b"new", 9);
        stores.replace(new).unwrap();
        drop(stores);
        drop(open(&folder));
        std::fs::remove_dir_all(&folder).unwrap();
        let memory = RocksMemory::new(1 << 20, 1 << 20);
        let refused = Stores::open(&folder, Arc::new(RealDisk), memory).err().unwrap().to_string();
        assert!(refused.contains("admin master remove"), "{refused}");
    }

    #[test]
    fn a_replaced_state_is_there_after_a_restart_and_a_half_made_one_is_not() {
        let data = tempfile::tempdir().unwrap();
        let folder = data.path().join("master");
        let stores = open(&folder);
        write_row(stores.current().as_ref(), b"old", 3);
        let old = stores.current();
        let new = stores.make_new().unwrap();
        write_row(new.store.as_ref(), b"new", 9);
        stores.replace(new).unwrap();
        assert_eq!(stores.current().get(Table::System, b"k").unwrap().unwrap(), &b"new"[..]);
        assert_eq!(old.get(Table::System, b"k").unwrap().unwrap(), &b"old"[..]);
        let half = stores.make_new().unwrap();
        write_row(half.store.as_ref(), b"half", 12);
        drop((half, old, stores));
        let stores = open(&folder);
        assert_eq!(stores.taken_over(), Some((9, 1)));
        assert_eq!(stores.current().get(Table::System, b"k").unwrap().unwrap(), &b"new"[..]);
        let folders = std::fs::read_dir(&folder).unwrap();
        assert_eq!(folders.filter(|entry| entry.as_ref().unwrap().path().is_dir()).count(), 1);
    }
}
