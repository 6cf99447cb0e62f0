//! How long something lasts, as people type it: `90s`, `15m`, `2h`, `7d`.

use std::time::Duration;

/// The accepted form, for messages.
pub const FORM: &str = "a number and `s`, `m`, `h` or `d`";

const UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];

/// Reads a time like `15m`, `2h`, `90s` or `1d`.
#[must_use]
pub fn parse(text: &str) -> Option<Duration> {
    let text = text.trim();
    let end = text.find(|found: char| !found.is_ascii_digit())?;
    let number: u64 = text[..end].parse().ok()?;
    let unit = text[end..].trim();
    let unit = if unit == "min" { "m" } else { unit };
    let (_, seconds) = UNITS.iter().find(|(name, _)| *name == unit)?;
    number.checked_mul(*seconds).map(Duration::from_secs)
}

/// Writes a time in the largest unit that needs no fraction: `15m`.
#[must_use]
pub fn text(time: Duration) -> String {
    let seconds = time.as_secs();
    let fits = |(_, unit): &&(&str, u64)| seconds >= *unit && seconds.is_multiple_of(*unit);
    let (name, unit) = UNITS.iter().find(fits).unwrap_or(&("s", 1));
    format!("{}{name}", seconds / unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        let seconds = |text| parse(text).map(|time| time.as_secs());
        assert_eq!(
            (seconds("15m"), seconds("2 h"), seconds("90s"), seconds("1d"), seconds("5min")),
            (Some(900), Some(7_200), Some(90), Some(86_400), Some(300))
        );
        for wrong in ["15", "m", "-1m", "1.5h", "1w", "", "99999999999999999999d", "9999999999999999999d"] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        for (seconds, written) in [(0, "0s"), (1, "1s"), (60, "1m"), (90, "90s"), (86_400, "1d"), (604_800, "7d")] {
            let time = Duration::from_secs(seconds);
            assert_eq!((text(time).as_str(), parse(written)), (written, Some(time)));
        }
    }
}
