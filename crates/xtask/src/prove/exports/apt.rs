//! The real apt-get and dpkg.

use std::{fs, path::Path};

use anyhow::{Result, ensure};

use super::{Findings, KEPT_BY_SHADOW, Shop, expect, left};
use crate::prove::{
    roots::{Workshop, copy, inside},
    services,
    tree::{Known, Tree},
};

const PREPARE: &str = "apt-get install -y -qq --no-install-recommends systemd systemd-sysv >/dev/null; \
                       mkdir -p /opt; printf '# others\\nOTHER=1\\n' > /etc/environment";
/// What apt and dpkg themselves keep, and the repository.
const ITS_OWN: [&str; 9] = [
    "/var/lib/dpkg",
    "/var/lib/apt",
    "/var/cache/apt",
    "/var/cache/ldconfig",
    "/var/log",
    "/srv",
    "/etc/apt",
    // dpkg takes away the empty folder no package owns.
    "/opt",
    "/var/lib/systemd/deb-systemd-helper-enabled",
];
const INSTALL: &str = "apt-get -q -y -o Dpkg::Options::=--force-confold install hello-export";

pub(super) fn prove(workshop: &Workshop, shop: &Shop, findings: &mut Findings) -> Result<()> {
    let root = shop.file("apt-root");
    copy(&workshop.prepared("exports-apt", PREPARE)?, &root)?;
    let repository = root.join("srv/apt");
    shop.publish("--apt", &repository, &[&shop.file("1.0.deb")])?;
    fs::create_dir_all(root.join("etc/apt/keyrings"))?;
    fs::copy(repository.join("packhorse.gpg"), root.join("etc/apt/keyrings/packhorse.gpg"))?;
    fs::write(
        root.join("etc/apt/sources.list"),
        "deb [signed-by=/etc/apt/keyrings/packhorse.gpg] file:/srv/apt stable main\n",
    )?;
    let mut known = Known::default();
    let before = Tree::of(&root, &mut known)?;
    findings.note("`apt-get update`, `install` 1.0", install(&root));
    findings.note(
        "the service under a booted systemd",
        services::prove_active(&root, "hello-export.service").map(|()| "active".to_owned()),
    );
    findings.note("`apt-get update`, `install` 2.0", update(shop, &root, &repository));
    findings.note("a changed index, a changed .deb", tampered(&root, &repository));
    findings.note("`apt-get remove`", removed(&root));
    findings.note("`apt-get purge`", purged(&root, &before, &mut known));
    findings.note("readers during 20 exports", readers(shop, &root, &repository));
    Ok(())
}

fn install(root: &Path) -> Result<String> {
    inside(root, &format!("apt-get -q update\n{INSTALL}\nhello\nhello-export"))?;
    expect(root, "/etc/environment", "HELLO_HOME=/opt/hello-export", true)?;
    expect(root, "/etc/shells", "/opt/hello-export/bin/hello", true)?;
    expect(root, "/etc/hosts.allow", "hello-export: LOCAL", true)?;
    expect(root, "/opt/hello-export/bin/hello", "hello from /opt/hello-export", true)?;
    inside(
        root,
        "[ \"$(stat -c %U /var/lib/hello-export)\" = hello-export ]\n[ -d /var/cache/hello-export/words ]\n\
         systemctl is-enabled hello-export.service\n[ \"$(readlink /etc/alternatives/hello)\" = /opt/hello-export/bin/hello ]\n\
         dpkg --verify hello-export",
    )?;
    Ok("user, trees, edits, alternative, `run` and service are there; `dpkg --verify` finds nothing".to_owned())
}

fn update(shop: &Shop, root: &Path, repository: &Path) -> Result<String> {
    // Others change what we changed, and an administrator the configuration.
    inside(
        root,
        "echo AFTER=1 >> /etc/environment\necho 'greeting = mine' > /etc/hello-export/hello.conf\n\
         echo x > /opt/hello-export/some.cache",
    )?;
    shop.publish("--apt", repository, &[&shop.file("2.0.deb")])?;
    inside(root, &format!("apt-get -q update\n{INSTALL}"))?;
    expect(root, "/etc/environment", "HELLO_VERSION=2.0", true)?;
    expect(root, "/etc/environment", "HELLO_VERSION=1.0", false)?;
    expect(root, "/etc/environment", "AFTER=1", true)?;
    expect(root, "/etc/hello-export/hello.conf", "greeting = mine", true)?;
    expect(root, "/opt/hello-export/share/added", "second", true)?;
    ensure!(!root.join("opt/hello-export/share/dropped").exists(), "a dropped file stays");
    Ok("new files, dropped ones gone, edits made anew, the administrator's configuration and others' lines kept".to_owned())
}

/// What does not carry our signature is not taken.
fn tampered(root: &Path, repository: &Path) -> Result<String> {
    let spoiled = "rm -rf /var/lib/apt/lists/*\n! apt-get -q -o APT::Update::Error-Mode=any update";
    let release = repository.join("dists/stable/InRelease");
    let whole = fs::read(&release)?;
    let mut bytes = whole.clone();
    let at = bytes.len() / 3;
    bytes[at] ^= 1;
    fs::write(&release, bytes)?;
    inside(root, spoiled)?;
    fs::write(&release, whole)?;
    let deb = repository.join("pool/main/h/hello-export/hello-export_1.0_all.deb");
    let whole = fs::read(&deb)?;
    let mut bytes = whole.clone();
    let at = bytes.len() - 40;
    bytes[at] ^= 1;
    fs::write(&deb, bytes)?;
    inside(
        root,
        "apt-get -q update\n! apt-get -q -y --allow-downgrades install hello-export=1.0 >/dev/null 2>&1\n\
         dpkg -s hello-export | grep -q 'Version: 2.0'",
    )?;
    fs::write(&deb, whole)?;
    Ok("both refused".to_owned())
}

fn removed(root: &Path) -> Result<String> {
    inside(root, "apt-get -q -y remove hello-export")?;
    ensure!(!root.join("opt/hello-export").exists(), "payload stays");
    expect(root, "/etc/hello-export/hello.conf", "greeting = mine", true)?;
    expect(root, "/etc/environment", "HELLO", false)?;
    expect(root, "/etc/environment", "OTHER=1\nAFTER=1\n", true)?;
    expect(root, "/etc/shells", "hello", false)?;
    Ok("payload, what it made for itself, edits and alternative gone; configuration and others' lines stay".to_owned())
}

fn purged(root: &Path, before: &Tree, known: &mut Known) -> Result<String> {
    inside(
        root,
        "apt-get -q -y purge hello-export\nsed -i '/^AFTER=1$/d' /etc/environment\n[ ! -d /var/lib/packhorse-export ]",
    )?;
    let after = Tree::of(root, known)?;
    let differences = before.differences(&after);
    let ignored = [&ITS_OWN[..], &KEPT_BY_SHADOW].concat();
    let left = left(&differences, &ignored);
    ensure!(left.is_empty(), "{left:?}");
    Ok(format!(
        "the tree is the one before, of {} paths (ignored: {})",
        before.0.len(),
        ignored.join(", ")
    ))
}

/// `apt-get update` again and again while the repository is exported again and again.
fn readers(shop: &Shop, root: &Path, repository: &Path) -> Result<String> {
    let script = "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do \
                  rm -rf /var/lib/apt/lists/*; apt-get -q -o APT::Update::Error-Mode=any update; \
                  apt-cache policy hello-export | grep -q 'Candidate: 2.0'; done";
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| inside(root, script));
        for _ in 0..20 {
            shop.publish("--apt", repository, &[])?;
        }
        reader.join().map_err(|_| anyhow::anyhow!("the reader ended"))?
    })?;
    Ok("20 updates, none of which failed".to_owned())
}
