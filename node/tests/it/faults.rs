//! Faults of the machine: kill -9 under load, a second daemon, lost sockets and indexes, wrong modes, a full disk,
//! flipped bytes.

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ctxnode_api::{Call, Client, ClientError, Endpoint};
use ctxnode_testkit::{Sandbox, wait_until};
use serde_json::{Value, json};

use crate::support::{SOON, agent, block_on, ctxnode, found, person, printed, ready, start, text};

fn note(content: &str) -> Call {
    Call::new("note.create", json!({ "content": content, "human_requested": true }))
}

/// Checks every entry and the index.
fn is_sound(sandbox: &Sandbox) {
    wait_until(SOON, "the index holds what the store holds", || {
        let checked: Value = serde_json::from_str(&printed(&ctxnode(sandbox, &["check", "--json"]))).unwrap();
        assert_eq!(checked["ok"], true, "{checked}");
        checked["search_agrees"] == true
    });
}

/// what was acknowledged is there after kill -9, and starting needs no human.
#[test]
fn q_06_kill_under_write_load_loses_nothing_that_was_acknowledged() {
    let sandbox = ready();
    let mut daemon = start(&sandbox);
    let mut acknowledged: Vec<String> = Vec::new();
    for round in 0..20 {
        let acks = Arc::new(AtomicUsize::new(0));
        let written = block_on(async {
            let mut tasks = tokio::task::JoinSet::new();
            for writer in 0..4 {
                let (socket, acks) = (sandbox.socket(), Arc::clone(&acks));
                tasks.spawn(async move {
                    let client = Client::new(Endpoint::Socket(socket));
                    let mut client = client.with_header(ctxnode_api::headers::CALLER, "import").unwrap();
                    let mut ids = Vec::new();
                    // Ends with the daemon.
                    while let Ok(answer) = client.call(&note(&format!("{round} {writer} {}", ids.len()))).await {
                        ids.push(answer.body["id"].as_str().unwrap().to_owned());
                        acks.fetch_add(1, Ordering::SeqCst);
                    }
                    ids
                });
            }
            // At another moment each round, in every second one after something was acknowledged for sure.
            let mut probe = Client::new(Endpoint::Socket(sandbox.socket()));
            let mut asked = 0;
            while asked <= round % 7 || (round % 2 == 1 && acks.load(Ordering::SeqCst) == 0) {
                asked += 1;
                probe.call(&Call::new("health", json!({}))).await.unwrap();
            }
            daemon.kill();
            tasks.join_all().await.concat()
        });
        acknowledged.extend(written);
        daemon.restart();
    }
    assert!(!acknowledged.is_empty());
    let ada = person(&sandbox);
    let mut known = std::collections::BTreeSet::new();
    let mut query = json!({ "limit": 100, "include_global": true });
    loop {
        let page = ada.do_("note.list", query.clone());
        known.extend(page["items"].as_array().unwrap().iter().map(|row| text(row, "id").to_owned()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        query["cursor"] = cursor.into();
    }
    let lost: Vec<&String> = acknowledged.iter().filter(|id| !known.contains(*id)).collect();
    assert!(lost.is_empty(), "{} of {} lost", lost.len(), acknowledged.len());
    is_sound(&sandbox);
}

#[test]
fn m_13_a_second_daemon_is_refused_and_told_who_runs() {
    let sandbox = ready();
    let daemon = start(&sandbox);
    let second = ctxnode(&sandbox, &["daemon", "run"]);
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(1));
    assert!(said.contains(&format!("pid {}", daemon.pid())) && said.contains("started"), "{said}");
    person(&sandbox).do_("plan.get", json!({}));
}

/// Begins an export that never ends, since it writes into a pipe that nobody reads, and goes away.
fn begin_an_endless_export(sandbox: &Sandbox, name: &str) {
    let directory = sandbox.root().join(name);
    std::fs::create_dir(&directory).unwrap();
    let marker = directory.join(".ctxnode-export");
    std::fs::write(&marker, "").unwrap();
    assert!(sandbox.command("mkfifo").arg(directory.join("session.partial")).status().unwrap().success());
    let mut command = sandbox.command("ctxnode");
    command.args(["export", directory.to_str().unwrap()]).stdout(Stdio::null()).stderr(Stdio::null());
    let mut caller = command.spawn().unwrap();
    wait_until(SOON, "the export has begun", || std::fs::metadata(&marker).is_ok_and(|file| file.len() > 0));
    caller.kill().unwrap();
    caller.wait().unwrap();
}

/// What works on a thread without an end holds up neither a handover nor a stop. Until the daemon is gone the next one is
/// told that it runs, and never finds the lock free and the store in use.
#[test]
fn work_without_an_end_holds_up_no_handover_and_no_stop() {
    let sandbox = ready();
    let mut daemon = start(&sandbox);
    let ada = person(&sandbox);
    let health = Call::new("health", json!({}));
    ada.ok(&note("quokka"));
    begin_an_endless_export(&sandbox, "one");
    let handed = ctxnode(&sandbox, &["daemon", "handover"]);
    assert!(handed.status.success(), "{}", String::from_utf8_lossy(&handed.stderr));
    assert_eq!(ada.do_("node", json!({}))["pid"], daemon.pid());

    begin_an_endless_export(&sandbox, "two");
    assert!(Command::new("kill").arg(daemon.pid().to_string()).status().unwrap().success());
    let is_silent = || matches!(ada.ask(&health), Err(ClientError::Unreachable { .. }));
    wait_until(SOON, "it takes no more calls", is_silent);
    let mut next = loop {
        let mut command = sandbox.command("ctxnode");
        let mut next = command.args(["daemon", "run"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut ended = false;
        wait_until(SOON, "the next daemon answers or ends", || {
            ended = next.try_wait().unwrap().is_some();
            ended || ada.ask(&health).is_ok()
        });
        if !ended {
            break next;
        }
        let said = std::io::read_to_string(next.stderr.take().unwrap()).unwrap();
        assert!(said.contains("another daemon runs"), "{said}");
    };
    assert!(daemon.wait_for_exit().success());
    assert_eq!(ada.do_("note.list", json!({ "include_global": true }))["total"], 1);
    next.kill().unwrap();
    next.wait().unwrap();
}

/// A directory among the checkouts that never answers, as one below a dead mount, holds up neither who asks nor who writes.
#[test]
fn a_dead_directory_among_the_checkouts_holds_up_nobody() {
    let sandbox = ready();
    let dead = sandbox.dev_dir().join("dead/.git");
    std::fs::create_dir_all(&dead).unwrap();
    // Whoever reads it waits for somebody who writes.
    assert!(sandbox.command("mkfifo").arg(dead.join("config")).status().unwrap().success());
    let mut daemon = start(&sandbox);
    let ada = person(&sandbox);
    assert_eq!(ada.do_("venture.list", json!({}))["total"], 2);
    let elsewhere = agent(&sandbox, "claude-mac-1", &sandbox.home()).do_("sod", json!({ "venture": "alpha" }));
    assert_eq!(text(&elsewhere, "state"), "needs_clone");
    ada.ok(&note("quokka"));
    assert!(daemon.stop().success());
}

#[test]
fn a_lost_index_and_a_damaged_one_are_made_again() {
    let sandbox = ready();
    let mut daemon = start(&sandbox);
    let ada = person(&sandbox);
    ada.ok(&note("quokka one"));
    let query = json!({ "q": "quokka" });
    found(&ada, &query, |reply| reply["total"] == 1);
    daemon.stop();
    let index = sandbox.data_dir().join("index");
    std::fs::remove_dir_all(&index).unwrap();
    daemon.restart();
    found(&ada, &query, |reply| reply["total"] == 1);
    daemon.stop();
    for entry in std::fs::read_dir(&index).unwrap().flatten() {
        std::fs::write(entry.path(), b"damaged").unwrap();
    }
    daemon.restart();
    found(&ada, &query, |reply| reply["total"] == 1);
    // Lost while the daemon runs: the next write finds out.
    std::fs::remove_dir_all(&index).unwrap();
    ada.ok(&note("quokka two"));
    found(&ada, &query, |reply| reply["total"] == 2);
    is_sound(&sandbox);
}

#[test]
fn b_07_a_lost_socket_is_named_and_repaired_by_a_new_daemon() {
    let sandbox = ready();
    let mut daemon = start(&sandbox);
    std::fs::remove_file(sandbox.socket()).unwrap();
    let doctor = ctxnode(&sandbox, &["doctor"]);
    assert_eq!(doctor.status.code(), Some(1));
    assert!(printed(&doctor).contains(&format!("pid {} holds the store", daemon.pid())), "{}", printed(&doctor));
    daemon.restart();
    assert_ne!(ctxnode(&sandbox, &["doctor"]).status.code(), Some(1));
}

#[test]
fn b_07_wide_modes_are_named_and_repaired() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let key = sandbox.data_dir().join("node.key");
    for path in [sandbox.data_dir(), key.clone(), sandbox.socket()] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).unwrap();
    }
    let doctor = ctxnode(&sandbox, &["doctor"]);
    assert_eq!((doctor.status.code(), printed(&doctor).matches('✗').count()), (Some(1), 3), "{}", printed(&doctor));
    assert_ne!(ctxnode(&sandbox, &["doctor", "--fix"]).status.code(), Some(1));
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_backup_is_restored_and_search_works_on_it() {
    let sandbox = ready();
    let mut daemon = start(&sandbox);
    let ada = person(&sandbox);
    ada.ok(&note("quokka before"));
    let backup = ctxnode(&sandbox, &["backup", "saved", "--json"]);
    let backup: Value = serde_json::from_str(&printed(&backup)).unwrap();
    ada.ok(&note("quokka after"));
    let refused = ctxnode(&sandbox, &["restore", text(&backup, "path")]);
    assert_eq!(refused.status.code(), Some(1), "a running daemon stands in the way");
    daemon.stop();
    let restored = ctxnode(&sandbox, &["restore", text(&backup, "path")]);
    assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
    daemon.restart();
    found(&ada, &json!({ "q": "quokka" }), |reply| reply["total"] == 1);
    ada.ok(&note("quokka again"));
    is_sound(&sandbox);
    let damaged = sandbox.home().join("damaged.redb");
    std::fs::write(&damaged, vec![7_u8; 100_000]).unwrap();
    daemon.stop();
    assert_eq!(ctxnode(&sandbox, &["restore", damaged.to_str().unwrap()]).status.code(), Some(1));
    daemon.restart();
    assert_eq!(ada.do_("note.list", json!({ "include_global": true }))["total"], 2);
}

/// B-08: a damaged backup is known before it is needed, and the one before it still serves.
#[test]
fn b_08_a_damaged_backup_is_warned_of_and_the_one_before_restores() {
    let sandbox = ready();
    let mut daemon = start(&sandbox);
    let ada = person(&sandbox);
    ada.ok(&note("quokka kept"));
    let backup = || -> Value { serde_json::from_str(&printed(&ctxnode(&sandbox, &["backup", "--json"]))).unwrap() };
    let (before, last) = (backup(), backup());
    let row = || {
        let doctor: Value = serde_json::from_str(&printed(&ctxnode(&sandbox, &["doctor", "--json"]))).unwrap();
        let rows = doctor["checks"].as_array().unwrap();
        rows.iter().find(|row| row["name"] == "backup file").cloned().unwrap()
    };
    assert_eq!(row()["state"], "pass");
    let mut bytes = std::fs::read(text(&last, "path")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(text(&last, "path"), bytes).unwrap();
    assert_eq!((row()["state"].as_str(), text(&row(), "message").contains("damaged")), (Some("warn"), true));
    daemon.stop();
    let restored = ctxnode(&sandbox, &["restore", text(&before, "path"), "--json"]);
    assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
    let restored: Value = serde_json::from_str(&printed(&restored)).unwrap();
    assert_eq!((&restored["records"], &restored["entries"]), (&before["records"], &before["entries"]));
    daemon.restart();
    found(&ada, &json!({ "q": "quokka" }), |reply| reply["total"] == 1);
    is_sound(&sandbox);
}

#[test]
fn a_read_only_data_directory_is_an_answer_that_names_it() {
    let sandbox = ready();
    let data = sandbox.data_dir();
    let script =
        format!("mount --bind {0} {0} && mount -o remount,ro,bind {0} && exec ctxnode daemon run", data.display());
    let output = sandbox.command("unshare").args(["-m", "sh", "-c", &script]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if said.contains("unshare:") || said.contains("mount:") {
        // No right to mount here.
        return;
    }
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&data.display().to_string()) && said.contains("hint:"), "{said}");
    drop(start(&sandbox));
}

#[test]
fn a_full_disk_is_an_answer_and_costs_nothing() {
    let sandbox = ready();
    // A disk of its own, in a mount namespace that ends with the daemon.
    let data = sandbox.data_dir();
    let script = format!(
        "cp -a {0} {0}.copy && mount -t tmpfs -o size=6m,mode=700 none {0} && cp -a {0}.copy/. {0}/ && exec ctxnode daemon run",
        data.display()
    );
    let mut command = sandbox.command("unshare");
    let Ok(mut daemon) = command.args(["-m", "sh", "-c", &script]).spawn() else { return };
    let ada = person(&sandbox);
    let answers = || ada.ask(&Call::new("health", json!({}))).is_ok();
    wait_until(SOON, "the daemon answers or cannot be mounted", || answers() || daemon.try_wait().unwrap().is_some());
    if daemon.try_wait().unwrap().is_some() {
        // No right to mount here.
        return;
    }
    let client = Client::new(Endpoint::Socket(sandbox.socket()));
    let (stored, refused) = block_on(async {
        let mut client = client.with_header(ctxnode_api::headers::CALLER, "import").unwrap();
        let mut stored = 0_u64;
        loop {
            // Text that does not compress.
            let content: String =
                (0..200_000_u64).map(|n| char::from(b'a' + (n.wrapping_mul(n + stored) % 25) as u8)).collect();
            match client.call(&note(&content)).await {
                Ok(_) => stored += 1,
                Err(ClientError::Refused(body)) => return (stored, body),
                Err(error) => panic!("{error:?}"),
            }
        }
    });
    assert_eq!(refused.code, ctxnode_api::ErrorCode::StorageFailed, "{refused:?}");
    assert!(refused.message.contains("full"), "{refused:?}");
    // The file is opened anew after a failed write; a read in that moment is told so.
    let all = Call::new("note.list", json!({ "include_global": true }));
    wait_until(SOON, "the store reads again", || ada.ask(&all).is_ok());
    assert_eq!(ada.ok(&all)["total"], stored);
    let stopped = Command::new("kill").arg(daemon.id().to_string()).status().unwrap();
    assert!(stopped.success());
    daemon.wait().unwrap();
}

#[test]
fn flipped_bytes_are_never_a_wrong_answer() {
    let sandbox = ready();
    let mut daemon = start(&sandbox);
    let ada = person(&sandbox);
    (0..20).for_each(|n| drop(ada.ok(&note(&format!("quokka {n} {}", "text ".repeat(500))))));
    daemon.stop();
    let path = sandbox.data_dir().join("store.redb");
    let whole = std::fs::read(&path).unwrap();
    for turn in 0..6_usize {
        let mut bytes = whole.clone();
        let at = (turn * 7_919 + 4_096) * 31 % bytes.len();
        bytes[at..(at + 64).min(whole.len())].iter_mut().for_each(|byte| *byte ^= 0x5a);
        std::fs::write(&path, &bytes).unwrap();
        let mut child = sandbox.command("ctxnode").args(["daemon", "run"]).stderr(Stdio::piped()).spawn().unwrap();
        let mut ended = false;
        wait_until(SOON, "the daemon answers or ends", || {
            ended = child.try_wait().unwrap().is_some();
            ended || ada.ask(&Call::new("health", json!({}))).is_ok()
        });
        if ended {
            let said = std::io::read_to_string(child.stderr.take().unwrap()).unwrap();
            assert!(said.contains("error:") && said.contains("hint:") && !said.contains("panicked"), "{said}");
        } else {
            // It runs: then a check says what is wrong, or the bytes were free space and all is well.
            let checked = ctxnode(&sandbox, &["check", "--json"]);
            assert_ne!(checked.status.code(), Some(3), "the daemon died: {}", printed(&checked));
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
    std::fs::write(&path, &whole).unwrap();
    daemon.restart();
    assert_eq!(ada.do_("note.list", json!({ "include_global": true }))["total"], 20);
}
