//! The verbs, a file each.

pub(crate) mod admin;
pub(crate) mod bench;
pub(crate) mod cat;
pub(crate) mod checksum;
pub(crate) mod completion;
pub(crate) mod cp;
pub(crate) mod diff;
pub(crate) mod doctor;
pub(crate) mod du;
pub(crate) mod find;
pub(crate) mod get;
pub(crate) mod locate;
pub(crate) mod ls;
pub(crate) mod mb;
pub(crate) mod mv;
pub(crate) mod outline;
pub(crate) mod presign;
pub(crate) mod profile;
pub(crate) mod put;
pub(crate) mod rb;
mod records;
mod relayed;
pub(crate) mod rm;
pub(crate) mod s3_config;
pub(crate) mod stat;
pub(crate) mod sync;
mod tree;
pub(crate) mod uploads;
pub(crate) mod verify;
mod version;

use crate::args::Verb;
use crate::failure::Failure;
use crate::run::Session;
use crate::transfer::Tally;

/// Runs a verb.
pub(crate) async fn execute(session: &Session, verb: Verb) -> Result<Tally, Failure> {
    match verb {
        Verb::Mb(args) => mb::run(session, args).await,
        Verb::Rb(args) => rb::run(session, args).await,
        Verb::Ls(args) => ls::run(session, args).await,
        Verb::Stat(args) => stat::run(session, args).await,
        Verb::Put(args) => put::run(session, args).await,
        Verb::Get(args) => get::run(session, args).await,
        Verb::Cat(args) => cat::run(session, args).await,
        Verb::Cp(args) => cp::run(session, args).await,
        Verb::Mv(args) => mv::run(session, args).await,
        Verb::Rm(args) => rm::run(session, args).await,
        Verb::Du(args) => du::run(session, args).await,
        Verb::Where(args) => locate::run(session, args).await,
        Verb::Find(args) => find::run(session, args).await,
        Verb::Tree(args) => outline::run(session, args).await,
        Verb::Sync(args) => sync::run(session, args).await,
        Verb::Diff(args) => diff::run(session, args).await,
        Verb::Verify(args) => verify::run(session, args).await,
        Verb::Checksum(args) => checksum::run(session, args).await,
        Verb::Presign(args) => presign::run(session, &args),
        Verb::Uploads(verb) => uploads::run(session, verb).await,
        Verb::S3Config(args) => s3_config::run(session, &args),
        Verb::Profile(verb) => profile::run(session, verb),
        Verb::Doctor => doctor::run(session).await,
        Verb::Bench(args) => bench::run(session, args).await,
        Verb::Completion(args) => completion::run(session, &args),
        Verb::Admin(verb) => admin::run(session, verb).await,
        Verb::Version => version::run(session),
    }
}
