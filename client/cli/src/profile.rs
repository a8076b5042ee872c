//! Which cluster, as whom: flags, then the environment, then `$XDG_CONFIG_HOME/cairn/config.toml`.
//!
//! ```toml
//! current = "home"                            # the profile that is meant where none is named; else `default`
//!
//! [profile.home]
//! masters = ["https://node-1:7070", "https://node-2:7070"]
//! s3_endpoint = "https://node-1:9000"         # for presign and s3-config
//! ca_file = "/etc/cairn/ca.pem"
//! credential_command = "pass show cairn"      # prints two lines: access key, secret
//! ```
//!
//! `cairn profile` changes it (`editing`). An address `cairn://NAME@bucket/key` means profile NAME as the file has it, whatever flags and environment say, so that
//! two clusters can meet in one command.

use crate::failure::{Exit, Failure};
use crate::relay::Direct;
use clap::Args;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// The profile that is used when none is named.
const DEFAULT: &str = "default";

/// Connection flags.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ConnectionArgs {
    /// Profile of the configuration file [env: CAIRN_PROFILE]
    #[arg(long, global = true, value_name = "NAME", help_heading = "Connection")]
    pub(crate) profile: Option<String>,
    /// Node URLs of masters, separated by commas; one that answers is enough [env: CAIRN_MASTERS]
    #[arg(long, global = true, value_name = "URL,…", value_delimiter = ',', help_heading = "Connection")]
    pub(crate) masters: Vec<String>,
    /// URL of the HTTP API [env: CAIRN_ENDPOINT]
    #[arg(long, global = true, value_name = "URL", help_heading = "Connection")]
    pub(crate) endpoint: Option<String>,
    /// URL of the S3 API, for signed URLs and settings of other programs [env: CAIRN_S3_ENDPOINT, or AWS_ENDPOINT_URL_S3]
    #[arg(long, global = true, value_name = "URL", help_heading = "Connection")]
    pub(crate) s3_endpoint: Option<String>,
    /// Whether bytes of files go straight to and from the chunkservers, or through the HTTP API
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN", help_heading = "Connection")]
    pub(crate) direct: Direct,
    /// File with the access key and the secret, a line each, as servers write admin.key
    /// [env: CAIRN_ACCESS_KEY and CAIRN_SECRET_KEY, or AWS_…]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Connection")]
    pub(crate) key_file: Option<PathBuf>,
    /// Certificates to trust, in PEM [env: CAIRN_CA_FILE]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Connection")]
    pub(crate) ca_file: Option<PathBuf>,
}

/// The configuration file.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConfigFile {
    /// The profile that is meant where none is named.
    current: Option<String>,
    #[serde(default)]
    profile: BTreeMap<String, Profile>,
}

/// A profile of it.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Profile {
    masters: Vec<String>,
    endpoint: Option<String>,
    s3_endpoint: Option<String>,
    access_key: Option<String>,
    secret_key: Option<String>,
    credential_command: Option<String>,
    ca_file: Option<PathBuf>,
}

/// A profile that is to be written down.
#[derive(Default)]
pub(crate) struct NewProfile {
    /// Base URLs of masters.
    pub(crate) masters: Vec<String>,
    /// URL of the HTTP API.
    pub(crate) endpoint: Option<String>,
    /// URL of the S3 API.
    pub(crate) s3_endpoint: Option<String>,
    /// Certificates to trust, by their path from the root.
    pub(crate) ca_file: Option<String>,
    /// What prints the key.
    pub(crate) credential_command: Option<String>,
    /// Access key and secret.
    pub(crate) key: Option<(String, String)>,
}

/// Where the access key comes from.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Credential {
    /// Nowhere: anonymous.
    None,
    /// It is known.
    Known {
        /// Its id.
        access: String,
        /// Its secret.
        secret: String,
    },
    /// A file of two lines.
    File(PathBuf),
    /// A command that prints two lines.
    Command(String),
}

/// What is needed to connect.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Base URLs of masters.
    pub(crate) masters: Vec<String>,
    /// URL of the HTTP API.
    pub(crate) endpoint: Option<String>,
    /// URL of the S3 API.
    pub(crate) s3_endpoint: Option<String>,
    /// As whom.
    pub(crate) credential: Credential,
    /// Certificates to trust instead of the system's.
    pub(crate) ca_file: Option<PathBuf>,
}

impl ConfigFile {
    /// Where the file is.
    pub(crate) fn path(env: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
        let base = env("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let base = base.or_else(|| Some(PathBuf::from(env("HOME")?).join(".config")))?;
        Some(base.join("cairn/config.toml"))
    }

    /// Reads the file; one that does not exist is empty. A file with secrets must be its owner's alone.
    pub(crate) fn read(path: &Path) -> Result<ConfigFile, Failure> {
        let text = match std::fs::read_to_string(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(ConfigFile::default()),
            Err(error) => return Err(Failure::local(path, "read the configuration", &error)),
            Ok(text) => text,
        };
        let file = ConfigFile::parse(&text).map_err(|failure| failure.at(path.display()))?;
        if file.profile.values().any(|profile| profile.secret_key.is_some()) {
            owned_by_one(path)?;
        }
        Ok(file)
    }

    /// Reads the text of such a file. The error quotes nothing of it but names of keys.
    pub(crate) fn parse(text: &str) -> Result<ConfigFile, Failure> {
        // The error names line and key, but must not quote the line: it may hold a secret.
        toml::from_str(text).map_err(|error: toml::de::Error| {
            let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
            Failure::new(Exit::Usage, format!("line {line}: {}", error.message()))
        })
    }

    /// The settings of the profile `named` in an address.
    pub(crate) fn named(&self, named: &str) -> Result<Settings, Failure> {
        let profile = self.profile.get(named).ok_or_else(|| self.no_profile(named))?;
        let credential = profile.credential(named)?.unwrap_or(Credential::None);
        let Profile { masters, endpoint, s3_endpoint, ca_file, .. } = profile.clone();
        Ok(Settings { masters, endpoint, s3_endpoint, credential, ca_file })
    }

    /// The settings of the current profile: flags, then `env`, then this file.
    pub(crate) fn current(
        &self,
        flags: &ConnectionArgs,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Settings, Failure> {
        let chosen = self.chosen(flags, &env);
        let name = chosen.as_deref().unwrap_or(DEFAULT);
        let profile = match self.profile.get(name) {
            Some(profile) => profile.clone(),
            None if chosen.is_none() => Profile::default(),
            None => return Err(self.no_profile(name)),
        };
        let listed =
            |text: String| text.split(',').map(|url| url.trim().to_owned()).filter(|url| !url.is_empty()).collect();
        let masters: Vec<String> = [flags.masters.clone(), env("CAIRN_MASTERS").map(listed).unwrap_or_default()]
            .into_iter()
            .find(|list| !list.is_empty())
            .unwrap_or_else(|| profile.masters.clone());
        let credential = match &flags.key_file {
            Some(file) => Credential::File(file.clone()),
            None => match pair(&env, "CAIRN_ACCESS_KEY", "CAIRN_SECRET_KEY")? {
                Some(credential) => credential,
                None => match profile.credential(name)? {
                    Some(credential) => credential,
                    None => pair(&env, "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")?.unwrap_or(Credential::None),
                },
            },
        };
        let endpoint = flags.endpoint.clone().or_else(|| env("CAIRN_ENDPOINT")).or(profile.endpoint);
        let s3_endpoint = flags.s3_endpoint.clone().or_else(|| env("CAIRN_S3_ENDPOINT")).or(profile.s3_endpoint);
        let s3_endpoint = s3_endpoint.or_else(|| env("AWS_ENDPOINT_URL_S3")).or_else(|| env("AWS_ENDPOINT_URL"));
        let ca_file = flags.ca_file.clone().or_else(|| env("CAIRN_CA_FILE").map(PathBuf::from)).or(profile.ca_file);
        Ok(Settings { masters, endpoint, s3_endpoint, credential, ca_file })
    }

    fn chosen(&self, flags: &ConnectionArgs, env: impl Fn(&str) -> Option<String>) -> Option<String> {
        flags.profile.clone().or_else(|| env("CAIRN_PROFILE")).or_else(|| self.current.clone())
    }

    /// The name of the current profile: by flag, environment, this file.
    pub(crate) fn current_name(&self, flags: &ConnectionArgs, env: impl Fn(&str) -> Option<String>) -> String {
        self.chosen(flags, env).unwrap_or_else(|| DEFAULT.to_owned())
    }

    /// The names of all profiles, in order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.profile.keys().map(String::as_str)
    }

    /// Whether there is a profile of that name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.profile.contains_key(name)
    }

    /// Whether there is no profile.
    pub(crate) fn is_empty(&self) -> bool {
        self.profile.is_empty()
    }

    /// The failure of naming a profile that is not there.
    pub(crate) fn no_profile(&self, name: &str) -> Failure {
        let known = self.profile.keys().cloned().collect::<Vec<_>>().join(", ");
        let advice = if known.is_empty() {
            "there is none yet: cairn profile add".to_owned()
        } else {
            format!("there are: {known}")
        };
        Failure::new(Exit::Usage, format!("there is no profile {name:?} in the configuration")).advise(advice)
    }
}

/// A variable of the environment; an empty one counts as none.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

impl Profile {
    fn credential(&self, name: &str) -> Result<Option<Credential>, Failure> {
        match (&self.access_key, &self.secret_key, &self.credential_command) {
            (None, None, None) => Ok(None),
            (None, None, Some(command)) => Ok(Some(Credential::Command(command.clone()))),
            (Some(access), Some(secret), None) => {
                Ok(Some(Credential::Known { access: access.clone(), secret: secret.clone() }))
            }
            _ => {
                let message = format!("profile {name:?} needs access_key and secret_key, or credential_command alone");
                Err(Failure::new(Exit::Usage, message))
            }
        }
    }
}

fn pair(env: &impl Fn(&str) -> Option<String>, access: &str, secret: &str) -> Result<Option<Credential>, Failure> {
    match (env(access), env(secret)) {
        (None, None) => Ok(None),
        (Some(access), Some(secret)) => Ok(Some(Credential::Known { access, secret })),
        (Some(_), None) => Err(Failure::new(Exit::Usage, format!("{access} is set without {secret}"))),
        (None, Some(_)) => Err(Failure::new(Exit::Usage, format!("{secret} is set without {access}"))),
    }
}

impl Credential {
    /// Access key and secret; reads the file or runs the command.
    pub(crate) fn load(&self) -> Result<Option<(String, String)>, Failure> {
        match self {
            Credential::None => Ok(None),
            Credential::Known { access, secret } => Ok(Some((access.clone(), secret.clone()))),
            Credential::File(path) => {
                owned_by_one(path)?;
                let text = std::fs::read_to_string(path);
                let text = text.map_err(|error| Failure::local(path, "read the key", &error))?;
                two_lines(&text).map(Some).map_err(|failure| failure.at(path.display()))
            }
            Credential::Command(command) => {
                let ran = std::process::Command::new("sh")
                    .arg("-c")
                    .arg(command)
                    .stderr(std::process::Stdio::inherit())
                    .output();
                let failed = |reason: String| Failure::new(Exit::Denied, format!("credential_command: {reason}"));
                let output = ran.map_err(|error| failed(error.to_string()))?;
                if !output.status.success() {
                    return Err(failed(output.status.to_string()));
                }
                let text =
                    String::from_utf8(output.stdout).map_err(|_| failed("its output is not UTF-8".to_owned()))?;
                two_lines(&text).map(Some)
            }
        }
    }
}

fn two_lines(text: &str) -> Result<(String, String), Failure> {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    match lines[..] {
        [access, secret] => Ok((access.to_owned(), secret.to_owned())),
        _ => Err(Failure::new(Exit::Denied, "a key is two lines: access key, secret")),
    }
}

/// Refuses a file with a secret that others can read.
fn owned_by_one(path: &Path) -> Result<(), Failure> {
    let metadata = std::fs::metadata(path).map_err(|error| Failure::local(path, "look at it", &error))?;
    if metadata.permissions().mode() & 0o077 == 0 {
        return Ok(());
    }
    let failure = Failure::new(Exit::Usage, "it holds a secret, and others may read it").at(path.display());
    Err(failure.advise(format!("chmod 600 {}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
        [profile.default]
        masters = ["http://a:1"]
        credential_command = "echo"
        [profile.work]
        masters = ["http://w:1", "http://w:2"]
        access_key = "WORK"
        secret_key = "work secret"
        ca_file = "/ca.pem"
    "#;

    fn env<'a>(list: &'a [(&str, &str)]) -> impl Fn(&str) -> Option<String> + 'a {
        move |name| list.iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_string())
    }

    fn known(access: &str, secret: &str) -> Credential {
        Credential::Known { access: access.to_owned(), secret: secret.to_owned() }
    }

    #[test]
    fn flags_come_before_the_environment_and_that_before_the_file() {
        let file = ConfigFile::parse(FILE).unwrap();
        let none = ConnectionArgs::default();
        let plain = file.current(&none, env(&[])).unwrap();
        assert_eq!(plain.masters, ["http://a:1"]);
        assert!(plain.credential == Credential::Command("echo".to_owned()));
        let list = [
            ("CAIRN_MASTERS", "http://e:1, http://e:2,"),
            ("CAIRN_ACCESS_KEY", "E"),
            ("CAIRN_SECRET_KEY", "e"),
            ("CAIRN_CA_FILE", "/e.pem"),
        ];
        let by_env = file.current(&none, env(&list)).unwrap();
        assert_eq!(by_env.masters, ["http://e:1", "http://e:2"]);
        assert!(by_env.credential == known("E", "e"));
        let flags = ConnectionArgs {
            masters: vec!["http://f:1".to_owned()],
            key_file: Some("/key".into()),
            ca_file: Some("/f.pem".into()),
            ..none.clone()
        };
        let by_flags = file.current(&flags, env(&list)).unwrap();
        assert_eq!(by_flags.masters, ["http://f:1"]);
        assert_eq!(by_flags.ca_file, Some("/f.pem".into()));
        assert!(by_flags.credential == Credential::File("/key".into()));
    }

    #[test]
    fn profiles_are_chosen_by_name_and_an_address_ignores_the_environment() {
        let file = ConfigFile::parse(FILE).unwrap();
        let none = ConnectionArgs::default();
        let work = file.current(&none, env(&[("CAIRN_PROFILE", "work")])).unwrap();
        assert!(work.credential == known("WORK", "work secret") && work.masters.len() == 2);
        assert!(file.named("work").unwrap() == work);
        assert_eq!(file.named("other").err().unwrap().exit, Exit::Usage);
        assert_eq!(file.current(&none, env(&[("CAIRN_PROFILE", "x")])).err().unwrap().exit, Exit::Usage);
        assert!(ConfigFile::default().current(&none, env(&[])).is_ok());
        // The file says which is meant, unless somebody else does.
        let chosen = ConfigFile { current: Some("work".to_owned()), ..file.clone() };
        assert!(chosen.current(&none, env(&[])).unwrap() == work);
        assert_eq!(chosen.current(&none, env(&[("CAIRN_PROFILE", "default")])).unwrap().masters, ["http://a:1"]);
        assert_eq!(
            (chosen.current_name(&none, env(&[])), file.current_name(&none, env(&[]))),
            ("work".into(), "default".into())
        );
    }

    #[test]
    fn the_variables_of_aws_are_the_last_resort() {
        let aws = [("AWS_ACCESS_KEY_ID", "A"), ("AWS_SECRET_ACCESS_KEY", "a")];
        let none = ConnectionArgs::default();
        assert!(ConfigFile::default().current(&none, env(&aws)).unwrap().credential == known("A", "a"));
        let file = ConfigFile::parse(FILE).unwrap();
        assert!(file.current(&none, env(&aws)).unwrap().credential == Credential::Command("echo".to_owned()));
        assert_eq!(ConfigFile::default().current(&none, env(&aws[..1])).err().unwrap().exit, Exit::Usage);
    }

    #[test]
    fn what_the_file_should_not_say_is_refused_without_quoting_it() {
        for (bad, line) in [
            ("[profile.a]\nsecret_kee = \"hunter2\"", "line 2"),
            ("[profil.a]", "line 1"),
            ("x = 1", "line 1"),
            ("[profile.a]\nsecret_key = hunter2", "line 2"),
        ] {
            let failure = ConfigFile::parse(bad).err().unwrap();
            assert!(failure.message.starts_with(line) && !failure.message.contains("hunter2"), "{failure}");
        }
        let half = ConfigFile::parse("[profile.a]\naccess_key = \"A\"").unwrap();
        assert_eq!(half.named("a").err().unwrap().exit, Exit::Usage);
    }

    #[test]
    fn keys_come_from_private_files_of_two_lines_or_a_command() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, "ACCESS\nsecret\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let both = Some(("ACCESS".to_owned(), "secret".to_owned()));
        assert_eq!(Credential::File(path.clone()).load(), Ok(both.clone()));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(Credential::File(path.clone()).load().unwrap_err().exit, Exit::Usage);
        assert_eq!(Credential::Command(format!("cat {}", path.display())).load(), Ok(both));
        assert_eq!(Credential::Command("false".to_owned()).load().unwrap_err().exit, Exit::Denied);
        assert_eq!(Credential::Command("echo one".to_owned()).load().unwrap_err().exit, Exit::Denied);
    }

    #[test]
    fn the_file_is_where_xdg_says() {
        let at = |list: &[(&str, &str)]| ConfigFile::path(env(list));
        assert_eq!(at(&[("HOME", "/h")]), Some("/h/.config/cairn/config.toml".into()));
        assert_eq!(at(&[("HOME", "/h"), ("XDG_CONFIG_HOME", "/x")]), Some("/x/cairn/config.toml".into()));
        assert_eq!(at(&[("HOME", "/h"), ("XDG_CONFIG_HOME", "relative")]), Some("/h/.config/cairn/config.toml".into()));
        assert_eq!(at(&[]), None);
    }
}
