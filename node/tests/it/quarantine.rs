//! What is held back and how it comes in after all; the way back with the recovery key.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Output, Stdio};

use ctxnode_api::Call;
use ctxnode_testkit::{Daemon, Sandbox, wait_until};
use serde_json::{Value, json};

use crate::fleet::{connected, join, node, until};
use crate::support::{SOON, ctxnode, files_holding, person, printed, ready, script, start, text};

/// Writes a note; returns the call that reads it.
pub(crate) fn note(sandbox: &Sandbox, title: &str) -> Call {
    let made = person(sandbox).do_("note.create", json!({ "title": title, "content": title, "human_requested": true }));
    Call::new("note.get", json!({})).param("id", text(&made, "id"))
}

fn succeeds(sandbox: &Sandbox, arguments: &[&str]) -> String {
    let output = ctxnode(sandbox, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    printed(&output)
}

/// The row of the note that is held back. The machine's own record may lie there too.
fn held(sandbox: &Sandbox) -> Value {
    let note = |reply: &Value| {
        let rows = reply["items"].as_array().unwrap();
        rows.iter().find(|row| row["what"].as_str().is_some_and(|what| what.starts_with("note note_"))).cloned()
    };
    let list = Call::new("quarantine.list", json!({}));
    note(&until(sandbox, "it is held back", &list, |reply| note(reply).is_some())).unwrap()
}

fn none_held(sandbox: &Sandbox) {
    until(sandbox, "nothing is held back", &Call::new("quarantine.list", json!({})), |reply| reply["total"] == 0);
}

/// what a machine wrote after it was made a reader is applied nowhere and shown everywhere; an admin accepts it.
#[test]
fn q_05_what_a_demoted_machine_wrote_is_held_back_everywhere_until_it_is_accepted() {
    let mac = ready();
    let mut mac_daemon = start(&mac);
    let laptop = join(&mac, "laptop", &[]);
    let mut laptop_daemon = Daemon::start(&laptop);
    node(&mac, "both are equal", |reply| connected(reply, 1));
    // The laptop does not hear of its demotion before it writes.
    mac_daemon.stop();
    let read = note(&laptop, "late");
    laptop_daemon.stop();
    mac_daemon.restart();
    succeeds(&mac, &["role", "laptop", "reader"]);
    laptop_daemon.restart();
    for machine in [&mac, &laptop] {
        let row = held(machine);
        assert_eq!(text(&row, "machine"), "laptop");
        assert_eq!(text(&row, "why"), "the author's role does not allow it");
        assert!(script(machine).ask(&read).is_err());
    }
    let shown = succeeds(&mac, &["quarantine"]);
    assert!(shown.contains("laptop") && shown.contains("note note_") && shown.contains("role"), "{shown}");
    assert!(shown.contains("ctxnode fleet accept laptop"), "{shown}");
    succeeds(&mac, &["fleet", "accept", "laptop"]);
    for machine in [&mac, &laptop] {
        none_held(machine);
        assert_eq!(text(&person(machine).ok(&read), "title"), "late");
    }
}

/// F-03: what others had taken in of a machine before they heard that it is revoked is taken out again, and accepted.
#[test]
fn f_03_what_lies_past_a_revocation_is_taken_out_everywhere_until_it_is_accepted() {
    let mac = ready();
    let mut mac_daemon = start(&mac);
    let hub = join(&mac, "hub", &["--role", "admin"]);
    let mut hub_daemon = Daemon::start(&hub);
    let lost = join(&mac, "lost", &[]);
    let mut lost_daemon = Daemon::start(&lost);
    node(&hub, "all are equal", |reply| connected(reply, 2));
    node(&lost, "all are equal", |reply| connected(reply, 2));
    mac_daemon.stop();
    let read = note(&lost, "past");
    wait_until(SOON, "the hub has it", || script(&hub).ask(&read).is_ok());
    lost_daemon.stop();
    hub_daemon.stop();
    mac_daemon.restart();
    succeeds(&mac, &["revoke", "lost", "--yes"]);
    hub_daemon.restart();
    for machine in [&mac, &hub] {
        let row = held(machine);
        assert_eq!((text(&row, "machine"), text(&row, "why")), ("lost", "the author was revoked before it"));
        assert!(script(machine).ask(&read).is_err());
    }
    succeeds(&hub, &["fleet", "accept", "lost"]);
    for machine in [&mac, &hub] {
        none_held(machine);
        wait_until(SOON, "it is applied", || script(machine).ask(&read).is_ok());
    }
}

/// What was written on top of a change that is held back waits for it: counted in status and doctor, listed with what it
/// waits for, applied when the other is accepted.
#[test]
fn what_builds_on_a_held_change_is_counted_and_listed_until_that_is_accepted() {
    let mac = ready();
    let mut mac_daemon = start(&mac);
    let hub = join(&mac, "hub", &["--role", "admin"]);
    let mut hub_daemon = Daemon::start(&hub);
    let lost = join(&mac, "lost", &[]);
    let mut lost_daemon = Daemon::start(&lost);
    node(&hub, "all are equal", |reply| connected(reply, 2));
    let read = note(&mac, "shared");
    let id = text(&person(&mac).ok(&read), "id").to_owned();
    let title = |title: &str| {
        Call::new("note.update", json!({ "title": title, "human_requested": true })).param("id", id.as_str())
    };
    let reads = |sandbox: &Sandbox, wanted: &str| {
        wait_until(SOON, wanted, || script(sandbox).ask(&read).is_ok_and(|answer| answer.body["title"] == wanted));
    };
    reads(&lost, "shared");
    // The machine's own record is written a moment after it has joined, and would be held back as well.
    node(&mac, "all have their records", |reply| reply["records"]["machine"] == 3);
    mac_daemon.stop();
    person(&lost).ok(&title("of the lost"));
    reads(&hub, "of the lost");
    person(&hub).ok(&title("on top of it"));
    lost_daemon.stop();
    hub_daemon.stop();
    mac_daemon.restart();
    succeeds(&mac, &["revoke", "lost", "--yes"]);
    hub_daemon.restart();
    for machine in [&mac, &hub] {
        let reply = node(machine, "it waits", |reply| reply["waiting"] == 1 && reply["quarantined"] == 1);
        assert!(reply["attention"].to_string().contains("quarantine --waiting"), "{reply}");
        reads(machine, "shared");
        let list = person(machine).do_("waiting.list", json!({}));
        let row = &list["items"][0];
        assert_eq!((&list["total"], text(row, "machine"), text(row, "record")), (&json!(1), "hub", id.as_str()));
        assert!(row["waits_for"].to_string().contains("by lost, which is held back"), "{row}");
        let status = printed(&ctxnode(machine, &["status"]));
        assert!(status.contains("1 change, for others"), "{status}");
        let doctor: Value = serde_json::from_str(&printed(&ctxnode(machine, &["doctor", "--json"]))).unwrap();
        let row = doctor["checks"].as_array().unwrap().iter().find(|row| row["name"] == "waiting").unwrap().clone();
        assert_eq!(text(&row, "state"), "warn");
    }
    let shown = succeeds(&mac, &["quarantine", "--waiting"]);
    assert!(shown.contains("hub") && shown.contains(&id) && shown.contains("by lost"), "{shown}");
    succeeds(&hub, &["fleet", "accept", "lost"]);
    for machine in [&mac, &hub] {
        none_held(machine);
        node(machine, "nothing waits", |reply| reply["waiting"] == 0);
        reads(machine, "on top of it");
    }
}

fn recover(sandbox: &Sandbox, key: &str) -> Output {
    let mut command = sandbox.command("ctxnode");
    command.args(["fleet", "recover"]).current_dir(sandbox.dev_dir());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    writeln!(child.stdin.take().unwrap(), "{key}").unwrap();
    child.wait_with_output().unwrap()
}

/// All other machines are lost: who holds the recovery key makes a mere reader the admin, and the fleet goes on.
#[test]
fn the_holder_of_the_recovery_key_makes_the_last_machine_the_admin() {
    let mac = Sandbox::new();
    let made = ctxnode(&mac, &["init", "--json", "--show-recovery-key"]);
    let made: Value = serde_json::from_str(&printed(&made)).unwrap();
    let key = text(&made, "recovery_key").to_owned();
    let mut mac_daemon = start(&mac);
    let laptop = join(&mac, "laptop", &["--role", "reader"]);
    let _laptop_daemon = Daemon::start(&laptop);
    node(&laptop, "both are equal", |reply| connected(reply, 1));
    mac_daemon.kill();
    let refused = ctxnode(&laptop, &["invite"]);
    assert_eq!(refused.status.code(), Some(1));

    let said = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let malformed = recover(&laptop, "ctxr-12");
    assert!(malformed.status.code() == Some(2) && said(&malformed).contains("not a recovery key"), "{malformed:?}");
    let other = recover(&laptop, &format!("ctxr-{}", "0123456789abcdef".repeat(4)));
    assert!(other.status.code() == Some(1) && said(&other).contains("not the recovery key of this fleet"), "{other:?}");
    assert_eq!(script(&laptop).do_("quarantine.list", json!({}))["total"], 0);
    let done = recover(&laptop, &key);
    assert!(done.status.success(), "{}", said(&done));
    assert!(printed(&done).contains("admin of the fleet now; 2 members, nobody was revoked"), "{}", printed(&done));
    assert_eq!(node(&laptop, "it is an admin", |reply| reply["role"] == "admin")["peers"][0]["role"], "admin");

    // The fleet goes on from here: another machine joins, the lost one is taken out.
    let server = join(&laptop, "server", &[]);
    let _server_daemon = Daemon::start(&server);
    node(&server, "its grant is here", |reply| reply["role"] == "writer");
    let read = note(&server, "goes on");
    wait_until(SOON, "it writes", || script(&laptop).ask(&read).is_ok());
    succeeds(&laptop, &["revoke", &text(&made, "node")[..12], "--yes"]);
    // The key is in no file, neither where it was made nor where it was typed in, whether as text or as bytes.
    let bytes_of = |hex: &str| data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap();
    let groups = key.trim_start_matches("ctxr-");
    let hex = groups.replace('-', "");
    for machine in [&mac, &laptop] {
        for secret in [groups.as_bytes().to_vec(), hex.as_bytes().to_vec(), bytes_of(&hex)] {
            assert_eq!(files_holding(machine.root(), &secret), Vec::<PathBuf>::new());
        }
    }
    // A key that is kept, the public one of the node, is found both ways.
    let node = text(&made, "node");
    for kept in [node.as_bytes().to_vec(), bytes_of(node)] {
        assert_ne!(files_holding(mac.root(), &kept), Vec::<PathBuf>::new());
    }
}
