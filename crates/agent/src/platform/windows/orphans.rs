//! What a program left running whose runner was killed. The job ends with the runner that held it; one that somebody else holds open
//! is ended here.

use running::Process;

use super::runner;
use crate::attempt::Attempt;

/// Ends everything that is left of an attempt whose runner is no more.
pub(crate) fn end(_: &Attempt, runner: Process) {
    let _ = machine_windows::end_job(&runner::job_name(runner));
}
