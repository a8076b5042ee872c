"""The native API with tools that no one here wrote: a tus client, curl with links, and a tester of OpenAPI documents."""

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys

import pytest


def basic(cluster):
    return "Basic " + base64.b64encode(f"{cluster.access}:{cluster.secret}".encode()).decode()


def test_a_tus_client_sends_a_file_in_pieces_and_goes_on_after_a_break(cluster, bucket, tmp_path, monkeypatch):
    from tusclient.client import TusClient

    if cluster.ca:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", cluster.ca)
    data = os.urandom(9_000_001)
    (tmp_path / "file").write_bytes(data)
    client = TusClient(f"{cluster.api}/v1/uploads/{bucket}", headers={"Authorization": basic(cluster)})
    settings = {"chunk_size": 2_000_000, "metadata": {"filename": "d/ü file", "filetype": "text/plain"}, "upload_checksum": True}
    first = client.uploader(str(tmp_path / "file"), **settings)
    first.upload_chunk()
    assert first.offset == 2_000_000
    # Another process, later: it knows the address alone.
    second = client.uploader(str(tmp_path / "file"), url=first.url, **settings)
    assert second.get_offset() == 2_000_000
    second.upload()
    at = f"{cluster.api}/v1/objects/{bucket}/d/%C3%BC%20file"
    assert cluster.curl(at).stdout == data
    assert b"content-type: text/plain" in cluster.curl("-I", at).stdout.lower()
    # In one request.
    settings["metadata"]["filename"] = "whole"
    del settings["chunk_size"]
    client.uploader(str(tmp_path / "file"), **settings).upload()
    assert cluster.curl(f"{cluster.api}/v1/objects/{bucket}/whole").stdout == data


def test_curl_reads_and_stores_by_links(cluster, bucket, tmp_path):
    def link(**order):
        made = cluster.curl("-f", "-d", json.dumps(order), f"{cluster.api}/v1/presign")
        return cluster.api + json.loads(made.stdout)["path"]

    def stranger(*arguments):
        trust = ["--cacert", cluster.ca] if cluster.ca else []
        return cluster.run("curl", "-q", *trust, "-sS", "-w", "\n%{http_code}", *arguments).stdout.rsplit(b"\n", 1)

    (tmp_path / "f").write_bytes(b"hello")
    put = link(method="PUT", file=f"{bucket}/a b", max_bytes=5)
    assert stranger("-T", tmp_path / "f", put)[1] == b"201"
    assert stranger("-T", __file__, put)[1] == b"413"
    get = link(method="GET", file=f"{bucket}/a b", expires_s=60)
    assert stranger(get) == [b"hello", b"200"]
    assert stranger(get.replace("a%20b", "other"))[1] == b"401"
    assert stranger("-T", tmp_path / "f", get)[1] == b"401"
    # A link ends with the key that made it.
    log = "\n".join(cluster.access_log())
    assert "x-signature" not in log


def test_digests_are_those_of_the_bytes(cluster, bucket, tmp_path):
    data = os.urandom(2_000_000)
    (tmp_path / "f").write_bytes(data)
    digest = "sha-256=:" + base64.b64encode(hashlib.sha256(data).digest()).decode() + ":"
    at = f"{cluster.api}/v1/objects/{bucket}/f"
    cluster.curl("-f", "-T", tmp_path / "f", "-H", "Want-Repr-Digest: sha-256=10", at)
    head = cluster.curl("-f", "-o", os.devnull, "-D", "-", "-H", "Want-Content-Digest: sha-256=1", at).stdout.decode()
    assert f"repr-digest: {digest}" in head and f"content-digest: {digest}" in head


def test_what_the_document_of_the_api_says_is_so(cluster, bucket, tmp_path):
    """Requests that a foreign tool makes of the document, right and wrong ones: none may end in a server error, and every answer
    must be one that the document names."""
    if cluster.ca:
        pytest.skip("one scheme is enough: what is tested lies behind it")
    document = json.loads(cluster.curl("-f", f"{cluster.api}/v1/openapi.json").stdout)
    # Names of which some are there: else most requests would end at a bucket that is not.
    for path, item in document["paths"].items():
        for parameter in item.get("parameters", []) if path.startswith(("/v1/objects", "/v1/uploads")) else []:
            names = {"bucket": [bucket, "no-such-bucket"], "key": ["a", "d/ü b", "new"]}
            parameter["schema"] = {"type": "string", "enum": names[parameter["name"]]}
    for key in ["a", "d/%C3%BC%20b"]:
        cluster.curl("-f", "-T", __file__, f"{cluster.api}/v1/objects/{bucket}/{key}")
    (tmp_path / "openapi.json").write_text(json.dumps(document))
    shutil.copy(os.path.join(os.path.dirname(__file__), "schemathesis_hooks.py"), tmp_path)
    command = [
        os.path.join(os.path.dirname(sys.executable), "schemathesis"), "run", "openapi.json", "--url", cluster.api,
        "-H", f"Authorization: {basic(cluster)}",
        "--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
        "--max-examples", "12", "--seed", "20261123", "--phases", "examples,coverage,fuzzing", "--no-color",
    ]  # fmt: skip
    hooks = {**os.environ, "SCHEMATHESIS_HOOKS": "schemathesis_hooks", "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(list(map(str, command)), cwd=tmp_path, env=hooks, capture_output=True, text=True, timeout=170)
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    # It got in, and to the files.
    log = "\n".join(cluster.access_log())
    assert all(operation in log for operation in ["PutFile", "CreateUpload", "CopyFile", "PatchBucket"])
