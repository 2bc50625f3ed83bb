//! Other processes of the same site: what they write is heard of, and taken into account at once.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use policy::{Phase, Stamp};

use serde_json::json;

use crate::{Desk, Server, SiteError, seal::Seal, server::log, shared, storage::Hearing};

/// A line that says nothing for so long is asked whether it lives.
const PATIENCE: Duration = Duration::from_mins(1);
/// A pause when the database does not answer.
const BREATH: Duration = Duration::from_secs(1);

/// What is compared before and after others wrote.
#[derive(PartialEq, Eq)]
struct Seen {
    down: Stamp,
    up: policy::Exchange,
    addresses: BTreeMap<String, String>,
    files: BTreeMap<String, String>,
}

impl Seen {
    fn by(desk: &Desk) -> Self {
        let facts = |is_one: &dyn Fn(&str) -> bool| {
            let facts = desk.facts().filter(|(name, _)| is_one(name));
            facts.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
        };
        Self {
            down: desk.site().feed_stamp(),
            up: desk.site().exchange(),
            addresses: facts(&|name| name.starts_with("address:")),
            files: facts(&shared::is_file),
        }
    }
}

impl Server {
    /// Listens to the database for as long as the site runs.
    pub(crate) fn hear(self: &Arc<Self>, mut hearing: Box<dyn Hearing>) {
        // What was heard of and could not be read yet: it is said once.
        let mut owed = None;
        while !self.is_stopping() {
            let patience = if owed.is_some() { BREATH } else { PATIENCE };
            let heard = hearing.next(patience).map_err(SiteError::from).and_then(|heard| {
                owed = owed.max(heard);
                owed.map_or(Ok(()), |generation| self.others_wrote(generation))
            });
            match heard {
                Ok(()) => owed = None,
                Err(error) => {
                    self.note_database(Some(&error));
                    self.changed.notify_all();
                    if !matches!(error, SiteError::Storage(_)) {
                        log("failed", &json!({ "error": model::with_causes(&error) }));
                    }
                    drop(self.changed.wait_timeout(self.desk(), BREATH));
                }
            }
        }
    }

    /// The tables are at `generation` now.
    fn others_wrote(self: &Arc<Self>, generation: u64) -> Result<(), SiteError> {
        self.clients().catch_up()?;
        let mut desk = self.desk();
        let before = Seen::by(&desk);
        let caught_up = desk.catch_up(generation);
        self.note_database(caught_up.as_ref().err());
        if !caught_up? {
            return Ok(());
        }
        let after = Seen::by(&desk);
        self.end_lost_work(&desk);
        let taken = if before.files == after.files {
            Ok(())
        } else {
            let settings = self.folder().settings()?;
            Seal::of(&settings).and_then(|seal| shared::take(self.folder(), &seal, &desk))
        };
        drop(desk);
        if let Err(error) = taken {
            log("failed", &json!({ "error": model::with_causes(&error) }));
        }
        if before.addresses != after.addresses {
            self.set_addresses();
        }
        if before.down != after.down {
            self.relaying.due.store(true, Ordering::Relaxed);
            self.children().wake_all();
        }
        if before.up != after.up
            && let Some(uplink) = self.uplink()
        {
            uplink.ask();
        }
        // The timer looks again when it is to come.
        self.changed.notify_all();
        Ok(())
    }

    /// Work whose lease another process has ended, or given on, stops.
    fn end_lost_work(&self, desk: &Desk) {
        for ((place, package), (fence, flag)) in &*self.works() {
            let job = desk.site().job(*place, *package);
            let is_ours =
                job.is_some_and(|job| job.phase == Phase::Running && job.fence == fence.number);
            if !is_ours {
                flag.store(true, Ordering::Relaxed);
            }
        }
    }
}
