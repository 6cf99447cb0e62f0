//! An installation as a whole: what doctor finds and repairs, what set-up proves, and what uninstalling leaves.

use std::fs;
use std::io::{Read as _, Write as _};
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
    let foreign: [(&str, &[u8]); 5] = [
        (".tmux.conf", b"# mine\nset -g prefix C-a\n"),
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
    run(&["tmux", "setup"], &home);
    assert!(fs::read_to_string(home.join(".tmux.conf")).unwrap().starts_with("source-file -q "));
    assert_ne!(of_others(&home), before);

    // What the daemon that runs writes meanwhile, its store, its index and its log, is no work of the dry run.
    let complete = || {
        let running = [home.join(".local/share"), home.join(".local/state/ctxnode/log")];
        let files = tree(&home).into_iter().map(|(path, bytes)| (path, bytes.len()));
        files.filter(|(path, _)| !running.iter().any(|own| path.starts_with(own))).collect::<Vec<_>>()
    };
    let before_plan = complete();
    let planned = run(&["uninstall", "--dry-run"], &home);
    for word in ["would delete", ".mcp.json", ".tmux.conf", ".claude.json"] {
        assert!(planned.contains(word), "{word}: {planned}");
    }
    assert_eq!(complete(), before_plan, "a dry run writes nothing");

    let said = run(&["uninstall"], &home);
    assert_eq!(of_others(&home), before, "{said}");
    assert!(!home.join(".config/ctxnode").exists() && !sandbox.state_dir().join("setup.json").exists());
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

/// B-06: a name says nothing about who owns what lies in a directory: files of ours go by their names, and nothing else.
#[test]
fn b_06_a_purge_goes_by_files_and_not_by_the_name_of_a_directory() {
    let sandbox = Sandbox::new();
    let mine = sandbox.home().join("src/ctxnode");
    for (path, text) in [("main.rs", "fn main() {}"), ("backups/photos.zip", "photos"), ("log/build.log", "log")] {
        fs::create_dir_all(mine.join(path).parent().unwrap()).unwrap();
        fs::write(mine.join(path), text).unwrap();
    }
    let before = tree(&mine);
    let at = ["--data-dir", mine.to_str().unwrap()];
    let run = |words: &[&str]| ctxnode(&sandbox, &[words, at.as_slice()].concat());
    assert!(run(&["init"]).status.success());
    assert!(run(&["daemon", "start"]).status.success());
    assert!(run(&["backup"]).status.success());
    fs::write(sandbox.state_dir().join("mine.txt"), "mine").unwrap();
    let said = run(&["uninstall", "--purge"]);
    let text = printed(&said);
    assert_eq!(said.status.code(), Some(1), "{text}");
    assert_eq!(tree(&mine), before, "{text}");
    assert!(text.contains("main.rs") && text.contains("photos.zip") && text.contains("mine.txt"), "{text}");
    assert_eq!(tree(&sandbox.state_dir()).len(), 1, "{text}");
}

/// B-06: an open agent starts the daemon again as soon as it is gone; while ctxnode is taken off it cannot.
#[test]
fn b_06_an_open_agent_does_not_bring_the_daemon_back() {
    let sandbox = ready();
    let program = bootstrapped(&sandbox);
    let program = program.to_str().unwrap();
    let run = |words: &[&str]| sandbox.command(program).args(words).stdin(Stdio::null()).output();
    assert!(run(&["daemon", "start"]).unwrap().status.success());
    // To take all of it out again takes longer than a daemon needs to come up.
    assert!(run(&["setup", "--all", "--scope", "user"]).unwrap().status.success());
    let said = std::thread::scope(|scope| {
        // Until the program is gone.
        scope.spawn(|| while run(&["daemon", "start"]).is_ok() {});
        run(&["uninstall"]).unwrap()
    });
    assert!(said.status.success(), "{}", printed(&said));
    let left = ctxnode(&sandbox, &["daemon", "status"]);
    assert_eq!(left.status.code(), Some(3), "none runs: {}", printed(&left));
    assert!(!Path::new(program).exists());
}

/// B-06: what cannot be undone is said, everything else is done, and what setup remembers stays for the next time.
#[test]
fn b_06_what_is_left_is_said_and_remembered() {
    let sandbox = ready();
    let repo = crate::support::alpha_repo(&sandbox, "console");
    assert!(ctxnode(&sandbox, &["setup", "claude", "codex", "--scope", "user"]).status.success());
    let mut command = sandbox.command("ctxnode");
    command.args(["setup", "claude", "--scope", "project"]).current_dir(repo.path());
    assert!(command.output().unwrap().status.success());
    let config = sandbox.home().join(".codex/config.toml");
    let good = fs::read(&config).unwrap();
    fs::write(&config, b"\xff\xfe").unwrap();
    let away = sandbox.home().join("away");
    fs::rename(repo.path(), &away).unwrap();
    let said = ctxnode(&sandbox, &["uninstall"]);
    assert_eq!(said.status.code(), Some(1), "{}", printed(&said));
    assert!(printed(&said).contains(&format!("left: {}", config.display())), "{}", printed(&said));
    assert!(printed(&said).contains("not there now"), "{}", printed(&said));
    assert!(!sandbox.home().join(".claude.json").exists() && !sandbox.home().join(".codex/hooks.json").exists());
    let remembered = fs::read_to_string(sandbox.state_dir().join("setup.json")).unwrap();
    assert!(remembered.contains("config.toml") && remembered.contains(".mcp.json"), "{remembered}");

    fs::write(&config, good).unwrap();
    fs::rename(&away, repo.path()).unwrap();
    let said = ctxnode(&sandbox, &["uninstall"]);
    assert!(said.status.success(), "{}", printed(&said));
    assert!(!config.exists() && !repo.path().join(".mcp.json").exists());
    assert!(!sandbox.state_dir().join("setup.json").exists());
}

/// B-06: a shell's file is replaced as a whole: whoever reads it meanwhile reads all of it.
#[test]
fn b_06_a_shell_file_is_never_half() {
    let sandbox = ready();
    bootstrapped(&sandbox);
    let path = sandbox.home().join(".bashrc");
    let before = fs::read(&path).unwrap();
    let mut open = fs::File::open(&path).unwrap();
    let said = ctxnode(&sandbox, &["uninstall"]);
    assert!(printed(&said).contains("take the PATH line out of"), "{}", printed(&said));
    let mut read = Vec::new();
    std::io::Read::read_to_end(&mut open, &mut read).unwrap();
    assert_eq!(read, before);
    assert_ne!(fs::read(&path).unwrap(), before);
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

/// B-05: a recovery key that nobody could read belongs to no replica, and the next try makes one.
#[test]
fn b_05_a_recovery_key_that_was_not_shown_makes_no_replica() {
    for form in [&["init"][..], &["init", "--json", "--show-recovery-key"]] {
        let sandbox = Sandbox::new();
        let store = sandbox.data_dir().join("store.redb");
        let gone = |output: Stdio| {
            let done = sandbox.command("ctxnode").args(form).stdout(output).stderr(Stdio::piped()).output().unwrap();
            assert!(!done.status.success(), "{done:?}");
            assert!(!done.stderr.is_empty() && !store.exists(), "{done:?}");
        };
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        gone(writer.into());
        if let Ok(full) = fs::File::options().write(true).open("/dev/full") {
            gone(full.into());
        }
        let made = ctxnode(&sandbox, form);
        let text = printed(&made);
        assert!(made.status.success() && store.exists(), "{made:?}");
        match form {
            ["init"] => {
                let key = text.find("recovery key: ctxr-").unwrap();
                let counts = text.rfind("\nreplica made at ").unwrap();
                assert!(key < counts, "{text}");
            }
            _ => assert!(serde_json::from_str::<Value>(&text).unwrap()["recovery_key"].is_string(), "{text}"),
        }
    }
}

/// What cannot be put in its place after the key was shown ends with an error, and stdout holds one object all the same.
#[test]
fn b_05_a_replica_that_cannot_be_put_in_its_place_is_an_error_after_its_key() {
    let sandbox = Sandbox::new();
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    let mut command = sandbox.command("ctxnode");
    command.args(["init", "--json"]).stdout(writer.try_clone().unwrap()).stderr(Stdio::piped());
    // Blanks mean nothing in JSON; while nobody reads them, the program waits with its object.
    let blanks = std::thread::spawn(move || writer.write_all(&vec![b' '; 1 << 20]));
    let child = command.spawn().unwrap();
    drop(command);
    let store = sandbox.data_dir().join("store.redb");
    wait_until(SOON, "the replica is being made", || store.with_extension("new").exists());
    fs::create_dir(&store).unwrap();
    let mut printed = String::new();
    reader.read_to_string(&mut printed).unwrap();
    blanks.join().unwrap().unwrap();
    let done = child.wait_with_output().unwrap();
    assert_eq!(done.status.code(), Some(1), "{done:?}");
    let object: Value = serde_json::from_str(&printed).unwrap();
    assert!(object["fleet"].is_string() && object["error"].is_null(), "{object}");
    assert!(String::from_utf8_lossy(&done.stderr).contains("store.redb cannot be used"), "{done:?}");
    fs::remove_dir(&store).unwrap();
    assert!(ctxnode(&sandbox, &["init"]).status.success() && store.is_file());
}

/// Two replicas of one user: each has a daemon of its own, and neither takes the other's place.
#[test]
fn a_second_data_directory_has_its_own_daemon_and_leaves_the_first_alone() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let mine = sandbox.home().join("second");
    let at = ["--data-dir", mine.to_str().unwrap()];
    let run = |words: &[&str]| ctxnode(&sandbox, &[words, at.as_slice()].concat());
    let object = |output: &Output| -> Value { serde_json::from_str(&printed(output)).unwrap() };
    assert!(run(&["init"]).status.success());
    assert!(run(&["daemon", "start"]).status.success());
    let first = object(&ctxnode(&sandbox, &["status", "--json"]));
    let second = object(&run(&["status", "--json"]));
    assert_ne!(first["node"], second["node"]);
    assert_eq!(second["data_dir"].as_str(), mine.to_str(), "{second}");
    assert!(run(&["daemon", "stop"]).status.success());

    let socket = sandbox.socket();
    let taken = run(&["daemon", "run", "--socket", socket.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&taken.stderr).into_owned();
    assert!(taken.status.code() == Some(1) && said.contains("another data directory listens"), "{said}");
    assert_eq!(object(&ctxnode(&sandbox, &["status", "--json"]))["node"], first["node"]);
}

#[test]
fn an_http_address_that_somebody_has_is_named_with_the_setting() {
    let sandbox = ready();
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap().to_string();
    let output = sandbox.command("ctxnode").args(["daemon", "run"]).env("CTXNODE_HTTP", &address).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.contains(&address) && said.contains("http.listen"), "{said}");
}
