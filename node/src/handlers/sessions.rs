//! Sessions: which one a caller works in, update, heartbeat, lists, giving up, and the sweep of stale ones.

use std::sync::Arc;

use ctxnode_api::node::Empty;
use ctxnode_api::sessions::{
    AbandonRequest, HeartbeatReply, HeartbeatRequest, SessionList, SessionQuery, SessionView, StatusFilter,
    UpdateReply, UpdateRequest,
};
use ctxnode_api::{ErrorCode, Iso};
use ctxnode_model::index::Index;
use ctxnode_model::record::{EndReason, Ending, Session, SessionStatus};
use ctxnode_model::rules::presence::{is_stale, next_heartbeat};
use ctxnode_model::rules::secrets;
use ctxnode_model::rules::session::UpdateFields;
use ctxnode_model::rules::start::superseded_twins;
use ctxnode_model::{DocumentId, Edit, Kind, Rec, Scalar, Space, Timestamp};
use ctxnode_store::{Committed, Draft, Listing, LocalTable, Reader, WriteError};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{drafts, errors, escalations, paging, start, who};
use crate::app::{App, Cx, Handled, Origin};
use crate::daemon::presence::Presence;
use crate::failure::Failure;
use crate::peers::{Whereabouts, whereabouts};

/// How many sessions a caller is remembered to hold; one per venture and repo that it works in.
const BOUND: usize = 16;

/// A session that a caller started or resumed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Bound {
    pub(super) session: DocumentId,
    pub(super) venture: String,
    pub(super) repo: String,
    /// Up to where in the journal it was told what other machines changed.
    #[serde(default)]
    pub(super) seen: u64,
}

/// The sessions of a caller, the last used first. They are found by the agent id, which follows from the process, so
/// that a restarted shim or daemon finds them again.
pub(super) fn bound(reader: Reader<'_>, agent: &str) -> Result<Vec<Bound>, Failure> {
    let found = reader.local(LocalTable::Bindings, agent.as_bytes())?;
    Ok(found.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default())
}

/// Notes that a caller works in a session now.
pub(super) fn bind(draft: &mut Draft<'_>, agent: &str, now_used: Bound) -> Result<(), Failure> {
    let mut all = bound(draft.reader(), agent)?;
    all.retain(|bound| bound.session != now_used.session);
    all.insert(0, now_used);
    all.truncate(BOUND);
    draft.put_local(LocalTable::Bindings, agent.as_bytes(), serde_json::to_vec(&all).unwrap_or_default());
    Ok(())
}

/// Returns the session that a call is about: the given one, else the caller's own in the repo where it works, else the
/// one that it used last.
pub(super) async fn session_of(cx: &Cx, given: Option<&str>) -> Result<Rec<Session>, Failure> {
    let id = match given {
        Some(text) => paging::id(Kind::Session, "session_id", text)?,
        None => own(cx).await?,
    };
    let snapshot = cx.read()?;
    let found = snapshot.reader().get::<Session>(id)?;
    let session = found.filter(|session| cx.caller.sees(Some(&session.venture)));
    let session = session.ok_or_else(|| Failure::not_found("session", &id.to_string()))?;
    if !session.explicit_agent || session.status() != SessionStatus::Active {
        return Ok(session);
    }
    let twins =
        Twins::of(&snapshot.reader().newest(Index::SessionOpen, Kind::Session, &[&session.venture], usize::MAX)?);
    Ok(twins.resolve(session))
}

/// Sessions that one explicit agent id opened on several nodes while they were apart. Every node keeps the newest and
/// shows the others as superseded; the node of such a one ends it for good.
struct Twins(std::collections::BTreeMap<DocumentId, Timestamp>);

impl Twins {
    fn of(open: &[Rec<Session>]) -> Self {
        let losers = superseded_twins(open.iter().map(|session| (session.id, &session.value)));
        let began = |id: DocumentId| open.iter().find(|session| session.id == id).map(|session| session.created_at);
        Self(losers.into_iter().filter_map(|(loser, kept)| Some((loser, began(kept)?))).collect())
    }

    /// Returns a session as it counts.
    fn resolve(&self, mut session: Rec<Session>) -> Rec<Session> {
        if let Some(at) = self.0.get(&session.id) {
            session.value.ended = Some(Ending { at: *at, reason: EndReason::Superseded, handoff: None });
        }
        session
    }
}

async fn own(cx: &Cx) -> Result<DocumentId, Failure> {
    let bound = bound(cx.read()?.reader(), &cx.caller.agent)?;
    if bound.len() > 1
        && let Some(checkout) = start::checkout_of(cx, None).await
        && let Some(here) =
            bound.iter().find(|bound| ctxnode_model::rules::repo::same_repo(&bound.repo, &checkout.repo))
    {
        return Ok(here.session);
    }
    bound.first().map(|bound| bound.session).ok_or_else(no_session)
}

fn no_session() -> Failure {
    Failure::from(
        ctxnode_api::ErrorBody::new(ErrorCode::SessionNotActive, "no session: call sod")
            .hint("`sod` starts one; `context` shows where you stand"),
    )
}

/// Refuses a session that is over, and says when and why.
pub(super) fn require_active(session: &Rec<Session>, now: Timestamp) -> Result<(), Failure> {
    let Some(ending) = session.ending() else { return Ok(()) };
    let what = if session.status() == SessionStatus::Ended { "ended" } else { "was abandoned" };
    let reason = serde_json::to_value(ending.reason).unwrap_or_default();
    let message = format!(
        "no session: call sod; `{}` {what} {} ago ({})",
        session.id,
        ending.at.age(now),
        reason.as_str().unwrap_or("unknown")
    );
    Err(Failure::new(ErrorCode::SessionNotActive, message))
}

/// Every call of an agent inside a session is a heartbeat.
pub(crate) fn touch(cx: &Cx) {
    if let Ok(snapshot) = cx.app.store.read()
        && let Ok(bound) = bound(snapshot.reader(), &cx.caller.agent)
        && let Some(bound) = bound.first()
        && cx.app.presence.get(bound.session).is_some()
    {
        cx.app.presence.beat(bound.session, cx.now());
    }
}

/// Whether an active session counts as alive. Sessions of other nodes are alive only while their node is heard of.
pub(super) fn is_live(app: &App, session: &Rec<Session>, now: Timestamp) -> bool {
    session.status() == SessionStatus::Active
        && match whereabouts(app, session, now) {
            Whereabouts::Here => !is_stale(now.since(app.presence.last(session.id, session.created_at))),
            Whereabouts::Alive(_) => true,
            Whereabouts::Silent | Whereabouts::Away(_) => false,
        }
}

/// Whether its node cannot be reached, so that nobody can say whether it is alive.
pub(super) fn is_away(app: &App, session: &Rec<Session>, now: Timestamp) -> bool {
    matches!(whereabouts(app, session, now), Whereabouts::Away(_))
}

/// Returns its last sign of life, as far as it is known here.
pub(super) fn last_sign(app: &App, session: &Rec<Session>, now: Timestamp) -> Timestamp {
    match whereabouts(app, session, now) {
        Whereabouts::Here => app.presence.last(session.id, session.created_at),
        Whereabouts::Alive(at) => at,
        Whereabouts::Away(Some(at)) => at.max(session.created_at),
        Whereabouts::Silent | Whereabouts::Away(None) => session.created_at,
    }
}

pub(super) fn is_own(app: &App, session: &Session) -> bool {
    session.node == app.store.node().to_string()
}

/// Refuses a session of another machine: only that one knows whether its agent lives, and what it works on.
fn require_own(app: &App, session: &Rec<Session>) -> Result<(), Failure> {
    if is_own(app, session) {
        return Ok(());
    }
    let message = format!("`{}` is a session of {}: only that machine keeps it", session.id, session.machine);
    let hint = format!("call this on {}", session.machine);
    Err(ctxnode_api::ErrorBody::new(ErrorCode::Forbidden, message).hint(hint).into())
}

/// Makes the answer for a session.
pub(super) fn view(app: &App, session: &Rec<Session>, now: Timestamp) -> SessionView {
    let value = &session.value;
    let pulse = app.presence.get(session.id);
    let process = pulse.as_ref().and_then(|pulse| pulse.process).filter(|process| process.is_alive());
    SessionView {
        id: session.id.to_string(),
        agent: value.agent.clone(),
        machine: value.machine.clone(),
        cli: value.cli.clone(),
        cli_version: value.cli_version.clone(),
        instance: value.instance.clone(),
        venture: value.venture.clone(),
        repo: value.repo.clone(),
        track: value.track,
        issue: value.issue,
        branch: value.branch.clone(),
        commit_sha: value.commit_sha.clone(),
        status: value.status(),
        live: is_live(app, session, now),
        created_at: Iso(value.created_at),
        ended_at: value.ending().map(|ending| Iso(ending.at)),
        end_reason: value.ending().map(|ending| ending.reason),
        last_heartbeat_at: pulse.as_ref().map(|pulse| Iso(pulse.at)),
        age: value.created_at.age(now),
        pid: process.map(|process| process.pid),
        checkout: pulse.as_ref().and_then(|pulse| pulse.checkout.clone()),
        failed: pulse.and_then(|pulse| pulse.failed),
        blocked_on: value.blocked_on.clone(),
        parent_session_id: value.parent_session_id.clone(),
        thread: value.thread.clone(),
        meta: value.meta.clone(),
        conflicts: who::conflicts(app, &session.meta.conflicts, now),
        actor_key_id: value.actor_key_id.clone(),
        creation_correlation_id: value.creation_correlation_id.clone(),
    }
}

pub(super) fn heartbeat_reply(app: &App, id: DocumentId, now: Timestamp) -> HeartbeatReply {
    let next = next_heartbeat(now, app.random());
    HeartbeatReply {
        session_id: id.to_string(),
        last_heartbeat_at: Iso(app.presence.last(id, now)),
        next_heartbeat_at: Iso(next.at),
        heartbeat_interval_seconds: next.interval_seconds,
    }
}

pub(crate) async fn update(cx: &Cx, input: UpdateRequest) -> Handled {
    let session = session_of(cx, input.session_id.as_deref()).await?;
    cx.caller.require_venture(Some(&session.venture))?;
    let now = cx.now();
    require_active(&session, now)?;
    require_own(&cx.app, &session)?;
    let mut suspects = secrets::scan_value("meta", &serde_json::Value::Object(input.meta.clone()));
    if let ctxnode_api::Patch::Set(text) = &input.blocked_on {
        suspects.extend(secrets::scan_fields([("blocked_on".to_owned(), text.as_str())]));
    }
    refuse_secrets(suspects)?;
    let fields = UpdateFields {
        branch: input.branch,
        commit_sha: input.commit_sha,
        issue: input.issue.into_change(),
        track: input.track.into_change(),
        meta: input.meta,
        blocked_on: input.blocked_on.into_change(),
    };
    let edits = fields.edits(&session, now)?;
    let call = input.escalate.map(|fields| escalations::checked(&fields)).transpose()?;
    let (app, origin, id) = (Arc::clone(&cx.app), cx.origin(), session.id);
    cx.app.presence.beat(id, now);
    let error = input.error;
    cx.commit(move |draft| {
        let current =
            draft.reader().get::<Session>(id)?.ok_or_else(|| Failure::not_found("session", &id.to_string()))?;
        require_active(&current, now)?;
        let space = Space::of(Some(&current.venture));
        if !edits.is_empty() {
            draft.edit(id, &space, edits.clone())?;
        }
        let counted = error.map(|error| errors::count(draft, id, &error, None)).transpose()?;
        let escalation = call.map(|call| escalations::stage(draft, &call, &current, &origin)).transpose()?;
        let after = start::with_edits(current, &edits);
        let mut warnings = start::warnings(&app, draft.reader(), &after, now)?;
        warnings.extend(counted.iter().flat_map(|counted| counted.notices.clone()));
        let reply = UpdateReply {
            session: view(&app, &after, now),
            updated_at: Iso(now),
            heartbeat: heartbeat_reply(&app, id, now),
            warnings,
            escalation_id: escalation.map(|id| id.to_string()),
            error_count: counted.map(|counted| counted.count),
        };
        Ok((200, reply))
    })
    .await
}

/// Refuses texts that look like secrets; the details name kind and place, never the value.
pub(super) fn refuse_secrets(suspects: Vec<ctxnode_model::FieldError>) -> Result<(), Failure> {
    if suspects.is_empty() {
        return Ok(());
    }
    let message = "the text looks like it holds a secret; what is replicated cannot be taken back";
    Err(ctxnode_api::ErrorBody::new(ErrorCode::SecretSuspected, message)
        .details(suspects)
        .hint("remove it, or refer to it by the name under which the secrets provider has it")
        .into())
}

pub(crate) async fn heartbeat(cx: &Cx, input: HeartbeatRequest) -> Handled {
    let session = session_of(cx, input.session_id.as_deref()).await?;
    let now = cx.now();
    require_active(&session, now)?;
    require_own(&cx.app, &session)?;
    cx.app.presence.beat(session.id, now);
    let reply = heartbeat_reply(&cx.app, session.id, now);
    cx.commit(move |_| Ok((200, reply))).await
}

pub(crate) async fn get(cx: &Cx, _: Empty) -> Handled {
    let session = session_of(cx, Some(cx.param("id"))).await?;
    crate::app::Answer::ok(view(&cx.app, &session, cx.now()))
}

pub(crate) async fn list(cx: &Cx, input: SessionQuery) -> Handled {
    let window = paging::window(input.limit, input.cursor.as_deref(), Kind::Session)?;
    let now = cx.now();
    let snapshot = cx.read()?;
    let reader = snapshot.reader();
    let filter = input.status.unwrap_or_default();
    let (index, prefix): (Index, Vec<&str>) = match (filter, &input.venture, &input.repo) {
        (StatusFilter::Active, Some(venture), _) => (Index::SessionOpen, vec![venture]),
        (StatusFilter::Active, None, _) => (Index::SessionOpenAll, vec![]),
        (_, Some(venture), Some(repo)) => (Index::Repo, vec![venture, repo]),
        (_, Some(venture), None) => (Index::Venture, vec![venture]),
        _ => (Index::All, vec![]),
    };
    let fits = |session: &Rec<Session>| {
        let same =
            |wanted: &Option<String>, found: Option<&str>| wanted.as_deref().is_none_or(|wanted| found == Some(wanted));
        let number =
            |wanted: Option<i64>, found: Option<u32>| wanted.is_none_or(|wanted| found.map(i64::from) == Some(wanted));
        cx.caller.sees(Some(&session.venture))
            && same(&input.venture, Some(&session.venture))
            && same(&input.repo, Some(&session.repo))
            && same(&input.agent, Some(&session.agent))
            && same(&input.machine, Some(&session.machine))
            && same(&input.cli, session.cli.as_deref())
            && number(input.track, session.track)
            && number(input.issue, session.issue)
            && input.since.is_none_or(|since| session.created_at >= since.0)
    };
    let twins = Twins::of(&reader.newest(Index::SessionOpenAll, Kind::Session, &[], usize::MAX)?);
    let is_twin = |session: &Rec<Session>| twins.0.contains_key(&session.id);
    let of_status = |session: &Rec<Session>| match filter {
        StatusFilter::Active => is_live(&cx.app, session, now) && !is_twin(session),
        StatusFilter::Ended => session.status() == SessionStatus::Ended || is_twin(session),
        StatusFilter::Abandoned => session.status() == SessionStatus::Abandoned,
        StatusFilter::Any => true,
    };
    let listing = Listing { index, kind: Kind::Session, prefix: &prefix, after: window.after, limit: window.limit };
    let mut last_seen = Vec::new();
    let page = reader.list_where::<Session>(&listing, |session| {
        if !fits(session) {
            return false;
        }
        if filter == StatusFilter::Active && is_away(&cx.app, session, now) && !is_twin(session) {
            last_seen.push(start::row(&cx.app, session, now));
        }
        of_status(session)
    })?;
    let list = ctxnode_api::List::of(page.map(|session| view(&cx.app, &twins.resolve(session), now)));
    crate::app::Answer::ok(SessionList {
        items: list.items,
        shown: list.shown,
        total: list.total,
        has_more: list.has_more,
        next_cursor: list.next_cursor,
        last_seen,
    })
}

pub(crate) async fn abandon(cx: &Cx, _: AbandonRequest) -> Handled {
    let session = session_of(cx, Some(cx.param("id"))).await?;
    let (app, origin, now) = (Arc::clone(&cx.app), cx.origin(), cx.now());
    let id = session.id;
    let answer = cx
        .commit(move |draft| {
            let current =
                draft.reader().get::<Session>(id)?.ok_or_else(|| Failure::not_found("session", &id.to_string()))?;
            require_active(&current, now)?;
            let edits = give_up(draft, &app, &current, now, EndReason::Admin, &origin)?;
            Ok((200, view(&app, &start::with_edits(current, &edits), now)))
        })
        .await?;
    cx.app.presence.forget(id);
    Ok(answer)
}

/// Stages the end of a session that nobody ended, with the handoff that a machine can write for it.
pub(super) fn give_up(
    draft: &mut Draft<'_>,
    app: &App,
    session: &Rec<Session>,
    at: Timestamp,
    reason: EndReason,
    origin: &Origin,
) -> Result<Vec<Edit>, Failure> {
    let handoff = drafts::stage(draft, app, session, origin)?.id;
    end_with(draft, session, at, reason, handoff)
}

/// Stages the end of a session that nobody ended, with a handoff that was written for it.
pub(super) fn end_with(
    draft: &mut Draft<'_>,
    session: &Rec<Session>,
    at: Timestamp,
    reason: EndReason,
    handoff: DocumentId,
) -> Result<Vec<Edit>, Failure> {
    let ending = Ending { at, reason, handoff: Some(handoff.to_string()) };
    let edits = vec![Edit::set("abandoned", Scalar::json(&json!(ending)))];
    draft.edit(session.id, &Space::of(Some(&session.venture)), edits.clone())?;
    Ok(edits)
}

/// Takes note of a session that the sweep has looked at. One that cannot be ended keeps no other one open.
fn over(app: &App, id: DocumentId, done: Result<Committed<bool>, WriteError<Failure>>) -> Result<(), Failure> {
    match done {
        Ok(done) if done.value => app.presence.forget(id),
        Ok(_) => {}
        Err(WriteError::Refused(failure)) => tracing::warn!(%id, ?failure, "a session could not be ended"),
        Err(error @ WriteError::Store(_)) => return Err(error.into()),
    }
    Ok(())
}

/// Marks the stale sessions of this node as abandoned. Bound processes that live are heartbeats first, so that a machine
/// that slept does not lose its sessions. What is no session of this node, or is over, wherever it was ended, is not alive here.
pub(crate) async fn sweep(app: &Arc<App>) -> Result<(), Failure> {
    let now = app.now();
    app.presence.revive(now);
    let (stale, twins): (Vec<DocumentId>, Vec<(DocumentId, Timestamp)>) = {
        let snapshot = app.store.read()?;
        let mut open = snapshot.reader().newest::<Session>(Index::SessionOpenAll, Kind::Session, &[], usize::MAX)?;
        // One that lies elsewhere than where it says is no session of this machine, whatever it names.
        open.retain(|session| app.store.ids().space(&Space::of(Some(&session.venture))) == session.meta.space);
        let own: Vec<DocumentId> =
            open.iter().filter(|session| is_own(app, session)).map(|session| session.id).collect();
        let twins = Twins::of(&open).0.into_iter().filter(|(id, _)| own.contains(id)).collect();
        let is_stale = |session: &Rec<Session>| {
            is_own(app, session) && is_stale(now.since(app.presence.last(session.id, session.created_at)))
        };
        (open.into_iter().filter(is_stale).map(|session| session.id).collect(), twins)
    };
    for (id, at) in twins {
        let done = app.store.write(move |draft| {
            if let Some(session) = draft.reader().get::<Session>(id)?
                && session.status() == SessionStatus::Active
            {
                let ending = Ending { at, reason: EndReason::Superseded, handoff: None };
                let edit = Edit::set("ended", Scalar::json(&json!(ending)));
                draft.edit(id, &Space::of(Some(&session.venture)), [edit])?;
            }
            Ok::<bool, Failure>(true)
        });
        over(app, id, done.await)?;
    }
    for id in stale {
        let inner = Arc::clone(app);
        let done = app.store.write(move |draft| {
            let Some(session) = draft.reader().get::<Session>(id)? else { return Ok(false) };
            let last = inner.presence.last(id, session.created_at);
            // It may have ended, or shown life, since it was found.
            if session.status() != SessionStatus::Active || !is_stale(now.since(last)) {
                return Ok(false);
            }
            let origin = Origin {
                actor_key_id: session.actor_key_id.clone(),
                agent: session.agent.clone(),
                correlation: session.creation_correlation_id.clone(),
            };
            give_up(draft, &inner, &session, last, EndReason::Stale, &origin)?;
            Ok::<bool, Failure>(true)
        });
        over(app, id, done.await)?;
    }
    let inner = Arc::clone(app);
    let saved = app.store.write(move |draft| {
        // Inside the command: a session that begins is alive before anybody else can read its record.
        for (id, _) in inner.presence.all() {
            let session = draft.reader().get::<Session>(id)?;
            let lives =
                session.is_some_and(|session| session.status() == SessionStatus::Active && is_own(&inner, &session));
            if !lives {
                inner.presence.forget(id);
            }
        }
        Presence::save(draft, inner.presence.take_unsaved());
        Ok::<(), Failure>(())
    });
    saved.await?;
    Ok(())
}
