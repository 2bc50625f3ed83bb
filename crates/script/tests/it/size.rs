//! No fixed limits.

use std::fmt::Write as _;

use script::{Payload, PayloadKind, check, explain, format, parse, print};

/// 20,000 steps of all sorts, each with its own condition, and 10 MB.
#[test]
fn twenty_thousand_steps_are_read_checked_and_laid_out() {
    let pad = "x".repeat(230);
    let mut text = String::from(
        "format = 1\n\n[package]\nname = \"big\"\nversion = \"1\"\narchitecture = \"any\"\n\n[variables]\nprefix = { default = \"/opt/big\" }\n",
    );
    let mut payload = Payload::default();
    for number in 0..20_000 {
        let _ = write!(
            text,
            "\n# {pad}\n[[step]]\nwhen = 'machine.os == \"linux\" && version(file(prefix + \"/{number}\")) >= version(\"{number}\")'\n"
        );
        let _ = match number % 5 {
            0 => writeln!(text, "install-file = \"files/{number}\"\nto = \"${{prefix}}/{number}\""),
            1 => writeln!(
                text,
                "edit-lines = \"/etc/{number}\"\nadd = [\n    \"{pad}\",\n    \"b\",\n]"
            ),
            2 => {
                writeln!(text, "create-directory = \"${{prefix}}/{pad}/{number}\"\nmode = \"0750\"")
            }
            3 => writeln!(text, "remove = \"/etc/{pad}/{number}\""),
            _ => writeln!(text, "edit-assignments = \"/etc/{number}\"\nset = {{ A = \"{pad}\" }}"),
        };
        payload.insert(format!("files/{number}").into_bytes(), PayloadKind::File);
    }
    assert!(text.len() >= 10_000_000, "{}", text.len());

    let script = parse(&text).unwrap();
    assert_eq!(script.steps.len(), 20_000);
    assert!(format(&text).unwrap() == text, "it is laid out already");
    let problems = check(&script, &payload);
    // The files no step installs, and the detection nobody wrote.
    assert_eq!(problems.len(), 2, "{:?}", &problems[..3]);
    assert!(explain(&script).lines().count() > 20_000);
    assert!(parse(&print(&script)).unwrap() == script, "it comes back");
}
