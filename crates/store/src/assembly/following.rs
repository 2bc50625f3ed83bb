//! A delta that is followed straight into an installation, while it comes.

use std::{
    io::{self, BufReader, Read},
    path::Path,
    sync::Arc,
};

use content::{Data, DeltaReader, Object, OutlineNode, PackFrame};
use model::Hash;
use package::Record;

use super::Ended;
use crate::{
    Point, PointError,
    follow::same,
    frames::{FrameFile, Frames},
    unpacked::Unpacked,
};

/// A delta on its way, and what it starts from.
pub(super) struct Following<'p> {
    coming: Frames<'p>,
    base: Arc<Unpacked>,
    strayed: Option<String>,
}

/// A delta as one frame that nobody unpacks.
pub(crate) fn as_frame(object: &Object) -> PackFrame {
    PackFrame {
        pack: 0,
        offset: 0,
        stored: object.length,
        plain: 1,
        window_log: 0,
        filtered: false,
    }
}

impl<'p> Following<'p> {
    pub(super) fn new(
        point: &'p Point,
        folder: &Path,
        object: &Object,
        base: Arc<Unpacked>,
    ) -> Self {
        let coming = Frames::new(point, folder, &[*object], &[as_frame(object)]);
        Self { coming, base, strayed: None }
    }

    pub(super) fn strayed(&self) -> Option<&str> {
        self.strayed.as_deref()
    }

    pub(super) fn discard(&self) -> Result<(), PointError> {
        self.coming.discard()
    }

    /// Runs `act` while the delta comes. One that led astray before is not followed again.
    pub(super) fn follow<T>(
        &mut self,
        wanted: Hash,
        act: impl FnOnce(&mut Steps<'_, 'p>) -> T,
    ) -> T {
        let missing = if self.strayed.is_some() { Vec::new() } else { self.coming.missing(&[0]) };
        self.coming.begin();
        let Self { coming, base, strayed } = self;
        let coming = &*coming;
        std::thread::scope(|scope| {
            let ended = Ended(coming);
            scope.spawn(move || coming.fetch(&missing, &mut |_| {}));
            let outlines = base.outlines();
            let mut steps = Steps { coming, base, wanted, outlines, reader: None, strayed };
            let done = act(&mut steps);
            drop(ended);
            done
        })
    }
}

/// A delta, step by step: one for each record, in their order.
pub(super) struct Steps<'s, 'p> {
    coming: &'s Frames<'p>,
    base: &'s Unpacked,
    wanted: Hash,
    outlines: Vec<Vec<u8>>,
    reader: Option<DeltaReader<BufReader<FrameFile>>>,
    strayed: &'s mut Option<String>,
}

/// What a delta says of a record.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// Nothing: the record has no data, or the delta led astray.
    None,
    /// The data is that of a record of the base.
    Same(u64),
    /// A lane makes it.
    Made(u8),
}

impl Steps<'_, '_> {
    /// The step of the next record. Only a connection that is cut is an error: a delta that leads astray is left.
    pub(super) fn next(&mut self, record: &Record) -> Result<Step, PointError> {
        if self.strayed.is_some() {
            return Ok(Step::None);
        }
        match self.outline(record) {
            Ok(step) => Ok(step),
            Err(reason) => self.stray(&reason).map(|()| Step::None),
        }
    }

    fn outline(&mut self, record: &Record) -> Result<Step, String> {
        if self.reader.is_none() {
            let input = BufReader::with_capacity(256 << 10, self.coming.open(0));
            let opened = DeltaReader::open(input).map_err(|error| error.to_string())?;
            if opened.head().base != self.base.identity || opened.head().target != self.wanted {
                return Err("it leads from or to another package".to_owned());
            }
            self.reader = Some(opened);
        }
        let Some(reader) = &mut self.reader else { return Ok(Step::None) };
        let outline = reader
            .next_outline(&self.outlines)
            .map_err(|error| error.to_string())?
            .ok_or("it ends too early")?;
        if outline.tree != record.tree || *outline.path != *record.path {
            return Err("it leads to other files".to_owned());
        }
        Ok(match &outline.node {
            OutlineNode::File { data: Data::Same(position), .. } => Step::Same(*position),
            OutlineNode::File { data: Data::Made(lane), .. } => Step::Made(*lane),
            _ => Step::None,
        })
    }

    /// Hands the data of a step to `read`, which reads all of it; where it cannot, the delta is left.
    pub(super) fn data(
        &mut self,
        step: &Step,
        length: u64,
        read: &mut dyn FnMut(&mut dyn Read) -> io::Result<()>,
    ) -> Result<(), PointError> {
        let base = self.base;
        let done = match (step, &mut self.reader) {
            (Step::None, _) | (_, None) => return Ok(()),
            (Step::Same(position), Some(_)) => same(base, *position, length)
                .map_err(|error| error.to_string())
                .and_then(|mut same| read(&mut same).map_err(|error| error.to_string())),
            (Step::Made(lane), Some(reader)) => {
                let mut from = |at: u64, buffer: &mut [u8]| base.read_at(at, buffer);
                reader
                    .data(*lane, length, &mut from)
                    .map_err(|error| error.to_string())
                    .and_then(|mut made| read(&mut made).map_err(|error| error.to_string()))
            }
        };
        done.or_else(|reason| self.stray(&reason))
    }

    /// A cut is gone on from later; what came whole and leads nowhere is not.
    fn stray(&mut self, reason: &str) -> Result<(), PointError> {
        self.reader = None;
        if let Some(cut) = self.coming.failed() {
            return Err(cut);
        }
        *self.strayed = Some(reason.to_owned());
        self.coming.stop();
        self.coming.forget(0)
    }
}
