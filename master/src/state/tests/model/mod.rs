//! Random commands against a sorted map, and what they come to replayed in other ways.

mod reference;

use super::*;
use crate::query::{FileBytes, PageLimits};
use crate::store::{KeyRange, Order, Table, fingerprint};
use cairn_common::limits::{READ_GRACE_MS, SEGMENT_ENTRIES};
use cairn_common::manifest::Extent;
use cairn_common::wire::command::{CommitPart, CompleteMultipart, CopyFile, MultipartRef};
use cairn_common::wire::master::{Found, RangeWanted};
use proptest::prelude::*;
use reference::{Asked, Content, Part, Pieces, Reference, State, Upload, slice};
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
enum Op {
    Inline { key: u8, body: Vec<u8>, attributes: bool, asked: Asked },
    Chunks { key: u8, chunks: Vec<u8>, asked: Asked },
    Staged { key: u8, segments: u8, seed: u8, tail: Vec<u8>, commit: bool },
    Copy { from: u8, to: u8, attributes: bool, from_asked: Asked, asked: Asked },
    Rename { from: u8, to: u8, asked: Asked },
    Delete { keys: Vec<(u8, Asked)> },
    Begin { key: u8 },
    Part { upload: u8, number: u8, chunks: Vec<u8> },
    CopyPart { upload: u8, number: u8, from: u8, range: Option<(u8, u8)> },
    Complete { upload: u8, numbers: Vec<u8>, asked: Asked },
    Abort { upload: u8 },
    Retry { back: u8 },
    Wait { ms: u64 },
    Release,
}

fn asked() -> impl Strategy<Value = Asked> {
    prop_oneof![
        6 => Just(Asked::Nothing),
        1 => Just(Asked::Absent),
        1 => Just(Asked::Present),
        1 => Just(Asked::Current),
        1 => Just(Asked::Other),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let key = || 0u8..5;
    let chunks = |longest| proptest::collection::vec(0u8..12, 0..longest);
    prop_oneof![
        3 => (key(), chunks(4), any::<bool>(), asked())
            .prop_map(|(key, body, attributes, asked)| Op::Inline { key, body, attributes, asked }),
        4 => (key(), chunks(14), asked()).prop_map(|(key, chunks, asked)| Op::Chunks { key, chunks, asked }),
        1 => (key(), 0u8..3, any::<u8>(), chunks(4), any::<bool>())
            .prop_map(|(key, segments, seed, tail, commit)| Op::Staged { key, segments, seed, tail, commit }),
        3 => (key(), key(), any::<bool>(), asked(), asked())
            .prop_map(|(from, to, attributes, from_asked, asked)| Op::Copy { from, to, attributes, from_asked, asked }),
        2 => (key(), key(), asked()).prop_map(|(from, to, asked)| Op::Rename { from, to, asked }),
        2 => proptest::collection::vec((key(), asked()), 0..4).prop_map(|keys| Op::Delete { keys }),
        2 => key().prop_map(|key| Op::Begin { key }),
        5 => (0u8..4, 1u8..5, chunks(6)).prop_map(|(upload, number, chunks)| Op::Part { upload, number, chunks }),
        4 => (0u8..4, 1u8..5, key(), proptest::option::of((any::<u8>(), any::<u8>())))
            .prop_map(|(upload, number, from, range)| Op::CopyPart { upload, number, from, range }),
        3 => (0u8..4, proptest::collection::btree_set(1u8..5, 0..4), asked())
            .prop_map(|(upload, numbers, asked)| Op::Complete { upload, numbers: numbers.into_iter().collect(), asked }),
        1 => (0u8..4).prop_map(|upload| Op::Abort { upload }),
        2 => any::<u8>().prop_map(|back| Op::Retry { back }),
        2 => proptest::sample::select(vec![1000, READ_GRACE_MS + 60_000, 13 * 3_600_000]).prop_map(|ms| Op::Wait { ms }),
        2 => Just(Op::Release),
    ]
}

/// Chunks here are large, so that two of them are a part.
fn length(n: u64) -> u64 {
    (4 << 20) - n
}

fn chunk(n: u64) -> Entry {
    Entry::chunk(address(n), length(n) as u32)
}

fn pieces(chunks: impl IntoIterator<Item = u64>) -> Pieces {
    chunks.into_iter().map(|n| (n, 0, length(n))).collect()
}

fn key_name(key: u8) -> String {
    format!("key/{key}")
}

/// The world, the map, and everything that was sent.
struct Run {
    world: World,
    reference: Reference,
    /// Commands with their stamps, their answers, and whether they came in the session.
    log: Vec<(Stamp, Envelope, Outcome)>,
    uploads_begun: u64,
}

impl Run {
    fn new() -> Run {
        Run { world: base(), reference: Reference::default(), log: Vec::new(), uploads_begun: 0 }
    }

    /// Sends a command in the session. All answers stay unanswered, so that any can be asked for again.
    fn send(&mut self, command: Command) -> Outcome {
        let mut envelope = self.world.envelope(command);
        envelope.session.as_mut().unwrap().lowest = 1;
        self.send_envelope(envelope)
    }

    fn send_envelope(&mut self, envelope: Envelope) -> Outcome {
        let outcome = self.world.entry(std::slice::from_ref(&envelope)).pop().unwrap();
        self.log.push((self.world.now, envelope, outcome.clone()));
        outcome
    }

    /// A window that is open yet.
    fn fresh_window(&mut self) {
        if self.world.now > Stamp(self.world.window.0).plus_ms(50 * 60_000) {
            let Ok(Done::Window { window, .. }) = self.send(Command::OpenWindow) else { panic!("no window") };
            self.world.window = window;
        }
    }

    fn new_chunks(&mut self, staging: Option<UploadId>, chunks: &[u64]) -> NewChunks {
        self.fresh_window();
        let tail: Vec<Entry> = chunks.iter().map(|n| chunk(*n)).collect();
        self.world.chunks(staging, &tail)
    }

    fn upload(&self, upload: u8) -> Option<usize> {
        let uploads = self.reference.uploads.len();
        (uploads > 0).then(|| usize::from(upload) % uploads)
    }

    fn upload_ref(&self, upload: usize) -> MultipartRef {
        let Upload { key, id, .. } = &self.reference.uploads[upload];
        MultipartRef { path: path(key), upload: *id }
    }

    fn step(&mut self, op: Op) {
        match op {
            Op::Inline { key, body, attributes, asked } => self.inline(&key_name(key), &body, attributes, asked),
            Op::Chunks { key, chunks, asked } => {
                let chunks: Vec<u64> = chunks.into_iter().map(u64::from).collect();
                let new = self.new_chunks(None, &chunks);
                let commit = of_chunks(&key_name(key), new);
                self.commit(&key_name(key), commit, asked, None, Content::Chunks(pieces(chunks)));
            }
            Op::Staged { key, segments, seed, tail, commit } => {
                self.staged(&key_name(key), segments, seed, &tail, commit);
            }
            Op::Copy { from, to, attributes, from_asked, asked } => {
                self.copy(&key_name(from), &key_name(to), attributes, from_asked, asked);
            }
            Op::Rename { from, to, asked } => self.rename(&key_name(from), &key_name(to), asked),
            Op::Delete { keys } => self.delete(&keys),
            Op::Begin { key } => self.begin(&key_name(key)),
            Op::Part { upload, number, chunks } => self.part(upload, number.into(), &chunks),
            Op::CopyPart { upload, number, from, range } => {
                self.copy_part(upload, number.into(), &key_name(from), range);
            }
            Op::Complete { upload, numbers, asked } => self.complete(upload, &numbers, asked),
            Op::Abort { upload } => self.abort(upload),
            Op::Retry { back } => self.retry(back),
            Op::Wait { ms } => self.world.wait_ms(ms),
            Op::Release => self.release(),
        }
    }

    fn inline(&mut self, key: &str, body: &[u8], attributes: bool, asked: Asked) {
        let chunk = Entry::chunk(ChunkAddress::of(Domain(1), body), body.len() as u32);
        let root = RootHasher::of(if body.is_empty() { &[] } else { std::slice::from_ref(&chunk) });
        let content = NewContent::Inline(Bytes::copy_from_slice(body));
        let commit =
            CommitFile { path: path(key), content, root, length: body.len() as u64, ..super::inline(key, b"") };
        let content = if body.is_empty() { Content::Chunks(Vec::new()) } else { Content::Inline(body.to_vec()) };
        self.commit(key, commit, asked, attributes.then(|| format!("of {key}")), content);
    }

    fn commit(&mut self, key: &str, commit: CommitFile, asked: Asked, typed: Option<String>, content: Content) {
        let condition = self.reference.condition(key, asked);
        let attributes = Attributes { content_type: typed.clone(), ..Attributes::default() };
        let expected = self.reference.may_replace(key, &condition);
        let command = Command::CommitFile(Box::new(CommitFile { condition, attributes, ..commit }));
        match (self.send(command), expected) {
            (Ok(Done::Committed(committed)), Ok(())) => self.reference.put(key, &committed, typed, content),
            (got, expected) => assert_eq!(got.map(drop), expected),
        }
    }

    fn staged(&mut self, key: &str, segments: u8, seed: u8, tail: &[u8], commit: bool) {
        self.fresh_window();
        let begun = self.send(Command::BeginStaging { bucket: name("one"), chunking: Chunking::FIXED });
        let Ok(Done::Upload(staging)) = begun else { panic!("{begun:?}") };
        let mut all: Vec<u64> = Vec::new();
        for index in 0..u32::from(segments) {
            let chunks = (0..SEGMENT_ENTRIES as u64).map(|n| (n / 100 + u64::from(seed) + u64::from(index)) % 12);
            let chunks: Vec<u64> = chunks.collect();
            let entries: Vec<Entry> = chunks.iter().map(|n| chunk(*n)).collect();
            let receipts = self.world.receipts_of(&self.world.servers, &entries);
            let appended = self.send(Command::AppendSegment { staging, index, entries, receipts });
            assert_eq!(appended, Ok(Done::Appended { segments: index + 1 }));
            all.extend(chunks);
        }
        if !commit {
            assert_eq!(self.send(Command::AbortStaging { staging }), Ok(Done::Nothing));
            return;
        }
        let tail: Vec<u64> = tail.iter().map(|n| u64::from(*n)).collect();
        let new = self.new_chunks(Some(staging), &tail);
        all.extend(tail);
        let entries: Vec<Entry> = all.iter().map(|n| chunk(*n)).collect();
        let length = entries.iter().map(|entry| entry.length).sum();
        let commit = CommitFile { root: RootHasher::of(&entries), length, ..of_chunks(key, new) };
        self.commit(key, commit, Asked::Nothing, None, Content::Chunks(pieces(all)));
    }

    fn copy(&mut self, from: &str, to: &str, attributes: bool, from_asked: Asked, asked: Asked) {
        let typed = attributes.then(|| format!("copy of {from}"));
        let copy = CopyFile {
            from_version: None,
            from: path(from),
            from_condition: self.reference.condition(from, from_asked),
            to: path(to),
            condition: self.reference.condition(to, asked),
            attributes: typed.clone().map(|text| Attributes { content_type: Some(text), ..Attributes::default() }),
        };
        let expected = self.reference.source(from).cloned().and_then(|file| {
            self.reference.may_replace(from, &copy.from_condition)?;
            self.reference.may_replace(to, &copy.condition).map(|()| file)
        });
        match (self.send(Command::CopyFile(Box::new(copy))), expected) {
            (Ok(Done::Committed(committed)), Ok(file)) => {
                assert_eq!(committed.tags, file.tags);
                self.reference.put(to, &committed, typed.or(file.attributes), file.content);
            }
            (got, expected) => assert_eq!(got.map(drop), expected.map(drop)),
        }
    }

    fn rename(&mut self, from: &str, to: &str, asked: Asked) {
        let condition = self.reference.condition(to, asked);
        let expected = self.reference.source(from).cloned();
        let expected = expected.and_then(|file| self.reference.may_replace(to, &condition).map(|()| file));
        let from_condition = Condition::default();
        let command = Command::RenameFile { from: path(from), to: Key::new(to).unwrap(), from_condition, condition };
        match (self.send(command), expected) {
            (Ok(Done::Committed(committed)), Ok(file)) if from == to => {
                assert_eq!((committed.stamp, committed.tags), (file.stamp, file.tags));
            }
            (Ok(Done::Committed(committed)), Ok(file)) => {
                self.reference.put(to, &committed, file.attributes, file.content);
                self.reference.files.remove(from);
            }
            (got, expected) => assert_eq!(got.map(drop), expected.map(drop)),
        }
    }

    fn delete(&mut self, keys: &[(u8, Asked)]) {
        let files: Vec<(Key, Condition)> = keys
            .iter()
            .map(|(key, asked)| {
                let key = key_name(*key);
                let condition = self.reference.condition(&key, *asked);
                (Key::new(key).unwrap(), condition)
            })
            .collect();
        let expected = files.iter().map(|(key, condition)| self.reference.delete(key.as_str(), condition)).collect();
        assert_eq!(self.send(Command::DeleteFiles { bucket: name("one"), files }), Ok(Done::Deleted(expected)));
    }

    fn begin(&mut self, key: &str) {
        if self.reference.uploads.len() >= 4 {
            return;
        }
        let begun = self.send(Command::BeginMultipart {
            path: path(key),
            attributes: Attributes::default(),
            checksum: None,
            length: None,
        });
        let Ok(Done::Upload(id)) = begun else { panic!("{begun:?}") };
        self.uploads_begun += 1;
        self.reference.uploads.push(Upload { key: key.to_owned(), id, state: State::Open(BTreeMap::new()) });
    }

    fn part(&mut self, upload: u8, number: u32, chunks: &[u8]) {
        let Some(index) = self.upload(upload) else { return };
        let chunks: Vec<u64> = chunks.iter().map(|n| u64::from(*n)).collect();
        let new = self.new_chunks(None, &chunks);
        let root = RootHasher::of(&new.tail);
        let length = new.tail.iter().map(|entry| entry.length).sum();
        let md5 = *blake3::hash(&self.world.now.0.to_be_bytes()).as_bytes().first_chunk().unwrap();
        let content = NewContent::Chunks(new);
        let (upload, checksums) = (self.upload_ref(index), BTreeMap::new());
        let part = CommitPart { upload, number, content, root, length, md5, checksums };
        let expected = self.reference.open_parts(index).map(drop);
        match (self.send(Command::CommitPart(Box::new(part))), expected) {
            (Ok(Done::Part { .. }), Ok(())) => {
                self.reference.put_part(index, number, Part { md5, pieces: pieces(chunks) });
            }
            (got, expected) => assert_eq!(got.map(drop), expected),
        }
    }

    fn copy_part(&mut self, upload: u8, number: u32, from: &str, range: Option<(u8, u8)>) {
        let Some(index) = self.upload(upload) else { return };
        let file = self.reference.source(from).cloned();
        let length = file.as_ref().map_or(0, |file| file.content.length());
        // Two places in the file, and now and then one behind its end.
        let place = |at: u8| length * u64::from(at) / 250;
        let range = range.map(|(one, other)| (place(one.min(other)), place(one.max(other))));
        let expected = self.reference.open_parts(index).map(drop).and(file).and_then(|file| {
            let (start, end) = range.unwrap_or((0, length));
            if end > length || (start >= end && range.is_some()) {
                return Err(Refusal::InvalidRange { length });
            }
            if end - start > cairn_common::limits::PART_MAX_BYTES {
                return Err(Refusal::Invalid(format!(
                    "a part has at most 5368709120 bytes; this one has {}",
                    end - start
                )));
            }
            match file.content {
                Content::Inline(_) => Err(Refusal::SourceInline(path(from))),
                Content::Chunks(pieces) => Ok(slice(&pieces, start, end)),
            }
        });
        let (upload, from, from_condition) = (self.upload_ref(index), path(from), Condition::default());
        match (
            self.send(Command::CopyPart { upload, number, from, from_version: None, from_condition, range }),
            expected,
        ) {
            (Ok(Done::Part { md5, length, .. }), Ok(pieces)) => {
                assert_eq!(length, pieces.iter().map(|(_, _, length)| length).sum::<u64>());
                self.reference.put_part(index, number, Part { md5, pieces });
            }
            (got, expected) => assert_eq!(got.map(drop), expected.map(drop)),
        }
    }

    fn complete(&mut self, upload: u8, numbers: &[u8], asked: Asked) {
        let Some(index) = self.upload(upload) else { return };
        let numbers: Vec<u32> = numbers.iter().map(|n| u32::from(*n)).collect();
        let upload = self.upload_ref(index);
        let key = upload.path.key.as_str().to_owned();
        let condition = self.reference.condition(&key, asked);
        let parts = self.reference.open_parts(index).cloned().unwrap_or_default();
        let tag = |number: &u32| parts.get(number).map_or_else(String::new, |part| hex::encode(part.md5));
        let expected = match &self.reference.uploads[index].state {
            State::Committed(..) if key == "forgotten" => Err(Refusal::NoSuchUpload(upload.upload)),
            State::Committed(committed, _) => {
                let again = committed.clone();
                let parts = numbers.iter().map(|number| (*number, tag(number))).collect();
                let complete = CompleteMultipart { upload, parts, condition, checksums: BTreeMap::new() };
                let got = self.send(Command::CompleteMultipart(Box::new(complete)));
                assert_eq!(got, Ok(Done::Committed(again)));
                return;
            }
            _ => self.reference.joined(index, &numbers),
        };
        let expected = expected.and_then(|pieces| self.reference.may_replace(&key, &condition).map(|()| pieces));
        let parts = numbers.iter().map(|number| (*number, tag(number))).collect();
        let complete = CompleteMultipart { upload, parts, condition, checksums: BTreeMap::new() };
        match (self.send(Command::CompleteMultipart(Box::new(complete))), expected) {
            (Ok(Done::Committed(committed)), Ok(pieces)) => {
                self.reference.put(&key, &committed, None, Content::Chunks(pieces));
                self.reference.uploads[index].state = State::Committed(committed, self.world.now);
            }
            (got, expected) => assert_eq!(got.map(drop), expected.map(drop)),
        }
    }

    fn abort(&mut self, upload: u8) {
        let Some(index) = self.upload(upload) else { return };
        let upload = self.upload_ref(index);
        let gone = Err(Refusal::NoSuchUpload(upload.upload));
        let expected = match &self.reference.uploads[index] {
            Upload { state: State::Open(_), .. } => Ok(Done::Nothing),
            Upload { state: State::Aborted(_), key, .. } if key != "forgotten" => Ok(Done::Nothing),
            _ => gone,
        };
        assert_eq!(self.send(Command::AbortMultipart { upload }), expected);
        if matches!(self.reference.uploads[index].state, State::Open(_)) {
            self.reference.uploads[index].state = State::Aborted(self.world.now);
        }
    }

    fn retry(&mut self, back: u8) {
        let in_session: Vec<usize> = (0..self.log.len()).filter(|index| self.log[*index].1.session.is_some()).collect();
        if in_session.is_empty() {
            return;
        }
        let index = in_session[in_session.len() - 1 - usize::from(back) % in_session.len()];
        let (_, envelope, first) = self.log[index].clone();
        assert_eq!(self.send_envelope(envelope), first, "a retry gets the first answer");
    }

    fn release(&mut self) {
        loop {
            let outcome = self.send_envelope(Envelope { session: None, command: Command::Release });
            match outcome {
                Ok(Done::Released { more: true, .. }) => {}
                Ok(Done::Released { more: false, .. }) => break,
                other => panic!("{other:?}"),
            }
        }
        self.reference.release(self.world.now);
    }

    /// Compares what can be read with the map.
    fn compare(&self) {
        assert_eq!(self.world.usage(), self.reference.usage());
        let (view, members) = (self.world.view(), self.world.members());
        let limits = PageLimits { entries: usize::MAX, nodes: 1 };
        for key in (0..5).map(key_name) {
            let found = crate::query::open(
                view,
                &members,
                (&path(&key), None),
                &Condition::default(),
                RangeWanted::All,
                limits,
            );
            let Some(file) = self.reference.files.get(&key) else {
                assert!(found.is_err(), "{key} is there");
                continue;
            };
            let Found::Here(opened) = found.unwrap() else { panic!() };
            assert_eq!((opened.info.stamp, opened.info.tags), (file.stamp, file.tags), "{key}");
            assert_eq!(opened.info.attributes.content_type, file.attributes, "{key}");
            let content = match opened.bytes {
                FileBytes::Inline { bytes, .. } if bytes.is_empty() => Content::Chunks(Vec::new()),
                FileBytes::Inline { bytes, .. } => Content::Inline(bytes.to_vec()),
                FileBytes::Chunks { page, .. } => {
                    assert!(!page.more);
                    Content::Chunks(page.stretches.iter().map(|stretch| piece(&stretch.entry)).collect())
                }
                FileBytes::Unsatisfiable => panic!(),
            };
            assert_eq!(content, file.content, "{key}");
        }
    }

    /// Removes everything, and finds nothing left.
    fn clean_up(&mut self) {
        let everything: Vec<(u8, Asked)> = (0..5).map(|key| (key, Asked::Nothing)).collect();
        self.delete(&everything);
        for upload in 0..self.reference.uploads.len() {
            self.abort(upload as u8);
        }
        // Twice: leaves are let go after what named them, and staged uploads after a day.
        for _ in 0..2 {
            self.world.wait_ms(25 * 3_600_000);
            self.release();
        }
        for table in
            [Table::Current, Table::Attributes, Table::Inline, Table::Manifests, Table::Segments, Table::References]
        {
            let cursor = self.world.view().scan(table, KeyRange::default(), Order::Forward).unwrap();
            assert_eq!(cursor.row(), None, "{table:?} is not empty");
        }
        assert_eq!(self.world.usage(), Usage::default());
    }
}

fn piece(entry: &Entry) -> (u64, u64, u64) {
    let Extent::Chunk { address: found, offset, .. } = entry.extent else { panic!("{entry:?}") };
    let number = (0..12).find(|n| address(*n) == found).unwrap();
    (number, u64::from(offset), entry.length)
}

/// A world to begin with. Making one takes longer than a run, so it is made once and copied.
fn base() -> World {
    thread_local! {
        static BASE: World = World::new();
    }
    BASE.with(|base| {
        let copy = MemoryStore::new();
        let position = base.store.applied().unwrap();
        crate::store::export(base.view(), usize::MAX, |batch| copy.write(&batch, &position)).unwrap();
        base.on(Box::new(copy))
    })
}

/// Replays what was sent, in entries of up to `batch` commands, at the same stamps.
fn replay(log: &[(Stamp, Envelope, Outcome)], mut world: World, batch: usize) -> World {
    world.checked = false;
    let mut rest = log;
    while let Some((first, ..)) = rest.first() {
        let side_by_side = rest.iter().zip(0..).take_while(|((stamp, ..), n)| *stamp == first.next(*n)).count();
        let (now, later) = rest.split_at(side_by_side.min(batch));
        let envelopes: Vec<Envelope> = now.iter().map(|(_, envelope, _)| envelope.clone()).collect();
        world.now = Stamp(first.0 - 1);
        let outcomes = world.entry(&envelopes);
        let wanted: Vec<&Outcome> = now.iter().map(|(_, _, outcome)| outcome).collect();
        assert_eq!(outcomes.iter().collect::<Vec<_>>(), wanted);
        rest = later;
    }
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, max_shrink_iters: 2000, ..ProptestConfig::default() })]
    #[test]
    fn random_commands_come_to_what_a_sorted_map_comes_to(ops in proptest::collection::vec(op(), 1..40)) {
        let mut run = Run::new();
        for op in ops {
            run.step(op);
            run.compare();
        }
        // The same commands, many to an entry, come to the same answers and rows.
        for batch in [3, 1000] {
            let other = replay(&run.log, base(), batch);
            prop_assert_eq!(fingerprint(other.view()).unwrap(), fingerprint(run.world.view()).unwrap());
        }
        run.clean_up();
    }
}

#[cfg(feature = "rocks")]
#[test]
fn rocks_and_memory_come_to_the_same_rows() {
    use crate::store::{RocksMemory, RocksStore};
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let strategy = proptest::collection::vec(op(), 60);
    for _ in 0..5 {
        let mut run = Run::new();
        run.world.checked = false;
        for op in strategy.new_tree(&mut runner).unwrap().current() {
            run.step(op);
        }
        let folder = tempfile::tempdir().unwrap();
        let rocks = RocksStore::open(folder.path(), &RocksMemory::new(8 << 20, 4 << 20)).unwrap();
        let start = base();
        let position = start.store.applied().unwrap();
        crate::store::export(start.view(), 1000, |batch| rocks.write(&batch, &position)).unwrap();
        let other = replay(&run.log, start.on(Box::new(rocks)), 7);
        assert_eq!(fingerprint(other.view()).unwrap(), fingerprint(run.world.view()).unwrap());
        assert_eq!(check(other.view()).unwrap(), []);
    }
}
