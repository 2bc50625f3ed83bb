//! systemd: enabling a unit makes links, and masking it makes one to nowhere; both become steps.
//! Unit files themselves are payload.

mod install;

use std::collections::{BTreeMap, BTreeSet};

use model::{Kind, MachinePath, ServiceStep, StartType};
use script::StepKind;

use super::{Meaning, View, is_below, is_file, link_target, name_of, path};
use crate::{DraftError, Remark, Side};
use install::Install;

/// Where the administrator's links are.
const LINKS: &str = "/etc/systemd/system";
/// Where unit files are; the first that has one counts.
const UNITS: [&str; 4] =
    [LINKS, "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];
/// Where dpkg notes which links it made, so that a later removal takes them away.
const NOTES: [&str; 4] = [
    "/var/lib/systemd/deb-systemd-helper-enabled",
    "/var/lib/systemd/deb-systemd-helper-masked",
    "/var/lib/systemd/deb-systemd-user-helper-enabled",
    "/var/lib/systemd/deb-systemd-user-helper-masked",
];
/// What a unit's name ends in.
const KINDS: [&str; 8] =
    [".service", ".socket", ".timer", ".path", ".mount", ".automount", ".target", ".swap"];

/// Links of one unit.
#[derive(Default)]
struct Links<'a> {
    made: Vec<&'a MachinePath>,
    removed: Vec<&'a MachinePath>,
}

/// Turns enablement, disablement and masks into service steps.
pub(super) fn recognise(view: &View<'_>) -> Result<Meaning, DraftError> {
    let mut meaning = Meaning::default();
    let mut units: BTreeMap<String, Links<'_>> = BTreeMap::new();
    for (at, change) in view.below(LINKS) {
        if let Some(unit) = masked(at, link_target(change.after.as_ref())) {
            meaning.take(at, "a mask, as a step");
            let start = StartType::Disabled;
            meaning.services.push(service(unit, start, false));
        } else if let Some(unit) = unit_of(at, link_target(change.after.as_ref())) {
            units.entry(unit).or_default().made.push(at);
        } else if let Some(unit) = unit_of(at, link_target(change.before.as_ref()))
            && change.after.is_none()
        {
            units.entry(unit).or_default().removed.push(at);
        }
    }
    for (unit, links) in &units {
        understand(view, unit, links, &mut meaning)?;
    }
    take_folders(view, &mut meaning);
    take_run_levels(view, &mut meaning);
    for folder in NOTES {
        let below = view.below(folder).map(|(at, _)| at.clone());
        let itself = view.changes.contains_key(&path(folder)).then(|| path(folder));
        for at in below.chain(itself).collect::<Vec<_>>() {
            meaning.take(&at, "dpkg's note of which units it enabled");
        }
    }
    let units_changed = view.changes.iter().any(|(at, change)| {
        UNITS.iter().any(|folder| is_below(at, folder))
            && (is_file(change.after.as_ref()) || is_file(change.before.as_ref()))
    });
    if units_changed || !meaning.services.is_empty() {
        meaning.triggers.insert("systemd-reload");
    }
    Ok(meaning)
}

fn service(unit: &str, start: StartType, now: bool) -> StepKind {
    StepKind::Service(ServiceStep { unit: unit.into(), start, now })
}

/// Adds the step for a unit, if its links are exactly what its `[Install]` section asks for.
fn understand(
    view: &View<'_>,
    unit: &str,
    links: &Links<'_>,
    meaning: &mut Meaning,
) -> Result<(), DraftError> {
    let Some(text) = unit_text(view, unit)? else {
        let text = format!("it enables `{unit}`, whose unit file is not known; carried as a link");
        meaning.notes.extend(links.made.iter().map(|at| Remark::at(at, text.as_str())));
        return Ok(());
    };
    let install = Install::read(&text);
    let expected: BTreeSet<MachinePath> =
        install.links(unit).iter().filter_map(|link| path(LINKS).join(link).ok()).collect();
    let mut standing = 0;
    for link in &expected {
        standing += usize::from(view.after(link)?.is_some());
    }
    let all_stand = standing == expected.len() && !expected.is_empty();
    if !links.made.is_empty() {
        if all_stand && links.made.iter().all(|link| expected.contains(*link)) {
            let now = view.options.start_services && install.keeps_running;
            meaning.services.push(service(unit, StartType::Automatic, now));
            for link in &links.made {
                meaning.take(link, &format!("the start of `{unit}`, as a step"));
            }
        } else {
            let text = format!(
                "it makes `{unit}` start, but not as the unit's `[Install]` section says; carried as a link"
            );
            meaning.notes.extend(links.made.iter().map(|at| Remark::at(at, text.as_str())));
        }
    }
    if !links.removed.is_empty() && links.made.is_empty() && standing == 0 {
        meaning.services.push(service(unit, StartType::Manual, false));
        for link in &links.removed {
            meaning.take(link, &format!("`{unit}` no longer starts by itself, as a step"));
        }
    }
    Ok(())
}

/// The unit a link masks.
fn masked<'p>(at: &'p MachinePath, target: Option<&[u8]>) -> Option<&'p str> {
    let name = name_of(at)?;
    let directly = at.parent()?.as_bytes() == LINKS.as_bytes();
    (directly && target == Some(b"/dev/null") && is_unit(name)).then_some(name)
}

/// The unit a link enables: by the link's own name in `*.wants`, by its target's where it is an alias.
fn unit_of(at: &MachinePath, target: Option<&[u8]>) -> Option<String> {
    let target = std::str::from_utf8(target?).ok()?;
    let leads_to = target.rsplit('/').next()?;
    let name = name_of(at)?;
    let folder = at.below(&path(LINKS)).and_then(|below| std::str::from_utf8(below).ok())?;
    match folder.split_once('/') {
        Some((group, rest)) if rest == name => {
            let known =
                [".wants", ".requires", ".upholds"].iter().any(|ending| group.ends_with(ending));
            (known && is_unit(name) && is_unit(leads_to)).then(|| name.to_owned())
        }
        None if is_unit(name) && is_unit(leads_to) && leads_to != name => Some(leads_to.to_owned()),
        _ => None,
    }
}

fn is_unit(name: &str) -> bool {
    KINDS.iter().any(|kind| name.ends_with(kind))
}

/// The text of a unit, or of the template it is an instance of.
fn unit_text(view: &View<'_>, unit: &str) -> Result<Option<String>, DraftError> {
    let template = install::template_of(unit);
    for name in std::iter::once(unit.to_owned()).chain(template) {
        for folder in UNITS {
            let file = path(&format!("{folder}/{name}"));
            if let Some(text) = view.text(&file, Side::After)? {
                return Ok(Some(String::from_utf8_lossy(&text).into_owned()));
            }
        }
    }
    Ok(None)
}

/// A new `*.wants` folder that holds nothing but links that were taken goes with them.
fn take_folders(view: &View<'_>, meaning: &mut Meaning) {
    for (at, change) in view.below(LINKS) {
        let is_new_folder = change.before.is_none()
            && matches!(change.after.as_ref().map(|entry| &entry.kind), Some(Kind::Directory));
        let mut inside = view
            .changes
            .iter()
            .filter(|(other, change)| {
                **other != at && change.after.is_some() && other.is_within(at)
            })
            .peekable();
        if is_new_folder
            && inside.peek().is_some()
            && inside.all(|(other, _)| meaning.taken.contains_key(*other))
        {
            meaning.take(at, "made by enabling a unit");
        }
    }
}

/// Links for the older init system, which enabling a unit of the same name makes on Debian.
fn take_run_levels(view: &View<'_>, meaning: &mut Meaning) {
    let enabled: BTreeSet<String> = meaning
        .services
        .iter()
        .filter_map(|step| match step {
            StepKind::Service(service) => service.unit.strip_suffix(".service"),
            _ => None,
        })
        .map(str::to_owned)
        .collect();
    for (at, change) in view.below("/etc") {
        let Some(folder) = at.parent().and_then(|parent| name_of(&parent).map(str::to_owned))
        else {
            continue;
        };
        let entry = change.after.as_ref().or(change.before.as_ref());
        let script = link_target(entry)
            .and_then(|target| std::str::from_utf8(target).ok())
            .and_then(|target| target.strip_prefix("../init.d/"));
        // rc0.d to rc6.d, and rcS.d
        let is_level = matches!(folder.as_bytes(), [b'r', b'c', b'0'..=b'6' | b'S', b'.', b'd']);
        if let Some(script) = script.filter(|script| is_level && enabled.contains(*script)) {
            meaning.take(at, &format!("follows from the start of `{script}.service`"));
        }
    }
}
