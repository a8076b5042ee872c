//! The loop that drives raft-rs, and the handle that the rest of the process holds.
//!
//! raft-rs does no I/O: it is told what happened and says what must be stored, sent and applied, in which order. This file
//! keeps that order: entries and votes are synced before any message that relies on them, and committed entries go to the
//! applier. Everything that reaches the loop comes through one bounded queue.

use super::applier::{self, Applier, Local, Progress, Work};
use super::batch::{Batch, encode_command};
use super::log::{CachedLog, LogError, LogStore};
use super::{StateMachine, logger};
use cairn_common::ids::{NodeId, Stamp};
use cairn_common::limits::{ENTRY_COMMANDS_MAX, ENTRY_MAX_BYTES, PROPOSALS_QUEUED_MAX};
use cairn_common::seam::{Clock, seeded_bug, spawn_thread};
use cairn_common::wire::command::{Envelope, Outcome};
use raft::eraftpb::{ConfState, Entry, Message};
use raft::{Config, RawNode, ReadOnlyOption, Ready, StateRole};
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;

/// Time between two ticks of raft-rs.
const TICK: Duration = Duration::from_millis(50);
/// Ticks between two heartbeats of a leader.
const HEARTBEAT_TICKS: usize = 5;
/// Ticks without a leader after which a follower stands, at least; at random up to twice as many.
const ELECTION_TICKS: usize = 12;
/// Committed entries that wait to be applied.
const APPLY_QUEUE: usize = 64;
/// Entries written again at a time when a log is opened.
const REWRITE_ENTRIES: u64 = 1024;
/// Ticks after which an unanswered read round is begun anew.
const READ_ROUND_TICKS: u32 = 20;

/// Who answers a proposal.
pub(super) type Waiter = oneshot::Sender<Result<Outcome, GroupError>>;

/// A command was not executed, or nobody knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// Another member leads, if known which; nothing was done.
    #[error("this master does not lead")]
    NotLeader(Option<NodeId>),
    /// Too many commands wait; nothing was done.
    #[error("too many commands wait")]
    Overloaded,
    /// The command may or may not be executed.
    #[error("the outcome is not known")]
    Unknown,
    /// The group has stopped; nothing was done.
    #[error("the group has stopped")]
    Stopped,
}

/// How a member of a group is made.
pub struct GroupConfig {
    /// This member.
    pub node: NodeId,
    /// Members at the applied position of the state.
    pub voters: Vec<NodeId>,
    /// A number that no earlier run of this member had.
    pub run: u64,
    /// Takes messages to other members. Must not block.
    pub outbox: Box<dyn Fn(Vec<Message>) + Send>,
    /// Told why the group has stopped by itself. The process should end: its log or its state is in doubt.
    pub fatal: Box<dyn Fn(String) + Send>,
}

/// Where a member stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupStatus {
    /// Its term.
    pub term: u64,
    /// Who leads, as far as it knows.
    pub leader: Option<NodeId>,
    /// Whether it leads and everything before its term is applied.
    pub leading: bool,
    /// Index of the last applied entry.
    pub applied: u64,
    /// Last stamp in the state.
    pub stamp: Stamp,
    /// Entries appended since it started.
    pub entries: u64,
    /// Commands proposed here since it started.
    pub commands: u64,
}

/// What reaches the loop.
enum Input {
    Propose(Box<Proposal>),
    Read(oneshot::Sender<()>),
    Step(Box<Message>),
    Flush(oneshot::Sender<Result<u64, String>>),
    /// The applier has news.
    Wake,
    Stop,
}

struct Proposal {
    envelope: Envelope,
    encoded: Vec<u8>,
    waiter: Waiter,
}

/// What other threads see of the loop.
#[derive(Default)]
struct Shared {
    status: Mutex<GroupStatus>,
    /// This member is the only voter, leads, and has applied everything before its term: whatever was acknowledged is applied.
    alone: AtomicBool,
    progress: Mutex<VecDeque<Progress>>,
    commands: AtomicU64,
}

/// A running member of a group. Dropping it does not stop the member; [`Group::stop`] does.
pub struct Group {
    inputs: SyncSender<Input>,
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Group {
    /// Starts a member on its log and its state.
    ///
    /// # Errors
    /// A log that cannot be read, or does not fit the state.
    pub fn start<M: StateMachine, L: LogStore>(
        config: GroupConfig,
        machine: M,
        log: L,
        clock: Arc<dyn Clock>,
    ) -> Result<Group, LogError> {
        let (applied, stamp) = machine.applied();
        let conf =
            ConfState { voters: config.voters.iter().map(|node| u64::from(node.0)).collect(), ..ConfState::default() };
        let raw = open(u64::from(config.node.0), log, conf, applied)?;
        let shared = Arc::new(Shared::default());
        let (inputs, received) = sync_channel(PROPOSALS_QUEUED_MAX);
        let (work, to_apply) = sync_channel(APPLY_QUEUE);
        let progress = {
            let (shared, inputs) = (Arc::clone(&shared), inputs.clone());
            Box::new(move |progress| {
                shared.progress.lock().unwrap_or_else(PoisonError::into_inner).push_back(progress);
                // A full queue wakes the loop as well.
                let _ = inputs.try_send(Input::Wake);
            })
        };
        let applier = Applier { machine, work: to_apply, progress };
        let driver = Driver {
            run: config.run,
            raw,
            inputs: received,
            work,
            shared: Arc::clone(&shared),
            clock,
            outbox: config.outbox,
            pending: VecDeque::new(),
            in_flight: BTreeMap::new(),
            proposals: 0,
            reads: Reads::default(),
            established: false,
            stamp,
            entries: 0,
        };
        let fatal = config.fatal;
        let threads = Mutex::new(vec![
            spawn_thread("raft-apply", move || applier.run()),
            spawn_thread("raft", move || {
                if let Err(reason) = driver.run() {
                    fatal(reason);
                }
            }),
        ]);
        Ok(Group { inputs, shared, threads })
    }

    /// Has a command executed. `Ok`: it was applied, and its entry is durable on a majority. Dropping the future leaves it
    /// open whether the command is executed.
    pub async fn propose(&self, envelope: Envelope) -> Result<Outcome, GroupError> {
        let (waiter, answer) = oneshot::channel();
        let encoded = encode_command(&envelope);
        self.send(Input::Propose(Box::new(Proposal { envelope, encoded, waiter })))?;
        answer.await.unwrap_or(Err(GroupError::Unknown))
    }

    /// Returns when the local state holds everything that was acknowledged anywhere before the call. Those who wait at the
    /// same time share one round. Without a leader it waits; callers set their own limit. Cancel-safe.
    pub async fn read_barrier(&self) -> Result<(), GroupError> {
        // No other member can have acknowledged anything, and here commands are acknowledged after they are applied.
        if self.shared.alone.load(Ordering::Acquire) {
            return Ok(());
        }
        let (waiter, reached) = oneshot::channel();
        self.send(Input::Read(waiter))?;
        reached.await.map_err(|_| GroupError::Stopped)
    }

    /// Takes a message from another member.
    pub fn step(&self, message: Message) -> Result<(), GroupError> {
        self.send(Input::Step(Box::new(message)))
    }

    /// Makes the state durable without the log; the index up to which it is.
    pub async fn flush(&self) -> Result<u64, GroupError> {
        let (waiter, flushed) = oneshot::channel();
        self.send(Input::Flush(waiter))?;
        flushed.await.map_err(|_| GroupError::Stopped)?.map_err(|_| GroupError::Stopped)
    }

    /// Where this member stands.
    pub fn status(&self) -> GroupStatus {
        let status = *self.shared.status.lock().unwrap_or_else(PoisonError::into_inner);
        GroupStatus { commands: self.shared.commands.load(Ordering::Relaxed), ..status }
    }

    /// Stops the member: what is committed is applied, the state flushed, the rest given up. Blocks for as long as that takes.
    pub fn stop(&self) {
        // A loop that has ended takes no more.
        let _ = self.inputs.send(Input::Stop);
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads.into_iter().rev() {
            // A thread that panicked has said so by itself.
            let _ = thread.join();
        }
    }

    fn send(&self, input: Input) -> Result<(), GroupError> {
        self.inputs.try_send(input).map_err(|error| match error {
            TrySendError::Full(_) => GroupError::Overloaded,
            TrySendError::Disconnected(_) => GroupError::Stopped,
        })
    }
}

/// Opens raft-rs on a log. What the state has applied was committed, whatever the log remembers of it.
fn open<L: LogStore>(id: u64, mut log: L, conf: ConfState, applied: u64) -> Result<RawNode<CachedLog<L>>, LogError> {
    let (last, first) = (log.last_index()?, log.truncated()?.0 + 1);
    if applied > last || applied + 1 < first {
        return Err(LogError(format!(
            "it holds entries {first} to {last}, and the state is at {applied}: one of both is an old copy. Restore both \
             together, or let this master join anew"
        )));
    }
    // The last run may have ended with a failed sync, after which the page cache shows what the disk does not hold. Whatever
    // the state does not have yet is written and synced once more before it is believed (P6).
    let mut low = applied + 1;
    while low <= last {
        let high = (low + REWRITE_ENTRIES).min(last + 1);
        let entries = log.entries(low, high)?;
        log.append(&entries, None)?;
        low = high;
    }
    let mut hard_state = log.hard_state()?;
    if hard_state.commit < applied {
        hard_state.commit = applied;
        log.append(&[], Some(&hard_state))?;
    }
    let config = Config {
        id,
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
    let log = CachedLog::open(log, conf)?;
    RawNode::new(&config, log, &logger::logger()).map_err(|error| LogError(error.to_string()))
}

/// Read rounds: those who wait for the next, and those of each that is under way.
#[derive(Default)]
struct Reads {
    waiting: Vec<oneshot::Sender<()>>,
    rounds: BTreeMap<u64, Vec<oneshot::Sender<()>>>,
    next: u64,
    age_ticks: u32,
}

struct Driver<L: LogStore> {
    run: u64,
    raw: RawNode<CachedLog<L>>,
    inputs: Receiver<Input>,
    work: SyncSender<Work>,
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
    outbox: Box<dyn Fn(Vec<Message>) + Send>,
    pending: VecDeque<Proposal>,
    /// Batches that were proposed here and are not committed, by number.
    in_flight: BTreeMap<u64, Local>,
    proposals: u64,
    reads: Reads,
    /// This member leads, and an entry of its own term is applied: the state holds everything before its term.
    established: bool,
    /// Last stamp that was given.
    stamp: Stamp,
    entries: u64,
}

impl<L: LogStore> Driver<L> {
    fn run(mut self) -> Result<(), String> {
        let result = self.drive();
        for local in std::mem::take(&mut self.in_flight).into_values() {
            applier::give_up(local.waiters);
        }
        self.shared.alone.store(false, Ordering::Release);
        *self.shared.status.lock().unwrap_or_else(PoisonError::into_inner) = GroupStatus::default();
        result
    }

    fn drive(&mut self) -> Result<(), String> {
        if self.is_only_voter() {
            self.raw.campaign().map_err(|error| error.to_string())?;
        }
        let mut next_tick = self.clock.monotonic() + TICK;
        loop {
            while self.raw.has_ready() {
                self.handle_ready()?;
            }
            let wait = next_tick.saturating_sub(self.clock.monotonic());
            let mut input = match self.inputs.recv_timeout(wait) {
                Ok(input) => Some(input),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return self.finish(),
            };
            // Everything that waits goes into one entry, or one read round.
            while let Some(next) = input {
                if matches!(next, Input::Stop) {
                    return self.finish();
                }
                self.take(next)?;
                input = if self.pending.len() < ENTRY_COMMANDS_MAX { self.inputs.try_recv().ok() } else { None };
            }
            self.take_progress()?;
            if self.clock.monotonic() >= next_tick {
                next_tick = self.clock.monotonic() + TICK;
                self.tick();
            }
            self.propose()?;
            self.begin_reads();
        }
    }

    fn take(&mut self, input: Input) -> Result<(), String> {
        match input {
            Input::Propose(proposal) => self.pending.push_back(*proposal),
            Input::Read(waiter) => self.reads.waiting.push(waiter),
            Input::Step(message) => {
                if let Err(error) = self.raw.step(*message) {
                    tracing::debug!(%error, "a Raft message was not taken");
                }
            }
            Input::Flush(waiter) => self.send_work(Work::Flush(waiter))?,
            Input::Wake | Input::Stop => {}
        }
        Ok(())
    }

    fn take_progress(&mut self) -> Result<(), String> {
        loop {
            let next = self.shared.progress.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            match next {
                None => return Ok(()),
                Some(Progress::Applied(index, stamp)) => {
                    self.raw.advance_apply_to(index);
                    self.stamp = self.stamp.max(stamp);
                    let term = self.raw.raft.raft_log.term(index).unwrap_or(0);
                    if self.raw.raft.state == StateRole::Leader && term == self.raw.raft.term {
                        self.established = true;
                    }
                    if seeded_bug("purge-below-unflushed") {
                        self.compact(index)?;
                    }
                    self.publish(index);
                }
                // What is in memory is kept, so that a follower that was away for a moment needs no snapshot.
                Some(Progress::Flushed(index)) => self.compact(index.min(self.raw.store().first_in_memory() - 1))?,
                Some(Progress::Failed(reason)) => return Err(reason),
            }
        }
    }

    fn compact(&mut self, index: u64) -> Result<(), String> {
        let last = self.raw.store().last();
        self.raw.mut_store().compact(index.min(last)).map_err(|error| error.to_string())
    }

    fn tick(&mut self) {
        self.raw.tick();
        // A round may be lost with a message or a leader; those who wait join the next.
        if !self.reads.rounds.is_empty() {
            self.reads.age_ticks += 1;
            if self.reads.age_ticks > READ_ROUND_TICKS {
                let lost = std::mem::take(&mut self.reads.rounds);
                self.reads.waiting.extend(lost.into_values().flatten());
            }
        }
        self.reads.waiting.retain(|waiter| !waiter.is_closed());
    }

    /// Makes one entry of all commands that wait, as far as they fit.
    fn propose(&mut self) -> Result<(), String> {
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
            let base = Stamp::from_ms(self.clock.wall_ms()).max(self.stamp.next(1));
            let entry = Batch::assemble(base, &encoded);
            self.proposals += 1;
            let context = [self.run.to_be_bytes(), self.proposals.to_be_bytes()].concat();
            if let Err(error) = self.raw.propose(context, entry.to_vec()) {
                tracing::debug!(%error, "an entry was not taken");
                let leader = self.leader();
                for waiter in waiters {
                    let _ = waiter.send(Err(GroupError::NotLeader(leader)));
                }
                return Ok(());
            }
            self.stamp = base.next(commands.len() as u64 - 1);
            self.shared.commands.fetch_add(commands.len() as u64, Ordering::Relaxed);
            self.in_flight.insert(self.proposals, Local { batch: Batch::new(base, commands), waiters });
        }
        Ok(())
    }

    fn begin_reads(&mut self) {
        let can_begin =
            if self.raw.raft.state == StateRole::Leader { self.established } else { self.raw.raft.leader_id != 0 };
        // One round at a time: who comes while it is under way joins the next.
        if self.reads.waiting.is_empty() || !self.reads.rounds.is_empty() || !can_begin {
            return;
        }
        self.reads.next += 1;
        self.reads.age_ticks = 0;
        let context = [self.run.to_be_bytes(), self.reads.next.to_be_bytes()].concat();
        self.reads.rounds.insert(self.reads.next, std::mem::take(&mut self.reads.waiting));
        self.raw.read_index(context);
    }

    /// Stores, sends and hands on what raft-rs asks for, in its order.
    fn handle_ready(&mut self) -> Result<(), String> {
        let mut ready = self.raw.ready();
        if ready.ss().is_some() {
            self.role_changed();
        }
        // A leader's messages may go out while its own log is being synced (Raft thesis, 10.2.1).
        self.send(ready.take_messages());
        if !ready.snapshot().is_empty() {
            return Err("a snapshot came, and this release cannot install it".to_owned());
        }
        self.hand_on(ready.take_committed_entries())?;
        self.store(&ready)?;
        self.send(ready.take_persisted_messages());
        for state in ready.take_read_states() {
            self.read_confirmed(state.index, &state.request_ctx)?;
        }
        let mut light = self.raw.advance_append(ready);
        self.send(light.take_messages());
        self.hand_on(light.take_committed_entries())
    }

    fn store(&mut self, ready: &Ready) -> Result<(), String> {
        if ready.entries().is_empty() && ready.hs().is_none() {
            return Ok(());
        }
        self.entries += ready.entries().len() as u64;
        // A new commit index alone need not be synced, but does come along with the next entries.
        if ready.entries().is_empty() && !ready.must_sync() {
            return Ok(());
        }
        self.raw.mut_store().append(ready.entries(), ready.hs()).map_err(|error| error.to_string())
    }

    fn hand_on(&mut self, entries: Vec<Entry>) -> Result<(), String> {
        for entry in entries {
            let local = self.number_of(&entry.context).and_then(|number| self.in_flight.remove(&number));
            self.send_work(Work::Entry(entry, local))?;
        }
        Ok(())
    }

    fn read_confirmed(&mut self, index: u64, context: &[u8]) -> Result<(), String> {
        let waiters = self.number_of(context).and_then(|number| self.reads.rounds.remove(&number));
        match waiters {
            Some(waiters) => self.send_work(Work::Barrier(index, waiters)),
            None => Ok(()),
        }
    }

    /// The number in a context that this run wrote.
    fn number_of(&self, context: &[u8]) -> Option<u64> {
        let (run, number) = context.split_first_chunk::<8>()?;
        let ours = u64::from_be_bytes(*run) == self.run;
        ours.then(|| number.try_into().map(u64::from_be_bytes).ok()).flatten()
    }

    fn role_changed(&mut self) {
        if self.raw.raft.state != StateRole::Leader {
            self.established = false;
            for local in std::mem::take(&mut self.in_flight).into_values() {
                applier::give_up(local.waiters);
            }
        }
        let applied = self.shared.status.lock().unwrap_or_else(PoisonError::into_inner).applied;
        self.publish(applied);
    }

    fn publish(&self, applied: u64) {
        let leading = self.established && self.raw.raft.state == StateRole::Leader;
        self.shared.alone.store(leading && self.is_only_voter(), Ordering::Release);
        let mut status = self.shared.status.lock().unwrap_or_else(PoisonError::into_inner);
        *status = GroupStatus {
            term: self.raw.raft.term,
            leader: self.leader(),
            leading,
            applied,
            stamp: self.stamp,
            entries: self.entries,
            commands: 0,
        };
    }

    fn leader(&self) -> Option<NodeId> {
        u32::try_from(self.raw.raft.leader_id).ok().filter(|id| *id != 0).map(NodeId)
    }

    fn is_only_voter(&self) -> bool {
        let conf = self.raw.raft.prs().conf().to_conf_state();
        conf.voters == [self.raw.raft.id] && conf.voters_outgoing.is_empty()
    }

    fn send(&self, messages: Vec<Message>) {
        if !messages.is_empty() {
            (self.outbox)(messages);
        }
    }

    fn send_work(&self, work: Work) -> Result<(), String> {
        if applier::send(&self.work, work) { Ok(()) } else { Err("the applier has stopped".to_owned()) }
    }

    /// Has everything that is committed applied and flushed.
    fn finish(&mut self) -> Result<(), String> {
        let (waiter, flushed) = oneshot::channel();
        self.send_work(Work::Flush(waiter))?;
        match flushed.blocking_recv() {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error),
            Err(_) => Err("the applier has stopped".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests;
