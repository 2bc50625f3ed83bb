use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    io,
};

use change::{
    Action, CommandEnd, CommandRequest, FileSink, Found, Machine, MachineError, Node, Observe,
    RawMeta,
};
use model::{Hash, MachinePath, RegistryKey, ServiceSetup, Setting, SettingState, Time};

/// A machine in memory whose power can fail after any change. What was not synced then is lost,
/// reordered or torn, as a seed decides: worse than any journalling file system.
///
/// The model: every change to a name (make, link, rename, remove), to metadata, and every write of
/// content is an operation of its own. A power cut keeps what was synced, and of the rest any subset in
/// which no name appears before the folder that holds it; content that was not synced may be torn
/// anywhere. A rename happens or does not.
#[derive(Clone, Debug)]
pub struct SimDisk {
    now: State,
    durable: State,
    pending: Vec<Operation>,
    clock: u64,
    /// Changes left until the power fails.
    pub power: Option<u64>,
    /// Makes, links and writes left until the disk is full.
    pub room: Option<u64>,
    /// Removals left until none is possible any more, as where others hold files open; everything else is.
    pub removals: Option<u64>,
    /// Changes so far.
    pub changes: u64,
    /// Whether its service manager knows nothing of late starts and failures, like Wine's.
    pub forgets_recovery: bool,
    /// Programs this machine has, by words of their lines, and how each ends; it has no others.
    pub programs: Vec<(&'static str, CommandEnd)>,
    reads: RefCell<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct State {
    names: BTreeMap<MachinePath, u64>,
    inodes: BTreeMap<u64, Inode>,
    settings: BTreeMap<MachinePath, (Setting, SettingState)>,
    next: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Inode {
    node: Node,
    meta: RawMeta,
    content: Vec<u8>,
}

#[derive(Clone, Debug)]
enum Operation {
    Make {
        path: MachinePath,
        inode: u64,
        node: Node,
    },
    Link {
        inode: u64,
        name: MachinePath,
    },
    Rename {
        inode: u64,
        from: MachinePath,
        to: MachinePath,
    },
    Remove {
        path: MachinePath,
        inode: u64,
    },
    Meta {
        inode: u64,
        meta: RawMeta,
    },
    /// Bytes written from `at` on; what is before stays.
    Content {
        inode: u64,
        at: usize,
        bytes: Vec<u8>,
    },
    /// A setting comes, changes or goes.
    Set {
        setting: Setting,
        state: Option<SettingState>,
    },
    /// A folder's time, which follows from what happens in it.
    Time {
        path: MachinePath,
        time: Time,
    },
}

/// A sequence of numbers that a seed decides: splitmix64.
#[derive(Clone, Copy, Debug)]
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

impl Default for SimDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl SimDisk {
    /// An empty machine: a root folder.
    pub fn new() -> Self {
        let root = Inode {
            node: Node::Directory,
            meta: folder_meta(Time::default()),
            content: Vec::new(),
        };
        let state = State {
            names: BTreeMap::from([(MachinePath::root(), 0)]),
            inodes: BTreeMap::from([(0, root)]),
            settings: BTreeMap::new(),
            next: 1,
        };
        Self {
            now: state.clone(),
            durable: state,
            pending: Vec::new(),
            clock: 1_000,
            power: None,
            room: None,
            removals: None,
            changes: 0,
            forgets_recovery: false,
            programs: Vec::new(),
            reads: RefCell::new(0),
        }
    }

    /// The power comes back after a cut: what `seed` says survived of what was not synced.
    #[must_use]
    pub fn after_power_cut(&self, seed: u64) -> Self {
        let mut dice = Dice(seed);
        // Half of the time most survives, half of the time little does.
        let odds = [1, 8, 15][usize::try_from(dice.next() % 3).unwrap_or(0)];
        let mut state = self.durable.clone();
        for operation in &self.pending {
            if dice.next() % 16 < odds {
                state.replay(operation, &mut dice);
            }
        }
        state.next = self.now.next;
        state.drop_orphans();
        Self {
            now: state.clone(),
            durable: state,
            pending: Vec::new(),
            clock: self.clock + 1_000,
            power: None,
            room: None,
            removals: None,
            changes: 0,
            forgets_recovery: self.forgets_recovery,
            programs: self.programs.clone(),
            reads: RefCell::new(0),
        }
    }

    /// The machine after a process was killed: all it did is there.
    #[must_use]
    pub fn after_kill(&self) -> Self {
        Self { power: None, ..self.clone() }
    }

    /// Makes a file with its folders, as a machine's builder would; everything is durable.
    pub fn put(&mut self, path: &str, content: &[u8]) {
        let path: MachinePath = path.parse().expect("a path");
        for folder in path.ancestors().collect::<Vec<_>>().into_iter().rev() {
            if !self.now.names.contains_key(&folder) {
                let meta = folder_meta(self.tick());
                self.make_directory(&folder, &meta).expect("a new folder");
            }
        }
        let meta = RawMeta { mode: 0o644, ..folder_meta(self.tick()) };
        if self.now.names.contains_key(&path) {
            self.remove(&path).expect("a file");
        }
        self.make_file(&path, &meta, &mut |sink| sink.data(content)).expect("a new file");
        self.sync().expect("power");
    }

    fn tick(&mut self) -> Time {
        self.clock += 1;
        Time { seconds: i64::try_from(self.clock).unwrap_or(0), nanoseconds: 7 }
    }

    fn spend(&mut self, action: Action, path: &MachinePath) -> Result<(), MachineError> {
        self.changes += 1;
        match &mut self.power {
            Some(0) => Err(MachineError::of(action, path)(io::Error::other("the power failed"))),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Uses space: refused when the disk is full.
    fn fill(&mut self, action: Action, path: &MachinePath) -> Result<(), MachineError> {
        match &mut self.room {
            Some(0) => Err(MachineError::of(action, path)(io::ErrorKind::StorageFull.into())),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn perform(&mut self, operation: Operation) {
        self.now.replay(&operation, &mut Dice::whole());
        self.pending.push(operation);
    }

    fn enter(&mut self, path: &MachinePath) {
        if let Some(folder) = path.parent() {
            let time = self.tick();
            self.perform(Operation::Time { path: folder, time });
        }
    }

    fn must(&self, action: Action, path: &MachinePath) -> Result<u64, MachineError> {
        self.now
            .names
            .get(path)
            .copied()
            .ok_or_else(|| MachineError::of(action, path)(io::ErrorKind::NotFound.into()))
    }

    fn must_be_free(&self, path: &MachinePath) -> Result<(), MachineError> {
        if self.now.names.contains_key(path) {
            return Err(MachineError::of(Action::Make, path)(io::ErrorKind::AlreadyExists.into()));
        }
        let parent = path.parent().unwrap_or_else(MachinePath::root);
        match self.now.entry(&parent) {
            Some(inode) if inode.node.is_directory() => Ok(()),
            _ => Err(MachineError::of(Action::Make, path)(io::ErrorKind::NotFound.into())),
        }
    }

    fn make(
        &mut self,
        path: &MachinePath,
        node: Node,
        meta: &RawMeta,
    ) -> Result<u64, MachineError> {
        self.must_be_free(path)?;
        self.fill(Action::Make, path)?;
        self.spend(Action::Make, path)?;
        let inode = self.now.next;
        self.now.next += 1;
        self.perform(Operation::Make { path: path.clone(), inode, node });
        self.perform(Operation::Meta { inode, meta: meta.clone() });
        self.enter(path);
        Ok(inode)
    }
}

impl Dice {
    /// Dice for replaying an operation whole: nothing is torn.
    fn whole() -> Self {
        Self(u64::MAX)
    }

    fn tears(&mut self) -> bool {
        self.0 != u64::MAX && self.next().is_multiple_of(2)
    }
}

impl State {
    fn entry(&self, path: &MachinePath) -> Option<&Inode> {
        self.inodes.get(self.names.get(path)?)
    }

    fn below(&self, path: &MachinePath) -> Vec<MachinePath> {
        self.names
            .range(path.clone()..)
            .map(|(name, _)| name.clone())
            .take_while(|name| name.is_within(path))
            .collect()
    }

    fn has_folder(&self, path: &MachinePath) -> bool {
        path.parent()
            .is_none_or(|parent| self.entry(&parent).is_some_and(|inode| inode.node.is_directory()))
    }

    /// Applies an operation as far as it makes sense on what is there.
    /// What has no key to be in is lost, and so is what a key held that went.
    fn set(&mut self, setting: &Setting, state: Option<&SettingState>) {
        match (setting, state) {
            (_, Some(state)) => {
                if self.has_key_of(setting) {
                    self.settings.insert(setting.path(), (setting.clone(), state.clone()));
                }
            }
            (Setting::Key(key), None) => {
                self.settings
                    .retain(|_, (other, _)| !other.key().is_some_and(|one| one.is_within(key)));
            }
            (other, None) => drop(self.settings.remove(&other.path())),
        }
    }

    fn has_key_of(&self, setting: &Setting) -> bool {
        let above = match setting {
            Setting::Key(key) => key.parent(),
            Setting::Value { key, .. } => Some(key.clone()),
            Setting::Service(_) | Setting::Task(_) => None,
        };
        above.is_none_or(|key| {
            key.parent().is_none() || self.settings.contains_key(&Setting::Key(key).path())
        })
    }

    fn replay(&mut self, operation: &Operation, dice: &mut Dice) {
        match operation {
            Operation::Make { path, inode, node } => {
                if self.has_folder(path) && !self.names.contains_key(path) {
                    self.names.insert(path.clone(), *inode);
                }
                let meta = folder_meta(Time::default());
                self.inodes.entry(*inode).or_insert(Inode {
                    node: node.clone(),
                    meta,
                    content: Vec::new(),
                });
            }
            Operation::Set { setting, state } => self.set(setting, state.as_ref()),
            Operation::Link { inode, name } => {
                if self.inodes.contains_key(inode)
                    && self.has_folder(name)
                    && !self.names.contains_key(name)
                {
                    self.names.insert(name.clone(), *inode);
                }
            }
            Operation::Rename { inode, from, to } => {
                if self.names.get(from) != Some(inode) || !self.has_folder(to) || to.is_within(from)
                {
                    return;
                }
                if self.names.get(to) == Some(inode) {
                    return;
                }
                let moved = self.below(from);
                let replaced = self.below(to);
                for path in &replaced {
                    self.names.remove(path);
                }
                for path in moved {
                    if let Some(inode) = self.names.remove(&path) {
                        let rest = path.below(from).unwrap_or_default();
                        let to = if rest.is_empty() {
                            to.clone()
                        } else {
                            to.join(rest).unwrap_or_else(|_| to.clone())
                        };
                        self.names.insert(to, inode);
                    }
                }
            }
            Operation::Remove { path, inode } => {
                if self.names.get(path) == Some(inode) && self.below(path).len() == 1 {
                    self.names.remove(path);
                }
            }
            Operation::Meta { inode, meta } => {
                if let Some(inode) = self.inodes.get_mut(inode) {
                    inode.meta = meta.clone();
                }
            }
            Operation::Content { inode, at, bytes } => {
                let torn = dice.tears();
                let Some(inode) = self.inodes.get_mut(inode) else { return };
                inode.content.resize(*at, 0);
                inode.content.extend_from_slice(bytes);
                if torn && !bytes.is_empty() {
                    // The end of what was to be written is zeros, or not there at all.
                    let keep = at + usize::try_from(dice.next() % bytes.len() as u64).unwrap_or(0);
                    let length = if dice.tears() { keep } else { inode.content.len() };
                    inode.content.truncate(keep);
                    inode.content.resize(length, 0);
                }
                inode.node = Node::File { length: inode.content.len() as u64 };
            }
            Operation::Time { path, time } => {
                if let Some(inode) = self.names.get(path)
                    && let Some(inode) = self.inodes.get_mut(inode)
                {
                    inode.meta.modified = *time;
                }
            }
        }
    }

    fn drop_orphans(&mut self) {
        let named: BTreeSet<u64> = self.names.values().copied().collect();
        self.inodes.retain(|inode, _| named.contains(inode));
    }
}

fn folder_meta(modified: Time) -> RawMeta {
    RawMeta { mode: 0o755, user: 0, group: 0, modified, xattrs: BTreeMap::new() }
}

impl Observe for SimDisk {
    fn resolve(&self, path: &MachinePath) -> Result<MachinePath, MachineError> {
        Ok(path.clone())
    }

    fn look(&self, path: &MachinePath) -> Result<Option<Found>, MachineError> {
        *self.reads.borrow_mut() += 1;
        let Some(inode) = self.now.names.get(path) else { return Ok(None) };
        let entry = &self.now.inodes[inode];
        let links = match entry.node {
            Node::File { .. } => {
                self.now.names.values().filter(|other| *other == inode).count() as u64
            }
            _ => 1,
        };
        Ok(Some(Found {
            node: entry.node.clone(),
            meta: entry.meta.clone(),
            identity: (1, *inode),
            links,
        }))
    }

    fn list(&self, path: &MachinePath) -> Result<Vec<Vec<u8>>, MachineError> {
        self.must(Action::List, path)?;
        let below = self.now.below(path).into_iter();
        Ok(below
            .filter(|name| name.parent().as_ref() == Some(path))
            .filter_map(|name| name.name().map(<[u8]>::to_vec))
            .collect())
    }

    fn read(&self, path: &MachinePath) -> Result<Vec<u8>, MachineError> {
        let inode = self.must(Action::Read, path)?;
        Ok(self.now.inodes[&inode].content.clone())
    }

    fn read_at(
        &self,
        path: &MachinePath,
        offset: u64,
        length: usize,
    ) -> Result<Vec<u8>, MachineError> {
        let inode = self.must(Action::Read, path)?;
        let content = &self.now.inodes[&inode].content;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(content.len());
        Ok(content[start..(start + length).min(content.len())].to_vec())
    }

    fn hash(&self, path: &MachinePath) -> Result<Hash, MachineError> {
        Ok(Hash::of(&self.read(path)?))
    }

    fn holdable_setting(&self, wanted: SettingState) -> SettingState {
        match wanted {
            SettingState::Service(setup) if self.forgets_recovery => {
                let setup = ServiceSetup { delayed: None, recovery: None, ..*setup };
                SettingState::Service(Box::new(setup))
            }
            wanted => wanted,
        }
    }

    fn setting(&self, setting: &Setting) -> Result<Option<SettingState>, MachineError> {
        if matches!(setting, Setting::Key(key) if key.parent().is_none()) {
            return Ok(Some(SettingState::Key));
        }
        Ok(self.now.settings.get(&setting.path()).map(|(_, state)| state.clone()))
    }

    fn settings_in(&self, key: &RegistryKey) -> Result<Vec<Setting>, MachineError> {
        let all = self.now.settings.values().map(|(setting, _)| setting);
        let right_below = |setting: &&Setting| match setting {
            Setting::Key(one) => one.parent().as_ref() == Some(key),
            Setting::Value { key: one, .. } => one == key,
            Setting::Service(_) | Setting::Task(_) => false,
        };
        let mut found: Vec<Setting> = all.filter(right_below).cloned().collect();
        found.sort_by_key(|setting| matches!(setting, Setting::Key(_)));
        Ok(found)
    }
}

struct Bytes(Vec<u8>);

impl FileSink for Bytes {
    fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn hole(&mut self, length: u64) -> io::Result<()> {
        let length = usize::try_from(length).map_err(io::Error::other)?;
        self.0.resize(self.0.len() + length, 0);
        Ok(())
    }
}

impl Machine for SimDisk {
    fn make_directory(&mut self, path: &MachinePath, meta: &RawMeta) -> Result<(), MachineError> {
        self.make(path, Node::Directory, meta).map(|_| ())
    }

    fn make_file(
        &mut self,
        path: &MachinePath,
        meta: &RawMeta,
        fill: &mut dyn FnMut(&mut dyn FileSink) -> io::Result<()>,
    ) -> Result<(), MachineError> {
        let inode = self.make(path, Node::File { length: 0 }, meta)?;
        self.fill(Action::Write, path)?;
        self.spend(Action::Write, path)?;
        let mut bytes = Bytes(Vec::new());
        fill(&mut bytes).map_err(|reason| MachineError::of(Action::Write, path)(reason))?;
        self.perform(Operation::Content { inode, at: 0, bytes: bytes.0 });
        Ok(())
    }

    fn make_node(
        &mut self,
        path: &MachinePath,
        node: &Node,
        meta: &RawMeta,
    ) -> Result<(), MachineError> {
        self.make(path, node.clone(), meta).map(|_| ())
    }

    fn link(&mut self, existing: &MachinePath, name: &MachinePath) -> Result<(), MachineError> {
        let inode = self.must(Action::Link, existing)?;
        self.must_be_free(name)?;
        self.fill(Action::Link, name)?;
        self.spend(Action::Link, name)?;
        self.perform(Operation::Link { inode, name: name.clone() });
        self.enter(name);
        Ok(())
    }

    fn copy(&mut self, from: &MachinePath, to: &MachinePath) -> Result<(), MachineError> {
        let inode = self.must(Action::Read, from)?;
        let Inode { node, meta, content } = self.now.inodes[&inode].clone();
        if matches!(node, Node::File { .. }) {
            return self.make_file(to, &meta, &mut |sink| sink.data(&content));
        }
        self.make_node(to, &node, &meta)
    }

    fn rename(&mut self, from: &MachinePath, to: &MachinePath) -> Result<(), MachineError> {
        let inode = self.must(Action::Rename, from)?;
        if self.now.below(to).len() > 1 || !self.now.has_folder(to) {
            return Err(MachineError::of(Action::Rename, to)(
                io::ErrorKind::DirectoryNotEmpty.into(),
            ));
        }
        self.spend(Action::Rename, to)?;
        self.perform(Operation::Rename { inode, from: from.clone(), to: to.clone() });
        self.enter(from);
        self.enter(to);
        Ok(())
    }

    fn remove(&mut self, path: &MachinePath) -> Result<(), MachineError> {
        let inode = self.must(Action::Remove, path)?;
        if self.now.below(path).len() > 1 {
            return Err(MachineError::of(Action::Remove, path)(
                io::ErrorKind::DirectoryNotEmpty.into(),
            ));
        }
        match &mut self.removals {
            Some(0) => {
                let error = io::ErrorKind::DirectoryNotEmpty.into();
                return Err(MachineError::of(Action::Remove, path)(error));
            }
            Some(left) => *left -= 1,
            None => {}
        }
        self.spend(Action::Remove, path)?;
        self.perform(Operation::Remove { path: path.clone(), inode });
        self.enter(path);
        Ok(())
    }

    fn set_meta(&mut self, path: &MachinePath, meta: &RawMeta) -> Result<(), MachineError> {
        let inode = self.must(Action::SetMeta, path)?;
        self.spend(Action::SetMeta, path)?;
        self.perform(Operation::Meta { inode, meta: meta.clone() });
        Ok(())
    }

    fn append(&mut self, path: &MachinePath, bytes: &[u8]) -> Result<(), MachineError> {
        let inode = if let Some(inode) = self.now.names.get(path) {
            *inode
        } else {
            let meta = RawMeta { mode: 0o600, ..folder_meta(Time::default()) };
            self.make(path, Node::File { length: 0 }, &meta)?
        };
        self.fill(Action::Write, path)?;
        self.spend(Action::Write, path)?;
        let at = self.now.inodes[&inode].content.len();
        self.perform(Operation::Content { inode, at, bytes: bytes.to_vec() });
        Ok(())
    }

    /// Makes the file durable, and with it every name and folder on its way: what happened to other
    /// files stays uncertain.
    fn sync_file(&mut self, path: &MachinePath) -> Result<(), MachineError> {
        let inode = self.must(Action::Sync, path)?;
        self.spend(Action::Sync, path)?;
        let way: Vec<MachinePath> = path.ancestors().chain([path.clone()]).collect();
        let way_inodes: BTreeSet<u64> =
            way.iter().filter_map(|path| self.now.names.get(path).copied()).collect();
        let (mine, others) =
            std::mem::take(&mut self.pending).into_iter().partition(|operation| match operation {
                // A registry is no file: only `sync` waits for it.
                Operation::Set { .. } => false,
                Operation::Make { inode: made, .. } | Operation::Meta { inode: made, .. } => {
                    way_inodes.contains(made)
                }
                Operation::Content { inode: written, .. } => *written == inode,
                Operation::Link { inode: linked, .. } | Operation::Rename { inode: linked, .. } => {
                    way_inodes.contains(linked)
                }
                Operation::Remove { path, .. } | Operation::Time { path, .. } => way.contains(path),
            });
        self.pending = others;
        for operation in Vec::from_iter::<Vec<Operation>>(mine) {
            self.durable.replay(&operation, &mut Dice::whole());
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), MachineError> {
        self.spend(Action::Sync, &MachinePath::root())?;
        self.durable = self.now.clone();
        self.pending.clear();
        Ok(())
    }

    fn set(&mut self, setting: &Setting, state: Option<&SettingState>) -> Result<(), MachineError> {
        self.spend(Action::Write, &setting.path())?;
        if let (Setting::Key(key), None) = (setting, state)
            && !self.settings_in(key)?.is_empty()
        {
            let reason = io::ErrorKind::DirectoryNotEmpty.into();
            return Err(MachineError::of(Action::Remove, &setting.path())(reason));
        }
        let above = setting.key().filter(|_| state.is_some()).cloned();
        let ancestors: Vec<RegistryKey> =
            std::iter::successors(above, RegistryKey::parent).collect();
        for key in ancestors.into_iter().rev().filter(|key| key.parent().is_some()) {
            let missing = Setting::Key(key);
            if missing != *setting && self.setting(&missing)?.is_none() {
                self.perform(Operation::Set { setting: missing, state: Some(SettingState::Key) });
            }
        }
        self.perform(Operation::Set { setting: setting.clone(), state: state.cloned() });
        Ok(())
    }

    fn run(&mut self, command: &CommandRequest) -> Result<CommandEnd, MachineError> {
        let line = command.to_string();
        let program = self.programs.iter().find(|(words, _)| line.contains(words));
        Ok(program.map_or(CommandEnd::Missing, |(_, end)| end.clone()))
    }
}
