//! Memory: the peak of every server process while gigabytes go in and out over S3 and over the HTTP API.

use crate::cluster::{Cluster, Plan, Shape};
use crate::content::Body;
use anyhow::{Context as _, Result, bail, ensure};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

/// What each server process may hold.
pub const PEAK_MAX_BYTES: u64 = 300 << 20;
const BUCKET: &str = "memory";
/// Uploads or downloads at once.
const STREAMS: u64 = 4;

/// Stores `bytes` half by S3 and half by the HTTP API, and reads each half by the other way, on three combined nodes with three
/// copies. The peak of each process in bytes, by name.
pub fn in_and_out(bytes: u64) -> Result<Vec<(String, u64)>> {
    let plan = Plan { replicas: Some(3), ..Plan::new(Shape::Nodes(3)) };
    let cluster = Cluster::start(plan)?;
    cluster.cli_json(&["mb", BUCKET])?;
    let each = bytes / 2 / STREAMS;
    let folder = cluster.folder().join("files");
    std::fs::create_dir_all(&folder)?;
    let files: Vec<_> =
        (0..STREAMS).map(|n| (folder.join(n.to_string()), Body { seed: 500 + n, length: each })).collect();
    for (path, body) in &files {
        write(path, body)?;
    }
    let curl = Curl::new(&cluster)?;
    for (way, other) in [(Way::S3, Way::Native), (Way::Native, Way::S3)] {
        let put = |n: usize| curl.put(way, &format!("{way:?}-{n}"), &files[n].0);
        at_once(files.len(), put).with_context(|| format!("in by {way:?}"))?;
        let get = |n: usize| {
            let out = folder.join(format!("{n}.out"));
            curl.get(other, &format!("{way:?}-{n}"), &out)?;
            let same = Command::new("cmp").arg(&files[n].0).arg(&out).status()?.success();
            std::fs::remove_file(&out)?;
            ensure!(same, "in by {way:?}, out by {other:?}: other bytes");
            Ok(())
        };
        at_once(files.len(), get).with_context(|| format!("out by {other:?}"))?;
    }
    let mut peaks = Vec::new();
    for process in cluster.processes()? {
        let pid = process.pid.with_context(|| format!("{} has ended", process.name))?;
        peaks.push((process.name, peak(pid)?));
    }
    cluster.wipe()?;
    Ok(peaks)
}

fn write(path: &Path, body: &Body) -> Result<()> {
    let mut file = std::fs::File::create(path)?;
    let mut source = body.source();
    while let Some(piece) = source.piece() {
        file.write_all(&piece)?;
    }
    Ok(())
}

/// Runs `work` for 0 to `count`, all at the same time.
fn at_once(count: usize, work: impl Fn(usize) -> Result<()> + Sync) -> Result<()> {
    let work = &work;
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..count).map(|n| scope.spawn(move || work(n))).collect();
        running.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|_| bail!("a stream panicked")))
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    S3,
    Native,
}

struct Curl {
    user: String,
    s3: String,
    native: String,
}

impl Curl {
    fn new(cluster: &Cluster) -> Result<Curl> {
        let user = format!("{}:{}", cluster.key.0, cluster.key.1);
        let (s3, native) = (format!("{}/{BUCKET}", cluster.s3), format!("{}/v1/objects/{BUCKET}", cluster.api));
        Ok(Curl { user, s3, native })
    }

    fn command(&self, way: Way, key: &str) -> Command {
        let mut command = Command::new("curl");
        command.args(["-q", "-fsS", "-u", &self.user]);
        match way {
            Way::S3 => {
                command.args(["--aws-sigv4", "aws:amz:us-east-1:s3", "-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD"]);
                command.arg(format!("{}/{key}", self.s3))
            }
            Way::Native => command.arg(format!("{}/{key}", self.native)),
        };
        command
    }

    fn put(&self, way: Way, key: &str, file: &Path) -> Result<()> {
        run(self.command(way, key).arg("-T").arg(file).args(["-o", "/dev/null"]))
    }

    fn get(&self, way: Way, key: &str, file: &Path) -> Result<()> {
        run(self.command(way, key).arg("-o").arg(file))
    }
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().context("running curl")?;
    ensure!(output.status.success(), "curl: {} {}", output.status, String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Peak resident memory of a process, in bytes.
fn peak(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("VmHWM")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").trim().parse()?;
    Ok(kib << 10)
}
