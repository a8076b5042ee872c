"""Parts of objects: read by number, many of them, copied onto themselves, and everything about one upload at the same time."""

import concurrent.futures
import hashlib
import os
import random
import socket
import ssl
import threading
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

PART = 5 << 20
CAMPAIGN = bool(os.environ.get("CAIRN_CAMPAIGN"))
# More than a page of a thousand; all that there may be, in a campaign.
MANY = 10_000 if CAMPAIGN else 1_020
ROUNDS = 100 if CAMPAIGN else 4
# Nothing of these depends on what lies below the requests.
over_http = pytest.mark.parametrize("cluster", ["http"], indirect=True)


@pytest.fixture
def s3(cluster):
    # Left to itself boto3 still presigns by version 2 for endpoints that are not AWS's.
    return cluster.boto3(signature_version="s3v4")


def code(problem):
    return problem.response["Error"]["Code"]


def refusal(call, **arguments):
    with pytest.raises(ClientError) as raised:
        call(**arguments)
    return code(raised.value), raised.value.response["ResponseMetadata"]["HTTPStatusCode"]


def begin(s3, bucket, key, **more):
    return {"Bucket": bucket, "Key": key, "UploadId": s3.create_multipart_upload(Bucket=bucket, Key=key, **more)["UploadId"]}


def complete(s3, upload, tags):
    parts = [{"PartNumber": number, "ETag": tag} for number, tag in sorted(tags.items())]
    return s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})


def store(s3, bucket, key, bodies):
    """Stores an object of parts, which need not be numbered without gaps."""
    upload = begin(s3, bucket, key)
    tags = {3 * n + 2: s3.upload_part(**upload, PartNumber=3 * n + 2, Body=data)["ETag"] for n, data in enumerate(bodies)}
    return complete(s3, upload, tags)["ETag"]


def test_parts_are_read_by_their_number(s3, bucket):
    bodies = [os.urandom(PART), os.urandom(PART + 1), os.urandom(12345)]
    tag = store(s3, bucket, "big", bodies)
    whole, start = b"".join(bodies), 0
    for number, data in enumerate(bodies, 1):
        wanted = {"Bucket": bucket, "Key": "big", "PartNumber": number}
        got, head = s3.get_object(**wanted), s3.head_object(**wanted)
        assert got["Body"].read() == data
        for answer in [got, head]:
            assert answer["ResponseMetadata"]["HTTPStatusCode"] == 206
            assert (answer["PartsCount"], answer["ContentLength"], answer["ETag"]) == (3, len(data), tag)
            assert answer["ContentRange"] == f"bytes {start}-{start + len(data) - 1}/{len(whole)}"
        start += len(data)
    assert refusal(s3.get_object, Bucket=bucket, Key="big", PartNumber=4) == ("InvalidPartNumber", 416)
    assert refusal(s3.head_object, Bucket=bucket, Key="big", PartNumber=4)[1] == 416
    assert refusal(s3.get_object, Bucket=bucket, Key="big", PartNumber=1, Range="bytes=0-1")[0] == "InvalidRequest"
    assert "PartsCount" not in s3.head_object(Bucket=bucket, Key="big")
    not_modified = refusal(s3.get_object, Bucket=bucket, Key="big", PartNumber=2, IfNoneMatch=tag)
    assert not_modified == ("304", 304)

    wants = {"Bucket": bucket, "Key": "big", "ObjectAttributes": ["ObjectParts", "ObjectSize"]}
    listed = s3.get_object_attributes(**wants)
    parts = listed["ObjectParts"]
    assert [(part["PartNumber"], part["Size"]) for part in parts["Parts"]] == list(enumerate(map(len, bodies), 1))
    assert (parts["TotalPartsCount"], parts["IsTruncated"], listed["ObjectSize"]) == (3, False, len(whole))
    first = s3.get_object_attributes(**wants, MaxParts=2)["ObjectParts"]
    assert (len(first["Parts"]), first["IsTruncated"], first["NextPartNumberMarker"]) == (2, True, 2)
    rest = s3.get_object_attributes(**wants, PartNumberMarker=2)["ObjectParts"]
    assert [part["PartNumber"] for part in rest["Parts"]] == [3]


@pytest.mark.parametrize("length", [5, 1 << 20])
def test_an_object_without_parts_is_its_own_first(s3, bucket, length):
    data = os.urandom(length)
    s3.put_object(Bucket=bucket, Key="k", Body=data)
    got = s3.get_object(Bucket=bucket, Key="k", PartNumber=1)
    assert (got["Body"].read(), got["ContentRange"]) == (data, f"bytes 0-{length - 1}/{length}")
    assert "PartsCount" not in got
    assert refusal(s3.get_object, Bucket=bucket, Key="k", PartNumber=2) == ("InvalidPartNumber", 416)
    assert "ObjectParts" not in s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["ObjectParts"])


def test_d27_an_object_copied_onto_itself_keeps_its_bytes(s3, bucket):
    """FAULTS D27: with every directive, and as a part of itself."""
    small, large, parts = os.urandom(100), os.urandom(3 << 20), [os.urandom(PART), os.urandom(7)]
    s3.put_object(Bucket=bucket, Key="small", Body=small, Metadata={"a": "b"})
    s3.put_object(Bucket=bucket, Key="large", Body=large, Metadata={"a": "b"})
    store(s3, bucket, "parts", parts)
    for key, data in [("small", small), ("large", large), ("parts", b"".join(parts))]:
        itself = {"Bucket": bucket, "Key": key, "CopySource": {"Bucket": bucket, "Key": key}}
        assert refusal(s3.copy_object, **itself)[0] == "InvalidRequest"
        assert refusal(s3.copy_object, **itself, MetadataDirective="COPY")[0] == "InvalidRequest"
        assert refusal(s3.copy_object, **itself, MetadataDirective="REPLACE", CopySourceIfMatch='"0"')[1] == 412
        for again in range(3):
            s3.copy_object(**itself, MetadataDirective="REPLACE", Metadata={"again": str(again)})
        s3.copy_object(**itself, TaggingDirective="REPLACE", Tagging="x=y", MetadataDirective="REPLACE")
        s3.copy_object(**itself, ChecksumAlgorithm="SHA256", MetadataDirective="REPLACE", Metadata={"c": "d"})
        got = s3.get_object(Bucket=bucket, Key=key)
        assert (got["Body"].read(), got["Metadata"]) == (data, {"c": "d"}), key
    # An object that is replaced by parts of itself.
    upload = begin(s3, bucket, "parts")
    source = {"Bucket": bucket, "Key": "parts"}
    copied = [s3.upload_part_copy(**upload, PartNumber=n, CopySource=source)["CopyPartResult"]["ETag"] for n in (1, 2)]
    complete(s3, upload, dict(enumerate(copied, 1)))
    whole = b"".join(parts)
    assert s3.get_object(Bucket=bucket, Key="parts")["Body"].read() == whole + whole
    assert s3.get_object(Bucket=bucket, Key="parts", PartNumber=2)["Body"].read() == whole


@over_http
def test_r17_more_parts_than_a_page_and_more_bytes_than_a_disk(cluster, s3, bucket):
    """FAULTS R17 and fault matrix 50: parts that refer to one small object make a giant that takes no room."""
    data = os.urandom(PART + 1)
    s3.put_object(Bucket=bucket, Key="source", Body=data)
    upload = begin(s3, bucket, "giant")
    source = {"Bucket": bucket, "Key": "source"}

    def copy(number):
        copied = s3.upload_part_copy(**upload, PartNumber=number, CopySource=source, CopySourceRange=f"bytes=0-{PART - 1}")
        return number, copied["CopyPartResult"]["ETag"]

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        tags = dict(pool.map(copy, range(1, MANY + 1)))
    pages = list(s3.get_paginator("list_parts").paginate(**upload))
    listed = [part["PartNumber"] for page in pages for part in page["Parts"]]
    assert listed == list(range(1, MANY + 1)) and len(pages) == -(-MANY // 1000)
    complete(s3, upload, tags)
    head = s3.head_object(Bucket=bucket, Key="giant", PartNumber=MANY)
    assert (head["PartsCount"], head["ContentLength"]) == (MANY, PART)
    length = MANY * PART
    assert s3.head_object(Bucket=bucket, Key="giant")["ContentLength"] == length
    for number in [1, 2, 1000, 1001, MANY]:
        got = s3.get_object(Bucket=bucket, Key="giant", PartNumber=number)
        assert got["Body"].read() == data[:PART], number
    across = s3.get_object(Bucket=bucket, Key="giant", Range=f"bytes={1000 * PART - 3}-{1000 * PART + 2}")
    assert across["Body"].read() == data[PART - 3 : PART] + data[:3]
    wants = {"Bucket": bucket, "Key": "giant", "ObjectAttributes": ["ObjectParts"]}
    parts = s3.get_object_attributes(**wants, PartNumberMarker=1000)["ObjectParts"]
    assert (parts["TotalPartsCount"], parts["Parts"][0]) == (MANY, {"PartNumber": 1001, "Size": PART})
    s3.delete_object(Bucket=bucket, Key="giant")


def outcome(call, **arguments):
    try:
        return call(**arguments)
    except ClientError as problem:
        return code(problem)


def at_once(*calls):
    """Calls all from threads of their own that begin together."""
    gate = threading.Barrier(len(calls))

    def run(call):
        gate.wait()
        return call()

    with concurrent.futures.ThreadPoolExecutor(len(calls)) as pool:
        return [running.result() for running in [pool.submit(run, call) for call in calls]]


@over_http
def test_g11_completes_of_one_upload_at_once_make_one_whole_object(cluster, s3, bucket):
    """FAULTS G11: whoever is not the first gets the first answer."""
    for _ in range(ROUNDS):
        bodies = [os.urandom(PART), os.urandom(1000)]
        upload = begin(s3, bucket, "k")
        tags = {n: s3.upload_part(**upload, PartNumber=n, Body=data)["ETag"] for n, data in enumerate(bodies, 1)}
        answers = at_once(*[lambda: complete(s3, upload, tags)["ETag"]] * 6)
        md5s = b"".join(hashlib.md5(data).digest() for data in bodies)
        assert set(answers) == {f'"{hashlib.md5(md5s).hexdigest()}-2"'}
        assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"".join(bodies)


def put(url, length, sent):
    """Sends so many bytes of a body, as a client that dies then does; the status, if it was the whole."""
    at = urlsplit(url)
    with socket.create_connection((at.hostname, at.port)) as plain:
        connection = ssl._create_unverified_context().wrap_socket(plain) if at.scheme == "https" else plain
        head = f"PUT {at.path}?{at.query} HTTP/1.1\r\nhost: {at.netloc}\r\ncontent-length: {length}\r\n\r\n"
        connection.sendall(head.encode() + os.urandom(sent))
        status = int(connection.recv(12)[9:]) if sent == length else None
        connection.close()
    return status


@over_http
def test_g12_a_part_that_is_sent_again_and_again_is_one_of_those(cluster, s3, bucket):
    """FAULTS G12 and fault matrix 7: tries that break off, and others that win or lose, take nothing from the one that is named."""
    for _ in range(ROUNDS):
        bodies = [os.urandom(PART) for _ in range(3)]
        upload = begin(s3, bucket, "k")
        send = lambda data: s3.upload_part(**upload, PartNumber=1, Body=data)["ETag"]
        url = s3.generate_presigned_url("upload_part", Params={**upload, "PartNumber": 1})
        give_up = lambda: put(url, PART, PART // 2)
        answers = at_once(*[lambda data=data: send(data) for data in bodies], give_up, give_up)
        assert answers == [f'"{hashlib.md5(data).hexdigest()}"' for data in bodies] + [None, None]
        (part,) = s3.list_parts(**upload)["Parts"]
        data = bodies[answers.index(part["ETag"])]
        loser = next(tag for tag in answers if tag != part["ETag"])
        assert outcome(lambda: complete(s3, upload, {1: loser})) == "InvalidPart"
        complete(s3, upload, {1: part["ETag"]})
        assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == data


@over_http
def test_g13_an_abort_that_races_a_complete_leaves_all_or_nothing(cluster, s3, bucket):
    """FAULTS G13 and fault matrix 47: listed means readable, gone means gone, and late parts do not bring anything back."""
    seen = set()
    for number in range(3 * ROUNDS):
        bodies, key = [os.urandom(PART), os.urandom(99)], f"k{number}"
        upload = begin(s3, bucket, key)
        tags = {n: s3.upload_part(**upload, PartNumber=n, Body=data)["ETag"] for n, data in enumerate(bodies, 1)}
        late = lambda: outcome(s3.upload_part, **upload, PartNumber=2, Body=bodies[1])
        calls = [
            lambda: outcome(lambda: complete(s3, upload, tags)["ETag"]),
            lambda: outcome(lambda: s3.abort_multipart_upload(**upload) and "aborted"),
            late,
        ]
        random.shuffle(calls)
        answers = at_once(*calls)
        names = [found["Key"] for found in s3.list_objects_v2(Bucket=bucket, Prefix=key).get("Contents", []) if found["Key"] == key]
        if names:
            assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == b"".join(bodies)
            assert any(str(answer).endswith('-2"') for answer in answers), answers
        else:
            assert refusal(s3.get_object, Bucket=bucket, Key=key) == ("NoSuchKey", 404)
            assert "aborted" in answers and not any(str(answer).endswith('-2"') for answer in answers), answers
        seen.add(bool(names))
        assert late() == "NoSuchUpload"
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)
    assert seen, "one or the other"


@over_http
def test_clients_that_die_in_the_middle_leave_nothing_to_see(cluster, s3, bucket):
    """Fault matrix 7: at every step of an upload; then every reference is counted again."""
    upload = begin(s3, bucket, "parts")
    part = s3.generate_presigned_url("upload_part", Params={**upload, "PartNumber": 1})
    for sent in [0, 1, 16 << 10, 1 << 20, (1 << 20) + 1, 3 << 20, (4 << 20) - 1, 4 << 20]:
        whole = s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": f"k{sent}"})
        for url in [whole, part]:
            put(url, (4 << 20) + 1, sent)
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)
    assert "Parts" not in s3.list_parts(**upload)
    # One that lives.
    assert put(whole, 1000, 1000) == put(part, 1000, 1000) == 200
    s3.delete_object(Bucket=bucket, Key=f"k{4 << 20}")
    s3.abort_multipart_upload(**upload)
    s3.delete_bucket(Bucket=bucket)
    cluster.cli("admin", "audit")
