//! Time: wall-clock milliseconds for people, hybrid logical stamps for order.
//!
//! Across nodes the order is the causal order of entries, never a wall clock. [`Order`] is that order as a value.
//! A [`Timestamp`] serves people: ages, list order, freshness.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::NodeKey;

/// Milliseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Returns the milliseconds from `earlier` to `self`; negative when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Returns the time `ms` later.
    #[must_use]
    pub fn plus(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Returns the ISO 8601 form with milliseconds and `Z`; out-of-range times print as the nearest printable one.
    #[must_use]
    pub fn iso(self) -> String {
        let clamped = self.0.clamp(-62_135_596_800_000, 253_402_300_799_999);
        let time = jiff::Timestamp::from_millisecond(clamped).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        format!("{time:.3}")
    }

    /// Reads an ISO 8601 time with an offset or `Z`.
    #[must_use]
    pub fn parse_iso(text: &str) -> Option<Self> {
        text.parse::<jiff::Timestamp>().ok().map(|time| Self(time.as_millisecond()))
    }

    /// Returns the age for people: `just now`, `5 min`, `3 h`, `12 days`; never negative.
    #[must_use]
    pub fn age(self, now: Self) -> String {
        let ms = now.since(self);
        // A second of disagreement between two threads of one process is not a wrong clock.
        if ms < -1_000 {
            return "just now (clock ahead)".to_owned();
        }
        match ms / 60_000 {
            ..1 => "just now".to_owned(),
            minutes @ 1..60 => format!("{minutes} min"),
            minutes @ 60..1_440 => format!("{} h", minutes / 60),
            1_440..2_880 => "1 day".to_owned(),
            minutes => format!("{} days", minutes / 1_440),
        }
    }
}

/// A hybrid logical clock value: 48 bits of milliseconds, 16 bits of counter.
///
/// Greater than every stamp that its author had seen when it was made, and close to real time while clocks are sane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Stamp(pub u64);

impl Stamp {
    /// The largest stamp that is accepted from another node: the year 5138, far below overflow. A clock that claims to
    /// be later than this is treated as broken, and its entries are refused instead of dragging every clock along.
    pub const MAX_ACCEPTED: Self = Self(100_000_000_000_000 << 16);

    /// The largest stamp of another node that the own clock follows: the year 2200. What comes after it could leave no room
    /// for anything that is written afterwards.
    pub const MAX_FOLLOWED: Self = Self(7_258_118_400_000 << 16);

    /// Returns the stamp that follows both `self` and the wall clock.
    #[must_use]
    pub fn next(self, now: Timestamp) -> Self {
        let wall = u64::try_from(now.0).unwrap_or(0).min(Self::MAX_FOLLOWED.0 >> 16) << 16;
        Self(wall.max(self.0 + 1))
    }

    /// Returns the milliseconds part.
    #[must_use]
    pub fn ms(self) -> Timestamp {
        Timestamp(i64::try_from(self.0 >> 16).unwrap_or(i64::MAX))
    }
}

/// A position in the causal order of all entries: stamp, then log, then seq.
///
/// Total, equal on every node, and never contradicts causality. "Newest" and "latest" mean greatest in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Order {
    /// The entry's stamp.
    pub stamp: Stamp,
    /// The entry's author.
    pub author: NodeKey,
    /// The author's epoch.
    pub epoch: u64,
    /// The position in that log.
    pub seq: u64,
}

impl Order {
    /// The least order, before every entry.
    pub const FIRST: Self = Self { stamp: Stamp(0), author: NodeKey([0; 32]), epoch: 0, seq: 0 };

    /// Returns a text that sorts like the order: 16 hex digits of the stamp, 16 of the author, 16 of epoch, 16 of seq.
    #[must_use]
    pub fn sort_key(&self) -> String {
        let author = u64::from_be_bytes(self.author.0[..8].try_into().unwrap_or_default());
        format!("{:016x}{author:016x}{:016x}{:016x}", self.stamp.0, self.epoch, self.seq)
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_stamp_always_moves_forward(last in 0..=Stamp::MAX_ACCEPTED.0, now: i64) {
            prop_assert!(Stamp(last).next(Timestamp(now)) > Stamp(last));
        }

        #[test]
        fn iso_round_trips(ms in -62_135_596_800_000_i64..253_402_300_799_999) {
            prop_assert_eq!(Timestamp::parse_iso(&Timestamp(ms).iso()), Some(Timestamp(ms)));
        }

        #[test]
        fn an_age_is_never_negative(then: i64, now: i64) {
            prop_assert!(!Timestamp(then).age(Timestamp(now)).contains("-"));
        }
    }

    #[test]
    fn ages_use_one_unit() {
        let now = Timestamp(1_000_000_000_000);
        let age = |ms: i64| now.plus(-ms).age(now);
        assert_eq!(age(59_999), "just now");
        assert_eq!(age(60_000), "1 min");
        assert_eq!(age(3_599_999), "59 min");
        assert_eq!(age(3_600_000), "1 h");
        assert_eq!(age(86_399_999), "23 h");
        assert_eq!(age(86_400_000), "1 day");
        assert_eq!(age(172_800_000), "2 days");
        assert_eq!(age(-5_000), "just now (clock ahead)");
    }
}
