//! What is printed: tables for people, tab-separated lines for pipes, one JSON object a line for programs.
//!
//! Results go to standard output, everything else (errors, notes, progress) to standard error. In JSON every line has `type`
//! and `schema`; fields may be added within a schema, never changed or removed; the last line is the summary.

use crate::failure::{Exit, Failure};
use crate::units;
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::{Mutex, PoisonError};
use unicode_width::UnicodeWidthStr as _;

/// Version of the JSON lines.
const SCHEMA: u32 = 1;
/// Rows of a table that are aligned together.
const BLOCK_ROWS: usize = 1000;

/// Flags about what is printed.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct OutputArgs {
    /// One JSON object a line on standard output, errors as JSON on standard error
    #[arg(long, global = true, help_heading = "Output")]
    pub(crate) json: bool,
    /// Exact sizes in bytes
    #[arg(long, global = true, help_heading = "Output")]
    pub(crate) bytes: bool,
    /// No progress, no notes; errors only
    #[arg(short, long, global = true, help_heading = "Output")]
    pub(crate) quiet: bool,
    /// Say more: every item (-v), and what the client does (-vv)
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Output")]
    pub(crate) verbose: u8,
    /// No colours [env: NO_COLOR]
    #[arg(long, global = true, help_heading = "Output")]
    pub(crate) no_color: bool,
}

/// A column of a table.
pub(crate) struct Column {
    title: &'static str,
    right: bool,
}

/// A column of text.
pub(crate) const fn left(title: &'static str) -> Column {
    Column { title, right: false }
}

/// A column of numbers.
pub(crate) const fn right(title: &'static str) -> Column {
    Column { title, right: true }
}

/// A result: a line of JSON, or a row of a table.
pub(crate) trait Record: Serialize {
    /// Its columns.
    const COLUMNS: &'static [Column];
    /// Its `type` in JSON; part of the interface.
    fn kind(&self) -> &'static str;
    /// Its cells. `exact`: sizes in bytes.
    fn cells(&self, exact: bool) -> Vec<String>;
}

/// What became of a command.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Summary {
    /// The verb.
    pub(crate) verb: &'static str,
    /// Whether nothing was changed because of `--dry-run`.
    pub(crate) dry_run: bool,
    /// Items done.
    pub(crate) done: u64,
    /// Items that failed.
    pub(crate) failed: u64,
    /// Items left out, such as symbolic links with `--links skip`.
    pub(crate) skipped: u64,
    /// Bytes of the items done.
    pub(crate) bytes: u64,
    /// Time taken.
    pub(crate) seconds: f64,
    /// The exit code.
    pub(crate) exit: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Json,
    Table,
    Tabs,
}

/// Everything that is printed goes through here.
pub(crate) struct Output {
    mode: Mode,
    flags: OutputArgs,
    color: bool,
    /// Set where standard output carries a file's bytes.
    to_stderr: bool,
    bar: ProgressBar,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    of: &'static str,
    right: Vec<bool>,
    widths: Vec<usize>,
    rows: Vec<Vec<String>>,
}

#[derive(Serialize)]
struct Line<'a, R: Serialize> {
    r#type: &'static str,
    schema: u32,
    #[serde(flatten)]
    record: &'a R,
}

/// A record as its line of JSON, without the line end.
fn json<R: Serialize>(r#type: &'static str, record: &R) -> String {
    let line = Line { r#type, schema: SCHEMA, record };
    serde_json::to_string(&line).unwrap_or_else(|error| format!("{{\"type\":\"error\",\"message\":{error:?}}}"))
}

#[derive(Serialize)]
struct ErrorLine<'a> {
    code: &'static str,
    exit: u8,
    path: Option<&'a str>,
    message: &'a str,
    advice: Option<&'a str>,
}

/// A failure as its line of JSON.
pub(crate) fn error_json(failure: &Failure) -> String {
    let Failure { exit, path, message, advice } = failure;
    let (path, advice) = (path.as_deref(), advice.as_deref());
    json("error", &ErrorLine { code: exit.name(), exit: *exit as u8, path, message, advice })
}

impl Output {
    /// Output for these flags. `body_on_stdout`: a file's bytes go to standard output, everything else to standard error.
    pub(crate) fn new(flags: OutputArgs, body_on_stdout: bool) -> Output {
        let mode = match io::stdout().is_terminal() {
            _ if flags.json => Mode::Json,
            true => Mode::Table,
            false => Mode::Tabs,
        };
        let no_color = flags.no_color || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        let table = Mutex::default();
        Output { mode, flags, color: !no_color, to_stderr: body_on_stdout, bar, table }
    }

    /// Shows a progress bar from here on, if a person is looking.
    pub(crate) fn start_progress(&self) {
        if !io::stderr().is_terminal() || self.flags.quiet || self.mode == Mode::Json {
            return;
        }
        let template = "{bar:24} {binary_bytes}/{binary_total_bytes}  {binary_bytes_per_sec}  {eta}  {msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.bar.set_style(style);
        }
        self.bar.set_draw_target(ProgressDrawTarget::stderr());
    }

    /// The bar; hidden unless it was started.
    pub(crate) fn bar(&self) -> &ProgressBar {
        &self.bar
    }

    /// Prints a result.
    pub(crate) fn record<R: Record>(&self, record: &R) -> Result<(), Failure> {
        match self.mode {
            Mode::Json => self.lines(&json(record.kind(), record)),
            Mode::Tabs => self.lines(&record.cells(self.flags.bytes).join("\t")),
            Mode::Table => self.row(record),
        }
    }

    /// Prints what was done to an item, where every item is wanted: in JSON, with `-v`, in a dry run.
    pub(crate) fn action<R: Record>(&self, record: &R, dry_run: bool) -> Result<(), Failure> {
        if self.mode == Mode::Json || self.flags.verbose > 0 || dry_run { self.record(record) } else { Ok(()) }
    }

    /// Prints the facts of one thing, a line each.
    pub(crate) fn facts<R: Record>(&self, record: &R) -> Result<(), Failure> {
        if self.mode == Mode::Json {
            return self.record(record);
        }
        let mut lines = Vec::new();
        for (column, cell) in R::COLUMNS.iter().zip(record.cells(self.flags.bytes)) {
            match self.mode {
                Mode::Tabs => lines.push(format!("{}\t{cell}", column.title.to_lowercase())),
                _ => lines.push(format!("{:<16}{cell}", column.title.to_lowercase())),
            }
        }
        // Facts are a block of their own among others.
        let after = if self.mode == Mode::Table { "\n" } else { "" };
        self.lines(&format!("{}{after}", lines.join("\n")))
    }

    /// Prints the one cell of a record as it is, for scripts to take; or its line of JSON.
    pub(crate) fn line<R: Record>(&self, record: &R) -> Result<(), Failure> {
        match self.mode {
            Mode::Json => self.record(record),
            Mode::Table | Mode::Tabs => self.lines(&record.cells(self.flags.bytes).join("\t")),
        }
    }

    /// Prints the rows that are waiting to be aligned.
    pub(crate) fn flush(&self) -> Result<(), Failure> {
        let text = self.table.lock().unwrap_or_else(PoisonError::into_inner).drain();
        if text.is_empty() { Ok(()) } else { self.lines(text.trim_end_matches('\n')) }
    }

    /// Tells something that is no error, on standard error.
    pub(crate) fn note(&self, text: &str) {
        if !self.flags.quiet && self.mode != Mode::Json {
            self.bar.suspend(|| eprintln!("{}", units::printable(text)));
        }
    }

    /// Tells a failure, on standard error.
    pub(crate) fn error(&self, failure: &Failure) {
        // Whoever closed standard output knows.
        if failure.message.is_empty() {
            return;
        }
        self.bar.suspend(|| match self.mode {
            Mode::Json => eprintln!("{}", error_json(failure)),
            _ if self.color && io::stderr().is_terminal() => eprintln!("\u{1b}[1;31merror:\u{1b}[0m {failure}"),
            _ => eprintln!("error: {failure}"),
        });
    }

    /// Ends the output.
    pub(crate) fn summary(&self, summary: &Summary) -> Result<(), Failure> {
        self.flush()?;
        self.bar.finish_and_clear();
        if self.mode == Mode::Json {
            return self.lines(&json("summary", summary));
        }
        let moves = matches!(summary.verb, "put" | "get" | "cp" | "mv" | "rm" | "sync" | "verify");
        let wanted = self.flags.verbose > 0 || summary.failed > 0 || io::stderr().is_terminal();
        if moves && wanted && !self.flags.quiet {
            eprintln!("{}", sentence(summary, self.flags.bytes));
        }
        Ok(())
    }

    fn row<R: Record>(&self, record: &R) -> Result<(), Failure> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        if table.of != record.kind() {
            text = table.drain();
            table.begin(record);
        }
        table.rows.push(record.cells(self.flags.bytes));
        if table.rows.len() > BLOCK_ROWS {
            text.push_str(&table.drain());
        }
        drop(table);
        if text.is_empty() { Ok(()) } else { self.lines(text.trim_end_matches('\n')) }
    }

    fn lines(&self, text: &str) -> Result<(), Failure> {
        let written = self.bar.suspend(|| {
            if self.to_stderr {
                eprintln!("{text}");
                return Ok(());
            }
            let mut stdout = io::stdout().lock();
            writeln!(stdout, "{text}").and_then(|()| stdout.flush())
        });
        written.map_err(|error| stdout_failure(&error))
    }
}

/// Standard output cannot be written to. If its reader has gone, nothing is said, as Unix tools do.
pub(crate) fn stdout_failure(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::new(Exit::Other, ""),
        io::ErrorKind::StorageFull => Failure::new(Exit::NoSpace, format!("cannot write to standard output: {error}")),
        _ => Failure::new(Exit::Other, format!("cannot write to standard output: {error}")),
    }
}

fn sentence(summary: &Summary, exact: bool) -> String {
    let Summary { verb, dry_run, done, failed, skipped, bytes, seconds, .. } = summary;
    let rate = if *seconds > 0.0 { (*bytes as f64 / seconds) as u64 } else { 0 };
    let mut text = format!("{verb}: {done} done, {} in {seconds:.1} s", units::size(*bytes, exact));
    if *bytes > 0 && matches!(*verb, "put" | "get") && !dry_run {
        text.push_str(&format!(" ({}/s)", units::size(rate, exact)));
    }
    for (count, what) in [(skipped, "skipped"), (failed, "failed")] {
        if *count > 0 {
            text.push_str(&format!(", {count} {what}"));
        }
    }
    if *dry_run {
        text.push_str(" (dry run: nothing was changed)");
    }
    text
}

impl Table {
    fn begin<R: Record>(&mut self, record: &R) {
        let titles: Vec<String> = R::COLUMNS.iter().map(|column| column.title.to_owned()).collect();
        self.of = record.kind();
        self.right = R::COLUMNS.iter().map(|column| column.right).collect();
        self.widths = vec![0; titles.len()];
        self.rows = vec![titles];
    }

    /// The waiting rows, aligned with each other and with those before.
    fn drain(&mut self) -> String {
        for row in &self.rows {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(cell.width());
            }
        }
        let mut text = String::new();
        for row in self.rows.drain(..) {
            let mut line = String::new();
            for (index, cell) in row.iter().enumerate() {
                let gap = " ".repeat(self.widths[index].saturating_sub(cell.width()));
                let (before, after) = if self.right[index] { (gap.as_str(), "") } else { ("", gap.as_str()) };
                line.push_str(before);
                line.push_str(cell);
                line.push_str(after);
                line.push_str("  ");
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Example {
        name: &'static str,
        size: u64,
    }

    impl Record for Example {
        const COLUMNS: &'static [Column] = &[right("SIZE"), left("NAME")];
        fn kind(&self) -> &'static str {
            "example"
        }
        fn cells(&self, exact: bool) -> Vec<String> {
            vec![units::size(self.size, exact), self.name.to_owned()]
        }
    }

    #[test]
    fn a_line_of_json_has_type_schema_and_fields() {
        let line = json("example", &Example { name: "a\nb", size: 5 });
        assert_eq!(line, r#"{"type":"example","schema":1,"name":"a\nb","size":5}"#);
        let failure = Failure::new(Exit::NotFound, "gone").at("cairn://b/k").advise("look");
        let wanted = r#"{"type":"error","schema":1,"code":"not_found","exit":5,"path":"cairn://b/k","message":"gone","advice":"look"}"#;
        assert_eq!(error_json(&failure), wanted);
        let summary =
            Summary { verb: "put", dry_run: false, done: 2, failed: 1, skipped: 0, bytes: 9, seconds: 0.5, exit: 8 };
        let wanted = r#"{"type":"summary","schema":1,"verb":"put","dry_run":false,"done":2,"failed":1,"skipped":0,"bytes":9,"seconds":0.5,"exit":8}"#;
        assert_eq!(json("summary", &summary), wanted);
    }

    #[test]
    fn tables_are_aligned_by_the_width_on_screen() {
        let mut table = Table::default();
        table.begin(&Example { name: "", size: 0 });
        for (name, size) in [("日本", 5), ("x", 2048)] {
            table.rows.push(Example { name, size }.cells(false));
        }
        assert_eq!(table.drain(), "   SIZE  NAME\n    5 B  日本\n2.0 KiB  x\n");
        table.rows.push(Example { name: "later", size: 1 }.cells(true));
        assert_eq!(table.drain(), "      1  later\n");
    }

    #[test]
    fn a_summary_is_one_sentence() {
        let summary =
            Summary { verb: "put", dry_run: false, done: 2, failed: 1, skipped: 3, bytes: 4096, seconds: 2.0, exit: 8 };
        assert_eq!(sentence(&summary, false), "put: 2 done, 4.0 KiB in 2.0 s (2.0 KiB/s), 3 skipped, 1 failed");
        let dry = Summary { verb: "rm", dry_run: true, failed: 0, skipped: 0, ..summary };
        assert_eq!(sentence(&dry, true), "rm: 2 done, 4096 in 2.0 s (dry run: nothing was changed)");
    }
}
