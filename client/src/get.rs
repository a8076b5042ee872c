//! Reading a file: open a version once, then stream its chunks, some ahead, each byte verified.

use crate::client::{Client, Inner, wrong_reply};
use crate::error::GetError;
use crate::fetch::{self, Wanted};
use crate::options::GetOptions;
use bytes::Bytes;
use cairn_common::auth::{OpenTicket, ReadToken};
use cairn_common::chunk::ChunkId;
use cairn_common::file::FileInfo;
use cairn_common::ids::NodeId;
use cairn_common::manifest::{Extent, ManifestHead};
use cairn_common::name::FilePath;
use cairn_common::wire::master::{Content, Found, ManifestPage, MasterReply, MasterRequest, Opened, PlacedEntry};
use futures::stream::{BoxStream, StreamExt as _};
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use tokio_util::task::AbortOnDropHandle;

/// Largest piece read from a chunkserver in this process: stays in the processor's cache between reading, hashing, sending.
const LOCAL_PIECE_BYTES: u32 = 256 << 10;
/// Zeros of a hole, per piece.
const HOLE_PIECE_BYTES: u64 = 64 << 10;

/// What came of opening a file.
#[derive(Debug)]
pub enum GetOutcome {
    /// The file, ready to be read.
    File(FileReader),
    /// The condition says that the caller has this version.
    NotModified(FileInfo),
}

impl GetOutcome {
    /// The file; for callers that gave no condition.
    pub fn into_file(self) -> Result<FileReader, GetError> {
        match self {
            GetOutcome::File(reader) => Ok(reader),
            GetOutcome::NotModified(_) => Err(wrong_reply().into()),
        }
    }
}

/// The bytes of one version, in order: a stream of pieces. Ends after the last byte of the range; an error before that means
/// that the rest is missing. Never mixes two versions. Dropping it stops reading.
pub struct FileReader {
    info: FileInfo,
    head: Option<ManifestHead>,
    range: (u64, u64),
    pieces: BoxStream<'static, Result<Bytes, GetError>>,
}

impl std::fmt::Debug for FileReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileReader").field("info", &self.info).field("range", &self.range).finish_non_exhaustive()
    }
}

impl FileReader {
    /// The version.
    pub fn info(&self) -> &FileInfo {
        &self.info
    }

    /// First byte that will be read, and one past the last.
    pub fn range(&self) -> (u64, u64) {
        self.range
    }

    /// The manifest without its entries; `None` for a file that the masters keep.
    pub fn manifest(&self) -> Option<&ManifestHead> {
        self.head.as_ref()
    }
}

impl futures::Stream for FileReader {
    type Item = Result<Bytes, GetError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.pieces.poll_next_unpin(context)
    }
}

impl Client {
    /// Opens a version of a file, the current one if none is named. `Ok`: reads from then on see this version, even if it is replaced or removed
    /// meanwhile, for at least the read grace (one hour).
    pub async fn get(&self, path: &FilePath, options: GetOptions) -> Result<GetOutcome, GetError> {
        let GetOptions { range, version, condition } = options;
        let request = MasterRequest::Open { path: path.clone(), version, condition, range };
        let MasterReply::Opened(opened) = self.ask(request).await? else { return Err(wrong_reply().into()) };
        let Opened { info, range, content } = match *opened {
            Found::NotModified(info) => return Ok(GetOutcome::NotModified(*info)),
            Found::Here(opened) => opened,
        };
        let path = Arc::new(path.clone());
        let (head, pieces) = match content {
            Content::Unsatisfiable => return Err(GetError::Unsatisfiable { length: info.length }),
            Content::Inline { bytes, hash } => (None, inline(&path, &info, bytes, hash, range)?),
            Content::Chunks { ticket, head, page } => {
                let reading = Reading::new(Arc::clone(&self.inner), path, ticket, range, page);
                (Some(head), reading.stream())
            }
        };
        Ok(GetOutcome::File(FileReader { info, head, range, pieces }))
    }
}

/// P3 holds for bodies that the masters keep as well.
fn inline(
    path: &FilePath,
    info: &FileInfo,
    bytes: Bytes,
    hash: [u8; 32],
    (start, end): (u64, u64),
) -> Result<BoxStream<'static, Result<Bytes, GetError>>, GetError> {
    let intact =
        ChunkId::of(&bytes).0 == hash && bytes.len() as u64 == info.length && start <= end && end <= info.length;
    if !intact {
        return Err(GetError::InlineDamaged { path: path.clone() });
    }
    let piece = bytes.slice(start as usize..end as usize);
    Ok(futures::stream::iter((!piece.is_empty()).then_some(Ok(piece))).boxed())
}

/// Reads a piece in a task of its own, which ends with the future.
///
/// Whoever takes the pieces may stop asking while some are under way, because a client far away takes nothing. What such a read
/// waits for (memory, a thread that reads from a disk) is handed out in turn, and would be handed to a future that nobody
/// polls: everybody behind it would wait for that client.
async fn fetch_apart(inner: Arc<Inner>, wanted: Wanted) -> Result<Bytes, GetError> {
    let task = tokio::spawn(async move {
        let _held = inner.budget.hold((wanted.end - wanted.start) as usize).await;
        fetch::fetch(&inner, &wanted).await
    });
    match AbortOnDropHandle::new(task).await {
        Ok(read) => read,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The process ends, and with it whoever waits.
            Err(_) => std::future::pending().await,
        },
    }
}

/// A piece of the file that is to be yielded next.
enum Piece {
    Chunk(Wanted),
    Hole(u64),
}

/// Nodes that should have a chunk, with the right to read it there; shared by the pieces of one chunk.
type Replicas = Arc<Vec<(NodeId, ReadToken)>>;

/// The way through a manifest.
struct Reading {
    inner: Arc<Inner>,
    path: Arc<FilePath>,
    ticket: Arc<OpenTicket>,
    /// Next byte that no piece was made for yet.
    at: u64,
    end: u64,
    entries: VecDeque<PlacedEntry>,
    /// The rest of the entry that pieces are being made of.
    current: Option<(PlacedEntry, Replicas)>,
    failed: bool,
    _counted: Counted,
}

/// Readers of a process; each reads less far ahead when there are many.
static READERS: AtomicUsize = AtomicUsize::new(0);

struct Counted;

impl Counted {
    fn new() -> Counted {
        READERS.fetch_add(1, Ordering::Relaxed);
        Counted
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        READERS.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Reading {
    fn new(
        inner: Arc<Inner>,
        path: Arc<FilePath>,
        ticket: OpenTicket,
        range: (u64, u64),
        page: ManifestPage,
    ) -> Reading {
        Reading {
            inner,
            path,
            ticket: Arc::new(ticket),
            at: range.0,
            end: range.1,
            entries: page.entries.into(),
            current: None,
            failed: false,
            _counted: Counted::new(),
        }
    }

    fn stream(self) -> BoxStream<'static, Result<Bytes, GetError>> {
        let inner = Arc::clone(&self.inner);
        let ahead = if READERS.load(Ordering::Relaxed) > 64 { 1 } else { inner.parallel };
        let pieces = futures::stream::unfold(self, |mut reading| async move {
            let piece = reading.next().await.transpose()?;
            reading.failed = piece.is_err();
            Some((piece, reading))
        });
        let read = move |piece: Result<Piece, GetError>| {
            let inner = Arc::clone(&inner);
            async move {
                match piece? {
                    Piece::Hole(length) => Ok(Bytes::from(vec![0; length as usize])),
                    Piece::Chunk(wanted) => fetch_apart(inner, wanted).await,
                }
            }
        };
        pieces.map(read).buffered(ahead).boxed()
    }

    /// The next piece; `None` at the end of the range, and after an error.
    async fn next(&mut self) -> Result<Option<Piece>, GetError> {
        if self.at >= self.end || self.failed {
            return Ok(None);
        }
        if self.current.as_ref().is_none_or(|(entry, _)| self.at >= entry.offset + entry.entry.length) {
            self.turn_to_next_entry().await?;
        }
        let Some((placed, replicas)) = &self.current else { return Err(self.damaged()) };
        let entry_end = placed.offset + placed.entry.length;
        if self.at < placed.offset || self.at >= entry_end {
            return Err(self.damaged());
        }
        let left = entry_end.min(self.end) - self.at;
        let piece = match &placed.entry.extent {
            Extent::Hole => Piece::Hole(left.min(HOLE_PIECE_BYTES)),
            // Ranges of other manifests are resolved by the masters.
            Extent::Range { .. } => return Err(self.damaged()),
            Extent::Chunk { address, chunk_length, offset } => {
                let start = u64::from(*offset) + (self.at - placed.offset);
                let local = replicas.iter().any(|(node, _)| self.inner.directory.is_local(*node));
                let mut end = start + left;
                if local {
                    // Pieces end at multiples of their size, so that no group is read twice.
                    end = end.min((start / u64::from(LOCAL_PIECE_BYTES) + 1) * u64::from(LOCAL_PIECE_BYTES));
                }
                if end > u64::from(*chunk_length) {
                    return Err(self.damaged());
                }
                Piece::Chunk(Wanted {
                    path: Arc::clone(&self.path),
                    file_offset: self.at,
                    ticket: Arc::clone(&self.ticket),
                    address: *address,
                    start: start as u32,
                    end: end as u32,
                    replicas: Arc::clone(replicas),
                })
            }
        };
        self.at += match &piece {
            Piece::Hole(length) => *length,
            Piece::Chunk(wanted) => u64::from(wanted.end - wanted.start),
        };
        Ok(Some(piece))
    }

    async fn turn_to_next_entry(&mut self) -> Result<(), GetError> {
        if self.entries.is_empty() {
            let request = MasterRequest::Page { ticket: self.ticket.as_ref().clone(), offset: self.at, end: self.end };
            let MasterReply::Page(page) = self.inner.ask(None, request).await? else {
                return Err(wrong_reply().into());
            };
            self.entries = page.entries.into();
        }
        let mut next = self.entries.pop_front().ok_or_else(|| self.damaged())?;
        let replicas = Arc::new(std::mem::take(&mut next.replicas));
        self.current = Some((next, replicas));
        Ok(())
    }

    fn damaged(&self) -> GetError {
        GetError::ManifestDamaged { path: self.path.as_ref().clone(), offset: self.at }
    }
}
