//! Keys and the short proofs made with them.
//!
//! One hierarchy: the cluster key (held by masters only) → a key per node (held by that node and derivable by masters) →
//! a key per use. All proofs are BLAKE3 in keyed mode, 16 bytes, compared in constant time, without an algorithm field. A
//! chunkserver can therefore check what masters made for it, and can forge nothing that another node would accept.

mod join;
mod keys;
mod proof;
mod token;

pub use join::{JoinToken, ParseJoinTokenError};
pub use keys::{ClusterKey, NodeKey, SealError, Secret};
pub use proof::{Mac, MacInput};
pub use token::{OpenTicket, ReadToken, Receipt, TokenError, TokenKeys, WriteToken};
