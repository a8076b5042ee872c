//! How many bytes each upload window has written to this node: a token's limit is per node.

use cairn_common::ids::WindowId;
use cairn_common::limits::WINDOWS_COUNTED_MAX;
use cairn_common::wire::chunk::ChunkError;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Bytes written by window. A window is forgotten when its token has expired.
#[derive(Debug, Default)]
pub(crate) struct Windows {
    written: Mutex<BTreeMap<WindowId, Written>>,
}

#[derive(Clone, Copy, Debug)]
struct Written {
    bytes: u64,
    expires_ms: u64,
}

/// Bytes that were counted and are taken back unless the write succeeds.
#[derive(Debug)]
#[must_use]
pub(crate) struct Charge<'a> {
    windows: &'a Windows,
    window: WindowId,
    bytes: u64,
}

impl Windows {
    /// Counts `bytes` for a window that may write `limit_bytes` until `expires_ms`.
    pub(crate) fn charge(
        &self,
        window: WindowId,
        bytes: u64,
        limit_bytes: u64,
        expires_ms: u64,
        now_ms: u64,
    ) -> Result<Charge<'_>, ChunkError> {
        let mut windows = self.lock();
        if !windows.contains_key(&window) && windows.len() >= WINDOWS_COUNTED_MAX {
            windows.retain(|_, written| written.expires_ms >= now_ms);
            if windows.len() >= WINDOWS_COUNTED_MAX {
                return Err(ChunkError::Unavailable("too many upload windows are open".to_owned()));
            }
        }
        let written = windows.entry(window).or_insert(Written { bytes: 0, expires_ms });
        written.expires_ms = written.expires_ms.max(expires_ms);
        let sum = written.bytes.checked_add(bytes).filter(|sum| *sum <= limit_bytes).ok_or(ChunkError::LimitReached)?;
        written.bytes = sum;
        Ok(Charge { windows: self, window, bytes })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<WindowId, Written>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Charge<'_> {
    /// The bytes were written.
    pub(crate) fn keep(mut self) {
        self.bytes = 0;
    }
}

impl Drop for Charge<'_> {
    fn drop(&mut self) {
        if let Some(written) = self.windows.lock().get_mut(&self.window) {
            written.bytes = written.bytes.saturating_sub(self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const W: WindowId = WindowId(7);

    #[test]
    fn a_window_writes_up_to_its_limit_and_failed_writes_do_not_count() {
        let windows = Windows::default();
        windows.charge(W, 60, 100, 1_000, 0).unwrap().keep();
        drop(windows.charge(W, 40, 100, 1_000, 0).unwrap());
        windows.charge(W, 40, 100, 1_000, 0).unwrap().keep();
        assert_eq!(windows.charge(W, 1, 100, 1_000, 0).unwrap_err(), ChunkError::LimitReached);
        windows.charge(WindowId(8), 100, 100, 1_000, 0).unwrap().keep();
        assert_eq!(windows.charge(W, u64::MAX, u64::MAX, 1_000, 0).unwrap_err(), ChunkError::LimitReached);
    }

    #[test]
    fn writes_in_flight_count() {
        let windows = Windows::default();
        let first = windows.charge(W, 60, 100, 1_000, 0).unwrap();
        assert_eq!(windows.charge(W, 60, 100, 1_000, 0).unwrap_err(), ChunkError::LimitReached);
        drop(first);
        windows.charge(W, 60, 100, 1_000, 0).unwrap().keep();
    }

    #[test]
    fn only_expired_windows_are_forgotten() {
        let windows = Windows::default();
        for number in 0..WINDOWS_COUNTED_MAX as u64 {
            windows.charge(WindowId(number), 1, 100, 1_000 + number % 2, 0).unwrap().keep();
        }
        let new = WindowId(u64::MAX);
        assert!(matches!(windows.charge(new, 1, 100, 2_000, 1_000), Err(ChunkError::Unavailable(_))));
        windows.charge(WindowId(1), 99, 100, 1_001, 1_000).unwrap().keep();
        windows.charge(new, 1, 100, 2_000, 1_001).unwrap().keep();
        assert_eq!(windows.lock().len(), WINDOWS_COUNTED_MAX / 2 + 1);
    }
}
