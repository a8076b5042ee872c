//! What is done to four masters, three of which vote, and how each is put right again.
//!
//! A change of members is asked for by the command line client, as people do, and is under way while the other fault of its round
//! goes on. What became of it is not known then; in the end everybody is in the group again.

use super::super::kills::wait;
use super::super::masters::leader_first;
use crate::cluster::Cluster;
use crate::content::Dice;
use anyhow::{Context as _, Result, anyhow, bail};
use std::process::{Child, Stdio};

/// Masters of the cluster.
pub(super) const MASTERS: u32 = 4;

/// What is done to the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The leader's process is killed.
    KillLeader,
    /// A follower's process is killed.
    KillFollower,
    /// The leader is stopped for longer than every time-out of the group.
    StopLeader,
    /// A follower is stopped.
    StopFollower,
    /// The leader hears no other master and none hears it; clients reach all.
    IsolateLeader,
    /// The leader hears nobody and nobody hears it, clients included.
    CutLeader,
    /// Leader and one follower do not hear each other; all others hear both.
    CutBetween,
    /// A follower does not hear the leader, which hears it.
    OneWay,
    /// The leader hands over.
    Transfer,
    /// All masters are killed at once.
    RestartAll,
    /// A follower is killed while the leader hands over to the other.
    KillAndTransfer,
    /// The leader is stopped while the two others do not hear each other for a part of that time.
    StopAndCut,
    /// The leader is taken out of the group: it hands over, and the spare gets a vote.
    Replace,
    /// A follower is taken out while the leader is killed.
    ReplaceAndKill,
    /// A follower is taken out while the leader hears no other master.
    ReplaceAndIsolate,
    /// Votes go from three to one while a follower is stopped.
    ShrinkAndStop,
    /// The spare, which was taken out, is put in again while all masters are killed.
    AddAndRestart,
}

/// In this order, so that a short run has some of each sort.
pub(super) const FAULTS: [Fault; 17] = [
    Fault::IsolateLeader,
    Fault::KillLeader,
    Fault::ReplaceAndKill,
    Fault::StopLeader,
    Fault::Replace,
    Fault::CutLeader,
    Fault::CutBetween,
    Fault::OneWay,
    Fault::ReplaceAndIsolate,
    Fault::Transfer,
    Fault::KillFollower,
    Fault::ShrinkAndStop,
    Fault::StopFollower,
    Fault::RestartAll,
    Fault::KillAndTransfer,
    Fault::AddAndRestart,
    Fault::StopAndCut,
];

/// The members of the group, by what they do.
struct Group {
    leader: String,
    /// Two that vote.
    one: String,
    other: String,
    /// One that follows without a vote.
    spare: String,
}

/// A fault that goes on.
pub(super) struct Begun {
    fault: Fault,
    group: Group,
    change: Option<Child>,
}

impl Fault {
    /// Whether the leader is lost and the others can elect another.
    pub(super) fn takes_the_leader(self) -> bool {
        matches!(self, Fault::KillLeader | Fault::StopLeader | Fault::IsolateLeader | Fault::CutLeader)
    }

    /// Does it.
    pub(super) async fn begin(self, cluster: &Cluster, dice: &mut Dice) -> Result<Begun> {
        let group = Group::of(cluster)?;
        let change = self.ask_for_change(cluster, &group)?;
        if change.is_some() {
            // Now before it, now behind it, now in the middle.
            wait(dice, 0, 700).await;
        }
        let begun = Begun { fault: self, group, change };
        begun.strike(cluster)?;
        Ok(begun)
    }

    /// The change of members that is asked for just before, if any.
    fn ask_for_change(self, cluster: &Cluster, group: &Group) -> Result<Option<Child>> {
        let arguments: [&str; 2] = match self {
            Fault::Replace => ["remove", &group.leader],
            Fault::ReplaceAndKill | Fault::ReplaceAndIsolate => ["remove", &group.one],
            Fault::ShrinkAndStop => ["voters", "1"],
            Fault::AddAndRestart => {
                change(cluster, ["remove", &group.spare])?;
                ["add", &group.spare]
            }
            _ => return Ok(None),
        };
        let mut command = cluster.cli_command(&[&["admin", "master"], &arguments[..]].concat());
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        child.map(Some).with_context(|| format!("admin master {arguments:?}"))
    }
}

impl Begun {
    fn strike(&self, cluster: &Cluster) -> Result<()> {
        let Group { leader, one, other, spare } = &self.group;
        match self.fault {
            Fault::KillLeader | Fault::ReplaceAndKill => cluster.kill(leader, "KILL"),
            Fault::KillFollower => cluster.kill(one, "KILL"),
            Fault::StopLeader => cluster.kill(leader, "STOP"),
            Fault::StopFollower | Fault::ShrinkAndStop => cluster.kill(one, "STOP"),
            Fault::IsolateLeader | Fault::ReplaceAndIsolate => {
                [one, other, spare].into_iter().try_for_each(|peer| both_ways(cluster, leader, peer, Cluster::lose))
            }
            Fault::CutLeader => cluster.cut_off(leader),
            Fault::CutBetween => both_ways(cluster, leader, one, Cluster::lose),
            Fault::OneWay => cluster.lose(leader, one),
            Fault::Transfer => transfer(cluster, one),
            Fault::Replace => Ok(()),
            Fault::RestartAll | Fault::AddAndRestart => {
                let all = cluster.processes()?;
                let masters: Vec<_> = all.into_iter().filter(|process| self.group.has(&process.name)).collect();
                cluster.kill_all(&masters)
            }
            Fault::KillAndTransfer => cluster.kill(one, "KILL").and_then(|()| transfer(cluster, other)),
            Fault::StopAndCut => {
                cluster.kill(leader, "STOP")?;
                both_ways(cluster, one, other, Cluster::lose)
            }
        }
    }

    /// Puts it right again: every master runs, hears the others, and is in the group.
    pub(super) fn end(self, cluster: &Cluster) -> Result<()> {
        let Begun { fault, group, change: asked } = self;
        let Group { leader, one, other, spare } = &group;
        match fault {
            Fault::KillLeader | Fault::ReplaceAndKill => cluster.start_process(leader)?,
            Fault::KillFollower | Fault::KillAndTransfer => cluster.start_process(one)?,
            Fault::StopLeader => cluster.kill(leader, "CONT")?,
            Fault::StopFollower | Fault::ShrinkAndStop => cluster.kill(one, "CONT")?,
            Fault::IsolateLeader | Fault::ReplaceAndIsolate => {
                [one, other, spare].into_iter().try_for_each(|peer| both_ways(cluster, leader, peer, Cluster::mend))?;
            }
            Fault::CutLeader => cluster.reconnect(leader)?,
            Fault::CutBetween => both_ways(cluster, leader, one, Cluster::mend)?,
            Fault::OneWay => cluster.mend(leader, one)?,
            Fault::Transfer | Fault::Replace => {}
            Fault::RestartAll | Fault::AddAndRestart => start_together(cluster, [leader, one, other, spare])?,
            Fault::StopAndCut => {
                both_ways(cluster, one, other, Cluster::mend)?;
                cluster.kill(leader, "CONT")?;
            }
        }
        if let Some(mut asked) = asked {
            // It may have given up, and what it asked for may have come about or not.
            asked.wait().context("admin master")?;
        }
        match fault {
            Fault::Replace => change(cluster, ["add", leader]),
            Fault::ReplaceAndKill | Fault::ReplaceAndIsolate => change(cluster, ["add", one]),
            Fault::ShrinkAndStop => change(cluster, ["voters", "3"]),
            Fault::AddAndRestart => change(cluster, ["add", spare]),
            _ => Ok(()),
        }
    }
}

impl Group {
    fn of(cluster: &Cluster) -> Result<Group> {
        let [leader, one, other, spare] = <[String; MASTERS as usize]>::try_from(leader_first(cluster)?)
            .map_err(|members| anyhow!("the group has not {MASTERS} members: {members:?}"))?;
        Ok(Group { leader, one, other, spare })
    }

    fn has(&self, name: &str) -> bool {
        [&self.leader, &self.one, &self.other, &self.spare].into_iter().any(|member| member == name)
    }
}

fn both_ways(cluster: &Cluster, a: &str, b: &str, change: fn(&Cluster, &str, &str) -> Result<()>) -> Result<()> {
    change(cluster, a, b).and_then(|()| change(cluster, b, a))
}

/// Changes the group, and waits until it has come about.
fn change(cluster: &Cluster, arguments: [&str; 2]) -> Result<()> {
    cluster.cli_json(&[&["admin", "master"], &arguments[..]].concat()).map(drop)
}

fn transfer(cluster: &Cluster, to: &str) -> Result<()> {
    // It may not come to that: whoever is asked may lead no more.
    cluster.cli(&["admin", "master", "transfer", to]).map(drop)
}

/// Starts masters at the same time: none is ready before there is a majority.
fn start_together(cluster: &Cluster, members: [&String; MASTERS as usize]) -> Result<()> {
    std::thread::scope(|scope| {
        let starting = members.map(|name| scope.spawn(|| cluster.start_process(name)));
        starting.into_iter().try_for_each(|started| started.join().unwrap_or_else(|_| bail!("a thread panicked")))
    })
}
