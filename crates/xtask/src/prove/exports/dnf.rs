//! The real dnf and rpm, on a root of Debian; what such a root has of its own is said to rpm by a package that
//! `rpmbuild` makes.

use std::{fs, path::Path};

use anyhow::{Result, ensure};

use super::{Findings, KEPT_BY_SHADOW, Shop, expect, left};
use crate::{
    command::{command, run_quietly},
    prove::{
        roots::{Workshop, copy, inside},
        services,
        tree::{Known, Tree},
    },
};

const PREPARE: &str = "apt-get install -y -qq --no-install-recommends dnf rpm systemd systemd-sysv >/dev/null; \
                       mkdir -p /opt /etc/yum.repos.d; printf '# others\\nOTHER=1\\n' > /etc/environment";
const ITS_OWN: [&str; 8] = [
    "/root",
    "/var/lib/rpm",
    "/var/lib/dnf",
    "/var/cache/dnf",
    "/var/cache/ldconfig",
    "/var/log",
    "/srv",
    "/tmp",
];
const REPOSITORY: &str = "[packhorse]\nname=proof\nbaseurl=file:///srv/rpm\nenabled=1\ngpgcheck=1\nrepo_gpgcheck=1\n\
                          gpgkey=file:///srv/rpm/packhorse.asc\nmetadata_expire=0\n";
const SYSTEM: &str = "Name: debian-root\nVersion: 1\nRelease: 1\nSummary: What a root of Debian has\nLicense: MIT\n\
                      BuildArch: noarch\nProvides: /bin/sh /usr/sbin/useradd /usr/sbin/update-alternatives\n\
                      %description\nSays to rpm what dpkg installed.\n%files\n";
const DNF: &str = "dnf -q -y --releasever=1 --setopt=skip_if_unavailable=0";

pub(super) fn prove(workshop: &Workshop, shop: &Shop, findings: &mut Findings) -> Result<()> {
    let root = shop.file("dnf-root");
    copy(&workshop.prepared("exports-dnf", PREPARE)?, &root)?;
    let repository = root.join("srv/rpm");
    let system = system(shop)?;
    shop.publish("--rpm", &repository, &[&system, &shop.file("1.0.rpm")])?;
    fs::write(root.join("etc/yum.repos.d/packhorse.repo"), REPOSITORY)?;
    inside(&root, &format!("{DNF} install debian-root"))?;
    let mut known = Known::default();
    let before = Tree::of(&root, &mut known)?;
    findings.note("`dnf install` 1.0", install(&root));
    findings.note(
        "the service under a booted systemd, after dnf",
        services::prove_active(&root, "hello-export.service").map(|()| "active".to_owned()),
    );
    findings.note("`dnf upgrade` to 2.0", update(shop, &root, &repository));
    findings.note("a changed repomd.xml, a changed .rpm", tampered(&root, &repository));
    findings.note("`dnf remove`", removed(&root, &before, &mut known));
    Ok(())
}

fn system(shop: &Shop) -> Result<std::path::PathBuf> {
    let spec = shop.file("debian-root.spec");
    fs::write(&spec, SYSTEM)?;
    let top = format!("_topdir {}", shop.file("rpmbuild").display());
    run_quietly(command("rpmbuild", ["--quiet", "-bb", "--define", &top]).arg(&spec))?;
    Ok(shop.file("rpmbuild/RPMS/noarch/debian-root-1-1.noarch.rpm"))
}

fn install(root: &Path) -> Result<String> {
    inside(root, &format!("{DNF} install hello-export-1.0\nhello\nhello-export"))?;
    expect(root, "/etc/environment", "HELLO_HOME=/opt/hello-export", true)?;
    expect(root, "/etc/shells", "/opt/hello-export/bin/hello", true)?;
    expect(root, "/etc/hosts.allow", "hello-export: LOCAL", true)?;
    inside(
        root,
        "[ \"$(stat -c %U /var/lib/hello-export)\" = hello-export ]\n[ -d /var/cache/hello-export/words ]\n\
         systemctl is-enabled hello-export.service\n[ \"$(readlink /etc/alternatives/hello)\" = /opt/hello-export/bin/hello ]\n\
         rpm -V hello-export\nrpm -K /srv/rpm/packages/hello-export-1.0-1.noarch.rpm",
    )?;
    Ok("user, trees, edits, alternative, `run` and service are there; `rpm -V` finds nothing, `rpm -K` the signature".to_owned())
}

fn update(shop: &Shop, root: &Path, repository: &Path) -> Result<String> {
    inside(
        root,
        "echo AFTER=1 >> /etc/environment\necho 'greeting = mine' > /etc/hello-export/hello.conf\n\
         echo x > /opt/hello-export/some.cache",
    )?;
    shop.publish("--rpm", repository, &[&shop.file("2.0.rpm")])?;
    inside(root, &format!("{DNF} upgrade hello-export\nrpm -q hello-export-2.0"))?;
    expect(root, "/etc/environment", "HELLO_VERSION=2.0", true)?;
    expect(root, "/etc/environment", "HELLO_VERSION=1.0", false)?;
    expect(root, "/etc/environment", "AFTER=1", true)?;
    expect(root, "/etc/hello-export/hello.conf", "greeting = mine", true)?;
    expect(root, "/etc/hello-export/hello.conf.rpmnew", "hello again", true)?;
    expect(root, "/opt/hello-export/share/added", "second", true)?;
    ensure!(!root.join("opt/hello-export/share/dropped").exists(), "a dropped file stays");
    inside(root, "systemctl is-enabled hello-export.service\nhello")?;
    Ok("new files, dropped ones gone, edits made anew, the administrator's configuration and others' lines kept".to_owned())
}

fn tampered(root: &Path, repository: &Path) -> Result<String> {
    let list = repository.join("repodata/repomd.xml");
    let whole = fs::read_to_string(&list)?;
    fs::write(&list, whole.replace("<revision>", "<revision>1"))?;
    inside(root, &format!("! {DNF} --refresh makecache >/dev/null 2>&1"))?;
    fs::write(&list, whole)?;
    let rpm = repository.join("packages/hello-export-1.0-1.noarch.rpm");
    let whole = fs::read(&rpm)?;
    let mut bytes = whole.clone();
    let at = bytes.len() - 40;
    bytes[at] ^= 1;
    fs::write(&rpm, bytes)?;
    inside(
        root,
        &format!(
            "! {DNF} --refresh downgrade hello-export-1.0 >/dev/null 2>&1\nrpm -q hello-export-2.0"
        ),
    )?;
    fs::write(&rpm, whole)?;
    Ok("both refused".to_owned())
}

fn removed(root: &Path, before: &Tree, known: &mut Known) -> Result<String> {
    inside(root, &format!("{DNF} remove hello-export"))?;
    expect(root, "/etc/environment", "HELLO", false)?;
    expect(root, "/etc/environment", "OTHER=1\nAFTER=1\n", true)?;
    expect(root, "/etc/hello-export/hello.conf.rpmsave", "greeting = mine", true)?;
    inside(
        root,
        "sed -i '/^AFTER=1$/d' /etc/environment\nrm -r /etc/hello-export\n[ ! -d /var/lib/packhorse-export ]",
    )?;
    let after = Tree::of(root, known)?;
    let differences = before.differences(&after);
    let ignored = [&ITS_OWN[..], &KEPT_BY_SHADOW].concat();
    let left = left(&differences, &ignored);
    ensure!(left.is_empty(), "{left:?}");
    Ok(format!(
        "the changed configuration is kept as .rpmsave; else the tree is the one before, of {} paths (ignored: {})",
        before.0.len(),
        ignored.join(", ")
    ))
}
