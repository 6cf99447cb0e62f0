//! Sessions, handoffs, claims and escalations: who works, on what, and what they leave behind.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Timestamp;

/// One sitting of one agent in one repo.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Session {
    /// `<cli>-<machine>-<instance>`, or what an HTTP caller gave.
    pub agent: String,
    /// The machine part of the agent id.
    pub machine: String,
    /// The agent CLI: `claude`, `codex`, `gemini`, `agy`, or another word.
    pub cli: Option<String>,
    /// Its version.
    pub cli_version: Option<String>,
    /// Eight characters that tell apart agents of one CLI on one machine.
    pub instance: Option<String>,
    /// The operating system user.
    pub user: Option<String>,
    /// The venture code.
    pub venture: String,
    /// `owner/name` or `local/<directory>`.
    pub repo: String,
    /// 0 to 9999; 0 is planning and backlog, absent is no track.
    pub track: Option<u32>,
    /// The GitHub issue.
    pub issue: Option<u32>,
    /// The branch; absent when the head is detached.
    pub branch: Option<String>,
    /// 7 to 64 hex digits.
    pub commit_sha: Option<String>,
    /// When it began.
    pub created_at: Timestamp,
    /// Set once, by its end.
    pub ended: Option<Ending>,
    /// Set once, by its owner's sweep or an admin.
    pub abandoned: Option<Ending>,
    /// What it waits for.
    pub blocked_on: Option<String>,
    /// Since when.
    pub blocked_at: Option<Timestamp>,
    /// The node that owns it, as 64 hex digits.
    pub node: String,
    /// Whether the caller named the agent id, so that another node may hold the same one.
    pub explicit_agent: bool,
    /// Who made it.
    pub actor_key_id: String,
    /// The call that made it.
    pub creation_correlation_id: String,
    /// The session of the agent that started this one in its shell.
    pub parent_session_id: Option<String>,
    /// The handoff thread that it continues.
    pub thread: Option<String>,
    /// Free values.
    pub meta: BTreeMap<String, Value>,
}

impl Session {
    /// Returns the status as stored; whether an active one is still alive is a question of presence.
    #[must_use]
    pub fn status(&self) -> SessionStatus {
        if self.ended.is_some() {
            SessionStatus::Ended
        } else if self.abandoned.is_some() {
            SessionStatus::Abandoned
        } else {
            SessionStatus::Active
        }
    }

    /// Returns when and why it is over.
    #[must_use]
    pub fn ending(&self) -> Option<&Ending> {
        self.ended.as_ref().or(self.abandoned.as_ref())
    }
}

/// Where a session stands. It only moves from active to one of the others, and ended beats abandoned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SessionStatus {
    /// Begun and not over.
    Active,
    /// Ended by a handoff, a start that superseded it, or a command.
    Ended,
    /// Given up after 45 minutes of silence, or by an admin.
    Abandoned,
}

/// When and why a session was over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// When; for a stale session its last heartbeat.
    pub at: Timestamp,
    /// Why.
    pub reason: EndReason,
    /// The handoff stored in the same transaction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handoff: Option<String>,
}

/// Why a session was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// An end-of-day call.
    Manual,
    /// More than 45 minutes without a heartbeat.
    Stale,
    /// A newer session of the same agent, venture and repo.
    Superseded,
    /// The agent reported that it cannot go on.
    Error,
    /// An admin, for a machine that will not come back.
    Admin,
    /// Written by a newer version.
    #[serde(other)]
    Unknown,
}

/// What an agent leaves for the next one. Immutable but for close marks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Handoff {
    /// The session that it ends or reports on.
    pub session_id: String,
    /// The venture code.
    pub venture: String,
    /// The repo.
    pub repo: String,
    /// The track.
    pub track: Option<u32>,
    /// The issue.
    pub issue: Option<u32>,
    /// Handoffs of one thread supersede each other.
    pub thread: String,
    /// The branch.
    pub branch: Option<String>,
    /// The commit.
    pub commit_sha: Option<String>,
    /// Who wrote it.
    pub from_agent: String,
    /// Whom it is for: an agent id, a machine name or a CLI name.
    pub to_agent: Option<String>,
    /// How the work stands.
    pub status_label: HandoffStatus,
    /// At most 5,000 characters.
    pub summary: String,
    /// SHA-256 of the canonical payload, which is the record's body.
    pub payload_hash: String,
    /// Bytes of the canonical payload.
    pub payload_size_bytes: u64,
    /// The form of the payload.
    pub schema_version: String,
    /// Handoffs that it closed by name.
    pub supersedes: Vec<String>,
    /// Whether a machine drafted it from the last known state.
    pub drafted: bool,
    /// Who said yes.
    pub confirmed_by: Option<ConfirmedBy>,
    /// What the daemon saw in the checkout; absent when there was none.
    pub observed: Option<Observed>,
    /// For drafts: whether any activity was recorded. A draft without is counted but not offered at start.
    pub activity: Option<bool>,
    /// Who made it.
    pub actor_key_id: String,
    /// The call that made it.
    pub creation_correlation_id: String,
    /// When.
    pub created_at: Timestamp,
    /// Close marks by the id of what closed it; any mark closes.
    pub closed: BTreeMap<String, Closed>,
}

/// How the work of a handoff stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HandoffStatus {
    /// There is a next step.
    #[default]
    InProgress,
    /// Something outside stops it.
    Blocked,
    /// Finished.
    Done,
}

/// Who confirmed a handoff.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConfirmedBy {
    /// A person said yes.
    Human,
    /// Nobody was asked.
    Unattended,
}

/// What the daemon saw in the checkout when a handoff was stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Observed {
    /// Changed and untracked files.
    pub dirty_files: u32,
    /// Commits that no remote has.
    pub unpushed_commits: u32,
    /// Open pull requests; absent when they could not be asked for.
    pub open_prs: Option<u32>,
}

/// A close mark.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// An advisory hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Claim {
    /// What is held.
    pub claim_kind: ClaimKind,
    /// An issue number, a branch name or a path glob.
    pub key: String,
    /// The venture code.
    pub venture: String,
    /// The repo.
    pub repo: String,
    /// The holder's session.
    pub session_id: String,
    /// The holder.
    pub agent: String,
    /// The holder's machine.
    pub machine: String,
    /// Why.
    pub note: Option<String>,
    /// When it was taken.
    pub taken_at: Timestamp,
    /// When it lapses.
    pub expires_at: Timestamp,
    /// When it was given back.
    pub released_at: Option<Timestamp>,
    /// Whether it was taken against another holder.
    pub forced: bool,
    /// Who made it.
    pub actor_key_id: String,
    /// The call that made it.
    pub creation_correlation_id: String,
}

/// What a claim holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClaimKind {
    /// A GitHub issue.
    #[default]
    Issue,
    /// A branch.
    Branch,
    /// Files that match a glob.
    Path,
}

/// A call for help: blocked, tried, need.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Escalation {
    /// What set it off.
    pub trigger: String,
    /// The error, when there was one.
    pub error: Option<String>,
    /// What was tried.
    pub tried: Vec<String>,
    /// What is needed.
    pub need: String,
    /// The session.
    pub session_id: Option<String>,
    /// The agent.
    pub agent: String,
    /// The venture code.
    pub venture: String,
    /// The repo.
    pub repo: String,
    /// The issue.
    pub issue: Option<u32>,
    /// The handoff thread whose `done` resolves it.
    pub thread: Option<String>,
    /// The normalised error's hash.
    pub error_signature: Option<String>,
    /// How often it was seen.
    pub error_count: Option<u32>,
    /// When.
    pub created_at: Timestamp,
    /// Set once.
    pub resolved: Option<Resolution>,
    /// Who made it.
    pub actor_key_id: String,
    /// The call that made it.
    pub creation_correlation_id: String,
}

/// How an escalation was resolved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolution {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// How.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
