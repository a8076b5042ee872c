//! Newtypes for every id, so that no two kinds of number can be mixed up.
//!
//! Ids that the masters give out (`SessionId`, `WindowId`, `ManifestId`, `VolumeId`, …) are the [`Stamp`] of the log
//! entry that made them: unique for ever within a cluster, ordered, and the same on every replica of the state.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Position of a command in the order of the whole shard: milliseconds since 1970 in the upper 44 bits, a counter in the
/// lower 20. Given by the leader, strictly growing, kept in the state. The only clock that versions, leases and touches
/// know; a Raft index never leaves the log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Stamp(pub u64);

impl Stamp {
    /// Bits of the counter within one millisecond.
    pub const COUNTER_BITS: u32 = 20;
    /// Before everything.
    pub const ZERO: Stamp = Stamp(0);
    /// After everything.
    pub const MAX: Stamp = Stamp(u64::MAX);

    /// The first stamp of a millisecond since 1970.
    pub fn from_ms(ms: u64) -> Stamp {
        Stamp(ms << Self::COUNTER_BITS)
    }

    /// Milliseconds since 1970.
    pub fn ms(self) -> u64 {
        self.0 >> Self::COUNTER_BITS
    }

    /// This stamp moved later by `ms` milliseconds.
    pub fn plus_ms(self, ms: u64) -> Stamp {
        Stamp(self.0.saturating_add(ms.saturating_mul(1 << Self::COUNTER_BITS)))
    }

    /// This stamp moved earlier by `ms` milliseconds.
    pub fn minus_ms(self, ms: u64) -> Stamp {
        Stamp(self.0.saturating_sub(ms.saturating_mul(1 << Self::COUNTER_BITS)))
    }

    /// The `n`th stamp after this one.
    pub fn next(self, n: u64) -> Stamp {
        Stamp(self.0.checked_add(n).expect("stamps last until the year 2527"))
    }
}

impl fmt::Debug for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.ms(), self.0 & ((1 << Self::COUNTER_BITS) - 1))
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Declares a numeric id: `name(inner)`, shown as `prefix` and the number.
macro_rules! numeric_id {
    ($(#[$meta:meta])* $name:ident($inner:ty), $prefix:literal) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        pub struct $name(pub $inner);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    };
}

numeric_id!(
    /// A process of the cluster, for ever: ids are allocated by log entries and never reused.
    NodeId(u32), "n"
);
numeric_id!(
    /// One life of one disk (a *volume incarnation*): a wiped, replaced or cloned disk gets another.
    VolumeId(u64), "v"
);
numeric_id!(
    /// How often a node has started; raised by a log entry at every start and stored on each of its disks before it serves.
    BootCount(u32), "b"
);
numeric_id!(
    /// Number of a ring; only grows.
    Epoch(u64), "e"
);
numeric_id!(
    /// Part of the cluster's identity and of every key: a restore from backup starts a new one.
    Generation(u32), "g"
);
numeric_id!(
    /// Who may share copies of a chunk: today a tenant, later an encryption key.
    Domain(u32), "d"
);
numeric_id!(
    /// An owner of buckets and keys.
    TenantId(u32), "t"
);
numeric_id!(
    /// A bucket for ever: a re-created name gets another number.
    BucketId(u64), "bucket-"
);
numeric_id!(
    /// A client's conversation with the masters, which makes its retries exact.
    SessionId(u64), "s"
);
numeric_id!(
    /// A stretch of an upload under one lease.
    WindowId(u64), "w"
);
numeric_id!(
    /// A begun file version that is not committed yet, or a multipart upload.
    UploadId(u64), "u"
);
numeric_id!(
    /// An ordered list of chunks, immutable once closed.
    ManifestId(u64), "m"
);
numeric_id!(
    /// A ring slot: the unit of placement, inventory and repair.
    Slot(u16), "slot-"
);
numeric_id!(
    /// Which of a cluster's key generations a MAC was made with.
    KeyId(u32), "k"
);

impl TenantId {
    /// The tenant that a new cluster starts with.
    pub const FIRST: TenantId = TenantId(1);

    /// The domain that this tenant's chunks live in.
    pub fn domain(self) -> Domain {
        Domain(self.0)
    }
}

/// A cluster, chosen at random when it is made. Checked before anything else when two processes meet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClusterId(pub [u8; 16]);

impl fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl std::str::FromStr for ClusterId {
    type Err = hex::FromHexError;

    fn from_str(text: &str) -> Result<ClusterId, hex::FromHexError> {
        let mut id = [0; 16];
        hex::decode_to_slice(text, &mut id)?;
        Ok(ClusterId(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_keep_milliseconds_and_order() {
        let stamp = Stamp::from_ms(1_795_000_000_123);
        assert_eq!(stamp.ms(), 1_795_000_000_123);
        assert!(stamp.next(1) > stamp && stamp.next(1).ms() == stamp.ms());
        assert_eq!(stamp.plus_ms(5).minus_ms(5), stamp);
        assert_eq!(Stamp::ZERO.minus_ms(1), Stamp::ZERO);
        assert_eq!(Stamp::MAX.plus_ms(u64::MAX), Stamp::MAX);
    }

    #[test]
    fn a_cluster_id_parses_what_it_prints() {
        let id = ClusterId([7; 16]);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("07".parse::<ClusterId>().is_err());
    }
}
