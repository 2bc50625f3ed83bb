//! Arbitrary scripts, as [`script::parse`] may make them.

mod windows;

use std::collections::BTreeMap;

use model::{
    AccountStep, Acl, AclEntry, AclTag, Alternative, Architecture, Comparison, Condition, Content,
    EditStep, Entry, ExitMeaning, Extent, Fact, Hook, Kind, LibraryStep, LineEdit, MachinePath,
    Meta, Owner, PackageName, Part, Program, ReplaceRule, RunStep, ServiceStep, StartType,
    Template, Time, Undo, Users, Value, Variable, Version, Xattrs,
};
use proptest::{collection::vec, option::of, prelude::*, sample::select};
use script::{FileMeta, Script, Step, StepKind, TextReplacement, TreeSource, TreeStep};

/// Text of all sorts: plain, with what TOML, CEL and templates quote, with control characters.
pub(crate) fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[a-z][a-z0-9/_.-]{0,12}",
        2 => "[ -~]{0,16}",
        1 => any::<String>().prop_map(|text| text.chars().take(12).collect()),
    ]
}

fn name() -> impl Strategy<Value = Box<str>> {
    "[a-z_][a-z0-9_-]{0,10}".prop_map(Into::into)
}

fn variable_name() -> impl Strategy<Value = Box<str>> {
    prop_oneof![
        4 => "[a-z][a-z0-9_]{0,6}",
        1 => "[a-z][a-z0-9.-]{1,6}[a-z0-9]",
        1 => select(vec!["in", "as", "true", "package", "machine.os", "machine.hostname"]).prop_map(str::to_owned),
    ]
    .prop_map(Into::into)
}

/// A template in the form parsing gives: literals neither empty nor side by side.
pub(crate) fn template() -> BoxedStrategy<Template> {
    template_from(prop_oneof![
        4 => text().prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 1..4),
        1 => Just(b"${prefix} $x $".to_vec()),
    ])
    .boxed()
}

fn template_from(literal: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Template> {
    vec(
        prop_oneof![2 => literal.prop_map(Part::Literal), 1 => variable_name().prop_map(Part::Variable)],
        0..4,
    )
    .prop_map(|parts| {
        let mut canonical: Vec<Part> = Vec::new();
        for part in parts {
            match (canonical.last_mut(), part) {
                (_, Part::Literal(bytes)) if bytes.is_empty() => {}
                (Some(Part::Literal(end)), Part::Literal(bytes)) => end.extend(bytes),
                (_, part) => canonical.push(part),
            }
        }
        Template(canonical)
    })
}

/// A template without line ends and zero bytes.
fn line() -> impl Strategy<Value = Template> {
    template_from("[ -~äß\t]{0,20}".prop_map(String::into_bytes))
}

fn key() -> impl Strategy<Value = Template> {
    template_from("[a-zA-Z][a-zA-Z0-9._ -]{0,8}".prop_map(String::into_bytes))
        .prop_filter("not empty", |template| !template.0.is_empty())
}

pub(crate) fn path() -> BoxedStrategy<Template> {
    let parts = prop_oneof![4 => "(/[a-z0-9 ._$\"'-]{0,6}[a-z]){1,3}", 1 => "(/[^/\0.]{1,4}){1,2}"];
    (parts, of(variable_name()), any::<bool>())
        .prop_map(|(literal, variable, first)| {
            let literal = Part::Literal(literal.into_bytes());
            Template(match (variable.map(Part::Variable), first) {
                (Some(variable), true) => vec![variable, literal],
                (Some(variable), false) => vec![literal, variable],
                (None, _) => vec![literal],
            })
        })
        .boxed()
}

fn source() -> impl Strategy<Value = Box<str>> {
    "files(/[a-zA-Z0-9 ä'\"-]{1,6}){0,3}".prop_map(Into::into)
}

fn pattern() -> impl Strategy<Value = String> {
    "[a-z*?/]{1,8}"
}

fn version() -> impl Strategy<Value = Version> {
    "[0-9]{1,3}(\\.[0-9a-z~+-]{1,4}){0,3}".prop_map(Version::new)
}

fn owner() -> impl Strategy<Value = Owner> {
    prop_oneof![
        2 => Just(Owner::root()),
        2 => name().prop_map(Owner::Name),
        1 => any::<u32>().prop_map(Owner::Id),
    ]
}

fn time() -> impl Strategy<Value = Time> {
    prop_oneof![
        Just(Time::default()),
        (any::<i64>(), 0..1_000_000_000_u32)
            .prop_map(|(seconds, nanoseconds)| Time { seconds, nanoseconds }),
        (-10_000_000_000..10_000_000_000_i64, 0..1_000_000_000_u32)
            .prop_map(|(seconds, nanoseconds)| Time { seconds, nanoseconds }),
    ]
}

fn xattrs() -> impl Strategy<Value = Xattrs> {
    let bytes = |least| vec(any::<u8>(), least..6).prop_map(Vec::into_boxed_slice);
    proptest::collection::btree_map(bytes(1), bytes(0), 0..3)
}

fn acl() -> impl Strategy<Value = Acl> {
    let tag = prop_oneof![
        Just(AclTag::OwningUser),
        owner().prop_map(AclTag::User),
        owner().prop_map(AclTag::Group),
        Just(AclTag::Mask),
        Just(AclTag::Other),
    ];
    let entry = (tag, 0..8_u8).prop_map(|(tag, permissions)| AclEntry { tag, permissions });
    vec(entry, 1..4).prop_map(Acl)
}

fn meta(mode: impl Strategy<Value = u16> + 'static) -> BoxedStrategy<Meta> {
    (mode, owner(), owner(), time(), xattrs(), of(acl()), of(acl()))
        .prop_map(|(mode, owner, group, modified, xattrs, acl, default_acl)| Meta {
            mode,
            owner,
            group,
            modified,
            xattrs,
            acl,
            default_acl,
        })
        .boxed()
}

fn mode() -> impl Strategy<Value = u16> {
    prop_oneof![Just(0o755), Just(0o644), 0..=0o7777_u16]
}

fn link_meta() -> impl Strategy<Value = Meta> {
    meta(Just(0o777)).prop_map(|meta| Meta { acl: None, default_acl: None, ..meta })
}

/// Values of one kind, so that they compare.
fn comparison() -> BoxedStrategy<Condition> {
    let text = || {
        prop_oneof![
            template().prop_map(Value::Text),
            variable_name().prop_map(|name| Value::Fact(Fact::Variable(name))),
            select(vec![
                Fact::Os,
                Fact::Architecture,
                Fact::Release,
                Fact::Kernel,
                Fact::HostName,
                Fact::Distribution
            ])
            .prop_map(Value::Fact),
        ]
    };
    let number = || {
        prop_oneof![
            any::<i64>().prop_map(Value::Number),
            Just(Value::Fact(Fact::Memory)),
            path().prop_map(|path| Value::Fact(Fact::FreeSpace(path))),
        ]
    };
    let version = || {
        prop_oneof![
            text().prop_map(|text| Value::Version(Box::new(text))),
            path().prop_map(|path| Value::Fact(Fact::FileVersion(path))),
            self::text()
                .prop_filter("a name", |name| !name.is_empty())
                .prop_map(|name| Value::Fact(Fact::Installed(name.into()))),
            name().prop_map(|name| Value::Fact(Fact::SystemPackage(name))),
            (self::text(), self::text()).prop_map(|(key, value)| {
                let template = |text: String| {
                    if text.is_empty() { Template(Vec::new()) } else { Template::literal(text) }
                };
                let registry = Fact::Registry { key: template(key), value: template(value) };
                Value::Version(Box::new(Value::Fact(registry)))
            }),
        ]
    };
    let truth = || prop_oneof![any::<bool>().prop_map(Value::Truth), question()];
    let equality = || select(vec![Comparison::Equal, Comparison::NotEqual]);
    let order = || {
        select(vec![
            Comparison::Equal,
            Comparison::NotEqual,
            Comparison::Less,
            Comparison::AtMost,
            Comparison::Greater,
            Comparison::AtLeast,
        ])
    };
    prop_oneof![
        (text(), equality(), text()),
        (number(), order(), number()),
        (version(), order(), version()),
        (truth(), equality(), truth()),
    ]
    .prop_map(|(left, comparison, right)| Condition::Compare { left, comparison, right })
    .boxed()
}

fn question() -> BoxedStrategy<Value> {
    prop_oneof![
        path().prop_map(|path| Value::Fact(Fact::Exists(path))),
        name().prop_map(|name| Value::Fact(Fact::UserExists(name))),
    ]
    .boxed()
}

/// A condition in the form parsing gives: nothing joined to its like, no joining of fewer than two.
pub(crate) fn condition() -> BoxedStrategy<Condition> {
    let leaf = prop_oneof![
        1 => any::<bool>().prop_map(Condition::Constant),
        4 => comparison(),
        2 => question().prop_map(Condition::Holds),
        1 => (variable_name(), vec(template(), 2..4)).prop_map(|(name, texts)| {
            let equal = |text| Condition::Compare {
                left: Value::Fact(Fact::Variable(name.clone())),
                comparison: Comparison::Equal,
                right: Value::Text(text),
            };
            Condition::Any(texts.into_iter().map(equal).collect())
        }),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|inner| Condition::Not(Box::new(inner))),
            vec(inner.clone(), 2..4).prop_map(|inner| {
                let flat = inner.into_iter().flat_map(|inner| match inner {
                    Condition::All(inner) => inner,
                    other => vec![other],
                });
                Condition::All(flat.collect())
            }),
            vec(inner, 2..4).prop_map(|inner| {
                let flat = inner.into_iter().flat_map(|inner| match inner {
                    Condition::Any(inner) => inner,
                    other => vec![other],
                });
                Condition::Any(flat.collect())
            }),
        ]
    })
    .boxed()
}

fn replacement() -> impl Strategy<Value = TextReplacement> {
    (vec(pattern(), 0..3), "[ -~]{0,8}[a-z]", template())
        .prop_map(|(files, text, with)| TextReplacement { files, text: text.into(), with })
}

fn tree_step() -> BoxedStrategy<TreeStep> {
    let source = prop_oneof![
        source().prop_map(TreeSource::Tree),
        source().prop_map(TreeSource::File),
        meta(mode()).prop_map(|meta| TreeSource::Directory(Box::new(meta))),
        (template(), link_meta())
            .prop_map(|(target, meta)| TreeSource::Link { target, meta: Box::new(meta) }),
        windows::shortcut().prop_map(|shortcut| TreeSource::Shortcut(Box::new(shortcut))),
    ];
    let replace = select(vec![ReplaceRule::Newer, ReplaceRule::Always, ReplaceRule::Never]);
    (source, path(), replace, of(version()), vec(replacement(), 0..3), vec(pattern(), 0..3))
        .prop_map(|(source, to, replace, version, replacements, except)| {
            let carried = matches!(source, TreeSource::Tree(_) | TreeSource::File(_));
            let is_tree = matches!(source, TreeSource::Tree(_));
            TreeStep {
                source,
                to,
                replace,
                version,
                replacements: if carried { replacements } else { Vec::new() },
                except: if is_tree { except } else { Vec::new() },
            }
        })
        .boxed()
}

/// Any edits, in any order.
pub(crate) fn edits() -> impl Strategy<Value = Vec<LineEdit>> {
    let edit = prop_oneof![
        (line(), of(line())).prop_map(|(line, after)| LineEdit::Add { line, after }),
        line().prop_map(|line| LineEdit::Remove { line }),
        (template(), key(), of(template())).prop_map(|(section, key, value)| LineEdit::Ini {
            section,
            key,
            value
        }),
        (key(), of(template())).prop_map(|(key, value)| LineEdit::Assignment { key, value }),
        (key(), key(), any::<bool>()).prop_map(|(key, folder, first)| LineEdit::PathList {
            key,
            folder,
            first
        }),
        (select(vec!["a", "b"]), select(vec!["x", "y"]), of(Just(Template::literal("1"))))
            .prop_map(|(section, key, value)| LineEdit::Ini {
                section: Template::literal(section),
                key: Template::literal(key),
                value,
            }),
    ];
    vec(edit, 1..8)
}

fn edit_step() -> BoxedStrategy<EditStep> {
    let lines = (vec((line(), of(line())), 0..4), vec(line(), 0..3)).prop_map(|(add, remove)| {
        let add = add.into_iter().map(|(line, after)| LineEdit::Add { line, after });
        add.chain(remove.into_iter().map(|line| LineEdit::Remove { line })).collect::<Vec<_>>()
    });
    let keys = || proptest::collection::hash_map("[a-zA-Z][a-z. ]{0,5}", template(), 0..6);
    let assignments = (keys(), vec(key(), 0..3)).prop_map(|(set, unset)| {
        let set = set.into_iter().map(|(key, value)| LineEdit::Assignment {
            key: Template::literal(key),
            value: Some(value),
        });
        set.chain(unset.into_iter().map(|key| LineEdit::Assignment { key, value: None })).collect()
    });
    let sections = || proptest::collection::hash_map("[a-zA-Z ]{0,5}", keys(), 0..3);
    let ini = (sections(), sections()).prop_map(|(set, unset)| {
        let edits = |sections: std::collections::HashMap<
            String,
            std::collections::HashMap<String, Template>,
        >,
                     set: bool| {
            sections
                .into_iter()
                .flat_map(move |(section, keys)| {
                    keys.into_iter().map(move |(key, value)| LineEdit::Ini {
                        section: literal(&section),
                        key: literal(&key),
                        value: set.then_some(value),
                    })
                })
                .collect::<Vec<_>>()
        };
        [edits(set, true), edits(unset, false)].concat()
    });
    let path_list = (key(), vec(key(), 1..4), any::<bool>()).prop_map(|(key, folders, first)| {
        let edit = |folder| LineEdit::PathList { key: key.clone(), folder, first };
        folders.into_iter().map(edit).collect()
    });
    let edits = prop_oneof![lines, assignments, ini, path_list]
        .prop_filter("something", |edits: &Vec<LineEdit>| !edits.is_empty());
    (path(), edits, any::<bool>())
        .prop_map(|(file, edits, create)| EditStep { file, edits, create })
        .boxed()
}

fn literal(text: &str) -> Template {
    if text.is_empty() { Template(Vec::new()) } else { Template::literal(text) }
}

fn account() -> BoxedStrategy<AccountStep> {
    prop_oneof![
        (name(), any::<bool>(), of(any::<u32>()))
            .prop_map(|(name, system, id)| AccountStep::Group { name, system, id }),
        (name(), any::<bool>(), of(any::<u32>()), of(name()), path(), path(), "[ -9;-~]{0,10}")
            .prop_map(|(name, system, id, group, home, shell, comment)| AccountStep::User {
                name,
                system,
                id,
                group,
                home,
                shell,
                comment,
            }),
        (name(), name()).prop_map(|(user, group)| AccountStep::Membership { user, group }),
    ]
    .boxed()
}

fn exit_codes() -> impl Strategy<Value = BTreeMap<i32, ExitMeaning>> {
    let meaning = select(vec![
        ExitMeaning::Done,
        ExitMeaning::Restart,
        ExitMeaning::Retry,
        ExitMeaning::Failed,
    ]);
    proptest::collection::btree_map(any::<i32>(), meaning, 0..3)
}

fn command() -> BoxedStrategy<Vec<Template>> {
    (path(), vec(template(), 0..3))
        .prop_map(|(program, arguments)| std::iter::once(program).chain(arguments).collect())
        .boxed()
}

fn run() -> BoxedStrategy<RunStep> {
    let undo = prop_oneof![
        Just(Undo::Outputs),
        Just(Undo::Irreversible),
        command().prop_map(Undo::Command),
    ];
    let at = select(vec![Hook::Install, Hook::BeforeUninstall, Hook::AfterUninstall]);
    (command(), at, undo, 1..u32::MAX, any::<bool>(), exit_codes(), vec(path(), 0..3))
        .prop_map(|(command, at, undo, limit, wait, exit_codes, outputs)| RunStep {
            command,
            at,
            undo,
            limit,
            wait,
            exit_codes,
            outputs,
        })
        .boxed()
}

fn step_kind() -> BoxedStrategy<StepKind> {
    let service = (
        "[a-z@-]{1,8}\\.(service|timer|socket)",
        select(vec![
            (StartType::Automatic, true),
            (StartType::Automatic, false),
            (StartType::Manual, true),
            (StartType::Manual, false),
            (StartType::Disabled, false),
        ]),
    )
        .prop_map(|(unit, (start, now))| ServiceStep { unit: unit.into(), start, now });
    let alternative = (name(), path(), path(), any::<i32>(), vec((name(), path(), path()), 0..3))
        .prop_map(|(name, link, path, priority, followers)| Alternative {
            name,
            link,
            path,
            priority,
            followers,
        });
    let trigger = (0..script::vocabulary::TRIGGERS.len()).prop_map(|index| StepKind::Trigger {
        name: script::vocabulary::TRIGGERS[index].name.into(),
    });
    prop_oneof![
        tree_step().prop_map(StepKind::Tree),
        path().prop_map(|path| StepKind::Remove { path }),
        (path(), meta(mode()))
            .prop_map(|(path, meta)| StepKind::SetMetadata { path, meta: Box::new(meta) }),
        edit_step().prop_map(StepKind::Edit),
        account().prop_map(StepKind::Account),
        service.prop_map(StepKind::Service),
        alternative.prop_map(StepKind::Alternative),
        trigger,
        run().prop_map(StepKind::Run),
        windows::registry().prop_map(StepKind::Registry),
        windows::setup().prop_map(StepKind::Setup),
        windows::task().prop_map(StepKind::Task),
        (path(), any::<bool>())
            .prop_map(|(file, optional)| StepKind::Library(LibraryStep { file, optional })),
    ]
    .boxed()
}

fn step() -> BoxedStrategy<Step> {
    let users = proptest::sample::subsequence(Users::ALL.to_vec(), 0..=3);
    (of(condition()), users, step_kind())
        .prop_map(|(when, users, kind)| Step { when, users, kind })
        .boxed()
}

fn variable() -> BoxedStrategy<Variable> {
    (of(template()), of(text()), of(text()))
        .prop_map(|(default, prompt, fixed)| Variable { default, prompt, fixed })
        .boxed()
}

fn program() -> BoxedStrategy<Program> {
    (of(condition()), of(condition()), exit_codes(), of(1..u32::MAX))
        .prop_map(|(detect, requires, exit_codes, estimate)| Program {
            detect,
            requires,
            exit_codes,
            estimate,
        })
        .boxed()
}

/// Any script [`script::parse`] may make.
pub(crate) fn script() -> impl Strategy<Value = Script> {
    let head = (
        "[a-z0-9][a-z0-9+._-]{0,10}",
        version(),
        prop_oneof![Just("any"), Just("amd64"), Just("arm64"), Just("riscv64"), Just("a_b")],
        text(),
    );
    let declared = variable_name().prop_filter("ours", |name| !name.starts_with("machine."));
    (
        head,
        vec(pattern(), 0..3),
        vec(template(), 0..3),
        proptest::collection::btree_map(declared, variable(), 0..3),
        vec(step(), 0..6),
        proptest::collection::btree_map(
            text().prop_filter("named", |name| !name.is_empty()).prop_map(Into::into),
            program(),
            0..3,
        ),
    )
        .prop_map(
            |(
                (name, version, architecture, summary),
                configuration,
                generated,
                variables,
                steps,
                programs,
            )| {
                Script {
                    name: PackageName::new(&name).unwrap(),
                    version,
                    architecture: architecture.parse::<Architecture>().unwrap(),
                    summary,
                    configuration,
                    generated,
                    variables,
                    steps,
                    programs,
                    export: model::Export::default(),
                    icon: None,
                }
            },
        )
}

fn project_path() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        4 => "[a-zA-Z0-9 ._=\"'#äöü-]{1,6}[a-z]".prop_map(String::into_bytes),
        1 => vec(any::<u8>().prop_filter("a name", |byte| !b"/\0.".contains(byte)), 1..6),
    ];
    vec(part, 1..4).prop_map(|parts| parts.join(&b'/'))
}

fn kind() -> BoxedStrategy<Kind> {
    let holes = vec((1..5_u64, 1..5_u64), 1..4).prop_map(|runs| {
        let mut end = 0;
        let mut holes = Vec::new();
        for (gap, length) in runs {
            holes.push(Extent { offset: end + gap, length });
            end += gap + length;
        }
        Kind::File(Content { length: end + 7, hash: None, holes })
    });
    let whole = Extent { offset: 0, length: u64::MAX };
    prop_oneof![
        4 => Just(Kind::File(Content { length: 0, hash: None, holes: vec![] })),
        1 => Just(Kind::File(Content { length: u64::MAX, hash: None, holes: vec![whole] })),
        1 => holes,
        1 => Just(Kind::Directory),
        1 => vec(any::<u8>(), 0..12).prop_map(Kind::Symlink),
        1 => project_path().prop_map(|path| Kind::HardLink(MachinePath::root().join(path).unwrap())),
        1 => Just(Kind::Fifo),
        1 => Just(Kind::Socket),
        1 => (any::<u32>(), any::<u32>()).prop_map(|(major, minor)| Kind::CharacterDevice { major, minor }),
        1 => (any::<u32>(), any::<u32>()).prop_map(|(major, minor)| Kind::BlockDevice { major, minor }),
    ].boxed()
}

/// Any entries a `files.meta` may hold, sorted and each once.
pub(crate) fn files_meta() -> impl Strategy<Value = Vec<FileMeta>> {
    let entry = (kind(), meta(mode())).prop_map(|(kind, meta)| Entry { kind, meta });
    vec((project_path(), entry), 0..6).prop_map(|entries| {
        let sorted: BTreeMap<MachinePath, FileMeta> = entries
            .into_iter()
            .map(|(path, entry)| {
                (MachinePath::root().join(&path).unwrap(), FileMeta { path, entry })
            })
            .collect();
        sorted.into_values().collect()
    })
}

#[test]
fn what_other_package_systems_ask_comes_back() {
    let text = r#"format = 1

[package]
name = "x"
version = "1"
architecture = "any"
maintainer = "Ada Nym <ada@example.org>"
license = "MIT"
description = "One paragraph.\n\nAnother."

[depends]
deb = ["libc6 (>= 2.36)", "adduser"]
rpm = ["glibc >= 2.36"]
"#;
    let script = script::parse(text).unwrap();
    assert_eq!(script.export.deb, ["libc6 (>= 2.36)", "adduser"]);
    assert_eq!(script.export.license, "MIT");
    assert_eq!(script::print(&script), text);
    insta::assert_snapshot!(script::explain(&script), @"
    x 1 for all machines
    - made a .deb, it needs `libc6 (>= 2.36)`, `adduser`
    - made a .rpm, it needs `glibc >= 2.36`
    ");
    let wrong = script::parse(&text.replace("rpm = ", "dpkg = ")).unwrap_err();
    assert_eq!(wrong.len(), 1, "{wrong:?}");
}
