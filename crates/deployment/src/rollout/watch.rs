use policy::Moment;
use serde::{Deserialize, Serialize};

use super::{ClientResult, Rollout, RolloutEffect};
use crate::ClientId;

/// What is known of a client it was offered to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Watch {
    /// When it was offered.
    offered: Moment,
    /// When the client was heard of last.
    heard: Moment,
    /// What it said.
    pub(super) result: Option<ClientResult>,
    /// When it said so.
    reported: Moment,
    /// Whether it counts among those who had not been heard of when somebody looked.
    pub(super) is_silent: bool,
    /// Whether it counts among those who had.
    pub(super) has_answered: bool,
}

impl Watch {
    pub(super) fn shift(&mut self, by: u64) {
        self.offered = self.offered + by;
        self.heard = self.heard + by;
        self.reported = self.reported + by;
    }
}

impl Rollout {
    /// A client learns of it; from now on it is listened for.
    pub(super) fn offered(
        &mut self,
        client: ClientId,
        now: Moment,
        effects: &mut Vec<RolloutEffect>,
    ) {
        if self.clients.contains_key(&client) {
            return self.heard(client, now, effects);
        }
        let watch = Watch {
            offered: now,
            heard: now,
            result: None,
            reported: now,
            is_silent: false,
            has_answered: false,
        };
        self.clients.insert(client, watch);
        self.looks.insert((now + self.plan.halt.silence, client));
        self.tally.offered += 1;
        effects.push(RolloutEffect::Keep);
    }

    /// A client lives. Costs no write but where it had been silent.
    pub(super) fn heard(
        &mut self,
        client: ClientId,
        now: Moment,
        effects: &mut Vec<RolloutEffect>,
    ) {
        let Some(watch) = self.clients.get_mut(&client) else { return };
        watch.heard = now;
        if std::mem::take(&mut watch.is_silent) {
            watch.has_answered = true;
            self.tally.silent -= 1;
            self.tally.answered += 1;
            self.looks.insert((now + self.plan.halt.silence, client));
            effects.push(RolloutEffect::Keep);
        }
    }

    pub(super) fn reported(&mut self, client: ClientId, result: ClientResult, now: Moment) {
        self.offered(client, now, &mut Vec::new());
        let Some(watch) = self.clients.get_mut(&client) else { return };
        let was = watch.result;
        if was == Some(result) || was == Some(ClientResult::Succeeded) {
            // A late word about an earlier attempt takes nothing back.
            return;
        }
        (watch.result, watch.reported) = (Some(result), now);
        if was == Some(ClientResult::Failed) {
            self.tally.failed -= 1;
            self.tally.forgiven_failures = self.tally.forgiven_failures.min(self.tally.failed);
        }
        match result {
            ClientResult::Succeeded => {
                self.tally.succeeded += 1;
                self.successes += 1;
            }
            ClientResult::Failed => self.tally.failed += 1,
            ClientResult::NotApplicable => {}
        }
    }

    /// Looks for those whose time has come; says whether anything was counted.
    pub(super) fn look(&mut self, now: Moment) -> bool {
        let mut counted = false;
        while let Some((_, client)) = self.looks.first().filter(|(at, _)| *at <= now).copied() {
            self.looks.pop_first();
            let Some(watch) = self.clients.get_mut(&client) else { continue };
            let silence = self.plan.halt.silence;
            if watch.heard + silence > now {
                if !std::mem::replace(&mut watch.has_answered, true) {
                    self.tally.answered += 1;
                    counted = true;
                }
                // Heard of after its last word: nothing more is to be feared.
                let is_over = watch.result.is_some() && watch.heard > watch.reported;
                let again = watch.heard + silence;
                if !is_over {
                    self.looks.insert((again, client));
                }
            } else if !watch.is_silent {
                watch.is_silent = true;
                self.tally.silent += 1;
                self.tally.answered -= u32::from(std::mem::take(&mut watch.has_answered));
                counted = true;
            }
        }
        counted
    }
}
