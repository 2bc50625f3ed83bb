//! A master copy from the parent: unit by unit into the spool, hashed, then part of the store in one switch. Packs that a
//! delta leads to are made again instead.

mod remake;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use content::{Index, Object};
use model::{Hash, PackageName};
use policy::{Cause, Fence, Work};
use tokio::sync::mpsc;

use crate::{
    Server, SiteError,
    copy::{GoOn, Stopped, at_own, enter, hash_of, marker, of_own},
    incoming::Partial,
    uplink::{LineError, Piece, Uplink},
};

/// Objects of one release under way at the same time.
const STREAMS: usize = 4;
/// Pieces that wait to be written.
const PIECES: usize = 16;
/// An object of which no more comes, and why not, if there is more of it.
type End = (Object, Result<(), LineError>);
/// What a power cut may cost of each object, in bytes.
const UNIT: u64 = 4 << 20;
/// Whether to go on is asked at least so often.
const BEAT: Duration = Duration::from_secs(1);

/// A transfer as it is right now.
#[derive(Clone, Debug)]
pub(crate) struct Transfer {
    pub(crate) done: u64,
    pub(crate) of: u64,
    pub(crate) began: Instant,
    /// What was there when it began.
    pub(crate) had: u64,
    /// Why nothing comes right now.
    pub(crate) held: Option<String>,
}

fn failed(error: LineError) -> Stopped {
    match error {
        LineError::Silent(why) => Stopped::Failed(Cause::Unreachable, why),
        LineError::Gone(why) => Stopped::Failed(Cause::Gone, why),
        LineError::Refused(why) => Stopped::Failed(Cause::Denied, why),
        LineError::Held(held) => Stopped::Failed(Cause::Unreachable, held.why),
    }
}

fn disk(error: std::io::Error, needs: u64) -> Stopped {
    let cause = match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            Cause::NoSpace { needs, has: 0 }
        }
        std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
            Cause::Denied
        }
        _ => Cause::InUse,
    };
    Stopped::Failed(cause, format!("the site's own spool: {error}"))
}

fn spool(error: SiteError) -> Stopped {
    match error {
        SiteError::File { source, .. } => disk(source, 0),
        other => Stopped::Failed(Cause::InUse, model::with_causes(&other)),
    }
}

/// One attempt under way.
struct Receiving<'r> {
    server: &'r Arc<Server>,
    uplink: Arc<Uplink>,
    work: &'r Work,
    name: &'r PackageName,
    identity: Hash,
    open: BTreeMap<Hash, (Partial, u64)>,
    waiting: VecDeque<Object>,
    /// Packs that are made again once the rest is here.
    packs: Vec<Object>,
    /// Bytes that came, and how long they were waited for.
    came: u64,
    took: Duration,
    give: mpsc::Sender<Piece>,
    take: mpsc::Receiver<Piece>,
}

impl Server {
    /// Fetches what the own store lacks of a release, and makes it visible.
    pub(crate) fn receive(
        self: &Arc<Self>,
        work: &Work,
        name: &PackageName,
        identity: Hash,
        go_on: GoOn<'_>,
    ) -> Result<(), Stopped> {
        if let Some(index) = self.carried(name, identity) {
            self.all_vouched(&index)?;
            enter(self.store(), name, work.fence).map_err(at_own)?;
            self.switch_own(name, (identity, work.fence), &index)?;
            self.incoming().forget(name);
            return Ok(());
        }
        let uplink = self.uplink().ok_or_else(|| {
            let why = "a courier brings it: `packhorse site courier import`; or `packhorse site attach --parent` finds a line";
            Stopped::Failed(Cause::Gone, why.to_owned())
        })?;
        let copy = (work.place, work.package);
        let of = 0;
        let transfer = Transfer { done: 0, of, began: Instant::now(), had: 0, held: None };
        self.transfers().insert(copy, transfer);
        let result = self.receive_all(uplink, work, name, identity, go_on);
        self.transfers().remove(&copy);
        result
    }

    /// A release that a courier brought, if every object of it is in the store.
    fn carried(&self, name: &PackageName, identity: Hash) -> Option<Index> {
        let index = self.incoming().release(name, identity)?;
        let whole = index.objects().all(|object| self.store().has(&object).unwrap_or(false))
            && index.objects().all(|object| self.master().has_whole(&object).unwrap_or(false));
        whole.then_some(index)
    }

    fn receive_all(
        self: &Arc<Self>,
        uplink: Arc<Uplink>,
        work: &Work,
        name: &PackageName,
        identity: Hash,
        go_on: GoOn<'_>,
    ) -> Result<(), Stopped> {
        let index = self.release_from_parent(&uplink, work, name, identity, go_on)?;
        self.all_vouched(&index)?;
        enter(self.store(), name, work.fence).map_err(at_own)?;
        self.incoming().put_release(name, identity, &index).map_err(spool)?;
        let (give, take) = mpsc::channel(PIECES);
        let mut receiving = Receiving {
            server: self,
            uplink,
            work,
            name,
            identity,
            open: BTreeMap::new(),
            waiting: VecDeque::new(),
            packs: Vec::new(),
            came: 0,
            took: Duration::ZERO,
            give,
            take,
        };
        for object in index.objects() {
            let known = receiving.waiting.iter().any(|other| other.hash == object.hash);
            if known {
                continue;
            }
            store::spare(self.store(), &object).map_err(of_own)?;
            if self.master().has_whole(&object).map_err(of_own)? {
                continue;
            }
            receiving.waiting.push_back(object);
            if !go_on(0) {
                return Err(Stopped::Cancelled);
            }
        }
        receiving.note(|transfer, of| transfer.of = of);
        let base = receiving.base(&index);
        if let Some(base) = &base {
            receiving.put_packs_last(base);
        }
        receiving.run(go_on)?;
        if let Some(base) = base {
            receiving.remake(&index, &base, go_on)?;
        }
        self.switch_own(name, (identity, work.fence), &index)?;
        self.incoming().forget(name);
        Ok(())
    }

    fn all_vouched(self: &Arc<Self>, index: &Index) -> Result<(), Stopped> {
        index.releases.iter().try_for_each(|release| self.vouched(&index.name, release))
    }

    fn release_from_parent(
        self: &Arc<Self>,
        uplink: &Arc<Uplink>,
        work: &Work,
        name: &PackageName,
        identity: Hash,
        go_on: GoOn<'_>,
    ) -> Result<Index, Stopped> {
        loop {
            let line = uplink.line().map_err(failed)?;
            let asked = line.release(name, identity, work.avoid.chunks);
            match uplink.handle.block_on(asked) {
                Ok(index) => return Ok(index),
                // The parent has waited already.
                Err(LineError::Held(held)) => {
                    let copy = (work.place, work.package);
                    if let Some(transfer) = self.transfers().get_mut(&copy) {
                        transfer.held = Some(held.why);
                    }
                }
                Err(error) => return Err(failed(error)),
            }
            if !go_on(0) {
                return Err(Stopped::Cancelled);
            }
        }
    }

    /// Record, then index: from then on the own store has the release, and none before it. Somebody with a later lease, perhaps
    /// on another machine, goes first.
    fn switch_own(
        &self,
        name: &PackageName,
        (identity, fence): (Hash, Fence),
        index: &Index,
    ) -> Result<(), Stopped> {
        let store = self.store();
        if marker(store, name).map_err(of_own)?.fence != fence {
            return Err(Stopped::Cancelled);
        }
        let switch = || {
            store.write_small(&Index::record_path(name, identity), index.to_bytes())?;
            store.write_small(&Index::path(name), index.to_bytes())?;
            for listed in store.list(&Index::records(name))? {
                if listed.path != Index::record_path(name, identity) {
                    store.delete(&listed.path)?;
                }
            }
            Ok(())
        };
        switch().map_err(of_own)
    }
}

impl Receiving<'_> {
    fn note(&self, change: impl FnOnce(&mut Transfer, u64)) {
        let copy = (self.work.place, self.work.package);
        let all = self.waiting.iter().chain(&self.packs);
        let ahead: u64 = all.map(|object| object.length).sum();
        if let Some(transfer) = self.server.transfers().get_mut(&copy) {
            change(transfer, ahead);
        }
    }

    /// Until every object that waits is part of the store.
    fn run(&mut self, go_on: GoOn<'_>) -> Result<(), Stopped> {
        loop {
            while self.open.len() < STREAMS && self.begin_next()? {}
            if self.open.is_empty() {
                return Ok(());
            }
            if let Some((object, result)) = self.step(go_on)? {
                // A part that came is kept, and gone on from.
                let came = self.finish(&object);
                result.map_err(failed).and(came)?;
            }
        }
    }

    /// Takes what comes next, or waits for a beat. Answers with an object of which no more comes.
    fn step(&mut self, go_on: GoOn<'_>) -> Result<Option<End>, Stopped> {
        let began = Instant::now();
        let handle = self.uplink.handle.clone();
        let next = async { tokio::time::timeout(BEAT, self.take.recv()).await };
        let come = handle.block_on(next);
        let (mut bytes, mut ended) = (0, None);
        match come {
            Err(_) | Ok(None) => {}
            Ok(Some(Piece::Bytes(object, content))) => {
                bytes = content.len() as u64;
                self.write(&object, &content)?;
            }
            Ok(Some(Piece::Held(held))) => {
                let why = match held.next {
                    Some(next) => format!("{}, for {} s", held.why, next.div_ceil(1_000)),
                    None => held.why,
                };
                self.note(|transfer, _| transfer.held = Some(why));
            }
            Ok(Some(Piece::End(object, result))) => ended = Some((object, result)),
        }
        self.came += bytes;
        self.took += began.elapsed();
        if go_on(bytes) { Ok(ended) } else { Err(Stopped::Cancelled) }
    }

    fn begin_next(&mut self) -> Result<bool, Stopped> {
        let Some(object) = self.waiting.pop_front() else { return Ok(false) };
        let partial = self
            .server
            .incoming()
            .open(self.name, self.identity, &object)
            .map_err(|error| disk(error, object.length))?;
        let from = partial.length;
        self.had(from);
        self.fetch(object, partial, object.length)?;
        Ok(true)
    }

    /// Asks for an object up to a byte.
    fn fetch(&mut self, object: Object, partial: Partial, to: u64) -> Result<(), Stopped> {
        let from = partial.length;
        self.open.insert(object.hash, (partial, from));
        let (give, name, identity) = (self.give.clone(), self.name.clone(), self.identity);
        let line = self.uplink.line().map_err(failed)?;
        self.uplink.handle.spawn(async move {
            let result = if from < to {
                line.object((&name, identity), object, from..to, &give).await
            } else {
                Ok(())
            };
            // Whoever received may have gone.
            let _ = give.send(Piece::End(object, result)).await;
        });
        Ok(())
    }

    fn write(&mut self, object: &Object, bytes: &[u8]) -> Result<(), Stopped> {
        let Some((partial, synced)) = self.open.get_mut(&object.hash) else { return Ok(()) };
        if partial.length + bytes.len() as u64 > object.length {
            let why = format!("more came of `{}` than there is", object.path());
            return Err(Stopped::Failed(Cause::ContentDamaged, why));
        }
        let full = |error| disk(error, object.length);
        partial.write(bytes).map_err(full)?;
        if partial.length - *synced >= UNIT {
            partial.sync().map_err(full)?;
            *synced = partial.length;
        }
        let count = bytes.len() as u64;
        self.note(|transfer, _| {
            transfer.done += count;
            transfer.held = None;
        });
        self.server.incoming().grew();
        Ok(())
    }

    /// Nothing more comes of an object: it is whole and sound, or the attempt has failed.
    fn finish(&mut self, object: &Object) -> Result<(), Stopped> {
        let Some((mut partial, _)) = self.open.remove(&object.hash) else { return Ok(()) };
        let full = |error| disk(error, object.length);
        if partial.length < object.length {
            partial.sync().map_err(full)?;
            let why = format!("the line was cut at byte {} of {}", partial.length, object.length);
            return Err(Stopped::Failed(Cause::Unreachable, why));
        }
        if hash_of(partial.path()).map_err(full)? != object.hash {
            partial.start_over().map_err(full)?;
            let why = format!("what came as `{}` is something else", object.path());
            return Err(Stopped::Failed(Cause::ContentDamaged, why));
        }
        partial.adopt(self.server.master(), object).map_err(of_own)?;
        self.server.incoming().grew();
        Ok(())
    }
}
