//! `admin master`: the masters' group, who is in it, and who leads.

use crate::args::DryRun;
use crate::commands::records::ActionRecord;
use crate::failure::{Exit, Failure};
use crate::output::{Column, Record, left, right};
use crate::run::Session;
use crate::transfer::{Did, Tally};
use crate::units::printable;
use cairn_client::Client;
use cairn_common::ids::NodeId;
use cairn_common::membership::NodeState;
use cairn_common::wire::master::{MasterMember, MasterRole, MastersStatus};
use clap::{Args, Subcommand};
use serde::Serialize;
use std::time::Duration;

/// How long a command waits until the group is as it asked for.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(200);

/// Verbs of `admin master`.
#[derive(Subcommand, Debug)]
pub(crate) enum MasterVerb {
    /// List the members of the group: who leads, who votes, who lags behind
    Ls,
    /// Put a node into the group again that was taken out; a new one joins by itself when it starts
    Add(NodeArgs),
    /// Take a node out of the group; its process goes on with its other roles
    Remove(NodeArgs),
    /// Let another master lead
    Transfer(NodeArgs),
    /// Set how many masters vote: 1, 3 or 5; the others follow
    Voters(VotersArgs),
}

/// Which node.
#[derive(Args, Debug)]
pub(crate) struct NodeArgs {
    /// Name or number of the node
    node: String,
    #[command(flatten)]
    dry: DryRun,
}

/// Arguments of `admin master voters`.
#[derive(Args, Debug)]
pub(crate) struct VotersArgs {
    /// How many
    #[arg(value_parser = ["1", "3", "5"])]
    voters: String,
    #[command(flatten)]
    dry: DryRun,
}

impl MasterVerb {
    pub(super) fn name(&self) -> &'static str {
        match self {
            MasterVerb::Ls => "admin master ls",
            MasterVerb::Add(_) => "admin master add",
            MasterVerb::Remove(_) => "admin master remove",
            MasterVerb::Transfer(_) => "admin master transfer",
            MasterVerb::Voters(_) => "admin master voters",
        }
    }

    pub(super) fn dry_run(&self) -> bool {
        match self {
            MasterVerb::Ls => false,
            MasterVerb::Add(args) | MasterVerb::Remove(args) | MasterVerb::Transfer(args) => args.dry.dry_run,
            MasterVerb::Voters(args) => args.dry.dry_run,
        }
    }
}

#[derive(Serialize)]
struct MasterRecord {
    name: String,
    id: u32,
    role: &'static str,
    active: bool,
    term: u64,
    matched: u64,
    /// Entries of the leader's log that it is not known to have yet.
    lag: u64,
    address: String,
}

impl MasterRecord {
    fn new(group: &MastersStatus, member: &MasterMember) -> MasterRecord {
        MasterRecord {
            name: member.name.clone(),
            id: member.node.0,
            role: match member.role {
                MasterRole::Leader => "leader",
                MasterRole::Voter => "voter",
                MasterRole::Learner => "learner",
                MasterRole::Waiting => "waiting",
            },
            active: member.active,
            term: group.term,
            matched: member.matched,
            lag: group.last.saturating_sub(member.matched),
            address: member.address.clone(),
        }
    }
}

impl Record for MasterRecord {
    const COLUMNS: &'static [Column] = &[
        left("MASTER"),
        right("ID"),
        left("ROLE"),
        left("HEARD"),
        right("TERM"),
        right("ENTRY"),
        right("LAG"),
        left("ADDRESS"),
    ];

    fn kind(&self) -> &'static str {
        "master"
    }

    fn cells(&self, _exact: bool) -> Vec<String> {
        vec![
            printable(&self.name),
            self.id.to_string(),
            self.role.to_owned(),
            if self.active { "yes" } else { "no" }.to_owned(),
            self.term.to_string(),
            self.matched.to_string(),
            self.lag.to_string(),
            self.address.clone(),
        ]
    }
}

/// Runs a verb of `admin master`.
pub(super) async fn run(session: &Session, verb: MasterVerb) -> Result<Tally, Failure> {
    let client = session.clients.current().await?;
    match verb {
        MasterVerb::Ls => list(session, &client).await,
        MasterVerb::Add(args) => set_master(session, &client, &args, "admin_master_add", true).await,
        MasterVerb::Remove(args) => set_master(session, &client, &args, "admin_master_remove", false).await,
        MasterVerb::Transfer(args) => transfer(session, &client, &args).await,
        MasterVerb::Voters(args) => voters(session, &client, &args).await,
    }
}

async fn list(session: &Session, client: &Client) -> Result<Tally, Failure> {
    let group = client.masters().await?;
    let mut tally = Tally::default();
    for member in &group.members {
        tally.count(Did::Done(0));
        session.out.record(&MasterRecord::new(&group, member))?;
    }
    session.out.flush()?;
    if !group.settled {
        session.out.note("the group is being changed");
    }
    Ok(tally)
}

/// The node that is meant, by name or by number, whatever it does now.
async fn find(client: &Client, text: &str) -> Result<NodeId, Failure> {
    let status = client.status().await?;
    let nodes = || status.membership.nodes.values().filter(|node| node.state != NodeState::Removed);
    let number = text.parse().ok().map(NodeId);
    let found = nodes().find(|node| node.name == text).or_else(|| nodes().find(|node| Some(node.id) == number));
    found.map(|node| node.id).ok_or_else(|| Failure::new(Exit::NotFound, "there is no such node").at(text))
}

async fn set_master(
    session: &Session,
    client: &Client,
    args: &NodeArgs,
    verb: &'static str,
    master: bool,
) -> Result<Tally, Failure> {
    let node = find(client, &args.node).await?;
    if !args.dry.dry_run {
        client.set_master(node, master).await?;
        let is_so = move |group: &MastersStatus| {
            let is_in = |member: &MasterMember| member.node == node && member.role != MasterRole::Waiting;
            group.settled && group.members.iter().any(is_in) == master
        };
        wait(client, is_so).await?;
    }
    session.out.action(&ActionRecord::of(verb, &args.node, args.dry.dry_run), args.dry.dry_run)?;
    Ok(Tally::one(0))
}

async fn transfer(session: &Session, client: &Client, args: &NodeArgs) -> Result<Tally, Failure> {
    let node = find(client, &args.node).await?;
    if !args.dry.dry_run {
        client.transfer_leader(node).await?;
        wait(client, move |group| group.leader == node).await?;
    }
    session.out.action(&ActionRecord::of("admin_master_transfer", &args.node, args.dry.dry_run), args.dry.dry_run)?;
    Ok(Tally::one(0))
}

async fn voters(session: &Session, client: &Client, args: &VotersArgs) -> Result<Tally, Failure> {
    if !args.dry.dry_run {
        let voters = args.voters.parse().map_err(|_| Failure::new(Exit::Usage, "1, 3 or 5 are allowed"))?;
        client.set_voters(voters).await?;
        wait(client, |group| group.settled).await?;
    }
    session.out.action(&ActionRecord::of("admin_master_voters", &args.voters, args.dry.dry_run), args.dry.dry_run)?;
    Ok(Tally::one(0))
}

/// Waits until the group is as it should be.
async fn wait(client: &Client, is_so: impl Fn(&MastersStatus) -> bool) -> Result<(), Failure> {
    for _ in 0..PATIENCE.as_millis() / PAUSE.as_millis() {
        if is_so(&client.masters().await?) {
            return Ok(());
        }
        client.pause(PAUSE).await;
    }
    let failure = Failure::new(Exit::Network, "the masters took the change, and it has not come about yet");
    Err(failure.advise("see `cairn admin master ls`: a member that is down, or behind, holds it up"))
}
