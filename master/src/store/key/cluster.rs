//! The cluster as a whole: membership, credentials, counters, and the state's clock.

use super::{KeyBytes, KeyReader, KeyWriter, RowKey, ScannedKey, SystemKind, postcard_records};
use crate::store::Table;
use cairn_common::ids::{NodeId, Stamp, VolumeId};
use cairn_common::limits::READ_GRACE_MS;
use cairn_common::membership::Membership;
use cairn_common::wire::command::KeyRecord;
use cairn_common::wire::heal::Rebalance;
use serde::{Deserialize, Serialize};

/// The one row of its kind.
macro_rules! single_row {
    ($(#[$meta:meta])* $name:ident => $row:ty, $kind:ident) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name;

        impl RowKey for $name {
            const TABLE: Table = Table::System;
            type Row = $row;

            fn encode(&self) -> KeyBytes {
                KeyWriter::system(SystemKind::$kind).finish()
            }
        }
    };
}

single_row!(
    /// The stamp of the last command.
    ClockKey => Stamp, Clock
);
single_row!(
    /// Counters of the whole state.
    TotalsKey => Totals, Totals
);
single_row!(
    /// Who is in the cluster.
    MembershipKey => Membership, Membership
);
single_row!(
    /// How collection goes.
    CollectionKey => Collection, Collection
);
single_row!(
    /// How chunks move when the ring has changed.
    RebalanceKey => Rebalance, Rebalance
);
single_row!(
    /// The stamp of the last change of the membership: tells whether a decoded one is still good, without decoding it again.
    MembershipStampKey => Stamp, MembershipStamp
);
single_row!(
    /// Members of the masters' Raft group. Changed by the group's own entries, never by commands.
    RaftMembersKey => RaftMembers, RaftMembers
);

/// Members of the masters' Raft group at the position of the state. The second half is set while a change is under way (joint
/// consensus).
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RaftMembers {
    /// Who votes.
    pub voters: Vec<NodeId>,
    /// Who follows without a vote.
    pub learners: Vec<NodeId>,
    /// Who votes as well until the change is through.
    pub voters_outgoing: Vec<NodeId>,
    /// Who will follow without a vote when the change is through.
    pub learners_next: Vec<NodeId>,
    /// Whether the leader ends the change by itself.
    pub auto_leave: bool,
}

/// Counters of the whole state, exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Totals {
    /// Buckets.
    pub buckets: u64,
    /// Sessions.
    pub sessions: u64,
    /// Access keys.
    pub keys: u64,
    /// Manifests in the release queue.
    pub releasing: u64,
    /// Chunks with a row that says they lie off their owners.
    pub misplaced: u64,
    /// Nothing is due before this stamp: where a walk over the queue begins, so as not to pass over all it ever held.
    pub due_from: Stamp,
    /// The last volume id that was given out.
    pub last_volume: VolumeId,
}

/// How collection goes, where an administrator has changed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collection {
    /// Nothing is removed for want of a reference while this is so.
    pub paused: bool,
    /// When it was last said that collection shall go on, whatever it frees.
    pub approved: Stamp,
    /// How long references of what left its place are kept, in milliseconds.
    pub read_grace_ms: u64,
}

impl Default for Collection {
    fn default() -> Collection {
        Collection { paused: false, approved: Stamp::ZERO, read_grace_ms: READ_GRACE_MS }
    }
}

/// Volumes that a node was given and has not served with yet: its id. They are taken back if it comes without them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FreshVolumesKey(pub NodeId);

impl RowKey for FreshVolumesKey {
    const TABLE: Table = Table::System;
    type Row = Vec<VolumeId>;

    fn encode(&self) -> KeyBytes {
        KeyWriter::system(SystemKind::FreshVolumes).u32(self.0.0).finish()
    }
}

/// An access key: its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessKeyKey<'a>(pub &'a str);

impl RowKey for AccessKeyKey<'_> {
    const TABLE: Table = Table::System;
    type Row = KeyRecord;

    fn encode(&self) -> KeyBytes {
        KeyWriter::system(SystemKind::AccessKey).last(self.0.as_bytes()).finish()
    }
}

impl AccessKeyKey<'_> {
    /// What the keys of all access keys start with.
    pub(crate) fn all() -> Vec<u8> {
        KeyWriter::system(SystemKind::AccessKey).prefix()
    }
}

/// A join token: its public part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinTokenKey(pub String);

/// A join token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinTokenRow {
    /// BLAKE3 of its secret part.
    pub secret_hash: [u8; 32],
    /// When it ends.
    pub expires: Stamp,
    /// The node that used it up.
    pub used_by: Option<NodeId>,
}

impl JoinTokenKey {
    /// What the keys of all join tokens start with.
    pub(crate) fn all() -> Vec<u8> {
        KeyWriter::system(SystemKind::JoinToken).prefix()
    }
}

impl RowKey for JoinTokenKey {
    const TABLE: Table = Table::System;
    type Row = JoinTokenRow;

    fn encode(&self) -> KeyBytes {
        KeyWriter::system(SystemKind::JoinToken).last(self.0.as_bytes()).finish()
    }
}

impl ScannedKey for JoinTokenKey {
    fn decode(bytes: &[u8]) -> Option<JoinTokenKey> {
        let reader = KeyReader::system(bytes, SystemKind::JoinToken)?;
        Some(JoinTokenKey(reader.last_text()?.to_owned()))
    }
}

postcard_records!(Totals, Collection, Rebalance, Membership, KeyRecord, JoinTokenRow, RaftMembers, Vec<VolumeId>);
