//! MCP with real clients: the Python SDK, the TypeScript inspector, and plain lines on the stdio of the shim.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use ctxnode_api::Call;
use ctxnode_testkit::{Daemon, Sandbox, bin, mcp_inspector, python_with_mcp, wait_until};
use serde_json::{Value, json};

use crate::support::{SOON, alpha_repo, ctxnode, person, printed, ready, start, start_with_http, text};

const TOOLS: [&str; 12] =
    ["sod", "handoff", "update", "context", "note", "notes", "doc", "search", "claim", "plan", "ventures", "preflight"];

/// A process that answers one JSON object per line.
pub(crate) struct Lines {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Lines {
    fn spawn(mut command: Command, directory: &Path) -> Self {
        command.current_dir(directory).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (input, output) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, input, output }
    }

    fn send(&mut self, message: &Value) {
        writeln!(self.input.as_mut().unwrap(), "{message}").unwrap();
    }

    fn next(&mut self) -> Value {
        let mut line = String::new();
        assert!(self.output.read_line(&mut line).unwrap() > 0, "the process ended");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    fn ask(&mut self, message: &Value) -> Value {
        self.send(message);
        self.next()
    }

    /// Kills the process like `kill -9`.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.input = None;
        // A process that ended already cannot be killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client on the Python SDK, over stdio.
fn python(sandbox: &Sandbox, directory: &Path) -> Option<Lines> {
    python_at(sandbox, directory, &["stdio", bin("ctxnode").to_str().unwrap(), "mcp"])
}

fn python_at(sandbox: &Sandbox, directory: &Path, target: &[&str]) -> Option<Lines> {
    let mut command = sandbox.command(python_with_mcp()?.to_str().unwrap());
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/client.py")).args(target);
    let mut lines = Lines::spawn(command, directory);
    let first = lines.next();
    assert_eq!(text(&first["initialized"]["serverInfo"], "name"), "ctxnode");
    Some(lines)
}

/// A shim, spoken to by hand.
pub(crate) fn shim(sandbox: &Sandbox, directory: &Path) -> Lines {
    let mut command = sandbox.command("ctxnode");
    command.arg("mcp");
    shim_of(command, directory)
}

fn shim_of(command: Command, directory: &Path) -> Lines {
    let mut shim = Lines::spawn(command, directory);
    let params = json!({
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "test", "version": "1" },
    });
    shim.ask(&json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params }));
    shim.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
    shim
}

pub(crate) fn call(shim: &mut Lines, tool: &str, arguments: &Value) -> Value {
    let params = json!({ "name": tool, "arguments": arguments });
    shim.send(&json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params }));
    loop {
        // Notifications come between.
        let message = shim.next();
        if message["id"] == 1 {
            assert!(message.get("error").is_none(), "{tool}: {message}");
            return message["result"].clone();
        }
    }
}

/// Every tool with arguments that work, in an order in which they do.
fn every_call() -> Vec<(&'static str, Value)> {
    let note = json!({ "action": "create", "title": "T", "content": "quokka facts", "human_requested": true });
    let handoff = json!({ "status": "done", "accomplished": ["x"], "confirmed_by": "human" });
    vec![
        ("sod", json!({})),
        ("context", json!({})),
        ("update", json!({ "issue": 5 })),
        ("claim", json!({ "action": "take", "kind": "branch", "key": "dev/x" })),
        ("note", note),
        ("notes", json!({ "limit": 5 })),
        ("doc", json!({ "name": "alpha-project-instructions.md" })),
        ("search", json!({ "q": "quokka" })),
        ("plan", json!({})),
        ("ventures", json!({})),
        ("preflight", json!({})),
        ("handoff", handoff),
    ]
}

fn put_doc(sandbox: &Sandbox) {
    let put = Call::new("doc.put", json!({ "content": "# Alpha\n\nInstructions." }));
    person(sandbox).ok(&put.param("scope", "alpha").param("name", "alpha-project-instructions.md"));
}

/// Lists everything and calls every tool through a client on the SDK.
fn exercise(client: &mut Lines) {
    let tools = client.ask(&json!({ "list": "tools" }));
    let tools = tools["tools"].as_array().unwrap();
    let names: Vec<&str> = tools.iter().map(|tool| text(tool, "name")).collect();
    assert_eq!(names.len(), TOOLS.len());
    assert!(TOOLS.iter().all(|tool| names.contains(tool)), "{names:?}");
    for tool in tools {
        assert!(text(tool, "description").len() < 2_048 && tool.get("outputSchema").is_some(), "{tool}");
        assert_eq!(tool["annotations"]["destructiveHint"], false, "{tool}");
    }
    let prompts = client.ask(&json!({ "list": "prompts" }));
    let prompts: Vec<&str> = prompts["prompts"].as_array().unwrap().iter().map(|p| text(p, "name")).collect();
    assert_eq!(prompts, ["sod", "eod"]);
    assert!(client.ask(&json!({ "prompt": "sod" }))["messages"].is_array());
    for (tool, arguments) in every_call() {
        let result = client.ask(&json!({ "call": tool, "arguments": arguments }));
        assert_ne!(result["isError"], true, "{tool}: {result}");
        assert!(
            result["structuredContent"].is_object() && result["content"][0]["text"].is_string(),
            "{tool}: {result}"
        );
        assert!(result["_meta"]["correlation_id"].is_string(), "{tool}: {result}");
    }
    let resources = client.ask(&json!({ "list": "resources" }));
    let uris: Vec<&str> = resources["resources"].as_array().unwrap().iter().map(|r| text(r, "uri")).collect();
    let note = uris.iter().find(|uri| uri.starts_with("ctxnode://note/")).unwrap();
    assert_eq!(client.ask(&json!({ "read": note }))["contents"][0]["text"], "quokka facts");
    let doc = client.ask(&json!({ "read": "ctxnode://doc/alpha/alpha-project-instructions.md" }));
    assert!(text(&doc["contents"][0], "text").contains("Instructions."), "{doc}");
}

#[test]
fn m_01_the_python_sdk_lists_and_calls_everything_over_stdio() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    put_doc(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    let Some(mut client) = python(&sandbox, repo.path()) else { return };
    exercise(&mut client);
}

#[test]
fn m_01_the_python_sdk_lists_and_calls_everything_over_http() {
    let sandbox = ready();
    let (_daemon, address) = start_with_http(&sandbox);
    put_doc(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    let made = person(&sandbox).do_("token.create", json!({ "name": "t", "right": "writer", "agent": "claude-x-1" }));
    let url = format!("http://{address}/mcp");
    let Some(mut client) = python_at(&sandbox, repo.path(), &["http", &url, text(&made, "secret")]) else { return };
    // Nobody knows the directory of a caller over TCP, so that one says venture and repo itself.
    let start = json!({ "agent": "claude-x-1", "venture": "alpha", "repo": "alpha-org/console" });
    crate::support::agent(&sandbox, "claude-x-1", repo.path()).do_("sod", start);
    exercise(&mut client);
}

fn inspect(sandbox: &Sandbox, directory: &Path, target: &[&str], arguments: &[&str]) -> Option<Value> {
    let mut command = sandbox.command("node");
    command.arg(mcp_inspector()?).arg("--cli").args(target).args(arguments).current_dir(directory);
    let output = command.output().unwrap();
    let shown = printed(&output);
    assert!(output.status.success(), "{arguments:?}: {shown}{}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_str(&shown).unwrap_or_else(|error| panic!("{error}: {shown}")))
}

/// Lists the tools and calls those that `calls` allows.
fn inspect_everything(sandbox: &Sandbox, directory: &Path, target: &[&str], calls: impl Fn(&str) -> bool) {
    let Some(listed) = inspect(sandbox, directory, target, &["--method", "tools/list"]) else { return };
    assert_eq!(listed["tools"].as_array().unwrap().len(), TOOLS.len());
    for (tool, arguments) in every_call().into_iter().filter(|(tool, _)| calls(tool)) {
        let mut line = vec!["--method".to_owned(), "tools/call".to_owned(), "--tool-name".to_owned(), tool.to_owned()];
        for (name, value) in arguments.as_object().unwrap() {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            line.extend(["--tool-arg".to_owned(), format!("{name}={value}")]);
        }
        let line: Vec<&str> = line.iter().map(String::as_str).collect();
        let result = inspect(sandbox, directory, target, &line).unwrap();
        assert_ne!(result["isError"], true, "{tool}: {result}");
    }
}

#[test]
fn m_01_the_inspector_lists_and_calls_every_tool_over_stdio() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    put_doc(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    // Each call is a process of its own, so each is another agent; those that need a session have none.
    let alone = |tool: &str| !["update", "claim", "handoff"].contains(&tool);
    inspect_everything(&sandbox, repo.path(), &[bin("ctxnode").to_str().unwrap(), "mcp"], alone);
}

#[test]
fn m_01_the_inspector_lists_and_calls_every_tool_over_http() {
    let sandbox = ready();
    let (_daemon, address) = start_with_http(&sandbox);
    put_doc(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    let made = person(&sandbox).do_("token.create", json!({ "name": "t", "right": "writer", "agent": "claude-x-1" }));
    let start = json!({ "agent": "claude-x-1", "venture": "alpha", "repo": "alpha-org/console" });
    crate::support::agent(&sandbox, "claude-x-1", repo.path()).do_("sod", start);
    let (url, header) = (format!("http://{address}/mcp"), format!("Authorization: Bearer {}", text(&made, "secret")));
    inspect_everything(&sandbox, repo.path(), &[&url, "--transport", "http", "--header", &header], |_| true);
}

#[test]
fn s_11_two_mcp_processes_at_once_see_each_others_session_with_its_issue() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let (one, two) = (alpha_repo(&sandbox, "console"), alpha_repo(&sandbox, "console-2"));
    let Some(mut first) = python(&sandbox, one.path()) else { return };
    let mut second = python(&sandbox, two.path()).unwrap();
    first.ask(&json!({ "call": "sod", "arguments": { "issue": 87 } }));
    let seen = second.ask(&json!({ "call": "sod", "arguments": { "issue": 91 } }));
    let seen = text(&seen["structuredContent"], "text");
    assert!(seen.contains("Other Active Sessions (1 of 1)") && seen.contains("#87") && !seen.contains("#91"), "{seen}");
    let back = first.ask(&json!({ "call": "sod" }));
    assert!(text(&back["structuredContent"], "text").contains("#91"), "{back}");
}

#[test]
fn s_22_a_killed_and_restarted_mcp_process_finds_its_session_again() {
    let sandbox = ready();
    let mut daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    let mut first = shim(&sandbox, repo.path());
    let id = text(&call(&mut first, "sod", &json!({}))["structuredContent"], "session_id").to_owned();
    first.kill();
    daemon.kill();
    daemon.restart();
    let mut second = shim(&sandbox, repo.path());
    let context = call(&mut second, "context", &json!({}));
    assert_eq!(text(&context["structuredContent"]["session"], "id"), id);
    let done = call(&mut second, "handoff", &json!({ "status": "done", "accomplished": ["x"] }));
    assert_eq!(text(&done["structuredContent"], "session_id"), id);
}

#[test]
fn m_04_a_daemon_that_is_killed_and_comes_back_costs_the_client_nothing() {
    let sandbox = ready();
    let mut daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    let mut shim = shim(&sandbox, repo.path());
    call(&mut shim, "sod", &json!({}));
    for number in 0..3 {
        daemon.kill();
        // Sent while nobody listens.
        let claim = json!({ "name": "claim", "arguments": { "action": "take", "kind": "issue", "key": number.to_string() + "1" } });
        shim.send(&json!({ "jsonrpc": "2.0", "id": number, "method": "tools/call", "params": claim }));
        daemon.restart();
        let answer = shim.next();
        assert_eq!(
            (answer["id"].as_i64(), answer["result"]["isError"].as_bool()),
            (Some(number), Some(false)),
            "{answer}"
        );
    }
    let claims = person(&sandbox).do_("claim.list", json!({ "venture": "alpha" }));
    assert_eq!(claims["total"], 3, "{claims}");
}

#[test]
fn m_05_fifty_shims_at_once_work_and_end_with_their_stdin() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    let mut shims: Vec<Lines> = (0..50).map(|_| shim(&sandbox, repo.path())).collect();
    for shim in &mut shims {
        let context = call(shim, "context", &json!({}));
        assert_eq!(text(&context["structuredContent"], "venture"), "alpha");
    }
    shims.iter_mut().for_each(|shim| shim.input = None);
    let mut left = shims.len();
    wait_until(std::time::Duration::from_secs(5), "every shim is gone", || {
        left = shims.iter_mut().filter_map(|shim| shim.child.try_wait().unwrap().is_none().then_some(())).count();
        left == 0
    });
}

#[test]
fn m_05_a_shim_whose_parent_was_killed_is_gone_within_five_seconds() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    // The shell keeps stdin of its child open through a fifo, so that only the parent's death can end the shim.
    let script = "mkfifo f; exec 3<>f; ctxnode mcp <f >answers & echo $!; wait";
    let mut command = sandbox.command("sh");
    command.args(["-c", script]);
    let mut shell = Lines::spawn(command, sandbox.root());
    let mut line = String::new();
    shell.output.read_line(&mut line).unwrap();
    let pid: u32 = line.trim().parse().unwrap();
    let alive = || Path::new(&format!("/proc/{pid}/cmdline")).exists();
    if !Path::new("/proc/self").exists() {
        return;
    }
    std::fs::write(sandbox.root().join("f"), "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n").unwrap();
    wait_until(SOON, "the shim answers", || {
        std::fs::metadata(sandbox.root().join("answers")).is_ok_and(|answers| answers.len() > 0)
    });
    assert!(alive());
    shell.kill();
    wait_until(std::time::Duration::from_secs(5), "the shim is gone", || !alive());
}

#[test]
fn m_09_a_failing_tool_is_a_result_and_the_process_lives_on() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    let mut shim = shim(&sandbox, repo.path());
    let failed = call(&mut shim, "update", &json!({ "isue": 5, "track": "x" }));
    assert_eq!(failed["isError"], true);
    let error = &failed["structuredContent"];
    assert_eq!((text(error, "code"), error["details"].as_array().unwrap().len()), ("validation_failed", 2), "{error}");
    assert!(text(error, "correlation_id").starts_with("corr_"));
    assert!(text(&failed["content"][0], "text").contains("isue"), "{failed}");
    let none = call(&mut shim, "update", &json!({}));
    assert!(text(&none["structuredContent"], "message").contains("no session: call sod"), "{none}");
    assert_ne!(call(&mut shim, "context", &json!({}))["isError"], true);
    // An unknown tool is a fault of the protocol that lists the known ones.
    let params = json!({ "name": "sodd", "arguments": {} });
    let unknown = shim.ask(&json!({ "jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": params }));
    assert!(text(&unknown["error"], "message").contains("preflight"), "{unknown}");
}

#[test]
fn m_12_every_supported_revision_is_answered_with_itself() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    for (asked, answered) in [
        ("2024-11-05", "2024-11-05"),
        ("2025-03-26", "2025-03-26"),
        ("2025-06-18", "2025-06-18"),
        ("2025-11-25", "2025-11-25"),
        ("1999-01-01", "2025-11-25"),
    ] {
        let mut command = sandbox.command("ctxnode");
        command.arg("mcp");
        let mut shim = Lines::spawn(command, sandbox.root());
        let params =
            json!({ "protocolVersion": asked, "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } });
        let reply = shim.ask(&json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params }));
        assert_eq!(text(&reply["result"], "protocolVersion"), answered, "{reply}");
    }
}

#[test]
fn resources_announce_their_changes() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    let mut shim = shim(&sandbox, repo.path());
    let made = person(&sandbox).do_("note.create", json!({ "content": "first", "human_requested": true }));
    let id = text(&made, "id").to_owned();
    let params = json!({ "uri": format!("ctxnode://note/{id}") });
    let until = |shim: &mut Lines, good: &dyn Fn(&Value) -> bool| loop {
        let message = shim.next();
        if good(&message) {
            break;
        }
    };
    shim.send(&json!({ "jsonrpc": "2.0", "id": 5, "method": "resources/subscribe", "params": params }));
    until(&mut shim, &|message| message["id"] == 5);
    let update = Call::new("note.update", json!({ "content": "second", "human_requested": true }));
    person(&sandbox).ok(&update.param("id", &id));
    until(&mut shim, &|message| {
        message["method"] == "notifications/resources/updated" && text(&message["params"], "uri").ends_with(&id)
    });
    person(&sandbox).do_("note.create", json!({ "content": "another", "human_requested": true }));
    until(&mut shim, &|message| message["method"] == "notifications/resources/list_changed");
}

/// M-06: a client passes on neither the runtime directory nor anything else; the daemon is found all the same.
#[test]
fn m_06_a_bare_environment_is_enough() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    let mut command = sandbox.command("ctxnode");
    command.arg("mcp").env_clear().env("PATH", "/usr/bin:/bin").env("HOME", sandbox.home());
    let mut shim = shim_of(command, repo.path());
    for (tool, arguments) in every_call().into_iter().filter(|(tool, _)| *tool != "doc") {
        assert_ne!(call(&mut shim, tool, &arguments)["isError"], true, "{tool}");
    }
}

#[test]
fn an_mcp_client_starts_the_daemon_by_itself() {
    let sandbox = ready();
    drop::<Daemon<'_>>(start(&sandbox));
    let repo = alpha_repo(&sandbox, "console");
    let mut command = sandbox.command("ctxnode");
    command.arg("mcp").env_remove("CTXNODE_NO_AUTOSTART");
    let mut shim = shim_of(command, repo.path());
    assert_eq!(text(&call(&mut shim, "context", &json!({}))["structuredContent"], "venture"), "alpha");
    wait_until(SOON, "the daemon that the shim started says that it runs", || {
        ctxnode(&sandbox, &["daemon", "status"]).status.success()
    });
}

/// H-20: the tool asks through the client; what the human says decides.
#[test]
fn h_20_a_human_who_says_no_keeps_the_session_and_stores_nothing() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    let mut command = sandbox.command("ctxnode");
    command.arg("mcp");
    let mut shim = Lines::spawn(command, repo.path());
    let params = json!({
        "protocolVersion": "2025-11-25", "capabilities": { "elicitation": {} },
        "clientInfo": { "name": "test", "version": "1" },
    });
    shim.ask(&json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params }));
    shim.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
    call(&mut shim, "sod", &json!({}));
    let mut handoff = |reply: Value| {
        let arguments = json!({ "status": "done", "accomplished": ["x"], "ask": true });
        let params = json!({ "name": "handoff", "arguments": arguments });
        shim.send(&json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params }));
        loop {
            let message = shim.next();
            if message["method"] == "elicitation/create" {
                shim.send(&json!({ "jsonrpc": "2.0", "id": message["id"], "result": reply }));
            } else if message["id"] == 7 {
                return message["result"].clone();
            }
        }
    };
    let ada = person(&sandbox);
    for no in [json!({ "action": "decline" }), json!({ "action": "accept", "content": { "store": false } })] {
        let refused = handoff(no);
        assert_eq!(text(&refused["structuredContent"], "code"), "declined", "{refused}");
        assert_eq!(ada.do_("handoff.list", json!({}))["total"], 0);
        assert_eq!(ada.do_("session.list", json!({}))["total"], 1);
    }
    let stored = handoff(json!({ "action": "accept", "content": { "store": true } }));
    assert_eq!(text(&stored["structuredContent"], "session_status"), "ended", "{stored}");
    let id = text(&stored["structuredContent"], "handoff_id");
    let kept = ada.ok(&Call::new("handoff.get", json!({})).param("id", id));
    assert_eq!(kept["confirmed_by"], "human");
}

/// M-07: every reply to a shim of another build says so, also after others said it already.
#[test]
fn m_07_an_older_shim_is_told_in_every_reply() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    let stem = sandbox.socket().file_stem().unwrap().to_string_lossy().into_owned();
    let socket = sandbox.socket().with_file_name(format!("{stem}-mcp.sock"));
    let stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let said = |message: &str| writeln!({ &stream }, "{message}").unwrap();
    let preface = json!({
        "ctxnode": "mcp/1", "pid": std::process::id(), "directory": repo.path(), "build": "0.0.1 (old)",
    });
    said(&preface.to_string());
    let params = json!({
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "test", "version": "1" },
    });
    said(&json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params }).to_string());
    said(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }).to_string());
    for id in 1..4 {
        let params = json!({ "name": "context", "arguments": {} });
        said(&json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params }).to_string());
        let answer = lines.find(|line| {
            let message: Value = serde_json::from_str(line.as_ref().unwrap()).unwrap();
            message["id"] == id
        });
        let answer = answer.unwrap().unwrap();
        assert!(answer.contains("runs ctxnode 0.0.1 (old)") && answer.contains("restart the agent CLI"), "{answer}");
    }
}
