use jiff::{SignedDuration, Timestamp};

use super::Deciding;
use crate::{Deployment, RunOutcome, RunRecord, Standing, Undecided, Wait, WaitFor};

/// What follows from an earlier run.
pub(super) enum After {
    /// It stands as it is.
    Stays(Standing),
    /// It may run again.
    Again,
}

impl Deciding<'_> {
    /// What follows from a run that did not do what it is for. `detected` is what the detection rule says now.
    pub(super) fn after(
        &self,
        one: &Deployment,
        record: &RunRecord,
        detected: Option<bool>,
    ) -> After {
        if record.round < one.retry_round {
            return After::Again;
        }
        // What is there says nothing about one of many occurrences.
        let detected = detected.filter(|_| one.recurrence.is_none());
        match &record.outcome {
            RunOutcome::NotApplicable => After::Stays(Standing::NotApplicable),
            RunOutcome::Interrupted if detected == Some(true) => After::Again,
            RunOutcome::Interrupted if !one.program.rerunnable => {
                After::Stays(Standing::NeedsDecision(Undecided::Interrupted))
            }
            RunOutcome::Failed { .. } | RunOutcome::Interrupted
                if record.attempts >= one.retry.attempts =>
            {
                let cause = record.cause.clone();
                After::Stays(Standing::GaveUp { attempts: record.attempts, cause })
            }
            RunOutcome::Failed { again } => match self.pause(one, *again) {
                None => After::Again,
                Some(until) => {
                    let wait = WaitFor::Retry {
                        attempts: record.attempts,
                        of: one.retry.attempts,
                        cause: record.cause.clone(),
                    };
                    After::Stays(Standing::Waiting(
                        Wait::on(wait).since(record.at).until(Some(until)),
                    ))
                }
            },
            RunOutcome::Done | RunOutcome::RestartOwed { .. } | RunOutcome::Interrupted => {
                After::Again
            }
        }
    }

    /// The end of a pause, if it is not over. A clock that was set back does not make it longer than it may be.
    fn pause(&self, one: &Deployment, again: Timestamp) -> Option<Timestamp> {
        let longest = SignedDuration::from_secs(one.retry.longest.into());
        let latest = self.now().checked_add(longest).unwrap_or(Timestamp::MAX);
        if again <= self.now() || again > latest {
            return None;
        }
        self.look_at(again);
        Some(again)
    }
}
