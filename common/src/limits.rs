//! Every bound of the system in one place. Sizes are in bytes, times in milliseconds.
//!
//! A queue, a buffer or a wait without a line here is a defect.

/// Smallest chunk that content-defined cutting makes, but for the last of a file.
pub const CHUNK_MIN_BYTES: u32 = 256 << 10;
/// Average chunk of content-defined cutting. A power of two: the chunker's masks are made for those.
pub const CHUNK_AVERAGE_BYTES: u32 = 1 << 20;
/// Largest chunk of any cutting; also the largest record body and the largest chunk request body.
pub const CHUNK_MAX_BYTES: u32 = 4 << 20;
/// Chunks of fixed cutting, on the gateway path.
pub const CHUNK_FIXED_BYTES: u32 = 1 << 20;
/// Bytes that one chaining value of a chunk's outboard covers.
pub const GROUP_BYTES: u32 = 64 << 10;
/// Groups of the largest chunk.
pub const GROUPS_MAX: u32 = CHUNK_MAX_BYTES / GROUP_BYTES;
/// Files up to this size live in the masters.
pub const INLINE_MAX_BYTES: u64 = 16 << 10;
/// Largest file: 5 TiB, as S3.
pub const FILE_MAX_BYTES: u64 = 5 << 40;

/// Entries of a full manifest segment.
pub const SEGMENT_ENTRIES: usize = 1024;
/// Longest key of a file.
pub const KEY_MAX_BYTES: usize = 1024;
/// Sum of a file's user metadata names and values, as S3.
pub const USER_METADATA_MAX_BYTES: usize = 2 << 10;
/// Sum of all attributes of a file.
pub const ATTRIBUTES_MAX_BYTES: usize = 16 << 10;
/// Parts of a multipart upload.
pub const PARTS_MAX: u32 = 10_000;
/// Smallest part of a multipart upload but for the last.
pub const PART_MIN_BYTES: u64 = 5 << 20;
/// Largest part of a multipart upload and largest single S3 PUT.
pub const PART_MAX_BYTES: u64 = 5 << 30;
/// Parts of an upload that is appended to. All of them are let go in one step when it ends by itself.
pub const APPENDED_PARTS_MAX: u32 = 1_000;
/// Length of an upload that is appended to: parts of 2 GiB take half of its parts, and leave the others to broken connections.
pub const APPENDED_MAX_BYTES: u64 = 1 << 40;
/// Keys in one list page, one batch delete, one atomic rename or batch.
pub const LIST_MAX_KEYS: u32 = 1000;
/// Buckets of a tenant.
pub const BUCKETS_MAX: u32 = 10_000;
/// Ranges that one manifest may have of others: a file of the most parts, some of them copied from such a file.
pub const RANGES_MAX: u64 = 2 * PARTS_MAX as u64;
/// Rules of a bucket's lifecycle, as S3.
pub const LIFECYCLE_RULES_MAX: usize = 1000;
/// Characters of the name of such a rule, as S3.
pub const LIFECYCLE_ID_MAX_CHARS: usize = 255;
/// Days that such a rule can wait for: a hundred years.
pub const LIFECYCLE_DAYS_MAX: u32 = 36_500;
/// Earlier versions that such a rule can keep, as S3.
pub const LIFECYCLE_KEPT_MAX: u32 = 100;
/// Versions of one key that the rules are asked about at once, the newest of them.
pub const LIFECYCLE_WALK_MAX: usize = 100_000;
/// Versions that one command ends by the rules of a lifecycle.
pub const EXPIRED_AT_ONCE_MAX: usize = 1000;
/// Rules for cross-origin access of a bucket, as S3.
pub const CORS_RULES_MAX: usize = 100;
/// Bytes of all of them, as S3.
pub const CORS_MAX_BYTES: usize = 64 << 10;
/// Bytes of a bucket's policy, as S3.
pub const POLICY_MAX_BYTES: usize = 20 << 10;
/// Labels of a file, as S3.
pub const FILE_TAGS_MAX: u32 = 10;
/// Labels of a bucket, as S3.
pub const BUCKET_TAGS_MAX: u32 = 50;
/// Characters of the name of a label, as S3.
pub const TAG_NAME_MAX_CHARS: usize = 128;
/// Characters of the value of a label, as S3.
pub const TAG_VALUE_MAX_CHARS: usize = 256;
/// Prefixes of a bucket that anybody may read.
pub const PUBLIC_PREFIXES_MAX: usize = 100;
/// Access keys of a cluster.
pub const ACCESS_KEYS_MAX: u64 = 10_000;
/// Join tokens that are neither used nor over.
pub const JOIN_TOKENS_MAX: usize = 1000;
/// Names, zones, labels, reasons and ids that a command brings along.
pub const TEXT_MAX_BYTES: usize = 255;

/// Bytes of all commands in one log entry. The first command of an entry may be larger, up to [`FRAME_MAX_BYTES`].
pub const ENTRY_MAX_BYTES: usize = 1 << 20;
/// Commands in one log entry.
pub const ENTRY_COMMANDS_MAX: usize = 4096;
/// Commands that wait to be proposed; more are answered `Overloaded`.
pub const PROPOSALS_QUEUED_MAX: usize = 8192;
/// Rows that one release entry touches.
pub const RELEASE_ROWS_MAX: usize = 4096;
/// Largest frame between nodes.
pub const FRAME_MAX_BYTES: usize = 8 << 20;
/// Requests in flight on one framed connection.
pub const FRAME_REQUESTS_MAX: usize = 1024;

/// How far a master's clock may be from what most masters have.
pub const CLOCKS_APART_MAX_MS: u64 = 5 * 60_000;

/// Life of a session without a renewal.
pub const SESSION_TTL_MS: u64 = 5 * 60_000;
/// How often a session is renewed.
pub const SESSION_RENEW_MS: u64 = 60_000;
/// Sessions of a cluster.
pub const SESSIONS_MAX: u64 = 100_000;
/// Windows that one session may have open.
pub const WINDOWS_MAX: usize = 1024;
/// Answers kept for one session; a client may have this many commands unanswered.
pub const SESSION_UNANSWERED_MAX: u64 = 4096;
/// Life of an upload window.
pub const WINDOW_MAX_MS: u64 = 60 * 60_000;
/// Age at which a session replaces its standing window.
pub const WINDOW_REPLACE_MS: u64 = 5 * 60_000;
/// Chunks written under one window before it is replaced.
pub const WINDOW_CHUNKS_MAX: u64 = 4096;
/// Bytes that may be written to one node under one window.
pub const WINDOW_LIMIT_BYTES: u64 = 64 << 30;
/// How long an opened file may be read on.
pub const OPEN_TICKET_TTL_MS: u64 = 24 * 60 * 60_000;
/// Entries in a page of a manifest.
pub const PAGE_ENTRIES_MAX: usize = 256;
/// Nodes named for a chunk in a page; more are named when asked for.
pub const PAGE_NODES_MAX: usize = 4;
/// A request that waits for a leader longer than this is answered that there is none.
pub const BARRIER_TIMEOUT_MS: u64 = 5_000;
/// Life of a read token.
pub const READ_TOKEN_TTL_MS: u64 = 60 * 60_000;
/// How long the references of a version that left its last place are kept.
pub const READ_GRACE_MS: u64 = 60 * 60_000;
/// How long a finished multipart upload answers a repeated Complete or Abort.
pub const UPLOAD_RESULT_MS: u64 = 24 * 60 * 60_000;
/// How long a staged upload stays without being appended to.
pub const STAGED_UPLOAD_MS: u64 = 24 * 60 * 60_000;
/// Life of an upload that is appended to.
pub const APPENDED_UPLOAD_MS: u64 = 7 * 24 * 60 * 60_000;
/// How far a client's clock may be off when it signs a request, as S3.
pub const CLOCK_SKEW_MS: u64 = 15 * 60_000;
/// Life of a join token.
pub const JOIN_TOKEN_TTL_MS: u64 = 24 * 60 * 60_000;

/// Earlier epochs that stay readable while their moves are unfinished; further changes queue.
pub const EPOCHS_KEPT_MAX: usize = 8;
/// Copies a bucket may ask for.
pub const REPLICAS_MAX: u8 = 9;
/// Copies that a cluster rises to by itself.
pub const REPLICAS_DEFAULT: u8 = 3;
/// Masters that vote unless another number is set: the loss of one stops nothing.
pub const VOTERS_DEFAULT: u8 = 3;
/// Nodes in a ring, and nodes that are not removed.
pub const NODES_MAX: usize = 1024;
/// Disks of a node.
pub const VOLUMES_MAX: usize = 256;

/// A framed call without an answer after this long is given up, with an unknown outcome.
pub const CALL_TIMEOUT_MS: u64 = 10_000;
/// A chunk write or read without progress for this long is given up on that replica.
pub const CHUNK_STALL_MS: u64 = 10_000;
/// A framed connection on which nothing has come for this long, while a call waits, is asked for a sign of life.
pub const SILENCE_MS: u64 = 250;
/// A framed connection that gives no sign of life for this long, while a call waits, is given up with all its calls.
pub const SILENCE_MAX_MS: u64 = 3_000;
/// The same for calls to masters, of which another may lead by then.
pub const MASTER_SILENCE_MAX_MS: u64 = 800;
/// Connecting to a node.
pub const CONNECT_TIMEOUT_MS: u64 = 3_000;
/// Connecting to a master while others could be asked.
pub const MASTER_CONNECT_MS: u64 = 800;
/// A master that was silent is not asked, nor believed to lead, for this long: longer than the others need to notice the same
/// and to elect another.
pub const MASTER_SUSPECT_MS: u64 = 1_500;
/// Reading the head of an HTTP request.
pub const HEADER_TIMEOUT_MS: u64 = 10_000;
/// Memory of all chunk buffers of one client or gateway.
pub const BUFFER_BUDGET_BYTES: usize = 96 << 20;

/// A pack file of a chunkserver; smaller on small volumes, never below [`PACK_MIN_BYTES`].
pub const PACK_BYTES: u32 = 256 << 20;
/// Smallest pack: holds the largest chunk with all that surrounds it.
pub const PACK_MIN_BYTES: u32 = 5 << 20;
/// Share of a volume, in percent, that chunks never fill, so that removal and compaction work on a full disk. At least one pack.
pub const RESERVE_PERCENT: u64 = 5;
/// Bytes of packs that a start has to read again because the index did not cover them.
pub const INDEX_LAG_BYTES: u64 = 256 << 20;
/// Memory for an index's newest rows, per volume.
pub const INDEX_MEMTABLE_BYTES: usize = 4 << 20;
/// Changes to a volume that wait for its appender.
pub const APPEND_QUEUE_MAX: usize = 256;
/// Bytes of records that share one fdatasync. The first one may be larger.
pub const APPEND_GROUP_BYTES: usize = 16 << 20;
/// Pack files that a volume keeps open for reading.
pub const PACK_FILES_OPEN_MAX: usize = 128;
/// Chunks whose place and outboard a volume remembers, so that reading on does not look them up again.
pub const LOCATIONS_CACHED_MAX: usize = 2048;
/// Upload windows whose written bytes a chunkserver counts at a time.
pub const WINDOWS_COUNTED_MAX: usize = 1 << 16;
/// Memory of chunk bodies that are on their way into a chunkserver.
pub const INCOMING_BYTES_MAX: usize = 64 << 20;
/// How long a chunk body waits for that memory before it is refused.
pub const INCOMING_WAIT_MS: u64 = 5_000;
/// How long a chunk body may take to come in.
pub const INCOMING_BODY_MS: u64 = 60_000;
/// Chunk bodies on their way out of a chunkserver, each of which holds a few pieces in memory.
pub const OUTGOING_MAX: usize = 512;
/// A piece of a chunk body on its way out.
pub const OUTGOING_PIECE_BYTES: u32 = 128 << 10;
/// Re-verifications on behalf of readers at a time; more are dropped, the next reader reports again.
pub const REPORTED_CHECKS_MAX: usize = 4;
/// Chunks in one page of an inventory.
pub const INVENTORY_PAGE_MAX: usize = 1000;
/// Slots that a chunkserver compares with the masters at a time.
pub const COMPARED_SLOTS_MAX: u16 = 64;
/// Chunks whose placement is asked for at a time.
pub const PLACEMENT_MAX: usize = 256;
/// Chunks that a chunkserver fetches from others at the same time.
pub const FETCHES_MAX: usize = 4;
/// Bytes that a chunkserver fetches in a second, so that its clients come first.
pub const FETCH_BYTES_PER_SECOND: u64 = 64 << 20;
/// Bytes that a chunkserver reads back from its disks in a second.
pub const SCRUB_BYTES_PER_SECOND: u64 = 8 << 20;
/// Pause between two rounds of a chunkserver's upkeep when the last one found nothing to do.
pub const UPKEEP_PAUSE_MS: u64 = 60_000;
/// Pause when there is more to do.
pub const UPKEEP_RETRY_MS: u64 = 2_000;
/// Chunks that one pass of collection removes; the next pass goes on.
pub const COLLECTED_MAX: usize = 100_000;
/// Share of a node's bytes, in percent, above which a pass of collection stops and asks (P7).
pub const COLLECT_FUSE_PERCENT: u64 = 10;
/// Lost chunks that a node names.
pub const LOST_NAMED_MAX: usize = 100;
/// Confirmations that a chunkserver reads back for others at the same time.
pub const CONFIRMS_MAX: usize = 4;
/// Findings in one answer of an audit.
pub const FINDINGS_MAX: usize = 1000;
/// Misplaced rows that the leader looks at together.
pub const MISPLACED_PAGE_MAX: usize = 256;
/// A node that was not heard from for this long is called down.
pub const DOWN_AFTER_MS: u64 = 10_000;
/// A node that was not heard from for this long leaves the ring.
pub const DEAD_AFTER_MS: u64 = 10 * 60_000;
/// How often a chunkserver tells the masters how it is.
pub const HEARTBEAT_MS: u64 = 2_000;
/// Names in one certificate of a node.
pub const CERTIFICATE_NAMES_MAX: usize = 32;
/// How long a certificate of the cluster's own authority is valid; a node gets a new one when a third of that is left.
pub const CERTIFICATE_TTL_MS: u64 = 365 * 24 * 3_600_000;

const _: () = assert!(CHUNK_MIN_BYTES < CHUNK_AVERAGE_BYTES && CHUNK_AVERAGE_BYTES < CHUNK_MAX_BYTES);
const _: () = assert!(CHUNK_AVERAGE_BYTES.is_power_of_two() && GROUP_BYTES.is_power_of_two());
const _: () = assert!(CHUNK_MAX_BYTES.is_multiple_of(GROUP_BYTES) && CHUNK_FIXED_BYTES <= CHUNK_MAX_BYTES);
const _: () = assert!(INLINE_MAX_BYTES < ENTRY_MAX_BYTES as u64 && ENTRY_MAX_BYTES < FRAME_MAX_BYTES);
const _: () = assert!(SESSION_RENEW_MS * 3 < SESSION_TTL_MS && WINDOW_REPLACE_MS * 2 < WINDOW_MAX_MS);
const _: () = assert!(SEGMENT_ENTRIES as u64 <= WINDOW_CHUNKS_MAX && SEGMENT_ENTRIES <= RELEASE_ROWS_MAX);
const _: () = assert!(BUFFER_BUDGET_BYTES >= 8 * CHUNK_MAX_BYTES as usize);
const _: () = assert!(PACK_MIN_BYTES > CHUNK_MAX_BYTES + 64 * 1024 && PACK_BYTES > PACK_MIN_BYTES);
const _: () = assert!(INCOMING_BYTES_MAX >= 4 * CHUNK_MAX_BYTES as usize);
const _: () = assert!(OUTGOING_PIECE_BYTES.is_multiple_of(GROUP_BYTES));
const _: () = assert!(SILENCE_MS < MASTER_SILENCE_MAX_MS && MASTER_SILENCE_MAX_MS < SILENCE_MAX_MS);
const _: () = assert!(SILENCE_MAX_MS < CALL_TIMEOUT_MS && MASTER_SILENCE_MAX_MS < MASTER_ANSWER_MS);
/// How long one master may take to answer. Longer than a group needs for an election: a master that leads no more, or is
/// stopped, should not hold a call for as long as a connection may stay silent.
pub const MASTER_ANSWER_MS: u64 = 4_000;
/// How long a stretch of an audit may take, in which copies are read back from disks.
pub const AUDIT_ANSWER_MS: u64 = 10 * 60_000;
