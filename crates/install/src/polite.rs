//! Taking away politely: what is still as the package left it goes, the rest stays and is reported.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use change::{
    Found, Intent, Machine, Node, Observe, Paths, RawMeta, Saved, Transaction, saved_name_of,
};
use minicbor::{Decode, Encode};
use model::{MachinePath, Time};
use serde::{Deserialize, Serialize};

use crate::{
    Before, Claim, EditClaim, InstallError, Installed, Progress, Receipt, ReceiptRecord, Stands,
    edits::TakenBack,
    install::is_generated,
    installed::{claims_at, edits_at, removed_at},
    spool::Spool,
    state::child,
    work::go_on,
};

/// Leftovers are listed one by one up to this many, then folder by folder.
const LISTED: usize = 10_000;

/// Something that stays although its package goes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Leftover {
    /// Where.
    pub path: MachinePath,
    /// Why it stays.
    pub reason: String,
}

/// What becomes of one claim.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
struct Verdict {
    #[n(0)]
    path: MachinePath,
    #[n(1)]
    fate: Fate,
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
enum Fate {
    /// It goes.
    #[n(0)]
    Goes,
    /// A folder goes with all it holds.
    #[n(1)]
    GoesWhole,
    /// What is kept under this name comes back.
    #[n(2)]
    Returns(#[n(0)] Saved),
    /// It keeps its content and gets its former metadata.
    #[n(3)]
    Meta(#[n(0)] RawMeta),
}

/// Content to be made beside its place before the switch.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
struct Return {
    #[n(0)]
    at: MachinePath,
    #[n(1)]
    from: MachinePath,
    #[n(2)]
    path: MachinePath,
}

/// A package, or its former version, on its way off the machine.
pub(crate) struct Polite {
    returns: Spool<Return>,
    texts: Vec<(MachinePath, RawMeta, Vec<u8>)>,
    /// Files the package edits, and of those the ones that go or return as a whole.
    edited: BTreeSet<MachinePath>,
    settled: BTreeSet<MachinePath>,
    /// Folders that go whole.
    whole: BTreeSet<MachinePath>,
    leftovers: BTreeSet<Leftover>,
    removed: u64,
}

/// All that deciding looks at.
pub(crate) struct Leaving<'l, 'm, M: Machine + ?Sized> {
    pub(crate) transaction: &'l mut Transaction<'m, M>,
    pub(crate) paths: &'l Paths,
    pub(crate) receipt: &'l Receipt,
    pub(crate) others: &'l [Installed],
    /// The time folders get in which names come and go, those in `times` apart, on an update.
    pub(crate) now: Time,
    /// Folders in which names come and go, and their times before.
    pub(crate) entered: BTreeMap<MachinePath, Time>,
    /// Folders that get back the time they had.
    pub(crate) times: &'l BTreeMap<MachinePath, Time>,
    pub(crate) progress: &'l dyn Progress,
    /// Whether what goes is kept, so that it can come back after the commit.
    pub(crate) keep: bool,
    /// Whether a path stays with its package's new version.
    pub(crate) stays: &'l mut dyn FnMut(&MachinePath) -> bool,
}

impl<M: Machine + ?Sized> Leaving<'_, '_, M> {
    fn enter(&mut self, folder: &MachinePath) -> Result<(), InstallError> {
        let mut standing = None;
        if !self.entered.contains_key(folder)
            && let Some(found) = self.transaction.machine().look(folder)?
        {
            standing = Some(found.meta.modified);
            self.entered.insert(folder.clone(), found.meta.modified);
        }
        let time = match self.times.get(folder) {
            Some(time) => *time,
            None if self.keep => self.now,
            // Coming did not change it, so going does not.
            None => standing.unwrap_or(self.now),
        };
        Ok(self.transaction.enter(folder, Some(time))?)
    }
}

impl Polite {
    /// Decides about every claim of the receipt, adding intents to the open batch.
    pub(crate) fn decide<M: Machine + ?Sized>(
        leaving: &mut Leaving<'_, '_, M>,
    ) -> Result<Self, InstallError> {
        let folder = leaving.transaction.folder();
        let mut polite = Self::empty(leaving, "returns");
        let mut verdicts = Spool::new(child(&folder, "verdicts"));
        polite.judge_all(leaving, &mut verdicts)?;
        verdicts.flush(leaving.transaction.machine())?;
        polite.intend_all(leaving, &verdicts)?;
        polite.flush(leaving.transaction.machine())?;
        Ok(polite)
    }

    /// Nothing decided yet; `name` names its working file.
    pub(crate) fn empty<M: Machine + ?Sized>(leaving: &Leaving<'_, '_, M>, name: &str) -> Self {
        let name = format!("{name}-{}", leaving.transaction.intents());
        Self {
            returns: Spool::new(child(&leaving.transaction.folder(), &name)),
            texts: Vec::new(),
            edited: BTreeSet::new(),
            settled: BTreeSet::new(),
            whole: BTreeSet::new(),
            leftovers: BTreeSet::new(),
            removed: 0,
        }
    }

    /// Writes out what is gathered, before the batch is sealed.
    pub(crate) fn flush<M: Machine + ?Sized>(
        &mut self,
        machine: &mut M,
    ) -> Result<(), InstallError> {
        Ok(self.returns.flush(machine)?)
    }

    /// Whether a folder that goes whole takes `path` along.
    pub(crate) fn goes(&self, path: &MachinePath) -> bool {
        !self.whole.is_empty()
            && (self.whole.contains(path)
                || path.ancestors().any(|above| self.whole.contains(&above)))
    }

    /// Makes what comes back beside its place.
    pub(crate) fn stage<M: Machine + ?Sized>(
        self,
        transaction: &mut Transaction<'_, M>,
        progress: &dyn Progress,
    ) -> Result<(Vec<Leftover>, u64), InstallError> {
        let mut position = 0;
        loop {
            go_on(progress)?;
            let (run, next) = self.returns.forward(transaction.machine(), position)?;
            if run.is_empty() {
                break;
            }
            position = next;
            for Return { at, from, path } in run {
                let machine = transaction.machine();
                if machine.look(&from)?.is_none() {
                    return Err(InstallError::KeptMissing { path });
                }
                change::keep_tree(machine, &from, &at)?;
            }
        }
        for (at, meta, text) in &self.texts {
            transaction.machine().make_file(at, meta, &mut |sink| sink.data(text))?;
        }
        Ok((self.leftovers.into_iter().collect(), self.removed))
    }

    /// Last record first, so that a folder is judged when all it holds has been.
    fn judge_all<M: Machine + ?Sized>(
        &mut self,
        leaving: &mut Leaving<'_, '_, M>,
        verdicts: &mut Spool<Verdict>,
    ) -> Result<(), InstallError> {
        // How many entries of each folder that is still to be judged go: as many folders as a path is deep.
        let mut going: HashMap<MachinePath, u64> = HashMap::new();
        let mut position = None;
        loop {
            let (run, next) =
                leaving.receipt.run_backward(leaving.transaction.machine(), position)?;
            if run.is_empty() {
                return Ok(());
            }
            position = Some(next);
            for record in run {
                go_on(leaving.progress)?;
                let (path, fate) = match record {
                    ReceiptRecord::Claim(claim) => {
                        if (leaving.stays)(&claim.path) {
                            continue;
                        }
                        let fate = self.judge(leaving, &claim, &mut going)?;
                        (claim.path, fate)
                    }
                    ReceiptRecord::Removed { path, before } => {
                        if (leaving.stays)(&path) {
                            continue;
                        }
                        let fate = self.judge_removed(leaving, &path, before)?;
                        (path, fate)
                    }
                    ReceiptRecord::Edit(edit) => {
                        self.edited.insert(edit.path);
                        continue;
                    }
                    _ => continue,
                };
                let Some(fate) = fate else { continue };
                if self.edited.contains(&path) && !matches!(fate, Fate::Meta(_)) {
                    self.settled.insert(path.clone());
                }
                if let (Fate::Goes | Fate::GoesWhole, Some(parent)) = (&fate, path.parent()) {
                    *going.entry(parent).or_default() += 1;
                }
                verdicts.push(leaving.transaction.machine(), &Verdict { path, fate })?;
            }
        }
    }

    fn judge<M: Machine + ?Sized>(
        &mut self,
        leaving: &mut Leaving<'_, '_, M>,
        claim: &Claim,
        going: &mut HashMap<MachinePath, u64>,
    ) -> Result<Option<Fate>, InstallError> {
        let count = going.remove(&claim.path).unwrap_or(0);
        if let Stands::Changed(beside) = &claim.stands {
            self.judge_beside(leaving, claim, beside)?;
        }
        if matches!(claim.stands, Stands::Theirs | Stands::Changed(_)) {
            if matches!(claim.stands, Stands::Changed(_)) {
                self.leave(&claim.path, "it was changed since it was installed");
            }
            return Ok(None);
        }
        let Some(found) = leaving.transaction.machine().look(&claim.path)? else { return Ok(None) };
        let others = claims_at(leaving.transaction.machine(), leaving.others, &claim.path)?;
        if found.node.is_directory() && claim.node == Node::Directory {
            if !others.is_empty() || claim.before != Before::Nothing {
                return Ok(None);
            }
            return self.judge_folder(leaving, claim, count);
        }
        if !is_as_left(leaving, claim, &found)? {
            let edited = edits_at(leaving.transaction.machine(), leaving.others, &claim.path)?;
            if !edited.is_empty() {
                self.leave(&claim.path, "other packages edit it");
            } else if others.is_empty() {
                self.leave(&claim.path, "it was changed since it was installed");
            }
            return Ok(None);
        }
        if !others.is_empty() {
            return lower(leaving, claim, &others, &found);
        }
        if !edits_at(leaving.transaction.machine(), leaving.others, &claim.path)?.is_empty() {
            self.leave(&claim.path, "other packages edit it");
            return Ok(None);
        }
        if removed_at(leaving.transaction.machine(), leaving.others, &claim.path)?.is_some() {
            return Ok(Some(Fate::Goes));
        }
        Ok(match &claim.before {
            Before::Nothing => Some(Fate::Goes),
            Before::Same(meta) => {
                (found.meta == claim.meta && *meta != found.meta).then(|| Fate::Meta(meta.clone()))
            }
            Before::Kept(saved) => Some(Fate::Returns(saved.clone())),
        })
    }

    fn judge_folder<M: Machine + ?Sized>(
        &mut self,
        leaving: &mut Leaving<'_, '_, M>,
        claim: &Claim,
        going: u64,
    ) -> Result<Option<Fate>, InstallError> {
        let names = leaving.transaction.machine().list(&claim.path)?;
        let generated = &leaving.receipt.header.generated;
        let mut foreign = Vec::new();
        let mut disposable = 0;
        for name in &names {
            let path = claim
                .path
                .join(name)
                .map_err(|_| InstallError::Vanished { path: claim.path.clone() })?;
            if leaving.receipt.claim(leaving.transaction.machine(), &path)?.is_some() {
                continue;
            }
            if is_disposable(leaving.transaction.machine(), generated, &path)? {
                disposable += 1;
            } else if !is_ours_beside(&path)
                && !leaving.receipt.is_beside(leaving.transaction.machine(), &path)?
            {
                foreign.push(path);
            }
        }
        if going + disposable == names.len() as u64 {
            return Ok(Some(Fate::GoesWhole));
        }
        for path in foreign {
            self.leave_tree(leaving, &path)?;
        }
        Ok(None)
    }

    /// Everything below something that is not ours, one by one.
    fn leave_tree<M: Machine + ?Sized>(
        &mut self,
        leaving: &mut Leaving<'_, '_, M>,
        path: &MachinePath,
    ) -> Result<(), InstallError> {
        let machine = leaving.transaction.machine();
        if is_disposable(machine, &leaving.receipt.header.generated, path)? {
            return Ok(());
        }
        if self.leftovers.len() >= LISTED {
            self.leave(path, "it, with all it may hold, came after the package");
            return Ok(());
        }
        let found = leaving.transaction.machine().look(path)?;
        if found.is_some_and(|found| found.node.is_directory()) {
            let names = leaving.transaction.machine().list(path)?;
            if !names.is_empty() {
                for name in names {
                    if let Ok(inner) = path.join(name) {
                        self.leave_tree(leaving, &inner)?;
                    }
                }
                return Ok(());
            }
        }
        self.leave(path, "it came after the package and is not the package's");
        Ok(())
    }

    fn judge_beside<M: Machine + ?Sized>(
        &mut self,
        leaving: &mut Leaving<'_, '_, M>,
        claim: &Claim,
        beside: &MachinePath,
    ) -> Result<(), InstallError> {
        let machine = leaving.transaction.machine();
        let unchanged = match machine.look(beside)?.map(|found| found.node) {
            Some(Node::File { .. }) => Some(machine.hash(beside)?) == claim.hash,
            _ => false,
        };
        if unchanged {
            self.remove(leaving, beside)?;
        }
        Ok(())
    }

    /// A path that a `remove` step emptied gets back what it held, if it is still empty.
    fn judge_removed<M: Machine + ?Sized>(
        &mut self,
        leaving: &mut Leaving<'_, '_, M>,
        path: &MachinePath,
        before: Before,
    ) -> Result<Option<Fate>, InstallError> {
        let others = leaving.others;
        let machine = leaving.transaction.machine();
        if removed_at(machine, others, path)?.is_some() {
            return Ok(None);
        }
        if machine.look(path)?.is_some() {
            // Another package's: what was there before comes back when that one goes.
            if claims_at(machine, others, path)?.is_empty() {
                self.leave(path, "something else is there now");
            }
            return Ok(None);
        }
        // Another package's own, if one brought it.
        let claims = claims_at(machine, others, path)?;
        let best = claims.iter().max_by(|one, other| one.version.cmp(&other.version));
        if let Some(best) = best {
            let name = saved_name_of(&best.path, &best.node, &best.meta, best.hash);
            let is_kept = machine.look(&leaving.paths.saved(&name))?.is_some();
            return Ok(is_kept.then_some(Fate::Returns(Saved { name, fresh: false })));
        }
        Ok(match before {
            Before::Kept(saved) => Some(Fate::Returns(saved)),
            _ => None,
        })
    }

    /// First record first: a folder that goes whole takes what it holds along.
    fn intend_all<M: Machine + ?Sized>(
        &mut self,
        leaving: &mut Leaving<'_, '_, M>,
        verdicts: &Spool<Verdict>,
    ) -> Result<(), InstallError> {
        let mut position = verdicts.end();
        loop {
            let (run, next) = verdicts.backward(leaving.transaction.machine(), position)?;
            if run.is_empty() {
                break;
            }
            position = next;
            for Verdict { path, fate } in run {
                if self.goes(&path) {
                    self.removed += 1;
                    continue;
                }
                match fate {
                    Fate::Goes => self.remove(leaving, &path)?,
                    Fate::GoesWhole => {
                        self.remove(leaving, &path)?;
                        self.whole.insert(path);
                    }
                    Fate::Returns(saved) => self.bring_back(leaving, &path, &saved)?,
                    Fate::Meta(meta) => {
                        if let Some(found) = leaving.transaction.machine().look(&path)? {
                            let old = Box::new(found.meta);
                            leaving.transaction.intend(Intent::SetMeta {
                                path,
                                old,
                                new: Box::new(meta),
                            })?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Adds the intent that `path` goes.
    pub(crate) fn remove<M: Machine + ?Sized>(
        &mut self,
        leaving: &mut Leaving<'_, '_, M>,
        path: &MachinePath,
    ) -> Result<(), InstallError> {
        if let Some(folder) = path.parent() {
            leaving.enter(&folder)?;
        }
        let saved = if leaving.keep { leaving.transaction.saved_name(path)? } else { None };
        leaving.transaction.intend(Intent::Remove { path: path.clone(), saved })?;
        self.removed += 1;
        Ok(())
    }

    /// Adds the intent that what is kept comes back.
    pub(crate) fn bring_back<M: Machine + ?Sized>(
        &mut self,
        leaving: &mut Leaving<'_, '_, M>,
        path: &MachinePath,
        saved: &Saved,
    ) -> Result<(), InstallError> {
        let from = leaving.paths.saved(&saved.name);
        check_kept(leaving.transaction.machine(), &from, path, saved)?;
        // It came back already, when another package went.
        let machine = leaving.transaction.machine();
        let identity = |found: Option<Found>| found.map(|found| found.identity);
        if identity(machine.look(path)?) == identity(machine.look(&from)?) {
            return Ok(());
        }
        if let Some(folder) = path.parent() {
            leaving.enter(&folder)?;
        }
        let machine = leaving.transaction.machine();
        let folder = |found: Option<Found>| found.is_some_and(|found| found.node.is_directory());
        let there = machine.look(path)?.is_some();
        let is_folder = folder(machine.look(path)?) || folder(machine.look(&from)?);
        let replaced = if there { leaving.transaction.saved_name(path)? } else { None };
        let intent = match replaced {
            Some(saved) if !is_folder => Intent::Replace { path: path.clone(), saved },
            replaced => {
                // A folder cannot be renamed over another.
                if there {
                    let saved = replaced.filter(|_| leaving.keep);
                    leaving.transaction.intend(Intent::Remove { path: path.clone(), saved })?;
                }
                Intent::Create { path: path.clone() }
            }
        };
        let at = leaving.transaction.intend(intent)?.at;
        let back = Return { at, from, path: path.clone() };
        Ok(self.returns.push(leaving.transaction.machine(), &back)?)
    }

    /// Takes the package's edits of one shared file back.
    pub(crate) fn take_back<M: Machine + ?Sized>(
        &mut self,
        leaving: &mut Leaving<'_, '_, M>,
        claim: &EditClaim,
    ) -> Result<(), InstallError> {
        let path = &claim.path;
        if self.settled.contains(path) || self.goes(path) {
            return Ok(());
        }
        let Some(found) = leaving.transaction.machine().look(path)? else { return Ok(()) };
        let Node::File { .. } = found.node else {
            self.leave(path, "it is no file any more");
            return Ok(());
        };
        let current = leaving.transaction.machine().read(path)?;
        let others = edits_at(leaving.transaction.machine(), leaving.others, path)?;
        let shared = |edit: &crate::FileEdit| {
            others.iter().flat_map(|other| &other.edits).any(|other| other.is_same_change(edit))
        };
        let original = original(leaving, claim)?;
        let mut text = current.clone();
        for edit in claim.edits.iter().rev().filter(|edit| !shared(edit)) {
            match edit.take_back(&text) {
                TakenBack::Text(without) => text = without,
                TakenBack::Changed => {
                    self.leave(path, "a line of the package was changed since it was installed");
                }
            }
        }
        if others.is_empty() && claim.before == Before::Nothing && text.is_empty() {
            return self.remove(leaving, path);
        }
        if let Before::Kept(saved) = &claim.before
            && original.as_ref() == Some(&text)
        {
            return self.bring_back(leaving, path, saved);
        }
        if text == current {
            return Ok(());
        }
        let Some(saved) = leaving.transaction.saved_name(path)? else { return Ok(()) };
        if let Some(folder) = path.parent() {
            leaving.enter(&folder)?;
        }
        let at = leaving.transaction.intend(Intent::Replace { path: path.clone(), saved })?.at;
        // As the package whose file it is left it.
        let hash = Some(model::Hash::of(&text));
        let claims = claims_at(leaving.transaction.machine(), leaving.others, path)?;
        let claim = claims.into_iter().find(|claim| claim.hash == hash);
        let meta = claim.map_or(found.meta, |claim| claim.meta);
        self.texts.push((at, meta, text));
        Ok(())
    }

    fn leave(&mut self, path: &MachinePath, reason: &str) {
        self.leftovers.insert(Leftover { path: path.clone(), reason: reason.to_owned() });
    }
}

/// Whether `path` is something the program makes for itself, or a folder of nothing else.
pub(crate) fn is_disposable(
    machine: &(impl Observe + ?Sized),
    generated: &[String],
    path: &MachinePath,
) -> Result<bool, InstallError> {
    if generated.is_empty() {
        return Ok(false);
    }
    if is_generated(generated, path) {
        return Ok(true);
    }
    if !machine.look(path)?.is_some_and(|found| found.node.is_directory()) {
        return Ok(false);
    }
    let names = machine.list(path)?;
    for name in &names {
        let inner = path.join(name).map_err(|_| InstallError::Vanished { path: path.clone() })?;
        if !is_disposable(machine, generated, &inner)? {
            return Ok(false);
        }
    }
    Ok(!names.is_empty())
}

/// The text of the file before any package edited it, if it is kept.
fn original<M: Machine + ?Sized>(
    leaving: &mut Leaving<'_, '_, M>,
    claim: &EditClaim,
) -> Result<Option<Vec<u8>>, InstallError> {
    let Before::Kept(saved) = &claim.before else { return Ok(None) };
    let from = leaving.paths.saved(&saved.name);
    let machine = leaving.transaction.machine();
    Ok(if machine.look(&from)?.is_some() { Some(machine.read(&from)?) } else { None })
}

/// Our own staged names, which are never anybody's files.
fn is_ours_beside(path: &MachinePath) -> bool {
    path.name().is_some_and(|name| name.starts_with(b".packhorse-"))
}

/// Whether what stands is what the package left there.
fn is_as_left<M: Machine + ?Sized>(
    leaving: &mut Leaving<'_, '_, M>,
    claim: &Claim,
    found: &Found,
) -> Result<bool, InstallError> {
    Ok(match (&claim.node, &found.node) {
        (Node::File { .. }, Node::File { .. }) => {
            let machine = leaving.transaction.machine();
            let edited = leaving.receipt.edits(machine, &claim.path)?.last().map(|edit| edit.to);
            let hash = machine.hash(&claim.path)?;
            Some(hash) == claim.hash || Some(hash) == edited
        }
        (one, other) => one == other,
    })
}

/// The highest version still required takes the place of ours, if ours is the one that stands.
fn lower<M: Machine + ?Sized>(
    leaving: &mut Leaving<'_, '_, M>,
    claim: &Claim,
    others: &[Claim],
    found: &Found,
) -> Result<Option<Fate>, InstallError> {
    // Of equal versions, and where none is declared, the one installed last.
    let best =
        others.iter().filter(|other| !matches!(other.stands, Stands::Theirs | Stands::Changed(_)));
    let Some(best) = best.max_by(|one, other| one.version.cmp(&other.version)) else {
        return Ok(None);
    };
    if (&best.node, best.hash) == (&claim.node, claim.hash) {
        // The same content, as that one wants it.
        let as_ours = found.meta == claim.meta && found.meta != best.meta;
        return Ok(as_ours.then(|| Fate::Meta(best.meta.clone())));
    }
    let name = match &best.stands {
        Stands::Newer(saved) => saved.name,
        _ => saved_name_of(&best.path, &best.node, &best.meta, best.hash),
    };
    let there = leaving.transaction.machine().look(&leaving.paths.saved(&name))?.is_some();
    Ok(there.then_some(Fate::Returns(Saved { name, fresh: false })))
}

/// Refuses a kept copy that is missing or no longer what its name says.
pub(crate) fn check_kept<M: Machine + ?Sized>(
    machine: &M,
    kept: &MachinePath,
    path: &MachinePath,
    saved: &Saved,
) -> Result<(), InstallError> {
    let Some(found) = machine.look(kept)? else {
        return Err(InstallError::KeptMissing { path: path.clone() });
    };
    let whole = match found.node {
        Node::Directory => change::saved_name_as(machine, kept, path)? == Some(saved.name),
        Node::File { .. } => {
            saved_name_of(path, &found.node, &found.meta, Some(machine.hash(kept)?)) == saved.name
        }
        ref node => saved_name_of(path, node, &found.meta, None) == saved.name,
    };
    if whole {
        Ok(())
    } else {
        Err(InstallError::KeptDamaged { path: path.clone(), kept: kept.clone() })
    }
}
