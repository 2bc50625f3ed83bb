use std::collections::BTreeMap;

use model::{
    AccountStep, Alternative, Architecture, Condition, EditStep, Entry, Export, LibraryStep,
    PackageName, Program, RegistryStep, ReplaceRule, RunStep, ServiceStep, SetupStep, TaskStep,
    Template, Users, Variable, Version, Window,
};

/// A package as its author says it: what `package.toml` means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// The package's name.
    pub name: PackageName,
    /// The package's version.
    pub version: Version,
    /// The machines it is for.
    pub architecture: Architecture,
    /// One line for lists; may be empty.
    pub summary: String,
    /// Files an administrator may change, as patterns over target paths (`/etc/redis/**`): an update
    /// keeps a changed one and puts ours beside it.
    pub configuration: Vec<String>,
    /// What the program makes for itself while it runs and nobody misses, as patterns over target
    /// paths (`${prefix}/**/__pycache__`): uninstall removes it.
    pub generated: Vec<Template>,
    /// Variables by name.
    pub variables: BTreeMap<Box<str>, Variable>,
    /// What to do to a machine, in order.
    pub steps: Vec<Step>,
    /// Named ways to run the package.
    pub programs: BTreeMap<Box<str>, Program>,
    /// What a .deb or .rpm made of it says beside.
    pub export: Export,
    /// The icon of installers for Windows: an `.ico` file, by its path below the project folder.
    pub icon: Option<Box<str>>,
}

/// One thing to do, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The step is left out, and said to be, where this is not so.
    pub when: Option<Condition>,
    /// Whose part of a Windows machine it changes, where every user has one; none is whoever installs.
    pub users: Vec<Users>,
    /// What to do.
    pub kind: StepKind,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepKind {
    /// `install-tree`, `install-file`, `create-directory`, `create-link`: entries come to be.
    Tree(TreeStep),
    /// `remove`: whatever is at the path goes, a folder with all it holds.
    Remove {
        /// What goes.
        path: Template,
    },
    /// `set-metadata`: mode, owner, times or attributes of something that is there already.
    SetMetadata {
        /// What changes.
        path: Template,
        /// All it shall have; the entry's kind is what the path must hold already.
        meta: Box<model::Meta>,
    },
    /// `edit-lines`, `edit-ini`, `edit-assignments`, `edit-path-list`: a text file shared with others.
    Edit(EditStep),
    /// `create-group`, `create-user`, `add-to-group`.
    Account(AccountStep),
    /// `service`: a systemd unit in the tree is enabled and started.
    Service(ServiceStep),
    /// `edit-registry`: a registry key and its values.
    Registry(RegistryStep),
    /// `create-service`: a Windows service or driver.
    Setup(SetupStep),
    /// `create-task`: a scheduled task of Windows.
    Task(TaskStep),
    /// `register-library`: a library of Windows registers itself.
    Library(LibraryStep),
    /// `alternative`: a candidate of Debian's alternatives system.
    Alternative(Alternative),
    /// `trigger`: something derived is made anew from what is installed: `ldconfig`.
    Trigger {
        /// A known trigger's name: `ldconfig`, `ca-certificates`, `mandb`, …
        name: Box<str>,
    },
    /// `run`: a program of the package's or the machine's.
    Run(RunStep),
}

impl StepKind {
    /// The path or key it changes, of kinds that may be for several users.
    pub fn place(&self) -> Option<&Template> {
        match self {
            Self::Tree(tree) => Some(&tree.to),
            Self::Registry(registry) => Some(&registry.key),
            Self::Edit(edit) => Some(&edit.file),
            Self::Remove { path } => Some(path),
            _ => None,
        }
    }
}

/// Entries that come to be, taken from the project's `files/` folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeStep {
    /// Where from, as the author said it.
    pub source: TreeSource,
    /// Where to.
    pub to: Template,
    /// What happens where something is already.
    pub replace: ReplaceRule,
    /// The version of the file or files, for [`ReplaceRule::Newer`].
    pub version: Option<Version>,
    /// Texts in the payload that stand for variables.
    pub replacements: Vec<TextReplacement>,
    /// Patterns below the source that are left out.
    pub except: Vec<String>,
}

/// Where a tree step's entries come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TreeSource {
    /// `install-tree = "files/opt/redis"`: the folder and all below it.
    Tree(Box<str>),
    /// `install-file = "files/redis.conf"`: one file, link or special file.
    File(Box<str>),
    /// `create-directory = "/var/lib/redis"`: an empty folder.
    Directory(Box<model::Meta>),
    /// `create-link = "/usr/bin/redis"`, `target = "../lib/redis"`: a symbolic link.
    Link {
        /// What the link says, unexpanded by the file system.
        target: Template,
        /// Owner and times of the link itself.
        meta: Box<model::Meta>,
    },
    /// `create-shortcut = "${start-menu}/Redis.lnk"`: a shortcut of Windows.
    Shortcut(Box<ShortcutStep>),
}

/// A shortcut of Windows, a `.lnk` file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShortcutStep {
    /// What it leads to.
    pub target: Template,
    /// What the program is handed.
    pub arguments: Template,
    /// The folder the program starts in.
    pub folder: Template,
    /// The file its icon is in; empty for that of the target.
    pub icon: Template,
    /// Which icon of that file.
    pub icon_index: i32,
    /// One sentence about it.
    pub description: Template,
    /// How the program's window opens.
    pub window: Window,
    /// The keys that start it, as the shell counts them; 0 for none.
    pub hotkey: u16,
    /// Whether it leads to a folder.
    pub to_folder: bool,
    /// Whether it asks for an administrator's rights.
    pub as_administrator: bool,
    /// Owner and times of the file.
    pub meta: model::Meta,
}

impl ShortcutStep {
    /// Its texts by their keys, in the order a package has them.
    pub fn texts(&self) -> [(&'static str, &Template); 5] {
        [
            ("target", &self.target),
            ("arguments", &self.arguments),
            ("folder", &self.folder),
            ("icon", &self.icon),
            ("description", &self.description),
        ]
    }
}

/// Text in payload files that stands for a variable.
///
/// The payload keeps its literal text; at install every occurrence of `text` that ends at a path
/// boundary becomes the variable's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextReplacement {
    /// Patterns over paths below the source: `etc/*.conf`.
    pub files: Vec<String>,
    /// What stands in the files, literally: `/opt/redis`.
    pub text: Box<str>,
    /// What it becomes: `${prefix}`.
    pub with: Template,
}

/// One line of `files.meta`: what a version control system does not keep of a payload file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileMeta {
    /// The path below the project folder, `files/opt/redis/bin/redis`, as bytes.
    pub path: Vec<u8>,
    /// Everything about it but its bytes; a file's hash is `None` here, and hard links name paths
    /// below the project folder, with a slash before them. A file without holes has the length 0
    /// here, which says nothing: its length is that of the file on disk.
    pub entry: Entry,
}
