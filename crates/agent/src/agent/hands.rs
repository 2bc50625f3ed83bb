//! What was decided is carried out here.

use std::{io, thread};

use deployment::{Action, Deployment, ExitMap};
use running::{Effect, End, Entry, Event, Found, Hands, Run, RunId, Traces};
use rustix::fs::inotify;

use super::{Active, Agent, AgentError, Answer, Looking, machine};
use crate::{
    attempt::{Attempt, Ending},
    clock, detect,
    order::{self, Here},
    process,
};

/// What became of an attempt. The permit is taken back first, where it still stands.
pub(super) fn find(attempt: &Attempt, codes: Codes) -> io::Result<Found> {
    attempt.take_back()?;
    let is_alive = attempt.is_alive();
    let end = attempt.ending()?.map(|ending| codes.end(&ending));
    let traces = Traces { began: attempt.began()?, is_alive, end };
    Ok(traces.found(clock::boot()))
}

/// What ends of a deployment mean.
#[derive(Clone, Debug, Default)]
pub(super) struct Codes {
    map: ExitMap,
    limit: Option<u32>,
}

impl Codes {
    pub(super) fn end(&self, ending: &Ending) -> End {
        order::end(ending, &self.map, self.limit)
    }
}

impl Agent {
    /// The deployment of a run, as a document named it last.
    pub(super) fn deployment(&self, id: &RunId) -> Option<&Deployment> {
        let named = self.document.as_ref().and_then(|document| {
            document.deployments.iter().find(|one| one.id.as_str() == &*id.deployment)
        });
        named.or_else(|| {
            let known = self.memory.iter().find(|(known, _)| known.as_str() == &*id.deployment);
            known.map(|(_, known)| &known.deployment)
        })
    }

    pub(super) fn codes(&self, id: &RunId) -> Codes {
        let program = self.deployment(id).map(|deployment| &deployment.program);
        Codes {
            map: program.map(|program| program.exit_codes.clone()).unwrap_or_default(),
            limit: program.and_then(|program| program.limit),
        }
    }

    /// What a run does instead of its deployment's program.
    fn action(&self, id: &RunId) -> Option<Action> {
        self.agenda.action(id)
    }

    /// What the program of a run wrote, as far as it is kept.
    pub(super) fn output_of(&self, run: &Run) -> Vec<u8> {
        let attempt = Attempt::new(&self.state.runs(), &run.order.id, run.attempt);
        match attempt.ending() {
            Ok(Some(ending)) => ending.output,
            _ => std::fs::read(attempt.output()).unwrap_or_default(),
        }
    }

    /// Folders of attempts that nothing follows from.
    pub(super) fn sweep(&mut self) {
        let kept: Vec<_> = self
            .book
            .runs()
            .filter(|run| run.is_under_way())
            .map(|run| Attempt::new(&self.state.runs(), &run.order.id, run.attempt))
            .collect();
        for entry in std::fs::read_dir(self.state.runs()).into_iter().flatten().flatten() {
            let attempt = Attempt::at(entry.path());
            if !kept.contains(&attempt)
                && !attempt.is_alive()
                && let Err(error) = attempt.take_back().and_then(|()| attempt.remove())
            {
                self.note(format!("`{}` cannot be removed: {error}", entry.path().display()));
            }
        }
    }

    /// A rule is asked by a thread: it may wait for a disk that does not answer.
    fn look(&mut self, run: &Run) -> io::Result<()> {
        let id = run.order.id.clone();
        let action = self.action(&id);
        let rule = self.deployment(&id).and_then(|deployment| {
            order::detection(deployment, action.as_ref().unwrap_or(&deployment.program.action))
        });
        let (root, bell) = (self.root.clone(), self.bell.clone());
        let number = clock::dice();
        self.looking = Some(Looking { id: id.clone(), number, since: clock::steady() });
        thread::Builder::new().name("detection".to_owned()).stack_size(1 << 20).spawn(
            move || {
                bell.ring(Answer::Seen(id, number, detect::ask(&root, rule.as_ref())));
            },
        )?;
        Ok(())
    }

    /// Writes the permit, and has its runner started. Whatever goes wrong, the permit decides.
    fn start(&mut self, run: &Run) -> io::Result<()> {
        let id = run.order.id.clone();
        let attempt = Attempt::new(&self.state.runs(), &id, run.attempt);
        if attempt.folder().exists() {
            // What is there already may have begun: whoever starts it now, it was not we.
            let found = find(&attempt, self.codes(&id))?;
            if found != Found::NeverBegan {
                self.events.push_back((id, Event::Woke(Some(found)), Vec::new()));
                return Ok(());
            }
            attempt.remove()?;
        }
        let here = Here {
            root: &self.root,
            program: &self.program,
            points: &self.points,
            cache: self
                .document
                .as_ref()
                .and_then(|document| document.settings.cache)
                .unwrap_or(store::Cache::LIMIT),
        };
        let action = self.action(&id);
        let work = match self.deployment(&id) {
            Some(deployment) => order::work(deployment, action.as_ref(), &here),
            None => Err("no document names it any more".to_owned()),
        };
        let begun = match work {
            Ok(work) => self.permit(&attempt, &work).map_err(|error| error.to_string()),
            Err(why) => Err(why),
        };
        let watch = match begun {
            Ok(watch) => watch,
            Err(why) => {
                let found = find(&attempt, self.codes(&id))?;
                let event = match found {
                    Found::NeverBegan => Event::Ended(End::NotStarted { why: why.into() }),
                    found => Event::Woke(Some(found)),
                };
                self.events.push_back((id, event, Vec::new()));
                return Ok(());
            }
        };
        self.active = Some(Active { id, attempt, process: None, since: clock::steady(), watch });
        Ok(())
    }

    fn permit(&mut self, attempt: &Attempt, work: &crate::attempt::Work) -> io::Result<i32> {
        attempt.permit(work)?;
        let watch =
            inotify::add_watch(&self.watch, attempt.folder(), inotify::WatchFlags::MOVED_TO)?;
        self.keeper.launch(attempt)?;
        Ok(watch)
    }

    /// Its end is waited for.
    fn watch(&mut self, run: &Run, running: running::Process) {
        let id = run.order.id.clone();
        let attempt = Attempt::new(&self.state.runs(), &id, run.attempt);
        let watch = match self.active.take() {
            Some(active) if active.attempt == attempt => active.watch,
            _ => inotify::add_watch(&self.watch, attempt.folder(), inotify::WatchFlags::MOVED_TO)
                .unwrap_or(-1),
        };
        let process = process::open(running);
        self.active = Some(Active { id, attempt, process, since: clock::steady(), watch });
    }

    /// Takes in what shows of what is under way.
    pub(super) fn take_active(&mut self) -> Result<(), AgentError> {
        let Some(active) = &self.active else { return Ok(()) };
        let reading = machine("reading what a run left");
        let Some(run) = self.book.run(&active.id) else { return Ok(()) };
        let (id, attempt) = (active.id.clone(), active.attempt.clone());
        let ending = attempt.ending().map_err(&reading)?;
        let is_alive = attempt.is_alive();
        match &run.stage {
            running::Stage::Intended => {
                if let Some(began) = attempt.began().map_err(&reading)? {
                    self.events.push_back((id, Event::Launched(began.process), Vec::new()));
                } else if clock::steady().saturating_sub(active.since) > super::BEGINNING {
                    let found = find(&attempt, self.codes(&id)).map_err(&reading)?;
                    let event = match found {
                        Found::NeverBegan => {
                            Event::Ended(End::NotStarted { why: "its runner did not begin".into() })
                        }
                        found => Event::Woke(Some(found)),
                    };
                    self.events.push_back((id, event, Vec::new()));
                }
            }
            running::Stage::Started { .. } if !is_alive => {
                let codes = self.codes(&id);
                let (end, output) = match ending {
                    Some(ending) => (codes.end(&ending), ending.output),
                    None => match find(&attempt, codes).map_err(&reading)? {
                        Found::Ended(end) => (end, Vec::new()),
                        Found::Gone { restarted } => (End::Interrupted { restarted }, Vec::new()),
                        _ => (End::Interrupted { restarted: false }, Vec::new()),
                    },
                };
                self.active = None;
                self.events.push_back((id, Event::Ended(end), output));
            }
            _ => {}
        }
        Ok(())
    }

    /// Has a run stopped, with all it started.
    pub(super) fn stop(&mut self, id: &RunId, why: &str) -> Result<bool, AgentError> {
        let Some(active) = self.active.as_ref().filter(|active| active.id == *id) else {
            return Ok(false);
        };
        let stopping = machine("stopping a run");
        let Some(began) = active.attempt.began().map_err(&stopping)? else { return Ok(false) };
        active.attempt.say_why(why).map_err(&stopping)?;
        Ok(process::ask_to_end(began.process))
    }
}

impl Hands for Agent {
    type Error = AgentError;

    fn keep(&mut self, entry: &Entry) -> Result<(), AgentError> {
        Ok(self.journal.append(entry)?)
    }

    fn carry_out(&mut self, run: &Run, effect: Effect) -> Result<(), AgentError> {
        match effect {
            Effect::Say(_) => Ok(()),
            Effect::Look => self.look(run).map_err(machine("asking a detection rule")),
            Effect::Start => self.start(run).map_err(machine("starting a run")),
            Effect::Watch(process) => {
                self.watch(run, process);
                Ok(())
            }
            Effect::Clear => {
                self.active = None;
                // What it changed may have changed what rules say.
                self.agenda.forget();
                let attempt = Attempt::new(&self.state.runs(), &run.order.id, run.attempt);
                // What stays is swept later.
                if let Err(error) = attempt.remove() {
                    self.note(format!(
                        "`{}` cannot be removed: {error}",
                        attempt.folder().display()
                    ));
                }
                Ok(())
            }
        }
    }
}
