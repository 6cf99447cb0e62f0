//! Codex: `config.toml` for the server, `hooks.json` for hooks (a fault there costs that file, not the start of Codex).

use std::path::PathBuf;

use serde_json::{Value, json};

use super::json::{Dialect, Entry, Kept};
use super::toml::{self, Field};
use super::{Content, Places, Scope, Wanted, block, root, shared_skills, skill_files};
use crate::agents::Agent;
use crate::hooks::{Event, TOOLS_THAT_EDIT};

const HOOKS: [(&str, Event, Option<&str>); 8] = [
    ("SessionStart", Event::SessionStart, Some("startup|resume|clear|compact")),
    ("UserPromptSubmit", Event::Prompt, None),
    ("PreToolUse", Event::BeforeTool, Some(TOOLS_THAT_EDIT)),
    ("PostToolUse", Event::AfterTool, None),
    ("Stop", Event::Stop, None),
    ("PreCompact", Event::BeforeCompact, None),
    ("PostCompact", Event::AfterCompact, None),
    ("SessionEnd", Event::SessionEnd, None),
];

pub(super) fn wanted(scope: Scope, places: &Places) -> Vec<Wanted> {
    let (folder, instructions) = match scope {
        Scope::User => (places.codex_home(), places.codex_home().join("AGENTS.md")),
        Scope::Project => (root(scope, places).join(".codex"), root(scope, places).join("AGENTS.md")),
    };
    let fields = vec![("command", Field::Text("ctxnode")), ("args", Field::List(vec!["mcp"]))];
    let mut config = vec![toml::Entry::Table { outer: "mcp_servers", name: "ctxnode", fields }];
    if scope == Scope::User {
        // Output in the ordinary screen can be scrolled and searched in a multiplexer.
        let values = vec![Field::Text("never"), Field::Flag(false)];
        config.push(toml::Entry::Default { table: "tui", key: "alternate_screen", values });
    }
    let entries = HOOKS
        .iter()
        .map(|(name, event, matcher)| Entry { path: vec!["hooks", name], kept: Kept::Element(hook(*event, *matcher)) });
    let text = if scope == Scope::User { block::WITH_HOOKS } else { block::FULL };
    let mut files = vec![
        Wanted { path: folder.join("config.toml"), what: "MCP server", content: Content::Toml(config) },
        Wanted::json(folder.join("hooks.json"), "hooks", Dialect::Strict, entries.collect()),
        Wanted { path: instructions, what: "instructions", content: Content::Block(text.to_owned()) },
    ];
    files.extend(skill_files(Agent::Codex, &shared_skills(scope, places)));
    files
}

/// Returns the file of hooks, and for each of ours its event and command.
pub(super) fn hooks_file(scope: Scope, places: &Places) -> (PathBuf, Vec<(&'static str, String)>) {
    let folder = match scope {
        Scope::User => places.codex_home(),
        Scope::Project => root(scope, places).join(".codex"),
    };
    (folder.join("hooks.json"), HOOKS.iter().map(|(name, event, _)| (*name, command(*event))).collect())
}

fn command(event: Event) -> String {
    format!("ctxnode hook codex {}", event.name())
}

/// Returns the object of all hooks, as a plugin holds it.
pub(super) fn hooks() -> Value {
    let lists = HOOKS.iter().map(|(name, event, matcher)| ((*name).to_owned(), json!([hook(*event, *matcher)])));
    Value::Object(lists.collect())
}

fn hook(event: Event, matcher: Option<&str>) -> Value {
    // At its end Codex allows a second.
    let timeout = if event == Event::SessionEnd { 1 } else { 5 };
    let handler = json!({ "type": "command", "command": command(event), "timeout": timeout });
    match matcher {
        Some(matcher) => json!({ "matcher": matcher, "hooks": [handler] }),
        None => json!({ "hooks": [handler] }),
    }
}

pub(super) fn confirm() -> Vec<String> {
    vec![format!(
        "open codex, run /hooks and trust the {} entries of ctxnode; until then none of them runs",
        HOOKS.len()
    )]
}
