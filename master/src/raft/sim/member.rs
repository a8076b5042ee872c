//! A simulated member: the core and the applier as they run in a master, driven by hand.

use super::super::applier::{Applier, Progress, Work};
use super::super::core::{Change, Core, CoreConfig, Effects, Proposal};
use super::super::node::{GroupError, GroupMembers, GroupStatus};
use super::super::{LogStore as _, StateMachine as _, encode_command};
use super::dice::Dice;
use super::disk::{Given, Giver, SimLog, SimMachine, State};
use super::history::History;
use cairn_common::ids::{NodeId, Stamp};
use cairn_common::wire::command::{Command, Envelope, Outcome};
use cairn_common::wire::master::Caller;
use raft::eraftpb::{ConfChangeV2, Message};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use tokio::sync::oneshot::{self, error::TryRecvError};

/// A member and what it keeps over crashes.
pub(super) struct Member {
    pub(super) node: NodeId,
    log: SimLog,
    pub(super) machine: SimMachine,
    given: Given,
    runs: u64,
    pub(super) running: Option<Running>,
}

/// An operation that was begun.
struct Begun<T> {
    value: u64,
    floor: usize,
    answer: oneshot::Receiver<T>,
}

/// A run of a member.
pub(super) struct Running {
    core: Core<SimLog>,
    applier: Applier<SimMachine>,
    work: VecDeque<Work>,
    progress: RefCell<VecDeque<Progress>>,
    writes: Vec<Begun<Result<Outcome, GroupError>>>,
    reads: Vec<Begun<()>>,
}

impl Member {
    pub(super) fn new(node: NodeId, state: State, history: &Arc<Mutex<History>>, given: &Given) -> Member {
        let mut log = SimLog::default();
        if state.index > 0 {
            log.reset(state.index, state.term).expect("a new log takes every write");
        }
        let machine = SimMachine::new(state, history);
        Member { node, log, machine, given: Arc::clone(given), runs: 0, running: None }
    }

    /// Starts a run, as a master does.
    pub(super) fn start(&mut self) -> Result<(), String> {
        self.runs += 1;
        let mut log = self.log.clone();
        let failed = |error: super::super::LogError| error.to_string();
        if let Some((index, term)) = self.machine.state().taken_over
            && log.truncated().map_err(failed)?.0 < index
        {
            log.reset(index, term).map_err(failed)?;
        }
        let config = CoreConfig {
            node: self.node,
            conf: self.machine.conf(),
            applied: self.machine.applied(),
            run: self.runs << 32 | u64::from(self.node.0),
            snapshots: Some(Arc::new(Giver { machine: self.machine.clone(), given: Arc::clone(&self.given) })),
        };
        let mut core = Core::open(config, log).map_err(failed)?;
        core.stand_if_alone()?;
        core.spread_elections();
        self.running = Some(Running {
            core,
            applier: Applier::new(self.machine.clone()),
            work: VecDeque::new(),
            progress: RefCell::default(),
            writes: Vec::new(),
            reads: Vec::new(),
        });
        Ok(())
    }

    /// The power goes now.
    pub(super) fn crash(&mut self, dice: &mut Dice) {
        self.running = None;
        self.log.crash(dice);
        self.machine.crash(dice);
    }

    /// The power goes at the next sync of the log.
    pub(super) fn crash_at_next_sync(&self, cut: super::disk::Cut) {
        self.log.cut_at_next_sync(cut);
    }
}

struct Hands<'a> {
    sent: &'a mut Vec<Message>,
    applier: &'a mut Applier<SimMachine>,
    work: &'a mut VecDeque<Work>,
    progress: &'a RefCell<VecDeque<Progress>>,
}

impl Hands<'_> {
    fn work_off(&mut self, at_most: usize) -> Result<(), String> {
        for _ in 0..at_most {
            let Some(work) = self.work.pop_front() else { break };
            let progress = |news| self.progress.borrow_mut().push_back(news);
            self.applier.work(work, &progress).map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

impl Effects for Hands<'_> {
    fn send(&mut self, messages: Vec<Message>) {
        self.sent.extend(messages);
    }

    fn work(&mut self, work: Work) -> Result<(), String> {
        self.work.push_back(work);
        Ok(())
    }

    fn install(&mut self, index: u64, term: u64) -> Result<Stamp, String> {
        self.work_off(usize::MAX)?;
        let (done, mut installed) = oneshot::channel();
        self.work.push_back(Work::Install { index, term, done });
        self.work_off(1)?;
        installed.try_recv().map_err(|error| error.to_string())?
    }
}

/// Why a run ended.
pub(super) enum Ended {
    /// The power went in the middle of a sync, as was asked for.
    Power,
    /// A rule is broken.
    Broken(String),
}

impl Running {
    pub(super) fn status(&self) -> GroupStatus {
        self.core.status()
    }

    pub(super) fn members(&self) -> GroupMembers {
        self.core.members()
    }

    /// Its term, if it leads as raft-rs sees it, whether or not it may act already.
    pub(super) fn leads(&self) -> Option<u64> {
        self.core.leads()
    }

    pub(super) fn step(&mut self, message: Message) {
        self.core.step(message);
        self.core.spread_elections();
    }

    pub(super) fn tick(&mut self) {
        self.core.tick();
        self.core.spread_elections();
    }

    pub(super) fn write(&mut self, value: u64, floor: usize) {
        let envelope =
            Envelope { session: None, command: Command::OpenSession { ttl_ms: value, owner: Caller::Anonymous } };
        let (waiter, answer) = oneshot::channel();
        let encoded = encode_command(&envelope);
        self.core.add_proposal(Proposal { envelope, encoded, waiter });
        self.writes.push(Begun { value, floor, answer });
    }

    pub(super) fn read(&mut self, floor: usize) {
        let (waiter, answer) = oneshot::channel();
        self.core.add_read(waiter);
        self.reads.push(Begun { value: 0, floor, answer });
    }

    pub(super) fn change(&mut self, change: ConfChangeV2) {
        // Whoever asked looks at the group to see what became of it.
        let (waiter, _) = oneshot::channel();
        self.core.change(Change { change, waiter });
    }

    pub(super) fn transfer_leader(&mut self, to: NodeId) {
        self.core.transfer_leader(to);
    }

    /// Does what can be done, with up to `work` pieces of work of the applier, and appends what it sends.
    pub(super) fn advance(&mut self, wall_ms: u64, work: usize, sent: &mut Vec<Message>) -> Result<(), Ended> {
        let Running { core, applier, work: queue, progress, .. } = self;
        let mut hands = Hands { sent, applier, work: queue, progress };
        hands.work_off(work).map_err(Ended::Broken)?;
        while let Some(news) = { progress.borrow_mut().pop_front() } {
            match news {
                Progress::Applied(index, stamp) => core.applied(index, stamp).map_err(Ended::Broken)?,
                Progress::Flushed(index) => core.flushed(index).map_err(Ended::Broken)?,
                Progress::Failed(reason) => return Err(Ended::Broken(reason)),
            }
        }
        let advanced = core.advance(wall_ms, &mut hands);
        core.spread_elections();
        advanced.map_err(|error| if error.contains("the power went") { Ended::Power } else { Ended::Broken(error) })
    }

    /// Makes the state durable and forgets the log below, also what is in memory: others will need snapshots.
    pub(super) fn flush(&mut self) -> Result<(), Ended> {
        let (done, mut flushed) = oneshot::channel();
        self.applier.work(Work::Flush(done), &|_| ()).map_err(|error| Ended::Broken(error.to_string()))?;
        let index = flushed.try_recv().map_err(|error| Ended::Broken(error.to_string()))?.map_err(Ended::Broken)?;
        // What the core was not told of yet may still be read by it.
        self.core.purge(index.min(self.core.status().applied)).map_err(Ended::Broken)
    }

    /// Takes the answers that have come into the account.
    pub(super) fn settle(&mut self, length: usize, history: &mut History) -> Result<(), String> {
        let mut result = Ok(());
        self.writes.retain_mut(|write| {
            let told = match write.answer.try_recv() {
                Err(TryRecvError::Empty) => return true,
                Ok(Ok(_)) => history.wrote(write.value, write.floor),
                Ok(Err(GroupError::NotLeader(_) | GroupError::Overloaded)) => history.refused(write.value),
                Ok(Err(GroupError::Unknown | GroupError::Stopped)) | Err(TryRecvError::Closed) => Ok(()),
            };
            result = std::mem::replace(&mut result, Ok(())).and(told);
            false
        });
        self.reads.retain_mut(|read| {
            let told = match read.answer.try_recv() {
                Err(TryRecvError::Empty) => return true,
                Ok(()) => history.read(length, read.floor),
                Err(TryRecvError::Closed) => Ok(()),
            };
            result = std::mem::replace(&mut result, Ok(())).and(told);
            false
        });
        result
    }
}
