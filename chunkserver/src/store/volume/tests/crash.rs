//! The power goes at every persistent step of everything a volume does.
//!
//! One run of a script counts the steps. Then the script is run again for each step, the power cut before, in and after it,
//! and every way of losing what was not synced tried. After each cut the volume is started again, and whatever was
//! acknowledged must be as it was said.

use super::super::super::pack::PackNumber;
use super::super::{AppendError, Volume};
use super::{MIB, Read, Sim, block_on, check_counts, chunk, put, read_whole, remove};
use cairn_common::sim::disk::{CrashPolicy, PowerCut};
use std::collections::BTreeMap;

/// What is known about a chunk from the answers that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    There,
    Gone,
    /// The last change was not answered.
    Either,
}

/// Chunks by number, and what is known of them.
type Model = BTreeMap<u32, Known>;

fn bytes_of(number: u32) -> usize {
    // Large ones fill packs, so that some are sealed and new ones begun.
    if number.is_multiple_of(2) { MIB } else { 3_000 + number as usize }
}

struct Script<'a> {
    volume: &'a Volume,
    model: &'a mut Model,
}

impl Script<'_> {
    fn put(&mut self, number: u32) {
        let before = self.model.get(&number).copied();
        self.model.insert(number, if before == Some(Known::There) { Known::There } else { Known::Either });
        if put(self.volume, &chunk(number, bytes_of(number))).is_ok() {
            self.model.insert(number, Known::There);
        }
    }

    fn remove(&mut self, number: u32) {
        self.model.insert(number, Known::Either);
        if remove(self.volume, chunk(number, bytes_of(number)).address()).is_ok() {
            self.model.insert(number, Known::Gone);
        }
    }

    /// Everything that a volume does: groups, tombstones, dedup hits, a full pack, compaction.
    fn first_run(&mut self) {
        (0..10).for_each(|number| self.put(number));
        self.remove(0);
        self.remove(1);
        self.put(1);
        self.put(2);
        self.remove(4);
        let _ = self.volume.compact(PackNumber(1));
        (10..14).for_each(|number| self.put(number));
        self.remove(3);
    }

    fn second_run(&mut self) {
        self.put(0);
        self.remove(10);
        let _ = self.volume.compact(PackNumber(2));
        self.put(20);
    }
}

/// Runs the whole script, as far as the power allows: two runs with a clean stop between.
fn run(sim: &mut Sim, model: &mut Model) {
    for second in [false, true] {
        let Ok(volume) = sim.rig.start() else { return };
        let mut script = Script { volume: &volume, model };
        if second {
            script.second_run()
        } else {
            script.first_run()
        }
        let _: Result<(), AppendError> = block_on(volume.stop());
    }
}

/// What must hold after any crash.
fn check(sim: &mut Sim, model: &Model, when: &str) {
    for restart in 0..2 {
        let volume = sim.rig.start().unwrap_or_else(|error| panic!("{when}: it does not start: {error}"));
        for (number, known) in model {
            let found = read_whole(&volume, &chunk(*number, bytes_of(*number)));
            match known {
                Known::There => {
                    assert_eq!(found, Read::Right, "{when}, start {restart}: chunk {number} was acknowledged")
                }
                Known::Gone => assert_eq!(found, Read::Absent, "{when}, start {restart}: chunk {number} was removed"),
                Known::Either => assert_ne!(found, Read::Error, "{when}, start {restart}: chunk {number}"),
            }
        }
        assert_eq!(volume.report().damaged, 0, "{when}: a power cut damages nothing that was acknowledged");
        check_counts(&sim.index());
        // It works on.
        let more = chunk(1000 + restart, 5_000);
        put(&volume, &more).unwrap_or_else(|error| panic!("{when}: {error}"));
        assert_eq!(read_whole(&volume, &more), Read::Right);
    }
}

fn script_steps() -> u64 {
    let mut sim = Sim::new();
    let mut model = Model::new();
    run(&mut sim, &mut model);
    assert!(model.values().all(|known| *known != Known::Either), "without a fault everything is answered");
    let steps = sim.disk.steps();
    check(&mut sim, &model, "without a fault");
    steps
}

const POLICIES: [CrashPolicy; 5] = [
    CrashPolicy::LoseUnsynced,
    CrashPolicy::KeepAll,
    CrashPolicy::KeepSome(1),
    CrashPolicy::Tear(2),
    CrashPolicy::Tear(3),
];

const MARGIN: u64 = 20;

#[test]
fn nothing_acknowledged_is_lost_wherever_the_power_goes() {
    let steps = script_steps();
    assert!(steps > 100, "{steps} steps");
    let mut runs = 0;
    // How many changes share a group is up to the threads, so a run may have some steps more or fewer.
    for step in 0..steps + MARGIN {
        for cut in [PowerCut::Before, PowerCut::Torn, PowerCut::After] {
            // Policies differ only in what they do with unsynced bytes; they take turns over the steps.
            let policies = [POLICIES[0], POLICIES[1 + (step % 4) as usize]];
            for policy in policies {
                let (mut sim, mut model) = (Sim::new(), Model::new());
                sim.disk.cut_power_at(step, cut);
                run(&mut sim, &mut model);
                if sim.disk.has_power() {
                    assert!(step + MARGIN > steps, "step {step} of {steps} was never reached");
                    continue;
                }
                sim.crash(policy);
                check(&mut sim, &model, &format!("{cut:?} step {step}, {policy:?}"));
                runs += 1;
            }
        }
    }
    eprintln!("{steps} persistent steps, {runs} crashes");
}

#[test]
fn a_start_that_dies_at_any_step_is_a_start_that_was_never_made() {
    // A state with everything in it: unindexed groups, a torn tail, tombstones, an unsealed older pack.
    let middle = script_steps() / 2;
    let prepare = || {
        let (mut sim, mut model) = (Sim::new(), Model::new());
        sim.disk.cut_power_at(middle, PowerCut::Torn);
        run(&mut sim, &mut model);
        sim.crash(CrashPolicy::Tear(7));
        (sim, model)
    };
    let (mut sim, _) = prepare();
    let before = sim.disk.steps();
    drop(sim.rig.start().unwrap());
    let steps = sim.disk.steps() - before;
    assert!(steps > 5, "{steps} steps");
    for step in 0..steps {
        for cut in [PowerCut::Before, PowerCut::Torn, PowerCut::After] {
            for policy in [CrashPolicy::LoseUnsynced, CrashPolicy::KeepAll, CrashPolicy::Tear(step)] {
                let (mut sim, model) = prepare();
                sim.disk.cut_power_at(sim.disk.steps() + step, cut);
                drop(sim.rig.start());
                sim.crash(policy);
                check(&mut sim, &model, &format!("start, {cut:?} step {step}, {policy:?}"));
            }
        }
    }
}
