//! Patterns over target paths, by whole parts: `*` stays within a part, `**` spans parts.

/// Whether `path` matches one of `patterns`.
pub(crate) fn matches_any(patterns: &[String], path: &model::MachinePath) -> bool {
    patterns.iter().any(|pattern| fast_glob::glob_match(pattern.as_bytes(), path.as_bytes()))
}

/// The folder a pattern starts in: its parts before the first with a wildcard. `None` for the root,
/// which nothing is ever searched from.
pub(crate) fn literal_folder(pattern: &str) -> Option<model::MachinePath> {
    let parts: Vec<&str> = pattern.split('/').collect();
    let wild = parts.iter().position(|part| part.contains(['*', '?', '[', '{', '!', '\\']))?;
    let folder = model::MachinePath::new(parts[..wild].join("/")).ok()?;
    (!folder.is_root()).then_some(folder)
}

#[cfg(test)]
mod tests {
    use super::{literal_folder, matches_any};

    #[test]
    fn a_search_starts_below_the_root() {
        let folder = |pattern| literal_folder(pattern).map(|folder| folder.to_string());
        assert_eq!(folder("/var/log/redis/*.log").as_deref(), Some("/var/log/redis"));
        assert_eq!(folder("/**/x"), None);
        assert_eq!(folder("/var/log/x"), None, "nothing to search for");
    }

    #[test]
    fn patterns_go_by_whole_parts() {
        let matches =
            |pattern: &str, path: &str| matches_any(&[pattern.to_owned()], &path.parse().unwrap());
        assert!(matches("/etc/redis/**", "/etc/redis/a/b.conf"));
        assert!(matches("/etc/*.conf", "/etc/a.conf"));
        assert!(!matches("/etc/*.conf", "/etc/a/b.conf"));
        assert!(!matches("/tmp/**", "/tmpfoo/x"));
        assert!(matches("/opt/x/**/__pycache__", "/opt/x/a/b/__pycache__"));
    }
}
