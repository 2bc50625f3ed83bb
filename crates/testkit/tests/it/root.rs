//! A root folder on a real disk, worked on as the programs do.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use machine_linux::LinuxMachine;
use operate::{Exit, InstallSettings, Report, Show, Target};
use testkit::{Picture, Sample};

use crate::support::{name, picture};

/// A small machine; its folder goes with it.
pub(crate) struct Root {
    at: PathBuf,
    _folder: Option<tempfile::TempDir>,
}

impl Root {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().canonicalize().unwrap();
        let root = Self { at, _folder: Some(folder) };
        root.furnish();
        root
    }

    /// The machine whose root is the empty folder `at`.
    pub(crate) fn at(at: &Path) -> Self {
        let root = Self { at: at.canonicalize().unwrap(), _folder: None };
        root.furnish();
        root
    }

    fn furnish(&self) {
        for name in ["etc", "opt", "usr/lib", "usr/bin", "var/lib"] {
            fs::create_dir_all(self.path(name)).unwrap();
        }
        symlink("usr/lib", self.path("lib")).unwrap();
        self.put("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n");
        self.put("etc/group", "root:x:0:\n");
        self.put("etc/shadow", "root:*:::::::\n");
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.at
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.at.join(below)
    }

    pub(crate) fn put(&self, below: &str, text: &str) {
        fs::write(self.path(below), text).unwrap();
    }

    pub(crate) fn read(&self, below: &str) -> String {
        fs::read_to_string(self.path(below)).unwrap()
    }

    pub(crate) fn is_there(&self, below: &str) -> bool {
        fs::symlink_metadata(self.path(below)).is_ok()
    }

    pub(crate) fn machine(&self) -> LinuxMachine {
        LinuxMachine::new(&self.at).unwrap()
    }

    pub(crate) fn target(&self) -> Target {
        Target::open(&self.at, false, &mut |_| {}).unwrap()
    }

    pub(crate) fn install_with(&self, sample: &Sample, settings: &InstallSettings) -> Report {
        let mut show = Show::new(true);
        operate::install_package(&mut self.target(), &mut sample.open(), settings, &mut show)
    }

    /// Installs, which must work.
    pub(crate) fn install(&self, sample: &Sample) -> Report {
        let report = self.install_with(sample, &InstallSettings::default());
        assert_eq!(report.result, Exit::Done, "{}", report.lines());
        report
    }

    pub(crate) fn uninstall(&self, package: &str) -> Report {
        let mut show = Show::new(true);
        operate::uninstall_package(&mut self.target(), &name(package), &mut show)
    }

    /// Uninstalls, which must leave nothing.
    pub(crate) fn uninstall_all_of(&self, package: &str) {
        let report = self.uninstall(package);
        assert_eq!(report.result, Exit::Done, "{}", report.lines());
    }

    pub(crate) fn roll_back(&self, package: &str) -> Report {
        operate::roll_back_package(&mut self.target(), &name(package), false)
    }

    pub(crate) fn verify(&self, package: &str) -> Report {
        operate::verify_package(&self.target(), &name(package))
    }

    /// Everything but our own state.
    pub(crate) fn outside(&self) -> Picture {
        picture(&self.machine())
    }

    /// Everything.
    pub(crate) fn whole(&self) -> Picture {
        Picture::of(&self.machine(), "/", &[])
    }
}

/// Both pictures show the same.
#[track_caller]
pub(crate) fn same(before: &Picture, after: &Picture) {
    assert_eq!(before.differences(after), Vec::<String>::new());
}
