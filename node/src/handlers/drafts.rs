//! The handoff that a machine writes for a session which nobody ended.

use ctxnode_model::index::Index;
use ctxnode_model::record::{Escalation, Session};
use ctxnode_model::rules::draft::Captured;
use ctxnode_model::rules::handoff::{SCHEMA_VERSION, ThreadSource, payload, status_name, thread_key};
use ctxnode_model::{DocumentId, Edit, Kind, Rec, Space};
use ctxnode_store::Draft;

use super::hooks::State;
use crate::app::{App, Origin};
use crate::failure::Failure;

/// Stages a draft from the last known state and returns its id.
pub(super) fn stage(
    draft: &mut Draft<'_>,
    app: &App,
    session: &Rec<Session>,
    origin: &Origin,
) -> Result<DocumentId, Failure> {
    let own = Some(session.id.to_string());
    let calls =
        draft.reader().newest::<Escalation>(Index::EscalationOpen, Kind::Escalation, &[&session.venture], 50)?;
    let seen = State::of(draft.reader(), session.id)?;
    let captured = Captured {
        commits: seen.commits,
        changed_files: seen.changed_files,
        last_message: seen.message,
        blocked_on: session.blocked_on.clone(),
        escalations: calls.iter().filter(|call| call.session_id == own).map(|call| call.need.clone()).collect(),
        branch: session.branch.clone(),
        commit_sha: session.commit_sha.clone(),
        checkout: app.presence.get(session.id).and_then(|pulse| pulse.checkout),
        pull_requests: super::hooks::pull_requests(session),
    };
    let content = captured.draft();
    let body = payload(&content.lists, None)?;
    let text = session.id.to_string();
    let thread = thread_key(ThreadSource {
        given: session.thread.as_deref(),
        repo: &session.repo,
        issue: session.issue,
        branch: session.branch.as_deref(),
        default_branch: None,
        session_id: &text,
    });
    let id = draft.fresh_id(Kind::Handoff);
    let now = draft.now();
    let mut edits = vec![
        Edit::set("session_id", text),
        Edit::set("venture", session.venture.as_str()),
        Edit::set("repo", session.repo.as_str()),
        Edit::set("thread", thread),
        Edit::set("from_agent", session.agent.as_str()),
        Edit::set("status_label", status_name(content.status)),
        Edit::set("summary", content.summary),
        Edit::set("payload_hash", body.hash.as_str()),
        Edit::set("payload_size_bytes", i64::try_from(body.size()).unwrap_or(0)),
        Edit::set("payload", body.text),
        Edit::set("schema_version", SCHEMA_VERSION),
        Edit::set("drafted", true),
        Edit::set("activity", content.activity),
        Edit::set("actor_key_id", origin.actor_key_id.as_str()),
        Edit::set("creation_correlation_id", origin.correlation.as_str()),
        Edit::set("created_at", now),
    ];
    edits.extend(Edit::set_some("track", session.track));
    edits.extend(Edit::set_some("issue", session.issue));
    edits.extend(Edit::set_some("branch", session.branch.clone()));
    edits.extend(Edit::set_some("commit_sha", session.commit_sha.clone()));
    draft.edit(id, &Space::of(Some(&session.venture)), edits)?;
    Ok(id)
}
