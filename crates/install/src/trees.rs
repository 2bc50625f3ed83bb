//! Payload entries: one decision for each, then each made beside its place.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    io,
};

use change::{FileSink, Found, FrameReader, Intent, Machine, Node, Observe, RawMeta, Saved, frame};
use minicbor::{Decode, Encode};
use model::{Hash, Hasher, MachinePath, ReplaceRule, Template, Version};
use package::{FileContent, Record};

use crate::{
    Before, Claim, InstallError, Payload, PayloadError, Pour, Stage, Stands, glob::matches_any,
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

/// Where the first name of a hard-linked file was made.
struct Made {
    at: MachinePath,
    place: MachinePath,
    length: u64,
    hash: Hash,
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
            (package::Node::Directory, Some(found)) => {
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
        let inherited = old.as_ref().or(others.first()).map(|claim| claim.before.clone());
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
        let mut staging = Staging {
            trees: self,
            position: 0,
            ahead: VecDeque::new(),
            open: Vec::new(),
            made: HashMap::new(),
        };
        let mut failure = None;
        let read = payload.contents(&mut |record, pour| {
            staging.stage_record(work, record, pour).map_err(|error| {
                failure = Some(error);
                Stop
            })
        });
        ended(read, failure)?;
        while let Some(folder) = staging.open.pop() {
            work.transaction.machine().set_meta(&folder.at, &folder.meta)?;
        }
        Ok(())
    }
}

/// A folder being filled; its time is set when that is over.
struct Open {
    at: MachinePath,
    meta: RawMeta,
}

struct Staging<'t> {
    trees: &'t mut Trees,
    position: u64,
    ahead: VecDeque<Decided>,
    open: Vec<Open>,
    made: HashMap<(u32, Vec<u8>), Made>,
}

impl Staging<'_> {
    fn stage_record<M: Machine + ?Sized>(
        &mut self,
        work: &mut Work<'_, M>,
        record: &Record,
        pour: &mut dyn Pour,
    ) -> Result<(), InstallError> {
        if !self.trees.targets.contains_key(&record.tree) {
            return Ok(());
        }
        work.go_on()?;
        let mut decided = self.next(work)?;
        while let Decision::Implied(at) = &decided.decision {
            self.make_implied(work, at.clone(), &decided.place, record)?;
            decided = self.next(work)?;
        }
        let meta = work.raw(&record.meta)?;
        let (at, stands) = match &decided.decision {
            Decision::Within => {
                let at = self.trees.staged_within(&decided.place);
                (
                    at.ok_or_else(|| InstallError::Vanished { path: decided.place.clone() })?,
                    Stands::Ours,
                )
            }
            Decision::Stage(at) => (at.clone(), Stands::Ours),
            Decision::StageKeeping { at, copies } => {
                for copy in copies {
                    keep_as(work, &decided.place, copy)?;
                }
                (at.clone(), Stands::Ours)
            }
            Decision::BelowKeeping { ours, copy } => {
                keep_as(work, &decided.place, copy)?;
                (work.paths.saved(&ours.name), Stands::Newer(ours.clone()))
            }
            Decision::Beside { at, to } => (at.clone(), Stands::Changed(to.clone())),
            Decision::Below(saved) => (work.paths.saved(&saved.name), Stands::Newer(saved.clone())),
            Decision::Same | Decision::Leave => {
                let stands =
                    if decided.decision == Decision::Same { Stands::Ours } else { Stands::Theirs };
                return self.claim_standing(work, record, &decided, meta, stands);
            }
            Decision::Implied(_) => return Ok(()),
        };
        self.descend(work, &at, &decided.place, record)?;
        let made = self.make(work, record, pour, &at, &decided, meta, stands);
        // People know the place, not the name beside it.
        let claim = made.map_err(|error| match error {
            InstallError::Machine(error) if error.path == at => {
                change::MachineError { path: decided.place.clone(), ..error }.into()
            }
            error => error,
        })?;
        work.counts.staged += 1;
        work.claim(claim)
    }

    /// Closes folders that are left, and opens the one `at` is made in.
    fn descend<M: Machine + ?Sized>(
        &mut self,
        work: &mut Work<'_, M>,
        at: &MachinePath,
        place: &MachinePath,
        record: &Record,
    ) -> Result<(), InstallError> {
        while self.open.last().is_some_and(|open| !at.is_within(&open.at)) {
            if let Some(folder) = self.open.pop() {
                work.transaction.machine().set_meta(&folder.at, &folder.meta)?;
            }
        }
        let Some(parent) = at.parent() else { return Ok(()) };
        let is_open = self.open.last().is_some_and(|open| open.at == parent);
        if is_open || !self.trees.fresh.values().any(|root| parent.is_within(root)) {
            return Ok(());
        }
        // A folder closed before, or one no record listed.
        if let Some(found) = work.machine().look(&parent)? {
            self.open.push(Open { at: parent, meta: found.meta });
            return Ok(());
        }
        let place = place.parent().unwrap_or_else(MachinePath::root);
        self.descend(work, &parent, &place, record)?;
        self.make_implied(work, parent, &place, record)
    }

    /// Makes a folder no record listed: root's, 0755, with the time of the first thing in it.
    fn make_implied<M: Machine + ?Sized>(
        &mut self,
        work: &mut Work<'_, M>,
        at: MachinePath,
        place: &MachinePath,
        record: &Record,
    ) -> Result<(), InstallError> {
        let meta = RawMeta { mode: 0o755, ..RawMeta::private(0o755, record.meta.modified) };
        work.transaction.machine().make_directory(&at, &meta)?;
        self.open.push(Open { at, meta: meta.clone() });
        work.claimed(place);
        work.claim(claim(place.clone(), Node::Directory, meta, Before::Nothing))
    }

    #[expect(clippy::too_many_arguments, reason = "one record with all that was decided about it")]
    fn make<M: Machine + ?Sized>(
        &mut self,
        work: &mut Work<'_, M>,
        record: &Record,
        pour: &mut dyn Pour,
        at: &MachinePath,
        decided: &Decided,
        meta: RawMeta,
        stands: Stands,
    ) -> Result<Claim, InstallError> {
        let before = decided.before.clone().unwrap_or(Before::Nothing);
        let version = self.trees.targets[&record.tree].version.clone();
        let node = match &record.node {
            package::Node::Directory | package::Node::Carrier => {
                match work.machine().look(at)? {
                    Some(found) if found.node.is_directory() => {}
                    _ => work.transaction.machine().make_directory(at, &meta)?,
                }
                self.open.push(Open { at: at.clone(), meta: meta.clone() });
                Node::Directory
            }
            package::Node::File(content) => {
                let (length, hash) = make_file(work, content, pour, at, &meta)?;
                let key = (record.tree, record.path.clone());
                if self.trees.linked.contains(&key) {
                    let made = Made { at: at.clone(), place: decided.place.clone(), length, hash };
                    self.made.insert(key, made);
                }
                let claim = claim(decided.place.clone(), Node::File { length }, meta, before);
                return Ok(Claim { hash: Some(hash), version, stands, ..claim });
            }
            package::Node::HardLink { tree, path } => {
                let made = self.made.get(&(*tree, path.clone()));
                let made =
                    made.ok_or_else(|| InstallError::Vanished { path: decided.place.clone() })?;
                work.transaction.machine().link(&made.at, at)?;
                let claim =
                    claim(decided.place.clone(), Node::File { length: made.length }, meta, before);
                let link = Some(made.place.clone());
                return Ok(Claim { hash: Some(made.hash), version, stands, link, ..claim });
            }
            package::Node::Symlink(target) => Node::Symlink(work.expand(target)?),
            package::Node::Fifo => Node::Fifo,
            package::Node::CharacterDevice { major, minor } => {
                Node::CharacterDevice { major: *major, minor: *minor }
            }
            package::Node::BlockDevice { major, minor } => {
                Node::BlockDevice { major: *major, minor: *minor }
            }
        };
        if node != Node::Directory {
            work.transaction.machine().make_node(at, &node, &meta)?;
        }
        Ok(Claim { version, stands, ..claim(decided.place.clone(), node, meta, before) })
    }

    /// A claim on what stands there already.
    fn claim_standing<M: Machine + ?Sized>(
        &mut self,
        work: &mut Work<'_, M>,
        record: &Record,
        decided: &Decided,
        meta: RawMeta,
        stands: Stands,
    ) -> Result<(), InstallError> {
        let Some(before) = decided.before.clone() else { return Ok(()) };
        let version = self.trees.targets[&record.tree].version.clone();
        let (node, hash) = match &record.node {
            package::Node::Directory | package::Node::Carrier => (Node::Directory, None),
            package::Node::File(content) => {
                let key = (record.tree, record.path.clone());
                if self.trees.linked.contains(&key) {
                    let place = decided.place.clone();
                    let made = Made {
                        at: place.clone(),
                        place,
                        length: content.length,
                        hash: content.hash,
                    };
                    self.made.insert(key, made);
                }
                (Node::File { length: content.length }, Some(content.hash))
            }
            package::Node::HardLink { tree, path } => match self.made.get(&(*tree, path.clone())) {
                Some(made) => (Node::File { length: made.length }, Some(made.hash)),
                None => (Node::File { length: 0 }, None),
            },
            package::Node::Symlink(target) => (Node::Symlink(work.expand(target)?), None),
            package::Node::Fifo => (Node::Fifo, None),
            package::Node::CharacterDevice { major, minor } => {
                (Node::CharacterDevice { major: *major, minor: *minor }, None)
            }
            package::Node::BlockDevice { major, minor } => {
                (Node::BlockDevice { major: *major, minor: *minor }, None)
            }
        };
        work.claim(Claim {
            hash,
            version,
            stands,
            ..claim(decided.place.clone(), node, meta, before)
        })
    }

    fn next<M: Machine + ?Sized>(
        &mut self,
        work: &mut Work<'_, M>,
    ) -> Result<Decided, InstallError> {
        if self.ahead.is_empty() {
            let mut reader = FrameReader::open(work.machine(), self.trees.decisions.clone())?;
            reader.seek(self.position);
            while self.ahead.len() < 2048
                && let Some(decided) = reader.forward()?
            {
                self.ahead.push_back(decided);
            }
            self.position = reader.position();
        }
        let path = self.trees.decisions.clone();
        self.ahead.pop_front().ok_or(InstallError::Vanished { path })
    }
}

fn claim(path: MachinePath, node: Node, meta: RawMeta, before: Before) -> Claim {
    Claim { path, node, meta, hash: None, before, version: None, stands: Stands::Ours, link: None }
}

/// Keeps a copy of what stands at `place`, with other metadata.
fn keep_as<M: Machine + ?Sized>(
    work: &mut Work<'_, M>,
    place: &MachinePath,
    Copy { saved, meta }: &Copy,
) -> Result<(), InstallError> {
    let kept = work.paths.saved(&saved.name);
    let machine = work.transaction.machine();
    if machine.look(&kept)?.is_none() {
        machine.copy(place, &kept)?;
        machine.set_meta(&kept, meta)?;
    }
    Ok(())
}

/// Writes a file's content, holes and substitutions in place; answers its length and hash.
fn make_file<M: Machine + ?Sized>(
    work: &mut Work<'_, M>,
    content: &FileContent,
    pour: &mut dyn Pour,
    at: &MachinePath,
    meta: &RawMeta,
) -> Result<(u64, Hash), InstallError> {
    let values: Vec<Vec<u8>> =
        content.substitutions.iter().map(|one| work.expand(&one.with)).collect::<Result<_, _>>()?;
    let mut written = Written { hasher: Hasher::new(), length: 0 };
    let plain = content.substitutions.is_empty();
    let Work { transaction, progress, counts, .. } = work;
    let total = counts.total_bytes;
    let made = transaction.machine().make_file(at, meta, &mut |sink| {
        let mut position = 0;
        let mut substitution = 0;
        pour.pour(&mut |offset, bytes| {
            counts.bytes += bytes.len() as u64;
            progress.progress(Stage::Staging, counts.bytes, total, "");
            if progress.is_interrupted() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            if offset > position {
                sink.hole(offset - position)?;
            }
            position = offset + bytes.len() as u64;
            if plain {
                return sink.data(bytes);
            }
            substitute(sink, content, &values, &mut substitution, offset, bytes, &mut written)
        })?;
        if position < content.length {
            sink.hole(content.length - position)?;
        }
        Ok(())
    });
    made.map_err(|error| match error.reason.kind() {
        io::ErrorKind::Interrupted => InstallError::Interrupted,
        _ => error.into(),
    })?;
    Ok(if plain {
        (content.length, content.hash)
    } else {
        (written.length, written.hasher.finish())
    })
}

struct Written {
    hasher: Hasher,
    length: u64,
}

/// Writes `bytes`, which stand at `position` of the payload, with what falls into a substitution left
/// out, and its value put where it starts.
fn substitute(
    sink: &mut dyn FileSink,
    content: &FileContent,
    values: &[Vec<u8>],
    next: &mut usize,
    mut position: u64,
    mut bytes: &[u8],
    written: &mut Written,
) -> io::Result<()> {
    let mut put = |part: &[u8]| {
        written.hasher.update(part);
        written.length += part.len() as u64;
        sink.data(part)
    };
    while !bytes.is_empty() {
        let Some(substitution) = content.substitutions.get(*next) else { return put(bytes) };
        let range = substitution.range;
        let take =
            |until: u64| usize::try_from(until - position).unwrap_or(usize::MAX).min(bytes.len());
        if position < range.offset {
            let count = take(range.offset);
            put(&bytes[..count])?;
            position += count as u64;
            bytes = &bytes[count..];
        } else {
            if position == range.offset {
                put(&values[*next])?;
            }
            let end = range.offset + range.length;
            let count = take(end);
            position += count as u64;
            bytes = &bytes[count..];
            if position == end {
                *next += 1;
            }
        }
    }
    Ok(())
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
fn topmost_missing(
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
