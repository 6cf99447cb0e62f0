//! Staleness, liveness and heartbeat intervals: pure functions of ages.
//!
//! Ages and not times go in, because for sessions of other nodes only an age is known: what their owner stated, and how
//! long ago it arrived here. Clocks that differ cannot make a session stale.

use super::limits::{HEARTBEAT_MAX_S, HEARTBEAT_MIN_S, REACHABLE_WITHIN_MS, STALE_AFTER_MS};
use crate::Timestamp;

/// How this node knows the owner of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It is the owner.
    Here,
    /// The owner was heard within 90 seconds.
    Reachable,
    /// The owner was not heard, or only through the mailbox.
    Unreachable,
}

impl Reach {
    /// Returns how an owner is known that was heard directly so many milliseconds ago.
    #[must_use]
    pub fn of_peer(heard_ms_ago: Option<i64>) -> Self {
        if heard_ms_ago.is_some_and(|ago| ago <= REACHABLE_WITHIN_MS) { Self::Reachable } else { Self::Unreachable }
    }
}

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

/// Returns how a session is shown whose last heartbeat is `age_ms` old; a negative age lies in the future.
#[must_use]
pub fn liveness(reach: Reach, age_ms: i64) -> Liveness {
    match reach {
        Reach::Unreachable => Liveness::LastSeen,
        Reach::Here | Reach::Reachable if is_stale(age_ms) => Liveness::Stale,
        Reach::Here | Reach::Reachable => Liveness::Active,
    }
}

/// Whether a heartbeat of that age is stale: strictly more than 45:00.
#[must_use]
pub fn is_stale(age_ms: i64) -> bool {
    age_ms > STALE_AFTER_MS
}

/// Returns the age of a remote session: as its owner stated it, plus the time since that arrived.
#[must_use]
pub fn remote_age(stated_ms: i64, since_receipt_ms: i64) -> i64 {
    stated_ms.saturating_add(since_receipt_ms.max(0))
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
        assert_eq!(liveness(Reach::Here, -5_000_000), Liveness::Active);
        assert!(!is_stale(i64::MIN));
    }

    #[test]
    fn s_06_s_23_liveness_depends_on_reach_first_and_age_second() {
        for reach in [Reach::Here, Reach::Reachable] {
            assert_eq!(liveness(reach, 2_700_000), Liveness::Active);
            assert_eq!(liveness(reach, 2_700_001), Liveness::Stale);
        }
        assert_eq!(liveness(Reach::Unreachable, 0), Liveness::LastSeen);
        assert_eq!(liveness(Reach::Unreachable, 7_200_000), Liveness::LastSeen);
    }

    #[test]
    fn a_peer_is_reachable_for_ninety_seconds() {
        assert_eq!(Reach::of_peer(Some(90_000)), Reach::Reachable);
        assert_eq!(Reach::of_peer(Some(90_001)), Reach::Unreachable);
        assert_eq!(Reach::of_peer(None), Reach::Unreachable);
    }

    #[test]
    fn s_24_the_age_of_a_remote_session_ignores_wall_clocks() {
        assert_eq!(remote_age(60_000, 30_000), 90_000);
        assert_eq!(remote_age(60_000, -3_000_000), 60_000);
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
