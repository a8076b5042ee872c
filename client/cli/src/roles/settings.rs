//! Settings, checked once and turned into what the roles need.

use super::args::{LogFormat, RoleArgs};
use anyhow::{Context as _, bail};
use cairn_chunkserver::UpkeepSettings;
use cairn_common::limits::{DEAD_AFTER_MS, REPLICAS_MAX};
use cairn_common::listen::TlsFiles;
use cairn_common::membership::Roles;
use cairn_common::seam::{Disk as _, RealDisk};
use std::net::ToSocketAddrs as _;
use std::path::PathBuf;
use std::time::Duration;

const GIB: u64 = 1 << 30;

/// What a process was told to be.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) roles: Roles,
    pub(super) data: PathBuf,
    pub(super) disks: Vec<PathBuf>,
    pub(super) disk_capacity: Option<u64>,
    pub(super) name: String,
    pub(super) zone: String,
    /// `None`: as large as its disks, once they are there.
    pub(super) weight: Option<u32>,
    pub(super) replicas: Option<u8>,
    pub(super) listen: String,
    pub(super) s3_listen: String,
    pub(super) api_listen: String,
    pub(super) advertise: Option<String>,
    pub(super) s3_domain: Option<String>,
    pub(super) join: Option<Join>,
    pub(super) tls: Option<TlsFiles>,
    pub(super) tls_self_signed: bool,
    pub(super) tls_names: Vec<String>,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) log_format: LogFormat,
    /// A chunkserver that is silent for so long leaves the ring.
    pub(super) dead_after: Duration,
    pub(super) upkeep: UpkeepSettings,
}

/// How to become part of a cluster.
#[derive(Clone, Debug)]
pub(super) struct Join {
    pub(super) masters: Vec<String>,
    pub(super) token: Option<PathBuf>,
}

impl Settings {
    /// Reads the file, merges and checks.
    pub(super) fn new(roles: Roles, flags: RoleArgs) -> anyhow::Result<Settings> {
        let file = match &flags.config {
            None => RoleArgs::default(),
            Some(path) => {
                let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
                toml::from_str(&text).with_context(|| format!("in {}", path.display()))?
            }
        };
        let args = flags.or(file);
        let data = args.data.context("--data DIR is needed: the folder that keeps this node's identity and data")?;
        let name = args.name.unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned());
        let disks = match args.disk {
            Some(disks) => disks,
            None => (1..=args.disks.unwrap_or(1)).map(|k| data.join(format!("disk-{k}"))).collect(),
        };
        let upkeep = UpkeepSettings::default();
        let settings = Settings {
            roles,
            disks: if roles.chunkserver { disks } else { Vec::new() },
            disk_capacity: args.disk_capacity,
            zone: args.zone.unwrap_or_else(|| name.clone()),
            weight: args.weight,
            replicas: args.replicas,
            listen: args.listen.unwrap_or_else(|| "127.0.0.1:7070".to_owned()),
            s3_listen: args.s3_listen.unwrap_or_else(|| "127.0.0.1:9000".to_owned()),
            api_listen: args.api_listen.unwrap_or_else(|| "127.0.0.1:7080".to_owned()),
            advertise: args.advertise,
            s3_domain: args.s3_domain,
            join: args.join.map(|masters| Join { masters, token: args.join_token }),
            tls: args.tls_cert.zip(args.tls_key).map(|(certificate, key)| TlsFiles { certificate, key }),
            tls_self_signed: args.tls_self_signed.unwrap_or(false),
            tls_names: args.tls_name.unwrap_or_default(),
            ca_file: args.ca_file,
            log_format: args.log_format.unwrap_or(LogFormat::Text),
            dead_after: args.dead_after.map_or(Duration::from_millis(DEAD_AFTER_MS), Duration::from_secs),
            upkeep: UpkeepSettings {
                pause: args.repair_pause.map_or(upkeep.pause, Duration::from_secs),
                fetch_bytes_per_second: args.repair_rate.map_or(upkeep.fetch_bytes_per_second, |mib| mib << 20),
                scrub_pause: args.scrub_pause.map_or(upkeep.scrub_pause, Duration::from_secs),
                scrub_bytes_per_second: args.scrub_rate.map_or(upkeep.scrub_bytes_per_second, |mib| mib << 20),
            },
            data,
            name,
        };
        settings.check(args.insecure_plain_http.unwrap_or(false))?;
        Ok(settings)
    }

    fn check(&self, plain_allowed: bool) -> anyhow::Result<()> {
        for (what, text) in [("--name", &self.name), ("--zone", &self.zone)] {
            let printable = text.chars().all(|c| c.is_ascii_graphic());
            if text.is_empty() || text.len() > 255 || !printable {
                bail!("{what} {text:?}: 1 to 255 printable ASCII characters without spaces are allowed");
            }
        }
        if let Some(replicas) = self.replicas
            && !(1..=REPLICAS_MAX).contains(&replicas)
        {
            bail!("--replicas {replicas}: 1 to {REPLICAS_MAX} are allowed");
        }
        if self.weight == Some(0) {
            bail!("--weight 0: a node that should hold nothing needs no disks");
        }
        if self.roles.chunkserver && self.disks.is_empty() {
            bail!("--disks 0: a chunkserver needs a disk");
        }
        if let Some(file) = &self.ca_file {
            super::tls::check_file(file)?;
        }
        if self.tls.is_none() && !self.tls_self_signed && !plain_allowed {
            self.check_loopback()?;
        }
        Ok(())
    }

    fn check_loopback(&self) -> anyhow::Result<()> {
        let mut ports = vec![("--listen", &self.listen)];
        if self.roles.gateway {
            ports.extend([("--s3-listen", &self.s3_listen), ("--api-listen", &self.api_listen)]);
        }
        for (flag, address) in ports {
            let mut resolved = address.to_socket_addrs().with_context(|| format!("{flag} {address}"))?;
            if !resolved.all(|address| address.ip().is_loopback()) {
                bail!(
                    "{flag} {address} is not a loopback address, and no certificate is given. Give --tls-self-signed, or --tls-cert \
                     and --tls-key, or allow plain HTTP with --insecure-plain-http if everyone on that network may read and alter the data"
                );
            }
        }
        Ok(())
    }

    /// The node's weight: as set, or the size of its disks in GiB. The disks must be there.
    pub(super) fn weight(&self) -> anyhow::Result<u32> {
        if let Some(weight) = self.weight {
            return Ok(weight);
        }
        let mut bytes = 0u64;
        for disk in &self.disks {
            let space = RealDisk.space(disk).with_context(|| format!("{}", disk.display()))?;
            bytes = bytes.saturating_add(self.disk_capacity.unwrap_or(u64::MAX).min(space.total_bytes));
        }
        Ok(u32::try_from(bytes.div_ceil(GIB)).unwrap_or(u32::MAX).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Roles = Roles { master: true, chunkserver: true, gateway: true };

    fn settings(change: impl FnOnce(&mut RoleArgs)) -> anyhow::Result<Settings> {
        let mut args = RoleArgs { data: Some("/data".into()), name: Some("n".to_owned()), ..RoleArgs::default() };
        change(&mut args);
        Settings::new(ALL, args)
    }

    #[test]
    fn one_folder_is_enough() {
        let settings = settings(|_| ()).unwrap();
        assert_eq!(settings.disks, [PathBuf::from("/data/disk-1")]);
        assert_eq!(settings.zone, "n");
    }

    #[test]
    fn plain_http_stays_on_the_machine_unless_it_is_asked_for() {
        let error = settings(|args| args.s3_listen = Some("0.0.0.0:9000".to_owned())).unwrap_err();
        assert!(error.to_string().contains("--s3-listen 0.0.0.0:9000"), "{error}");
        let open = |args: &mut RoleArgs| {
            args.s3_listen = Some("0.0.0.0:9000".to_owned());
            args.insecure_plain_http = Some(true);
        };
        assert!(settings(open).is_ok());
    }

    #[test]
    fn nonsense_is_named() {
        assert!(settings(|args| args.data = None).unwrap_err().to_string().contains("--data"));
        assert!(settings(|args| args.replicas = Some(0)).unwrap_err().to_string().contains("--replicas"));
        assert!(settings(|args| args.zone = Some("a b".to_owned())).unwrap_err().to_string().contains("--zone"));
        assert!(settings(|args| args.weight = Some(0)).unwrap_err().to_string().contains("--weight"));
    }
}
