//! Starting the daemon when a client finds none: one call that ends when the socket accepts.
//!
//! Two clients may start at once. Both daemons try for the lock of the data directory, one gets it and the other exits;
//! so the child's end is no failure, and what counts is the socket.

use std::ffi::{OsStr, OsString};
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use thiserror::Error;
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout_at};

/// The first wait between two looks at the socket; a warm daemon listens within a few of these.
const FIRST_WAIT: Duration = Duration::from_millis(5);
/// The longest wait, reached after a few doublings.
const LONGEST_WAIT: Duration = Duration::from_millis(100);
/// How long the socket is still waited for when the started daemon has ended: it may have lost the race for the lock
/// against another one, which opens a large store in less than this.
const GRACE: Duration = Duration::from_millis(1_500);

/// What the daemon finds in its environment besides what passes of the client's. Every thread that blocks for a while (there may be many)
/// gets an arena of the C library's allocator, which gives nothing back: with two arenas a new node took in 100,000
/// records in 234 MB instead of 308, as fast as before; with one, a third slower.
pub const ENVIRONMENT: [(&str, &str); 1] = [("MALLOC_ARENA_MAX", "2")];

/// The variables of the client that the daemon gets: where things lie, whose account it is, how git and ssh reach their hosts.
///
/// Nothing else passes. The client may be the child of an agent, whose environment holds the secrets of one venture; the
/// daemon lives for days, serves every venture, and would hand them on to each git and gh that it starts.
const PASSED: [&str; 34] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LANGUAGE",
    "TZ",
    "TMPDIR",
    "TERM",
    "NO_COLOR",
    "RUST_LOG",
    "RUST_BACKTRACE",
    "SSH_AUTH_SOCK",
    "SSH_ASKPASS",
    "DBUS_SESSION_BUS_ADDRESS",
    "GH_CONFIG_DIR",
    "GH_HOST",
    "GIT_CONFIG_GLOBAL",
    "GIT_CONFIG_NOSYSTEM",
    "GIT_CONFIG_SYSTEM",
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "GIT_TERMINAL_PROMPT",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
];
/// Families of variables that pass.
const PASSED_PREFIXES: [&str; 3] = ["LC_", "XDG_", "CTXNODE_"];
/// Members of those families that do not: what a client says about itself, the first of them a secret.
const KEPT: [&str; 2] = ["CTXNODE_TOKEN", "CTXNODE_AGENT"];

/// Whether the daemon gets a variable of the client that starts it.
fn passes(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    !KEPT.contains(&name) && (PASSED.contains(&name) || PASSED_PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
}

/// Returns what passes of this process's environment.
#[expect(clippy::disallowed_methods, reason = "what a child inherits; nothing is configured by it")]
fn inherited() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os().filter(|(name, _)| passes(name))
}

/// How to start the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Starter {
    /// The program, by preference the running binary itself.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Where its output goes until it has opened its own log; appended to, made when absent.
    pub log: PathBuf,
}

/// No daemon listens, and none could be started.
#[derive(Debug, Error)]
pub enum StartError {
    /// The log file cannot be opened.
    #[error("the log {path} cannot be opened")]
    Log {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The program cannot be run.
    #[error("{program} cannot be run")]
    Spawn {
        /// The program.
        program: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// It was run, and the socket did not accept in time.
    #[error("the daemon did not listen at {socket} in time; its output is in {log}")]
    NotListening {
        /// The socket.
        socket: PathBuf,
        /// Its output.
        log: PathBuf,
        /// What the last connect said.
        #[source]
        source: std::io::Error,
    },
}

/// Connects to the daemon, starting it when nobody listens, at most until `deadline`.
///
/// # Errors
/// When it cannot be run or does not listen in time.
pub async fn ensure(socket: &Path, starter: &Starter, deadline: Instant) -> Result<UnixStream, StartError> {
    if let Ok(stream) = UnixStream::connect(socket).await {
        return Ok(stream);
    }
    let mut child = starter.spawn()?;
    let mut wait = FIRST_WAIT;
    let mut deadline = deadline;
    let mut ended = false;
    loop {
        let source = match timeout_at(deadline, UnixStream::connect(socket)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => error,
            Err(_) => std::io::ErrorKind::TimedOut.into(),
        };
        // Collects a child that ended; nobody else would until this process ends.
        if !ended && matches!(child.try_wait(), Ok(Some(_))) {
            ended = true;
            deadline = deadline.min(Instant::now() + GRACE);
        }
        if Instant::now() >= deadline {
            let (socket, log) = (socket.to_owned(), starter.log.clone());
            return Err(StartError::NotListening { socket, log, source });
        }
        sleep(wait.min(deadline.saturating_duration_since(Instant::now()))).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

impl Starter {
    /// Runs the program in a process group of its own, so that an interrupt on the client's terminal does not reach it, and
    /// with the part of the client's environment that is no secret.
    fn spawn(&self) -> Result<Child, StartError> {
        let log = |source| StartError::Log { path: self.log.clone(), source };
        let output = OpenOptions::new().create(true).append(true).mode(0o600).open(&self.log).map_err(log)?;
        let errors = output.try_clone().map_err(log)?;
        let spawned = Command::new(&self.program)
            .args(&self.arguments)
            .env_clear()
            .envs(inherited())
            .envs(ENVIRONMENT)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .current_dir("/")
            .process_group(0)
            .spawn();
        spawned.map_err(|source| StartError::Spawn { program: self.program.clone(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A daemon that makes the socket by moving a listening one into place, so that a script can play it.
    fn starter(dir: &Path, script: &str) -> Starter {
        let arguments = ["-c", script, "sh"].map(OsString::from).into_iter().chain([dir.into()]).collect();
        Starter { program: "/bin/sh".into(), arguments, log: dir.join("log") }
    }

    fn soon(ms: u64) -> Instant {
        Instant::now() + Duration::from_millis(ms)
    }

    #[tokio::test]
    async fn a_daemon_that_listens_is_used_and_none_is_started() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("s");
        let _listener = tokio::net::UnixListener::bind(&socket).unwrap();
        ensure(&socket, &starter(dir.path(), "echo ran"), soon(5_000)).await.unwrap();
        assert!(!dir.path().join("log").exists());
    }

    #[tokio::test]
    async fn two_clients_at_once_both_connect_to_the_one_that_comes_up() {
        let dir = tempfile::tempdir().unwrap();
        let (hidden, socket) = (dir.path().join("hidden"), dir.path().join("s"));
        let _listener = tokio::net::UnixListener::bind(&hidden).unwrap();
        // `mkdir` is the lock: the loser exits at once, as a second daemon does.
        let starter = starter(dir.path(), "mkdir \"$1/lock\" && mv \"$1/hidden\" \"$1/s\"");
        let deadline = soon(10_000);
        let (first, second) = tokio::join!(ensure(&socket, &starter, deadline), ensure(&socket, &starter, deadline));
        first.unwrap();
        second.unwrap();
    }

    #[tokio::test]
    async fn what_does_not_listen_in_time_is_named_with_its_output() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("s");
        let error = ensure(&socket, &starter(dir.path(), "echo broken"), soon(300)).await.unwrap_err();
        assert!(matches!(error, StartError::NotListening { .. }), "{error}");
        assert_eq!(std::fs::read_to_string(dir.path().join("log")).unwrap(), "broken\n");
    }

    #[tokio::test]
    async fn the_daemon_is_told_to_keep_its_memory_small() {
        let dir = tempfile::tempdir().unwrap();
        let script = "echo arenas $MALLOC_ARENA_MAX";
        drop(ensure(&dir.path().join("s"), &starter(dir.path(), script), soon(300)).await);
        assert_eq!(std::fs::read_to_string(dir.path().join("log")).unwrap(), "arenas 2\n");
    }

    #[tokio::test]
    async fn l_04_the_daemon_gets_what_passes_of_the_environment_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        drop(ensure(&dir.path().join("s"), &starter(dir.path(), "env"), soon(300)).await);
        let log = std::fs::read_to_string(dir.path().join("log")).unwrap();
        let names: Vec<&str> = log.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
        assert!(names.contains(&"PATH") && names.contains(&"MALLOC_ARENA_MAX"), "{names:?}");
        // The shell sets these itself. Cargo has put variables of its own into this process, of which none may be there.
        let made = ["PWD", "OLDPWD", "SHLVL", "_", "MALLOC_ARENA_MAX"];
        let strange: Vec<&&str> = names.iter().filter(|name| !made.contains(name) && !passes(name.as_ref())).collect();
        assert!(strange.is_empty(), "{strange:?}");
    }

    #[test]
    fn l_04_no_token_passes() {
        for name in ["PATH", "HOME", "LC_ALL", "XDG_RUNTIME_DIR", "CTXNODE_DATA_DIR", "SSH_AUTH_SOCK", "https_proxy"] {
            assert!(passes(name.as_ref()), "{name}");
        }
        for name in ["GH_TOKEN", "GITHUB_TOKEN", "CTXNODE_TOKEN", "TOKEN", "ANTHROPIC_API_KEY", "LD_PRELOAD", "PATHS"] {
            assert!(!passes(name.as_ref()), "{name}");
        }
    }

    #[tokio::test]
    async fn a_program_that_does_not_exist_is_an_error_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let starter = Starter { program: "/nonexistent/x".into(), ..starter(dir.path(), "") };
        let error = ensure(&dir.path().join("s"), &starter, soon(60_000)).await.unwrap_err();
        assert!(matches!(error, StartError::Spawn { .. }), "{error}");
    }
}
