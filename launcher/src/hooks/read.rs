//! From what a CLI sends on stdin to the event that the daemon understands.

use ctxnode_api::hooks::{HookRequest, Moment};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::outcome::{Outcome, outcome};
use super::patch::paths;
use super::{Event, TEXT_CHARS, TOOLS_THAT_EDIT, clean};
use crate::agents::Agent;

/// Tools of Gemini CLI and Antigravity that write files.
const OTHERS_THAT_EDIT: [&str; 6] =
    ["write_file", "replace", "write_to_file", "replace_file_content", "multi_replace_file_content", "edit_file"];

/// The longest name that the daemon takes.
const NAME_CHARS: usize = 200;
/// Hexadecimal digits of a hash in a name.
const HASH_CHARS: usize = 24;

/// Reads an event. What is missing or of another type is left out: a hook of a CLI that has changed still reports that
/// its agent lives.
#[must_use]
pub fn request(agent: Agent, event: Event, stdin: &Value) -> HookRequest {
    let text = |names: &[&str]| {
        let found = names.iter().find_map(|name| stdin.get(*name).and_then(Value::as_str));
        found.filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let tool = text(&["tool_name", "toolName"]);
    let edits = tool
        .as_deref()
        .is_some_and(|tool| TOOLS_THAT_EDIT.split('|').any(|known| known == tool) || OTHERS_THAT_EDIT.contains(&tool));
    let input = stdin.get("tool_input").or_else(|| stdin.get("toolInput")).or_else(|| stdin.get("tool_args"));
    let message = text(&["compact_summary", "last_assistant_message", "prompt_response"]);
    // What a human types is nobody's business but the agent's, and a failed turn ends with the provider's words.
    let silent = matches!(event.moment(), Moment::Prompt | Moment::BeforeTool | Moment::AfterTool | Moment::TurnFailed);
    let message = message.filter(|_| !silent);
    let failure = [text(&["error", "error_type"]), text(&["last_assistant_message"])];
    let failure = failure.into_iter().flatten().collect::<Vec<_>>().join(": ");
    let failure = Some(bounded(&failure)).filter(|why| event == Event::Failed && !why.is_empty());
    let Outcome { error, command, pull_request } = outcome(event, tool.as_deref(), input, stdin);
    HookRequest {
        cli: agent.name().to_owned(),
        moment: event.moment(),
        conversation: text(&["session_id", "conversationId", "conversation_id"]).map(|id| bounded(&id)),
        turn: turn(event, stdin),
        source: text(&["source", "trigger", "reason"]).map(|source| bounded(&source)),
        paths: input.filter(|_| edits).map(paths).unwrap_or_default(),
        tool: tool.map(|tool| bounded(&tool)),
        text: message.map(|text| clean(&text, TEXT_CHARS)),
        failure,
        error,
        command,
        pull_request,
        directory: text(&["cwd", "workspacePath"]),
        listens: listens(agent, event),
        at: None,
        update_id: None,
    }
}

/// What names the event among its kind. Without any name of the CLI the content does: two hooks that were defined twice
/// get the very same input.
fn turn(event: Event, stdin: &Value) -> Option<String> {
    let names: &[&str] = match event {
        Event::BeforeTool | Event::AfterTool | Event::ToolFailed => &["tool_use_id", "tool_call_id", "toolCallId"],
        Event::Prompt | Event::Stop | Event::TurnEnd | Event::Failed => &["prompt_id", "turn_id", "promptId"],
        _ => &[],
    };
    let named = names.iter().find_map(|name| stdin.get(*name).and_then(Value::as_str)).map(bounded);
    // Gemini says when; a second firing of one event says the same.
    let told = stdin.get("timestamp").and_then(Value::as_str).map(bounded);
    let name = named.or(told);
    // One prompt can end more than once (a stop hook sends the agent on), each time with other last words.
    let said = ["last_assistant_message", "prompt_response"];
    let said = said.iter().find_map(|name| stdin.get(*name).and_then(Value::as_str));
    if let (Event::Stop | Event::TurnEnd, Some(name), Some(said)) = (event, &name, said) {
        let name: String = name.chars().take(NAME_CHARS - HASH_CHARS - 1).collect();
        return Some(format!("{name} {}", hash(said)));
    }
    name.or_else(|| match event {
        // A start happens again and again, and tells of the same each time.
        Event::SessionStart | Event::SessionEnd => None,
        // The same prompt twice in a row is two prompts: nothing here tells them apart from one that fired twice.
        Event::Prompt => None,
        _ => Some(hash(&stdin.to_string())),
    })
}

/// Whether the CLI shows its agent what the hook says at this moment.
fn listens(agent: Agent, event: Event) -> bool {
    matches!(
        (agent, event),
        (_, Event::SessionStart | Event::Prompt)
            | (Agent::Claude, Event::BeforeTool | Event::AfterTool | Event::ToolFailed)
            | (Agent::Codex | Agent::Gemini, Event::AfterTool)
    )
}

fn hash(text: &str) -> String {
    Sha256::digest(text).iter().take(HASH_CHARS / 2).map(|byte| format!("{byte:02x}")).collect()
}

fn bounded(text: &str) -> String {
    text.chars().take(NAME_CHARS).collect()
}
