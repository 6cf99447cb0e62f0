//! The bootstrap script in a sandbox, with stand-ins for cargo, rustc and what cargo would build.
//!
//! Not here: a real release build; that is a matter of minutes and of `bootstrap.sh` itself.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Output};

use ctxnode_testkit::Sandbox;

use super::tree::root;

mod killed;

/// Stands in for cargo: "builds" two programs. They keep their state in the home directory, as the real ones do.
const CARGO: &str = r#"
[ -n "${FAIL_BUILD:-}" ] && { echo "error: broken" >&2; exit 101; }
mkdir -p "$CARGO_TARGET_DIR/release"
program() {
    [ -e "$CARGO_TARGET_DIR/release/$1" ] && return
    cat >"$CARGO_TARGET_DIR/release/$1.part"
    chmod 755 "$CARGO_TARGET_DIR/release/$1.part"
    mv "$CARGO_TARGET_DIR/release/$1.part" "$CARGO_TARGET_DIR/release/$1"
}
program launcher <<'X'
#!/bin/sh
X
program dev-session <<'X'
#!/bin/sh
X
program ctxnode <<'X'
#!/bin/sh
case "$*" in
    --version) echo "ctxnode 1.4.0" ;;
    init) [ -n "${FAIL_INIT:-}" ] && exit 1; mkdir -p "$XDG_DATA_HOME/ctxnode"; : >"$XDG_DATA_HOME/ctxnode/replica.redb" ;;
    "daemon status") [ -e "$XDG_RUNTIME_DIR/up" ] || exit 3; echo "daemon runs, pid 1, $(cat "$XDG_RUNTIME_DIR/up")" ;;
    "daemon start") [ -n "${FAIL_START:-}" ] && exit 1; echo 1.4.0 >"$XDG_RUNTIME_DIR/up" ;;
    "daemon stop") rm "$XDG_RUNTIME_DIR/up" ;;
    doctor) exit "${DOCTOR:-0}" ;;
    "daemon install") [ -n "${FAIL_INSTALL:-}" ] && exit 1; mkdir -p "$HOME/.config/systemd/user"
        : >"$HOME/.config/systemd/user/ctxnode.service"; echo 1.4.0 >"$XDG_RUNTIME_DIR/up" ;;
    "join -") read -r code; [ "$code" = ctxj-good ] || exit 1
        mkdir -p "$XDG_DATA_HOME/ctxnode"; : >"$XDG_DATA_HOME/ctxnode/replica.redb"; : >"$HOME/.joined" ;;
    "peers --json") [ -n "${DEAF_PEERS:-}" ] && exit 1
        [ -e "$HOME/.joined" ] || { echo '{ "items": [] }'; exit 0; }; printf '{\n  "items": [\n    {\n      "node": "n",\n      "state": "%s"\n' "${PEER:-connected}" ;;
    "tmux setup --check") [ -e "$HOME/.tmux.set" ] ;;
    "tmux setup") [ -n "${FAIL_TMUX:-}" ] && exit 1; : >"$HOME/.tmux.set" ;;
    "completions "*) echo "completions of $2" ;;
    "setup "*" --check") [ -e "$HOME/.$2.set" ] ;;
    "setup "*" --verify") [ -e "$HOME/.$2.set" ] && [ -z "${DEAF:-}" ] && exit 0
        printf '✗ %s: no answer\n  type: ctxnode setup %s\n' "$2" "$2"; exit 1 ;;
    "setup "*) [ -n "${FAIL_SETUP:-}" ] && exit 1; : >"$HOME/.$2.set"; printf '  %s: trust it\n' "$2" ;;
    mcp) read -r a; read -r b; read -r c; echo '{"id":2,"result":{"tools":[{"inputSchema":{}},{"inputSchema":{}}]}}' ;;
    *) exit 2 ;;
esac
X
exit 0
"#;

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.fake_program("cargo", CARGO);
    sandbox.fake_program("rustc", "echo 'rustc 1.95.0 (abc 2026-01-01)'");
    sandbox.fake_program("cc", "exit 0");
    // The machine of whoever runs this has tools, services and agent CLIs of its own; none of them is for a test.
    for tool in ["gh", "tmux", "mosh", "node"] {
        sandbox.fake_program(tool, "exit 0");
    }
    for missing in ["systemctl", "launchctl", "loginctl", "tailscale"] {
        sandbox.fake_program(missing, "exit 1");
    }
    sandbox.fake_program("npm", NPM);
    sandbox
}

/// Stands in for npm: puts a program of the package's CLI where `--prefix` says.
const NPM: &str = r#"
if [ -n "${FAIL_NPM:-}" ]; then
    case " $* " in *" --silent "* | *" -s "*) ;; *) echo "npm error code SELF_SIGNED_CERT_IN_CHAIN" >&2 ;; esac
    exit 1
fi
while [ $# -gt 0 ]; do
    case $1 in --prefix) prefix=$2; shift ;; @*) package=$1 ;; esac
    shift
done
case $package in *claude-code) name=claude ;; *codex) name=codex ;; *infisical/cli) name=infisical ;; *) name=gemini ;; esac
mkdir -p "$prefix/bin"
printf '#!/bin/sh\n' >"$prefix/bin/$name"
chmod 755 "$prefix/bin/$name"
"#;

fn bootstrap(sandbox: &Sandbox, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    command(sandbox, arguments).envs(variables.iter().copied()).output().expect("bash starts")
}

fn command(sandbox: &Sandbox, arguments: &[&str]) -> Command {
    let mut command = sandbox.command("bash");
    command.arg(root().join("bootstrap.sh")).args(arguments).env("SHELL", "/bin/bash");
    // Agent CLIs of the machine are found on the PATH, and set up when nobody says which.
    if !arguments.contains(&"--agents") {
        command.args(["--agents", "none"]);
    }
    command.env("CARGO_TARGET_DIR", sandbox.root().join("target"));
    command
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Every file of the home with its text and its inode, which changes when a file is replaced by an equal one.
fn state(folder: &Path) -> BTreeMap<String, (u64, Vec<u8>)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("the home can be read") {
        let path = entry.expect("the home can be read").path();
        if path.is_dir() {
            found.extend(state(&path));
        } else {
            let inode = fs::metadata(&path).expect("the file is there").ino();
            found.insert(path.display().to_string(), (inode, fs::read(&path).expect("own file")));
        }
    }
    found
}

/// B-02: the second run changes nothing and all its lines are good.
#[test]
fn b_02_a_second_run_changes_nothing() {
    let sandbox = sandbox();
    let first = bootstrap(&sandbox, &[], &[]);
    assert!(first.status.success(), "{}", printed(&first));
    let text = printed(&first);
    for line in [
        "=== Bootstrap ===",
        "✓ ctxnode 1.4.0 installed (checksum ok)",
        "✓ Daemon running, store open",
        "✓ launcher and ctxnode on PATH",
        "✓ single machine",
        "✓ MCP answers (2 tools)",
    ] {
        assert!(text.contains(line), "{line} is missing in:\n{text}");
    }
    let before = state(&sandbox.home());
    let second = bootstrap(&sandbox, &[], &[]);
    assert!(second.status.success(), "{}", printed(&second));
    assert!(!printed(&second).contains('✗'), "{}", printed(&second));
    for program in ["ctxnode", "launcher", "dev-session"] {
        assert!(sandbox.home().join(".local/bin").join(program).is_file(), "{program}");
    }
    assert_eq!(before, state(&sandbox.home()));
}

/// B-02: a run that failed at any step goes on from there.
#[test]
fn b_02_a_run_that_failed_is_finished_by_the_next() {
    for fault in ["FAIL_BUILD", "FAIL_INIT", "FAIL_START"] {
        let sandbox = sandbox();
        let broken = bootstrap(&sandbox, &[], &[(fault, "1")]);
        assert_eq!(broken.status.code(), Some(1), "{fault}: {}", printed(&broken));
        let next = bootstrap(&sandbox, &[], &[]);
        assert!(next.status.success(), "{fault}: {}", printed(&next));
    }
}

/// B-04: a shell file keeps every foreign byte, and gets our line once.
#[test]
fn b_04_the_shell_file_keeps_every_foreign_byte() {
    let sandbox = sandbox();
    let file = sandbox.home().join(".bashrc");
    let foreign = b"alias x=y\n\xff no end of line";
    fs::write(&file, foreign).expect("own file");
    for _ in 0..2 {
        assert!(bootstrap(&sandbox, &[], &[]).status.success());
    }
    let text = fs::read(&file).expect("own file");
    assert!(text.starts_with(foreign));
    let ours = String::from_utf8_lossy(&text[foreign.len()..]).into_owned();
    assert_eq!(ours, "\nexport PATH=\"$HOME/.local/bin:$PATH\"  # added by ctxnode bootstrap\n");
}

#[test]
fn check_and_dry_run_write_nothing() {
    for (mode, code) in [("--check", 1), ("--dry-run", 0)] {
        let sandbox = sandbox();
        let before = state(sandbox.root());
        let output = bootstrap(&sandbox, &[mode], &[]);
        assert_eq!(output.status.code(), Some(code), "{}", printed(&output));
        assert_eq!(before, state(sandbox.root()));
    }
}

#[test]
fn check_of_a_finished_machine_passes() {
    let sandbox = sandbox();
    assert!(bootstrap(&sandbox, &[], &[]).status.success());
    let output = bootstrap(&sandbox, &["--check"], &[]);
    assert!(output.status.success(), "{}", printed(&output));
}

#[test]
fn a_new_build_replaces_the_old_one_and_restarts_the_daemon() {
    let sandbox = sandbox();
    assert!(bootstrap(&sandbox, &[], &[]).status.success());
    let built = sandbox.root().join("target/release/ctxnode");
    let newer = fs::read_to_string(&built).expect("own file").replace("1.4.0", "1.5.0");
    fs::write(&built, newer).expect("own file");
    let output = bootstrap(&sandbox, &[], &[]);
    let text = printed(&output);
    assert!(
        output.status.success() && text.contains("✓ Daemon: started") && text.contains("✓ ctxnode 1.5.0"),
        "{text}"
    );
}

#[test]
fn failures_say_what_to_type() {
    let sandbox = sandbox();
    sandbox.fake_program("rustc", "echo 'rustc 1.94.9 (abc 2026-01-01)'");
    let output = bootstrap(&sandbox, &[], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(printed(&output).contains("Type: rustup update stable"), "{}", printed(&output));
    sandbox.fake_program("rustc", "exit 1");
    let output = bootstrap(&sandbox, &[], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(printed(&output).contains("Type: rustup default stable"), "{}", printed(&output));
    assert_eq!(bootstrap(&sandbox, &["--bogus"], &[]).status.code(), Some(2));
}

/// B-07, as far as bootstrap goes: what doctor calls broken is not called good.
#[test]
fn b_07_a_failing_self_check_fails_the_run_and_a_warning_does_not() {
    let sandbox = sandbox();
    let failing = bootstrap(&sandbox, &[], &[("DOCTOR", "1")]);
    assert_eq!(failing.status.code(), Some(1), "{}", printed(&failing));
    assert!(printed(&failing).contains("✗ Daemon or store"));
    let warning = bootstrap(&sandbox, &[], &[("DOCTOR", "2")]);
    assert!(warning.status.success(), "{}", printed(&warning));
    assert!(printed(&warning).contains("Doctor warns:"));
}

/// B-02: one command installs and sets up agent CLIs, and each of the new steps is taken up again where it failed; the
/// second run changes nothing.
#[test]
fn b_02_agent_clis_are_installed_set_up_and_exercised() {
    let sandbox = sandbox();
    let all = ["--agents", "claude,codex"];
    for fault in ["FAIL_NPM", "FAIL_SETUP"] {
        let broken = bootstrap(&sandbox, &all, &[(fault, "1")]);
        assert_eq!(broken.status.code(), Some(1), "{fault}: {}", printed(&broken));
        // The log that is named says why.
        let log = fs::read_to_string(sandbox.root().join("target/bootstrap-claude.log")).expect("it is named");
        assert_eq!(log.contains("SELF_SIGNED_CERT_IN_CHAIN"), fault == "FAIL_NPM", "{log}");
    }
    let done = bootstrap(&sandbox, &all, &[]);
    let text = printed(&done);
    assert!(done.status.success(), "{text}");
    for line in ["✓ Agent CLIs: claude codex", "✓ MCP connected (claude, codex)", "claude: trust it", "Next: launcher"]
    {
        assert!(text.contains(line), "{line} is missing in:\n{text}");
    }
    let before = state(&sandbox.home());
    let second = bootstrap(&sandbox, &all, &[]);
    assert!(second.status.success() && !printed(&second).contains("trust it"), "{}", printed(&second));
    assert_eq!(before, state(&sandbox.home()));
    let deaf = bootstrap(&sandbox, &all, &[("DEAF", "1")]);
    assert_eq!(deaf.status.code(), Some(1), "{}", printed(&deaf));
    assert!(printed(&deaf).contains("✗ codex: no answer\n  type: ctxnode setup codex"), "{}", printed(&deaf));
}

/// B-01: the invite code comes by stdin or from a file, is never in an argument list, and the fleet is shown.
#[test]
fn b_01_a_machine_joins_by_a_code_that_no_argument_list_holds() {
    let sandbox = sandbox();
    let refused = bootstrap(&sandbox, &["--join", "ctxj-good"], &[]);
    assert_eq!(refused.status.code(), Some(2), "{}", printed(&refused));
    assert!(!printed(&refused).contains("ctxj-good"), "{}", printed(&refused));
    let code = sandbox.root().join("code");
    fs::write(&code, "ctxj-used\n").expect("own file");
    let arguments = ["--join", code.to_str().expect("a path of ours is text")];
    let used = bootstrap(&sandbox, &arguments, &[]);
    assert_eq!(used.status.code(), Some(1), "{}", printed(&used));
    assert!(printed(&used).contains("ctxnode invite"), "{}", printed(&used));
    fs::write(&code, "ctxj-good\n").expect("own file");
    let joined = bootstrap(&sandbox, &arguments, &[]);
    assert!(joined.status.success(), "{}", printed(&joined));
    assert!(printed(&joined).contains("✓ Fleet joined, 1 of 1 peers reachable"), "{}", printed(&joined));
    let alone = bootstrap(&sandbox, &[], &[("PEER", "unreachable")]);
    assert_eq!(alone.status.code(), Some(1), "{}", printed(&alone));
    assert!(printed(&alone).contains("✗ Fleet joined, none of 1 peers reachable"), "{}", printed(&alone));
}

/// B-01: an invite code is never ignored: a replica that is there is in a fleet, or stands in the way.
#[test]
fn b_01_a_code_beside_a_replica_is_answered() {
    let sandbox = sandbox();
    assert!(bootstrap(&sandbox, &[], &[]).status.success());
    let code = sandbox.root().join("code");
    fs::write(&code, "ctxj-good\n").expect("own file");
    let arguments = ["--join", code.to_str().expect("a path of ours is text")];
    let alone = bootstrap(&sandbox, &arguments, &[]);
    assert_eq!(alone.status.code(), Some(1), "{}", printed(&alone));
    assert!(printed(&alone).contains("type: ctxnode daemon stop; mv '"), "{}", printed(&alone));
    let unknown = bootstrap(&sandbox, &arguments, &[("DEAF_PEERS", "1")]);
    assert_eq!(unknown.status.code(), Some(1), "{}", printed(&unknown));
    fs::write(sandbox.home().join(".joined"), "").expect("own file");
    let member = bootstrap(&sandbox, &arguments, &[]);
    assert!(member.status.success(), "{}", printed(&member));
    assert!(
        printed(&member).contains("in a fleet with 1 others already; the code was not used"),
        "{}",
        printed(&member)
    );
}

/// B-04: on macOS a login bash reads the first of its files alone, so that the line goes there and hides none of them.
#[test]
fn b_04_the_line_goes_where_a_login_bash_of_macos_reads_it() {
    for (there, gets) in [
        (&[".bash_profile", ".profile"][..], ".bash_profile"),
        (&[".bash_login", ".profile"], ".bash_login"),
        (&[".profile"], ".profile"),
        (&[], ".profile"),
    ] {
        let sandbox = sandbox();
        sandbox.fake_program("uname", "case ${1:-} in -m) echo arm64 ;; -n) echo mac ;; *) echo Darwin ;; esac");
        for name in there {
            fs::write(sandbox.home().join(name), "mine\n").expect("own file");
        }
        let output = bootstrap(&sandbox, &[], &[]);
        assert!(output.status.success(), "{}", printed(&output));
        for name in [".bash_profile", ".bash_login", ".profile"] {
            let text = fs::read_to_string(sandbox.home().join(name)).unwrap_or_default();
            assert_eq!(text.contains("added by ctxnode bootstrap"), name == gets, "{there:?} {name}: {text}");
            assert_eq!(text.starts_with("mine\n"), there.contains(&name), "{there:?} {name}: {text}");
        }
    }
}

/// Section 19.1: tmux's settings, completions where the shell looks for them, and what is not there yet is said.
#[test]
fn b_02_tmux_and_completions_are_set_up() {
    let sandbox = sandbox();
    let broken = bootstrap(&sandbox, &[], &[("FAIL_TMUX", "1")]);
    assert_eq!(broken.status.code(), Some(1), "{}", printed(&broken));
    let done = bootstrap(&sandbox, &[], &[("SHELL", "/bin/bash")]);
    let text = printed(&done);
    assert!(done.status.success(), "{text}");
    for line in ["✓ tmux: settings written", "Secrets CLI", "Not there yet: prebuilt binaries"] {
        assert!(text.contains(line), "{line} is missing in:\n{text}");
    }
    let variables: BTreeMap<_, _> = sandbox.environment().into_iter().collect();
    let folder = Path::new(&variables["XDG_DATA_HOME"]).join("bash-completion/completions");
    assert_eq!(fs::read_to_string(folder.join("ctxnode")).expect("own file"), "completions of bash\n");
    assert!(printed(&bootstrap(&sandbox, &[], &[])).contains("ctxnode is current"));
    // A file of somebody else stays.
    let fish = Path::new(&variables["XDG_CONFIG_HOME"]).join("fish/completions/ctxnode.fish");
    fs::create_dir_all(fish.parent().expect("a folder")).expect("own folder");
    fs::write(&fish, "mine\n").expect("own file");
    let other = bootstrap(&sandbox, &[], &[("SHELL", "/usr/bin/fish")]);
    assert!(printed(&other).contains("is somebody's own"), "{}", printed(&other));
    assert_eq!(fs::read_to_string(&fish).expect("own file"), "mine\n");
}

/// Section 19.1: where this login has user services the daemon becomes one; a failed install is taken up again.
#[test]
fn b_02_the_daemon_becomes_a_user_service() {
    let sandbox = sandbox();
    sandbox.fake_program("systemctl", "exit 0");
    sandbox.fake_program("launchctl", "exit 0");
    let broken = bootstrap(&sandbox, &[], &[("FAIL_INSTALL", "1")]);
    assert_eq!(broken.status.code(), Some(1), "{}", printed(&broken));
    assert!(printed(&broken).contains("--no-service"), "{}", printed(&broken));
    let done = bootstrap(&sandbox, &[], &[]);
    assert!(done.status.success() && printed(&done).contains("a service of this user"), "{}", printed(&done));
    let none = bootstrap(&self::sandbox(), &["--no-service"], &[]);
    assert!(none.status.success(), "{}", printed(&none));
    assert!(printed(&none).contains("its first client starts it"), "{}", printed(&none));
    assert!(printed(&none).contains("✓ Daemon running, store open"), "{}", printed(&none));
}

/// B-04: a key that is there stays; without one an Ed25519 key is made.
#[test]
fn b_04_an_existing_key_keeps_every_byte() {
    let sandbox = sandbox();
    sandbox.fake_program("ssh-keygen", "while [ $# -gt 1 ]; do shift; done; echo made >\"$1\"");
    assert!(bootstrap(&sandbox, &[], &[]).status.success());
    let key = sandbox.home().join(".ssh/id_ed25519");
    assert_eq!(fs::read(&key).expect("own file"), b"made\n");
    fs::write(&key, "mine").expect("own file");
    assert!(bootstrap(&sandbox, &[], &[]).status.success());
    assert_eq!(fs::read(&key).expect("own file"), b"mine");
}

/// Tools are installed when that is asked for; else it says what is missing and how to get it, and goes on.
#[test]
fn tools_are_skipped_with_a_hint_or_installed_when_asked_for() {
    let sandbox = sandbox();
    let mosh = sandbox.fake_program("mosh", "exit 0");
    fs::remove_file(&mosh).expect("own file");
    let script = format!(
        "[ \"$1\" = update ] || printf '#!/bin/sh\\n' >{0} && chmod 755 {0} 2>/dev/null || true",
        mosh.display()
    );
    sandbox.fake_program("apt-get", &script);
    sandbox.fake_program("sudo", "[ \"$1\" = -n ] && exit 0; exec \"$@\"");
    // On a machine with a mosh of its own there is nothing to install.
    let has_own = sandbox.command("sh").args(["-c", "command -v mosh"]).output().expect("sh starts").status.success();
    if has_own {
        return;
    }
    let skipped = bootstrap(&sandbox, &[], &[]);
    assert!(skipped.status.success(), "{}", printed(&skipped));
    assert!(printed(&skipped).contains("- Tools: no mosh: skipped. Type: "), "{}", printed(&skipped));
    let done = bootstrap(&sandbox, &["--tools"], &[]);
    assert!(done.status.success(), "{}", printed(&done));
    assert!(printed(&done).contains("✓ Tools: git, gh, tmux, mosh, node"), "{}", printed(&done));
}

/// Section 19.1: the secrets CLI is one of the tools: installed when that is asked for, by npm into the user's own folder; what
/// cannot be had is said and stops nothing.
#[test]
fn the_secrets_cli_is_skipped_with_a_hint_or_installed_when_asked_for() {
    let sandbox = sandbox();
    let has = |program: &str| {
        sandbox
            .command("sh")
            .args(["-c", &format!("command -v {program}")])
            .output()
            .expect("sh starts")
            .status
            .success()
    };
    // On a machine with one of its own there is nothing to install, and with brew it would be the one that is asked.
    if has("infisical") || has("brew") {
        return;
    }
    let hint = "npm install -g --prefix ~/.local @infisical/cli";
    let said = |arguments: &[&str], variables: &[(&str, &str)]| {
        let done = bootstrap(&sandbox, arguments, variables);
        printed(&done)
    };
    let skipped = said(&[], &[]);
    assert!(skipped.contains(&format!("Type: {hint}   or run this with --tools.")), "{skipped}");
    let plan = said(&["--tools", "--dry-run"], &[]);
    assert!(plan.contains(&format!("→ would install infisical ({hint})")), "{plan}");
    let checked = said(&["--check"], &[]);
    assert!(checked.contains("- Secrets CLI: no infisical: skipped"), "{checked}");
    let broken = bootstrap(&sandbox, &["--tools"], &[("FAIL_NPM", "1")]);
    assert!(
        broken.status.success() && printed(&broken).contains("infisical could not be installed"),
        "{}",
        printed(&broken)
    );
    assert!(!has("infisical"));
    let installed = sandbox.home().join(".local/bin/infisical");
    let done = said(&["--tools"], &[]);
    assert!(done.contains("✓ Secrets CLI: infisical") && installed.is_file(), "{done}");
    let before = state(&sandbox.home());
    assert!(said(&["--tools"], &[]).contains("✓ Secrets CLI: infisical"));
    assert_eq!(before, state(&sandbox.home()));
}

#[test]
fn an_unknown_agent_is_refused_with_the_known_ones() {
    let output = bootstrap(&sandbox(), &["--agents", "vim"], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(printed(&output).contains("known are claude codex gemini agy"), "{}", printed(&output));
}
