//! `admin key`: make, list and remove access keys.

use crate::args::DryRun;
use crate::commands::records::ActionRecord;
use crate::failure::{Exit, Failure};
use crate::output::{Column, Record, left};
use crate::profile::Credential;
use crate::run::Session;
use crate::transfer::{Did, Tally, each};
use crate::units::{moment, printable};
use cairn_client::NewKey;
use cairn_common::ids::TenantId;
use cairn_common::name::BucketName;
use cairn_common::seam::{Clock as _, SystemClock};
use cairn_common::wire::command::{Grant, Rights};
use cairn_common::wire::master::KeyInfo;
use clap::{Args, Subcommand};
use futures::stream;
use serde::Serialize;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// Verbs of `admin key`.
#[derive(Subcommand, Debug)]
pub(crate) enum KeyVerb {
    /// Make a key; its secret is shown this once
    Create(CreateArgs),
    /// List the keys, without their secrets
    Ls,
    /// Remove keys
    Rm(RmArgs),
}

/// Arguments of `admin key create`.
#[derive(Args, Debug)]
pub(crate) struct CreateArgs {
    /// Its name, for people
    name: String,
    /// What it may do: BUCKET[/PREFIX]=RIGHT,… or *=RIGHT,… with rights read, write, list, delete, admin, all (may be
    /// repeated); without it: everything in all buckets
    #[arg(long, value_name = "GRANT", value_parser = grant)]
    grant: Vec<Grant>,
    /// It may also administer the cluster
    #[arg(long)]
    admin: bool,
    /// Number of the tenant whose buckets it sees, from 1; without it: your own
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    tenant: Option<u32>,
    /// It ends after this many days; without it: never
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    days: Option<u16>,
    /// Take over a key from a file of two lines, access key and secret
    #[arg(long, value_name = "FILE")]
    import: Option<PathBuf>,
    /// Write the key to a new file that only you can read, for --key-file, instead of showing the secret
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    dry: DryRun,
}

/// Arguments of `admin key rm`.
#[derive(Args, Debug)]
pub(crate) struct RmArgs {
    /// Access keys to remove
    #[arg(required = true, value_name = "ACCESS-KEY")]
    keys: Vec<String>,
    #[command(flatten)]
    dry: DryRun,
}

impl KeyVerb {
    pub(super) fn name(&self) -> &'static str {
        match self {
            KeyVerb::Create(_) => "admin key create",
            KeyVerb::Ls => "admin key ls",
            KeyVerb::Rm(_) => "admin key rm",
        }
    }

    pub(super) fn dry_run(&self) -> bool {
        match self {
            KeyVerb::Create(args) => args.dry.dry_run,
            KeyVerb::Rm(args) => args.dry.dry_run,
            KeyVerb::Ls => false,
        }
    }
}

/// Reads `BUCKET[/PREFIX]=RIGHT,…`.
fn grant(text: &str) -> Result<Grant, String> {
    let (place, rights) = text.rsplit_once('=').ok_or("write BUCKET[/PREFIX]=RIGHT,…")?;
    let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
    let bucket = match bucket {
        "*" => None,
        name => Some(BucketName::new(name).map_err(|error| error.to_string())?),
    };
    let mut granted = Rights::default();
    for right in rights.split(',') {
        match right {
            "read" => granted.read = true,
            "write" => granted.write = true,
            "list" => granted.list = true,
            "delete" => granted.delete = true,
            "admin" => granted.admin = true,
            "all" => granted = Rights::ALL,
            other => return Err(format!("{other:?} is none of read, write, list, delete, admin, all")),
        }
    }
    Ok(Grant { bucket, prefix: prefix.to_owned(), rights: granted })
}

/// Reverse of [`grant`].
fn grant_text(grant: &Grant) -> String {
    let Rights { read, write, list, delete, admin } = grant.rights;
    let all = [(read, "read"), (write, "write"), (list, "list"), (delete, "delete"), (admin, "admin")];
    let rights = match grant.rights == Rights::ALL {
        true => "all".to_owned(),
        false => all.into_iter().filter(|(given, _)| *given).map(|(_, name)| name).collect::<Vec<_>>().join(","),
    };
    let bucket = grant.bucket.as_ref().map_or("*", BucketName::as_str);
    let slash = if grant.prefix.is_empty() { "" } else { "/" };
    format!("{bucket}{slash}{}={rights}", grant.prefix)
}

#[derive(Serialize)]
struct NewKeyRecord {
    access_key: String,
    /// Absent if it was written to a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_key: Option<String>,
    name: String,
}

impl Record for NewKeyRecord {
    const COLUMNS: &'static [Column] = &[left("ACCESS-KEY"), left("SECRET-KEY"), left("NAME")];

    fn kind(&self) -> &'static str {
        "new_key"
    }

    fn cells(&self, _exact: bool) -> Vec<String> {
        let secret = self.secret_key.clone().unwrap_or_else(|| "in the file".to_owned());
        vec![self.access_key.clone(), secret, printable(&self.name)]
    }
}

#[derive(Serialize)]
struct KeyRecord {
    access_key: String,
    name: String,
    tenant: u32,
    cluster_admin: bool,
    grants: Vec<String>,
    created: String,
    expires: Option<String>,
}

impl From<KeyInfo> for KeyRecord {
    fn from(info: KeyInfo) -> KeyRecord {
        KeyRecord {
            access_key: info.access,
            name: info.name,
            tenant: info.tenant.0,
            cluster_admin: info.cluster_admin,
            grants: info.grants.iter().map(grant_text).collect(),
            created: moment(info.created.ms()),
            expires: info.expires.map(|stamp| moment(stamp.ms())),
        }
    }
}

impl Record for KeyRecord {
    const COLUMNS: &'static [Column] = &[
        left("ACCESS-KEY"),
        left("CREATED"),
        left("EXPIRES"),
        left("TENANT"),
        left("CLUSTER"),
        left("GRANTS"),
        left("NAME"),
    ];

    fn kind(&self) -> &'static str {
        "key"
    }

    fn cells(&self, _exact: bool) -> Vec<String> {
        vec![
            self.access_key.clone(),
            self.created.clone(),
            self.expires.clone().unwrap_or_else(|| "never".to_owned()),
            self.tenant.to_string(),
            if self.cluster_admin { "admin".to_owned() } else { "-".to_owned() },
            printable(&self.grants.join(" ")),
            printable(&self.name),
        ]
    }
}

/// Runs a verb of `admin key`.
pub(super) async fn run(session: &Session, verb: KeyVerb) -> Result<Tally, Failure> {
    match verb {
        KeyVerb::Create(args) => create(session, args).await,
        KeyVerb::Ls => list(session).await,
        KeyVerb::Rm(args) => remove(session, args).await,
    }
}

async fn create(session: &Session, args: CreateArgs) -> Result<Tally, Failure> {
    let given = args.import.map(|path| Credential::File(path).load()).transpose()?.flatten();
    let everything = || vec![Grant { bucket: None, prefix: String::new(), rights: Rights::ALL }];
    let grants = if args.grant.is_empty() { everything() } else { args.grant };
    let client = session.clients.current().await?;
    if args.dry.dry_run {
        client.keys().await?;
        return Ok(Tally::one(0));
    }
    // Before the key exists: a secret that cannot be written down would be lost.
    let out = args.out.map(|path| private_file(&path).map(|file| (file, path))).transpose()?;
    let new = NewKey {
        name: args.name.clone(),
        given,
        cluster_admin: args.admin,
        grants,
        tenant: args.tenant.map(TenantId),
        expires_ms: args.days.map(|days| SystemClock::new().wall_ms() + u64::from(days) * DAY_MS),
    };
    let created = client.create_key_for(new).await;
    let (access_key, secret) = match (created, out) {
        (Ok((access, secret)), None) => (access, Some(secret)),
        (Ok((access, secret)), Some((mut file, path))) => {
            let written = writeln!(file, "{access}\n{secret}").and_then(|()| file.sync_all());
            written.map_err(|error| Failure::local(&path, "write the key", &error))?;
            (access, None)
        }
        (Err(error), out) => {
            if let Some((_, path)) = out {
                // It is empty.
                let _ = std::fs::remove_file(path);
            }
            return Err(error.into());
        }
    };
    session.out.facts(&NewKeyRecord { access_key, secret_key: secret, name: args.name })?;
    Ok(Tally::one(0))
}

fn private_file(path: &Path) -> Result<std::fs::File, Failure> {
    let mut options = std::fs::OpenOptions::new();
    let opened = options.write(true).create_new(true).mode(0o600).open(path);
    opened.map_err(|error| Failure::local(path, "make the file", &error))
}

async fn list(session: &Session) -> Result<Tally, Failure> {
    let mut tally = Tally::default();
    for info in session.clients.current().await?.keys().await? {
        tally.count(Did::Done(0));
        session.out.record(&KeyRecord::from(info))?;
    }
    Ok(tally)
}

async fn remove(session: &Session, args: RmArgs) -> Result<Tally, Failure> {
    let client = session.clients.current().await?;
    let dry_run = args.dry.dry_run;
    let known = match dry_run {
        true => client.keys().await?.into_iter().map(|info| info.access).collect(),
        false => Vec::new(),
    };
    let (client, known) = (&client, &known);
    each(session, stream::iter(args.keys.into_iter().map(Ok)), |access: String| async move {
        match dry_run {
            true if !known.contains(&access) => {
                return Err(Failure::new(Exit::NotFound, "there is no such access key").at(access));
            }
            true => {}
            false => client.delete_key(&access).await.map_err(|error| Failure::from(error).at(&access))?,
        }
        session.out.action(&ActionRecord::of("key_rm", access, dry_run), dry_run)?;
        Ok(Did::Done(0))
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_are_written_as_they_are_read() {
        for text in ["*=all", "photos=read,list", "photos/2026/a=b=write", "photos/x=read,write,list,delete"] {
            assert_eq!(grant_text(&grant(text).unwrap()), text);
        }
        for bad in ["photos", "photos=", "photos=fly", "P=read", "=read", "*=read,"] {
            assert!(grant(bad).is_err(), "{bad}");
        }
    }
}
