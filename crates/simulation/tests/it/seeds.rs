use simulation::run_seed;

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
fn one_seed_is_one_history() {
    for seed in [3, 77] {
        assert_eq!(run_seed(seed, true).transcript, run_seed(seed, true).transcript);
    }
}
