//! Every copy is read back, also where a node is restarted often.

use super::world::World;
use crate::store::volume::ScrubMark;
use crate::testing::chunk;
use cairn_common::ids::{NodeId, Slot};
use std::time::Duration;

#[tokio::test]
async fn the_scrub_goes_on_where_it_was_when_its_node_was_restarted() {
    let world = World::new(1, &[1]).await;
    world.put(1, &chunk(1, 1_000), 5).await;
    let (first, second) = (world.context(NodeId(1)), world.another_context(1));
    let pause = Duration::from_secs(3_600);
    let left = ScrubMark { slot: Slot(8_192), ended_ms: 0, due_ms: 0 };
    first.store.leave_scrubbed(left).await;
    assert_eq!(first.store.scrubbed().await, left);
    // No time goes by now, so a pass that waited would never end.
    let ended = async {
        while second.progress.now().scrub.ended_ms == 0 {
            let slot = second.progress.now().scrub.slot;
            assert!(slot >= left.slot || slot == Slot(0), "it began anew at {slot}");
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        () = ended => {}
        () = second.scrub(pause) => unreachable!("it never ends"),
    }
    assert_eq!(first.store.scrubbed().await.slot, Slot(0));
}
