"""The same files in by each way on an empty cluster, out by the other two, byte for byte.

Ways: the command line client; curl against the HTTP API; S3, by boto3 on the way in, by rclone and the AWS CLI on the
way out.
"""

import concurrent.futures
import json
import os
import shutil
import urllib.parse

import pytest

from conftest import assert_same, tree

BUCKET = "three-ways"


def names(folder):
    for parent, _, files in os.walk(folder):
        for file in files:
            yield os.path.relpath(os.path.join(parent, file), folder)


def quoted(text):
    """A value in a curl configuration file."""
    for plain, escaped in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\t", "\\t"), ("\r", "\\r")):
        text = text.replace(plain, escaped)
    return f'"{text}"'


def url(cluster, name):
    return f"{cluster.api}/v1/objects/{BUCKET}/{urllib.parse.quote(name)}"


def in_by_cli(cluster, folder):
    cluster.cli("put", "-r", f"{folder}/", f"cairn://{BUCKET}")


def out_by_cli(cluster, folder):
    cluster.cli("get", "-r", f"cairn://{BUCKET}/", folder)


def in_by_http(cluster, folder):
    config = "".join(
        f"upload-file = {quoted(os.path.join(folder, name))}\nurl = {quoted(url(cluster, name))}\noutput = /dev/null\n"
        for name in names(folder)
    )
    cluster.curl("--fail-early", "-f", "--parallel", "--parallel-max", "8", "-K", "-", stdin=None, input=config.encode())


def keys(cluster):
    """All keys, by the listing of the HTTP API."""
    found, after = [], ""
    while True:
        page = json.loads(cluster.curl("-f", f"{cluster.api}/v1/objects/{BUCKET}?list&limit=1000{after}").stdout)
        found += [entry["key"] for entry in page["files"]]
        if page["cursor"] is None:
            return found
        after = "&cursor=" + urllib.parse.quote(page["cursor"], safe="")


def out_by_http(cluster, folder):
    config = []
    for name in keys(cluster):
        target = os.path.join(folder, name)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        # curl makes no file for an empty body.
        open(target, "wb").close()
        config.append(f"url = {quoted(url(cluster, name))}\noutput = {quoted(target)}\n")
    cluster.curl(
        "--fail-early", "-f", "--parallel", "--parallel-max", "8", "-K", "-", stdin=None, input="".join(config).encode()
    )


def in_by_s3(cluster, folder):
    client = cluster.boto3(max_pool_connections=16)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        uploads = [pool.submit(client.upload_file, os.path.join(folder, name), BUCKET, name) for name in names(folder)]
        for upload in uploads:
            upload.result()


def out_by_s3(cluster, folder):
    out_by_rclone(cluster, folder)


def out_by_rclone(cluster, folder):
    cluster.rclone("copy", "--transfers", "8", "--checksum", f"cairn:{BUCKET}", folder)


def out_by_aws(cluster, folder):
    # It downloads beside the target under a longer name, which the longest names leave no room for: those as a stream.
    long = [key for key in keys(cluster) if any(len(part.encode()) > 240 for part in key.split("/"))]
    exclude = [word for key in long for word in ("--exclude", key)]
    cluster.aws("s3", "cp", "--recursive", "--only-show-errors", *exclude, f"s3://{BUCKET}", folder)
    for key in long:
        (folder / key).write_bytes(cluster.aws("s3", "cp", f"s3://{BUCKET}/{key}", "-").stdout)


WAYS = {
    "cli": (in_by_cli, [out_by_http, out_by_rclone]),
    "http": (in_by_http, [out_by_cli, out_by_aws]),
    "s3": (in_by_s3, [out_by_cli, out_by_http]),
}


@pytest.mark.parametrize("way", WAYS)
def test_in_by_one_way_and_out_by_the_others(way, empty_cluster, base, files, large):
    bring_in, take_out = WAYS[way]
    empty_cluster.cli("mb", BUCKET)
    expected = {}
    for folder in (files, large):
        bring_in(empty_cluster, folder)
        expected |= tree(folder)
    for take in take_out:
        out = base / f"{way}-{take.__name__}"
        out.mkdir()
        take(empty_cluster, out)
        assert_same(expected, tree(out))
        shutil.rmtree(out)
