//! Errors as callers get them: a stable code, the true cause, every bad field, and what to do.

use ctxnode_model::{FieldError, Invalid};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::CorrelationId;

/// How many bad fields are named; beyond that they are counted.
pub const NAMED_FIELDS: usize = 20;

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal $status:literal),* $(,)?) => {
        /// What kind of error it is. Codes are stable; messages are for people.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum ErrorCode { $($(#[$doc])* #[serde(rename = $name)] $variant),* }

        impl ErrorCode {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Returns the code's text.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// Returns the HTTP status.
            #[must_use]
            pub fn status(self) -> u16 {
                match self { $(Self::$variant => $status),* }
            }
        }
    };
}

codes! {
    /// One or more fields are bad.
    ValidationFailed = "validation_failed" 400,
    /// The body is not JSON.
    BadJson = "bad_json" 400,
    /// The cursor is not one that a list gave out.
    InvalidCursor = "invalid_cursor" 400,
    /// The idempotency key has the wrong form.
    InvalidIdempotencyKey = "invalid_idempotency_key" 400,
    /// No token, or one that is unknown, revoked or expired.
    Unauthorized = "unauthorized" 401,
    /// The right is missing; the message names it.
    Forbidden = "forbidden" 403,
    /// No such record.
    NotFound = "not_found" 404,
    /// No such route.
    UnknownRoute = "unknown_route" 404,
    /// No such venture.
    UnknownVenture = "unknown_venture" 404,
    /// The session is over.
    SessionNotActive = "session_not_active" 409,
    /// The call came from another repo than the session's.
    WrongRepo = "wrong_repo" 409,
    /// Somebody else holds it.
    ClaimHeld = "claim_held" 409,
    /// A generated doc may not replace an uploaded one.
    UploadedDocExists = "uploaded_doc_exists" 409,
    /// The first answer was too large to keep; it is not run again.
    IdempotencyResultNotKept = "idempotency_result_not_kept" 409,
    /// A call with this key is still running.
    IdempotencyInProgress = "idempotency_in_progress" 409,
    /// The issue has no QA grade yet.
    NoGrade = "no_grade" 409,
    /// An older state would overwrite a newer one.
    Stale = "stale" 409,
    /// The body or a field is too large.
    TooLarge = "too_large" 413,
    /// The key was used with another body.
    IdempotencyMismatch = "idempotency_mismatch" 422,
    /// The text looks like it holds a secret.
    SecretSuspected = "secret_suspected" 422,
    /// A human must ask for it first.
    HumanRequestRequired = "human_request_required" 422,
    /// A human said no.
    Declined = "declined" 422,
    /// Too many calls in this minute.
    RateLimited = "rate_limited" 429,
    /// A fault of ctxnode.
    Internal = "internal" 500,
    /// The disk refused.
    StorageFailed = "storage_failed" 503,
    /// The daemon is starting or stopping.
    Starting = "starting" 503,
    /// Another daemon holds the store.
    StoreLocked = "store_locked" 503,
}

/// An error as every route, tool and command returns it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorBody {
    /// The stable code.
    pub code: ErrorCode,
    /// What happened, for people.
    pub message: String,
    /// Every bad field, the first 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<FieldError>,
    /// How many bad fields there are, when more than are named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details_total: Option<usize>,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// For `rate_limited`: when to come back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u64>,
    /// The call.
    #[serde(default)]
    pub correlation_id: CorrelationId,
}

impl ErrorBody {
    /// Makes an error.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            details: Vec::new(),
            details_total: None,
            hint: None,
            retry_after_seconds: None,
            correlation_id: CorrelationId::default(),
        }
    }

    /// Adds what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds bad fields.
    #[must_use]
    pub fn details(mut self, fields: Vec<FieldError>) -> Self {
        let total = fields.len();
        self.details = fields;
        if total > NAMED_FIELDS {
            self.details.truncate(NAMED_FIELDS);
            self.details_total = Some(total);
        }
        self
    }

    /// Makes the error for one bad field.
    #[must_use]
    pub fn field(field: &str, message: impl Into<String>) -> Self {
        let mut invalid = Invalid::new();
        invalid.add(field, message);
        invalid.into()
    }
}

impl From<Invalid> for ErrorBody {
    fn from(invalid: Invalid) -> Self {
        let message = format!("the request is not valid: {invalid}");
        let message = ctxnode_model::rules::text::ellipsis(&message, 500);
        Self::new(ErrorCode::ValidationFailed, message).details(invalid.fields)
    }
}

impl std::fmt::Display for ErrorBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code.name(), self.message)
    }
}

impl std::error::Error for ErrorBody {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_code_has_its_status() {
        let documented = [
            (400, "validation_failed bad_json invalid_cursor invalid_idempotency_key"),
            (401, "unauthorized"),
            (403, "forbidden"),
            (404, "not_found unknown_route unknown_venture"),
            (409, "session_not_active wrong_repo claim_held uploaded_doc_exists idempotency_result_not_kept"),
            (409, "idempotency_in_progress no_grade"),
            (413, "too_large"),
            (422, "idempotency_mismatch secret_suspected human_request_required declined"),
            (429, "rate_limited"),
            (500, "internal"),
            (503, "starting store_locked"),
        ];
        for (status, names) in documented {
            for name in names.split(' ') {
                let code: ErrorCode = serde_json::from_value(name.into()).unwrap();
                assert_eq!((code.name(), code.status()), (name, status));
            }
        }
    }

    #[test]
    fn twenty_bad_fields_are_named_and_the_rest_counted() {
        let bad = |count: usize| {
            let mut invalid = Invalid::new();
            (0..count).for_each(|at| invalid.add(format!("field{at}"), "bad"));
            ErrorBody::from(invalid)
        };
        assert_eq!((bad(20).details.len(), bad(20).details_total), (20, None));
        assert_eq!((bad(21).details.len(), bad(21).details_total), (20, Some(21)));
    }
}
