//! Access keys and join tokens.

use super::QueryError;
use crate::store::key::{AccessKeyKey, JoinTokenKey, JoinTokenRow, Record};
use crate::store::{KeyRange, MetaView, Order, StoreError, Table};
use cairn_common::wire::command::KeyRecord;
use cairn_common::wire::master::KeyInfo;

/// An access key as it is stored, with its sealed secret.
pub fn key(view: &dyn MetaView, access: &str) -> Result<Option<KeyRecord>, QueryError> {
    Ok(view.row(&AccessKeyKey(access))?)
}

/// All access keys, by id, without secrets. Their number is bounded.
pub fn keys(view: &dyn MetaView) -> Result<Vec<KeyInfo>, QueryError> {
    let mut keys = Vec::new();
    let mut cursor = view.scan(Table::System, KeyRange::prefix(AccessKeyKey::all()), Order::Forward)?;
    while let Some((key, value)) = cursor.row() {
        let record = KeyRecord::from_slice(value).map_err(|reason| StoreError::row(Table::System, key, reason))?;
        keys.push(without_secret(record));
        cursor.advance()?;
    }
    Ok(keys)
}

fn without_secret(record: KeyRecord) -> KeyInfo {
    let KeyRecord { access, name, sealed_secret: _, tenant, cluster_admin, grants, created, expires } = record;
    KeyInfo { access, name, tenant, cluster_admin, grants, created, expires }
}

/// A join token, by its public part. Whether it is used up or over is for the caller to see.
pub fn join_token(view: &dyn MetaView, id: &str) -> Result<Option<JoinTokenRow>, QueryError> {
    Ok(view.row(&JoinTokenKey(id.to_owned()))?)
}
