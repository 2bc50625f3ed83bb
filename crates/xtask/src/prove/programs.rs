//! The programs of the proof: real ones, from the distribution's and the languages' registries.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::roots::{Workshop, ask, copy, inside, remove};
use crate::command::{command, output, run_quietly};

/// A program to take through the journey.
pub(crate) struct Program {
    pub(crate) name: &'static str,
    /// Whether the shortened proof takes it, too.
    pub(crate) is_short: bool,
    /// What must be in a root before: run once, as root, in a fresh Debian.
    prepare: &'static str,
    /// What is made outside and shown inside; given the workshop, the prepared root and a free folder.
    supply: Option<Supply>,
    /// The installer, as a shell would have it.
    pub(crate) install: &'static str,
    /// Run where it was installed…
    pub(crate) check: &'static str,
    /// …it prints this.
    pub(crate) answer: &'static str,
    /// A unit that is active after a start of the machine.
    pub(crate) service: Option<&'static str>,
}

type Supply = fn(&Path, &Path) -> Result<PathBuf>;

/// Where supplies are shown to installers.
pub(crate) const SUPPLIES: &str = "/mnt/supplies";

pub(crate) const PROGRAMS: [Program; 5] = [
    Program {
        name: "nginx",
        is_short: true,
        prepare: "apt-get -qq -y --no-install-recommends install systemd-sysv",
        supply: None,
        install: "apt-get -qq -y --no-install-recommends install nginx",
        check: "nginx -t 2>&1; nginx -v 2>&1; id www-data",
        answer: "test is successful",
        service: Some("nginx.service"),
    },
    Program {
        name: "makeself-node",
        is_short: true,
        prepare: "apt-get -qq -y --no-install-recommends install nodejs",
        supply: Some(node_tree),
        install: "sh /mnt/supplies/node.run --quiet --target /opt/lint --nox11",
        check: "printf 'let a = 1;;\\n' > /tmp/a.js && \
                { /opt/lint/lint --no-eslintrc --format json --rule no-extra-semi:error --parser-options=ecmaVersion:6 /tmp/a.js || true; } 2>&1",
        answer: "Unnecessary semicolon",
        service: None,
    },
    Program {
        name: "redis",
        is_short: false,
        prepare: "apt-get -qq -y --no-install-recommends install build-essential\n\
                  apt-get -qq -y --no-install-recommends build-dep redis\n\
                  mkdir /usr/src/redis && cd /usr/src/redis && apt-get -qq source redis\n\
                  mv redis-*/ source && cd source && \
                  make -s -j2 BUILD_TLS=no USE_SYSTEMD=no USE_SYSTEM_JEMALLOC=yes USE_JEMALLOC=yes \
                  CFLAGS=-I/usr/include/liblzf LDFLAGS='-Wl,-no-as-needed -ldl -latomic -llzf'",
        supply: None,
        install: "make -C /usr/src/redis/source BUILD_TLS=no USE_SYSTEMD=no USE_SYSTEM_JEMALLOC=yes \
                  USE_JEMALLOC=yes CFLAGS=-I/usr/include/liblzf \
                  LDFLAGS='-Wl,-no-as-needed -ldl -latomic -llzf' PREFIX=/opt/redis install",
        check: "/opt/redis/bin/redis-server --port 0 --unixsocket /tmp/redis --daemonize yes >/dev/null && \
                until /opt/redis/bin/redis-cli -s /tmp/redis ping 2>/dev/null; do :; done",
        answer: "PONG",
        service: None,
    },
    Program {
        name: "jupyterlab",
        is_short: false,
        prepare: "apt-get -qq -y --no-install-recommends install python3-pip",
        supply: None,
        install: "pip install --quiet --root-user-action=ignore --no-cache-dir --prefix /opt/jupyter jupyterlab",
        check: "cd /opt/jupyter && export PYTHONPATH=$(echo /opt/jupyter/local/lib/python3*/dist-packages) && \
                local/bin/jupyter lab --version && local/bin/jupyter lab path && echo works",
        answer: "works",
        service: None,
    },
    Program {
        name: "npm-typescript",
        is_short: false,
        prepare: "apt-get -qq -y --no-install-recommends install npm",
        supply: None,
        install: "npm install --global --no-audit --no-fund --no-update-notifier typescript",
        check: "printf 'const a: number = \"b\"' > /tmp/a.ts; tsc --noEmit /tmp/a.ts || true",
        answer: "not assignable to type",
        service: None,
    },
];

impl Program {
    /// The root it is installed on, and the folder with what its installer needs.
    pub(crate) fn root(&self, workshop: &Workshop) -> Result<(PathBuf, Option<PathBuf>)> {
        let root = workshop.prepared(self.name, self.prepare)?;
        let supplies = match self.supply {
            Some(supply) => {
                let scratch = workshop.runs().join("supplies");
                Some(
                    supply(&root, &scratch)
                        .with_context(|| format!("supplies of {}", self.name))?,
                )
            }
            None => None,
        };
        Ok((root, supplies))
    }

    /// Runs it in an overlay over `root`.
    pub(crate) fn check(&self, root: &Path, scratch: &Path) -> Result<()> {
        let said = ask(root, scratch, self.check)
            .with_context(|| format!("{} does not run where it was installed", self.name))?;
        anyhow::ensure!(
            said.contains(self.answer),
            "{} does not say `{}` where it was installed, but:\n{said}",
            self.name,
            self.answer
        );
        Ok(())
    }
}

/// A program for Node.js with every module it asks for, taken from Debian's packages, in one folder; wrapped
/// by makeself.
fn node_tree(root: &Path, scratch: &Path) -> Result<PathBuf> {
    let (copied, tree) = (scratch.join("root"), scratch.join("tree"));
    std::fs::create_dir_all(&tree)?;
    copy(root, &copied)?;
    let download =
        "apt-get clean; apt-get -qq -y --no-install-recommends --download-only install eslint";
    inside(&copied, download)?;
    for archive in std::fs::read_dir(copied.join("var/cache/apt/archives"))? {
        let archive = archive?.path();
        if archive.extension().is_some_and(|extension| extension == "deb") {
            run_quietly(command("dpkg-deb", ["-x"]).arg(archive).arg(&tree))?;
        }
    }
    remove(&copied)?;
    let launcher = "#!/bin/sh\nhere=$(dirname \"$0\")\n\
        export NODE_PATH=$here/usr/share/nodejs:$here/usr/lib/x86_64-linux-gnu/nodejs:$here/usr/lib/nodejs\n\
        exec node \"$here/usr/share/nodejs/eslint/bin/eslint.js\" \"$@\"\n";
    std::fs::write(tree.join("lint"), launcher)?;
    run_quietly(command("chmod", ["755"]).arg(tree.join("lint")))?;
    let file = scratch.join("node.run");
    let words = ["--nox11", "--tar-quietly"].map(std::ffi::OsStr::new);
    output(command("makeself", words).arg(&tree).arg(&file).args(["a linter", "true"]))?;
    remove(&tree)?;
    Ok(scratch.to_owned())
}
