//! The whole state, row by row: for snapshots to other masters, for backups, and for comparing states.

use super::{KeyRange, MetaView, Order, StoreError, Table, WriteBatch};
use bytes::Bytes;

/// Gives all rows of `view` to `each`, in the order of tables and keys, in batches of about `batch_bytes` that make them again
/// in an empty store. Stops at the first error of either side.
pub fn export<E: From<StoreError>>(
    view: &dyn MetaView,
    batch_bytes: usize,
    mut each: impl FnMut(WriteBatch) -> Result<(), E>,
) -> Result<(), E> {
    let mut batch = WriteBatch::new();
    let mut bytes = 0;
    for table in Table::ALL {
        let mut cursor = view.scan(table, KeyRange::default(), Order::Forward)?;
        while let Some((key, value)) = cursor.row() {
            bytes += key.len() + value.len();
            batch.put(table, Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
            if bytes >= batch_bytes {
                each(std::mem::take(&mut batch))?;
                bytes = 0;
            }
            cursor.advance()?;
        }
    }
    if batch.is_empty() { Ok(()) } else { each(batch) }
}

/// BLAKE3 over all rows: equal for equal states, however they came about. Reads everything; to compare masters in passing there
/// is [`Position::digest`](super::Position::digest).
pub fn fingerprint(view: &dyn MetaView) -> Result<[u8; 32], StoreError> {
    let mut digest = [0; 32];
    export(view, 1 << 20, |batch| {
        digest = batch.digest(&digest);
        Ok::<(), StoreError>(())
    })?;
    Ok(digest)
}
