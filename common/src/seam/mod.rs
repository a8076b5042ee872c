//! Where the real world enters: time, chance, disk, network, threads. Everything else gets these through constructors, so
//! that a simulation can put its own in. The only folder that may call the real ones (clippy.toml says which calls).

#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod bugs;
mod clock;
mod disk;
mod pool;
mod random;
mod transport;

pub use bugs::{SEEDED_BUGS, check_seeded_bug, seeded_bug};
#[cfg(feature = "sim")]
pub use bugs::{must_fail_without, with_seeded_bug};
pub use clock::{Clock, SystemClock};
pub use disk::{Disk, DiskFile, DiskSpace, DiskTrouble, Doubt, OpenMode, RealDisk};
pub use pool::{Pool, Threads, spawn_thread};
pub use random::{OsRandom, Random};
pub use transport::{BodyStream, BoxedIo, CallError, HttpTransport, Io, TlsTrust, Transport};

/// A map for look-ups only, never iterated where order could decide anything.
pub type FastMap<K, V> = std::collections::HashMap<K, V>;
/// A set for look-ups only.
pub type FastSet<K> = std::collections::HashSet<K>;
