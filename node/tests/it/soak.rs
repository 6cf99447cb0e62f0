//! Many agents at once for a while: their hooks all end well, none of their heartbeats is missed, and nothing is left running.
//!
//! What it takes in time is measured by the bench, not here: a busy machine must not fail the suite.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use ctxnode_api::Iso;
use ctxnode_testkit::{Sandbox, soak_time, wait_until};
use serde_json::{Value, json};

use crate::hooks::Cli;
use crate::support::{SOON, alpha_repo, person, ready, start, text};

const CLIS: [&str; 4] = ["claude", "codex", "gemini", "agy"];
const SESSIONS: usize = 20;
/// How long one hook may take here: its own limit is a second, and twenty processes may wait for one core.
const LIMIT: Duration = Duration::from_secs(20);

/// The events of one turn of a CLI, each with its input.
fn turn(name: &str, conversation: &str, number: usize, checkout: &Path) -> Vec<(&'static str, Value)> {
    let id = format!("{conversation}-{number}");
    let base = json!({ "session_id": conversation, "cwd": checkout, "prompt_id": id, "tool_use_id": id });
    let of = |fields: Value| {
        let mut event = base.clone();
        event.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        event
    };
    let tool = match name {
        "claude" => "Edit",
        "codex" => "apply_patch",
        "gemini" => "replace",
        _ => "write_to_file",
    };
    let file = format!("src/f{}.rs", number % 7);
    let patch = format!("*** Begin Patch\n*** Update File: {file}\n@@\n-a\n+b\n*** End Patch");
    let edit = json!({ "tool_name": tool, "tool_input": { "file_path": file, "TargetFile": file, "command": patch } });
    // Some commands fail, and some of those again.
    let code = usize::from(number % 5 < 3);
    let shell = json!({ "tool_name": "Bash", "tool_use_id": format!("{id}-b"), "tool_input": { "command": "make" },
        "tool_response": { "output": "no rule", "exit_code": code } });
    let mut events = vec![
        ("prompt", of(json!({ "prompt": "go on" }))),
        ("before-tool", of(edit.clone())),
        ("after-tool", of(edit)),
        ("after-tool", of(shell)),
        ("stop", of(json!({ "last_assistant_message": format!("done {number}") }))),
    ];
    if number % 6 == 5 && name != "agy" {
        events.push(("before-compact", of(json!({ "trigger": "auto" }))));
        events.push(("session-start", of(json!({ "source": "compact" }))));
    }
    events
}

/// What one agent did.
struct Worked {
    events: usize,
    /// When its last event began, in milliseconds since 1970.
    last: i64,
}

fn work(sandbox: &Sandbox, index: usize, checkout: &Path, end: Instant) -> Worked {
    let name = CLIS[index % CLIS.len()];
    let conversation = format!("conversation-{index}");
    let mut cli = Cli::start(sandbox, name, checkout).of_many(LIMIT);
    let begin = json!({ "session_id": conversation, "cwd": checkout, "source": "startup" });
    cli.hook("session-start", &begin);
    let mut worked = Worked { events: 1, last: 0 };
    let mut number = 0;
    // Each gets some turns, however busy the machine is.
    while number < 2 || Instant::now() < end {
        for (event, input) in turn(name, &conversation, number, checkout) {
            worked.last = jiff::Timestamp::now().as_millisecond();
            // A code other than 0 fails in there, and so does one that takes too long.
            let printed = cli.hook(event, &input);
            assert!(printed.is_empty() || serde_json::from_str::<Value>(&printed).is_ok(), "{name} {event}: {printed}");
            worked.events += 1;
        }
        number += 1;
    }
    worked
}

/// The processes that live in the sandbox, by pid: its environment is theirs.
fn processes(sandbox: &Sandbox) -> BTreeSet<u32> {
    let home = format!("HOME={}", sandbox.home().display());
    let system = sysinfo::System::new_all().unwrap();
    let inside = system.processes().iter().filter(|(_, process)| {
        process.thread_kind().is_none()
            && process.status() != sysinfo::ProcessStatus::Zombie
            && process.environ().iter().any(|variable| *variable == *home)
    });
    inside.map(|(pid, _)| pid.as_u32()).collect()
}

/// C-05, as far as a suite can: twenty sessions of all CLIs at once, `CTXNODE_TEST_SOAK_SECONDS` long.
#[test]
fn c_05_twenty_agents_at_once_lose_nothing_and_leave_nothing() {
    let sandbox = ready();
    let daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    repo.commit("src/f0.rs", "a");
    // Before any of them runs.
    for name in CLIS {
        drop(Cli::start(&sandbox, name, repo.path()));
    }
    let end = Instant::now() + soak_time();
    let all: Vec<Worked> = std::thread::scope(|scope| {
        let (sandbox, checkout) = (&sandbox, repo.path());
        let working: Vec<_> =
            (0..SESSIONS).map(|index| scope.spawn(move || work(sandbox, index, checkout, end))).collect();
        working.into_iter().map(|agent| agent.join().unwrap()).collect()
    });
    let events: usize = all.iter().map(|worked| worked.events).sum();
    assert!(events >= SESSIONS * 11, "{events}");

    // What a hook could not tell the daemon in time waits on disk, and the daemon takes it in; nothing is lost.
    let waits = ["hooks.spool", "hooks.spool.replay"].map(|name| sandbox.state_dir().join(name));
    // It looks every minute.
    wait_until(SOON * 4, "the spool is empty", || waits.iter().all(|file| !file.exists()));
    assert!(!sandbox.state_dir().join("hooks.dropped").exists(), "events were lost");
    let list = person(&sandbox).do_("session.list", json!({ "limit": 100 }));
    assert_eq!(list["total"], SESSIONS, "one session for each: {list}");
    let mut beats: Vec<i64> = Vec::new();
    for session in list["items"].as_array().unwrap() {
        let at: Iso = serde_json::from_value(session["last_heartbeat_at"].clone()).unwrap();
        beats.push(at.0.0);
        assert!(CLIS.contains(&text(session, "cli")), "{session}");
    }
    // Which session is whose is the daemon's secret; the last event of each is in the heartbeat of one.
    let mut lasts: Vec<i64> = all.iter().map(|worked| worked.last).collect();
    beats.sort_unstable();
    lasts.sort_unstable();
    for (beat, last) in beats.iter().zip(&lasts) {
        assert!(beat >= last, "a heartbeat was missed: {beat} is before {last}");
    }
    wait_until(SOON, "nothing but the daemon is left", || processes(&sandbox) == BTreeSet::from([daemon.pid()]));
}
