//! The walk over an upper folder, beside the folder below.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    ffi::{CStr, CString},
    fs::File,
    io,
    mem::MaybeUninit,
    os::fd::{AsFd as _, OwnedFd},
    rc::Rc,
};

use capture::{Node, Stamp};
use model::{Hash, Kind, MachinePath, escape};

use super::{
    Layer, OverlayDiffError,
    index::{Index, io_failed},
    links::{Found, Inode, Pair, names_of},
    marks::{self, Upper},
    open_layer_folder,
};
use crate::{
    mounts::Mounts,
    node::{Attributes, hash, open_file, read_node},
    scan::{Skip, SkipReason, list, open_folder, open_parts},
};

/// A folder and a name in it.
#[derive(Clone)]
struct At {
    folder: Rc<OwnedFd>,
    name: CString,
}

/// A place below that the merged view shows at some path.
#[derive(Clone)]
struct Origin {
    at: At,
    /// Its own path below.
    path: MachinePath,
}

/// One path to look at.
struct Visit {
    path: MachinePath,
    /// Where the upper folder may say something about it.
    upper: Option<At>,
    /// What the merged view shows where the upper folder says nothing.
    origin: Option<Origin>,
    /// What was there before: the same path below.
    before: Option<At>,
}

struct Walk {
    lower: Rc<OwnedFd>,
    index: Index,
    pairs: BTreeMap<MachinePath, Pair>,
    skips: BTreeSet<Skip>,
    hashes: HashMap<Inode, Option<Hash>>,
    /// Inodes below with several names, and how many.
    linked: HashMap<u64, u32>,
    buffer: Vec<MaybeUninit<u8>>,
}

/// What one name of the merged view turned out to be.
struct After {
    found: Option<Found>,
    /// The folder below that shows through.
    through: Option<Origin>,
    /// The upper folder's folder of that name.
    folder: Option<Rc<OwnedFd>>,
}

/// Everything in a layer that may differ from what lies below, by its path on the machine.
pub(super) fn pairs(
    layer: &Layer,
    made: &BTreeSet<MachinePath>,
) -> Result<(BTreeMap<MachinePath, Pair>, BTreeSet<Skip>), OverlayDiffError> {
    let mut walk = Walk::open(layer)?;
    let upper = Rc::new(open_layer_folder(&layer.upper)?);
    let mut visits = vec![walk.whole(upper)];
    while let Some(visit) = visits.pop() {
        if made.contains(&outer(layer, &visit.path)) {
            let path = outer(layer, &visit.path);
            walk.skips.insert(Skip { path, reason: SkipReason::MountPoint });
            continue;
        }
        walk.visit(visit, &mut visits)?;
    }
    walk.add_other_names(layer)?;
    let pairs = walk.pairs.into_iter().map(|(path, pair)| (outer(layer, &path), pair)).collect();
    let skips = walk
        .skips
        .into_iter()
        .map(|skip| match skip.reason {
            SkipReason::MountPoint => skip,
            reason => Skip { path: outer(layer, &skip.path), reason },
        })
        .collect();
    Ok((pairs, skips))
}

/// A path of the layer as the machine names it.
fn outer(layer: &Layer, path: &MachinePath) -> MachinePath {
    layer.path.join(path.relative()).unwrap_or_else(|_| path.clone())
}

pub(super) fn open_before(layer: &Layer, path: &MachinePath) -> Result<File, OverlayDiffError> {
    let failed = io_failed(path);
    let (inner, name) = inner(layer, path)?;
    let lower = open_layer_folder(&layer.lower)?;
    let folder = open_parts(lower.as_fd(), &inner).map_err(&failed)?;
    open_file(folder.as_fd(), &name).map_err(&failed)
}

/// Follows the parts of a path down through upper and lower folders, as overlayfs itself would.
pub(super) fn open_after(layer: &Layer, path: &MachinePath) -> Result<File, OverlayDiffError> {
    let failed = io_failed(path);
    let gone = || failed(io::ErrorKind::NotFound.into());
    let walk = Walk::open(layer)?;
    let upper = Rc::new(open_layer_folder(&layer.upper)?);
    let mut visit = walk.whole(upper);
    let (folder, name) = inner(layer, path)?;
    let last = folder.join(name.to_bytes()).map_err(|_| gone())?;
    for part in last.parts() {
        let after = walk.after(&visit)?;
        let name = CString::new(part).map_err(|_| gone())?;
        let path = visit.path.join(part).map_err(|_| gone())?;
        let origin = match &after.through {
            Some(origin) => Some(child(origin, &name).map_err(&failed)?),
            None => None,
        };
        let upper = after.folder.map(|folder| At { folder, name: name.clone() });
        visit = Visit { path, upper, origin, before: None };
    }
    match walk.content_of(&visit)? {
        Some(at) => open_file(at.folder.as_fd(), &at.name).map_err(&failed),
        None => Err(gone()),
    }
}

fn inner(layer: &Layer, path: &MachinePath) -> Result<(MachinePath, CString), OverlayDiffError> {
    let below = path.below(&layer.path).unwrap_or_default();
    let whole = MachinePath::root().join(below).ok();
    whole
        .and_then(|whole| Some((whole.parent()?, CString::new(whole.name()?).ok()?)))
        .ok_or_else(|| io_failed(path)(io::ErrorKind::NotFound.into()))
}

/// What lies below a folder that shows through.
fn child(folder: &Origin, name: &CStr) -> io::Result<Origin> {
    let opened = open_folder(folder.at.folder.as_fd(), &folder.at.name)?;
    let path = folder.path.join(name.to_bytes()).map_err(|_| io::ErrorKind::InvalidInput)?;
    Ok(Origin { at: At { folder: Rc::new(opened), name: name.to_owned() }, path })
}

impl Walk {
    fn open(layer: &Layer) -> Result<Self, OverlayDiffError> {
        let lower = Rc::new(open_layer_folder(&layer.lower)?);
        Ok(Self {
            index: Index::read(layer, lower.as_fd())?,
            lower,
            pairs: BTreeMap::new(),
            skips: BTreeSet::new(),
            hashes: HashMap::new(),
            linked: HashMap::new(),
            buffer: vec![MaybeUninit::uninit(); 32 << 10],
        })
    }

    /// The visit of the layer's root.
    fn whole(&self, upper: Rc<OwnedFd>) -> Visit {
        let name = CString::default();
        let below = At { folder: Rc::clone(&self.lower), name: name.clone() };
        Visit {
            path: MachinePath::root(),
            upper: Some(At { folder: upper, name }),
            origin: Some(Origin { at: below.clone(), path: MachinePath::root() }),
            before: Some(below),
        }
    }

    fn visit(&mut self, visit: Visit, visits: &mut Vec<Visit>) -> Result<(), OverlayDiffError> {
        let failed = io_failed(&visit.path);
        let mut before = match &visit.before {
            Some(at) => marks::read_lower(at.folder.as_fd(), &at.name).map_err(&failed)?,
            None => None,
        };
        if before.as_ref().is_some_and(|(node, _)| node.kind == Kind::Socket) {
            before = None;
            self.skips.insert(Skip { path: visit.path.clone(), reason: SkipReason::Socket });
        }
        let was_folder = before.as_ref().is_some_and(|(node, _)| node.kind == Kind::Directory);
        let before = match before {
            Some((node, stamp)) => Some(self.lower_found(&visit, node, stamp)?),
            None => None,
        };
        let mut after = self.after(&visit)?;
        if after.found.as_ref().is_some_and(|found| found.node.kind == Kind::Socket) {
            after.found = None;
            self.skips.insert(Skip { path: visit.path.clone(), reason: SkipReason::Socket });
        }
        if let Some(found) = &mut after.found {
            self.fill_hash(&visit, found)?;
        }
        self.children(&visit, was_folder, &after, visits).map_err(&failed)?;
        if before.is_some() || after.found.is_some() {
            let pair = Pair { before, after: after.found };
            self.pairs.insert(visit.path.clone(), pair);
        }
        Ok(())
    }

    /// Lists what must be looked at inside a folder. Where it shows the same folder below through, only
    /// what the upper folder says can differ.
    fn children(
        &mut self,
        visit: &Visit,
        was_folder: bool,
        after: &After,
        visits: &mut Vec<Visit>,
    ) -> io::Result<()> {
        let in_place = after.through.as_ref().is_some_and(|origin| origin.path == visit.path);
        let mut names = BTreeSet::new();
        let mut take = |folder: &OwnedFd, names: &mut BTreeSet<CString>| -> io::Result<()> {
            names.extend(list(folder.as_fd(), &mut self.buffer)?.into_iter().map(|entry| entry.0));
            Ok(())
        };
        if let Some(folder) = &after.folder {
            take(folder, &mut names)?;
        }
        let before = match &visit.before {
            Some(at) if was_folder => Some(Rc::new(open_folder(at.folder.as_fd(), &at.name)?)),
            _ => None,
        };
        let through = match &after.through {
            Some(origin) if in_place => before.clone().map(|folder| (folder, origin.path.clone())),
            Some(Origin { at, path }) => {
                Some((Rc::new(open_folder(at.folder.as_fd(), &at.name)?), path.clone()))
            }
            None => None,
        };
        if !in_place {
            if let Some((folder, _)) = &through {
                take(folder, &mut names)?;
            }
            if let Some(folder) = &before {
                take(folder, &mut names)?;
            }
        }
        for name in names {
            let Ok(path) = visit.path.join(name.to_bytes()) else { continue };
            let at = |folder: &Rc<OwnedFd>| At { folder: Rc::clone(folder), name: name.clone() };
            let origin = through.as_ref().and_then(|(folder, path)| {
                Some(Origin { at: at(folder), path: path.join(name.to_bytes()).ok()? })
            });
            visits.push(Visit {
                path,
                upper: after.folder.as_ref().map(at),
                origin,
                before: before.as_ref().map(at),
            });
        }
        Ok(())
    }

    /// What the merged view shows at a path, its content unread.
    fn after(&self, visit: &Visit) -> Result<After, OverlayDiffError> {
        let failed = io_failed(&visit.path);
        let upper = match &visit.upper {
            Some(at) => marks::read(at.folder.as_fd(), &at.name).map_err(&failed)?,
            None => None,
        };
        match (upper, &visit.upper) {
            (Some(Upper::Present(present)), Some(at)) => {
                let mut node = present.node;
                let mut after = After { found: None, through: None, folder: None };
                if node.kind == Kind::Directory {
                    let folder = open_folder(at.folder.as_fd(), &at.name).map_err(&failed)?;
                    after.folder = Some(Rc::new(folder));
                    if !present.opaque {
                        after.through = self.folder_below(visit, present.redirect.as_deref())?;
                    }
                } else if present.metacopy
                    && let Some(below) = self.origin_of(visit, present.redirect.as_deref())?
                    && let (Kind::File(content), Some((data, _))) = (
                        &mut node.kind,
                        marks::read_lower(below.at.folder.as_fd(), &below.at.name)
                            .map_err(&failed)?,
                    )
                    && let Kind::File(data) = data.kind
                {
                    content.holes = data.holes;
                }
                let inode = Inode::Upper(present.stamp.inode);
                after.found = Some(Found { node, inode });
                Ok(after)
            }
            (Some(Upper::Whiteout), _) => Ok(After { found: None, through: None, folder: None }),
            (None, _) | (_, None) => self.shown_through(visit),
        }
    }

    /// What a path shows about which the upper folder says nothing.
    fn shown_through(&self, visit: &Visit) -> Result<After, OverlayDiffError> {
        let failed = io_failed(&visit.path);
        let nothing = After { found: None, through: None, folder: None };
        let Some(origin) = &visit.origin else { return Ok(nothing) };
        let at = &origin.at;
        let Some((node, stamp)) =
            marks::read_lower(at.folder.as_fd(), &at.name).map_err(&failed)?
        else {
            return Ok(nothing);
        };
        if node.kind == Kind::Directory {
            let found = Found { node, inode: Inode::Lower(stamp.inode) };
            return Ok(After { found: Some(found), through: Some(origin.clone()), folder: None });
        }
        let found = match self.copied(&node, &stamp).map_err(&failed)? {
            Some(found) => found,
            None => Found { node, inode: Inode::Lower(stamp.inode) },
        };
        Ok(After { found: Some(found), through: None, folder: None })
    }

    /// The copy that every name of an inode below shows, once one of its names was written to.
    fn copied(&self, below: &Node, stamp: &Stamp) -> io::Result<Option<Found>> {
        let Some((folder, copy)) = self.copy_at(stamp) else { return Ok(None) };
        let Some(Upper::Present(mut present)) = marks::read(folder.as_fd(), &copy)? else {
            return Ok(None);
        };
        if present.metacopy
            && let (Kind::File(content), Kind::File(data)) = (&mut present.node.kind, &below.kind)
        {
            content.holes.clone_from(&data.holes);
        }
        Ok(Some(Found { inode: Inode::Upper(present.stamp.inode), node: present.node }))
    }

    fn copy_at(&self, below: &Stamp) -> Option<(&Rc<OwnedFd>, CString)> {
        let copy = self.index.copy_of(below.inode)?;
        Some((self.index.folder.as_ref()?, copy.name.clone()))
    }

    fn folder_below(
        &self,
        visit: &Visit,
        redirect: Option<&[u8]>,
    ) -> Result<Option<Origin>, OverlayDiffError> {
        let Some(origin) = self.origin_of(visit, redirect)? else { return Ok(None) };
        let at = &origin.at;
        let below =
            marks::read_lower(at.folder.as_fd(), &at.name).map_err(io_failed(&visit.path))?;
        let folder = below.is_some_and(|(node, _)| node.kind == Kind::Directory);
        Ok(folder.then_some(origin))
    }

    /// Where below the thing at a path comes from: where the redirect says, else the same name.
    fn origin_of(
        &self,
        visit: &Visit,
        redirect: Option<&[u8]>,
    ) -> Result<Option<Origin>, OverlayDiffError> {
        let Some(redirect) = redirect else { return Ok(visit.origin.clone()) };
        let to = if redirect.first() == Some(&b'/') {
            MachinePath::new(redirect).ok()
        } else {
            visit
                .origin
                .as_ref()
                .and_then(|origin| origin.path.parent())
                .and_then(|folder| folder.join(redirect).ok())
        };
        let (to, folder, name) = to
            .and_then(|to| {
                let (folder, name) = (to.parent()?, CString::new(to.name()?).ok()?);
                Some((to, folder, name))
            })
            .ok_or_else(|| OverlayDiffError::Redirect {
                path: visit.path.clone(),
                to: escape(redirect),
            })?;
        match open_parts(self.lower.as_fd(), &folder) {
            Ok(folder) => Ok(Some(Origin { at: At { folder: Rc::new(folder), name }, path: to })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io_failed(&visit.path)(error)),
        }
    }

    /// Where the bytes of the file at a path are.
    fn content_of(&self, visit: &Visit) -> Result<Option<At>, OverlayDiffError> {
        let failed = io_failed(&visit.path);
        if let Some(at) = &visit.upper {
            match marks::read(at.folder.as_fd(), &at.name).map_err(&failed)? {
                Some(Upper::Whiteout) => return Ok(None),
                Some(Upper::Present(present)) if present.metacopy => {
                    let below = self.origin_of(visit, present.redirect.as_deref())?;
                    return Ok(below.map(|origin| origin.at));
                }
                Some(Upper::Present(_)) => return Ok(Some(at.clone())),
                None => {}
            }
        }
        let Some(origin) = &visit.origin else { return Ok(None) };
        let at = &origin.at;
        let below = marks::read_lower(at.folder.as_fd(), &at.name).map_err(&failed)?;
        if let Some((_, stamp)) = &below
            && let Some((folder, name)) = self.copy_at(stamp)
        {
            let copy = At { folder: Rc::clone(folder), name };
            let metacopy = matches!(
                marks::read(copy.folder.as_fd(), &copy.name).map_err(&failed)?,
                Some(Upper::Present(present)) if present.metacopy
            );
            return Ok(Some(if metacopy { at.clone() } else { copy }));
        }
        Ok(below.is_some().then(|| at.clone()))
    }

    fn lower_found(
        &mut self,
        visit: &Visit,
        mut node: Node,
        stamp: Stamp,
    ) -> Result<Found, OverlayDiffError> {
        let inode = Inode::Lower(stamp.inode);
        if stamp.links > 1 && node.kind != Kind::Directory {
            self.linked.insert(stamp.inode, stamp.links);
        }
        if let (Kind::File(content), Some(at)) = (&mut node.kind, &visit.before) {
            content.hash = match self.hashes.get(&inode) {
                Some(hash) => *hash,
                None => {
                    let file = open_file(at.folder.as_fd(), &at.name);
                    let read = file
                        .and_then(|file| hash(&file, content))
                        .map_err(io_failed(&visit.path))?;
                    self.hashes.insert(inode, read);
                    read
                }
            };
        }
        Ok(Found { node, inode })
    }

    fn fill_hash(&mut self, visit: &Visit, found: &mut Found) -> Result<(), OverlayDiffError> {
        let Kind::File(content) = &mut found.node.kind else { return Ok(()) };
        if let Some(hash) = self.hashes.get(&found.inode) {
            content.hash = *hash;
            return Ok(());
        }
        if let Some(at) = self.content_of(visit)? {
            let file = open_file(at.folder.as_fd(), &at.name);
            content.hash =
                file.and_then(|file| hash(&file, content)).map_err(io_failed(&visit.path))?;
            self.hashes.insert(found.inode, content.hash);
        }
        Ok(())
    }

    /// Adds the names of hard-linked inodes that the installer did not use itself: they may show what
    /// it wrote through another name, and they decide which name is the first.
    fn add_other_names(&mut self, layer: &Layer) -> Result<(), OverlayDiffError> {
        self.linked.extend(self.index.inodes().filter(|(_, links)| *links > 1));
        if self.linked.is_empty() {
            return Ok(());
        }
        let failed = |reason| OverlayDiffError::Layer { folder: layer.lower.clone(), reason };
        let mounts = Mounts::below(&layer.lower).map_err(failed)?;
        let mounted: HashSet<MachinePath> = mounts.points.into_keys().collect();
        let hints: BTreeSet<MachinePath> = self.pairs.keys().cloned().collect();
        let names =
            names_of(self.lower.as_fd(), self.linked.clone(), &hints, &mounted).map_err(failed)?;
        for path in names.into_keys() {
            if self.pairs.contains_key(&path) {
                continue;
            }
            let (Some(folder), Some(name)) =
                (path.parent(), path.name().and_then(|name| CString::new(name).ok()))
            else {
                continue;
            };
            let failed = io_failed(&path);
            let folder = open_parts(self.lower.as_fd(), &folder).map_err(&failed)?;
            let at = At { folder: Rc::new(folder), name };
            let (node, stamp) =
                read_node(at.folder.as_fd(), &at.name, Attributes::Plain).map_err(&failed)?;
            let origin = Some(Origin { at: at.clone(), path: path.clone() });
            let visit = Visit { path: path.clone(), upper: None, origin, before: Some(at) };
            let before = Some(self.lower_found(&visit, node, stamp)?);
            let mut after = self.after(&visit)?.found;
            if let Some(found) = &mut after {
                self.fill_hash(&visit, found)?;
            }
            self.pairs.insert(path.clone(), Pair { before, after });
        }
        Ok(())
    }
}
