//! What must be so at any time, and at the end.

use super::Plane;
use super::machine::Machine;
use cairn_common::chunk::ChunkAddress;
use cairn_common::ids::{NodeId, VolumeId};
use cairn_common::membership::VolumeState;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

impl Plane {
    /// A node gave a receipt for a chunk that it was sent, or asked about, at `began`: the copy it speaks of is good.
    pub(super) fn attested(&self, node: NodeId, address: ChunkAddress, began: Duration) {
        let since = self.rotten.lock().unwrap().get(&(node, address)).map(|rot| rot.since);
        let runs = self.machines.lock().unwrap()[&node].is_running();
        if since.is_some_and(|since| since < began) && runs && self.is_rotten(node, address) {
            self.record.broken(format!("{node} attests {address}, which has rotted there"));
        }
    }

    /// A file was committed on the word of these nodes: each has the chunk, or had it when it went down.
    pub(super) fn committed(&self, counted: &[(ChunkAddress, NodeId)]) {
        let struck = self.struck();
        let machines = self.machines.lock().unwrap();
        for (address, node) in counted.iter().filter(|(_, node)| Some(*node) != struck) {
            if !machines[node].holds(address) {
                self.record.broken(format!("{address} was committed on the word of {node}, which does not have it"));
            }
        }
    }

    /// Whether a node's copy has rotted and nobody has noticed yet.
    pub(super) fn is_rotten(&self, node: NodeId, address: ChunkAddress) -> bool {
        let Some(rot) = self.rotten.lock().unwrap().get(&(node, address)).copied() else { return false };
        let machines = self.machines.lock().unwrap();
        let Some(server) = machines[&node].server() else { return true };
        let mut volumes = server.service().store().volumes().iter().filter(|volume| volume.id() == rot.volume);
        volumes.any(|volume| volume.find(&address).is_ok_and(|row| row.is_some_and(|row| row.position == rot.position)))
    }

    /// At any time: what is referred to has a quorum of copies, but for those that a disk has lost since all was whole.
    pub(super) fn check_copies(&self) {
        let (masters, machines) = (self.masters.lock(), self.machines.lock().unwrap());
        let quorum = usize::from(self.copies / 2 + 1);
        let lost = usize::from(self.struck().is_some());
        for (_, address) in masters.state.chunks.keys() {
            let copies = machines.values().filter(|machine| machine.holds(address)).count();
            if copies + lost < quorum {
                let which: Vec<NodeId> =
                    machines.values().filter(|machine| machine.holds(address)).map(|machine| machine.id).collect();
                self.record.broken(format!("{address} is referred to, and only {which:?} have it"));
            }
        }
    }

    /// A node is back: what was visible before, it still has. What it may have been dropping just then is left out.
    pub(super) fn check_return(&self, node: NodeId) {
        if self.struck() == Some(node) {
            return;
        }
        let (masters, machines) = (self.masters.lock(), self.machines.lock().unwrap());
        let (machine, membership) = (&machines[&node], &masters.state.membership);
        let is_live =
            |volume| membership.nodes[&node].volumes.get(volume).is_some_and(|it| it.state == VolumeState::Live);
        for address in machine.held.iter().filter(|(_, volume)| is_live(volume)).map(|(address, _)| address) {
            let slot = address.slot();
            let mut rings = membership.rings.iter();
            let owned = rings.all(|ring| ring.owners_of(slot, usize::from(self.copies)).contains(&node));
            let wanted = owned && masters.state.chunks.contains_key(&(slot, *address));
            if wanted && !machine.holds(address) {
                self.record.broken(format!("{node} has lost {address} in a crash"));
            }
        }
    }

    /// Whether every node runs, and every owner has a good copy of all it should.
    pub(super) fn is_whole(&self) -> bool {
        let rotten: Vec<(NodeId, ChunkAddress)> = self.rotten.lock().unwrap().keys().copied().collect();
        if rotten.into_iter().any(|(node, address)| self.is_rotten(node, address)) {
            return false;
        }
        let (masters, machines) = (self.masters.lock(), self.machines.lock().unwrap());
        let settled = |machine: &Machine| {
            let Some(server) = machine.server() else { return false };
            let volumes = &masters.state.membership.nodes[&machine.id].volumes;
            let serves = |id: &VolumeId| {
                server.service().store().volumes().iter().any(|volume| volume.id() == *id && volume.is_serving())
            };
            volumes.iter().all(|(id, volume)| volume.state == VolumeState::Retired || serves(id))
        };
        machines.values().all(settled)
            && masters.state.chunks.keys().all(|(slot, address)| {
                let mut owners = masters.state.ring.owners(*slot, usize::from(self.copies));
                owners.all(|owner| machines[&owner].holds(address))
            })
    }

    /// What keeps the plane from being at rest: every node has what it owns and nothing else, and earlier rings are forgotten.
    pub(super) fn unrest(&self) -> Option<String> {
        let (masters, machines) = (self.masters.lock(), self.machines.lock().unwrap());
        for machine in machines.values() {
            let Some(server) = machine.server() else { return Some(format!("{} does not run", machine.id)) };
            let owns =
                |slot| masters.state.ring.owners(slot, usize::from(self.copies)).any(|owner| owner == machine.id);
            let wanted: BTreeSet<ChunkAddress> =
                masters.state.chunks.keys().filter(|(slot, _)| owns(*slot)).map(|(_, address)| *address).collect();
            let held: BTreeSet<ChunkAddress> = machine.rows().into_keys().collect();
            let (missing, more) = (wanted.difference(&held).count(), held.difference(&wanted).count());
            if missing + more > 0 {
                return Some(format!("{} lacks {missing} chunks and has {more} that it should not", machine.id));
            }
            let volumes = server.service().store().volumes().iter().filter(|volume| volume.is_serving());
            let copies: u64 = volumes.map(|volume| volume.report().chunks).sum();
            if copies != held.len() as u64 {
                return Some(format!("{} has {copies} copies of {} chunks", machine.id, held.len()));
            }
        }
        (masters.state.membership.rings.len() > 1).then(|| "earlier rings are not finished".to_owned())
    }

    /// Whether clients should end.
    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}
