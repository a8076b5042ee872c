//! Access keys and join tokens.

use super::tx::{Step, Tx};
use crate::store::KeyRange;
use crate::store::key::{AccessKeyKey, JoinTokenKey, JoinTokenRow, RowKey as _, TotalsKey};
use cairn_common::ids::Stamp;
use cairn_common::limits::{ACCESS_KEYS_MAX, JOIN_TOKENS_MAX, TEXT_MAX_BYTES};
use cairn_common::wire::command::{Done, KeyRecord, Refusal};

pub(super) fn create_key(tx: &mut Tx<'_>, record: &KeyRecord) -> Step<Done> {
    check_id(&record.access)?;
    let key = AccessKeyKey(&record.access);
    if tx.get(&key)?.is_some() {
        return Err(Refusal::KeyExists(record.access.clone()).into());
    }
    if tx.get(&TotalsKey)?.unwrap_or_default().keys >= ACCESS_KEYS_MAX {
        return Err(Refusal::Invalid(format!("a cluster has at most {ACCESS_KEYS_MAX} access keys")).into());
    }
    tx.put(&key, record);
    tx.totals(|totals| totals.keys += 1)?;
    Ok(Done::Nothing)
}

pub(super) fn delete_key(tx: &mut Tx<'_>, access: &str) -> Step<Done> {
    let key = AccessKeyKey(access);
    // Its record is not read: one that cannot be is removed like any other (S18 of docs/faults.md).
    if tx.view().get(AccessKeyKey::TABLE, &key.encode())?.is_none() {
        return Err(Refusal::NoSuchKey(access.to_owned()).into());
    }
    tx.delete(&key);
    tx.totals(|totals| totals.keys = totals.keys.saturating_sub(1))?;
    Ok(Done::Nothing)
}

/// Stores a join token, and forgets those whose time is over.
pub(super) fn create_join_token(tx: &mut Tx<'_>, id: &str, secret_hash: [u8; 32], expires: Stamp) -> Step<Done> {
    check_id(id)?;
    let tokens = tx.list::<JoinTokenKey>(KeyRange::prefix(JoinTokenKey::all()), JOIN_TOKENS_MAX)?;
    let mut left = tokens.len();
    for (key, row) in tokens {
        if row.expires < tx.stamp() {
            tx.delete(&key);
            left -= 1;
        }
    }
    if left >= JOIN_TOKENS_MAX {
        return Err(Refusal::Invalid(format!("there are {JOIN_TOKENS_MAX} join tokens already")).into());
    }
    let key = JoinTokenKey(id.to_owned());
    if tx.get(&key)?.is_some() {
        return Err(Refusal::KeyExists(id.to_owned()).into());
    }
    tx.put(&key, &JoinTokenRow { secret_hash, expires, used_by: None });
    Ok(Done::Nothing)
}

fn check_id(id: &str) -> Result<(), Refusal> {
    if id.is_empty() || id.len() > TEXT_MAX_BYTES {
        return Err(Refusal::Invalid(format!("an id has 1 to {TEXT_MAX_BYTES} bytes")));
    }
    Ok(())
}
