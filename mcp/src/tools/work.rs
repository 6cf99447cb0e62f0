//! The tools around the work: claims, the weekly plan, ventures, preflight.

use ctxnode_api::node::Empty;
use ctxnode_api::{Call, ErrorBody};
use ctxnode_model::record::ClaimKind;
use schemars::JsonSchema;
use serde_json::Value;

use super::{Arguments, Hints, Step, Tool, take_action};

const ACTIONS: &[&str] = &["take", "release", "list"];

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
#[expect(dead_code, reason = "only the schema is used; the gate decodes the arguments")]
enum ClaimAction {
    Take,
    Release,
    List,
}

/// What `claim` takes.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only the schema is used; the gate decodes the arguments")]
struct ClaimInput {
    action: ClaimAction,
    kind: Option<ClaimKind>,
    /// An issue number, a branch name, or a path glob relative to the repo root.
    key: Option<String>,
    /// For release: the claim, instead of kind and key.
    id: Option<String>,
    /// Why.
    note: Option<String>,
    /// Hours until it lapses, default 24, at most 168.
    ttl_hours: Option<f64>,
    /// True takes it although somebody else holds it; both are told.
    force: Option<bool>,
    /// Idempotency key, 20 to 200 characters.
    update_id: Option<String>,
}

pub(super) const TOOLS: &[Tool] = &[
    Tool {
        name: "claim",
        description: "Use before working on an issue, branch or set of files that others might touch: takes, releases \
                      or lists claims, and names conflicts.",
        hints: Hints::IDEMPOTENT,
        input: |generator| generator.subschema_for::<ClaimInput>(),
        nullable: &[],
        output: &[("claim", "object"), ("conflicts", "array"), ("items", "array"), ("released", "boolean")],
        operation: "claim.take",
        plan: claim,
    },
    Tool {
        name: "plan",
        description: "Use to see what matters this week: priority venture, focus, target issues, and how old that is.",
        hints: Hints::READ,
        input: |generator| generator.subschema_for::<Empty>(),
        nullable: &[],
        output: &[("state", "string"), ("display", "string"), ("target_issues", "array")],
        operation: "plan.get",
        plan: |arguments| Ok(Step::Call(Call::new("plan.get", Value::Object(arguments)))),
    },
    Tool {
        name: "ventures",
        description: "Use to see which ventures exist, their repos, and where their checkouts are on this machine.",
        hints: Hints::READ,
        input: |generator| generator.subschema_for::<Empty>(),
        nullable: &[],
        output: &[("items", "array"), ("shown", "integer"), ("total", "integer")],
        operation: "venture.list",
        plan: |arguments| Ok(Step::Call(Call::new("venture.list", Value::Object(arguments)))),
    },
    Tool {
        name: "preflight",
        description: "Use when something that work needs seems broken: checks daemon, rights, build, GitHub login, \
                      repo and disk, each with a fix.",
        hints: Hints::READ.open_world(),
        input: |generator| generator.subschema_for::<Empty>(),
        nullable: &[],
        output: &[("summary", "string"), ("checks", "array")],
        operation: "preflight",
        plan: |arguments| Ok(Step::Call(Call::new("preflight", Value::Object(arguments)))),
    },
];

fn claim(mut arguments: Arguments) -> Result<Step, ErrorBody> {
    let action = take_action(&mut arguments, ACTIONS)?;
    Ok(Step::Call(Call::new(&format!("claim.{action}"), Value::Object(arguments))))
}
