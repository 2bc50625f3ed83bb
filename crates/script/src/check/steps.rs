use model::{Hook, MachinePath, RunStep, ServiceStep, Undo, Users};

use super::{step_place, targets::Targets, variables::usual_path};
use crate::{Problem, Script, Severity, StepKind};

/// Folders machines share among programs: nobody removes them whole.
const SHARED: &[&str] = &[
    "/",
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/etc/cron.d",
    "/etc/default",
    "/etc/init.d",
    "/etc/ld.so.conf.d",
    "/etc/profile.d",
    "/etc/ssl",
    "/etc/sysctl.d",
    "/etc/systemd",
    "/etc/systemd/system",
    "/home",
    "/lib",
    "/lib32",
    "/lib64",
    "/media",
    "/mnt",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/srv",
    "/sys",
    "/tmp",
    "/usr",
    "/usr/bin",
    "/usr/include",
    "/usr/lib",
    "/usr/lib64",
    "/usr/lib/systemd",
    "/usr/lib/systemd/system",
    "/usr/libexec",
    "/usr/local",
    "/usr/local/bin",
    "/usr/local/etc",
    "/usr/local/lib",
    "/usr/local/sbin",
    "/usr/local/share",
    "/usr/sbin",
    "/usr/share",
    "/usr/share/applications",
    "/usr/share/doc",
    "/usr/share/man",
    "/usr/src",
    "/var",
    "/var/cache",
    "/var/lib",
    "/var/log",
    "/var/mail",
    "/var/opt",
    "/var/spool",
    "/var/tmp",
    "/var/www",
];

/// Where systemd looks for unit files.
const UNIT_FOLDERS: &[&str] = &[
    "/etc/systemd/system",
    "/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/usr/local/lib/systemd/system",
];

/// Only what every user has can be for some of them.
fn check_users(script: &Script, index: usize, problems: &mut Vec<Problem>) {
    let step = &script.steps[index];
    let place = step.kind.place();
    if step.users.is_empty() || place.is_some_and(Users::have) {
        return;
    }
    let text = match place {
        Some(place) => format!("`{place}` is the machine's: not every user has one"),
        None => "this is the machine's: not every user has one".to_owned(),
    };
    let hint = format!("leave `users` out, or begin with `HKCU` or `${{{}}}`", Users::FOLDERS[1]);
    problems.push(Problem::error(step_place(script, index).key("users"), text).hint(hint));
}

/// Checks steps against each other and against what is known to go wrong.
pub(super) fn check(script: &Script, targets: &Targets, problems: &mut Vec<Problem>) {
    for (index, step) in script.steps.iter().enumerate() {
        check_users(script, index, problems);
        let mut found = Found { script, targets, index, problems };
        match &step.kind {
            StepKind::Remove { path } => {
                if let Some(path) = usual_path(script, path) {
                    found.removal(&path);
                }
            }
            StepKind::Edit(edit) => {
                if let Some(path) = usual_path(script, &edit.file) {
                    found.edit(&path, crate::visit::edit_name(&edit.edits));
                }
            }
            StepKind::Service(service) => found.service(service),
            StepKind::Run(run) => found.run(run),
            _ => {}
        }
    }
}

struct Found<'s, 'p> {
    script: &'s Script,
    targets: &'s Targets,
    index: usize,
    problems: &'p mut Vec<Problem>,
}

impl Found<'_, '_> {
    fn removal(&mut self, path: &MachinePath) {
        if SHARED.iter().any(|shared| shared.as_bytes() == path.as_bytes()) {
            let message =
                format!("it would remove `{path}`, which programs share, with all it holds");
            self.problem(Severity::Error, "remove", message, "name what is yours below it");
        }
        let within = self.targets.paths.range(path.clone()..);
        let taken = within
            .take_while(|(target, _)| target.is_within(path))
            .find(|(_, (step, _))| *step < self.index);
        if let Some((target, (step, _))) = taken {
            let message = format!("it removes `{target}`, which step {} installs", step + 1);
            self.problem(
                Severity::Error,
                "remove",
                message,
                "put the removal first, or leave one of them out",
            );
        }
    }

    fn edit(&mut self, path: &MachinePath, key: &str) {
        match self.targets.paths.get(path) {
            Some((step, true)) => {
                let message = format!("`{path}` is a folder, which step {} installs", step + 1);
                self.problem(Severity::Error, key, message, "name a file");
            }
            Some((step, false)) => {
                let message = format!("step {} installs `{path}` whole", step + 1);
                self.problem(
                    Severity::Warning,
                    key,
                    message,
                    "change the file in the project instead of on the machine",
                );
            }
            None => {}
        }
    }

    fn service(&mut self, service: &ServiceStep) {
        let unit = &*service.unit;
        // `getty@tty1.service` is made of `getty@.service`.
        let template = unit.split_once('@').and_then(|(start, instance)| {
            Some(format!("{start}@.{}", instance.rsplit_once('.')?.1))
        });
        let installed = [Some(unit.to_owned()), template]
            .into_iter()
            .flatten()
            .flat_map(|name| UNIT_FOLDERS.iter().map(move |folder| format!("{folder}/{name}")))
            .filter_map(|path| self.targets.paths.get(&MachinePath::new(path).ok()?))
            .map(|(step, _)| *step)
            .min();
        match installed {
            Some(step) if step > self.index => {
                let message = format!("`{unit}` is installed only later, by step {}", step + 1);
                self.problem(Severity::Error, "service", message, "put this step behind it");
            }
            Some(_) => {}
            None => {
                let message =
                    format!("no step installs `{unit}`: it must be on the machine already");
                self.problem(
                    Severity::Warning,
                    "service",
                    message,
                    "install the unit to /usr/lib/systemd/system",
                );
            }
        }
    }

    fn run(&mut self, run: &RunStep) {
        if run.undo == Undo::Irreversible && run.at == Hook::Install {
            self.problem(
                Severity::Note,
                "undo",
                "nothing takes this command back, and whoever installs is told".to_owned(),
                "if it writes files, `undo = \"outputs\"` with `outputs = […]` puts them back",
            );
        }
        let followed = |step: &crate::Step| match &step.kind {
            StepKind::Run(later) => later.at == run.at,
            _ => run.at == Hook::Install,
        };
        if !run.wait && self.script.steps[self.index + 1..].iter().any(followed) {
            self.problem(
                Severity::Warning,
                "wait",
                "the next step does not wait for it, and may find its files in use".to_owned(),
                "take `wait = false` out, or make it the last step",
            );
        }
    }

    fn problem(&mut self, severity: Severity, key: &str, message: String, hint: &str) {
        let place = step_place(self.script, self.index).key(key);
        self.problems.push(Problem::new(severity, place, message).hint(hint));
    }
}
