//! The guardian with real processes: versions that live, versions that die, kills at any moment.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use model::Hash;
use running::{Direction, Edition, Upgrade, UpgradeStage, Verdict};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::inotify,
};
use tempfile::TempDir;
use testkit::{Stop, stop_at};

const GUARDIAN: &str = env!("CARGO_BIN_EXE_packhorse-guardian");
/// What does not happen by then does not happen.
const PATIENCE: Duration = Duration::from_mins(1);
/// Shows that it lives, first here and then to its site, and goes on.
const LIVES: &str = "#!/bin/sh\nfor proof in 000 001; do printf \"\\\\$proof\" > $PACKHORSE_GUARDIAN/a.$$; mv $PACKHORSE_GUARDIAN/a.$$ $PACKHORSE_GUARDIAN/alive; done\nexec sleep 1000\n";
/// Shows that it lives here; its site does not answer.
const NO_SITE: &str = "#!/bin/sh\nprintf '\\000' > $PACKHORSE_GUARDIAN/a.$$; mv $PACKHORSE_GUARDIAN/a.$$ $PACKHORSE_GUARDIAN/alive\nexec sleep 1000\n";
const DIES: &str = "#!/bin/sh\nexit 1\n";

struct Home(TempDir);

impl Home {
    /// Version 1 lives and is current; version 2 is this, and is wanted.
    fn new(second: &str) -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        for (name, text) in [("1", LIVES), ("2", second)] {
            let folder = home.path("versions").join(name);
            fs::create_dir_all(&folder).unwrap();
            let program = folder.join("packhorse-agent");
            fs::write(&program, text).unwrap();
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        }
        symlink("versions/1", home.path("current")).unwrap();
        let edition = |name: &str| Edition { name: name.into(), digest: Hash::of(name.as_bytes()) };
        let upgrade =
            Upgrade::want(edition("1"), edition("2"), Direction::Up, None, |_| false).unwrap();
        fs::write(home.path("upgrade"), minicbor::to_vec(upgrade).unwrap()).unwrap();
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(GUARDIAN);
        command.arg(self.0.path()).stdin(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn current(&self) -> String {
        let link = fs::read_link(self.path("current")).unwrap();
        link.file_name().unwrap().to_str().unwrap().to_owned()
    }

    fn verdict(&self) -> Option<Verdict> {
        minicbor::decode(&fs::read(self.path("verdict")).ok()?).ok()
    }

    fn upgrade(&self) -> Option<Upgrade> {
        minicbor::decode(&fs::read(self.path("upgrade")).ok()?).ok()
    }

    fn until(&self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let watch = inotify::init(inotify::CreateFlags::CLOEXEC).unwrap();
        inotify::add_watch(&watch, self.0.path(), inotify::WatchFlags::ALL_EVENTS).unwrap();
        let since = Instant::now();
        while !done(self) {
            assert!(since.elapsed() < PATIENCE, "{what} did not happen: {:?}", self.upgrade());
            let mut watched = [PollFd::new(&watch, PollFlags::IN)];
            if poll(&mut watched, Some(&Timespec { tv_sec: 0, tv_nsec: 100_000_000 })) != Ok(0) {
                let _ = rustix::io::read(&watch, vec![0; 65_536].as_mut_slice());
            }
        }
    }
}

/// Ends by itself after a second: killed from inside, wherever it is.
#[expect(unsafe_code, reason = "what is done between fork and exec is unsafe in std")]
fn short_lived(command: &mut Command) -> &mut Command {
    use std::os::unix::process::CommandExt as _;
    // SAFETY: between fork and exec one system call is made, and nothing is allocated.
    unsafe {
        command.pre_exec(|| {
            libc::alarm(1);
            Ok(())
        })
    }
}

/// A guardian that is asked to end with the test.
struct Guardian(Child);

impl Drop for Guardian {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_raw(self.0.id().cast_signed()).unwrap();
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.0.wait();
    }
}

fn start(home: &Home) -> Guardian {
    Guardian(home.command().spawn().unwrap())
}

fn is_condemned(home: &Path) -> bool {
    home.join("condemned").join(Hash::of(b"2").to_string()).exists()
}

#[test]
fn a_version_that_lives_is_at_work() {
    let home = Home::new(LIVES);
    let _guardian = start(&home);
    home.until("the verdict", |home| home.verdict().is_some() && home.upgrade().is_none());
    assert!(home.verdict().unwrap().is_at_work);
    assert_eq!(home.current(), "2");
}

/// What is at work and will not stop, and whose program is held open by another process, is no hindrance: the next version lies beside
/// it, and it is ended when its time is over.
#[test]
fn q168463_a_version_that_will_not_stop_gives_way() {
    // What is ignored is ignored by what takes its place, too.
    let home = Home::new(&LIVES.replace("exec", "trap '' TERM; exec"));
    let guardian = start(&home);
    home.until("the verdict", |home| home.verdict().is_some() && home.upgrade().is_none());
    assert_eq!(home.current(), "2");
    let _held = fs::File::open(home.path("versions/2/packhorse-agent")).unwrap();
    fs::remove_file(home.path("verdict")).unwrap();
    let third = home.path("versions/3");
    fs::create_dir(&third).unwrap();
    fs::copy(home.path("versions/1/packhorse-agent"), third.join("packhorse-agent")).unwrap();
    let edition = |name: &str| Edition { name: name.into(), digest: Hash::of(name.as_bytes()) };
    let upgrade =
        Upgrade::want(edition("2"), edition("3"), Direction::Up, None, |_| false).unwrap();
    fs::write(home.path("upgrade"), minicbor::to_vec(upgrade).unwrap()).unwrap();
    // The service is started again, as an administrator would have it.
    let began = Instant::now();
    drop(guardian);
    assert!(began.elapsed() < PATIENCE, "it was ended at the limit");
    let _guardian = start(&home);
    home.until("the verdict", |home| home.verdict().is_some() && home.upgrade().is_none());
    assert!(home.verdict().unwrap().is_at_work);
    assert_eq!(home.current(), "3");
}

#[test]
fn a_version_that_dies_is_taken_back_and_not_taken_again() {
    let home = Home::new(DIES);
    let _guardian = start(&home);
    home.until("the verdict", |home| home.verdict().is_some() && home.upgrade().is_none());
    assert!(!home.verdict().unwrap().is_at_work);
    assert_eq!(home.current(), "1");
    assert!(is_condemned(home.0.path()));
    home.until("the version before to live", |home| home.path("alive").exists());
}

#[test]
fn a_site_that_does_not_answer_is_no_reason_to_take_a_version_back() {
    let home = Home::new(NO_SITE);
    for _ in 0..8 {
        let guardian = start(&home);
        home.until("it to live", |home| {
            let is_provisional =
                home.upgrade().is_some_and(|one| one.stage == UpgradeStage::Provisional);
            is_provisional && home.path("alive").exists()
        });
        drop(guardian);
    }
    assert_eq!(home.current(), "2");
    assert!(!is_condemned(home.0.path()));
}

/// Killed at one system call after the other, then left alone: one version lives, and the word about it is true.
#[test]
fn q166771_killed_at_any_system_call_one_version_that_lives_is_at_work() {
    let mut kills = 0;
    for (second, expected) in [(LIVES, "2"), (DIES, "1")] {
        for turn in 0..16_u64 {
            let home = Home::new(second);
            // Twice: what it does after a kill is killed, too.
            for call in [60 + turn * 5, 70 + turn * 3] {
                let mut command = home.command();
                let end = stop_at(short_lived(&mut command), call, Stop::Kill);
                if end.is_ok_and(|end| !end.success()) {
                    kills += 1;
                }
            }
            let _guardian = start(&home);
            home.until("the verdict", |home| home.verdict().is_some() && home.upgrade().is_none());
            assert_eq!(home.current(), expected, "killed at {turn}");
            assert_eq!(home.verdict().unwrap().is_at_work, expected == "2");
        }
    }
    assert!(kills > 40, "{kills} kills prove little");
}
