//! `presign`: a URL with which somebody without a key can fetch or store one file for a time. Made here, without asking anybody:
//! the gateway checks it when it is used.

use crate::address::Remote;
use crate::failure::{Exit, Failure};
use crate::output::{Column, Record, left};
use crate::profile::Settings;
use crate::run::Session;
use crate::sigv4::{EXPIRES_MAX_SECONDS, Endpoint, Request, Signer};
use crate::transfer::Tally;
use crate::units::{moment, parse_age};
use cairn_common::seam::{Clock as _, SystemClock};
use clap::{Args, ValueEnum};
use serde::Serialize;
use std::time::Duration;

/// Arguments of `presign`.
#[derive(Args, Debug)]
pub(crate) struct PresignArgs {
    /// A file; for PUT it need not exist
    #[arg(value_name = "ADDRESS")]
    address: String,
    /// What the URL allows
    #[arg(short = 'X', long, value_enum, ignore_case = true, default_value_t)]
    method: Method,
    /// How long, at most seven days
    #[arg(short, long, value_name = "TIME", value_parser = parse_age, default_value = "1h")]
    expires: Duration,
    #[command(flatten)]
    region: RegionArgs,
}

/// The region that signatures name.
#[derive(Args, Clone, Debug)]
pub(super) struct RegionArgs {
    /// Region that the gateways were started with
    #[arg(long, value_name = "NAME", default_value = "us-east-1")]
    pub(super) region: String,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Method {
    #[default]
    Get,
    Put,
    Head,
    Delete,
}

impl Method {
    fn name(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Put => "PUT",
            Method::Head => "HEAD",
            Method::Delete => "DELETE",
        }
    }
}

#[derive(Serialize)]
struct LinkRecord {
    url: String,
    method: &'static str,
    path: String,
    expires: String,
}

impl Record for LinkRecord {
    const COLUMNS: &'static [Column] = &[left("URL")];

    fn kind(&self) -> &'static str {
        "link"
    }

    fn cells(&self, _exact: bool) -> Vec<String> {
        vec![self.url.clone()]
    }
}

/// The S3 API that the settings name.
pub(super) fn endpoint(settings: &Settings) -> Result<Endpoint, Failure> {
    let missing = || {
        let failure = Failure::new(Exit::Usage, "it is not said where the S3 API is");
        failure.advise("use --s3-endpoint http://HOST:9000, set CAIRN_S3_ENDPOINT, or write s3_endpoint in the profile")
    };
    Endpoint::parse(settings.s3_endpoint.as_deref().ok_or_else(missing)?)
}

/// Whoever signs.
pub(super) fn signer(settings: &Settings, region: &str) -> Result<Signer, Failure> {
    let Some((access, secret)) = settings.credential.load()? else {
        let failure = Failure::new(Exit::Denied, "there is no access key to sign with");
        return Err(failure.advise("use --key-file, set CAIRN_ACCESS_KEY and CAIRN_SECRET_KEY, or write a profile"));
    };
    Ok(Signer { access, secret, region: region.to_owned() })
}

/// Runs `presign`.
pub(crate) fn run(session: &Session, args: &PresignArgs) -> Result<Tally, Failure> {
    let remote = Remote::parse(&args.address)?;
    let path = remote.file()?;
    let expires = args.expires.as_secs();
    if !(1..=EXPIRES_MAX_SECONDS).contains(&expires) {
        return Err(Failure::new(Exit::Usage, "a signed URL is good for one second to seven days"));
    }
    let settings = session.clients.settings(remote.profile.as_deref())?;
    let (endpoint, signer) = (endpoint(&settings)?, signer(&settings, &args.region.region)?);
    let now_ms = SystemClock::new().wall_ms();
    let (method, path) = (args.method.name(), format!("/{path}"));
    let url = signer.presign(&endpoint, &Request { method, path: &path, query: &[], expires }, now_ms);
    let expires = moment(now_ms + expires * 1000);
    session.out.line(&LinkRecord { url, method, path: remote.to_string(), expires })?;
    Ok(Tally::one(0))
}
