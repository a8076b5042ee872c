//! Access control lists, answered as S3 answers where they are disabled (`BucketOwnerEnforced`): the owner of a bucket owns all that
//! is in it. Reading one says so; writing one that says so is right and changes nothing; any other is refused, never ignored.
//! ("Controlling ownership of objects and disabling ACLs for your bucket", Amazon S3 User Guide.)

use super::buckets::look;
use super::dto;
use super::error::{self, error};
use super::service::Caller;
use cairn_common::ids::TenantId;
use cairn_common::policy::Action;
use cairn_common::wire::master::Right;
use http::HeaderMap;
use s3s::dto::{
    AccessControlPolicy, GetBucketAclInput, GetBucketAclOutput, GetObjectAclInput, GetObjectAclOutput, Grant, Grantee,
    Permission, PutBucketAclInput, PutBucketAclOutput, PutObjectAclInput, PutObjectAclOutput, Type,
};
use s3s::{S3Error, S3ErrorCode, S3Response, S3Result};

/// Canned ACLs of S3 that say something else than what is the case.
const OTHERS: &[&[u8]] = &[
    b"public-read",
    b"public-read-write",
    b"authenticated-read",
    b"aws-exec-read",
    b"bucket-owner-read",
    b"log-delivery-write",
];

/// The owner may do everything, and nobody else anything.
pub(crate) async fn get_bucket(caller: &Caller, input: GetBucketAclInput) -> S3Result<S3Response<GetBucketAclOutput>> {
    let info = look(caller, &input.bucket, input.expected_bucket_owner.as_deref()).await?;
    let (grants, owner) = (Some(vec![full_control(info.tenant)]), Some(dto::owner(info.tenant)));
    Ok(S3Response::new(GetBucketAclOutput { grants, owner }))
}

/// The owner of the bucket may do everything, and nobody else anything.
pub(crate) async fn get_object(caller: &Caller, input: GetObjectAclInput) -> S3Result<S3Response<GetObjectAclOutput>> {
    dto::expect_owner(input.expected_bucket_owner.as_deref(), caller.tenant())?;
    let path = dto::path(&input.bucket, &input.key)?;
    caller.stat_version(&path, dto::version(input.version_id.as_deref())?).await?;
    let asked = caller.client.may(&path.bucket, Some(path.key.as_str()), Right::Read, Action::GetObjectAcl).await;
    let tenant = asked.map_err(error::operation)?.unwrap_or(caller.tenant());
    let (grants, owner) = (Some(vec![full_control(tenant)]), Some(dto::owner(tenant)));
    Ok(S3Response::new(GetObjectAclOutput { grants, owner, ..GetObjectAclOutput::default() }))
}

/// Says what is the case anyway.
pub(crate) async fn put_bucket(caller: &Caller, input: PutBucketAclInput) -> S3Result<S3Response<PutBucketAclOutput>> {
    let info = look(caller, &input.bucket, input.expected_bucket_owner.as_deref()).await?;
    check(&caller.headers, input.access_control_policy.as_ref(), info.tenant)?;
    Ok(S3Response::new(PutBucketAclOutput::default()))
}

/// Says what is the case anyway.
pub(crate) async fn put_object(caller: &Caller, input: PutObjectAclInput) -> S3Result<S3Response<PutObjectAclOutput>> {
    dto::expect_owner(input.expected_bucket_owner.as_deref(), caller.tenant())?;
    let path = dto::path(&input.bucket, &input.key)?;
    caller.stat_version(&path, dto::version(input.version_id.as_deref())?).await?;
    let asked = caller.client.may(&path.bucket, Some(path.key.as_str()), Right::Write, Action::PutObjectAcl).await;
    let tenant = asked.map_err(error::operation)?.unwrap_or(caller.tenant());
    check(&caller.headers, input.access_control_policy.as_ref(), tenant)?;
    Ok(S3Response::new(PutObjectAclOutput::default()))
}

/// Whether a list says what is the case: that the owner may do everything.
fn check(headers: &HeaderMap, list: Option<&AccessControlPolicy>, owner: TenantId) -> S3Result<()> {
    in_headers(headers)?;
    match list {
        None if headers.contains_key("x-amz-acl") => Ok(()),
        None => Err(error(S3ErrorCode::MissingSecurityHeader, "Your request was missing a required header")),
        Some(list) if is_full_control(list, owner) => Ok(()),
        Some(_) => Err(not_supported()),
    }
}

fn is_full_control(list: &AccessControlPolicy, owner: TenantId) -> bool {
    let [grant] = list.grants.as_deref().unwrap_or_default() else { return false };
    let everything = grant.permission.as_ref().is_some_and(|it| it.as_str() == Permission::FULL_CONTROL);
    let id = grant.grantee.as_ref().and_then(|grantee| grantee.id.as_deref());
    everything && id == Some(dto::owner_id(owner).as_str())
}

/// Canned ACLs and grants in the headers of a write: those that say what is the case anyway; there are no others.
pub(crate) fn in_headers(headers: &HeaderMap) -> S3Result<()> {
    if headers.keys().any(|name| name.as_str().starts_with("x-amz-grant-")) {
        return Err(not_supported());
    }
    match headers.get("x-amz-acl").map(http::HeaderValue::as_bytes) {
        None | Some(b"private" | b"bucket-owner-full-control") => Ok(()),
        Some(other) if OTHERS.contains(&other) => Err(not_supported()),
        Some(_) => Err(error(S3ErrorCode::InvalidArgument, "There is no such canned ACL")),
    }
}

fn not_supported() -> S3Error {
    error(S3ErrorCode::AccessControlListNotSupported, "The bucket does not allow ACLs")
}

fn full_control(tenant: TenantId) -> Grant {
    let owner = dto::owner(tenant);
    let grantee = Grantee {
        display_name: owner.display_name,
        email_address: None,
        id: owner.id,
        type_: Type::from_static(Type::CANONICAL_USER),
        uri: None,
    };
    Grant { grantee: Some(grantee), permission: Some(Permission::from_static(Permission::FULL_CONTROL)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn only_what_is_the_case_anyway_can_be_said() {
        let code = |name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            check(&headers, None, TenantId(7)).map_err(|problem| problem.code().as_str().to_owned())
        };
        assert_eq!(code("x-amz-acl", "private"), Ok(()));
        assert_eq!(code("x-amz-acl", "bucket-owner-full-control"), Ok(()));
        assert_eq!(code("x-amz-acl", "public-read"), Err("AccessControlListNotSupported".to_owned()));
        assert_eq!(code("x-amz-acl", "nonsense"), Err("InvalidArgument".to_owned()));
        assert_eq!(code("x-amz-grant-read", "id=x"), Err("AccessControlListNotSupported".to_owned()));
        assert_eq!(code("x-other", ""), Err("MissingSecurityHeader".to_owned()));
        let list = |grants| AccessControlPolicy { grants: Some(grants), owner: None };
        assert!(check(&HeaderMap::new(), Some(&list(vec![full_control(TenantId(7))])), TenantId(7)).is_ok());
        for grants in
            [vec![], vec![full_control(TenantId(8))], vec![full_control(TenantId(7)), full_control(TenantId(8))]]
        {
            assert!(check(&HeaderMap::new(), Some(&list(grants)), TenantId(7)).is_err());
        }
    }
}
