//! What machines say to everybody on the wire to be found, when they do not, and what is said of one that is not found.

use std::cell::Cell;
use std::net::IpAddr;

use ctxnode_testkit::{Daemon, Lan, Place, wait_until};
use serde_json::json;

use super::{LONG, founder, member, peers, settled};
use crate::support::{ctxnode, person, text};

/// How often one asks in vain until the other counts as silent. One that can be found answers each time.
const IN_VAIN: u64 = 12;

#[test]
fn a_machine_in_field_mode_says_nothing_to_its_network_between_rounds() {
    let Some(mut lan) = Lan::new(7) else { return };
    let places = [lan.place(), lan.place()];
    let first = founder(&places[0]);
    let _first = Daemon::start(&first);
    let second = member(&first, &places[1], "m2");
    let _second = Daemon::start(&second);
    settled(&first, 1);
    let said = |place: &Place| {
        let address = IpAddr::V4(place.address());
        lan.count(|packet| packet.from == address && packet.port == 5353)
    };
    wait_until(LONG, "both can be found", || places.iter().all(|place| said(place) > 0));
    person(&second).do_("field.on", json!({ "every": "1h" }));
    let (last, since) = (Cell::new(0), Cell::new(0));
    wait_until(LONG, "it is silent whatever the other asks", || {
        let (asked, answered) = (said(&places[0]), said(&places[1]));
        if answered != last.replace(answered) {
            since.set(asked);
        }
        asked >= since.get() + IN_VAIN
    });
    let synced = ctxnode(&second, &["fleet", "sync"]);
    assert!(synced.status.success(), "{}", String::from_utf8_lossy(&synced.stderr));
    wait_until(LONG, "it can be found in its round", || said(&places[1]) > last.get());
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
