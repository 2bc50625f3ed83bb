use model::{ExitMeaning, Hash};
use running::{
    BootId, Effect, End, Event, Found, Label, Now, Order, Outcome, Pauses, Process, Rerun, Run,
    RunId, Seen, Stage, Word,
};

const BOOT: BootId = BootId(1);
const PROCESS: Process = Process { pid: 7, began: 70 };

fn now(boot: u64) -> Now {
    Now { boot: BootId(boot), at: 1000 }
}

fn order() -> Order {
    Order {
        id: RunId::of("redis"),
        digest: Hash::of(b"redis"),
        rerun: Rerun::Ask,
        restarts: false,
        detects: true,
        pauses: Pauses { first: 1000, longest: 8000, attempts: 2 },
        round: 0,
        restart_after: false,
    }
}

fn exit(meaning: ExitMeaning) -> End {
    End::Exit { code: Some(0), meaning, text: "as it says".into() }
}

/// Leads an order through events; answers the run and the words that were said.
fn after(order: Order, events: &[Event]) -> (Run, Vec<Word>) {
    let (mut run, effects) = Run::begin(order, false);
    let mut words = said(&effects);
    for event in events {
        let boot =
            if matches!(event, Event::Woke(Some(Found::Gone { restarted: true }))) { 2 } else { 1 };
        let (next, effects) = run.next(event.clone(), now(boot), 5).unwrap();
        words.extend(said(&effects));
        run = next;
    }
    (run, words)
}

fn said(effects: &[Effect]) -> Vec<Word> {
    let word = |effect: &Effect| match effect {
        Effect::Say(said) => Some(said.word),
        _ => None,
    };
    effects.iter().filter_map(word).collect()
}

fn begun() -> Vec<Event> {
    vec![Event::Seen(Seen::No), Event::Launched(PROCESS)]
}

fn with(more: &[Event]) -> Vec<Event> {
    begun().into_iter().chain(more.iter().cloned()).collect()
}

fn label(run: &Run) -> Option<Label> {
    match &run.stage {
        Stage::Finished { outcome: Outcome::Done { .. }, label } => *label,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_there_is_not_run() {
    let (run, words) = after(order(), &[Event::Seen(Seen::Yes)]);
    assert_eq!(label(&run), Some(Label::ThereBefore));
    assert_eq!((run.attempt, words), (0, vec![Word::Done]));
}

#[test]
fn a_rule_beats_an_exit_code_both_ways() {
    let failed = Event::Ended(exit(ExitMeaning::Failed));
    let (run, _) = after(order(), &with(&[failed, Event::Seen(Seen::Yes)]));
    assert_eq!(label(&run), Some(Label::ExitOverruled));
    let done = Event::Ended(exit(ExitMeaning::Done));
    let (run, words) = after(order(), &with(&[done, Event::Seen(Seen::No)]));
    assert!(matches!(run.stage, Stage::Waiting { .. }), "{run:?}");
    assert_eq!(words, [Word::Starting, Word::Waiting]);
}

#[test]
fn a_rule_without_an_answer_starts_nothing() {
    let (run, words) = after(order(), &[Event::Seen(Seen::Unclear("no such disk".into()))]);
    assert!(matches!(run.stage, Stage::Waiting { .. }));
    assert_eq!(words, [Word::Waiting]);
}

#[test]
fn another_installer_costs_no_attempt() {
    let busy = End::Busy { who: "dpkg".into() };
    let mut events = begun();
    for _ in 0..20 {
        events.extend([Event::Ended(busy.clone()), Event::Seen(Seen::No), Event::Due]);
        events.extend(begun());
    }
    let (run, _) = after(order(), &events);
    assert_eq!((run.attempt, run.spent()), (21, 1));
}

#[test]
fn attempts_are_bounded_and_can_be_asked_for_again() {
    let fails = [Event::Ended(exit(ExitMeaning::Failed)), Event::Seen(Seen::No)];
    let mut events = with(&fails);
    events.push(Event::Due);
    events.extend(with(&fails));
    let (run, words) = after(order(), &events);
    assert!(matches!(run.stage, Stage::Finished { outcome: Outcome::Failed { .. }, .. }));
    assert_eq!(words, [Word::Starting, Word::Waiting, Word::Starting, Word::Failed]);
    assert!(run.next(Event::Round(0), now(1), 0).is_err(), "the same round is no new one");
    let (run, _) = run.next(Event::Round(1), now(1), 0).unwrap();
    assert_eq!((run.spent(), &run.stage), (0, &Stage::Looking));
}

#[test]
fn q257280_a_program_that_restarts_the_machine_is_not_run_again() {
    let gone = Event::Woke(Some(Found::Gone { restarted: true }));
    // Said to, and there is no rule: the restart is its end.
    let says = Order { restarts: true, detects: false, ..order() };
    let (run, words) = after(says, &with(&[gone.clone(), Event::Seen(Seen::NoRule)]));
    assert_eq!(label(&run), Some(Label::RestartedAsSaid));
    assert_eq!(words.iter().filter(|word| **word == Word::Done).count(), 1);
    // Not said to: the rule decides.
    let (run, words) = after(order(), &with(&[gone.clone(), Event::Seen(Seen::Yes)]));
    assert_eq!(label(&run), Some(Label::Recovered));
    assert!(words.contains(&Word::Interrupted));
    // Neither: somebody does, unless it may run again; then once.
    let (run, _) = after(order(), &with(&[gone.clone(), Event::Seen(Seen::No)]));
    assert!(matches!(run.stage, Stage::Held { .. }));
    let safe = Order { rerun: Rerun::Safe, ..order() };
    let mut events = with(&[gone.clone(), Event::Seen(Seen::No), Event::Due]);
    let (run, _) = after(safe.clone(), &events);
    assert_eq!(run.stage, Stage::Looking);
    events.extend(with(&[gone, Event::Seen(Seen::No)]));
    let (run, _) = after(safe, &events);
    assert!(matches!(run.stage, Stage::Held { .. }), "cut off twice: {run:?}");
}

#[test]
fn q292261_what_is_done_after_a_restart_is_said_after_it_once() {
    let restart = [Event::Ended(exit(ExitMeaning::Restart)), Event::Seen(Seen::No)];
    let (run, words) = after(order(), &with(&restart));
    assert!(matches!(run.stage, Stage::Restarting { boot: BOOT, .. }));
    assert_eq!(words, [Word::Starting, Word::Waiting]);
    // The agent alone starts again: nothing changes.
    let (same, effects) = run.next(Event::Woke(None), now(1), 0).unwrap();
    assert_eq!((&same, effects.len()), (&run, 0));
    let (run, _) = run.next(Event::Woke(None), now(2), 0).unwrap();
    let (run, effects) = run.next(Event::Seen(Seen::Yes), now(2), 0).unwrap();
    assert_eq!(label(&run), None);
    assert_eq!(said(&effects), [Word::Done]);
}

#[test]
fn q229809_where_history_is_lost_nothing_runs_that_is_not_looked_for() {
    let answers = [Seen::No, Seen::NoRule, Seen::Unclear("no disk".into())];
    for seen in answers {
        let (run, _) = Run::begin(order(), true);
        let (run, effects) = run.next(Event::Seen(seen), now(1), 0).unwrap();
        assert!(matches!(run.stage, Stage::Held { .. }));
        assert!(!effects.contains(&Effect::Start));
    }
    let (run, _) = Run::begin(order(), true);
    let (run, _) = run.next(Event::Seen(Seen::Yes), now(1), 0).unwrap();
    assert_eq!(label(&run), Some(Label::HistoryLost));
    // Held, and somebody decides: it runs.
    let (run, _) = Run::begin(order(), true);
    let (run, _) = run.next(Event::Seen(Seen::No), now(1), 0).unwrap();
    let (run, _) = run.next(Event::Again, now(1), 0).unwrap();
    let (_, effects) = run.next(Event::Seen(Seen::No), now(1), 0).unwrap();
    assert!(effects.contains(&Effect::Start));
}

#[test]
fn a_permit_that_was_taken_back_costs_no_attempt() {
    let (run, _) = after(order(), &[Event::Seen(Seen::No)]);
    let (again, effects) = run.next(Event::Woke(Some(Found::NeverBegan)), now(2), 0).unwrap();
    assert_eq!((again, effects), (run, vec![Effect::Start]));
}

#[test]
fn a_pause_counts_from_the_start_after_a_restart() {
    let since = Now { boot: BootId(1), at: 500_000 };
    assert_eq!(since.left(1000, Now { boot: BootId(1), at: 500_400 }), 600);
    assert_eq!(since.left(1000, Now { boot: BootId(2), at: 400 }), 600);
    assert_eq!(since.left(1000, Now { boot: BootId(2), at: 5000 }), 0);
}
