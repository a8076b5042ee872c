//! `admin`: looking after the cluster. Needs a key that may administer it.

mod join_token;
mod key;
mod master;
mod node;
mod status;

use crate::failure::Failure;
use crate::run::Session;
use crate::transfer::Tally;
use clap::Subcommand;

/// Verbs of `admin`.
#[derive(Subcommand, Debug)]
pub(crate) enum AdminVerb {
    /// The cluster in figures
    Status,
    /// Nodes
    #[command(subcommand)]
    Node(NodeVerb),
    /// The masters' group
    #[command(subcommand)]
    Master(master::MasterVerb),
    /// Access keys
    #[command(subcommand)]
    Key(key::KeyVerb),
    /// Tokens with which new nodes join
    #[command(subcommand)]
    JoinToken(join_token::JoinTokenVerb),
}

/// Verbs of `admin node`.
#[derive(Subcommand, Debug)]
pub(crate) enum NodeVerb {
    /// List the nodes
    Ls,
}

impl AdminVerb {
    /// The verb's name, as the summary shows it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            AdminVerb::Status => "admin status",
            AdminVerb::Node(NodeVerb::Ls) => "admin node ls",
            AdminVerb::Master(verb) => verb.name(),
            AdminVerb::Key(verb) => verb.name(),
            AdminVerb::JoinToken(join_token::JoinTokenVerb::Create(_)) => "admin join-token create",
        }
    }

    /// Whether nothing is to be changed.
    pub(crate) fn dry_run(&self) -> bool {
        match self {
            AdminVerb::Status | AdminVerb::Node(_) => false,
            AdminVerb::Master(verb) => verb.dry_run(),
            AdminVerb::Key(verb) => verb.dry_run(),
            AdminVerb::JoinToken(join_token::JoinTokenVerb::Create(dry)) => dry.dry_run,
        }
    }
}

/// Runs a verb of `admin`.
pub(crate) async fn run(session: &Session, verb: AdminVerb) -> Result<Tally, Failure> {
    match verb {
        AdminVerb::Status => status::run(session).await,
        AdminVerb::Node(NodeVerb::Ls) => node::list(session).await,
        AdminVerb::Master(verb) => master::run(session, verb).await,
        AdminVerb::Key(verb) => key::run(session, verb).await,
        AdminVerb::JoinToken(join_token::JoinTokenVerb::Create(dry)) => join_token::create(session, dry).await,
    }
}
