//! Commands: everything that changes the masters' state. A log entry is a batch of them.

mod content;
mod outcome;

pub use content::{
    ChunkReceipts, CommitFile, CommitPart, CompleteMultipart, CopyFile, Grant, KeyRecord, MultipartRef, NewChunks,
    NewContent, Rights,
};
pub use outcome::{Committed, Deleted, Done, Outcome, Refusal};

use crate::bucket::{BucketChange, Tags};
use crate::chunk::{ChunkAddress, Chunking};
use crate::file::{Attributes, Condition};
use crate::ids::{BootCount, Epoch, NodeId, SessionId, Stamp, TenantId, UploadId, VolumeId, WindowId};
use crate::manifest::Entry;
use crate::membership::Roles;
use crate::name::{BucketName, FilePath, Key};
use crate::version::{LockChange, VersionId};
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
        /// Whether it keeps versions that can be locked, from the start.
        lock: bool,
    },
    /// Removes an empty bucket. Answer: [`Done::Nothing`].
    DeleteBucket {
        /// Its name.
        name: BucketName,
    },
    /// Makes a new version of a file. Answer: [`Done::Committed`].
    CommitFile(Box<CommitFile>),
    /// Removes files, each by itself; where the bucket keeps versions, a mark is put over the current one instead. Answer:
    /// [`Done::Deleted`].
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
        /// Of an upload that is appended to: the length of the whole, in bytes. Its parts, of any size, come one after the
        /// other and stay as they are, so that whoever sends the next knows where it begins; it becomes a file only at this
        /// length, and ends by itself after [`APPENDED_UPLOAD_MS`](crate::limits::APPENDED_UPLOAD_MS).
        length: Option<u64>,
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
        /// Which version of it; `None`: the current one.
        from_version: Option<VersionId>,
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
    /// Gives a version of a file other labels; it stays the same version. Answer: [`Done::Nothing`].
    SetTags {
        /// Which file.
        path: FilePath,
        /// Which version; `None`: the current one.
        version: Option<VersionId>,
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
    /// Changes how chunks move when the ring has changed. Answer: [`Done::Nothing`].
    SetRebalance {
        /// Nothing moves while this is so; what is lost is made up for all the same. `None`: as it was.
        paused: Option<bool>,
        /// Bytes a second that each node fetches; zero: as it is configured. `None`: as it was.
        bytes_per_second: Option<u64>,
    },
    /// Removes versions for good, each by itself. What was the version before becomes the current one. Answer:
    /// [`Done::Deleted`].
    DeleteVersions {
        /// Where.
        bucket: BucketName,
        /// Which, at most 1,000, each with the condition for its removal.
        versions: Vec<(Key, VersionId, Condition)>,
        /// Also those that are locked in governance mode.
        bypass: bool,
    },
    /// Changes what keeps a version from being removed. Answer: [`Done::Nothing`].
    SetLock {
        /// Which file.
        path: FilePath,
        /// Which version; `None`: the current one.
        version: Option<VersionId>,
        /// What is new.
        change: LockChange,
        /// Also what governance mode would refuse.
        bypass: bool,
    },
    /// Leader: ends what the rules of the bucket's lifecycle end now, of these keys and uploads. Answer: [`Done::Expired`].
    Expire {
        /// Where.
        bucket: BucketName,
        /// Of which keys, at most 1,000.
        keys: Vec<Key>,
        /// Of which uploads, at most 1,000.
        uploads: Vec<(Key, UploadId)>,
    },
    /// Gives a bucket a policy, or takes it off. Answer: [`Done::Nothing`].
    SetPolicy {
        /// Which.
        bucket: BucketName,
        /// The policy, as it is to be shown; `None`: no more.
        policy: Option<String>,
    },
}
