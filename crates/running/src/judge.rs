//! How an end and what the detection rule says become a result. A rule beats an exit code, both ways.

use model::ExitMeaning;

use crate::{Cause, Effect, End, Label, Now, Outcome, Question, Rerun, Run, Seen};

/// Another installer was at work: this long until it is tried again, in milliseconds. No attempt is spent.
const BUSY: u64 = 30_000;

pub(crate) fn judge(run: Run, end: End, seen: Seen, now: Now, dice: u64) -> (Run, Vec<Effect>) {
    let is_owed = matches!(end, End::Exit { meaning: ExitMeaning::Restart, .. });
    // What is done before the machine has restarted owes that, however it was found out.
    let after = run.order.restart_after;
    let done = Outcome::Done { restart: (is_owed || after).then_some(now.boot) };
    let found = Outcome::Done { restart: after.then_some(now.boot) };
    let again = (run.interrupted > 0).then_some(Label::RanAgain);
    match (&end, seen) {
        (End::Interrupted { .. }, seen) => interrupted(run, end, seen, now, dice),
        (End::NotApplicable { .. }, Seen::No | Seen::NoRule | Seen::Unclear(_)) => {
            let evidence = end.to_string();
            run.finish(Outcome::NotApplicable, None, &evidence)
        }
        // Nothing of it ran, whatever is there.
        (End::NotStarted { .. }, _) => run.again_later(Cause::Ended(end), now, dice),
        (End::Busy { .. }, _) => {
            let free = run.free + 1;
            Run { free, ..run }.pause(Cause::Ended(end), BUSY, now)
        }
        (
            End::Exit { meaning: ExitMeaning::Done | ExitMeaning::Restart, .. },
            Seen::Yes | Seen::NoRule,
        ) => {
            let evidence = end.to_string();
            run.finish(done, again, &evidence)
        }
        // It may only be seen when the machine has restarted.
        (End::Exit { meaning: ExitMeaning::Restart, .. }, Seen::No) => run.restart(end, now),
        (End::Exit { meaning: ExitMeaning::Done, .. }, Seen::No) => {
            run.again_later(Cause::NotFoundAfter(end), now, dice)
        }
        (
            End::Exit { meaning: ExitMeaning::Done | ExitMeaning::Restart, .. },
            Seen::Unclear(why),
        ) => run.again_later(Cause::Unclear(why), now, dice),
        (_, Seen::Yes) => {
            let evidence = end.to_string();
            run.finish(found, Some(Label::ExitOverruled), &evidence)
        }
        (_, Seen::No | Seen::NoRule | Seen::Unclear(_)) => {
            run.again_later(Cause::Ended(end), now, dice)
        }
    }
}

/// It began, and nobody knows how it ended.
fn interrupted(run: Run, end: End, seen: Seen, now: Now, dice: u64) -> (Run, Vec<Effect>) {
    let restarted = matches!(end, End::Interrupted { restarted: true });
    let after = run.order.restart_after && !restarted;
    let found = Outcome::Done { restart: after.then_some(now.boot) };
    let as_said = run.order.restarts && restarted;
    match seen {
        Seen::Yes => {
            let label = if as_said { Label::RestartedAsSaid } else { Label::Recovered };
            run.finish(found, Some(label), "its detection rule finds it")
        }
        Seen::NoRule if as_said => {
            run.finish(Outcome::Done { restart: None }, Some(Label::RestartedAsSaid), "")
        }
        // Once more, if that does no harm; not again and again.
        Seen::No | Seen::NoRule if run.order.rerun == Rerun::Safe && run.interrupted <= 1 => {
            let pause = run.order.pauses.after(1, dice);
            let free = run.free + 1;
            Run { free, ..run }.pause(Cause::Ended(end), pause, now)
        }
        seen => run.hold(Question::Interrupted { seen }),
    }
}
