//! What others may ask of a node between its own rounds: so many rounds each, so many refusals of one address. Pure.
//!
//! Who wants to come in is known after the handshake, which costs some ten kilobytes. So a member that asks too often
//! is refused after it, and after some refusals its packets are not answered at all.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ctxnode_model::NodeKey;
use tokio::time::{Duration, Instant};

/// How many rounds of one peer are answered in the time between two own rounds. Two machines with one interval come once
/// each; the others are for a line that broke, for somebody who asked by hand, and for clocks that drift.
pub(crate) const VISITS: u32 = 3;
/// How many handshakes that led to nothing an address may make in [`HOUR`]. A member that is told to wait comes again
/// after half an hour, or when somebody asks it to.
pub(crate) const REFUSALS: u32 = 6;
const HOUR: Duration = Duration::from_secs(3_600);
/// How many peers, and how many addresses, are remembered. A fleet has fewer; who floods from more addresses is bounded
/// by the handshakes at a time.
const REMEMBERED: usize = 256;

/// How often somebody came since when.
#[derive(Clone, Copy, Debug)]
struct Times {
    since: Instant,
    count: u32,
}

/// Who came, and who was refused.
#[derive(Debug, Default)]
pub(crate) struct Guests {
    visits: BTreeMap<NodeKey, Times>,
    refusals: BTreeMap<IpAddr, Times>,
}

impl Guests {
    /// Whether one more round of a peer is answered now; it counts when it is.
    pub(crate) fn may_visit(&mut self, now: Instant, peer: NodeKey, every: Duration) -> bool {
        let visits = times(&mut self.visits, now, peer, every);
        let is_welcome = visits.count < VISITS;
        visits.count += u32::from(is_welcome);
        is_welcome
    }

    /// Gives a visit back that came to nothing: the line broke before a word was said.
    pub(crate) fn did_not_come(&mut self, peer: NodeKey) {
        if let Some(visits) = self.visits.get_mut(&peer) {
            visits.count = visits.count.saturating_sub(1);
        }
    }

    /// Notes that a handshake led to nothing.
    pub(crate) fn refused(&mut self, now: Instant, from: IpAddr) {
        let refusals = times(&mut self.refusals, now, from, HOUR);
        refusals.count = refusals.count.saturating_add(1);
    }

    /// Whether an address was refused too often to be answered.
    pub(crate) fn is_ignored(&self, now: Instant, from: IpAddr) -> bool {
        self.refusals
            .get(&from)
            .is_some_and(|refusals| refusals.count >= REFUSALS && now.duration_since(refusals.since) < HOUR)
    }
}

/// Returns the entry of `key` in the present window; makes room by leaving out the oldest.
fn times<K: Ord + Copy>(all: &mut BTreeMap<K, Times>, now: Instant, key: K, window: Duration) -> &mut Times {
    if !all.contains_key(&key) && all.len() >= REMEMBERED {
        let oldest = all.iter().min_by_key(|(_, times)| times.since).map(|(key, _)| *key);
        oldest.and_then(|key| all.remove(&key));
    }
    let times = all.entry(key).or_insert(Times { since: now, count: 0 });
    if now.duration_since(times.since) >= window {
        *times = Times { since: now, count: 0 };
    }
    times
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EVERY: Duration = Duration::from_secs(900);

    #[test]
    fn a_peer_is_answered_so_many_times_and_again_after_the_interval() {
        let (mut guests, start) = (Guests::default(), Instant::now());
        let (one, other) = (NodeKey([1; 32]), NodeKey([2; 32]));
        let welcome = (0..10).filter(|_| guests.may_visit(start, one, EVERY)).count();
        assert_eq!(welcome, VISITS as usize);
        assert!(guests.may_visit(start, other, EVERY), "one takes nothing from another");
        assert!(!guests.may_visit(start + EVERY - Duration::from_millis(1), one, EVERY));
        assert!(guests.may_visit(start + EVERY, one, EVERY));
        guests.did_not_come(one);
        let welcome = (0..10).filter(|_| guests.may_visit(start + EVERY, one, EVERY)).count();
        assert_eq!(welcome, VISITS as usize);
    }

    #[test]
    fn an_address_that_is_refused_too_often_is_ignored_for_an_hour() {
        let (mut guests, start) = (Guests::default(), Instant::now());
        let address = |last: u8| IpAddr::from([192, 0, 2, last]);
        for _ in 0..REFUSALS {
            assert!(!guests.is_ignored(start, address(1)));
            guests.refused(start, address(1));
        }
        assert!(guests.is_ignored(start, address(1)) && !guests.is_ignored(start, address(2)));
        assert!(!guests.is_ignored(start + HOUR, address(1)));
    }

    proptest! {
        /// Whoever asks, and whenever: in any interval nobody is answered more often than twice what one window allows,
        /// and what is remembered is bounded.
        #[test]
        fn nobody_is_answered_more_often_than_the_rule_says(
            asked in prop::collection::vec((0..400_u16, 0..300_u64), 0..1_000),
        ) {
            let (mut guests, mut now) = (Guests::default(), Instant::now());
            let mut answered: BTreeMap<NodeKey, Vec<Instant>> = BTreeMap::new();
            for (number, (who, pause)) in asked.into_iter().enumerate() {
                now += Duration::from_secs(pause);
                // Mostly one, sometimes one of very many.
                let who = if who < 300 { 0 } else { who };
                let mut key = [0; 32];
                key[..2].copy_from_slice(&who.to_be_bytes());
                let [high, low] = u16::try_from(number).unwrap().to_be_bytes();
                guests.refused(now, IpAddr::from([10, 0, high, low]));
                if guests.may_visit(now, NodeKey(key), EVERY) {
                    answered.entry(NodeKey(key)).or_default().push(now);
                }
            }
            for times in answered.values() {
                let beyond = times.windows(2 * VISITS as usize + 1).find(|run| {
                    run[2 * VISITS as usize].duration_since(run[0]) < EVERY
                });
                prop_assert!(beyond.is_none());
            }
            prop_assert!(guests.visits.len() <= REMEMBERED && guests.refusals.len() <= REMEMBERED);
        }
    }
}
