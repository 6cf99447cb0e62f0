//! Notes, docs and doc requirements: what the team knows.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Timestamp;

/// A piece of knowledge that a human asked to keep. Its content is the record's body.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Note {
    /// At most 200 characters.
    pub title: Option<String>,
    /// At most 20.
    pub tags: BTreeSet<String>,
    /// The venture code; absent when global.
    pub venture: Option<String>,
    /// Hidden from default lists, start output and search.
    pub archived: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Who made it.
    pub actor_key_id: String,
    /// The call that made it.
    pub creation_correlation_id: String,
    /// Who changed it last.
    pub updated_by: Option<String>,
    /// Free values; `source` names the imported file.
    pub meta: BTreeMap<String, Value>,
}

/// An operational document of one origin. Its current content is the record's body.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Doc {
    /// `global` or a venture code.
    pub scope: String,
    /// For example `api.md`.
    pub name: String,
    /// When it was first put.
    pub created_at: Timestamp,
    /// When its content was last confirmed, changed or not.
    pub refreshed_at: Timestamp,
    /// Who made it.
    pub actor_key_id: String,
    /// The call that made it.
    pub creation_correlation_id: String,
    /// Every put of other content, by the sort key of its place in the causal order.
    pub revisions: BTreeMap<String, DocRevision>,
}

/// One revision of a doc.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DocRevision {
    /// SHA-256 of the content.
    pub hash: String,
    /// Bytes.
    pub size: u64,
    /// When.
    pub at: Timestamp,
    /// The actor.
    pub by: String,
    /// As given, else the first `# ` line, else the name.
    pub title: String,
    /// Where it came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_repo: Option<String>,
    /// The path there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_path: Option<String>,
    /// What a generated revision was made from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<String>,
}

/// Who made a doc.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DocOrigin {
    /// A person.
    Uploaded,
    /// ctxnode, from sources.
    Generated,
}

/// A rule about which docs ventures must have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Requirement {
    /// A doc name that may hold `{venture}`.
    pub name_pattern: String,
    /// For whom.
    pub scope_type: ScopeType,
    /// The venture code, exactly for scope type `venture`.
    pub scope_venture: Option<String>,
    /// Whether its absence makes an audit incomplete.
    pub required: bool,
    /// The capability that a venture must have to be asked.
    pub condition: Option<String>,
    /// Days until a doc counts as stale.
    pub staleness_days: u32,
    /// Whether ctxnode may generate it.
    pub auto_generate: bool,
    /// Sources beyond the usual ones.
    pub generation_sources: Vec<String>,
    /// For people.
    pub description: Option<String>,
    /// Who wrote it last.
    pub actor_key_id: String,
    /// When.
    pub updated_at: Timestamp,
}

/// For whom a requirement holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScopeType {
    /// One doc in the global scope.
    Global,
    /// One doc for each venture.
    #[default]
    AllVentures,
    /// One doc for one venture.
    Venture,
}
