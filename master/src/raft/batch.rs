//! A log entry: commands, and the stamp of the first.

use bytes::Bytes;
use cairn_common::ids::Stamp;
use cairn_common::wire::command::Envelope;
use cairn_common::wire::{self, DecodeError};
use serde::{Deserialize, Serialize};

/// Level of the newest command kind or meaning that this release knows. An entry of a higher one was written by a newer
/// release; a node that meets it stops, for skipping it would make its state differ from the others'.
pub(super) const FEATURE_LEVEL: u16 = 1;

/// Commands that are applied together. Command `i` has stamp `base + i`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    level: u16,
    /// Stamp of the first command.
    pub base: Stamp,
    /// The commands in order.
    pub commands: Vec<Envelope>,
}

/// An entry that cannot be applied.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// A newer release wrote it.
    #[error(
        "log entry of feature level {0}; this release knows up to {FEATURE_LEVEL}. Start the newer release on this node"
    )]
    Level(u16),
    /// It cannot be read.
    #[error("log entry cannot be read: {0}")]
    Decode(#[from] DecodeError),
}

impl Batch {
    /// A batch of this release's level.
    pub fn new(base: Stamp, commands: Vec<Envelope>) -> Batch {
        Batch { level: FEATURE_LEVEL, base, commands }
    }

    /// The bytes of the log entry.
    pub fn encode(&self) -> Bytes {
        let commands: Vec<Vec<u8>> = self.commands.iter().map(encode_command).collect();
        Batch::assemble(self.base, &commands)
    }

    /// The bytes of the log entry with these commands, each encoded by [`encode_command`]: whoever proposes a command encodes
    /// it, and the one thread that drives the log only puts them together.
    pub fn assemble(base: Stamp, commands: &[Vec<u8>]) -> Bytes {
        let bytes: usize = commands.iter().map(Vec::len).sum();
        let mut entry = Vec::with_capacity(bytes + 32);
        entry.push(wire::FORMAT);
        // The fields of the struct in order, as postcard writes them; a list is its length and its elements.
        let head = (FEATURE_LEVEL, base, commands.len() as u64);
        let mut entry = postcard::to_extend(&head, entry).expect("numbers can be encoded");
        commands.iter().for_each(|command| entry.extend_from_slice(command));
        entry.into()
    }

    /// Reverse of [`Batch::encode`].
    pub fn decode(bytes: &[u8]) -> Result<Batch, BatchError> {
        // The level stands first, so that it can be read where the rest cannot.
        if let [wire::FORMAT, rest @ ..] = bytes
            && let Ok((level, _)) = postcard::take_from_bytes::<u16>(rest)
            && level > FEATURE_LEVEL
        {
            return Err(BatchError::Level(level));
        }
        Ok(wire::decode(bytes)?)
    }
}

/// A command as it stands in a log entry.
pub fn encode_command(command: &Envelope) -> Vec<u8> {
    postcard::to_allocvec(command).expect("commands have no unsized or failing parts")
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_common::wire::command::Command;

    fn batch(level: u16) -> Batch {
        Batch { level, ..Batch::new(Stamp(77), vec![Envelope { session: None, command: Command::Release }]) }
    }

    #[test]
    fn batches_survive_encoding() {
        assert_eq!(Batch::decode(&batch(1).encode()), Ok(batch(1)));
        assert_eq!(batch(1).encode(), wire::encode(&batch(1)));
        assert!(matches!(Batch::decode(&batch(1).encode()[..5]), Err(BatchError::Decode(_))));
    }

    #[test]
    fn a_batch_of_a_newer_release_is_named_as_such() {
        assert_eq!(Batch::decode(&wire::encode(&batch(2))), Err(BatchError::Level(2)));
        let mut unreadable = wire::encode(&batch(700));
        unreadable.truncate(4);
        assert_eq!(Batch::decode(&unreadable), Err(BatchError::Level(700)));
    }
}
