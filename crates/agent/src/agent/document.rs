//! The policy document in force. What cannot be read changes nothing (law 3).

use deployment::{ItemKind, Memory, PolicyDocument, remember};
use running::{Said, Word};

use super::{Agent, AgentError, machine};
use crate::{by_hand, clock, durable, identity::Identity, state::StateFolder};

/// The document and the memory as they were kept, and what was wrong with them.
pub(super) fn load(
    state: &StateFolder,
    identity: &Identity,
) -> (Option<PolicyDocument>, Memory, Vec<String>) {
    let mut notes = Vec::new();
    let document = match durable::read(&state.policy()) {
        Ok(None) => None,
        Ok(Some(bytes)) => match read(&bytes, identity) {
            Ok(document) => Some(document),
            Err(reason) => {
                notes.push(format!("`{}`: {reason}", state.policy().display()));
                None
            }
        },
        Err(error) => {
            notes.push(format!("`{}`: {error}", state.policy().display()));
            None
        }
    };
    let memory = durable::read(&state.memory()).and_then(|bytes| match bytes {
        Some(bytes) => serde_json::from_slice(&bytes).map_err(std::io::Error::other),
        None => Ok(Memory::new()),
    });
    let mut memory = memory.unwrap_or_else(|error| {
        let text = "what was deployed before is not known, and is not taken away";
        notes.push(format!("`{}`: {error}; {text}", state.memory().display()));
        Memory::new()
    });
    // A crash may have come between the document and the memory of it.
    if let Some(document) = &document {
        remember(&mut memory, document);
    }
    (document, memory, notes)
}

/// Reads a document as sites write it, or as people do.
fn read(bytes: &[u8], identity: &Identity) -> Result<PolicyDocument, String> {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.trim_start().starts_with('{') => {
            by_hand::read(text, identity.client, &identity.site)
        }
        _ => PolicyDocument::read(bytes, identity.client, &identity.site)
            .map_err(|error| error.to_string()),
    }
}

impl Agent {
    /// A document came: read, kept as it came, and then in force; or refused, with the reason. What in it cannot be read is no
    /// less there after the next start.
    pub(super) fn take_document(&mut self, sent: &[u8]) -> Result<(), AgentError> {
        let document = match read(sent, &self.identity) {
            Ok(document) => document,
            Err(reason) => return self.refuse(None, reason),
        };
        if let Err(stale) = document.follows(self.document.as_ref().map(|held| held.stamp)) {
            // The same again is no news. Other words with an old number are a mistake somebody wants to know of.
            if durable::read(&self.state.policy()).is_ok_and(|held| held.as_deref() != Some(sent)) {
                self.note(format!("{stale}: what was changed in it counts once its number rises"));
            }
            return Ok(());
        }
        let mut memory = self.memory.clone();
        remember(&mut memory, &document);
        let kept = durable::write(&self.state.policy(), sent).and_then(|()| {
            durable::write(&self.state.memory(), &serde_json::to_vec(&memory).unwrap_or_default())
        });
        if let Err(error) = kept {
            // The site is asked for it again, once there is room.
            if durable::is_full(&error) {
                return Err(machine("keeping the policy document")(error));
            }
            return self.refuse(None, format!("it cannot be kept: {error}"));
        }
        self.memory = memory;
        self.refused.clear();
        for one in &document.quarantined {
            let kind = match one.kind {
                ItemKind::Deployment => "deployment",
                ItemKind::Window => "window",
            };
            self.refuse(Some(&format!("{kind} `{}`", one.name)), one.reason.clone())?;
        }
        self.document = Some(document);
        self.agenda.forget();
        Ok(())
    }

    /// Says that a document, or an item of it, cannot be used; once.
    fn refuse(&mut self, item: Option<&str>, reason: String) -> Result<(), AgentError> {
        let (cause, next) = match item {
            Some(item) => (format!("{item} cannot be read: {reason}"), "all others go on"),
            None => {
                (format!("the policy document cannot be used: {reason}"), "what was in force stays")
            }
        };
        self.note(cause.clone());
        if !self.refused.insert(cause.clone()) {
            return Ok(());
        }
        let said = Said {
            word: Word::Refused,
            run: None,
            attempt: 0,
            cause: cause.into(),
            evidence: Box::default(),
            next: next.into(),
        };
        let entry = self.book.tell(said, clock::now(), clock::wall());
        self.write((entry, Vec::new()))
    }
}
