//! What the new agent reads first, and how each CLI takes it. Pure.

use std::ffi::OsString;

use ctxnode_api::handoffs::HandoffView;
use ctxnode_api::sessions::SessionView;

use crate::agents::Agent;

/// Returns the words that give an agent CLI its first prompt and stay interactive.
#[must_use]
pub fn arguments(agent: Agent, prompt: &str) -> Vec<OsString> {
    match agent {
        Agent::Claude | Agent::Codex => vec![prompt.into()],
        Agent::Gemini | Agent::Antigravity => vec!["-i".into(), prompt.into()],
    }
}

/// Returns the prompt: one sentence that names what the last session left. What that says stays out of the argument list, which
/// every user of the machine can read: the start hook tells it, and the command shows all of it.
#[must_use]
pub fn prompt(session: &SessionView, handoff: Option<&HandoffView>) -> String {
    match handoff {
        Some(handoff) => {
            let id = &handoff.row.id;
            format!(
                "Continue the work of an earlier session in this checkout: read its handoff {id} in whole (`ctxnode handoff \
                 show {id}`), look at what is not committed (git status, git diff), then go on with the next steps."
            )
        }
        None => format!(
            "Continue the work of session {} in this checkout, which left no handoff: look at its last commits (git log) and \
             at what is not committed (git status, git diff), then go on.",
            session.id
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::choose::fixture::session;
    use super::*;

    #[test]
    fn h_11_the_prompt_names_the_handoff_and_holds_nothing_of_it() {
        let handoff: HandoffView = serde_json::from_value(json!({
            "id": "ho_1", "from_agent": "claude-mac-1", "status": "in_progress", "summary": "The parser works.",
            "venture": "alpha", "repo": "alpha-org/console", "track": null, "issue": 42, "branch": "dev/x",
            "thread": "t", "drafted": true, "open": true, "created_at": "2026-11-26T10:00:00Z", "age": "5 min",
            "session_id": "sess_a", "commit_sha": null, "accomplished": ["abc Add it"], "in_progress": [],
            "blocked": [], "next_steps": ["Write src/a.rs"], "payload_hash": "h", "payload_size_bytes": 2,
            "observed": { "dirty_files": 3, "unpushed_commits": 1 }, "actor_key_id": "a", "creation_correlation_id": "c",
        }))
        .unwrap();
        insta::assert_snapshot!(
            prompt(&session("a", "claude", "dev/x"), Some(&handoff)),
            @"Continue the work of an earlier session in this checkout: read its handoff ho_1 in whole (`ctxnode handoff show ho_1`), look at what is not committed (git status, git diff), then go on with the next steps."
        );
    }

    #[test]
    fn without_a_handoff_the_session_is_named() {
        let session = session("a", "claude", "dev/x");
        let text = prompt(&session, None);
        assert!(text.contains(&session.id) && text.contains("left no handoff"), "{text}");
        for agent in Agent::ALL {
            let words = arguments(agent, &text);
            assert_eq!(words.last().unwrap().to_str(), Some(text.as_str()));
            assert_eq!(words.len() == 2, matches!(agent, Agent::Gemini | Agent::Antigravity));
        }
    }
}
