"""Clusters and files for tests with clients that no one here wrote.

Run by scripts/test, which installs the clients (tests/requirements.txt) and says which program to test (CAIRN_BIN).
"""

import hashlib
import os
import pathlib
import random
import shutil
import ssl
import stat
import subprocess
import tempfile
import urllib.request

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
QUICK = bool(os.environ.get("CAIRN_QUICK"))
SEED = int(os.environ.get("CAIRN_SEED", "20261123"))

FILES = 300 if QUICK else 3000
FILES_BYTES = (50 if QUICK else 500) << 20
LARGE_BYTES = (150 << 20) + 12345 if QUICK else int(2.1 * (1 << 30)) + 12345

ODD_NAMES = [
    "-rf",
    "--",
    " leading and trailing ",
    "two  spaces",
    "new\nline",
    "tab\there",
    "quote\"s and 'more'",
    "back\\slash",
    "percent%41%2F%",
    "plus+and&amp;<tag>?query=1#fragment",
    "[glob]{a,b}*",
    "semi;colon:and|pipe$HOME`id`",
    "ünïcödé",
    "日本語のファイル",
    "emoji \U0001f5ff",
    "e\u0301 decomposed",
    "\u00e9 composed",
    "...",
    "..hidden",
    "~tilde",
    "x" * 255,
    "é" * 127,
    "empty",
    "control\x01character",
]


class Cluster:
    """A cluster run by scripts/cluster, with what clients need to reach it."""

    def __init__(self, folder, *options):
        self.folder = folder
        last = self._script("up", *options).splitlines()[-1]
        fields = dict(field.split("=", 1) for field in last.split())
        self.s3, self.api, self.region = fields["endpoint"], fields["api"], fields["region"]
        self.access, self.secret = fields["access"], fields["secret"]
        # Certificates to trust, of a cluster with TLS.
        self.ca = fields.get("ca")

    def _script(self, verb, *arguments):
        command = [str(TOP / "scripts/cluster"), verb, str(self.folder), *arguments]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def cli(self, *arguments, check=True, **options):
        """Runs `cairn ARGUMENTS`."""
        options.setdefault("stdin", subprocess.DEVNULL)
        command = [str(TOP / "scripts/cluster"), "cli", str(self.folder), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, **options)
        if check:
            assert done.returncode == 0, f"cairn {arguments}: {done.returncode} {done.stderr.decode()}"
        return done

    def environment(self):
        """Variables for tools that speak S3."""
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "RCLONE_"))},
            "AWS_ACCESS_KEY_ID": self.access,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "RCLONE_CONFIG": os.devnull,
            "RCLONE_CONFIG_CAIRN_TYPE": "s3",
            "RCLONE_CONFIG_CAIRN_PROVIDER": "Other",
            "RCLONE_CONFIG_CAIRN_ENDPOINT": self.s3,
            "RCLONE_CONFIG_CAIRN_REGION": self.region,
            "RCLONE_CONFIG_CAIRN_ACCESS_KEY_ID": self.access,
            "RCLONE_CONFIG_CAIRN_SECRET_ACCESS_KEY": self.secret,
            "RCLONE_CONFIG_CAIRN_FORCE_PATH_STYLE": "true",
            **({"AWS_CA_BUNDLE": self.ca, "RCLONE_CA_CERT": self.ca} if self.ca else {}),
        }

    def run(self, *command, check=True, **options):
        """Runs a tool with those variables."""
        options.setdefault("stdin", subprocess.DEVNULL)
        done = subprocess.run(list(map(str, command)), env=self.environment(), capture_output=True, **options)
        if check:
            assert done.returncode == 0, f"{command}: {done.returncode} {done.stdout.decode()} {done.stderr.decode()}"
        return done

    def aws(self, *arguments, **options):
        return self.run("aws", "--endpoint-url", self.s3, *arguments, **options)

    def rclone(self, *arguments, **options):
        return self.run("rclone", *arguments, **options)

    def curl(self, *arguments, **options):
        trust = ["--cacert", self.ca] if self.ca else []
        return self.run("curl", "-q", *trust, "-sS", "--path-as-is", "-g", "-u", f"{self.access}:{self.secret}", *arguments, **options)

    def boto3(self, key=None, **settings):
        import boto3
        from botocore.config import Config

        config = Config(s3={"addressing_style": "path"}, retries={"mode": "standard"}, **settings)
        return boto3.client(
            "s3",
            endpoint_url=self.s3,
            region_name=self.region,
            aws_access_key_id=key[0] if key else self.access,
            aws_secret_access_key=key[1] if key else self.secret,
            config=config,
            verify=self.ca,
        )

    def urlopen(self, request):
        """Opens a URL as someone without credentials."""
        trust = ssl.create_default_context(cafile=self.ca) if self.ca else None
        return urllib.request.urlopen(request, context=trust)

    def access_log(self):
        """The lines of the access logs, as text."""
        lines = []
        for log in sorted(self.folder.glob("*/log")):
            lines += [line for line in log.read_text().splitlines() if "cairn_gateway::access" in line]
        return lines

    def close(self):
        self._script("down", "--wipe")


@pytest.fixture(scope="session")
def base():
    """A folder on a real file system, removed at the end."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="cairn-clients-", dir=os.environ.get("CAIRN_TEST_DIR")))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session", params=["http"] if QUICK else ["http", "https"])
def cluster(base, request):
    """One cluster of each scheme for the flows that do not need an empty one."""
    tls = ["--tls"] if request.param == "https" else []
    cluster = Cluster(base / f"cluster-{request.param}", "--nodes", "3", "--replicas", "3", *tls)
    yield cluster
    cluster.close()


@pytest.fixture
def empty_cluster(base):
    cluster = Cluster(base / f"cluster-{random.getrandbits(32):08x}", "--nodes", "3", "--replicas", "3")
    yield cluster
    cluster.close()


@pytest.fixture
def bucket(cluster):
    """A new bucket of the shared cluster."""
    name = f"b-{random.getrandbits(40):010x}"
    cluster.cli("mb", name)
    return name


@pytest.fixture(scope="session")
def files(base):
    """Regular files of this machine's /usr, chosen by the seed, with odd names added."""
    folder = base / "files"
    chosen, total = [], 0
    candidates = []
    for parent, folders, names in os.walk("/usr"):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(parent, name)
            try:
                path.encode()
                status = os.lstat(path)
            except (OSError, UnicodeError):
                continue
            if stat.S_ISREG(status.st_mode) and os.access(path, os.R_OK) and status.st_size <= 64 << 20:
                candidates.append((path, status.st_size))
    random.Random(SEED).shuffle(candidates)
    for path, size in candidates:
        if len(chosen) == FILES - len(ODD_NAMES):
            break
        if total + size <= FILES_BYTES:
            chosen.append(path)
            total += size
    for path in chosen:
        target = folder / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    dice = random.Random(SEED)
    for number, name in enumerate(ODD_NAMES):
        target = folder / ("odd names" if number % 2 else "odd") / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(b"" if name == "empty" else dice.randbytes(dice.choice([1, 100, 20_000, 70_000, 1_500_000])))
    return folder


@pytest.fixture(scope="session")
def large(base):
    """One large file, in a folder of its own."""
    folder = base / "large"
    folder.mkdir()
    dice, left = random.Random(SEED + 1), LARGE_BYTES
    with open(folder / "large file", "wb") as file:
        while left:
            block = dice.randbytes(min(left, 8 << 20))
            file.write(block)
            left -= len(block)
    return folder


def tree(folder):
    """Digest of every file below a folder, by name."""
    digests = {}
    for parent, _, names in os.walk(os.fsencode(folder)):
        for name in names:
            path = os.path.join(parent, name)
            with open(path, "rb") as file:
                digests[os.path.relpath(path, os.fsencode(folder))] = hashlib.file_digest(file, "blake2b").hexdigest()
    return digests


def assert_same(expected, found):
    """Compares two results of tree()."""
    missing, extra = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    assert not missing and not extra, f"missing {missing[:5]} ({len(missing)}), extra {extra[:5]} ({len(extra)})"
    other = [name for name, digest in expected.items() if found[name] != digest]
    assert not other, f"other bytes in {other[:5]} ({len(other)})"
