//! `sync`, `diff`, `verify`, `checksum`, `find`, `tree`, `uploads` and `presign` against real servers.

// Helpers of tests are tests: what fails in them fails the test.
#![allow(clippy::unwrap_used)]

use cairn_client::PutOptions;
use cairn_common::chunk::Chunking;
use cairn_common::file::Attributes;
use cairn_common::name::FilePath;
use cairn_tests::cluster::{Cluster, Plan, Shape, new_folder};
use cairn_tests::content::Body;
use cairn_tests::suites::block_on;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

fn one_node() -> Cluster {
    Cluster::start(Plan { replicas: Some(1), ..Plan::new(Shape::Nodes(1)) }).unwrap()
}

/// Exit code and lines of JSON.
fn run(cluster: &Cluster, arguments: &[&str]) -> (Option<i32>, Vec<Value>) {
    let output = cluster.cli(&[&["--json"], arguments].concat()).unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    (output.status.code(), lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

/// What a command that succeeds did: `type path` of each line but the summary.
fn done(cluster: &Cluster, arguments: &[&str]) -> Vec<String> {
    let lines = cluster.cli_json(arguments).unwrap();
    let lines = lines.iter().filter(|line| line["type"] != "summary");
    lines.map(|line| format!("{} {}", line["type"].as_str().unwrap(), line["path"].as_str().unwrap())).collect()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn write(path: PathBuf, seed: u64, length: u64) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, Body { seed, length }.bytes()).unwrap();
}

fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

#[test]
fn a_sync_moves_what_differs_and_removes_only_when_it_is_told_to() {
    let cluster = one_node();
    let folder = new_folder().unwrap();
    let (input, output) = (folder.join("in"), folder.join("out"));
    // Names whose order as keys is not that of folders and files.
    for (name, seed, length) in
        [("a-b", 1, 10), ("a/b", 2, 3 << 20), ("a/c/d", 3, 70_000), ("a0", 4, 0), ("z", 5, 20_000)]
    {
        write(input.join(name), seed, length);
    }
    cluster.cli_json(&["mb", "abc", "xyz"]).unwrap();
    let up = ["sync", text(&input), "cairn://abc/p"];
    let all: Vec<String> =
        ["a-b", "a/b", "a/c/d", "a0", "z"].iter().map(|name| format!("put cairn://abc/p/{name}")).collect();
    let sorted = |mut list: Vec<String>| {
        list.sort();
        list
    };
    assert_eq!(sorted(done(&cluster, &["sync", "-n", text(&input), "cairn://abc/p"])), all);
    assert_eq!(done(&cluster, &["ls", "abc"]), [""; 0], "a dry run changed something");
    assert_eq!(sorted(done(&cluster, &up)), all);
    assert_eq!(done(&cluster, &up), [""; 0], "what is the same was sent again");
    assert_eq!(run(&cluster, &["diff", text(&input), "cairn://abc/p"]).0, Some(0));

    // The same length with other bytes, a new file, and one that goes.
    write(input.join("a/b"), 9, 3 << 20);
    write(input.join("new"), 10, 5);
    std::fs::remove_file(input.join("z")).unwrap();
    let (code, lines) = run(&cluster, &["diff", text(&input), "cairn://abc/p"]);
    assert_eq!(code, Some(1));
    let told: Vec<String> = lines
        .iter()
        .filter(|line| line["type"] == "difference")
        .map(|line| format!("{} {}", line["difference"], line["name"]))
        .collect();
    assert_eq!(sorted(told), ["\"bytes\" \"a/b\"", "\"only_one\" \"new\"", "\"only_other\" \"z\""]);
    assert_eq!(sorted(done(&cluster, &up)), ["put cairn://abc/p/a/b", "put cairn://abc/p/new"]);
    let delete = ["sync", "--delete", text(&input), "cairn://abc/p"];
    assert_eq!(done(&cluster, &["sync", "--delete", "--exclude", "z", text(&input), "cairn://abc/p"]), [""; 0]);
    assert_eq!(done(&cluster, &delete), ["rm cairn://abc/p/z"]);

    // Down again, where a file is changed, one too many, and one removed.
    cluster.cli_json(&["sync", "cairn://abc/p", text(&output)]).unwrap();
    assert_eq!(files(&output), files(&input));
    write(output.join("a-b"), 77, 10);
    write(output.join("deep/er/extra"), 1, 1);
    std::fs::remove_file(output.join("a/c/d")).unwrap();
    let down = done(&cluster, &["sync", "--delete", "cairn://abc/p", text(&output)]);
    let at = |name: &str| text(&output.join(name)).to_owned();
    assert_eq!(
        sorted(down),
        [format!("get {}", at("a-b")), format!("get {}", at("a/c/d")), format!("rm {}", at("deep/er/extra"))]
    );
    assert_eq!(files(&output), files(&input));
    assert!(!output.join("deep").exists(), "folders that became empty stay");
    for name in files(&input) {
        assert_eq!(std::fs::read(input.join(&name)).unwrap(), std::fs::read(output.join(&name)).unwrap(), "{name}");
    }

    // Within the cluster, by reference.
    assert_eq!(done(&cluster, &["sync", "cairn://abc/p", "cairn://xyz"]).len(), 5);
    assert_eq!(done(&cluster, &["sync", "cairn://abc/p", "cairn://xyz"]), [""; 0]);
    assert_eq!(run(&cluster, &["diff", "cairn://abc/p/", "cairn://xyz"]).0, Some(0));
    assert_eq!(run(&cluster, &["sync", "cairn://abc", "cairn://abc/p"]).0, Some(2));
    std::fs::remove_dir_all(folder).unwrap();
    cluster.wipe().unwrap();
}

#[test]
fn a_sync_removes_nothing_when_its_source_is_empty_or_cannot_be_read() {
    let cluster = one_node();
    let folder = new_folder().unwrap();
    let input = folder.join("in");
    write(input.join("f"), 1, 10);
    write(input.join("g"), 2, 10);
    cluster.cli_json(&["mb", "abc"]).unwrap();
    cluster.cli_json(&["sync", text(&input), "cairn://abc"]).unwrap();
    let delete = ["sync", "--delete", text(&input), "cairn://abc"];
    // A link that leads nowhere is a failure of that item; what it stood for must not be taken for gone.
    std::fs::remove_file(input.join("f")).unwrap();
    std::os::unix::fs::symlink("nowhere", input.join("f")).unwrap();
    assert_eq!(run(&cluster, &delete).0, Some(8));
    assert_eq!(done(&cluster, &["ls", "abc"]), ["file cairn://abc/f", "file cairn://abc/g"]);
    for name in ["f", "g"] {
        std::fs::remove_file(input.join(name)).unwrap();
    }
    assert_eq!(run(&cluster, &delete).0, Some(2));
    let filtered = ["sync", "--delete", "--exclude", "z", text(&input), "cairn://abc"];
    assert_eq!(run(&cluster, &filtered).0, Some(2), "a filter is no leave to remove everything");
    assert_eq!(done(&cluster, &["ls", "abc"]).len(), 2);
    // What the destination skips is no file of the source.
    let output = folder.join("out");
    write(output.join("f"), 1, 10);
    std::os::unix::fs::symlink("nowhere", output.join("a")).unwrap();
    assert_eq!(run(&cluster, &["sync", "--delete", "cairn://abc/none", text(&output)]).0, Some(2));
    assert!(output.join("f").exists());
    assert_eq!(run(&cluster, &["sync", "--delete", "/no/such/folder", "cairn://abc"]).0, Some(5));
    assert_eq!(done(&cluster, &["ls", "abc"]).len(), 2);
    assert_eq!(done(&cluster, &["sync", "--delete", "--yes", text(&input), "cairn://abc"]).len(), 2);
    assert_eq!(done(&cluster, &["ls", "abc"]), [""; 0]);
    std::fs::remove_dir_all(folder).unwrap();
    cluster.wipe().unwrap();
}

#[test]
fn files_are_the_same_however_they_were_cut_and_a_byte_that_differs_is_found() {
    let cluster = one_node();
    let folder = new_folder().unwrap();
    let body = Body { seed: 7, length: 9 << 20 };
    write(folder.join("tree/f"), body.seed, body.length);
    let (tree, file) = (folder.join("tree"), folder.join("tree/f"));
    cluster.cli_json(&["mb", "content", "fixed", "odd"]).unwrap();
    block_on(async {
        let client = cluster.client().await?;
        let odd = Chunking::Fixed { bytes: 777_777 };
        for (bucket, chunking) in [("content", Chunking::CONTENT), ("fixed", Chunking::FIXED), ("odd", odd)] {
            let options = PutOptions { chunking: Some(chunking), ..PutOptions::default() };
            client.put(&FilePath::new(bucket, "f")?, body.source(), options).await?;
        }
        client.close().await;
        Ok(())
    })
    .unwrap();
    let sum = |path: &str, cut: &str| {
        let lines = cluster.cli_json(&["checksum", path, "--cut", cut]).unwrap();
        lines[0]["checksum"].as_str().unwrap().to_owned()
    };
    assert_eq!(sum("cairn://content/f", "content"), sum(text(&file), "content"));
    assert_eq!(sum("cairn://fixed/f", "content"), sum(text(&file), "fixed"));
    let sha = |path: &str| cluster.cli_json(&["checksum", path, "-a", "sha256"]).unwrap()[0]["checksum"].clone();
    assert_eq!(sha("cairn://odd/f"), sha(text(&file)));
    for bucket in ["content", "fixed", "odd"] {
        let address = format!("cairn://{bucket}");
        assert_eq!(run(&cluster, &["diff", text(&tree), &address]).0, Some(0), "{bucket}");
        assert_eq!(done(&cluster, &["sync", text(&tree), &address]), [""; 0], "{bucket}");
        assert_eq!(run(&cluster, &["verify", "-r", &format!("{address}/"), text(&tree)]).0, Some(0), "{bucket}");
    }
    assert_eq!(run(&cluster, &["diff", "cairn://content", "cairn://odd"]).0, Some(0));
    let mut bytes = body.bytes();
    bytes[8_000_000] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    for bucket in ["content", "fixed", "odd"] {
        let address = format!("cairn://{bucket}");
        assert_eq!(run(&cluster, &["diff", text(&tree), &address]).0, Some(1), "{bucket}");
        let output = cluster.cli(&["verify", &format!("{address}/f"), text(&file)]).unwrap();
        assert_eq!(output.status.code(), Some(9), "{bucket}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("8000000"), "{output:?}");
    }
    std::fs::remove_dir_all(folder).unwrap();
    cluster.wipe().unwrap();
}

#[test]
fn keys_are_found_by_name_size_and_age_and_shown_as_a_tree() {
    let cluster = one_node();
    let folder = new_folder().unwrap();
    for (name, length) in [("a/b.txt", 10), ("a/c/d.log", 2 << 20), ("e.log", 5_000)] {
        write(folder.join(name), length, length);
    }
    cluster.cli_json(&["mb", "abc"]).unwrap();
    cluster.cli_json(&["put", "-r", &format!("{}/", text(&folder)), "cairn://abc"]).unwrap();
    let find = |arguments: &[&str]| done(&cluster, &[&["find", "abc"], arguments].concat());
    assert_eq!(find(&["--include", "*.log"]), ["file cairn://abc/a/c/d.log", "file cairn://abc/e.log"]);
    assert_eq!(find(&["--larger", "4K", "--smaller", "1M"]), ["file cairn://abc/e.log"]);
    assert_eq!((find(&["--older", "1h"]).len(), find(&["--newer", "1h"]).len()), (0, 3));
    let output = cluster.cli(&["tree", "abc"]).unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert_eq!(shown, "a/\n  b.txt  (10 B)\n  c/\n    d.log  (2.0 MiB)\ne.log  (4.9 KiB)\n");
    std::fs::remove_dir_all(folder).unwrap();
    cluster.wipe().unwrap();
}

#[test]
fn open_uploads_are_listed_and_given_up() {
    let cluster = one_node();
    cluster.cli_json(&["mb", "abc"]).unwrap();
    block_on(async {
        let client = cluster.client().await?;
        for key in ["one", "two", "two"] {
            client.begin_multipart(&FilePath::new("abc", key)?, Attributes::default(), None).await?;
        }
        client.close().await;
        Ok(())
    })
    .unwrap();
    let listed = cluster.cli_json(&["uploads", "ls", "abc"]).unwrap();
    assert_eq!(listed.iter().filter(|line| line["type"] == "upload").count(), 3);
    let of_one = listed.iter().find(|line| line["path"] == "cairn://abc/one").unwrap();
    let id = of_one["upload"].as_str().unwrap();
    assert_eq!(done(&cluster, &["uploads", "abort", "-n", "abc", "--all"]).len(), 3);
    assert_eq!(done(&cluster, &["uploads", "abort", "abc", id]), ["abort cairn://abc/one"]);
    assert_eq!(run(&cluster, &["uploads", "abort", "abc", id]).0, Some(5));
    assert_eq!(done(&cluster, &["uploads", "abort", "abc", "--older", "1h"]), [""; 0]);
    assert_eq!(done(&cluster, &["uploads", "abort", "abc", "--all"]).len(), 2);
    assert_eq!(done(&cluster, &["uploads", "ls", "abc"]), [""; 0]);
    cluster.wipe().unwrap();
}

#[test]
fn a_signed_url_fetches_and_stores_one_file_without_a_key() {
    let cluster = one_node();
    let folder = new_folder().unwrap();
    write(folder.join("f"), 3, 100_000);
    cluster.cli_json(&["mb", "abc"]).unwrap();
    let sign = |key: &str, more: &[&str]| {
        let arguments = [&["presign", "--s3-endpoint", &cluster.s3, key], more].concat();
        cluster.cli_json(&arguments).unwrap()[0]["url"].as_str().unwrap().to_owned()
    };
    let curl = |arguments: &[&str]| {
        Command::new("curl").args(["-q", "-sS", "-w", "%{http_code}"]).args(arguments).output().unwrap()
    };
    for key in ["plain", "odd ü+&=?#%41", "up/../and/./down", "a//b"] {
        let address = format!("cairn://abc/{key}");
        let put = curl(&["--path-as-is", "-T", text(&folder.join("f")), &sign(&address, &["-X", "put"])]);
        assert_eq!(String::from_utf8_lossy(&put.stdout), "200", "{key}: {put:?}");
        let out = folder.join("out");
        let got = curl(&["--path-as-is", "-o", text(&out), &sign(&address, &[])]);
        assert_eq!(String::from_utf8_lossy(&got.stdout), "200", "{key}");
        assert_eq!(std::fs::read(&out).unwrap(), Body { seed: 3, length: 100_000 }.bytes());
        assert_eq!(done(&cluster, &["stat", &address]), [format!("stat {address}")], "the key is another one");
    }
    let other = sign("cairn://abc/plain", &[]).replace("/abc/plain?", "/abc/a%2F%2Fb?");
    assert_eq!(String::from_utf8_lossy(&curl(&["-o", "/dev/null", &other]).stdout), "403");
    assert_eq!(run(&cluster, &["presign", "--s3-endpoint", &cluster.s3, "abc/f", "-e", "8d"]).0, Some(2));
    std::fs::remove_dir_all(folder).unwrap();
    cluster.wipe().unwrap();
}
