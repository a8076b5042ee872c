//! Commits a second through the Raft log of a group of one, with an empty state machine: what the log itself costs.
//! `cargo run --release -p cairn-master --example log_bench -- FOLDER`

#![allow(clippy::disallowed_methods)] // it measures

use bytes::Bytes;
use cairn_common::file::{Attributes, Condition, S3Tag};
use cairn_common::ids::{NodeId, Stamp};
use cairn_common::manifest::Root;
use cairn_common::name::FilePath;
use cairn_common::seam::SystemClock;
use cairn_common::wire::command::{Command, CommitFile, Done, Envelope, NewContent, Outcome};
use cairn_master::raft::{ApplyError, ConfState, EngineLog, Group, GroupConfig, StateMachine};
use std::sync::Arc;
use std::time::{Duration, Instant};

struct Nothing(u64, Stamp);

impl StateMachine for Nothing {
    fn applied(&self) -> (u64, Stamp) {
        (self.0, self.1)
    }

    fn apply(&mut self, index: u64, _: u64, base: Stamp, commands: &[Envelope]) -> Result<Vec<Outcome>, ApplyError> {
        (self.0, self.1) = (index, base.next(commands.len() as u64));
        Ok(commands.iter().map(|_| Ok(Done::Nothing)).collect())
    }

    fn conf(&self) -> ConfState {
        ConfState { voters: vec![1], ..ConfState::default() }
    }

    fn apply_conf(&mut self, index: u64, _: u64, _: &ConfState) -> Result<(), ApplyError> {
        self.0 = index;
        Ok(())
    }

    fn install(&mut self, _: u64, _: u64) -> Result<(), ApplyError> {
        Err(ApplyError("these never miss so much".to_owned()))
    }

    fn flush(&mut self) -> Result<u64, ApplyError> {
        Ok(self.0)
    }
}

fn command(body: &Bytes) -> Envelope {
    let commit = CommitFile {
        path: FilePath::new("bench", "some/key/of/usual/length-000001").expect("a good path"),
        content: NewContent::Inline(body.clone()),
        root: Root([1; 32]),
        length: body.len() as u64,
        tag: S3Tag::Md5([2; 16]),
        attributes: Attributes::default(),
        condition: Condition::default(),
    };
    Envelope { session: None, command: Command::CommitFile(Box::new(commit)) }
}

#[tokio::main]
async fn main() {
    let folder = std::env::args().nth(1).expect("usage: log_bench FOLDER");
    let log = EngineLog::open(folder.as_ref()).expect("the log opens");
    let config = GroupConfig {
        node: NodeId(1),
        run: 1,
        outbox: Box::new(|_| ()),
        snapshots: None,
        fatal: Box::new(|reason| panic!("{reason}")),
    };
    let group = Group::start(config, Nothing(0, Stamp::ZERO), log, Arc::new(SystemClock::new())).expect("it starts");
    let group = Arc::new(group);
    while !group.status().leading {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    println!("| bytes | at once | commits/s | entries/s | commits an entry |\n|---|---|---|---|---|");
    for bytes in [0usize, 4096] {
        let body = Bytes::from(vec![7; bytes]);
        for at_once in [1usize, 8, 64, 512] {
            let (begun, before) = (Instant::now(), group.status());
            let workers = (0..at_once).map(|_| {
                let (group, body) = (Arc::clone(&group), body.clone());
                tokio::spawn(async move {
                    let begun = Instant::now();
                    while begun.elapsed() < Duration::from_secs(3) {
                        group.propose(command(&body)).await.expect("it is executed").expect("it is done");
                    }
                })
            });
            futures::future::join_all(workers).await;
            let (seconds, after) = (begun.elapsed().as_secs_f64(), group.status());
            let (commands, entries) = (after.commands - before.commands, after.entries - before.entries);
            println!(
                "| {bytes} | {at_once} | {:.0} | {:.0} | {:.1} |",
                commands as f64 / seconds,
                entries as f64 / seconds,
                commands as f64 / entries as f64
            );
        }
    }
    group.stop();
}
