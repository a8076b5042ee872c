//! Doing many items at once: a bounded number at a time, each failure told and counted, the rest going on.

use crate::failure::{Exit, Failure};
use crate::run::Session;
use futures::{Stream, StreamExt as _};

/// Failures by network in a row after which a command gives up: the cluster is gone, and every further item would wait.
const HOPELESS: u32 = 16;

/// What became of the items of a command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Done.
    pub(crate) done: u64,
    /// Failed; each was told.
    pub(crate) failed: u64,
    /// Left out on purpose.
    pub(crate) skipped: u64,
    /// Bytes of those done.
    pub(crate) bytes: u64,
    last: Option<Exit>,
    differs: bool,
}

/// What became of one item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Did {
    /// Done, with so many bytes.
    Done(u64),
    /// Left out on purpose.
    Skipped,
}

impl Tally {
    /// One item, done.
    pub(crate) fn one(bytes: u64) -> Tally {
        Tally { done: 1, bytes, ..Tally::default() }
    }

    /// Counts an item.
    pub(crate) fn count(&mut self, did: Did) {
        match did {
            Did::Done(bytes) => {
                self.done += 1;
                self.bytes += bytes;
            }
            Did::Skipped => self.skipped += 1,
        }
    }

    /// Counts a failure.
    pub(crate) fn fail(&mut self, exit: Exit) {
        self.failed += 1;
        self.last = Some(exit);
    }

    /// Counts what another part of the command did.
    pub(crate) fn add(&mut self, other: Tally) {
        self.done += other.done;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.bytes += other.bytes;
        self.last = other.last.or(self.last);
        self.differs |= other.differs;
    }

    /// Notes that what was compared is not the same.
    pub(crate) fn differs(&mut self) {
        self.differs = true;
    }

    /// The exit code: that of the only item, or that some of several failed.
    pub(crate) fn exit(&self) -> Exit {
        match (self.last, self.done + self.failed + self.skipped) {
            (None, _) if self.differs => Exit::Other,
            (None, _) => Exit::Ok,
            (Some(exit), 1) => exit,
            (Some(_), _) => Exit::SomeFailed,
        }
    }
}

/// Does `work` for every item, `--jobs` at a time. Items that could not even be listed are failures among `items`.
pub(crate) async fn each<J, F>(
    session: &Session,
    items: impl Stream<Item = Result<J, Failure>>,
    work: impl Fn(J) -> F,
) -> Result<Tally, Failure>
where
    F: Future<Output = Result<Did, Failure>>,
{
    let work = &work;
    let run = |item: Result<J, Failure>| async move { work(item?).await };
    let mut results = std::pin::pin!(items.map(run).buffer_unordered(session.jobs));
    let mut tally = Tally::default();
    let mut in_a_row = 0;
    while let Some(result) = results.next().await {
        match result {
            Ok(did) => {
                in_a_row = 0;
                tally.count(did);
                session.out.bar().set_message(format!("{} files", tally.done));
            }
            // Standard output is gone: there is nobody to go on for.
            Err(failure) if failure.message.is_empty() => return Err(failure),
            Err(failure) => {
                session.out.error(&failure);
                tally.fail(failure.exit);
                in_a_row = if failure.exit == Exit::Network { in_a_row + 1 } else { 0 };
                if in_a_row >= HOPELESS {
                    let message =
                        format!("{HOPELESS} items in a row could not reach the cluster; the rest was not tried");
                    session.out.error(&Failure::new(Exit::Network, message).advise("repeat when it is back"));
                    break;
                }
            }
        }
    }
    Ok(tally)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_item_keeps_its_code_and_several_share_one() {
        let mut tally = Tally::default();
        assert_eq!(tally.exit(), Exit::Ok);
        tally.fail(Exit::Corrupt);
        assert_eq!(tally.exit(), Exit::Corrupt);
        tally.count(Did::Done(5));
        assert_eq!(tally.exit(), Exit::SomeFailed);
        tally.add(Tally::one(7));
        assert_eq!((tally.done, tally.failed, tally.bytes), (2, 1, 12));
        let mut fine = Tally::one(1);
        fine.count(Did::Skipped);
        assert_eq!(fine.exit(), Exit::Ok);
        fine.differs();
        assert_eq!(fine.exit(), Exit::Other);
    }

    #[tokio::test]
    async fn failures_are_counted_and_the_rest_goes_on_until_there_is_no_hope() {
        let session = Session::for_tests();
        let items = |count: u32| futures::stream::iter((0..count).map(Ok));
        let odd =
            |n: u32| async move { if n % 2 == 1 { Err(Failure::new(Exit::Other, "odd")) } else { Ok(Did::Done(1)) } };
        let tally = each(&session, items(10), odd).await.unwrap();
        assert_eq!((tally.done, tally.failed), (5, 5));
        let gone = |_| async { Err(Failure::new(Exit::Network, "gone")) };
        let tally = each(&session, items(1000), gone).await.unwrap();
        assert_eq!(tally.failed, u64::from(HOPELESS));
        let closed = |_| async { Err(Failure::new(Exit::Other, "")) };
        assert!(each(&session, items(3), closed).await.is_err());
    }
}
