//! Rows of the index and their bytes.

use super::super::pack::{PackNumber, Position};
use super::IndexError;
use cairn_common::chunk::ChunkAddress;
use cairn_common::ids::{Slot, Stamp};

/// Where a chunk lies, and what is known about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its record.
    pub position: Position,
    /// Its length, in bytes.
    pub length: u32,
    /// Start of the last upload window that wrote or found it here.
    pub touched: Stamp,
    /// When it was last read from the disk and hashed, in milliseconds since 1970; 0: not since it was written.
    pub verified_ms: u64,
}

/// What a pack holds and how far the index covers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct PackRow {
    /// Everything before this offset is in the index.
    pub covered: u32,
    /// Nothing will ever be appended; it ends at `covered`.
    pub sealed: bool,
    /// Bytes of records that chunks lie in, with all that surrounds them.
    pub live_bytes: u64,
    /// Chunks that lie in it.
    pub live_chunks: u32,
    /// Damaged records in it that are not settled: the pack stays as long as there are any.
    pub bad: u32,
}

/// Why a record is set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Why {
    /// Its bytes were durable once and are not what they were.
    Damaged = 1,
    /// The disk does not give its bytes.
    Unreadable = 2,
    /// It was being written when the power went, among others that are whole. Most likely nobody ever got a receipt for it.
    Torn = 3,
}

/// A record that is set aside: never served, never attested, kept for whoever wants to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadRow {
    /// Length of the chunk, in bytes.
    pub length: u32,
    /// Why it is set aside.
    pub why: Why,
}

/// First byte of every value.
const FORMAT: u8 = 1;

fn corrupt() -> IndexError {
    IndexError("a row cannot be read".to_owned())
}

/// Reads big-endian numbers off the front of a value.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], IndexError> {
        let (first, rest) = self.0.split_first_chunk::<N>().ok_or_else(corrupt)?;
        self.0 = rest;
        Ok(*first)
    }
    fn u8(&mut self) -> Result<u8, IndexError> {
        Ok(u8::from_be_bytes(self.take()?))
    }
    fn u32(&mut self) -> Result<u32, IndexError> {
        Ok(u32::from_be_bytes(self.take()?))
    }
    fn u64(&mut self) -> Result<u64, IndexError> {
        Ok(u64::from_be_bytes(self.take()?))
    }
    fn format(&mut self) -> Result<(), IndexError> {
        if self.u8()? == FORMAT { Ok(()) } else { Err(corrupt()) }
    }
    fn end(self) -> Result<(), IndexError> {
        if self.0.is_empty() { Ok(()) } else { Err(corrupt()) }
    }
}

impl Row {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(29);
        bytes.push(FORMAT);
        bytes.extend_from_slice(&self.position.to_number().to_be_bytes());
        bytes.extend_from_slice(&self.length.to_be_bytes());
        bytes.extend_from_slice(&self.touched.0.to_be_bytes());
        bytes.extend_from_slice(&self.verified_ms.to_be_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Row, IndexError> {
        let mut fields = Fields(bytes);
        fields.format()?;
        let position = Position::from_number(fields.u64()?);
        let row = Row { position, length: fields.u32()?, touched: Stamp(fields.u64()?), verified_ms: fields.u64()? };
        fields.end()?;
        Ok(row)
    }
}

impl PackRow {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![FORMAT, u8::from(self.sealed)];
        bytes.extend_from_slice(&self.covered.to_be_bytes());
        bytes.extend_from_slice(&self.live_bytes.to_be_bytes());
        bytes.extend_from_slice(&self.live_chunks.to_be_bytes());
        bytes.extend_from_slice(&self.bad.to_be_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<PackRow, IndexError> {
        let mut fields = Fields(bytes);
        fields.format()?;
        let sealed = fields.u8()? != 0;
        let covered = fields.u32()?;
        let row =
            PackRow { covered, sealed, live_bytes: fields.u64()?, live_chunks: fields.u32()?, bad: fields.u32()? };
        fields.end()?;
        Ok(row)
    }
}

impl BadRow {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![FORMAT, self.why as u8];
        bytes.extend_from_slice(&self.length.to_be_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<BadRow, IndexError> {
        let mut fields = Fields(bytes);
        fields.format()?;
        let why = match fields.u8()? {
            1 => Why::Damaged,
            2 => Why::Unreadable,
            3 => Why::Torn,
            _ => return Err(corrupt()),
        };
        let row = BadRow { length: fields.u32()?, why };
        fields.end()?;
        Ok(row)
    }
}

/// Key of a chunk's row: `c`, slot, address. In this order an inventory of a slot is one range.
pub(super) fn chunk_key(slot: Slot, address: &ChunkAddress) -> Vec<u8> {
    let mut key = slot_key(slot);
    key.extend_from_slice(&address.to_bytes());
    key
}

/// Where the rows of a slot begin.
pub(super) fn slot_key(slot: Slot) -> Vec<u8> {
    let mut key = vec![b'c'];
    key.extend_from_slice(&slot.0.to_be_bytes());
    key
}

/// The address in a chunk's key.
pub(super) fn address_of_chunk_key(key: &[u8]) -> Result<ChunkAddress, IndexError> {
    let (_, address) = key.split_first_chunk::<3>().ok_or_else(corrupt)?;
    address.try_into().ok().and_then(ChunkAddress::from_bytes).ok_or_else(corrupt)
}

/// Key of a pack's row.
pub(super) fn pack_key(number: PackNumber) -> Vec<u8> {
    let mut key = vec![b'p'];
    key.extend_from_slice(&number.0.to_be_bytes());
    key
}

/// The number in a pack's key.
pub(super) fn number_of_pack_key(key: &[u8]) -> Result<PackNumber, IndexError> {
    let number = key.get(1..).and_then(|number| number.try_into().ok()).ok_or_else(corrupt)?;
    Ok(PackNumber(u32::from_be_bytes(number)))
}

/// Key of a damaged record: `q`, address, position; without the position, where those of an address begin.
pub(super) fn bad_key(address: &ChunkAddress, position: Option<Position>) -> Vec<u8> {
    let mut key = vec![b'q'];
    key.extend_from_slice(&address.to_bytes());
    if let Some(position) = position {
        key.extend_from_slice(&position.to_number().to_be_bytes());
    }
    key
}

/// Address and position in a damaged record's key.
pub(super) fn parts_of_bad_key(key: &[u8]) -> Result<(ChunkAddress, Position), IndexError> {
    let rest = key.get(1..).ok_or_else(corrupt)?;
    let (address, position) = rest.split_first_chunk::<{ ChunkAddress::BYTES }>().ok_or_else(corrupt)?;
    let position = position.try_into().map_err(|_| corrupt())?;
    let address = ChunkAddress::from_bytes(address).ok_or_else(corrupt)?;
    Ok((address, Position::from_number(u64::from_be_bytes(position))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_common::ids::Domain;
    use proptest::prelude::*;

    #[test]
    fn the_bytes_of_rows_are_pinned() {
        let position = Position { pack: PackNumber(2), offset: 4096 };
        let row = Row { position, length: 5, touched: Stamp(7), verified_ms: 9 };
        assert_eq!(hex::encode(row.encode()), "0100000002000010000000000500000000000000070000000000000009");
        let pack = PackRow { covered: 4096, sealed: true, live_bytes: 512, live_chunks: 1, bad: 2 };
        assert_eq!(hex::encode(pack.encode()), "01010000100000000000000002000000000100000002");
        assert_eq!(hex::encode(BadRow { length: 5, why: Why::Torn }.encode()), "010300000005");
        assert_eq!(hex::encode(pack_key(PackNumber(9))), "7000000009");
        let address = ChunkAddress::of(Domain(1), b"x");
        assert_eq!(chunk_key(Slot(258), &address)[..4], [b'c', 1, 2, 0]);
        assert_eq!(bad_key(&address, Some(position)).len(), 1 + 37 + 8);
    }

    proptest! {
        #[test]
        fn rows_survive_their_encoding(number: u64, length: u32, touched: u64, verified_ms: u64, sealed: bool, bad: u32) {
            let row = Row { position: Position::from_number(number), length, touched: Stamp(touched), verified_ms };
            prop_assert_eq!(Row::decode(&row.encode()), Ok(row));
            let pack = PackRow { covered: length, sealed, live_bytes: touched, live_chunks: bad, bad };
            prop_assert_eq!(PackRow::decode(&pack.encode()), Ok(pack));
        }

        #[test]
        fn noise_is_an_error_and_no_panic(noise in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = (Row::decode(&noise), PackRow::decode(&noise), BadRow::decode(&noise));
            let _ = (address_of_chunk_key(&noise), number_of_pack_key(&noise), parts_of_bad_key(&noise));
        }

        #[test]
        fn keys_of_chunks_sort_by_slot_and_address(a: [u8; 4], b: [u8; 4]) {
            let (a, b) = (ChunkAddress::of(Domain(1), &a), ChunkAddress::of(Domain(2), &b));
            let by_key = chunk_key(a.slot(), &a).cmp(&chunk_key(b.slot(), &b));
            prop_assert_eq!(by_key, (a.slot(), a).cmp(&(b.slot(), b)));
            prop_assert_eq!(address_of_chunk_key(&chunk_key(a.slot(), &a)), Ok(a));
        }
    }
}
