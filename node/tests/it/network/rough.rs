//! Paths that lose, delay and swallow packets.

use std::time::{Duration, Instant};

use ctxnode_testkit::{Daemon, Lan, Sandbox, Wire};

use super::{LONG, arrives, founder, member, noise, settled, write};

/// A third of all packets lost and more than half a second for an answer; and a path that carries no packet above 1,280
/// bytes and does not say so.
#[test]
fn a_fleet_is_equal_over_paths_that_lose_delay_and_swallow() {
    let Some(mut lan) = Lan::new(5) else { return };
    let places = [lan.place(), lan.place(), lan.place()];
    let home = founder(&places[0]);
    let _home = Daemon::start(&home);
    let far = member(&home, &places[1], "far");
    let narrow = member(&home, &places[2], "narrow");
    let _far = Daemon::start(&far);
    let mut narrow_daemon = Daemon::start(&narrow);
    settled(&home, 2);
    lan.wire(&places[0], &places[1], Wire { loss: 30, delay: Duration::from_millis(300), ..Wire::default() });
    lan.wire(&places[1], &places[2], Wire { cut: true, ..Wire::default() });
    lan.wire(&places[0], &places[2], Wire { largest: 1_280, ..Wire::default() });
    // From the first packet of a connection on, and with a device that knows.
    narrow_daemon.restart();
    let since = Instant::now();
    let note = write(&home, &noise(40_000, 1));
    let narrowed = arrives(&note, &[&narrow]);
    places[2].mtu(1_280);
    let back = write(&narrow, &noise(40_000, 2));
    let all: [&Sandbox; 3] = [&home, &far, &narrow];
    arrives(&back, &all);
    let answer = write(&far, "from far away");
    arrives(&answer, &all);
    println!("80 KB over the narrow path {narrowed:?}, everything everywhere {:?}", since.elapsed());
    assert!(since.elapsed() < LONG);
}
