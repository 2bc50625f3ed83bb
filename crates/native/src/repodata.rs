//! What an rpm repository says of its files: `repodata/`.

use std::fmt::Write as _;

use crate::{Dependency, Listed, Rpm};

/// The three lists of an rpm repository, as XML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RpmIndex {
    /// What each package is.
    pub primary: String,
    /// Its paths.
    pub filelists: String,
    /// Its changes.
    pub other: String,
}

impl RpmIndex {
    /// The lists over these packages, by name and version; `when` each file was written in the repository, in seconds
    /// since 1970.
    pub fn new(packages: &[(Rpm, Listed, i64)]) -> Self {
        let mut order: Vec<_> = packages.iter().collect();
        order.sort_by_key(|(rpm, listed, _)| {
            (&rpm.name, rpm.epoch, model::Version::new(&*rpm.version), &listed.path)
        });
        let count = order.len();
        let head = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
        let space = "http://linux.duke.edu/metadata";
        let mut primary = format!(
            "{head}<metadata xmlns=\"{space}/common\" xmlns:rpm=\"{space}/rpm\" packages=\"{count}\">\n"
        );
        let mut filelists =
            format!("{head}<filelists xmlns=\"{space}/filelists\" packages=\"{count}\">\n");
        let mut other = format!("{head}<otherdata xmlns=\"{space}/other\" packages=\"{count}\">\n");
        for (rpm, listed, when) in order {
            write_primary(&mut primary, rpm, listed, *when);
            let name = escape(&rpm.name);
            let package = format!(
                "<package pkgid=\"{}\" name=\"{name}\" arch=\"{}\">\n  {}\n",
                listed.sha256,
                escape(&rpm.architecture),
                version(rpm)
            );
            filelists.push_str(&package);
            for (path, is_folder) in &rpm.files {
                let kind = if *is_folder { " type=\"dir\"" } else { "" };
                let _ = writeln!(filelists, "  <file{kind}>{}</file>", escape(path));
            }
            filelists.push_str("</package>\n");
            other.push_str(&package);
            for (time, who, what) in &rpm.changes {
                let _ = writeln!(
                    other,
                    "  <changelog author=\"{}\" date=\"{time}\">{}</changelog>",
                    escape(who),
                    escape(what)
                );
            }
            other.push_str("</package>\n");
        }
        primary.push_str("</metadata>\n");
        filelists.push_str("</filelists>\n");
        other.push_str("</otherdata>\n");
        Self { primary, filelists, other }
    }
}

/// `repomd.xml` over the packed lists: kind, the packed file, and length and SHA-256 unpacked.
pub fn rpm_index_of_indexes(
    lists: &[(&'static str, Listed, u64, String)],
    revision: i64,
) -> String {
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<repomd xmlns=\"http://linux.duke.edu/metadata/repo\" \
         xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\">\n  <revision>{revision}</revision>\n"
    );
    for (kind, Listed { path, length, sha256 }, open_length, open_sha256) in lists {
        let _ = write!(
            text,
            "  <data type=\"{kind}\">\n    <checksum type=\"sha256\">{sha256}</checksum>\n    \
             <open-checksum type=\"sha256\">{open_sha256}</open-checksum>\n    <location href=\"{}\"/>\n    \
             <timestamp>{revision}</timestamp>\n    <size>{length}</size>\n    \
             <open-size>{open_length}</open-size>\n  </data>\n",
            escape(path)
        );
    }
    text.push_str("</repomd>\n");
    text
}

fn write_primary(text: &mut String, rpm: &Rpm, listed: &Listed, when: i64) {
    let Listed { path, length, sha256 } = listed;
    let (start, end) = rpm.header;
    let _ = write!(
        text,
        "<package type=\"rpm\">\n  <name>{}</name>\n  <arch>{}</arch>\n  {}\n  \
         <checksum type=\"sha256\" pkgid=\"YES\">{sha256}</checksum>\n  <summary>{}</summary>\n  \
         <description>{}</description>\n  <packager>{}</packager>\n  <url>{}</url>\n  \
         <time file=\"{when}\" build=\"{}\"/>\n  <size package=\"{length}\" installed=\"{}\" archive=\"{}\"/>\n  \
         <location href=\"{}\"/>\n  <format>\n    <rpm:license>{}</rpm:license>\n    \
         <rpm:group>{}</rpm:group>\n    <rpm:buildhost>{}</rpm:buildhost>\n    \
         <rpm:sourcerpm>{}</rpm:sourcerpm>\n    <rpm:header-range start=\"{start}\" end=\"{end}\"/>\n",
        escape(&rpm.name),
        escape(&rpm.architecture),
        version(rpm),
        escape(&rpm.summary),
        escape(&rpm.description),
        escape(&rpm.packager),
        escape(&rpm.url),
        rpm.build_time,
        rpm.installed,
        rpm.archive,
        escape(path),
        escape(&rpm.license),
        escape(&rpm.group),
        escape(&rpm.build_host),
        escape(&rpm.source),
    );
    dependencies(text, "provides", &rpm.provides);
    dependencies(text, "requires", &rpm.requires);
    for (path, is_folder) in &rpm.files {
        // What clients look for without the whole list.
        if path.starts_with("/etc/") || path.contains("bin/") || path == "/usr/lib/sendmail" {
            let kind = if *is_folder { " type=\"dir\"" } else { "" };
            let _ = writeln!(text, "    <file{kind}>{}</file>", escape(path));
        }
    }
    text.push_str("  </format>\n</package>\n");
}

fn dependencies(text: &mut String, kind: &str, all: &[Dependency]) {
    const PRE: u32 = 1 << 6 | 1 << 9 | 1 << 10;
    // What rpm itself must be able to do is between it and the package.
    let all = all.iter().filter(|one| !one.name.starts_with("rpmlib("));
    let mut lines = String::new();
    for Dependency { name, flags, version } in all {
        let _ = write!(lines, "      <rpm:entry name=\"{}\"", escape(name));
        let compares = match flags & 0b1110 {
            0b0010 => "LT",
            0b0100 => "GT",
            0b1000 => "EQ",
            0b1010 => "LE",
            0b1100 => "GE",
            _ => "",
        };
        if !compares.is_empty() {
            let (epoch, rest) = version.split_once(':').unwrap_or(("0", version));
            let _ = write!(lines, " flags=\"{compares}\" epoch=\"{}\"", escape(epoch));
            let (version, release) =
                rest.rsplit_once('-').map_or((rest, None), |(v, r)| (v, Some(r)));
            let _ = write!(lines, " ver=\"{}\"", escape(version));
            if let Some(release) = release {
                let _ = write!(lines, " rel=\"{}\"", escape(release));
            }
        }
        if kind == "requires" && flags & PRE != 0 {
            lines.push_str(" pre=\"1\"");
        }
        lines.push_str("/>\n");
    }
    if !lines.is_empty() {
        let _ = write!(text, "    <rpm:{kind}>\n{lines}    </rpm:{kind}>\n");
    }
}

fn version(rpm: &Rpm) -> String {
    format!(
        "<version epoch=\"{}\" ver=\"{}\" rel=\"{}\"/>",
        rpm.epoch,
        escape(&rpm.version),
        escape(&rpm.release)
    )
}

/// A text as XML has it; what XML cannot hold becomes `?`.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' => escaped.push(letter),
            control if control.is_control() => escaped.push('?'),
            other => escaped.push(other),
        }
    }
    escaped
}
