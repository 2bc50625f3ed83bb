use crate::{Change, Names, Node, Touch};

/// What is to be said about one path, whoever observed it.
#[expect(clippy::large_enum_variant, reason = "one at a time, read and gone")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Untouched,
    /// It was written again and ended as it began.
    Touched(Touch),
    /// It differs.
    Changed(Change),
}

/// The names in force on both sides of a capture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BothNames {
    /// Before the installer ran.
    pub before: Names,
    /// After it.
    pub after: Names,
}

/// Judges one path by what it held before and after. Folders that ended as they began were only
/// carriers of what changed inside them.
pub fn judge(before: Option<&Node>, after: Option<&Node>, names: &BothNames) -> Verdict {
    match (before, after) {
        (None, None) => Verdict::Untouched,
        (Some(before), Some(after)) if before.same(after) => match after.kind {
            model::Kind::Directory => Verdict::Untouched,
            _ => Verdict::Touched(Touch::Rewritten),
        },
        (before, after) => {
            let change = Change {
                before: before.map(|node| node.entry(&names.before)),
                after: after.map(|node| node.entry(&names.after)),
            };
            // Renumbering an account changes no entry; nor does touching a file too vast to be read.
            if change.before == change.after {
                Verdict::Touched(Touch::Rewritten)
            } else {
                Verdict::Changed(change)
            }
        }
    }
}
