//! What files are, the simple way: a sorted map from keys to their bytes.

use super::super::path;
use cairn_common::file::{Condition, ConditionOutcome, ETags, TagCondition, VersionFacts};
use cairn_common::ids::{Stamp, UploadId};
use cairn_common::limits::{PART_MIN_BYTES, UPLOAD_RESULT_MS};
use cairn_common::wire::command::{Committed, Deleted, Refusal};
use cairn_common::wire::master::Usage;
use std::collections::BTreeMap;

/// Bytes of a file: of chunk `.0`, from `.1` on, `.2` of them.
pub(super) type Pieces = Vec<(u64, u64, u64)>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Inline(Vec<u8>),
    Chunks(Pieces),
}

impl Content {
    pub(super) fn length(&self) -> u64 {
        match self {
            Content::Inline(bytes) => bytes.len() as u64,
            Content::Chunks(pieces) => pieces.iter().map(|(_, _, length)| length).sum(),
        }
    }
}

/// The pieces that have bytes `start..end`.
pub(super) fn slice(pieces: &Pieces, start: u64, end: u64) -> Pieces {
    let mut at = 0;
    let mut slice = Vec::new();
    for (chunk, skipped, length) in pieces {
        let (from, to) = (at.max(start), (at + length).min(end));
        if from < to {
            slice.push((*chunk, skipped + from - at, to - from));
        }
        at += length;
    }
    slice
}

/// A version, as far as anyone can see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    pub(super) stamp: Stamp,
    pub(super) tags: ETags,
    pub(super) attributes: Option<String>,
    pub(super) content: Content,
}

#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) md5: [u8; 16],
    pub(super) pieces: Pieces,
}

impl Part {
    fn length(&self) -> u64 {
        self.pieces.iter().map(|(_, _, length)| length).sum()
    }
}

#[derive(Clone, Debug)]
pub(super) enum State {
    Open(BTreeMap<u32, Part>),
    Committed(Committed, Stamp),
    Aborted(Stamp),
}

#[derive(Clone, Debug)]
pub(super) struct Upload {
    pub(super) key: String,
    pub(super) id: UploadId,
    pub(super) state: State,
}

/// What there should be.
#[derive(Clone, Debug, Default)]
pub(super) struct Reference {
    pub(super) files: BTreeMap<String, File>,
    pub(super) uploads: Vec<Upload>,
}

/// Conditions by what they ask of the current version.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asked {
    Nothing,
    Absent,
    Present,
    Current,
    Other,
}

impl Reference {
    pub(super) fn condition(&self, key: &str, asked: Asked) -> Condition {
        let current = self.files.get(key).map_or_else(|| "none".to_owned(), |file| file.tags.s3());
        match asked {
            Asked::Nothing => Condition::default(),
            Asked::Absent => super::super::if_absent(),
            Asked::Present => Condition { if_match: Some(TagCondition::Any), ..Condition::default() },
            Asked::Current => super::super::if_match(&current),
            Asked::Other => super::super::if_match("other"),
        }
    }

    fn holds(&self, key: &str, condition: &Condition) -> bool {
        let facts = self.files.get(key).map(|file| (file.tags, file.stamp, file.content.length()));
        let facts = facts.as_ref().map(|(tags, stamp, length)| VersionFacts { tags, stamp: *stamp, length: *length });
        condition.judge(facts) == ConditionOutcome::Holds
    }

    /// Whether a version may be written to `key`.
    pub(super) fn may_replace(&self, key: &str, condition: &Condition) -> Result<(), Refusal> {
        if self.holds(key, condition) { Ok(()) } else { Err(Refusal::ConditionFailed { path: path(key) }) }
    }

    pub(super) fn put(&mut self, key: &str, committed: &Committed, attributes: Option<String>, content: Content) {
        assert_eq!(committed.replaced, self.files.contains_key(key));
        assert_eq!(committed.length, content.length());
        let file = File { stamp: committed.stamp, tags: committed.tags, attributes, content };
        self.files.insert(key.to_owned(), file);
    }

    pub(super) fn source(&self, key: &str) -> Result<&File, Refusal> {
        self.files.get(key).ok_or_else(|| Refusal::NoSuchFile(path(key)))
    }

    pub(super) fn delete(&mut self, key: &str, condition: &Condition) -> Deleted {
        if !self.files.contains_key(key) {
            return Deleted::Absent;
        }
        if !self.holds(key, condition) {
            return Deleted::ConditionFailed;
        }
        self.files.remove(key);
        Deleted::Removed
    }

    /// The parts of an open upload.
    pub(super) fn open_parts(&self, upload: usize) -> Result<&BTreeMap<u32, Part>, Refusal> {
        match &self.uploads[upload] {
            Upload { state: State::Open(parts), .. } => Ok(parts),
            upload => Err(Refusal::NoSuchUpload(upload.id)),
        }
    }

    pub(super) fn put_part(&mut self, upload: usize, number: u32, part: Part) {
        let State::Open(parts) = &mut self.uploads[upload].state else { panic!("a part of an ended upload") };
        parts.insert(number, part);
    }

    /// What completing an upload of these parts comes to, if it is open.
    pub(super) fn joined(&self, upload: usize, numbers: &[u32]) -> Result<Pieces, Refusal> {
        let parts = self.open_parts(upload)?;
        let mut pieces = Vec::new();
        for (position, number) in numbers.iter().enumerate() {
            let part = parts.get(number).ok_or(Refusal::InvalidPart(*number))?;
            if part.length() < PART_MIN_BYTES && position + 1 < numbers.len() {
                return Err(Refusal::PartTooSmall { number: *number, length: part.length() });
            }
            pieces.extend(part.pieces.clone());
        }
        if numbers.is_empty() { Err(Refusal::InvalidPart(0)) } else { Ok(pieces) }
    }

    /// Forgets how uploads ended that ended long ago.
    pub(super) fn release(&mut self, now: Stamp) {
        for upload in &mut self.uploads {
            if let State::Committed(_, ended) | State::Aborted(ended) = upload.state
                && ended.plus_ms(UPLOAD_RESULT_MS) <= now
            {
                upload.key = "forgotten".to_owned();
            }
        }
    }

    pub(super) fn usage(&self) -> Usage {
        let mut usage = Usage { files: self.files.len() as u64, ..Usage::default() };
        usage.bytes = self.files.values().map(|file| file.content.length()).sum();
        for upload in &self.uploads {
            if let State::Open(parts) = &upload.state {
                usage.uploads += 1;
                usage.pending_bytes += parts.values().map(Part::length).sum::<u64>();
            }
        }
        usage
    }
}
