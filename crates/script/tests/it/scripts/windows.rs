//! Steps for what Windows keeps apart from files.

use model::{
    Failure, Meta, Owner, Part, Recovery, RecoveryAction, RegistryStep, ServiceStart, SetupStep,
    TaskStep, Template, ValueEdit, Window,
};
use proptest::{
    collection::{hash_map, vec},
    option::of,
    prelude::*,
    sample::select,
};
use script::ShortcutStep;

use super::{meta, template, text, variable_name};

pub(super) fn shortcut() -> BoxedStrategy<ShortcutStep> {
    let texts = (template(), template(), template(), template(), template());
    let window = select(Window::ALL.to_vec());
    let meta = meta(Just(0o644)).prop_map(|meta| {
        let (owner, group) = (Owner::root(), Owner::root());
        Meta { owner, group, acl: None, default_acl: None, ..meta }
    });
    (texts, any::<i32>(), window, any::<u16>(), any::<bool>(), any::<bool>(), meta)
        .prop_map(
            |(
                (target, arguments, folder, icon, description),
                icon_index,
                window,
                hotkey,
                to_folder,
                as_administrator,
                meta,
            )| ShortcutStep {
                target,
                arguments,
                folder,
                icon,
                icon_index,
                description,
                window,
                hotkey,
                to_folder,
                as_administrator,
                meta,
            },
        )
        .boxed()
}

pub(super) fn registry() -> BoxedStrategy<RegistryStep> {
    let key =
        ("(\\\\[A-Za-z0-9 {}.-]{1,8}){1,3}", of(variable_name())).prop_map(|(below, name)| {
            let mut parts = vec![Part::Literal(format!("HKLM\\SOFTWARE{below}").into_bytes())];
            parts.extend(name.map(Part::Variable));
            Template(parts)
        });
    let value = prop_oneof![
        template().prop_map(ValueEdit::Text),
        template().prop_map(ValueEdit::Expand),
        vec(template(), 0..3).prop_map(ValueEdit::List),
        any::<u32>().prop_map(ValueEdit::Dword),
        any::<u64>().prop_map(ValueEdit::Qword),
        (any::<u32>(), vec(any::<u8>(), 0..6))
            .prop_map(|(kind, data)| ValueEdit::Raw { kind, data }),
        Just(ValueEdit::Remove),
        vec(template(), 0..3).prop_map(ValueEdit::AddToPath),
    ];
    let name = text().prop_map(|name| super::literal(&name));
    let values = hash_map(name.prop_map(|name| name.to_string()), value, 0..4);
    (key, values, any::<bool>())
        .prop_map(|(key, values, remove)| RegistryStep {
            key,
            values: values
                .into_iter()
                .filter_map(|(name, value)| Some((name.parse().ok()?, value)))
                .collect(),
            remove,
        })
        .boxed()
}

/// A scheduled task, its definition on one line or on several.
pub(super) fn task() -> BoxedStrategy<TaskStep> {
    ("[A-Za-z][A-Za-z0-9 .-]{0,8}[a-z]", template(), any::<bool>())
        .prop_map(|(name, text, lines)| {
            let between = if lines { "\n" } else { "" };
            let mut parts = vec![Part::Literal(format!("<Task>{between}").into_bytes())];
            parts.extend(text.0);
            parts.push(Part::Literal(format!("</Task>{between}").into_bytes()));
            let definition = Template(parts).to_string().parse().unwrap();
            TaskStep { name: format!("\\{name}").into(), definition }
        })
        .boxed()
}

/// A service, and what follows when it fails; a driver, after whose failures nothing does.
pub(super) fn setup() -> BoxedStrategy<SetupStep> {
    let start = vec![
        ServiceStart::Boot,
        ServiceStart::System,
        ServiceStart::Automatic,
        ServiceStart::Manual,
        ServiceStart::Disabled,
        ServiceStart::Delayed,
    ];
    let head =
        ("[A-Za-z][A-Za-z0-9 .-]{0,8}", template(), select(vec![16, 32, 1, 2]), select(start));
    let texts = (text(), text(), text(), vec("[A-Za-z+][a-z]{0,6}", 0..3), any::<bool>());
    (head, texts, of(recovery()), of(template()))
        .prop_map(
            |(
                (name, program, kind, start),
                (display_name, description, account, dependencies, now),
                recovery,
                recovery_command,
            )| {
                let mut setup = SetupStep {
                    name: name.into(),
                    program,
                    kind,
                    start,
                    display_name,
                    description,
                    account,
                    dependencies,
                    now,
                    recovery: recovery.map(Box::new),
                    recovery_command,
                };
                if setup.is_driver() {
                    (setup.recovery, setup.recovery_command) = (None, None);
                    if start == ServiceStart::Delayed {
                        setup.start = ServiceStart::Automatic;
                    }
                }
                setup
            },
        )
        .boxed()
}

fn recovery() -> impl Strategy<Value = Recovery> {
    let delay = prop_oneof![
        Just(0),
        any::<u32>(),
        (0..=u32::MAX / 1000).prop_map(|seconds| seconds * 1000),
    ];
    let action = (select(Failure::ALL.to_vec()), delay)
        .prop_map(|(failure, delay)| RecoveryAction { failure, delay });
    (vec(action, 0..4), of(1..u32::MAX), text(), any::<bool>())
        .prop_map(|(actions, reset, message, errors_too)| Recovery {
            reset: reset.filter(|_| !actions.is_empty()),
            actions,
            message,
            errors_too,
        })
        .prop_filter("says something", |recovery| *recovery != Recovery::default())
}
