//! Remote sources of `get`, `cp`, `mv` and `rm`: single files, and with `-r` everything below an address.

use super::stat::current;
use crate::address::Remote;
use crate::args::DryRun;
use crate::failure::{Exit, Failure};
use crate::filter::{Filter, FilterArgs};
use crate::listing;
use cairn_client::Client;
use cairn_common::name::FilePath;
use clap::Args;
use futures::stream::{self, BoxStream, StreamExt as _};
use futures::{TryStreamExt as _, future};
use std::ffi::OsString;

/// Arguments of verbs that copy or move within Cairn.
#[derive(Args, Debug)]
pub(crate) struct TreeArgs {
    /// Files, and then where they go
    #[arg(required = true, num_args = 2.., value_name = "PATH")]
    pub(super) paths: Vec<OsString>,
    /// Folders with everything below them
    #[arg(short, long)]
    pub(super) recursive: bool,
    /// Replace nothing: a file that exists is a conflict (exit code 6)
    #[arg(long)]
    pub(super) no_clobber: bool,
    #[command(flatten)]
    pub(super) filter: FilterArgs,
    #[command(flatten)]
    pub(crate) dry: DryRun,
}

/// A file of a remote source.
#[derive(Clone, Debug)]
pub(super) struct SourceFile {
    /// The file.
    pub(super) path: FilePath,
    /// Its name below the source; empty for the source itself.
    pub(super) name: String,
    /// Its length in bytes, if a listing told it.
    pub(super) length: Option<u64>,
}

/// The files of `source`: itself, or with `recursive` everything below it too. Nothing at all is a failure, but for an empty
/// bucket and for names that the filter leaves out.
pub(super) fn files(
    client: Client,
    source: Remote,
    recursive: bool,
    filter: Filter,
) -> BoxStream<'static, Result<SourceFile, Failure>> {
    if !recursive {
        let file = source.file().map_err(|failure| failure.advise("for everything in it: -r"));
        return stream::iter([file.map(|path| SourceFile { path, name: String::new(), length: None })]).boxed();
    }
    let prefix = source.prefix();
    let strip = prefix.len();
    let bucket = source.bucket.clone();
    let below = listing::files(client.clone(), bucket.clone(), prefix).map_ok(move |file| SourceFile {
        name: file.key.as_str()[strip..].to_owned(),
        length: Some(file.length),
        path: FilePath { bucket: bucket.clone(), key: file.key },
    });
    let at = source.clone();
    let all = stream::once(itself(client, source.clone()))
        .filter_map(|found| future::ready(found.transpose()))
        .chain(below)
        .map_err(move |failure| failure.at(&at));
    let own = source.base_name().to_owned();
    let takes = move |file: &SourceFile| filter.takes(if file.name.is_empty() { &own } else { &file.name });
    not_nothing(all.boxed(), source).try_filter(move |file| future::ready(takes(file))).boxed()
}

/// The file of exactly the address: a key can be a file and a folder at once.
async fn itself(client: Client, source: Remote) -> Result<Option<SourceFile>, Failure> {
    if source.is_bucket() || source.slash {
        return Ok(None);
    }
    let path = source.file()?;
    match current(&client, &path).await {
        Ok(info) => Ok(Some(SourceFile { path, name: String::new(), length: Some(info.length) })),
        Err(failure) if failure.exit == Exit::NotFound => Ok(None),
        Err(failure) => Err(failure),
    }
}

fn not_nothing(
    files: BoxStream<'static, Result<SourceFile, Failure>>,
    source: Remote,
) -> impl futures::Stream<Item = Result<SourceFile, Failure>> {
    stream::unfold((files, false), move |(mut files, any)| {
        let source = source.clone();
        async move {
            match files.next().await {
                Some(file) => Some((file, (files, true))),
                None if any || source.is_bucket() => None,
                None => {
                    let failure = Failure::new(Exit::NotFound, "there is no file and nothing below it").at(&source);
                    Some((Err(failure), (files, true)))
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_with_nothing_at_it_is_an_error_and_an_empty_bucket_is_none() {
        let nothing = || stream::iter([]).boxed();
        let found = not_nothing(nothing(), Remote::parse("abc/x").unwrap()).collect::<Vec<_>>().await;
        assert!(matches!(&found[..], [Err(failure)] if failure.exit == Exit::NotFound));
        assert_eq!(not_nothing(nothing(), Remote::parse("abc").unwrap()).count().await, 0);
    }
}
