//! Two thousand clients for a shortened week: the long form is `cargo xtask simulate clients`.

use simulation::{ClientsScenario, run_clients};

#[test]
fn weeks_of_clients_keep_the_invariants() {
    for seed in 0..6 {
        let scenario = ClientsScenario {
            clients: 2_000,
            interval: 300,
            days: 2,
            silences: seed % 2 == 1,
            seed,
        };
        let history = run_clients(scenario);
        assert_eq!(history.broken, Vec::<String>::new(), "{scenario:?}: {history:?}");
        assert!(history.check_ins > 1_000_000, "{history:?}");
    }
}

#[test]
fn one_seed_is_one_history() {
    let scenario =
        ClientsScenario { clients: 1_000, interval: 300, days: 1, silences: false, seed: 7 };
    let (one, two) = (run_clients(scenario), run_clients(scenario));
    assert_eq!(
        (one.check_ins, one.reached, one.peak.to_bits()),
        (two.check_ins, two.reached, two.peak.to_bits())
    );
}
