//! Whether all members have come to the same state.
//!
//! Every batch that is applied goes into a running BLAKE3 ([`Position::digest`](crate::store::Position)). Each member remembers it at
//! the same places of the log, and asks the others for theirs. A bug in what is applied, memory that lies, or a disk that gives
//! wrong rows shows as a difference at some place, for good. Then nobody can say by looking at two which is right; so a
//! member ends when voters that could commit without it agree with each other and not with it, and all others raise an alarm.

use crate::peers::{PeerReply, PeerRequest};
use crate::server::MasterServer;
use crate::store::Position;
use cairn_common::ids::{NodeId, Stamp};
use cairn_common::wire::frame::Service;
use cairn_common::wire::{decode, encode};
use futures::future::join_all;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::Notify;

/// Log entries between two places that are remembered.
const EVERY: u64 = 64;
/// Places that are remembered.
const KEPT: usize = 64;
/// Pause between two comparisons.
const PAUSE: Duration = Duration::from_secs(5);
/// The same until the masters agree what time it is.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
/// How long another member may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// A place of the log, and the digest there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    index: u64,
    /// For people: when that was.
    stamp: Stamp,
    digest: [u8; 32],
}

/// The newest checkpoints of this member, oldest first.
#[derive(Default)]
pub(crate) struct Checkpoints(Mutex<VecDeque<Checkpoint>>);

impl Checkpoints {
    /// Remembers where the state is, if it is one of the places.
    pub(crate) fn note(&self, position: &Position) {
        if !position.index.is_multiple_of(EVERY) {
            return;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Position { index, stamp, digest, .. } = *position;
        kept.push_back(Checkpoint { index, stamp, digest });
        if kept.len() > KEPT {
            kept.pop_front();
        }
    }

    /// Forgets all: the state was replaced.
    pub(crate) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// All that are remembered.
    pub(crate) fn all(&self) -> Vec<Checkpoint> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }
}

/// What a comparison comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    /// No place is known at which two differ.
    Same,
    /// At this place these have another digest, and it is not known who is right.
    Differs(Checkpoint, Vec<NodeId>),
    /// At this place so many voters as commit an entry have one digest, and this member has another.
    Outvoted(Checkpoint, Vec<NodeId>),
}

/// Compares a member's checkpoints with those of the voters that answered. `quorum`: voters that commit an entry.
fn judge(own: &[Checkpoint], others: &BTreeMap<NodeId, Vec<Checkpoint>>, quorum: usize) -> Verdict {
    let mut verdict = Verdict::Same;
    for place in own {
        let mut against: BTreeMap<[u8; 32], Vec<NodeId>> = BTreeMap::new();
        for (node, checkpoints) in others {
            let theirs = checkpoints.iter().find(|theirs| theirs.index == place.index);
            if let Some(theirs) = theirs.filter(|theirs| theirs.digest != place.digest) {
                against.entry(theirs.digest).or_default().push(*node);
            }
        }
        if let Some(agreed) = against.values().find(|agreed| agreed.len() >= quorum) {
            return Verdict::Outvoted(*place, agreed.clone());
        }
        if let (Verdict::Same, Some(first)) = (&verdict, against.into_values().next()) {
            verdict = Verdict::Differs(*place, first);
        }
    }
    verdict
}

/// Compares states, and clocks, until the master stops, or until it ends itself because its state is not that of the others.
pub(crate) async fn run(server: Weak<MasterServer>, stop: Arc<Notify>) {
    loop {
        let pause =
            |server: Arc<MasterServer>| server.clock.sleep(if server.time.is_agreed() { PAUSE } else { PAUSE_FIRST });
        let Some(pause) = server.upgrade().map(pause) else { return };
        tokio::select! {
            biased;
            () = stop.notified() => return,
            () = pause => {}
        }
        let Some(server) = server.upgrade() else { return };
        let others = server.other_voters();
        let asked = join_all(others.iter().map(|node| ask(&server, *node))).await;
        let answered: BTreeMap<NodeId, (Vec<Checkpoint>, u64)> =
            others.into_iter().zip(asked).filter_map(|(node, answer)| Some((node, answer?))).collect();
        let quorum = server.voters() / 2 + 1;
        if server.voters() > 0 {
            let clocks: Vec<u64> = answered.values().map(|(_, wall_ms)| *wall_ms).collect();
            server.time.compare(&clocks, quorum);
        }
        let checkpoints = answered.into_iter().map(|(node, (checkpoints, _))| (node, checkpoints)).collect();
        act_on(&server, judge(&server.checkpoints(), &checkpoints, quorum));
    }
}

fn act_on(server: &MasterServer, verdict: Verdict) {
    match verdict {
        Verdict::Same => server.set_divergence(None),
        Verdict::Differs(place, nodes) => server.set_divergence(Some(format!(
            "the masters' states differ: at entry {}, {nodes:?} have another digest than node {}. Make a backup, then compare \
             the masters",
            place.index, server.node
        ))),
        Verdict::Outvoted(place, nodes) => server.end_process(format!(
            "the state of this master is not that of the others: at entry {} (stamp {}), {nodes:?} agree on another digest. Take \
             it out with `cairn admin master remove`, and let a node with an empty folder and a new join token take its place; \
             keep its folder for finding out why",
            place.index, place.stamp
        )),
    }
}

async fn ask(server: &MasterServer, node: NodeId) -> Option<(Vec<Checkpoint>, u64)> {
    let link = server.link(node)?;
    let answer = tokio::select! {
        biased;
        answer = link.call(Service::Raft, encode(&PeerRequest::Checkpoints).into()) => answer.ok()?,
        () = server.clock.sleep(PATIENCE) => return None,
    };
    match decode(&answer) {
        Ok(PeerReply::Checkpoints(checkpoints, wall_ms)) => Some((checkpoints, wall_ms)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(index: u64, digest: u8) -> Checkpoint {
        Checkpoint { index, stamp: Stamp(index), digest: [digest; 32] }
    }

    fn others(all: &[(u32, &[Checkpoint])]) -> BTreeMap<NodeId, Vec<Checkpoint>> {
        all.iter().map(|(node, checkpoints)| (NodeId(*node), checkpoints.to_vec())).collect()
    }

    #[test]
    fn places_that_only_one_knows_say_nothing() {
        let own = [at(64, 1), at(128, 2)];
        assert_eq!(judge(&own, &others(&[(2, &[at(64, 1)]), (3, &[at(192, 9)])]), 2), Verdict::Same);
        assert_eq!(judge(&own, &others(&[]), 2), Verdict::Same);
    }

    #[test]
    fn who_is_against_a_majority_that_agrees_is_wrong_and_nobody_else_is() {
        let (good, bad) = ([at(64, 1), at(128, 2)], [at(64, 1), at(128, 7)]);
        let outvoted = judge(&bad, &others(&[(1, &good), (2, &good)]), 2);
        assert_eq!(outvoted, Verdict::Outvoted(bad[1], vec![NodeId(1), NodeId(2)]));
        let alarmed = judge(&good, &others(&[(1, &good), (3, &bad)]), 2);
        assert_eq!(alarmed, Verdict::Differs(good[1], vec![NodeId(3)]));
        let all_differ = judge(&good, &others(&[(2, &[at(128, 5)]), (3, &bad)]), 2);
        assert!(matches!(all_differ, Verdict::Differs(..)), "nobody knows who is right: {all_differ:?}");
    }

    #[test]
    fn only_the_newest_places_are_kept() {
        let kept = Checkpoints::default();
        for index in 1..=EVERY * (KEPT as u64 + 3) {
            kept.note(&Position { index, ..Position::default() });
        }
        let all = kept.all();
        assert_eq!((all.len(), all[0].index), (KEPT, EVERY * 4));
    }
}
