//! The words of the script: every table and step kind with its keys. The reader refuses what is not
//! here, the schema is made from it, and docs/formats/script.md is checked against it.

use model::Users;

/// The format this crate reads and writes: `format = 1`.
pub const FORMAT: i64 = 1;

/// A table of the script, or a step kind.
#[derive(Debug)]
pub struct Table {
    /// Its name; for a step kind, the key that names the step.
    pub name: &'static str,
    /// One sentence about it.
    pub about: &'static str,
    /// Its keys, in the order they are printed; a step kind's own name comes first.
    pub keys: &'static [Key],
}

/// A key of a table.
#[derive(Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub shape: Shape,
    /// Whether it must be there.
    pub required: bool,
    /// One sentence about it.
    pub about: &'static str,
}

/// What a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A text taken as it is.
    Text,
    /// A text that is not empty, taken as it is: an account's or a unit's name.
    Name,
    /// A text with variables.
    Template,
    /// A template that starts with `/` or a variable.
    Path,
    /// A path below the project folder, `files/…`.
    Source,
    /// `true` or `false`.
    Truth,
    /// A whole number, `0` to 4,294,967,295.
    Id,
    /// A whole number that may be negative.
    Number,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Some of these words.
    Words(&'static [&'static str]),
    /// An octal mode as text, `"0755"`.
    Mode,
    /// A moment, `"2026-01-31T12:00:00Z"`.
    Time,
    /// A length of time, `"90s"`.
    Duration,
    /// A condition in CEL.
    Condition,
    /// Texts by attribute name.
    Xattrs,
    /// An access control list in short text form.
    Acl,
    /// Patterns.
    Patterns,
    /// Texts taken as they are.
    Texts,
    /// Templates.
    Templates,
    /// Templates, at least one.
    Command,
    /// How a command is undone: a word or a command.
    Undo,
    /// Meanings by exit code.
    ExitCodes,
    /// Lines, each a template or `{ line, after }`.
    Lines,
    /// Templates by key.
    Assignments,
    /// Templates by key, by section.
    Sections,
    /// Lists of keys, by section.
    SectionKeys,
    /// `{ files, text, with }` tables.
    Replacements,
    /// `{ name, link, path }` tables.
    Followers,
    /// Registry values by name.
    Values,
    /// Words with a length of time, `"restart 60s"`.
    Recovery,
}

/// The words of `replace`, the default first.
pub(crate) const REPLACE: &[&str] = &["newer", "always", "never"];
/// The words of `start`, the default first.
pub(crate) const START: &[&str] = &["automatic", "manual", "disabled"];
/// The words of a Windows service's `start`, by the service control manager's numbers.
pub(crate) const SERVICE_START: &[&str] =
    &["boot", "system", "automatic", "manual", "disabled", "delayed"];
/// What may follow when a Windows service fails, by the service control manager's numbers.
pub(crate) const FAILURES: &[&str] = &["nothing", "restart", "reboot", "run"];
/// The words of a Windows service's `kind`, the default first.
pub(crate) const SERVICE_KIND: &[&str] = &["own", "share", "driver", "file-system-driver"];
/// The words of a shortcut's `window`, the default first.
pub(crate) const WINDOW: &[&str] = &["normal", "maximized", "minimized"];
/// The words of `at`, the default first.
pub(crate) const AT: &[&str] = &["install", "before-uninstall", "after-uninstall"];
/// The words of `undo`, beside a command.
pub(crate) const UNDO: &[&str] = &["outputs", "irreversible"];
/// What exit codes may mean.
pub(crate) const MEANINGS: &[&str] = &["done", "restart", "retry", "failed"];

/// What a trigger makes anew.
#[derive(Debug)]
pub struct Trigger {
    /// The name a `trigger` step says.
    pub name: &'static str,
    /// What it does, as the end of a sentence.
    pub about: &'static str,
}

/// Every trigger there is, in the order they run.
pub const TRIGGERS: &[Trigger] = &[
    Trigger { name: "sysusers", about: "make the accounts of /usr/lib/sysusers.d" },
    Trigger { name: "tmpfiles", about: "make the paths of /usr/lib/tmpfiles.d" },
    Trigger { name: "ldconfig", about: "make the cache of shared libraries anew" },
    Trigger { name: "depmod", about: "make the lists of kernel modules anew" },
    Trigger { name: "ca-certificates", about: "make the bundle of trusted certificates anew" },
    Trigger { name: "sysctl", about: "apply the kernel settings of /etc/sysctl.d" },
    Trigger { name: "udev", about: "read the device rules anew" },
    Trigger { name: "systemd-reload", about: "let systemd read its units anew" },
    Trigger { name: "dbus-reload", about: "let the message bus read its configuration anew" },
    Trigger { name: "glib-schemas", about: "compile the settings schemas" },
    Trigger { name: "mime-database", about: "make the database of file types anew" },
    Trigger { name: "desktop-database", about: "make the cache of desktop entries anew" },
    Trigger { name: "icon-cache", about: "make the icon caches anew" },
    Trigger { name: "fontconfig", about: "make the font cache anew" },
    Trigger { name: "info-dir", about: "make the directory of info pages anew" },
    Trigger { name: "mandb", about: "make the index of manual pages anew" },
];

/// The trigger of this name.
pub fn trigger(name: &str) -> Option<&'static Trigger> {
    TRIGGERS.iter().find(|trigger| trigger.name == name)
}

/// Variables every machine gives; a script may use them and cannot declare them.
pub const BUILT_IN_VARIABLES: &[&str] = &[
    "machine.os",
    "machine.arch",
    "machine.distribution",
    "machine.release",
    "machine.kernel",
    "machine.hostname",
    ARGUMENTS,
    "program-files",
    "program-files-x86",
    "common-files",
    "common-files-x86",
    "program-data",
    "windows",
    "system",
    "system-x86",
    "fonts",
    "start-menu",
    "common-desktop",
    "public",
    "user-profile",
    "app-data",
    "local-app-data",
    "user-start-menu",
    "desktop",
];

/// What follows `--` on the installer's command line: as an item of `run`, as many words; elsewhere joined by
/// spaces.
pub const ARGUMENTS: &str = "installer.arguments";

/// What a variable's name must not start with, since what every machine gives does.
pub(crate) const RESERVED_PREFIXES: [&str; 2] = ["machine.", "installer."];

const fn need(name: &'static str, shape: Shape, about: &'static str) -> Key {
    Key { name, shape, required: true, about }
}

const fn may(name: &'static str, shape: Shape, about: &'static str) -> Key {
    Key { name, shape, required: false, about }
}

/// `[package]`
pub const PACKAGE: Table = Table {
    name: "package",
    about: "What the package is.",
    keys: &[
        need("name", Shape::Name, "Lower-case letters, digits, `+`, `-`, `.`, `_`."),
        need("version", Shape::Name, "Any text; compared as Debian compares versions."),
        need("architecture", Shape::Name, "`any`, `x86-64`, `arm64`."),
        may("summary", Shape::Text, "One line for lists."),
        may(
            "configuration",
            Shape::Patterns,
            "Patterns over target paths: files an administrator may change; an update keeps a changed one.",
        ),
        may(
            "generated",
            Shape::Templates,
            "Patterns over target paths: what the program makes for itself; uninstall removes it.",
        ),
        may(
            "maintainer",
            Shape::Text,
            "Who answers for it, `Name <mail@example.org>`; for .deb and .rpm.",
        ),
        may("homepage", Shape::Text, "Where to read on; for .deb and .rpm."),
        may("license", Shape::Text, "The licence as an SPDX expression; for .deb and .rpm."),
        may("section", Shape::Text, "The shelf it is on, `utils`; for .deb and .rpm."),
        may("description", Shape::Text, "What it is in more than one line; for .deb and .rpm."),
        may(
            "icon",
            Shape::Text,
            "The icon of installers for Windows: an .ico file of the project.",
        ),
    ],
};

/// `[depends]`
pub const DEPENDS: Table = Table {
    name: "depends",
    about: "What must be there before, in the words of the package system that sees to it.",
    keys: &[
        may("deb", Shape::Texts, "For a .deb: `libc6 (>= 2.36)`."),
        may("rpm", Shape::Texts, "For an .rpm: `glibc >= 2.36`."),
    ],
};

/// A table of `[variables]`.
pub const VARIABLE: Table = Table {
    name: "variables",
    about: "A value the script leaves open.",
    keys: &[
        may(
            "default",
            Shape::Template,
            "What it is unless told otherwise; without it, somebody must say.",
        ),
        may("prompt", Shape::Text, "The question to a person, if one may be asked."),
        may("fixed", Shape::Text, "Why no other value works."),
    ],
};

/// A table of `[program]`.
pub const PROGRAM: Table = Table {
    name: "program",
    about: "A named way to run the package.",
    keys: &[
        may("detect", Shape::Condition, "So where the package is installed and whole."),
        may(
            "requires",
            Shape::Condition,
            "What the machine must be or have, checked before anything changes.",
        ),
        may("exit-codes", Shape::ExitCodes, "What exit codes mean to the machine's administrator."),
        may("estimate", Shape::Duration, "How long it takes, for maintenance windows."),
    ],
};

/// What every step may have beside its kind's keys.
pub const STEP: Table = Table {
    name: "step",
    about: "One thing to do, in order.",
    keys: &[
        may(
            "when",
            Shape::Condition,
            "The step is left out, and said to be, where this is not so.",
        ),
        may(
            "users",
            Shape::Words(&Users::WORDS),
            "Whose, of a key below `HKCU` or a path in a profile; whoever installs when unsaid.",
        ),
    ],
};

/// A table of `replace-text`.
pub const REPLACEMENT: Table = Table {
    name: "replace-text",
    about: "Text in payload files that stands for a variable.",
    keys: &[
        need("files", Shape::Patterns, "Patterns over paths below the source."),
        need("text", Shape::Name, "What stands in the files, literally."),
        need("with", Shape::Template, "What it becomes."),
    ],
};

/// A table of `add` in `edit-lines`.
pub const LINE: Table = Table {
    name: "add",
    about: "A line and where it goes.",
    keys: &[
        need("line", Shape::Template, "The line without its end."),
        may("after", Shape::Template, "A line it follows, if that stands in the file."),
    ],
};

/// A table of `followers`.
pub const FOLLOWER: Table = Table {
    name: "followers",
    about: "A link that follows the choice.",
    keys: &[
        need("name", Shape::Name, "Its generic name."),
        need("link", Shape::Path, "Its generic path."),
        need("path", Shape::Path, "Our candidate."),
    ],
};

const TO: Key = need("to", Shape::Path, "Where it goes.");
const REPLACE_KEY: Key =
    may("replace", Shape::Word(REPLACE), "What happens where something is already.");
const VERSION: Key =
    may("version", Shape::Name, "The version of the file or files, for `replace = \"newer\"`.");
const REPLACE_TEXT: Key =
    may("replace-text", Shape::Replacements, "Text in payload files that stands for a variable.");
const EXCEPT: Key =
    may("except", Shape::Patterns, "Patterns over paths below the source that are left out.");
const OWNER: Key = may("owner", Shape::Name, "Who owns it; `root` when unsaid.");
const GROUP: Key = may("group", Shape::Name, "Its group; `root` when unsaid.");
const MODIFIED: Key =
    may("modified", Shape::Time, "When its content last changed; 1970 when unsaid.");
const XATTRS: Key =
    may("xattrs", Shape::Xattrs, "Extended attributes, `\\xNN` for bytes that are no text.");
const ACL: Key = may("acl", Shape::Acl, "Its access control list, if it has one.");
const DEFAULT_ACL: Key =
    may("default-acl", Shape::Acl, "The list new entries of a folder inherit, if there is one.");
const CREATE: Key =
    may("create", Shape::Truth, "Whether a missing file is made; `false` when unsaid.");
const SYSTEM: Key = may(
    "system",
    Shape::Truth,
    "Whether its number comes from the system's range; `false` when unsaid.",
);
const ID: Key = may("id", Shape::Id, "A number that must be had.");

/// Every step kind.
pub const KINDS: &[Table] = &[
    Table {
        name: "install-tree",
        about: "A folder of the project and all below it is installed.",
        keys: &[
            need("install-tree", Shape::Source, "The folder, below `files/`."),
            TO,
            REPLACE_KEY,
            VERSION,
            REPLACE_TEXT,
            EXCEPT,
        ],
    },
    Table {
        name: "install-file",
        about: "One file, link or special file of the project is installed.",
        keys: &[
            need("install-file", Shape::Source, "The file, below `files/`."),
            need("to", Shape::Path, "Its full path there, name included."),
            REPLACE_KEY,
            VERSION,
            REPLACE_TEXT,
        ],
    },
    Table {
        name: "create-directory",
        about: "An empty folder comes to be.",
        keys: &[
            need("create-directory", Shape::Path, "Where."),
            REPLACE_KEY,
            VERSION,
            may("mode", Shape::Mode, "Its permissions; `0755` when unsaid."),
            OWNER,
            GROUP,
            MODIFIED,
            XATTRS,
            ACL,
            DEFAULT_ACL,
        ],
    },
    Table {
        name: "create-link",
        about: "A symbolic link comes to be.",
        keys: &[
            need("create-link", Shape::Path, "Where."),
            need("target", Shape::Template, "What the link says."),
            REPLACE_KEY,
            VERSION,
            OWNER,
            GROUP,
            MODIFIED,
            XATTRS,
        ],
    },
    Table {
        name: "create-shortcut",
        about: "A shortcut of Windows comes to be.",
        keys: &[
            need("create-shortcut", Shape::Path, "Where; its name ends in `.lnk`."),
            need("target", Shape::Template, "What it leads to."),
            may("arguments", Shape::Template, "What the program is handed."),
            may("folder", Shape::Template, "The folder the program starts in."),
            may("icon", Shape::Template, "The file its icon is in; the target when unsaid."),
            may("icon-index", Shape::Number, "Which icon of that file; the first when unsaid."),
            may("description", Shape::Template, "One sentence about it."),
            may("window", Shape::Word(WINDOW), "How the program's window opens."),
            may("hotkey", Shape::Number, "The keys that start it, as the shell counts them."),
            may("to-folder", Shape::Truth, "Whether it leads to a folder; `false` when unsaid."),
            may(
                "as-administrator",
                Shape::Truth,
                "Whether it asks for an administrator's rights; `false` when unsaid.",
            ),
            REPLACE_KEY,
            VERSION,
            MODIFIED,
            XATTRS,
        ],
    },
    Table {
        name: "remove",
        about: "Whatever is at the path goes, a folder with all it holds.",
        keys: &[need("remove", Shape::Path, "What goes.")],
    },
    Table {
        name: "set-metadata",
        about: "Something that is there already gets exactly this metadata.",
        keys: &[
            need("set-metadata", Shape::Path, "What changes."),
            need("mode", Shape::Mode, "Its permissions."),
            OWNER,
            GROUP,
            need("modified", Shape::Time, "When its content last changed."),
            XATTRS,
            ACL,
            DEFAULT_ACL,
        ],
    },
    Table {
        name: "edit-lines",
        about: "Whole lines of a text file others change too.",
        keys: &[
            need("edit-lines", Shape::Path, "The file."),
            may("add", Shape::Lines, "Lines that are there, once; first of all."),
            may("remove", Shape::Templates, "Lines that are not there; after all additions."),
            CREATE,
        ],
    },
    Table {
        name: "edit-ini",
        about: "Keys of an INI file others change too.",
        keys: &[
            need("edit-ini", Shape::Path, "The file."),
            may(
                "set",
                Shape::Sections,
                "Values by key, by section; `\"\"` is the part before the first.",
            ),
            may("unset", Shape::SectionKeys, "Keys that go, by section; after all settings."),
            CREATE,
        ],
    },
    Table {
        name: "edit-assignments",
        about: "`KEY=value` lines, as shells and sysctl read them, of a file others change too.",
        keys: &[
            need("edit-assignments", Shape::Path, "The file."),
            may("set", Shape::Assignments, "Values, with their quotes, by key."),
            may("unset", Shape::Templates, "Keys that go; after all settings."),
            CREATE,
        ],
    },
    Table {
        name: "edit-path-list",
        about: "Folders in a list like `PATH=\"a:b\"`.",
        keys: &[
            need("edit-path-list", Shape::Path, "The file."),
            need("key", Shape::Template, "The key, `PATH`."),
            need("add", Shape::Templates, "The folders."),
            may(
                "first",
                Shape::Truth,
                "Whether they come first instead of last; `false` when unsaid.",
            ),
            CREATE,
        ],
    },
    Table {
        name: "create-group",
        about: "A group exists.",
        keys: &[need("create-group", Shape::Name, "Its name."), SYSTEM, ID],
    },
    Table {
        name: "create-user",
        about: "A user exists.",
        keys: &[
            need("create-user", Shape::Name, "Its name."),
            SYSTEM,
            ID,
            may("group", Shape::Name, "Its first group; one of its own name when unsaid."),
            may(
                "home",
                Shape::Path,
                "Its home folder, which is not made; `/nonexistent` when unsaid.",
            ),
            may("shell", Shape::Path, "Its shell; `/usr/sbin/nologin` when unsaid."),
            may("comment", Shape::Text, "The comment field."),
        ],
    },
    Table {
        name: "add-to-group",
        about: "A user is a member of a group.",
        keys: &[need("add-to-group", Shape::Name, "The group."), need("user", Shape::Name, "Who.")],
    },
    Table {
        name: "service",
        about: "A systemd unit, whose file a tree installs, is enabled and started.",
        keys: &[
            need("service", Shape::Name, "The unit's full name, `redis.service`."),
            may("start", Shape::Word(START), "When it starts by itself."),
            may(
                "now",
                Shape::Truth,
                "Whether it is started at once and must be seen running; when unsaid, `true` where it starts by itself.",
            ),
        ],
    },
    Table {
        name: "edit-registry",
        about: "A key of the Windows registry exists, with these values; 32-bit programs' keys stand below `WOW6432Node`.",
        keys: &[
            need("edit-registry", Shape::Template, "The key, `HKLM\\SOFTWARE\\X`."),
            may(
                "values",
                Shape::Values,
                "Values by name, the default one by `\"\"`: a text, or one of `{ expand }`, `{ list }`, `{ dword }`, `{ qword }`, `{ type, data }`, `{ add }`, `{ remove = true }`.",
            ),
            may(
                "remove-key",
                Shape::Truth,
                "Whether the key goes, with all below it; `false` when unsaid.",
            ),
        ],
    },
    Table {
        name: "create-service",
        about: "A Windows service or driver exists.",
        keys: &[
            need("create-service", Shape::Name, "Its name."),
            need("program", Shape::Template, "Its command line, or a driver's file."),
            may("kind", Shape::Word(SERVICE_KIND), "What runs: a program of its own when unsaid."),
            need("start", Shape::Word(SERVICE_START), "When it starts by itself."),
            may("display-name", Shape::Text, "What people see; its name when unsaid."),
            may("description", Shape::Text, "One sentence about it."),
            may("account", Shape::Text, "Who it runs as; the machine itself when unsaid."),
            may("dependencies", Shape::Patterns, "Services, and groups behind a `+`, it needs."),
            may(
                "recovery",
                Shape::Recovery,
                "What follows its first failure, its second, and so on: `restart`, `reboot`, `run` or `nothing`, and how long after.",
            ),
            may(
                "recovery-reset",
                Shape::Duration,
                "How long after a failure the next one is the first again; never when unsaid.",
            ),
            may("recovery-command", Shape::Template, "The command line of `run`."),
            may(
                "recovery-message",
                Shape::Text,
                "What people are told before `reboot` restarts the machine.",
            ),
            may(
                "recovery-from-errors",
                Shape::Truth,
                "Whether an end with an error is a failure too, and not a crash alone; `false` when unsaid.",
            ),
            may("now", Shape::Truth, "Whether it is started at once; `false` when unsaid."),
        ],
    },
    Table {
        name: "create-task",
        about: "A scheduled task of Windows exists.",
        keys: &[
            need(
                "create-task",
                Shape::Name,
                "Its place among the scheduler's, `\\Vendor\\Update`.",
            ),
            need(
                "definition",
                Shape::Template,
                "What it does and when, as the Task Scheduler's own XML says it ([MS-TSCH] 2.5).",
            ),
        ],
    },
    Table {
        name: "register-library",
        about: "A library of Windows writes its COM registration by itself, and takes it back when the package goes.",
        keys: &[
            need("register-library", Shape::Path, "The library, where it is installed."),
            may(
                "optional",
                Shape::Truth,
                "Whether an installation goes on where it does not register; `false` when unsaid.",
            ),
        ],
    },
    Table {
        name: "alternative",
        about: "A candidate of the alternatives system.",
        keys: &[
            need("alternative", Shape::Name, "The generic name, `editor`."),
            need("link", Shape::Path, "The generic path."),
            need("path", Shape::Path, "Our candidate."),
            need("priority", Shape::Number, "How much we want to be chosen."),
            may("followers", Shape::Followers, "Links that follow the choice."),
        ],
    },
    Table {
        name: "trigger",
        about: "Something derived is made anew from what is installed.",
        keys: &[need("trigger", Shape::Name, "A trigger's name.")],
    },
    Table {
        name: "run",
        about: "A program is run.",
        keys: &[
            need("run", Shape::Command, "The program and its arguments; no shell in between."),
            may("at", Shape::Word(AT), "When in the package's life."),
            need("undo", Shape::Undo, "How it is undone."),
            may("limit", Shape::Duration, "How long it may take; `10min` when unsaid."),
            may(
                "wait",
                Shape::Truth,
                "Whether the next step waits for its end; `true` when unsaid.",
            ),
            may(
                "exit-codes",
                Shape::ExitCodes,
                "What its exit codes mean; unsaid, 0 is done and all else failed.",
            ),
            may(
                "outputs",
                Shape::Templates,
                "Paths it changes: saved before, put back when it is undone.",
            ),
        ],
    },
];

/// The step kind of this name.
pub fn kind(name: &str) -> Option<&'static Table> {
    KINDS.iter().find(|kind| kind.name == name)
}
