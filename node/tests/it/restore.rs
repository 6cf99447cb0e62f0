//! Copies of a replica: a backup that is put back while others are ahead, a cloned disk, an old file in the place of a
//! newer one. Each is noticed, told, and loses nothing.

use std::fs;
use std::path::Path;

use ctxnode_api::Call;
use ctxnode_testkit::{Daemon, Sandbox, wait_until};
use serde_json::{Value, json};

use crate::fleet::{connected, join, node};
use crate::support::{SOON, agent, alpha_repo, ctxnode, person, printed, ready, script, start, text};

fn add_note(sandbox: &Sandbox, title: &str) {
    person(sandbox).do_("note.create", json!({ "title": title, "content": title, "human_requested": true }));
}

fn titles(sandbox: &Sandbox) -> Vec<String> {
    let list = script(sandbox).do_("note.list", json!({}));
    let mut titles: Vec<String> =
        list["items"].as_array().unwrap().iter().map(|note| text(note, "title").to_owned()).collect();
    titles.sort();
    titles
}

fn wait_for_titles(machines: &[&Sandbox], wanted: &[&str]) {
    for machine in machines {
        let mut last = Vec::new();
        let deadline = std::time::Instant::now() + SOON * 4;
        wait_until(SOON * 5, "every note is everywhere", || {
            last = titles(machine);
            assert!(std::time::Instant::now() < deadline, "{last:?} instead of {wanted:?}");
            last == wanted
        });
    }
}

/// What a person is told by `ctxnode status`.
fn told(sandbox: &Sandbox, wanted: &str) {
    wait_until(SOON * 3, wanted, || {
        let reply = script(sandbox).do_("node", json!({}));
        reply["alerts"].as_array().unwrap().iter().any(|alert| text(alert, "text").contains(wanted))
    });
    // On the screen the text is broken into lines.
    let shown = printed(&ctxnode(sandbox, &["status"]));
    let words: Vec<&str> = shown.split_whitespace().collect();
    assert!(words.join(" ").contains(wanted), "{shown}");
}

fn sound(machines: &[&Sandbox]) {
    for machine in machines {
        let checked = printed(&ctxnode(machine, &["check", "--json"]));
        let checked: Value = serde_json::from_str(&checked).unwrap();
        assert_eq!((&checked["ok"], &checked["problem_count"]), (&json!(true), &json!(0)), "{checked}");
        assert_eq!(person(machine).do_("quarantine.list", json!({}))["total"], 0);
    }
}

/// An old backup comes back by `ctxnode restore` while the peers are ahead, and the machine writes at once.
#[test]
fn an_old_backup_that_is_restored_gets_back_what_others_have_and_goes_on() {
    let mac = ready();
    let _mac_daemon = start(&mac);
    let laptop = join(&mac, "laptop", &["--role", "admin"]);
    let mut laptop_daemon = Daemon::start(&laptop);
    node(&mac, "both are equal", |reply| connected(reply, 1));
    add_note(&laptop, "1 before");
    let backup: Value = serde_json::from_str(&printed(&ctxnode(&laptop, &["backup", "--json"]))).unwrap();
    add_note(&laptop, "2 after");
    wait_for_titles(&[&mac], &["1 before", "2 after"]);
    laptop_daemon.stop();
    let restored = ctxnode(&laptop, &["restore", text(&backup, "path"), "--yes"]);
    assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
    laptop_daemon.restart();
    add_note(&laptop, "3 again");
    wait_for_titles(&[&laptop, &mac], &["1 before", "2 after", "3 again"]);
    told(&laptop, "is an older copy");
    told(&laptop, "came back from others");
    sound(&[&mac, &laptop]);
    // The next start is an ordinary one.
    laptop_daemon.stop();
    laptop_daemon.restart();
    add_note(&laptop, "4 later");
    wait_for_titles(&[&laptop, &mac], &["1 before", "2 after", "3 again", "4 later"]);
}

/// The only machine that knew who joined goes back to before that. It knows nobody, and whom it forgot keeps its replica.
#[test]
fn a_machine_that_a_restored_one_forgot_is_let_in_again_and_brings_everything() {
    let mac = ready();
    let mut mac_daemon = start(&mac);
    add_note(&mac, "1 before");
    let backup: Value = serde_json::from_str(&printed(&ctxnode(&mac, &["backup", "--json"]))).unwrap();
    let laptop = join(&mac, "laptop", &["--role", "admin"]);
    let _laptop_daemon = Daemon::start(&laptop);
    node(&mac, "both are equal", |reply| connected(reply, 1));
    // What only an admin may write.
    let doc = Call::new("doc.put", json!({ "content": "of an admin" })).param("scope", "global").param("name", "a.md");
    person(&laptop).ok(&doc);
    add_note(&laptop, "2 of the laptop");
    wait_for_titles(&[&mac, &laptop], &["1 before", "2 of the laptop"]);
    mac_daemon.stop();
    assert!(ctxnode(&mac, &["restore", text(&backup, "path"), "--yes"]).status.success());
    mac_daemon.restart();
    add_note(&mac, "3 of the mac");
    add_note(&laptop, "4 meanwhile");
    let invite = || -> Value { serde_json::from_str(&printed(&ctxnode(&mac, &["invite", "--json"]))).unwrap() };
    // The mac listens once somebody is invited, at another port than before, which its backup does not know.
    let code = invite();
    let port = script(&mac).do_("node", json!({}))["listening"][0].as_str().unwrap().to_owned();
    let strange = ctxnode(&laptop, &["fleet", "sync", "--node", "mac", "--addresses", &port]);
    let said = String::from_utf8_lossy(&strange.stderr).into_owned();
    assert!(strange.status.code() == Some(1) && said.contains("no node is called"), "{said}");
    let founder = text(&script(&laptop).do_("node", json!({}))["peers"][0], "node").to_owned();
    assert!(ctxnode(&laptop, &["fleet", "sync", "--node", &founder[..8], "--addresses", &port]).status.success());
    let refused = node(&laptop, "it hears that it was forgotten", |reply| reply["peers"][0]["reason"] == "unknown_key");
    let fix = text(&refused["peers"][0], "fix");
    assert!(fix.contains("ctxnode invite") && fix.contains("ctxnode join"), "{fix}");
    // A grant of less would judge anew what it wrote as an admin.
    let less = ctxnode(&laptop, &["join", text(&code, "code")]);
    let said = String::from_utf8_lossy(&less.stderr).into_owned();
    assert!(less.status.code() == Some(1) && said.contains("ctxnode invite --role admin"), "{said}");
    assert_eq!(invites(&mac).len(), 1, "the code was not used");
    let code: Value = serde_json::from_str(&printed(&ctxnode(&mac, &["invite", "--json", "--role", "admin"]))).unwrap();
    let joined = ctxnode(&laptop, &["join", text(&code, "code")]);
    let said = printed(&joined);
    assert!(joined.status.success() && said.contains("was kept"), "{said}{}", String::from_utf8_lossy(&joined.stderr));
    wait_for_titles(&[&mac, &laptop], &["1 before", "2 of the laptop", "3 of the mac", "4 meanwhile"]);
    told(&mac, "came back from others");
    sound(&[&mac, &laptop]);
    let peer = script(&mac).do_("node", json!({}))["peers"][0].clone();
    assert_eq!((text(&peer, "name"), text(&peer, "role")), ("laptop", "admin"), "{peer}");
    let doc = Call::new("doc.get", json!({})).param("scope", "global").param("name", "a.md");
    assert_eq!(text(&person(&mac).ok(&doc), "content"), "of an admin");

    // Whoever is a member already is told so, and uses no invitation up.
    let before = invites(&mac);
    let again = ctxnode(&laptop, &["join", text(&invite(), "code")]);
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(again.status.code() == Some(2) && said.contains("member already"), "{said}");
    assert_eq!(invites(&mac).len(), before.len() + 1, "the new one is open still");
}

/// The invitations of a machine that nobody has used.
fn invites(machine: &Sandbox) -> Vec<String> {
    let all = person(machine).do_("invite.list", json!({}));
    let open = all["items"].as_array().unwrap().iter().filter(|row| row["state"] == "open");
    open.map(|row| text(row, "id").to_owned()).collect()
}

/// An old copy of the file is written over the newer one while the daemon is down: the same inode, the same boot.
#[test]
fn an_old_copy_of_the_file_that_is_put_back_is_noticed_before_it_writes() {
    let mac = ready();
    let mut mac_daemon = start(&mac);
    let laptop = join(&mac, "laptop", &["--role", "admin"]);
    let mut laptop_daemon = Daemon::start(&laptop);
    node(&mac, "both are equal", |reply| connected(reply, 1));
    add_note(&laptop, "1 before");
    laptop_daemon.stop();
    let (store, copy) = (laptop.data_dir().join("store.redb"), laptop.root().join("copy.redb"));
    fs::copy(&store, &copy).unwrap();
    laptop_daemon.restart();
    add_note(&laptop, "2 after");
    wait_for_titles(&[&mac], &["1 before", "2 after"]);
    laptop_daemon.stop();
    // Nobody is there who could say that it is old, so it writes the positions that it wrote before.
    mac_daemon.stop();
    fs::copy(&copy, &store).unwrap();
    laptop_daemon.restart();
    told(&laptop, "is an older copy");
    add_note(&laptop, "3 again");
    mac_daemon.restart();
    wait_for_titles(&[&laptop, &mac], &["1 before", "2 after", "3 again"]);
    sound(&[&mac, &laptop]);

    // It is said until somebody says that it was read, whatever happens to the daemon, and not after that.
    laptop_daemon.kill();
    laptop_daemon.restart();
    told(&laptop, "is an older copy");
    let home = alpha_repo(&laptop, "console");
    let claude = agent(&laptop, "claude-laptop-00000001", home.path());
    let warnings = || claude.do_("sod", json!({}))["warnings"].to_string();
    assert!(warnings().contains("tell the human") && warnings().contains("fleet acknowledge"), "{}", warnings());
    let doctor = printed(&ctxnode(&laptop, &["doctor"]));
    assert!(doctor.contains("older copy"), "{doctor}");
    let read = printed(&ctxnode(&laptop, &["fleet", "acknowledge"]));
    assert!(read.contains("is an older copy"), "{read}");
    laptop_daemon.kill();
    laptop_daemon.restart();
    assert_eq!(script(&laptop).do_("node", json!({}))["alerts"], json!([]));
    assert!(!warnings().contains("tell the human"), "{}", warnings());
}

/// The whole disk goes back to a snapshot, with everything by which the replica could notice, as a virtual machine does.
/// Nobody is there who could say so, so the machine writes other entries at positions that the others have.
#[test]
fn a_machine_that_goes_back_unnoticed_keeps_both_of_its_histories() {
    let mac = ready();
    let mut mac_daemon = start(&mac);
    let laptop = join(&mac, "laptop", &["--role", "admin"]);
    let mut laptop_daemon = Daemon::start(&laptop);
    node(&mac, "both are equal", |reply| connected(reply, 1));
    add_note(&laptop, "1 before");
    laptop_daemon.stop();
    let snapshot = laptop.root().join("snapshot");
    copy_dir(&laptop.data_dir(), &snapshot);
    laptop_daemon.restart();
    add_note(&laptop, "2 of the first history");
    wait_for_titles(&[&mac], &["1 before", "2 of the first history"]);
    laptop_daemon.stop();
    mac_daemon.stop();
    for entry in fs::read_dir(&snapshot).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file()) {
        fs::copy(entry.path(), laptop.data_dir().join(entry.file_name())).unwrap();
    }
    laptop_daemon.restart();
    add_note(&laptop, "3 of the second");
    assert_eq!(titles(&laptop), ["1 before", "3 of the second"], "it knows nothing of what it wrote before");
    mac_daemon.restart();
    let all = ["1 before", "2 of the first history", "3 of the second"];
    wait_for_titles(&[&laptop, &mac], &all);
    told(&laptop, "wrote two different histories");
    told(&mac, "two different histories of node");
    add_note(&laptop, "4 goes on");
    wait_for_titles(&[&mac], &[all[0], all[1], all[2], "4 goes on"]);
    for machine in [&mac, &laptop] {
        let checked: Value = serde_json::from_str(&printed(&ctxnode(machine, &["check", "--json"]))).unwrap();
        assert_eq!(checked["problem_count"], 0, "{checked}");
    }
}

/// A disk is cloned with the key: two daemons of one identity. Both are told, nothing of either is lost, and the clone
/// becomes a machine of its own by an invitation.
#[test]
fn a_cloned_disk_is_told_on_both_sides_and_nothing_is_lost() {
    let mac = ready();
    let _mac_daemon = start(&mac);
    let laptop = join(&mac, "laptop", &["--role", "admin"]);
    let mut laptop_daemon = Daemon::start(&laptop);
    node(&mac, "both are equal", |reply| connected(reply, 1));
    add_note(&laptop, "1 before");
    wait_for_titles(&[&mac], &["1 before"]);
    laptop_daemon.stop();
    let clone = Sandbox::new();
    copy_dir(&laptop.data_dir(), &clone.data_dir());
    laptop_daemon.restart();
    let mut clone_daemon = Daemon::start(&clone);
    told(&clone, "copied or moved here");
    add_note(&laptop, "2 of the laptop");
    add_note(&clone, "3 of the clone");
    // One identity has one link: which of the two the others talk to is left to chance until one of them stops.
    clone_daemon.stop();
    laptop_daemon.restart();
    wait_until(SOON * 3, "the laptop is heard", || titles(&mac).contains(&"2 of the laptop".to_owned()));
    laptop_daemon.stop();
    clone_daemon.restart();
    wait_for_titles(&[&mac, &clone], &["1 before", "2 of the laptop", "3 of the clone"]);
    clone_daemon.stop();
    laptop_daemon.restart();
    wait_for_titles(&[&laptop], &["1 before", "2 of the laptop", "3 of the clone"]);
    told(&laptop, "a copy of it runs on another machine, which then needs an invitation of its own");
    sound(&[&mac, &laptop]);
    // What the text says to do works.
    fs::remove_dir_all(clone.data_dir()).unwrap();
    let invited: Value = serde_json::from_str(&printed(&ctxnode(&mac, &["invite", "--json"]))).unwrap();
    let output = ctxnode(&clone, &["join", text(&invited, "code"), "--name", "clone"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let _clone_daemon = Daemon::start(&clone);
    node(&mac, "all three are equal", |reply| connected(reply, 2));
    assert_eq!(titles(&clone).len(), 3);
    let keys = |sandbox: &Sandbox| text(&script(sandbox).ok(&Call::new("node", json!({}))), "node").to_owned();
    assert_ne!(keys(&clone), keys(&laptop));
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else if entry.file_name() != "daemon.lock" {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
