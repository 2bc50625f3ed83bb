//! `files.meta`.

use proptest::prelude::*;
use script::{parse_files_meta, print_files_meta};

use crate::scripts;

proptest! {
    #[test]
    fn what_is_printed_is_parsed_the_same(entries in scripts::files_meta()) {
        let text = print_files_meta(&entries);
        let read = parse_files_meta(&text).map_err(|problems| TestCaseError::fail(format!("{problems:#?}\n{text}")))?;
        prop_assert_eq!(read, entries, "{}", text);
    }

    #[test]
    fn any_line_is_answered(line: String) {
        let _ = parse_files_meta(&format!("# files.meta 1\n{line}"));
        let _ = parse_files_meta(&format!("# files.meta 1\nfiles/a modified=@0 {line}"));
    }
}

const WHOLE: &str = r#"# files.meta 1
files/dev/null char=1:3 mode=0666 modified=2026-01-31T12:00:00Z
files/opt/redis dir owner=redis group=redis modified=2026-01-31T12:00:00.000000001Z
files/opt/redis/bin/redis-check hardlink=files/opt/redis/bin/redis-server modified=@0
"files/opt/redis/etc/a b.conf" mode=0640 group=redis modified=1970-01-01T00:00:00Z acl=user::rw-,group::r--,other::---
files/opt/redis/lib/libx.so link=libx.so.1 modified=1970-01-01T00:00:00Z
files/opt/redis/sparse modified=1970-01-01T00:00:00Z length=65536 holes=0+4096,8192+4096
files/opt/redis/tool mode=0755 modified=1970-01-01T00:00:00Z xattr:security.capability=\x01\x00\x00\x02 xattr:user.note="a b"
"#;

#[test]
fn a_line_says_only_what_is_unusual() {
    let entries = parse_files_meta(WHOLE).unwrap();
    assert_eq!(print_files_meta(&entries), WHOLE.replace("@0", "1970-01-01T00:00:00Z"));
}

#[test]
fn mistakes_are_named_with_their_line() {
    let check = |line: &str| {
        let problems =
            parse_files_meta(&format!("# files.meta 1\n\n# a comment\n{line}\n")).unwrap_err();
        let said = problems
            .iter()
            .map(|problem| format!("{problem}\n  {}", problem.hint.as_deref().unwrap_or("")));
        said.collect::<Vec<_>>().join("\n")
    };
    insta::assert_snapshot!(check("files/a"), @r"
    files.meta, line 4: `modified` is missing
      add `modified=2026-01-31T12:00:00Z`
    ");
    insta::assert_snapshot!(check("/files/a modified=@0"), @r"
    files.meta, line 4: `/files/a` is no path below the project folder
      write `files/opt/redis/bin`, without `.`, `..` and doubled slashes
    ");
    insta::assert_snapshot!(check("files/a mod=0644 modified=@0"), @r"
    files.meta, line 4: `mod` means nothing here
      did you mean `mode`?
    ");
    insta::assert_snapshot!(check("files/a mode=999 modified=@0"), @r"
    files.meta, line 4: `999` is no mode: three or four octal digits
      like `mode=0755`
    ");
    insta::assert_snapshot!(check("files/a dir fifo modified=@0"), @r"
    files.meta, line 4: it is a folder already
      a line says one of `dir`, `link`, `hardlink`, `fifo`, `socket`, `char`, `block`
    ");
    insta::assert_snapshot!(check("files/a dir length=1 holes=0+1 modified=@0"), @r"
    files.meta, line 4: a folder has no holes
      take `length` and `holes` out
    ");
    insta::assert_snapshot!(check("files/a length=10 holes=4+4,6+1 modified=@0"), @r"
    files.meta, line 4: the hole `6+1` is empty, beyond the end, or not after the one before
      holes are ascending and apart
    ");
    insta::assert_snapshot!(check("files/b modified=@0\nfiles/a modified=@0\nfiles/a modified=@0"), @r"
    files.meta, line 5: `files/a` comes before the line above
      `packhorse script fmt` sorts the lines
    files.meta, line 6: `files/a` is there twice
      keep one line
    ");
    insta::assert_snapshot!(check("\"files/a modified=@0"), @r"
    files.meta, line 4: a quote is never closed
      a quote inside is written `\x22`
    ");
}

#[test]
fn a_newer_files_meta_is_refused() {
    let problems = parse_files_meta("# files.meta 2\nwhat ever\n").unwrap_err();
    assert_eq!(problems.len(), 1);
    insta::assert_snapshot!(problems[0], @"files.meta, line 1: it has format 2, and this packhorse reads format 1");
    insta::assert_snapshot!(parse_files_meta("").unwrap_err()[0], @"files.meta, line 1: it does not say its format");
}
