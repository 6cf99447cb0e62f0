//! What others may ask of a node between its own rounds: so many rounds each, and so many refusals. Pure.
//!
//! Who wants to come in is known after the handshake, which costs some ten kilobytes. So a member that asks too often is
//! refused after it, and after some refusals the socket it comes from is not answered at all. Nobody is kept out for what
//! others behind the same address did: a member's refusals are its own, from wherever it comes; a stranger's are those of
//! its socket. An address is shut for all of its sockets only after far more refusals than one peer may cause. Whatever is
//! shut is open for one handshake now and then, for somebody else may stand there by then.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use ctxnode_model::NodeKey;
use tokio::time::{Duration, Instant};

/// How many rounds of one peer are answered in the time between two own rounds. Two machines with one interval come once
/// each; the others are for a line that broke, for somebody who asked by hand, and for clocks that drift.
pub(crate) const VISITS: u32 = 3;
/// How often one member, or one socket of strangers, may be refused in [`HOUR`]. A member that is told to wait comes again
/// after half an hour, or when somebody asks it to.
pub(crate) const REFUSALS: u32 = 6;
/// The same for all who come from one address, which may be a whole household.
pub(crate) const REFUSALS_OF_ADDRESS: u32 = 6 * REFUSALS;
const HOUR: Duration = Duration::from_secs(3_600);
/// After what time one more handshake is let through where it is shut.
const PASS: Duration = Duration::from_secs(600);
/// How many peers, sockets and addresses are remembered, of each. A fleet has fewer; who floods from more addresses is
/// bounded by the handshakes at a time.
const REMEMBERED: usize = 256;

/// How often something happened since when.
#[derive(Clone, Copy, Debug)]
struct Times {
    since: Instant,
    count: u32,
    /// When somebody was last let in.
    last: Instant,
}

impl Times {
    fn is_shut(&self, now: Instant, limit: u32) -> bool {
        self.count >= limit && now.duration_since(self.since) < HOUR && now.duration_since(self.last) < PASS
    }
}

/// From where somebody comes: its socket, and the address that counts as one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    pub(crate) socket: SocketAddr,
    pub(crate) address: IpAddr,
}

/// What is done about somebody who knocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The handshake may begin.
    Enter,
    /// It has to show first that it gets what is sent to its address: whatever is counted there must be its own doing.
    Prove,
    /// Nothing is said.
    Ignore,
}

/// Who came, and who was refused.
#[derive(Clone, Debug, Default)]
pub(crate) struct Guests {
    visits: BTreeMap<NodeKey, Times>,
    members: BTreeMap<NodeKey, Times>,
    sockets: BTreeMap<SocketAddr, Times>,
    addresses: BTreeMap<IpAddr, Times>,
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

    /// Notes that a handshake that went through led to nothing; `member` says whose it was, unless it is a stranger's.
    pub(crate) fn refused(&mut self, now: Instant, member: Option<NodeKey>, from: Origin) {
        add(times(&mut self.addresses, now, from.address, HOUR), 1);
        let Some(member) = member else { return add(times(&mut self.sockets, now, from.socket, HOUR), 1) };
        let refusals = times(&mut self.members, now, member, HOUR);
        add(refusals, 1);
        if refusals.count >= REFUSALS {
            add(times(&mut self.sockets, now, from.socket, HOUR), REFUSALS);
        }
    }

    /// Decides about somebody who knocks. Only who has proved where it is uses up what is let through.
    pub(crate) fn knock(&mut self, now: Instant, from: Origin, is_proved: bool) -> Answer {
        let (socket, address) = (self.sockets.get_mut(&from.socket), self.addresses.get_mut(&from.address));
        let is_shut = socket.as_ref().is_some_and(|times| times.is_shut(now, REFUSALS))
            || address.as_ref().is_some_and(|times| times.is_shut(now, REFUSALS_OF_ADDRESS));
        if is_shut {
            return Answer::Ignore;
        }
        if !is_proved {
            return Answer::Prove;
        }
        for times in socket.into_iter().chain(address) {
            times.last = now;
        }
        Answer::Enter
    }
}

fn add(times: &mut Times, count: u32) {
    times.count = times.count.saturating_add(count);
}

/// Returns the entry of `key` in the present window; makes room by leaving out the oldest.
fn times<K: Ord + Copy>(all: &mut BTreeMap<K, Times>, now: Instant, key: K, window: Duration) -> &mut Times {
    if !all.contains_key(&key) && all.len() >= REMEMBERED {
        let oldest = all.iter().min_by_key(|(_, times)| times.since).map(|(key, _)| *key);
        oldest.and_then(|key| all.remove(&key));
    }
    let fresh = Times { since: now, count: 0, last: now };
    let times = all.entry(key).or_insert(fresh);
    if now.duration_since(times.since) >= window {
        *times = fresh;
    }
    times
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EVERY: Duration = Duration::from_secs(900);

    fn from(last: u8, port: u16) -> Origin {
        let address = IpAddr::from([192, 0, 2, last]);
        Origin { socket: SocketAddr::new(address, port), address }
    }

    fn is_let_in(guests: &mut Guests, now: Instant, from: Origin) -> bool {
        guests.knock(now, from, true) == Answer::Enter
    }

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
    fn a_stranger_that_is_refused_too_often_is_ignored_but_for_one_handshake_now_and_then() {
        let (mut guests, start) = (Guests::default(), Instant::now());
        for _ in 0..REFUSALS {
            assert!(is_let_in(&mut guests, start, from(1, 1)));
            guests.refused(start, None, from(1, 1));
        }
        assert!(!is_let_in(&mut guests, start, from(1, 1)));
        assert!(is_let_in(&mut guests, start, from(1, 2)) && is_let_in(&mut guests, start, from(2, 1)));
        assert!(is_let_in(&mut guests, start + PASS, from(1, 1)));
        assert!(!is_let_in(&mut guests, start + PASS, from(1, 1)), "one");
        assert!(is_let_in(&mut guests, start + HOUR, from(1, 1)) && is_let_in(&mut guests, start + HOUR, from(1, 1)));
    }

    #[test]
    fn a_member_is_counted_wherever_it_comes_from_and_another_one_behind_its_address_is_not_kept_out() {
        let (mut guests, start) = (Guests::default(), Instant::now());
        let (greedy, other) = (NodeKey([1; 32]), NodeKey([2; 32]));
        for port in 1..=6 {
            assert!(is_let_in(&mut guests, start, from(1, port)));
            guests.refused(start, Some(greedy), from(1, port));
        }
        assert!(!is_let_in(&mut guests, start, from(1, 6)), "its socket");
        assert!(is_let_in(&mut guests, start, from(2, 9)));
        guests.refused(start, Some(greedy), from(2, 9));
        assert!(!is_let_in(&mut guests, start, from(2, 9)), "it is known there too after one handshake");
        for _ in 0..REFUSALS - 1 {
            assert!(is_let_in(&mut guests, start, from(1, 100)));
            guests.refused(start, Some(other), from(1, 100));
        }
        assert!(is_let_in(&mut guests, start, from(1, 100)));
    }

    #[test]
    fn sockets_without_end_shut_their_address_but_for_one_handshake_now_and_then() {
        let (mut guests, start) = (Guests::default(), Instant::now());
        let entered = |guests: &mut Guests, now| {
            let tries = (1..1_000).filter(|port| {
                let entered = is_let_in(guests, now, from(1, *port));
                if entered {
                    guests.refused(now, None, from(1, *port));
                }
                entered
            });
            tries.count()
        };
        assert_eq!(entered(&mut guests, start), REFUSALS_OF_ADDRESS as usize);
        assert_eq!(entered(&mut guests, start + PASS), 1);
    }

    /// Addresses can be invented: nothing that is not proved counts, nor uses up what is let through.
    #[test]
    fn who_has_not_proved_its_address_changes_nothing() {
        let (mut guests, start) = (Guests::default(), Instant::now());
        for _ in 0..1_000 {
            assert_eq!(guests.knock(start, from(1, 1), false), Answer::Prove);
        }
        assert!(is_let_in(&mut guests, start, from(1, 1)));
        (0..REFUSALS).for_each(|_| guests.refused(start, None, from(1, 1)));
        assert_eq!(guests.knock(start, from(1, 1), false), Answer::Ignore, "not even this is said");
        for _ in 0..1_000 {
            assert_eq!(guests.knock(start + PASS, from(1, 1), false), Answer::Prove);
        }
        assert!(is_let_in(&mut guests, start + PASS, from(1, 1)));
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
                let address = IpAddr::from([10, 0, high, low]);
                let member = (who % 2 == 0).then_some(NodeKey(key));
                guests.refused(now, member, Origin { socket: SocketAddr::new(address, who), address });
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
            let sizes = [guests.visits.len(), guests.members.len(), guests.sockets.len(), guests.addresses.len()];
            prop_assert!(sizes.iter().all(|size| *size <= REMEMBERED), "{sizes:?}");
        }

        /// However one peer behind an address goes on, from one socket or from many, as a member or as a stranger: it is
        /// let in so often an hour. Another member there that comes as seldom as it is told is not shut out at all by a
        /// neighbour that keeps to its socket, and else for [`PASS`] after somebody was let in.
        #[test]
        fn two_behind_one_address_do_not_lock_each_other_out(
            knocks in prop::collection::vec((0..40_u16, any::<bool>(), 0..120_u64), 0..1_000),
            keeps_its_socket: bool,
        ) {
            let (mut guests, start) = (Guests::default(), Instant::now());
            let (greedy, other) = (NodeKey([1; 32]), NodeKey([2; 32]));
            let (mut now, mut due) = (start, start);
            let mut entered = Vec::new();
            for (port, as_member, pause) in knocks {
                now += Duration::from_secs(pause);
                if now >= due {
                    let is_in = is_let_in(&mut guests, now, from(1, 999));
                    if keeps_its_socket {
                        prop_assert!(is_in);
                    }
                    if is_in {
                        guests.refused(now, Some(other), from(1, 999));
                        due = now + HOUR / 2;
                    } else {
                        let last = guests.addresses.values().map(|times| times.last).max().unwrap();
                        prop_assert!(is_let_in(&mut guests.clone(), last + PASS, from(1, 999)));
                        due = last + PASS;
                    }
                }
                let at = from(1, if keeps_its_socket { 7 } else { port });
                if is_let_in(&mut guests, now, at) {
                    guests.refused(now, as_member.then_some(greedy), at);
                    entered.push(now);
                }
            }
            // Two windows touch an hour, each with what one allows and what is let through.
            let most = 2 * (REFUSALS_OF_ADDRESS as usize + 6);
            prop_assert!(entered.windows(most + 1).all(|run| run[most].duration_since(run[0]) >= HOUR));
        }
    }
}
