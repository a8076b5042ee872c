//! What a simulated member keeps over a crash: its log, and its state with the part of it that was flushed.

use super::super::log::{LogError, LogStore, MemoryLog, SnapshotSource, TakenSnapshot};
use super::super::{ApplyError, ConfState, StateMachine};
use super::dice::Dice;
use super::history::History;
use cairn_common::ids::Stamp;
use cairn_common::seam::seeded_bug;
use cairn_common::wire::command::{Command, Done, Envelope, Outcome};
use raft::eraftpb::{Entry, HardState};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Something written that a crash may lose as long as it is not synced.
enum Write {
    Append(Vec<Entry>, Option<HardState>),
    Reset(u64, u64),
    Compact(u64, u64),
}

fn carry_out(log: &mut MemoryLog, write: &Write) -> Result<(), LogError> {
    match write {
        Write::Append(entries, hard_state) => log.append(entries, hard_state.as_ref()),
        Write::Reset(index, term) => log.reset(*index, *term),
        Write::Compact(index, term) => log.compact(*index, *term),
    }
}

/// When the power goes in the middle of a sync.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    Before,
    After,
}

#[derive(Default)]
struct Disk {
    written: MemoryLog,
    synced: MemoryLog,
    unsynced: Vec<Write>,
    cut: Option<Cut>,
}

impl Disk {
    fn write(&mut self, write: Write, sync: bool) -> Result<(), LogError> {
        carry_out(&mut self.written, &write)?;
        self.unsynced.push(write);
        let cut = if sync { self.cut.take() } else { None };
        if sync && cut != Some(Cut::Before) {
            self.sync()?;
        }
        if cut.is_some() { Err(LogError("the power went".to_owned())) } else { Ok(()) }
    }

    fn sync(&mut self) -> Result<(), LogError> {
        for write in std::mem::take(&mut self.unsynced) {
            carry_out(&mut self.synced, &write)?;
        }
        Ok(())
    }
}

/// A log on a simulated disk. Clones share the disk.
#[derive(Clone, Default)]
pub(super) struct SimLog(Arc<Mutex<Disk>>);

impl SimLog {
    /// The power goes at the next sync.
    pub(super) fn cut_at_next_sync(&self, cut: Cut) {
        lock(&self.0).cut = Some(cut);
    }

    /// What is there after a crash: all that was synced, and the first few writes that were not.
    pub(super) fn crash(&self, dice: &mut Dice) {
        let mut disk = lock(&self.0);
        let kept = dice.below(disk.unsynced.len() as u64 + 1) as usize;
        disk.unsynced.truncate(kept);
        disk.sync().expect("a log in memory takes every write");
        disk.written = disk.synced.deep_copy();
        disk.cut = None;
    }
}

impl LogStore for SimLog {
    fn hard_state(&self) -> Result<HardState, LogError> {
        lock(&self.0).written.hard_state()
    }

    fn truncated(&self) -> Result<(u64, u64), LogError> {
        lock(&self.0).written.truncated()
    }

    fn last_index(&self) -> Result<u64, LogError> {
        lock(&self.0).written.last_index()
    }

    fn append(&mut self, entries: &[Entry], hard_state: Option<&HardState>) -> Result<(), LogError> {
        let sync = !seeded_bug("skip-log-sync");
        lock(&self.0).write(Write::Append(entries.to_vec(), hard_state.cloned()), sync)
    }

    fn entries(&self, low: u64, high: u64) -> Result<Vec<Entry>, LogError> {
        lock(&self.0).written.entries(low, high)
    }

    fn reset(&mut self, index: u64, term: u64) -> Result<(), LogError> {
        lock(&self.0).write(Write::Reset(index, term), true)
    }

    fn compact(&mut self, index: u64, term: u64) -> Result<(), LogError> {
        lock(&self.0).write(Write::Compact(index, term), false)
    }
}

/// The state: the numbers that were written, in order.
#[derive(Clone, Default)]
pub(super) struct State {
    pub(super) index: u64,
    pub(super) term: u64,
    pub(super) stamp: Stamp,
    pub(super) conf: ConfState,
    pub(super) values: Vec<u64>,
    /// Position at which it was taken over from another member.
    pub(super) taken_over: Option<(u64, u64)>,
}

#[derive(Default)]
struct Held {
    now: State,
    flushed: State,
    /// States that were sent, until they are installed; two at most, as in a master.
    staged: VecDeque<State>,
}

/// The state machine of a simulated member. Clones share the state.
#[derive(Clone)]
pub(super) struct SimMachine {
    held: Arc<Mutex<Held>>,
    history: Arc<Mutex<History>>,
}

impl SimMachine {
    pub(super) fn new(state: State, history: &Arc<Mutex<History>>) -> SimMachine {
        let held = Held { now: state.clone(), flushed: state, staged: VecDeque::new() };
        SimMachine { held: Arc::new(Mutex::new(held)), history: Arc::clone(history) }
    }

    pub(super) fn state(&self) -> State {
        lock(&self.held).now.clone()
    }

    /// How many numbers it holds.
    pub(super) fn length(&self) -> usize {
        lock(&self.held).now.values.len()
    }

    pub(super) fn stage(&self, state: State) {
        let mut held = lock(&self.held);
        held.staged.push_back(state);
        if held.staged.len() > 2 {
            held.staged.pop_front();
        }
    }

    /// What is there after a crash: what was flushed, or all of it, since the store may flush whenever it likes.
    pub(super) fn crash(&self, dice: &mut Dice) {
        let mut held = lock(&self.held);
        let kept = if dice.coin() { held.now.clone() } else { held.flushed.clone() };
        *held = Held { now: kept.clone(), flushed: kept, staged: VecDeque::new() };
    }
}

impl StateMachine for SimMachine {
    fn applied(&self) -> (u64, Stamp) {
        let held = lock(&self.held);
        (held.now.index, held.now.stamp)
    }

    fn apply(&mut self, index: u64, term: u64, base: Stamp, commands: &[Envelope]) -> Result<Vec<Outcome>, ApplyError> {
        let mut held = lock(&self.held);
        let state = &mut held.now;
        for (stamp, envelope) in (0..).map(|n| base.next(n)).zip(commands) {
            if stamp <= state.stamp {
                return Err(ApplyError(format!("entry {index}: {stamp:?} follows {:?}", state.stamp)));
            }
            state.stamp = stamp;
            if let Command::OpenSession { ttl_ms, .. } = envelope.command {
                lock(&self.history).applied(state.values.len(), ttl_ms).map_err(ApplyError)?;
                state.values.push(ttl_ms);
            }
        }
        (state.index, state.term) = (index, term);
        lock(&self.history).reached(index, term, state.values.len()).map_err(ApplyError)?;
        Ok(commands.iter().map(|_| Ok(Done::Nothing)).collect())
    }

    fn conf(&self) -> ConfState {
        lock(&self.held).now.conf.clone()
    }

    fn apply_conf(&mut self, index: u64, term: u64, conf: &ConfState) -> Result<(), ApplyError> {
        let mut held = lock(&self.held);
        let state = &mut held.now;
        (state.index, state.term, state.conf) = (index, term, conf.clone());
        lock(&self.history).reached(index, term, state.values.len()).map_err(ApplyError)
    }

    fn install(&mut self, index: u64, term: u64) -> Result<(), ApplyError> {
        let mut held = lock(&self.held);
        let place = held.staged.iter().position(|staged| (staged.index, staged.term) == (index, term));
        let Some(staged) = place.and_then(|place| held.staged.remove(place)) else {
            return Err(ApplyError(format!("the state at entry {index} was not fetched")));
        };
        let state = State { taken_over: Some((index, term)), ..staged };
        (held.now, held.flushed) = (state.clone(), state);
        Ok(())
    }

    fn flush(&mut self) -> Result<u64, ApplyError> {
        let mut held = lock(&self.held);
        held.flushed = held.now.clone();
        Ok(held.now.index)
    }
}

/// States that were given away, by number.
pub(super) type Given = Arc<Mutex<BTreeMap<u64, State>>>;

/// Gives the state of one member away.
pub(super) struct Giver {
    pub(super) machine: SimMachine,
    pub(super) given: Given,
}

impl SnapshotSource for Giver {
    fn take(&self) -> Option<TakenSnapshot> {
        let (state, mut given) = (self.machine.state(), lock(&self.given));
        let number = given.keys().next_back().map_or(1, |last| last + 1);
        let data = number.to_be_bytes().to_vec();
        let taken = TakenSnapshot { index: state.index, term: state.term, conf: state.conf.clone(), data };
        given.insert(number, state);
        Some(taken)
    }

    fn oldest_in_use(&self) -> Option<u64> {
        None
    }

    fn is_read(&self) -> bool {
        false
    }
}
