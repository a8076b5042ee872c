//! Starting a chunkserver against the masters, and stopping it.
//!
//! Every start is a log entry that raises the node's boot count; the count is stored on each disk before the node serves. So a disk
//! whose count is behind is a clone or an old image, and receipts of an earlier run do not count. One disk that fails takes
//! itself out, not the node; a disk that belongs elsewhere keeps the node from starting, for a person made a mistake.

pub(crate) mod boot;
mod config;
mod disks;

pub use config::{Config, DiskConfig, Identity, Seams};
pub use disks::Fault;

use crate::api::{ChunkFrames, NodeVerifier, chunk_routes};
use crate::service::Service;
use crate::store::Store;
use crate::store::volume::{FolderError, Volume};
use crate::tasks::{Heartbeats, Signals};
use crate::upkeep::{Chunkservers, Context, Peers, Progress, RemoteChunkservers};
use cairn_common::auth::TokenKeys;
use cairn_common::ids::{BootCount, ClusterId, Generation, NodeId, VolumeId};
use cairn_common::net::FrameHandler;
use cairn_common::net::handshake::Verifier;
use cairn_common::seam::{Clock, Pool};
use cairn_common::wire::master::{Master, MasterError};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::task::JoinSet;

/// A chunkserver that does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A disk is in use by another process, or cannot even be locked.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A disk belongs to another cluster.
    #[error(
        "{path} belongs to cluster {found}, not to {ours}: take it off this node's list of disks, or empty it to make it a new disk"
    )]
    OtherCluster {
        /// Its folder.
        path: PathBuf,
        /// Whose it is.
        found: ClusterId,
        /// This node's.
        ours: ClusterId,
    },
    /// A disk belongs to another node.
    #[error(
        "{path} belongs to node {found}, not to {ours}: put it back there, or empty it to make it a new disk of this node"
    )]
    OtherNode {
        /// Its folder.
        path: PathBuf,
        /// Whose it is.
        found: NodeId,
        /// This node.
        ours: NodeId,
    },
    /// A disk has served in a later generation of the cluster.
    #[error(
        "{path} has served in generation {found} of the cluster, this node knows {ours}: its configuration is out of date"
    )]
    LaterGeneration {
        /// Its folder.
        path: PathBuf,
        /// In which it served.
        found: Generation,
        /// This node's.
        ours: Generation,
    },
    /// Two disks say that they are the same volume.
    #[error("{first} and {second} are copies of one volume: empty one of them")]
    Twice {
        /// One folder.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// No disk is fit for service; what is wrong with each.
    #[error("no disk of this node is fit for service: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    NoDisk(Vec<Fault>),
    /// The masters do not admit the node.
    #[error("the masters do not admit this node: {0}")]
    Refused(MasterError),
}

/// A chunkserver that serves.
pub struct Chunkserver {
    identity: Identity,
    boot: BootCount,
    service: Arc<Service>,
    clock: Arc<dyn Clock>,
    computing: Pool,
    faults: Vec<Fault>,
    signals: Signals,
    /// Ended when this is dropped.
    tasks: JoinSet<()>,
}

impl Chunkserver {
    /// Locks and reads the disks, asks the masters for a new run, stores it on every disk, brings the volumes up, and tells the
    /// masters that the node serves. Waits for the masters as long as it takes. Dropping the future gives up; what it did by then
    /// is harmless.
    pub async fn start(
        identity: Identity,
        config: Config,
        seams: Seams,
        master: Arc<dyn Master>,
    ) -> Result<Chunkserver, StartError> {
        let (clock, random) = (Arc::clone(&seams.clock), Arc::clone(&seams.random));
        let ways = RemoteChunkservers::new(identity.cluster, Arc::clone(&seams.transport), clock, random);
        Chunkserver::start_among(identity, config, seams, master, Box::new(ways)).await
    }

    /// The same with these ways to the other chunkservers.
    pub(crate) async fn start_among(
        identity: Identity,
        config: Config,
        seams: Seams,
        master: Arc<dyn Master>,
        ways: Box<dyn Chunkservers>,
    ) -> Result<Chunkserver, StartError> {
        let signals = Signals::new();
        let (disks, mut faults) = disks::survey(&identity, &config, &seams).await?;
        let booted = boot::boot(&identity, &config, &seams, &*master, disks, &mut faults).await?;
        let boot = booted.boot;
        let volumes = boot::bring_up(&identity, &config, &seams, &signals, booted, &mut faults).await;
        if volumes.is_empty() {
            return Err(StartError::NoDisk(faults));
        }
        boot::serve(&identity, &seams, &*master, boot).await?;
        let keys = TokenKeys::new(identity.key_id, identity.node, &identity.key);
        let volumes: Vec<Arc<Volume>> = volumes.into_iter().map(Arc::new).collect();
        let store = Arc::new(Store::new(volumes, seams.reading.clone()));
        let clock = Arc::clone(&seams.clock);
        let service = Arc::new(Service::new(Arc::clone(&store), keys, identity.node, boot, Arc::clone(&clock)));
        let view = Arc::clone(service.view());
        for fault in &faults {
            tracing::error!(disk = %fault.path.display(), reason = %fault.reason, "a disk is out of service");
        }
        let progress = Arc::new(Progress::default());
        let peers = Peers::new(identity.node, Arc::clone(&master), ways);
        let upkeep = Context::new(
            store,
            Arc::clone(&view),
            peers,
            Arc::clone(&progress),
            Arc::clone(&clock),
            seams.computing.clone(),
            config.upkeep,
        );
        let heartbeats = Heartbeats {
            node: identity.node,
            boot,
            service: Arc::clone(&service),
            master,
            clock: Arc::clone(&clock),
            signals: signals.clone(),
            faults: faults.clone(),
            view,
            progress,
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(heartbeats.run());
        tasks.spawn(upkeep.run(signals.clone()));
        let computing = seams.computing;
        Ok(Chunkserver { identity, boot, service, clock, computing, faults, signals, tasks })
    }

    /// The calls to this chunkserver, for clients in the same process.
    pub fn service(&self) -> &Arc<Service> {
        &self.service
    }

    /// Its HTTP routes: chunk bodies.
    pub fn router(&self) -> axum::Router {
        chunk_routes(Arc::clone(&self.service), Arc::clone(&self.clock), self.computing.clone())
    }

    /// What answers its small calls.
    pub fn frames(&self) -> Arc<dyn FrameHandler> {
        Arc::new(ChunkFrames::new(Arc::clone(&self.service)))
    }

    /// Who may open frame connections to it.
    pub fn verifier(&self) -> Arc<dyn Verifier> {
        let Identity { cluster, generation, node, ref key, .. } = self.identity;
        Arc::new(NodeVerifier::new(cluster, generation, node, key))
    }

    /// In which run it is.
    pub fn boot(&self) -> BootCount {
        self.boot
    }

    /// Its volumes, in service or not.
    pub fn volumes(&self) -> Vec<VolumeId> {
        self.service.store().volumes().iter().map(|volume| volume.id()).collect()
    }

    /// Disks that were out of service when it started.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// Waits until the masters say that another process has taken this node's place. The process should then end. Cancel-safe.
    pub async fn fenced(&self) {
        self.signals.fenced().await;
    }

    /// Finishes what waits, flushes the indexes and leaves the marks of a clean stop. The listeners should be stopped before.
    pub async fn stop(mut self) {
        self.signals.stop();
        while self.tasks.join_next().await.is_some() {}
        for volume in self.service.store().volumes() {
            match volume.stop().await {
                Ok(()) => {}
                Err(error) => tracing::warn!(volume = %volume.id(), %error, "a volume did not stop cleanly"),
            }
        }
    }
}

#[cfg(test)]
mod tests;
