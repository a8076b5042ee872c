//! A master: its folder, its threads, and the life of both.

use crate::api::Keyring;
use crate::digests::{self, Checkpoint, Checkpoints};
use crate::machine::{FIRST, StoreMachine, conf_in, init_state};
use crate::members;
use crate::old_copy;
use crate::peers::{Links, PeerReply, SnapshotServer, SnapshotTag, Staging};
use crate::query::QueryError;
use crate::raft::{
    ConfState, EngineLog, Group, GroupConfig, GroupError, GroupMembers, GroupStatus, LogError, LogStore as _,
};
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
use cairn_common::wire;
use cairn_common::wire::command::{Command, Done, Envelope, Grant, KeyRecord, Refusal, Rights, SessionSequence};
use cairn_common::wire::master::{Caller, MasterError};
use raft::eraftpb::{ConfChangeV2, Message, MessageType};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
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
            reached = self.group.read_barrier() => reached.map_err(|error| self.group_error(&error)),
            () = limit => Err(MasterError::NotLeader { leader: None }),
        }
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

    /// Whether a node may speak in the group: it should be in it, or still is. One that is to go hands over first, and must be
    /// heard until it is out.
    pub(crate) fn may_speak(&self, node: NodeId) -> bool {
        let ConfState { voters, voters_outgoing, learners, .. } = self.group.members().conf;
        let id = u64::from(node.0);
        self.is_master(node) || [voters, voters_outgoing, learners].iter().any(|members| members.contains(&id))
    }

    /// Whether a node should be in the group. A master without a state believes whoever has a node's key.
    pub(crate) fn is_master(&self, node: NodeId) -> bool {
        let members = self.members.load();
        let Some(members) = members.as_ref() else { return true };
        let known = members.membership.nodes.get(&node);
        known.is_some_and(|node| node.roles.master && node.state != NodeState::Removed)
    }

    /// A connection to another master, if it is known where it is.
    pub(crate) fn link(&self, node: NodeId) -> Option<Arc<FrameClient>> {
        self.peers.link(node)
    }

    /// What the machine's clock says, whether or not it is gone by; milliseconds since 1970.
    pub(crate) fn own_ms(&self) -> u64 {
        self.time.own_ms()
    }

    /// Index of the last entry that another member is known to have had on disk, if this one leads.
    pub(crate) fn matched(&self, node: NodeId) -> Option<u64> {
        let members = self.group.members();
        members.progress.iter().find(|member| member.node == node).map(|member| member.matched)
    }

    /// Who votes in the group besides this member.
    pub(crate) fn other_voters(&self) -> Vec<NodeId> {
        let voters = self.group.members().conf.voters;
        let nodes = voters.iter().filter_map(|id| u32::try_from(*id).ok()).map(NodeId);
        nodes.filter(|node| *node != self.node).collect()
    }

    /// How many vote in the group.
    pub(crate) fn voters(&self) -> usize {
        self.group.members().conf.voters.len()
    }

    /// Digests of this master's state at some places of the log.
    pub(crate) fn checkpoints(&self) -> Vec<Checkpoint> {
        self.checkpoints.all()
    }

    /// That this master's state and another's differ, as far as it knows.
    pub(crate) fn divergence(&self) -> Option<Arc<String>> {
        self.divergence.load_full()
    }

    pub(crate) fn set_divergence(&self, found: Option<String>) {
        if let Some(found) = found.as_ref().filter(|_| self.divergence().is_none()) {
            tracing::error!(found, "alarm");
        }
        self.divergence.store(found.map(Arc::new));
    }

    /// Ends the process: its state must not be read or written any more.
    pub(crate) fn end_process(&self, reason: String) {
        end_process(reason);
    }

    /// Takes messages of another member.
    pub(crate) fn hear(self: &Arc<Self>, from: NodeId, messages: Vec<Message>) {
        for message in messages {
            if message.from != u64::from(from.0) || message.to != u64::from(self.node.0) {
                tracing::warn!(%from, "a Raft message in the name of another node, or for another node");
                continue;
            }
            if message.get_msg_type() == MessageType::MsgSnapshot {
                tokio::spawn(Arc::clone(self).take_over(from, message));
            } else if let Err(error) = self.group.step(message) {
                tracing::debug!(%error, "a Raft message was lost");
            }
        }
    }

    /// Fetches the state that a snapshot's message is about, then lets Raft have the message.
    async fn take_over(self: Arc<Self>, from: NodeId, message: Message) {
        let tag: SnapshotTag = match wire::decode(&message.get_snapshot().data) {
            Ok(tag) => tag,
            Err(error) => return tracing::warn!(%error, %from, "a snapshot's message cannot be read"),
        };
        let Some(link) = self.peers.link(from) else { return };
        // One at a time: a second message about the same state comes when the first was slow.
        let Some(_only) = self.staging.begin() else { return };
        tracing::info!(%from, index = tag.position.index, "taking over the state of another master");
        match self.staging.fetch(&self.stores, &link, tag).await {
            Ok(()) => {
                if let Err(error) = self.group.step(message) {
                    tracing::debug!(%error, "a snapshot's message was lost");
                }
            }
            Err(error) => tracing::warn!(%error, %from, "the state was not taken over; the leader will offer it again"),
        }
    }

    /// A picture of the state as it is now, to be given away. Blocks another thread while it is taken.
    pub(crate) async fn begin_snapshot(&self) -> Result<SnapshotTag, MasterError> {
        let snapshots = Arc::clone(&self.snapshots);
        Ok(self.scans.run(move || snapshots.begin()).await.map_err(QueryError::from)?)
    }

    /// A page of a snapshot that another member fetches. Blocks while it is read.
    pub(crate) async fn snapshot_page(&self, id: u64, page: u64) -> PeerReply {
        let snapshots = Arc::clone(&self.snapshots);
        self.scans.run(move || snapshots.page(id, page)).await
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

/// The time of the newest command in a state whose group has others to ask what time it is.
fn last_ms(stores: &Stores, node: NodeId) -> Result<Option<u64>, StartError> {
    let store = stores.current();
    let stamp = store.applied()?.stamp;
    let conf = conf_in(store.as_ref())?;
    let is_alone = conf.voters == [u64::from(node.0)];
    Ok((stamp > Stamp::ZERO && !is_alone).then(|| stamp.ms()))
}

/// Opens the log and brings it and the state together: a new cluster's first master makes both.
fn open_log(folder: &std::path::Path, stores: &Stores, node: NodeId, joining: bool) -> Result<EngineLog, StartError> {
    let mut log = EngineLog::open(&folder.join("log"))?;
    let store = stores.current();
    if store.applied()?.index == 0 && log.last_index()? <= FIRST.0 && !joining {
        stores.note_member()?;
        init_state(store.as_ref(), node)?;
        log.reset(FIRST.0, FIRST.1)?;
    }
    // The state was taken over from elsewhere, and a crash came before the log was begun anew behind it.
    if let Some((index, term)) = stores.taken_over()
        && log.truncated()?.0 < index
    {
        log.reset(index, term)?;
    }
    Ok(log)
}

fn start_group(
    node: NodeId,
    peers: &Arc<Peers>,
    snapshots: &Arc<SnapshotServer>,
    machine: StoreMachine,
    log: EngineLog,
) -> Result<Arc<Group>, LogError> {
    // The links tell the group who cannot be reached, and the group sends through the links.
    let group: Arc<OnceLock<Weak<Group>>> = Arc::default();
    let unreachable = {
        let group = Arc::clone(&group);
        move |node| {
            if let Some(group) = group.get().and_then(Weak::upgrade) {
                group.unreachable(node);
            }
        }
    };
    let connect = {
        let peers = Arc::clone(peers);
        move |node| peers.link(node)
    };
    let links = Links::new(tokio::runtime::Handle::current(), Box::new(connect), Box::new(unreachable));
    let config = GroupConfig {
        node,
        run: peers.seams.random.number(),
        outbox: Box::new(move |messages| links.send(messages)),
        snapshots: Some(Arc::clone(snapshots) as Arc<_>),
        fatal: Box::new(end_process),
    };
    let started = Arc::new(Group::start(config, machine, log, Arc::clone(&peers.seams.clock))?);
    let _ = group.set(Arc::downgrade(&started));
    Ok(started)
}

/// A log or a state in doubt must not be written to, nor read from, any more.
fn end_process(reason: String) {
    tracing::error!(reason, "this master cannot go on and ends its process");
    std::process::abort();
}
