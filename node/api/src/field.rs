//! Field mode: freshness traded for battery and data.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::edge::Iso;

/// Switches field mode on, or changes how it is.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FieldOn {
    /// How often to look for the other machines, like `15m`; only when asked (`ctxnode fleet sync`) when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<String>,
    /// How many bytes a day may be sent and received, like `20MB`; any number when left out. Days are those of UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<String>,
    /// False lets the machine sleep; it is kept awake when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_awake: Option<bool>,
    /// True lets the display sleep although the machine is kept awake.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_sleep: Option<bool>,
    /// For how long the machine is kept awake, like `2h`; until `field off` when left out.
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
    /// Idempotency key, 20 to 200 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_id: Option<String>,
}

/// Field mode, and what matters away from the desk.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct FieldView {
    /// Whether it is on.
    pub on: bool,
    /// Since when.
    pub since: Option<Iso>,
    /// How often the other machines are looked for, in seconds; null: only when asked.
    pub every_seconds: Option<u64>,
    /// When they were last looked for.
    pub last_sync: Option<Iso>,
    /// How many bytes a day may be used; null: any number.
    pub budget_bytes: Option<u64>,
    /// Bytes that were used today.
    pub used_bytes: u64,
    /// Whether the budget is used up: nothing is sent or received before `renews_at`.
    pub used_up: bool,
    /// Bytes among them that other machines made this one spend: their rounds, their knocking between its own rounds.
    #[serde(default)]
    pub others_used_bytes: u64,
    /// How many bytes a day they may make it spend; null: any number.
    #[serde(default)]
    pub others_budget_bytes: Option<u64>,
    /// Whether those are used up: nobody is answered between own rounds before `renews_at`, own rounds go on.
    #[serde(default)]
    pub others_used_up: bool,
    /// When the next day begins.
    pub renews_at: Option<Iso>,
    /// Entries that were written here and that no other machine is known to have; null on a single machine.
    pub unsent: Option<u64>,
    /// The process that keeps the machine awake.
    pub awake: Option<AwakeView>,
    /// Why the machine is not kept awake although it should be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub awake_problem: Option<String>,
    /// `hotspot`, `lan` or `offline`.
    pub network: String,
    /// The machine's name on the local network.
    pub local_name: String,
    /// `mains`, `battery` or `unknown`.
    pub power: String,
    /// The other machines that answer now.
    pub servers: Vec<String>,
    /// What to be careful about.
    pub cautions: Vec<String>,
    /// Where to work, and how to get there.
    pub advice: Vec<AdviceView>,
}

/// The process that keeps the machine awake.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct AwakeView {
    /// Its number.
    pub pid: u32,
    /// When it was started.
    pub started: Iso,
    /// What was started.
    pub command: String,
}

/// One piece of advice.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct AdviceView {
    /// When.
    pub scenario: String,
    /// Where to work.
    pub target: String,
    /// How to get there.
    pub method: String,
}
