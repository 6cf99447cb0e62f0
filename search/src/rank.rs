//! Ranking: how much age and being superseded count beside the match itself.

/// The weight of a match in the title against one in the body.
pub(crate) const TITLE_BOOST: f32 = 3.0;
/// How much a document that changed just now gains over one that is very old.
const RECENCY_GAIN: f32 = 0.25;
/// After this many days half of that gain is gone.
const RECENCY_HALF_DAYS: f32 = 30.0;
/// What remains of the score of a superseded handoff: it is history, and the newer one should come first.
const SUPERSEDED: f32 = 0.6;

/// Returns the score of a document from its match, its age and whether it is superseded.
pub(crate) fn score(matched: f32, now_ms: i64, time_ms: i64, superseded: bool) -> f32 {
    let days = now_ms.saturating_sub(time_ms).max(0) as f32 / 86_400_000.0;
    let recency = 1.0 + RECENCY_GAIN * RECENCY_HALF_DAYS / (RECENCY_HALF_DAYS + days);
    matched * recency * if superseded { SUPERSEDED } else { 1.0 }
}

#[cfg(test)]
mod unit {
    use proptest::prelude::*;

    use super::score;

    proptest! {
        #[test]
        fn newer_is_never_below_older(matched in 0.01_f32..50.0, now in 0_i64..2_000_000_000_000, a in 0_i64..2_000_000_000_000, b in 0_i64..2_000_000_000_000) {
            let (older, newer) = (a.min(b), a.max(b));
            prop_assert!(score(matched, now, newer, false) >= score(matched, now, older, false));
            prop_assert!(score(matched, now, a, true) < score(matched, now, a, false));
        }
    }
}
