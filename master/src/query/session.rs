//! Sessions and windows.

use super::QueryError;
use crate::store::key::{SessionKey, WindowKey, WindowStartKey, decode_row};
use crate::store::{KeyRange, MetaView, Order, Table};
use cairn_common::ids::{SessionId, Stamp, WindowId};
use cairn_common::limits::WINDOW_MAX_MS;
use cairn_common::wire::master::Caller;

/// An open session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionInfo {
    /// Who may use it.
    pub owner: Caller,
    /// When it may be ended.
    pub expires: Stamp,
}

/// A session, if it is open.
pub fn session(view: &dyn MetaView, session: SessionId) -> Result<Option<SessionInfo>, QueryError> {
    let row = view.row(&SessionKey(session))?;
    Ok(row.map(|row| SessionInfo { owner: row.owner, expires: row.expires }))
}

/// Up to `limit` sessions whose time is over at `now`. Walks over all sessions, which are bounded.
pub fn sessions_due(view: &dyn MetaView, now: Stamp, limit: usize) -> Result<Vec<SessionId>, QueryError> {
    let mut due = Vec::new();
    let mut cursor = view.scan(Table::Sessions, KeyRange::prefix(SessionKey::all()), Order::Forward)?;
    while due.len() < limit
        && let Some((SessionKey(session), row)) = decode_row(&*cursor)?
    {
        if row.expires <= now {
            due.push(session);
        }
        cursor.advance()?;
    }
    Ok(due)
}

/// When an open window of a session ends; `None`: it is not open (any more).
pub fn window_end(view: &dyn MetaView, session: SessionId, window: WindowId) -> Result<Option<Stamp>, QueryError> {
    let open = view.row(&WindowKey { session, window })?.is_some();
    Ok(open.then(|| Stamp(window.0).plus_ms(WINDOW_MAX_MS)))
}

/// The oldest window that is open, by its start: what was touched since then, by any upload, may yet be committed.
pub fn oldest_window(view: &dyn MetaView) -> Result<Option<WindowId>, QueryError> {
    let cursor = view.scan(Table::Sessions, KeyRange::prefix(WindowStartKey::all()), Order::Forward)?;
    Ok(decode_row::<WindowStartKey>(&*cursor)?.map(|(WindowStartKey(window), _)| window))
}
