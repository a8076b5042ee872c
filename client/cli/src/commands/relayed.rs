//! `put` and `get` through a gateway: see `relay`.

use super::put::{Sending, Unchanged};
use super::records::ActionRecord;
use crate::address::Remote;
use crate::failure::{Exit, Failure};
use crate::relay::{PIECE_BYTES, Receipt, Relay};
use crate::run::Session;
use crate::transfer::Did;
use crate::units::{MTIME, mtime_text};
use bytes::Bytes;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

/// Stores a local file.
pub(super) async fn put(
    session: &Session,
    relay: &Relay,
    sending: &Sending,
    (path, to): (&Path, &Remote),
    record: ActionRecord,
) -> Result<Did, Failure> {
    let local = |error: &io::Error| Failure::local(path, "read it", error);
    let file = File::open(path).map_err(|error| local(&error))?;
    let metadata = file.metadata().map_err(|error| local(&error))?;
    let length = metadata.len();
    let mut meta: Vec<(String, String)> = sending.meta.clone();
    let own_time = metadata.modified().ok().and_then(mtime_text).map(|mtime| (MTIME.to_owned(), mtime));
    meta.extend(own_time.filter(|_| !sending.meta.iter().any(|(name, _)| name == MTIME)));
    let source = Source { session, file: Arc::new(file), path, before: metadata };
    let receipt = match length <= PIECE_BYTES {
        true => whole(relay, sending, to, &meta, &source).await?,
        false => in_pieces(relay, sending, to, &meta, &source).await?,
    };
    let Receipt { etag, version, replicas_durable } = receipt;
    let record = ActionRecord { size: Some(length), etag: Some(etag), version, replicas_durable, ..record };
    session.out.action(&record, false)?;
    Ok(Did::Done(length))
}

fn condition(sending: &Sending) -> Vec<(&'static str, String)> {
    if sending.no_clobber { vec![("if-none-match", "*".to_owned())] } else { Vec::new() }
}

async fn whole(
    relay: &Relay,
    sending: &Sending,
    to: &Remote,
    meta: &[(String, String)],
    source: &Source<'_>,
) -> Result<Receipt, Failure> {
    let body = source.read(0, source.before.len()).await?;
    source.is_unchanged()?;
    let named: Vec<(String, String)> =
        meta.iter().map(|(name, value)| (format!("x-meta-{name}"), value.clone())).collect();
    let mut headers = condition(sending);
    headers.extend(sending.content_type.iter().map(|kind| ("content-type", kind.clone())));
    headers.extend(named.iter().map(|(name, value)| (name.as_str(), value.clone())));
    relay.put(&to.file()?, &headers, body).await
}

async fn in_pieces(
    relay: &Relay,
    sending: &Sending,
    to: &Remote,
    meta: &[(String, String)],
    source: &Source<'_>,
) -> Result<Receipt, Failure> {
    let length = source.before.len();
    let kind = sending.content_type.iter().map(|kind| ("filetype".to_owned(), kind.clone()));
    let metadata: Vec<(String, String)> = kind.chain(meta.iter().cloned()).collect();
    let (place, piece) = relay.begin(&to.file()?, &condition(sending), &metadata, length).await?;
    let mut at = 0;
    loop {
        let body = source.read(at, piece.min(length - at)).await?;
        let sent = body.len() as u64;
        if at + sent == length {
            // The last piece makes the file.
            source.is_unchanged()?;
        }
        let receipt = relay.piece(&place, &condition(sending), (at, body)).await?;
        at += sent;
        if at == length {
            return Ok(receipt);
        }
    }
}

/// The local file.
struct Source<'a> {
    session: &'a Session,
    file: Arc<File>,
    path: &'a Path,
    before: Metadata,
}

impl Source<'_> {
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
