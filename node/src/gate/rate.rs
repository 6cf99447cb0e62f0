//! The rate limit: a fixed window per actor and clock minute.
//!
//! A fixed window, not a leaky bucket: the answer tells agents how many calls are left and when the next minute begins,
//! and 100 parallel calls at the start of a minute are fine. Counts live in memory; a restart forgives a minute.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use ctxnode_model::Timestamp;
use ctxnode_model::rules::limits::MINUTE_MS;

/// Calls per actor and minute, where the token says nothing else.
pub(crate) const CALLS_PER_MINUTE: u32 = 100;

/// Hook events per agent and minute: ten a second, more than an agent runs tools.
pub(crate) const HOOKS_PER_MINUTE: u32 = 600;

/// Where an actor stands in its minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Allowance {
    pub(crate) limit: u32,
    pub(crate) remaining: u32,
    /// When the next minute begins.
    pub(crate) reset: Timestamp,
    pub(crate) seconds_left: u64,
    pub(crate) refused: bool,
}

/// The counts of the present minute.
#[derive(Debug, Default)]
pub(crate) struct Limiter(Mutex<Window>);

#[derive(Debug, Default)]
struct Window {
    minute: i64,
    counts: HashMap<String, u32>,
}

impl Limiter {
    /// Counts one call.
    pub(crate) fn take(&self, actor: &str, limit: Option<u32>, now: Timestamp) -> Allowance {
        let limit = limit.unwrap_or(CALLS_PER_MINUTE);
        let minute = now.0.div_euclid(MINUTE_MS);
        let reset = Timestamp((minute + 1) * MINUTE_MS);
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if window.minute != minute {
            // Forgetting everything keeps the map as small as the number of actors of one minute.
            window.minute = minute;
            window.counts.clear();
        }
        let count = window.counts.entry(actor.to_owned()).or_default();
        let refused = *count >= limit;
        if !refused {
            *count += 1;
        }
        let seconds_left = u64::try_from(reset.since(now).div_euclid(1_000)).unwrap_or(0).max(1);
        Allowance { limit, remaining: limit - *count, reset, seconds_left, refused }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 100 pass with 99 to 0 remaining, the 101st is refused, the next minute starts anew, actors do not share.
    #[test]
    fn a_14_the_hundred_and_first_call_of_a_minute_is_refused() {
        let limiter = Limiter::default();
        let now = Timestamp(1_795_435_230_000);
        for call in 0..100 {
            let allowance = limiter.take("a", None, now);
            assert_eq!((allowance.remaining, allowance.refused), (99 - call, false));
        }
        let refused = limiter.take("a", None, now);
        assert!(refused.refused);
        assert_eq!((refused.remaining, refused.seconds_left, refused.reset), (0, 30, Timestamp(1_795_435_260_000)));
        assert!(!limiter.take("b", None, now).refused);
        assert!(!limiter.take("a", None, now.plus(30_000)).refused);
    }

    /// an hour of many actors leaves the counts of one minute. There is no storage that could fail.
    #[test]
    fn a_16_the_counters_do_not_grow() {
        let limiter = Limiter::default();
        for second in 0..3_600 {
            limiter.take(&format!("actor {second}"), None, Timestamp(second * 1_000));
        }
        assert!(limiter.0.lock().expect("no panic").counts.len() <= 60);
    }

    /// of 150 parallel calls exactly 100 pass.
    #[test]
    fn a_15_parallel_calls_are_counted_exactly() {
        let limiter = std::sync::Arc::new(Limiter::default());
        let calls: Vec<_> = (0..150)
            .map(|_| {
                let limiter = std::sync::Arc::clone(&limiter);
                std::thread::spawn(move || limiter.take("a", None, Timestamp(0)).refused)
            })
            .collect();
        let passed =
            calls.into_iter().filter(|_| true).map(|call| call.join().expect("no panic")).filter(|refused| !refused);
        assert_eq!(passed.count(), 100);
    }
}
