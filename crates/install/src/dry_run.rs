use std::collections::BTreeMap;

use change::{
    Action, CommandEnd, CommandRequest, FileSink, Found, Machine, MachineError, Node, Observe,
    RawMeta,
};
use model::{Hash, MachinePath, RegistryKey, Setting, SettingState};

/// A machine that is only looked at. What is written below our own folder is kept in memory, so that
/// planning can go on; everything else is refused.
pub(crate) struct DryRun<'m, M: ?Sized> {
    machine: &'m M,
    state: MachinePath,
    files: BTreeMap<MachinePath, Vec<u8>>,
}

impl<'m, M: Observe + ?Sized> DryRun<'m, M> {
    pub(crate) fn new(machine: &'m M, state: MachinePath) -> Self {
        Self { machine, state, files: BTreeMap::new() }
    }

    fn refuse<T>(action: Action, path: &MachinePath) -> Result<T, MachineError> {
        let reason = std::io::Error::other("this is a dry run");
        Err(MachineError { action, path: path.clone(), reason })
    }
}

impl<M: Observe + ?Sized> Observe for DryRun<'_, M> {
    fn resolve(&self, path: &MachinePath) -> Result<MachinePath, MachineError> {
        self.machine.resolve(path)
    }

    fn look(&self, path: &MachinePath) -> Result<Option<Found>, MachineError> {
        match self.files.get(path) {
            Some(bytes) => Ok(Some(Found {
                node: Node::File { length: bytes.len() as u64 },
                meta: RawMeta::private(0o600, model::Time::default()),
                identity: (0, 0),
                links: 1,
            })),
            None => self.machine.look(path),
        }
    }

    fn list(&self, path: &MachinePath) -> Result<Vec<Vec<u8>>, MachineError> {
        if path.is_within(&self.state) && self.machine.look(path)?.is_none() {
            return Ok(Vec::new());
        }
        self.machine.list(path)
    }

    fn read(&self, path: &MachinePath) -> Result<Vec<u8>, MachineError> {
        match self.files.get(path) {
            Some(bytes) => Ok(bytes.clone()),
            None => self.machine.read(path),
        }
    }

    fn read_at(
        &self,
        path: &MachinePath,
        offset: u64,
        length: usize,
    ) -> Result<Vec<u8>, MachineError> {
        let Some(bytes) = self.files.get(path) else {
            return self.machine.read_at(path, offset, length);
        };
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        Ok(bytes[start..(start + length).min(bytes.len())].to_vec())
    }

    fn hash(&self, path: &MachinePath) -> Result<Hash, MachineError> {
        self.machine.hash(path)
    }

    fn state_folder(&self) -> MachinePath {
        self.machine.state_folder()
    }

    fn holdable(&self, wanted: RawMeta) -> RawMeta {
        self.machine.holdable(wanted)
    }

    fn holdable_setting(&self, wanted: SettingState) -> SettingState {
        self.machine.holdable_setting(wanted)
    }

    fn setting(&self, setting: &Setting) -> Result<Option<SettingState>, MachineError> {
        self.machine.setting(setting)
    }

    fn settings_in(&self, key: &RegistryKey) -> Result<Vec<Setting>, MachineError> {
        self.machine.settings_in(key)
    }
}

impl<M: Observe + ?Sized> Machine for DryRun<'_, M> {
    fn make_directory(&mut self, path: &MachinePath, _: &RawMeta) -> Result<(), MachineError> {
        if path.is_within(&self.state) { Ok(()) } else { Self::refuse(Action::Make, path) }
    }

    fn make_file(
        &mut self,
        path: &MachinePath,
        _: &RawMeta,
        _: &mut dyn FnMut(&mut dyn FileSink) -> std::io::Result<()>,
    ) -> Result<(), MachineError> {
        Self::refuse(Action::Write, path)
    }

    fn make_node(&mut self, path: &MachinePath, _: &Node, _: &RawMeta) -> Result<(), MachineError> {
        Self::refuse(Action::Make, path)
    }

    fn link(&mut self, _: &MachinePath, name: &MachinePath) -> Result<(), MachineError> {
        Self::refuse(Action::Link, name)
    }

    fn copy(&mut self, _: &MachinePath, to: &MachinePath) -> Result<(), MachineError> {
        Self::refuse(Action::Write, to)
    }

    fn rename(&mut self, _: &MachinePath, to: &MachinePath) -> Result<(), MachineError> {
        Self::refuse(Action::Rename, to)
    }

    fn remove(&mut self, path: &MachinePath) -> Result<(), MachineError> {
        Self::refuse(Action::Remove, path)
    }

    fn set_meta(&mut self, path: &MachinePath, _: &RawMeta) -> Result<(), MachineError> {
        Self::refuse(Action::SetMeta, path)
    }

    fn append(&mut self, path: &MachinePath, bytes: &[u8]) -> Result<(), MachineError> {
        if !path.is_within(&self.state) {
            return Self::refuse(Action::Write, path);
        }
        self.files.entry(path.clone()).or_default().extend_from_slice(bytes);
        Ok(())
    }

    fn sync_file(&mut self, _: &MachinePath) -> Result<(), MachineError> {
        Ok(())
    }

    fn sync(&mut self) -> Result<(), MachineError> {
        Ok(())
    }

    fn run(&mut self, _: &CommandRequest) -> Result<CommandEnd, MachineError> {
        Ok(CommandEnd::Refused { reason: "this is a dry run".to_owned() })
    }
}
