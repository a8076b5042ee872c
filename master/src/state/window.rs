//! Upload windows: leases under which chunks are written before anything refers to them.
//!
//! Only an open window makes a receipt count, and a chunk that an open window may have touched is not collected (P4): the
//! collector's horizon is the start of the oldest. So a window must not live for ever: an hour after it began its receipts
//! count no more, by the stamp of whatever names them, and the queue of what is due removes it.

use super::tx::{Step, Tx};
use crate::store::key::{Due, DueKey, Present, WindowKey, WindowStartKey};
use crate::store::{KeyRange, StoreError};
use cairn_common::ids::{Stamp, WindowId};
use cairn_common::limits::{WINDOW_MAX_MS, WINDOWS_MAX};
use cairn_common::wire::command::{Done, Refusal};

/// When a window ends by itself.
fn end_of(window: WindowId) -> Stamp {
    Stamp(window.0).plus_ms(WINDOW_MAX_MS)
}

fn due_key(key: WindowKey) -> DueKey {
    DueKey { due: end_of(key.window), what: Due::Window(key.session, key.window) }
}

pub(super) fn open(tx: &mut Tx<'_>) -> Step<Done> {
    let Some(session) = tx.session() else { return Err(Refusal::SessionEnded.into()) };
    let open: Vec<(WindowKey, Present)> = tx.list(KeyRange::prefix(WindowKey::of(session)), WINDOWS_MAX)?;
    if open.len() >= WINDOWS_MAX {
        return Err(Refusal::SessionCrowded.into());
    }
    let window = WindowId(tx.stamp().0);
    let key = WindowKey { session, window };
    tx.put(&key, &Present);
    tx.put(&WindowStartKey(window), &session);
    tx.put(&due_key(key), &tx.stamp());
    Ok(Done::Window { window, expires: end_of(window) })
}

/// Closes a window of the command's session; fine if there is none such.
pub(super) fn close(tx: &mut Tx<'_>, window: WindowId) -> Step<Done> {
    if let Some(session) = tx.session() {
        let key = WindowKey { session, window };
        if tx.get(&key)?.is_some() {
            remove(tx, key);
        }
    }
    Ok(Done::Nothing)
}

/// Whether receipts of `window` count in this command.
pub(super) fn is_open(tx: &Tx<'_>, window: WindowId) -> Result<bool, StoreError> {
    let Some(session) = tx.session() else { return Ok(false) };
    Ok(tx.stamp() <= end_of(window) && tx.get(&WindowKey { session, window })?.is_some())
}

/// Removes all rows of a window.
pub(super) fn remove(tx: &mut Tx<'_>, key: WindowKey) {
    tx.delete(&key);
    tx.delete(&WindowStartKey(key.window));
    tx.delete(&due_key(key));
}
