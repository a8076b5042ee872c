"""Lifecycle, cross-origin access and blocks of public access, from the API reference of Amazon S3."""

import base64
import datetime
import json
import ssl
import time
import urllib.error
import urllib.request

import pytest
from botocore.exceptions import ClientError


@pytest.fixture(scope="session")
def s3(cluster):
    return cluster.boto3()


def refused(call, **arguments):
    with pytest.raises(ClientError) as raised:
        call(**arguments)
    answer = raised.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


def test_a_lifecycle_is_shown_as_it_was_given_and_taken_off(s3, bucket):
    get = lambda: s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    absent = (404, "NoSuchLifecycleConfiguration")
    assert refused(s3.get_bucket_lifecycle_configuration, Bucket=bucket) == absent
    midnight = datetime.datetime(2040, 1, 1, tzinfo=datetime.timezone.utc)
    tags = [{"Key": "a", "Value": "b"}, {"Key": "c", "Value": "d"}]
    both = {"And": {"Prefix": "p", "Tags": tags, "ObjectSizeGreaterThan": 5}}
    rules = [
        {"ID": "old", "Prefix": "logs/", "Status": "Enabled", "Expiration": {"Days": 30}},
        {"ID": "date", "Filter": {"Prefix": ""}, "Status": "Disabled", "Expiration": {"Date": midnight}},
        {"ID": "and", "Filter": both, "Status": "Enabled", "Expiration": {"Days": 1}},
        {
            "ID": "versions",
            "Filter": {"Tag": tags[0]},
            "Status": "Enabled",
            "NoncurrentVersionExpiration": {"NoncurrentDays": 3, "NewerNoncurrentVersions": 2},
        },
        {
            "ID": "rest",
            "Filter": {"Prefix": "x"},
            "Status": "Enabled",
            "Expiration": {"ExpiredObjectDeleteMarker": True},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
        },
    ]
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules})
    assert get() == rules
    s3.delete_bucket_lifecycle(Bucket=bucket)
    assert refused(s3.get_bucket_lifecycle_configuration, Bucket=bucket) == absent


def test_a_lifecycle_that_is_not_understood_is_refused_whole(s3, bucket):
    good = {"ID": "r", "Filter": {"Prefix": ""}, "Status": "Enabled", "Expiration": {"Days": 1}}
    for change, code in [
        ({"Expiration": {"Days": 0}}, "InvalidArgument"),
        ({"ID": "x" * 256}, "InvalidArgument"),
        ({"Status": "enabled"}, "MalformedXML"),
        ({"Expiration": {"Days": 1, "ExpiredObjectDeleteMarker": True}}, "MalformedXML"),
        ({"Transitions": [{"Days": 1, "StorageClass": "GLACIER"}]}, "NotImplemented"),
    ]:
        configuration = {"Rules": [{**good, "ID": "other"}, {**good, **change}]}
        arguments = {"Bucket": bucket, "LifecycleConfiguration": configuration}
        assert refused(s3.put_bucket_lifecycle_configuration, **arguments)[1] == code, change
    twice = {"Bucket": bucket, "LifecycleConfiguration": {"Rules": [good, good]}}
    assert refused(s3.put_bucket_lifecycle_configuration, **twice) == (400, "InvalidArgument")
    assert refused(s3.get_bucket_lifecycle_configuration, Bucket=bucket)[0] == 404


def test_objects_end_by_themselves_when_a_rule_says_so(s3, bucket):
    for key in ["past/1", "past/2", "future/1"]:
        s3.put_object(Bucket=bucket, Key=key, Body=b"x" * 20_000)
    date = lambda year: datetime.datetime(year, 1, 1, tzinfo=datetime.timezone.utc)
    rule = lambda name, year: {
        "ID": name,
        "Filter": {"Prefix": f"{name}/"},
        "Status": "Enabled",
        "Expiration": {"Date": date(year)},
    }
    configuration = {"Rules": [rule("past", 2020), rule("future", 2100)]}
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration=configuration)
    keys = lambda: [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]]
    until = time.monotonic() + 60
    while keys() != ["future/1"] and time.monotonic() < until:
        time.sleep(0.5)
    assert keys() == ["future/1"]


CORS = {
    "CORSRules": [
        {
            "ID": "app",
            "AllowedMethods": ["GET", "PUT"],
            "AllowedOrigins": ["https://*.example.com"],
            "AllowedHeaders": ["x-amz-*", "content-type"],
            "ExposeHeaders": ["ETag"],
            "MaxAgeSeconds": 60,
        },
        {"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]},
    ]
}


def ask(cluster, bucket, method, **headers):
    """Status and headers of a request as a browser sends it."""
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(f"{cluster.s3}/{bucket}/k", method=method, headers=headers)
    context = ssl.create_default_context(cafile=cluster.ca) if cluster.ca else None
    try:
        with urllib.request.urlopen(request, context=context) as answer:
            return answer.status, answer.headers
    except urllib.error.HTTPError as error:
        return error.code, error.headers


def test_browsers_are_told_what_scripts_of_other_origins_may_do(s3, cluster, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"1")
    assert refused(s3.get_bucket_cors, Bucket=bucket) == (404, "NoSuchCORSConfiguration")
    question = {"Origin": "https://a.example.com", "Access_Control_Request_Method": "PUT"}
    assert ask(cluster, bucket, "OPTIONS", **question)[0] == 403
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration=CORS)
    assert s3.get_bucket_cors(Bucket=bucket)["CORSRules"] == CORS["CORSRules"]
    status, headers = ask(cluster, bucket, "OPTIONS", **question, Access_Control_Request_Headers="X-Amz-Date")
    assert status == 200
    assert headers["Access-Control-Allow-Origin"] == "https://a.example.com"
    assert headers["Access-Control-Allow-Methods"] == "GET, PUT"
    assert headers["Access-Control-Allow-Headers"] == "x-amz-date"
    assert headers["Access-Control-Max-Age"] == "60"
    assert ask(cluster, bucket, "OPTIONS", **question, Access_Control_Request_Headers="x-other")[0] == 403
    assert ask(cluster, bucket, "OPTIONS", **{**question, "Origin": "https://a.example.org"})[0] == 403
    assert ask(cluster, bucket, "OPTIONS", Origin="https://a.example.com")[0] == 400
    # A refusal is shown to the script, too, if a rule is for it.
    status, headers = ask(cluster, bucket, "GET", Origin="https://elsewhere.net")
    assert (status, headers["Access-Control-Allow-Origin"]) == (403, "*")
    assert ask(cluster, bucket, "GET")[1]["Access-Control-Allow-Origin"] is None
    s3.delete_bucket_cors(Bucket=bucket)
    assert ask(cluster, bucket, "GET", Origin="https://elsewhere.net")[1]["Access-Control-Allow-Origin"] is None


def test_rules_for_other_origins_that_are_not_understood_are_refused(s3, bucket):
    for rule in [
        {"AllowedMethods": ["OPTIONS"], "AllowedOrigins": ["*"]},
        {"AllowedMethods": ["GET"], "AllowedOrigins": ["*.*"]},
    ]:
        arguments = {"Bucket": bucket, "CORSConfiguration": {"CORSRules": [rule]}}
        assert refused(s3.put_bucket_cors, **arguments) == (400, "InvalidRequest"), rule


def test_a_block_of_public_access_holds_back_what_a_bucket_shows_to_everybody(s3, cluster, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"1")
    assert refused(s3.get_public_access_block, Bucket=bucket)[1] == "NoSuchPublicAccessBlockConfiguration"
    show(cluster, bucket, [""])
    assert ask(cluster, bucket, "GET")[0] == 200
    block = dict.fromkeys(["BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy"], False)
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration={**block, "RestrictPublicBuckets": True})
    assert ask(cluster, bucket, "GET")[0] == 403
    full = {**block, "BlockPublicPolicy": True, "RestrictPublicBuckets": False}
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=full)
    assert s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"] == full
    assert ask(cluster, bucket, "GET")[0] == 200
    with pytest.raises(urllib.error.HTTPError):
        show(cluster, bucket, ["more/"])
    s3.delete_public_access_block(Bucket=bucket)
    show(cluster, bucket, [])
    assert ask(cluster, bucket, "GET")[0] == 403


def show(cluster, bucket, prefixes):
    """Has the bucket show what is below these prefixes to everybody."""
    credentials = base64.b64encode(f"{cluster.access}:{cluster.secret}".encode()).decode()
    headers = {"Authorization": f"Basic {credentials}", "Content-Type": "application/json"}
    data = json.dumps({"public": prefixes}).encode()
    request = urllib.request.Request(f"{cluster.api}/v1/buckets/{bucket}", data, headers, method="PATCH")
    context = ssl.create_default_context(cafile=cluster.ca) if cluster.ca else None
    urllib.request.urlopen(request, context=context).close()


def test_objects_belong_to_the_owner_of_their_bucket(s3, bucket):
    assert refused(s3.get_bucket_ownership_controls, Bucket=bucket) == (404, "OwnershipControlsNotFoundError")
    controls = lambda ownership: {"Rules": [{"ObjectOwnership": ownership}]}
    put = {"Bucket": bucket, "OwnershipControls": controls("BucketOwnerEnforced")}
    s3.put_bucket_ownership_controls(**put)
    assert s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"] == put["OwnershipControls"]
    other = {"Bucket": bucket, "OwnershipControls": controls("ObjectWriter")}
    assert refused(s3.put_bucket_ownership_controls, **other) == (501, "NotImplemented")
    s3.delete_bucket_ownership_controls(Bucket=bucket)
    assert refused(s3.get_bucket_ownership_controls, Bucket=bucket)[0] == 404
