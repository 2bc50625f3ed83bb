//! CEL and the closed form.

use proptest::prelude::*;
use script::{parse_condition, print_condition};

use crate::scripts;

proptest! {
    #[test]
    fn what_is_printed_is_parsed_the_same(condition in scripts::condition()) {
        let text = print_condition(&condition);
        let read = parse_condition(&text).map_err(|error| TestCaseError::fail(format!("{error:?}\n{text}")))?;
        prop_assert_eq!(read, condition, "{}", text);
    }

    #[test]
    fn any_expression_is_answered(words in proptest::collection::vec(word(), 0..12)) {
        let _ = parse_condition(&words.concat());
    }
}

fn word() -> impl Strategy<Value = String> {
    proptest::sample::select(vec![
        "machine",
        ".os",
        "x",
        "\"t\"",
        "'",
        "\"",
        "b\"\\xff\"",
        "1",
        "2u",
        "1.5",
        " + ",
        " - ",
        " * ",
        " / ",
        " % ",
        "-",
        " == ",
        " < ",
        " in ",
        "[",
        "]",
        "(",
        ")",
        " && ",
        " || ",
        "!",
        " ? ",
        " : ",
        "exists",
        "version",
        "file",
        "free",
        "installed",
        ",",
        "{",
        "}",
        "null",
        "true",
        "has(x.y)",
        "x.all(y, y)",
        "`",
        "ä",
        "🦀",
        "\\",
        "//",
        "\n",
        "$",
    ])
    .prop_map(str::to_owned)
}

#[test]
fn conditions_print_as_people_write_them() {
    for text in [
        "machine.os == \"windows\"",
        "version(file(prefix + \"/bin/redis-server\")) >= version(\"7.2.4\")",
        "machine.distribution in [\"debian\", \"ubuntu\"] && version(machine.release) >= version(\"12\")",
        "!exists(\"/etc/redis\") || (free(\"/opt\") >= 524288000 && machine.memory > 1073741824)",
        "installed(\"redis\") && !system_package(\"redis-server\")",
        "!(machine.arch == \"x86_64\")",
        "variable(\"my-var\") != \"a\\\"b\"",
    ] {
        assert_eq!(print_condition(&parse_condition(text).unwrap()), text);
    }
}

#[test]
fn constants_are_folded() {
    let check = |text: &str| print_condition(&parse_condition(text).unwrap());
    insta::assert_snapshot!(check("free('/opt') >= 500 * 1024 * 1024"), @r#"free("/opt") >= 524288000"#);
    insta::assert_snapshot!(check("machine.memory > -(7 - 10) + 8 / 2 % 3"), @"machine.memory > 4");
    insta::assert_snapshot!(check("a == 'x' + 'y' + b"), @r#"a == "xy" + b"#);
    insta::assert_snapshot!(check("machine.os in ['linux']"), @r#"machine.os == "linux""#);
    insta::assert_snapshot!(check("exists(machine.hostname + '/x' + (a + '/b'))"), @r#"exists(machine.hostname + "/x" + a + "/b")"#);
}

#[test]
fn mistakes_point_into_the_text() {
    let check = |text: &str| {
        let error = parse_condition(text).unwrap_err();
        format!("{}\n[{}]\n{}", error.message, &text[error.span.clone()], error.hint)
    };
    insta::assert_snapshot!(check("machine.os = 'linux'"));
    insta::assert_snapshot!(check("'ä' == x && machine.oss == 'linux'"));
    insta::assert_snapshot!(check("version('1') < '2'"));
    insta::assert_snapshot!(check("machine.release >= '12'"));
    insta::assert_snapshot!(check("machine.memory > '1G'"));
    insta::assert_snapshot!(check("exist('/a')"));
    insta::assert_snapshot!(check("exists('a')"));
    insta::assert_snapshot!(check("exists('${prefix}/a')"));
    insta::assert_snapshot!(check("machine.os"));
    insta::assert_snapshot!(check("a ? b : c"));
    insta::assert_snapshot!(check("'a'.startsWith('b')"));
    insta::assert_snapshot!(check("free('/') > 9223372036854775807 + 1"));
    insta::assert_snapshot!(check("free('/') > 1 / 0"));
    insta::assert_snapshot!(check("free('/') > 1.5"));
    insta::assert_snapshot!(check("free('/') + 1 > 2"));
    insta::assert_snapshot!(check("x in []"));
    insta::assert_snapshot!(check("(a == 'b') == true"));
    insta::assert_snapshot!(check(" "));
}

/// Long and deep conditions are read or refused, never a crash.
#[test]
fn depth_is_no_danger() {
    for text in [
        format!("machine.memory > {}1", "1+".repeat(8_000)),
        format!("machine.memory > {}1{}", "(".repeat(8_000), ")".repeat(8_000)),
        format!("{}true", "!".repeat(16_000)),
        format!("x{}", ".a".repeat(8_000)),
        format!("true{}", "&&true".repeat(2_700)),
        format!("a == b{}", "==b".repeat(5_000)),
        format!("x in {}{}", "[".repeat(8_000), "]".repeat(8_000)),
        format!("machine.memory > {}1", "-".repeat(16_000)),
        format!("machine.memory > {}1", "1*".repeat(8_000)),
    ] {
        eprintln!("{} {}", &text[..30.min(text.len())], parse_condition(&text).is_ok());
    }
    assert!(parse_condition(&"x".repeat(20_000)).is_err());
}
