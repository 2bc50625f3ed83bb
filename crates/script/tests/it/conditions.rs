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
    insta::assert_snapshot!(check("machine.os = 'linux'"), @r"
    unexpected `=`
    [=]
    `==` compares
    ");
    insta::assert_snapshot!(check("'ä' == x && machine.oss == 'linux'"), @r"
    a machine does not say its `oss`
    [machine.oss]
    did you mean `machine.os`?
    ");
    insta::assert_snapshot!(check("version('1') < '2'"), @r#"
    a version is compared with a text
    [<]
    make the text a version: `version("7.2")`
    "#);
    insta::assert_snapshot!(check("machine.release >= '12'"), @r#"
    texts have no order one could rely on: `9` would come after `12`
    [>=]
    compare versions: `version(machine.release) >= version("12")`
    "#);
    insta::assert_snapshot!(check("machine.memory > '1G'"), @r"
    a number is compared with a text
    [>]
    a number has no quotes: `machine.memory >= 2 * 1024 * 1024 * 1024`
    ");
    insta::assert_snapshot!(check("exist('/a')"), @r"
    an installer does not know `exist`
    [exist]
    did you mean `exists`?
    ");
    insta::assert_snapshot!(check("exists('a')"), @r#"
    `a` is no path on the machine
    ['a']
    start it with `/` or a variable: `prefix + "/bin"`
    "#);
    insta::assert_snapshot!(check("exists('${prefix}/a')"), @r#"
    `${prefix}` is not expanded inside a condition
    ['${prefix}/a']
    write `prefix + "…"`; if the text itself is meant, `"$" + "{…"`
    "#);
    insta::assert_snapshot!(check("machine.os"), @r#"
    a text is no yes or no
    [machine.os]
    compare it with something: `machine.os == "linux"`
    "#);
    insta::assert_snapshot!(check("a ? b : c"), @r"
    `… ? … : …` is not supported
    [?]
    write two steps, each with its own condition
    ");
    insta::assert_snapshot!(check("'a'.startsWith('b')"), @r"
    an installer does not know `.startsWith(…)`
    [.startsWith]
    a condition compares `machine.os`, `machine.arch`, `machine.distribution`, `machine.release`, `machine.kernel`, `machine.memory`, `machine.hostname`, variables, `version(…)`, `installed(…)`, `system_package(…)`, `free(…)`, and asks `exists(…)`, `user_exists(…)`, joined by `&&`, `||`, `!`, `in`
    ");
    insta::assert_snapshot!(check("free('/') > 9223372036854775807 + 1"), @r"
    the number has no value in 64 bits
    [+]
    sizes are in bytes, at most 9223372036854775807
    ");
    insta::assert_snapshot!(check("free('/') > 1 / 0"), @r"
    the number has no value in 64 bits
    [/]
    sizes are in bytes, at most 9223372036854775807
    ");
    insta::assert_snapshot!(check("free('/') > 1.5"), @r"
    a fraction
    [1.5]
    numbers are whole; sizes are in bytes: `500 * 1024 * 1024`
    ");
    insta::assert_snapshot!(check("free('/') + 1 > 2"), @r"
    an installer does not calculate with what a machine says
    [free]
    calculate on the other side: `machine.memory >= 2 * 1024 * 1024 * 1024`
    ");
    insta::assert_snapshot!(check("x in []"), @r"
    nothing is in an empty list
    [in]
    write `false` if that is meant
    ");
    insta::assert_snapshot!(check("(a == 'b') == true"), @r"
    a comparison cannot be compared
    [==]
    join it with `&&` or `||`
    ");
    insta::assert_snapshot!(check(" "), @r#"
    an empty condition
    [ ]
    leave it out, or write `machine.os == "linux"`
    "#);
}

/// Long and deep conditions are read or refused, never a crash.
#[test]
fn depth_is_no_danger() {
    for count in [90, 900, 9_000] {
        for text in [
            format!("machine.memory > {}1", "1+".repeat(count)),
            format!("machine.memory > {}1", "1*".repeat(count)),
            format!("machine.memory > {}1", "-".repeat(count)),
            format!("machine.memory > {}1{}", "(".repeat(count), ")".repeat(count)),
            format!("{}true", "!".repeat(count)),
            format!("x{}", ".a".repeat(count)),
            format!("x{}", "[0]".repeat(count)),
            format!("true{}", "&&true".repeat(count)),
            format!("a == b{}", "==b".repeat(count)),
            format!("{}a", "a?a:".repeat(count)),
            format!("x in {}{}", "[".repeat(count), "]".repeat(count)),
            format!("x in {}{}", "{".repeat(count), "}".repeat(count)),
            format!("{}1{}", "version(".repeat(count), ")".repeat(count)),
        ] {
            let _ = parse_condition(&text);
        }
    }
    let listed = format!("x in [{}'']", "'a', ".repeat(20_000));
    assert!(parse_condition(&listed).is_ok(), "a long list is no depth");
    insta::assert_snapshot!(parse_condition(&"1+".repeat(2_000)).unwrap_err(), @"a condition of 2000 operators; at most 1000 are read");
}
