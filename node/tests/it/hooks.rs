//! Hooks as agent CLIs run them: a process named like the CLI starts `ctxnode hook` with an event on stdin.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use ctxnode_api::{Call, headers};
use ctxnode_testkit::{Sandbox, wait_until};
use serde_json::{Value, json};

use crate::support::{SOON, Who, agent, alpha_repo, person, printed, ready, start, text};

/// How long a hook may take here. Its own limit is a second; the rest is what a busy machine needs to start a process.
const HOOK_LIMIT: Duration = Duration::from_millis(2_500);

/// A process named like an agent CLI that runs what it is told.
pub(crate) struct Cli<'a> {
    sandbox: &'a Sandbox,
    name: &'static str,
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    limit: Duration,
}

impl<'a> Cli<'a> {
    /// Starts it.
    pub(crate) fn start(sandbox: &'a Sandbox, name: &'static str, directory: &Path) -> Self {
        // A script that runs is read as it goes: writing it anew would change what the running ones do.
        if !sandbox.root().join("bin").join(name).exists() {
            sandbox
                .fake_program(name, "while read -r line; do eval \"$line\"; code=$?; echo; echo \"done $code\"; done");
        }
        let mut command = sandbox.command(name);
        command.current_dir(directory).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { sandbox, name, child, stdin, stdout, limit: HOOK_LIMIT }
    }

    /// Starts a Claude Code whose start hook has run.
    fn begun(sandbox: &'a Sandbox, directory: &Path) -> Self {
        let mut cli = Self::start(sandbox, "claude", directory);
        cli.hook("session-start", &with(event(directory), json!({ "source": "startup" })));
        cli
    }

    /// One of so many that each of its hooks may wait longer for the machine.
    pub(crate) fn of_many(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Runs a line; returns what it printed.
    pub(crate) fn run(&mut self, line: &str) -> String {
        writeln!(self.stdin, "{line}").unwrap();
        let mut printed = String::new();
        loop {
            let mut line = String::new();
            assert!(self.stdout.read_line(&mut line).unwrap() > 0, "{} ended", self.name);
            if let Some(code) = line.strip_prefix("done ") {
                assert_eq!(code.trim(), "0", "{printed}");
                return printed.trim_end().to_owned();
            }
            printed.push_str(&line);
        }
    }

    /// Runs a hook; returns what it printed.
    pub(crate) fn hook(&mut self, event: &str, input: &Value) -> String {
        let file = self.sandbox.root().join(format!("event.{}.json", self.child.id()));
        std::fs::write(&file, input.to_string()).unwrap();
        let began = Instant::now();
        let printed = self.run(&format!("ctxnode hook {} {event} < {}", self.name, file.display()));
        assert!(began.elapsed() < self.limit, "{event}: {:?}", began.elapsed());
        printed
    }

    /// The text that a hook injects.
    fn told(&mut self, event: &str, input: &Value) -> String {
        let printed = self.hook(event, input);
        if printed.is_empty() {
            return printed;
        }
        let value: Value = serde_json::from_str(&printed).unwrap();
        value["hookSpecificOutput"]["additionalContext"].as_str().unwrap_or_default().to_owned()
    }
}

impl Drop for Cli<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn event(directory: &Path) -> Value {
    json!({ "session_id": "c1", "cwd": directory })
}

fn with(mut value: Value, fields: Value) -> Value {
    value.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    value
}

/// Another agent leaves a handoff for Claude Code: news for whoever that is.
fn leave_handoff(sandbox: &Sandbox, directory: &Path, issue: u32, accomplished: &str) {
    let other = agent(sandbox, "codex-mac-1", directory);
    other.do_("sod", json!({ "issue": issue }));
    let input = json!({ "status": "in_progress", "accomplished": [accomplished], "next_steps": ["go on"],
        "to_agent": "claude", "issue": issue });
    other.do_("eod", input);
}

/// Waits until what waited on disk is applied.
fn replayed(sandbox: &Sandbox) {
    let waits = |name: &str| sandbox.state_dir().join(name).exists();
    wait_until(SOON, "the spool is applied", || !waits("hooks.spool") && !waits("hooks.spool.replay"));
}

/// S-31 and C-14: the start hook makes the session and injects within the caps, the tool resumes it; a hook in a directory
/// of no venture says nothing.
#[test]
fn s_31_c_14_a_start_by_hook_and_then_by_tool_is_one_session() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    repo.commit("a.txt", "a");
    let mut cli = Cli::start(&sandbox, "claude", repo.path());
    let input = with(event(repo.path()), json!({ "hook_event_name": "SessionStart", "source": "startup" }));
    let told = cli.told("session-start", &input);
    assert!(told.contains("VENTURE: alpha") && told.contains("(created)"), "{told}");
    assert!(told.chars().count() <= 9_000 && told.len().div_ceil(3) <= 2_300);
    // C-07: what fires twice injects once.
    assert_eq!(cli.told("session-start", &input), "");
    let sod: Value = serde_json::from_str(&cli.run("ctxnode sod --json")).unwrap();
    assert_eq!(sod["status"], "resumed", "{sod}");
    let list = person(&sandbox).do_("session.list", json!({}));
    assert_eq!(list["total"], 1, "{list}");
    assert!(list["items"][0]["agent"].as_str().unwrap().starts_with("claude-"), "{list}");
    let again = cli.told("session-start", &with(event(repo.path()), json!({ "source": "compact" })));
    assert!(again.contains("SESSION: sess_") && again.chars().count() <= 2_000, "{again}");
    let elsewhere = with(event(sandbox.root()), json!({ "source": "startup", "session_id": "c2" }));
    assert_eq!(cli.hook("session-start", &elsewhere), "");
    // The line of the status bar.
    let file = sandbox.root().join("event.json");
    std::fs::write(&file, event(repo.path()).to_string()).unwrap();
    let line = cli.run(&format!("ctxnode statusline < {}", file.display()));
    assert!(line.starts_with("ctxnode: alpha"), "{line}");
    let budget: Value = serde_json::from_str(&cli.run("ctxnode budget --json")).unwrap();
    assert_eq!(budget["items"].as_array().unwrap().len(), 8);
    assert!(budget["items"][0]["characters"].as_u64().unwrap() > 100, "{budget}");
    assert_eq!(person(&sandbox).do_("session.list", json!({}))["total"], 1, "a preview starts nothing");
}

/// Section 1.2: a conversation that is taken up in a new process is the same agent, with the same session, until that is
/// over; while its process still runs, a second one is another agent.
#[test]
fn s_22_a_conversation_that_goes_on_in_another_process_finds_its_session() {
    let sandbox = ready();
    let mut daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    let began = |source: &str| with(event(repo.path()), json!({ "source": source }));
    let ids = || {
        let list = person(&sandbox).do_("session.list", json!({}));
        let items = list["items"].as_array().unwrap().clone();
        items.iter().map(|session| text(session, "id").to_owned()).collect::<Vec<_>>()
    };
    let mut first = Cli::start(&sandbox, "claude", repo.path());
    first.hook("session-start", &began("startup"));
    first.run("ctxnode update --issue 7 --json");
    let id = ids()[0].clone();
    drop(first);
    daemon.restart();

    let mut second = Cli::start(&sandbox, "claude", repo.path());
    let told = second.told("session-start", &began("resume"));
    assert!(told.contains("(resumed)") && told.contains(&id) && told.contains("issue 7"), "{told}");
    assert_eq!(ids(), [id.clone()], "no second session");
    let sod: Value = serde_json::from_str(&second.run("ctxnode sod --json")).unwrap();
    assert_eq!((text(&sod, "session_id"), &sod["status"]), (id.as_str(), &json!("resumed")), "its tools know it too");
    // The same conversation in a second terminal: two agents, which see each other.
    let mut beside = Cli::start(&sandbox, "claude", repo.path());
    let told = beside.told("session-start", &began("resume"));
    assert!(told.contains("(created)") && told.contains("Other Active Sessions (1 of 1)"), "{told}");
    let other = ids().into_iter().find(|found| *found != id).unwrap();
    drop(beside);

    let ended: Value =
        serde_json::from_str(&second.run("ctxnode eod --status done --accomplished all --json")).unwrap();
    assert_eq!(text(&ended, "session_id"), id);
    drop(second);
    // Who held the conversation last was the second terminal, whose session is not over.
    let mut third = Cli::start(&sandbox, "claude", repo.path());
    assert!(third.told("session-start", &began("resume")).contains(&other));
    third.run("ctxnode eod --status done --accomplished all --json");
    drop(third);
    let mut fourth = Cli::start(&sandbox, "claude", repo.path());
    let told = fourth.told("session-start", &began("resume"));
    assert!(told.contains("(created)") && !told.contains(&other), "what is over is not revived: {told}");
}

/// Section 7.3 and C-07: news come once, within 600 characters.
#[test]
fn c_07_a_prompt_brings_news_once() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    let mut cli = Cli::begun(&sandbox, repo.path());
    assert_eq!(cli.told("prompt", &with(event(repo.path()), json!({ "prompt_id": "p1", "prompt": "hello" }))), "");
    for number in 0..5 {
        leave_handoff(&sandbox, repo.path(), number + 1, &"x ".repeat(200));
    }
    let prompt = |id: &str| with(event(repo.path()), json!({ "prompt_id": id }));
    let first = cli.told("prompt", &prompt("p2"));
    assert!(first.contains("Handoff for you") && first.chars().count() <= 600, "{first}");
    assert_eq!(cli.told("prompt", &prompt("p2")), "", "the same prompt again");
    let mut all = first.clone();
    for number in 3..6 {
        all.push_str(&cli.told("prompt", &prompt(&format!("p{number}"))));
    }
    assert_eq!(all.matches("Handoff for you").count(), 5, "each once, those that did not fit later: {all}");
    assert_eq!(cli.told("prompt", &prompt("p9")), "");
}

/// W-10: one line for who edits and one for who claims; a denial where the venture says so; nothing without a daemon.
#[test]
fn w_10_an_edit_of_a_claimed_path_is_told_to_both_sides() {
    let sandbox = ready();
    let mut daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    let holder = agent(&sandbox, "codex-mac-1", repo.path());
    holder.do_("sod", json!({}));
    holder.do_("claim.take", json!({ "kind": "path", "key": "src/**", "note": "login" }));
    let mut cli = Cli::begun(&sandbox, repo.path());
    let edit = |id: &str, file: &str| {
        let path = repo.path().join(file);
        with(event(repo.path()), json!({ "tool_name": "Edit", "tool_use_id": id, "tool_input": { "file_path": path } }))
    };
    assert_eq!(cli.told("before-tool", &edit("t1", "docs/a.md")), "");
    let told = cli.told("before-tool", &edit("t2", "src/a.rs"));
    assert!(told.contains("codex-mac-1") && told.contains("src/**") && told.contains("login"), "{told}");
    assert_eq!(told.lines().count(), 1);
    assert_eq!(cli.told("before-tool", &edit("t3", "src/b.rs")), "", "once per claim");
    let prompt = json!({ "cli": "codex", "moment": "prompt", "turn": "1", "listens": true, "directory": repo.path() });
    let theirs = holder.do_("hook", prompt);
    assert!(text(&theirs, "context").contains("edits src/a.rs, which you claim"), "{theirs}");
    // A patch names its files in its text.
    let patch = "*** Begin Patch\n*** Update File: src/c.rs\n@@\n-a\n+b\n*** End Patch";
    let mut codex = Cli::start(&sandbox, "codex", repo.path());
    codex.hook("session-start", &json!({ "session_id": "c9", "cwd": repo.path(), "source": "startup" }));
    let input = json!({ "session_id": "c9", "cwd": repo.path(), "tool_name": "apply_patch", "tool_use_id": "u",
        "tool_input": { "command": patch } });
    let told = codex.told("after-tool", &input);
    assert!(told.contains("src/c.rs is claimed by codex-mac-1"), "{told}");
    // A CLI that shows nothing after a tool: both sides hear of it with their next prompt, once.
    let mut agy = Cli::start(&sandbox, "agy", repo.path());
    let of = |fields: Value| with(json!({ "session_id": "g1", "cwd": repo.path() }), fields);
    agy.hook("session-start", &of(json!({ "source": "startup" })));
    let write = |id: &str| {
        of(json!({ "tool_name": "write_to_file", "tool_use_id": id, "tool_input": { "TargetFile": "src/g.rs" } }))
    };
    assert_eq!(agy.told("after-tool", &write("w1")), "");
    assert_eq!(agy.told("after-tool", &write("w2")), "");
    let told = agy.told("prompt", &of(json!({ "prompt_id": "g1" })));
    assert_eq!(told.matches("src/g.rs is claimed by codex-mac-1").count(), 1, "{told}");
    let told = agy.told("prompt", &of(json!({ "prompt_id": "g2" })));
    assert!(!told.contains("src/g.rs"), "{told}");
    let prompt = json!({ "cli": "codex", "moment": "prompt", "turn": "2", "listens": true, "directory": repo.path() });
    let theirs = holder.do_("hook", prompt);
    assert!(text(&theirs, "context").contains("edits src/g.rs, which you claim"), "{theirs}");
    // Two that edit one file without any claim hear of each other too.
    cli.hook("after-tool", &edit("t7", "docs/b.md"));
    let write = json!({ "session_id": "c9", "cwd": repo.path(), "tool_name": "Write", "tool_use_id": "v",
        "tool_input": { "file_path": "docs/b.md" } });
    let told = codex.told("after-tool", &write);
    assert!(told.contains("docs/b.md was edited by claude-"), "{told}");

    let input = json!({ "name": "alpha", "org": "alpha-org", "repos": ["alpha-org/console"], "settings": { "claims": "deny" } });
    person(&sandbox).ok(&Call::new("venture.put", input).param("code", "alpha"));
    let denied: Value = serde_json::from_str(&cli.hook("before-tool", &edit("t4", "src/d.rs"))).unwrap();
    assert_eq!(denied["hookSpecificOutput"]["permissionDecision"], "deny", "{denied}");
    assert!(denied.to_string().contains("codex-mac-1"), "{denied}");
    daemon.stop();
    assert_eq!(cli.hook("before-tool", &edit("t5", "src/e.rs")), "", "the edit goes on");
}

/// W-10 and section 3.3: of two that claim one path the first may edit it where claims deny, and is told of the other one.
#[test]
fn w_10_of_two_that_claim_a_path_the_first_may_edit_it() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let (one, two) = (alpha_repo(&sandbox, "console"), alpha_repo(&sandbox, "console-2"));
    let (first, second) = (agent(&sandbox, "claude-mac-1", one.path()), agent(&sandbox, "codex-mac-2", two.path()));
    let input = json!({ "name": "alpha", "org": "alpha-org", "repos": ["alpha-org/console"], "settings": { "claims": "deny" } });
    person(&sandbox).ok(&Call::new("venture.put", input).param("code", "alpha"));
    first.do_("sod", json!({}));
    second.do_("sod", json!({}));
    first.do_("claim.take", json!({ "kind": "path", "key": "src/**" }));
    second.do_("claim.take", json!({ "kind": "path", "key": "src/a.rs", "force": true }));
    let edit = |who: &Who<'_>, cli: &str, directory: &Path| {
        let event = json!({ "cli": cli, "moment": "before_tool", "turn": "1", "tool": "Edit", "listens": true });
        who.do_("hook", with(event, json!({ "paths": ["src/a.rs"], "directory": directory })))
    };
    let winner = edit(&first, "claude", one.path());
    assert!(winner.get("deny").is_none(), "{winner}");
    let told = text(&winner, "context");
    assert!(told.contains("claimed by codex-mac-2") && told.contains("your claim was first"), "{told}");
    let loser = edit(&second, "codex", two.path());
    assert!(text(&loser, "deny").contains("claimed by claude-mac-1"), "{loser}");
}

/// How a shell runs a command in a terminal of its own.
fn in_terminal(command: &str) -> String {
    // `script` of macOS takes its arguments otherwise.
    let run = if cfg!(target_os = "macos") {
        format!("script -q /dev/null {command}")
    } else {
        format!("script -qec '{command}' /dev/null")
    };
    format!("{run} </dev/null")
}

/// N-11: what an agent runs in a terminal is not typed by a human, and what a human types there is.
#[test]
fn n_11_an_agent_with_a_terminal_must_still_ask_the_human() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let file = sandbox.root().join("note.md");
    std::fs::write(&file, "x").unwrap();
    let line = in_terminal(&format!("ctxnode note create {}", file.display()));
    let has_script = sandbox.command("sh").args(["-c", "command -v script"]).output().unwrap().status.success();
    if !has_script {
        return eprintln!("skipped: this machine has no `script`, which gives a command a terminal");
    }
    let notes = || person(&sandbox).do_("note.list", json!({}))["total"].clone();
    let mut cli = Cli::start(&sandbox, "claude", &sandbox.dev_dir());
    let shown = cli.run(&format!("{line}; true"));
    assert!(shown.contains("ask the human first"), "{shown}");
    assert_eq!(notes(), 0);
    let typed = sandbox.command("sh").args(["-c", &line]).output().unwrap();
    assert!(typed.status.success(), "{}", printed(&typed));
    assert_eq!(notes(), 1);
}

/// H-22, as far as captures go, and H-26: commits, files and the last message are in the draft; a secret is not.
#[test]
fn h_22_h_26_the_draft_holds_what_hooks_saw() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    repo.commit("a.txt", "a");
    let mut cli = Cli::begun(&sandbox, repo.path());
    repo.commit("parser.txt", "b");
    std::fs::write(repo.path().join("half.txt"), "c").unwrap();
    let secret = format!("ghp_{}", "a1B2".repeat(9));
    let message = format!("The parser works, with {secret}; the tests are next.");
    // git has a moment only; on a busy machine it may take more than one turn to be heard.
    for turn in 0..8 {
        let stop = json!({ "prompt_id": format!("p{turn}"), "last_assistant_message": message });
        cli.hook("stop", &with(event(repo.path()), stop));
    }
    let id = person(&sandbox).do_("session.list", json!({}))["items"][0]["id"].as_str().unwrap().to_owned();
    person(&sandbox).ok(&Call::new("session.abandon", json!({})).param("id", &id));
    let draft = person(&sandbox).do_("handoff.latest", json!({ "session_id": id }));
    assert_eq!(draft["drafted"], true, "{draft}");
    let lists = draft.to_string();
    assert!(lists.contains("half.txt") && lists.contains("The parser works"), "{draft}");
    assert!(draft["accomplished"].as_array().is_some_and(|items| items.len() == 1), "{draft}");
    assert!(lists.contains("[redacted: GitHub token]") && !lists.contains("ghp_"), "{draft}");
}

/// Section 7.3: at the end of a session a hook asks git nothing; after a turn the CLI has its answer first, and the checkout is
/// looked at then, however long that takes.
#[test]
fn h_22_no_hook_waits_for_git() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    let mut cli = Cli::begun(&sandbox, repo.path());
    let slow = r#"PATH=/opt/homebrew/bin:/usr/local/bin:/usr/bin:/bin
case "$*" in
    *core.quotePath=false*) echo x >>"$HOME/git.begun"
        while [ ! -e "$HOME/go" ]; do sleep 0.05; done
        git "$@"; code=$?; echo x >>"$HOME/git.ended"; exit $code ;;
esac
exec git "$@""#;
    sandbox.fake_program("git", slow);
    let home = sandbox.home();
    cli.hook("session-end", &with(event(repo.path()), json!({ "reason": "clear" })));
    let stop = json!({ "prompt_id": "p1", "last_assistant_message": "the parser works" });
    cli.hook("stop", &with(event(repo.path()), stop));
    wait_until(SOON, "the checkout is looked at", || home.join("git.begun").exists());
    std::fs::write(home.join("go"), "").unwrap();
    wait_until(SOON, "git was waited for", || home.join("git.ended").exists());
    let begun = std::fs::read_to_string(home.join("git.begun")).unwrap();
    assert_eq!(begun.lines().count(), 1, "the end of the session asked nothing");
}

/// Section 7.3 and G-10: the same error three times is told once, with other numbers and paths; a success of that command
/// between them ends the counting; a CLI that shows nothing after a tool hears of it with its next prompt.
#[test]
fn g_10_the_same_error_three_times_is_told_once() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    let mut cli = Cli::begun(&sandbox, repo.path());
    let mut number = 0;
    let mut bash = |command: &str, fields: Value| {
        number += 1;
        let used =
            json!({ "tool_name": "Bash", "tool_use_id": format!("t{number}"), "tool_input": { "command": command } });
        with(with(event(repo.path()), used), fields)
    };
    let mut failure =
        |line: u32| bash("make", json!({ "error": format!("src/a{line}.rs:{line}: no rule for key sk-{line}") }));
    assert_eq!(cli.told("tool-failed", &failure(1)), "");
    assert_eq!(cli.told("tool-failed", &failure(2)), "");
    let third = failure(3);
    let told = cli.told("tool-failed", &third);
    assert!(told.contains("seen 3 times") && told.contains("no rule"), "{told}");
    assert_eq!(cli.told("tool-failed", &third), "", "what fires twice counts once");
    assert_eq!(cli.told("tool-failed", &failure(4)), "");
    let line = cli.run(&format!("printf '%s' '{}' | ctxnode statusline", event(repo.path())));
    assert!(line.contains("one error 4 times"), "{line}");
    // It works now: counting begins anew.
    cli.hook("after-tool", &bash("make", json!({ "tool_response": { "stdout": "done" } })));
    let mut failure =
        |line: u32| bash("make", json!({ "error": format!("src/a{line}.rs:{line}: no rule for key sk-{line}") }));
    assert_eq!(cli.told("tool-failed", &failure(5)), "");
    assert_eq!(cli.told("tool-failed", &failure(6)), "");
    assert!(cli.told("tool-failed", &failure(7)).contains("seen 3 times"));

    let mut agy = Cli::start(&sandbox, "agy", repo.path());
    let of = |fields: Value| with(json!({ "session_id": "g1", "cwd": repo.path() }), fields);
    agy.hook("session-start", &of(json!({ "source": "startup" })));
    for id in ["a", "b", "c"] {
        let used = json!({ "tool_name": "run_command", "tool_use_id": id, "tool_input": { "CommandLine": "make" },
            "tool_response": { "output": "no rule", "exit_code": 2 } });
        assert_eq!(agy.told("after-tool", &of(used)), "");
    }
    let told = agy.told("prompt", &of(json!({ "prompt_id": "p" })));
    assert!(told.contains("seen 3 times"), "{told}");
}

/// Section 7.3 and H-22: a pull request that `gh` opened is on the session and in its draft, once.
#[test]
fn h_22_a_pull_request_is_recorded_on_the_session() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    let mut codex = Cli::start(&sandbox, "codex", repo.path());
    let of = |fields: Value| with(json!({ "session_id": "c9", "cwd": repo.path() }), fields);
    codex.hook("session-start", &of(json!({ "source": "startup" })));
    let address = "https://github.com/alpha-org/console/pull/42";
    for id in ["a", "b"] {
        let answer = json!({ "output": format!("Creating pull request\n{address}\n"), "metadata": { "exit_code": 0 } });
        let used = json!({ "tool_name": "shell", "tool_use_id": id, "tool_input": { "command": ["gh", "pr", "create", "--fill"] },
            "tool_response": answer.to_string() });
        codex.hook("after-tool", &of(used));
    }
    let list = person(&sandbox).do_("session.list", json!({}));
    let session = &list["items"][0];
    assert_eq!(session["meta"]["pull_requests"], json!([address]), "{session}");
    let id = text(session, "id").to_owned();
    person(&sandbox).ok(&Call::new("session.abandon", json!({})).param("id", &id));
    let draft = person(&sandbox).do_("handoff.latest", json!({ "session_id": id }));
    assert!(draft["accomplished"].to_string().contains(address), "{draft}");
}

/// C-04: with no daemon, a hanging socket, garbage on stdin or no place to write, every hook ends with 0 in time and says
/// what its CLI accepts; what was kept is applied once when a daemon runs again.
#[test]
fn c_04_hooks_fail_open_and_bring_it_later() {
    let sandbox = ready();
    let mut daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    let mut cli = Cli::begun(&sandbox, repo.path());
    daemon.stop();
    for number in 0..3 {
        let stop = json!({ "prompt_id": format!("p{number}"), "last_assistant_message": format!("message {number}") });
        assert_eq!(cli.hook("stop", &with(event(repo.path()), stop)), "");
    }
    // A session that began while no daemon ran.
    let mut codex = Cli::start(&sandbox, "codex", repo.path());
    let began = json!({ "session_id": "c9", "cwd": repo.path(), "source": "startup" });
    assert_eq!(codex.hook("session-start", &began), "{}");
    let spool = sandbox.state_dir().join("hooks.spool");
    assert_eq!(std::fs::read_to_string(&spool).unwrap().lines().count(), 4);
    daemon.restart();
    replayed(&sandbox);
    let list = person(&sandbox).do_("session.list", json!({}));
    assert_eq!(list["total"], 2, "{list}");
    let claude = list["items"].as_array().unwrap().iter().find(|s| text(s, "agent").starts_with("claude")).unwrap();
    let id = text(claude, "id").to_owned();
    person(&sandbox).ok(&Call::new("session.abandon", json!({})).param("id", &id));
    let draft = person(&sandbox).do_("handoff.latest", json!({ "session_id": id })).to_string();
    assert!(draft.contains("message 2") && !draft.contains("message 1"), "in order: {draft}");
    daemon.stop();

    let _ = std::fs::remove_file(sandbox.socket());
    let _hanging = UnixListener::bind(sandbox.socket()).unwrap();
    assert_eq!(cli.hook("after-tool", &with(event(repo.path()), json!({ "tool_use_id": "x" }))), "");
    std::fs::remove_file(sandbox.socket()).unwrap();
    // No place to write to.
    std::fs::remove_dir_all(sandbox.state_dir()).unwrap();
    std::fs::write(sandbox.state_dir(), "in the way").unwrap();
    let run = |cli: &str, event: &str, input: &[u8]| {
        let mut child = sandbox
            .command("ctxnode")
            .args(["hook", cli, event])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // It may have ended without reading.
        let _ = child.stdin.take().unwrap().write_all(input);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{cli} {event}");
        String::from_utf8(output.stdout).unwrap()
    };
    for (cli, expected) in
        [("claude", ""), ("codex", "{}\n"), ("gemini", "{}\n"), ("agy", "{\"decision\":\"allow\"}\n")]
    {
        for garbage in [b"\xff\x00{".as_slice(), b"", b"[1,2"] {
            assert_eq!(run(cli, "before-tool", garbage), expected);
        }
    }
    assert_eq!(run("nobody", "before-tool", b""), "");
    assert_eq!(run("claude", "--unknown", b""), "");
}

/// C-04: a CLI that leaves the pipe open has its event all the same, with its details; one that says nothing, without.
#[test]
fn c_04_a_hook_needs_no_end_of_its_input() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    let mut cli = Cli::begun(&sandbox, repo.path());
    // The writer of the pipe stays until the hook has ended.
    let open = |cli: &mut Cli<'_>, said: &str, command: &str| {
        let began = Instant::now();
        let fifo = sandbox.root().join("open");
        let line = format!(
            "rm -f {0}; mkfifo {0}; exec 9<>{0}; printf '%s' '{said}' >&9; {command} <{0} 9<&-; exec 9<&-",
            fifo.display()
        );
        let printed = cli.run(&line);
        assert!(began.elapsed() < HOOK_LIMIT, "{:?}", began.elapsed());
        printed
    };
    let stop = with(event(repo.path()), json!({ "prompt_id": "p1", "last_assistant_message": "the parser works" }));
    open(&mut cli, &stop.to_string(), "ctxnode hook claude stop");
    open(&mut cli, "", "ctxnode hook claude before-compact");
    let line = open(&mut cli, &event(repo.path()).to_string(), "ctxnode statusline");
    assert!(line.starts_with("ctxnode: alpha"), "{line}");
    let spool = sandbox.state_dir().join("hooks.spool");
    assert!(!spool.exists(), "the daemon has heard all of them");
    let id = text(&person(&sandbox).do_("session.list", json!({}))["items"][0], "id").to_owned();
    person(&sandbox).ok(&Call::new("session.abandon", json!({})).param("id", &id));
    let draft = person(&sandbox).do_("handoff.latest", json!({ "session_id": id })).to_string();
    assert!(draft.contains("the parser works"), "{draft}");
}

/// C-04 and C-07: what is applied from the disk tells nobody anything, so its news still come; and half a line there costs
/// only itself.
#[test]
fn c_04_c_07_what_waited_on_disk_uses_up_no_news() {
    let sandbox = ready();
    let mut daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    let mut cli = Cli::begun(&sandbox, repo.path());
    leave_handoff(&sandbox, repo.path(), 1, "the parser");
    daemon.stop();
    let spool = sandbox.state_dir().join("hooks.spool");
    // A character that was cut in its middle.
    std::fs::write(&spool, b"{\"request\":{\"text\":\"\xc3").unwrap();
    cli.hook("session-start", &with(event(repo.path()), json!({ "source": "compact" })));
    cli.hook("prompt", &with(event(repo.path()), json!({ "prompt_id": "p1" })));
    let secret = format!("ghp_{}", "a1B2".repeat(9));
    // Two ends of one prompt.
    for message in [format!("first, with {secret}"), format!("second, with {secret}")] {
        let stop = json!({ "prompt_id": "p1", "last_assistant_message": message });
        cli.hook("stop", &with(event(repo.path()), stop));
    }
    let kept = String::from_utf8_lossy(&std::fs::read(&spool).unwrap()).into_owned();
    assert_eq!(kept.lines().count(), 5, "{kept}");
    assert!(kept.contains("[redacted: GitHub token]") && !kept.contains("ghp_"), "{kept}");
    daemon.restart();
    replayed(&sandbox);
    let told = cli.told("prompt", &with(event(repo.path()), json!({ "prompt_id": "p2" })));
    assert!(told.contains("Handoff for you"), "{told}");
    let list = person(&sandbox).do_("session.list", json!({}));
    let own = list["items"].as_array().unwrap().iter().find(|s| text(s, "agent").starts_with("claude")).unwrap();
    let id = text(own, "id").to_owned();
    person(&sandbox).ok(&Call::new("session.abandon", json!({})).param("id", &id));
    let draft = person(&sandbox).do_("handoff.latest", json!({ "session_id": id })).to_string();
    assert!(draft.contains("second, with") && !draft.contains("first, with"), "{draft}");
}

/// C-04 and C-07: what the daemon answered to a hook that had given up is told again, once the event came from the disk.
#[test]
fn c_04_c_07_news_of_an_answer_that_was_not_printed_come_again() {
    let sandbox = ready();
    let mut daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    let mut cli = Cli::begun(&sandbox, repo.path());
    leave_handoff(&sandbox, repo.path(), 1, "the parser");
    let prompt = |id: &str| with(event(repo.path()), json!({ "prompt_id": id }));
    // The answer that nobody reads.
    assert!(cli.told("prompt", &prompt("p1")).contains("Handoff for you"));
    assert_eq!(cli.told("prompt", &prompt("p2")), "", "it counts as told");
    daemon.stop();
    assert_eq!(cli.hook("prompt", &prompt("p1")), "", "the hook has given up and keeps its event");
    daemon.restart();
    replayed(&sandbox);
    let told = cli.told("prompt", &prompt("p3"));
    assert!(told.contains("Handoff for you"), "{told}");
    assert_eq!(cli.told("prompt", &prompt("p4")), "", "once");
}

/// A-19: six hundred hook events leave an agent its hundred calls.
#[test]
fn a_19_hooks_have_a_rate_limit_of_their_own() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    let who = agent(&sandbox, "claude-mac-1", repo.path());
    who.do_("sod", json!({}));
    for number in 0..600 {
        let input = json!({ "cli": "claude", "moment": "after_tool", "turn": number.to_string(), "listens": true });
        who.do_("hook", input);
    }
    let answer = who.ask(&Call::new("context", json!({}))).unwrap();
    let left: u32 = answer.headers[headers::RATE_REMAINING].to_str().unwrap().parse().unwrap();
    assert!(left >= 98, "{left}");
    // Its own bucket is used up; another agent's is not.
    let bad =
        agent(&sandbox, "claude-mac-2", repo.path()).refused_("hook", json!({ "cli": "vim", "turn": "x".repeat(300) }));
    let fields: Vec<&str> = bad.details.iter().map(|detail| detail.field.as_str()).collect();
    assert_eq!(fields, ["cli", "turn"]);
}
