//! Two daemons on loopback: a new node takes in all that a filled one has, until it is readable and findable there.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ctxnode_api::{Call, Client, Endpoint};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::stats::{Times, line, say};
use crate::whole::{Running, pause, rss};

struct Daemon<'a> {
    runtime: &'a Runtime,
    client: Client,
    running: Running,
}

/// What a daemon finds that a user's command starts, but for its places.
fn environment(command: &mut Command, data_dir: &Path) {
    command
        .envs(ctxnode_api::autostart::ENVIRONMENT)
        .env("CTXNODE_DATA_DIR", data_dir)
        .env("CTXNODE_SOCKET", data_dir.join("bench.sock"))
        .env("CTXNODE_SYNC_BIND", "127.0.0.1")
        .env("CTXNODE_NO_AUTOSTART", "true")
        .stdin(Stdio::null());
}

impl<'a> Daemon<'a> {
    fn start(runtime: &'a Runtime, binary: &Path, data_dir: &Path) -> Self {
        let mut command = Command::new(binary);
        command.args(["daemon", "run"]);
        environment(&mut command, data_dir);
        let running = Running(command.spawn().expect("the daemon"));
        let client = Client::new(Endpoint::Socket(data_dir.join("bench.sock")));
        let mut daemon = Self { runtime, client, running };
        let began = Instant::now();
        while daemon.try_ask("node", &json!({})).is_none() {
            assert!(began.elapsed() < Duration::from_secs(60), "the daemon did not become ready");
            runtime.block_on(pause(5));
        }
        daemon
    }

    fn try_ask(&mut self, operation: &'static str, input: &Value) -> Option<Value> {
        let import = [(ctxnode_api::headers::CALLER, "import")];
        let call = Call::new(operation, input.clone());
        self.runtime.block_on(self.client.call_with(&call, &import)).ok().map(|answer| answer.body)
    }

    fn ask(&mut self, operation: &'static str, input: &Value) -> Value {
        self.try_ask(operation, input).expect("an answer")
    }
}

fn records(node: &Value) -> u64 {
    node["records"].as_object().into_iter().flatten().filter_map(|(_, count)| count.as_u64()).sum()
}

pub(crate) fn run(data_dir: &Path, binary: &Path) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut a = Daemon::start(&runtime, binary, data_dir);
    let target = records(&a.ask("node", &json!({})));
    while !indexed(&a.ask("node", &json!({}))) {
        runtime.block_on(pause(200));
    }
    let code = a.ask("invite.create", &json!({ "role": "admin" }))["code"].as_str().expect("a code").to_owned();
    let dir = tempfile::tempdir_in(".").expect("a directory");
    let other = dir.path().join("b");
    let mut join = Command::new(binary);
    join.args(["join", &code, "--name", "newcomer"]).stdout(Stdio::null());
    environment(&mut join, &other);
    assert!(join.status().expect("ctxnode join").success());

    let began = Instant::now();
    let mut b = Daemon::start(&runtime, binary, &other);
    let (mut readable, mut findable, mut peak) = (None, None, 0);
    while findable.is_none() {
        let node = b.ask("node", &json!({}));
        peak = peak.max(rss(b.running.0.id()));
        if records(&node) >= target {
            readable.get_or_insert(began.elapsed());
            if indexed(&node) {
                findable = Some(began.elapsed());
            }
        }
        assert!(began.elapsed() < Duration::from_secs(1_800), "the newcomer did not take in everything: {node}");
        runtime.block_on(pause(100));
    }
    let rate = |time: Option<Duration>| target as f64 / time.map_or(f64::INFINITY, |time| time.as_secs_f64());
    say(&format!(
        "a new node took in {target} records: readable at {:.0}/s, readable and indexed at {:.0}/s (goal >= 8000/s); \
         memory at most {} MB there (goal <= 250 MB), {} MB at the other",
        rate(readable),
        rate(findable),
        peak >> 20,
        rss(a.running.0.id()) >> 20
    ));
    found_elsewhere(&mut a, &mut b);
}

fn indexed(node: &Value) -> bool {
    node["search"]["watermark"].as_u64() >= node["journal"].as_u64()
}

/// From a note acknowledged by one daemon to the first search of the other that finds it.
fn found_elsewhere(a: &mut Daemon<'_>, b: &mut Daemon<'_>) {
    let mut times = Times::default();
    for number in 0..100 {
        let word = format!("elsewhere{}x{number}", std::process::id());
        a.ask("note.create", &json!({ "content": format!("text with {word} in it"), "human_requested": true }));
        times.measure(|| while b.ask("search", &json!({ "q": word }))["total"] == 0 {});
    }
    line("a note of A is found by a search on B", &times);
    say("  (goal: p99 <= 600 ms)");
}
