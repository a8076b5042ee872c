//! The form of the tree: what rustfmt and clippy do not look at.

// Helpers of tests are tests: what fails in them fails the test.
#![allow(clippy::unwrap_used)]

use cairn_common::seam::SEEDED_BUGS;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Every file of the project, as git knows them.
fn files() -> Vec<PathBuf> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let output = Command::new("git").arg("-C").arg(top).args(["ls-files", "-z"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let names = String::from_utf8(output.stdout).unwrap();
    let files = names.split('\0').filter(|name| !name.is_empty()).map(|name| top.join(name));
    files.filter(|path| path.exists()).collect()
}

fn sources() -> Vec<(PathBuf, String)> {
    let is_rust = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "rs");
    let read = |path: PathBuf| (path.clone(), std::fs::read_to_string(path).unwrap());
    let sources: Vec<_> = files().into_iter().filter(is_rust).map(read).collect();
    assert!(sources.len() > 50, "{} sources are too few to be all", sources.len());
    sources
}

#[test]
fn every_module_says_what_it_is_for() {
    // What a module of unit tests is for stands in its parent.
    let is_unit_test = |path: &Path| {
        let mut below_src = path.iter().skip_while(|part| *part != "src");
        below_src.any(|part| part == "tests" || part == "tests.rs")
    };
    let silent: Vec<_> = sources()
        .into_iter()
        .filter(|(path, text)| !text.starts_with("//!") && !is_unit_test(path))
        .map(|(path, _)| path)
        .collect();
    assert!(silent.is_empty(), "without //! in their first line: {silent:#?}");
}

#[test]
fn nothing_is_left_for_later() {
    // Put together, so that this file does not find itself.
    let marks = [concat!("todo", "!("), concat!("unimplemented", "!("), concat!("FIX", "ME"), concat!("#[ig", "nore")];
    for (path, text) in sources() {
        for mark in marks {
            assert!(!text.contains(mark), "{} has {mark}", path.display());
        }
    }
}

#[test]
fn scripts_can_be_run() {
    use std::os::unix::fs::PermissionsExt as _;
    for path in files() {
        let text = std::fs::read(&path).unwrap_or_default();
        if text.starts_with(b"#!") {
            let mode = path.metadata().unwrap().permissions().mode();
            assert!(mode & 0o111 != 0, "{} begins with #! and cannot be run", path.display());
        }
    }
}

#[test]
fn every_seeded_bug_is_in_the_program_and_caught_by_a_test() {
    let sources = sources();
    for bug in SEEDED_BUGS {
        let (call, name) = (format!("seeded_bug(\"{bug}\")"), format!("\"{bug}\""));
        let is_test = |path: &Path| path.iter().any(|part| part == "tests" || part == "tests.rs");
        assert!(sources.iter().any(|(path, text)| !is_test(path) && text.contains(&call)), "{bug} is nowhere");
        assert!(sources.iter().any(|(path, text)| is_test(path) && text.contains(&name)), "no test catches {bug}");
    }
}
