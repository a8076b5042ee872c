//! A whole master on real RocksDB and raft-engine, asked as clients ask it, in this process.

#![allow(clippy::unwrap_used)]

mod matrix;

use cairn_common::auth::{ClusterKey, JoinToken, NodeKey, Secret};
use cairn_common::bucket::{BucketChange, Tags};
use cairn_common::chunk::ChunkAddress;
use cairn_common::file::{Attributes, Condition, S3Tag};
use cairn_common::ids::{ClusterId, Domain, Generation, NodeId, SessionId, TenantId};
use cairn_common::listen::{FrameService, ListenOptions, Listener, Shutdown, frames_route};
use cairn_common::manifest::{Entry, RootHasher};
use cairn_common::membership::{Membership, Roles};
use cairn_common::name::{BucketName, FilePath};
use cairn_common::net::handshake::{Identity, Verifier as _};
use cairn_common::policy::{Action, Fact};
use cairn_common::seam::{HttpTransport, OsRandom, RealDisk, SystemClock, TlsTrust};
use cairn_common::wire::command::{Command, CommitFile, Done, Grant, NewContent, Refusal, Rights, SessionSequence};
use cairn_common::wire::master::{
    Actor, Asking, Caller, Content, Found, Master as _, MasterCall, MasterError, MasterReply, MasterRequest,
    RangeWanted,
};
use cairn_master::{Bootstrap, MasterConfig, MasterFrames, MasterSeams, MasterServer};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const ADMIN: &str = "CKADMIN";

fn config(folder: &Path, node: u32, joined: Option<Membership>) -> MasterConfig {
    MasterConfig {
        folder: folder.join("master"),
        node: NodeId(node),
        cluster: ClusterId([4; 16]),
        generation: Generation(1),
        cluster_key: ClusterKey::new(Secret::new([7; 32])),
        joined,
        dead_after: Duration::from_secs(600),
    }
}

fn seams() -> MasterSeams {
    MasterSeams {
        clock: Arc::new(SystemClock::new()),
        random: Arc::new(OsRandom),
        disk: Arc::new(RealDisk),
        transport: Arc::new(HttpTransport::new(&TlsTrust::System).unwrap()),
    }
}

async fn start(folder: &Path) -> Arc<MasterServer> {
    start_at(folder, "http://127.0.0.1:1").await
}

async fn start_at(folder: &Path, address: &str) -> Arc<MasterServer> {
    let server = MasterServer::start(config(folder, 1, None), seams()).await.unwrap();
    if server.is_new().await.unwrap() {
        let roles = Roles { master: true, chunkserver: false, gateway: true };
        let bootstrap = Bootstrap {
            replicas: None,
            name: "one".to_owned(),
            zone: "z1".to_owned(),
            weight: 0,
            address: address.to_owned(),
            roles,
            admin: (ADMIN.to_owned(), "adminsecret".to_owned()),
        };
        server.bootstrap(bootstrap).await.unwrap();
    }
    server
}

fn admin() -> Caller {
    Caller::Key(ADMIN.to_owned())
}

async fn ask(server: &MasterServer, caller: &Caller, request: MasterRequest) -> Result<MasterReply, MasterError> {
    server.call(caller, MasterCall { actor: None, request }).await
}

/// A session, and commands in it.
struct Talk<'a> {
    server: &'a MasterServer,
    caller: Caller,
    session: SessionId,
    sequence: u64,
}

impl<'a> Talk<'a> {
    async fn open(server: &'a MasterServer, caller: Caller) -> Talk<'a> {
        let command = Command::OpenSession { ttl_ms: 60_000, owner: Caller::Anonymous };
        let reply = ask(server, &caller, MasterRequest::Write { session: None, command }).await.unwrap();
        let MasterReply::Done(Done::Session { session, .. }) = reply else { panic!("{reply:?}") };
        Talk { server, caller, session, sequence: 0 }
    }

    async fn say(&mut self, command: Command) -> Result<Done, MasterError> {
        self.sequence += 1;
        self.repeat(command).await
    }

    async fn repeat(&self, command: Command) -> Result<Done, MasterError> {
        let place = SessionSequence { session: self.session, sequence: self.sequence, lowest: self.sequence };
        match ask(self.server, &self.caller, MasterRequest::Write { session: Some(place), command }).await? {
            MasterReply::Done(done) => Ok(done),
            other => panic!("{other:?}"),
        }
    }
}

fn bucket(name: &str) -> Command {
    Command::CreateBucket {
        name: BucketName::new(name).unwrap(),
        tenant: cairn_common::ids::TenantId(99),
        replicas: None,
        lock: false,
    }
}

fn commit(path: &FilePath, body: &'static [u8]) -> Command {
    let entries = [Entry::chunk(ChunkAddress::of(Domain(0), body), body.len() as u32)];
    Command::CommitFile(Box::new(CommitFile {
        path: path.clone(),
        content: NewContent::Inline(body.into()),
        root: RootHasher::of(&entries),
        length: body.len() as u64,
        tag: S3Tag::Root,
        attributes: Attributes::default(),
        condition: Condition::default(),
    }))
}

async fn read(server: &MasterServer, caller: &Caller, path: &FilePath) -> Result<Vec<u8>, MasterError> {
    let request = MasterRequest::Open {
        path: path.clone(),
        version: None,
        condition: Condition::default(),
        range: RangeWanted::All,
    };
    match ask(server, caller, request).await? {
        MasterReply::Opened(opened) => match *opened {
            Found::Here(opened) => match opened.content {
                Content::Inline { bytes, .. } => Ok(bytes.to_vec()),
                other => panic!("{other:?}"),
            },
            Found::NotModified(_) => panic!("nothing was asked"),
        },
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_there_after_a_restart_and_a_retry_is_answered_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = FilePath::new("photos", "a/b.jpg").unwrap();
    let (session, first) = {
        let server = start(folder.path()).await;
        let mut talk = Talk::open(&server, admin()).await;
        talk.say(bucket("photos")).await.unwrap();
        let first = talk.say(commit(&path, b"one")).await.unwrap();
        assert_eq!(talk.repeat(commit(&path, b"another")).await.unwrap(), first);
        assert_eq!(read(&server, &admin(), &path).await.unwrap(), b"one");
        let session = (talk.session, talk.sequence);
        server.stop().await;
        (session, first)
    };
    let server = start(folder.path()).await;
    assert!(!server.is_new().await.unwrap());
    assert_eq!(read(&server, &admin(), &path).await.unwrap(), b"one");
    let talk = Talk { server: &server, caller: admin(), session: session.0, sequence: session.1 };
    assert_eq!(talk.repeat(commit(&path, b"third")).await.unwrap(), first);
    assert_eq!(read(&server, &admin(), &path).await.unwrap(), b"one");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_are_those_of_the_one_who_asks() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let mut talk = Talk::open(&server, admin()).await;
    talk.say(bucket("photos")).await.unwrap();
    let path = FilePath::new("photos", "public/x").unwrap();
    talk.say(commit(&path, b"seen")).await.unwrap();
    let rights = Rights { read: true, ..Rights::default() };
    let grants = vec![Grant { bucket: Some(BucketName::new("photos").unwrap()), prefix: "public/".to_owned(), rights }];
    let request = MasterRequest::CreateKey {
        name: "reader".to_owned(),
        given: None,
        cluster_admin: false,
        grants,
        tenant: None,
        expires_ms: None,
    };
    let MasterReply::NewKey { access, secret } = ask(&server, &admin(), request).await.unwrap() else { panic!() };

    // On a connection of its own, and through a gateway.
    let reader = Caller::Key(access.clone());
    assert_eq!(read(&server, &reader, &path).await.unwrap(), b"seen");
    let hidden = FilePath::new("photos", "private/x").unwrap();
    assert_eq!(read(&server, &reader, &hidden).await, Err(MasterError::Denied));
    // There is no such file, which a key that may not list does not learn.
    let missing = FilePath::new("photos", "public/missing").unwrap();
    assert_eq!(read(&server, &reader, &missing).await, Err(MasterError::Denied));
    assert_eq!(read(&server, &admin(), &missing).await, Err(Refusal::NoSuchFile(missing).into()));
    let open = MasterRequest::Open {
        path: path.clone(),
        version: None,
        condition: Condition::default(),
        range: RangeWanted::All,
    };
    let through = |actor| MasterCall { actor, request: open.clone() };
    let gateway = Caller::Node(NodeId(1));
    assert!(server.call(&gateway, through(Some(Actor::Key(access.clone())))).await.is_ok());
    assert_eq!(server.call(&gateway, through(Some(Actor::Anonymous))).await, Err(MasterError::Denied));
    assert_eq!(server.call(&gateway, through(None)).await, Err(MasterError::Denied));
    assert_eq!(server.call(&reader, through(Some(Actor::Key(ADMIN.to_owned())))).await, Err(MasterError::Denied));

    // Somebody else's session is of no use.
    let mut stolen = Talk { server: &server, caller: reader.clone(), session: talk.session, sequence: 100 };
    assert_eq!(stolen.say(commit(&path, b"changed")).await, Err(MasterError::Denied));

    // The handshake knows the key until it is removed.
    let identity = Identity::Key(access.clone());
    let (known, _) = server.secret_of(&identity).await.unwrap().unwrap();
    assert_eq!(known.expose(), Identity::key_secret(&secret).expose());
    ask(&server, &admin(), MasterRequest::DeleteKey { access: access.clone() }).await.unwrap();
    assert!(server.secret_of(&identity).await.unwrap().is_none());
    assert_eq!(read(&server, &reader, &path).await, Err(MasterError::Denied));
    server.stop().await;
}

/// A key of a tenant, with these grants.
async fn key(server: &MasterServer, tenant: u32, grants: Vec<Grant>) -> Caller {
    let request = MasterRequest::CreateKey {
        name: "somebody".to_owned(),
        given: None,
        cluster_admin: false,
        grants,
        tenant: Some(TenantId(tenant)),
        expires_ms: None,
    };
    let MasterReply::NewKey { access, .. } = ask(server, &admin(), request).await.unwrap() else { panic!() };
    Caller::Key(access)
}

/// A policy with statements of (effect, principal, action, resource below the bucket's name, condition).
fn policy(statements: &[(&str, &str, &str, &str, &str)]) -> Command {
    let statements: Vec<String> = statements
        .iter()
        .map(|(effect, principal, action, resource, condition)| {
            format!(
                r#"{{"Effect": "{effect}", "Principal": {principal}, "Action": "{action}",
                    "Resource": "arn:aws:s3:::photos{resource}", "Condition": {{{condition}}}}}"#
            )
        })
        .collect();
    let policy = format!(r#"{{"Version": "2012-10-17", "Statement": [{}]}}"#, statements.join(","));
    Command::SetPolicy { bucket: BucketName::new("photos").unwrap(), policy: Some(policy) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_adds_to_what_grants_allow_and_takes_from_everybody() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let mut talk = Talk::open(&server, admin()).await;
    talk.say(bucket("photos")).await.unwrap();
    let path = FilePath::new("photos", "a/x").unwrap();
    talk.say(commit(&path, b"seen")).await.unwrap();
    let everywhere = |rights| vec![Grant { bucket: None, prefix: String::new(), rights }];
    let nothing = key(&server, 1, Vec::new()).await;
    let other = key(&server, 2, everywhere(Rights::ALL)).await;
    let bare = key(&server, 2, Vec::new()).await;
    let worker = key(&server, 1, everywhere(Rights { admin: false, ..Rights::ALL })).await;
    let gateway = Caller::Node(NodeId(1));
    let open = MasterRequest::Open {
        path: path.clone(),
        version: None,
        condition: Condition::default(),
        range: RangeWanted::All,
    };
    let nobody = async |facts: Vec<(Fact, String)>, owner| {
        let asking = Asking { access: None, action: Some(Action::GetObject), owner, facts };
        let call = MasterCall { actor: Some(Actor::Asking(Box::new(asking))), request: open.clone() };
        server.call(&gateway, call).await.map(drop)
    };
    let denied = || Err(MasterError::Denied);

    // Each row: statements; and whether a key of the tenant without grants, another tenant's, one of that without grants, a key of the
    // tenant with grants, and nobody may read.
    let allow = "Allow";
    let all = r#""*""#;
    for (statements, wanted) in [
        (vec![], [false, false, false, true, false]),
        (vec![(allow, all, "s3:GetObject", "/*", "")], [true, true, false, true, true]),
        (vec![(allow, r#"{"AWS": "2"}"#, "s3:*", "/a/*", "")], [false, true, false, true, false]),
        (vec![(allow, r#"{"AWS": "1"}"#, "s3:*", "/a/*", "")], [true, false, false, true, false]),
        (vec![(allow, all, "s3:GetObject", "/b/*", "")], [false, false, false, true, false]),
        (vec![(allow, all, "s3:PutObject", "/*", "")], [false, false, false, true, false]),
        (
            vec![(allow, all, "s3:GetObject", "/*", ""), ("Deny", r#"{"AWS": "1"}"#, "s3:GetObject", "/*", "")],
            [false, true, false, false, true],
        ),
        (vec![("Deny", all, "s3:*", "/*", "")], [false; 5]),
        // What is not known about a request is not as it must be.
        (
            vec![(allow, all, "s3:GetObject", "/*", r#""StringEquals": {"aws:Referer": "r"}"#)],
            [false, false, false, true, false],
        ),
    ] {
        match statements.as_slice() {
            [] => {}
            some => drop(talk.say(policy(some)).await.unwrap()),
        }
        let mut found = Vec::new();
        for who in [&nothing, &other, &bare, &worker] {
            found.push(read(&server, who, &path).await.is_ok());
        }
        found.push(nobody(Vec::new(), None).await.is_ok());
        assert_eq!(found, wanted, "{statements:?}");
    }
    assert_eq!(nobody(vec![(Fact::Referer, "r".to_owned())], None).await, Ok(()));
    assert_eq!(nobody(vec![(Fact::Referer, "r".to_owned())], Some(TenantId(2))).await, denied(), "not its owner");

    // No policy locks out who administers the tenant; others it does.
    talk.say(policy(&[("Deny", all, "s3:*", "*", "")])).await.unwrap();
    let get = MasterRequest::Policy { bucket: path.bucket.clone() };
    assert!(matches!(ask(&server, &admin(), get.clone()).await, Ok(MasterReply::Policy(Some(_)))));
    assert_eq!(ask(&server, &worker, get).await, Err(MasterError::Denied));
    assert_eq!(read(&server, &admin(), &path).await, Err(MasterError::Denied));
    talk.say(Command::SetPolicy { bucket: path.bucket.clone(), policy: None }).await.unwrap();
    assert!(read(&server, &admin(), &path).await.is_ok());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenant_writes_where_a_policy_lets_it_and_learns_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let mut talk = Talk::open(&server, admin()).await;
    talk.say(bucket("photos")).await.unwrap();
    let tags = Tags::from([("team".to_owned(), "blue".to_owned())]);
    let change = BucketChange { tags: Some(tags), ..BucketChange::default() };
    let name = BucketName::new("photos").unwrap();
    talk.say(Command::SetBucket { name: name.clone(), change }).await.unwrap();
    let everywhere = vec![Grant { bucket: None, prefix: String::new(), rights: Rights::ALL }];
    let other = key(&server, 2, everywhere).await;
    let mut stranger = Talk::open(&server, other.clone()).await;
    let (inside, outside) = (FilePath::new("photos", "drop/x").unwrap(), FilePath::new("photos", "x").unwrap());
    assert_eq!(stranger.say(commit(&inside, b"1")).await, Err(MasterError::Denied));
    let two = r#"{"AWS": "arn:aws:iam::2:root"}"#;
    let statements = [("Allow", two, "s3:PutObject", "/drop/*", ""), ("Allow", two, "s3:ListBucket", "", "")];
    talk.say(policy(&statements)).await.unwrap();
    stranger.say(commit(&inside, b"1")).await.unwrap();
    assert_eq!(stranger.say(commit(&outside, b"1")).await, Err(MasterError::Denied));
    assert_eq!(read(&server, &other, &inside).await, Err(MasterError::Denied));
    assert_eq!(read(&server, &admin(), &inside).await.unwrap(), b"1");
    let look = MasterRequest::Bucket { name: name.clone() };
    let MasterReply::Bucket(info) = ask(&server, &other, look).await.unwrap() else { panic!() };
    assert_eq!((info.settings, info.usage), Default::default(), "settings are for the bucket's own tenant");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_token_admits_one_node_however_often_it_asks() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let MasterReply::JoinToken(token) = ask(&server, &admin(), MasterRequest::CreateJoinToken).await.unwrap() else {
        panic!()
    };
    let token: JoinToken = token.parse().unwrap();
    let joiner = Caller::Joiner(token.id.clone());
    assert!(server.secret_of(&Identity::Joiner(token.id.clone())).await.unwrap().is_some());
    let join = |name: &str| MasterRequest::Join {
        name: name.to_owned(),
        zone: "z2".to_owned(),
        weight: 10,
        address: "http://127.0.0.1:2".to_owned(),
        roles: Roles { master: false, chunkserver: true, gateway: false },
    };
    // A master that is behind must not turn away a node that has come since. It has no rights here until it is known.
    let two = Identity::Node(NodeId(2));
    assert!(server.secret_of(&two).await.unwrap().is_some());
    let asked = MasterRequest::Placement { chunks: Vec::new() };
    assert_eq!(ask(&server, &Caller::Node(NodeId(2)), asked).await, Err(MasterError::Denied));
    let mut keys = Vec::new();
    for _ in 0..2 {
        let MasterReply::Joined(joined) = ask(&server, &joiner, join("two")).await.unwrap() else { panic!() };
        assert_eq!(joined.node, NodeId(2));
        let key = token.secret().open(&joined.node.0.to_be_bytes(), &joined.sealed_key).unwrap();
        keys.push(NodeKey::new(Secret::new(key.try_into().unwrap())));
    }
    assert_eq!(keys[0].expose(), keys[1].expose());
    assert_eq!(ask(&server, &joiner, join("three")).await, Err(Refusal::BadJoinToken.into()));
    assert_eq!(ask(&server, &joiner, MasterRequest::Status).await, Err(MasterError::Denied));
    let (node_secret, caller) = server.secret_of(&two).await.unwrap().unwrap();
    assert_eq!((node_secret.expose(), caller), (keys[0].handshake().expose(), Caller::Node(NodeId(2))));
    ask(&server, &admin(), MasterRequest::RemoveNode { node: NodeId(2), force: true }).await.unwrap();
    assert!(server.secret_of(&two).await.unwrap().is_none(), "one that is known to be removed is turned away");
    server.stop().await;
}

/// A master with a port of its own.
struct Member {
    server: Arc<MasterServer>,
    shutdown: Shutdown,
}

async fn bind() -> (Listener, String) {
    let listener = Listener::bind("127.0.0.1:0", ListenOptions::default()).await.unwrap();
    let url = listener.base_url().unwrap();
    (listener, url)
}

fn serve(server: &Arc<MasterServer>, listener: Listener) -> Member {
    let service = FrameService {
        handler: Arc::new(MasterFrames(Arc::clone(server))),
        verifier: Arc::clone(server) as Arc<_>,
        clock: Arc::new(SystemClock::new()),
        random: Arc::new(OsRandom),
    };
    let shutdown = Shutdown::new();
    tokio::spawn(listener.serve(frames_route(service), shutdown.clone(), Duration::ZERO));
    Member { server: Arc::clone(server), shutdown }
}

async fn add_member(first: &MasterServer, folder: &Path, node: u32) -> Member {
    let MasterReply::JoinToken(token) = ask(first, &admin(), MasterRequest::CreateJoinToken).await.unwrap() else {
        panic!()
    };
    let token: JoinToken = token.parse().unwrap();
    let (listener, address) = bind().await;
    let request = MasterRequest::Join {
        name: format!("m{node}"),
        zone: "z".to_owned(),
        weight: 0,
        address,
        roles: Roles { master: true, chunkserver: false, gateway: false },
    };
    let MasterReply::Joined(joined) = ask(first, &Caller::Joiner(token.id.clone()), request).await.unwrap() else {
        panic!()
    };
    assert_eq!(joined.node, NodeId(node));
    let sealed = joined.sealed_cluster_key.unwrap();
    assert_eq!(token.secret().open(&node.to_be_bytes(), &sealed).unwrap(), [7; 32]);
    let config = config(folder, node, Some(*joined.membership));
    let server = MasterServer::start(config, seams()).await.unwrap();
    serve(&server, listener)
}

/// Waits for something that must come about; the test run's own limit ends it if it does not.
async fn until(what: &str, mut done: impl FnMut() -> bool) {
    for tries in 0.. {
        if done() {
            return;
        }
        assert!(tries < 3000, "waited too long until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn masters_join_get_votes_and_go_on_without_their_leader() {
    let folders: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let (listener, address) = bind().await;
    let first = serve(&start_at(folders[0].path(), &address).await, listener);
    let mut talk = Talk::open(&first.server, admin()).await;
    talk.say(bucket("photos")).await.unwrap();
    let path = |n: u32| FilePath::new("photos", format!("f{n}")).unwrap();
    for n in 0..50 {
        talk.say(commit(&path(n), b"before")).await.unwrap();
    }
    let second = add_member(&first.server, folders[1].path(), 2).await;
    let third = add_member(&first.server, folders[2].path(), 3).await;
    // Both have the state, by snapshot, and the votes.
    for member in [&second, &third] {
        until("a member has a vote", || !member.server.status().alone && member.server.status().applied > 50).await;
    }
    until("the group has three voters", || !first.server.status().alone).await;
    talk.say(commit(&path(50), b"with three")).await.unwrap();
    // Any of them reads what was just acknowledged.
    for member in [&first, &second, &third] {
        assert_eq!(read(&member.server, &admin(), &path(50)).await.unwrap(), b"with three");
        assert_eq!(read(&member.server, &admin(), &path(0)).await.unwrap(), b"before");
    }
    let refused = ask(&second.server, &admin(), MasterRequest::CreateJoinToken).await;
    assert_eq!(refused, Err(MasterError::NotLeader { leader: Some(address) }));

    // The session goes on with whoever leads next, and a retry is still answered once.
    let last = talk.say(commit(&path(51), b"last")).await.unwrap();
    first.shutdown.begin();
    first.server.stop().await;
    until("another member leads", || second.server.status().leading || third.server.status().leading).await;
    let leader = if second.server.status().leading { &second } else { &third };
    let mut talk = Talk { server: &leader.server, caller: admin(), session: talk.session, sequence: talk.sequence };
    assert_eq!(talk.repeat(commit(&path(51), b"again")).await.unwrap(), last);
    talk.say(commit(&path(52), b"after")).await.unwrap();
    for member in [&second, &third] {
        assert_eq!(read(&member.server, &admin(), &path(52)).await.unwrap(), b"after");
        assert_eq!(read(&member.server, &admin(), &path(51)).await.unwrap(), b"last");
    }
    for member in [&second, &third] {
        member.shutdown.begin();
        member.server.stop().await;
    }
}
