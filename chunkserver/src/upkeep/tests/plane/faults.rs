//! What goes wrong, and when: all of it drawn from the seed, and none of it more than Cairn promises to survive.
//!
//! Crashes, cuts, clocks and full disks may come at any time and together. A disk loses what was acknowledged only while every
//! other copy is there: one at a time, and the next when all is whole again.

use super::Plane;
use super::machine::Machine;
use super::network::MASTERS;
use super::record::Event;
use crate::store::pack::Position;
use cairn_common::chunk::ChunkAddress;
use cairn_common::ids::{NodeId, VolumeId};
use cairn_common::seam::Random as _;
use cairn_common::sim::disk::{CrashPolicy, DiskErrno, DiskFault, DiskOp, PowerCut};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How bad a run is: each is a number of steps, in which it happens once on average; zero: never.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weather {
    pub(super) crash: u64,
    pub(super) cut: u64,
    pub(super) ring: u64,
    pub(super) strike: u64,
    pub(super) full: u64,
    pub(super) clock: u64,
}

/// A copy of which a bit was flipped: where it lies, and since when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rot {
    pub(super) volume: VolumeId,
    pub(super) position: Position,
    pub(super) since: Duration,
}

/// Rings that the cluster goes back and forth between.
pub(super) const RINGS: [&[u32]; 5] = [&[1, 2, 3], &[2, 3, 4], &[1, 3, 4], &[1, 2, 4], &[1, 2, 3, 4]];

impl Plane {
    fn once_in(&self, times: u64) -> bool {
        times > 0 && self.random.below(times) == 0
    }

    fn policy(&self) -> CrashPolicy {
        match self.random.below(4) {
            0 => CrashPolicy::KeepAll,
            1 => CrashPolicy::KeepSome(self.random.number()),
            2 => CrashPolicy::Tear(self.random.number()),
            _ => CrashPolicy::LoseUnsynced,
        }
    }

    /// What may go wrong in one step.
    pub(super) fn faults(&self) {
        let nodes = self.nodes();
        let node = nodes[self.random.below(nodes.len() as u64) as usize];
        if self.once_in(self.weather.crash) {
            match self.random.below(8) {
                // The power goes everywhere.
                0 => nodes.iter().for_each(|node| self.crash(*node)),
                1 => self.crash(node),
                2 => self.stop(node),
                _ => self.cut_power_soon(node),
            }
        }
        if self.once_in(self.weather.cut) {
            self.cut_off(node);
        }
        if self.once_in(self.weather.clock) {
            let hours = self.random.below(100) as i64 - 50;
            self.machines.lock().unwrap()[&node].off_ms.store(hours * 3_600_000, Ordering::Relaxed);
        }
        if self.once_in(self.weather.ring) {
            let ring = RINGS[self.random.below(RINGS.len() as u64) as usize];
            let changed = ring.len() >= usize::from(self.copies) && self.masters.change_ring(ring);
            self.record.note(Event::Ring, &[u64::from(changed)]);
        }
        if self.once_in(self.weather.full) {
            // Nothing more can be allocated there for a while.
            self.machines.lock().unwrap()[&node].disk.set_capacity(1);
            self.full.lock().unwrap().insert(node, self.timeline.now_ms() + self.random.below(15_000));
        }
        if self.once_in(self.weather.strike) && self.struck().is_none() && self.is_whole() {
            self.strike(node);
        }
    }

    /// What ends by itself or follows from what went wrong.
    pub(super) fn follow(&self) {
        let now_ms = self.timeline.now_ms();
        let over: Vec<NodeId> =
            self.full.lock().unwrap().iter().filter(|(_, until)| **until <= now_ms).map(|(node, _)| *node).collect();
        over.into_iter().for_each(|node| self.empty(node));
        for node in self.nodes() {
            if !self.machines.lock().unwrap()[&node].disk.has_power() {
                self.crash(node);
            }
        }
        self.get_over_a_strike();
    }

    /// Whose disk lost something since all was whole.
    pub(super) fn struck(&self) -> Option<NodeId> {
        self.struck.lock().unwrap().map(|(node, _)| node)
    }

    /// All is whole again, and no upload counts on what was there before.
    fn get_over_a_strike(&self) {
        let Some((node, stamp)) = *self.struck.lock().unwrap() else { return };
        if self.masters.lock().state.horizon > stamp && self.is_whole() {
            // What has not come of it yet will not.
            self.machines.lock().unwrap()[&node].disk.heal();
            *self.struck.lock().unwrap() = None;
        }
    }

    /// There is room again.
    pub(super) fn empty(&self, node: NodeId) {
        if self.full.lock().unwrap().remove(&node).is_some() {
            self.machines.lock().unwrap()[&node].disk.set_capacity(super::DISKS_BYTES);
        }
    }

    pub(super) fn crash(&self, node: NodeId) {
        // A start on a disk without any room is a fault of its own, and not of this kind.
        self.empty(node);
        let policy = self.policy();
        let mut machines = self.machines.lock().unwrap();
        let machine = machines.get_mut(&node).expect("one of ours");
        machine.crash(&self.network, policy);
        machine.down_until = self.timeline.now_ms() + 200 + self.random.below(9_000);
    }

    fn stop(&self, node: NodeId) {
        self.empty(node);
        let mut machines = self.machines.lock().unwrap();
        let machine = machines.get_mut(&node).expect("one of ours");
        machine.down_until = self.timeline.now_ms() + 3_000;
        if let Some(stopping) = machine.stop(&self.network) {
            tokio::spawn(stopping);
        }
    }

    /// The power goes before, in or after one of the next steps that change the disk.
    fn cut_power_soon(&self, node: NodeId) {
        let cut = [PowerCut::Before, PowerCut::Torn, PowerCut::After][self.random.below(3) as usize];
        let disk = &self.machines.lock().unwrap()[&node].disk;
        disk.cut_power_at(disk.steps() + self.random.below(12), cut);
    }

    /// Cuts a node off from masters, nodes and clients, or some of them, in both directions or one.
    fn cut_off(&self, node: NodeId) {
        let (until, kind) = (self.timeline.now_ms() + self.random.below(20_000), self.random.below(3));
        let mut cut = self.network.cut.lock().unwrap();
        for other in (MASTERS..=4).chain(super::network::CLIENTS..super::network::CLIENTS + super::CLIENTS_COUNT) {
            if self.random.below(3) == 0 {
                continue;
            }
            if kind != 1 {
                cut.insert((node.0, other), until);
            }
            if kind != 2 {
                cut.insert((other, node.0), until);
            }
        }
    }

    /// A disk loses something: a bit of one copy, or all of it.
    fn strike(&self, node: NodeId) {
        let (kind, stamp) = (self.random.below(4), self.masters.lock().state.stamp);
        let machines = self.machines.lock().unwrap();
        let machine = &machines[&node];
        let has_both = machine.server().is_some_and(|server| {
            server.service().store().volumes().iter().filter(|volume| volume.is_serving()).count() == 2
        });
        let done = match kind {
            0 if has_both => {
                machine.disk.inject(DiskFault::once(DiskOp::Sync, "/disk-1/packs", DiskErrno::Io));
                true
            }
            1 if has_both => {
                machine.disk.inject(DiskFault::forever(DiskOp::Write, "/disk-1/packs", DiskErrno::Io));
                true
            }
            _ => self.rot(machine),
        };
        if done {
            self.record.note(Event::Fault, &[u64::from(node.0), kind]);
            *self.struck.lock().unwrap() = Some((node, stamp));
        }
    }

    /// Flips a bit of one of a machine's copies.
    fn rot(&self, machine: &Machine) -> bool {
        let (rows, Some(server)) = (machine.rows(), machine.server()) else { return false };
        let addresses: Vec<ChunkAddress> = rows.into_keys().collect();
        if addresses.is_empty() {
            return false;
        }
        let address = addresses[self.random.below(addresses.len() as u64) as usize];
        for volume in server.service().store().volumes() {
            let Ok(Some(row)) = volume.find(&address) else { continue };
            let pack = format!("/{}/packs/{}.pack", volume.report().label, row.position.pack);
            let offset = u64::from(row.position.offset) + 600 + self.random.below(u64::from(row.length) / 2);
            machine.disk.damage(&PathBuf::from(pack), offset, 1 << self.random.below(8));
            let rot = Rot { volume: volume.id(), position: row.position, since: self.timeline.now() };
            self.rotten.lock().unwrap().insert((machine.id, address), rot);
            return true;
        }
        false
    }
}
