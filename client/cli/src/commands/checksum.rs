//! `checksum`: what identifies the bytes of a file, here or stored, so that both can be compared without moving them.
//!
//! The root is what Cairn itself compares: a hash over the hashes of the chunks. It depends on how the file was cut, and files are cut
//! in two ways: by content (`cairn put`, the library), and every MiB (gateways). Of a local file both can be asked for.

use super::stat::{current, folder_hint};
use crate::address::{Address, Remote};
use crate::compare::LocalRoots;
use crate::failure::Failure;
use crate::output::{Column, Record, left};
use crate::run::Session;
use crate::transfer::{Did, Tally, each};
use crate::units::printable;
use cairn_client::GetOptions;
use clap::{Args, ValueEnum};
use futures::TryStreamExt as _;
use futures::stream;
use serde::Serialize;
use std::ffi::OsString;
use std::io::{self, Read};
use std::path::PathBuf;

/// Arguments of `checksum`.
#[derive(Args, Debug)]
pub(crate) struct ChecksumArgs {
    /// Local paths, addresses, or - for standard input
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<OsString>,
    /// What to compute; of a stored file all but `root` mean reading it
    #[arg(short, long, value_enum, default_value_t)]
    algorithm: Algorithm,
    /// How a local file is cut for its root
    #[arg(long, value_enum, default_value_t)]
    cut: Cut,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Algorithm {
    /// The root, as native ETags show it: `b3-` and 64 hex digits
    #[default]
    Root,
    /// BLAKE3 of all bytes, as `b3sum`
    Blake3,
    /// SHA-256 of all bytes, as `sha256sum`
    Sha256,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Cut {
    /// By content, as `cairn put` does
    #[default]
    Content,
    /// Every MiB, as gateways do
    Fixed,
}

impl Algorithm {
    fn name(self) -> &'static str {
        match self {
            Algorithm::Root => "root",
            Algorithm::Blake3 => "blake3",
            Algorithm::Sha256 => "sha256",
        }
    }
}

#[derive(Serialize)]
struct ChecksumRecord {
    path: String,
    size: u64,
    algorithm: &'static str,
    checksum: String,
}

impl Record for ChecksumRecord {
    const COLUMNS: &'static [Column] = &[left("CHECKSUM"), left("PATH")];

    fn kind(&self) -> &'static str {
        "checksum"
    }

    fn cells(&self, _exact: bool) -> Vec<String> {
        vec![self.checksum.clone(), printable(&self.path)]
    }
}

/// Runs `checksum`.
pub(crate) async fn run(session: &Session, args: ChecksumArgs) -> Result<Tally, Failure> {
    let (algorithm, cut) = (args.algorithm, args.cut);
    let paths = stream::iter(args.paths.into_iter().map(|path| Address::parse(&path)));
    each(session, paths, |address| async move {
        let (path, (size, checksum)) = match address {
            Address::Local(path) => (path.display().to_string(), local(session, path, algorithm, cut).await?),
            Address::Standard => {
                let read = session.pool.run(move || of_reader(&mut io::stdin().lock(), algorithm, cut)).await;
                ("-".to_owned(), read.map_err(|error| Failure::local("-".as_ref(), "read it", &error))?)
            }
            Address::Remote(remote) => {
                let found = stored(session, &remote, algorithm).await;
                (remote.to_string(), found.map_err(|failure| folder_hint(failure, &remote))?)
            }
        };
        session.out.record(&ChecksumRecord { path, size, algorithm: algorithm.name(), checksum })?;
        Ok(Did::Done(size))
    })
    .await
}

async fn local(session: &Session, path: PathBuf, algorithm: Algorithm, cut: Cut) -> Result<(u64, String), Failure> {
    let at = path.clone();
    let read = session.pool.run(move || of_reader(&mut std::fs::File::open(path)?, algorithm, cut)).await;
    read.map_err(|error| Failure::local(&at, "read it", &error))
}

fn of_reader(reader: &mut dyn Read, algorithm: Algorithm, cut: Cut) -> io::Result<(u64, String)> {
    if algorithm == Algorithm::Root {
        let roots = LocalRoots::read(reader)?;
        let root = if cut == Cut::Content { roots.content } else { roots.fixed };
        return Ok((roots.length, format!("b3-{root}")));
    }
    let mut digest = Digest::new(algorithm);
    let mut buffer = vec![0; 1 << 20];
    let mut size = 0;
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok((size, digest.finish())),
            Ok(read) => {
                size += read as u64;
                digest.update(&buffer[..read]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

async fn stored(session: &Session, remote: &Remote, algorithm: Algorithm) -> Result<(u64, String), Failure> {
    let client = session.clients.of(remote).await?;
    let path = remote.file()?;
    if algorithm == Algorithm::Root {
        let info = current(&client, &path).await?;
        return Ok((info.length, info.tags.native()));
    }
    let mut file = client.get(&path, GetOptions::default()).await?.into_file()?;
    let mut digest = Digest::new(algorithm);
    let mut size = 0;
    while let Some(piece) = file.try_next().await? {
        size += piece.len() as u64;
        digest.update(&piece);
    }
    Ok((size, digest.finish()))
}

/// A hash over all bytes.
enum Digest {
    Blake3(Box<blake3::Hasher>),
    Sha256(Box<ring::digest::Context>),
}

impl Digest {
    fn new(algorithm: Algorithm) -> Digest {
        match algorithm {
            Algorithm::Sha256 => Digest::Sha256(Box::new(ring::digest::Context::new(&ring::digest::SHA256))),
            Algorithm::Blake3 | Algorithm::Root => Digest::Blake3(Box::default()),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Digest::Blake3(hasher) => {
                hasher.update(bytes);
            }
            Digest::Sha256(context) => context.update(bytes),
        }
    }

    fn finish(self) -> String {
        match self {
            Digest::Blake3(hasher) => hasher.finalize().to_hex().to_string(),
            Digest::Sha256(context) => hex::encode(context.finish().as_ref()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_of_all_bytes_are_those_that_other_programs_print() {
        let of = |algorithm| of_reader(&mut &b"abc"[..], algorithm, Cut::Content).unwrap();
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let blake3 = "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85";
        assert_eq!(of(Algorithm::Sha256), (3, sha256.to_owned()));
        assert_eq!(of(Algorithm::Blake3), (3, blake3.to_owned()));
        assert!(of(Algorithm::Root).1.starts_with("b3-"));
    }

    #[test]
    fn the_way_of_cutting_matters_only_beyond_one_chunk() {
        let of = |length: usize, cut| of_reader(&mut &vec![7; length][..], Algorithm::Root, cut).unwrap().1;
        assert_eq!(of(100_000, Cut::Content), of(100_000, Cut::Fixed));
        assert_ne!(of(5 << 20, Cut::Content), of(5 << 20, Cut::Fixed));
    }
}
