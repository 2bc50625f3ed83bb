//! A finished capture as a project folder.

mod captured;
mod payload;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use capture::{
    CapturedFiles, Draft, DraftError, Facts, Options, Rule, Rules, RulesError, draft, parse_rules,
};
#[cfg(unix)]
use session::Finished;

pub(crate) use captured::Captured;

/// The rules of this machine, beside those we ship.
#[cfg(unix)]
pub(crate) const MACHINE_RULES: &str = "/etc/packhorse/rules.toml";
/// The rules of this machine, beside those we ship.
#[cfg(windows)]
pub(crate) const MACHINE_RULES: &str = r"C:\ProgramData\Packhorse\rules.toml";
/// The rules of a project, in its folder; they are kept when the project is captured again.
const PROJECT_RULES: &str = "capture/rules.toml";

/// Why a capture became no project.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteProjectError {
    /// The folder is in use.
    #[error(
        "`{}` holds something already: name another folder with `-o`, or empty it (a `capture/rules.toml` may stay)", .0.display()
    )]
    Occupied(PathBuf),
    /// A rules file is wrong.
    #[error("`{}`: {source}", file.display())]
    Rules {
        /// Which.
        file: PathBuf,
        /// All that is wrong with it.
        source: RulesError,
    },
    /// A file cannot be read.
    #[error("cannot read `{}`", file.display())]
    Read {
        /// Which.
        file: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The capture means nothing yet.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// Captured content is not what it was.
    #[error("`{path}` was changed after the capture: capture again, or work on a copy")]
    Changed {
        /// Where.
        path: model::MachinePath,
    },
    /// Something cannot be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// What.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// The rules that hold for a project of a Linux machine: ours, the machine's, then its own.
///
/// # Errors
/// A file that cannot be read, or that holds a rule that makes no sense.
#[cfg(unix)]
pub(crate) fn rules_for(project: Option<&Path>) -> Result<Rules, WriteProjectError> {
    Rules::linux_and(layers_for(project)?)
        .map_err(|source| WriteProjectError::Rules { file: MACHINE_RULES.into(), source })
}

fn layers_for(project: Option<&Path>) -> Result<Vec<Vec<Rule>>, WriteProjectError> {
    let mut layers: Vec<Vec<Rule>> = Vec::new();
    let own = project.map(|project| project.join(PROJECT_RULES));
    for file in [Some(PathBuf::from(MACHINE_RULES)), own].into_iter().flatten() {
        let name = file.display().to_string();
        match fs::read_to_string(&file) {
            Ok(text) => layers.push(
                parse_rules(&name, &text)
                    .map_err(|source| WriteProjectError::Rules { file: file.clone(), source })?,
            ),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(WriteProjectError::Read { file, source }),
        }
    }
    Ok(layers)
}

/// Turns what a Windows installer did into a project in `folder`, as [`write`] does; `after` adds what is no file.
///
/// # Errors
/// See [`WriteProjectError`]; nothing is left behind.
pub(crate) fn write_windows(
    changes: &capture::ChangeSet,
    files: &dyn CapturedFiles,
    facts: &Facts,
    options: &Options,
    folder: &Path,
    after: impl FnOnce(&mut Draft),
) -> Result<Draft, WriteProjectError> {
    check_free(folder)?;
    let rules = Rules::windows_and(layers_for(Some(folder))?)
        .map_err(|source| WriteProjectError::Rules { file: MACHINE_RULES.into(), source })?;
    let mut draft = draft(changes, files, facts, &rules, options)?;
    after(&mut draft);
    write_draft(&draft, files, facts, folder)?;
    Ok(draft)
}

/// Turns a finished session into a project in `folder`, which must be new or empty but for its rules.
/// The folder comes to be whole or not at all.
///
/// # Errors
/// See [`WriteProjectError`]; nothing is left behind.
#[cfg(unix)]
pub(crate) fn write(
    finished: &Finished,
    options: &Options,
    folder: &Path,
) -> Result<Draft, WriteProjectError> {
    check_free(folder)?;
    let rules = rules_for(Some(folder))?;
    let files = Captured::of(finished).map_err(|source| WriteProjectError::Read {
        file: finished.session().beginning().root.join("etc/passwd"),
        source,
    })?;
    let draft = draft(&finished.changes, &files, &finished.facts, &rules, options)?;
    write_draft(&draft, &files, &finished.facts, folder)?;
    Ok(draft)
}

/// Writes a draft beside its place and moves it there.
pub(crate) fn write_draft(
    draft: &Draft,
    files: &dyn CapturedFiles,
    facts: &Facts,
    folder: &Path,
) -> Result<(), WriteProjectError> {
    let absolute = std::path::absolute(folder)
        .map_err(|source| WriteProjectError::Write { path: folder.to_owned(), source })?;
    let parent = absolute.parent().unwrap_or(&absolute).to_owned();
    let failed = |path: &Path| {
        let path = path.to_owned();
        |source| WriteProjectError::Write { path, source }
    };
    fs::create_dir_all(&parent).map_err(failed(&parent))?;
    let beside = tempfile::Builder::new()
        .prefix(".packhorse-project-")
        .tempdir_in(&parent)
        .map_err(failed(&parent))?;
    let new = beside.path().join("project");
    for folder in [&new, &new.join("capture"), &new.join("files")] {
        fs::create_dir(folder).map_err(failed(folder))?;
    }
    payload::write(&draft.payload, files, &new)?;
    let rules = absolute.join(PROJECT_RULES);
    if rules.exists() {
        fs::copy(&rules, new.join(PROJECT_RULES)).map_err(failed(&rules))?;
    }
    for (name, text) in [
        ("capture/report.toml", draft.report.to_toml()),
        ("capture/facts.toml", facts.to_toml()),
        ("files.meta", script::print_files_meta(&draft.files_meta)),
        ("package.toml", script::print_with_comments(&draft.script, &draft.comments)),
    ] {
        let path = new.join(name);
        fs::write(&path, text).map_err(failed(&path))?;
    }
    if absolute.exists() {
        fs::remove_dir_all(&absolute).map_err(failed(&absolute))?;
    }
    fs::rename(&new, &absolute).map_err(failed(&absolute))
}

/// Refuses a folder with anything in it but the rules of a project.
fn check_free(folder: &Path) -> Result<(), WriteProjectError> {
    let names = |folder: &Path| -> Result<Vec<PathBuf>, WriteProjectError> {
        let failed = |source| WriteProjectError::Read { file: folder.to_owned(), source };
        match fs::read_dir(folder) {
            Ok(entries) => entries
                .map(|entry| entry.map(|entry| entry.path()))
                .collect::<Result<_, _>>()
                .map_err(failed),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(source) => Err(failed(source)),
        }
    };
    let capture = folder.join("capture");
    let mut inside = names(folder)?;
    if inside == [capture.clone()] {
        inside = names(&capture)?;
    }
    if inside.iter().all(|path| *path == folder.join(PROJECT_RULES)) {
        Ok(())
    } else {
        Err(WriteProjectError::Occupied(folder.to_owned()))
    }
}

#[cfg(test)]
mod tests;
