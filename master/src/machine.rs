//! The state machine that the log drives: commands go through `state`, changes into the store.

use crate::digests::Checkpoints;
use crate::peers::Staging;
use crate::raft::{ApplyError, ConfState, StateMachine};
use crate::state::{Machine, Members};
use crate::store::key::{RaftMembers, RaftMembersKey, RowKey as _};
use crate::store::{MetaStore, MetaView, Position, StoreError, Table, WriteBatch};
use crate::stores::Stores;
use arc_swap::ArcSwapOption;
use cairn_common::ids::{NodeId, Stamp};
use cairn_common::seam::seeded_bug;
use cairn_common::wire;
use cairn_common::wire::command::{Envelope, Outcome};
use std::sync::Arc;

/// The masters' state under the log. What it changes is visible to every reader of the store on return.
pub(crate) struct StoreMachine {
    node: NodeId,
    stores: Arc<Stores>,
    staging: Staging,
    machine: Machine,
    members: Arc<ArcSwapOption<Members>>,
    checkpoints: Arc<Checkpoints>,
}

impl StoreMachine {
    /// `members` is kept equal to the membership in the state, `checkpoints` to where it has been.
    pub(crate) fn new(
        node: NodeId,
        stores: Arc<Stores>,
        staging: Staging,
        members: Arc<ArcSwapOption<Members>>,
        checkpoints: Arc<Checkpoints>,
    ) -> Result<StoreMachine, StoreError> {
        members.store(Members::load(stores.current().as_ref(), None)?);
        Ok(StoreMachine { node, stores, staging, machine: Machine::new(), members, checkpoints })
    }
}

/// Where the log of a new cluster begins. Not at zero: a member that begins there has missed the making of the group, and gets a
/// snapshot instead of entries.
pub(crate) const FIRST: (u64, u64) = (1, 1);

/// Makes the state of a group with one member.
pub(crate) fn init_state(store: &dyn MetaStore, node: NodeId) -> Result<(), StoreError> {
    let batch = members_batch(&members_of_one(node));
    let position = Position::default().after(FIRST.0, FIRST.1, Stamp::ZERO, &batch);
    store.write(&batch, &position)?;
    store.flush()
}

/// A group of one.
pub(crate) fn members_of_one(node: NodeId) -> RaftMembers {
    RaftMembers { voters: vec![node], ..RaftMembers::default() }
}

/// Members of the group in a state; none in an empty one.
pub(crate) fn conf_in(view: &dyn MetaView) -> Result<ConfState, StoreError> {
    Ok(view.row(&RaftMembersKey)?.map(|members| to_conf(&members)).unwrap_or_default())
}

fn members_batch(members: &RaftMembers) -> WriteBatch {
    let mut batch = WriteBatch::new();
    batch.put(RaftMembersKey::TABLE, RaftMembersKey.encode(), wire::encode(members));
    batch
}

fn to_conf(members: &RaftMembers) -> ConfState {
    let ids = |nodes: &[NodeId]| nodes.iter().map(|node| u64::from(node.0)).collect();
    ConfState {
        voters: ids(&members.voters),
        learners: ids(&members.learners),
        voters_outgoing: ids(&members.voters_outgoing),
        learners_next: ids(&members.learners_next),
        auto_leave: members.auto_leave,
        ..ConfState::default()
    }
}

fn from_conf(conf: &ConfState) -> RaftMembers {
    let nodes = |ids: &[u64]| ids.iter().filter_map(|id| u32::try_from(*id).ok()).map(NodeId).collect();
    RaftMembers {
        voters: nodes(&conf.voters),
        learners: nodes(&conf.learners),
        voters_outgoing: nodes(&conf.voters_outgoing),
        learners_next: nodes(&conf.learners_next),
        auto_leave: conf.auto_leave,
    }
}

/// Whether a member is the newest of three voters: the one that a seeded bug makes different.
fn is_last_of_three(view: &dyn MetaView, node: NodeId) -> Result<bool, ApplyError> {
    let voters = conf_in(view).map_err(failed)?.voters;
    Ok(voters.len() == 3 && voters.iter().max() == Some(&u64::from(node.0)))
}

fn failed(error: StoreError) -> ApplyError {
    ApplyError(error.to_string())
}

impl StateMachine for StoreMachine {
    fn applied(&self) -> (u64, Stamp) {
        // A store that cannot say where it is cannot be used: the process ends before it does harm.
        let position = self.stores.current().applied().expect("the position can be read from a store that opened");
        (position.index, position.stamp)
    }

    fn apply(&mut self, index: u64, term: u64, base: Stamp, commands: &[Envelope]) -> Result<Vec<Outcome>, ApplyError> {
        let store = self.stores.current();
        let before = store.applied().map_err(failed)?;
        assert_eq!(index, before.index + 1, "entries are applied in order, without gaps");
        if commands.is_empty() {
            let nothing = WriteBatch::default();
            let after = before.after(index, term, before.stamp, &nothing);
            store.write(&nothing, &after).map_err(failed)?;
            self.checkpoints.note(&after);
            return Ok(Vec::new());
        }
        let mut applied = self.machine.apply_entry(store.as_ref(), base, commands).map_err(failed)?;
        if seeded_bug("diverge-as-third") && is_last_of_three(store.as_ref(), self.node)? {
            applied.batch.put(Table::System, &b"\xff\xffseeded"[..], index.to_be_bytes().to_vec());
        }
        let after = before.after(index, term, applied.stamp, &applied.batch);
        store.write(&applied.batch, &after).map_err(failed)?;
        self.checkpoints.note(&after);
        if let Some(members) = self.machine.members()
            && self.members.load().as_ref().is_none_or(|known| !Arc::ptr_eq(known, members))
        {
            self.members.store(Some(Arc::clone(members)));
        }
        Ok(applied.outcomes)
    }

    fn conf(&self) -> ConfState {
        conf_in(self.stores.current().as_ref()).expect("the members can be read from a store that opened")
    }

    fn apply_conf(&mut self, index: u64, term: u64, conf: &ConfState) -> Result<(), ApplyError> {
        let store = self.stores.current();
        let before = store.applied().map_err(failed)?;
        assert_eq!(index, before.index + 1, "entries are applied in order, without gaps");
        let batch = members_batch(&from_conf(conf));
        let after = before.after(index, term, before.stamp, &batch);
        store.write(&batch, &after).map_err(failed)?;
        self.checkpoints.note(&after);
        Ok(())
    }

    fn install(&mut self, index: u64, term: u64) -> Result<(), ApplyError> {
        let missing = || ApplyError(format!("the state at entry {index} was to be installed, and was not fetched"));
        let new = self.staging.take(index, term).ok_or_else(missing)?;
        self.stores.replace(new).map_err(failed)?;
        self.machine = Machine::new();
        self.checkpoints.clear();
        self.members.store(Members::load(self.stores.current().as_ref(), None).map_err(failed)?);
        tracing::info!(index, "the state was taken over from another master");
        Ok(())
    }

    fn flush(&mut self) -> Result<u64, ApplyError> {
        let store = self.stores.current();
        store.flush().map_err(failed)?;
        Ok(store.flushed().map_err(failed)?.index)
    }
}
