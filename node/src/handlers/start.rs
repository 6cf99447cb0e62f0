//! Start of day: where the caller stands, which session goes on, and the context to work from.
//!
//! A start never fails because a part of the context failed: what could not be loaded is named.

use std::path::Path;
use std::sync::Arc;

use ctxnode_api::claims::ClaimView;
use ctxnode_api::handoffs::{HandoffRow, HandoffView};
use ctxnode_api::notes::InjectedNote;
use ctxnode_api::sessions::{
    DocsFull, DocsIndex, DocsMode, FailedPart, SessionRow, SodReply, SodRequest, StartState, StartStatus, VentureBrief,
};
use ctxnode_api::{ErrorCode, Section};
use ctxnode_model::index::Index;
use ctxnode_model::record::{EndReason, Ending, Handoff, HandoffStatus, Note, Plan, Session, SessionStatus, Venture};
use ctxnode_model::rules::branch::{self, Place, Warning};
use ctxnode_model::rules::handoff::{Addressee, is_for};
use ctxnode_model::rules::identity::Identity;
use ctxnode_model::rules::limits::{DAY_MS, INJECTION_CHARS, INJECTION_NOTES};
use ctxnode_model::rules::note::{
    Injectable, Length, Piece, SUMMARY_TAG, injection_heading, order_for_injection, plan_injection,
};
use ctxnode_model::rules::repo::{VentureMatch, match_venture, same_repo};
use ctxnode_model::rules::session::{StartFields, merge_meta, meta_edits};
use ctxnode_model::rules::start::{Candidate, StartOutcome, StartQuery, decide_start, superseded_twins};
use ctxnode_model::rules::{secrets, text};
use ctxnode_model::{DocumentId, Edit, Kind, Rec, RecordMeta, Scalar, Space, Timestamp};
use ctxnode_store::{Draft, Reader};
use serde_json::{Map, Value, json};

use super::sessions::{self, Bound};
use super::{claims, docs, handoffs, plan, ventures};
use crate::app::{App, Cx, Handled, Origin};
use crate::checkout::Checkout;
use crate::checkouts;
use crate::failure::Failure;
use crate::http_server::instance_of;

/// How many rows each list of a start shows.
const ROWS: usize = 10;
const LAST_SEEN_ROWS: usize = 5;
const CLAIM_ROWS: usize = 5;
const DOC_ROWS: usize = 30;
/// How many open handoffs are looked at to find those to show; blocked ones come first wherever they are.
const OPEN_SCANNED: usize = 200;
/// A note that was not changed for this long is marked.
const OLD_MS: i64 = 90 * DAY_MS;

/// What a start was found to be about.
struct Standing {
    venture: Rec<Venture>,
    repo: String,
    checkout: Option<Checkout>,
}

/// Looks at the checkout that a call is about.
pub(super) async fn checkout_of(cx: &Cx, directory: Option<&str>) -> Option<Checkout> {
    let directory = directory.map(Path::new).or(cx.caller.directory.as_deref())?;
    Checkout::at(directory).await
}

pub(crate) async fn sod(cx: &Cx, input: SodRequest) -> Handled {
    let checkout = checkout_of(cx, input.directory.as_deref()).await;
    let standing = match stand(cx, &input, checkout)? {
        Ok(standing) => standing,
        Err(reply) => return crate::app::Answer::ok(*reply),
    };
    cx.caller.require_venture(Some(&standing.venture.code))?;
    let prepared = prepare(cx, &input, &standing)?;
    let mode = input.docs.unwrap_or_default();
    let app = Arc::clone(&cx.app);
    let last_commit = standing.checkout.clone();
    let checkout_path = standing.checkout.as_ref().map(|checkout| checkout.root.display().to_string());
    let process = cx.caller.agent_process.as_ref().map(|agent| agent.process);
    let prepared_for_commit = prepared.clone();
    let mut answer = cx
        .commit(move |draft| {
            let now = draft.now();
            let (status, session) = prepared_for_commit.start(draft, &app, now)?;
            // The heartbeat moves here, so that the lists below already see this session as alive.
            app.presence.bind(session.id, now, checkout_path, process);
            let reply = context(draft.reader(), &app, &prepared_for_commit, &standing, status, &session, mode, now)?;
            Ok((if status == StartStatus::Created { 201 } else { 200 }, reply))
        })
        .await?;
    if let Some(checkout) = last_commit
        && let Some(commit) = answer.body.pointer("/last_handoff/commit_sha").and_then(Value::as_str).map(str::to_owned)
        && let Some(count) = checkout.commits_since(&commit).await
    {
        answer.body["commits_since"] = json!(count);
    }
    Ok(answer)
}

/// Finds venture and repo, or says what is missing.
fn stand(cx: &Cx, input: &SodRequest, checkout: Option<Checkout>) -> Result<Result<Standing, Box<SodReply>>, Failure> {
    let snapshot = cx.read()?;
    let reader = snapshot.reader();
    let all = ventures::all_living(reader)?;
    let visible = |code: &str| cx.caller.sees(Some(code));
    let remotes: Vec<&str> = checkout.iter().flat_map(|checkout| checkout.remotes.iter().map(String::as_str)).collect();
    let matched = match_venture(&remotes, all.iter().map(|venture| &venture.value));
    let here = checkout.as_ref().map(|checkout| checkout.repo.clone());
    let select = |message: &str, codes: Option<&[String]>| {
        let listed = all.iter().filter(|venture| visible(&venture.code));
        let listed = listed.filter(|venture| codes.is_none_or(|codes| codes.contains(&venture.code)));
        Ok(Err(Box::new(SodReply {
            state: StartState::SelectVenture,
            message: Some(message.to_owned()),
            candidates: listed.map(brief).collect(),
            ..SodReply::default()
        })))
    };
    let code = match (&input.venture, &matched) {
        (Some(code), _) => code.clone(),
        (None, VentureMatch::Found { code, .. }) => code.clone(),
        (None, VentureMatch::Ambiguous { codes, .. }) => {
            return select("several ventures have this repo's org: pass `venture`", Some(codes));
        }
        (None, VentureMatch::Unknown { .. }) => {
            return select("the venture is not known from here: pass `venture`", None);
        }
    };
    let venture = ventures::require(reader, &code)?;
    if let Some(repo) = &input.repo {
        return Ok(Ok(Standing { venture, repo: repo.clone(), checkout }));
    }
    let belongs = matches!(&matched, VentureMatch::Found { code: found, .. } if *found == code);
    if let (Some(repo), true) = (&here, belongs || venture.repos.is_empty()) {
        return Ok(Ok(Standing { venture, repo: repo.clone(), checkout }));
    }
    if let Some(path) = checkouts::local_path(&cx.app, &venture) {
        return Ok(Err(Box::new(SodReply {
            state: StartState::NeedsNavigation,
            message: Some(format!("this is not a checkout of `{code}`")),
            venture: Some(brief(&venture)),
            command: Some(format!("cd {}", path.display())),
            path: Some(path.display().to_string()),
            ..SodReply::default()
        })));
    }
    match venture.repos.iter().next() {
        Some(repo) => Ok(Err(Box::new(SodReply {
            state: StartState::NeedsClone,
            message: Some(format!("`{code}` has no checkout on this machine")),
            venture: Some(brief(&venture)),
            command: Some(format!("gh repo clone {repo}")),
            ..SodReply::default()
        }))),
        None => select("this directory is no git checkout: pass `repo`", None),
    }
}

fn brief(venture: &Rec<Venture>) -> VentureBrief {
    VentureBrief { code: venture.code.clone(), name: venture.name.clone() }
}

/// A checked start, ready to be carried out inside the commit.
#[derive(Clone)]
struct Prepared {
    query: StartQuery,
    session: Session,
    origin: Origin,
    agent: String,
    default_branch: Option<String>,
    checkout_branch: Option<String>,
}

fn prepare(cx: &Cx, input: &SodRequest, standing: &Standing) -> Result<Prepared, Failure> {
    let given = input.agent.clone();
    let agent = given.clone().unwrap_or_else(|| cx.caller.agent.clone());
    let seen = standing.checkout.as_ref().filter(|checkout| same_repo(&checkout.repo, &standing.repo));
    let fields = StartFields {
        agent: Some(agent.clone()),
        venture: Some(standing.venture.code.clone()),
        repo: Some(standing.repo.clone()),
        track: input.track,
        issue: input.issue,
        branch: input.branch.clone().or_else(|| seen.and_then(|checkout| checkout.branch.clone())),
        commit_sha: input.commit_sha.clone().or_else(|| seen.and_then(|checkout| checkout.commit.clone())),
        meta: input.meta.clone(),
    };
    sessions::refuse_secrets(secrets::scan_value("meta", &Value::Object(input.meta.clone())))?;
    let start = fields.validate()?;
    let found = cx.caller.agent_process.as_ref().filter(|_| given.is_none());
    let explicit = given.is_some() || cx.caller.explicit_agent;
    let origin = cx.origin();
    let session = Session {
        agent: start.agent,
        machine: input.machine.clone().unwrap_or_else(|| cx.app.host.part.clone()),
        cli: input.cli.clone().or_else(|| found.map(|agent| agent.cli.to_owned())),
        cli_version: input.cli_version.clone(),
        instance: input.instance.clone().or_else(|| found.map(instance_of)),
        user: Some(cx.app.host.user.clone()),
        venture: start.venture,
        repo: start.repo,
        track: start.track,
        issue: start.issue,
        branch: start.branch,
        commit_sha: start.commit_sha,
        node: cx.app.store.node().to_string(),
        explicit_agent: explicit,
        actor_key_id: origin.actor_key_id.clone(),
        creation_correlation_id: origin.correlation.clone(),
        parent_session_id: parent_session(cx)?,
        meta: merge_meta(&std::collections::BTreeMap::new(), &start.meta),
        ..Session::default()
    };
    let query = StartQuery {
        identity: Identity::of(&session),
        venture: session.venture.clone(),
        repo: session.repo.clone(),
        track: session.track,
    };
    Ok(Prepared {
        query,
        session,
        origin,
        agent,
        default_branch: seen.and_then(|checkout| checkout.default_branch.clone()),
        checkout_branch: seen.and_then(|checkout| checkout.branch.clone()),
    })
}

/// The session of the agent in whose shell this agent was started.
fn parent_session(cx: &Cx) -> Result<Option<String>, Failure> {
    let Some(parent) = &cx.caller.parent_process else { return Ok(None) };
    let agent = crate::http_server::agent_id_of(&cx.app, parent);
    let bound = sessions::bound(cx.read()?.reader(), &agent)?;
    Ok(bound.first().map(|bound| bound.session.to_string()))
}

impl Prepared {
    /// Creates or resumes, inside one command: two starts of one agent cannot make two sessions.
    fn start(&self, draft: &mut Draft<'_>, app: &App, now: Timestamp) -> Result<(StartStatus, Rec<Session>), Failure> {
        let reader = draft.reader();
        let open = reader.newest::<Session>(Index::SessionOpen, Kind::Session, &[&self.session.venture], usize::MAX)?;
        let mine: Vec<&Rec<Session>> = open.iter().filter(|session| sessions::is_own(app, session)).collect();
        let candidates = mine.iter().map(|session| Candidate {
            id: session.id,
            session: &session.value,
            last_heartbeat: app.presence.last(session.id, session.created_at),
        });
        let plan = decide_start(&self.query, candidates, now);
        let space = Space::of(Some(&self.session.venture));
        for id in plan.supersede {
            let ending = Ending { at: now, reason: EndReason::Superseded, handoff: None };
            draft.edit(id, &space, [Edit::set("ended", Scalar::json(&json!(ending)))])?;
            app.presence.forget(id);
        }
        let (status, session) = match plan.outcome {
            StartOutcome::Resume(id) => {
                let found = open.iter().find(|session| session.id == id).cloned();
                let found = found.ok_or_else(|| Failure::not_found("session", &id.to_string()))?;
                let edits = self.takeover();
                if !edits.is_empty() {
                    draft.edit(id, &space, edits.clone())?;
                }
                (StartStatus::Resumed, with_edits(found, &edits))
            }
            StartOutcome::Create => (StartStatus::Created, self.create(draft, &space, now)?),
            StartOutcome::Replace { stale, ended_at } => {
                if let Some(old) = open.iter().find(|session| session.id == stale) {
                    sessions::give_up(draft, app, old, ended_at, EndReason::Stale, &self.origin)?;
                    app.presence.forget(stale);
                }
                (StartStatus::Created, self.create(draft, &space, now)?)
            }
        };
        let bound = Bound { session: session.id, venture: session.venture.clone(), repo: session.repo.clone() };
        sessions::bind(draft, &self.agent, bound)?;
        Ok((status, session))
    }

    /// What a resumed session takes over from the request.
    fn takeover(&self) -> Vec<Edit> {
        let asked = &self.session;
        let mut edits = Vec::new();
        edits.extend(Edit::set_some("branch", asked.branch.clone()));
        edits.extend(Edit::set_some("commit_sha", asked.commit_sha.clone()));
        edits.extend(Edit::set_some("issue", asked.issue));
        let meta: Map<String, Value> = asked.meta.clone().into_iter().collect();
        edits.extend(meta_edits(meta));
        edits
    }

    fn create(&self, draft: &mut Draft<'_>, space: &Space, now: Timestamp) -> Result<Rec<Session>, Failure> {
        let id = draft.fresh_id(Kind::Session);
        let session = Session { created_at: now, ..self.session.clone() };
        let mut edits = vec![
            Edit::set("agent", session.agent.as_str()),
            Edit::set("machine", session.machine.as_str()),
            Edit::set("venture", session.venture.as_str()),
            Edit::set("repo", session.repo.as_str()),
            Edit::set("created_at", now),
            Edit::set("node", session.node.as_str()),
            Edit::set("explicit_agent", session.explicit_agent),
            Edit::set("actor_key_id", session.actor_key_id.as_str()),
            Edit::set("creation_correlation_id", session.creation_correlation_id.as_str()),
        ];
        let optional = [
            ("cli", &session.cli),
            ("cli_version", &session.cli_version),
            ("instance", &session.instance),
            ("user", &session.user),
            ("branch", &session.branch),
            ("commit_sha", &session.commit_sha),
            ("parent_session_id", &session.parent_session_id),
        ];
        edits.extend(optional.into_iter().filter_map(|(field, value)| Edit::set_some(field, value.clone())));
        edits.extend(Edit::set_some("track", session.track));
        edits.extend(Edit::set_some("issue", session.issue));
        edits.extend(meta_edits(session.meta.clone().into_iter().collect()));
        draft.edit(id, space, edits)?;
        let order = draft.order(space)?;
        let space = draft.space_id(space);
        let meta = RecordMeta {
            space,
            created: order,
            updated: order,
            rev: String::new(),
            deleted: false,
            conflicts: Vec::new(),
        };
        Ok(Rec { id, meta, value: session })
    }
}

/// Returns a session as it will be once the edits are applied.
pub(super) fn with_edits(mut session: Rec<Session>, edits: &[Edit]) -> Rec<Session> {
    let mut view = serde_json::to_value(&session.value).unwrap_or_default();
    for edit in edits {
        match edit {
            Edit::Set { field, value } => {
                let structured = matches!(*field, "ended" | "abandoned");
                view[*field] = match value {
                    Scalar::Str(text) if structured => serde_json::from_str(text).unwrap_or_default(),
                    other => json!(other),
                };
            }
            Edit::Unset { field } => view[*field] = Value::Null,
            Edit::Insert { field, key, value: Scalar::Str(text) } => {
                view[*field][key.as_str()] = serde_json::from_str(text).unwrap_or_default();
            }
            Edit::Remove { field, key } => {
                if let Some(map) = view.get_mut(*field).and_then(Value::as_object_mut) {
                    map.remove(key);
                }
            }
            Edit::Insert { .. } | Edit::Body { .. } => {}
        }
    }
    session.value = serde_json::from_value(view).unwrap_or(session.value);
    session
}

/// Gathers the context. What fails is named and left out.
#[expect(clippy::too_many_arguments, reason = "the facts of one start; a struct would only be taken apart again")]
fn context(
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
    let others = other_sessions(reader, app, session).unwrap_or_else(|failure| {
        part("sessions", failure);
        Vec::new()
    });
    let (active, last_seen) = session_rows(app, session, &others, now);
    let claims = claims::of_others(reader, app, session, now).unwrap_or_else(|failure| {
        part("claims", failure);
        Vec::new()
    });
    let notes = injected(reader, code, now).unwrap_or_else(|failure| {
        part("notes", failure);
        Section::default()
    });
    let plan = match reader.get::<Plan>(DocumentId::plan()) {
        Ok(found) => Some(plan::reply(found.as_ref().and_then(|plan| plan.current()), now)),
        Err(error) => {
            part("plan", error.into());
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
    let warnings = branch::warnings(&me, &places, prepared.default_branch.as_deref());
    let claim_total = claims.len() as u64;
    Ok(SodReply {
        state: StartState::Valid,
        status: Some(status),
        session: Some(sessions::view(app, session, now)),
        venture: Some(brief(&standing.venture)),
        heartbeat: Some(sessions::heartbeat_reply(app, session.id, now)),
        warnings: warnings.iter().map(warning_text).collect(),
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
    let last = match open.iter().filter(mine).find(here).or_else(|| open.iter().find(mine)) {
        Some(found) => Some(found.clone()),
        None => newest(reader.newest::<Handoff>(Index::Repo, Kind::Handoff, &[&session.venture, &session.repo], 20)?),
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
fn other_sessions(reader: Reader<'_>, _app: &App, session: &Rec<Session>) -> Result<Vec<Rec<Session>>, Failure> {
    let mut open = reader.newest::<Session>(Index::SessionOpen, Kind::Session, &[&session.venture], usize::MAX)?;
    let losers = superseded_twins(open.iter().map(|session| (session.id, &session.value)));
    open.retain(|other| other.id != session.id && !losers.contains_key(&other.id));
    Ok(open)
}

fn session_rows(
    app: &App,
    session: &Rec<Session>,
    others: &[Rec<Session>],
    now: Timestamp,
) -> (Section<SessionRow>, Section<SessionRow>) {
    let mut live: Vec<&Rec<Session>> = others.iter().filter(|other| sessions::is_live(app, other, now)).collect();
    live.sort_by_key(|other| {
        (!same_repo(&other.repo, &session.repo), std::cmp::Reverse(app.presence.last(other.id, other.created_at)))
    });
    let gone: Vec<&Rec<Session>> = others.iter().filter(|other| !sessions::is_own(app, other)).collect();
    let rows = |list: &[&Rec<Session>], most: usize| {
        Section::of(list.iter().take(most).map(|other| row(app, other, now)).collect(), list.len() as u64)
    };
    (rows(&live, ROWS), rows(&gone, LAST_SEEN_ROWS))
}

/// A session in a list of others.
pub(super) fn row(app: &App, session: &Rec<Session>, now: Timestamp) -> SessionRow {
    SessionRow {
        id: session.id.to_string(),
        agent: session.agent.clone(),
        machine: session.machine.clone(),
        repo: session.repo.clone(),
        branch: session.branch.clone(),
        issue: session.issue,
        track: session.track,
        age: app.presence.last(session.id, session.created_at).age(now),
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
pub(super) fn warnings(
    app: &App,
    reader: Reader<'_>,
    session: &Rec<Session>,
    now: Timestamp,
) -> Result<Vec<String>, Failure> {
    let others = other_sessions(reader, app, session)?;
    let places: Vec<Place> =
        others.iter().filter(|other| sessions::is_live(app, other, now)).map(|other| place(app, other)).collect();
    Ok(branch::warnings(&place(app, session), &places, None).iter().map(warning_text).collect())
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
    });
    Ok(Section::of(items.collect(), total))
}

/// Refuses an end of day that comes from another repo than the session's.
pub(super) fn check_repo(session: &Session, checkout: Option<&Checkout>) -> Result<(), Failure> {
    match checkout {
        Some(checkout) if !same_repo(&checkout.repo, &session.repo) => {
            let message = format!("the session is about `{}`, this is `{}`", session.repo, checkout.repo);
            Err(Failure::new(ErrorCode::WrongRepo, message))
        }
        _ => Ok(()),
    }
}

/// Whether a session still runs, for callers that only have its record.
pub(super) fn is_active(session: &Session) -> bool {
    session.status() == SessionStatus::Active
}
