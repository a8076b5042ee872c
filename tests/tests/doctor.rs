//! `cairn doctor`: for everything that it claims to find, a cluster where just that is wrong.

// Helpers of tests are tests: what fails in them fails the test.
#![allow(clippy::unwrap_used)]

use cairn_common::seam::spawn_thread;
use cairn_tests::cluster::{Cluster, Plan, Shape, new_folder};
use cairn_tests::content::Body;
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};

/// What the doctor found.
struct Found {
    exit: Option<i32>,
    lines: Vec<Value>,
    /// What stood on standard error besides.
    told: String,
}

impl Found {
    fn of(output: Output) -> Found {
        let lines = String::from_utf8(output.stdout).unwrap();
        let lines = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        Found { exit: output.status.code(), lines, told: String::from_utf8(output.stderr).unwrap() }
    }

    fn count(&self, check: &str, state: &str) -> usize {
        self.lines.iter().filter(|line| line["check"] == check && line["state"] == state).count()
    }

    /// A check has this state, its words are in what was found and what to do; and the exit code says that something is wrong.
    fn has(&self, check: &str, state: &str, words: &str) {
        let is_it = |line: &&Value| line["check"] == check && line["state"] == state;
        let says =
            |line: &Value| line["detail"].to_string().contains(words) || line["advice"].to_string().contains(words);
        assert!(self.lines.iter().filter(is_it).any(says), "no {check} {state} with {words:?}: {:#?}", self.lines);
        assert!(state != "fail" || matches!(self.exit, Some(1 | 8)), "exit code {:?}", self.exit);
    }
}

fn command(cluster: &Cluster, arguments: &[&str]) -> Command {
    let mut command = cluster.cli_command(&[&["--json", "doctor"], arguments].concat());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn doctor(cluster: &Cluster, arguments: &[&str]) -> Found {
    Found::of(command(cluster, arguments).output().unwrap())
}

fn node_url(cluster: &Cluster, name: &str) -> String {
    let process = cluster.processes().unwrap().into_iter().find(|process| process.name == name).unwrap();
    process.addresses["node"].clone()
}

/// A server that looks like the HTTP API and whose clock stands at `date`. It goes with this process.
fn api_at(date: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = format!(
        "HTTP/1.1 401 Unauthorized\r\ndate: {date}\r\ncontent-type: application/problem+json\r\ncontent-length: 2\r\n\
         connection: close\r\n\r\n{{}}"
    );
    spawn_thread("wrong-clock", move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            // One request, as short as it is; whether it has arrived to its end changes nothing.
            let _ = connection.read(&mut [0; 4096]).unwrap();
            connection.write_all(answer.as_bytes()).unwrap();
        }
    });
    url
}

/// A server that takes connections and says nothing. It goes with this process.
fn mute() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, url)
}

#[test]
fn what_is_wrong_between_here_and_the_servers_is_named_with_what_to_do() {
    let shape = Shape::Split { masters: 1, chunkservers: 2, gateways: 1 };
    let cluster = Cluster::start(Plan { replicas: Some(2), tls: true, ..Plan::new(shape) }).unwrap();
    let (master, s3, api) = (node_url(&cluster, "master-1"), cluster.s3.clone(), cluster.api.clone());
    let whole = ["--endpoint", &api, "--s3-endpoint", &s3];
    let fine = doctor(&cluster, &whole);
    assert_eq!(fine.exit, Some(0), "{:#?}", fine.lines);
    for (check, count) in
        [("master", 1), ("chunkserver", 2), ("http api", 1), ("s3 api", 1), ("disk", 2), ("access key", 1)]
    {
        assert_eq!(fine.count(check, "ok"), count, "{check}: {:#?}", fine.lines);
    }
    assert_eq!(fine.told, "");
    cluster.kill("chunkserver-2", "KILL").unwrap();

    // Takes a while to find out; meanwhile:
    let (_listener, hangs) = mute();
    let hanging = command(&cluster, &["--s3-endpoint", &hangs]).spawn().unwrap();

    let found = doctor(&cluster, &["--masters", &api, "--endpoint", &s3, "--s3-endpoint", &master]);
    found.has("master", "fail", "not the node port of a Cairn server but Cairn's HTTP API");
    found.has("http api", "fail", "not Cairn's HTTP API but an S3 API");
    found.has("s3 api", "fail", "not an S3 API but the node port");
    found.has("access key", "warn", "no master was reached");

    let plain = |url: &str| url.replace("https://", "http://");
    let found =
        doctor(&cluster, &["--masters", &plain(&master), "--endpoint", &plain(&api), "--s3-endpoint", &plain(&s3)]);
    for check in ["master", "http api", "s3 api"] {
        found.has(check, "fail", "write https://");
    }

    let found = doctor(&cluster, &["--ca-file", "/etc/ssl/certs/ca-certificates.crt", "--endpoint", &api]);
    found.has("master", "fail", "CAIRN_CA_FILE");
    found.has("http api", "fail", "CAIRN_CA_FILE");
    assert_eq!(found.told, "", "what is a finding is told elsewhere as well");
    let found = doctor(&cluster, &["--ca-file", "/no/such/file"]);
    assert_eq!(found.exit, Some(2), "{}", found.told);

    // Reaches the same port, and no certificate is for that name.
    let found = doctor(&cluster, &["--masters", &master.replace("127.0.0.1", "0.0.0.0")]);
    found.has("master", "fail", "its certificate is for other names");

    let found = doctor(&cluster, &["--masters", "https://127.0.0.1:1", "--s3-endpoint", "https://127.0.0.1:1"]);
    found.has("master", "fail", "nothing listens there");
    found.has("s3 api", "fail", "nothing listens there");
    found.has("access key", "warn", "no master was reached");

    let found = doctor(&cluster, &["--endpoint", &api_at("Sun, 06 Nov 1994 08:49:37 GMT")]);
    found.has("http api", "fail", "set the clocks");

    let key = cluster.folder().join("wrong-key");
    std::fs::write(&key, format!("{}\nnot the secret\n", cluster.key.0)).unwrap();
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let found = doctor(&cluster, &["--key-file", key.to_str().unwrap()]);
    found.has("access key", "fail", "CAIRN_SECRET_KEY");
    found.has("master", "ok", "");

    let found = Found::of(hanging.wait_with_output().unwrap());
    found.has("s3 api", "fail", "takes the connection and does not answer");
    found.has("chunkserver", "fail", "nothing listens there");
    assert_eq!(found.count("chunkserver", "ok"), 1);
    // Its silence grows to be told.
    let silent = (0..40).find_map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(500));
        Some(doctor(&cluster, &[])).filter(|found| found.count("heartbeat", "fail") > 0)
    });
    silent.unwrap().has("heartbeat", "fail", "silent for");
    cluster.wipe().unwrap();
}

#[test]
fn a_disk_that_is_full_is_told_and_so_is_a_cluster_with_one_copy() {
    let config = "disk-capacity = 100663296\n";
    let cluster = Cluster::start(Plan { replicas: Some(1), config, ..Plan::new(Shape::Nodes(1)) }).unwrap();
    cluster.cli_json(&["mb", "abc"]).unwrap();
    doctor(&cluster, &[]).has("copies", "warn", "one copy survives no disk");
    let folder = new_folder().unwrap();
    let file = folder.join("f");
    std::fs::write(&file, Body { seed: 1, length: 160 << 20 }.bytes()).unwrap();
    let put = cluster.cli(&["put", file.to_str().unwrap(), "cairn://abc/"]).unwrap();
    assert_eq!(put.status.code(), Some(10), "{put:?}");
    // The masters hear of it within some seconds.
    let full = (0..40).find_map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(250));
        Some(doctor(&cluster, &[])).filter(|found| found.count("disk", "ok") == 0)
    });
    full.unwrap().has("disk", "fail", "full: remove files");
    std::fs::remove_dir_all(folder).unwrap();
    cluster.wipe().unwrap();
}
