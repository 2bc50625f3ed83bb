//! What a machine does to itself while no installer runs, as rules.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use model::{Kind, MachinePath, escape};

use crate::{Change, ChangeSet, Rules};

/// From how many different names on a folder is named instead of what is in it.
const MANY: usize = 4;

/// A rule to propose: what changed together, in one folder.
struct Proposal {
    patterns: BTreeSet<String>,
    paths: usize,
    example: MachinePath,
}

/// Proposes rules for what changed while no installer ran, as the text of a rules file: one for each
/// folder, with numbers in names made wildcards. What the rules at hand leave out already is not in
/// it. Settings and programs are proposed for review, since noise seldom lives there.
pub fn propose(changes: &ChangeSet, rules: &Rules) -> String {
    let verdicts = rules.judge(changes);
    let known = |path: &MachinePath| {
        verdicts.by_path.get(path).is_some_and(|&rule| rules.all()[rule].class.leaves_out())
    };
    let mut folders: BTreeMap<MachinePath, Proposal> = BTreeMap::new();
    for (path, change) in changes.changes.iter().filter(|(path, _)| !known(path)) {
        if within_new_folder(path, changes) {
            continue;
        }
        let folder = path.parent().unwrap_or_else(MachinePath::root);
        let proposal = folders.entry(folder).or_insert_with(|| Proposal {
            patterns: BTreeSet::new(),
            paths: 0,
            example: path.clone(),
        });
        proposal.paths += 1 + below(path, change, changes);
        proposal.patterns.extend(pattern(path));
    }
    let mut text = String::from(
        "# What changed on this machine while no installer ran. Read it, and keep what is noise.\nformat = 1\n",
    );
    for (folder, proposal) in folders {
        write_rule(&mut text, &folder, &proposal);
    }
    text
}

fn write_rule(text: &mut String, folder: &MachinePath, proposal: &Proposal) {
    let mut patterns: Vec<String> = proposal.patterns.iter().cloned().collect();
    let shared = folder.parts().count() < 2;
    if patterns.len() >= MANY
        && !shared
        && let Ok(folder) = std::str::from_utf8(folder.as_bytes())
    {
        patterns = vec![format!("{}/**", globset::escape(folder))];
    }
    if patterns.is_empty() {
        return;
    }
    let settings = folder.parts().next().is_some_and(|top| top != b"var");
    let class = if settings { "review" } else { "drop" };
    let quoted: Vec<String> = patterns.iter().map(|pattern| quote(pattern)).collect();
    let pattern = match &quoted[..] {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    };
    let times = match proposal.paths {
        1 => "one change".to_owned(),
        count => format!("{count} changes"),
    };
    let reason = quote(&format!(
        "{times} with no installer running, {} among them",
        escape(proposal.example.as_bytes())
    ));
    let _ =
        write!(text, "\n[[rule]]\npattern = {pattern}\nclass = \"{class}\"\nreason = {reason}\n");
}

/// The path with what looks counted or random made a wildcard; `None` for a path that is no text.
fn pattern(path: &MachinePath) -> Option<String> {
    let text = std::str::from_utf8(path.as_bytes()).ok()?;
    let (folder, name) = text.rsplit_once('/')?;
    // A blank at the start or end of a name would look like a slip of the pen.
    let blank = name.trim() != name;
    let name = if blank { "*".to_owned() } else { wildcards(name) };
    Some(format!("{}/{name}", globset::escape(folder)))
}

/// Runs of three and more digits, and of eight and more hexadecimal digits with a digit among them.
fn wildcards(name: &str) -> String {
    let mut pattern = String::new();
    let mut rest = name;
    while let Some(first) = rest.chars().next() {
        let run =
            rest.len() - rest.trim_start_matches(|letter: char| letter.is_ascii_hexdigit()).len();
        let (word, after) = rest.split_at(run);
        let digits = word.bytes().filter(u8::is_ascii_digit).count();
        if (run >= 8 && digits > 0) || (run >= 3 && digits == run) {
            if !pattern.ends_with('*') {
                pattern.push('*');
            }
            rest = after;
        } else if run > 0 {
            pattern.push_str(&digit_runs(word));
            rest = after;
        } else {
            pattern.push_str(&globset::escape(&first.to_string()));
            rest = &rest[first.len_utf8()..];
        }
    }
    pattern
}

fn digit_runs(word: &str) -> String {
    let mut pattern = String::new();
    let mut rest = word;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|one: char| one.is_ascii_digit()).len();
        let letters = rest.len() - rest.trim_start_matches(|one: char| !one.is_ascii_digit()).len();
        let length = digits.max(letters);
        pattern.push_str(if digits >= 3 { "*" } else { &rest[..length] });
        rest = &rest[length..];
    }
    pattern
}

fn within_new_folder(path: &MachinePath, changes: &ChangeSet) -> bool {
    path.ancestors()
        .any(|folder| changes.changes.get(&folder).is_some_and(|change| change.before.is_none()))
}

/// How much lies in a new folder.
fn below(path: &MachinePath, change: &Change, changes: &ChangeSet) -> usize {
    let is_new_folder = change.before.is_none()
        && change.after.as_ref().is_some_and(|entry| entry.kind == Kind::Directory);
    if !is_new_folder {
        return 0;
    }
    let after = changes.changes.range(path.clone()..).skip(1);
    after.take_while(|(other, _)| other.is_within(path)).count()
}

fn quote(text: &str) -> String {
    toml_edit::Value::from(text).to_string().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::propose;
    use crate::{Rules, parse_rules, testing::Machines};

    #[test]
    fn what_moves_by_itself_becomes_rules_that_match_it() {
        let machines = Machines::default()
            .had("/etc/app/state", "1")
            .had_folder("/var/lib/agent/spool")
            .had_folder("/var/log")
            .file("/etc/app/state", "2")
            .file("/var/lib/agent/journal-000123.db", "x")
            .file("/var/lib/agent/journal-000124.db", "x")
            .file("/var/lib/agent/0a1b2c3d4e5f", "x")
            .file("/var/lib/agent/spool/a", "x")
            .file("/var/lib/agent/spool/b", "x")
            .file("/var/lib/agent/spool/c", "x")
            .file("/var/lib/agent/spool/d", "x")
            .file("/var/lib/agent/new/deep/x", "x")
            .file("/var/log/syslog", "x");
        let changes = machines.changes();
        let text = propose(&changes, &Rules::linux_and(Vec::new()).unwrap());
        insta::assert_snapshot!(text, @r#"
        # What changed on this machine while no installer ran. Read it, and keep what is noise.
        format = 1

        [[rule]]
        pattern = "/etc/app/state"
        class = "review"
        reason = "one change with no installer running, /etc/app/state among them"

        [[rule]]
        pattern = ["/var/lib/agent/*", "/var/lib/agent/journal-*.db", "/var/lib/agent/new"]
        class = "drop"
        reason = "6 changes with no installer running, /var/lib/agent/0a1b2c3d4e5f among them"

        [[rule]]
        pattern = "/var/lib/agent/spool/**"
        class = "drop"
        reason = "4 changes with no installer running, /var/lib/agent/spool/a among them"
        "#);
        let rules = Rules::linux_and(vec![parse_rules("idle.toml", &text).unwrap()]).unwrap();
        let verdicts = rules.judge(&changes);
        assert!(changes.changes.keys().all(|path| verdicts.by_path.contains_key(path)));
        assert_eq!(propose(&changes, &rules).matches("[[rule]]").count(), 1);
    }
}
