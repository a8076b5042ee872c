//! Manifests, their segments, and the references that they hold.

use super::{KeyBytes, KeyReader, KeyWriter, RowKey, ScannedKey, SystemKind, postcard_records};
use crate::store::Table;
use cairn_common::chunk::{ChunkAddress, Chunking};
use cairn_common::ids::{Domain, ManifestId, NodeId, Slot};
use cairn_common::manifest::{Entry, ManifestHead, Root};
use serde::{Deserialize, Serialize};

/// A manifest with no more entries than this keeps them in its own row: most files are read with one row less.
pub const EMBEDDED_ENTRIES_MAX: usize = 8;

/// A manifest: its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ManifestKey(pub ManifestId);

/// A closed manifest. Never changed; removed before its segments are, so that whoever finds it finds all of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestRow {
    /// Hash over its entries.
    pub root: Root,
    /// Length of the file, in bytes.
    pub length: u64,
    /// Number of entries.
    pub entries: u64,
    /// How the file was cut, if one chunker cut it.
    pub chunking: Option<Chunking>,
    /// Whose chunks it names.
    pub domain: Domain,
    /// Copies that its bucket asked for when it was closed; `None`: the cluster's number, whatever it becomes.
    pub replicas: Option<u8>,
    /// Durable copies of its least copied chunk when it was closed.
    pub copies: u8,
    /// Whether its entries are ranges of other manifests, and not chunks.
    pub composite: bool,
    /// All entries, if there are at most [`EMBEDDED_ENTRIES_MAX`]; else none.
    pub embedded: Vec<Entry>,
}

impl ManifestRow {
    /// Whether its entries are in its own row.
    pub fn is_embedded(&self) -> bool {
        self.entries <= EMBEDDED_ENTRIES_MAX as u64
    }

    /// What readers are told.
    pub fn head(&self) -> ManifestHead {
        ManifestHead { root: self.root, length: self.length, entries: self.entries, chunking: self.chunking }
    }
}

impl RowKey for ManifestKey {
    const TABLE: Table = Table::Manifests;
    type Row = ManifestRow;

    fn encode(&self) -> KeyBytes {
        KeyWriter::new().u64(self.0.0).finish()
    }
}

impl ScannedKey for ManifestKey {
    fn decode(bytes: &[u8]) -> Option<ManifestKey> {
        let mut reader = KeyReader::new(bytes);
        let id = ManifestId(reader.u64()?);
        reader.end(ManifestKey(id))
    }
}

/// A segment of a manifest: by where in the file it starts, so that any offset is found with one seek.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentKey {
    /// Of which manifest.
    pub manifest: ManifestId,
    /// Where it starts, in bytes.
    pub start: u64,
}

/// Entries side by side. All segments but the last have the same number of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentRow {
    /// Number of the segment, from 0.
    pub index: u32,
    /// Its entries.
    pub entries: Vec<Entry>,
}

impl RowKey for SegmentKey {
    const TABLE: Table = Table::Segments;
    type Row = SegmentRow;

    fn encode(&self) -> KeyBytes {
        KeyWriter::new().u64(self.manifest.0).u64(self.start).finish()
    }
}

impl ScannedKey for SegmentKey {
    fn decode(bytes: &[u8]) -> Option<SegmentKey> {
        let mut reader = KeyReader::new(bytes);
        let key = SegmentKey { manifest: ManifestId(reader.u64()?), start: reader.u64()? };
        reader.end(key)
    }
}

/// The parts that a manifest was made of when a multipart upload ended: that manifest. The row is there as long as that of the
/// manifest is, of every file made of two parts or more that has any bytes; the manifest of one part is the file's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilePartsKey(pub ManifestId);

/// Lengths of the parts of a file, in order, in bytes. Its entries do not tell: a part may consist of several, or be empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilePartsRow(pub Vec<u64>);

impl FilePartsKey {
    /// What the keys of all of them start with.
    pub(crate) fn all() -> Vec<u8> {
        KeyWriter::system(SystemKind::FileParts).prefix()
    }
}

impl RowKey for FilePartsKey {
    const TABLE: Table = Table::System;
    type Row = FilePartsRow;

    fn encode(&self) -> KeyBytes {
        KeyWriter::system(SystemKind::FileParts).u64(self.0.0).finish()
    }
}

impl ScannedKey for FilePartsKey {
    fn decode(bytes: &[u8]) -> Option<FilePartsKey> {
        let mut reader = KeyReader::system(bytes, SystemKind::FileParts)?;
        let id = ManifestId(reader.u64()?);
        reader.end(FilePartsKey(id))
    }
}

/// A referenced chunk: by slot, as inventories are, and then by address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReferenceKey {
    /// The chunk's slot: follows from its address.
    pub slot: Slot,
    /// Which chunk.
    pub address: ChunkAddress,
}

impl ReferenceKey {
    /// What the keys of all references of a slot start with.
    pub(crate) fn of_slot(slot: Slot) -> Vec<u8> {
        KeyWriter::new().u16(slot.0).prefix()
    }

    /// The key of a chunk.
    pub fn of(address: ChunkAddress) -> ReferenceKey {
        ReferenceKey { slot: address.slot(), address }
    }
}

/// How a chunk is referred to. While the row is there, no chunkserver may collect the chunk (P4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReferenceRow {
    /// How many runs of it all manifests have. A run is entries with the same chunk side by side in one segment.
    pub count: u64,
    /// Its length, in bytes.
    pub length: u32,
    /// The manifest that referred to it last: a staged upload that did needs no new receipts for it.
    pub last: ManifestId,
    /// Most copies that any bucket asked for whose files referred to it; 0: none asked for a number of its own.
    pub asked: u8,
    /// Whether a bucket that follows the cluster's number referred to it.
    pub follows: bool,
}

impl ReferenceRow {
    /// Copies that are wanted where `cluster` is the number of those that ask for none. Never falls while anything refers to the
    /// chunk: a copy too many costs space, one too few costs the file.
    pub fn copies(&self, cluster: u8) -> u8 {
        let following = if self.follows { cluster } else { 0 };
        self.asked.max(following).max(1)
    }
}

fn write_address(writer: KeyWriter, slot: Slot, address: &ChunkAddress) -> KeyBytes {
    writer.u16(slot.0).last(&address.to_bytes()).finish()
}

fn read_address(mut reader: KeyReader<'_>) -> Option<(Slot, ChunkAddress)> {
    let slot = Slot(reader.u16()?);
    let address = ChunkAddress::from_bytes(reader.array()?)?;
    reader.end((slot, address))
}

impl RowKey for ReferenceKey {
    const TABLE: Table = Table::References;
    type Row = ReferenceRow;

    fn encode(&self) -> KeyBytes {
        write_address(KeyWriter::new(), self.slot, &self.address)
    }
}

impl ScannedKey for ReferenceKey {
    fn decode(bytes: &[u8]) -> Option<ReferenceKey> {
        read_address(KeyReader::new(bytes)).map(|(slot, address)| ReferenceKey { slot, address })
    }
}

/// A chunk that lies on nodes which do not own it. Value: those nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MisplacedKey(pub ReferenceKey);

impl MisplacedKey {
    /// What the keys of all misplaced chunks start with.
    pub(crate) fn all() -> Vec<u8> {
        KeyWriter::system(SystemKind::Misplaced).prefix()
    }
}

impl RowKey for MisplacedKey {
    const TABLE: Table = Table::System;
    type Row = Vec<NodeId>;

    fn encode(&self) -> KeyBytes {
        write_address(KeyWriter::system(SystemKind::Misplaced), self.0.slot, &self.0.address)
    }
}

impl ScannedKey for MisplacedKey {
    fn decode(bytes: &[u8]) -> Option<MisplacedKey> {
        let (slot, address) = read_address(KeyReader::system(bytes, SystemKind::Misplaced)?)?;
        Some(MisplacedKey(ReferenceKey { slot, address }))
    }
}

postcard_records!(ManifestRow, SegmentRow, FilePartsRow, ReferenceRow, Vec<NodeId>);
