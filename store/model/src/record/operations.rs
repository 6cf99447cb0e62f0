//! Ventures, the weekly plan, machines and events: what the team runs.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{SpaceId, Timestamp};

/// A project.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Venture {
    /// Never reused.
    pub code: String,
    /// For people.
    pub name: String,
    /// The GitHub organisation.
    pub org: Option<String>,
    /// `owner/name`.
    pub repos: BTreeSet<String>,
    /// `has_api`, `has_database`, and others that are kept and ignored.
    pub capabilities: BTreeSet<String>,
    /// Where its secrets come from; never a secret itself.
    pub secrets: Option<VentureSecrets>,
    /// How ctxnode behaves for it.
    pub settings: Option<VentureSettings>,
    /// Hidden from lists and start; its data stays readable.
    pub archived: bool,
    /// When it was added.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Who made it.
    pub actor_key_id: String,
    /// The call that made it.
    pub creation_correlation_id: String,
    /// Free values, among them unknown keys of an import.
    pub meta: BTreeMap<String, Value>,
}

/// Where a venture's secrets come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct VentureSecrets {
    /// `infisical`, `command` or `env`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The path at the provider; `/<code>` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// `prod` or `dev`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
    /// Names that must be there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub required: Vec<String>,
}

/// How ctxnode behaves for a venture. Absent means the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct VentureSettings {
    /// Whether handoffs are rendered into `docs/handoffs/DEV.md` and committed; default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub git_view: Option<bool>,
    /// `always` gives each session its own worktree.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worktrees: Option<String>,
    /// `deny` turns a claim warning before an edit into a denial.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claims: Option<String>,
    /// Paths whose docs go to the global scope.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub global_docs: Vec<String>,
    /// The command that verifies the repo.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verify_command: Option<String>,
    /// How new issues are graded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classifier: Option<ClassifierSettings>,
}

/// How new issues are graded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ClassifierSettings {
    /// By what way.
    pub mode: ClassifierMode,
    /// The one machine that does it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
}

/// By what way issues reach the classifier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClassifierMode {
    /// Not at all.
    #[default]
    Off,
    /// Every five minutes.
    Poll,
    /// By webhook.
    Webhook,
}

/// The weekly plan: the state with the greatest key is the present one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Plan {
    /// States by the sort key of their place in the causal order. The view keeps the last ten.
    pub states: BTreeMap<String, PlanState>,
}

impl Plan {
    /// Returns the present state.
    #[must_use]
    pub fn current(&self) -> Option<&PlanState> {
        self.states.values().next_back()
    }
}

/// One state of the plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PlanState {
    /// The venture that comes first this week; empty where it is said by its space.
    pub priority_venture: String,
    /// The space of that venture: the plan is everybody's, and not everybody may learn what the venture is called. Absent in what
    /// earlier builds wrote.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority_space: Option<SpaceId>,
    /// What comes second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secondary_focus: Option<String>,
    /// Issues to reach.
    pub target_issues: Vec<String>,
    /// How much time there is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity_notes: Option<String>,
    /// When the first state was written.
    pub created_at: Timestamp,
    /// When this state was written or confirmed.
    pub updated_at: Timestamp,
    /// Who wrote it.
    pub updated_by: String,
}

/// A host of the fleet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Machine {
    /// As the operating system says it.
    pub hostname: String,
    /// `linux` or `macos`.
    pub os: String,
    /// `x86_64` or `aarch64`.
    pub arch: String,
    /// The login user.
    pub user: String,
    /// Tailscale first.
    pub addresses: Vec<String>,
    /// One line each.
    pub ssh_public_keys: Vec<String>,
    /// The key of its daemon; absent for a machine without one.
    pub node_key: Option<String>,
    /// What it is for.
    pub role: String,
    /// The version of its daemon.
    pub version: Option<String>,
    /// The commit of its daemon.
    pub commit: Option<String>,
    /// Where its binary is.
    pub ctxnode_path: Option<String>,
    /// Active or retired.
    pub status: MachineStatus,
    /// When it was first registered.
    pub registered_at: Timestamp,
    /// Who made it.
    pub actor_key_id: String,
    /// The call that made it.
    pub creation_correlation_id: String,
    /// Free values.
    pub meta: BTreeMap<String, Value>,
}

/// Whether a machine is in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MachineStatus {
    /// In use.
    #[default]
    Active,
    /// Out of lists, mesh and health.
    Retired,
}

/// Something that happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Event {
    /// `blocked`, `task_done`, `claim_conflict`, `session_abandoned`, `pr_opened`, `grade_overridden`.
    pub event_kind: String,
    /// The session.
    pub session_id: Option<String>,
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
    /// A link.
    pub url: Option<String>,
    /// At most 200 characters.
    pub text: String,
    /// When.
    pub at: Timestamp,
    /// Who made it.
    pub actor_key_id: String,
}
