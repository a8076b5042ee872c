//! Clients that reach masters and gateways and no chunkserver: `--direct`.

// Helpers of tests are tests: what fails in them fails the test.
#![allow(clippy::unwrap_used)]

use cairn_tests::cluster::{Cluster, Plan, Shape, new_folder};
use cairn_tests::content::Body;
use serde_json::Value;
use std::path::Path;
use std::process::{Child, Stdio};

/// In the masters, in one request, in pieces.
const BODIES: [(&str, u64); 3] = [("small", 1_000), ("middle", 3 << 20), ("large", (40 << 20) + 17)];

/// What is said when chunkservers were asked and none answered, before any bytes went; not when a transfer failed.
const ASKED: &str = "no chunkserver can be reached from here; going through the HTTP API";

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Two chunkservers and both copies of everything on them; and local files.
fn start() -> (Cluster, std::path::PathBuf) {
    let shape = Shape::Split { masters: 1, chunkservers: 2, gateways: 1 };
    let cluster = Cluster::start(Plan { replicas: Some(2), netns: true, ..Plan::new(shape) }).unwrap();
    let folder = new_folder().unwrap();
    std::fs::create_dir(folder.join("in")).unwrap();
    for (seed, (name, length)) in BODIES.into_iter().enumerate() {
        std::fs::write(folder.join("in").join(name), Body { seed: seed as u64, length }.bytes()).unwrap();
    }
    cluster.cli_json(&["mb", "before", "never", "auto"]).unwrap();
    (cluster, folder)
}

#[test]
fn what_cannot_reach_the_chunkservers_goes_through_the_http_api() {
    let (cluster, folder) = start();
    let endpoint = cluster.api.clone();
    let run = |arguments: &[&str]| cluster.cli(&[&["--endpoint", &endpoint], arguments].concat()).unwrap();
    let code = |arguments: &[&str]| run(arguments).status.code();
    let same = |bucket: &str, way: &str| {
        let (from, to) = (format!("cairn://{bucket}/"), folder.join("out"));
        let output = run(&["get", "-r", "--direct", way, &from, text(&to)]);
        assert!(output.status.success(), "{way} {from}: {output:?}");
        for (name, _) in BODIES {
            let equal = std::fs::read(to.join(name)).unwrap() == std::fs::read(folder.join("in").join(name)).unwrap();
            assert!(equal, "{way} {from}: {name}");
        }
        std::fs::remove_dir_all(&to).unwrap();
        String::from_utf8(output.stderr).unwrap()
    };
    let files = format!("{}/", text(&folder.join("in")));
    let put = |way: &str, bucket: &str| {
        run(&["put", "-r", "--direct", way, "--meta", "colour=blue", &files, &format!("cairn://{bucket}")])
    };
    for (way, bucket) in [("always", "before"), ("never", "never")] {
        let output = put(way, bucket);
        assert!(output.status.success(), "{output:?}");
    }
    same("before", "never");
    same("never", "always");
    for name in ["chunkserver-1", "chunkserver-2"] {
        cluster.hide_from_clients(name).unwrap();
    }
    // Those that may go no other way take their time to give up; meanwhile:
    let (to, large) = (folder.join("no"), "cairn://before/large");
    let slowly = |arguments: &[&str]| -> Child {
        cluster.cli_command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let mut refused = slowly(&["put", "-r", "--direct", "always", &files, "cairn://auto/refused"]);
    let mut always = slowly(&["--endpoint", &endpoint, "get", "--direct", "always", large, text(&to)]);
    let mut nowhere = slowly(&["get", large, text(&folder.join("nowhere"))]);
    let stored = put("auto", "auto");
    assert!(stored.status.success(), "{stored:?}");
    for told in [String::from_utf8(stored.stderr).unwrap(), same("auto", "auto"), same("before", "auto")] {
        assert_eq!(told.matches(ASKED).count(), 1, "{told}");
    }
    // What is kept with a file and conditions go the same way.
    let stat = String::from_utf8(run(&["--json", "stat", "auto/large", "auto/middle"]).stdout).unwrap();
    assert_eq!(stat.matches("\"colour\":\"blue\"").count(), 2, "{stat}");
    assert_eq!(stat.matches("\"mtime\":").count(), 2, "{stat}");
    let again = format!("{files}large");
    assert_eq!(code(&["put", "--direct", "never", "--no-clobber", &again, "cairn://auto/"]), Some(6));
    // The doctor finds out as well, about all of them at once.
    let output = run(&["--json", "doctor"]);
    let lines = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let hidden = lines.iter().filter(|line| line["check"] == "chunkserver" && line["state"] == "fail");
    let advice: Vec<&str> = hidden.filter_map(|line| line["advice"].as_str()).collect();
    assert!(advice.len() == 2 && advice.iter().all(|advice| advice.contains("firewall")), "{lines:#?}");
    // Some of the files may go to the masters.
    assert_eq!(refused.wait().unwrap().code(), Some(8));
    assert_eq!(always.wait().unwrap().code(), Some(3));
    // Without an endpoint there is no other way.
    assert_eq!(nowhere.wait().unwrap().code(), Some(3));
    assert!(!to.exists() && !folder.join("nowhere").exists());
    std::fs::remove_dir_all(folder).unwrap();
    cluster.wipe().unwrap();
}

#[test]
fn one_chunkserver_that_is_not_reached_changes_the_way_of_nothing_that_can_go_straight() {
    let (cluster, folder) = start();
    let files = format!("{}/", text(&folder.join("in")));
    cluster.cli_json(&["put", "-r", &files, "cairn://before"]).unwrap();
    cluster.hide_from_clients("chunkserver-1").unwrap();
    // Nobody listens where the HTTP API is said to be: who goes there fails.
    let out = folder.join("out");
    let arguments = ["--endpoint", "http://127.0.0.1:1", "get", "-r", "cairn://before/", text(&out)];
    let got = cluster.cli(&arguments).unwrap();
    assert!(got.status.success() && !String::from_utf8_lossy(&got.stderr).contains("HTTP API"), "{got:?}");
    for (name, _) in BODIES {
        assert!(
            std::fs::read(out.join(name)).unwrap() == std::fs::read(folder.join("in").join(name)).unwrap(),
            "{name}"
        );
    }
    // Two copies cannot be written straight any more: that goes the other way, which the transfer itself finds out.
    let (endpoint, middle) = (cluster.api.clone(), format!("{files}middle"));
    let put = cluster.cli(&["--endpoint", &endpoint, "put", &middle, "cairn://auto/middle"]).unwrap();
    let told = String::from_utf8(put.stderr).unwrap();
    assert!(put.status.success() && told.contains("too few chunkservers can be reached"), "{told}");
    std::fs::remove_dir_all(folder).unwrap();
    cluster.wipe().unwrap();
}
