//! What becomes of a command.

use crate::bucket::SettingsError;
use crate::chunk::ChunkAddress;
use crate::file::{AttributesError, ETags};
use crate::ids::{BootCount, BucketId, Epoch, NodeId, SessionId, Stamp, UploadId, VolumeId, WindowId};
use crate::manifest::ManifestError;
use crate::name::{BucketName, FilePath};
use crate::policy::PolicyError;
use crate::version::VersionId;
use serde::{Deserialize, Serialize};

/// What applying a command came to. Kept in the session until the client has it.
pub type Outcome = Result<Done, Refusal>;

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Done {
    /// Nothing to tell.
    Nothing,
    /// A session is open until `expires`.
    Session {
        /// Which.
        session: SessionId,
        /// When it ends without renewal.
        expires: Stamp,
    },
    /// A window is open until `expires`.
    Window {
        /// Which.
        window: WindowId,
        /// When it ends.
        expires: Stamp,
    },
    /// A bucket was made.
    Bucket {
        /// Its number.
        bucket: BucketId,
    },
    /// A version was made.
    Committed(Committed),
    /// Files were removed or not, in the order asked for.
    Deleted(Vec<Deleted>),
    /// An upload was begun.
    Upload(UploadId),
    /// Segments a staged upload has now.
    Appended {
        /// How many.
        segments: u32,
    },
    /// A part was made.
    Part {
        /// Its tag.
        md5: [u8; 16],
        /// Its length, in bytes.
        length: u64,
        /// When.
        stamp: Stamp,
    },
    /// Rows were let go.
    Released {
        /// How many.
        rows: u64,
        /// Whether more is due now.
        more: bool,
    },
    /// A node was admitted.
    Node(NodeId),
    /// A node may start.
    Boot {
        /// Its run.
        boot: BootCount,
        /// Identities of its new disks, in the order asked for.
        new_volumes: Vec<VolumeId>,
        /// Stamp of this entry: no older window can be without its touches on a disk that was not shut down cleanly, if every
        /// chunk there counts as touched now.
        stamp: Stamp,
    },
    /// A ring was made.
    Epoch(Epoch),
    /// Versions ended by the rules of a lifecycle.
    Expired {
        /// How many.
        versions: u64,
    },
}

/// A version that was made: the receipt of a write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Committed {
    /// When.
    pub stamp: Stamp,
    /// Its id, in a bucket that keeps versions or kept some.
    pub version: Option<VersionId>,
    /// Its length, in bytes.
    pub length: u64,
    /// What identifies its bytes.
    pub tags: ETags,
    /// Durable copies of its least copied chunk when it was committed (inline: voters that hold the log entry).
    pub replicas_durable: u8,
    /// Whether it replaced another version.
    pub replaced: bool,
}

/// What became of one file of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Deleted {
    /// It is gone.
    Removed,
    /// It was not there.
    Absent,
    /// Its condition did not hold.
    ConditionFailed,
    /// It is not shown any more: a mark with this id lies over its versions.
    Marked(VersionId),
    /// It was such a mark, and is gone.
    MarkRemoved,
    /// It is locked.
    Locked,
}

/// Why a command changed nothing. Deterministic: part of the state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Refusal {
    /// The session has ended; whether an earlier try of this command was executed is not known.
    #[error("the session has ended; whether the command was executed is not known")]
    SessionEnded,
    /// The session's owner runs ahead of its own `lowest`.
    #[error("more than {} commands of the session are unanswered", crate::limits::SESSION_UNANSWERED_MAX)]
    SessionCrowded,
    /// No such bucket.
    #[error("there is no bucket {0}")]
    NoSuchBucket(BucketName),
    /// The name is taken.
    #[error("bucket {name} exists already")]
    BucketExists {
        /// Which.
        name: BucketName,
        /// By the tenant that asked.
        same_tenant: bool,
    },
    /// Files, earlier versions or open multipart uploads are in it.
    #[error("bucket {0} is not empty")]
    BucketNotEmpty(BucketName),
    /// The tenant has as many buckets as it may.
    #[error("the tenant has {} buckets already", crate::limits::BUCKETS_MAX)]
    TooManyBuckets,
    /// No such file.
    #[error("there is no file {0}")]
    NoSuchFile(FilePath),
    /// A condition on the current version does not hold.
    #[error("the condition on {path} does not hold")]
    ConditionFailed {
        /// Of which file.
        path: FilePath,
    },
    /// These chunks lack valid receipts from a write quorum.
    #[error("{} chunks are not durable on a write quorum", chunks.len())]
    ShortOfQuorum {
        /// Which; touch or send them again.
        chunks: Vec<ChunkAddress>,
    },
    /// The window of a receipt is closed or was never this session's.
    #[error("the upload window has ended")]
    WindowEnded,
    /// Chunks of another domain than the bucket's.
    #[error("the chunks belong to another domain than the bucket")]
    WrongDomain,
    /// The entries are not a manifest.
    #[error(transparent)]
    BadManifest(#[from] ManifestError),
    /// The root or the length stated is not that of the entries.
    #[error("the root or the length stated is not that of the entries")]
    RootMismatch,
    /// Attributes beyond their limits.
    #[error(transparent)]
    BadAttributes(#[from] AttributesError),
    /// Inline bytes beyond the limit.
    #[error("{length} bytes are too many to keep inline")]
    InlineTooLarge {
        /// How many.
        length: u64,
    },
    /// No such staged or multipart upload (any more).
    #[error("there is no upload {0}")]
    NoSuchUpload(UploadId),
    /// A segment does not follow the last one.
    #[error("the upload has {have} segments; segment {given} does not follow or differs")]
    SegmentOrder {
        /// Segments it has.
        have: u32,
        /// The one given.
        given: u32,
    },
    /// A part that was named was not uploaded, or has another tag.
    #[error("part {0} was not uploaded or has another tag")]
    InvalidPart(u32),
    /// Part numbers must grow, and lie in 1 to 10,000.
    #[error("part {0} is out of order or out of range")]
    InvalidPartOrder(u32),
    /// A part before the last is too small.
    #[error("part {number} has {length} bytes; all but the last need {}", crate::limits::PART_MIN_BYTES)]
    PartTooSmall {
        /// Which.
        number: u32,
        /// Its length, in bytes.
        length: u64,
    },
    /// The range of a copied part does not lie in its source.
    #[error("the range does not lie in the source of {length} bytes")]
    InvalidRange {
        /// Length of the source, in bytes.
        length: u64,
    },
    /// More than a batch may have, or an atomic rename across buckets.
    #[error("{0}")]
    Unsupported(String),
    /// No such node, or it was removed.
    #[error("there is no node {0}")]
    NoSuchNode(NodeId),
    /// The name is taken by a node that is not removed.
    #[error("a node named {0} exists already")]
    NodeExists(String),
    /// The disk's boot count is behind that of its node: a clone or an old image.
    #[error("volume {volume} holds boot count {stored}, its node is at {current}: it is a clone or an old image")]
    StaleVolume {
        /// Which.
        volume: VolumeId,
        /// What is stored on it.
        stored: BootCount,
        /// What the node served with last.
        current: BootCount,
    },
    /// The volume is not the node's, or was retired.
    #[error("volume {volume} is not in service on node {node}")]
    NoSuchVolume {
        /// Whose.
        node: NodeId,
        /// Which.
        volume: VolumeId,
    },
    /// A run of a node that is not its current one.
    #[error("node {node} is in another run than {boot}")]
    StaleBoot {
        /// Which node.
        node: NodeId,
        /// The run stated.
        boot: BootCount,
    },
    /// Earlier epochs are unfinished; the change must wait.
    #[error("{} earlier rings are unfinished; wait until data has moved", crate::limits::EPOCHS_KEPT_MAX)]
    TooManyEpochs,
    /// Without this node there would be fewer nodes, or fewer zones, than copies need.
    #[error("without that node {left} nodes would be left in the ring, and {needed} copies are wanted")]
    TooFewNodes {
        /// Nodes that would be left.
        left: usize,
        /// Copies that are wanted.
        needed: u8,
    },
    /// The node is still in the ring.
    #[error("node {0} is in the ring; drain it first")]
    NodeInRing(NodeId),
    /// The token is unknown, used, or over.
    #[error("the join token is unknown, used or expired")]
    BadJoinToken,
    /// No such access key.
    #[error("there is no access key {0}")]
    NoSuchKey(String),
    /// The id is taken.
    #[error("access key {0} exists already")]
    KeyExists(String),
    /// The cluster was made already, or not yet.
    #[error("the cluster is initialised already")]
    AlreadyInitialised,
    /// A value out of its range.
    #[error("{0}")]
    Invalid(String),
    /// The cluster has as many sessions as it may; some will end.
    #[error("the cluster has {} sessions already", crate::limits::SESSIONS_MAX)]
    TooManySessions,
    /// The bytes of the source are kept inline, which a part cannot refer to: send them as a part instead.
    #[error("{0} is kept inline; a part cannot refer to it, its bytes must be sent")]
    SourceInline(FilePath),
    /// The bucket would hold more bytes than it may.
    #[error("the quota of bucket {bucket} is {limit} bytes, which this would exceed")]
    QuotaBytes {
        /// Which.
        bucket: BucketId,
        /// How much it may hold, in bytes.
        limit: u64,
    },
    /// The bucket would hold more files than it may.
    #[error("the quota of bucket {bucket} is {limit} files, which this would exceed")]
    QuotaFiles {
        /// Which.
        bucket: BucketId,
        /// How many it may hold.
        limit: u64,
    },
    /// Settings beyond their limits.
    #[error(transparent)]
    BadSettings(#[from] SettingsError),
    /// No such version.
    #[error("{path} has no version {version}")]
    NoSuchVersion {
        /// Of which file.
        path: FilePath,
        /// Which.
        version: VersionId,
    },
    /// No such file any more: the newest of its versions marks its removal.
    #[error("there is no file {path}")]
    FileRemoved {
        /// Which file.
        path: FilePath,
        /// The mark.
        mark: VersionId,
    },
    /// The version says only that the file was removed.
    #[error("version {version} of {path} marks its removal; it has no bytes")]
    RemovalMark {
        /// Of which file.
        path: FilePath,
        /// Which.
        version: VersionId,
    },
    /// The lock of a version does not allow it.
    #[error("{path} is locked, and its lock does not allow that")]
    Locked {
        /// Which file.
        path: FilePath,
    },
    /// The bucket has no Object Lock.
    #[error("the versions of bucket {0} cannot be locked: it has no Object Lock")]
    NoObjectLock(BucketName),
    /// A lock that is over already.
    #[error("a lock ends in the future")]
    LockInThePast,
    /// A bucket with Object Lock keeps its versions; and only a bucket that keeps versions can have it.
    #[error("a bucket with Object Lock keeps every version, and only a bucket that keeps versions can have it")]
    LockNeedsVersions,
    /// A policy that cannot be kept.
    #[error(transparent)]
    BadPolicy(#[from] PolicyError),
}
