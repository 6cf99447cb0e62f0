//! Notes and search.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::edge::{Iso, Patch};
use crate::records::ConflictView;

/// Makes a note. Only when a human asked for it in this conversation.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NoteCreate {
    /// The text, at most 512,000 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// At most 200 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// At most 20 of 1 to 50 characters. Recommended: executive-summary, prd, design, strategy, methodology, market-research, bio, marketing, governance.
    pub tags: Vec<String>,
    /// The venture code; global when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub venture: Option<String>,
    /// True only when a human asked for this note in this conversation. Agents must send it.
    pub human_requested: bool,
    /// True stores it although it looks like it holds a secret; the override is logged.
    pub allow_secret_like: bool,
    /// Free values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub meta: BTreeMap<String, Value>,
    /// Idempotency key, 20 to 200 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_id: Option<String>,
}

/// Changes a note. Absent fields stay; null clears title, tags and venture.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NoteUpdate {
    /// The whole new text.
    #[serde(skip_serializing_if = "Patch::is_keep")]
    pub content: Patch<String>,
    /// The title.
    #[serde(skip_serializing_if = "Patch::is_keep")]
    pub title: Patch<String>,
    /// All tags.
    #[serde(skip_serializing_if = "Patch::is_keep")]
    pub tags: Patch<Vec<String>>,
    /// The venture code.
    #[serde(skip_serializing_if = "Patch::is_keep")]
    pub venture: Patch<String>,
    /// The `rev` of the read that the new text is based on; edits made by others since then are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rev: Option<String>,
    /// True only when a human asked for it in this conversation.
    pub human_requested: bool,
    /// True stores it although it looks like it holds a secret.
    pub allow_secret_like: bool,
    /// Merged at its top level; null removes a key.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub meta: BTreeMap<String, Value>,
    /// Idempotency key, 20 to 200 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_id: Option<String>,
}

/// Archives or restores a note.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NoteAction {
    /// True only when a human asked for it in this conversation.
    pub human_requested: bool,
    /// Idempotency key, 20 to 200 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_id: Option<String>,
}

/// Deletes something; only an admin may.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DeleteRequest {
    /// Idempotency key, 20 to 200 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_id: Option<String>,
}

/// Brings back the text of an earlier revision.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NoteRevert {
    /// The revision, from the note's history.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rev: Option<String>,
    /// True only when a human asked for it in this conversation.
    pub human_requested: bool,
    /// Idempotency key, 20 to 200 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_id: Option<String>,
}

/// A note without its body.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct NoteView {
    /// `note_...`
    pub id: String,
    /// The title.
    pub title: Option<String>,
    /// The tags.
    pub tags: BTreeSet<String>,
    /// The venture code; null when global.
    pub venture: Option<String>,
    /// Whether it is archived.
    pub archived: bool,
    /// Bytes of the body.
    pub size: usize,
    /// When it was made.
    pub created_at: Iso,
    /// When it was last changed.
    pub updated_at: Iso,
    /// Since then.
    pub age: String,
    /// Who changed it last.
    pub updated_by: Option<String>,
    /// The revision; pass it with an update that is based on this read.
    pub rev: String,
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

/// A note with a piece of its body.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct NoteRead {
    /// The note.
    #[serde(flatten)]
    pub note: NoteView,
    /// The piece.
    pub content: String,
    /// Where the piece begins, in characters.
    pub offset: usize,
    /// Characters of the whole body.
    pub total_chars: usize,
    /// Where the next piece begins; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_offset: Option<usize>,
}

/// Which piece of a body to read.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PieceQuery {
    /// Where to begin, in characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<i64>,
    /// The most characters, at most and by default 16,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_chars: Option<i64>,
    /// An earlier revision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rev: Option<String>,
}

/// A note in a list.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct NoteRow {
    /// `note_...`
    pub id: String,
    /// The title.
    pub title: Option<String>,
    /// The tags.
    pub tags: BTreeSet<String>,
    /// The venture code; null when global.
    pub venture: Option<String>,
    /// Whether it is archived.
    pub archived: bool,
    /// Bytes of the body.
    pub size: usize,
    /// Since its last change.
    pub age: String,
    /// When it was last changed.
    pub updated_at: Iso,
    /// The first 120 characters.
    pub excerpt: String,
    /// The file that it was imported from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// SHA-256 of that file when it was imported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_hash: Option<String>,
}

/// What to list; filters combine with AND.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NoteQuery {
    /// The venture code, exactly.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub venture: Option<String>,
    /// With `venture`: also global notes. Without: only global ones when true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub include_global: Option<bool>,
    /// Tags, matched whole.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// `any` (default) or `all`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag_mode: Option<TagMode>,
    /// A literal part of title or body, without case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub q: Option<String>,
    /// Created at or after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_since: Option<Iso>,
    /// Created before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_until: Option<Iso>,
    /// Also archived ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub include_archived: Option<bool>,
    /// 1 to 100, default 20.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
    /// From the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// Whether one tag is enough.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TagMode {
    /// One is enough.
    #[default]
    Any,
    /// All must be there.
    All,
}

/// A tag with its use.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TagRow {
    /// The tag.
    pub tag: String,
    /// Whether it is one of the recommended.
    pub recommended: bool,
    /// Living notes that have it.
    pub notes: u64,
}

/// A note at the start of a session.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct InjectedNote {
    /// `note_...`
    pub id: String,
    /// The title.
    pub title: String,
    /// Since its last change.
    pub age: String,
    /// Whether it was not changed for 90 days.
    pub old: bool,
    /// The text, or its beginning.
    pub content: String,
    /// Characters of the whole text.
    pub total_chars: usize,
    /// The fields that are in conflict.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<String>,
}

impl InjectedNote {
    /// Whether only the beginning is here.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        ctxnode_model::rules::text::chars(&self.content) < self.total_chars
    }
}

/// Searches notes, docs and handoffs.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SearchQuery {
    /// 1 to 500 characters: words (all must match), `"a phrase"`, `word*` for a prefix, `word~` for a near spelling. Everything else is literal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub q: Option<String>,
    /// `note`, `doc`, `handoff`; all when empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<SearchKind>,
    /// The venture code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub venture: Option<String>,
    /// With `venture`: also global ones; default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub include_global: Option<bool>,
    /// The repo, for handoffs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    /// Any of these tags.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The status of handoffs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Changed at or after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Iso>,
    /// Changed before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Iso>,
    /// Also archived notes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub include_archived: Option<bool>,
    /// 1 to 100, default 20.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
    /// From the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// What can be searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SearchKind {
    /// Notes.
    Note,
    /// Docs.
    Doc,
    /// Handoffs.
    Handoff,
}

/// A search result.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SearchHit {
    /// What it is.
    pub kind: SearchKind,
    /// `note_...`, `ho_...`, or `scope/name` of a doc: read it with the tool of its kind.
    pub id: String,
    /// The title.
    pub title: String,
    /// At most 200 characters around the match.
    pub snippet: String,
    /// Where the matches are in the snippet: begin and end in characters.
    pub highlights: Vec<(usize, usize)>,
    /// The venture code; null when global.
    pub venture: Option<String>,
    /// Since its last change.
    pub age: String,
    /// How well it matches.
    pub score: f32,
    /// Whether it is a handoff that a later one superseded.
    pub superseded: bool,
}

/// The answer to a search.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SearchReply {
    /// The rows, best first.
    pub items: Vec<SearchHit>,
    /// How many are here.
    pub shown: usize,
    /// How many there are.
    pub total: u64,
    /// Whether there are more.
    pub has_more: bool,
    /// For the next page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
    /// While the index is being rebuilt: how far it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incomplete: Option<String>,
}
