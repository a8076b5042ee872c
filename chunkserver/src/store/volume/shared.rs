//! What the appender, readers and reports of a volume share.

use super::super::index::{ChunkIndex, IndexBatch, IndexError};
use super::super::lru::Lru;
use super::super::pack::{PackKey, PackNumber, Position};
use super::changes::{PackRows, apply_to};
use super::folder::VolumeFolder;
use super::identity::VolumeIdentity;
use super::read::Locations;
use super::space::{Space, SpaceFacts};
use cairn_common::limits::PACK_FILES_OPEN_MAX;
use cairn_common::seam::{Clock, DiskFile, OpenMode};
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// How a volume is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It takes changes.
    Serving,
    /// It takes none until it is started again, and serves what it can.
    Failed(String),
    /// It lost what it had promised to keep, or may have: this incarnation never takes changes again (P6).
    Retired(String),
}

/// Settings of a volume.
#[derive(Clone, Copy, Debug, Default)]
pub struct VolumeSettings {
    /// Bytes that it may use; `None`: all of its file system.
    pub capacity_bytes: Option<u64>,
    /// Size of its packs; `None`: [`PACK_BYTES`](cairn_common::limits::PACK_BYTES), less on a small volume.
    pub pack_bytes: Option<u32>,
    /// Bytes of packs that a start may have to read again; `None`: [`INDEX_LAG_BYTES`](cairn_common::limits::INDEX_LAG_BYTES).
    pub index_lag_bytes: Option<u64>,
}

pub(super) struct Shared {
    pub(super) folder: VolumeFolder,
    pub(super) identity: VolumeIdentity,
    pub(super) settings: VolumeSettings,
    pub(super) pack_bytes: u32,
    pub(super) index: Arc<dyn ChunkIndex>,
    pub(super) clock: Arc<dyn Clock>,
    failed: Arc<Notify>,
    pub(super) locations: Locations,
    /// Damaged records that were found since the start.
    pub(super) damaged: AtomicU64,
    /// Groups that were made durable since the start.
    pub(super) groups: AtomicU64,
    appended: AtomicU64,
    last_space: Mutex<Option<Space>>,
    health: Mutex<Health>,
    packs: Mutex<Packs>,
    files: Mutex<Lru<PackNumber, Arc<dyn DiskFile>>>,
}

/// What is known of the packs.
#[derive(Debug, Default)]
struct Packs {
    rows: PackRows,
    /// Allocated length of each file.
    file_bytes: BTreeMap<PackNumber, u64>,
    /// Unwritten bytes of the pack that is being appended to.
    room_bytes: u64,
    reserve_bytes: u64,
    index_room_bytes: u64,
}

/// What a start found, to begin with.
pub(super) struct Beginning {
    pub(super) rows: PackRows,
    pub(super) file_bytes: BTreeMap<PackNumber, u64>,
    pub(super) damaged: u64,
    pub(super) end: Position,
}

impl Shared {
    pub(super) fn new(
        folder: VolumeFolder,
        identity: VolumeIdentity,
        settings: VolumeSettings,
        pack_bytes: u32,
        index: Arc<dyn ChunkIndex>,
        (clock, failed): (Arc<dyn Clock>, Arc<Notify>),
        beginning: Beginning,
    ) -> Shared {
        let Beginning { rows, file_bytes, damaged, end } = beginning;
        Shared {
            folder,
            identity,
            settings,
            pack_bytes,
            index,
            clock,
            failed,
            locations: Locations::default(),
            damaged: AtomicU64::new(damaged),
            groups: AtomicU64::new(0),
            appended: AtomicU64::new(end.to_number()),
            last_space: Mutex::new(None),
            health: Mutex::new(Health::Serving),
            packs: Mutex::new(Packs { rows, file_bytes, ..Packs::default() }),
            files: Mutex::new(Lru::new(PACK_FILES_OPEN_MAX)),
        }
    }

    pub(super) fn health(&self) -> Health {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A volume gets only worse.
    pub(super) fn worsen(&self, worse: Health) {
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        let gets_worse = match (&*health, &worse) {
            (Health::Serving, _) => true,
            (Health::Failed(_), Health::Retired(_)) => true,
            (_, _) => false,
        };
        if gets_worse {
            *health = worse;
            self.failed.notify_one();
        }
    }

    /// Asks the index. One that cannot be read knows nothing of what the volume holds, so the volume is taken out: its chunks are
    /// made again elsewhere, and the next start rebuilds or repairs it.
    pub(super) fn ask_index<T>(
        &self,
        ask: impl FnOnce(&dyn ChunkIndex) -> Result<T, IndexError>,
    ) -> Result<T, IndexError> {
        ask(&*self.index).inspect_err(|error| {
            tracing::error!(volume = %self.identity.volume, %error, "the index cannot be read");
            self.worsen(Health::Failed(format!("reading the index: {error}")));
        })
    }

    /// Every record at this position or behind it was, or will be, appended after this question.
    pub(super) fn appended(&self) -> Position {
        Position::from_number(self.appended.load(Ordering::Acquire))
    }

    pub(super) fn set_appended(&self, end: Position) {
        self.appended.store(end.to_number(), Ordering::Release);
    }

    /// Makes written changes known to readers.
    pub(super) fn publish(&self, batch: &IndexBatch, moved: &[cairn_common::chunk::ChunkAddress]) {
        apply_to(&mut self.packs().rows, batch);
        self.locations.forget(moved);
    }

    pub(super) fn pack_rows(&self) -> PackRows {
        self.packs().rows.clone()
    }

    pub(super) fn set_file(&self, number: PackNumber, bytes: Option<u64>) {
        let mut packs = self.packs();
        match bytes {
            Some(bytes) => packs.file_bytes.insert(number, bytes),
            None => packs.file_bytes.remove(&number),
        };
    }

    pub(super) fn set_room(&self, bytes: u64) {
        self.packs().room_bytes = bytes;
    }

    pub(super) fn reserve_bytes(&self) -> u64 {
        self.packs().reserve_bytes
    }

    pub(super) fn set_reserve(&self, bytes: u64) {
        self.packs().reserve_bytes = bytes;
    }

    pub(super) fn index_room_bytes(&self) -> u64 {
        self.packs().index_room_bytes
    }

    pub(super) fn set_index_room(&self, bytes: u64) {
        self.packs().index_room_bytes = bytes;
    }

    pub(super) fn space(&self) -> io::Result<Space> {
        let disk = self.folder.disk().space(self.folder.root())?;
        let packs = self.packs();
        let facts = SpaceFacts {
            configured_bytes: self.settings.capacity_bytes,
            disk_free_bytes: disk.free_bytes,
            packs_bytes: packs.file_bytes.values().sum(),
            room_bytes: packs.room_bytes,
            reserve_bytes: packs.reserve_bytes,
            index_room_bytes: packs.index_room_bytes,
            pack_bytes: u64::from(self.pack_bytes),
        };
        drop(packs);
        let space = facts.space();
        *self.last_space.lock().unwrap_or_else(PoisonError::into_inner) = Some(space);
        Ok(space)
    }

    /// Its space as it was last asked for.
    pub(super) fn last_space(&self) -> Option<Space> {
        *self.last_space.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Live chunks, and damaged records that are not settled.
    pub(super) fn counts(&self) -> (u64, u64) {
        let packs = self.packs();
        let sum =
            |of: fn(&super::super::index::PackRow) -> u32| packs.rows.values().map(|row| u64::from(of(row))).sum();
        (sum(|row| row.live_chunks), sum(|row| row.bad))
    }

    pub(super) fn key(&self, number: PackNumber) -> PackKey {
        PackKey::derive(&self.identity.salt, self.identity.volume, number)
    }

    /// A pack's file for reading. Opened files are kept, a bounded number of them.
    pub(super) fn file(&self, number: PackNumber) -> io::Result<Arc<dyn DiskFile>> {
        let known = self.files.lock().unwrap_or_else(PoisonError::into_inner).get(&number);
        if let Some(file) = known {
            return Ok(file);
        }
        let opened = self.folder.disk().open(&self.folder.pack_path(number), OpenMode::Read)?;
        let file: Arc<dyn DiskFile> = Arc::from(opened);
        self.files.lock().unwrap_or_else(PoisonError::into_inner).insert(number, Arc::clone(&file));
        Ok(file)
    }

    pub(super) fn forget_file(&self, number: PackNumber) {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
    }

    fn packs(&self) -> MutexGuard<'_, Packs> {
        self.packs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
