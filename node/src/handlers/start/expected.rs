//! What was said of an agent before it ran: the launcher knows its track and the handoff from which it goes on, and says so of
//! its own process. The first start of the agent that this process starts takes it over, in whatever order hook and tools
//! come, so that they make one session.
//!
//! It lies in the node-local store, under the process and its start time: the daemon may be replaced between the two.

use ctxnode_api::node::Done;
use ctxnode_api::sessions::ExpectRequest;
use ctxnode_api::{ErrorBody, ErrorCode};
use ctxnode_model::record::Handoff;
use ctxnode_model::rules::repo::same_repo;
use ctxnode_model::rules::session::{Start, StartFields};
use ctxnode_model::{DocumentId, Invalid, Kind, Timestamp};
use ctxnode_store::{Draft, LocalTable};
use serde::{Deserialize, Serialize};

use super::super::ventures;
use super::Standing;
use crate::app::{Cx, Handled};
use crate::caller::{Caller, Via};
use crate::failure::Failure;
use crate::process::{ProcessId, parent_of};

/// How long it waits. An agent starts within seconds of what is said of it; later, the process may have children of another
/// purpose.
const KEPT_MS: i64 = 10 * 60_000;
/// How the keys begin. Agent ids, the other keys of the table, hold no control character.
const KEY: &str = "\0expected\0";

/// What waits for the first start of an agent.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    key: Vec<u8>,
    said: Said,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Said {
    venture: String,
    repo: String,
    track: Option<u32>,
    continues: Option<String>,
    /// When it was said, in milliseconds; old ones are ignored and purged by it.
    at: i64,
}

impl Said {
    fn is_old(&self, now: Timestamp) -> bool {
        now.0 - self.at > KEPT_MS
    }
}

fn key(starter: ProcessId) -> Vec<u8> {
    format!("{KEY}{}\0{}", starter.pid, starter.started).into_bytes()
}

/// The keys of all that was said, from the first to one behind the last.
pub(crate) fn keys() -> (Vec<u8>, Vec<u8>) {
    (KEY.into(), [KEY.as_bytes(), &[u8::MAX]].concat())
}

/// Whether what was said waits no longer; also when it cannot be read.
pub(crate) fn is_old(value: &[u8], now: Timestamp) -> bool {
    serde_json::from_slice::<Said>(value).map_or(true, |said| said.is_old(now))
}

/// Keeps what an agent's session will be about.
pub(crate) async fn expect(cx: &Cx, input: ExpectRequest) -> Handled {
    if cx.caller.via == Via::Http {
        let message = "a process is known on its own machine only";
        return Err(ErrorBody::new(ErrorCode::Forbidden, message).hint("ask over the daemon's socket").into());
    }
    let (starter, said, handoff) = check(cx, &input)?;
    cx.caller.require_venture(Some(&said.venture))?;
    ventures::require(cx.read()?.reader(), &cx.caller, &said.venture)?;
    if let Some(id) = handoff {
        let found = cx.read()?.reader().get::<Handoff>(id)?.filter(|handoff| cx.caller.sees(Some(&handoff.venture)));
        let handoff = found.ok_or_else(|| Failure::not_found("handoff", &id.to_string()))?;
        super::check_continued(&handoff, &said.venture, &said.repo)?;
    }
    let value = serde_json::to_vec(&said).unwrap_or_default();
    cx.commit(move |draft| {
        draft.put_local(LocalTable::Bindings, key(starter), value);
        Ok((200, Done { changed: true }))
    })
    .await
}

/// Checks every field before anything is looked up.
fn check(cx: &Cx, input: &ExpectRequest) -> Result<(ProcessId, Said, Option<DocumentId>), Failure> {
    let mut invalid = Invalid::new();
    let starter = input.pid.filter(|pid| *pid > 1).and_then(ProcessId::of);
    match input.pid {
        None => invalid.add("pid", "is required"),
        Some(1) => invalid.add("pid", "is the process that adopts everybody's agents, which starts none"),
        Some(_) => invalid.require(starter.is_some(), "pid", "is no running process of this machine"),
    }
    let fields = StartFields {
        agent: Some(cx.caller.agent.clone()),
        venture: input.venture.clone(),
        repo: input.repo.clone(),
        track: input.track,
        ..StartFields::default()
    };
    let start = fields.validate().map_err(|more| invalid.fields.extend(more.fields));
    let parse = |text: &String| DocumentId::parse(Kind::Handoff, text);
    let handoff = input.continues.as_ref().map(parse).transpose();
    let handoff = handoff.map_err(|error| invalid.add("continues", error.to_string()));
    match (starter, start, handoff) {
        (Some(starter), Ok(start), Ok(handoff)) => {
            let continues = handoff.map(|id| id.to_string());
            let Start { venture, repo, track, .. } = start;
            Ok((starter, Said { venture, repo, track, continues, at: cx.now().0 }, handoff))
        }
        _ => Err(invalid.into()),
    }
}

impl Expected {
    /// Finds what was said of the agent that calls, when it is about what the agent starts now.
    pub(super) fn of(cx: &Cx, standing: &Standing) -> Result<Option<Self>, Failure> {
        let Some(starter) = starter(&cx.caller) else { return Ok(None) };
        let key = key(starter);
        let found = cx.read()?.reader().local(LocalTable::Bindings, &key)?;
        let said: Option<Said> = found.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        // An agent may start with something else; what was said waits.
        let fits = |said: &Said| {
            !said.is_old(cx.now()) && said.venture == standing.venture.code && same_repo(&said.repo, &standing.repo)
        };
        Ok(said.filter(fits).map(|said| Self { key, said }))
    }

    pub(super) fn track(&self) -> Option<u32> {
        self.said.track
    }

    pub(super) fn continues(&self) -> Option<&str> {
        self.said.continues.as_deref()
    }

    /// It counts for one start: what the agent begins later in the same process is its own affair.
    pub(super) fn take(&self, draft: &mut Draft<'_>) {
        draft.remove_local(LocalTable::Bindings, self.key.clone());
    }
}

/// The process that started the calling agent. A script that stands before an agent's program, under the same name, belongs
/// to the agent.
fn starter(caller: &Caller) -> Option<ProcessId> {
    let agent = caller.agent_process.as_ref().filter(|_| !caller.explicit_agent)?;
    let above = parent_of(agent.process.pid)?;
    let before = caller.parent_process.as_ref().filter(|script| script.cli == agent.cli && script.process.pid == above);
    ProcessId::of(before.map_or(Some(above), |script| parent_of(script.process.pid))?)
}
