use std::{collections::BTreeMap, time::Instant};

use model::{Hash, PackageName};
use policy::{JobKind, Moment, Observed, PlaceId, PlaceKind, Site, SiteCode, Tally};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{AddressSettings, Server, TrustStatus, server::read_fact};

/// Where everything is, and why not elsewhere.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Status {
    /// The site's code.
    pub site: String,
    /// How often it was restored.
    pub epoch: u32,
    /// Copies that are not what they should be.
    pub jobs: u64,
    /// Of these, attempts under way.
    pub running: u32,
    /// What is wrong with the database, if anything is: what is said here is what was known before.
    #[serde(default)]
    pub database: Option<String>,
    /// The bucket with the own copies, if they are in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<StoreStatus>,
    /// How trust stands, if a root is pinned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<TrustStatus>,
    /// The line to the site above, if this is a child.
    pub parent: Option<ParentStatus>,
    /// By package.
    pub packages: Vec<PackageStatus>,
    /// By point.
    pub points: Vec<PointStatus>,
    /// Groups of points, if there are any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<GroupStatus>,
    /// By child.
    pub children: Vec<ChildStatus>,
}

/// A group of points.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct GroupStatus {
    /// Its name.
    pub name: String,
    /// Its points: here, or `SITE/POINT` below.
    pub points: Vec<String>,
    /// What all of them are to hold.
    #[schema(value_type = Vec<String>)]
    pub packages: Vec<PackageName>,
}

/// A bucket with a site's own copies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct StoreStatus {
    /// Where it is.
    pub location: String,
    /// Why it is of no use now, if it is not: nothing is received or sent on until it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// The line to the parent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ParentStatus {
    /// Its code.
    pub code: String,
    /// Where it is called.
    pub address: String,
    /// Whether it answered last time.
    pub answers: bool,
    /// Why not.
    pub why: Option<String>,
    /// For how many seconds, as far as this process knows.
    pub since: Option<u64>,
    /// In how many seconds it is called again.
    pub next: Option<u64>,
}

/// One child.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ChildStatus {
    /// Its code.
    pub code: String,
    /// Whether it has a certificate.
    pub enrolled: bool,
    /// Whether it is on the line now.
    pub connected: bool,
    /// Seconds since it was heard of by this process.
    pub heard: Option<u64>,
    /// Bytes of content sent to it by this process.
    pub sent: u64,
    /// Why it cannot be called, if this site is to call it.
    #[serde(default)]
    pub why: Option<String>,
    /// How it may be sent to.
    pub address: AddressSettings,
    /// Sites below it.
    pub below: Vec<String>,
    /// What it holds and should hold.
    pub copies: Vec<CopyStatus>,
}

/// A transfer under way.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct TransferStatus {
    /// Bytes that are here.
    pub done: u64,
    /// Of so many.
    pub of: u64,
    /// Bytes per second since it began.
    pub rate: u64,
    /// In how many seconds it is through at that rate.
    #[serde(default)]
    pub left: Option<u64>,
}

/// One package.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct PackageStatus {
    /// Its name.
    #[schema(value_type = String)]
    pub name: PackageName,
    /// What its publisher calls the newest version; none once it is being removed.
    pub version: Option<String>,
    /// The number of its content.
    pub number: String,
    /// The identity of the newest version.
    #[schema(value_type = Option<String>)]
    pub identity: Option<Hash>,
    /// Copies wanted, done, failed, left.
    #[serde(flatten)]
    #[schema(value_type = Counts)]
    pub tally: Tally,
    /// The site's own copy.
    pub master: CopyStatus,
}

/// The shape of a [`Tally`].
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes")]
struct Counts {
    /// Points that should hold it.
    wanted: u32,
    /// Points seen to hold the newest version.
    done: u32,
    /// Points where somebody has to decide.
    failed: u32,
    /// Copies that should be gone and were not seen to be.
    left: u32,
}

/// One point.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct PointStatus {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub location: String,
    /// Where clients read it, if that is somewhere else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_at: Option<String>,
    /// Whether it answered last time.
    pub answers: bool,
    /// Whether it is being cleaned and then forgotten.
    pub leaving: bool,
    /// Free bytes when last measured.
    pub free: Option<u64>,
    /// What it holds and should hold.
    pub copies: Vec<CopyStatus>,
}

/// One copy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct CopyStatus {
    /// Of which package.
    #[schema(value_type = String)]
    pub package: PackageName,
    /// What was last seen there: `v3`, `nothing`, `damaged`, `unknown`.
    pub holds: String,
    /// `done`, `running`, `waiting` or `failed`.
    pub state: String,
    /// What is to be done: `complete` or `remove`.
    pub job: Option<String>,
    /// What is waited for.
    pub reason: Option<String>,
    /// For how many seconds.
    pub since: Option<u64>,
    /// In how many seconds it goes on by itself, if a clock ends it.
    pub next: Option<u64>,
    /// Attempts so far.
    pub attempts: u32,
    /// How far it is, if it is being received.
    pub transfer: Option<TransferStatus>,
}

impl Status {
    /// The status of a site at a moment of its own clock. `fact` knows locations and versions.
    pub fn of<'f>(site: &Site, at: Moment, fact: impl Fn(&str) -> Option<&'f str>) -> Self {
        let packages = site.packages().map(|(id, package)| {
            let identity = package.newest.map(|newest| newest.manifest);
            let version = identity
                .map(|hash| fact(&format!("version:{hash}")).unwrap_or("unknown").to_owned());
            PackageStatus {
                name: package.name.clone(),
                version,
                number: package.number.to_string(),
                identity,
                tally: package.tally,
                master: copy_status(site, at, PlaceId::OWN, id, &package.name),
            }
        });
        let points = site.places().filter_map(|(id, place)| {
            let PlaceKind::Point(name) = &place.kind else { return None };
            let copies = place.cells().filter_map(|(package, _)| {
                Some(copy_status(site, at, id, package, &site.package(package)?.name))
            });
            Some(PointStatus {
                name: name.name.to_string(),
                location: fact(&format!("point:{}", name.name)).unwrap_or_default().to_owned(),
                read_at: fact(&read_fact(&name.name)).map(str::to_owned),
                answers: place.breaker.is_closed(),
                leaving: place.leaving,
                free: place.free,
                copies: copies.collect(),
            })
        });
        let groups = site.groups().map(|(name, points, packages)| GroupStatus {
            name: name.to_string(),
            points: points
                .iter()
                .map(|point| match &point.site {
                    code if code == site.code() => point.name.to_string(),
                    code => format!("{code}/{}", point.name),
                })
                .collect(),
            packages: packages
                .iter()
                .filter_map(|id| Some(site.package(*id)?.name.clone()))
                .collect(),
        });
        let children = site.places().filter_map(|(id, place)| {
            let PlaceKind::Child { code, .. } = &place.kind else { return None };
            let copies = place.cells().filter_map(|(package, _)| {
                Some(copy_status(site, at, id, package, &site.package(package)?.name))
            });
            let address = fact(&format!("address:{code}"));
            let below = site.sites_below(id).filter(|below| *below != code);
            Some(ChildStatus {
                code: code.to_string(),
                enrolled: fact(&format!("child:{code}")).is_some(),
                connected: false,
                heard: None,
                sent: 0,
                why: None,
                address: address
                    .and_then(|text| serde_json::from_str(text).ok())
                    .unwrap_or_default(),
                below: below.map(ToString::to_string).collect(),
                copies: copies.collect(),
            })
        });
        let parent = site.parent().map(|code| ParentStatus {
            code: code.to_string(),
            address: fact("parent").unwrap_or_default().to_owned(),
            answers: false,
            why: Some(match fact("parent") {
                Some(_) => "this site does not run".to_owned(),
                None => "a courier goes there: `packhorse site courier export`".to_owned(),
            }),
            since: None,
            next: None,
        });
        let mut packages: Vec<_> = packages.collect();
        packages.sort_by(|a, b| a.name.cmp(&b.name));
        Self {
            site: site.code().to_string(),
            epoch: site.epoch(),
            jobs: site.live_jobs(),
            running: site.running(),
            database: None,
            store: fact(crate::shared::STORE)
                .map(|location| StoreStatus { location: location.to_owned(), why: None }),
            trust: None,
            parent,
            packages,
            points: points.collect(),
            groups: groups.collect(),
            children: children.collect(),
        }
    }

    /// What only the running process knows: lines and transfers.
    pub(crate) fn add_lines(&mut self, server: &Server) {
        self.database = server.database_trouble();
        let master = server.master();
        self.store = master.is_bucket().then(|| StoreStatus {
            location: master.location().to_owned(),
            why: server.store_trouble(),
        });
        self.trust = server.trust_status();
        if let (Some(parent), Some(uplink)) = (&mut self.parent, server.uplink()) {
            let state = uplink.state();
            parent.answers = state.trouble.is_none();
            parent.why = state.trouble;
            parent.since = Some(state.since.elapsed().as_secs());
            parent.next =
                state.next.map(|next| next.saturating_duration_since(Instant::now()).as_secs());
        }
        for child in &mut self.children {
            let Ok(code) = SiteCode::new(&child.code) else { continue };
            if let Some((heard, waits)) = server.children().seen(&code) {
                (child.heard, child.connected) = (Some(heard), waits);
            }
            child.why = server.children().trouble(&code);
            child.sent = server.sent_to(&code);
        }
        let transfers: Vec<_> = server
            .transfers()
            .iter()
            .map(|((_, package), transfer)| (*package, transfer.clone()))
            .collect();
        for (package, transfer) in transfers {
            let Some(name) = server.package_name(package) else { continue };
            let master = self.packages.iter_mut().find(|package| package.name == name);
            let Some(master) = master.map(|package| &mut package.master) else { continue };
            let seconds = transfer.began.elapsed().as_secs_f64().max(0.001);
            let came = transfer.done.saturating_sub(transfer.had);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a rate is no more than u64 holds"
            )]
            let rate = (came as f64 / seconds) as u64;
            let left = transfer.of.saturating_sub(transfer.done).checked_div(rate);
            let (done, of) = (transfer.done, transfer.of);
            master.transfer = Some(TransferStatus { done, of, rate, left });
            master.reason =
                Some(transfer.held.unwrap_or_else(|| "comes from the parent".to_owned()));
        }
    }

    /// Whether everything is what it should be.
    pub fn is_settled(&self) -> bool {
        let is_done = |package: &PackageStatus| {
            let Tally { wanted, done, left, .. } = package.tally;
            done >= wanted && left == 0
        };
        self.jobs == 0 && self.packages.iter().all(is_done)
    }

    /// All of it on one screen.
    pub fn to_text(&self) -> String {
        let mut text = format!("site {}, epoch {}: {} jobs\n", self.site, self.epoch, self.jobs);
        if let Some(StoreStatus { location, why }) = &self.store {
            let why = why.as_ref().map(|why| {
                let pause = crate::master::PAUSE.as_secs();
                format!(
                    ": it does not answer as it should, and is asked again every {pause} s: {why}"
                )
            });
            text += &format!("  own copies in {location}{}\n", why.unwrap_or_default());
        }
        if let Some(why) = &self.database {
            text += &format!("  the database does not answer, and this is what was known: {why}\n");
        }
        if let Some(parent) = &self.parent {
            let state = match &parent.why {
                None => "answers".to_owned(),
                Some(why) if parent.since.is_none() => format!("is not called: {why}"),
                Some(why) => format!("does not answer: {why}"),
            };
            let since = parent.since.map(|since| format!(", for {since} s")).unwrap_or_default();
            let next = parent.next.map(|next| format!(", next in {next} s")).unwrap_or_default();
            text +=
                &format!("  parent {} ({}) {state}{since}{next}\n", parent.code, parent.address);
        }
        if let Some(trust) = &self.trust {
            let until = trust.until.as_ref().map(|until| format!(" is good until {until}"));
            text += &format!("  trust{}", until.unwrap_or_default());
            for role in &trust.waiting {
                text += &format!("; what `{role}` signed waits for `packhorse trust refresh`");
            }
            text += &trust.why.as_ref().map(|why| format!("; {why}")).unwrap_or_default();
            text += "\n";
        }
        for package in &self.packages {
            let version = package.version.as_deref().unwrap_or("(being removed)");
            let Tally { wanted, done, failed, left } = package.tally;
            text += &format!("  {} {version}: {done} of {wanted} points", package.name);
            for (count, word) in [(failed, "failed"), (left, "to be cleaned")] {
                if count > 0 {
                    text += &format!(", {count} {word}");
                }
            }
            text += "\n";
            text += &line(&package.master, "the site itself");
        }
        for point in &self.points {
            let silent = if point.answers { "" } else { ", does not answer" };
            let leaving = if point.leaving { ", being removed" } else { "" };
            let read =
                point.read_at.as_ref().map(|at| format!(", read at {at}")).unwrap_or_default();
            text += &format!("  {} ({}{read}){silent}{leaving}\n", point.name, point.location);
            for copy in &point.copies {
                text += &line(copy, copy.package.as_str());
            }
        }
        for GroupStatus { name, points, packages } in &self.groups {
            let packages: Vec<&str> = packages.iter().map(PackageName::as_str).collect();
            let holds =
                if packages.is_empty() { "nothing".to_owned() } else { packages.join(", ") };
            text += &format!("  group {name} ({}): {holds}\n", points.join(", "));
        }
        for child in &self.children {
            let state = match (child.enrolled, child.connected, child.heard) {
                (false, ..) => "was not enrolled yet: `packhorse site attach` there".to_owned(),
                (true, true, _) => "is on the line".to_owned(),
                (true, false, Some(heard)) => format!("was heard of {heard} s ago"),
                (true, false, None) => "was not heard of since this site runs".to_owned(),
            };
            let below = match child.below.as_slice() {
                [] => String::new(),
                below => format!(", before {}", below.join(", ")),
            };
            let why = child.why.as_ref().map(|why| format!(", cannot be called: {why}"));
            text += &format!("  child {}{below}: {state}{}\n", child.code, why.unwrap_or_default());
            for copy in &child.copies {
                text += &line(copy, copy.package.as_str());
            }
        }
        text
    }

    /// Counts for a monitor, in the text format of Prometheus.
    pub fn to_metrics(&self) -> String {
        let mut states: BTreeMap<&str, u64> =
            ["done", "failed", "running", "waiting"].map(|state| (state, 0)).into();
        for copy in self.points.iter().flat_map(|point| &point.copies) {
            *states.entry(copy.state.as_str()).or_default() += 1;
        }
        let mut text = "# HELP packhorse_copies Copies at the points of this site, by state.\n\
                        # TYPE packhorse_copies gauge\n"
            .to_owned();
        for (state, count) in states {
            text += &format!("packhorse_copies{{state=\"{state}\"}} {count}\n");
        }
        text += &format!(
            "# HELP packhorse_jobs Copies that are not what they should be.\n# TYPE packhorse_jobs gauge\n\
             packhorse_jobs {}\n",
            self.jobs
        );
        if let Some(parent) = &self.parent {
            text += &format!(
                "# HELP packhorse_parent_answers Whether the parent answered last time.\n\
                 # TYPE packhorse_parent_answers gauge\npackhorse_parent_answers {}\n",
                u8::from(parent.answers)
            );
        }
        if self.children.is_empty() {
            return text;
        }
        text += "# HELP packhorse_child_connected Whether a child is on the line.\n\
                 # TYPE packhorse_child_connected gauge\n";
        for child in &self.children {
            let connected = u8::from(child.connected);
            text += &format!("packhorse_child_connected{{child=\"{}\"}} {connected}\n", child.code);
        }
        text += "# HELP packhorse_child_sent_bytes_total Bytes of content sent to a child since this process began.\n\
                 # TYPE packhorse_child_sent_bytes_total counter\n";
        for child in &self.children {
            let ChildStatus { code, sent, .. } = child;
            text += &format!("packhorse_child_sent_bytes_total{{child=\"{code}\"}} {sent}\n");
        }
        text
    }
}

fn line(copy: &CopyStatus, name: &str) -> String {
    let Some(reason) = &copy.reason else { return String::new() };
    let since = copy.since.map(|seconds| format!(", for {seconds} s")).unwrap_or_default();
    let next = copy.next.map(|seconds| format!(", next in {seconds} s")).unwrap_or_default();
    let tries = match copy.attempts {
        0 => String::new(),
        attempts => format!(", attempt {attempts}"),
    };
    let how_far = copy
        .transfer
        .map(|TransferStatus { done, of, rate, left }| {
            let left = left.map(|left| format!(", {left} s left")).unwrap_or_default();
            format!(", {done} of {of} bytes, {rate} bytes/s{left}")
        })
        .unwrap_or_default();
    format!("    {name}: holds {}, {reason}{since}{how_far}{tries}{next}\n", copy.holds)
}

fn copy_status(
    site: &Site,
    at: Moment,
    place: PlaceId,
    id: policy::PackageId,
    name: &PackageName,
) -> CopyStatus {
    let observed = site.place(place).and_then(|place| place.cell(id)).map(|cell| cell.observed);
    let holds = match observed.unwrap_or_default() {
        Observed::Unknown => "unknown".to_owned(),
        Observed::Absent => "nothing".to_owned(),
        Observed::Holds(number) => number.to_string(),
        Observed::Damaged(_) => "damaged".to_owned(),
    };
    let waiting = site.waiting(place, id);
    let state = match waiting.map(|waiting| waiting.reason) {
        None => "done",
        Some(policy::Reason::Worker) => "running",
        Some(policy::Reason::Failed(_) | policy::Reason::Cannot(_)) => "failed",
        Some(_) => "waiting",
    };
    CopyStatus {
        package: name.clone(),
        holds,
        state: state.to_owned(),
        job: waiting.map(|waiting| match waiting.kind {
            JobKind::Complete => "complete".to_owned(),
            JobKind::Remove => "remove".to_owned(),
        }),
        reason: waiting.map(|waiting| waiting.reason.to_string()),
        since: waiting.map(|waiting| at.0.saturating_sub(waiting.since.0) / 1_000),
        next: waiting
            .and_then(|waiting| waiting.until)
            .map(|until| until.0.saturating_sub(at.0).div_ceil(1_000)),
        attempts: waiting.map_or(0, |waiting| waiting.attempts),
        transfer: None,
    }
}
