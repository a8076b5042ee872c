//! How much a volume may hold. Pure arithmetic.
//!
//! Space is given out in packs, at allocation: a full disk shows there and never at fsync. Chunks leave a reserve alone: one pack,
//! allocated in advance, so that a tombstone can always be written and a pack always be compacted; and 5 % beside it, where
//! the index grows.

use cairn_common::limits::{PACK_BYTES, PACK_MIN_BYTES, RESERVE_PERCENT};

/// Largest packs: positions in them have 32 bits.
const PACK_MAX_BYTES: u32 = 1 << 30;
/// Least room for the index.
const INDEX_MIN_BYTES: u64 = 2 << 20;

/// What is known about the space of a volume.
#[derive(Clone, Copy, Debug)]
pub(super) struct SpaceFacts {
    /// Configured bound, if there is one.
    pub(super) configured_bytes: Option<u64>,
    /// Free in the file system, now.
    pub(super) disk_free_bytes: u64,
    /// Allocated to packs.
    pub(super) packs_bytes: u64,
    /// Of those, still unwritten in the pack that is being appended to.
    pub(super) room_bytes: u64,
    /// Allocated to the reserve; less than a pack: it has been used, or could not be made.
    pub(super) reserve_bytes: u64,
    /// Allocated for the index, in advance.
    pub(super) index_room_bytes: u64,
    /// Size of a new pack.
    pub(super) pack_bytes: u64,
}

/// Space of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// All that it may use, in bytes.
    pub capacity_bytes: u64,
    /// What its packs hold, in bytes.
    pub used_bytes: u64,
    /// What chunks may still take, in bytes.
    pub free_bytes: u64,
    /// Packs that may still be begun for chunks.
    pub(super) new_packs: u64,
}

impl SpaceFacts {
    pub(super) fn space(&self) -> Space {
        let ours = self.packs_bytes + self.reserve_bytes + self.index_room_bytes;
        let possible = ours.saturating_add(self.disk_free_bytes);
        let capacity_bytes = self.configured_bytes.map_or(possible, |configured| configured.min(possible));
        let reserved = self.pack_bytes + (capacity_bytes / 100 * RESERVE_PERCENT).max(INDEX_MIN_BYTES);
        let open = capacity_bytes.saturating_sub(self.packs_bytes).saturating_sub(reserved);
        let takes_chunks = self.reserve_bytes >= self.pack_bytes;
        let (new_packs, room) = if takes_chunks { (open / self.pack_bytes, self.room_bytes) } else { (0, 0) };
        Space {
            capacity_bytes,
            used_bytes: self.packs_bytes.saturating_sub(self.room_bytes),
            free_bytes: new_packs * self.pack_bytes + room,
            new_packs,
        }
    }
}

/// Size of the packs of a volume that may use `capacity_bytes`: a sixteenth of it within bounds, in whole MiB, so that compaction
/// and the reserve stay small beside it.
pub(super) fn pack_bytes(capacity_bytes: u64, wanted: Option<u32>) -> u32 {
    let wanted = wanted.unwrap_or(PACK_BYTES).clamp(PACK_MIN_BYTES, PACK_MAX_BYTES);
    let mebibyte = 1 << 20;
    let share = capacity_bytes / 16 / mebibyte * mebibyte;
    share.clamp(u64::from(PACK_MIN_BYTES), u64::from(wanted)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIB: u64 = 1 << 20;

    fn facts() -> SpaceFacts {
        SpaceFacts {
            configured_bytes: None,
            disk_free_bytes: 900 * MIB,
            packs_bytes: 90 * MIB,
            room_bytes: 4 * MIB,
            reserve_bytes: 10 * MIB,
            index_room_bytes: 0,
            pack_bytes: 10 * MIB,
        }
    }

    #[test]
    fn chunks_leave_five_percent_alone() {
        let space = facts().space();
        assert_eq!(space.capacity_bytes, 1000 * MIB);
        assert_eq!(space.used_bytes, 86 * MIB);
        assert_eq!(space.new_packs, 85, "of 91 that would fit");
        assert_eq!(space.free_bytes, 854 * MIB);
    }

    #[test]
    fn a_configured_capacity_bounds_what_is_taken() {
        let space = SpaceFacts { configured_bytes: Some(120 * MIB), ..facts() }.space();
        assert_eq!((space.capacity_bytes, space.new_packs), (120 * MIB, 1));
        let over = SpaceFacts { configured_bytes: Some(50 * MIB), ..facts() }.space();
        assert_eq!((over.new_packs, over.free_bytes), (0, 4 * MIB));
    }

    #[test]
    fn without_its_reserve_a_volume_takes_nothing() {
        let space = SpaceFacts { reserve_bytes: 0, ..facts() }.space();
        assert_eq!((space.new_packs, space.free_bytes), (0, 0));
    }

    #[test]
    fn packs_are_a_sixteenth_of_the_volume_within_bounds() {
        assert_eq!(pack_bytes(u64::MAX, None), PACK_BYTES);
        assert_eq!(pack_bytes(1 << 30, None), 64 << 20);
        assert_eq!(pack_bytes(24 * MIB, None), PACK_MIN_BYTES);
        assert_eq!(pack_bytes(1 << 30, Some(8 << 20)), 8 << 20);
    }

    proptest! {
        #[test]
        fn what_may_be_begun_always_fits_beside_the_reserve(
            configured in proptest::option::of(0u64..1 << 44), free in 0u64..1 << 44, packs in 0u64..1 << 44, room in 0u64..1 << 20,
            index_room in 0u64..2 << 20,
        ) {
            let facts = SpaceFacts {
                configured_bytes: configured, disk_free_bytes: free, packs_bytes: packs, room_bytes: room,
                index_room_bytes: index_room, ..facts()
            };
            let space = facts.space();
            let begun = space.new_packs * facts.pack_bytes;
            prop_assert!(begun <= free);
            prop_assert!(space.new_packs == 0 || packs + begun + facts.pack_bytes <= space.capacity_bytes);
        }
    }
}
