//! Which name a copied file gets, and which keys may become local paths.
//!
//! One rule for `put`, `get`, `cp` and `mv`. A destination that ends with a slash (or is a bucket, for single files) means
//! "into": the source keeps its own name there. Any other destination *is* the new name. With `-r`, a source that ends
//! with a slash stands for what is in it. What exists already plays no part, so a command that is repeated does the same again.

use crate::address::Remote;
use std::path::{Path, PathBuf};

/// The key of a single file called `name` at `destination`.
pub(crate) fn key_for_file(destination: &Remote, name: &str) -> String {
    if destination.slash || destination.is_bucket() {
        format!("{}{name}", destination.key)
    } else {
        destination.key.clone()
    }
}

/// What the keys of a folder called `name` start with at `destination`. `contents`: the source ended with a slash.
pub(crate) fn prefix_for_folder(destination: &Remote, name: &str, contents: bool) -> String {
    if destination.slash && !contents { format!("{}{name}/", destination.key) } else { destination.prefix() }
}

/// The local folder for a remote folder called `name`.
pub(crate) fn folder_for_folder(
    destination: &Path,
    slash: bool,
    name: &str,
    contents: bool,
) -> Result<PathBuf, BadName> {
    if slash && !contents { Ok(destination.join(relative_path(name)?)) } else { Ok(destination.to_owned()) }
}

/// A key that cannot be a path below a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadName {
    /// It would lead out of the folder.
    #[error("a component of it is . or .., which would lead out of the target")]
    Dots,
    /// Two slashes, or one at an end.
    #[error("it has an empty component, which no path can have")]
    Empty,
    /// A zero byte.
    #[error("it has a zero byte, which no path can have")]
    Zero,
    /// No file system takes it.
    #[error("a component of it has more than 255 bytes")]
    TooLong,
}

/// Longest component of a path on the file systems of Linux.
const COMPONENT_MAX_BYTES: usize = 255;

/// The path for a key below a target folder: each component one name, none of which leads elsewhere.
pub(crate) fn relative_path(key: &str) -> Result<PathBuf, BadName> {
    let mut path = PathBuf::new();
    for component in key.split('/') {
        match component {
            "" => return Err(BadName::Empty),
            "." | ".." => return Err(BadName::Dots),
            _ if component.contains('\0') => return Err(BadName::Zero),
            _ if component.len() > COMPONENT_MAX_BYTES => return Err(BadName::TooLong),
            _ => path.push(component),
        }
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::Component;

    fn remote(text: &str) -> Remote {
        Remote::parse(text).unwrap()
    }

    #[test]
    fn a_slash_means_into_and_anything_else_is_the_name() {
        assert_eq!(key_for_file(&remote("cairn://abc"), "f"), "f");
        assert_eq!(key_for_file(&remote("cairn://abc/"), "f"), "f");
        assert_eq!(key_for_file(&remote("cairn://abc/d/"), "f"), "d/f");
        assert_eq!(key_for_file(&remote("cairn://abc/d"), "f"), "d");
        assert_eq!(prefix_for_folder(&remote("cairn://abc"), "dir", false), "");
        assert_eq!(prefix_for_folder(&remote("cairn://abc/"), "dir", false), "dir/");
        assert_eq!(prefix_for_folder(&remote("cairn://abc/"), "dir", true), "");
        assert_eq!(prefix_for_folder(&remote("cairn://abc/x"), "dir", false), "x/");
        assert_eq!(prefix_for_folder(&remote("cairn://abc/x/"), "dir", false), "x/dir/");
        assert_eq!(prefix_for_folder(&remote("cairn://abc/x/"), "dir", true), "x/");
        let out = Path::new("out");
        assert_eq!(folder_for_folder(out, false, "dir", false).unwrap(), Path::new("out"));
        assert_eq!(folder_for_folder(out, true, "dir", false).unwrap(), Path::new("out/dir"));
        assert_eq!(folder_for_folder(out, true, "dir", true).unwrap(), Path::new("out"));
        assert_eq!(folder_for_folder(out, true, "..", false), Err(BadName::Dots));
    }

    #[test]
    fn keys_that_lead_elsewhere_become_no_path() {
        assert_eq!(relative_path("a/../../b"), Err(BadName::Dots));
        assert_eq!(relative_path("./a"), Err(BadName::Dots));
        assert_eq!(relative_path("/etc/passwd"), Err(BadName::Empty));
        assert_eq!(relative_path("a//b"), Err(BadName::Empty));
        assert_eq!(relative_path("a/"), Err(BadName::Empty));
        assert_eq!(relative_path("a\0b"), Err(BadName::Zero));
        assert_eq!(relative_path(&"é".repeat(128)), Err(BadName::TooLong));
        assert_eq!(relative_path("-rf/ a\nb/..c/...").unwrap(), Path::new("-rf/ a\nb/..c/..."));
    }

    proptest! {
        #[test]
        fn no_key_leaves_the_target(key in "[a./\\\\\u{0}é-]{1,40}") {
            if let Ok(path) = relative_path(&key) {
                prop_assert!(path.components().all(|component| matches!(component, Component::Normal(_))));
                prop_assert_eq!(path.to_str(), Some(key.as_str()));
            }
        }
    }
}
