//! Everything made beside its place, and the receipt's claims written.

use std::{
    collections::{HashMap, VecDeque},
    io,
};

use change::{FileSink, FrameReader, Machine, Node, RawMeta};
use model::{Hash, Hasher, MachinePath};
use package::{FileContent, Record};

use super::{Copy, Decided, Decision, Trees, ended};
use crate::{
    Before, Claim, InstallError, Payload, Pour, Stage, Stands, payload::Stop, settings, work::Work,
};

/// Makes everything beside its place, and writes the receipt's claims.
pub(super) fn stage<M: Machine + ?Sized>(
    trees: &mut Trees,
    work: &mut Work<'_, M>,
    payload: &mut dyn Payload,
) -> Result<(), InstallError> {
    let mut staging = Staging {
        trees,
        position: 0,
        ahead: VecDeque::new(),
        open: Vec::new(),
        made: HashMap::new(),
    };
    let mut failure = None;
    let read = payload.contents(&mut |record, pour| {
        staging.stage_record(work, record, pour).map_err(|error| {
            failure = Some(error);
            Stop
        })
    });
    ended(read, failure)?;
    while let Some(folder) = staging.open.pop() {
        work.transaction.machine().set_meta(&folder.at, &folder.meta)?;
    }
    Ok(())
}

/// Where the first name of a hard-linked file was made.
struct Made {
    at: MachinePath,
    place: MachinePath,
    length: u64,
    hash: Hash,
}

/// A folder being filled; its time is set when that is over.
struct Open {
    at: MachinePath,
    meta: RawMeta,
}

struct Staging<'t> {
    trees: &'t mut Trees,
    position: u64,
    ahead: VecDeque<Decided>,
    open: Vec<Open>,
    made: HashMap<(u32, Vec<u8>), Made>,
}

impl Staging<'_> {
    fn stage_record<M: Machine + ?Sized>(
        &mut self,
        work: &mut Work<'_, M>,
        record: &Record,
        pour: &mut dyn Pour,
    ) -> Result<(), InstallError> {
        if !self.trees.targets.contains_key(&record.tree) {
            return Ok(());
        }
        work.go_on()?;
        let mut decided = self.next(work)?;
        while let Decision::Implied(at) = &decided.decision {
            self.make_implied(work, at.clone(), &decided.place, record)?;
            decided = self.next(work)?;
        }
        let meta = work.raw(&record.meta)?;
        let (at, stands) = match &decided.decision {
            Decision::Within => {
                let at = self.trees.staged_within(&decided.place);
                (
                    at.ok_or_else(|| InstallError::Vanished { path: decided.place.clone() })?,
                    Stands::Ours,
                )
            }
            Decision::Stage(at) => (at.clone(), Stands::Ours),
            Decision::StageKeeping { at, copies } => {
                for copy in copies {
                    keep_as(work, &decided.place, copy)?;
                }
                (at.clone(), Stands::Ours)
            }
            Decision::BelowKeeping { ours, copy } => {
                keep_as(work, &decided.place, copy)?;
                (work.paths.saved(&ours.name), Stands::Newer(ours.clone()))
            }
            Decision::Beside { at, to } => (at.clone(), Stands::Changed(to.clone())),
            Decision::Below(saved) => (work.paths.saved(&saved.name), Stands::Newer(saved.clone())),
            Decision::Same | Decision::Leave => {
                let stands =
                    if decided.decision == Decision::Same { Stands::Ours } else { Stands::Theirs };
                return self.claim_standing(work, record, &decided, meta, stands);
            }
            Decision::Implied(_) => return Ok(()),
        };
        self.descend(work, &at, &decided.place, record)?;
        let made = self.make(work, record, pour, &at, &decided, meta, stands);
        // People know the place, not the name beside it.
        let claim = made.map_err(|error| match error {
            InstallError::Machine(error) if error.path == at => {
                change::MachineError { path: decided.place.clone(), ..error }.into()
            }
            error => error,
        })?;
        work.counts.staged += 1;
        work.claim(claim)
    }

    /// Closes folders that are left, and opens the one `at` is made in.
    fn descend<M: Machine + ?Sized>(
        &mut self,
        work: &mut Work<'_, M>,
        at: &MachinePath,
        place: &MachinePath,
        record: &Record,
    ) -> Result<(), InstallError> {
        while self.open.last().is_some_and(|open| !at.is_within(&open.at)) {
            if let Some(folder) = self.open.pop() {
                work.transaction.machine().set_meta(&folder.at, &folder.meta)?;
            }
        }
        let Some(parent) = at.parent() else { return Ok(()) };
        let is_open = self.open.last().is_some_and(|open| open.at == parent);
        if is_open || !self.trees.fresh.values().any(|root| parent.is_within(root)) {
            return Ok(());
        }
        // A folder closed before, or one no record listed.
        if let Some(found) = work.machine().look(&parent)? {
            self.open.push(Open { at: parent, meta: found.meta });
            return Ok(());
        }
        let place = place.parent().unwrap_or_else(MachinePath::root);
        self.descend(work, &parent, &place, record)?;
        self.make_implied(work, parent, &place, record)
    }

    /// Makes a folder no record listed: root's, 0755, with the time of the first thing in it.
    fn make_implied<M: Machine + ?Sized>(
        &mut self,
        work: &mut Work<'_, M>,
        at: MachinePath,
        place: &MachinePath,
        record: &Record,
    ) -> Result<(), InstallError> {
        let meta = RawMeta { mode: 0o755, ..RawMeta::private(0o755, record.meta.modified) };
        work.transaction.machine().make_directory(&at, &meta)?;
        self.open.push(Open { at, meta: meta.clone() });
        work.claimed(place);
        work.claim(claim(place.clone(), Node::Directory, meta, Before::Nothing))
    }

    #[expect(clippy::too_many_arguments, reason = "one record with all that was decided about it")]
    fn make<M: Machine + ?Sized>(
        &mut self,
        work: &mut Work<'_, M>,
        record: &Record,
        pour: &mut dyn Pour,
        at: &MachinePath,
        decided: &Decided,
        meta: RawMeta,
        stands: Stands,
    ) -> Result<Claim, InstallError> {
        let before = decided.before.clone().unwrap_or(Before::Nothing);
        let version = self.trees.targets[&record.tree].version.clone();
        let node = match &record.node {
            package::Node::Directory | package::Node::Carrier => {
                match work.machine().look(at)? {
                    Some(found) if found.node.is_directory() => {}
                    _ => work.transaction.machine().make_directory(at, &meta)?,
                }
                self.open.push(Open { at: at.clone(), meta: meta.clone() });
                Node::Directory
            }
            package::Node::File(content) => {
                let (length, hash) = make_file(work, content, pour, at, &meta)?;
                let key = (record.tree, record.path.clone());
                if self.trees.linked.contains(&key) {
                    let made = Made { at: at.clone(), place: decided.place.clone(), length, hash };
                    self.made.insert(key, made);
                }
                let claim = claim(decided.place.clone(), Node::File { length }, meta, before);
                return Ok(Claim { hash: Some(hash), version, stands, ..claim });
            }
            package::Node::HardLink { tree, path } => {
                let made = self.made.get(&(*tree, path.clone()));
                let made =
                    made.ok_or_else(|| InstallError::Vanished { path: decided.place.clone() })?;
                work.transaction.machine().link(&made.at, at)?;
                let claim =
                    claim(decided.place.clone(), Node::File { length: made.length }, meta, before);
                let link = Some(made.place.clone());
                return Ok(Claim { hash: Some(made.hash), version, stands, link, ..claim });
            }
            package::Node::Symlink(target) => Node::Symlink(work.expand(target)?),
            package::Node::Fifo => Node::Fifo,
            package::Node::CharacterDevice { major, minor } => {
                Node::CharacterDevice { major: *major, minor: *minor }
            }
            package::Node::BlockDevice { major, minor } => {
                Node::BlockDevice { major: *major, minor: *minor }
            }
        };
        if node != Node::Directory {
            work.transaction.machine().make_node(at, &node, &meta)?;
        }
        Ok(Claim { version, stands, ..claim(decided.place.clone(), node, meta, before) })
    }

    /// A claim on what stands there already.
    fn claim_standing<M: Machine + ?Sized>(
        &mut self,
        work: &mut Work<'_, M>,
        record: &Record,
        decided: &Decided,
        meta: RawMeta,
        stands: Stands,
    ) -> Result<(), InstallError> {
        let Some(before) = decided.before.clone() else { return Ok(()) };
        let version = self.trees.targets[&record.tree].version.clone();
        let (node, hash) = match &record.node {
            package::Node::Directory | package::Node::Carrier => (Node::Directory, None),
            package::Node::File(content) => {
                let key = (record.tree, record.path.clone());
                if self.trees.linked.contains(&key) {
                    let place = decided.place.clone();
                    let made = Made {
                        at: place.clone(),
                        place,
                        length: content.length,
                        hash: content.hash,
                    };
                    self.made.insert(key, made);
                }
                (Node::File { length: content.length }, Some(content.hash))
            }
            package::Node::HardLink { tree, path } => match self.made.get(&(*tree, path.clone())) {
                Some(made) => (Node::File { length: made.length }, Some(made.hash)),
                None => (Node::File { length: 0 }, None),
            },
            package::Node::Symlink(target) => (Node::Symlink(work.expand(target)?), None),
            package::Node::Fifo => (Node::Fifo, None),
            package::Node::CharacterDevice { major, minor } => {
                (Node::CharacterDevice { major: *major, minor: *minor }, None)
            }
            package::Node::BlockDevice { major, minor } => {
                (Node::BlockDevice { major: *major, minor: *minor }, None)
            }
        };
        work.claim(Claim {
            hash,
            version,
            stands,
            ..claim(decided.place.clone(), node, meta, before)
        })
    }

    fn next<M: Machine + ?Sized>(
        &mut self,
        work: &mut Work<'_, M>,
    ) -> Result<Decided, InstallError> {
        if self.ahead.is_empty() {
            let mut reader = FrameReader::open(work.machine(), self.trees.decisions.clone())?;
            reader.seek(self.position);
            while self.ahead.len() < 2048
                && let Some(decided) = reader.forward()?
            {
                self.ahead.push_back(decided);
            }
            self.position = reader.position();
        }
        let path = self.trees.decisions.clone();
        self.ahead.pop_front().ok_or(InstallError::Vanished { path })
    }
}

fn claim(path: MachinePath, node: Node, meta: RawMeta, before: Before) -> Claim {
    Claim { path, node, meta, hash: None, before, version: None, stands: Stands::Ours, link: None }
}

/// Keeps a copy of what stands at `place`, with other metadata.
fn keep_as<M: Machine + ?Sized>(
    work: &mut Work<'_, M>,
    place: &MachinePath,
    Copy { saved, meta }: &Copy,
) -> Result<(), InstallError> {
    let kept = work.paths.saved(&saved.name);
    let machine = work.transaction.machine();
    if machine.look(&kept)?.is_none() {
        machine.copy(place, &kept)?;
        machine.set_meta(&kept, meta)?;
    }
    Ok(())
}

/// Writes a file's content, holes and substitutions in place; answers its length and hash.
fn make_file<M: Machine + ?Sized>(
    work: &mut Work<'_, M>,
    content: &FileContent,
    pour: &mut dyn Pour,
    at: &MachinePath,
    meta: &RawMeta,
) -> Result<(u64, Hash), InstallError> {
    let values: Vec<Vec<u8>> = content
        .substitutions
        .iter()
        .map(|one| {
            let expanded = work.expand(&one.with)?;
            if one.form.is_none() {
                return Ok(expanded);
            }
            settings::expect(|| format!("the shortcut `{at}`"))?;
            Ok(one.formed(expanded))
        })
        .collect::<Result<_, InstallError>>()?;
    let mut written = Written { hasher: Hasher::new(), length: 0 };
    let plain = content.substitutions.is_empty();
    let Work { transaction, progress, counts, .. } = work;
    let total = counts.total_bytes;
    let made = transaction.machine().make_file(at, meta, &mut |sink| {
        let mut position = 0;
        let mut substitution = 0;
        pour.pour(&mut |offset, bytes| {
            counts.bytes += bytes.len() as u64;
            progress.progress(Stage::Staging, counts.bytes, total, "");
            if progress.is_interrupted() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            if offset > position {
                sink.hole(offset - position)?;
            }
            position = offset + bytes.len() as u64;
            if plain {
                return sink.data(bytes);
            }
            substitute(sink, content, &values, &mut substitution, offset, bytes, &mut written)
        })?;
        if position < content.length {
            sink.hole(content.length - position)?;
        }
        Ok(())
    });
    made.map_err(|error| match error.reason.kind() {
        io::ErrorKind::Interrupted => InstallError::Interrupted,
        _ => error.into(),
    })?;
    Ok(if plain {
        (content.length, content.hash)
    } else {
        (written.length, written.hasher.finish())
    })
}

struct Written {
    hasher: Hasher,
    length: u64,
}

/// Writes `bytes`, which stand at `position` of the payload, with what falls into a substitution left
/// out, and its value put where it starts.
fn substitute(
    sink: &mut dyn FileSink,
    content: &FileContent,
    values: &[Vec<u8>],
    next: &mut usize,
    mut position: u64,
    mut bytes: &[u8],
    written: &mut Written,
) -> io::Result<()> {
    let mut put = |part: &[u8]| {
        written.hasher.update(part);
        written.length += part.len() as u64;
        sink.data(part)
    };
    while !bytes.is_empty() {
        let Some(substitution) = content.substitutions.get(*next) else { return put(bytes) };
        let range = substitution.range;
        let take =
            |until: u64| usize::try_from(until - position).unwrap_or(usize::MAX).min(bytes.len());
        if position < range.offset {
            let count = take(range.offset);
            put(&bytes[..count])?;
            position += count as u64;
            bytes = &bytes[count..];
        } else {
            if position == range.offset {
                put(&values[*next])?;
            }
            let end = range.offset + range.length;
            let count = take(end);
            position += count as u64;
            bytes = &bytes[count..];
            if position == end {
                *next += 1;
            }
        }
    }
    Ok(())
}
