//! What happens to clients as time goes by: who was heard of is written now and then, rollouts are looked at.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use deployment::{ClientId, ClientSettings, DeploymentId, RolloutEvent, RolloutStatus};
use policy::PlaceKind;
use serde_json::json;

use super::{Clients, row::Change, wall};
use crate::{Desk, Server, SiteError, server::log};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(5);
/// Who was heard of is written every so many looks: a minute.
const WRITES: u32 = 12;
/// Fewer clients that have nothing to do with a rollout say nothing about an outage.
const OTHERS: usize = 10;

impl Server {
    /// Looks after clients for as long as the site runs.
    pub(crate) fn look_after_clients(self: &Arc<Self>) {
        let mut looks = 0_u32;
        while !self.is_stopping() {
            let goes_on = |_: &mut Desk| !self.is_stopping();
            drop(self.changed.wait_timeout_while(self.desk(), EVERY, goes_on));
            looks = looks.wrapping_add(1);
            let done =
                self.settle_client_settings().and_then(|()| self.clients().look()).and_then(|()| {
                    let is_due = looks.is_multiple_of(WRITES) || self.is_stopping();
                    if is_due { self.clients().write_seen() } else { Ok(()) }
                });
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
                let read = desk.fact(&format!("read:{name}"));
                read.or_else(|| desk.fact(&format!("point:{name}"))).map(str::to_owned)
            };
            names.filter_map(location).collect::<Vec<_>>()
        };
        let settings = ClientSettings {
            check_in: self.clients().check_in,
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

impl Clients {
    /// Tells rollouts who was heard of, and that time went by.
    fn look(&self) -> Result<(), SiteError> {
        let heard: Vec<ClientId> = {
            let mut live = self.live();
            let new = live.iter_mut().filter(|(_, one)| one.seen > 0 && !one.is_heard);
            new.map(|(client, one)| {
                one.is_heard = true;
                *client
            })
            .collect()
        };
        let running: Vec<DeploymentId> = {
            let fleet = self.fleet();
            let runs = fleet.rollouts.iter();
            let runs = runs.filter(|(_, here)| *here.rollout.status() == RolloutStatus::Running);
            runs.map(|(id, _)| id.clone()).collect()
        };
        let now = self.now();
        for id in &running {
            {
                let _storage = self.storage();
                let mut fleet = self.fleet_mut();
                for client in &heard {
                    let _ = fleet.rollout_event(id, RolloutEvent::Heard(*client), now);
                }
            }
            let next = self.fleet().rollouts.get(id).and_then(|here| here.rollout.next_wake());
            if next.is_some_and(|next| next <= now.at) {
                let others_silent = self.others_silent(id);
                self.rollout(id, RolloutEvent::Timer { others_silent })?;
            }
        }
        let ahead: Vec<DeploymentId> = {
            let fleet = self.fleet();
            let ahead = fleet.rollouts.iter().filter(|(_, here)| here.is_ahead);
            ahead.map(|(id, _)| id.clone()).collect()
        };
        ahead.iter().try_for_each(|id| self.keep_rollout(id))
    }

    /// How many of 100 clients a deployment is not for were not heard of either: an outage is not the package's fault.
    fn others_silent(&self, id: &DeploymentId) -> u8 {
        let seen = self.seen();
        let fleet = self.fleet();
        let Some(row) = fleet.deployments.get(id) else { return 0 };
        let since = wall() - i64::try_from(row.plan.halt.silence / 1_000).unwrap_or(i64::MAX);
        let others = fleet
            .clients
            .iter()
            .filter(|(client, one)| one.revoked.is_none() && !fleet.is_for(&row.target, **client));
        let (mut all, mut silent) = (0_usize, 0_usize);
        for (client, _) in others {
            all += 1;
            silent += usize::from(seen.get(client).is_none_or(|at| *at < since));
        }
        if all < OTHERS { 0 } else { u8::try_from(silent * 100 / all).unwrap_or(100) }
    }

    /// Writes who was heard of, in as many records as the ids have first bytes.
    pub(crate) fn write_seen(&self) -> Result<(), SiteError> {
        let mut fresh: BTreeMap<u8, BTreeMap<ClientId, i64>> = BTreeMap::new();
        for (client, live) in &*self.live() {
            if live.seen > 0 && !live.is_written {
                fresh.entry(client.0[0]).or_default().insert(*client, live.seen);
            }
        }
        if fresh.is_empty() {
            return Ok(());
        }
        self.write(|fleet| {
            let blocks = fresh.iter().map(|(block, fresh)| {
                let mut seen: BTreeMap<ClientId, i64> = fleet
                    .seen
                    .iter()
                    .filter(|(client, _)| client.0[0] == *block)
                    .map(|(client, at)| (*client, *at))
                    .collect();
                seen.extend(fresh.iter().map(|(client, at)| (*client, *at)));
                Change::Seen(*block, seen)
            });
            Ok(((), blocks.collect()))
        })?;
        let mut live = self.live();
        for (client, at) in fresh.values().flatten() {
            if let Some(live) = live.get_mut(client) {
                live.is_written |= live.seen == *at;
            }
        }
        Ok(())
    }

    /// What this process knows and the tables do not yet, as it ends.
    pub(crate) fn settle(&self) {
        if let Err(error) = self.look().and_then(|()| self.write_seen()) {
            log("failed", &json!({ "error": model::with_causes(&error) }));
        }
    }
}
