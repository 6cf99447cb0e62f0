//! `ctxnode doctor` about agents: what they left behind, who gets in whose way, what a phone needs.

use std::process::{Output, Stdio};

use ctxnode_testkit::Sandbox;
use serde_json::{Value, json};

use crate::support::{agent, alpha_repo, printed, ready, start, text};

fn doctor(sandbox: &Sandbox, words: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = sandbox.command("ctxnode");
    command.args(["doctor", "--json"]).args(words).current_dir(sandbox.dev_dir());
    command.envs(variables.iter().copied()).output().unwrap()
}

fn row(done: &Output, name: &str) -> Option<Value> {
    let found: Value = serde_json::from_str(&printed(done)).unwrap();
    found["checks"].as_array().unwrap().iter().find(|row| row["name"] == name).cloned()
}

fn state(done: &Output, name: &str) -> (String, String) {
    let row = row(done, name).unwrap_or_else(|| panic!("{name}: {}", printed(done)));
    (text(&row, "state").to_owned(), text(&row, "message").to_owned())
}

/// B-07 and W-07: a lock of a launcher that is gone is named and taken away by `--fix`; two agents in one folder are named.
#[test]
fn b_07_what_agents_left_behind_is_named_and_unlocked() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    let look = |words: &[&str]| doctor(&sandbox, words, &[]);
    assert_eq!(row(&look(&[]), "worktrees"), None, "there are none");
    let tree = repo.path().with_file_name("console.worktrees").join("w");
    let shown = tree.display().to_string();
    repo.git(&[
        "worktree",
        "add",
        "--quiet",
        "--lock",
        "--reason",
        "ctxnode pid 999999999 started 1",
        "-b",
        "dev/x",
        &shown,
    ]);
    let (found, message) = state(&look(&[]), "worktrees");
    assert_eq!(found, "warn");
    assert!(message.contains("1 of 1") && message.contains(&format!("{shown} (dev/x)")), "{message}");
    let (found, message) = state(&look(&["--fix"]), "worktrees");
    assert_eq!((found.as_str(), message.as_str()), ("pass", "1, 0 in use"));
    assert!(!repo.git(&["worktree", "list", "--porcelain"]).contains("locked"));

    agent(&sandbox, "codex-mac-1", repo.path()).do_("sod", json!({}));
    assert_eq!(state(&look(&[]), "sessions").0, "pass");
    agent(&sandbox, "codex-mac-2", repo.path()).do_("sod", json!({}));
    let (found, message) = state(&look(&[]), "sessions");
    assert_eq!(found, "warn");
    assert!(message.contains("codex-mac-1 and codex-mac-2 work in one folder"), "{message}");
}

/// Events that wait for a daemon, and an agent CLI that nobody told of ctxnode.
#[test]
fn c_04_events_that_wait_and_agents_that_do_not_know_are_told() {
    let sandbox = ready();
    let mut daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    assert_eq!(state(&doctor(&sandbox, &[], &[]), "hook events").0, "pass");
    assert_eq!(row(&doctor(&sandbox, &[], &[]), "gemini set-up"), None);
    sandbox.fake_program("gemini", "exit 0");
    let (found, message) = state(&doctor(&sandbox, &[], &[]), "gemini set-up");
    assert_eq!((found.as_str(), message.as_str()), ("warn", "it is installed and does not know ctxnode"));
    daemon.stop();
    let mut hook = sandbox.command("ctxnode");
    hook.args(["hook", "claude", "stop"]).current_dir(repo.path()).stdin(Stdio::null());
    assert!(hook.output().unwrap().status.success());
    let (found, message) = state(&doctor(&sandbox, &[], &[]), "hook events");
    assert_eq!(found, "warn");
    assert!(message.starts_with("1 events of agents wait"), "{message}");
}

/// T-04 as far as it can be seen from here: mosh that passes copied texts on, a locale of UTF-8, tmux's settings.
#[test]
fn t_04_what_a_phone_needs_is_told() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    for (version, good) in [("1.3.2", "warn"), ("1.4.0", "pass")] {
        sandbox.fake_program("mosh-server", &format!("echo 'mosh-server (mosh {version}) [build mosh {version}]'"));
        assert_eq!(state(&doctor(&sandbox, &[], &[]), "mosh").0, good, "{version}");
    }
    assert_eq!(state(&doctor(&sandbox, &[], &[("LANG", "C.UTF-8")]), "locale").0, "pass");
    let done = doctor(&sandbox, &[], &[("LANG", "C")]);
    assert_eq!(state(&done, "locale").0, "warn");
    assert!(text(&row(&done, "locale").unwrap(), "fix").contains("LANG=C.UTF-8"));
    sandbox.fake_program("tmux", "exit 0");
    let done = doctor(&sandbox, &[], &[]);
    assert_eq!(state(&done, "tmux").0, "warn");
    assert_eq!(text(&row(&done, "tmux").unwrap(), "fix"), "run `ctxnode tmux setup`");
    assert!(sandbox.command("ctxnode").args(["tmux", "setup"]).output().unwrap().status.success());
    assert_eq!(state(&doctor(&sandbox, &[], &[]), "tmux").0, "pass");
    // One that was started before does not have the settings yet.
    sandbox.fake_program("tmux", "[ \"$1\" = show-options ] && echo off");
    let (found, message) = state(&doctor(&sandbox, &[], &[("TMUX", "/tmp/x,1,0")]), "tmux");
    assert!(found == "warn" && message.contains("set-clipboard is off"), "{message}");
}
