//! Packs that are not sent: made again from the own copy and the delta that leads from it.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use content::{DeltaEntry, Index, Object, ObjectKind, Release};
use policy::{Cause, Held, LINE_IS_KNOWN, Offer, Pace, Way, choose_way, is_made_here};
use serde_json::json;
use store::{PackPart, Rebuild, RebuildError};

use super::{BEAT, Receiving, UNIT, disk, failed};
use crate::{
    copy::{GoOn, Stopped, hash_of, of_own},
    incoming::Partial,
    server::log,
};

/// What the site has of a package, and the delta that leads on from it.
pub(super) struct Base {
    release: Release,
    delta: DeltaEntry,
}

/// Frames packed at the same time at most: each takes up to some hundred megabytes.
const SIDE_BY_SIDE: usize = 4;

/// Packs of so many bytes are worth the question how quick the line is. Fewer are made in some seconds.
const WORTH_A_PROBE: u64 = 4 * LINE_IS_KNOWN;

/// Packs that are being made.
struct Making {
    rebuild: Rebuild,
    /// Frames of the pack under way that were made ahead, by where they start; `None` where no level makes one.
    ahead: BTreeMap<u64, Option<Vec<u8>>>,
    cores: usize,
    bytes: u64,
    took: Duration,
}

fn pace(bytes: u64, took: Duration) -> Pace {
    let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    Pace { bytes, milliseconds }
}

impl Receiving<'_> {
    /// What packs can be made from, if a delta leads from the own copy, and was not followed in vain.
    pub(super) fn base(&self, index: &Index) -> Option<Base> {
        let site = self.server.desk();
        let number = site.site().master(self.work.package)?;
        drop(site);
        let here = store::releases(self.server.store(), self.name).ok().flatten()?;
        let wanted = index.releases.first()?;
        let from = |entry: &&DeltaEntry| {
            here.releases.iter().any(|release| release.identity == entry.base)
        };
        let delta = wanted.deltas.iter().find(from)?.clone();
        let release = here.releases.into_iter().find(|release| release.identity == delta.base)?;
        let is_pack = |object: &&Object| object.kind == ObjectKind::Pack;
        let full = self.waiting.iter().filter(is_pack).map(|object| object.length).sum();
        // Clients need the delta in any case: following it costs no byte of the line.
        let deltas = vec![(number, 0)];
        let offer = Offer { manifest: wanted.identity, full, chunks: None, deltas };
        let held = Held { number, manifest: release.identity, verified: true };
        let way = choose_way(&[held], &offer, self.work.avoid);
        (way == Way::Delta(number)).then_some(Base { release, delta })
    }

    /// What packs are made from comes first.
    pub(super) fn put_packs_last(&mut self, base: &Base) {
        let (packs, mut rest): (Vec<_>, Vec<_>) =
            self.waiting.drain(..).partition(|object| object.kind == ObjectKind::Pack);
        rest.sort_by_key(|object| *object != base.delta.object);
        (self.packs, self.waiting) = (packs, rest.into());
    }

    /// Makes the packs, all the rest being here; what cannot be made comes from the parent.
    pub(super) fn remake(
        &mut self,
        index: &Index,
        base: &Base,
        go_on: GoOn<'_>,
    ) -> Result<(), Stopped> {
        let Some(release) = index.releases.first() else { return Ok(()) };
        let cores = thread::available_parallelism().map_or(1, usize::from).min(SIDE_BY_SIDE);
        self.probe(go_on)?;
        // Packs that come sooner than anybody makes them are not begun.
        if !is_made_here(cores, Pace::default(), pace(self.came, self.took)) {
            log("packs-not-made", &json!({ "package": self.name, "why": "they come sooner" }));
            return self.fetch_packs(go_on);
        }
        let store = self.server.store();
        let delta = self.server.master().sound(&base.delta.object);
        let delta = delta.map_err(of_own)?;
        let folder = self.server.incoming().folder(self.name, self.identity);
        let rebuild = Rebuild::new(
            store,
            &base.release,
            release,
            delta.path(),
            &self.packs,
            &folder,
            &mut now_and_then(go_on),
        );
        let rebuild = match rebuild {
            Ok(rebuild) => rebuild,
            Err(RebuildError::Stopped) => return Err(Stopped::Cancelled),
            // The packs themselves need less room than what they are made from.
            Err(RebuildError::Disk(error)) => {
                let more = json!({ "package": self.name, "why": error.to_string() });
                log("packs-not-made", &more);
                return self.fetch_packs(go_on);
            }
            Err(error) => return Err(useless(&model::with_causes(&error))),
        };
        let came = self.came;
        let (ahead, took) = (BTreeMap::new(), Duration::ZERO);
        let mut making = Making { rebuild, ahead, cores, bytes: 0, took };
        for object in std::mem::take(&mut self.packs) {
            making.ahead.clear();
            self.pack(object, &mut making, go_on)?;
        }
        let came = self.came - came;
        log("packs-made", &json!({ "package": self.name, "made": making.bytes, "came": came }));
        Ok(())
    }

    /// Fetches the beginning of a pack where too little came to say how quick the line is.
    fn probe(&mut self, go_on: GoOn<'_>) -> Result<(), Stopped> {
        let Some(first) = self.packs.first().copied() else { return Ok(()) };
        let lacking: u64 = self.packs.iter().map(|pack| pack.length).sum();
        if self.came >= LINE_IS_KNOWN || lacking < WORTH_A_PROBE || first.length < LINE_IS_KNOWN {
            return Ok(());
        }
        let partial = self.server.incoming().open(self.name, self.identity, &first);
        let partial = partial.map_err(|error| disk(error, first.length))?;
        // What an attempt before fetched or made is gone on from.
        if partial.length == 0 {
            self.part(first, partial, LINE_IS_KNOWN, go_on)?;
            // Whoever goes on from there counts it.
            self.note(|transfer, _| transfer.done = transfer.done.saturating_sub(LINE_IS_KNOWN));
        }
        Ok(())
    }

    fn fetch_packs(&mut self, go_on: GoOn<'_>) -> Result<(), Stopped> {
        self.waiting = self.packs.drain(..).collect();
        self.run(go_on)
    }

    fn pack(
        &mut self,
        object: Object,
        making: &mut Making,
        go_on: GoOn<'_>,
    ) -> Result<(), Stopped> {
        let full = |error| disk(error, object.length);
        let mut partial =
            self.server.incoming().open(self.name, self.identity, &object).map_err(full)?;
        self.had(partial.length);
        let mut synced = partial.length;
        while let Some(next) = making.rebuild.next(&object, partial.length) {
            let (bytes, range) = match next {
                PackPart::Other(range) => (None, range),
                PackPart::Frame(range) if making.ahead.contains_key(&range.start) => {
                    (making.ahead.remove(&range.start).flatten(), range)
                }
                PackPart::Frame(_)
                    if is_made_here(making.cores, making.pace(), pace(self.came, self.took)) =>
                {
                    making.make(&object, partial.length, go_on).map_err(full)?;
                    continue;
                }
                PackPart::Frame(range) => (None, range.start..object.length),
            };
            if let Some(bytes) = bytes {
                // A part of it may be here from an attempt before.
                let here = usize::try_from(partial.length - range.start).unwrap_or(usize::MAX);
                let rest = bytes.get(here..).unwrap_or_default();
                partial.write(rest).map_err(full)?;
                self.had(rest.len() as u64);
                self.server.incoming().grew();
                if partial.length - synced >= UNIT {
                    partial.sync().map_err(full)?;
                    synced = partial.length;
                }
                if !go_on(0) {
                    return Err(Stopped::Cancelled);
                }
            } else {
                partial = self.part(object, partial, range.end, go_on)?;
                synced = partial.length;
            }
        }
        if hash_of(partial.path()).map_err(full)? != object.hash {
            partial.start_over().map_err(full)?;
            return Err(useless(&format!("`{}` was packed in another way", object.path())));
        }
        partial.adopt(self.server.master(), &object).map_err(of_own)?;
        self.server.incoming().grew();
        Ok(())
    }

    /// Fetches an object up to a byte.
    fn part(
        &mut self,
        object: Object,
        partial: Partial,
        to: u64,
        go_on: GoOn<'_>,
    ) -> Result<Partial, Stopped> {
        self.fetch(object, partial, to)?;
        loop {
            let Some((_, result)) = self.step(go_on)? else { continue };
            let cut = || Stopped::Failed(Cause::Unreachable, "the line was cut".to_owned());
            let (partial, _) = self.open.remove(&object.hash).ok_or_else(cut)?;
            partial.sync().map_err(|error| disk(error, object.length))?;
            result.map_err(failed)?;
            return if partial.length == to { Ok(partial) } else { Err(cut()) };
        }
    }

    /// Bytes that need not come.
    pub(super) fn had(&mut self, bytes: u64) {
        self.note(|transfer, _| {
            transfer.had += bytes;
            transfer.done += bytes;
        });
    }
}

impl Making {
    fn pace(&self) -> Pace {
        pace(self.bytes, self.took)
    }

    /// Makes the next frames of a pack, from a byte on, as many as there are cores. None at all if nobody waits any more.
    fn make(&mut self, pack: &Object, mut at: u64, go_on: GoOn<'_>) -> std::io::Result<()> {
        let mut starts = Vec::new();
        while starts.len() < self.cores
            && let Some(next) = self.rebuild.next(pack, at)
        {
            let (PackPart::Frame(range) | PackPart::Other(range)) = next.clone();
            at = range.end;
            starts.extend(matches!(next, PackPart::Frame(_)).then_some(range.start));
        }
        let began = Instant::now();
        let made = self.rebuild.make(pack, &starts, &mut now_and_then(go_on))?;
        self.took += began.elapsed();
        self.bytes += made.iter().flatten().map(|bytes| bytes.len() as u64).sum::<u64>();
        self.ahead.extend(starts.into_iter().zip(made));
        Ok(())
    }
}

/// Asks whether to go on at most once a beat.
fn now_and_then(go_on: GoOn<'_>) -> impl FnMut() -> bool {
    let (mut asked, mut goes_on) = (Instant::now(), true);
    move || {
        if asked.elapsed() >= BEAT {
            asked = Instant::now();
            goes_on = goes_on && go_on(0);
        }
        goes_on
    }
}

/// The next attempt follows no delta.
fn useless(why: &str) -> Stopped {
    Stopped::Failed(Cause::BaseDamaged, format!("the delta leads to no packs: {why}"))
}
