//! `scripts/cluster`: the contract that tests, benchmarks and people rely on.

// Helpers of tests are tests: what fails in them fails the test.
#![allow(clippy::unwrap_used)]

use cairn_tests::cluster::{Cluster, Plan, Shape, new_folder};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

fn script(arguments: &[&str]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/cluster");
    let program = cairn_tests::settings::program().unwrap();
    // `output` returns when every holder of its pipes has closed them: a server that inherited one would hang it.
    Command::new(script).args(arguments).env("CAIRN_BIN", program).output().unwrap()
}

fn fine(arguments: &[&str]) -> String {
    let output = script(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn fields(line: &str) -> BTreeMap<String, String> {
    line.split(' ')
        .filter_map(|field| field.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// Name, pid and node address of each process.
fn processes(folder: &str) -> Vec<(String, String, String)> {
    let lines = fine(&["ps", folder]);
    let process = |line: &str| {
        let mut words = line.split(' ').map(str::to_owned);
        let (name, pid) = (words.next().unwrap(), words.next().unwrap());
        (name, pid, fields(line).remove("node").unwrap_or_default())
    };
    lines.lines().map(process).collect()
}

#[test]
fn a_cluster_goes_up_and_down_as_the_contract_says() {
    let folder = new_folder().unwrap().join("cluster");
    let at = folder.to_str().unwrap();
    let up = fine(&["up", at, "--nodes", "2", "--zones", "2", "--disks", "2"]);
    let first = fields(up.lines().last().unwrap());
    for key in ["endpoint", "api", "region", "access", "secret", "pids"] {
        assert!(!first[key].is_empty(), "{key} in {first:?}");
    }
    assert_eq!((first["region"].as_str(), first["pids"].split(',').count()), ("us-east-1", 2));
    assert!(folder.join("node-2/disk-2").is_dir() && folder.join("node-2/log").is_file());
    let before = processes(at);
    assert_eq!(before.iter().map(|process| process.0.as_str()).collect::<Vec<_>>(), ["node-1", "node-2"]);
    assert_eq!(first["pids"], format!("{},{}", before[0].1, before[1].1));

    fine(&["kill", at, "node-2"]);
    assert_eq!(processes(at)[1].1, "-");
    assert!(!Path::new("/proc").join(&before[1].1).join("exe").exists());
    fine(&["start", at, "node-2"]);
    let after = processes(at);
    assert!(after[1].1 != before[1].1 && after[1].2 == before[1].2, "{after:?}");

    fine(&["add", at, "node", "--zone", "z3", "--weight", "5", "--disks", "1"]);
    let listed = fine(&["cli", at, "admin", "node", "ls", "--json"]);
    assert!(listed.contains("\"name\":\"node-3\"") && listed.contains("\"zone\":\"z3\""), "{listed}");

    fine(&["down", at]);
    assert!(processes(at).iter().all(|process| process.1 == "-"));
    let again = fields(fine(&["up", at]).lines().last().unwrap());
    for key in ["endpoint", "api", "access", "secret"] {
        assert_eq!(again[key], first[key], "{key}");
    }
    assert_eq!(again["pids"].split(',').count(), 3);
    fine(&["down", at, "--wipe"]);
    assert!(!folder.exists());
    std::fs::remove_dir_all(folder.parent().unwrap()).unwrap();
}

#[test]
fn a_cluster_in_namespaces_is_reached_from_here_and_serves_while_a_node_is_cut_off() {
    let cluster = Cluster::start(Plan { netns: true, ..Plan::new(Shape::Nodes(3)) }).unwrap();
    let fine = |arguments: &[&str]| {
        let output = cluster.cli(arguments).unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let file = cluster.folder().join("cluster.env");
    let bytes = std::fs::read(&file).unwrap();
    let file = file.to_str().unwrap();
    fine(&["mb", "cut"]);
    fine(&["put", file, "cairn://cut/before"]);
    let reached = |name: &str| {
        let address = cluster.processes().unwrap().into_iter().find(|process| process.name == name).unwrap();
        let socket = address.addresses["node"].strip_prefix("http://").unwrap().parse().unwrap();
        std::net::TcpStream::connect_timeout(&socket, std::time::Duration::from_secs(2)).is_ok()
    };
    assert!(reached("node-3"));

    cluster.cut_off("node-3").unwrap();
    assert!(!reached("node-3"));
    fine(&["put", file, "cairn://cut/during"]);
    for key in ["before", "during"] {
        assert_eq!(fine(&["cat", &format!("cairn://cut/{key}")]), bytes, "{key}");
    }

    cluster.reconnect("node-3").unwrap();
    assert!(reached("node-3"));
    fine(&["put", file, "cairn://cut/after"]);
    assert_eq!(fine(&["cat", "cairn://cut/after"]), bytes);
    cluster.wipe().unwrap();
}

#[test]
fn wrong_options_change_nothing() {
    let folder = new_folder().unwrap();
    let at = folder.join("cluster");
    let at = at.to_str().unwrap();
    for arguments in [
        &["up", at, "--nodes", "none"][..],
        &["up", at, "--nodes", "3", "--masters", "1"],
        &["up", at, "--gateways", "1"],
        &["up", at, "--unknown"],
        &["up"],
        &["nonsense", at],
    ] {
        assert_eq!(script(arguments).status.code(), Some(2), "{arguments:?}");
    }
    assert!(!Path::new(at).exists());
    assert_eq!(script(&["ps", at]).status.code(), Some(1));
    std::fs::remove_dir_all(folder).unwrap();
}
