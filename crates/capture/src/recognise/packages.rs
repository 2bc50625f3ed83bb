//! Databases of package managers: never payload, but they say what else was installed.

use std::collections::BTreeMap;

use model::MachinePath;

use super::path;
use crate::{
    CapturedFiles, ChangeSet, Dependency, DraftError, Remark, Report, Rules, Side, Verdicts,
    captured::read_up_to,
};

/// A `status` file longer than this is not one, in bytes.
const LIMIT: u64 = 256 << 20;

/// Adds what the machine's package manager installed meanwhile.
pub(crate) fn dependencies(
    changes: &ChangeSet,
    contents: &dyn CapturedFiles,
    rules: &Rules,
    verdicts: &Verdicts,
    report: &mut Report,
) -> Result<(), DraftError> {
    let hint_of = |rule: usize| rules.all()[rule].hint.as_deref();
    let hinted =
        |manager: &str| verdicts.by_path.values().any(|&rule| hint_of(rule) == Some(manager));
    if hinted("rpm") {
        report.note.push(Remark::of(
            "the rpm database changed: the installer used rpm; `rpm -qa --last` on the reference machine names what came",
        ));
    }
    let status = path("/var/lib/dpkg/status");
    if !hinted("dpkg") || !changes.changes.contains_key(&status) {
        return Ok(());
    }
    let read = |side| installed(contents, &status, side);
    match (read(Side::Before)?, read(Side::After)?) {
        (Some(before), Some(after)) => {
            for (name, version) in after {
                let old = before.get(&name);
                if old != Some(&version) {
                    report.dependency.push(Dependency {
                        manager: "dpkg".to_owned(),
                        name,
                        version,
                        before: old.cloned().unwrap_or_default(),
                    });
                }
            }
        }
        _ => report.note.push(Remark::at(
            &status,
            "dpkg installed something, but the old status was not kept: what it was is unknown",
        )),
    }
    Ok(())
}

/// Names and versions of the installed packages in a dpkg status file.
fn installed(
    contents: &dyn CapturedFiles,
    status: &MachinePath,
    side: Side,
) -> Result<Option<BTreeMap<String, String>>, DraftError> {
    let bytes = read_up_to(contents, status, side, LIMIT)
        .map_err(|source| DraftError::Read { path: status.clone(), source })?;
    Ok(bytes.map(|bytes| parse_status(&String::from_utf8_lossy(&bytes))))
}

fn parse_status(text: &str) -> BTreeMap<String, String> {
    let mut packages = BTreeMap::new();
    for paragraph in text.split("\n\n") {
        let field = |name: &str| {
            paragraph
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
                .map(str::trim)
        };
        let (Some(name), Some(version)) = (field("Package"), field("Version")) else { continue };
        if field("Status").is_some_and(|status| status.ends_with(" installed")) {
            packages.insert(name.to_owned(), version.to_owned());
        }
    }
    packages
}

#[cfg(test)]
mod tests {
    use super::parse_status;

    #[test]
    fn only_what_is_installed_counts() {
        let text = "Package: jq\nStatus: install ok installed\nVersion: 1.6-2.1\nDescription: x\n .\n\nPackage: old\nStatus: deinstall ok config-files\nVersion: 1\n";
        let packages: Vec<_> = parse_status(text).into_iter().collect();
        assert_eq!(packages, [("jq".to_owned(), "1.6-2.1".to_owned())]);
    }
}
