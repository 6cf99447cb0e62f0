//! Which session is meant when nobody says: the last one of this branch, else the last one of this checkout. Pure.

use std::path::Path;

use ctxnode_api::sessions::SessionView;
use ctxnode_model::Timestamp;

/// How many candidates are offered; more is a list, and `ctxnode session list` shows that.
const MOST: usize = 8;

/// What the sessions of a checkout say.
#[derive(Clone, Debug)]
pub enum Choice<'a> {
    /// There is none.
    None,
    /// It is clear which.
    One(&'a SessionView),
    /// The last one of each branch, newest first: a person can be asked, and otherwise the first is meant.
    Several(Vec<&'a SessionView>),
}

/// When a session was last at work, as far as it is known here.
#[must_use]
pub(super) fn last_sign(session: &SessionView) -> Timestamp {
    let known = [session.ended_at, session.last_heartbeat_at];
    known.into_iter().flatten().map(|at| at.0).fold(session.created_at.0, Timestamp::max)
}

/// Chooses among the sessions of a repo, in whatever order they come.
#[must_use]
pub fn choose<'a>(sessions: &'a [SessionView], root: &Path, branch: Option<&str>) -> Choice<'a> {
    let mut all: Vec<&SessionView> = sessions.iter().collect();
    all.sort_by_key(|session| (std::cmp::Reverse(last_sign(session)), session.id.clone()));
    let at_root = |session: &&&SessionView| session.checkout.as_deref().is_some_and(|at| Path::new(at) == root);
    let on_branch = |session: &&&SessionView| branch.is_some() && session.branch.as_deref() == branch;
    if let Some(here) = all.iter().find(|session| at_root(session) || on_branch(session)) {
        return Choice::One(here);
    }
    let mut branches: Vec<Option<&str>> = Vec::new();
    all.retain(|session| {
        let of = session.branch.as_deref();
        let is_new = !branches.contains(&of);
        branches.push(of);
        is_new
    });
    all.truncate(MOST);
    match all.len() {
        0 => Choice::None,
        1 => Choice::One(all[0]),
        _ => Choice::Several(all),
    }
}

/// Returns a session in one line, its id first.
#[must_use]
pub(super) fn line(session: &SessionView) -> String {
    let branch = session.branch.as_deref().map(|branch| format!(" on {branch}")).unwrap_or_default();
    let issue = session.issue.map(|issue| format!(", issue {issue}")).unwrap_or_default();
    format!("{} {} in {}{branch}{issue}, {} old", session.id, session.agent, session.repo, session.age)
}

#[cfg(test)]
pub(super) mod fixture {
    //! Sessions for the tests of this module's neighbours.

    use serde_json::json;

    use super::*;

    pub(in super::super) fn session(id: &str, cli: &str, branch: &str) -> SessionView {
        serde_json::from_value(json!({
            "id": format!("sess_{id}"), "agent": format!("{cli}-mac-1"), "machine": "mac", "cli": cli,
            "venture": "alpha", "repo": "alpha-org/console", "track": null, "issue": 42, "branch": branch,
            "commit_sha": null, "status": "active", "live": true, "created_at": "2026-11-26T10:00:00Z", "age": "2 h",
            "meta": {}, "actor_key_id": "a", "creation_correlation_id": "c",
        }))
        .unwrap()
    }
}

#[cfg(test)]
mod tests {
    use ctxnode_api::Iso;

    use super::fixture::session;
    use super::*;

    fn at(mut session: SessionView, heartbeat: i64) -> SessionView {
        session.last_heartbeat_at = Some(Iso(Timestamp(session.created_at.0.0 + heartbeat)));
        session
    }

    fn chosen(sessions: &[SessionView], root: &str, branch: Option<&str>) -> Vec<String> {
        match choose(sessions, Path::new(root), branch) {
            Choice::None => vec![],
            Choice::One(one) => vec![one.id.clone()],
            Choice::Several(all) => all.iter().map(|session| session.id.clone()).collect(),
        }
    }

    #[test]
    fn the_last_session_of_this_branch_is_meant_and_else_each_branch_has_one() {
        let sessions = [
            at(session("a", "claude", "main"), 1),
            at(session("b", "codex", "main"), 9),
            at(session("c", "claude", "dev/x"), 20),
            at(session("d", "claude", "dev/x"), 3),
        ];
        assert_eq!(chosen(&sessions, "/r", Some("main")), ["sess_b"], "the last sign of life counts, not the start");
        assert_eq!(chosen(&sessions, "/r", Some("dev/x")), ["sess_c"]);
        assert_eq!(chosen(&sessions, "/r", Some("dev/y")), ["sess_c", "sess_b"]);
        assert_eq!(chosen(&sessions[..2], "/r", None), ["sess_b"], "one branch is no question");
        assert_eq!(chosen(&[], "/r", Some("main")), [""; 0]);
    }

    #[test]
    fn the_session_of_this_folder_is_meant_whatever_its_record_says_of_the_branch() {
        let mut here = at(session("a", "claude", "dev/old"), 1);
        here.checkout = Some("/r.worktrees/w".into());
        let sessions = [here, at(session("b", "codex", "main"), 9)];
        assert_eq!(chosen(&sessions, "/r.worktrees/w", Some("dev/new")), ["sess_a"]);
        assert_eq!(chosen(&sessions, "/r", Some("main")), ["sess_b"]);
    }

    #[test]
    fn a_candidate_says_what_it_was_about() {
        let text = line(&session("a", "claude", "dev/x"));
        assert_eq!(text, "sess_a claude-mac-1 in alpha-org/console on dev/x, issue 42, 2 h old");
    }
}
