use model::{Architecture, Template, ValueEdit};
use script::StepKind;

use crate::{
    Draft, Facts, Registry, add_registry,
    testing::{Machines, facts},
};

/// What an installer that changed only the registry comes to.
fn captured(before: &str, after: &str) -> Draft {
    let read = |text: &str| {
        let mut registry = Registry::default();
        registry.read("HKLM", &format!("WINE REGISTRY Version 2\n{text}")).unwrap();
        registry
    };
    let mut draft = Machines::default().draft();
    draft.script.architecture = Architecture::Any;
    let facts = Facts { user: Some("smith".into()), ..facts() };
    add_registry(&mut draft, &read(before), &read(after), &facts);
    draft
}

const ENVIRONMENT: &str = r"[System\\CurrentControlSet\\Control\\Session Manager\\Environment]";

fn only_edit(draft: &Draft) -> (String, ValueEdit) {
    let StepKind::Registry(step) = &draft.script.steps[0].kind else {
        panic!("{:?}", draft.script.steps)
    };
    let [(name, edit)] = step.values.as_slice() else { panic!("{step:?}") };
    (name.to_string(), edit.clone())
}

#[test]
fn entries_of_the_path_are_added_to_what_is_there() {
    let draft = captured(
        &format!("{ENVIRONMENT}\n\"PATH\"=str(2):\"C:\\\\windows;C:\\\\tools\"\n"),
        &format!(
            "{ENVIRONMENT}\n\"PATH\"=str(2):\"C:\\\\Program Files\\\\App\\\\bin;C:\\\\windows;C:\\\\tools\"\n"
        ),
    );
    let (name, edit) = only_edit(&draft);
    let wanted: Template = r"${program-files}\App\bin".parse().unwrap();
    assert_eq!((name.as_str(), edit), ("PATH", ValueEdit::AddToPath(vec![wanted])));
    assert_eq!(&*draft.report.understood[0].r#as, "the environment variable PATH");
}

#[test]
fn a_text_with_a_semicolon_that_was_replaced_is_no_list() {
    let draft = captured(
        &format!("{ENVIRONMENT}\n\"X\"=\"one;two\"\n"),
        &format!("{ENVIRONMENT}\n\"X\"=\"three;two\"\n"),
    );
    assert_eq!(only_edit(&draft).1, ValueEdit::Text(Template::literal("three;two")));
}

#[test]
fn keys_stand_by_what_they_mean() {
    let draft = captured(
        "",
        concat!(
            "[Software\\\\Vendor]\n\"a\"=\"1\"\n",
            "[Software\\\\Microsoft\\\\Windows\\\\CurrentVersion\\\\Uninstall\\\\App]\n\"DisplayName\"=\"App\"\n",
            "[Software\\\\Classes\\\\.app]\n@=\"App.File\"\n",
            "[Software\\\\Wow6432Node\\\\Classes\\\\CLSID\\\\{1}\\\\InprocServer32]\n@=\"C:\\\\windows\\\\x.dll\"\n",
            "[Software\\\\Microsoft\\\\Windows NT\\\\CurrentVersion\\\\Fonts]\n\"Sans\"=\"sans.ttf\"\n",
            "[Software\\\\Microsoft\\\\Windows\\\\CurrentVersion\\\\Run]\n\"App\"=\"app.exe\"\n",
        ),
    );
    let titles: Vec<&str> = draft.comments.steps.values().map(String::as_str).collect();
    assert_eq!(
        titles,
        [
            "Registry",
            "File types",
            "COM registration",
            "Fonts",
            "Programs that run at logon",
            "Programs and Features",
        ]
    );
    let understood: Vec<&str> = draft.report.understood.iter().map(|one| &*one.r#as).collect();
    for said in ["files that end in .app", "a COM server in a library", "the font Sans"] {
        assert!(understood.contains(&said), "{understood:?}");
    }
}
