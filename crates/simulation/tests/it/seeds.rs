use simulation::{run_seed, run_seed_in_step, run_seed_of_two};

#[test]
fn a_thousand_histories_come_right() {
    let per = 1_000 / 4;
    std::thread::scope(|scope| {
        for part in 0..4 {
            scope.spawn(move || {
                for seed in part * per..(part + 1) * per {
                    let history = run_seed(seed, false);
                    assert!(
                        history.broken.is_empty(),
                        "seed {seed}: {:#?}; `cargo xtask simulate --seed {seed} --transcript`",
                        history.broken
                    );
                    assert!(history.attempts > 0, "seed {seed}: nothing happened");
                }
            });
        }
    });
}

#[test]
fn two_processes_that_read_of_each_other_what_changed_are_one_site() {
    std::thread::scope(|scope| {
        for part in 0..4 {
            scope.spawn(move || {
                for seed in part * 50..(part + 1) * 50 {
                    let history = run_seed_of_two(seed, false);
                    assert!(history.broken.is_empty(), "seed {seed}: {:#?}", history.broken);
                    assert!(history.attempts > 0, "seed {seed}: nothing happened");
                }
            });
        }
    });
}

#[test]
fn one_seed_is_one_history() {
    for seed in [3, 77] {
        assert_eq!(run_seed(seed, true).transcript, run_seed(seed, true).transcript);
    }
}

#[test]
fn i24_no_decision_compares_the_clocks_of_two_machines() {
    for seed in 0..40 {
        let (apart, agree) = (run_seed(seed, false), run_seed_in_step(seed));
        let what = |history: &simulation::History| {
            (history.broken.clone(), history.events, history.attempts, history.units)
        };
        assert_eq!(what(&apart), what(&agree), "seed {seed}");
    }
}
