//! What masters said of their votes: a vote that was stored may never be forgotten, whatever happens to the machine.
//!
//! A master writes into its log file which term and vote its Raft log had when it was opened, and each that is stored later, after
//! its sync. The log file itself is not synced, so what it said is remembered here from before a power cut.

use crate::cluster::Cluster;
use anyhow::{Result, ensure};
use std::collections::BTreeMap;

/// A term, and who was voted for in it; nobody: 0.
type Vote = (u64, u64);

/// The newest vote that each master is known to have stored.
#[derive(Debug, Default)]
pub struct Votes {
    stored: BTreeMap<String, Vote>,
}

const OPENED: &str = "the log is open";
const STORED: &str = "the vote is stored";

impl Votes {
    /// Remembers what the masters have said until now.
    pub fn remember(&mut self, cluster: &Cluster) -> Result<()> {
        for (name, log) in logs(cluster)? {
            if let Some(vote) = log.lines().rev().find_map(|line| vote(line, &[OPENED, STORED])) {
                self.stored.insert(name, vote);
            }
        }
        ensure!(!self.stored.is_empty(), "no master tells its vote");
        Ok(())
    }

    /// Each of these masters, which were started since, opened its log with the vote that was remembered, or a newer one.
    pub fn check(&self, cluster: &Cluster, restarted: &[String]) -> Result<()> {
        for (name, log) in logs(cluster)? {
            let Some(before) = self.stored.get(&name).filter(|_| restarted.contains(&name)) else { continue };
            let opened = log.lines().rev().find_map(|line| vote(line, &[OPENED]));
            let opened = opened.unwrap_or_default();
            ensure!(goes_on_from(*before, opened), "{name} had stored {before:?}, and came back with {opened:?}");
        }
        Ok(())
    }
}

fn logs(cluster: &Cluster) -> Result<Vec<(String, String)>> {
    let names = cluster.processes()?.into_iter().map(|process| process.name);
    let masters = names.filter(|name| name.starts_with("master") || name.starts_with("node"));
    let log = |name: String| {
        let text = std::fs::read(cluster.folder().join(&name).join("log")).unwrap_or_default();
        (name, String::from_utf8_lossy(&text).into_owned())
    };
    Ok(masters.map(log).collect())
}

/// Term and vote in a line that says one of these things.
fn vote(line: &str, says: &[&str]) -> Option<Vote> {
    let rest = says.iter().find_map(|words| line.split_once(words).map(|(_, rest)| rest))?;
    let number = |name: &str| rest.split(' ').find_map(|field| field.strip_prefix(name)?.parse().ok());
    Some((number("term=")?, number("vote=")?))
}

/// A vote of a term stands; who had none may vote later.
fn goes_on_from(before: Vote, after: Vote) -> bool {
    after.0 > before.0 || after == before || (after.0 == before.0 && before.1 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn votes_are_found_in_what_masters_say() {
        let line = "2026-11-23T19:00:00.000000Z  INFO the log is open term=7 vote=2 last=40 applied=39";
        assert_eq!(vote(line, &[OPENED]), Some((7, 2)));
        assert_eq!(vote(line, &[STORED]), None);
    }

    #[test]
    fn a_vote_may_not_be_forgotten_or_given_twice() {
        assert!(goes_on_from((3, 0), (3, 2)) && goes_on_from((3, 1), (4, 0)) && goes_on_from((3, 1), (3, 1)));
        assert!(!goes_on_from((3, 1), (3, 2)) && !goes_on_from((3, 1), (3, 0)) && !goes_on_from((3, 1), (2, 1)));
    }
}
