//! Text and meaning turn into each other without loss.

use model::{EditStep, LineEdit, Template};
use proptest::prelude::*;
use script::{Step, StepKind, parse, print};

use crate::scripts;

proptest! {
    #[test]
    fn what_is_printed_is_parsed_the_same(script in scripts::script()) {
        let text = print(&script);
        let read = parse(&text).map_err(|problems| TestCaseError::fail(format!("{problems:#?}\n{text}")))?;
        prop_assert_eq!(read, script, "{}", text);
    }

    /// Edits no single table can say in their order become several steps, in that order.
    #[test]
    fn edits_keep_their_order(edits in scripts::edits(), create: bool) {
        let file = Template::literal("/etc/x");
        let kind = StepKind::Edit(EditStep { file: file.clone(), edits: edits.clone(), create });
        let script = script::Script { steps: vec![Step { when: None, users: vec![], kind }], ..minimal() };
        let text = print(&script);
        let read = parse(&text).map_err(|problems| TestCaseError::fail(format!("{problems:#?}\n{text}")))?;
        let mut found = Vec::new();
        for step in read.steps {
            let StepKind::Edit(edit) = step.kind else { panic!("only edits were written") };
            prop_assert_eq!(&edit.file, &file);
            prop_assert_eq!(edit.create, create);
            found.extend(edit.edits);
        }
        prop_assert_eq!(found, edits, "{}", text);
    }

    /// Whatever the text, an answer and no crash.
    #[test]
    fn any_text_is_answered(text: String, tail: String) {
        let _ = parse(&text);
        let _ = parse(&format!("format = 1\n{tail}"));
        let _ = script::parse_condition(&text);
        let _ = script::parse_files_meta(&text);
    }
}

fn minimal() -> script::Script {
    parse("format = 1\n[package]\nname = \"x\"\nversion = \"1\"\narchitecture = \"any\"\n").unwrap()
}

#[test]
fn a_moved_line_stays_in_one_step() {
    let line = |text: &str| Template::literal(text);
    let edits = vec![
        LineEdit::Add { line: line("new"), after: Some(line("old")) },
        LineEdit::Remove { line: line("old") },
    ];
    let kind = StepKind::Edit(EditStep { file: line("/etc/x"), edits, create: false });
    let script =
        script::Script { steps: vec![Step { when: None, users: vec![], kind }], ..minimal() };
    insta::assert_snapshot!(print(&script), @r#"
    format = 1

    [package]
    name = "x"
    version = "1"
    architecture = "any"

    [[step]]
    edit-lines = "/etc/x"
    add = [{ line = "new", after = "old" }]
    remove = ["old"]
    "#);
}
