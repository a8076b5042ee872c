//! Whether a local file is what a bucket holds, without moving its bytes.
//!
//! Three questions, the cheapest first. Lengths differ: no. The root of the local file, cut as the CLI cuts or as gateways do, is
//! the stored one: yes. Else the stored manifest is asked for, and each of its chunks is compared with the same stretch of the
//! local file: that answers for files cut in any other way, such as multipart uploads. What is left are parts of chunks, whose
//! hash says nothing about the part: those count as different, and are moved.

use crate::failure::Failure;
use cairn_client::Client;
use cairn_common::chunk::{ChunkAddress, ChunkId, Chunking, Splitter};
use cairn_common::ids::Domain;
use cairn_common::limits::{CHUNK_FIXED_BYTES, CHUNK_MIN_BYTES, INLINE_MAX_BYTES, SEGMENT_ENTRIES};
use cairn_common::manifest::{Entry, Extent, Root, RootHasher};
use cairn_common::name::FilePath;
use cairn_common::seam::Pool;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// Bytes of a local file that are read at a time.
const READ_BYTES: usize = 1 << 20;

// A small file is one chunk, whichever way it is cut.
const _: () = assert!(INLINE_MAX_BYTES <= CHUNK_MIN_BYTES as u64 && CHUNK_MIN_BYTES <= CHUNK_FIXED_BYTES);

/// The roots that a local file would have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LocalRoots {
    /// Bytes that were read.
    pub(crate) length: u64,
    /// Cut by content, as the CLI and the library do. The native ETag after a `cairn put`.
    pub(crate) content: Root,
    /// Cut at fixed places, as gateways do.
    pub(crate) fixed: Root,
}

impl LocalRoots {
    /// Reads a file once. Memory: a few chunks.
    pub(crate) fn read(mut file: impl io::Read) -> io::Result<LocalRoots> {
        let (mut content, mut fixed) = (Rooter::new(Chunking::CONTENT), Rooter::new(Chunking::FIXED));
        let mut buffer = vec![0; READ_BYTES];
        let mut length = 0;
        loop {
            let read = match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            length += read as u64;
            content.push(&buffer[..read]);
            fixed.push(&buffer[..read]);
        }
        // A file that masters keep whole has the root of its one chunk, and both ways make one chunk of it.
        Ok(LocalRoots { length, content: content.finish(), fixed: fixed.finish() })
    }

    /// Whether the file has these bytes, as far as roots alone can tell.
    pub(crate) fn are(&self, length: u64, root: Root) -> bool {
        self.length == length && (self.content == root || self.fixed == root)
    }
}

/// The root of a stream under one way of cutting.
struct Rooter {
    splitter: Splitter,
    hasher: RootHasher,
    segment: Vec<Entry>,
}

impl Rooter {
    fn new(chunking: Chunking) -> Rooter {
        Rooter { splitter: Splitter::new(chunking), hasher: RootHasher::new(), segment: Vec::new() }
    }

    fn push(&mut self, piece: &[u8]) {
        self.splitter.push(piece);
        while let Some(chunk) = self.splitter.next_chunk() {
            self.chunk(&chunk);
        }
    }

    fn chunk(&mut self, bytes: &[u8]) {
        // A root does not name the domain.
        self.segment.push(Entry::chunk(ChunkAddress::of(Domain(0), bytes), bytes.len() as u32));
        if self.segment.len() == SEGMENT_ENTRIES {
            self.hasher.segment(&self.segment);
            self.segment.clear();
        }
    }

    fn finish(mut self) -> Root {
        while let Some(chunk) = self.splitter.finish() {
            self.chunk(&chunk);
        }
        self.hasher.finish(&self.segment)
    }
}

/// Whether the local file has the bytes of the stored one, whose length and root are known from a listing or a look.
pub(crate) async fn is_same(
    client: &Client,
    pool: &Pool,
    local: &Path,
    stored: &FilePath,
    (length, root): (u64, Root),
) -> Result<bool, Failure> {
    let open = |path: &Path| File::open(path).map_err(|error| Failure::local(path, "read it", &error));
    let file = open(local)?;
    let metadata = file.metadata().map_err(|error| Failure::local(local, "look at it", &error))?;
    if metadata.len() != length {
        return Ok(false);
    }
    let roots = pool.run(move || LocalRoots::read(file)).await;
    if roots.map_err(|error| Failure::local(local, "read it", &error))?.are(length, root) {
        return Ok(true);
    }
    let found = same_until(client, pool, open(local)?, stored, root).await?;
    Ok(found.is_some_and(|bytes| bytes == length))
}

/// How many bytes at the start of the local file are those of the stored one, chunk by chunk. `None`: the masters keep the
/// stored one whole, or it is not of this root any more.
pub(crate) async fn same_until(
    client: &Client,
    pool: &Pool,
    local: File,
    stored: &FilePath,
    root: Root,
) -> Result<Option<u64>, Failure> {
    let file = std::sync::Arc::new(local);
    let mut at = 0;
    loop {
        let page = client.locate(stored, at).await?;
        if page.inline || page.info.tags.root != root {
            return Ok(None);
        }
        let entries: Vec<(u64, Entry)> =
            page.entries.iter().map(|placed| (placed.offset, placed.entry.clone())).collect();
        let (last, local) = (entries.last().map(|(offset, entry)| offset + entry.length), std::sync::Arc::clone(&file));
        let same = pool.run(move || matching(&local, &entries)).await;
        at = same.unwrap_or(at).max(at);
        if !page.more || last != Some(at) {
            return Ok(Some(at));
        }
    }
}

/// The end of the last of these entries up to which all match; `None`: not even the first.
fn matching(local: &File, entries: &[(u64, Entry)]) -> Option<u64> {
    let mut end = None;
    let mut buffer = Vec::new();
    for (offset, entry) in entries {
        buffer.resize(usize::try_from(entry.length).ok()?, 0);
        let same = match &entry.extent {
            Extent::Chunk { address, chunk_length, offset: 0 } if u64::from(*chunk_length) == entry.length => {
                local.read_exact_at(&mut buffer, *offset).is_ok() && ChunkId::of(&buffer) == address.id
            }
            _ => false,
        };
        if !same {
            return end;
        }
        end = Some(offset + entry.length);
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        blake3::Hasher::new().update(b"compare").finalize_xof().fill(&mut bytes);
        bytes
    }

    #[test]
    fn roots_are_those_of_the_chunkers() {
        for length in [0, 1, 16 << 10, (16 << 10) + 1, 3 << 20] {
            let bytes = noise(length);
            let roots = LocalRoots::read(&bytes[..]).unwrap();
            assert_eq!(roots.length, length as u64);
            let root = |chunking| {
                let mut splitter = Splitter::new(chunking);
                splitter.push(&bytes);
                let chunks = std::iter::from_fn(|| splitter.next_chunk());
                let mut chunks: Vec<_> = chunks.collect();
                chunks.extend(std::iter::from_fn(|| splitter.finish()));
                let entry = |chunk: &bytes::Bytes| Entry::chunk(ChunkAddress::of(Domain(9), chunk), chunk.len() as u32);
                RootHasher::of(&chunks.iter().map(entry).collect::<Vec<_>>())
            };
            assert_eq!((roots.content, roots.fixed), (root(Chunking::CONTENT), root(Chunking::FIXED)), "{length}");
            assert!(roots.are(length as u64, root(Chunking::FIXED)));
            assert!(!roots.are(length as u64 + 1, root(Chunking::FIXED)));
        }
    }

    #[test]
    fn the_part_that_matches_ends_at_the_first_other_chunk() {
        let bytes = noise(300);
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&bytes, 0).unwrap();
        let entry = |range: std::ops::Range<usize>| {
            let chunk = &bytes[range.clone()];
            (range.start as u64, Entry::chunk(ChunkAddress::of(Domain(1), chunk), chunk.len() as u32))
        };
        let entries = [entry(0..100), entry(100..250), entry(250..300)];
        assert_eq!(matching(&file, &entries), Some(300));
        file.write_all_at(b"other", 200).unwrap();
        assert_eq!(matching(&file, &entries), Some(100));
        file.set_len(50).unwrap();
        assert_eq!(matching(&file, &entries), None);
    }
}
