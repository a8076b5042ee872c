"""S3 as boto3 with today's defaults uses it."""

import hashlib
import io
import json
import os
import ssl
import urllib.error
import urllib.request

import pytest
from botocore.exceptions import ClientError


@pytest.fixture(scope="session")
def s3(cluster):
    return cluster.boto3()


def code(raised):
    return raised.value.response["Error"]["Code"]


def body(length):
    return os.urandom(length)


@pytest.mark.parametrize("length", [0, 1, 16384, 16385, 1 << 20, (4 << 20) + 1])
def test_an_object_comes_back_with_its_md5_as_etag(s3, bucket, length):
    data = body(length)
    put = s3.put_object(Bucket=bucket, Key="k", Body=data, ContentType="text/x-test", Metadata={"colour": "blue"})
    assert put["ETag"] == f'"{hashlib.md5(data).hexdigest()}"'
    got = s3.get_object(Bucket=bucket, Key="k")
    assert got["Body"].read() == data
    assert (got["ETag"], got["ContentLength"], got["ContentType"]) == (put["ETag"], length, "text/x-test")
    assert got["Metadata"] == {"colour": "blue"}
    head = s3.head_object(Bucket=bucket, Key="k")
    assert (head["ETag"], head["ContentLength"]) == (put["ETag"], length)


def test_ranges(s3, bucket):
    data = body(3 << 20)
    s3.put_object(Bucket=bucket, Key="k", Body=data)
    for header, wanted in [
        ("bytes=0-0", data[:1]),
        ("bytes=1048570-1048590", data[1048570:1048591]),
        ("bytes=3145727-", data[-1:]),
        ("bytes=-5", data[-5:]),
        ("bytes=100-99999999", data[100:]),
    ]:
        got = s3.get_object(Bucket=bucket, Key="k", Range=header)
        assert got["ResponseMetadata"]["HTTPStatusCode"] == 206
        assert got["Body"].read() == wanted, header
    with pytest.raises(ClientError) as raised:
        s3.get_object(Bucket=bucket, Key="k", Range="bytes=3145728-")
    assert code(raised) == "InvalidRange"


def test_a_multipart_upload_and_its_listings(s3, bucket):
    parts = [body(5 << 20), body(5 << 20), body(12345)]
    upload = s3.create_multipart_upload(Bucket=bucket, Key="big", ContentType="text/x-big")["UploadId"]
    assert [entry["UploadId"] for entry in s3.list_multipart_uploads(Bucket=bucket)["Uploads"]] == [upload]
    done = []
    for number, data in enumerate(parts, 1):
        answer = s3.upload_part(Bucket=bucket, Key="big", UploadId=upload, PartNumber=number, Body=data)
        done.append({"PartNumber": number, "ETag": answer["ETag"]})
    listed = s3.list_parts(Bucket=bucket, Key="big", UploadId=upload)["Parts"]
    assert [part["Size"] for part in listed] == [len(data) for data in parts]
    whole = s3.complete_multipart_upload(Bucket=bucket, Key="big", UploadId=upload, MultipartUpload={"Parts": done})
    md5s = b"".join(hashlib.md5(data).digest() for data in parts)
    assert whole["ETag"] == f'"{hashlib.md5(md5s).hexdigest()}-3"'
    got = s3.get_object(Bucket=bucket, Key="big")
    assert got["Body"].read() == b"".join(parts) and got["ContentType"] == "text/x-big"
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)


def test_an_aborted_upload_is_gone(s3, bucket):
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    s3.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=1, Body=body(100))
    s3.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=upload)
    with pytest.raises(ClientError) as raised:
        s3.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=2, Body=b"late")
    assert code(raised) == "NoSuchUpload"
    with pytest.raises(ClientError) as raised:
        s3.head_object(Bucket=bucket, Key="k")
    assert code(raised) == "404"


def test_listings_fold_page_and_agree(s3, bucket):
    keys = sorted([f"a/{n:03}" for n in range(25)] + ["b", "c/d/e", "c/d/f", "ü/x", "sp ace", "pl+us", "new\nline"])
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    for version, token, after in [
        ("list_objects_v2", "NextContinuationToken", "ContinuationToken"),
        ("list_objects", "NextMarker", "Marker"),
    ]:
        call = getattr(s3, version)
        pages = list(s3.get_paginator(version).paginate(Bucket=bucket, PaginationConfig={"PageSize": 7}))
        assert [entry["Key"] for page in pages for entry in page["Contents"]] == keys
        names, more = [], {}
        while True:
            page = call(Bucket=bucket, Delimiter="/", MaxKeys=2, **more)
            names += [entry["Key"] for entry in page.get("Contents", [])]
            names += [entry["Prefix"] for entry in page.get("CommonPrefixes", [])]
            if not page["IsTruncated"]:
                break
            more = {after: page[token]}
        assert sorted(names) == sorted(["a/", "b", "c/", "new\nline", "pl+us", "sp ace", "ü/"])
    page = s3.list_objects_v2(Bucket=bucket, Prefix="a/", StartAfter="a/020")
    assert [entry["Key"] for entry in page["Contents"]] == [f"a/{n:03}" for n in range(21, 25)]


def test_copies_keep_or_replace_metadata(s3, bucket):
    s3.put_object(Bucket=bucket, Key="from", Body=b"bytes", Metadata={"a": "1"})
    s3.copy_object(Bucket=bucket, Key="kept", CopySource={"Bucket": bucket, "Key": "from"})
    s3.copy_object(
        Bucket=bucket,
        Key="replaced",
        CopySource={"Bucket": bucket, "Key": "from"},
        MetadataDirective="REPLACE",
        Metadata={"b": "2"},
    )
    assert s3.head_object(Bucket=bucket, Key="kept")["Metadata"] == {"a": "1"}
    assert s3.head_object(Bucket=bucket, Key="replaced")["Metadata"] == {"b": "2"}
    assert s3.get_object(Bucket=bucket, Key="kept")["Body"].read() == b"bytes"


def test_many_objects_are_deleted_at_once(s3, bucket):
    keys = [f"k{n}" for n in range(20)]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    objects = [{"Key": key} for key in keys + ["never there"]]
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": objects})
    assert len(answer["Deleted"]) == 21 and "Errors" not in answer
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    s3.delete_object(Bucket=bucket, Key="never there")


def test_presigned_urls_need_no_credentials(cluster, bucket):
    # Left to itself boto3 still presigns by version 2 for endpoints that are not AWS's.
    s3 = cluster.boto3(signature_version="s3v4")
    put = s3.generate_presigned_url("put_object", {"Bucket": bucket, "Key": "pre signed"})
    with cluster.urlopen(urllib.request.Request(put, data=b"by url", method="PUT")) as answer:
        assert answer.status == 200
    get = s3.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "pre signed"}, ExpiresIn=60)
    with cluster.urlopen(get) as answer:
        assert answer.read() == b"by url"
    with pytest.raises(urllib.error.HTTPError) as raised:
        cluster.urlopen(get.replace("Signature=", "Signature=0"))
    assert raised.value.code == 403


def test_errors_have_the_codes_of_s3(s3, cluster, bucket):
    with pytest.raises(ClientError) as raised:
        s3.get_object(Bucket=bucket, Key="missing")
    assert code(raised) == "NoSuchKey"
    with pytest.raises(ClientError) as raised:
        s3.get_object(Bucket="no-such-bucket-here", Key="k")
    assert code(raised) == "NoSuchBucket"
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    with pytest.raises(ClientError) as raised:
        s3.delete_bucket(Bucket=bucket)
    assert code(raised) == "BucketNotEmpty"
    with pytest.raises(ClientError) as raised:
        s3.put_object(Bucket=bucket, Key="k" * 1025, Body=b"x")
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    import boto3

    stranger = boto3.client(
        "s3",
        endpoint_url=cluster.s3,
        region_name=cluster.region,
        aws_access_key_id="NOBODY",
        aws_secret_access_key="x",
        verify=cluster.ca,
    )
    with pytest.raises(ClientError) as raised:
        stranger.list_objects_v2(Bucket=bucket)
    assert code(raised) == "InvalidAccessKeyId"


def test_upload_and_download_of_file_objects(s3, bucket):
    data = body((20 << 20) + 7)
    s3.upload_fileobj(io.BytesIO(data), bucket, "file object")
    back = io.BytesIO()
    s3.download_fileobj(bucket, "file object", back)
    assert back.getvalue() == data


def test_buckets_are_made_listed_and_removed(s3, bucket):
    assert bucket in [entry["Name"] for entry in s3.list_buckets()["Buckets"]]
    s3.head_bucket(Bucket=bucket)
    s3.get_bucket_location(Bucket=bucket)
    s3.delete_bucket(Bucket=bucket)
    with pytest.raises(ClientError) as raised:
        s3.head_bucket(Bucket=bucket)
    assert code(raised) == "404"


def test_bodies_are_covered_by_their_signature_as_the_scheme_has_it(s3, cluster, bucket):
    """botocore signs chunks and trailers only where TLS does not protect them, and says so in the request."""
    s3.put_object(Bucket=bucket, Key="signed how", Body=body(100_000), ChecksumAlgorithm="CRC32")
    lines = [line for line in cluster.access_log() if f"/{bucket}/signed" in line and "PUT" in line]
    assert len(lines) == 1, lines
    over_tls = cluster.s3.startswith("https://")
    assert ("unsigned-chunks-trailer" in lines[0]) == over_tls, lines


def test_a_quota_is_held_and_public_files_are_read_by_anybody(cluster, bucket):
    s3 = cluster.boto3()
    at = f"{cluster.api}/v1/buckets/{bucket}"
    configured = cluster.curl("-f", "-X", "PATCH", "-d", '{"quota_bytes": 100000, "public": ["web"]}', at)
    assert json.loads(configured.stdout)["quota_bytes"] == 100_000
    s3.put_object(Bucket=bucket, Key="web/page", Body=b"x" * 60_000, Tagging="team=blue")
    with pytest.raises(ClientError) as refused:
        s3.put_object(Bucket=bucket, Key="more", Body=b"x" * 60_000)
    assert refused.value.response["Error"]["Code"] == "QuotaExceeded"
    assert s3.get_object_tagging(Bucket=bucket, Key="web/page")["TagSet"] == [{"Key": "team", "Value": "blue"}]
    s3.delete_object(Bucket=bucket, Key="more")
    trust = ssl.create_default_context(cafile=cluster.ca) if cluster.ca else None
    for door in [f"{cluster.s3}/{bucket}", f"{cluster.api}/v1/objects/{bucket}"]:
        with urllib.request.urlopen(f"{door}/web/page", context=trust) as page:
            assert page.read() == b"x" * 60_000
        for hidden in ["more", "webs", ""]:
            with pytest.raises(urllib.error.HTTPError) as denied:
                urllib.request.urlopen(f"{door}/{hidden}", context=trust)
            assert denied.value.code in (401, 403)


def test_a_bucket_with_nothing_but_open_uploads_can_be_removed(cluster, bucket):
    s3 = cluster.boto3()
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    s3.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=1, Body=b"x")
    s3.delete_bucket(Bucket=bucket)


def test_tenants_see_their_own_buckets_only(cluster, bucket, tmp_path):
    other = tmp_path / "other.key"
    cluster.cli("admin", "key", "create", "other", "--tenant", "2", "--days", "1", "--out", other)
    s3 = cluster.boto3(key=other.read_text().split())
    assert s3.list_buckets()["Buckets"] == []
    for refused in [
        lambda: s3.list_objects_v2(Bucket=bucket),
        lambda: s3.put_object(Bucket=bucket, Key="k", Body=b"x"),
        lambda: s3.delete_bucket(Bucket=bucket),
    ]:
        with pytest.raises(ClientError) as denied:
            refused()
        assert denied.value.response["Error"]["Code"] == "AccessDenied"
    with pytest.raises(ClientError) as taken:
        s3.create_bucket(Bucket=bucket)
    assert taken.value.response["Error"]["Code"] == "BucketAlreadyExists"
