//! Programs that do not end, that leave others behind, that are cut off, that say more than anybody wants to know.

use serde_json::json;

use crate::support::{Machine, call, lines, shell, with};

/// Processes whose command line has this word.
pub(crate) fn processes(word: &str) -> usize {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.filter(|line| String::from_utf8_lossy(line).contains(word)).count()
}

#[test]
fn q214448_what_never_ends_is_ended_with_all_it_started_and_the_next_go_on() {
    let mut machine = Machine::new();
    // A name nobody else has.
    let seconds = format!("{}", 1_000_000 + std::process::id());
    let stubborn = format!(
        "trap '' TERM; for i in $(seq 20); do (setsid sleep {seconds} &) ; done; while :; do sleep {seconds}; done"
    );
    let once = json!({ "first": 1, "longest": 1, "attempts": 1 });
    let stubborn = with(shell("a-stubborn", &stubborn), "program.limit", json!(1));
    let stubborn = with(stubborn, "program.grace", json!(2));
    let stubborn = with(stubborn, "retry", once.clone());
    let reads = with(call("b-reads", &["cat"]), "program.limit", json!(60));
    let out = machine.out("after");
    machine.deploy(&[stubborn, reads, shell("c-after", &format!("echo x >> {out}"))]);
    machine.once(&[]);
    assert_eq!(processes(&seconds), 0, "survivors; told was {:?}", machine.messages());
    assert_eq!(machine.words("a-stubborn"), ["starting", "failed"]);
    let failed =
        machine.messages().into_iter().find(|one| one["said"]["word"] == "failed").unwrap();
    let cause = failed["said"]["cause"].as_str().unwrap();
    assert!(cause.starts_with("it took longer than 1 s and was stopped"), "{cause}");
    // Who waits for input gets the end of it.
    assert_eq!(machine.words("b-reads"), ["starting", "done"]);
    assert_eq!(lines(&out), 1);
}

#[test]
fn q150089_a_program_has_ended_when_all_it_started_have() {
    let mut machine = Machine::new();
    let (go, out) = (machine.out("go"), machine.out("done"));
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &go,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let line = format!("(setsid sh -c 'read x < {go}; echo $x > {out}' &); exit 0");
    machine.deploy(&[shell("one", &line)]);
    let agent = machine.start(&[]);
    machine
        .until("the program to run", |machine| machine.status()["runs"][0]["state"] == "running");
    // Its first process is gone; who it left behind still waits.
    assert_eq!(machine.words("one").last().map(String::as_str), Some("starting"));
    std::fs::write(&go, "ended\n").unwrap();
    machine.until_told("one", "done");
    assert_eq!(std::fs::read_to_string(&out).unwrap(), "ended\n");
    agent.kill();
}

#[test]
fn q235808_a_child_that_fails_later_is_a_failure_and_says_so() {
    let mut machine = Machine::new();
    let once = json!({ "first": 1, "longest": 1, "attempts": 1 });
    let late = shell("late", "(setsid sh -c 'sleep 0.2; exit 3' &); exit 0");
    machine.deploy(&[with(late, "retry", once)]);
    machine.once(&[]);
    assert_eq!(machine.words("late"), ["starting", "failed"]);
}

#[test]
fn q235377_arguments_arrive_as_they_were_written() {
    let mut machine = Machine::new();
    let out = machine.out("arguments");
    let script = machine.path("Print these words");
    let text = format!("#!/bin/sh\nfor word in \"$@\"; do printf '<%s>' \"$word\"; done > {out}\n");
    std::fs::write(&script, text).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&script, mode).unwrap();
    let words = ["/a", "b c", "d\"e", "$HOME", "%TEMP%", "> out", "*", ""];
    let mut command = vec![script.to_str().unwrap()];
    command.extend(words);
    machine.deploy(&[call("one", &command)]);
    machine.once(&[]);
    let expected: String = words.iter().map(|word| format!("<{word}>")).collect();
    assert_eq!(std::fs::read_to_string(&out).unwrap(), expected);
}

#[test]
fn a_failure_brings_what_the_program_wrote() {
    let mut machine = Machine::new();
    let line = "echo beginning; seq 100000; echo the disk is on fire >&2; exit 7";
    let once = json!({ "first": 1, "longest": 1, "attempts": 1 });
    machine.deploy(&[with(shell("one", line), "retry", once)]);
    machine.once(&[]);
    let failed =
        machine.messages().into_iter().find(|one| one["said"]["word"] == "failed").unwrap();
    let detail = failed["detail"].as_str().unwrap();
    assert!(detail.starts_with("beginning\n1\n2\n") && detail.ends_with("the disk is on fire\n"));
    assert!(detail.len() < 40_000 && detail.contains("bytes left out"));
}

#[test]
fn a_run_can_be_stopped_by_hand_and_tried_again() {
    let mut machine = Machine::new();
    let out = machine.out("starts");
    let once = json!({ "first": 1, "longest": 1, "attempts": 1 });
    let line = format!("echo x >> {out}; [ $(wc -l < {out}) = 2 ] || sleep 1000");
    machine.deploy(&[with(shell("one", &line), "retry", once)]);
    let agent = machine.start(&[]);
    machine.until("the program to run", |_| lines(&out) == 1);
    machine.until("its process", |machine| machine.status()["runs"][0]["state"] == "running");
    assert!(machine.ask(&["stop", "one"]).status.success());
    machine.until_told("one", "failed");
    assert!(machine.ask(&["retry", "one"]).status.success());
    machine.until_told("one", "done");
    assert_eq!(lines(&out), 2);
    agent.kill();
}
