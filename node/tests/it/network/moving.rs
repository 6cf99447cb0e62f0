//! What happens in the middle of a transfer: another address, `kill -9`.

use std::time::Duration;

use ctxnode_api::Call;
use ctxnode_testkit::{Daemon, Lan, Sandbox, Wire, wait_until};
use serde_json::json;

use super::{LONG, founder, member, noise, person, script, settled};

const DOCS: usize = 20;
const SIZE: usize = 400_000;
/// How long a machine may take to go on at another address. Three seconds are what it takes by itself; with two cores that
/// other tests use as well, a debug build gets twenty.
const AGAIN: Duration = Duration::from_secs(20);
/// A transfer takes long enough to step into.
const SLOW: Wire = Wire { cut: false, loss: 0, delay: Duration::from_millis(5), largest: 1_500, rate: Some(2_000_000) };

fn write_docs(sandbox: &Sandbox, name: &str) {
    for number in 0..DOCS {
        let put = Call::new("doc.put", json!({ "content": format!("# Doc\n{}", noise(SIZE, number as u64 + 1)) }));
        person(sandbox).ok(&put.param("scope", "global").param("name", format!("{name}-{number:02}.md")));
    }
}

fn docs(sandbox: &Sandbox, name: &str) -> usize {
    let list = script(sandbox).do_("doc.list", json!({ "limit": 100 }));
    let items = list["items"].as_array().unwrap();
    items.iter().filter(|doc| doc["name"].as_str().is_some_and(|found| found.starts_with(name))).count()
}

#[test]
fn a_catch_up_goes_on_after_another_address_and_after_a_kill() {
    let Some(mut lan) = Lan::new(6) else { return };
    let mut places = [lan.place(), lan.place()];
    let home = founder(&places[0]);
    let _home = Daemon::start(&home);
    let laptop = member(&home, &places[1], "laptop");
    let mut daemon = Daemon::start(&laptop);
    settled(&home, 1);

    daemon.stop();
    write_docs(&home, "a");
    lan.wire(&places[0], &places[1], SLOW);
    daemon.restart();
    wait_until(LONG, "some of it is there", || docs(&laptop, "a") > 0);
    let before = docs(&laptop, "a");
    places[1].move_to(77);
    assert!(before < DOCS, "the transfer was over before the address changed");
    let moved = std::time::Instant::now();
    wait_until(LONG, "everything is there", || docs(&laptop, "a") == DOCS);
    let took = moved.elapsed();
    println!("{before} of {DOCS} when the address changed, all {took:?} later");
    let rest = Duration::from_secs_f64(((DOCS - before) * SIZE) as f64 / SLOW.rate.unwrap() as f64);
    assert!(took < AGAIN + rest, "{took:?} for {rest:?} of transfer");
    wait_until(LONG, "its record says where it is now", || {
        let list = script(&home).do_("machine.list", json!({}));
        list["items"].as_array().unwrap().iter().any(|row| row["addresses"][0] == "10.99.0.77")
    });

    daemon.stop();
    write_docs(&home, "b");
    let start = lan.carried();
    daemon.restart();
    wait_until(LONG, "some of it is there", || docs(&laptop, "b") > 0);
    daemon.kill();
    lan.wire(&places[0], &places[1], Wire { cut: true, ..SLOW });
    daemon.restart();
    let kept = docs(&laptop, "b");
    assert!(kept > 0 && kept < DOCS, "{kept}");
    let killed = lan.carried();
    lan.wire(&places[0], &places[1], SLOW);
    wait_until(LONG, "everything is there", || docs(&laptop, "b") == DOCS);
    let (first, second) = (killed - start, lan.carried() - killed);
    println!("{kept} of {DOCS} when it was killed, after {first} bytes; the rest took {second}");
    // Six bits of eight are left of each letter, and a tenth is what a full path loses and carries again.
    let missing = ((DOCS - kept) * SIZE) as u64;
    assert!(second < missing * 95 / 100, "{second} bytes for {missing} that were missing");
}
