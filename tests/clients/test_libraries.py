"""Libraries of applications: what stores files, tables and streams through them, at default settings."""

import io
import json
import os
import random
import subprocess
import sys
from urllib.parse import urlsplit

import pytest


def host(cluster):
    return urlsplit(cluster.s3).netloc


def is_tls(cluster):
    return cluster.s3.startswith("https")


def in_python(cluster, program, *arguments, python=sys.executable):
    """Runs a program in a process of its own: some libraries read the certificates to trust from the environment, once."""
    trust = {"SSL_CERT_FILE": cluster.ca} if cluster.ca else {}
    settings = {"s3": cluster.s3, "region": cluster.region, "access": cluster.access, "secret": cluster.secret, "ca": cluster.ca}
    command = [python, "-c", program, json.dumps(settings), *map(str, arguments)]
    done = subprocess.run(command, env={**cluster.environment(), **trust}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_minio_stores_lists_and_removes(cluster, bucket, tmp_path):
    import urllib3
    from minio import Minio
    from minio.error import S3Error

    pool = urllib3.PoolManager(ca_certs=cluster.ca) if cluster.ca else None
    client = Minio(
        endpoint=host(cluster), access_key=cluster.access, secret_key=cluster.secret, region=cluster.region, secure=is_tls(cluster), http_client=pool
    )
    small, large = os.urandom(1000), os.urandom(12 << 20)
    client.put_object(bucket_name=bucket, object_name="d/small", data=io.BytesIO(small), length=len(small), metadata={"who": "me"})
    # Of a length that is not known: in parts.
    client.put_object(bucket_name=bucket, object_name="d/large", data=io.BytesIO(large), length=-1, part_size=5 << 20)
    for name, data in [("d/small", small), ("d/large", large)]:
        response = client.get_object(bucket_name=bucket, object_name=name)
        assert response.read() == data
        response.close()
    assert client.stat_object(bucket_name=bucket, object_name="d/small").metadata["x-amz-meta-who"] == "me"
    names = {found.object_name for found in client.list_objects(bucket_name=bucket, prefix="d/", recursive=True)}
    assert names == {"d/small", "d/large"}
    url = client.presigned_get_object(bucket_name=bucket, object_name="d/small")
    assert cluster.urlopen(url).read() == small
    for name in names:
        client.remove_object(bucket_name=bucket, object_name=name)
    with pytest.raises(S3Error):
        client.stat_object(bucket_name=bucket, object_name="d/small")


def test_duckdb_writes_and_queries_tables(cluster, bucket):
    import duckdb
    import duckdb_extension_httpfs

    folder = os.path.dirname(duckdb_extension_httpfs.__file__)
    found = [os.path.join(parent, name) for parent, _, names in os.walk(folder) for name in names if name.endswith(".duckdb_extension")]
    database = duckdb.connect()
    database.execute(f"LOAD '{found[0]}'")
    if cluster.ca:
        database.execute(f"SET ca_cert_file = '{cluster.ca}'")
    database.execute(
        f"CREATE SECRET (TYPE s3, KEY_ID '{cluster.access}', SECRET '{cluster.secret}', REGION '{cluster.region}',"
        f" ENDPOINT '{host(cluster)}', URL_STYLE 'path', USE_SSL {str(is_tls(cluster)).lower()})"
    )
    database.execute(f"COPY (SELECT i, i % 7 AS part, md5(i::TEXT) AS text FROM range(200000) r(i)) TO 's3://{bucket}/t.parquet'")
    count, total = database.execute(f"SELECT count(*), sum(i) FROM 's3://{bucket}/t.parquet' WHERE part = 3").fetchone()
    assert (count, total) == (28571, sum(range(3, 200000, 7)))
    database.execute(f"COPY (SELECT i, i % 3 AS part FROM range(999) r(i)) TO 's3://{bucket}/p' (FORMAT parquet, PARTITION_BY part)")
    assert database.execute(f"SELECT count(*) FROM read_parquet('s3://{bucket}/p/*/*.parquet') WHERE part = 1").fetchone() == (333,)


ARROW = """
import json, sys
import pyarrow as pa, pyarrow.dataset as ds, pyarrow.fs as fs, pyarrow.parquet as pq
settings, bucket = json.loads(sys.argv[1]), sys.argv[2]
scheme, host = settings["s3"].split("://")
if settings["ca"]:
    fs.S3FileSystem  # initialise below, with the certificates to trust
s3 = fs.S3FileSystem(
    access_key=settings["access"], secret_key=settings["secret"], region=settings["region"], scheme=scheme, endpoint_override=host,
    **({"tls_ca_file_path": settings["ca"]} if settings["ca"] else {}),
)
table = pa.table({"i": list(range(100_000)), "part": [i % 4 for i in range(100_000)]})
ds.write_dataset(table, f"{bucket}/data", filesystem=s3, format="parquet", partitioning=["part"])
back = ds.dataset(f"{bucket}/data", filesystem=s3, format="parquet", partitioning=["part"])
assert back.count_rows(filter=ds.field("part") == 2) == 25_000
data = bytes(range(256)) * (50_000)
with s3.open_output_stream(f"{bucket}/stream") as out:
    out.write(data)
with s3.open_input_file(f"{bucket}/stream") as file:
    file.seek(1_000_001)
    assert file.read(77) == data[1_000_001:1_000_078] and file.size() == len(data)
s3.copy_file(f"{bucket}/stream", f"{bucket}/copy")
s3.move(f"{bucket}/copy", f"{bucket}/moved")
names = [info.path for info in s3.get_file_info(fs.FileSelector(bucket))]
assert sorted(names) == [f"{bucket}/{name}" for name in ("data", "moved", "stream")], names
s3.delete_dir_contents(bucket)
assert s3.get_file_info(fs.FileSelector(bucket)) == []
"""


def test_pyarrow_writes_and_reads_datasets(cluster, bucket):
    in_python(cluster, ARROW, bucket)


OPENDAL = """
import json, os, sys
import opendal
settings, bucket = json.loads(sys.argv[1]), sys.argv[2]
operator = opendal.Operator(
    "s3", bucket=bucket, endpoint=settings["s3"], region=settings["region"],
    access_key_id=settings["access"], secret_access_key=settings["secret"],
)
data = os.urandom(3_000_001)
operator.write("d/a", data)
assert operator.read("d/a") == data
assert operator.stat("d/a").content_length == len(data)
with operator.open("d/a", "rb") as file:
    file.seek(1_000_000)
    assert file.read(5) == data[1_000_000:1_000_005]
operator.copy("d/a", "d/b")
assert sorted(entry.path for entry in operator.list("d/") if not entry.path.endswith("/")) == ["d/a", "d/b"]
operator.delete("d/a")
assert not operator.exists("d/a") and operator.exists("d/b")
operator.remove_all("d/")
assert not operator.exists("d/b")
"""


def test_opendal_writes_copies_and_removes(cluster, bucket):
    in_python(cluster, OPENDAL, bucket)


S3FS = """
import json, os, sys
import pandas, s3fs
settings, bucket = json.loads(sys.argv[1]), sys.argv[2]
options = {"key": settings["access"], "secret": settings["secret"], "endpoint_url": settings["s3"]}
options["client_kwargs"] = {"region_name": settings["region"], "verify": settings["ca"]}
files = s3fs.S3FileSystem(**options)
data = os.urandom(12_000_000)
with files.open(f"{bucket}/d/large", "wb", block_size=5 << 20) as file:
    file.write(data)
files.pipe(f"{bucket}/d/small", b"hello")
with files.open(f"{bucket}/d/large", "rb") as file:
    file.seek(6_000_001)
    assert file.read(9) == data[6_000_001:6_000_010]
assert files.cat(f"{bucket}/d/large") == data and files.cat(f"{bucket}/d/small") == b"hello"
assert files.ls(f"{bucket}/d") == [f"{bucket}/d/large", f"{bucket}/d/small"]
files.copy(f"{bucket}/d/large", f"{bucket}/copy")
files.mv(f"{bucket}/copy", f"{bucket}/moved")
assert files.info(f"{bucket}/moved")["size"] == len(data) and not files.exists(f"{bucket}/copy")
frame = pandas.DataFrame({"a": range(1000), "b": [str(i) for i in range(1000)]})
frame.to_csv(f"s3://{bucket}/frame.csv", index=False, storage_options=options)
assert pandas.read_csv(f"s3://{bucket}/frame.csv", storage_options=options, dtype={"b": str}).equals(frame)
files.rm(f"{bucket}", recursive=True)
"""


def test_s3fs_and_pandas_read_and_write_frames(cluster, bucket):
    in_python(cluster, S3FS, bucket, python=os.path.join(sys.prefix, "aio", "bin", "python"))


def test_s3cmd_puts_syncs_and_removes(cluster, bucket, tmp_path):
    common = ["s3cmd", "--config", os.devnull, "--access_key", cluster.access, "--secret_key", cluster.secret]
    common += ["--host", host(cluster), "--host-bucket", host(cluster), "--region", cluster.region]
    common += ["--ssl", "--ca-certs", cluster.ca] if cluster.ca else ["--no-ssl"]
    folder = tmp_path / "in"
    (folder / "d").mkdir(parents=True)
    for name, length in [("a", 10_000), ("d/ü b", 20_000), ("large", 17 << 20)]:
        (folder / name).write_bytes(random.Random(name).randbytes(length))
    cluster.run(*common, "sync", f"{folder}/", f"s3://{bucket}/x/")
    again = cluster.run(*common, "sync", f"{folder}/", f"s3://{bucket}/x/").stdout.decode()
    assert "upload:" not in again
    cluster.run(*common, "sync", f"s3://{bucket}/x/", f"{tmp_path}/out/")
    for name in ["a", "d/ü b", "large"]:
        assert (tmp_path / "out" / name).read_bytes() == (folder / name).read_bytes()
    info = cluster.run(*common, "info", f"s3://{bucket}/x/a").stdout.decode()
    assert "10000" in info
    cluster.run(*common, "cp", f"s3://{bucket}/x/a", f"s3://{bucket}/copy")
    cluster.run(*common, "setacl", "--acl-private", f"s3://{bucket}/copy", check=False)
    cluster.run(*common, "del", "--recursive", "--force", f"s3://{bucket}/")
    assert cluster.run(*common, "ls", "--recursive", f"s3://{bucket}").stdout == b""
