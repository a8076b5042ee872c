//! A round: every slot compared with what the masters refer to, and what differs put right.
//!
//! Most slots are as they should be and cost sixteen bytes in groups of sixty-four. Nothing is remembered between rounds but
//! what the masters are told, so a round that is broken off, by a restart or a change of the ring, is begun anew.

use super::Context;
use super::collect::Candidates;
use super::compare::{Difference, Group, combined, difference, differing, groups};
use super::fetch::Fetched;
use super::shed::Moment;
use crate::store::index::IndexError;
use cairn_common::chunk::ChunkAddress;
use cairn_common::ids::{Epoch, Slot, Stamp};
use cairn_common::limits::{FETCHES_MAX, INVENTORY_PAGE_MAX, LOST_NAMED_MAX, PLACEMENT_MAX};
use cairn_common::ring::Ring;
use cairn_common::wire::chunk::Held;
use cairn_common::wire::heal::{Amount, Compare, Compared, Placement, Rebalance, Referenced};
use cairn_common::wire::master::MasterError;
use futures::StreamExt as _;
use std::sync::Arc;

/// A round that did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum RoundError {
    /// The masters cannot be asked.
    #[error(transparent)]
    Master(#[from] MasterError),
    /// What is held is not known.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The ring has changed.
    #[error("the ring has changed")]
    Epoch,
}

/// What a round has found so far.
#[derive(Debug, Default)]
pub(super) struct Round {
    epoch: Epoch,
    /// The moment at which it began, and the start of the oldest window then.
    began: Stamp,
    horizon: Stamp,
    missing: Amount,
    foreign: Amount,
    lost: Vec<ChunkAddress>,
    candidates: Candidates,
}

impl Round {
    /// Whether another round will find more to do.
    pub(super) fn left_something(&self) -> bool {
        self.missing.chunks > 0 || self.foreign.chunks > 0
    }
}

impl Context {
    /// Goes once through all slots.
    pub(super) async fn round(&self) -> Result<Round, RoundError> {
        let (Some(ring), Some(membership)) = (self.view.ring(), self.view.membership()) else {
            return Err(RoundError::Epoch);
        };
        let Placement { stamp: began, horizon, .. } = self.peers.placement(Vec::new()).await?;
        let mut round = Round { epoch: ring.epoch(), began, horizon, ..Round::default() };
        for group in groups(&ring, membership.replicas, &self.view.orders().down) {
            self.group(&ring, group, &mut round).await?;
            self.progress.show(round.missing, round.foreign);
        }
        if self.view.epoch() != round.epoch {
            return Err(RoundError::Epoch);
        }
        let round_ms = self.clock.wall_ms();
        self.progress.change(|upkeep| {
            upkeep.round_ms = round_ms;
            upkeep.lost = round.lost.clone();
            let at_epoch_if = |so: bool| if so { round.epoch } else { Epoch(0) };
            upkeep.complete = at_epoch_if(round.missing.chunks == 0);
            upkeep.emptied = at_epoch_if(round.foreign.chunks == 0);
        });
        self.collect(std::mem::take(&mut round.candidates), round.began).await?;
        Ok(round)
    }

    async fn group(&self, ring: &Arc<Ring>, group: Group, round: &mut Round) -> Result<(), RoundError> {
        let Group { first, count } = group;
        let held = self.store.digests(first, u32::from(count)).await?;
        let digest = combined(&held);
        match self.peers.compare(Compare { epoch: round.epoch, first, count, digest }).await? {
            Compared::Same => Ok(()),
            Compared::OtherEpoch(_) => Err(RoundError::Epoch),
            Compared::Differs(wanted) => {
                for slot in differing(&held, &wanted) {
                    self.slot(ring, slot, round).await?;
                }
                Ok(())
            }
        }
    }

    async fn slot(&self, ring: &Ring, slot: Slot, round: &mut Round) -> Result<(), RoundError> {
        // What is held first: a chunk that comes in between is then missing for a moment, and looked for in vain, instead of
        // unreferenced; and in both cases it is asked about again before anything is done.
        let held = self.held(slot).await?;
        let references = self.references(slot).await?;
        let Difference { missing, foreign, unreferenced } =
            difference(held, references, self.view.position(ring, slot));
        round.candidates.note(&unreferenced, round.horizon);
        for batch in missing.chunks(PLACEMENT_MAX) {
            self.fetch_batch(batch, round).await?;
        }
        for batch in foreign.chunks(PLACEMENT_MAX) {
            self.shed_batch(batch, round).await?;
        }
        Ok(())
    }

    async fn fetch_batch(&self, batch: &[Referenced], round: &mut Round) -> Result<(), RoundError> {
        let Rebalance { paused, bytes_per_second } = self.view.orders().rebalance;
        if paused && batch.iter().all(|chunk| self.view.moves_here(chunk.address.slot(), chunk.copies)) {
            batch.iter().for_each(|chunk| round.missing.add(chunk.length));
            return Ok(());
        }
        let configured = self.settings.fetch_bytes_per_second;
        self.fetching.set(if bytes_per_second > 0 { bytes_per_second } else { configured });
        let placement = self.peers.placement(batch.iter().map(|chunk| chunk.address).collect()).await?;
        if placement.epoch != round.epoch {
            return Err(RoundError::Epoch);
        }
        let fetching = batch.iter().zip(placement.chunks).filter_map(|(chunk, place)| {
            let place = place.filter(|place| place.owner)?;
            Some(async { (*chunk, self.fetch(*chunk, place.nodes).await) })
        });
        let fetched: Vec<(Referenced, Fetched)> =
            futures::stream::iter(fetching.collect::<Vec<_>>()).buffer_unordered(FETCHES_MAX).collect().await;
        for (chunk, fetched) in fetched {
            match fetched {
                Fetched::Stored => {}
                Fetched::NotNow => round.missing.add(chunk.length),
                Fetched::Lost => {
                    tracing::error!(address = %chunk.address, "a referenced chunk is good on no node");
                    if round.lost.len() < LOST_NAMED_MAX {
                        round.lost.push(chunk.address);
                    }
                }
            }
        }
        Ok(())
    }

    async fn shed_batch(&self, batch: &[Referenced], round: &mut Round) -> Result<(), RoundError> {
        let placement = self.peers.placement(batch.iter().map(|chunk| chunk.address).collect()).await?;
        if placement.epoch != round.epoch {
            return Err(RoundError::Epoch);
        }
        let Placement { epoch, stamp, horizon, chunks } = placement;
        let moment = Moment { epoch, stamp, horizon };
        let shedding = batch.iter().zip(chunks).filter_map(|(chunk, place)| {
            let place = place?;
            Some(async move { (*chunk, self.shed(*chunk, place, moment).await) })
        });
        let shed: Vec<(Referenced, bool)> =
            futures::stream::iter(shedding.collect::<Vec<_>>()).buffer_unordered(FETCHES_MAX).collect().await;
        shed.iter().filter(|(_, gone)| !gone).for_each(|(chunk, _)| round.foreign.add(chunk.length));
        Ok(())
    }

    /// All that is held in a slot. Slots are bounded by the size of the cluster.
    async fn held(&self, slot: Slot) -> Result<Vec<Held>, IndexError> {
        let mut all: Vec<Held> = Vec::new();
        loop {
            let page = self.store.inventory(slot, all.last().map(|held| held.address)).await?;
            let more = page.len() == INVENTORY_PAGE_MAX;
            all.extend(page);
            if !more {
                return Ok(all);
            }
        }
    }

    async fn references(&self, slot: Slot) -> Result<Vec<Referenced>, MasterError> {
        let mut all: Vec<Referenced> = Vec::new();
        loop {
            let page = self.peers.references(slot, all.last().map(|chunk| chunk.address)).await?;
            all.extend(page.references);
            if !page.more {
                return Ok(all);
            }
        }
    }
}
