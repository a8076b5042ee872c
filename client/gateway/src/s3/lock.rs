//! Object Lock: of buckets, of versions, and as new versions ask for it. The masters judge every change and every removal.

use super::buckets::look;
use super::dto;
use super::error::{self, custom, error};
use super::service::Caller;
use cairn_common::bucket::BucketChange;
use cairn_common::file::FileInfo;
use cairn_common::version::{DefaultRetention, Lock, LockChange, ObjectLock, Period, Retention, RetentionMode};
use http::{HeaderMap, StatusCode};
use s3s::dto::{
    DefaultRetention as Rule, GetObjectLegalHoldInput, GetObjectLegalHoldOutput, GetObjectLockConfigurationInput,
    GetObjectLockConfigurationOutput, GetObjectRetentionInput, GetObjectRetentionOutput, ObjectLockConfiguration,
    ObjectLockEnabled, ObjectLockLegalHold, ObjectLockLegalHoldStatus, ObjectLockMode, ObjectLockRetention,
    ObjectLockRetentionMode, ObjectLockRule, PutObjectLegalHoldInput, PutObjectLegalHoldOutput,
    PutObjectLockConfigurationInput, PutObjectLockConfigurationOutput, PutObjectRetentionInput,
    PutObjectRetentionOutput, Timestamp, TimestampFormat,
};
use s3s::{S3Error, S3ErrorCode, S3Response, S3Result};

/// The lock that a new version asks for in its headers.
pub(crate) fn of_headers(headers: &HeaderMap) -> S3Result<Lock> {
    let text = |name: &str| {
        let invalid = |_| invalid("A header of Object Lock is not ASCII");
        headers.get(name).map(|value| value.to_str()).transpose().map_err(invalid)
    };
    let legal_hold = match text("x-amz-object-lock-legal-hold")? {
        None => false,
        Some(status) => is_on(status)?,
    };
    let (wanted, until) = (text("x-amz-object-lock-mode")?, text("x-amz-object-lock-retain-until-date")?);
    let retention = match (wanted, until) {
        (None, None) => None,
        (Some(wanted), Some(until)) => {
            let until = Timestamp::parse(TimestampFormat::DateTime, until);
            let until = until.map_err(|_| invalid("The retain until date is not a date"))?;
            Some(Retention { mode: mode(wanted)?, until_ms: dto::milliseconds(until)? })
        }
        _ => {
            let message = "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied";
            return Err(invalid(message));
        }
    };
    Ok(Lock { retention, legal_hold })
}

/// What answers say about a version's lock: mode, end, hold.
pub(crate) fn shown(info: &FileInfo) -> (Option<ObjectLockMode>, Option<Timestamp>, Option<ObjectLockLegalHoldStatus>) {
    let Lock { retention, legal_hold } = info.attributes.lock;
    let mode = retention.map(|retention| ObjectLockMode::from_static(mode_name(retention.mode)));
    let hold = legal_hold.then(|| ObjectLockLegalHoldStatus::from_static(ObjectLockLegalHoldStatus::ON));
    (mode, retention.map(|retention| dto::time_ms(retention.until_ms)), hold)
}

/// The rule of a bucket.
pub(crate) async fn configuration(
    caller: &Caller,
    input: GetObjectLockConfigurationInput,
) -> S3Result<S3Response<GetObjectLockConfigurationOutput>> {
    let info = look(caller, &input.bucket, input.expected_bucket_owner.as_deref()).await?;
    let lock = info.settings.lock.ok_or_else(|| {
        let message = "Object Lock configuration does not exist for this bucket";
        error(S3ErrorCode::ObjectLockConfigurationNotFoundError, message)
    })?;
    let rule = lock.default.map(|default| {
        let (days, years) = match default.period {
            Period::Days(days) => (i32::try_from(days).ok(), None),
            Period::Years(years) => (None, i32::try_from(years).ok()),
        };
        let mode = Some(ObjectLockRetentionMode::from_static(mode_name(default.mode)));
        ObjectLockRule { default_retention: Some(Rule { days, mode, years }) }
    });
    let object_lock_enabled = Some(ObjectLockEnabled::from_static(ObjectLockEnabled::ENABLED));
    let configuration = ObjectLockConfiguration { object_lock_enabled, rule };
    Ok(S3Response::new(GetObjectLockConfigurationOutput { object_lock_configuration: Some(configuration) }))
}

/// Gives a bucket Object Lock, or another rule.
pub(crate) async fn configure(
    caller: &Caller,
    input: PutObjectLockConfigurationInput,
) -> S3Result<S3Response<PutObjectLockConfigurationOutput>> {
    let name = dto::bucket(&input.bucket)?;
    dto::expect_owner(input.expected_bucket_owner.as_deref(), caller.tenant())?;
    let malformed = || error(S3ErrorCode::MalformedXML, "The configuration of Object Lock is malformed");
    let wanted = input.object_lock_configuration.ok_or_else(malformed)?;
    let enabled = wanted.object_lock_enabled.as_ref().map(ObjectLockEnabled::as_str);
    if enabled != Some(ObjectLockEnabled::ENABLED) {
        return Err(malformed());
    }
    let default = match wanted.rule {
        None => None,
        Some(rule) => Some(default(rule.default_retention.ok_or_else(malformed)?)?),
    };
    let change = BucketChange { lock: Some(ObjectLock { default }), ..BucketChange::default() };
    caller.client.set_bucket(&name, change).await.map_err(error::operation)?;
    Ok(S3Response::new(PutObjectLockConfigurationOutput::default()))
}

fn default(rule: Rule) -> S3Result<DefaultRetention> {
    let malformed = || error(S3ErrorCode::MalformedXML, "A default retention has a mode, and either days or years");
    let positive = |number: i32| {
        let number = u32::try_from(number).ok().filter(|number| *number > 0);
        number.ok_or_else(|| custom("InvalidRetentionPeriod", StatusCode::BAD_REQUEST, PERIOD))
    };
    let period = match (rule.days, rule.years) {
        (Some(days), None) => Period::Days(positive(days)?),
        (None, Some(years)) => Period::Years(positive(years)?),
        _ => return Err(malformed()),
    };
    if period.days().is_none() {
        return Err(custom("InvalidRetentionPeriod", StatusCode::BAD_REQUEST, PERIOD));
    }
    let mode = rule.mode.ok_or_else(malformed)?;
    let mode = read_mode(mode.as_str()).ok_or_else(malformed)?;
    Ok(DefaultRetention { mode, period })
}

const PERIOD: &str = "A default retention period is from one day to a hundred years";

/// Until when a version is kept.
pub(crate) async fn retention(
    caller: &Caller,
    input: GetObjectRetentionInput,
) -> S3Result<S3Response<GetObjectRetentionOutput>> {
    must_lock(caller, &input.bucket, input.expected_bucket_owner.as_deref()).await?;
    let path = dto::path(&input.bucket, &input.key)?;
    let info = caller.stat_version(&path, dto::version(input.version_id.as_deref())?).await?;
    let retention = info.attributes.lock.retention.ok_or_else(no_lock)?;
    let retention = ObjectLockRetention {
        mode: Some(ObjectLockRetentionMode::from_static(mode_name(retention.mode))),
        retain_until_date: Some(dto::time_ms(retention.until_ms)),
    };
    Ok(S3Response::new(GetObjectRetentionOutput { retention: Some(retention) }))
}

/// Changes until when a version is kept.
pub(crate) async fn put_retention(
    caller: &Caller,
    input: PutObjectRetentionInput,
) -> S3Result<S3Response<PutObjectRetentionOutput>> {
    dto::expect_owner(input.expected_bucket_owner.as_deref(), caller.tenant())?;
    let malformed = || error(S3ErrorCode::MalformedXML, "A retention has a mode and a date, or is empty");
    let retention = match input.retention {
        None => return Err(malformed()),
        Some(ObjectLockRetention { mode: None, retain_until_date: None }) => None,
        Some(ObjectLockRetention { mode: Some(mode), retain_until_date: Some(until) }) => {
            let mode = read_mode(mode.as_str()).ok_or_else(malformed)?;
            Some(Retention { mode, until_ms: dto::milliseconds(until)? })
        }
        Some(_) => return Err(malformed()),
    };
    let path = dto::path(&input.bucket, &input.key)?;
    let version = dto::version(input.version_id.as_deref())?;
    let bypass = input.bypass_governance_retention.unwrap_or(false);
    let change = LockChange::Retention(retention);
    caller.client.set_lock(&path, version, change, bypass).await.map_err(error::operation)?;
    Ok(S3Response::new(PutObjectRetentionOutput::default()))
}

/// Whether a version is held.
pub(crate) async fn legal_hold(
    caller: &Caller,
    input: GetObjectLegalHoldInput,
) -> S3Result<S3Response<GetObjectLegalHoldOutput>> {
    must_lock(caller, &input.bucket, input.expected_bucket_owner.as_deref()).await?;
    let path = dto::path(&input.bucket, &input.key)?;
    let info = caller.stat_version(&path, dto::version(input.version_id.as_deref())?).await?;
    let status = match info.attributes.lock.legal_hold {
        true => ObjectLockLegalHoldStatus::ON,
        false => ObjectLockLegalHoldStatus::OFF,
    };
    let legal_hold = ObjectLockLegalHold { status: Some(ObjectLockLegalHoldStatus::from_static(status)) };
    Ok(S3Response::new(GetObjectLegalHoldOutput { legal_hold: Some(legal_hold) }))
}

/// Holds a version, or lets it go.
pub(crate) async fn put_legal_hold(
    caller: &Caller,
    input: PutObjectLegalHoldInput,
) -> S3Result<S3Response<PutObjectLegalHoldOutput>> {
    dto::expect_owner(input.expected_bucket_owner.as_deref(), caller.tenant())?;
    let status = input.legal_hold.and_then(|hold| hold.status);
    let malformed = || error(S3ErrorCode::MalformedXML, "A legal hold is ON or OFF");
    let on = is_on(status.ok_or_else(malformed)?.as_str()).map_err(|_| malformed())?;
    let path = dto::path(&input.bucket, &input.key)?;
    let version = dto::version(input.version_id.as_deref())?;
    let change = LockChange::LegalHold(on);
    caller.client.set_lock(&path, version, change, false).await.map_err(error::operation)?;
    Ok(S3Response::new(PutObjectLegalHoldOutput::default()))
}

/// A bucket must have Object Lock.
async fn must_lock(caller: &Caller, bucket: &str, expected_owner: Option<&str>) -> S3Result<()> {
    let info = look(caller, bucket, expected_owner).await?;
    match info.settings.lock {
        Some(_) => Ok(()),
        None => Err(error(S3ErrorCode::InvalidRequest, "Bucket is missing Object Lock Configuration")),
    }
}

fn no_lock() -> S3Error {
    custom(
        "NoSuchObjectLockConfiguration",
        StatusCode::NOT_FOUND,
        "The specified object does not have a ObjectLock configuration",
    )
}

fn invalid(message: &'static str) -> S3Error {
    error(S3ErrorCode::InvalidArgument, message)
}

fn is_on(status: &str) -> S3Result<bool> {
    match status {
        ObjectLockLegalHoldStatus::ON => Ok(true),
        ObjectLockLegalHoldStatus::OFF => Ok(false),
        _ => Err(invalid("A legal hold is ON or OFF")),
    }
}

fn mode(name: &str) -> S3Result<RetentionMode> {
    read_mode(name).ok_or_else(|| invalid("Unknown wormMode directive: it is GOVERNANCE or COMPLIANCE"))
}

fn read_mode(name: &str) -> Option<RetentionMode> {
    match name {
        ObjectLockRetentionMode::GOVERNANCE => Some(RetentionMode::Governance),
        ObjectLockRetentionMode::COMPLIANCE => Some(RetentionMode::Compliance),
        _ => None,
    }
}

fn mode_name(mode: RetentionMode) -> &'static str {
    match mode {
        RetentionMode::Governance => ObjectLockRetentionMode::GOVERNANCE,
        RetentionMode::Compliance => ObjectLockRetentionMode::COMPLIANCE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn headers(pairs: &[(&'static str, &'static str)]) -> S3Result<Lock> {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (http::HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        of_headers(&pairs.iter().map(pair).collect())
    }

    #[test]
    fn a_lock_is_read_from_headers_whole_or_not_at_all() {
        const MODE: &str = "x-amz-object-lock-mode";
        const UNTIL: &str = "x-amz-object-lock-retain-until-date";
        assert_eq!(headers(&[]).unwrap(), Lock::default());
        let lock = headers(&[(MODE, "COMPLIANCE"), (UNTIL, "1970-01-01T00:00:02.5Z")]).unwrap();
        assert_eq!(lock.retention, Some(Retention { mode: RetentionMode::Compliance, until_ms: 2_500 }));
        assert!(headers(&[("x-amz-object-lock-legal-hold", "ON")]).unwrap().legal_hold);
        for wrong in [
            vec![(MODE, "GOVERNANCE")],
            vec![(UNTIL, "2030-01-01T00:00:00Z")],
            vec![(MODE, "governance"), (UNTIL, "2030-01-01T00:00:00Z")],
            vec![(MODE, "GOVERNANCE"), (UNTIL, "tomorrow")],
            vec![(MODE, "GOVERNANCE"), (UNTIL, "1930-01-01T00:00:00Z")],
            vec![(MODE, "GOVERNANCE"), (UNTIL, "9999-12-31T23:59:59-12:00")],
            vec![("x-amz-object-lock-legal-hold", "on")],
        ] {
            assert!(headers(&wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_default_has_a_mode_and_one_period() {
        let rule = |days, years, mode: Option<&'static str>| {
            default(Rule { days, years, mode: mode.map(ObjectLockRetentionMode::from_static) })
        };
        assert!(rule(Some(1), None, Some("GOVERNANCE")).is_ok() && rule(None, Some(100), Some("COMPLIANCE")).is_ok());
        for (days, years, mode) in [
            (None, None, Some("GOVERNANCE")),
            (Some(1), Some(1), Some("GOVERNANCE")),
            (Some(0), None, Some("GOVERNANCE")),
            (None, Some(-1), Some("COMPLIANCE")),
            (None, Some(101), Some("COMPLIANCE")),
            (Some(1), None, Some("other")),
            (Some(1), None, None),
        ] {
            assert!(rule(days, years, mode).is_err(), "{days:?} {years:?} {mode:?}");
        }
    }
}
