//! raft-rs logs through slog; here its records go where all others go.

use slog::{Drain, KV, Key, Level, Logger, OwnedKVList, Record, Serializer};
use std::fmt::{Arguments, Write as _};

/// A logger whose records become tracing events of the target `raft`. What raft-rs calls info is our debug.
pub(super) fn logger() -> Logger {
    Logger::root(ToTracing, slog::o!())
}

struct ToTracing;

struct Text(String);

impl Serializer for Text {
    fn emit_arguments(&mut self, key: Key, value: &Arguments<'_>) -> slog::Result {
        write!(self.0, " {key}={value}")?;
        Ok(())
    }
}

impl Drain for ToTracing {
    type Ok = ();
    type Err = slog::Never;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<(), slog::Never> {
        let enabled = match record.level() {
            Level::Critical | Level::Error | Level::Warning => true,
            Level::Info => tracing::enabled!(target: "raft", tracing::Level::DEBUG),
            Level::Debug | Level::Trace => tracing::enabled!(target: "raft", tracing::Level::TRACE),
        };
        if !enabled {
            return Ok(());
        }
        let mut text = Text(record.msg().to_string());
        // A value that cannot be written is left out; there is nobody to tell.
        let _ = record.kv().serialize(record, &mut text);
        let _ = values.serialize(record, &mut text);
        match record.level() {
            Level::Critical | Level::Error => tracing::error!(target: "raft", "{}", text.0),
            Level::Warning => tracing::warn!(target: "raft", "{}", text.0),
            Level::Info => tracing::debug!(target: "raft", "{}", text.0),
            Level::Debug | Level::Trace => tracing::trace!(target: "raft", "{}", text.0),
        }
        Ok(())
    }
}
