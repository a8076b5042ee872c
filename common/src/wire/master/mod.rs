//! Calls to a master.

mod access;
mod error;
mod reply;
mod status;

use super::command::{Command, Grant, Rights, SessionSequence};
use super::heal::Compare;
use crate::auth::OpenTicket;
use crate::chunk::ChunkAddress;
use crate::file::Condition;
use crate::ids::{NodeId, Slot, TenantId, UploadId, WindowId};
use crate::limits::{AUDIT_ANSWER_MS, MASTER_ANSWER_MS};
use crate::membership::Roles;
use crate::name::{BucketName, FilePath};
use crate::policy::{Action, Fact};
use crate::version::VersionId;
use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use access::{Credential, Joined, KeyInfo};
pub use error::MasterError;
pub use reply::{
    BackupPage, BucketInfo, Content, FilePartsPage, Found, Listed, ListedFile, ManifestPage, MasterReply, Opened,
    PartInfo, PartsPage, PlacedEntry, UploadInfo, UploadsPage, Usage, Version, VersionsPage, WhereEntry, WherePage,
};
pub use status::{Audited, Finding, Heartbeat, MasterMember, MasterRole, MastersStatus, Status, VolumeReport};

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
    /// Somebody, with what policies of buckets can ask about.
    Asking(Box<Asking>),
}

/// Who asks a gateway, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asking {
    /// The access key whose signature the gateway checked; `None`: nobody.
    pub access: Option<String>,
    /// What the request is in the words of policies. What it does not say of a call of its own follows from the call.
    pub action: Option<Action>,
    /// Whose the bucket must be; of any other's, everything is refused.
    pub owner: Option<TenantId>,
    /// What is known about the request.
    pub facts: Vec<(Fact, String)>,
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
        /// Which version; `None`: the current one.
        version: Option<VersionId>,
        /// On that version.
        condition: Condition,
    },
    /// A file and how to read it, from `offset` on. Answer: [`MasterReply::Opened`].
    Open {
        /// Which.
        path: FilePath,
        /// Which version; `None`: the current one.
        version: Option<VersionId>,
        /// On that version.
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
    /// Begins a backup of the whole state as it is now. Answer: [`MasterReply::BackupBegun`].
    BeginBackup,
    /// A page of a backup, in order from 0 on; the last one may be asked for again. Answer: [`MasterReply::BackupPage`].
    BackupPage {
        /// From the answer that began it.
        id: u64,
        /// Which page.
        page: u64,
    },
    /// Gateways only: the rules for cross-origin access of a bucket; none, if it is not there. Answer: [`MasterReply::Cors`].
    Cors {
        /// Which bucket.
        bucket: BucketName,
    },
    /// A page of all versions of files. Answer: [`MasterReply::Versions`].
    ListVersions(ListVersions),
    /// The lengths of the parts that a file was made of. Answer: [`MasterReply::FileParts`].
    FileParts {
        /// Which file.
        path: FilePath,
        /// Which version; `None`: the current one.
        version: Option<VersionId>,
        /// Parts after this number.
        after: u32,
        /// At most this many, up to 1,000.
        limit: u32,
    },
    /// The policy of a bucket, as it was given. Answer: [`MasterReply::Policy`].
    Policy {
        /// Which bucket.
        bucket: BucketName,
    },
    /// Whether the actor may do something. Answer: [`MasterReply::Allowed`], or [`MasterError::Denied`].
    May {
        /// In which bucket.
        bucket: BucketName,
        /// With this file, or below this prefix; `None`: with the bucket itself.
        key: Option<String>,
        /// What.
        right: Right,
        /// The same in the words of policies.
        action: Action,
    },
}

/// A right on files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Right {
    /// To read a file.
    Read,
    /// To write one.
    Write,
    /// To list files.
    List,
    /// To delete one.
    Delete,
    /// To make, remove and configure a bucket.
    Admin,
}

impl Right {
    /// Whether it is one of `rights`.
    pub fn of(self, rights: &Rights) -> bool {
        match self {
            Right::Read => rights.read,
            Right::Write => rights.write,
            Right::List => rights.list,
            Right::Delete => rights.delete,
            Right::Admin => rights.admin,
        }
    }
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
    /// The part with this number, from 1, of a file that was made of parts. Any other file is its own first part.
    Part(u32),
}

impl RangeWanted {
    /// The bytes of a file of `length`, not made of parts, that are wanted: start and end. `None`: not satisfiable (RFC 9110,
    /// 14.1.2).
    pub fn of(self, length: u64) -> Option<(u64, u64)> {
        match self {
            RangeWanted::All | RangeWanted::Part(1) => Some((0, length)),
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

/// A listing of versions: one bucket, one page; by key, the newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListVersions {
    /// Where.
    pub bucket: BucketName,
    /// Only keys that start with this.
    pub prefix: String,
    /// Fold keys at the first occurrence of this after the prefix.
    pub delimiter: Option<String>,
    /// Behind this key or folded prefix; with a version, behind that version of it.
    pub after: Option<(String, Option<VersionId>)>,
    /// At most this many versions and prefixes together, up to 1,000.
    pub limit: u32,
}

impl MasterRequest {
    /// How long one master may take to answer, in milliseconds.
    pub fn answer_ms(&self) -> u64 {
        match self {
            MasterRequest::Audit { .. } => AUDIT_ANSWER_MS,
            _ => MASTER_ANSWER_MS,
        }
    }
}

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
        assert_eq!((RangeWanted::Part(1).of(3), RangeWanted::Part(2).of(3)), (Some((0, 3)), None));
    }
}
