//! A master: its folder, its threads, and the life of both. What it has to do with the others is in [`others`], how it opens what it
//! keeps in [`open`].

mod open;
mod others;

use crate::api::{Keyring, Policies};
use crate::digests::{self, Checkpoints};
use crate::machine::StoreMachine;
use crate::members;
use crate::old_copy;
use crate::peers::{SnapshotServer, Staging};
use crate::query::QueryError;
use crate::raft::{Group, GroupError, GroupMembers, GroupStatus, LogError, LogStore as _};
use crate::state::Members;
use crate::store::{MetaStore as _, MetaView, RocksMemory};
use crate::stores::Stores;
use crate::tasks;
use crate::time::TrustedClock;
use crate::watch::{self, Heartbeats, Watch};
use arc_swap::ArcSwapOption;
use cairn_common::auth::ClusterKey;
use cairn_common::ids::{ClusterId, Generation, NodeId, SessionId, Stamp, TenantId};
use cairn_common::limits::BARRIER_TIMEOUT_MS;
use cairn_common::membership::{Membership, NodeState, Roles};
use cairn_common::net::FrameClient;
use cairn_common::net::handshake::{Credential, Identity};
use cairn_common::seam::{Clock, Disk, Pool, Random, Transport};
use cairn_common::wire::command::{Command, Done, Envelope, Grant, KeyRecord, Refusal, Rights, SessionSequence};
use cairn_common::wire::master::{Caller, MasterError};
use open::{last_ms, open_log, start_group};
use raft::eraftpb::ConfChangeV2;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// Memory for blocks, indexes and filters of the state.
const CACHE_BYTES: usize = 24 << 20;
/// Memory for rows of the state that are not on disk yet.
const BUFFER_BYTES: usize = 16 << 20;
/// Pause between two looks whether the group is settled.
const SETTLE_PAUSE: Duration = Duration::from_millis(20);
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
    /// The membership that this node joined, if it was not the first: until it has a state of its own, the other masters are
    /// found by it.
    pub joined: Option<Membership>,
    /// A chunkserver that is silent for so long leaves the ring.
    pub dead_after: Duration,
}

/// What a master takes from the world.
#[derive(Clone)]
pub struct MasterSeams {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub random: Arc<dyn Random>,
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// The network.
    pub transport: Arc<dyn Transport>,
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

/// A master cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its log cannot be used.
    #[error(transparent)]
    Log(#[from] LogError),
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
    /// The leader knows that this master had more.
    #[error(
        "the log in {folder} ends with entry {last}, and the leader knows that this master had entry {matched}: an old copy was \
         put in its place. Bring the right folder back; or take this master out with `cairn admin master remove`, and let a node \
         with an empty data folder and a new join token take its place"
    )]
    OldCopy {
        /// Where.
        folder: PathBuf,
        /// What is there.
        last: u64,
        /// What was there.
        matched: u64,
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
    pub(crate) stores: Arc<Stores>,
    pub(crate) clock: Arc<dyn Clock>,
    /// The same, which other masters have a say in.
    pub(crate) time: Arc<TrustedClock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) scans: Pool,
    /// What chunkservers last said, and when on the monotonic clock.
    pub(crate) heartbeats: Heartbeats,
    /// What this master makes of them while it leads.
    pub(crate) watch: Watch,
    /// Owners of sessions, which never change; looked up for every command.
    pub(crate) owners: Mutex<BTreeMap<SessionId, Caller>>,
    /// Policies of buckets, read.
    pub(crate) policies: Policies,
    members: Arc<ArcSwapOption<Members>>,
    group: Arc<Group>,
    peers: Arc<Peers>,
    snapshots: Arc<SnapshotServer>,
    staging: Staging,
    checkpoints: Arc<Checkpoints>,
    /// That this master's state and another's differ, for people.
    divergence: ArcSwapOption<String>,
    stop: Arc<Notify>,
}

/// Connections to the other masters.
pub(crate) struct Peers {
    pub(crate) node: NodeId,
    credential: Credential,
    cluster: ClusterId,
    pub(crate) seams: MasterSeams,
    members: Arc<ArcSwapOption<Members>>,
    joined: Option<Membership>,
    links: Mutex<BTreeMap<NodeId, Arc<FrameClient>>>,
}

impl Peers {
    /// A connection to a master, if it is known where it is.
    pub(crate) fn link(&self, node: NodeId) -> Option<Arc<FrameClient>> {
        if node == self.node {
            return None;
        }
        let members = self.members.load();
        let known = members.as_ref().and_then(|members| members.membership.nodes.get(&node));
        let joined = self.joined.as_ref().and_then(|joined| joined.nodes.get(&node));
        let address = known.or(joined)?.address.clone();
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(link) = links.get(&node).filter(|link| link.address() == address) {
            return Some(Arc::clone(link));
        }
        let link = Arc::new(FrameClient::new(
            address,
            Arc::clone(&self.seams.transport),
            Arc::clone(&self.seams.clock),
            Arc::clone(&self.seams.random),
            self.credential.clone(),
            Some(self.cluster),
        ));
        links.insert(node, Arc::clone(&link));
        Some(link)
    }
}

impl MasterServer {
    /// Opens log and state and starts this member of the group. Blocks on the disk.
    pub async fn start(config: MasterConfig, seams: MasterSeams) -> Result<Arc<MasterServer>, StartError> {
        let MasterConfig { folder, node, cluster, generation, cluster_key, joined, dead_after } = config;
        let memory = RocksMemory::new(CACHE_BYTES, BUFFER_BYTES);
        let stores = Arc::new(Stores::open(&folder, Arc::clone(&seams.disk), memory)?);
        let log = open_log(&folder, &stores, node, joined.is_some())?;
        let (members, staging) = (Arc::new(ArcSwapOption::empty()), Staging::default());
        let checkpoints = Arc::new(Checkpoints::default());
        let machine = StoreMachine::new(
            node,
            Arc::clone(&stores),
            staging.clone(),
            Arc::clone(&members),
            Arc::clone(&checkpoints),
        )?;
        let found = members.load().as_ref().map(|members: &Arc<Members>| members.membership.cluster);
        if let Some(found) = found.filter(|found| *found != cluster) {
            return Err(StartError::OtherCluster { folder, found, expected: cluster });
        }
        let time = Arc::new(TrustedClock::new(Arc::clone(&seams.clock), last_ms(&stores, node)?));
        let seams = MasterSeams { clock: Arc::clone(&time) as Arc<dyn Clock>, ..seams };
        let keyring = Keyring::new(cluster_key, generation);
        let peers = Arc::new(Peers {
            node,
            credential: Credential { identity: Identity::Node(node), secret: keyring.node_handshake(node) },
            cluster,
            seams: seams.clone(),
            members: Arc::clone(&members),
            joined,
            links: Mutex::default(),
        });
        let snapshots = Arc::new(SnapshotServer::new(Arc::clone(&stores), Arc::clone(&seams.clock)));
        old_copy::check(&folder, &peers, &stores, log.last_index()?).await?;
        let group = start_group(node, &peers, &snapshots, machine, log)?;
        let server = Arc::new(MasterServer {
            node,
            cluster,
            generation,
            keyring,
            stores,
            clock: seams.clock,
            time,
            random: seams.random,
            transport: seams.transport,
            scans: Pool::new(SCANS_MAX),
            heartbeats: Mutex::default(),
            watch: Watch::new(dead_after),
            owners: Mutex::default(),
            policies: Policies::default(),
            members,
            group,
            peers,
            snapshots,
            staging,
            checkpoints,
            divergence: ArcSwapOption::empty(),
            stop: Arc::new(Notify::new()),
        });
        tokio::spawn(tasks::run(Arc::downgrade(&server), Arc::clone(&server.stop)));
        tokio::spawn(watch::run(Arc::downgrade(&server), Arc::clone(&server.stop)));
        tokio::spawn(digests::run(Arc::downgrade(&server), Arc::clone(&server.stop)));
        Ok(server)
    }

    /// Whether the cluster was not made yet. Waits until this master has a membership, or leads without one, which the first one
    /// does soon: before its log is applied the state may look newer than it is, and another member may lead by then.
    pub async fn is_new(&self) -> Result<bool, MasterError> {
        let is_empty = || self.members.load().as_ref().is_none_or(|members| members.membership.nodes.is_empty());
        while is_empty() {
            if self.group.status().leading {
                return Ok(is_empty());
            }
            self.clock.sleep(Duration::from_millis(5)).await;
        }
        Ok(false)
    }

    /// Makes a new cluster. Repeating it after a crash in the middle goes on where it stopped.
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
        let access = self.letters(18, b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567");
        let secret = self.letters(40, b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_");
        (format!("CK{access}"), secret)
    }

    /// `alphabet` must have a power of two of letters, so that all are equally likely.
    fn letters(&self, count: usize, alphabet: &[u8]) -> String {
        assert!(alphabet.len().is_power_of_two());
        let mut bytes = vec![0; count];
        self.random.fill(&mut bytes);
        bytes.iter().map(|byte| char::from(alphabet[usize::from(*byte) % alphabet.len()])).collect()
    }

    /// Whether the group has other members that could be asked.
    pub fn has_others(&self) -> bool {
        !self.group.status().alone
    }

    /// Whether this member can answer by itself: it is in the group, and knows who leads it. If not, others should be asked at
    /// once instead of waiting for a round that cannot come about.
    pub fn can_answer(&self) -> bool {
        let id = u64::from(self.node.0);
        let conf = self.group.members().conf;
        self.group.status().leader.is_some() && (conf.voters.contains(&id) || conf.learners.contains(&id))
    }

    /// Where the other masters are, as far as the state knows.
    pub fn other_masters(&self) -> Vec<String> {
        let Some(members) = self.members.load_full() else { return Vec::new() };
        let others = members
            .membership
            .nodes
            .values()
            .filter(|node| node.id != self.node && node.roles.master && node.state != NodeState::Removed);
        others.map(|node| node.address.clone()).collect()
    }

    /// Waits until the group has the members that it should have, as far as this one knows, and a leader: from then on the
    /// loss of one of three stops nothing. `false`: it has not come to that in time, for instance because others are down.
    pub async fn settle(&self, patience: Duration) -> bool {
        let until = self.clock.monotonic() + patience;
        loop {
            let members = self.members.load();
            let is_settled = members
                .as_ref()
                .is_some_and(|members| members::is_settled(&members.membership, &self.group.members().conf, self.node));
            if is_settled && self.group.status().leader.is_some() {
                return true;
            }
            if self.clock.monotonic() >= until {
                return false;
            }
            self.clock.sleep(SETTLE_PAUSE).await;
        }
    }

    /// Where this member of the group stands.
    pub fn status(&self) -> GroupStatus {
        self.group.status()
    }

    /// Stops: what is committed is applied, the state flushed.
    pub async fn stop(&self) {
        self.stop.notify_waiters();
        let group = Arc::clone(&self.group);
        self.scans.run(move || group.stop()).await;
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
        // Who was taken out hears nothing any more, and need not find that out by waiting.
        if !self.is_master(self.node) && !self.group.status().leading {
            return Err(self.not_leading());
        }
        let limit = self.clock.sleep(Duration::from_millis(BARRIER_TIMEOUT_MS));
        tokio::select! {
            biased;
            reached = self.agree_and_reach() => reached.map_err(|error| self.group_error(&error)),
            () = limit => Err(MasterError::NotLeader { leader: None }),
        }
    }

    /// Waits until the masters agree what time it is, for what is answered may be good until some time, and then for the barrier.
    async fn agree_and_reach(&self) -> Result<(), GroupError> {
        while !self.time.is_agreed() {
            self.clock.sleep(SETTLE_PAUSE).await;
        }
        self.group.read_barrier().await
    }

    /// Looks at a consistent picture of the state, on the calling thread: for what reads a few rows.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&dyn MetaView) -> Result<T, QueryError>) -> Result<T, MasterError> {
        let store = self.stores.current();
        let view = store.snapshot().map_err(QueryError::from)?;
        Ok(look(view.as_ref())?)
    }

    /// The same for what reads many rows, on a thread of its own.
    pub(crate) async fn scan<T: Send + 'static>(
        &self,
        look: impl FnOnce(&dyn MetaView) -> Result<T, QueryError> + Send + 'static,
    ) -> Result<T, MasterError> {
        let store = self.stores.current();
        let scanned = move || look(store.snapshot().map_err(QueryError::from)?.as_ref());
        Ok(self.scans.run(scanned).await?)
    }

    /// The membership in the state.
    pub(crate) fn members(&self) -> Result<Arc<Members>, MasterError> {
        self.members.load_full().ok_or_else(|| MasterError::Unavailable("this master has no state yet".to_owned()))
    }

    /// Members of the group as applied here, and how far they are, if this member leads.
    pub(crate) fn group_members(&self) -> GroupMembers {
        self.group.members()
    }

    pub(crate) async fn change_members(&self, change: ConfChangeV2) -> Result<(), MasterError> {
        self.group.change_members(change).await.map_err(|error| self.group_error(&error))
    }

    /// Asks another member to lead. It may not come to that.
    pub(crate) fn transfer_leader(&self, to: NodeId) -> Result<(), MasterError> {
        self.group.transfer_leader(to).map_err(|error| self.group_error(&error))
    }

    /// Where a question goes that only the leader can answer.
    pub(crate) fn not_leading(&self) -> MasterError {
        self.group_error(&GroupError::NotLeader(self.group.status().leader))
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
