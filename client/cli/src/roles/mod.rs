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
mod restore;
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
    // A role takes flags only, so that a word behind it is a verb.
    let is_restore =
        arguments.get(1).is_some_and(|role| role == "master") && arguments.get(2).is_some_and(|verb| verb == "restore");
    let ended = if is_restore {
        parsed(restore::RestoreArgs::try_parse_from(&arguments[2..])).map(restore::run)
    } else {
        parsed(args::RoleCommand::try_parse_from(arguments)).map(|command| {
            let (roles, arguments) = command.role.split();
            settings::Settings::new(roles, arguments).and_then(process::run)
        })
    };
    let ended = match ended {
        Ok(ended) => ended,
        Err(code) => return code,
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cairn: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The arguments, or the exit code after help, version, or a complaint.
fn parsed<T>(arguments: Result<T, clap::Error>) -> Result<T, ExitCode> {
    arguments.map_err(|error| {
        // Help and version are no errors.
        let code = if error.use_stderr() { 2 } else { 0 };
        let _ = error.print();
        ExitCode::from(code)
    })
}
