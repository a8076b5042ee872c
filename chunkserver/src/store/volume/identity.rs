//! Who a volume is: a small file on the disk itself, replaced whole.
//!
//! A disk whose boot count is behind its node's is a clone or an old image; a disk that was not shut down cleanly has lost
//! the touches since its index was last flushed, so every chunk on it counts as touched when it was started again.

use super::super::pack::Position;
use cairn_common::ids::{BootCount, ClusterId, Generation, NodeId, Slot, Stamp, VolumeId};
use cairn_common::ring::SLOTS;

const MAGIC: &[u8; 8] = b"CAIRNVOL";
const CLEAN_MAGIC: &[u8; 8] = b"CAIRNCLN";
const SCRUB_MAGIC: &[u8; 8] = b"CAIRNSCB";
const FORMAT: u8 = 1;
/// Bytes of an identity that its checksum covers.
const CHECKED: usize = 88;

/// What a volume knows about itself.
#[derive(Clone, PartialEq, Eq)]
pub struct VolumeIdentity {
    /// Its cluster.
    pub cluster: ClusterId,
    /// The generation of it in which the volume last served.
    pub generation: Generation,
    /// Its node.
    pub node: NodeId,
    /// This life of the disk.
    pub volume: VolumeId,
    /// The run of the node in which it last served.
    pub boot: BootCount,
    /// Every chunk counts as touched then, at least.
    pub touch_floor: Stamp,
    /// Secret of the volume, from which the keys of its packs are derived.
    pub salt: [u8; 32],
}

impl std::fmt::Debug for VolumeIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VolumeIdentity")
            .field("cluster", &self.cluster)
            .field("node", &self.node)
            .field("volume", &self.volume)
            .field("boot", &self.boot)
            .finish_non_exhaustive()
    }
}

/// Bytes that are no identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IdentityBytesError {
    Damaged,
    Newer(u8),
}

impl VolumeIdentity {
    /// The file's bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(CHECKED + 32);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&[FORMAT, 0, 0, 0]);
        bytes.extend_from_slice(&self.cluster.0);
        bytes.extend_from_slice(&self.generation.0.to_be_bytes());
        bytes.extend_from_slice(&self.node.0.to_be_bytes());
        bytes.extend_from_slice(&self.volume.0.to_be_bytes());
        bytes.extend_from_slice(&self.boot.0.to_be_bytes());
        bytes.extend_from_slice(&self.touch_floor.0.to_be_bytes());
        bytes.extend_from_slice(&self.salt);
        sealed(bytes)
    }

    /// Reverse of [`VolumeIdentity::encode`].
    pub(crate) fn decode(bytes: &[u8]) -> Result<VolumeIdentity, IdentityBytesError> {
        let checked = unsealed(bytes, MAGIC).ok_or(IdentityBytesError::Damaged)?;
        if checked[8] != FORMAT {
            return Err(IdentityBytesError::Newer(checked[8]));
        }
        let checked: &[u8; CHECKED] = checked.try_into().map_err(|_| IdentityBytesError::Damaged)?;
        let number = |at: usize| u32::from_be_bytes([checked[at], checked[at + 1], checked[at + 2], checked[at + 3]]);
        let long = |at: usize| u64::from(number(at)) << 32 | u64::from(number(at + 4));
        let (mut cluster, mut salt) = ([0; 16], [0; 32]);
        cluster.copy_from_slice(&checked[12..28]);
        salt.copy_from_slice(&checked[56..88]);
        Ok(VolumeIdentity {
            cluster: ClusterId(cluster),
            generation: Generation(number(28)),
            node: NodeId(number(32)),
            volume: VolumeId(long(36)),
            boot: BootCount(number(44)),
            touch_floor: Stamp(long(48)),
            salt,
        })
    }
}

/// What a clean stop leaves behind: in which run it was, and where the packs ended when the index had everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CleanMark {
    pub(crate) boot: BootCount,
    pub(crate) end: Position,
}

impl CleanMark {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = CLEAN_MAGIC.to_vec();
        bytes.push(FORMAT);
        bytes.extend_from_slice(&self.boot.0.to_be_bytes());
        bytes.extend_from_slice(&self.end.to_number().to_be_bytes());
        sealed(bytes)
    }

    /// `None`: no mark of ours; the stop counts as unclean.
    pub(crate) fn decode(bytes: &[u8]) -> Option<CleanMark> {
        let checked: &[u8; 21] = unsealed(bytes, CLEAN_MAGIC)?.try_into().ok()?;
        let (boot, end) = (checked[9..13].try_into().ok()?, checked[13..].try_into().ok()?);
        let end = Position::from_number(u64::from_be_bytes(end));
        (checked[8] == FORMAT).then_some(CleanMark { boot: BootCount(u32::from_be_bytes(boot)), end })
    }
}

/// How far reading everything back is. Without it, it begins anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct ScrubMark {
    /// Slots before this one were read in the pass that is under way; zero: none is.
    pub(crate) slot: Slot,
    /// When the last whole pass ended, in milliseconds since 1970; zero: none has.
    pub(crate) ended_ms: u64,
    /// When the next one begins.
    pub(crate) due_ms: u64,
}

impl ScrubMark {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = SCRUB_MAGIC.to_vec();
        bytes.push(FORMAT);
        bytes.extend_from_slice(&self.slot.0.to_be_bytes());
        bytes.extend_from_slice(&self.ended_ms.to_be_bytes());
        bytes.extend_from_slice(&self.due_ms.to_be_bytes());
        sealed(bytes)
    }

    /// `None`: no mark of ours.
    pub(crate) fn decode(bytes: &[u8]) -> Option<ScrubMark> {
        let checked: &[u8; 27] = unsealed(bytes, SCRUB_MAGIC)?.try_into().ok()?;
        let slot = Slot(u16::from_be_bytes(checked[9..11].try_into().ok()?));
        let (ended, due) = (checked[11..19].try_into().ok()?, checked[19..].try_into().ok()?);
        let mark = ScrubMark { slot, ended_ms: u64::from_be_bytes(ended), due_ms: u64::from_be_bytes(due) };
        (checked[8] == FORMAT && usize::from(slot.0) < SLOTS).then_some(mark)
    }
}

fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let checksum = blake3::hash(&bytes);
    bytes.extend_from_slice(checksum.as_bytes());
    bytes
}

fn unsealed<'a>(bytes: &'a [u8], magic: &[u8; 8]) -> Option<&'a [u8]> {
    let (checked, checksum) = bytes.split_last_chunk::<32>()?;
    let whole =
        checked.len() > magic.len() && checked.starts_with(magic) && blake3::hash(checked).as_bytes() == checksum;
    whole.then_some(checked)
}

#[cfg(test)]
mod tests {
    use super::super::super::pack::PackNumber;
    use super::*;

    fn identity() -> VolumeIdentity {
        VolumeIdentity {
            cluster: ClusterId([0xc1; 16]),
            generation: Generation(2),
            node: NodeId(3),
            volume: VolumeId(0x1122_3344_5566_7788),
            boot: BootCount(4),
            touch_floor: Stamp(0x0102_0304_0506_0708),
            salt: [0x5a; 32],
        }
    }

    #[test]
    fn the_bytes_of_an_identity_are_pinned() {
        assert_eq!(hex::encode(identity().encode()), PINNED_IDENTITY);
        let mark = CleanMark { boot: BootCount(4), end: Position { pack: PackNumber(1), offset: 4096 } };
        assert_eq!(hex::encode(mark.encode()), PINNED_MARK);
    }

    const PINNED_IDENTITY: &str = concat!(
        "434149524e564f4c01000000c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c100000002000000031122334455667788000000040102",
        "0304050607085a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5ac4c0008c1e7ca5fd5a81ddd1",
        "a990b7ddf817bd9947770ea47ac25542e136d60a",
    );
    const PINNED_MARK: &str = concat!(
        "434149524e434c4e010000000400000001000010008749a243f6ca72c15029dbc87396b7113e7bc7cd088872379a356d9ebc",
        "c44a5b",
    );

    #[test]
    fn an_identity_is_read_as_it_was_written() {
        assert_eq!(VolumeIdentity::decode(&identity().encode()), Ok(identity()));
        let mark = CleanMark { boot: BootCount(4), end: Position { pack: PackNumber(1), offset: 4096 } };
        assert_eq!(CleanMark::decode(&mark.encode()), Some(mark));
        assert_eq!(CleanMark::decode(&identity().encode()), None);
    }

    #[test]
    fn how_far_the_scrub_is_is_read_as_it_was_written_or_not_at_all() {
        let mark = ScrubMark { slot: Slot(0x1234), ended_ms: 5, due_ms: 6 };
        let bytes = mark.encode();
        assert_eq!(hex::encode(&bytes[..27]), "434149524e53434201123400000000000000050000000000000006");
        assert_eq!(ScrubMark::decode(&bytes), Some(mark));
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(ScrubMark::decode(&bad), None, "bit {bit}");
        }
        assert_eq!(ScrubMark::decode(&ScrubMark { slot: Slot(SLOTS as u16), ..mark }.encode()), None);
    }

    #[test]
    fn any_flipped_bit_or_cut_is_noticed() {
        let bytes = identity().encode();
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(VolumeIdentity::decode(&bad), Err(IdentityBytesError::Damaged), "bit {bit}");
        }
        for cut in 0..bytes.len() {
            assert_eq!(VolumeIdentity::decode(&bytes[..cut]), Err(IdentityBytesError::Damaged));
        }
    }

    #[test]
    fn an_identity_of_a_newer_release_is_known_as_such() {
        let mut bytes = identity().encode();
        bytes.truncate(CHECKED);
        bytes[8] = 2;
        assert_eq!(VolumeIdentity::decode(&sealed(bytes)), Err(IdentityBytesError::Newer(2)));
    }

    #[test]
    fn the_salt_does_not_print_itself() {
        assert!(!format!("{:?}", identity()).contains("90"));
    }
}
