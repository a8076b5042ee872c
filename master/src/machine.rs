//! The state machine that the log drives: commands go through `state`, changes into the store.

use crate::raft::{ApplyError, ConfState, StateMachine};
use crate::state::{Machine, Members};
use crate::store::{MetaStore, MetaView, StoreError, WriteBatch};
use arc_swap::ArcSwapOption;
use cairn_common::ids::{NodeId, Stamp};
use cairn_common::wire::command::{Envelope, Outcome};
use std::sync::Arc;

/// The masters' state under the log. What it changes is visible to every reader of the store on return.
pub(crate) struct StoreMachine {
    store: Arc<dyn MetaStore>,
    machine: Machine,
    members: Arc<ArcSwapOption<Members>>,
    node: NodeId,
}

impl StoreMachine {
    /// `members` is kept equal to the membership in the state.
    pub(crate) fn new(
        store: Arc<dyn MetaStore>,
        members: Arc<ArcSwapOption<Members>>,
        node: NodeId,
    ) -> Result<StoreMachine, StoreError> {
        let view: &dyn MetaView = store.as_ref();
        members.store(Members::load(view, None)?);
        Ok(StoreMachine { store, machine: Machine::new(), members, node })
    }
}

fn failed(error: StoreError) -> ApplyError {
    ApplyError(error.to_string())
}

impl StateMachine for StoreMachine {
    fn applied(&self) -> (u64, Stamp) {
        // A store that cannot say where it is cannot be used: the process ends before it does harm.
        let position = self.store.applied().expect("the position can be read from a store that opened");
        (position.index, position.stamp)
    }

    fn apply(&mut self, index: u64, term: u64, base: Stamp, commands: &[Envelope]) -> Result<Vec<Outcome>, ApplyError> {
        let before = self.store.applied().map_err(failed)?;
        assert_eq!(index, before.index + 1, "entries are applied in order, without gaps");
        if commands.is_empty() {
            let nothing = WriteBatch::default();
            let after = before.after(index, term, before.stamp, &nothing);
            self.store.write(&nothing, &after).map_err(failed)?;
            return Ok(Vec::new());
        }
        let view: &dyn MetaView = self.store.as_ref();
        let applied = self.machine.apply_entry(view, base, commands).map_err(failed)?;
        let after = before.after(index, term, applied.stamp, &applied.batch);
        self.store.write(&applied.batch, &after).map_err(failed)?;
        if let Some(members) = self.machine.members()
            && self.members.load().as_ref().is_none_or(|known| !Arc::ptr_eq(known, members))
        {
            self.members.store(Some(Arc::clone(members)));
        }
        Ok(applied.outcomes)
    }

    fn conf(&self) -> ConfState {
        ConfState { voters: vec![u64::from(self.node.0)], ..ConfState::default() }
    }

    fn apply_conf(&mut self, _: u64, _: u64, _: &ConfState) -> Result<(), ApplyError> {
        Err(ApplyError("this release has groups of one master only".to_owned()))
    }

    fn flush(&mut self) -> Result<u64, ApplyError> {
        self.store.flush().map_err(failed)?;
        Ok(self.store.flushed().map_err(failed)?.index)
    }
}
