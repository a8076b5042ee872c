//! The log in a folder: raft-engine, with what it reads at the start taken from the disk and not from the cache.
//!
//! A tail that a crash tore is cut. It is never cut before what is known to have been synced ([`Marker`]): then the log is damaged,
//! or an old copy, and the master must not vote or count as having what it once acknowledged.

use super::marker::Marker;
use super::watched::Watched;
use super::{LogError, LogStore};
use cairn_common::seam::{Disk as _, OpenMode, RealDisk, seeded_bug};
use raft::eraftpb::{Entry, HardState};
use raft_engine::{Config, Engine, LogBatch, MessageExt, ReadableSize, RecoveryMode};
use std::path::Path;
use std::sync::Arc;

/// Size of one log file.
const FILE_BYTES: u64 = 32 << 20;

/// Log files beyond this are looked through for ones that are not needed any more.
const PURGE_BYTES: u64 = 128 << 20;

/// A log in a folder, by raft-engine: checksummed, several files, recycled.
pub struct EngineLog {
    engine: Engine<Watched>,
    marker: Marker,
    /// Number of the last synced write.
    written: u64,
}

/// There is one Raft group; more will be told apart by this number.
const GROUP: u64 = 1;

const HARD_STATE: &[u8] = b"hard-state";

const TRUNCATED: &[u8] = b"truncated";

/// Number of the write that a record is part of.
const WRITTEN: &[u8] = b"written";

struct EntryExt;

impl MessageExt for EntryExt {
    type Entry = Entry;

    fn index(entry: &Entry) -> u64 {
        entry.index
    }
}

impl EngineLog {
    /// Opens or makes the log in `folder`, and beside it, in `folder.synced`, the marker of what was synced. A tail that was torn
    /// by a crash is cut; damage before it is an error, and then nothing is changed. What is found is on disk: see [`settle`].
    pub fn open(folder: &Path) -> Result<EngineLog, LogError> {
        settle(folder).map_err(|error| LogError(format!("{}: {error}", folder.display())))?;
        let marker = Marker::open(&folder.with_extension("synced"))?;
        let watched = Arc::new(Watched::new());
        let engine = open_engine(folder, &watched)?;
        let written = written(&engine)?;
        if written < marker.number() && !seeded_bug("cut-synced-tail") {
            return Err(LogError(lacks(folder, written, marker.number())));
        }
        watched.cutting.allow();
        let engine = if watched.cutting.was_refused() {
            drop(engine);
            let engine = open_engine(folder, &watched)?;
            tracing::info!(folder = %folder.display(), written, "the torn tail of the log was cut");
            engine
        } else {
            engine
        };
        Ok(EngineLog { engine, marker, written })
    }

    /// Writes a batch and syncs it.
    fn write(&mut self, mut batch: LogBatch) -> Result<(), LogError> {
        let number = self.written + 1;
        batch.put(GROUP, WRITTEN.to_vec(), number.to_be_bytes().to_vec()).map_err(engine_error)?;
        let sync = !seeded_bug("skip-log-sync");
        self.engine.write(&mut batch, sync).map_err(engine_error)?;
        self.written = number;
        self.marker.advance(number.max(self.marker.number() + 1))
    }
}

fn open_engine(folder: &Path, watched: &Arc<Watched>) -> Result<Engine<Watched>, LogError> {
    let dir = folder.to_str().ok_or_else(|| LogError(format!("{} is not UTF-8", folder.display())))?;
    let config = Config {
        dir: dir.to_owned(),
        recovery_mode: RecoveryMode::TolerateTailCorruption,
        recovery_threads: 1,
        // Bodies are mostly incompressible, and compression would cost more than it saves.
        batch_compression_threshold: ReadableSize(0),
        target_file_size: ReadableSize(FILE_BYTES),
        purge_threshold: ReadableSize(PURGE_BYTES),
        enable_log_recycle: true,
        ..Config::default()
    };
    Engine::open_with_file_system(config, Arc::clone(watched))
        .map_err(|error| LogError(format!("{} is damaged: {error}. {HELP}", folder.display())))
}

/// Number of the last write that the log has.
fn written(engine: &Engine<Watched>) -> Result<u64, LogError> {
    match engine.get(GROUP, WRITTEN) {
        None => Ok(0),
        Some(bytes) => <[u8; 8]>::try_from(bytes)
            .map(u64::from_be_bytes)
            .map_err(|_| LogError("the number of the last write is damaged".to_owned())),
    }
}

const HELP: &str = "Nothing was changed. If other masters vote, take this one out with `cairn admin master remove`, and let a node \
                    with an empty data folder and a new join token take its place. If it is the only one, bring the right files \
                    back, or else a backup with `cairn master restore`";

fn lacks(folder: &Path, written: u64, synced: u64) -> String {
    format!(
        "{} ends behind write {written}, and write {synced} was on disk: the disk has damaged or lost what it had taken, or an old \
         copy was put in its place. {HELP}",
        folder.display()
    )
}

/// Syncs the files of a log and drops them from the page cache, so that what is read next is what the disk holds. The last run may
/// have ended with a failed sync, after which the cache shows entries that are nowhere else (P6). They must not be written again
/// instead: appending an entry forgets all behind it, so a crash in between would lose some that were acknowledged.
fn settle(folder: &Path) -> std::io::Result<()> {
    if !RealDisk.exists(folder)? {
        return Ok(());
    }
    for name in RealDisk.list(folder)? {
        let file = RealDisk.open(&folder.join(name), OpenMode::Read)?;
        file.sync_data()?;
        file.drop_cache(0, 0)?;
    }
    RealDisk.sync_dir(folder)
}

fn engine_error(error: raft_engine::Error) -> LogError {
    LogError(error.to_string())
}

impl LogStore for EngineLog {
    fn hard_state(&self) -> Result<HardState, LogError> {
        Ok(self.engine.get_message(GROUP, HARD_STATE).map_err(engine_error)?.unwrap_or_default())
    }

    fn truncated(&self) -> Result<(u64, u64), LogError> {
        match self.engine.get(GROUP, TRUNCATED) {
            None => Ok((0, 0)),
            Some(bytes) => match <[u8; 16]>::try_from(bytes) {
                Ok(bytes) => {
                    let both = u128::from_be_bytes(bytes);
                    Ok(((both >> 64) as u64, both as u64))
                }
                Err(_) => Err(LogError("the record of the first entry is damaged".to_owned())),
            },
        }
    }

    fn last_index(&self) -> Result<u64, LogError> {
        let truncated = self.truncated()?.0;
        Ok(self.engine.last_index(GROUP).unwrap_or(truncated).max(truncated))
    }

    fn append(&mut self, entries: &[Entry], hard_state: Option<&HardState>) -> Result<(), LogError> {
        let mut batch = LogBatch::default();
        batch.add_entries::<EntryExt>(GROUP, entries).map_err(engine_error)?;
        if let Some(hard_state) = hard_state {
            batch.put_message(GROUP, HARD_STATE.to_vec(), hard_state).map_err(engine_error)?;
        }
        self.write(batch)
    }

    fn entries(&self, low: u64, high: u64) -> Result<Vec<Entry>, LogError> {
        let mut entries = Vec::new();
        self.engine.fetch_entries_to::<EntryExt>(GROUP, low, high, None, &mut entries).map_err(engine_error)?;
        Ok(entries)
    }

    fn reset(&mut self, index: u64, term: u64) -> Result<(), LogError> {
        let old = self.hard_state()?;
        // The vote of this term or a later one stands.
        let (term_, vote) = if old.term >= term { (old.term, old.vote) } else { (term, 0) };
        let hard_state = HardState { term: term_, vote, commit: index, ..HardState::default() };
        let mut batch = LogBatch::default();
        batch.add_command(GROUP, raft_engine::Command::Clean);
        let both = u128::from(index) << 64 | u128::from(term);
        batch.put(GROUP, TRUNCATED.to_vec(), both.to_be_bytes().to_vec()).map_err(engine_error)?;
        batch.put_message(GROUP, HARD_STATE.to_vec(), &hard_state).map_err(engine_error)?;
        self.write(batch)
    }

    fn compact(&mut self, index: u64, term: u64) -> Result<(), LogError> {
        let mut batch = LogBatch::default();
        let both = u128::from(index) << 64 | u128::from(term);
        batch.put(GROUP, TRUNCATED.to_vec(), both.to_be_bytes().to_vec()).map_err(engine_error)?;
        self.engine.write(&mut batch, false).map_err(engine_error)?;
        self.engine.compact_to(GROUP, index + 1);
        self.engine.purge_expired_files().map_err(engine_error)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
