//! A daemon as a child of the test: started, killed, stopped, restarted, and always reaped.
//!
//! Not here: daemons that a client started by itself; those belong to the sandbox.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::sandbox::Sandbox;
use crate::wait::wait_until;

/// How long a start or a stop may take. A debug build on a busy machine with two cores needs a few seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long one look at the socket may take.
const PROBE: Duration = Duration::from_secs(2);

/// A running daemon. It is killed and reaped when dropped, also when the test panics.
#[derive(Debug)]
pub struct Daemon<'a> {
    sandbox: &'a Sandbox,
    arguments: Vec<String>,
    child: Option<Child>,
}

impl<'a> Daemon<'a> {
    /// Starts `ctxnode daemon run` and waits until it answers.
    ///
    /// # Panics
    /// When the binary is missing, or the daemon ends or stays silent; the message carries what it printed.
    #[must_use]
    pub fn start(sandbox: &'a Sandbox) -> Self {
        Self::start_with(sandbox, &[])
    }

    /// Starts `ctxnode daemon run` with more arguments and waits until it answers.
    ///
    /// # Panics
    /// As [`Daemon::start`].
    #[must_use]
    pub fn start_with(sandbox: &'a Sandbox, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let mut daemon = Self { sandbox, arguments, child: None };
        daemon.spawn();
        daemon
    }

    /// Returns the process id of the running daemon.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the daemon runs").id()
    }

    /// Kills the daemon like a power cut (`kill -9`) and reaps it.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself; either way there is nothing left to kill.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Asks the daemon to end (SIGTERM) and waits until it did.
    ///
    /// # Panics
    /// When it does not run or does not end in time.
    pub fn stop(&mut self) -> ExitStatus {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).expect("a child has a positive pid");
        kill_process(pid, Signal::TERM).expect("an own child can be signalled");
        self.wait_for_exit()
    }

    /// Waits until the daemon has ended by itself, for example after `ctxnode daemon stop`.
    ///
    /// # Panics
    /// When it does not run or does not end in time.
    pub fn wait_for_exit(&mut self) -> ExitStatus {
        let child = self.child.as_mut().expect("the daemon runs");
        let mut status = None;
        wait_until(PATIENCE, "the daemon has ended", || {
            status = child.try_wait().expect("an own child can be waited for");
            status.is_some()
        });
        self.child = None;
        status.expect("the loop above ends with a status")
    }

    /// Starts the daemon again in the same sandbox, killing it first when it still runs.
    ///
    /// # Panics
    /// As [`Daemon::start`].
    pub fn restart(&mut self) {
        self.kill();
        self.spawn();
    }

    /// Returns everything that the daemons of this sandbox printed since the last start.
    #[must_use]
    pub fn printed(&self) -> String {
        fs::read_to_string(self.output_file()).unwrap_or_default()
    }

    fn output_file(&self) -> PathBuf {
        self.sandbox.root().join("daemon.out")
    }

    fn spawn(&mut self) {
        let output = File::create(self.output_file()).expect("a file in the sandbox can be made");
        let errors = output.try_clone().expect("a file handle can be doubled");
        let mut command = self.sandbox.command("ctxnode");
        let program = Path::new(command.get_program());
        assert!(program.is_absolute(), "{program:?} is not built: run `cargo build -p ctxnode-node` first");
        command.args(["daemon", "run"]).args(&self.arguments).stdout(output).stderr(errors).stdin(Stdio::null());
        self.child = Some(command.spawn().expect("the daemon can be started"));
        let mut ended = None;
        wait_until(PATIENCE, "the daemon answers on its socket", || {
            ended = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            ended.is_some() || self.answers()
        });
        if let Some(status) = ended {
            self.child = None;
            panic!("the daemon ended at its start with {status}:\n{}", self.printed());
        }
    }

    /// Returns whether the daemon answers `GET /health` with success. A connection alone proves only that the socket
    /// is bound.
    fn answers(&self) -> bool {
        let Ok(mut stream) = UnixStream::connect(self.sandbox.socket()) else { return false };
        let ask = |stream: &mut UnixStream| {
            stream.set_read_timeout(Some(PROBE))?;
            stream.set_write_timeout(Some(PROBE))?;
            stream.write_all(b"GET /health HTTP/1.1\r\nHost: ctxnode\r\nConnection: close\r\n\r\n")?;
            let mut status_line = [0_u8; 12];
            stream.read_exact(&mut status_line)?;
            std::io::Result::Ok(status_line)
        };
        ask(&mut stream).is_ok_and(|status_line| &status_line == b"HTTP/1.1 200")
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "the store is locked")]
    fn a_daemon_that_ends_at_its_start_fails_the_test_with_what_it_printed() {
        let sandbox = Sandbox::new();
        sandbox.fake_program("ctxnode", "echo 'the store is locked' >&2; exit 1");
        let _daemon = Daemon::start(&sandbox);
    }
}
