//! What the MCP server needs of the daemon. It is a trait, because the daemon depends on this crate and the tests have
//! a backend of their own; it knows no store.

use std::future::Future;

use ctxnode_api::{Call, CorrelationId, ErrorBody};
use ctxnode_model::Kind;
use serde_json::Value;
use tokio::sync::broadcast;

/// One connection with its caller: every call passes the gate as that caller.
pub trait Backend: Clone + Send + Sync + 'static {
    /// Passes a call through the gate. Checking the input is the gate's work.
    fn call(&self, call: Call, meta: CallMeta) -> impl Future<Output = Result<Answered, ErrorBody>> + Send;

    /// Returns the changes of records from now on. A reader that lags behind misses some and reads the lists again.
    fn changes(&self) -> broadcast::Receiver<Changed>;

    /// Returns what every answer should say besides, one line each: a build that is not the installed one, and the fix.
    fn notices(&self) -> Vec<String>;
}

/// What a caller said about a call beside its arguments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallMeta {
    /// The correlation id that the caller wants; the gate makes one when it is missing or malformed.
    pub correlation_id: Option<String>,
    /// The idempotency key; beats `update_id` in the arguments.
    pub idempotency_key: Option<String>,
}

/// The answer of the gate.
#[derive(Clone, Debug)]
pub struct Answered {
    /// The reply of the operation.
    pub body: Value,
    /// The call.
    pub correlation_id: CorrelationId,
    /// Whether it was kept from an earlier call with the same key.
    pub idempotency_hit: bool,
}

/// A record that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Its kind.
    pub kind: Kind,
    /// Its textual id, for example `note_...`.
    pub id: String,
}
