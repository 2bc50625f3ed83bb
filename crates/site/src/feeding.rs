//! One object on its way to a child: each unit is asked of the address's sender before it is read.

use std::{
    ops::Range,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use content::{Index, Object};
use model::{Hash, PackageName};
use policy::{Hold, PlaceId, SiteCode, StreamId};
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncSeekExt},
    sync::watch,
};

use crate::{
    Server,
    enrol::direct_child,
    wire::{Frame, Held},
};

/// A word is said at least so often, so that silence means trouble.
const WORD: Duration = Duration::from_secs(5);

/// Why something is not to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotYet {
    /// It is on its way here.
    Content,
    /// It is not, or not for this child.
    Gone,
}

/// An object being sent.
pub(crate) struct Feeding {
    server: Arc<Server>,
    place: PlaceId,
    name: PackageName,
    stream: StreamId,
    object: Object,
    /// Where it is as something that arrives here.
    arriving: PathBuf,
    file: Option<File>,
    at: u64,
    /// Where it stops.
    end: u64,
    changes: watch::Receiver<u64>,
    grown: watch::Receiver<u64>,
}

impl Server {
    /// What a release consists of that a child may fetch.
    pub(crate) fn offered(
        self: &Arc<Self>,
        child: &SiteCode,
        name: &PackageName,
        identity: Hash,
        doubt: bool,
    ) -> Result<Index, NotYet> {
        let (id, place, is_newest) = {
            let desk = self.desk();
            let site = desk.site();
            let place = direct_child(site, child).map_err(|_| NotYet::Gone)?;
            let id = site.package_id(name).ok_or(NotYet::Gone)?;
            let package = site.package(id).ok_or(NotYet::Gone)?;
            let is_newest = package.newest.is_some_and(|newest| newest.manifest == identity);
            (id, site.place(place).and_then(|place| place.cell(id)).is_some(), is_newest)
        };
        if !(place && is_newest) {
            return Err(NotYet::Gone);
        }
        if doubt {
            if let Ok(Some(index)) = store::releases(self.store(), name) {
                self.master().doubt(index.objects());
            }
            // What arrived there did not verify: perhaps it is not sound here.
            let server = Arc::clone(self);
            std::thread::spawn(move || server.look_at(PlaceId::OWN, id));
        }
        let here = store::releases(self.store(), name).ok().flatten();
        let release = here.and_then(|index| {
            index.releases.into_iter().find(|release| release.identity == identity)
        });
        match release {
            Some(release) => {
                let mut alone = Index::new(name.clone());
                alone.put(release);
                Ok(alone)
            }
            None => self.incoming().release(name, identity).ok_or(NotYet::Content),
        }
    }
}

impl Feeding {
    /// A range of an object of a release.
    pub(crate) fn new(
        server: Arc<Server>,
        child: &SiteCode,
        (name, identity): (PackageName, Hash),
        object: Hash,
        range: Range<u64>,
    ) -> Result<Self, NotYet> {
        let index = server.offered(child, &name, identity, false)?;
        let object = index.objects().find(|one| one.hash == object).ok_or(NotYet::Gone)?;
        let place = direct_child(server.desk().site(), child).map_err(|_| NotYet::Gone)?;
        let arriving = server.incoming().path(&name, identity, object.hash);
        let mut number = [0; 8];
        number.copy_from_slice(&object.hash.0[..8]);
        let stream = StreamId(u64::from_be_bytes(number));
        let (changes, grown) = (server.sending(), server.incoming().watch());
        Ok(Self {
            server,
            place,
            name,
            stream,
            object,
            arriving,
            file: None,
            at: range.start,
            end: range.end.min(object.length),
            changes,
            grown,
        })
    }

    /// The next frame, and what is left; nothing at the end.
    pub(crate) async fn next(mut self) -> std::io::Result<Option<(Vec<u8>, Self)>> {
        let began = Instant::now();
        loop {
            if self.at >= self.end {
                return Ok(None);
            }
            self.changes.mark_unchanged();
            self.grown.mark_unchanged();
            let available = self.available().await?;
            let priority = self.server.priority(&self.name);
            let asked = self.server.may_send(self.place, (self.stream, priority), available);
            let hold = match asked {
                Ok(grant) => return self.read(grant.bytes).await.map(Some),
                Err(hold) => hold,
            };
            let left = WORD.saturating_sub(began.elapsed());
            if left.is_zero() || self.server.is_stopping() {
                if hold == Hold::Content {
                    // It may have come another way meanwhile: through another process of this site.
                    self.file = None;
                }
                let frame = Frame::Held(Held::from(hold)).to_bytes();
                return Ok(Some((frame, self)));
            }
            let wait = match hold {
                Hold::Rate(milliseconds) | Hold::Closed(Some(milliseconds)) => {
                    left.min(Duration::from_millis(milliseconds))
                }
                Hold::Line | Hold::Content | Hold::Closed(None) | Hold::NoAddress => left,
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                _ = self.changes.changed() => {}
                _ = self.grown.changed(), if hold == Hold::Content => {}
            }
        }
    }

    /// Bytes that are here and were not sent.
    async fn available(&mut self) -> std::io::Result<u64> {
        if self.file.is_none() {
            let (server, name, object) = (Arc::clone(&self.server), self.name.clone(), self.object);
            let here = tokio::task::spawn_blocking(move || server.here(&name, &object));
            let here = here.await.map_err(std::io::Error::other)?.map_err(std::io::Error::other)?;
            for path in here.iter().chain([&self.arriving]) {
                match File::open(path).await {
                    Ok(file) => {
                        self.file = Some(file);
                        break;
                    }
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
        }
        let Some(file) = &self.file else { return Ok(0) };
        Ok(file.metadata().await?.len().min(self.end).saturating_sub(self.at))
    }

    async fn read(mut self, bytes: u64) -> std::io::Result<(Vec<u8>, Self)> {
        let Some(file) = &mut self.file else {
            return Err(std::io::ErrorKind::NotFound.into());
        };
        file.seek(std::io::SeekFrom::Start(self.at)).await?;
        let mut content = vec![0; usize::try_from(bytes).unwrap_or(usize::MAX)];
        file.read_exact(&mut content).await?;
        self.at += bytes;
        self.server.sent(self.place, bytes);
        Ok((Frame::Content(content).to_bytes(), self))
    }
}

impl Drop for Feeding {
    fn drop(&mut self) {
        self.server.end_stream(self.place, self.stream);
    }
}
