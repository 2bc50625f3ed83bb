//! Maintenance windows: hours in which clients may be changed, as people make them.

use std::collections::BTreeSet;

use deployment::{
    Cadence, ClientId, Deployment, Openness, Recurrence, When, Window, Windows, Zone, Zones, review,
};
use jiff::{
    Timestamp,
    civil::{Date, time},
    tz::TimeZone,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::{
    fleet::Fleet,
    row::{Change, DeploymentRow, SiteWindow},
};
use crate::{Server, SiteError, server::log};

/// A name of a window has at most so many bytes.
const LONGEST_NAME: usize = 64;

/// A maintenance window, and how it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct WindowStatus {
    /// Its name.
    pub name: String,
    /// When it is open, in words.
    pub when: String,
    /// Whose it is.
    pub to: String,
    /// How many clients it counts for.
    pub clients: u64,
    /// Whether it is open now: by the site's clock, and its zone where that of each client is meant.
    pub open: bool,
    /// When it opens next, or until when it is open: seconds since 1970; never where unsaid.
    pub next: Option<i64>,
}

/// A window that is there and never opens: what cannot be read, or may be a client's, must not leave it open at all hours.
pub(crate) fn never_open(name: &str) -> Window {
    let opens = Recurrence {
        from: Date::constant(1970, 1, 1).to_datetime(time(0, 0, 0, 0)),
        zone: Zone::Named("UTC".into()),
        cadence: Cadence::Days(1),
    };
    let until = Some(When::At(Timestamp::UNIX_EPOCH));
    Window { name: name.into(), opens, minutes: 1, until }
}

impl Fleet {
    /// The maintenance windows that count for a client, and whether they are surely its own.
    fn counting(&self, client: ClientId) -> impl Iterator<Item = (&SiteWindow, bool)> {
        self.windows.values().filter_map(move |row| match self.whether_for(&row.target, client) {
            Some(false) => None,
            known => Some((row, known.is_some())),
        })
    }

    /// The maintenance windows of a client. One that may be its own counts, and never opens.
    pub(crate) fn windows_of(&self, client: ClientId) -> Vec<Window> {
        self.counting(client).map(|(row, is_own)| shown_to(row, is_own)).collect()
    }

    /// A deployment, and all it has to do with by way of others.
    fn together(&self, new: &Deployment) -> Vec<Deployment> {
        let mut all = vec![new.clone()];
        let mut next = 0;
        while let Some(one) = all.get(next) {
            let superseded = one.supersedes.iter().map(|old| &old.deployment);
            let named: Vec<_> = one.depends_on.iter().chain(superseded).cloned().collect();
            for id in named {
                if let Some(row) =
                    self.deployments.get(&id).filter(|_| all.iter().all(|one| one.id != id))
                {
                    all.push(row.deployment.clone());
                }
            }
            next += 1;
        }
        all
    }

    /// What a deployment's author should know, looked at together with all others: what makes it impossible, and what is
    /// merely worth a word.
    pub(super) fn review(
        &self,
        new: &DeploymentRow,
        members: &[ClientId],
    ) -> (Vec<String>, Vec<String>) {
        let zone = TimeZone::system();
        let zones = Zones { database: jiff::tz::db(), client: &zone };
        let together = self.together(&new.deployment);
        // Clients with the same windows get the same answer.
        let of = |client: &ClientId| {
            let counting = self.counting(*client);
            counting.map(|(row, is_own)| (&*row.window.name, is_own)).collect()
        };
        let mut kinds: BTreeSet<Vec<(&str, bool)>> = members.iter().map(of).collect();
        // Whom it reaches later has everybody's windows at least.
        if kinds.is_empty() {
            let all = self.windows.values().filter(|row| row.target.everybody);
            kinds.insert(all.map(|row| (&*row.window.name, true)).collect());
        }
        let (mut fatal, mut worth) = (Vec::new(), Vec::new());
        for kind in &kinds {
            let rows =
                kind.iter().filter_map(|(name, is_own)| Some((self.windows.get(*name)?, *is_own)));
            let windows: Vec<Window> = rows.map(|(row, is_own)| shown_to(row, is_own)).collect();
            for finding in review(&together, &windows, zones, Timestamp::now()) {
                if finding.deployment != new.deployment.id {
                    continue;
                }
                let list = if finding.is_fatal { &mut fatal } else { &mut worth };
                if !list.contains(&finding.text) {
                    list.push(finding.text);
                }
            }
        }
        for need in &new.deployment.depends_on {
            let Some(row) = self.deployments.get(need) else { continue };
            let without = members.iter().filter(|client| !self.is_for(&row.target, **client));
            let count = without.count();
            if count > 0 {
                worth.push(format!(
                    "it waits for `{need}`, which {count} of its {} clients do not get: there it does not run",
                    members.len()
                ));
            }
        }
        for old in &new.deployment.supersedes {
            if !self.deployments.contains_key(&old.deployment) {
                worth.push(format!("it supersedes `{}`, which is not deployed", old.deployment));
            }
        }
        (fatal, worth)
    }
}

/// As a client hears of it.
fn shown_to(row: &SiteWindow, is_own: bool) -> Window {
    if is_own { row.window.clone() } else { never_open(&row.window.name) }
}

/// When a window is open, in words.
fn in_words(window: &Window) -> String {
    let Window { opens, minutes, until, .. } = window;
    let zone = match &opens.zone {
        Zone::Client => "by the clock of each client".to_owned(),
        Zone::Named(name) => format!("in {name}"),
    };
    let (hours, rest) = (minutes / 60, minutes % 60);
    let long = match (hours, rest) {
        (0, rest) => format!("{rest} min"),
        (hours, 0) => format!("{hours} h"),
        (hours, rest) => format!("{hours} h {rest} min"),
    };
    let ends = match until {
        None => String::new(),
        Some(When::At(at)) => format!(", until {at}"),
        Some(When::Wall { clock, .. }) => format!(", until {clock}"),
    };
    let at = opens.from.strftime("%H:%M");
    format!("{} at {at} for {long}, {zone}, from {}{ends}", opens.cadence, opens.from.date())
}

impl Server {
    /// All maintenance windows.
    pub fn window_list(&self) -> Vec<WindowStatus> {
        let (zone, now) = (TimeZone::system(), Timestamp::now());
        let zones = Zones { database: jiff::tz::db(), client: &zone };
        let fleet = self.clients().fleet();
        let shown = fleet.windows.iter().map(|(name, row)| {
            let one = std::slice::from_ref(&row.window);
            let (open, next) = match Windows::new(one, true, zones).at(now) {
                Openness::Always => (true, None),
                Openness::Open(opening) => (true, Some(opening.until)),
                Openness::Closed(opening) => (false, opening.map(|opening| opening.from)),
            };
            WindowStatus {
                name: name.to_string(),
                when: in_words(&row.window),
                to: row.target.to_string(),
                clients: fleet.members(&row.target).count() as u64,
                open,
                next: next.map(Timestamp::as_second),
            }
        });
        shown.collect()
    }

    /// Saves a maintenance window, new or changed; its clients hear of it at once.
    pub fn save_window(&self, new: &SiteWindow) -> Result<(), SiteError> {
        let SiteWindow { window, target } = new;
        let name = window.name.trim();
        if name.is_empty() || name.len() > LONGEST_NAME || name.chars().any(char::is_control) {
            let said = format!("a window is named with 1 to {LONGEST_NAME} bytes of text");
            return Err(SiteError::refused(said));
        }
        window.check().map_err(|error| SiteError::refused(format!("`{name}`: {error}")))?;
        let system = TimeZone::system();
        let zones = Zones { database: jiff::tz::db(), client: &system };
        for zone in [Some(&window.opens.zone), zone_of(window.until.as_ref())].into_iter().flatten()
        {
            zones.get(zone).map_err(|error| SiteError::refused(error.to_string()))?;
        }
        if target.is_nobody() {
            return Err(SiteError::refused(
                "it is nobody's: name a collection or clients; for all clients say so (`--everybody`)".to_owned(),
            ));
        }
        let row = SiteWindow {
            window: Window { name: name.into(), ..window.clone() },
            target: target.clone(),
        };
        self.clients().write(|fleet| {
            fleet.check_target(target)?;
            Ok(((), vec![Change::Window(name.into(), Some(Box::new(row.clone())))]))
        })?;
        log("window", &json!({ "window": name, "when": in_words(window) }));
        Ok(())
    }

    /// Removes a maintenance window: clients without another one may be changed at all hours.
    pub fn remove_window(&self, name: &str) -> Result<(), SiteError> {
        self.clients().write(|fleet| {
            if !fleet.windows.contains_key(name) {
                return Err(SiteError::refused(format!(
                    "there is no window `{name}`: `packhorse site window list`"
                )));
            }
            Ok(((), vec![Change::Window(name.into(), None)]))
        })?;
        log("window-removed", &json!({ "window": name }));
        Ok(())
    }
}

fn zone_of(when: Option<&When>) -> Option<&Zone> {
    match when {
        Some(When::Wall { zone, .. }) => Some(zone),
        _ => None,
    }
}
