//! What an installer for Windows has besides its package: a version, an icon, and its place among the programs.

use std::{collections::BTreeMap, io::Write};

use editpe::{
    Image, ResourceDirectory, VersionInfo, VersionStringTable,
    types::{VersionU16, VersionU32},
};
use model::{
    Extent, Meta, Part, RegistryStep, ReplaceRule, Shortcut, Template, Time, ValueEdit, Version,
};
use package::{
    Action, FileContent, Form, Header, Node, PackageWriter, Record, Settings, Step, Substitution,
    Totals, Tree,
};
use script::{Script, ShortcutStep};

use crate::{CompileError, project::Project, windows_stub};

/// American English, in Unicode: what every Windows falls back to.
const LANGUAGE: (u16, u16) = (0x0409, 0x04b0);
/// Where the programs a person may take off are listed, for all users of the machine.
const PROGRAMS: &str = r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall";

/// The program in front of a project's installers, with the project's version and icon.
pub(crate) fn stub_of(project: &Project) -> Result<Vec<u8>, CompileError> {
    let stub = windows_stub().ok_or(CompileError::NoStub)?;
    let icon = match &project.script.icon {
        Some(path) => {
            let at = project.on_disk(path.as_bytes());
            let bytes = std::fs::read(&at);
            Some((path, bytes.map_err(|source| CompileError::Read { path: at, source })?))
        }
        None => None,
    };
    let mut image = Image::parse(stub).map_err(|error| unfit(&error))?;
    let mut resources = image.resource_directory().cloned().unwrap_or_default();
    if let Some((path, icon)) = icon {
        let damaged = |error: editpe::ResourceError| CompileError::Payload {
            path: path.to_string(),
            reason: format!("is no icon as Windows has them: {error}"),
        };
        check_icon(&icon).map_err(|reason| CompileError::Payload {
            path: path.to_string(),
            reason: reason.to_owned(),
        })?;
        resources.set_main_icon(icon).map_err(damaged)?;
    }
    set_version(&mut resources, &project.script)?;
    image.set_resource_directory(resources).map_err(|error| unfit(&error))?;
    Ok(image.data().to_vec())
}

fn unfit(error: &dyn std::fmt::Display) -> CompileError {
    CompileError::Resources { reason: error.to_string() }
}

/// Each image of an icon lies within it.
fn check_icon(bytes: &[u8]) -> Result<(), &'static str> {
    let number = |at: usize, length: usize| {
        let bytes = bytes.get(at..at + length)?;
        Some(bytes.iter().rev().fold(0_usize, |sum, &byte| sum << 8 | usize::from(byte)))
    };
    let count = match (number(0, 2), number(2, 2), number(4, 2)) {
        (Some(0), Some(1), Some(count)) if count > 0 => count,
        _ => return Err("is no icon: an .ico file holds images of several sizes"),
    };
    let whole = (0..count).all(|index| {
        let at = 6 + index * 16;
        let end = number(at + 8, 4).zip(number(at + 12, 4)).map(|(length, from)| from + length);
        end.is_some_and(|end| end <= bytes.len())
    });
    if whole { Ok(()) } else { Err("is an icon that ends too early") }
}

fn set_version(resources: &mut ResourceDirectory, script: &Script) -> Result<(), CompileError> {
    let text = script.version.as_str();
    let numbers = numbers(&script.version);
    let version = VersionU32 {
        major: u32::from(numbers[0]) << 16 | u32::from(numbers[1]),
        minor: u32::from(numbers[2]) << 16 | u32::from(numbers[3]),
    };
    let title = title(script);
    let mut info = VersionInfo::default();
    (info.info.file_version, info.info.product_version) = (version, version);
    info.vars = vec![VersionU16 { major: LANGUAGE.0, minor: LANGUAGE.1 }];
    let described =
        if script.summary.is_empty() { format!("{title} setup") } else { script.summary.clone() };
    let mut table = VersionStringTable {
        key: format!("{:04x}{:04x}", LANGUAGE.0, LANGUAGE.1),
        ..VersionStringTable::default()
    };
    let publisher = publisher(script);
    for (name, value) in [
        ("CompanyName", publisher.as_str()),
        ("FileDescription", &described),
        ("FileVersion", text),
        ("InternalName", script.name.as_str()),
        ("LegalCopyright", &script.export.license),
        ("ProductName", &title),
        ("ProductVersion", text),
    ] {
        if !value.is_empty() {
            table.strings.insert(name.to_owned(), value.to_owned());
        }
    }
    info.strings = vec![table];
    resources.set_version_info(&info).map_err(|error| unfit(&error))
}

/// The first four numbers of a version, as Windows has them.
fn numbers(version: &Version) -> [u16; 4] {
    let mut numbers = [0; 4];
    let parts = version.as_str().split(|letter: char| !letter.is_ascii_digit());
    for (number, part) in numbers.iter_mut().zip(parts.filter(|part| !part.is_empty())) {
        *number = part.parse().unwrap_or(u16::MAX);
    }
    numbers
}

/// What people read: the vendor's own name for it if the registry of the captured machine has one.
fn title(script: &Script) -> String {
    let said = listed(script).find_map(|(_, values)| match values.get("displayname") {
        Some(ValueEdit::Text(text)) => text.as_literal().and_then(|bytes| {
            String::from_utf8(bytes.to_vec()).ok().filter(|text| !text.is_empty())
        }),
        _ => None,
    });
    said.unwrap_or_else(|| script.name.to_string())
}

/// Who answers for it: a name without its address.
fn publisher(script: &Script) -> String {
    let said = script.export.maintainer.split('<').next().unwrap_or_default().trim();
    if !said.is_empty() {
        return said.to_owned();
    }
    let vendor = listed(script).find_map(|(_, values)| match values.get("publisher") {
        Some(ValueEdit::Text(text)) => text.as_literal().map(<[u8]>::to_vec),
        _ => None,
    });
    vendor.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default()
}

/// The vendor's own entries among the programs, as a script makes them: their keys, values by name in small letters.
fn listed(
    script: &Script,
) -> impl Iterator<Item = (&Template, BTreeMap<String, &ValueEdit>)> + use<'_> {
    script.steps.iter().filter_map(|step| {
        let script::StepKind::Registry(registry) = &step.kind else { return None };
        let key = String::from_utf8_lossy(registry.key.as_literal()?).to_lowercase();
        let key = key.replace(r"\wow6432node\", r"\");
        let (above, _) = key.rsplit_once('\\')?;
        let is_listed = [PROGRAMS, &PROGRAMS.replacen("HKLM", "HKCU", 1)]
            .iter()
            .any(|programs| programs.eq_ignore_ascii_case(above));
        let values = registry.values.iter().filter_map(|(name, edit)| {
            let name = String::from_utf8_lossy(name.as_literal()?).to_lowercase();
            Some((name, edit))
        });
        (is_listed && !registry.remove).then(|| (&registry.key, values.collect()))
    })
}

/// Writes the program that takes the package off, and gives the steps that install it and list it.
///
/// It is the same program with a package of the same name that does nothing. A vendor's own entry would start a
/// program that knows nothing of us, so it is not shown; whoever asks for its version still finds it.
pub(crate) fn uninstaller<W: Write>(
    script: &Script,
    stub: &[u8],
    payload: u64,
    time: Time,
    writer: &mut PackageWriter<W>,
    trees: &mut Vec<Tree>,
) -> Result<Vec<Step>, CompileError> {
    let program = program(script, stub)?;
    let number = u32::try_from(trees.len()).unwrap_or(u32::MAX);
    let place = format!(r"${{program-files}}\Packhorse\{}\uninstall.exe", script.name);
    let place: Template = place.parse().map_err(|error| unfit(&error))?;
    let length = program.len() as u64;
    let content: FileContent =
        writer.content(number, b"", length, Vec::new(), &mut program.as_slice())?;
    let meta = Meta::of_root(0o755, time);
    writer.record(&Record { tree: number, path: Vec::new(), node: Node::File(content), meta })?;
    trees.push(Tree { to: place.clone(), replace: ReplaceRule::Always, version: None });
    let mut steps = vec![Action::Tree(number)];
    let text = |text: &str| ValueEdit::Text(Template::literal(text));
    let command = |switches: &str| {
        let mut parts = vec![model::Part::Literal(b"\"".to_vec())];
        parts.extend(place.0.clone());
        parts.push(model::Part::Literal(format!("\"{switches}").into_bytes()));
        ValueEdit::Text(Template(parts))
    };
    let size = u32::try_from((payload + length).div_ceil(1024)).unwrap_or(u32::MAX);
    let mut values = vec![
        ("DisplayName", text(&title(script))),
        ("DisplayVersion", text(script.version.as_str())),
        ("DisplayIcon", ValueEdit::Text(place.clone())),
        ("UninstallString", command(" --uninstall")),
        ("QuietUninstallString", command(" --uninstall --silent")),
        ("EstimatedSize", ValueEdit::Dword(size)),
        ("NoModify", ValueEdit::Dword(1)),
        ("NoRepair", ValueEdit::Dword(1)),
    ];
    for (name, said) in
        [("Publisher", publisher(script)), ("URLInfoAbout", script.export.homepage.clone())]
    {
        if !said.is_empty() {
            values.push((name, text(&said)));
        }
    }
    let own = format!(r"{PROGRAMS}\Packhorse {}", script.name);
    let values = values.into_iter().map(|(name, edit)| (Template::literal(name), edit)).collect();
    let entry = RegistryStep { key: Template::literal(own.as_str()), values, remove: false };
    steps.push(Action::Registry(entry));
    for (key, _) in listed(script) {
        let hidden = (Template::literal("SystemComponent"), ValueEdit::Dword(1));
        let step = RegistryStep { key: key.clone(), values: vec![hidden], remove: false };
        steps.push(Action::Registry(step));
    }
    Ok(steps.into_iter().map(|action| Step { when: None, action, users: None }).collect())
}

/// What a package carries of a shortcut: one text, which becomes the file when its variables have values.
pub(crate) fn shortcut<W: Write>(
    step: &ShortcutStep,
    tree: u32,
    writer: &mut PackageWriter<W>,
) -> Result<FileContent, CompileError> {
    let numbers = Shortcut {
        icon_index: step.icon_index,
        window: step.window,
        hotkey: step.hotkey,
        to_folder: step.to_folder,
        as_administrator: step.as_administrator,
        ..Shortcut::default()
    };
    // The texts, whose variables stay open, in the place of those that are empty.
    let numbers = numbers.to_text();
    let texts = step.texts();
    let mut parts: Vec<Part> = Vec::new();
    for (_, text) in texts {
        parts.extend(text.0.iter().cloned());
        parts.push(Part::Literal(vec![0]));
    }
    parts.push(Part::Literal(numbers.as_bytes()[texts.len()..].to_vec()));
    let with = Template(parts);
    // Something must stand in the payload; its own words tell people what it is.
    let carried = format!("shortcut to {}\n", step.target);
    let length = carried.len() as u64;
    let content = writer.content(tree, b"", length, Vec::new(), &mut carried.as_bytes())?;
    let range = Extent { offset: 0, length };
    let substitutions = vec![Substitution { range, with, form: Some(Form::Shortcut) }];
    Ok(FileContent { substitutions, ..content })
}

/// The program with a package that has a name, and nothing to do.
fn program(script: &Script, stub: &[u8]) -> Result<Vec<u8>, CompileError> {
    let writer = PackageWriter::new(Vec::new(), stub, Settings::fast(1))?;
    let (_, bytes) = writer.finish(Header {
        name: script.name.clone(),
        version: script.version.clone(),
        architecture: script.architecture.clone(),
        summary: script.summary.clone(),
        configuration: Vec::new(),
        generated: Vec::new(),
        variables: BTreeMap::new(),
        trees: Vec::new(),
        steps: Vec::new(),
        programs: BTreeMap::new(),
        totals: Totals::default(),
        export: None,
    })?;
    Ok(bytes)
}
