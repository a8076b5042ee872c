//! Chunk ids and addresses, and the only text form they have: 64 lower-case hex digits.

use crate::ids::{Domain, Slot};
use crate::ring::SLOT_BITS;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The BLAKE3 hash that names a chunk. What was hashed is said by the [`IdKind`] beside it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChunkId(pub [u8; 32]);

impl ChunkId {
    /// The plain BLAKE3 hash of `bytes`.
    pub fn of(bytes: &[u8]) -> ChunkId {
        ChunkId(*blake3::hash(bytes).as_bytes())
    }
}

impl fmt::Display for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0[..6]))
    }
}

/// What the id of a chunk is a hash of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum IdKind {
    /// BLAKE3 of the plain bytes. The only kind written today.
    Plain = 0,
    /// BLAKE3 of the plain bytes, keyed by the domain. Reserved.
    Keyed = 1,
    /// BLAKE3 of the stored (encrypted) bytes. Reserved.
    Stored = 2,
}

impl IdKind {
    /// The kind of a stored or sent byte.
    pub fn from_byte(byte: u8) -> Option<IdKind> {
        match byte {
            0 => Some(IdKind::Plain),
            1 => Some(IdKind::Keyed),
            2 => Some(IdKind::Stored),
            _ => None,
        }
    }
}

/// Where a chunk lives in the world of all chunks: two domains never share a copy, so nothing about one tenant can be
/// learnt through another (P5). Part of ring position, pack record, token, receipt and reference.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChunkAddress {
    /// Whose chunk it is.
    pub domain: Domain,
    /// What the id is a hash of.
    pub kind: IdKind,
    /// The hash.
    pub id: ChunkId,
}

impl ChunkAddress {
    /// Length of [`ChunkAddress::to_bytes`].
    pub const BYTES: usize = 37;

    /// The address of plain `bytes` in `domain`.
    pub fn of(domain: Domain, bytes: &[u8]) -> ChunkAddress {
        ChunkAddress { domain, kind: IdKind::Plain, id: ChunkId::of(bytes) }
    }

    /// Canonical form: domain (4 bytes, big endian), kind (1), id (32). Used in keys, MACs and hashes.
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..4].copy_from_slice(&self.domain.0.to_be_bytes());
        bytes[4] = self.kind as u8;
        bytes[5..].copy_from_slice(&self.id.0);
        bytes
    }

    /// Reverse of [`ChunkAddress::to_bytes`]; `None` for an unknown kind.
    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> Option<ChunkAddress> {
        let (domain, rest) = bytes.split_first_chunk::<4>()?;
        let (kind, id) = rest.split_first()?;
        Some(ChunkAddress {
            domain: Domain(u32::from_be_bytes(*domain)),
            kind: IdKind::from_byte(*kind)?,
            id: ChunkId(id.try_into().ok()?),
        })
    }

    /// The ring slot of this chunk: the first bits of the hash of its address.
    pub fn slot(&self) -> Slot {
        let hash = blake3::hash(&self.to_bytes());
        let [first, second, ..] = *hash.as_bytes();
        Slot(u16::from_be_bytes([first, second]) >> (16 - SLOT_BITS))
    }
}

impl fmt::Display for ChunkAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.domain.0, self.kind as u8, self.id)
    }
}

impl fmt::Debug for ChunkAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{:?}", self.domain.0, self.kind as u8, self.id)
    }
}

/// The text is no chunk address: `DOMAIN-KIND-64 lower-case hex digits`, each number without leading zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a chunk address (DOMAIN-KIND-HEX, 64 lower-case hex digits)")]
pub struct ParseAddressError;

impl FromStr for ChunkAddress {
    type Err = ParseAddressError;

    fn from_str(text: &str) -> Result<ChunkAddress, ParseAddressError> {
        let mut parts = text.splitn(3, '-');
        let (Some(domain), Some(kind), Some(id)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(ParseAddressError);
        };
        let domain: u32 = domain.parse().map_err(|_| ParseAddressError)?;
        let kind = kind.parse().ok().and_then(IdKind::from_byte).ok_or(ParseAddressError)?;
        let mut bytes = [0; 32];
        hex::decode_to_slice(id, &mut bytes).map_err(|_| ParseAddressError)?;
        let address = ChunkAddress { domain: Domain(domain), kind, id: ChunkId(bytes) };
        // One text for one address: "+1", "01" and upper-case hex parse as numbers but are refused here.
        if address.to_string() == text { Ok(address) } else { Err(ParseAddressError) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_forms_of_an_address_are_pinned() {
        let address = ChunkAddress::of(Domain(258), b"cairn");
        assert_eq!(address.to_string(), format!("258-0-{}", blake3::hash(b"cairn").to_hex()));
        assert_eq!(&address.to_bytes()[..5], &[0, 0, 1, 2, 0]);
        assert_eq!(&address.to_bytes()[5..], blake3::hash(b"cairn").as_bytes());
    }

    #[test]
    fn only_the_canonical_text_is_an_address() {
        let good = ChunkAddress::of(Domain(1), b"x").to_string();
        assert!(good.parse::<ChunkAddress>().is_ok());
        for bad in [
            "".to_owned(),
            good.to_uppercase(),
            good.replacen('1', "01", 1),
            good.replacen('1', "+1", 1),
            good.replacen("-0-", "-3-", 1),
            format!("{good}0"),
            good[..good.len() - 1].to_owned(),
            format!("../{good}"),
        ] {
            assert_eq!(bad.parse::<ChunkAddress>(), Err(ParseAddressError), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn addresses_survive_both_forms(domain: u32, kind in 0u8..3, id: [u8; 32]) {
            let address = ChunkAddress { domain: Domain(domain), kind: IdKind::from_byte(kind).unwrap(), id: ChunkId(id) };
            prop_assert_eq!(ChunkAddress::from_bytes(&address.to_bytes()), Some(address));
            prop_assert_eq!(address.to_string().parse(), Ok(address));
            prop_assert!(address.slot().0 < 1 << SLOT_BITS);
        }
    }
}
