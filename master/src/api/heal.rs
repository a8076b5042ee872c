//! Answers to chunkservers about where chunks belong: the state's answer, and tokens to act on it with.

use super::access::Who;
use crate::query::{self, Owned};
use crate::server::MasterServer;
use cairn_common::chunk::ChunkAddress;
use cairn_common::ids::{NodeId, Slot};
use cairn_common::limits::{COMPARED_SLOTS_MAX, INVENTORY_PAGE_MAX, PLACEMENT_MAX, READ_TOKEN_TTL_MS};
use cairn_common::wire::heal::{ChunkPlace, Compare, Placement};
use cairn_common::wire::master::{MasterError, MasterReply};

impl MasterServer {
    pub(super) async fn compare(&self, who: &Who, asked: Compare) -> Result<MasterReply, MasterError> {
        let node = node_of(who)?;
        if asked.count > COMPARED_SLOTS_MAX {
            return Err(MasterError::BadRequest(format!("at most {COMPARED_SLOTS_MAX} slots at a time")));
        }
        let members = self.members()?;
        self.scan(move |view| query::compare(view, &members, node, &asked)).await.map(MasterReply::Compared)
    }

    pub(super) async fn references(&self, slot: Slot, after: Option<ChunkAddress>) -> Result<MasterReply, MasterError> {
        let members = self.members()?;
        let page = self.scan(move |view| query::references(view, &members, slot, after, INVENTORY_PAGE_MAX)).await?;
        Ok(MasterReply::References(page))
    }

    /// An owner gets the right to read the chunk elsewhere, any other node only that to ask the owners whether they have it: a
    /// node reads nothing that it need not hold.
    pub(super) async fn placement(&self, who: &Who, chunks: Vec<ChunkAddress>) -> Result<MasterReply, MasterError> {
        let node = node_of(who)?;
        if chunks.len() > PLACEMENT_MAX {
            return Err(MasterError::BadRequest(format!("at most {PLACEMENT_MAX} chunks at a time")));
        }
        let members = self.members()?;
        let epoch = members.membership.epoch();
        let asked = chunks.clone();
        let (moment, owned) = self.scan(move |view| query::place_chunks(view, &members, &asked)).await?;
        let expires_ms = self.clock.wall_ms() + READ_TOKEN_TTL_MS;
        let place = |(address, owned): (&ChunkAddress, Option<Owned>)| {
            let Owned { copies, owners, nodes } = owned?;
            let owner = owners.contains(&node);
            let nodes = if owner {
                let others = nodes.into_iter().filter(|other| *other != node);
                others.map(|other| (other, self.keyring.read_token(other, address, expires_ms))).collect()
            } else {
                let confirm = |owner| (owner, self.keyring.confirm_token(owner, address, moment.stamp, expires_ms));
                owners.into_iter().map(confirm).collect()
            };
            Some(ChunkPlace { copies, owner, nodes })
        };
        let chunks = chunks.iter().zip(owned).map(place).collect();
        Ok(MasterReply::Placement(Placement { epoch, stamp: moment.stamp, horizon: moment.horizon, chunks }))
    }
}

fn node_of(who: &Who) -> Result<NodeId, MasterError> {
    match who {
        Who::Node { node, .. } => Ok(*node),
        Who::Nobody | Who::Key(_) | Who::Joiner(_) => Err(MasterError::Denied),
    }
}
