//! Shapes that many answers share: ISO times, lists with totals, fields that tell absent from null.

use std::borrow::Cow;

use ctxnode_model::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A time as ISO 8601 with `Z`. Inside, times are integers; this is the edge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Iso(pub Timestamp);

impl Serialize for Iso {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.iso())
    }
}

impl<'de> Deserialize<'de> for Iso {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time = Timestamp::parse_iso(&text);
        time.map(Self).ok_or_else(|| serde::de::Error::custom("expected an ISO 8601 time such as 2026-11-23T12:00:00Z"))
    }
}

impl JsonSchema for Iso {
    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

/// A field of an update: absent leaves the value, null clears it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Patch<T> {
    /// The field was not sent.
    #[default]
    Keep,
    /// The field was null.
    Clear,
    /// The field had a value.
    Set(T),
}

impl<T> Patch<T> {
    /// Whether the field was not sent; for `skip_serializing_if`.
    pub fn is_keep(&self) -> bool {
        matches!(self, Self::Keep)
    }

    /// Returns the same as the model's word for it.
    pub fn into_change(self) -> ctxnode_model::rules::change::Change<T> {
        use ctxnode_model::rules::change::Change;
        match self {
            Self::Keep => Change::Keep,
            Self::Clear => Change::Clear,
            Self::Set(value) => Change::Set(value),
        }
    }
}

impl<T: Serialize> Serialize for Patch<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Set(value) => value.serialize(serializer),
            Self::Keep | Self::Clear => serializer.serialize_none(),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Patch<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::<T>::deserialize(deserializer)?.map_or(Self::Clear, Self::Set))
    }
}

impl<T: JsonSchema> JsonSchema for Patch<T> {
    fn schema_name() -> Cow<'static, str> {
        Option::<T>::schema_name()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Option::<T>::json_schema(generator)
    }
}

/// One page of a list. A page length is never shown as a total.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct List<T> {
    /// The rows.
    pub items: Vec<T>,
    /// How many are here.
    pub shown: usize,
    /// How many there are.
    pub total: u64,
    /// Whether there are more.
    pub has_more: bool,
    /// What to pass as `cursor` for the next page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

impl<T> List<T> {
    /// Makes a list from a page of the model.
    #[must_use]
    pub fn of(page: ctxnode_model::page::Page<T>) -> Self {
        let next_cursor = page.next.map(|cursor| cursor.encode());
        Self {
            shown: page.items.len(),
            items: page.items,
            total: page.total,
            has_more: next_cursor.is_some(),
            next_cursor,
        }
    }

    /// Makes a list that holds everything.
    #[must_use]
    pub fn all(items: Vec<T>) -> Self {
        let shown = items.len();
        Self { items, shown, total: shown as u64, has_more: false, next_cursor: None }
    }
}

/// The first rows of something longer, inside a larger answer.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Section<T> {
    /// The rows.
    pub items: Vec<T>,
    /// How many are here.
    pub shown: usize,
    /// How many there are.
    pub total: u64,
}

impl<T> Default for Section<T> {
    fn default() -> Self {
        Self { items: Vec::new(), shown: 0, total: 0 }
    }
}

impl<T> Section<T> {
    /// Makes a section of rows out of `total`.
    #[must_use]
    pub fn of(items: Vec<T>, total: u64) -> Self {
        Self { shown: items.len(), items, total }
    }
}
