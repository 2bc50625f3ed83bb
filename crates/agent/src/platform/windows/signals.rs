//! What the service manager wants, or who sits at the console.

use std::io;

use machine_windows::{Wanted, is_there};

use super::Waited;

/// Wishes to an agent.
#[derive(Debug)]
pub(crate) struct Signals(&'static Wanted);

/// What somebody wants of an agent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wishes {
    /// That it ends.
    pub(crate) end: bool,
    /// That the site is asked now.
    pub(crate) ask: bool,
}

impl Signals {
    pub(crate) fn listen() -> io::Result<Self> {
        let wanted = Wanted::of_process()?;
        wanted.listen_to_console();
        Ok(Self(wanted))
    }

    #[expect(clippy::needless_pass_by_ref_mut, reason = "as where they are read from a file")]
    pub(crate) fn take(&mut self) -> io::Result<Wishes> {
        let end = is_there(self.0.end(), std::time::Duration::ZERO)?;
        Ok(Wishes { end, ask: false })
    }

    pub(crate) fn waited(&self) -> Waited<'_> {
        self.0.end()
    }
}
