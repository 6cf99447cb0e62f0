//! Docs, doc requirements and the audit.

use ctxnode_model::record::{DocOrigin, ScopeType};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::edge::Iso;

/// Puts a doc. Equal content changes nothing but its freshness.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DocPut {
    /// The text, at most 1,048,576 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// The title; the first `# ` line, else the name, when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Where it came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_repo: Option<String>,
    /// The path there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_path: Option<String>,
    /// What a generated doc was made from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<String>,
    /// True stores it although it looks like it holds a secret.
    pub allow_secret_like: bool,
    /// Idempotency key, 20 to 200 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_id: Option<String>,
}

/// The answer to a put.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct DocPutReply {
    /// The scope.
    pub scope: String,
    /// The name.
    pub name: String,
    /// The version now.
    pub version: u32,
    /// SHA-256 of the content.
    pub content_hash: String,
    /// Its bytes.
    pub content_size_bytes: u64,
    /// Whether the doc is new.
    pub created: bool,
    /// Whether the content is new.
    pub changed: bool,
    /// The version before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_version: Option<u32>,
}

/// A doc without its text.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct DocView {
    /// `global` or a venture code.
    pub scope: String,
    /// The name.
    pub name: String,
    /// The title.
    pub title: String,
    /// `markdown` or `json`.
    pub doc_type: String,
    /// Who made the current content.
    pub origin: DocOrigin,
    /// How many contents it has had.
    pub version: u32,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of the content.
    pub content_hash: String,
    /// When the content last changed.
    pub updated_at: Iso,
    /// When it was last confirmed.
    pub refreshed_at: Iso,
    /// Since it was last confirmed.
    pub age: String,
    /// The actor of the current content.
    pub uploaded_by: String,
    /// Where it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_repo: Option<String>,
    /// The path there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_path: Option<String>,
    /// What a generated doc was made from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<String>,
}

/// A doc with a piece of its text.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct DocRead {
    /// The doc.
    #[serde(flatten)]
    pub doc: DocView,
    /// The version that was read.
    pub read_version: u32,
    /// The piece, or headings and first paragraph for a summary.
    pub content: String,
    /// Where the piece begins, in characters.
    pub offset: usize,
    /// Characters of the whole text.
    pub total_chars: usize,
    /// Where the next piece begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_offset: Option<usize>,
}

/// Which part of a doc to read.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DocReadQuery {
    /// Where to begin, in characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<i64>,
    /// The most characters, at most and by default 16,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_chars: Option<i64>,
    /// Only headings and the first paragraph.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary_only: Option<bool>,
    /// An earlier version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
}

/// What to list.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DocQuery {
    /// The venture code: its docs and the global ones. Only global ones when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub venture: Option<String>,
    /// 1 to 100, default 20.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
    /// From the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// A past content of a doc.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct DocHistoryRow {
    /// The version.
    pub version: u32,
    /// Who made it.
    pub origin: DocOrigin,
    /// SHA-256.
    pub content_hash: String,
    /// Bytes.
    pub size: u64,
    /// When.
    pub at: Iso,
    /// The actor.
    pub by: String,
}

/// Which ventures to audit.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AuditQuery {
    /// The venture code; all living ones when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub venture: Option<String>,
}

/// The audit of one venture.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct AuditReply {
    /// The venture code.
    pub venture: String,
    /// `incomplete`, `warning` or `complete`.
    pub status: String,
    /// What was asked for.
    pub rows: Vec<AuditRow>,
}

/// One requirement in an audit.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct AuditRow {
    /// The doc's name.
    pub name: String,
    /// `missing`, `stale` or `present`.
    pub state: String,
    /// Whether it is required or only recommended.
    pub required: bool,
    /// Since it was last confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age: Option<String>,
}

/// Makes or changes a requirement.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RequirementPut {
    /// A doc name that may hold `{venture}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name_pattern: Option<String>,
    /// `global`, `all_ventures` or `venture`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope_type: Option<ScopeType>,
    /// The venture code, exactly for scope type `venture`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope_venture: Option<String>,
    /// Whether its absence makes an audit incomplete; default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub required: Option<bool>,
    /// The capability that a venture must have to be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// Days until stale; default 90.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub staleness_days: Option<i64>,
    /// Whether ctxnode may generate it; default false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_generate: Option<bool>,
    /// Sources beyond the usual ones.
    pub generation_sources: Vec<String>,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Idempotency key, 20 to 200 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_id: Option<String>,
}

/// A requirement.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RequirementView {
    /// `req_...`
    pub id: String,
    /// A doc name that may hold `{venture}`.
    pub name_pattern: String,
    /// For whom.
    pub scope_type: ScopeType,
    /// The venture code.
    pub scope_venture: Option<String>,
    /// Whether its absence makes an audit incomplete.
    pub required: bool,
    /// The capability that a venture must have.
    pub condition: Option<String>,
    /// Days until stale.
    pub staleness_days: u32,
    /// Whether ctxnode may generate it.
    pub auto_generate: bool,
    /// Sources beyond the usual ones.
    pub generation_sources: Vec<String>,
    /// For people.
    pub description: Option<String>,
}
