use super::*;
use crate::store::key::{SegmentKey, StagingKey};
use cairn_common::ids::ManifestId;
use cairn_common::limits::{READ_GRACE_MS, SEGMENT_ENTRIES, STAGED_UPLOAD_MS, WINDOW_MAX_MS};
use cairn_common::manifest::ManifestError;

const FULL: u64 = SEGMENT_ENTRIES as u64;

fn begin(world: &mut World) -> UploadId {
    let command = Command::BeginStaging { bucket: name("one"), chunking: Chunking::FIXED };
    match world.run(command) {
        Ok(Done::Upload(upload)) => upload,
        other => panic!("{other:?}"),
    }
}

/// A full segment of chunks from `first` on.
fn segment(first: u64) -> Vec<Entry> {
    (first..first + FULL).map(entry).collect()
}

fn append(world: &mut World, staging: UploadId, index: u32, entries: Vec<Entry>) -> Outcome {
    let receipts = world.receipts_of(&world.servers, &entries);
    world.run(Command::AppendSegment { staging, index, entries, receipts })
}

/// Chunks of a staged upload and a tail, with what they come to.
fn staged(world: &World, upload: UploadId, segments: &[Vec<Entry>], tail: &[u64]) -> CommitFile {
    let tail: Vec<Entry> = tail.iter().map(|n| entry(*n)).collect();
    let new = world.chunks(Some(upload), &tail);
    let all: Vec<Entry> = segments.iter().flatten().chain(&tail).cloned().collect();
    let length = all.iter().map(|entry| entry.length).sum();
    CommitFile { root: RootHasher::of(&all), length, ..of_chunks("k", new) }
}

#[test]
fn a_large_file_comes_in_segment_by_segment() {
    let mut world = World::new();
    let upload = begin(&mut world);
    let segments = [segment(0), segment(FULL)];
    for (index, entries) in (0..).zip(&segments) {
        let done = append(&mut world, upload, index, entries.clone());
        assert_eq!(done, Ok(Done::Appended { segments: index + 1 }));
    }
    let pending: u64 = segments.iter().flatten().map(|entry| entry.length).sum();
    assert_eq!(world.usage(), Usage { pending_bytes: pending, ..Usage::default() });
    assert_eq!(world.references(FULL + 1), 1, "appended chunks are references");
    let commit = staged(&world, upload, &segments, &[5000, 5001]);
    let committed = world.put(commit.clone()).unwrap();
    assert_eq!(committed.length, commit.length);
    assert_eq!(world.usage(), Usage { files: 1, bytes: commit.length, ..Usage::default() });
    let tail = SegmentKey { manifest: ManifestId(upload.0), start: pending };
    assert_eq!(world.view().row(&tail).unwrap().unwrap().entries.len(), 2);
    assert_eq!(world.put(commit), Err(Refusal::NoSuchUpload(upload)), "it is committed once");
}

#[test]
fn a_file_of_exactly_one_segment_has_no_tail() {
    let mut world = World::new();
    let upload = begin(&mut world);
    append(&mut world, upload, 0, segment(0)).unwrap();
    let commit = staged(&world, upload, &[segment(0)], &[]);
    assert_eq!(world.put(commit).unwrap().replicas_durable, 3);
}

#[test]
fn appending_what_is_there_changes_nothing_and_anything_else_is_refused() {
    let mut world = World::new();
    let upload = begin(&mut world);
    let all: Vec<Vec<Entry>> = (0..7).map(|n| segment(n * FULL)).collect();
    for (index, entries) in (0..).zip(&all) {
        append(&mut world, upload, index, entries.clone()).unwrap();
    }
    world.checked = false;
    for (index, entries) in (0..).zip(&all) {
        assert_eq!(append(&mut world, upload, index, entries.clone()), Ok(Done::Appended { segments: 7 }), "{index}");
        let mut other = entries.clone();
        other.swap(3, 4);
        let refused = Err(Refusal::SegmentOrder { have: 7, given: index });
        assert_eq!(append(&mut world, upload, index, other), refused);
    }
    assert_eq!(world.references(3), 1);
    let refused = Err(Refusal::SegmentOrder { have: 7, given: 8 });
    assert_eq!(append(&mut world, upload, 8, segment(90_000)), refused);
}

#[test]
fn segments_are_full_and_tails_are_not() {
    let mut world = World::new();
    let upload = begin(&mut world);
    let short: Vec<Entry> = segment(0).into_iter().skip(1).collect();
    let refusal = |entries| Refusal::BadManifest(ManifestError::Segment { entries });
    assert_eq!(append(&mut world, upload, 0, short), Err(refusal(SEGMENT_ENTRIES - 1)));
    let new = world.chunks(None, &[entry(0)]);
    let commit = of_chunks("k", new);
    let NewContent::Chunks(new) = commit.content else { panic!() };
    let full = NewContent::Chunks(NewChunks { tail: segment(0), ..new });
    assert_eq!(world.put(CommitFile { content: full, ..inline("k", b"") }), Err(refusal(SEGMENT_ENTRIES)));
}

#[test]
fn a_chunk_that_the_upload_refers_to_already_needs_no_new_receipts() {
    let mut world = World::new();
    let upload = begin(&mut world);
    append(&mut world, upload, 0, segment(0)).unwrap();
    // An hour later the window is over; the chunk comes again.
    world.wait_ms(WINDOW_MAX_MS + 1);
    let mut second = segment(FULL);
    let window = world.window;
    world.open_window();
    second[10] = entry(5);
    let mut receipts = world.receipts_of(&world.servers, &second);
    assert_ne!(window, world.window);
    receipts.retain(|chunk| chunk.address != address(5));
    let appended = world.run(Command::AppendSegment { staging: upload, index: 1, entries: second.clone(), receipts });
    assert_eq!(appended, Ok(Done::Appended { segments: 2 }));
    assert_eq!(world.references(5), 2);
    let mut commit = staged(&world, upload, &[segment(0), second], &[5]);
    let NewContent::Chunks(new) = &mut commit.content else { panic!() };
    new.receipts.clear();
    world.put(commit).unwrap();
    assert_eq!(world.references(5), 3);
}

#[test]
fn a_chunk_that_others_refer_to_needs_receipts_all_the_same() {
    let mut world = World::new();
    world.put_chunks("other", &[5]);
    let new = NewChunks { receipts: Vec::new(), ..world.chunks(None, &[entry(5)]) };
    let refused = Err(Refusal::ShortOfQuorum { chunks: vec![address(5)] });
    assert_eq!(world.put(of_chunks("k", new)), refused, "a hash is not a credential");
}

#[test]
fn nobody_else_appends_to_an_upload_or_commits_it() {
    let mut world = World::new();
    let upload = begin(&mut world);
    append(&mut world, upload, 0, segment(0)).unwrap();
    let owner = Caller::Key("thief".to_owned());
    let Ok(Done::Session { session, .. }) = world.bare(Command::OpenSession { ttl_ms: 300_000, owner }) else {
        panic!()
    };
    let own = std::mem::replace(&mut world.session, session);
    world.open_window();
    let refused = Err(Refusal::NoSuchUpload(upload));
    assert_eq!(append(&mut world, upload, 1, segment(FULL)), refused);
    let commit = staged(&world, upload, &[segment(0)], &[]);
    assert_eq!(world.put(commit), Err(Refusal::NoSuchUpload(upload)));
    world.run(Command::AbortStaging { staging: upload }).unwrap();
    assert!(world.view().row(&StagingKey(upload)).unwrap().is_some());
    // The owner may come back with another session.
    world.bare(Command::EndSession { session: own }).unwrap();
    world.open_session();
    assert!(append(&mut world, upload, 1, segment(FULL)).is_ok());
}

#[test]
fn an_upload_is_committed_where_it_was_begun() {
    let mut world = World::new();
    world.bucket("two");
    let upload = begin(&mut world);
    let mut commit = staged(&world, upload, &[], &[1]);
    commit.path.bucket = name("two");
    assert_eq!(world.put(commit), Err(Refusal::NoSuchUpload(upload)));
    let mut commit = staged(&world, upload, &[], &[1]);
    let NewContent::Chunks(new) = &mut commit.content else { panic!() };
    new.chunking = Chunking::CONTENT;
    assert_eq!(world.put(commit), Err(Refusal::NoSuchUpload(upload)));
    let commit = staged(&world, upload, &[], &[1]);
    assert!(world.put(commit).is_ok());
}

#[test]
fn an_upload_that_is_given_up_lets_go_of_its_chunks() {
    let mut world = World::new();
    world.put_chunks("other", &[5]);
    let upload = begin(&mut world);
    append(&mut world, upload, 0, segment(0)).unwrap();
    let empty = begin(&mut world);
    for staging in [upload, empty, upload] {
        assert_eq!(world.run(Command::AbortStaging { staging }), Ok(Done::Nothing));
    }
    assert_eq!(world.usage().pending_bytes, 0);
    world.release();
    assert_eq!((world.references(4), world.references(5), world.releasing()), (0, 1, 0));
    assert_eq!(append(&mut world, upload, 1, segment(FULL)), Err(Refusal::NoSuchUpload(upload)));
}

#[test]
fn an_upload_ends_a_day_after_it_was_last_appended_to() {
    let mut world = World::new();
    let (upload, idle) = (begin(&mut world), begin(&mut world));
    world.wait_ms(STAGED_UPLOAD_MS / 2);
    world.open_window();
    append(&mut world, upload, 0, segment(0)).unwrap();
    world.wait_ms(STAGED_UPLOAD_MS / 2 + 1000);
    world.release();
    assert!(world.view().row(&StagingKey(idle)).unwrap().is_none());
    assert!(world.view().row(&StagingKey(upload)).unwrap().is_some(), "it was appended to since");
    world.wait_ms(STAGED_UPLOAD_MS / 2);
    world.release();
    assert!(world.view().row(&StagingKey(upload)).unwrap().is_none());
    assert_eq!((world.references(1), world.usage().pending_bytes), (0, 0));
}

#[test]
fn an_upload_outlives_its_bucket_only_to_be_let_go() {
    let mut world = World::new();
    let upload = begin(&mut world);
    append(&mut world, upload, 0, segment(0)).unwrap();
    world.run(Command::DeleteBucket { name: name("one") }).unwrap();
    world.bucket("one");
    let commit = staged(&world, upload, &[segment(0)], &[]);
    assert_eq!(world.put(commit), Err(Refusal::NoSuchUpload(upload)));
    assert_eq!(append(&mut world, upload, 1, segment(FULL)), Err(Refusal::NoSuchUpload(upload)));
    world.wait_ms(STAGED_UPLOAD_MS + READ_GRACE_MS);
    world.release();
    assert_eq!((world.references(1), world.usage()), (0, Usage::default()));
}
