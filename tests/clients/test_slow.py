"""Clients that send or take next to nothing: they are ended, and nobody else waits for them."""

import asyncio
import os
import resource
import ssl
import time
from urllib.parse import urlsplit

import pytest

# As docs/http-api.md and docs/s3.md have it: how long the head of a request, or a TLS handshake, may take.
HEAD_SECONDS = 10
SLOW = 400


async def how_long(address, trust, first, drip):
    """Sends `first`, then `drip` again and again; seconds until the server ends the connection."""
    began = time.monotonic()
    reader, writer = await asyncio.open_connection(*address, ssl=trust)
    writer.write(first)

    async def dripping():
        while drip:
            await asyncio.sleep(0.5)
            writer.write(drip)
            await writer.drain()

    drips = asyncio.ensure_future(dripping())
    try:
        await asyncio.wait_for(reader.read(), 4 * HEAD_SECONDS)
    except (ConnectionError, ssl.SSLError):
        pass
    drips.cancel()
    writer.close()
    return time.monotonic() - began


async def slow_heads(cluster, ports):
    trust = ssl.create_default_context(cafile=cluster.ca)
    trust.check_hostname = False
    half = b"GET / HTTP/1.1\r\nhost: x\r\nx-slow: "
    waits = []
    for port in ports:
        address = ("127.0.0.1", port)
        # Nobody there; a handshake that does not go on; one that was finished; a head that does not go on; one that goes on for ever.
        for wait in [(None, b"", b""), (None, b"\x16\x03\x01", b""), (trust, b"", b""), (trust, half, b""), (trust, half, b"x")]:
            waits += [how_long(address, *wait) for _ in range(5)]
    return await asyncio.gather(*waits)


@pytest.mark.parametrize("cluster", ["https"], indirect=True)
def test_s23_heads_and_handshakes_that_do_not_come_to_an_end_are_ended(cluster, bucket):
    """FAULTS S23, on every port of a node; whoever sends a whole request is served meanwhile."""
    nodes = cluster.folder.glob("nodes/node-1.env")
    fields = dict(line.split("=", 1) for line in next(nodes).read_text().splitlines())
    ports = [int(fields[name].strip("'\"")) for name in ("NODE_PORT", "S3_PORT", "API_PORT")]

    async def both():
        heads = asyncio.ensure_future(slow_heads(cluster, ports))
        s3 = cluster.boto3()
        await asyncio.to_thread(s3.put_object, Bucket=bucket, Key="k", Body=b"served")
        got = await asyncio.to_thread(s3.get_object, Bucket=bucket, Key="k")
        assert not heads.done() and got["Body"].read() == b"served"
        return await heads

    seconds = asyncio.run(both())
    assert len(seconds) == 75
    assert min(seconds) > HEAD_SECONDS / 2 and max(seconds) < 3 * HEAD_SECONDS, (min(seconds), max(seconds))


async def read_slowly(url, stop):
    """Reads the head of an answer and then next to nothing of the body; whether it was served."""
    at = urlsplit(url)
    reader, writer = await asyncio.open_connection(at.hostname, at.port, limit=4096)
    writer.write(f"GET {at.path}?{at.query} HTTP/1.1\r\nhost: {at.netloc}\r\n\r\n".encode())
    status = await reader.readline()
    while not stop.is_set() and await reader.read(1):
        await asyncio.sleep(1)
    writer.close()
    return b" 200 " in status


@pytest.mark.parametrize("cluster", ["http"], indirect=True)
def test_r14_readers_that_take_nothing_keep_nobody_waiting(cluster, bucket):
    """FAULTS R14: a file of many chunks, opened by hundreds who take a byte a second; others read it whole meanwhile."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    s3 = cluster.boto3(signature_version="s3v4")
    data = os.urandom(16 << 20)
    s3.put_object(Bucket=bucket, Key="k", Body=data)
    url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"})

    async def both():
        stop = asyncio.Event()
        slow = [asyncio.ensure_future(read_slowly(url, stop)) for _ in range(SLOW)]
        await asyncio.sleep(2)
        took = []
        for _ in range(20):
            began = time.monotonic()
            got = await asyncio.to_thread(lambda: s3.get_object(Bucket=bucket, Key="k", Range="bytes=5000000-6000000")["Body"].read())
            took.append(time.monotonic() - began)
            assert got == data[5000000:6000001]
        whole = await asyncio.to_thread(lambda: s3.get_object(Bucket=bucket, Key="k")["Body"].read())
        assert whole == data
        stop.set()
        return took, await asyncio.gather(*slow)

    try:
        took, served = asyncio.run(both())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert all(served), f"{sum(served)} of {SLOW}"
    # Ten seconds would be the time after which a stalled reader is given up: nobody waits for that.
    assert max(took) < 5, sorted(took)
