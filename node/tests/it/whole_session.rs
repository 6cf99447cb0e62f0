//! A working day of real agent CLIs: set up by our command, begun by their own hooks, worked through MCP, handed from one
//! CLI on one machine to another CLI on another. Only the models are scripted.

use std::path::Path;
use std::process::Command;

use ctxnode_testkit::{Daemon, Sandbox, agent_clis, wait_until};
use serde_json::{Value, json};

use crate::fleet::{connected, join, node};
use crate::model::Model;
use crate::support::{SOON, alpha_repo, ctxnode, person, printed, ready, start, text};

const NEXT: &str = "1. Finish src/parser.rs: the quokka case still fails";

/// The folder of a CLI's state may not lie below the directory of temporary files for Codex.
pub(crate) fn quiet(command: &mut Command) -> &mut Command {
    command
        .env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")
        .env("DISABLE_TELEMETRY", "1")
        .env("DISABLE_AUTOUPDATER", "1")
}

pub(crate) fn set_up(sandbox: &Sandbox, cli: &str) {
    let done = ctxnode(sandbox, &["setup", cli, "--scope", "user"]);
    assert!(done.status.success(), "{}{}", printed(&done), String::from_utf8_lossy(&done.stderr));
}

fn claude(sandbox: &Sandbox, folder: &Path, model: &Model, checkout: &Path) -> String {
    let mut command = sandbox.command(folder.join("claude").to_str().unwrap());
    quiet(&mut command).env("ANTHROPIC_BASE_URL", model.url()).env("ANTHROPIC_API_KEY", "scripted");
    command.args(["-p", "Work on issue 42", "--output-format", "json", "--allowedTools", "mcp__ctxnode__*"]);
    let output = command.current_dir(checkout).output().unwrap();
    format!("{}{}", printed(&output), String::from_utf8_lossy(&output.stderr))
}

fn codex(sandbox: &Sandbox, folder: &Path, model: &Model, checkout: &Path) -> String {
    let provider = format!(
        "{{ name = \"scripted\", base_url = \"{}/v1\", wire_api = \"responses\", env_key = \"SCRIPTED_KEY\" }}",
        model.url()
    );
    let mut command = sandbox.command("node");
    command.arg(folder.join("codex")).env("SCRIPTED_KEY", "scripted").args(["exec", "--skip-git-repo-check"]);
    command.args(["--dangerously-bypass-approvals-and-sandbox", "--dangerously-bypass-hook-trust"]);
    command.args(["-c", "model_provider=\"scripted\"", "-c", &format!("model_providers.scripted={provider}")]);
    let output = command.arg("Go on").current_dir(checkout).output().unwrap();
    format!("{}{}", printed(&output), String::from_utf8_lossy(&output.stderr))
}

/// What the model was told before it said anything itself.
fn first_heard(model: &Model) -> String {
    let heard = model.heard();
    heard.first().unwrap_or_else(|| panic!("the model was never asked")).to_string()
}

#[test]
fn h_11_l_02_a_session_of_claude_is_handed_to_codex_on_another_machine() {
    let Some(folder) = agent_clis() else { return };
    let mac = ready();
    let _mac_daemon = start(&mac);
    let server = join(&mac, "server1", &[]);
    let _server_daemon = Daemon::start(&server);
    let (here, there) = (alpha_repo(&mac, "console"), alpha_repo(&server, "console"));
    set_up(&mac, "claude");
    set_up(&server, "codex");

    let model = Model::start(vec![
        ("sod", json!({ "issue": 42 })),
        ("note", json!({ "action": "create", "content": "The parser keeps quokkas apart.", "human_requested": true })),
        ("claim", json!({ "action": "take", "kind": "path", "key": "src/parser.rs" })),
        ("handoff", json!({ "status": "in_progress", "in_progress": ["The parser"], "next_steps": [NEXT] })),
    ]);
    let said = claude(&mac, &folder, &model, here.path());
    assert!(said.contains("All done."), "{said}");
    let told = first_heard(&model);
    assert!(told.contains("alpha-org/console") && told.contains("sess_"), "the hook injected the start: {told}");
    let sod = model.heard()[1].to_string();
    assert!(sod.contains("resumed"), "S-31: the tool found the session that the hook began: {sod}");

    let handoff = person(&mac).do_("handoff.list", json!({}));
    assert_eq!((&handoff["total"], &handoff["items"][0]["issue"]), (&json!(1), &json!(42)), "{handoff}");
    let agent = text(&handoff["items"][0], "from_agent").to_owned();
    assert!(agent.starts_with("claude-"), "{agent}");
    assert_eq!(person(&mac).do_("note.list", json!({}))["total"], 1);
    wait_until(SOON, "the session is over", || {
        person(&mac).do_("session.list", json!({ "venture": "alpha" }))["total"] == 0
    });

    node(&server, "both machines are equal", |reply: &Value| connected(reply, 1));
    let second = Model::start(vec![("sod", json!({}))]);
    let said = codex(&server, &folder, &second, there.path());
    assert!(said.contains("All done."), "{said}");
    let told = first_heard(&second);
    assert!(told.contains("quokka case still fails") && told.contains(&agent), "the handoff is in front of it: {told}");
}
