//! What a command works on: the rows as they are so far in this entry, its stamp, and its session.

use super::Members;
use crate::store::key::{Record, RowKey, ScannedKey, Totals, TotalsKey, decode_row};
use crate::store::{KeyRange, MetaView, Order, Overlay, StoreError, WriteBatch};
use cairn_common::bucket::SettingsError;
use cairn_common::file::AttributesError;
use cairn_common::ids::{SessionId, Stamp};
use cairn_common::manifest::ManifestError;
use cairn_common::policy::PolicyError;
use cairn_common::wire::command::Refusal;
use std::sync::Arc;

/// Why a command did not come to its end.
#[derive(Debug)]
pub(super) enum Stop {
    /// The state says no. Part of the outcome.
    Refused(Refusal),
    /// The store failed. The entry is not applied.
    Failed(StoreError),
}

/// A step of a command.
pub(super) type Step<T> = Result<T, Stop>;

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Stop {
        Stop::Failed(error)
    }
}

/// Everything that makes a refusal makes a stop.
macro_rules! stop_from {
    ($($refusal:ty),*) => {$(
        impl From<$refusal> for Stop {
            fn from(refusal: $refusal) -> Stop {
                Stop::Refused(refusal.into())
            }
        }
    )*};
}

stop_from!(Refusal, ManifestError, AttributesError, SettingsError, PolicyError);

/// Rows, stamp and session of the command that is being executed.
pub(super) struct Tx<'a> {
    rows: Overlay<'a>,
    stamp: Stamp,
    session: Option<SessionId>,
    members: Option<Arc<Members>>,
    /// Room for encoding values.
    scratch: Vec<u8>,
}

impl<'a> Tx<'a> {
    pub(super) fn new(view: &'a dyn MetaView, members: Option<Arc<Members>>) -> Tx<'a> {
        Tx { rows: Overlay::new(view), stamp: Stamp::ZERO, session: None, members, scratch: Vec::new() }
    }

    /// Turns to the next command.
    pub(super) fn begin(&mut self, stamp: Stamp, session: Option<SessionId>) {
        (self.stamp, self.session) = (stamp, session);
    }

    /// The command's stamp: its time, and the id of whatever it makes.
    pub(super) fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// The session that the command came in.
    pub(super) fn session(&self) -> Option<SessionId> {
        self.session
    }

    /// Makes what the command did so far final.
    pub(super) fn keep(&mut self) {
        self.rows.keep();
    }

    /// Takes back what was done since the last [`Tx::keep`].
    pub(super) fn take_back(&mut self, members: Option<Arc<Members>>) {
        self.rows.take_back();
        self.members = members;
    }

    /// Rows changed since the last [`Tx::keep`].
    pub(super) fn changed(&self) -> usize {
        self.rows.changed()
    }

    pub(super) fn into_batch(self) -> WriteBatch {
        self.rows.into_batch()
    }

    /// The rows as they are now.
    pub(super) fn view(&self) -> &(dyn MetaView + 'a) {
        &self.rows
    }

    pub(super) fn get<K: RowKey>(&self, key: &K) -> Result<Option<K::Row>, StoreError> {
        self.view().row(key)
    }

    /// A row that another one says is there.
    pub(super) fn expect<K: RowKey>(&self, key: &K) -> Result<K::Row, StoreError> {
        self.view().expect_row(key)
    }

    pub(super) fn put<K: RowKey>(&mut self, key: &K, row: &K::Row) {
        let value = row.to_bytes(&mut self.scratch);
        self.rows.put(K::TABLE, key.encode(), value);
    }

    pub(super) fn delete<K: RowKey>(&mut self, key: &K) {
        self.rows.delete(K::TABLE, key.encode());
    }

    /// Up to `limit` rows of a range, in order.
    pub(super) fn list<K: ScannedKey>(&self, range: KeyRange, limit: usize) -> Result<Vec<(K, K::Row)>, StoreError> {
        let mut rows = Vec::new();
        let mut cursor = self.view().scan(K::TABLE, range, Order::Forward)?;
        while rows.len() < limit
            && let Some(row) = decode_row(&*cursor)?
        {
            rows.push(row);
            cursor.advance()?;
        }
        Ok(rows)
    }

    /// Changes the counters of the whole state.
    pub(super) fn totals(&mut self, change: impl FnOnce(&mut Totals)) -> Result<(), StoreError> {
        let mut totals = self.get(&TotalsKey)?.unwrap_or_default();
        change(&mut totals);
        self.put(&TotalsKey, &totals);
        Ok(())
    }

    /// The membership, if the cluster was made.
    pub(super) fn members_if_any(&self) -> Option<Arc<Members>> {
        self.members.clone()
    }

    /// The membership.
    ///
    /// # Panics
    /// If the cluster was not made yet: then no command but the first is executed.
    pub(super) fn members(&self) -> &Members {
        self.members.as_deref().expect("no command but Init is executed before it")
    }

    pub(super) fn set_members(&mut self, members: Members) {
        self.members = Some(Arc::new(members));
    }
}
