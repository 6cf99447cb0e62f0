//! Who can reach whom: parted fleets, hubs, machines that only others can reach, machines that moved, and nobody else.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use ctxnode_testkit::{Daemon, Lan, Packet, Place, RESOLVER, Sandbox, Wire, wait_until};
use serde_json::{Value, json};

use super::{BACK, LONG, arrives, configure, founder, join, member, peers, script, settled, write};
use crate::support::{ctxnode, printed, text};

const CUT: Wire = Wire { cut: true, loss: 0, delay: Duration::ZERO, largest: 1_500, rate: None };
/// How many packets one sends to everybody until another that can be found has sent some as well: it answers each time.
const ASKED: u64 = 8;

/// Waits until machines have all of some notes; returns how long that took since the path was back.
#[track_caller]
fn equal(back: Instant, notes: &[&str], at: &[&Sandbox]) -> Duration {
    for note in notes {
        arrives(note, at);
    }
    back.elapsed()
}

/// Five machines; one is cut off on the way, where it cannot notice, one pulls its plug, and one comes back at another address,
/// which nobody has told the others.
#[test]
fn parted_machines_are_equal_within_three_seconds_of_the_path_being_back() {
    let Some(mut lan) = Lan::new(1) else { return };
    let mut places: Vec<Place> = (0..5).map(|_| lan.place()).collect();
    let first = founder(&places[0]);
    let _first = Daemon::start(&first);
    let others: Vec<Sandbox> =
        places[1..].iter().zip(["m2", "m3", "m4", "m5"]).map(|(place, name)| member(&first, place, name)).collect();
    let _others: Vec<Daemon<'_>> = others.iter().map(Daemon::start).collect();
    let all: Vec<&Sandbox> = std::iter::once(&first).chain(&others).collect();
    all.iter().for_each(|sandbox| settled(sandbox, 4));

    // Too short for any connection to be given up.
    for place in &places[2..] {
        lan.wire(&places[0], place, CUT);
        lan.wire(&places[1], place, CUT);
    }
    let (here, there) = (write(&first, "in one half"), write(&others[3], "in the other"));
    arrives(&here, &all[..2]);
    arrives(&there, &all[2..]);
    assert!(!super::has(all[2], &here) && !super::has(all[0], &there));
    let back = Instant::now();
    places.iter().for_each(|place| lan.wires(place, Wire::default()));
    let short = equal(back, &[&here, &there], &all);

    // Long enough for all of them.
    places[2].down();
    lan.wires(&places[3], CUT);
    places[4].down();
    let lost = |sandbox: &Sandbox| peers(sandbox).iter().filter(|peer| peer["state"] == "unreachable").count();
    wait_until(LONG, "all three are given up", || lost(&first) == 3 && all[2..].iter().all(|away| lost(away) == 4));
    let home = write(&first, "while they were away");
    let (moved, cut) = (write(all[2], "from the one that moves"), write(all[3], "from the one cut off"));
    let unplugged = write(all[4], "from the one without a plug");
    let back = Instant::now();
    lan.wires(&places[3], Wire::default());
    let unnoticed = equal(back, &[&home, &cut], &[all[0], all[1], all[3]]);
    let back = Instant::now();
    places[4].up();
    let noticed = equal(back, &[&home, &unplugged], &[all[0], all[1], all[3], all[4]]);
    let back = Instant::now();
    places[2].move_to(103);
    let elsewhere = equal(back, &[&home, &moved, &cut, &unplugged], &all);
    println!("equal after a short cut {short:?}, a long one {unnoticed:?}, a plug {noticed:?}, a move {elsewhere:?}");
    assert!(short < BACK && unnoticed < BACK && noticed < BACK && elsewhere < BACK);
    wait_until(LONG, "the others know where it is now", || {
        peers(&first).iter().any(|peer| peer["addresses"].to_string().contains("\"10.99.0.103:"))
    });
}

/// Spokes that reach only the hub: the hub passes on what they write, who is alive, and what was written while it was off.
#[test]
fn what_machines_cannot_say_to_each_other_goes_through_a_third() {
    let Some(mut lan) = Lan::new(2) else { return };
    let places: Vec<Place> = (0..4).map(|_| lan.place()).collect();
    for (index, spoke) in places[1..].iter().enumerate() {
        places[index + 2..].iter().for_each(|other| lan.wire(spoke, other, CUT));
    }
    let hub = founder(&places[0]);
    let mut hub_daemon = Daemon::start(&hub);
    let spokes: Vec<Sandbox> =
        places[1..].iter().zip(["m2", "m3", "m4"]).map(|(place, name)| member(&hub, place, name)).collect();
    let _spokes: Vec<Daemon<'_>> = spokes.iter().map(Daemon::start).collect();
    settled(&hub, 3);
    let all: Vec<&Sandbox> = spokes.iter().collect();
    let took = arrives(&write(&spokes[0], "from one spoke"), &all);
    wait_until(LONG, "a spoke knows that the others are there", || {
        peers(&spokes[0]).iter().filter(|peer| peer["state"] == "via_others").count() == 2
    });
    hub_daemon.kill();
    let note = write(&spokes[2], "while the hub was off");
    hub_daemon.restart();
    let after = arrives(&note, &all);
    println!("through the hub {took:?}, after it was killed {after:?}");
    assert!(took < BACK && after < BACK * 2);
}

/// A firewall that lets nothing out to one of the others, which goes on trying: all goes through the third, both ways, and
/// directly again once it is away.
#[test]
fn what_a_one_way_firewall_stops_goes_through_a_third() {
    let Some(mut lan) = Lan::new(5) else { return };
    let places = [lan.place(), lan.place(), lan.place()];
    let (walled, other) = (&places[1], &places[2]);
    walled.wall(other);
    let hub = founder(&places[0]);
    let _hub = Daemon::start(&hub);
    let (second, third) = (member(&hub, walled, "m2"), member(&hub, other, "m3"));
    let _second = Daemon::start(&second);
    let _third = Daemon::start(&third);
    settled(&hub, 2);
    let out = arrives(&write(&second, "from behind the firewall"), &[&hub, &third]);
    let back = arrives(&write(&third, "from before it"), &[&hub, &second]);
    let of = |sandbox: &Sandbox, name: &str| {
        peers(sandbox).into_iter().find(|peer| peer["name"] == name).unwrap_or_default()
    };
    wait_until(LONG, "each knows the other through the third", || {
        of(&second, "m3")["state"] == "via_others" && of(&third, "m2")["state"] == "via_others"
    });
    let (from, to) = (IpAddr::V4(other.address()), IpAddr::V4(walled.address()));
    let between = |one: IpAddr, two: IpAddr| {
        lan.seen().into_iter().filter(|packet| packet.from == one && packet.to == two && packet.protocol == 17).count()
    };
    wait_until(LONG, "the one outside has tried", || between(from, to) > 0);
    assert_eq!(between(to, from), 0, "{:?}", lan.seen());
    println!("out through the third {out:?}, back {back:?}");
    assert!(out < BACK && back < BACK);
    walled.unwall(other);
    settled(&second, 2);
    settled(&third, 2);
}

/// Both machines have other addresses than any that was ever told, and one has no network at first.
#[test]
fn machines_find_each_other_on_the_local_network_without_an_address() {
    let Some(mut lan) = Lan::new(3) else { return };
    let mut places = [lan.place(), lan.place()];
    let first = founder(&places[0]);
    let mut first_daemon = Daemon::start(&first);
    let second = member(&first, &places[1], "m2");
    let mut second_daemon = Daemon::start(&second);
    settled(&first, 1);
    first_daemon.stop();
    second_daemon.stop();
    places[0].move_to(101);
    first_daemon.restart();
    let note = write(&first, "at another place");
    // It comes up before its network does, as a service of a laptop may.
    places[1].leave();
    second_daemon.restart();
    let alone = script(&second).do_("node", json!({}));
    assert_ne!(alone["peers"][0]["state"], "connected", "{alone}");
    places[1].move_to(102);
    let took = arrives(&note, &[&second]);
    let address = peers(&second)[0]["address"].as_str().unwrap_or_default().to_owned();
    println!("found in {took:?} at {address}");
    assert!(address.starts_with("10.99.0.101:") || address.starts_with("[fe80"), "{address}");
}

/// F-01: from the join on, its address in a tailnet is the first in a machine's record, on all nodes, and there machines meet
/// that have no other network in common. One that is not to look around says nothing to everybody on its wire.
#[test]
fn f_01_a_tailnet_joins_two_networks_and_without_mdns_a_machine_says_nothing_to_its_own() {
    let Some(mut lan) = Lan::new(9) else { return };
    let places = [lan.place(), lan.place()];
    let tailnet = places.each_ref().map(Place::enter_tailnet);
    places[0].wall(&places[1]);
    places[1].wall(&places[0]);
    let first = founder(&places[0]);
    let _first = Daemon::start(&first);
    let second = Sandbox::at(&places[1]);
    configure(&second, "[sync]\nmdns = false\n");
    join(&first, &second, "m2");
    let _second = Daemon::start(&second);
    settled(&first, 1);
    settled(&second, 1);

    let key = text(&script(&second).do_("node", json!({})), "node").to_owned();
    let record = || {
        let list = script(&first).do_("machine.list", json!({}));
        list["items"].as_array().unwrap().iter().find(|machine| machine["node_key"] == key.as_str()).cloned()
    };
    wait_until(LONG, "it is registered", || record().is_some());
    let record = record().unwrap();
    assert_eq!(record["addresses"][0], tailnet[1].to_string(), "{record}");
    assert_eq!(record["addresses"][1], places[1].address().to_string(), "{record}");
    for (sandbox, other) in [(&first, tailnet[1]), (&second, tailnet[0])] {
        let mut peer = Value::Null;
        wait_until(LONG, "it is known how they are connected", || {
            peer = peers(sandbox)[0].clone();
            peer["path"].is_string()
        });
        assert_eq!(peer["path"], "tailnet", "{peer}");
        assert_eq!(peer["address"], format!("{other}:4748"), "{peer}");
    }
    for command in ["peers", "status"] {
        let shown = printed(&ctxnode(&first, &[command]));
        assert!(shown.lines().any(|line| line.contains("connected") && line.contains("tailnet")), "{shown}");
    }

    // They have no other addresses: the walls took those of IPv6.
    let said_to_all = |at: usize| {
        let own = [tailnet[at], places[at].address()].map(IpAddr::V4);
        lan.count(|packet| own.contains(&packet.from) && (packet.to.is_multicast() || packet.port == 5353))
    };
    let before = said_to_all(0);
    wait_until(LONG, "it is asked where it is", || said_to_all(0) >= before + ASKED);
    assert_eq!(said_to_all(1), 0, "{:?}", lan.seen());
}

/// Default settings: packets go to members and, to find them, to everybody on the wire; no name is asked for, no relay.
#[test]
fn no_packet_leaves_for_anywhere_but_members() {
    let Some(mut lan) = Lan::new(4) else { return };
    let places = [lan.place(), lan.place()];
    let first = founder(&places[0]);
    let mut first_daemon = Daemon::start(&first);
    let second = member(&first, &places[1], "m2");
    let _second = Daemon::start(&second);
    settled(&first, 1);
    let note = write(&first, "for members only");
    arrives(&note, &[&second]);
    places[1].down();
    wait_until(LONG, "it is gone", || peers(&first)[0]["state"] == "unreachable");
    places[1].up();
    settled(&first, 1);
    first_daemon.restart();
    settled(&second, 1);
    let is_member = |ip: &IpAddr| places.iter().any(|place| IpAddr::V4(place.address()) == *ip);
    let is_near = |packet: &Packet| match packet.to {
        IpAddr::V4(ip) => ip.octets() == [224, 0, 0, 251] && packet.port == 5353 || ip.octets() == [224, 0, 0, 22],
        // What every machine says to its neighbours, daemon or not, and mDNS.
        IpAddr::V6(ip) => {
            ip.is_unicast_link_local()
                || ip.segments()[0] == 0xff02 && (packet.protocol == 58 || packet.protocol == 0 || packet.port == 5353)
        }
    };
    let strangers = |seen: Vec<Packet>| -> Vec<Packet> {
        seen.into_iter().filter(|packet| !is_member(&packet.to) && !is_near(packet)).collect()
    };
    assert_eq!(strangers(lan.seen()), []);
    assert!(lan.seen().iter().any(|packet| packet.protocol == 17 && packet.port == 4748), "{:?}", lan.seen());
    // The watch sees a name that is asked for, as those of public relays are, and whatever else would leave.
    configure(&first, "[sync]\nrelay = \"public\"\n");
    first_daemon.restart();
    let (from, to) = (IpAddr::V4(places[0].address()), IpAddr::V4(RESOLVER));
    wait_until(LONG, "a name is asked for", || {
        strangers(lan.seen()).iter().any(|packet| packet.from == from && packet.to == to && packet.port == 53)
    });
    let mut shell = places[0].command(std::path::Path::new("/bin/bash"));
    shell.args(["-c", "echo x >/dev/udp/192.0.2.1/53"]).status().unwrap();
    let stray = IpAddr::from([192, 0, 2, 1]);
    wait_until(LONG, "a stray packet is seen", || strangers(lan.seen()).iter().any(|packet| packet.to == stray));
}
