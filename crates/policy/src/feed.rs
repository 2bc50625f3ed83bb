//! What parent and child tell each other: what should be, downwards; what is, upwards. Both are state with a
//! stamp, never a series of messages that must all arrive.

use std::collections::{BTreeMap, BTreeSet};

use model::{Hash, PackageName};
use serde::{Deserialize, Serialize};

use crate::{
    ContentVersion, Effect, Key, Moment, Note, Observed, PackageId, PlaceId, PlaceKind, PointName,
    Quarantined, Site, SiteCode, Stamp, VersionNumber, desired::tally_of,
};

/// What changed, in order; each package only where it changed last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Changes {
    sequence: u64,
    by_sequence: BTreeMap<u64, PackageId>,
    of: BTreeMap<PackageId, u64>,
}

impl Changes {
    pub(crate) fn mark(&mut self, id: PackageId) {
        self.sequence += 1;
        if let Some(old) = self.of.insert(id, self.sequence) {
            self.by_sequence.remove(&old);
        }
        self.by_sequence.insert(self.sequence, id);
    }

    /// A change that concerns no package. Answers with its number.
    pub(crate) fn skip(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    pub(crate) fn forget(&mut self, id: PackageId) {
        if let Some(old) = self.of.remove(&id) {
            self.by_sequence.remove(&old);
        }
    }

    pub(crate) fn last(&self) -> u64 {
        self.sequence
    }

    pub(crate) fn of(&self, id: PackageId) -> u64 {
        self.of.get(&id).copied().unwrap_or_default()
    }

    /// A package's latest change, as it was kept.
    pub(crate) fn put_back(&mut self, id: PackageId, of: u64) {
        if of > 0 {
            self.of.insert(id, of);
            self.by_sequence.insert(of, id);
        }
    }

    pub(crate) fn begin_at(&mut self, sequence: u64) {
        self.sequence = sequence;
    }

    pub(crate) fn since(&self, sequence: u64) -> impl Iterator<Item = (u64, PackageId)> {
        self.by_sequence.range(sequence.saturating_add(1)..).map(|(at, id)| (*at, *id))
    }
}

/// Counts of copies of one package at a site and below it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Points that should hold it.
    pub wanted: u32,
    /// Points seen to hold the newest version.
    pub done: u32,
    /// Points where somebody has to decide.
    pub failed: u32,
    /// Copies that should be gone and were not seen to be.
    pub left: u32,
}

impl Tally {
    pub(crate) fn replace(&mut self, before: Self, after: Self) {
        self.wanted = (self.wanted + after.wanted).saturating_sub(before.wanted);
        self.done = (self.done + after.done).saturating_sub(before.done);
        self.failed = (self.failed + after.failed).saturating_sub(before.failed);
        self.left = (self.left + after.left).saturating_sub(before.left);
    }
}

/// A child asks what changed, and says what it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchange {
    /// How far the parent's word was heard.
    pub seen: Stamp,
    /// What changed at the child.
    pub report: Report,
}

/// What a child holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The child's latest change.
    pub stamp: Stamp,
    /// Everything after this is there; nothing, if simply everything is.
    pub since: Option<u64>,
    /// Every site below the child, if that changed.
    pub below: Option<BTreeSet<SiteCode>>,
    /// By package.
    pub entries: Vec<ReportEntry>,
}

/// One package at a child and below.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportEntry {
    /// Which package.
    pub package: PackageName,
    /// When this changed last.
    pub stamp: Stamp,
    /// The child's own copy.
    pub held: Option<VersionNumber>,
    /// The newest version the child knows of.
    pub known: VersionNumber,
    /// Whether nothing of it is left there or below.
    pub gone: bool,
    /// Points there and below.
    pub tally: Tally,
}

/// What a child should hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Feed {
    /// The parent's latest change.
    pub stamp: Stamp,
    /// Everything after this is there; nothing, if simply everything is.
    pub since: Option<u64>,
    /// By package.
    pub entries: Vec<FeedEntry>,
    /// How far the child was heard.
    pub heard: Stamp,
    /// What the switch of the parent's trust metadata is, if it has any: no matter of decisions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<Hash>,
}

/// One package that a child should hold, or no longer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedEntry {
    /// Which package.
    pub package: PackageName,
    /// The newest version; none if it is to go.
    pub version: Option<ContentVersion>,
    /// Greater goes first.
    pub priority: u8,
    /// The points at or below the child that are to hold it.
    pub points: Vec<PointName>,
}

impl Site {
    /// What to say to the parent now.
    pub fn exchange(&self) -> Exchange {
        let whole = self.heard.epoch != self.epoch || self.heard.sequence == 0;
        let since = (!whole).then_some(self.heard.sequence);
        let entries = self
            .reports
            .since(since.unwrap_or_default())
            .filter_map(|(sequence, id)| self.report_entry(id, sequence))
            .collect();
        let stamp = Stamp { epoch: self.epoch, sequence: self.reports.last() };
        let below = (self.said_below > since.unwrap_or_default() || whole)
            .then(|| self.routes.keys().cloned().collect());
        Exchange { seen: self.seen, report: Report { stamp, since, below, entries } }
    }

    fn report_entry(&self, id: PackageId, sequence: u64) -> Option<ReportEntry> {
        let package = self.packages.get(&id)?;
        Some(ReportEntry {
            package: package.name.clone(),
            stamp: Stamp { epoch: self.epoch, sequence },
            held: self.master(id),
            known: package.number,
            gone: package.places.is_empty(),
            tally: package.tally,
        })
    }

    /// What to say to a child that has heard everything up to `seen`.
    pub(crate) fn feed_for(&self, child: PlaceId, seen: Stamp, heard: Stamp) -> Feed {
        let stamp = Stamp { epoch: self.epoch, sequence: self.feed.last() };
        let whole = seen.epoch != self.epoch || seen.sequence == 0;
        let since = (!whole).then_some(seen.sequence);
        let entries = self
            .feed
            .since(since.unwrap_or_default())
            .filter_map(|(_, id)| self.feed_entry(child, id))
            .collect();
        Feed { stamp, since, entries, heard, trust: None }
    }

    fn feed_entry(&self, child: PlaceId, id: PackageId) -> Option<FeedEntry> {
        let package = self.packages.get(&id)?;
        self.places.get(&child)?.cell(id)?;
        let points: Vec<PointName> = match package.newest {
            Some(_) => self
                .points_of(id)
                .filter(|point| self.routes.get(&point.site) == Some(&child))
                .cloned()
                .collect(),
            None => Vec::new(),
        };
        let version = package.newest.filter(|_| !points.is_empty());
        #[cfg(feature = "mutations")]
        if version.is_none() && self.has(crate::Mutation::NoTombstones) {
            return None;
        }
        let name = package.name.clone();
        Some(FeedEntry { package: name, version, priority: package.priority, points })
    }

    pub(crate) fn take_report(
        &mut self,
        at: Moment,
        from: &SiteCode,
        exchange: Exchange,
        fx: &mut Vec<Effect>,
    ) {
        let quarantine = |why| Effect::Quarantine { origin: from.clone(), why };
        let Some(id) = self.child(from) else {
            return fx.push(quarantine(Quarantined::Stranger));
        };
        let report = exchange.report;
        let fits = report.since.is_none_or(|since| since <= report.stamp.sequence)
            && report.entries.iter().all(|entry| entry.stamp <= report.stamp);
        if !fits {
            return fx.push(quarantine(Quarantined::BadStamps));
        }
        if exchange.seen > (Stamp { epoch: self.epoch, sequence: self.feed.last() }) {
            // It has heard what we have not said: our tables are older than we are.
            self.raise(at, exchange.seen.epoch + 1, fx);
            fx.push(Effect::Tell(Note::Resynchronised(from.clone())));
        }
        let heard = self.merge(at, id, exchange.seen, report, fx);
        let feed = self.feed_for(id, exchange.seen, heard);
        fx.push(Effect::Answer { child: from.clone(), feed });
    }

    /// Takes over what is newer in a child's report. Answers with how far it has now been heard.
    fn merge(
        &mut self,
        at: Moment,
        id: PlaceId,
        seen: Stamp,
        report: Report,
        fx: &mut Vec<Effect>,
    ) -> Stamp {
        let Some(PlaceKind::Child { code, heard, .. }) =
            self.places.get_mut(&id).map(|place| &mut place.kind)
        else {
            return Stamp::default();
        };
        let before = *heard;
        if report.stamp < before {
            return before;
        }
        let follows = report
            .since
            .is_none_or(|since| before.epoch == report.stamp.epoch && since <= before.sequence);
        if follows {
            *heard = report.stamp;
        }
        if before.epoch != report.stamp.epoch && before != Stamp::default() {
            fx.push(Effect::Tell(Note::Resynchronised(code.clone())));
        }
        let now = *heard;
        fx.push(Effect::Keep(Key::Place(id)));
        if let Some(below) = report.below.as_ref().filter(|_| follows) {
            self.merge_below(at, id, below, fx);
        }
        let mut named = BTreeSet::new();
        for entry in &report.entries {
            if let Some(package) = self.names.get(&entry.package).copied() {
                named.insert(package);
                self.merge_entry(at, (id, package), seen, entry, fx);
            }
        }
        if report.since.is_none() {
            // The whole: what it does not name is not there.
            let unnamed: Vec<PackageId> = self.places.get(&id).map_or_else(Vec::new, |place| {
                place.cells().map(|(package, _)| package).filter(|id| !named.contains(id)).collect()
            });
            for package in unnamed {
                if self.is_current(seen, package) {
                    self.looked(at, id, package, Observed::Absent, fx);
                }
            }
        }
        now
    }

    /// Takes over which sites are below a child.
    fn merge_below(
        &mut self,
        at: Moment,
        id: PlaceId,
        below: &BTreeSet<SiteCode>,
        fx: &mut Vec<Effect>,
    ) {
        let Some(PlaceKind::Child { code, .. }) = self.places.get(&id).map(|place| &place.kind)
        else {
            return;
        };
        let child = code.clone();
        for code in below {
            match self.routes.get(code) {
                Some(place) if *place == id && *code != child => {}
                None if *code != self.code && self.parent.as_ref() != Some(code) => {
                    self.route(at, id, code.clone(), fx);
                }
                _ => fx.push(Effect::Quarantine {
                    origin: child.clone(),
                    why: Quarantined::TwiceInTheTree,
                }),
            }
        }
        let gone: Vec<SiteCode> = self
            .routes
            .iter()
            .filter(|(code, place)| **place == id && **code != child && !below.contains(*code))
            .map(|(code, _)| code.clone())
            .collect();
        for code in gone {
            self.unroute(at, id, &code, fx);
        }
    }

    /// Whether a child that has heard everything up to `seen` knows our last word on a package. If not, that it has
    /// nothing may be because the word to have it is still on its way.
    fn is_current(&self, seen: Stamp, id: PackageId) -> bool {
        seen.epoch == self.epoch && seen.sequence >= self.feed.of(id)
    }

    fn merge_entry(
        &mut self,
        at: Moment,
        (place_id, id): (PlaceId, PackageId),
        seen: Stamp,
        entry: &ReportEntry,
        fx: &mut Vec<Effect>,
    ) {
        let is_current = self.is_current(seen, id);
        let Some(package) = self.packages.get(&id) else { return };
        let Some(place) = self.places.get_mut(&place_id) else { return };
        let before = tally_of(package, place, id);
        let Some(cell) = place.cell_mut(id) else { return };
        let note = cell.note.get_or_insert_default();
        if note.below.is_some_and(|(stamp, ..)| stamp >= entry.stamp) {
            return;
        }
        note.below = Some((entry.stamp, entry.tally, entry.known));
        fx.push(Effect::Keep(Key::Copy(place_id, id)));
        self.retally(place_id, id, before);
        let observed = match (entry.gone, entry.held) {
            (true, _) if is_current => Observed::Absent,
            (false, Some(held)) => Observed::Holds(held),
            (true, _) | (false, None) => Observed::Unknown,
        };
        self.looked(at, place_id, id, observed, fx);
    }

    pub(crate) fn take_feed(
        &mut self,
        at: Moment,
        from: &SiteCode,
        feed: Feed,
        fx: &mut Vec<Effect>,
    ) {
        if self.parent.as_ref() != Some(from) {
            return fx
                .push(Effect::Quarantine { origin: from.clone(), why: Quarantined::Stranger });
        }
        if feed.since.is_some_and(|since| since > feed.stamp.sequence) {
            return fx
                .push(Effect::Quarantine { origin: from.clone(), why: Quarantined::BadStamps });
        }
        if feed.heard > (Stamp { epoch: self.epoch, sequence: self.reports.last() }) {
            self.raise(at, feed.heard.epoch + 1, fx);
            fx.push(Effect::Tell(Note::Resynchronised(from.clone())));
            return;
        }
        self.heard = if feed.heard.epoch == self.epoch { feed.heard } else { Stamp::default() };
        fx.push(Effect::Keep(Key::Site));
        let follows = match feed.since {
            None => feed.stamp >= self.seen,
            Some(since) => {
                feed.stamp.epoch == self.seen.epoch
                    && since <= self.seen.sequence
                    && feed.stamp.sequence >= self.seen.sequence
            }
        };
        if follows {
            self.apply(at, from, feed, fx);
        }
        for id in self.packages.keys().copied().collect::<Vec<_>>() {
            self.drop_tombstone(id, fx);
        }
    }

    fn apply(&mut self, at: Moment, from: &SiteCode, feed: Feed, fx: &mut Vec<Effect>) {
        if self.seen.epoch != feed.stamp.epoch && self.seen != Stamp::default() {
            fx.push(Effect::Tell(Note::Resynchronised(from.clone())));
        }
        self.seen = feed.stamp;
        let mut named = BTreeSet::new();
        for entry in feed.entries {
            named.insert(entry.package.clone());
            if let Err(why) = self.check_entry(&entry) {
                fx.push(Effect::Quarantine { origin: from.clone(), why });
                continue;
            }
            self.desire(at, entry, fx);
        }
        if feed.since.is_none() {
            let unnamed: Vec<PackageName> = self
                .packages
                .values()
                .filter(|package| !package.ours && !named.contains(&package.name))
                .map(|package| package.name.clone())
                .collect();
            for package in unnamed {
                let entry = FeedEntry { package, version: None, priority: 0, points: Vec::new() };
                self.desire(at, entry, fx);
            }
        }
    }

    fn check_entry(&self, entry: &FeedEntry) -> Result<(), Quarantined> {
        let is_below =
            |point: &PointName| point.site == self.code || self.routes.contains_key(&point.site);
        if !entry.points.iter().all(is_below) {
            return Err(Quarantined::ForeignPoint);
        }
        match entry.version {
            Some(version) if version.number.count == 0 || version.bytes == 0 => {
                Err(Quarantined::EmptyVersion)
            }
            _ => Ok(()),
        }
    }

    /// Makes one package what the parent says it should be.
    fn desire(&mut self, at: Moment, entry: FeedEntry, fx: &mut Vec<Effect>) {
        let id = self.package_or_new(&entry.package, false);
        let nowhere = self.packages.get(&id).is_none_or(|package| package.places.is_empty());
        if nowhere && entry.version.is_none() {
            // Not here, and not to be here: the parent waits to hear just that.
            self.say_to_parent(id);
        }
        let Some(package) = self.packages.get_mut(&id) else { return };
        if package.ours {
            return;
        }
        let wanted: BTreeSet<PointName> = entry.points.into_iter().collect();
        let changed = package.newest != entry.version;
        if changed {
            package.newest = entry.version;
            if let Some(version) = entry.version {
                package.number = version.number;
            }
        }
        let old = std::mem::replace(&mut package.targets, wanted.clone());
        for point in wanted.difference(&old) {
            self.target(at, id, point, 1, fx);
        }
        for point in old.difference(&wanted) {
            self.target(at, id, point, -1, fx);
        }
        self.set_priority(at, id, entry.priority, fx);
        if changed {
            self.say_to_children(id, fx);
            self.say_to_parent(id);
            self.reconcile_everywhere(at, id, fx);
        }
        self.drop_tombstone(id, fx);
    }
}
