//! Every bound of the two front doors in one place. Sizes are in bytes, times in milliseconds.
//!
//! What a stranger can make a gateway hold: a request head (bounded by the listener), one running request out of
//! [`REQUESTS_MAX`], a body for as long as it arrives at the pace below, and the chunk buffers of the client's budget.

/// Requests that are served at a time, both APIs together; more are answered 503 with `Retry-After`.
pub const REQUESTS_MAX: usize = 1024;
/// Seconds after which a refused client should try again.
pub const RETRY_AFTER_S: u32 = 1;
/// Path and query of a request.
pub const URI_MAX_BYTES: usize = 8 << 10;

/// XML body of an operation on a list: 10,000 parts, or 1,000 keys of 1,024 bytes, each character escaped.
pub const XML_LIST_MAX_BYTES: usize = 8 << 20;
/// Any other XML body.
pub const XML_MAX_BYTES: usize = 1 << 20;
/// XML bodies above this, or of unknown length, are read only [`LARGE_XML_MAX`] at a time.
pub const LARGE_XML_BYTES: u64 = 256 << 10;
/// Large XML bodies that are held in memory at a time.
pub const LARGE_XML_MAX: usize = 8;
/// JSON body of the native API.
pub const JSON_MAX_BYTES: usize = 64 << 10;

/// A body of which nothing arrives for this long is given up.
pub const BODY_STALL_MS: u64 = 30_000;
/// A body is given up when its client was waited for this long, all pauses together, for fewer than
/// [`BODY_PACE_BYTES`]. Time in which the gateway itself was busy does not count.
pub const BODY_PACE_MS: u64 = 60_000;
/// See [`BODY_PACE_MS`]: 1 KiB a second.
pub const BODY_PACE_BYTES: u64 = 60 << 10;

/// What is read and thrown away of a body whose request was refused, so that its client sees the answer and not a reset.
pub const DRAIN_MAX_BYTES: u64 = 8 << 20;
/// How long that goes on.
pub const DRAIN_MS: u64 = 5_000;
/// Bodies that are thrown away at a time; more are cut off.
pub const DRAINS_MAX: usize = 64;

/// Head of a chunk of an `aws-chunked` body: 16 hex digits and a signature are 101.
pub const CHUNK_HEAD_MAX_BYTES: usize = 256;
/// Trailers of an `aws-chunked` body, together.
pub const TRAILERS_MAX_BYTES: usize = 4 << 10;
/// Smallest signed chunk but for the last, as S3: each costs a signature.
pub const SIGNED_CHUNK_MIN_BYTES: u64 = 8 << 10;
/// Pieces of a body below this are copied together up to [`PIECE_BYTES`]: a handle for each byte would take 32.
pub const SMALL_PIECE_BYTES: usize = 4 << 10;
/// See [`SMALL_PIECE_BYTES`].
pub const PIECE_BYTES: usize = 64 << 10;

/// How long a credential that was found is taken to be as it was.
pub const CREDENTIAL_AGE_MS: u64 = 1_000;
/// Credentials that are remembered.
pub const CREDENTIALS_MAX: usize = 1024;
/// Longest validity of a presigned URL, in seconds, as S3.
pub const PRESIGN_MAX_S: u32 = 7 * 24 * 60 * 60;

const _: () = assert!(SMALL_PIECE_BYTES * 2 <= PIECE_BYTES);
const _: () = assert!(XML_MAX_BYTES <= XML_LIST_MAX_BYTES && LARGE_XML_BYTES < XML_MAX_BYTES as u64);
const _: () = assert!(BODY_STALL_MS <= BODY_PACE_MS);
