//! The policy document in force. What cannot be read changes nothing (law 3).

use deployment::{Memory, PolicyDocument, remember};
use running::{Said, Word};

use super::{Agent, AgentError};
use crate::{by_hand, clock, durable, identity::Identity, site::Sent, state::StateFolder};

/// The document and the memory as they were kept, and what was wrong with them.
pub(super) fn load(
    state: &StateFolder,
    identity: &Identity,
) -> (Option<PolicyDocument>, Memory, Vec<String>) {
    let mut notes = Vec::new();
    let document = match durable::read(&state.policy()) {
        Ok(None) => None,
        Ok(Some(bytes)) => match PolicyDocument::read(&bytes, identity.client, &identity.site) {
            Ok(document) => Some(document),
            Err(error) => {
                notes.push(error.to_string());
                None
            }
        },
        Err(error) => {
            notes.push(format!("`{}`: {error}", state.policy().display()));
            None
        }
    };
    let memory = match durable::read(&state.memory()) {
        Ok(bytes) => {
            bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
        }
        Err(error) => {
            notes.push(format!("`{}`: {error}", state.memory().display()));
            Memory::new()
        }
    };
    (document, memory, notes)
}

impl Agent {
    /// A document came: read, kept, and then in force; or refused, with the reason.
    pub(super) fn take_document(&mut self, sent: Sent) -> Result<(), AgentError> {
        let read = match sent {
            Sent::Bytes(bytes) => {
                PolicyDocument::read(&bytes, self.identity.client, &self.identity.site)
                    .map_err(|error| error.to_string())
            }
            Sent::ByHand(text) => by_hand::read(&text, self.identity.client, &self.identity.site),
        };
        let document = match read {
            Ok(document) => document,
            Err(reason) => return self.refuse(None, reason),
        };
        if document.follows(self.document.as_ref().map(|held| held.stamp)).is_err() {
            return Ok(());
        }
        let mut memory = self.memory.clone();
        remember(&mut memory, &document);
        let kept = durable::write(&self.state.policy(), &document.write()).and_then(|()| {
            durable::write(&self.state.memory(), &serde_json::to_vec(&memory).unwrap_or_default())
        });
        if let Err(error) = kept {
            return self.refuse(None, format!("it cannot be kept: {error}"));
        }
        self.memory = memory;
        for one in &document.quarantined {
            self.refuse(Some(&one.name), one.reason.clone())?;
        }
        self.document = Some(document);
        self.agenda.forget();
        Ok(())
    }

    /// Says that a document, or an item of it, cannot be used; once.
    fn refuse(&mut self, item: Option<&str>, reason: String) -> Result<(), AgentError> {
        let (cause, next) = match item {
            Some(item) => {
                (format!("deployment `{item}` cannot be read: {reason}"), "all others go on")
            }
            None => {
                (format!("the policy document cannot be used: {reason}"), "what was in force stays")
            }
        };
        let known = self.book.messages().any(|message| *message.said.cause == *cause);
        self.note(cause.clone());
        if known {
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
