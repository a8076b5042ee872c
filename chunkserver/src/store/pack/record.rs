//! A record: header, outboard, body.
//!
//! The header is checked by itself (a MAC under the pack's key), so that a record whose body is damaged is still known by
//! name and length. The body is checked by the hash of the stored bytes, which for a plain chunk is its id, and the outboard
//! by merging to it.

use super::{PackNumber, SECTOR_BYTES, round_up};
use cairn_common::chunk::{ChunkAddress, ChunkId, Outboard, VerifiedChunk};
use cairn_common::ids::{KeyId, Stamp, VolumeId};
use cairn_common::limits::{CHUNK_MAX_BYTES, GROUP_BYTES};

const MAGIC: &[u8; 8] = b"CAIRNREC";
const FORMAT: u8 = 1;
const CODEC_NONE: u8 = 0;
/// Bytes that the MAC covers.
pub(super) const CHECKED: usize = 128;
/// Length of a record's header, in bytes.
pub(crate) const HEADER_BYTES: usize = CHECKED + 16;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RecordKind {
    /// A whole chunk.
    Chunk = 1,
    /// Every earlier record of this address on this volume is removed. 2 and 4 are reserved, for fragments of erasure codes and
    /// for backups of the masters' state.
    Tombstone = 3,
}

/// The key under which headers of one pack are checked.
#[derive(Clone)]
pub struct PackKey {
    key: [u8; 32],
    number: PackNumber,
}

impl PackKey {
    /// Derives the key of a pack from the volume's salt.
    pub fn derive(salt: &[u8; 32], volume: VolumeId, number: PackNumber) -> PackKey {
        let mut hasher = blake3::Hasher::new_derive_key("cairn 2026 pack records");
        hasher.update(salt).update(&volume.0.to_be_bytes()).update(&number.0.to_be_bytes());
        PackKey { key: *hasher.finalize().as_bytes(), number }
    }

    /// Which pack it is for.
    pub fn number(&self) -> PackNumber {
        self.number
    }

    pub(super) fn mac(&self, checked: &[u8]) -> [u8; 16] {
        let hash = blake3::keyed_hash(&self.key, checked);
        let mut mac = [0; 16];
        mac.copy_from_slice(&hash.as_bytes()[..16]);
        mac
    }
}

/// What a record says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// What it is.
    pub kind: RecordKind,
    /// Where in its pack it starts.
    pub offset: u32,
    /// Where its group starts: everything before was durable when this record was written.
    pub group_start: u32,
    /// Of which chunk.
    pub address: ChunkAddress,
    /// Length of the chunk's plain bytes.
    pub length: u32,
    /// Length of the body.
    pub stored_length: u32,
    /// Length of the outboard.
    pub outboard_length: u32,
    /// Under which key the body is encrypted; 0: it is not.
    pub key: KeyId,
    /// Start of the upload window that wrote the chunk here: a touch that needs no index.
    pub touched: Stamp,
    /// BLAKE3 of the body.
    pub stored_hash: ChunkId,
}

/// Bytes that are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderError {
    /// Never written, or damaged.
    NotARecord,
    /// Whole, and of a kind that this release does not know.
    Newer,
}

impl RecordHeader {
    /// The header of a chunk's record.
    pub(crate) fn chunk(chunk: &VerifiedChunk, touched: Stamp, offset: u32, group_start: u32) -> RecordHeader {
        RecordHeader {
            kind: RecordKind::Chunk,
            offset,
            group_start,
            address: chunk.address(),
            length: chunk.length(),
            stored_length: chunk.length(),
            outboard_length: Outboard::encoded_len(chunk.length()) as u32,
            key: KeyId(0),
            touched,
            stored_hash: chunk.address().id,
        }
    }

    /// The header of a record that removes `address`.
    pub(crate) fn tombstone(address: ChunkAddress, offset: u32, group_start: u32) -> RecordHeader {
        RecordHeader {
            kind: RecordKind::Tombstone,
            offset,
            group_start,
            address,
            length: 0,
            stored_length: 0,
            outboard_length: 0,
            key: KeyId(0),
            touched: Stamp::ZERO,
            stored_hash: ChunkId::of(&[]),
        }
    }

    /// Bytes that a chunk of `length` bytes takes in a pack, with everything around it.
    pub(crate) fn chunk_bytes(length: u32) -> u32 {
        let whole = HEADER_BYTES as u64 + Outboard::encoded_len(length) as u64 + u64::from(length);
        round_up(whole, SECTOR_BYTES) as u32
    }

    /// Bytes of the whole record, with the padding behind it.
    pub(crate) fn record_bytes(&self) -> u32 {
        let whole = HEADER_BYTES as u64 + u64::from(self.outboard_length) + u64::from(self.stored_length);
        round_up(whole, SECTOR_BYTES) as u32
    }

    /// Where in the record its body starts, and one past where it ends.
    pub(crate) fn body_range(&self) -> (usize, usize) {
        let start = HEADER_BYTES + self.outboard_length as usize;
        (start, start + self.stored_length as usize)
    }

    pub(super) fn encode(&self, key: &PackKey) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&[FORMAT, self.kind as u8, CODEC_NONE, GROUP_BYTES.trailing_zeros() as u8]);
        bytes[12..16].copy_from_slice(&self.key.0.to_be_bytes());
        bytes[16..20].copy_from_slice(&self.length.to_be_bytes());
        bytes[20..24].copy_from_slice(&self.stored_length.to_be_bytes());
        bytes[24..28].copy_from_slice(&self.outboard_length.to_be_bytes());
        bytes[28..32].copy_from_slice(&self.offset.to_be_bytes());
        bytes[32..36].copy_from_slice(&self.group_start.to_be_bytes());
        bytes[36..73].copy_from_slice(&self.address.to_bytes());
        bytes[76..84].copy_from_slice(&self.touched.0.to_be_bytes());
        bytes[84..116].copy_from_slice(&self.stored_hash.0);
        let mac = key.mac(&bytes[..CHECKED]);
        bytes[CHECKED..].copy_from_slice(&mac);
        bytes
    }

    /// Takes a header off the front of `bytes`, which lie at `offset` of the pack that `key` is for.
    pub(crate) fn decode(bytes: &[u8], offset: u32, key: &PackKey) -> Result<RecordHeader, HeaderError> {
        let (bytes, _) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(HeaderError::NotARecord)?;
        let (checked, mac) = bytes.split_at(CHECKED);
        // The magic is looked at first: searching a damaged pack asks for every sector of it.
        if !checked.starts_with(MAGIC) || key.mac(checked) != mac {
            return Err(HeaderError::NotARecord);
        }
        let kind = match (checked[8], checked[9], checked[10], 1u32.checked_shl(u32::from(checked[11]))) {
            (FORMAT, 1, CODEC_NONE, Some(GROUP_BYTES)) => RecordKind::Chunk,
            (FORMAT, 3, CODEC_NONE, Some(GROUP_BYTES)) => RecordKind::Tombstone,
            _ => return Err(HeaderError::Newer),
        };
        let number = |at: usize| u32::from_be_bytes([checked[at], checked[at + 1], checked[at + 2], checked[at + 3]]);
        let mut address = [0; ChunkAddress::BYTES];
        address.copy_from_slice(&checked[36..73]);
        let mut hash = [0; 32];
        hash.copy_from_slice(&checked[84..116]);
        let header = RecordHeader {
            kind,
            offset: number(28),
            group_start: number(32),
            address: ChunkAddress::from_bytes(&address).ok_or(HeaderError::Newer)?,
            length: number(16),
            stored_length: number(20),
            outboard_length: number(24),
            key: KeyId(number(12)),
            touched: Stamp(u64::from(number(76)) << 32 | u64::from(number(80))),
            stored_hash: ChunkId(hash),
        };
        let fits = header.stored_length <= CHUNK_MAX_BYTES
            && header.length <= CHUNK_MAX_BYTES
            && header.outboard_length as usize == Outboard::encoded_len(header.length);
        // A header that was written elsewhere and ended up here belongs to no record.
        if fits && header.offset == offset { Ok(header) } else { Err(HeaderError::NotARecord) }
    }

    /// Whether outboard and body are what was written. Hashes the body.
    pub(crate) fn matches(&self, outboard: &[u8], body: &[u8]) -> bool {
        if body.len() != self.stored_length as usize || outboard.len() != self.outboard_length as usize {
            return false;
        }
        let hashed = Outboard::hash(body, |_| ());
        let of_address = self.kind == RecordKind::Tombstone || self.stored_hash == self.address.id;
        of_address && hashed.id() == self.stored_hash && hashed.values()[..] == *outboard
    }
}

/// The bytes of a record before its body: header and outboard.
pub(crate) fn encode_head(header: &RecordHeader, outboard: &[u8], key: &PackKey, out: &mut Vec<u8>) {
    assert_eq!(header.outboard_length as usize, outboard.len(), "the outboard of {:?}", header.address);
    out.extend_from_slice(&header.encode(key));
    out.extend_from_slice(outboard);
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use cairn_common::chunk::IdKind;
    use cairn_common::ids::Domain;
    use proptest::prelude::*;

    fn key() -> PackKey {
        PackKey::derive(&[7; 32], VolumeId(5), PackNumber(2))
    }

    fn chunk() -> VerifiedChunk {
        VerifiedChunk::hash(Domain(258), Bytes::from_static(b"cairn"), |_| ())
    }

    #[test]
    fn the_bytes_of_a_chunk_record_are_pinned() {
        let header = RecordHeader::chunk(&chunk(), Stamp(0x0102_0304_0506_0708), 8192, 4096);
        let mut bytes = Vec::new();
        encode_head(&header, &[], &key(), &mut bytes);
        assert_eq!(hex::encode(&bytes), PINNED_CHUNK);
        assert_eq!(header.record_bytes(), 512);
    }

    #[test]
    fn the_bytes_of_a_tombstone_are_pinned() {
        let header = RecordHeader::tombstone(chunk().address(), 4096, 4096);
        assert_eq!(hex::encode(header.encode(&key())), PINNED_TOMBSTONE);
    }

    const PINNED_CHUNK: &str = concat!(
        "434149524e5245430101001000000000000000050000000500000000000020000000100000000102000a35e41e05f8a79793",
        "f4436f3c778283f6215c381a24071eb1ae871aba2c797b00000001020304050607080a35e41e05f8a79793f4436f3c778283",
        "f6215c381a24071eb1ae871aba2c797b000000000000000000000000a6ec03b64261e1c81eccf5d9cc1d69de",
    );
    const PINNED_TOMBSTONE: &str = concat!(
        "434149524e5245430103001000000000000000000000000000000000000010000000100000000102000a35e41e05f8a79793",
        "f4436f3c778283f6215c381a24071eb1ae871aba2c797b0000000000000000000000af1349b9f5f9a1a6a0404dea36dcc949",
        "9bcb25c9adc112b7cc9a93cae41f32620000000000000000000000002bcea02f6330576b63ea8c6171d51577",
    );

    #[test]
    fn any_flipped_bit_of_a_header_is_noticed() {
        let bytes = RecordHeader::chunk(&chunk(), Stamp(9), 4096, 4096).encode(&key());
        for bit in 0..HEADER_BYTES * 8 {
            let mut bad = bytes;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(RecordHeader::decode(&bad, 4096, &key()), Err(HeaderError::NotARecord), "bit {bit}");
        }
    }

    #[test]
    fn a_header_counts_only_where_it_was_written() {
        let bytes = RecordHeader::chunk(&chunk(), Stamp(9), 4096, 4096).encode(&key());
        assert!(RecordHeader::decode(&bytes, 4096, &key()).is_ok());
        assert_eq!(RecordHeader::decode(&bytes, 8192, &key()), Err(HeaderError::NotARecord));
        for other in [
            PackKey::derive(&[7; 32], VolumeId(5), PackNumber(3)),
            PackKey::derive(&[7; 32], VolumeId(6), PackNumber(2)),
            PackKey::derive(&[8; 32], VolumeId(5), PackNumber(2)),
        ] {
            assert_eq!(RecordHeader::decode(&bytes, 4096, &other), Err(HeaderError::NotARecord));
        }
    }

    #[test]
    fn records_of_a_newer_release_are_known_as_such() {
        let bytes = RecordHeader::chunk(&chunk(), Stamp(9), 4096, 4096).encode(&key());
        for (at, value) in [(8, 2), (9, 2), (9, 4), (10, 1), (11, 20), (11, 255), (40, 9)] {
            let mut newer = bytes;
            newer[at] = value;
            let mac = key().mac(&newer[..CHECKED]);
            newer[CHECKED..].copy_from_slice(&mac);
            assert_eq!(RecordHeader::decode(&newer, 4096, &key()), Err(HeaderError::Newer), "byte {at}");
        }
    }

    proptest! {
        #[test]
        fn headers_survive_their_encoding(domain: u32, id: [u8; 32], length in 0..=CHUNK_MAX_BYTES, touched: u64, sector in 8u32..1000) {
            let address = ChunkAddress { domain: Domain(domain), kind: IdKind::Plain, id: ChunkId(id) };
            let header = RecordHeader {
                length,
                stored_length: length,
                outboard_length: Outboard::encoded_len(length) as u32,
                touched: Stamp(touched),
                stored_hash: address.id,
                kind: RecordKind::Chunk,
                ..RecordHeader::tombstone(address, sector * 512, 4096)
            };
            prop_assert_eq!(RecordHeader::decode(&header.encode(&key()), sector * 512, &key()), Ok(header.clone()));
            prop_assert!(header.record_bytes().is_multiple_of(512) && header.record_bytes() >= length);
            prop_assert_eq!(header.record_bytes(), RecordHeader::chunk_bytes(length));
        }

        #[test]
        fn noise_is_no_record(noise in proptest::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(RecordHeader::decode(&noise, 4096, &key()).is_err());
        }
    }
}
