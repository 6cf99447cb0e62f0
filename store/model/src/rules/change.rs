//! A change to one optional field of a request: absent keeps, null clears, a value sets.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a request does to a field. Use with `#[serde(default, skip_serializing_if = "Change::is_keep")]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Change<T> {
    /// The field was absent: it stays.
    #[default]
    Keep,
    /// The field was null: it is cleared.
    Clear,
    /// The field had a value.
    Set(T),
}

impl<T> Change<T> {
    /// Whether nothing changes.
    #[must_use]
    pub fn is_keep(&self) -> bool {
        matches!(self, Self::Keep)
    }

    /// Returns the new value, if there is one.
    #[must_use]
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Set(value) => Some(value),
            Self::Keep | Self::Clear => None,
        }
    }

    /// Returns the field after the change.
    #[must_use]
    pub fn apply(self, current: Option<T>) -> Option<T> {
        match self {
            Self::Keep => current,
            Self::Clear => None,
            Self::Set(value) => Some(value),
        }
    }
}

impl<T: Serialize> Serialize for Change<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value().serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Change<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.map_or(Self::Clear, Self::Set))
    }
}

impl<T: JsonSchema> JsonSchema for Change<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Change_of_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<Option<T>>()
    }

    fn _schemars_private_is_option() -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Request {
        #[serde(default, skip_serializing_if = "Change::is_keep")]
        issue: Change<u32>,
    }

    #[test]
    fn absent_null_and_value_are_three_things_and_round_trip() {
        for (text, change) in
            [("{}", Change::Keep), (r#"{"issue":null}"#, Change::Clear), (r#"{"issue":0}"#, Change::Set(0))]
        {
            let request: Request = serde_json::from_str(text).unwrap();
            assert_eq!(request.issue, change);
            assert_eq!(serde_json::to_string(&request).unwrap(), text);
        }
        assert_eq!(Change::Keep.apply(Some(1)), Some(1));
        assert_eq!(Change::Clear.apply(Some(1)), None);
        assert_eq!(Change::Set(0).apply(None), Some(0));
    }

    #[test]
    fn the_schema_allows_null_and_absence() {
        let schema = schemars::schema_for!(Request);
        assert_eq!(schema.pointer("/properties/issue/type"), Some(&serde_json::json!(["integer", "null"])));
        assert_eq!(schema.pointer("/required"), None);
    }
}
