//! A cluster of real processes, run by `scripts/cluster` as people do.

use anyhow::{Context as _, Result, bail, ensure};
use cairn_client::{Client, ClientConfig};
use cairn_common::seam::{OsRandom, Random as _, TlsTrust};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Which processes a cluster has.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// Combined nodes, all roles in each.
    Nodes(u32),
    /// A process for each role.
    Split {
        /// Masters.
        masters: u32,
        /// Chunkservers.
        chunkservers: u32,
        /// Gateways.
        gateways: u32,
    },
}

/// What a cluster is made of.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its processes.
    pub shape: Shape,
    /// Copies; `None`: as the cluster decides.
    pub replicas: Option<u32>,
    /// Failure domains, given out in turn; `None`: each node is one.
    pub zones: Option<u32>,
    /// Disks of each node.
    pub disks: u32,
    /// The seeded bug that its servers have, by name.
    pub bug: Option<&'static str>,
    /// Whether its ports speak TLS, by an authority of the cluster's own.
    pub tls: bool,
    /// Whether each process is alone in a network namespace, so that it can be cut off; needs root.
    pub netns: bool,
    /// Settings of every process, as their configuration file has them.
    pub config: &'static str,
}

impl Plan {
    /// Processes with one disk each.
    pub fn new(shape: Shape) -> Plan {
        Plan { shape, replicas: None, zones: None, disks: 1, bug: None, tls: false, netns: false, config: "" }
    }

    /// The names of the processes that hold chunks.
    pub fn chunk_nodes(&self) -> Vec<String> {
        let (kind, count) = match self.shape {
            Shape::Nodes(count) => ("node", count),
            Shape::Split { chunkservers, .. } => ("chunkserver", chunkservers),
        };
        (1..=count).map(|index| format!("{kind}-{index}")).collect()
    }

    /// The names of all processes.
    pub fn names(&self) -> Vec<String> {
        let numbered = |kind: &str, count: u32| (1..=count).map(|index| format!("{kind}-{index}")).collect::<Vec<_>>();
        match self.shape {
            Shape::Nodes(count) => numbered("node", count),
            Shape::Split { masters, chunkservers, gateways } => {
                [numbered("master", masters), numbered("chunkserver", chunkservers), numbered("gateway", gateways)]
                    .concat()
            }
        }
    }
}

/// A process of a cluster, as `scripts/cluster ps` tells it.
#[derive(Clone, Debug)]
pub struct Process {
    /// Its name.
    pub name: String,
    /// Its id; `None`: it is down.
    pub pid: Option<u32>,
    /// Its addresses: `node`, `s3`, `api`.
    pub addresses: BTreeMap<String, String>,
}

/// A cluster in a folder of its own. Dropping it ends its processes; the folder stays if the test is failing.
#[derive(Debug)]
pub struct Cluster {
    plan: Plan,
    folder: PathBuf,
    program: PathBuf,
    /// Address of the S3 API.
    pub s3: String,
    /// Address of the native HTTP API.
    pub api: String,
    /// Access key and secret of its administrator.
    pub key: (String, String),
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/cluster")
}

/// A new folder for the data of a test, below `CAIRN_TEST_DIR` or the system's temporary folder.
pub fn new_folder() -> Result<PathBuf> {
    let base = std::env::var_os("CAIRN_TEST_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = base.join(format!("cairn-test-{:08x}", OsRandom.number() as u32));
    std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    Ok(folder)
}

impl Cluster {
    /// Starts a new cluster and waits until it serves.
    pub fn start(plan: Plan) -> Result<Cluster> {
        Cluster::start_in(new_folder()?, plan)
    }

    /// The same in a folder that may have file systems mounted in it already.
    pub fn start_in(folder: PathBuf, plan: Plan) -> Result<Cluster> {
        let program = if plan.bug.is_some() { crate::settings::seeded_program()? } else { crate::settings::program()? };
        let none = String::new;
        let mut cluster = Cluster { plan, folder, program, s3: none(), api: none(), key: (none(), none()) };
        let mut options = Vec::new();
        let mut option = |name: &str, value: u32| options.extend([name.to_owned(), value.to_string()]);
        match cluster.plan.shape {
            Shape::Nodes(count) => option("--nodes", count),
            Shape::Split { masters, chunkservers, gateways } => {
                option("--masters", masters);
                [("--chunkservers", chunkservers), ("--gateways", gateways)]
                    .into_iter()
                    .filter(|(_, count)| *count > 0)
                    .for_each(|(name, count)| option(name, count));
            }
        }
        if let Some(replicas) = cluster.plan.replicas {
            option("--replicas", replicas);
        }
        if let Some(zones) = cluster.plan.zones {
            option("--zones", zones);
        }
        option("--disks", cluster.plan.disks);
        if cluster.plan.tls {
            options.push("--tls".to_owned());
        }
        if cluster.plan.netns {
            options.push("--netns".to_owned());
        }
        if !cluster.plan.config.is_empty() {
            std::fs::write(cluster.folder.join("config.toml"), cluster.plan.config)?;
        }
        cluster.bring_up(&options)?;
        Ok(cluster)
    }

    /// Starts all processes that are down.
    pub fn up(&mut self) -> Result<()> {
        self.bring_up(&[])
    }

    fn bring_up(&mut self, options: &[String]) -> Result<()> {
        let output = self.run("up", options)?;
        let last = output.lines().last().unwrap_or_default();
        let fields: BTreeMap<&str, &str> = last.split(' ').filter_map(|field| field.split_once('=')).collect();
        let field = |name: &str| {
            fields.get(name).map(|value| (*value).to_owned()).with_context(|| format!("no {name} in {last:?}"))
        };
        (self.s3, self.api) = (field("endpoint")?, field("api")?);
        self.key = (field("access")?, field("secret")?);
        Ok(())
    }

    /// What it is made of.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The program that it runs.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its processes.
    pub fn processes(&self) -> Result<Vec<Process>> {
        let mut processes = Vec::new();
        for line in self.run("ps", &[])?.lines() {
            let mut words = line.split(' ');
            let (Some(name), Some(pid)) = (words.next(), words.next()) else { bail!("ps says {line:?}") };
            let addresses = words.filter_map(|word| word.split_once('='));
            let addresses = addresses.map(|(key, url)| (key.to_owned(), url.to_owned())).collect();
            processes.push(Process { name: name.to_owned(), pid: pid.parse().ok(), addresses });
        }
        Ok(processes)
    }

    /// Sends a signal. After KILL and TERM the process is gone.
    pub fn kill(&self, name: &str, signal: &str) -> Result<()> {
        self.run("kill", &[name.to_owned(), signal.to_owned()]).map(drop)
    }

    /// Kills these processes in the same instant, as far as one machine can. One that has ended by itself is as dead.
    pub fn kill_all(&self, processes: &[Process]) -> Result<()> {
        for process in processes {
            let Some(pid) = process.pid.and_then(|pid| rustix::process::Pid::from_raw(i32::try_from(pid).ok()?)) else {
                continue;
            };
            match rustix::process::kill_process(pid, rustix::process::Signal::KILL) {
                Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                Err(error) => return Err(error).with_context(|| process.name.clone()),
            }
        }
        Ok(())
    }

    /// Starts a process that is down, and waits until it serves.
    pub fn start_process(&self, name: &str) -> Result<()> {
        self.run("start", &[name.to_owned()]).map(drop)
    }

    /// Starts a process that is expected not to come up; whether it did within some seconds.
    pub fn comes_up_within(&self, name: &str, seconds: u32) -> Result<bool> {
        let mut command = self.script("start");
        let output = command.arg(name).env("CAIRN_CLUSTER_SECONDS", seconds.to_string()).output();
        Ok(output.context("running scripts/cluster")?.status.success())
    }

    /// Adds a process; returns its name.
    pub fn add(&self, kind: &str, options: &[&str]) -> Result<String> {
        let options: Vec<String> = [kind].iter().chain(options).map(ToString::to_string).collect();
        let line = self.run("add", &options)?;
        line.split(' ').next().map(str::to_owned).context("add prints the new name")
    }

    /// Runs the command line client as the administrator.
    pub fn cli(&self, arguments: &[&str]) -> Result<Output> {
        self.cli_command(arguments).output().context("running scripts/cluster cli")
    }

    /// The same, not started yet.
    pub fn cli_command(&self, arguments: &[&str]) -> Command {
        let mut command = self.script("cli");
        command.args(arguments);
        command
    }

    /// The same; the client's peak of resident memory, in KiB, is written to `peak`.
    pub fn measured_cli(&self, arguments: &[&str], peak: &Path) -> Result<Output> {
        let mut command = self.cli_command(arguments);
        // A program in between that runs the client as its only child and asks the kernel for the children's peak.
        let wrapper = self.folder.join("measure");
        let code = "import os, resource, subprocess, sys\n\
                    code = subprocess.call([os.environ['CAIRN_MEASURED']] + sys.argv[1:])\n\
                    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss\n\
                    open(os.environ['CAIRN_PEAK'], 'w').write(str(peak))\n\
                    sys.exit(code)\n";
        std::fs::write(&wrapper, format!("#!/usr/bin/env python3\n{code}"))?;
        std::fs::set_permissions(&wrapper, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
        command.env("CAIRN_BIN", &wrapper).env("CAIRN_MEASURED", &self.program).env("CAIRN_PEAK", peak);
        command.output().context("running a measured scripts/cluster cli")
    }

    /// The same; it must succeed. Returns its JSON lines.
    pub fn cli_json(&self, arguments: &[&str]) -> Result<Vec<serde_json::Value>> {
        let output = self.cli(&[&["--json"], arguments].concat())?;
        ensure!(output.status.success(), "cairn {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout)?;
        text.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
    }

    /// Fetches a file of the load's bucket with the command line client, and returns its bytes.
    pub fn fetch(&self, key: &str) -> Result<Vec<u8>> {
        self.fetch_from(crate::workload::BUCKET, key)
    }

    /// The same from another bucket.
    pub fn fetch_from(&self, bucket: &str, key: &str) -> Result<Vec<u8>> {
        let target = self.folder.join("fetched");
        let address = format!("cairn://{bucket}/{key}");
        let output = self.cli(&["get", &address, &target.to_string_lossy()])?;
        ensure!(output.status.success(), "cairn get {address}: {}", String::from_utf8_lossy(&output.stderr));
        let bytes = std::fs::read(&target)?;
        std::fs::remove_file(&target)?;
        Ok(bytes)
    }

    /// A client of the library, with the administrator's key.
    pub async fn client(&self) -> Result<Client> {
        let masters = self.processes()?.into_iter().filter(|process| !process.name.starts_with("chunkserver"));
        let masters: Vec<String> = masters.filter_map(|process| process.addresses.get("node").cloned()).collect();
        let mut config = ClientConfig::new(masters);
        config.access_key = Some(self.key.clone());
        if self.plan.tls {
            config.tls = TlsTrust::File(self.authority(&self.plan.names()[0]));
        }
        Ok(Client::connect(config).await?)
    }

    /// The certificates that a process of a cluster with TLS trusts, in a file.
    pub fn authority(&self, name: &str) -> PathBuf {
        self.folder.join(name).join("tls/ca.pem")
    }

    /// Folders of the disks of a process.
    pub fn disks(&self, name: &str) -> Vec<PathBuf> {
        (1..=self.plan.disks).map(|disk| self.folder.join(name).join(format!("disk-{disk}"))).collect()
    }

    /// Ends all processes gracefully; the data stays.
    pub fn down(&self) -> Result<()> {
        self.run("down", &[]).map(drop)
    }

    /// Lines in the logs that no run should have: errors that nobody handled, and panics.
    pub fn complaints(&self) -> Result<Vec<String>> {
        let mut complaints = Vec::new();
        for process in self.processes()? {
            let log = std::fs::read(self.folder.join(&process.name).join("log")).unwrap_or_default();
            let bad = |line: &&str| line.contains(" ERROR ") || line.contains("panicked at");
            let log = String::from_utf8_lossy(&log);
            complaints.extend(log.lines().filter(bad).map(|line| format!("{}: {line}", process.name)));
        }
        Ok(complaints)
    }

    fn script(&self, verb: &str) -> Command {
        let mut command = Command::new(script());
        command.arg(verb).arg(&self.folder).env("CAIRN_BIN", &self.program).stdin(Stdio::null());
        command.env_remove("CAIRN_SEEDED_BUG");
        if let Some(bug) = self.plan.bug {
            command.env("CAIRN_SEEDED_BUG", bug);
        }
        command
    }

    fn run(&self, verb: &str, arguments: &[String]) -> Result<String> {
        let output = self.script(verb).args(arguments).output().context("running scripts/cluster")?;
        ensure!(
            output.status.success(),
            "scripts/cluster {verb} {} {arguments:?}: {}\n{}",
            self.folder.display(),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Ends and removes everything; for tests that passed.
    pub fn wipe(self) -> Result<()> {
        self.run("down", &["--wipe".to_owned()]).map(drop)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !self.folder.join("cluster.env").exists() {
            return;
        }
        if std::thread::panicking() {
            println!("data and logs are in {}", self.folder.display());
        }
        if let Err(error) = self.run("down", &[]) {
            println!("{error:#}");
        }
    }
}
