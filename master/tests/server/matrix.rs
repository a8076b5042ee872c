//! Everything that a master can be asked, by everybody who may not ask it: all of it is refused (S25, S26 of docs/faults.md).
//!
//! What each request needs is said here a second time, apart from `master/src/api/access.rs`: a line that is changed in one place
//! only fails the test.

use super::{ADMIN, Talk, admin, ask, bucket, commit, config, read, seams};
use bytes::Bytes;
use cairn_common::auth::{JoinToken, Mac, OpenTicket};
use cairn_common::bucket::BucketChange;
use cairn_common::chunk::Chunking;
use cairn_common::file::{Attributes, Condition};
use cairn_common::ids::{
    BootCount, ClusterId, Domain, Epoch, ManifestId, NodeId, SessionId, Slot, Stamp, TenantId, UploadId, VolumeId,
    WindowId,
};
use cairn_common::manifest::RootHasher;
use cairn_common::membership::Roles;
use cairn_common::name::{BucketName, FilePath, Key};
use cairn_common::net::FrameHandler as _;
use cairn_common::policy::Action;
use cairn_common::version::{LockChange, VersionId};
use cairn_common::wire::command::{
    Command, CommitPart, CompleteMultipart, CopyFile, Grant, KeyRecord, MultipartRef, NewContent, Rights,
};
use cairn_common::wire::encode;
use cairn_common::wire::frame::Service;
use cairn_common::wire::heal::Compare;
use cairn_common::wire::master::{
    Actor, Asking, Caller, Heartbeat, ListAfter, ListRequest, ListVersions, Master as _, MasterCall, MasterError,
    MasterReply, MasterRequest, RangeWanted, Right,
};
use cairn_master::{MasterFrames, MasterServer};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Needs {
    /// To be somebody.
    Someone,
    /// A ticket of the masters, whoever has it.
    Ticket,
    Gateway,
    Node,
    /// To be the node that the request names, which is none of those that ask.
    ThatNode,
    Joiner,
    Administrator,
    /// A right in the bucket.
    Files,
    /// To be somebody with a right anywhere: names of buckets are one space.
    Buckets,
    /// Nothing from outside has it.
    Leader,
}

fn needs(request: &MasterRequest) -> Needs {
    use MasterRequest as R;
    match request {
        R::Write { command, .. } => command_needs(command),
        R::Membership { .. } | R::Buckets => Needs::Someone,
        R::Page { .. } | R::ReadTokens { .. } => Needs::Ticket,
        R::WriteTokens { .. }
        | R::Bucket { .. }
        | R::Stat { .. }
        | R::Open { .. }
        | R::List(_)
        | R::ListVersions(_)
        | R::Parts { .. }
        | R::Uploads { .. }
        | R::FileParts { .. }
        | R::Policy { .. }
        | R::May { .. }
        | R::Where { .. } => Needs::Files,
        R::Credential { .. } | R::Cors { .. } => Needs::Gateway,
        R::CreateKey { .. }
        | R::DeleteKey { .. }
        | R::Keys
        | R::CreateJoinToken
        | R::Status
        | R::Masters
        | R::TransferLeader { .. }
        | R::Drain { .. }
        | R::RemoveNode { .. }
        | R::Audit { .. }
        | R::BeginBackup
        | R::BackupPage { .. } => Needs::Administrator,
        R::Join { .. } => Needs::Joiner,
        R::Heartbeat(_) | R::Certificate { .. } | R::Compare(_) | R::References { .. } | R::Placement { .. } => {
            Needs::Node
        }
    }
}

fn command_needs(command: &Command) -> Needs {
    use Command as C;
    match command {
        C::OpenSession { .. }
        | C::RenewSession { .. }
        | C::EndSession { .. }
        | C::OpenWindow
        | C::CloseWindow { .. }
        | C::AppendSegment { .. }
        | C::AbortStaging { .. } => Needs::Someone,
        C::CreateBucket { .. } => Needs::Buckets,
        C::DeleteBucket { .. }
        | C::SetBucket { .. }
        | C::SetPolicy { .. }
        | C::CommitFile(_)
        | C::SetTags { .. }
        | C::SetLock { .. }
        | C::DeleteFiles { .. }
        | C::DeleteVersions { .. }
        | C::CopyFile(_)
        | C::RenameFile { .. }
        | C::BeginStaging { .. }
        | C::BeginMultipart { .. }
        | C::CommitPart(_)
        | C::CopyPart { .. }
        | C::CompleteMultipart(_)
        | C::AbortMultipart { .. } => Needs::Files,
        C::Boot { .. } | C::Serve { .. } | C::RetireVolume { .. } => Needs::ThatNode,
        C::SetNode { .. }
        | C::SetReplicas { .. }
        | C::SetMaster { .. }
        | C::SetVoters { .. }
        | C::SetCollection { .. }
        | C::SetRebalance { .. } => Needs::Administrator,
        C::ExpireSessions { .. }
        | C::Expire { .. }
        | C::Release
        | C::AddNode { .. }
        | C::RetireEpochs { .. }
        | C::DrainNode { .. }
        | C::RemoveNode { .. }
        | C::ForgetMisplaced { .. }
        | C::CreateKey(_)
        | C::DeleteKey { .. }
        | C::CreateJoinToken { .. }
        | C::Init { .. } => Needs::Leader,
    }
}

const THERE: NodeId = NodeId(1);

fn path() -> FilePath {
    FilePath::new("photos", "a").unwrap()
}

fn photos() -> BucketName {
    BucketName::new("photos").unwrap()
}

fn roles() -> Roles {
    Roles { master: false, chunkserver: true, gateway: false }
}

/// One of every command.
fn commands(session: SessionId) -> Vec<Command> {
    let none = Condition::default;
    let key = || Key::new("a").unwrap();
    let upload = || MultipartRef { path: path(), upload: UploadId(1) };
    let text = || "x".to_owned();
    let part = CommitPart {
        upload: upload(),
        number: 1,
        content: NewContent::Inline(Bytes::new()),
        root: RootHasher::of(&[]),
        length: 0,
        md5: [0; 16],
        checksums: BTreeMap::new(),
    };
    let complete = CompleteMultipart { upload: upload(), parts: vec![], condition: none(), checksums: BTreeMap::new() };
    let copy = CopyFile {
        from: path(),
        from_version: None,
        from_condition: none(),
        to: path(),
        condition: none(),
        attributes: None,
    };
    let record = KeyRecord {
        access: text(),
        name: text(),
        sealed_secret: vec![],
        tenant: TenantId(1),
        cluster_admin: true,
        grants: vec![],
        created: Stamp(1),
        expires: None,
    };
    vec![
        Command::OpenSession { ttl_ms: 1_000, owner: admin() },
        Command::RenewSession { session },
        Command::EndSession { session },
        Command::ExpireSessions { sessions: vec![session] },
        Command::OpenWindow,
        Command::CloseWindow { window: WindowId(1) },
        Command::CreateBucket { name: photos(), tenant: TenantId(1), replicas: None, lock: false },
        Command::DeleteBucket { name: photos() },
        commit(&path(), b"changed"),
        Command::DeleteFiles { bucket: photos(), files: vec![(key(), none())] },
        Command::CopyFile(Box::new(copy)),
        Command::RenameFile { from: path(), to: Key::new("b").unwrap(), from_condition: none(), condition: none() },
        Command::BeginStaging { bucket: photos(), chunking: Chunking::Fixed { bytes: 1 << 20 } },
        Command::AppendSegment { staging: UploadId(1), index: 0, entries: vec![], receipts: vec![] },
        Command::AbortStaging { staging: UploadId(1) },
        Command::BeginMultipart { path: path(), attributes: Attributes::default(), checksum: None, length: None },
        Command::CommitPart(Box::new(part)),
        Command::CopyPart {
            upload: upload(),
            number: 1,
            from: path(),
            from_version: None,
            from_condition: none(),
            range: None,
        },
        Command::CompleteMultipart(Box::new(complete)),
        Command::AbortMultipart { upload: upload() },
        Command::Release,
        Command::AddNode { name: text(), zone: text(), weight: 1, address: text(), roles: roles(), join_token: None },
        Command::Boot { node: THERE, address: text(), weight: 1, zone: text(), volumes: vec![], new_disks: vec![] },
        Command::Serve { node: THERE, boot: BootCount(1) },
        Command::RetireVolume { node: THERE, volume: VolumeId(1), reason: text() },
        Command::SetNode { node: THERE, weight: Some(9), zone: None },
        Command::RetireEpochs { before: Epoch(9) },
        Command::SetReplicas { replicas: 1, rise: false },
        Command::CreateKey(Box::new(record)),
        Command::DeleteKey { access: ADMIN.to_owned() },
        Command::CreateJoinToken { id: text(), secret_hash: [0; 32], expires: Stamp::MAX },
        Command::Init { cluster: ClusterId([9; 16]), replicas: 1, rise: false },
        Command::SetMaster { node: THERE, master: false },
        Command::SetVoters { voters: 5 },
        Command::SetBucket {
            name: photos(),
            change: BucketChange { public: Some(vec![String::new()]), ..BucketChange::default() },
        },
        Command::SetTags { path: path(), version: None, tags: Default::default() },
        Command::DrainNode { node: THERE, undo: false },
        Command::RemoveNode { node: THERE },
        Command::ForgetMisplaced { epoch: Epoch(1), chunks: vec![] },
        Command::SetCollection { paused: Some(true), approve: true, read_grace_ms: Some(0) },
        Command::SetRebalance { paused: Some(true), bytes_per_second: None },
        Command::DeleteVersions { bucket: photos(), versions: vec![(key(), VersionId::Null, none())], bypass: true },
        Command::SetLock { path: path(), version: None, change: LockChange::LegalHold(false), bypass: true },
        Command::Expire { bucket: photos(), keys: vec![key()], uploads: vec![] },
        Command::SetPolicy { bucket: photos(), policy: None },
    ]
}

/// One of every request, and of every command in one.
fn requests(session: SessionId) -> Vec<MasterRequest> {
    let none = Condition::default;
    let ticket = || OpenTicket { manifest: ManifestId(1), domain: Domain(1), expires_ms: u64::MAX, mac: Mac([0; 16]) };
    let text = || "x".to_owned();
    let list =
        ListRequest { bucket: photos(), prefix: String::new(), delimiter: None, after: ListAfter::Start, limit: 9 };
    let versions = ListVersions { bucket: photos(), prefix: String::new(), delimiter: None, after: None, limit: 9 };
    let mut requests = vec![
        MasterRequest::Membership { revision: 0 },
        MasterRequest::WriteTokens { window: WindowId(1), bucket: photos() },
        MasterRequest::Bucket { name: photos() },
        MasterRequest::Buckets,
        MasterRequest::Stat { path: path(), version: None, condition: none() },
        MasterRequest::Open { path: path(), version: None, condition: none(), range: RangeWanted::All },
        MasterRequest::Page { ticket: ticket(), offset: 0, end: 1 },
        MasterRequest::ReadTokens { ticket: ticket(), offset: 0 },
        MasterRequest::List(list),
        MasterRequest::Parts { path: path(), upload: UploadId(1), after: 0, limit: 9 },
        MasterRequest::Uploads { bucket: photos(), prefix: String::new(), delimiter: None, after: None, limit: 9 },
        MasterRequest::Credential { access: ADMIN.to_owned() },
        MasterRequest::CreateKey {
            name: text(),
            given: None,
            cluster_admin: true,
            grants: vec![],
            tenant: None,
            expires_ms: None,
        },
        MasterRequest::DeleteKey { access: ADMIN.to_owned() },
        MasterRequest::Keys,
        MasterRequest::CreateJoinToken,
        MasterRequest::Join { name: text(), zone: text(), weight: 1, address: text(), roles: roles() },
        MasterRequest::Heartbeat(Heartbeat { boot: BootCount(1), volumes: vec![], upkeep: Default::default() }),
        MasterRequest::Where { path: path(), offset: 0 },
        MasterRequest::Status,
        MasterRequest::Certificate { names: vec![text()], public_key: Bytes::new() },
        MasterRequest::Masters,
        MasterRequest::TransferLeader { to: THERE },
        MasterRequest::Compare(Compare { epoch: Epoch(1), first: Slot(0), count: 1, digest: [0; 16] }),
        MasterRequest::References { slot: Slot(0), after: None },
        MasterRequest::Placement { chunks: vec![] },
        MasterRequest::Drain { node: THERE, undo: false },
        MasterRequest::RemoveNode { node: THERE, force: true },
        MasterRequest::Audit { from: Slot(0), deep: true },
        MasterRequest::BeginBackup,
        MasterRequest::BackupPage { id: 1, page: 0 },
        MasterRequest::Cors { bucket: photos() },
        MasterRequest::ListVersions(versions),
        MasterRequest::FileParts { path: path(), version: None, after: 0, limit: 9 },
        MasterRequest::Policy { bucket: photos() },
        MasterRequest::May { bucket: photos(), key: None, right: Right::Admin, action: Action::PutBucketPolicy },
    ];
    requests.extend(commands(session).into_iter().map(|command| MasterRequest::Write { session: None, command }));
    requests
}

/// That nothing was forgotten: numbers of variants on the wire have no gaps.
fn check_complete(requests: &[MasterRequest]) {
    let kinds: BTreeSet<u8> = requests.iter().map(|request| encode(request)[1]).collect();
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), (0..37).collect::<Vec<u8>>());
    let commands = requests.iter().filter_map(|request| match request {
        MasterRequest::Write { command, .. } => Some(encode(command)[1]),
        _ => None,
    });
    let kinds: BTreeSet<u8> = commands.collect();
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), (0..45).collect::<Vec<u8>>());
}

/// Somebody, and what of all this somebody may do.
struct Somebody {
    caller: Caller,
    actor: Option<Actor>,
    may: &'static [Needs],
}

async fn new_key(server: &MasterServer, tenant: u32, grants: Vec<Grant>) -> String {
    let request = MasterRequest::CreateKey {
        name: "k".to_owned(),
        given: None,
        cluster_admin: false,
        grants,
        tenant: Some(TenantId(tenant)),
        expires_ms: None,
    };
    let MasterReply::NewKey { access, .. } = ask(server, &admin(), request).await.unwrap() else { panic!() };
    access
}

async fn join(server: &MasterServer, name: &str, roles: Roles) -> NodeId {
    let MasterReply::JoinToken(token) = ask(server, &admin(), MasterRequest::CreateJoinToken).await.unwrap() else {
        panic!()
    };
    let request = MasterRequest::Join {
        name: name.to_owned(),
        zone: "z".to_owned(),
        weight: 1,
        address: format!("http://{name}"),
        roles,
    };
    let joiner = Caller::Joiner(token.parse::<JoinToken>().unwrap().id);
    let MasterReply::Joined(joined) = ask(server, &joiner, request).await.unwrap() else { panic!() };
    joined.node
}

async fn everybody(server: &MasterServer) -> Vec<Somebody> {
    let all = |bucket: Option<&str>, prefix: &str| {
        let bucket = bucket.map(|name| BucketName::new(name).unwrap());
        vec![Grant { bucket, prefix: prefix.to_owned(), rights: Rights::ALL }]
    };
    let powerless = new_key(server, 1, vec![]).await;
    let elsewhere = new_key(server, 1, all(Some("others"), "")).await;
    let stranger = new_key(server, 2, all(None, "")).await;
    let removed_key = new_key(server, 1, all(None, "")).await;
    ask(server, &admin(), MasterRequest::DeleteKey { access: removed_key.clone() }).await.unwrap();
    let node = join(server, "two", roles()).await;
    let gateway = join(server, "three", Roles { gateway: true, ..Roles::default() }).await;
    let removed = join(server, "four", Roles { gateway: true, ..roles() }).await;
    ask(server, &admin(), MasterRequest::RemoveNode { node: removed, force: true }).await.unwrap();

    let by = |caller: Caller, actor, may| Somebody { caller, actor, may };
    let key = |access: &str| Caller::Key(access.to_owned());
    let named = |access: &str| Some(Actor::Key(access.to_owned()));
    let asking = |access: &str| {
        let access = Some(access.to_owned());
        Some(Actor::Asking(Box::new(Asking { access, action: None, owner: None, facts: Vec::new() })))
    };
    vec![
        by(Caller::Anonymous, None, &[]),
        by(key("NOBODY"), None, &[]),
        by(key(&removed_key), None, &[]),
        by(Caller::Joiner("none".to_owned()), None, &[Needs::Joiner]),
        by(Caller::Node(NodeId(99)), None, &[]),
        by(Caller::Node(removed), None, &[]),
        by(Caller::Node(removed), named(ADMIN), &[]),
        by(Caller::Node(node), None, &[Needs::Someone, Needs::Node]),
        by(Caller::Node(node), named(ADMIN), &[]),
        by(Caller::Node(node), asking(ADMIN), &[]),
        by(key(&powerless), asking(ADMIN), &[]),
        by(Caller::Node(gateway), asking(&powerless), &[Needs::Someone]),
        by(Caller::Node(node), Some(Actor::Anonymous), &[]),
        by(Caller::Node(gateway), None, &[Needs::Someone, Needs::Node, Needs::Gateway]),
        by(Caller::Node(gateway), Some(Actor::Anonymous), &[]),
        by(Caller::Node(gateway), named(&removed_key), &[]),
        by(Caller::Node(gateway), named(&powerless), &[Needs::Someone]),
        by(Caller::Node(gateway), named(&stranger), &[Needs::Someone, Needs::Buckets]),
        by(key(&powerless), None, &[Needs::Someone]),
        by(key(&powerless), named(ADMIN), &[]),
        by(Caller::Anonymous, named(ADMIN), &[]),
        by(key(&elsewhere), None, &[Needs::Someone]),
        by(key(&stranger), None, &[Needs::Someone, Needs::Buckets]),
        by(admin(), None, &[Needs::Someone, Needs::Buckets, Needs::Files, Needs::Administrator]),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_answered_to_those_who_may_not_ask_it() {
    let folder = tempfile::tempdir().unwrap();
    let server = super::start(folder.path()).await;
    let mut talk = Talk::open(&server, admin()).await;
    talk.say(bucket("photos")).await.unwrap();
    talk.say(commit(&path(), b"mine")).await.unwrap();
    let everybody = everybody(&server).await;
    let requests = requests(talk.session);
    check_complete(&requests);

    let mut refused = 0;
    for Somebody { caller, actor, may } in &everybody {
        for request in requests.iter().filter(|request| !may.contains(&needs(request))) {
            let call = MasterCall { actor: actor.clone(), request: request.clone() };
            let answer = server.call(caller, call).await;
            let is_refused = match needs(request) {
                // Who asks counts for nothing with a ticket, unless it is one that may not speak for the other.
                Needs::Ticket => matches!(answer, Err(MasterError::BadTicket | MasterError::Denied)),
                _ => answer == Err(MasterError::Denied),
            };
            assert!(is_refused, "{caller:?} for {actor:?}: {request:?}: {answer:?}");
            refused += 1;
        }
    }
    assert!(refused > 1_200, "{refused} calls");

    // Messages and the state of the masters' group are for masters.
    let frames = MasterFrames(Arc::clone(&server));
    for Somebody { caller, .. } in &everybody {
        for body in [Bytes::new(), Bytes::from(encode(&1u32)), Bytes::from(encode(&(0u32, 1u64, 0u64)))] {
            assert_eq!(frames.request(caller, Service::Raft, body.clone()).await, None, "{caller:?}");
            assert_eq!(frames.message(caller, Service::Raft, body).await, None, "{caller:?}");
        }
    }

    assert_eq!(read(&server, &admin(), &path()).await.unwrap(), b"mine");
    talk.say(Command::RenewSession { session: talk.session }).await.unwrap();
    server.stop().await;
}

/// A stored key that cannot be read is no key; it keeps nobody else out, and can be removed (S18 of docs/faults.md).
#[tokio::test(flavor = "multi_thread")]
async fn a_stored_key_that_cannot_be_read_is_none_and_stops_no_start() {
    use cairn_common::net::handshake::{Identity, Verifier as _};
    use cairn_master::store::key::{AccessKeyKey, RowKey};
    use cairn_master::store::{MetaStore as _, RocksMemory, RocksStore, Table, WriteBatch};
    let folder = tempfile::tempdir().unwrap();
    let mut keys = Vec::new();
    {
        let server = super::start(folder.path()).await;
        for _ in 0..4 {
            keys.push(new_key(&server, 1, vec![]).await);
        }
        server.stop().await;
    }
    {
        let state = config(folder.path(), 1, None).folder.join("state-1");
        let store = RocksStore::open(&state, &RocksMemory::new(8 << 20, 8 << 20)).unwrap();
        let poisons: [&[u8]; 4] =
            [b"", b"\x01", b"\xff\xff\xff\xff\xff\xff\xff\xff", b"\x01\x80\x80\x80\x80\x80\x80\x80\x10"];
        let mut batch = WriteBatch::new();
        for (access, poison) in keys.iter().zip(poisons) {
            batch.put(Table::System, RowKey::encode(&AccessKeyKey(access)), poison.to_vec());
        }
        store.write(&batch, &store.applied().unwrap()).unwrap();
        store.flush().unwrap();
    }
    let server = MasterServer::start(config(folder.path(), 1, None), seams()).await.unwrap();
    assert!(!server.is_new().await.unwrap());
    let mut talk = Talk::open(&server, admin()).await;
    talk.say(bucket("photos")).await.unwrap();
    talk.say(commit(&path(), b"mine")).await.unwrap();
    for access in &keys {
        let vouched = server.secret_of(&Identity::Key(access.clone())).await;
        assert!(!matches!(vouched, Ok(Some(_))), "{access}");
        let asked = read(&server, &Caller::Key(access.clone()), &path()).await;
        assert!(asked.is_err(), "{asked:?}");
        ask(&server, &admin(), MasterRequest::DeleteKey { access: access.clone() }).await.unwrap();
        assert!(server.secret_of(&Identity::Key(access.clone())).await.unwrap().is_none());
    }
    let MasterReply::Keys(left) = ask(&server, &admin(), MasterRequest::Keys).await.unwrap() else { panic!() };
    assert_eq!(left.len(), 1);
    assert_eq!(read(&server, &admin(), &path()).await.unwrap(), b"mine");
    server.stop().await;
}
