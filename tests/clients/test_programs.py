"""Programs that people put in front of a bucket: backups, mounts, the JavaScript SDK, the AWS CLI of version 2."""

import importlib.metadata
import io
import json
import os
import pathlib
import random
import shutil
import subprocess
import tarfile
import time
import zipfile

import pytest

from conftest import assert_same, tree

HERE = pathlib.Path(__file__).resolve().parent


def files(folder, seed, lengths):
    for number, length in enumerate(lengths):
        path = folder / f"d{number % 3}" / f"file {number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(random.Random(seed + number).randbytes(length))
    return folder


def test_restic_backs_up_checks_restores_and_prunes(cluster, bucket, tmp_path):
    folder = files(tmp_path / "in", 1, [0, 1, 100_000, 3_000_000, 9_000_000])
    environment = {**cluster.environment(), "RESTIC_PASSWORD": "p", "RESTIC_REPOSITORY": f"s3:{cluster.s3}/{bucket}/r"}
    trust = ["--cacert", cluster.ca] if cluster.ca else []

    def restic(*arguments):
        command = ["restic", "--no-cache", *trust, *map(str, arguments)]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}: {done.stdout} {done.stderr}"
        return done.stdout

    restic("init")
    restic("backup", "in")
    before = tree(folder)
    (folder / "d0" / "file 3").write_bytes(random.Random(9).randbytes(2_000_000))
    restic("backup", "in")
    restic("check", "--read-data")
    restic("restore", "latest", "--target", tmp_path / "out")
    assert_same(tree(folder), tree(tmp_path / "out" / "in"))
    first = restic("snapshots", "--compact").splitlines()[2].split()[0]
    restic("restore", first, "--target", tmp_path / "first")
    assert_same(before, tree(tmp_path / "first" / "in"))
    restic("forget", "--keep-last", "1", "--prune")
    restic("check", "--read-data")


@pytest.fixture(scope="session")
def aws2(base):
    """The AWS CLI of version 2, as a package for another purpose carries it: in an archive in an archive."""
    files = importlib.metadata.files("aws-cdk.asset-awscli-v2")
    with tarfile.open(next(file.locate() for file in files if file.suffix == ".tgz")) as archive:
        layer = zipfile.ZipFile(io.BytesIO(archive.extractfile("package/lib/layer.zip").read()))
    layer.extractall(base / "aws2")
    program = next((base / "aws2").glob("awscli/v2/*/dist/aws"))
    program.chmod(0o755)
    return program


def test_aws_cli_2_copies_syncs_presigns_and_speaks_to_the_api(cluster, bucket, tmp_path, aws2):
    def aws(*arguments, check=True):
        return cluster.run(aws2, "--endpoint-url", cluster.s3, *arguments, check=check).stdout.decode()

    folder = files(tmp_path / "in", 3, [0, 1000, 100_000, 20_000_000])
    for path in folder.rglob("file*"):
        os.utime(path, (1_700_000_000, 1_700_000_000))
    assert aws("s3", "sync", folder, f"s3://{bucket}/x").count("upload:") == 4
    assert aws("s3", "sync", folder, f"s3://{bucket}/x") == ""
    aws("s3", "cp", "--recursive", f"s3://{bucket}/x", tmp_path / "out")
    assert_same(tree(folder), tree(tmp_path / "out"))
    # It sends a CRC64NVME by itself, and is shown it again.
    put = json.loads(aws("s3api", "put-object", "--bucket", bucket, "--key", "k", "--body", folder / "d2" / "file 2"))
    head = cluster.boto3().head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert put["ChecksumCRC64NVME"] == head["ChecksumCRC64NVME"]
    url = aws("s3", "presign", f"s3://{bucket}/k").strip()
    assert cluster.urlopen(url).read() == (folder / "d2" / "file 2").read_bytes()
    again = cluster.run(
        aws2, "--endpoint-url", cluster.s3, "s3api", "put-object", "--bucket", bucket, "--key", "k", "--if-none-match", "*", check=False
    )
    assert b"PreconditionFailed" in again.stderr
    assert aws("s3", "ls", "--recursive", f"s3://{bucket}/").count("\n") == 5


@pytest.mark.skipif(not os.access("/dev/fuse", os.W_OK), reason="this machine lets nobody mount by FUSE")
def test_s3fs_mounts_a_bucket(cluster, bucket, tmp_path):
    password = tmp_path / "password"
    password.write_text(f"{cluster.access}:{cluster.secret}\n")
    password.chmod(0o600)
    mount = tmp_path / "mount"
    mount.mkdir()
    environment = {**os.environ, **({"CURL_CA_BUNDLE": cluster.ca} if cluster.ca else {})}
    options = f"passwd_file={password},url={cluster.s3},use_path_request_style,endpoint={cluster.region},multipart_size=5"
    with open(tmp_path / "log", "wb") as log:
        process = subprocess.Popen(["s3fs", bucket, mount, "-f", "-o", options], env=environment, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 30
            while not os.path.ismount(mount) and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.05)
            assert os.path.ismount(mount), (tmp_path / "log").read_text()
            folder = files(tmp_path / "in", 2, [0, 5, 70_000, 12_000_000])
            shutil.copytree(folder, mount / "tree", copy_function=shutil.copyfile)
            assert_same(tree(folder), tree(mount / "tree"))
            with open(mount / "tree" / "d2" / "file 2", "r+b") as file:
                file.seek(1000)
                file.write(b"changed")
            assert (mount / "tree" / "d2" / "file 2").read_bytes()[1000:1007] == b"changed"
            os.rename(mount / "tree" / "d0" / "file 3", mount / "moved")
            assert (mount / "moved").stat().st_size == 12_000_000
            assert sorted(os.listdir(mount / "tree")) == ["d0", "d1", "d2"]
            shutil.rmtree(mount / "tree")
            (mount / "moved").unlink()
            assert os.listdir(mount) == []
        finally:
            subprocess.run(["fusermount", "-u", mount], capture_output=True)
            process.terminate()
            process.wait(timeout=30)


def test_the_javascript_sdk_at_its_default_settings(cluster, bucket, base):
    folder = base / "javascript"
    if not folder.exists():
        shutil.copytree(HERE / "javascript", folder, ignore=shutil.ignore_patterns("node_modules"))
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--silent"], cwd=folder, check=True)
    environment = {**cluster.environment(), "ENDPOINT": cluster.s3, "BUCKET": bucket, "AWS_REGION": cluster.region}
    environment |= {"NODE_EXTRA_CA_CERTS": cluster.ca} if cluster.ca else {}
    done = subprocess.run(["node", "flow.mjs"], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
