//! What masters answer, and what files and buckets look like from outside.

use super::super::command::Done;
use super::super::heal::{Compared, Orders, Placement, ReferencePage};
use super::access::{Credential, Joined, KeyInfo};
use super::status::{Audited, MastersStatus, Status};
use crate::auth::{OpenTicket, ReadToken, WriteToken};
use crate::bucket::BucketSettings;
use crate::cors::CorsRule;
use crate::file::{Attributes, Checksum, ETags, FileInfo};
use crate::ids::{BucketId, ManifestId, NodeId, Stamp, TenantId, UploadId};
use crate::manifest::{Entry, ManifestHead};
use crate::membership::Membership;
use crate::name::{BucketName, Key};
use crate::version::VersionId;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a master answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MasterReply {
    /// A command was executed.
    Done(Done),
    /// The membership; `None`: the caller's is the newest.
    Membership(Option<Box<Membership>>),
    /// Tokens by node.
    WriteTokens {
        /// For every chunkserver that can be written to.
        tokens: Vec<(NodeId, WriteToken)>,
    },
    /// A bucket.
    Bucket(BucketInfo),
    /// Buckets.
    Buckets(Vec<BucketInfo>),
    /// A file, or that the client has it already.
    File(Box<Found<FileInfo>>),
    /// An opened file, or that the client has it already.
    Opened(Box<Found<Opened>>),
    /// A page of a manifest.
    Page(ManifestPage),
    /// Tokens for further nodes, in the order in which to ask them.
    ReadTokens(Vec<(NodeId, ReadToken)>),
    /// A page of a listing.
    Listed(Listed),
    /// A page of parts.
    Parts(PartsPage),
    /// A page of uploads.
    Uploads(UploadsPage),
    /// An access key with its secret; `None`: there is none.
    Credential(Option<Credential>),
    /// A new access key with its secret, shown this once.
    NewKey {
        /// Its id.
        access: String,
        /// Its secret.
        secret: String,
    },
    /// Access keys.
    Keys(Vec<KeyInfo>),
    /// A join token, shown this once.
    JoinToken(String),
    /// The identity of a new node.
    Joined(Joined),
    /// The newest membership revision, so that the node can ask for it.
    Heard {
        /// Which.
        revision: u64,
        /// What the leader wants the node to know.
        orders: Orders,
    },
    /// Where the chunks of a file are.
    Where(WherePage),
    /// The cluster in figures.
    Status(Box<Status>),
    /// A certificate, in PEM.
    Certificate {
        /// The authority's own, to be trusted.
        authority: String,
        /// The node's.
        certificate: String,
    },
    /// The masters' group.
    Masters(Box<MastersStatus>),
    /// How what a node holds differs from what it should.
    Compared(Compared),
    /// References of a slot.
    References(ReferencePage),
    /// Where chunks belong.
    Placement(Placement),
    /// A stretch of an audit.
    Audited(Audited),
    /// A backup is begun.
    BackupBegun {
        /// To ask for its pages by.
        id: u64,
        /// [`Header`](crate::backup::Header), encoded.
        header: Bytes,
    },
    /// A page of a backup.
    BackupPage(BackupPage),
    /// Rules for cross-origin access.
    Cors(Vec<CorsRule>),
    /// A page of versions.
    Versions(VersionsPage),
    /// Parts that a file was made of.
    FileParts(Box<FilePartsPage>),
    /// The policy of a bucket, if it has one, as it was given.
    Policy(Option<String>),
    /// It may, and this is whose bucket it is, if it is there.
    Allowed(Option<TenantId>),
}

/// A page of a backup, or what there is instead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BackupPage {
    /// Rows, and the BLAKE3 of these bytes.
    Rows(Bytes, [u8; 32]),
    /// There are no more.
    End,
    /// The master that began it leads no more, or has dropped it: begin again.
    Gone,
}

/// Something that is there, or that the condition says the client has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Found<T> {
    /// Here it is.
    Here(T),
    /// 304: the client's copy is current. Its facts, for the answer's headers.
    NotModified(Box<FileInfo>),
}

/// A bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketInfo {
    /// Its name.
    pub name: BucketName,
    /// Its number.
    pub id: BucketId,
    /// Its owner.
    pub tenant: TenantId,
    /// When it was made.
    pub created: Stamp,
    /// Copies of its chunks, now.
    pub replicas: u8,
    /// Whether that is the cluster's number and follows it.
    pub replicas_follow: bool,
    /// What is in it.
    pub usage: Usage,
    /// How it is configured.
    pub settings: BucketSettings,
}

/// Exact counts, changed in the entries that change what they count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Current files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Open multipart uploads.
    pub uploads: u64,
    /// Bytes of parts and segments that are no file yet.
    pub pending_bytes: u64,
    /// Earlier versions, and marks of removal.
    pub versions: u64,
    /// The bytes of earlier versions.
    pub version_bytes: u64,
}

/// A file and how to read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// The version.
    pub info: FileInfo,
    /// First byte of the range asked for, and one past its last. Equal for an empty file.
    pub range: (u64, u64),
    /// The bytes of the range, or where they are.
    pub content: Content,
}

/// Bytes of a version, or where they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// The whole body, whatever the range. Its BLAKE3 is checked by the reader (P3).
    Inline {
        /// The bytes.
        bytes: Bytes,
        /// Their hash.
        hash: [u8; 32],
    },
    /// Chunks.
    Chunks {
        /// To read on with.
        ticket: OpenTicket,
        /// The manifest without its entries.
        head: ManifestHead,
        /// The first entries of the range.
        page: ManifestPage,
    },
    /// The range asked for does not lie in the file: 416.
    Unsatisfiable,
}

/// Entries of a manifest, with what is needed to read them. Ranges of other manifests are resolved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestPage {
    /// In order, without gaps, the first one containing the offset asked for.
    pub entries: Vec<PlacedEntry>,
    /// Last millisecond since 1970 at which the tokens are good.
    pub expires_ms: u64,
}

/// A stretch of a file: a chunk or a hole, and where the chunk can be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacedEntry {
    /// Where in the file it starts, in bytes.
    pub offset: u64,
    /// What it is.
    pub entry: Entry,
    /// Nodes that should have the chunk, best first, with the right to read it there.
    pub replicas: Vec<(NodeId, ReadToken)>,
}

/// A page of a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Files, by key.
    pub files: Vec<ListedFile>,
    /// Folded prefixes, in order.
    pub prefixes: Vec<String>,
    /// Token of the next page; `None`: this is the last.
    pub next: Option<String>,
}

/// A file in a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedFile {
    /// Its key.
    pub key: Key,
    /// When it was committed.
    pub stamp: Stamp,
    /// Its length, in bytes.
    pub length: u64,
    /// What identifies its bytes.
    pub tags: ETags,
}

/// A page of versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionsPage {
    /// By key, the newest first.
    pub versions: Vec<Version>,
    /// Folded prefixes, in order.
    pub prefixes: Vec<String>,
    /// Where the next page goes on; `None`: this is the last.
    pub next: Option<(String, Option<VersionId>)>,
}

/// A version in a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Its key.
    pub key: Key,
    /// Its id.
    pub id: VersionId,
    /// When it was committed.
    pub stamp: Stamp,
    /// Whether it is the newest of its key.
    pub latest: bool,
    /// Its length, in bytes, and what identifies its bytes; `None`: it marks the removal of the file.
    pub file: Option<(u64, ETags)>,
}

/// Parts that a version of a file was made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilePartsPage {
    /// The version; its tag says how many parts there are.
    pub info: FileInfo,
    /// Their lengths in order, in bytes, from the part on that was asked for. None of a file that was not made of parts.
    pub lengths: Vec<u64>,
}

/// Parts of a multipart upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartsPage {
    /// In order of their numbers.
    pub parts: Vec<PartInfo>,
    /// Whether there are more.
    pub more: bool,
    /// The checksum asked for when the upload began: algorithm, and whether of the full object.
    pub checksum: Option<(String, bool)>,
    /// Of an upload that is appended to: the length of the whole, in bytes, and what will be stored with the file.
    pub appended: Option<(u64, Attributes)>,
}

/// A part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartInfo {
    /// Its number.
    pub number: u32,
    /// When it was committed.
    pub stamp: Stamp,
    /// Its length, in bytes.
    pub length: u64,
    /// MD5 of its bytes.
    pub md5: [u8; 16],
    /// Its verified checksums.
    pub checksums: BTreeMap<String, Checksum>,
}

/// Open multipart uploads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadsPage {
    /// By key, then by id.
    pub uploads: Vec<UploadInfo>,
    /// Folded prefixes.
    pub prefixes: Vec<String>,
    /// Key and upload to go on after; `None`: this is the last page.
    pub next: Option<(String, Option<UploadId>)>,
}

/// An open multipart upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadInfo {
    /// Its file's key.
    pub key: Key,
    /// Its id.
    pub upload: UploadId,
    /// When it began.
    pub begun: Stamp,
}

/// Where the chunks of a file are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WherePage {
    /// The version.
    pub info: FileInfo,
    /// Copies its bucket asks for.
    pub replicas: u8,
    /// Entries from the offset asked for; empty for an inline file.
    pub entries: Vec<WhereEntry>,
    /// Whether there are more.
    pub more: bool,
    /// Whether the body is kept by the masters.
    pub inline: bool,
    /// The manifest, if there is one.
    pub manifest: Option<ManifestId>,
}

/// Where a chunk is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhereEntry {
    /// Where in the file it starts, in bytes.
    pub offset: u64,
    /// What it is.
    pub entry: Entry,
    /// Its owners in the newest ring.
    pub owners: Vec<NodeId>,
    /// Nodes off the ring that are known to hold it.
    pub misplaced: Vec<NodeId>,
    /// For asking the nodes themselves.
    pub tokens: Vec<(NodeId, ReadToken)>,
}
