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
use cairn_common::limits::{CLOCK_SKEW_MS, DOWN_AFTER_MS, PACK_MIN_BYTES};
use cairn_common::membership::{Membership, Node, NodeState};
use cairn_common::wire::master::Status;
use futures::stream::{self, StreamExt as _};
use probe::{Probe, Reached, Service};
use serde::Serialize;
use std::time::Duration;

/// Clocks that differ by more are told; signatures are refused beyond [`CLOCK_SKEW_MS`]. HTTP tells time in whole seconds.
const CLOCK_WARN: Duration = Duration::from_secs(5);
/// Free room of a disk below which it is told, in percent beyond the reserve that refuses writes.
const ROOM_WARN_PERCENT: u64 = 5;
/// Nodes that are reached for at once.
const PROBES: usize = 16;

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
    let mut there = false;
    for master in &settings.masters {
        there |= doctor.reached("master", Service::Node, master, probe.reach(master).await)?;
    }
    let apis = [("http api", Service::HttpApi, &settings.endpoint), ("s3 api", Service::S3, &settings.s3_endpoint)];
    for (check, service, url) in apis {
        if let Some(url) = url {
            doctor.reached(check, service, url, probe.reach(url).await)?;
        }
    }
    if !there {
        let found = (State::Warn, "not looked at: no master was reached".to_owned());
        doctor.tell("access key", "", found, None)?;
        return Ok(doctor.tally);
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

    /// Tells whether a process answered, whether it is what is wanted there, and what its clock says; whether it is what is wanted.
    fn reached(
        &mut self,
        check: &'static str,
        wanted: Service,
        name: &str,
        result: Result<Reached, Failure>,
    ) -> Result<bool, Failure> {
        match result {
            Ok(reached) => {
                let (state, detail, advice) = judge(&reached, wanted);
                self.tell(check, name, (state, detail), advice)?;
                Ok(reached.service == wanted)
            }
            Err(failure) => {
                self.failed(check, name, &failure)?;
                Ok(false)
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
        // Several at once: one that is not reached takes seconds to show it.
        let asked = nodes.iter().map(|node| async move { (node, probe.reach(&node.address).await) });
        let mut answers = stream::iter(asked).buffered(PROBES);
        while let Some((node, answer)) = answers.next().await {
            let check = if node.roles.chunkserver { "chunkserver" } else { "node" };
            self.reached(check, Service::Node, &format!("{} ({})", node.name, node.address), answer)?;
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
            if *age_ms > DOWN_AFTER_MS {
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
        // A chunk of any size must fit.
        _ if free < u64::from(PACK_MIN_BYTES) => {
            (State::Fail, found, Some("full: remove files, or add a disk or a node"))
        }
        few if few < ROOM_WARN_PERCENT => (State::Warn, found, Some("add a disk or a node")),
        _ => (State::Ok, found, None),
    }
}

/// What an answer says about a process.
fn judge(reached: &Reached, wanted: Service) -> (State, String, Option<String>) {
    let Reached { took, skew_ms, ready, service } = reached;
    if *service != wanted {
        let found = format!("this is not {} but {}", named(wanted), named(*service));
        let advice = "node ports go to --masters, the HTTP API to --endpoint, S3 to --s3-endpoint: each server says at its start \
                      where it listens for which";
        return (State::Fail, found, Some(advice.to_owned()));
    }
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

fn named(service: Service) -> &'static str {
    match service {
        Service::Node => "the node port of a Cairn server",
        Service::HttpApi => "Cairn's HTTP API",
        Service::S3 => "an S3 API",
        Service::Other => "something else",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(skew_ms: Option<i64>, ready: bool) -> Reached {
        Reached { took: Duration::from_millis(1), skew_ms, ready, service: Service::Node }
    }

    fn reached(skew_ms: Option<i64>, ready: bool) -> State {
        judge(&answer(skew_ms, ready), Service::Node).0
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
    fn another_port_than_the_one_that_is_wanted_is_told() {
        let (state, found, advice) = judge(&answer(Some(0), true), Service::S3);
        assert!(state == State::Fail && found.contains("not an S3 API but the node port"), "{found}");
        assert!(advice.unwrap().contains("--s3-endpoint"));
    }

    #[test]
    fn a_disk_is_told_before_it_is_full() {
        let room = |free: u64, capacity: u64| room(free << 20, capacity << 20).0;
        assert_eq!(room(50, 100), State::Ok);
        assert_eq!(room(9, 100), State::Ok, "what is free is counted without the reserve");
        assert_eq!(room(400, 10_000), State::Warn);
        assert_eq!(room(4, 100), State::Fail, "no chunk of 4 MiB fits any more");
        assert_eq!(room(0, 0), State::Fail);
    }
}
