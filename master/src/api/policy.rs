//! Whether a request may be: what the key's grants say, what the bucket shows to everybody, and what the bucket's policy says.
//!
//! | who | may |
//! |---|---|
//! | anybody | nothing that the policy denies |
//! | keys of the bucket's tenant | what their grants allow, and what the policy allows |
//! | keys of other tenants | what the policy allows, if their own grants would allow it in a bucket of their own; both sides must agree |
//! | nobody | what the policy allows |
//! | all of them | to read what the bucket shows to everybody |
//!
//! So that no policy locks everybody out, a `Deny` takes the policy itself out of nobody's hands who may administer every bucket
//! of the tenant. A policy that cannot be read any more denies all else.

use super::access::{Need, Scope, Who, makes_bucket, need, readable};
use super::words::{actions, facts};
use crate::query::{self, BucketRules, QueryError};
use crate::server::MasterServer;
use cairn_common::file::Condition;
use cairn_common::ids::BucketId;
use cairn_common::name::{BucketName, FilePath};
use cairn_common::policy::{Action, Asker, Fact, Level, Policy, Verdict};
use cairn_common::version::VersionId;
use cairn_common::wire::command::{Command, Grant};
use cairn_common::wire::master::{Asking, Found, MasterError, MasterRequest, Right};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Policies that are kept read.
const POLICIES_MAX: usize = 1000;

/// Policies as they were last read, so that not every request reads the text again.
#[derive(Debug, Default)]
pub(crate) struct Policies(Mutex<BTreeMap<BucketId, Arc<Read>>>);

/// A text, and what it says; `None`: it cannot be read.
#[derive(Debug)]
struct Read {
    text: String,
    policy: Option<Policy>,
}

impl Policies {
    fn read(&self, id: BucketId, text: String, bucket: &BucketName) -> Arc<Read> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(read) = known.get(&id).filter(|read| read.text == text) {
            return Arc::clone(read);
        }
        let policy = Policy::parse(&text, bucket);
        if let Err(problem) = &policy {
            tracing::error!(%bucket, %problem, "the policy of a bucket cannot be read; it denies everything");
        }
        if known.len() >= POLICIES_MAX {
            known.clear();
        }
        let read = Arc::new(Read { text, policy: policy.ok() });
        known.insert(id, Arc::clone(&read));
        read
    }
}

/// Who asks, and what is known about how.
#[derive(Clone, Copy)]
pub(super) struct Question<'a> {
    pub(super) who: &'a Who,
    /// What a gateway says about it.
    pub(super) asking: Option<&'a Asking>,
    pub(super) request: &'a MasterRequest,
}

/// One right that a request needs.
struct Entry<'a> {
    bucket: &'a BucketName,
    scope: &'a Scope<'a>,
    right: Right,
    actions: Vec<Action>,
}

/// What a bucket itself says.
struct Known {
    rules: Option<BucketRules>,
    policy: Option<Arc<Read>>,
}

impl MasterServer {
    /// Whether the request may be.
    pub(super) fn allows(&self, question: Question<'_>) -> Result<bool, MasterError> {
        let need = need(question.request);
        let Need::Rights(entries) = &need else {
            // Nobody, whom a policy lets write through a gateway, goes on in the gateway's session.
            let in_session = need == Need::Session && question.asking.is_some();
            return Ok(in_session || question.who.may(&need));
        };
        if makes_bucket(question.request) {
            // That the name is taken is for the command to say.
            return Ok(question.who.may(&need));
        }
        let mut known: Option<(&BucketName, Known)> = None;
        for (bucket, scope, right) in entries {
            let known = match &mut known {
                Some((name, known)) if name == bucket => known,
                other => &mut other.insert((bucket, self.known(bucket)?)).1,
            };
            let actions = actions(question.request, *right, question.asking.and_then(|asking| asking.action));
            if !self.entry(question, known, &Entry { bucket, scope, right: *right, actions })? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether the one who asks may know which files are beside `path`.
    pub(super) fn may_list(&self, who: &Who, asking: Option<&Asking>, path: &FilePath) -> Result<bool, MasterError> {
        let request = MasterRequest::Stat { path: path.clone(), version: None, condition: Condition::default() };
        let question = Question { who, asking, request: &request };
        let (scope, actions) = (Scope::Key(path.key.as_str()), vec![Action::ListBucket]);
        let entry = Entry { bucket: &path.bucket, scope: &scope, right: Right::List, actions };
        self.entry(question, &self.known(&path.bucket)?, &entry)
    }

    fn known(&self, bucket: &BucketName) -> Result<Known, MasterError> {
        let mut rules = self.look(|view| query::rules(view, bucket))?;
        let policy = rules.as_mut().and_then(|rules| Some((rules.id, rules.policy.take()?)));
        let policy = policy.map(|(id, text)| self.policies.read(id, text, bucket));
        Ok(Known { rules, policy })
    }

    fn entry(&self, question: Question<'_>, known: &Known, entry: &Entry<'_>) -> Result<bool, MasterError> {
        let tenant = known.rules.as_ref().map(|rules| rules.tenant);
        if tenant.is_some_and(|tenant| question.asking.and_then(|asking| asking.owner).is_some_and(|it| it != tenant)) {
            return Ok(false);
        }
        // A bucket that is not there is the asker's as well as anybody's.
        let own = match question.who {
            Who::Key(key) => tenant.is_none_or(|tenant| tenant == key.tenant),
            _ => true,
        };
        let granted = question.who.holds(entry.bucket, entry.scope, entry.right);
        let verdict = self.verdict(question, known, own, entry)?;
        let listed = matches!(verdict, Verdict::Allowed) && (own || granted);
        if verdict == Verdict::Denied {
            let of_policy = !entry.actions.is_empty() && entry.actions.iter().all(|action| action.is_of_policy());
            return Ok(own && of_policy && question.who.administers_everything());
        }
        if listed || (own && granted) {
            return Ok(true);
        }
        match readable(question.request) {
            Some(path) if entry.right == Right::Read => self.look(|view| query::is_public(view, path)),
            _ => Ok(false),
        }
    }

    /// What the policy says of one right.
    fn verdict(
        &self,
        question: Question<'_>,
        known: &Known,
        own: bool,
        entry: &Entry<'_>,
    ) -> Result<Verdict, MasterError> {
        let Some(read) = &known.policy else { return Ok(Verdict::Silent) };
        let Some(policy) = &read.policy else { return Ok(Verdict::Denied) };
        let asker = match question.who {
            Who::Key(key) => Asker::Key { tenant: key.tenant, access: &key.access },
            Who::Nobody => Asker::Nobody,
            Who::Node { .. } | Who::Joiner(_) => return Ok(Verdict::Silent),
        };
        let member = own && asker != Asker::Nobody;
        let restricted = known.rules.as_ref().is_some_and(|rules| rules.restricted) && policy.is_public();
        let tags = self.tags(question.request, policy, entry)?;
        let given = facts(question.request, question.asking);
        let know = |fact: &Fact| match fact {
            Fact::ExistingTag(label) => tags.get(label).cloned(),
            fact => given.get(fact).cloned(),
        };
        let mut verdicts = Vec::new();
        for action in &entry.actions {
            let key = match (entry.scope, action.level()) {
                (Scope::Key(key), Level::Object) => Some(*key),
                (_, Level::Bucket) => None,
                // Which object is not known yet, and asked when it is.
                (_, Level::Object) => {
                    let may = policy.may_allow(asker, *action);
                    verdicts.push(if may { Verdict::Allowed } else { Verdict::Silent });
                    continue;
                }
            };
            let judged = policy.judge(asker, *action, (entry.bucket, key), &know);
            let asked_early = matches!(question.request, MasterRequest::May { .. });
            let may_come = judged == Verdict::Silent && asked_early && policy.may_allow(asker, *action);
            verdicts.push(if may_come { Verdict::Allowed } else { judged });
        }
        Ok(if verdicts.contains(&Verdict::Denied) {
            Verdict::Denied
        } else if verdicts.is_empty() || verdicts.contains(&Verdict::Silent) || (restricted && !member) {
            Verdict::Silent
        } else {
            Verdict::Allowed
        })
    }

    /// The labels of the object that is asked for, if the policy asks about them.
    fn tags(
        &self,
        request: &MasterRequest,
        policy: &Policy,
        entry: &Entry<'_>,
    ) -> Result<BTreeMap<String, String>, MasterError> {
        let Scope::Key(key) = entry.scope else { return Ok(BTreeMap::new()) };
        let Ok(path) = FilePath::new(entry.bucket.as_str(), *key) else { return Ok(BTreeMap::new()) };
        if !policy.asks_for_tags() {
            return Ok(BTreeMap::new());
        }
        let version = version_of(request, &path);
        let found = self.look(|view| match query::stat(view, &path, version, &Condition::default()) {
            Ok(Found::Here(info)) => Ok(info.attributes.tags),
            Ok(Found::NotModified(info)) => Ok(info.attributes.tags),
            // What is not there has no labels.
            Err(QueryError::Refused(_)) => Ok(BTreeMap::new()),
            Err(problem) => Err(problem),
        })?;
        Ok(found)
    }
}

/// Which version of a file a request is about.
fn version_of(request: &MasterRequest, path: &FilePath) -> Option<VersionId> {
    match request {
        MasterRequest::Stat { version, .. } | MasterRequest::Open { version, .. } => *version,
        MasterRequest::Write { command, .. } => match command {
            Command::SetTags { version, .. } | Command::SetLock { version, .. } => *version,
            Command::CopyFile(copy) if copy.from == *path => copy.from_version,
            Command::DeleteVersions { versions, .. } => {
                versions.iter().find(|(key, _, _)| *key == path.key).map(|(_, version, _)| *version)
            }
            _ => None,
        },
        _ => None,
    }
}

impl Who {
    /// Whether the one who asks may administer every bucket of its tenant: what S3 calls the root user of an account.
    fn administers_everything(&self) -> bool {
        let everywhere = |grant: &Grant| grant.bucket.is_none() && grant.prefix.is_empty() && grant.rights.admin;
        matches!(self, Who::Key(key) if key.grants.iter().any(everywhere))
    }
}
