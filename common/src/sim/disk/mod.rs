//! A disk in memory that keeps *written* and *durable* apart, and fails when told to.
//!
//! What a file's readers see, what a crash would leave of it, and which of its names would be there are three different
//! things, as they are on a real machine. [`SimDisk::crash`] throws away what was not synced: all of it, a subset from a seed,
//! or torn at 512 bytes. Errors can be injected at any operation; persistent steps are counted, so that a test can cut the
//! power before, in, and after each one. The suite in `seam/disk/contract.rs` holds this disk and the real one to the same
//! behaviour.

mod content;
mod file;
mod names;
mod plan;

pub use plan::{CrashPolicy, DiskErrno, DiskFault, DiskOp, PowerCut};

use super::SeededRandom;
use crate::seam::{Disk, DiskFile, DiskSpace, OpenMode};
use content::{Content, PAGE_BYTES};
use file::SimFile;
use names::{Names, Node};
use plan::Plan;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A simulated disk. Clones are handles of the same disk.
#[derive(Clone, Debug)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    files: BTreeMap<u64, Content>,
    names: Names,
    plan: Plan,
    random: SeededRandom,
    capacity_bytes: u64,
    files_max: u64,
    next_file: u64,
    next_handle: u64,
    /// File → how many handles are open. A file without a name lives until the last one is closed.
    open: BTreeMap<u64, u32>,
    /// File → handle that holds its lock.
    locks: BTreeMap<u64, u64>,
    /// Grows with every crash; handles of an earlier life are dead.
    life: u64,
    power: bool,
}

/// Whether an operation is carried out.
enum Verdict {
    Whole,
    /// Carry out a part, then the power is off.
    Torn,
    /// Carry it out; the caller hears nothing but the power cut.
    Unheard,
}

fn power_is_off() -> io::Error {
    io::Error::other("the power is off")
}

impl SimDisk {
    /// An empty disk of 1 TiB whose chance comes from `seed`.
    pub fn new(seed: u64) -> SimDisk {
        SimDisk::with_capacity(seed, 1 << 40)
    }

    /// An empty disk of `capacity_bytes`.
    pub fn with_capacity(seed: u64, capacity_bytes: u64) -> SimDisk {
        let state = State {
            files: BTreeMap::new(),
            names: Names::new(),
            plan: Plan::default(),
            random: SeededRandom::new(seed),
            capacity_bytes,
            files_max: 1 << 20,
            next_file: 1,
            next_handle: 1,
            open: BTreeMap::new(),
            locks: BTreeMap::new(),
            life: 1,
            power: true,
        };
        SimDisk { state: Arc::new(Mutex::new(state)) }
    }

    /// Plans an error.
    pub fn inject(&self, fault: DiskFault) {
        self.lock().plan.faults.push(fault);
    }

    /// Takes all planned errors back.
    pub fn heal(&self) {
        let mut state = self.lock();
        state.plan.faults.clear();
        state.files.values_mut().for_each(Content::make_readable);
    }

    /// Reads of part of a file give EIO from now on.
    ///
    /// # Panics
    /// If there is no such file.
    pub fn make_unreadable(&self, path: &Path, range: std::ops::Range<u64>) {
        let mut state = self.lock();
        let file = state.named(path);
        state.file(file).make_unreadable(range);
    }

    /// Persistent steps so far.
    pub fn steps(&self) -> u64 {
        self.lock().plan.steps
    }

    /// The power goes at the persistent step number `step` (from 0); everything then fails until [`SimDisk::crash`].
    pub fn cut_power_at(&self, step: u64, cut: PowerCut) {
        self.lock().plan.power_cut = Some((step, cut));
    }

    /// Whether the power is on.
    pub fn has_power(&self) -> bool {
        self.lock().power
    }

    /// Cuts the power now, and turns it on again: open files are dead, locks are free, and what was not synced is lost as
    /// `policy` says.
    pub fn crash(&self, policy: CrashPolicy) {
        let mut state = self.lock();
        let state = &mut *state;
        match policy {
            CrashPolicy::LoseUnsynced => {}
            CrashPolicy::KeepAll => {
                state.names.keep_all();
                state.files.values_mut().for_each(Content::sync);
            }
            CrashPolicy::KeepSome(seed) | CrashPolicy::Tear(seed) => {
                let random = SeededRandom::new(seed);
                let torn = matches!(policy, CrashPolicy::Tear(_));
                state.names.sync_some(&random);
                state.files.values_mut().for_each(|file| file.sync_some(torn, &random));
            }
        }
        state.names.crash();
        state.open.clear();
        state.forget_unreachable();
        state.files.values_mut().for_each(Content::crash);
        state.locks.clear();
        state.plan.power_cut = None;
        state.life += 1;
        state.power = true;
    }

    /// From now on a sync says that all is well and does nothing.
    pub fn lie(&self, lying: bool) {
        self.lock().plan.lying = lying;
    }

    /// Changes how much the disk holds.
    pub fn set_capacity(&self, capacity_bytes: u64) {
        self.lock().capacity_bytes = capacity_bytes;
    }

    /// Changes how many files there may be.
    pub fn set_files_max(&self, files_max: u64) {
        self.lock().files_max = files_max;
    }

    /// Flips the bits of `mask` in one byte on the disk. Readers see it when the page is read from the disk again.
    ///
    /// # Panics
    /// If there is no such file.
    pub fn damage(&self, path: &Path, offset: u64, mask: u8) {
        let mut state = self.lock();
        let file = state.named(path);
        state.file(file).damage(offset, mask);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn file(&mut self, file: u64) -> &mut Content {
        self.files.entry(file).or_default()
    }

    fn named(&self, path: &Path) -> u64 {
        let Some(Node::File(file)) = self.names.get(path) else { panic!("{} is no file", path.display()) };
        file
    }

    /// Decides what becomes of an operation, and counts it.
    fn begin(&mut self, op: DiskOp, path: &Path) -> io::Result<Verdict> {
        if !self.power {
            return Err(power_is_off());
        }
        if let Some(error) = self.plan.fault(op, path) {
            return Err(error);
        }
        if !op.is_persistent() {
            return Ok(Verdict::Whole);
        }
        let step = self.plan.steps;
        self.plan.steps += 1;
        match self.plan.power_cut {
            Some((at, cut)) if at == step => {
                self.power = false;
                match cut {
                    PowerCut::Before => Err(power_is_off()),
                    PowerCut::Torn => Ok(Verdict::Torn),
                    PowerCut::After => Ok(Verdict::Unheard),
                }
            }
            _ => Ok(Verdict::Whole),
        }
    }

    /// Carries out a change of names. Names are changed whole or not at all; torn means one of both, by chance.
    fn change_names(&mut self, op: DiskOp, path: &Path, change: impl FnOnce(&mut State)) -> io::Result<()> {
        match self.begin(op, path)? {
            Verdict::Whole => {
                change(self);
                Ok(())
            }
            Verdict::Unheard => {
                change(self);
                Err(power_is_off())
            }
            Verdict::Torn => {
                if self.random.coin() {
                    change(self);
                }
                Err(power_is_off())
            }
        }
    }

    fn used_bytes(&self) -> u64 {
        self.files.values().map(Content::used_bytes).sum()
    }

    /// Whether `file` may grow to `length`.
    fn room_for(&self, file: u64, length: u64) -> io::Result<()> {
        let now = self.files.get(&file).map_or(0, Content::used_bytes);
        let more = length.next_multiple_of(PAGE_BYTES).saturating_sub(now);
        if self.used_bytes() + more > self.capacity_bytes { Err(DiskErrno::NoSpace.error()) } else { Ok(()) }
    }

    /// Frees files that have no name, not even a durable one, and no open handle.
    fn forget_unreachable(&mut self) {
        let named = self.names.files();
        self.files.retain(|file, _| self.open.contains_key(file) || named.binary_search(file).is_ok());
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.lock();
        let file = match (mode, state.names.get(path)) {
            (_, Some(Node::Folder)) if mode != OpenMode::CreateNew => return Err(io::ErrorKind::IsADirectory.into()),
            (OpenMode::CreateNew, Some(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
            (OpenMode::CreateNew, None) => {
                let folder = path.parent().and_then(|folder| state.names.get(folder));
                if folder != Some(Node::Folder) {
                    return Err(io::ErrorKind::NotFound.into());
                }
                if state.names.files().len() as u64 >= state.files_max {
                    return Err(DiskErrno::NoSpace.error());
                }
                let file = state.next_file;
                state.next_file += 1;
                state.change_names(DiskOp::Create, path, |state| {
                    state.files.insert(file, Content::default());
                    state.names.link(path, Node::File(file));
                })?;
                file
            }
            (_, Some(Node::File(file))) => {
                state.begin(DiskOp::Open, path)?;
                file
            }
            (_, _) => return Err(io::ErrorKind::NotFound.into()),
        };
        Ok(Box::new(SimFile::new(self, &mut state, path, file, mode != OpenMode::Read)))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut missing: Vec<PathBuf> = path.ancestors().map(Path::to_owned).collect();
        missing.reverse();
        let mut state = self.lock();
        for folder in missing {
            match state.names.get(&folder) {
                Some(Node::Folder) => {}
                Some(Node::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
                None => {
                    state.change_names(DiskOp::CreateDir, &folder, |state| state.names.link(&folder, Node::Folder))?;
                    let parent = folder.parent().unwrap_or(Path::new("/")).to_owned();
                    state.change_names(DiskOp::SyncDir, &parent, |state| state.names.sync(&parent))?;
                }
            }
        }
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut state = self.lock();
        state.begin(DiskOp::List, path)?;
        match state.names.get(path) {
            Some(Node::Folder) => Ok(state.names.list(path)),
            Some(Node::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let mut state = self.lock();
        state.begin(DiskOp::List, path)?;
        Ok(state.names.get(path).is_some())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.lock();
        if state.names.get(from).is_none() {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change_names(DiskOp::Rename, from, |state| state.names.rename(from, to))?;
        state.forget_unreachable();
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        match state.names.get(path) {
            Some(Node::File(_)) => {
                state.change_names(DiskOp::Remove, path, |state| state.names.unlink(path))?;
                state.forget_unreachable();
                Ok(())
            }
            Some(Node::Folder) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        if state.names.get(path) != Some(Node::Folder) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let lying = state.plan.lying;
        state.change_names(DiskOp::SyncDir, path, |state| {
            if !lying {
                state.names.sync(path)
            }
        })
    }

    fn space(&self, path: &Path) -> io::Result<DiskSpace> {
        let mut state = self.lock();
        state.begin(DiskOp::List, path)?;
        Ok(DiskSpace {
            total_bytes: state.capacity_bytes,
            free_bytes: state.capacity_bytes.saturating_sub(state.used_bytes()),
            free_inodes: state.files_max.saturating_sub(state.names.files().len() as u64),
        })
    }
}

#[cfg(test)]
mod tests;
