//! What the agent and its site say to each other, and the agent and its guardian.

use std::time::Duration;

use deployment::ClientSettings;
use running::{Proof, Said, Word};

use super::{Agent, AgentError, machine};
use crate::{
    clock,
    site::{Asking, SiteError},
    site_line::{PARCEL, SiteAnswer},
};

/// A site that did not answer once is asked again after twice so many milliseconds at most, and half of that at least.
const PATIENCE: u64 = 60_000;
/// One that refuses is asked again after so many milliseconds at least, and twice as many at most: somebody has to do something
/// first, and says so (`packhorse-agent check-in`, `enroll`).
const REFUSED: u64 = 3_600_000;

/// Milliseconds until one that refused is asked again.
fn refused(dice: u64) -> u64 {
    REFUSED + dice % REFUSED
}

impl Agent {
    /// Asks the site what is due, delivers what waits.
    pub(super) fn speak(&mut self) -> Result<(), AgentError> {
        let speaking = machine("speaking with the site");
        if self.site.is_busy() {
            return Ok(());
        }
        if self.ask_at <= clock::steady() {
            let known = self.document.as_ref().map(|document| document.stamp);
            let asking = Asking { known, series: self.book.series(), boot: clock::boot().0 };
            return self.site.check_in(asking).map_err(speaking);
        }
        // One that did not answer is not asked again and again.
        let messages: Vec<_> = self.book.messages().take(PARCEL).cloned().collect();
        if self.failures == 0 && !messages.is_empty() && self.asked.is_some() {
            return self.site.deliver(messages).map_err(speaking);
        }
        if self.inventory_in() == Some(0) {
            let (root, kept) = (self.root.clone(), self.state.inventory());
            self.site.deliver_inventory(root, kept).map_err(speaking)?;
        }
        Ok(())
    }

    /// Milliseconds until the site is to hear what is on this machine; never, where it does not want to, or does not answer.
    pub(super) fn inventory_in(&self) -> Option<u64> {
        let answers = self.failures == 0 && self.asked.is_some();
        let at = self.inventory_at.filter(|_| answers)?;
        Some(at.saturating_sub(clock::steady()))
    }

    pub(super) fn answered(&mut self, answer: SiteAnswer) -> Result<(), AgentError> {
        self.site.answered();
        let now = clock::steady();
        match answer {
            SiteAnswer::CheckedIn(Ok(check_in)) => {
                self.failures = 0;
                self.asked = Some((now, None));
                let next = check_in.next.and_then(|next| u64::try_from(next.as_millis()).ok());
                self.ask_at = now.saturating_add(next.unwrap_or(self.every()).max(1000));
                self.ask_at_once();
                self.agenda.ask_again();
                self.heard(check_in.heard)?;
                if let Some(sent) = check_in.document {
                    self.take_document(&sent)?;
                }
                self.prove_life(Proof::Site);
            }
            SiteAnswer::Delivered(Ok(through)) if through > self.book.sequences().1 => {
                self.failures = 0;
                let entry = self.book.delivered(through);
                self.write((entry, Vec::new()))?;
                // What was run may have changed what is here.
                self.inventory_at = self.inventory_at.map(|_| now);
            }
            SiteAnswer::Inventoried(Ok(())) => {
                let settings = self.document.as_ref().map(|document| &document.settings);
                let every =
                    settings.map_or(ClientSettings::default().inventory, |one| one.inventory);
                self.inventory_at = Some(now.saturating_add(u64::from(every.max(60)) * 1000));
            }
            // It is asked again like one that did not answer, or it would be asked for ever.
            SiteAnswer::Delivered(Ok(_)) => {
                self.unanswered(
                    None,
                    self.every(),
                    "the site took in no message of those it was sent".to_owned(),
                );
            }
            SiteAnswer::CheckedIn(Err(error))
            | SiteAnswer::Delivered(Err(error))
            | SiteAnswer::Inventoried(Err(error)) => {
                let after = match &error {
                    SiteError::Unreachable { retry_after, .. } => *retry_after,
                    SiteError::Refused { .. } => {
                        Some(Duration::from_millis(refused(clock::dice())))
                    }
                };
                self.unanswered(after, self.every(), error.to_string());
            }
        }
        Ok(())
    }

    /// The site is asked again after a pause that grows and is spread, or when it says.
    fn unanswered(&mut self, after: Option<Duration>, longest: u64, why: String) {
        self.failures = self.failures.saturating_add(1);
        let now = clock::steady();
        let top = (PATIENCE << self.failures.min(10)).min(longest.max(PATIENCE));
        let pause = after.and_then(|after| u64::try_from(after.as_millis()).ok());
        let pause = pause.unwrap_or_else(|| top / 2 + clock::dice() % (top / 2));
        self.ask_at = now.saturating_add(pause.max(1000));
        self.asked = Some((now, Some(why)));
        self.ask_at_once();
    }

    /// Somebody wanted it asked while it was answering.
    fn ask_at_once(&mut self) {
        if std::mem::take(&mut self.is_asked_again) {
            self.ask_at = clock::steady();
        }
    }

    /// Milliseconds between check-ins, unless the site says otherwise.
    fn every(&self) -> u64 {
        let settings = self.document.as_ref().map(|document| &document.settings);
        u64::from(settings.map_or(ClientSettings::default().check_in, |one| one.check_in)) * 1000
    }

    /// The site knows more of us than we do: our history is an older one that was put back.
    fn heard(&mut self, heard: Option<(u64, u64)>) -> Result<(), AgentError> {
        let (given, _) = self.book.sequences();
        let Some((_, heard)) =
            heard.filter(|(series, heard)| *series == self.book.series() && *heard > given)
        else {
            return Ok(());
        };
        let cause = format!(
            "the site has message {heard} of this machine, and its history ends at {given}"
        );
        let entry = self.book.lost(&cause, clock::dice(), clock::now(), clock::wall());
        self.write((entry, Vec::new()))
    }

    /// Shows the guardian that this version lives.
    pub(super) fn prove_life(&mut self, proof: Proof) {
        let Some(home) = self.home.clone() else { return };
        if let Err(error) = home.prove(proof) {
            self.note(format!("the guardian cannot be told that we live: {error}"));
        }
    }

    /// What came of an upgrade is told, once it is over.
    pub(super) fn tell_verdict(&mut self) -> Result<(), AgentError> {
        let Some(home) = self.home.clone() else { return Ok(()) };
        let Some(verdict) = home.verdict() else { return Ok(()) };
        let (word, next) = if verdict.is_at_work {
            (Word::Upgraded, "")
        } else {
            (Word::UpgradeTakenBack, "the version before goes on")
        };
        let said = Said {
            word,
            run: None,
            attempt: 0,
            cause: verdict.to_string().into(),
            evidence: verdict.to.digest.to_string().into(),
            next: next.into(),
        };
        let entry = self.book.tell(said, clock::now(), clock::wall());
        self.write((entry, Vec::new()))?;
        home.forget_verdict().map_err(machine("forgetting what came of an upgrade"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever the dice say: who was refused asks no more than once an hour, and not all ask at once.
    #[test]
    fn q230242_who_is_refused_asks_once_an_hour_at_most() {
        let pauses: std::collections::BTreeSet<u64> =
            (0..1000).map(|dice| refused(dice * 7_919_993)).collect();
        assert!(pauses.iter().all(|pause| (3_600_000..7_200_000).contains(pause)));
        assert!(pauses.len() > 900, "they are spread");
    }
}
