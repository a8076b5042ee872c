//! Where the bytes of versions are, and who holds them.

use super::manifest;
use super::tx::{Step, Tx};
use crate::store::StoreError;
use crate::store::key::{Body, HoldersKey, InlineId, InlineKey, InlineRow, ManifestKey, ManifestRow};
use bytes::Bytes;
use cairn_common::chunk::{ChunkAddress, ChunkId, IdKind};
use cairn_common::ids::{Domain, ManifestId};
use cairn_common::limits::INLINE_MAX_BYTES;
use cairn_common::manifest::{Entry, Root, RootHasher};
use cairn_common::wire::command::Refusal;

/// Bytes that are stored, and what is known about them.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) body: Body,
    pub(super) root: Root,
    pub(super) length: u64,
    /// Durable copies of the least copied chunk (inline: masters that hold the log entry).
    pub(super) copies: u8,
}

/// Keeps a small body, held once.
pub(super) fn store_inline(tx: &mut Tx<'_>, bytes: &Bytes, root: Root, length: u64) -> Step<Stored> {
    let have = bytes.len() as u64;
    if have > INLINE_MAX_BYTES {
        return Err(Refusal::InlineTooLarge { length: have }.into());
    }
    let copies = tx.members().log_copies();
    if have == 0 {
        check(root, length, RootHasher::of(&[]), 0)?;
        return Ok(Stored { body: Body::Empty, root, length, copies });
    }
    let hash = *blake3::hash(bytes).as_bytes();
    // The root names no domain, so any will do.
    let address = ChunkAddress { domain: Domain(0), kind: IdKind::Plain, id: ChunkId(hash) };
    let chunk = Entry::chunk(address, u32::try_from(have).expect("checked against the limit"));
    check(root, length, RootHasher::of(&[chunk]), have)?;
    let id = InlineId(tx.stamp().0);
    tx.put(&InlineKey(id), &InlineRow { hash, bytes: bytes.clone() });
    Ok(Stored { body: Body::Inline(id), root, length, copies })
}

/// Whether root and length are what a client stated.
pub(super) fn check(root: Root, length: u64, true_root: Root, true_length: u64) -> Result<(), Refusal> {
    if root == true_root && length == true_length { Ok(()) } else { Err(Refusal::RootMismatch) }
}

/// What is stored, from a manifest's row.
pub(super) fn of_manifest(id: ManifestId, row: &ManifestRow) -> Stored {
    let body = if row.length == 0 { Body::Empty } else { Body::Manifest(id) };
    Stored { body, root: row.root, length: row.length, copies: row.copies }
}

/// Adds a holder; answers how many durable copies there are.
pub(super) fn hold(tx: &mut Tx<'_>, body: Body) -> Result<u8, StoreError> {
    match body {
        Body::Empty => Ok(tx.members().log_copies()),
        Body::Inline(id) => {
            add_holder(tx, HoldersKey::Inline(id))?;
            Ok(tx.members().log_copies())
        }
        Body::Manifest(id) => Ok(manifest::hold(tx, id)?.copies),
    }
}

/// Takes a holder away. A manifest without any waits in the release queue, for whoever is reading it. A small body is gone at
/// once: readers were given all of it when they opened it.
pub(super) fn drop_one(tx: &mut Tx<'_>, body: Body) -> Result<(), StoreError> {
    match body {
        Body::Empty => {}
        Body::Inline(id) => {
            if was_last_holder(tx, HoldersKey::Inline(id))? {
                tx.delete(&InlineKey(id));
            }
        }
        Body::Manifest(id) => manifest::drop_one(tx, id)?,
    }
    Ok(())
}

pub(super) fn add_holder(tx: &mut Tx<'_>, key: HoldersKey) -> Result<(), StoreError> {
    let more = tx.get(&key)?.unwrap_or(0);
    tx.put(&key, &(more + 1));
    Ok(())
}

/// Takes a holder away; answers whether there is none left.
pub(super) fn was_last_holder(tx: &mut Tx<'_>, key: HoldersKey) -> Result<bool, StoreError> {
    match tx.get(&key)? {
        None => return Ok(true),
        Some(more) if more > 1 => tx.put(&key, &(more - 1)),
        Some(_) => tx.delete(&key),
    }
    Ok(false)
}

/// The manifest of a body that has one.
pub(super) fn manifest_of(tx: &Tx<'_>, body: Body) -> Result<Option<(ManifestId, ManifestRow)>, StoreError> {
    match body {
        Body::Manifest(id) => Ok(Some((id, tx.expect(&ManifestKey(id))?))),
        Body::Empty | Body::Inline(_) => Ok(None),
    }
}
