//! What went wrong, for people and for scripts: what happened, to which path, what to do next, and the exit code.

use cairn_client::{ConnectError, Error, GetError, PutError};
use cairn_common::error::ErrorKind;
use cairn_common::name::NameError;
use cairn_common::wire::command::Refusal;
use cairn_common::wire::master::MasterError;
use std::fmt;
use std::io;
use std::path::Path;

/// Exit codes; part of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Everything was done.
    Ok = 0,
    /// None of the others.
    Other = 1,
    /// The command line, the configuration or the request is wrong.
    Usage = 2,
    /// The network, a time-out, too few nodes: trying again makes sense.
    Network = 3,
    /// Who you are is not known, or you may not do this.
    Denied = 4,
    /// It does not exist.
    NotFound = 5,
    /// A precondition failed, or it exists already.
    Conflict = 6,
    /// This cannot be done.
    Unsupported = 7,
    /// Some of several items failed.
    SomeFailed = 8,
    /// Bytes do not match their hash.
    Corrupt = 9,
    /// No room, or a quota is used up.
    NoSpace = 10,
    /// Interrupted by the user.
    Interrupted = 130,
}

impl Exit {
    /// The name of the code in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Exit::Ok => "ok",
            Exit::Other => "other",
            Exit::Usage => "usage",
            Exit::Network => "network",
            Exit::Denied => "denied",
            Exit::NotFound => "not_found",
            Exit::Conflict => "conflict",
            Exit::Unsupported => "unsupported",
            Exit::SomeFailed => "some_failed",
            Exit::Corrupt => "corrupt",
            Exit::NoSpace => "no_space",
            Exit::Interrupted => "interrupted",
        }
    }

    fn of(kind: ErrorKind) -> Exit {
        match kind {
            ErrorKind::NotFound => Exit::NotFound,
            ErrorKind::Conflict => Exit::Conflict,
            ErrorKind::Invalid => Exit::Usage,
            ErrorKind::Denied => Exit::Denied,
            ErrorKind::Unavailable | ErrorKind::Unknown => Exit::Network,
            ErrorKind::NoSpace => Exit::NoSpace,
            ErrorKind::Corrupt => Exit::Corrupt,
            ErrorKind::Bug => Exit::Other,
        }
    }
}

/// A failure of one item, or of the whole command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The code, if it is the only item.
    pub(crate) exit: Exit,
    /// To what.
    pub(crate) path: Option<String>,
    /// What happened.
    pub(crate) message: String,
    /// What to do next.
    pub(crate) advice: Option<String>,
}

impl Failure {
    /// A failure without a path.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Failure {
        Failure { exit, path: None, message: message.into(), advice: None }
    }

    /// A failure of something on this machine.
    pub(crate) fn local(path: &Path, doing: &str, error: &io::Error) -> Failure {
        let (exit, advice) = match error.kind() {
            io::ErrorKind::NotFound => (Exit::NotFound, "check the path"),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => (Exit::NoSpace, "make room on this machine"),
            io::ErrorKind::PermissionDenied => (Exit::Other, "check who may read and write it"),
            _ => (Exit::Other, ""),
        };
        let failure = Failure::new(exit, format!("cannot {doing}: {error}")).at(path.display());
        if advice.is_empty() { failure } else { failure.advise(advice) }
    }

    /// Says to what it happened; an inner, more exact path stays.
    pub(crate) fn at(mut self, path: impl fmt::Display) -> Failure {
        self.path.get_or_insert_with(|| path.to_string());
        self
    }

    /// Says what to do next, instead of what its kind suggests.
    pub(crate) fn advise(mut self, advice: impl Into<String>) -> Failure {
        self.advice = Some(advice.into());
        self
    }

    fn of_kind(kind: ErrorKind, message: String) -> Failure {
        let advice = match kind {
            ErrorKind::NotFound => "see what is there: cairn ls",
            ErrorKind::Conflict => "look at what is there now (cairn stat), then decide",
            ErrorKind::Denied => {
                "check CAIRN_ACCESS_KEY and CAIRN_SECRET_KEY or the profile, and what the key may do (cairn admin key ls)"
            }
            ErrorKind::Unavailable => "nothing was changed; try again, and look at cairn admin status",
            ErrorKind::Unknown => "it may or may not have happened: look (cairn stat) and repeat it if needed",
            ErrorKind::NoSpace => "add a disk or a node, or remove files",
            ErrorKind::Corrupt => "see which copies are left: cairn where",
            ErrorKind::Invalid => return Failure::new(Exit::of(kind), message),
            ErrorKind::Bug => "please report this",
        };
        Failure::new(Exit::of(kind), message).advise(advice)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = self.path.as_ref().filter(|path| !self.message.starts_with(path.as_str())) {
            write!(f, "{}: ", crate::units::printable(path))?;
        }
        f.write_str(&crate::units::printable(&self.message))?;
        match &self.advice {
            Some(advice) => write!(f, "\n  {advice}"),
            None => Ok(()),
        }
    }
}

impl From<MasterError> for Failure {
    fn from(error: MasterError) -> Failure {
        let failure = Failure::of_kind(error.kind(), error.to_string());
        match error {
            MasterError::Refused(Refusal::Unsupported(_)) => Failure { exit: Exit::Unsupported, ..failure },
            MasterError::Refused(Refusal::BucketNotEmpty(bucket)) => {
                failure.advise(format!("remove what is in it first: cairn rm -r --yes cairn://{bucket}"))
            }
            MasterError::Refused(Refusal::NoSuchBucket(bucket)) => {
                failure.advise(format!("make it: cairn mb {bucket}, or see which there are: cairn ls"))
            }
            _ => failure,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let Error::Master(error) = error;
        error.into()
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Failure {
        match error {
            ConnectError::Config(reason) => Failure::new(Exit::Usage, reason).advise("check the profile and CAIRN_*"),
            ConnectError::Master(MasterError::Unavailable(reason)) => {
                let message = format!("no master answers: {reason}");
                Failure::new(Exit::Network, message)
                    .advise("check CAIRN_MASTERS or the profile, and that a server runs")
            }
            ConnectError::Master(error) => error.into(),
        }
    }
}

impl From<PutError> for Failure {
    fn from(error: PutError) -> Failure {
        match error {
            PutError::Master(error) => error.into(),
            PutError::Source(error) => Failure::new(Exit::Other, format!("cannot read: {error}")),
            PutError::Length { stated, found } => {
                let message = format!("it had {stated} bytes, then {found}: it was changed while it was read");
                Failure::new(Exit::Conflict, message).advise("nothing was stored; repeat when nobody writes to it")
            }
            PutError::Refused(reason) => Failure::new(Exit::Conflict, reason.to_string())
                .advise("nothing was stored; repeat when nobody writes to it"),
            error => Failure::of_kind(error.kind(), error.to_string()),
        }
    }
}

impl From<GetError> for Failure {
    fn from(error: GetError) -> Failure {
        match error {
            GetError::Master(error) => error.into(),
            error => Failure::of_kind(error.kind(), error.to_string()),
        }
    }
}

impl From<NameError> for Failure {
    fn from(error: NameError) -> Failure {
        Failure::new(Exit::Usage, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_common::name::{BucketName, FilePath};

    #[test]
    fn every_kind_of_error_has_its_exit_code() {
        let code = |kind| Exit::of(kind) as u8;
        assert_eq!(code(ErrorKind::Invalid), 2);
        assert_eq!(code(ErrorKind::Unavailable), 3);
        assert_eq!(code(ErrorKind::Unknown), 3);
        assert_eq!(code(ErrorKind::Denied), 4);
        assert_eq!(code(ErrorKind::NotFound), 5);
        assert_eq!(code(ErrorKind::Conflict), 6);
        assert_eq!(code(ErrorKind::Corrupt), 9);
        assert_eq!(code(ErrorKind::NoSpace), 10);
        assert_eq!(code(ErrorKind::Bug), 1);
        assert_eq!((Exit::Unsupported as u8, Exit::SomeFailed as u8, Exit::Interrupted as u8), (7, 8, 130));
    }

    #[test]
    fn an_error_says_what_happened_to_what_and_what_to_do() {
        let path = FilePath::new("photos", "a").unwrap();
        let failure = Failure::from(MasterError::Refused(Refusal::NoSuchFile(path))).at("cairn://photos/a");
        assert_eq!(failure.exit, Exit::NotFound);
        assert_eq!(failure.to_string(), "cairn://photos/a: there is no file photos/a\n  see what is there: cairn ls");
        let bucket = BucketName::new("photos").unwrap();
        let failure = Failure::from(MasterError::Refused(Refusal::BucketNotEmpty(bucket)));
        assert!(failure.to_string().contains("cairn rm -r --yes cairn://photos"), "{failure}");
        let failure = Failure::from(MasterError::Refused(Refusal::Unsupported("across buckets".to_owned())));
        assert_eq!(failure.exit, Exit::Unsupported);
    }

    #[test]
    fn paths_in_errors_cannot_play_with_the_terminal() {
        let failure = Failure::new(Exit::Other, "broken").at("a\u{1b}[2Jb");
        assert_eq!(failure.to_string(), "a\\u{1b}[2Jb: broken");
    }
}
