//! How much of the world a search looks at, and which rule of the protocol it leaves out.

/// Nodes that hold chunks, one volume each.
pub(crate) const VOLUMES: usize = 3;

/// What can happen at most in one history. Searches are exhaustive within it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Clients, each with a session.
    pub(crate) clients: usize,
    /// Windows that each client opens one after the other.
    pub(crate) windows: u8,
    /// Different chunks.
    pub(crate) chunks: usize,
    /// Copies wanted of each; a write quorum of them makes a chunk count.
    pub(crate) copies: usize,
    /// Changes of the ring.
    pub(crate) changes: u8,
    /// Crashes of volumes: what was not synced is lost, and the run is another.
    pub(crate) crashes: u8,
    /// Whether files are removed.
    pub(crate) removals: bool,
    /// Copies that rot, each while nothing refers to its chunk and nobody uploads it.
    pub(crate) rots: u8,
}

impl Bounds {
    /// Receipts that a reference takes.
    pub(crate) fn quorum(&self) -> usize {
        self.copies / 2 + 1
    }
}

/// The rules that can be left out, to see that the search notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Collection looks at touches.
    Horizon,
    /// The horizon is the start of the oldest open window, not of any.
    OldestWindow,
    /// A reference takes a quorum of receipts.
    Quorum,
    /// Receipts count only while their window is open.
    OpenWindow,
    /// Receipts of an earlier run do not count.
    Runs,
    /// Touches that a crash lost have a floor.
    Floor,
    /// A node drops only what every owner has confirmed.
    Confirmation,
    /// An owner answers only at the ring that it is asked about.
    OwnersEpoch,
    /// The ring is looked at again as a copy is dropped.
    OwnEpoch,
    /// A copy that an open window counts on is not dropped.
    WindowAtDrop,
    /// A confirmation touches the copy that it is about.
    TouchAtConfirmation,
    /// A copy that is there is read back before it is given a receipt.
    RehashAtReceipt,
    /// A copy is read back before it is confirmed.
    RehashAtConfirmation,
    /// What nothing refers to is removed wherever it lies, not only from its owners.
    CollectionEverywhere,
}
