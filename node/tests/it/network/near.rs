//! What machines say to everybody on the wire to be found, when they do not, and what is said of one that is not found.

use std::cell::Cell;
use std::net::IpAddr;

use ctxnode_testkit::{Daemon, Lan, Packet, Place, wait_until};
use serde_json::json;

use super::{LONG, founder, member, peers, settled};
use crate::support::{ctxnode, person, text};

/// How often one asks in vain until the other counts as silent. One that can be found answers each time.
const IN_VAIN: u64 = 12;
/// The same for one that is to say nothing to anybody. So often one asks in eight seconds at least, and a connection is kept
/// alive every five.
const IN_SILENCE: u64 = 36;

/// Nothing to everybody on the wire, and nothing to the other machine: no connection is kept alive, none is tried.
#[test]
fn a_machine_in_field_mode_says_nothing_to_its_network_between_rounds() {
    let Some(mut lan) = Lan::new(7) else { return };
    let places = [lan.place(), lan.place()];
    let first = founder(&places[0]);
    let _first = Daemon::start(&first);
    let second = member(&first, &places[1], "m2");
    let _second = Daemon::start(&second);
    settled(&first, 1);
    let count = |place: &Place, wanted: fn(&Packet) -> bool| {
        let address = IpAddr::V4(place.address());
        lan.count(|packet| packet.from == address && wanted(packet))
    };
    let to_all = |place: &Place| count(place, |packet| packet.port == 5353);
    let to_one = |place: &Place| count(place, |packet| packet.protocol == 17 && packet.port != 5353);
    let speaks = |place: &Place| to_all(place) > 0 && to_one(place) > 0;
    wait_until(LONG, "both can be found, and are connected", || places.iter().all(speaks));
    person(&second).do_("field.on", json!({ "every": "1h" }));
    // What it had said when it last said something, and how often the other had asked by then.
    let (last_to_all, last_to_one) = (Cell::new((0, 0)), Cell::new((0, 0)));
    let silence = |last: &Cell<(u64, u64)>, said: u64, asked: u64| {
        if said != last.get().0 {
            last.set((said, asked));
        }
        asked - last.get().1
    };
    wait_until(LONG, "it is silent whatever the other asks", || {
        let asked = to_all(&places[0]);
        let unfound = silence(&last_to_all, to_all(&places[1]), asked);
        let unheard = silence(&last_to_one, to_one(&places[1]), asked);
        unfound >= IN_VAIN && unheard >= IN_SILENCE
    });
    let synced = ctxnode(&second, &["fleet", "sync"]);
    assert!(synced.status.success(), "{}", String::from_utf8_lossy(&synced.stderr));
    wait_until(LONG, "it can be found in its round, and speaks", || {
        to_all(&places[1]) > last_to_all.get().0 && to_one(&places[1]) > last_to_one.get().0
    });
}

/// It joined, and its daemon never ran: nobody has said where it is, and it is not found either.
#[test]
fn a_machine_that_nobody_has_told_of_and_that_is_not_found_is_named_so() {
    let Some(mut lan) = Lan::new(8) else { return };
    let places = [lan.place(), lan.place()];
    let first = founder(&places[0]);
    let _first = Daemon::start(&first);
    let second = member(&first, &places[1], "m2");
    // While it joined it could be found for a moment.
    wait_until(LONG, "nobody knows where it is", || peers(&first)[0]["reason"] == "no_address");
    let peer = peers(&first)[0].clone();
    assert!(text(&peer, "problem").contains("not found on the local network"), "{peer}");
    assert!(text(&peer, "fix").contains("`[sync] peers`") && text(&peer, "fix").contains("tailnet"), "{peer}");
    let _second = Daemon::start(&second);
    settled(&first, 1);
}
