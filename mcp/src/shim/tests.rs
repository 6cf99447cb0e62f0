//! The shim between a client in memory and a socket that the test answers.

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader, DuplexStream, Lines as TokioLines, WriteHalf};
use tokio::net::UnixListener;
use tokio::task::JoinHandle;

use super::*;

/// A shim between a client in memory and a socket that the test answers.
struct Bench {
    listener: UnixListener,
    input: Option<DuplexStream>,
    output: TokioLines<BufReader<DuplexStream>>,
    shim: JoinHandle<ShimExit>,
    _dir: tempfile::TempDir,
}

impl Bench {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("s");
        let listener = UnixListener::bind(&socket).unwrap();
        let options = ShimOptions {
            socket: Box::new(move || socket.clone()),
            directory: "/home/ada".into(),
            build: "b".to_owned(),
            start: None,
        };
        let (input, shim_input) = tokio::io::duplex(1 << 16);
        let (output, shim_output) = tokio::io::duplex(1 << 16);
        #[expect(clippy::disallowed_methods, reason = "the test's end stops its runtime")]
        let shim = tokio::spawn(Shim::new(options).pipe(shim_input, shim_output, || false));
        Self { listener, input: Some(input), output: BufReader::new(output).lines(), shim, _dir: dir }
    }

    async fn say(&mut self, message: Value) {
        write_line(self.input.as_mut().unwrap(), message.to_string()).await.unwrap();
    }

    async fn hears(&mut self) -> Value {
        serde_json::from_str(&self.output.next_line().await.unwrap().unwrap()).unwrap()
    }

    async fn accept(&self) -> Daemon {
        let (read, write) = split(self.listener.accept().await.unwrap().0);
        let mut lines = BufReader::new(read).lines();
        let preface: Value = serde_json::from_str(&lines.next_line().await.unwrap().unwrap()).unwrap();
        assert_eq!((&preface["ctxnode"], &preface["directory"]), (&json!("mcp/1"), &json!("/home/ada")));
        Daemon { lines, write }
    }
}

struct Daemon {
    lines: TokioLines<BufReader<ReadHalf<UnixStream>>>,
    write: WriteHalf<UnixStream>,
}

impl Daemon {
    async fn hears(&mut self) -> Value {
        serde_json::from_str(&self.lines.next_line().await.unwrap().unwrap()).unwrap()
    }

    async fn answers(&mut self, id: u64) {
        write_line(&mut self.write, json!({ "jsonrpc": "2.0", "id": id, "result": {} }).to_string()).await.unwrap();
    }
}

fn request(id: u64, method: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": { "name": "sod" } })
}

/// M-04: the client sees one answer, and the daemon sees one key.
#[tokio::test]
async fn m_04_a_call_that_was_cut_is_sent_again_with_the_same_key() {
    let mut bench = Bench::start();
    bench.say(request(0, "initialize")).await;
    let mut daemon = bench.accept().await;
    assert_eq!(daemon.hears().await["method"], "initialize");
    daemon.answers(0).await;
    assert_eq!(bench.hears().await["id"], 0);
    bench.say(json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })).await;
    daemon.hears().await;
    bench.say(request(1, "tools/call")).await;
    let first = daemon.hears().await;
    drop(daemon);

    let mut daemon = bench.accept().await;
    assert_eq!(daemon.hears().await["method"], "initialize");
    assert_eq!(daemon.hears().await["method"], "notifications/initialized");
    assert_eq!(daemon.hears().await, first);
    daemon.answers(0).await;
    daemon.answers(1).await;
    assert_eq!(bench.hears().await["id"], 1);
}

#[tokio::test]
async fn m_05_closing_stdin_ends_the_shim_after_the_last_answer() {
    let mut bench = Bench::start();
    let mut daemon = bench.accept().await;
    bench.say(request(5, "tools/list")).await;
    bench.input = None;
    assert_eq!(daemon.hears().await["id"], 5);
    daemon.answers(5).await;
    assert_eq!(bench.hears().await["id"], 5);
    assert_eq!(bench.shim.await.unwrap(), ShimExit::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_stays_away_is_an_answer_and_not_silence() {
    let mut bench = Bench::start();
    let daemon = bench.accept().await;
    let dead = tempfile::tempdir().unwrap();
    std::fs::rename(bench._dir.path().join("s"), dead.path().join("s")).unwrap();
    drop(daemon);
    bench.say(request(3, "tools/call")).await;
    let answer = bench.hears().await;
    assert_eq!(answer["id"], 3);
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.contains("cannot be reached") && message.contains("ctxnode doctor"), "{message}");
}
