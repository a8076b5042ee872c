//! `admin`: looking after the cluster. Needs a key that may administer it.

mod audit;
mod backup;
mod collect;
mod join_token;
mod key;
mod leave;
mod master;
mod node;
mod rebalance;
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
    /// Removal of bytes that no file needs any more
    #[command(subcommand)]
    Collect(collect::CollectVerb),
    /// How chunks move when nodes come, go or change
    #[command(subcommand)]
    Rebalance(rebalance::RebalanceVerb),
    /// Check that every chunk of every file is where it belongs
    Audit(audit::AuditArgs),
    /// Write the masters' state into a file, for `cairn master restore`
    Backup(backup::BackupArgs),
}

/// Verbs of `admin node`.
#[derive(Subcommand, Debug)]
pub(crate) enum NodeVerb {
    /// List the nodes
    Ls,
    /// Move everything off a node, so that it can be unplugged
    Drain(leave::DrainArgs),
    /// Forget a node that is drained
    Rm(leave::RmArgs),
    /// Change a node's weight or zone
    Set(leave::SetArgs),
}

impl AdminVerb {
    /// The verb's name, as the summary shows it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            AdminVerb::Status => "admin status",
            AdminVerb::Node(NodeVerb::Ls) => "admin node ls",
            AdminVerb::Master(verb) => verb.name(),
            AdminVerb::Node(NodeVerb::Drain(_)) => "admin node drain",
            AdminVerb::Node(NodeVerb::Rm(_)) => "admin node rm",
            AdminVerb::Node(NodeVerb::Set(_)) => "admin node set",
            AdminVerb::Collect(verb) => verb.name(),
            AdminVerb::Rebalance(verb) => verb.name(),
            AdminVerb::Audit(_) => "admin audit",
            AdminVerb::Backup(_) => "admin backup",
            AdminVerb::Key(verb) => verb.name(),
            AdminVerb::JoinToken(join_token::JoinTokenVerb::Create(_)) => "admin join-token create",
        }
    }

    /// Whether nothing is to be changed.
    pub(crate) fn dry_run(&self) -> bool {
        match self {
            AdminVerb::Master(verb) => verb.dry_run(),
            AdminVerb::Node(NodeVerb::Drain(args)) => args.what_if,
            AdminVerb::Node(NodeVerb::Set(args)) => args.what_if,
            AdminVerb::Node(NodeVerb::Rm(args)) => args.dry.dry_run,
            AdminVerb::Status | AdminVerb::Node(NodeVerb::Ls) => false,
            AdminVerb::Collect(_) | AdminVerb::Rebalance(_) | AdminVerb::Audit(_) | AdminVerb::Backup(_) => false,
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
        AdminVerb::Node(NodeVerb::Drain(args)) => leave::drain(session, args).await,
        AdminVerb::Node(NodeVerb::Rm(args)) => leave::remove(session, args).await,
        AdminVerb::Node(NodeVerb::Set(args)) => leave::set(session, args).await,
        AdminVerb::Collect(verb) => collect::run(session, verb).await,
        AdminVerb::Rebalance(verb) => rebalance::run(session, verb).await,
        AdminVerb::Audit(args) => audit::run(session, args).await,
        AdminVerb::Backup(args) => backup::run(session, args).await,
        AdminVerb::Key(verb) => key::run(session, verb).await,
        AdminVerb::JoinToken(join_token::JoinTokenVerb::Create(dry)) => join_token::create(session, dry).await,
    }
}
