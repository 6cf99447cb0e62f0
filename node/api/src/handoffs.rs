//! Handoffs: end of day, lists, the latest, closing.

use std::collections::BTreeMap;

use ctxnode_model::record::{ConfirmedBy, HandoffStatus, Observed, SessionStatus};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::edge::Iso;

/// Stores a handoff for the next agent and ends the session. Write next steps for a reader without memory: numbered, with exact file paths and commands.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HandoffRequest {
    /// `in_progress` (needs next_steps), `blocked` (needs blocked) or `done`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// What was finished; each item 1 to 2,000 characters, at most 200.
    pub accomplished: Vec<String>,
    /// What is begun and not finished.
    pub in_progress: Vec<String>,
    /// What cannot go on, and why.
    pub blocked: Vec<String>,
    /// What to do next, with exact paths and commands.
    pub next_steps: Vec<String>,
    /// At most 5,000 characters; derived from the lists when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// Whom it is for: an agent id, a machine name or a CLI name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_agent: Option<String>,
    /// The issue it is about; the session's when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issue: Option<i64>,
    /// Handoffs of one thread supersede each other; follows from issue or branch when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thread: Option<String>,
    /// Ids of open handoffs that this one finishes.
    pub closes: Vec<String>,
    /// True keeps the session active.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_open: Option<bool>,
    /// Further values, stored with the lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra: Option<Map<String, Value>>,
    /// True asks the human through the client before anything is stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ask: Option<bool>,
    /// `human` when a person said yes, `unattended` when nobody was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirmed_by: Option<ConfirmedBy>,
    /// The session; left out, the caller's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// Idempotency key, 20 to 200 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_id: Option<String>,
}

/// The answer to an end of day.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct HandoffReply {
    /// `ho_...`
    pub handoff_id: String,
    /// SHA-256 of the canonical payload.
    pub payload_hash: String,
    /// Its bytes.
    pub payload_size_bytes: u64,
    /// The summary as stored.
    pub summary: String,
    /// The thread.
    pub thread: String,
    /// The session.
    pub session_id: String,
    /// How the session stands now.
    pub session_status: SessionStatus,
    /// Whether nothing was written, because the session had ended with this handoff before.
    pub no_op: bool,
    /// What the caller should know, for example that other content was not stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice: Option<String>,
    /// What the daemon saw in the checkout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<Observed>,
    /// What became of `docs/handoffs/DEV.md`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git_view: Option<String>,
}

/// A handoff with its content.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct HandoffView {
    /// The facts.
    #[serde(flatten)]
    pub row: HandoffRow,
    /// The session.
    pub session_id: String,
    /// The commit.
    pub commit_sha: Option<String>,
    /// What was finished.
    pub accomplished: Vec<String>,
    /// What is begun.
    pub in_progress: Vec<String>,
    /// What cannot go on.
    pub blocked: Vec<String>,
    /// What to do next.
    pub next_steps: Vec<String>,
    /// Further values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra: Option<Value>,
    /// SHA-256 of the canonical payload.
    pub payload_hash: String,
    /// Its bytes.
    pub payload_size_bytes: u64,
    /// What the daemon saw in the checkout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<Observed>,
    /// Who said yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed_by: Option<ConfirmedBy>,
    /// Why and when it was closed, by what closed it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub closed: BTreeMap<String, Value>,
    /// Who made it.
    pub actor_key_id: String,
    /// The call that made it.
    pub creation_correlation_id: String,
}

/// A handoff in a list.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct HandoffRow {
    /// `ho_...`
    pub id: String,
    /// Who wrote it.
    pub from_agent: String,
    /// Whom it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_agent: Option<String>,
    /// Whether it is for the caller.
    #[serde(default)]
    pub for_you: bool,
    /// How the work stands.
    pub status: HandoffStatus,
    /// In short.
    pub summary: String,
    /// The venture code.
    pub venture: String,
    /// The repo.
    pub repo: String,
    /// The track.
    pub track: Option<u32>,
    /// The issue.
    pub issue: Option<u32>,
    /// The branch.
    pub branch: Option<String>,
    /// The thread.
    pub thread: String,
    /// Whether a machine drafted it.
    pub drafted: bool,
    /// Whether nothing superseded or closed it.
    pub open: bool,
    /// When.
    pub created_at: Iso,
    /// Since then.
    pub age: String,
}

/// What to list; filters combine with AND.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HandoffQuery {
    /// The session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// Who wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_agent: Option<String>,
    /// Whom it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_agent: Option<String>,
    /// The venture code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub venture: Option<String>,
    /// The repo.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    /// The issue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issue: Option<i64>,
    /// The track.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub track: Option<i64>,
    /// The thread.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thread: Option<String>,
    /// `in_progress`, `blocked` or `done`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<HandoffStatus>,
    /// Whether a machine drafted it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drafted: Option<bool>,
    /// Only those that nothing superseded or closed, or only the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open: Option<bool>,
    /// Created at or after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Iso>,
    /// Created before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Iso>,
    /// 1 to 100, default 20.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
    /// From the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// Which handoff is the latest of: a session, or a venture and repo.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LatestQuery {
    /// The session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// The venture code; needs `repo`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub venture: Option<String>,
    /// The repo; needs `venture`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    /// The issue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issue: Option<i64>,
    /// The track; any when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub track: Option<i64>,
    /// The thread.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thread: Option<String>,
}

/// Closes a handoff.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CloseRequest {
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Idempotency key, 20 to 200 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_id: Option<String>,
}
