//! Starting, failing, and stopping against a master.

use super::*;
use crate::store::volume::{VolumeFolder, VolumeIdentity};
use crate::testing::{TestMaster, TestNode, chunk, cluster_key, get_request, put_request};
use cairn_common::ids::Stamp;
use cairn_common::limits::HEARTBEAT_MS;
use cairn_common::seam::{Disk, OpenMode};
use cairn_common::sim::disk::{CrashPolicy, DiskErrno, DiskFault, DiskOp};
use cairn_common::wire::chunk::ChunkService;
use cairn_common::wire::command::Refusal;
use std::path::Path;

const TWO: [&str; 2] = ["/disk-1", "/disk-2"];

/// The process dies. Threads that are still at work finish what they do, then its locks are free.
async fn kill(node: &TestNode, mut server: Chunkserver) {
    server.tasks.shutdown().await;
    drop(server);
    for disk in &node.config.disks {
        while let Err(FolderError::Locked(_)) = VolumeFolder::lock(Arc::new(node.disk.clone()), &disk.path) {
            tokio::task::yield_now().await;
        }
    }
}

fn identity_on(node: &TestNode, disk: &str) -> VolumeIdentity {
    VolumeIdentity::decode(&node.disk.read(&Path::new(disk).join("volume.identity")).unwrap()).unwrap()
}

/// Copies every file of a disk's folder, as `cp -a` does.
fn copy(node: &TestNode, from: &str, to: &str) {
    node.disk.create_dir_all(&Path::new(to).join("packs")).unwrap();
    for folder in ["", "packs"] {
        let (from, to) = (Path::new(from).join(folder), Path::new(to).join(folder));
        for name in node.disk.list(&from).unwrap() {
            if let Ok(bytes) = node.disk.read(&from.join(&name)) {
                node.disk.replace(&to.join(&name), &bytes).unwrap();
            }
        }
    }
}

#[tokio::test]
async fn new_disks_become_volumes_and_hold_the_boot_count_before_the_node_serves() {
    let (node, master) = (TestNode::new(&TWO), TestMaster::new());
    let server = node.start(&master).await.unwrap();
    assert_eq!((server.boot(), server.volumes()), (BootCount(1), vec![VolumeId(1_000), VolumeId(1_001)]));
    // What is on the disks would survive a power cut at this moment.
    kill(&node, server).await;
    node.crash(CrashPolicy::LoseUnsynced);
    for (disk, volume) in TWO.iter().zip([1_000, 1_001]) {
        let identity = identity_on(&node, disk);
        assert_eq!(
            (identity.volume, identity.boot, identity.node),
            (VolumeId(volume), BootCount(1), node.identity.node)
        );
    }
    let log = master.log();
    assert!(log[0].starts_with("Boot") && log[0].contains(r#"new_disks: ["disk-1", "disk-2"]"#), "{log:?}");
    assert!(log[1].starts_with("Serve"), "{log:?}");
}

#[tokio::test]
async fn every_start_is_a_new_run_of_the_same_volumes() {
    let (node, master) = (TestNode::new(&TWO), TestMaster::new());
    let chunk = chunk(1, 1_000);
    let server = node.start(&master).await.unwrap();
    let first = server.service().put(put_request(&chunk, 7), chunk.clone()).await.unwrap();
    server.stop().await;
    let server = node.start(&master).await.unwrap();
    assert_eq!((server.boot(), server.volumes()), (BootCount(2), vec![VolumeId(1_000), VolumeId(1_001)]));
    let second = server.service().touch(put_request(&chunk, 7)).await.unwrap();
    assert_eq!((second.volume, first.boot, second.boot), (first.volume, BootCount(1), BootCount(2)));
    assert_eq!(identity_on(&node, TWO[0]).boot, BootCount(2));
}

#[tokio::test]
async fn a_clean_stop_keeps_touches_and_any_other_end_raises_them_to_the_start() {
    let (node, master) = (TestNode::new(&TWO[..1]), TestMaster::new());
    let chunk = chunk(1, 1_000);
    let touched = |server: &Chunkserver| {
        let (service, slot) = (Arc::clone(server.service()), chunk.address().slot());
        async move { service.inventory(slot, None).await.unwrap()[0].touched }
    };
    let server = node.start(&master).await.unwrap();
    server.service().put(put_request(&chunk, 7), chunk.clone()).await.unwrap();
    server.stop().await;
    let server = node.start(&master).await.unwrap();
    assert_eq!(touched(&server).await, Stamp(7));
    kill(&node, server).await;
    node.crash(CrashPolicy::LoseUnsynced);
    let server = node.start(&master).await.unwrap();
    assert_eq!(touched(&server).await, Stamp(3_000), "the stamp of the third start");
}

#[tokio::test]
async fn disks_of_other_clusters_and_nodes_keep_the_node_from_starting_and_are_not_touched() {
    let (mut node, master) = (TestNode::new(&TWO), TestMaster::new());
    node.start(&master).await.unwrap().stop().await;
    let before = node.disk.read(Path::new("/disk-1/volume.identity")).unwrap();
    let ours = node.identity.clone();
    node.identity.cluster = ClusterId([2; 16]);
    let error = node.start(&master).await.err().unwrap();
    assert!(
        matches!(error, StartError::OtherCluster { .. })
            && error.to_string().contains("/disk-1 belongs to cluster 0101")
    );
    node.identity = Identity { node: NodeId(4), ..ours.clone() };
    let error = node.start(&master).await.err().unwrap();
    assert!(
        matches!(error, StartError::OtherNode { .. }) && error.to_string().contains("put it back there"),
        "{error}"
    );
    node.identity = Identity { generation: Generation(0), ..ours.clone() };
    assert!(matches!(node.start(&master).await.err().unwrap(), StartError::LaterGeneration { .. }));
    assert_eq!(node.disk.read(Path::new("/disk-1/volume.identity")).unwrap(), before);
    assert!(node.disk.exists(Path::new("/disk-1/clean")).unwrap());
    let key = cluster_key().node_key(Generation(2), ours.node);
    node.identity = Identity { generation: Generation(2), key, ..ours };
    node.start(&master).await.unwrap();
    assert_eq!(identity_on(&node, TWO[0]).generation, Generation(2), "a restored cluster goes on with its disks");
}

#[tokio::test]
async fn an_old_image_of_a_disk_is_refused_and_the_others_serve() {
    let (node, master) = (TestNode::new(&TWO), TestMaster::new());
    node.start(&master).await.unwrap().stop().await;
    copy(&node, "/disk-2", "/image");
    node.start(&master).await.unwrap().stop().await;
    copy(&node, "/image", "/disk-2");
    let server = node.start(&master).await.unwrap();
    assert_eq!(server.volumes(), [VolumeId(1_000)]);
    assert_eq!(server.faults()[0].volume, Some(VolumeId(1_001)));
    assert!(server.faults()[0].reason.contains("clone or an old image"), "{}", server.faults()[0]);
    node.clock.advance(HEARTBEAT_MS);
    let heartbeat = master.next_heartbeat().await;
    assert!(heartbeat.volumes.iter().any(|report| report.volume == VolumeId(1_001) && report.fault.is_some()));
}

#[tokio::test]
async fn a_clone_of_a_whole_node_does_not_start() {
    let (mut node, master) = (TestNode::new(&TWO[..1]), TestMaster::new());
    node.start(&master).await.unwrap().stop().await;
    copy(&node, "/disk-1", "/clone");
    node.start(&master).await.unwrap().stop().await;
    node.config.disks[0].path = "/clone".into();
    assert!(matches!(node.start(&master).await.err().unwrap(), StartError::NoDisk(faults) if faults.len() == 1));
}

#[tokio::test]
async fn two_copies_of_one_volume_on_a_node_are_noticed() {
    let (mut node, master) = (TestNode::new(&TWO[..1]), TestMaster::new());
    node.start(&master).await.unwrap().stop().await;
    copy(&node, "/disk-1", "/copy");
    node.config.disks.push(DiskConfig { path: "/copy".into(), capacity_bytes: None });
    assert!(matches!(node.start(&master).await.err().unwrap(), StartError::Twice { .. }));
}

#[tokio::test]
async fn a_disk_that_fails_at_the_start_takes_out_itself_and_not_the_node() {
    for (fault, retires) in [
        (DiskFault::forever(DiskOp::List, "/disk-2", DiskErrno::Io), false),
        (DiskFault::forever(DiskOp::Read, "/disk-2/volume.identity", DiskErrno::Io), false),
        (DiskFault::forever(DiskOp::Write, "/disk-2", DiskErrno::ReadOnly), false),
        (DiskFault::forever(DiskOp::Sync, "/disk-2/packs", DiskErrno::Io), true),
    ] {
        let (node, master) = (TestNode::new(&TWO), TestMaster::new());
        let server = node.start(&master).await.unwrap();
        for number in 0..10 {
            let chunk = chunk(number, 1_000);
            server.service().put(put_request(&chunk, 7), chunk.clone()).await.unwrap();
        }
        kill(&node, server).await;
        node.crash(CrashPolicy::LoseUnsynced);
        node.disk.inject(fault.clone());
        let server = node.start(&master).await.unwrap_or_else(|error| panic!("{fault:?}: {error}"));
        assert_eq!(server.volumes(), [VolumeId(1_000)], "{fault:?}");
        assert_eq!(server.faults().len(), 1);
        let new = chunk(100, 1_000);
        server.service().put(put_request(&new, 7), new.clone()).await.unwrap();
        if retires {
            master.executed("RetireVolume").await;
        }
    }
}

#[tokio::test]
async fn a_node_without_a_single_good_disk_does_not_start() {
    let (node, master) = (TestNode::new(&TWO), TestMaster::new());
    node.disk.inject(DiskFault::forever(DiskOp::Write, "", DiskErrno::ReadOnly));
    let error = node.start(&master).await.err().unwrap();
    assert!(matches!(&error, StartError::NoDisk(faults) if faults.len() == 2), "{error}");
    assert!(!master.log().iter().any(|line| line.starts_with("Serve")), "{error}");
}

#[tokio::test]
async fn a_volume_that_fails_in_service_is_retired_by_the_masters_however_long_they_take() {
    let (node, master) = (TestNode::new(&TWO), TestMaster::new());
    let server = node.start(&master).await.unwrap();
    master.executed("Heartbeat").await;
    for _ in 0..3 {
        master.answer_next_with(MasterError::Unavailable("an election".to_owned()));
    }
    node.disk.inject(DiskFault::once(DiskOp::Sync, "/disk-2/packs", DiskErrno::Io));
    for number in 0..10 {
        let chunk = chunk(number, 1_000);
        let receipt = server.service().put(put_request(&chunk, 7), chunk.clone()).await.unwrap();
        assert_eq!(receipt.volume, VolumeId(1_000));
    }
    // The first tries meet an election; each further one comes with a heartbeat.
    while !master.log().iter().any(|line| line.starts_with("RetireVolume")) {
        node.clock.advance(HEARTBEAT_MS);
        tokio::task::yield_now().await;
    }
    let told = master.log().iter().filter(|line| line.starts_with("RetireVolume")).count();
    assert_eq!(told, 1);
    kill(&node, server).await;
    // The disk remembers it, the masters do, and the node starts without it.
    let server = node.start(&master).await.unwrap();
    assert_eq!(server.volumes(), [VolumeId(1_000)]);
    assert!(server.faults()[0].reason.contains("retired"), "{}", server.faults()[0]);
}

#[tokio::test]
async fn a_start_waits_for_the_masters_and_survives_lost_answers() {
    let (node, master) = (TestNode::new(&TWO), TestMaster::new());
    master.answer_next_with(MasterError::Unavailable("nobody leads".to_owned()));
    master.answer_next_with(MasterError::Unknown);
    let clock = node.clock.clone();
    let passing = async {
        loop {
            clock.advance(500);
            tokio::task::yield_now().await;
        }
    };
    let server = tokio::select! {
        biased;
        server = node.start(&master) => server.unwrap(),
        () = passing => unreachable!(),
    };
    assert_eq!(server.volumes().len(), 2);
    kill(&node, server).await;
    master.answer_next_with(MasterError::Denied);
    assert!(matches!(node.start(&master).await.err().unwrap(), StartError::Refused(MasterError::Denied)));
}

#[tokio::test]
async fn a_run_that_is_over_attests_nothing_more() {
    let (node, master) = (TestNode::new(&TWO[..1]), TestMaster::new());
    let server = node.start(&master).await.unwrap();
    let chunk = chunk(1, 1_000);
    server.service().put(put_request(&chunk, 7), chunk.clone()).await.unwrap();
    master.executed("Heartbeat").await;
    master.answer_next_with(Refusal::StaleBoot { node: node.identity.node, boot: server.boot() }.into());
    node.clock.advance(HEARTBEAT_MS);
    server.fenced().await;
    assert!(server.service().put(put_request(&chunk, 7), chunk.clone()).await.is_err());
    server.service().get(get_request(&chunk)).await.unwrap();
}

#[tokio::test]
async fn a_second_process_on_the_same_disks_does_not_start() {
    let (node, master) = (TestNode::new(&TWO), TestMaster::new());
    let _server = node.start(&master).await.unwrap();
    let error = node.start(&master).await.err().unwrap();
    assert!(matches!(error, StartError::Folder(FolderError::Locked(_))), "{error}");
}

#[tokio::test]
async fn an_emptied_disk_comes_back_as_a_new_volume() {
    let (node, master) = (TestNode::new(&TWO), TestMaster::new());
    node.start(&master).await.unwrap().stop().await;
    for name in ["volume.identity", "clean", "reserve"] {
        node.disk.remove(&Path::new("/disk-2").join(name)).unwrap();
    }
    let server = node.start(&master).await.unwrap();
    assert_eq!(server.volumes(), [VolumeId(1_000), VolumeId(2_000)]);
}

#[tokio::test]
async fn heartbeats_tell_how_the_volumes_are() {
    let (node, master) = (TestNode::new(&TWO[..1]), TestMaster::new());
    let server = node.start(&master).await.unwrap();
    let chunk = chunk(1, 100_000);
    server.service().put(put_request(&chunk, 7), chunk.clone()).await.unwrap();
    master.executed("Heartbeat").await;
    node.clock.advance(HEARTBEAT_MS);
    let heartbeat = master.next_heartbeat().await;
    let report = &heartbeat.volumes[0];
    assert_eq!((heartbeat.boot, report.volume, report.label.as_str()), (BootCount(1), VolumeId(1_000), "disk-1"));
    assert_eq!((report.chunks, report.damaged, report.fault.as_ref()), (1, 0, None));
    assert!(
        report.used_bytes > 100_000 && report.free_bytes > 100 << 20 && report.capacity_bytes == 200 << 20,
        "{report:?}"
    );
}

#[tokio::test]
async fn a_foreign_file_in_the_folder_is_left_alone() {
    let (node, master) = (TestNode::new(&TWO[..1]), TestMaster::new());
    node.disk.create_dir_all(Path::new("/disk-1/packs")).unwrap();
    for name in ["lost+found", "notes.txt", "packs/1.pack", "packs/0000000g.pack", "packs/+0000001.pack"] {
        node.disk.open(&Path::new("/disk-1").join(name), OpenMode::CreateNew).unwrap();
    }
    let server = node.start(&master).await.unwrap();
    let chunk = chunk(1, 1_000);
    server.service().put(put_request(&chunk, 7), chunk.clone()).await.unwrap();
    for name in ["lost+found", "notes.txt", "packs/1.pack", "packs/0000000g.pack", "packs/+0000001.pack"] {
        assert!(node.disk.exists(&Path::new("/disk-1").join(name)).unwrap(), "{name}");
    }
}
