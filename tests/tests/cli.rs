//! The command line client against real servers.

// Helpers of tests are tests: what fails in them fails the test.
#![allow(clippy::unwrap_used)]

use anyhow::{Context as _, Result, ensure};
use cairn_client::PutOptions;
use cairn_common::name::FilePath;
use cairn_tests::cluster::{Cluster, Plan, Shape, new_folder};
use cairn_tests::content::Body;
use cairn_tests::suites::block_on;
use serde_json::Value;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

fn split(gateways: u32) -> Cluster {
    let shape = Shape::Split { masters: 1, chunkservers: 3, gateways };
    Cluster::start(Plan { replicas: Some(3), ..Plan::new(shape) }).unwrap()
}

fn one_node() -> Cluster {
    Cluster::start(Plan { replicas: Some(1), ..Plan::new(Shape::Nodes(1)) }).unwrap()
}

/// Exit code, and everything on standard error.
fn exit(cluster: &Cluster, arguments: &[&str]) -> (Option<i32>, String) {
    let output = cluster.cli(arguments).unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn write(path: &Path, body: Body) -> PathBuf {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, body.bytes()).unwrap();
    path.to_owned()
}

/// Names and bytes of all files below a folder.
fn tree(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    fn walk(folder: &Path, root: &Path, found: &mut Vec<(PathBuf, Vec<u8>)>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => walk(&path, root, found),
                false if path.is_symlink() => {}
                false => found.push((path.strip_prefix(root).unwrap().to_owned(), std::fs::read(&path).unwrap())),
            }
        }
    }
    let mut found = Vec::new();
    walk(folder, folder, &mut found);
    found.sort();
    found
}

#[test]
fn the_example_of_the_library_puts_and_gets_and_tells_how_far_it_is() {
    let cluster = one_node();
    let file = write(&cluster.folder().join("in"), Body { seed: 77, length: 9_000_000 });
    let copy = cluster.folder().join("out");
    let masters = cluster.processes().unwrap().remove(0).addresses.remove("node").unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_put_and_get"))
        .args([text(&file), "example", "a/file", text(&copy)])
        .env("CAIRN_MASTERS", masters)
        .env("CAIRN_ACCESS_KEY", &cluster.key.0)
        .env("CAIRN_SECRET_KEY", &cluster.key.1)
        .env_remove("CAIRN_CA_FILE")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    assert_eq!(std::fs::read(&copy).unwrap(), std::fs::read(&file).unwrap());
    for line in ["put: 9000000 of 9000000 bytes are durable", "get: 9000000 of 9000000 bytes"] {
        assert!(told.lines().any(|told| told == line), "{told}");
    }
    cluster.wipe().unwrap();
}

#[test]
fn put_and_get_need_no_gateway_and_every_chunkserver_carries_bytes() {
    let cluster = split(1);
    cluster.kill("gateway-1", "TERM").unwrap();
    let folder = new_folder().unwrap();
    for n in 0..20 {
        write(&folder.join(format!("in/d{}/f{n}", n % 3)), Body { seed: n, length: n * 400_000 });
    }
    cluster.cli_json(&["mb", "abc"]).unwrap();
    cluster.cli_json(&["put", "-r", text(&folder.join("in")), "cairn://abc"]).unwrap();
    cluster.cli_json(&["get", "-r", "cairn://abc", text(&folder.join("out"))]).unwrap();
    assert_eq!(tree(&folder.join("in")), tree(&folder.join("out")));
    // Nodes tell the masters every few seconds what they hold.
    let mut carried = Vec::new();
    for _ in 0..40 {
        let nodes = cluster.cli_json(&["admin", "node", "ls"]).unwrap();
        let stores = nodes.iter().filter(|node| node["name"].as_str().is_some_and(|name| name.starts_with("chunk")));
        carried = stores.map(|node| node["chunks"].as_u64().unwrap()).collect();
        if carried.iter().all(|chunks: &u64| *chunks > 0) {
            break;
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    assert!(carried.len() == 3 && carried.iter().all(|chunks| *chunks > 0), "{carried:?}");
    std::fs::remove_dir_all(folder).unwrap();
    cluster.wipe().unwrap();
}

#[test]
fn odd_names_empty_files_and_times_come_back_as_they_were() {
    let cluster = one_node();
    let folder = new_folder().unwrap();
    let input = folder.join("in");
    let long = "x".repeat(255);
    let names = ["-rf", " a b ", "new\nline", "tab\t", "日本", "a\\b", "%41", "[x]{y}*?", "...", "..x", long.as_str()];
    for (n, name) in names.iter().enumerate() {
        write(&input.join("deep er").join(name), Body { seed: n as u64, length: n as u64 * 5_000 });
    }
    let modified = UNIX_EPOCH + Duration::new(1_234_567_890, 123_456_789);
    let old = std::fs::File::options().write(true).open(input.join("deep er/日本")).unwrap();
    old.set_times(std::fs::FileTimes::new().set_modified(modified)).unwrap();
    cluster.cli_json(&["mb", "abc"]).unwrap();
    cluster.cli_json(&["put", "-r", text(&input), "cairn://abc/into/"]).unwrap();
    cluster.cli_json(&["get", "-r", "cairn://abc/into/in", text(&folder.join("out"))]).unwrap();
    assert_eq!(tree(&input), tree(&folder.join("out")));
    assert_eq!(std::fs::metadata(folder.join("out/deep er/日本")).unwrap().modified().unwrap(), modified);
    std::fs::remove_dir_all(folder).unwrap();
    cluster.wipe().unwrap();
}

#[test]
fn what_cannot_be_kept_is_told_counted_and_does_not_stop_the_rest() {
    let cluster = one_node();
    let folder = new_folder().unwrap();
    let input = folder.join("in");
    write(&input.join("good"), Body { seed: 1, length: 10 });
    std::fs::write(input.join(OsString::from_vec(b"b\xffd".to_vec())), "x").unwrap();
    std::os::unix::fs::symlink("nowhere", input.join("broken")).unwrap();
    cluster.cli_json(&["mb", "abc"]).unwrap();
    let (code, told) = exit(&cluster, &["put", "-r", text(&input), "cairn://abc"]);
    assert_eq!(code, Some(8), "{told}");
    assert!(told.contains("UTF-8") && told.contains("broken"), "{told}");
    assert_eq!(cluster.fetch_from("abc", "good").unwrap(), Body { seed: 1, length: 10 }.bytes());
    // Keys that would leave the target, made by another client.
    block_on(async {
        let client = cluster.client().await?;
        for key in ["../evil", "a/../../evil", "/evil", "a//evil", "fine"] {
            let body = Body { seed: 2, length: 20 };
            client.put(&FilePath::new("abc", key)?, body.source(), PutOptions::default()).await?;
        }
        client.close().await;
        Ok(())
    })
    .unwrap();
    let (code, told) = exit(&cluster, &["get", "-r", "cairn://abc", text(&folder.join("deep/out"))]);
    assert_eq!(code, Some(8), "{told}");
    let names: Vec<_> =
        tree(&folder).into_iter().map(|(name, _)| name).filter(|name| !name.starts_with("in")).collect();
    assert_eq!(names, ["deep/out/fine", "deep/out/good"].map(PathBuf::from));
    std::fs::remove_dir_all(folder).unwrap();
    cluster.wipe().unwrap();
}

#[test]
fn exit_codes_and_advice_are_as_documented() {
    let cluster = one_node();
    let folder = new_folder().unwrap();
    let file = write(&folder.join("f"), Body { seed: 1, length: 100 });
    let file = text(&file);
    cluster.cli_json(&["mb", "abc", "xyz"]).unwrap();
    cluster.cli_json(&["put", file, "cairn://abc/"]).unwrap();
    let folder_text = text(&folder);
    for (arguments, code) in [
        (&["ls", "abc"][..], 0),
        (&["nonsense"], 2),
        (&["put", file, "abc/f"], 2),
        (&["put", folder_text, "cairn://abc/"], 2),
        (&["get", "cairn://abc/", folder_text], 2),
        (&["rm", "-r", "abc"], 2),
        (&["ls", "BAD"], 2),
        (&["ls", "--masters", "http://127.0.0.1:1"], 3),
        (&["ls", "no-such-bucket"], 5),
        (&["stat", "abc/missing"], 5),
        (&["cat", "abc/missing"], 5),
        (&["get", "cairn://abc/missing", folder_text], 5),
        (&["put", "/no/such/file", "cairn://abc/"], 5),
        (&["rm", "abc/missing"], 5),
        (&["ls", "abc/missing/"], 5),
        (&["mb", "abc"], 6),
        (&["rb", "abc"], 6),
        (&["put", "--no-clobber", file, "cairn://abc/"], 6),
        (&["rm", "abc/missing", "abc/missing2"], 8),
        (&["rm", "-f", "abc/missing"], 0),
        (&["mb", "-p", "abc"], 0),
    ] {
        let (found, told) = exit(&cluster, arguments);
        assert_eq!(found, Some(code), "{arguments:?}: {told}");
        let (found, told) = exit(&cluster, &[&["--json"], arguments].concat());
        assert_eq!(found, Some(code), "--json {arguments:?}: {told}");
        for line in told.lines() {
            let told: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{arguments:?}: {line}"));
            // Where standard output carries a file, the summary is here as well.
            let expected = told["type"] == "error" && told["message"].is_string() || told["type"] == "summary";
            assert!(expected, "{line}");
        }
    }
    std::fs::remove_dir_all(folder).unwrap();
    cluster.wipe().unwrap();
}

#[test]
fn a_key_may_do_what_it_was_granted_and_no_more() {
    let cluster = one_node();
    let folder = new_folder().unwrap();
    let (file, key) = (write(&folder.join("f"), Body { seed: 1, length: 100 }), folder.join("key"));
    cluster.cli_json(&["mb", "abc", "xyz"]).unwrap();
    cluster.cli_json(&["put", text(&file), "cairn://abc/"]).unwrap();
    let created = ["admin", "key", "create", "reader", "--grant", "abc=read,list", "--out", text(&key)];
    let created = cluster.cli_json(&created).unwrap();
    let access = created[0]["access_key"].as_str().unwrap();
    let with = |arguments: &[&str]| exit(&cluster, &[&["--key-file", text(&key)], arguments].concat());
    assert_eq!(with(&["cat", "abc/f"]).0, Some(0));
    assert_eq!(with(&["ls", "abc"]).0, Some(0));
    for denied in [
        &["put", text(&file), "cairn://abc/g"][..],
        &["rm", "abc/f"],
        &["ls", "xyz"],
        &["admin", "key", "ls"],
        &["mb", "new"],
    ] {
        let (code, told) = with(denied);
        assert_eq!(code, Some(4), "{denied:?}: {told}");
    }
    cluster.cli_json(&["admin", "key", "rm", access]).unwrap();
    assert_eq!(with(&["cat", "abc/f"]).0, Some(4));
    std::fs::remove_dir_all(folder).unwrap();
    cluster.wipe().unwrap();
}

#[test]
fn copies_moves_and_removals_leave_what_they_should() {
    let cluster = one_node();
    let folder = new_folder().unwrap();
    for (name, seed) in [("a", 1), ("d/b", 2), ("d/e/c", 3)] {
        write(&folder.join(name), Body { seed, length: 100_000 * seed });
    }
    let keys = |bucket: &str| -> Vec<String> {
        let listed = cluster.cli_json(&["ls", "-r", bucket]).unwrap();
        let files = listed.iter().filter(|line| line["type"] == "file");
        files.map(|line| line["path"].as_str().unwrap().to_owned()).collect()
    };
    let run = |arguments: &[&str]| cluster.cli_json(arguments).unwrap();
    run(&["mb", "abc", "xyz"]);
    run(&["put", "-r", &format!("{}/", text(&folder)), "cairn://abc"]);
    let all = ["cairn://abc/a", "cairn://abc/d/b", "cairn://abc/d/e/c"];
    assert_eq!(keys("abc"), all);
    for dry in [&["rm", "-r", "-n", "abc"][..], &["mv", "-n", "-r", "cairn://abc", "cairn://xyz"], &["rb", "-n", "xyz"]]
    {
        run(dry);
    }
    assert_eq!((keys("abc"), keys("xyz").len()), (all.map(str::to_owned).to_vec(), 0), "a dry run changed something");
    run(&["cp", "-r", "cairn://abc/d", "cairn://xyz/"]);
    assert_eq!(keys("xyz"), ["cairn://xyz/d/b", "cairn://xyz/d/e/c"]);
    run(&["mv", "-r", "cairn://xyz/d/", "cairn://xyz/moved"]);
    assert_eq!(keys("xyz"), ["cairn://xyz/moved/b", "cairn://xyz/moved/e/c"]);
    run(&["mv", "cairn://xyz/moved/b", "cairn://abc/"]);
    assert_eq!(keys("abc"), ["cairn://abc/a", "cairn://abc/b", "cairn://abc/d/b", "cairn://abc/d/e/c"]);
    assert_eq!(cluster.fetch_from("abc", "b").unwrap(), Body { seed: 2, length: 200_000 }.bytes());
    run(&["rm", "-r", "--exclude", "c", "abc/d"]);
    assert_eq!(keys("abc"), ["cairn://abc/a", "cairn://abc/b", "cairn://abc/d/e/c"]);
    let usage = run(&["du", "abc"]);
    assert_eq!((&usage[0]["files"], &usage[0]["bytes"]), (&Value::from(3), &Value::from(600_000)));
    run(&["rm", "-r", "--yes", "abc", "xyz"]);
    run(&["rb", "abc", "xyz"]);
    std::fs::remove_dir_all(folder).unwrap();
    cluster.wipe().unwrap();
}

#[test]
fn every_line_of_json_has_type_and_schema_and_the_last_is_the_summary() {
    let cluster = one_node();
    let folder = new_folder().unwrap();
    let file = write(&folder.join("f"), Body { seed: 1, length: 3 << 20 });
    let (file, out) = (text(&file).to_owned(), folder.join("out"));
    for (arguments, first) in [
        (&["mb", "abc"][..], "mb"),
        (&["put", &file, "cairn://abc/"], "put"),
        (&["ls"], "bucket"),
        (&["ls", "abc"], "file"),
        (&["stat", "abc/f"], "stat"),
        (&["stat", "abc"], "bucket"),
        (&["get", "cairn://abc/f", text(&out)], "get"),
        (&["cp", "cairn://abc/f", "cairn://abc/g"], "cp"),
        (&["mv", "cairn://abc/g", "cairn://abc/h"], "mv"),
        (&["du"], "usage"),
        (&["where", "abc/f"], "location"),
        (&["find", "abc"], "file"),
        (&["tree", "abc"], "tree"),
        (&["checksum", "cairn://abc/f", &file], "checksum"),
        (&["verify", "abc/f", &file], "verify"),
        (&["presign", "abc/f", "--s3-endpoint", &cluster.s3], "link"),
        (&["s3-config", "rclone", "--s3-endpoint", &cluster.s3], "s3_config"),
        (&["completion", "zsh"], "completion"),
        (&["doctor"], "check"),
        (&["admin", "status"], "cluster"),
        (&["admin", "node", "ls"], "node"),
        (&["admin", "key", "ls"], "key"),
        (&["admin", "join-token", "create"], "join_token"),
        (&["rm", "abc/f", "abc/h"], "rm"),
        (&["rb", "abc"], "rb"),
        (&["version"], "version"),
    ] {
        let lines = cluster.cli_json(arguments).unwrap();
        assert_eq!(lines[0]["type"], first, "{arguments:?}: {lines:?}");
        assert!(lines.iter().all(|line| line["schema"] == 1), "{arguments:?}: {lines:?}");
        let last = lines.last().unwrap();
        assert!(last["type"] == "summary" && last["exit"] == 0 && last["failed"] == 0, "{arguments:?}: {last}");
    }
    std::fs::remove_dir_all(folder).unwrap();
    cluster.wipe().unwrap();
}

#[test]
fn a_download_that_is_killed_leaves_no_file_under_its_name() {
    let cluster = one_node();
    let folder = new_folder().unwrap();
    let file = write(&folder.join("f"), Body { seed: 1, length: 200 << 20 });
    cluster.cli_json(&["mb", "abc"]).unwrap();
    cluster.cli_json(&["put", text(&file), "cairn://abc/"]).unwrap();
    let target = folder.join("out/f");
    std::fs::create_dir_all(folder.join("out")).unwrap();
    let mut getting = cluster.cli_command(&["get", "cairn://abc/f", text(&target)]).spawn().unwrap();
    let part = || std::fs::read_dir(folder.join("out")).unwrap().next().map(|entry| entry.unwrap().path());
    let begun = soon(|| part().is_some_and(|part| part.metadata().is_ok_and(|part| part.len() > 0)));
    getting.kill().unwrap();
    getting.wait().unwrap();
    assert!(begun && !target.exists());
    std::fs::remove_dir_all(folder).unwrap();
    cluster.wipe().unwrap();
}

/// Waits until something is so, at most ten seconds.
fn soon(is_so: impl Fn() -> bool) -> bool {
    (0..5000).any(|_| {
        std::thread::sleep(Duration::from_millis(2));
        is_so()
    })
}

#[test]
fn the_client_holds_little_whatever_the_size() {
    const MAX_BYTES: u64 = 300 << 20;
    let cluster = one_node();
    let folder = new_folder().unwrap();
    let file = write(&folder.join("f"), Body { seed: 1, length: 1 << 30 });
    cluster.cli_json(&["mb", "abc"]).unwrap();
    let run = |arguments: &[&str]| -> Result<u64> {
        let peak = folder.join("peak");
        let output = cluster.measured_cli(arguments, &peak)?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        std::fs::read_to_string(&peak)?.trim().parse().context("a peak in KiB").map(|kib: u64| kib << 10)
    };
    for arguments in [["put", text(&file), "cairn://abc/f"], ["get", "cairn://abc/f", text(&folder.join("out"))]] {
        let peak = run(&arguments).unwrap();
        println!("{}: peak {} MiB", arguments[0], peak >> 20);
        assert!(peak < MAX_BYTES, "{arguments:?} held {} MiB", peak >> 20);
    }
    std::fs::remove_dir_all(folder).unwrap();
    cluster.wipe().unwrap();
}

#[test]
fn times_of_files_without_one_are_those_of_the_download() {
    let cluster = one_node();
    let folder = new_folder().unwrap();
    cluster.cli_json(&["mb", "abc"]).unwrap();
    block_on(async {
        let client = cluster.client().await?;
        let body = Body { seed: 2, length: 20 };
        client.put(&FilePath::new("abc", "plain")?, body.source(), PutOptions::default()).await?;
        client.close().await;
        Ok(())
    })
    .unwrap();
    let target = folder.join("plain");
    cluster.cli_json(&["get", "cairn://abc/plain", text(&target)]).unwrap();
    let modified = std::fs::metadata(&target).unwrap().modified().unwrap();
    let before = std::fs::metadata(&folder).unwrap().modified().unwrap() - Duration::from_secs(60);
    assert!(modified > before && modified < before + Duration::from_secs(120), "{modified:?}");
    std::fs::remove_dir_all(folder).unwrap();
    cluster.wipe().unwrap();
}

#[test]
fn profiles_are_written_down_used_and_removed_and_never_show_a_secret() {
    let cluster = one_node();
    let folder = new_folder().unwrap();
    let (access, secret) = &cluster.key;
    let masters = cluster.processes().unwrap().remove(0).addresses.remove("node").unwrap();
    let key = folder.join("key");
    std::fs::write(&key, format!("{access}\n{secret}\n")).unwrap();
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = std::process::Command::new(cluster.program());
        for name in ["CAIRN_MASTERS", "CAIRN_ACCESS_KEY", "CAIRN_SECRET_KEY", "CAIRN_PROFILE", "CAIRN_ENDPOINT"] {
            command.env_remove(name);
        }
        command.arg("--json").args(arguments).env("XDG_CONFIG_HOME", folder.join("config")).output().unwrap()
    };
    let code = |arguments: &[&str]| run(arguments).status.code();
    assert_eq!(code(&["ls"]), Some(2), "nobody said where");
    let add = ["profile", "add", "home", "--masters", &masters, "--key-file", text(&key)];
    assert_eq!(code(&[&add[..], &["-n"]].concat()), Some(0));
    assert!(!folder.join("config").exists(), "a dry run wrote something");
    assert_eq!((code(&add), code(&add)), (Some(0), Some(6)));
    // The first one is meant where none is named.
    assert_eq!(code(&["mb", "abc"]), Some(0));
    let away = ["profile", "add", "away", "--masters", "http://127.0.0.1:1", "--credential-command", "echo hunter2"];
    assert_eq!((code(&away), code(&["ls"])), (Some(0), Some(0)));
    assert_eq!((code(&["profile", "use", "away"]), code(&["ls"])), (Some(0), Some(4)), "its command prints no key");
    assert_eq!((code(&["ls", "--profile", "home"]), code(&["ls", "cairn://home@abc"])), (Some(0), Some(0)));
    for refused in [&["profile", "use", "none"][..], &["profile", "rm", "none"]] {
        assert_eq!(code(refused), Some(5));
    }
    for wrong in
        [&["profile", "add", "x"][..], &["profile", "add", "x", "--masters", "h:1"], &["profile", "add", "a b"]]
    {
        assert_eq!(code(wrong), Some(2), "{wrong:?}");
    }
    let config = folder.join("config/cairn/config.toml");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&config).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let listed = run(&["profile", "ls"]);
    let lines = String::from_utf8(listed.stdout).unwrap();
    assert!(!lines.contains(secret) && !lines.contains("hunter2"), "{lines}");
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let shown: Vec<_> = lines.iter().filter(|line| line["type"] == "profile").map(|line| &line["profile"]).collect();
    assert_eq!(shown, ["away", "home"]);
    assert!(lines[0]["current"] == true && lines[0]["credential_command"] == true && lines[1]["current"] == false);
    assert_eq!(&lines[1]["access_key"], access);
    assert_eq!(
        (code(&["profile", "rm", "away"]), code(&["profile", "use", "home"]), code(&["ls"])),
        (Some(0), Some(0), Some(0))
    );
    assert_eq!(code(&["profile", "rm", "home"]), Some(0));
    assert!(!std::fs::read_to_string(&config).unwrap().contains(secret), "the secret is still there");
    std::fs::remove_dir_all(folder).unwrap();
    cluster.wipe().unwrap();
}
