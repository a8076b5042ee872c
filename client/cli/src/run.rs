//! From the command line to the exit code.

use crate::args::{Cli, Verb};
use crate::clients::Clients;
use crate::commands;
use crate::failure::{Exit, Failure};
use crate::output::{Output, OutputArgs, Summary, error_json};
use crate::route::Routes;
use crate::transfer::Tally;
use cairn_common::seam::{Clock as _, Pool, SystemClock};
use clap::Parser as _;
use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// How long threads that still read or write locally may take to notice that the command has ended.
const THREADS_PATIENCE: Duration = Duration::from_secs(2);

/// What a command works with.
pub(crate) struct Session {
    /// Where everything is printed.
    pub(crate) out: Output,
    /// The clusters it talks to.
    pub(crate) clients: Clients,
    /// The ways that bytes go.
    pub(crate) routes: Routes,
    /// Items at once.
    pub(crate) jobs: usize,
    /// Threads for local files: one for each item, and one that looks ahead.
    pub(crate) pool: Pool,
}

/// Runs a command of the client.
pub(crate) fn main(arguments: Vec<OsString>) -> ExitCode {
    let json = arguments.iter().any(|argument| argument == "--json");
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() && json => {
            eprintln!("{}", error_json(&Failure::new(Exit::Usage, error.to_string())));
            return ExitCode::from(Exit::Usage as u8);
        }
        Err(error) => {
            // Help for a reader that has gone needs no complaint.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Exit::Usage as u8));
        }
    };
    start_log(&cli.output);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            return ExitCode::from(Exit::Other as u8);
        }
    };
    let exit = runtime.block_on(run(cli));
    // A read of standard input cannot be cancelled, and must not hold the process.
    runtime.shutdown_timeout(THREADS_PATIENCE);
    ExitCode::from(exit as u8)
}

async fn run(cli: Cli) -> Exit {
    let Cli { connection, output, jobs, verb } = cli;
    let jobs = usize::from(jobs);
    let session = Session {
        out: Output::new(output, verb.body_on_stdout()),
        routes: Routes::new(connection.direct),
        clients: Clients::new(connection),
        jobs,
        pool: Pool::new(jobs + 1),
    };
    let clock = SystemClock::new();
    let (name, dry_run) = (verb.name(), verb.dry_run());
    let result = tokio::select! {
        biased;
        result = execute(&session, verb) => result,
        _ = tokio::signal::ctrl_c() => {
            let failure = Failure::new(Exit::Interrupted, "interrupted");
            Err(failure.advise("what was in flight may or may not have been stored; repeating the command is safe"))
        }
    };
    let (tally, exit) = match result {
        Ok(tally) => (tally, tally.exit()),
        Err(failure) => {
            session.out.error(&failure);
            let mut tally = Tally::default();
            tally.fail(failure.exit);
            (tally, failure.exit)
        }
    };
    let Tally { done, failed, skipped, bytes, .. } = tally;
    let seconds = clock.monotonic().as_secs_f64();
    let summary = Summary { verb: name, dry_run, done, failed, skipped, bytes, seconds, exit: exit as u8 };
    match session.out.summary(&summary) {
        Err(failure) if exit == Exit::Ok => failure.exit,
        _ => exit,
    }
}

/// Runs the verb, and lets the third copies of what it stored finish.
async fn execute(session: &Session, verb: Verb) -> Result<Tally, Failure> {
    let result = commands::execute(session, verb).await;
    session.clients.close().await;
    result
}

fn start_log(flags: &OutputArgs) {
    let level = match (flags.quiet, flags.verbose) {
        (true, _) => tracing::Level::ERROR,
        (_, 0) => tracing::Level::WARN,
        (_, 1) => tracing::Level::INFO,
        _ => tracing::Level::DEBUG,
    };
    let builder = tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).with_target(false);
    // It tells each certificate that is not trusted as an error of its own, at every attempt; ours says it once, and what to do.
    let untrusted = if level < tracing::Level::DEBUG { LevelFilter::OFF } else { LevelFilter::DEBUG };
    let filter = Targets::new().with_default(level).with_target("rustls_platform_verifier", untrusted);
    if flags.json {
        builder.json().finish().with(filter).init();
    } else {
        builder.with_ansi(false).finish().with(filter).init();
    }
}

#[cfg(test)]
impl Session {
    /// A session that prints nothing and is connected to nothing.
    pub(crate) fn for_tests() -> Session {
        let flags = OutputArgs { quiet: true, ..OutputArgs::default() };
        let clients = Clients::new(crate::profile::ConnectionArgs::default());
        let routes = Routes::new(crate::relay::Direct::Auto);
        Session { out: Output::new(flags, false), clients, routes, jobs: 2, pool: Pool::new(3) }
    }
}
