//! What the findings in a pack mean. Pure: events in, verdicts out.
//!
//! A bad record is judged by what comes behind it. Every header names the start of its group, and everything before a group was
//! durable when the group was written: a bad record before the start of a *later* group was acknowledged once and is damaged.
//! One in the same group as a good record may have been torn when the power went, before anyone got a receipt. One with
//! nothing good behind it is the tail, and is cut.

use super::super::index::Why;
use super::super::pack::{Event, RecordHeader, Unreadable};
use std::ops::Range;

/// What is to be done about something that was met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A good record: apply it.
    Apply(RecordHeader),
    /// A bad record whose name is known: set it aside.
    SetAside(RecordHeader, Why),
    /// Something acknowledged stood here, and not even its name is known.
    Nameless(Range<u32>),
}

/// Something bad, until it is known what lies behind it.
#[derive(Clone, Debug)]
enum Suspect {
    Record(RecordHeader, Unreadable),
    Stretch(Range<u32>, Unreadable),
}

impl Suspect {
    fn start(&self) -> u32 {
        match self {
            Suspect::Record(header, _) => header.offset,
            Suspect::Stretch(range, _) => range.start,
        }
    }

    fn is_unreadable(&self) -> bool {
        let (Suspect::Record(_, unreadable) | Suspect::Stretch(_, unreadable)) = self;
        unreadable.0
    }

    /// `durable`: whether it is known that it was.
    fn verdict(self, durable: bool) -> Option<Verdict> {
        match self {
            Suspect::Record(header, Unreadable(true)) => Some(Verdict::SetAside(header, Why::Unreadable)),
            Suspect::Record(header, _) if durable => Some(Verdict::SetAside(header, Why::Damaged)),
            Suspect::Record(header, _) => Some(Verdict::SetAside(header, Why::Torn)),
            Suspect::Stretch(range, unreadable) => (durable || unreadable.0).then_some(Verdict::Nameless(range)),
        }
    }
}

/// Judges the events of one pack, in their order.
#[derive(Debug)]
pub(super) struct Judge {
    undecided: Vec<Suspect>,
    /// Behind the last good record.
    end: u32,
    met_anything: bool,
}

/// What lies behind the last good record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tail {
    /// Behind the last good record; never before where the walk began.
    pub(super) end: u32,
    /// Something other than zeros lies behind it.
    pub(super) is_dirty: bool,
    /// The disk could not read something: nothing may be cut.
    pub(super) is_unreadable: bool,
    /// Something was met at all, good or bad.
    pub(super) met_anything: bool,
}

impl Judge {
    /// Begins at `from`, before which all is known.
    pub(super) fn new(from: u32) -> Judge {
        Judge { undecided: Vec::new(), end: from, met_anything: false }
    }

    /// Takes the next event; returns what is certain now.
    pub(super) fn meet(&mut self, event: Event) -> Vec<Verdict> {
        self.met_anything = true;
        match event {
            Event::Good(header) => {
                let (durable, undecided): (Vec<Suspect>, Vec<Suspect>) =
                    std::mem::take(&mut self.undecided).into_iter().partition(|it| it.start() < header.group_start);
                self.undecided = undecided;
                self.end = header.offset + header.record_bytes();
                let damaged = durable.into_iter().filter_map(|suspect| suspect.verdict(true));
                damaged.chain([Verdict::Apply(header)]).collect()
            }
            Event::Bad(header, unreadable) => self.suspect(Suspect::Record(header, unreadable)),
            Event::Garbage(range) => self.suspect(Suspect::Stretch(range, Unreadable(false))),
            Event::Hole(range) => self.suspect(Suspect::Stretch(range, Unreadable(true))),
            Event::Newer(_) => unreachable!("the walk ends at a record of a newer release"),
        }
    }

    fn suspect(&mut self, suspect: Suspect) -> Vec<Verdict> {
        self.undecided.push(suspect);
        Vec::new()
    }

    /// Everything before this offset has its verdict.
    pub(super) fn decided_until(&self) -> u32 {
        self.undecided.first().map_or(self.end, |first| first.start().min(self.end))
    }

    /// Ends the pack: the last verdicts, and its tail.
    pub(super) fn finish(self) -> (Vec<Verdict>, Tail) {
        let Judge { undecided, end, met_anything } = self;
        let is_unreadable = undecided.iter().any(Suspect::is_unreadable);
        let is_dirty = undecided.iter().any(|suspect| suspect.start() >= end);
        // What cannot be read is not cut, so it is not forgotten either.
        let kept = undecided.into_iter().filter(|suspect| suspect.start() < end || suspect.is_unreadable());
        let verdicts = kept.filter_map(|suspect| suspect.verdict(false)).collect();
        (verdicts, Tail { end, is_dirty, is_unreadable, met_anything })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_common::chunk::ChunkAddress;
    use cairn_common::ids::Domain;

    fn record(offset: u32, group_start: u32) -> RecordHeader {
        RecordHeader::tombstone(ChunkAddress::of(Domain(1), &offset.to_be_bytes()), offset, group_start)
    }

    fn judge(events: impl IntoIterator<Item = Event>) -> (Vec<Verdict>, Tail) {
        let mut judge = Judge::new(4096);
        let mut verdicts: Vec<Verdict> = events.into_iter().flat_map(|event| judge.meet(event)).collect();
        let (last, tail) = judge.finish();
        verdicts.extend(last);
        (verdicts, tail)
    }

    fn bad(header: RecordHeader) -> Event {
        Event::Bad(header, Unreadable(false))
    }

    #[test]
    fn a_bad_record_before_a_later_group_is_damaged() {
        let (verdicts, tail) = judge([bad(record(4096, 4096)), Event::Good(record(8192, 8192))]);
        let expected = [Verdict::SetAside(record(4096, 4096), Why::Damaged), Verdict::Apply(record(8192, 8192))];
        assert_eq!(verdicts, expected);
        assert_eq!((tail.end, tail.is_dirty), (8704, false));
    }

    #[test]
    fn a_bad_record_among_good_ones_of_the_last_group_is_torn() {
        let (verdicts, tail) = judge([bad(record(4096, 4096)), Event::Good(record(4608, 4096))]);
        let expected = [Verdict::Apply(record(4608, 4096)), Verdict::SetAside(record(4096, 4096), Why::Torn)];
        assert_eq!(verdicts, expected);
        assert_eq!((tail.end, tail.is_dirty), (5120, false));
    }

    #[test]
    fn a_bad_record_with_nothing_good_behind_it_is_the_tail() {
        let (verdicts, tail) =
            judge([Event::Good(record(4096, 4096)), bad(record(8192, 8192)), Event::Garbage(9000..9512)]);
        assert_eq!(verdicts, [Verdict::Apply(record(4096, 4096))]);
        assert_eq!((tail.end, tail.is_dirty, tail.is_unreadable), (4608, true, false));
    }

    #[test]
    fn garbage_before_a_later_group_was_something() {
        let (verdicts, _) = judge([Event::Garbage(4096..4608), Event::Good(record(8192, 8192))]);
        assert_eq!(verdicts, [Verdict::Nameless(4096..4608), Verdict::Apply(record(8192, 8192))]);
        let (verdicts, _) = judge([Event::Garbage(4096..4608), Event::Good(record(4608, 4096))]);
        assert_eq!(verdicts, [Verdict::Apply(record(4608, 4096))], "in the same group it may have been torn");
    }

    #[test]
    fn what_cannot_be_read_is_never_cut() {
        let (verdicts, tail) = judge([Event::Bad(record(4096, 4096), Unreadable(true)), Event::Hole(8192..12288)]);
        let expected = [Verdict::SetAside(record(4096, 4096), Why::Unreadable), Verdict::Nameless(8192..12288)];
        assert_eq!(verdicts, expected);
        assert!(tail.is_unreadable);
    }

    #[test]
    fn an_empty_pack_ends_where_it_begins() {
        let tail = Tail { end: 4096, is_dirty: false, is_unreadable: false, met_anything: false };
        assert_eq!(judge([]), (Vec::new(), tail));
    }

    #[test]
    fn coverage_stops_at_the_first_undecided_record() {
        let mut judge = Judge::new(4096);
        judge.meet(Event::Good(record(4096, 4096)));
        assert_eq!(judge.decided_until(), 4608);
        judge.meet(bad(record(8192, 8192)));
        judge.meet(Event::Good(record(8704, 8192)));
        assert_eq!(judge.decided_until(), 8192);
        judge.meet(Event::Good(record(12288, 12288)));
        assert_eq!(judge.decided_until(), 12800);
    }
}
