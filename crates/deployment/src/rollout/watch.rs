use policy::Moment;
use serde::{Deserialize, Serialize};

use super::{ClientResult, Rollout, RolloutCourse, RolloutTally};
use crate::ClientId;

/// What is known of a rollout on one client: that it was offered, and what the client said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Offer {
    /// When the rollout began that was offered.
    of: Moment,
    /// When the client fetched a document in which its gate was open.
    offered: Moment,
    /// What it said last.
    pub(super) result: Option<ClientResult>,
    /// When it said so.
    reported: Moment,
    /// The round it was in then.
    pub(super) round: u32,
    /// How many waves were open then.
    pub(super) wave: usize,
    /// How often the rollout had been resumed by then.
    pub(super) resumed: u32,
}

/// An offer, and how its client is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Watch {
    pub(super) offer: Offer,
    /// When the client was heard of last.
    heard: Moment,
    /// Whether it counts among those who had not been heard of when somebody looked.
    is_silent: bool,
    /// Whether it counts among those who had.
    has_answered: bool,
}

impl Watch {
    pub(super) fn forgive(&mut self) {
        (self.is_silent, self.has_answered) = (false, false);
    }

    /// Heard of after its last word: nothing more is to be feared.
    fn is_over(&self, course: &RolloutCourse, client: ClientId) -> bool {
        course.result(client, self.offer).is_some() && self.heard > self.offer.reported
    }
}

impl RolloutTally {
    /// The tally after one client's part of it changed.
    pub(super) fn with(self, before: Option<Self>, after: Self) -> Self {
        let before = before.unwrap_or_default();
        let changed = |all: u32, before: u32, after: u32| (all + after).saturating_sub(before);
        Self {
            offered: changed(self.offered, before.offered, after.offered),
            succeeded: changed(self.succeeded, before.succeeded, after.succeeded),
            failed: changed(self.failed, before.failed, after.failed),
            answered: self.answered,
            silent: self.silent,
            forgiven_failures: changed(
                self.forgiven_failures,
                before.forgiven_failures,
                after.forgiven_failures,
            ),
            forgiven_successes: changed(
                self.forgiven_successes,
                before.forgiven_successes,
                after.forgiven_successes,
            ),
            in_wave: changed(self.in_wave, before.in_wave, after.in_wave),
        }
    }
}

impl Rollout {
    /// A client learns of it; from now on it is listened for. Nothing, where it had.
    pub(super) fn offered(&self, client: ClientId, now: Moment) -> Option<Offer> {
        if self.clients.contains_key(&client) {
            return None;
        }
        Some(Offer {
            of: self.course.began,
            offered: now,
            result: None,
            reported: now,
            round: self.course.round_of(client),
            wave: self.course.open,
            resumed: self.course.resumed,
        })
    }

    /// A client says how it went. Nothing, where that is no news.
    pub(super) fn reported(
        &self,
        client: ClientId,
        result: ClientResult,
        now: Moment,
    ) -> Option<Offer> {
        let known = self.clients.get(&client).map(|watch| watch.offer);
        let was = known.and_then(|offer| self.course.result(client, offer));
        if was == Some(result) || was == Some(ClientResult::Succeeded) {
            // A late word about an earlier attempt takes nothing back.
            return None;
        }
        Some(Offer {
            of: self.course.began,
            offered: known.map_or(now, |offer| offer.offered),
            result: Some(result),
            reported: now,
            round: self.course.round_of(client),
            wave: self.course.open,
            resumed: self.course.resumed,
        })
    }

    /// What became known of a client, here or elsewhere. An offer of an earlier rollout of the same name counts for nothing.
    pub fn take_offer(&mut self, client: ClientId, offer: Offer) {
        if offer.of != self.course.began {
            return;
        }
        let before = self.clients.get(&client).map(|watch| self.course.count(client, watch.offer));
        self.tally = self.tally.with(before, self.course.count(client, offer));
        if let Some(watch) = self.clients.get_mut(&client) {
            watch.offer = offer;
        } else {
            let (heard, is_silent, has_answered) = (offer.offered, false, false);
            self.clients.insert(client, Watch { offer, heard, is_silent, has_answered });
            self.looks.insert((offer.offered + self.course.silence(), client));
        }
        self.hear(client, offer.reported);
    }

    /// What is known of a client.
    pub fn offer(&self, client: ClientId) -> Option<Offer> {
        self.clients.get(&client).map(|watch| watch.offer)
    }

    /// What a client said last; nothing, where it is to try again.
    pub fn result_of(&self, client: ClientId) -> Option<ClientResult> {
        self.course.result(client, self.offer(client)?)
    }

    /// Of whom anything is known.
    pub fn clients(&self) -> impl Iterator<Item = ClientId> {
        self.clients.keys().copied()
    }

    /// Whether anybody is listened for.
    pub fn is_listening(&self) -> bool {
        !self.looks.is_empty()
    }

    /// A client was heard of, here or elsewhere, at that moment.
    pub fn hear(&mut self, client: ClientId, at: Moment) {
        let silence = self.course.silence();
        let Some(watch) = self.clients.get_mut(&client) else { return };
        if at <= watch.heard {
            return;
        }
        watch.heard = at;
        if std::mem::take(&mut watch.is_silent) {
            watch.has_answered = true;
            self.tally.silent -= 1;
            self.tally.answered += 1;
            self.looks.insert((at + silence, client));
        }
    }

    /// Until that moment the site could hear nobody: from then on everybody has as long as ever.
    pub fn was_deaf(&mut self, until: Moment) {
        let earliest = until + self.course.silence();
        let looks = std::mem::take(&mut self.looks);
        self.looks = looks.into_iter().map(|(at, client)| (at.max(earliest), client)).collect();
        for watch in self.clients.values_mut() {
            watch.heard = watch.heard.max(until);
        }
    }

    /// Looks for those whose time has come by then: up to that moment, all who were heard of are known.
    pub fn look(&mut self, through: Moment) {
        let silence = self.course.silence();
        while let Some((_, client)) = self.looks.first().filter(|(at, _)| *at <= through).copied() {
            self.looks.pop_first();
            let Some(watch) = self.clients.get_mut(&client) else { continue };
            let is_over = watch.is_over(&self.course, client);
            let again = watch.heard + silence;
            if is_over || again > through {
                if !std::mem::replace(&mut watch.has_answered, true) {
                    self.tally.answered += 1;
                }
                if !is_over {
                    self.looks.insert((again, client));
                }
            } else if !watch.is_silent && again > self.course.resumed_at {
                watch.is_silent = true;
                self.tally.silent += 1;
                self.tally.answered -= u32::from(std::mem::take(&mut watch.has_answered));
            }
        }
    }

    /// The tally, counted anew.
    pub(super) fn tally_by(&self, course: &RolloutCourse) -> RolloutTally {
        let mut tally = RolloutTally::default();
        for (client, watch) in &self.clients {
            tally = tally.with(None, course.count(*client, watch.offer));
            tally.silent += u32::from(watch.is_silent);
            tally.answered += u32::from(watch.has_answered);
        }
        tally
    }
}
