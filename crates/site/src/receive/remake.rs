//! Packs that are not sent: made again from the own copy and the delta that leads from it.

use std::time::{Duration, Instant};

use content::{DeltaEntry, Index, Object, ObjectKind, Release};
use policy::{Cause, Held, Offer, Pace, Way, choose_way, is_made_here};
use serde_json::json;
use store::{PackPart, Rebuild, RebuildError};

use super::{BEAT, Receiving, UNIT, disk, failed};
use crate::{
    copy::{GoOn, Stopped, hash_of},
    incoming::Partial,
    server::log,
};

/// What the site has of a package, and the delta that leads on from it.
pub(super) struct Base {
    release: Release,
    delta: DeltaEntry,
}

/// What became of packs.
#[derive(Default)]
struct Made {
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
        let mut asked = Instant::now();
        let mut may_go_on = || {
            if asked.elapsed() < BEAT {
                return true;
            }
            asked = Instant::now();
            go_on(0)
        };
        let store = self.server.store();
        let delta = self.server.folder().store().join(base.delta.object.path());
        let folder = self.server.incoming().folder(self.name, self.identity);
        let rebuild = Rebuild::new(
            store,
            &base.release,
            release,
            &delta,
            &self.packs,
            &folder,
            &mut may_go_on,
        );
        let mut rebuild = match rebuild {
            Ok(rebuild) => rebuild,
            Err(RebuildError::Stopped) => return Err(Stopped::Cancelled),
            // The packs themselves need less room than what they are made from.
            Err(RebuildError::Disk(error)) => {
                let more = json!({ "package": self.name, "why": error.to_string() });
                log("packs-not-made", &more);
                self.waiting = self.packs.drain(..).collect();
                return self.run(go_on);
            }
            Err(error) => return Err(useless(&model::with_causes(&error))),
        };
        let (mut made, came) = (Made::default(), self.came);
        for object in std::mem::take(&mut self.packs) {
            self.pack(object, &mut rebuild, &mut made, go_on)?;
        }
        let came = self.came - came;
        log("packs-made", &json!({ "package": self.name, "made": made.bytes, "came": came }));
        Ok(())
    }

    fn pack(
        &mut self,
        object: Object,
        rebuild: &mut Rebuild,
        made: &mut Made,
        go_on: GoOn<'_>,
    ) -> Result<(), Stopped> {
        let full = |error| disk(error, object.length);
        let mut partial =
            self.server.incoming().open(self.name, self.identity, &object).map_err(full)?;
        self.had(partial.length);
        let mut synced = partial.length;
        while let Some(next) = rebuild.next(&object, partial.length) {
            let (PackPart::Frame(range) | PackPart::Other(range)) = next.clone();
            let is_made = matches!(next, PackPart::Frame(_))
                && is_made_here(pace(made.bytes, made.took), pace(self.came, self.took));
            let began = Instant::now();
            let frame = if is_made {
                rebuild.make(&object, range.start, &mut || go_on(0))
            } else {
                Ok(None)
            };
            if is_made {
                made.took += began.elapsed();
            }
            if let Some(bytes) = frame.map_err(full)? {
                // A part of it may be here from an attempt before.
                let here = usize::try_from(partial.length - range.start).unwrap_or(usize::MAX);
                let rest = bytes.get(here..).unwrap_or_default();
                partial.write(rest).map_err(full)?;
                made.bytes += rest.len() as u64;
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
        partial.adopt(&self.server.folder().store(), &object).map_err(full)?;
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

/// The next attempt follows no delta.
fn useless(why: &str) -> Stopped {
    Stopped::Failed(Cause::BaseDamaged, format!("the delta leads to no packs: {why}"))
}
