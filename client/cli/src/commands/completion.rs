//! `completion`: what a shell needs to complete verbs and options.

use crate::args::Cli;
use crate::failure::Failure;
use crate::output::{Column, Record, left};
use crate::run::Session;
use crate::transfer::Tally;
use clap::{Args, CommandFactory as _};
use clap_complete::Shell;
use serde::Serialize;

const AFTER: &str = "\
bash:       cairn completion bash > ~/.local/share/bash-completion/completions/cairn
zsh:        cairn completion zsh > \"${fpath[1]}/_cairn\"
fish:       cairn completion fish > ~/.config/fish/completions/cairn.fish
powershell: cairn completion powershell >> $PROFILE";

/// Arguments of `completion`.
#[derive(Args, Debug)]
#[command(after_help = AFTER)]
pub(crate) struct CompletionArgs {
    /// Which shell
    #[arg(value_name = "SHELL", value_enum)]
    shell: Shell,
}

#[derive(Serialize)]
struct CompletionRecord {
    shell: String,
    script: String,
}

impl Record for CompletionRecord {
    const COLUMNS: &'static [Column] = &[left("SCRIPT")];

    fn kind(&self) -> &'static str {
        "completion"
    }

    fn cells(&self, _exact: bool) -> Vec<String> {
        vec![self.script.trim_end().to_owned()]
    }
}

/// Runs `completion`.
pub(crate) fn run(session: &Session, args: &CompletionArgs) -> Result<Tally, Failure> {
    session.out.line(&CompletionRecord { shell: args.shell.to_string(), script: script(args.shell) })?;
    Ok(Tally::one(0))
}

fn script(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "cairn", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_learns_every_verb() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::PowerShell] {
            let script = script(shell);
            for verb in Cli::command().get_subcommands() {
                assert!(script.contains(verb.get_name()), "{shell}: {}", verb.get_name());
            }
        }
    }
}
