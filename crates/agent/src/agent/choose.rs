//! What begins next: by the policy document, one at a time, and not while another installer is at work.

use std::{collections::BTreeMap, thread};

use deployment::{Action, Gate, Purpose};
use running::{Event, RunId};

use super::{Agent, AgentError, Answer};
use crate::{clock, order, others};

/// What is to be done, as it was decided last.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    /// What is to begin.
    pub(super) start: Option<RunId>,
    /// Milliseconds until something may change without an event.
    pub(super) next: Option<u64>,
    /// What is done instead of a deployment's program.
    pub(super) actions: BTreeMap<RunId, Action>,
    /// What rules answered.
    pub(super) answers: BTreeMap<RunId, bool>,
}

impl Agent {
    /// Begins what is to begin.
    pub(super) fn choose(&mut self) -> Result<(), AgentError> {
        if self.book.under_way().is_some() || self.is_ending {
            self.agenda.start = None;
            self.agenda.next = None;
            return Ok(());
        }
        self.decide();
        let Some(id) = self.agenda.start.clone() else { return Ok(()) };
        if self.blocked.is_some() {
            return Ok(());
        }
        if let Some(busy) = others::busy(&self.root) {
            self.wait_for(busy);
            return Ok(());
        }
        let now = clock::now();
        if let Some(run) = self.book.run(&id) {
            let round = self.deployment(&id).map_or(0, |one| one.retry_round);
            let event = if run.order.round < round { Event::Round(round) } else { Event::Due };
            self.events.push_back((id, event, Vec::new()));
            return Ok(());
        }
        let Some(deployment) = self.deployment(&id) else { return Ok(()) };
        let order = order::order(deployment, self.agenda.actions.get(&id), id);
        match self.book.begin(order, now, clock::wall()) {
            Ok(begun) => self.write(begun),
            Err(refused) => {
                self.note(refused.to_string());
                Ok(())
            }
        }
    }

    fn decide(&mut self) {
        let now = clock::now();
        self.agenda.start = None;
        let waits = self.book.runs().filter_map(|run| Some((run.due(now)?, run.order.id.clone())));
        let (mut next, mut due) = (None, Vec::new());
        for (left, id) in waits {
            if left == 0 {
                due.push(id);
            } else {
                next = Some(next.map_or(left, |next: u64| next.min(left)));
            }
        }
        let Some(document) = &self.document else { return };
        let wanted = document
            .deployments
            .iter()
            .filter(|one| one.purpose == Purpose::Required && one.gate == Gate::Open);
        let new =
            wanted.map(|one| (RunId::of(one.id.as_str()), one.retry_round)).find(|(id, round)| {
                self.book.run(id).is_none_or(|run| run.may_again() && run.order.round < *round)
            });
        self.agenda.start = due.into_iter().next().or(new.map(|(id, _)| id));
        self.agenda.next = next;
    }

    /// Somebody else installs: the kernel says when he is done.
    fn wait_for(&mut self, busy: others::Busy) {
        let (bell, waited) = (self.bell.clone(), busy.clone());
        let thread = thread::Builder::new().name("waiting".to_owned()).stack_size(64 << 10);
        let spawned = thread.spawn(move || {
            bell.ring(Answer::Free(others::wait(&waited).map_err(|error| error.to_string())));
        });
        match spawned {
            Ok(_) => self.blocked = Some((busy, clock::now())),
            Err(error) => self.note(format!("no thread can be started: {error}")),
        }
    }
}
