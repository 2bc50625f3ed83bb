//! Libraries of Windows that register themselves, in a program of their own: one that cannot be loaded harms nobody.

use change::{CommandEnd, CommandRequest, Machine, Node, Undo};
use model::{LibraryStep, MachinePath, Template};

use crate::{InstallError, effects::ran, settings, trees::path_of, work::Work};

/// Seconds a library may take.
const LIMIT: u32 = 120;

/// What a library's first bytes say it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Code {
    /// For processors of this number ([PE Format], Machine Types).
    For(u16),
    /// For Windows of 16 bits.
    Sixteen,
    /// No library.
    None,
}

impl Code {
    fn words(self) -> String {
        match self {
            Self::For(0x014c) => "a 32-bit x86 library".to_owned(),
            Self::For(0x8664) => "an x86-64 library".to_owned(),
            Self::For(0xaa64) => "an ARM64 library".to_owned(),
            Self::For(number) => format!("a library for machines of type {number:#06x}"),
            Self::Sixteen => "a 16-bit library".to_owned(),
            Self::None => "no library at all".to_owned(),
        }
    }

    /// The program that loads it, on a machine of this architecture.
    fn loader(self, architecture: &str) -> Option<&'static str> {
        let here = r"${system}\regsvr32.exe";
        match (self, architecture) {
            (Self::For(0x8664), "x86_64") | (Self::For(0xaa64), "aarch64") => Some(here),
            (Self::For(0x014c), _) => Some(r"${system-x86}\regsvr32.exe"),
            _ => None,
        }
    }
}

/// Lets one register itself. Where it does not, the installation ends with the file, what it is and why; or goes on
/// and says so, where the step is optional (Q200918).
pub(crate) fn register<M: Machine + ?Sized>(
    work: &mut Work<'_, M>,
    step: &LibraryStep,
) -> Result<(), InstallError> {
    settings::expect(|| format!("the library `{}`", step.file))?;
    let path = path_of(work.expand(&step.file)?, &step.file)?;
    let path = work.machine().resolve(&path)?;
    let name = path.on_drive().unwrap_or_else(|| path.as_bytes().to_vec());
    let file = String::from_utf8_lossy(&name).into_owned();
    let (code, reason) = match code_of(work.machine(), &path)? {
        None => (None, Some("it is not there".to_owned())),
        Some(code) => (Some(code), attempt(work, code, &file, name)?),
    };
    let Some(reason) = reason else { return Ok(()) };
    let what = code.map_or_else(String::new, |code| format!(", {},", code.words()));
    let sentence = format!("`{file}`{what} was not registered: {reason}");
    if step.optional {
        work.note(sentence);
        return Ok(());
    }
    Err(InstallError::Library { sentence })
}

/// Answers why it did not register.
fn attempt<M: Machine + ?Sized>(
    work: &mut Work<'_, M>,
    code: Code,
    file: &str,
    name: Vec<u8>,
) -> Result<Option<String>, InstallError> {
    let architecture = work.facts.architecture();
    let Some(loader) = code.loader(&architecture) else {
        return Ok(Some(match code {
            Code::None => "it does not begin as libraries do".to_owned(),
            _ => format!("this machine is {architecture}"),
        }));
    };
    let loader: Template = loader.parse().unwrap_or_else(|_| Template::literal(loader));
    let loader = work.expand(&loader)?;
    let request = |switches: &[&str]| CommandRequest {
        command: std::iter::once(loader.clone())
            .chain(switches.iter().map(|switch| switch.as_bytes().to_vec()))
            .chain([name.clone()])
            .collect(),
        limit: LIMIT,
        wait: true,
    };
    let (there, back) = (request(&["/s"]), request(&["/s", "/u"]));
    let sentence = format!("register `{file}`, {}", code.words());
    let end = ran(work, &there, &[], Undo::Run(back), None, sentence)?;
    Ok(match end {
        CommandEnd::Exited { code: 0, .. } | CommandEnd::Started => None,
        // What regsvr32 answers.
        CommandEnd::Exited { code: 3, .. } => {
            Some("it cannot be loaded: a library it needs is missing, or it is damaged".to_owned())
        }
        CommandEnd::Exited { code: 4, .. } => Some("it has no `DllRegisterServer`".to_owned()),
        CommandEnd::Exited { code: 5, .. } => {
            Some("its `DllRegisterServer` answers with an error".to_owned())
        }
        CommandEnd::Exited { code, .. } => Some(format!("{there} ended with exit code {code}")),
        CommandEnd::TimedOut => {
            Some(format!("it took longer than {LIMIT} seconds and was stopped"))
        }
        CommandEnd::Missing => Some(format!("{there} is not on this machine")),
        CommandEnd::Refused { reason } => Some(reason),
    })
}

/// What a file is, or `None` where there is none.
fn code_of<M: Machine + ?Sized>(
    machine: &M,
    path: &MachinePath,
) -> Result<Option<Code>, InstallError> {
    match machine.look(path)? {
        Some(found) if matches!(found.node, Node::File { .. }) => {}
        _ => return Ok(None),
    }
    let start = machine.read_at(path, 0, 64)?;
    let pointer = start.get(60..64).and_then(|bytes| bytes.try_into().ok());
    let (true, Some(at)) = (start.starts_with(b"MZ"), pointer.map(u32::from_le_bytes)) else {
        return Ok(Some(Code::None));
    };
    let head = machine.read_at(path, at.into(), 6)?;
    Ok(Some(match head.as_slice() {
        [b'P', b'E', 0, 0, low, high] => Code::For(u16::from_le_bytes([*low, *high])),
        [b'N', b'E', ..] => Code::Sixteen,
        _ => Code::None,
    }))
}
