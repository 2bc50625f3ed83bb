//! The installers of the proof, all built here for 64 bits: NSIS's own, its silent examples, and one of ours.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use super::thirty_two;
use crate::command::{command, run_quietly};

/// By name, in the order they are tried. NSIS's other examples ask with message boxes even when they are told to be
/// silent, or install nothing.
pub(super) const INSTALLERS: [&str; 7] =
    ["example1", "example2", "install-shared", "install-per-user", NSIS, MSI, OURS];
/// NSIS itself, by its full script.
const NSIS: &str = "makensis";
/// One for Windows Installer, with a service in it.
pub(super) const MSI: &str = "msi";
/// An installer that does all an installer may do.
pub(super) const OURS: &str = "everything";
/// Its script, and the odd values of its registry.
const OUR_SCRIPT: &str = include_str!("../../windows/everything.nsi");
const OUR_REGISTRY: &str = include_str!("../../windows/everything.reg");
const OUR_TASK: &str = include_str!("../../windows/nightly.xml");
const MSI_SCRIPT: &str = include_str!("../../windows/wrapped.wxs");
pub(super) const SERVICE: &str = include_str!("../../windows/service.c");
const DRIVER: &str = include_str!("../../windows/driver.c");
/// Bytes of a large value.
const LARGE: u32 = 1 << 20;
/// What Debian has of NSIS.
const PROGRAM: &str = "/usr/share/nsis";
const DOCUMENTATION: &str = "/usr/share/doc/nsis";

/// Builds an installer below `folder`.
pub(super) fn build(name: &str, folder: &Path) -> Result<PathBuf> {
    if !INSTALLERS.contains(&name) && name != thirty_two::NAME {
        bail!("there is no installer of that name; there are {}", INSTALLERS.join(", "));
    }
    let tree = folder.join("nsis");
    if !tree.exists() {
        run_quietly(command("cp", ["-r", PROGRAM]).arg(&tree))?;
        for part in ["Docs", "Examples"] {
            let from = Path::new(DOCUMENTATION).join(part);
            run_quietly(command("cp", ["-rL"]).arg(from).arg(&tree))?;
        }
    }
    let examples = tree.join("Examples");
    if name == MSI {
        return build_msi(&examples, folder);
    }
    let out = folder.join(format!("{name}-setup.exe"));
    let script = examples.join(format!("{name}-64.nsi"));
    if name == thirty_two::NAME {
        let script = examples.join("thirty-two.nsi");
        fs::write(&script, thirty_two::SCRIPT)?;
        run_make(&examples, &script, &out)?;
        return Ok(out);
    }
    let text = if name == OURS {
        fs::write(examples.join("everything.reg"), our_registry())?;
        fs::write(examples.join("nightly.xml"), OUR_TASK)?;
        service(&examples)?;
        let driver = ["-shared", "-nostdlib", "-Wl,--subsystem,native", "-Wl,--entry,DriverEntry"];
        let driver = [&driver[..], &["-o", "driver.sys"]].concat();
        compile(&examples, "driver", DRIVER, &driver, "ntoskrnl")?;
        OUR_SCRIPT.to_owned()
    } else {
        let original = examples.join(format!("{name}.nsi"));
        let text = fs::read(&original).with_context(|| original.display().to_string())?;
        String::from_utf8_lossy(&text).into_owned()
    };
    let text = if name == NSIS { with_stand_ins(&tree, &text)? } else { text };
    fs::write(&script, format!("Target amd64-unicode\n{text}"))?;
    run_make(&examples, &script, &out)?;
    Ok(out)
}

fn service(examples: &Path) -> Result<()> {
    compile(examples, "service", SERVICE, &["-o", "service.exe"], "advapi32")
}

fn build_msi(examples: &Path, folder: &Path) -> Result<PathBuf> {
    service(examples)?;
    let out = folder.join("wrapped.msi");
    fs::write(examples.join("wrapped.wxs"), MSI_SCRIPT)?;
    let mut wixl = command("wixl", ["-a", "x64", "-o"]);
    run_quietly(wixl.current_dir(examples).arg(&out).arg("wrapped.wxs"))?;
    Ok(out)
}

/// How an installer is run in a prefix, asking nothing.
pub(super) fn silently(name: &str, setup: &Path) -> Vec<String> {
    let setup = setup.display().to_string();
    if name == MSI {
        let on_windows = format!("Z:{}", setup.replace('/', "\\"));
        return vec!["msiexec".to_owned(), "/i".to_owned(), on_windows, "/qn".to_owned()];
    }
    vec![setup, "/S".to_owned()]
}

fn compile(folder: &Path, name: &str, text: &str, words: &[&str], library: &str) -> Result<()> {
    let source = format!("{name}.c");
    fs::write(folder.join(&source), text)?;
    let mut compiler = command("x86_64-w64-mingw32-gcc", ["-O2"]);
    compiler.current_dir(folder).args(words).arg(source).arg(format!("-l{library}"));
    run_quietly(&mut compiler)
}

fn run_make(examples: &Path, script: &Path, out: &Path) -> Result<()> {
    let mut make = command("makensis", ["-V1", "-INPUTCHARSET", "UTF8"]);
    make.current_dir(examples).arg(script).arg(format!("-XOutFile {}", out.display()));
    // By this it finds itself where a script runs it again; what we were started by is in it else.
    make.env("_", "/usr/bin/makensis");
    run_quietly(&mut make)
}

/// NSIS's script as it is, and plain files for what it packs and Debian leaves out, its Windows programs above all.
fn with_stand_ins(tree: &Path, text: &str) -> Result<String> {
    for line in text.lines() {
        let Some(at) = line.find(r"..\") else { continue };
        let first = line.split_whitespace().next().unwrap_or_default();
        let end = if line[..at].ends_with('"') { '"' } else { ' ' };
        let name = line[at + 3..].split([end, ';']).next().unwrap_or_default();
        let is_packed = first == "File" || line.contains("MUI_PAGE_LICENSE");
        if !is_packed
            || name.contains(['$', '*']) && !name.ends_with("*.txt") && !name.ends_with("*.html")
        {
            continue;
        }
        let file = tree.join(name.trim_end_matches('"').replace('\\', "/").replace('*', "one"));
        if !file.exists() {
            fs::create_dir_all(file.parent().unwrap_or(tree))?;
            fs::write(file, format!("in place of {name}\n"))?;
        }
    }
    // The help would have to be one.
    let lines = text.lines().filter(|line| !line.contains("verifychm"));
    Ok(lines.fold(String::new(), |text, line| text + line + "\n"))
}

/// Values of every type, whole and odd, and a large one, as regedit reads them.
fn our_registry() -> Vec<u8> {
    let mut text = OUR_REGISTRY.replace('\n', "\r\n");
    text.push_str("\r\n[HKEY_LOCAL_MACHINE\\SOFTWARE\\Everything\\Large]\r\n\"1 MiB\"=hex:00");
    for number in 1..LARGE {
        let _ = write!(text, ",{:02x}", (number.wrapping_mul(7) + number / 256) & 0xff);
        if number % 24 == 0 {
            text.push_str("\\\r\n  ");
        }
    }
    text.push_str("\r\n");
    text.encode_utf16().fold(vec![0xff, 0xfe], |mut bytes, word| {
        bytes.extend(word.to_le_bytes());
        bytes
    })
}
