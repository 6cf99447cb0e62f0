//! The registration with the agent CLI: `ctxnode` compares and repairs it; here it is called, and what it says is shown.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::agents::Agent;
use crate::program::{Program, RunError};
use crate::refusal::{Refusal, Step};
use crate::world::World;

/// How long the registration may take; some CLIs are started once to see whether they accept their file.
const LIMIT: Duration = Duration::from_secs(60);
/// What a command line answers that does not know the command.
const BAD_USAGE: i32 = 2;

/// Compares and repairs the registration. What could not be done is said: an agent without our server is still an agent.
pub(super) async fn register(world: &World, agent: Agent, directory: &Path) {
    if let Err(refusal) = attempt(world, agent, directory).await {
        let (title, why, fix) = (agent.title(), refusal.why(), refusal.fix());
        world.screen.say(&format!("note: {why}; {title} starts as it is set up now ({fix})"));
    }
}

async fn attempt(world: &World, agent: Agent, directory: &Path) -> Result<(), Refusal> {
    let program = world.ctxnode()?;
    let scope = scope(agent, directory);
    let setup = Program::new(&program, ["setup", agent.name(), "--scope", scope, "--json"]).within(directory);
    let done = setup.run(LIMIT).await.map_err(|error| match error {
        RunError::Spawn { source, .. } | RunError::Output { source, .. } => {
            Refusal::Run { step: Step::Setup, program: program.clone(), source }
        }
        RunError::TooSlow { .. } => Refusal::Setup { agent, code: 124, reason: error.to_string() },
    })?;
    let report: Value = serde_json::from_slice(&done.output).unwrap_or(Value::Null);
    for line in lines(&report) {
        world.screen.say(&format!("setup: {line}"));
    }
    match done.status.code() {
        Some(0) => Ok(()),
        Some(BAD_USAGE) if report.is_null() => {
            world
                .screen
                .say(&format!("note: {} cannot register itself; the agent starts without it", program.display()));
            Ok(())
        }
        code => {
            let errors = String::from_utf8_lossy(&done.errors).into_owned();
            let reason = errors.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
            Err(Refusal::Setup { agent, code: code.unwrap_or(1), reason })
        }
    }
}

/// Returns where the registration belongs: with the checkout when it already carries ours for Claude Code, for everybody who
/// clones it, and with the user otherwise. A launch must not leave files in a checkout that nobody asked for: it would never be clean again.
fn scope(agent: Agent, directory: &Path) -> &'static str {
    if agent != Agent::Claude {
        return "user";
    }
    let text = std::fs::read(directory.join(".mcp.json")).unwrap_or_default();
    // A file that does not parse is what `ctxnode setup` reports.
    let ours = serde_json::from_slice::<Value>(&text).is_ok_and(|file| !file["mcpServers"]["ctxnode"].is_null());
    if ours { "project" } else { "user" }
}

/// Returns what a person should know of a report: changes, what was left alone and why, what must be confirmed.
fn lines(report: &Value) -> Vec<String> {
    let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let mut out = Vec::new();
    for file in report["files"].as_array().into_iter().flatten() {
        let (action, path) = (text(file, "action"), text(file, "path"));
        match text(file, "reason").as_str() {
            _ if action == "unchanged" => {}
            "" => out.push(format!("{action} {path}")),
            reason => out.push(format!("{action} {path}: {reason}")),
        }
    }
    for key in ["blockers", "confirm"] {
        out.extend(report[key].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned));
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_checkout_is_left_clean_unless_it_carries_our_entry() {
        let checkout = tempfile::tempdir().unwrap();
        assert_eq!(scope(Agent::Claude, checkout.path()), "user");
        let write = |text: &str| std::fs::write(checkout.path().join(".mcp.json"), text).unwrap();
        write(r#"{ "mcpServers": { "other": {} } }"#);
        assert_eq!(scope(Agent::Claude, checkout.path()), "user");
        write(r#"{ "mcpServers": { "ctxnode": { "command": "ctxnode" } } }"#);
        assert_eq!(scope(Agent::Claude, checkout.path()), "project");
        assert_eq!(scope(Agent::Codex, checkout.path()), "user");
    }

    #[test]
    fn a_report_is_shown_without_what_did_not_change() {
        let report = json!({
            "files": [
                { "cli": "claude", "path": "/a", "what": "x", "action": "unchanged" },
                { "cli": "claude", "path": "/b", "what": "x", "action": "changed" },
                { "cli": "claude", "path": "/c", "what": "x", "action": "broken", "reason": "line 3" },
            ],
            "blockers": ["hooks are off"],
            "confirm": ["claude: trust the folder"],
        });
        let expected = ["changed /b", "broken /c: line 3", "hooks are off", "claude: trust the folder"];
        assert_eq!(lines(&report), expected);
        assert_eq!(lines(&Value::Null), Vec::<String>::new());
    }
}
