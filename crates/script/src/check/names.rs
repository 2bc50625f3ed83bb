//! Names Windows does not hold (Microsoft, "Naming Files, Paths, and Namespaces").

use model::{MachinePath, escape};

/// Devices, with whatever extension.
const DEVICES: [&str; 6] = ["con", "prn", "aux", "nul", "conin$", "conout$"];
/// Devices with a number behind them.
const NUMBERED: [&str; 2] = ["com", "lpt"];
const REFUSED: &[u8] = b"<>:\"|?*\\";
/// The longest name, in 16-bit units.
const LONGEST: usize = 255;

/// Why Windows holds no file of this name, if it does not.
pub(super) fn refusal(name: &[u8]) -> Option<String> {
    let shown = escape(name);
    let Ok(text) = std::str::from_utf8(name) else {
        return Some(format!("`{shown}` is no UTF-8"));
    };
    if let Some(letter) = name.iter().find(|byte| REFUSED.contains(byte)) {
        return Some(format!("`{shown}` has a `{}` in it", char::from(*letter)));
    }
    if name.iter().any(|byte| *byte < 0x20) {
        return Some(format!("`{shown}` has a control character in it"));
    }
    if let Some(last) = name.last().filter(|last| matches!(last, b'.' | b' ')) {
        let what = if *last == b'.' { "dot" } else { "blank" };
        return Some(format!("`{shown}` ends with a {what}"));
    }
    let stem = text.split('.').next().unwrap_or_default().trim_end().to_ascii_lowercase();
    let numbered = NUMBERED.iter().filter_map(|device| stem.strip_prefix(device)).any(|rest| {
        let mut letters = rest.chars();
        matches!((letters.next(), letters.next()), (Some('1'..='9' | '¹' | '²' | '³'), None))
    });
    if numbered || DEVICES.contains(&&*stem) {
        return Some(format!("`{shown}` is a device"));
    }
    let units = text.encode_utf16().count();
    (units > LONGEST)
        .then(|| format!("`{shown}` has {units} letters, and names have at most {LONGEST}"))
}

/// What two paths have in common that are one to Windows.
pub(super) fn folded(path: &MachinePath) -> String {
    escape(path.as_bytes()).to_uppercase()
}

#[cfg(test)]
mod tests {
    use super::refusal;

    #[test]
    fn names_windows_does_not_hold() {
        for bad in [
            "CON", "con.txt", "Nul .log", "aux", "LPT1", "com9.x", "COM¹", "a:b", "what?", "a\\b",
            "dot.", "blank ", "tab\t", "CONIN$",
        ] {
            assert!(refusal(bad.as_bytes()).is_some(), "{bad}");
        }
        assert!(refusal(b"\xFF").is_some() && refusal("ü".repeat(256).as_bytes()).is_some());
        for good in ["console", "com", "COM10", "lpt0", ".config", "a b", "con-", "ü.txt", "COM"] {
            assert_eq!(refusal(good.as_bytes()), None, "{good}");
        }
        assert_eq!(refusal("ü".repeat(255).as_bytes()), None);
    }
}
