//! One state for all that behave alike, so that the search has fewer to look at.
//!
//! Stamps are only compared with each other, so only their order counts; and a touch that is older than every horizon that is in
//! use or will be is as good as none. What can do nothing any more is nothing.

use crate::rules::{Bounds, Rule};
use crate::state::{Stamp, State, Task, Window};

/// Brings a state into the form that stands for all like it.
pub(crate) fn canonical(state: &mut State, bounds: &Bounds, without: &[Rule]) {
    for client in &mut state.clients {
        // A late write needs a window; without one more to come, the newest may be forgotten when its last write is in.
        if client.window.open().is_none() && !without.contains(&Rule::OpenWindow) {
            client.receipts = [0; 2];
        }
    }
    for volume in &mut state.volumes {
        let copies = volume.copies;
        let can_go = |chunk: u8, horizon| copies[usize::from(chunk)].is_some_and(|copy| copy.touched < horizon);
        let alive = match volume.task {
            Some(Task::Collect { chunk, horizon }) => can_go(chunk, horizon) || without.contains(&Rule::Horizon),
            Some(Task::Drop { chunk, epoch, horizon, .. }) => {
                (can_go(chunk, horizon) || without.contains(&Rule::WindowAtDrop))
                    && (volume.epoch <= epoch || without.contains(&Rule::OwnEpoch))
            }
            Some(Task::Store { .. }) | None => true,
        };
        if !alive {
            volume.task = None;
        }
        for copy in volume.copies.iter_mut().flatten().filter(|_| state.crashes == bounds.crashes) {
            copy.written = copy.touched;
        }
    }
    rank(state);
}

/// Replaces stamps by their ranks.
fn rank(state: &mut State) {
    let mut in_use: Vec<Stamp> = Vec::with_capacity(24);
    let oldest = std::cell::Cell::new(state.now);
    // First what something may be compared with, then everything.
    each_horizon(state, &mut |stamp| oldest.set(oldest.get().min(*stamp)));
    each(state, &mut |stamp| {
        if *stamp < oldest.get() {
            *stamp = 0;
        }
        in_use.push(*stamp);
    });
    in_use.sort_unstable();
    in_use.dedup();
    let lowest = Stamp::from(in_use.first() != Some(&0));
    let rank = |stamp: Stamp| in_use.partition_point(|other| *other < stamp) as Stamp + lowest;
    each(state, &mut |stamp| *stamp = rank(*stamp));
}

fn each_horizon(state: &mut State, look: &mut impl FnMut(&mut Stamp)) {
    for client in &mut state.clients {
        if let Window::Open(start) = &mut client.window {
            look(start);
        }
    }
    for volume in &mut state.volumes {
        if let Some(Task::Collect { horizon, .. } | Task::Drop { horizon, .. }) = &mut volume.task {
            look(horizon);
        }
    }
}

fn each(state: &mut State, change: &mut impl FnMut(&mut Stamp)) {
    change(&mut state.now);
    for client in &mut state.clients {
        if let Window::Open(start) | Window::Closed(start) = &mut client.window {
            change(start);
        }
    }
    for volume in &mut state.volumes {
        for copy in volume.copies.iter_mut().flatten() {
            change(&mut copy.touched);
            change(&mut copy.written);
        }
        match &mut volume.task {
            Some(Task::Collect { horizon, .. }) => change(horizon),
            Some(Task::Drop { horizon, stamp, .. }) => {
                change(horizon);
                change(stamp);
            }
            Some(Task::Store { .. }) | None => {}
        }
    }
}
