//! The group in simulation: the same core and applier as in a master, on disks that lose what was not synced, over a network that
//! loses, delays and repeats, with a clock that everybody reads differently and that runs at another rate for each. One seed,
//! one run.
//!
//! While it runs, members crash (also in the middle of a sync), are cut off, in one direction or both, fall behind until they need
//! the whole state, join, leave, and hand over. Every step is checked: one order of writes on all members, one leader in a
//! term, every operation at a place in the order between its call and its answer, nothing acknowledged lost, nothing
//! refused executed. Then all heals: the group must come to what is wanted, and serve.

mod dice;
mod disk;
mod history;
mod member;
#[cfg(test)]
mod tests;

use crate::members::{self, Step};
use cairn_common::ids::{BootCount, ClusterId, Generation, NodeId};
use cairn_common::membership::{Membership, Node, NodeState, Roles};
use dice::Dice;
use disk::{Cut, Given, State, lock};
use history::History;
use member::{Ended, Member};
use raft::eraftpb::{ConfState, Message, MessageType};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

/// Time of one step.
const STEP_MS: u64 = 10;
/// Time between two ticks of a member.
const TICK_MS: u64 = 50;
/// How long faults go on.
const FAULTY_MS: u64 = 15_000;
/// How long the group has to come to rest afterwards.
const HEAL_MS: u64 = 60_000;
/// Nodes that there may ever be.
const NODES: u32 = 6;
/// Noon of some day, for clocks.
const EPOCH_MS: u64 = 1_700_000_000_000;

/// What a run did.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) writes: u64,
    pub(super) reads: u64,
    pub(super) crashes: u64,
    pub(super) elections: usize,
    pub(super) states_sent: u64,
    pub(super) changes: u64,
    /// Over everything that happened, in order.
    pub(super) trace: [u8; 32],
}

/// How bad a run is, drawn from its seed: once in so many times.
struct Weather {
    drop: u64,
    repeat: u64,
    delay_ms: u64,
    crash: u64,
    cut: u64,
    change: u64,
    /// By how much clocks may run too fast or too slow, in thousandths.
    drift: u64,
}

struct World {
    dice: Dice,
    weather: Weather,
    now_ms: u64,
    members: BTreeMap<u32, Member>,
    down_until: BTreeMap<u32, u64>,
    paused_until: BTreeMap<u32, u64>,
    skew_ms: BTreeMap<u32, i64>,
    /// How much a member's clock moves in a second, in milliseconds, by its number.
    rates: Vec<u64>,
    /// Directions in which nothing comes through, and until when.
    cut: BTreeMap<(u64, u64), u64>,
    /// By time of arrival.
    under_way: BTreeMap<(u64, u64), Message>,
    sent: u64,
    value: u64,
    membership: Membership,
    history: Arc<Mutex<History>>,
    given: Given,
    trace: blake3::Hasher,
    crashes: u64,
    changes: u64,
}

fn node(id: u32) -> Node {
    Node {
        id: NodeId(id),
        name: format!("n{id}"),
        zone: "z".to_owned(),
        weight: 0,
        address: "here".to_owned(),
        roles: Roles { master: true, chunkserver: false, gateway: false },
        state: NodeState::Live,
        boot: BootCount(1),
        served_boot: BootCount(1),
        volumes: BTreeMap::new(),
    }
}

/// Runs one seed. An error says which rule was broken.
pub(super) fn run(seed: u64) -> Result<Report, String> {
    let mut world = World::new(seed);
    while world.now_ms < FAULTY_MS {
        world.faults()?;
        world.step()?;
    }
    world.heal()?;
    world.must_serve()?;
    let history = lock(&world.history);
    Ok(Report {
        writes: history.writes,
        reads: history.reads,
        crashes: world.crashes,
        elections: history.elections(),
        states_sent: lock(&world.given).len() as u64,
        changes: world.changes,
        trace: *world.trace.finalize().as_bytes(),
    })
}

impl World {
    fn new(seed: u64) -> World {
        let mut dice = Dice::new(seed);
        let founders = if dice.coin() { 1 } else { 3 };
        let weather = Weather {
            drop: [0, 50, 10][dice.below(3) as usize],
            repeat: [0, 50][dice.below(2) as usize],
            delay_ms: [10, 40, 200][dice.below(3) as usize],
            crash: [0, 600, 150][dice.below(3) as usize],
            cut: [0, 400, 100][dice.below(3) as usize],
            change: [0, 300, 80][dice.below(3) as usize],
            drift: [0, 50, 150][dice.below(3) as usize],
        };
        let rates = (0..=NODES).map(|_| 1000 - weather.drift + dice.below(2 * weather.drift + 1)).collect();
        let (history, given): (Arc<Mutex<History>>, Given) = (Arc::default(), Given::default());
        let voters = (1..=founders).map(u64::from).collect();
        let conf = ConfState { voters, ..ConfState::default() };
        let state = State { index: 1, term: 1, conf, ..State::default() };
        let member = |id| (id, Member::new(NodeId(id), state.clone(), &history, &given));
        let members: BTreeMap<u32, Member> = (1..=founders).map(member).collect();
        let membership = Membership {
            cluster: ClusterId([0; 16]),
            generation: Generation(1),
            revision: 1,
            nodes: (1..=founders).map(|id| (NodeId(id), node(id))).collect(),
            rings: Vec::new(),
            replicas: 1,
            replicas_rise: false,
            voters: 3,
        };
        World {
            down_until: (1..=founders).map(|id| (id, 0)).collect(),
            dice,
            weather,
            now_ms: 0,
            members,
            paused_until: BTreeMap::new(),
            skew_ms: BTreeMap::new(),
            rates,
            cut: BTreeMap::new(),
            under_way: BTreeMap::new(),
            sent: 0,
            value: 0,
            membership,
            history,
            given,
            trace: blake3::Hasher::new(),
            crashes: 0,
            changes: 0,
        }
    }

    fn note(&mut self, what: &[u64]) {
        self.trace.update(&self.now_ms.to_le_bytes());
        for number in what {
            self.trace.update(&number.to_le_bytes());
        }
    }

    fn ids(&self) -> Vec<u32> {
        self.members.keys().copied().collect()
    }

    // --- time -------------------------------------------------------------------------------------------------------------

    fn step(&mut self) -> Result<(), String> {
        self.now_ms += STEP_MS;
        self.start_what_is_due()?;
        self.deliver();
        let mut sent = Vec::new();
        for id in self.ids() {
            if self.paused_until.get(&id).is_none_or(|until| *until <= self.now_ms) {
                self.advance(id, &mut sent)?;
            }
        }
        for message in sent {
            self.post(message);
        }
        Ok(())
    }

    fn start_what_is_due(&mut self) -> Result<(), String> {
        let now = self.now_ms;
        let due: Vec<u32> = self.down_until.iter().filter(|(_, until)| **until <= now).map(|(id, _)| *id).collect();
        for id in due {
            self.down_until.remove(&id);
            self.note(&[1, u64::from(id)]);
            let Some(member) = self.members.get_mut(&id) else { continue };
            member.start().map_err(|error| format!("n{id} does not start: {error}"))?;
        }
        Ok(())
    }

    fn advance(&mut self, id: u32, sent: &mut Vec<Message>) -> Result<(), String> {
        let skew = self.skew_ms.get(&id).copied().unwrap_or(0);
        let wall_ms = (EPOCH_MS + self.now_ms).saturating_add_signed(skew);
        let (work, is_tick) = (self.dice.below(8) as usize, self.is_tick(id));
        let is_flush = self.dice.once_in(150);
        let Some(member) = self.members.get_mut(&id) else { return Ok(()) };
        let Some(running) = &mut member.running else { return Ok(()) };
        if is_tick {
            running.tick();
        }
        let mut ended = running.advance(wall_ms, work, sent);
        if ended.is_ok() && is_flush {
            ended = running.flush();
        }
        match ended {
            Ok(()) => {}
            Err(Ended::Broken(reason)) => return Err(format!("n{id}: {reason}")),
            Err(Ended::Power) => {
                self.crash(id);
                return Ok(());
            }
        }
        let mut history = lock(&self.history);
        running.settle(member.machine.length(), &mut history)?;
        if let Some(term) = running.leads() {
            history.leads(u64::from(id), term)?;
        }
        drop(history);
        if self.now_ms.is_multiple_of(200) && running.status().leading {
            match members::next_step_of_leader(&self.membership, &running.members(), NodeId(id)) {
                None => {}
                Some(Step::Change(change)) => {
                    running.change(change.to_raft());
                    self.changes += 1;
                }
                Some(Step::HandOver(to)) => running.transfer_leader(to),
            }
        }
        Ok(())
    }

    /// Whether a tick of the member's own clock lies in this step. Members tick at different moments.
    fn is_tick(&self, id: u32) -> bool {
        let rate = self.rates.get(id as usize).copied().unwrap_or(1000);
        let ticks = |now_ms: u64| (now_ms * rate / 1000 + u64::from(id) * STEP_MS) / TICK_MS;
        ticks(self.now_ms) != ticks(self.now_ms - STEP_MS)
    }

    // --- network ----------------------------------------------------------------------------------------------------------

    fn post(&mut self, message: Message) {
        let faulty = self.now_ms < FAULTY_MS;
        let is_cut = self.cut.get(&(message.from, message.to)).is_some_and(|until| *until > self.now_ms);
        let copies = if faulty && self.dice.once_in(self.weather.repeat) { 2 } else { 1 };
        for _ in 0..copies {
            if faulty && (is_cut || self.dice.once_in(self.weather.drop)) {
                continue;
            }
            let delay = if faulty { self.dice.below(self.weather.delay_ms) } else { self.dice.below(10) };
            self.sent += 1;
            self.under_way.insert((self.now_ms + delay, self.sent), message.clone());
        }
    }

    fn deliver(&mut self) {
        while let Some(first) = self.under_way.first_entry().filter(|first| first.key().0 <= self.now_ms) {
            let message = first.remove();
            self.note(&[2, message.from, message.to, message.get_msg_type() as u64, message.term, message.index]);
            let Some(member) = self.members.get_mut(&(message.to as u32)) else { continue };
            let Some(running) = &mut member.running else { continue };
            if message.get_msg_type() == MessageType::MsgSnapshot {
                let data = &message.get_snapshot().data;
                let number = <[u8; 8]>::try_from(&data[..]).map_or(0, u64::from_be_bytes);
                let Some(state) = lock(&self.given).get(&number).cloned() else { continue };
                member.machine.stage(state);
            }
            running.step(message);
        }
    }

    // --- faults -----------------------------------------------------------------------------------------------------------

    fn faults(&mut self) -> Result<(), String> {
        self.operate();
        let Some(id) = self.dice.one_of(&self.ids()) else { return Ok(()) };
        if self.dice.once_in(self.weather.crash) {
            match self.dice.below(8) {
                0 => self.ids().into_iter().for_each(|id| self.crash(id)),
                1 | 2 => self.crash(id),
                3..=6 => {
                    let cut = if self.dice.coin() { Cut::Before } else { Cut::After };
                    let running = self.members.get(&id).filter(|member| member.running.is_some());
                    running.into_iter().for_each(|member| member.crash_at_next_sync(cut));
                }
                _ => {
                    let until = self.now_ms + self.dice.below(3000);
                    self.paused_until.insert(id, until);
                }
            }
        }
        if self.dice.once_in(self.weather.cut) {
            self.cut_off(id);
        }
        if self.dice.once_in(self.weather.cut) {
            let hours = self.dice.below(2000) as i64 - 1000;
            self.skew_ms.insert(id, hours * 3_600_000);
        }
        if self.dice.once_in(self.weather.change) {
            self.change_membership(id);
        }
        Ok(())
    }

    /// Begins an operation or two, wherever a client may try.
    fn operate(&mut self) {
        for _ in 0..self.dice.below(3) {
            let leading = |member: &&u32| {
                let running = self.members.get(member).and_then(|member| member.running.as_ref());
                running.is_some_and(|running| running.status().leading)
            };
            let leaders: Vec<u32> = self.ids().iter().filter(leading).copied().collect();
            let anywhere = leaders.is_empty() || self.dice.below(4) == 0;
            let chosen = if anywhere { self.dice.one_of(&self.ids()) } else { self.dice.one_of(&leaders) };
            let floor = lock(&self.history).begin();
            let is_write = self.dice.coin();
            let Some(member) = chosen.and_then(|id| self.members.get_mut(&id)) else { continue };
            let Some(running) = &mut member.running else { continue };
            if is_write {
                self.value += 1;
                running.write(self.value, floor);
            } else {
                running.read(floor);
            }
        }
    }

    fn crash(&mut self, id: u32) {
        let Some(member) = self.members.get_mut(&id).filter(|member| member.running.is_some()) else { return };
        member.crash(&mut self.dice);
        self.crashes += 1;
        let until = self.now_ms + 100 + self.dice.below(3000);
        self.down_until.insert(id, until);
        self.note(&[3, u64::from(id)]);
    }

    /// Cuts a member off from all or some others, in both directions or one.
    fn cut_off(&mut self, id: u32) {
        let (until, kind) = (self.now_ms + self.dice.below(4000), self.dice.below(4));
        for other in self.ids() {
            let (a, b) = (u64::from(id), u64::from(other));
            if kind == 3 && self.dice.coin() {
                continue;
            }
            if kind != 1 {
                self.cut.insert((a, b), until);
            }
            if kind != 2 {
                self.cut.insert((b, a), until);
            }
        }
    }

    /// Another wish for the group: a new master, one less, one again, another number of votes; or another leader.
    fn change_membership(&mut self, id: u32) {
        let masters = self.membership.nodes.values().filter(|node| node.roles.master).count();
        match self.dice.below(5) {
            0 | 1 => {
                let next = self.members.len() as u32 + 1;
                if next <= NODES {
                    let member = Member::new(NodeId(next), State::default(), &self.history, &self.given);
                    self.members.insert(next, member);
                    self.down_until.insert(next, self.now_ms + 200);
                    self.membership.nodes.insert(NodeId(next), node(next));
                }
            }
            2 => {
                if let Some(node) = self.membership.nodes.get_mut(&NodeId(id))
                    && (masters > 1 || !node.roles.master)
                {
                    node.roles.master = !node.roles.master;
                }
            }
            3 => self.membership.voters = [1, 3, 5][self.dice.below(3) as usize],
            _ => {
                for other in self.ids() {
                    let running = self.members.get_mut(&other).and_then(|member| member.running.as_mut());
                    if let Some(running) = running.filter(|running| running.status().leading) {
                        running.transfer_leader(NodeId(id));
                    }
                }
            }
        }
    }

    // --- the end ----------------------------------------------------------------------------------------------------------

    /// Everything is put right again; the group must come to what is wanted.
    fn heal(&mut self) -> Result<(), String> {
        self.cut.clear();
        self.paused_until.clear();
        self.skew_ms.clear();
        self.down_until.values_mut().for_each(|until| *until = (*until).min(FAULTY_MS));
        let end = self.now_ms + HEAL_MS;
        while !self.is_whole() {
            if self.now_ms > end {
                return Err(format!("the group does not come to rest: {}", self.describe()));
            }
            self.step()?;
        }
        Ok(())
    }

    /// Whether a leader has the group that is wanted, and all in it have what was promised.
    fn is_whole(&self) -> bool {
        let promised = lock(&self.history).promised();
        let wanted: BTreeSet<u32> =
            self.membership.nodes.values().filter(|node| node.roles.master).map(|node| node.id.0).collect();
        let leader = wanted
            .iter()
            .filter_map(|id| self.members.get(id)?.running.as_ref())
            .find(|running| running.status().leading);
        let Some(leader) = leader else { return false };
        let (group, own) = (leader.members(), leader.status().leader.unwrap_or(NodeId(0)));
        let have = |id: &u32| self.members.get(id).is_some_and(|member| member.machine.length() >= promised);
        members::is_settled(&self.membership, &group.conf, own) && wanted.iter().all(have)
    }

    fn describe(&self) -> String {
        let one = |(id, member): (&u32, &Member)| {
            let running = member.running.as_ref();
            let status = running.map(|running| (running.status(), running.members()));
            format!("n{id} has {} writes, {status:?}; ", member.machine.length())
        };
        let masters: Vec<_> = self.membership.nodes.values().map(|node| (node.id.0, node.roles.master)).collect();
        let promised = lock(&self.history).promised();
        let members: String = self.members.iter().map(one).collect();
        format!("{promised} promised, masters {masters:?}, {} votes; {members}", self.membership.voters)
    }

    /// A write and a read must be answered now.
    fn must_serve(&mut self) -> Result<(), String> {
        let before = {
            let history = lock(&self.history);
            (history.writes, history.reads)
        };
        let end = self.now_ms + HEAL_MS;
        while {
            let history = lock(&self.history);
            history.writes == before.0 || history.reads == before.1
        } {
            if self.now_ms > end {
                return Err(format!("the group does not serve: {}", self.describe()));
            }
            self.operate();
            self.step()?;
        }
        Ok(())
    }
}
