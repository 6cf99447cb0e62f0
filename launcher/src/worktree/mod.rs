//! A worktree per session: `<checkout>.worktrees/<instance>`, on a branch of its own, locked with the pid and start time
//! of the launcher that made it.
//!
//! A worktree is removed only by command, and only when everything in it is committed and pushed.

mod list;

use std::path::{Path, PathBuf};

use ctxnode_model::rules::branch::{Company, propose_branch, slug};

use crate::checkout::{Git, commits_nowhere_else};
use crate::process::is_alive;
use crate::refusal::Refusal;

pub use list::{Holder, Worktree, parse};

/// What a session's worktree should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// The checkout that it belongs to.
    pub checkout: &'a Path,
    /// Eight characters of its own.
    pub instance: &'a str,
    /// The branch, when somebody named one.
    pub branch: Option<&'a str>,
    /// This machine's part of branch names.
    pub host: &'a str,
    /// What a lock of somebody who lives means.
    pub held: Held,
}

/// What becomes of a worktree that a living session holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// It is refused.
    Refuse,
    /// It is taken: that session is over, whatever its process still shows.
    TakeOver,
}

/// Where a session works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// The folder.
    pub path: PathBuf,
    /// The branch.
    pub branch: String,
}

/// Returns the folder of a new worktree.
#[must_use]
pub fn folder(checkout: &Path, instance: &str) -> PathBuf {
    let mut name = checkout.file_name().unwrap_or_default().to_owned();
    name.push(".worktrees");
    checkout.with_file_name(name).join(instance)
}

/// Makes a worktree, or takes over the one that is on the wanted branch and that no living session holds.
///
/// # Errors
/// When a living session is on that branch, or git refuses.
pub async fn take(wanted: &Wanted<'_>) -> Result<Given, Refusal> {
    let git = Git::at(wanted.checkout);
    let all = list(&git).await?;
    if let Some(found) = all.iter().find(|tree| wanted.branch.is_some() && tree.branch.as_deref() == wanted.branch) {
        return take_over(&git, found, wanted.held).await;
    }
    let host_branch = propose_branch(Company::Alone, wanted.host, wanted.instance, &slug(None, None));
    let has_company = all.iter().any(|tree| tree.living_holder().is_some()) || exists(&git, &host_branch).await;
    let proposed = if has_company {
        propose_branch(Company::Others, wanted.host, wanted.instance, &slug(None, None))
    } else {
        host_branch
    };
    let branch = wanted.branch.map_or(proposed, str::to_owned);
    let path = folder(wanted.checkout, wanted.instance);
    let reason = Holder::me().reason();
    let shown = path.display().to_string();
    let mut words = vec!["worktree", "add", "--quiet", "--lock", "--reason", &reason];
    let base = base(&git).await;
    let remote = format!("origin/{branch}");
    if exists(&git, &branch).await {
        words.extend([shown.as_str(), branch.as_str()]);
    } else if is_on_remote(&git, &branch).await {
        // Somebody works on it elsewhere, and pushed it.
        words.extend(["--track", "-b", branch.as_str(), shown.as_str(), remote.as_str()]);
    } else {
        words.extend(["--no-track", "-b", branch.as_str(), shown.as_str(), base.as_str()]);
    }
    git.write(words).await?;
    Ok(Given { path, branch })
}

/// New work begins at the remote's default branch; without a remote, where the checkout is.
async fn base(git: &Git) -> String {
    let default = git.default_branch().unwrap_or_else(|| "main".to_owned());
    let remote = format!("refs/remotes/origin/{default}");
    if git.run(["rev-parse", "--verify", "--quiet", &remote]).await.is_ok() { remote } else { "HEAD".to_owned() }
}

/// Whether a branch is known of the remote, as it was when it was last asked.
pub async fn is_on_remote(git: &Git, branch: &str) -> bool {
    git.run(["rev-parse", "--verify", "--quiet", &format!("refs/remotes/origin/{branch}")]).await.is_ok()
}

/// Whether a branch is there.
pub async fn exists(git: &Git, branch: &str) -> bool {
    git.run(["rev-parse", "--verify", "--quiet", &format!("refs/heads/{branch}")]).await.is_ok()
}

async fn take_over(git: &Git, found: &Worktree, held: Held) -> Result<Given, Refusal> {
    if let Some(holder) = found.living_holder().filter(|_| held == Held::Refuse) {
        return Err(Refusal::InUse { path: found.path.clone(), pid: holder.pid });
    }
    let path = found.path.display().to_string();
    if !found.is_main {
        unlock(git, found).await?;
        git.run(["worktree", "lock", "--reason", &Holder::me().reason(), &path]).await?;
    }
    Ok(Given { path: found.path.clone(), branch: found.branch.clone().unwrap_or_default() })
}

/// Takes our lock away when its process is gone. A lock that somebody set by hand is theirs.
async fn unlock(git: &Git, found: &Worktree) -> Result<(), Refusal> {
    let Some(reason) = &found.locked else { return Ok(()) };
    let path = found.path.display().to_string();
    if Holder::of_reason(reason).is_none() {
        let reason = format!("{path} was locked by somebody: {reason}");
        return Err(Refusal::Git { command: "worktree unlock".to_owned(), reason });
    }
    git.run(["worktree", "unlock", &path]).await.map(drop)
}

/// Lets go of a worktree when its session ended. It stays. Somebody else may have taken it over meanwhile.
pub async fn release(checkout: &Path, path: &Path) {
    let git = Git::at(checkout);
    let held = list(&git).await.unwrap_or_default().into_iter().find(|tree| tree.path == path);
    if held.and_then(|tree| tree.living_holder()) == Some(Holder::me()) {
        // A lock that stays behind names a process that is gone: the next taker sees that.
        let _ = git.run(["worktree", "unlock", &path.display().to_string()]).await;
    }
}

/// Returns the worktrees of a repository, its checkout first.
///
/// # Errors
/// When git fails.
pub async fn list(git: &Git) -> Result<Vec<Worktree>, Refusal> {
    Ok(parse(&git.run(["worktree", "list", "--porcelain"]).await?))
}

/// Removes a worktree that ctxnode made.
///
/// # Errors
/// When a living session works there, something is not committed or not pushed, or it is no worktree of ours.
pub async fn remove(git: &Git, path: &Path) -> Result<(), Refusal> {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let all = list(git).await?;
    let found = all.iter().find(|tree| tree.path == path && tree.is_ours());
    let found = found.ok_or_else(|| Refusal::NoWorktree(path.clone()))?;
    if let Some(holder) = found.living_holder() {
        return Err(Refusal::InUse { path, pid: holder.pid });
    }
    let inside = Git::at(&path);
    let (dirty, unpushed) = (inside.state().await?.dirty, commits_nowhere_else(&inside).await?);
    if dirty > 0 || unpushed > 0 {
        return Err(Refusal::NotClean { path, dirty, unpushed });
    }
    let shown = path.display().to_string();
    unlock(git, found).await?;
    // Git looks again by itself, and refuses what we would have refused.
    git.run(["worktree", "remove", &shown]).await.map(drop)
}

impl Worktree {
    /// Returns the process that holds it, when that very process lives.
    #[must_use]
    pub fn living_holder(&self) -> Option<Holder> {
        let holder = self.locked.as_deref().and_then(Holder::of_reason)?;
        is_alive(holder.pid, holder.started).then_some(holder)
    }

    /// Whether a launcher of ours locked it and ended without a word.
    #[must_use]
    pub fn is_left_locked(&self) -> bool {
        let ours = self.locked.as_deref().and_then(Holder::of_reason);
        ours.is_some() && self.living_holder().is_none()
    }

    /// Whether it lies where the launcher puts its worktrees.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        let folder = self.path.parent().and_then(Path::extension);
        !self.is_main && folder.is_some_and(|end| end == "worktrees")
    }
}
