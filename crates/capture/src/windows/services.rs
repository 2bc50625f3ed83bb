//! New services, as the service manager is told of them, and not as the keys it keeps.

use std::collections::BTreeMap;

use model::{RegistryKey, RegistryValue, ServiceStart, Setting, SetupStep};

use super::{KeyChange, Places, same};
use crate::{Draft, Understood};

const SERVICES: &str = r"HKLM\SYSTEM\CurrentControlSet\Services";

/// New services become steps of their own; what a service keeps below its key stays in the registry.
pub(super) fn take(
    keys: &mut BTreeMap<RegistryKey, KeyChange>,
    places: &Places,
    draft: &mut Draft,
) -> Vec<SetupStep> {
    let Ok(services) = RegistryKey::new(SERVICES) else { return Vec::new() };
    let names: Vec<RegistryKey> = keys
        .iter()
        .filter(|(key, change)| {
            change.is_new && key.parent().is_some_and(|parent| parent == services)
        })
        .map(|(key, _)| key.clone())
        .collect();
    let mut steps = Vec::new();
    for key in names {
        let Some(change) = keys.get(&key) else { continue };
        let value =
            |name: &str| change.values.iter().find(|value| same(&value.name, name))?.new.as_ref();
        let text = |name: &str| value(name).and_then(RegistryValue::as_text).unwrap_or_default();
        let number = |name: &str| {
            let bytes = value(name)?.data.as_slice().try_into().ok()?;
            Some(u32::from_le_bytes(bytes))
        };
        let (Some(kind), false) = (number("Type"), text("ImagePath").is_empty()) else { continue };
        let account = places.identity.account(text("ObjectName"));
        steps.push(SetupStep {
            name: key.name().into(),
            program: places.within(&text("ImagePath")),
            kind: if [16, 32, 1, 2].contains(&kind) { kind } else { 16 },
            start: match number("Start") {
                Some(0) => ServiceStart::Boot,
                Some(1) => ServiceStart::System,
                Some(2) => ServiceStart::Automatic,
                Some(4) => ServiceStart::Disabled,
                _ => ServiceStart::Manual,
            },
            display_name: text("DisplayName"),
            description: text("Description"),
            account: if same(&account, "LocalSystem") { String::new() } else { account },
            dependencies: value("DependOnService")
                .and_then(RegistryValue::as_list)
                .unwrap_or_default(),
            now: false,
        });
        let place = Setting::Key(key.clone()).path();
        draft.report.counts.understood += change.values.len() + 1;
        let understood = Understood { path: place, r#as: format!("the service {}", key.name()) };
        draft.report.understood.push(understood);
        keys.remove(&key);
    }
    steps
}
