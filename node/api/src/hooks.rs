//! Events of agent CLIs, as their hooks report them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::edge::Iso;

/// A moment in the life of an agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// A conversation begins, goes on, or was cleared or compacted.
    SessionStart,
    /// The human has sent a prompt.
    Prompt,
    /// A tool is about to run.
    BeforeTool,
    /// A tool has run.
    #[default]
    AfterTool,
    /// The agent has answered.
    TurnEnd,
    /// The conversation is about to be compacted.
    BeforeCompact,
    /// The conversation was compacted.
    AfterCompact,
    /// The turn failed by a limit or a fault of the provider.
    TurnFailed,
    /// The conversation ends.
    SessionEnd,
    /// Nothing happened: asks for the line of a status bar.
    Status,
    /// Nothing happened: asks for what a start here would tell the agent.
    Preview,
}

/// Tells the daemon what happened in an agent CLI, and asks what the agent should be told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HookRequest {
    /// The agent CLI: claude, codex, gemini or agy.
    pub cli: String,
    /// What happened.
    pub moment: Moment,
    /// The conversation, as the CLI names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversation: Option<String>,
    /// What tells this event from the next of its kind: a turn, a tool use. The same event twice has one effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turn: Option<String>,
    /// Why a session started: startup, resume, clear or compact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The tool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// The files that the tool writes, absolute or relative to the directory; at most 50 count.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// The last message of the agent, or the summary of a compaction; its beginning is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Why the turn failed, when it did: the provider's word for it and what the CLI said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// What a tool that failed said; its beginning is kept, without what looks like a secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// A name for what the tool ran, the same for the same command: a success of it ends the counting of its errors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// The address of the pull request that the tool opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pull_request: Option<String>,
    /// Where the agent works.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
    /// Whether the CLI shows the agent a text at this moment. Without it nothing counts as told.
    pub listens: bool,
    /// When it happened, when that was not now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Iso>,
    /// Makes a retry safe: 20 to 200 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_id: Option<String>,
}

/// What came of an event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct HookReply {
    /// The session that the event belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// Whether the event was reported before; then it had no further effect.
    pub repeated: bool,
    /// What the agent should read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// Why the tool must not run; only where the venture denies edits of claimed paths.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deny: Option<String>,
    /// Why the last turn failed, while none has ended well since. The human should hear of it, and how to go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}
