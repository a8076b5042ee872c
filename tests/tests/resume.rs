//! Transfers that were broken off by `kill -9`, and files that were changed a little: what is there already is not moved again. Counted by
//! the chunkservers themselves.

// Helpers of tests are tests: what fails in them fails the test.
#![allow(clippy::unwrap_used)]

use cairn_tests::cluster::{Cluster, Plan, Shape, new_folder};
use cairn_tests::content::Body;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const MIB: u64 = 1 << 20;

fn three_nodes() -> Cluster {
    let cluster = Cluster::start(Plan { replicas: Some(3), ..Plan::new(Shape::Nodes(3)) }).unwrap();
    cluster.cli_json(&["mb", "abc"]).unwrap();
    cluster
}

/// A counter of all nodes together.
fn counted(cluster: &Cluster, name: &str) -> u64 {
    let (access, secret) = &cluster.key;
    let nodes = cluster.processes().unwrap();
    let count = |api: &String| {
        let user = format!("{access}:{secret}");
        let output =
            Command::new("curl").args(["-q", "-fsS", "-u", &user, &format!("{api}/metrics")]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse::<f64>().ok());
        line.unwrap_or(0.0) as u64
    };
    nodes.iter().filter_map(|node| node.addresses.get("api")).map(count).sum()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Waits until something is so, at most twenty seconds.
fn soon(is_so: impl Fn() -> bool) -> bool {
    (0..2000).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        is_so()
    })
}

/// Bytes that one copy of the new chunks has: what arrived at all nodes, by the number of copies.
fn sent(cluster: &Cluster) -> u64 {
    counted(cluster, "cairn_chunk_bytes_put_total") / 3
}

#[test]
fn a_file_of_which_one_percent_was_changed_is_stored_again_with_less_than_five() {
    let cluster = three_nodes();
    let folder = new_folder().unwrap();
    let file = folder.join("f");
    let length = 128 * MIB;
    let mut bytes = Body { seed: 1, length }.bytes();
    std::fs::write(&file, &bytes).unwrap();
    cluster.cli_json(&["put", text(&file), "cairn://abc/f"]).unwrap();
    let first = sent(&cluster);
    assert!(first >= length, "{first} of {length} bytes were counted");
    // One percent in one place, and a few bytes put in before it, so that nothing behind lies where it was.
    let change = Body { seed: 2, length: length / 100 }.bytes();
    bytes.splice(50 << 20..(50 << 20) + change.len(), change);
    bytes.splice(1000..1000, *b"a few bytes more");
    std::fs::write(&file, &bytes).unwrap();
    let put = cluster.cli_json(&["put", text(&file), "cairn://abc/f"]).unwrap();
    let second = sent(&cluster) - first;
    println!("second upload: {second} of {length} bytes, {:.1} %", second as f64 * 100.0 / length as f64);
    assert!(second * 20 < length, "{second} bytes were sent again");
    assert!(put[0]["found"].as_u64().unwrap() > length * 9 / 10, "{}", put[0]);
    assert_eq!(cluster.fetch_from("abc", "f").unwrap(), bytes);

    // A key that may not read everything gets no such answer: it sends all bytes.
    let key = folder.join("key");
    cluster.cli_json(&["admin", "key", "create", "w", "--grant", "abc=read,write,list", "--out", text(&key)]).unwrap();
    let before = (sent(&cluster), counted(&cluster, "cairn_chunk_bytes_found_total"));
    let put = cluster.cli_json(&["--key-file", text(&key), "put", text(&file), "cairn://abc/g"]).unwrap();
    assert!(sent(&cluster) - before.0 >= length, "a narrow key was told what exists");
    assert_eq!((counted(&cluster, "cairn_chunk_bytes_found_total"), put[0]["found"].as_u64()), (before.1, Some(0)));
    std::fs::remove_dir_all(folder).unwrap();
    cluster.wipe().unwrap();
}

#[test]
fn an_upload_that_is_killed_sends_the_rest_when_it_is_repeated() {
    let cluster = three_nodes();
    let folder = new_folder().unwrap();
    let file = folder.join("f");
    let length = 400 * MIB;
    let body = Body { seed: 3, length };
    std::fs::write(&file, body.bytes()).unwrap();
    let arguments = ["put", text(&file), "cairn://abc/f"];
    let mut putting = cluster.cli_command(&arguments).spawn().unwrap();
    let begun = soon(|| sent(&cluster) > 100 * MIB);
    putting.kill().unwrap();
    putting.wait().unwrap();
    let before = sent(&cluster);
    assert!(begun && before < length * 3 / 4, "it was not killed in the middle: {before}");
    assert_eq!(cluster.cli(&["stat", "abc/f"]).unwrap().status.code(), Some(5), "half an upload is visible");
    cluster.cli_json(&arguments).unwrap();
    let whole = sent(&cluster);
    println!("killed after {} MiB; both together sent {} of {} MiB", before / MIB, whole / MIB, length / MIB);
    // Chunks that one node had and another did not are sent to the other only.
    assert!(whole < length + 16 * MIB, "{whole} bytes were sent for {length}");
    assert!(cluster.fetch_from("abc", "f").unwrap() == body.bytes());
    std::fs::remove_dir_all(folder).unwrap();
    cluster.wipe().unwrap();
}

#[test]
fn a_download_that_is_killed_fetches_the_rest_when_it_is_repeated() {
    let cluster = three_nodes();
    let folder = new_folder().unwrap();
    let (file, out) = (folder.join("f"), folder.join("out"));
    let length = 400 * MIB;
    let body = Body { seed: 4, length };
    std::fs::write(&file, body.bytes()).unwrap();
    std::fs::create_dir(&out).unwrap();
    cluster.cli_json(&["put", text(&file), "cairn://abc/f"]).unwrap();
    let target = out.join("f");
    let arguments = ["get", "cairn://abc/f", text(&target)];
    let mut getting = cluster.cli_command(&arguments).spawn().unwrap();
    let part = || std::fs::read_dir(&out).unwrap().next().map(|entry| entry.unwrap().path());
    let size = || part().and_then(|part| part.metadata().ok()).map_or(0, |part| part.len());
    let begun = soon(|| size() > 100 * MIB);
    getting.kill().unwrap();
    getting.wait().unwrap();
    let kept = size();
    assert!(begun && !target.exists() && kept < length, "it was not killed in the middle: {kept}");
    // What lies there is proven before it is believed: a byte that is wrong costs its chunk and what is behind it.
    let part = part().unwrap();
    let damaged = std::fs::File::options().write(true).open(&part).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&damaged, b"damage", 64 * MIB).unwrap();
    let before = counted(&cluster, "cairn_chunk_bytes_read_total");
    let got = cluster.cli_json(&arguments).unwrap();
    let fetched = counted(&cluster, "cairn_chunk_bytes_read_total") - before;
    println!("killed after {} MiB; fetched {} of {} MiB then", kept / MIB, fetched / MIB, length / MIB);
    assert!(fetched < length - 55 * MIB, "{fetched} bytes were fetched again");
    assert!((55 * MIB..=64 * MIB).contains(&got[0]["found"].as_u64().unwrap()), "{}", got[0]);
    assert!(std::fs::read(&target).unwrap() == body.bytes());
    assert_eq!(std::fs::read_dir(&out).unwrap().count(), 1, "something was left beside it");
    std::fs::remove_dir_all(folder).unwrap();
    cluster.wipe().unwrap();
}

#[test]
fn an_upload_through_the_http_api_that_is_killed_sends_the_rest_when_it_is_repeated() {
    let cluster = three_nodes();
    let folder = new_folder().unwrap();
    let (file, state) = (folder.join("f"), folder.join("state"));
    let length = 400 * MIB;
    let body = Body { seed: 5, length };
    std::fs::write(&file, body.bytes()).unwrap();
    let arguments = ["--endpoint", &cluster.api, "--direct=never", "--json", "put", text(&file), "cairn://abc/f"];
    let command = || {
        let mut command = cluster.cli_command(&arguments);
        command.env("XDG_STATE_HOME", &state);
        command
    };
    let mut putting = command().stdout(std::process::Stdio::null()).spawn().unwrap();
    let begun = soon(|| sent(&cluster) > 100 * MIB);
    putting.kill().unwrap();
    putting.wait().unwrap();
    let before = sent(&cluster);
    assert!(begun && before < length * 3 / 4, "it was not killed in the middle: {before}");
    assert_eq!(cluster.cli(&["stat", "abc/f"]).unwrap().status.code(), Some(5), "half an upload is visible");
    let kept = || std::fs::read_dir(state.join("cairn/uploads")).unwrap().count();
    assert_eq!(kept(), 1);
    let put = command().output().unwrap();
    assert!(put.status.success(), "{put:?}");
    let told: serde_json::Value =
        serde_json::from_slice(put.stdout.split(|byte| *byte == b'\n').next().unwrap()).unwrap();
    let (whole, found) = (sent(&cluster), told["found"].as_u64().unwrap());
    println!(
        "killed after {} MiB; {} found; both together sent {} of {} MiB",
        before / MIB,
        found / MIB,
        whole / MIB,
        length / MIB
    );
    // A piece may have been on its way when it was killed.
    assert!(found > 64 * MIB && whole < length + 48 * MIB, "{whole} bytes were sent for {length}, {found} were there");
    assert!(cluster.fetch_from("abc", "f").unwrap() == body.bytes());
    assert_eq!(kept(), 0, "what is finished is kept");

    // An upload of what is no longer in the file does not go on.
    let mut putting = command().stdout(std::process::Stdio::null()).spawn().unwrap();
    assert!(soon(|| sent(&cluster) > whole + 40 * MIB));
    putting.kill().unwrap();
    putting.wait().unwrap();
    let changed = Body { seed: 6, length };
    std::fs::write(&file, changed.bytes()).unwrap();
    let put = command().output().unwrap();
    assert!(put.status.success(), "{put:?}");
    assert!(cluster.fetch_from("abc", "f").unwrap() == changed.bytes());
    std::fs::remove_dir_all(folder).unwrap();
    cluster.wipe().unwrap();
}
