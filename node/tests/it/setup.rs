//! `ctxnode setup` as a person types it, and what the agent CLIs themselves say to its result.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use ctxnode_launcher::skills::SKILLS;
use ctxnode_testkit::{Sandbox, agent_clis};
use serde_json::Value;

use crate::support::{ctxnode, printed, ready, start};

fn setup(sandbox: &Sandbox, arguments: &[&str]) -> Output {
    ctxnode(sandbox, &[&["setup"], arguments].concat())
}

pub(crate) fn tree(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).unwrap().flatten() {
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                open.push(entry.path());
            } else if kind.is_file() {
                found.insert(entry.path(), fs::read(entry.path()).unwrap());
            }
        }
    }
    found
}

/// C-02, C-03 and C-12 through the command: exit codes, what is said, and a home that is as before in the end.
#[test]
fn c_02_c_12_setup_is_checked_repeated_and_removed() {
    let sandbox = ready();
    let before = tree(&sandbox.home());
    assert_eq!(setup(&sandbox, &[]).status.code(), Some(2));
    assert_eq!(setup(&sandbox, &["--all", "--check"]).status.code(), Some(1));
    assert_eq!(setup(&sandbox, &["--all", "--scope", "project"]).status.code(), Some(2));
    assert_eq!(tree(&sandbox.home()), before, "a check writes nothing");
    let shown = printed(&setup(&sandbox, &["codex", "--print"]));
    assert!(shown.contains("[mcp_servers.ctxnode]") && shown.contains("ctxnode hook codex stop"), "{shown}");
    let done = setup(&sandbox, &["--all"]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let said = printed(&done);
    let last: Vec<&str> = said.lines().rev().take(5).collect();
    assert!(last.iter().any(|line| line.contains("/hooks and trust the 8 entries")), "{said}");
    assert_eq!(setup(&sandbox, &["--all", "--check"]).status.code(), Some(0));
    let looked: Value = serde_json::from_str(&printed(&ctxnode(&sandbox, &["doctor", "--json"]))).unwrap();
    let of = |name: &str| looked["checks"].as_array().unwrap().iter().find(|row| row["name"] == name).cloned();
    assert_eq!(of("claude set-up").unwrap()["state"], "pass", "{looked}");
    let codex = of("codex set-up").unwrap();
    assert_eq!(codex["state"], "warn", "{codex}");
    assert!(codex["fix"].as_str().unwrap().contains("/hooks"), "{codex}");
    // What a human has confirmed is read from the CLI's own file, and shown by a check.
    let checked = |words: &[&str]| printed(&setup(&sandbox, &[&["codex", "--check"], words].concat()));
    assert!(checked(&[]).contains("NOT YET  codex  0 of 8 hooks were reviewed"), "{}", checked(&[]));
    let config = sandbox.home().join(".codex/config.toml");
    let written = fs::read_to_string(&config).unwrap();
    let file = sandbox.home().join(".codex/hooks.json").display().to_string();
    let events = [
        "session_start",
        "user_prompt_submit",
        "pre_tool_use",
        "post_tool_use",
        "stop",
        "pre_compact",
        "post_compact",
        "session_end",
    ];
    let trusted = events.map(|event| format!("[hooks.state.\"{file}:{event}:0:0\"]\ntrusted_hash = \"sha256:0\"\n"));
    fs::write(&config, format!("{written}\n{}", trusted.concat())).unwrap();
    let report: Value = serde_json::from_str(&checked(&["--json"])).unwrap();
    assert_eq!(report["trust"][0]["confirmed"], true, "{report}");
    let looked: Value = serde_json::from_str(&printed(&ctxnode(&sandbox, &["doctor", "--json"]))).unwrap();
    let codex = looked["checks"].as_array().unwrap().iter().find(|row| row["name"] == "codex set-up").cloned();
    assert_eq!(codex.unwrap()["state"], "pass", "{looked}");
    fs::write(&config, written).unwrap();
    let set_up = tree(&sandbox.home());
    let again: Value = serde_json::from_str(&printed(&setup(&sandbox, &["--all", "--json"]))).unwrap();
    assert_eq!(again["differs"], false, "{again}");
    assert_eq!(tree(&sandbox.home()), set_up);
    assert!(setup(&sandbox, &["--all", "--remove"]).status.success());
    let mut after = tree(&sandbox.home());
    after.remove(&sandbox.state_dir().join("setup.json"));
    assert_eq!(after, before);

    let settings = sandbox.home().join(".gemini/settings.json");
    fs::create_dir_all(settings.parent().unwrap()).unwrap();
    fs::write(&settings, "{\n  \"a\": 1,\n  \"b\" 2\n}\n").unwrap();
    let broken = setup(&sandbox, &["gemini"]);
    assert_eq!(broken.status.code(), Some(1));
    let said = printed(&broken);
    assert!(said.contains("settings.json: line 3 does not parse"), "{said}");
    assert_eq!(fs::read_to_string(&settings).unwrap(), "{\n  \"a\": 1,\n  \"b\" 2\n}\n");
}

/// C-01 and M-03: every tool and command that a text names exists, for all CLIs alike.
#[test]
fn c_01_m_03_texts_of_commands_name_what_exists() {
    let sandbox = Sandbox::new();
    let tools: Vec<&str> = ctxnode_api::ROUTES.iter().filter_map(|route| route.tool).collect();
    let mut named = 0;
    for skill in SKILLS {
        for (at, _) in skill.body.match_indices("tool `") {
            let tool = skill.body[at + "tool `".len()..].split('`').next().unwrap();
            assert!(tools.contains(&tool), "{}: tool `{tool}`", skill.name);
            named += 1;
        }
        for (at, _) in skill.body.match_indices("`ctxnode ") {
            let line = skill.body[at + 1..].split('`').next().unwrap();
            let words: Vec<&str> = line.split(' ').skip(1).filter(|word| !word.starts_with('-')).collect();
            let help = sandbox.command("ctxnode").args(&words).arg("--help").output().unwrap();
            assert!(help.status.success(), "{}: {line}", skill.name);
            for flag in line.split(' ').filter(|word| word.starts_with("--")) {
                assert!(printed(&help).contains(flag), "{}: {line}", skill.name);
            }
            named += 1;
        }
    }
    assert!(named > 15, "only {named} were found");
    for form in ctxnode_launcher::skills::FORMS {
        for (path, text) in ctxnode_launcher::skills::plugin(form) {
            if path.ends_with(".json") {
                serde_json::from_str::<Value>(&text).unwrap();
            }
        }
    }
}

/// Runs an agent CLI in the home; returns what it printed on either stream.
fn cli(sandbox: &Sandbox, folder: &Path, name: &str, arguments: &[&str]) -> String {
    let program = folder.join(name);
    let mut command = match name {
        // A program and not a script.
        "claude" => sandbox.command(program.to_str().unwrap()),
        _ => {
            let mut command = sandbox.command("node");
            command.arg(program);
            command
        }
    };
    // A folder that nobody trusts has no servers; a test trusts its own.
    command.env("GEMINI_CLI_TRUST_WORKSPACE", "true").args(arguments).current_dir(sandbox.home());
    let output = command.output().unwrap();
    format!("{}{}", printed(&output), String::from_utf8_lossy(&output.stderr))
}

/// C-01 and C-02 with the CLIs themselves: after setup each finds the server, and after removal none does.
#[test]
fn c_02_the_agent_clis_know_the_server_after_setup() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let Some(folder) = agent_clis() else { return };
    let before = tree(&sandbox.home());
    for name in ["claude", "codex", "gemini"] {
        assert!(setup(&sandbox, &[name, "--scope", "user"]).status.success());
        assert!(setup(&sandbox, &[name, "--scope", "user", "--remove"]).status.success());
    }
    let own = |path: &PathBuf| {
        [".claude", ".codex", ".gemini", ".agents"].iter().any(|dir| path.starts_with(sandbox.home().join(dir)))
    };
    let of_clis = |tree: BTreeMap<PathBuf, Vec<u8>>| tree.into_iter().filter(|(path, _)| own(path)).collect::<Vec<_>>();
    assert_eq!(of_clis(tree(&sandbox.home())), of_clis(before), "not a byte is left");
    for (name, connected) in [("claude", "Connected"), ("codex", "enabled"), ("gemini", "Connected")] {
        assert!(setup(&sandbox, &[name, "--scope", "user"]).status.success());
        let listed = cli(&sandbox, &folder, name, &["mcp", "list"]);
        assert!(listed.contains("ctxnode") && listed.contains(connected), "{name}: {listed}");
        // What the CLI itself wrote meanwhile is no reason to write again.
        assert_eq!(setup(&sandbox, &[name, "--scope", "user", "--check"]).status.code(), Some(0), "{name}");
        assert!(setup(&sandbox, &[name, "--scope", "user", "--remove"]).status.success());
        let listed = cli(&sandbox, &folder, name, &["mcp", "list"]);
        assert!(!listed.contains("ctxnode mcp"), "{name}: {listed}");
    }
}

/// The plugin of Claude Code is one by its own rules.
#[test]
fn c_01_claude_accepts_the_plugin() {
    let sandbox = Sandbox::new();
    let Some(folder) = agent_clis() else { return };
    let made = ctxnode(&sandbox, &["setup", "--plugin", "plugin"]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let plugin = sandbox.dev_dir().join("plugin");
    let program = folder.join("claude");
    let mut command = sandbox.command(program.to_str().unwrap());
    let output = command.args(["plugin", "validate", "--strict"]).arg(&plugin).output().unwrap();
    let said = format!("{}{}", printed(&output), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
}

/// The plugin of Codex is one by its own rules: it installs, and the extension of Gemini CLI is valid by its own.
#[test]
fn c_01_codex_and_gemini_accept_their_forms() {
    let sandbox = Sandbox::new();
    let Some(folder) = agent_clis() else { return };
    for form in ["codex", "gemini"] {
        let made = ctxnode(&sandbox, &["setup", "--plugin", form, "--form", form]);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
    let path = |name: &str| sandbox.dev_dir().join(name).display().to_string();
    cli(&sandbox, &folder, "codex", &["plugin", "marketplace", "add", &path("codex")]);
    cli(&sandbox, &folder, "codex", &["plugin", "add", "ctxnode@ctxnode"]);
    let listed = cli(&sandbox, &folder, "codex", &["plugin", "list", "--json"]);
    assert!(listed.contains("\"installed\": true") && listed.contains("ctxnode@ctxnode"), "{listed}");
    let checked = cli(&sandbox, &folder, "gemini", &["extensions", "validate", &path("gemini")]);
    assert!(checked.contains("successfully validated"), "{checked}");
}

/// Section 7.2: a wrapped status line shows theirs and ours, with theirs getting what the CLI sent; a broken one of theirs
/// costs nothing but itself.
#[test]
fn a_wrapped_status_line_shows_both() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let line = |theirs: &str| {
        let mut command = sandbox.command("sh");
        let file = sandbox.root().join("event.json");
        fs::write(&file, "{\"session_id\":\"c1\",\"model\":{\"id\":\"opus\"}}").unwrap();
        let script = format!("ctxnode statusline --and \"$1\" < {}", file.display());
        let output = command.args(["-c", &script, "sh", theirs]).output().unwrap();
        assert!(output.status.success());
        printed(&output)
    };
    assert_eq!(line("grep -o opus"), "opus | ctxnode: no session\n");
    assert_eq!(line("printf 'one\\ntwo\\n'"), "one | ctxnode: no session\ntwo\n");
    assert_eq!(line("exit 3"), "ctxnode: no session\n");
    assert_eq!(line("cat >/dev/null; printf 'still shown'; exit 1"), "still shown | ctxnode: no session\n");
    assert_eq!(line("no-such-program"), "ctxnode: no session\n");
    let began = std::time::Instant::now();
    assert_eq!(line("exec tail -f /dev/null"), "ctxnode: no session\n");
    assert!(began.elapsed() < std::time::Duration::from_secs(10));
}
