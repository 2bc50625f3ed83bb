//! Events of many threads, decided over by whoever has the desk, and how the database is.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use policy::{Effect, Event};
use serde_json::json;

use crate::{Server, SiteError, StorageError, copy::sentence, desk::Facts, server::log};

/// Where what follows from a waiting event will be.
pub(crate) type Answer = Arc<Mutex<Option<Result<Vec<Effect>, SiteError>>>>;

impl Server {
    /// Decides over an event. What follows is durable, and still to be carried out. Events of several threads that wait
    /// for the database share a transaction: whoever has the desk decides over all of them.
    pub(crate) fn decide(&self, event: Event, facts: Facts) -> Result<Vec<Effect>, SiteError> {
        let answer = Answer::default();
        self.queue().push((event, facts, Arc::clone(&answer)));
        let mut desk = self.desk();
        let taken = |answer: &Answer| answer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(decided) = taken(&answer) {
            return decided;
        }
        let (events, answers): (Vec<_>, Vec<Answer>) = std::mem::take(&mut *self.queue())
            .into_iter()
            .map(|(event, facts, answer)| ((event, facts), answer))
            .unzip();
        let epoch = desk.site().epoch();
        let decided = desk.events(events);
        self.note_database(decided.as_ref().err());
        let decided = decided.and_then(|all| {
            if desk.site().epoch() != epoch {
                self.folder().note_epoch(desk.site().epoch())?;
            }
            Ok(all)
        });
        let mut all: Vec<Result<Vec<Effect>, SiteError>> = match decided {
            Ok(all) => all.into_iter().map(|one| one.map_err(SiteError::from)).collect(),
            Err(error) => {
                let others = (1..answers.len()).map(|_| Err(error.for_another())).collect();
                let mut all: Vec<_> = others;
                all.push(Err(error));
                all
            }
        };
        for answer in answers.iter().rev() {
            *answer.lock().unwrap_or_else(PoisonError::into_inner) = all.pop();
        }
        self.changed.notify_all();
        // A panic in the middle of somebody's batch leaves nothing; the tables are as before.
        taken(&answer).unwrap_or(Err(StorageError::Overtaken.into()))
    }

    fn queue(&self) -> MutexGuard<'_, Vec<(Event, Facts, Answer)>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An event nobody waits for. If it is refused, its time was over, and that is said; if the database is gone, the
    /// lease runs out.
    pub(crate) fn tell(self: &Arc<Self>, event: Event) -> bool {
        match self.event(event) {
            // Of the database is told once, and in the status.
            Ok(()) | Err(SiteError::Storage(_)) => true,
            Err(SiteError::Refused(_)) => false,
            Err(error) => {
                log("failed", &json!({ "error": sentence(&error) }));
                true
            }
        }
    }

    /// What became of the last transaction.
    pub(crate) fn note_database(&self, error: Option<&SiteError>) {
        let now = match error {
            Some(SiteError::Storage(error)) => Some(sentence(error)),
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
