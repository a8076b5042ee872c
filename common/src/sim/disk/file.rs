//! Open files of the simulated disk.

use super::content;
use super::plan::DiskOp;
use super::{SimDisk, State, Verdict, power_is_off};
use crate::seam::DiskFile;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::MutexGuard;

/// A handle. Dead once the disk has crashed.
pub(super) struct SimFile {
    disk: SimDisk,
    path: PathBuf,
    file: u64,
    handle: u64,
    life: u64,
    writable: bool,
}

impl SimFile {
    pub(super) fn new(disk: &SimDisk, state: &mut State, path: &Path, file: u64, writable: bool) -> SimFile {
        let handle = state.next_handle;
        state.next_handle += 1;
        *state.open.entry(file).or_default() += 1;
        SimFile { disk: disk.clone(), path: path.to_owned(), file, handle, life: state.life, writable }
    }

    /// The disk's state, if this handle is still of its life.
    fn state(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.disk.lock();
        if state.life == self.life && state.power { Ok(state) } else { Err(power_is_off()) }
    }

    fn for_writing(&self) -> io::Result<MutexGuard<'_, State>> {
        if self.writable { self.state() } else { Err(rustix::io::Errno::BADF.into()) }
    }
}

impl DiskFile for SimFile {
    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let mut state = self.state()?;
        state.begin(DiskOp::Read, &self.path)?;
        state.file(self.file).read(bytes, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.for_writing()?;
        let end = offset.checked_add(bytes.len() as u64).ok_or(io::ErrorKind::InvalidInput)?;
        state.room_for(self.file, end)?;
        match state.begin(DiskOp::Write, &self.path)? {
            Verdict::Whole => {
                state.file(self.file).write(bytes, offset);
                Ok(())
            }
            Verdict::Unheard => {
                state.file(self.file).write(bytes, offset);
                Err(power_is_off())
            }
            Verdict::Torn => {
                let done = content::torn_length(bytes.len(), &state.random);
                state.file(self.file).write(&bytes[..done], offset);
                Err(power_is_off())
            }
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.state()?;
        let verdict = state.begin(DiskOp::Sync, &self.path).inspect_err(|_| {
            if state.power {
                state.file(self.file).forget_pending();
            }
        })?;
        let State { files, random, plan, .. } = &mut *state;
        let content = files.entry(self.file).or_default();
        match verdict {
            _ if plan.lying => content.forget_pending(),
            Verdict::Whole | Verdict::Unheard => content.sync(),
            Verdict::Torn => content.sync_some(true, random),
        }
        if matches!(verdict, Verdict::Whole) { Ok(()) } else { Err(power_is_off()) }
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        let mut state = self.for_writing()?;
        state.room_for(self.file, bytes)?;
        let file = self.file;
        state.change_names(DiskOp::Allocate, &self.path, |state| state.file(file).allocate(bytes))
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        let mut state = self.for_writing()?;
        state.room_for(self.file, bytes)?;
        let file = self.file;
        state.change_names(DiskOp::SetLen, &self.path, |state| state.file(file).set_len(bytes))
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.state()?.file(self.file).len())
    }

    fn drop_cache(&self, offset: u64, bytes: u64) -> io::Result<()> {
        self.state()?.file(self.file).drop_cache(offset, bytes);
        Ok(())
    }

    fn lock(&self) -> io::Result<()> {
        let mut state = self.state()?;
        match state.locks.get(&self.file) {
            Some(holder) if *holder != self.handle => Err(io::ErrorKind::WouldBlock.into()),
            _ => {
                state.locks.insert(self.file, self.handle);
                Ok(())
            }
        }
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let mut state = self.disk.lock();
        if state.life != self.life {
            return;
        }
        if state.locks.get(&self.file) == Some(&self.handle) {
            state.locks.remove(&self.file);
        }
        let open = state.open.get(&self.file).copied().unwrap_or(0);
        if open > 1 {
            state.open.insert(self.file, open - 1);
        } else {
            state.open.remove(&self.file);
            state.forget_unreachable();
        }
    }
}
