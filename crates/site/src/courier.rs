//! Content and words by a medium somebody carries: out to children without a line, and their reports back.
//!
//! A medium holds a folder for each child: `down` with what it lacks, `up` with its report (docs/formats/courier.md).

use std::{
    collections::BTreeSet,
    fs::File,
    io::{Read as _, Write as _},
    path::Path,
    sync::Arc,
};

use content::{Index, Object};
use model::{Hash, Hasher, PackageName};
use policy::{CourierSet, Event, Exchange, PlaceId, PlaceKind, RetryScope, SiteCode};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use store::PointError;

use crate::{
    Server, SiteError,
    authority::{self, PublicKey},
    copy::hash_of,
    enrol::Enrolment,
    folder::write_durably,
    shared,
};

/// The format of words on a medium.
const FORMAT: u32 = 1;
/// A word is no longer than this, in bytes.
const LONGEST: u64 = 256 << 20;

/// What a trip carries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Trip {
    /// The child it is to, or from.
    pub child: String,
    /// `down` or `up`.
    pub way: String,
    /// Versions of packages.
    pub packages: usize,
    /// Objects written just now.
    pub objects: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Objects that were there already, whole.
    pub already: usize,
    /// What could not be taken along, or in, and why.
    pub left: Vec<String>,
}

/// A word and who vouches for it.
#[derive(Serialize, Deserialize)]
struct Signed {
    word: String,
    signature: String,
}

/// What a parent says to a child.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Down {
    format: u32,
    from: SiteCode,
    set: CourierSet,
    /// Releases on the medium: of which package, which, and the hash of what it consists of.
    releases: Vec<(PackageName, Hash, Hash)>,
    /// The child's certificate, if it was enrolled by courier.
    certificate: Option<String>,
}

/// What a child says to its parent.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Up {
    format: u32,
    from: SiteCode,
    to: SiteCode,
    exchange: Exchange,
    /// Objects that are there, each of them hashed.
    has: BTreeSet<Hash>,
    /// It was not enrolled yet.
    enrolment: Option<Enrolment>,
    /// Its key, in a certificate signed by itself.
    certificate: String,
}

fn wrong(path: &Path, reason: impl Into<String>) -> SiteError {
    let message = format!("`{}` is set aside: {}", path.display(), reason.into());
    SiteError::Said { message, conflict: true }
}

fn write_word<T: Serialize>(
    path: &Path,
    word: &T,
    sign: impl FnOnce(&[u8]) -> Result<String, SiteError>,
) -> Result<(), SiteError> {
    let word = serde_json::to_string(word).unwrap_or_default();
    let signed = Signed { signature: sign(word.as_bytes())?, word };
    write_durably(path, &serde_json::to_vec(&signed).unwrap_or_default(), 0o644)
}

/// A word as it stands on a medium, not yet believed; nothing if there is none.
fn read_word(path: &Path) -> Result<Option<Signed>, SiteError> {
    let mut text = Vec::new();
    match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(SiteError::file("reading", path)(error)),
        Ok(file) => {
            file.take(LONGEST).read_to_end(&mut text).map_err(SiteError::file("reading", path))?
        }
    };
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|error| wrong(path, format!("it cannot be read: {error}")))
}

/// For fuzz targets: bytes as what is on a medium.
pub(crate) fn read_anything(bytes: &[u8]) {
    let path = Path::new("");
    let word = serde_json::from_slice::<Signed>(bytes).ok().map(|signed| signed.word);
    for text in std::str::from_utf8(bytes).into_iter().chain(word.as_deref()) {
        let _ = parse::<Down>(path, text);
        let _ = parse::<Up>(path, text);
    }
}

fn parse<T: DeserializeOwned>(path: &Path, word: &str) -> Result<T, SiteError> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let format: Format =
        serde_json::from_str(word).map_err(|error| wrong(path, error.to_string()))?;
    if format.format != FORMAT {
        let why =
            format!("it has format {}, known is {FORMAT}: use a newer Packhorse", format.format);
        return Err(wrong(path, why));
    }
    serde_json::from_str(word).map_err(|error| wrong(path, error.to_string()))
}

/// Copies a file under the condition that it is what its name says; whether it is.
fn copy_hashed(from: &Path, to: &Path, object: &Object) -> Result<bool, SiteError> {
    let mut source = File::open(from).map_err(SiteError::file("reading", from))?;
    let new = to.with_extension("new");
    let cannot = |source| SiteError::file("writing", &new)(source);
    let mut target = File::create(&new).map_err(cannot)?;
    let (mut hasher, mut length, mut buffer) = (Hasher::new(), 0, vec![0; 1 << 20]);
    loop {
        let read = source.read(&mut buffer).map_err(SiteError::file("reading", from))?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
        length += read as u64;
        target.write_all(&buffer[..read]).map_err(cannot)?;
    }
    if (length, hasher.finish()) != (object.length, object.hash) {
        let _ = std::fs::remove_file(&new);
        return Ok(false);
    }
    target.sync_all().map_err(cannot)?;
    std::fs::rename(&new, to).map_err(cannot)?;
    Ok(true)
}

fn is_whole(path: &Path, object: &Object) -> bool {
    std::fs::metadata(path).is_ok_and(|data| data.len() == object.length)
        && hash_of(path).is_ok_and(|hash| hash == object.hash)
}

fn make(folder: &Path) -> Result<(), SiteError> {
    std::fs::create_dir_all(folder).map_err(SiteError::file("making", folder))
}

/// Takes away what does not belong to this trip any more.
fn sweep(folder: &Path, keep: &BTreeSet<String>) -> Result<(), SiteError> {
    let entries = std::fs::read_dir(folder).map_err(SiteError::file("reading", folder))?;
    for entry in entries.filter_map(Result::ok) {
        if !keep.contains(&*entry.file_name().to_string_lossy()) {
            let path = entry.path();
            std::fs::remove_file(&path).map_err(SiteError::file("deleting", &path))?;
        }
    }
    Ok(())
}

impl Server {
    /// Writes onto a medium what children lack, and the report to the parent. Interrupted anywhere, it is done again.
    pub fn courier_export(&self, to: &Path, only: &[String]) -> Result<Vec<Trip>, SiteError> {
        let (children, parent) = {
            let desk = self.desk();
            let children = desk.site().places().filter_map(|(_, place)| match &place.kind {
                PlaceKind::Child { code, .. } => Some(code.clone()),
                _ => None,
            });
            (children.collect::<Vec<_>>(), desk.site().parent().cloned())
        };
        if let Some(unknown) =
            only.iter().find(|one| !children.iter().any(|code| code.as_str() == **one))
        {
            return Err(policy::Refused::NoPlace(unknown.clone()).into());
        }
        let mut trips = Vec::new();
        for child in children {
            if only.is_empty() || only.iter().any(|one| one == child.as_str()) {
                trips.push(self.carry_down(&to.join(child.as_str()).join("down"), &child)?);
            }
        }
        if let Some(parent) = parent.filter(|_| only.is_empty()) {
            trips.push(self.carry_up(&to.join(self.code().as_str()).join("up"), parent)?);
        }
        Ok(trips)
    }

    /// What was last heard of a child by courier: in the own store, for all machines.
    fn courier_note(&self, child: &SiteCode, what: &str) -> Result<Option<Vec<u8>>, SiteError> {
        Ok(self.store().read_limited(&format!("courier/{child}.{what}"), LONGEST)?)
    }

    fn note_courier(&self, child: &SiteCode, what: &str, bytes: Vec<u8>) -> Result<(), SiteError> {
        Ok(self.store().write_small(&format!("courier/{child}.{what}"), bytes)?)
    }

    fn carry_down(&self, to: &Path, child: &SiteCode) -> Result<Trip, SiteError> {
        let set = self.desk().site().courier_set(child)?;
        let (releases, objects) = (to.join("releases"), to.join("objects"));
        make(&releases)?;
        make(&objects)?;
        let has: BTreeSet<Hash> = self
            .courier_note(child, "has")?
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        let mut trip = Trip { child: child.to_string(), way: "down".to_owned(), ..Trip::default() };
        let (mut listed, mut names) = (Vec::new(), BTreeSet::new());
        for (name, version) in &set.contents {
            let identity = version.manifest;
            let release = store::releases(self.store(), name)?
                .and_then(|index| index.releases.into_iter().find(|one| one.identity == identity));
            let Some(release) = release else {
                trip.left.push(format!("`{name}` is not whole here"));
                continue;
            };
            let mut alone = Index::new(name.clone());
            alone.put(release);
            let bytes = alone.to_bytes();
            for object in alone.objects().filter(|object| !has.contains(&object.hash)) {
                if !names.insert(object.hash.to_string()) {
                    continue;
                }
                let path = objects.join(object.hash.to_string());
                if is_whole(&path, &object) {
                    trip.already += 1;
                } else if self.copy_out(&object, &path)? {
                    trip.objects += 1;
                    trip.bytes += object.length;
                } else {
                    names.remove(&object.hash.to_string());
                    trip.left.push(format!(
                        "`{}` of `{name}` is damaged here: `packhorse site verify` mends it",
                        object.path()
                    ));
                }
            }
            write_durably(&releases.join(identity.to_string()), &bytes, 0o644)?;
            listed.push((name.clone(), identity, Hash::of(&bytes)));
        }
        trip.packages = listed.len();
        sweep(&objects, &names)?;
        sweep(&releases, &listed.iter().map(|(_, identity, _)| identity.to_string()).collect())?;
        self.carry_trust(to)?;
        let certificate = self.courier_note(child, "certificate")?;
        let certificate = certificate.and_then(|bytes| String::from_utf8(bytes).ok());
        let word = Down { format: FORMAT, from: self.code(), set, releases: listed, certificate };
        write_word(&to.join("word"), &word, |bytes| self.authority().sign(bytes))?;
        Ok(trip)
    }

    fn carry_up(&self, to: &Path, parent: SiteCode) -> Result<Trip, SiteError> {
        make(to)?;
        let names: Vec<PackageName> =
            self.desk().site().packages().map(|(_, package)| package.name.clone()).collect();
        let mut has = BTreeSet::new();
        for name in &names {
            for object in store::releases(self.store(), name)?.iter().flat_map(Index::objects) {
                if self.master().has_whole(&object)? {
                    has.insert(object.hash);
                }
            }
        }
        self.carry_trust(to)?;
        let own = self.folder().link();
        let key = authority::key(&own.join("key.pem"))?;
        let secret = std::fs::read_to_string(own.join("secret")).ok();
        let is_enrolled = own.join("certificate.pem").is_file();
        let enrolment = secret.filter(|_| !is_enrolled).map(|secret| Enrolment {
            child: self.code(),
            secret,
            key: PublicKey::text_of(&key),
        });
        let certificate = authority::own_certificate(&self.code(), &key)?;
        let exchange = self.exchange_up()?;
        let packages = exchange.report.entries.len();
        let word = Up {
            format: FORMAT,
            from: self.code(),
            to: parent,
            exchange,
            has,
            enrolment,
            certificate,
        };
        write_word(&to.join("word"), &word, |bytes| authority::sign(&key, bytes))?;
        let child = self.code().to_string();
        Ok(Trip { child, way: "up".to_owned(), packages, ..Trip::default() })
    }

    /// Takes in whatever a medium has for this site. Twice is once; interrupted anywhere, it is done again.
    pub fn courier_import(self: &Arc<Self>, from: &Path) -> Result<Vec<Trip>, SiteError> {
        if !from.is_dir() {
            let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
            return Err(SiteError::file("reading", from)(missing));
        }
        let children: Vec<SiteCode> = {
            let desk = self.desk();
            let places = desk.site().places().filter_map(|(_, place)| match &place.kind {
                PlaceKind::Child { code, .. } => Some(code.clone()),
                _ => None,
            });
            places.collect()
        };
        let mut trips = Vec::new();
        for child in children {
            let path = from.join(child.as_str()).join("up/word");
            trips.extend(self.take_up(&path, &child)?);
        }
        trips.extend(self.take_down(&from.join(self.code().as_str()).join("down"))?);
        Ok(trips)
    }

    fn take_up(self: &Arc<Self>, path: &Path, child: &SiteCode) -> Result<Option<Trip>, SiteError> {
        let Some(signed) = read_word(path)? else { return Ok(None) };
        let up: Up = parse(path, &signed.word)?;
        let signer = authority::verify(&up.certificate, signed.word.as_bytes(), &signed.signature)
            .filter(|peer| peer.code == *child && up.from == *child && up.to == self.code())
            .ok_or_else(|| {
                wrong(path, format!("it is not signed by `{child}`, or not for this site"))
            })?;
        if let Some(enrolment) = up.enrolment.as_ref().filter(|asked| asked.child == *child) {
            let enrolled = self.enrol(enrolment)?;
            self.note_courier(child, "certificate", enrolled.certificate.into_bytes())?;
        }
        if !self.is_child(&signer) {
            let why = format!(
                "the key of `{child}` does not count here: `packhorse site child token {child}`, then `packhorse site attach` there"
            );
            return Err(wrong(path, why));
        }
        let packages = up.exchange.report.entries.len();
        self.exchange(child.clone(), up.exchange)?;
        self.note_courier(child, "has", serde_json::to_vec(&up.has).unwrap_or_default())?;
        let (child, way) = (child.to_string(), "up".to_owned());
        let mut trip = Trip { child, way, packages, ..Trip::default() };
        self.take_carried_staged(path.parent().unwrap_or(path), &mut trip.left);
        Ok(Some(trip))
    }

    fn take_down(self: &Arc<Self>, from: &Path) -> Result<Option<Trip>, SiteError> {
        let path = from.join("word");
        let Some(signed) = read_word(&path)? else { return Ok(None) };
        let own = self.folder().link();
        let pinned = std::fs::read_to_string(own.join("parent.pem"))
            .map_err(SiteError::file("reading", own.join("parent.pem")))?;
        authority::verify_authority(&pinned, signed.word.as_bytes(), &signed.signature)
            .ok_or_else(|| {
                wrong(&path, "it is not signed by the parent this site was attached to")
            })?;
        let down: Down = parse(&path, &signed.word)?;
        if down.set.child != self.code() {
            return Err(wrong(&path, format!("it is for `{}`", down.set.child)));
        }
        if let Some(certificate) = &down.certificate {
            let key = authority::key(&own.join("key.pem"))?;
            if authority::is_of(certificate, &self.code(), &key) {
                write_durably(&own.join("certificate.pem"), certificate.as_bytes(), 0o644)?;
                let settings = self.folder().settings()?;
                let names = ["link/certificate.pem"];
                let facts = shared::facts_of(self.folder(), &settings, &names)?;
                self.desk().keep(facts)?;
            }
        }
        let mut trip =
            Trip { child: self.code().to_string(), way: "down".to_owned(), ..Trip::default() };
        if let Err(error) = self.take_carried_trust(from) {
            trip.left.push(model::with_causes(&error));
        }
        for (name, identity, hash) in &down.releases {
            let path = from.join("releases").join(identity.to_string());
            match std::fs::read(&path) {
                Ok(bytes) if Hash::of(&bytes) == *hash => {
                    self.take_release(from, (name, *identity), &bytes, &mut trip)?;
                }
                Ok(_) => trip.left.push(format!("`{}` is damaged", path.display())),
                Err(error) => trip.left.push(format!("`{}`: {error}", path.display())),
            }
        }
        let parent = down.from;
        self.event(Event::Reached(PlaceId::OWN))?;
        self.event(Event::FromParent { from: parent, feed: down.set.feed })?;
        self.event(Event::RetryNow(RetryScope::Place(PlaceId::OWN)))?;
        Ok(Some(trip))
    }

    /// Copies an own object onto a medium; whether it is sound.
    fn copy_out(&self, object: &Object, to: &Path) -> Result<bool, SiteError> {
        match self.master().sound(object) {
            Ok(sound) => copy_hashed(sound.path(), to, object),
            Err(PointError::Damaged { .. } | PointError::Missing { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes what a medium has an own object; whether it is sound.
    fn copy_in(&self, from: &Path, object: &Object) -> Result<bool, SiteError> {
        let here = self.folder().spool().join(format!("{}.carried", object.hash));
        let is_sound = from.is_file() && copy_hashed(from, &here, object)?;
        if is_sound {
            self.master().adopt(&here, object)?;
        }
        Ok(is_sound)
    }

    /// The objects of one release; what is damaged stays where it is and harms nothing else.
    fn take_release(
        &self,
        from: &Path,
        (name, identity): (&PackageName, Hash),
        bytes: &[u8],
        trip: &mut Trip,
    ) -> Result<(), SiteError> {
        let Ok(index) = Index::parse(bytes) else {
            trip.left.push(format!("what `{name}` consists of cannot be read"));
            return Ok(());
        };
        for object in index.objects() {
            let source = from.join("objects").join(object.hash.to_string());
            if self.master().has_whole(&object)? {
                trip.already += 1;
            } else if self.copy_in(&source, &object)? {
                trip.objects += 1;
                trip.bytes += object.length;
            } else {
                trip.left.push(format!("`{}` of `{name}` is damaged or missing", object.path()));
            }
        }
        trip.packages += 1;
        self.incoming().put_release(name, identity, &index)
    }
}
