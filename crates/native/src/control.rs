//! The small files of a .deb.

use crate::plan::Plan;

/// `control`.
pub(crate) fn control(plan: &Plan, installed_kib: u64) -> String {
    let identity = &plan.identity;
    let mut text = format!(
        "Package: {}\nVersion: {}\nArchitecture: {}\nMaintainer: {}\nInstalled-Size: {installed_kib}\n",
        identity.name,
        identity.deb_version(),
        identity.architecture,
        line(&plan.export.maintainer),
    );
    let mut depends = plan.export.deb.clone();
    for need in &plan.needs {
        let is_there = |one: &String| one.split([' ', '(']).next() == Some(*need);
        if !depends.iter().any(is_there) {
            depends.push((*need).to_owned());
        }
    }
    if !depends.is_empty() {
        text.push_str(&format!("Depends: {}\n", line(&depends.join(", "))));
    }
    let section = if plan.export.section.is_empty() { "misc" } else { &plan.export.section };
    text.push_str(&format!("Section: {}\nPriority: optional\n", line(section)));
    if !plan.export.homepage.is_empty() {
        text.push_str(&format!("Homepage: {}\n", line(&plan.export.homepage)));
    }
    text.push_str(&format!("Description: {}\n", summary(plan)));
    for paragraph_line in description(plan).lines() {
        let blank = paragraph_line.trim().is_empty();
        text.push_str(&format!(" {}\n", if blank { "." } else { paragraph_line }));
    }
    text
}

/// One line that says what it is.
pub(crate) fn summary(plan: &Plan) -> String {
    let said = line(&plan.summary);
    if said.is_empty() { format!("{}, packaged with Packhorse", plan.identity.name) } else { said }
}

/// More lines about it.
pub(crate) fn description(plan: &Plan) -> String {
    match plan.export.description.trim() {
        "" => format!(
            "{} {} as one package, made of a Packhorse script.",
            plan.identity.name, plan.identity.version
        ),
        said => said.lines().map(str::trim).collect::<Vec<_>>().join("\n"),
    }
}

/// `/usr/share/doc/NAME/copyright`.
pub(crate) fn copyright(plan: &Plan) -> String {
    let export = &plan.export;
    let source = if export.homepage.is_empty() {
        String::new()
    } else {
        format!("Source: {}\n", line(&export.homepage))
    };
    format!(
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nUpstream-Name: {}\n{source}\n\
         Files: *\nCopyright: the authors of {}\nLicense: {}\n See the software's own documents for the terms.\n",
        plan.identity.name,
        plan.identity.name,
        line(&export.license),
    )
}

/// `/usr/share/doc/NAME/changelog.gz` before packing: one entry, at the time of the newest file.
pub(crate) fn changelog(plan: &Plan) -> String {
    let seconds = i64::try_from(plan.time).unwrap_or(0);
    let date = jiff::Timestamp::from_second(seconds)
        .map(|time| time.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string())
        .unwrap_or_default();
    format!(
        "{} ({}) stable; urgency=medium\n\n  * Made of a Packhorse script.\n\n -- {}  {date}\n",
        plan.identity.name,
        plan.identity.deb_version(),
        line(&plan.export.maintainer),
    )
}

/// `/usr/share/lintian/overrides/NAME`: what is meant to be so, and why. `None` where nothing is.
pub(crate) fn overrides(plan: &Plan) -> Option<String> {
    let below = |folder: &[u8]| {
        plan.items.iter().flatten().any(|item| item.path.as_bytes().starts_with(folder))
    };
    let name = &plan.identity.name;
    let mut text = String::new();
    if below(b"/opt/") {
        text.push_str(&format!(
            "# /opt is where software goes that is no part of the distribution.\n{name}: dir-or-file-in-opt\n"
        ));
    }
    (!text.is_empty()).then_some(text)
}

/// A text on one line, as every field is.
pub(crate) fn line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
