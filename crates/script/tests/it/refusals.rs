//! Every mistake is an error with a place, a reason and something to type.

use script::{Problem, parse};

const HEAD: &str = "format = 1\n[package]\nname = \"x\"\nversion = \"1\"\narchitecture = \"any\"\n";

fn refuse(text: &str) -> Vec<Problem> {
    match parse(text) {
        Ok(_) => panic!("this should have been refused:\n{text}"),
        Err(problems) => problems,
    }
}

/// All problems of a script, with line, column, what is pointed at, and the hint.
fn check(text: &str) -> String {
    let problems = refuse(text);
    let said = problems.iter().map(|problem| {
        let position = problem.position.as_ref().unwrap();
        let pointed = text[position.span.clone()].lines().next().unwrap_or_default();
        format!(
            "{}:{} [{pointed}] {problem}\n  {}",
            position.line,
            position.column,
            problem.hint.as_deref().unwrap_or("-")
        )
    });
    said.collect::<Vec<_>>().join("\n")
}

fn step(text: &str) -> String {
    check(&format!("{HEAD}[[step]]\n{text}"))
}

/// A script of a newer format names both formats and what is unknown, and nothing else happens (Q198900).
#[test]
fn q198900_a_newer_script_is_refused_by_name() {
    let newer = "format = 2\n[package]\nname = \"x\"\nlicence = \"MIT\"\n[[step]]\ninstall-font = \"a.ttf\"\n\
                 [[step]]\nservice = \"a.service\"\nrestart = \"always\"\n[[step]]\nwhen = 'x'\nplay = 1\n[future]\n";
    let problems = refuse(newer);
    assert_eq!(problems.len(), 1);
    insta::assert_snapshot!(problems[0], @"the script has format 2, and this packhorse reads format 1; it does not know `future`, `[package]`: `licence`, step 1: `install-font`, step 2 (`service`): `restart`, step 3: `play`");
    insta::assert_snapshot!(problems[0].hint.as_ref().unwrap(), @"open it with a newer packhorse; the file stays as it is");
    insta::assert_snapshot!(check("[package]\n"), @r"
    1:1 [] the script, `format`: the script does not say its format
      write `format = 1` at the top
    ");
    insta::assert_snapshot!(check("format = \"1\"\n"), @r#"
    1:10 ["1"] the script, `format`: no such format
      write `format = 1`
    "#);
    insta::assert_snapshot!(check("format = 0\n"), @r"
    1:10 [0] the script, `format`: no such format
      write `format = 1`
    ");
}

/// For each step kind, settings that are invalid (Q192663): a key it has not, each required key
/// missing, each key with a value of the wrong kind, and each text blank.
#[test]
fn q192663_every_invalid_setting_is_an_error() {
    use script::vocabulary::{KINDS, Shape};
    for kind in KINDS {
        let example = example(kind.name);
        let lines: Vec<&str> = example.lines().collect();
        let script = |lines: &[String]| format!("{HEAD}[[step]]\n{}\n", lines.join("\n"));
        let owned =
            |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        assert!(
            parse(&script(&owned(&lines))).is_ok(),
            "{example}: {:?}",
            parse(&script(&owned(&lines)))
        );

        let mut unknown = owned(&lines);
        unknown.push("colour = \"red\"".to_owned());
        assert!(refuse(&script(&unknown))[0].to_string().contains("`colour`"), "{}", kind.name);

        for key in kind.keys {
            let position =
                lines.iter().position(|line| line.starts_with(&format!("{} =", key.name)));
            let position =
                position.unwrap_or_else(|| panic!("{} shows no {}", kind.name, key.name));
            let with = |line: String| {
                let mut changed = owned(&lines);
                changed[position] = line;
                script(&changed)
            };
            let names = |text: &str| {
                let said = refuse(text);
                assert!(
                    said.iter().any(|problem| problem.to_string().contains(kind.name)
                        && (problem.to_string().contains(key.name)
                            || problem.place.key.as_deref() == Some(key.name))),
                    "{} {}: {said:#?}",
                    kind.name,
                    key.name
                );
                assert!(
                    said.iter().all(|problem| problem.hint.is_some() && problem.position.is_some()),
                    "{said:#?}"
                );
            };
            if key.required && key.name != kind.name {
                names(&with(String::new()));
            }
            names(&with(format!("{} = 2026-01-01", key.name)));
            names(&with(format!("{} = [[1.5]]", key.name)));
            let free = matches!(key.shape, Shape::Text | Shape::Template);
            if !free {
                names(&with(format!("{} = \"\"", key.name)));
                names(&with(format!("{} = \"\\u0000\"", key.name)));
            }
        }
    }
}

/// A step of each kind that has every key.
fn example(kind: &str) -> &'static str {
    const META: &str = "owner = \"a\"\ngroup = \"b\"\nmodified = \"2026-01-31T12:00:00Z\"\nxattrs = { \"user.a\" = \"b\" }";
    match kind {
        "install-tree" => {
            "install-tree = \"files/a\"\nto = \"/a\"\nreplace = \"always\"\nversion = \"1\"\nreplace-text = [{ files = [\"*\"], text = \"a\", with = \"b\" }]\nexcept = [\"b\"]"
        }
        "install-file" => {
            "install-file = \"files/a\"\nto = \"/a\"\nreplace = \"never\"\nversion = \"1\"\nreplace-text = []"
        }
        "create-directory" => concat!(
            "create-directory = \"/a\"\nreplace = \"newer\"\nversion = \"1\"\nmode = \"0700\"\nacl = \"user::rw-\"\ndefault-acl = \"user::rw-\"\n",
            "owner = \"a\"\ngroup = \"b\"\nmodified = \"2026-01-31T12:00:00Z\"\nxattrs = { \"user.a\" = \"b\" }"
        ),
        "create-link" => concat!(
            "create-link = \"/a\"\ntarget = \"b\"\nreplace = \"newer\"\nversion = \"1\"\n",
            "owner = \"a\"\ngroup = \"b\"\nmodified = \"2026-01-31T12:00:00Z\"\nxattrs = { \"user.a\" = \"b\" }"
        ),
        "create-shortcut" => {
            "create-shortcut = \"/a.lnk\"\ntarget = \"b\"\narguments = \"c\"\nfolder = \"d\"\nicon = \"e\"\nicon-index = -1\ndescription = \"f\"\nwindow = \"minimized\"\nhotkey = 7\nto-folder = false\nas-administrator = true\nreplace = \"newer\"\nversion = \"1\"\nmodified = \"2026-01-31T12:00:00Z\"\nxattrs = { \"user.a\" = \"b\" }"
        }
        "remove" => "remove = \"/a\"",
        "set-metadata" => concat!(
            "set-metadata = \"/a\"\nmode = \"0700\"\nacl = \"user::rw-\"\ndefault-acl = \"user::rw-\"\n",
            "owner = \"a\"\ngroup = \"b\"\nmodified = \"2026-01-31T12:00:00Z\"\nxattrs = { \"user.a\" = \"b\" }"
        ),
        "edit-lines" => "edit-lines = \"/a\"\nadd = [\"a\"]\nremove = [\"b\"]\ncreate = true",
        "edit-ini" => {
            "edit-ini = \"/a\"\nset = { s = { k = \"v\" } }\nunset = { s = [\"k\"] }\ncreate = true"
        }
        "edit-assignments" => {
            "edit-assignments = \"/a\"\nset = { k = \"v\" }\nunset = [\"k\"]\ncreate = false"
        }
        "edit-path-list" => {
            "edit-path-list = \"/a\"\nkey = \"PATH\"\nadd = [\"/b\"]\nfirst = true\ncreate = true"
        }
        "create-group" => "create-group = \"a\"\nsystem = true\nid = 7",
        "create-user" => {
            "create-user = \"a\"\nsystem = true\nid = 7\ngroup = \"b\"\nhome = \"/a\"\nshell = \"/b\"\ncomment = \"c\""
        }
        "add-to-group" => "add-to-group = \"a\"\nuser = \"b\"",
        "service" => "service = \"a.service\"\nstart = \"manual\"\nnow = true",
        "edit-registry" => {
            "edit-registry = 'HKLM\\SOFTWARE\\X'\nvalues = { a = \"b\", c = { dword = 3 }, d = { type = 0x20001, data = \"00ff\" } }\nremove-key = false"
        }
        "create-service" => {
            "create-service = \"a\"\nprogram = 'C:\\a.exe'\nkind = \"own\"\nstart = \"manual\"\ndisplay-name = \"A\"\ndescription = \"b\"\naccount = \"c\"\ndependencies = [\"d\"]\nnow = false\nrecovery = [\"restart 60s\", \"run\"]\nrecovery-reset = \"24h\"\nrecovery-command = 'C:\\b.exe'\nrecovery-message = \"m\"\nrecovery-from-errors = true"
        }
        "create-task" => "create-task = '\\A\\B'\ndefinition = '<Task/>'",
        "register-library" => "register-library = '${system}\\a.dll'\noptional = true",
        "alternative" => {
            "alternative = \"a\"\nlink = \"/a\"\npath = \"/b\"\npriority = -5\nfollowers = [{ name = \"a\", link = \"/a\", path = \"/b\" }]"
        }
        "trigger" => "trigger = \"ldconfig\"",
        "run" => {
            "run = [\"/a\"]\nat = \"install\"\nundo = \"outputs\"\nlimit = \"5s\"\nwait = false\nexit-codes = { 3 = \"retry\" }\noutputs = [\"/a\"]"
        }
        other => panic!("{other} has no example: {META}"),
    }
}

/// An empty variable name, in any place a variable may stand, is an error that names the step (Q321280).
#[test]
fn q321280_empty_variable_names_name_their_step() {
    let places = [
        "install-tree = \"files/a\"\nto = \"@\"",
        "install-file = \"files/a\"\nto = \"/a@\"",
        "install-tree = \"files/a\"\nto = \"/\"\nreplace-text = [{ files = [\"*\"], text = \"a\", with = \"@\" }]",
        "create-directory = \"/@\"",
        "create-link = \"/@\"\ntarget = \"a\"",
        "create-link = \"/a\"\ntarget = \"@\"",
        "remove = \"/@\"",
        "set-metadata = \"/@\"\nmode = \"0644\"\nmodified = \"@0\"",
        "edit-lines = \"/@\"\nadd = [\"a\"]",
        "edit-lines = \"/a\"\nadd = [\"a@\"]",
        "edit-lines = \"/a\"\nadd = [{ line = \"@\" }]",
        "edit-lines = \"/a\"\nadd = [{ line = \"a\", after = \"@\" }]",
        "edit-lines = \"/a\"\nremove = [\"@\"]",
        "edit-ini = \"/a\"\nset = { \"@\" = { a = \"b\" } }",
        "edit-ini = \"/a\"\nset = { a = { \"@\" = \"b\" } }",
        "edit-ini = \"/a\"\nset = { a = { b = \"@\" } }",
        "edit-ini = \"/a\"\nunset = { \"@\" = [\"a\"] }",
        "edit-ini = \"/a\"\nunset = { a = [\"@\"] }",
        "edit-assignments = \"/a\"\nset = { \"@\" = \"b\" }",
        "edit-assignments = \"/a\"\nset = { a = \"@\" }",
        "edit-assignments = \"/a\"\nunset = [\"@\"]",
        "edit-path-list = \"/a\"\nkey = \"@\"\nadd = [\"/a\"]",
        "edit-path-list = \"/a\"\nkey = \"PATH\"\nadd = [\"@\"]",
        "create-user = \"a\"\nhome = \"/@\"",
        "create-user = \"a\"\nshell = \"/@\"",
        "alternative = \"a\"\nlink = \"/@\"\npath = \"/a\"\npriority = 1",
        "alternative = \"a\"\nlink = \"/a\"\npath = \"/@\"\npriority = 1",
        "alternative = \"a\"\nlink = \"/a\"\npath = \"/a\"\npriority = 1\nfollowers = [{ name = \"a\", link = \"/@\", path = \"/a\" }]",
        "run = [\"@\"]\nundo = \"irreversible\"",
        "run = [\"/a\", \"@\"]\nundo = \"irreversible\"",
        "run = [\"/a\"]\nundo = [\"/a\", \"@\"]",
        "run = [\"/a\"]\nundo = \"outputs\"\noutputs = [\"/@\"]",
        "trigger = \"ldconfig\"\nwhen = 'exists(variable(\"\"))'",
    ];
    for place in places {
        for bad in ["${}", "${ }", "${a b}", "${", "$x", "${1}"] {
            let filled = place.replace('@', bad);
            let text = format!("{HEAD}[[step]]\ntrigger = \"ldconfig\"\n[[step]]\n{filled}\n");
            let problems = refuse(&text);
            assert!(problems[0].to_string().starts_with("step 2 ("), "{filled}: {problems:?}");
        }
    }
}

/// Percent signs and other systems' variables are text (Q321280).
#[test]
fn q321280_percent_signs_stay() {
    let text = format!(
        "{HEAD}[[step]]\nedit-lines = \"/a\"\nadd = [\"%1\", \"100%%\", \"%PATH%\", \"$$HOME\"]\n"
    );
    let script = parse(&text).unwrap();
    let script::StepKind::Edit(edit) = &script.steps[0].kind else { panic!("an edit") };
    let lines: Vec<Vec<u8>> = edit
        .edits
        .iter()
        .map(|edit| match edit {
            model::LineEdit::Add { line, .. } => line.expand(|_| None).unwrap(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(lines, [&b"%1"[..], b"100%%", b"%PATH%", b"$HOME"]);
    assert_eq!(parse(&script::print(&script)).unwrap(), script);
}

#[test]
fn mistakes_point_at_their_place() {
    insta::assert_snapshot!(check("format = 1\n[package\n"), @r"
    2:9 [] unclosed table, expected `]`
      -
    ");
    insta::assert_snapshot!(check("format = 1\n[package]\nname = \"Redis\"\nversion = \"\"\n[step]\n"), @r#"
    2:2 [package] `[package]`: `architecture` is missing
      add `architecture = "name"`: `any`, `x86-64`, `arm64`
    3:8 ["Redis"] `[package]`, `name`: `Redis` is no package name: use lower-case letters, digits, `+`, `-`, `.`, `_`, and start with a letter or digit
      lower-case letters, digits, `+`, `-`, `.`, `_`
    4:11 [""] `[package]`, `version`: it must be a text that is not empty, not an empty one
      write `version = "name"`
    5:1 [[step]] the script, `step`: steps are tables in a list
      write `[[step]]` with two brackets on each side
    "#);
    insta::assert_snapshot!(check(&format!("{HEAD}[variable]\n[variables]\n1x = {{}}\nmachine = {{}}\nprefix = \"/opt\"\na = {{ defualt = \"\" }}\n")), @r#"
    6:2 [variable] `variable` means nothing here
      did you mean `variables`?
    8:1 [1x] variable `1x`: `1x` is no variable name
      use letters, digits, `-`, `_`, `.`, and start with a letter
    9:1 [machine] variable `machine`: `machine` is given by every machine and installer
      take another name
    10:1 [prefix] variable `prefix`: a variable is a table
      write `prefix = { default = "/opt" }`
    11:7 [defualt] variable `a`: it has no key `defualt`
      did you mean `default`?
    "#);
    insta::assert_snapshot!(step("instal-tree = \"files/a\"\nto = \"/a\""), @r"
    7:1 [instal-tree] step 1: `instal-tree` is no step
      did you mean `install-tree`?
    ");
    insta::assert_snapshot!(step("to = \"/a\"\ninstall-tree = \"files/a\""), @r"
    7:1 [to] step 1: `to` is no step
      the first key names what a step does: write `install-tree = …` before `to`
    ");
    insta::assert_snapshot!(step("when = 'true'"), @r#"
    6:1 [[[step]]] step 1: it does nothing
      its first key names what it does: `install-tree = "files/opt/redis"`
    "#);
    insta::assert_snapshot!(step("install-tree = \"../a\"\nto = \"opt\"\nreplace = \"alwys\"\nexcept = [\"a[\"]"), @r#"
    7:16 ["../a"] step 1 (`install-tree`): it has a part that is empty, `.` or `..`
      write `install-tree = "files/…"`
    8:6 ["opt"] step 1 (`install-tree`), `to`: `opt` starts with neither `/` nor a variable
      a path on the machine, `/opt/redis` or `${prefix}/bin`
    9:11 ["alwys"] step 1 (`install-tree`), `replace`: `alwys` means nothing here
      did you mean `always`?
    10:11 ["a["] step 1 (`install-tree`), `except`: `a[` is no pattern: unclosed character class; missing ']'
      `*` is any text, `**` any folders; a bracket itself is `[[]`
    "#);
    insta::assert_snapshot!(step("remove = \"/a/../b\""), @r#"
    7:10 ["/a/../b"] step 1 (`remove`): `/a/../b` climbs with `..`
      a path on the machine, `/opt/redis` or `${prefix}/bin`
    "#);
    insta::assert_snapshot!(step("create-directory = \"/a\"\nmode = 755"), @r#"
    8:8 [755] step 1 (`create-directory`), `mode`: a mode is a text
      write `mode = "0755"`
    "#);
    insta::assert_snapshot!(step("edit-lines = \"/etc/hosts\""), @r#"
    7:14 ["/etc/hosts"] step 1 (`edit-lines`): it changes nothing
      say what: `add = ["…"]` or `remove = ["…"]`
    "#);
    insta::assert_snapshot!(step("edit-lines = \"/etc/hosts\"\nremove = [\"a\\nb\"]"), @r#"
    8:10 [["a\nb"]] step 1 (`edit-lines`), `remove`: a line holds no zero byte, and a line to remove no line end
      give each line its own text
    "#);
    insta::assert_snapshot!(step("edit-assignments = \"/a\"\nset = { A = 1 }"), @r#"
    8:13 [1] step 1 (`edit-assignments`), `set`: `A` must be a text, not a number
      write `A = "…"`
    "#);
    insta::assert_snapshot!(step("service = \"redis\"\nstart = \"auto\""), @r#"
    7:11 ["redis"] step 1 (`service`): `redis` is no unit's full name: `.service`, `.socket`, `.timer`, `.path`, `.target`, `.mount`, `.automount`, `.swap` or `.slice`
      the unit's full name, `redis.service`
    8:9 ["auto"] step 1 (`service`), `start`: `auto` means nothing here
      did you mean `automatic`?
    "#);
    insta::assert_snapshot!(step("trigger = \"ld-config\""), @r#"
    7:11 ["ld-config"] step 1 (`trigger`): `ld-config` is no trigger
      did you mean `ldconfig`?
    "#);
    insta::assert_snapshot!(step("run = \"make install\"\nundo = \"output\"\nlimit = \"10\""), @r#"
    7:7 ["make install"] step 1 (`run`): a command is a list, not a text
      no shell reads it: write `run = ["make", "install"]`, or `["/bin/sh", "-c", …]` if a shell is meant
    8:8 ["output"] step 1 (`run`), `undo`: `output` undoes nothing
      did you mean `outputs`?
    9:9 ["10"] step 1 (`run`), `limit`: `10` has no unit: `s`, `min` or `h`
      like `limit = "10min"`
    "#);
    insta::assert_snapshot!(step("run = [\"/bin/true\"]\nundo = \"outputs\"\nexit-codes = { x = \"done\", 1 = \"fine\" }"), @r#"
    8:8 ["outputs"] step 1 (`run`), `undo`: it does not say which outputs are put back
      add `outputs = ["/var/lib/redis"]`, or `outputs = []` where the command changes nothing
    9:20 ["done"] step 1 (`run`), `exit-codes`: `x` is no exit code
      a whole number
    9:32 ["fine"] step 1 (`run`), `exit-codes`: `fine` is no meaning
      it may be `done`, `restart`, `retry` or `failed`
    "#);
    insta::assert_snapshot!(step("run = [\"/bin/true\"]"), @r#"
    6:1 [[[step]]] step 1 (`run`): `undo` is missing
      add `undo = "outputs"` (what `outputs` names is put back), `undo = ["command", …]` or `undo = "irreversible"`: how it is undone
    "#);
}

/// A condition's mistake is pointed at inside the text, however the text is quoted.
#[test]
fn conditions_are_pointed_into() {
    insta::assert_snapshot!(step("trigger = \"ldconfig\"\nwhen = 'machine.os == \"linux\" && exist(\"/a\")'"), @r"
    8:34 [exist] step 1 (`trigger`), `when`: an installer does not know `exist`
      did you mean `exists`?
    ");
    insta::assert_snapshot!(step("trigger = \"ldconfig\"\nwhen = \"machine.os == \\\"l\\u00EFnux\\\" && exist(\\\"/a\\\")\""), @r"
    8:41 [exist] step 1 (`trigger`), `when`: an installer does not know `exist`
      did you mean `exists`?
    ");
    insta::assert_snapshot!(step("trigger = \"ldconfig\"\nwhen = '''\nmachine.os == \"linux\"\n  && machine.memry > 5'''"), @r"
    10:6 [machine.memry] step 1 (`trigger`), `when`: a machine does not say its `memry`
      did you mean `machine.memory`?
    ");
    insta::assert_snapshot!(step("trigger = \"ldconfig\"\nwhen = 'true &&'"), @r"
    8:16 ['] step 1 (`trigger`), `when`: unexpected end
      a condition compares `machine.os`, `machine.arch`, `machine.distribution`, `machine.release`, `machine.kernel`, `machine.memory`, `machine.hostname`, variables, `version(…)`, `installed(…)`, `system_package(…)`, `free(…)`, and asks `exists(…)`, `user_exists(…)`, joined by `&&`, `||`, `!`, `in`
    ");
    insta::assert_snapshot!(step("create-link = \"/a\"\ntarget = \"\\t${x} $y\""), @r"
    8:18 [$y] step 1 (`create-link`), `target`: a single `$` at character 6: write `$$` for a dollar sign, `${name}` for a variable
      `$$` is a dollar sign, `${name}` a variable
    ");
}
