//! Bucket policies: who may do what with a bucket, beside what the grants of keys say.
//!
//! Pure: a text becomes a [`Policy`] or is refused ([`Policy::parse`]), and a policy gives a [`Verdict`] on a request. What is not
//! understood (an unknown element, action, condition or principal, an element that is there twice) is refused when the policy is
//! given and never ignored, because an ignored word of a `Deny` opens what it should close. A `Deny` wins over every `Allow`.
//!
//! How the verdict and the grants of a key come together is for the masters, which ask for every request; see
//! docs/semantics.md. The language is that of S3 ("Policies and permissions in Amazon S3", Amazon S3 User Guide), without
//! `NotPrincipal`, policy variables, and conditions on what does not exist here.

mod action;
mod condition;
mod parse;
mod pattern;
#[cfg(test)]
mod tests;

pub use action::{Action, Level};
pub use condition::{Fact, HEADERS};

use crate::ids::TenantId;
use crate::name::BucketName;
use condition::{Condition, Test};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker<'a> {
    /// Nobody in particular.
    Nobody,
    /// The holder of an access key.
    Key {
        /// The key's tenant.
        tenant: TenantId,
        /// Its id.
        access: &'a str,
    },
}

/// What a policy says of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It must not be, whoever else allows it.
    Denied,
    /// It may be.
    Allowed,
    /// Nothing.
    Silent,
}

/// A policy that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    statements: Vec<Statement>,
}

/// A policy that cannot be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum PolicyError {
    /// Too long.
    #[error("a policy has at most {} bytes", crate::limits::POLICY_MAX_BYTES)]
    Length,
    /// No JSON, or not the elements of a policy.
    #[error("the policy is not valid JSON, or an element of it is unknown, missing, repeated, or of the wrong type")]
    Form,
    /// A version of the language that is none.
    #[error("the version of a policy is 2012-10-17 or 2008-10-17")]
    Version,
    /// No statement, or one without an action, resource or value.
    #[error("a policy has statements, each with an effect, principals, actions and resources")]
    Empty,
    /// Who it is about is not understood.
    #[error("invalid principal in policy: * and the accounts and keys of this cluster can be named")]
    Principal,
    /// No such action.
    #[error("policy has invalid action")]
    Action,
    /// A resource that is not in the bucket, or has a variable.
    #[error("policy has invalid resource")]
    Resource,
    /// An action of buckets without a bucket, or one of objects without objects.
    #[error("action does not apply to any resource(s) in statement")]
    Mismatch,
    /// An operator, key or value that is not understood.
    #[error("policy has an invalid condition, or one that is not known here")]
    Condition,
    /// It shows the bucket to everybody, which the bucket's block refuses.
    #[error("the bucket's public access block lets nothing be made public")]
    Public,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Statement {
    denies: bool,
    askers: Askers,
    actions: BTreeSet<Action>,
    resources: Resources,
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Askers {
    Everybody,
    These(BTreeSet<Named>),
}

/// Somebody that a statement names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Named {
    Tenant(TenantId),
    Key(TenantId, String),
}

/// Patterns of resources, without `arn:aws:s3:::`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Resources {
    These(Vec<String>),
    AllBut(Vec<String>),
}

impl Policy {
    /// Reads the policy of a bucket.
    pub fn parse(text: &str, bucket: &BucketName) -> Result<Policy, PolicyError> {
        Ok(Policy { statements: parse::statements(text, bucket)? })
    }

    /// What it says of `action` on a bucket, or on the object `key` in it, if `know` knows facts of the request.
    pub fn judge(
        &self,
        asker: Asker<'_>,
        action: Action,
        (bucket, key): (&BucketName, Option<&str>),
        know: &dyn Fn(&Fact) -> Option<String>,
    ) -> Verdict {
        let resource = match key {
            Some(key) => format!("{bucket}/{key}"),
            None => bucket.to_string(),
        };
        let mut verdict = Verdict::Silent;
        for statement in &self.statements {
            if statement.is_about(asker, action)
                && statement.resources.hold(&resource)
                && statement.conditions.iter().all(|condition| condition.holds(know))
            {
                if statement.denies {
                    return Verdict::Denied;
                }
                verdict = Verdict::Allowed;
            }
        }
        verdict
    }

    /// Whether there may be something that it allows, on some resource and under some conditions. For steps that come before
    /// what is judged.
    pub fn may_allow(&self, asker: Asker<'_>, action: Action) -> bool {
        self.statements.iter().any(|statement| !statement.denies && statement.is_about(asker, action))
    }

    /// Whether it lets everybody do something: `*` may, and it does not say from which addresses. ("The meaning of public",
    /// Amazon S3 User Guide.)
    pub fn is_public(&self) -> bool {
        self.statements.iter().any(|statement| {
            !statement.denies
                && statement.askers == Askers::Everybody
                && !statement.conditions.iter().any(Condition::names_addresses)
        })
    }

    /// The labels of objects that it asks about.
    pub fn asks_for_tags(&self) -> bool {
        let all = self.statements.iter().flat_map(|statement| &statement.conditions);
        all.into_iter().any(|condition| matches!(condition.fact, Fact::ExistingTag(_)))
    }
}

impl Statement {
    fn is_about(&self, asker: Asker<'_>, action: Action) -> bool {
        self.actions.contains(&action) && self.askers.hold(asker)
    }
}

impl Askers {
    fn hold(&self, asker: Asker<'_>) -> bool {
        match (self, asker) {
            (Askers::Everybody, _) => true,
            (Askers::These(_), Asker::Nobody) => false,
            (Askers::These(these), Asker::Key { tenant, access }) => {
                these.contains(&Named::Tenant(tenant)) || these.contains(&Named::Key(tenant, access.to_owned()))
            }
        }
    }
}

impl Resources {
    fn hold(&self, resource: &str) -> bool {
        let any = |patterns: &[String]| patterns.iter().any(|wanted| pattern::matches(wanted, resource));
        match self {
            Resources::These(patterns) => any(patterns),
            Resources::AllBut(patterns) => !any(patterns),
        }
    }

    /// Whether something of a level can be meant, in a bucket.
    fn reach(&self, bucket: &BucketName, level: Level) -> bool {
        let Resources::These(patterns) = self else { return true };
        patterns.iter().any(|wanted| match level {
            Level::Bucket => pattern::matches(wanted, bucket.as_str()),
            Level::Object => pattern::reaches(wanted, &format!("{bucket}/")),
        })
    }
}

impl Condition {
    /// Whether it holds only of requests from few addresses.
    fn names_addresses(&self) -> bool {
        let narrow = |blocks: &[condition::Block]| blocks.iter().all(|block| !block.is_broad());
        !self.negated && !self.if_exists && matches!(&self.test, Test::Address(blocks) if narrow(blocks))
    }
}
