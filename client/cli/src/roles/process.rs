//! The life of a server process: logging, runtime, signals.

use super::args::LogFormat;
use super::server;
use super::settings::Settings;
use anyhow::Context as _;
use cairn_common::listen::Shutdown;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Runs the roles until SIGTERM or SIGINT, then ends gracefully.
pub(super) fn run(settings: Settings) -> anyhow::Result<()> {
    start_logging(settings.log_format);
    end_process_on_panic();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    runtime.block_on(async {
        let shutdown = Shutdown::new();
        end_on_signals(shutdown.clone())?;
        server::serve(settings, shutdown).await
    })
}

fn start_logging(format: LogFormat) {
    let wanted = std::env::var("RUST_LOG").unwrap_or_else(|_| "info".to_owned());
    let filter = EnvFilter::new(format!("{wanted},{}", cairn_gateway::LOG_FILTER));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => builder.with_ansi(false).init(),
        LogFormat::Json => builder.json().init(),
    }
}

/// A broken invariant must not leave a process that half works: what it would go on to do is not known.
fn end_process_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        tracing::error!(%panic, "a broken invariant; this process ends. Please report it");
        std::process::abort();
    }));
}

fn end_on_signals(shutdown: Shutdown) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot watch for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot watch for SIGINT")?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM: ending"),
            _ = interrupt.recv() => tracing::info!("SIGINT: ending"),
        }
        shutdown.begin();
        interrupt.recv().await;
        tracing::warn!("SIGINT again: ending at once");
        std::process::exit(130);
    });
    Ok(())
}
