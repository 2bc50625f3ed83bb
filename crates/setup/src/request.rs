//! The command line as a value.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    path::PathBuf,
};

use lexopt::{Arg, Parser};

/// What `--help` says.
pub(crate) const HELP: &str = "\
Installs the software in this file.

Usage: ./NAME.run [SWITCHES] [-- ARGUMENTS]

  --silent             never ask, say nothing but errors           (also /S)
  --dry-run            say what would change, change nothing       (also /T)
  --explain            say in sentences what the package does
  --root DIR           install into the machine whose root DIR is
  --set NAME=VALUE     give a variable of the package a value    (also /DNAME=VALUE, /D=PREFIX)
  --extract DIR        write the package's files to DIR, nothing else (also /X:DIR)
  --uninstall          take the software off again
  --rollback           go back to what was before the last install
  --log FILE           append what happens to FILE              (also /L:FILE)
  --json               answer in JSON
  --help               this text                                   (also /?)

Switches may come in any order. What follows `--` is handed to the package's programs as `${installer.arguments}`.

Example: ./redis-7.2.4.run --silent --set prefix=/srv/redis --log /var/log/redis-setup.log

Exit codes: 0 done, 1 failed and nothing changed, 2 usage, 3 rolled back, 4 needs a decision,
5 damaged package, 6 in use or locked, 7 no space, 8 done with leftovers, 9 nothing to do,
10 done but a restart is needed. On Windows: 0 done, 1602 needs a decision, 1603 failed,
1618 in use or locked, 1620 damaged package, 1639 usage, 3010 done but a restart is needed";

/// What the installer is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub(crate) struct Request {
    pub(crate) task: Task,
    /// Nothing is asked and nothing said but errors.
    pub(crate) silent: bool,
    /// Nothing changes.
    pub(crate) dry_run: bool,
    /// What would be done is said in sentences.
    pub(crate) explain: bool,
    /// The answer is JSON.
    pub(crate) json: bool,
    /// The root folder of the machine; `None` is this machine.
    pub(crate) root: Option<PathBuf>,
    /// Where what happens is written down too.
    pub(crate) log: Option<PathBuf>,
    /// Values of variables.
    pub(crate) variables: BTreeMap<String, String>,
    /// What came after `--`, unchanged.
    pub(crate) arguments: Vec<OsString>,
}

/// The one thing a run does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    Install,
    Uninstall,
    Rollback,
    Extract(PathBuf),
    Help,
}

/// A command line that means nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UsageError {
    #[error("`{switch}` is no switch of this installer; `--help` lists them")]
    Unknown { switch: String },
    #[error("`{switch}` wants a value, like `{switch} {example}`")]
    NoValue { switch: &'static str, example: &'static str },
    #[error("`{switch}` takes no value")]
    SurplusValue { switch: String },
    #[error("`{first}` and `{second}` do not go together")]
    Impossible { first: &'static str, second: &'static str },
    #[error("`{switch}` is given twice with different values")]
    Twice { switch: &'static str },
    #[error("`--set {text}` gives no variable a value; write `--set name=value`")]
    Set { text: String },
}

/// The switches as they were found.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
struct Switches {
    help: bool,
    silent: bool,
    dry_run: bool,
    explain: bool,
    json: bool,
    uninstall: bool,
    rollback: bool,
    extract: Option<PathBuf>,
    root: Option<PathBuf>,
    log: Option<PathBuf>,
    variables: BTreeMap<String, String>,
    arguments: Vec<OsString>,
}

impl Request {
    /// Reads a command line without the program's name.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, UsageError> {
        let mut all: Vec<OsString> = arguments.into_iter().collect();
        let own = match all.iter().position(|argument| argument == "--") {
            Some(end) => {
                let own = all.split_off(end + 1);
                all.pop();
                own
            }
            None => Vec::new(),
        };
        let mut switches = Switches { arguments: own, ..Switches::default() };
        let mut parser = Parser::from_args(all);
        while let Some(argument) = next(&mut parser)? {
            switches.take(argument, &mut parser)?;
        }
        switches.request()
    }
}

/// A switch, or one in the spelling of earlier systems: `/X:DIR`.
enum Switch {
    Long(String),
    Slash(Vec<u8>),
}

fn next(parser: &mut Parser) -> Result<Option<Switch>, UsageError> {
    let unexpected = |error: &lexopt::Error| UsageError::SurplusValue {
        switch: match error {
            lexopt::Error::UnexpectedValue { option, .. } => option.clone(),
            other => other.to_string(),
        },
    };
    Ok(match parser.next().map_err(|error| unexpected(&error))? {
        None => None,
        Some(Arg::Long(name)) => Some(Switch::Long(name.to_owned())),
        Some(Arg::Short(letter)) => {
            return Err(UsageError::Unknown { switch: format!("-{letter}") });
        }
        Some(Arg::Value(value)) => {
            let bytes = crate::sys::bytes(value);
            match bytes.strip_prefix(b"/") {
                Some(slash) if !slash.is_empty() => Some(Switch::Slash(slash.to_vec())),
                _ => {
                    let switch = String::from_utf8_lossy(&bytes).into_owned();
                    return Err(UsageError::Unknown { switch });
                }
            }
        }
    })
}

impl Switches {
    fn take(&mut self, switch: Switch, parser: &mut Parser) -> Result<(), UsageError> {
        let name = match switch {
            Switch::Slash(slash) => return self.take_slash(&slash, parser),
            Switch::Long(name) => name,
        };
        match name.as_str() {
            "help" => self.help = true,
            "silent" => self.silent = true,
            "dry-run" => self.dry_run = true,
            "explain" => self.explain = true,
            "json" => self.json = true,
            "uninstall" => self.uninstall = true,
            "rollback" => self.rollback = true,
            "extract" => set(&mut self.extract, "--extract", value(parser, "--extract", "DIR")?)?,
            "root" => set(&mut self.root, "--root", value(parser, "--root", "DIR")?)?,
            "log" => set(&mut self.log, "--log", value(parser, "--log", "FILE")?)?,
            "set" => self.variable(&value(parser, "--set", "name=value")?)?,
            other => return Err(UsageError::Unknown { switch: format!("--{other}") }),
        }
        Ok(())
    }

    /// Switches of earlier systems, in either case; a value follows a colon or comes next.
    fn take_slash(&mut self, slash: &[u8], parser: &mut Parser) -> Result<(), UsageError> {
        let unknown =
            || UsageError::Unknown { switch: format!("/{}", String::from_utf8_lossy(slash)) };
        let (name, after) = match slash.iter().position(|&byte| byte == b':') {
            Some(colon) => (&slash[..colon], Some(&slash[colon + 1..])),
            None => (slash, None),
        };
        match (name.to_ascii_lowercase().as_slice(), after) {
            (b"s", None) => self.silent = true,
            (b"t", None) => self.dry_run = true,
            (b"?" | b"h", None) => self.help = true,
            (b"x", None) => set(&mut self.extract, "/X", value(parser, "/X", "DIR")?)?,
            (b"x", Some(folder)) if !folder.is_empty() => {
                set(&mut self.extract, "/X", crate::sys::name(folder))?;
            }
            (b"l", None) => set(&mut self.log, "/L", value(parser, "/L", "FILE")?)?,
            (b"l", Some(file)) if !file.is_empty() => {
                set(&mut self.log, "/L", crate::sys::name(file))?;
            }
            // `/D=FOLDER` says where to install, `/DNAME=VALUE` gives any variable a value; a colon is part of it.
            ([b'd', ..], _) if slash.contains(&b'=') => {
                let text = match &slash[1..] {
                    [b'=', ..] => [b"prefix", &slash[1..]].concat(),
                    text => text.to_vec(),
                };
                self.variable(&crate::sys::name(&text))?;
            }
            _ => return Err(unknown()),
        }
        Ok(())
    }

    fn variable(&mut self, text: &OsStr) -> Result<(), UsageError> {
        let wrong = || UsageError::Set { text: text.to_string_lossy().into_owned() };
        let (name, value) =
            text.to_str().and_then(|text| text.split_once('=')).ok_or_else(wrong)?;
        if !model::Template::is_variable_name(name) {
            return Err(wrong());
        }
        match self.variables.insert(name.to_owned(), value.to_owned()) {
            Some(other) if other != value => Err(UsageError::Twice { switch: "--set" }),
            _ => Ok(()),
        }
    }

    fn request(self) -> Result<Request, UsageError> {
        let given = [
            (self.extract.is_some(), "--extract"),
            (self.uninstall, "--uninstall"),
            (self.rollback, "--rollback"),
            (self.dry_run, "--dry-run"),
            (self.explain, "--explain"),
            (self.root.is_some(), "--root"),
        ];
        // Whoever extracts changes no machine: nothing that is about one goes with it.
        let apart = [(0, 1), (0, 2), (0, 3), (0, 4), (0, 5), (1, 2)];
        for (one, other) in apart {
            if given[one].0 && given[other].0 {
                return Err(UsageError::Impossible { first: given[one].1, second: given[other].1 });
            }
        }
        let task = match self.extract {
            _ if self.help => Task::Help,
            Some(folder) => Task::Extract(folder),
            None if self.uninstall => Task::Uninstall,
            None if self.rollback => Task::Rollback,
            None => Task::Install,
        };
        Ok(Request {
            task,
            silent: self.silent,
            dry_run: self.dry_run,
            explain: self.explain,
            json: self.json,
            root: self.root,
            log: self.log,
            variables: self.variables,
            arguments: self.arguments,
        })
    }
}

fn value(
    parser: &mut Parser,
    switch: &'static str,
    example: &'static str,
) -> Result<OsString, UsageError> {
    match parser.value() {
        Ok(value) if !value.is_empty() => Ok(value),
        _ => Err(UsageError::NoValue { switch, example }),
    }
}

fn set(
    slot: &mut Option<PathBuf>,
    switch: &'static str,
    value: OsString,
) -> Result<(), UsageError> {
    let value = PathBuf::from(value);
    match slot.replace(value) {
        Some(other) if Some(&other) != slot.as_ref() => Err(UsageError::Twice { switch }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Request, Task};

    fn parse(arguments: &[&str]) -> Result<Request, String> {
        Request::parse(arguments.iter().map(Into::into)).map_err(|error| error.to_string())
    }

    #[test]
    fn values_follow_their_slash_switches() {
        let request =
            parse(&["/S", r"/L:C:\a b.log", r"/D=C:\Program Files\X", "/Dflavour=a=b"]).unwrap();
        assert_eq!(request.log.as_deref(), Some(Path::new(r"C:\a b.log")));
        assert_eq!(request.variables["prefix"], r"C:\Program Files\X");
        assert_eq!(request.variables["flavour"], "a=b");
        assert!(parse(&["/D"]).is_err());
    }

    /// Order and case never matter, custom arguments come through, before and after them (Q164353).
    #[test]
    fn q164353_switches_work_in_any_order_and_case() {
        let silent = [&["--silent"][..], &["/S"], &["/s"]];
        let test = [&["--dry-run"][..], &["/T"], &["/t"]];
        let extract = [
            &["--extract", "a b"][..],
            &["--extract=a b"],
            &["/X:a b"],
            &["/x:a b"],
            &["/x", "a b"],
        ];
        let log = [&["--log", "l"][..], &["--log=l"]];
        let custom = ["--", "a b", "\"q\"", "--silent"];
        let kinds = [&silent[..], &test, &extract, &log];
        for (one, first) in kinds.iter().enumerate() {
            for (other, second) in kinds.iter().enumerate() {
                for spelling in *first {
                    for second in *second {
                        let pair = [*spelling, *second, &custom].concat();
                        let request = parse(&pair);
                        if one != other && [one, other].iter().all(|kind| [1, 2].contains(kind)) {
                            let message = request.unwrap_err();
                            assert_eq!(message, "`--extract` and `--dry-run` do not go together");
                            continue;
                        }
                        let request = request.unwrap();
                        let has = |kind| one == kind || other == kind;
                        assert_eq!(request.silent, has(0), "{pair:?}");
                        assert_eq!(request.dry_run, has(1), "{pair:?}");
                        assert_eq!(request.task == Task::Extract("a b".into()), has(2), "{pair:?}");
                        assert_eq!(request.log.as_deref() == Some(Path::new("l")), has(3));
                        assert_eq!(request.arguments, ["a b", "\"q\"", "--silent"]);
                    }
                }
            }
        }
    }

    #[test]
    fn mistakes_are_usage_errors() {
        let error = |arguments: &[&str]| parse(arguments).unwrap_err();
        insta::assert_snapshot!(error(&["--silnt"]), @"`--silnt` is no switch of this installer; `--help` lists them");
        insta::assert_snapshot!(error(&["-q"]), @"`-q` is no switch of this installer; `--help` lists them");
        insta::assert_snapshot!(error(&["/Q"]), @"`/Q` is no switch of this installer; `--help` lists them");
        insta::assert_snapshot!(error(&["x"]), @"`x` is no switch of this installer; `--help` lists them");
        insta::assert_snapshot!(error(&["--silent=yes"]), @"`--silent` takes no value");
        insta::assert_snapshot!(error(&["--silent=yes", "--json"]), @"`--silent` takes no value");
        insta::assert_snapshot!(error(&["--root"]), @"`--root` wants a value, like `--root DIR`");
        insta::assert_snapshot!(error(&["--set", "a"]), @"`--set a` gives no variable a value; write `--set name=value`");
        insta::assert_snapshot!(error(&["--set", "a=1", "--set", "a=2"]), @"`--set` is given twice with different values");
        insta::assert_snapshot!(error(&["--uninstall", "--rollback"]), @"`--uninstall` and `--rollback` do not go together");
        insta::assert_snapshot!(error(&["--root", "r", "/X:d"]), @"`--extract` and `--root` do not go together");
    }

    #[test]
    fn values_are_kept_as_they_are() {
        let request = parse(&["--set", "prefix=/a=b c", "--root", "/mnt", "--uninstall"]).unwrap();
        assert_eq!(request.variables["prefix"], "/a=b c");
        assert_eq!(request.task, Task::Uninstall);
        assert_eq!(request.root.as_deref(), Some(Path::new("/mnt")));
    }
}
