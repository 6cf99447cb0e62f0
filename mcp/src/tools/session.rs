//! The tools around a session: start, end, change, where the caller stands.

use ctxnode_api::handoffs::HandoffRequest;
use ctxnode_api::node::Empty;
use ctxnode_api::sessions::UpdateRequest;
use ctxnode_api::{Call, ErrorBody};
use schemars::JsonSchema;
use serde_json::Value;

use super::{Arguments, Hints, Step, Tool};

/// What `sod` asks of an agent; the rest follows from its process and directory.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only the schema is used; the gate decodes the arguments")]
struct SodInput {
    /// The venture code; follows from the repo when left out.
    venture: Option<String>,
    /// 0 to 9999; 0 is planning and backlog.
    track: Option<i64>,
    /// The GitHub issue to work on.
    issue: Option<i64>,
}

pub(super) const TOOLS: &[Tool] = &[
    Tool {
        name: "sod",
        description: "Use at the start of work, before anything else: starts or resumes the session of this directory \
                      and returns the last handoff, open handoffs, other agents, claims, notes and docs.",
        hints: Hints::IDEMPOTENT.open_world(),
        input: |generator| generator.subschema_for::<SodInput>(),
        nullable: &[],
        output: &[("state", "string"), ("text", "string"), ("failed_parts", "array")],
        operation: "sod",
        plan: |arguments| plain("sod", arguments),
    },
    Tool {
        name: "handoff",
        description: "Use when work ends or passes to somebody else: stores a handoff for the next agent and ends the \
                      session. Write next_steps for a reader without memory: numbered, exact paths and commands.",
        hints: Hints::IDEMPOTENT,
        input: |generator| generator.subschema_for::<HandoffRequest>(),
        nullable: &[],
        output: &[
            ("handoff_id", "string"),
            ("payload_hash", "string"),
            ("session_id", "string"),
            ("session_status", "string"),
            ("no_op", "boolean"),
        ],
        operation: "eod",
        plan: handoff,
    },
    Tool {
        name: "update",
        description: "Use when branch, issue, track or blockers change, after an error that repeats, or to ask for \
                      help (escalate). Without fields it is a heartbeat.",
        hints: Hints::IDEMPOTENT,
        input: |generator| generator.subschema_for::<UpdateRequest>(),
        nullable: &["issue", "track", "blocked_on"],
        output: &[("session", "object"), ("updated_at", "string"), ("warnings", "array")],
        operation: "update",
        plan: |arguments| plain("update", arguments),
    },
    Tool {
        name: "context",
        description: "Use to see where you stand: venture, repo, branch, session, claims, warnings. Works before sod.",
        hints: Hints::READ,
        input: |generator| generator.subschema_for::<Empty>(),
        nullable: &[],
        output: &[("claims", "array"), ("warnings", "array")],
        operation: "context",
        plan: |arguments| plain("context", arguments),
    },
];

#[expect(clippy::unnecessary_wraps, reason = "the form of every plan")]
fn plain(operation: &str, arguments: Arguments) -> Result<Step, ErrorBody> {
    Ok(Step::Call(Call::new(operation, Value::Object(arguments))))
}

#[expect(clippy::unnecessary_wraps, reason = "the form of every plan")]
fn handoff(mut arguments: Arguments) -> Result<Step, ErrorBody> {
    // The question is put here, where the client is; the gate only hears the answer.
    let ask = arguments.remove("ask") == Some(Value::Bool(true));
    let call = Call::new("eod", Value::Object(arguments));
    Ok(if ask { Step::Confirmed(call) } else { Step::Call(call) })
}
