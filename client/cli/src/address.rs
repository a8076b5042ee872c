//! What an argument points at: `cairn://[profile@]bucket/key`, a local path, or `-`.
//!
//! In `put`, `get`, `cp` and `mv` a bare path is always local, so that no bucket can be taken for a folder or the other way
//! round. Verbs that only know remote things also take a plain `bucket/key`. Keys are literal: nothing is decoded or folded.

use crate::failure::{Exit, Failure};
use cairn_common::name::{BucketName, FilePath, Key};
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

const SCHEME: &str = "cairn://";

/// An argument of a verb that moves bytes between here and there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// On this machine.
    Local(PathBuf),
    /// `-`: standard input or output.
    Standard,
    /// In a cluster.
    Remote(Remote),
}

/// A bucket, or something in one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remote {
    /// Which cluster; `None`: that of the current profile.
    pub(crate) profile: Option<String>,
    /// The bucket.
    pub(crate) bucket: BucketName,
    /// The key as it was given: empty for the bucket itself, with a slash at its end for what is below it.
    pub(crate) key: String,
    /// Whether the text ended with a slash: "into" as a destination, "what is in it" as a source of `-r`.
    pub(crate) slash: bool,
}

impl Address {
    /// Reads an argument; never fails for a bare path.
    pub(crate) fn parse(text: &OsStr) -> Result<Address, Failure> {
        if text == "-" {
            return Ok(Address::Standard);
        }
        if !text.as_bytes().starts_with(SCHEME.as_bytes()) {
            return Ok(Address::Local(PathBuf::from(text)));
        }
        let Some(text) = text.to_str() else {
            let message = format!("{}: keys are UTF-8, this is not", text.to_string_lossy());
            return Err(Failure::new(Exit::Usage, message));
        };
        Remote::parse(text).map(Address::Remote)
    }

    /// The remote address, for arguments that must be one. `instead`: what to do with a local path.
    pub(crate) fn into_remote(self, instead: &str) -> Result<Remote, Failure> {
        match self {
            Address::Remote(remote) => Ok(remote),
            Address::Standard => Err(Failure::new(Exit::Usage, "-: not a file in a bucket").advise(instead)),
            Address::Local(path) => {
                let message = format!("{}: a bare path is a local one", path.display());
                Err(Failure::new(Exit::Usage, message).advise(instead))
            }
        }
    }
}

impl Remote {
    /// Reads `cairn://[profile@]bucket[/key]` or `bucket[/key]`.
    pub(crate) fn parse(text: &str) -> Result<Remote, Failure> {
        let rest = text.strip_prefix(SCHEME).unwrap_or(text);
        let (authority, key) = rest.split_once('/').map_or((rest, None), |(authority, key)| (authority, Some(key)));
        let (profile, bucket) = match authority.split_once('@') {
            Some((profile, bucket)) => (Some(profile.to_owned()), bucket),
            None => (None, authority),
        };
        let failure = |reason: &dyn fmt::Display| {
            Failure::new(Exit::Usage, format!("{text:?}: {reason}")).advise("write cairn://bucket/key")
        };
        if profile.as_ref().is_some_and(String::is_empty) {
            return Err(failure(&"the profile before @ is empty"));
        }
        let bucket = BucketName::new(bucket).map_err(|error| failure(&error))?;
        let slash = key.is_some_and(|key| key.is_empty() || key.ends_with('/'));
        let key = key.unwrap_or_default().to_owned();
        if !key.is_empty() {
            Key::new(key.as_str()).map_err(|error| failure(&error))?;
        }
        Ok(Remote { profile, bucket, key, slash })
    }

    /// Whether this is the bucket itself.
    pub(crate) fn is_bucket(&self) -> bool {
        self.key.is_empty()
    }

    /// The file of exactly this key.
    pub(crate) fn file(&self) -> Result<FilePath, Failure> {
        self.file_at(&self.key)
    }

    /// A file of the same bucket.
    pub(crate) fn file_at(&self, key: &str) -> Result<FilePath, Failure> {
        let key = Key::new(key).map_err(|error| {
            let advice = "name a file: cairn://bucket/key";
            Failure::new(Exit::Usage, format!("{SCHEME}{}/{key}: {error}", self.bucket)).advise(advice)
        })?;
        Ok(FilePath { bucket: self.bucket.clone(), key })
    }

    /// What the keys below this address start with: by component, so that `a` covers `a/b` and not `ab`.
    pub(crate) fn prefix(&self) -> String {
        if self.key.is_empty() || self.key.ends_with('/') { self.key.clone() } else { format!("{}/", self.key) }
    }

    /// The last component: of the key, or the bucket's name.
    pub(crate) fn base_name(&self) -> &str {
        let key = self.key.trim_end_matches('/');
        if key.is_empty() { self.bucket.as_str() } else { key.rsplit('/').next().unwrap_or(key) }
    }

    /// A file of the same bucket as an address.
    pub(crate) fn with_key(&self, key: impl Into<String>) -> Remote {
        let key = key.into();
        Remote { slash: key.ends_with('/'), key, ..self.clone() }
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SCHEME)?;
        if let Some(profile) = &self.profile {
            write!(f, "{profile}@")?;
        }
        write!(f, "{}", self.bucket)?;
        if self.key.is_empty() && !self.slash { Ok(()) } else { write!(f, "/{}", self.key) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(text: &str) -> Remote {
        Remote::parse(text).unwrap()
    }

    #[test]
    fn every_form_of_an_address_is_read_and_printed() {
        for text in
            ["cairn://abc", "cairn://abc/", "cairn://abc/k", "cairn://p@abc/k/", "cairn://abc//k//", "cairn://abc/a@b"]
        {
            assert_eq!(remote(text).to_string(), text);
        }
        let address = remote("cairn://work@photos/2026/summit.jpg");
        assert_eq!(address.profile.as_deref(), Some("work"));
        assert_eq!((address.bucket.as_str(), address.key.as_str()), ("photos", "2026/summit.jpg"));
        assert_eq!(remote("photos/x"), remote("cairn://photos/x"));
    }

    #[test]
    fn bare_paths_are_local_whatever_they_look_like() {
        for text in ["photos/x", "./-", "cairn:/x", "/etc", "--", ""] {
            assert_eq!(Address::parse(OsStr::new(text)).unwrap(), Address::Local(PathBuf::from(text)));
        }
        assert_eq!(Address::parse(OsStr::new("-")).unwrap(), Address::Standard);
        assert!(Address::parse(OsStr::from_bytes(b"cairn://abc/\xff")).is_err());
        assert!(Address::parse(OsStr::from_bytes(b"/tmp/\xff")).is_ok());
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["cairn://", "cairn:///k", "cairn://@abc/k", "cairn://AB/k", "/etc/passwd", "./x", "-"] {
            assert!(Remote::parse(text).is_err(), "{text}");
        }
        assert!(Remote::parse(&format!("abc/{}", "k".repeat(1025))).is_err());
        assert!(remote("cairn://abc").file().is_err());
    }

    #[test]
    fn folders_are_compared_by_component() {
        assert_eq!(remote("cairn://abc").prefix(), "");
        assert_eq!(remote("cairn://abc/a").prefix(), "a/");
        assert_eq!(remote("cairn://abc/a/").prefix(), "a/");
        assert_eq!(remote("cairn://abc/a/b/").base_name(), "b");
        assert_eq!(remote("cairn://abc/").base_name(), "abc");
    }
}
