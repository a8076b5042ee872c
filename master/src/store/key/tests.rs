//! All keys and values, pinned; and properties of the codecs.

use super::*;
use crate::store::{KeyRange, successor};
use bytes::Bytes;
use cairn_common::bucket::{Quota, Tags};
use cairn_common::chunk::{ChunkAddress, ChunkId, Chunking, IdKind};
use cairn_common::file::{Attributes, Checksum, ETags, S3Tag};
use cairn_common::ids::{
    BootCount, BucketId, ClusterId, Domain, Epoch, Generation, ManifestId, NodeId, SessionId, Stamp, TenantId,
    UploadId, VolumeId, WindowId,
};
use cairn_common::manifest::{Entry, Root, RootHasher};
use cairn_common::membership::{Membership, Node, NodeState, Roles, Volume, VolumeState};
use cairn_common::name::BucketName;
use cairn_common::ring::{Member, RingSpec};
use cairn_common::version::{
    DefaultRetention, Lock, ObjectLock, Period, Retention, RetentionMode, VersionId, Versioning,
};
use cairn_common::wire::command::{Committed, Done, Grant, KeyRecord, Outcome, Refusal, Rights};
use cairn_common::wire::master::{Caller, Usage};
use proptest::prelude::*;
use std::collections::BTreeMap;

const ID: u64 = 0x0102_0304_0506_0708;

fn address() -> ChunkAddress {
    ChunkAddress { domain: Domain(9), kind: IdKind::Plain, id: ChunkId([0xab; 32]) }
}

fn bucket_name() -> BucketName {
    BucketName::new("one").unwrap()
}

/// Every key with its bytes: these are on disks. A change here is a change of format.
#[test]
fn keys_are_pinned() {
    let current = CurrentKey { bucket: BucketId(ID), key: "a\0b" };
    let reference = ReferenceKey::of(address());
    let slot_and_address = format!("{:04x}0000000900{}", reference.slot.0, "ab".repeat(32));
    let (upload, session, window) = (UploadId(ID), SessionId(ID), WindowId(9));
    let due = |what| DueKey { due: Stamp(7), what }.encode();
    let multipart = MultipartKey { bucket: BucketId(7), key: "a\0b".to_owned(), upload };
    let pinned: [(KeyBytes, String); 39] = [
        (current.encode(), "0102030405060708610062".into()),
        (AttributesKey(current).encode(), "0102030405060708610062".into()),
        (InlineKey(InlineId(ID)).encode(), "0102030405060708".into()),
        (ManifestKey(ManifestId(ID)).encode(), "0102030405060708".into()),
        (SegmentKey { manifest: ManifestId(ID), start: 258 }.encode(), "01020304050607080000000000000102".into()),
        (reference.encode(), slot_and_address.clone()),
        (MisplacedKey(reference).encode(), format!("20{slot_and_address}")),
        (SessionKey(session).encode(), "010102030405060708".into()),
        (ProgressKey(session).encode(), "020102030405060708".into()),
        (AnswerKey { session, sequence: 5 }.encode(), "0301020304050607080000000000000005".into()),
        (WindowKey { session, window }.encode(), "0401020304050607080000000000000009".into()),
        (WindowStartKey(window).encode(), "050000000000000009".into()),
        (ClockKey.encode(), "01".into()),
        (TotalsKey.encode(), "02".into()),
        (MembershipKey.encode(), "03".into()),
        (MembershipStampKey.encode(), "04".into()),
        (FreshVolumesKey(NodeId(3)).encode(), "0500000003".into()),
        (BucketKey(&bucket_name()).encode(), "0a6f6e65".into()),
        (BucketOfTenantKey { tenant: TenantId(2), name: bucket_name() }.encode(), "0b000000026f6e65".into()),
        (UsageKey(BucketId(ID)).encode(), "0c0102030405060708".into()),
        (TenantKey(TenantId(2)).encode(), "0d00000002".into()),
        (QuotaKey(BucketId(ID)).encode(), "0e0102030405060708".into()),
        (PublicKey(BucketId(ID)).encode(), "0f0102030405060708".into()),
        (BucketTagsKey(BucketId(ID)).encode(), "100102030405060708".into()),
        (NullVersionKey { bucket: BucketId(7), key: "k".to_owned() }.encode(), "1100000000000000076b".into()),
        (LifecycleKey(BucketId(ID)).encode(), "120102030405060708".into()),
        (CorsKey(BucketId(ID)).encode(), "130102030405060708".into()),
        (SharingKey(BucketId(ID)).encode(), "180102030405060708".into()),
        (PolicyKey(BucketId(ID)).encode(), "190102030405060708".into()),
        (StagingKey(upload).encode(), "140102030405060708".into()),
        (multipart.encode(), "1500000000000000076100ff6200000102030405060708".into()),
        (PartKey { upload, number: 3 }.encode(), "16010203040506070800000003".into()),
        (FinishedKey(upload).encode(), "170102030405060708".into()),
        (AppendedKey(upload).encode(), "1a0102030405060708".into()),
        (due(Due::Release(ManifestId(ID))), "1e0000000000000007010102030405060708".into()),
        (due(Due::Window(session, window)), "1e00000000000000070401020304050607080000000000000009".into()),
        (HoldKey(Stamp(7)).encode(), "1f0000000000000007".into()),
        (AccessKeyKey("AK").encode(), "28414b".into()),
        (JoinTokenKey("tok".to_owned()).encode(), "29746f6b".into()),
    ];
    for (key, wanted) in pinned {
        assert_eq!(hex::encode(key), wanted);
    }
    assert_eq!(hex::encode(HoldersKey::Inline(InlineId(ID)).encode()), "21010102030405060708");
    assert_eq!(hex::encode(HoldersKey::Manifest(ManifestId(ID)).encode()), "21020102030405060708");
    assert_eq!(hex::encode(due(Due::Staging(upload))), "1e0000000000000007020102030405060708");
    assert_eq!(hex::encode(due(Due::Finished(upload))), "1e0000000000000007030102030405060708");
    assert_eq!(hex::encode(due(Due::Appended(upload))), "1e0000000000000007070102030405060708");
}

fn current(s3: S3Tag, body: Body, attributes: bool) -> CurrentRow {
    CurrentRow {
        stamp: Stamp(ID),
        length: 258,
        tags: ETags { root: Root([0xcd; 32]), s3 },
        body,
        attributes,
        versioned: false,
    }
}

/// Checks a value's bytes, and that they are read back.
fn pin<R: Record + PartialEq + std::fmt::Debug>(row: R, wanted: &str) {
    let bytes = row.to_bytes(&mut Vec::new());
    assert_eq!(hex::encode(&bytes), wanted, "{row:?}");
    assert_eq!(R::from_slice(&bytes).unwrap(), row);
    assert_eq!(R::from_bytes(bytes.clone()).unwrap(), row);
    let mut other_format = bytes.to_vec();
    other_format[0] = 9;
    assert_eq!(R::from_slice(&other_format), Err(DecodeError::Format(9)));
    assert!(R::from_slice(&[]).is_err());
}

#[test]
fn values_that_every_command_touches_are_pinned() {
    let root = "cd".repeat(32);
    let head = |shape: &str| format!("01{shape}01020304050607080000000000000102{root}");
    let md5 = [0xee; 16];
    let e = "ee".repeat(16);
    pin(current(S3Tag::Root, Body::Empty, false), &head("00"));
    pin(current(S3Tag::Md5(md5), Body::Inline(InlineId(ID)), false), &format!("{}{e}0102030405060708", head("05")));
    let multipart = current(S3Tag::Multipart(md5, 3), Body::Manifest(ManifestId(ID)), true);
    pin(multipart, &format!("{}{e}000000030102030405060708", head("1a")));
    assert!(multipart.to_bytes(&mut Vec::new()).len() <= 80);
    pin(CurrentRow { versioned: true, ..current(S3Tag::Root, Body::Empty, false) }, &head("20"));
    let inline = InlineRow { hash: [0xcd; 32], bytes: Bytes::from_static(b"hello") };
    pin(inline, &format!("01{root}68656c6c6f"));
    pin(300u64, "01ac02");
    pin(ProgressRow { lowest: 1, next: 300 }, "0101ac02");
    let session = SessionRow { owner: Caller::Key("AK".to_owned()), ttl_ms: 5, expires: Stamp(300) };
    pin(session, "010102414b05ac02");
    pin(Present, "01");
    pin(SessionId(300), "01ac02");
    pin(
        Usage { files: 1, bytes: 300, uploads: 2, pending_bytes: 3, versions: 4, version_bytes: 5 },
        "0101ac0202030405",
    );
    let refused: Outcome = Err(Refusal::WindowEnded);
    pin(refused, "010109");
    let tags = ETags { root: Root([0xcd; 32]), s3: S3Tag::Root };
    let version = Some(VersionId::At(Stamp(300)));
    let committed = Committed { stamp: Stamp(300), version, length: 5, tags, replicas_durable: 2, replaced: true };
    pin(Outcome::Ok(Done::Committed(committed)), &format!("010004ac020101ac0205{root}020201"));
    let reference = ReferenceRow { count: 2, length: 300, last: ManifestId(7), asked: 4, follows: true };
    pin(reference, "0102ac02070401");
}

#[test]
fn values_of_manifests_and_uploads_are_pinned() {
    let (root, chunk) = ("cd".repeat(32), "ab".repeat(32));
    let entry = Entry::chunk(address(), 300);
    let entry_bytes = format!("000900{chunk}ac0200ac0200");
    let manifest = ManifestRow {
        root: Root([0xcd; 32]),
        length: 300,
        entries: 1,
        chunking: Some(Chunking::Fixed { bytes: 7 }),
        domain: Domain(9),
        replicas: Some(3),
        copies: 2,
        composite: false,
        embedded: vec![entry.clone()],
    };
    pin(manifest, &format!("01{root}ac0201010007090103020001{entry_bytes}"));
    pin(SegmentRow { index: 2, entries: vec![entry] }, &format!("010201{entry_bytes}"));
    let staging = StagingRow {
        bucket: BucketId(7),
        tenant: TenantId(1),
        replicas: None,
        owner: Caller::Node(NodeId(3)),
        chunking: Chunking::Fixed { bytes: 7 },
        hasher: RootHasher::new(),
        copies: Some(2),
        touched: Stamp(300),
    };
    pin(staging, &format!("0107010002030007{}00000102ac02", "00".repeat(32)));
    let attributes = Attributes { content_type: Some("x".to_owned()), ..Attributes::default() };
    pin(attributes.clone(), "0101017800000000000000000000");
    let multipart = MultipartRow { attributes, checksum: Some(("C".to_owned(), true)), length: Some(300) };
    pin(multipart, "01010178000000000000000000000101430101ac02");
    let checksums = BTreeMap::from([("C".to_owned(), Checksum { value: vec![1, 2], parts: None })]);
    let part = PartRow {
        body: Body::Manifest(ManifestId(7)),
        composite: true,
        root: Root([0xcd; 32]),
        length: 300,
        md5: [0xee; 16],
        copies: 2,
        stamp: Stamp(300),
        checksums,
    };
    pin(part, &format!("01020701{root}ac02{}02ac0201014302010200", "ee".repeat(16)));
    let finished = FinishedRow { bucket: BucketId(7), key: "k".to_owned(), committed: None };
    pin(finished, "0107016b00");
    pin(AppendedRow { bucket: BucketId(7), key: "k".to_owned() }, "0107016b");
}

#[test]
fn earlier_versions_are_pinned_and_the_newest_comes_first() {
    let key = |stamp| HistoryKey { bucket: BucketId(7), key: "a\0".to_owned(), stamp: Stamp(stamp) };
    assert_eq!(hex::encode(key(ID).encode()), "00000000000000076100ff0000fefdfcfbfaf9f8f7");
    assert!(key(2).encode() < key(1).encode());
    assert_eq!(HistoryKey::decode(&key(ID).encode()), Some(key(ID)));
    pin(HistoryRow { versioned: true, file: None }, "010100");
    let (tags, body) = (ETags { root: Root([0xcd; 32]), s3: S3Tag::Root }, Body::Inline(InlineId(300)));
    let retention = Some(Retention { mode: RetentionMode::Compliance, until_ms: 300 });
    let attributes = Attributes { lock: Lock { retention, legal_hold: true }, ..Attributes::default() };
    let file = KeptFile { length: 5, tags, body, attributes };
    let row = HistoryRow { versioned: false, file: Some(Box::new(file)) };
    pin(row, &format!("01000105{}0201ac02000000000000000000{}", "cd".repeat(32), "0101ac0201"));
}

#[test]
fn values_of_the_cluster_are_pinned() {
    pin(Stamp(300), "01ac02");
    let default = DefaultRetention { mode: RetentionMode::Compliance, period: Period::Days(30) };
    let bucket = BucketRow {
        id: BucketId(7),
        tenant: TenantId(1),
        created: Stamp(300),
        replicas: Some(2),
        versioning: Versioning::Enabled,
        lock: Some(ObjectLock { default: Some(default) }),
    };
    pin(bucket, "010701ac02010201010101001e");
    pin(Quota { bytes: Some(300), files: None }, "0101ac0200");
    pin(PolicyRow { text: "{}".to_owned() }, "01027b7d");
    pin(vec!["a/".to_owned()], "010102612f");
    pin(Tags::from([("a".to_owned(), "b".to_owned())]), "010101610162");
    pin(TenantRow { buckets: 3 }, "0103");
    let totals = Totals {
        buckets: 1,
        sessions: 2,
        keys: 3,
        releasing: 4,
        misplaced: 5,
        due_from: Stamp(300),
        last_volume: VolumeId(7),
    };
    pin(totals, "010102030405ac0207");
    pin(HoldRow { purpose: "b".to_owned() }, "010162");
    pin(vec![NodeId(1), NodeId(300)], "010201ac02");
    pin(vec![VolumeId(7)], "010107");
    let token = JoinTokenRow { secret_hash: [0xcd; 32], expires: Stamp(300), used_by: Some(NodeId(2)) };
    pin(token, &format!("01{}ac020102", "cd".repeat(32)));
    let record = KeyRecord {
        access: "AK".to_owned(),
        name: "n".to_owned(),
        sealed_secret: vec![1, 2],
        tenant: TenantId(1),
        cluster_admin: true,
        grants: vec![Grant {
            bucket: None,
            prefix: "p".to_owned(),
            rights: Rights { read: true, ..Rights::default() },
        }],
        created: Stamp(300),
        expires: None,
    };
    pin(record, "0102414b016e0201020101010001700100000000ac0200");
    let volume = Volume { state: VolumeState::Live, label: "d".to_owned() };
    let node = Node {
        id: NodeId(1),
        name: "n".to_owned(),
        zone: "z".to_owned(),
        weight: 4,
        address: "u".to_owned(),
        roles: Roles { master: true, chunkserver: true, gateway: false },
        state: NodeState::Live,
        boot: BootCount(2),
        served_boot: BootCount(1),
        volumes: BTreeMap::from([(VolumeId(7), volume)]),
    };
    let membership = Membership {
        cluster: ClusterId([0xaa; 16]),
        generation: Generation(1),
        revision: 9,
        nodes: BTreeMap::from([(NodeId(1), node)]),
        rings: vec![RingSpec::new(Epoch(5), vec![Member { node: NodeId(1), zone: "z".to_owned(), weight: 4 }])],
        replicas: 3,
        replicas_rise: true,
        voters: 3,
    };
    // Cluster, generation, revision; a node with its volume; a ring of one member and its calibration; copies; votes.
    let node = "010101016e017a0401750101000102010107000164";
    let ring = "01050101017a0401808004808004808004";
    pin(membership, &format!("01{}0109{node}01{ring}030103", "aa".repeat(16)));
}

fn text() -> impl Strategy<Value = String> {
    let characters = vec!['a', 'b', '\0', '\u{1}', '\u{7f}', 'ÿ', '\u{10ffff}'];
    proptest::collection::vec(proptest::sample::select(characters), 0..5)
        .prop_map(|characters| characters.into_iter().collect())
}

fn due() -> impl Strategy<Value = Due> {
    prop_oneof![
        any::<u64>().prop_map(|id| Due::Release(ManifestId(id))),
        any::<u64>().prop_map(|id| Due::Staging(UploadId(id))),
        any::<u64>().prop_map(|id| Due::Finished(UploadId(id))),
        any::<u64>().prop_map(|id| Due::Appended(UploadId(id))),
        any::<(u64, u64)>().prop_map(|(session, window)| Due::Window(SessionId(session), WindowId(window))),
    ]
}

proptest! {
    #[test]
    fn composite_keys_sort_as_their_fields_do(one in (0u64..3, text(), any::<u64>()), other in (0u64..3, text(), any::<u64>())) {
        let multipart = |(bucket, key, upload): &(u64, String, u64)| {
            MultipartKey { bucket: BucketId(*bucket), key: key.clone(), upload: UploadId(*upload) }.encode()
        };
        prop_assert_eq!(multipart(&one).cmp(&multipart(&other)), one.cmp(&other));
        let current = |(bucket, key, _): &(u64, String, u64)| CurrentKey { bucket: BucketId(*bucket), key }.encode();
        prop_assert_eq!(current(&one).cmp(&current(&other)), (one.0, &one.1).cmp(&(other.0, &other.1)));
    }

    #[test]
    fn a_prefix_of_a_text_is_a_prefix_of_its_keys(bucket: u64, prefix in text(), key in text(), upload: u64) {
        let range = KeyRange::prefix(MultipartKey::prefix(BucketId(bucket), &prefix));
        let encoded = MultipartKey { bucket: BucketId(bucket), key: key.clone(), upload: UploadId(upload) }.encode();
        prop_assert_eq!(range.contains(&encoded), key.starts_with(&prefix));
    }

    #[test]
    fn keys_are_read_back(id: u64, number: u32, stamp: u64, key in text(), what in due(), id_bytes: [u8; 32]) {
        let multipart = MultipartKey { bucket: BucketId(id), key: key.clone(), upload: UploadId(stamp) };
        prop_assert_eq!(MultipartKey::decode(&multipart.encode()), Some(multipart));
        let current = CurrentKey { bucket: BucketId(id), key: &key };
        let encoded = current.encode();
        prop_assert_eq!(CurrentKey::decode(&encoded), Some(current));
        let part = PartKey { upload: UploadId(id), number };
        prop_assert_eq!(PartKey::decode(&part.encode()), Some(part));
        let due = DueKey { due: Stamp(stamp), what };
        prop_assert_eq!(DueKey::decode(&due.encode()), Some(due));
        let segment = SegmentKey { manifest: ManifestId(id), start: stamp };
        prop_assert_eq!(SegmentKey::decode(&segment.encode()), Some(segment));
        let address = ChunkAddress { domain: Domain(number), kind: IdKind::Stored, id: ChunkId(id_bytes) };
        let reference = ReferenceKey::of(address);
        prop_assert_eq!(ReferenceKey::decode(&reference.encode()), Some(reference));
        prop_assert_eq!(MisplacedKey::decode(&MisplacedKey(reference).encode()), Some(MisplacedKey(reference)));
        let answer = AnswerKey { session: SessionId(id), sequence: stamp };
        prop_assert_eq!(AnswerKey::decode(&answer.encode()), Some(answer));
        let window = WindowKey { session: SessionId(id), window: WindowId(stamp) };
        prop_assert_eq!(WindowKey::decode(&window.encode()), Some(window));
    }

    #[test]
    fn bytes_that_are_no_row_are_refused_and_nothing_panics(bytes: Vec<u8>, format in any::<bool>()) {
        let bytes = if format { [&[1], &bytes[..]].concat() } else { bytes };
        let _ = CurrentRow::from_slice(&bytes);
        let _ = InlineRow::from_slice(&bytes);
        let _ = ManifestRow::from_slice(&bytes);
        let _ = SegmentRow::from_slice(&bytes);
        let _ = StagingRow::from_slice(&bytes);
        let _ = Membership::from_slice(&bytes);
        let _ = Outcome::from_slice(&bytes);
        let _ = (CurrentKey::decode(&bytes), MultipartKey::decode(&bytes), DueKey::decode(&bytes));
        let _ = (ReferenceKey::decode(&bytes), PartKey::decode(&bytes), successor(&bytes));
    }

    #[test]
    fn cut_rows_are_refused(length: u64, cut in 0usize..74) {
        let row = CurrentRow { length, ..current(S3Tag::Md5([1; 16]), Body::Inline(InlineId(5)), true) };
        let bytes = row.to_bytes(&mut Vec::new());
        prop_assert!(CurrentRow::from_slice(&bytes[..cut.min(bytes.len() - 1)]).is_err());
        prop_assert!(CurrentRow::from_slice(&[&bytes[..], &[0]].concat()).is_err());
    }
}
