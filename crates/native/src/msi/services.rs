//! Services, and keys of INI files.

use model::{EditStep, LineEdit, ServiceStart, SetupStep};

use super::{
    database::Value,
    draft::Draft,
    places::{Spot, formatted, shown},
};

/// What `ServiceControl` does: stop and remove at uninstall, start when installed.
const GOES: i32 = 0x20 + 0x80;
const STARTS: i32 = 1;
/// The installation goes on where the service does not start by itself.
const NORMAL: i32 = 1;
/// `MsiServiceConfig`: at installation, the late start.
const AT_INSTALL: i32 = 1;
const LATE: i32 = 3;
/// Between the names of a list.
const BETWEEN: &str = "[~]";

impl Draft<'_> {
    pub(super) fn service(&mut self, setup: &SetupStep) -> Result<(), String> {
        let name = &setup.name;
        if setup.is_driver() {
            return Err(format!("`{name}` is a driver: Windows Installer has no table for those"));
        }
        if setup.recovery.is_some() {
            return Err(format!(
                "what follows when `{name}` fails: set it on the machine by other means"
            ));
        }
        let line = self.texts.resolve(&setup.program)?;
        let (component, arguments) = self.program(&line).ok_or_else(|| {
            format!("`{name}` runs `{}`, which is no file of the package", shown(&line))
        })?;
        let row = self.next("v");
        let mut dependencies = setup.dependencies.join(BETWEEN);
        if !dependencies.is_empty() {
            dependencies += "[~][~]";
        }
        let start = i32::try_from(setup.start.number()).unwrap_or(3);
        let fields = [
            (&row).into(),
            (&**name).into(),
            setup.display_name.as_str().into(),
            i32::try_from(setup.kind).map_err(|_| "an odd kind of service")?.into(),
            start.into(),
            NORMAL.into(),
            Value::Nothing,
            dependencies.into(),
            setup.account.as_str().into(),
            Value::Nothing,
            formatted(&arguments).into(),
            (&component).into(),
            setup.description.as_str().into(),
        ];
        self.database.row("ServiceInstall", fields);
        let event = GOES + if setup.now { STARTS } else { 0 };
        let fields = [
            (&row).into(),
            (&**name).into(),
            event.into(),
            Value::Nothing,
            1.into(),
            (&component).into(),
        ];
        self.database.row("ServiceControl", fields);
        if setup.start == ServiceStart::Delayed {
            let fields = [
                row.into(),
                (&**name).into(),
                AT_INSTALL.into(),
                LATE.into(),
                "1".into(),
                component.into(),
            ];
            self.database.row("MsiServiceConfig", fields);
        }
        Ok(())
    }

    /// The component of the program a command line runs, and its arguments.
    fn program(&self, line: &str) -> Option<(String, String)> {
        let component = |path: &str| {
            let (_, component) = self.installed.get(&Spot::of(path).ok()?.key())?;
            Some(component.clone())
        };
        if let Some(rest) = line.strip_prefix('"') {
            let (path, arguments) = rest.split_once('"')?;
            return Some((component(path)?, arguments.trim_start().to_owned()));
        }
        // As the service manager reads it: the first part, up to a blank, that is a program.
        let ends = line.match_indices(' ').map(|(at, _)| at).chain([line.len()]);
        ends.into_iter()
            .find_map(|end| Some((component(&line[..end])?, line[end..].trim_start().to_owned())))
    }

    /// Keys of an INI file.
    pub(super) fn ini(&mut self, step: usize, edit: &EditStep) -> Result<(), String> {
        let text = self.texts.resolve(&edit.file)?;
        let spot = Spot::of(&text)?;
        let (folder, name) = spot.split().ok_or("it has no name")?;
        let component = self.component(&format!("ini {step} {:?}", spot.key()), "TARGETDIR", 0);
        let folder = self.directories.key(&folder, &mut self.database);
        let name = self.directories.name(&folder, name);
        for edit in &edit.edits {
            let LineEdit::Ini { section, key, value: Some(value) } = edit else {
                return Err(format!("an edit of `{}` other than setting a key", shown(&text)));
            };
            let of = |template| self.texts.resolve(template).map(|text| formatted(&text));
            let (section, key, value) = (of(section)?, of(key)?, of(value)?);
            if section.is_empty() || value.is_empty() {
                return Err(format!("`{key}` of `{}`: no section, or no value", shown(&text)));
            }
            let row = [
                self.next("i").into(),
                (&name).into(),
                (&folder).into(),
                section.into(),
                key.into(),
                value.into(),
                0.into(),
                (&component.0).into(),
            ];
            self.database.row("IniFile", row);
        }
        Ok(())
    }
}
