//! What a start shows: handoffs, other sessions, claims, notes, docs. A part that fails is named and left out.

use ctxnode_api::Section;
use ctxnode_api::claims::ClaimView;
use ctxnode_api::handoffs::{HandoffRow, HandoffView};
use ctxnode_api::notes::InjectedNote;
use ctxnode_api::operations::PlanReply;
use ctxnode_api::sessions::{DocsFull, DocsIndex, DocsMode, FailedPart, SessionRow, SodReply, StartState, StartStatus};
use ctxnode_model::index::Index;
use ctxnode_model::record::{Handoff, HandoffStatus, Note, Session};
use ctxnode_model::rules::branch::{self, Place, Warning};
use ctxnode_model::rules::handoff::{Addressee, is_for};
use ctxnode_model::rules::limits::{DAY_MS, INJECTION_CHARS, INJECTION_NOTES};
use ctxnode_model::rules::note::{
    Injectable, Length, Piece, SUMMARY_TAG, injection_heading, order_for_injection, plan_injection,
};
use ctxnode_model::rules::repo::same_repo;
use ctxnode_model::rules::start::superseded_twins;
use ctxnode_model::rules::text;
use ctxnode_model::{Kind, Rec, Timestamp};
use ctxnode_store::Reader;

use super::super::sessions;
use super::super::{claims, docs, handoffs, plan, records};
use crate::app::App;
use crate::caller;
use crate::failure::Failure;

use super::{Prepared, Standing, brief};

/// How many rows each list of a start shows.
const ROWS: usize = 10;
const LAST_SEEN_ROWS: usize = 5;
const CLAIM_ROWS: usize = 5;
const DOC_ROWS: usize = 30;
/// How many open handoffs are looked at to find those to show; blocked ones come first wherever they are.
const OPEN_SCANNED: usize = 200;
/// A note that was not changed for this long is marked.
const OLD_MS: i64 = 90 * DAY_MS;

/// Gathers the context. What fails is named and left out.
#[expect(clippy::too_many_arguments, reason = "the facts of one start; a struct would only be taken apart again")]
pub(super) fn context(
    reader: Reader<'_>,
    app: &App,
    prepared: &Prepared,
    standing: &Standing,
    status: StartStatus,
    session: &Rec<Session>,
    mode: DocsMode,
    now: Timestamp,
) -> Result<SodReply, Failure> {
    let code = session.venture.as_str();
    let mut failed = Vec::new();
    let mut part = |name: &str, failure: Failure| {
        let reason = failure.into_body().message;
        failed.push(FailedPart { part: name.to_owned(), reason });
    };
    let (last, open) = handoff_parts(reader, app, session).unwrap_or_else(|failure| {
        part("handoffs", failure);
        Default::default()
    });
    let others = other_sessions(reader, session).unwrap_or_else(|failure| {
        part("sessions", failure);
        Vec::new()
    });
    let (active, last_seen) = session_rows(app, session, &others, now);
    let claims = claims::of_others(reader, app, session, now);
    let both = claims.and_then(|claims| Ok((claims, claims::warnings(reader, app, session, now)?)));
    let (claims, clashes) = both.unwrap_or_else(|failure| {
        part("claims", failure);
        Default::default()
    });
    let notes = injected(reader, code, now).unwrap_or_else(|failure| {
        part("notes", failure);
        Section::default()
    });
    let plan = match plan_part(reader, prepared, now) {
        Ok(plan) => Some(plan),
        Err(failure) => {
            part("plan", failure);
            None
        }
    };
    let docs_index = match mode {
        DocsMode::None => DocsIndex::default(),
        DocsMode::Index | DocsMode::Full => {
            docs::start_index(reader, &standing.venture, DOC_ROWS, now).unwrap_or_else(|failure| {
                part("docs", failure);
                DocsIndex::default()
            })
        }
    };
    let docs_full: Option<DocsFull> = match mode {
        DocsMode::Full => match docs::full(reader, code) {
            Ok(full) => Some(full),
            Err(failure) => {
                part("docs", failure);
                None
            }
        },
        DocsMode::None | DocsMode::Index => None,
    };
    let places: Vec<Place> =
        others.iter().filter(|other| sessions::is_live(app, other, now)).map(|other| place(app, other)).collect();
    let mut me = place(app, session);
    me.checkout_branch.clone_from(&prepared.checkout_branch);
    let mut warnings: Vec<String> =
        branch::warnings(&me, &places, prepared.default_branch.as_deref()).iter().map(warning_text).collect();
    warnings.extend(clashes);
    warnings.extend(prepared.not_continued.clone());
    let claim_total = claims.len() as u64;
    Ok(SodReply {
        state: StartState::Valid,
        status: Some(status),
        session: Some(sessions::view(app, session, now)),
        venture: Some(brief(&standing.venture)),
        heartbeat: Some(sessions::heartbeat_reply(app, session.id, now)),
        warnings,
        last_handoff: last,
        open_handoffs: open,
        plan,
        active,
        last_seen,
        claims: Section::of(claims.into_iter().take(CLAIM_ROWS).collect::<Vec<ClaimView>>(), claim_total),
        notes,
        docs: docs_index,
        docs_full,
        failed_parts: failed,
        ..SodReply::default()
    })
}

/// The weekly plan, as the one who starts may read it.
fn plan_part(reader: Reader<'_>, prepared: &Prepared, now: Timestamp) -> Result<PlanReply, Failure> {
    let limits = caller::limits(reader, &prepared.origin.actor_key_id)?;
    let sees = |code: &str| limits.as_ref().is_none_or(|limits| limits.contains(code));
    Ok(plan::reply(plan::current(reader, sees)?.as_ref(), now))
}

/// The handoff to continue from, and the other open ones of the venture.
fn handoff_parts(
    reader: Reader<'_>,
    app: &App,
    session: &Rec<Session>,
) -> Result<(Option<HandoffView>, Section<HandoffRow>), Failure> {
    let now = app.now();
    let me = Addressee { agent: &session.agent, machine: &session.machine, cli: session.cli.as_deref() };
    let mut open = reader.newest::<Handoff>(Index::HandoffOpen, Kind::Handoff, &[&session.venture], OPEN_SCANNED)?;
    // A draft of a session in which nothing happened is history, not an offer.
    open.retain(|handoff| handoff.activity != Some(false));
    let mine = |handoff: &&Rec<Handoff>| is_for(handoff.to_agent.as_deref(), me);
    let track = |handoff: &Rec<Handoff>| session.track.is_none() || handoff.track == session.track;
    let here = |handoff: &&Rec<Handoff>| same_repo(&handoff.repo, &session.repo) && track(handoff);
    let newest = |found: Vec<Rec<Handoff>>| found.into_iter().find(|h| h.activity != Some(false) && track(h));
    // A session that goes on from a handoff has that one before it, whatever else came in meanwhile.
    let continued = match &session.thread {
        Some(thread) => {
            let of_thread = reader.newest::<Handoff>(Index::Thread, Kind::Handoff, &[&session.venture, thread], 20)?;
            of_thread.into_iter().find(|handoff| handoff.activity != Some(false))
        }
        None => None,
    };
    let last =
        match continued.as_ref().or_else(|| open.iter().filter(mine).find(here)).or_else(|| open.iter().find(mine)) {
            Some(found) => Some(found.clone()),
            None => {
                newest(reader.newest::<Handoff>(Index::Repo, Kind::Handoff, &[&session.venture, &session.repo], 20)?)
            }
        };
    let last_id = last.as_ref().map(|handoff| handoff.id);
    open.retain(|handoff| Some(handoff.id) != last_id && handoff.status_label != HandoffStatus::Done);
    let total = open.len() as u64;
    open.sort_by_key(|handoff| {
        (handoff.status_label != HandoffStatus::Blocked, std::cmp::Reverse(handoff.meta.created))
    });
    let rows = open.iter().take(ROWS).map(|handoff| handoffs::row(handoff, true, Some(me), now)).collect();
    let view = last.map(|handoff| handoffs::view(reader, &handoff, Some(me), now)).transpose()?;
    Ok((view, Section::of(rows, total)))
}

/// The open sessions of the venture beside this one, twins of one explicit agent id resolved.
fn other_sessions(reader: Reader<'_>, session: &Rec<Session>) -> Result<Vec<Rec<Session>>, Failure> {
    let mut open = reader.newest::<Session>(Index::SessionOpen, Kind::Session, &[&session.venture], usize::MAX)?;
    let losers = superseded_twins(open.iter().map(|session| (session.id, &session.value)));
    open.retain(|other| other.id != session.id && !losers.contains_key(&other.id));
    Ok(open)
}

/// Counts the other sessions of the venture that are alive.
pub(in crate::handlers) fn live_others(
    reader: Reader<'_>,
    app: &App,
    session: &Rec<Session>,
    now: Timestamp,
) -> Result<usize, Failure> {
    Ok(other_sessions(reader, session)?.iter().filter(|other| sessions::is_live(app, other, now)).count())
}

fn session_rows(
    app: &App,
    session: &Rec<Session>,
    others: &[Rec<Session>],
    now: Timestamp,
) -> (Section<SessionRow>, Section<SessionRow>) {
    let mut live: Vec<&Rec<Session>> = others.iter().filter(|other| sessions::is_live(app, other, now)).collect();
    live.sort_by_key(|other| {
        (!same_repo(&other.repo, &session.repo), std::cmp::Reverse(sessions::last_sign(app, other, now)))
    });
    let gone: Vec<&Rec<Session>> = others.iter().filter(|other| sessions::is_away(app, other, now)).collect();
    let rows = |list: &[&Rec<Session>], most: usize| {
        Section::of(list.iter().take(most).map(|other| row(app, other, now)).collect(), list.len() as u64)
    };
    (rows(&live, ROWS), rows(&gone, LAST_SEEN_ROWS))
}

/// A session in a list of others.
pub(in crate::handlers) fn row(app: &App, session: &Rec<Session>, now: Timestamp) -> SessionRow {
    SessionRow {
        id: session.id.to_string(),
        agent: session.agent.clone(),
        machine: session.machine.clone(),
        repo: session.repo.clone(),
        branch: session.branch.clone(),
        issue: session.issue,
        track: session.track,
        age: sessions::last_sign(app, session, now).age(now),
    }
}

fn place(app: &App, session: &Rec<Session>) -> Place {
    Place {
        agent: session.agent.clone(),
        machine: session.machine.clone(),
        repo: session.repo.clone(),
        branch: session.branch.clone(),
        checkout_branch: None,
        checkout: app.presence.get(session.id).and_then(|pulse| pulse.checkout),
        track: session.track,
    }
}

/// The warnings that the present values of a session cause.
pub(in crate::handlers) fn warnings(
    app: &App,
    reader: Reader<'_>,
    session: &Rec<Session>,
    now: Timestamp,
) -> Result<Vec<String>, Failure> {
    let others = other_sessions(reader, session)?;
    let places: Vec<Place> =
        others.iter().filter(|other| sessions::is_live(app, other, now)).map(|other| place(app, other)).collect();
    let mut warnings: Vec<String> =
        branch::warnings(&place(app, session), &places, None).iter().map(warning_text).collect();
    warnings.extend(claims::warnings(reader, app, session, now)?);
    Ok(warnings)
}

fn warning_text(warning: &Warning) -> String {
    match warning {
        Warning::SharedBranch { agent, branch } => format!("{agent} works on the same branch `{branch}`"),
        Warning::SharedCheckout { agent, checkout } => {
            format!("{agent} works in the same checkout {checkout}: commits of one will hold files of the other")
        }
        Warning::SharedTrack { agent, track } => format!("{agent} works on the same track {track}"),
        Warning::BranchDiffers { session, checkout } => {
            format!("the session says branch `{session}`, the checkout is on `{checkout}`")
        }
    }
}

/// Notes tagged executive-summary, of the venture and then global ones, within the budget of a start.
fn injected(reader: Reader<'_>, venture: &str, now: Timestamp) -> Result<Section<InjectedNote>, Failure> {
    let mut total = 0;
    let mut found: Vec<Rec<Note>> = Vec::new();
    for scope in [venture, "-"] {
        total += reader.count(Index::NoteTag, Kind::Note, &[scope, SUMMARY_TAG])?;
        found.extend(reader.newest::<Note>(Index::NoteTag, Kind::Note, &[scope, SUMMARY_TAG], INJECTION_NOTES)?);
    }
    let mut order: Vec<Injectable> = found
        .iter()
        .map(|note| Injectable { id: note.id, global: note.venture.is_none(), updated_at: note.updated_at })
        .collect();
    order_for_injection(&mut order);
    order.truncate(INJECTION_NOTES);
    let mut notes = Vec::new();
    for wanted in &order {
        let Some(note) = found.iter().find(|note| note.id == wanted.id) else { continue };
        notes.push((note, reader.body(note.id)?.unwrap_or_default()));
    }
    let title = |note: &Rec<Note>| note.title.clone().unwrap_or_else(|| "untitled".to_owned());
    let lengths: Vec<Length> = notes
        .iter()
        .map(|(note, body)| Length {
            heading: text::chars(&injection_heading(&title(note), note.id, &note.updated_at.age(now))),
            content: text::chars(body),
        })
        .collect();
    let plan = plan_injection(&lengths, INJECTION_CHARS);
    let items = notes.iter().zip(&plan.pieces).map(|((note, body), piece)| InjectedNote {
        id: note.id.to_string(),
        title: title(note),
        age: note.updated_at.age(now),
        old: now.since(note.updated_at) > OLD_MS,
        content: match piece {
            Piece::Whole => body.clone(),
            Piece::Cut { keep } => text::cut(body, *keep).to_owned(),
        },
        total_chars: text::chars(body),
        conflicts: records::in_conflict_names(note),
    });
    Ok(Section::of(items.collect(), total))
}
