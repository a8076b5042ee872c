//! The masters as a process sees them that is one itself: its own member first, the one that leads for the rest.

use async_trait::async_trait;
use cairn_common::net::RemoteMaster;
use cairn_common::wire::master::{Caller, Master, MasterCall, MasterError, MasterReply};
use cairn_master::MasterServer;
use std::sync::Arc;

/// Asks the member in this process, which answers every question by itself and every command while it leads; what it cannot do
/// goes to the others.
pub(super) struct NearMaster {
    own: Arc<MasterServer>,
    others: Arc<RemoteMaster>,
}

impl NearMaster {
    pub(super) fn new(own: Arc<MasterServer>, others: Arc<RemoteMaster>) -> NearMaster {
        NearMaster { own, others }
    }

    /// Asks the others, whoever they are by now: when this process started, its own log may not have been applied far enough to
    /// name them.
    async fn forward(&self, caller: &Caller, call: MasterCall) -> Result<MasterReply, MasterError> {
        let known = self.own.other_masters();
        if !known.is_empty() {
            self.others.set_addresses(&known);
        }
        self.others.call(caller, call).await
    }
}

#[async_trait]
impl Master for NearMaster {
    async fn call(&self, caller: &Caller, call: MasterCall) -> Result<MasterReply, MasterError> {
        // A member that hears no leader, or was taken out of the group, would let the call wait for nothing.
        if !self.own.can_answer() && self.own.has_others() {
            return self.forward(caller, call).await;
        }
        match self.own.call(caller, call.clone()).await {
            // Nothing was done here.
            Err(MasterError::NotLeader { .. } | MasterError::Unavailable(_)) if self.own.has_others() => {
                self.forward(caller, call).await
            }
            answer => answer,
        }
    }
}
