use std::marker::PhantomData;

use change::{Damaged, FrameReader, Machine, MachineError, Observe, frame};
use minicbor::{Decode, Encode};
use model::MachinePath;

/// Values are appended this many bytes at a time, and read back this many at a time.
const GATHER: usize = 1 << 18;
const RUN: usize = 2048;

/// Values on the machine's own disk, so that memory does not grow with them: written once, front to
/// back, then read forwards or backwards.
pub(crate) struct Spool<T> {
    path: MachinePath,
    gathered: Vec<u8>,
    written: u64,
    kind: PhantomData<T>,
}

impl<T: Encode<()> + for<'b> Decode<'b, ()>> Spool<T> {
    pub(crate) fn new(path: MachinePath) -> Self {
        Self { path, gathered: Vec::new(), written: 0, kind: PhantomData }
    }

    pub(crate) fn push(
        &mut self,
        machine: &mut (impl Machine + ?Sized),
        value: &T,
    ) -> Result<(), MachineError> {
        self.gathered.extend_from_slice(&frame(value));
        if self.gathered.len() >= GATHER { self.flush(machine) } else { Ok(()) }
    }

    pub(crate) fn flush(
        &mut self,
        machine: &mut (impl Machine + ?Sized),
    ) -> Result<(), MachineError> {
        if !self.gathered.is_empty() {
            machine.append(&self.path, &self.gathered)?;
            self.written += self.gathered.len() as u64;
            self.gathered.clear();
        }
        Ok(())
    }

    /// Where backward reading starts.
    pub(crate) fn end(&self) -> u64 {
        self.written
    }

    /// Some values from `position` on, and where to go on; none at the end.
    pub(crate) fn forward(
        &self,
        machine: &(impl Observe + ?Sized),
        position: u64,
    ) -> Result<(Vec<T>, u64), Damaged> {
        let mut reader = FrameReader::open(machine, self.path.clone())?;
        reader.seek(position);
        let mut run = Vec::new();
        while run.len() < RUN
            && let Some(value) = reader.forward()?
        {
            run.push(value);
        }
        Ok((run, reader.position()))
    }

    /// Some values before `position`, last first, and where to go on; none at the start.
    pub(crate) fn backward(
        &self,
        machine: &(impl Observe + ?Sized),
        position: u64,
    ) -> Result<(Vec<T>, u64), Damaged> {
        let mut reader = FrameReader::open(machine, self.path.clone())?;
        reader.seek(position);
        let mut run = Vec::new();
        while run.len() < RUN
            && let Some(value) = reader.backward()?
        {
            run.push(value);
        }
        Ok((run, reader.position()))
    }
}
