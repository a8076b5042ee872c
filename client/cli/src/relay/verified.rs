//! Checks a body that came through a gateway against the manifest that the masters gave.

use super::PATIENCE;
use crate::failure::{Exit, Failure};
use bytes::{Bytes, BytesMut};
use cairn_client::Client;
use cairn_common::chunk::ChunkId;
use cairn_common::manifest::{Entry, Extent, Root};
use cairn_common::name::FilePath;
use cairn_common::seam::{BodyStream, Clock as _, SystemClock};
use futures::stream::{BoxStream, StreamExt as _};
use std::collections::VecDeque;

/// The bytes of a version from `at` on, each chunk handed on when its hash is right. Of an entry that is part of a chunk no hash is known:
/// its bytes are as the gateway checked them. Memory: one chunk.
pub(crate) fn verified(
    client: Client,
    path: FilePath,
    (root, length, at): (Root, u64, u64),
    body: BodyStream,
) -> BoxStream<'static, Result<Bytes, Failure>> {
    let (entries, buffer, clock) = (VecDeque::new(), BytesMut::new(), SystemClock::new());
    let check = Check { client, path, root, length, at, body, entries, buffer, clock };
    futures::stream::try_unfold(check, |mut check| async move {
        let piece = check.next().await?;
        Ok(piece.map(|piece| (piece, check)))
    })
    .boxed()
}

struct Check {
    client: Client,
    path: FilePath,
    root: Root,
    length: u64,
    at: u64,
    body: BodyStream,
    entries: VecDeque<(u64, Entry)>,
    buffer: BytesMut,
    clock: SystemClock,
}

impl Check {
    async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        if self.at >= self.length {
            return Ok(None);
        }
        let (offset, entry) = self.entry().await?;
        let left = offset + entry.length - self.at;
        let whole = match &entry.extent {
            Extent::Chunk { address, chunk_length, offset: 0 }
                if self.at == offset && u64::from(*chunk_length) == entry.length =>
            {
                Some(address.id)
            }
            _ => None,
        };
        let enough = if whole.is_some() { entry.length } else { 1 };
        while (self.buffer.len() as u64) < enough {
            let piece = tokio::select! {
                biased;
                piece = self.body.next() => piece.transpose(),
                () = self.clock.sleep(PATIENCE) => {
                    return Err(Failure::new(Exit::Network, "the HTTP API does not go on"));
                }
            };
            let piece = piece.map_err(|error| Failure::new(Exit::Network, error.to_string()))?;
            let cut = || Failure::new(Exit::Network, "the HTTP API broke off; what came is right, the rest is missing");
            self.buffer.extend_from_slice(&piece.ok_or_else(cut)?);
        }
        let take = left.min(self.buffer.len() as u64);
        let piece = self.buffer.split_to(take as usize).freeze();
        if whole.is_some_and(|id| ChunkId::of(&piece) != id) {
            let failure = Failure::new(Exit::Corrupt, format!("the HTTP API gave other bytes at {}", self.at));
            return Err(failure.advise("fetch it from a machine that reaches the chunkservers; see cairn where"));
        }
        self.at += take;
        Ok(Some(piece))
    }

    /// The entry at the place where we are.
    async fn entry(&mut self) -> Result<(u64, Entry), Failure> {
        loop {
            while let Some((offset, entry)) = self.entries.front() {
                if offset + entry.length > self.at {
                    return Ok((*offset, entry.clone()));
                }
                self.entries.pop_front();
            }
            let page = self.client.locate(&self.path, self.at).await?;
            if page.info.tags.root != self.root || page.entries.is_empty() {
                return Err(Failure::new(Exit::Conflict, "it was replaced while it was read").advise("repeat it"));
            }
            self.entries = page.entries.into_iter().map(|placed| (placed.offset, placed.entry)).collect();
        }
    }
}
