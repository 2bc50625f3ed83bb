//! The agent's part in its own upgrade: a version that lies ready is examined before anything changes; a version that runs shows
//! that it lives. The rest is the guardian's.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use model::{Hash, Hasher};
use running::{Direction, Edition, Proof, Upgrade, UpgradeStage, Verdict};

use crate::{
    durable,
    platform::{OURS_TO_WRITE, machine, tighten},
};

/// What the guardian calls its home.
const HOME: &str = "PACKHORSE_GUARDIAN";

/// The guardian's home, as the agent sees it.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    folder: PathBuf,
}

/// A version that is not taken.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// The disk.
    #[error("{doing} `{}` stopped", path.display())]
    Disk {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It did not pass its own test, here, now.
    #[error("version `{name}` does not work on this machine: {said}")]
    Unfit {
        /// Its name.
        name: String,
        /// What it said.
        said: String,
    },
    /// It is what runs, it failed before, or another one is under way.
    #[error("version `{name}` is not taken: {why}")]
    NotTaken {
        /// Its name.
        name: String,
        /// Why.
        why: &'static str,
    },
}

impl Home {
    /// Where the guardian that started us is at home; none started us otherwise.
    pub(crate) fn of_environment() -> Option<Self> {
        std::env::var_os(HOME).map(|folder| Self { folder: folder.into() })
    }

    /// Whether a guardian started us.
    #[cfg(windows)]
    pub(crate) fn is_watched() -> bool {
        std::env::var_os(HOME).is_some()
    }

    pub(crate) fn at(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Shows that we live; written once for each proof.
    pub(crate) fn prove(&self, proof: Proof) -> io::Result<()> {
        let path = self.folder.join("alive");
        let bytes = minicbor::to_vec(proof).unwrap_or_default();
        let is_shown = durable::read(&path)?.and_then(|bytes| minicbor::decode(&bytes).ok());
        if is_shown >= Some(proof) { Ok(()) } else { durable::write(&path, &bytes) }
    }

    /// Nobody else writes where programs are started from; what had been otherwise is told.
    pub(crate) fn tighten(&self) -> io::Result<Vec<String>> {
        tighten(&self.folder, OURS_TO_WRITE, 3)
    }

    /// Whether a version waits for us to end.
    pub(crate) fn is_wanted(&self) -> bool {
        self.upgrade().is_some_and(|upgrade| upgrade.stage == UpgradeStage::Wanted)
    }

    /// What came of an upgrade, if that has not been told.
    pub(crate) fn verdict(&self) -> Option<Verdict> {
        minicbor::decode(&fs::read(self.folder.join("verdict")).ok()?).ok()
    }

    /// It has been told.
    pub(crate) fn forget_verdict(&self) -> io::Result<()> {
        fs::remove_file(self.folder.join("verdict"))?;
        durable::sync_folder(&self.folder)
    }

    fn upgrade(&self) -> Option<Upgrade> {
        minicbor::decode(&fs::read(self.folder.join("upgrade")).ok()?).ok()
    }

    fn edition(&self, name: &str) -> Result<Edition, AdoptError> {
        let path = self.folder.join("versions").join(name).join(machine::PROGRAM);
        let disk = |source| AdoptError::Disk { doing: "reading", path: path.clone(), source };
        let mut hasher = Hasher::new();
        hasher.read_all(&mut File::open(&path).map_err(disk)?).map_err(disk)?;
        Ok(Edition { name: name.into(), digest: hasher.finish() })
    }

    fn is_condemned(&self, digest: &Hash) -> bool {
        self.folder.join("condemned").join(digest.to_string()).exists()
    }

    /// Has version `name`, which lies ready in its folder, be the next: examined first, then written down.
    pub(crate) fn adopt(&self, name: &str, direction: Direction) -> Result<Edition, AdoptError> {
        let link = self.folder.join("current");
        let disk = |source| AdoptError::Disk { doing: "reading", path: link.clone(), source };
        let current = machine::current(&link).map_err(disk)?;
        let (from, to) = (self.edition(&current)?, self.edition(name)?);
        let not_taken = |why| AdoptError::NotTaken { name: name.to_owned(), why };
        if self.is_condemned(&to.digest) {
            return Err(not_taken("a program of its digest failed here before"));
        }
        if direction == Direction::Up && to != from && !to.is_newer_than(&from) {
            return Err(not_taken(
                "it is no newer than what runs; `--older` takes it all the same",
            ));
        }
        self.examine(name)?;
        let wanted =
            Upgrade::want(from, to.clone(), direction, self.upgrade().as_ref(), |digest| {
                self.is_condemned(digest)
            });
        let wanted =
            wanted.ok_or_else(|| not_taken("it runs already, or another one is under way"))?;
        let path = self.folder.join("upgrade");
        durable::write(&path, &minicbor::to_vec(&wanted).unwrap_or_default())
            .map_err(|source| AdoptError::Disk { doing: "writing", path, source })?;
        Ok(to)
    }

    /// It is asked to test itself before anything changes: a program for another machine does not even start.
    fn examine(&self, name: &str) -> Result<(), AdoptError> {
        let path = self.folder.join("versions").join(name).join(machine::PROGRAM);
        let tested = Command::new(&path).arg("__self-test").stdin(Stdio::null()).output();
        let said = match tested {
            Ok(output) if output.status.success() => return Ok(()),
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr);
                format!("{}: {}", output.status, said.lines().last().unwrap_or_default())
            }
            Err(error) => error.to_string(),
        };
        Err(AdoptError::Unfit { name: name.to_owned(), said })
    }
}
