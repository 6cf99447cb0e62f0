//! The plugin forms of the agent CLIs: skills or commands, hooks and the server in one folder, for teams that install
//! plugins. Every form is made from the same texts and the same hooks as a set-up.

use serde_json::{Value, json};

use crate::agents::Agent;
use crate::setup::{instructions, plugin_hooks};

/// The CLIs that have a form of their own; the first is meant when nobody says which.
pub const FORMS: [Agent; 3] = [Agent::Claude, Agent::Codex, Agent::Gemini];

const DESCRIPTION: &str =
    "Continuity between coding sessions: handoffs, claims, notes and docs of a team, local first.";

fn readme(agent: Agent) -> String {
    format!(
        "# ctxnode for {}

Continuity between coding sessions: at its start a session gets the last handoff, the claims of others, the notes of the
team and the weekly plan, and at its end it leaves a handoff to the next one. Everything is kept by the ctxnode daemon of
this machine and replicated between the machines of the team.

It needs the program `ctxnode` on the PATH and a replica on this machine (`ctxnode init`, or `ctxnode join`). It adds the
MCP server, the hooks that call `ctxnode hook`, and one command of the agent for each thing to do.
",
        agent.title()
    )
}

/// Returns the files of a CLI's plugin, by their path below its folder; none for a CLI without such a form.
#[must_use]
pub fn plugin(agent: Agent) -> Vec<(String, String)> {
    let Some(hooks) = plugin_hooks(agent) else { return Vec::new() };
    let text = |value: &Value| format!("{value:#}\n");
    let (folder, mut files) = match agent {
        Agent::Claude | Agent::Antigravity => ("skills", claude()),
        Agent::Codex => ("skills", codex()),
        Agent::Gemini => ("commands", gemini()),
    };
    files.push(("README.md", readme(agent)));
    files.push(("hooks/hooks.json", text(&json!({ "hooks": hooks }))));
    let commands = super::files(agent).into_iter().map(|(name, text)| (format!("{folder}/{name}"), text));
    files.into_iter().map(|(path, text)| (path.to_owned(), text)).chain(commands).collect()
}

type Files = Vec<(&'static str, String)>;

fn written(files: Vec<(&'static str, Value)>) -> Files {
    files.into_iter().map(|(path, value)| (path, format!("{value:#}\n"))).collect()
}

/// What every manifest says. The version is in the manifests and nowhere else: installers compare it, and a hook that held
/// one would have to be trusted again with every release.
fn manifest() -> Value {
    json!({ "name": "ctxnode", "version": env!("CARGO_PKG_VERSION"), "description": DESCRIPTION })
}

fn with(mut value: Value, more: Value) -> Value {
    if let (Value::Object(fields), Value::Object(more)) = (&mut value, more) {
        fields.extend(more);
    }
    value
}

fn servers() -> Value {
    json!({ "mcpServers": { "ctxnode": { "command": "ctxnode", "args": ["mcp"] } } })
}

fn claude() -> Files {
    let more = json!({
        "author": { "name": "ctxnode" }, "license": "Apache-2.0", "keywords": ["context", "handoff", "memory", "mcp"],
    });
    let market = json!({
        "name": "ctxnode",
        "owner": { "name": "ctxnode" },
        "description": "The plugin of ctxnode.",
        "plugins": [{ "name": "ctxnode", "source": "./", "description": "Continuity between coding sessions." }],
    });
    written(vec![
        (".claude-plugin/plugin.json", with(manifest(), more)),
        (".claude-plugin/marketplace.json", market),
        (".mcp.json", servers()),
    ])
}

/// The portable layout, which Codex knows by the schema in its manifest.
fn codex() -> Files {
    let schema = json!({ "$schema": "https://agent-plugins.org/schemas/1.0.0/plugin.schema.json" });
    let market = json!({
        "name": "ctxnode",
        "plugins": [{
            "name": "ctxnode",
            "source": { "source": "local", "path": "./" },
            "policy": { "installation": "AVAILABLE", "authentication": "ON_INSTALL" },
            "category": "Productivity",
        }],
    });
    written(vec![
        ("plugin.json", with(schema, manifest())),
        (".agents/plugins/marketplace.json", market),
        ("mcp.json", servers()),
    ])
}

fn gemini() -> Files {
    let more = with(servers(), json!({ "contextFileName": "GEMINI.md" }));
    let mut files = written(vec![("gemini-extension.json", with(manifest(), more))]);
    files.push(("GEMINI.md", format!("{}\n", instructions())));
    files
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::setup::json::Kept;
    use crate::setup::{Content, Places, Scope, wanted};
    use crate::skills::files;

    /// C-01 and C-06: every form holds every command in the very text, and every hook in the very form, that a set-up of
    /// that CLI writes; so that it does not matter which way somebody took.
    #[test]
    fn c_01_c_06_a_plugin_holds_what_a_setup_writes() {
        let places = Places::of("/h");
        for agent in FORMS {
            let plugin: BTreeMap<String, String> = plugin(agent).into_iter().collect();
            for (name, text) in files(agent) {
                let found = plugin.iter().find(|(path, _)| path.ends_with(&format!("/{name}")));
                assert_eq!(found.map(|(_, text)| text), Some(&text), "{agent:?} {name}");
            }
            let hooks: Value = serde_json::from_str(&plugin["hooks/hooks.json"]).unwrap();
            let hooks = hooks["hooks"].as_object().unwrap();
            let mut of_setup = 0;
            for file in wanted(agent, Scope::User, &places) {
                let Content::Json { entries, .. } = file.content else { continue };
                for entry in entries {
                    if let (["hooks", name], Kept::Element(hook)) = (entry.path.as_slice(), &entry.kept) {
                        assert_eq!(hooks[*name], json!([hook]), "{agent:?} {name}");
                        of_setup += 1;
                    }
                }
            }
            assert_eq!(of_setup, hooks.len(), "{agent:?}");
            let version = env!("CARGO_PKG_VERSION");
            let with_version: Vec<&String> =
                plugin.iter().filter(|(_, text)| text.contains(version)).map(|(path, _)| path).collect();
            assert_eq!(with_version.len(), 1, "the manifest alone: {with_version:?}");
        }
        assert!(plugin(Agent::Antigravity).is_empty());
    }
}
