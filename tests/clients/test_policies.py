"""Bucket policies and access control lists, from the user guide and the API reference of Amazon S3."""

import json
import urllib.error
import urllib.parse
import urllib.request

import pytest
from botocore.exceptions import ClientError


@pytest.fixture(scope="session")
def s3(cluster):
    return cluster.boto3()


@pytest.fixture(scope="session")
def other(cluster):
    """A client of another tenant."""
    return cluster.boto3(new_key(cluster, "other", "--tenant", "2"))


def new_key(cluster, name, *options):
    key = json.loads(cluster.cli("--json", "admin", "key", "create", name, *options).stdout.splitlines()[0])
    return key["access_key"], key["secret_key"]


def refused(call, **arguments):
    with pytest.raises(ClientError) as raised:
        call(**arguments)
    answer = raised.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


DENIED = (403, "AccessDenied")


def allow(bucket, action, resource="/*", effect="Allow", principal="*", **rest):
    resources = [f"arn:aws:s3:::{bucket}{place}" for place in ([resource] if isinstance(resource, str) else resource)]
    return {"Effect": effect, "Principal": principal, "Action": action, "Resource": resources, **rest}


def give(s3, bucket, *statements):
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    s3.put_bucket_policy(Bucket=bucket, Policy=policy)
    return policy


def ask(cluster, bucket, key="", method="GET", query="", data=None, **headers):
    """What somebody without credentials gets: status and body."""
    url = f"{cluster.s3}/{bucket}/{urllib.parse.quote(key)}{query}"
    try:
        with cluster.urlopen(urllib.request.Request(url, data, headers, method=method)) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as problem:
        return problem.code, b""


def test_a_policy_is_shown_as_it_was_given_and_taken_off(s3, bucket):
    absent = (404, "NoSuchBucketPolicy")
    assert refused(s3.get_bucket_policy, Bucket=bucket) == absent
    assert refused(s3.get_bucket_policy_status, Bucket=bucket) == absent
    is_public = lambda: s3.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"]["IsPublic"]
    policy = give(s3, bucket, allow(bucket, "s3:GetObject"))
    assert s3.get_bucket_policy(Bucket=bucket)["Policy"] == policy
    assert is_public()
    give(s3, bucket, allow(bucket, "s3:GetObject", principal={"AWS": "arn:aws:iam::2:root"}))
    assert not is_public()
    narrow = {"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}}
    give(s3, bucket, allow(bucket, "s3:GetObject", Condition=narrow))
    assert not is_public()
    s3.delete_bucket_policy(Bucket=bucket)
    s3.delete_bucket_policy(Bucket=bucket)
    assert refused(s3.get_bucket_policy, Bucket=bucket) == absent


@pytest.mark.parametrize(
    "change",
    [
        {"Action": "s3:NoSuchAction"},
        {"Action": "s3:ListBucket"},
        {"Resource": "arn:aws:s3:::another-bucket/*"},
        {"Principal": {"AWS": "arn:aws:iam::nobody:root"}},
        {"Principal": None},
        {"Condition": {"StringEquals": {"aws:Unknown": "x"}}},
        {"Condition": {"StringSame": {"aws:Referer": "x"}}},
        {"Effect": "allow"},
        {"Conditions": {}},
        {"NotPrincipal": "*"},
    ],
)
def test_a_policy_that_is_not_understood_is_refused_whole(s3, bucket, change):
    before = give(s3, bucket, allow(bucket, "s3:GetObject", principal={"AWS": "2"}))
    changed = {**allow(bucket, "s3:GetObject"), **change}
    statement = {name: value for name, value in changed.items() if value is not None}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    assert refused(s3.put_bucket_policy, Bucket=bucket, Policy=policy) == (400, "MalformedPolicy")
    assert s3.get_bucket_policy(Bucket=bucket)["Policy"] == before


def test_everybody_may_do_what_a_policy_allows_and_nothing_else(s3, cluster, bucket):
    for key in ["web/a", "private"]:
        s3.put_object(Bucket=bucket, Key=key, Body=b"1")
    assert ask(cluster, bucket, "web/a")[0] == 403
    statements = [allow(bucket, "s3:GetObject", "/web/*"), allow(bucket, ["s3:PutObject", "s3:DeleteObject"], "/drop/*")]
    give(s3, bucket, *statements)
    assert ask(cluster, bucket, "web/a") == (200, b"1")
    assert ask(cluster, bucket, "private")[0] == 403
    assert ask(cluster, bucket, "web/missing")[0] == 403, "who may not list learns of nothing"
    assert ask(cluster, bucket)[0] == 403
    assert ask(cluster, bucket, "web/a", "PUT", data=b"2")[0] == 403
    large = b"x" * (3 << 20)
    assert ask(cluster, bucket, "drop/a", "PUT", data=large)[0] == 200
    assert s3.get_object(Bucket=bucket, Key="drop/a")["Body"].read() == large
    assert ask(cluster, bucket, "drop/a", "DELETE")[0] == 204
    assert ask(cluster, bucket, "private", "DELETE")[0] == 403
    assert ask(cluster, bucket, query="?policy")[0] == 403
    give(s3, bucket, *statements, allow(bucket, "s3:ListBucket", ""))
    status, listing = ask(cluster, bucket)
    assert status == 200 and b"<Key>private</Key>" in listing
    assert ask(cluster, bucket, "web/missing")[0] == 404
    s3.delete_bucket_policy(Bucket=bucket)
    assert ask(cluster, bucket, "web/a")[0] == 403


def test_a_deny_wins_over_grants_over_an_allow_and_over_what_is_shown_to_everybody(s3, cluster, bucket):
    s3.put_object(Bucket=bucket, Key="a", Body=b"1")
    s3.put_object(Bucket=bucket, Key="b", Body=b"1")
    give(s3, bucket, allow(bucket, "s3:*"), allow(bucket, ["s3:GetObject", "s3:DeleteObject"], "/a", "Deny"))
    assert refused(s3.get_object, Bucket=bucket, Key="a") == DENIED
    assert ask(cluster, bucket, "a")[0] == 403
    assert ask(cluster, bucket, "b") == (200, b"1")
    # The command line goes straight to the masters.
    assert cluster.cli("cat", f"cairn://{bucket}/b", check=False).returncode == 0
    assert cluster.cli("cat", f"cairn://{bucket}/a", check=False).returncode != 0
    # A copy is a read of its source.
    assert refused(s3.copy_object, Bucket=bucket, Key="c", CopySource={"Bucket": bucket, "Key": "a"}) == DENIED
    deleted = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "a"}, {"Key": "b"}]})
    assert [gone["Key"] for gone in deleted["Deleted"]] == ["b"]
    assert [(problem["Key"], problem["Code"]) for problem in deleted["Errors"]] == [("a", "AccessDenied")]
    s3.delete_bucket_policy(Bucket=bucket)
    assert s3.get_object(Bucket=bucket, Key="a")["Body"].read() == b"1"


def test_another_tenant_needs_the_policy_and_its_own_grants(s3, cluster, other, bucket):
    s3.put_object(Bucket=bucket, Key="a", Body=b"seen")
    tenant = {"AWS": "arn:aws:iam::2:root"}
    for call in [other.get_object, other.head_object, other.delete_object, other.get_object_tagging]:
        assert refused(call, Bucket=bucket, Key="a")[0] == 403
    give(s3, bucket, allow(bucket, ["s3:GetObject", "s3:PutObject"], "/*", principal=tenant))
    assert other.get_object(Bucket=bucket, Key="a")["Body"].read() == b"seen"
    body = b"y" * (6 << 20)
    other.put_object(Bucket=bucket, Key="theirs", Body=body)
    assert s3.get_object(Bucket=bucket, Key="theirs")["Body"].read() == body
    assert refused(other.list_objects_v2, Bucket=bucket) == DENIED
    assert refused(other.put_object_tagging, Bucket=bucket, Key="a", Tagging={"TagSet": []}) == DENIED
    assert refused(other.put_object, Bucket=bucket, Key="a", Body=b"", Tagging="a=b") == DENIED, "labels are an action more"
    assert refused(other.put_bucket_policy, Bucket=bucket, Policy="{}") == DENIED
    assert refused(other.get_bucket_policy, Bucket=bucket) == DENIED
    owner = s3.get_bucket_acl(Bucket=bucket)["Owner"]["ID"]
    theirs = other.list_buckets()["Owner"]["ID"]
    assert other.get_object(Bucket=bucket, Key="a")["ContentLength"] == 4
    assert refused(other.put_object, Bucket=bucket, Key="a", Body=b"", ExpectedBucketOwner=theirs) == DENIED
    assert owner != theirs
    # A copy out of the bucket moves bytes, because tenants never share any; one into it as well.
    mine = f"{bucket}-theirs"
    other.create_bucket(Bucket=mine)
    other.copy_object(Bucket=mine, Key="copy", CopySource={"Bucket": bucket, "Key": "theirs"})
    assert other.get_object(Bucket=mine, Key="copy")["Body"].read() == body
    assert refused(s3.get_object, Bucket=mine, Key="copy")[0] == 403
    # A key without grants of its own gets nothing from another's bucket, and what the policy says in one of its tenant's.
    bare = cluster.boto3(new_key(cluster, "bare", "--tenant", "2", "--grant", "nothing-at-all=read"))
    assert refused(bare.get_object, Bucket=bucket, Key="a")[0] == 403
    own = cluster.boto3(new_key(cluster, "own", "--grant", "nothing-at-all=read"))
    assert refused(own.get_object, Bucket=bucket, Key="a")[0] == 403
    give(s3, bucket, allow(bucket, "s3:GetObject", principal={"AWS": "arn:aws:iam::1:root"}))
    assert own.get_object(Bucket=bucket, Key="a")["Body"].read() == b"seen"
    assert refused(other.get_object, Bucket=bucket, Key="a")[0] == 403


def test_conditions_are_about_the_request_and_the_object(s3, cluster, other, bucket):
    s3.put_object(Bucket=bucket, Key="open", Body=b"1", Tagging="security=public")
    s3.put_object(Bucket=bucket, Key="shut", Body=b"1", Tagging="security=private")
    reads = lambda key, **headers: ask(cluster, bucket, key, **headers)[0] == 200
    tagged = {"StringEquals": {"s3:ExistingObjectTag/security": "public"}}
    give(s3, bucket, allow(bucket, "s3:GetObject", Condition=tagged))
    assert reads("open") and not reads("shut") and not reads("missing")
    give(s3, bucket, allow(bucket, "s3:GetObject", Condition={"StringLike": {"aws:Referer": "http://mine.example/*"}}))
    assert reads("shut", Referer="http://mine.example/page") and not reads("shut", Referer="http://x/") and not reads("shut")
    secure = "true" if cluster.ca else "false"
    for value in ["true", "false"]:
        give(s3, bucket, allow(bucket, "s3:GetObject", Condition={"Bool": {"aws:SecureTransport": value}}))
        assert reads("shut") == (value == secure)
    for block, inside in [("127.0.0.0/8", True), ("203.0.113.0/24", False)]:
        give(s3, bucket, allow(bucket, "s3:GetObject", Condition={"IpAddress": {"aws:SourceIp": block}}))
        assert reads("shut") == inside
        assert reads("shut", **{"X-Forwarded-For": "203.0.113.1"}) == inside, "anybody can write that header"
    listing = allow(bucket, "s3:ListBucket", "", principal={"AWS": "2"}, Condition={"StringEquals": {"s3:prefix": "home/"}})
    give(s3, bucket, listing)
    other.list_objects_v2(Bucket=bucket, Prefix="home/")
    assert refused(other.list_objects_v2, Bucket=bucket) == DENIED
    assert refused(other.list_objects_v2, Bucket=bucket, Prefix="x") == DENIED
    source = {"StringLike": {"s3:x-amz-copy-source": f"{bucket}/open*"}}
    give(s3, bucket, allow(bucket, "s3:*", ["", "/*"], principal={"AWS": "2"}), {
        **allow(bucket, "s3:PutObject", effect="Deny"), "Condition": {"StringNotLike": source["StringLike"]},
    })
    other.copy_object(Bucket=bucket, Key="copied", CopySource=f"{bucket}/open")
    assert refused(other.copy_object, Bucket=bucket, Key="copied", CopySource=f"{bucket}/shut") == DENIED
    assert refused(s3.put_object, Bucket=bucket, Key="copied", Body=b"") == DENIED


def test_a_block_of_public_access_applies_to_policies(s3, cluster, other, bucket):
    s3.put_object(Bucket=bucket, Key="a", Body=b"1")
    block = dict.fromkeys(["BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"], False)
    put = lambda **change: s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration={**block, **change})
    public = json.dumps({"Statement": allow(bucket, "s3:GetObject")})
    put(BlockPublicPolicy=True)
    assert refused(s3.put_bucket_policy, Bucket=bucket, Policy=public) == DENIED
    put()
    s3.put_bucket_policy(Bucket=bucket, Policy=public)
    assert ask(cluster, bucket, "a")[0] == 200 and other.get_object(Bucket=bucket, Key="a")
    put(RestrictPublicBuckets=True)
    assert ask(cluster, bucket, "a")[0] == 403
    assert refused(other.get_object, Bucket=bucket, Key="a")[0] == 403
    assert s3.get_object(Bucket=bucket, Key="a")["Body"].read() == b"1"
    give(s3, bucket, allow(bucket, "s3:GetObject", principal={"AWS": "2"}))
    assert other.get_object(Bucket=bucket, Key="a"), "a policy that names who is not public"


def test_no_policy_takes_itself_out_of_the_hands_of_who_administers_the_tenant(s3, bucket):
    s3.put_object(Bucket=bucket, Key="a", Body=b"1")
    policy = give(s3, bucket, allow(bucket, "s3:*", ["", "/*"], "Deny"))
    assert refused(s3.get_object, Bucket=bucket, Key="a") == DENIED
    assert refused(s3.list_objects_v2, Bucket=bucket) == DENIED
    assert refused(s3.delete_bucket, Bucket=bucket) == DENIED
    assert s3.get_bucket_policy(Bucket=bucket)["Policy"] == policy
    s3.delete_bucket_policy(Bucket=bucket)
    assert s3.get_object(Bucket=bucket, Key="a")["Body"].read() == b"1"


def test_access_control_lists_say_what_is_the_case_and_nothing_else_can_be_said(s3, bucket):
    s3.put_object(Bucket=bucket, Key="a", Body=b"1", ACL="bucket-owner-full-control")
    acl = s3.get_bucket_acl(Bucket=bucket)
    assert [grant["Permission"] for grant in acl["Grants"]] == ["FULL_CONTROL"]
    assert s3.get_object_acl(Bucket=bucket, Key="a")["Grants"] == acl["Grants"]
    same = {"Owner": acl["Owner"], "Grants": acl["Grants"]}
    more = {"Owner": acl["Owner"], "Grants": [*acl["Grants"], {**acl["Grants"][0], "Permission": "READ"}]}
    disabled = (400, "AccessControlListNotSupported")
    for put, on in [(s3.put_bucket_acl, {"Bucket": bucket}), (s3.put_object_acl, {"Bucket": bucket, "Key": "a"})]:
        put(**on, ACL="private")
        put(**on, AccessControlPolicy=same)
        assert refused(put, **on, ACL="public-read") == disabled
        assert refused(put, **on, ACL="nonsense") == (400, "InvalidArgument")
        assert refused(put, **on, AccessControlPolicy=more) == disabled
        assert refused(put, **on, GrantRead='uri="http://acs.amazonaws.com/groups/global/AllUsers"') == disabled
    assert refused(s3.put_object_acl, Bucket=bucket, Key="missing", ACL="private") == (404, "NoSuchKey")
    assert refused(s3.put_object, Bucket=bucket, Key="b", Body=b"", ACL="public-read") == disabled
    assert refused(s3.create_bucket, Bucket=f"{bucket}-2", GrantRead="id=x") == disabled
