//! What a state comes to when nothing disturbs it any more.

use crate::model::Protocol;
use crate::rules::VOLUMES;
use crate::state::{State, bit, owners};

impl Protocol {
    /// Whether, once every window is closed and everyone has heard of the newest ring, two undisturbed rounds of every volume
    /// bring all chunks that something refers to to their owners, good, and leave nothing else anywhere.
    pub(crate) fn comes_to_rest(&self, state: &State) -> bool {
        let mut state = state.clone();
        // Some command went by.
        state.now += 1;
        for client in &mut state.clients {
            client.window = client.window.closed();
        }
        for volume in &mut state.volumes {
            (volume.task, volume.epoch) = (None, state.epoch);
        }
        for _round in 0..2 {
            state.now += 1;
            for volume in 0..VOLUMES {
                (0..self.bounds.chunks).for_each(|chunk| self.undisturbed(&mut state, volume, chunk));
            }
        }
        (0..self.bounds.chunks).all(|chunk| {
            let wanted = if state.is_referenced(chunk) { owners(&self.bounds, state.epoch, chunk) } else { 0 };
            (0..VOLUMES).all(|volume| match state.volumes[volume].copies[chunk] {
                Some(copy) => wanted & bit(volume) != 0 && copy.good,
                None => wanted & bit(volume) == 0,
            })
        })
    }

    fn undisturbed(&self, state: &mut State, volume: usize, chunk: usize) {
        self.ask(state, volume, chunk);
        (0..VOLUMES).for_each(|owner| self.confirm(state, volume, owner));
        self.act(&mut state.volumes[volume]);
        state.volumes[volume].task = None;
    }
}
