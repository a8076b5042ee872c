//! The lifecycle of a bucket: rules are read whole or refused, and shown as they were given. What they end is the masters' work.

use super::buckets::look;
use super::dto;
use super::error::{self, error, unsupported};
use super::service::Caller;
use super::tagging;
use cairn_common::bucket::{BucketChange, Tags};
use cairn_common::lifecycle::{Expire, LifecycleError, LifecycleRule, NoncurrentExpire, Scope, ScopeForm, check_rules};
use cairn_common::limits::LIFECYCLE_RULES_MAX;
use s3s::dto::{
    AbortIncompleteMultipartUpload, DeleteBucketLifecycleInput, DeleteBucketLifecycleOutput, ExpirationStatus,
    GetBucketLifecycleConfigurationInput, GetBucketLifecycleConfigurationOutput, LifecycleExpiration,
    LifecycleRule as Rule, LifecycleRuleAndOperator, LifecycleRuleFilter, NoncurrentVersionExpiration,
    PutBucketLifecycleConfigurationInput, PutBucketLifecycleConfigurationOutput, Tag,
};
use s3s::{S3Error, S3ErrorCode, S3Response, S3Result};

/// The rules of a bucket.
pub(crate) async fn get(
    caller: &Caller,
    input: GetBucketLifecycleConfigurationInput,
) -> S3Result<S3Response<GetBucketLifecycleConfigurationOutput>> {
    let info = look(caller, &input.bucket, input.expected_bucket_owner.as_deref()).await?;
    let rules = info.settings.lifecycle;
    if rules.is_empty() {
        let message = "The lifecycle configuration does not exist";
        return Err(error(S3ErrorCode::NoSuchLifecycleConfiguration, message));
    }
    let rules = Some(rules.into_iter().map(shown).collect::<S3Result<_>>()?);
    Ok(S3Response::new(GetBucketLifecycleConfigurationOutput { rules, ..Default::default() }))
}

/// Gives a bucket rules instead of those it has.
pub(crate) async fn put(
    caller: &Caller,
    input: PutBucketLifecycleConfigurationInput,
) -> S3Result<S3Response<PutBucketLifecycleConfigurationOutput>> {
    dto::expect_owner(input.expected_bucket_owner.as_deref(), caller.tenant())?;
    let given = input.lifecycle_configuration.ok_or_else(malformed)?.rules;
    // Counted before they are named, which compares each with all.
    if given.is_empty() || given.len() > LIFECYCLE_RULES_MAX {
        return Err(malformed());
    }
    let mut rules = given.into_iter().map(read).collect::<S3Result<Vec<_>>>()?;
    name_all(&mut rules);
    check_rules(&rules).map_err(refused)?;
    set(caller, &input.bucket, rules).await?;
    Ok(S3Response::new(PutBucketLifecycleConfigurationOutput::default()))
}

/// Takes all rules off a bucket.
pub(crate) async fn delete(
    caller: &Caller,
    input: DeleteBucketLifecycleInput,
) -> S3Result<S3Response<DeleteBucketLifecycleOutput>> {
    dto::expect_owner(input.expected_bucket_owner.as_deref(), caller.tenant())?;
    set(caller, &input.bucket, Vec::new()).await?;
    Ok(S3Response::new(DeleteBucketLifecycleOutput::default()))
}

async fn set(caller: &Caller, bucket: &str, rules: Vec<LifecycleRule>) -> S3Result<()> {
    let change = BucketChange { lifecycle: Some(rules), ..BucketChange::default() };
    caller.client.set_bucket(&dto::bucket(bucket)?, change).await.map_err(error::operation)
}

/// Gives a name to every rule that came without.
fn name_all(rules: &mut [LifecycleRule]) {
    let mut number = 0;
    for place in 0..rules.len() {
        while rules[place].id.is_empty() {
            number += 1;
            let name = format!("rule-{number}");
            if rules.iter().all(|rule| rule.id != name) {
                rules[place].id = name;
            }
        }
    }
}

fn malformed() -> S3Error {
    error(
        S3ErrorCode::MalformedXML,
        "The XML you provided was not well-formed or did not validate against our published schema",
    )
}

fn refused(problem: LifecycleError) -> S3Error {
    let code = match problem {
        LifecycleError::Count | LifecycleError::Nothing => S3ErrorCode::MalformedXML,
        LifecycleError::Scope => S3ErrorCode::InvalidRequest,
        LifecycleError::Id
        | LifecycleError::Days
        | LifecycleError::Kept
        | LifecycleError::Date
        | LifecycleError::Prefix
        | LifecycleError::Tags => S3ErrorCode::InvalidArgument,
    };
    error(code, problem.to_string())
}

fn read(rule: Rule) -> S3Result<LifecycleRule> {
    let transitions = rule.transitions.is_some_and(|list| !list.is_empty());
    if transitions || rule.noncurrent_version_transitions.is_some_and(|list| !list.is_empty()) {
        return Err(unsupported("A transition to another storage class"));
    }
    let enabled = match rule.status.as_str() {
        ExpirationStatus::ENABLED => true,
        ExpirationStatus::DISABLED => false,
        _ => return Err(malformed()),
    };
    let scope = match (rule.prefix, rule.filter) {
        (Some(_), Some(_)) => return Err(malformed()),
        (prefix, None) => Scope { form: ScopeForm::Prefix, prefix: prefix.unwrap_or_default(), ..Scope::default() },
        (None, Some(filter)) => read_filter(filter)?,
    };
    let abort = |rule: AbortIncompleteMultipartUpload| count(rule.days_after_initiation.ok_or_else(malformed)?);
    Ok(LifecycleRule {
        id: rule.id.unwrap_or_default(),
        enabled,
        scope,
        expire: rule.expiration.map(read_expiration).transpose()?,
        noncurrent: rule.noncurrent_version_expiration.map(read_noncurrent).transpose()?,
        abort_uploads_days: rule.abort_incomplete_multipart_upload.map(abort).transpose()?,
    })
}

fn read_filter(filter: LifecycleRuleFilter) -> S3Result<Scope> {
    let LifecycleRuleFilter { and, object_size_greater_than, object_size_less_than, prefix, tag, .. } = filter;
    let single = usize::from(object_size_greater_than.is_some())
        + usize::from(object_size_less_than.is_some())
        + usize::from(prefix.is_some())
        + usize::from(tag.is_some());
    if single > 1 || (single == 1 && and.is_some()) {
        return Err(malformed());
    }
    if let Some(and) = and {
        return Ok(Scope {
            form: ScopeForm::And,
            prefix: and.prefix.unwrap_or_default(),
            tags: tagging::read(and.tags.unwrap_or_default())?,
            larger_than: and.object_size_greater_than.map(size).transpose()?,
            smaller_than: and.object_size_less_than.map(size).transpose()?,
        });
    }
    Ok(Scope {
        form: ScopeForm::Filter,
        prefix: prefix.unwrap_or_default(),
        tags: tagging::read(tag.into_iter().collect())?,
        larger_than: object_size_greater_than.map(size).transpose()?,
        smaller_than: object_size_less_than.map(size).transpose()?,
    })
}

fn read_expiration(expiration: LifecycleExpiration) -> S3Result<Expire> {
    let marks = expiration.expired_object_delete_marker.unwrap_or(false);
    match (expiration.days, expiration.date, marks) {
        (Some(days), None, false) => Ok(Expire::Days(count(days)?)),
        (None, Some(date), false) => Ok(Expire::Date(dto::milliseconds(date)?)),
        (None, None, true) => Ok(Expire::LonelyMarks),
        _ => Err(malformed()),
    }
}

fn read_noncurrent(rule: NoncurrentVersionExpiration) -> S3Result<NoncurrentExpire> {
    let days = count(rule.noncurrent_days.ok_or_else(malformed)?)?;
    let keep = rule.newer_noncurrent_versions.map(count).transpose()?.unwrap_or(0);
    Ok(NoncurrentExpire { days, keep })
}

fn count(number: i32) -> S3Result<u32> {
    let positive = u32::try_from(number).ok().filter(|number| *number > 0);
    positive.ok_or_else(|| error(S3ErrorCode::InvalidArgument, "Days and versions must be positive numbers"))
}

fn size(bytes: i64) -> S3Result<u64> {
    u64::try_from(bytes).map_err(|_| error(S3ErrorCode::InvalidArgument, "A size is not negative"))
}

/// A rule as it was given.
fn shown(rule: LifecycleRule) -> S3Result<Rule> {
    let too_large = |_| error(S3ErrorCode::InternalError, "A number does not fit");
    let number = |number: u32| i32::try_from(number).map_err(too_large);
    let bytes = |bytes: u64| i64::try_from(bytes).map_err(|_| error(S3ErrorCode::InternalError, "A size does not fit"));
    let Scope { form, prefix, tags, larger_than, smaller_than } = rule.scope;
    let object_size_greater_than = larger_than.map(bytes).transpose()?;
    let object_size_less_than = smaller_than.map(bytes).transpose()?;
    let bare = tags.is_empty() && larger_than.is_none() && smaller_than.is_none();
    let (prefix, filter) = match form {
        ScopeForm::Prefix => (Some(prefix), None),
        ScopeForm::Filter => {
            let prefix = (bare || !prefix.is_empty()).then_some(prefix);
            let tag = labels(tags).pop();
            let filter = LifecycleRuleFilter {
                object_size_greater_than,
                object_size_less_than,
                prefix,
                tag,
                ..Default::default()
            };
            (None, Some(filter))
        }
        ScopeForm::And => {
            let tags = (!tags.is_empty()).then(|| labels(tags));
            let prefix = (!prefix.is_empty()).then_some(prefix);
            let and = LifecycleRuleAndOperator { object_size_greater_than, object_size_less_than, prefix, tags };
            (None, Some(LifecycleRuleFilter { and: Some(and), ..Default::default() }))
        }
    };
    let expiration = rule.expire.map(|expire| {
        Ok::<_, S3Error>(match expire {
            Expire::Days(days) => LifecycleExpiration { days: Some(number(days)?), ..Default::default() },
            Expire::Date(date) => LifecycleExpiration { date: Some(dto::time_ms(date)), ..Default::default() },
            Expire::LonelyMarks => {
                LifecycleExpiration { expired_object_delete_marker: Some(true), ..Default::default() }
            }
        })
    });
    let noncurrent = rule.noncurrent.map(|rule| {
        let newer_noncurrent_versions = if rule.keep > 0 { Some(number(rule.keep)?) } else { None };
        Ok::<_, S3Error>(NoncurrentVersionExpiration {
            newer_noncurrent_versions,
            noncurrent_days: Some(number(rule.days)?),
        })
    });
    let abort = rule
        .abort_uploads_days
        .map(|days| Ok::<_, S3Error>(AbortIncompleteMultipartUpload { days_after_initiation: Some(number(days)?) }));
    let status = if rule.enabled { ExpirationStatus::ENABLED } else { ExpirationStatus::DISABLED };
    Ok(Rule {
        abort_incomplete_multipart_upload: abort.transpose()?,
        expiration: expiration.transpose()?,
        filter,
        id: Some(rule.id),
        noncurrent_version_expiration: noncurrent.transpose()?,
        noncurrent_version_transitions: None,
        prefix,
        status: ExpirationStatus::from_static(status),
        transitions: None,
    })
}

fn labels(tags: Tags) -> Vec<Tag> {
    tags.into_iter().map(|(key, value)| Tag { key: Some(key), value: Some(value) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(change: impl FnOnce(&mut Rule)) -> Rule {
        let mut rule = Rule {
            abort_incomplete_multipart_upload: None,
            expiration: Some(LifecycleExpiration { days: Some(3), ..Default::default() }),
            filter: None,
            id: Some("r".to_owned()),
            noncurrent_version_expiration: None,
            noncurrent_version_transitions: None,
            prefix: Some("a/".to_owned()),
            status: ExpirationStatus::from_static(ExpirationStatus::ENABLED),
            transitions: None,
        };
        change(&mut rule);
        rule
    }

    fn code(given: Rule) -> String {
        read(given).unwrap_err().code().as_str().to_owned()
    }

    #[test]
    fn rules_are_shown_as_they_were_given() {
        let tag = || Tag { key: Some("k".to_owned()), value: Some("v".to_owned()) };
        let filter = |filter| {
            rule(|rule| {
                rule.prefix = None;
                rule.filter = Some(filter);
            })
        };
        let and = LifecycleRuleAndOperator {
            object_size_greater_than: Some(5),
            object_size_less_than: None,
            prefix: Some("p".to_owned()),
            tags: Some(vec![tag(), Tag { key: Some("l".to_owned()), value: Some(String::new()) }]),
        };
        for given in [
            rule(|_| ()),
            filter(LifecycleRuleFilter { tag: Some(tag()), ..Default::default() }),
            filter(LifecycleRuleFilter { object_size_less_than: Some(9), ..Default::default() }),
            filter(LifecycleRuleFilter { prefix: Some(String::new()), ..Default::default() }),
            filter(LifecycleRuleFilter { and: Some(and), ..Default::default() }),
            rule(|rule| {
                rule.expiration = None;
                rule.noncurrent_version_expiration =
                    Some(NoncurrentVersionExpiration { newer_noncurrent_versions: Some(2), noncurrent_days: Some(4) });
                rule.abort_incomplete_multipart_upload =
                    Some(AbortIncompleteMultipartUpload { days_after_initiation: Some(7) });
            }),
        ] {
            assert_eq!(shown(read(given.clone()).unwrap()).unwrap(), given);
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        assert_eq!(code(rule(|rule| rule.status = ExpirationStatus::from_static("enabled"))), "MalformedXML");
        assert_eq!(code(rule(|rule| rule.filter = Some(LifecycleRuleFilter::default()))), "MalformedXML");
        let expiration = |days, marks| {
            rule(|rule| {
                rule.expiration =
                    Some(LifecycleExpiration { days, expired_object_delete_marker: marks, ..Default::default() });
            })
        };
        assert_eq!(code(expiration(Some(0), None)), "InvalidArgument");
        assert_eq!(code(expiration(Some(1), Some(true))), "MalformedXML");
        assert_eq!(code(expiration(None, None)), "MalformedXML");
        assert_eq!(code(rule(|rule| rule.transitions = Some(vec![Default::default()]))), "NotImplemented");
    }

    #[test]
    fn rules_without_a_name_get_one() {
        let named = |id: &str| LifecycleRule { id: id.to_owned(), ..LifecycleRule::default() };
        let mut rules = [named(""), named("rule-2"), named("")];
        name_all(&mut rules);
        assert_eq!(rules.map(|rule| rule.id), ["rule-1", "rule-2", "rule-3"]);
    }
}
