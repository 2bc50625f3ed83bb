//! Events of many threads, decided over by whoever has the desk, and how the database is.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, atomic::Ordering};

use policy::{Effect, Event};
use serde_json::json;

use crate::{Decided, Desk, Facts, Server, SiteError, StorageError, server::log};

/// Where what follows from a waiting event will be.
type Answer = Arc<Mutex<Option<Result<Vec<Effect>, SiteError>>>>;
type Batch = Result<Vec<Decided>, SiteError>;

/// A desk for many threads: events that wait for the database share a transaction.
pub struct Decider {
    desk: Mutex<Desk>,
    queue: Mutex<Queue>,
    /// There are answers, and somebody else may decide.
    decided: Condvar,
}

#[derive(Default)]
struct Queue {
    events: Vec<(Event, Facts, Answer)>,
    /// Somebody is deciding: who comes meanwhile waits, for the answer or for the turn.
    is_led: bool,
}

/// The turn of one thread; whatever becomes of it, another may decide afterwards.
struct Turn<'d>(&'d Decider);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.queue().is_led = false;
        self.0.decided.notify_all();
    }
}

impl Decider {
    /// A desk nobody else has.
    pub fn new(desk: Desk) -> Self {
        Self { desk: Mutex::new(desk), queue: Mutex::default(), decided: Condvar::new() }
    }

    /// The desk, alone. A panic in the middle of an event leaves its generation unknown, and the tables are read again.
    pub fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What follows from an event; it is durable, and still to be carried out. Who has the turn decides over all events
    /// that wait, and `settle` is called by that one for all of them.
    pub fn decide(
        &self,
        event: Event,
        facts: Facts,
        settle: impl FnOnce(&Desk, Batch) -> Batch,
    ) -> Result<Vec<Effect>, SiteError> {
        let answer = Answer::default();
        let taken = |answer: &Answer| answer.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut queue = self.queue();
        queue.events.push((event, facts, Arc::clone(&answer)));
        while queue.is_led {
            queue = self.decided.wait(queue).unwrap_or_else(PoisonError::into_inner);
            if let Some(decided) = taken(&answer) {
                return decided;
            }
        }
        queue.is_led = true;
        let (events, answers): (Vec<_>, Vec<Answer>) = std::mem::take(&mut queue.events)
            .into_iter()
            .map(|(event, facts, answer)| ((event, facts), answer))
            .unzip();
        drop(queue);
        let turn = Turn(self);
        let mut desk = self.desk();
        let decided = desk.events(events);
        let mut all: Vec<Result<Vec<Effect>, SiteError>> = match settle(&desk, decided) {
            Ok(all) => all.into_iter().map(|one| one.map_err(SiteError::from)).collect(),
            Err(error) => {
                let others = (1..answers.len()).map(|_| Err(error.for_another())).collect();
                let mut all: Vec<_> = others;
                all.push(Err(error));
                all
            }
        };
        drop(desk);
        for answer in answers.iter().rev() {
            *answer.lock().unwrap_or_else(PoisonError::into_inner) = all.pop();
        }
        drop(turn);
        // Somebody's panic leaves nothing; the tables are as before.
        taken(&answer).unwrap_or(Err(StorageError::Overtaken.into()))
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Server {
    /// Decides over an event. What follows is durable, and still to be carried out.
    pub(crate) fn decide(&self, event: Event, facts: Facts) -> Result<Vec<Effect>, SiteError> {
        let decided = self.decider.decide(event, facts, |desk, decided| {
            self.note_database(decided.as_ref().err());
            let all = decided?;
            if desk.site().epoch() != self.epoch.load(Ordering::Relaxed) {
                self.folder().note_epoch(desk.site().epoch())?;
                self.epoch.store(desk.site().epoch(), Ordering::Relaxed);
            }
            Ok(all)
        });
        self.changed.notify_all();
        decided
    }

    /// An event nobody waits for. If it is refused, its time was over, and that is said; if the database is gone, the
    /// lease runs out.
    pub(crate) fn tell(self: &Arc<Self>, event: Event) -> bool {
        match self.event(event) {
            // Of the database is told once, and in the status.
            Ok(()) | Err(SiteError::Storage(_)) => true,
            Err(SiteError::Refused(_)) => false,
            Err(error) => {
                log("failed", &json!({ "error": model::with_causes(&error) }));
                true
            }
        }
    }

    /// What became of the last transaction.
    pub(crate) fn note_database(&self, error: Option<&SiteError>) {
        let now = match error {
            Some(SiteError::Storage(error)) => Some(model::with_causes(error)),
            _ => None,
        };
        let mut known = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        if *known != now {
            match &now {
                Some(why) => log("database-silent", &json!({ "why": why })),
                None => log("database-answers", &json!({})),
            }
            *known = now;
        }
    }

    /// What is wrong with the database, if anything is.
    pub(crate) fn database_trouble(&self) -> Option<String> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
