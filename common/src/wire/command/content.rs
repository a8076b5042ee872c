//! What commands carry: files, parts, copies, grants, keys.

use crate::auth::Receipt;
use crate::chunk::{ChunkAddress, Chunking};
use crate::file::{Attributes, Checksum, Condition, S3Tag};
use crate::ids::{Stamp, TenantId, UploadId};
use crate::manifest::{Entry, Root};
use crate::name::{BucketName, FilePath};
use crate::version::VersionId;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// A new version of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitFile {
    /// Which file.
    pub path: FilePath,
    /// Its bytes.
    pub content: NewContent,
    /// Root of its entries; checked against them.
    pub root: Root,
    /// Its length, in bytes; checked.
    pub length: u64,
    /// MD5, if a gateway computed it.
    pub tag: S3Tag,
    /// What is stored with it.
    pub attributes: Attributes,
    /// On the version it replaces.
    pub condition: Condition,
}

/// Bytes of a new version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NewContent {
    /// The bytes themselves, for files up to [`INLINE_MAX_BYTES`](crate::limits::INLINE_MAX_BYTES). Their root is that of one
    /// whole chunk (of none, if there are no bytes), so that it equals the root of the same bytes kept as a chunk.
    Inline(Bytes),
    /// Chunks that chunkservers hold.
    Chunks(NewChunks),
}

/// Chunks of a new version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewChunks {
    /// The staged upload that holds the full segments before `tail`.
    pub staging: Option<UploadId>,
    /// How the file was cut.
    pub chunking: Chunking,
    /// The entries after them: whole chunks, fewer than a full segment.
    pub tail: Vec<Entry>,
    /// For each different chunk in `tail`.
    pub receipts: Vec<ChunkReceipts>,
}

/// What chunkservers said about one chunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkReceipts {
    /// Which chunk.
    pub address: ChunkAddress,
    /// One from each node that holds it.
    pub receipts: Vec<Receipt>,
}

/// A copy by reference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyFile {
    /// Whose bytes.
    pub from: FilePath,
    /// Which version of it; `None`: the current one.
    pub from_version: Option<VersionId>,
    /// On the source.
    pub from_condition: Condition,
    /// The new version's file.
    pub to: FilePath,
    /// On the version that is replaced.
    pub condition: Condition,
    /// What is stored with the new version; `None`: what the source has.
    pub attributes: Option<Attributes>,
}

/// A multipart upload, named as S3 names it: its id counts for its own file only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MultipartRef {
    /// The file it will become.
    pub path: FilePath,
    /// Its id.
    pub upload: UploadId,
}

/// A part of a multipart upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitPart {
    /// The upload.
    pub upload: MultipartRef,
    /// Number of the part, 1 to 10,000.
    pub number: u32,
    /// Its bytes.
    pub content: NewContent,
    /// Root of its entries; checked.
    pub root: Root,
    /// Its length, in bytes; checked.
    pub length: u64,
    /// MD5 of its bytes.
    pub md5: [u8; 16],
    /// Its verified checksums, by algorithm.
    pub checksums: std::collections::BTreeMap<String, Checksum>,
}

/// The end of a multipart upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompleteMultipart {
    /// Which.
    pub upload: MultipartRef,
    /// Parts of the file in order: number and the ETag that the client was given, without quotes.
    pub parts: Vec<(u32, String)>,
    /// On the version it replaces.
    pub condition: Condition,
    /// Verified checksums of the whole, to be stored.
    pub checksums: std::collections::BTreeMap<String, Checksum>,
}

/// What an access key may do with the files of some buckets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// In which bucket; `None`: in all of the tenant.
    pub bucket: Option<BucketName>,
    /// Only keys that start with this, up to a `/`.
    pub prefix: String,
    /// What.
    pub rights: Rights,
}

/// Rights on files and buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Rights {
    /// Read files.
    pub read: bool,
    /// Write files.
    pub write: bool,
    /// List files.
    pub list: bool,
    /// Delete files.
    pub delete: bool,
    /// Make, remove and configure buckets.
    pub admin: bool,
}

impl Rights {
    /// All of them.
    pub const ALL: Rights = Rights { read: true, write: true, list: true, delete: true, admin: true };
}

/// An access key as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRecord {
    /// Its public id.
    pub access: String,
    /// Its name, for people.
    pub name: String,
    /// Its secret, sealed under the cluster key.
    #[serde(with = "serde_bytes")]
    pub sealed_secret: Vec<u8>,
    /// Whose buckets it sees.
    pub tenant: TenantId,
    /// Whether it may administer the cluster.
    pub cluster_admin: bool,
    /// What it may do.
    pub grants: Vec<Grant>,
    /// When it was made.
    pub created: Stamp,
    /// When it ends.
    pub expires: Option<Stamp>,
}
