//! Getting a repo that is not on this machine. Only ever after a person said yes.

use std::path::{Path, PathBuf};

use crate::refusal::{Refusal, Step};

/// Returns the URL of a repo. Ventures live on GitHub; git's `insteadOf` reaches any other place.
#[must_use]
pub fn url(repo: &str) -> String {
    format!("git@github.com:{repo}.git")
}

/// Returns the command that a person would type.
#[must_use]
pub fn command(repo: &str) -> String {
    format!("git clone {}", url(repo))
}

/// Returns where a clone goes: `<first development folder>/<name>`.
#[must_use]
pub fn target(repo: &str, dev_dirs: &[PathBuf]) -> Option<PathBuf> {
    let name = repo.rsplit('/').next()?;
    dev_dirs.first().map(|folder| folder.join(name))
}

/// Clones with git's own progress on the terminal.
///
/// # Errors
/// When git cannot be run or fails.
pub fn clone(repo: &str, into: &Path) -> Result<(), Refusal> {
    if let Some(folder) = into.parent() {
        std::fs::create_dir_all(folder).map_err(|source| Refusal::Run {
            step: Step::Repo,
            program: folder.to_owned(),
            source,
        })?;
    }
    let status = std::process::Command::new("git").args(["clone", "--", &url(repo)]).arg(into).status();
    let status = status.map_err(|source| Refusal::Run { step: Step::Repo, program: PathBuf::from("git"), source })?;
    if status.success() {
        return Ok(());
    }
    Err(Refusal::Git { command: format!("clone {}", url(repo)), reason: format!("it ended with {status}") })
}
