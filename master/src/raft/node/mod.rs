//! A running member: the thread that drives the core, and the handle that the rest of the process holds.
//!
//! Everything that reaches the core comes through one bounded queue, so that only one thread ever touches raft-rs. Committed entries go to
//! the applier's thread.

use super::StateMachine;
use super::applier::{Applier, Progress, Work};
use super::batch::encode_command;
use super::core::{Change, Core, CoreConfig, Effects, Proposal};
use super::log::{LogError, LogStore, SnapshotSource};
use cairn_common::ids::{NodeId, Stamp};
use cairn_common::limits::PROPOSALS_QUEUED_MAX;
use cairn_common::seam::{Clock, spawn_thread};
use cairn_common::wire::command::{Envelope, Outcome};
use raft::eraftpb::{ConfChangeV2, ConfState, Message};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;

/// Time between two ticks of raft-rs.
const TICK: Duration = Duration::from_millis(50);
/// Committed entries that wait to be applied.
const APPLY_QUEUE: usize = 64;

/// Who answers a proposal.
pub(super) type Waiter = oneshot::Sender<Result<Outcome, GroupError>>;

/// Takes messages to other members. Must not block.
pub type Outbox = Box<dyn Fn(Vec<Message>) + Send>;

/// A command was not executed, or nobody knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// Another member leads, if known which; nothing was done.
    #[error("this master does not lead")]
    NotLeader(Option<NodeId>),
    /// Too many commands wait, or another change of members is under way; nothing was done.
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
    /// A number that no earlier run of this member had.
    pub run: u64,
    /// Takes messages to other members.
    pub outbox: Outbox,
    /// Gives snapshots to members that have missed too much.
    pub snapshots: Option<Arc<dyn SnapshotSource>>,
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
    /// Whether it leads and is the only voter: whatever was acknowledged is applied here.
    pub alone: bool,
    /// Index of the last applied entry.
    pub applied: u64,
    /// Last stamp in the state.
    pub stamp: Stamp,
    /// Entries appended since it started.
    pub entries: u64,
    /// Commands proposed here since it started.
    pub commands: u64,
}

/// How far a member is, as the leader knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberProgress {
    /// Which.
    pub node: NodeId,
    /// Index of the last entry that it is known to have on disk.
    pub matched: u64,
    /// Whether it was heard from within the last election timeout.
    pub active: bool,
}

/// The members of a group, as one of them sees them.
#[derive(Clone, Debug, Default)]
pub struct GroupMembers {
    /// As it has applied them.
    pub conf: ConfState,
    /// Index of the last entry of its own log.
    pub last: u64,
    /// How far each is, by node, if it leads; else empty.
    pub progress: Vec<MemberProgress>,
}

/// A follower that lacks no more entries than this has caught up.
const CAUGHT_UP_ENTRIES: u64 = 1000;

impl GroupMembers {
    /// Members that follow without a vote and have all but the last entries.
    pub fn caught_up(&self) -> Vec<NodeId> {
        let is_close = |member: &&MemberProgress| {
            let is_learner = self.conf.learners.contains(&u64::from(member.node.0));
            is_learner && member.active && member.matched + CAUGHT_UP_ENTRIES >= self.last && member.matched > 0
        };
        self.progress.iter().filter(is_close).map(|member| member.node).collect()
    }
}

/// What reaches the core.
enum Input {
    Propose(Box<Proposal>),
    Step(Box<Message>),
    Change(Box<Change>),
    TransferLeader(NodeId),
    Unreachable(NodeId),
    Flush(oneshot::Sender<Result<u64, String>>),
    /// The applier has news, or somebody waits to read.
    Wake,
    Stop,
}

/// What other threads see of the core.
#[derive(Default)]
struct Shared {
    status: Mutex<GroupStatus>,
    members: Mutex<GroupMembers>,
    progress: Mutex<VecDeque<Progress>>,
    /// Those who came to read since the last round was begun. Not in the queue of inputs: then each of them would wake the
    /// thread, and only the first has to.
    readers: Mutex<Readers>,
    commands: AtomicU64,
}

/// Nobody comes to read once the thread has ended.
enum Readers {
    Waiting(Vec<oneshot::Sender<()>>),
    Ended,
}

impl Default for Readers {
    fn default() -> Readers {
        Readers::Waiting(Vec::new())
    }
}

impl Shared {
    fn status(&self) -> GroupStatus {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, status: GroupStatus) {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }

    /// Whether it is the first, who has to wake the thread.
    fn add_reader(&self, waiter: oneshot::Sender<()>) -> Result<bool, GroupError> {
        match &mut *self.readers.lock().unwrap_or_else(PoisonError::into_inner) {
            Readers::Ended => Err(GroupError::Stopped),
            Readers::Waiting(readers) if readers.len() >= PROPOSALS_QUEUED_MAX => Err(GroupError::Overloaded),
            Readers::Waiting(readers) => {
                readers.push(waiter);
                Ok(readers.len() == 1)
            }
        }
    }

    fn take_readers(&self) -> Vec<oneshot::Sender<()>> {
        match &mut *self.readers.lock().unwrap_or_else(PoisonError::into_inner) {
            Readers::Waiting(readers) => std::mem::take(readers),
            Readers::Ended => Vec::new(),
        }
    }

    fn end_readers(&self) {
        *self.readers.lock().unwrap_or_else(PoisonError::into_inner) = Readers::Ended;
    }
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
        let GroupConfig { node, run, outbox, snapshots, fatal } = config;
        let (conf, applied) = (machine.conf(), machine.applied());
        let core = Core::open(CoreConfig { node, conf, applied, run, snapshots }, log)?;
        let shared = Arc::new(Shared::default());
        let (inputs, received) = sync_channel(PROPOSALS_QUEUED_MAX);
        let (work, to_apply) = sync_channel(APPLY_QUEUE);
        let progress = {
            let (shared, inputs) = (Arc::clone(&shared), inputs.clone());
            move |progress| {
                shared.progress.lock().unwrap_or_else(PoisonError::into_inner).push_back(progress);
                // A full queue wakes the loop as well.
                let _ = inputs.try_send(Input::Wake);
            }
        };
        let applier = Applier::new(machine);
        let effects = Running { outbox, work };
        let driver = Driver { core, inputs: received, shared: Arc::clone(&shared), clock, effects };
        let threads = Mutex::new(vec![
            spawn_thread("raft-apply", move || applier.run(&to_apply, &progress)),
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
        self.shared.commands.fetch_add(1, Ordering::Relaxed);
        answer.await.unwrap_or(Err(GroupError::Unknown))
    }

    /// Changes the members. `Ok`: the change is durable on a majority and in force here. One change at a time.
    pub async fn change_members(&self, change: ConfChangeV2) -> Result<(), GroupError> {
        let (waiter, answer) = oneshot::channel();
        self.send(Input::Change(Box::new(Change { change, waiter })))?;
        answer.await.unwrap_or(Err(GroupError::Unknown))
    }

    /// Asks for another member to lead. It may not come to that.
    pub fn transfer_leader(&self, to: NodeId) -> Result<(), GroupError> {
        self.send(Input::TransferLeader(to))
    }

    /// Returns when the local state holds everything that was acknowledged anywhere before the call. Those who wait at the
    /// same time share one round. Without a leader it waits for a moment, in which there may be one again, and then says
    /// that another member should be asked. Cancel-safe.
    pub async fn read_barrier(&self) -> Result<(), GroupError> {
        // No other member can have acknowledged anything, and here commands are acknowledged after they are applied.
        if self.shared.status().alone {
            return Ok(());
        }
        let (waiter, reached) = oneshot::channel();
        if self.shared.add_reader(waiter)? {
            self.wake()?;
        }
        reached.await.map_err(|_| GroupError::NotLeader(None))
    }

    /// Takes a message from another member.
    pub fn step(&self, message: Message) -> Result<(), GroupError> {
        self.send(Input::Step(Box::new(message)))
    }

    /// Tells that a member could not be reached.
    pub fn unreachable(&self, node: NodeId) {
        // A full queue has more urgent news.
        let _ = self.send(Input::Unreachable(node));
    }

    /// Members of the group as applied here, and how far they are, if this member leads. A moment old.
    pub fn members(&self) -> GroupMembers {
        self.shared.members.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes the state durable without the log; the index up to which it is.
    pub async fn flush(&self) -> Result<u64, GroupError> {
        let (waiter, flushed) = oneshot::channel();
        self.send(Input::Flush(waiter))?;
        flushed.await.map_err(|_| GroupError::Stopped)?.map_err(|_| GroupError::Stopped)
    }

    /// Where this member stands.
    pub fn status(&self) -> GroupStatus {
        GroupStatus { commands: self.shared.commands.load(Ordering::Relaxed), ..self.shared.status() }
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

    fn wake(&self) -> Result<(), GroupError> {
        match self.send(Input::Wake) {
            // A full queue wakes the thread as well.
            Err(GroupError::Overloaded) => Ok(()),
            sent => sent,
        }
    }

    fn send(&self, input: Input) -> Result<(), GroupError> {
        self.inputs.try_send(input).map_err(|error| match error {
            TrySendError::Full(_) => GroupError::Overloaded,
            TrySendError::Disconnected(_) => GroupError::Stopped,
        })
    }
}

/// What the core asks for, done by this process.
struct Running {
    outbox: Outbox,
    work: SyncSender<Work>,
}

impl Effects for Running {
    fn send(&mut self, messages: Vec<Message>) {
        if !messages.is_empty() {
            (self.outbox)(messages);
        }
    }

    fn work(&mut self, work: Work) -> Result<(), String> {
        self.work.send(work).map_err(|_| "the applier has stopped".to_owned())
    }

    fn install(&mut self, index: u64, term: u64) -> Result<Stamp, String> {
        let (done, installed) = oneshot::channel();
        self.work(Work::Install { index, term, done })?;
        installed.blocking_recv().map_err(|_| "the applier has stopped".to_owned())?
    }
}

struct Driver<L: LogStore> {
    core: Core<L>,
    inputs: Receiver<Input>,
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
    effects: Running,
}

impl<L: LogStore> Driver<L> {
    fn run(mut self) -> Result<(), String> {
        let result = self.drive();
        self.core.give_up();
        self.shared.end_readers();
        self.shared.publish(GroupStatus::default());
        result
    }

    /// Has everything done that can be done now.
    fn advance(&mut self) -> Result<(), String> {
        loop {
            self.core.advance(self.clock.wall_ms(), &mut self.effects)?;
            // Who comes while a round is under way need not wake this thread: its end does.
            let readers = if self.core.is_reading() { Vec::new() } else { self.shared.take_readers() };
            if readers.is_empty() {
                self.shared.publish(self.core.status());
                return Ok(());
            }
            readers.into_iter().for_each(|reader| self.core.add_read(reader));
        }
    }

    fn drive(&mut self) -> Result<(), String> {
        self.core.stand_if_alone()?;
        let mut next_tick = self.clock.monotonic() + TICK;
        loop {
            self.advance()?;
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
                input = if self.core.is_full() { None } else { self.inputs.try_recv().ok() };
            }
            self.take_progress()?;
            if self.clock.monotonic() >= next_tick {
                next_tick = self.clock.monotonic() + TICK;
                self.core.tick();
                let members = self.core.members();
                *self.shared.members.lock().unwrap_or_else(PoisonError::into_inner) = members;
            }
        }
    }

    fn take(&mut self, input: Input) -> Result<(), String> {
        match input {
            Input::Propose(proposal) => self.core.add_proposal(*proposal),
            Input::Step(message) => self.core.step(*message),
            Input::Change(change) => self.core.change(*change),
            Input::TransferLeader(to) => self.core.transfer_leader(to),
            Input::Unreachable(node) => self.core.unreachable(node),
            Input::Flush(waiter) => self.effects.work(Work::Flush(waiter))?,
            Input::Wake | Input::Stop => {}
        }
        Ok(())
    }

    fn take_progress(&mut self) -> Result<(), String> {
        loop {
            let next = self.shared.progress.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            match next {
                None => return Ok(()),
                Some(Progress::Applied(index, stamp)) => self.core.applied(index, stamp)?,
                Some(Progress::Flushed(index)) => self.core.flushed(index)?,
                Some(Progress::Failed(reason)) => return Err(reason),
            }
        }
    }

    /// Has everything that is committed applied and flushed.
    fn finish(&mut self) -> Result<(), String> {
        let (waiter, flushed) = oneshot::channel();
        self.effects.work(Work::Flush(waiter))?;
        match flushed.blocking_recv() {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error),
            Err(_) => Err("the applier has stopped".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests;
