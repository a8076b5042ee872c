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

/// Where the files of one remote source go on this machine.
#[derive(Clone, Debug)]
pub(crate) struct LocalPlaces {
    /// Of the source itself, as a file.
    own: Result<LocalPlace, BadName>,
    /// Of what is below it.
    folder: Result<PathBuf, BadName>,
}

/// The place of a file. Nothing outside of `root` is touched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LocalPlace {
    /// What the user named.
    pub(crate) root: PathBuf,
    /// Where below it.
    pub(crate) relative: PathBuf,
    /// Whether it is a folder: some tools mark one by a key without bytes that ends with a slash.
    pub(crate) is_folder: bool,
}

impl LocalPlaces {
    /// Places for `source` at `target`. `into`: the target ended with a slash, or is a folder and the source a single file.
    pub(crate) fn new(source: &Remote, target: &Path, into: bool, target_is_folder: bool) -> LocalPlaces {
        let own_name = relative_path(source.base_name());
        let own = match (into || target_is_folder, target.file_name()) {
            (false, Some(name)) => Ok((target.parent().unwrap_or(Path::new("")).to_owned(), PathBuf::from(name))),
            _ => own_name.clone().map(|name| (target.to_owned(), name)),
        };
        let own = own.map(|(root, relative)| LocalPlace { root, relative, is_folder: false });
        let folder = match into && !source.slash {
            true => own_name.map(|name| target.join(name)),
            false => Ok(target.to_owned()),
        };
        LocalPlaces { own, folder }
    }

    /// The place of the source itself, as a file.
    pub(crate) fn own(&self) -> Result<LocalPlace, BadName> {
        self.own.clone()
    }

    /// The place of a file with `name` below the source. `is_empty`: it has no bytes.
    pub(crate) fn below(&self, name: &str, is_empty: bool) -> Result<LocalPlace, BadName> {
        let root = self.folder.clone()?;
        let marked = if name.is_empty() { Some("") } else { name.strip_suffix('/') };
        match marked.filter(|_| is_empty) {
            Some("") => Ok(LocalPlace { root, relative: PathBuf::new(), is_folder: true }),
            Some(folder) => Ok(LocalPlace { root, relative: relative_path(folder)?, is_folder: true }),
            None => Ok(LocalPlace { root, relative: relative_path(name)?, is_folder: false }),
        }
    }
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
    }

    #[test]
    fn downloads_go_where_the_same_rule_says() {
        let places =
            |source, target, into, is_folder| LocalPlaces::new(&remote(source), Path::new(target), into, is_folder);
        let own = |source, target, into, is_folder| {
            let place = places(source, target, into, is_folder).own().unwrap();
            place.root.join(place.relative)
        };
        assert_eq!(own("abc/d/f", "x/out", false, false), Path::new("x/out"));
        assert_eq!(own("abc/d/f", "x/out", true, false), Path::new("x/out/f"));
        assert_eq!(own("abc/d/f", "x/out", false, true), Path::new("x/out/f"));
        assert_eq!(own("abc/d/f", "..", false, true), Path::new("../f"));
        let below = |source, into, name, is_empty| {
            let place = places(source, "out", into, true).below(name, is_empty)?;
            Ok((place.root.join(place.relative), place.is_folder))
        };
        assert_eq!(below("abc/d", false, "e/f", false), Ok(("out/e/f".into(), false)));
        assert_eq!(below("abc/d", true, "e/f", false), Ok(("out/d/e/f".into(), false)));
        assert_eq!(below("abc/d/", true, "e/f", false), Ok(("out/e/f".into(), false)));
        assert_eq!(below("abc/d/", false, "e/", true), Ok(("out/e".into(), true)));
        assert_eq!(below("abc/d/", false, "", true), Ok(("out/".into(), true)));
        assert_eq!(below("abc/d/", false, "e/", false), Err(BadName::Empty));
        assert_eq!(below("abc/d/", false, "../", true), Err(BadName::Dots));
        assert_eq!(below("abc/..", true, "x", false), Err(BadName::Dots));
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
