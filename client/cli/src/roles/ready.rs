//! The file `ready` in the data folder: there while the process can be used, and says how.

use super::identity::DataFolder;
use anyhow::Context as _;
use cairn_common::seam::{Disk as _, RealDisk};
use serde::Serialize;

/// Base URLs of a process; those it has.
#[derive(Default, Serialize)]
pub(super) struct Addresses {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) node: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) s3: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) api: Option<String>,
}

#[derive(Serialize)]
struct File<'a> {
    pid: u32,
    #[serde(flatten)]
    addresses: &'a Addresses,
}

pub(super) fn write(data: &DataFolder, addresses: &Addresses) -> anyhow::Result<()> {
    let file = File { pid: std::process::id(), addresses };
    RealDisk.replace(&data.file("ready"), &serde_json::to_vec(&file)?).context("cannot write the file `ready`")
}

pub(super) fn remove(data: &DataFolder) -> anyhow::Result<()> {
    let path = data.file("ready");
    if RealDisk.exists(&path)? {
        RealDisk.remove(&path).context("cannot remove the file `ready`")?;
    }
    Ok(())
}
