//! The process beside each program that is run: it takes the permit, starts the program in a job, keeps what it writes, waits for all
//! the program started, stops them when it is asked to or time is over, and leaves word of the end. It outlives the agent; and what it
//! runs does not outlive it.

use std::{
    io::{self, PipeReader, Read as _},
    os::windows::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use machine_windows::{Job, JobEvent, Member};
use running::{Began, Process};

use super::{Event, Timer, accounts::SHELL, first, process};
use crate::{
    attempt::{Attempt, Claim, Ending, Exit, Stop, Work},
    bell::{Bell, bell},
    clock,
    output::Output,
    word::leave_word,
};

/// Of how many later failures a word is left.
const LATER: usize = 8;
/// `ERROR_FILE_NOT_FOUND`: what std says in words of its own where there is no such program.
const NOT_FOUND: i32 = 2;
/// What a program still writes that has ended is read within this.
const BREATH: Duration = Duration::from_secs(2);

/// By what name the runner of a program is asked to end it.
pub(crate) fn stop_name(runner: Process) -> String {
    format!(r"Global\Packhorse stop {}-{:x}", runner.pid, runner.began)
}

/// The name of the job a runner holds.
pub(crate) fn job_name(runner: Process) -> String {
    format!(r"Global\Packhorse run {}-{:x}", runner.pid, runner.began)
}

/// Runs what an attempt is for, from its permit to the word of its end.
pub(crate) fn run(attempt: &Attempt) -> io::Result<()> {
    let work = attempt.work()?;
    let own = process::own();
    let stop = machine_windows::Event::named(&stop_name(own))?;
    let job = Arc::new(Job::named(&job_name(own))?);
    let began = Began { boot: clock::boot(), process: own };
    let Claim::Begun(alive) = attempt.claim(began)? else { return Ok(()) };
    let runner = Runner {
        attempt,
        output: Arc::new(Mutex::new(Output::new(&attempt.output()))),
        job,
        since: clock::steady(),
        first: None,
        later: Vec::new(),
        stopped: None,
    };
    let ending = runner.run_to_end(&work, &stop)?;
    leave_word(attempt, ending)?;
    drop(alive);
    Ok(())
}

struct Runner<'a> {
    attempt: &'a Attempt,
    output: Arc<Mutex<Output>>,
    job: Arc<Job>,
    since: u64,
    first: Option<Exit>,
    later: Vec<(String, Exit)>,
    stopped: Option<Stop>,
}

/// What a thread tells of the job.
enum Told {
    Ended(Member),
    Empty,
}

impl Runner<'_> {
    fn run_to_end(mut self, work: &Work, stop: &machine_windows::Event) -> io::Result<Ending> {
        use std::os::windows::io::AsHandle as _;
        let (reader, writer) = io::pipe()?;
        let (bell, answers) = bell()?;
        let done = Event::new()?;
        let child = match self.start(work, writer) {
            Ok(child) => child,
            Err(error) => {
                self.first = Some(Exit::NotStarted(error.raw_os_error().unwrap_or(NOT_FOUND)));
                return Ok(self.ending());
            }
        };
        let reading = read(reader, Arc::clone(&self.output), done)?;
        watch(Arc::clone(&self.job), bell)?;
        let limit = Timer::steady()?;
        limit.set(work.limit.map(|seconds| Duration::from_secs(seconds.into())));
        let grace = Duration::from_secs(work.grace.into());
        let mut is_empty = false;
        while !is_empty {
            let watched = [answers.waited(), limit.waited(), stop.as_handle()];
            let ready = first(&watched)?;
            let is_ready = |index: usize| ready.get(index).is_some_and(|ready| *ready);
            for told in answers.take() {
                match told {
                    Told::Ended(member) => self.ended(&member, child.id()),
                    Told::Empty => is_empty = true,
                }
            }
            if is_ready(2) {
                stop.clear();
                if self.stopped.is_none() {
                    self.stopped = Some(match self.attempt.why() {
                        Some(why) => Stop::Asked(why),
                        None => Stop::GoingDown,
                    });
                    ask_to_end(&child);
                    limit.set(Some(grace));
                }
            }
            if is_ready(1) {
                limit.clear();
                if self.stopped.is_some() {
                    self.job.end();
                } else {
                    self.stopped = Some(Stop::Limit);
                    ask_to_end(&child);
                    limit.set(Some(grace));
                }
            }
        }
        reading.finish(&limit)?;
        Ok(self.ending())
    }

    fn start(&self, work: &Work, writer: io::PipeWriter) -> io::Result<Child> {
        let (program, arguments) = work
            .command
            .split_first()
            .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        let mut command = Command::new(program);
        match arguments {
            // All that follows is one line as it is: nothing in it is quoted for the shell.
            [one, two, three, line] if [one, two, three] == SHELL => {
                command.args(SHELL).raw_arg(format!("\"{line}\""));
            }
            arguments => drop(command.args(arguments)),
        }
        command.env_clear().envs(work.environment.iter().cloned());
        command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
        command.current_dir(Path::new(&work.folder));
        self.job.start(&mut command)
    }

    fn ended(&mut self, member: &Member, child: u32) {
        // What cannot be found out failed as far as anybody knows.
        let exit = Exit::Code(member.exit_code().unwrap_or(-1));
        if member.process == child && self.first.is_none() {
            self.first = Some(exit);
        } else if exit != Exit::Code(0) && self.first.is_some() && self.later.len() < LATER {
            self.later.push((format!("process {}", member.process), exit));
        }
    }

    fn ending(self) -> Ending {
        Ending {
            first: self.first.unwrap_or(Exit::NotStarted(0)),
            later: self.later,
            stopped: self.stopped,
            output: lock(&self.output).whole(),
            out_of_memory: 0,
            took: clock::steady().saturating_sub(self.since),
        }
    }
}

/// Asks a program to end: a console program hears it as Ctrl-Break.
fn ask_to_end(child: &Child) {
    machine_windows::ask_to_end(child.id());
}

fn lock(output: &Mutex<Output>) -> MutexGuard<'_, Output> {
    output.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A thread that reads what a program writes.
struct Reading {
    thread: JoinHandle<()>,
    done: Arc<Event>,
}

fn read(mut reader: PipeReader, output: Arc<Mutex<Output>>, done: Event) -> io::Result<Reading> {
    let done = Arc::new(done);
    let rung = Arc::clone(&done);
    let thread = thread::Builder::new().name("output".to_owned()).spawn(move || {
        let mut block = [0; 8 << 10];
        while let Ok(count @ 1..) = reader.read(&mut block) {
            lock(&output).keep(&block[..count]);
        }
        rung.ring();
    })?;
    Ok(Reading { thread, done })
}

impl Reading {
    /// Waits for what is still in the pipe, now that nobody is left to write; not for somebody who left the job and has it open.
    fn finish(self, timer: &Timer) -> io::Result<()> {
        timer.set(Some(BREATH));
        let ready = first(&[self.done.waited(), timer.waited()])?;
        if ready.first() == Some(&true) {
            let _ = self.thread.join();
        }
        Ok(())
    }
}

/// Tells of a job until nobody is left in it.
fn watch(job: Arc<Job>, bell: Bell<Told>) -> io::Result<()> {
    thread::Builder::new().name("job".to_owned()).spawn(move || {
        let mut members: Vec<Member> = Vec::new();
        while let Ok(event) = job.next() {
            match event {
                JobEvent::Began(member) => members.push(member),
                JobEvent::Ended(process) => {
                    let at = members.iter().position(|member| member.process == process);
                    if let Some(at) = at {
                        bell.ring(Told::Ended(members.swap_remove(at)));
                    }
                }
                JobEvent::Empty => break,
                JobEvent::Other => {}
            }
        }
        bell.ring(Told::Empty);
    })?;
    Ok(())
}
