//! The daemon as a whole: how fast it is ready, how fast a start of day is, what it takes in memory.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use ctxnode_api::{Call, Client, Endpoint};
use serde_json::{Value, json};

use crate::stats::{Times, line, ratio, say};

pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Killed and waited for: a bench leaves no process behind.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn now() -> Instant {
    Instant::now()
}

fn start(binary: &Path, data_dir: &Path, socket: &Path) -> (Running, Duration) {
    let began = now();
    let child = Command::new(binary)
        .args(["daemon", "run"])
        .env("CTXNODE_DATA_DIR", data_dir)
        .env("CTXNODE_SOCKET", socket)
        .stdin(Stdio::null())
        .spawn()
        .expect("the daemon");
    let running = Running(child);
    let (pause, wait) = std::sync::mpsc::sync_channel::<()>(0);
    while std::os::unix::net::UnixStream::connect(socket).is_err() {
        assert!(began.elapsed() < Duration::from_secs(60), "the daemon did not become ready");
        // Nobody sends: a pause that ends by itself.
        let _ = wait.recv_timeout(Duration::from_millis(1));
    }
    drop(pause);
    (running, began.elapsed())
}

pub(crate) fn rss(pid: u32) -> u64 {
    let Ok(mut system) = sysinfo::System::new() else { return 0 };
    let pid = sysinfo::Pid::from_u32(pid);
    system.refresh_processes(sysinfo::ProcessesToUpdate::Some(&[pid]), true);
    system.process(pid).map_or(0, sysinfo::Process::memory)
}

pub(crate) fn run(data_dir: &Path, binary: &Path, count: usize, reference: Option<&Path>) {
    let socket = data_dir.join("bench.sock");
    let mut ready = Times::default();
    for _ in 0..5 {
        let (running, time) = start(binary, data_dir, &socket);
        ready.add(time);
        stop(&socket, running);
    }
    line("daemon ready", &ready);

    let (running, _) = start(binary, data_dir, &socket);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    say(&format!("resident memory when ready: {} MB", rss(running.0.id()) >> 20));
    indexed(&socket);
    let mut starts = Times::default();
    let mut client = Client::new(Endpoint::Socket(socket.clone()));
    for number in 0..count {
        let agent = format!("bench-agent-{}", number % 20);
        let input = json!({ "agent": agent, "venture": "alpha", "repo": "org/alpha", "update_id": format!("bench-{}-{number:0>20}", std::process::id()) });
        let call = Call::new("sod", input);
        let call_with = [(ctxnode_api::headers::CALLER, "import")];
        starts.measure(|| runtime.block_on(client.call_with(&call, &call_with)).expect("a start of day"));
    }
    line("sod over the socket", &starts);
    say(&format!("resident memory after {count} starts: {} MB", rss(running.0.id()) >> 20));
    findable(&runtime, &mut client);
    handshake(binary, data_dir, &socket);
    let here = sod_over_mcp(binary, data_dir, &socket);
    stop(&socket, running);
    cold_handshake(binary, data_dir);
    if let Some(smaller) = reference {
        let socket = smaller.join("bench.sock");
        let (running, _) = start(binary, smaller, &socket);
        indexed(&socket);
        let there = sod_over_mcp(binary, smaller, &socket);
        stop(&socket, running);
        let growth = ratio(here.percentile(50), there.percentile(50));
        say(&format!("sod p50 is {growth:.2}x that of the reference (goal < 1.5x)"));
    }
}

/// A pause, whose timer is made inside the runtime that runs it.
pub(crate) async fn pause(milliseconds: u64) {
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
}

/// Waits until everything is findable: while the index is being filled, it takes one of the two cores.
fn indexed(socket: &Path) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut client = Client::new(Endpoint::Socket(socket.to_owned()));
    let began = now();
    loop {
        // Imports have no limit of calls per minute.
        let import = [(ctxnode_api::headers::CALLER, "import")];
        let node = runtime.block_on(client.call_with(&Call::new("node", json!({})), &import)).expect("the node").body;
        if node["search"]["watermark"].as_u64() >= node["journal"].as_u64() {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(3_600), "the index does not catch up: {node}");
        runtime.block_on(pause(200));
    }
    say(&format!("the index had caught up after {:.1?}", began.elapsed()));
}

/// From an acknowledged write to the first search that finds it.
fn findable(runtime: &tokio::runtime::Runtime, client: &mut Client) {
    let mut times = Times::default();
    let import = [(ctxnode_api::headers::CALLER, "import")];
    let mut ask = |call: &Call| runtime.block_on(client.call_with(call, &import)).expect("an answer").body;
    for number in 0..50 {
        let word = format!("findable{}x{number}", std::process::id());
        ask(&Call::new(
            "note.create",
            json!({ "content": format!("text with {word} in it"), "human_requested": true }),
        ));
        times.measure(|| while ask(&Call::new("search", json!({ "q": word })))["total"] == 0 {});
    }
    line("an acknowledged note is found", &times);
}

fn stop(socket: &Path, mut running: Running) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut client = Client::new(Endpoint::Socket(socket.to_owned()));
    runtime.block_on(client.call(&Call::new("node.stop", json!({})))).expect("a stop");
    running.0.wait().expect("an ended daemon");
}

/// A shim, spoken to over its standard input and output.
struct Shim {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Shim {
    fn spawn(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the shim");
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, stdin, stdout }
    }

    /// Sends a request and returns the line that answers it; notifications come between.
    fn ask(&mut self, id: u64, method: &str, params: &Value) -> String {
        let request = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        writeln!(self.stdin.as_mut().expect("an open pipe"), "{request}").expect("a written line");
        let mark = format!("\"id\":{id}");
        loop {
            let mut line = String::new();
            assert!(self.stdout.read_line(&mut line).expect("a line") > 0, "the shim ended");
            if line.contains(&mark) {
                return line;
            }
        }
    }

    fn initialize(&mut self) {
        let params = json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "bench", "version": "1" } });
        let answer = self.ask(0, "initialize", &params);
        assert!(answer.contains("protocolVersion"), "{answer}");
    }
}

impl Drop for Shim {
    fn drop(&mut self) {
        self.stdin = None;
        // It ends with its input; whatever happened, it is reaped.
        let _ = self.child.wait();
    }
}

fn shim(binary: &Path, data_dir: &Path, socket: &Path) -> Shim {
    let mut command = Command::new(binary);
    command.arg("mcp").env("CTXNODE_DATA_DIR", data_dir).env("CTXNODE_SOCKET", socket);
    Shim::spawn(command)
}

/// From the start of `ctxnode mcp` to the answer to `initialize`.
fn handshake(binary: &Path, data_dir: &Path, socket: &Path) {
    let mut times = Times::default();
    let mut memory = 0;
    for _ in 0..30 {
        let began = now();
        let mut shim = shim(binary, data_dir, socket);
        shim.initialize();
        times.add(began.elapsed());
        memory = memory.max(rss(shim.child.id()));
    }
    line("`ctxnode mcp` to initialize answered", &times);
    say(&format!("resident memory of the shim: {:.1} MB", memory as f64 / 1_048_576.0));
}

/// The tool `sod` in a checkout, from the request on the shim's input to the answer on its output. Twenty agents, because
/// each has its own limit of calls per minute; who calls follows from the parent process, so each has a parent of its own.
fn sod_over_mcp(binary: &Path, data_dir: &Path, socket: &Path) -> Times {
    let checkout = tempfile::tempdir().expect("a directory");
    for arguments in [&["init", "--quiet"][..], &["remote", "add", "origin", "git@github.com:org/alpha.git"]] {
        let done = Command::new("git").args(arguments).current_dir(checkout.path()).status();
        assert!(done.expect("git").success());
    }
    let (mut first, mut again) = (Times::default(), Times::default());
    for _ in 0..20 {
        let mut command = Command::new("sh");
        command.args(["-c", "\"$0\" mcp; exit"]).arg(binary).current_dir(checkout.path());
        command.env("CTXNODE_DATA_DIR", data_dir).env("CTXNODE_SOCKET", socket);
        let mut shim = Shim::spawn(command);
        shim.initialize();
        let params = json!({ "name": "sod", "arguments": { "venture": "alpha" } });
        for call in 1..=20 {
            let times = if call == 1 { &mut first } else { &mut again };
            let answer = times.measure(|| shim.ask(call, "tools/call", &params));
            assert!(answer.contains("session_id"), "{answer}");
        }
    }
    line("sod at the MCP boundary, first of a process", &first);
    line("sod at the MCP boundary, later", &again);
    again
}

/// The same handshake when there is no daemon yet: the shim starts one.
fn cold_handshake(binary: &Path, data_dir: &Path) {
    let mut times = Times::default();
    let socket = data_dir.join("cold.sock");
    for _ in 0..10 {
        let mut command = Command::new(binary);
        command
            .arg("mcp")
            .env("CTXNODE_DATA_DIR", data_dir)
            .env("CTXNODE_SOCKET", &socket)
            .env_remove("CTXNODE_NO_AUTOSTART");
        let began = now();
        let mut shim = Shim::spawn(command);
        shim.initialize();
        times.add(began.elapsed());
        drop(shim);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let mut client = Client::new(Endpoint::Socket(socket.clone()));
        let node = runtime.block_on(client.call(&Call::new("node", json!({})))).expect("the node").body;
        runtime.block_on(client.call(&Call::new("node.stop", json!({})))).expect("a stop");
        // The next one starts when this one has let go of the store. One that has ended and was not reaped has no program.
        let program = format!("/proc/{}/exe", node["pid"]);
        let (pause, wait) = std::sync::mpsc::sync_channel::<()>(0);
        while socket.exists() || std::fs::read_link(&program).is_ok() {
            let _ = wait.recv_timeout(Duration::from_millis(5));
        }
        drop(pause);
    }
    line("`ctxnode mcp` to initialize, daemon down", &times);
}
