//! The protocol as a state machine: masters, clients and volumes, one step at a time, in any order.
//!
//! Masters are one place where commands take effect one after the other, which is what their log is for. Everything else is
//! asynchronous. A message that is lost is a step that is never taken; one that comes twice is a step taken twice; one that comes
//! late is a step taken late: a write may arrive after its window was closed, an answer of the masters is acted on any time
//! later, or never. An answer to a client adds nothing by coming late or not at all, since a client may always wait with using it.
//!
//! A reference stands for whatever holds one: a version, a part, a claim, the release queue.

use crate::canonical::canonical;
use crate::rules::{Bounds, Rule, VOLUMES};
use crate::state::{Client, Held, Small, Stamp, State, Task, Volume, Window, bit, owners};
use stateright::{Model, Property};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Open {
        client: usize,
    },
    Close {
        client: usize,
    },
    /// The client's write arrives, in its window's time or after, for the first time or again.
    Put {
        client: usize,
        chunk: usize,
        volume: usize,
    },
    Commit {
        client: usize,
        chunk: usize,
    },
    /// A copy by reference of what another client's file refers to.
    Refer {
        client: usize,
        chunk: usize,
    },
    Remove {
        client: usize,
        chunk: usize,
    },
    ChangeRing,
    Learn {
        volume: usize,
        epoch: Small,
    },
    /// The masters answer where the chunk belongs; whatever the volume was about to do is forgotten.
    Ask {
        volume: usize,
        chunk: usize,
    },
    Confirm {
        volume: usize,
        owner: usize,
    },
    /// The volume does what it is about to do.
    Act {
        volume: usize,
    },
    Crash {
        volume: usize,
    },
    /// A copy rots, and is the last thing that its node learns of it.
    Rot {
        volume: usize,
        chunk: usize,
    },
}

/// The protocol within bounds, complete or with a rule left out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Protocol {
    pub(crate) bounds: Bounds,
    pub(crate) without: &'static [Rule],
}

/// P1, P4: what is referred to has a write quorum of good copies.
pub(crate) const NOTHING_LOST: &str = "what is referred to is stored";

/// From everywhere, once clients and faults are over, every chunk comes to lie with its owners if anything refers to it, and
/// nowhere otherwise.
pub(crate) const NOTHING_LEAKED: &str = "all comes to rest where it belongs";

impl Protocol {
    fn lacks(&self, rule: Rule) -> bool {
        self.without.contains(&rule)
    }

    fn put(&self, state: &mut State, client: usize, chunk: usize, volume: usize) {
        match state.clients[client].window {
            Window::Open(start) => {
                state.volumes[volume].put(chunk, start, self.without);
                state.clients[client].receipts[chunk] |= bit(volume);
            }
            Window::Closed(start) => state.volumes[volume].put(chunk, start, self.without),
            Window::None => {}
        }
    }

    fn commit(&self, client: &mut Client, chunk: usize) {
        let quorum = self.bounds.quorum() - usize::from(self.lacks(Rule::Quorum));
        let open = client.window.open().is_some() || self.lacks(Rule::OpenWindow);
        if open && client.receipts[chunk].count_ones() as usize >= quorum {
            client.files[chunk] = true;
        }
    }

    /// What the masters answer, and what the volume is about to do on it.
    pub(crate) fn ask(&self, state: &mut State, asking: usize, chunk: usize) {
        let horizon = state.horizon(self.without);
        let owned = owners(&self.bounds, state.epoch, chunk) & bit(asking) != 0;
        let good = |volume: &Volume| volume.copies[chunk].is_some_and(|copy| copy.good);
        let elsewhere = (0..VOLUMES).any(|volume| volume != asking && good(&state.volumes[volume]));
        let referenced = state.is_referenced(chunk);
        let volume = &mut state.volumes[asking];
        let (held, small) = (volume.copies[chunk], chunk as Small);
        volume.task = match (referenced, owned, held) {
            (false, false, Some(_)) if self.lacks(Rule::CollectionEverywhere) => None,
            (false, _, Some(_)) => Some(Task::Collect { chunk: small, horizon }),
            (true, true, None) if elsewhere => Some(Task::Store { chunk: small }),
            // What a scrub or a reader finds bad is set aside, and is missing then.
            (true, true, Some(Held { good: false, .. })) if elsewhere => Some(Task::Store { chunk: small }),
            // Masters answer in the name of their ring; a node at another one begins anew.
            (true, false, Some(_)) if volume.epoch == state.epoch => {
                Some(Task::Drop { chunk: small, epoch: state.epoch, horizon, stamp: state.now, confirmed: 0 })
            }
            _ => None,
        };
    }

    pub(crate) fn confirm(&self, state: &mut State, asking: usize, owner: usize) {
        let Some(Task::Drop { chunk, epoch, horizon, stamp, confirmed }) = state.volumes[asking].task else { return };
        if owners(&self.bounds, epoch, chunk.into()) & bit(owner) == 0 {
            return;
        }
        if state.volumes[owner].confirm(chunk.into(), epoch, stamp, self.without) {
            let confirmed = confirmed | bit(owner);
            state.volumes[asking].task = Some(Task::Drop { chunk, epoch, horizon, stamp, confirmed });
        }
    }

    pub(crate) fn act(&self, volume: &mut Volume) {
        match volume.task {
            None => return,
            Some(Task::Collect { chunk, horizon }) => {
                let horizon = if self.lacks(Rule::Horizon) { Stamp::MAX } else { horizon };
                volume.remove_if_older(chunk.into(), horizon);
            }
            Some(Task::Drop { chunk, epoch, horizon, confirmed, .. }) => {
                let all = confirmed == owners(&self.bounds, epoch, chunk.into());
                if !all && !self.lacks(Rule::Confirmation) {
                    return;
                }
                if volume.epoch == epoch || self.lacks(Rule::OwnEpoch) {
                    let horizon = if self.lacks(Rule::WindowAtDrop) { Stamp::MAX } else { horizon };
                    volume.remove_if_older(chunk.into(), horizon);
                }
            }
            Some(Task::Store { chunk }) => volume.put(chunk.into(), 0, &[]),
        }
        volume.task = None;
    }

    /// A new run: receipts of the one before count no more, and everything counts as touched when it began.
    fn crash(&self, state: &mut State, volume: usize) {
        state.crashes += 1;
        let (now, crashed) = (state.now, &mut state.volumes[volume]);
        crashed.task = None;
        let floor = if self.lacks(Rule::Floor) { 0 } else { now };
        for copy in crashed.copies.iter_mut().flatten() {
            copy.touched = copy.written.max(floor);
        }
        if !self.lacks(Rule::Runs) {
            for client in &mut state.clients {
                client.receipts.iter_mut().for_each(|receipts| *receipts &= !bit(volume));
            }
        }
    }

    /// Whether a copy of the chunk may rot: whoever has used it is done, and whoever will use it has not begun.
    fn is_idle(&self, state: &State, chunk: usize) -> bool {
        let used = |client: &Client| client.receipts[chunk] != 0;
        let busy = |volume: &Volume| volume.task.is_some();
        !state.is_referenced(chunk) && !state.clients.iter().any(used) && !state.volumes.iter().any(busy)
    }

    fn client_actions(&self, state: &State, client: usize, actions: &mut Vec<Action>) {
        let it = &state.clients[client];
        if it.window.open().is_some() {
            actions.push(Action::Close { client });
        } else if it.windows < self.bounds.windows {
            actions.push(Action::Open { client });
        }
        for chunk in 0..self.bounds.chunks {
            if it.window != Window::None {
                actions.extend((0..VOLUMES).map(|volume| Action::Put { client, chunk, volume }));
            }
            if it.files[chunk] {
                actions.extend(self.bounds.removals.then_some(Action::Remove { client, chunk }));
            } else {
                actions.extend(
                    (it.receipts[chunk] != 0 || self.lacks(Rule::Quorum)).then_some(Action::Commit { client, chunk }),
                );
                actions.extend(state.is_referenced(chunk).then_some(Action::Refer { client, chunk }));
            }
        }
    }

    fn volume_actions(&self, state: &State, volume: usize, actions: &mut Vec<Action>) {
        let it = &state.volumes[volume];
        actions.extend((it.epoch + 1..=state.epoch).map(|epoch| Action::Learn { volume, epoch }));
        actions.extend((0..self.bounds.chunks).map(|chunk| Action::Ask { volume, chunk }));
        if it.task.is_some() {
            actions.push(Action::Act { volume });
        }
        if let Some(Task::Drop { .. }) = it.task {
            actions.extend((0..VOLUMES).map(|owner| Action::Confirm { volume, owner }));
        }
        if state.crashes < self.bounds.crashes {
            actions.push(Action::Crash { volume });
        }
        if state.rots < self.bounds.rots {
            actions.extend((0..self.bounds.chunks).map(|chunk| Action::Rot { volume, chunk }));
        }
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let (clients, volumes) = Default::default();
        vec![State { now: 1, epoch: 0, clients, volumes, crashes: 0, rots: 0 }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        (0..self.bounds.clients).for_each(|client| self.client_actions(state, client, actions));
        (0..VOLUMES).for_each(|volume| self.volume_actions(state, volume, actions));
        if state.epoch < self.bounds.changes {
            actions.push(Action::ChangeRing);
        }
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        // Every command has a later stamp than all before; what is no command may as well find that one went by.
        state.now += 1;
        match action {
            Action::Open { client } => {
                let (now, client) = (state.now, &mut state.clients[client]);
                client.window = Window::Open(now);
                client.windows += 1;
                client.receipts = [0; 2];
            }
            Action::Close { client } => state.clients[client].window = state.clients[client].window.closed(),
            Action::Put { client, chunk, volume } => self.put(&mut state, client, chunk, volume),
            Action::Commit { client, chunk } => self.commit(&mut state.clients[client], chunk),
            Action::Refer { client, chunk } => state.clients[client].files[chunk] = true,
            Action::Remove { client, chunk } => state.clients[client].files[chunk] = false,
            Action::ChangeRing => state.epoch += 1,
            Action::Learn { volume, epoch } => state.volumes[volume].epoch = epoch,
            Action::Ask { volume, chunk } => self.ask(&mut state, volume, chunk),
            Action::Confirm { volume, owner } => self.confirm(&mut state, volume, owner),
            Action::Act { volume } => self.act(&mut state.volumes[volume]),
            Action::Crash { volume } => self.crash(&mut state, volume),
            Action::Rot { volume, chunk } => {
                let idle = self.is_idle(&state, chunk);
                let copy = state.volumes[volume].copies[chunk].as_mut().filter(|copy| copy.good && idle)?;
                copy.good = false;
                state.rots += 1;
            }
        }
        canonical(&mut state, &self.bounds, self.without);
        (state != *before).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(NOTHING_LOST, |protocol: &Protocol, state: &State| {
                let stored = |chunk| state.good_copies(chunk) >= protocol.bounds.quorum();
                (0..protocol.bounds.chunks).all(|chunk| !state.is_referenced(chunk) || stored(chunk))
            }),
            Property::always(NOTHING_LEAKED, |protocol: &Protocol, state: &State| protocol.comes_to_rest(state)),
        ]
    }
}
