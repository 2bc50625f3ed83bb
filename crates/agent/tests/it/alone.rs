//! One agent for one state folder; an agent with nothing to do does nothing.

use std::process::Stdio;

use crate::support::{Machine, call};

#[test]
fn q216552_started_many_times_at_once_one_agent_runs_and_the_others_say_which() {
    let mut machine = Machine::new();
    machine.deploy(&[]);
    let first = machine.start(&[]);
    machine.until("the first to run", |machine| machine.status()["process"].is_u64());
    for _ in 0..20 {
        let more = (0..10).map(|_| machine.command(&[]).spawn().unwrap()).collect::<Vec<_>>();
        for one in more {
            let output = one.wait_with_output().unwrap();
            assert_eq!(output.status.code(), Some(6));
            let said = String::from_utf8(output.stderr).unwrap();
            let expected = format!("process {}, for ", first.pid());
            assert!(said.contains(&expected) && said.lines().count() == 1, "{said}");
        }
    }
    first.kill();
    // Whoever was killed holds nothing.
    machine.once(&[]);
}

fn switches(pid: u32) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let all = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("status")).ok());
    let count = |text: String| -> u64 {
        let lines = text.lines().filter(|line| line.contains("ctxt_switches"));
        lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum()
    };
    all.map(count).sum()
}

#[test]
fn an_idle_agent_is_not_woken() {
    let mut machine = Machine::new();
    machine.deploy(&[call("one", &["true"])]);
    let agent = machine.start(&[]);
    machine.until_told("one", "done");
    // Until all it had to do is done.
    machine.until("rest", |machine| {
        machine.status()["messages"] == 0 && machine.status()["asked"].is_u64()
    });
    let before = switches(agent.pid());
    // Something else takes its time meanwhile: the clock is its own.
    let mut child =
        std::process::Command::new("sleep").arg("5").stdin(Stdio::null()).spawn().unwrap();
    child.wait().unwrap();
    assert_eq!(switches(agent.pid()) - before, 0, "wake-ups in 5 s");
    agent.kill();
}
