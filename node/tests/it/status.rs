//! What `ctxnode status` says of two machines that were apart: where sessions live, who claims the same, what one lacks of the
//! other and for how long, what is still to be decided. And what programs read of it.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};

use ctxnode_api::Call;
use ctxnode_api::node::NodeReply;
use ctxnode_testkit::{Daemon, Sandbox};
use serde_json::{Value, json};

use crate::commands::settled;
use crate::fleet::{connected, join, node, until};
use crate::support::{SOON, agent, alpha_repo, ctxnode, person, printed, ready, start, text};

/// Far more lines than a test waits for.
const MOST_LINES: usize = 64;

/// What is printed, as words: lines are broken at 80 characters.
fn shown(sandbox: &Sandbox) -> (String, Option<i32>) {
    let output = ctxnode(sandbox, &["status"]);
    let printed = printed(&output);
    assert!(printed.lines().all(|line| line.chars().count() <= 80), "{printed}");
    (printed.split_whitespace().collect::<Vec<_>>().join(" "), output.status.code())
}

fn both_equal(one: &Sandbox, other: &Sandbox) {
    node(one, "both are equal", |reply| connected(reply, 1));
    node(other, "here too", |reply| connected(reply, 1));
}

/// A session is counted where it runs; the other machine shows it in the line of that one.
#[test]
fn sessions_are_counted_on_the_machine_where_they_live() {
    let mac = ready();
    let _mac_daemon = start(&mac);
    let laptop = join(&mac, "laptop", &[]);
    let _laptop_daemon = Daemon::start(&laptop);
    both_equal(&mac, &laptop);
    let repo = alpha_repo(&laptop, "console");
    agent(&laptop, "claude-laptop-00000001", repo.path()).do_("sod", json!({}));
    let of_mac = node(&mac, "it is heard of", |reply| reply["peers"][0]["active_sessions"] == 1);
    assert_eq!(of_mac["active_sessions"], 0, "it does not live here");
    let of_laptop = node(&laptop, "it lives", |reply| reply["active_sessions"] == 1);
    assert_eq!(of_laptop["peers"][0]["active_sessions"], 0);
    assert!(shown(&mac).0.contains("sessions: 0 alive here"), "{}", shown(&mac).0);
    assert!(shown(&laptop).0.contains("sessions: 1 alive here"), "{}", shown(&laptop).0);
}

/// W-04: of two machines that claimed one issue while they were apart, both name both holders and the same winner; what the
/// one that was away lacks is shown with its age meanwhile.
#[test]
fn w_04_both_machines_say_which_claims_clash_and_what_an_absent_one_lacks() {
    let mac = ready();
    let mut mac_daemon = start(&mac);
    let laptop = join(&mac, "laptop", &[]);
    let mut laptop_daemon = Daemon::start(&laptop);
    both_equal(&mac, &laptop);
    let (home, away) = (alpha_repo(&mac, "console"), alpha_repo(&laptop, "console"));
    let (claude, codex) =
        (agent(&mac, "claude-mac-00000001", home.path()), agent(&laptop, "codex-laptop-00000002", away.path()));
    let take = json!({ "kind": "issue", "key": "87" });
    laptop_daemon.stop();
    claude.do_("sod", json!({}));
    claude.do_("claim.take", take.clone());
    let lacking = node(&mac, "it is known since when it lacks something", |reply| {
        reply["peers"][0]["unsent"].as_u64() > Some(1) && reply["peers"][0]["unacknowledged_seconds"].is_u64()
    });
    assert_eq!((&lacking["peers"][0]["they_lack"], text(&lacking["peers"][0], "state")), (&Value::Null, "unreachable"));
    let unsent = lacking["peers"][0]["unsent"].as_u64().unwrap();
    assert!(shown(&mac).0.contains(&format!("{unsent} entries of this node")), "{}", shown(&mac).0);
    mac_daemon.stop();
    laptop_daemon.restart();
    codex.do_("sod", json!({}));
    codex.do_("claim.take", take);
    mac_daemon.restart();
    both_equal(&mac, &laptop);
    for machine in [&mac, &laptop] {
        let reply = node(machine, "the clash is seen", |reply| reply["clashes"][0].is_object());
        let clash = &reply["clashes"][0];
        assert_eq!((text(clash, "venture"), text(clash, "kind"), text(clash, "key")), ("alpha", "issue", "87"));
        assert!(text(clash, "winner").starts_with("claude-mac-00000001 on "), "{clash}");
        assert!(text(clash, "loser").starts_with("codex-laptop-00000002 on "), "{clash}");
        let (said, exit) = shown(machine);
        assert_eq!(exit, Some(2), "{said}");
        let line = format!("issue 87: {} and {} both hold it", text(clash, "winner"), text(clash, "loser"));
        assert!(said.contains(&line) && said.contains("`ctxnode claim list`"), "{said}");
        assert_eq!(reply["peers"][0]["unacknowledged_seconds"], Value::Null, "all has arrived: {reply}");
    }
}

/// A title that was written on two machines while they were apart is named by both, with the command that ends it, until that
/// was typed on one of them; a start tells it too.
#[test]
fn what_is_to_be_decided_is_named_with_its_command_until_it_is_decided() {
    let mac = ready();
    let mut mac_daemon = start(&mac);
    let laptop = join(&mac, "laptop", &[]);
    let mut laptop_daemon = Daemon::start(&laptop);
    both_equal(&mac, &laptop);
    let note = json!({ "title": "plan", "content": "x", "venture": "alpha", "human_requested": true });
    let id = text(&person(&mac).do_("note.create", note), "id").to_owned();
    let repo = alpha_repo(&laptop, "console");
    both_equal(&mac, &laptop);
    agent(&laptop, "claude-laptop-00000001", repo.path()).do_("sod", json!({}));
    both_equal(&mac, &laptop);
    let title =
        |title: &str| Call::new("note.update", json!({ "title": title, "human_requested": true })).param("id", &id);
    laptop_daemon.stop();
    person(&mac).ok(&title("plan of mac"));
    mac_daemon.stop();
    laptop_daemon.restart();
    person(&laptop).ok(&title("plan of laptop"));
    mac_daemon.restart();
    both_equal(&mac, &laptop);
    let message = format!("{id} (plan of laptop) has two values of title");
    let mut fix = String::new();
    for machine in [&mac, &laptop] {
        let reply = node(machine, "it is named", |reply| reply["unresolved_count"] == 1);
        assert_eq!(reply["unresolved"][0], json!({ "id": id, "name": "plan of laptop", "fields": ["title"] }));
        let found = reply["attention"].as_array().unwrap().iter().find(|found| found["message"] == message.as_str());
        fix = text(found.unwrap_or_else(|| panic!("{reply:#}")), "fix").to_owned();
        let (said, exit) = shown(machine);
        assert!(exit == Some(2) && said.contains(&message), "{said}");
        let doctor = printed(&ctxnode(machine, &["doctor"]));
        assert!(doctor.contains("has two values of title"), "{doctor}");
    }
    // What came is told to whoever goes on there, with the command.
    node(&laptop, "it is back", |reply| reply["arrived"].to_string().contains("has two values of title"));
    let started = agent(&laptop, "claude-laptop-00000001", repo.path()).do_("sod", json!({}));
    assert!(started["warnings"].to_string().contains(&format!("ctxnode note resolve {id} --field title")), "{started}");
    // Only what the fix says is typed.
    let commands: Vec<&str> = fix.split('`').skip(1).step_by(2).collect();
    let [look, choose] = commands.as_slice() else { panic!("{fix}") };
    let typed = |command: &str, more: &[&str]| {
        let words: Vec<&str> = command.split(' ').skip(1).map(|word| if word == "N" { "2" } else { word }).collect();
        let output = ctxnode(&laptop, &[words.as_slice(), more].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{command}: {said}");
        said
    };
    assert!(typed(look, &[]).contains("2. plan of mac"), "both are shown");
    typed(choose, &["--human-requested"]);
    for machine in [&mac, &laptop] {
        node(machine, "it is decided", |reply| {
            reply["unresolved_count"] == 0 && !reply["attention"].to_string().contains("two values")
        });
        assert!(!shown(machine).0.contains("two values"));
    }
}

/// `ctxnode status --watch --json`; ended when dropped.
struct Watched {
    child: Child,
    lines: Receiver<String>,
}

impl Watched {
    fn start(sandbox: &Sandbox) -> Self {
        let mut command = sandbox.command("ctxnode");
        command.args(["status", "--watch", "--json"]).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = sync_channel(MOST_LINES);
        std::thread::spawn(move || output.lines().map_while(Result::ok).all(|line| sender.send(line).is_ok()));
        Self { child, lines }
    }

    /// Waits for the next line, which is an object.
    fn next(&self) -> Value {
        let line = self.lines.recv_timeout(SOON).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // One that has ended already cannot be killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program that follows the status gets the object of the API, on a line of its own, at once and for each change. Looks that
/// find no change give it nothing.
#[test]
fn a_program_that_watches_the_status_gets_one_object_per_change() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    let watched = Watched::start(&sandbox);
    assert_eq!(watched.next()["active_sessions"], 0);
    let looks = Call::new("request-log", json!({ "operation": "node" }));
    until(&sandbox, "it has looked again", &looks, |list| list["total"].as_u64() > Some(1));
    agent(&sandbox, "claude-mac-00000001", repo.path()).do_("sod", json!({}));
    let changed = watched.next();
    assert_eq!(changed["active_sessions"], 1, "nothing came between: {changed}");
    assert_eq!(settled(changed.clone()), settled(person(&sandbox).do_("node", json!({}))));
    let reply: NodeReply = serde_json::from_value(changed).unwrap();
    assert_eq!((reply.active_sessions, reply.attention), (1, Vec::new()));
}

/// Whoever asks for the status of a daemon that does not answer is told so by the exit code, whether none has ever run or one was
/// killed; where there is nothing that could be started, that is what is said.
#[test]
fn a_status_without_a_daemon_ends_with_its_own_exit_code() {
    let killed = ready();
    drop::<Daemon<'_>>(start(&killed));
    for sandbox in [&killed, &Sandbox::new()] {
        let output = ctxnode(sandbox, &["status"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(3) && said.contains("does not answer"), "{said}");
        assert!(output.stdout.is_empty() && said.contains("ctxnode daemon start"), "{said}");
        let output = ctxnode(sandbox, &["status", "--json"]);
        let error: Value = serde_json::from_str(&printed(&output)).unwrap();
        assert_eq!((output.status.code(), text(&error, "code")), (Some(3), "daemon_unreachable"));
    }
    let empty = Sandbox::new();
    let mut command = empty.command("ctxnode");
    let output = command.env_remove("CTXNODE_NO_AUTOSTART").arg("status").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.code() == Some(1) && said.contains("no replica at") && said.contains("ctxnode init"),
        "{said}"
    );
}
