//! The agent CLIs themselves, in a home of their own: each knows the server after its own `mcp add`.

use std::path::Path;

use ctxnode_testkit::{Sandbox, agent_clis, bin};

use crate::support::{printed, ready, start};

/// Runs an agent CLI in the home; returns what it printed on either stream.
fn run(sandbox: &Sandbox, folder: &Path, cli: &str, arguments: &[&str]) -> String {
    let mut command = sandbox.command("node");
    command.arg(folder.join(cli)).args(arguments).current_dir(sandbox.home());
    // A folder that nobody trusts has no servers; a test trusts its own.
    let output = command.env("GEMINI_CLI_TRUST_WORKSPACE", "true").output().unwrap();
    format!("{}{}", printed(&output), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn gemini_and_codex_list_the_server() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let Some(folder) = agent_clis() else { return };
    let program = bin("ctxnode");
    let program = program.to_str().unwrap();
    run(&sandbox, &folder, "gemini", &["mcp", "add", "--scope", "user", "ctxnode", program, "mcp"]);
    let listed = run(&sandbox, &folder, "gemini", &["mcp", "list"]);
    assert!(listed.contains("ctxnode") && listed.contains("Connected"), "{listed}");
    run(&sandbox, &folder, "codex", &["mcp", "add", "ctxnode", "--", program, "mcp"]);
    let listed = run(&sandbox, &folder, "codex", &["mcp", "list"]);
    assert!(listed.contains("ctxnode") && listed.contains("enabled"), "{listed}");
}

#[test]
fn claude_lists_the_server_as_connected() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let Some(folder) = agent_clis() else { return };
    let program = bin("ctxnode");
    // Claude Code is a program and not a script.
    let claude = |arguments: &[&str]| {
        let mut command = sandbox.command(folder.join("claude").to_str().unwrap());
        let output = command.args(arguments).current_dir(sandbox.home()).output().unwrap();
        format!("{}{}", printed(&output), String::from_utf8_lossy(&output.stderr))
    };
    claude(&["mcp", "add", "--scope", "user", "ctxnode", "--", program.to_str().unwrap(), "mcp"]);
    let listed = claude(&["mcp", "list"]);
    assert!(listed.contains("ctxnode") && listed.contains("Connected"), "{listed}");
}
