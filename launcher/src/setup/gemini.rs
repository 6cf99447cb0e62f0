//! Gemini CLI: one `settings.json` for server and hooks, commands in TOML. Times are in milliseconds.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::json::{Dialect, Entry, Kept};
use super::{Content, Places, Scope, Wanted, block, root, skill_files};
use crate::agents::Agent;
use crate::hooks::Event;

const HOOKS: [(&str, Event, Option<&str>); 7] = [
    ("SessionStart", Event::SessionStart, None),
    ("BeforeAgent", Event::Prompt, None),
    ("BeforeTool", Event::BeforeTool, Some("write_file|replace")),
    ("AfterTool", Event::AfterTool, Some(".*")),
    ("AfterAgent", Event::Stop, None),
    ("PreCompress", Event::BeforeCompact, None),
    ("SessionEnd", Event::SessionEnd, None),
];

pub(super) fn settings(scope: Scope, places: &Places) -> PathBuf {
    root(scope, places).join(".gemini/settings.json")
}

pub(super) fn wanted(scope: Scope, places: &Places) -> Vec<Wanted> {
    let folder = root(scope, places).join(".gemini");
    let fields = json!({ "command": "ctxnode", "args": ["mcp"] });
    let mut entries =
        vec![Entry { path: vec!["mcpServers", "ctxnode"], kept: Kept::Fields(super::run::object(fields)) }];
    entries.extend(HOOKS.iter().map(|(name, event, matcher)| Entry {
        path: vec!["hooks", name],
        kept: Kept::Element(hook(*event, *matcher)),
    }));
    if scope == Scope::User {
        // Output in the ordinary screen can be scrolled and searched in a multiplexer.
        entries.push(Entry { path: vec!["ui", "useAlternateBuffer"], kept: Kept::Default(json!(false)) });
    } else {
        let names = json!(["AGENTS.md", "GEMINI.md"]);
        entries.push(Entry { path: vec!["context", "fileName"], kept: Kept::Default(names) });
    }
    let (instructions, text) = match scope {
        Scope::User => (folder.join("GEMINI.md"), block::WITH_HOOKS),
        Scope::Project => (root(scope, places).join("AGENTS.md"), block::FULL),
    };
    let mut files = vec![
        Wanted::json(settings(scope, places), "MCP server and hooks", Dialect::Comments, entries),
        Wanted { path: instructions, what: "instructions", content: Content::Block(text.to_owned()) },
    ];
    files.extend(skill_files(Agent::Gemini, &folder.join("commands")));
    files
}

/// Returns the object of all hooks, as an extension holds it.
pub(super) fn hooks() -> Value {
    let lists = HOOKS.iter().map(|(name, event, matcher)| ((*name).to_owned(), json!([hook(*event, *matcher)])));
    Value::Object(lists.collect())
}

fn hook(event: Event, matcher: Option<&str>) -> Value {
    let command = format!("ctxnode hook gemini {}", event.name());
    let handler =
        json!({ "name": format!("ctxnode-{}", event.name()), "type": "command", "command": command, "timeout": 5000 });
    match matcher {
        Some(matcher) => json!({ "matcher": matcher, "hooks": [handler] }),
        None => json!({ "hooks": [handler] }),
    }
}

pub(super) fn confirm() -> Vec<String> {
    vec!["start gemini in the folder and trust it (gemini trust); in a folder that is not trusted its servers and hooks stay off".to_owned()]
}
