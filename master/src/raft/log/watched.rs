//! The file system as raft-engine sees it, which first lets it look only.
//!
//! raft-engine cuts a log file at the first record that does not verify, while it opens the log: a torn tail in the same way as
//! the rest of a file behind a damaged record. Whether the cut is allowed is known only when it is known what lies before it. So
//! the log is opened twice where it wants to cut: the first time nothing is cut.

use raft_engine::env::{DefaultFileSystem, FileSystem, Handle, Permission, WriteExt};
use std::io::{Read, Result, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

type Inner = <DefaultFileSystem as FileSystem>::Handle;

/// Whether files may be cut, and how often it was tried.
#[derive(Default)]
pub(super) struct Cutting {
    allowed: AtomicBool,
    refused: AtomicU64,
}

impl Cutting {
    /// Whether a cut that was wanted was not made.
    pub(super) fn was_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed) > 0
    }

    /// From now on files are cut.
    pub(super) fn allow(&self) {
        self.allowed.store(true, Ordering::Relaxed);
    }

    fn cut(&self, cut: impl FnOnce() -> Result<()>) -> Result<()> {
        if self.allowed.load(Ordering::Relaxed) {
            return cut();
        }
        self.refused.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// The real file system, under this rule.
pub(super) struct Watched {
    inner: DefaultFileSystem,
    pub(super) cutting: Arc<Cutting>,
}

impl Watched {
    pub(super) fn new() -> Watched {
        Watched { inner: DefaultFileSystem, cutting: Arc::default() }
    }
}

pub(super) struct WatchedHandle {
    inner: Arc<Inner>,
    cutting: Arc<Cutting>,
}

impl Handle for WatchedHandle {
    fn truncate(&self, offset: usize) -> Result<()> {
        self.cutting.cut(|| self.inner.truncate(offset))
    }

    fn file_size(&self) -> Result<usize> {
        self.inner.file_size()
    }

    fn sync(&self) -> Result<()> {
        self.inner.sync()
    }
}

pub(super) struct WatchedWriter {
    inner: <DefaultFileSystem as FileSystem>::Writer,
    cutting: Arc<Cutting>,
}

impl Write for WatchedWriter {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> Result<()> {
        self.inner.flush()
    }
}

impl Seek for WatchedWriter {
    fn seek(&mut self, to: SeekFrom) -> Result<u64> {
        self.inner.seek(to)
    }
}

impl WriteExt for WatchedWriter {
    fn truncate(&mut self, offset: usize) -> Result<()> {
        let inner = &mut self.inner;
        self.cutting.cut(|| inner.truncate(offset))
    }

    fn allocate(&mut self, offset: usize, size: usize) -> Result<()> {
        self.inner.allocate(offset, size)
    }
}

pub(super) struct WatchedReader(<DefaultFileSystem as FileSystem>::Reader);

impl Read for WatchedReader {
    fn read(&mut self, bytes: &mut [u8]) -> Result<usize> {
        self.0.read(bytes)
    }
}

impl Seek for WatchedReader {
    fn seek(&mut self, to: SeekFrom) -> Result<u64> {
        self.0.seek(to)
    }
}

impl FileSystem for Watched {
    type Handle = WatchedHandle;
    type Reader = WatchedReader;
    type Writer = WatchedWriter;

    fn create<P: AsRef<Path>>(&self, path: P) -> Result<WatchedHandle> {
        let inner = Arc::new(self.inner.create(path)?);
        Ok(WatchedHandle { inner, cutting: Arc::clone(&self.cutting) })
    }

    fn open<P: AsRef<Path>>(&self, path: P, permission: Permission) -> Result<WatchedHandle> {
        let inner = Arc::new(self.inner.open(path, permission)?);
        Ok(WatchedHandle { inner, cutting: Arc::clone(&self.cutting) })
    }

    fn delete<P: AsRef<Path>>(&self, path: P) -> Result<()> {
        self.inner.delete(path)
    }

    fn rename<P: AsRef<Path>>(&self, from: P, to: P) -> Result<()> {
        self.inner.rename(from, to)
    }

    fn new_reader(&self, handle: Arc<WatchedHandle>) -> Result<WatchedReader> {
        self.inner.new_reader(Arc::clone(&handle.inner)).map(WatchedReader)
    }

    fn new_writer(&self, handle: Arc<WatchedHandle>) -> Result<WatchedWriter> {
        let inner = self.inner.new_writer(Arc::clone(&handle.inner))?;
        Ok(WatchedWriter { inner, cutting: Arc::clone(&handle.cutting) })
    }
}
