//! The certificates of a process: those it was given, or those of the cluster's own authority.
//!
//! With `--tls-self-signed` every node gets a certificate by the authority that all masters derive from the cluster's key: a
//! master makes its own, any other node asks the masters once it has an identity. A join token carries the authority's
//! certificate, so a new node knows whom it talks to before it sends anything. What a node was given is kept in its data folder:
//! `tls/ca.pem`, whom it trusts and clients should; `tls/node.json`, its certificate and key in one file, so that a crash never
//! leaves one without the other.
//!
//! Certificates are replaced while the process serves: its own when a third of their life is left, given ones when their files
//! change (looked at every minute, and at once on SIGHUP). Connections that are open stay.

use super::cluster;
use super::identity::{DataFolder, Identity};
use super::settings::Settings;
use anyhow::{Context as _, bail};
use cairn_common::limits::CERTIFICATE_TTL_MS;
use cairn_common::listen::{Authority, Certificate, CertificateSlot, LeafKey, Shutdown, TlsFiles};
use cairn_common::seam::{Clock, Disk as _, HttpTransport, Random, RealDisk, TlsTrust, Transport};
use cairn_common::wire::master::{Caller, Master, MasterCall, MasterReply, MasterRequest};
use serde::{Deserialize, Serialize};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// How often certificates are looked at.
const LOOK: Duration = Duration::from_secs(60);
/// Pause between tries to get a certificate that the process cannot start without.
const RETRY: Duration = Duration::from_secs(1);
const FORMAT: u8 = 1;

/// The certificates that the ports of a process show; `None`: plain HTTP.
#[derive(Clone, Default)]
pub(super) struct Slots {
    /// For nodes and clients.
    pub(super) node: Option<CertificateSlot>,
    /// For S3 and the HTTP API: given files come before the cluster's own.
    pub(super) public: Option<CertificateSlot>,
}

impl Slots {
    /// The slots that the settings ask for; given files are read at once.
    pub(super) fn new(settings: &Settings) -> anyhow::Result<Slots> {
        let own = settings.tls_self_signed.then(CertificateSlot::new);
        let given = match &settings.tls {
            Some(files) => {
                let slot = CertificateSlot::new();
                slot.set(&files.load().context("--tls-cert, --tls-key")?);
                Some(slot)
            }
            None => None,
        };
        Ok(Slots { node: own.clone().or_else(|| given.clone()), public: given.or(own) })
    }
}

/// The network as this process may trust it now: by `tls/ca.pem` and `--ca-file`, else by the system's certificates.
pub(super) fn transport(settings: &Settings, data: &DataFolder) -> anyhow::Result<Arc<dyn Transport>> {
    let mut trusted = Vec::new();
    let own = data.file("tls/ca.pem");
    if RealDisk.exists(&own)? {
        trusted = RealDisk.read(&own).with_context(|| format!("cannot read {}", own.display()))?;
    }
    if let Some(file) = &settings.ca_file {
        let given = RealDisk.read(file).with_context(|| format!("--ca-file {}", file.display()))?;
        trusted.push(b'\n');
        trusted.extend(given);
    }
    let trust = if trusted.is_empty() { TlsTrust::System } else { TlsTrust::Pem(trusted) };
    let transport = HttpTransport::new(&trust).map_err(anyhow::Error::msg).context("trusted certificates")?;
    Ok(Arc::new(transport))
}

/// Keeps the certificates to trust. Everyone may read them.
pub(super) fn store_authority(data: &DataFolder, pem: &str) -> anyhow::Result<()> {
    let path = data.file("tls/ca.pem");
    if RealDisk.exists(&path)? && RealDisk.read(&path)? == pem.as_bytes() {
        return Ok(());
    }
    RealDisk.create_dir_all(&data.file("tls")).context("cannot make the folder `tls`")?;
    RealDisk.replace(&path, pem.as_bytes()).context("cannot write tls/ca.pem")?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).context("cannot share tls/ca.pem")
}

/// Who makes certificates.
enum Issuer {
    Own(Authority),
    Masters(Arc<dyn Master>),
}

/// Certificates by the cluster's own authority, for this node.
pub(super) struct OwnCertificates {
    issuer: Issuer,
    caller: Caller,
    names: Vec<String>,
    slot: CertificateSlot,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

/// A certificate with its key, as they are kept.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    format: u8,
    names: Vec<String>,
    expires_ms: u64,
    certificate: String,
    key: String,
}

impl Stored {
    fn read(data: &DataFolder) -> anyhow::Result<Option<Stored>> {
        let path = data.file("tls/node.json");
        if !RealDisk.exists(&path)? {
            return Ok(None);
        }
        // One that cannot be read is made anew: nothing else depends on it.
        let stored = serde_json::from_slice(&RealDisk.read(&path)?).ok();
        Ok(stored.filter(|stored: &Stored| stored.format == FORMAT))
    }

    fn open(&self) -> Result<Certificate, String> {
        let key = hex::decode(&self.key).map_err(|error| error.to_string())?;
        Certificate::from_pkcs8(self.certificate.as_bytes(), key)
    }
}

impl OwnCertificates {
    /// For a process with `--tls-self-signed`. `masters`: whom to ask, if it is none itself.
    pub(super) fn new(
        settings: &Settings,
        data: &DataFolder,
        identity: &Identity,
        slot: CertificateSlot,
        masters: Arc<dyn Master>,
        (clock, random): (Arc<dyn Clock>, Arc<dyn Random>),
    ) -> anyhow::Result<OwnCertificates> {
        let issuer = match settings.roles.master {
            true => Issuer::Own(Authority::of(&cluster::read_key(data)?)),
            false => Issuer::Masters(masters),
        };
        let (caller, names) = (Caller::Node(identity.node), names(settings));
        Ok(OwnCertificates { issuer, caller, names, slot, clock, random })
    }

    /// Shows the certificate that is kept, or gets one. Waits for the masters as long as it takes.
    pub(super) async fn begin(&self, data: &DataFolder, shutdown: &Shutdown) -> anyhow::Result<()> {
        while !shutdown.has_begun() {
            match self.renew(data).await {
                Ok(()) => return Ok(()),
                Err(error) => tracing::warn!("no certificate yet: {error:#}"),
            }
            self.clock.sleep(RETRY).await;
        }
        bail!("ended before there was a certificate")
    }

    /// Makes sure that the certificate shown is of this authority, for these names, and good for a while.
    async fn renew(&self, data: &DataFolder) -> anyhow::Result<()> {
        if let Issuer::Own(authority) = &self.issuer {
            store_authority(data, &authority.certificate_pem()?)?;
        }
        let now = self.clock.wall_ms();
        if let Some(stored) = Stored::read(data)?
            && stored.names == self.names
            && stored.expires_ms > now + CERTIFICATE_TTL_MS / 3
            && let Ok(certificate) = stored.open()
        {
            self.slot.set(&certificate);
            return Ok(());
        }
        let key = LeafKey::new(self.random.as_ref());
        let certificate = self.issue(data, &key, now).await?;
        let (names, key) = (self.names.clone(), hex::encode(key.pkcs8()));
        let stored = Stored { format: FORMAT, names, expires_ms: now + CERTIFICATE_TTL_MS, certificate, key };
        let opened = stored.open().map_err(anyhow::Error::msg).context("a new certificate")?;
        RealDisk.create_dir_all(&data.file("tls")).context("cannot make the folder `tls`")?;
        let bytes = serde_json::to_vec(&stored).context("a certificate")?;
        RealDisk.replace(&data.file("tls/node.json"), &bytes).context("cannot write tls/node.json")?;
        self.slot.set(&opened);
        tracing::info!(names = ?self.names, "a new TLS certificate");
        Ok(())
    }

    async fn issue(&self, data: &DataFolder, key: &LeafKey, now_ms: u64) -> anyhow::Result<String> {
        match &self.issuer {
            Issuer::Own(authority) => Ok(authority.issue(&self.names, key.public(), now_ms, self.random.as_ref())?),
            Issuer::Masters(masters) => {
                let public_key = bytes::Bytes::copy_from_slice(key.public());
                let request = MasterRequest::Certificate { names: self.names.clone(), public_key };
                match masters.call(&self.caller, MasterCall { actor: None, request }).await? {
                    MasterReply::Certificate { authority, certificate } => {
                        store_authority(data, &authority)?;
                        Ok(certificate)
                    }
                    _ => bail!("the masters answered something else"),
                }
            }
        }
    }
}

/// Replaces certificates for as long as the process serves. Also takes SIGHUP, which would end a process without this.
pub(super) async fn keep_fresh(
    own: Option<&OwnCertificates>,
    files: Option<(&TlsFiles, &CertificateSlot)>,
    data: &DataFolder,
    clock: &dyn Clock,
) -> anyhow::Result<()> {
    let mut hangup = signal(SignalKind::hangup()).context("cannot watch for SIGHUP")?;
    loop {
        tokio::select! {
            biased;
            _ = hangup.recv() => tracing::info!("SIGHUP: reading the certificates again"),
            () = clock.sleep(LOOK) => {}
        }
        if let Some((files, slot)) = files {
            match files.load() {
                Ok(certificate) => slot.set(&certificate),
                Err(error) => tracing::error!(%error, "cannot read the certificate again; the old one stays"),
            }
        }
        if let Some(own) = own
            && let Err(error) = own.renew(data).await
        {
            tracing::warn!("cannot renew the certificate yet; the old one stays: {error:#}");
        }
    }
}

/// The names that others may reach this process under.
fn names(settings: &Settings) -> Vec<String> {
    let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
    let mut add = |name: &str| {
        let name = name.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        if !name.is_empty() && !["0.0.0.0", "::"].contains(&name.as_str()) && !names.contains(&name) {
            names.push(name);
        }
    };
    for address in [&settings.listen, &settings.s3_listen, &settings.api_listen] {
        add(address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host));
    }
    let advertised = settings.advertise.as_deref().and_then(|url| url.parse::<axum::http::Uri>().ok());
    add(advertised.as_ref().and_then(|url| url.host()).unwrap_or_default());
    if let Some(domain) = &settings.s3_domain {
        add(domain);
        add(&format!("*.{domain}"));
    }
    settings.tls_names.iter().for_each(|name| add(name));
    names
}

/// The certificates that a file with a join token carries behind its first line.
pub(super) fn of_token(text: &str) -> Option<&str> {
    text.find("-----BEGIN CERTIFICATE-----").map(|at| &text[at..])
}

/// Whether a file holds certificates, to say early what is wrong with it.
pub(super) fn check_file(path: &Path) -> anyhow::Result<()> {
    HttpTransport::new(&TlsTrust::File(path.to_owned())).map(drop).map_err(anyhow::Error::msg).context("--ca-file")
}
