//! The suite bites: each fault of the ancestor, put back into the decisions, is found.

use policy::{Mutation, Settings};
use simulation::{run_seed_with, settings};

/// The first seed that finds it, and what it says.
fn found(mutation: Mutation, seeds: u64) -> Option<(u64, String)> {
    let settings = Settings { mutation: Some(mutation), ..settings() };
    (0..seeds).find_map(|seed| {
        let broken = run_seed_with(seed, false, settings).broken;
        broken.first().map(|first| (seed, first.clone()))
    })
}

#[test]
fn every_fault_of_the_ancestor_is_found_within_fifty_histories() {
    for mutation in Mutation::ALL {
        let found = found(mutation, 50);
        assert!(found.is_some(), "{mutation:?} lives on");
    }
}
