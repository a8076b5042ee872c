//! Rows that point at nothing.

use super::super::super::index::{After, PackRow};
use super::super::super::pack::{PackNumber, RecordHeader};
use super::{BATCH_ROWS, RecoverError, Recovery};
use cairn_common::ids::Slot;

impl Recovery<'_> {
    /// Takes rows out of the index that point at nothing. Goes over the whole index, but only where something is lost.
    pub(super) fn sweep(&mut self) -> Result<(), RecoverError> {
        let rows = &self.found.rows;
        let concerned = |number: &PackNumber| rows.get(number).is_some_and(|row: &PackRow| row.live_chunks > 0);
        if self.lost_from.keys().any(concerned) {
            let mut after = After::SlotStart(Slot(0));
            loop {
                let page = self.index.scan(after, Slot(u16::MAX), BATCH_ROWS)?;
                let Some((last, _)) = page.last() else { break };
                after = After::Chunk(last.slot(), *last);
                let mut changes = self.changes();
                for (address, row) in page {
                    let end = u64::from(row.position.offset) + u64::from(RecordHeader::chunk_bytes(row.length));
                    if self.lost_from.get(&row.position.pack).is_some_and(|from| end > *from) {
                        tracing::error!(volume = %self.identity.volume, %address, "a chunk is lost with its pack");
                        changes.lost(address, row);
                        self.found.damaged += 1;
                    }
                }
                self.commit(changes)?;
            }
        }
        let mut changes = self.changes();
        for (number, from) in &self.lost_from {
            if *from == 0 && self.found.rows.contains_key(number) {
                changes.forget_pack(*number);
            }
        }
        self.commit(changes)
    }
}
