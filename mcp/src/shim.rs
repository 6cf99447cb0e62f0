//! `ctxnode mcp`: a pipe between an agent's stdin and stdout and the daemon's MCP socket that outlives the daemon.
//!
//! It holds no store and no lock. When the socket breaks it starts or finds the daemon again, repeats the handshake and
//! the requests that were not yet answered; an idempotency key that it put into every call makes a repetition harmless.
//! What it has to remember for that is [`memory`], which does no I/O.

mod lines;
mod memory;
mod preface;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use ctxnode_api::autostart::{Starter, ensure};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadHalf, split};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use lines::{Line, Lines};
use memory::{FromClient, FromDaemon, Memory};
pub use preface::{Preface, PrefaceError};

/// How long one attempt to reach or start the daemon may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a request waits for a daemon that cannot be reached before it is answered with an error.
const PATIENCE: Duration = Duration::from_secs(6);
/// The first and the longest wait between two attempts.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(15));
/// How long answers may take after stdin has closed.
const DRAIN: Duration = Duration::from_secs(2);
/// How many lines may wait for the daemon to read them: all requests in flight, the handshake and all subscriptions.
const QUEUE: usize = 2_048;
/// How often the shim looks whether its parent lives and whether requests have waited too long.
const TICK: Duration = Duration::from_millis(500);

/// What the shim needs to know.
pub struct ShimOptions {
    /// Returns the daemon's MCP socket; asked before each attempt, since the next daemon may listen elsewhere.
    pub socket: Box<dyn Fn() -> PathBuf + Send>,
    /// Where the agent works.
    pub directory: PathBuf,
    /// This binary's build.
    pub build: String,
    /// How to start the daemon; `None` never starts one.
    pub start: Option<Starter>,
}

impl std::fmt::Debug for ShimOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShimOptions").field("directory", &self.directory).finish_non_exhaustive()
    }
}

/// Why the shim ended. None of these is a failure of the shim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShimExit {
    /// The client closed stdin.
    Closed,
    /// The client closed stdout.
    Deaf,
    /// The client's process is gone.
    Orphaned,
}

/// Runs the shim on this process's stdin and stdout until the client is gone.
pub async fn run(options: ShimOptions) -> ShimExit {
    let parent = std::os::unix::process::parent_id();
    let orphaned = move || std::os::unix::process::parent_id() != parent;
    Shim::new(options).pipe(tokio::io::stdin(), tokio::io::stdout(), orphaned).await
}

/// A live connection: its reading half, and the queue of its writer.
struct Connection {
    lines: Lines<ReadHalf<UnixStream>>,
    // Writing is a task of its own, so that a daemon that writes to us is never blocked by us writing to it.
    out: mpsc::Sender<String>,
    // Ends with the connection.
    _writer: JoinSet<()>,
}

struct Shim {
    options: ShimOptions,
    memory: Memory,
    connection: Option<Connection>,
    attempt_at: Instant,
    backoff: Duration,
    last_error: String,
}

/// What happened next.
enum Event {
    Client(io::Result<Line>),
    Daemon(io::Result<Line>),
    Connected(Result<UnixStream, String>),
    Tick,
}

impl Shim {
    fn new(options: ShimOptions) -> Self {
        Self {
            options,
            memory: Memory::default(),
            connection: None,
            attempt_at: Instant::now(),
            backoff: BACKOFF.0,
            last_error: "not tried yet".to_owned(),
        }
    }

    async fn pipe(
        mut self,
        input: impl AsyncRead + Unpin,
        mut output: impl AsyncWrite + Unpin,
        orphaned: impl Fn() -> bool,
    ) -> ShimExit {
        let mut input = Lines::new(input);
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut closing: Option<Instant> = None;
        let mut connecting = Box::pin(connect(&self.options, self.attempt_at));
        loop {
            if let Some(deadline) = closing
                && (self.memory.is_idle() || Instant::now() >= deadline)
            {
                return ShimExit::Closed;
            }
            let connected = self.connection.is_some();
            let event = tokio::select! {
                line = input.next(), if closing.is_none() => Event::Client(line),
                line = next_of(&mut self.connection), if connected => Event::Daemon(line),
                done = &mut connecting, if !connected => Event::Connected(done),
                _ = tick.tick() => Event::Tick,
            };
            let answers = match event {
                Event::Client(Ok(Line::Text(text))) => {
                    if !connected && Instant::now() < self.attempt_at {
                        // Somebody waits now, so the daemon is tried again at once.
                        self.attempt_at = Instant::now();
                        connecting = Box::pin(connect(&self.options, self.attempt_at));
                    }
                    self.client_said(text)
                }
                Event::Client(Ok(Line::TooLong)) => vec![memory::too_long()],
                Event::Client(Ok(Line::End) | Err(_)) => {
                    closing = Some(Instant::now() + DRAIN);
                    Vec::new()
                }
                Event::Daemon(Ok(Line::Text(text))) => match self.memory.daemon_said(&text) {
                    FromDaemon::Forward => vec![text],
                    FromDaemon::Swallow => Vec::new(),
                },
                Event::Daemon(Ok(Line::TooLong)) => Vec::new(),
                Event::Daemon(Ok(Line::End) | Err(_)) => {
                    self.memory.disconnected(Instant::now());
                    self.lost("the daemon closed the connection".to_owned());
                    connecting = Box::pin(connect(&self.options, self.attempt_at));
                    Vec::new()
                }
                Event::Connected(Ok(stream)) => {
                    self.connected(stream);
                    Vec::new()
                }
                Event::Connected(Err(error)) => {
                    self.lost(error);
                    connecting = Box::pin(connect(&self.options, self.attempt_at));
                    Vec::new()
                }
                Event::Tick if orphaned() => return ShimExit::Orphaned,
                Event::Tick if connected => Vec::new(),
                Event::Tick => self.memory.give_up(Instant::now(), PATIENCE, &self.last_error),
            };
            for answer in answers {
                if write_line(&mut output, answer).await.is_err() {
                    return ShimExit::Deaf;
                }
            }
        }
    }

    /// Remembers what the client sent and passes it on when there is a connection.
    fn client_said(&mut self, text: String) -> Vec<String> {
        match self.memory.client_said(text, Instant::now()) {
            FromClient::Send(line) => {
                if let Some(connection) = &self.connection {
                    // A writer that is gone shows as the end of the connection, and the line is sent again then. A full
                    // queue is a daemon that reads nothing more; what it has not got is still remembered.
                    let _ = connection.out.try_send(line);
                }
                Vec::new()
            }
            FromClient::Answer(line) => vec![line],
        }
    }

    fn connected(&mut self, stream: UnixStream) {
        let (read, mut write) = split(stream);
        let (out, mut queue) = mpsc::channel::<String>(QUEUE);
        let mut writer = JoinSet::new();
        writer.spawn(async move {
            while let Some(line) = queue.recv().await {
                if write_line(&mut write, line).await.is_err() {
                    return;
                }
            }
        });
        let preface = Preface::new(std::process::id(), &self.options.directory, &self.options.build);
        for line in std::iter::once(preface.line()).chain(self.memory.replay()) {
            // As above: a writer that is gone shows as the end of the connection.
            let _ = out.try_send(line);
        }
        self.connection = Some(Connection { lines: Lines::new(read), out, _writer: writer });
        self.backoff = BACKOFF.0;
    }

    fn lost(&mut self, why: String) {
        self.connection = None;
        self.last_error = why;
        // Shims of many agents lose the same daemon at the same moment; they should not come back as one.
        self.attempt_at = Instant::now() + self.backoff.mul_f64(jitter());
        self.backoff = (self.backoff * 2).min(BACKOFF.1);
    }
}

/// Returns a number from 0.5 to 1.5.
fn jitter() -> f64 {
    0.5 + f64::from(uuid::Uuid::new_v4().as_bytes()[0]) / 255.0
}

async fn next_of(connection: &mut Option<Connection>) -> io::Result<Line> {
    match connection {
        Some(connection) => connection.lines.next().await,
        None => std::future::pending().await,
    }
}

fn connect(options: &ShimOptions, at: Instant) -> impl Future<Output = Result<UnixStream, String>> + use<> {
    let (socket, start) = ((options.socket)(), options.start.clone());
    async move {
        sleep_until(at).await;
        let said = |error: &dyn std::error::Error| match error.source() {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
        match &start {
            Some(starter) => ensure(&socket, starter, Instant::now() + CONNECT).await.map_err(|error| said(&error)),
            None => UnixStream::connect(&socket).await.map_err(|error| format!("{}: {error}", socket.display())),
        }
    }
}

async fn write_line(output: &mut (impl AsyncWrite + Unpin), mut line: String) -> io::Result<()> {
    line.push('\n');
    output.write_all(line.as_bytes()).await?;
    output.flush().await
}

#[cfg(test)]
mod tests;
