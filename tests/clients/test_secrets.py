"""Canaries: secrets that are used in every way, and must not be found again where they do not belong."""

import base64
import json
import os
import pathlib
import random
import subprocess

import pytest
from botocore.exceptions import ClientError

from conftest import Cluster

ACCESS = "AKCANARY"
SECRET = "canary-9f3c41d07be85a26canary/+x"


def forms(secret):
    """A secret as it might be written somewhere."""
    raw = secret.encode()
    texts = {secret, raw.hex(), base64.b64encode(raw).decode(), base64.b64encode(f"{ACCESS}:{secret}".encode()).decode()}
    texts |= {secret.replace("/", "%2F").replace("+", "%2B"), secret.replace("/", "\\/"), f"{ACCESS}.{secret}"}
    return [text.encode() for text in texts]


def found_in(data, what):
    return [form for form in what if form in data]


@pytest.fixture
def cluster_with_canary(base):
    cluster = Cluster(base / f"canary-{random.getrandbits(24):06x}", "--nodes", "3", "--replicas", "3", "--tls")
    file = base / "canary.key"
    file.write_text(f"{ACCESS}\n{SECRET}\n")
    file.chmod(0o600)
    cluster.cli("admin", "key", "create", "canary", "--import", file, "--admin")
    yield cluster
    cluster.close()
    file.unlink()


def test_secrets_are_in_no_log_no_error_no_figure_and_no_file_of_a_disk(cluster_with_canary, tmp_path):
    cluster = cluster_with_canary
    answers = []

    def curl(*arguments, user=f"{ACCESS}:{SECRET}"):
        trust = ["--cacert", cluster.ca]
        done = cluster.run("curl", "-q", "-sS", "-i", *trust, "--path-as-is", "-u", user, *arguments, check=False)
        answers.append(done.stdout + done.stderr)
        return done.stdout

    s3 = cluster.boto3(key=(ACCESS, SECRET))
    s3.create_bucket(Bucket="canary")
    s3.put_object(Bucket="canary", Key="k", Body=os.urandom(100_000))
    s3.get_object(Bucket="canary", Key="k")["Body"].read()
    for key in [(ACCESS, SECRET + "x"), (ACCESS, SECRET[:-1]), (ACCESS + "x", SECRET)]:
        with pytest.raises(ClientError) as problem:
            cluster.boto3(key=key).list_objects_v2(Bucket="canary")
        answers.append(json.dumps(problem.value.response, default=str).encode())
    url = s3.generate_presigned_url("get_object", Params={"Bucket": "canary", "Key": "k"})
    curl(url)
    at = f"{cluster.api}/v1"
    for target in ["objects/canary?list", "objects/canary/k", "objects/canary/missing", "objects/none/x", "status", "nothing", "buckets?x"]:
        curl(f"{at}/{target}")
        curl(f"{at}/{target}", user=f"{ACCESS}:{SECRET}x")
        curl("-H", f"Authorization: Bearer {ACCESS}.{SECRET}", f"{at}/{target}")
        curl("-H", f"Authorization: AWS4-HMAC-SHA256 Credential={SECRET}", f"{at}/{target}")
    curl("-d", "{\"method\": \"GET\", \"file\": \"canary/k\"}", f"{at}/presign")
    curl("-T", __file__, "-H", "If-Match: \"x\"", f"{at}/objects/canary/k")
    figures = curl(f"{cluster.api}/metrics")
    assert b"cairn_gateway_requests_total" in figures
    # One process ends and starts again: what it says then counts as well.
    cluster._script("kill", "node-2")
    cluster._script("start", "node-2")
    cluster.cli("admin", "key", "ls")

    what = forms(SECRET)
    admin = forms(cluster.secret)
    for answer in answers:
        assert not found_in(answer, what), answer[:300]
    pids = [line.split()[1] for line in cluster._script("ps").splitlines()]
    for pid in pids:
        for name in ["cmdline", "environ"]:
            data = pathlib.Path(f"/proc/{pid}/{name}").read_bytes()
            assert not found_in(data, what) and not found_in(data, admin), f"{name} of {pid}"
    looked = 0
    for path in cluster.folder.rglob("*"):
        # Where the administrator's secret is meant to be.
        if not path.is_file() or path.name in {"admin.key", "cluster.env"}:
            continue
        data = path.read_bytes()
        looked += len(data)
        assert not found_in(data, what), path
        assert not found_in(data, admin), path
    assert looked > 1_000_000
    # The canaries can be found: the same search finds one that was written down.
    (tmp_path / "log").write_text(f"key={SECRET}")
    assert found_in((tmp_path / "log").read_bytes(), what)
