//! What goes wrong on a simulated disk, and when.

use rustix::io::Errno;
use std::io;
use std::path::Path;

/// Kinds of operation that can be made to fail. All but `Open`, `Read` and `List` are persistent steps: what they do may or
/// may not outlast a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskOp {
    /// Opening a file that exists.
    Open,
    /// Making a file.
    Create,
    /// Reading a file.
    Read,
    /// Writing to a file.
    Write,
    /// Syncing a file's data.
    Sync,
    /// Reserving space.
    Allocate,
    /// Cutting or extending a file.
    SetLen,
    /// Renaming a file.
    Rename,
    /// Removing a file.
    Remove,
    /// Making a folder.
    CreateDir,
    /// Syncing the names of a folder.
    SyncDir,
    /// Listing a folder, asking for existence or space.
    List,
}

impl DiskOp {
    /// Whether a power cut at it can leave a trace.
    pub(super) fn is_persistent(self) -> bool {
        !matches!(self, DiskOp::Open | DiskOp::Read | DiskOp::List)
    }
}

/// The errors of storage that matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskErrno {
    /// EIO: the device failed.
    Io,
    /// ENOSPC: no room.
    NoSpace,
    /// EROFS: the file system was switched to read-only.
    ReadOnly,
}

impl DiskErrno {
    pub(super) fn error(self) -> io::Error {
        match self {
            DiskErrno::Io => Errno::IO,
            DiskErrno::NoSpace => Errno::NOSPC,
            DiskErrno::ReadOnly => Errno::ROFS,
        }
        .into()
    }
}

/// An error to be injected. A failed write changes nothing; after a failed sync the pages count as clean, as on Linux.
#[derive(Clone, Debug)]
pub struct DiskFault {
    /// Which kind of operation.
    pub op: DiskOp,
    /// Only on paths that contain this.
    pub path: String,
    /// This many matching operations pass first.
    pub skip: u64,
    /// This many then fail; `u64::MAX`: all.
    pub times: u64,
    /// With this.
    pub errno: DiskErrno,
}

impl DiskFault {
    /// Fails the next matching operation, once.
    pub fn once(op: DiskOp, path: &str, errno: DiskErrno) -> DiskFault {
        DiskFault { op, path: path.to_owned(), skip: 0, times: 1, errno }
    }

    /// Fails every matching operation from now on.
    pub fn forever(op: DiskOp, path: &str, errno: DiskErrno) -> DiskFault {
        DiskFault { times: u64::MAX, ..DiskFault::once(op, path, errno) }
    }

    /// The same after `skip` matching operations.
    pub fn after(self, skip: u64) -> DiskFault {
        DiskFault { skip, ..self }
    }
}

/// Where within a persistent step the power goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PowerCut {
    /// The step did nothing.
    Before,
    /// The step did some of what it does.
    Torn,
    /// The step is done, and its caller never hears of it.
    After,
}

/// What a power cut leaves of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashPolicy {
    /// Nothing.
    LoseUnsynced,
    /// Each change by chance, from a seed.
    KeepSome(u64),
    /// Each 512-byte sector of each write, and each other change, by chance, from a seed.
    Tear(u64),
    /// Everything: the process died and the machine did not.
    KeepAll,
}

/// All that is planned.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) faults: Vec<DiskFault>,
    pub(super) power_cut: Option<(u64, PowerCut)>,
    pub(super) lying: bool,
    /// Persistent steps so far.
    pub(super) steps: u64,
}

impl Plan {
    /// The error that is due for this operation, if any.
    pub(super) fn fault(&mut self, op: DiskOp, path: &Path) -> Option<io::Error> {
        let path = path.to_string_lossy();
        let matching = self.faults.iter_mut().filter(|fault| fault.op == op && path.contains(&fault.path));
        let mut due = None;
        for fault in matching {
            if fault.skip > 0 {
                fault.skip -= 1;
            } else if fault.times > 0 && due.is_none() {
                fault.times = if fault.times == u64::MAX { u64::MAX } else { fault.times - 1 };
                due = Some(fault.errno.error());
            }
        }
        due
    }
}
