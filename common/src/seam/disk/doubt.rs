//! File systems that are known not to keep what an fsync promises, or to keep it only as well as something behind them does.
//!
//! Nobody is kept from using one: a test may, and a person may know better. They are told. Types are those of statfs(2) and
//! `linux/magic.h`.

/// What is doubtful about a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// It is in memory: nothing outlasts a power cut, or the machine's next start.
    Memory(&'static str),
    /// Its promises are those of a server or a program behind it, which nothing here can look at.
    Behind(&'static str),
    /// It keeps no journal, or writes in place what must change whole.
    Fragile(&'static str),
}

impl Doubt {
    /// What there is to say about the file system with this number, if anything.
    pub(super) fn of(magic: u64) -> Option<Doubt> {
        Some(match magic & 0xffff_ffff {
            0x0102_1994 => Doubt::Memory("tmpfs"),
            0x8584_58f6 => Doubt::Memory("ramfs"),
            0x6969 => Doubt::Behind("NFS"),
            0x517b | 0xff53_4d42 | 0xfe53_4d42 => Doubt::Behind("SMB"),
            0x6573_5546 => Doubt::Behind("FUSE"),
            0x0102_1997 => Doubt::Behind("9p"),
            0x5346_414f | 0x6b41_4653 => Doubt::Behind("AFS"),
            0x794c_7630 => Doubt::Behind("overlayfs"),
            0x4d44 => Doubt::Fragile("FAT"),
            0x2011_bab0 => Doubt::Fragile("exFAT"),
            _ => return None,
        })
    }
}

impl std::fmt::Display for Doubt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Doubt::Memory(name) => write!(f, "{name} is in memory: nothing on it outlasts the machine's next start"),
            Doubt::Behind(name) => {
                write!(
                    f,
                    "{name} keeps what it promises only as well as what is behind it; use a disk with ext4 or XFS"
                )
            }
            Doubt::Fragile(name) => {
                write!(f, "{name} may lose names and files in a power cut that were synced; use ext4 or XFS")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_systems_that_void_a_promise_are_known_and_others_are_not_doubted() {
        assert_eq!(Doubt::of(0x6969), Some(Doubt::Behind("NFS")));
        assert_eq!(Doubt::of(0x0102_1994), Some(Doubt::Memory("tmpfs")));
        // A number with the sign of a smaller type carried on.
        assert_eq!(Doubt::of(0xffff_ffff_ff53_4d42), Some(Doubt::Behind("SMB")));
        // ext4, XFS, btrfs, ZFS.
        for magic in [0xef53, 0x5846_5342, 0x9123_683e, 0x2fc1_2fc1] {
            assert_eq!(Doubt::of(magic), None);
        }
    }
}
