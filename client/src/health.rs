//! What a client has learnt about chunkservers by talking to them: which are fast, and which to leave alone for a while.

use cairn_common::ids::NodeId;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// First pause after a failure; doubles with each further one.
const PAUSE_MIN: Duration = Duration::from_millis(500);
/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// Hedge after this many times the usual time to answer.
const HEDGE_FACTOR: u32 = 4;
/// Never hedge sooner.
const HEDGE_MIN: Duration = Duration::from_millis(30);
/// Never wait longer before hedging.
const HEDGE_MAX: Duration = Duration::from_secs(1);

/// Health of the chunkservers. Times are those of one monotonic clock.
#[derive(Debug, Default)]
pub(crate) struct Health {
    nodes: Mutex<BTreeMap<NodeId, Record>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Record {
    failures: u32,
    suspect_until: Duration,
    /// Moving average of the time to answer.
    usual: Duration,
}

impl Health {
    /// The node answered after `taken`.
    pub(crate) fn answered(&self, node: NodeId, taken: Duration) {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        let record = nodes.entry(node).or_default();
        record.failures = 0;
        record.suspect_until = Duration::ZERO;
        record.usual = if record.usual.is_zero() { taken } else { (record.usual * 7 + taken) / 8 };
    }

    /// The node could not be reached, stalled, or failed, at `now`.
    pub(crate) fn failed(&self, node: NodeId, now: Duration) {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        let record = nodes.entry(node).or_default();
        let pause = PAUSE_MIN.saturating_mul(1 << record.failures.min(8)).min(PAUSE_MAX);
        record.failures = record.failures.saturating_add(1);
        record.suspect_until = now + pause;
    }

    /// Whether the node failed a short while ago: ask others first, and do not wait for it alone.
    pub(crate) fn is_suspect(&self, node: NodeId, now: Duration) -> bool {
        let nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.get(&node).is_some_and(|record| now < record.suspect_until)
    }

    /// How long to wait for the node before asking another one as well.
    pub(crate) fn hedge_after(&self, node: NodeId) -> Duration {
        let nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        let usual = nodes.get(&node).map_or(HEDGE_MAX / HEDGE_FACTOR, |record| record.usual);
        (usual * HEDGE_FACTOR).clamp(HEDGE_MIN, HEDGE_MAX)
    }

    /// Sorts nodes that can all serve the same read: those that are not suspect first, otherwise as they came.
    pub(crate) fn prefer<T>(&self, nodes: &mut [T], node_of: impl Fn(&T) -> NodeId, now: Duration) {
        nodes.sort_by_key(|node| self.is_suspect(node_of(node), now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId(1);

    #[test]
    fn a_node_that_failed_is_left_alone_longer_each_time_until_it_answers() {
        let health = Health::default();
        let at = Duration::from_millis;
        health.failed(NODE, at(1000));
        assert!(health.is_suspect(NODE, at(1499)) && !health.is_suspect(NODE, at(1500)));
        health.failed(NODE, at(2000));
        assert!(health.is_suspect(NODE, at(2999)) && !health.is_suspect(NODE, at(3000)));
        for _ in 0..40 {
            health.failed(NODE, at(0));
        }
        assert!(!health.is_suspect(NODE, PAUSE_MAX));
        health.failed(NODE, at(5000));
        health.answered(NODE, at(3));
        assert!(!health.is_suspect(NODE, at(5000)));
    }

    #[test]
    fn hedging_follows_the_usual_time_within_bounds() {
        let health = Health::default();
        assert_eq!(health.hedge_after(NODE), HEDGE_MAX);
        health.answered(NODE, Duration::from_micros(200));
        assert_eq!(health.hedge_after(NODE), HEDGE_MIN);
        for _ in 0..100 {
            health.answered(NODE, Duration::from_millis(100));
        }
        let after = health.hedge_after(NODE);
        assert!(after > Duration::from_millis(350) && after <= Duration::from_millis(400), "{after:?}");
    }

    #[test]
    fn suspects_come_last_and_order_is_kept_otherwise() {
        let health = Health::default();
        health.failed(NodeId(2), Duration::ZERO);
        let mut nodes = [1, 2, 3].map(NodeId);
        health.prefer(&mut nodes, |node| *node, Duration::ZERO);
        assert_eq!(nodes, [1, 3, 2].map(NodeId));
    }
}
