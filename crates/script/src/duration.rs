/// Reads a length of time: a whole number and `s`, `min` or `h`; at least a second.
pub(crate) fn parse_duration(text: &str) -> Result<u32, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit: u32 = match &text[digits.len()..] {
        "s" => 1,
        "min" => 60,
        "h" => 3600,
        _ => return Err(format!("`{text}` has no unit: `s`, `min` or `h`")),
    };
    let number = digits.bytes().all(|digit| digit.is_ascii_digit()).then(|| digits.parse().ok());
    match number.flatten().and_then(|number: u32| number.checked_mul(unit)) {
        Some(0) => Err("it takes at least a second".to_owned()),
        Some(seconds) => Ok(seconds),
        None => Err(format!("`{text}` is no length of time up to 4294967295 seconds")),
    }
}

/// Writes a length of time in the greatest unit that keeps it whole.
pub(crate) fn print_duration(seconds: u32) -> String {
    match seconds {
        seconds if seconds > 0 && seconds.is_multiple_of(3600) => format!("{}h", seconds / 3600),
        seconds if seconds > 0 && seconds.is_multiple_of(60) => format!("{}min", seconds / 60),
        seconds => format!("{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::{parse_duration, print_duration};

    #[test]
    fn durations_come_back_and_refuse() {
        for (text, seconds) in [("90s", 90), ("10min", 600), ("2h", 7200), ("1s", 1)] {
            assert_eq!(parse_duration(text), Ok(seconds));
            assert_eq!(print_duration(seconds), text);
        }
        for bad in
            ["", "s", "10", "10 min", "-1s", "+1s", "0s", "1.5h", "99999999999s", "2000000h", "1d"]
        {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }
}
