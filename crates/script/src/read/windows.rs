//! Steps for what Windows keeps apart from files.

use model::{RegistryKey, RegistryStep, ServiceStart, SetupStep, Template, ValueEdit};
use toml_edit::{Item, TableLike};

use super::fields::{Fields, kind_of};
use crate::vocabulary::{SERVICE_KIND, SERVICE_START};

/// The service control manager's numbers for the words of `kind`.
pub(crate) const KINDS: [u32; 4] = [16, 32, 1, 2];
const STARTS: [ServiceStart; 5] = [
    ServiceStart::Boot,
    ServiceStart::System,
    ServiceStart::Automatic,
    ServiceStart::Manual,
    ServiceStart::Disabled,
];
const FORMS: &str = "write a text, or one of `{ expand = \"…\" }`, `{ list = [\"…\"] }`, `{ dword = 3 }`, \
                     `{ qword = 3 }`, `{ type = 3, data = \"00ff\" }`, `{ add = [\"…\"] }`, `{ remove = true }`";

pub(super) fn read_registry(fields: &mut Fields<'_, '_, '_>) -> Option<RegistryStep> {
    let key = fields.template("edit-registry");
    if let Some(text) = key.as_ref().and_then(Template::as_literal) {
        let text = String::from_utf8_lossy(text).into_owned();
        if let Err(error) = RegistryKey::new(&text) {
            let span = fields.span("edit-registry");
            fields.wrong(
                "edit-registry",
                span,
                error,
                "in TOML, `'single quotes'` keep backslashes",
            );
        }
    }
    let remove = fields.truth("remove-key", false);
    let mut values = Vec::new();
    for (name, item, span) in fields.entries("values") {
        let name = fields.template_key("values", name, span.clone());
        let edit = match (item.as_str(), item.as_table_like()) {
            (Some(text), _) => fields.template_key("values", text, span).map(ValueEdit::Text),
            (None, Some(table)) => {
                let edit = edit(fields, table, &span);
                if edit.is_none() {
                    fields.wrong("values", span, "it says no value", FORMS);
                }
                edit
            }
            (None, None) => {
                fields.wrong("values", span, format_args!("{} is no value", kind_of(item)), FORMS);
                None
            }
        };
        values.extend(name.zip(edit));
    }
    Some(RegistryStep { key: key?, values, remove })
}

fn edit(
    fields: &mut Fields<'_, '_, '_>,
    table: &dyn TableLike,
    span: &std::ops::Range<usize>,
) -> Option<ValueEdit> {
    let keys: Vec<&str> = table.iter().map(|(key, _)| key).collect();
    let text = |key: &str| table.get(key).and_then(Item::as_str);
    let mut texts = |key: &str| -> Option<Vec<Template>> {
        let list = table.get(key)?.as_array()?;
        list.iter().map(|one| fields.template_key("values", one.as_str()?, span.clone())).collect()
    };
    match keys.as_slice() {
        ["list"] => texts("list").map(ValueEdit::List),
        ["add"] => texts("add").map(ValueEdit::AddToPath),
        ["expand"] => {
            fields.template_key("values", text("expand")?, span.clone()).map(ValueEdit::Expand)
        }
        ["dword"] => {
            number(table.get("dword")?).and_then(|it| u32::try_from(it).ok()).map(ValueEdit::Dword)
        }
        ["qword"] => number(table.get("qword")?).map(ValueEdit::Qword),
        ["remove"] => (table.get("remove")?.as_bool() == Some(true)).then_some(ValueEdit::Remove),
        ["type", "data"] | ["data", "type"] => Some(ValueEdit::Raw {
            kind: number(table.get("type")?).and_then(|it| u32::try_from(it).ok())?,
            data: from_hex(text("data")?)?,
        }),
        _ => None,
    }
}

/// A number from 0 on; what is beyond TOML's own numbers is written as text.
fn number(item: &Item) -> Option<u64> {
    match (item.as_integer(), item.as_str()) {
        (Some(number), _) => u64::try_from(number).ok(),
        (None, Some(text)) => text.parse().ok(),
        _ => None,
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    pairs.iter().map(|[high, low]| u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()).collect()
}

pub(super) fn read_setup(fields: &mut Fields<'_, '_, '_>) -> Option<SetupStep> {
    let name = fields.parsed("create-service", |text| {
        if text.is_empty() || text.contains(['/', '\\', '\0']) {
            return Err(format!("`{text}` is no service's name"));
        }
        Ok(Box::<str>::from(text))
    });
    let program = fields.template("program");
    let kind = KINDS[fields.word("kind", SERVICE_KIND)];
    let start = STARTS[fields.word("start", SERVICE_START)];
    let mut text =
        |key: &str| fields.parsed(key, |text| Ok::<_, String>(text.to_owned())).unwrap_or_default();
    let (display_name, description, account) =
        (text("display-name"), text("description"), text("account"));
    let listed = fields.list("dependencies");
    let dependencies = listed
        .into_iter()
        .filter_map(|one| fields.name_of("dependencies", one).map(str::to_owned))
        .collect();
    let now = fields.truth("now", false);
    Some(SetupStep {
        name: name?,
        program: program?,
        kind,
        start,
        display_name,
        description,
        account,
        dependencies,
        now,
    })
}
