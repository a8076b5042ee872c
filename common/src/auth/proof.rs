//! Message authentication: what is signed, and the signature.

use serde::{Deserialize, Serialize};

/// A proof of 16 bytes. Compared in constant time, by `==` and every other way.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Mac(pub [u8; 16]);

impl PartialEq for Mac {
    fn eq(&self, other: &Mac) -> bool {
        constant_time_eq::constant_time_eq_16(&self.0, &other.0)
    }
}

impl Eq for Mac {}

impl std::fmt::Debug for Mac {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mac(…)")
    }
}

/// What a proof covers: a purpose and fields, each with its length, so that no two different lists of fields give the same
/// bytes.
#[derive(Clone, Debug)]
pub struct MacInput {
    bytes: Vec<u8>,
}

impl MacInput {
    /// Starts the input of one kind of proof.
    pub fn new(purpose: &'static str) -> MacInput {
        MacInput { bytes: Vec::with_capacity(128) }.field(purpose.as_bytes())
    }

    /// Adds a field.
    pub fn field(mut self, bytes: &[u8]) -> MacInput {
        let length = u32::try_from(bytes.len()).expect("fields of proofs are short");
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// Adds a number.
    pub fn number(self, number: u64) -> MacInput {
        self.field(&number.to_be_bytes())
    }

    pub(super) fn mac(&self, key: &[u8; 32]) -> Mac {
        let hash = blake3::keyed_hash(key, &self.bytes);
        let (first, _) = hash.as_bytes().split_first_chunk().expect("a hash has 32 bytes");
        Mac(*first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_do_not_run_into_each_other() {
        let key = [1; 32];
        let mac = |input: MacInput| input.mac(&key);
        assert_eq!(mac(MacInput::new("p").field(b"ab").field(b"c")), mac(MacInput::new("p").field(b"ab").field(b"c")));
        assert_ne!(mac(MacInput::new("p").field(b"ab").field(b"c")), mac(MacInput::new("p").field(b"a").field(b"bc")));
        assert_ne!(mac(MacInput::new("p").field(b"")), mac(MacInput::new("p")));
        assert_ne!(mac(MacInput::new("p").number(1)), mac(MacInput::new("q").number(1)));
        assert_ne!(MacInput::new("p").mac(&[1; 32]), MacInput::new("p").mac(&[2; 32]));
    }
}
