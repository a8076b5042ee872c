"""Clients that send next to nothing: they are ended, and nobody else waits for them."""

import asyncio
import ssl
import time

import pytest

# How long the head of a request, or a TLS handshake, may take (HEADER_TIMEOUT_MS in common/src/limits.rs).
HEAD_SECONDS = 10


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
