//! What nodes and clients say to each other: requests, answers, errors, and the frames that carry them.
//!
//! Everything is encoded with postcard behind a format byte. Both sides of a cluster may be one release apart: variants and
//! fields are only ever appended, and a frame whose format byte is unknown is refused.

pub mod chunk;
pub mod command;
pub mod frame;
pub mod heal;
pub mod master;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// First byte of every encoded message, and of every stored record.
pub const FORMAT: u8 = 1;

/// Bytes that are no message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Another release wrote it.
    #[error("format {0} is not known to this release")]
    Format(u8),
    /// Cut, altered, or of another type.
    #[error("malformed message")]
    Malformed,
}

/// Encodes a message or a record: the format byte, then postcard.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    // Most fit: growing from nothing would take six steps.
    encode_into(value, Vec::with_capacity(128))
}

/// The same, behind what `bytes` holds already.
pub fn encode_into<T: Serialize>(value: &T, mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.push(FORMAT);
    postcard::to_extend(value, bytes).expect("messages have no unsized or failing parts")
}

/// Decodes what [`encode`] made. The whole input must be used up.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    match bytes.split_first() {
        None => Err(DecodeError::Malformed),
        Some((&FORMAT, body)) => match postcard::take_from_bytes(body) {
            Ok((value, [])) => Ok(value),
            _ => Err(DecodeError::Malformed),
        },
        Some((format, _)) => Err(DecodeError::Format(*format)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_messages_of_a_known_format_decode() {
        let bytes = encode(&("hello", 300u32));
        assert_eq!(decode::<(String, u32)>(&bytes).unwrap(), ("hello".to_owned(), 300));
        assert_eq!(decode::<(String, u32)>(&bytes[..bytes.len() - 1]), Err(DecodeError::Malformed));
        assert_eq!(decode::<(String, u32)>(&[&bytes[..], &[0]].concat()), Err(DecodeError::Malformed));
        assert_eq!(decode::<(String, u32)>(&[]), Err(DecodeError::Malformed));
        assert_eq!(decode::<(String, u32)>(&[9, 0]), Err(DecodeError::Format(9)));
    }

    #[test]
    fn a_length_that_lies_allocates_nothing() {
        // A sequence that says it has 2⁶⁰ elements.
        let lie = [FORMAT, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10];
        assert_eq!(decode::<Vec<u64>>(&lie), Err(DecodeError::Malformed));
    }
}
