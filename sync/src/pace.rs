//! How eagerly this node keeps in touch: always, or in rounds with nothing in between.
//!
//! In rounds, a node looks for its peers for a short while, stays connected until both sides have the same, and says that
//! it leaves. Nothing keeps a connection alive in between, and only those are answered who are in a round of their own.
//! Who begins a round, and when, is the daemon's business.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::watch;
use tokio::time::{Duration, Instant};

/// For how long peers are looked for in a round. What was found by then goes on until it is equal.
const ROUND: Duration = Duration::from_secs(15);
/// What one visit may use up although it is more than half of the rest: less is hardly worth the handshake.
const SMALL: u64 = 64 << 10;
/// No budget.
const UNLIMITED: u64 = u64::MAX;

/// How eagerly a node keeps in touch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pace {
    /// Always connected, if possible.
    #[default]
    Live,
    /// Only in rounds.
    Rounds(Rounds),
}

/// What rounds may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rounds {
    /// How many more bytes may be sent and received, all told; any number when absent.
    pub left: Option<u64>,
    /// How many of them may go while this node is in no round of its own; any number when absent.
    pub for_others: Option<u64>,
    /// How long it is between two own rounds. In that time each other node is answered in a few of its own, and no more.
    pub every: Duration,
}

/// The bytes that went over the endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// All of them.
    pub all: u64,
    /// Those among them that went while this node was in no round of its own: what others made it spend.
    pub by_others: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub(crate) is_live: bool,
    /// How many rounds there were.
    pub(crate) round: u64,
    round_ends: Option<Instant>,
    every: Duration,
}

impl Now {
    /// When peers are no longer looked for; never in between when absent.
    pub(crate) fn ends(&self) -> Option<Instant> {
        self.round_ends.filter(|_| !self.is_live)
    }
}

/// The pace, and the bytes that were spent.
#[derive(Debug)]
pub(crate) struct Pacing {
    now: watch::Sender<Now>,
    /// What the endpoint had counted when it was last looked at.
    counted: AtomicU64,
    spent: AtomicU64,
    by_others: AtomicU64,
    left: AtomicU64,
    left_for_others: AtomicU64,
    /// How many connections of own rounds there are.
    own: AtomicUsize,
}

impl Default for Pacing {
    fn default() -> Self {
        let now = Now { is_live: true, round: 0, round_ends: None, every: Duration::ZERO };
        Self {
            now: watch::Sender::new(now),
            counted: AtomicU64::new(0),
            spent: AtomicU64::new(0),
            by_others: AtomicU64::new(0),
            left: AtomicU64::new(UNLIMITED),
            left_for_others: AtomicU64::new(UNLIMITED),
            own: AtomicUsize::new(0),
        }
    }
}

/// A connection of an own round, as long as this is kept.
#[derive(Debug)]
pub(crate) struct Own<'a>(&'a AtomicUsize);

impl Drop for Own<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Pacing {
    pub(crate) fn set(&self, pace: Pace) {
        let (is_live, left, for_others, every) = match pace {
            Pace::Live => (true, None, None, Duration::ZERO),
            Pace::Rounds(rounds) => (false, rounds.left, rounds.for_others, rounds.every),
        };
        let stored = |left: Option<u64>| left.map_or(UNLIMITED, |left| left.min(UNLIMITED - 1));
        self.left.store(stored(left), Ordering::SeqCst);
        self.left_for_others.store(stored(for_others), Ordering::SeqCst);
        let differs = |now: &mut Now| {
            let changed = now.is_live != is_live;
            now.every = every;
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

    /// In what time each other node is answered so many times.
    pub(crate) fn every(&self) -> Duration {
        self.now.borrow().every
    }

    pub(crate) fn has_bytes(&self) -> bool {
        self.left.load(Ordering::SeqCst) > 0
    }

    /// Whether there are bytes for what others begin.
    pub(crate) fn has_bytes_for_others(&self) -> bool {
        self.has_bytes() && self.left_for_others.load(Ordering::SeqCst) > 0
    }

    /// Returns how many bytes one visit may take of those for others: half of what is left, so that nobody uses it all up
    /// before another comes.
    pub(crate) fn share_of_one(&self) -> u64 {
        match self.left_for_others.load(Ordering::SeqCst) {
            UNLIMITED => UNLIMITED,
            left => (left / 2).max(left.min(SMALL)),
        }
    }

    pub(crate) fn is_metered(&self) -> bool {
        self.left.load(Ordering::SeqCst) != UNLIMITED
    }

    /// Says that a connection of an own round begins.
    pub(crate) fn begin_own(&self) -> Own<'_> {
        self.own.fetch_add(1, Ordering::SeqCst);
        Own(&self.own)
    }

    /// Notes how many bytes the endpoint has counted since it was bound.
    pub(crate) fn count(&self, total: u64) {
        let bytes = total.saturating_sub(self.counted.fetch_max(total, Ordering::SeqCst));
        if bytes == 0 {
            return;
        }
        // Asked first: a round that these very bytes end was still an own one.
        let is_own = self.is_own_time();
        self.spent.fetch_add(bytes, Ordering::SeqCst);
        take(&self.left, bytes);
        if !is_own {
            self.take_from_others(bytes);
        }
    }

    /// Notes how many bytes a connection took that was answered between own rounds: they are of others also while an own
    /// round goes on beside it.
    pub(crate) fn count_guest(&self, bytes: u64) {
        if self.is_own_time() {
            self.take_from_others(bytes);
        }
    }

    fn is_own_time(&self) -> bool {
        self.own.load(Ordering::SeqCst) > 0 || self.may_connect()
    }

    fn take_from_others(&self, bytes: u64) {
        self.by_others.fetch_add(bytes, Ordering::SeqCst);
        take(&self.left_for_others, bytes);
    }

    /// Takes the bytes that were spent since the last call.
    pub(crate) fn take_spent(&self) -> Spent {
        Spent { all: self.spent.swap(0, Ordering::SeqCst), by_others: self.by_others.swap(0, Ordering::SeqCst) }
    }
}

fn take(from: &AtomicU64, bytes: u64) {
    let rest = |left: u64| (left != UNLIMITED).then(|| left.saturating_sub(bytes));
    // An error means that there is no budget.
    let _ = from.fetch_update(Ordering::SeqCst, Ordering::SeqCst, rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(left: u64, for_others: u64) -> Pace {
        Pace::Rounds(Rounds { left: Some(left), for_others: Some(for_others), every: Duration::from_secs(60) })
    }

    #[test]
    fn between_rounds_nothing_connects_and_without_bytes_no_round_does() {
        let pacing = Pacing::default();
        assert!(pacing.may_connect());
        pacing.set(rounds(100, 50));
        assert!(!pacing.may_connect());
        pacing.begin_round();
        assert!(pacing.may_connect());
        pacing.count(60);
        // The daemon says again what is left, which is no new pace and ends no round.
        pacing.set(rounds(40, 50));
        assert!(pacing.may_connect());
        pacing.count(120);
        assert!(!pacing.may_connect() && !pacing.has_bytes());
        assert_eq!(pacing.take_spent(), Spent { all: 120, by_others: 0 });
        assert_eq!(pacing.take_spent(), Spent::default());
        pacing.set(Pace::Live);
        assert!(pacing.may_connect() && pacing.has_bytes());
    }

    #[test]
    fn one_visit_takes_half_of_the_share_and_the_last_bytes_are_not_halved() {
        let pacing = Pacing::default();
        assert_eq!(pacing.share_of_one(), UNLIMITED);
        let shares = [1_000_000, 2 * SMALL + 2, SMALL + 10, 10, 0].map(|left| {
            pacing.set(rounds(2_000_000, left));
            pacing.share_of_one()
        });
        assert_eq!(shares, [500_000, SMALL + 1, SMALL, 10, 0]);
    }

    #[test]
    fn what_goes_between_own_rounds_is_of_others_and_counted_once() {
        let pacing = Pacing::default();
        pacing.count(1_000);
        let _ = pacing.take_spent();
        pacing.set(rounds(500, 100));
        pacing.count(1_060);
        assert!(pacing.has_bytes_for_others());
        // Two that look at the same time, the later figure first.
        pacing.count(1_120);
        pacing.count(1_110);
        assert!(pacing.has_bytes() && !pacing.has_bytes_for_others());
        assert_eq!(pacing.take_spent(), Spent { all: 120, by_others: 120 });
        let own = pacing.begin_own();
        pacing.count(1_220);
        assert_eq!(pacing.take_spent(), Spent { all: 100, by_others: 0 });
        pacing.count(1_280);
        pacing.count_guest(40);
        assert_eq!(pacing.take_spent(), Spent { all: 60, by_others: 40 }, "a guest beside an own connection");
        drop(own);
        pacing.count_guest(10);
        pacing.count(1_290);
        assert_eq!(pacing.take_spent(), Spent { all: 10, by_others: 10 }, "once");
    }
}
