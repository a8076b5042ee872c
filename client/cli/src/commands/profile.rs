//! `profile`: clusters by name, in the configuration file. Secrets go into it and are never shown.

use super::records::ActionRecord;
use crate::args::DryRun;
use crate::editing::Editing;
use crate::failure::{Exit, Failure};
use crate::output::{Column, Record, left};
use crate::profile::{ConfigFile, ConnectionArgs, Credential, NewProfile, Settings, variable};
use crate::run::Session;
use crate::transfer::{Did, Tally};
use crate::units::printable;
use clap::{Args, Subcommand};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Verbs of `profile`.
#[derive(Subcommand, Debug)]
pub(crate) enum ProfileVerb {
    /// Write down a cluster: what --masters, --endpoint, --s3-endpoint, --ca-file and --key-file say
    #[command(override_usage = "cairn profile add [OPTIONS] --masters URL,… <NAME>")]
    Add(AddArgs),
    /// List the profiles, without their secrets
    Ls,
    /// Make one of them the current one
    Use(NameArgs),
    /// Remove one, and its secret with it
    Rm(NameArgs),
}

/// Arguments of `profile add`.
#[derive(Args, Debug)]
pub(crate) struct AddArgs {
    /// Its name, for --profile and cairn://NAME@bucket
    name: String,
    /// Command that prints the access key and the secret, a line each, whenever they are needed; instead of --key-file, whose contents
    /// are copied
    #[arg(long, value_name = "COMMAND", conflicts_with = "key_file")]
    credential_command: Option<String>,
    /// Replace a profile of that name
    #[arg(short, long)]
    force: bool,
    #[command(flatten)]
    dry: DryRun,
}

/// Arguments of the verbs that need only a name.
#[derive(Args, Debug)]
pub(crate) struct NameArgs {
    /// Its name
    name: String,
    #[command(flatten)]
    dry: DryRun,
}

impl ProfileVerb {
    /// The verb's name, as the summary shows it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            ProfileVerb::Add(_) => "profile add",
            ProfileVerb::Ls => "profile ls",
            ProfileVerb::Use(_) => "profile use",
            ProfileVerb::Rm(_) => "profile rm",
        }
    }

    /// Whether nothing is to be changed.
    pub(crate) fn dry_run(&self) -> bool {
        match self {
            ProfileVerb::Add(args) => args.dry.dry_run,
            ProfileVerb::Use(args) | ProfileVerb::Rm(args) => args.dry.dry_run,
            ProfileVerb::Ls => false,
        }
    }
}

/// A profile.
#[derive(Serialize)]
struct ProfileRecord {
    profile: String,
    current: bool,
    masters: Vec<String>,
    endpoint: Option<String>,
    s3_endpoint: Option<String>,
    ca_file: Option<PathBuf>,
    /// Access key; no secret.
    access_key: Option<String>,
    /// Whether a command gives the key. What command is not shown: it may name a secret.
    credential_command: bool,
}

impl ProfileRecord {
    fn new(profile: &str, current: bool, settings: Settings) -> ProfileRecord {
        let Settings { masters, endpoint, s3_endpoint, credential, ca_file } = settings;
        let (access_key, credential_command) = match credential {
            Credential::Known { access, .. } => (Some(access), false),
            Credential::Command(_) => (None, true),
            Credential::None | Credential::File(_) => (None, false),
        };
        let profile = profile.to_owned();
        ProfileRecord { profile, current, masters, endpoint, s3_endpoint, ca_file, access_key, credential_command }
    }
}

impl Record for ProfileRecord {
    const COLUMNS: &'static [Column] =
        &[left("CURRENT"), left("NAME"), left("KEY"), left("MASTERS"), left("HTTP-API"), left("S3"), left("TRUSTS")];

    fn kind(&self) -> &'static str {
        "profile"
    }

    fn cells(&self, _exact: bool) -> Vec<String> {
        let text = |text: &Option<String>| printable(text.as_deref().unwrap_or("-"));
        let key = match (&self.access_key, self.credential_command) {
            (Some(access), _) => printable(access),
            (None, true) => "by command".to_owned(),
            (None, false) => "-".to_owned(),
        };
        let masters = if self.masters.is_empty() { "-".to_owned() } else { printable(&self.masters.join(",")) };
        let trusts = self.ca_file.as_ref().map(|path| path.display().to_string());
        let current = if self.current { "*" } else { "" };
        let name = printable(&self.profile);
        vec![current.to_owned(), name, key, masters, text(&self.endpoint), text(&self.s3_endpoint), text(&trusts)]
    }
}

/// Runs a verb of `profile`.
pub(crate) fn run(session: &Session, verb: ProfileVerb) -> Result<Tally, Failure> {
    let path = ConfigFile::path(variable).ok_or_else(|| {
        Failure::new(Exit::Usage, "there is no place for a configuration").advise("set HOME or XDG_CONFIG_HOME")
    })?;
    let dry_run = verb.dry_run();
    let (done, name) = match verb {
        ProfileVerb::Ls => return list(session, &ConfigFile::read(&path)?),
        ProfileVerb::Add(args) => ("profile_add", add(session, Editing::open(&path, dry_run)?, args)?),
        ProfileVerb::Use(args) => {
            let mut editing = Editing::open(&path, dry_run)?;
            is_there(&editing.config()?, &args.name)?;
            editing.make_current(&args.name);
            editing.save()?;
            ("profile_use", args.name)
        }
        ProfileVerb::Rm(args) => {
            let mut editing = Editing::open(&path, dry_run)?;
            is_there(&editing.config()?, &args.name)?;
            editing.remove(&args.name);
            editing.save()?;
            ("profile_rm", args.name)
        }
    };
    session.out.action(&ActionRecord::of(done, name, dry_run), dry_run)?;
    Ok(Tally::one(0))
}

fn is_there(config: &ConfigFile, name: &str) -> Result<(), Failure> {
    match config.has(name) {
        true => Ok(()),
        false => Err(Failure { exit: Exit::NotFound, ..config.no_profile(name) }),
    }
}

/// Adds a profile; the first one becomes the current one.
fn add(session: &Session, mut editing: Editing, args: AddArgs) -> Result<String, Failure> {
    let config = editing.config()?;
    if config.has(&args.name) && !args.force {
        let failure = Failure::new(Exit::Conflict, "there is a profile of that name").at(&args.name);
        return Err(failure.advise("to replace it: --force; to see it: cairn profile ls"));
    }
    editing.put(&args.name, &new_profile(session.clients.flags(), &args)?);
    if config.is_empty() {
        editing.make_current(&args.name);
    }
    editing.save()?;
    if !args.dry.dry_run {
        session.out.note(&format!("to see whether it works: cairn doctor --profile {}", args.name));
    }
    Ok(args.name)
}

/// What the flags say; the environment does not count: what it says now need not be meant for later.
fn new_profile(flags: &ConnectionArgs, args: &AddArgs) -> Result<NewProfile, Failure> {
    let usage = |message: String| Failure::new(Exit::Usage, message);
    if args.name.is_empty() || !args.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) {
        let failure = usage("a profile cannot have this name".to_owned()).at(&args.name);
        return Err(failure.advise("use letters, digits, dots, hyphens and underscores"));
    }
    let urls = flags.masters.iter().chain(&flags.endpoint).chain(&flags.s3_endpoint);
    if let Some(url) = urls.clone().find(|url| !url.starts_with("http://") && !url.starts_with("https://")) {
        return Err(usage("it is not a URL".to_owned()).at(url).advise("write http://HOST:PORT or https://HOST:PORT"));
    }
    if urls.count() == 0 {
        let failure = usage("it is not said where the cluster is".to_owned());
        return Err(
            failure.advise("use --masters http://HOST:PORT,…; --endpoint and --s3-endpoint say where gateways are")
        );
    }
    let ca_file = flags.ca_file.as_ref().map(|path| whole_path(path)).transpose()?;
    let key = flags.key_file.clone().map(|path| Credential::File(path).load()).transpose()?.flatten();
    Ok(NewProfile {
        masters: flags.masters.clone(),
        endpoint: flags.endpoint.clone(),
        s3_endpoint: flags.s3_endpoint.clone(),
        ca_file,
        credential_command: args.credential_command.clone(),
        key,
    })
}

/// The path from the root, of a file that is there: the profile is used from other folders.
fn whole_path(path: &Path) -> Result<String, Failure> {
    let whole = path.canonicalize().map_err(|error| Failure::local(path, "find it", &error))?;
    let text = whole.to_str().map(str::to_owned);
    text.ok_or_else(|| Failure::new(Exit::Usage, "its name is not UTF-8").at(path.display()))
}

fn list(session: &Session, config: &ConfigFile) -> Result<Tally, Failure> {
    let current = config.current_name(session.clients.flags(), variable);
    let mut tally = Tally::default();
    for name in config.names() {
        match config.named(name) {
            Ok(settings) => {
                session.out.record(&ProfileRecord::new(name, name == current, settings))?;
                tally.count(Did::Done(0));
            }
            Err(failure) => {
                session.out.error(&failure);
                tally.fail(failure.exit);
            }
        }
    }
    Ok(tally)
}
