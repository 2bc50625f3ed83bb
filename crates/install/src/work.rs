//! An installation under way: the transaction, what is known of the machine, and the receipt being written.

use std::collections::{BTreeMap, BTreeSet};

use change::{
    Found, Intent, Machine, MachineError, Node, Paths, RawMeta, Saved, Transaction, saved_name_of,
};
use model::{AccountStep, Hash, MachinePath, Meta, Template, Time};

use crate::{
    Accounts, Before, Claim, Counts, Facts, FileEdit, InstallError, Installed, LineChange, Options,
    Progress, ReceiptRecord, SettingClaim,
    accounts::AccountLine,
    installed::{claims_at, removed_at, times_at},
    receipt::ReceiptWriter,
    space::Space,
    state::child,
};

/// Receipt records are appended this many bytes at a time.
const GATHER: usize = 1 << 18;

/// An installation under way.
pub(crate) struct Work<'w, M: Machine + ?Sized> {
    pub(crate) transaction: Transaction<'w, M>,
    pub(crate) paths: &'w Paths,
    pub(crate) facts: &'w dyn Facts,
    pub(crate) progress: &'w mut dyn Progress,
    pub(crate) options: &'w Options,
    pub(crate) variables: BTreeMap<Box<str>, String>,
    /// Other packages, in the order of installation.
    pub(crate) others: &'w [Installed],
    /// The package's own former version.
    pub(crate) old: Option<&'w Installed>,
    pub(crate) accounts: Accounts,
    pub(crate) configuration: Vec<String>,
    pub(crate) counts: Counts,
    pub(crate) notes: Vec<String>,
    /// What the open batch needs, and trees of later batches as if nothing of them were there.
    pub(crate) space: Space,
    /// Trees that later batches bring, until they were counted.
    pub(crate) later: BTreeMap<u32, MachinePath>,
    /// What earlier batches changed in text files.
    pub(crate) edited: BTreeMap<MachinePath, Vec<FileEdit>>,
    /// The folder asked about last, its file system, and how large blocks are there.
    volume: Option<(MachinePath, u64, u64)>,
    /// The file system of our own folder.
    state_device: u64,
    /// Whether a program asked for a restart.
    pub(crate) restart: bool,
    /// Settings decided so far.
    pub(crate) settings: BTreeMap<(bool, MachinePath), SettingClaim>,
    /// Folders that had names come and go, and their times before.
    folders: BTreeMap<MachinePath, FolderTimes>,
    /// Folders asked about by [`share_folders`](Self::share_folders).
    shared: BTreeSet<MachinePath>,
    /// Short hashes of every path this version claims, for what the former one claimed and this does not.
    claimed: Vec<u64>,
    /// Extended attributes this machine cannot hold.
    unheld: BTreeSet<Box<[u8]>>,
    receipt: ReceiptWriter,
}

/// When a folder was last modified.
struct FolderTimes {
    /// Before this act.
    before: Time,
    /// After it: what is set once names have come and gone, or what stands.
    after: Time,
}

impl<'w, M: Machine + ?Sized> Work<'w, M> {
    #[expect(
        clippy::too_many_arguments,
        reason = "everything an installation rests on, given once"
    )]
    pub(crate) fn new(
        transaction: Transaction<'w, M>,
        paths: &'w Paths,
        facts: &'w dyn Facts,
        progress: &'w mut dyn Progress,
        options: &'w Options,
        variables: BTreeMap<Box<str>, String>,
        others: &'w [Installed],
        old: Option<&'w Installed>,
        accounts: Accounts,
    ) -> Self {
        let mut transaction = transaction;
        let state_device =
            device_of(transaction.machine(), &paths.state).unwrap_or_default().unwrap_or_default();
        Self {
            transaction,
            paths,
            facts,
            progress,
            options,
            variables,
            others,
            old,
            accounts,
            configuration: Vec::new(),
            counts: Counts::default(),
            notes: Vec::new(),
            space: Space::default(),
            later: BTreeMap::new(),
            edited: BTreeMap::new(),
            volume: None,
            state_device,
            restart: false,
            settings: BTreeMap::new(),
            folders: BTreeMap::new(),
            shared: BTreeSet::new(),
            claimed: Vec::new(),
            unheld: BTreeSet::new(),
            receipt: ReceiptWriter::default(),
        }
    }

    pub(crate) fn machine(&mut self) -> &mut M {
        self.transaction.machine()
    }

    /// Refuses to go on when somebody wants it to end.
    pub(crate) fn go_on(&self) -> Result<(), InstallError> {
        go_on(self.progress)
    }

    pub(crate) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// The bytes of a template with this installation's variables.
    pub(crate) fn expand(&self, template: &Template) -> Result<Vec<u8>, InstallError> {
        template
            .expand(|name| self.variables.get(name).map(String::as_str))
            .map_err(|error| InstallError::Variable { name: error.variable })
    }

    /// Metadata in this machine's numbers, as far as it holds it. Of attributes it cannot hold there is a note.
    pub(crate) fn raw(&mut self, meta: &Meta) -> Result<RawMeta, InstallError> {
        let raw = self.holdable(self.accounts.raw(meta)?);
        for name in meta.xattrs.keys().filter(|name| !raw.xattrs.contains_key(*name)) {
            if self.unheld.insert(name.clone()) {
                let name = model::escape(name);
                self.note(format!(
                    "this machine holds no attribute `{name}`: files come without it"
                ));
            }
        }
        Ok(raw)
    }

    fn holdable(&self, wanted: RawMeta) -> RawMeta {
        self.transaction.observe().holdable(wanted)
    }

    /// Makes names come and go in `folder`, in the open batch.
    pub(crate) fn enter(&mut self, folder: &MachinePath) -> Result<(), InstallError> {
        if !self.folders.contains_key(folder)
            && let Some(found) = self.machine().look(folder)?
        {
            let times = FolderTimes { before: found.meta.modified, after: found.meta.modified };
            self.folders.insert(folder.clone(), times);
        }
        if let Some(times) = self.folders.get_mut(folder) {
            times.after = self.options.began;
        }
        Ok(self.transaction.enter(folder, Some(self.options.began))?)
    }

    /// Counts what comes to be in `folder`, or below where that will be made; `bytes` is told how large blocks
    /// are there.
    pub(crate) fn needs(
        &mut self,
        folder: &MachinePath,
        bytes: impl FnOnce(u64) -> u64,
    ) -> Result<(), InstallError> {
        let (device, block) = match &self.volume {
            Some((known, device, block)) if known == folder => (*device, *block),
            _ => {
                let device = device_of(self.transaction.machine(), folder)?.unwrap_or_default();
                let block = self.facts.block_size(folder);
                self.volume = Some((folder.clone(), device, block));
                (device, block)
            }
        };
        self.space.payload(device, folder, bytes(block));
        Ok(())
    }

    /// Counts what is kept of `found`, should it give way.
    pub(crate) fn needs_kept(&mut self, found: &Found) {
        self.space.kept(self.state_device, &self.paths.state, found);
    }

    /// Counts a record of the receipt about `path`.
    pub(crate) fn needs_record(&mut self, path: &MachinePath) {
        self.space.record(self.state_device, &self.paths.state, path);
    }

    /// Remembers the times of folders in which names of the former version go.
    pub(crate) fn entered(&mut self, folders: BTreeMap<MachinePath, Time>) {
        for (folder, time) in folders {
            let times = FolderTimes { before: time, after: time };
            self.folders.entry(folder).or_insert(times).after = self.options.began;
        }
    }

    /// Writes the times of folders, before and after, into the receipt. A folder that only the former
    /// version changed keeps the time it had before that.
    pub(crate) fn end_folders(&mut self) -> Result<(), InstallError> {
        let mut former = BTreeMap::new();
        if let Some(old) = self.old {
            old.receipt.records(self.transaction.machine(), 0, |record| {
                if let ReceiptRecord::Folder { path, before, after } = record {
                    former.insert(path, (before, after));
                }
                true
            })?;
        }
        for (path, (before, after)) in &former {
            match self.folders.get_mut(path) {
                Some(times) if times.before == *after => times.before = *before,
                Some(_) => {}
                None => {
                    self.record(&ReceiptRecord::Folder {
                        path: path.clone(),
                        before: *before,
                        after: *after,
                    })?;
                }
            }
        }
        let others = self.others;
        for (path, FolderTimes { before, after }) in std::mem::take(&mut self.folders) {
            // As another package left it: what was before that one is what was before any.
            let times = times_at(self.machine(), others, &path)?;
            let before = times
                .iter()
                .find(|(_, after)| *after == before)
                .map_or(before, |(first, _)| *first);
            self.record(&ReceiptRecord::Folder { path, before, after })?;
        }
        Ok(())
    }

    /// Answers, with the former version or with other packages, for the folders above `path` that one of
    /// them made: the last to go takes them along.
    pub(crate) fn share_folders(&mut self, path: &MachinePath) -> Result<(), InstallError> {
        // A folder's record comes before those of what it holds.
        let new = path.ancestors().take_while(|folder| !self.shared.contains(folder));
        let mut new: Vec<MachinePath> = new.collect();
        new.reverse();
        for folder in new {
            self.shared.insert(folder.clone());
            let others = self.others;
            let claim = match self.old_claim(&folder)? {
                Some(claim) => Some(claim),
                None => claims_at(self.machine(), others, &folder)?.into_iter().next(),
            };
            if let Some(claim) = claim.filter(|claim| claim.node == Node::Directory) {
                self.claimed(&folder);
                self.claim(claim)?;
            }
            // Should this package be the last there, the folder gets the time it had before the first.
            if !self.folders.contains_key(&folder)
                && !times_at(self.machine(), others, &folder)?.is_empty()
                && let Some(found) = self.machine().look(&folder)?
            {
                let times = FolderTimes { before: found.meta.modified, after: found.meta.modified };
                self.folders.insert(folder, times);
            }
        }
        Ok(())
    }

    /// Writes into the receipt that a step took `path` away.
    pub(crate) fn removed(
        &mut self,
        path: MachinePath,
        before: Before,
    ) -> Result<(), InstallError> {
        self.record(&ReceiptRecord::Removed { path, before })
    }

    /// Remembers that this version claims `path`.
    pub(crate) fn claimed(&mut self, path: &MachinePath) {
        self.claimed.push(short(path));
    }

    /// Whether this version claims `path`.
    pub(crate) fn is_claimed(&self, path: &MachinePath) -> bool {
        self.claimed.contains(&short(path))
    }

    /// Every path this version claims.
    pub(crate) fn claimed_paths(&self) -> Claimed {
        let mut hashes = self.claimed.clone();
        hashes.sort_unstable();
        Claimed(hashes)
    }

    /// What the former version claims at `path`.
    pub(crate) fn old_claim(&mut self, path: &MachinePath) -> Result<Option<Claim>, InstallError> {
        let Some(old) = self.old else { return Ok(None) };
        Ok(old.receipt.claim(self.transaction.machine(), path)?)
    }

    /// What the former version put into account files for this step.
    pub(crate) fn old_account_lines(
        &mut self,
        step: &AccountStep,
    ) -> Result<Vec<AccountLine>, InstallError> {
        let Some(old) = self.old else { return Ok(Vec::new()) };
        let belongs = |change: &LineChange| match (change, step) {
            (
                LineChange::Add(line),
                AccountStep::User { name, .. } | AccountStep::Group { name, .. },
            ) => line.starts_with(&format!("{name}:")),
            (
                LineChange::Member { user, group, .. },
                AccountStep::Membership { user: wanted, group: to },
            ) => (user, group) == (wanted, to),
            _ => false,
        };
        let files: &[&'static str] = match step {
            AccountStep::User { .. } => &["group", "gshadow", "passwd", "shadow"],
            _ => &["group", "gshadow"],
        };
        let mut lines = Vec::new();
        for file in files {
            let Ok(path) = MachinePath::new(format!("/etc/{file}")) else { continue };
            let path = self.transaction.machine().resolve(&path)?;
            for edit in old
                .receipt
                .edits(self.transaction.machine(), &path)?
                .into_iter()
                .flat_map(|claim| claim.edits)
            {
                if let FileEdit::Account(change) = edit
                    && belongs(&change)
                {
                    lines.push(AccountLine { file, change });
                }
            }
        }
        Ok(lines)
    }

    /// What was at `path` before any package, where nothing is now.
    pub(crate) fn before_nothing(&mut self, path: &MachinePath) -> Result<Before, InstallError> {
        if let Some(old) = self.old_claim(path)? {
            return Ok(old.before);
        }
        let (others, old) = (self.others, self.old);
        let machine = self.machine();
        if let Some(claim) = claims_at(machine, others, path)?.into_iter().next() {
            return Ok(claim.before);
        }
        if let Some(old) = old
            && let Some(before) = old.receipt.removed(machine, path)?
        {
            return Ok(before);
        }
        Ok(removed_at(machine, others, path)?.unwrap_or(Before::Nothing))
    }

    /// Whether any package, this one's former version included, answers for `path`.
    pub(crate) fn is_known(&mut self, path: &MachinePath) -> Result<bool, InstallError> {
        let others = self.others;
        let old = self.old;
        let machine = self.machine();
        for one in others.iter().chain(old) {
            if one.receipt.claim(machine, path)?.is_some()
                || !one.receipt.edits(machine, path)?.is_empty()
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether what stands is no longer what the former version left.
    pub(crate) fn is_changed(&mut self, old: &Claim, found: &Found) -> Result<bool, InstallError> {
        let edited = match self.old {
            Some(receipt) => receipt
                .receipt
                .edits(self.transaction.machine(), &old.path)?
                .last()
                .map(|edit| edit.to),
            None => None,
        };
        let path = match &old.stands {
            crate::Stands::Changed(_) => return Ok(true),
            _ => &old.path,
        };
        Ok(match (&old.node, &found.node) {
            (Node::File { .. }, Node::File { .. }) => {
                let hash = self.transaction.machine().hash(path)?;
                Some(hash) != edited.or(old.hash)
            }
            (one, other) => one != other,
        })
    }

    /// Whether what stands is the content of `claim`.
    pub(crate) fn is_as_claimed(
        &mut self,
        claim: &Claim,
        found: &Found,
    ) -> Result<bool, InstallError> {
        Ok(match (&claim.node, &found.node) {
            (Node::File { .. }, Node::File { .. }) => {
                Some(self.machine().hash(&claim.path)?) == claim.hash
            }
            (one, other) => one == other,
        })
    }

    /// Where what stands at `path` is kept as it was with other metadata.
    pub(crate) fn saved_as(
        &mut self,
        path: &MachinePath,
        found: &Found,
        meta: &RawMeta,
    ) -> Result<Saved, InstallError> {
        let hash = match found.node {
            Node::File { .. } => Some(self.machine().hash(path)?),
            _ => None,
        };
        let name = saved_name_of(path, &found.node, meta, hash);
        let at = self.paths.saved(&name);
        let fresh = self.machine().look(&at)?.is_none();
        let saved = Saved { name, fresh };
        self.transaction.intend(Intent::Store { path: path.clone(), saved: saved.clone() })?;
        Ok(saved)
    }

    /// Sets metadata in place, if it is not right already.
    pub(crate) fn set_meta(
        &mut self,
        path: &MachinePath,
        found: &Found,
        wanted: RawMeta,
    ) -> Result<(), InstallError> {
        if found.meta != wanted {
            let old = Box::new(found.meta.clone());
            self.transaction.intend(Intent::SetMeta {
                path: path.clone(),
                old,
                new: Box::new(wanted),
            })?;
            self.counts.metadata += 1;
        }
        Ok(())
    }

    /// Where our content of `record` is kept while another's stands.
    pub(crate) fn saved_for(
        &mut self,
        path: &MachinePath,
        record: &package::Record,
        meta: &RawMeta,
    ) -> Result<Saved, InstallError> {
        let (node, hash) = match &record.node {
            package::Node::File(content) => {
                (Node::File { length: content.length }, Some(content.hash))
            }
            package::Node::Symlink(target) => (Node::Symlink(self.expand(target)?), None),
            _ => (Node::Fifo, None),
        };
        let name = saved_name_of(path, &node, meta, hash);
        let at = self.paths.saved(&name);
        let fresh = self.machine().look(&at)?.is_none();
        let saved = Saved { name, fresh };
        self.transaction.intend(Intent::Store { path: path.clone(), saved: saved.clone() })?;
        Ok(saved)
    }

    pub(crate) fn claim(&mut self, claim: Claim) -> Result<(), InstallError> {
        self.record(&ReceiptRecord::Claim(claim))
    }

    /// Adds a record to the receipt.
    pub(crate) fn record(&mut self, record: &ReceiptRecord) -> Result<(), InstallError> {
        self.receipt.add(record);
        if self.receipt.gathered.len() >= GATHER { self.flush_receipt() } else { Ok(()) }
    }

    /// Writes the receipt's last record.
    pub(crate) fn end_receipt(&mut self) -> Result<(), InstallError> {
        self.receipt.end();
        self.flush_receipt()
    }

    fn flush_receipt(&mut self) -> Result<(), InstallError> {
        let path = child(&self.transaction.folder(), "receipt-new");
        let gathered = std::mem::take(&mut self.receipt.gathered);
        Ok(self.transaction.machine().append(&path, &gathered)?)
    }
}

/// Refuses to go on when somebody wants it to end.
pub(crate) fn go_on(progress: &dyn Progress) -> Result<(), InstallError> {
    if progress.is_interrupted() { Err(InstallError::Interrupted) } else { Ok(()) }
}

/// The file system of `path`, or of the nearest folder above it.
fn device_of(
    machine: &(impl Machine + ?Sized),
    path: &MachinePath,
) -> Result<Option<u64>, MachineError> {
    let mut at = Some(path.clone());
    while let Some(path) = at {
        if let Some(found) = machine.look(&path)? {
            return Ok(Some(found.identity.0));
        }
        at = path.parent();
    }
    Ok(None)
}

/// A set of paths, 8 bytes each.
pub(crate) struct Claimed(Vec<u64>);

impl Claimed {
    pub(crate) fn contains(&self, path: &MachinePath) -> bool {
        self.0.binary_search(&short(path)).is_ok()
    }
}

fn short(path: &MachinePath) -> u64 {
    Hash::of(path.as_bytes()).0.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}
