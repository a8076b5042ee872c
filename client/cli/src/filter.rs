//! `--include` and `--exclude`: which files of a folder or a prefix take part.
//!
//! A file takes part if no exclude matches it and, where there are includes, one of them does; their order means nothing.
//! A pattern without a slash is compared with the last component, one with a slash with the whole name below the source.
//! `*` and `?` stay within a component, `**` crosses them.

use crate::failure::{Exit, Failure};
use clap::Args;
use glob::{MatchOptions, Pattern};

/// The options as they are given.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct FilterArgs {
    /// Only names that match (quote it; may be repeated)
    #[arg(long, value_name = "PATTERN")]
    include: Vec<String>,
    /// Not names that match; wins over --include
    #[arg(long, value_name = "PATTERN")]
    exclude: Vec<String>,
}

/// The patterns, checked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    include: Vec<Pattern>,
    exclude: Vec<Pattern>,
}

const OPTIONS: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: false };

impl FilterArgs {
    /// Checks the patterns.
    pub(crate) fn build(&self) -> Result<Filter, Failure> {
        Ok(Filter { include: compile(&self.include)?, exclude: compile(&self.exclude)? })
    }
}

fn compile(patterns: &[String]) -> Result<Vec<Pattern>, Failure> {
    let compile = |text: &String| {
        Pattern::new(text).map_err(|error| Failure::new(Exit::Usage, format!("pattern {text:?}: {error}")))
    };
    patterns.iter().map(compile).collect()
}

fn matches(pattern: &Pattern, name: &str) -> bool {
    let compared = if pattern.as_str().contains('/') { name } else { name.rsplit('/').next().unwrap_or(name) };
    pattern.matches_with(compared, OPTIONS)
}

impl Filter {
    /// Whether everything takes part.
    pub(crate) fn is_empty(&self) -> bool {
        self.include.is_empty() && self.exclude.is_empty()
    }

    /// Whether the file called `name` below its source takes part.
    pub(crate) fn takes(&self, name: &str) -> bool {
        let any = |patterns: &[Pattern]| patterns.iter().any(|pattern| matches(pattern, name));
        !any(&self.exclude) && (self.include.is_empty() || any(&self.include))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(include: &[&str], exclude: &[&str]) -> Filter {
        let own = |patterns: &[&str]| patterns.iter().map(ToString::to_string).collect();
        FilterArgs { include: own(include), exclude: own(exclude) }.build().unwrap()
    }

    #[test]
    fn exclude_wins_and_order_means_nothing() {
        assert!(filter(&[], &[]).takes("a/b.txt"));
        let logs = filter(&["*.log", "*.txt"], &["secret*"]);
        assert!(logs.takes("a/b.log") && logs.takes("b.txt"));
        assert!(!logs.takes("a/secret.log") && !logs.takes("a/b.jpg"));
    }

    #[test]
    fn a_pattern_with_a_slash_sees_the_whole_name() {
        let below = filter(&["a/**/*.rs"], &[]);
        assert!(below.takes("a/b/c/d.rs") && below.takes("a/d.rs") && !below.takes("b/a/d.rs"));
        assert!(!filter(&["a/*.rs"], &[]).takes("a/b/c.rs"));
        assert!(!filter(&[], &["target/**"]).takes("target/x/y"));
        assert!(filter(&["?"], &[]).takes("x/é") && !filter(&["?"], &[]).takes("éé"));
    }

    #[test]
    fn a_bad_pattern_is_a_usage_error() {
        let bad = FilterArgs { include: vec!["a[".to_owned()], exclude: Vec::new() };
        assert_eq!(bad.build().unwrap_err().exit, Exit::Usage);
    }
}
