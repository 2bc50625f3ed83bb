//! What README.md and docs/trust.md say the command answers is what it answers; and the machine is left as it was.

#[test]
fn the_readme_is_true() {
    // The file is a link to README.md: beside it are the project and the machine it speaks of.
    trycmd::TestCases::new().case("tests/it/readme.md").run();
}

#[test]
fn the_procedures_of_trust_are_true() {
    let cases = trycmd::TestCases::new();
    // No root that this machine has pinned takes part.
    cases.env("PACKHORSE_CONFIG", "/nonexistent").case("tests/it/trust.md").run();
}

#[test]
fn what_is_said_of_sites_is_true() {
    trycmd::TestCases::new().case("tests/it/sites.md").run();
}
