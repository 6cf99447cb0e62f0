//! Calls for help: blocked, tried, need.

use ctxnode_api::operations::{EscalationCreate, EscalationQuery, EscalationView, ResolveRequest};
use ctxnode_api::sessions::EscalateFields;
use ctxnode_api::{Iso, List};
use ctxnode_model::index::Index;
use ctxnode_model::record::{Escalation, Session};
use ctxnode_model::rules::handoff::{ThreadSource, thread_key};
use ctxnode_model::rules::{escalation, secrets, text};
use ctxnode_model::{DocumentId, Edit, Invalid, Kind, Rec, Scalar, Space, Timestamp};
use ctxnode_store::{Draft, Listing};
use serde_json::json;

use super::sessions::{refuse_secrets, session_of};
use super::{events, paging};
use crate::app::{Answer, Cx, Handled, Origin};
use crate::failure::Failure;

/// A call for help, checked.
#[derive(Clone, Debug)]
pub(super) struct Checked {
    fields: escalation::EscalateFields,
    issue: Option<u32>,
}

/// Checks the fields of a call for help.
pub(super) fn checked(input: &EscalateFields) -> Result<Checked, Failure> {
    let fields = escalation::EscalateFields {
        trigger: input.trigger.clone().unwrap_or_else(|| "manual".to_owned()),
        error: input.error.clone(),
        tried: input.tried.clone(),
        need: input.need.clone().unwrap_or_default(),
    };
    fields.validate()?;
    let mut invalid = Invalid::new();
    let issue =
        input.issue.and_then(|issue| ctxnode_model::rules::session::check_issue(&mut invalid, "escalate.issue", issue));
    invalid.finish()?;
    refuse_secrets(secrets::scan_value("escalate", &json!(input)))?;
    Ok(Checked { fields, issue })
}

/// Stages a call for help of a session, with its event.
pub(super) fn stage(
    draft: &mut Draft<'_>,
    call: &Checked,
    session: &Rec<Session>,
    origin: &Origin,
) -> Result<DocumentId, Failure> {
    let space = Space::of(Some(&session.venture));
    let id = draft.fresh_id(Kind::Escalation, &space)?;
    let issue = call.issue.or(session.issue);
    let own = session.id.to_string();
    let thread = thread_key(ThreadSource {
        given: session.thread.as_deref(),
        repo: &session.repo,
        issue,
        branch: session.branch.as_deref(),
        default_branch: None,
        session_id: &own,
    });
    let mut edits = vec![
        Edit::set("trigger", call.fields.trigger.as_str()),
        Edit::set("tried", Scalar::json(&json!(call.fields.tried))),
        Edit::set("need", call.fields.need.as_str()),
        Edit::set("session_id", own),
        Edit::set("agent", session.agent.as_str()),
        Edit::set("venture", session.venture.as_str()),
        Edit::set("repo", session.repo.as_str()),
        Edit::set("thread", thread),
        Edit::set("created_at", draft.now()),
        Edit::set("actor_key_id", origin.actor_key_id.as_str()),
        Edit::set("creation_correlation_id", origin.correlation.as_str()),
    ];
    edits.extend(Edit::set_some("error", call.fields.error.clone()));
    let signature = call.fields.error.as_deref().map(|error| escalation::Signature::of(error).0);
    edits.extend(Edit::set_some("error_signature", signature));
    edits.extend(Edit::set_some("issue", issue));
    draft.edit(id, &space, edits)?;
    events::stage(draft, "blocked", session, issue, &call.fields.need, origin)?;
    Ok(id)
}

/// Stages the end of a call for help.
pub(super) fn resolve_in(
    draft: &mut Draft<'_>,
    call: &Rec<Escalation>,
    reason: &str,
    origin: &Origin,
) -> Result<(), Failure> {
    let resolution = json!({ "at": draft.now().0, "by": origin.agent, "reason": reason });
    let edit = Edit::set("resolved", Scalar::json(&resolution));
    Ok(draft.edit(call.id, &Space::of(Some(&call.venture)), [edit])?)
}

pub(crate) async fn list(cx: &Cx, input: EscalationQuery) -> Handled {
    let window = paging::window(input.limit, input.cursor.as_deref(), Kind::Escalation)?;
    let now = cx.now();
    let all = input.all.unwrap_or(false);
    let snapshot = cx.read()?;
    let (index, prefix): (Index, Vec<&str>) = match &input.venture {
        Some(venture) if !all => (Index::EscalationOpen, vec![venture]),
        _ => (Index::All, vec![]),
    };
    let listing = Listing { index, kind: Kind::Escalation, prefix: &prefix, after: window.after, limit: window.limit };
    let page = snapshot.reader().list_where::<Escalation>(&listing, |call| {
        cx.caller.sees(Some(&call.venture))
            && (all || call.resolved.is_none())
            && input.venture.as_deref().is_none_or(|venture| venture == call.venture)
    })?;
    Answer::ok(List::of(page.map(|call| view(call.id, &call.value, now))))
}

pub(crate) async fn create(cx: &Cx, input: EscalationCreate) -> Handled {
    let call = checked(&input.escalate)?;
    let session = session_of(cx, input.session_id.as_deref()).await?;
    cx.caller.require_venture(Some(&session.venture))?;
    let origin = cx.origin();
    cx.commit(move |draft| {
        let now = draft.now();
        let id = stage(draft, &call, &session, &origin)?;
        let value = Escalation {
            trigger: call.fields.trigger,
            error: call.fields.error,
            tried: call.fields.tried,
            need: call.fields.need,
            session_id: Some(session.id.to_string()),
            agent: session.agent.clone(),
            venture: session.venture.clone(),
            repo: session.repo.clone(),
            issue: call.issue.or(session.issue),
            created_at: now,
            ..Escalation::default()
        };
        Ok((201, view(id, &value, now)))
    })
    .await
}

pub(crate) async fn resolve(cx: &Cx, input: ResolveRequest) -> Handled {
    let id = paging::id(Kind::Escalation, "id", cx.param("id"))?;
    let found = cx.read()?.reader().get::<Escalation>(id)?.filter(|call| cx.caller.sees(Some(&call.venture)));
    let mut found = found.ok_or_else(|| Failure::not_found("escalation", &id.to_string()))?;
    cx.caller.require_venture(Some(&found.venture))?;
    if let Some(reason) = &input.reason {
        let mut invalid = Invalid::new();
        text::require_line(&mut invalid, "reason", reason, 500);
        invalid.finish()?;
        refuse_secrets(secrets::scan_fields([("reason".to_owned(), reason.as_str())]))?;
    }
    let origin = cx.origin();
    cx.commit(move |draft| {
        let now = draft.now();
        if found.resolved.is_none() {
            let reason = input.reason.unwrap_or_else(|| "resolved".to_owned());
            resolve_in(draft, &found, &reason, &origin)?;
            let by = origin.agent.clone();
            found.value.resolved = Some(ctxnode_model::record::Resolution { at: now, by, reason: Some(reason) });
        }
        Ok((200, view(id, &found.value, now)))
    })
    .await
}

fn view(id: DocumentId, call: &Escalation, now: Timestamp) -> EscalationView {
    EscalationView {
        id: id.to_string(),
        trigger: call.trigger.clone(),
        error: call.error.clone(),
        tried: call.tried.clone(),
        need: call.need.clone(),
        session_id: call.session_id.clone(),
        agent: call.agent.clone(),
        venture: call.venture.clone(),
        repo: call.repo.clone(),
        issue: call.issue,
        error_count: call.error_count,
        created_at: Iso(call.created_at),
        age: call.created_at.age(now),
        resolved_at: call.resolved.as_ref().map(|resolved| Iso(resolved.at)),
        resolved_by: call.resolved.as_ref().map(|resolved| resolved.by.clone()),
    }
}
