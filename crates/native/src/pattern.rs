use model::MachinePath;

/// Whether a path matches one of the patterns.
pub(crate) fn matches_any(patterns: &[String], path: &MachinePath) -> bool {
    patterns.iter().any(|pattern| fast_glob::glob_match(pattern.as_bytes(), path.as_bytes()))
}

/// A pattern as find(1) takes it: the folder to start in and an extended regular expression over the whole path.
/// `None` where it would start at the root, which nothing is searched from.
pub(crate) fn as_search(pattern: &str) -> Option<(String, String)> {
    let parts: Vec<&str> = pattern.split('/').collect();
    let wild = parts.iter().position(|part| part.contains(['*', '?', '[', '{', '!', '\\']));
    let folder = parts[..wild.unwrap_or(parts.len())].join("/");
    (folder.len() > 1).then(|| (folder, expression(pattern)))
}

fn expression(pattern: &str) -> String {
    let mut text = String::new();
    let mut rest = pattern;
    let mut depth = 0;
    while let Some(first) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("**/") {
            text.push_str("(.*/)?");
            rest = after;
            continue;
        }
        if let Some(after) = rest.strip_prefix("**") {
            text.push_str(".*");
            rest = after;
            continue;
        }
        let mut length = first.len_utf8();
        match first {
            '*' => text.push_str("[^/]*"),
            '?' => text.push_str("[^/]"),
            '{' => {
                depth += 1;
                text.push('(');
            }
            '}' if depth > 0 => {
                depth -= 1;
                text.push(')');
            }
            ',' if depth > 0 => text.push('|'),
            '[' => match rest.find(']').filter(|end| *end > 1) {
                Some(end) => {
                    text.push_str(&rest[..=end].replacen("[!", "[^", 1));
                    length = end + 1;
                }
                None => text.push_str("\\["),
            },
            '.' | '+' | '(' | ')' | '|' | '^' | '$' | ']' | '}' | '\\' => {
                text.push('\\');
                text.push(first);
            }
            other => text.push(other),
        }
        rest = &rest[length..];
    }
    text
}

#[cfg(test)]
mod tests {
    use super::as_search;

    #[test]
    fn patterns_become_searches() {
        let search = |pattern| as_search(pattern).map(|(folder, text)| format!("{folder} {text}"));
        insta::assert_snapshot!(search("/opt/x/**/__pycache__").unwrap(), @"/opt/x /opt/x/(.*/)?__pycache__");
        insta::assert_snapshot!(search("/var/log/x/*.{log,gz}").unwrap(), @r"/var/log/x /var/log/x/[^/]*\.(log|gz)");
        insta::assert_snapshot!(search("/var/x/[!a]?").unwrap(), @"/var/x /var/x/[^a][^/]");
        assert_eq!(search("/**/x"), None);
    }
}
