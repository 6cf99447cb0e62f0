//! Field mode: a laptop away from the desk trades freshness for battery and data.
//!
//! Here is what is decided: what was asked for, when the next look at the others is due, what is left of the day's bytes,
//! which process keeps the machine awake, what to advise. The daemon does it.

mod advice;
mod awake;

use std::time::Duration;

pub use advice::{Advice, Facts, Power, advice, cautions};
pub use awake::{Awake, System};

/// The shortest interval: below it an open connection costs less than coming back.
pub const MIN_EVERY: Duration = Duration::from_secs(60);
/// The longest interval.
pub const MAX_EVERY: Duration = Duration::from_secs(24 * 3_600);
/// The time in which each of the others is answered in a few rounds of its own, when this machine has no interval.
pub const ANSWERS_EVERY: Duration = Duration::from_secs(15 * 60);
/// The smallest budget. Entries come in batches of up to 2 MiB that are taken in whole: with less for a day, a backlog of
/// larger ones would never arrive.
pub const MIN_BUDGET: u64 = 3_000_000;
/// What others leave of a budget at least: one such batch, with the handshake and acknowledgements around it.
const OWN_LEAST: u64 = 2_500_000;
/// The longest time for which a machine is kept awake.
pub const MAX_FOR: Duration = Duration::from_secs(7 * 24 * 3_600);
const DAY_MS: i64 = 24 * 3_600_000;

/// Reads an amount like `20MB`, `500KB`, `1GB` (powers of ten) or `20MiB` (powers of two).
#[must_use]
pub fn parse_bytes(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let unit = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1_000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(unit)
}

fn split(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let end = text.find(|found: char| !found.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, text[end..].trim()))
}

/// Writes an amount with one digit after the point: `1.5 MB`.
#[must_use]
pub fn bytes_text(bytes: u64) -> String {
    let (unit, name) = match bytes {
        ..1_000 => return format!("{bytes} B"),
        1_000..1_000_000 => (1_000, "KB"),
        1_000_000..1_000_000_000 => (1_000_000, "MB"),
        _ => (1_000_000_000, "GB"),
    };
    format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit)
}

/// The bytes of a day. Days are those of UTC, so that a change of time zone under way starts no new one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meter {
    /// Days since 1970.
    pub day: i64,
    /// Bytes sent and received on that day.
    pub used: u64,
    /// Those among them that others made this machine spend.
    pub by_others: u64,
}

impl Meter {
    /// Adds bytes at a time in milliseconds since 1970, and how many of them are of others. Another day starts from nothing.
    #[must_use]
    pub fn plus(self, bytes: u64, by_others: u64, now_ms: i64) -> Self {
        let day = now_ms.div_euclid(DAY_MS);
        let before = if day == self.day { self } else { Self { day, ..Self::default() } };
        Self {
            day,
            used: before.used.saturating_add(bytes),
            by_others: before.by_others.saturating_add(by_others.min(bytes)),
        }
    }

    /// Returns what is left of a budget.
    #[must_use]
    pub fn left(self, budget: u64, now_ms: i64) -> u64 {
        budget.saturating_sub(self.plus(0, 0, now_ms).used)
    }

    /// Returns what is left of what others may use of a budget.
    #[must_use]
    pub fn left_for_others(self, budget: u64, now_ms: i64) -> u64 {
        share_of_others(budget).saturating_sub(self.plus(0, 0, now_ms).by_others)
    }

    /// Returns when the next day begins, in milliseconds since 1970.
    #[must_use]
    pub fn renews_at(now_ms: i64) -> i64 {
        (now_ms.div_euclid(DAY_MS) + 1) * DAY_MS
    }
}

/// Returns how much of a budget others may use by rounds of their own: half of it, and no more than leaves a large batch
/// for the rounds of this machine. With the rest it goes on whatever the others ask for.
#[must_use]
pub fn share_of_others(budget: u64) -> u64 {
    (budget / 2).min(budget.saturating_sub(OWN_LEAST))
}

/// Returns whether the others are to be looked for now: an interval was asked for, it has passed since the last look,
/// and there are bytes left.
#[must_use]
pub fn is_due(every: Option<Duration>, last_ms: Option<i64>, left: Option<u64>, now_ms: i64) -> bool {
    let Some(every) = every else { return false };
    let every = i64::try_from(every.as_millis()).unwrap_or(i64::MAX);
    // A clock that was set back must not put the next look off for ever.
    let passed = last_ms.is_none_or(|last| now_ms < last || now_ms.saturating_sub(last) >= every);
    passed && left != Some(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_people_write_them() {
        assert_eq!(
            (parse_bytes("20MB"), parse_bytes("1 MiB"), parse_bytes("500kb")),
            (Some(20_000_000), Some(1 << 20), Some(500_000))
        );
        assert_eq!((parse_bytes("20 parrots"), parse_bytes("20000000000 GB"), parse_bytes("")), (None, None, None));
        assert_eq!(
            (bytes_text(999), bytes_text(1_540_000), bytes_text(20_000_000)),
            ("999 B".into(), "1.5 MB".into(), "20.0 MB".into())
        );
    }

    #[test]
    fn a_budget_is_used_up_and_is_whole_again_the_next_day() {
        let noon = 12 * 3_600_000;
        let meter = Meter::default().plus(700, 300, noon).plus(200, 0, noon + 1);
        assert_eq!((meter.left(1_000, noon), meter.left(800, noon)), (100, 0));
        let next = Meter::renews_at(noon);
        assert_eq!((meter.left(1_000, next - 1), meter.left(1_000, next)), (100, 1_000));
        assert_eq!(meter.plus(5, 7, next), Meter { used: 5, by_others: 5, ..meter.plus(0, 0, next) });
    }

    #[test]
    fn others_get_half_and_leave_a_large_batch() {
        assert_eq!([MIN_BUDGET, 4_000_000, 20_000_000].map(share_of_others), [500_000, 1_500_000, 10_000_000]);
        let noon = 12 * 3_600_000;
        let meter = Meter::default().plus(9_000_000, 8_000_000, noon);
        assert_eq!((meter.left_for_others(20_000_000, noon), meter.left_for_others(10_000_000, noon)), (2_000_000, 0));
        assert_eq!(meter.left_for_others(20_000_000, Meter::renews_at(noon)), 10_000_000);
    }

    #[test]
    fn a_look_is_due_after_the_interval_and_never_without_bytes() {
        let every = Some(Duration::from_secs(60));
        assert!(is_due(every, None, None, 0));
        assert!(!is_due(every, Some(0), None, 59_999) && is_due(every, Some(0), None, 60_000));
        assert!(is_due(every, Some(1_000_000), None, 0), "the clock was set back");
        assert!(!is_due(every, None, Some(0), 0) && is_due(every, None, Some(1), 0));
        assert!(!is_due(None, None, None, 0), "on demand only");
    }
}
