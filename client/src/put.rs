//! Storing a file: cut, hash, write chunks to chunkservers, commit.
//!
//! The stages run at once: while some chunks are written, the next is hashed and the body is read on. What waits between them
//! is bounded by the client's memory budget. Small bodies go to the masters whole, with the commit itself.

use crate::budget::Held;
use crate::client::{Client, Inner, wrong_reply};
use crate::error::PutError;
use crate::options::{Inspector, Progress, PutOptions};
use crate::replicas::{self, Target, Written};
use crate::source::ByteSource;
use bytes::{Bytes, BytesMut};
use cairn_common::chunk::{ChunkAddress, Chunking, Splitter, VerifiedChunk};
use cairn_common::file::{Attributes, Checksum, S3Tag};
use cairn_common::ids::{Domain, UploadId};
use cairn_common::limits::{FILE_MAX_BYTES, INLINE_MAX_BYTES, SEGMENT_ENTRIES};
use cairn_common::manifest::{Entry, Root, RootHasher};
use cairn_common::name::{BucketName, FilePath};
use cairn_common::wire::command::{
    ChunkReceipts, Command, CommitFile, Committed, Done, NewChunks, NewContent, Refusal,
};
use cairn_common::wire::master::{MasterError, MasterReply, MasterRequest};
use futures::StreamExt as _;
use futures::stream::FuturesOrdered;
use md5::{Digest as _, Md5};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// How often receipts that no longer count are renewed before an upload is given up.
const RECEIPT_RENEWALS: usize = 3;

impl Client {
    /// Stores `body` at `path`. `Ok`: every later reader sees it, each chunk is durable on a write quorum of chunkservers and
    /// the metadata on a majority of masters (P1, P2). `Err` of kind `Unknown`: the commit was sent and no answer came; the
    /// new version may or may not exist. Every other error, and dropping the future before it commits: nothing is visible.
    pub async fn put(
        &self,
        path: &FilePath,
        body: impl ByteSource,
        options: PutOptions,
    ) -> Result<Committed, PutError> {
        let PutOptions { attributes, condition, chunking, length, md5, inspector, progress } = options;
        let reading = Reading { chunking, length, md5, inspector, progress, may_inline: true };
        let stored = self.store(&path.bucket, body, reading).await?;
        let attributes = Attributes {
            checksums: attributes.checksums.into_iter().chain(stored.checksums.clone()).collect(),
            ..attributes
        };
        let tag = stored.md5.map_or(S3Tag::Root, S3Tag::Md5);
        let (path, root, length) = (path.clone(), stored.root, stored.length);
        let commit = |content| {
            let (path, attributes, condition) = (path.clone(), attributes.clone(), condition.clone());
            Command::CommitFile(Box::new(CommitFile { path, content, root, length, tag, attributes, condition }))
        };
        match self.commit_stored(&path.bucket, stored, commit).await? {
            Done::Committed(committed) => Ok(committed),
            _ => Err(wrong_reply().into()),
        }
    }

    /// Reads a body to its end and brings it to where a commit can name it.
    pub(crate) async fn store(
        &self,
        bucket: &BucketName,
        mut body: impl ByteSource,
        reading: Reading,
    ) -> Result<Stored, PutError> {
        let Reading { chunking, length: stated, md5, inspector, progress, may_inline } = reading;
        let inline = Chunking::Fixed { bytes: INLINE_MAX_BYTES as u32 };
        let mut intake = Intake::new(&mut body, stated);
        // Enough of the body to know whether it is small.
        let head = intake.at_most(INLINE_MAX_BYTES as usize + 1).await?;
        let digest = BodyDigest { md5: md5.then(Md5::new), inspector };
        if may_inline && head.len() as u64 <= INLINE_MAX_BYTES {
            return self.store_inline(head.freeze(), inline, digest, progress.as_deref()).await;
        }
        let chunking = chunking.unwrap_or(Chunking::CONTENT);
        let target = self.target(bucket).await?;
        let mut upload = Upload {
            client: self,
            target: target.0,
            chunking,
            staging: None,
            root: RootHasher::new(),
            segment: Vec::new(),
        };
        let mut cutter = Cutter::new(self, target.1, chunking, intake, digest, head);
        let mut writing = FuturesOrdered::new();
        loop {
            let cutting = cutter.next();
            let mut cutting = std::pin::pin!(cutting);
            let cut = loop {
                let may_cut = writing.len() < self.inner.parallel;
                let written: Result<Written, PutError> = tokio::select! {
                    biased;
                    Some(written) = writing.next() => written,
                    cut = &mut cutting, if may_cut => break cut?,
                };
                upload.took(written?, progress.as_deref()).await?;
            };
            let Some((chunk, held)) = cut else { break };
            writing.push_back(write_cut(Arc::clone(&self.inner), upload.target.clone(), chunk, held));
        }
        while let Some(written) = writing.next().await {
            upload.took(written?, progress.as_deref()).await?;
        }
        let (md5, checksums) = cutter.digest()?;
        Ok(upload.finish(md5, checksums))
    }

    async fn store_inline(
        &self,
        bytes: Bytes,
        chunking: Chunking,
        mut digest: BodyDigest,
        progress: Option<&dyn Progress>,
    ) -> Result<Stored, PutError> {
        digest.update(&bytes);
        let (md5, checksums) = digest.finish()?;
        // The root of a small file is that of its one chunk, so that it compares equal to the same bytes kept as a chunk.
        let address = ChunkAddress::of(Domain(0), &bytes);
        let entries = if bytes.is_empty() { Vec::new() } else { vec![Entry::chunk(address, bytes.len() as u32)] };
        if let Some(progress) = progress {
            progress.advanced(bytes.len() as u64);
        }
        let (root, length) = (RootHasher::of(&entries), bytes.len() as u64);
        Ok(Stored { content: StoredContent::Inline(bytes), chunking, root, length, md5, checksums })
    }

    /// Where and how often chunks of a bucket are to be written, and in which domain.
    pub(crate) async fn target(&self, bucket: &BucketName) -> Result<(Target, Domain), MasterError> {
        let request = MasterRequest::Bucket { name: bucket.clone() };
        let MasterReply::Bucket(info) = self.ask(request).await? else { return Err(wrong_reply()) };
        let target = Target { bucket: bucket.clone(), actor: self.actor.clone(), replicas: info.replicas };
        Ok((target, info.tenant.domain()))
    }

    /// Commits what was stored. Receipts that do not count any more (a volume went, a node or a window came to its end) are
    /// renewed and the commit is tried again.
    pub(crate) async fn commit_stored(
        &self,
        bucket: &BucketName,
        stored: Stored,
        command: impl Fn(NewContent) -> Command,
    ) -> Result<Done, PutError> {
        let (staging, entries, mut written) = match stored.content {
            StoredContent::Inline(bytes) => return Ok(self.write(command(NewContent::Inline(bytes))).await?),
            StoredContent::Chunks { staging, entries, written } => (staging, entries, written),
        };
        let mut renewals = 0;
        loop {
            let receipts = receipts_of(&written);
            let chunks = NewChunks { staging, chunking: stored.chunking, tail: entries.clone(), receipts };
            let refusal = match self.write(command(NewContent::Chunks(chunks))).await {
                Err(MasterError::Refused(refusal)) if renewals < RECEIPT_RENEWALS => refusal,
                result => return Ok(result?),
            };
            renewals += 1;
            self.renew(bucket, &mut written, refusal).await?;
        }
    }

    /// Gets new receipts for the chunks that `refusal` names; hands any other refusal on.
    async fn renew(&self, bucket: &BucketName, written: &mut [Written], refusal: Refusal) -> Result<(), PutError> {
        let short: Option<BTreeSet<ChunkAddress>> = match refusal {
            Refusal::ShortOfQuorum { chunks } => Some(chunks.into_iter().collect()),
            Refusal::WindowEnded => None,
            other => return Err(MasterError::Refused(other).into()),
        };
        self.inner.refresh().await?;
        // The number of copies may have risen since the upload began.
        let (target, _) = self.target(bucket).await?;
        for chunk in written.iter_mut() {
            if short.as_ref().is_none_or(|short| short.contains(&chunk.address)) {
                *chunk = replicas::touch(&self.inner, &target, chunk.address, chunk.length).await?;
            }
        }
        Ok(())
    }
}

/// Writes a chunk. A function and not a closure: that its future may be sent to another thread can be seen.
async fn write_cut(
    inner: Arc<Inner>,
    target: Target,
    chunk: VerifiedChunk,
    held: Arc<Held>,
) -> Result<Written, PutError> {
    replicas::write(&inner, &target, chunk, held).await
}

/// How a body is to be read.
pub(crate) struct Reading {
    /// Whether a small body goes to the masters as it is. Not that of a part: manifests refer to chunks only.
    pub(crate) may_inline: bool,
    pub(crate) chunking: Option<Chunking>,
    pub(crate) length: Option<u64>,
    pub(crate) md5: bool,
    pub(crate) inspector: Option<Box<dyn Inspector>>,
    pub(crate) progress: Option<Arc<dyn Progress>>,
}

/// A body that is durable and not yet visible.
pub(crate) struct Stored {
    content: StoredContent,
    chunking: Chunking,
    pub(crate) root: Root,
    pub(crate) length: u64,
    pub(crate) md5: Option<[u8; 16]>,
    pub(crate) checksums: BTreeMap<String, Checksum>,
}

enum StoredContent {
    Inline(Bytes),
    Chunks { staging: Option<UploadId>, entries: Vec<Entry>, written: Vec<Written> },
}

/// One receipt list for each different chunk.
fn receipts_of(written: &[Written]) -> Vec<ChunkReceipts> {
    let mut seen = BTreeSet::new();
    written.iter().filter(|chunk| seen.insert(chunk.address)).map(Written::receipts).collect()
}

/// Digests of the whole body, beside the hashes of its chunks.
struct BodyDigest {
    md5: Option<Md5>,
    inspector: Option<Box<dyn Inspector>>,
}

type Digests = (Option<[u8; 16]>, BTreeMap<String, Checksum>);

impl BodyDigest {
    fn update(&mut self, bytes: &[u8]) {
        if let Some(md5) = &mut self.md5 {
            md5.update(bytes);
        }
        if let Some(inspector) = &mut self.inspector {
            inspector.update(bytes);
        }
    }

    fn finish(self) -> Result<Digests, PutError> {
        let md5 = self.md5.map(|md5| md5.finalize().into());
        let checksums = self.inspector.map(|inspector| inspector.finish(md5)).transpose();
        Ok((md5, checksums.map_err(PutError::Refused)?.unwrap_or_default()))
    }
}

/// The body as it is read, held to its stated length.
struct Intake<'a, S> {
    source: &'a mut S,
    stated: Option<u64>,
    found: u64,
    ended: bool,
}

impl<'a, S: ByteSource> Intake<'a, S> {
    fn new(source: &'a mut S, stated: Option<u64>) -> Intake<'a, S> {
        Intake { source, stated, found: 0, ended: false }
    }

    async fn piece(&mut self) -> Result<Option<Bytes>, PutError> {
        if self.ended {
            return Ok(None);
        }
        let piece = self.source.next().await.map_err(PutError::Source)?;
        self.ended = piece.is_none();
        self.found += piece.as_ref().map_or(0, |piece| piece.len() as u64);
        let wrong = self.stated.filter(|stated| self.found > *stated || (self.ended && self.found < *stated));
        if let Some(stated) = wrong {
            return Err(PutError::Length { stated, found: self.found });
        }
        if self.found > FILE_MAX_BYTES {
            return Err(PutError::TooLarge);
        }
        Ok(piece)
    }

    /// Bytes until there are `enough` or the body ends. May return more than `enough`, by one piece.
    async fn at_most(&mut self, enough: usize) -> Result<BytesMut, PutError> {
        let mut head = BytesMut::new();
        while head.len() < enough
            && let Some(piece) = self.piece().await?
        {
            head.extend_from_slice(&piece);
        }
        Ok(head)
    }
}

/// Cuts a body into hashed chunks, on computing threads.
struct Cutter<'a, S> {
    client: &'a Client,
    intake: Intake<'a, S>,
    domain: Domain,
    lookahead: usize,
    /// Bytes that are read and not cut, with their memory.
    read: Vec<Bytes>,
    ready: VecDeque<(VerifiedChunk, Arc<Held>)>,
    /// `None` only while a computing thread has it.
    work: Option<Work>,
}

struct Work {
    splitter: Splitter,
    digest: BodyDigest,
}

impl<'a, S: ByteSource> Cutter<'a, S> {
    fn new(
        client: &'a Client,
        domain: Domain,
        chunking: Chunking,
        intake: Intake<'a, S>,
        digest: BodyDigest,
        head: BytesMut,
    ) -> Cutter<'a, S> {
        let lookahead = match chunking {
            Chunking::Fixed { bytes } => bytes as usize,
            Chunking::FastCdc2020 { max, .. } => max as usize,
        };
        let work = Some(Work { splitter: Splitter::new(chunking), digest });
        Cutter { client, intake, domain, lookahead, read: vec![head.freeze()], ready: VecDeque::new(), work }
    }

    /// The next chunk with the memory it holds.
    async fn next(&mut self) -> Result<Option<(VerifiedChunk, Arc<Held>)>, PutError> {
        while self.ready.is_empty() {
            // Memory for what is read now; the chunks that are cut from it share it.
            let held = Arc::new(self.client.inner.budget.hold(self.lookahead).await);
            let mut bytes: usize = self.read.iter().map(Bytes::len).sum();
            while bytes < self.lookahead
                && let Some(piece) = self.intake.piece().await?
            {
                bytes += piece.len();
                self.read.push(piece);
            }
            if bytes == 0 && self.work.as_ref().is_none_or(|work| work.splitter.buffered() == 0) {
                return Ok(None);
            }
            self.cut(&held).await;
        }
        Ok(self.ready.pop_front())
    }

    async fn cut(&mut self, held: &Arc<Held>) {
        let mut work = self.work.take().expect("given back by every cut");
        let (pieces, ended, domain) = (std::mem::take(&mut self.read), self.intake.ended, self.domain);
        let cut = move || {
            let mut chunks = Vec::new();
            for piece in pieces {
                work.splitter.push(&piece);
            }
            while let Some(bytes) =
                work.splitter.next_chunk().or_else(|| if ended { work.splitter.finish() } else { None })
            {
                let digest = &mut work.digest;
                chunks.push(VerifiedChunk::hash(domain, bytes, |group| digest.update(group)));
            }
            (work, chunks)
        };
        let (work, chunks) = self.client.inner.pool.run(cut).await;
        self.work = Some(work);
        self.ready.extend(chunks.into_iter().map(|chunk| (chunk, Arc::clone(held))));
    }

    fn digest(self) -> Result<Digests, PutError> {
        self.work.expect("given back by every cut").digest.finish()
    }
}

/// Chunks that are written, on their way to a commit.
struct Upload<'a> {
    client: &'a Client,
    target: Target,
    chunking: Chunking,
    staging: Option<UploadId>,
    root: RootHasher,
    /// Fewer than a full segment.
    segment: Vec<Written>,
}

impl Upload<'_> {
    async fn took(&mut self, written: Written, progress: Option<&dyn Progress>) -> Result<(), PutError> {
        let (length, found) = (u64::from(written.length), written.found);
        self.push(written).await?;
        if let Some(progress) = progress {
            progress.advanced(length);
            if found {
                progress.found(length);
            }
        }
        Ok(())
    }

    async fn push(&mut self, written: Written) -> Result<(), PutError> {
        self.segment.push(written);
        if self.segment.len() < SEGMENT_ENTRIES {
            return Ok(());
        }
        let staging = match self.staging {
            Some(staging) => staging,
            None => {
                let command = Command::BeginStaging { bucket: self.target.bucket.clone(), chunking: self.chunking };
                let Done::Upload(staging) = self.client.write(command).await? else { return Err(wrong_reply().into()) };
                *self.staging.insert(staging)
            }
        };
        let index = (self.root.entries() / SEGMENT_ENTRIES as u64) as u32;
        let entries = entries_of(&self.segment);
        let mut renewals = 0;
        loop {
            let receipts = receipts_of(&self.segment);
            let command = Command::AppendSegment { staging, index, entries: entries.clone(), receipts };
            let refusal = match self.client.write(command).await {
                Ok(Done::Appended { .. }) => break,
                Ok(_) => return Err(wrong_reply().into()),
                Err(MasterError::Refused(refusal)) if renewals < RECEIPT_RENEWALS => refusal,
                Err(error) => return Err(error.into()),
            };
            renewals += 1;
            self.client.renew(&self.target.bucket, &mut self.segment, refusal).await?;
        }
        self.root.segment(&entries);
        self.segment.clear();
        Ok(())
    }

    fn finish(self, md5: Option<[u8; 16]>, checksums: BTreeMap<String, Checksum>) -> Stored {
        let entries = entries_of(&self.segment);
        let root = self.root.finish(&entries);
        let length = self.root.length() + entries.iter().map(|entry| entry.length).sum::<u64>();
        let content = StoredContent::Chunks { staging: self.staging, entries, written: self.segment };
        Stored { content, chunking: self.chunking, root, length, md5, checksums }
    }
}

fn entries_of(written: &[Written]) -> Vec<Entry> {
    written.iter().map(|chunk| Entry::chunk(chunk.address, chunk.length)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_send<T: Send>(_: &T) {}

    /// Servers run uploads on any thread. Compiles or does not.
    #[test]
    fn an_upload_may_move_between_threads() {
        fn upload(client: &Client, path: &FilePath) {
            is_send(&client.put(path, tokio::io::empty(), PutOptions::default()));
        }
        let _ = upload;
    }
}
