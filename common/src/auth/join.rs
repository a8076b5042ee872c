//! Join tokens: what lets one process become a node.

use super::keys::Secret;
use crate::seam::Random;
use std::fmt;
use std::str::FromStr;

/// A token as it is handed over: `cairn-join-ID-SECRET`, in hex. The masters keep only a key derived from the secret, with
/// which both sides prove themselves; neither the token nor that key is ever sent.
#[derive(Clone)]
pub struct JoinToken {
    /// Its public part.
    pub id: String,
    secret: [u8; 32],
}

/// The text is no join token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a join token (cairn-join-ID-SECRET, as `cairn admin join-token create` prints it)")]
pub struct ParseJoinTokenError;

impl JoinToken {
    /// A new token.
    pub fn new(random: &dyn Random) -> JoinToken {
        let (mut id, mut secret) = ([0; 8], [0; 32]);
        random.fill(&mut id);
        random.fill(&mut secret);
        JoinToken { id: hex::encode(id), secret }
    }

    /// What both sides prove themselves with, and what the new node's key is sealed under.
    pub fn secret(&self) -> Secret {
        Secret::new(blake3::derive_key("cairn 2026 join token", &self.secret))
    }

    /// The text to hand over. Deliberately not `Display`: it is a secret.
    pub fn expose(&self) -> String {
        format!("cairn-join-{}-{}", self.id, hex::encode(self.secret))
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinToken({}-…)", self.id)
    }
}

impl FromStr for JoinToken {
    type Err = ParseJoinTokenError;

    fn from_str(text: &str) -> Result<JoinToken, ParseJoinTokenError> {
        let (id, secret_hex) =
            text.strip_prefix("cairn-join-").and_then(|rest| rest.split_once('-')).ok_or(ParseJoinTokenError)?;
        let mut secret = [0; 32];
        hex::decode_to_slice(secret_hex, &mut secret).map_err(|_| ParseJoinTokenError)?;
        if id.len() != 16 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(ParseJoinTokenError);
        }
        Ok(JoinToken { id: id.to_owned(), secret })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seam::OsRandom;

    #[test]
    fn a_token_survives_being_handed_over() {
        let token = JoinToken::new(&OsRandom);
        let read: JoinToken = token.expose().parse().unwrap();
        assert_eq!((&read.id, read.secret().expose()), (&token.id, token.secret().expose()));
        assert!(!format!("{token:?}").contains(&hex::encode(token.secret)));
        for bad in ["", "cairn-join-", "cairn-join-00-00", &token.expose()[1..], &format!("{}0", token.expose())] {
            assert!(bad.parse::<JoinToken>().is_err(), "{bad}");
        }
    }
}
