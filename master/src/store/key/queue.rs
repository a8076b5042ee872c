//! What is to be done at some stamp: the release queue and its neighbours.

use super::{KeyBytes, KeyReader, KeyWriter, RowKey, ScannedKey, SystemKind, postcard_records};
use crate::store::Table;
use cairn_common::ids::{ManifestId, SessionId, Stamp, UploadId, WindowId};
use serde::{Deserialize, Serialize};

/// Something due: by when, then by what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DueKey {
    /// Not before this stamp.
    pub due: Stamp,
    /// What.
    pub what: Due,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// The references of a manifest that nothing needs are let go. Value: when it left its last place.
    Release(ManifestId),
    /// A staged upload ends, unless it was appended to since.
    Staging(UploadId),
    /// The result of a multipart upload is forgotten.
    Finished(UploadId),
    /// A window ends, if its session did not close it.
    Window(SessionId, WindowId),
    /// An upload that is appended to ends.
    Appended(UploadId),
}

impl DueKey {
    /// What the keys of all that is due start with.
    pub(crate) fn all() -> Vec<u8> {
        KeyWriter::system(SystemKind::Due).prefix()
    }

    /// What the keys of all that is due at `stamp` or later do not come before.
    pub(crate) fn from(stamp: Stamp) -> Vec<u8> {
        KeyWriter::system(SystemKind::Due).u64(stamp.0).prefix()
    }
}

impl RowKey for DueKey {
    const TABLE: Table = Table::System;
    /// For a release: when the manifest left its last place. For others: when the row was made.
    type Row = Stamp;

    fn encode(&self) -> KeyBytes {
        let writer = KeyWriter::system(SystemKind::Due).u64(self.due.0);
        match self.what {
            Due::Release(manifest) => writer.byte(1).u64(manifest.0),
            Due::Staging(upload) => writer.byte(2).u64(upload.0),
            Due::Finished(upload) => writer.byte(3).u64(upload.0),
            Due::Window(session, window) => writer.byte(4).u64(session.0).u64(window.0),
            Due::Appended(upload) => writer.byte(7).u64(upload.0),
        }
        .finish()
    }
}

impl ScannedKey for DueKey {
    fn decode(bytes: &[u8]) -> Option<DueKey> {
        let mut reader = KeyReader::system(bytes, SystemKind::Due)?;
        let due = Stamp(reader.u64()?);
        let what = match reader.byte()? {
            1 => Due::Release(ManifestId(reader.u64()?)),
            2 => Due::Staging(UploadId(reader.u64()?)),
            3 => Due::Finished(UploadId(reader.u64()?)),
            4 => Due::Window(SessionId(reader.u64()?), WindowId(reader.u64()?)),
            7 => Due::Appended(UploadId(reader.u64()?)),
            _ => return None,
        };
        reader.end(DueKey { due, what })
    }
}

/// A stamp whose state someone still needs (a backup, a snapshot): what was there then is not let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldKey(pub Stamp);

/// Why a stamp is held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldRow {
    /// For people.
    pub purpose: String,
}

impl HoldKey {
    /// What the keys of all holds start with.
    pub(crate) fn all() -> Vec<u8> {
        KeyWriter::system(SystemKind::Hold).prefix()
    }
}

impl RowKey for HoldKey {
    const TABLE: Table = Table::System;
    type Row = HoldRow;

    fn encode(&self) -> KeyBytes {
        KeyWriter::system(SystemKind::Hold).u64(self.0.0).finish()
    }
}

impl ScannedKey for HoldKey {
    fn decode(bytes: &[u8]) -> Option<HoldKey> {
        let mut reader = KeyReader::system(bytes, SystemKind::Hold)?;
        let stamp = Stamp(reader.u64()?);
        reader.end(HoldKey(stamp))
    }
}

postcard_records!(Stamp, HoldRow);
