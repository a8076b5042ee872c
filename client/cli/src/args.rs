//! The command line of the client: verbs and the flags that all of them share.

use crate::commands::{
    admin, bench, cat, checksum, completion, cp, diff, du, find, get, locate, ls, mb, mv, outline, presign, profile,
    put, rb, rm, s3_config, stat, sync, uploads, verify,
};
use crate::output::OutputArgs;
use crate::profile::ConnectionArgs;
use clap::{Parser, Subcommand};

const ABOUT: &str = "Cairn: files in buckets, sharded, replicated, verified";

const AFTER: &str = "\
Servers: cairn server | master | chunkserver | gateway (each has --help)

Addresses: cairn://[PROFILE@]BUCKET/KEY. In put, get, cp and mv a bare path is local and - is standard input or output;
elsewhere BUCKET/KEY does as well. A destination that ends with a slash means \"into\".

Exit codes: 0 done, 1 other, 2 usage, 3 network (try again), 4 access denied, 5 not found, 6 conflict, 7 unsupported,
8 some items failed, 9 integrity check failed, 10 no space, 130 interrupted";

/// Most items at once.
const JOBS_MAX: u16 = 256;

/// The client's command line.
#[derive(Parser, Debug)]
#[command(name = "cairn", version, about = ABOUT, after_help = AFTER, max_term_width = 110)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// Where and as whom.
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
    /// What is printed.
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    /// Files at once
    #[arg(short, long, global = true, default_value_t = 8, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=i64::from(JOBS_MAX)))]
    pub(crate) jobs: u16,
    /// What to do.
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub(crate) enum Verb {
    /// Make buckets
    Mb(mb::MbArgs),
    /// Remove empty buckets
    Rb(rb::RbArgs),
    /// List buckets, or what is in one
    Ls(ls::LsArgs),
    /// Show everything known about files or buckets
    Stat(stat::StatArgs),
    /// Store local files
    Put(put::PutArgs),
    /// Fetch files; each appears whole under its name or not at all
    Get(get::GetArgs),
    /// Write files to standard output
    Cat(cat::CatArgs),
    /// Copy files within Cairn, without moving their bytes
    Cp(cp::CpArgs),
    /// Move files within Cairn, without moving their bytes
    Mv(mv::MvArgs),
    /// Remove files
    Rm(rm::RmArgs),
    /// Sum up sizes
    Du(du::DuArgs),
    /// Find files by name, size and age
    Find(find::FindArgs),
    /// Show folders and files indented
    Tree(outline::OutlineArgs),
    /// Make one tree like another, moving only what differs
    Sync(sync::SyncArgs),
    /// Show in what two trees differ
    Diff(diff::DiffArgs),
    /// Read stored files to their end and check every byte
    Verify(verify::VerifyArgs),
    /// Show what identifies the bytes of files, here or stored
    Checksum(checksum::ChecksumArgs),
    /// Make a URL with which one file can be fetched or stored without a key
    Presign(presign::PresignArgs),
    /// Multipart uploads that are not finished
    #[command(subcommand)]
    Uploads(uploads::UploadsVerb),
    /// Print settings for programs that speak S3
    S3Config(s3_config::S3ConfigArgs),
    /// Clusters by name, in the configuration file
    #[command(subcommand)]
    Profile(profile::ProfileVerb),
    /// Look why something does not work, and say what to do
    Doctor,
    /// Put an S3 endpoint or the cluster under load, and show how it answers
    Bench(bench::BenchArgs),
    /// Print a script that completes verbs and options in a shell
    Completion(completion::CompletionArgs),
    /// Show which nodes hold the chunks of a file
    Where(locate::LocateArgs),
    /// Look after the cluster
    #[command(subcommand)]
    Admin(admin::AdminVerb),
    /// Show the version
    Version,
}

impl Verb {
    /// The verb's name, as the summary shows it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Verb::Mb(_) => "mb",
            Verb::Rb(_) => "rb",
            Verb::Ls(_) => "ls",
            Verb::Stat(_) => "stat",
            Verb::Put(_) => "put",
            Verb::Get(_) => "get",
            Verb::Cat(_) => "cat",
            Verb::Cp(_) => "cp",
            Verb::Mv(_) => "mv",
            Verb::Rm(_) => "rm",
            Verb::Du(_) => "du",
            Verb::Find(_) => "find",
            Verb::Tree(_) => "tree",
            Verb::Sync(_) => "sync",
            Verb::Diff(_) => "diff",
            Verb::Verify(_) => "verify",
            Verb::Checksum(_) => "checksum",
            Verb::Presign(_) => "presign",
            Verb::Uploads(verb) => verb.name(),
            Verb::S3Config(_) => "s3-config",
            Verb::Profile(verb) => verb.name(),
            Verb::Doctor => "doctor",
            Verb::Bench(_) => "bench",
            Verb::Completion(_) => "completion",
            Verb::Where(_) => "where",
            Verb::Admin(verb) => verb.name(),
            Verb::Version => "version",
        }
    }

    /// Whether nothing is to be changed.
    pub(crate) fn dry_run(&self) -> bool {
        match self {
            Verb::Mb(args) => args.dry.dry_run,
            Verb::Rb(args) => args.dry.dry_run,
            Verb::Put(args) => args.dry.dry_run,
            Verb::Get(args) => args.dry.dry_run,
            Verb::Cp(args) => args.tree.dry.dry_run,
            Verb::Mv(args) => args.tree.dry.dry_run,
            Verb::Rm(args) => args.dry.dry_run,
            Verb::Admin(verb) => verb.dry_run(),
            Verb::Sync(args) => args.dry.dry_run,
            Verb::Uploads(verb) => verb.dry_run(),
            Verb::Profile(verb) => verb.dry_run(),
            Verb::Ls(_) | Verb::Stat(_) | Verb::Cat(_) | Verb::Du(_) | Verb::Where(_) | Verb::Version => false,
            Verb::Find(_) | Verb::Tree(_) | Verb::Diff(_) | Verb::Verify(_) | Verb::Checksum(_) => false,
            Verb::Presign(_) | Verb::S3Config(_) | Verb::Doctor | Verb::Bench(_) | Verb::Completion(_) => false,
        }
    }

    /// Whether the bytes of a file go to standard output.
    pub(crate) fn body_on_stdout(&self) -> bool {
        match self {
            Verb::Cat(_) => true,
            Verb::Get(args) => args.to_stdout(),
            _ => false,
        }
    }
}

/// For every verb that changes something.
#[derive(clap::Args, Clone, Copy, Debug, Default)]
pub(crate) struct DryRun {
    /// Change nothing; show what would be done
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_that_changes_something_has_a_dry_run_and_every_verb_has_json() {
        let changing: &[&[&str]] = &[
            &["mb", "abc"],
            &["rb", "abc"],
            &["put", "x", "cairn://abc"],
            &["get", "cairn://abc/x"],
            &["cp", "cairn://abc/x", "cairn://abc/y"],
            &["mv", "cairn://abc/x", "cairn://abc/y"],
            &["rm", "abc/x"],
            &["sync", "x", "cairn://abc"],
            &["uploads", "abort", "abc", "--all"],
            &["admin", "key", "create", "name"],
            &["admin", "key", "rm", "KEY"],
            &["admin", "join-token", "create"],
            &["admin", "master", "add", "n"],
            &["admin", "master", "remove", "n"],
            &["admin", "master", "transfer", "n"],
            &["admin", "master", "voters", "5"],
            &["profile", "add", "n", "--masters", "http://h:1"],
            &["profile", "use", "n"],
            &["profile", "rm", "n"],
        ];
        let reading: &[&[&str]] = &[
            &["ls"],
            &["stat", "abc"],
            &["cat", "abc/x"],
            &["du"],
            &["where", "abc/x"],
            &["find", "abc"],
            &["tree", "abc"],
            &["diff", "x", "cairn://abc"],
            &["verify", "abc/x"],
            &["checksum", "x"],
            &["presign", "abc/x"],
            &["uploads", "ls", "abc"],
            &["s3-config", "aws"],
            &["profile", "ls"],
            &["doctor"],
            &["bench", "abc"],
            &["completion", "bash"],
            &["admin", "status"],
            &["admin", "node", "ls"],
            &["admin", "master", "ls"],
            &["admin", "key", "ls"],
            &["version"],
        ];
        let parse = |words: &[&str], flag| Cli::try_parse_from(["cairn"].iter().chain(words).chain([&flag]));
        for words in changing {
            assert!(parse(words, "-n").unwrap().verb.dry_run(), "{words:?}");
            assert!(parse(words, "--json").unwrap().output.json, "{words:?}");
        }
        for words in reading {
            assert!(parse(words, "-n").is_err(), "{words:?} changes nothing");
            assert!(parse(words, "--json").unwrap().output.json, "{words:?}");
        }
    }

    #[test]
    fn the_help_names_every_verb_the_roles_and_the_exit_codes() {
        let help = Cli::command().render_long_help().to_string();
        for word in [
            "mb",
            "rb",
            "ls",
            "stat",
            "put",
            "get",
            "cat",
            "cp",
            "mv",
            "rm",
            "du",
            "where",
            "find",
            "tree",
            "sync",
            "diff",
            "verify",
            "checksum",
            "presign",
            "uploads",
            "s3-config",
            "profile",
            "doctor",
            "bench",
            "completion",
            "admin",
            "version",
            "--json",
            "--profile",
            "--masters",
            "cairn server",
            "8 some items failed",
            "130 interrupted",
        ] {
            assert!(help.contains(word), "{word} is not in:\n{help}");
        }
    }

    #[test]
    fn jobs_are_bounded() {
        assert!(Cli::try_parse_from(["cairn", "ls", "-j", "0"]).is_err());
        assert!(Cli::try_parse_from(["cairn", "ls", "-j", "257"]).is_err());
        assert_eq!(Cli::try_parse_from(["cairn", "-j", "256", "ls"]).unwrap().jobs, 256);
    }
}
