//! docs/cli.md names every verb, argument and option, and none that the program does not have.

use crate::args::Cli;
use clap::{Arg, Command, CommandFactory as _};
use std::collections::BTreeSet;
use std::path::Path;

#[test]
fn the_reference_names_what_the_program_has_and_nothing_else() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.md");
    let text = std::fs::read_to_string(path).unwrap();
    let mut command = Cli::command();
    command.build();
    let (_, shared) = text.split_once("## Options of every verb\n").unwrap();
    let (shared, verbs) = shared.split_once("## Verbs\n").unwrap();
    compare("every verb", shared, command.get_arguments().collect());
    let mut known = BTreeSet::new();
    for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help") {
        describe(verbs, verb, "cairn", &mut known);
    }
    let told: BTreeSet<String> =
        verbs.lines().filter_map(|line| line.strip_prefix("### ")).map(str::to_owned).collect();
    assert_eq!(told, known);
}

fn describe(text: &str, command: &Command, above: &str, known: &mut BTreeSet<String>) {
    let name = format!("{above} {}", command.get_name());
    known.insert(name.clone());
    let below: Vec<&Command> = command.get_subcommands().filter(|verb| verb.get_name() != "help").collect();
    if below.is_empty() {
        let (_, section) = text.split_once(&format!("### {name}\n")).unwrap_or_else(|| panic!("{name} is not there"));
        let section = section.split("\n### ").next().unwrap_or_default();
        compare(&name, section, command.get_arguments().filter(|argument| !argument.is_global_set()).collect());
    }
    for verb in below {
        describe(text, verb, &name, known);
    }
}

/// Each line of a list names one: `--long`, or `<VALUE>` for what is given without a name.
fn compare(of: &str, section: &str, arguments: Vec<&Arg>) {
    let items = section.lines().filter_map(|line| line.strip_prefix("- `")?.split('`').next());
    let told: BTreeSet<String> = items.map(|item| long_name(item).unwrap_or_else(|| "a value".to_owned())).collect();
    let own = arguments.into_iter().filter(|argument| !matches!(argument.get_id().as_str(), "help" | "version"));
    let named = |argument: &Arg| argument.get_long().map_or_else(|| "a value".to_owned(), |long| format!("--{long}"));
    let wanted: BTreeSet<String> = own.map(named).collect();
    assert_eq!(told, wanted, "{of}");
}

fn long_name(item: &str) -> Option<String> {
    let words = item.split([' ', ',', '=', '.']).filter(|word| word.starts_with("--"));
    words.map(str::to_owned).next()
}
