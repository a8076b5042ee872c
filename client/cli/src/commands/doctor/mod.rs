//! `doctor`: why does it not work, or will not soon? Looks at the settings, reaches for every process, compares clocks, asks what the key
//! may do and, with an administrator's key, how the disks are; and says what to do about each finding.

mod probe;

use crate::failure::{Exit, Failure};
use crate::output::{Column, Record, left};
use crate::profile::{Credential, Settings};
use crate::run::Session;
use crate::transfer::{Did, Tally};
use crate::units::{printable, size};
use cairn_client::Client;
use cairn_common::error::ErrorKind;
use cairn_common::limits::{CLOCK_SKEW_MS, RESERVE_PERCENT};
use cairn_common::membership::{Membership, Node, NodeState};
use cairn_common::wire::master::Status;
use probe::{Probe, Reached};
use serde::Serialize;
use std::time::Duration;

/// Clocks that differ by more are told; signatures are refused beyond [`CLOCK_SKEW_MS`]. HTTP tells time in whole seconds.
const CLOCK_WARN: Duration = Duration::from_secs(5);
/// Free room of a disk below which it is told, in percent beyond the reserve that refuses writes.
const ROOM_WARN_PERCENT: u64 = 5;
/// A node that was not heard of for so long is told.
const SILENT_MS: u64 = 15_000;

/// How a check turned out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    Warn,
    Fail,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct CheckRecord {
    check: &'static str,
    subject: String,
    state: State,
    detail: String,
    advice: Option<String>,
}

impl Record for CheckRecord {
    const COLUMNS: &'static [Column] = &[left("STATE"), left("CHECK"), left("SUBJECT"), left("FOUND"), left("NEXT")];

    fn kind(&self) -> &'static str {
        "check"
    }

    fn cells(&self, _exact: bool) -> Vec<String> {
        let state = match self.state {
            State::Ok => "ok",
            State::Warn => "warn",
            State::Fail => "FAIL",
        };
        let next = printable(self.advice.as_deref().unwrap_or_default());
        vec![state.to_owned(), self.check.to_owned(), printable(&self.subject), printable(&self.detail), next]
    }
}

/// The checks so far.
struct Doctor<'a> {
    session: &'a Session,
    tally: Tally,
}

/// Runs `doctor`. Exit code 0: nothing failed; warnings do not count as failures.
pub(crate) async fn run(session: &Session) -> Result<Tally, Failure> {
    let mut doctor = Doctor { session, tally: Tally::default() };
    let settings = session.clients.settings(None)?;
    doctor.settings(&settings)?;
    let probe = Probe::new(settings.ca_file.clone())?;
    for master in &settings.masters {
        doctor.reach(&probe, "master", master, master).await?;
    }
    for (check, url) in [("http api", &settings.endpoint), ("s3 api", &settings.s3_endpoint)] {
        if let Some(url) = url {
            doctor.reach(&probe, check, url, url).await?;
        }
    }
    match session.clients.current().await {
        Err(failure) => doctor.failed("access key", "", &failure)?,
        Ok(client) => doctor.cluster(&probe, &client).await?,
    }
    Ok(doctor.tally)
}

impl Doctor<'_> {
    fn tell(
        &mut self,
        check: &'static str,
        subject: impl Into<String>,
        (state, detail): (State, String),
        advice: Option<String>,
    ) -> Result<(), Failure> {
        match state {
            State::Ok => self.tally.count(Did::Done(0)),
            State::Warn => self.tally.count(Did::Skipped),
            State::Fail => self.tally.fail(Exit::Other),
        }
        self.session.out.record(&CheckRecord { check, subject: subject.into(), state, detail, advice })
    }

    fn failed(&mut self, check: &'static str, subject: &str, failure: &Failure) -> Result<(), Failure> {
        self.tell(check, subject, (State::Fail, failure.message.clone()), failure.advice.clone())
    }

    fn settings(&mut self, settings: &Settings) -> Result<(), Failure> {
        let whom = match &settings.credential {
            Credential::None => "nobody".to_owned(),
            Credential::Known { access, .. } => access.clone(),
            Credential::File(path) => path.display().to_string(),
            Credential::Command(_) => "credential_command".to_owned(),
        };
        let trust = settings.ca_file.as_ref().map_or("the system's".to_owned(), |path| path.display().to_string());
        let detail = format!("masters {}; as {whom}; certificates {trust}", settings.masters.join(", "));
        let (state, advice) = match (&settings.masters[..], &settings.credential) {
            ([], _) => (State::Fail, Some("set CAIRN_MASTERS (http://HOST:PORT of any master), or write a profile")),
            (_, Credential::None) => {
                (State::Warn, Some("set CAIRN_ACCESS_KEY and CAIRN_SECRET_KEY, or use --key-file"))
            }
            _ => (State::Ok, None),
        };
        self.tell("settings", env!("CARGO_PKG_VERSION"), (state, detail), advice.map(str::to_owned))
    }

    /// Whether a process answers, and what its clock says.
    async fn reach(
        &mut self,
        probe: &Probe,
        check: &'static str,
        name: &str,
        url: &str,
    ) -> Result<Option<Duration>, Failure> {
        match probe.reach(url).await {
            Ok(reached) => {
                let (state, detail, advice) = judge(&reached);
                self.tell(check, name, (state, detail), advice)?;
                Ok(Some(reached.took))
            }
            Err(failure) => {
                self.failed(check, name, &failure)?;
                Ok(None)
            }
        }
    }

    async fn cluster(&mut self, probe: &Probe, client: &Client) -> Result<(), Failure> {
        let view = client.view();
        let membership = view.membership();
        // A process that is a gateway alone is reached by nobody of the cluster.
        let reached = |node: &&Node| node.state != NodeState::Removed && !node.address.is_empty();
        let nodes = membership.nodes.values().filter(reached);
        let nodes: Vec<&Node> = nodes.collect();
        for node in &nodes {
            let check = if node.roles.chunkserver { "chunkserver" } else { "node" };
            self.reach(probe, check, &format!("{} ({})", node.name, node.address), &node.address).await?;
        }
        self.copies(membership)?;
        self.rights(client).await?;
        match client.status().await {
            Ok(status) => self.status(&status),
            Err(error) if error.kind() == ErrorKind::Denied => {
                let advice = "for disks and alarms use an administrator's key (the server's admin.key)";
                self.tell("disks", "", (State::Ok, "this key may not see them".to_owned()), Some(advice.to_owned()))
            }
            Err(error) => self.failed("disks", "", &error.into()),
        }
    }

    fn copies(&mut self, membership: &Membership) -> Result<(), Failure> {
        let serving = |node: &&Node| node.roles.chunkserver && node.state == NodeState::Live;
        let (serving, wanted) = (membership.nodes.values().filter(serving).count(), membership.replicas);
        let found = format!("{serving} chunkservers for {wanted} copies");
        let (state, advice) = match (serving, wanted) {
            (0, _) => (State::Fail, Some("start a chunkserver, or look why it does not join: cairn admin node ls")),
            (serving, wanted) if serving < usize::from(wanted) => {
                (State::Warn, Some("add nodes: cairn admin join-token create, cairn server --join"))
            }
            (_, 1) => (State::Warn, Some("one copy survives no disk; with three nodes there will be three")),
            _ => (State::Ok, None),
        };
        self.tell("copies", "", (state, found), advice.map(str::to_owned))
    }

    async fn rights(&mut self, client: &Client) -> Result<(), Failure> {
        match client.buckets().await {
            Ok(buckets) => {
                let found = format!("accepted; sees {} buckets", buckets.len());
                self.tell("access key", "", (State::Ok, found), None)
            }
            Err(error) => self.failed("access key", "", &error.into()),
        }
    }

    fn status(&mut self, status: &Status) -> Result<(), Failure> {
        for (id, (age_ms, heartbeat)) in &status.heartbeats {
            let name = status.membership.nodes.get(id).map_or_else(|| id.to_string(), |node| node.name.clone());
            if *age_ms > SILENT_MS {
                let found = format!("silent for {} s", age_ms / 1000);
                let advice = "see whether it runs and reaches the masters; its log says why not";
                self.tell("heartbeat", name.clone(), (State::Fail, found), Some(advice.to_owned()))?;
            }
            for volume in &heartbeat.volumes {
                let subject = format!("{name} {}", volume.label);
                let (state, found, advice) = match &volume.fault {
                    Some(fault) => {
                        (State::Fail, fault.clone(), Some("replace the disk; copies are made again elsewhere"))
                    }
                    None => room(volume.free_bytes, volume.capacity_bytes),
                };
                self.tell("disk", subject, (state, found), advice.map(str::to_owned))?;
            }
        }
        for alarm in &status.alarms {
            let advice = Some("see cairn admin status".to_owned());
            self.tell("alarm", "", (State::Warn, alarm.clone()), advice)?;
        }
        Ok(())
    }
}

fn room(free: u64, capacity: u64) -> (State, String, Option<&'static str>) {
    let percent = free.saturating_mul(100) / capacity.max(1);
    let found = format!("{} of {} free ({percent} %)", size(free, false), size(capacity, false));
    match percent {
        0 => (State::Fail, found, Some("full: remove files, or add a disk or a node")),
        // What is free is counted without the reserve.
        few if few < ROOM_WARN_PERCENT + RESERVE_PERCENT => (State::Warn, found, Some("add a disk or a node")),
        _ => (State::Ok, found, None),
    }
}

/// What an answer says about a process.
fn judge(reached: &Reached) -> (State, String, Option<String>) {
    let Reached { took, skew_ms, ready } = reached;
    let milliseconds = took.as_secs_f64() * 1000.0;
    let off = skew_ms.unwrap_or(0);
    let seconds = off as f64 / 1000.0;
    let clock = match skew_ms {
        Some(_) if off.unsigned_abs() > CLOCK_WARN.as_millis() as u64 => format!(", clock {seconds:+.0} s from ours"),
        Some(_) => ", clock as ours".to_owned(),
        None => String::new(),
    };
    let found = format!("answers in {milliseconds:.1} ms{clock}");
    if off.unsigned_abs() > CLOCK_SKEW_MS {
        let advice = "set the clocks (NTP): signatures are refused when they differ by 15 minutes";
        return (State::Fail, found, Some(advice.to_owned()));
    }
    if off.unsigned_abs() > CLOCK_WARN.as_millis() as u64 {
        return (State::Warn, found, Some("set the clocks (NTP)".to_owned()));
    }
    match ready {
        true => (State::Ok, found, None),
        false => {
            let advice = "it runs and is not ready: its log says what it waits for";
            (State::Warn, format!("{found}, not ready"), Some(advice.to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reached(skew_ms: Option<i64>, ready: bool) -> State {
        judge(&Reached { took: Duration::from_millis(1), skew_ms, ready }).0
    }

    #[test]
    fn clocks_and_readiness_are_judged() {
        assert_eq!(reached(Some(900), true), State::Ok);
        assert_eq!(reached(Some(-10_000), true), State::Warn);
        assert_eq!(reached(Some(16 * 60_000), true), State::Fail);
        assert_eq!(reached(None, true), State::Ok);
        assert_eq!(reached(Some(0), false), State::Warn);
    }

    #[test]
    fn a_disk_is_told_before_it_is_full() {
        assert_eq!(room(50, 100).0, State::Ok);
        assert_eq!(room(9, 100).0, State::Warn);
        assert_eq!(room(0, 100).0, State::Fail);
        assert_eq!(room(0, 0).0, State::Fail);
    }
}
