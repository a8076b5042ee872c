"""The AWS CLI, rclone and curl, as people use them."""

import json
import os

from conftest import tree, assert_same


def make(folder, names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(10_000 + len(name)))
        # Well before they are stored: the AWS CLI compares times that S3 cuts to seconds.
        os.utime(path, (1_700_000_000, 1_700_000_000))
    return folder


def test_aws_sync_sends_only_what_changed(cluster, bucket, tmp_path):
    folder = make(tmp_path / "in", ["a", "d/b", "d/ü"])
    first = cluster.aws("s3", "sync", folder, f"s3://{bucket}/x").stdout.decode()
    assert first.count("upload:") == 3
    assert cluster.aws("s3", "sync", folder, f"s3://{bucket}/x").stdout.decode() == ""
    (folder / "a").write_bytes(b"changed")
    assert cluster.aws("s3", "sync", folder, f"s3://{bucket}/x").stdout.decode().count("upload:") == 1
    cluster.aws("s3", "sync", f"s3://{bucket}/x", tmp_path / "out")
    assert_same(tree(folder), tree(tmp_path / "out"))
    listed = cluster.aws("s3", "ls", "--recursive", f"s3://{bucket}/").stdout.decode()
    assert listed.count("\n") == 3
    cluster.aws("s3", "mv", f"s3://{bucket}/x/a", f"s3://{bucket}/moved")
    cluster.aws("s3", "rm", "--recursive", f"s3://{bucket}/")
    cluster.aws("s3", "rb", f"s3://{bucket}")


def test_rclone_copies_checks_and_keeps_times(cluster, bucket, tmp_path):
    folder = make(tmp_path / "in", ["a", "d/b", "d/ü", "e"])
    os.utime(folder / "a", (1_000_000_000, 1_000_000_000))
    cluster.rclone("copy", folder, f"cairn:{bucket}/y")
    cluster.rclone("check", "--download", folder, f"cairn:{bucket}/y")
    cluster.rclone("copy", f"cairn:{bucket}/y", tmp_path / "out")
    assert_same(tree(folder), tree(tmp_path / "out"))
    assert os.stat(tmp_path / "out" / "a").st_mtime == 1_000_000_000
    # The same metadata is what the command line client reads.
    cluster.cli("get", f"cairn://{bucket}/y/a", tmp_path / "by-cli")
    assert os.stat(tmp_path / "by-cli").st_mtime == 1_000_000_000
    (folder / "e").unlink()
    cluster.rclone("sync", folder, f"cairn:{bucket}/y")
    assert cluster.rclone("lsf", "-R", "--files-only", f"cairn:{bucket}/y").stdout.decode().split() == ["a", "d/b", "d/ü"]
    cluster.rclone("purge", f"cairn:{bucket}")


def test_the_command_line_client_keeps_times_that_rclone_reads(cluster, bucket, tmp_path):
    (tmp_path / "f").write_bytes(b"x")
    os.utime(tmp_path / "f", ns=(1_234_567_890_123_456_789,) * 2)
    cluster.cli("put", tmp_path / "f", f"cairn://{bucket}/")
    cluster.rclone("copy", f"cairn:{bucket}/f", tmp_path / "out")
    assert os.stat(tmp_path / "out" / "f").st_mtime_ns == 1_234_567_890_123_456_789


def test_curl_stores_reads_resumes_and_removes(cluster, bucket, tmp_path):
    data = os.urandom(3_000_000)
    (tmp_path / "f").write_bytes(data)
    at = f"{cluster.api}/v1/objects/{bucket}/a%20file"
    status = ["-o", os.devnull, "-w", "%{http_code}"]
    assert cluster.curl(*status, "-T", tmp_path / "f", at).stdout in (b"200", b"201")
    assert cluster.curl(at).stdout == data
    assert cluster.curl("-r", "1000-1999", at).stdout == data[1000:2000]
    assert cluster.curl("-r", "-7", at).stdout == data[-7:]
    head = cluster.curl("-I", at).stdout.decode().lower()
    assert "content-length: 3000000" in head and 'etag: "b3-' in head and "accept-ranges: bytes" in head
    (tmp_path / "half").write_bytes(data[:1_000_000])
    cluster.curl("-f", "-C", "-", "-o", tmp_path / "half", at)
    assert (tmp_path / "half").read_bytes() == data
    # Without a length, as from a pipe.
    assert cluster.curl("-f", *status, "-T", "-", at, stdin=None, input=data[:777_777]).stdout in (b"200", b"201")
    assert cluster.curl(at).stdout == data[:777_777]
    assert cluster.curl(*status, "-X", "DELETE", at).stdout == b"204"
    assert cluster.curl(*status, at).stdout == b"404"


def test_curl_gets_problems_that_programs_can_read(cluster, bucket):
    def problem(*arguments):
        done = cluster.curl("-w", "\n%{http_code} %{content_type}", *arguments)
        text, last = done.stdout.decode().rsplit("\n", 1)
        status, kind = last.split(" ", 1)
        assert kind.startswith("application/problem+json"), last
        assert json.loads(text)["status"] == int(status)
        return int(status)

    at = f"{cluster.api}/v1/objects"
    assert problem(f"{at}/{bucket}/missing") == 404
    assert problem(f"{at}/no-such-bucket-here/k") == 404
    assert problem("-u", f"{cluster.access}:wrong", f"{at}/{bucket}/k") in (401, 403)
    # FAULTS D12: a name that is refused inside must not look stored outside.
    assert problem("-T", __file__, f"{at}/{bucket}/{'k' * 1025}") == 400
    assert problem("-T", __file__, f"{at}/no-such-bucket-here/k") == 404


def test_d12_no_refused_write_is_answered_with_success(cluster, bucket):
    """FAULTS D12, over S3: whatever the masters refuse is no 2xx, and nothing of it can be read."""
    s3 = ["--aws-sigv4", "aws:amz:us-east-1:s3", "-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD"]
    status = ["-o", os.devnull, "-w", "%{http_code}"]
    for key in ["k" * 1025, "é" * 513]:
        done = cluster.curl(*s3, *status, "-T", __file__, f"{cluster.s3}/{bucket}/{key}")
        assert done.stdout[:1] == b"4", done.stdout
    large = ["-H", f"x-amz-meta-large: {'v' * 3000}"]
    assert cluster.curl(*s3, *status, *large, "-T", __file__, f"{cluster.s3}/{bucket}/k").stdout[:1] == b"4"
    condition = ["-H", "If-Match: \"0123\""]
    assert cluster.curl(*s3, *status, *condition, "-T", __file__, f"{cluster.s3}/{bucket}/k").stdout[:1] == b"4"
    assert cluster.curl(*s3, *status, "-I", f"{cluster.s3}/{bucket}/k").stdout == b"404"


def test_a_pipe_goes_in_and_out(cluster, bucket):
    data = os.urandom(5_000_001)
    cluster.cli("put", "-", f"cairn://{bucket}/piped", stdin=None, input=data)
    assert cluster.cli("cat", f"{bucket}/piped").stdout == data
    assert cluster.cli("get", f"cairn://{bucket}/piped", "-").stdout == data
