//! Sessions: start of day, update, heartbeat, lists, context.

use std::collections::BTreeMap;

use ctxnode_model::record::{EndReason, SessionStatus};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::claims::ClaimView;
use crate::edge::{Iso, Patch, Section};
use crate::handoffs::{HandoffRow, HandoffView};
use crate::notes::InjectedNote;
use crate::operations::PlanReply;
use crate::records::ConflictView;

/// Starts or resumes a session and returns the context to work from.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SodRequest {
    /// The agent id, at most 63 characters of a-z 0-9 and `-`. Callers on the local socket whose process is a known agent CLI may leave it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The venture code. Left out, it follows from the repo.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub venture: Option<String>,
    /// `owner/name`, or `local/<directory>` without a remote. Left out, it follows from the directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    /// The agent CLI.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cli: Option<String>,
    /// Its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cli_version: Option<String>,
    /// Tells apart agents of one CLI on one machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// The machine, when it is not this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
    /// 0 to 9999; 0 is planning and backlog. Left out, any track matches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub track: Option<i64>,
    /// The GitHub issue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issue: Option<i64>,
    /// The branch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// 7 to 64 hex digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit_sha: Option<String>,
    /// Free values, at most 16,384 bytes; merged into those of a resumed session.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub meta: Map<String, Value>,
    /// `none`, `index` (default) or `full`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub docs: Option<DocsMode>,
    /// Where the agent works; taken from the caller on the local socket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
    /// The handoff to go on from: the session takes over its thread, issue and track.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub continues: Option<String>,
    /// Idempotency key, 20 to 200 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_id: Option<String>,
}

/// How much of the docs a start returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DocsMode {
    /// Nothing.
    None,
    /// Names, sizes and ages.
    #[default]
    Index,
    /// Also the full text, in `docs_full`.
    Full,
}

/// Where a start stands. Only `valid` creates a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StartState {
    /// A session is active.
    #[default]
    Valid,
    /// The venture's checkout is elsewhere: see `path`.
    NeedsNavigation,
    /// The venture has no checkout here: see `command`.
    NeedsClone,
    /// The venture cannot be told from the directory: see `candidates`.
    SelectVenture,
}

/// Whether a start made a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StartStatus {
    /// A new one.
    Created,
    /// An earlier one goes on.
    Resumed,
}

/// The answer to a start.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SodReply {
    /// Where the start stands.
    pub state: StartState,
    /// Whether the session is new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<StartStatus>,
    /// What to do, when the state is not `valid`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The ventures to choose from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<VentureBrief>,
    /// Where the checkout is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The command that makes one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// The session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionView>,
    /// The venture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub venture: Option<VentureBrief>,
    /// When the next heartbeat is due. Agents need not send any.
    #[serde(flatten)]
    pub heartbeat: Option<HeartbeatReply>,
    /// Parts that could not be loaded; empty means that everything was.
    pub failed_parts: Vec<FailedPart>,
    /// What to be careful about.
    pub warnings: Vec<String>,
    /// The newest handoff for this repo, or one addressed to this agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_handoff: Option<HandoffView>,
    /// Commits on the branch since that handoff.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commits_since: Option<u32>,
    /// The other open handoffs of the venture, blocked first.
    pub open_handoffs: Section<HandoffRow>,
    /// The weekly plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanReply>,
    /// Other sessions that are alive.
    #[serde(rename = "active_sessions")]
    pub active: Section<SessionRow>,
    /// Sessions on machines that cannot be reached.
    #[serde(rename = "last_seen_sessions")]
    pub last_seen: Section<SessionRow>,
    /// What others hold.
    pub claims: Section<ClaimView>,
    /// Notes tagged executive-summary, whole or cut.
    pub notes: Section<InjectedNote>,
    /// The docs that exist.
    pub docs: DocsIndex,
    /// Every doc with its text, when asked for with `docs: full`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub docs_full: Option<DocsFull>,
}

/// A part of a start that could not be loaded.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct FailedPart {
    /// Which.
    pub part: String,
    /// Why.
    pub reason: String,
}

/// The docs that a venture sees.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DocsIndex {
    /// The first rows.
    pub items: Vec<DocLine>,
    /// How many are here.
    pub shown: usize,
    /// How many there are.
    pub total: u64,
    /// Required docs that do not exist.
    pub missing: Vec<String>,
    /// Docs past their limit.
    pub stale: Vec<String>,
}

/// One doc in the index.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct DocLine {
    /// `global` or the venture code.
    pub scope: String,
    /// The name.
    pub name: String,
    /// The title.
    pub title: String,
    /// Bytes.
    pub size: u64,
    /// Since it was last refreshed.
    pub age: String,
}

/// Every doc with its text.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct DocsFull {
    /// The docs, in list order.
    pub docs: Vec<DocText>,
    /// How many.
    pub count: usize,
    /// SHA-256 over their hashes joined by `|`.
    pub content_hash: String,
}

/// One doc with its text.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct DocText {
    /// `global` or the venture code.
    pub scope: String,
    /// The name.
    pub name: String,
    /// The text.
    pub content: String,
    /// SHA-256 of it.
    pub content_hash: String,
}

/// A venture in short.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct VentureBrief {
    /// The code.
    pub code: String,
    /// The name.
    pub name: String,
}

/// A session.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SessionView {
    /// `sess_...`
    pub id: String,
    /// The agent id.
    pub agent: String,
    /// The machine.
    pub machine: String,
    /// The agent CLI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cli: Option<String>,
    /// Its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cli_version: Option<String>,
    /// The instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// The venture code.
    pub venture: String,
    /// The repo.
    pub repo: String,
    /// The track; 0 is a value.
    pub track: Option<u32>,
    /// The issue.
    pub issue: Option<u32>,
    /// The branch.
    pub branch: Option<String>,
    /// The commit.
    pub commit_sha: Option<String>,
    /// As stored.
    pub status: SessionStatus,
    /// Whether it counts as alive now.
    pub live: bool,
    /// When it began.
    pub created_at: Iso,
    /// When it was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Iso>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_reason: Option<EndReason>,
    /// The last sign of life that this node knows of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_heartbeat_at: Option<Iso>,
    /// Since it began.
    pub age: String,
    /// Where it works; known only on its own machine, while it is not over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkout: Option<String>,
    /// The process of its agent, while it runs on this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Why its last turn failed, while none has ended well since; known only on its own machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// What it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked_on: Option<String>,
    /// The session that started this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_session_id: Option<String>,
    /// The handoff thread that it continues.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread: Option<String>,
    /// Free values.
    pub meta: BTreeMap<String, Value>,
    /// Fields that were written on several machines while they were apart.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<ConflictView>,
    /// Who made it.
    pub actor_key_id: String,
    /// The call that made it.
    pub creation_correlation_id: String,
}

/// A session in a list of others.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SessionRow {
    /// `sess_...`
    pub id: String,
    /// The agent id.
    pub agent: String,
    /// The machine.
    pub machine: String,
    /// The repo.
    pub repo: String,
    /// The branch.
    pub branch: Option<String>,
    /// The issue.
    pub issue: Option<u32>,
    /// The track.
    pub track: Option<u32>,
    /// Since its last sign of life.
    pub age: String,
}

/// What to list. All filters are optional and combine with AND.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SessionQuery {
    /// The venture code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub venture: Option<String>,
    /// The repo.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    /// The agent id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
    /// The agent CLI.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cli: Option<String>,
    /// The track.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub track: Option<i64>,
    /// The issue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issue: Option<i64>,
    /// `active` (default; stale ones are hidden), `ended`, `abandoned` or `any`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<StatusFilter>,
    /// Created at or after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Iso>,
    /// 1 to 100, default 20.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
    /// From the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// Which sessions to list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StatusFilter {
    /// Active and not stale.
    #[default]
    Active,
    /// Ended.
    Ended,
    /// Abandoned.
    Abandoned,
    /// All.
    Any,
}

/// A list of sessions.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SessionList {
    /// The rows.
    pub items: Vec<SessionView>,
    /// How many are here.
    pub shown: usize,
    /// How many there are.
    pub total: u64,
    /// Whether there are more.
    pub has_more: bool,
    /// For the next page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
    /// Active sessions on machines that cannot be reached; never counted as active.
    pub last_seen: Vec<SessionRow>,
}

/// Changes the session that the caller works in. Absent fields stay.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UpdateRequest {
    /// The session; left out, the caller's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// The branch; empty clears it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit_sha: Option<String>,
    /// The issue; null clears it.
    #[serde(skip_serializing_if = "Patch::is_keep")]
    pub issue: Patch<i64>,
    /// The track; null clears it.
    #[serde(skip_serializing_if = "Patch::is_keep")]
    pub track: Patch<i64>,
    /// Merged at its top level; a null value removes that key.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub meta: Map<String, Value>,
    /// What the work waits for; null when it no longer does.
    #[serde(skip_serializing_if = "Patch::is_keep")]
    pub blocked_on: Patch<String>,
    /// The text of an error just seen; repeated errors are counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Asks for help: what blocks, what was tried, what is needed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub escalate: Option<EscalateFields>,
    /// Idempotency key, 20 to 200 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_id: Option<String>,
}

/// A call for help inside an update.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EscalateFields {
    /// `credential`, `repeated_error`, `blocked` or `manual`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trigger: Option<String>,
    /// The error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What was tried, one item each.
    pub tried: Vec<String>,
    /// What is needed to go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub need: Option<String>,
    /// The issue it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issue: Option<i64>,
}

/// The answer to an update.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct UpdateReply {
    /// The session as it is now.
    pub session: SessionView,
    /// When.
    pub updated_at: Iso,
    /// When the next heartbeat is due.
    pub heartbeat: HeartbeatReply,
    /// What the new values cause.
    pub warnings: Vec<String>,
    /// The escalation that was stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escalation_id: Option<String>,
    /// How often the reported error was seen in this session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_count: Option<u32>,
}

/// Moves a heartbeat.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HeartbeatRequest {
    /// The session; left out, the caller's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// Idempotency key, 20 to 200 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_id: Option<String>,
}

/// When the next heartbeat is due.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct HeartbeatReply {
    /// The session.
    pub session_id: String,
    /// The last one.
    pub last_heartbeat_at: Iso,
    /// The next one.
    pub next_heartbeat_at: Iso,
    /// Seconds until it, 480 to 720.
    pub heartbeat_interval_seconds: u32,
}

/// Gives up a session of a machine that will not come back.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AbandonRequest {
    /// Idempotency key, 20 to 200 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_id: Option<String>,
}

/// Says what the session of an agent will be about, before the agent is started. Of an agent that this very process starts,
/// the first `sod`, by whatever hook or tool, takes it over.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ExpectRequest {
    /// The process that will start the agent, on this machine; in a shell `$$`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// The venture code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub venture: Option<String>,
    /// `owner/name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    /// The session's track, 0 to 9999.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub track: Option<i64>,
    /// The handoff to go on from: the session takes over its thread, issue and track.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub continues: Option<String>,
    /// Idempotency key, 20 to 200 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_id: Option<String>,
}

/// Writes the handoff of a session that stopped without one, from its last known state.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DraftRequest {
    /// True also ends the session: somebody else goes on with its work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<bool>,
    /// Idempotency key, 20 to 200 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_id: Option<String>,
}

/// A session, and the handoff from which its work goes on.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct DraftReply {
    /// The session as it is now.
    pub session: SessionView,
    /// Its newest handoff, `ho_...`: what its agent wrote, or the draft.
    pub handoff_id: String,
    /// Whether the session did anything that the handoff could tell of.
    pub activity: bool,
}

/// Where the caller stands.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ContextReply {
    /// The venture of the directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub venture: Option<String>,
    /// The repo of the directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    /// The branch; `(detached at <sha>)` without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The checkout's directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkout: Option<String>,
    /// Changed files, when there is a checkout.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dirty_files: Option<u32>,
    /// The caller's session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionView>,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_session: Option<String>,
    /// What the session holds.
    pub claims: Vec<ClaimView>,
    /// What to be careful about.
    pub warnings: Vec<String>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_start_reply_reads_as_documented_and_round_trips() {
        let heartbeat = HeartbeatReply { session_id: "sess_1".to_owned(), ..HeartbeatReply::default() };
        let reply = SodReply { status: Some(StartStatus::Created), heartbeat: Some(heartbeat), ..SodReply::default() };
        let value = serde_json::to_value(&reply).unwrap();
        assert_eq!((&value["session_id"], &value["status"]), (&json!("sess_1"), &json!("created")));
        for name in ["next_heartbeat_at", "heartbeat_interval_seconds", "active_sessions", "last_seen_sessions"] {
            assert!(value.get(name).is_some(), "{name}");
        }
        let back: SodReply = serde_json::from_value(value).unwrap();
        assert_eq!(back.heartbeat.unwrap().session_id, "sess_1");
        assert!(serde_json::from_value::<SodReply>(json!({"state": "needs_clone"})).unwrap().heartbeat.is_none());
    }
}
