//! Settings of the CLIs that keep hooks or servers from working, whichever of their layers they stand in. Pure.

use std::path::{Path, PathBuf};

use ctxnode_config::Platform;
use serde_json::Value;

use super::{Places, Scope, claude, gemini, json};
use crate::agents::Agent;

/// The name under which our server is registered.
const SERVER: &str = "ctxnode";

/// Returns the settings of a CLI that keep hooks or servers from working, each as file, setting and what it does. Of each
/// kind the first layer that says so, and not those that a stronger layer overrules.
#[must_use]
pub fn blockers(agent: Agent, scope: Scope, places: &Places, read: &dyn Fn(&Path) -> Option<String>) -> Vec<String> {
    match agent {
        Agent::Claude => of_claude(scope, places, read),
        Agent::Codex => of_codex(places, read),
        Agent::Gemini => of_gemini(places, read),
        Agent::Antigravity => Vec::new(),
    }
}

/// A file of settings that counts, and its text.
struct Layer {
    path: PathBuf,
    text: String,
}

impl Layer {
    fn look(&self, path: &[&str]) -> Option<Value> {
        json::look(&self.text, path)
    }

    fn lists(&self, path: &[&str]) -> Option<bool> {
        Some(self.look(path)?.as_array()?.contains(&SERVER.into()))
    }

    fn told(&self, setting: &str, effect: &str) -> String {
        format!("{}: {setting} {effect}", self.path.display())
    }
}

/// Those that exist, the strongest first.
fn layers(paths: Vec<PathBuf>, read: &dyn Fn(&Path) -> Option<String>) -> Vec<Layer> {
    paths.into_iter().filter_map(|path| Some(Layer { text: read(&path)?, path })).collect()
}

/// Where a company puts what its people cannot change.
fn managed(linux: &str, mac: &str) -> PathBuf {
    match Platform::current() {
        Platform::Linux => Path::new("/etc").join(linux),
        Platform::MacOs => Path::new("/Library/Application Support").join(mac),
    }
}

fn of_claude(scope: Scope, places: &Places, read: &dyn Fn(&Path) -> Option<String>) -> Vec<String> {
    let company = managed("claude-code/managed-settings.json", "ClaudeCode/managed-settings.json");
    let mut paths = vec![company.clone()];
    if places.project.is_some() {
        let shared = claude::settings(Scope::Project, places);
        paths.extend([shared.with_file_name("settings.local.json"), shared]);
    }
    paths.push(claude::settings(Scope::User, places));
    let layers = layers(paths, read);
    let mut found = Vec::new();
    // A single value: the strongest layer that has it decides.
    let hooks = layers.iter().find_map(|layer| Some((layer, layer.look(&["disableAllHooks"])?.as_bool()?)));
    if let Some((layer, true)) = hooks {
        found.push(layer.told("disableAllHooks", "keeps every hook from running"));
    }
    let only = layers
        .iter()
        .find(|layer| layer.path == company && layer.look(&["allowManagedHooksOnly"]) == Some(true.into()));
    found.extend(
        only.map(|layer| layer.told("allowManagedHooksOnly", "keeps hooks of users and projects from running")),
    );
    let denied = layers.iter().find(|layer| {
        let names =
            |list: Value| list.as_array().is_some_and(|list| list.iter().any(|one| one["serverName"] == SERVER));
        layer.path == company && layer.look(&["deniedMcpServers"]).is_some_and(names)
    });
    found.extend(denied.map(|layer| layer.told("deniedMcpServers", "forbids the server")));
    // It counts for servers that a checkout brings.
    if scope == Scope::Project {
        let off = layers.iter().find(|layer| layer.lists(&["disabledMcpjsonServers"]) == Some(true));
        found.extend(off.map(|layer| layer.told("disabledMcpjsonServers", "switches the server off")));
    }
    found.extend(switched_off_here(scope, places, read));
    found
}

/// What was switched off with `/mcp` in a checkout stands in the file of the servers, by the checkout's path.
fn switched_off_here(scope: Scope, places: &Places, read: &dyn Fn(&Path) -> Option<String>) -> Option<String> {
    let state = Layer { path: places.claude_state(), text: read(&places.claude_state())? };
    let project = places.project.as_ref()?.display().to_string();
    let mut names = vec!["disabledMcpServers"];
    if scope == Scope::Project {
        names.push("disabledMcpjsonServers");
    }
    let name = names.into_iter().find(|name| state.lists(&["projects", &project, name]) == Some(true))?;
    Some(state.told(name, &format!("switches the server off in {project}")))
}

fn of_codex(places: &Places, read: &dyn Fn(&Path) -> Option<String>) -> Vec<String> {
    let project = places.project.as_ref().map(|project| project.join(".codex/config.toml"));
    let paths = project.into_iter().chain([places.codex_home().join("config.toml")]).collect();
    let layers = layers(paths, read);
    let value = |layer: &Layer, path: [&str; 2]| {
        let file: toml_edit::DocumentMut = layer.text.parse().ok()?;
        file.get(path[0])?.get(path[1])?.as_bool()
    };
    let hooks = layers.iter().find_map(|layer| Some((layer, value(layer, ["features", "hooks"])?)));
    match hooks {
        Some((layer, false)) => vec![layer.told("features.hooks", "keeps every hook from running")],
        _ => Vec::new(),
    }
}

fn of_gemini(places: &Places, read: &dyn Fn(&Path) -> Option<String>) -> Vec<String> {
    let mut paths = vec![managed("gemini-cli/settings.json", "GeminiCli/settings.json")];
    paths.extend(places.project.is_some().then(|| gemini::settings(Scope::Project, places)));
    paths.push(gemini::settings(Scope::User, places));
    let layers = layers(paths, read);
    let mut found = Vec::new();
    let hooks = layers.iter().find_map(|layer| Some((layer, layer.look(&["hooksConfig", "enabled"])?.as_bool()?)));
    if let Some((layer, false)) = hooks {
        found.push(layer.told("hooksConfig.enabled", "keeps every hook from running"));
    }
    let only = layers.iter().find(|layer| layer.lists(&["mcp", "allowed"]) == Some(false));
    found.extend(only.map(|layer| layer.told("mcp.allowed", "does not hold ctxnode")));
    let not = layers.iter().find(|layer| layer.lists(&["mcp", "excluded"]) == Some(true));
    found.extend(not.map(|layer| layer.told("mcp.excluded", "holds ctxnode")));
    found
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn found(agent: Agent, scope: Scope, files: &[(&str, &str)]) -> Vec<String> {
        let places = Places { project: Some("/r".into()), ..Places::of("/h") };
        let company = managed("claude-code/managed-settings.json", "ClaudeCode/managed-settings.json");
        let files: BTreeMap<PathBuf, String> = files
            .iter()
            .map(|(path, text)| (if *path == "company" { company.clone() } else { path.into() }, (*text).to_owned()))
            .collect();
        let found = blockers(agent, scope, &places, &|path| files.get(path).cloned());
        found.into_iter().map(|line| line.replace(&company.display().to_string(), "company")).collect()
    }

    fn first(agent: Agent, scope: Scope, files: &[(&str, &str)]) -> Option<String> {
        let found = found(agent, scope, files);
        assert!(found.len() < 2, "{found:?}");
        found.first().map(|line| line.split_inclusive(' ').take(2).collect::<String>().trim_end().to_owned())
    }

    #[test]
    fn c_12_a_setting_that_blocks_is_named_in_whatever_layer_it_stands() {
        let cases = [
            (Scope::User, "company", "{\"allowManagedHooksOnly\": true}", "company: allowManagedHooksOnly"),
            (Scope::User, "company", "{\"disableAllHooks\": true}", "company: disableAllHooks"),
            (
                Scope::User,
                "company",
                "{\"deniedMcpServers\": [{\"serverName\": \"ctxnode\"}]}",
                "company: deniedMcpServers",
            ),
            (
                Scope::User,
                "/h/.claude/settings.json",
                "{\"disableAllHooks\": true}",
                "/h/.claude/settings.json: disableAllHooks",
            ),
            (
                Scope::User,
                "/r/.claude/settings.json",
                "{\"disableAllHooks\": true}",
                "/r/.claude/settings.json: disableAllHooks",
            ),
            (
                Scope::Project,
                "/r/.claude/settings.local.json",
                "{\"disabledMcpjsonServers\": [\"ctxnode\"]}",
                "/r/.claude/settings.local.json: disabledMcpjsonServers",
            ),
            (
                Scope::User,
                "/h/.claude.json",
                "{\"projects\": {\"/r\": {\"disabledMcpServers\": [\"ctxnode\"]}}}",
                "/h/.claude.json: disabledMcpServers",
            ),
        ];
        for (scope, path, text, told) in cases {
            assert_eq!(first(Agent::Claude, scope, &[(path, text)]).as_deref(), Some(told));
        }
        let other = "{\"projects\": {\"/other\": {\"disabledMcpServers\": [\"ctxnode\"]}}}";
        assert_eq!(first(Agent::Claude, Scope::User, &[("/h/.claude.json", other)]), None, "another checkout");
        // What a checkout says about its own servers is not about the user's.
        let own = [("/h/.claude/settings.json", "{\"disabledMcpjsonServers\": [\"ctxnode\"]}")];
        assert_eq!(first(Agent::Claude, Scope::User, &own), None);
    }

    #[test]
    fn c_12_a_stronger_layer_overrules() {
        let user = ("/h/.claude/settings.json", "{\"disableAllHooks\": true}");
        let local = ("/r/.claude/settings.local.json", "{\"disableAllHooks\": false}");
        assert_eq!(first(Agent::Claude, Scope::User, &[user, local]), None);
        let company = ("company", "{\"disableAllHooks\": true}");
        let told = Some("company: disableAllHooks".to_owned());
        assert_eq!(first(Agent::Claude, Scope::User, &[user, local, company]), told);
    }

    #[test]
    fn c_12_the_layers_of_the_others_count_too() {
        let off = "[features]\nhooks = false\n";
        let told = first(Agent::Codex, Scope::User, &[("/r/.codex/config.toml", off)]);
        assert_eq!(told.as_deref(), Some("/r/.codex/config.toml: features.hooks"));
        let on = ("/r/.codex/config.toml", "[features]\nhooks = true\n");
        assert_eq!(first(Agent::Codex, Scope::User, &[("/h/.codex/config.toml", off), on]), None);
        let told = first(
            Agent::Gemini,
            Scope::User,
            &[("/r/.gemini/settings.json", "{\"mcp\": {\"excluded\": [\"ctxnode\"]}}")],
        );
        assert_eq!(told.as_deref(), Some("/r/.gemini/settings.json: mcp.excluded"));
    }
}
