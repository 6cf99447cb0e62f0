//! What an agent CLI will really start: the entry of our server as its file holds it now, whoever wrote it. Pure.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Content, Places, Scope, json, wanted};
use crate::agents::Agent;

/// The command that a CLI starts for our server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// The file that says so.
    pub path: PathBuf,
    /// The program, by name or by path.
    pub command: String,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// The variables that the entry itself gives it.
    pub variables: BTreeMap<String, String>,
    /// Whether the entry is switched on.
    pub enabled: bool,
}

/// Returns our server as a CLI has it; `None` when it has none, or its file cannot be understood.
#[must_use]
pub fn registered(
    agent: Agent,
    scope: Scope,
    places: &Places,
    read: &dyn Fn(&Path) -> Option<String>,
) -> Option<Registered> {
    let file = wanted(agent, scope, places).into_iter().find(|file| file.what.starts_with("MCP server"))?;
    let text = read(&file.path)?;
    let entry = match file.content {
        Content::Json { .. } => json::look(&text, &["mcpServers", "ctxnode"])?,
        _ => of_toml(&text)?,
    };
    let words = |value: &Value| value.as_str().map(str::to_owned);
    let arguments = entry["args"].as_array().map(|args| args.iter().filter_map(words).collect());
    let variables = entry["env"].as_object().map(|env| {
        let pairs = env.iter().filter_map(|(name, value)| Some((name.clone(), words(value)?)));
        pairs.collect()
    });
    Some(Registered {
        path: file.path,
        command: entry["command"].as_str()?.to_owned(),
        arguments: arguments.unwrap_or_default(),
        variables: variables.unwrap_or_default(),
        // One CLI says what is on, another what is off.
        enabled: entry["enabled"] != Value::Bool(false) && entry["disabled"] != Value::Bool(true),
    })
}

fn of_toml(text: &str) -> Option<Value> {
    let file: toml::Table = text.parse().ok()?;
    let entry = file.get("mcp_servers")?.get("ctxnode")?;
    serde_json::to_value(entry).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(agent: Agent, text: &str) -> Option<Registered> {
        registered(agent, Scope::User, &Places::of("/h"), &|_| Some(text.to_owned()))
    }

    #[test]
    fn every_cli_gives_the_command_of_its_own_form() {
        let json =
            r#"{ "mcpServers": { "ctxnode": { "command": "/b/ctxnode", "args": ["mcp"], "env": { "A": "1" } } } }"#;
        for agent in [Agent::Claude, Agent::Gemini, Agent::Antigravity] {
            let entry = found(agent, json).unwrap();
            assert_eq!(
                (entry.command.as_str(), entry.arguments.as_slice()),
                ("/b/ctxnode", ["mcp".to_owned()].as_slice())
            );
            assert_eq!(entry.variables["A"], "1");
            assert!(entry.enabled);
        }
        let toml = "[mcp_servers.ctxnode]\ncommand = \"ctxnode\"\nargs = [\"mcp\"]\nenabled = false\n";
        let entry = found(Agent::Codex, toml).unwrap();
        assert_eq!((entry.command.as_str(), entry.enabled), ("ctxnode", false));
        assert_eq!(entry.path, Path::new("/h/.codex/config.toml"));
    }

    #[test]
    fn no_entry_and_no_file_are_no_registration() {
        assert_eq!(found(Agent::Claude, "{}"), None);
        assert_eq!(found(Agent::Claude, "{ broken"), None);
        assert_eq!(found(Agent::Codex, "a = 1"), None);
        assert_eq!(registered(Agent::Claude, Scope::User, &Places::of("/h"), &|_| None), None);
        let off = r#"{ "mcpServers": { "ctxnode": { "command": "ctxnode", "disabled": true } } }"#;
        assert!(!found(Agent::Antigravity, off).unwrap().enabled);
    }
}
