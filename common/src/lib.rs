//! What every part of Cairn shares, and nothing that belongs to one of them: ids, chunks, manifests, placement, keys and
//! tokens, the messages between nodes, and the seams to the real world.
//!
//! Read in this order: [`ids`], [`name`], [`chunk`], [`manifest`], [`file`], [`version`], [`ring`], [`membership`], [`auth`], [`wire`],
//! [`backup`], [`net`], [`seam`]; servers also `listen` (feature `server`), tests also `sim` (feature `sim`). Pure code does no I/O and
//! knows no clock; what does gets both through [`seam`].

pub mod auth;
pub mod backup;
pub mod bucket;
pub mod chunk;
pub mod cors;
pub mod error;
pub mod file;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod ids;
pub mod lifecycle;
pub mod limits;
#[cfg(feature = "server")]
pub mod listen;
pub mod manifest;
pub mod membership;
pub mod name;
pub mod net;
pub mod policy;
pub mod quorum;
pub mod ring;
pub mod seam;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
pub mod version;
pub mod wire;
