//! Claude Code: `.mcp.json` or the user's state file, `settings.json`, `.claude/skills`, `CLAUDE.md`.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::json::{Dialect, Entry, Kept};
use super::{Content, Places, Scope, Wanted, block, root, skill_files};
use crate::agents::Agent;
use crate::hooks::{Event, TOOLS_THAT_EDIT};

/// Its events, ours, and for which tools or sources; the order is that of the file.
const HOOKS: [(&str, Event, Option<&str>); 10] = [
    ("SessionStart", Event::SessionStart, Some("startup|resume|clear|compact|fork")),
    ("UserPromptSubmit", Event::Prompt, None),
    ("PreToolUse", Event::BeforeTool, Some(TOOLS_THAT_EDIT)),
    ("PostToolUse", Event::AfterTool, Some("*")),
    ("PostToolUseFailure", Event::ToolFailed, Some("*")),
    ("Stop", Event::Stop, None),
    ("StopFailure", Event::Failed, None),
    ("PreCompact", Event::BeforeCompact, None),
    ("PostCompact", Event::AfterCompact, None),
    ("SessionEnd", Event::SessionEnd, None),
];

pub(super) fn settings(scope: Scope, places: &Places) -> PathBuf {
    match scope {
        Scope::User => places.claude_home().join("settings.json"),
        Scope::Project => root(scope, places).join(".claude/settings.json"),
    }
}

pub(super) fn wanted(scope: Scope, places: &Places) -> Vec<Wanted> {
    let (servers, instructions, skills) = match scope {
        Scope::User => {
            (places.claude_state(), places.claude_home().join("CLAUDE.md"), places.claude_home().join("skills"))
        }
        Scope::Project => {
            let root = root(scope, places);
            (root.join(".mcp.json"), root.join("CLAUDE.md"), root.join(".claude/skills"))
        }
    };
    let fields = json!({ "type": "stdio", "command": "ctxnode", "args": ["mcp"] });
    let server = Entry { path: vec!["mcpServers", "ctxnode"], kept: Kept::Fields(super::run::object(fields)) };
    let mut entries: Vec<Entry> = HOOKS
        .iter()
        .map(|(name, event, matcher)| Entry { path: vec!["hooks", name], kept: Kept::Element(hook(*event, *matcher)) })
        .collect();
    let line = json!({ "type": "command", "command": "ctxnode statusline", "padding": 0 });
    // There is one status line: that of a checkout would take everybody's own away.
    if scope == Scope::User {
        let wrap = places.wrap_status_line;
        entries.push(Entry { path: vec!["statusLine"], kept: Kept::StatusLine { line, wrap } });
    }
    let mut files = vec![
        Wanted::json(servers, "MCP server", Dialect::Strict, vec![server]),
        Wanted::json(settings(scope, places), "hooks", Dialect::Strict, entries),
    ];
    match scope {
        Scope::User => {
            let content = Content::Block(block::WITH_HOOKS.to_owned());
            files.push(Wanted { path: instructions, what: "instructions", content });
        }
        Scope::Project => {
            let shared = root(scope, places).join("AGENTS.md");
            let content = Content::Block(block::FULL.to_owned());
            files.push(Wanted { path: shared, what: "instructions", content });
            let content = Content::Block(block::IMPORT.to_owned());
            files.push(Wanted { path: instructions, what: "import of AGENTS.md", content });
        }
    }
    files.extend(skill_files(Agent::Claude, &skills));
    files
}

/// Returns the object of all hooks, as a plugin holds it.
pub(super) fn hooks() -> Value {
    let lists = HOOKS.iter().map(|(name, event, matcher)| ((*name).to_owned(), json!([hook(*event, *matcher)])));
    Value::Object(lists.collect())
}

fn hook(event: Event, matcher: Option<&str>) -> Value {
    // With `args` there is no shell between, and nothing to quote.
    let handler =
        json!({ "type": "command", "command": "ctxnode", "args": ["hook", "claude", event.name()], "timeout": 5 });
    match matcher {
        Some(matcher) => json!({ "matcher": matcher, "hooks": [handler] }),
        None => json!({ "hooks": [handler] }),
    }
}

/// Returns what can be had besides, when somebody has a status line of their own.
pub(super) fn offer(scope: Scope, places: &Places, read: &dyn Fn(&Path) -> Option<String>) -> Option<String> {
    if scope != Scope::User || places.wrap_status_line {
        return None;
    }
    let text = read(&settings(scope, places))?;
    let command = super::json::look(&text, &["statusLine", "command"])?;
    // What can be wrapped is theirs.
    super::status_line::wrapped(command.as_str()?)?;
    Some("your own status line stays as it is; ctxnode setup claude --wrap-status-line adds ours to it".to_owned())
}

pub(super) fn confirm(scope: Scope) -> Vec<String> {
    let server = match scope {
        Scope::Project => "start claude in this checkout and approve the server ctxnode when it asks (later: /mcp)",
        Scope::User => "nothing to approve for the server; /mcp shows it as connected",
    };
    vec![
        server.to_owned(),
        format!("look at the {} hooks of ctxnode in /hooks; they count from the next start of claude", HOOKS.len()),
    ]
}
