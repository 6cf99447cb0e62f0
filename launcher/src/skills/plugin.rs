//! The plugin form of Claude Code: skills, hooks and the server in one folder, for teams that install plugins.

use serde_json::{Value, json};

use super::{SKILLS, file_name, markdown};
use crate::agents::Agent;
use crate::setup::claude_hooks;

/// Returns the files of the plugin, by their path below its folder.
#[must_use]
pub fn plugin() -> Vec<(String, String)> {
    let manifest = json!({
        "name": "ctxnode",
        "description": "Continuity between coding sessions: handoffs, claims, notes and docs of a team, local first.",
        "author": { "name": "ctxnode" },
        "license": "Apache-2.0",
        "keywords": ["context", "handoff", "memory", "mcp"],
    });
    let servers = json!({ "mcpServers": { "ctxnode": { "command": "ctxnode", "args": ["mcp"] } } });
    let market = json!({
        "name": "ctxnode",
        "owner": { "name": "ctxnode" },
        "description": "The plugin of ctxnode.",
        "plugins": [{ "name": "ctxnode", "source": "./", "description": "Continuity between coding sessions." }],
    });
    let text = |value: &Value| format!("{value:#}\n");
    let fixed = [
        (".claude-plugin/plugin.json", text(&manifest)),
        (".claude-plugin/marketplace.json", text(&market)),
        (".mcp.json", text(&servers)),
        ("hooks/hooks.json", text(&json!({ "hooks": claude_hooks() }))),
    ];
    let skills =
        SKILLS.iter().map(|skill| (format!("skills/{}", file_name(Agent::Claude, skill.name)), markdown(skill)));
    fixed.into_iter().map(|(path, text)| (path.to_owned(), text)).chain(skills).collect()
}
