//! Policies as text: read whole, or refused.

use super::condition::{Block, Compare, Condition, Fact, Test};
use super::pattern;
use super::{Action, Askers, Named, PolicyError, Resources, Statement};
use crate::ids::TenantId;
use crate::limits::POLICY_MAX_BYTES;
use crate::name::BucketName;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use std::collections::BTreeSet;
use std::marker::PhantomData;

/// What resources begin with.
const ARN: &str = "arn:aws:s3:::";

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct RawPolicy {
    version: Option<String>,
    #[serde(rename = "Id")]
    _id: Option<String>,
    statement: Many<RawStatement>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct RawStatement {
    #[serde(rename = "Sid")]
    _sid: Option<String>,
    effect: Effect,
    principal: RawPrincipal,
    action: Option<Many<String>>,
    not_action: Option<Many<String>>,
    resource: Option<Many<String>>,
    not_resource: Option<Many<String>>,
    condition: Option<Pairs<Pairs<Many<Scalar>>>>,
}

#[derive(Deserialize, PartialEq)]
enum Effect {
    Allow,
    Deny,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawPrincipal {
    Text(String),
    Named(RawNames),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawNames {
    #[serde(rename = "AWS")]
    aws: Option<Many<String>>,
    #[serde(rename = "CanonicalUser")]
    canonical: Option<Many<String>>,
}

/// One, or a list.
#[derive(Deserialize)]
#[serde(untagged)]
enum Many<T> {
    One(T),
    List(Vec<T>),
}

impl<T> Many<T> {
    fn list(self) -> Vec<T> {
        match self {
            Many::One(one) => vec![one],
            Many::List(list) => list,
        }
    }
}

/// A value, which people also write without quotes.
#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Text(String),
    Truth(bool),
    Number(i64),
}

impl Scalar {
    fn text(self) -> String {
        match self {
            Scalar::Text(text) => text,
            Scalar::Truth(truth) => truth.to_string(),
            Scalar::Number(number) => number.to_string(),
        }
    }
}

/// An object whose names are free, each of which is there once.
struct Pairs<T>(Vec<(String, T)>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Pairs<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Pairs<T>, D::Error> {
        struct Reader<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Reader<T> {
            type Value = Pairs<T>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<T>, A::Error> {
                let mut pairs: Vec<(String, T)> = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, T>()? {
                    if pairs.iter().any(|(known, _)| *known == name) {
                        return Err(A::Error::custom("a name is there twice"));
                    }
                    pairs.push((name, value));
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Reader(PhantomData))
    }
}

pub(super) fn statements(text: &str, bucket: &BucketName) -> Result<Vec<Statement>, PolicyError> {
    if text.len() > POLICY_MAX_BYTES {
        return Err(PolicyError::Length);
    }
    let raw: RawPolicy = serde_json::from_str(text).map_err(|_| PolicyError::Form)?;
    if raw.version.is_some_and(|version| version != "2012-10-17" && version != "2008-10-17") {
        return Err(PolicyError::Version);
    }
    let statements = raw.statement.list();
    if statements.is_empty() {
        return Err(PolicyError::Empty);
    }
    statements.into_iter().map(|statement| read(statement, bucket)).collect()
}

fn read(raw: RawStatement, bucket: &BucketName) -> Result<Statement, PolicyError> {
    let resources = match (raw.resource, raw.not_resource) {
        (Some(these), None) => Resources::These(resources(these)?),
        (None, Some(others)) => Resources::AllBut(resources(others)?),
        _ => return Err(PolicyError::Form),
    };
    let reaches = |level| resources.reach(bucket, level);
    if !reaches(super::Level::Bucket) && !reaches(super::Level::Object) {
        return Err(PolicyError::Resource);
    }
    let actions = match (raw.action, raw.not_action) {
        (Some(these), None) => {
            let lists = these.list().into_iter().map(|name| {
                let named = actions(&name)?;
                // What is named must be possible; of what a pattern stands for, something.
                if named.iter().any(|action| reaches(action.level())) { Ok(named) } else { Err(PolicyError::Mismatch) }
            });
            lists.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect::<BTreeSet<_>>()
        }
        (None, Some(others)) => {
            let mut left: BTreeSet<Action> = Action::ALL.iter().copied().collect();
            for name in others.list() {
                actions(&name)?.iter().for_each(|action| {
                    left.remove(action);
                });
            }
            left
        }
        _ => return Err(PolicyError::Form),
    };
    if actions.is_empty() {
        return Err(PolicyError::Empty);
    }
    let mut conditions = Vec::new();
    for (operator, keys) in raw.condition.map(|pairs| pairs.0).unwrap_or_default() {
        for (key, values) in keys.0 {
            let values = values.list().into_iter().map(Scalar::text).collect();
            conditions.push(condition(&operator, &key, values)?);
        }
    }
    Ok(Statement { denies: raw.effect == Effect::Deny, askers: askers(raw.principal)?, actions, resources, conditions })
}

/// The actions of a name or pattern. Case does not matter.
fn actions(name: &str) -> Result<Vec<Action>, PolicyError> {
    let name = name.to_ascii_lowercase();
    let wanted = match name.as_str() {
        "*" => "*",
        _ => name.strip_prefix("s3:").ok_or(PolicyError::Action)?,
    };
    let named = |action: &&Action| pattern::matches(wanted, &action.name().to_ascii_lowercase());
    let found: Vec<Action> = Action::ALL.iter().filter(named).copied().collect();
    if found.is_empty() { Err(PolicyError::Action) } else { Ok(found) }
}

fn resources(names: Many<String>) -> Result<Vec<String>, PolicyError> {
    let names = names.list();
    if names.is_empty() {
        return Err(PolicyError::Empty);
    }
    let resource = |name: String| match name.strip_prefix(ARN) {
        // Variables are not known here, and must not be taken for text.
        Some(resource) if !resource.is_empty() && !resource.contains("${") => Ok(resource.to_owned()),
        None if name == "*" => Ok(name),
        _ => Err(PolicyError::Resource),
    };
    names.into_iter().map(resource).collect()
}

fn askers(raw: RawPrincipal) -> Result<Askers, PolicyError> {
    let names = match raw {
        RawPrincipal::Text(text) if text == "*" => return Ok(Askers::Everybody),
        RawPrincipal::Text(_) => return Err(PolicyError::Principal),
        RawPrincipal::Named(names) => names,
    };
    let (aws, canonical) = (names.aws.map(Many::list), names.canonical.map(Many::list));
    let (aws, canonical) = (aws.unwrap_or_default(), canonical.unwrap_or_default());
    if aws.is_empty() && canonical.is_empty() {
        return Err(PolicyError::Principal);
    }
    let mut these = BTreeSet::new();
    let mut everybody = false;
    for name in aws {
        match name.as_str() {
            "*" => everybody = true,
            name => {
                these.insert(named(name).ok_or(PolicyError::Principal)?);
            }
        }
    }
    for name in canonical {
        let number = Some(&name).filter(|name| name.len() == 64).and_then(|name| u32::from_str_radix(name, 16).ok());
        these.insert(Named::Tenant(TenantId(number.ok_or(PolicyError::Principal)?)));
    }
    Ok(if everybody { Askers::Everybody } else { Askers::These(these) })
}

/// An account (`7`, `000000000007`, `arn:aws:iam::7:root`: a tenant) or a user of one (`arn:aws:iam::7:user/CK…`: a key).
fn named(name: &str) -> Option<Named> {
    let tenant = |number: &str| {
        let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| number.parse().ok()).flatten().map(TenantId)
    };
    let Some(rest) = name.strip_prefix("arn:aws:iam::") else { return tenant(name).map(Named::Tenant) };
    let (number, who) = rest.split_once(':')?;
    match who.strip_prefix("user/") {
        None if who == "root" => tenant(number).map(Named::Tenant),
        Some(access) if !access.is_empty() && !access.contains(['*', '?', '$']) => {
            Some(Named::Key(tenant(number)?, access.to_owned()))
        }
        _ => None,
    }
}

fn condition(operator: &str, key: &str, values: Vec<String>) -> Result<Condition, PolicyError> {
    let wrong = PolicyError::Condition;
    let fact = Fact::parse(key).ok_or(wrong)?;
    let (operator, if_exists) = match operator.strip_suffix("IfExists") {
        Some(operator) if operator != "Null" => (operator, true),
        Some(_) => return Err(wrong),
        None => (operator, false),
    };
    if values.is_empty() || values.iter().any(|value| value.contains("${")) {
        return Err(wrong);
    }
    let truths =
        || -> Option<Vec<bool>> { values.iter().map(|value| value.to_ascii_lowercase().parse().ok()).collect() };
    let is_text = !matches!(fact, Fact::SourceIp | Fact::SecureTransport);
    let (test, negated) = match operator {
        "Null" => match truths().ok_or(wrong)?.as_slice() {
            [truth] => (Test::Unknown(*truth), false),
            _ => return Err(wrong),
        },
        "Bool" if fact == Fact::SecureTransport => (Test::Truth(truths().ok_or(wrong)?), false),
        "IpAddress" | "NotIpAddress" if fact == Fact::SourceIp => {
            let blocks: Option<Vec<Block>> = values.iter().map(|value| Block::parse(value)).collect();
            (Test::Address(blocks.ok_or(wrong)?), operator == "NotIpAddress")
        }
        "StringEquals" if is_text => (Test::Text(Compare::Exactly, values), false),
        "StringNotEquals" if is_text => (Test::Text(Compare::Exactly, values), true),
        "StringEqualsIgnoreCase" if is_text => (Test::Text(Compare::AnyCase, values), false),
        "StringNotEqualsIgnoreCase" if is_text => (Test::Text(Compare::AnyCase, values), true),
        "StringLike" if is_text => (Test::Text(Compare::Pattern, values), false),
        "StringNotLike" if is_text => (Test::Text(Compare::Pattern, values), true),
        _ => return Err(wrong),
    };
    Ok(Condition { fact, test, negated, if_exists })
}
