#!/usr/bin/env python3
"""What boto3 sees, at its default settings: python3 s3_boto3.py ENDPOINT ACCESS SECRET [CA_FILE].

Needs boto3 (PyPI). Makes buckets of its own and removes them; exits 0 if everything was as with Amazon S3.
"""

import hashlib
import io
import os
import sys
import threading
import urllib.error
import urllib.request
import uuid

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.client import Config
from botocore.exceptions import ClientError

PASSED = []


def flow(function):
    """Runs a flow on a bucket of its own, and counts it."""

    def run(client):
        bucket = "flow-" + uuid.uuid4().hex[:20]
        client.create_bucket(Bucket=bucket)
        try:
            function(client, bucket)
        finally:
            for upload in client.list_multipart_uploads(Bucket=bucket).get("Uploads", []):
                client.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
            for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
                keys = [{"Key": item["Key"]} for item in page.get("Contents", [])]
                if keys:
                    errors = client.delete_objects(Bucket=bucket, Delete={"Objects": keys, "Quiet": True}).get("Errors")
                    assert not errors, errors
            client.delete_bucket(Bucket=bucket)
        PASSED.append(function.__name__)
        print("ok", function.__name__, flush=True)

    run.__name__ = function.__name__
    FLOWS.append(run)
    return function


FLOWS = []


def refused(code, call, **arguments):
    """The call is refused with `code`."""
    try:
        call(**arguments)
    except ClientError as error:
        found = error.response["Error"]["Code"]
        assert found == code, f"{found} instead of {code}: {error}"
        assert error.response["ResponseMetadata"]["RequestId"], "no request id"
        return error.response
    raise AssertionError(f"not refused with {code}")


def body(length, seed=b"x"):
    return (hashlib.sha256(seed).digest() * (length // 32 + 1))[:length]


@flow
def objects_of_many_sizes(client, bucket):
    for length in (0, 1, 1000, 16384, 16385, 1 << 20, (8 << 20) + 3):
        data = body(length)
        put = client.put_object(Bucket=bucket, Key="k", Body=data)
        assert put["ETag"] == f'"{hashlib.md5(data).hexdigest()}"', put
        get = client.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
        assert get["Body"].read() == data
        head = client.head_object(Bucket=bucket, Key="k")
        assert head["ContentLength"] == length and head["ETag"] == put["ETag"]
        assert head["ContentType"] == "binary/octet-stream"


@flow
def checksums_of_every_kind(client, bucket):
    data = body(100_000)
    for name in ("CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"):
        try:
            put = client.put_object(Bucket=bucket, Key=name, Body=data, ChecksumAlgorithm=name)
        except Exception as error:  # boto3 computes some of them only with the awscrt package.
            if "crt" in str(error).lower():
                continue
            raise
        get = client.get_object(Bucket=bucket, Key=name, ChecksumMode="ENABLED")
        assert get["Checksum" + name] == put["Checksum" + name]
        assert get["Body"].read() == data
        attributes = client.get_object_attributes(
            Bucket=bucket, Key=name, ObjectAttributes=["Checksum", "ETag", "ObjectSize", "StorageClass"])
        assert attributes["Checksum"]["Checksum" + name] == put["Checksum" + name]
        assert attributes["ObjectSize"] == len(data) and attributes["StorageClass"] == "STANDARD"
    refused("BadDigest", client.put_object, Bucket=bucket, Key="bad", Body=data, ChecksumCRC32="AAAAAA==")
    refused("BadDigest", client.put_object, Bucket=bucket, Key="bad", Body=data, ContentMD5="AAAAAAAAAAAAAAAAAAAAAA==")
    refused("404", client.head_object, Bucket=bucket, Key="bad")


@flow
def odd_keys(client, bucket):
    keys = ["a b", "ä/ö+ü", "a//b", "../up", "a/./b", "?q=1&r=2#f", "%41", "日本語/😀", "'\"<>&", "x" * 1024, "dir/", "dir",
            "trailing ", "=", "*()!~'", "a\\b", "tab\there", "plus+plus", ";semi,comma@at:$"]
    for key in keys:
        client.put_object(Bucket=bucket, Key=key, Body=key.encode())
    for key in keys:
        assert client.get_object(Bucket=bucket, Key=key)["Body"].read() == key.encode(), key
    listed = [item["Key"] for page in client.get_paginator("list_objects_v2").paginate(
        Bucket=bucket, PaginationConfig={"PageSize": 3}) for item in page["Contents"]]
    assert listed == sorted(keys, key=lambda key: key.encode()), listed
    first = [item["Key"] for page in client.get_paginator("list_objects").paginate(
        Bucket=bucket, PaginationConfig={"PageSize": 4}) for item in page["Contents"]]
    assert first == listed
    refused("KeyTooLongError", client.put_object, Bucket=bucket, Key="x" * 1025, Body=b"")


@flow
def listings(client, bucket):
    keys = ["asdf", "boo/bar", "boo/baz/xyzzy", "cquux/thud", "cquux/bla", "zed"]
    for key in keys:
        client.put_object(Bucket=bucket, Key=key, Body=b"1")
    page = client.list_objects_v2(Bucket=bucket, Delimiter="/")
    assert [item["Key"] for item in page["Contents"]] == ["asdf", "zed"] and page["KeyCount"] == 4
    assert [item["Prefix"] for item in page["CommonPrefixes"]] == ["boo/", "cquux/"]
    marker, seen = "", []
    while True:
        page = client.list_objects(Bucket=bucket, Delimiter="/", MaxKeys=1, Marker=marker)
        seen += [item["Key"] for item in page.get("Contents", [])]
        seen += [item["Prefix"] for item in page.get("CommonPrefixes", [])]
        if not page["IsTruncated"]:
            break
        marker = page["NextMarker"]
    assert seen == ["asdf", "boo/", "cquux/", "zed"], seen
    token, seen = None, []
    while True:
        more = {"ContinuationToken": token} if token else {}
        page = client.list_objects_v2(Bucket=bucket, Delimiter="/", MaxKeys=1, **more)
        seen += [item["Key"] for item in page.get("Contents", [])]
        seen += [item["Prefix"] for item in page.get("CommonPrefixes", [])]
        if not page["IsTruncated"]:
            break
        token = page["NextContinuationToken"]
    assert seen == ["asdf", "boo/", "cquux/", "zed"], seen
    page = client.list_objects_v2(Bucket=bucket, StartAfter="boo/bar", Prefix="boo/", FetchOwner=True)
    assert [item["Key"] for item in page["Contents"]] == ["boo/baz/xyzzy"]
    assert page["Contents"][0]["Owner"]["ID"]
    assert client.list_objects_v2(Bucket=bucket, MaxKeys=0)["KeyCount"] == 0
    assert client.list_objects_v2(Bucket=bucket, MaxKeys=5000)["MaxKeys"] == 1000
    refused("InvalidArgument", client.list_objects_v2, Bucket=bucket, ContinuationToken="no token")
    versions = client.list_object_versions(Bucket=bucket)["Versions"]
    assert [item["Key"] for item in versions] == sorted(keys) and versions[0]["VersionId"] == "null"


@flow
def ranges_and_conditions(client, bucket):
    data = body(2 << 20)
    tag = client.put_object(Bucket=bucket, Key="k", Body=data)["ETag"]
    get = client.get_object(Bucket=bucket, Key="k", Range="bytes=5-9")
    assert get["ResponseMetadata"]["HTTPStatusCode"] == 206 and get["Body"].read() == data[5:10]
    assert get["ContentRange"] == f"bytes 5-9/{len(data)}"
    assert client.get_object(Bucket=bucket, Key="k", Range="bytes=-3")["Body"].read() == data[-3:]
    refused("InvalidRange", client.get_object, Bucket=bucket, Key="k", Range=f"bytes={len(data)}-")
    refused("304", client.get_object, Bucket=bucket, Key="k", IfNoneMatch=tag)
    refused("PreconditionFailed", client.get_object, Bucket=bucket, Key="k", IfMatch='"other"')
    refused("PreconditionFailed", client.put_object, Bucket=bucket, Key="k", Body=b"", IfNoneMatch="*")
    refused("PreconditionFailed", client.put_object, Bucket=bucket, Key="k", Body=b"", IfMatch='"other"')
    refused("NoSuchKey", client.put_object, Bucket=bucket, Key="none", Body=b"", IfMatch=tag)
    client.put_object(Bucket=bucket, Key="k", Body=b"new", IfMatch=tag)
    refused("NoSuchKey", client.get_object, Bucket=bucket, Key="none")
    overridden = client.get_object(Bucket=bucket, Key="k", ResponseContentType="a/b", ResponseCacheControl="no-store")
    assert overridden["ContentType"] == "a/b" and overridden["CacheControl"] == "no-store"


@flow
def metadata_and_copies(client, bucket):
    client.put_object(Bucket=bucket, Key="a b", Body=b"hello", ContentType="text/plain", CacheControl="max-age=5",
                      Metadata={"one": "1"})
    client.copy_object(Bucket=bucket, Key="b", CopySource={"Bucket": bucket, "Key": "a b"})
    head = client.head_object(Bucket=bucket, Key="b")
    assert head["Metadata"]["one"] == "1" and head["ContentType"] == "text/plain" and head["CacheControl"] == "max-age=5"
    client.copy_object(Bucket=bucket, Key="b", CopySource={"Bucket": bucket, "Key": "b"},
                       MetadataDirective="REPLACE", Metadata={"two": "2"}, ContentType="x/y")
    head = client.head_object(Bucket=bucket, Key="b")
    assert head["Metadata"] == {"two": "2"} and head["ContentType"] == "x/y"
    refused("InvalidRequest", client.copy_object, Bucket=bucket, Key="b", CopySource={"Bucket": bucket, "Key": "b"})
    refused("NoSuchKey", client.copy_object, Bucket=bucket, Key="c", CopySource={"Bucket": bucket, "Key": "none"})
    refused("MetadataTooLarge", client.put_object, Bucket=bucket, Key="m", Body=b"", Metadata={"k": "v" * 2048})


@flow
def multipart_by_hand(client, bucket):
    data = body(11 << 20)
    parts, size = [], 5 << 20
    upload = client.create_multipart_upload(Bucket=bucket, Key="k", ContentType="a/b")["UploadId"]
    for number, at in enumerate(range(0, len(data), size), 1):
        part = client.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=number, Body=data[at:at + size])
        parts.append({"PartNumber": number, "ETag": part["ETag"]})
    assert [part["PartNumber"] for part in client.list_parts(Bucket=bucket, Key="k", UploadId=upload)["Parts"]] == [1, 2, 3]
    assert client.list_multipart_uploads(Bucket=bucket)["Uploads"][0]["UploadId"] == upload
    refused("BucketNotEmpty", client.delete_bucket, Bucket=bucket)
    done = client.complete_multipart_upload(Bucket=bucket, Key="k", UploadId=upload, MultipartUpload={"Parts": parts})
    md5s = b"".join(hashlib.md5(data[at:at + size]).digest() for at in range(0, len(data), size))
    assert done["ETag"] == f'"{hashlib.md5(md5s).hexdigest()}-3"'
    get = client.get_object(Bucket=bucket, Key="k")
    assert get["Body"].read() == data and get["ContentType"] == "a/b"
    again = client.complete_multipart_upload(Bucket=bucket, Key="k", UploadId=upload, MultipartUpload={"Parts": parts})
    assert again["ETag"] == done["ETag"]
    refused("NoSuchUpload", client.upload_part, Bucket=bucket, Key="k", UploadId=upload, PartNumber=1, Body=b"")


@flow
def multipart_with_checksums(client, bucket):
    data = [body(5 << 20), b"end"]
    for name, kind in (("CRC32", "COMPOSITE"), ("CRC32", "FULL_OBJECT"), ("SHA256", "COMPOSITE")):
        begun = client.create_multipart_upload(Bucket=bucket, Key="k", ChecksumAlgorithm=name, ChecksumType=kind)
        upload, parts = begun["UploadId"], []
        for number, piece in enumerate(data, 1):
            part = client.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=number, Body=piece,
                                      ChecksumAlgorithm=name)
            parts.append({"PartNumber": number, "ETag": part["ETag"], "Checksum" + name: part["Checksum" + name]})
        done = client.complete_multipart_upload(Bucket=bucket, Key="k", UploadId=upload, MultipartUpload={"Parts": parts})
        assert done["Checksum" + name].endswith("-2") == (kind == "COMPOSITE"), done
        get = client.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
        assert get["Body"].read() == b"".join(data) and get["ChecksumType"] == kind


@flow
def managed_transfers(client, bucket):
    data = body(40 << 20)
    config = TransferConfig(multipart_threshold=8 << 20, multipart_chunksize=8 << 20, max_concurrency=4)
    client.upload_fileobj(io.BytesIO(data), bucket, "k", Config=config, ExtraArgs={"Metadata": {"a": "b"}})
    out = io.BytesIO()
    client.download_fileobj(bucket, "k", out, Config=config)
    assert out.getvalue() == data
    client.copy({"Bucket": bucket, "Key": "k"}, bucket, "copy", Config=config)
    assert client.get_object(Bucket=bucket, Key="copy")["Body"].read() == data


@flow
def presigned_urls(client, bucket):
    # boto3 presigns with Signature Version 2 unless it is told not to.
    config = client.meta.config.merge(Config(signature_version="s3v4"))
    client = boto3.client("s3", endpoint_url=client.meta.endpoint_url, region_name="us-east-1", config=config,
                          aws_access_key_id=KEY[0], aws_secret_access_key=KEY[1])
    url = client.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "a b/ü"}, ExpiresIn=60)
    request = urllib.request.Request(url, data=b"hello", method="PUT")
    assert urllib.request.urlopen(request, context=TLS).status == 200
    url = client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "a b/ü"}, ExpiresIn=60)
    assert urllib.request.urlopen(url, context=TLS).read() == b"hello"
    try:
        urllib.request.urlopen(url + "0", context=TLS)
        raise AssertionError("a forged URL was accepted")
    except urllib.error.HTTPError as error:
        assert error.code == 403


@flow
def deletes(client, bucket):
    for key in ("a", "b", "c"):
        client.put_object(Bucket=bucket, Key=key, Body=b"1")
    done = client.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "a"}, {"Key": "none"}]})
    assert sorted(item["Key"] for item in done["Deleted"]) == ["a", "none"] and "Errors" not in done
    tag = client.head_object(Bucket=bucket, Key="b")["ETag"]
    refused("PreconditionFailed", client.delete_object, Bucket=bucket, Key="b", IfMatch='"other"')
    client.delete_object(Bucket=bucket, Key="b", IfMatch=tag)
    client.delete_object(Bucket=bucket, Key="b")
    assert [item["Key"] for item in client.list_objects_v2(Bucket=bucket)["Contents"]] == ["c"]


@flow
def features_that_are_not_configured(client, bucket):
    client.put_object(Bucket=bucket, Key="k", Body=b"")
    assert "Status" not in client.get_bucket_versioning(Bucket=bucket)
    assert client.get_bucket_location(Bucket=bucket)["LocationConstraint"] in (None, client.meta.region_name)
    assert client.get_bucket_acl(Bucket=bucket)["Grants"][0]["Permission"] == "FULL_CONTROL"
    assert client.get_object_acl(Bucket=bucket, Key="k")["Grants"][0]["Permission"] == "FULL_CONTROL"
    assert client.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == []
    assert client.get_bucket_request_payment(Bucket=bucket)["Payer"] == "BucketOwner"
    client.get_bucket_logging(Bucket=bucket)
    client.get_bucket_notification_configuration(Bucket=bucket)
    client.get_bucket_accelerate_configuration(Bucket=bucket)
    for code, call in (
        ("NoSuchLifecycleConfiguration", client.get_bucket_lifecycle_configuration),
        ("NoSuchBucketPolicy", client.get_bucket_policy),
        ("NoSuchTagSet", client.get_bucket_tagging),
        ("NoSuchCORSConfiguration", client.get_bucket_cors),
        ("ServerSideEncryptionConfigurationNotFoundError", client.get_bucket_encryption),
        ("ObjectLockConfigurationNotFoundError", client.get_object_lock_configuration),
        ("NoSuchPublicAccessBlockConfiguration", client.get_public_access_block),
        ("OwnershipControlsNotFoundError", client.get_bucket_ownership_controls),
        ("NoSuchWebsiteConfiguration", client.get_bucket_website),
        ("ReplicationConfigurationNotFoundError", client.get_bucket_replication),
    ):
        refused(code, call, Bucket=bucket)
    refused("NotImplemented", client.put_object, Bucket=bucket, Key="e", Body=b"", ServerSideEncryption="AES256")


@flow
def buckets(client, bucket):
    refused("BucketAlreadyOwnedByYou", client.create_bucket, Bucket=bucket)
    client.head_bucket(Bucket=bucket)
    refused("404", client.head_bucket, Bucket="no-such-bucket-anywhere")
    refused("NoSuchBucket", client.list_objects_v2, Bucket="no-such-bucket-anywhere")
    assert bucket in [item["Name"] for item in client.list_buckets()["Buckets"]]
    assert client.list_buckets(Prefix=bucket)["Buckets"][0]["CreationDate"].year >= 2024
    client.put_object(Bucket=bucket, Key="k", Body=b"")
    refused("BucketNotEmpty", client.delete_bucket, Bucket=bucket)


@flow
def many_at_once(client, bucket):
    failures = []

    def work(number):
        try:
            for turn in range(20):
                data = body(3000 + turn, str(number).encode())
                client.put_object(Bucket=bucket, Key=f"{number}/{turn}", Body=data)
                assert client.get_object(Bucket=bucket, Key=f"{number}/{turn}")["Body"].read() == data
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert not failures, failures[0]


def main():
    global TLS, KEY
    endpoint, access, secret = sys.argv[1:4]
    KEY = (access, secret)
    ca = sys.argv[4] if len(sys.argv) > 4 else None
    import ssl

    TLS = ssl.create_default_context(cafile=ca) if ca else None
    os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")
    settings = [
        ("defaults", Config(s3={"addressing_style": "path"})),
        ("signed payloads", Config(s3={"addressing_style": "path", "payload_signing_enabled": True})),
        ("no checksums", Config(s3={"addressing_style": "path"}, request_checksum_calculation="when_required",
                                response_checksum_validation="when_required")),
    ]
    for name, config in settings:
        print("#", name, flush=True)
        client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id=access,
                              aws_secret_access_key=secret, verify=ca, config=config)
        for run in FLOWS:
            run(client)
    wrong = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id=access,
                         aws_secret_access_key="wrong", verify=ca, config=settings[0][1])
    refused("SignatureDoesNotMatch", wrong.list_buckets)
    print(f"{len(PASSED)} flows passed")


main()
