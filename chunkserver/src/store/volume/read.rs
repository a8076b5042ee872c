//! Reading chunks, and checking them against the disk.
//!
//! A read looks a chunk up once, remembers where it lies together with its outboard, and then serves any groups of it with one
//! pread. It does not check what it serves: the reader does, at the last place that handles the bytes (P3). What is not right
//! comes back as a report, and then the disk itself is asked.

use super::super::index::{BadRow, IndexError, Row, Why};
use super::super::lru::Lru;
use super::super::pack::{HEADER_BYTES, PackNumber, RecordError, WholeRecord, read_record};
use super::shared::Shared;
use bytes::Bytes;
use cairn_common::chunk::{ChunkAddress, Outboard};
use cairn_common::limits::LOCATIONS_CACHED_MAX;
use cairn_common::seam::DiskFile;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

/// A chunk that cannot be read here.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is not on this volume.
    #[error("the chunk is not here")]
    Absent,
    /// The disk does not give its bytes.
    #[error("the copy cannot be read: {0}")]
    Disk(#[from] io::Error),
    /// The index does not say where it is.
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// A chunk that was found and can be read, also while it is being moved or removed.
#[derive(Clone)]
pub(crate) struct ChunkReader {
    location: Arc<Location>,
    file: Arc<dyn DiskFile>,
}

impl ChunkReader {
    /// Length of the chunk, in bytes.
    pub(crate) fn length(&self) -> u32 {
        self.location.row.length
    }

    /// Chaining values of its groups, as they were stored.
    pub(crate) fn outboard(&self) -> &Bytes {
        &self.location.outboard
    }

    /// Bytes of the chunk, as they are on disk or in its cache. The range must lie in the chunk.
    pub(crate) fn read(&self, start: u32, end: u32) -> io::Result<Bytes> {
        let row = &self.location.row;
        assert!(start <= end && end <= row.length, "{start}..{end} of {} bytes", row.length);
        let mut bytes = vec![0; (end - start) as usize];
        let body = u64::from(row.position.offset) + HEADER_BYTES as u64 + self.location.outboard.len() as u64;
        self.file.read_exact_at(&mut bytes, body + u64::from(start))?;
        Ok(bytes.into())
    }
}

#[derive(Debug)]
struct Location {
    row: Row,
    outboard: Bytes,
}

/// Places of chunks that were read lately.
pub(super) struct Locations {
    state: Mutex<(Lru<ChunkAddress, Arc<Location>>, u64)>,
}

impl Default for Locations {
    fn default() -> Locations {
        Locations { state: Mutex::new((Lru::new(LOCATIONS_CACHED_MAX), 0)) }
    }
}

impl Locations {
    /// Forgets chunks that lie elsewhere now, or nowhere.
    pub(super) fn forget(&self, moved: &[ChunkAddress]) {
        if moved.is_empty() {
            return;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.1 += 1;
        moved.iter().for_each(|address| state.0.remove(address));
    }

    /// What is remembered, and the number of forgettings so far.
    fn get(&self, address: &ChunkAddress) -> (Option<Arc<Location>>, u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        (state.0.get(address), state.1)
    }

    /// Remembers what was looked up after `forgettings`, unless something was forgotten since.
    fn remember(&self, address: ChunkAddress, location: Arc<Location>, forgettings: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.1 == forgettings {
            state.0.insert(address, location);
        }
    }
}

/// How often a look-up is repeated when the pack it named is gone: compaction moved the chunk meanwhile.
const LOOKUPS_MAX: u32 = 3;

/// Finds a chunk for reading. Blocks on the disk.
pub(super) fn open(shared: &Shared, address: &ChunkAddress) -> Result<ChunkReader, ReadError> {
    let mut tries = 0;
    loop {
        tries += 1;
        match open_once(shared, address) {
            Err(ReadError::Disk(error)) if error.kind() == io::ErrorKind::NotFound && tries < LOOKUPS_MAX => {
                shared.locations.forget(&[*address]);
            }
            result => return result,
        }
    }
}

fn open_once(shared: &Shared, address: &ChunkAddress) -> Result<ChunkReader, ReadError> {
    let (known, forgettings) = shared.locations.get(address);
    if let Some(location) = known {
        let file = shared.file(location.row.position.pack)?;
        return Ok(ChunkReader { location, file });
    }
    let row = shared.ask_index(|index| index.get(address))?.ok_or(ReadError::Absent)?;
    let file = shared.file(row.position.pack)?;
    let mut outboard = vec![0; Outboard::encoded_len(row.length)];
    if !outboard.is_empty() {
        file.read_exact_at(&mut outboard, u64::from(row.position.offset) + HEADER_BYTES as u64)?;
    }
    let location = Arc::new(Location { row, outboard: outboard.into() });
    shared.locations.remember(*address, Arc::clone(&location), forgettings);
    Ok(ChunkReader { location, file })
}

/// What the disk says about a chunk.
pub(super) enum Checked {
    /// It is not here.
    Absent,
    /// Its record was read from the disk, and is right.
    Good(Row, WholeRecord),
    /// Its record is bad.
    Bad(Row, BadRow),
}

/// Reads the record of a chunk from the disk, past the page cache, and hashes it. A record that fails is read a second time,
/// so that one flipped bit on the way does not condemn a copy.
pub(super) fn check(shared: &Shared, address: &ChunkAddress) -> Result<Checked, ReadError> {
    let mut tries = 0;
    loop {
        let Some(row) = shared.ask_index(|index| index.get(address))? else { return Ok(Checked::Absent) };
        tries += 1;
        match read_row(shared, address, &row) {
            Ok(record) => return Ok(Checked::Good(row, record)),
            Err(_) if tries < LOOKUPS_MAX => {}
            Err(error) => {
                tracing::warn!(volume = %shared.identity.volume, %address, %error, "a copy is bad");
                let why = if matches!(error, RecordError::Io(_)) { Why::Unreadable } else { Why::Damaged };
                return Ok(Checked::Bad(row, BadRow { length: row.length, why }));
            }
        }
    }
}

fn read_row(shared: &Shared, address: &ChunkAddress, row: &Row) -> Result<WholeRecord, RecordError> {
    let number: PackNumber = row.position.pack;
    let file = shared.file(number).inspect_err(|_| shared.forget_file(number))?;
    let record = read_record(&*file, &shared.key(number), row.position.offset, row.length)?;
    if record.header.address == *address { Ok(record) } else { Err(RecordError::Header) }
}
