use model::{MachinePath, Users};

/// What only the edge knows of a machine.
pub trait Facts {
    /// `linux` or `windows`.
    fn os(&self) -> String;
    /// `x86_64`, `aarch64`.
    fn architecture(&self) -> String;
    /// The `ID` of os-release, empty if unknown.
    fn distribution(&self) -> String;
    /// The `VERSION_ID` of os-release, empty if unknown.
    fn release(&self) -> String;
    /// The kernel's release.
    fn kernel(&self) -> String;
    /// Bytes of memory.
    fn memory(&self) -> u64;
    /// The host name.
    fn host_name(&self) -> String;
    /// Folders every machine of this kind has, by the names scripts have for them: `program-files`.
    fn folders(&self) -> Vec<(Box<str>, String)> {
        Vec::new()
    }
    /// Users with a profile but whoever installs, and the profile new ones are made of.
    fn profiles(&self) -> Vec<Profile> {
        Vec::new()
    }
    /// Bytes free for us where `path` is or would be, and a number that tells its file system from others.
    fn free_space(&self, path: &MachinePath) -> Option<(u64, u64)>;
    /// Bytes files and folders take at once on the file system of `path`.
    fn block_size(&self, path: &MachinePath) -> u64 {
        let _ = path;
        4096
    }
    /// The version the system's own package manager knows; `None` if the package is not installed.
    fn system_package(&self, name: &str) -> Option<String>;
    /// Whether this is a running system with systemd as its first process.
    fn has_running_systemd(&self) -> bool;
}

/// What a user of a Windows machine has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Whose.
    pub users: Users,
    /// The key below `HKU` that is this user's `HKCU`.
    pub hive: String,
    /// Folders by the names scripts have for them.
    pub folders: Vec<(Box<str>, String)>,
}

/// What is under way, for people who wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Looking at the machine.
    Planning,
    /// Writing new content beside its place.
    Staging,
    /// Renaming it into place.
    Switching,
    /// Running a program.
    Running,
    /// Taking back.
    RollingBack,
    /// Removing.
    Removing,
}

/// Told what is under way.
pub trait Progress {
    /// `done` of `total` bytes or things of `stage`; `what` names the present one.
    fn progress(&mut self, stage: Stage, done: u64, total: u64, what: &str);

    /// Whether somebody wants it to end. Asked between two changes; what was done is then taken back.
    fn is_interrupted(&self) -> bool {
        false
    }
}

/// Tells nobody.
#[derive(Debug)]
pub struct Silent;

impl Progress for Silent {
    fn progress(&mut self, _: Stage, _: u64, _: u64, _: &str) {}
}
