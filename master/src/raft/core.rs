//! One member's part in the group: raft-rs, its log, and what waits for either. No threads, no channels, no clock: whoever drives
//! it says what happened and what time it is, and carries out what it asks for. The running member (`node`) and the simulation
//! drive the same code.

use super::applier::{self, Local, Work};
use super::batch::Batch;
use super::log::{CachedLog, LogError, LogStore, SnapshotSource};
use super::logger;
use super::node::{GroupError, GroupMembers, GroupStatus, MemberProgress, Waiter};
use super::reads::Reads;
use cairn_common::ids::{NodeId, Stamp};
use cairn_common::limits::{ENTRY_COMMANDS_MAX, ENTRY_MAX_BYTES};
use cairn_common::seam::seeded_bug;
use cairn_common::wire::command::{Done, Envelope};
use protobuf::Message as _;
use raft::eraftpb::{ConfChangeV2, ConfState, Entry, EntryType, HardState, Message, MessageType, Snapshot};
use raft::{Config, ProgressState, RawNode, ReadOnlyOption, Ready, SnapshotStatus, StateRole};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use tokio::sync::oneshot;

/// Ticks between two heartbeats of a leader.
const HEARTBEAT_TICKS: usize = 5;
/// Ticks without a leader after which a follower stands, at least; at random up to twice as many.
const ELECTION_TICKS: usize = 12;
/// Ticks after which a member that was told to fetch the state, and does not, is told again.
const SNAPSHOT_TICKS: u32 = 40;

/// A command on its way into an entry.
pub(super) struct Proposal {
    pub(super) envelope: Envelope,
    /// The same, encoded by whoever proposed it.
    pub(super) encoded: Vec<u8>,
    pub(super) waiter: Waiter,
}

/// A change of the group's members.
pub(super) struct Change {
    pub(super) change: ConfChangeV2,
    pub(super) waiter: oneshot::Sender<Result<(), GroupError>>,
}

/// What the core has others do, at once and in this order.
pub(super) trait Effects {
    /// Sends messages to other members. They may be lost.
    fn send(&mut self, messages: Vec<Message>);

    /// Gives work to the applier. An error means that it has stopped.
    fn work(&mut self, work: Work) -> Result<(), String>;

    /// Replaces the state by the fetched one of this position, after all work given before. Durable on return; the last stamp
    /// in it.
    fn install(&mut self, index: u64, term: u64) -> Result<Stamp, String>;
}

/// How a core begins.
pub(super) struct CoreConfig {
    pub(super) node: NodeId,
    /// Members at the applied position.
    pub(super) conf: ConfState,
    /// Index of the last applied entry, and the last stamp in the state.
    pub(super) applied: (u64, Stamp),
    /// A number that no earlier run of this member had.
    pub(super) run: u64,
    /// Gives snapshots to members that have missed too much.
    pub(super) snapshots: Option<Arc<dyn SnapshotSource>>,
}

pub(super) struct Core<L: LogStore> {
    run: u64,
    raw: RawNode<CachedLog<L>>,
    pending: VecDeque<Proposal>,
    /// Batches that were proposed here and are not committed, by number.
    in_flight: BTreeMap<u64, Local>,
    changes: BTreeMap<u64, oneshot::Sender<Result<(), GroupError>>>,
    proposals: u64,
    reads: Reads,
    /// This member leads, and an entry of its own term is applied: the state holds everything before its term.
    established: bool,
    applied: u64,
    /// Last stamp that was given.
    stamp: Stamp,
    entries: u64,
    /// Term, vote and commit index that are not stored yet, because nothing depended on them alone.
    unsaved: Option<HardState>,
    /// Term and vote that are stored.
    voted: (u64, u64),
    /// For how many ticks members have been about to fetch the state.
    fetching: BTreeMap<u64, u32>,
    snapshots: Option<Arc<dyn SnapshotSource>>,
}

/// Opens raft-rs on a log. What the state has applied was committed, whatever the log remembers of it.
fn open<L: LogStore>(config: &CoreConfig, mut log: L) -> Result<RawNode<CachedLog<L>>, LogError> {
    let applied = config.applied.0;
    let (last, first) = (log.last_index()?, log.truncated()?.0 + 1);
    if applied > last || applied + 1 < first {
        return Err(LogError(format!(
            "it holds entries {first} to {last}, and the state is at {applied}: one of both is an old copy. Restore both \
             together, or let this master join anew"
        )));
    }
    let mut hard_state = log.hard_state()?;
    if hard_state.commit < applied {
        hard_state.commit = applied;
        log.append(&[], Some(&hard_state))?;
    }
    let raft_config = Config {
        id: u64::from(config.node.0),
        applied,
        election_tick: ELECTION_TICKS,
        heartbeat_tick: HEARTBEAT_TICKS,
        max_size_per_msg: ENTRY_MAX_BYTES as u64,
        max_inflight_msgs: 64,
        max_committed_size_per_ready: 16 << 20,
        check_quorum: true,
        pre_vote: true,
        read_only_option: ReadOnlyOption::Safe,
        ..Config::default()
    };
    let log = CachedLog::open(log, config.conf.clone(), config.snapshots.clone())?;
    RawNode::new(&raft_config, log, &logger::logger()).map_err(|error| LogError(error.to_string()))
}

impl<L: LogStore> Core<L> {
    pub(super) fn open(config: CoreConfig, log: L) -> Result<Core<L>, LogError> {
        let raw = open(&config, log)?;
        let voted = (raw.raft.term, raw.raft.vote);
        let last = raw.raft.raft_log.last_index();
        tracing::info!(term = voted.0, vote = voted.1, last, applied = config.applied.0, "the log is open");
        Ok(Core {
            run: config.run,
            raw,
            pending: VecDeque::new(),
            in_flight: BTreeMap::new(),
            changes: BTreeMap::new(),
            proposals: 0,
            reads: Reads::default(),
            established: false,
            applied: config.applied.0,
            stamp: config.applied.1,
            entries: 0,
            unsaved: None,
            voted,
            fetching: BTreeMap::new(),
            snapshots: config.snapshots,
        })
    }

    /// A group of one need not wait for an election.
    pub(super) fn stand_if_alone(&mut self) -> Result<(), String> {
        if self.is_only_voter() { self.raw.campaign().map_err(|error| error.to_string()) } else { Ok(()) }
    }

    pub(super) fn add_proposal(&mut self, proposal: Proposal) {
        self.pending.push_back(proposal);
    }

    /// Whether more proposals should wait outside.
    pub(super) fn is_full(&self) -> bool {
        self.pending.len() >= ENTRY_COMMANDS_MAX
    }

    pub(super) fn add_read(&mut self, waiter: oneshot::Sender<()>) {
        self.reads.join(waiter);
    }

    /// Whether a read round is under way. Whoever comes to read waits for the next.
    pub(super) fn is_reading(&self) -> bool {
        self.reads.is_under_way()
    }

    pub(super) fn step(&mut self, message: Message) {
        // The asker's round will be begun anew.
        if message.get_msg_type() == MessageType::MsgReadIndex && self.leads_without_vote() {
            return;
        }
        if let Err(error) = self.raw.step(message) {
            tracing::debug!(%error, "a Raft message was not taken");
        }
    }

    /// Proposes a change of members. Only a leader can, one at a time.
    pub(super) fn change(&mut self, Change { change, waiter }: Change) {
        if !self.is_established() {
            let _ = waiter.send(Err(GroupError::NotLeader(self.leader())));
            return;
        }
        self.proposals += 1;
        match self.raw.propose_conf_change(self.context(self.proposals), change) {
            Ok(()) => {
                self.changes.insert(self.proposals, waiter);
            }
            Err(error) => {
                tracing::debug!(%error, "a change of members was not taken");
                let _ = waiter.send(Err(GroupError::Overloaded));
            }
        }
    }

    pub(super) fn transfer_leader(&mut self, to: NodeId) {
        self.raw.transfer_leader(u64::from(to.0));
    }

    /// The group as this member has applied it and, if it leads, how far each member is.
    pub(super) fn members(&self) -> GroupMembers {
        let progress = self.raw.raft.prs();
        let conf = progress.conf().to_conf_state();
        let last = self.raw.raft.raft_log.last_index();
        let mut members = GroupMembers { conf, last, progress: Vec::new() };
        if self.is_established() {
            let all = progress.iter().filter_map(|(id, progress)| {
                let node = u32::try_from(*id).map(NodeId).ok()?;
                let active = progress.recent_active || *id == self.raw.raft.id;
                Some(MemberProgress { node, matched: progress.matched, active })
            });
            members.progress = all.collect();
            members.progress.sort_by_key(|member| member.node);
        }
        members
    }

    /// A message to this member could not be delivered.
    pub(super) fn unreachable(&mut self, node: NodeId) {
        self.raw.report_unreachable(u64::from(node.0));
    }

    /// Everything up to `index` is applied; `stamp` is the last in the state.
    pub(super) fn applied(&mut self, index: u64, stamp: Stamp) -> Result<(), String> {
        // News of entries before a state that was installed since.
        if index <= self.applied {
            return Ok(());
        }
        self.raw.advance_apply_to(index);
        self.applied = index;
        self.stamp = self.stamp.max(stamp);
        let term = self.raw.raft.raft_log.term(index).unwrap_or(0);
        if self.raw.raft.state == StateRole::Leader && term == self.raw.raft.term {
            self.established = true;
        }
        if seeded_bug("purge-below-unflushed") { self.purge(index) } else { Ok(()) }
    }

    /// The state holds everything up to `index` without the log. What is in memory is kept, so that a follower that was away for
    /// a moment needs no snapshot.
    pub(super) fn flushed(&mut self, index: u64) -> Result<(), String> {
        let index = index.min(self.raw.store().first_in_memory() - 1);
        self.raw.mut_store().compact(index).map_err(|error| error.to_string())
    }

    /// Forgets entries up to `index`, those in memory as well: who lacks them will need the state.
    pub(super) fn purge(&mut self, index: u64) -> Result<(), String> {
        self.raw.mut_store().compact(index).map_err(|error| error.to_string())
    }

    pub(super) fn tick(&mut self) {
        self.raw.tick();
        self.reads.tick(self.raw.raft.leader_id == 0);
        self.offer_again();
    }

    /// raft-rs sends a member nothing while it is to fetch the state, until somebody says what became of that. The message that
    /// told it to may be lost, or the fetch may fail: so it is told again, unless the state is being read by somebody.
    fn offer_again(&mut self) {
        let all = self.raw.raft.prs().iter();
        let about_to = all.filter(|(_, progress)| progress.state == ProgressState::Snapshot).map(|(id, _)| *id);
        self.fetching = about_to.map(|id| (id, self.fetching.get(&id).map_or(0, |age| age + 1))).collect();
        if self.snapshots.as_ref().is_some_and(|snapshots| snapshots.is_read()) {
            return;
        }
        for (id, age) in &mut self.fetching {
            if *age >= SNAPSHOT_TICKS {
                self.raw.report_snapshot(*id, SnapshotStatus::Failure);
                *age = 0;
            }
        }
    }

    /// Does all that can be done now: proposes what waits, begins a read round, and carries out what raft-rs asks for. An error
    /// ends the member: its log cannot be written.
    pub(super) fn advance(&mut self, wall_ms: u64, effects: &mut dyn Effects) -> Result<(), String> {
        self.propose(wall_ms)?;
        loop {
            self.begin_reads();
            if !self.raw.has_ready() {
                return Ok(());
            }
            self.handle_ready(effects)?;
        }
    }

    /// Tells everybody who waits that nobody knows.
    pub(super) fn give_up(&mut self) {
        for local in std::mem::take(&mut self.in_flight).into_values() {
            applier::give_up(local.waiters);
        }
        for waiter in std::mem::take(&mut self.changes).into_values() {
            let _ = waiter.send(Err(GroupError::Unknown));
        }
    }

    pub(super) fn status(&self) -> GroupStatus {
        GroupStatus {
            term: self.raw.raft.term,
            leader: self.leader(),
            leading: self.is_established(),
            alone: self.is_established() && self.is_only_voter(),
            applied: self.applied,
            stamp: self.stamp,
            entries: self.entries,
            commands: 0,
        }
    }

    /// Its term, if it leads, whether or not it may act already.
    #[cfg(test)]
    pub(super) fn leads(&self) -> Option<u64> {
        (self.raw.raft.state == StateRole::Leader).then_some(self.raw.raft.term)
    }

    /// Replaces the election timeout that raft-rs drew at random by one that follows from member and term, so that a run can be
    /// repeated.
    #[cfg(test)]
    pub(super) fn spread_elections(&mut self) {
        let raft = &mut self.raw.raft;
        let mixed = (raft.term.wrapping_mul(31) ^ raft.id).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        raft.set_randomized_election_timeout(ELECTION_TICKS + mixed as usize % ELECTION_TICKS);
    }

    fn is_established(&self) -> bool {
        self.established && self.raw.raft.state == StateRole::Leader
    }

    fn leader(&self) -> Option<NodeId> {
        u32::try_from(self.raw.raft.leader_id).ok().filter(|id| *id != 0).map(NodeId)
    }

    /// A leader whose vote was taken, and that has not handed over yet. raft-rs lets it answer reads at once where one other
    /// member votes, which may have elected itself by then.
    fn leads_without_vote(&self) -> bool {
        let raft = &self.raw.raft;
        raft.state == StateRole::Leader && !raft.prs().conf().to_conf_state().voters.contains(&raft.id)
    }

    fn is_only_voter(&self) -> bool {
        let conf = self.raw.raft.prs().conf().to_conf_state();
        conf.voters == [self.raw.raft.id] && conf.voters_outgoing.is_empty()
    }

    fn context(&self, number: u64) -> Vec<u8> {
        [self.run.to_be_bytes(), number.to_be_bytes()].concat()
    }

    /// The number in a context that this run wrote.
    fn number_of(&self, context: &[u8]) -> Option<u64> {
        let (run, number) = context.split_first_chunk::<8>()?;
        let ours = u64::from_be_bytes(*run) == self.run;
        ours.then(|| number.try_into().map(u64::from_be_bytes).ok()).flatten()
    }

    /// Makes entries of all commands that wait.
    fn propose(&mut self, wall_ms: u64) -> Result<(), String> {
        if self.raw.raft.state != StateRole::Leader {
            let leader = self.leader();
            for proposal in self.pending.drain(..) {
                let _ = proposal.waiter.send(Err(GroupError::NotLeader(leader)));
            }
            return Ok(());
        }
        while self.established && !self.pending.is_empty() {
            let (mut bytes, mut commands, mut encoded, mut waiters) = (0, Vec::new(), Vec::new(), Vec::new());
            while let Some(next) = self.pending.front()
                && (commands.is_empty() || bytes + next.encoded.len() <= ENTRY_MAX_BYTES)
            {
                let Some(next) = self.pending.pop_front() else { break };
                bytes += next.encoded.len();
                commands.push(next.envelope);
                encoded.push(next.encoded);
                waiters.push(next.waiter);
            }
            let base = Stamp::from_ms(wall_ms).max(self.stamp.next(1));
            let entry = Batch::assemble(base, &encoded);
            self.proposals += 1;
            if let Err(error) = self.raw.propose(self.context(self.proposals), entry.to_vec()) {
                tracing::debug!(%error, "an entry was not taken");
                let leader = self.leader();
                for waiter in waiters {
                    let _ = waiter.send(Err(GroupError::NotLeader(leader)));
                }
                return Ok(());
            }
            self.stamp = base.next(commands.len() as u64 - 1);
            if seeded_bug("reply-before-commit") {
                for waiter in waiters.drain(..) {
                    let _ = waiter.send(Ok(Ok(Done::Nothing)));
                }
            }
            self.in_flight.insert(self.proposals, Local { batch: Batch::new(base, commands), waiters });
        }
        Ok(())
    }

    fn begin_reads(&mut self) {
        let leader = (self.raw.raft.leader_id, self.raw.raft.term);
        self.reads.led_by(leader);
        if !self.reads.is_due() {
            return;
        }
        let is_leader = self.raw.raft.state == StateRole::Leader;
        if is_leader && seeded_bug("stale-leader-read") {
            answer(self.reads.take_waiting());
            return;
        }
        let can_begin = match is_leader {
            true => self.established && !self.leads_without_vote(),
            false => self.raw.raft.leader_id != 0,
        };
        if can_begin {
            let number = self.reads.begin(leader);
            self.raw.read_index(self.context(number));
        }
    }

    /// Stores, sends and hands on what raft-rs asks for, in its order.
    fn handle_ready(&mut self, effects: &mut dyn Effects) -> Result<(), String> {
        let mut ready = self.raw.ready();
        if ready.ss().is_some() && self.raw.raft.state != StateRole::Leader {
            self.established = false;
            self.give_up();
        }
        // A leader's messages may go out while its own log is being synced (Raft thesis, 10.2.1).
        effects.send(ready.take_messages());
        let installed = !ready.snapshot().is_empty();
        if installed {
            self.install(ready.snapshot(), effects)?;
        }
        self.hand_on(ready.take_committed_entries(), effects)?;
        self.store(&ready)?;
        effects.send(ready.take_persisted_messages());
        for state in ready.take_read_states() {
            let waiters = self.number_of(&state.request_ctx).and_then(|number| self.reads.end(number));
            match waiters {
                Some(waiters) if state.index <= self.applied => answer(waiters),
                Some(waiters) => effects.work(Work::Barrier(state.index, waiters))?,
                None => {}
            }
        }
        let mut light = self.raw.advance_append(ready);
        if installed {
            // Else it would look for the entries before the state when it stands for election.
            self.raw.advance_apply_to(self.applied);
        }
        effects.send(light.take_messages());
        self.hand_on(light.take_committed_entries(), effects)
    }

    /// Replaces the state, then begins the log anew behind it. A crash in between is found at the next start by the state's own
    /// record of where it was taken over.
    fn install(&mut self, snapshot: &Snapshot, effects: &mut dyn Effects) -> Result<(), String> {
        let metadata = snapshot.get_metadata();
        let (index, term) = (metadata.index, metadata.term);
        self.stamp = self.stamp.max(effects.install(index, term)?);
        self.applied = index;
        self.raw.mut_store().reset(index, term).map_err(|error| error.to_string())?;
        self.raw.mut_store().set_conf(metadata.get_conf_state().clone());
        Ok(())
    }

    fn store(&mut self, ready: &Ready) -> Result<(), String> {
        self.entries += ready.entries().len() as u64;
        self.unsaved = ready.hs().cloned().or(self.unsaved.take());
        // A new commit index alone need not be stored at once. But it must come along with the next entries: if one of them is a
        // change of members, a member that came back with it and without knowing that the change before is in force could be
        // elected by members that were.
        if ready.entries().is_empty() && (!ready.must_sync() || seeded_bug("skip-vote-sync")) {
            return Ok(());
        }
        let hard_state = self.unsaved.take();
        self.raw.mut_store().append(ready.entries(), hard_state.as_ref()).map_err(|error| error.to_string())?;
        if let Some(HardState { term, vote, .. }) = hard_state
            && (term, vote) != self.voted
        {
            self.voted = (term, vote);
            tracing::info!(term, vote, "the vote is stored");
        }
        Ok(())
    }

    fn hand_on(&mut self, entries: Vec<Entry>, effects: &mut dyn Effects) -> Result<(), String> {
        for entry in entries {
            let number = self.number_of(&entry.context);
            if entry.entry_type == EntryType::EntryNormal {
                let local = number.and_then(|number| self.in_flight.remove(&number));
                effects.work(Work::Entry(entry, local))?;
                continue;
            }
            let mut change = ConfChangeV2::default();
            change.merge_from_bytes(&entry.data).map_err(|error| format!("entry {}: {error}", entry.index))?;
            // One that makes no sense any more where it came to stand, such as one that leaves no voter, changes nothing: every
            // member decides so alike, and none must end because of what is in the log for ever.
            let conf = self.raw.apply_conf_change(&change).unwrap_or_else(|error| {
                tracing::warn!(%error, index = entry.index, "a change of members is void");
                self.raw.raft.prs().conf().to_conf_state()
            });
            self.raw.mut_store().set_conf(conf.clone());
            let waiter = number.and_then(|number| self.changes.remove(&number));
            effects.work(Work::Conf { index: entry.index, term: entry.term, conf, waiter })?;
        }
        Ok(())
    }
}

/// Tells those who wait to read that they can.
fn answer(waiters: Vec<oneshot::Sender<()>>) {
    for waiter in waiters {
        // One who has gone needs no answer.
        let _ = waiter.send(());
    }
}

#[cfg(test)]
mod tests {
    use super::super::log::{EngineLog, MemoryLog};
    use super::*;

    /// Opens a member on a log of many entries, none of which the state has applied, and returns where its log ends.
    fn reopened(mut log: impl LogStore) -> u64 {
        let entries: Vec<Entry> = (1..=5_000).map(|index| Entry { index, term: 1, ..Entry::default() }).collect();
        log.append(&entries, Some(&HardState { term: 1, commit: 5_000, ..HardState::default() })).unwrap();
        let conf = ConfState { voters: vec![1, 2, 3], ..ConfState::default() };
        let config = CoreConfig { node: NodeId(1), conf, applied: (0, Stamp(0)), run: 1, snapshots: None };
        Core::open(config, log).unwrap().raw.raft.raft_log.last_index()
    }

    #[test]
    fn a_restart_keeps_every_entry_however_many_are_not_applied() {
        assert_eq!(reopened(MemoryLog::default()), 5_000);
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(reopened(EngineLog::open(folder.path()).unwrap()), 5_000);
    }
}
