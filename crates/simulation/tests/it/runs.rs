use simulation::{Careless, run_careless_seed, run_machine_seed};

#[test]
fn a_machine_that_crashes_anywhere_runs_what_it_should_once_and_says_what_happened() {
    let (mut crashes, mut ambiguous, mut starts) = (0, 0, 0);
    for seed in 0..10_000 {
        let history = run_machine_seed(seed, false);
        assert!(history.broken.is_empty(), "seed {seed}: {}", history.broken.join("; "));
        crashes += history.crashes;
        ambiguous += history.ambiguous;
        starts += history.starts;
    }
    assert!(crashes > 10_000, "{crashes} crashes prove little");
    assert!(ambiguous > 500 && starts > 10_000, "{ambiguous} of {starts} cut off");
}

#[test]
fn an_agent_that_does_not_write_down_first_is_found_out() {
    for careless in [Careless::Unsynced, Careless::LeavesPermits, Careless::DeliversLater] {
        let found = (0..2_000).find(|seed| {
            let history = run_careless_seed(*seed, false, Some(careless));
            !history.broken.is_empty()
        });
        assert!(found.is_some(), "{careless:?} was never noticed");
    }
}
