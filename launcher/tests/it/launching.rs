//! From the command line to the agent's end.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ctxnode_api::{Call, Client, Endpoint};
use ctxnode_testkit::{bin, wait_until};
use rustix::process::{Pid, Signal, kill_process};

use super::service::Service;
use super::support::{
    ALPHA, BETA, Running, SOON, STAYING, all, checkout, ctxnode, errors, home_file, import, json, launcher, printed,
    ready, start,
};

#[test]
fn l_01_which_agent_is_clear_before_anything_else() {
    // No replica and no daemon: these answers need neither.
    let sandbox = ctxnode_testkit::Sandbox::new();
    let refused = |words: &[&str], variable: &str| {
        let mut command = sandbox.command("launcher");
        let done = command.args(words).env("CTXNODE_AGENT", variable).output().unwrap();
        assert_eq!(done.status.code(), Some(1), "{}", all(&done));
        errors(&done)
    };
    let two = refused(&["alpha", "--claude", "--codex"], "");
    assert!(two.contains("--claude and --codex were both given"), "{two}");
    for text in [refused(&["alpha", "--agent", "cursor"], ""), refused(&["alpha"], "cursor")] {
        assert!(text.contains("`cursor`") && text.contains("claude, codex, agy, gemini"), "{text}");
    }
    for (flag, hint) in [
        ("--claude", "npm install -g @anthropic-ai/claude-code"),
        ("--codex", "npm install -g @openai/codex"),
        ("--gemini", "npm install -g @google/gemini-cli"),
        ("--agy", "curl -fsSL https://antigravity.google/cli/install.sh | bash"),
    ] {
        let mut command = sandbox.command("launcher");
        // A machine may have them: only the sandbox's own folder counts.
        let done = command.args(["alpha", flag]).env("PATH", sandbox.root().join("bin")).output().unwrap();
        assert_eq!(done.status.code(), Some(1));
        assert!(errors(&done).contains(hint), "{}", errors(&done));
    }
}

#[test]
fn l_03_the_end_of_the_agent_is_the_end_of_the_launcher() {
    let sandbox = ready();
    let _daemon = start(&sandbox, ALPHA);
    let _repo = checkout(&sandbox);
    sandbox.fake_program("claude", r#"printf '%s\n' "$@" >"$HOME/args"; exit 7"#);
    let done = launcher(&sandbox, &["alpha", "--", "a;b $(c)", "--model"]);
    assert_eq!(done.status.code(), Some(7), "{}", all(&done));
    assert_eq!(home_file(&sandbox, "args"), "a;b $(c)\n--model\n");
    sandbox.fake_program("claude", STAYING);
    let running = || {
        let mut command = sandbox.command("launcher");
        command.arg("alpha");
        Running::start(&sandbox, command)
    };
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let running = running();
        let launcher = running.launcher();
        assert_eq!(running.end(launcher, signal).code(), Some(code));
    }
    let killed = running();
    let agent = killed.agent();
    assert_eq!(killed.end(agent, Signal::KILL).code(), Some(137));
}

#[test]
fn l_05_without_a_network_the_list_and_a_start_work() {
    let sandbox = ready();
    let secrets = r#""secrets":{"provider":"env","required":["TOKEN"]}"#;
    let venture = ALPHA.replace("\"repos\"", &format!("{secrets},\"repos\""));
    let _daemon = start(&sandbox, &format!("{venture},{BETA}"));
    let repo = checkout(&sandbox);
    // Nobody answers there.
    fs::remove_dir_all(super::support::remote(&sandbox)).unwrap();
    let list = launcher(&sandbox, &["--list"]);
    let text = String::from_utf8(list.stdout).unwrap();
    assert!(text.contains(&format!("alpha-org/console  {}", repo.path().display())), "{text}");
    assert!(text.lines().any(|line| line.starts_with("beta") && line.ends_with("not installed")), "{text}");
    sandbox.fake_program("claude", r#"printf %s "$TOKEN" >"$HOME/token"; pwd >"$HOME/cwd""#);
    let mut command = sandbox.command("launcher");
    let done = command.arg("alpha").env("TOKEN", "given").output().unwrap();
    assert!(done.status.success(), "{}", all(&done));
    assert!(errors(&done).contains("could not be fetched"), "{}", errors(&done));
    assert_eq!(home_file(&sandbox, "token"), "given");
    assert_eq!(home_file(&sandbox, "cwd").trim(), repo.path().canonicalize().unwrap().display().to_string());
}

#[test]
fn l_07_a_stopped_daemon_is_started_and_ctxnode_off_the_path_is_linked() {
    let sandbox = ready();
    let mut daemon = start(&sandbox, ALPHA);
    let _repo = checkout(&sandbox);
    daemon.stop();
    sandbox.fake_program("claude", "exit 0");
    let down = launcher(&sandbox, &["alpha"]);
    assert_eq!(down.status.code(), Some(1));
    assert!(errors(&down).contains("`ctxnode daemon start`"), "{}", errors(&down));
    // The installed pair lies in a folder that is not on the PATH.
    let installed = sandbox.root().join("installed");
    fs::create_dir(&installed).unwrap();
    for program in ["launcher", "ctxnode"] {
        let to = installed.join(program);
        fs::hard_link(bin(program), &to).or_else(|_| fs::copy(bin(program), &to).map(drop)).unwrap();
    }
    let home_bin = sandbox.home().join(".local/bin");
    let run = |path: String| {
        let mut command = sandbox.command(installed.join("launcher").to_str().unwrap());
        command.arg("alpha").env_remove("CTXNODE_NO_AUTOSTART").env("PATH", path).output().unwrap()
    };
    let fakes = sandbox.root().join("bin").display().to_string();
    let first = run(format!("{fakes}:{}:/usr/local/bin:/usr/bin:/bin", home_bin.display()));
    assert!(first.status.success(), "{}", all(&first));
    assert!(errors(&first).contains("ctxnode was linked to"), "{}", errors(&first));
    assert_eq!(fs::read_link(home_bin.join("ctxnode")).unwrap(), installed.join("ctxnode"));
    assert!(ctxnode(&sandbox, &["daemon", "status"]).status.success(), "the daemon runs");
    let second = run(format!("{fakes}:/usr/local/bin:/usr/bin:/bin"));
    assert!(errors(&second).contains("not on your PATH; type: export PATH="), "{}", errors(&second));
}

/// L-07: ctxnode must not stand between a person and an agent. What it could not do is said on one line each.
#[test]
fn l_07_the_agent_starts_whatever_state_ctxnode_is_in() {
    let sandbox = ready();
    let mut daemon = start(&sandbox, ALPHA);
    let _repo = checkout(&sandbox);
    sandbox.fake_program("claude", "exit 7");
    let run = |words: &[&str]| {
        let done = launcher(&sandbox, words);
        assert_eq!(done.status.code(), Some(7), "{words:?}: {}", all(&done));
        errors(&done)
    };
    let says = |text: &str, parts: &[&str]| text.lines().any(|line| parts.iter().all(|part| line.contains(part)));
    let kept = "going on with the ventures as they were known";
    let first = run(&["alpha", "--track", "3"]);
    assert!(!first.contains("note: "), "the daemon answers: {first}");

    // The minute may turn in between.
    let limited = (0..3).any(|_| {
        use_up(&sandbox);
        let text = run(&["alpha", "--track", "3"]);
        says(&text, &["note: ", "more than 100 calls in this minute", "ask again in", kept])
            && says(&text, &["note: ", "ctxnode update --track 3"])
    });
    assert!(limited);

    let settings = sandbox.home().join(".claude.json");
    fs::write(&settings, "{ broken").unwrap();
    let text = run(&["alpha"]);
    assert!(says(&text, &["note: the registration with Claude Code failed", "starts as it is set up now"]), "{text}");
    assert_eq!(fs::read_to_string(&settings).unwrap(), "{ broken");

    daemon.stop();
    let text = run(&["alpha"]);
    assert!(says(&text, &["note: ", "`ctxnode daemon start`", kept]), "{text}");
    let list = launcher(&sandbox, &["--list"]);
    assert!(list.status.success() && all(&list).contains("alpha-org/console  "), "{}", all(&list));
    // Where nothing was ever known, there is no folder to start an agent in.
    fs::remove_file(sandbox.state_dir().join("ventures.json")).unwrap();
    assert_eq!(launcher(&sandbox, &["alpha"]).status.code(), Some(1));
}

/// L-07: settings that are not valid, and a file about secrets that nothing here needs, are said on one line each.
#[test]
fn l_07_a_bad_key_in_a_file_of_settings_stops_no_agent() {
    let sandbox = ready();
    let _daemon = start(&sandbox, ALPHA);
    let _repo = checkout(&sandbox);
    sandbox.fake_program("claude", "exit 7");
    let settings = sandbox.home().join(".config/ctxnode");
    fs::create_dir_all(&settings).unwrap();
    fs::write(settings.join("config.toml"), "[sync]\nprot = 4748\n\n[log]\nlevel = \"loud\"\n").unwrap();
    fs::write(settings.join("secrets.toml"), "[vault]\n").unwrap();
    let done = launcher(&sandbox, &["alpha"]);
    assert_eq!(done.status.code(), Some(7), "{}", all(&done));
    let text = errors(&done);
    let says = |parts: &[&str]| text.lines().any(|line| parts.iter().all(|part| line.contains(part)));
    assert!(says(&["note: ", "unknown key `sync.prot`", "`log.level` is", "going on with the defaults"]), "{text}");
    assert!(says(&["note: ", "secrets.toml", "going on, since `alpha` keeps no secrets"]), "{text}");

    fs::remove_file(settings.join("config.toml")).unwrap();
    import(&sandbox, &ALPHA.replace("\"repos\"", "\"secrets\":{\"provider\":\"command\"},\"repos\""));
    let refused = launcher(&sandbox, &["alpha"]);
    assert_eq!(refused.status.code(), Some(1), "{}", all(&refused));
    assert!(
        errors(&refused).contains("error: secrets: ") && errors(&refused).contains("secrets.toml"),
        "{}",
        all(&refused)
    );
}

/// L-07: a daemon that hangs costs an agent a few seconds: one that is stopped, one that is stopped with its queue full, and
/// one that starts and never listens.
#[test]
fn l_07_a_daemon_that_hangs_costs_an_agent_a_few_seconds() {
    let sandbox = ready();
    let mut daemon = start(&sandbox, ALPHA);
    let _repo = checkout(&sandbox);
    sandbox.fake_program("claude", "exit 7");
    let ends_by_itself = |mut command: Command, most: Duration| {
        let log = fs::File::create(sandbox.root().join("launcher.out")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let (began, mut child) = (Instant::now(), command.spawn().unwrap());
        let mut code = None;
        wait_until(SOON, "the launcher ends", || {
            code = child.try_wait().unwrap();
            code.is_some()
        });
        let text = printed(&sandbox);
        assert_eq!(code.and_then(|code| code.code()), Some(7), "{text}");
        assert!(began.elapsed() < most, "{:?}: {text}", began.elapsed());
        text
    };
    let alpha = || {
        let mut command = sandbox.command("launcher");
        command.arg("alpha");
        command
    };
    let kept = "going on with the ventures as they were known";
    let first = ends_by_itself(alpha(), SOON);
    assert!(!first.contains("note: "), "{first}");

    let process = Pid::from_raw(i32::try_from(daemon.pid()).unwrap()).unwrap();
    kill_process(process, Signal::STOP).unwrap();
    let text = ends_by_itself(alpha(), Duration::from_secs(20));
    assert!(text.contains("no answer within 2s") && text.contains(kept), "{text}");

    // Its queue takes thousands; this one stands for it.
    fs::remove_file(sandbox.socket()).unwrap();
    let listener = UnixListener::bind(sandbox.socket()).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let mut callers = Vec::new();
    while let Some(caller) = queued(&sandbox.socket()) {
        callers.push(caller);
    }
    let text = ends_by_itself(alpha(), Duration::from_secs(20));
    assert!(text.contains("no answer within 2s") && text.contains(kept), "{text}");
    drop((listener, callers));

    daemon.kill();
    let _ = fs::remove_file(sandbox.socket());
    // A program of another name would not be found beside this launcher.
    let installed = sandbox.root().join("installed");
    fs::create_dir(&installed).unwrap();
    let to = installed.join("launcher");
    fs::hard_link(bin("launcher"), &to).or_else(|_| fs::copy(bin("launcher"), &to).map(drop)).unwrap();
    let silent = "#!/bin/sh\ncase \"$*\" in *'daemon run') echo $$ >\"$HOME/silent\"; exec sleep 60 ;; esac\n";
    fs::write(installed.join("ctxnode"), silent).unwrap();
    fs::set_permissions(installed.join("ctxnode"), fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = sandbox.command(to.to_str().unwrap());
    command.arg("alpha").env_remove("CTXNODE_NO_AUTOSTART");
    let text = ends_by_itself(command, Duration::from_secs(9));
    let silent = home_file(&sandbox, "silent").trim().parse().unwrap();
    kill_process(Pid::from_raw(silent).unwrap(), Signal::KILL).unwrap();
    assert!(text.contains("did not listen") && text.contains(kept), "{text}");
}

/// A caller in the queue of a socket, while there is room.
fn queued(socket: &Path) -> Option<OwnedFd> {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketType};
    let caller = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    rustix::io::ioctl_fionbio(&caller, true).unwrap();
    rustix::net::connect(&caller, &SocketAddrUnix::new(socket).unwrap()).ok()?;
    Some(caller)
}

/// Makes all calls that a person has in a minute.
fn use_up(sandbox: &ctxnode_testkit::Sandbox) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut client = Client::new(Endpoint::Socket(sandbox.socket()));
        let call = Call::new("plan.get", serde_json::json!({}));
        for _ in 0..=100 {
            if client.call(&call).await.is_err() {
                return;
            }
        }
    });
}

#[test]
fn l_10_case_slips_and_nothing_at_all() {
    let sandbox = ready();
    let _daemon = start(&sandbox, &format!("{ALPHA},{BETA}"));
    let _repo = checkout(&sandbox);
    sandbox.fake_program("claude", "touch \"$HOME/ran\"");
    let shown = launcher(&sandbox, &["ALPHA", "--dry-run", "--json"]);
    let plan: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!((plan["venture"].as_str(), plan["agent"].as_str()), (Some("alpha"), Some("claude")));
    assert!(!sandbox.home().join("ran").exists());
    let slip = launcher(&sandbox, &["alpah"]);
    assert_eq!(slip.status.code(), Some(1));
    assert!(errors(&slip).contains("did you mean `alpha`?"), "{}", errors(&slip));
    let nothing = launcher(&sandbox, &[]);
    assert_eq!(nothing.status.code(), Some(2));
    assert!(errors(&nothing).contains("Usage: launcher"), "{}", errors(&nothing));
    // The same through the command line.
    let alias = ctxnode(&sandbox, &["launch", "alpha", "--dry-run"]);
    assert!(alias.status.success() && all(&alias).contains("plan for alpha (Alpha)"), "{}", all(&alias));
}

#[test]
fn a_dry_run_changes_nothing_and_does_not_start_the_daemon() {
    let sandbox = ready();
    let mut daemon = start(&sandbox, ALPHA);
    daemon.stop();
    sandbox.fake_program("claude", "exit 0");
    let mut command = sandbox.command("launcher");
    let done = command.args(["alpha", "--dry-run"]).env_remove("CTXNODE_NO_AUTOSTART").output().unwrap();
    assert_eq!(done.status.code(), Some(1));
    assert!(errors(&done).contains("daemon: the daemon does not run"), "{}", errors(&done));
    assert!(!sandbox.socket().exists() || !ctxnode(&sandbox, &["daemon", "status"]).status.success());
}

#[test]
fn l_11_a_revoked_token_is_left_out_and_a_refused_or_unheard_one_is_kept() {
    let sandbox = ready();
    let _daemon = start(&sandbox, ALPHA);
    let _repo = checkout(&sandbox);
    sandbox.fake_program("claude", r#"printf %s "${GH_TOKEN-unset}" >"$HOME/token""#);
    let run = |url: &str| {
        let mut command = sandbox.command("launcher");
        let done = command.arg("alpha").env("GH_TOKEN", "gh-value").env("GITHUB_API_URL", url).output().unwrap();
        assert!(done.status.success(), "{}", all(&done));
        assert!(!all(&done).contains("gh-value"));
        (home_file(&sandbox, "token"), errors(&done))
    };
    let revoked = Service::start(|_| (401, "{}".to_owned()));
    let (token, text) = run(&revoked.url());
    assert_eq!(token, "unset");
    assert!(text.contains("GH_TOKEN from the environment was revoked"), "{text}");
    let refused = Service::start(|_| (403, "{}".to_owned()));
    assert_eq!(run(&refused.url()).0, "gh-value");
    let url = refused.url();
    drop(refused);
    assert_eq!(run(&url).0, "gh-value", "offline");
}

/// L-11: a dead secret gives way to a variable of the same name that was asked about too, and is good.
#[test]
fn l_11_only_the_token_that_was_asked_about_is_left_out() {
    let sandbox = ready();
    let _daemon = start(&sandbox, ALPHA);
    let _repo = checkout(&sandbox);
    let folder = sandbox.home().join(".config/ctxnode");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("secrets.toml"), "[venture.alpha]\ncommand = [\"vault\"]\n").unwrap();
    sandbox.fake_program("vault", "echo GH_TOKEN=old-value");
    sandbox.fake_program("claude", r#"printf %s "${GH_TOKEN-unset} ${GH_ENTERPRISE_TOKEN-unset}" >"$HOME/token""#);
    let service = Service::start(|request| match request.token.as_str() {
        "gh-value" => (200, "{}".to_owned()),
        _ => (401, "{}".to_owned()),
    });
    let mut command = sandbox.command("launcher");
    command.arg("alpha").env("GH_TOKEN", "gh-value").env("GH_ENTERPRISE_TOKEN", "other");
    let done = command.env("GITHUB_API_URL", service.url()).output().unwrap();
    assert!(done.status.success(), "{}", all(&done));
    assert!(errors(&done).contains("GH_TOKEN from the secrets (command /alpha) was revoked"), "{}", errors(&done));
    assert_eq!(home_file(&sandbox, "token"), "gh-value other");
}

#[test]
fn l_12_track_worktree_and_arguments_arrive() {
    let sandbox = ready();
    let _daemon = start(&sandbox, ALPHA);
    let repo = checkout(&sandbox);
    let hook = r#"printf '{"session_id":"c1","cwd":"%s"}' "$PWD" | ctxnode hook claude session-start >/dev/null"#;
    sandbox.fake_program("claude", &format!("{hook}\n{STAYING}"));
    let mut command = sandbox.command("launcher");
    command.args(["alpha", "--track", "0", "--worktree", "--", "--model", "x"]);
    let running = Running::start(&sandbox, command);
    assert_eq!(home_file(&sandbox, "args"), "--model\nx\n");
    let cwd = home_file(&sandbox, "cwd").trim().to_owned();
    let worktrees = repo.path().canonicalize().unwrap().with_file_name("console.worktrees");
    assert!(cwd.starts_with(&worktrees.display().to_string()), "{cwd}\n{}", printed(&sandbox));
    wait_until(SOON, "the session has its track", || {
        let sessions = json(&sandbox, &["session", "list", "--json"]);
        let first = &sessions["items"][0];
        first["track"] == 0 && first["cli"] == "claude"
    });
    let sessions = json(&sandbox, &["session", "list", "--json"]);
    assert_eq!(sessions["total"], 1, "{sessions}");
    assert!(sessions["items"][0]["branch"].as_str().unwrap().starts_with("dev/"), "{sessions}");
    let agent = running.agent();
    running.end(agent, Signal::TERM);
}

#[test]
fn p_06_a_venture_that_was_just_added_can_be_launched() {
    let sandbox = ready();
    let _daemon = start(&sandbox, BETA);
    let _repo = checkout(&sandbox);
    sandbox.fake_program("claude", "exit 0");
    assert_eq!(launcher(&sandbox, &["alpha"]).status.code(), Some(1));
    import(&sandbox, ALPHA);
    let done = launcher(&sandbox, &["alpha"]);
    assert!(done.status.success(), "{}", all(&done));
}

/// L-06: of a stale entry of ours beside another server only ours is repaired.
#[test]
fn l_06_only_our_own_entry_is_repaired() {
    let sandbox = ready();
    let _daemon = start(&sandbox, ALPHA);
    let repo = checkout(&sandbox);
    let other = "\"other\":  {\"command\": \"o\", \"args\": [ \"x\" ]}";
    let stale = "\"ctxnode\": {\"command\": \"/old/ctxnode\", \"args\": [\"serve\"]}";
    repo.commit(".mcp.json", &format!("{{\n  \"mcpServers\": {{\n    {other},\n    {stale}\n  }}\n}}\n"));
    sandbox.fake_program("claude", "exit 0");
    let done = launcher(&sandbox, &["alpha"]);
    assert!(done.status.success(), "{}", all(&done));
    let text = fs::read_to_string(repo.path().join(".mcp.json")).unwrap();
    assert!(text.contains(other), "not a byte of the other: {text}");
    let now: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(now["mcpServers"]["ctxnode"]["command"], "ctxnode", "{text}");
    assert_eq!(now["mcpServers"]["ctxnode"]["args"], serde_json::json!(["mcp"]), "{text}");
}
