//! The masters' part: windows, receipts, files and their references, runs and volumes of nodes, rings, and what heartbeats say.
//!
//! They are one state that never fails: what masters do when they fail is simulated beside them.

use super::super::masters::{State, keys, membership, ring_of};
use super::clock::Timeline;
use super::network::{MASTERS, Network};
use super::record::Event;
use async_trait::async_trait;
use cairn_common::auth::Receipt;
use cairn_common::chunk::{ChunkAddress, VerifiedChunk};
use cairn_common::ids::{BootCount, Epoch, NodeId, Stamp, VolumeId};
use cairn_common::limits::EPOCHS_KEPT_MAX;
use cairn_common::membership::{Membership, VolumeState};
use cairn_common::ring::{Ring, RingSpec};
use cairn_common::seam::seeded_bug;
use cairn_common::wire::command::{Command, Done, Refusal};
use cairn_common::wire::heal::{Orders, Referenced};
use cairn_common::wire::master::{Caller, Heartbeat, Master, MasterCall, MasterError, MasterReply, MasterRequest};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

/// How long a window lasts.
const WINDOW_MS: u64 = 45_000;
/// How long references outlive their file.
const READ_GRACE_MS: u64 = 3_000;
/// Silence after which a node counts as down.
const DOWN_MS: u64 = 10_000;
/// How long the tokens for a placement are good.
const TOKENS_MS: u64 = 600_000;

/// A file, by number.
pub(super) type File = u64;

/// All of it.
pub(super) struct Masters {
    inner: Mutex<Inner>,
    timeline: Timeline,
}

pub(super) struct Inner {
    pub(super) state: State,
    pub(super) copies: u8,
    /// Start of each window that is open, and when it ends.
    windows: BTreeMap<Stamp, u64>,
    pub(super) files: BTreeMap<File, Vec<ChunkAddress>>,
    counts: BTreeMap<ChunkAddress, u32>,
    /// References of files that are gone, and when they go as well.
    releases: VecDeque<(u64, Vec<ChunkAddress>)>,
    /// Identities of disks whose node has not served with them yet.
    fresh: BTreeMap<NodeId, Vec<VolumeId>>,
    heard: BTreeMap<NodeId, (u64, Heartbeat)>,
    approved: Stamp,
}

/// A chunk of a file that is to be committed, with the receipts for it.
pub(super) type Attested = (VerifiedChunk, Vec<Receipt>);

/// A ring of these nodes. Calibrating one takes long, so each is made once for all runs.
fn ring(epoch: u64, nodes: &[u32]) -> RingSpec {
    static KNOWN: OnceLock<Mutex<BTreeMap<Vec<u32>, RingSpec>>> = OnceLock::new();
    let mut known = KNOWN.get_or_init(Mutex::default).lock().unwrap();
    let mut spec = known.entry(nodes.to_vec()).or_insert_with(|| ring_of(epoch, nodes)).clone();
    spec.epoch = Epoch(epoch);
    spec
}

impl Masters {
    pub(super) fn new(timeline: &Timeline, nodes: u32, in_ring: &[u32], copies: u8) -> Masters {
        let mut first = membership(nodes, ring(1, in_ring));
        first.replicas = copies;
        for node in first.nodes.values_mut() {
            (node.boot, node.served_boot) = (BootCount(0), BootCount(0));
        }
        let ring = Ring::new(first.rings[0].clone()).unwrap();
        let (stamp, expires_ms) = (Stamp(1_000), 0);
        let state = State { membership: first, ring, chunks: BTreeMap::new(), stamp, horizon: stamp, expires_ms };
        let inner = Inner {
            state,
            copies,
            windows: BTreeMap::new(),
            files: BTreeMap::new(),
            counts: BTreeMap::new(),
            releases: VecDeque::new(),
            fresh: BTreeMap::new(),
            heard: BTreeMap::new(),
            approved: Stamp::ZERO,
        };
        Masters { inner: Mutex::new(inner), timeline: timeline.clone() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    pub(super) fn open_window(&self) -> Stamp {
        let until = self.timeline.now_ms() + WINDOW_MS;
        let mut inner = self.lock();
        let stamp = inner.state.stamp.0 + 1;
        inner.windows.insert(Stamp(stamp), until);
        inner.command()
    }

    /// Commits a file if its window is open and each chunk is on a quorum. Answers which receipts counted.
    pub(super) fn commit(
        &self,
        file: File,
        window: Stamp,
        chunks: &[Attested],
    ) -> Result<Vec<(ChunkAddress, NodeId)>, Refusal> {
        let mut inner = self.lock();
        inner.command();
        if !inner.windows.contains_key(&window) {
            return Err(Refusal::WindowEnded);
        }
        if inner.files.contains_key(&file) {
            return Ok(Vec::new());
        }
        let quorum = usize::from(inner.copies / 2 + 1) - usize::from(seeded_bug("commit-below-quorum"));
        let mut counted = Vec::new();
        for (chunk, receipts) in chunks {
            let address = chunk.address();
            let counts = |receipt: &&Receipt| {
                let Receipt { node, volume, boot, .. } = **receipt;
                let live = inner.state.membership.volume_is_live(node, volume, boot);
                Stamp(receipt.window.0) == window
                    && receipt.length == chunk.length()
                    && keys(node).check_receipt(receipt, &address).is_ok()
                    && (live || seeded_bug("count-receipts-of-dead-volumes"))
            };
            let nodes: BTreeSet<NodeId> = receipts.iter().filter(counts).map(|receipt| receipt.node).collect();
            if nodes.len() < quorum {
                return Err(Refusal::ShortOfQuorum { chunks: vec![address] });
            }
            counted.extend(nodes.into_iter().map(|node| (address, node)));
        }
        let addresses = chunks.iter().map(|(chunk, _)| chunk.address()).collect();
        for (chunk, _) in chunks {
            let (address, length, copies) = (chunk.address(), chunk.length(), inner.copies);
            *inner.counts.entry(address).or_default() += 1;
            inner.state.chunks.insert((address.slot(), address), Referenced { address, length, copies });
        }
        inner.files.insert(file, addresses);
        Ok(counted)
    }

    pub(super) fn remove(&self, file: File) {
        let due = self.timeline.now_ms() + READ_GRACE_MS;
        let mut inner = self.lock();
        inner.command();
        if let Some(chunks) = inner.files.remove(&file) {
            inner.releases.push_back((due, chunks));
        }
    }

    /// What ends by itself: windows, references of files that are gone, rings whose moves are finished.
    pub(super) fn keep_house(&self) {
        let now_ms = self.timeline.now_ms();
        let mut inner = self.lock();
        let windows = inner.windows.len();
        inner.windows.retain(|_, until| *until > now_ms);
        if inner.windows.len() < windows {
            inner.command();
        }
        while inner.releases.front().is_some_and(|(due, _)| *due <= now_ms) {
            let (_, chunks) = inner.releases.pop_front().expect("there is one");
            inner.release(&chunks);
        }
        inner.retire_rings(now_ms);
    }

    /// The next ring, unless too many are unfinished. The nodes hear of it with their heartbeats.
    pub(super) fn change_ring(&self, nodes: &[u32]) -> bool {
        let mut inner = self.lock();
        if inner.state.membership.rings.len() > EPOCHS_KEPT_MAX {
            return false;
        }
        let next = ring(inner.state.ring.epoch().0 + 1, nodes);
        inner.state.ring = Ring::new(next.clone()).unwrap();
        inner.change_membership(|membership| membership.rings.push(next));
        true
    }

    /// Something about the membership is new, which every node looks at.
    pub(super) fn announce(&self) {
        self.lock().change_membership(|_| ());
    }

    /// Ends every window.
    pub(super) fn end_windows(&self) {
        self.lock().windows.values_mut().for_each(|until| *until = 0);
        self.keep_house();
    }

    /// What a node says that it has collected in its last run.
    pub(super) fn collected(&self, node: NodeId) -> u64 {
        self.lock().heard.get(&node).map_or(0, |(_, heartbeat)| heartbeat.upkeep.collected.chunks)
    }

    fn answer(&self, node: NodeId, request: MasterRequest) -> Result<MasterReply, MasterError> {
        let mut inner = self.lock();
        inner.state.expires_ms = self.timeline.wall_ms() + TOKENS_MS;
        match request {
            MasterRequest::Heartbeat(heartbeat) => inner.hear(node, heartbeat, self.timeline.now_ms()),
            MasterRequest::Membership { revision } => {
                let membership = &inner.state.membership;
                Ok(MasterReply::Membership((membership.revision > revision).then(|| Box::new(membership.clone()))))
            }
            MasterRequest::Write { session: None, command } => Ok(MasterReply::Done(inner.execute(command)?)),
            other => Ok(inner.state.answer(node, other)),
        }
    }
}

impl Inner {
    /// A command takes effect; its stamp.
    fn command(&mut self) -> Stamp {
        self.state.stamp = Stamp(self.state.stamp.0 + 1);
        self.state.horizon = self.windows.keys().next().copied().unwrap_or(self.state.stamp);
        self.state.stamp
    }

    fn change_membership(&mut self, change: impl FnOnce(&mut Membership)) {
        change(&mut self.state.membership);
        self.state.membership.revision += 1;
        self.command();
    }

    fn release(&mut self, chunks: &[ChunkAddress]) {
        self.command();
        for address in chunks {
            let count = self.counts.get_mut(address).expect("it was counted");
            *count -= 1;
            if *count == 0 {
                self.counts.remove(address);
                self.state.chunks.remove(&(address.slot(), *address));
            }
        }
    }

    /// As the leading master does it: once every node of the newest ring has all that it owns there.
    fn retire_rings(&mut self, now_ms: u64) {
        let Some(newest) = self.state.membership.rings.last().cloned() else { return };
        let complete = |node: &NodeId| {
            let heard = self.heard.get(node);
            heard.is_some_and(|(at, heartbeat)| at + DOWN_MS > now_ms && heartbeat.upkeep.complete >= newest.epoch)
        };
        if self.state.membership.rings.len() > 1 && newest.members.iter().all(|member| complete(&member.node)) {
            self.change_membership(|membership| membership.rings = vec![newest]);
        }
    }

    fn hear(&mut self, node: NodeId, heartbeat: Heartbeat, now_ms: u64) -> Result<MasterReply, MasterError> {
        let boot = heartbeat.boot;
        if self.state.membership.nodes[&node].boot != boot {
            return Err(Refusal::StaleBoot { node, boot }.into());
        }
        // An administrator who always says yes.
        if heartbeat.upkeep.fused > self.approved {
            self.approved = self.command();
        }
        self.heard.insert(node, (now_ms, heartbeat));
        let silent = |node: &&NodeId| self.heard.get(node).is_none_or(|(at, _)| at + DOWN_MS <= now_ms);
        let down = self.state.membership.nodes.keys().filter(silent).copied().collect();
        let orders = Orders { down, collect_approved: self.approved, ..Orders::default() };
        Ok(MasterReply::Heard { revision: self.state.membership.revision, orders })
    }

    fn execute(&mut self, command: Command) -> Result<Done, Refusal> {
        let stamp = self.command();
        match command {
            Command::Boot { node, volumes, new_disks, .. } => self.boot(node, &volumes, &new_disks, stamp),
            Command::Serve { node, boot } => {
                if self.state.membership.nodes[&node].boot != boot {
                    return Err(Refusal::StaleBoot { node, boot });
                }
                self.fresh.remove(&node);
                self.change_membership(|membership| {
                    let node = membership.nodes.get_mut(&node).expect("it booted");
                    node.served_boot = boot;
                });
                Ok(Done::Nothing)
            }
            Command::RetireVolume { node, volume, .. } => {
                self.change_membership(|membership| {
                    let volumes = membership.nodes.get_mut(&node).map(|node| &mut node.volumes);
                    let volume = volumes.and_then(|volumes| volumes.get_mut(&volume));
                    volume.into_iter().for_each(|volume| volume.state = VolumeState::Retired);
                });
                Ok(Done::Nothing)
            }
            other => panic!("a chunkserver does not command {other:?}"),
        }
    }

    fn boot(
        &mut self,
        id: NodeId,
        volumes: &[(VolumeId, BootCount)],
        new_disks: &[String],
        stamp: Stamp,
    ) -> Result<Done, Refusal> {
        let node = &self.state.membership.nodes[&id];
        for (volume, stored) in volumes {
            let (volume, stored, current) = (*volume, *stored, node.served_boot);
            if node.volumes.get(&volume).is_none_or(|found| found.state != VolumeState::Live) {
                return Err(Refusal::NoSuchVolume { node: id, volume });
            }
            if !(current..=node.boot).contains(&stored) {
                return Err(Refusal::StaleVolume { volume, stored, current });
            }
        }
        let boot = BootCount(node.boot.0 + 1);
        let unused = self.fresh.remove(&id).unwrap_or_default();
        let (kept, unused): (Vec<_>, Vec<_>) =
            unused.into_iter().partition(|fresh| volumes.iter().any(|(volume, _)| volume == fresh));
        let new_volumes: Vec<VolumeId> = (stamp.0 * 8..).map(VolumeId).take(new_disks.len()).collect();
        self.fresh.insert(id, kept.into_iter().chain(new_volumes.iter().copied()).collect());
        self.change_membership(|membership| {
            let node = membership.nodes.get_mut(&id).expect("it was found");
            node.boot = boot;
            node.volumes.retain(|volume, _| !unused.contains(volume));
            for (volume, label) in new_volumes.iter().zip(new_disks) {
                let (state, label) = (VolumeState::Live, label.clone());
                node.volumes.insert(*volume, cairn_common::membership::Volume { state, label });
            }
        });
        Ok(Done::Boot { boot, new_volumes, stamp })
    }
}

/// The way from a node to the masters.
pub(super) struct MastersOf(pub(super) Arc<Masters>, pub(super) Arc<Network>);

#[async_trait]
impl Master for MastersOf {
    async fn call(&self, caller: &Caller, call: MasterCall) -> Result<MasterReply, MasterError> {
        let (Caller::Node(node), MastersOf(masters, network)) = (caller, self) else {
            return Err(MasterError::Denied);
        };
        let often = matches!(call.request, MasterRequest::Compare(_));
        if !network.carry(node.0, MASTERS, often).await {
            return Err(MasterError::Unavailable("no master answers".to_owned()));
        }
        let answer = masters.answer(*node, call.request);
        if !often {
            network.record.note(Event::Command, &[u64::from(node.0), u64::from(answer.is_ok())]);
        }
        if network.carry(MASTERS, node.0, often).await { answer } else { Err(MasterError::Unknown) }
    }
}
