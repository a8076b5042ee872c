//! The one binary of Cairn: a client on the command line, and every server role.
//!
//! Roles have a parser of their own, so that `cairn server --help` shows nothing that only a client knows.

mod address;
mod args;
mod clients;
mod commands;
mod compare;
mod editing;
mod failure;
mod filter;
mod listing;
mod local;
mod memory;
mod names;
mod output;
mod pairs;
mod profile;
#[cfg(test)]
mod reference;
mod relay;
mod roles;
mod route;
mod run;
mod sigv4;
mod transfer;
mod units;
mod walk;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    if let Err(reason) = cairn_common::seam::check_seeded_bug() {
        eprintln!("cairn: {reason}");
        return ExitCode::from(2);
    }
    if roles::is_role(arguments.get(1)) { roles::main(arguments) } else { run::main(arguments) }
}
