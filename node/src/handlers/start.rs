//! Start of day: where the caller stands, which session goes on, and the context to work from.
//!
//! A start never fails because a part of the context failed: what could not be loaded is named.

use std::path::Path;
use std::sync::Arc;

use ctxnode_api::ErrorCode;
use ctxnode_api::sessions::{SodReply, SodRequest, StartState, StartStatus, VentureBrief};
use ctxnode_model::index::Index;
use ctxnode_model::record::{EndReason, Ending, Handoff, Session, Venture};
use ctxnode_model::rules::identity::Identity;
use ctxnode_model::rules::repo::{VentureMatch, match_venture, same_repo};
use ctxnode_model::rules::secrets;
use ctxnode_model::rules::session::{StartFields, merge_meta, meta_edits};
use ctxnode_model::rules::start::{Candidate, StartOutcome, StartQuery, decide_start, superseded_twins};
use ctxnode_model::{DocumentId, Edit, Kind, Order, Rec, RecordMeta, Scalar, Space, Timestamp};
use ctxnode_store::Draft;
use serde_json::{Map, Value, json};

mod expected;
mod gather;

use super::sessions::{self, Bound};
use super::{arrivals, paging, ventures};
use crate::app::{App, Cx, Handled, Origin};
use crate::checkout::Checkout;
use crate::checkouts;
use crate::conversations;
use crate::failure::Failure;
use expected::Expected;

/// What a start was found to be about.
struct Standing {
    venture: Rec<Venture>,
    repo: String,
    checkout: Option<Checkout>,
}

pub(super) use expected::expect;
pub(crate) use expected::{is_old as is_old_expectation, keys as expectations};
pub(super) use gather::{live_others, row, warnings};

/// Looks at the checkout that a call is about.
pub(super) async fn checkout_of(cx: &Cx, directory: Option<&str>) -> Option<Checkout> {
    let directory = directory.map(Path::new).or(cx.caller.directory.as_deref())?;
    Checkout::at(directory).await
}

pub(crate) async fn sod(cx: &Cx, input: SodRequest) -> Handled {
    check(cx, &input)?;
    let checkout = checkout_of(cx, input.directory.as_deref()).await;
    let standing = match stand(cx, &input, checkout).await? {
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
            let (status, session, news) = prepared_for_commit.start(draft, &app, now)?;
            // The heartbeat moves here, so that the lists below already see this session as alive.
            app.presence.bind(session.id, now, checkout_path, process);
            let mut reply =
                gather::context(draft.reader(), &app, &prepared_for_commit, &standing, status, &session, mode, now)?;
            reply.warnings.extend(news);
            reply.warnings.extend(super::fleet::alert_line(&app));
            Ok((if status == StartStatus::Created { 201 } else { 200 }, reply))
        })
        .await?;
    if let Some(checkout) = last_commit
        && let Some(commit) = answer.body.pointer("/last_handoff/commit_sha").and_then(Value::as_str).map(str::to_owned)
        && let Some(count) = checkout.commits_since(&commit).await
    {
        answer.body["commits_since"] = json!(count);
        return cx.completed(answer).await;
    }
    Ok(answer)
}

/// Returns what a start here would return, and starts nothing.
pub(super) async fn preview(cx: &Cx, input: SodRequest) -> Result<SodReply, Failure> {
    let checkout = checkout_of(cx, input.directory.as_deref()).await;
    let standing = match stand(cx, &input, checkout).await? {
        Ok(standing) => standing,
        Err(reply) => return Ok(*reply),
    };
    let prepared = prepare(cx, &input, &standing)?;
    let (snapshot, now) = (cx.read()?, cx.now());
    let meta = RecordMeta {
        space: standing.venture.meta.space,
        created: Order::FIRST,
        updated: Order::FIRST,
        rev: String::new(),
        deleted: false,
        conflicts: Vec::new(),
    };
    let id = DocumentId { kind: Kind::Session, raw: cx.app.store.entropy().number().to_be_bytes() };
    let session = Rec { id, meta, value: Session { created_at: now, ..prepared.session.clone() } };
    let mode = input.docs.unwrap_or_default();
    gather::context(snapshot.reader(), &cx.app, &prepared, &standing, StartStatus::Created, &session, mode, now)
}

/// Checks every field that was sent, before anything is looked up. What is found out later is valid by itself.
fn check(cx: &Cx, input: &SodRequest) -> Result<(), Failure> {
    let found = |text: &str| Some(text.to_owned());
    let fields = StartFields {
        agent: input.agent.clone().or_else(|| Some(cx.caller.agent.clone())),
        venture: input.venture.clone().or_else(|| found("venture")),
        repo: input.repo.clone().or_else(|| found("owner/name")),
        track: input.track,
        issue: input.issue,
        branch: input.branch.clone(),
        commit_sha: input.commit_sha.clone(),
        meta: input.meta.clone(),
    };
    let mut invalid = fields.validate().err().unwrap_or_default();
    if let Some(Err(error)) = input.continues.as_deref().map(|text| DocumentId::parse(Kind::Handoff, text)) {
        invalid.add("continues", error.to_string());
    }
    ventures::finish(cx, invalid, input.venture.iter().map(|code| ("venture".to_owned(), code.as_str())))
}

/// Finds venture and repo, or says what is missing.
async fn stand(
    cx: &Cx,
    input: &SodRequest,
    checkout: Option<Checkout>,
) -> Result<Result<Standing, Box<SodReply>>, Failure> {
    let all = ventures::all_living(cx.read()?.reader())?;
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
    let venture = ventures::require(cx.read()?.reader(), &cx.caller, &code)?;
    if let Some(repo) = &input.repo {
        return Ok(Ok(Standing { venture, repo: repo.clone(), checkout }));
    }
    let belongs = matches!(&matched, VentureMatch::Found { code: found, .. } if *found == code);
    if let (Some(repo), true) = (&here, belongs || venture.repos.is_empty()) {
        return Ok(Ok(Standing { venture, repo: repo.clone(), checkout }));
    }
    if let Some(path) = checkouts::local_path(&cx.app, &venture).await {
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
    expected: Option<Expected>,
    /// Why the handoff that was named beforehand is not gone on from.
    not_continued: Option<String>,
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
    // Right after sleep the sweep has not yet seen which processes are still there.
    cx.app.presence.revive(cx.now());
    let origin = cx.origin();
    let expected = if given.is_none() { Expected::of(cx, standing)? } else { None };
    let mut not_continued = None;
    let continued = match (&input.continues, expected.as_ref().and_then(|expected| expected.continues())) {
        (Some(text), _) => Some(continued(cx, text, standing)?),
        // What somebody said of the agent beforehand must not keep it from starting.
        (None, Some(text)) => match continued(cx, text, standing) {
            Ok(handoff) => Some(handoff),
            Err(failure) => {
                let why = failure.into_body().message;
                not_continued = Some(format!("this session does not go on from {text}, as its start was told: {why}"));
                None
            }
        },
        (None, None) => None,
    };
    let of_handoff = |own: Option<u32>, of: fn(&Handoff) -> Option<u32>| own.or_else(|| of(continued.as_ref()?));
    let asked_track = start.track;
    let session = Session {
        agent: start.agent,
        machine: input.machine.clone().unwrap_or_else(|| cx.app.host.part.clone()),
        cli: input.cli.clone().or_else(|| found.map(|agent| agent.cli.to_owned())),
        cli_version: input.cli_version.clone(),
        instance: input.instance.clone().or_else(|| found.map(|agent| conversations::instance_of(&cx.app, agent))),
        user: Some(cx.app.host.user.clone()),
        venture: start.venture,
        repo: start.repo,
        track: of_handoff(start.track.or(expected.as_ref().and_then(Expected::track)), |handoff| handoff.track),
        issue: of_handoff(start.issue, |handoff| handoff.issue),
        thread: continued.as_ref().map(|handoff| handoff.thread.clone()),
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
        // Only a track that the caller names tells sessions apart.
        track: asked_track,
    };
    Ok(Prepared {
        query,
        session,
        origin,
        agent,
        default_branch: seen.and_then(|checkout| checkout.default_branch.clone()),
        checkout_branch: seen.and_then(|checkout| checkout.branch.clone()),
        expected,
        not_continued,
    })
}

/// The handoff from which a session goes on.
fn continued(cx: &Cx, text: &str, standing: &Standing) -> Result<Handoff, Failure> {
    let id = paging::id(Kind::Handoff, "continues", text)?;
    let found = cx.read()?.reader().get::<Handoff>(id)?.filter(|handoff| cx.caller.sees(Some(&handoff.venture)));
    let handoff = found.ok_or_else(|| Failure::not_found("handoff", text))?;
    check_continued(&handoff, &standing.venture.code, &standing.repo)?;
    Ok(handoff.value)
}

/// Refuses a handoff of another repo than the session's.
fn check_continued(handoff: &Handoff, venture: &str, repo: &str) -> Result<(), Failure> {
    if handoff.venture == venture && same_repo(&handoff.repo, repo) {
        return Ok(());
    }
    let message = format!("is a handoff of `{}`, and this is `{repo}`", handoff.repo);
    Err(ctxnode_api::ErrorBody::field("continues", message).into())
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
    fn start(
        &self,
        draft: &mut Draft<'_>,
        app: &App,
        now: Timestamp,
    ) -> Result<(StartStatus, Rec<Session>, Vec<String>), Failure> {
        let reader = draft.reader();
        let open = reader.newest::<Session>(Index::SessionOpen, Kind::Session, &[&self.session.venture], usize::MAX)?;
        let twins = superseded_twins(open.iter().map(|session| (session.id, &session.value)));
        let (superseded, mine): (Vec<&Rec<Session>>, Vec<&Rec<Session>>) = open
            .iter()
            .filter(|session| sessions::is_own(app, session))
            .partition(|session| twins.contains_key(&session.id));
        let candidates = mine.iter().map(|session| Candidate {
            id: session.id,
            session: &session.value,
            last_heartbeat: app.presence.last(session.id, session.created_at),
        });
        let plan = decide_start(&self.query, candidates, now);
        let space = Space::of(Some(&self.session.venture));
        // What the same agent began later on another node counts; the sweep would end these too.
        let superseded = superseded.into_iter().filter(|session| session.agent == self.session.agent);
        for id in plan.supersede.into_iter().chain(superseded.map(|session| session.id)) {
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
        if let Some(expected) = &self.expected {
            expected.take(draft);
        }
        let end = draft.reader().journal_end()?;
        let known = sessions::bound(draft.reader(), &self.agent)?;
        let seen = known.iter().find(|bound| bound.session == session.id).map(|bound| bound.seen);
        let news = arrivals::tell(draft, app, &session, seen.filter(|seen| *seen > 0), end)?;
        let (venture, repo) = (session.venture.clone(), session.repo.clone());
        sessions::bind(draft, &self.agent, Bound { session: session.id, venture, repo, seen: end })?;
        Ok((status, session, news))
    }

    /// What a resumed session takes over from the request.
    fn takeover(&self) -> Vec<Edit> {
        let asked = &self.session;
        let mut edits = Vec::new();
        edits.extend(Edit::set_some("branch", asked.branch.clone()));
        edits.extend(Edit::set_some("commit_sha", asked.commit_sha.clone()));
        edits.extend(Edit::set_some("issue", asked.issue));
        if let Some(thread) = &asked.thread {
            edits.push(Edit::set("thread", thread.as_str()));
        }
        if asked.thread.is_some() || self.expected.is_some() {
            edits.extend(Edit::set_some("track", asked.track));
        }
        let meta: Map<String, Value> = asked.meta.clone().into_iter().collect();
        edits.extend(meta_edits(meta));
        edits
    }

    fn create(&self, draft: &mut Draft<'_>, space: &Space, now: Timestamp) -> Result<Rec<Session>, Failure> {
        let id = draft.fresh_id(Kind::Session, space)?;
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
            ("thread", &session.thread),
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
