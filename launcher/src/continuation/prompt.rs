//! What the new agent reads first, and how each CLI takes it. Pure.

use std::ffi::OsString;
use std::fmt::Write as _;

use ctxnode_api::handoffs::HandoffView;
use ctxnode_api::sessions::SessionView;
use ctxnode_model::rules::text::{chars, ellipsis};

use crate::agents::Agent;

/// The most characters of the prompt: what also fits a start by hook, and far below the longest argument of any system.
const MOST: usize = 8_000;
/// The most characters of one item; a draft's last message has a thousand.
const ITEM: usize = 1_200;

/// Returns the words that give an agent CLI its first prompt and stay interactive.
#[must_use]
pub fn arguments(agent: Agent, prompt: &str) -> Vec<OsString> {
    match agent {
        Agent::Claude | Agent::Codex => vec![prompt.into()],
        Agent::Gemini | Agent::Antigravity => vec!["-i".into(), prompt.into()],
    }
}

/// Returns the prompt: what the last session left, as facts, and one sentence of what is wanted.
#[must_use]
pub fn prompt(session: &SessionView, handoff: Option<&HandoffView>) -> String {
    let mut text = String::from(
        "Continue the work of an earlier session in this checkout. This is what it left, as ctxnode recorded it.\n\n",
    );
    let rows = match handoff {
        Some(handoff) => of_handoff(handoff),
        None => of_session(session),
    };
    let end = "\nLook at what is not committed first (git status, git diff), then go on with the next steps.";
    let more = handoff.map(|handoff| format!("[cut; `ctxnode handoff show {}` shows all]\n", handoff.row.id));
    let more = more.unwrap_or_default();
    let mut room = MOST - chars(&text) - chars(end) - chars(&more);
    for row in rows {
        let length = chars(&row) + 1;
        if length > room {
            text.push_str(&more);
            break;
        }
        room -= length;
        // Writing to a text cannot fail.
        let _ = writeln!(text, "{row}");
    }
    text.push_str(end);
    text
}

fn of_handoff(handoff: &HandoffView) -> Vec<String> {
    let row = &handoff.row;
    let status = serde_json::to_value(row.status).unwrap_or_default();
    let kind = if row.drafted { "Draft that the machine wrote" } else { "Handoff" };
    let mut rows = vec![
        format!("{kind}: {} of {}, {} old, {}", row.id, row.from_agent, row.age, status.as_str().unwrap_or_default()),
        format!("Repo: {}, branch {}", row.repo, row.branch.as_deref().unwrap_or("unknown")),
    ];
    rows.extend(row.issue.map(|issue| format!("Issue: {issue}")));
    rows.push(format!("Summary: {}", ellipsis(&row.summary, ITEM)));
    for (heading, items) in [
        ("Next steps", &handoff.next_steps),
        ("Blocked", &handoff.blocked),
        ("In progress", &handoff.in_progress),
        ("Accomplished", &handoff.accomplished),
    ] {
        rows.extend((!items.is_empty()).then(|| format!("{heading}:")));
        rows.extend(items.iter().enumerate().map(|(at, item)| format!("{}. {}", at + 1, ellipsis(item, ITEM))));
    }
    rows.extend(handoff.observed.as_ref().map(|seen| {
        format!("Checkout at that time: {} changed files, {} unpushed commits", seen.dirty_files, seen.unpushed_commits)
    }));
    rows
}

fn of_session(session: &SessionView) -> Vec<String> {
    let mut rows = vec![
        format!(
            "Session: {} of {} on {}, begun {} ago, without a handoff",
            session.id, session.agent, session.machine, session.age
        ),
        format!("Repo: {}, branch {}", session.repo, session.branch.as_deref().unwrap_or("unknown")),
    ];
    rows.extend(session.issue.map(|issue| format!("Issue: {issue}")));
    rows.extend(session.blocked_on.as_ref().map(|on| format!("Blocked on: {}", ellipsis(on, ITEM))));
    rows.extend(session.commit_sha.as_ref().map(|commit| format!("Commit at its start: {commit}")));
    rows
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::choose::fixture::session;
    use super::*;

    fn handoff(next: &[String]) -> HandoffView {
        serde_json::from_value(json!({
            "id": "ho_1", "from_agent": "claude-mac-1", "status": "in_progress", "summary": "The parser works.",
            "venture": "alpha", "repo": "alpha-org/console", "track": null, "issue": 42, "branch": "dev/x",
            "thread": "t", "drafted": true, "open": true, "created_at": "2026-11-26T10:00:00Z", "age": "5 min",
            "session_id": "sess_a", "commit_sha": null, "accomplished": ["abc Add it"], "in_progress": [],
            "blocked": [], "next_steps": next, "payload_hash": "h", "payload_size_bytes": 2,
            "observed": { "dirty_files": 3, "unpushed_commits": 1 }, "actor_key_id": "a", "creation_correlation_id": "c",
        }))
        .unwrap()
    }

    #[test]
    fn h_11_the_prompt_holds_the_handoff_as_facts() {
        insta::assert_snapshot!(prompt(&session("a", "claude", "dev/x"), Some(&handoff(&["Write src/a.rs".into()]))), @r"
        Continue the work of an earlier session in this checkout. This is what it left, as ctxnode recorded it.

        Draft that the machine wrote: ho_1 of claude-mac-1, 5 min old, in_progress
        Repo: alpha-org/console, branch dev/x
        Issue: 42
        Summary: The parser works.
        Next steps:
        1. Write src/a.rs
        Accomplished:
        1. abc Add it
        Checkout at that time: 3 changed files, 1 unpushed commits

        Look at what is not committed first (git status, git diff), then go on with the next steps.
        ");
    }

    #[test]
    fn a_handoff_of_any_size_fits_and_says_where_the_rest_is() {
        let many: Vec<String> = (0..200).map(|n| format!("{n} {}", "é".repeat(2_000))).collect();
        let text = prompt(&session("a", "claude", "dev/x"), Some(&handoff(&many)));
        assert!(chars(&text) <= MOST && text.contains("[cut; `ctxnode handoff show ho_1` shows all]"), "{text}");
        assert!(text.ends_with("go on with the next steps."));
    }

    #[test]
    fn without_a_handoff_the_session_is_told() {
        let text = prompt(&session("a", "claude", "dev/x"), None);
        assert!(text.contains("without a handoff") && text.contains("branch dev/x"), "{text}");
        for agent in Agent::ALL {
            let words = arguments(agent, &text);
            assert_eq!(words.last().unwrap().to_str(), Some(text.as_str()));
            assert_eq!(words.len() == 2, matches!(agent, Agent::Gemini | Agent::Antigravity));
        }
    }
}
