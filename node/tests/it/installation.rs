//! An installation as a whole: what doctor finds and repairs, what set-up proves, and what uninstalling leaves.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Output, Stdio};

use ctxnode_testkit::{Sandbox, bin, wait_until};
use serde_json::Value;

use crate::setup::tree;
use crate::support::{SOON, ctxnode, printed, ready, start};

fn doctor(sandbox: &Sandbox, arguments: &[&str]) -> (Option<i32>, Value) {
    let output = ctxnode(sandbox, &[&["doctor", "--json"], arguments].concat());
    (output.status.code(), serde_json::from_str(&printed(&output)).unwrap())
}

fn row(looked: &Value, name: &str, word: &str) -> Value {
    let rows = looked["checks"].as_array().unwrap().iter();
    let mut rows = rows.filter(|row| row["name"] == name && row["message"].as_str().unwrap().contains(word));
    rows.next().unwrap_or_else(|| panic!("no {name} with {word} in {looked:#}")).clone()
}

/// B-07: a deleted MCP entry, a stopped daemon and a link that leads nowhere are each named, and each repaired.
#[test]
fn b_07_doctor_names_what_is_broken_and_repairs_it() {
    let sandbox = ready();
    let mut daemon = start(&sandbox);
    assert!(ctxnode(&sandbox, &["setup", "claude", "--scope", "user"]).status.success());
    let folder = sandbox.home().join(".local/bin");
    fs::create_dir_all(&folder).unwrap();
    let (code, looked) = doctor(&sandbox, &[]);
    assert_ne!(code, Some(1), "{looked:#}");
    assert_eq!(row(&looked, "claude MCP", "12 tools")["state"], "pass");

    let state = sandbox.home().join(".claude.json");
    fs::write(&state, "{}\n").unwrap();
    symlink(sandbox.root().join("gone/launcher"), folder.join("launcher")).unwrap();
    daemon.stop();
    let (code, looked) = doctor(&sandbox, &[]);
    assert_eq!(code, Some(1));
    for (name, word) in
        [("claude set-up", ".claude.json"), ("daemon", "not running"), ("link", "leads to a file that does not exist")]
    {
        let row = row(&looked, name, word);
        assert_eq!(row["state"], "fail", "{row}");
        assert!(row["fix"].as_str().is_some_and(|fix| !fix.is_empty()), "{row}");
    }

    let (code, looked) = doctor(&sandbox, &["--fix"]);
    assert_ne!(code, Some(1), "{looked:#}");
    let (code, looked) = doctor(&sandbox, &[]);
    assert_ne!(code, Some(1), "{looked:#}");
    assert_eq!(row(&looked, "claude MCP", "12 tools")["state"], "pass");
    assert_eq!(fs::read_link(folder.join("launcher")).unwrap(), bin("launcher"));
    assert!(fs::read_to_string(&state).unwrap().contains("ctxnode"));
}

fn verify(sandbox: &Sandbox, arguments: &[&str]) -> Output {
    ctxnode(sandbox, &[&["setup", "--verify"], arguments].concat())
}

/// Section 19.1: a registration counts when the very command in the CLI's own file answers with our tools.
#[test]
fn b_01_what_is_registered_is_started_and_asked_for_its_tools() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    assert_eq!(verify(&sandbox, &["--all"]).status.code(), Some(1), "nothing is registered");
    for name in ["claude", "codex", "gemini", "agy"] {
        assert!(ctxnode(&sandbox, &["setup", name, "--scope", "user"]).status.success());
    }
    let good = verify(&sandbox, &["--all"]);
    assert!(good.status.success(), "{}", printed(&good));
    assert_eq!(printed(&good).matches(": 12 tools through `ctxnode mcp`").count(), 4, "{}", printed(&good));

    let config = sandbox.home().join(".codex/config.toml");
    let entry =
        |command: &str| fs::write(&config, format!("[mcp_servers.ctxnode]\n{command}\nargs = [\"mcp\"]\n")).unwrap();
    sandbox.fake_program("silent", "exit 0");
    sandbox.fake_program(
        "stranger",
        "read -r a; read -r b; read -r c; echo '{\"id\":2,\"result\":{\"tools\":[{\"name\":\"x\"}]}}'",
    );
    for (command, why) in [
        ("command = \"/nowhere/ctxnode\"", "cannot be started"),
        ("command = \"nobody-has-this\"", "is not on the PATH"),
        ("command = \"silent\"", "ended without an answer"),
        ("command = \"stranger\"", "lists no tool of ctxnode"),
        ("command = \"ctxnode\"\nenabled = false", "switched off"),
    ] {
        entry(command);
        let bad = verify(&sandbox, &["codex"]);
        assert_eq!(bad.status.code(), Some(1), "{command}");
        let said = printed(&bad);
        assert!(said.contains(why) && said.contains("type: ctxnode setup codex"), "{command}: {said}");
    }
}

/// A copy of the programs where bootstrap puts them, with what bootstrap writes around them.
fn bootstrapped(sandbox: &Sandbox) -> std::path::PathBuf {
    let folder = sandbox.home().join(".local/bin");
    fs::create_dir_all(&folder).unwrap();
    for name in ["ctxnode", "launcher", "dev-session"] {
        fs::copy(bin(name), folder.join(name)).unwrap();
    }
    let line = "export PATH=\"$HOME/.local/bin:$PATH\"  # added by ctxnode bootstrap\n";
    let shell = sandbox.home().join(".bashrc");
    fs::write(&shell, [b"alias x=y\n\xff no end\n".as_slice(), line.as_bytes()].concat()).unwrap();
    fs::write(sandbox.home().join(".profile"), line).unwrap();
    let record = format!(
        "program {}\nline-end {1}\npath-line {1}\nshell-file {2}\npath-line {2}\n",
        folder.join("ctxnode").display(),
        shell.display(),
        sandbox.home().join(".profile").display()
    );
    fs::create_dir_all(sandbox.state_dir()).unwrap();
    fs::write(sandbox.state_dir().join("bootstrap.record"), record).unwrap();
    folder.join("ctxnode")
}

/// B-06: configuration comes back byte by byte, no process is left, the data stays; a purge takes the data too.
#[test]
fn b_06_uninstall_restores_every_file_and_keeps_the_data() {
    let sandbox = ready();
    let home = sandbox.home();
    let foreign: [(&str, &[u8]); 4] = [
        (".claude/settings.json", b"{\n    \"model\": \"opus\"\n}\n"),
        (".codex/config.toml", b"# mine\nmodel = 'x'\n"),
        (".gemini/settings.json", b"{\n  // mine\n  \"theme\": \"x\",\n}\n"),
        ("dev/console/AGENTS.md", b"# Agents\n\nBe kind."),
    ];
    let repo = crate::support::alpha_repo(&sandbox, "console");
    for (path, text) in foreign {
        fs::create_dir_all(home.join(path).parent().unwrap()).unwrap();
        fs::write(home.join(path), text).unwrap();
    }
    let of_others = |home: &Path| {
        let inside = |path: &Path| {
            let own = [".local", "dev/console/.git"].iter().any(|part| path.starts_with(home.join(part)));
            own || path.ends_with(".bashrc") || path.ends_with(".profile")
        };
        tree(home).into_iter().filter(|(path, _)| !inside(path)).collect::<Vec<_>>()
    };
    let before = of_others(&home);
    let program = bootstrapped(&sandbox);
    let run = |arguments: &[&str], directory: &Path| {
        let mut command = sandbox.command(program.to_str().unwrap());
        let output = command.args(arguments).current_dir(directory).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        printed(&output)
    };
    run(&["daemon", "start"], &home);
    let pid = run(&["daemon", "status"], &home);
    run(&["setup", "--all", "--scope", "user"], &home);
    run(&["setup", "claude", "--scope", "project"], repo.path());
    assert_ne!(of_others(&home), before);

    // What the daemon that runs writes meanwhile, its store, its index and its log, is no work of the dry run.
    let complete = || {
        let running = [home.join(".local/share"), home.join(".local/state/ctxnode/log")];
        let files = tree(&home).into_iter().map(|(path, bytes)| (path, bytes.len()));
        files.filter(|(path, _)| !running.iter().any(|own| path.starts_with(own))).collect::<Vec<_>>()
    };
    let before_plan = complete();
    let planned = run(&["uninstall", "--dry-run"], &home);
    assert!(planned.contains("would delete") && planned.contains(".mcp.json"), "{planned}");
    assert_eq!(complete(), before_plan, "a dry run writes nothing");

    let said = run(&["uninstall"], &home);
    assert_eq!(of_others(&home), before, "{said}");
    assert_eq!(fs::read(home.join(".bashrc")).unwrap(), b"alias x=y\n\xff no end");
    assert!(!home.join(".profile").exists(), "bootstrap had made it");
    assert!(!program.exists() && !home.join(".local/bin/dev-session").exists());
    assert!(sandbox.data_dir().join("store.redb").exists() && said.contains("the replica stays"), "{said}");
    let pid: u32 = pid.split("pid ").nth(1).unwrap().split(',').next().unwrap().parse().unwrap();
    wait_until(SOON, "the daemon is gone", || ctxnode_launcher::process::start_time(pid).is_none());

    // The replica that stayed is whole; now it goes too.
    fs::create_dir_all(program.parent().unwrap()).unwrap();
    fs::copy(bin("ctxnode"), &program).unwrap();
    run(&["daemon", "start"], &home);
    sandbox.fake_program("secret-tool", "echo \"$@\" >>\"$HOME/../secret-tool.seen\"");
    run(&["uninstall", "--purge"], &home);
    let seen = fs::read_to_string(sandbox.root().join("secret-tool.seen")).unwrap_or_default();
    assert!(cfg!(not(target_os = "linux")) || seen == "clear service ctxnode\n", "the keychain is empty too: {seen}");
    assert!(!sandbox.data_dir().exists() && !sandbox.state_dir().exists());
    assert_eq!(of_others(&home), before);
}

/// B-06: a directory with a name of its own may hold more than ours, and stays.
#[test]
fn b_06_a_purge_deletes_nothing_of_others() {
    let sandbox = Sandbox::new();
    let mine = sandbox.home().join("documents");
    fs::create_dir_all(&mine).unwrap();
    fs::write(mine.join("thesis.md"), "years").unwrap();
    let at = ["--data-dir", mine.to_str().unwrap()];
    assert!(ctxnode(&sandbox, &[&["init"], at.as_slice()].concat()).status.success());
    let purged = ctxnode(&sandbox, &[&["uninstall", "--purge"], at.as_slice()].concat());
    assert_eq!(purged.status.code(), Some(1), "what is left is said: {}", printed(&purged));
    assert!(printed(&purged).contains("left: "), "{}", printed(&purged));
    assert!(mine.join("thesis.md").exists() && !mine.join("store.redb").exists());
}

/// Section 19.1: the invite code need not stand in an argument list.
#[test]
fn a_code_is_read_from_stdin() {
    let sandbox = Sandbox::new();
    let mut child = sandbox
        .command("ctxnode")
        .args(["join", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"ctxj-nonsense\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("this is no invitation"), "{said}");
    assert!(!said.contains("nonsense"), "{said}");
}

/// B-06: a machine that is no admin of its fleet still owns its processes: its daemon stops, and it can be taken off.
#[test]
fn b_06_a_writer_stops_its_own_daemon() {
    let mac = ready();
    let _daemon = start(&mac);
    let laptop = crate::fleet::join(&mac, "laptop", &["--role", "writer"]);
    assert!(ctxnode(&laptop, &["daemon", "start"]).status.success());
    crate::fleet::node(&laptop, "it knows its role", |reply| reply["role"] == "writer");
    let stopped = ctxnode(&laptop, &["daemon", "stop"]);
    assert!(stopped.status.success(), "{}", String::from_utf8_lossy(&stopped.stderr));
    assert_eq!(ctxnode(&laptop, &["daemon", "status"]).status.code(), Some(3), "it is gone");
}
