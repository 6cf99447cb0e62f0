//! Where agents work: worktrees whose launcher is gone, and sessions that get in each other's way.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ctxnode_api::Call;
use ctxnode_api::node::{CheckRow, CheckState};
use ctxnode_api::sessions::{SessionList, SessionView};
use ctxnode_launcher::checkout::{self, Git};
use ctxnode_launcher::worktree::{self, Worktree};
use ctxnode_model::rules::handoff::is_default_branch;
use serde_json::json;

use super::super::world::World;
use super::check;

/// The most checkouts whose worktrees are listed; each costs a run of git.
const MOST: usize = 100;
/// The most names in one message.
const NAMED: usize = 3;

/// Looks at the worktrees of every checkout of this machine. With `unlock`, locks of processes that are gone are taken away.
pub(super) async fn worktrees(world: &World, unlock: bool) -> Option<CheckRow> {
    let all = checkout::find(&world.config.dev_dirs, &world.directory);
    let (mut ours, mut living, mut left) = (0, 0, Vec::new());
    for checkout in all.iter().filter(|checkout| has_worktrees(&checkout.path)).take(MOST) {
        let git = Git::at(&checkout.path);
        for tree in worktree::list(&git).await.unwrap_or_default().into_iter().filter(Worktree::is_ours) {
            ours += 1;
            living += usize::from(tree.living_holder().is_some());
            if !tree.is_left_locked() {
                continue;
            }
            let path = tree.path.display().to_string();
            // What could not be repaired is told.
            if !(unlock && git.run(["worktree", "unlock", &path]).await.is_ok()) {
                left.push(tree);
            }
        }
    }
    if ours == 0 {
        return None;
    }
    if left.is_empty() {
        return Some(check("worktrees", CheckState::Pass, format!("{ours}, {living} in use"), None));
    }
    let name = |tree: &Worktree| {
        let branch = tree.branch.as_deref().unwrap_or("no branch");
        format!("{} ({branch})", tree.path.display())
    };
    let message =
        format!("{} of {ours} are locked by a launcher that is gone: {}", left.len(), names(left.iter().map(name)));
    let fix = "go on there with `ctxnode continue`, take it away with `ctxnode worktree remove PATH`, or unlock with `ctxnode doctor --fix`";
    Some(check("worktrees", CheckState::Warn, message, Some(fix)))
}

fn has_worktrees(checkout: &Path) -> bool {
    std::fs::read_dir(checkout.join(".git/worktrees")).is_ok_and(|mut found| found.next().is_some())
}

/// Asks for the living sessions of this machine; without a daemon there is no answer and no row.
pub(super) async fn sessions(world: &World) -> Option<CheckRow> {
    let mut client = world.client_of_running().ok()?;
    let body = client.call(&Call::new("session.list", json!({ "limit": 100 }))).await.ok()?.body;
    let list: SessionList = serde_json::from_value(body).ok()?;
    let clashes = clashes(&list.items);
    Some(match clashes.len() {
        0 => check("sessions", CheckState::Pass, format!("{} alive, none in another's way", list.total), None),
        _ => {
            let fix = "end one of them (/eod), or start it again with `launcher VENTURE --worktree`";
            check("sessions", CheckState::Warn, names(clashes.into_iter()), Some(fix))
        }
    })
}

/// Which living sessions share a folder, or a branch that is not everybody's.
fn clashes(sessions: &[SessionView]) -> Vec<String> {
    let mut folders: BTreeMap<PathBuf, Vec<&SessionView>> = BTreeMap::new();
    let mut branches: BTreeMap<(&str, &str), Vec<&SessionView>> = BTreeMap::new();
    for session in sessions {
        if let Some(checkout) = &session.checkout {
            folders.entry(checkout.into()).or_default().push(session);
        }
        if let Some(branch) = session.branch.as_deref().filter(|branch| !is_default_branch(branch, None)) {
            branches.entry((&session.repo, branch)).or_default().push(session);
        }
    }
    let agents = |all: &[&SessionView]| {
        let mut names: Vec<&str> = all.iter().map(|session| session.agent.as_str()).collect();
        names.sort_unstable();
        names.join(" and ")
    };
    let in_folders = folders.iter().filter(|(_, all)| all.len() > 1);
    let mut found: Vec<String> =
        in_folders.map(|(path, all)| format!("{} work in one folder, {}", agents(all), path.display())).collect();
    for ((repo, branch), all) in branches.iter().filter(|(_, all)| all.len() > 1) {
        // Those of one folder were told.
        let apart = all.iter().any(|session| session.checkout.is_none() || session.checkout != all[0].checkout);
        found.extend(apart.then(|| format!("{} work on one branch, {branch} of {repo}", agents(all))));
    }
    found
}

fn names(all: impl ExactSizeIterator<Item = String>) -> String {
    let rest = all.len().saturating_sub(NAMED);
    let named: Vec<String> = all.take(NAMED).collect();
    let more = if rest > 0 { format!("; {rest} more") } else { String::new() };
    format!("{}{more}", named.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(agent: &str, checkout: Option<&str>, branch: &str) -> SessionView {
        serde_json::from_value(json!({
            "id": "sess_1", "agent": agent, "machine": "mac", "venture": "alpha", "repo": "o/r", "track": null,
            "issue": null, "branch": branch, "commit_sha": null, "checkout": checkout, "status": "active", "live": true,
            "created_at": "2026-11-26T10:00:00Z", "age": "2 h", "meta": {}, "actor_key_id": "a",
            "creation_correlation_id": "c",
        }))
        .unwrap()
    }

    #[test]
    fn w_07_one_folder_or_one_branch_is_a_clash_and_the_default_branch_of_two_machines_is_none() {
        let apart = [
            session("a", Some("/r"), "main"),
            session("b", None, "main"),
            session("c", Some("/r.worktrees/w"), "dev/x"),
        ];
        assert_eq!(clashes(&apart), [""; 0]);
        let folder = [session("a", Some("/r"), "dev/x"), session("b", Some("/r"), "dev/x")];
        assert_eq!(clashes(&folder), ["a and b work in one folder, /r"]);
        let branch = [session("a", Some("/r"), "dev/x"), session("b", None, "dev/x")];
        assert_eq!(clashes(&branch), ["a and b work on one branch, dev/x of o/r"]);
    }

    #[test]
    fn few_are_named_and_the_rest_is_counted() {
        let all: Vec<String> = (0..5).map(|n| n.to_string()).collect();
        assert_eq!(names(all.into_iter()), "0; 1; 2; 2 more");
    }
}
