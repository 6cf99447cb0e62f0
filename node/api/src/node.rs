//! The node itself: status, health, checks, backups, tokens, the request log, quarantine.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::edge::Iso;
use crate::field::FieldView;
use crate::fleet::{AlertView, PeerView};
use crate::routes::{Granted, Right};

/// Whether the daemon answers.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// `ok`.
    pub status: String,
    /// `ctxnode`.
    pub service: String,
    /// The build.
    pub version: String,
}

/// Nothing to ask.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Empty {}

/// The node.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct NodeReply {
    /// The build of the running daemon.
    pub build: String,
    /// The fleet's id.
    pub fleet: String,
    /// The node's key.
    pub node: String,
    /// The spaces that it may read, by their ids; null for all.
    #[serde(default)]
    pub spaces: Option<Vec<String>>,
    /// What it was called when it joined; empty for the first machine of a fleet.
    #[serde(default)]
    pub name: String,
    /// Its role in the fleet.
    pub role: Right,
    /// The machine's name.
    pub machine: String,
    /// The daemon's process.
    pub pid: u32,
    /// Since when it runs.
    pub started_at: Iso,
    /// Seconds since then.
    pub uptime_seconds: u64,
    /// The data directory.
    pub data_dir: String,
    /// Bytes of the store's file.
    pub store_bytes: u64,
    /// Resident memory in bytes; null when unknown.
    pub memory_bytes: Option<u64>,
    /// Living records by kind.
    pub records: BTreeMap<String, u64>,
    /// Sessions of this node that are alive; those of others are counted in `peers`.
    pub active_sessions: u64,
    /// The last position of the journal.
    pub journal: u64,
    /// The search index.
    pub search: SearchState,
    /// Entries that are kept and not applied.
    pub quarantined: u64,
    /// Changes of others that wait for changes which have not arrived.
    #[serde(default)]
    pub waiting: u64,
    /// The last verified backup.
    pub last_backup: Option<Iso>,
    /// The other nodes; empty on a single machine.
    pub peers: Vec<PeerView>,
    /// What happened between replicas that a person should know and nobody has read yet.
    #[serde(default)]
    pub alerts: Vec<AlertView>,
    /// Where this node listens for others; empty when it is alone.
    #[serde(default)]
    pub listening: Vec<String>,
    /// Why it cannot listen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listening_problem: Option<String>,
    /// Claims on one thing by several sessions.
    #[serde(default)]
    pub clashes: Vec<ClashView>,
    /// What came when this node was last back after it had been out of touch.
    #[serde(default)]
    pub arrived: Option<ArrivedView>,
    /// The first of the records that have two values of a field until somebody chooses.
    #[serde(default)]
    pub unresolved: Vec<Unresolved>,
    /// How many there are.
    #[serde(default)]
    pub unresolved_count: u64,
    /// Nodes that look like machines installed anew, and wait until an admin has revoked the old key.
    #[serde(default)]
    pub waiting_nodes: Vec<WaitingNode>,
    /// Field mode, when it is on.
    #[serde(default)]
    pub field: Option<FieldView>,
    /// What somebody should look at, the worst first; empty when all is well.
    #[serde(default)]
    pub attention: Vec<Attention>,
}

/// A claim that another one beats.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClashView {
    /// The venture code.
    pub venture: String,
    /// `issue`, `branch` or `path`.
    pub kind: String,
    /// The issue, branch or path.
    pub key: String,
    /// Who has to give way.
    pub loser: String,
    /// Who keeps it.
    pub winner: String,
}

/// A record that was changed on two machines at once, with two values of a field until somebody chooses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unresolved {
    /// The record.
    pub id: String,
    /// Its title, name or code, when it has one.
    pub name: Option<String>,
    /// The fields with two values.
    pub fields: Vec<String>,
}

/// A node that joined under the name of a machine that is known with another key, and waits for an admin.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WaitingNode {
    /// Its key.
    pub node: String,
    /// The name.
    pub name: String,
    /// The key under which the machine is known.
    pub known: String,
}

/// What changed on other machines while this one was out of touch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ArrivedView {
    /// Since when it had been out of touch; null when that is not known.
    pub since: Option<Iso>,
    /// When it had caught up.
    pub at: Iso,
    /// Records by kind.
    pub records: BTreeMap<String, u64>,
    /// The machines that changed them.
    pub machines: Vec<String>,
    /// Records with two values of one field, to be looked at.
    pub conflicts: Vec<String>,
    /// Whether there was more than was counted.
    #[serde(default)]
    pub more: bool,
}

/// Something to look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Attention {
    /// How bad it is.
    pub state: CheckState,
    /// What it is about: `this node`, or the name of another.
    pub about: String,
    /// What is the matter.
    pub message: String,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// How far the search index is.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct SearchState {
    /// Whether it is switched on.
    pub enabled: bool,
    /// The journal position that it has reached.
    pub watermark: u64,
    /// Indexed records.
    pub documents: u64,
}

/// The checks before work.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PreflightReply {
    /// `critical checks failed`, `passed with warnings` or `all checks passed`.
    pub summary: String,
    /// Each check.
    pub checks: Vec<CheckRow>,
}

/// One check.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CheckRow {
    /// What was checked.
    pub name: String,
    /// How it went.
    pub state: CheckState,
    /// Whether a failure stops the work.
    pub critical: bool,
    /// What was found.
    pub message: String,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CheckState {
    /// As it should be.
    Pass,
    /// It works, and something should be seen to.
    Warn,
    /// It does not work.
    Fail,
}

/// The result of an integrity check.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct IntegrityReply {
    /// Whether nothing is wrong.
    pub ok: bool,
    /// Entries whose chain and signature were verified.
    pub entries: u64,
    /// Documents whose view was derived again.
    pub documents: u64,
    /// Rows that were read.
    pub rows: u64,
    /// The first problems: table, what, why.
    pub problems: Vec<[String; 3]>,
    /// How many there are.
    pub problem_count: u64,
    /// Whether the search index agrees with the store.
    pub search_agrees: Option<bool>,
}

/// What an integrity check does beyond reading.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct IntegrityRequest {
    /// True makes everything that is derived again, before checking.
    pub rebuild: bool,
    /// Idempotency key, 20 to 200 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_id: Option<String>,
}

/// Takes a backup.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BackupRequest {
    /// The directory; the configured one when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
    /// Idempotency key, 20 to 200 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_id: Option<String>,
}

/// A backup that was opened and counted.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct BackupReply {
    /// The file.
    pub path: String,
    /// When.
    pub at: Iso,
    /// Rows read back.
    pub rows: u64,
    /// Records.
    pub records: u64,
    /// Entries.
    pub entries: u64,
    /// Bytes.
    pub bytes: u64,
    /// Older backups that were removed.
    pub removed: u64,
}

/// Exports everything to a folder of Markdown and JSON.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ExportRequest {
    /// An absolute path; made when absent, refused when it holds files that no export wrote.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
    /// Idempotency key, 20 to 200 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_id: Option<String>,
}

/// What an export wrote.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ExportReply {
    /// The directory.
    pub directory: String,
    /// Files by kind.
    pub files: BTreeMap<String, u64>,
}

/// Makes a token for HTTP callers.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TokenCreate {
    /// For people, 1 to 100 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `reader`, `writer` or `admin`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub right: Option<Granted>,
    /// Venture codes; all when empty.
    pub ventures: Vec<String>,
    /// An agent id, or a pattern with `*`; any agent when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// Calls per minute; 100 when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<i64>,
    /// How long it can be used, like `30d`; for ever when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<String>,
    /// The same in seconds, for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_seconds: Option<i64>,
    /// Idempotency key, 20 to 200 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_id: Option<String>,
}

/// A new token. The secret is shown once.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub struct TokenCreated {
    /// 64 hex characters, shown only here.
    pub secret: String,
    /// The token.
    #[serde(flatten)]
    pub token: TokenView,
}

/// Without the secret, which must reach the answer and nothing else.
impl std::fmt::Debug for TokenCreated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenCreated").field("token", &self.token).finish_non_exhaustive()
    }
}

/// A token without its secret.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TokenView {
    /// The actor key id: the first 16 hex digits of its SHA-256.
    pub id: String,
    /// For people.
    pub name: String,
    /// What it may do.
    pub right: Right,
    /// Where; everywhere when empty.
    pub ventures: Vec<String>,
    /// Whose it is.
    pub agent: Option<String>,
    /// Calls per minute.
    pub rate_limit: u32,
    /// When it was made.
    pub created_at: Iso,
    /// When it expires.
    pub expires_at: Option<Iso>,
    /// When it was last used.
    pub last_used_at: Option<Iso>,
    /// When it was revoked.
    pub revoked_at: Option<Iso>,
}

/// Which calls to list.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RequestLogQuery {
    /// The operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// The actor key id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor_key_id: Option<String>,
    /// The agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The venture code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub venture: Option<String>,
    /// The correlation id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// The HTTP status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<i64>,
    /// At or after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Iso>,
    /// 1 to 100, default 20.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
}

/// One call.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RequestLogRow {
    /// When.
    pub time: Iso,
    /// The call.
    pub correlation_id: String,
    /// `http`, `socket` or `mcp`.
    pub via: String,
    /// What.
    pub operation: String,
    /// Who.
    pub actor_key_id: String,
    /// The agent.
    pub agent: Option<String>,
    /// The venture code.
    pub venture: Option<String>,
    /// The repo.
    pub repo: Option<String>,
    /// The track.
    pub track: Option<u32>,
    /// The issue.
    pub issue: Option<u32>,
    /// The HTTP status.
    pub status: u16,
    /// How long it took.
    pub duration_ms: u64,
    /// The error's code.
    pub error: Option<String>,
    /// SHA-256 of the idempotency key.
    pub idempotency_key_hash: Option<String>,
    /// Whether a kept answer was given.
    pub idempotency_hit: bool,
    /// Whether the caller overrode the secret scan.
    #[serde(default)]
    pub secret_override: bool,
    /// Bytes of the answer.
    pub bytes: u64,
}

/// What is kept and not applied.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct QuarantineView {
    /// The author's key.
    pub author: String,
    /// The author's epoch.
    pub epoch: u64,
    /// The position in its log.
    pub seq: u64,
    /// The op; null for the whole entry.
    pub op: Option<u16>,
    /// What the author's node is called.
    pub machine: String,
    /// When it was written, by that node's clock.
    pub at: Iso,
    /// Since then.
    pub age: String,
    /// What it would do.
    pub what: String,
    /// Why it is held back, in words.
    pub why: String,
    /// The same for programs.
    pub reason: Value,
    /// What can be done.
    pub fix: String,
}

/// A change that waits for what it builds on.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct WaitingView {
    /// The record.
    pub record: String,
    /// Its kind.
    pub kind: String,
    /// What the author's node is called.
    pub machine: String,
    /// The author's key.
    pub author: String,
    /// The author's epoch.
    pub epoch: u64,
    /// The position in its log.
    pub seq: u64,
    /// The op.
    pub op: u16,
    /// When it was written, by that node's clock.
    pub at: Iso,
    /// Since then.
    pub age: String,
    /// What it waits for, in words.
    pub waits_for: Vec<String>,
    /// What can be done.
    pub fix: String,
}

/// Done.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Done {
    /// Whether this call changed something.
    pub changed: bool,
}
