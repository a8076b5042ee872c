"""More clients than a gateway serves at a time, and more bytes than its disk has room for."""

import asyncio
import base64
import os
import pathlib
import random
import resource
import ssl
import subprocess
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

from conftest import Cluster

# As docs/s3.md and docs/http-api.md have it: requests that one gateway serves at a time.
SERVED_MAX = 1024
CLIENTS = 1300


def peak_memory(pids):
    """The largest resident size that processes had, in bytes."""
    lines = [line for pid in pids for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()]
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


async def store_slowly(cluster, trust, target, body, go_on):
    """Sends half of a file, waits until all others have, and sends the rest; the answer's status and whether it says when to come again."""
    at = urlsplit(cluster.api)
    reader, writer = await asyncio.open_connection(at.hostname, at.port, ssl=trust)
    token = base64.b64encode(f"{cluster.access}:{cluster.secret}".encode()).decode()
    head = f"PUT {target} HTTP/1.1\r\nhost: {at.netloc}\r\nauthorization: Basic {token}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    half = len(body) // 2
    writer.write(head.encode() + body[:half])
    # Those that are refused are told at once.
    answer = asyncio.ensure_future(reader.read())
    await asyncio.wait([answer, asyncio.ensure_future(go_on.wait())], return_when=asyncio.FIRST_COMPLETED)
    if not answer.done():
        writer.write(body[half:])
    text = await asyncio.wait_for(answer, 120)
    writer.close()
    return int(text.split()[1]), b"retry-after:" in text.lower()


async def crowd(cluster, bucket, bodies):
    trust = ssl.create_default_context(cafile=cluster.ca) if cluster.ca else None
    go_on = asyncio.Event()
    targets = [f"/v1/objects/{bucket}/{number}" for number in range(CLIENTS)]
    clients = [asyncio.ensure_future(store_slowly(cluster, trust, *pair, go_on)) for pair in zip(targets, bodies)]
    # All have come when those that are too many have been refused.
    deadline = asyncio.get_running_loop().time() + 60
    while sum(client.done() for client in clients) < CLIENTS - SERVED_MAX and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(0.05)
    go_on.set()
    return await asyncio.gather(*clients)


def test_a_crowd_is_served_up_to_a_bound_and_told_to_come_again_beyond(base):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    cluster = Cluster(base / "crowd", "--nodes", "1")
    try:
        cluster.cli("mb", "crowd")
        pids = [int(line.split()[1]) for line in cluster._script("ps").splitlines()]
        before = peak_memory(pids)
        bodies = [random.Random(number).randbytes(100_000) for number in range(CLIENTS)]
        answers = asyncio.run(crowd(cluster, "crowd", bodies))
        served = [number for number, (status, _) in enumerate(answers) if status == 201]
        refused = [answer for answer in answers if answer[0] != 201]
        assert len(served) == SERVED_MAX, sorted({status for status, _ in answers})
        assert set(refused) == {(503, True)}, set(refused)
        # Whoever was served is: every file is there, and no other.
        s3 = cluster.boto3()
        assert s3.get_object(Bucket="crowd", Key=str(served[7]))["Body"].read() == bodies[served[7]]
        names = [found["Key"] for page in s3.get_paginator("list_objects_v2").paginate(Bucket="crowd") for found in page["Contents"]]
        assert sorted(map(int, names)) == served
        # 130 MB came at once; what was held of it is bounded.
        assert peak_memory(pids) - before < 400 << 20, (peak_memory(pids), before)
    finally:
        cluster.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def small_disk(base):
    """A folder for a cluster whose only disk is small."""
    if os.geteuid() != 0:
        pytest.fail("this needs root, for a disk that is small")
    folder = base / "small-disk"
    disk, image = folder / "node-1" / "disk-1", base / "small-disk.img"
    disk.mkdir(parents=True)
    with open(image, "wb") as file:
        file.truncate(400 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, disk], check=True)
    (disk / "lost+found").rmdir()
    yield folder
    subprocess.run(["umount", "-l", disk], check=True)
    image.unlink()


def test_on_a_full_disk_writes_are_refused_and_reading_and_deleting_go_on(small_disk):
    cluster = Cluster(small_disk, "--nodes", "1")
    try:
        s3 = cluster.boto3()
        s3.create_bucket(Bucket="full")
        stored, refusals = {}, []
        for number in range(200):
            data = random.Random(number).randbytes(4 << 20)
            try:
                s3.put_object(Bucket="full", Key=str(number), Body=data)
                stored[str(number)] = data
            except ClientError as problem:
                refusals.append((problem.response["ResponseMetadata"]["HTTPStatusCode"], problem.response["Error"]["Code"]))
                if len(refusals) == 3:
                    break
        assert refusals == [(507, "InsufficientStorage")] * 3, refusals
        assert len(stored) > 20
        large = small_disk / "large"
        large.write_bytes(random.Random(1_000_000).randbytes(4 << 20))
        status = cluster.curl("-o", os.devnull, "-w", "%{http_code}", "-T", large, f"{cluster.api}/v1/objects/full/native")
        assert status.stdout == b"507"
        large.unlink()
        for key, data in stored.items():
            assert s3.get_object(Bucket="full", Key=key)["Body"].read() == data, key
        listed = {found["Key"] for found in s3.list_objects_v2(Bucket="full")["Contents"]}
        assert listed == set(stored), "nothing of what was refused is visible"
        for key in stored:
            s3.delete_object(Bucket="full", Key=key)
        assert "Contents" not in s3.list_objects_v2(Bucket="full")
        s3.delete_bucket(Bucket="full")
    finally:
        cluster._script("down")
