//! Read rounds: who waits for the next one, and who for the one that is under way. One at a time, so that everybody who comes
//! while a round is under way shares the next (Raft thesis, 6.4).

use tokio::sync::oneshot;

/// Ticks after which an unanswered round is begun anew.
const ROUND_TICKS: u32 = 20;
/// Ticks without a leader after which those who wait are told to ask another member.
const LEADERLESS_TICKS: u32 = 4;

/// Whom a round asks, by raft-rs's number (0: nobody leads), and in which term.
pub(super) type Asked = (u64, u64);

#[derive(Default)]
pub(super) struct Reads {
    waiting: Vec<oneshot::Sender<()>>,
    /// Number of the round under way, and who waits for it.
    round: Option<(u64, Vec<oneshot::Sender<()>>)>,
    last: u64,
    age_ticks: u32,
    /// Whom the last round asked.
    asked: Asked,
    /// For how many ticks there was nobody to ask.
    leaderless_ticks: u32,
}

impl Reads {
    /// Waits for the next round. Dropped without a word, the waiter should ask another member.
    pub(super) fn join(&mut self, waiter: oneshot::Sender<()>) {
        self.waiting.push(waiter);
    }

    /// Whether a round is under way: nobody joins it.
    pub(super) fn is_under_way(&self) -> bool {
        self.round.is_some()
    }

    /// Tells who leads now. The answer of one who leads no more will not come.
    pub(super) fn led_by(&mut self, leader: Asked) {
        if leader.0 != 0 && leader != self.asked {
            self.give_up_round();
        }
    }

    /// Whether somebody waits and no round is under way.
    pub(super) fn is_due(&self) -> bool {
        self.round.is_none() && !self.waiting.is_empty()
    }

    /// Begins a round for all who wait; its number.
    pub(super) fn begin(&mut self, asked: Asked) -> u64 {
        self.last += 1;
        (self.age_ticks, self.asked) = (0, asked);
        self.round = Some((self.last, std::mem::take(&mut self.waiting)));
        self.last
    }

    /// Ends the round of this number, if it is still under way; who waited for it.
    pub(super) fn end(&mut self, number: u64) -> Option<Vec<oneshot::Sender<()>>> {
        self.round.take_if(|round| round.0 == number).map(|(_, waiters)| waiters)
    }

    /// Everybody who waits for the next round, which will not be.
    pub(super) fn take_waiting(&mut self) -> Vec<oneshot::Sender<()>> {
        std::mem::take(&mut self.waiting)
    }

    pub(super) fn tick(&mut self, is_leaderless: bool) {
        if self.round.is_some() {
            self.age_ticks += 1;
            if self.age_ticks > ROUND_TICKS {
                self.give_up_round();
            }
        }
        self.waiting.retain(|waiter| !waiter.is_closed());
        self.leaderless_ticks = if is_leaderless { self.leaderless_ticks + 1 } else { 0 };
        if self.leaderless_ticks >= LEADERLESS_TICKS {
            // Another member may know more, if this one is cut off. Dropping the waiters tells them.
            self.waiting.clear();
            self.round = None;
        }
    }

    /// A round may be lost with a message or a leader; those who wait join the next.
    fn give_up_round(&mut self) {
        self.waiting.extend(self.round.take().into_iter().flat_map(|(_, waiters)| waiters));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(reads: &mut Reads) -> oneshot::Receiver<()> {
        let (waiter, reached) = oneshot::channel();
        reads.join(waiter);
        reached
    }

    #[test]
    fn who_comes_while_a_round_is_under_way_waits_for_the_next() {
        let mut reads = Reads::default();
        let _early = joined(&mut reads);
        let first = reads.begin((1, 1));
        let _late = joined(&mut reads);
        assert!(!reads.is_due() && reads.is_under_way());
        assert_eq!(reads.end(first).map(|waiters| waiters.len()), Some(1), "only who asked before it began");
        assert!(reads.is_due());
        assert_eq!(reads.end(first).map(|waiters| waiters.len()), None, "an answer may come twice");
        let second = reads.begin((1, 1));
        assert!(second > first);
        assert_eq!(reads.end(second).map(|waiters| waiters.len()), Some(1));
    }

    #[test]
    fn the_late_answer_of_a_round_that_was_given_up_ends_no_other() {
        let mut reads = Reads::default();
        let _waiting = joined(&mut reads);
        let lost = reads.begin((1, 1));
        reads.led_by((2, 2));
        let again = reads.begin((2, 2));
        assert!(reads.end(lost).is_none());
        assert_eq!(reads.end(again).map(|waiters| waiters.len()), Some(1));
    }

    #[test]
    fn a_round_without_an_answer_is_begun_anew_and_without_a_leader_everybody_is_told() {
        let mut reads = Reads::default();
        let mut waiting = joined(&mut reads);
        reads.begin((1, 1));
        (0..=ROUND_TICKS).for_each(|_| reads.tick(false));
        assert!(reads.is_due());
        reads.begin((1, 1));
        (0..LEADERLESS_TICKS).for_each(|_| reads.tick(true));
        assert!(!reads.is_due() && !reads.is_under_way());
        assert_eq!(waiting.try_recv(), Err(oneshot::error::TryRecvError::Closed));
    }
}
