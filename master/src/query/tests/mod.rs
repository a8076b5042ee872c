//! Tests of the queries, on states that commands made.

mod files;
mod heal;
mod list;
mod others;

use crate::query::PageLimits;
use crate::state::Members;
use crate::state::tests::World;
use std::sync::Arc;

const LIMITS: PageLimits = PageLimits { entries: 100, nodes: 100 };

fn members(world: &World) -> Arc<Members> {
    world.members()
}
