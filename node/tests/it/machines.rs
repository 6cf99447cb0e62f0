//! Machines of a fleet, and how status and doctor see them.

use std::io::{BufRead as _, BufReader};
use std::net::UdpSocket;
use std::process::Stdio;

use ctxnode_api::{Call, ErrorCode};
use ctxnode_testkit::{Daemon, Sandbox, wait_until};
use serde_json::{Value, json};

use crate::fleet::{connected, is_out, join, node, until};
use crate::support::{SOON, agent, alpha_repo, ctxnode, person, printed, ready, script, start, text};

fn machines(sandbox: &Sandbox, what: &str, good: impl Fn(&Value) -> bool) -> Value {
    until(sandbox, what, &Call::new("machine.list", json!({})), good)
}

fn register(hostname: &str) -> Value {
    json!({ "hostname": hostname, "address": "10.0.0.9", "user": "ada", "os": "linux", "arch": "x86_64" })
}

/// F-01: joining registers the machine without a further step, on all nodes, and a restart changes nothing; a code that
/// was used is refused.
#[test]
fn f_01_joining_registers_the_machine_on_all_nodes() {
    let mac = ready();
    let _mac_daemon = start(&mac);
    let invited: Value = serde_json::from_str(&printed(&ctxnode(&mac, &["invite", "--json"]))).unwrap();
    let server = Sandbox::new();
    let keys = server.home().join(".ssh");
    std::fs::create_dir_all(&keys).unwrap();
    std::fs::write(keys.join("id_ed25519.pub"), "ssh-ed25519 AAAAC3Nz ada@server\n").unwrap();
    std::fs::write(keys.join("id_ed25519"), "PRIVATE\n").unwrap();
    assert!(ctxnode(&server, &["join", text(&invited, "code"), "--name", "server"]).status.success());
    let mut server_daemon = Daemon::start(&server);
    for sandbox in [&mac, &server] {
        machines(sandbox, "both are listed", |list| list["total"] == 2);
    }
    let own = |list: &Value| list["items"].as_array().unwrap().iter().find(|row| row["this_machine"] == true).cloned();
    let complete = |list: &Value| list["items"].as_array().unwrap().iter().all(|row| row["meta"]["sync_port"].is_u64());
    let list = machines(&server, "both say where they listen", complete);
    let own = own(&list).unwrap();
    assert_eq!(own["ssh_public_keys"], json!(["ssh-ed25519 AAAAC3Nz ada@server"]));
    let addresses = own["addresses"].as_array().unwrap();
    assert_eq!(addresses[0], "127.0.0.1", "it was told to listen there and nowhere else");
    assert!(addresses[1].as_str().unwrap().ends_with(".local"));
    for field in ["node_key", "version", "commit", "os", "arch", "user"] {
        assert!(!text(&own, field).is_empty(), "{own}");
    }
    machines(&mac, "the other knows too", |list| {
        list["items"].as_array().unwrap().iter().any(|row| {
            row["id"] == own["id"]
                && row
                    == &{
                        let mut row = own.clone();
                        row["this_machine"] = json!(false);
                        row
                    }
        })
    });
    let entries = || person(&server).do_("node", json!({}))["journal"].clone();
    let before = entries();
    server_daemon.restart();
    node(&server, "it listens again", |reply| connected(reply, 1));
    assert_eq!(entries(), before, "nothing changed, so nothing was written");
    let again = Sandbox::new();
    let refused = ctxnode(&again, &["join", text(&invited, "code")]);
    assert_eq!(refused.status.code(), Some(1));
}

/// F-02: the same host name again is the same machine with its old key; what is missing is named, all at once.
#[test]
fn f_02_registering_again_keeps_id_and_key_and_names_every_bad_field() {
    let mac = ready();
    let _daemon = start(&mac);
    let ada = person(&mac);
    let mut input = register("db");
    input["ssh_public_keys"] = json!(["ssh-ed25519 AAAA db"]);
    let first = ada.do_("machine.register", input);
    let second = ada.do_("machine.register", register("DB"));
    assert_eq!((text(&second, "id"), &second["ssh_public_keys"]), (text(&first, "id"), &first["ssh_public_keys"]));
    let refused = ada.refused_("machine.register", json!({ "hostname": "x", "os": "" }));
    let fields: Vec<&str> = refused.details.iter().map(|detail| detail.field.as_str()).collect();
    assert_eq!(fields, ["address", "user", "os", "arch"]);
    let refused = ada.refused_("machine.register", json!({ "hostname": 5, "address": true }));
    assert_eq!((refused.code, refused.details.len()), (ErrorCode::ValidationFailed, 2), "{refused:?}");
}

/// F-06: two nodes register one host while they are apart: afterwards there is one machine, and either id names it.
#[test]
fn f_06_a_host_that_was_registered_twice_is_one_machine() {
    let mac = ready();
    let mut mac_daemon = start(&mac);
    let laptop = join(&mac, "laptop", &[]);
    let mut laptop_daemon = Daemon::start(&laptop);
    node(&mac, "both are equal", |reply| connected(reply, 1));
    laptop_daemon.stop();
    let older = person(&mac).do_("machine.register", register("db"));
    mac_daemon.stop();
    laptop_daemon.restart();
    let newer = person(&laptop).do_("machine.register", register("db"));
    assert_ne!(text(&older, "id"), text(&newer, "id"));
    mac_daemon.restart();
    let ids = |list: &Value| -> Vec<String> {
        let rows = list["items"].as_array().unwrap().iter().filter(|row| row["hostname"] == "db");
        rows.map(|row| text(row, "id").to_owned()).collect()
    };
    node(&mac, "both are equal again", |reply| connected(reply, 1));
    for sandbox in [&mac, &laptop] {
        machines(sandbox, "there is one", |list| ids(list) == [text(&older, "id")]);
    }
    let retire = Call::new("machine.retire", json!({})).param("id", text(&newer, "id"));
    assert_eq!(person(&mac).ok(&retire)["id"], older["id"]);
    machines(&mac, "it is gone under both ids", |list| ids(list).is_empty());
}

/// F-03: a retired machine leaves all lists, its node is out and what it writes from then on is applied nowhere, its sessions are
/// abandoned by an admin and leave a draft, its claims end; it comes back by a new invitation only, as the same machine.
#[test]
fn f_03_a_retired_machine_is_out_with_its_sessions_and_comes_back_by_invitation() {
    let mac = ready();
    let _mac_daemon = start(&mac);
    let laptop = join(&mac, "laptop", &[]);
    let mut laptop_daemon = Daemon::start(&laptop);
    let server = join(&mac, "server", &[]);
    let _server_daemon = Daemon::start(&server);
    let list = machines(&mac, "all are listed", |list| list["total"] == 3);
    node(&laptop, "all are equal", |reply| connected(reply, 2));
    let key = text(&person(&laptop).do_("node", json!({})), "node").to_owned();
    let row = list["items"].as_array().unwrap().iter().find(|row| row["node_key"] == key.as_str()).unwrap().clone();
    let repo = alpha_repo(&laptop, "console");
    let claude = agent(&laptop, "claude-laptop-00000001", repo.path());
    let session = text(&claude.do_("sod", json!({})), "session_id").to_owned();
    claude.do_("claim.take", json!({ "kind": "issue", "key": "87" }));
    let claims = Call::new("claim.list", json!({ "venture": "alpha" }));
    until(&mac, "the claim is known", &claims, |list| list["total"] == 1);
    let itself = Call::new("machine.retire", json!({})).param("id", text(&row, "id"));
    assert_eq!(person(&laptop).refused(&itself).code, ErrorCode::Forbidden, "a writer node retires nobody");
    let own = machines(&mac, "itself", |_| true);
    let own = own["items"].as_array().unwrap().iter().find(|row| row["this_machine"] == true).unwrap().clone();
    let refused = person(&mac).refused(&Call::new("machine.retire", json!({})).param("id", text(&own, "id")));
    assert_eq!(refused.details[0].field, "id");

    let retired = ctxnode(&mac, &["machine", "retire", text(&row, "id")]);
    let said = String::from_utf8_lossy(&retired.stderr).into_owned();
    assert!(retired.status.success() && said.contains("what it has copied stays on it"), "{said}");
    for sandbox in [&mac, &server] {
        machines(sandbox, "it is gone", |list| list["total"] == 2);
        node(sandbox, "its node is out", |reply| {
            reply["peers"].as_array().unwrap().iter().any(|peer| peer["name"] == "laptop" && peer["state"] == "revoked")
        });
        until(sandbox, "its claims ended", &claims, |list| list["total"] == 0);
        let one = person(sandbox).ok(&Call::new("session.get", json!({})).param("id", &session));
        assert_eq!((text(&one, "status"), text(&one, "end_reason")), ("abandoned", "admin"));
        let drafts = person(sandbox).do_("handoff.list", json!({ "session_id": session.as_str() }));
        assert_eq!((&drafts["total"], &drafts["items"][0]["drafted"]), (&json!(1), &json!(true)), "{drafts}");
    }
    is_out(&laptop, &mut laptop_daemon, [&mac, &server]);
    laptop_daemon.stop();

    let restored = person(&mac).ok(&Call::new("machine.restore", json!({})).param("id", text(&row, "id")));
    assert_eq!((text(&restored, "status"), &restored["node_key"]), ("active", &Value::Null), "{restored}");
    let list = machines(&mac, "it is listed again", |list| list["total"] == 3);
    let again = list["items"].as_array().unwrap().iter().find(|again| again["id"] == row["id"]).unwrap();
    assert_eq!((text(again, "status"), &again["revoked"]), ("active", &json!(false)), "{again}");
    let back = join(&mac, "laptop", &[]);
    let _back_daemon = Daemon::start(&back);
    let new_key = text(&person(&back).do_("node", json!({})), "node").to_owned();
    assert_ne!(new_key, key);
    let list = machines(&server, "it is the same machine", |list| {
        list["items"].as_array().unwrap().iter().any(|row| row["node_key"] == new_key.as_str())
    });
    let again = list["items"].as_array().unwrap().iter().find(|row| row["node_key"] == new_key.as_str()).unwrap();
    assert_eq!((&again["id"], &list["total"]), (&row["id"], &json!(3)));
}

/// F-03 for `revoke`, which is also how an admin's machine goes: it reads retired everywhere, its sessions and claims end.
#[test]
fn f_03_a_machine_whose_node_is_revoked_reads_retired_an_admins_too() {
    let mac = ready();
    let _mac_daemon = start(&mac);
    let laptop = join(&mac, "laptop", &["--role", "admin"]);
    let mut laptop_daemon = Daemon::start(&laptop);
    let server = join(&mac, "server", &[]);
    let _server_daemon = Daemon::start(&server);
    let list = machines(&mac, "all are listed", |list| list["total"] == 3);
    let key = text(&person(&laptop).do_("node", json!({})), "node").to_owned();
    let of =
        |list: &Value| list["items"].as_array().unwrap().iter().find(|row| row["node_key"] == key.as_str()).cloned();
    let row = of(&list).unwrap();
    assert_eq!((text(&row, "status"), &row["revoked"]), ("active", &json!(false)));
    let repo = alpha_repo(&laptop, "console");
    let claude = agent(&laptop, "claude-laptop-00000001", repo.path());
    let session = text(&claude.do_("sod", json!({})), "session_id").to_owned();
    claude.do_("claim.take", json!({ "kind": "issue", "key": "87" }));
    let claims = Call::new("claim.list", json!({ "venture": "alpha" }));
    until(&mac, "the claim is known", &claims, |list| list["total"] == 1);
    laptop_daemon.stop();
    let refused = person(&mac).refused(&Call::new("machine.retire", json!({})).param("id", text(&row, "id")));
    let hint = refused.hint.clone().unwrap_or_default();
    assert!(refused.code == ErrorCode::Forbidden && hint.contains("ctxnode revoke laptop"), "{refused:?}");
    assert!(ctxnode(&mac, &["revoke", "laptop", "--yes"]).status.success());
    for sandbox in [&mac, &server] {
        machines(sandbox, "it is gone", |list| list["total"] == 2);
        let all = person(sandbox).do_("machine.list", json!({ "all": true }));
        let row = of(&all).unwrap();
        assert_eq!((text(&row, "status"), &row["revoked"]), ("retired", &json!(true)), "{all}");
        until(sandbox, "its claims ended", &claims, |list| list["total"] == 0);
        let one = person(sandbox).ok(&Call::new("session.get", json!({})).param("id", &session));
        assert_eq!((text(&one, "status"), text(&one, "end_reason")), ("abandoned", "admin"));
    }
    // The host goes on without a daemon: whoever registers it by its name puts it back into use.
    let again = json!({
        "hostname": text(&row, "hostname"), "address": "10.0.0.9", "user": "ada", "os": "linux", "arch": "x86_64"
    });
    let again = person(&mac).do_("machine.register", again);
    assert_eq!(
        (&again["id"], text(&again, "status"), &again["node_key"]),
        (&row["id"], "active", &Value::Null),
        "{again}"
    );
    for sandbox in [&mac, &server] {
        let list = machines(sandbox, "it is listed again", |list| list["total"] == 3);
        let again = list["items"].as_array().unwrap().iter().find(|again| again["id"] == row["id"]).unwrap();
        assert_eq!((text(again, "status"), &again["revoked"]), ("active", &json!(false)), "{again}");
    }
}

/// F-09: a machine that was installed anew joins under its old name with a new key. Nothing happens to the machine's record
/// until an admin has revoked the old key, with the command that `status` names; then it is the same machine, with its id.
#[test]
fn f_09_a_machine_installed_anew_is_the_same_one_once_an_admin_revoked_its_old_key() {
    let mac = ready();
    let _mac_daemon = start(&mac);
    let old = join(&mac, "laptop", &[]);
    let mut old_daemon = Daemon::start(&old);
    let list = machines(&mac, "both are listed", |list| list["total"] == 2);
    let old_key = text(&person(&old).do_("node", json!({})), "node").to_owned();
    let id =
        list["items"].as_array().unwrap().iter().find(|row| row["node_key"] == old_key.as_str()).unwrap()["id"].clone();
    node(&mac, "both are equal", |reply| connected(reply, 1));
    old_daemon.stop();

    let new = join(&mac, "laptop", &[]);
    let _new_daemon = Daemon::start(&new);
    let new_key = text(&person(&new).do_("node", json!({})), "node").to_owned();
    let waits = |reply: &Value| reply["waiting_nodes"][0]["node"] == new_key.as_str();
    let told = node(&new, "it waits", waits);
    let said = told["attention"].to_string();
    assert!(said.contains("is not registered") && said.contains(&old_key[..8]), "{said}");
    let told = node(&mac, "the admin is told", waits);
    assert_eq!(told["waiting_nodes"].as_array().unwrap().len(), 1, "{told}");
    let found =
        told["attention"].as_array().unwrap().iter().find(|found| found["message"].to_string().contains("registered"));
    let fix = text(found.unwrap(), "fix").to_owned();
    // It takes part, and whatever it writes arrives: still it is no machine.
    let note = person(&new).do_("note.create", json!({ "content": "x", "human_requested": true }));
    let read = Call::new("note.get", json!({})).param("id", text(&note, "id"));
    wait_until(SOON, "its note is here", || script(&mac).ask(&read).is_ok());
    let logs = std::fs::read_dir(new.state_dir().join("log")).unwrap().flatten().map(|file| file.path());
    let logs: Vec<std::path::PathBuf> = logs.collect();
    let logged = |wanted: &str| logs.iter().any(|file| std::fs::read_to_string(file).unwrap().contains(wanted));
    wait_until(SOON, "it has found that it may not", || logged("is known with another key"));
    let list = machines(&mac, "nothing has changed", |_| true);
    assert!(list["total"] == 2 && !list.to_string().contains(&new_key), "{list}");

    let command = fix.split('`').nth(1).unwrap();
    let words: Vec<&str> = command.split(' ').skip(1).chain(["--yes"]).collect();
    let approved = ctxnode(&mac, &words);
    assert!(approved.status.success(), "{words:?}: {}", String::from_utf8_lossy(&approved.stderr));
    for sandbox in [&mac, &new] {
        let list = machines(sandbox, "it is that machine", |list| {
            let mut rows = list["items"].as_array().unwrap().iter();
            rows.any(|row| row["node_key"] == new_key.as_str() && row["id"] == id && row["status"] == "active")
        });
        assert_eq!(list["total"], 2, "{list}");
        node(sandbox, "nobody waits", |reply| reply["waiting_nodes"] == json!([]));
    }
}

/// Status, its exit code and doctor follow a peer that goes and comes back, and one that was never there.
#[test]
fn status_and_doctor_say_why_a_peer_is_not_reached() {
    let mac = ready();
    let _mac_daemon = start(&mac);
    assert_eq!(ctxnode(&mac, &["status"]).status.code(), Some(0), "alone all is well");
    let laptop = join(&mac, "laptop", &[]);
    let mut laptop_daemon = Daemon::start(&laptop);
    node(&mac, "both are equal", |reply| connected(reply, 1));
    let status = ctxnode(&mac, &["status"]);
    let shown = printed(&status);
    assert!(shown.contains("laptop") && shown.contains("connected") && shown.ends_with("all is well\n"), "{shown}");
    assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
    assert_eq!(status.status.code(), Some(0));
    let mut watched = mac.command("ctxnode");
    let mut watched = watched.args(["status", "--watch"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(watched.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.starts_with("laptop connected")));
    laptop_daemon.stop();
    let gone = lines.by_ref().find(|line| line.contains("laptop unreachable") || line.contains("! laptop"));
    assert!(gone.is_some());
    watched.kill().unwrap();
    watched.wait().unwrap();

    let reply = node(&mac, "nothing answers", |reply| reply["peers"][0]["reason"] == "no_answer");
    assert!(text(&reply["peers"][0], "problem").contains("no answer at 127.0.0.1:"), "{reply}");
    let status = ctxnode(&mac, &["status"]);
    assert_eq!(status.status.code(), Some(2));
    let doctor: Value = serde_json::from_str(&printed(&ctxnode(&mac, &["doctor", "--json"]))).unwrap();
    let row = doctor["checks"].as_array().unwrap().iter().find(|row| row["name"] == "peer laptop").unwrap().clone();
    assert_eq!(text(&row, "state"), "warn");
    assert!(text(&row, "message").contains("no answer") && text(&row, "fix").contains("UDP port"), "{row}");
    assert!(doctor["checks"].as_array().unwrap().iter().any(|row| row["name"] == "quarantine"));

    // A third machine joined through the first and has not run since: the second has only heard of it.
    laptop_daemon.restart();
    let server = join(&mac, "server", &[]);
    node(&laptop, "it has heard of it", |reply| reply["peers"].as_array().unwrap().len() == 2);
    let of = |reply: &Value| reply["peers"].as_array().unwrap().iter().find(|peer| peer["name"] == "server").cloned();
    let reply = node(&laptop, "it was looked for", |reply| of(reply).is_some_and(|peer| peer["reason"].is_string()));
    let peer = of(&reply).unwrap();
    assert_eq!((text(&peer, "reason"), text(&peer, "problem")), ("no_address", "no address is known"), "{peer}");
    assert!(text(&peer, "fix").contains("`[sync] peers`"), "{peer}");
    let _server_daemon = Daemon::start(&server);
    node(&laptop, "they find each other", |reply| connected(reply, 2));
}

/// Both machines are at other ports than when they last met, and neither can tell the other. All that one has kept of the other
/// leads nowhere; the address that a person puts into `[sync] peers` on one of them is enough.
#[test]
fn a_configured_address_is_enough_for_two_machines_to_meet() {
    let mac = ready();
    let mut mac_daemon = start(&mac);
    let laptop = join(&mac, "laptop", &[]);
    let mut laptop_daemon = Daemon::start(&laptop);
    node(&mac, "both are equal", |reply| connected(reply, 1));
    node(&laptop, "both are equal", |reply| connected(reply, 1));
    let listening = |sandbox: &Sandbox| {
        let reply = node(sandbox, "it listens", |reply| reply["listening"][0].is_string());
        reply["listening"][0].as_str().unwrap().to_owned()
    };
    let before = [listening(&mac), listening(&laptop)];
    mac_daemon.stop();
    laptop_daemon.stop();
    // A daemon takes another port when its own is taken, and nobody answers there.
    // Somebody else may have it by now, which is as good.
    let _taken = before.each_ref().map(|address| UdpSocket::bind(address.as_str()).ok());
    mac_daemon.restart();
    laptop_daemon.restart();
    for (sandbox, other) in [(&mac, &before[1]), (&laptop, &before[0])] {
        let reply = node(sandbox, "it looks in vain", |reply| reply["peers"][0]["reason"] == "no_answer");
        assert!(text(&reply["peers"][0], "problem").contains(other.as_str()), "{reply}");
        assert!(!before.contains(&listening(sandbox)), "{reply}");
    }

    let (key, address) = (text(&person(&mac).do_("node", json!({})), "node").to_owned(), listening(&mac));
    laptop_daemon.stop();
    let folder = laptop.home().join(".config/ctxnode");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("config.toml"), format!("[sync]\npeers = [\"{key}@{address}\"]\n")).unwrap();
    laptop_daemon.restart();
    node(&laptop, "it is where the configuration says", |reply| {
        connected(reply, 1) && reply["peers"][0]["address"] == address.as_str()
    });
    node(&mac, "the other side says so too", |reply| connected(reply, 1));
}
