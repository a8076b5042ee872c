//! A backup of the masters' state as a file: what is in it, and how it is checked.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `CAIRNBK1` |
//! | 4, then so many | length and [`Header`] |
//! | 4, then so many, again and again | length and a page of rows |
//! | 4 | zero: no more pages |
//! | 32 | BLAKE3 over everything before |
//!
//! Numbers are big endian. Pages are the masters' own business. Nothing of a file is used before its hash was found right from
//! the first byte to the last: half a namespace that looks whole would be worse than none. The file holds the cluster's key:
//! with it anybody is the cluster.

use crate::auth::{ClusterKey, Secret};
use crate::ids::{ClusterId, Generation, Stamp};
use crate::limits::FRAME_MAX_BYTES;
use crate::seam::DiskFile;
use crate::wire;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// First bytes of a backup of this format.
const MAGIC: &[u8; 8] = b"CAIRNBK1";
/// Bytes that are hashed at a time.
const PIECE_BYTES: usize = 1 << 20;
const HASH_BYTES: u64 = 32;

/// What a backup is of.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Which cluster.
    pub cluster: ClusterId,
    /// The generation that it was in.
    pub generation: Generation,
    /// The generation that the keys of its nodes are derived for.
    pub key_generation: Generation,
    /// The stamp of the newest command in it.
    pub stamp: Stamp,
    /// When it was begun, in milliseconds since 1970, by the master's clock.
    pub made_ms: u64,
    cluster_key: [u8; 32],
}

impl Header {
    /// The header of a backup that is begun now.
    pub fn new(
        cluster: ClusterId,
        (generation, key_generation): (Generation, Generation),
        stamp: Stamp,
        made_ms: u64,
        cluster_key: [u8; 32],
    ) -> Header {
        Header { cluster, generation, key_generation, stamp, made_ms, cluster_key }
    }

    /// The root of the cluster's secrets.
    pub fn cluster_key(&self) -> ClusterKey {
        ClusterKey::new(Secret::new(self.cluster_key))
    }
}

/// Why a file is no backup that can be restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Io(#[from] std::io::Error),
    /// It is something else.
    #[error("it is no backup of the masters' state, or one of another release")]
    NotABackup,
    /// Cut, or altered.
    #[error("it is damaged: its hash is not that of its bytes. Take another copy of it, or an earlier backup")]
    Damaged,
}

/// Makes the bytes of a backup, piece by piece.
pub struct Writer(blake3::Hasher);

impl Writer {
    /// The first piece, from an encoded [`Header`].
    pub fn begin(header: &[u8]) -> (Writer, Bytes) {
        let mut writer = Writer(blake3::Hasher::new());
        writer.0.update(MAGIC);
        let piece = writer.piece(header);
        (writer, [MAGIC, &piece[..]].concat().into())
    }

    /// The piece of a page.
    ///
    /// # Panics
    /// If it is empty.
    pub fn page(&mut self, page: &[u8]) -> Bytes {
        assert!(!page.is_empty(), "a page of nothing would look like the end");
        self.piece(page)
    }

    /// The last piece.
    pub fn end(mut self) -> Bytes {
        let end = self.piece(&[]);
        [&end[..], self.0.finalize().as_bytes()].concat().into()
    }

    fn piece(&mut self, bytes: &[u8]) -> Bytes {
        let length = u32::try_from(bytes.len()).expect("pages fit into frames");
        let piece = [&length.to_be_bytes(), bytes].concat();
        self.0.update(&piece);
        piece.into()
    }
}

/// A backup in a file, whose hash is right.
pub struct Reader {
    file: Box<dyn DiskFile>,
    /// What it is of.
    pub header: Header,
    pages_at: u64,
}

impl Reader {
    /// Reads all of the file, and checks it. Blocks.
    pub fn open(file: Box<dyn DiskFile>) -> Result<Reader, BackupError> {
        let length = file.len()?;
        let mut magic = [0; MAGIC.len()];
        if length < MAGIC.len() as u64 + 8 + HASH_BYTES {
            return Err(BackupError::NotABackup);
        }
        file.read_exact_at(&mut magic, 0)?;
        if magic != *MAGIC {
            return Err(BackupError::NotABackup);
        }
        let (hashed, mut hasher, mut at) = (length - HASH_BYTES, blake3::Hasher::new(), 0);
        let mut piece = vec![0; PIECE_BYTES];
        while at < hashed {
            let part = &mut piece[..usize::try_from(hashed - at).unwrap_or(PIECE_BYTES).min(PIECE_BYTES)];
            file.read_exact_at(part, at)?;
            hasher.update(part);
            at += part.len() as u64;
        }
        let mut expected = [0; HASH_BYTES as usize];
        file.read_exact_at(&mut expected, hashed)?;
        if hasher.finalize() != blake3::Hash::from_bytes(expected) {
            return Err(BackupError::Damaged);
        }
        let (header, pages_at) = read_piece(file.as_ref(), MAGIC.len() as u64)?;
        let header = wire::decode(&header).map_err(|_| BackupError::NotABackup)?;
        Ok(Reader { file, header, pages_at })
    }

    /// Gives every page to `each`, in order. Blocks. Stops at the first error of either side.
    pub fn pages<E: From<BackupError>>(&self, mut each: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let mut at = self.pages_at;
        loop {
            let (page, next) = read_piece(self.file.as_ref(), at)?;
            if page.is_empty() {
                return Ok(());
            }
            each(&page)?;
            at = next;
        }
    }
}

/// The piece at `at`, and where the next one is.
fn read_piece(file: &dyn DiskFile, at: u64) -> Result<(Vec<u8>, u64), BackupError> {
    let mut length = [0; 4];
    file.read_exact_at(&mut length, at)?;
    let length = u32::from_be_bytes(length) as usize;
    if length > FRAME_MAX_BYTES {
        return Err(BackupError::NotABackup);
    }
    let mut piece = vec![0; length];
    file.read_exact_at(&mut piece, at + 4)?;
    Ok((piece, at + 4 + length as u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seam::{Disk as _, OpenMode, RealDisk};
    use std::path::Path;

    fn header() -> Header {
        Header::new(ClusterId([7; 16]), (Generation(2), Generation(1)), Stamp(9), 11, [3; 32])
    }

    fn whole() -> Vec<u8> {
        let (mut writer, mut bytes) = {
            let (writer, first) = Writer::begin(&wire::encode(&header()));
            (writer, first.to_vec())
        };
        bytes.extend_from_slice(&writer.page(b"one"));
        bytes.extend_from_slice(&writer.page(&[5; 3000]));
        bytes.extend_from_slice(&writer.end());
        bytes
    }

    fn open(folder: &Path, bytes: &[u8]) -> Result<Reader, BackupError> {
        let path = folder.join("backup");
        RealDisk.replace(&path, bytes).unwrap();
        Reader::open(RealDisk.open(&path, OpenMode::Read).unwrap())
    }

    #[test]
    fn a_backup_reads_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let backup = open(folder.path(), &whole()).unwrap();
        assert!(backup.header == header());
        let mut pages = Vec::new();
        let read = backup.pages(|page| {
            pages.push(page.to_vec());
            Ok::<(), BackupError>(())
        });
        read.unwrap();
        assert_eq!(pages, [b"one".to_vec(), vec![5; 3000]]);
    }

    #[test]
    fn a_backup_that_was_cut_or_altered_anywhere_is_refused_before_anything_is_used() {
        let (folder, whole) = (tempfile::tempdir().unwrap(), whole());
        for at in (0..whole.len()).step_by(7) {
            let mut altered = whole.clone();
            altered[at] ^= 1;
            assert!(open(folder.path(), &altered).is_err(), "byte {at} was altered");
            assert!(open(folder.path(), &whole[..at]).is_err(), "it ends at {at}");
        }
    }
}
