//! The plugin form of Claude Code: skills, hooks and the server in one folder, for teams that install plugins.

use serde_json::{Value, json};

use super::{SKILLS, file_name, markdown};
use crate::agents::Agent;
use crate::setup::claude_hooks;

const README: &str = "# ctxnode for Claude Code

Continuity between coding sessions: at its start a session gets the last handoff, the claims of others, the notes of the
team and the weekly plan, and at its end it leaves a handoff to the next one. Everything is kept by the ctxnode daemon of
this machine and replicated between the machines of the team.

The plugin needs the program `ctxnode` on the PATH and a replica on this machine (`ctxnode init`, or `ctxnode join`). It
adds the MCP server, the hooks that call `ctxnode hook`, and one skill per command.
";

/// Returns the files of the plugin, by their path below its folder.
#[must_use]
pub fn plugin() -> Vec<(String, String)> {
    let manifest = json!({
        "name": "ctxnode",
        // The one place with a version: installers compare it. The hooks below hold none.
        "version": env!("CARGO_PKG_VERSION"),
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
        ("README.md", README.to_owned()),
        ("hooks/hooks.json", text(&json!({ "hooks": claude_hooks() }))),
    ];
    let skills =
        SKILLS.iter().map(|skill| (format!("skills/{}", file_name(Agent::Claude, skill.name)), markdown(skill)));
    fixed.into_iter().map(|(path, text)| (path.to_owned(), text)).chain(skills).collect()
}
