//! Laying out keeps meaning, order and comments.

use proptest::{collection::vec, prelude::*, sample::select};
use script::{Comments, format, parse, print, print_with_comments};

use crate::scripts;

/// What stands around the lines of a messy script.
fn mess() -> impl Strategy<Value = Vec<(&'static str, usize, &'static str)>> {
    let before =
        select(vec!["", "", "\n", "\n\n\n", "# über\n", "\n# one\n\n#two\n", "   \n\t# x\n"]);
    let beside = select(vec!["", "", "  ", " # beside", "# tight", "\t#", "\r"]);
    vec((before, 0..5_usize, beside), 1..40)
}

proptest! {
    #[test]
    fn what_is_printed_is_laid_out(script in scripts::script()) {
        let text = print(&script);
        prop_assert_eq!(format(&text).unwrap(), text);
    }

    #[test]
    fn comments_are_printed_laid_out(script in scripts::script(), head: String, above in scripts::text(), at in 0..6_usize) {
        let comments = Comments { head, steps: [(at, above)].into() };
        let text = print_with_comments(&script, &comments);
        prop_assert_eq!(parse(&text).unwrap(), script, "{}", text);
        prop_assert_eq!(format(&text).unwrap(), text);
    }

    #[test]
    fn meaning_and_comments_stay(script in scripts::script(), mess in mess()) {
        let clean = print(&script);
        let mut text = String::new();
        let mut within_text = false;
        for (line, (before, indent, beside)) in clean.lines().zip(mess.iter().cycle()) {
            // The lines of a text are what it says.
            let begins = !within_text && line.ends_with("= '''");
            if within_text || begins {
                within_text = begins || !line.ends_with("'''");
                text.push_str(line);
                text.push('\n');
                continue;
            }
            text.push_str(before);
            text.push_str(&" ".repeat(*indent));
            text.push_str(line);
            text.push_str(beside);
            text.push('\n');
        }
        let laid_out = format(&text).map_err(|problems| TestCaseError::fail(format!("{problems:?}\n{text}")))?;
        prop_assert_eq!(parse(&laid_out).unwrap(), script, "{}", laid_out);
        let again = format(&laid_out).unwrap();
        prop_assert_eq!(again, laid_out.clone(), "{}", text);
        let count = |text: &str, comment: &str| text.matches(comment).count();
        for comment in ["# über", "# one", "#two", "# x", "# beside", "# tight"] {
            prop_assert_eq!(count(&laid_out, comment), count(&text, comment), "{}", laid_out);
        }
    }

    #[test]
    fn any_text_is_answered(text: String) {
        let _ = format(&text);
        if let Ok(laid_out) = format(&format!("format = 1\n{text}")) {
            prop_assert_eq!(format(&laid_out).unwrap(), laid_out);
        }
    }
}

const MESSY: &str = r#"# about redis
format=1   # the first


[ package ]

name   = 'redis'# its name
version="7.2.4"
architecture = "x86-64"
# nothing
# more

# what it needs
[variables]
prefix = {default="/opt/redis",   prompt = "Install to"}
"odd . name".x = { } # of no meaning
[[step]]
install-tree = "files/opt/redis"
to="${prefix}"

# the configuration
replace-text = [
  # in all of it
  { files = ["etc/*.conf"], text = "/opt/redis", with = "${prefix}", } , # here
  { files = [ "a" , 'b' ], text = """
/opt/redis""", with = "" } # there
  # no more
]
[[step]]
edit-lines = "/etc/sysctl.d/99-redis.conf"
add = ["vm.overcommit_memory = 1",
]
remove = ["a line that is long, so that both together", "do not fit on one line of a hundred characters"]
# the end
"#;

#[test]
fn a_messy_script_is_laid_out() {
    insta::assert_snapshot!(format(MESSY).unwrap(), @r#"
    # about redis
    format = 1 # the first

    [package]
    name = 'redis' # its name
    version = "7.2.4"
    architecture = "x86-64"
    # nothing
    # more

    # what it needs
    [variables]
    prefix = { default = "/opt/redis", prompt = "Install to" }
    "odd . name".x = {} # of no meaning

    [[step]]
    install-tree = "files/opt/redis"
    to = "${prefix}"

    # the configuration
    replace-text = [
        # in all of it
        { files = ["etc/*.conf"], text = "/opt/redis", with = "${prefix}" }, # here
        { files = ["a", 'b'], text = """
    /opt/redis""", with = "" }, # there
        # no more
    ]

    [[step]]
    edit-lines = "/etc/sysctl.d/99-redis.conf"
    add = ["vm.overcommit_memory = 1"]
    remove = [
        "a line that is long, so that both together",
        "do not fit on one line of a hundred characters",
    ]
    # the end
    "#);
}

/// Opening and saving a hundred times changes nothing (Q198720).
#[test]
fn q198720_a_hundred_saves_are_one() {
    let once = format(MESSY).unwrap();
    let mut text = once.clone();
    for _ in 0..100 {
        text = format(&text).unwrap();
    }
    assert_eq!(text, once);
}

#[test]
fn what_is_no_script_of_ours_stays_untouched() {
    insta::assert_snapshot!(format("format = 2\n").unwrap_err()[0], @"the script has format 2, and this packhorse reads format 1");
    insta::assert_snapshot!(format("format = \n").unwrap_err()[0], @"string values must be quoted, expected literal string");
}
