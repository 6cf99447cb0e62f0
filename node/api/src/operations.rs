//! Ventures, the weekly plan, machines, escalations and events.

use std::collections::{BTreeMap, BTreeSet};

use ctxnode_model::record::{MachineStatus, VentureSecrets, VentureSettings};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::edge::Iso;
use crate::records::ConflictView;

/// Makes or changes a venture. Absent fields stay.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct VenturePut {
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The GitHub organisation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub org: Option<String>,
    /// All repos, `owner/name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repos: Option<BTreeSet<String>>,
    /// All capabilities; `has_api` and `has_database` are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<BTreeSet<String>>,
    /// Where its secrets come from; never a secret itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secrets: Option<VentureSecrets>,
    /// How ctxnode behaves for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settings: Option<VentureSettings>,
    /// Merged at its top level; null removes a key.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub meta: BTreeMap<String, Value>,
    /// Idempotency key, 20 to 200 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_id: Option<String>,
}

/// Archives a venture, or brings it back.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct VentureArchive {
    /// False brings it back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archived: Option<bool>,
    /// Idempotency key, 20 to 200 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_id: Option<String>,
}

/// Imports a ventures file.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct VentureImport {
    /// The file's text: `{"ventures":[{"code","name","org","capabilities":[]}]}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Idempotency key, 20 to 200 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_id: Option<String>,
}

/// What an import did.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct VentureImportReply {
    /// Codes that are new.
    pub created: Vec<String>,
    /// Codes that changed.
    pub changed: Vec<String>,
    /// Codes that were equal already.
    pub unchanged: Vec<String>,
}

/// What to list.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct VentureQuery {
    /// Also archived ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub include_archived: Option<bool>,
}

/// A venture.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct VentureView {
    /// The code.
    pub code: String,
    /// The name.
    pub name: String,
    /// The GitHub organisation.
    pub org: Option<String>,
    /// The repos.
    pub repos: BTreeSet<String>,
    /// The capabilities.
    pub capabilities: BTreeSet<String>,
    /// Where its checkout is on this machine; null when not installed.
    pub local_path: Option<String>,
    /// Where its secrets come from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets: Option<VentureSecrets>,
    /// How ctxnode behaves for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<VentureSettings>,
    /// Whether it is archived.
    pub archived: bool,
    /// Free values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub meta: BTreeMap<String, Value>,
    /// Fields that were written on several machines while they were apart.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<ConflictView>,
}

/// Writes the weekly plan.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PlanPut {
    /// The venture that comes first; must exist.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority_venture: Option<String>,
    /// What comes second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secondary_focus: Option<String>,
    /// Issues to reach.
    pub target_issues: Vec<String>,
    /// How much time there is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity_notes: Option<String>,
    /// True only confirms the present plan.
    pub touch: bool,
    /// For imports: the time of the file's state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub as_of: Option<Iso>,
    /// True writes a state older than the present one.
    pub force: bool,
    /// Idempotency key, 20 to 200 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_id: Option<String>,
}

/// The weekly plan.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PlanReply {
    /// `valid`, `stale` or `missing`.
    pub state: String,
    /// In one line.
    pub display: String,
    /// The venture that comes first.
    pub priority_venture: Option<String>,
    /// What comes second.
    pub secondary_focus: Option<String>,
    /// Issues to reach.
    pub target_issues: Vec<String>,
    /// How much time there is.
    pub capacity_notes: Option<String>,
    /// When it was written or confirmed.
    pub updated_at: Option<Iso>,
    /// Since then.
    pub age: Option<String>,
    /// Who wrote it.
    pub updated_by: Option<String>,
}

/// Registers a machine without a daemon.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MachinePut {
    /// The host name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// An address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The login user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// `linux` or `macos`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub os: Option<String>,
    /// `x86_64` or `aarch64`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arch: Option<String>,
    /// One line each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssh_public_keys: Option<Vec<String>>,
    /// What it is for; default `dev`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Merged at its top level; null removes a key.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub meta: BTreeMap<String, Value>,
    /// Idempotency key, 20 to 200 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_id: Option<String>,
}

/// What to list.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MachineQuery {
    /// Also retired ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub all: Option<bool>,
}

/// Acts on a record named in the path.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PlainAction {
    /// Idempotency key, 20 to 200 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_id: Option<String>,
}

/// A machine.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct MachineView {
    /// `mach_...`
    pub id: String,
    /// The host name.
    pub hostname: String,
    /// The operating system.
    pub os: String,
    /// The architecture.
    pub arch: String,
    /// The login user.
    pub user: String,
    /// Tailscale first.
    pub addresses: Vec<String>,
    /// One line each.
    pub ssh_public_keys: Vec<String>,
    /// The key of its daemon.
    pub node_key: Option<String>,
    /// What it is for.
    pub role: String,
    /// The version of its daemon.
    pub version: Option<String>,
    /// The commit of its daemon.
    pub commit: Option<String>,
    /// Where its `ctxnode` lies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ctxnode_path: Option<String>,
    /// In use or not.
    pub status: MachineStatus,
    /// Whether its node was revoked; it then reads retired, and comes back by a new invitation.
    #[serde(default)]
    pub revoked: bool,
    /// When it was first registered.
    pub registered_at: Iso,
    /// Whether it is this machine.
    pub this_machine: bool,
    /// Free values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub meta: BTreeMap<String, Value>,
}

/// What to list.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EscalationQuery {
    /// The venture code; all when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub venture: Option<String>,
    /// Also resolved ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub all: Option<bool>,
    /// 1 to 100, default 20.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
    /// From the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// Asks for help outside a session's update.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EscalationCreate {
    /// The session; left out, the caller's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// What blocks, what was tried, what is needed.
    pub escalate: crate::sessions::EscalateFields,
    /// Idempotency key, 20 to 200 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_id: Option<String>,
}

/// Resolves an escalation.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ResolveRequest {
    /// How.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Idempotency key, 20 to 200 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_id: Option<String>,
}

/// An escalation.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct EscalationView {
    /// `esc_...`
    pub id: String,
    /// What set it off.
    pub trigger: String,
    /// The error.
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
    /// How often the error was seen.
    pub error_count: Option<u32>,
    /// When.
    pub created_at: Iso,
    /// Since then.
    pub age: String,
    /// When it was resolved.
    pub resolved_at: Option<Iso>,
    /// Who resolved it.
    pub resolved_by: Option<String>,
}

/// What to list.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EventQuery {
    /// The venture code; all when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub venture: Option<String>,
    /// 1 to 100, default 20.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
    /// From the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// Something that happened.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct EventView {
    /// `evt_...`
    pub id: String,
    /// What.
    pub kind: String,
    /// The agent.
    pub agent: String,
    /// The machine.
    pub machine: String,
    /// The venture code.
    pub venture: String,
    /// The repo.
    pub repo: Option<String>,
    /// The issue.
    pub issue: Option<u32>,
    /// The session.
    pub session_id: Option<String>,
    /// A link.
    pub url: Option<String>,
    /// In one line.
    pub text: String,
    /// When.
    pub at: Iso,
    /// Since then.
    pub age: String,
}

/// A record that changed, as the stream tells it: not what is in it now. An event named `lagged` comes without these fields:
/// changes may have been missed, and the lists should be read again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChangeView {
    /// Its kind, like `note`.
    pub kind: String,
    /// Its id.
    pub id: String,
    /// The venture code; null for what is global.
    pub venture: Option<String>,
}
