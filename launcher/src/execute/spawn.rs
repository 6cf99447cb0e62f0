//! The agent as a child: no shell, the terminal as it is, signals passed on, its end as our end.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus};

use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::low_level::siginfo::Cause;

use super::Exit;
use crate::refusal::{Refusal, Step};
use crate::secrets::Secrets;

/// What is started.
#[derive(Debug)]
pub(super) struct Child<'a> {
    pub(super) program: &'a Path,
    pub(super) arguments: &'a [OsString],
    pub(super) directory: &'a Path,
    pub(super) secrets: &'a Secrets,
    /// Variables that it must not have.
    pub(super) without: &'a [&'static str],
}

/// A running agent.
#[derive(Debug)]
pub(super) struct Running {
    child: std::process::Child,
    signals: SignalsInfo<WithOrigin>,
}

impl Child<'_> {
    /// Starts it with the current environment and the secrets, nothing else.
    pub(super) fn start(&self) -> Result<Running, Refusal> {
        let cannot = |source| Refusal::Run { step: Step::Spawn, program: self.program.to_owned(), source };
        let mut command = Command::new(self.program);
        command.args(self.arguments).current_dir(self.directory);
        command.envs(self.secrets.pairs().map(|(name, secret)| (name, secret.expose())));
        for name in self.without {
            command.env_remove(name);
        }
        // Caught before the start: a signal that comes in between waits for the loop below.
        let signals = SignalsInfo::new([SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGCHLD]).map_err(cannot)?;
        let child = command.spawn().map_err(cannot)?;
        Ok(Running { child, signals })
    }
}

impl Running {
    /// Waits for its end, passing signals on, and returns the exit code for ours.
    pub(super) fn wait(&mut self) -> Exit {
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return code_of(status),
                Ok(None) => {}
                // Nobody else waits for it, so this does not happen; to go on would be to wait for ever.
                Err(_) => return 70,
            }
            for origin in self.signals.wait() {
                // What a terminal sends goes to the whole foreground group: the agent has it already. That it hung up goes
                // to the leader of the session alone, which in tmux is this process.
                let agent_has_it = origin.signal != SIGHUP && matches!(origin.cause, Cause::Kernel);
                if origin.signal != SIGCHLD && !agent_has_it {
                    self.pass_on(origin.signal);
                }
            }
        }
    }

    fn pass_on(&self, signal: i32) {
        let signal = match signal {
            SIGINT => Signal::INT,
            SIGTERM => Signal::TERM,
            SIGHUP => Signal::HUP,
            _ => Signal::QUIT,
        };
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // It was not waited for yet, so the number is still its own.
            let _ = kill_process(pid, signal);
        }
    }
}

fn code_of(status: ExitStatus) -> Exit {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(70);
    u8::try_from(code).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l_03_codes_and_signals_become_exit_codes() {
        let code = |raw| code_of(ExitStatus::from_raw(raw));
        assert_eq!([code(0), code(7 << 8), code(2), code(9), code(15)], [0, 7, 130, 137, 143]);
    }
}
