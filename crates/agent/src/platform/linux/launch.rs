//! How a runner is started so that it outlives us: as a unit of its own where systemd runs, else as a process nobody is the
//! parent of.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use zbus::{Connection, Variant};

use crate::attempt::Attempt;

/// What a process is run from, as itself sees it.
pub(crate) const OWN: &str = "/proc/self/exe";

/// Who looks after runners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeper {
    /// systemd: each has a transient unit.
    Systemd,
    /// Nobody: each has a session of its own.
    Nobody,
}

impl Keeper {
    /// Who does on this machine: `sd_booted(3)`.
    pub fn here() -> Self {
        let is_booted = Path::new("/run/systemd/system").is_dir();
        if is_booted && rustix::process::geteuid().is_root() { Self::Systemd } else { Self::Nobody }
    }

    /// Has the runner of an attempt started. That it began shows in its folder, not here.
    pub fn launch(self, attempt: &Attempt) -> io::Result<()> {
        let program = own_program();
        match self {
            Self::Systemd => in_unit(&program, attempt),
            Self::Nobody => detached(&program, attempt),
        }
    }

    /// The name of the unit of an attempt.
    pub fn unit(attempt: &Attempt) -> String {
        format!("packhorse-run-{}.service", attempt.name())
    }
}

/// The file we run from by its name; `None` if it was removed, or another one has its name by now.
pub(crate) fn own_name() -> Option<PathBuf> {
    let path = fs::read_link(OWN).ok()?;
    let (own, named) = (fs::metadata(OWN).ok()?, fs::metadata(&path).ok()?);
    ((own.dev(), own.ino()) == (named.dev(), named.ino())).then_some(path)
}

/// The file we run from. What was replaced meanwhile the kernel still has, as long as we live.
fn own_program() -> PathBuf {
    own_name().unwrap_or_else(|| format!("/proc/{}/exe", std::process::id()).into())
}

/// Started by a process that ends at once, so that it has no parent that would wait for it.
fn detached(program: &Path, attempt: &Attempt) -> io::Result<()> {
    let mut command = Command::new(program);
    command.arg("__detach").arg(attempt.folder());
    let status =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other("its runner could not be started")) }
}

/// The process in between.
pub(crate) fn detach(attempt: &Attempt) -> io::Result<()> {
    let mut command = Command::new(own_program());
    command.arg("__runner").arg(attempt.folder());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().map(drop)
}

/// What a unit's `ExecStart` is on the bus: the file, its arguments, whether its failure counts for nothing.
type Exec = (String, Vec<String>, bool);
/// Properties, and units that come with it.
type Properties<'a> = Vec<(&'a str, Variant<'a>)>;
type Auxiliary<'a> = Vec<(String, Properties<'a>)>;

fn in_unit(program: &Path, attempt: &Attempt) -> io::Result<()> {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let file = text(program);
    let arguments = vec![file.clone(), "__runner".to_owned(), text(attempt.folder())];
    let exec: Vec<Exec> = vec![(file, arguments, false)];
    let properties: Properties<'_> = vec![
        ("Description", Variant::from(format!("Packhorse runs {}", attempt.name()))),
        ("Type", Variant::from("exec")),
        ("ExecStart", Variant::from(exec)),
        ("CollectMode", Variant::from("inactive-or-failed")),
        // It asks what it started to end by itself, and leaves word.
        ("KillMode", Variant::from("mixed")),
        ("TimeoutStopUSec", Variant::from(60_000_000_u64)),
        ("Slice", Variant::from("packhorse.slice")),
        ("Delegate", Variant::from(true)),
        ("MemoryAccounting", Variant::from(true)),
        ("CPUWeight", Variant::from(50_u64)),
        ("IOWeight", Variant::from(50_u64)),
        ("StandardInput", Variant::from("null")),
        ("StandardOutput", Variant::from("null")),
        ("StandardError", Variant::from("journal")),
    ];
    let auxiliary: Auxiliary<'_> = Vec::new();
    zbus::block_on(async {
        let bus = Connection::system().await?;
        bus.call_method(
            Some("org.freedesktop.systemd1"),
            "/org/freedesktop/systemd1",
            Some("org.freedesktop.systemd1.Manager"),
            "StartTransientUnit",
            &(Keeper::unit(attempt), "fail", properties, auxiliary),
        )
        .await
    })
    .map(drop)
    .map_err(io::Error::other)
}
