//! A capture's life, and what it knows of the machine it runs on.

use std::{collections::BTreeMap, fmt};

use model::{MachinePath, Time};
use serde::{Deserialize, Serialize};

/// How a run is observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Observer {
    /// The installer writes to an overlay.
    Overlay,
    /// The machine is scanned before and after.
    Snapshots,
}

/// How far a capture is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// The baseline is being written.
    Begun,
    /// The baseline is whole; the installer may do its work.
    Observing,
    /// The change set is written.
    Finished,
    /// It is being taken away.
    Discarded,
}

/// What moves a capture on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// The baseline is on disk, whole.
    BaselineDone,
    /// The change set is on disk, whole.
    ChangesDone,
    /// Somebody asked to throw the capture away.
    Discard,
}

/// Something that cannot happen in a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a capture that is {state} cannot take `{event}`")]
pub struct Illegal {
    /// The state.
    pub state: State,
    /// The event.
    pub event: Event,
}

impl State {
    /// The state after `event`.
    ///
    /// # Errors
    /// An event that cannot happen now.
    pub fn next(self, event: Event) -> Result<Self, Illegal> {
        match (self, event) {
            (Self::Begun, Event::BaselineDone) => Ok(Self::Observing),
            (Self::Observing, Event::ChangesDone) => Ok(Self::Finished),
            (_, Event::Discard) => Ok(Self::Discarded),
            (state, event) => Err(Illegal { state, event }),
        }
    }

    /// What the capture waits for, and what ends the wait; nothing when it is over.
    pub fn waits_for(self) -> Option<&'static str> {
        match self {
            Self::Begun => Some(
                "its baseline, which was never completed: `packhorse capture discard` ends it, then begin again",
            ),
            Self::Observing => Some(
                "the installer's end: `packhorse capture finish` records what it did, `packhorse capture discard` forgets it",
            ),
            Self::Finished => None,
            Self::Discarded => Some("being taken away: `packhorse capture discard` completes that"),
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Begun => "begun",
            Self::Observing => "observing",
            Self::Finished => "finished",
            Self::Discarded => "discarded",
        })
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BaselineDone => "baseline done",
            Self::ChangesDone => "changes done",
            Self::Discard => "discard",
        })
    }
}

/// What is peculiar to the reference machine, and must not leak into a package.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Facts {
    /// The unmistakable host name the installer saw; the real one where it ran in no namespace.
    pub host_name: String,
    /// The machine's own host name.
    pub real_host_name: String,
    /// The root's machine id, and the one of the machine we run on.
    pub machine_ids: Vec<String>,
    /// Its addresses in the network.
    pub addresses: Vec<String>,
    /// Its network cards' addresses.
    pub hardware_addresses: Vec<String>,
    /// The root's accounts.
    pub users: Vec<UserFact>,
    /// The user who started the capture, by environment or `sudo`.
    pub user: Option<String>,
    /// The current start of the machine.
    pub boot_id: String,
    /// Where temporary files are made.
    pub temporary_folders: Vec<MachinePath>,
    /// The kernel's release.
    pub kernel: String,
    /// The root's `os-release`.
    pub os_release: BTreeMap<String, String>,
}

/// An account of the reference machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserFact {
    /// Its name.
    pub name: String,
    /// Its number.
    pub uid: u32,
    /// Its group's number.
    pub gid: u32,
    /// Its home folder.
    pub home: MachinePath,
}

/// One line of a capture's journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalLine {
    /// What happened.
    pub event: Event,
    /// When.
    pub at: Time,
}

#[cfg(test)]
mod tests {
    use super::{Event, State};

    #[test]
    fn a_capture_is_begun_observed_and_finished() {
        let state = State::Begun.next(Event::BaselineDone).unwrap();
        assert_eq!(state.next(Event::ChangesDone), Ok(State::Finished));
        assert_eq!(state.next(Event::Discard), Ok(State::Discarded));
        insta::assert_snapshot!(
            State::Begun.next(Event::ChangesDone).unwrap_err(),
            @"a capture that is begun cannot take `changes done`"
        );
    }
}
