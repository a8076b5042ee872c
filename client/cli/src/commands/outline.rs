//! `tree`: keys as folders, indented. Works while the listing comes in, so its memory does not grow with it.

use crate::address::Remote;
use crate::failure::{Exit, Failure};
use crate::filter::FilterArgs;
use crate::listing;
use crate::output::{Column, Record, left};
use crate::run::Session;
use crate::transfer::{Did, Tally};
use crate::units::{printable, size};
use clap::Args;
use futures::TryStreamExt as _;
use serde::Serialize;

/// Arguments of `tree`.
#[derive(Args, Debug)]
pub(crate) struct OutlineArgs {
    /// A bucket or a folder
    #[arg(value_name = "ADDRESS")]
    address: String,
    /// Levels to show
    #[arg(short, long, value_name = "N", default_value_t = usize::MAX, hide_default_value = true)]
    depth: usize,
    #[command(flatten)]
    filter: FilterArgs,
}

#[derive(Serialize)]
struct OutlineRecord {
    path: String,
    name: String,
    level: usize,
    folder: bool,
    size: Option<u64>,
}

impl Record for OutlineRecord {
    const COLUMNS: &'static [Column] = &[left("NAME")];

    fn kind(&self) -> &'static str {
        "tree"
    }

    fn cells(&self, exact: bool) -> Vec<String> {
        let indent = "  ".repeat(self.level);
        let name = printable(&self.name);
        vec![match self.size {
            Some(bytes) => format!("{indent}{name}  ({})", size(bytes, exact)),
            None => format!("{indent}{name}/"),
        }]
    }
}

/// Runs `tree`.
pub(crate) async fn run(session: &Session, args: OutlineArgs) -> Result<Tally, Failure> {
    let remote = Remote::parse(&args.address)?;
    let filter = args.filter.build()?;
    let client = session.clients.of(&remote).await?;
    let prefix = remote.prefix();
    let strip = prefix.len();
    let mut files = std::pin::pin!(listing::files(client, remote.bucket.clone(), prefix.clone()));
    let mut tally = Tally::default();
    let mut before = Vec::new();
    while let Some(file) = files.try_next().await.map_err(|failure| failure.at(&remote))? {
        let key = file.key.as_str();
        let name = &key[strip..];
        if !filter.takes(name) {
            continue;
        }
        tally.count(Did::Done(file.length));
        let (folders, own) = new_folders(&mut before, name);
        for (level, folder) in folders {
            let path = remote.with_key(format!("{prefix}{}/", before[..=level].join("/"))).to_string();
            if level < args.depth {
                session.out.line(&OutlineRecord { path, name: folder, level, folder: true, size: None })?;
            }
        }
        let level = before.len();
        if level < args.depth && !own.is_empty() {
            let (path, size) = (remote.with_key(key).to_string(), Some(file.length));
            session.out.line(&OutlineRecord { path, name: own, level, folder: false, size })?;
        }
    }
    if tally.done == 0 && !remote.is_bucket() && filter.is_empty() {
        return Err(Failure::new(Exit::NotFound, "there is nothing below it").at(&remote));
    }
    Ok(tally)
}

/// The folders of `name` that were not shown for the name `before`, each with its level, and the last component.
fn new_folders(before: &mut Vec<String>, name: &str) -> (Vec<(usize, String)>, String) {
    let mut folders: Vec<String> = name.split('/').map(str::to_owned).collect();
    let own = folders.pop().unwrap_or_default();
    let known = folders.iter().zip(before.iter()).take_while(|(one, other)| one == other).count();
    let new = folders.iter().cloned().enumerate().skip(known).collect();
    *before = folders;
    (new, own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_folder_is_shown_once_where_its_first_file_is() {
        let mut before = Vec::new();
        let mut shown = Vec::new();
        for name in ["a", "b/c/d", "b/c/e", "b/f", "g/", "g//h"] {
            let (folders, own) = new_folders(&mut before, name);
            shown.extend(folders.into_iter().map(|(level, folder)| format!("{level}{folder}/")));
            shown.push(format!("{}{own}", before.len()));
        }
        assert_eq!(shown, ["0a", "0b/", "1c/", "2d", "2e", "1f", "0g/", "1", "1/", "2h"]);
    }
}
