//! Away from the desk: field mode, its process, its budget, and coming back.

use std::process::{Child, Command, Stdio};

use ctxnode_api::Call;
use ctxnode_testkit::{Daemon, Sandbox, wait_until};
use serde_json::{Value, json};

use crate::fleet::{connected, join, node, until};
use crate::support::{SOON, agent, alpha_repo, ctxnode, person, printed, ready, script, start, text};

/// Stands in for both programs: notes how it was called, and stays.
const KEEPER: &str = "echo \"$0 $*\" >> \"$HOME/keepers\"\nexec sleep 600";

fn field(sandbox: &Sandbox) -> Value {
    script(sandbox).ok(&Call::new("field.get", json!({})))
}

fn is_running(pid: u64) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !state.is_empty() && !state.contains(") Z ")
}

/// A process that is reaped with the test.
struct Reaped(Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn keepers(sandbox: &Sandbox) -> String {
    std::fs::read_to_string(sandbox.home().join("keepers")).unwrap_or_default()
}

/// T-06: the process that `on` started is gone after `off`, another one of the user lives; off twice does nothing; a
/// restarted daemon knows the process, and `on` again leaves one.
#[cfg(target_os = "linux")]
#[test]
fn t_06_off_ends_exactly_the_process_that_on_started() {
    let sandbox = ready();
    let program = sandbox.fake_program("systemd-inhibit", KEEPER);
    let mut daemon = start(&sandbox);
    let other = Command::new(&program).arg("mine").env("HOME", sandbox.home()).stdin(Stdio::null()).spawn().unwrap();
    let other = Reaped(other);
    let on = ctxnode(&sandbox, &["field", "on", "--display-sleep", "--for", "2h", "--json"]);
    assert!(on.status.success(), "{}", String::from_utf8_lossy(&on.stderr));
    let view: Value = serde_json::from_str(&printed(&on)).unwrap();
    let first = view["awake"]["pid"].as_u64().unwrap();
    assert!(is_running(first) && view["on"] == true, "{view}");
    let called = keepers(&sandbox);
    assert!(called.contains("--what=sleep --who=ctxnode") && called.contains("sleep 7200"), "{called}");
    daemon.restart();
    assert_eq!(field(&sandbox)["awake"]["pid"].as_u64(), Some(first), "the process outlives the daemon");
    let again = person(&sandbox).do_("field.on", json!({}));
    let second = again["awake"]["pid"].as_u64().unwrap();
    assert!(second != first && is_running(second));
    wait_until(SOON, "there is one process only", || !is_running(first));
    for _ in 0..2 {
        let off = ctxnode(&sandbox, &["field", "off", "--json"]);
        assert!(off.status.success(), "{}", String::from_utf8_lossy(&off.stderr));
        wait_until(SOON, "it is gone", || !is_running(second));
        let view: Value = serde_json::from_str(&printed(&off)).unwrap();
        assert_eq!((&view["on"], &view["awake"]), (&json!(false), &Value::Null));
    }
    assert!(is_running(u64::from(other.0.id())), "the user's own process lives");
}

#[cfg(target_os = "linux")]
#[test]
fn t_06_a_machine_that_cannot_be_kept_awake_says_so_and_starts_again_after_a_boot() {
    let sandbox = ready();
    sandbox.fake_program("systemd-inhibit", "exit 1");
    let mut daemon = start(&sandbox);
    let view = person(&sandbox).do_("field.on", json!({ "every": "15m", "budget": "20MB" }));
    assert!(text(&view, "awake_problem").contains("systemd-inhibit"), "{view}");
    assert_eq!((&view["every_seconds"], &view["budget_bytes"]), (&json!(900), &json!(20_000_000)));
    let refused = person(&sandbox).refused_("field.on", json!({ "every": "1s", "budget": "many", "for": "x" }));
    let fields: Vec<&str> = refused.details.iter().map(|detail| detail.field.as_str()).collect();
    assert_eq!(fields, ["every", "for", "budget"]);
    // As after a boot: the setting is there and the process is not.
    sandbox.fake_program("systemd-inhibit", KEEPER);
    daemon.restart();
    until(&sandbox, "it runs", &Call::new("field.get", json!({})), |view| view["awake"]["pid"].is_u64());
    let view = field(&sandbox);
    assert_eq!((&view["on"], &view["every_seconds"]), (&json!(true), &json!(900)));
    person(&sandbox).do_("field.off", json!({}));
}

/// T-07: on the address of a phone's hotspot, the hotspot and the `.local` name are shown; servers that do not answer
/// are said.
#[test]
fn t_07_a_hotspot_is_recognised_and_silent_servers_are_said() {
    let mac = ready();
    let mut mac_daemon = start(&mac);
    let laptop = join(&mac, "laptop", &[]);
    mac_daemon.stop();
    // It listens at an address that this machine does not have, so that it reaches nobody.
    let mut command = laptop.command("ctxnode");
    command.args(["daemon", "run"]).env("CTXNODE_SYNC_BIND", "172.20.10.3").stdout(Stdio::null()).stderr(Stdio::null());
    let _daemon = Reaped(command.spawn().unwrap());
    wait_until(SOON, "it answers", || script(&laptop).ask(&Call::new("health", json!({}))).is_ok());
    let view = field(&laptop);
    assert_eq!((text(&view, "network"), &view["on"], &view["servers"]), ("hotspot", &json!(false), &json!([])));
    let cautions = view["cautions"].to_string();
    assert!(cautions.contains("no other machine answers") && cautions.contains("90 seconds"), "{view}");
    assert!(text(&view, "local_name").ends_with(".local"));
    let shown = printed(&ctxnode(&laptop, &["field", "status"]));
    assert!(shown.contains("hotspot") && shown.contains(text(&view, "local_name")), "{shown}");
    // It cannot listen, and status says so with the exit code of a failure.
    until(&laptop, "it has tried", &Call::new("node", json!({})), |reply| reply["listening_problem"].is_string());
    let status = ctxnode(&laptop, &["status"]);
    assert_eq!(status.status.code(), Some(1), "{}", printed(&status));
    assert!(printed(&status).contains("cannot listen"), "{}", printed(&status));
}

fn note(sandbox: &Sandbox, content: &str) -> String {
    let made = person(sandbox).do_("note.create", json!({ "content": content, "human_requested": true }));
    text(&made, "id").to_owned()
}

fn has(sandbox: &Sandbox, id: &str) -> bool {
    script(sandbox).ask(&Call::new("note.get", json!({})).param("id", id)).is_ok()
}

fn peer<'a>(reply: &'a Value, name: &str) -> &'a Value {
    reply["peers"].as_array().unwrap().iter().find(|peer| peer["name"] == name).unwrap()
}

/// In field mode nothing goes over the network until it is asked for; then all of it does. The other side knows why it
/// is silent, and what was not sent is shown, also after a restart.
#[test]
fn in_field_mode_entries_wait_until_they_are_asked_for() {
    let mac = ready();
    let _mac_daemon = start(&mac);
    let laptop = join(&mac, "laptop", &[]);
    let mut laptop_daemon = Daemon::start(&laptop);
    node(&mac, "both are equal", |reply| connected(reply, 1));
    person(&laptop).do_("field.on", json!({ "keep_awake": false }));
    let quiet = node(&mac, "it has left", |reply| peer(reply, "laptop")["reason"] == "away");
    assert_eq!(quiet["attention"], json!([]), "that is no fault: {quiet}");
    assert_eq!(ctxnode(&mac, &["status"]).status.code(), Some(0));
    node(&laptop, "here too", |reply| reply["peers"][0]["state"] == "unreachable");
    let (there, here) = (note(&laptop, "from the train"), note(&mac, "from the desk"));
    until(&laptop, "it is counted", &Call::new("field.get", json!({})), |view| view["unsent"] == 1);
    laptop_daemon.stop();
    laptop_daemon.restart();
    let view = field(&laptop);
    assert_eq!((&view["on"], &view["unsent"]), (&json!(true), &json!(1)), "{view}");
    let status = printed(&ctxnode(&laptop, &["status"]));
    assert!(status.contains("on demand") && status.contains("1 entry unsent"), "{status}");
    // The other machine would dial; it is told to leave this one alone, whoever asks.
    assert!(ctxnode(&mac, &["fleet", "sync"]).status.success());
    assert!(!has(&mac, &there) && !has(&laptop, &here));
    assert!(ctxnode(&laptop, &["fleet", "sync"]).status.success());
    wait_until(SOON * 2, "both have both", || has(&mac, &there) && has(&laptop, &here));
    node(&laptop, "it leaves again", |reply| reply["peers"][0]["state"] == "unreachable");
    assert_eq!(field(&laptop)["unsent"], 0);
    let later = note(&laptop, "later");
    person(&laptop).do_("field.off", json!({}));
    wait_until(SOON * 2, "it keeps in touch again", || has(&mac, &later));
}

/// When the bytes of the day are used up, nothing more goes, and that is said.
#[test]
fn a_budget_that_is_used_up_stops_the_traffic_and_is_said() {
    let mac = ready();
    let _mac_daemon = start(&mac);
    let laptop = join(&mac, "laptop", &[]);
    let _laptop_daemon = Daemon::start(&laptop);
    node(&mac, "both are equal", |reply| connected(reply, 1));
    person(&laptop).do_("field.on", json!({ "keep_awake": false, "budget": "3MB" }));
    node(&laptop, "it has left", |reply| reply["peers"][0]["state"] == "unreachable");
    // Text that does not compress, far beyond the budget.
    let noise = |seed: u64| -> String {
        let mut state = seed;
        let step = |at: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let letter = char::from(b'a' + u8::try_from((state >> 33) % 26).unwrap());
            if at.is_multiple_of(8) { ' ' } else { letter }
        };
        (0..200_000).map(step).collect()
    };
    let ids: Vec<String> = (1..=36).map(|seed| note(&mac, &noise(seed))).collect();
    person(&laptop).do_("peer.wake", json!({}));
    let used = until(&laptop, "they are used up", &Call::new("field.get", json!({})), |view| view["used_up"] == true);
    assert!(used["used_bytes"].as_u64().unwrap() < 4_000_000, "{used}");
    let reply = node(&laptop, "it has left again", |reply| reply["peers"][0]["state"] == "unreachable");
    assert!(reply["attention"].to_string().contains("used up"), "{reply}");
    assert!(ids.iter().any(|id| !has(&laptop, id)));
    assert_eq!(ctxnode(&laptop, &["status"]).status.code(), Some(2));
    person(&laptop).do_("field.off", json!({}));
    wait_until(SOON * 2, "the rest comes", || ids.iter().all(|id| has(&laptop, id)));
}

/// What changed elsewhere is told at the next start, once, and shown by the status after this machine was away.
#[test]
fn what_came_while_away_is_told_once() {
    let mac = ready();
    let mut mac_daemon = start(&mac);
    let laptop = join(&mac, "laptop", &[]);
    let _laptop_daemon = Daemon::start(&laptop);
    node(&mac, "both are equal", |reply| connected(reply, 1));
    let (home, away) = (alpha_repo(&mac, "console"), alpha_repo(&laptop, "console"));
    let claude = agent(&mac, "claude-mac-00000001", home.path());
    let told = |reply: &Value| {
        let lines = reply["warnings"].as_array().unwrap().iter().filter_map(Value::as_str);
        lines.filter(|line| line.contains("since the last start")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(told(&claude.do_("sod", json!({}))), Vec::<String>::new());
    mac_daemon.stop();
    let codex = agent(&laptop, "codex-laptop-00000002", away.path());
    codex.do_("sod", json!({}));
    codex.do_("claim.take", json!({ "kind": "branch", "key": "dev/y" }));
    let one = note(&laptop, "one");
    note(&laptop, "two");
    codex.do_("eod", json!({ "status": "in_progress", "in_progress": ["half"], "next_steps": ["go on"] }));
    mac_daemon.restart();
    wait_until(SOON * 2, "it came", || has(&mac, &one));
    let reply = node(&mac, "status says so", |reply| reply["arrived"].is_object());
    assert_eq!(reply["arrived"]["records"], json!({ "claim": 1, "handoff": 1, "note": 2 }), "{reply}");
    let status = printed(&ctxnode(&mac, &["status"]));
    assert!(status.contains("1 claim, 1 handoff, 2 notes from laptop"), "{status}");
    let again = told(&claude.do_("sod", json!({})));
    assert_eq!(again, ["since the last start here, 1 handoff, 2 notes, 1 claim changed on laptop"]);
    assert_eq!(told(&claude.do_("sod", json!({}))), Vec::<String>::new());
    let other = agent(&mac, "gemini-mac-00000003", home.path());
    assert_eq!(told(&other.do_("sod", json!({}))), Vec::<String>::new(), "the machine was told");
}
