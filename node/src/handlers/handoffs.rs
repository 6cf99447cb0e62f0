//! Handoffs: end of day, reading, closing.

use ctxnode_api::handoffs::{
    CloseRequest, HandoffQuery, HandoffReply, HandoffRequest, HandoffRow, HandoffView, LatestQuery,
};
use ctxnode_api::node::Empty;
use ctxnode_api::{ErrorBody, ErrorCode, Iso};
use ctxnode_model::index::Index;
use ctxnode_model::record::{
    ConfirmedBy, EndReason, Ending, Escalation, Handoff, HandoffStatus, Observed, Session, SessionStatus,
};
use ctxnode_model::rules::handoff::{
    Addressee, Content, ContentError, ContentFields, Lists, SCHEMA_VERSION, ThreadSource, is_for, status_name,
    thread_key,
};
use ctxnode_model::rules::secrets;
use ctxnode_model::{DocumentId, Edit, Kind, Rec, Scalar, Space, Timestamp};
use ctxnode_store::{Draft, Listing, Reader};
use serde_json::{Value, json};

use super::{escalations, events, git_view, paging, sessions, start};
use crate::app::{Answer, Cx, Handled, Origin};
use crate::failure::Failure;

pub(crate) async fn eod(cx: &Cx, input: HandoffRequest) -> Handled {
    let session = sessions::session_of(cx, input.session_id.as_deref()).await?;
    cx.caller.require_venture(Some(&session.venture))?;
    let checkout = start::checkout_of(cx, None).await;
    if input.session_id.is_none() {
        start::check_repo(&session, checkout.as_ref())?;
    }
    let content = check(&input)?;
    let closes = closes(&input)?;
    let same_repo =
        |checkout: &&crate::checkout::Checkout| ctxnode_model::rules::repo::same_repo(&checkout.repo, &session.repo);
    let seen = checkout.as_ref().filter(same_repo);
    let observed = match seen {
        Some(checkout) => Some(checkout.observe().await),
        None => None,
    };
    let end = EndOfDay {
        id: session.id,
        keep_open: input.keep_open.unwrap_or(false),
        default_branch: seen.and_then(|checkout| checkout.default_branch.clone()),
        observed,
        closes,
        content,
        origin: cx.origin(),
        input,
    };
    let mut answer = cx.commit(move |draft| end.carry_out(draft).map(|reply| (200, reply))).await?;
    let view = answer.body["git_view"].clone();
    after(cx, &session, seen, &mut answer).await?;
    if answer.body["git_view"] == view { Ok(answer) } else { cx.completed(answer).await }
}

/// Ends the presence of a session that is over, reads the handoff back as the next start will, renders the git view.
async fn after(
    cx: &Cx,
    session: &Rec<Session>,
    checkout: Option<&crate::checkout::Checkout>,
    answer: &mut Answer,
) -> Result<(), Failure> {
    let stored = answer.body.get("handoff_id").and_then(Value::as_str).unwrap_or_default().to_owned();
    let snapshot = cx.read()?;
    let listing = [session.venture.as_str(), session.repo.as_str()];
    let newest = snapshot.reader().newest::<Handoff>(Index::Repo, Kind::Handoff, &listing, 50)?;
    if !newest.iter().any(|handoff| handoff.id.to_string() == stored) {
        tracing::error!(stored, "a stored handoff is not found by the query of the next start");
        return Err(Failure::new(ErrorCode::Internal, "the handoff was stored, but the next start would not find it"));
    }
    let current = snapshot.reader().get::<Session>(session.id)?;
    match current {
        Some(current) if current.status() == SessionStatus::Active && sessions::is_own(&cx.app, &current) => {
            cx.app.presence.beat(session.id, cx.now());
        }
        _ => cx.app.presence.forget(session.id),
    }
    let wrote = answer.body.get("no_op").and_then(Value::as_bool) != Some(true);
    let text = if wrote && checkout.is_some() { git_view::text(snapshot.reader(), session)? } else { None };
    drop(snapshot);
    if let (Some(checkout), Some(text)) = (checkout, text) {
        answer.body["git_view"] = Value::String(git_view::commit(checkout, &text).await);
    }
    Ok(())
}

fn check(input: &HandoffRequest) -> Result<Content, Failure> {
    let fields = ContentFields {
        lists: Lists {
            accomplished: input.accomplished.clone(),
            in_progress: input.in_progress.clone(),
            blocked: input.blocked.clone(),
            next_steps: input.next_steps.clone(),
        },
        status: input.status.clone(),
        summary: input.summary.clone(),
        to_agent: input.to_agent.clone(),
        thread: input.thread.clone(),
        extra: input.extra.clone(),
    };
    let content = fields.validate().map_err(|error| match error {
        ContentError::Invalid(invalid) => Failure::from(invalid),
        ContentError::TooLarge { .. } => Failure::new(ErrorCode::TooLarge, error.to_string()),
    })?;
    let mut suspects = secrets::scan_fields(fields.texts());
    if let Some(extra) = &input.extra {
        suspects.extend(secrets::scan_value("extra", &Value::Object(extra.clone())));
    }
    sessions::refuse_secrets(suspects)?;
    if let Some(issue) = input.issue {
        let mut invalid = ctxnode_model::Invalid::new();
        ctxnode_model::rules::session::check_issue(&mut invalid, "issue", issue);
        invalid.finish()?;
    }
    Ok(content)
}

fn closes(input: &HandoffRequest) -> Result<Vec<DocumentId>, Failure> {
    let parse = |(at, text): (usize, &String)| paging::id(Kind::Handoff, &format!("closes[{at}]"), text);
    input.closes.iter().enumerate().map(parse).collect()
}

/// An end of day, checked.
struct EndOfDay {
    id: DocumentId,
    keep_open: bool,
    default_branch: Option<String>,
    observed: Option<Observed>,
    closes: Vec<DocumentId>,
    content: Content,
    origin: Origin,
    input: HandoffRequest,
}

impl EndOfDay {
    /// Stores the handoff and ends the session, in one command: a crash leaves both or neither.
    fn carry_out(&self, draft: &mut Draft<'_>) -> Result<HandoffReply, Failure> {
        let reader = draft.reader();
        let session = reader.get::<Session>(self.id)?;
        let session = session.ok_or_else(|| Failure::not_found("session", &self.id.to_string()))?;
        if let Some(first) = ended_with(reader, &session)? {
            return Ok(self.no_op(&session, &first));
        }
        let over = session.status() != SessionStatus::Active;
        let issue = self.input.issue.and_then(|issue| u32::try_from(issue).ok()).or(session.issue);
        let text = session.id.to_string();
        let thread = thread_key(ThreadSource {
            given: self.input.thread.as_deref().or(session.thread.as_deref()),
            repo: &session.repo,
            issue,
            branch: session.branch.as_deref(),
            default_branch: self.default_branch.as_deref(),
            session_id: &text,
        });
        let space = Space::of(Some(&session.venture));
        let id = draft.fresh_id(Kind::Handoff, &space)?;
        let edits = self.edits(&session, issue, &thread, draft.now());
        draft.edit(id, &space, edits)?;
        for closed in &self.closes {
            stage_close(draft, *closed, &session.venture, &id.to_string(), &self.origin, None)?;
        }
        // The machine's draft of this session says less than its agent does now.
        for older in super::drafts::of_session(reader, &session)? {
            if older.drafted && older.closed.is_empty() && !self.closes.contains(&older.id) {
                stage_close(draft, older.id, &session.venture, &id.to_string(), &self.origin, None)?;
            }
        }
        let ends = !over && !self.keep_open;
        if ends {
            let ending = Ending { at: draft.now(), reason: EndReason::Manual, handoff: Some(id.to_string()) };
            draft.edit(session.id, &space, [Edit::set("ended", Scalar::json(&json!(ending)))])?;
        }
        self.tell(draft, &session, issue, &thread)?;
        let status = if ends { SessionStatus::Ended } else { session.status() };
        let notice = over.then(|| "the session was over already and stays so; the handoff was stored".to_owned());
        Ok(self.reply(id, &session, status, thread, notice))
    }

    fn edits(&self, session: &Rec<Session>, issue: Option<u32>, thread: &str, now: Timestamp) -> Vec<Edit> {
        let payload = &self.content.payload;
        let mut edits = vec![
            Edit::set("session_id", session.id.to_string()),
            Edit::set("venture", session.venture.as_str()),
            Edit::set("repo", session.repo.as_str()),
            Edit::set("thread", thread),
            Edit::set("from_agent", session.agent.as_str()),
            Edit::set("status_label", status_name(self.content.status)),
            Edit::set("summary", self.content.summary.as_str()),
            Edit::set("payload_hash", payload.hash.as_str()),
            Edit::set("payload_size_bytes", i64::try_from(payload.size()).unwrap_or(0)),
            Edit::set("payload", payload.text.as_str()),
            Edit::set("schema_version", SCHEMA_VERSION),
            Edit::set("drafted", false),
            Edit::set("actor_key_id", self.origin.actor_key_id.as_str()),
            Edit::set("creation_correlation_id", self.origin.correlation.as_str()),
            Edit::set("created_at", now),
        ];
        edits.extend(Edit::set_some("track", session.track));
        edits.extend(Edit::set_some("issue", issue));
        edits.extend(Edit::set_some("branch", session.branch.clone()));
        edits.extend(Edit::set_some("commit_sha", session.commit_sha.clone()));
        edits.extend(Edit::set_some("to_agent", self.input.to_agent.clone()));
        let confirmed = self.input.confirmed_by.map(|by| if by == ConfirmedBy::Human { "human" } else { "unattended" });
        edits.extend(Edit::set_some("confirmed_by", confirmed));
        edits.extend(Edit::set_some("observed", self.observed.as_ref().map(|seen| Scalar::json(&json!(seen)))));
        if !self.input.closes.is_empty() {
            edits.push(Edit::set("supersedes", Scalar::json(&json!(self.input.closes))));
        }
        edits
    }

    /// Tells others: an event for done and blocked, and done resolves the calls for help of its thread.
    fn tell(
        &self,
        draft: &mut Draft<'_>,
        session: &Rec<Session>,
        issue: Option<u32>,
        thread: &str,
    ) -> Result<(), Failure> {
        let kind = match self.content.status {
            HandoffStatus::Done => "task_done",
            HandoffStatus::Blocked => "blocked",
            HandoffStatus::InProgress => return Ok(()),
        };
        events::stage(draft, kind, session, issue, &self.content.summary, &self.origin)?;
        if self.content.status == HandoffStatus::Done {
            let open = draft.reader().newest::<Escalation>(
                Index::EscalationOpen,
                Kind::Escalation,
                &[&session.venture],
                100,
            )?;
            for call in open.iter().filter(|call| call.thread.as_deref() == Some(thread)) {
                escalations::resolve_in(draft, call, "a done handoff of its thread", &self.origin)?;
            }
        }
        Ok(())
    }

    fn reply(
        &self,
        id: DocumentId,
        session: &Rec<Session>,
        session_status: SessionStatus,
        thread: String,
        notice: Option<String>,
    ) -> HandoffReply {
        HandoffReply {
            handoff_id: id.to_string(),
            payload_hash: self.content.payload.hash.clone(),
            payload_size_bytes: self.content.payload.size() as u64,
            summary: self.content.summary.clone(),
            thread,
            session_id: session.id.to_string(),
            session_status,
            no_op: false,
            notice,
            observed: self.observed.clone(),
            git_view: None,
        }
    }

    fn no_op(&self, session: &Rec<Session>, first: &Rec<Handoff>) -> HandoffReply {
        let differs = first.payload_hash != self.content.payload.hash;
        HandoffReply {
            handoff_id: first.id.to_string(),
            payload_hash: first.payload_hash.clone(),
            payload_size_bytes: first.payload_size_bytes,
            summary: first.summary.clone(),
            thread: first.thread.clone(),
            session_id: session.id.to_string(),
            session_status: session.status(),
            no_op: true,
            notice: differs.then(|| {
                "the session had ended with this handoff; the new content was not stored. `sod` opens a new session for it"
                    .to_owned()
            }),
            observed: first.observed.clone(),
            git_view: None,
        }
    }
}

/// Returns the handoff with which an agent ended a session.
fn ended_with(reader: Reader<'_>, session: &Rec<Session>) -> Result<Option<Rec<Handoff>>, Failure> {
    let stored = session.ended.as_ref().and_then(|ending| ending.handoff.as_deref());
    let id = stored.and_then(|text| DocumentId::parse(Kind::Handoff, text).ok());
    Ok(match id {
        Some(id) => reader.get::<Handoff>(id)?.filter(|handoff| !handoff.drafted && handoff.venture == session.venture),
        None => None,
    })
}

/// Stages a close mark.
pub(super) fn stage_close(
    draft: &mut Draft<'_>,
    id: DocumentId,
    venture: &str,
    by: &str,
    origin: &Origin,
    reason: Option<&str>,
) -> Result<(), Failure> {
    let found = draft.reader().get::<Handoff>(id)?.filter(|handoff| handoff.venture == venture);
    found.ok_or_else(|| Failure::not_found("handoff", &id.to_string()))?;
    let mark = json!({ "at": draft.now().0, "by": origin.agent, "reason": reason });
    Ok(draft.edit(id, &Space::of(Some(venture)), [Edit::entry("closed", by, Scalar::json(&mark))])?)
}

pub(crate) async fn close(cx: &Cx, input: CloseRequest) -> Handled {
    let id = paging::id(Kind::Handoff, "id", cx.param("id"))?;
    let found = visible(cx, id)?;
    cx.caller.require_venture(Some(&found.venture))?;
    if let Some(reason) = &input.reason {
        let mut invalid = ctxnode_model::Invalid::new();
        ctxnode_model::rules::text::require_line(&mut invalid, "reason", reason, 500);
        invalid.finish()?;
        sessions::refuse_secrets(secrets::scan_fields([("reason".to_owned(), reason.as_str())]))?;
    }
    let origin = cx.origin();
    let now = cx.now();
    cx.commit(move |draft| {
        let reader = draft.reader();
        stage_close(draft, id, &found.venture, &origin.actor_key_id, &origin, input.reason.as_deref())?;
        let mut reply = view(reader, &found, None, now)?;
        reply.row.open = false;
        Ok((200, reply))
    })
    .await
}

fn visible(cx: &Cx, id: DocumentId) -> Result<Rec<Handoff>, Failure> {
    let found = cx.read()?.reader().get::<Handoff>(id)?;
    let found = found.filter(|handoff| cx.caller.sees(Some(&handoff.venture)));
    found.ok_or_else(|| Failure::not_found("handoff", &id.to_string()))
}

pub(crate) async fn get(cx: &Cx, _: Empty) -> Handled {
    let found = visible(cx, paging::id(Kind::Handoff, "id", cx.param("id"))?)?;
    Answer::ok(view(cx.read()?.reader(), &found, None, cx.now())?)
}

pub(crate) async fn latest(cx: &Cx, input: LatestQuery) -> Handled {
    let snapshot = cx.read()?;
    let reader = snapshot.reader();
    let candidates = match (&input.session_id, &input.venture, &input.repo) {
        (Some(session), _, _) => {
            let id = paging::id(Kind::Session, "session_id", session)?;
            let known = reader.get::<Session>(id)?;
            let is_of = |handoff: &Rec<Handoff>| known.as_ref().is_none_or(|known| known.venture == handoff.venture);
            let prefix = [session.as_str()];
            let listing =
                Listing { index: Index::Session, kind: Kind::Handoff, prefix: &prefix, after: None, limit: 200 };
            reader.list_where::<Handoff>(&listing, is_of)?.items
        }
        (None, Some(venture), Some(repo)) => {
            reader.newest::<Handoff>(Index::Repo, Kind::Handoff, &[venture, repo], 1_000)?
        }
        _ => return Err(ErrorBody::field("session_id", "pass `session_id`, or `venture` and `repo`").into()),
    };
    let number =
        |wanted: Option<i64>, found: Option<u32>| wanted.is_none_or(|wanted| found.map(i64::from) == Some(wanted));
    let fits = |handoff: &Rec<Handoff>| {
        cx.caller.sees(Some(&handoff.venture))
            && number(input.issue, handoff.issue)
            && number(input.track, handoff.track)
            && input.thread.as_deref().is_none_or(|thread| thread == handoff.thread)
    };
    let found = candidates.into_iter().find(fits);
    let found = found.ok_or_else(|| Failure::new(ErrorCode::NotFound, "no handoff matches"))?;
    Answer::ok(view(reader, &found, None, cx.now())?)
}

pub(crate) async fn list(cx: &Cx, input: HandoffQuery) -> Handled {
    let window = paging::window(input.limit, input.cursor.as_deref(), Kind::Handoff)?;
    let snapshot = cx.read()?;
    let reader = snapshot.reader();
    let now = cx.now();
    let (index, prefix): (Index, Vec<&str>) = match (&input.session_id, &input.venture, &input.thread, &input.repo) {
        (Some(session), ..) => (Index::Session, vec![session]),
        (None, Some(venture), Some(thread), _) => (Index::Thread, vec![venture, thread]),
        (None, Some(venture), None, Some(repo)) => (Index::Repo, vec![venture, repo]),
        (None, Some(venture), None, None) if input.open == Some(true) => (Index::HandoffOpen, vec![venture]),
        (None, Some(venture), None, None) => (Index::Venture, vec![venture]),
        (None, None, ..) => (Index::All, vec![]),
    };
    let same =
        |wanted: &Option<String>, found: Option<&str>| wanted.as_deref().is_none_or(|wanted| found == Some(wanted));
    let number =
        |wanted: Option<i64>, found: Option<u32>| wanted.is_none_or(|wanted| found.map(i64::from) == Some(wanted));
    let fits = |handoff: &Rec<Handoff>| {
        cx.caller.sees(Some(&handoff.venture))
            && same(&input.venture, Some(&handoff.venture))
            && same(&input.repo, Some(&handoff.repo))
            && same(&input.from_agent, Some(&handoff.from_agent))
            && same(&input.to_agent, handoff.to_agent.as_deref())
            && same(&input.thread, Some(&handoff.thread))
            && same(&input.session_id, Some(&handoff.session_id))
            && number(input.issue, handoff.issue)
            && number(input.track, handoff.track)
            && input.status.is_none_or(|status| status == handoff.status_label)
            && input.drafted.is_none_or(|drafted| drafted == handoff.drafted)
            && input.since.is_none_or(|since| handoff.created_at >= since.0)
            && input.until.is_none_or(|until| handoff.created_at < until.0)
            && input.open.is_none_or(|open| reader.is_open_handoff(handoff).unwrap_or(false) == open)
    };
    let listing = Listing { index, kind: Kind::Handoff, prefix: &prefix, after: window.after, limit: window.limit };
    let page = reader.list_where::<Handoff>(&listing, fits)?;
    let rows = page.map(|handoff| row(&handoff, reader.is_open_handoff(&handoff).unwrap_or(false), None, now));
    Answer::ok(ctxnode_api::List::of(rows))
}

/// Makes the row of a handoff. `me` is the agent for whom a start is made.
pub(super) fn row(handoff: &Rec<Handoff>, open: bool, me: Option<Addressee<'_>>, now: Timestamp) -> HandoffRow {
    HandoffRow {
        id: handoff.id.to_string(),
        from_agent: handoff.from_agent.clone(),
        to_agent: handoff.to_agent.clone(),
        for_you: me.is_some_and(|me| is_for(handoff.to_agent.as_deref(), me)),
        status: handoff.status_label,
        summary: handoff.summary.clone(),
        venture: handoff.venture.clone(),
        repo: handoff.repo.clone(),
        track: handoff.track,
        issue: handoff.issue,
        branch: handoff.branch.clone(),
        thread: handoff.thread.clone(),
        drafted: handoff.drafted,
        open,
        created_at: Iso(handoff.created_at),
        age: handoff.created_at.age(now),
    }
}

/// Makes the answer for a handoff with its content.
pub(super) fn view(
    reader: Reader<'_>,
    handoff: &Rec<Handoff>,
    me: Option<Addressee<'_>>,
    now: Timestamp,
) -> Result<HandoffView, Failure> {
    let payload = reader.body(handoff.id)?.unwrap_or_default();
    let lists = Lists::from_payload(&payload);
    let value: Value = serde_json::from_str(&payload).unwrap_or_default();
    Ok(HandoffView {
        row: row(handoff, reader.is_open_handoff(handoff)?, me, now),
        session_id: handoff.session_id.clone(),
        commit_sha: handoff.commit_sha.clone(),
        accomplished: lists.accomplished,
        in_progress: lists.in_progress,
        blocked: lists.blocked,
        next_steps: lists.next_steps,
        extra: value.get("extra").cloned(),
        payload_hash: handoff.payload_hash.clone(),
        payload_size_bytes: handoff.payload_size_bytes,
        observed: handoff.observed.clone(),
        confirmed_by: handoff.confirmed_by,
        closed: handoff.closed.iter().map(|(by, mark)| (by.clone(), json!(mark))).collect(),
        actor_key_id: handoff.actor_key_id.clone(),
        creation_correlation_id: handoff.creation_correlation_id.clone(),
    })
}
