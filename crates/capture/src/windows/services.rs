//! New services, as the service manager is told of them, and not as the keys it keeps.

use std::collections::BTreeMap;

use model::{
    Failure, Recovery, RecoveryAction, RegistryKey, RegistryValue, ServiceStart, Setting, SetupStep,
};

use super::{KeyChange, Places, same};
use crate::{Draft, Understood};

/// New services become steps of their own; what a service keeps below its key stays in the registry.
pub(super) fn take(
    keys: &mut BTreeMap<RegistryKey, KeyChange>,
    places: &Places,
    draft: &mut Draft,
) -> Vec<SetupStep> {
    let names: Vec<RegistryKey> = keys
        .iter()
        .filter(|(key, change)| change.is_new && key.service().is_some())
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
                Some(2) if number("DelayedAutostart").is_some_and(|it| it != 0) => {
                    ServiceStart::Delayed
                }
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
            recovery: recovery(
                value("FailureActions").map_or(&[], |value| &value.data),
                text("RebootMessage"),
                number("FailureActionsOnNonCrashFailures").is_some_and(|it| it != 0),
            ),
            recovery_command: Some(text("FailureCommand"))
                .filter(|text| !text.is_empty())
                .map(|text| places.within(&text)),
        });
        let place = Setting::Key(key.clone()).path();
        draft.report.counts.understood += change.values.len() + 1;
        let understood = Understood { path: place, r#as: format!("the service {}", key.name()) };
        draft.report.understood.push(understood);
        keys.remove(&key);
    }
    steps
}

/// What follows when a service fails, of the value the service manager keeps it in: a structure of five words of 32
/// bits (seconds, two places it does not use, how many actions, where they are), then each action and its milliseconds.
fn recovery(bytes: &[u8], message: String, errors_too: bool) -> Option<Box<Recovery>> {
    let (words, _) = bytes.as_chunks::<4>();
    let words: Vec<u32> = words.iter().map(|word| u32::from_le_bytes(*word)).collect();
    let count = words.get(3).map_or(0, |count| *count as usize);
    let pairs = words.get(5..).unwrap_or_default().chunks_exact(2).take(count);
    let actions: Vec<RecoveryAction> = pairs
        .map(|pair| RecoveryAction {
            failure: Failure::ALL.get(pair[0] as usize).copied().unwrap_or_default(),
            delay: pair[1],
        })
        .collect();
    let never = |seconds: &u32| [0, u32::MAX].contains(seconds);
    let reset = words.first().copied().filter(|seconds| !never(seconds) && !actions.is_empty());
    let recovery = Recovery { actions, reset, message, errors_too };
    (recovery != Recovery::default()).then(|| Box::new(recovery))
}
