//! Trees: files, folders, shortcuts.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read, Seek},
};

use model::{Meta, ReplaceRule, Shortcut, Window};
use package::{Action, FileContent, Form, Node, PackageReader, Record};

use super::{
    database::Value,
    draft::{Draft, PackedFile},
    places::{Spot, formatted, plain, shown},
};
use crate::{
    ExportError,
    condition::{self, Answer},
};

/// Bytes of a file a cabinet holds.
const LARGEST: u64 = 2_000_000_000;
/// The attribute Samba and Wine keep the hidden and system bits in: `0x2`.
const ATTRIBUTES: &[u8] = b"user.DOSATTRIB";
/// What a named stream is called there.
const STREAM: &[u8] = b"user.DosStream.";
const READ_ONLY: i32 = 1;
const HIDDEN: i32 = 2;
const SYSTEM: i32 = 4;
/// The installation fails without it.
const VITAL: i32 = 512;
/// A component that is left alone where it is there already.
const NEVER_OVERWRITE: i32 = 128;

/// Where a tree goes, and the step that installs it.
struct Place {
    step: usize,
    /// `None` where the tree is left out.
    spot: Option<Spot>,
    replace: ReplaceRule,
}

/// What was met among the records.
#[derive(Default)]
struct Found {
    files: BTreeMap<(u32, Vec<u8>), Spot>,
    folders: BTreeSet<(String, Vec<String>)>,
    shortcuts: Vec<(usize, Shortcut, Spot)>,
}

impl Draft<'_> {
    /// Reads all records, no content.
    pub(super) fn payload<R: Read + Seek>(
        &mut self,
        package: &mut PackageReader<R>,
    ) -> Result<(), ExportError> {
        let places = self.places();
        let mut found = Found::default();
        for record in package.records() {
            let record = record?;
            self.files.push(None);
            let Some(Place { step, spot: Some(to), replace }) = places.get(record.tree as usize)
            else {
                continue;
            };
            let done = to
                .join(&record.path)
                .and_then(|spot| self.record(*step, &record, spot, *replace, &mut found));
            if let Err(reason) = done {
                self.refuse(*step, reason);
            }
        }
        // What they lead to is known by now.
        for (step, shortcut, spot) in found.shortcuts {
            if let Err(reason) = self.shortcut(&shortcut, &spot) {
                self.refuse(step, format!("`{}`: {reason}", spot.parts.join("\\")));
            }
        }
        Ok(())
    }

    fn places(&mut self) -> Vec<Place> {
        let header = self.header;
        let mut places: Vec<Place> = header
            .trees
            .iter()
            .map(|tree| Place { step: 0, spot: None, replace: tree.replace })
            .collect();
        for (step, number) in (1..).zip(&header.steps).filter_map(|(step, it)| match it.action {
            Action::Tree(number) => Some((step, number as usize)),
            _ => None,
        }) {
            let (Some(place), Some(tree)) = (places.get_mut(number), header.trees.get(number))
            else {
                continue;
            };
            place.step = step;
            if !self.happens(step) {
                continue;
            }
            match self.texts.resolve(&tree.to).and_then(|text| Spot::of(&text)) {
                Ok(spot) => place.spot = Some(spot),
                Err(reason) => self.refuse(step, reason),
            }
        }
        places
    }

    /// Whether a step, from 1, happens on Windows; what differs by machine is refused.
    pub(super) fn happens(&mut self, step: usize) -> bool {
        let Some(when) = self.header.steps.get(step - 1).and_then(|step| step.when.as_ref()) else {
            return true;
        };
        match condition::decide(when, &self.texts.values) {
            Some(Answer::Yes) => true,
            Some(Answer::No) => {
                self.remark(step, "left out: its condition is never so on these machines");
                false
            }
            _ => {
                self.refuse(step, "its condition differs by machine");
                false
            }
        }
    }

    fn record(
        &mut self,
        step: usize,
        record: &Record,
        spot: Spot,
        replace: ReplaceRule,
        found: &mut Found,
    ) -> Result<(), String> {
        let path = String::from_utf8_lossy(&record.path).into_owned();
        let of = |what: String| format!("`{path}`: {what}");
        match &record.node {
            Node::Carrier => {}
            Node::Directory => {
                is_plain(&record.meta).map_err(of)?;
                // Those above go with it: they are not empty when the folders of files are looked at.
                let mut next = Some(spot);
                while let Some(spot) = next.filter(|spot| !spot.is_given()) {
                    next = spot.split().map(|(above, _)| above);
                    if !found.folders.insert(spot.key()) {
                        break;
                    }
                    self.folder(&spot);
                }
            }
            Node::File(content) => {
                let formed =
                    content.substitutions.iter().find(|it| it.form == Some(Form::Shortcut));
                if let Some(formed) = formed {
                    let text = self.texts.resolve(&formed.with).map_err(of)?;
                    found.shortcuts.push((step, Shortcut::from_text(&text), spot));
                    return Ok(());
                }
                self.file(step, &spot, content, &record.meta, replace).map_err(of)?;
                found.files.insert((record.tree, record.path.clone()), spot);
            }
            Node::HardLink { tree, path: first } => {
                let first = found.files.get(&(*tree, first.clone()));
                let first = first.and_then(|first| self.installed.get(&first.key())).cloned();
                let (file, component) = first
                    .ok_or_else(|| of("another name of a file that is left out".to_owned()))?;
                let (folder, name) = spot.split().ok_or("it has no name")?;
                let folder = self.directories.key(&folder, &mut self.database);
                let name = self.directories.name(&folder, name);
                let row = self.next("l");
                let fields =
                    [row.into(), component.into(), file.into(), name.into(), folder.into()];
                self.database.row("DuplicateFile", fields);
                self.remark(step, of("another name of a file becomes a copy".to_owned()));
            }
            Node::Symlink(_) => return Err(of("a symbolic link".to_owned())),
            Node::Fifo | Node::CharacterDevice { .. } | Node::BlockDevice { .. } => {
                return Err(of("Windows has no such thing".to_owned()));
            }
        }
        Ok(())
    }

    fn folder(&mut self, spot: &Spot) {
        let key = self.directories.key(spot, &mut self.database);
        let component = self.component(&format!("folder {:?}", spot.key()), &key, 0);
        self.database.row("CreateFolder", [key.into(), component.0.into()]);
    }

    fn file(
        &mut self,
        step: usize,
        spot: &Spot,
        content: &FileContent,
        meta: &Meta,
        replace: ReplaceRule,
    ) -> Result<(), String> {
        if !content.substitutions.is_empty() {
            return Err("`replace-text`: what folders are is known on the machine alone".to_owned());
        }
        if content.length > LARGEST {
            return Err(format!("{} bytes: a cabinet holds less than 2 GB of one", content.length));
        }
        let mut bits = attributes(meta)? | VITAL;
        if meta.mode & 0o222 == 0 {
            bits |= READ_ONLY;
        }
        let (folder, name) = spot.split().ok_or("it has no name")?;
        if let Some((other, _)) = self.installed.get(&spot.key()) {
            return Err(format!("it is installed as `{other}` already, by this case or another"));
        }
        let folder = self.directories.key(&folder, &mut self.database);
        let name = self.directories.name(&folder, name);
        let key = self.next("f");
        let never = replace == ReplaceRule::Never;
        let attributes = if never { NEVER_OVERWRITE } else { 0 };
        let component = self.component(&format!("file {:?}", spot.key()), &folder, attributes);
        self.key_path(&component, &key);
        let sequence = i32::try_from(self.installed.len() + 1).map_err(|_| "too many files")?;
        let length = i32::try_from(content.length).map_err(|_| "too long")?;
        self.installed.insert(spot.key(), (key.clone(), component.0.clone()));
        let row = [
            (&key).into(),
            component.0.into(),
            name.into(),
            length.into(),
            Value::Nothing,
            Value::Nothing,
            bits.into(),
            sequence.into(),
        ];
        self.database.row("File", row);
        let modified = meta.modified.seconds;
        let file = PackedFile { key, length: content.length, modified };
        if let Some(last) = self.files.last_mut() {
            *last = Some(file);
        }
        if !content.holes.is_empty() {
            self.remark(step, format!("`{}`: holes become zeros", spot.parts.join("\\")));
        }
        Ok(())
    }

    fn shortcut(&mut self, shortcut: &Shortcut, spot: &Spot) -> Result<(), String> {
        let own = |icon: &str| icon.is_empty() || icon.eq_ignore_ascii_case(&shortcut.target);
        if !own(&shortcut.icon) || shortcut.icon_index != 0 {
            return Err(format!(
                "a shortcut with icon {} of `{}`: an .msi knows the first one of what it leads to",
                shortcut.icon_index,
                shown(&shortcut.icon)
            ));
        }
        if shortcut.as_administrator {
            return Err("a shortcut that asks for an administrator's rights".to_owned());
        }
        let description = plain(&shortcut.description)
            .ok_or("a shortcut whose description names a folder of the machine")?;
        let (folder, name) = spot.split().ok_or("it has no name")?;
        let name = name.strip_suffix(".lnk").or_else(|| name.strip_suffix(".LNK"));
        let name = name.ok_or("a shortcut whose name does not end in `.lnk`")?;
        let folder = self.directories.key(&folder, &mut self.database);
        let name = self.directories.name(&folder, name);
        let target = Spot::of(&shortcut.target).ok();
        let installed = target.and_then(|spot| self.installed.get(&spot.key()));
        let component = match installed {
            Some((_, component)) => component.clone(),
            None => self.component(&format!("shortcut {:?}", spot.key()), &folder, 0).0,
        };
        let starts_in = match &*shortcut.folder {
            "" => None,
            text => Some(self.directories.key(&Spot::of(text)?, &mut self.database)),
        };
        let row = [
            self.next("s").into(),
            folder.into(),
            name.into(),
            component.into(),
            formatted(&shortcut.target).into(),
            formatted(&shortcut.arguments).into(),
            description.into(),
            (shortcut.hotkey != 0).then_some(i32::from(shortcut.hotkey)).into(),
            Value::Nothing,
            Value::Nothing,
            [1, 3, 7][Window::ALL.iter().position(|it| *it == shortcut.window).unwrap_or(0)].into(),
            starts_in.into(),
        ];
        self.database.row("Shortcut", row);
        Ok(())
    }
}

/// Windows Installer makes folders as they come.
fn is_plain(folder: &Meta) -> Result<(), String> {
    match attributes(folder)? {
        0 => Ok(()),
        _ => Err("a hidden folder".to_owned()),
    }
}

/// The bits of a file or folder; what else it has is refused.
fn attributes(meta: &Meta) -> Result<i32, String> {
    if meta.acl.is_some() || meta.default_acl.is_some() {
        return Err("an access control list".to_owned());
    }
    let mut bits = 0;
    for (name, value) in &meta.xattrs {
        if **name == *ATTRIBUTES {
            let text = String::from_utf8_lossy(value);
            let digits = text.trim_start_matches("0x").trim_end_matches('\0');
            let all = i32::from_str_radix(digits, 16).unwrap_or(0);
            bits |= all & (HIDDEN | SYSTEM);
        } else if let Some(stream) = name.strip_prefix(STREAM) {
            let name = String::from_utf8_lossy(stream).into_owned();
            return Err(format!("a named stream, `{name}`"));
        } else {
            return Err(format!("an attribute, `{}`", String::from_utf8_lossy(name)));
        }
    }
    Ok(bits)
}
