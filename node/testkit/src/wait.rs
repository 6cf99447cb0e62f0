//! Waiting for a condition with a deadline.
//!
//! Not here: sleeping for a time that is hoped to be long enough.

use std::thread;
use std::time::{Duration, Instant};

/// How long the waiter parks between two looks: short beside what a person notices, long beside what a look costs.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Waits until `condition` holds.
///
/// # Panics
/// When `deadline` passes first, naming `what` was awaited.
#[track_caller]
pub fn wait_until(deadline: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + deadline;
    loop {
        if condition() {
            return;
        }
        assert!(Instant::now() < end, "waited {deadline:?} in vain until {what}");
        thread::park_timeout(LOOK_EVERY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn returns_as_soon_as_the_condition_holds() {
        let mut looks = 0;
        wait_until(Duration::from_secs(60), "three looks are taken", || {
            looks += 1;
            looks == 3
        });
        assert_eq!(looks, 3);
    }

    #[test]
    #[should_panic(expected = "until pigs fly")]
    fn names_what_was_awaited_when_the_deadline_passes() {
        wait_until(Duration::from_millis(1), "pigs fly", || false);
    }
}
