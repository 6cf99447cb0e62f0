//! The names of headers.

/// The correlation id, in both directions.
pub const CORRELATION_ID: &str = "x-correlation-id";
/// The idempotency key; beats `update_id` in the body.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// `true` on a replayed answer.
pub const IDEMPOTENCY_HIT: &str = "x-idempotency-hit";
/// `true` when the first answer was too large to keep.
pub const IDEMPOTENCY_TRUNCATED: &str = "x-idempotency-truncated";
/// Calls per minute.
pub const RATE_LIMIT: &str = "x-ratelimit-limit";
/// Calls left in this minute.
pub const RATE_REMAINING: &str = "x-ratelimit-remaining";
/// When the next minute begins, ISO 8601.
pub const RATE_RESET: &str = "x-ratelimit-reset";
/// The daemon's build, `version+commit`.
pub const BUILD: &str = "x-ctxnode-build";
/// On the Unix socket: the agent id of the caller; people are `user-<name>`.
pub const AGENT: &str = "x-ctxnode-agent";
/// On the Unix socket: the caller's working directory.
pub const DIRECTORY: &str = "x-ctxnode-directory";
/// On the Unix socket: `person` when a human types on a terminal.
pub const CALLER: &str = "x-ctxnode-caller";
