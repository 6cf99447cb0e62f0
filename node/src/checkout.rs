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
    /// Looks at a directory, without starting a process: every start of day waits for this. `None` when it is in no
    /// checkout, or git's files cannot be read in time.
    pub async fn at(directory: &Path) -> Option<Self> {
        let directory = directory.to_owned();
        let look = tokio::task::spawn_blocking(move || Self::look(&directory));
        tokio::time::timeout(GIT_LIMIT, look).await.ok()?.ok()?
    }

    fn look(directory: &Path) -> Option<Self> {
        let repository = gix::discover(directory).ok()?;
        let root = repository.workdir()?.canonicalize().ok()?;
        let config = repository.config_snapshot();
        let mut names: Vec<String> = repository.remote_names().iter().map(ToString::to_string).collect();
        names.sort_by_key(|name| name != "origin");
        let remotes: Vec<String> = names
            .iter()
            .filter_map(|name| config.string(format!("remote.{name}.url").as_str()))
            .map(|url| url.to_string())
            .collect();
        let repo = remotes
            .iter()
            .find_map(|url| rules::repo::parse_remote(url))
            .unwrap_or_else(|| rules::repo::local_repo(&root.file_name().unwrap_or_default().to_string_lossy()));
        let branch = repository.head_name().ok().flatten().map(|name| name.shorten().to_string());
        let commit = repository.head_id().ok().map(|id| id.to_string());
        let default = repository.try_find_reference("refs/remotes/origin/HEAD").ok().flatten();
        let default_branch = default.as_ref().and_then(|head| {
            let name = head.target().try_name()?.shorten().to_string();
            name.split_once('/').map(|(_, branch)| branch.to_owned())
        });
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
