//! What README.md says the command answers is what it answers; and its machine is left as it was.

#[test]
fn the_readme_is_true() {
    // The file is a link to README.md: beside it are the project and the machine it speaks of.
    trycmd::TestCases::new().case("tests/it/readme.md").run();
}
