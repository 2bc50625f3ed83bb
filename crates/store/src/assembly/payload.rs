//! An assembly as what an installation takes its content from.

use std::io::{self, Read};

use content::{Entry, Place};
use install::{Payload, PayloadError, Pour, Stop};
use model::Hash;
use package::{Header, Node, Record};

use super::{
    Assembly, Work,
    following::{Step, Steps},
};
use crate::PointError;

impl Payload for Assembly<'_> {
    fn header(&self) -> &Header {
        self.catalogue.header()
    }

    fn records(
        &mut self,
        each: &mut dyn FnMut(&Record) -> Result<(), Stop>,
    ) -> Result<(), PayloadError> {
        for entry in self.catalogue.entries() {
            let entry = entry.map_err(|error| PayloadError::Other(Box::new(error)))?;
            each(&entry.record).map_err(|Stop| PayloadError::Stopped)?;
        }
        Ok(())
    }

    fn contents(
        &mut self,
        each: &mut dyn FnMut(&Record, &mut dyn Pour) -> Result<(), Stop>,
    ) -> Result<(), PayloadError> {
        let mut delta = self.delta.take();
        let done = match &mut delta {
            None => self.while_fetching(&|_| {}, |work| pour_all(work, None, each)),
            Some(delta) => {
                let identity = self.catalogue.identity();
                delta.follow(identity, |steps| {
                    self.while_fetching(&|_| {}, |work| pour_all(work, Some(steps), each))
                })
            }
        };
        self.delta = delta;
        done
    }
}

fn pour_all(
    work: &mut Work<'_, '_>,
    mut steps: Option<&mut Steps<'_, '_>>,
    each: &mut dyn FnMut(&Record, &mut dyn Pour) -> Result<(), Stop>,
) -> Result<(), PayloadError> {
    for entry in work.catalogue.entries() {
        let Entry { record, places } =
            entry.map_err(|error| PayloadError::Other(Box::new(error)))?;
        let step = match &mut steps {
            Some(steps) => steps.next(&record).map_err(other)?,
            None => Step::None,
        };
        let steps = steps.as_deref_mut().filter(|_| !matches!(step, Step::None));
        let mut poured = Poured { work, record: &record, places: &places, step, steps };
        each(&record, &mut poured).map_err(|Stop| PayloadError::Stopped)?;
        // What nobody took must be passed all the same.
        poured.pass().map_err(other)?;
    }
    Ok(())
}

fn other(error: PointError) -> PayloadError {
    PayloadError::Other(Box::new(error))
}

/// One file's content, on its way into an installation.
struct Poured<'w, 'a, 'p, 's, 'd> {
    work: &'w mut Work<'a, 'p>,
    record: &'w Record,
    places: &'w [Place],
    step: Step,
    steps: Option<&'w mut Steps<'s, 'd>>,
}

impl Poured<'_, '_, '_, '_, '_> {
    /// The chunks, each verified: over the delta as long as that leads there, else from what is here and from frames.
    fn chunks(&mut self, take: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let mut chunk = std::mem::take(self.work.room);
        let mut left = self.places;
        if let Some(steps) = &mut self.steps {
            let step = std::mem::replace(&mut self.step, Step::None);
            let length = left.iter().map(|place| u64::from(place.chunk.length)).sum();
            let mut failed = None;
            steps
                .data(&step, length, &mut |made| {
                    while let Some((place, rest)) = left.split_first() {
                        chunk.resize(place.chunk.length as usize, 0);
                        made.read_exact(&mut chunk)?;
                        if Hash::of(&chunk) != place.chunk.hash {
                            return Err(io::Error::other("it leads to other content"));
                        }
                        left = rest;
                        if let Err(error) = take(&chunk) {
                            failed = Some(error);
                            return Err(io::ErrorKind::Interrupted.into());
                        }
                    }
                    Ok(())
                })
                .map_err(io::Error::other)?;
            if let Some(error) = failed {
                return Err(error);
            }
        }
        for place in left {
            self.work.chunk(place, &mut chunk).map_err(io::Error::other)?;
            take(&chunk)?;
        }
        *self.work.room = chunk;
        Ok(())
    }

    /// Reads on to the next record.
    fn pass(&mut self) -> Result<(), PointError> {
        let Some(steps) = &mut self.steps else { return Ok(()) };
        let step = std::mem::replace(&mut self.step, Step::None);
        let length = self.places.iter().map(|place| u64::from(place.chunk.length)).sum();
        steps.data(&step, length, &mut |made| {
            io::copy(&mut Read::take(made, length), &mut io::sink()).map(drop)
        })
    }
}

impl Pour for Poured<'_, '_, '_, '_, '_> {
    fn pour(&mut self, into: &mut dyn FnMut(u64, &[u8]) -> io::Result<()>) -> io::Result<()> {
        let Node::File(content) = &self.record.node else { return Ok(()) };
        let whole =
            model::Content { length: content.length, hash: None, holes: content.holes.clone() };
        let mut extents = whole.data();
        let mut extent = extents.next();
        self.chunks(&mut |mut rest| {
            while !rest.is_empty() {
                let Some(open) = &mut extent else { return Err(io::ErrorKind::InvalidData.into()) };
                let left = usize::try_from(open.length).unwrap_or(usize::MAX).min(rest.len());
                into(open.offset, &rest[..left])?;
                (open.offset, open.length) = (open.offset + left as u64, open.length - left as u64);
                rest = &rest[left..];
                if open.length == 0 {
                    extent = extents.next();
                }
            }
            Ok(())
        })
    }
}
