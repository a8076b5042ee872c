//! docs/cli.md holds every verb and option as the program has them: this test writes that part, or fails when it is not what the program
//! says. `CAIRN_WRITE_DOCS=1 cargo test --release -p cairn --bin cairn the_reference` writes it.

use crate::args::Cli;
use clap::{Arg, Command, CommandFactory as _};
use std::fmt::Write as _;
use std::path::Path;

const MARK: &str = "<!-- From here on made from the program; see client/cli/src/reference.rs. -->\n";

#[test]
fn the_reference_says_what_the_program_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (head, found) = text.split_once(MARK).expect("docs/cli.md has the mark");
    let wanted = reference();
    if std::env::var_os("CAIRN_WRITE_DOCS").is_some() {
        std::fs::write(&path, format!("{head}{MARK}{wanted}")).unwrap();
        return;
    }
    let differs = found.lines().zip(wanted.lines()).find(|(found, wanted)| found != wanted);
    assert!(found == wanted, "docs/cli.md is not what the program says, first here: {differs:?}; see {}", file!());
}

fn reference() -> String {
    let mut command = Cli::command();
    command.build();
    let mut text = String::from("\n## Options of every verb\n\n");
    arguments(&mut text, command.get_arguments());
    text.push_str("\n## Verbs\n");
    for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help") {
        describe(&mut text, verb, "cairn");
    }
    text
}

fn describe(text: &mut String, command: &Command, above: &str) {
    let name = format!("{above} {}", command.get_name());
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let _ = write!(text, "\n### {name}\n{about}.\n");
    let below: Vec<&Command> = command.get_subcommands().filter(|verb| verb.get_name() != "help").collect();
    if below.is_empty() {
        let usage = command.clone().render_usage().to_string();
        let _ = write!(text, "```\n{}\n```\n", usage.trim_start_matches("Usage: "));
        arguments(text, command.get_arguments().filter(|argument| !argument.is_global_set()));
    }
    for verb in below {
        describe(text, verb, &name);
    }
}

fn arguments<'a>(text: &mut String, arguments: impl Iterator<Item = &'a Arg>) {
    for argument in arguments.filter(|argument| !matches!(argument.get_id().as_str(), "help" | "version")) {
        let help = argument.get_help().map(|help| help.to_string().replace('\n', " ")).unwrap_or_default();
        let _ = write!(text, "- `{}`: {help}", spelling(argument));
        let values: Vec<String> = argument
            .get_possible_values()
            .iter()
            .filter(|_| argument.get_action().takes_values())
            .map(|value| format!("`{}`", value.get_name()))
            .collect();
        if !values.is_empty() {
            let _ = write!(text, ": {}", values.join(", "));
        }
        let defaults = argument.get_default_values();
        if !defaults.is_empty() && !argument.is_hide_default_value_set() && argument.get_action().takes_values() {
            let shown: Vec<_> = defaults.iter().map(|value| format!("`{}`", value.to_string_lossy())).collect();
            let _ = write!(text, " (default {})", shown.join(", "));
        }
        text.push('\n');
    }
}

fn spelling(argument: &Arg) -> String {
    let value = match argument.get_action().takes_values() {
        true => argument.get_value_names().unwrap_or_default().join(" "),
        false => String::new(),
    };
    match (argument.get_short(), argument.get_long()) {
        (None, None) => value,
        (short, long) => {
            let short = short.map(|short| format!("-{short}"));
            let long = long.map(|long| format!("--{long}"));
            let names: Vec<String> = short.into_iter().chain(long).collect();
            format!("{} {value}", names.join(", ")).trim_end().to_owned()
        }
    }
}
