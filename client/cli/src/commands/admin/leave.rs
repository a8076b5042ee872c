//! `admin node drain`, `rm` and `set`: nodes that leave, come back, or change their place in the ring; and what that would do.

use super::node::find;
use crate::args::DryRun;
use crate::commands::records::ActionRecord;
use crate::failure::{Exit, Failure};
use crate::output::{Column, Record, left, right};
use crate::run::Session;
use crate::transfer::{Did, Tally};
use crate::units::printable;
use cairn_common::ids::{Epoch, NodeId};
use cairn_common::membership::Membership;
use cairn_common::ring::{Member, Ring, movement};
use clap::Args;
use serde::Serialize;

/// Arguments of `admin node drain`.
#[derive(Args, Debug)]
pub(crate) struct DrainArgs {
    /// Its name
    name: String,
    /// Take it back into the ring instead
    #[arg(long)]
    undo: bool,
    /// Only show what would move
    #[arg(short = 'n', long, alias = "dry-run")]
    pub(super) what_if: bool,
}

/// Arguments of `admin node rm`.
#[derive(Args, Debug)]
pub(crate) struct RmArgs {
    /// Its name
    name: String,
    /// Even if it may hold what no other node has; for a node that will never come back
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    pub(super) dry: DryRun,
}

/// Arguments of `admin node set`.
#[derive(Args, Debug)]
pub(crate) struct SetArgs {
    /// Its name
    name: String,
    /// Share of the data it should hold, by convention its capacity in GiB
    #[arg(long, value_name = "GIB", value_parser = clap::value_parser!(u32).range(1..))]
    weight: Option<u32>,
    /// Its failure domain
    #[arg(long)]
    zone: Option<String>,
    /// Only show what would move
    #[arg(short = 'n', long, alias = "dry-run")]
    pub(super) what_if: bool,
}

/// What a change of the ring would do to a node.
#[derive(Serialize)]
struct ShareRecord {
    node: String,
    /// Share of all copies, in percent, now and then.
    share_percent: f64,
    new_share_percent: f64,
}

impl Record for ShareRecord {
    const COLUMNS: &'static [Column] = &[left("NODE"), right("SHARE"), right("NEW SHARE")];

    fn kind(&self) -> &'static str {
        "share"
    }

    fn cells(&self, _: bool) -> Vec<String> {
        let percent = |share: f64| format!("{share:.1} %");
        vec![printable(&self.node), percent(self.share_percent), percent(self.new_share_percent)]
    }
}

/// How much a change of the ring would move.
#[derive(Serialize)]
struct MovementRecord {
    /// Share of all copies that would change hands, in percent.
    moved_percent: f64,
    /// The least that any placement with the new shares could move.
    minimum_percent: f64,
}

impl Record for MovementRecord {
    const COLUMNS: &'static [Column] = &[right("MOVES"), right("AT LEAST")];

    fn kind(&self) -> &'static str {
        "movement"
    }

    fn cells(&self, _: bool) -> Vec<String> {
        vec![format!("{:.1} %", self.moved_percent), format!("{:.1} %", self.minimum_percent)]
    }
}

pub(super) async fn drain(session: &Session, args: DrainArgs) -> Result<Tally, Failure> {
    let client = session.clients.current().await?;
    let status = client.status().await?;
    let node = find(&status, &args.name)?;
    if args.what_if {
        return what_if(session, &status.membership, |members| {
            members.retain(|member| member.node != node || args.undo);
            if args.undo && members.iter().all(|member| member.node != node) {
                members.extend(member_of(&status.membership, node));
            }
        });
    }
    client.drain_node(node, args.undo).await.map_err(|error| Failure::from(error).at(&args.name))?;
    session.out.action(&ActionRecord::of("node_drain", &args.name, false), false)?;
    if !args.undo {
        session
            .out
            .note("its chunks are on their way to other nodes; `cairn admin status` says when it can be unplugged");
    }
    Ok(Tally::one(0))
}

pub(super) async fn remove(session: &Session, args: RmArgs) -> Result<Tally, Failure> {
    let client = session.clients.current().await?;
    let node = find(&client.status().await?, &args.name)?;
    if !args.dry.dry_run {
        client.remove_node(node, args.force).await.map_err(|error| Failure::from(error).at(&args.name))?;
    }
    session.out.action(&ActionRecord::of("node_rm", &args.name, args.dry.dry_run), args.dry.dry_run)?;
    Ok(Tally::one(0))
}

pub(super) async fn set(session: &Session, args: SetArgs) -> Result<Tally, Failure> {
    let SetArgs { name, weight, zone, what_if: only_show } = args;
    let client = session.clients.current().await?;
    let status = client.status().await?;
    let node = find(&status, &name)?;
    if weight.is_none() && zone.is_none() {
        return Err(Failure::new(Exit::Usage, "give --weight, --zone or both").at(name));
    }
    if only_show {
        return what_if(session, &status.membership, |members| {
            for member in members.iter_mut().filter(|member| member.node == node) {
                member.weight = weight.unwrap_or(member.weight);
                member.zone = zone.clone().unwrap_or_else(|| member.zone.clone());
            }
        });
    }
    client.set_node(node, weight, zone).await.map_err(|error| Failure::from(error).at(&name))?;
    session.out.action(&ActionRecord::of("node_set", &name, false), false)?;
    Ok(Tally::one(0))
}

fn member_of(membership: &Membership, node: NodeId) -> Option<Member> {
    let node = membership.nodes.get(&node)?;
    Some(Member { node: node.id, zone: node.zone.clone(), weight: node.weight })
}

/// Shows the ring that would follow.
fn what_if(
    session: &Session,
    membership: &Membership,
    change: impl FnOnce(&mut Vec<Member>),
) -> Result<Tally, Failure> {
    let no_ring = || Failure::new(Exit::NotFound, "no chunkserver serves yet");
    let spec = membership.ring().ok_or_else(no_ring)?;
    let mut members = spec.members.clone();
    change(&mut members);
    let next = spec.followed_by(Epoch(spec.epoch.0 + 1), members);
    let build = |spec| Ring::new(spec).map_err(|error| Failure::new(Exit::Other, error.to_string()));
    let (old, new) = (build(spec.clone())?, build(next)?);
    let replicas = usize::from(membership.replicas);
    let (before, after) = (old.shares(replicas), new.shares(replicas));
    let mut tally = Tally::default();
    let nodes: std::collections::BTreeSet<NodeId> = before.keys().chain(after.keys()).copied().collect();
    for node in nodes {
        let percent =
            |shares: &std::collections::BTreeMap<NodeId, f64>| 100.0 * shares.get(&node).copied().unwrap_or(0.0);
        let name = membership.nodes.get(&node).map_or_else(|| node.to_string(), |node| node.name.clone());
        let record = ShareRecord { node: name, share_percent: percent(&before), new_share_percent: percent(&after) };
        session.out.record(&record)?;
        tally.count(Did::Done(0));
    }
    session.out.flush()?;
    let moved = movement(&old, &new, replicas);
    let record = MovementRecord { moved_percent: 100.0 * moved.moved, minimum_percent: 100.0 * moved.minimum };
    session.out.record(&record)?;
    Ok(tally)
}
