//! What happens to clients as time goes by: who was heard of is written now and then, rollouts are looked at.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use deployment::{ClientId, ClientSettings, DeploymentId, Rollout, RolloutEvent, RolloutStatus};
use policy::{Moment, PlaceKind};
use serde_json::json;

use super::{
    Clients,
    fleet::Fleet,
    row::{Change, ProcessRow, SeenRow},
};
use crate::{
    Desk, Server, SiteError,
    server::{log, read_fact},
};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(5);
/// Who was heard of is written this often at least; more often where a rollout calls a client silent sooner.
const WRITES: Duration = Duration::from_mins(1);
/// A process that wrote nothing for so many times as long has ended.
const MISSED: u64 = 3;
/// The longest of these, in milliseconds.
const LEASE: u64 = 180_000;
/// Fewer clients that have nothing to do with a rollout say nothing about an outage.
const OTHERS: usize = 10;

impl Server {
    /// Looks after clients for as long as the site runs.
    pub(crate) fn look_after_clients(self: &Arc<Self>) {
        let mut written = Instant::now();
        while !self.is_stopping() {
            let goes_on = |_: &mut Desk| !self.is_stopping();
            drop(self.changed.wait_timeout_while(self.desk(), EVERY, goes_on));
            let clients = self.clients();
            let is_due = written.elapsed() >= clients.write_every() || self.is_stopping();
            let done = self
                .settle_client_settings()
                .and_then(|()| if is_due { clients.write_seen() } else { Ok(()) })
                .and_then(|()| clients.look());
            if is_due {
                written = Instant::now();
            }
            if let Err(error) = done {
                self.note_database(Some(&error));
            }
        }
    }

    /// How clients behave, and where packages are, as the settings and the tables say now.
    pub(crate) fn settle_client_settings(&self) -> Result<(), SiteError> {
        let points = {
            let desk = self.desk();
            let places = desk.site().places().filter(|(_, place)| !place.leaving);
            let names = places.filter_map(|(_, place)| match &place.kind {
                PlaceKind::Point(name) => Some(name.name.clone()),
                _ => None,
            });
            let location = |name: Box<str>| {
                let read = desk.fact(&read_fact(&name));
                read.or_else(|| desk.fact(&format!("point:{name}"))).map(str::to_owned)
            };
            names.filter_map(location).collect::<Vec<_>>()
        };
        let settings = ClientSettings {
            check_in: self.clients().check_in,
            rate: self.clients().rate,
            cache: self.clients().cache,
            long_poll: true,
            points: (!points.is_empty()).then_some(points),
            ..ClientSettings::default()
        };
        self.clients().write(|fleet| {
            let is_known = fleet.settings.as_ref() == Some(&settings);
            let change = || vec![Change::Settings(Box::new(settings.clone()))];
            Ok(((), if is_known { Vec::new() } else { change() }))
        })
    }
}

/// Since when there was always a process that listened, as one finds it that begins now. What nobody could hear was no silence.
pub(super) fn listened_since(fleet: &Fleet, now: Moment) -> Moment {
    let recent = fleet.processes.values().filter(|row| row.through + LEASE >= now);
    recent.map(|row| row.since).min().unwrap_or(now)
}

fn is_running(rollout: &Rollout) -> bool {
    *rollout.status() == RolloutStatus::Running
}

/// How often it is written who was heard of: often enough that no process calls a client silent which another one hears.
fn write_every(fleet: &Fleet) -> Duration {
    let listening = fleet.rollouts.values().filter(|one| is_running(one) && one.is_listening());
    let quarter = listening.map(|one| Duration::from_millis(one.course().silence() / 4)).min();
    quarter.map_or(WRITES, |quarter| quarter.clamp(EVERY, WRITES))
}

impl Clients {
    /// Those that ended are no longer waited for; where this process is alone, all others.
    pub(super) fn forget_ended(&self, now: Moment, alone: bool) -> Result<(), SiteError> {
        self.write(|fleet| {
            let ended = fleet.processes.iter().filter(|(_, row)| alone || row.until <= now);
            let gone = ended.map(|(name, _)| Change::Process(name.clone(), None));
            Ok(((), gone.collect()))
        })
    }

    /// Other processes that listen, as far as anybody knows.
    fn others<'f>(
        &self,
        fleet: &'f Fleet,
        now: Moment,
    ) -> impl Iterator<Item = (&'f str, ProcessRow)> {
        let is_other =
            move |(name, row): &(&String, &ProcessRow)| row.until > now && **name != self.process;
        fleet.processes.iter().filter(is_other).map(|(name, row)| (name.as_str(), *row))
    }

    /// How often it is written who was heard of.
    fn write_every(&self) -> Duration {
        write_every(&self.fleet())
    }

    /// Tells rollouts who was heard of; and that time went by, if this is the process that looks. That is one of those that live;
    /// were it two for a moment, the tables take one's decision, and the other decides anew.
    fn look(&self) -> Result<(), SiteError> {
        let heard: Vec<(ClientId, Moment)> = {
            let mut live = self.live();
            let new = live.iter_mut().filter(|(_, one)| one.seen.wall > 0 && !one.is_heard);
            new.map(|(client, one)| {
                one.is_heard = true;
                (*client, one.seen.at)
            })
            .collect()
        };
        let now = self.now().at;
        let due: Vec<DeploymentId> = {
            let mut fleet = self.fleet_mut();
            for (client, at) in heard {
                fleet.hear(client, at);
            }
            if self.others(&fleet, now).any(|(name, _)| name < self.process.as_str()) {
                return Ok(());
            }
            // As far as all that live have written down whom they heard.
            let through = self.others(&fleet, now).map(|(_, row)| row.through);
            let through = through.chain([now]).min().unwrap_or(now);
            let is_due =
                |one: &Rollout| is_running(one) && one.next_wake().is_some_and(|at| at <= now);
            let due = fleet.rollouts.iter_mut().filter(|(_, one)| is_due(one));
            due.map(|(id, rollout)| {
                rollout.look(through);
                id.clone()
            })
            .collect()
        };
        for id in &due {
            let others_silent = self.others_silent(id);
            self.rollout(id, &RolloutEvent::Timer { others_silent })?;
        }
        Ok(())
    }

    /// How many of 100 clients a deployment is not for were not heard of either: an outage is not the package's fault.
    fn others_silent(&self, id: &DeploymentId) -> u8 {
        let now = self.now().at.0;
        let fleet = self.fleet();
        let live = self.live();
        let Some(row) = fleet.deployments.get(id) else { return 0 };
        let earliest = Moment(now.saturating_sub(row.plan.halt.silence));
        let others = fleet
            .clients
            .iter()
            .filter(|(client, one)| one.revoked.is_none() && !fleet.is_for(&row.target, **client));
        let heard = |client: &ClientId| {
            let written = fleet.seen.get(client).map(|seen| seen.at);
            let here = live.get(client).map(|live| live.seen.at);
            written.max(here).unwrap_or_default().max(self.since)
        };
        let (mut all, mut silent) = (0_usize, 0_usize);
        for (client, _) in others {
            all += 1;
            silent += usize::from(heard(client) < earliest);
        }
        if all < OTHERS { 0 } else { u8::try_from(silent * 100 / all).unwrap_or(100) }
    }

    /// Writes who was heard of, in as many records as the ids have first bytes; and up to when that is all, where a rollout waits
    /// for it.
    pub(crate) fn write_seen(&self) -> Result<(), SiteError> {
        self.write_seen_and(false)
    }

    fn write_seen_and(&self, is_ending: bool) -> Result<(), SiteError> {
        let through = self.now().at;
        let mut fresh: BTreeMap<u8, BTreeMap<ClientId, SeenRow>> = BTreeMap::new();
        for (client, live) in &*self.live() {
            if live.seen.wall > 0 && !live.is_written {
                fresh.entry(client.0[0]).or_default().insert(*client, live.seen);
            }
        }
        self.write(|fleet| {
            let blocks = fresh.iter().map(|(block, fresh)| {
                let mut seen: BTreeMap<ClientId, SeenRow> = fleet
                    .seen
                    .iter()
                    .filter(|(client, _)| client.0[0] == *block)
                    .map(|(client, at)| (*client, *at))
                    .collect();
                for (client, here) in fresh {
                    let known = seen.entry(*client).or_default();
                    let (wall, at) = (known.wall.max(here.wall), known.at.max(here.at));
                    *known = SeenRow { wall, at };
                }
                Change::Seen(*block, seen)
            });
            let is_waited_for =
                fleet.rollouts.values().any(|one| is_running(one) && one.is_listening());
            let every = u64::try_from(write_every(fleet).as_millis()).unwrap_or(LEASE);
            let lease = if is_ending { 0 } else { every * MISSED };
            let process = ProcessRow { through, until: through + lease, since: self.since };
            let process =
                is_waited_for.then(|| Change::Process(self.process.clone(), Some(process)));
            Ok(((), blocks.chain(process).collect()))
        })?;
        let mut live = self.live();
        for (client, seen) in fresh.values().flatten() {
            if let Some(live) = live.get_mut(client) {
                live.is_written |= live.seen == *seen;
            }
        }
        Ok(())
    }

    /// What this process knows and the tables do not yet, as it ends: nobody waits for it from then on.
    pub(crate) fn settle(&self) {
        if let Err(error) = self.write_seen_and(true) {
            log("failed", &json!({ "error": model::with_causes(&error) }));
        }
    }
}
