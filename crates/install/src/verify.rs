use change::{Found, Node, Observe};
use model::MachinePath;
use serde::{Deserialize, Serialize};

use crate::{
    Claim, Installed, ReadReceiptError, Receipt, ReceiptRecord, SettingClaim, Stands,
    edits::TakenBack,
    install::is_generated,
    installed::{claims_at, edits_at},
};

/// One difference between a machine and a receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Difference {
    /// Where.
    pub path: MachinePath,
    /// What kind.
    pub kind: DifferenceKind,
    /// The sentence people read.
    pub what: String,
}

/// How a place differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DifferenceKind {
    /// It is not there.
    Missing,
    /// It is something else, or has other content.
    Content,
    /// It has other metadata.
    Metadata,
    /// It lies in a folder of the package, and is not the package's.
    Foreign,
    /// A line or setting of the package is gone from a shared file.
    Edit,
}

impl Difference {
    /// Whether rolling back would lose what somebody did.
    pub fn would_be_lost(&self) -> bool {
        matches!(self.kind, DifferenceKind::Content | DifferenceKind::Foreign)
    }
}

/// Every difference between the machine and what a package left there. Where one of the other packages put
/// its own over it, that one stands.
pub fn verify(
    machine: &(impl Observe + ?Sized),
    receipt: &Receipt,
    others: &[Installed],
) -> Result<Vec<Difference>, ReadReceiptError> {
    let mut differences = Vec::new();
    let mut position = 0;
    loop {
        let (run, next) = receipt.run(machine, position)?;
        for record in run {
            match record {
                ReceiptRecord::Claim(claim) => {
                    verify_claim(machine, receipt, others, &claim, &mut differences)?;
                }
                ReceiptRecord::Edit(claim) => {
                    let text = match machine.look(&claim.path)? {
                        Some(found) if matches!(found.node, Node::File { .. }) => {
                            machine.read(&claim.path)?
                        }
                        _ => {
                            differences.push(difference(
                                &claim.path,
                                DifferenceKind::Missing,
                                "the edited file is gone",
                            ));
                            continue;
                        }
                    };
                    let gone = claim
                        .edits
                        .iter()
                        .any(|edit| matches!(edit.take_back(&text), TakenBack::Changed));
                    if gone {
                        let what = "a line of the package was changed or taken away";
                        differences.push(difference(&claim.path, DifferenceKind::Edit, what));
                    }
                }
                ReceiptRecord::Set(claim) if cfg!(feature = "settings") => {
                    verify_setting(machine, others, &claim, &mut differences)?;
                }
                ReceiptRecord::Removed { path, .. }
                    if machine.look(&path)?.is_some()
                        && claims_at(machine, others, &path)?.is_empty() =>
                {
                    differences.push(difference(
                        &path,
                        DifferenceKind::Foreign,
                        "it was removed, and is back",
                    ));
                }
                _ => {}
            }
        }
        match next {
            Some(next) => position = next,
            None => return Ok(differences),
        }
    }
}

fn difference(path: &MachinePath, kind: DifferenceKind, what: &str) -> Difference {
    Difference { path: path.clone(), kind, what: what.to_owned() }
}

fn verify_setting(
    machine: &(impl Observe + ?Sized),
    others: &[Installed],
    claim: &SettingClaim,
    differences: &mut Vec<Difference>,
) -> Result<(), ReadReceiptError> {
    let standing = machine.setting(&claim.setting)?;
    let is_theirs = others.iter().any(|other| {
        let theirs = other.receipt.setting(machine, &claim.setting);
        matches!(theirs, Ok(Some(theirs)) if theirs.wanted == standing || !theirs.added.is_empty())
    });
    if standing == claim.wanted || is_theirs {
        return Ok(());
    }
    let (kind, what) = match (&standing, &claim.wanted) {
        (None, _) => (DifferenceKind::Missing, "is gone"),
        (Some(_), None) => (DifferenceKind::Foreign, "was removed, and is back"),
        _ => (DifferenceKind::Content, "was changed"),
    };
    let what = format!("the {} {what}", claim.setting);
    differences.push(difference(&claim.setting.path(), kind, &what));
    Ok(())
}

fn verify_claim(
    machine: &(impl Observe + ?Sized),
    receipt: &Receipt,
    others: &[Installed],
    claim: &Claim,
    differences: &mut Vec<Difference>,
) -> Result<(), ReadReceiptError> {
    if claim.stands != Stands::Ours {
        return Ok(());
    }
    let path = &claim.path;
    let Some(found) = machine.look(path)? else {
        differences.push(difference(
            path,
            DifferenceKind::Missing,
            &format!("the {} is gone", claim.node.word()),
        ));
        return Ok(());
    };
    let same = match (&claim.node, &found.node) {
        (Node::File { .. }, Node::File { .. }) => {
            let hash = Some(machine.hash(path)?);
            let edited = receipt.edits(machine, path)?.last().map(|edit| edit.to);
            hash == claim.hash || (edited.is_some() && hash == edited)
        }
        (one, other) => one == other,
    };
    let theirs = claims_at(machine, others, path)?;
    if !same {
        if is_of_any(machine, others, &theirs, path, &found)? {
            return Ok(());
        }
        let what = if claim.node.word() == found.node.word() {
            "its content was changed".to_owned()
        } else {
            format!("it is a {} now, and was a {}", found.node.word(), claim.node.word())
        };
        differences.push(difference(path, DifferenceKind::Content, &what));
        return Ok(());
    }
    let meta_differs = if found.node.is_directory() {
        !found.meta.same_but_time(&claim.meta)
    } else {
        found.meta != claim.meta && receipt.edits(machine, path)?.is_empty()
    };
    if meta_differs && theirs.iter().any(|other| other.meta.same_but_time(&found.meta)) {
        return Ok(());
    }
    // A folder that was there before keeps its own metadata.
    let ours = claim.before == crate::Before::Nothing || !found.node.is_directory();
    if meta_differs && ours {
        differences.push(difference(
            path,
            DifferenceKind::Metadata,
            &meta_words(claim, &found.meta),
        ));
    }
    if found.node.is_directory() && claim.before == crate::Before::Nothing {
        foreign(machine, receipt, others, path, differences)?;
    }
    Ok(())
}

/// Whether what stands at `path` is what one of `claims` put there, edited by others or not.
fn is_of_any(
    machine: &(impl Observe + ?Sized),
    others: &[Installed],
    claims: &[Claim],
    path: &MachinePath,
    found: &Found,
) -> Result<bool, ReadReceiptError> {
    if claims.is_empty() {
        return Ok(false);
    }
    let Node::File { .. } = found.node else {
        return Ok(claims.iter().any(|claim| claim.node == found.node));
    };
    let hash = machine.hash(path)?;
    let edited = edits_at(machine, others, path)?;
    Ok(claims.iter().any(|claim| claim.hash == Some(hash))
        || edited.iter().any(|edit| edit.to == hash))
}

fn meta_words(claim: &Claim, found: &change::RawMeta) -> String {
    let wanted = &claim.meta;
    let mut words = Vec::new();
    if wanted.mode != found.mode {
        words.push(format!("mode {:04o} instead of {:04o}", found.mode, wanted.mode));
    }
    if (wanted.user, wanted.group) != (found.user, found.group) {
        words.push(format!(
            "owner {}:{} instead of {}:{}",
            found.user, found.group, wanted.user, wanted.group
        ));
    }
    if wanted.modified != found.modified && !matches!(claim.node, Node::Directory) {
        words.push(format!("time {} instead of {}", found.modified, wanted.modified));
    }
    if wanted.xattrs != found.xattrs {
        words.push("other extended attributes".to_owned());
    }
    format!("it has {}", words.join(", "))
}

/// What lies in a folder of the package and is not the package's.
fn foreign(
    machine: &(impl Observe + ?Sized),
    receipt: &Receipt,
    others: &[Installed],
    folder: &MachinePath,
    differences: &mut Vec<Difference>,
) -> Result<(), ReadReceiptError> {
    for name in machine.list(folder)? {
        let Ok(path) = folder.join(name) else { continue };
        let ours = receipt.claim(machine, &path)?.is_some()
            || !receipt.edits(machine, &path)?.is_empty()
            || receipt.is_beside(machine, &path)?
            || !claims_at(machine, others, &path)?.is_empty()
            || !edits_at(machine, others, &path)?.is_empty();
        if !ours && !is_generated(&receipt.header.generated, &path) {
            differences.push(difference(
                &path,
                DifferenceKind::Foreign,
                "it came after the package",
            ));
        }
    }
    Ok(())
}
