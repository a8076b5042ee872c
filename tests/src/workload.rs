//! Load: workers that write, overwrite, remove and read, and keep the account of it; and reading everything back.

use crate::content::{Body, Dice};
use crate::oracle::{Oracle, Seen};
use anyhow::{Context as _, Result, bail, ensure};
use cairn_client::{Client, GetError, GetOptions, PutOptions};
use cairn_common::error::ErrorKind;
use cairn_common::file::Condition;
use cairn_common::name::{BucketName, FilePath, Key};
use cairn_common::wire::command::Deleted;
use cairn_common::wire::master::{ListAfter, ListRequest};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The bucket of a load.
pub const BUCKET: &str = "load";
/// Reads at once when everything is read back.
const READERS: usize = 8;

/// What a load does.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Tasks at once, each with keys of its own.
    pub workers: u64,
    /// What they choose.
    pub seed: u64,
    /// Part of their keys, so that two loads do not meet.
    pub name: String,
    /// Whether any failure is one of the test: no fault that is going on may be seen by a client that retries.
    pub strict: bool,
}

/// A running load.
pub struct Load {
    stop: CancellationToken,
    workers: JoinSet<Result<u64>>,
}

impl Load {
    /// Starts the workers. The bucket must exist.
    pub fn start(client: &Client, oracle: &Arc<Oracle>, options: &LoadOptions) -> Load {
        let stop = CancellationToken::new();
        let mut workers = JoinSet::new();
        for number in 0..options.workers {
            let name = format!("{}/w{number}", options.name);
            let worker = Worker {
                client: client.clone(),
                oracle: Arc::clone(oracle),
                dice: Dice::new(options.seed, &name),
                name,
                made: 0,
                strict: options.strict,
            };
            workers.spawn(worker.run(stop.clone()));
        }
        Load { stop, workers }
    }

    /// Lets every worker finish what it is doing; the number of operations, or the first broken promise.
    pub async fn finish(mut self) -> Result<u64> {
        self.stop.cancel();
        let mut operations = 0;
        while let Some(worker) = self.workers.join_next().await {
            operations += worker.context("a worker panicked")??;
        }
        Ok(operations)
    }

    /// Drops whatever the workers are doing; outcomes of operations in flight stay unknown. An error only for a promise that
    /// was seen broken before.
    pub async fn abort(mut self) -> Result<()> {
        self.stop.cancel();
        self.workers.abort_all();
        while let Some(worker) = self.workers.join_next().await {
            match worker {
                Ok(result) => drop(result?),
                Err(error) if error.is_cancelled() => {}
                Err(error) => return Err(error).context("a worker panicked"),
            }
        }
        Ok(())
    }
}

struct Worker {
    client: Client,
    oracle: Arc<Oracle>,
    dice: Dice,
    name: String,
    made: u64,
    strict: bool,
}

impl Worker {
    async fn run(mut self, stop: CancellationToken) -> Result<u64> {
        let mut operations = 0;
        while !stop.is_cancelled() {
            let action = self.dice.below(20);
            let old = format!("{}/{}", self.name, self.dice.below(self.made.max(1)));
            match action {
                _ if self.made == 0 => self.put_new().await?,
                0..=8 => self.put_new().await?,
                9..=11 => self.put(&old).await?,
                12 | 13 => self.remove(&old).await?,
                _ => self.read(&old).await?,
            }
            operations += 1;
        }
        Ok(operations)
    }

    async fn put_new(&mut self) -> Result<()> {
        let key = format!("{}/{}", self.name, self.made);
        self.made += 1;
        self.put(&key).await
    }

    async fn put(&mut self, key: &str) -> Result<()> {
        // One body in eight is one that many others have: deduplication is on the path.
        let seed = if self.dice.below(8) == 0 { self.dice.below(4) } else { self.dice.number() };
        let body = Body { seed, length: self.dice.length() };
        self.oracle.begin(key, Some(body));
        let result = self.client.put(&path(key)?, body.source(), PutOptions::default()).await;
        match result {
            Ok(committed) => {
                ensure!(committed.length == body.length, "{key}: acknowledged with {} bytes", committed.length);
                self.oracle.acknowledge(key);
            }
            Err(error) => {
                self.settle(key, error.kind());
                ensure!(!self.strict, "a write failed: {key}: {error}");
            }
        }
        Ok(())
    }

    async fn remove(&mut self, key: &str) -> Result<()> {
        self.oracle.begin(key, None);
        let files = vec![(Key::new(key)?, Condition::default())];
        match self.client.delete(&BucketName::new(BUCKET)?, files).await {
            Ok(results) => {
                ensure!(matches!(results[..], [Deleted::Removed | Deleted::Absent]), "{key}: {results:?}");
                self.oracle.acknowledge(key);
            }
            Err(error) => {
                self.settle(key, error.kind());
                ensure!(!self.strict, "a removal failed: {key}: {error}");
            }
        }
        Ok(())
    }

    fn settle(&self, key: &str, kind: ErrorKind) {
        if kind == ErrorKind::Unknown {
            self.oracle.lose(key);
        } else {
            self.oracle.refuse(key);
        }
    }

    async fn read(&mut self, key: &str) -> Result<()> {
        match look(&self.client, key).await {
            Ok(seen) => self.oracle.observe(key, seen),
            Err(error) if !self.strict && error.kind().is_retryable() => Ok(()),
            Err(error) => bail!("a read failed: {key}: {error}"),
        }
    }
}

/// The path of a key of the load.
pub fn path(key: &str) -> Result<FilePath> {
    Ok(FilePath::new(BUCKET, key)?)
}

/// Reads a file to its end.
pub async fn look(client: &Client, key: &str) -> Result<Seen, GetError> {
    let path = FilePath::new(BUCKET, key).expect("keys of a load are short");
    let mut file = match client.get(&path, GetOptions::default()).await {
        Ok(outcome) => outcome.into_file()?,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Seen::Absent),
        Err(error) => return Err(error),
    };
    let mut hasher = blake3::Hasher::new();
    let mut length = 0;
    while let Some(piece) = file.try_next().await? {
        hasher.update(&piece);
        length += piece.len() as u64;
    }
    Ok(Seen::File(length, hasher.finalize()))
}

/// Reads every key back and compares the listing below `prefix`, where all of them are, with what was read; the number of
/// files there are.
pub async fn check_everything(client: &Client, oracle: &Oracle, prefix: &str) -> Result<u64> {
    check_keys(client, oracle, oracle.keys()).await?;
    let listed = list(client, prefix).await?;
    let expected: BTreeSet<String> = oracle.keys().into_iter().filter(|key| oracle.expected(key).0.is_some()).collect();
    let missing: Vec<_> = expected.difference(&listed).take(5).collect();
    let extra: Vec<_> = listed.difference(&expected).take(5).collect();
    ensure!(missing.is_empty() && extra.is_empty(), "the listing lacks {missing:?} and has {extra:?}");
    Ok(expected.len() as u64)
}

/// Reads these keys back.
pub async fn check_keys(client: &Client, oracle: &Oracle, keys: Vec<String>) -> Result<()> {
    let check = |key: String| async move {
        let seen = look(client, &key).await.with_context(|| format!("reading {key} back"))?;
        oracle.observe(&key, seen)
    };
    stream::iter(keys).map(Ok).try_for_each_concurrent(READERS, check).await
}

/// The keys of the bucket below `prefix`, by its listing.
pub async fn list(client: &Client, prefix: &str) -> Result<BTreeSet<String>> {
    let mut listed = BTreeSet::new();
    let mut after = ListAfter::Start;
    loop {
        let (bucket, prefix) = (BucketName::new(BUCKET)?, prefix.to_owned());
        let page = client.list(ListRequest { bucket, prefix, delimiter: None, after, limit: 1000 }).await?;
        listed.extend(page.files.into_iter().map(|file| String::from(file.key)));
        match page.next {
            Some(token) => after = ListAfter::Token(token),
            None => return Ok(listed),
        }
    }
}
