//! How an operation fails: as the caller's error, or as the store's.

use ctxnode_api::{ErrorBody, ErrorCode};
use ctxnode_model::Invalid;
use ctxnode_model::rules::canonical::CanonicalError;
use ctxnode_store::{StoreError, WriteError};

/// A failed operation.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The caller's error, as it will be answered.
    Refused(Box<ErrorBody>),
    /// The store's error.
    Store(StoreError),
}

impl Failure {
    /// Makes a refusal.
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        ErrorBody::new(code, message).into()
    }

    /// Says that a record does not exist.
    pub(crate) fn not_found(what: &str, id: &str) -> Self {
        Self::new(ErrorCode::NotFound, format!("{what} `{id}` does not exist"))
    }

    /// Returns the answer for the caller. What went wrong inside is in the log, not in the message.
    pub(crate) fn into_body(self) -> ErrorBody {
        match self {
            Self::Refused(body) => *body,
            Self::Store(StoreError::Forbidden { what }) => ErrorBody::new(
                ErrorCode::Forbidden,
                format!("this node's role in the fleet does not allow writing {what}"),
            ),
            Self::Store(StoreError::TooLarge { size, limit }) => {
                ErrorBody::new(ErrorCode::TooLarge, format!("the change takes {size} bytes, the limit is {limit}"))
            }
            Self::Store(error) if error.is_disk_full() => {
                ErrorBody::new(ErrorCode::StorageFailed, "the disk is full; nothing was written")
                    .hint("free space, then repeat the call with the same idempotency key")
            }
            Self::Store(error @ (StoreError::Io(_) | StoreError::Group(_))) => {
                tracing::error!(?error, "the storage failed");
                ErrorBody::new(ErrorCode::StorageFailed, format!("the store cannot be used now: {error}"))
                    .hint("run `ctxnode doctor`")
            }
            Self::Store(StoreError::Closed) => ErrorBody::new(ErrorCode::Starting, "the daemon is stopping"),
            Self::Store(error) => {
                tracing::error!(?error, "the store failed");
                ErrorBody::new(ErrorCode::Internal, format!("the store failed: {error}")).hint("run `ctxnode check`")
            }
        }
    }
}

impl From<ErrorBody> for Failure {
    fn from(body: ErrorBody) -> Self {
        Self::Refused(Box::new(body))
    }
}

impl From<Invalid> for Failure {
    fn from(invalid: Invalid) -> Self {
        ErrorBody::from(invalid).into()
    }
}

impl From<CanonicalError> for Failure {
    fn from(error: CanonicalError) -> Self {
        ErrorBody::field("body", error.to_string()).into()
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<WriteError<Failure>> for Failure {
    fn from(error: WriteError<Failure>) -> Self {
        match error {
            WriteError::Refused(failure) => failure,
            WriteError::Store(error) => Self::Store(error),
        }
    }
}
