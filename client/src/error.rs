//! What can go wrong, by operation.

use crate::options::RefusedBody;
use cairn_common::chunk::ChunkAddress;
use cairn_common::error::ErrorKind;
use cairn_common::ids::NodeId;
use cairn_common::limits::FILE_MAX_BYTES;
use cairn_common::name::FilePath;
use cairn_common::wire::chunk::ChunkError;
use cairn_common::wire::master::MasterError;

/// No client could be made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The configuration cannot be used.
    #[error("{0}")]
    Config(String),
    /// No master could be reached, or none accepts the access key.
    #[error(transparent)]
    Master(#[from] MasterError),
}

impl ConnectError {
    /// What the caller can do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            ConnectError::Config(_) => ErrorKind::Invalid,
            ConnectError::Master(error) => error.kind(),
        }
    }
}

/// An operation on names, buckets, keys or nodes failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The masters say no, or cannot be asked.
    #[error(transparent)]
    Master(#[from] MasterError),
}

impl Error {
    /// What the caller can do.
    pub fn kind(&self) -> ErrorKind {
        let Error::Master(error) = self;
        error.kind()
    }
}

/// A file was not stored, or it is not known whether it was.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// The body could not be read to its end. Nothing is visible.
    #[error("the body could not be read: {0}")]
    Source(std::io::Error),
    /// The body has another length than was stated. Nothing is visible.
    #[error("the body has {found} bytes; {stated} were stated")]
    Length {
        /// As stated, in bytes.
        stated: u64,
        /// As read, in bytes: more than stated, or all there was.
        found: u64,
    },
    /// The body is too large. Nothing is visible.
    #[error("a file has at most {FILE_MAX_BYTES} bytes")]
    TooLarge,
    /// The inspector refused the body. Nothing is visible.
    #[error("{0}")]
    Refused(RefusedBody),
    /// Too few chunkservers took a chunk. Nothing is visible.
    #[error("chunk {address:?} reached {durable} of the {wanted} chunkservers it needs{}", reasons(failures))]
    ShortOfQuorum {
        /// Which chunk.
        address: ChunkAddress,
        /// Copies that are durable.
        durable: usize,
        /// Copies that are needed.
        wanted: usize,
        /// What the others said.
        failures: Vec<(NodeId, ChunkError)>,
    },
    /// The masters say no, or cannot be asked.
    #[error(transparent)]
    Master(#[from] MasterError),
}

fn reasons(failures: &[(NodeId, ChunkError)]) -> String {
    failures.iter().map(|(node, error)| format!("; {node}: {error}")).collect()
}

impl PutError {
    /// What the caller can do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            PutError::Source(_) | PutError::Length { .. } | PutError::TooLarge | PutError::Refused(_) => {
                ErrorKind::Invalid
            }
            PutError::ShortOfQuorum { failures, .. } => {
                let full = failures.iter().filter(|(_, error)| error.kind() == ErrorKind::NoSpace).count();
                // Nodes that are down come back; nodes that are full do not empty themselves.
                if full > 0 && full * 2 >= failures.len() { ErrorKind::NoSpace } else { ErrorKind::Unavailable }
            }
            PutError::Master(error) => error.kind(),
        }
    }
}

/// A file was not read to its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GetError {
    /// The range does not lie in the file.
    #[error("the range does not lie in the file of {length} bytes")]
    Unsatisfiable {
        /// Length of the file, in bytes.
        length: u64,
    },
    /// No good copy of a chunk could be read. What was yielded before is right; the rest is missing.
    #[error("{path}: no good copy of chunk {address:?} at offset {offset} could be read{}", reasons(tried))]
    ChunkUnreadable {
        /// Which file.
        path: FilePath,
        /// Where in it the chunk starts, in bytes.
        offset: u64,
        /// Which chunk.
        address: ChunkAddress,
        /// Who was asked, and what they said.
        tried: Vec<(NodeId, ChunkError)>,
    },
    /// The body that the masters keep does not match its hash.
    #[error("{path}: the body kept by the masters does not match its hash")]
    InlineDamaged {
        /// Which file.
        path: FilePath,
    },
    /// The manifest contradicts itself.
    #[error("{path}: the manifest is damaged at offset {offset}")]
    ManifestDamaged {
        /// Which file.
        path: FilePath,
        /// Where, in bytes.
        offset: u64,
    },
    /// The masters say no, or cannot be asked.
    #[error(transparent)]
    Master(#[from] MasterError),
}

impl GetError {
    /// What the caller can do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            GetError::Unsatisfiable { .. } => ErrorKind::Invalid,
            GetError::ChunkUnreadable { tried, .. } => {
                let gone = |error: &ChunkError| matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotFound);
                // While a node that may hold a copy does not answer, the chunk is unavailable, not lost.
                if !tried.is_empty() && tried.iter().all(|(_, error)| gone(error)) {
                    ErrorKind::Corrupt
                } else {
                    ErrorKind::Unavailable
                }
            }
            GetError::InlineDamaged { .. } | GetError::ManifestDamaged { .. } => ErrorKind::Corrupt,
            GetError::Master(error) => error.kind(),
        }
    }
}
