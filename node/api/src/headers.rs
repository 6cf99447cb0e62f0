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
/// On the Unix socket: the agent CLI of the caller.
pub const CLI: &str = "x-ctxnode-cli";
/// On the Unix socket: the version of that CLI.
pub const CLI_VERSION: &str = "x-ctxnode-cli-version";
/// On the Unix socket: what tells apart agents of one CLI on one machine.
pub const INSTANCE: &str = "x-ctxnode-instance";
/// On the Unix socket: the machine part of the agent id.
pub const MACHINE: &str = "x-ctxnode-machine";
/// The id of the last event that a client saw, when it opens the stream again.
pub const LAST_EVENT_ID: &str = "last-event-id";
