//! Secrets, and what is derived from what.

use super::proof::{Mac, MacInput};
use crate::ids::{Generation, NodeId};
use crate::seam::Random;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// 32 secret bytes. Neither printable nor serialisable; wiped when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Secret([u8; 32]);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Sealed bytes that were altered, cut, or sealed under another key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("sealed bytes do not open: wrong key, or damaged")]
pub struct SealError;

impl Secret {
    /// Takes secret bytes.
    pub fn new(bytes: [u8; 32]) -> Secret {
        Secret(bytes)
    }

    /// A new random secret.
    pub fn random(random: &dyn Random) -> Secret {
        let mut bytes = [0; 32];
        random.fill(&mut bytes);
        Secret(bytes)
    }

    /// A secret for one `purpose` (a constant of the program), bound to `context`.
    pub fn derive(&self, purpose: &'static str, context: &[u8]) -> Secret {
        let mut hasher = blake3::Hasher::new_derive_key(purpose);
        hasher.update(&self.0).update(context);
        Secret(*hasher.finalize().as_bytes())
    }

    /// The proof that a holder of this secret says `input`.
    pub fn mac(&self, input: &MacInput) -> Mac {
        input.mac(&self.0)
    }

    /// Encrypts and authenticates `plain` (AES-256-GCM, random nonce in front). `context` must be given again to open.
    pub fn seal(&self, random: &dyn Random, context: &[u8], plain: &[u8]) -> Vec<u8> {
        let mut nonce = [0; NONCE_LEN];
        random.fill(&mut nonce);
        let mut sealed = plain.to_vec();
        let tag = self
            .cipher()
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(context), &mut sealed)
            .expect("records are far below the cipher's limit");
        [nonce.as_slice(), &sealed, tag.as_ref()].concat()
    }

    /// Reverse of [`Secret::seal`].
    pub fn open(&self, context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let (nonce, body) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(SealError)?;
        let mut body = body.to_vec();
        let opened = self
            .cipher()
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(context), &mut body)
            .map_err(|_| SealError)?;
        Ok(opened.to_vec())
    }

    /// The bytes, for the file that keeps them.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    fn cipher(&self) -> LessSafeKey {
        LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &self.0).expect("the key has the cipher's length"))
    }
}

/// The root of all secrets of a cluster. Held by masters only.
#[derive(Clone, Debug)]
pub struct ClusterKey(Secret);

impl ClusterKey {
    /// Takes the key of a cluster.
    pub fn new(secret: Secret) -> ClusterKey {
        ClusterKey(secret)
    }

    /// The key of one node in one generation.
    pub fn node_key(&self, generation: Generation, node: NodeId) -> NodeKey {
        let context = [generation.0.to_be_bytes(), node.0.to_be_bytes()].concat();
        NodeKey(self.0.derive("cairn 2026 node key", &context))
    }

    /// Under which the secrets of access keys are stored.
    pub fn at_rest(&self) -> Secret {
        self.0.derive("cairn 2026 secrets at rest", &[])
    }

    /// Under which masters sign what only masters read (open tickets).
    pub fn masters(&self, generation: Generation) -> Secret {
        self.0.derive("cairn 2026 masters", &generation.0.to_be_bytes())
    }

    /// From which the key of the cluster's certificate authority is made.
    pub fn authority(&self) -> Secret {
        self.0.derive("cairn 2026 certificate authority", &[])
    }

    /// The bytes, for the file that keeps them.
    pub fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }
}

/// The key of one node: it proves itself with it, and checks with keys derived from it what masters made for it.
#[derive(Clone, Debug)]
pub struct NodeKey(Secret);

impl NodeKey {
    /// Takes a key from the file that keeps it.
    pub fn new(secret: Secret) -> NodeKey {
        NodeKey(secret)
    }

    /// For connections between this node and masters.
    pub fn handshake(&self) -> Secret {
        self.0.derive("cairn 2026 node handshake", &[])
    }

    /// For write tokens to this node.
    pub fn write_tokens(&self) -> Secret {
        self.0.derive("cairn 2026 write tokens", &[])
    }

    /// For read tokens to this node.
    pub fn read_tokens(&self) -> Secret {
        self.0.derive("cairn 2026 read tokens", &[])
    }

    /// For receipts of this node.
    pub fn receipts(&self) -> Secret {
        self.0.derive("cairn 2026 receipts", &[])
    }

    /// The bytes, for the file that keeps them.
    pub fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seam::OsRandom;

    #[test]
    fn nodes_and_generations_have_keys_of_their_own() {
        let cluster = ClusterKey::new(Secret::new([7; 32]));
        let key = |generation, node| *cluster.node_key(Generation(generation), NodeId(node)).expose();
        assert_eq!(key(1, 1), key(1, 1));
        assert_ne!(key(1, 1), key(1, 2));
        assert_ne!(key(1, 1), key(2, 1));
    }

    #[test]
    fn sealed_bytes_open_only_whole_and_in_context() {
        let secret = Secret::random(&OsRandom);
        let sealed = secret.seal(&OsRandom, b"key AK1", b"hidden");
        assert_eq!(secret.open(b"key AK1", &sealed).unwrap(), b"hidden");
        assert_eq!(secret.open(b"key AK2", &sealed), Err(SealError));
        assert_eq!(Secret::new([1; 32]).open(b"key AK1", &sealed), Err(SealError));
        for at in 0..sealed.len() {
            let mut bad = sealed.clone();
            bad[at] ^= 1;
            assert_eq!(secret.open(b"key AK1", &bad), Err(SealError));
            assert_eq!(secret.open(b"key AK1", &sealed[..at]), Err(SealError));
        }
    }

    #[test]
    fn secrets_do_not_print_themselves() {
        assert_eq!(format!("{:?}", ClusterKey::new(Secret::new([0xab; 32]))), "ClusterKey(Secret(…))");
    }
}
