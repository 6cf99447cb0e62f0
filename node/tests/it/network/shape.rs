//! Who can reach whom: parted fleets, hubs, machines that only others can reach, machines that moved, and nobody else.

use std::net::IpAddr;

use ctxnode_testkit::{Daemon, Lan, Packet, Place, Sandbox, Wire, wait_until};

use super::{BACK, LONG, arrives, founder, member, peers, settled, write};

const CUT: Wire = Wire { cut: true, loss: 0, delay: std::time::Duration::ZERO, largest: 1_500, rate: None };

/// Five machines; one is cut off on the way, where it cannot notice, and one pulls its plug.
#[test]
fn parted_machines_are_equal_within_three_seconds_of_the_path_being_back() {
    let Some(mut lan) = Lan::new(1) else { return };
    let places: Vec<Place> = (0..5).map(|_| lan.place()).collect();
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
    places.iter().for_each(|place| lan.wires(place, Wire::default()));
    let short = arrives(&here, &all).max(arrives(&there, &all));

    // Long enough for all of them.
    lan.wires(&places[3], CUT);
    places[4].down();
    let lost = |sandbox: &Sandbox| peers(sandbox).iter().filter(|peer| peer["state"] == "unreachable").count();
    wait_until(LONG, "both are given up", || lost(&first) == 2 && lost(all[3]) == 4 && lost(all[4]) == 4);
    let home = write(&first, "while they were away");
    let (cut, unplugged) = (write(all[3], "from the one cut off"), write(all[4], "from the one without a plug"));
    lan.wires(&places[3], Wire::default());
    let unnoticed = arrives(&home, &all[..4]).max(arrives(&cut, &all[..4]));
    places[4].up();
    let noticed = arrives(&home, &all).max(arrives(&unplugged, &all));
    println!("equal after a short cut {short:?}, a long one {unnoticed:?}, a plug {noticed:?}");
    assert!(short < BACK && unnoticed < BACK && noticed < BACK);
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

/// Both machines have other addresses than any that was ever told.
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
    places[1].move_to(102);
    first_daemon.restart();
    let note = write(&first, "at another place");
    second_daemon.restart();
    let took = arrives(&note, &[&second]);
    let address = peers(&second)[0]["address"].as_str().unwrap_or_default().to_owned();
    println!("found in {took:?} at {address}");
    assert!(address.starts_with("10.99.0.101:") || address.starts_with("[fe80"), "{address}");
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
    // The watch sees what would leave.
    let mut shell = places[0].command(std::path::Path::new("/bin/bash"));
    shell.args(["-c", "echo x >/dev/udp/192.0.2.1/53"]).status().unwrap();
    wait_until(LONG, "a stray packet is seen", || strangers(lan.seen()).iter().any(|packet| packet.port == 53));
}
