//! Hand-offs go home: a row that says a chunk lies off its owners is forgotten when every owner has shown that it has the chunk.
//!
//! The copies themselves are moved by the owners, which find that they lack them, and dropped by the holders. Whether a holder
//! is still there does not matter here, so that the row of a chunk whose holder died goes as well.

use crate::query::{self, Owned};
use crate::server::MasterServer;
use cairn_common::chunk::ChunkAddress;
use cairn_common::ids::{NodeId, Stamp};
use cairn_common::limits::{MISPLACED_PAGE_MAX, READ_TOKEN_TTL_MS};
use cairn_common::net::RemoteChunkserver;
use cairn_common::net::handshake::Credential;
use cairn_common::wire::chunk::{ChunkService as _, ConfirmChunk};
use cairn_common::wire::command::Command;
use cairn_common::wire::master::MasterError;
use futures::StreamExt as _;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Pause between two walks over all rows.
const PAUSE: Duration = Duration::from_secs(5);
/// Chunks that are asked about at the same time.
const ASKED_AT_ONCE: usize = 8;

/// A walk over the rows, a page at a time.
#[derive(Default)]
pub(super) struct Sweep {
    after: Option<ChunkAddress>,
    not_before: Duration,
    links: BTreeMap<NodeId, Arc<RemoteChunkserver>>,
}

impl Sweep {
    pub(super) async fn go_on(&mut self, server: &MasterServer) -> Result<(), MasterError> {
        if server.clock.monotonic() < self.not_before || server.look(query::counts)?.misplaced == 0 {
            return Ok(());
        }
        let members = server.members()?;
        let after = self.after;
        let looked_up = Arc::clone(&members);
        let (epoch, chunks) =
            server.scan(move |view| query::misplaced(view, &looked_up, after, MISPLACED_PAGE_MAX)).await?;
        self.after = chunks.last().copied().filter(|_| chunks.len() == MISPLACED_PAGE_MAX);
        if self.after.is_none() {
            self.not_before = server.clock.monotonic() + PAUSE;
        }
        let (looked_up, asked) = (Arc::clone(&members), chunks.clone());
        let (_, placed) = server.scan(move |view| query::place_chunks(view, &looked_up, &asked)).await?;
        self.links = members
            .membership
            .nodes
            .values()
            .filter(|node| super::decide::may_hold_chunks(node))
            .map(|node| (node.id, self.link(server, node.id, &node.address)))
            .collect();
        let links = &self.links;
        let home = futures::stream::iter(chunks.into_iter().zip(placed)).map(|(address, owned)| async move {
            let Owned { owners, .. } = owned?;
            let (stamp, expires_ms) = (Stamp::ZERO, server.clock.wall_ms() + READ_TOKEN_TTL_MS);
            for owner in owners {
                let token = server.keyring.confirm_token(owner, &address, stamp, expires_ms);
                links.get(&owner)?.confirm(ConfirmChunk { address, token, epoch, stamp }).await.ok()?;
            }
            Some(address)
        });
        let home: Vec<Option<ChunkAddress>> = home.buffered(ASKED_AT_ONCE).collect().await;
        let chunks: Vec<ChunkAddress> = home.into_iter().flatten().collect();
        if !chunks.is_empty() {
            tracing::info!(chunks = chunks.len(), "misplaced chunks are with their owners now");
            server.execute(None, Command::ForgetMisplaced { epoch, chunks }).await?;
        }
        Ok(())
    }

    fn link(&self, server: &MasterServer, node: NodeId, address: &str) -> Arc<RemoteChunkserver> {
        match self.links.get(&node).filter(|link| link.address() == address) {
            Some(link) => Arc::clone(link),
            None => Arc::new(server.chunkserver_at(address, Credential::anonymous())),
        }
    }
}
