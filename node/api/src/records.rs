//! What every kind of record has: conflicts of fields that were written apart, and a past.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::edge::Iso;

/// A field that was written on several machines while they were apart, and not since.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ConflictView {
    /// The field, or `field.key` for an entry of a map.
    pub field: String,
    /// All values: the newest, which is shown, and then the others.
    pub values: Vec<ValueView>,
}

/// One of several concurrent values.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ValueView {
    /// Its number, from 1: to choose it by.
    pub pick: usize,
    /// Whether it is the one that is shown.
    pub shown: bool,
    /// The value.
    pub value: Value,
    /// The key of the node that wrote it.
    pub node: String,
    /// What that node is called.
    pub machine: String,
    /// For which agent or person; null when ctxnode wrote it by itself.
    pub agent: Option<String>,
    /// When, by that node's clock.
    pub at: Iso,
    /// Since then.
    pub age: String,
}

/// Ends a conflict: by the number of one of its values, or, for a note, by a new value.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ConflictResolve {
    /// The field that is in conflict.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The number of the value that holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pick: Option<i64>,
    /// The value that holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// True only when a human asked for it in this conversation; needed for notes.
    pub human_requested: bool,
    /// Idempotency key, 20 to 200 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_id: Option<String>,
}

/// How a conflict ended.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ConflictResolved {
    /// The record.
    pub id: String,
    /// The field.
    pub field: String,
    /// Its value now.
    pub value: Value,
    /// What else is in conflict.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<ConflictView>,
}

/// Which part of a record's past to list.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HistoryQuery {
    /// 1 to 100, default 20.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
    /// From the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// What happened to a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HappenedView {
    /// Fields or body changed.
    Changed,
    /// It was deleted.
    Deleted,
    /// It was brought back.
    Restored,
}

/// One step in the life of a record.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct HistoryRow {
    /// The revision; a note is read at it with `rev`. Empty for a deletion.
    pub rev: String,
    /// What happened.
    pub happened: HappenedView,
    /// The key of the node that wrote it.
    pub node: String,
    /// What that node is called.
    pub machine: String,
    /// For which agent or person; null when ctxnode wrote it by itself.
    pub agent: Option<String>,
    /// When, by that node's clock.
    pub at: Iso,
    /// Since then.
    pub age: String,
    /// The fields that it changed.
    pub changed: Vec<FieldChangeView>,
    /// How the body changed, as a unified difference of at most 16 KiB.
    pub diff: Option<String>,
    /// Bytes of the body afterwards.
    pub size: usize,
}

/// A field before and after.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct FieldChangeView {
    /// The field, or `field.key` for an entry of a map.
    pub field: String,
    /// Null when it was absent.
    pub before: Value,
    /// Null when it is absent.
    pub after: Value,
}
