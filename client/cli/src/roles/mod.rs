//! The server roles. This build has none of them yet.

use std::ffi::OsString;
use std::process::ExitCode;

/// First arguments that start a server.
const NAMES: [&str; 4] = ["server", "master", "chunkserver", "gateway"];

/// Whether the first argument names a role.
pub(crate) fn is_role(argument: Option<&OsString>) -> bool {
    argument.and_then(|argument| argument.to_str()).is_some_and(|argument| NAMES.contains(&argument))
}

/// Runs the role that the arguments name until the process is told to stop.
pub(crate) fn main(_arguments: Vec<OsString>) -> ExitCode {
    eprintln!("cairn: this build has no server roles");
    ExitCode::from(7)
}
