//! `diff`: in what two trees differ. Sizes and roots tell; bytes are read only of stored files that were cut in different ways.

use super::records::address;
use super::sync::{Compared, Tree};
use crate::compare::is_same;
use crate::failure::{Exit, Failure};
use crate::output::{Column, Record, left, right};
use crate::pairs::{Pair, Place, Side, pairs};
use crate::run::Session;
use crate::transfer::{Did, Tally, each};
use crate::units::{printable, size};
use cairn_client::{Client, GetOptions};
use cairn_common::file::ETags;
use cairn_common::name::FilePath;
use clap::Args;
use futures::TryStreamExt as _;
use serde::Serialize;
use std::ffi::OsString;
use std::sync::atomic::{AtomicU64, Ordering};

/// Arguments of `diff`.
#[derive(Args, Debug)]
pub(crate) struct DiffArgs {
    /// A folder or an address
    #[arg(value_name = "ONE")]
    one: OsString,
    /// Another; at least one of both is an address
    #[arg(value_name = "OTHER")]
    other: OsString,
    #[command(flatten)]
    compared: Compared,
}

/// A difference.
#[derive(Serialize)]
struct DifferenceRecord {
    /// `only_one`, `only_other`, `size` or `bytes`.
    difference: &'static str,
    /// Below both roots.
    name: String,
    one: Option<String>,
    other: Option<String>,
    one_size: Option<u64>,
    other_size: Option<u64>,
}

impl DifferenceRecord {
    fn new(difference: &'static str, one: Option<&Side>, other: Option<&Side>) -> DifferenceRecord {
        DifferenceRecord {
            difference,
            name: one.or(other).map(|side| side.name.clone()).unwrap_or_default(),
            one: one.map(place_of),
            other: other.map(place_of),
            one_size: one.map(|side| side.length),
            other_size: other.map(|side| side.length),
        }
    }
}

impl Record for DifferenceRecord {
    const COLUMNS: &'static [Column] = &[left("DIFFERENCE"), right("ONE"), right("OTHER"), left("NAME")];

    fn kind(&self) -> &'static str {
        "difference"
    }

    fn cells(&self, exact: bool) -> Vec<String> {
        let bytes = |bytes: Option<u64>| bytes.map_or_else(|| "-".to_owned(), |bytes| size(bytes, exact));
        vec![self.difference.replace('_', " "), bytes(self.one_size), bytes(self.other_size), printable(&self.name)]
    }
}

fn place_of(side: &Side) -> String {
    match &side.place {
        Place::Local(path) => path.display().to_string(),
        Place::Remote(path, _) => address(None, path),
    }
}

/// Runs `diff`. Exit code 1 if there is any difference, as other programs of that name have it.
pub(crate) async fn run(session: &Session, args: DiffArgs) -> Result<Tally, Failure> {
    let (one, other) = (Tree::open(session, &args.one).await?, Tree::open(session, &args.other).await?);
    for (tree, argument) in [(&one, &args.one), (&other, &args.other)] {
        if let Tree::Local(path) = tree
            && !path.is_dir()
        {
            return Err(Failure::new(Exit::Usage, "it is no folder").at(argument.display()));
        }
    }
    let client = match (&one, &other) {
        (_, Tree::Remote(_, client)) | (Tree::Remote(_, client), _) => client.clone(),
        _ => return Err(Failure::new(Exit::Usage, "both sides are local").advise("diff -r compares folders")),
    };
    let Compared { size_only, links, filter } = args.compared;
    let filter = filter.build()?;
    let both = pairs(one.files(session, links, &filter), other.files(session, links, &filter));
    let differences = AtomicU64::new(0);
    let compared = Comparison { session, one: &one, client: &client, size_only };
    let (differences, compared) = (&differences, &compared);
    let mut tally = each(session, both, |pair| async move {
        if let Some(record) = compared.difference(pair).await? {
            differences.fetch_add(1, Ordering::Relaxed);
            session.out.record(&record)?;
        }
        Ok(Did::Done(0))
    })
    .await?;
    if differences.load(Ordering::Relaxed) > 0 {
        tally.differs();
    }
    Ok(tally)
}

struct Comparison<'a> {
    session: &'a Session,
    one: &'a Tree,
    client: &'a Client,
    size_only: bool,
}

impl Comparison<'_> {
    async fn difference(&self, pair: Pair) -> Result<Option<DifferenceRecord>, Failure> {
        let (one, other) = match pair {
            Pair::Skipped(path, why) => {
                self.session.out.note(&format!("skipped {}: {why}", path.display()));
                return Ok(None);
            }
            Pair::Left(one) => return Ok(Some(DifferenceRecord::new("only_one", Some(&one), None))),
            Pair::Right(other) => return Ok(Some(DifferenceRecord::new("only_other", None, Some(&other)))),
            Pair::Both(one, other) => (one, other),
        };
        if one.length != other.length {
            return Ok(Some(DifferenceRecord::new("size", Some(&one), Some(&other))));
        }
        let same = self.size_only || self.same_bytes(&one, &other).await?;
        Ok((!same).then(|| DifferenceRecord::new("bytes", Some(&one), Some(&other))))
    }

    async fn same_bytes(&self, one: &Side, other: &Side) -> Result<bool, Failure> {
        match (&one.place, &other.place) {
            (Place::Local(local), Place::Remote(path, tags)) | (Place::Remote(path, tags), Place::Local(local)) => {
                is_same(self.client, &self.session.pool, local, path, (one.length, tags.root)).await
            }
            (Place::Remote(_, ETags { root: one, .. }), Place::Remote(_, ETags { root: other, .. }))
                if one == other =>
            {
                Ok(true)
            }
            // Roots of different ways of cutting say nothing.
            (Place::Remote(first, _), Place::Remote(second, _)) => match self.one {
                Tree::Remote(_, client) => equal_streams(client, first, self.client, second).await,
                Tree::Local(_) => Ok(false),
            },
            (Place::Local(_), Place::Local(_)) => Ok(false),
        }
    }
}

/// Reads both files side by side up to the first difference. Memory: two pieces.
async fn equal_streams(one: &Client, first: &FilePath, other: &Client, second: &FilePath) -> Result<bool, Failure> {
    let mut left = one.get(first, GetOptions::default()).await?.into_file()?;
    let mut right = other.get(second, GetOptions::default()).await?.into_file()?;
    let (mut here, mut there) = (bytes::Bytes::new(), bytes::Bytes::new());
    loop {
        if here.is_empty() {
            here = left.try_next().await?.unwrap_or_default();
        }
        if there.is_empty() {
            there = right.try_next().await?.unwrap_or_default();
        }
        let common = here.len().min(there.len());
        if common == 0 {
            return Ok(here.len() == there.len());
        }
        if here.split_to(common) != there.split_to(common) {
            return Ok(false);
        }
    }
}
