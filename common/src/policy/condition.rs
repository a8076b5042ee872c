//! Conditions of a statement: what must hold of a request beside who asks for what.
//!
//! A value that is not known (the request has no such header; a program that talks to the masters itself has none) meets no
//! condition, except those that ask for it to be other than something, as in S3: whoever denies by what a request must be, denies
//! what does not say what it is. ("IAM JSON policy elements: Condition operators", AWS IAM User Guide.)

use super::pattern;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Something about a request. Variants are only ever appended: they travel by number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Fact {
    /// `aws:SourceIp`: the address of the peer of the connection.
    SourceIp,
    /// `aws:SecureTransport`: whether it came over TLS.
    SecureTransport,
    /// `aws:Referer`.
    Referer,
    /// `aws:UserAgent`.
    UserAgent,
    /// `s3:prefix` of a listing.
    Prefix,
    /// `s3:delimiter` of a listing.
    Delimiter,
    /// `s3:VersionId`.
    VersionId,
    /// `s3:authType`.
    AuthType,
    /// `s3:signatureversion`.
    SignatureVersion,
    /// `s3:x-amz-…`: a header, by its name in small letters.
    Header(String),
    /// `s3:ExistingObjectTag/…`: a label of the object as it is.
    ExistingTag(String),
    /// `s3:RequestObjectTag/…`: a label that the request gives.
    RequestTag(String),
}

/// Headers that policies can speak about.
pub const HEADERS: &[&str] = &[
    "x-amz-acl",
    "x-amz-content-sha256",
    "x-amz-copy-source",
    "x-amz-grant-full-control",
    "x-amz-grant-read",
    "x-amz-grant-read-acp",
    "x-amz-grant-write",
    "x-amz-grant-write-acp",
    "x-amz-metadata-directive",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-customer-algorithm",
    "x-amz-storage-class",
    "x-amz-website-redirect-location",
];

impl Fact {
    /// The fact of a condition key; `None`: none that is known. Keys are read in any case, labels as they are.
    pub(super) fn parse(key: &str) -> Option<Fact> {
        let label = |start: &str| {
            let head = key.get(..start.len())?;
            head.eq_ignore_ascii_case(start).then(|| key[start.len()..].to_owned()).filter(|label| !label.is_empty())
        };
        let lower = key.to_ascii_lowercase();
        Some(match lower.as_str() {
            "aws:sourceip" => Fact::SourceIp,
            "aws:securetransport" => Fact::SecureTransport,
            "aws:referer" => Fact::Referer,
            "aws:useragent" => Fact::UserAgent,
            "s3:prefix" => Fact::Prefix,
            "s3:delimiter" => Fact::Delimiter,
            "s3:versionid" => Fact::VersionId,
            "s3:authtype" => Fact::AuthType,
            "s3:signatureversion" => Fact::SignatureVersion,
            _ => {
                let header = lower.strip_prefix("s3:").filter(|name| HEADERS.contains(name));
                let header = header.map(|name| Fact::Header(name.to_owned()));
                let existing = || label("s3:ExistingObjectTag/").map(Fact::ExistingTag);
                let given = || label("s3:RequestObjectTag/").map(Fact::RequestTag);
                return header.or_else(existing).or_else(given);
            }
        })
    }
}

/// Addresses that have the first bits in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    address: u128,
    bits: u32,
}

impl Block {
    pub(super) fn parse(text: &str) -> Option<Block> {
        let (address, bits) = match text.split_once('/') {
            // "+8" parses as a number.
            Some((address, bits)) if bits.bytes().all(|byte| byte.is_ascii_digit()) => (address, Some(bits)),
            Some(_) => return None,
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let (width, before) = if address.is_ipv4() { (32, 96) } else { (128, 0) };
        let bits = bits.map_or(Ok(width), str::parse).ok().filter(|bits| *bits <= width)?;
        Some(Block { address: wide(address), bits: before + bits })
    }

    fn contains(self, address: IpAddr) -> bool {
        let differs = self.address ^ wide(address);
        self.bits == 0 || differs >> (128 - self.bits) == 0
    }

    /// So many addresses that it hardly says who: S3 takes such a block for everybody.
    pub(super) fn is_broad(self) -> bool {
        let of_4 = self.bits >= 96 && self.address >> 32 == 0xffff;
        self.bits < if of_4 { 96 + 8 } else { 32 }
    }
}

/// An address of either kind as one of IPv6, as listeners of both kinds see them.
fn wide(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// How a text is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compare {
    Exactly,
    AnyCase,
    Pattern,
}

/// What is asked of a fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Test {
    /// One of these texts.
    Text(Compare, Vec<String>),
    /// One of these truths.
    Truth(Vec<bool>),
    /// Not known, or known.
    Unknown(bool),
    /// In one of these blocks.
    Address(Vec<Block>),
}

/// A condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) fact: Fact,
    pub(super) test: Test,
    /// It holds where the test does not.
    pub(super) negated: bool,
    /// It holds of what is not known.
    pub(super) if_exists: bool,
}

impl Condition {
    /// Whether it holds of a request of which `know` knows facts.
    pub(super) fn holds(&self, know: &dyn Fn(&Fact) -> Option<String>) -> bool {
        let known = know(&self.fact);
        if let Test::Unknown(unknown) = self.test {
            return known.is_none() == unknown;
        }
        let Some(value) = known else { return self.negated || self.if_exists };
        self.test.passes(&value) != self.negated
    }
}

impl Test {
    fn passes(&self, value: &str) -> bool {
        match self {
            Test::Text(Compare::Exactly, wanted) => wanted.iter().any(|wanted| wanted == value),
            Test::Text(Compare::AnyCase, wanted) => {
                wanted.iter().any(|wanted| wanted.to_lowercase() == value.to_lowercase())
            }
            Test::Text(Compare::Pattern, wanted) => wanted.iter().any(|wanted| pattern::matches(wanted, value)),
            Test::Truth(wanted) => wanted.iter().any(|wanted| wanted.to_string() == value),
            Test::Unknown(_) => false,
            Test::Address(blocks) => {
                value.parse().is_ok_and(|address| blocks.iter().any(|block| block.contains(address)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_addresses_hold_their_own() {
        let holds = |block: &str, address: &str| Block::parse(block).unwrap().contains(address.parse().unwrap());
        assert!(holds("10.0.0.0/8", "10.1.2.3") && holds("10.1.2.3", "10.1.2.3") && holds("0.0.0.0/0", "1.2.3.4"));
        assert!(
            holds("10.0.0.0/8", "::ffff:10.1.2.3") && holds("2001:db8::/32", "2001:db8::1") && holds("::/0", "1.2.3.4")
        );
        assert!(
            !holds("10.0.0.0/8", "11.0.0.1") && !holds("0.0.0.0/0", "2001:db8::1") && !holds("2001:db8::/32", "::1")
        );
        for wrong in ["", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/+8", "10.0.0/8", "all"] {
            assert_eq!(Block::parse(wrong), None, "{wrong}");
        }
        for (block, broad) in [("10.0.0.0/8", false), ("8.0.0.0/7", true), ("::/0", true), ("2001:db8::/32", false)] {
            assert_eq!(Block::parse(block).unwrap().is_broad(), broad, "{block}");
        }
    }
}
