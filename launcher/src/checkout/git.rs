//! git as a program: the few commands that change or compare a checkout, each with a limit and without a prompt.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::State;
use crate::program::{Program, RunError};
use crate::refusal::Refusal;

/// How long a fetch may take. A start waits for it, and an agent that works on yesterday's commit is better than none.
pub const LIMIT: Duration = Duration::from_secs(5);
/// How long a local command may take; a large checkout on a cold disk needs seconds.
const LOCAL: Duration = Duration::from_secs(30);
/// How long one may take that writes a whole tree. To end it half-way leaves a locked, broken one.
const WRITING: Duration = Duration::from_secs(1_800);

/// A checkout that git is asked about.
#[derive(Clone, Debug)]
pub struct Git {
    directory: PathBuf,
}

impl Git {
    /// Names the checkout.
    #[must_use]
    pub fn at(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// Runs git and returns what it printed, trimmed.
    ///
    /// # Errors
    /// When it cannot be run, fails or does not end in time.
    pub async fn run<A: Into<OsString>>(&self, arguments: impl IntoIterator<Item = A>) -> Result<String, Refusal> {
        self.run_for(arguments, LOCAL).await
    }

    /// The same, for a command that writes files of the checkout.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub async fn write<A: Into<OsString>>(&self, arguments: impl IntoIterator<Item = A>) -> Result<String, Refusal> {
        self.run_for(arguments, WRITING).await
    }

    async fn run_for<A: Into<OsString>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
        limit: Duration,
    ) -> Result<String, Refusal> {
        let arguments: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
        let words = || arguments.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
        let program = Program::new("git", arguments.clone()).within(&self.directory).with("GIT_TERMINAL_PROMPT", "0");
        let failed = |reason: String| Refusal::Git { command: words(), reason };
        let done = program.run(limit).await.map_err(|error| match error {
            RunError::Spawn { source, .. } => failed(source.to_string()),
            other => failed(other.to_string()),
        })?;
        if !done.status.success() {
            let text = String::from_utf8_lossy(&done.errors).into_owned();
            return Err(failed(text.trim().lines().collect::<Vec<_>>().join("; ")));
        }
        Ok(String::from_utf8_lossy(&done.output).trim_end().to_owned())
    }

    /// Asks the remote for what is new, for at most [`LIMIT`].
    ///
    /// # Errors
    /// When it cannot be reached in time; the checkout is as before.
    pub async fn fetch(&self) -> Result<(), Refusal> {
        self.run_for(["fetch", "--quiet", "--no-write-fetch-head"], LIMIT).await.map(drop)
    }

    /// Returns how the checkout stands.
    ///
    /// # Errors
    /// When git fails.
    pub async fn state(&self) -> Result<State, Refusal> {
        let words = ["--no-optional-locks", "status", "--porcelain=v2", "--branch", "--untracked-files=normal"];
        Ok(State::parse(&self.run(words).await?))
    }

    /// Moves the branch forward to its upstream. Git refuses whenever something could be lost.
    ///
    /// # Errors
    /// When it is not a fast-forward.
    pub async fn fast_forward(&self) -> Result<(), Refusal> {
        self.write(["merge", "--quiet", "--ff-only", "@{upstream}"]).await.map(drop)
    }

    /// Returns the remote's default branch, when git knows it.
    #[must_use]
    pub fn default_branch(&self) -> Option<String> {
        let head = std::fs::read_to_string(self.directory.join(".git/refs/remotes/origin/HEAD")).ok()?;
        head.trim().strip_prefix("ref: refs/remotes/origin/").map(str::to_owned)
    }
}

/// Counts the commits of a checkout's head that are on no remote.
///
/// # Errors
/// When git fails.
pub async fn commits_nowhere_else(git: &Git) -> Result<usize, Refusal> {
    let count = git.run(["rev-list", "--count", "HEAD", "--not", "--remotes"]).await?;
    Ok(count.parse().unwrap_or(usize::MAX))
}
