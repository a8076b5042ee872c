//! Connections to the clusters that one command talks to, made when first needed.

use crate::address::Remote;
use crate::failure::{Exit, Failure};
use crate::profile::{ConfigFile, ConnectionArgs, Settings, variable};
use cairn_client::{Client, ClientConfig};
use cairn_common::seam::TlsTrust;
use std::collections::BTreeMap;

/// Clients by profile; `None` is the current one.
pub(crate) struct Clients {
    flags: ConnectionArgs,
    connected: tokio::sync::Mutex<BTreeMap<Option<String>, Client>>,
}

impl Clients {
    /// Nothing is connected yet.
    pub(crate) fn new(flags: ConnectionArgs) -> Clients {
        Clients { flags, connected: tokio::sync::Mutex::default() }
    }

    /// The flags that say where and as whom.
    pub(crate) fn flags(&self) -> &ConnectionArgs {
        &self.flags
    }

    /// The client for an address.
    pub(crate) async fn of(&self, remote: &Remote) -> Result<Client, Failure> {
        self.get(remote.profile.as_deref()).await
    }

    /// The client of the current profile.
    pub(crate) async fn current(&self) -> Result<Client, Failure> {
        self.get(None).await
    }

    async fn get(&self, profile: Option<&str>) -> Result<Client, Failure> {
        let profile = profile.map(str::to_owned);
        let mut connected = self.connected.lock().await;
        if let Some(client) = connected.get(&profile) {
            return Ok(client.clone());
        }
        let client = connect(&self.settings(profile.as_deref())?).await?;
        connected.insert(profile, client.clone());
        Ok(client)
    }

    /// The certificates by which the current profile trusts servers, in PEM; `None`: the system's.
    pub(crate) fn trusted(&self) -> Result<Option<String>, Failure> {
        let Some(path) = self.settings(None)?.ca_file else { return Ok(None) };
        let read = std::fs::read_to_string(&path);
        read.map(Some).map_err(|error| Failure::local(&path, "read the certificates to trust", &error))
    }

    /// Lets copies beyond the write quorum finish, and ends the sessions.
    pub(crate) async fn close(&self) {
        for client in self.connected.lock().await.values() {
            client.close().await;
        }
    }

    /// The settings of a profile; `None`: the current one.
    pub(crate) fn settings(&self, profile: Option<&str>) -> Result<Settings, Failure> {
        let file = match ConfigFile::path(variable) {
            Some(path) => ConfigFile::read(&path)?,
            None => ConfigFile::default(),
        };
        match profile {
            Some(name) => file.named(name),
            None => file.current(&self.flags, variable),
        }
    }
}

async fn connect(settings: &Settings) -> Result<Client, Failure> {
    if settings.masters.is_empty() {
        let (exit, message) = match settings.endpoint {
            Some(_) => (Exit::Unsupported, "only an endpoint is given, and names and manifests come from the masters"),
            None => (Exit::Usage, "it is not said where the cluster is"),
        };
        let advice = "set CAIRN_MASTERS (http://HOST:PORT of any master), use --masters, or write a profile";
        return Err(Failure::new(exit, message).advise(advice));
    }
    let mut config = ClientConfig::new(settings.masters.iter().map(|url| url.trim_end_matches('/')));
    config.access_key = settings.credential.load()?;
    // An upload that is repeated after it was killed, or of a file that was changed a little, sends what is missing.
    config.find = true;
    if let Some(path) = &settings.ca_file {
        config.tls = TlsTrust::File(path.clone());
    }
    Ok(Client::connect(config).await?)
}
