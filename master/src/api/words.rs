//! Requests in the words of policies: which actions they are, and what is known about them.

use cairn_common::bucket::{BucketChange, Tags};
use cairn_common::policy::{Action, Fact, Level};
use cairn_common::version::LockChange;
use cairn_common::wire::command::Command;
use cairn_common::wire::master::{Asking, MasterRequest, Right};
use std::collections::BTreeMap;

/// The actions that a right of a request is. `stated`: what a gateway was asked for, which may say more exactly what a look at a file
/// or a bucket is for. Nothing: there is no word for it, and policies say nothing of it.
pub(super) fn actions(request: &MasterRequest, right: Right, stated: Option<Action>) -> Vec<Action> {
    let read = |version: bool| if version { Action::GetObjectVersion } else { Action::GetObject };
    match request {
        MasterRequest::May { action, .. } => vec![*action],
        MasterRequest::Policy { .. } => {
            vec![stated.filter(|it| *it == Action::GetBucketPolicyStatus).unwrap_or(Action::GetBucketPolicy)]
        }
        MasterRequest::Stat { version, .. } => {
            let seen = read(version.is_some());
            match stated.filter(|it| looks_at_object(*it)) {
                // They are what a HEAD shows as well, which takes the right to read.
                Some(shown @ (Action::GetObjectAttributes | Action::GetObjectVersionAttributes)) => vec![seen, shown],
                other => vec![other.unwrap_or(seen)],
            }
        }
        // Bytes are bytes, whatever they are wanted for.
        MasterRequest::Open { version, .. } => vec![read(version.is_some())],
        MasterRequest::FileParts { version, .. } => vec![read(version.is_some())],
        MasterRequest::WriteTokens { .. } => vec![Action::PutObject],
        MasterRequest::Bucket { .. } => vec![stated.unwrap_or(Action::ListBucket)],
        MasterRequest::List(_) => vec![Action::ListBucket],
        MasterRequest::ListVersions(_) => vec![Action::ListBucketVersions],
        MasterRequest::Uploads { .. } => vec![Action::ListBucketMultipartUploads],
        MasterRequest::Parts { .. } => vec![Action::ListMultipartUploadParts],
        MasterRequest::Write { command, .. } => of_command(command, right, stated),
        _ => of_right(right),
    }
}

fn of_command(command: &Command, right: Right, stated: Option<Action>) -> Vec<Action> {
    match command {
        Command::SetPolicy { policy: Some(_), .. } => vec![Action::PutBucketPolicy],
        Command::SetPolicy { policy: None, .. } => vec![Action::DeleteBucketPolicy],
        Command::SetBucket { change, .. } => of_change(change),
        Command::DeleteBucket { .. } => vec![Action::DeleteBucket],
        Command::SetTags { version, .. } => {
            let deletes = matches!(stated, Some(Action::DeleteObjectTagging | Action::DeleteObjectVersionTagging));
            vec![match (deletes, version.is_some()) {
                (true, true) => Action::DeleteObjectVersionTagging,
                (true, false) => Action::DeleteObjectTagging,
                (false, true) => Action::PutObjectVersionTagging,
                (false, false) => Action::PutObjectTagging,
            }]
        }
        Command::SetLock { .. } | Command::DeleteVersions { .. } if right == Right::Admin => Vec::new(),
        Command::SetLock { change: LockChange::LegalHold(_), .. } => vec![Action::PutObjectLegalHold],
        Command::SetLock { bypass, .. } => with_bypass(Action::PutObjectRetention, *bypass),
        Command::DeleteFiles { .. } => vec![Action::DeleteObject],
        Command::DeleteVersions { bypass, .. } => with_bypass(Action::DeleteObjectVersion, *bypass),
        Command::AbortMultipart { .. } => vec![Action::AbortMultipartUpload],
        Command::CopyFile(copy) if right == Right::Read => {
            vec![if copy.from_version.is_some() { Action::GetObjectVersion } else { Action::GetObject }]
        }
        _ => of_right(right)
            .into_iter()
            .chain(if right == Right::Write { beside(command) } else { Vec::new() })
            .collect(),
    }
}

/// What a right is, if no more is said.
fn of_right(right: Right) -> Vec<Action> {
    match right {
        Right::Read => vec![Action::GetObject],
        Right::Write => vec![Action::PutObject],
        Right::Delete => vec![Action::DeleteObject],
        Right::List => vec![Action::ListBucket],
        Right::Admin => Vec::new(),
    }
}

fn with_bypass(action: Action, bypass: bool) -> Vec<Action> {
    if bypass { vec![action, Action::BypassGovernanceRetention] } else { vec![action] }
}

/// What a write does beside storing bytes, each of which is an action of its own.
fn beside(command: &Command) -> Vec<Action> {
    let attributes = match command {
        Command::CommitFile(commit) => Some(&commit.attributes),
        Command::BeginMultipart { attributes, .. } => Some(attributes),
        Command::CopyFile(copy) => copy.attributes.as_ref(),
        _ => None,
    };
    let each = attributes.map(|attributes| {
        [
            (!attributes.tags.is_empty(), Action::PutObjectTagging),
            (attributes.lock.retention.is_some(), Action::PutObjectRetention),
            (attributes.lock.legal_hold, Action::PutObjectLegalHold),
        ]
    });
    each.into_iter().flatten().filter_map(|(does, action)| does.then_some(action)).collect()
}

/// What a change of settings is; quotas and public prefixes are not of S3.
fn of_change(change: &BucketChange) -> Vec<Action> {
    let BucketChange {
        quota_bytes: _,
        quota_files: _,
        public,
        tags,
        versioning,
        lock,
        lifecycle,
        cors,
        public_access_block,
        owner_enforced,
    } = change;
    let each = [
        // Who may show a bucket to everybody by its policy may do it by its prefixes.
        (public.is_some(), Action::PutBucketPolicy),
        (tags.is_some(), Action::PutBucketTagging),
        (versioning.is_some(), Action::PutBucketVersioning),
        (lock.is_some(), Action::PutBucketObjectLockConfiguration),
        (lifecycle.is_some(), Action::PutLifecycleConfiguration),
        (cors.is_some(), Action::PutBucketCORS),
        (public_access_block.is_some(), Action::PutBucketPublicAccessBlock),
        (owner_enforced.is_some(), Action::PutBucketOwnershipControls),
    ];
    each.into_iter().filter_map(|(changes, action)| changes.then_some(action)).collect()
}

/// Whether an action reads something about an object.
fn looks_at_object(action: Action) -> bool {
    action.level() == Level::Object && action.name().starts_with("Get")
}

/// What is known about a request.
pub(super) fn facts(request: &MasterRequest, asking: Option<&Asking>) -> BTreeMap<Fact, String> {
    let mut facts = BTreeMap::new();
    if asking.is_none() {
        match request {
            MasterRequest::List(list) => look(&mut facts, &list.prefix, list.delimiter.as_ref()),
            MasterRequest::ListVersions(list) => look(&mut facts, &list.prefix, list.delimiter.as_ref()),
            MasterRequest::Uploads { prefix, delimiter, .. } => look(&mut facts, prefix, delimiter.as_ref()),
            MasterRequest::Stat { version: Some(version), .. } | MasterRequest::Open { version: Some(version), .. } => {
                facts.insert(Fact::VersionId, version.to_string());
            }
            _ => {}
        }
    }
    let given = asking.map(|asking| asking.facts.as_slice()).unwrap_or_default();
    facts.extend(given.iter().cloned());
    // The labels that are stored are those of the command, whatever else is said.
    if let MasterRequest::Write { command, .. } = request
        && let Some(tags) = labels(command)
    {
        facts.retain(|fact, _| !matches!(fact, Fact::RequestTag(_)));
        facts.extend(tags.iter().map(|(name, value)| (Fact::RequestTag(name.clone()), value.clone())));
    }
    facts
}

fn look(facts: &mut BTreeMap<Fact, String>, prefix: &str, delimiter: Option<&String>) {
    facts.insert(Fact::Prefix, prefix.to_owned());
    facts.extend(delimiter.map(|delimiter| (Fact::Delimiter, delimiter.clone())));
}

fn labels(command: &Command) -> Option<&Tags> {
    match command {
        Command::CommitFile(commit) => Some(&commit.attributes.tags),
        Command::SetTags { tags, .. } => Some(tags),
        Command::BeginMultipart { attributes, .. } => Some(&attributes.tags),
        Command::CopyFile(copy) => copy.attributes.as_ref().map(|attributes| &attributes.tags),
        _ => None,
    }
}
