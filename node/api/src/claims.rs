//! Claims.

use ctxnode_model::record::ClaimKind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::edge::Iso;

/// Takes a claim for the caller's session.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClaimTake {
    /// `issue`, `branch` or `path`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<ClaimKind>,
    /// An issue number, a branch name, or a path glob relative to the repo root (`*`, `**`, `?`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Hours until it lapses, default 24, at most 168.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_hours: Option<f64>,
    /// True takes it although somebody else holds it; both are told.
    pub force: bool,
    /// The session; left out, the caller's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// Idempotency key, 20 to 200 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_id: Option<String>,
}

/// Gives a claim back, by id in the path or by kind and key.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClaimRelease {
    /// The claim.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// `issue`, `branch` or `path`, with `key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<ClaimKind>,
    /// The key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The session; left out, the caller's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// Idempotency key, 20 to 200 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_id: Option<String>,
}

/// What to list.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClaimQuery {
    /// The venture code; all when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub venture: Option<String>,
}

/// A claim.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ClaimView {
    /// `clm_...`; absent for what a session's own issue or branch implies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What is held.
    pub kind: ClaimKind,
    /// The key.
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// When it was taken.
    pub taken_at: Iso,
    /// When it lapses.
    pub expires_at: Iso,
    /// Since it was taken.
    pub age: String,
    /// Whether the holder can be reached; a held claim of one that cannot stays until it lapses.
    pub last_seen: bool,
    /// The claim that wins against this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beaten_by: Option<String>,
}

/// The answer to taking a claim.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ClaimReply {
    /// The claim.
    pub claim: ClaimView,
    /// Whether it was held before and only lasts longer now.
    pub extended: bool,
    /// Claims of others that it clashes with; the first in the causal order wins.
    pub conflicts: Vec<ClaimView>,
}

/// The answer to giving a claim back.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ReleaseReply {
    /// The claim.
    pub id: String,
    /// Whether this call released it; false when it was released before.
    pub released: bool,
}
