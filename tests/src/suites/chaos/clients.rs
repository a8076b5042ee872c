//! What clients do under chaos: reads, writes, writes that go by what is there, and removals, of the same few keys.

use super::{KEYS, World};
use crate::content::Dice;
use crate::linear::{Action, Operation};
use crate::workload::{BUCKET, path};
use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use cairn_client::{Client, GetError, GetOptions, PutOptions};
use cairn_common::error::ErrorKind;
use cairn_common::file::{Condition, TagCondition};
use cairn_common::name::{BucketName, Key};
use futures::TryStreamExt as _;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// A client of a round.
pub(super) struct One {
    pub(super) world: Arc<World>,
    pub(super) client: Client,
    pub(super) dice: Dice,
    pub(super) round: u64,
}

/// How an operation ended.
enum Ended {
    /// It did this.
    Did(Action),
    /// It did nothing: not part of the history.
    Nothing,
    /// It may have done what was wanted.
    Unknown,
}

impl One {
    /// Works until it is told to stop. An error is one that no fault explains.
    pub(super) async fn run(mut self, stop: CancellationToken) -> Result<()> {
        // What this client believes to be there, by key: what a swap goes by.
        let mut believed: BTreeMap<String, (Option<u64>, Option<String>)> = BTreeMap::new();
        while !stop.is_cancelled() {
            let key = format!("r{}/{}", self.round, self.dice.below(KEYS));
            let called = self.world.now();
            let (wanted, ended) = match self.dice.below(10) {
                0..=3 => {
                    let (ended, seen) = self.read(&key).await?;
                    if let Some(seen) = seen {
                        believed.insert(key.clone(), seen);
                    }
                    (Action::Read(None), ended)
                }
                4..=6 => self.write(&key).await?,
                7 | 8 => self.swap(&key, believed.get(&key).cloned().unwrap_or_default()).await?,
                _ => self.remove(&key).await?,
            };
            let answered = Some(self.world.now());
            match ended {
                Ended::Did(action) => self.world.note(&key, Operation { called, answered, action }),
                Ended::Unknown => self.world.note(&key, Operation { called, answered: None, action: wanted }),
                Ended::Nothing => {}
            }
            let pause = Duration::from_millis(5 + self.dice.below(30));
            tokio::time::sleep(pause).await;
        }
        Ok(())
    }

    async fn read(&self, key: &str) -> Result<(Ended, Option<(Option<u64>, Option<String>)>)> {
        match read(&self.client, key).await {
            Ok(seen) => Ok((Ended::Did(Action::Read(seen.0)), Some(seen))),
            Err(error) if error.kind().is_retryable() => Ok((Ended::Nothing, None)),
            Err(error) => Err(error).with_context(|| format!("reading {key}")),
        }
    }

    async fn write(&self, key: &str) -> Result<(Action, Ended)> {
        let value = self.world.value();
        let action = Action::Write(value);
        let ended = match put(&self.client, key, value, Condition::default()).await {
            Ok(()) => Ended::Did(action),
            Err(error) => may_go_on(error.kind(), || format!("writing {key}: {error}"))?,
        };
        Ok((action, ended))
    }

    async fn swap(&self, key: &str, (expected, tag): (Option<u64>, Option<String>)) -> Result<(Action, Ended)> {
        let to = self.world.value();
        let condition = match tag {
            Some(tag) => Condition { if_match: Some(TagCondition::OneOf(vec![tag])), ..Condition::default() },
            None => Condition { if_none_match: Some(TagCondition::Any), ..Condition::default() },
        };
        let swapped = |done| Action::Swap { expected, to, done };
        let ended = match put(&self.client, key, to, condition).await {
            Ok(()) => Ended::Did(swapped(Some(true))),
            Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => {
                Ended::Did(swapped(Some(false)))
            }
            Err(error) => may_go_on(error.kind(), || format!("swapping {key}: {error}"))?,
        };
        Ok((swapped(None), ended))
    }

    async fn remove(&self, key: &str) -> Result<(Action, Ended)> {
        let files = vec![(Key::new(key)?, Condition::default())];
        let ended = match self.client.delete(&BucketName::new(BUCKET)?, files).await {
            Ok(_) => Ended::Did(Action::Remove),
            Err(error) => may_go_on(error.kind(), || format!("removing {key}: {error}"))?,
        };
        Ok((Action::Remove, ended))
    }
}

/// What an error says about a change; an error if it is one that no fault explains.
fn may_go_on(kind: ErrorKind, told: impl Fn() -> String) -> Result<Ended> {
    match kind {
        ErrorKind::Unavailable => Ok(Ended::Nothing),
        ErrorKind::Unknown => Ok(Ended::Unknown),
        _ => bail!(told()),
    }
}

/// The value of a key, and the tag to swap it by.
async fn read(client: &Client, key: &str) -> Result<(Option<u64>, Option<String>), GetError> {
    let path = path(key).expect("keys are short");
    let file = match client.get(&path, GetOptions::default()).await {
        Ok(outcome) => outcome.into_file()?,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok((None, None)),
        Err(error) => return Err(error),
    };
    let tag = file.info().tags.native();
    let pieces: Vec<Bytes> = file.try_collect().await?;
    let body = pieces.concat();
    let value = <[u8; 8]>::try_from(&body[..]).map(u64::from_be_bytes).expect("values have eight bytes");
    Ok((Some(value), Some(tag)))
}

/// Stores a value, if the condition is met.
pub(super) async fn put(
    client: &Client,
    key: &str,
    value: u64,
    condition: Condition,
) -> Result<(), cairn_client::PutError> {
    let path = path(key).expect("keys are short");
    let options = PutOptions { condition, ..PutOptions::default() };
    client.put(&path, std::io::Cursor::new(value.to_be_bytes().to_vec()), options).await.map(drop)
}
