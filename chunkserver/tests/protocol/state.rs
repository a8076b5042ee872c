//! What clients and volumes have in their hands, and the masters' references.

use crate::rules::{Bounds, Rule, VOLUMES};

/// Ids of chunks and volumes, and ring numbers: all of them are small here.
pub(crate) type Small = u8;

/// The moment of a window, a touch, a boot.
pub(crate) type Stamp = u8;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    /// The newest stamp.
    pub(crate) now: Stamp,
    /// The newest ring.
    pub(crate) epoch: Small,
    pub(crate) clients: [Client; 2],
    pub(crate) volumes: [Volume; VOLUMES],
    pub(crate) crashes: Small,
    pub(crate) rots: Small,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Client {
    pub(crate) window: Window,
    /// Windows that it has opened.
    pub(crate) windows: Small,
    /// For each chunk the volumes whose receipts of its window it has, as bits.
    pub(crate) receipts: [Small; 2],
    /// Which chunks a file of its refers to.
    pub(crate) files: [bool; 2],
}

/// A client's newest window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Window {
    #[default]
    None,
    Open(Stamp),
    /// Closed; a write of its may still be on its way.
    Closed(Stamp),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Volume {
    /// The ring that it knows.
    pub(crate) epoch: Small,
    pub(crate) copies: [Option<Held>; 2],
    pub(crate) task: Option<Task>,
}

/// A copy of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Held {
    pub(crate) touched: Stamp,
    /// What a crash leaves of `touched`: that of the window that wrote the record.
    pub(crate) written: Stamp,
    pub(crate) good: bool,
}

/// What a volume is about to do on an answer of the masters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Task {
    /// Nothing refers to the chunk.
    Collect { chunk: Small, horizon: Stamp },
    /// Others own it. `confirmed`: by whom so far.
    Drop { chunk: Small, epoch: Small, horizon: Stamp, stamp: Stamp, confirmed: Small },
    /// It owns the chunk and lacked it; the bytes are in its hands.
    Store { chunk: Small },
}

pub(crate) const fn bit(volume: usize) -> Small {
    1 << volume
}

/// The owners of a chunk in a ring, as bits: each change gives and takes some, and the change after it takes and gives them back.
pub(crate) fn owners(bounds: &Bounds, epoch: Small, chunk: usize) -> Small {
    let first = (usize::from(epoch % 2) + chunk) % VOLUMES;
    (0..bounds.copies).fold(0, |owners, next| owners | bit((first + next) % VOLUMES))
}

impl Window {
    pub(crate) fn open(self) -> Option<Stamp> {
        if let Window::Open(start) = self { Some(start) } else { None }
    }

    pub(crate) fn closed(self) -> Window {
        if let Window::Open(start) = self { Window::Closed(start) } else { self }
    }
}

impl State {
    pub(crate) fn is_referenced(&self, chunk: usize) -> bool {
        self.clients.iter().any(|client| client.files[chunk])
    }

    pub(crate) fn good_copies(&self, chunk: usize) -> usize {
        self.volumes.iter().filter(|volume| volume.copies[chunk].is_some_and(|copy| copy.good)).count()
    }

    /// The start of the oldest open window, or now.
    pub(crate) fn horizon(&self, without: &[Rule]) -> Stamp {
        let starts = self.clients.iter().filter_map(|client| client.window.open());
        let window = if without.contains(&Rule::OldestWindow) { starts.max() } else { starts.min() };
        window.unwrap_or(self.now)
    }
}

impl Volume {
    /// A write of the window that began at `start` arrives.
    pub(crate) fn put(&mut self, chunk: usize, start: Stamp, without: &[Rule]) {
        self.copies[chunk] = Some(match self.copies[chunk] {
            Some(copy) if copy.good || without.contains(&Rule::RehashAtReceipt) => {
                Held { touched: copy.touched.max(start), ..copy }
            }
            _ => Held { touched: start, written: start, good: true },
        });
    }

    /// Reads its copy back for another node, and has removals that were decided on before `stamp` spare it.
    pub(crate) fn confirm(&mut self, chunk: usize, epoch: Small, stamp: Stamp, without: &[Rule]) -> bool {
        if self.epoch != epoch && !without.contains(&Rule::OwnersEpoch) {
            return false;
        }
        let Some(copy) = &mut self.copies[chunk] else { return false };
        if !copy.good && !without.contains(&Rule::RehashAtConfirmation) {
            self.copies[chunk] = None;
            return false;
        }
        if !without.contains(&Rule::TouchAtConfirmation) {
            copy.touched = copy.touched.max(stamp);
        }
        true
    }

    /// Removes a copy that was last touched before `horizon`.
    pub(crate) fn remove_if_older(&mut self, chunk: usize, horizon: Stamp) {
        if self.copies[chunk].is_some_and(|copy| copy.touched < horizon) {
            self.copies[chunk] = None;
        }
    }
}
