use change::{Machine, Observe};
use install::{Facts, InstallError, Options, Outcome, Silent, Uninstalled};
use model::{PackageName, Time};
use testkit::Sample;

pub(crate) fn now() -> Time {
    Time { seconds: 1_750_000_000, nanoseconds: 1 }
}

pub(crate) fn options() -> Options {
    Options { began: now(), ..Options::default() }
}

pub(crate) fn name(text: &str) -> PackageName {
    text.parse().unwrap()
}

/// As the programs do: recover, open the state, install.
pub(crate) fn install_with<M: Machine>(
    machine: &mut M,
    facts: &dyn Facts,
    sample: &Sample,
    options: &Options,
) -> Result<Outcome, InstallError> {
    let paths = install::state_paths(machine)?;
    install::recover(machine, &paths).unwrap();
    install::open_state(machine, &paths, now())?;
    let done = install::install(machine, &paths, &mut sample.open(), facts, options, &mut Silent);
    install::close_state(machine, &paths)?;
    done
}

pub(crate) fn uninstall<M: Machine>(
    machine: &mut M,
    facts: &dyn Facts,
    package: &str,
) -> Result<Option<Uninstalled>, InstallError> {
    let paths = install::state_paths(machine)?;
    install::recover(machine, &paths).unwrap();
    if machine.look(&paths.state)?.is_none() {
        return Ok(None);
    }
    let done = install::uninstall(machine, &paths, &name(package), facts, now(), &mut Silent);
    install::close_state(machine, &paths)?;
    done
}

pub(crate) fn roll_back<M: Machine>(
    machine: &mut M,
    package: &str,
    discard: bool,
) -> Result<Option<install::RolledBack>, install::RollBackError> {
    let paths = install::state_paths(machine)?;
    install::recover(machine, &paths).unwrap();
    if machine.look(&paths.state)?.is_none() {
        return Ok(None);
    }
    let done = install::roll_back(machine, &paths, &name(package), discard);
    install::close_state(machine, &paths)?;
    done
}

/// Everything but our own state.
pub(crate) fn picture(machine: &impl Observe) -> testkit::Picture {
    testkit::Picture::of(machine, "/", &["/var/lib/packhorse"])
}
