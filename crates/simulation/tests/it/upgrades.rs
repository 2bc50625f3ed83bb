use simulation::run_upgrade_seed;

#[test]
fn q166771_an_upgrade_cut_off_anywhere_ends_in_one_version_that_lives() {
    let (mut crashes, mut upgraded) = (0, 0);
    for seed in 0..10_000 {
        let history = run_upgrade_seed(seed, false);
        assert!(history.broken.is_empty(), "seed {seed}: {}", history.broken.join("; "));
        crashes += history.crashes;
        upgraded += u64::from(history.is_upgraded);
    }
    assert!(crashes > 10_000 && upgraded > 2_000, "{crashes} crashes, {upgraded} upgraded");
}
