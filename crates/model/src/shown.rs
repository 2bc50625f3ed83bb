//! Places as people call them.

use std::fmt;

use crate::{MachinePath, escape};

/// A place as sentences name it: a file by its path, and what is no file, [`Setting::path`](crate::Setting::path), by its key,
/// value, service or task. It does not read back.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a>(&'a MachinePath);

impl MachinePath {
    /// This place as sentences name it.
    pub fn shown(&self) -> Shown<'_> {
        Shown(self)
    }
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0.as_bytes();
        if let Some(rest) = bytes.strip_prefix(br"/registry\/") {
            return f.write_str(&registry(rest));
        }
        for (kind, word) in [(&br"/services\/"[..], "service"), (br"/tasks\/", "scheduled task")] {
            if let Some(name) = bytes.strip_prefix(kind) {
                return write!(f, "{word} {}", name_of(name));
            }
        }
        fmt::Display::fmt(self.0, f)
    }
}

fn registry(path: &[u8]) -> String {
    let mut text = String::new();
    for part in path.split(|&byte| byte == b'/') {
        if let Some(value) = part.strip_prefix(b"=") {
            text.push_str(", ");
            match value {
                [] => text.push_str("default value"),
                name => text.extend(["value ", &name_of(name)]),
            }
        } else if text.is_empty() {
            text.push_str(&key_of(part).to_ascii_uppercase());
        } else {
            text.extend(["\\", &key_of(part)]);
        }
    }
    text
}

fn key_of(part: &[u8]) -> String {
    name_of(part.strip_suffix(b"\\").unwrap_or(part))
}

/// A name with what no part of a path may hold put back, safe to print.
fn name_of(part: &[u8]) -> String {
    let text = String::from_utf8_lossy(part).replace("%2f", "/").replace("%25", "%");
    if text.chars().any(char::is_control) { escape(text.as_bytes()) } else { text }
}

#[cfg(test)]
mod tests {
    use crate::{MachinePath, RegistryKey, Setting};

    #[test]
    fn places_are_shown_as_people_call_them() {
        let key = RegistryKey::new(r"HKLM\Software\A/B 5%\C").unwrap();
        let shown = |setting: Setting| setting.path().shown().to_string();
        assert_eq!(shown(Setting::value(&key, "Name")), r"HKLM\software\a/b 5%\c, value name");
        assert_eq!(shown(Setting::value(&key, "")), r"HKLM\software\a/b 5%\c, default value");
        assert_eq!(shown(Setting::value(&key, "a\nb")), r"HKLM\software\a/b 5%\c, value a\nb");
        assert_eq!(shown(Setting::Key(key)), r"HKLM\software\a/b 5%\c");
        assert_eq!(shown(Setting::Service("App".into())), "service app");
        assert_eq!(shown(Setting::Task(r"\App\Update".into())), r"scheduled task \app\update");
        for path in ["/etc/redis.conf", r"C:\Program Files\App", "/registry/a", "/"] {
            let path = MachinePath::new(path).unwrap();
            assert_eq!(path.shown().to_string(), path.to_string());
        }
    }
}
