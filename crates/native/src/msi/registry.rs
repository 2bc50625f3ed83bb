//! Registry keys, values, and lists in the environment.

use model::{RegistryKey, RegistryStep, RegistryValue, ValueEdit};

use super::{
    draft::Draft,
    places::{formatted, plain},
};

/// Where the environment of the machine and that of a user are.
const ENVIRONMENTS: [(&str, &str); 2] = [
    (r"HKLM\SYSTEM\CurrentControlSet\Control\Session Manager\Environment", "=-*"),
    (r"HKCU\Environment", "=-"),
];
/// A property nobody sets: an empty text where nothing would mean no value at all.
const EMPTY: &str = "[EMPTY_TEXT]";
/// The value's bytes are hexadecimal digits.
const HEX: &str = "#x";

impl Draft<'_> {
    /// What a step does to a key.
    pub(super) fn registry(&mut self, step: usize, registry: &RegistryStep) -> Result<(), String> {
        let text = self.texts.resolve(&registry.key)?;
        let text = plain(&text).ok_or_else(|| format!("`{}` differs by machine", registry.key))?;
        let key = RegistryKey::new(text).map_err(|error| error.to_string())?;
        let (root, below) = root(&key).ok_or_else(|| format!("an .msi cannot name `{key}`"))?;
        let seed = format!("key {step} {}", key.as_str().to_lowercase());
        let component = self.component(&seed, "TARGETDIR", 0);
        let row = self.next("r");
        let whose = root.into();
        if registry.remove {
            self.remark(step, format!("`{key}` goes with all below it, and does not come back"));
            let row = [row.into(), whose, formatted(below).into(), "-".into(), component.0.into()];
            self.database.row("RemoveRegistry", row);
            return Ok(());
        }
        if registry.values.is_empty() {
            // It goes again with the product, where others put nothing in it that is a key.
            let fields = [
                (&row).into(),
                whose,
                formatted(below).into(),
                "*".into(),
                super::database::Value::Nothing,
                (&component.0).into(),
            ];
            self.database.row("Registry", fields);
            self.registry_key_path(&component, &row);
            return Ok(());
        }
        let environment =
            ENVIRONMENTS.iter().find(|(name, _)| name.eq_ignore_ascii_case(key.as_str()));
        let mut path = None;
        for (name, edit) in &registry.values {
            let name = self.texts.resolve(name)?;
            let value = match edit {
                ValueEdit::AddToPath(texts) => {
                    let (_, signs) = environment.ok_or_else(|| {
                        format!(
                            "a list of texts in `{key}`: an .msi knows those of the environment"
                        )
                    })?;
                    for text in texts {
                        let text = format!("[~];{}", formatted(&self.texts.resolve(text)?));
                        let row = self.next("e");
                        let name = format!("{signs}{}", formatted(&name));
                        let fields = [row.into(), name.into(), text.into(), (&component.0).into()];
                        self.database.row("Environment", fields);
                    }
                    continue;
                }
                ValueEdit::Remove => {
                    let what = format!("value `{name}` of `{key}`");
                    self.remark(step, format!("{what} goes, and does not come back"));
                    let row = self.next("r");
                    let name = formatted(&name).into();
                    let fields = [
                        row.into(),
                        root.into(),
                        formatted(below).into(),
                        name,
                        (&component.0).into(),
                    ];
                    self.database.row("RemoveRegistry", fields);
                    continue;
                }
                edit => self
                    .value(edit)
                    .map_err(|reason| format!("value `{name}` of `{key}` {reason}"))?,
            };
            // These mean something else there.
            if matches!(&*name, "+" | "-" | "*") {
                return Err(format!("a value called `{name}` of `{key}`"));
            }
            let row = self.next("r");
            let fields = [
                (&row).into(),
                root.into(),
                formatted(below).into(),
                formatted(&name).into(),
                value.into(),
                (&component.0).into(),
            ];
            self.database.row("Registry", fields);
            path.get_or_insert(row);
        }
        if let Some(path) = path {
            self.registry_key_path(&component, &path);
        }
        Ok(())
    }

    /// A value in Windows Installer's words.
    fn value(&self, edit: &ValueEdit) -> Result<String, String> {
        let text = |template| self.texts.resolve(template).map(|text| formatted(&text));
        Ok(match edit {
            ValueEdit::Text(template) => match text(template)? {
                text if text.is_empty() => EMPTY.to_owned(),
                text if text.starts_with('#') => format!("#{text}"),
                text => text,
            },
            ValueEdit::Expand(template) => format!("#%{}", text(template)?),
            ValueEdit::Dword(number) => format!("#{}", number.cast_signed()),
            ValueEdit::List(list) => {
                let list = list.iter().map(text).collect::<Result<Vec<_>, _>>()?;
                if list.is_empty() || list.iter().any(String::is_empty) {
                    return Err("is a list with nothing in it".to_owned());
                }
                match list.as_slice() {
                    [one] => format!("[~]{one}[~]"),
                    several => several.join("[~]"),
                }
            }
            ValueEdit::Raw { kind: RegistryValue::BINARY, data } => {
                let digits = data.iter().map(|byte| format!("{byte:02x}"));
                digits.fold(HEX.to_owned(), |all, two| all + &two)
            }
            ValueEdit::Qword(_) => return Err("is a number of 64 bits".to_owned()),
            ValueEdit::Raw { kind, data } => {
                return Err(format!("is of type {kind}, with {} bytes", data.len()));
            }
            ValueEdit::Remove | ValueEdit::AddToPath(_) => String::new(),
        })
    }
}

/// The number of the root, and the key below it.
fn root(key: &RegistryKey) -> Option<(i32, &str)> {
    let (root, below) = key.as_str().split_once('\\')?;
    let number = match root {
        "HKCU" => 1,
        "HKLM" => 2,
        "HKU" => 3,
        _ => return None,
    };
    Some((number, below))
}
