//! `cairn master restore`: a master made from a backup, when all masters are lost.

use super::cluster::write_key;
use super::identity::{DataFolder, Identity};
use anyhow::{Context as _, bail};
use cairn_common::auth::ClusterKey;
use cairn_common::backup::{Header, Reader};
use cairn_common::ids::NodeId;
use cairn_common::seam::{Disk as _, OpenMode, RealDisk};
use cairn_master::{RestoredMaster, restore};
use clap::Parser;
use std::path::PathBuf;

/// What `cairn master restore` is told.
#[derive(Parser, Debug)]
#[command(
    name = "cairn master restore",
    about = "Makes a master from a backup, when all masters are lost. Never while one of them may come back"
)]
pub(super) struct RestoreArgs {
    /// A file from `cairn admin backup`
    file: PathBuf,
    /// Folder of the new master: empty, or that of a node whose master's folder in it was lost
    #[arg(long, env = "CAIRN_DATA", value_name = "DIR")]
    data: PathBuf,
    /// Name of this node, if the folder is empty [default: the host's]
    #[arg(long, env = "CAIRN_NAME")]
    name: Option<String>,
}

/// Brings the state back, then gives the folder its identity: a folder without one is not started as this cluster's.
pub(super) fn run(args: RestoreArgs) -> anyhow::Result<()> {
    let shown = args.file.display();
    let file = RealDisk.open(&args.file, OpenMode::Read).with_context(|| format!("cannot open {shown}"))?;
    let backup = Reader::open(file).with_context(|| format!("{shown} cannot be used"))?;
    let data = DataFolder::open(&RealDisk, &args.data)?;
    let known = data.identity(&RealDisk)?;
    if let Some(known) = known.as_ref().filter(|known| known.cluster != backup.header.cluster) {
        bail!("{} is of cluster {}, the backup of {}", args.data.display(), known.cluster, backup.header.cluster);
    }
    let host = || rustix::system::uname().nodename().to_string_lossy().into_owned();
    let master = match &known {
        Some(known) => RestoredMaster::Known(known.node),
        None => RestoredMaster::New { name: args.name.clone().unwrap_or_else(host), address: String::new() },
    };
    let cluster_key = backup.header.cluster_key();
    write_key(&data, cluster_key.expose())?;
    let restored = restore(&data.file("master"), &RealDisk, &backup, &master).context("the state was not restored")?;
    if known.is_none() {
        data.store_identity(&RealDisk, &identity(&backup.header, &cluster_key, restored.node))?;
    }
    println!(
        "restored generation {} of cluster {} as node {}, from stamp {}\n\
         Start this master, then the other nodes again. Then see `cairn admin audit`, which names every chunk that is missing or \
         that nothing refers to: files that were written, and collections that ran, after the backup. Nothing is removed before \
         `cairn admin collect resume`. Let further masters join with new tokens and empty folders",
        restored.generation.0, backup.header.cluster, restored.node, backup.header.stamp
    );
    Ok(())
}

fn identity(header: &Header, cluster_key: &ClusterKey, node: NodeId) -> Identity {
    let (cluster, generation) = (header.cluster, header.key_generation);
    Identity { cluster, generation, node, key: cluster_key.node_key(generation, node) }
}
