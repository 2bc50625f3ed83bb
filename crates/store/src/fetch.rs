use std::{
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
};

use content::{Index, Object, Plan, Release, Way};
use model::{Hash, PackageName, Version};
use package::PackageReader;

use crate::{
    FetchError, Point, PointError, Progress,
    follow::follow,
    partial::{discard, fetch_object, partial_path},
    point::damaged,
    releases::releases,
    unpacked::Unpacked,
};

/// What is fetched, and from what.
#[derive(Clone, Debug, Default)]
pub struct FetchOptions {
    /// The version; `None` stands for the newest.
    pub version: Option<Version>,
    /// Package files this machine has already.
    pub have: Vec<PathBuf>,
}

/// A release, and the ways to it from what is here.
#[derive(Debug)]
pub struct Wanted<'p> {
    point: &'p Point,
    release: Release,
    plan: Plan,
    have: Vec<(Hash, PathBuf)>,
    before: (u64, u64),
}

/// What came of a fetch.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Bytes that came, the index included.
    pub received: u64,
    /// Requests that were made.
    pub requests: u64,
    /// The way that led there last; those before it failed, and why.
    pub routes: Vec<String>,
}

/// Finds a release, and decides how to get it.
pub fn wanted<'p>(
    point: &'p Point,
    name: &PackageName,
    options: &FetchOptions,
) -> Result<Wanted<'p>, FetchError> {
    let before = point.counted();
    let index =
        releases(point, name)?.ok_or_else(|| FetchError::NoPackage { name: name.clone() })?;
    let release = choose(&index, options)?.clone();
    // A file that is no package is of no use; that is all there is to it.
    let have: Vec<_> =
        options.have.iter().filter_map(|path| Some((identity_of(path)?, path.clone()))).collect();
    let identities: Vec<_> = have.iter().map(|(identity, _)| *identity).collect();
    let plan = Plan::decide(&index, &release, &identities);
    Ok(Wanted { point, release, plan, have, before })
}

fn identity_of(path: &Path) -> Option<Hash> {
    let reader = PackageReader::open(BufReader::new(File::open(path).ok()?)).ok()?;
    Some(reader.identity())
}

impl Wanted<'_> {
    /// What was found.
    pub fn release(&self) -> &Release {
        &self.release
    }

    /// How it will be fetched.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Makes the package of the release: `to`, a package file, verified.
    ///
    /// A way that fails is left for the next cheapest: an altered base, a damaged delta. What came before a cut waits
    /// beside `to` and is gone on from.
    pub fn fetch(&self, to: &Path, progress: Progress<'_>) -> Result<Fetched, FetchError> {
        let mut routes = Vec::new();
        let mut failed = None;
        for route in self.plan.routes() {
            match self.go(&route.way, to, progress) {
                Ok(()) => {
                    routes.push(way_name(&route.way).to_owned());
                    let after = self.point.counted();
                    return Ok(Fetched {
                        received: after.1 - self.before.1,
                        requests: after.0 - self.before.0,
                        routes,
                    });
                }
                // Without space or without an answer the next way ends the same.
                Err(
                    error @ FetchError::Point(PointError::File { .. } | PointError::Request { .. }),
                ) => {
                    return Err(error);
                }
                Err(error) => {
                    routes.push(format!("{}: {error}", way_name(&route.way)));
                    failed = Some(error);
                }
            }
        }
        Err(failed.unwrap_or(FetchError::NotTheRelease { object: self.release.manifest }))
    }

    fn go(&self, way: &Way, to: &Path, progress: Progress<'_>) -> Result<(), FetchError> {
        match way {
            Way::Copy => self.copy(to),
            Way::Delta { base, object, .. } => self.delta(*base, object, to, progress),
            Way::Whole { object } => fetch_whole(self.point, &self.release, object, to, progress),
        }
    }

    fn delta(
        &self,
        base: Hash,
        object: &Object,
        to: &Path,
        progress: Progress<'_>,
    ) -> Result<(), FetchError> {
        let Some((_, path)) = self.have.iter().find(|(have, _)| *have == base) else {
            return Err(FetchError::NotTheRelease { object: *object });
        };
        let folder = folder_of(to);
        let old = Unpacked::open(path, folder)
            .map_err(|source| FetchError::Base { path: path.clone(), source })?;
        let mut done = 0;
        let delta = fetch_object(self.point, object, folder, &mut |bytes| {
            done += bytes;
            progress("fetching", done, object.length);
        })?;
        let made = partial_path(object, folder).with_extension("made");
        let cannot = |source| PointError::File { doing: "reading", path: delta.clone(), source };
        let input = BufReader::with_capacity(1 << 20, File::open(&delta).map_err(cannot)?);
        let (mut done, of) = (0, self.release.totals.bytes);
        let result = follow(input, &old, self.release.identity, &made, &mut |bytes| {
            done += bytes;
            progress("applying", done, of);
        });
        discard(&delta)?;
        if let Err(error) = result {
            discard(&made)?;
            return Err(FetchError::Follow(error));
        }
        finish(&made, to)?;
        Ok(())
    }

    fn copy(&self, to: &Path) -> Result<(), FetchError> {
        let Some((_, from)) = self.have.iter().find(|(have, _)| *have == self.release.identity)
        else {
            return Err(FetchError::NotTheRelease { object: self.release.manifest });
        };
        let cannot = |source| PointError::File { doing: "copying", path: from.clone(), source };
        let file = File::open(from).map_err(cannot)?;
        let mut reader = PackageReader::open(BufReader::new(file))
            .map_err(|_| FetchError::NotTheRelease { object: self.release.manifest })?;
        reader
            .verify(&mut |_, _| {})
            .map_err(|_| FetchError::NotTheRelease { object: self.release.manifest })?;
        let partial = to.with_extension("partial");
        std::fs::copy(from, &partial).map_err(cannot)?;
        finish(&partial, to)?;
        Ok(())
    }
}

fn way_name(way: &Way) -> &'static str {
    match way {
        Way::Copy => "copy",
        Way::Delta { .. } => "delta",
        Way::Whole { .. } => "whole",
    }
}

fn choose<'i>(index: &'i Index, options: &FetchOptions) -> Result<&'i Release, FetchError> {
    let version = options.version.as_ref();
    index.release(version).ok_or_else(|| match version {
        None => FetchError::NoPackage { name: index.name.clone() },
        Some(version) => FetchError::NoVersion {
            name: index.name.clone(),
            version: version.clone(),
            known: index
                .releases
                .iter()
                .map(|known| format!("`{}`", known.version))
                .collect::<Vec<_>>()
                .join(", "),
        },
    })
}

fn fetch_whole(
    point: &Point,
    release: &Release,
    pack: &Object,
    to: &Path,
    progress: Progress<'_>,
) -> Result<(), FetchError> {
    let folder = folder_of(to);
    let mut done = 0;
    let partial = fetch_object(point, pack, folder, &mut |bytes| {
        done += bytes;
        progress("fetching", done, pack.length);
    })?;
    let cannot = |source| PointError::File { doing: "reading", path: partial.clone(), source };
    let reader = PackageReader::open(File::open(&partial).map_err(cannot)?)
        .map_err(|_| FetchError::NotTheRelease { object: *pack })?;
    if reader.identity() != release.identity {
        discard(&partial)?;
        return Err(damaged(pack).into());
    }
    drop(reader);
    finish(&partial, to)?;
    Ok(())
}

fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Gives what is whole and durable its name.
pub(crate) fn finish(from: &Path, to: &Path) -> Result<(), PointError> {
    let cannot = |source| PointError::File { doing: "writing", path: to.to_owned(), source };
    File::open(from).and_then(|file| file.sync_all()).map_err(cannot)?;
    std::fs::rename(from, to).map_err(cannot)
}
