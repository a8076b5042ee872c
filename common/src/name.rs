//! What users call things: bucket names and keys, validated once into types.

use crate::limits::KEY_MAX_BYTES;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A name that breaks the rules.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum NameError {
    /// Bucket names follow the S3 rules.
    #[error("bucket name {name:?}: {rule}")]
    Bucket {
        /// What was given, cut to a sensible length.
        name: String,
        /// The rule it breaks.
        rule: String,
    },
    /// Keys have 1 to 1024 bytes.
    #[error("a key has 1 to {KEY_MAX_BYTES} bytes; this one has {length}")]
    KeyLength {
        /// Bytes given.
        length: usize,
    },
}

/// The name of a bucket, by the S3 rules: 3–63 characters of `a-z 0-9 - .`, first and last a letter or digit, no `..`, no IPv4
/// address. ("General purpose bucket naming rules", Amazon S3 User Guide.)
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BucketName(String);

impl BucketName {
    /// Checks a name.
    pub fn new(name: impl Into<String>) -> Result<BucketName, NameError> {
        let name = name.into();
        match Self::broken_rule(&name) {
            None => Ok(BucketName(name)),
            Some(rule) => Err(NameError::Bucket { name: name.chars().take(80).collect(), rule: rule.to_owned() }),
        }
    }

    fn broken_rule(name: &str) -> Option<&'static str> {
        let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let bytes = name.as_bytes();
        if !(3..=63).contains(&bytes.len()) {
            return Some("it must have 3 to 63 characters");
        }
        if !bytes.iter().all(|byte| alphanumeric(*byte) || matches!(byte, b'-' | b'.')) {
            return Some("only lower-case letters, digits, hyphens and dots are allowed");
        }
        if !alphanumeric(bytes[0]) || !alphanumeric(bytes[bytes.len() - 1]) {
            return Some("it must begin and end with a letter or a digit");
        }
        if name.contains("..") {
            return Some("two dots may not follow each other");
        }
        if name.parse::<std::net::Ipv4Addr>().is_ok() {
            return Some("it may not be an IP address");
        }
        None
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The key of a file: UTF-8, 1–1024 bytes, taken literally. `..`, `//`, a leading `/` and every Unicode form are just bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Key(String);

impl Key {
    /// Checks a key.
    pub fn new(key: impl Into<String>) -> Result<Key, NameError> {
        let key = key.into();
        if (1..=KEY_MAX_BYTES).contains(&key.len()) {
            Ok(Key(key))
        } else {
            Err(NameError::KeyLength { length: key.len() })
        }
    }

    /// The key.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

macro_rules! text_type {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<$name, NameError> {
                $name::new(text)
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }
        impl std::str::FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<$name, NameError> {
                $name::new(text)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

text_type!(BucketName);
text_type!(Key);

/// Where a file lives.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FilePath {
    /// The bucket.
    pub bucket: BucketName,
    /// The key in it.
    pub key: Key,
}

impl FilePath {
    /// Checks and joins both parts.
    pub fn new(bucket: impl Into<String>, key: impl Into<String>) -> Result<FilePath, NameError> {
        Ok(FilePath { bucket: BucketName::new(bucket)?, key: Key::new(key)? })
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.bucket, self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_names_follow_the_rules_of_s3() {
        for good in ["abc", "a-b.c", "0ab", &"a".repeat(63), "1.2.3", "xn--a"] {
            assert!(BucketName::new(good).is_ok(), "{good}");
        }
        for bad in
            ["", "ab", &"a".repeat(64), "Abc", "a_b", "-ab", "ab-", ".ab", "a..b", "192.168.1.1", "äbc", "a/b", "a b"]
        {
            assert!(matches!(BucketName::new(bad), Err(NameError::Bucket { .. })), "{bad}");
        }
    }

    #[test]
    fn keys_are_bounded_in_bytes_and_otherwise_literal() {
        for good in ["a", "..", "/", "//a/../b", "ä\u{301}", "\0", &"é".repeat(512)] {
            assert_eq!(Key::new(good).unwrap().as_str(), good);
        }
        assert_eq!(Key::new(""), Err(NameError::KeyLength { length: 0 }));
        assert_eq!(Key::new("a".repeat(1025)), Err(NameError::KeyLength { length: 1025 }));
        assert_eq!(Key::new("é".repeat(513)), Err(NameError::KeyLength { length: 1026 }));
    }

    #[test]
    fn names_are_checked_when_they_are_decoded() {
        assert!(serde_json::from_str::<Key>("\"\"").is_err());
        assert!(serde_json::from_str::<BucketName>("\"A\"").is_err());
        assert_eq!(serde_json::from_str::<Key>("\"k\"").unwrap(), Key::new("k").unwrap());
    }
}
