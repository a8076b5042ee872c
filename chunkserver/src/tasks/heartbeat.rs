//! Telling the masters how the node is, and which volumes must never serve again.

use super::Signals;
use crate::service::Service;
use crate::start::Fault;
use crate::start::boot::call;
use crate::store::volume::Health;
use crate::upkeep::{ClusterView, Progress};
use cairn_common::error::ErrorKind;
use cairn_common::ids::{BootCount, NodeId, VolumeId};
use cairn_common::limits::HEARTBEAT_MS;
use cairn_common::seam::Clock;
use cairn_common::wire::command::{Command, Refusal};
use cairn_common::wire::master::{
    Caller, Heartbeat, Master, MasterCall, MasterError, MasterReply, MasterRequest, VolumeReport,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The task's parts.
pub(crate) struct Heartbeats {
    pub(crate) node: NodeId,
    pub(crate) boot: BootCount,
    pub(crate) service: Arc<Service>,
    pub(crate) master: Arc<dyn Master>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) signals: Signals,
    pub(crate) faults: Vec<Fault>,
    pub(crate) view: Arc<ClusterView>,
    pub(crate) progress: Arc<Progress>,
}

impl Heartbeats {
    /// Runs until it is told to stop, or the masters say that this run is over.
    pub(crate) async fn run(self) {
        // Volumes whose retirement the masters have not acknowledged yet.
        let known = self.faults.iter().filter(|fault| fault.retire);
        let mut retiring: BTreeMap<VolumeId, String> =
            known.filter_map(|fault| Some((fault.volume?, fault.reason.clone()))).collect();
        let mut retired: Vec<VolumeId> = Vec::new();
        let mut out: Vec<VolumeId> = Vec::new();
        let failed = self.signals.failed();
        loop {
            for volume in self.service.store().volumes() {
                let health = volume.health();
                // Whatever took it out, what it held is to be made again.
                if health != Health::Serving && !out.contains(&volume.id()) {
                    out.push(volume.id());
                    self.progress.volume_lost();
                    self.view.kick();
                }
                if let Health::Retired(reason) = health
                    && !retired.contains(&volume.id())
                {
                    retiring.insert(volume.id(), reason);
                }
            }
            // First, since receipts of these volumes count until the masters know.
            for (volume, reason) in retiring.clone() {
                if self.retire(volume, reason).await {
                    retiring.remove(&volume);
                    retired.push(volume);
                }
            }
            if self.beat().await {
                self.service.fence();
                self.signals.fence();
                return;
            }
            tokio::select! {
                biased;
                () = self.signals.stopped() => return,
                () = failed.notified() => {}
                () = self.clock.sleep(Duration::from_millis(HEARTBEAT_MS)) => {}
            }
        }
    }

    /// Returns whether the masters know that the volume is out for ever.
    async fn retire(&self, volume: VolumeId, reason: String) -> bool {
        let command = Command::RetireVolume { node: self.node, volume, reason };
        match call(&*self.master, self.node, command).await {
            Ok(_) | Err(MasterError::Refused(Refusal::NoSuchVolume { .. })) => {
                tracing::warn!(%volume, "the masters have retired a volume");
                true
            }
            Err(error) => {
                tracing::warn!(%volume, %error, "the masters do not know yet that a volume is retired");
                false
            }
        }
    }

    async fn ask(&self, request: MasterRequest) -> Result<MasterReply, MasterError> {
        self.master.call(&Caller::Node(self.node), MasterCall { actor: None, request }).await
    }

    /// Fetches the newest membership.
    async fn learn(&self) {
        match self.ask(MasterRequest::Membership { revision: self.view.revision() }).await {
            Ok(MasterReply::Membership(Some(membership))) => {
                if let Err(error) = self.view.set_membership(*membership) {
                    tracing::error!(%error, "the ring cannot be used");
                }
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "the membership was not fetched"),
        }
    }

    /// Returns whether this run is over.
    async fn beat(&self) -> bool {
        let store = self.service.store();
        // A disk that hangs must not make the node look dead: then the masters hear what was known before.
        tokio::select! {
            biased;
            () = store.refresh() => {}
            () = self.clock.sleep(Duration::from_millis(HEARTBEAT_MS / 2)) => {}
        }
        let mut volumes = store.reports();
        volumes.extend(self.faults.iter().filter_map(report_of));
        let request = MasterRequest::Heartbeat(Heartbeat { boot: self.boot, volumes, upkeep: self.progress.now() });
        match self.ask(request).await {
            Ok(MasterReply::Heard { revision, orders }) => {
                self.view.set_orders(orders);
                if revision > self.view.revision() {
                    self.learn().await;
                }
                false
            }
            Ok(_) => false,
            Err(MasterError::Refused(Refusal::StaleBoot { .. })) => {
                tracing::error!(node = %self.node, boot = %self.boot, "another process runs as this node; this one must end");
                true
            }
            Err(error) if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Unknown) => {
                tracing::debug!(%error, "a heartbeat was not heard");
                false
            }
            Err(error) => {
                tracing::warn!(%error, "a heartbeat was refused");
                false
            }
        }
    }
}

/// A disk that is out of service since the start, as far as it has a name.
fn report_of(fault: &Fault) -> Option<VolumeReport> {
    Some(VolumeReport {
        volume: fault.volume?,
        label: fault.path.file_name()?.to_string_lossy().into_owned(),
        capacity_bytes: 0,
        used_bytes: 0,
        free_bytes: 0,
        chunks: 0,
        damaged: 0,
        fault: Some(fault.reason.clone()),
    })
}
