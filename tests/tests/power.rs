//! Power cuts under load: of the whole cluster, and of some of its nodes.

use cairn_tests::cluster::{Plan, Shape, new_folder};
use cairn_tests::faults::{LoopDisk, drop_caches};
use cairn_tests::settings::{by_effort, report, seed};
use cairn_tests::suites::power;
use std::fs::File;
use std::io::Write as _;

/// The tool itself: without it the other test would prove nothing.
#[test]
fn a_power_cut_loses_what_was_not_synced_and_nothing_else() {
    let folder = new_folder().unwrap();
    let mut disk = LoopDisk::make(folder.join("image"), folder.join("at"), 64 << 20).unwrap();
    let at = |name: &str| folder.join("at").join(name);
    let write = |name: &str, sync: bool| {
        let mut file = File::create(at(name)).unwrap();
        file.write_all(b"bytes").unwrap();
        if sync {
            file.sync_all().unwrap();
        }
    };
    write("synced", true);
    File::open(at("")).unwrap().sync_all().unwrap();
    write("unsynced", false);
    std::fs::rename(at("synced"), at("renamed")).unwrap();
    disk.cut_power().unwrap();
    assert!(File::create(at("after")).is_err(), "a disk without power takes nothing");
    disk.unmount().unwrap();
    disk.mount().unwrap();
    assert_eq!(std::fs::read(at("synced")).unwrap(), b"bytes");
    assert!(!at("unsynced").exists() && !at("renamed").exists());
    disk.unmount().unwrap();
    drop_caches().unwrap();
    drop(disk);
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn power_cuts_of_all_nodes_lose_nothing_acknowledged() {
    let plan = Plan { replicas: Some(3), ..Plan::new(Shape::Nodes(3)) };
    let counted = power::whole_cluster(plan, seed(), by_effort(5, 20, 100)).unwrap();
    println!("{counted:?}");
    assert!(counted.acknowledged > 20 * counted.rounds, "too little load to mean anything");
    report(counted.rounds, counted.acknowledged + counted.reads).unwrap();
}

#[test]
fn power_cuts_of_one_master_of_all_masters_and_of_the_chunkserver_lose_nothing_acknowledged() {
    let counted = power::some_nodes(None, seed(), by_effort(3, 6, 200)).unwrap();
    println!("{counted:?}");
    assert!(counted.acknowledged > 20 * counted.rounds, "too little load to mean anything");
    report(counted.rounds, counted.acknowledged + counted.reads).unwrap();
}
