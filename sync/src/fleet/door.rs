//! Who may begin a handshake: so many at a time, and of one address only some of them.
//!
//! Anybody can send packets to an open port. Until a handshake is through, nothing is known of who sent them but an
//! address, and even that may be invented.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use ctxnode_sync_proto::limits::{HANDSHAKES, HANDSHAKES_OF_ONE, HANDSHAKES_UNPROVED};
use iroh::endpoint::{Incoming, IncomingAddr};

use crate::guests::Origin;

/// Counts the handshakes that are going on.
#[derive(Debug, Default)]
pub(super) struct Door(Mutex<BTreeMap<Option<IpAddr>, usize>>);

/// What is done with somebody who knocks.
#[derive(Debug)]
pub(super) enum Knock {
    /// The handshake may begin.
    Enter(Permit),
    /// It has to show first that it gets what is sent to its address.
    Prove,
    /// There are too many.
    Wait,
}

/// A handshake that is counted until this is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    door: Arc<Door>,
    from: Option<IpAddr>,
}

impl Door {
    /// Decides about somebody who knocks.
    pub(super) fn knock(self: &Arc<Self>, incoming: &Incoming) -> Knock {
        self.decide(origin(incoming).map(|from| from.address), incoming.remote_addr_validated())
    }

    fn decide(self: &Arc<Self>, from: Option<IpAddr>, is_proved: bool) -> Knock {
        let mut going = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = going.values().sum();
        let of_one = going.get(&from).copied().unwrap_or(0);
        if all >= HANDSHAKES_UNPROVED && !is_proved {
            return Knock::Prove;
        }
        if all >= HANDSHAKES || of_one >= HANDSHAKES_OF_ONE {
            return Knock::Wait;
        }
        going.insert(from, of_one + 1);
        Knock::Enter(Permit { door: Arc::clone(self), from })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut going = self.door.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = going.get_mut(&self.from) {
            *count -= 1;
            if *count == 0 {
                going.remove(&self.from);
            }
        }
    }
}

/// Returns from where a handshake comes. What a relay passes on counts together: who is behind it, only the relay knows.
pub(super) fn origin(incoming: &Incoming) -> Option<Origin> {
    match incoming.remote_addr() {
        IncomingAddr::Ip(socket) => Some(Origin { socket, address: network(socket.ip()) }),
        _ => None,
    }
}

/// Who has one IPv6 address usually has all that share its first half.
fn network(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
            Some(ip) => IpAddr::V4(ip),
            None => IpAddr::V6((u128::from(ip) >> 64 << 64).into()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Option<IpAddr> {
        Some(network(text.parse().unwrap()))
    }

    #[test]
    fn one_address_takes_its_share_and_no_more() {
        let door = Arc::new(Door::default());
        let enter = |from| match door.decide(from, true) {
            Knock::Enter(permit) => Some(permit),
            Knock::Prove | Knock::Wait => None,
        };
        let taken: Vec<Permit> = std::iter::from_fn(|| enter(ip("2001:db8::1"))).collect();
        assert_eq!(taken.len(), HANDSHAKES_OF_ONE);
        assert!(enter(ip("2001:db8::2")).is_none(), "the same network");
        let other = enter(ip("192.0.2.1")).unwrap();
        assert!(enter(ip("::ffff:192.0.2.1")).is_some(), "the same address is not full yet");
        drop((taken, other));
        assert!(door.0.lock().unwrap().is_empty(), "nothing is kept of those who are through");
    }

    #[test]
    fn a_crowd_has_to_prove_its_addresses_and_is_bounded_even_then() {
        let door = Arc::new(Door::default());
        let address = |number: u8| ip(&format!("192.0.2.{number}"));
        let mut taken = Vec::new();
        for number in 0..=u8::MAX {
            if let Knock::Enter(permit) = door.decide(address(number), false) {
                taken.push(permit);
            }
        }
        assert_eq!(taken.len(), HANDSHAKES_UNPROVED);
        assert!(matches!(door.decide(address(1), false), Knock::Prove));
        for number in 0..=u8::MAX {
            if let Knock::Enter(permit) = door.decide(address(number), true) {
                taken.push(permit);
            }
        }
        assert_eq!(taken.len(), HANDSHAKES);
        assert!(matches!(door.decide(address(1), true), Knock::Wait));
    }
}
