//! Clients: they upload, read and remove files of a few chunks that all of them share, and know the ring as it was some time ago.

use super::Plane;
use super::masters::{Attested, File};
use super::network::{CLIENTS, MASTERS};
use super::record::Event;
use crate::testing::DOMAIN;
use cairn_common::auth::Receipt;
use cairn_common::chunk::VerifiedChunk;
use cairn_common::ids::{NodeId, Stamp, WindowId};
use cairn_common::ring::Ring;
use cairn_common::seam::{Random as _, seeded_bug};
use cairn_common::wire::chunk::{ChunkError, ChunkService as _, GetChunk, PutChunk, StatChunk};
use cairn_common::wire::command::Refusal;
use std::sync::Arc;

use super::super::masters::keys;

/// How long a token of a client is good.
const TOKEN_MS: u64 = 60_000;
/// How often a chunk that seems to be nowhere is looked for: it may move while it is.
const LOOKS: u32 = 5;

/// One of them.
pub(super) struct Client {
    plane: Arc<Plane>,
    number: u32,
    ring: Arc<Ring>,
    files: Vec<File>,
    begun: u64,
}

/// What looking for a chunk once came to.
enum Look {
    Read,
    Unreachable,
    Nowhere,
}

impl Client {
    pub(super) fn new(plane: &Arc<Plane>, number: u32) -> Client {
        let ring = Arc::clone(&plane.masters.lock().state.ring);
        Client { plane: Arc::clone(plane), number: CLIENTS + number, ring, files: Vec::new(), begun: 0 }
    }

    fn below(&self, bound: u64) -> u64 {
        self.plane.random.below(bound)
    }

    /// Goes on until the run wants no more.
    pub(super) async fn run(mut self) {
        while !self.plane.is_over() {
            self.plane.timeline.sleep_ms(50 + self.below(900)).await;
            if self.below(4) == 0 {
                self.ring = Arc::clone(&self.plane.masters.lock().state.ring);
            }
            match self.below(8) {
                0..=3 => self.put().await,
                4 | 5 => self.get().await,
                _ => self.remove().await,
            }
        }
    }

    async fn to_masters(&self) -> bool {
        self.plane.network.carry(self.number, MASTERS, false).await
    }

    async fn asked_masters(&self) -> bool {
        self.plane.network.carry(MASTERS, self.number, false).await
    }

    async fn put(&mut self) {
        if !self.to_masters().await {
            return;
        }
        let window = self.plane.masters.open_window();
        if !self.asked_masters().await {
            return;
        }
        self.begun += 1;
        let file = u64::from(self.number) << 32 | self.begun;
        let mut chunks: Vec<Attested> = Vec::new();
        for _ in 0..1 + self.below(3) {
            let chunk = &self.plane.chunks[self.below(self.plane.chunks.len() as u64) as usize];
            if chunks.iter().all(|(other, _)| other.address() != chunk.address()) {
                chunks.push((chunk.clone(), self.store(chunk, window).await));
            }
        }
        if self.below(5) == 0 {
            // A slow client; some are too slow.
            self.plane.timeline.sleep_ms(self.below(60_000)).await;
        }
        for _ in 0..3 {
            if !self.to_masters().await {
                continue;
            }
            let answer = self.plane.masters.commit(file, window, &chunks);
            self.plane.record.note(Event::Commit, &[file, u64::from(answer.is_ok())]);
            if let Ok(counted) = &answer {
                self.plane.committed(counted);
            }
            if !self.asked_masters().await {
                continue;
            }
            match answer {
                Ok(_) => return self.files.push(file),
                Err(Refusal::ShortOfQuorum { .. }) => {
                    for (chunk, receipts) in &mut chunks {
                        receipts.extend(self.store(chunk, window).await);
                    }
                }
                Err(_) => return self.plane.record.note(Event::Refused, &[file]),
            }
        }
    }

    /// Sends a chunk to its owners, and to the next on the list for each that does not take it.
    async fn store(&self, chunk: &VerifiedChunk, window: Stamp) -> Vec<Receipt> {
        let copies = usize::from(self.plane.copies);
        let list: Vec<NodeId> = self.ring.owners(chunk.address().slot(), usize::MAX).collect();
        let (first, next) = list.split_at(copies.min(list.len()));
        let sent = first.iter().map(|node| self.store_at(*node, chunk, window));
        let mut receipts: Vec<Receipt> = futures::future::join_all(sent).await.into_iter().flatten().collect();
        for node in next {
            if receipts.len() >= copies {
                break;
            }
            receipts.extend(self.store_at(*node, chunk, window).await);
        }
        receipts
    }

    async fn store_at(&self, node: NodeId, chunk: &VerifiedChunk, window: Stamp) -> Option<Receipt> {
        let (began, address) = (self.plane.timeline.now(), chunk.address());
        let keys = keys(node);
        let expires_ms = self.plane.timeline.wall_ms() + TOKEN_MS;
        let token = keys.write_token(DOMAIN, WindowId(window.0), 1 << 30, expires_ms);
        let way = self.plane.network.way(self.number, node);
        let epoch = self.ring.epoch();
        let mut receipt = None;
        if self.below(3) == 0 {
            let token = keys.finding(token.clone());
            receipt = way.touch(PutChunk { address, token, epoch }).await.ok();
        }
        if receipt.is_none() {
            receipt = way.put(PutChunk { address, token, epoch }, chunk.clone()).await.ok();
        }
        if receipt.is_some() {
            self.plane.attested(node, address, began);
        }
        receipt
    }

    async fn get(&self) {
        let files: Vec<File> = self.plane.masters.lock().files.keys().copied().collect();
        if files.is_empty() {
            return;
        }
        let file = files[self.below(files.len() as u64) as usize];
        self.read(file).await;
    }

    /// Reads a file; it must be there, unless it is removed meanwhile. Answers whether all of it was read.
    pub(super) async fn read(&self, file: File) -> bool {
        let Some(chunks) = self.plane.masters.lock().files.get(&file).cloned() else { return false };
        let mut whole = true;
        for address in chunks {
            let chunk = self.plane.chunks.iter().find(|chunk| chunk.address() == address).expect("one of ours");
            for look in 1..=LOOKS {
                match self.look_for(chunk).await {
                    Look::Read => break,
                    Look::Unreachable => {
                        whole = false;
                        break;
                    }
                    Look::Nowhere if !self.plane.masters.lock().files.contains_key(&file) => return false,
                    Look::Nowhere if look == LOOKS => {
                        self.plane.record.broken(format!("{address} is referred to, and good on no node"));
                    }
                    Look::Nowhere => self.plane.timeline.sleep_ms(700).await,
                }
            }
        }
        self.plane.record.note(Event::Read, &[file]);
        whole
    }

    async fn look_for(&self, chunk: &VerifiedChunk) -> Look {
        let address = chunk.address();
        let mut nodes: Vec<NodeId> = self.ring.owners(address.slot(), usize::MAX).collect();
        let others = self.plane.nodes().into_iter().filter(|node| !nodes.contains(node)).collect::<Vec<_>>();
        nodes.extend(others);
        let mut look = Look::Nowhere;
        for node in nodes {
            let token = keys(node).read_token(&address, self.plane.timeline.wall_ms() + TOKEN_MS);
            let way = self.plane.network.way(self.number, node);
            match way.get(GetChunk { address, token: token.clone(), start: 0, end: chunk.length() }).await {
                Ok(slice) if slice.verify(&address).is_ok() || seeded_bug("skip-verification") => {
                    if slice.data != *chunk.data() {
                        self.plane.record.broken(format!("other bytes than those of {address} were read"));
                    }
                    return Look::Read;
                }
                Ok(_) => _ = way.report_bad(StatChunk { address, token }).await,
                Err(ChunkError::Absent | ChunkError::Damaged) => {}
                Err(_) => look = Look::Unreachable,
            }
        }
        look
    }

    async fn remove(&mut self) {
        // Some files stay for long.
        if self.files.len() < 4 || !self.to_masters().await {
            return;
        }
        let index = self.below(self.files.len() as u64) as usize;
        let file = self.files.swap_remove(index);
        self.plane.masters.remove(file);
        self.plane.record.note(Event::Removed, &[file]);
    }
}
