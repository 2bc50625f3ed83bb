//! Changes to files shared with others: account files and text files.

use std::collections::BTreeMap;

use change::{
    Found, Intent, Machine, Node, RawMeta,
    edit::{self, Edit, TakeBack},
};
use minicbor::{Decode, Encode};
use model::{AccountStep, EditStep, Hash, MachinePath};

use crate::{
    Before, EditClaim, InstallError, LineChange, ReceiptRecord,
    accounts::AccountLine,
    installed::{claims_at, edits_at},
    trees::path_of,
    work::Work,
};

/// One change to a shared file.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum FileEdit {
    /// A line or a member in an account file.
    #[n(0)]
    Account(#[n(0)] LineChange),
    /// A change to a text file, and what it took away there.
    #[n(1)]
    Text {
        /// The change.
        #[n(0)]
        edit: Edit,
        /// What it took away.
        #[n(1)]
        before: edit::Before,
    },
}

/// What became of taking an edit back.
pub(crate) enum TakenBack {
    /// The text without it.
    Text(Vec<u8>),
    /// Somebody changed it since: left alone.
    Changed,
}

impl FileEdit {
    /// A text edit that is to be applied.
    pub(crate) fn text(edit: Edit) -> Self {
        Self::Text { edit, before: edit::Before::default() }
    }

    /// The file's new bytes, what the edit took away remembered; `None` where it has nothing to hold on to.
    pub(crate) fn apply(&mut self, text: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Account(change) => {
                Some(change.apply(&String::from_utf8_lossy(text))?.into_bytes())
            }
            Self::Text { edit, before } => {
                *before = edit::Before::of(text, edit);
                Some(edit::apply(text, edit))
            }
        }
    }

    /// The file's bytes without the edit.
    pub(crate) fn take_back(&self, text: &[u8]) -> TakenBack {
        match self {
            Self::Account(change) => match change.take_back(&String::from_utf8_lossy(text)) {
                Some(text) => TakenBack::Text(text.into_bytes()),
                None => TakenBack::Changed,
            },
            Self::Text { edit, before } => match edit::take_back(text, edit, before) {
                TakeBack::Done(text) => TakenBack::Text(text),
                TakeBack::NotOurs => TakenBack::Text(text.to_vec()),
                TakeBack::Changed { .. } => TakenBack::Changed,
            },
        }
    }

    /// Whether both want the same, whatever it took away.
    pub(crate) fn is_same_change(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Account(one), Self::Account(other)) => one == other,
            (Self::Text { edit: one, .. }, Self::Text { edit: other, .. }) => one == other,
            _ => false,
        }
    }
}

/// A file being edited in the open batch.
struct Pending {
    found: Option<Found>,
    original: Option<Vec<u8>>,
    text: Vec<u8>,
    edits: Vec<FileEdit>,
    meta: RawMeta,
    before: Before,
    /// What other packages change there.
    others: Vec<FileEdit>,
}

/// The edits of the open batch, by file.
#[derive(Default)]
pub(crate) struct Edits {
    pending: BTreeMap<MachinePath, Pending>,
    staged: Vec<(MachinePath, MachinePath)>,
}

impl Edits {
    /// Plans an edit step of the script.
    pub(crate) fn plan<M: Machine + ?Sized>(
        &mut self,
        work: &mut Work<'_, M>,
        step: &EditStep,
    ) -> Result<(), InstallError> {
        let path = path_of(work.expand(&step.file)?, &step.file)?;
        let path = work.machine().resolve(&path)?;
        if !step.create && work.machine().look(&path)?.is_none() {
            return Err(InstallError::NoFileToEdit { path });
        }
        for line in &step.edits {
            let edit = Edit::expand(line, |name| work.variables.get(name).map(String::as_str))
                .map_err(|reason| InstallError::Edit { path: path.clone(), reason })?;
            self.add(work, &path, FileEdit::text(edit))?;
        }
        Ok(())
    }

    /// Plans an account step.
    pub(crate) fn account<M: Machine + ?Sized>(
        &mut self,
        work: &mut Work<'_, M>,
        step: &AccountStep,
    ) -> Result<(), InstallError> {
        let (home, shell) = match step {
            AccountStep::User { home, shell, .. } => (work.expand(home)?, work.expand(shell)?),
            _ => (Vec::new(), Vec::new()),
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let old = work.old_account_lines(step)?;
        let lines = if old.is_empty() {
            work.accounts.plan(step, &text(&home), &text(&shell))?
        } else {
            old
        };
        for AccountLine { file, change } in lines {
            let Ok(path) = MachinePath::new(format!("/etc/{file}")) else { continue };
            let path = work.machine().resolve(&path)?;
            // A machine without shadow passwords has no such file, and needs none.
            if work.machine().look(&path)?.is_some() || !file.contains("shadow") {
                self.add(work, &path, FileEdit::Account(change))?;
            }
        }
        Ok(())
    }

    fn add<M: Machine + ?Sized>(
        &mut self,
        work: &mut Work<'_, M>,
        path: &MachinePath,
        mut edit: FileEdit,
    ) -> Result<(), InstallError> {
        if !self.pending.contains_key(path) {
            let pending = open(work, path)?;
            self.pending.insert(path.clone(), pending);
        }
        let Some(pending) = self.pending.get_mut(path) else { return Ok(()) };
        let text = edit
            .apply(&pending.text)
            .ok_or_else(|| InstallError::NothingToEdit { path: path.clone() })?;
        pending.text = text;
        let own = work.edited.get(path).into_iter().flatten();
        // Another package made the same change: the last of them to go takes it back.
        if let FileEdit::Text { before, .. } = &edit
            && !before.changes
            && !own.chain(&pending.edits).any(|own| own.is_same_change(&edit))
            && let Some(theirs) = pending.others.iter().find(|other| other.is_same_change(&edit))
        {
            edit = theirs.clone();
        }
        pending.edits.push(edit);
        Ok(())
    }

    /// Edits of the package's former version that no step wants any more are taken back too.
    pub(crate) fn drop_former<M: Machine + ?Sized>(
        &mut self,
        work: &mut Work<'_, M>,
        files: &[MachinePath],
    ) -> Result<(), InstallError> {
        for path in files {
            // What a tree brought is replaced, or taken away, as a whole.
            let is_brought = work.old_claim(path)?.is_some();
            if !is_brought
                && !work.edited.contains_key(path)
                && !self.pending.contains_key(path)
                && work.machine().look(path)?.is_some()
            {
                let pending = open(work, path)?;
                self.pending.insert(path.clone(), pending);
            }
        }
        Ok(())
    }

    /// Adds the intents.
    pub(crate) fn intend<M: Machine + ?Sized>(
        &mut self,
        work: &mut Work<'_, M>,
    ) -> Result<(), InstallError> {
        for (path, pending) in &mut self.pending {
            work.share_folders(path)?;
            let is_foreign = pending.before == Before::Nothing
                && pending.found.is_some()
                && !work.is_known(path)?;
            if pending.original.as_ref() == Some(&pending.text) {
                if let Some(found) = pending.found.as_ref().filter(|_| is_foreign) {
                    pending.before = Before::Same(found.meta.clone());
                }
                continue;
            }
            let folder = path.parent().unwrap_or_else(MachinePath::root);
            work.enter(&folder)?;
            let is_last = pending.edits.is_empty() && pending.others.is_empty();
            if is_last && pending.before == Before::Nothing && pending.text.is_empty() {
                let saved = work.transaction.saved_name(path)?;
                work.transaction.intend(Intent::Remove { path: path.clone(), saved })?;
                work.counts.removed += 1;
                continue;
            }
            if let Some(meta) = original_meta(work, pending)? {
                pending.meta = meta;
            }
            let length = pending.text.len() as u64;
            work.needs(&folder, |block| length.next_multiple_of(block))?;
            if let Some(found) = &pending.found {
                work.needs_kept(found);
            }
            let intent = match work.transaction.saved_name(path)? {
                None => Intent::Create { path: path.clone() },
                Some(saved) => {
                    let is_untouched = matches!(&pending.before, Before::Same(meta)
                        if pending.found.as_ref().is_some_and(|found| found.meta == *meta));
                    if is_foreign || is_untouched {
                        pending.before = Before::Kept(saved.clone());
                    }
                    Intent::Replace { path: path.clone(), saved }
                }
            };
            let at = work.transaction.intend(intent)?.at;
            self.staged.push((path.clone(), at));
        }
        Ok(())
    }

    /// Makes the edited files beside their places, and writes the receipt's records.
    pub(crate) fn stage<M: Machine + ?Sized>(
        self,
        work: &mut Work<'_, M>,
    ) -> Result<(), InstallError> {
        let staged: BTreeMap<MachinePath, MachinePath> = self.staged.into_iter().collect();
        for (path, pending) in self.pending {
            if let Some(at) = staged.get(&path) {
                work.transaction
                    .machine()
                    .make_file(at, &pending.meta, &mut |sink| sink.data(&pending.text))?;
                work.counts.edited += 1;
            }
            if pending.edits.is_empty() {
                continue;
            }
            work.edited.entry(path.clone()).or_default().extend(pending.edits.iter().cloned());
            work.record(&ReceiptRecord::Edit(EditClaim {
                path,
                edits: pending.edits,
                before: pending.before,
                from: pending.original.as_deref().map(Hash::of),
                to: Hash::of(&pending.text),
            }))?;
        }
        Ok(())
    }
}

/// The metadata the file had before any package edited it, if it gets the text it had then.
fn original_meta<M: Machine + ?Sized>(
    work: &mut Work<'_, M>,
    pending: &Pending,
) -> Result<Option<RawMeta>, InstallError> {
    let Before::Kept(saved) = &pending.before else { return Ok(None) };
    let at = work.paths.saved(&saved.name);
    let Some(kept) = work.machine().look(&at)? else { return Ok(None) };
    let is_same = matches!(kept.node, Node::File { length } if length == pending.text.len() as u64)
        && work.machine().hash(&at)? == Hash::of(&pending.text);
    Ok(is_same.then_some(kept.meta))
}

/// The file as it is, without what the package's former version put into it.
fn open<M: Machine + ?Sized>(
    work: &mut Work<'_, M>,
    path: &MachinePath,
) -> Result<Pending, InstallError> {
    let found = work.machine().look(path)?;
    let original = match &found {
        None => None,
        Some(Found { node: Node::File { .. }, .. }) => Some(work.machine().read(path)?),
        Some(found) => {
            return Err(InstallError::InTheWay {
                path: path.clone(),
                found: found.node.word(),
                wanted: "text file",
            });
        }
    };
    let former = match &work.old {
        Some(old) => old.receipt.edits(work.machine(), path)?,
        None => Vec::new(),
    };
    // What the new version has just brought knows nothing of the former one's edits.
    let left = former.last().map(|edit| edit.to);
    let is_new = work.edited.contains_key(path)
        || work.is_claimed(path) && original.as_deref().map(Hash::of) != left;
    let packages = work.others;
    let others = edits_at(work.machine(), packages, path)?;
    let mut text = original.clone().unwrap_or_default();
    let edits = former.iter().filter(|_| !is_new).flat_map(|claim| claim.edits.iter());
    let is_shared = |edit: &&FileEdit| {
        others.iter().flat_map(|other| &other.edits).any(|other| other.is_same_change(edit))
    };
    for edit in edits.rev().filter(|edit| !is_shared(edit)) {
        if let TakenBack::Text(without) = edit.take_back(&text) {
            text = without;
        }
    }
    // One that found all as it wanted it knows less than one that changed something.
    let changed = |claim: &&EditClaim| !matches!(claim.before, Before::Same(_));
    let known = || former.iter().chain(&others);
    let inherited =
        known().find(changed).or_else(|| known().next()).map(|claim| claim.before.clone());
    let claimed = claims_at(work.machine(), packages, path)?;
    let before = inherited
        .or_else(|| claimed.first().map(|claim| claim.before.clone()))
        .unwrap_or(Before::Nothing);
    let modified = work.options.began;
    let meta = match &found {
        Some(found) => RawMeta { modified, ..found.meta.clone() },
        None => RawMeta { mode: 0o644, ..RawMeta::private(0o644, modified) },
    };
    let others = others.into_iter().flat_map(|other| other.edits).collect();
    Ok(Pending { found, original, text, edits: Vec::new(), meta, before, others })
}
