//! Events of agent CLIs: each is a sign of life, some leave a trace for the draft handoff, and some are answered with what
//! the agent should know.
//!
//! Nothing frequent is written: a tool event that has nothing to tell costs two reads. Not here: what a CLI sends and
//! accepts, which the launcher's library knows.

mod edits;
mod news;
mod outcome;
mod resumed;
mod state;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use ctxnode_api::hooks::{HookReply, HookRequest, Moment};
use ctxnode_api::sessions::{DocsMode, SodReply, SodRequest, StartState, StartStatus};
use ctxnode_mcp::render;
use ctxnode_model::record::{Session, SessionStatus};
use ctxnode_model::rules::identity::{self, Root};
use ctxnode_model::rules::limits::ERROR_NOTICES;
use ctxnode_model::rules::secrets::redact;
use ctxnode_model::{DocumentId, Invalid, Kind, Rec, Timestamp};
use lru::LruCache;
use serde::{Deserialize, Serialize};

use super::{drafts, paging, sessions, start};
use crate::app::{Answer, App, Cx, Handled};
use crate::caller::Caller;
use crate::failure::Failure;
use crate::process::{AgentProcess, ProcessId};

pub(super) use outcome::pull_requests;
pub(crate) use state::look_later;
pub(super) use state::{GIT_LIMIT, State, look_again};

/// Events that are remembered to notice one that comes twice: a minute of some busy agents.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(8_192).expect("not zero");
/// Files whose last editor is remembered.
const TOUCHED: NonZeroUsize = NonZeroUsize::new(16_384).expect("not zero");
/// How long an event without a name of its own counts as the one before: hooks that are defined twice fire together.
const TOGETHER_MS: i64 = 2_000;
/// How long a named event counts as one that was there before.
const NAMED_MS: i64 = 3_600_000;
/// The longest name in an event.
const NAME_CHARS: usize = 200;
/// The most characters of an error: more than its normal form takes in.
const ERROR_CHARS: usize = 2_000;
const CLIS: [&str; 4] = ["claude", "codex", "gemini", "agy"];

/// What is remembered of events. A restart forgets it, and costs a line that is told twice.
#[derive(Debug)]
pub(crate) struct Memory {
    remembered: Mutex<Remembered>,
    /// What is done once the hook has its answer.
    looks: state::Looks,
}

#[derive(Debug)]
struct Remembered {
    seen: LruCache<String, Timestamp>,
    touched: LruCache<edits::File, edits::Touch>,
    /// Up to where in the journal a session's news were looked for.
    looked: LruCache<DocumentId, u64>,
}

impl Default for Memory {
    fn default() -> Self {
        let remembered = Remembered {
            seen: LruCache::new(REMEMBERED),
            touched: LruCache::new(TOUCHED),
            looked: LruCache::new(REMEMBERED),
        };
        Self { remembered: Mutex::new(remembered), looks: state::Looks::default() }
    }
}

impl Memory {
    fn with<T>(&self, look: impl FnOnce(&mut Remembered) -> T) -> T {
        look(&mut self.remembered.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Remembers an event; `None` when it was there before.
    fn see(&self, agent: &str, input: &HookRequest, now: Timestamp) -> Option<Seen<'_>> {
        let key = format!("{agent}\n{}", event_name(input));
        let kept = if input.turn.is_some() { NAMED_MS } else { TOGETHER_MS };
        let before = self.with(|memory| memory.seen.put(key.clone(), now));
        let repeated = before.is_some_and(|before| (0..kept).contains(&now.since(before)));
        (!repeated).then(|| Seen { memory: self, key: Some(key) })
    }
}

/// What tells an event of an agent from its others.
fn event_name(input: &HookRequest) -> String {
    let part = |text: &Option<String>| text.clone().unwrap_or_default();
    format!("{}\n{:?}\n{}\n{}", part(&input.conversation), input.moment, part(&input.turn), part(&input.source))
}

/// An event that is being carried out. Unless it is kept it is forgotten again: what failed, or was given up by the hook
/// that asked, comes once more from the disk, and then it must not count as one that had its effect.
#[must_use]
struct Seen<'a> {
    memory: &'a Memory,
    key: Option<String>,
}

impl Seen<'_> {
    fn keep(mut self) {
        self.key = None;
    }
}

impl Drop for Seen<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.memory.with(|memory| memory.seen.pop(&key));
        }
    }
}

/// An event that waited on disk, with the agent that a process above the hook was.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Spooled {
    pub(crate) request: HookRequest,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) agent: Option<(String, ProcessId)>,
}

pub(crate) async fn hook(cx: &Cx, input: HookRequest) -> Handled {
    check(&input)?;
    let cx = as_agent(cx, &input);
    Answer::ok(apply(&cx, &input).await?)
}

fn check(input: &HookRequest) -> Result<(), Failure> {
    let mut invalid = Invalid::new();
    invalid.require(CLIS.contains(&input.cli.as_str()), "cli", format!("expected one of {}", CLIS.join(", ")));
    let names = [
        ("conversation", &input.conversation),
        ("turn", &input.turn),
        ("source", &input.source),
        ("tool", &input.tool),
        ("failure", &input.failure),
        ("command", &input.command),
        ("pull_request", &input.pull_request),
    ];
    for (field, name) in names {
        let fits = name.as_ref().is_none_or(|name| name.chars().count() <= NAME_CHARS);
        invalid.require(fits, field, format!("at most {NAME_CHARS} characters"));
    }
    let fits = input.error.as_ref().is_none_or(|error| error.chars().count() <= ERROR_CHARS);
    invalid.require(fits, "error", format!("at most {ERROR_CHARS} characters"));
    Ok(invalid.finish()?)
}

/// The call as the agent's. A hook whose agent is no known process (another name, another way to start it) is known by its
/// conversation.
fn as_agent(cx: &Cx, input: &HookRequest) -> Cx {
    let mut caller = cx.caller.clone();
    caller.directory = input.directory.as_ref().map(PathBuf::from).or(caller.directory);
    if !caller.is_agent()
        && let Some(conversation) = &input.conversation
    {
        caller.agent =
            identity::agent_id(&input.cli, &cx.app.host.part, &identity::instance(Root::Conversation(conversation)));
        caller.explicit_agent = true;
    }
    with_caller(cx, caller)
}

fn with_caller(cx: &Cx, caller: Caller) -> Cx {
    Cx {
        app: std::sync::Arc::clone(&cx.app),
        caller,
        route: cx.route,
        correlation: cx.correlation.clone(),
        params: serde_json::Map::new(),
        reserved: None,
    }
}

/// Carries out an event that waited on disk.
pub(crate) async fn apply_spooled(cx: &Cx, spooled: Spooled) -> Result<HookReply, Failure> {
    let Spooled { mut request, agent } = spooled;
    check(&request)?;
    // Nobody reads the answer: whatever it says was not told.
    request.listens = false;
    let mut caller = cx.caller.clone();
    caller.agent_process = agent.and_then(|(cli, process)| AgentProcess::of(&cli, process));
    if let Some(agent) = &caller.agent_process {
        caller.agent = crate::http_server::agent_id_of(&cx.app, agent);
    }
    let cx = as_agent(&with_caller(cx, caller), &request);
    let ended = cx.caller.agent_process.as_ref().is_none_or(|agent| !agent.process.is_alive());
    if request.moment == Moment::SessionStart && ended {
        // Its agent is gone: a session now would be one of nobody.
        return Ok(HookReply::default());
    }
    apply(&cx, &request).await
}

/// Carries out an event.
pub(crate) async fn apply(cx: &Cx, input: &HookRequest) -> Result<HookReply, Failure> {
    let now = input.at.map_or(cx.now(), |at| at.0.min(cx.now()));
    match input.moment {
        Moment::Preview => return preview(cx, input).await,
        Moment::Status => return status(cx).await,
        _ => {}
    }
    let seen = cx.app.hooks.see(&cx.caller.agent, input, cx.now());
    let reply = carry_out(cx, input, now, seen.is_none()).await?;
    if let Some(seen) = seen {
        seen.keep();
    }
    Ok(reply)
}

/// Does what an event asks for; one that comes again only says whose it is.
async fn carry_out(cx: &Cx, input: &HookRequest, now: Timestamp, repeated: bool) -> Result<HookReply, Failure> {
    if input.moment == Moment::SessionStart && !repeated {
        return begin(cx, input).await;
    }
    let Some(session) = session(cx).await? else { return Ok(HookReply { repeated, ..HookReply::default() }) };
    let mut reply = HookReply { session_id: Some(session.id.to_string()), repeated, ..HookReply::default() };
    news::take_back(cx, &session, input).await?;
    if repeated {
        return Ok(reply);
    }
    cx.app.presence.beat(session.id, now);
    match input.moment {
        Moment::BeforeTool => {
            edits::look(cx, &session, input, &mut reply).await?;
        }
        Moment::AfterTool => {
            // A tool that failed has written nothing.
            if !input.paths.is_empty() && input.error.is_none() {
                edits::look(cx, &session, input, &mut reply).await?;
            }
            outcome::take(cx, &session, input, &mut reply).await?;
            // What was said before the edit is not said again; other news go on top.
            if input.listens {
                news::add(cx, &session, input, &mut reply).await?;
            }
        }
        Moment::Prompt => {
            // Said once more with each prompt until a turn ends well: what the human reads is no news for the agent.
            reply.failed = cx.app.presence.get(session.id).and_then(|pulse| pulse.failed);
            if input.listens {
                news::add(cx, &session, input, &mut reply).await?;
            }
        }
        Moment::TurnFailed => {
            state::capture(cx, &session, input, now).await?;
            let why = input.failure.as_deref().map_or("unknown".to_owned(), redact);
            cx.app.presence.turn_ended(session.id, now, Some(why.clone()));
            reply.failed = Some(why);
            // The agent may not come back for hours: its work can be taken up elsewhere from now on.
            drafts::refresh(cx, session.id).await?;
        }
        Moment::TurnEnd => {
            state::capture(cx, &session, input, now).await?;
            cx.app.presence.turn_ended(session.id, now, None);
        }
        Moment::BeforeCompact | Moment::AfterCompact | Moment::SessionEnd => {
            state::capture(cx, &session, input, now).await?
        }
        Moment::SessionStart | Moment::Status | Moment::Preview => {}
    }
    Ok(reply)
}

/// The session that an event belongs to; `None` when the agent has none that is active.
async fn session(cx: &Cx) -> Result<Option<Rec<Session>>, Failure> {
    match sessions::session_of(cx, None).await {
        Ok(session) => Ok(Some(session).filter(|session| session.status() == SessionStatus::Active)),
        Err(Failure::Store(error)) => Err(error.into()),
        Err(_) => Ok(None),
    }
}

fn sod_request(input: &HookRequest) -> SodRequest {
    SodRequest {
        directory: input.directory.clone(),
        cli: Some(input.cli.clone()).filter(|_| !input.cli.is_empty()),
        docs: Some(DocsMode::Index),
        ..SodRequest::default()
    }
}

async fn begin(cx: &Cx, input: &HookRequest) -> Result<HookReply, Failure> {
    let resumed = resumed::take_up(cx, input).await?;
    let cx = resumed.as_ref().unwrap_or(cx);
    let answer = start::sod(cx, sod_request(input)).await?;
    let reply = typed(answer.body)?;
    let Some(view) = reply.session.as_ref().filter(|_| reply.state == StartState::Valid) else {
        // No venture's checkout: the agent works on something else, and is told nothing.
        return Ok(HookReply::default());
    };
    let id = paging::id(Kind::Session, "session_id", &view.id)?;
    let session = cx.read()?.reader().get::<Session>(id)?;
    if let Some(session) = session {
        state::begin(cx, &session, input, reply.status == Some(StartStatus::Created)).await?;
        news::take_back(cx, &session, input).await?;
        if input.listens {
            // The text below holds it all.
            news::forget(cx, &session, input).await?;
        }
    }
    let text = match input.source.as_deref() {
        Some("compact") => render::hook_again(&reply),
        _ => render::hook(&reply),
    };
    Ok(HookReply { session_id: Some(id.to_string()), context: Some(text), ..HookReply::default() })
}

fn typed(body: serde_json::Value) -> Result<SodReply, Failure> {
    serde_json::from_value(body).map_err(|error| {
        tracing::error!(%error, "the answer of a start cannot be read");
        Failure::new(ctxnode_api::ErrorCode::Internal, "the answer of a start cannot be read")
    })
}

async fn preview(cx: &Cx, input: &HookRequest) -> Result<HookReply, Failure> {
    let reply = start::preview(cx, sod_request(input)).await?;
    let text = match input.source.as_deref() {
        Some("compact") => render::hook_again(&reply),
        _ => render::hook(&reply),
    };
    Ok(HookReply { context: (reply.state == StartState::Valid).then_some(text), ..HookReply::default() })
}

/// One line for a status bar: where the agent stands, and who else is there.
async fn status(cx: &Cx) -> Result<HookReply, Failure> {
    let Some(session) = session(cx).await? else { return Ok(HookReply::default()) };
    let snapshot = cx.read()?;
    let (reader, now) = (snapshot.reader(), cx.now());
    let others = start::live_others(reader, &cx.app, &session, now)?;
    let claims = super::claims::of_session(reader, &cx.app, &session, now)?;
    let clashes = claims.iter().filter(|claim| claim.beaten_by.is_some()).count();
    let mut parts = vec![session.venture.clone()];
    parts.extend(session.issue.map(|issue| format!("#{issue}")));
    parts.extend(session.track.map(|track| format!("track {track}")));
    parts.extend(session.branch.clone());
    parts.extend((others > 0).then(|| format!("{others} other{}", if others == 1 { "" } else { "s" })));
    parts.extend(
        (clashes > 0).then(|| format!("{clashes} claim{} held by others", if clashes == 1 { "" } else { "s" })),
    );
    parts.extend(session.blocked_on.as_ref().map(|_| "blocked".to_owned()));
    let repeated = super::errors::most(reader, session.id)?;
    parts.extend((repeated >= ERROR_NOTICES[0]).then(|| format!("one error {repeated} times")));
    let line = parts.join(" · ");
    let failed = cx.app.presence.get(session.id).and_then(|pulse| pulse.failed);
    Ok(HookReply { session_id: Some(session.id.to_string()), context: Some(line), failed, ..HookReply::default() })
}

/// The session's id as records hold it.
fn own_id(session: &Rec<Session>) -> String {
    session.id.to_string()
}

/// The checkout in which a session works.
fn checkout(app: &App, session: &Rec<Session>) -> Option<PathBuf> {
    app.presence.get(session.id).and_then(|pulse| pulse.checkout).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// C-07: what failed or was given up is no event that was there before.
    #[test]
    fn c_07_an_event_is_remembered_once_it_had_its_effect() {
        let memory = Memory::default();
        let input = HookRequest { turn: Some("1".to_owned()), ..HookRequest::default() };
        let now = Timestamp(1_000);
        drop(memory.see("a", &input, now));
        let seen = memory.see("a", &input, now).unwrap();
        assert!(memory.see("a", &input, now).is_none(), "it fired twice");
        seen.keep();
        assert!(memory.see("a", &input, now.plus(NAMED_MS - 1)).is_none());
        assert!(memory.see("b", &input, now).is_some());
    }
}
