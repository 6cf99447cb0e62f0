//! The handoff that a machine writes for a session which nobody ended.
//!
//! It is written once the session is given up, and before that whenever its work may go on elsewhere: a turn failed, or
//! somebody asks for it. A later draft of a session takes the place of the earlier one; equal ones are one.

use std::sync::Arc;

use ctxnode_api::sessions::{DraftReply, DraftRequest};
use ctxnode_api::{ErrorBody, ErrorCode, Right};
use ctxnode_model::index::Index;
use ctxnode_model::record::{EndReason, Escalation, Handoff, Session, SessionStatus};
use ctxnode_model::rules::draft::Captured;
use ctxnode_model::rules::handoff::{SCHEMA_VERSION, ThreadSource, payload, status_name, thread_key};
use ctxnode_model::{DocumentId, Edit, Kind, Rec, Space};
use ctxnode_store::{Draft, Listing, Reader, StoreError};

use super::hooks::{self, State};
use super::{handoffs, paging, sessions, start};
use crate::app::{App, Cx, Handled, Origin};
use crate::caller::Via;
use crate::failure::Failure;

/// How many handoffs of one session are looked at; an agent that keeps its session open writes a few a day.
const OF_SESSION: usize = 50;

/// Answers with the handoff from which the work of a session goes on. One that is not over gets a draft.
pub(crate) async fn draft(cx: &Cx, input: DraftRequest) -> Handled {
    let id = paging::id(Kind::Session, "id", cx.param("id"))?;
    let session = sessions::session_of(cx, Some(cx.param("id"))).await?;
    cx.caller.require_venture(Some(&session.venture))?;
    let end = input.end.unwrap_or(false);
    if session.status() == SessionStatus::Active {
        if !sessions::is_own(&cx.app, &session) {
            let message = format!("`{id}` is a session of {}: only that machine knows its last state", session.machine);
            let hint = format!("run `ctxnode continue` on {}, or go on from an earlier handoff", session.machine);
            return Err(ErrorBody::new(ErrorCode::Forbidden, message).hint(hint).into());
        }
        // A token that may write must not end the sessions of others from afar.
        if end && cx.caller.via == Via::Http && cx.caller.right < Right::Admin {
            let message = "ending a session of somebody else needs the right admin";
            return Err(ErrorBody::new(ErrorCode::Forbidden, message).into());
        }
        hooks::look_again(&cx.app, &session, hooks::GIT_LIMIT).await?;
    }
    let (app, origin, now) = (Arc::clone(&cx.app), cx.origin(), cx.now());
    let answer = cx.commit(move |draft| {
        let found = draft.reader().get::<Session>(id)?;
        let session = found.ok_or_else(|| Failure::not_found("session", &id.to_string()))?;
        if session.status() != SessionStatus::Active {
            let found = of_session(draft.reader(), &session)?.into_iter().next();
            let found =
                found.ok_or_else(|| Failure::new(ErrorCode::NotFound, "the session ended without a handoff"))?;
            let activity = found.activity != Some(false);
            let reply =
                DraftReply { session: sessions::view(&app, &session, now), handoff_id: found.id.to_string(), activity };
            return Ok((200, reply));
        }
        let staged = stage(draft, &app, &session, &origin)?;
        let mut edits = Vec::new();
        if end {
            let at = app.presence.last(id, session.created_at);
            edits = sessions::end_with(draft, &session, at, EndReason::Error, staged.id)?;
        }
        let session = start::with_edits(session, &edits);
        let reply = DraftReply {
            session: sessions::view(&app, &session, now),
            handoff_id: staged.id.to_string(),
            activity: staged.activity,
        };
        Ok((200, reply))
    });
    let answer = answer.await?;
    if end {
        cx.app.presence.forget(id);
    }
    Ok(answer)
}

/// Brings the draft of a session that goes on up to date, so that its work can be taken up from any machine.
pub(super) async fn refresh(cx: &Cx, id: DocumentId) -> Result<(), Failure> {
    let (app, origin) = (Arc::clone(&cx.app), cx.origin());
    let done = cx.app.store.write(move |draft| {
        if let Some(session) = draft.reader().get::<Session>(id)?
            && session.status() == SessionStatus::Active
        {
            stage(draft, &app, &session, &origin)?;
        }
        Ok::<(), Failure>(())
    });
    done.await?;
    Ok(())
}

/// The newest handoffs of a session. Whoever has heard of a session can name it in a handoff of another venture, which is none
/// of it.
pub(super) fn of_session(reader: Reader<'_>, session: &Rec<Session>) -> Result<Vec<Rec<Handoff>>, StoreError> {
    let (session_id, venture) = (session.id.to_string(), session.venture.as_str());
    let prefix = [session_id.as_str()];
    let listing =
        Listing { index: Index::Session, kind: Kind::Handoff, prefix: &prefix, after: None, limit: OF_SESSION };
    Ok(reader.list_where::<Handoff>(&listing, |handoff| handoff.venture == venture)?.items)
}

/// A draft that is staged, or one that was there and says the same.
#[derive(Clone, Copy, Debug)]
pub(super) struct Staged {
    pub(super) id: DocumentId,
    /// Whether it tells of anything that was done.
    activity: bool,
}

/// Stages a draft from the last known state, in place of an earlier one of the session.
pub(super) fn stage(
    draft: &mut Draft<'_>,
    app: &App,
    session: &Rec<Session>,
    origin: &Origin,
) -> Result<Staged, Failure> {
    let own = Some(session.id.to_string());
    let calls =
        draft.reader().newest::<Escalation>(Index::EscalationOpen, Kind::Escalation, &[&session.venture], 50)?;
    let seen = State::of(draft.reader(), session.id)?;
    let pulse = app.presence.get(session.id);
    let captured = Captured {
        commits: seen.commits,
        changed_files: seen.changed_files,
        last_message: seen.message,
        blocked_on: session.blocked_on.clone(),
        escalations: calls.iter().filter(|call| call.session_id == own).map(|call| call.need.clone()).collect(),
        branch: session.branch.clone(),
        commit_sha: session.commit_sha.clone(),
        failure: pulse.as_ref().and_then(|pulse| pulse.failed.clone()),
        checkout: pulse.and_then(|pulse| pulse.checkout),
        pull_requests: super::hooks::pull_requests(session),
    };
    let content = captured.draft();
    let body = payload(&content.lists, None)?;
    let earlier: Vec<Rec<Handoff>> = of_session(draft.reader(), session)?
        .into_iter()
        .filter(|handoff| handoff.drafted && handoff.closed.is_empty())
        .collect();
    if let Some(same) = earlier.iter().find(|handoff| handoff.payload_hash == body.hash) {
        return Ok(Staged { id: same.id, activity: content.activity });
    }
    let text = session.id.to_string();
    let thread = thread_key(ThreadSource {
        given: session.thread.as_deref(),
        repo: &session.repo,
        issue: session.issue,
        branch: session.branch.as_deref(),
        default_branch: None,
        session_id: &text,
    });
    let space = Space::of(Some(&session.venture));
    let id = draft.fresh_id(Kind::Handoff, &space)?;
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
    draft.edit(id, &space, edits)?;
    for older in earlier {
        handoffs::stage_close(draft, older.id, &session.venture, &id.to_string(), origin, None)?;
    }
    Ok(Staged { id, activity: content.activity })
}
