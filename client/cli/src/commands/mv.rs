//! `mv`: moves within a cluster. Within a bucket in one step that no reader sees half of; between buckets a copy by reference
//! and then a removal of exactly the version that was copied.

use super::cp::{Way, copy, over_files};
use super::stat::current;
use super::tree::TreeArgs;
use crate::failure::{Exit, Failure};
use crate::run::Session;
use crate::transfer::Tally;
use cairn_common::file::{Condition, TagCondition};
use cairn_common::name::FilePath;
use cairn_common::wire::command::{Committed, Deleted};
use clap::Args;

/// Arguments of `mv`.
#[derive(Args, Debug)]
#[command(override_usage = "cairn mv [OPTIONS] SOURCE… DESTINATION")]
pub(crate) struct MvArgs {
    #[command(flatten)]
    pub(crate) tree: TreeArgs,
}

/// Runs `mv`.
pub(crate) async fn run(session: &Session, args: MvArgs) -> Result<Tally, Failure> {
    over_files(session, args.tree, "mv", async |way: &Way, from: &FilePath, to: &FilePath| one(way, from, to).await)
        .await
}

async fn one(way: &Way, from: &FilePath, to: &FilePath) -> Result<Committed, Failure> {
    if !way.same {
        let failure = Failure::new(Exit::Unsupported, "files cannot be moved between clusters");
        return Err(failure.advise("copy it with cairn cp, look at the copy, then cairn rm"));
    }
    if from.bucket == to.bucket {
        return Ok(way.source.rename(from, Condition::default(), &to.key, way.condition.clone()).await?);
    }
    let before = current(&way.source, from).await?;
    let only_this = || TagCondition::OneOf(vec![before.tags.native()]);
    let same = Condition { if_match: Some(only_this()), ..Condition::default() };
    let way =
        Way { source: way.source.clone(), target: way.target.clone(), same: true, condition: way.condition.clone() };
    let committed = copy(&way, from, to).await?;
    let removed = way.source.delete(&from.bucket, vec![(from.key.clone(), same)]).await?;
    match removed[..] {
        [Deleted::Removed | Deleted::Marked(_)] => Ok(committed),
        _ => {
            let failure = Failure::new(Exit::Conflict, "it was changed while it was moved; both files are there");
            Err(failure.advise(format!("look at both, the copy is cairn://{to}")))
        }
    }
}
