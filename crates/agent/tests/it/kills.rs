//! Kills at any moment: of the agent, of the program, of what waits beside it.

use std::process::Command;

use serde_json::json;
use testkit::{Stop, stop_at};

use crate::support::{Machine, lines, shell, with};

#[test]
fn a_program_outlives_the_agent_and_is_found_again() {
    let mut machine = Machine::new();
    let (out, go) = (machine.out("starts"), machine.out("go"));
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &go,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    machine.deploy(&[shell("one", &format!("echo x >> {out}; read x < {go}"))]);
    for _ in 0..5 {
        let agent = machine.start(&[]);
        machine.until("the program to run", |machine| {
            machine.status()["runs"][0]["state"] == "running" && lines(&out) == 1
        });
        agent.kill();
    }
    std::fs::write(&go, "go\n").unwrap();
    machine.once(&[]);
    assert_eq!(lines(&out), 1);
    assert_eq!(machine.words("one"), ["starting", "done"]);
}

/// The agent is killed at a system call, again and again, until it comes to the end: the program ran once, and that was told once.
#[test]
fn killed_at_any_system_call_it_runs_once_and_tells_once() {
    let mut machine = Machine::new();
    let out = machine.out("starts");
    machine.deploy(&[shell("one", &format!("echo x >> {out}"))]);
    let mut kills: u64 = 0;
    // Each time a little later: every part of its life comes to its turn.
    for turn in 0..60_u64 {
        let mut command: Command = machine.command(&["--once"]);
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        let status = stop_at(&mut command, 40 + turn * 23, Stop::Kill).unwrap();
        if status.success() {
            break;
        }
        kills += 1;
    }
    machine.once(&[]);
    assert_eq!(lines(&out), 1, "after {kills} kills");
    let words = machine.words("one");
    assert_eq!(words.iter().filter(|word| *word == "done").count(), 1, "{words:?}");
    assert!(kills > 10, "{kills} kills prove little");
}

#[test]
fn a_cut_program_that_may_not_run_again_waits_for_a_decision() {
    let mut machine = Machine::new();
    let out = machine.out("starts");
    let ids = machine.out("ids");
    // One of those it starts is in a process group of its own.
    let line =
        format!("echo $$ > {ids}; set -m; sleep 1000 & echo $! >> {ids}; echo x >> {out}; wait");
    machine.deploy(&[shell("one", &line)]);
    let agent = machine.start(&[]);
    machine.until("the program to run", |machine| {
        machine.status()["runs"][0]["state"] == "running" && lines(&out) == 1
    });
    let runner = machine.status()["runs"][0]["process"].as_u64().unwrap();
    // Not the agent, not the program: what waits beside it, as a power cut would.
    let group = i32::try_from(runner).unwrap();
    let pid = rustix::process::Pid::from_raw(group).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    machine.until_told("one", "held");
    assert_eq!(machine.words("one"), ["starting", "interrupted", "held"]);
    // Nothing of it lives on where nobody answers for it.
    let ids = std::fs::read_to_string(&ids).unwrap();
    assert_eq!(ids.lines().count(), 2);
    for id in ids.lines() {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        assert!(stat.is_empty() || stat.contains(") Z "), "{stat}");
    }
    assert_eq!(lines(&out), 1);
    let status = machine.ask(&["status"]);
    assert_eq!(status.status.code(), Some(4), "{}", String::from_utf8_lossy(&status.stdout));
    assert!(machine.ask(&["accept", "one"]).status.success());
    machine.until_told("one", "done");
    agent.kill();
}

#[test]
fn a_cut_program_that_may_run_again_does_once_more() {
    let mut machine = Machine::new();
    let out = machine.out("starts");
    let line = format!("echo x >> {out}; [ $(wc -l < {out}) = 2 ] || sleep 1000");
    let one = with(shell("one", &line), "program.rerunnable", json!(true));
    let one = with(one, "retry", json!({ "first": 1, "longest": 1, "attempts": 3 }));
    machine.deploy(&[one]);
    let agent = machine.start(&[]);
    machine.until("the program to run", |machine| {
        machine.status()["runs"][0]["state"] == "running" && lines(&out) == 1
    });
    let runner = machine.status()["runs"][0]["process"].as_u64().unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(runner).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    machine.until_told("one", "done");
    assert_eq!(lines(&out), 2);
    agent.kill();
}

/// What is run in the place of a program, too, is what was ordered, whoever was killed in between.
#[test]
fn killed_at_any_system_call_what_is_withdrawn_is_taken_away_once() {
    let mut machine = Machine::new();
    let (came, went) = (machine.out("came"), machine.out("went"));
    let away = json!({ "run": { "command": { "shell": format!("echo x >> {went}") } } });
    machine.deploy(&[with(shell("one", &format!("echo x >> {came}")), "withdrawal", away)]);
    machine.once(&[]);
    machine.deploy(&[]);
    let mut kills: u64 = 0;
    for turn in 0..60_u64 {
        let mut command: Command = machine.command(&["--once"]);
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        let status = stop_at(&mut command, 40 + turn * 23, Stop::Kill).unwrap();
        if status.success() {
            break;
        }
        kills += 1;
    }
    machine.once(&[]);
    assert_eq!((lines(&came), lines(&went)), (1, 1), "after {kills} kills");
    assert!(kills > 10, "{kills} kills prove little");
}
