//! The difference of two scans: both in path order, read once, side by side.

use std::cmp::Ordering;

use model::{Hash, Kind, MachinePath, Time};

use crate::{BothNames, ChangeSet, Record, Verdict, judge};

/// Where content is looked up, when metadata cannot decide.
pub trait Contents {
    /// Why content cannot be had.
    type Error;

    /// The hash of a file's content before; `None` when nobody knows it any more.
    ///
    /// # Errors
    /// It should be known, and cannot be read.
    fn before(&mut self, record: &Record) -> Result<Option<Hash>, Self::Error>;

    /// The hash of a file's content now; `None` when the file is gone already, or too vast to read.
    ///
    /// # Errors
    /// It cannot be read.
    fn after(&mut self, record: &Record) -> Result<Option<Hash>, Self::Error>;
}

/// What is known about both sides as a whole.
#[derive(Clone, Debug, Default)]
pub struct Sides {
    /// The account names.
    pub names: BothNames,
    /// When the first scan began, by the clock of the file system: a stamp from this moment or later
    /// may stand for more than one state.
    pub started: Time,
}

/// Compares two scans. Feed it pairs; take the change set at the end.
pub struct Diff<'a, C> {
    sides: &'a Sides,
    contents: &'a mut C,
    changes: ChangeSet,
}

impl<'a, C: Contents> Diff<'a, C> {
    /// A comparison that has seen nothing.
    pub fn new(sides: &'a Sides, contents: &'a mut C) -> Self {
        Self { sides, contents, changes: ChangeSet::default() }
    }

    /// Merges two streams of records, each in path order.
    ///
    /// # Errors
    /// A stream fails, or content cannot be read.
    pub fn merge<E: From<C::Error>>(
        mut self,
        mut before: impl FnMut() -> Result<Option<Record>, E>,
        mut after: impl FnMut() -> Result<Option<Record>, E>,
    ) -> Result<ChangeSet, E> {
        let (mut old, mut new) = (before()?, after()?);
        loop {
            let order = match (&old, &new) {
                (None, None) => return Ok(self.changes),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(old), Some(new)) => old.path.cmp(&new.path),
            };
            match order {
                Ordering::Less => {
                    self.pair(old.take(), None)?;
                    old = before()?;
                }
                Ordering::Greater => {
                    self.pair(None, new.take())?;
                    new = after()?;
                }
                Ordering::Equal => {
                    self.pair(old.take(), new.take())?;
                    old = before()?;
                    new = after()?;
                }
            }
        }
    }

    fn pair(
        &mut self,
        mut before: Option<Record>,
        mut after: Option<Record>,
    ) -> Result<(), C::Error> {
        if let (Some(before), Some(after)) = (&before, &after)
            && self.left_alone(before, after)
        {
            return Ok(());
        }
        if let Some(record) = &mut before {
            let hash = self.contents.before(record)?;
            know(record, hash);
        }
        if let Some(record) = &mut after
            && matches!(record.node.kind, Kind::File(_))
        {
            let hash = self.contents.after(record)?;
            know(record, hash);
        }
        if let (Some(before), Some(after)) = (&before, &after)
            && before.stamp.same(&after.stamp)
            && before.node.same(&after.node)
        {
            return Ok(());
        }
        let Some(path) = after.as_ref().or(before.as_ref()).map(|record| record.path.clone())
        else {
            return Ok(());
        };
        let node = |record: Option<Record>| record.map(|record| record.node);
        match judge(node(before).as_ref(), node(after).as_ref(), &self.sides.names) {
            Verdict::Untouched => {}
            Verdict::Touched(touch) => {
                self.changes.touched.insert(path, touch);
            }
            Verdict::Changed(change) => {
                self.changes.changes.insert(path, change);
            }
        }
        Ok(())
    }

    fn left_alone(&self, before: &Record, after: &Record) -> bool {
        let trusted =
            before.stamp.changed < self.sides.started || !matches!(before.node.kind, Kind::File(_));
        trusted && before.stamp.same(&after.stamp) && before.node.same_but_for_hash(&after.node)
    }
}

fn know(record: &mut Record, hash: Option<Hash>) {
    if let Kind::File(content) = &mut record.node.kind
        && content.hash.is_none()
    {
        content.hash = hash;
    }
}

/// Takes out of a change set what lies where one of the scans did not look: unknown is not empty.
/// `unknown` is in order. Returns the paths that were taken out.
pub fn without_unknown(changes: &mut ChangeSet, unknown: &[MachinePath]) -> Vec<MachinePath> {
    let hidden = |path: &MachinePath| unknown.iter().any(|unknown| path.is_within(unknown));
    let mut taken = Vec::new();
    if unknown.is_empty() {
        return taken;
    }
    changes.changes.retain(|path, _| {
        let keep = !hidden(path);
        if !keep {
            taken.push(path.clone());
        }
        keep
    });
    changes.touched.retain(|path, _| !hidden(path));
    taken
}
