//! Payload entries: one decision for each, then each made beside its place.

mod staging;

use std::collections::{BTreeMap, BTreeSet};

use change::{Found, Intent, Machine, Node, Observe, RawMeta, Saved, frame};
use minicbor::{Decode, Encode};
use model::{Hash, MachinePath, ReplaceRule, Template, Version};
use package::Record;

use crate::{
    Before, Claim, InstallError, Payload, PayloadError, Stands, glob::matches_any,
    installed::claims_at, payload::Stop, space::bytes_of, state::child, work::Work,
};

/// Decisions are appended this many bytes at a time.
const GATHER: usize = 1 << 18;
/// Put behind the name of ours where an administrator's changed file stays.
pub(crate) const BESIDE: &str = ".packhorse-new";

/// Bytes in a file's name, at most, on every file system we know of.
const LONGEST_NAME: usize = 255;

/// A tree of the package, where it goes on this machine.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) root: MachinePath,
    pub(crate) replace: ReplaceRule,
    pub(crate) version: Option<Version>,
}

/// What becomes of one record.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
struct Decided {
    #[n(0)]
    place: MachinePath,
    #[n(1)]
    decision: Decision,
    /// What stands in the receipt; `None` where the package does not answer for the path.
    #[n(2)]
    before: Option<Before>,
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
enum Decision {
    /// Made inside a folder that comes as a whole.
    #[n(0)]
    Within,
    /// Made at this name beside its place.
    #[n(1)]
    Stage(#[n(0)] MachinePath),
    /// There already.
    #[n(2)]
    Same,
    /// Another's newer one stands: ours is kept.
    #[n(3)]
    Below(#[n(0)] Saved),
    /// The administrator's stands: ours is made at the first name and comes to the second.
    #[n(4)]
    Beside {
        #[n(0)]
        at: MachinePath,
        #[n(1)]
        to: MachinePath,
    },
    /// What is there stays, by the script's word.
    #[n(5)]
    Leave,
    /// A folder nobody listed, made at this name, for the records that follow.
    #[n(6)]
    Implied(#[n(0)] MachinePath),
    /// Made at this name beside its place, whose content is kept first with other metadata than it has: as it
    /// was before any package, as another package wants it.
    #[n(7)]
    StageKeeping {
        #[n(0)]
        at: MachinePath,
        #[n(1)]
        copies: Vec<Copy>,
    },
    /// Another's newer one stands, whose content was there before any package: ours is kept, and so is that,
    /// with the metadata it had then.
    #[n(8)]
    BelowKeeping {
        #[n(0)]
        ours: Saved,
        #[n(1)]
        copy: Copy,
    },
}

/// What stands, kept with other metadata.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
struct Copy {
    #[n(0)]
    saved: Saved,
    #[n(1)]
    meta: RawMeta,
}

/// One batch of trees on its way.
pub(crate) struct Trees {
    targets: BTreeMap<u32, Target>,
    /// Folders that come as a whole, and where each is staged.
    fresh: BTreeMap<MachinePath, MachinePath>,
    /// Records that later ones are further names of.
    linked: BTreeSet<(u32, Vec<u8>)>,
    decisions: MachinePath,
    gathered: Vec<u8>,
}

impl Trees {
    pub(crate) fn new(targets: BTreeMap<u32, Target>, decisions: MachinePath) -> Self {
        Self {
            targets,
            fresh: BTreeMap::new(),
            linked: BTreeSet::new(),
            decisions,
            gathered: Vec::new(),
        }
    }

    /// Decides about every record, adding intents to the open batch.
    pub(crate) fn decide<M: Machine + ?Sized>(
        &mut self,
        work: &mut Work<'_, M>,
        payload: &mut dyn Payload,
    ) -> Result<(), InstallError> {
        let mut failure = None;
        let read = payload.records(&mut |record| {
            self.decide_record(work, record).map_err(|error| {
                failure = Some(error);
                Stop
            })
        });
        ended(read, failure)?;
        self.flush(work)
    }

    fn decide_record<M: Machine + ?Sized>(
        &mut self,
        work: &mut Work<'_, M>,
        record: &Record,
    ) -> Result<(), InstallError> {
        let Some(target) = self.targets.get(&record.tree) else {
            // What a later batch brings is counted too, before anything changes.
            return match work.later.get(&record.tree).cloned() {
                Some(root) => work.needs(&root, |block| bytes_of(&record.node, block)),
                None => Ok(()),
            };
        };
        work.go_on()?;
        let place = joined(&target.root, &record.path)?;
        if let package::Node::HardLink { tree, path } = &record.node {
            self.linked.insert((*tree, path.clone()));
        }
        if self.staged_within(&place).is_some() {
            return self.decide_within(work, record, place);
        }
        let place = work.machine().resolve(&place)?;
        if self.staged_within(&place).is_some() {
            return self.decide_within(work, record, place);
        }
        work.claimed(&place);
        work.share_folders(&place)?;
        let found = work.machine().look(&place)?;
        let decided = match (&record.node, found) {
            (_, None) => self.decide_new(work, record, place)?,
            (package::Node::Directory | package::Node::Carrier, Some(found)) => {
                Self::decide_folder(work, record, place, &found)?
            }
            (_, Some(found)) => self.decide_existing(work, record, place, &found)?,
        };
        self.decided(work, decided)
    }

    /// It is made inside a folder that comes as a whole.
    fn decide_within<M: Machine + ?Sized>(
        &mut self,
        work: &mut Work<'_, M>,
        record: &Record,
        place: MachinePath,
    ) -> Result<(), InstallError> {
        let above =
            self.fresh.range(..=place.clone()).next_back().and_then(|(top, _)| top.parent());
        work.needs(&above.unwrap_or_else(MachinePath::root), |block| {
            bytes_of(&record.node, block)
        })?;
        work.claimed(&place);
        let before = Some(Before::Nothing);
        self.decided(work, Decided { place, decision: Decision::Within, before })
    }

    fn decide_new<M: Machine + ?Sized>(
        &mut self,
        work: &mut Work<'_, M>,
        record: &Record,
        place: MachinePath,
    ) -> Result<Decided, InstallError> {
        let top = topmost_missing(work.machine(), &place)?;
        let folder = top.parent().unwrap_or_else(MachinePath::root);
        work.enter(&folder)?;
        work.needs(&folder, |block| bytes_of(&record.node, block))?;
        let at = work.transaction.intend(Intent::Create { path: top.clone() })?.at;
        let before = work.before_nothing(&place)?;
        if top == place {
            if matches!(record.node, package::Node::Directory | package::Node::Carrier) {
                self.fresh.insert(top, at.clone());
            }
            work.counts.created += 1;
            return Ok(Decided { place, decision: Decision::Stage(at), before: Some(before) });
        }
        self.fresh.insert(top.clone(), at.clone());
        work.claimed(&top);
        let implied =
            Decided { place: top, decision: Decision::Implied(at), before: Some(Before::Nothing) };
        self.decided(work, implied)?;
        work.counts.created += 1;
        Ok(Decided { place, decision: Decision::Within, before: Some(Before::Nothing) })
    }

    fn decide_folder<M: Machine + ?Sized>(
        work: &mut Work<'_, M>,
        record: &Record,
        place: MachinePath,
        found: &Found,
    ) -> Result<Decided, InstallError> {
        if !found.node.is_directory() && !leads_to_folder(work.machine(), &place)? {
            return Err(InstallError::InTheWay {
                path: place,
                found: found.node.word(),
                wanted: "folder",
            });
        }
        // A folder that others made, or that was there, keeps its metadata; only our own follows us.
        let ours = work.old_claim(&place)?;
        let packages = work.others;
        let before = match &ours {
            Some(old) => Some(old.before.clone()),
            None => claims_at(work.machine(), packages, &place)?
                .first()
                .map(|claim| claim.before.clone()),
        };
        if record.node == package::Node::Directory
            && ours.is_some()
            && before == Some(Before::Nothing)
        {
            let mut wanted = work.raw(&record.meta)?;
            wanted.modified = found.meta.modified;
            work.set_meta(&place, found, wanted)?;
        }
        Ok(Decided { place, decision: Decision::Same, before })
    }

    fn decide_existing<M: Machine + ?Sized>(
        &mut self,
        work: &mut Work<'_, M>,
        record: &Record,
        place: MachinePath,
        found: &Found,
    ) -> Result<Decided, InstallError> {
        let old = work.old_claim(&place)?;
        if found.node.is_directory() {
            return Err(InstallError::InTheWay {
                path: place,
                found: "folder",
                wanted: word(&record.node),
            });
        }
        let packages = work.others;
        let others = claims_at(work.machine(), packages, &place)?;
        let inherited = inherited(old.as_ref(), &others);
        let wanted = work.raw(&record.meta)?;
        if self.is_same(work, record, &place, found)? {
            let before = inherited.unwrap_or_else(|| Before::Same(found.meta.clone()));
            work.set_meta(&place, found, wanted)?;
            work.counts.identical += 1;
            return Ok(Decided { place, decision: Decision::Same, before: Some(before) });
        }
        let is_own = match &old {
            Some(old) => old.stands == Stands::Ours && work.is_as_claimed(old, found)?,
            None => false,
        };
        let target = &self.targets[&record.tree];
        let rule = work.options.replace.unwrap_or(target.replace);
        let saved = || InstallError::Vanished { path: place.clone() };
        if rule == ReplaceRule::Never && old.is_none() {
            work.counts.kept += 1;
            work.note(format!("left `{place}` as it is, since the package never replaces it"));
            let before = inherited.unwrap_or_else(|| Before::Same(found.meta.clone()));
            return Ok(Decided { place, decision: Decision::Leave, before: Some(before) });
        }
        if rule == ReplaceRule::Newer
            && let Some(ours) = &target.version
            && let Some(standing) =
                standing_version(work.machine(), &others, &place, found, is_own)?
            && *standing > *ours
        {
            work.counts.kept += 1;
            work.note(format!(
                "left the newer `{place}` ({standing}) as it is; ours ({ours}) is kept for later"
            ));
            let state = work.paths.state.clone();
            work.needs(&state, |block| bytes_of(&record.node, block))?;
            let saved = work.saved_for(&place, record, &wanted)?;
            if let (Some(Before::Same(meta)), Some(claim)) = (&inherited, others.first())
                && work.is_as_claimed(claim, found)?
            {
                let (ours, meta) = (saved, meta.clone());
                let saved = work.saved_as(&place, found, &meta)?;
                let before = Some(Before::Kept(saved.clone()));
                let decision = Decision::BelowKeeping { ours, copy: Copy { saved, meta } };
                return Ok(Decided { place, decision, before });
            }
            let before = inherited.unwrap_or(Before::Nothing);
            return Ok(Decided { place, decision: Decision::Below(saved), before: Some(before) });
        }
        let folder = place.parent().unwrap_or_else(MachinePath::root);
        if let Some(old) = &old
            && let Some(decision) =
                Self::keep_administrators(work, record, &place, old, found, &folder)?
        {
            return Ok(Decided { place, decision, before: inherited });
        }
        work.enter(&folder)?;
        work.needs(&folder, |block| bytes_of(&record.node, block))?;
        work.needs_kept(found);
        let kept = work.transaction.saved_name(&place)?.ok_or_else(saved)?;
        let at = work
            .transaction
            .intend(Intent::Replace { path: place.clone(), saved: kept.clone() })?
            .at;
        work.counts.replaced += 1;
        let mut copies = Vec::new();
        for other in others.iter().filter(|other| other.stands == Stands::Ours) {
            if other.meta != found.meta && work.is_as_claimed(other, found)? {
                let saved = work.saved_as(&place, found, &other.meta)?;
                copies.push(Copy { saved, meta: other.meta.clone() });
            }
        }
        let standing = old.as_ref().or(others.first());
        let mut first = None;
        if let (Some(Before::Same(meta)), Some(claim)) = (&inherited, standing)
            && work.is_as_claimed(claim, found)?
        {
            let saved = work.saved_as(&place, found, meta)?;
            first = Some(Before::Kept(saved.clone()));
            copies.push(Copy { saved, meta: meta.clone() });
        }
        let before = match inherited {
            // What was there before was changed since, and is not to be had any more.
            Some(Before::Same(_)) | None => first.unwrap_or(Before::Kept(kept)),
            Some(before) => before,
        };
        let decision = if copies.is_empty() {
            Decision::Stage(at)
        } else {
            Decision::StageKeeping { at, copies }
        };
        Ok(Decided { place, decision, before: Some(before) })
    }

    /// On an update, a configuration file the administrator changed stays, with ours beside it.
    fn keep_administrators<M: Machine + ?Sized>(
        work: &mut Work<'_, M>,
        record: &Record,
        place: &MachinePath,
        old: &Claim,
        found: &Found,
        folder: &MachinePath,
    ) -> Result<Option<Decision>, InstallError> {
        if !matches_any(&work.configuration, place) || !work.is_changed(old, found)? {
            return Ok(None);
        }
        work.counts.kept += 1;
        if let package::Node::File(content) = &record.node
            && Some(content.hash) == old.hash
            && content.substitutions.is_empty()
        {
            return Ok(Some(Decision::Leave));
        }
        let to = folder
            .join(name_beside(place.name().unwrap_or_default()))
            .map_err(|_| InstallError::Vanished { path: place.clone() })?;
        work.enter(folder)?;
        work.needs(folder, |block| bytes_of(&record.node, block))?;
        let intent = match work.transaction.saved_name(&to)? {
            None => Intent::Create { path: to.clone() },
            Some(saved) => Intent::Replace { path: to.clone(), saved },
        };
        let at = work.transaction.intend(intent)?.at;
        work.note(format!("kept your changed `{place}`; the package's own is `{to}`"));
        Ok(Some(Decision::Beside { at, to }))
    }

    /// Whether what is there is what the record wants, metadata apart.
    fn is_same<M: Machine + ?Sized>(
        &self,
        work: &mut Work<'_, M>,
        record: &Record,
        place: &MachinePath,
        found: &Found,
    ) -> Result<bool, InstallError> {
        Ok(match (&record.node, &found.node) {
            (package::Node::File(content), Node::File { length }) => {
                found.links == 1
                    && content.substitutions.is_empty()
                    && content.length == *length
                    && work.machine().hash(place)? == content.hash
            }
            (package::Node::Symlink(target), Node::Symlink(there)) => {
                work.expand(target)? == *there
            }
            (package::Node::HardLink { tree, path }, Node::File { .. }) => {
                let Some(first) = self.targets.get(tree) else { return Ok(false) };
                let first = work.machine().resolve(&joined(&first.root, path)?)?;
                work.machine().look(&first)?.is_some_and(|first| first.identity == found.identity)
            }
            (package::Node::Fifo, Node::Fifo) => true,
            (
                package::Node::CharacterDevice { major, minor },
                Node::CharacterDevice { major: there, minor: there_minor },
            )
            | (
                package::Node::BlockDevice { major, minor },
                Node::BlockDevice { major: there, minor: there_minor },
            ) => (major, minor) == (there, there_minor),
            _ => false,
        })
    }

    /// Where `place` is being made, if a folder above it comes as a whole.
    fn staged_within(&self, place: &MachinePath) -> Option<MachinePath> {
        let (root, at) = self.fresh.range(..=place.clone()).next_back()?;
        let rest = place.below(root)?;
        if rest.is_empty() { Some(at.clone()) } else { at.join(rest).ok() }
    }

    fn decided<M: Machine + ?Sized>(
        &mut self,
        work: &mut Work<'_, M>,
        decided: Decided,
    ) -> Result<(), InstallError> {
        work.needs_record(&decided.place);
        self.gathered.extend_from_slice(&frame(&decided));
        if self.gathered.len() >= GATHER { self.flush(work) } else { Ok(()) }
    }

    fn flush<M: Machine + ?Sized>(&mut self, work: &mut Work<'_, M>) -> Result<(), InstallError> {
        if !self.gathered.is_empty() {
            work.transaction.machine().append(&self.decisions, &self.gathered)?;
            self.gathered.clear();
        }
        Ok(())
    }

    /// Makes everything beside its place, and writes the receipt's claims.
    pub(crate) fn stage<M: Machine + ?Sized>(
        &mut self,
        work: &mut Work<'_, M>,
        payload: &mut dyn Payload,
    ) -> Result<(), InstallError> {
        staging::stage(self, work, payload)
    }
}

/// `name` with [`BESIDE`] behind it. Where that is longer than names may be, the end of `name` gives way to
/// a part of its hash.
fn name_beside(name: &[u8]) -> Vec<u8> {
    let room = LONGEST_NAME - BESIDE.len();
    if name.len() <= room {
        return [name, BESIDE.as_bytes()].concat();
    }
    let hash = Hash::of(name).to_string();
    let mark = &hash.as_bytes()[..16.min(hash.len())];
    [&name[..room - mark.len() - 1], b"-", mark, BESIDE.as_bytes()].concat()
}

/// What was at a path before any package, by those that claim it. One that found its own content there knows no
/// more than that: whoever kept a copy since then has what the others only remember.
fn inherited(old: Option<&Claim>, others: &[Claim]) -> Option<Before> {
    let mut befores = old.into_iter().chain(others).map(|claim| &claim.before);
    let first = befores.clone().next()?;
    let known = befores.find(|before| !matches!(before, Before::Same(_)));
    Some(known.unwrap_or(first).clone())
}

/// The highest version declared by those whose own content stands. Where somebody changed it, and not what
/// stands is our own former version's, by those whose content did.
fn standing_version<'c>(
    machine: &(impl Observe + ?Sized),
    others: &'c [Claim],
    place: &MachinePath,
    found: &Found,
    is_own: bool,
) -> Result<Option<&'c Version>, InstallError> {
    if others.is_empty() {
        return Ok(None);
    }
    let hash = match found.node {
        Node::File { .. } => Some(machine.hash(place)?),
        _ => None,
    };
    let highest = |stands: &dyn Fn(&Claim) -> bool| {
        let standing = others.iter().filter(|claim| stands(claim));
        standing.filter_map(|claim| claim.version.as_ref()).max()
    };
    let exactly = highest(&|claim| claim.node == found.node && claim.hash == hash);
    let ours = |claim: &Claim| claim.stands == Stands::Ours;
    Ok(exactly.or_else(|| if is_own { None } else { highest(&ours) }))
}

/// Whether the link at `path` leads to a folder, as `/lib` does on a merged system.
fn leads_to_folder(
    machine: &(impl Observe + ?Sized),
    path: &MachinePath,
) -> Result<bool, InstallError> {
    let inside = machine.resolve(&child(path, "x"))?;
    let Some(folder) = inside.parent() else { return Ok(false) };
    Ok(folder != *path && machine.look(&folder)?.is_some_and(|found| found.node.is_directory()))
}

/// The highest folder on the way to `path` that is missing, or `path` itself.
pub(crate) fn topmost_missing(
    machine: &(impl Observe + ?Sized),
    path: &MachinePath,
) -> Result<MachinePath, InstallError> {
    let mut top = path.clone();
    while let Some(parent) = top.parent() {
        match machine.look(&parent)? {
            None => top = parent,
            Some(found) if found.node.is_directory() => break,
            Some(found) => {
                return Err(InstallError::InTheWay {
                    path: parent,
                    found: found.node.word(),
                    wanted: "folder",
                });
            }
        }
    }
    Ok(top)
}

fn joined(root: &MachinePath, path: &[u8]) -> Result<MachinePath, InstallError> {
    if path.is_empty() {
        return Ok(root.clone());
    }
    root.join(path).map_err(|error| InstallError::Path {
        text: model::escape(path),
        reason: error.to_string(),
    })
}

fn word(node: &package::Node) -> &'static str {
    match node {
        package::Node::Directory | package::Node::Carrier => "folder",
        package::Node::File(_) | package::Node::HardLink { .. } => "file",
        package::Node::Symlink(_) => "symbolic link",
        package::Node::Fifo => "named pipe",
        package::Node::CharacterDevice { .. } => "character device",
        package::Node::BlockDevice { .. } => "block device",
    }
}

fn ended(
    read: Result<(), PayloadError>,
    failure: Option<InstallError>,
) -> Result<(), InstallError> {
    match (read, failure) {
        (_, Some(failure)) => Err(failure),
        (Err(error), None) => Err(InstallError::Payload(error)),
        (Ok(()), None) => Ok(()),
    }
}

/// A template that must be a path.
pub(crate) fn path_of(text: Vec<u8>, template: &Template) -> Result<MachinePath, InstallError> {
    MachinePath::new(text).map_err(|reason| InstallError::Path {
        text: template.to_string(),
        reason: reason.to_string(),
    })
}
