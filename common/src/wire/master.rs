//! Calls to a master.

use super::command::{Command, Done, Grant, Refusal, Rights, SessionSequence};
use super::heal::{Compare, Compared, Orders, Placement, ReferencePage, Upkeep};
use crate::auth::{OpenTicket, ReadToken, WriteToken};
use crate::bucket::{BucketSettings, covers};
use crate::chunk::ChunkAddress;
use crate::error::ErrorKind;
use crate::file::{Checksum, Condition, ETags, FileInfo};
use crate::ids::{
    BootCount, BucketId, ClusterId, Generation, ManifestId, NodeId, Slot, Stamp, TenantId, UploadId, VolumeId, WindowId,
};
use crate::manifest::{Entry, ManifestHead};
use crate::membership::{Membership, Roles};
use crate::name::{BucketName, FilePath, Key};
use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A master, in this process or elsewhere. The one interface that clients, gateways and chunkservers call.
#[async_trait]
pub trait Master: Send + Sync {
    /// Asks for something in the name of `caller`, whom the connection (or the process itself) vouches for.
    ///
    /// An error of kind `Unknown` means that a command may or may not have been executed: send it again with the same
    /// session and sequence. Dropping the future has the same meaning.
    async fn call(&self, caller: &Caller, call: MasterCall) -> Result<MasterReply, MasterError>;
}

/// Who is on the other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Caller {
    /// Nobody proved anything.
    Anonymous,
    /// The holder of an access key.
    Key(String),
    /// A node of the cluster.
    Node(NodeId),
    /// A process that came with a join token (its id); may only join.
    Joiner(String),
}

/// In whose name a gateway asks. Other callers ask in their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Actor {
    /// A request without credentials.
    Anonymous,
    /// The holder of an access key, whose signature the gateway checked.
    Key(String),
}

/// A request with its actor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MasterCall {
    /// In whose name; only nodes with the gateway role may set it.
    pub actor: Option<Actor>,
    /// What.
    pub request: MasterRequest,
}

/// What a master can be asked. Variants are only ever appended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MasterRequest {
    /// Changes the state. Answer: [`MasterReply::Done`].
    Write {
        /// Place in the caller's session; `None` only for opening one.
        session: Option<SessionSequence>,
        /// What to do.
        command: Command,
    },
    /// The cluster's membership, if it is newer than `revision`. Answer: [`MasterReply::Membership`].
    Membership {
        /// What the caller has; 0 for nothing.
        revision: u64,
    },
    /// Tokens for writing under a window, one for every chunkserver. Answer: [`MasterReply::WriteTokens`].
    WriteTokens {
        /// An open window of the caller's session.
        window: WindowId,
        /// Where the chunks will belong.
        bucket: BucketName,
    },
    /// What is known about a bucket. Answer: [`MasterReply::Bucket`].
    Bucket {
        /// Which.
        name: BucketName,
    },
    /// Buckets of the actor's tenant, by name. Answer: [`MasterReply::Buckets`].
    Buckets,
    /// A file without its bytes. Answer: [`MasterReply::File`].
    Stat {
        /// Which.
        path: FilePath,
        /// On its current version.
        condition: Condition,
    },
    /// A file and how to read it, from `offset` on. Answer: [`MasterReply::Opened`].
    Open {
        /// Which.
        path: FilePath,
        /// On its current version.
        condition: Condition,
        /// Which bytes will be read.
        range: RangeWanted,
    },
    /// More of an opened file's manifest. Answer: [`MasterReply::Page`].
    Page {
        /// From the answer that opened it.
        ticket: OpenTicket,
        /// First byte that is wanted.
        offset: u64,
        /// One past the last byte that is wanted; a page may end before.
        end: u64,
    },
    /// Tokens to read a chunk of an opened file from other nodes than the page named. Answer: [`MasterReply::ReadTokens`].
    ReadTokens {
        /// From the answer that opened it.
        ticket: OpenTicket,
        /// Any byte of the entry whose chunk is wanted.
        offset: u64,
    },
    /// A page of a listing. Answer: [`MasterReply::Listed`].
    List(ListRequest),
    /// The parts of a multipart upload. Answer: [`MasterReply::Parts`].
    Parts {
        /// Its file.
        path: FilePath,
        /// Which.
        upload: UploadId,
        /// Parts after this number.
        after: u32,
        /// At most this many, up to 1,000 (0: all that a Complete may need, 10,000).
        limit: u32,
    },
    /// Open multipart uploads of a bucket, by key and then by id. Answer: [`MasterReply::Uploads`].
    Uploads {
        /// Where.
        bucket: BucketName,
        /// Only keys that start with this.
        prefix: String,
        /// Fold keys at this, after the prefix.
        delimiter: Option<String>,
        /// After this key, and after this upload of it if one is given.
        after: Option<(String, Option<UploadId>)>,
        /// At most this many, up to 1,000.
        limit: u32,
    },
    /// Gateways only: an access key with its secret, to check a signature. Answer: [`MasterReply::Credential`].
    Credential {
        /// Its id.
        access: String,
    },
    /// Makes an access key. Answer: [`MasterReply::NewKey`].
    CreateKey {
        /// Its name, for people.
        name: String,
        /// A given id and secret (import); `None`: made at random.
        given: Option<(String, String)>,
        /// Whether it may administer the cluster.
        cluster_admin: bool,
        /// What it may do.
        grants: Vec<Grant>,
        /// Whose buckets it sees; `None`: those of whoever makes it.
        tenant: Option<TenantId>,
        /// When it ends, in milliseconds since 1970; `None`: never.
        expires_ms: Option<u64>,
    },
    /// Removes an access key. Answer: [`MasterReply::Done`].
    DeleteKey {
        /// Its id.
        access: String,
    },
    /// All access keys of all tenants, without secrets. Answer: [`MasterReply::Keys`].
    Keys,
    /// Makes a join token. Answer: [`MasterReply::JoinToken`].
    CreateJoinToken,
    /// Admits the calling process as a node. Answer: [`MasterReply::Joined`].
    Join {
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
    },
    /// A node tells how it is. Answer: [`MasterReply::Heard`].
    Heartbeat(Heartbeat),
    /// Copies of each chunk of a file and where they are said to be. Answer: [`MasterReply::Where`].
    Where {
        /// Which file.
        path: FilePath,
        /// First byte that is wanted; a page has at most 1,000 entries.
        offset: u64,
    },
    /// The cluster in figures. Answer: [`MasterReply::Status`].
    Status,
    /// A node's TLS certificate by the cluster's own authority. Answer: [`MasterReply::Certificate`].
    Certificate {
        /// Host names and addresses that the node is reached under; at most
        /// [`CERTIFICATE_NAMES_MAX`](crate::limits::CERTIFICATE_NAMES_MAX).
        names: Vec<String>,
        /// Its public key: an uncompressed point of P-256.
        public_key: Bytes,
    },
    /// The masters' group, as its leader sees it. Answer: [`MasterReply::Masters`].
    Masters,
    /// Asks the leader to hand over to another master. Answer: [`MasterReply::Masters`], with the group before; whether it comes
    /// to that is seen by asking again.
    TransferLeader {
        /// Who is to lead.
        to: NodeId,
    },
    /// A chunkserver compares what it holds in a group of slots with what it should hold. Answer: [`MasterReply::Compared`].
    Compare(Compare),
    /// References of a slot, for chunkservers. Answer: [`MasterReply::References`].
    References {
        /// Of which slot.
        slot: Slot,
        /// Behind this chunk.
        after: Option<ChunkAddress>,
    },
    /// Where chunks belong, for the chunkserver that asks. Answer: [`MasterReply::Placement`].
    Placement {
        /// Which; at most [`PLACEMENT_MAX`](crate::limits::PLACEMENT_MAX).
        chunks: Vec<ChunkAddress>,
    },
    /// Takes a node out of the ring, or back in. Answer: [`MasterReply::Done`].
    Drain {
        /// Which.
        node: NodeId,
        /// Back in.
        undo: bool,
    },
    /// Forgets a node that holds nothing any more. Answer: [`MasterReply::Done`].
    RemoveNode {
        /// Which.
        node: NodeId,
        /// Even if it may still hold what nobody else has.
        force: bool,
    },
    /// Checks a stretch of the state against what nodes hold. Answer: [`MasterReply::Audited`].
    Audit {
        /// The first slot; with slot 0 the counters of the state are recomputed as well.
        from: Slot,
        /// Have every copy read back and hashed.
        deep: bool,
    },
}

/// Which bytes of a file a reader wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RangeWanted {
    /// All.
    All,
    /// From the first to before the second, cut at the end of the file.
    FromTo(u64, u64),
    /// From here to the end.
    From(u64),
    /// This many at the end.
    Last(u64),
}

impl RangeWanted {
    /// The bytes of a file of `length` that are wanted: start and end. `None`: not satisfiable (RFC 9110, 14.1.2).
    pub fn of(self, length: u64) -> Option<(u64, u64)> {
        match self {
            RangeWanted::All => Some((0, length)),
            RangeWanted::FromTo(start, end) if start < end && start < length => Some((start, end.min(length))),
            RangeWanted::From(start) if start < length => Some((start, length)),
            RangeWanted::Last(count) if count > 0 && length > 0 => Some((length.saturating_sub(count), length)),
            _ => None,
        }
    }
}

/// A listing: one bucket, one page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListRequest {
    /// Where.
    pub bucket: BucketName,
    /// Only keys that start with this.
    pub prefix: String,
    /// Fold keys at the first occurrence of this after the prefix.
    pub delimiter: Option<String>,
    /// Where to go on.
    pub after: ListAfter,
    /// At most this many files and prefixes together, up to 1,000.
    pub limit: u32,
}

/// Where a listing goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ListAfter {
    /// At the start.
    Start,
    /// Behind this name, as S3's `start-after` and v1 `marker` have it: a folded prefix that it lies in is shown again.
    Name(String),
    /// Behind this name and, if it is a folded prefix, behind all that is in it: as a page's `next` has it.
    Token(String),
}

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
}

/// What an audit found in a stretch of slots.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Audited {
    /// The slot to go on with; `None`: all is done.
    pub next: Option<Slot>,
    /// What is wrong; at most [`FINDINGS_MAX`](crate::limits::FINDINGS_MAX).
    pub findings: Vec<Finding>,
    /// Findings beyond those.
    pub more_findings: u64,
    /// Referenced chunks that were looked at.
    pub chunks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Copies of them that are where they belong.
    pub copies: u64,
    /// Copies that nothing refers to, and their bytes, by how long ago they were touched: less than an hour, a day, longer.
    pub unreferenced: [(u64, u64); 3],
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Finding {
    /// A counter or a row of the state is not what recomputing it gives. In words.
    State(String),
    /// A node did not answer, so nothing is known about its copies.
    Silent(NodeId),
    /// Fewer of its owners have a chunk than should.
    Short {
        /// Which chunk.
        address: ChunkAddress,
        /// Copies that are wanted.
        wanted: u8,
        /// Owners that have it.
        holders: Vec<NodeId>,
        /// Owners that do not, or whose copy is bad.
        without: Vec<NodeId>,
    },
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

/// Parts of a multipart upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartsPage {
    /// In order of their numbers.
    pub parts: Vec<PartInfo>,
    /// Whether there are more.
    pub more: bool,
    /// The checksum asked for when the upload began: algorithm, and whether of the full object.
    pub checksum: Option<(String, bool)>,
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

/// An access key with its secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// Its public part.
    pub key: KeyInfo,
    /// Its secret.
    pub secret: String,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential").field("key", &self.key).field("secret", &"…").finish()
    }
}

/// An access key without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyInfo {
    /// Its id.
    pub access: String,
    /// Its name, for people.
    pub name: String,
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

impl KeyInfo {
    /// Whether the key may do something with `key` in `bucket`; without a key: with the bucket as a whole, or with any key
    /// in it for listings below `prefix`.
    pub fn allows(&self, bucket: &BucketName, key: Option<&str>, right: impl Fn(&Rights) -> bool) -> bool {
        self.grants.iter().any(|grant| {
            let in_bucket = grant.bucket.as_ref().is_none_or(|granted| granted == bucket);
            let below = match key {
                Some(key) => covers(&grant.prefix, key),
                None => grant.prefix.is_empty(),
            };
            in_bucket && below && right(&grant.rights)
        })
    }
}

/// Identity of a new node.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined {
    /// Which cluster it is in.
    pub cluster: ClusterId,
    /// Which generation of it.
    pub generation: Generation,
    /// Its id.
    pub node: NodeId,
    /// Its key, sealed under the secret part of its join token.
    #[serde(with = "serde_bytes")]
    pub sealed_key: Vec<u8>,
    /// For a master: the cluster's key, sealed in the same way.
    pub sealed_cluster_key: Option<Vec<u8>>,
    /// The cluster that it joined.
    pub membership: Box<Membership>,
}

impl std::fmt::Debug for Joined {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Joined").field("cluster", &self.cluster).field("node", &self.node).finish_non_exhaustive()
    }
}

/// How a node is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// In which run.
    pub boot: BootCount,
    /// Its disks.
    pub volumes: Vec<VolumeReport>,
    /// How far it is with its upkeep.
    pub upkeep: Upkeep,
}

/// How a volume is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeReport {
    /// Which.
    pub volume: VolumeId,
    /// Its label, for people.
    pub label: String,
    /// What it may hold, in bytes.
    pub capacity_bytes: u64,
    /// What its packs hold, in bytes.
    pub used_bytes: u64,
    /// What it can still take, in bytes.
    pub free_bytes: u64,
    /// Chunks it holds.
    pub chunks: u64,
    /// Damaged records it found since it started.
    pub damaged: u64,
    /// Why it takes no more, if it does not.
    pub fault: Option<String>,
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

/// The cluster in figures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Membership, with all nodes.
    pub membership: Membership,
    /// What each chunkserver last said, and how long ago, in milliseconds.
    pub heartbeats: BTreeMap<NodeId, (u64, Heartbeat)>,
    /// All buckets together.
    pub usage: Usage,
    /// How many buckets.
    pub buckets: u64,
    /// References to chunks that no version needs and that wait in the release queue: manifests.
    pub releasing: u64,
    /// Chunks known to lie off their owners.
    pub misplaced: u64,
    /// Stamp of the newest applied command.
    pub stamp: Stamp,
    /// Raft: term, index of the last applied entry, id of the leader.
    pub term: u64,
    /// Index of the last applied log entry.
    pub applied: u64,
    /// Who leads.
    pub leader: Option<NodeId>,
    /// Lines about what needs attention.
    pub alarms: Vec<String>,
    /// Whether collection is paused, when it was last told to go on whatever it frees, and how long references of what left its
    /// place are kept, in milliseconds.
    pub collect: (bool, Stamp, u64),
    /// Log entries and log fsyncs since this master started.
    pub entries: u64,
    /// Commands applied since this master started.
    pub commands: u64,
}

/// The masters' group, as its leader sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MastersStatus {
    /// Who leads.
    pub leader: NodeId,
    /// In which term.
    pub term: u64,
    /// How many are to vote, where there are so many.
    pub voters_wanted: u8,
    /// Index of the last entry of its log.
    pub last: u64,
    /// Whether the group is what the membership asks for.
    pub settled: bool,
    /// By node. Nodes that are to become members, and those that are to leave, are here as well.
    pub members: Vec<MasterMember>,
}

/// A member of the masters' group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MasterMember {
    /// Which node.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// Where it is reached.
    pub address: String,
    /// What it does in the group.
    pub role: MasterRole,
    /// Index of the last entry that it is known to have on disk.
    pub matched: u64,
    /// Whether the leader heard from it lately.
    pub active: bool,
}

/// What a master does in the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MasterRole {
    /// It leads.
    Leader,
    /// It votes.
    Voter,
    /// It follows without a vote.
    Learner,
    /// It is to become a member.
    Waiting,
}

/// Why a master did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum MasterError {
    /// The state says no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The actor may not do this.
    #[error("access denied")]
    Denied,
    /// The request contradicts itself.
    #[error("bad request: {0}")]
    BadRequest(String),
    /// The ticket or token that came with the request is not good (any more).
    #[error("the ticket is not valid or has expired")]
    BadTicket,
    /// Another master leads; nothing was done.
    #[error("this master does not lead")]
    NotLeader {
        /// Base URL of the one that does, if known.
        leader: Option<String>,
    },
    /// No master could be reached or leads now; nothing was done.
    #[error("no master can serve now: {0}")]
    Unavailable(String),
    /// Too much waits already; nothing was done.
    #[error("the master is overloaded; try again")]
    Overloaded,
    /// The command was sent and no answer came.
    #[error("no answer came: the command may or may not have been executed")]
    Unknown,
    /// A broken invariant of ours.
    #[error("internal error: {0}")]
    Bug(String),
}

impl MasterError {
    /// What the caller can do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            MasterError::Refused(refusal) => refusal.kind(),
            MasterError::Denied => ErrorKind::Denied,
            MasterError::BadRequest(_) | MasterError::BadTicket => ErrorKind::Invalid,
            MasterError::NotLeader { .. } | MasterError::Unavailable(_) | MasterError::Overloaded => {
                ErrorKind::Unavailable
            }
            MasterError::Unknown => ErrorKind::Unknown,
            MasterError::Bug(_) => ErrorKind::Bug,
        }
    }
}

impl Refusal {
    /// What the caller can do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Refusal::SessionEnded => ErrorKind::Unknown,
            Refusal::SessionCrowded
            | Refusal::TooManySessions
            | Refusal::ShortOfQuorum { .. }
            | Refusal::WindowEnded
            | Refusal::TooManyEpochs => ErrorKind::Unavailable,
            Refusal::NoSuchBucket(_)
            | Refusal::NoSuchFile(_)
            | Refusal::NoSuchUpload(_)
            | Refusal::NoSuchNode(_)
            | Refusal::NoSuchVolume { .. }
            | Refusal::NoSuchKey(_) => ErrorKind::NotFound,
            Refusal::BucketExists { .. }
            | Refusal::BucketNotEmpty(_)
            | Refusal::ConditionFailed { .. }
            | Refusal::NodeExists(_)
            | Refusal::KeyExists(_)
            | Refusal::StaleBoot { .. }
            | Refusal::StaleVolume { .. }
            | Refusal::TooFewNodes { .. }
            | Refusal::NodeInRing(_)
            | Refusal::AlreadyInitialised => ErrorKind::Conflict,
            Refusal::TooManyBuckets | Refusal::QuotaBytes { .. } | Refusal::QuotaFiles { .. } => ErrorKind::NoSpace,
            Refusal::BadJoinToken => ErrorKind::Denied,
            Refusal::WrongDomain
            | Refusal::BadManifest(_)
            | Refusal::RootMismatch
            | Refusal::BadAttributes(_)
            | Refusal::BadSettings(_)
            | Refusal::InlineTooLarge { .. }
            | Refusal::SegmentOrder { .. }
            | Refusal::InvalidPart(_)
            | Refusal::InvalidPartOrder(_)
            | Refusal::PartTooSmall { .. }
            | Refusal::InvalidRange { .. }
            | Refusal::Unsupported(_)
            | Refusal::SourceInline(_)
            | Refusal::Invalid(_) => ErrorKind::Invalid,
        }
    }
}

/// Which volume of which node, for reports.
pub type VolumeRef = (NodeId, VolumeId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_resolve_as_rfc_9110_says() {
        assert_eq!(RangeWanted::All.of(0), Some((0, 0)));
        assert_eq!(RangeWanted::FromTo(0, 5).of(3), Some((0, 3)));
        assert_eq!(RangeWanted::FromTo(2, 3).of(3), Some((2, 3)));
        assert_eq!(RangeWanted::FromTo(3, 4).of(3), None);
        assert_eq!(RangeWanted::FromTo(2, 2).of(3), None);
        assert_eq!(RangeWanted::From(3).of(3), None);
        assert_eq!(RangeWanted::Last(5).of(3), Some((0, 3)));
        assert_eq!(RangeWanted::Last(0).of(3), None);
        assert_eq!(RangeWanted::Last(1).of(0), None);
    }

    #[test]
    fn grants_are_compared_by_component() {
        let grant = |bucket: Option<&str>, prefix: &str| Grant {
            bucket: bucket.map(|name| BucketName::new(name).unwrap()),
            prefix: prefix.to_owned(),
            rights: Rights { read: true, ..Rights::default() },
        };
        let key = |grants| KeyInfo {
            access: String::new(),
            name: String::new(),
            tenant: TenantId(1),
            cluster_admin: false,
            grants,
            created: Stamp(0),
            expires: None,
        };
        let bucket = BucketName::new("one").unwrap();
        let reads = |info: &KeyInfo, path: &str| info.allows(&bucket, Some(path), |rights| rights.read);
        let tenant1 = key(vec![grant(Some("one"), "tenant1")]);
        assert!(reads(&tenant1, "tenant1") && reads(&tenant1, "tenant1/x"));
        assert!(!reads(&tenant1, "tenant1234/x") && !reads(&tenant1, "tenant") && !reads(&tenant1, ""));
        assert!(!tenant1.allows(&bucket, Some("tenant1/x"), |rights| rights.write));
        assert!(!tenant1.allows(&bucket, None, |rights| rights.read));
        assert!(reads(&key(vec![grant(None, "")]), "anything"));
        assert!(!reads(&key(vec![grant(Some("two"), "")]), "anything"));
        assert!(reads(&key(vec![grant(None, "a/")]), "a/b") && !reads(&key(vec![grant(None, "a/")]), "a"));
        assert!(!reads(&key(Vec::new()), "anything"));
    }
}
