//! Machines that restart while a program runs: the agent, the program and what waits beside it go at once, and the next start has
//! another number.

use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::{
    programs::processes,
    support::{Machine, Running, lines, shell, with},
};

/// An agent as a machine's start of that number has it: in process and mount namespaces of its own.
fn started(machine: &Machine, number: u8, more: &[&str]) -> Child {
    let digit = char::from(b'0' + number);
    let boot: String = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx".replace('x', &digit.to_string());
    let file = machine.path(&format!("boot-{number}"));
    std::fs::write(&file, boot).unwrap();
    let agent = machine.command(more);
    let mut command = Command::new("unshare");
    command.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c"]);
    command.arg("mount --bind \"$0\" /proc/sys/kernel/random/boot_id && \"$@\"").arg(file);
    command.arg(agent.get_program()).args(agent.get_args());
    command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap()
}

/// The power goes: nothing of the start lives on.
fn cut(machine: &Machine, start: Child) {
    Running(start).kill();
    let word = machine.state().display().to_string();
    // A process that ends has no name any more before its locks are free.
    let is_free = || {
        let folder = std::fs::File::open(machine.state()).unwrap();
        rustix::fs::flock(folder, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_ok()
    };
    machine.until("the machine to be off", |_| processes(&word) == 0 && is_free());
}

/// The next start does what there is to do.
fn next(machine: &Machine, number: u8) {
    assert!(started(machine, number, &["--once"]).wait().unwrap().success());
}

/// A program that says it runs, and never ends by itself.
fn endless(out: &str) -> Value {
    shell("one", &format!("echo x >> {out}; exec tail -f /dev/null"))
}

/// Starts the program, and cuts the power while it runs.
fn cut_while_it_runs(machine: &Machine, out: &str) {
    let start = started(machine, 1, &[]);
    machine.until("the program to run", |_| lines(out) == 1);
    cut(machine, start);
}

fn evidence(machine: &Machine, word: &str) -> String {
    let messages = machine.messages();
    let one = messages.iter().rfind(|one| one["said"]["word"] == word).unwrap();
    one["said"]["evidence"].as_str().unwrap().to_owned()
}

#[test]
fn a_program_that_restarts_the_machine_ran_once_and_the_next_start_says_so() {
    let mut machine = Machine::new();
    let out = machine.out("starts");
    machine.deploy(&[with(endless(&out), "program.restart", json!("by-itself"))]);
    cut_while_it_runs(&machine, &out);
    next(&machine, 2);
    assert_eq!(machine.words("one"), ["starting", "interrupted", "done"]);
    let said = "the machine restarted while it ran, as it was said to";
    assert_eq!(evidence(&machine, "done"), said);
    next(&machine, 3);
    assert_eq!((lines(&out), machine.words("one").len()), (1, 3), "and nothing is told twice");
}

#[test]
fn after_a_power_cut_the_detection_rule_says_what_became_of_a_program() {
    for is_there in [true, false] {
        let mut machine = Machine::new();
        let out = machine.out("starts");
        let there = json!({ "holds": { "fact": { "exists": "/done" } } });
        machine.deploy(&[with(endless(&out), "program.detection", there)]);
        cut_while_it_runs(&machine, &out);
        if is_there {
            std::fs::write(machine.root().join("done"), "").unwrap();
        }
        next(&machine, 2);
        let last = if is_there { "done" } else { "held" };
        assert_eq!(machine.words("one"), ["starting", "interrupted", last]);
        assert_eq!(lines(&out), 1, "it does not run again by itself");
    }
}

/// The same number of start: the agent alone was away, and the program goes on.
#[test]
fn what_ends_with_a_restart_owed_is_looked_for_in_the_next_start() {
    let mut machine = Machine::new();
    let out = machine.out("starts");
    let one = shell("one", &format!("echo x >> {out}; exit 194"));
    let there = json!({ "holds": { "fact": { "exists": "/done" } } });
    let one = with(one, "program.detection", there);
    let one =
        with(one, "program.exit-codes", json!({ "family": "script", "own": { "194": "restart" } }));
    machine.deploy(&[one]);
    next(&machine, 1);
    next(&machine, 1);
    assert_eq!(machine.words("one"), ["starting", "waiting"]);
    std::fs::write(machine.root().join("done"), "").unwrap();
    next(&machine, 2);
    assert_eq!(machine.words("one"), ["starting", "waiting", "done"]);
    assert_eq!(lines(&out), 1);
}
