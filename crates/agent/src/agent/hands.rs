//! What was decided is carried out here.

use std::{io, thread};

use deployment::{Action, Deployment, ExitMap, Withdrawal};
use running::{Effect, End, Entry, Event, Found, Hands, Run, RunId, Traces};

use super::{Active, Agent, AgentError, Answer, Looking, machine};
use crate::{
    attempt::{Attempt, Ending},
    clock, detect, durable,
    order::{self, Here},
    platform::{accounts::Account, launch, orphans, process},
};

/// What became of an attempt. The permit is taken back first, where it still stands.
pub(super) fn find(attempt: &Attempt, codes: Codes) -> io::Result<Found> {
    attempt.take_back()?;
    let is_alive = attempt.is_alive();
    let end = attempt.ending()?.map(|ending| codes.end(&ending));
    let began = attempt.began()?;
    let runner = began.as_ref().map(|began| began.process);
    let found = Traces { began, is_alive, end }.found(clock::boot());
    if let (Found::Gone { restarted: false }, Some(runner)) = (&found, runner) {
        // Never two at a time: what it started does not outlive whoever answers for it.
        orphans::end(attempt, runner);
    }
    Ok(found)
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

    pub(super) fn codes(&self, run: &Run) -> Codes {
        let deployment = self.deployment(&run.order.id);
        let map = deployment.zip(self.action(run));
        Codes {
            map: map.map(|(one, action)| order::codes(one, &action)).unwrap_or_default(),
            limit: deployment.and_then(|one| one.program.limit),
        }
    }

    /// What a run does. What takes something away is found by what was ordered: what is decided now may be something else, or
    /// may not have been decided yet.
    fn action(&self, run: &Run) -> Option<Action> {
        let deployment = self.deployment(&run.order.id)?;
        if !run.order.id.removal {
            return Some(deployment.program.action.clone());
        }
        let withdrawn = match &deployment.withdrawal {
            Withdrawal::Run(action) => Some(action),
            Withdrawal::Leave => None,
        };
        let document = self.document.iter().flat_map(|document| &document.deployments);
        let known = self.memory.values().map(|known| &known.deployment);
        let in_the_way = document
            .chain(known)
            .flat_map(|newer| &newer.supersedes)
            .filter(|entry| entry.deployment == deployment.id)
            .filter_map(|entry| entry.first.as_ref());
        let mut all = withdrawn.into_iter().chain(in_the_way);
        let is_it = |action: &&Action| order::digest(deployment, action) == run.order.digest;
        all.find(is_it).cloned().or_else(|| self.agenda.action(&run.order.id))
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
        let rule = self
            .deployment(&id)
            .zip(self.action(run))
            .and_then(|(deployment, action)| order::detection(deployment, &action));
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
            let found = find(&attempt, self.codes(run))?;
            if found != Found::NeverBegan {
                self.events.push_back((id, Event::Woke(Some(found)), Vec::new()));
                return Ok(());
            }
            self.watch.leave_attempt();
            attempt.remove()?;
        }
        let reach = order::reach();
        // The runner is of the version we are, whatever has its name by now.
        let program = launch::own_name().unwrap_or_else(|| launch::OWN.into());
        let settings = self.document.as_ref().map(|document| &document.settings);
        let told = settings.and_then(|settings| settings.points.as_deref());
        let account = id.user.as_deref().map_or(Ok(None), |user| {
            Account::named(&self.root, user).map_err(|error| error.to_string())
        });
        let here = Here {
            user: id.user.as_deref(),
            account: &account,
            root: &self.root,
            program: &program,
            points: told.unwrap_or(&self.points),
            reach: &reach,
            cache: settings.and_then(|settings| settings.cache).unwrap_or(store::Cache::LIMIT),
            rate: settings.and_then(|settings| settings.rate),
        };
        let work = match self.deployment(&id).zip(self.action(run)) {
            Some((deployment, action)) => order::work(deployment, &action, &here),
            None => Err("no document names what it was to do any more".to_owned()),
        };
        let begun = match work.map(|work| self.permit(&attempt, &work)) {
            // Nothing of it ran. Room is waited for, and that costs no attempt.
            Ok(Err(error)) if durable::is_full(&error) => return Err(error),
            Ok(begun) => begun.map_err(|error| error.to_string()),
            Err(why) => Err(why),
        };
        if let Err(why) = begun {
            let found = find(&attempt, self.codes(run))?;
            let event = match found {
                Found::NeverBegan => Event::Ended(End::NotStarted { why: why.into() }),
                found => Event::Woke(Some(found)),
            };
            self.events.push_back((id, event, Vec::new()));
            return Ok(());
        }
        self.active = Some(Active { id, attempt, process: None, since: clock::steady() });
        Ok(())
    }

    fn permit(&mut self, attempt: &Attempt, work: &crate::attempt::Work) -> io::Result<()> {
        attempt.permit(work)?;
        self.watch.attempt(attempt.folder())?;
        self.keeper.launch(attempt)
    }

    /// Its end is waited for.
    fn watch(&mut self, run: &Run, running: running::Process) {
        let id = run.order.id.clone();
        let attempt = Attempt::new(&self.state.runs(), &id, run.attempt);
        let is_watched = self.active.take().is_some_and(|active| active.attempt == attempt);
        if !is_watched {
            // Its end shows in its process, too.
            let _ = self.watch.attempt(attempt.folder());
        }
        let process = process::open(running);
        self.active = Some(Active { id, attempt, process, since: clock::steady() });
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
                    let found = find(&attempt, self.codes(run)).map_err(&reading)?;
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
                let codes = self.codes(run);
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
                self.watch.leave_attempt();
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
