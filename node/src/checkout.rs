//! What git says about a directory: repo, branch, commit, and what is not yet pushed. Read only, always with a limit.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ctxnode_model::record::Observed;
use ctxnode_model::rules;
use tokio::process::Command;

/// How long one git command may take. A cold checkout on a slow disk answers within a second; a hanging network file
/// system must not hang a start.
const GIT_LIMIT: Duration = Duration::from_secs(2);

/// A git checkout.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkout {
    /// Its top directory.
    pub root: PathBuf,
    /// The remotes' URLs, origin first.
    pub remotes: Vec<String>,
    /// `owner/name` of the first remote that names one, else `local/<directory>`.
    pub repo: String,
    /// The branch; absent when the head is detached.
    pub branch: Option<String>,
    /// The commit; absent before the first one.
    pub commit: Option<String>,
    /// The remote's default branch, when git knows it.
    pub default_branch: Option<String>,
}

impl Checkout {
    /// Looks at a directory. `None` when it is in no checkout or git cannot tell.
    pub async fn at(directory: &Path) -> Option<Self> {
        let root = PathBuf::from(git(directory, &["rev-parse", "--show-toplevel"]).await?);
        let config = git(&root, &["config", "--get-regexp", r"^remote\..*\.url$"]).await.unwrap_or_default();
        let mut named: Vec<(&str, &str)> = config.lines().filter_map(|line| line.split_once(' ')).collect();
        named.sort_by_key(|(key, _)| *key != "remote.origin.url");
        let remotes: Vec<String> = named.into_iter().map(|(_, url)| url.to_owned()).collect();
        let repo = remotes
            .iter()
            .find_map(|url| rules::repo::parse_remote(url))
            .unwrap_or_else(|| rules::repo::local_repo(&root.file_name().unwrap_or_default().to_string_lossy()));
        let branch = git(&root, &["symbolic-ref", "--quiet", "--short", "HEAD"]).await;
        let commit = git(&root, &["rev-parse", "--verify", "--quiet", "HEAD"]).await;
        let default = git(&root, &["symbolic-ref", "--quiet", "--short", "refs/remotes/origin/HEAD"]).await;
        let default_branch = default.and_then(|name| name.split_once('/').map(|(_, branch)| branch.to_owned()));
        Some(Self { root, remotes, repo, branch, commit, default_branch })
    }

    /// Counts what a handoff should not hide.
    pub async fn observe(&self) -> Observed {
        let status = git(&self.root, &["status", "--porcelain", "--untracked-files=normal"]).await.unwrap_or_default();
        let ahead = git(&self.root, &["rev-list", "--count", "HEAD", "--not", "--remotes"]).await;
        Observed {
            dirty_files: u32::try_from(status.lines().count()).unwrap_or(u32::MAX),
            unpushed_commits: ahead.and_then(|count| count.parse().ok()).unwrap_or(0),
            open_prs: None,
        }
    }

    /// Counts the commits after one; `None` when git does not know it.
    pub async fn commits_since(&self, commit: &str) -> Option<u32> {
        if !rules::text::is_commit(commit) {
            return None;
        }
        git(&self.root, &["rev-list", "--count", &format!("{commit}..HEAD")]).await?.parse().ok()
    }
}

/// Runs git without a shell, a prompt or a pager, and returns its trimmed output when it succeeds in time.
pub async fn git(directory: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git")
        .arg("-C")
        .arg(directory)
        .args(arguments)
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_OPTIONAL_LOCKS", "0")
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(GIT_LIMIT, output).await.ok()?.ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
