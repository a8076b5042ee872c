//! One phase of load: workers that do one kind of operation again and again, and what they saw.

use super::body::Bodies;
use super::histogram::Histogram;
use super::target::{Problem, Target};
use cairn_common::seam::{Clock, SystemClock};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;

/// Bytes of a ranged read.
pub(super) const RANGE_BYTES: u64 = 64 << 10;
/// Errors that are kept for showing.
const PROBLEMS_SHOWN: usize = 3;
/// Listings at once: each is many requests.
const LISTERS_MAX: usize = 8;

/// A kind of operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Phase {
    /// Store new objects
    Put,
    /// Read whole objects
    Get,
    /// Read 64 KiB out of objects
    Range,
    /// Ask about objects
    Head,
    /// List all objects of the run
    List,
    /// 70 % get, 20 % put of new objects, 10 % head
    Mixed,
    /// Remove every object of the run
    Delete,
}

impl Phase {
    pub(super) fn name(self) -> &'static str {
        match self {
            Phase::Put => "put",
            Phase::Get => "get",
            Phase::Range => "range",
            Phase::Head => "head",
            Phase::List => "list",
            Phase::Mixed => "mixed",
            Phase::Delete => "delete",
        }
    }
}

/// What all phases of a run have in common.
pub(super) struct Run {
    pub(super) target: Target,
    pub(super) bodies: Bodies,
    pub(super) size: u64,
    pub(super) prefix: String,
    pub(super) concurrency: usize,
    /// At least so long.
    pub(super) seconds: Duration,
    /// At least so many objects are stored.
    pub(super) count: u64,
    /// Over this time the workers begin; what they do in it is not counted.
    pub(super) ramp: Duration,
    pub(super) verify: bool,
    /// Objects that were stored.
    pub(super) stored: AtomicU64,
}

/// What a phase saw.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) latencies: Histogram,
    pub(super) bytes: u64,
    pub(super) errors: u64,
    pub(super) problems: Vec<Problem>,
    pub(super) seconds: f64,
}

impl Run {
    fn key(&self, number: u64) -> String {
        format!("{}/{:02x}/{number:08}", self.prefix, number % 64)
    }
}

/// Runs a phase to its end.
pub(super) async fn run(run: &Arc<Run>, phase: Phase) -> Seen {
    let clock = Arc::new(SystemClock::new());
    let before = run.stored.load(Ordering::Relaxed);
    let next = Arc::new(AtomicU64::new(if phase == Phase::Put { before } else { 0 }));
    let workers = if phase == Phase::List { run.concurrency.min(LISTERS_MAX) } else { run.concurrency };
    // A removal cannot be repeated: all of them count, from the first on.
    let ramp = if phase == Phase::Delete { Duration::ZERO } else { run.ramp };
    let mut tasks = JoinSet::new();
    for index in 0..workers {
        let start = ramp.mul_f64(index as f64 / workers as f64);
        let worker =
            Worker { run: Arc::clone(run), phase, next: Arc::clone(&next), clock: Arc::clone(&clock), before, ramp };
        tasks.spawn(worker.work(start));
    }
    let mut seen = Seen::default();
    while let Some(one) = tasks.join_next().await {
        match one {
            Ok(one) => {
                seen.latencies.add(&one.latencies);
                seen.bytes += one.bytes;
                seen.errors += one.errors;
                seen.problems.extend(one.problems);
            }
            Err(error) => {
                seen.errors += 1;
                seen.problems.push(error.to_string());
            }
        }
    }
    seen.problems.truncate(PROBLEMS_SHOWN);
    seen.seconds = clock.monotonic().saturating_sub(ramp).as_secs_f64();
    if phase == Phase::Put {
        run.stored.store(next.load(Ordering::Relaxed), Ordering::Relaxed);
    }
    seen
}

struct Worker {
    run: Arc<Run>,
    phase: Phase,
    next: Arc<AtomicU64>,
    clock: Arc<SystemClock>,
    /// Objects that were there when the phase began.
    before: u64,
    ramp: Duration,
}

impl Worker {
    async fn work(self, start: Duration) -> Seen {
        self.clock.sleep(start).await;
        let mut seen = Seen::default();
        while let Some(number) = self.claim() {
            let begun = self.clock.monotonic();
            let (took, result) = self.operation(number).await;
            // What began while others had not yet begun says nothing about the full load.
            if begun < self.ramp {
                continue;
            }
            match result {
                Ok(bytes) => {
                    seen.latencies.count(took);
                    seen.bytes += bytes;
                }
                Err(problem) => {
                    seen.errors += 1;
                    if seen.problems.len() < PROBLEMS_SHOWN {
                        seen.problems.push(problem);
                    }
                }
            }
        }
        seen
    }

    /// The number of the next operation; `None`: the phase is over.
    fn claim(&self) -> Option<u64> {
        let in_time = self.clock.monotonic() < self.ramp + self.run.seconds;
        let going_on = match self.phase {
            Phase::Put => in_time || self.next.load(Ordering::Relaxed) < self.before + self.run.count,
            Phase::Delete => self.next.load(Ordering::Relaxed) < self.before,
            _ => in_time && self.before > 0,
        };
        let number = going_on.then(|| self.next.fetch_add(1, Ordering::Relaxed))?;
        (self.phase != Phase::Delete || number < self.before).then_some(number)
    }

    /// How long an operation took, and how many bytes it moved. Making and checking bodies is not in that time.
    async fn operation(&self, number: u64) -> (Duration, Result<u64, Problem>) {
        let Run { target, size, prefix, .. } = self.run.as_ref();
        // Neighbours in time are no neighbours in the key space.
        let known = if self.before > 0 { number.wrapping_mul(2_654_435_761) % self.before } else { 0 };
        match (self.phase, number % 10) {
            (Phase::Put, _) => self.put(number).await,
            // New objects, behind all others.
            (Phase::Mixed, 0 | 1) => self.put(self.run.stored.fetch_add(1, Ordering::Relaxed)).await,
            (Phase::Get, _) | (Phase::Mixed, 2..=8) => self.get(known).await,
            (Phase::Head, _) | (Phase::Mixed, _) => {
                self.timed(async { target.head(&self.run.key(known)).await.map(|()| 0) }).await
            }
            (Phase::Range, _) => {
                let start = number.wrapping_mul(7919 * 4096) % size.saturating_sub(RANGE_BYTES).max(1);
                let range = (start, (start + RANGE_BYTES).min(*size));
                let fetched = async {
                    // Nothing has no range.
                    let pieces = target.get(&self.run.key(known), (*size > 0).then_some(range)).await?;
                    let bytes: u64 = pieces.iter().map(|piece| piece.len() as u64).sum();
                    if bytes == range.1 - range.0 { Ok(bytes) } else { Err(format!("{bytes} bytes for {range:?}")) }
                };
                self.timed(fetched).await
            }
            (Phase::List, _) => {
                let listed = async {
                    match target.list(&format!("{prefix}/")).await? {
                        found if found >= self.before => Ok(0),
                        found => Err(format!("{found} of {} objects were listed", self.before)),
                    }
                };
                self.timed(listed).await
            }
            (Phase::Delete, _) => self.timed(async { target.delete(&self.run.key(number)).await.map(|()| 0) }).await,
        }
    }

    async fn put(&self, number: u64) -> (Duration, Result<u64, Problem>) {
        let body = self.run.bodies.of(number);
        self.timed(async { self.run.target.put(&self.run.key(number), body).await.map(|()| self.run.size) }).await
    }

    async fn get(&self, number: u64) -> (Duration, Result<u64, Problem>) {
        let begun = self.clock.monotonic();
        let fetched = self.run.target.get(&self.run.key(number), None).await;
        let took = self.clock.monotonic().saturating_sub(begun);
        let checked = fetched.and_then(|pieces| {
            let bytes: u64 = pieces.iter().map(|piece| piece.len() as u64).sum();
            let right = bytes == self.run.size && (!self.run.verify || pieces.concat() == self.run.bodies.of(number));
            if right { Ok(bytes) } else { Err(format!("object {number} came back as something else")) }
        });
        (took, checked)
    }

    async fn timed<T>(&self, operation: impl Future<Output = T>) -> (Duration, T) {
        let begun = self.clock.monotonic();
        let result = operation.await;
        (self.clock.monotonic().saturating_sub(begun), result)
    }
}
