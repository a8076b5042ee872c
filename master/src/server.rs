//! A master: its folder, its threads, and the life of both.

use crate::api::Keyring;
use crate::machine::{FIRST, StoreMachine, init_state};
use crate::raft::{EngineLog, LogStore as _, Group, GroupConfig, GroupError, GroupStatus};
use crate::state::Members;
use crate::store::{MetaSnapshot, MetaStore, RocksMemory, RocksStore};
use crate::tasks;
use arc_swap::ArcSwapOption;
use cairn_common::auth::ClusterKey;
use cairn_common::ids::{ClusterId, Generation, NodeId, SessionId, Stamp, TenantId};
use cairn_common::limits::BARRIER_TIMEOUT_MS;
use cairn_common::membership::Roles;
use cairn_common::seam::{Clock, Pool, Random, Transport};
use cairn_common::wire::command::{Command, Done, Envelope, Grant, KeyRecord, Refusal, Rights, SessionSequence};
use cairn_common::wire::master::{Caller, Heartbeat, MasterError};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;

/// Memory for blocks, indexes and filters of the state.
const CACHE_BYTES: usize = 24 << 20;
/// Memory for rows of the state that are not on disk yet.
const BUFFER_BYTES: usize = 16 << 20;
/// Listings and the like at a time.
const SCANS_MAX: usize = 8;

/// What a master is made of.
pub struct MasterConfig {
    /// Folder for log and state.
    pub folder: PathBuf,
    /// This node.
    pub node: NodeId,
    /// Its cluster.
    pub cluster: ClusterId,
    /// The generation of it.
    pub generation: Generation,
    /// The root of its secrets.
    pub cluster_key: ClusterKey,
}

/// A new cluster's first node and first access key.
pub struct Bootstrap {
    /// Copies of buckets that ask for none; `None`: 1, rising to 3 when three chunkservers serve.
    pub replicas: Option<u8>,
    /// Name of the first node.
    pub name: String,
    /// Its failure domain.
    pub zone: String,
    /// Its capacity, in GiB.
    pub weight: u32,
    /// Where it is reached.
    pub address: String,
    /// What it does.
    pub roles: Roles,
    /// Id and secret of the first access key, which may do everything.
    pub admin: (String, String),
}

/// A master cannot start, or has to end.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its log cannot be used.
    #[error(transparent)]
    Log(#[from] crate::raft::LogError),
    /// Its state cannot be used.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    /// It belongs to another cluster than its identity says.
    #[error(
        "the state in {folder} is of cluster {found}, this node is of {expected}: the folder was put together from two"
    )]
    OtherCluster {
        /// Where.
        folder: PathBuf,
        /// What the state says.
        found: ClusterId,
        /// What the identity says.
        expected: ClusterId,
    },
    /// A new cluster could not be made.
    #[error("cannot make the cluster: {0}")]
    Bootstrap(MasterError),
}

/// A running master.
pub struct MasterServer {
    pub(crate) node: NodeId,
    pub(crate) cluster: ClusterId,
    pub(crate) generation: Generation,
    pub(crate) keyring: Keyring,
    pub(crate) store: Arc<RocksStore>,
    pub(crate) members: Arc<ArcSwapOption<Members>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) scans: Pool,
    /// What chunkservers last said, and when on the monotonic clock.
    pub(crate) heartbeats: Mutex<BTreeMap<NodeId, (Duration, Heartbeat)>>,
    /// Owners of sessions, which never change; looked up for every command.
    pub(crate) owners: Mutex<BTreeMap<SessionId, Caller>>,
    group: Group,
    stop: Arc<Notify>,
}

impl MasterServer {
    /// Opens log and state and starts the group. Blocks on the disk.
    pub async fn start(
        config: MasterConfig,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        transport: Arc<dyn Transport>,
    ) -> Result<Arc<MasterServer>, StartError> {
        let store =
            Arc::new(RocksStore::open(&config.folder.join("state"), &RocksMemory::new(CACHE_BYTES, BUFFER_BYTES))?);
        let mut log = EngineLog::open(&config.folder.join("log"))?;
        if store.applied()?.index == 0 && log.last_index()? <= FIRST.0 {
            init_state(store.as_ref(), config.node)?;
            log.reset(FIRST.0, FIRST.1)?;
        }
        let members = Arc::new(ArcSwapOption::empty());
        let machine = StoreMachine::new(Arc::clone(&store) as Arc<dyn MetaStore>, Arc::clone(&members))?;
        if let Some(known) = members.load().as_ref().map(|members: &Arc<Members>| members.membership.cluster)
            && known != config.cluster
        {
            return Err(StartError::OtherCluster { folder: config.folder, found: known, expected: config.cluster });
        }
        let group_config = GroupConfig {
            node: config.node,
            run: random.number(),
            outbox: Box::new(|_| ()),
            fatal: Box::new(end_process),
        };
        let group = Group::start(group_config, machine, log, Arc::clone(&clock))?;
        let server = Arc::new(MasterServer {
            node: config.node,
            cluster: config.cluster,
            generation: config.generation,
            keyring: Keyring::new(config.cluster_key, config.generation),
            store,
            members,
            clock,
            random,
            transport,
            scans: Pool::new(SCANS_MAX),
            heartbeats: Mutex::default(),
            owners: Mutex::default(),
            group,
            stop: Arc::new(Notify::new()),
        });
        tokio::spawn(tasks::run(Arc::downgrade(&server), Arc::clone(&server.stop)));
        Ok(server)
    }

    /// Whether the cluster was not made yet. Waits until this master knows.
    pub async fn is_new(&self) -> Result<bool, MasterError> {
        // Before the log is applied the state may look newer than it is.
        while !self.group.status().leading {
            self.clock.sleep(Duration::from_millis(5)).await;
        }
        Ok(self.members.load().as_ref().is_none_or(|members| members.membership.nodes.is_empty()))
    }

    /// Makes a new cluster in one log entry's time. Repeating it after a crash in the middle goes on where it stopped.
    pub async fn bootstrap(&self, bootstrap: Bootstrap) -> Result<(), StartError> {
        let Bootstrap { replicas, name, zone, weight, address, roles, admin: (access, secret) } = bootstrap;
        let sealed_secret = self.keyring.seal_key_secret(self.random.as_ref(), &access, &secret);
        let key = KeyRecord {
            access,
            name: "admin".to_owned(),
            sealed_secret,
            tenant: TenantId::FIRST,
            cluster_admin: true,
            grants: vec![Grant { bucket: None, prefix: String::new(), rights: Rights::ALL }],
            created: Stamp::from_ms(self.clock.wall_ms()),
            expires: None,
        };
        let commands = [
            Command::Init { cluster: self.cluster, replicas: replicas.unwrap_or(1), rise: replicas.is_none() },
            // The key before the node: a cluster that has a node has a key that opens it.
            Command::CreateKey(Box::new(key)),
            Command::AddNode { name, zone, weight, address, roles, join_token: None },
        ];
        for command in commands {
            match self.execute(None, command).await {
                Ok(Done::Node(node)) => assert_eq!(node, self.node, "the first node is the one that makes the cluster"),
                Ok(_) | Err(MasterError::Refused(Refusal::AlreadyInitialised)) => {}
                Err(error) => return Err(StartError::Bootstrap(error)),
            }
        }
        Ok(())
    }

    /// An id and a secret for a new access key: 20 and 40 random letters and digits.
    pub fn new_key_pair(&self) -> (String, String) {
        (
            format!("CK{}", self.letters(18, b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")),
            self.letters(40, b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"),
        )
    }

    /// `alphabet` must have a power of two of letters, so that all are equally likely.
    fn letters(&self, count: usize, alphabet: &[u8]) -> String {
        assert!(alphabet.len().is_power_of_two());
        let mut bytes = vec![0; count];
        self.random.fill(&mut bytes);
        bytes.iter().map(|byte| char::from(alphabet[usize::from(*byte) % alphabet.len()])).collect()
    }

    /// Where the group stands.
    pub fn status(&self) -> GroupStatus {
        self.group.status()
    }

    /// Stops: what is committed is applied, the state flushed.
    pub async fn stop(self: &Arc<Self>) {
        self.stop.notify_waiters();
        let this = Arc::clone(self);
        self.scans.run(move || this.group.stop()).await;
    }

    /// Executes a command through the log.
    pub(crate) async fn execute(
        &self,
        session: Option<SessionSequence>,
        command: Command,
    ) -> Result<Done, MasterError> {
        match self.group.propose(Envelope { session, command }).await {
            Ok(outcome) => Ok(outcome?),
            Err(error) => Err(self.group_error(&error)),
        }
    }

    /// Waits until the local state holds everything that was acknowledged before the call (P2).
    pub(crate) async fn barrier(&self) -> Result<(), MasterError> {
        let limit = self.clock.sleep(Duration::from_millis(BARRIER_TIMEOUT_MS));
        tokio::select! {
            biased;
            reached = self.group.read_barrier() => reached.map_err(|error| self.group_error(&error)),
            () = limit => Err(MasterError::Unavailable("the masters have no leader".to_owned())),
        }
    }

    /// A consistent picture of the state.
    pub(crate) fn view(&self) -> Result<Box<dyn MetaSnapshot + '_>, MasterError> {
        self.store.snapshot().map_err(|error| MasterError::Unavailable(error.to_string()))
    }

    /// The membership in the state.
    pub(crate) fn members(&self) -> Result<Arc<Members>, MasterError> {
        self.members.load_full().ok_or_else(|| MasterError::Unavailable("the cluster is being made".to_owned()))
    }

    fn group_error(&self, error: &GroupError) -> MasterError {
        match error {
            GroupError::NotLeader(leader) => {
                let members = self.members.load();
                let nodes = members.as_ref().map(|members| &members.membership.nodes);
                let address = leader.and_then(|leader| Some(nodes?.get(&leader)?.address.clone()));
                MasterError::NotLeader { leader: address }
            }
            GroupError::Overloaded => MasterError::Overloaded,
            GroupError::Unknown => MasterError::Unknown,
            GroupError::Stopped => MasterError::Unavailable("this master is stopping".to_owned()),
        }
    }
}

/// A log or a state in doubt must not be written to, nor read from, any more.
fn end_process(reason: String) {
    tracing::error!(reason, "this master cannot go on and ends its process");
    std::process::abort();
}
