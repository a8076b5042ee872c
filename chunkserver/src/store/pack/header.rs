//! First page of a pack: which pack of which volume it is.
//!
//! Nothing that is needed to read the records stands only here: a pack whose first page is damaged is read with the key
//! from the volume's identity, and the number from its name.

use super::{PAGE_BYTES, PackNumber, SECTOR_BYTES};
use cairn_common::ids::{BootCount, ClusterId, NodeId, VolumeId};

const MAGIC: &[u8; 8] = b"CAIRNPAK";
const FORMAT: u8 = 1;
/// Bytes that the checksum covers.
const CHECKED: usize = 64;
/// Bytes of a header with its checksum; the rest of the page is zero.
const BYTES: usize = CHECKED + 32;

/// What a pack says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackHeader {
    /// Its cluster.
    pub cluster: ClusterId,
    /// The node that wrote it.
    pub node: NodeId,
    /// Its volume incarnation.
    pub volume: VolumeId,
    /// Its number.
    pub number: PackNumber,
    /// The run of the node in which it was made.
    pub boot: BootCount,
}

/// A first page that is no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PackHeaderError {
    /// Never written, or damaged.
    Damaged,
    /// Whole, and of a format that this release does not know.
    Newer(u8),
}

impl PackHeader {
    /// The first page of a pack.
    pub fn encode(&self) -> Vec<u8> {
        let mut page = Vec::with_capacity(PAGE_BYTES as usize);
        page.extend_from_slice(MAGIC);
        page.extend_from_slice(&[FORMAT, SECTOR_BYTES.trailing_zeros() as u8, PAGE_BYTES.trailing_zeros() as u8, 0]);
        page.extend_from_slice(&self.cluster.0);
        page.extend_from_slice(&self.node.0.to_be_bytes());
        page.extend_from_slice(&self.volume.0.to_be_bytes());
        page.extend_from_slice(&self.number.0.to_be_bytes());
        page.extend_from_slice(&self.boot.0.to_be_bytes());
        page.resize(CHECKED, 0);
        let checksum = blake3::hash(&page);
        page.extend_from_slice(checksum.as_bytes());
        page.resize(PAGE_BYTES as usize, 0);
        page
    }

    /// Reverse of [`PackHeader::encode`].
    pub(crate) fn decode(page: &[u8]) -> Result<PackHeader, PackHeaderError> {
        let (header, _) = page.split_first_chunk::<BYTES>().ok_or(PackHeaderError::Damaged)?;
        let (checked, checksum) = header.split_at(CHECKED);
        if !checked.starts_with(MAGIC) || blake3::hash(checked).as_bytes() != checksum {
            return Err(PackHeaderError::Damaged);
        }
        if checked[8] != FORMAT {
            return Err(PackHeaderError::Newer(checked[8]));
        }
        let number = |at: usize| u32::from_be_bytes([checked[at], checked[at + 1], checked[at + 2], checked[at + 3]]);
        let mut cluster = [0; 16];
        cluster.copy_from_slice(&checked[12..28]);
        Ok(PackHeader {
            cluster: ClusterId(cluster),
            node: NodeId(number(28)),
            volume: VolumeId(u64::from(number(32)) << 32 | u64::from(number(36))),
            number: PackNumber(number(40)),
            boot: BootCount(number(44)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> PackHeader {
        PackHeader {
            cluster: ClusterId([0xc1; 16]),
            node: NodeId(3),
            volume: VolumeId(0x1122_3344_5566_7788),
            number: PackNumber(9),
            boot: BootCount(4),
        }
    }

    #[test]
    fn the_bytes_of_a_pack_header_are_pinned() {
        let page = header().encode();
        assert_eq!(page.len(), PAGE_BYTES as usize);
        assert_eq!(hex::encode(&page[..BYTES]), PINNED);
        assert!(page[BYTES..].iter().all(|byte| *byte == 0));
    }

    const PINNED: &str = concat!(
        "434149524e50414b01090c00c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c100000003112233445566778800000009000000040000",
        "0000000000000000000000000000c7da698923208302538c4cf4f699ec75261e2f955a6c7708f14db269b29cba1d",
    );

    #[test]
    fn a_header_is_read_as_it_was_written() {
        assert_eq!(PackHeader::decode(&header().encode()), Ok(header()));
    }

    #[test]
    fn any_flipped_bit_is_noticed() {
        let page = header().encode();
        for bit in 0..BYTES * 8 {
            let mut bad = page.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(PackHeader::decode(&bad), Err(PackHeaderError::Damaged), "bit {bit}");
        }
        for cut in 0..BYTES {
            assert!(PackHeader::decode(&page[..cut]).is_err());
        }
    }

    #[test]
    fn a_pack_of_a_newer_release_is_known_as_such() {
        let mut page = header().encode();
        page[8] = 2;
        let checksum = blake3::hash(&page[..CHECKED]);
        page[CHECKED..BYTES].copy_from_slice(checksum.as_bytes());
        assert_eq!(PackHeader::decode(&page), Err(PackHeaderError::Newer(2)));
    }
}
