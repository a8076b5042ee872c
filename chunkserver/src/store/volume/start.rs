//! Bringing a volume up: its identity, then its index, then its packs, then its thread.

use super::super::index::{ChunkIndex, Indexes};
use super::super::pack::Position;
use super::append::Appender;
use super::changes::PackRows;
use super::folder::{FolderError, FolderState, VolumeFolder};
use super::identity::VolumeIdentity;
use super::recover::{self, Found, RecoverError};
use super::shared::{Beginning, Shared, VolumeSettings};
use super::worker::Worker;
use super::{Volume, reserve, space};
use cairn_common::ids::{BootCount, ClusterId, Generation, NodeId, Stamp, VolumeId};
use cairn_common::limits::APPEND_QUEUE_MAX;
use cairn_common::seam::{Clock, DiskTrouble, Random, Threads, seeded_bug};
use std::io;
use std::sync::Arc;
use tokio::sync::{Notify, mpsc};

/// As what the masters admitted a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    /// The cluster.
    pub cluster: ClusterId,
    /// Its generation.
    pub generation: Generation,
    /// The node.
    pub node: NodeId,
    /// The incarnation.
    pub volume: VolumeId,
    /// The run of the node.
    pub boot: BootCount,
    /// Stamp of the entry that admitted it: a floor for touches that may have been lost.
    pub stamp: Stamp,
}

/// What a volume is given.
pub struct VolumeSeams<'a> {
    /// For the times of verifications.
    pub clock: Arc<dyn Clock>,
    /// For the secret of a new volume.
    pub random: &'a dyn Random,
    /// Opens its index.
    pub indexes: &'a dyn Indexes,
    /// Notified when the volume fails.
    pub failed: Arc<Notify>,
    /// Which threads change it.
    pub threads: Threads,
}

/// A volume that does not start.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// Its folder is not what it should be.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// It was taken out for ever.
    #[error("it was retired ({0}): replace the disk, or empty the folder to make it a new volume")]
    Retired(String),
    /// It is another volume than the one that was admitted.
    #[error("it is volume {found}, not {admitted}")]
    Other {
        /// What is there.
        found: VolumeId,
        /// What should be.
        admitted: VolumeId,
    },
    /// Its packs or its index cannot be brought up.
    #[error(transparent)]
    Recover(#[from] RecoverError),
    /// Its disk gives errors when it is asked.
    #[error("the disk cannot be read: {0}")]
    Read(#[source] io::Error),
    /// Its disk gives errors when something is written or synced.
    #[error("the disk cannot be written: {0}")]
    Write(#[source] io::Error),
}

impl VolumeError {
    /// Whether the device failed to keep something, so that this incarnation must not serve again (P6).
    pub fn is_broken(&self) -> bool {
        let (VolumeError::Write(error) | VolumeError::Recover(RecoverError::Write(error))) = self else { return false };
        DiskTrouble::of(error) == DiskTrouble::Broken
    }
}

impl Volume {
    /// Starts the volume in `folder`, or makes it one. When it returns, the boot count is on the disk, and everything that the
    /// volume will ever attest was read from the disk or is in its index. Blocks for as long as that takes.
    pub fn start(
        folder: VolumeFolder,
        admission: Admission,
        seams: &VolumeSeams<'_>,
        settings: VolumeSettings,
    ) -> Result<Volume, VolumeError> {
        let begun = begin(&folder, admission, seams).inspect_err(|error| {
            if error.is_broken() {
                // Best effort: the disk may be too broken for that. The masters are told as well.
                let _ = folder.mark_retired(admission.volume, &error.to_string());
            }
        });
        let (identity, index, found) = begun?;
        let total_bytes = folder.disk().space(folder.root()).map_err(VolumeError::Read)?.total_bytes;
        let capacity_bytes = settings.capacity_bytes.map_or(total_bytes, |configured| configured.min(total_bytes));
        let pack_bytes = space::pack_bytes(capacity_bytes, settings.pack_bytes);
        let beginning = Beginning {
            end: end_of(&found.rows),
            rows: found.rows.clone(),
            file_bytes: found.file_bytes,
            damaged: found.damaged,
        };
        let (clock, failed) = (Arc::clone(&seams.clock), Arc::clone(&seams.failed));
        let shared = Shared::new(folder, identity, settings, pack_bytes, index, (clock, failed), beginning);
        let shared = Arc::new(shared);
        let appender = Appender::new(Arc::clone(&shared), found.active, found.next_number, found.rows);
        let (queue, jobs) = mpsc::channel(APPEND_QUEUE_MAX);
        let name = format!("append-{}", shared.folder.label());
        let worker = Worker::new(seams.threads, &name, appender, jobs);
        Ok(Volume { shared, queue: Some(queue), worker, findings: found.findings })
    }
}

/// Stores the new run on the disk, then finds out what the disk holds.
fn begin(
    folder: &VolumeFolder,
    admission: Admission,
    seams: &VolumeSeams<'_>,
) -> Result<(VolumeIdentity, Arc<dyn ChunkIndex>, Found), VolumeError> {
    let before = match folder.state()? {
        FolderState::Retired(_, reason) => return Err(VolumeError::Retired(reason)),
        FolderState::Volume(identity) => Some(identity),
        FolderState::Empty => None,
    };
    let Admission { cluster, generation, node, volume, boot, stamp } = admission;
    if let Some(before) = before.as_ref().filter(|before| before.volume != volume) {
        return Err(VolumeError::Other { found: before.volume, admitted: volume });
    }
    if let Err(error) = reserve::make_room_to_start(folder) {
        // If it was needed, the next step says so.
        tracing::warn!(%volume, %error, "no room was made to start in");
    }
    let mark = folder.clean_mark().map_err(VolumeError::Read)?;
    folder.take_clean_mark_away().map_err(VolumeError::Write)?;
    let index = seams.indexes.open(&folder.index_path(), volume).map_err(RecoverError::from)?;
    let rows: PackRows = index.packs().map_err(RecoverError::from)?.into_iter().collect();
    let (salt, touch_floor) = match before {
        // The index has every touch only if it was flushed at the end of the last run, and is still that index.
        Some(before) if mark.is_some_and(|mark| mark.boot == before.boot && mark.end == end_of(&rows)) => {
            (before.salt, before.touch_floor)
        }
        Some(before) if seeded_bug("no-touch-floor") => (before.salt, before.touch_floor),
        Some(before) => (before.salt, before.touch_floor.max(stamp)),
        None => {
            let mut salt = [0; 32];
            seams.random.fill(&mut salt);
            (salt, Stamp::ZERO)
        }
    };
    let identity = VolumeIdentity { cluster, generation, node, volume, boot, touch_floor, salt };
    folder.write_identity(&identity).map_err(VolumeError::Write)?;
    let found = recover::recover(folder, &identity, &index, rows)?;
    Ok((identity, index, found))
}

/// Where the last pack that the index knows ends.
fn end_of(rows: &PackRows) -> Position {
    rows.iter().next_back().map_or(Position::ZERO, |(pack, row)| Position { pack: *pack, offset: row.covered })
}
