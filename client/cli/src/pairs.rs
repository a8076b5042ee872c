//! Two trees side by side, for `sync` and `diff`: the files of both, paired by their names.
//!
//! Both sides come in the order of keys, so one pass with one file of each in hand is enough, whatever their number.

use crate::address::Remote;
use crate::failure::Failure;
use crate::filter::Filter;
use crate::listing;
use crate::local::is_partial;
use crate::walk::{Found, Links, walk};
use cairn_client::Client;
use cairn_common::file::ETags;
use cairn_common::name::FilePath;
use cairn_common::seam::Pool;
use futures::future;
use futures::stream::{self, BoxStream, StreamExt as _};
use std::cmp::Ordering;
use std::path::PathBuf;
use std::pin::Pin;

/// A file of one side.
#[derive(Clone, Debug)]
pub(crate) struct Side {
    /// Its name below the root of its side, components joined by slashes.
    pub(crate) name: String,
    /// Its length, in bytes.
    pub(crate) length: u64,
    /// Where it is.
    pub(crate) place: Place,
}

/// Where a file is.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// On this machine.
    Local(PathBuf),
    /// In a bucket, with what identifies its bytes.
    Remote(FilePath, ETags),
}

/// What comes along on one side.
#[derive(Debug)]
pub(crate) enum Seen {
    /// A file.
    File(Side),
    /// Something that takes no part, and why.
    Skipped(PathBuf, &'static str),
}

/// One side, in the order of names.
pub(crate) type Sides = BoxStream<'static, Result<Seen, Failure>>;

/// The files of one name.
#[derive(Debug)]
pub(crate) enum Pair {
    /// Only on the left.
    Left(Side),
    /// Only on the right.
    Right(Side),
    /// On both.
    Both(Side, Side),
    /// Something that takes no part, and why.
    Skipped(PathBuf, &'static str),
}

/// The files below a folder. A folder that does not exist has none. Downloads that were broken off take no part.
pub(crate) fn local(root: PathBuf, links: Links, filter: Filter, pool: Pool) -> Sides {
    if matches!(std::fs::metadata(&root), Err(error) if error.kind() == std::io::ErrorKind::NotFound) {
        return stream::empty().boxed();
    }
    let seen = walk(root, links, pool).filter_map(move |found| {
        future::ready(match found {
            Err(failure) => Some(Err(failure)),
            Ok(Found::Skipped(path, why)) => Some(Ok(Seen::Skipped(path, why))),
            Ok(Found::File(file)) if is_partial(&file.path) || !filter.takes(&file.name) => None,
            Ok(Found::File(file)) => {
                Some(Ok(Seen::File(Side { name: file.name, length: file.length, place: Place::Local(file.path) })))
            }
        })
    });
    seen.boxed()
}

/// The files below an address.
pub(crate) fn remote(client: Client, root: Remote, filter: Filter) -> Sides {
    let prefix = root.prefix();
    let strip = prefix.len();
    let bucket = root.bucket.clone();
    let files = listing::files(client, bucket.clone(), prefix).filter_map(move |file| {
        let seen = file.map_err(|failure| failure.at(&root)).map(|file| {
            let (name, length) = (file.key.as_str()[strip..].to_owned(), file.length);
            let path = FilePath { bucket: bucket.clone(), key: file.key };
            Side { name, length, place: Place::Remote(path, file.tags) }
        });
        future::ready(match seen {
            Err(failure) => Some(Err(failure)),
            // The mark of the folder itself, as some tools make it.
            Ok(side) if side.name.is_empty() || !filter.takes(&side.name) => None,
            Ok(side) => Some(Ok(Seen::File(side))),
        })
    });
    files.boxed()
}

/// Pairs the files of two sides. A failure on one side is handed on, and both go on behind it.
pub(crate) fn pairs(left: Sides, right: Sides) -> BoxStream<'static, Result<Pair, Failure>> {
    let sides = (left.peekable(), right.peekable());
    let paired = stream::unfold(sides, |(mut left, mut right)| async move {
        let order = match (Pin::new(&mut left).peek().await, Pin::new(&mut right).peek().await) {
            (None, None) => return None,
            (Some(Ok(Seen::File(one))), Some(Ok(Seen::File(other)))) => one.name.cmp(&other.name),
            // Whatever is no file goes first.
            (Some(Ok(Seen::File(_))), Some(_)) | (None, Some(_)) => Ordering::Greater,
            (Some(_), _) => Ordering::Less,
        };
        let one = if order.is_le() { left.next().await } else { None };
        let other = if order.is_ge() { right.next().await } else { None };
        let pair = match (one.transpose(), other.transpose()) {
            (Err(failure), _) | (_, Err(failure)) => Err(failure),
            (Ok(Some(Seen::Skipped(path, why))), _) | (_, Ok(Some(Seen::Skipped(path, why)))) => {
                Ok(Pair::Skipped(path, why))
            }
            (Ok(Some(Seen::File(one))), Ok(Some(Seen::File(other)))) => Ok(Pair::Both(one, other)),
            (Ok(Some(Seen::File(one))), Ok(None)) => Ok(Pair::Left(one)),
            (Ok(None), Ok(Some(Seen::File(other)))) => Ok(Pair::Right(other)),
            (Ok(None), Ok(None)) => return None,
        };
        Some((pair, (left, right)))
    });
    paired.boxed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Exit;
    use futures::FutureExt as _;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn side(names: &[&str]) -> Sides {
        let seen = |name: &&str| match *name {
            "!" => Err(Failure::new(Exit::Other, "broken")),
            "?" => Ok(Seen::Skipped(PathBuf::from("?"), "odd")),
            name => Ok(Seen::File(Side { name: name.to_owned(), length: 1, place: Place::Local(name.into()) })),
        };
        stream::iter(names.iter().map(seen).collect::<Vec<_>>()).boxed()
    }

    async fn paired(left: &[&str], right: &[&str]) -> Vec<String> {
        let shown = pairs(side(left), side(right)).map(|pair| match pair {
            Err(failure) => failure.message,
            Ok(Pair::Left(side)) => format!("<{}", side.name),
            Ok(Pair::Right(side)) => format!(">{}", side.name),
            Ok(Pair::Both(one, other)) => {
                assert_eq!(one.name, other.name);
                format!("={}", one.name)
            }
            Ok(Pair::Skipped(_, why)) => why.to_owned(),
        });
        shown.collect().await
    }

    #[tokio::test]
    async fn files_meet_by_name_and_nothing_is_lost_behind_a_failure() {
        assert_eq!(paired(&[], &[]).await, [""; 0]);
        assert_eq!(paired(&["a", "c"], &["b", "c", "d"]).await, ["<a", ">b", "=c", ">d"]);
        assert_eq!(paired(&["a", "!", "c"], &["c"]).await, ["<a", "broken", "=c"]);
        assert_eq!(paired(&["c", "d"], &["?", "c", "!", "d"]).await, ["odd", "=c", "broken", "=d"]);
        assert_eq!(paired(&["!"], &["a"]).await, ["broken", ">a"]);
    }

    proptest! {
        #[test]
        fn every_name_comes_once(left: BTreeSet<u8>, right: BTreeSet<u8>) {
            let named = |set: &BTreeSet<u8>| set.iter().map(|n| format!("{n:03}")).collect::<Vec<_>>();
            let (left, right) = (named(&left), named(&right));
            let texts = |names: &[String]| side(&names.iter().map(String::as_str).collect::<Vec<_>>());
            let pairs = pairs(texts(&left), texts(&right)).collect::<Vec<_>>();
            let (mut lefts, mut rights) = (Vec::new(), Vec::new());
            for pair in pairs.now_or_never().unwrap() {
                match pair.unwrap() {
                    Pair::Left(one) => lefts.push(one.name),
                    Pair::Right(other) => rights.push(other.name),
                    Pair::Both(one, other) => {
                        lefts.push(one.name);
                        rights.push(other.name);
                    }
                    Pair::Skipped(..) => unreachable!(),
                }
            }
            prop_assert_eq!(lefts, left);
            prop_assert_eq!(rights, right);
        }
    }
}
