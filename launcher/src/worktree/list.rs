//! What `git worktree list --porcelain` says, and the lock's reason. Pure.

use std::path::PathBuf;

use serde::Serialize;

/// A worktree of a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Worktree {
    /// Its folder.
    pub path: PathBuf,
    /// Its branch; absent when the head is detached.
    pub branch: Option<String>,
    /// Why it is locked, when it is.
    pub locked: Option<String>,
    /// Whether it is the checkout itself.
    pub is_main: bool,
}

/// Who works in a worktree. A pid alone could be somebody else's by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The launcher's process.
    pub pid: u32,
    /// When it started, as [`crate::process::start_time`] counts; no time of day.
    pub started: u64,
}

impl Holder {
    /// This process.
    #[must_use]
    pub fn me() -> Self {
        let pid = std::process::id();
        Self { pid, started: crate::process::start_time(pid).unwrap_or(0) }
    }

    /// Returns the reason that a lock carries.
    #[must_use]
    pub fn reason(self) -> String {
        format!("ctxnode pid {} started {}", self.pid, self.started)
    }

    /// Reads a reason back; `None` when somebody else wrote it.
    #[must_use]
    pub fn of_reason(reason: &str) -> Option<Self> {
        let (pid, started) = reason.trim().strip_prefix("ctxnode pid ")?.split_once(" started ")?;
        Some(Self { pid: pid.parse().ok()?, started: started.parse().ok()? })
    }
}

/// Reads the list. The first is the checkout itself.
#[must_use]
pub fn parse(text: &str) -> Vec<Worktree> {
    let mut all: Vec<Worktree> = Vec::new();
    for line in text.lines() {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        if word == "worktree" {
            all.push(Worktree { path: rest.into(), is_main: all.is_empty(), ..Worktree::default() });
        } else if let Some(tree) = all.last_mut() {
            match word {
                "branch" => tree.branch = Some(rest.strip_prefix("refs/heads/").unwrap_or(rest).to_owned()),
                "locked" => tree.locked = Some(rest.to_owned()),
                _ => {}
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_read() {
        let text = "worktree /d/a\nHEAD 1\nbranch refs/heads/main\n\nworktree /d/a.worktrees/x y\nHEAD 2\nbranch refs/heads/dev/h/work\nlocked ctxnode pid 7 started 9\n\nworktree /d/b\nHEAD 3\ndetached\nlocked\n";
        let all = parse(text);
        assert_eq!(all.iter().map(Worktree::is_ours).collect::<Vec<_>>(), [false, true, false]);
        assert_eq!(all[1].path, PathBuf::from("/d/a.worktrees/x y"));
        assert_eq!(all[1].branch.as_deref(), Some("dev/h/work"));
        assert_eq!(Holder::of_reason(all[1].locked.as_deref().unwrap()), Some(Holder { pid: 7, started: 9 }));
        assert_eq!((all[2].branch.clone(), Holder::of_reason("by hand")), (None, None));
    }

    #[test]
    fn a_lock_of_a_process_that_is_gone_holds_nobody() {
        let locked = |holder: Holder| Worktree { locked: Some(holder.reason()), ..Worktree::default() };
        let me = Holder::me();
        assert_eq!(locked(me).living_holder(), Some(me));
        assert_eq!(locked(Holder { started: me.started + 1, ..me }).living_holder(), None);
    }
}
