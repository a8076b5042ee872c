//! `put` and `get` through a gateway: see `relay`. A long file goes in pieces, and one whose upload was broken off, even by `kill -9`, goes on
//! where it was.

use super::put::{Sending, Unchanged};
use super::records::ActionRecord;
use super::stat::current;
use crate::address::Remote;
use crate::failure::{Exit, Failure};
use crate::profile::variable;
use crate::relay::kept::{self, Kept, Place};
use crate::relay::{PIECE_BYTES, Progress, Receipt, Relay};
use crate::run::Session;
use crate::transfer::Did;
use crate::units::{MTIME, mtime_text};
use bytes::Bytes;
use cairn_client::Client;
use cairn_common::seam::{Clock as _, SystemClock};
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

/// Stores a local file.
pub(super) async fn put(
    session: &Session,
    (relay, client): (&Relay, &Client),
    sending: &Sending,
    (path, to): (&Path, &Remote),
    record: ActionRecord,
) -> Result<Did, Failure> {
    let local = |error: &io::Error| Failure::local(path, "read it", error);
    let file = File::open(path).map_err(|error| local(&error))?;
    let before = file.metadata().map_err(|error| local(&error))?;
    let mut meta: Vec<(String, String)> = sending.meta.clone();
    let own_time = before.modified().ok().and_then(mtime_text).map(|mtime| (MTIME.to_owned(), mtime));
    meta.extend(own_time.filter(|_| !sending.meta.iter().any(|(name, _)| name == MTIME)));
    let length = before.len();
    let upload = Upload { session, relay, client, sending, to, meta, file: Arc::new(file), path, before };
    let (receipt, found) = match length <= PIECE_BYTES {
        true => (upload.whole().await?, 0),
        false => upload.in_pieces().await?,
    };
    let Receipt { etag, version, replicas_durable } = receipt;
    let record = ActionRecord { size: Some(length), etag: Some(etag), version, replicas_durable, ..record };
    session.out.action(&ActionRecord { found: Some(found), ..record }, false)?;
    Ok(Did::Done(length))
}

/// A local file on its way.
struct Upload<'a> {
    session: &'a Session,
    relay: &'a Relay,
    client: &'a Client,
    sending: &'a Sending,
    to: &'a Remote,
    /// What is stored with it.
    meta: Vec<(String, String)>,
    file: Arc<File>,
    path: &'a Path,
    before: Metadata,
}

impl Upload<'_> {
    /// In one request.
    async fn whole(&self) -> Result<Receipt, Failure> {
        let body = self.read(0, self.before.len()).await?;
        self.is_unchanged()?;
        let named = self.meta.iter().map(|(name, value)| (format!("x-meta-{name}"), value.clone()));
        let named: Vec<(String, String)> = named.collect();
        let mut headers = self.condition();
        headers.extend(self.sending.content_type.iter().map(|kind| ("content-type", kind.clone())));
        headers.extend(named.iter().map(|(name, value)| (name.as_str(), value.clone())));
        self.relay.put(&self.to.file()?, &headers, body).await
    }

    /// In pieces, behind those that an earlier upload of the same file brought there. Returns how many bytes that were, too.
    async fn in_pieces(&self) -> Result<(Receipt, u64), Failure> {
        let length = self.before.len();
        let mut kept = self.kept().await;
        let (Place { place, piece }, found) = match self.goes_on(&mut kept).await? {
            GoesOn::At(place, offset) => (place, offset),
            GoesOn::Done(receipt) => {
                forget(kept);
                self.session.out.bar().inc(length);
                return Ok((receipt, length));
            }
            GoesOn::Nowhere => (self.begin(&mut kept).await?, 0),
        };
        self.session.out.bar().inc(found);
        let mut at = found;
        loop {
            let body = self.read(at, piece.min(length - at)).await?;
            let sent = body.len() as u64;
            if at + sent == length
                && let Err(failure) = self.is_unchanged()
            {
                // No later upload is one of this state of the file.
                self.relay.give_up(&place).await;
                forget(kept);
                return Err(failure);
            }
            let receipt = self.relay.piece(&place, &self.condition(), (at, body)).await?;
            at += sent;
            if at == length {
                forget(kept);
                return Ok((receipt, found));
            }
        }
    }

    async fn begin(&self, kept: &mut Option<Kept>) -> Result<Place, Failure> {
        let kind = self.sending.content_type.iter().map(|kind| ("filetype".to_owned(), kind.clone()));
        let metadata: Vec<(String, String)> = kind.chain(self.meta.iter().cloned()).collect();
        let length = self.before.len();
        let (place, piece) = self.relay.begin(&self.to.file()?, &self.condition(), &metadata, length).await?;
        let place = Place { place, piece };
        if let Some(Err(error)) = kept.as_mut().map(|kept| kept.keep(&place)) {
            tracing::debug!(%error, "where the upload goes on cannot be kept");
        }
        Ok(place)
    }

    /// What an earlier upload of the same file left; `None`: another process is at it, or nothing can be kept here.
    async fn kept(&self) -> Option<Kept> {
        let folder = kept::folder(variable)?;
        let cluster = format!("{:?}", self.client.view().membership().cluster);
        let (address, condition) = (self.to.to_string(), self.sending.no_clobber.to_string());
        let kind = self.sending.content_type.as_deref().unwrap_or_default();
        let mut parts = vec![cluster.as_str(), &address, &condition, kind];
        parts.extend(self.meta.iter().flat_map(|(name, value)| [name.as_str(), value]));
        let name = kept::name(&parts, &self.before);
        let now = UNIX_EPOCH + Duration::from_millis(SystemClock::new().wall_ms());
        let opened = self.session.pool.run(move || Kept::open(&folder, &name, now)).await;
        opened.inspect_err(|error| tracing::debug!(%error, "uploads that are not finished cannot be kept")).ok()?
    }

    async fn goes_on(&self, kept: &mut Option<Kept>) -> Result<GoesOn, Failure> {
        let Some(place) = kept.as_mut().and_then(Kept::place) else { return Ok(GoesOn::Nowhere) };
        Ok(match self.relay.progress(&place.place, &self.condition()).await? {
            Some(Progress::At(offset)) if offset < self.before.len() => GoesOn::At(place, offset),
            Some(Progress::Done(receipt)) if self.is_current(&receipt).await? => GoesOn::Done(receipt),
            _ => GoesOn::Nowhere,
        })
    }

    /// Whether what an upload became is still what is there: its answer may be from long ago.
    async fn is_current(&self, receipt: &Receipt) -> Result<bool, Failure> {
        match current(self.client, &self.to.file()?).await {
            Ok(info) => Ok(receipt.version == Some(info.stamp.0)),
            Err(failure) if failure.exit == Exit::NotFound => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    fn condition(&self) -> Vec<(&'static str, String)> {
        if self.sending.no_clobber { vec![("if-none-match", "*".to_owned())] } else { Vec::new() }
    }

    async fn read(&self, at: u64, length: u64) -> Result<Bytes, Failure> {
        let file = Arc::clone(&self.file);
        let read = move || {
            let mut piece = vec![0; length as usize];
            file.read_exact_at(&mut piece, at).map(|()| Bytes::from(piece))
        };
        let piece = self.session.pool.run(read).await;
        let piece = piece.map_err(|error| Failure::local(self.path, "read it", &error))?;
        self.session.out.bar().inc(length);
        Ok(piece)
    }

    fn is_unchanged(&self) -> Result<(), Failure> {
        let unchanged = Unchanged { path: self.path.to_owned(), before: self.before.clone() };
        unchanged.check().map_err(|reason| {
            Failure::new(Exit::Conflict, reason).advise("nothing was stored; repeat when nobody writes to it")
        })
    }
}

/// How an upload goes on that was begun earlier.
enum GoesOn {
    /// Behind so many bytes.
    At(Place, u64),
    /// It is the file that is there.
    Done(Receipt),
    /// It does not.
    Nowhere,
}

fn forget(kept: Option<Kept>) {
    if let Some(Err(error)) = kept.map(Kept::forget) {
        tracing::debug!(%error, "what was kept of the upload cannot be removed; it is of no use");
    }
}
