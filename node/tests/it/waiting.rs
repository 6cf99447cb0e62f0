//! Commands typed as a person types them, in real agent CLIs: each reaches the model, and after the start of day the agent waits
//! for its human. The model is scripted and does what the command says, so that what is shown is what reaches it, and that nothing
//! of ours makes it go on.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use ctxnode_launcher::agents::Agent;
use ctxnode_launcher::skills::{SKILLS, Skill, name_in};
use ctxnode_testkit::{Sandbox, agent_clis};
use serde_json::{Value, json};

use crate::model::Model;
use crate::support::{alpha_repo, printed, ready, start};
use crate::whole_session::{quiet, set_up};

/// What every form of the command ends with.
const STOP: &str = "Then stop and wait. Call no further tool before the human answered.";
/// What the start itself ends with.
const ASK: &str = "Then wait for the answer.";
const ANSWER: &str = "I would like to focus on the quokka parser";

/// A model that does what the command says: it calls two tools, and then it waits.
fn obedient() -> Model {
    Model::start(vec![("preflight", json!({})), ("sod", json!({}))])
}

/// What was said to the model in the turn that the command made: the command, two calls, and after both their results, the last
/// of which ends with what to do. Returns the number of its requests.
fn waits(model: &Model, said: &str) -> usize {
    let turns = model.turns();
    assert_eq!(turns.len(), 3, "two tools and the end of the turn: {said}\n{turns:#?}");
    let (first, last) = (turns[0].to_string(), turns[2].to_string());
    assert!(first.contains(STOP), "the command reaches the model: {first}");
    assert!(
        !first.contains(ANSWER) && last.contains("What would you like to focus on?") && last.contains(ASK),
        "{last}"
    );
    turns.len()
}

/// The next request is the one that the human's answer made: there was none in between.
fn goes_on(model: &Model, before: usize, said: &str) {
    let turns = model.turns();
    assert!(turns.len() > before, "the answer reaches the model: {said}");
    assert!(turns[before].to_string().contains(ANSWER), "nothing before the human's answer: {}", turns[before]);
}

/// A Claude Code that stays and reads what its human types.
struct Claude {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Claude {
    fn start(sandbox: &Sandbox, folder: &Path, model: &Model, directory: &Path) -> Self {
        let mut command = sandbox.command(folder.join("claude").to_str().unwrap());
        quiet(&mut command).env("ANTHROPIC_BASE_URL", model.url()).env("ANTHROPIC_API_KEY", "scripted");
        command.args(["-p", "--input-format", "stream-json", "--output-format", "stream-json", "--verbose"]);
        command.args(["--allowedTools", "mcp__ctxnode__*"]).current_dir(directory);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, stdin, stdout }
    }

    /// Types something and waits until the turn is over; returns what it ended with.
    fn turn(&mut self, text: &str) -> String {
        let message = json!({ "type": "user", "message": { "role": "user", "content": text } });
        writeln!(self.stdin, "{message}").unwrap();
        let mut seen = String::new();
        loop {
            let mut line = String::new();
            assert!(self.stdout.read_line(&mut line).unwrap() > 0, "it ended: {seen}");
            let event: Value = serde_json::from_str(&line).unwrap();
            if event["type"] == "result" {
                return line;
            }
            seen.push_str(&line);
        }
    }
}

impl Drop for Claude {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// C-13 with Claude Code.
#[test]
fn c_13_claude_waits_for_its_human_after_the_start() {
    let Some(folder) = agent_clis() else { return };
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    set_up(&sandbox, "claude");
    let model = obedient();
    let mut claude = Claude::start(&sandbox, &folder, &model, repo.path());
    let said = claude.turn("/sod");
    let before = waits(&model, &said);
    let said = claude.turn(ANSWER);
    goes_on(&model, before, &said);
}

fn run(command: &mut Command, directory: &Path) -> String {
    let output = command.current_dir(directory).stdin(Stdio::null()).output().unwrap();
    format!("{}{}", printed(&output), String::from_utf8_lossy(&output.stderr))
}

fn codex(sandbox: &Sandbox, folder: &Path, model: &Model) -> Command {
    let provider = format!(
        "{{ name = \"scripted\", base_url = \"{}/v1\", wire_api = \"responses\", env_key = \"SCRIPTED_KEY\" }}",
        model.url()
    );
    let mut command = sandbox.command("node");
    command.arg(folder.join("codex")).env("SCRIPTED_KEY", "scripted").arg("exec");
    command.args([
        "--dangerously-bypass-approvals-and-sandbox",
        "--dangerously-bypass-hook-trust",
        "--skip-git-repo-check",
    ]);
    command.args(["-c", "model_provider=\"scripted\"", "-c", &format!("model_providers.scripted={provider}")]);
    command
}

/// C-13 with Codex: its turn is over, and the human's answer goes on with the conversation.
#[test]
fn c_13_codex_waits_for_its_human_after_the_start() {
    let Some(folder) = agent_clis() else { return };
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    set_up(&sandbox, "codex");
    let model = obedient();
    let said = run(codex(&sandbox, &folder, &model).arg("$sod"), repo.path());
    let before = waits(&model, &said);
    let said = run(codex(&sandbox, &folder, &model).args(["resume", "--last", ANSWER]), repo.path());
    goes_on(&model, before, &said);
}

fn gemini(sandbox: &Sandbox, folder: &Path, model: &Model) -> Command {
    let mut command = sandbox.command("node");
    command.arg(folder.join("gemini")).env("GOOGLE_GEMINI_BASE_URL", model.url()).env("GEMINI_API_KEY", "scripted");
    // A folder that nobody trusts has no servers; a test trusts its own.
    // A model that is named is not chosen by another one first.
    command.env("GEMINI_CLI_TRUST_WORKSPACE", "true").args(["--approval-mode", "yolo", "--model", "gemini-2.5-pro"]);
    command
}

/// Writes what Gemini CLI has in its settings before it is set up.
fn sign_in(sandbox: &Sandbox) {
    let settings = sandbox.home().join(".gemini/settings.json");
    std::fs::create_dir_all(settings.parent().unwrap()).unwrap();
    // The sign-in is what it writes itself; left out, another address than Google's means a gateway to it. Without a terminal it
    // puts what the start hook says before the prompt, which then is no command any more (0.61); in a terminal it does not.
    let own = json!({
        "security": { "auth": { "selectedType": "gemini-api-key" } },
        "hooksConfig": { "disabled": ["ctxnode-session-start"] },
    });
    std::fs::write(&settings, own.to_string()).unwrap();
}

/// C-13 with Gemini CLI.
#[test]
fn c_13_gemini_waits_for_its_human_after_the_start() {
    let Some(folder) = agent_clis() else { return };
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    sign_in(&sandbox);
    set_up(&sandbox, "gemini");
    let model = obedient();
    let said = run(gemini(&sandbox, &folder, &model).args(["-p", "/sod"]), repo.path());
    let before = waits(&model, &said);
    let said = run(gemini(&sandbox, &folder, &model).args(["--resume", "latest", "-p", ANSWER]), repo.path());
    goes_on(&model, before, &said);
}

/// Part of the text of a command that no other one has.
fn own_line(skill: &Skill) -> String {
    let of = |other: &Skill, line: &str| other.body.contains(line);
    let own = |line: &&str| line.len() > 20 && !SKILLS.iter().any(|other| other.name != skill.name && of(other, line));
    let line = skill.body.lines().map(str::trim).find(own).unwrap();
    // As it stands in a request.
    json!(line).to_string().trim_matches('"').to_owned()
}

/// C-01: every command, typed by its name, brings its text before the model, in each CLI; no command of the CLI's own, and nothing
/// else of ours, stands before it.
#[test]
fn c_01_each_command_is_reached_by_its_name() {
    let Some(folder) = agent_clis() else { return };
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    let mut unreached = Vec::new();
    for cli in ["codex", "gemini"] {
        if cli == "gemini" {
            sign_in(&sandbox);
        }
        set_up(&sandbox, cli);
        for skill in SKILLS {
            let model = Model::start(Vec::new());
            match cli {
                "codex" => run(codex(&sandbox, &folder, &model).arg(format!("${}", skill.name)), repo.path()),
                _ => {
                    let typed = format!("/{}", name_in(Agent::Gemini, skill.name));
                    run(gemini(&sandbox, &folder, &model).args(["-p", &typed]), repo.path())
                }
            };
            let heard = model.turns().iter().any(|turn| turn.to_string().contains(&own_line(skill)));
            if !heard {
                unreached.push(format!("{cli} {}", skill.name));
            }
        }
    }
    set_up(&sandbox, "claude");
    let model = Model::start(Vec::new());
    let mut claude = Claude::start(&sandbox, &folder, &model, repo.path());
    for skill in SKILLS {
        let before = model.turns().len();
        claude.turn(&format!("/{}", skill.name));
        if !model.turns().get(before).is_some_and(|turn| turn.to_string().contains(&own_line(skill))) {
            unreached.push(format!("claude {}", skill.name));
        }
    }
    assert_eq!(unreached, Vec::<String>::new());
}
