//! Edits: what a caller wants changed in one record, in terms of the record's fields.
//!
//! The store turns edits into one Automerge change. How a field merges is decided by its [`crate::schema`], not here.

use serde::{Deserialize, Serialize};

/// A value that a register or a map entry can hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Scalar {
    /// A truth value.
    Bool(bool),
    /// A signed integer; times are milliseconds.
    Int(i64),
    /// Text. Structured values are stored as canonical JSON text.
    Str(String),
}

impl From<&str> for Scalar {
    fn from(value: &str) -> Self {
        Self::Str(value.to_owned())
    }
}

impl From<String> for Scalar {
    fn from(value: String) -> Self {
        Self::Str(value)
    }
}

impl From<i64> for Scalar {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<u32> for Scalar {
    fn from(value: u32) -> Self {
        Self::Int(i64::from(value))
    }
}

impl From<bool> for Scalar {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<crate::Timestamp> for Scalar {
    fn from(value: crate::Timestamp) -> Self {
        Self::Int(value.0)
    }
}

impl Scalar {
    /// Wraps a structured value as canonical JSON text.
    #[must_use]
    pub fn json(value: &serde_json::Value) -> Self {
        // Canonicalisation fails only for numbers that JSON cannot hold, and a `Value` cannot hold those.
        Self::Str(serde_json_canonicalizer::to_string(value).unwrap_or_else(|_| value.to_string()))
    }
}

/// One change to one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Writes a register.
    Set {
        /// The field's name in the schema.
        field: &'static str,
        /// The new value.
        value: Scalar,
    },
    /// Clears a register.
    Unset {
        /// The field's name in the schema.
        field: &'static str,
    },
    /// Adds a member to a set (with `true`) or writes an entry of a map.
    Insert {
        /// The field's name in the schema.
        field: &'static str,
        /// The member or key.
        key: String,
        /// The entry's value; `true` for sets.
        value: Scalar,
    },
    /// Removes a member of a set or an entry of a map; absent is fine.
    Remove {
        /// The field's name in the schema.
        field: &'static str,
        /// The member or key.
        key: String,
    },
    /// Replaces a merging text. The store edits the difference, so that concurrent edits elsewhere in it survive.
    Body {
        /// The field's name in the schema.
        field: &'static str,
        /// The whole new text.
        text: String,
        /// The revision that the caller read; the current one when absent.
        base: Option<String>,
    },
}

impl Edit {
    /// Writes a register.
    pub fn set(field: &'static str, value: impl Into<Scalar>) -> Self {
        Self::Set { field, value: value.into() }
    }

    /// Writes a register when there is a value, and nothing otherwise.
    pub fn set_some(field: &'static str, value: Option<impl Into<Scalar>>) -> Option<Self> {
        value.map(|value| Self::set(field, value))
    }

    /// Writes a register, or clears it for `None`.
    pub fn set_or_unset(field: &'static str, value: Option<impl Into<Scalar>>) -> Self {
        value.map_or(Self::Unset { field }, |value| Self::set(field, value))
    }

    /// Adds a member to a set.
    pub fn member(field: &'static str, member: impl Into<String>) -> Self {
        Self::Insert { field, key: member.into(), value: Scalar::Bool(true) }
    }

    /// Writes an entry of a map.
    pub fn entry(field: &'static str, key: impl Into<String>, value: impl Into<Scalar>) -> Self {
        Self::Insert { field, key: key.into(), value: value.into() }
    }

    /// Removes a member or an entry.
    pub fn remove(field: &'static str, key: impl Into<String>) -> Self {
        Self::Remove { field, key: key.into() }
    }
}
