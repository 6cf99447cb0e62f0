//! When a heartbeat is stale and when the next one is due, and in which words a session's liveness is told to other rules.
//!
//! Staleness is a function of an age and not of two times, because for sessions of other nodes only an age is known: what
//! their owner stated, and how long ago it arrived here. Clocks that differ cannot make a session stale. Not here: whether
//! that owner can be reached, which follows from connections.

use super::limits::{HEARTBEAT_MAX_S, HEARTBEAT_MIN_S, STALE_AFTER_MS};
use crate::Timestamp;

/// How a session that is active in the record is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// In the active lists.
    Active,
    /// In no active list; its owner's sweep will mark it.
    Stale,
    /// In its own group: last seen so long ago on a machine that cannot be asked. Never counted as active.
    LastSeen,
}

/// Whether a heartbeat of that age is stale: strictly more than 45:00. A negative age lies in the future.
#[must_use]
pub fn is_stale(age_ms: i64) -> bool {
    age_ms > STALE_AFTER_MS
}

/// When the next heartbeat is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextHeartbeat {
    /// Seconds from now, in 480 to 720.
    pub interval_seconds: u32,
    /// The time.
    pub at: Timestamp,
}

/// Draws the next heartbeat from a random number.
#[must_use]
pub fn next_heartbeat(now: Timestamp, random: u64) -> NextHeartbeat {
    let choices = u64::from(HEARTBEAT_MAX_S - HEARTBEAT_MIN_S + 1);
    let drawn = u32::try_from(random % choices).expect("the remainder is below the number of choices");
    let interval_seconds = HEARTBEAT_MIN_S + drawn;
    NextHeartbeat { interval_seconds, at: now.plus(i64::from(interval_seconds) * 1_000) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn s_04_exactly_45_minutes_is_not_stale_and_one_tick_more_is() {
        assert!(!is_stale(2_700_000));
        assert!(is_stale(2_700_001));
    }

    #[test]
    fn s_05_a_heartbeat_in_the_future_is_not_stale() {
        assert!(!is_stale(-5_000_000));
        assert!(!is_stale(i64::MIN));
    }

    #[test]
    fn s_13_intervals_cover_the_whole_range() {
        let drawn: BTreeSet<u32> =
            (0..241).map(|random| next_heartbeat(Timestamp(0), random).interval_seconds).collect();
        assert_eq!(drawn, (480..=720).collect());
    }

    proptest! {
        #[test]
        fn s_13_the_next_time_is_now_and_the_interval(now in 0_i64..4_000_000_000_000, random: u64) {
            let next = next_heartbeat(Timestamp(now), random);
            prop_assert!((480..=720).contains(&next.interval_seconds));
            prop_assert_eq!(next.at.since(Timestamp(now)), i64::from(next.interval_seconds) * 1_000);
        }
    }
}
