//! From what the daemon says to exactly what a CLI accepts on stdout.

use ctxnode_api::hooks::{HookReply, Moment};
use serde_json::{Value, json};

use super::Event;
use crate::agents::Agent;

/// Returns what the hook prints; nothing where a CLI takes silence as consent. Without a reply (no daemon, no time) it is
/// what lets the agent go on. An offer is for the human, and shown wherever the CLI has a place for it.
#[must_use]
pub fn answer(agent: Agent, event: Event, reply: Option<&HookReply>, offer: Option<&str>) -> String {
    let context = reply.and_then(|reply| reply.context.as_deref()).filter(|text| !text.is_empty());
    let deny = reply.and_then(|reply| reply.deny.as_deref()).filter(|_| event.moment() == Moment::BeforeTool);
    let said = match agent {
        Agent::Claude | Agent::Codex => claude(agent, event, context, deny),
        Agent::Gemini => gemini(event, context, deny),
        Agent::Antigravity => antigravity(event, context, deny),
    };
    let said = match offer.and_then(|offer| shown(agent, event, offer)) {
        Some((field, text)) => {
            let mut said = said.unwrap_or_else(|| json!({}));
            said[field] = text.into();
            Some(said)
        }
        None => said,
    };
    match said {
        Some(value) => format!("{value}\n"),
        // Claude takes silence. The others want one object, always.
        None if agent == Agent::Claude => String::new(),
        None => "{}\n".to_owned(),
    }
}

/// The field in which a CLI shows its human a text at this moment.
fn shown(agent: Agent, event: Event, offer: &str) -> Option<(&'static str, String)> {
    match (agent, event) {
        // All that it takes when a turn failed: the terminal's own notification (OSC 9).
        (Agent::Claude, Event::Failed) => {
            let plain: String = offer.chars().filter(|c| !c.is_control()).collect();
            Some(("terminalSequence", format!("\u{1b}]9;ctxnode: {plain}\u{7}")))
        }
        (Agent::Claude | Agent::Codex | Agent::Gemini, Event::Prompt) => {
            Some(("systemMessage", format!("ctxnode: {offer}")))
        }
        _ => None,
    }
}

/// The name of the event in its CLI's own words.
fn claude_name(event: Event) -> Option<&'static str> {
    match event {
        Event::SessionStart => Some("SessionStart"),
        Event::Prompt => Some("UserPromptSubmit"),
        Event::BeforeTool => Some("PreToolUse"),
        Event::AfterTool => Some("PostToolUse"),
        Event::ToolFailed => Some("PostToolUseFailure"),
        _ => None,
    }
}

fn claude(agent: Agent, event: Event, context: Option<&str>, deny: Option<&str>) -> Option<Value> {
    let name = claude_name(event)?;
    if let Some(reason) = deny {
        return Some(json!({ "hookSpecificOutput": {
            "hookEventName": name, "permissionDecision": "deny", "permissionDecisionReason": reason,
        } }));
    }
    let context = context?;
    if agent == Agent::Codex && event == Event::BeforeTool {
        // Of the common fields Codex takes only this one here.
        return Some(json!({ "systemMessage": context }));
    }
    Some(json!({ "hookSpecificOutput": { "hookEventName": name, "additionalContext": context } }))
}

fn gemini(event: Event, context: Option<&str>, deny: Option<&str>) -> Option<Value> {
    let name = match event {
        Event::SessionStart => "SessionStart",
        Event::Prompt => "BeforeAgent",
        Event::AfterTool => "AfterTool",
        Event::BeforeTool => return deny.map(|reason| json!({ "decision": "deny", "reason": reason })),
        _ => return None,
    };
    context.map(|text| json!({ "hookSpecificOutput": { "hookEventName": name, "additionalContext": text } }))
}

fn antigravity(event: Event, context: Option<&str>, deny: Option<&str>) -> Option<Value> {
    match (event, deny) {
        (Event::BeforeTool, Some(reason)) => Some(json!({ "decision": "deny", "reason": reason })),
        // These wait for a decision, and nothing is none.
        (Event::BeforeTool | Event::Stop | Event::TurnEnd, _) => Some(json!({ "decision": "allow" })),
        (Event::SessionStart, _) => context.map(
            |text| json!({ "hookSpecificOutput": { "hookEventName": "SessionStart", "additionalContext": text } }),
        ),
        (Event::Prompt, _) => context.map(
            |text| json!({ "hookSpecificOutput": { "hookEventName": "PreInvocation", "additionalContext": text } }),
        ),
        _ => None,
    }
}
