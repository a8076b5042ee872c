//! The masters: buckets, files, manifests, references, uploads, sessions, membership and keys, in one replicated state.

pub mod raft;
