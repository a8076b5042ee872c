//! Sessions, the answers they keep, and their upload windows.

use super::{KeyReader, KeyWriter, Present, RowKey, ScannedKey, SessionKind, postcard_records};
use crate::store::Table;
use cairn_common::ids::{SessionId, Stamp, WindowId};
use cairn_common::wire::command::Outcome;
use cairn_common::wire::master::Caller;
use serde::{Deserialize, Serialize};

/// A session: its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionKey(pub SessionId);

/// A session. Changed when it is renewed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRow {
    /// Who may use it.
    pub owner: Caller,
    /// Its life without renewal, in milliseconds.
    pub ttl_ms: u64,
    /// When it ends without renewal. It does end only by a command.
    pub expires: Stamp,
}

/// How far a session has come: its id. Apart from [`SessionKey`] because every command changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProgressKey(pub SessionId);

/// How far a session has come. Its answers have numbers from `lowest` to before `next`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgressRow {
    /// Answers below this number are forgotten.
    pub lowest: u64,
    /// No command from this number on was seen.
    pub next: u64,
}

/// The answer to a command: session, number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerKey {
    /// Of which session.
    pub session: SessionId,
    /// Number of the command.
    pub sequence: u64,
}

/// An open upload window: session, window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowKey {
    /// Whose.
    pub session: SessionId,
    /// Which; also when it was opened.
    pub window: WindowId,
}

/// Open windows by age: the first one is the oldest. Value: its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowStartKey(pub WindowId);

impl RowKey for SessionKey {
    const TABLE: Table = Table::Sessions;
    type Row = SessionRow;

    fn encode(&self) -> Vec<u8> {
        KeyWriter::sessions(SessionKind::Session).u64(self.0.0).finish()
    }
}

impl SessionKey {
    /// What the keys of all sessions start with.
    pub(crate) fn all() -> Vec<u8> {
        KeyWriter::sessions(SessionKind::Session).finish()
    }
}

impl ScannedKey for SessionKey {
    fn decode(bytes: &[u8]) -> Option<SessionKey> {
        let mut reader = KeyReader::sessions(bytes, SessionKind::Session)?;
        let id = SessionId(reader.u64()?);
        reader.end(SessionKey(id))
    }
}

impl RowKey for ProgressKey {
    const TABLE: Table = Table::Sessions;
    type Row = ProgressRow;

    fn encode(&self) -> Vec<u8> {
        KeyWriter::sessions(SessionKind::Progress).u64(self.0.0).finish()
    }
}

impl RowKey for AnswerKey {
    const TABLE: Table = Table::Sessions;
    type Row = Outcome;

    fn encode(&self) -> Vec<u8> {
        KeyWriter::sessions(SessionKind::Answer).u64(self.session.0).u64(self.sequence).finish()
    }
}

impl AnswerKey {
    /// What the keys of all answers start with.
    pub(crate) fn all() -> Vec<u8> {
        KeyWriter::sessions(SessionKind::Answer).finish()
    }
}

impl ScannedKey for AnswerKey {
    fn decode(bytes: &[u8]) -> Option<AnswerKey> {
        let mut reader = KeyReader::sessions(bytes, SessionKind::Answer)?;
        let key = AnswerKey { session: SessionId(reader.u64()?), sequence: reader.u64()? };
        reader.end(key)
    }
}

impl WindowKey {
    /// What the keys of all windows start with.
    pub(crate) fn all() -> Vec<u8> {
        KeyWriter::sessions(SessionKind::Window).finish()
    }

    /// What the keys of a session's windows start with.
    pub(crate) fn of(session: SessionId) -> Vec<u8> {
        KeyWriter::sessions(SessionKind::Window).u64(session.0).finish()
    }
}

impl RowKey for WindowKey {
    const TABLE: Table = Table::Sessions;
    type Row = Present;

    fn encode(&self) -> Vec<u8> {
        KeyWriter::sessions(SessionKind::Window).u64(self.session.0).u64(self.window.0).finish()
    }
}

impl ScannedKey for WindowKey {
    fn decode(bytes: &[u8]) -> Option<WindowKey> {
        let mut reader = KeyReader::sessions(bytes, SessionKind::Window)?;
        let key = WindowKey { session: SessionId(reader.u64()?), window: WindowId(reader.u64()?) };
        reader.end(key)
    }
}

impl WindowStartKey {
    /// What the keys of all windows start with.
    pub(crate) fn all() -> Vec<u8> {
        KeyWriter::sessions(SessionKind::WindowStart).finish()
    }
}

impl RowKey for WindowStartKey {
    const TABLE: Table = Table::Sessions;
    type Row = SessionId;

    fn encode(&self) -> Vec<u8> {
        KeyWriter::sessions(SessionKind::WindowStart).u64(self.0.0).finish()
    }
}

impl ScannedKey for WindowStartKey {
    fn decode(bytes: &[u8]) -> Option<WindowStartKey> {
        let mut reader = KeyReader::sessions(bytes, SessionKind::WindowStart)?;
        let window = WindowId(reader.u64()?);
        reader.end(WindowStartKey(window))
    }
}

postcard_records!(SessionRow, ProgressRow, Outcome, SessionId);
