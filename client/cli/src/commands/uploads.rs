//! `uploads`: multipart uploads that were begun and neither completed nor given up. Their parts take room until then.

use super::records::{ActionRecord, address};
use crate::address::Remote;
use crate::args::DryRun;
use crate::failure::{Exit, Failure};
use crate::output::{Column, Record, left, right};
use crate::run::Session;
use crate::transfer::{Did, Tally, each};
use crate::units::{moment, parse_age, printable, size};
use cairn_client::Client;
use cairn_common::ids::UploadId;
use cairn_common::limits::LIST_MAX_KEYS;
use cairn_common::name::FilePath;
use cairn_common::seam::{Clock as _, SystemClock};
use cairn_common::wire::command::MultipartRef;
use cairn_common::wire::master::UploadInfo;
use clap::{Args, Subcommand};
use futures::TryStreamExt as _;
use futures::stream::{self, Stream, StreamExt as _};
use serde::Serialize;
use std::time::Duration;

/// Verbs of `uploads`.
#[derive(Subcommand, Debug)]
pub(crate) enum UploadsVerb {
    /// List open uploads
    Ls(LsArgs),
    /// Give uploads up and let their parts go
    Abort(AbortArgs),
}

/// Arguments of `uploads ls`.
#[derive(Args, Debug)]
pub(crate) struct LsArgs {
    /// A bucket, or a prefix of keys
    #[arg(value_name = "ADDRESS")]
    address: String,
}

/// Arguments of `uploads abort`.
#[derive(Args, Debug)]
pub(crate) struct AbortArgs {
    /// A bucket, or a prefix of keys
    #[arg(value_name = "ADDRESS")]
    address: String,
    /// Ids of uploads, as `uploads ls` shows them
    #[arg(value_name = "UPLOAD", required_unless_present_any = ["all", "older"])]
    uploads: Vec<String>,
    /// All of them
    #[arg(long, conflicts_with = "uploads")]
    all: bool,
    /// Only those that were begun before this time, such as 7d
    #[arg(long, value_name = "AGE", value_parser = parse_age)]
    older: Option<Duration>,
    #[command(flatten)]
    dry: DryRun,
}

impl UploadsVerb {
    /// The verb's name, as the summary shows it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            UploadsVerb::Ls(_) => "uploads ls",
            UploadsVerb::Abort(_) => "uploads abort",
        }
    }

    /// Whether nothing is to be changed.
    pub(crate) fn dry_run(&self) -> bool {
        matches!(self, UploadsVerb::Abort(args) if args.dry.dry_run)
    }
}

#[derive(Serialize)]
struct UploadRecord {
    path: String,
    upload: String,
    begun: String,
    parts: usize,
    bytes: u64,
}

impl Record for UploadRecord {
    const COLUMNS: &'static [Column] = &[left("BEGUN"), right("PARTS"), right("SIZE"), left("UPLOAD"), left("PATH")];

    fn kind(&self) -> &'static str {
        "upload"
    }

    fn cells(&self, exact: bool) -> Vec<String> {
        let (parts, bytes) = (self.parts.to_string(), size(self.bytes, exact));
        vec![self.begun.clone(), parts, bytes, self.upload.clone(), printable(&self.path)]
    }
}

/// The id as S3 clients see it.
fn id(upload: UploadId) -> String {
    format!("{:016x}", upload.0)
}

/// Runs a verb of `uploads`.
pub(crate) async fn run(session: &Session, verb: UploadsVerb) -> Result<Tally, Failure> {
    match verb {
        UploadsVerb::Ls(args) => list(session, args).await,
        UploadsVerb::Abort(args) => abort(session, args).await,
    }
}

fn open(client: Client, remote: Remote) -> impl Stream<Item = Result<UploadInfo, Failure>> {
    let pages = stream::try_unfold(Some(None), move |after| {
        let (client, remote) = (client.clone(), remote.clone());
        async move {
            let Some(after) = after else { return Ok::<_, Failure>(None) };
            let page = client.uploads(&remote.bucket, &remote.key, None, after, LIST_MAX_KEYS).await;
            let page = page.map_err(|error| Failure::from(error).at(&remote))?;
            Ok(Some((stream::iter(page.uploads.into_iter().map(Ok)), page.next.map(Some))))
        }
    });
    pages.try_flatten()
}

async fn list(session: &Session, args: LsArgs) -> Result<Tally, Failure> {
    let remote = Remote::parse(&args.address)?;
    let client = session.clients.of(&remote).await?;
    let (client, remote) = (&client, &remote);
    each(session, open(client.clone(), remote.clone()), |info: UploadInfo| async move {
        let path = FilePath { bucket: remote.bucket.clone(), key: info.key };
        let shown = address(remote.profile.as_deref(), &path);
        let upload = MultipartRef { path, upload: info.upload };
        let parts = client.parts(&upload, 0, 0).await?.parts;
        let bytes = parts.iter().map(|part| part.length).sum();
        let begun = moment(info.begun.ms());
        session.out.record(&UploadRecord { path: shown, upload: id(info.upload), begun, parts: parts.len(), bytes })?;
        Ok(Did::Done(bytes))
    })
    .await
}

async fn abort(session: &Session, args: AbortArgs) -> Result<Tally, Failure> {
    let remote = Remote::parse(&args.address)?;
    let client = session.clients.of(&remote).await?;
    let now_ms = SystemClock::new().wall_ms();
    let old_enough = |info: &UploadInfo| {
        let age = Duration::from_millis(now_ms.saturating_sub(info.begun.ms()));
        args.older.is_none_or(|older| age >= older)
    };
    let named = |info: &UploadInfo| args.uploads.is_empty() || args.uploads.contains(&id(info.upload));
    let wanted = open(client.clone(), remote.clone())
        .try_filter(|info| futures::future::ready(old_enough(info) && named(info)))
        .collect::<Vec<_>>()
        .await;
    let found = wanted.iter().filter(|info| info.is_ok()).count();
    let (client, remote, dry_run) = (&client, &remote, args.dry.dry_run);
    let mut tally = each(session, stream::iter(wanted), |info: UploadInfo| async move {
        let path = FilePath { bucket: remote.bucket.clone(), key: info.key };
        let shown = address(remote.profile.as_deref(), &path);
        if !dry_run {
            let upload = MultipartRef { path, upload: info.upload };
            client.abort_multipart(&upload).await.map_err(|error| Failure::from(error).at(&shown))?;
        }
        let record = ActionRecord::from("abort", id(info.upload), shown, None, dry_run);
        session.out.action(&record, dry_run)?;
        Ok(Did::Done(0))
    })
    .await?;
    if found < args.uploads.len() {
        let missing = args.uploads.len() - found;
        let failure = Failure::new(Exit::NotFound, format!("{missing} of the uploads that were named are not open"));
        session.out.error(&failure.at(remote).advise("see which there are: cairn uploads ls"));
        tally.fail(Exit::NotFound);
    }
    Ok(tally)
}
