//! Correlation ids: one per call, on the reply, on every record that the call made, in the log and in errors.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `corr_` and a UUID.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct CorrelationId(String);

impl CorrelationId {
    /// Makes one from random bytes.
    #[must_use]
    pub fn from_random(bytes: [u8; 16]) -> Self {
        Self(format!("corr_{}", uuid::Builder::from_random_bytes(bytes).into_uuid()))
    }

    /// Accepts a well-formed one from a client.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("corr_")?;
        let well_formed = rest.len() == 36 && uuid::Uuid::try_parse(rest).is_ok();
        well_formed.then(|| Self(text.to_owned()))
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for CorrelationId {
    fn default() -> Self {
        Self::from_random([0; 16])
    }
}

impl fmt::Display for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
