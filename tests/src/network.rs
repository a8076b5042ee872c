//! Faults of the network between the processes of a cluster that was made with `netns`: each is alone in a network
//! namespace, so that cutting it off touches nothing else on this machine.
//!
//! Packets are lost without a word, as in a network that is cut: a process that is cut off sees no refused connection, only
//! silence. Losing some of the packets is not offered: the kernels this runs on need not have the modules for it.

use crate::cluster::Cluster;
use anyhow::{Context as _, Result, ensure};
use std::process::Command;

impl Cluster {
    /// Cuts a process off from all others and from this machine, in both directions, until [`Cluster::reconnect`].
    pub fn cut_off(&self, name: &str) -> Result<()> {
        self.ip(name, &["link", "set", "eth0", "down"])
    }

    /// Undoes [`Cluster::cut_off`].
    pub fn reconnect(&self, name: &str) -> Result<()> {
        self.ip(name, &["link", "set", "eth0", "up"])
    }

    /// Loses every packet from one process to another, until [`Cluster::mend`]. The other direction stays as it is, which no
    /// connection survives, but datagrams and the first packet of a connection do.
    pub fn lose(&self, from: &str, to: &str) -> Result<()> {
        self.ip(from, &["route", "add", "blackhole", &self.address(to)?])
    }

    /// Undoes [`Cluster::lose`].
    pub fn mend(&self, from: &str, to: &str) -> Result<()> {
        self.ip(from, &["route", "del", "blackhole", &self.address(to)?])
    }

    /// Loses every packet from a process to this machine, where the clients run: to them it is as if it were not there, to the others
    /// nothing changes.
    pub fn hide_from_clients(&self, name: &str) -> Result<()> {
        let clients = format!("10.87.{}.1", self.saved("cluster.env", "SUBNET")?);
        self.ip(name, &["route", "add", "blackhole", &clients])
    }

    /// Undoes [`Cluster::hide_from_clients`].
    pub fn show_to_clients(&self, name: &str) -> Result<()> {
        let clients = format!("10.87.{}.1", self.saved("cluster.env", "SUBNET")?);
        self.ip(name, &["route", "del", "blackhole", &clients])
    }

    /// Runs `ip` in the namespace of a process.
    fn ip(&self, name: &str, arguments: &[&str]) -> Result<()> {
        let space = format!("cairn-{}-{name}", self.saved("cluster.env", "SUBNET")?);
        let output = Command::new("ip").args(["-n", &space]).args(arguments).output().context("running ip")?;
        let told = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "ip -n {space} {arguments:?}: {}", told.trim());
        Ok(())
    }

    fn address(&self, name: &str) -> Result<String> {
        self.saved(&format!("nodes/{name}.env"), "ADDRESS")
    }

    /// A variable that `scripts/cluster` saved.
    fn saved(&self, file: &str, variable: &str) -> Result<String> {
        let path = self.folder().join(file);
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let value = text.lines().find_map(|line| line.strip_prefix(variable)?.strip_prefix('='));
        Ok(value.with_context(|| format!("{} has no {variable}", path.display()))?.to_owned())
    }
}
