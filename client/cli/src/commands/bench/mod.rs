//! `bench`: load on any S3 endpoint, or on Cairn through the library, and the latencies it answers with.
//!
//! Phases run one after the other over the objects of the run, each for at least five seconds, so that no figure is that of a burst. All
//! objects lie below one prefix; the last of the phases that run unasked removes them.

mod body;
mod histogram;
mod load;
mod target;

use super::presign::{RegionArgs, endpoint, signer};
use crate::failure::{Exit, Failure};
use crate::output::{Column, Record, left, right};
use crate::run::Session;
use crate::transfer::{Did, Tally};
use crate::units::{parse_age, parse_size, size};
use body::Bodies;
use cairn_common::name::BucketName;
use cairn_common::seam::{HttpTransport, OsRandom, Random as _, SystemClock, TlsTrust};
use clap::{Args, ValueEnum};
use load::{Phase, Run, Seen};
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use target::{S3, Target};

/// Largest object, in bytes: bodies are made in memory.
const SIZE_MAX: u64 = 1 << 30;

/// Arguments of `bench`.
#[derive(Args, Debug)]
pub(crate) struct BenchArgs {
    /// Bucket to work in; made over S3 if it is not there
    #[arg(value_name = "BUCKET")]
    bucket: String,
    /// What to put under load
    #[arg(long, value_enum, default_value_t)]
    target: Kind,
    /// What to do, in this order
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PHASE,…")]
    #[arg(default_values_t = [Phase::Put, Phase::Get, Phase::Range, Phase::Head, Phase::List, Phase::Mixed, Phase::Delete])]
    phases: Vec<Phase>,
    /// Bytes of an object, such as 4K or 64M
    #[arg(long, value_name = "SIZE", value_parser = parse_size, default_value = "1M")]
    size: u64,
    /// Operations at once
    #[arg(short, long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024))]
    concurrency: u16,
    /// Time of each phase, at least 5 seconds
    #[arg(long, value_name = "TIME", value_parser = parse_age, default_value = "5s")]
    time: Duration,
    /// Objects to store at least
    #[arg(long, value_name = "N", default_value_t = 1)]
    count: u64,
    /// Time over which the workers begin; what they do in it does not count
    #[arg(long, value_name = "TIME", value_parser = parse_age, default_value = "1s")]
    ramp: Duration,
    /// Compare what is read with what was stored
    #[arg(long)]
    verify: bool,
    /// Prefix of the objects' keys; without one a new one is made. With --phases, objects of an earlier run are not known
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<String>,
    #[command(flatten)]
    region: RegionArgs,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// The S3 API at --s3-endpoint
    #[default]
    S3,
    /// The masters and chunkservers themselves
    Direct,
}

#[derive(Serialize)]
struct PhaseRecord {
    target: &'static str,
    phase: &'static str,
    size: u64,
    concurrency: usize,
    operations: u64,
    errors: u64,
    bytes: u64,
    seconds: f64,
    ops_per_second: f64,
    mib_per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    p999_ms: f64,
    max_ms: f64,
}

impl Record for PhaseRecord {
    const COLUMNS: &'static [Column] = &[
        left("PHASE"),
        right("SIZE"),
        right("AT ONCE"),
        right("OPERATIONS"),
        right("SECONDS"),
        right("OPS/S"),
        right("MIB/S"),
        right("P50 MS"),
        right("P99 MS"),
        right("P99.9 MS"),
        right("MAX MS"),
        right("ERRORS"),
    ];

    fn kind(&self) -> &'static str {
        "bench"
    }

    fn cells(&self, exact: bool) -> Vec<String> {
        vec![
            self.phase.to_owned(),
            size(self.size, exact),
            self.concurrency.to_string(),
            self.operations.to_string(),
            format!("{:.1}", self.seconds),
            format!("{:.1}", self.ops_per_second),
            format!("{:.1}", self.mib_per_second),
            format!("{:.2}", self.p50_ms),
            format!("{:.2}", self.p99_ms),
            format!("{:.2}", self.p999_ms),
            format!("{:.2}", self.max_ms),
            self.errors.to_string(),
        ]
    }
}

impl PhaseRecord {
    fn new(run: &Run, phase: Phase, seen: &Seen) -> PhaseRecord {
        let operations = seen.latencies.total();
        let per_second = |count: f64| if seen.seconds > 0.0 { count / seen.seconds } else { 0.0 };
        PhaseRecord {
            target: if matches!(run.target, Target::S3(_)) { "s3" } else { "direct" },
            phase: phase.name(),
            size: run.size,
            concurrency: run.concurrency,
            operations,
            errors: seen.errors,
            bytes: seen.bytes,
            seconds: seen.seconds,
            ops_per_second: per_second(operations as f64),
            mib_per_second: per_second(seen.bytes as f64 / f64::from(1 << 20)),
            p50_ms: seen.latencies.quantile_ms(0.5),
            p99_ms: seen.latencies.quantile_ms(0.99),
            p999_ms: seen.latencies.quantile_ms(0.999),
            max_ms: seen.latencies.max_ms(),
        }
    }
}

/// Runs `bench`. Exit code 8 if any operation failed.
pub(crate) async fn run(session: &Session, args: BenchArgs) -> Result<Tally, Failure> {
    if args.size > SIZE_MAX {
        return Err(Failure::new(Exit::Usage, "objects of at most 1 GiB, since they are made in memory"));
    }
    let target = target(session, &args).await?;
    let number = OsRandom.number();
    let run = Arc::new(Run {
        target,
        bodies: Bodies::new(args.size as usize, number),
        size: args.size,
        prefix: args.prefix.unwrap_or_else(|| format!("bench-{number:016x}")),
        concurrency: usize::from(args.concurrency),
        seconds: args.time.max(Duration::from_secs(5)),
        count: args.count,
        ramp: args.ramp,
        verify: args.verify,
        stored: AtomicU64::new(0),
    });
    run.target.prepare().await.map_err(|problem| Failure::new(Exit::Network, problem).at(&args.bucket))?;
    let mut tally = Tally::default();
    for phase in args.phases {
        let seen = load::run(&run, phase).await;
        for problem in &seen.problems {
            session.out.error(&Failure::new(Exit::Other, problem.as_str()).at(phase.name()));
        }
        (0..seen.errors).for_each(|_| tally.fail(Exit::Other));
        tally.count(Did::Done(seen.bytes));
        session.out.record(&PhaseRecord::new(&run, phase, &seen))?;
        session.out.flush()?;
    }
    Ok(tally)
}

async fn target(session: &Session, args: &BenchArgs) -> Result<Target, Failure> {
    match args.target {
        Kind::S3 => {
            let settings = session.clients.settings(None)?;
            let trust = settings.ca_file.clone().map_or(TlsTrust::System, TlsTrust::File);
            let transport = HttpTransport::new(&trust).map_err(|reason| Failure::new(Exit::Usage, reason))?;
            let (endpoint, signer) = (endpoint(&settings)?, signer(&settings, &args.region.region)?);
            let (bucket, clock) = (args.bucket.clone(), SystemClock::new());
            Ok(Target::S3(Box::new(S3 { transport, endpoint, signer, bucket, clock })))
        }
        Kind::Direct => {
            let bucket = BucketName::new(args.bucket.as_str())
                .map_err(|error| Failure::new(Exit::Usage, error.to_string()).at(&args.bucket))?;
            let client = session.clients.current().await?;
            client.bucket(&bucket).await.map_err(|error| Failure::from(error).at(&args.bucket))?;
            Ok(Target::Direct(client, bucket))
        }
    }
}
