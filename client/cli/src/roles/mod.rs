//! The server roles: what a process runs, put together from the crates that do the work.
//!
//! `cairn server` runs all of them in one process; `cairn master`, `cairn chunkserver` and `cairn gateway` run one each. All are
//! the same start: settings, identity (from the folder, from a join, or of a new cluster), listeners, then master,
//! chunkserver and gateway in this order, each using the one before through memory.

mod announce;
mod args;
mod cluster;
mod identity;
mod join;
mod near;
mod ports;
mod process;
mod ready;
mod server;
mod settings;
mod tls;

use clap::Parser as _;
use std::ffi::OsString;
use std::process::ExitCode;

/// First arguments that start a server.
const NAMES: [&str; 4] = ["server", "master", "chunkserver", "gateway"];

/// Whether the first argument names a role.
pub(crate) fn is_role(argument: Option<&OsString>) -> bool {
    argument.and_then(|argument| argument.to_str()).is_some_and(|argument| NAMES.contains(&argument))
}

/// Runs the role that the arguments name until the process is told to stop.
pub(crate) fn main(arguments: Vec<OsString>) -> ExitCode {
    let args::RoleCommand { role } = match args::RoleCommand::try_parse_from(arguments) {
        Ok(command) => command,
        Err(error) => {
            // Help and version are no errors.
            let code = if error.use_stderr() { 2 } else { 0 };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let (roles, arguments) = role.split();
    match settings::Settings::new(roles, arguments).and_then(process::run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cairn: {error:#}");
            ExitCode::FAILURE
        }
    }
}
