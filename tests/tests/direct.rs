//! Clients that reach masters and gateways and no chunkserver: `--direct`.

// Helpers of tests are tests: what fails in them fails the test.
#![allow(clippy::unwrap_used)]

use cairn_tests::cluster::{Cluster, Plan, Shape, new_folder};
use cairn_tests::content::Body;
use std::path::Path;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn what_cannot_reach_the_chunkservers_goes_through_the_http_api() {
    let shape = Shape::Split { masters: 1, chunkservers: 2, gateways: 1 };
    let cluster = Cluster::start(Plan { replicas: Some(2), netns: true, ..Plan::new(shape) }).unwrap();
    let folder = new_folder().unwrap();
    // In the masters, in one request, in pieces.
    let bodies = [("small", 1_000), ("middle", 3 << 20), ("large", (40 << 20) + 17)];
    for (seed, (name, length)) in bodies.into_iter().enumerate() {
        std::fs::write(folder.join(name), Body { seed: seed as u64, length }.bytes()).unwrap();
    }
    let run = |arguments: &[&str]| cluster.cli(&[&["--endpoint", &cluster.api], arguments].concat()).unwrap();
    let code = |arguments: &[&str]| run(arguments).status.code();
    let same = |bucket: &str, way: &str| {
        for (name, _) in bodies {
            let (from, to) = (format!("cairn://{bucket}/{name}"), folder.join("out"));
            let output = run(&["get", "--direct", way, &from, text(&to)]);
            assert!(output.status.success(), "{way} {from}: {output:?}");
            assert!(std::fs::read(&to).unwrap() == std::fs::read(folder.join(name)).unwrap(), "{way} {from}");
        }
    };
    let files: Vec<String> = bodies.iter().map(|(name, _)| text(&folder.join(name)).to_owned()).collect();
    let put = |way: &str, bucket: &str| {
        let to = format!("cairn://{bucket}/");
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        run(&[&["--json", "put", "--direct", way, "--meta", "colour=blue"], &files[..], &[&to]].concat())
    };
    assert_eq!(code(&["mb", "before", "never", "auto"]), Some(0));
    for (way, bucket) in [("always", "before"), ("never", "never")] {
        let output = put(way, bucket);
        assert!(output.status.success(), "{output:?}");
    }
    same("before", "never");
    same("never", "always");
    for name in ["chunkserver-1", "chunkserver-2"] {
        cluster.hide_from_clients(name).unwrap();
    }
    let refused = put("always", "auto");
    assert_eq!(refused.status.code(), Some(8), "{refused:?}");
    assert_eq!(code(&["get", "--direct", "always", "cairn://before/large", text(&folder.join("no"))]), Some(3));
    let stored = put("auto", "auto");
    assert!(stored.status.success(), "{stored:?}");
    same("auto", "auto");
    same("before", "auto");
    // What is kept with a file and conditions go the same way.
    let stat = String::from_utf8(run(&["--json", "stat", "auto/large", "auto/middle"]).stdout).unwrap();
    assert_eq!(stat.matches("\"colour\":\"blue\"").count(), 2, "{stat}");
    assert_eq!(stat.matches("\"mtime\":").count(), 2, "{stat}");
    assert_eq!(code(&["put", "--direct", "never", "--no-clobber", &files[2], "cairn://auto/"]), Some(6));
    // Without an endpoint there is no other way.
    let none = cluster.cli(&["--endpoint", "", "get", "cairn://before/large", text(&folder.join("no"))]).unwrap();
    assert_ne!(none.status.code(), Some(0));
    assert!(!folder.join("no").exists());
    std::fs::remove_dir_all(folder).unwrap();
    cluster.wipe().unwrap();
}
