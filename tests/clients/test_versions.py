"""Versioning and Object Lock as boto3 uses them, written from the API reference and the user guide of Amazon S3."""

import datetime
import time

import pytest
from botocore.exceptions import ClientError


@pytest.fixture(scope="session")
def s3(cluster):
    return cluster.boto3()


@pytest.fixture
def versioned(s3, bucket):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    yield bucket
    empty(s3, bucket)


@pytest.fixture
def lockable(s3, bucket):
    name = f"{bucket}-lock"
    s3.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    yield name
    empty(s3, name)
    s3.delete_bucket(Bucket=name)


def empty(s3, bucket):
    """Removes every version; those that cannot be removed yet a moment later."""
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        for entry in page.get("Versions", []) + page.get("DeleteMarkers", []):
            name = {"Bucket": bucket, "Key": entry["Key"], "VersionId": entry["VersionId"]}
            try:
                s3.put_object_legal_hold(**name, LegalHold={"Status": "OFF"})
            except ClientError:
                pass
            for last in [False] * 20 + [True]:
                try:
                    s3.delete_object(**name, BypassGovernanceRetention=True)
                    break
                except ClientError:
                    assert not last, name
                    time.sleep(0.3)


def status(raised):
    answer = raised.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


def refused(call, **arguments):
    with pytest.raises(ClientError) as raised:
        call(**arguments)
    return status(raised)


def put(s3, bucket, key, body):
    return s3.put_object(Bucket=bucket, Key=key, Body=body)["VersionId"]


def read(s3, bucket, key, **version):
    return s3.get_object(Bucket=bucket, Key=key, **version)["Body"].read()


def entries(s3, bucket, **parameters):
    """All versions and marks: key, id, whether the latest, whether a mark, by key and the newest first."""
    found = []
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket, **parameters):
        for entry in page.get("Versions", []):
            found.append((entry["Key"], entry["LastModified"], entry["VersionId"], entry["IsLatest"], False))
        for entry in page.get("DeleteMarkers", []):
            found.append((entry["Key"], entry["LastModified"], entry["VersionId"], entry["IsLatest"], True))
    return [(key, version, latest, mark) for key, _, version, latest, mark in found]


def test_versioning_is_unset_then_enabled_then_suspended(s3, bucket):
    state = lambda: s3.get_bucket_versioning(Bucket=bucket).get("Status")
    assert state() is None
    assert "VersionId" not in s3.put_object(Bucket=bucket, Key="k", Body=b"0")
    for wanted in ["Enabled", "Suspended", "Enabled"]:
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": wanted})
        assert state() == wanted
    configuration = {"Status": "Enabled", "MFADelete": "Enabled"}
    assert refused(s3.put_bucket_versioning, Bucket=bucket, VersioningConfiguration=configuration)[0] == 501
    empty(s3, bucket)


@pytest.mark.parametrize("length", [3, 100_000])
def test_every_version_can_be_read_and_removed_by_its_id(s3, versioned, length):
    bodies = [bytes([n]) * length for n in range(3)]
    ids = [put(s3, versioned, "k", body) for body in bodies]
    assert len(set(ids)) == 3
    for version, body in zip(ids, bodies):
        got = s3.get_object(Bucket=versioned, Key="k", VersionId=version)
        assert (got["Body"].read(), got["VersionId"]) == (body, version)
        assert s3.head_object(Bucket=versioned, Key="k", VersionId=version)["VersionId"] == version
    assert read(s3, versioned, "k") == bodies[2]
    gone = s3.delete_object(Bucket=versioned, Key="k", VersionId=ids[2])
    assert gone["VersionId"] == ids[2] and "DeleteMarker" not in gone
    assert read(s3, versioned, "k") == bodies[1]
    assert refused(s3.get_object, Bucket=versioned, Key="k", VersionId=ids[2]) == (404, "NoSuchVersion")
    assert refused(s3.get_object, Bucket=versioned, Key="k", VersionId="nonsense") == (400, "InvalidArgument")
    # What is not there is as good as removed.
    assert s3.delete_object(Bucket=versioned, Key="k", VersionId=ids[2])["VersionId"] == ids[2]


def test_a_removal_is_a_mark_that_can_be_removed(s3, versioned):
    version = put(s3, versioned, "k", b"1")
    removed = s3.delete_object(Bucket=versioned, Key="k")
    mark = removed["VersionId"]
    assert removed["DeleteMarker"] is True and mark != version
    with pytest.raises(ClientError) as raised:
        s3.get_object(Bucket=versioned, Key="k")
    assert status(raised) == (404, "NoSuchKey")
    headers = raised.value.response["ResponseMetadata"]["HTTPHeaders"]
    assert (headers["x-amz-delete-marker"], headers["x-amz-version-id"]) == ("true", mark)
    with pytest.raises(ClientError) as raised:
        s3.get_object(Bucket=versioned, Key="k", VersionId=mark)
    assert status(raised) == (405, "MethodNotAllowed")
    assert raised.value.response["ResponseMetadata"]["HTTPHeaders"]["allow"] == "DELETE"
    assert "Contents" not in s3.list_objects_v2(Bucket=versioned)
    assert entries(s3, versioned) == [("k", version, False, False), ("k", mark, True, True)]
    back = s3.delete_object(Bucket=versioned, Key="k", VersionId=mark)
    assert back["DeleteMarker"] is True and back["VersionId"] == mark
    assert read(s3, versioned, "k") == b"1"


def test_objects_from_before_are_null_versions_and_suspended_writes_replace_them(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"before")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    version = put(s3, bucket, "k", b"1")
    assert read(s3, bucket, "k", VersionId="null") == b"before"
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    s3.put_object(Bucket=bucket, Key="k", Body=b"after")
    assert read(s3, bucket, "k") == read(s3, bucket, "k", VersionId="null") == b"after"
    assert read(s3, bucket, "k", VersionId=version) == b"1"
    removed = s3.delete_object(Bucket=bucket, Key="k")
    assert (removed["VersionId"], removed["DeleteMarker"]) == ("null", True)
    assert {(version, False), ("null", True)} == {(found, mark) for _, found, _, mark in entries(s3, bucket)}
    empty(s3, bucket)


def test_versions_are_listed_in_pages_of_any_size_with_prefix_and_delimiter(s3, versioned):
    expected = []
    for key in ["a", "b/1", "b/2", "c d+%", "é"]:
        ids = [put(s3, versioned, key, b"x") for _ in range(3)]
        mark = s3.delete_object(Bucket=versioned, Key=key)["VersionId"]
        expected += [(key, mark, True)] + [(key, version, False) for version in reversed(ids)]
    for size in [1, 2, 3, 7, 1000]:
        listed = entries(s3, versioned, PaginationConfig={"PageSize": size})
        assert {(key, version, mark) for key, version, _, mark in listed} == set(expected), size
        assert len(listed) == len(expected), size
    assert [key for key, _, _, _ in entries(s3, versioned, Prefix="b/")] == ["b/1"] * 3 + ["b/2"] * 3 + ["b/1", "b/2"]
    folded = s3.list_object_versions(Bucket=versioned, Delimiter="/", MaxKeys=5)
    assert folded["CommonPrefixes"] == [{"Prefix": "b/"}] and folded["IsTruncated"] is True
    rest = s3.list_object_versions(Bucket=versioned, Delimiter="/", KeyMarker=folded["NextKeyMarker"])
    assert {entry["Key"] for entry in rest["Versions"]} == {"c d+%", "é"} and "CommonPrefixes" not in rest
    assert refused(s3.list_object_versions, Bucket=versioned, VersionIdMarker="null") == (400, "InvalidArgument")


def test_copies_take_the_version_that_is_named(s3, versioned):
    first = put(s3, versioned, "k", b"1" * 20_000)
    put(s3, versioned, "k", b"2")
    source = {"Bucket": versioned, "Key": "k", "VersionId": first}
    copied = s3.copy_object(Bucket=versioned, Key="l", CopySource=source)
    assert copied["CopySourceVersionId"] == first and copied["VersionId"] not in (first, None)
    assert read(s3, versioned, "l") == b"1" * 20_000
    # Putting an earlier version back is a copy of it onto its own key.
    s3.copy_object(Bucket=versioned, Key="k", CopySource=source)
    assert read(s3, versioned, "k") == b"1" * 20_000
    upload = s3.create_multipart_upload(Bucket=versioned, Key="m")["UploadId"]
    named = {"Bucket": versioned, "Key": "m", "UploadId": upload}
    part = s3.upload_part_copy(**named, PartNumber=1, CopySource=source)["CopyPartResult"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    assert "VersionId" in s3.complete_multipart_upload(**named, MultipartUpload=parts)
    assert read(s3, versioned, "m") == b"1" * 20_000


def test_labels_belong_to_a_version(s3, versioned):
    first = put(s3, versioned, "k", b"1")
    put(s3, versioned, "k", b"2")
    tags = [{"Key": "a", "Value": "b"}]
    s3.put_object_tagging(Bucket=versioned, Key="k", VersionId=first, Tagging={"TagSet": tags})
    assert s3.get_object_tagging(Bucket=versioned, Key="k", VersionId=first)["TagSet"] == tags
    assert s3.get_object_tagging(Bucket=versioned, Key="k")["TagSet"] == []


def test_a_batch_removes_versions_marks_and_objects(s3, versioned):
    first, second = put(s3, versioned, "k", b"1"), put(s3, versioned, "k", b"2")
    mark = s3.delete_object(Bucket=versioned, Key="other")["VersionId"]
    objects = [{"Key": "k", "VersionId": first}, {"Key": "other", "VersionId": mark}, {"Key": "k"}]
    answer = s3.delete_objects(Bucket=versioned, Delete={"Objects": objects})
    assert "Errors" not in answer
    by_version, by_mark, hidden = answer["Deleted"]
    assert by_version == {"Key": "k", "VersionId": first}
    assert by_mark == {"Key": "other", "VersionId": mark, "DeleteMarker": True, "DeleteMarkerVersionId": mark}
    assert hidden["DeleteMarker"] is True and "VersionId" not in hidden
    assert [version for _, version, _, _ in entries(s3, versioned)] == [second, hidden["DeleteMarkerVersionId"]]


def test_a_bucket_is_not_removed_while_it_has_versions(s3, versioned):
    put(s3, versioned, "k", b"1")
    s3.delete_object(Bucket=versioned, Key="k")
    assert refused(s3.delete_bucket, Bucket=versioned) == (409, "BucketNotEmpty")


def later(seconds):
    return datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)


def test_a_locked_version_is_kept_and_only_governance_is_bypassed(s3, lockable):
    assert s3.get_bucket_versioning(Bucket=lockable)["Status"] == "Enabled"
    until = later(3600).replace(microsecond=0)
    locked = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": until}
    version = s3.put_object(Bucket=lockable, Key="k", Body=b"1", **locked)["VersionId"]
    named = {"Bucket": lockable, "Key": "k", "VersionId": version}
    head = s3.head_object(**named)
    assert (head["ObjectLockMode"], head["ObjectLockRetainUntilDate"]) == ("GOVERNANCE", until)
    assert refused(s3.delete_object, **named) == (403, "AccessDenied")
    errors = s3.delete_objects(Bucket=lockable, Delete={"Objects": [{"Key": "k", "VersionId": version}]})["Errors"]
    assert [(error["Code"], error["VersionId"]) for error in errors] == [("AccessDenied", version)]
    # A mark may be put over it: it stays.
    s3.delete_object(Bucket=lockable, Key="k")
    assert read(s3, lockable, "k", VersionId=version) == b"1"
    s3.delete_object(**named, BypassGovernanceRetention=True)
    assert refused(s3.head_object, **named)[0] == 404


def test_a_compliance_retention_only_becomes_longer(s3, lockable):
    version = put(s3, lockable, "k", b"1")
    named = {"Bucket": lockable, "Key": "k", "VersionId": version}
    until = later(3).replace(microsecond=0)
    retain = lambda until: {"Mode": "COMPLIANCE", "RetainUntilDate": until}
    s3.put_object_retention(**named, Retention=retain(until - datetime.timedelta(seconds=1)))
    s3.put_object_retention(**named, Retention=retain(until))
    shorter = retain(until - datetime.timedelta(seconds=1))
    arguments = {**named, "BypassGovernanceRetention": True}
    assert refused(s3.put_object_retention, **arguments, Retention=shorter) == (403, "AccessDenied")
    assert refused(s3.delete_object, **arguments) == (403, "AccessDenied")
    assert s3.get_object_retention(**named)["Retention"] == retain(until)
    past = {**named, "Retention": retain(later(-60))}
    assert refused(s3.put_object_retention, **past)[0] == 400


def test_a_legal_hold_holds_until_it_is_taken_off(s3, lockable):
    version = put(s3, lockable, "k", b"1")
    named = {"Bucket": lockable, "Key": "k", "VersionId": version}
    assert s3.get_object_legal_hold(**named)["LegalHold"] == {"Status": "OFF"}
    s3.put_object_legal_hold(**named, LegalHold={"Status": "ON"})
    assert s3.head_object(**named)["ObjectLockLegalHoldStatus"] == "ON"
    assert refused(s3.delete_object, **named, BypassGovernanceRetention=True) == (403, "AccessDenied")
    s3.put_object_legal_hold(**named, LegalHold={"Status": "OFF"})
    s3.delete_object(**named)


def test_a_default_retention_is_given_to_every_new_version(s3, lockable):
    rule = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}
    configuration = {"ObjectLockEnabled": "Enabled", "Rule": rule}
    s3.put_object_lock_configuration(Bucket=lockable, ObjectLockConfiguration=configuration)
    assert s3.get_object_lock_configuration(Bucket=lockable)["ObjectLockConfiguration"] == configuration
    version = put(s3, lockable, "k", b"1")
    retention = s3.get_object_retention(Bucket=lockable, Key="k", VersionId=version)["Retention"]
    assert retention["Mode"] == "GOVERNANCE"
    assert abs((retention["RetainUntilDate"] - later(86400)).total_seconds()) < 60
    assert refused(s3.delete_object, Bucket=lockable, Key="k", VersionId=version) == (403, "AccessDenied")


def test_object_lock_needs_versions_and_keeps_them(s3, bucket, lockable):
    configuration = {"ObjectLockEnabled": "Enabled"}
    arguments = {"Bucket": bucket, "ObjectLockConfiguration": configuration}
    assert refused(s3.put_object_lock_configuration, **arguments) == (409, "InvalidBucketState")
    assert refused(s3.get_object_lock_configuration, Bucket=bucket)[1] == "ObjectLockConfigurationNotFoundError"
    s3.put_object(Bucket=bucket, Key="k", Body=b"1")
    hold = {"Bucket": bucket, "Key": "k", "LegalHold": {"Status": "ON"}}
    assert refused(s3.put_object_legal_hold, **hold) == (400, "InvalidRequest")
    suspended = {"Bucket": lockable, "VersioningConfiguration": {"Status": "Suspended"}}
    assert refused(s3.put_bucket_versioning, **suspended) == (409, "InvalidBucketState")
