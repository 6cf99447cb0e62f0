//! Programs: found on the PATH, and run with a limit. Never a shell.
//!
//! Not here: the agent, which has no limit and the terminal (`execute::spawn`).

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use ctxnode_config::Environment;
use rustix::process::{Pid, Signal, kill_process_group};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use zeroize::Zeroizing;

/// The most that is read of an output. A venture's secrets are some kilobytes; a program that prints more than this is
/// not the one that was meant.
const MOST: u64 = 8 << 20;
/// How much room an output gets at once, so that a secret is not left behind in buffers that grew.
const ROOM: usize = 64 << 10;

/// What a program did.
#[derive(Debug)]
pub struct Done {
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed; may hold secrets, hence wiped.
    pub output: Zeroizing<Vec<u8>>,
    /// Its errors; the caller knows whether they may be shown.
    pub errors: Zeroizing<Vec<u8>>,
}

/// A program did not end by itself, or never started.
#[derive(Debug, Error)]
pub enum RunError {
    /// It cannot be run.
    #[error("`{program}` cannot be run")]
    Spawn {
        /// Its name.
        program: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// It took too long and was stopped, with all that it had started.
    #[error("`{program}` did not end within {} s and was stopped", .limit.as_secs())]
    TooSlow {
        /// Its name.
        program: String,
        /// How long it had.
        limit: Duration,
    },
    /// Its output cannot be read.
    #[error("the output of `{program}` cannot be read")]
    Output {
        /// Its name.
        program: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

/// A program to run.
#[derive(Clone, Debug)]
pub struct Program {
    /// Which.
    pub path: PathBuf,
    /// Its arguments, as they are.
    pub arguments: Vec<OsString>,
    /// Where.
    pub directory: Option<PathBuf>,
    /// Variables beside the current ones; never shown.
    pub variables: Vec<(&'static str, OsString)>,
    /// What it reads on stdin; nothing when absent. May hold secrets, hence wiped.
    pub input: Option<Zeroizing<Vec<u8>>>,
}

impl Program {
    /// Names a program and its arguments.
    pub fn new<A: Into<OsString>>(path: impl Into<PathBuf>, arguments: impl IntoIterator<Item = A>) -> Self {
        let arguments = arguments.into_iter().map(Into::into).collect();
        Self { path: path.into(), arguments, directory: None, variables: Vec::new(), input: None }
    }

    /// Says where it runs.
    #[must_use]
    pub fn within(mut self, directory: &Path) -> Self {
        self.directory = Some(directory.to_owned());
        self
    }

    /// Adds a variable.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.variables.push((name, value.into()));
        self
    }

    /// Runs it in a process group of its own, which is stopped as a whole when the limit is over. As it is not the
    /// terminal's foreground group, it cannot ask a person and hang.
    ///
    /// # Errors
    /// When it cannot be run, or does not end in time.
    pub async fn run(&self, limit: Duration) -> Result<Done, RunError> {
        let name = || self.path.file_name().unwrap_or(self.path.as_os_str()).to_string_lossy().into_owned();
        let mut command = Command::new(&self.path);
        command.args(&self.arguments).envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.stdin(if self.input.is_some() { Stdio::piped() } else { Stdio::null() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        let mut child = command.spawn().map_err(|source| RunError::Spawn { program: name(), source })?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let (output, errors) = (child.stdout.take(), child.stderr.take());
        let stdin = child.stdin.take().zip(self.input.as_ref());
        let write = async {
            if let Some((mut pipe, input)) = stdin {
                // One that does not read its input has its reasons; how it ends tells them.
                let _ = pipe.write_all(input).await;
            }
            Ok(())
        };
        let work = async { tokio::try_join!(read(output), read(errors), child.wait(), write) };
        let done = tokio::time::timeout(limit, work).await;
        match done {
            Ok(Ok((output, errors, status, ()))) => Ok(Done { status, output, errors }),
            other => {
                if let Some(group) = group {
                    // Gone already is as good as killed.
                    let _ = kill_process_group(group, Signal::KILL);
                }
                let _ = child.wait().await;
                match other {
                    Ok(Err(source)) => Err(RunError::Output { program: name(), source }),
                    _ => Err(RunError::TooSlow { program: name(), limit }),
                }
            }
        }
    }
}

async fn read(pipe: Option<impl AsyncRead + Unpin>) -> std::io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(ROOM));
    if let Some(pipe) = pipe {
        pipe.take(MOST).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

/// Finds a program on the PATH.
#[must_use]
pub fn find(name: &str, env: &Environment) -> Option<PathBuf> {
    let folders = std::env::split_paths(env.get("PATH")?).collect::<Vec<_>>();
    folders.into_iter().map(|folder| folder.join(name)).find(|path| is_executable(path))
}

/// Finds `ctxnode`: beside this program, so that both are of one build, else on the PATH.
#[must_use]
pub fn ctxnode(own: &Path, env: &Environment) -> Option<PathBuf> {
    let beside = own.parent().map(|folder| folder.join("ctxnode")).filter(|path| is_executable(path));
    beside.or_else(|| find("ctxnode", env))
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn arguments_arrive_literally_and_the_code_comes_back() {
        let program = Program::new("/bin/sh", ["-c", "printf %s \"$1\"; exit 3", "sh", "a;b $(c)"]);
        let done = program.run(Duration::from_secs(20)).await.unwrap();
        assert_eq!((done.output.as_slice(), done.status.code()), (b"a;b $(c)".as_slice(), Some(3)));
    }

    #[tokio::test]
    async fn k_02_what_hangs_is_stopped_with_all_that_it_started() {
        let dir = tempfile::tempdir().unwrap();
        let script = "sleep 600 & echo $! >\"$1\"; wait";
        let program =
            Program::new("/bin/sh", ["-c".into(), script.into(), "sh".into(), dir.path().join("pid").into_os_string()]);
        let error = program.run(Duration::from_secs(3)).await.unwrap_err();
        assert!(matches!(error, RunError::TooSlow { .. }), "{error}");
        let pid: u32 = std::fs::read_to_string(dir.path().join("pid")).unwrap().trim().parse().unwrap();
        ctxnode_testkit::wait_until(Duration::from_secs(20), "the grandchild is gone", || {
            crate::process::start_time(pid).is_none()
        });
    }
}
