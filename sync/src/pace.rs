//! How eagerly this node keeps in touch: always, or in rounds with nothing in between.
//!
//! In rounds, a node looks for its peers for a short while, stays connected until both sides have the same, and says that
//! it leaves. Nothing keeps a connection alive in between, and nobody is answered. Who begins a round, and when, is the
//! daemon's business.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;
use tokio::time::{Duration, Instant};

/// For how long peers are looked for in a round. What was found by then goes on until it is equal.
const ROUND: Duration = Duration::from_secs(15);
/// No budget.
const UNLIMITED: u64 = u64::MAX;

/// How eagerly a node keeps in touch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pace {
    /// Always connected, if possible.
    #[default]
    Live,
    /// Only in rounds.
    Rounds {
        /// How many more bytes may be sent and received, all told; any number when absent.
        left: Option<u64>,
    },
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub(crate) is_live: bool,
    /// How many rounds there were.
    pub(crate) round: u64,
    round_ends: Option<Instant>,
}

/// The pace, and the bytes that were spent.
#[derive(Debug)]
pub(crate) struct Pacing {
    now: watch::Sender<Now>,
    spent: AtomicU64,
    left: AtomicU64,
}

impl Default for Pacing {
    fn default() -> Self {
        Self {
            now: watch::Sender::new(Now { is_live: true, round: 0, round_ends: None }),
            spent: AtomicU64::new(0),
            left: AtomicU64::new(UNLIMITED),
        }
    }
}

impl Pacing {
    pub(crate) fn set(&self, pace: Pace) {
        let left = match pace {
            Pace::Live | Pace::Rounds { left: None } => UNLIMITED,
            Pace::Rounds { left: Some(left) } => left.min(UNLIMITED - 1),
        };
        self.left.store(left, Ordering::SeqCst);
        let is_live = pace == Pace::Live;
        let differs = |now: &mut Now| {
            let changed = now.is_live != is_live;
            if changed {
                *now = Now { is_live, round_ends: None, ..*now };
            }
            changed
        };
        self.now.send_if_modified(differs);
    }

    /// Begins another round.
    pub(crate) fn begin_round(&self) {
        let begin =
            |now: &mut Now| *now = Now { round: now.round + 1, round_ends: Some(Instant::now() + ROUND), ..*now };
        self.now.send_modify(begin);
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Now> {
        self.now.subscribe()
    }

    pub(crate) fn is_live(&self) -> bool {
        self.now.borrow().is_live
    }

    /// Whether connections may be made now.
    pub(crate) fn may_connect(&self) -> bool {
        let now = *self.now.borrow();
        now.is_live || self.has_bytes() && now.round_ends.is_some_and(|ends| Instant::now() < ends)
    }

    /// The number of the round, the first is 1.
    pub(crate) fn round(&self) -> u64 {
        self.now.borrow().round
    }

    pub(crate) fn has_bytes(&self) -> bool {
        self.left.load(Ordering::SeqCst) > 0
    }

    pub(crate) fn is_metered(&self) -> bool {
        self.left.load(Ordering::SeqCst) != UNLIMITED
    }

    /// Notes bytes that were sent or received.
    pub(crate) fn spend(&self, bytes: u64) {
        self.spent.fetch_add(bytes, Ordering::SeqCst);
        let rest = |left: u64| (left != UNLIMITED).then(|| left.saturating_sub(bytes));
        // An error means that there is no budget.
        let _ = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, rest);
    }

    /// Takes the bytes that were spent since the last call.
    pub(crate) fn take_spent(&self) -> u64 {
        self.spent.swap(0, Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn between_rounds_nothing_connects_and_without_bytes_no_round_does() {
        let pacing = Pacing::default();
        assert!(pacing.may_connect());
        pacing.set(Pace::Rounds { left: Some(100) });
        assert!(!pacing.may_connect());
        pacing.begin_round();
        assert!(pacing.may_connect());
        pacing.spend(60);
        // The daemon says again what is left, which is no new pace and ends no round.
        pacing.set(Pace::Rounds { left: Some(40) });
        assert!(pacing.may_connect());
        pacing.spend(60);
        assert!(!pacing.may_connect() && !pacing.has_bytes());
        assert_eq!((pacing.take_spent(), pacing.take_spent()), (120, 0));
        pacing.set(Pace::Live);
        assert!(pacing.may_connect() && pacing.has_bytes());
    }
}
