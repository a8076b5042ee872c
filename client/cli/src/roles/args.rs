//! Flags of the roles, their environment variables, and the same names in a TOML file.

use cairn_common::membership::Roles;
use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::Deserialize;
use std::path::PathBuf;

#[derive(Parser)]
#[command(name = "cairn", version, about = "The server roles of Cairn", disable_help_subcommand = true)]
pub(super) struct RoleCommand {
    #[command(subcommand)]
    pub(super) role: Role,
}

#[derive(Subcommand)]
pub(super) enum Role {
    /// All roles in one process: a whole cluster on one machine, which others can join
    Server(RoleArgs),
    /// Keeps buckets, keys and manifests
    Master(RoleArgs),
    /// Keeps chunks on its disks
    Chunkserver(RoleArgs),
    /// Serves S3 and the HTTP API
    Gateway(RoleArgs),
}

impl Role {
    pub(super) fn split(self) -> (Roles, RoleArgs) {
        let only = Roles::default();
        match self {
            Role::Server(args) => (Roles { master: true, chunkserver: true, gateway: true }, args),
            Role::Master(args) => (Roles { master: true, ..only }, args),
            Role::Chunkserver(args) => (Roles { chunkserver: true, ..only }, args),
            Role::Gateway(args) => (Roles { gateway: true, ..only }, args),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(super) enum LogFormat {
    Text,
    Json,
}

/// What can be set. Flags win over `CAIRN_*` variables, those over the file; names in the file are those of the flags.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RoleArgs {
    /// TOML file with any of these settings
    #[arg(long, env = "CAIRN_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    pub(super) config: Option<PathBuf>,
    /// Folder for identity, metadata and, unless --disk is given, chunks
    #[arg(long, env = "CAIRN_DATA", value_name = "DIR")]
    pub(super) data: Option<PathBuf>,
    /// Number of disks, DIR/disk-1 and so on [default: 1]
    #[arg(long, env = "CAIRN_DISKS", value_name = "K", conflicts_with = "disk")]
    pub(super) disks: Option<u16>,
    /// A folder on a disk of its own; may be repeated
    #[arg(long, env = "CAIRN_DISK", value_name = "PATH", value_delimiter = ',')]
    pub(super) disk: Option<Vec<PathBuf>>,
    /// Use at most this much of each disk, in bytes [default: its size]
    #[arg(long, env = "CAIRN_DISK_CAPACITY", value_name = "BYTES")]
    pub(super) disk_capacity: Option<u64>,
    /// Name of this node, for people [default: the host's]
    #[arg(long, env = "CAIRN_NAME")]
    pub(super) name: Option<String>,
    /// Failure domain of this node: copies are spread over zones first [default: its name]
    #[arg(long, env = "CAIRN_ZONE")]
    pub(super) zone: Option<String>,
    /// Share of the data this node should hold, by convention its capacity in GiB [default: the size of its disks]
    #[arg(long, env = "CAIRN_WEIGHT", value_name = "GIB")]
    pub(super) weight: Option<u32>,
    /// Copies of each chunk, in a new cluster; without it, 1 at first and 3 as soon as three nodes serve
    #[arg(long, env = "CAIRN_REPLICAS", value_name = "R")]
    pub(super) replicas: Option<u8>,
    /// Where nodes and clients reach this process [default: 127.0.0.1:7070]
    #[arg(long, env = "CAIRN_LISTEN", value_name = "HOST:PORT")]
    pub(super) listen: Option<String>,
    /// Where S3 is served [default: 127.0.0.1:9000]
    #[arg(long, env = "CAIRN_S3_LISTEN", value_name = "HOST:PORT")]
    pub(super) s3_listen: Option<String>,
    /// Where the HTTP API is served [default: 127.0.0.1:7080]
    #[arg(long, env = "CAIRN_API_LISTEN", value_name = "HOST:PORT")]
    pub(super) api_listen: Option<String>,
    /// Base URL that others use to reach --listen, if it is not the address itself
    #[arg(long, env = "CAIRN_ADVERTISE", value_name = "URL")]
    pub(super) advertise: Option<String>,
    /// Domain whose sub-domains are buckets (virtual-host style S3)
    #[arg(long, env = "CAIRN_S3_DOMAIN", value_name = "DOMAIN")]
    pub(super) s3_domain: Option<String>,
    /// Join the cluster of the master at this base URL; may be repeated
    #[arg(long, env = "CAIRN_JOIN", value_name = "URL", value_delimiter = ',')]
    pub(super) join: Option<Vec<String>>,
    /// File with a token from `cairn admin join-token create`
    #[arg(long, env = "CAIRN_JOIN_TOKEN", value_name = "FILE")]
    pub(super) join_token: Option<PathBuf>,
    /// Certificate chain (PEM), for TLS on every port
    #[arg(long, env = "CAIRN_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub(super) tls_cert: Option<PathBuf>,
    /// Its key (PEM)
    #[arg(long, env = "CAIRN_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub(super) tls_key: Option<PathBuf>,
    /// TLS on every port by a certificate authority of the cluster's own: DIR/tls/ca.pem is for clients to trust. With
    /// --tls-cert as well, that is for S3 and the HTTP API, this for the nodes
    #[arg(long, env = "CAIRN_TLS_SELF_SIGNED", num_args = 0..=1, default_missing_value = "true")]
    pub(super) tls_self_signed: Option<bool>,
    /// A further name or address that the self-signed certificate is for; may be repeated
    #[arg(long, env = "CAIRN_TLS_NAME", value_name = "NAME", value_delimiter = ',')]
    pub(super) tls_name: Option<Vec<String>>,
    /// Certificates (PEM) that other nodes' certificates must come from [default: those of the system]
    #[arg(long, env = "CAIRN_CA_FILE", value_name = "FILE")]
    pub(super) ca_file: Option<PathBuf>,
    /// Serve plain HTTP on addresses other than loopback. Everyone on the way can read and alter what is sent
    #[arg(long, env = "CAIRN_INSECURE_PLAIN_HTTP", num_args = 0..=1, default_missing_value = "true")]
    pub(super) insecure_plain_http: Option<bool>,
    /// A chunkserver that is silent for so long leaves the ring, if the others can do without it [default: 600]
    #[arg(long, env = "CAIRN_DEAD_AFTER", value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) dead_after: Option<u64>,
    /// Pause between two rounds of comparing what this node holds with what it should [default: 60]
    #[arg(long, env = "CAIRN_REPAIR_PAUSE", value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) repair_pause: Option<u64>,
    /// Fetch at most this much from other nodes [default: 64]
    #[arg(long, env = "CAIRN_REPAIR_RATE", value_name = "MIB/S", value_parser = clap::value_parser!(u64).range(1..1 << 20))]
    pub(super) repair_rate: Option<u64>,
    /// Pause before each pass of reading everything back [default: 86400]
    #[arg(long, env = "CAIRN_SCRUB_PAUSE", value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) scrub_pause: Option<u64>,
    /// Read back at most this much [default: 8]
    #[arg(long, env = "CAIRN_SCRUB_RATE", value_name = "MIB/S", value_parser = clap::value_parser!(u64).range(1..1 << 20))]
    pub(super) scrub_rate: Option<u64>,
    /// Form of the log, which goes to standard error; what is logged is set by RUST_LOG [default: text]
    #[arg(long, env = "CAIRN_LOG_FORMAT")]
    pub(super) log_format: Option<LogFormat>,
}

macro_rules! prefer {
    ($first:ident, $second:ident; $($field:ident),* $(,)?) => {
        RoleArgs { config: $first.config, $($field: $first.$field.or($second.$field)),* }
    };
}

impl RoleArgs {
    /// These settings, and where one is missing that of `file`.
    pub(super) fn or(self, file: RoleArgs) -> RoleArgs {
        prefer!(self, file; data, disks, disk, disk_capacity, name, zone, weight, replicas, listen, s3_listen, api_listen,
            advertise, s3_domain, join, join_token, tls_cert, tls_key, tls_self_signed, tls_name, ca_file,
            insecure_plain_http, dead_after, repair_pause, repair_rate, scrub_pause, scrub_rate, log_format)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_win_over_the_file_and_unknown_names_are_refused() {
        let file: RoleArgs = toml::from_str("zone = \"z1\"\ns3-listen = \"1.2.3.4:5\"\ndisks = 3\n").unwrap();
        let flags = RoleArgs { zone: Some("z2".to_owned()), ..RoleArgs::default() };
        let both = flags.or(file);
        assert_eq!(
            (both.zone.as_deref(), both.s3_listen.as_deref(), both.disks),
            (Some("z2"), Some("1.2.3.4:5"), Some(3))
        );
        assert!(toml::from_str::<RoleArgs>("zones = \"z1\"").is_err());
        assert!(toml::from_str::<RoleArgs>("config = \"other\"").is_err());
    }

    #[test]
    fn every_role_parses() {
        for role in ["server", "master", "chunkserver", "gateway"] {
            let command =
                RoleCommand::try_parse_from(["cairn", role, "--data", "/d", "--disk", "/a", "--disk", "/b"]).unwrap();
            let (_, args) = command.role.split();
            assert_eq!(args.disk, Some(vec!["/a".into(), "/b".into()]));
        }
        assert!(RoleCommand::try_parse_from(["cairn", "server", "--disks", "2", "--disk", "/a"]).is_err());
        assert!(RoleCommand::try_parse_from(["cairn", "server", "--tls-cert", "x"]).is_err());
    }
}
