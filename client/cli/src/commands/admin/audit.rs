//! `admin audit`: whether every chunk of every file is with all of its owners.

use crate::failure::{Exit, Failure};
use crate::output::{Column, Record, left, right};
use crate::run::Session;
use crate::transfer::Tally;
use crate::units::{printable, size};
use cairn_common::ids::{NodeId, Slot};
use cairn_common::wire::master::{Audited, Finding};
use clap::Args;
use serde::Serialize;
use std::collections::BTreeSet;

/// Arguments of `admin audit`.
#[derive(Args, Debug)]
pub(crate) struct AuditArgs {
    /// Read every copy back from its disk and hash it
    #[arg(long)]
    deep: bool,
}

#[derive(Serialize)]
struct FindingRecord {
    finding: &'static str,
    chunk: Option<String>,
    wanted: Option<u8>,
    holders: Vec<String>,
    without: Vec<String>,
    detail: Option<String>,
}

impl Record for FindingRecord {
    const COLUMNS: &'static [Column] =
        &[left("FINDING"), left("CHUNK"), right("WANTED"), left("HOLDERS"), left("WITHOUT"), left("DETAIL")];

    fn kind(&self) -> &'static str {
        "finding"
    }

    fn cells(&self, _: bool) -> Vec<String> {
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let list = |names: &[String]| if names.is_empty() { "-".to_owned() } else { printable(&names.join(",")) };
        vec![
            self.finding.to_owned(),
            or_dash(self.chunk.clone()),
            or_dash(self.wanted.map(|wanted| wanted.to_string())),
            list(&self.holders),
            list(&self.without),
            or_dash(self.detail.as_deref().map(printable)),
        ]
    }
}

#[derive(Serialize, Default)]
struct AuditRecord {
    deep: bool,
    /// Referenced chunks, their bytes, and their copies that are where they belong.
    chunks: u64,
    bytes: u64,
    copies: u64,
    findings: u64,
    /// Copies that nothing refers to, by how long ago they were written or found last.
    unreferenced_hour: u64,
    unreferenced_hour_bytes: u64,
    unreferenced_day: u64,
    unreferenced_day_bytes: u64,
    unreferenced_older: u64,
    unreferenced_older_bytes: u64,
}

impl Record for AuditRecord {
    const COLUMNS: &'static [Column] = &[
        right("CHUNKS"),
        right("BYTES"),
        right("COPIES"),
        right("FINDINGS"),
        right("UNREFERENCED < 1 H"),
        right("< 1 DAY"),
        right("OLDER"),
    ];

    fn kind(&self) -> &'static str {
        "audit"
    }

    fn cells(&self, exact: bool) -> Vec<String> {
        vec![
            self.chunks.to_string(),
            size(self.bytes, exact),
            self.copies.to_string(),
            self.findings.to_string(),
            size(self.unreferenced_hour_bytes, exact),
            size(self.unreferenced_day_bytes, exact),
            size(self.unreferenced_older_bytes, exact),
        ]
    }
}

impl AuditRecord {
    fn add(&mut self, audited: &Audited) {
        self.chunks += audited.chunks;
        self.bytes += audited.bytes;
        self.copies += audited.copies;
        self.findings += audited.findings.len() as u64 + audited.more_findings;
        let [(hour, hour_bytes), (day, day_bytes), (older, older_bytes)] = audited.unreferenced;
        (self.unreferenced_hour, self.unreferenced_hour_bytes) =
            (self.unreferenced_hour + hour, self.unreferenced_hour_bytes + hour_bytes);
        (self.unreferenced_day, self.unreferenced_day_bytes) =
            (self.unreferenced_day + day, self.unreferenced_day_bytes + day_bytes);
        (self.unreferenced_older, self.unreferenced_older_bytes) =
            (self.unreferenced_older + older, self.unreferenced_older_bytes + older_bytes);
    }
}

/// Runs `admin audit`. Any finding is exit code 9, however many there are.
pub(super) async fn run(session: &Session, args: AuditArgs) -> Result<Tally, Failure> {
    let client = session.clients.current().await?;
    let membership = client.status().await?.membership;
    let name = |node: &NodeId| membership.nodes.get(node).map_or_else(|| node.to_string(), |node| node.name.clone());
    let mut total = AuditRecord { deep: args.deep, ..AuditRecord::default() };
    let mut from = Slot(0);
    let mut silent: BTreeSet<NodeId> = BTreeSet::new();
    loop {
        let mut audited = client.audit(from, args.deep).await?;
        // A node that does not answer is one finding, in however many stretches.
        audited.findings.retain(|finding| !matches!(finding, Finding::Silent(node) if !silent.insert(*node)));
        for finding in &audited.findings {
            session.out.record(&record(finding, &name))?;
        }
        total.add(&audited);
        match audited.next {
            Some(next) => from = next,
            None => break,
        }
    }
    session.out.flush()?;
    session.out.facts(&total)?;
    if total.findings == 0 {
        return Ok(Tally::one(total.bytes));
    }
    let message = format!("{} findings", total.findings);
    Err(Failure::new(Exit::Corrupt, message)
        .advise("see `cairn admin status`; while data moves, audit again when it has"))
}

fn record(finding: &Finding, name: &impl Fn(&NodeId) -> String) -> FindingRecord {
    let none = FindingRecord { finding: "", chunk: None, wanted: None, holders: vec![], without: vec![], detail: None };
    match finding {
        Finding::State(detail) => FindingRecord { finding: "state", detail: Some(detail.clone()), ..none },
        Finding::Silent(node) => FindingRecord { finding: "silent", without: vec![name(node)], ..none },
        Finding::Short { address, wanted, holders, without } => FindingRecord {
            finding: if holders.is_empty() { "lost" } else { "short" },
            chunk: Some(address.to_string()),
            wanted: Some(*wanted),
            holders: holders.iter().map(name).collect(),
            without: without.iter().map(name).collect(),
            detail: None,
        },
    }
}
