//! Antigravity CLI: strict JSON of its own shape. A syntax error in it keeps every session from starting, and one wrong
//! handler drops the whole file of hooks, so both are written in the plainest form that is known to load.

use serde_json::{Value, json};

use super::json::{Dialect, Entry, Kept};
use super::{Content, Places, Scope, Wanted, block, root, shared_skills, skill_files};
use crate::agents::Agent;
use crate::hooks::Event;

/// Its events and ours. Those of tools hold a matcher around the handler.
const HOOKS: [(&str, Event); 6] = [
    ("SessionStart", Event::SessionStart),
    ("PreInvocation", Event::Prompt),
    ("PostInvocation", Event::Stop),
    ("Stop", Event::TurnEnd),
    ("PreToolUse", Event::BeforeTool),
    ("PostToolUse", Event::AfterTool),
];

pub(super) fn wanted(scope: Scope, places: &Places) -> Vec<Wanted> {
    let (folder, instructions) = match scope {
        Scope::User => (places.home.join(".gemini/config"), places.home.join(".gemini/GEMINI.md")),
        Scope::Project => (root(scope, places).join(".agents"), root(scope, places).join("AGENTS.md")),
    };
    let fields = json!({ "command": "ctxnode", "args": ["mcp"], "env": {} });
    let server = Entry { path: vec!["mcpServers", "ctxnode"], kept: Kept::Fields(super::run::object(fields)) };
    let mut group = serde_json::Map::new();
    group.insert("enabled".to_owned(), true.into());
    group.extend(HOOKS.iter().map(|(name, event)| ((*name).to_owned(), hooks(*event))));
    let hooks = Entry { path: vec!["ctxnode"], kept: Kept::Fields(group) };
    let text = if scope == Scope::User { block::WITH_HOOKS } else { block::FULL };
    let mut files = vec![
        Wanted::json(folder.join("mcp_config.json"), "MCP server", Dialect::Strict, vec![server]),
        Wanted::json(folder.join("hooks.json"), "hooks", Dialect::Strict, vec![hooks]),
        Wanted { path: instructions, what: "instructions", content: Content::Block(text.to_owned()) },
    ];
    files.extend(skill_files(Agent::Antigravity, &shared_skills(scope, places)));
    files
}

fn hooks(event: Event) -> Value {
    // Whole seconds: a fraction or a text drops the file.
    let handler = json!({ "type": "command", "command": format!("ctxnode hook agy {}", event.name()), "timeout": 5 });
    match event {
        Event::BeforeTool | Event::AfterTool => json!([{ "matcher": "", "hooks": [handler] }]),
        _ => json!([handler]),
    }
}

pub(super) fn confirm() -> Vec<String> {
    vec!["start agy and trust the folder when it asks; /mcp shows the server".to_owned()]
}
