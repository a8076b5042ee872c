//! Rounds of several nodes against masters that know references and nothing else, and what each rule of upkeep is for.

mod collecting;
mod fetching;
mod masters;
mod near;
mod plane;
mod race;
mod scrubbing;
mod shedding;
mod world;

use cairn_common::seam::must_fail_without;

#[test]
fn rules_of_upkeep_are_missed_when_they_are_left_out() {
    must_fail_without("drop-without-confirmation", shedding::a_chunk_of_others_goes_when_all_of_them_have_it);
    must_fail_without("confirm-at-any-epoch", shedding::an_answer_of_another_ring_is_none);
    must_fail_without("confirm-without-touch", shedding::a_copy_that_was_confirmed_is_not_removed_on_an_older_decision);
    must_fail_without("drop-under-window", shedding::a_copy_that_an_open_window_counts_on_is_not_dropped);
    must_fail_without(
        "collect-without-horizon",
        collecting::a_reference_or_a_touch_that_comes_between_the_phases_keeps_the_chunk,
    );
    must_fail_without("no-collect-fuse", collecting::a_pass_that_would_free_more_than_a_tenth_stops_and_asks);
}
