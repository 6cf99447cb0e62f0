//! A moment on both clocks. The steady one stands still while a machine sleeps; the wall clock may be set. What was heard
//! before the lid was closed is not of now, so the longer of the two times counts.

use ctxnode_model::Timestamp;
use ctxnode_store::Clock;
use tokio::time::{Duration, Instant};

/// A moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    steady: Instant,
    /// What the wall clock said.
    pub(crate) wall: Timestamp,
}

impl Moment {
    pub(crate) fn now(clock: &dyn Clock) -> Self {
        Self { steady: Instant::now(), wall: clock.now() }
    }

    /// How long ago an earlier moment was, at least.
    pub(crate) fn since(&self, earlier: Self) -> Duration {
        let wall = Duration::from_millis(u64::try_from(self.wall.since(earlier.wall)).unwrap_or(0));
        self.steady.saturating_duration_since(earlier.steady).max(wall)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleep_counts_and_a_clock_that_is_set_back_does_not() {
        let steady = Instant::now();
        let at = |seconds: u64, wall: i64| Moment {
            steady: steady + Duration::from_secs(seconds),
            wall: Timestamp(wall * 1_000),
        };
        let seconds = |later: Moment| later.since(at(0, 100)).as_secs();
        assert_eq!([at(7, 107), at(1, 3_700), at(7, 20)].map(seconds), [7, 3_600, 7]);
    }
}
