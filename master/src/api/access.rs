//! Who may ask what: one table for every request and every command.
//!
//! Each request maps to what it needs ([`need`]); whether the one who asks has it is one function ([`Who::may`]). There is no
//! other way in: gateways check early to save work, but every request of theirs comes through here as well, in the name of
//! the user. A request that is not in the table does not compile.

use cairn_common::ids::{NodeId, TenantId};
use cairn_common::name::{BucketName, FilePath, Key};
use cairn_common::version::LockChange;
use cairn_common::wire::command::{Command, Grant, Rights};
use cairn_common::wire::master::{KeyInfo, MasterRequest, Right};

/// What of a bucket a right is needed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scope<'a> {
    /// A key, or all keys with a prefix.
    Key(&'a str),
    /// The bucket itself.
    Bucket,
    /// Any part of it: the rest is checked when more is known.
    Any,
}

/// What a request needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Need<'a> {
    /// Nothing beyond being someone: an access key or a node.
    Someone,
    /// To own the session, which is checked with it.
    Session,
    /// Nothing: the ticket in the request is the right.
    Ticket,
    /// To be a node with the gateway role, asking for itself.
    Gateway,
    /// To be this node, or any if none is named.
    Node(Option<NodeId>),
    /// To hold a join token.
    Joiner,
    /// An access key that may administer the cluster.
    ClusterAdmin,
    /// All of these rights.
    Rights(Vec<(&'a BucketName, Scope<'a>, Right)>),
    /// To be the leader itself: never from outside.
    Internal,
}

/// Whether the request makes a bucket. That its name is taken, be it by another tenant, is for the command to say: names are one
/// space for all.
pub(super) fn makes_bucket(request: &MasterRequest) -> bool {
    matches!(request, MasterRequest::Write { command: Command::CreateBucket { .. }, .. })
}

/// The file that anybody may ask for, if it is one that its bucket shows to everybody.
pub(super) fn readable(request: &MasterRequest) -> Option<&FilePath> {
    match request {
        // Earlier versions are for those who were given a right.
        MasterRequest::Stat { path, version: None, .. } | MasterRequest::Open { path, version: None, .. } => Some(path),
        _ => None,
    }
}

/// Who asks, after it was looked up.
#[derive(Clone, Debug)]
pub(super) enum Who {
    /// Nobody, or the holder of a key that is not there any more or has expired.
    Nobody,
    /// The holder of an access key, by itself or through a gateway.
    Key(Box<KeyInfo>),
    /// A node for itself.
    Node { node: NodeId, gateway: bool },
    /// A process with a join token, by its id.
    Joiner(String),
}

fn rights<'a>(path: &'a FilePath, right: Right) -> (&'a BucketName, Scope<'a>, Right) {
    (&path.bucket, Scope::Key(path.key.as_str()), right)
}

fn one<'a>(path: &'a FilePath, right: Right) -> Need<'a> {
    Need::Rights(vec![rights(path, right)])
}

fn on<'a>(bucket: &'a BucketName, key: &'a Key, right: Right) -> (&'a BucketName, Scope<'a>, Right) {
    (bucket, Scope::Key(key.as_str()), right)
}

/// What a request needs.
pub(super) fn need(request: &MasterRequest) -> Need<'_> {
    match request {
        MasterRequest::Write { command, .. } => need_of_command(command),
        MasterRequest::Membership { .. } | MasterRequest::Buckets => Need::Someone,
        MasterRequest::WriteTokens { bucket, .. } => Need::Rights(vec![(bucket, Scope::Any, Right::Write)]),
        MasterRequest::Bucket { name } => Need::Rights(vec![(name, Scope::Any, Right::List)]),
        MasterRequest::Stat { path, .. }
        | MasterRequest::Open { path, .. }
        | MasterRequest::FileParts { path, .. }
        | MasterRequest::Where { path, .. } => one(path, Right::Read),
        MasterRequest::Page { .. } | MasterRequest::ReadTokens { .. } => Need::Ticket,
        MasterRequest::List(list) => Need::Rights(vec![(&list.bucket, Scope::Key(&list.prefix), Right::List)]),
        MasterRequest::ListVersions(list) => Need::Rights(vec![(&list.bucket, Scope::Key(&list.prefix), Right::List)]),
        MasterRequest::Uploads { bucket, prefix, .. } => Need::Rights(vec![(bucket, Scope::Key(prefix), Right::List)]),
        MasterRequest::Parts { path, .. } => one(path, Right::Write),
        MasterRequest::Policy { bucket } => Need::Rights(vec![(bucket, Scope::Bucket, Right::Admin)]),
        MasterRequest::May { bucket, key, right, .. } => {
            let scope = key.as_deref().map_or(Scope::Bucket, Scope::Key);
            Need::Rights(vec![(bucket, scope, *right)])
        }
        MasterRequest::Credential { .. } | MasterRequest::Cors { .. } => Need::Gateway,
        MasterRequest::CreateKey { .. }
        | MasterRequest::DeleteKey { .. }
        | MasterRequest::Keys
        | MasterRequest::CreateJoinToken
        | MasterRequest::Drain { .. }
        | MasterRequest::RemoveNode { .. }
        | MasterRequest::Audit { .. }
        | MasterRequest::BeginBackup
        | MasterRequest::BackupPage { .. }
        | MasterRequest::Status
        | MasterRequest::Masters
        | MasterRequest::TransferLeader { .. } => Need::ClusterAdmin,
        MasterRequest::Join { .. } => Need::Joiner,
        MasterRequest::Heartbeat(_)
        | MasterRequest::Certificate { .. }
        | MasterRequest::Compare(_)
        | MasterRequest::References { .. }
        | MasterRequest::Placement { .. } => Need::Node(None),
    }
}

fn need_of_command(command: &Command) -> Need<'_> {
    match command {
        // That the session is the caller's own is checked with the session itself.
        Command::OpenSession { .. }
        | Command::RenewSession { .. }
        | Command::EndSession { .. }
        | Command::OpenWindow
        | Command::CloseWindow { .. } => Need::Someone,
        Command::CreateBucket { name, .. } | Command::DeleteBucket { name } | Command::SetBucket { name, .. } => {
            Need::Rights(vec![(name, Scope::Bucket, Right::Admin)])
        }
        Command::SetPolicy { bucket, .. } => Need::Rights(vec![(bucket, Scope::Bucket, Right::Admin)]),
        Command::CommitFile(commit) => one(&commit.path, Right::Write),
        Command::SetTags { path, .. } => one(path, Right::Write),
        Command::DeleteFiles { bucket, files } => {
            Need::Rights(files.iter().map(|(key, _)| on(bucket, key, Right::Delete)).collect())
        }
        Command::DeleteVersions { bucket, versions, bypass } => {
            let each = versions.iter().map(|(key, _, _)| on(bucket, key, Right::Delete));
            Need::Rights(each.chain(bypass.then_some((bucket, Scope::Bucket, Right::Admin))).collect())
        }
        // To take a hold off is to be able to remove what it holds.
        Command::SetLock { path, bypass, change, .. } => {
            let admin = (*bypass || *change == LockChange::LegalHold(false)).then_some((
                &path.bucket,
                Scope::Bucket,
                Right::Admin,
            ));
            Need::Rights([rights(path, Right::Write)].into_iter().chain(admin).collect())
        }
        Command::CopyFile(copy) => Need::Rights(vec![rights(&copy.from, Right::Read), rights(&copy.to, Right::Write)]),
        Command::RenameFile { from, to, .. } => Need::Rights(vec![
            rights(from, Right::Read),
            rights(from, Right::Delete),
            on(&from.bucket, to, Right::Write),
        ]),
        Command::BeginStaging { bucket, .. } => Need::Rights(vec![(bucket, Scope::Any, Right::Write)]),
        // A staged upload belongs to the one who began it; that is checked with the upload itself.
        Command::AppendSegment { .. } | Command::AbortStaging { .. } => Need::Session,
        Command::BeginMultipart { path, .. } => one(path, Right::Write),
        Command::CommitPart(part) => one(&part.upload.path, Right::Write),
        Command::CopyPart { upload, from, .. } => {
            Need::Rights(vec![rights(from, Right::Read), rights(&upload.path, Right::Write)])
        }
        Command::CompleteMultipart(complete) => one(&complete.upload.path, Right::Write),
        Command::AbortMultipart { upload } => one(&upload.path, Right::Write),
        Command::Boot { node, .. } | Command::Serve { node, .. } | Command::RetireVolume { node, .. } => {
            Need::Node(Some(*node))
        }
        Command::SetNode { .. }
        | Command::SetReplicas { .. }
        | Command::SetMaster { .. }
        | Command::SetVoters { .. }
        | Command::SetCollection { .. }
        | Command::SetRebalance { .. } => Need::ClusterAdmin,
        Command::ExpireSessions { .. }
        | Command::Release
        | Command::Expire { .. }
        | Command::AddNode { .. }
        | Command::RetireEpochs { .. }
        | Command::DrainNode { .. }
        | Command::RemoveNode { .. }
        | Command::ForgetMisplaced { .. }
        | Command::CreateKey(_)
        | Command::DeleteKey { .. }
        | Command::CreateJoinToken { .. }
        | Command::Init { .. } => Need::Internal,
    }
}

impl Who {
    /// Whether the one who asks has what a request needs. What is said of rights here is what grants say; whose the bucket is, and
    /// what it says itself, comes to that (see [`super::policy`]).
    pub(super) fn may(&self, need: &Need<'_>) -> bool {
        match (need, self) {
            (Need::Ticket, _) => true,
            (Need::Someone | Need::Session, Who::Key(_) | Who::Node { .. }) => true,
            (Need::Gateway, Who::Node { gateway, .. }) => *gateway,
            (Need::Node(None), Who::Node { .. }) => true,
            (Need::Node(Some(wanted)), Who::Node { node, .. }) => node == wanted,
            (Need::Joiner, Who::Joiner(_)) => true,
            (Need::ClusterAdmin, Who::Key(key)) => key.cluster_admin,
            (Need::Rights(rights), _) => rights.iter().all(|(bucket, scope, right)| self.holds(bucket, scope, *right)),
            _ => false,
        }
    }

    /// Whether the one who asks has a right by the grants of a key.
    pub(super) fn holds(&self, bucket: &BucketName, scope: &Scope<'_>, right: Right) -> bool {
        matches!(self, Who::Key(key) if holds(key, bucket, scope, right))
    }
}

impl Who {
    /// Whether the one who asks is of a tenant.
    pub(super) fn is_of(&self, tenant: TenantId) -> bool {
        matches!(self, Who::Key(key) if key.tenant == tenant)
    }

    /// Whether the one who asks may read every file of a tenant, also those of buckets that are not made yet.
    pub(super) fn reads_everything_of(&self, tenant: TenantId) -> bool {
        let everywhere = |grant: &Grant| grant.bucket.is_none() && grant.prefix.is_empty() && grant.rights.read;
        self.is_of(tenant) && matches!(self, Who::Key(key) if key.grants.iter().any(everywhere))
    }
}

fn holds(key: &KeyInfo, bucket: &BucketName, scope: &Scope<'_>, right: Right) -> bool {
    match scope {
        Scope::Key(name) => key.allows(bucket, Some(name), |rights| right.of(rights)),
        Scope::Bucket => key.allows(bucket, None, |rights| right.of(rights)),
        // Any grant that reaches into the bucket at all. Seeing a bucket's own figures takes any right in it.
        Scope::Any => key.grants.iter().any(|grant| {
            let rights = &grant.rights;
            let enough = right.of(rights) || (right == Right::List && *rights != Rights::default());
            grant.bucket.as_ref().is_none_or(|granted| granted == bucket) && enough
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_common::file::Condition;
    use cairn_common::ids::{BootCount, Stamp, TenantId};
    use cairn_common::wire::master::{Heartbeat, RangeWanted};

    fn key(cluster_admin: bool, grants: Vec<Grant>) -> Who {
        Who::Key(Box::new(KeyInfo {
            access: "AK".to_owned(),
            name: String::new(),
            tenant: TenantId(1),
            cluster_admin,
            grants,
            created: Stamp(0),
            expires: None,
        }))
    }

    fn grant(bucket: &str, prefix: &str, rights: Rights) -> Grant {
        Grant { bucket: Some(BucketName::new(bucket).unwrap()), prefix: prefix.to_owned(), rights }
    }

    fn path(bucket: &str, key: &str) -> FilePath {
        FilePath::new(bucket, key).unwrap()
    }

    fn open(bucket: &str, key: &str) -> MasterRequest {
        MasterRequest::Open {
            path: path(bucket, key),
            version: None,
            condition: Condition::default(),
            range: RangeWanted::All,
        }
    }

    fn write(command: Command) -> MasterRequest {
        MasterRequest::Write { session: None, command }
    }

    #[test]
    fn what_only_the_leader_does_cannot_be_asked_for() {
        let node = Who::Node { node: NodeId(1), gateway: true };
        let admin = key(true, vec![Grant { bucket: None, prefix: String::new(), rights: Rights::ALL }]);
        for command in [
            Command::Release,
            Command::ExpireSessions { sessions: Vec::new() },
            Command::DeleteKey { access: "AK".into() },
        ] {
            for who in [&node, &admin, &Who::Nobody, &Who::Joiner("t".into())] {
                assert!(!who.may(&need(&write(command.clone()))), "{who:?} {command:?}");
            }
        }
    }

    #[test]
    fn only_who_may_read_every_bucket_whole_reads_everything() {
        let read = Rights { read: true, ..Rights::default() };
        let everywhere = |prefix: &str, rights| Grant { bucket: None, prefix: prefix.to_owned(), rights };
        assert!(key(false, vec![everywhere("", read)]).reads_everything_of(TenantId(1)));
        assert!(key(false, vec![grant("one", "", read), everywhere("", Rights::ALL)]).reads_everything_of(TenantId(1)));
        let write = Rights { write: true, list: true, ..Rights::default() };
        for grants in [vec![], vec![everywhere("a/", read)], vec![grant("one", "", read)], vec![everywhere("", write)]]
        {
            assert!(!key(true, grants.clone()).reads_everything_of(TenantId(1)), "{grants:?}");
        }
        // A policy may let it write into a bucket of another tenant: what is stored there it must not find by its hash.
        assert!(!key(false, vec![everywhere("", Rights::ALL)]).reads_everything_of(TenantId(2)));
        for who in [Who::Nobody, Who::Node { node: NodeId(1), gateway: true }, Who::Joiner("t".into())] {
            assert!(!who.reads_everything_of(TenantId(1)));
        }
    }

    #[test]
    fn rights_count_in_their_bucket_and_prefix_only() {
        let reader = key(false, vec![grant("one", "docs/", Rights { read: true, ..Rights::default() })]);
        assert!(reader.may(&need(&open("one", "docs/a"))));
        assert!(!reader.may(&need(&open("one", "doc"))));
        assert!(!reader.may(&need(&open("two", "docs/a"))));
        let delete = Command::DeleteFiles {
            bucket: BucketName::new("one").unwrap(),
            files: vec![(Key::new("docs/a").unwrap(), Condition::default())],
        };
        assert!(!reader.may(&need(&write(delete))));
        assert!(!reader.may(&need(&MasterRequest::Status)));
        assert!(!Who::Nobody.may(&need(&open("one", "docs/a"))));
    }

    #[test]
    fn every_file_of_a_batch_needs_its_own_right() {
        let deleter = key(false, vec![grant("one", "mine/", Rights { delete: true, ..Rights::default() })]);
        let delete = |keys: &[&str]| {
            let files = keys.iter().map(|name| (Key::new(*name).unwrap(), Condition::default())).collect();
            write(Command::DeleteFiles { bucket: BucketName::new("one").unwrap(), files })
        };
        assert!(deleter.may(&need(&delete(&["mine/a", "mine/b"]))));
        assert!(!deleter.may(&need(&delete(&["mine/a", "yours/b"]))));
    }

    #[test]
    fn copies_need_both_sides() {
        let rights = |read, write| Rights { read, write, ..Rights::default() };
        let copy = write(Command::RenameFile {
            from: path("one", "a"),
            to: Key::new("b").unwrap(),
            from_condition: Condition::default(),
            condition: Condition::default(),
        });
        assert!(!key(false, vec![grant("one", "", rights(true, true))]).may(&need(&copy)), "a rename also deletes");
        assert!(key(false, vec![grant("one", "", Rights { delete: true, ..rights(true, true) })]).may(&need(&copy)));
    }

    #[test]
    fn a_node_speaks_for_itself_only() {
        let node = Who::Node { node: NodeId(3), gateway: false };
        let serve = |node| write(Command::Serve { node: NodeId(node), boot: BootCount(1) });
        assert!(node.may(&need(&serve(3))));
        assert!(!node.may(&need(&serve(4))));
        assert!(!node.may(&need(&MasterRequest::Credential { access: "AK".into() })));
        assert!(!node.may(&need(&open("one", "a"))), "a gateway reads files in the name of a user only");
        let heartbeat =
            MasterRequest::Heartbeat(Heartbeat { boot: BootCount(1), volumes: Vec::new(), upkeep: Default::default() });
        assert!(node.may(&need(&heartbeat)));
        assert!(!key(true, Vec::new()).may(&need(&heartbeat)));
    }
}
