//! The one shape of a refusal: every bad field, each with what is wrong and what would be right.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One bad field of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct FieldError {
    /// The field as the caller wrote it, with a path for nested ones: `next_steps[3]`.
    pub field: String,
    /// What is wrong and what is allowed. Never contains the value of a suspected secret.
    pub message: String,
}

/// All that is wrong with a request; never empty when returned as an error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Invalid {
    /// The bad fields, in the order in which they were found.
    pub fields: Vec<FieldError>,
}

impl Invalid {
    /// Starts an empty collection.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes one bad field.
    pub fn add(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.fields.push(FieldError { field: field.into(), message: message.into() });
    }

    /// Notes a bad field unless `good`.
    pub fn require(&mut self, good: bool, field: &str, message: impl Into<String>) {
        if !good {
            self.add(field, message);
        }
    }

    /// Returns the collection as an error when anything was noted.
    ///
    /// # Errors
    /// The collection itself, when it is not empty.
    pub fn finish(self) -> Result<(), Self> {
        if self.fields.is_empty() { Ok(()) } else { Err(self) }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, field) in self.fields.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{}: {}", field.field, field.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for Invalid {}
