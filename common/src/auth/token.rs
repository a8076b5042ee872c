//! Tokens that masters give clients for a chunkserver, and receipts that chunkservers give clients for the masters.
//!
//! A token is for one node and made under that node's key; it names no chunk hash as a right by itself (P5). None is bound to
//! an epoch: a ring change must not end every upload at once.

use super::keys::{NodeKey, Secret};
use super::proof::{Mac, MacInput};
use crate::chunk::ChunkAddress;
use crate::ids::{BootCount, Domain, KeyId, ManifestId, NodeId, Stamp, VolumeId, WindowId};
use serde::{Deserialize, Serialize};

/// Why a token or a receipt was refused. Deliberately coarse: an attacker learns nothing from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum TokenError {
    /// Altered, made for another node, another chunk, or another use.
    #[error("the token is not valid here")]
    Invalid,
    /// Its time is over; ask the masters for a new one.
    #[error("the token has expired")]
    Expired,
}

/// The right to write chunks of a domain to one node within an upload window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteToken {
    /// Generation of the key it was made with.
    pub key: KeyId,
    /// Whose chunks.
    pub domain: Domain,
    /// Under which window.
    pub window: WindowId,
    /// Bytes that may be written to the node under this window.
    pub limit_bytes: u64,
    /// Last millisecond (since 1970) at which the node accepts it.
    pub expires_ms: u64,
    /// Whether its bearer may get receipts for chunks of the domain by naming them, without showing their bytes. Only for those
    /// who may read everything of the tenant: to them a hash says nothing that they could not have (P5).
    pub finds: bool,
    /// The proof.
    pub mac: Mac,
}

/// The right to read one chunk from one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadToken {
    /// Generation of the key it was made with.
    pub key: KeyId,
    /// Last millisecond (since 1970) at which the node accepts it.
    pub expires_ms: u64,
    /// The proof.
    pub mac: Mac,
}

/// A chunkserver's word that a chunk is on disk on one of its volumes, fsynced (P1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Generation of the key it was made with.
    pub key: KeyId,
    /// Which node says so.
    pub node: NodeId,
    /// Which of its volumes holds the chunk.
    pub volume: VolumeId,
    /// In which run of the node.
    pub boot: BootCount,
    /// Under which window the chunk was written or found.
    pub window: WindowId,
    /// Length of the chunk, in bytes.
    pub length: u32,
    /// The proof, which also covers the chunk's address.
    pub mac: Mac,
}

/// A master's word that the bearer opened a file, so that the rest of its manifest can be read after the name is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenTicket {
    /// What was opened.
    pub manifest: ManifestId,
    /// Whose chunks it names.
    pub domain: Domain,
    /// Last millisecond (since 1970) at which masters accept it.
    pub expires_ms: u64,
    /// The proof.
    pub mac: Mac,
}

/// The keys of one node for tokens and receipts, derived once.
#[derive(Clone, Debug)]
pub struct TokenKeys {
    key: KeyId,
    node: NodeId,
    write: Secret,
    read: Secret,
    receipt: Secret,
}

impl TokenKeys {
    /// Derives the keys of `node`.
    pub fn new(key: KeyId, node: NodeId, node_key: &NodeKey) -> TokenKeys {
        let (write, read, receipt) = (node_key.write_tokens(), node_key.read_tokens(), node_key.receipts());
        TokenKeys { key, node, write, read, receipt }
    }

    /// Masters: a write token for this node.
    pub fn write_token(&self, domain: Domain, window: WindowId, limit_bytes: u64, expires_ms: u64) -> WriteToken {
        let mac = Mac([0; 16]);
        self.sign(WriteToken { key: self.key, domain, window, limit_bytes, expires_ms, finds: false, mac })
    }

    /// Masters: the same write token for somebody who may read everything of the tenant.
    pub fn finding(&self, token: WriteToken) -> WriteToken {
        self.sign(WriteToken { finds: true, ..token })
    }

    fn sign(&self, mut token: WriteToken) -> WriteToken {
        token.mac = self.write.mac(&self.write_input(&token));
        token
    }

    /// Chunkserver: whether `token` allows writing chunks of `domain` here, now.
    pub fn check_write(&self, token: &WriteToken, domain: Domain, now_ms: u64) -> Result<(), TokenError> {
        let valid = token.key == self.key && token.mac == self.write.mac(&self.write_input(token));
        if !valid || token.domain != domain {
            return Err(TokenError::Invalid);
        }
        if now_ms > token.expires_ms { Err(TokenError::Expired) } else { Ok(()) }
    }

    /// Masters: a read token for one chunk on this node.
    pub fn read_token(&self, address: &ChunkAddress, expires_ms: u64) -> ReadToken {
        let mac = self.read.mac(&self.chunk_input("read", address, expires_ms));
        ReadToken { key: self.key, expires_ms, mac }
    }

    /// Chunkserver: whether `token` allows reading the chunk here, now.
    pub fn check_read(&self, token: &ReadToken, address: &ChunkAddress, now_ms: u64) -> Result<(), TokenError> {
        self.check_mac(token, &self.chunk_input("read", address, token.expires_ms), now_ms)
    }

    fn check_mac(&self, token: &ReadToken, input: &MacInput, now_ms: u64) -> Result<(), TokenError> {
        if token.key != self.key || token.mac != self.read.mac(input) {
            return Err(TokenError::Invalid);
        }
        if now_ms > token.expires_ms { Err(TokenError::Expired) } else { Ok(()) }
    }

    /// Masters: the right to have this node confirm that it holds a chunk, as something refers to it at `stamp`. No right to read
    /// it.
    pub fn confirm_token(&self, address: &ChunkAddress, stamp: Stamp, expires_ms: u64) -> ReadToken {
        let mac = self.read.mac(&self.confirm_input(address, stamp, expires_ms));
        ReadToken { key: self.key, expires_ms, mac }
    }

    /// Chunkserver: whether `token` allows asking whether the chunk is held here, now.
    pub fn check_confirm(
        &self,
        token: &ReadToken,
        address: &ChunkAddress,
        stamp: Stamp,
        now_ms: u64,
    ) -> Result<(), TokenError> {
        self.check_mac(token, &self.confirm_input(address, stamp, token.expires_ms), now_ms)
    }

    /// Chunkserver: a receipt for a chunk that is durable on `volume`.
    pub fn receipt(
        &self,
        address: &ChunkAddress,
        length: u32,
        volume: VolumeId,
        boot: BootCount,
        window: WindowId,
    ) -> Receipt {
        let (key, node) = (self.key, self.node);
        let mut receipt = Receipt { key, node, volume, boot, window, length, mac: Mac([0; 16]) };
        receipt.mac = self.receipt.mac(&receipt_input(&receipt, address));
        receipt
    }

    /// Masters: whether `receipt` is this node's word about the chunk. Whether it counts is decided by `apply`.
    pub fn check_receipt(&self, receipt: &Receipt, address: &ChunkAddress) -> Result<(), TokenError> {
        let valid = receipt.key == self.key
            && receipt.node == self.node
            && receipt.mac == self.receipt.mac(&receipt_input(receipt, address));
        if valid { Ok(()) } else { Err(TokenError::Invalid) }
    }

    fn write_input(&self, token: &WriteToken) -> MacInput {
        MacInput::new("write")
            .number(u64::from(self.node.0))
            .number(u64::from(token.key.0))
            .number(u64::from(token.domain.0))
            .number(token.window.0)
            .number(token.limit_bytes)
            .number(token.expires_ms)
            .number(u64::from(token.finds))
    }

    fn chunk_input(&self, purpose: &'static str, address: &ChunkAddress, expires_ms: u64) -> MacInput {
        MacInput::new(purpose)
            .number(u64::from(self.node.0))
            .number(u64::from(self.key.0))
            .field(&address.to_bytes())
            .number(expires_ms)
    }

    fn confirm_input(&self, address: &ChunkAddress, stamp: Stamp, expires_ms: u64) -> MacInput {
        self.chunk_input("confirm", address, expires_ms).number(stamp.0)
    }
}

fn receipt_input(receipt: &Receipt, address: &ChunkAddress) -> MacInput {
    MacInput::new("receipt")
        .number(u64::from(receipt.key.0))
        .number(u64::from(receipt.node.0))
        .number(receipt.volume.0)
        .number(u64::from(receipt.boot.0))
        .number(receipt.window.0)
        .number(u64::from(receipt.length))
        .field(&address.to_bytes())
}

impl OpenTicket {
    /// Signs a ticket under the masters' key.
    pub fn new(masters: &Secret, manifest: ManifestId, domain: Domain, expires_ms: u64) -> OpenTicket {
        let mut ticket = OpenTicket { manifest, domain, expires_ms, mac: Mac([0; 16]) };
        ticket.mac = masters.mac(&ticket.input());
        ticket
    }

    /// Whether the ticket is a master's and still good.
    pub fn check(&self, masters: &Secret, now_ms: u64) -> Result<(), TokenError> {
        if self.mac != masters.mac(&self.input()) {
            return Err(TokenError::Invalid);
        }
        if now_ms > self.expires_ms { Err(TokenError::Expired) } else { Ok(()) }
    }

    fn input(&self) -> MacInput {
        MacInput::new("open").number(self.manifest.0).number(u64::from(self.domain.0)).number(self.expires_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::ClusterKey;
    use crate::ids::Generation;

    fn keys(node: u32) -> TokenKeys {
        let cluster = ClusterKey::new(Secret::new([9; 32]));
        TokenKeys::new(KeyId(1), NodeId(node), &cluster.node_key(Generation(1), NodeId(node)))
    }

    #[test]
    fn a_write_token_is_good_for_its_node_domain_and_time_only() {
        let token = keys(1).write_token(Domain(1), WindowId(5), 100, 1000);
        assert_eq!(keys(1).check_write(&token, Domain(1), 1000), Ok(()));
        assert_eq!(keys(1).check_write(&token, Domain(1), 1001), Err(TokenError::Expired));
        assert_eq!(keys(1).check_write(&token, Domain(2), 0), Err(TokenError::Invalid));
        assert_eq!(keys(2).check_write(&token, Domain(1), 0), Err(TokenError::Invalid));
        let altered = [
            WriteToken { key: KeyId(2), ..token.clone() },
            WriteToken { domain: Domain(2), ..token.clone() },
            WriteToken { window: WindowId(6), ..token.clone() },
            WriteToken { limit_bytes: 101, ..token.clone() },
            WriteToken { expires_ms: 2000, ..token.clone() },
            WriteToken { finds: true, ..token.clone() },
            WriteToken { mac: Mac([0; 16]), ..token.clone() },
        ];
        for token in altered {
            assert_eq!(keys(1).check_write(&token, token.domain, 0), Err(TokenError::Invalid), "{token:?}");
        }
        let finding = keys(1).finding(token);
        assert!(finding.finds && keys(1).check_write(&finding, Domain(1), 0).is_ok());
    }

    #[test]
    fn a_read_token_is_good_for_its_chunk_only() {
        let (one, other) = (ChunkAddress::of(Domain(1), b"one"), ChunkAddress::of(Domain(1), b"other"));
        let token = keys(1).read_token(&one, 1000);
        assert_eq!(keys(1).check_read(&token, &one, 1000), Ok(()));
        assert_eq!(keys(1).check_read(&token, &one, 1001), Err(TokenError::Expired));
        assert_eq!(keys(1).check_read(&token, &other, 0), Err(TokenError::Invalid));
        assert_eq!(keys(2).check_read(&token, &one, 0), Err(TokenError::Invalid));
        let longer = ReadToken { expires_ms: 2000, ..token.clone() };
        assert_eq!(keys(1).check_read(&longer, &one, 0), Err(TokenError::Invalid));
        // A write token's proof is none for reading, even with all numbers equal.
        let write = keys(1).write_token(Domain(1), WindowId(1), 1, 1000);
        assert!(keys(1).check_read(&ReadToken { mac: write.mac, ..token }, &one, 0).is_err());
    }

    #[test]
    fn the_right_to_have_a_copy_confirmed_is_none_to_read_it() {
        let one = ChunkAddress::of(Domain(1), b"one");
        let at = Stamp(7);
        let (confirm, read) = (keys(1).confirm_token(&one, at, 1000), keys(1).read_token(&one, 1000));
        assert_eq!(keys(1).check_confirm(&confirm, &one, at, 1000), Ok(()));
        assert_eq!(keys(1).check_confirm(&confirm, &one, at, 1001), Err(TokenError::Expired));
        assert_eq!(keys(1).check_confirm(&confirm, &one, Stamp(8), 0), Err(TokenError::Invalid));
        assert_eq!(keys(1).check_read(&confirm, &one, 0), Err(TokenError::Invalid));
        assert_eq!(keys(1).check_confirm(&read, &one, at, 0), Err(TokenError::Invalid));
        assert_eq!(keys(2).check_confirm(&confirm, &one, at, 0), Err(TokenError::Invalid));
    }

    #[test]
    fn a_receipt_is_the_word_of_one_node_about_one_chunk() {
        let address = ChunkAddress::of(Domain(1), b"one");
        let receipt = keys(3).receipt(&address, 3, VolumeId(8), BootCount(2), WindowId(5));
        assert_eq!(keys(3).check_receipt(&receipt, &address), Ok(()));
        assert!(keys(2).check_receipt(&receipt, &address).is_err());
        assert!(keys(3).check_receipt(&receipt, &ChunkAddress::of(Domain(1), b"two")).is_err());
        assert!(keys(3).check_receipt(&receipt, &ChunkAddress::of(Domain(2), b"one")).is_err());
        let altered = [
            Receipt { node: NodeId(2), ..receipt.clone() },
            Receipt { volume: VolumeId(9), ..receipt.clone() },
            Receipt { boot: BootCount(3), ..receipt.clone() },
            Receipt { window: WindowId(6), ..receipt.clone() },
            Receipt { length: 4, ..receipt.clone() },
        ];
        for receipt in altered {
            assert!(keys(3).check_receipt(&receipt, &address).is_err(), "{receipt:?}");
        }
    }

    #[test]
    fn an_open_ticket_names_one_manifest_for_a_time() {
        let masters = ClusterKey::new(Secret::new([9; 32])).masters(Generation(1));
        let ticket = OpenTicket::new(&masters, ManifestId(4), Domain(1), 50);
        assert_eq!(ticket.check(&masters, 50), Ok(()));
        assert_eq!(ticket.check(&masters, 51), Err(TokenError::Expired));
        assert!(OpenTicket { manifest: ManifestId(5), ..ticket.clone() }.check(&masters, 0).is_err());
        assert!(OpenTicket { domain: Domain(2), ..ticket }.check(&masters, 0).is_err());
    }
}
