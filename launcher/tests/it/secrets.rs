//! Secrets: where they may be, where never, and how they fail.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, Mutex};

use ctxnode_testkit::{Sandbox, wait_until};
use rustix::process::Signal;

use super::service::{Vault, infisical};
use super::support::{
    ALPHA, BETA, Running, SOON, all, checkout, errors, files_with, home_file, launcher, printed, processes_with, ready,
    start,
};

const CANARY: &str = "c4nary-Zq7-value";

fn with_secrets(venture: &str, secrets: &str) -> String {
    venture.replace("\"repos\"", &format!("\"secrets\":{secrets},\"repos\""))
}

/// Writes the file of this machine.
fn machine_file(sandbox: &Sandbox, text: &str) {
    let folder = sandbox.home().join(".config/ctxnode");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("secrets.toml"), text).unwrap();
}

/// A program that prints what lies in a file outside of the home.
fn vault_program(sandbox: &Sandbox, content: &str) -> std::path::PathBuf {
    let file = sandbox.root().join("vault");
    fs::write(&file, content).unwrap();
    sandbox.fake_program("vault", &format!("cat '{}'", file.display()));
    file
}

/// An agent that tells only a digest of its secret: at its start, and again when it is asked.
const DIGESTING: &str = r#"
digest() { printf %s "$TOKEN" | sha256sum | cut -c1-16; }
digest >"$HOME/first"
echo $$ >"$HOME/up.new" && mv "$HOME/up.new" "$HOME/up"
while [ ! -e "$HOME/go" ]; do sleep 0.05; done
digest >"$HOME/second.new" && mv "$HOME/second.new" "$HOME/second"
[ -p "$HOME/wait" ] || mkfifo "$HOME/wait"
read -r line <"$HOME/wait"
"#;

fn alpha(sandbox: &Sandbox) -> std::process::Command {
    let mut command = sandbox.command("launcher");
    command.args(["alpha", "--debug"]);
    command
}

#[test]
fn l_04_secrets_are_in_the_agents_environment_and_nowhere_else() {
    let sandbox = ready();
    let _daemon = start(&sandbox, ALPHA);
    let _repo = checkout(&sandbox);
    machine_file(&sandbox, "[venture.alpha]\ncommand = [\"vault\"]\n");
    vault_program(&sandbox, &format!("{{\"TOKEN\":\"{CANARY}\"}}"));
    sandbox.fake_program("claude", DIGESTING);
    let running = Running::start(&sandbox, alpha(&sandbox));
    let environment = fs::read(format!("/proc/{}/environ", running.agent().as_raw_nonzero())).unwrap();
    assert!(super::support::contains(&environment, CANARY.as_bytes()), "the agent has it");
    assert_eq!(processes_with(CANARY.as_bytes()), Vec::<String>::new());
    let found = files_with(sandbox.root(), CANARY.as_bytes());
    assert_eq!(found, [sandbox.root().join("vault")], "only the provider's own file");
    assert!(printed(&sandbox).contains("secrets: 1 from command (TOKEN)"), "{}", printed(&sandbox));
    let agent = running.agent();
    running.end(agent, Signal::TERM);
    assert_eq!(files_with(sandbox.root(), CANARY.as_bytes()).len(), 1);
}

/// L-04: a daemon that the agent's own shim starts again has none of the agent's secrets, nor a token beside them.
#[cfg(target_os = "linux")]
#[test]
fn l_04_a_daemon_that_an_agent_starts_again_has_no_secrets() {
    let sandbox = ready();
    let daemon = start(&sandbox, ALPHA);
    let _repo = checkout(&sandbox);
    machine_file(&sandbox, "[venture.alpha]\ncommand = [\"vault\"]\n");
    vault_program(&sandbox, &format!("{{\"TOKEN\":\"{CANARY}\",\"GH_TOKEN\":\"{CANARY}-2\"}}"));
    // The agent stops the daemon, and its shim finds none.
    let agent = r#"
unset CTXNODE_NO_AUTOSTART
ctxnode daemon stop >"$HOME/stop.out" 2>&1
printf '%s\n' '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}' '{"jsonrpc":"2.0","method":"notifications/initialized"}' '{"jsonrpc":"2.0","id":2,"method":"tools/list"}' | ctxnode mcp >"$HOME/mcp.out" 2>&1
echo $$ >"$HOME/up.new" && mv "$HOME/up.new" "$HOME/up"
[ -p "$HOME/wait" ] || mkfifo "$HOME/wait"
read -r line <"$HOME/wait"
"#;
    sandbox.fake_program("claude", agent);
    let mut command = alpha(&sandbox);
    // GitHub is not asked about the token: nobody listens there.
    command.env("GITHUB_API_URL", "http://127.0.0.1:9");
    let running = Running::start(&sandbox, command);
    let environment = fs::read(format!("/proc/{}/environ", running.agent().as_raw_nonzero())).unwrap();
    assert!(super::support::contains(&environment, CANARY.as_bytes()), "the agent has it");
    let status = all(&super::support::ctxnode(&sandbox, &["daemon", "status"]));
    let pid = status.split_once("pid ").and_then(|(_, rest)| rest.split(',').next()?.parse::<u32>().ok());
    let pid = pid.unwrap_or_else(|| panic!("{status} {}", home_file(&sandbox, "mcp.out")));
    assert_ne!(daemon.pid(), pid, "another one runs");
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap();
    let text = String::from_utf8_lossy(&environment).replace('\0', "\n");
    assert!(text.contains("MALLOC_ARENA_MAX=2"), "{text}");
    assert!(!text.contains(CANARY) && !text.contains("TOKEN="), "{text}");
    let agent = running.agent();
    running.end(agent, Signal::TERM);
}

#[test]
fn k_01_six_failures_have_six_messages_and_show_no_value() {
    let sandbox = ready();
    let _daemon = start(&sandbox, &with_secrets(ALPHA, r#"{"provider":"infisical","required":["TOKEN"]}"#));
    let _repo = checkout(&sandbox);
    sandbox.fake_program("claude", "touch \"$HOME/ran\"");
    let refused = || {
        let done = launcher(&sandbox, &["alpha"]);
        assert_eq!(done.status.code(), Some(1), "{}", all(&done));
        assert!(!all(&done).contains(CANARY), "{}", all(&done));
        assert!(!sandbox.home().join("ran").exists());
        errors(&done)
    };
    let mut texts = vec![refused()];
    assert!(
        texts[0].contains("the Infisical CLI is not installed") && texts[0].contains("hint: install it"),
        "{texts:?}"
    );
    let object = format!("echo '{{\"OTHER\":\"{CANARY}\"}}'");
    let broken = format!("echo '{{\"TOKEN\":\"{CANARY}'");
    let failing = format!("echo {CANARY}; echo {CANARY} >&2; exit 3");
    for (script, expected) in [
        (failing.as_str(), "failed with exit code 3: login needed"),
        ("exit 0", "printed nothing"),
        (&broken, "is malformed at line"),
        ("echo '{}'", "has no entries there"),
        (&object, "required secrets are absent: TOKEN; found are: OTHER"),
    ] {
        sandbox.fake_program("infisical", script);
        let text = refused();
        assert!(text.contains(expected), "{expected}: {text}");
        texts.push(text);
    }
    texts.sort();
    texts.dedup();
    assert_eq!(texts.len(), 6);
    // A failure with a good login does not send people to log in again. Without a service to ask, that one is not there.
    machine_file(&sandbox, "[infisical]\nurl = \"http://127.0.0.1:9\"\n");
    sandbox.fake_program("infisical", "[ \"$1\" = user ] || exit 3");
    assert!(refused().contains("Infisical cannot be reached for export"));
    let service = super::service::Service::start(|_| (200, "{}".to_owned()));
    machine_file(&sandbox, &format!("[infisical]\nurl = \"{}\"\n", service.url()));
    sandbox.fake_program("infisical", "[ \"$1\" = user ] || exit 3");
    let text = refused();
    assert!(text.contains("failed with exit code 3") && !text.contains("login needed"), "{text}");
}

#[test]
fn infisical_is_asked_through_its_cli_with_path_and_environment() {
    let sandbox = ready();
    let _daemon = start(&sandbox, &with_secrets(ALPHA, r#"{"provider":"infisical","path":"/a b"}"#));
    let _repo = checkout(&sandbox);
    sandbox.fake_program(
        "infisical",
        "printf '%s\\n' \"$@\" >\"$HOME/asked\"; echo '[{\"key\":\"TOKEN\",\"value\":\"v 1\"}]'",
    );
    sandbox.fake_program("claude", "printf %s \"$TOKEN\" >\"$HOME/token\"");
    let done = launcher(&sandbox, &["alpha", "--env", "dev"]);
    assert!(done.status.success(), "{}", all(&done));
    assert!(errors(&done).contains("does not allow --env dev"), "{}", errors(&done));
    assert_eq!(home_file(&sandbox, "asked"), "export\n--format=json\n--silent\n--path\n/a b\n--env\nprod\n");
    assert_eq!(home_file(&sandbox, "token"), "v 1");
}

fn vault_of(path: &str, pairs: &[(&str, &str)]) -> (String, BTreeMap<String, String>) {
    (path.to_owned(), pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
}

const CLIENT_SECRET: &str = "cl1ent-Zq7-secret";

/// Writes the credentials of Universal Auth.
fn credentials(sandbox: &Sandbox, mode: u32) {
    let path = sandbox.home().join(".config/ctxnode/infisical-ua");
    fs::write(&path, format!("client_id=machine\nclient_secret={CLIENT_SECRET}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn k_03_a_remote_session_logs_in_with_a_file_that_only_its_owner_reads() {
    let sandbox = ready();
    let _daemon = start(&sandbox, &with_secrets(ALPHA, "{\"provider\":\"infisical\"}"));
    let _repo = checkout(&sandbox);
    let vault: Vault = Arc::new(Mutex::new([vault_of("/alpha", &[("TOKEN", CANARY)])].into()));
    let seen = Arc::default();
    let service = infisical(&vault, CLIENT_SECRET, &seen);
    machine_file(&sandbox, &format!("[infisical]\nurl = \"{}\"\nproject = \"p\"\n", service.url()));
    sandbox.fake_program("claude", "printf %s \"$TOKEN\" | wc -c >\"$HOME/length\"");
    let remote = || {
        let mut command = sandbox.command("launcher");
        command.arg("alpha").env("SSH_TTY", "/dev/pts/1").output().unwrap()
    };
    let none = remote();
    assert!(errors(&none).contains("no credentials for Universal Auth"), "{}", errors(&none));
    credentials(&sandbox, 0o644);
    let wide = remote();
    assert!(wide.status.code() == Some(1) && errors(&wide).contains("type: chmod 600"), "{}", errors(&wide));
    credentials(&sandbox, 0o600);
    let done = remote();
    assert!(done.status.success(), "{}", all(&done));
    assert_eq!(home_file(&sandbox, "length").trim(), CANARY.len().to_string());
    assert_eq!(*seen.lock().unwrap(), Vec::<String>::new(), "the client secret is in no argument list");
    for output in [&none, &wide, &done] {
        assert!(!all(output).contains(CANARY) && !all(output).contains(CLIENT_SECRET));
    }
}

#[test]
fn k_04_secrets_are_frozen_for_the_life_of_the_agent() {
    let sandbox = ready();
    let _daemon = start(&sandbox, ALPHA);
    let _repo = checkout(&sandbox);
    machine_file(&sandbox, "[venture.alpha]\ncommand = [\"vault\"]\n");
    let file = vault_program(&sandbox, "TOKEN=old\n");
    sandbox.fake_program("claude", DIGESTING);
    let running = Running::start(&sandbox, alpha(&sandbox));
    let first = home_file(&sandbox, "first");
    fs::write(&file, "TOKEN=new\n").unwrap();
    fs::write(sandbox.home().join("go"), "").unwrap();
    wait_until(SOON, "the agent has looked again", || sandbox.home().join("second").exists());
    assert_eq!(home_file(&sandbox, "second"), first);
    let agent = running.agent();
    running.end(agent, Signal::TERM);
    let next = Running::start(&sandbox, alpha(&sandbox));
    assert_ne!(home_file(&sandbox, "first"), first);
    let agent = next.agent();
    next.end(agent, Signal::TERM);
}

#[test]
fn k_05_a_check_tells_presence_and_a_hash_and_never_the_value() {
    let sandbox = ready();
    let env = "{\"provider\":\"env\",\"required\":[\"TOKEN\"]}";
    let _daemon = start(&sandbox, &format!("{},{}", with_secrets(ALPHA, env), with_secrets(BETA, env)));
    let check = |venture: &str, value: &str, json: &[&str]| {
        let mut command = sandbox.command("ctxnode");
        let words = ["secret", "check", "TOKEN", "--venture", venture];
        let done = command.args(words).args(json).env("TOKEN", value).output().unwrap();
        assert!(!all(&done).contains(CANARY));
        (done.status.code(), all(&done))
    };
    let (code, text) = check("alpha", CANARY, &[]);
    assert!(code == Some(0) && text.contains("TOKEN of alpha: present, "), "{text}");
    let hash = |text: &str| text.trim().rsplit(' ').next().unwrap_or_default().to_owned();
    assert_eq!(hash(&text), hash(&check("beta", CANARY, &[]).1), "equal values show equal hashes");
    assert_ne!(hash(&text), hash(&check("beta", "another", &[]).1));
    assert_eq!(check("alpha", "", &[]), (Some(1), "TOKEN of alpha: absent\n".to_owned()));
    assert!(check("alpha", CANARY, &["--json"]).1.contains("\"present\": true"));
    assert_eq!(check("gamma", CANARY, &[]).0, Some(1));
}

#[test]
fn k_06_the_command_gets_its_arguments_literally() {
    let sandbox = ready();
    let _daemon = start(&sandbox, ALPHA);
    let _repo = checkout(&sandbox);
    machine_file(&sandbox, "[venture.alpha]\ncommand = [\"vault\", \"a;b $(c) | `d`\", \"*\"]\n");
    sandbox.fake_program("vault", "printf 'FIRST=%s\\nSECOND=%s\\n' \"$1\" \"$2\"");
    sandbox.fake_program("claude", "printf '%s\\n' \"$FIRST\" \"$SECOND\" >\"$HOME/got\"");
    let done = launcher(&sandbox, &["alpha"]);
    assert!(done.status.success(), "{}", all(&done));
    assert_eq!(home_file(&sandbox, "got"), "a;b $(c) | `d`\n*\n");
}

#[test]
fn k_07_an_audit_tells_missing_from_different_and_copies_only_what_is_missing() {
    let sandbox = ready();
    let secrets = "{\"provider\":\"infisical\"}";
    let _daemon = start(&sandbox, &format!("{},{}", with_secrets(ALPHA, secrets), with_secrets(BETA, secrets)));
    let shared = vault_of("/shared", &[("ONE", CANARY), ("TWO", "two")]);
    let alpha = vault_of("/alpha", &[("TWO", "changed")]);
    let beta = vault_of("/beta", &[("ONE", CANARY), ("TWO", "two")]);
    let vault: Vault = Arc::new(Mutex::new([shared, alpha, beta].into()));
    let service = infisical(&vault, CLIENT_SECRET, &Arc::default());
    let shared = "[shared]\npath = \"/shared\"\n";
    machine_file(&sandbox, &format!("[infisical]\nurl = \"{}\"\nproject = \"p\"\n{shared}", service.url()));
    credentials(&sandbox, 0o600);
    let audit = |words: &[&str]| {
        let done = launcher(&sandbox, words);
        assert!(!all(&done).contains(CANARY));
        (done.status.code(), all(&done))
    };
    let expected = "alpha  ONE  missing\nalpha  TWO  different\nbeta  ONE  equal\nbeta  TWO  equal\n";
    assert_eq!(audit(&["--secrets-audit"]), (Some(1), expected.to_owned()));
    let (code, text) = audit(&["--secrets-audit", "--fix"]);
    assert!(code == Some(1) && text.contains("alpha  ONE  missing, copied"), "{text}");
    let held = vault.lock().unwrap()["/alpha"].clone();
    assert_eq!((held["ONE"].as_str(), held["TWO"].as_str()), (CANARY, "changed"));
    // A secret can be stored from stdin, over what is there.
    let file = sandbox.root().join("value");
    fs::write(&file, "stored\n").unwrap();
    let mut command = sandbox.command("ctxnode");
    command.args(["secret", "set", "TWO", "--venture", "alpha"]).stdin(fs::File::open(&file).unwrap());
    let done = command.output().unwrap();
    assert!(done.status.success() && !all(&done).contains("stored\n\n"), "{}", all(&done));
    assert_eq!(vault.lock().unwrap()["/alpha"]["TWO"], "stored");
}

/// A stand-in for the keychain's program, which keeps its items outside of the home.
fn keychain(sandbox: &Sandbox) -> std::path::PathBuf {
    let folder = sandbox.root().join("keychain");
    fs::create_dir_all(&folder).unwrap();
    let script = format!(
        "cd '{}' || exit 2\ncase $1 in store) cat >\"$7\" ;; lookup) cat \"$5\" 2>/dev/null || exit 1 ;; clear) [ $# = 3 ] && set -- 1 2 3 4 '*'; rm $5 2>/dev/null || exit 1 ;; esac",
        folder.display()
    );
    sandbox.fake_program("secret-tool", &script);
    folder
}

/// Section 9: the cache is off by default; switched on it stands in for a provider that cannot be reached, is in the keychain and
/// nowhere else, and what the provider says always wins.
#[cfg(target_os = "linux")]
#[test]
fn k_04_the_keychain_stands_in_for_a_provider_that_cannot_be_reached() {
    let sandbox = ready();
    let _daemon = start(&sandbox, ALPHA);
    let _repo = checkout(&sandbox);
    let folder = keychain(&sandbox);
    let file = vault_program(&sandbox, &format!("TOKEN={CANARY}\n"));
    let script = format!("[ -e '{0}' ] && exec cat '{0}'; exit $(cat '{0}.code')", file.display());
    let ends_with = |code: &str| fs::write(sandbox.root().join("vault.code"), code).unwrap();
    // 69 says that the source cannot be reached.
    ends_with("69");
    sandbox.fake_program("vault", &script);
    sandbox.fake_program("claude", "printf %s \"$TOKEN\" | wc -c >\"$HOME/length\"");
    let switch = |cache: &str| machine_file(&sandbox, &format!("[venture.alpha]\ncommand = [\"vault\"]\n{cache}"));
    let launch = || {
        let _ = fs::remove_file(sandbox.home().join("length"));
        launcher(&sandbox, &["alpha"])
    };
    switch("");
    assert!(launch().status.success());
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "off unless somebody wants it");
    switch("[cache]\nhours = 2\n");
    assert!(launch().status.success());
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    let plain = files_with(sandbox.root(), CANARY.as_bytes());
    assert_eq!(plain, std::slice::from_ref(&file), "only the provider's own file");
    fs::write(&file, "TOKEN=other\n").unwrap();
    assert!(launch().status.success());
    assert_eq!(home_file(&sandbox, "length").trim(), "5", "the provider was asked first");
    fs::remove_file(&file).unwrap();
    let away = launch();
    assert!(away.status.success() && errors(&away).contains("taking what the keychain has kept"), "{}", all(&away));
    assert_eq!(home_file(&sandbox, "length").trim(), "5");
    // Any other code may mean that the access was taken away: the cache does not make it last.
    ends_with("7");
    let refused = launch();
    assert!(refused.status.code() == Some(1) && !sandbox.home().join("length").exists(), "{}", all(&refused));
    ends_with("69");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    switch("[cache]\nhours = 0\n");
    let off = launch();
    assert!(off.status.code() == Some(1) && !sandbox.home().join("length").exists(), "{}", all(&off));
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "switched off it keeps nothing");
    switch("[cache]\nhours = 2\n");
    fs::write(&file, "TOKEN=other\n").unwrap();
    assert!(launch().status.success());
    fs::remove_file(&file).unwrap();
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    let forgotten = super::support::ctxnode(&sandbox, &["secret", "forget", "--venture", "alpha"]);
    assert!(forgotten.status.success(), "{}", all(&forgotten));
    assert_eq!(launch().status.code(), Some(1));
    // No keychain: said, and nothing is kept anywhere.
    fs::write(&file, format!("TOKEN={CANARY}\n")).unwrap();
    sandbox.fake_program("secret-tool", "echo 'no bus' >&2; exit 1");
    let none = launch();
    assert!(
        none.status.success() && errors(&none).contains("secrets are not kept: there is no keychain"),
        "{}",
        all(&none)
    );
    assert_eq!(files_with(sandbox.root(), CANARY.as_bytes()), [file]);
}

/// Section 9.2: the machine identity comes from the keychain, where `ctxnode secret identity` puts it by stdin.
#[cfg(target_os = "linux")]
#[test]
fn k_03_a_machine_identity_lies_in_the_keychain() {
    let sandbox = ready();
    let _daemon = start(&sandbox, &with_secrets(ALPHA, r#"{"provider":"infisical","required":["TOKEN"]}"#));
    let _repo = checkout(&sandbox);
    let folder = keychain(&sandbox);
    let vault: Vault = Arc::new(Mutex::new([vault_of("/alpha", &[("TOKEN", CANARY)])].into()));
    let seen = Arc::default();
    let service = infisical(&vault, CLIENT_SECRET, &seen);
    machine_file(&sandbox, &format!("[infisical]\nurl = \"{}\"\nproject = \"p\"\n", service.url()));
    sandbox.fake_program("claude", "printf %s \"$TOKEN\" | wc -c >\"$HOME/length\"");
    let identity = |text: &str| {
        let file = sandbox.root().join("identity");
        fs::write(&file, text).unwrap();
        let mut command = sandbox.command("ctxnode");
        let done = command.args(["secret", "identity"]).stdin(fs::File::open(&file).unwrap()).output().unwrap();
        fs::remove_file(&file).unwrap();
        assert!(!all(&done).contains(CLIENT_SECRET));
        done.status.code()
    };
    assert_eq!(identity("client_id=machine\n"), Some(2), "half of it is none");
    assert_eq!(identity(&format!("client_id=machine\nclient_secret={CLIENT_SECRET}\n")), Some(0));
    assert_eq!(files_with(&sandbox.home(), CLIENT_SECRET.as_bytes()), Vec::<std::path::PathBuf>::new());
    let remote = || sandbox.command("launcher").arg("alpha").env("SSH_TTY", "/dev/pts/1").output().unwrap();
    let done = remote();
    assert!(done.status.success(), "{}", all(&done));
    assert_eq!(home_file(&sandbox, "length").trim(), CANARY.len().to_string());
    assert_eq!(*seen.lock().unwrap(), Vec::<String>::new(), "the client secret is in no argument list");
    assert!(super::support::ctxnode(&sandbox, &["secret", "forget", "--identity"]).status.success());
    assert_eq!(fs::read_dir(folder).unwrap().count(), 0);
    assert!(errors(&remote()).contains("no credentials for Universal Auth"));
}

/// Section 9.3: a checkout without `.infisical.json` has the project of another one of its owner, and stays clean.
#[test]
fn a_checkout_without_the_project_file_has_the_project_of_another() {
    let sandbox = ready();
    let _daemon = start(&sandbox, &with_secrets(ALPHA, r#"{"provider":"infisical"}"#));
    let repo = checkout(&sandbox);
    let other = ctxnode_testkit::Repo::with_origin(&sandbox, "site", "git@github.com:alpha-org/site.git");
    fs::write(other.path().join(".infisical.json"), "{\"workspaceId\":\"project-7\"}").unwrap();
    sandbox.fake_program("infisical", "echo \"$@\" >\"$HOME/asked\"; echo '{\"TOKEN\":\"x\"}'");
    sandbox.fake_program("claude", "exit 0");
    let done = launcher(&sandbox, &["alpha"]);
    assert!(done.status.success(), "{}", all(&done));
    assert!(home_file(&sandbox, "asked").contains("--projectId project-7"), "{}", home_file(&sandbox, "asked"));
    assert_eq!(repo.git(&["status", "--porcelain"]), "", "the checkout is as clean as before");
    let third = ctxnode_testkit::Repo::with_origin(&sandbox, "tools", "git@github.com:alpha-org/tools.git");
    fs::write(third.path().join(".infisical.json"), "{\"workspaceId\":\"project-8\"}").unwrap();
    assert!(launcher(&sandbox, &["alpha"]).status.success());
    assert!(!home_file(&sandbox, "asked").contains("--projectId"), "two that differ are no answer");
}
