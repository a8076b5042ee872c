//! Commands: everything that changes the masters' state. A log entry is a batch of them.

use crate::auth::Receipt;
use crate::bucket::{BucketChange, SettingsError, Tags};
use crate::chunk::{ChunkAddress, Chunking};
use crate::file::{Attributes, AttributesError, Checksum, Condition, ETags, S3Tag};
use crate::ids::{BootCount, BucketId, Epoch, NodeId, SessionId, Stamp, TenantId, UploadId, VolumeId, WindowId};
use crate::manifest::{Entry, ManifestError, Root};
use crate::membership::Roles;
use crate::name::{BucketName, FilePath, Key};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// A command and what makes its retry exact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// The conversation it belongs to; `None` for commands that open one or come from the leader itself.
    pub session: Option<SessionSequence>,
    /// What to do.
    pub command: Command,
}

/// Place of a command in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionSequence {
    /// Which session.
    pub session: SessionId,
    /// Number of the command, from 1. A second command with the same number gets the answer of the first; one below a
    /// `lowest` that was seen is [`Refusal::SessionEnded`]: its answer is forgotten, so it is never executed.
    pub sequence: u64,
    /// The client has answers for all numbers below this one; theirs are forgotten.
    pub lowest: u64,
}

/// Everything that changes the state. Variants are only ever appended; a node that meets one it does not know stops.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Starts a session that ends `ttl_ms` after its last renewal. Answer: [`Done::Session`].
    OpenSession {
        /// Life without renewal, in milliseconds.
        ttl_ms: u64,
        /// Who may use it. Set by the master that takes the call, whatever the client wrote.
        owner: super::master::Caller,
    },
    /// Prolongs a session. Answer: [`Done::Session`].
    RenewSession {
        /// Which.
        session: SessionId,
    },
    /// Ends a session and its windows. Answer: [`Done::Nothing`].
    EndSession {
        /// Which.
        session: SessionId,
    },
    /// Leader: ends those of these sessions whose time is over. Answer: [`Done::Nothing`].
    ExpireSessions {
        /// Candidates.
        sessions: Vec<SessionId>,
    },
    /// Opens an upload window in the session of the envelope. Answer: [`Done::Window`].
    OpenWindow,
    /// Closes a window of the session of the envelope. Answer: [`Done::Nothing`].
    CloseWindow {
        /// Which.
        window: WindowId,
    },
    /// Makes a bucket. Answer: [`Done::Bucket`]; of an existing one of the same tenant: [`Refusal::BucketExists`].
    CreateBucket {
        /// Its name.
        name: BucketName,
        /// Its owner.
        tenant: TenantId,
        /// Copies; `None`: the cluster's number, whatever it becomes.
        replicas: Option<u8>,
    },
    /// Removes an empty bucket. Answer: [`Done::Nothing`].
    DeleteBucket {
        /// Its name.
        name: BucketName,
    },
    /// Makes a new version of a file. Answer: [`Done::Committed`].
    CommitFile(Box<CommitFile>),
    /// Removes files, each by itself. Answer: [`Done::Deleted`].
    DeleteFiles {
        /// Where.
        bucket: BucketName,
        /// Which, at most 1,000, each with the condition for its removal.
        files: Vec<(Key, Condition)>,
    },
    /// Makes a new version of `to` with the bytes of `from`, by reference. Answer: [`Done::Committed`].
    CopyFile(Box<CopyFile>),
    /// Moves a file within a bucket in one step. Answer: [`Done::Committed`].
    RenameFile {
        /// Where it is.
        from: FilePath,
        /// Where it will be; must be in the same bucket.
        to: Key,
        /// On the version at `from`.
        from_condition: Condition,
        /// On the version at `to`.
        condition: Condition,
    },
    /// Begins an upload of more than one segment. Answer: [`Done::Upload`].
    BeginStaging {
        /// Where the chunks will belong.
        bucket: BucketName,
        /// How the file is cut.
        chunking: Chunking,
    },
    /// Appends a full segment to a staged upload; its chunks become references. Answer: [`Done::Appended`]. Appending a
    /// segment that is there already changes nothing if it is the same.
    AppendSegment {
        /// Which upload.
        staging: UploadId,
        /// Number of the segment, from 0.
        index: u32,
        /// Exactly [`SEGMENT_ENTRIES`](crate::limits::SEGMENT_ENTRIES) whole chunks.
        entries: Vec<Entry>,
        /// For each different chunk among them that the upload did not reference before.
        receipts: Vec<ChunkReceipts>,
    },
    /// Gives a staged upload up. Answer: [`Done::Nothing`], also if it is gone.
    AbortStaging {
        /// Which.
        staging: UploadId,
    },
    /// Begins a multipart upload. Answer: [`Done::Upload`].
    BeginMultipart {
        /// The file it will become.
        path: FilePath,
        /// What will be stored with it.
        attributes: Attributes,
        /// Name of the checksum algorithm asked for, as S3 spells it, and whether it is of the full object.
        checksum: Option<(String, bool)>,
    },
    /// Makes or replaces a part. Answer: [`Done::Part`].
    CommitPart(Box<CommitPart>),
    /// Makes a part of the bytes of a file, by reference. Answer: [`Done::Part`].
    CopyPart {
        /// The upload and its file.
        upload: MultipartRef,
        /// Number of the part.
        number: u32,
        /// Whose bytes.
        from: FilePath,
        /// On the source.
        from_condition: Condition,
        /// First byte and one past the last; `None`: all.
        range: Option<(u64, u64)>,
    },
    /// Makes the file of a multipart upload. Answer: [`Done::Committed`], also to a repetition within 24 hours.
    CompleteMultipart(Box<CompleteMultipart>),
    /// Gives a multipart upload up. Answer: [`Done::Nothing`], also to a repetition within 24 hours.
    AbortMultipart {
        /// Which.
        upload: MultipartRef,
    },
    /// Leader: lets go what has been in the release queue for long enough, up to a bounded number of rows. Also ends staged
    /// uploads whose time is over. Answer: [`Done::Released`].
    Release,
    /// Admits a node. Answer: [`Done::Node`].
    AddNode {
        /// Its name.
        name: String,
        /// Its failure domain.
        zone: String,
        /// Its capacity, in GiB.
        weight: u32,
        /// Where it will be reached.
        address: String,
        /// What it will do.
        roles: Roles,
        /// The token it came with, to be used up; `None` for the first node.
        join_token: Option<String>,
    },
    /// A node starts: raises its boot count and admits its new disks. Answer: [`Done::Boot`].
    Boot {
        /// Which node.
        node: NodeId,
        /// Where it is reached now.
        address: String,
        /// Capacity and zone it is configured with now.
        weight: u32,
        /// Its failure domain.
        zone: String,
        /// The disks it has under an identity, and the boot count stored on each.
        volumes: Vec<(VolumeId, BootCount)>,
        /// Labels of empty disks that ask for an identity.
        new_disks: Vec<String>,
    },
    /// A node stored its boot count on every disk and serves: from here on the ring may name it. Answer: [`Done::Nothing`].
    Serve {
        /// Which node.
        node: NodeId,
        /// Its run.
        boot: BootCount,
    },
    /// Takes a volume out for ever. Answer: [`Done::Nothing`].
    RetireVolume {
        /// Whose.
        node: NodeId,
        /// Which.
        volume: VolumeId,
        /// Why, for people.
        reason: String,
    },
    /// Changes a node's weight or zone. Answer: [`Done::Epoch`].
    SetNode {
        /// Which.
        node: NodeId,
        /// New capacity, in GiB.
        weight: Option<u32>,
        /// New failure domain.
        zone: Option<String>,
    },
    /// Leader: forgets rings before `epoch`, whose moves are finished. Answer: [`Done::Nothing`].
    RetireEpochs {
        /// The oldest ring that is kept.
        before: Epoch,
    },
    /// Sets the copies of buckets that ask for none. `rise`: whether it may still rise by itself. Answer: [`Done::Nothing`].
    SetReplicas {
        /// How many.
        replicas: u8,
        /// Whether it rises to 3 when three chunkservers serve.
        rise: bool,
    },
    /// Stores an access key. Answer: [`Done::Nothing`].
    CreateKey(Box<KeyRecord>),
    /// Removes an access key. Answer: [`Done::Nothing`].
    DeleteKey {
        /// Its id.
        access: String,
    },
    /// Allows one node to join. Answer: [`Done::Nothing`].
    CreateJoinToken {
        /// Its public part.
        id: String,
        /// BLAKE3 of its secret part.
        secret_hash: [u8; 32],
        /// When it ends.
        expires: Stamp,
    },
    /// The first command of a cluster. Answer: [`Done::Nothing`].
    Init {
        /// Its id.
        cluster: crate::ids::ClusterId,
        /// Copies of buckets that ask for none.
        replicas: u8,
        /// Whether that rises by itself.
        rise: bool,
    },
    /// Puts a node into the masters' group, or takes it out; the group follows by itself. Answer: [`Done::Nothing`].
    SetMaster {
        /// Which.
        node: NodeId,
        /// Whether it is to be in the group.
        master: bool,
    },
    /// Sets how many masters vote. Answer: [`Done::Nothing`].
    SetVoters {
        /// 1, 3 or 5.
        voters: u8,
    },
    /// Configures a bucket. Answer: [`Done::Nothing`].
    SetBucket {
        /// Which.
        name: BucketName,
        /// What is new.
        change: BucketChange,
    },
    /// Gives the current version of a file other labels; it stays the same version. Answer: [`Done::Nothing`].
    SetTags {
        /// Which file.
        path: FilePath,
        /// All of its labels from here on.
        tags: Tags,
    },
    /// Takes a node out of the ring, or back in; the node goes on serving what it has. Answer: [`Done::Epoch`].
    DrainNode {
        /// Which.
        node: NodeId,
        /// Back in.
        undo: bool,
    },
    /// Forgets a node for ever. It must not be in the ring. Answer: [`Done::Nothing`].
    RemoveNode {
        /// Which.
        node: NodeId,
    },
    /// Leader: these chunks were found with all of their owners at `epoch`: the rows that say they lie elsewhere go. Answer:
    /// [`Done::Nothing`].
    ForgetMisplaced {
        /// The ring whose owners have them; at any other, nothing is done.
        epoch: Epoch,
        /// Which, at most 1,000.
        chunks: Vec<ChunkAddress>,
    },
    /// Changes how collection goes. Answer: [`Done::Nothing`].
    SetCollection {
        /// Nothing is removed for want of a reference while this is so. `None`: as it was.
        paused: Option<bool>,
        /// Go on now, whatever it frees.
        approve: bool,
        /// How long references of what left its place are kept, in milliseconds. `None`: as it was.
        read_grace_ms: Option<u64>,
    },
}

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
}

/// A version that was made: the receipt of a write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Committed {
    /// Its version.
    pub stamp: Stamp,
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
    /// Files, open multipart uploads, or both are in it.
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
}
