//! What `packhorse script check` asks of a captured project: no fact of the reference machine is in it.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use capture::{Facts, Item, Leak, LeakScanner};
use globset::{Glob, GlobBuilder, GlobMatcher};
use script::{Part, Place, Problem, Script, Severity, StepKind, TreeSource};

/// Where the facts of the reference machine are kept.
const FACTS: &str = "capture/facts.toml";

/// A text that becomes a variable in some files of the project.
struct Replaced {
    /// The step's source, `files/opt/redis`.
    source: Vec<u8>,
    patterns: Vec<GlobMatcher>,
    text: Vec<u8>,
}

/// Looks through a project folder for facts of the machine it was captured on: an error for a certain
/// one, a note for one that may be chance. A project without facts was not captured, and has none.
///
/// # Errors
/// A file of the project that cannot be read.
pub(crate) fn problems(project: &Path, script: &Script) -> io::Result<Vec<Problem>> {
    let facts = match fs::read_to_string(project.join(FACTS)) {
        Ok(facts) => facts,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let facts = match Facts::from_toml(&facts) {
        Ok(facts) => facts,
        Err(error) => {
            let problem = Problem::error(Place::of(Part::Script), format!("`{FACTS}`: {error}"));
            return Ok(vec![problem.hint("capture again, or remove the file to check no leaks")]);
        }
    };
    let scanner = LeakScanner::new(&facts);
    let replaced = replaced(script);
    let mut leaks = scanner.script(script);
    let mut ahead = vec![project.join("files")];
    while let Some(folder) = ahead.pop() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for entry in entries {
            let path = entry?.path();
            if fs::symlink_metadata(&path)?.is_dir() {
                ahead.push(path.clone());
            }
            leaks.extend(look(&scanner, project, &path, &replaced)?);
        }
    }
    leaks.sort();
    Ok(leaks.iter().map(problem).collect())
}

fn look(
    scanner: &LeakScanner,
    project: &Path,
    path: &Path,
    replaced: &[Replaced],
) -> io::Result<Vec<Leak>> {
    let below = compile::project_path(path.strip_prefix(project).unwrap_or(path));
    let status = fs::symlink_metadata(path)?;
    let target = if status.is_symlink() { Some(fs::read_link(path)?) } else { None };
    let mut content = if status.is_file() { Some(File::open(path)?) } else { None };
    let texts: Vec<&[u8]> = replaced
        .iter()
        .filter(|replaced| replaced.reaches(&below))
        .map(|replaced| replaced.text.as_slice())
        .collect();
    capture::check(
        scanner,
        Item {
            path: &below,
            target: target.as_ref().map(|target| target.as_os_str().as_encoded_bytes()),
            content: content.as_mut().map(|file| file as &mut dyn io::Read),
            replaced: &texts,
        },
    )
}

fn problem(leak: &Leak) -> Problem {
    let severity = if leak.is_certain() { Severity::Error } else { Severity::Note };
    let hint = match leak.r#where.as_str() {
        "content" => {
            "replace it with a variable (`replace-text` in the step), or leave the file out (`except`)"
        }
        "name" => "rename the file, or leave it out (`except`)",
        _ => "put a variable like `${machine.hostname}` in its place",
    };
    Problem::new(severity, Place::of(Part::Script), leak.to_string()).hint(hint)
}

fn replaced(script: &Script) -> Vec<Replaced> {
    let mut all = Vec::new();
    for step in &script.steps {
        let StepKind::Tree(tree) = &step.kind else { continue };
        let (TreeSource::Tree(source) | TreeSource::File(source)) = &tree.source else { continue };
        for one in &tree.replacements {
            let globs = one.files.iter().filter_map(|pattern| glob(pattern));
            all.push(Replaced {
                source: source.as_bytes().to_vec(),
                patterns: globs.map(|glob| glob.compile_matcher()).collect(),
                text: one.text.as_bytes().to_vec(),
            });
        }
    }
    all
}

fn glob(pattern: &str) -> Option<Glob> {
    GlobBuilder::new(pattern).literal_separator(true).build().ok()
}

impl Replaced {
    fn reaches(&self, path: &[u8]) -> bool {
        let Some(rest) = path.strip_prefix(self.source.as_slice()) else { return false };
        let below = match rest.split_first() {
            None => rest,
            Some((b'/', below)) => below,
            Some(_) => return false,
        };
        let candidate = globset::Candidate::from_bytes(below);
        self.patterns.iter().any(|pattern| pattern.is_match_candidate(&candidate))
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::problems;

    const SCRIPT: &str = r#"format = 1

[package]
name = "app"
version = "1"
architecture = "any"

[[step]]
install-tree = "files/etc"
to = "/etc"
replace-text = [{ files = ["*.conf"], text = "packhorse-0a1b2c3d", with = "${machine.hostname}" }]

[[step]]
edit-lines = "/etc/hosts"
add = ["10.0.0.9 packhorse-0a1b2c3d"]
"#;

    #[test]
    fn what_a_step_replaces_is_no_leak_and_the_rest_is() {
        let project = tempfile::tempdir().unwrap();
        let path = |name: &str| project.path().join(name);
        let script = script::parse(SCRIPT).unwrap();
        fs::create_dir_all(path("files/etc")).unwrap();
        fs::write(path("files/etc/a.conf"), "host = packhorse-0a1b2c3d\n").unwrap();
        fs::write(path("files/etc/a.db"), "\0packhorse-0a1b2c3d\0").unwrap();
        fs::write(path("files/etc/words"), "the web\n").unwrap();
        symlink("/var/packhorse-0a1b2c3d", path("files/etc/link")).unwrap();
        assert!(problems(project.path(), &script).unwrap().is_empty());

        fs::create_dir(path("capture")).unwrap();
        let facts = "host-name = \"packhorse-0a1b2c3d\"\nreal-host-name = \"web\"\n";
        fs::write(path("capture/facts.toml"), facts).unwrap();
        let found = problems(project.path(), &script).unwrap();
        let found: Vec<String> =
            found.iter().map(|one| format!("{:?}: {one}", one.severity)).collect();
        insta::assert_snapshot!(found.join("\n"), @r"
        Error: `files/etc/a.db`: its content holds the name of the machine during the capture, `packhorse-0a1b2c3d`
        Error: `files/etc/link`: its link target holds the name of the machine during the capture, `packhorse-0a1b2c3d`
        Note: `files/etc/words`: its content holds perhaps the name of the reference machine, `web`
        Error: step 2 (edit) says the name of the machine during the capture, `packhorse-0a1b2c3d`
        ");
    }
}
