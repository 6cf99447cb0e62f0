//! `ctxnode continue`: another agent, or another machine, in the worktree and on the branch of a session, with what it left
//! in front. Agent CLIs, and the way to the other machine, are stand-ins; daemon, git and tmux are real.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use ctxnode_testkit::{Daemon, Repo, Sandbox, wait_until};
use rustix::process::Signal;
use serde_json::Value;

use super::support::{
    ALPHA, Running, SOON, all, checkout, ctxnode, errors, home_file, json, launcher, printed, ready, remote, start,
};

/// What every stand-in does first: it writes down how it was called, and reports its start as its hooks would.
fn began(name: &str) -> String {
    format!(
        r#"case "$1" in features) exit 0 ;; esac # set-up asks Codex whether it takes its settings
printf '%s\0' "$@" >"$HOME/args.{name}"
pwd >"$HOME/cwd.{name}"
hook() {{ printf '%s' "$2" | ctxnode hook {name} "$1"; }}
hook session-start "{{\"session_id\":\"c-{name}\",\"cwd\":\"$PWD\",\"source\":\"startup\"}}" >"$HOME/said.{name}"
"#
    )
}

/// An agent that commits, leaves a file half done, tells what it did, and ends without a handoff.
fn working() -> String {
    began("claude")
        + r#"echo a >parser.txt && git add parser.txt && git commit --quiet -m "Add the parser"
echo half >half.txt
hook stop "{\"session_id\":\"c-claude\",\"cwd\":\"$PWD\",\"prompt_id\":\"p1\",\"last_assistant_message\":\"The parser works; the tests are next.\"}"
"#
}

/// An agent that works, then stays until a line comes.
fn staying() -> String {
    working()
        + r#"echo $$ >"$HOME/up.new" && mv "$HOME/up.new" "$HOME/up"
[ -p "$HOME/wait" ] || mkfifo "$HOME/wait"
read -r line <"$HOME/wait"
"#
}

/// An agent whose turn fails by a limit, and which stays on the screen.
fn limited() -> String {
    let failed = r#"hook failed "{\"session_id\":\"c-claude\",\"cwd\":\"$PWD\",\"error\":\"rate_limit\",\"last_assistant_message\":\"You have hit your limit\"}" >"$HOME/failed.claude"
printf '{"session_id":"c-claude","cwd":"%s","workspace":{"current_dir":"%s"}}' "$PWD" "$PWD" | ctxnode statusline >"$HOME/status.claude"
"#;
    staying().replace("echo $$", &format!("{failed}echo $$"))
}

/// A checkout in which agents commit under a name.
fn named_checkout(sandbox: &Sandbox) -> Repo<'_> {
    let repo = checkout(sandbox);
    repo.git(&["config", "user.name", "Ada"]);
    repo.git(&["config", "user.email", "ada@example.com"]);
    repo
}

fn continued(sandbox: &Sandbox, directory: &Path, words: &[&str]) -> Output {
    let mut command = sandbox.command("ctxnode");
    command.arg("continue").args(words).current_dir(directory).output().unwrap()
}

fn cwd(sandbox: &Sandbox, name: &str) -> PathBuf {
    home_file(sandbox, &format!("cwd.{name}")).trim().into()
}

fn arguments(sandbox: &Sandbox, name: &str) -> Vec<String> {
    home_file(sandbox, &format!("args.{name}")).split_terminator('\0').map(str::to_owned).collect()
}

fn sessions(sandbox: &Sandbox) -> Vec<Value> {
    json(sandbox, &["session", "list", "--status", "any", "--json"])["items"].as_array().unwrap().clone()
}

fn of_cli(sandbox: &Sandbox, cli: &str) -> Value {
    sessions(sandbox).into_iter().find(|session| session["cli"] == cli).unwrap()
}

/// Section 2.10: a session that crashed leaves its draft, and another agent goes on from it where it was.
#[test]
fn h_22_another_agent_goes_on_in_the_same_worktree_with_the_draft_of_a_crash() {
    let sandbox = ready();
    let _daemon = start(&sandbox, ALPHA);
    let repo = named_checkout(&sandbox);
    let nothing = continued(&sandbox, repo.path(), &[]);
    assert!(errors(&nothing).contains("no session to continue in alpha-org/console"), "{}", all(&nothing));
    sandbox.fake_program("claude", &(working() + "exit 9\n"));
    sandbox.fake_program("codex", &began("codex"));
    let crashed = launcher(&sandbox, &["alpha", "--worktree", "--track", "3"]);
    assert_eq!(crashed.status.code(), Some(9), "{}", all(&crashed));
    let last = errors(&crashed);
    let last = last.lines().last().unwrap();
    assert!(last.contains("left without a handoff; draft ho_") && last.ends_with("ctxnode continue"), "{last}");
    let worktree = cwd(&sandbox, "claude");

    // From elsewhere it is told which sessions there are; a plan changes nothing.
    let outside = continued(&sandbox, sandbox.root(), &["--with", "codex"]);
    let text = errors(&outside);
    assert!(outside.status.code() == Some(1) && text.contains("no git checkout") && text.contains("sess_"), "{text}");
    let plan = continued(&sandbox, repo.path(), &["--with", "codex", "--dry-run"]);
    assert!(plan.status.success() && all(&plan).contains("agent     Codex"), "{}", all(&plan));
    assert_eq!(of_cli(&sandbox, "claude")["status"], "active");

    let done = continued(&sandbox, repo.path(), &["--with", "codex", "--", "--model", "x"]);
    assert!(done.status.success(), "{}", all(&done));
    assert_eq!(cwd(&sandbox, "codex"), worktree);
    let words = arguments(&sandbox, "codex");
    assert_eq!(words[1..], ["--model", "x"]);
    let ended = of_cli(&sandbox, "claude")["id"].as_str().unwrap().to_owned();
    let draft = json(&sandbox, &["handoff", "latest", "--session-id", &ended, "--json"]);
    let id = draft["id"].as_str().unwrap();
    assert!(words[0].contains(&format!("`ctxnode handoff show {id}`")), "{}", words[0]);
    let said = home_file(&sandbox, "said.codex");
    assert!(said.contains(&format!("Last Handoff {id}")) && said.contains("drafted by a machine"), "{said}");
    let shown = all(&ctxnode(&sandbox, &["handoff", "show", id]));
    for part in ["Add the parser", "half.txt", "The parser works"] {
        assert!(shown.contains(part), "{part}: {shown}");
        assert!(!words[0].contains(part), "every user of the machine could read it: {}", words[0]);
    }
    let claude = of_cli(&sandbox, "claude");
    assert_eq!((&claude["status"], &claude["end_reason"]), (&"abandoned".into(), &"error".into()), "{claude}");
    let codex = of_cli(&sandbox, "codex");
    assert_eq!((&codex["branch"], &codex["track"]), (&claude["branch"], &3.into()), "{codex}");
    let draft = json(&sandbox, &["handoff", "list", "--json"])["items"][0].clone();
    assert_eq!((&codex["thread"], &draft["drafted"]), (&draft["thread"], &true.into()), "{codex} {draft}");
    let drafts = json(&sandbox, &["handoff", "list", "--json", "--session-id", claude["id"].as_str().unwrap()]);
    assert_eq!(drafts["total"], 1, "equal drafts are one: {drafts}");
}

/// Section 7.3, turn failed by a limit: what the human sees, the draft, and another agent beside the one that waits.
#[test]
fn a_turn_that_a_limit_ended_offers_another_agent_which_takes_the_worktree_over() {
    let sandbox = ready();
    let _daemon = start(&sandbox, ALPHA);
    let _repo = named_checkout(&sandbox);
    sandbox.fake_program("claude", &limited());
    sandbox.fake_program("codex", &began("codex"));
    let mut command = sandbox.command("launcher");
    command.args(["alpha", "--worktree"]);
    let running = Running::start(&sandbox, command);
    let offer = "(rate_limit: You have hit your limit); to go on from here: ctxnode continue --with codex";
    let failed: Value = serde_json::from_str(&home_file(&sandbox, "failed.claude")).unwrap();
    assert!(failed["terminalSequence"].as_str().unwrap().contains(offer), "{failed}");
    assert!(home_file(&sandbox, "status.claude").contains(offer), "{}", home_file(&sandbox, "status.claude"));
    let session = of_cli(&sandbox, "claude");
    let drafts = json(&sandbox, &["handoff", "latest", "--session-id", session["id"].as_str().unwrap(), "--json"]);
    assert!(drafts["drafted"] == true && drafts.to_string().contains("The last turn failed: rate_limit"), "{drafts}");

    let worktree = cwd(&sandbox, "claude");
    // Without --with it is not the one whose limit is reached.
    let done = continued(&sandbox, &worktree, &[]);
    assert!(done.status.success(), "{}", all(&done));
    assert_eq!(cwd(&sandbox, "codex"), worktree);
    let session = of_cli(&sandbox, "claude");
    assert_eq!((&session["status"], &session["end_reason"]), (&"abandoned".into(), &"error".into()), "{session}");
    let agent = running.agent();
    running.end(agent, Signal::TERM);
    assert!(!printed(&sandbox).contains("left without a handoff"), "it is over: {}", printed(&sandbox));
}

/// An agent that works is not pushed aside unless somebody says so; one that left says how it goes on.
#[test]
fn an_agent_at_work_is_ended_only_on_request() {
    let sandbox = ready();
    let _daemon = start(&sandbox, ALPHA);
    let repo = named_checkout(&sandbox);
    sandbox.fake_program("claude", &staying());
    sandbox.fake_program("codex", &began("codex"));
    let mut command = sandbox.command("launcher");
    command.arg("alpha");
    let running = Running::start(&sandbox, command);
    let refused = continued(&sandbox, repo.path(), &["--with", "codex"]);
    let text = errors(&refused);
    assert!(refused.status.code() == Some(1) && text.contains("is still at work there (process"), "{text}");
    assert_eq!(of_cli(&sandbox, "claude")["status"], "active");
    let unknown = continued(&sandbox, repo.path(), &["--with", "gemini", "--yes"]);
    assert!(errors(&unknown).contains("install it: npm install -g @google/gemini-cli"), "{}", all(&unknown));
    assert_eq!(of_cli(&sandbox, "claude")["status"], "active", "what cannot go on ends nothing");
    let done = continued(&sandbox, repo.path(), &["--with", "codex", "--yes"]);
    assert!(done.status.success(), "{}", all(&done));
    assert_eq!(cwd(&sandbox, "codex"), repo.path().canonicalize().unwrap());
    let agent = running.agent();
    running.end(agent, Signal::TERM);
}

/// The other machine of a fleet: a home of its own, whose checkout has the same remote.
struct Office {
    sandbox: Sandbox,
}

impl Office {
    fn join(founder: &Sandbox) -> Self {
        let invited = json(founder, &["invite", "--json"]);
        let sandbox = Sandbox::new();
        let joined = ctxnode(&sandbox, &["join", invited["code"].as_str().unwrap(), "--name", "office"]);
        assert!(joined.status.success(), "{}", all(&joined));
        Self { sandbox }
    }

    /// Clones the founder's remote.
    fn clone_of(&self, founder: &Sandbox) {
        let remotes = remote(founder).parent().unwrap().parent().unwrap().display().to_string();
        let config =
            format!("[url \"{remotes}/\"]\n\tinsteadOf = git@github.com:\n[user]\n\tname = Bo\n\temail = b@x.org\n");
        fs::write(self.sandbox.home().join(".gitconfig"), config).unwrap();
        let mut command = self.sandbox.command("git");
        command.args(["clone", "--quiet", "git@github.com:alpha-org/console.git"]);
        let done = command.current_dir(self.sandbox.dev_dir()).output().unwrap();
        assert!(done.status.success(), "{}", all(&done));
    }

    /// Puts a stand-in of ssh before the founder's others: it runs the command in this home, as a login there would.
    fn behind_ssh(&self, founder: &Sandbox) {
        let quoted = |text: &str| format!("'{}'", text.replace('\'', "'\\''"));
        let variables = self.sandbox.environment();
        let sets: Vec<String> = variables
            .iter()
            .map(|(name, value)| format!("{name}={}", quoted(&value.to_string_lossy())))
            .chain([format!("TMUX_TMPDIR={}", quoted(&self.sandbox.root().join("run").display().to_string()))])
            .collect();
        // The profile of the system sets another PATH than that of the sandbox.
        let path = sets.iter().find(|set| set.starts_with("PATH=")).unwrap();
        fs::write(self.sandbox.home().join(".profile"), format!("export {path}\n")).unwrap();
        let script = format!(
            r#"printf '%s\n' "$*" >>"$HOME/ssh.log"
while [ "$1" != -- ]; do shift; done
case $2 in *@10.9.9.9) echo "ssh: connect to host 10.9.9.9 port 22: No route to host" >&2; exit 255;; esac
cd {home} && exec env -i {sets} sh -c "$3""#,
            home = quoted(&self.sandbox.home().display().to_string()),
            sets = sets.join(" "),
        );
        founder.fake_program("ssh", &script);
    }

    fn tmux(&self, words: &[&str]) -> String {
        let mut command = self.sandbox.command("tmux");
        command.env("TMUX_TMPDIR", self.sandbox.root().join("run")).args(words);
        command.output().map(|done| all(&done)).unwrap_or_default()
    }
}

impl Drop for Office {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

fn registered(sandbox: &Sandbox, name: &str, address: &str) {
    let words = ["machine", "register", "--hostname", name, "--address", address, "--user", "bo", "--os", "linux"];
    let done = ctxnode(sandbox, &[&words[..], &["--arch", "x86_64"]].concat());
    assert!(done.status.success(), "{}", all(&done));
}

/// Section 2.10: the same branch on another machine, over ssh and in tmux; what is missing is said by name.
#[test]
fn h_11_work_goes_on_at_another_machine_of_the_fleet() {
    let mac = ready();
    let _mac_daemon = start(&mac, ALPHA);
    let repo = named_checkout(&mac);
    mac.fake_program("claude", &(working() + "exit 1\n"));
    assert_eq!(launcher(&mac, &["alpha", "--branch", "dev/mac/parser"]).status.code(), Some(1));
    let worktree = cwd(&mac, "claude");
    let office = Office::join(&mac);
    let _office_daemon = Daemon::start(&office.sandbox);
    if office.tmux(&["-V"]).is_empty() {
        eprintln!("SKIP: tmux is not installed");
        return;
    }
    office.behind_ssh(&mac);
    registered(&mac, "server", "127.0.0.1");
    registered(&mac, "nowhere", "10.9.9.9");
    let go_on = |words: &[&str]| {
        let done = continued(&mac, repo.path(), &[&["--with", "codex"], words].concat());
        (done.status.code(), all(&done))
    };
    let refused = |words: &[&str], part: &str| {
        let (code, text) = go_on(words);
        assert!(code == Some(1) && text.contains(part), "{part}: {text}");
        assert_eq!(of_cli(&mac, "claude")["status"], "active", "{text}");
    };
    refused(&["--on", "sever"], "did you mean `server`?");
    refused(&["--on", "server"], "`dev/mac/parser` is not all on the remote: 1 commits, 1 changed files");
    let git = |words: &[&str]| {
        let done = mac.command("git").args(words).current_dir(&worktree).output().unwrap();
        assert!(done.status.success(), "{}", all(&done));
    };
    git(&["add", "half.txt"]);
    git(&["commit", "--quiet", "-m", "Half of it"]);
    git(&["push", "--quiet", "-u", "origin", "dev/mac/parser"]);
    refused(&["--on", "nowhere"], "10.9.9.9: ssh: connect to host 10.9.9.9 port 22: No route to host");
    refused(&["--on", "server"], "on server: program: Codex is not installed");
    office.sandbox.fake_program("codex", &(began("codex") + "echo ready; read -r line\n"));
    refused(&["--on", "server"], "on server: repo: `alpha` has no checkout in");
    office.clone_of(&mac);
    let (code, text) = go_on(&["--on", "server", "--dry-run"]);
    assert!(
        code == Some(0) && text.contains("on server (127.0.0.1): ") && text.contains("/ctxnode continue sess_"),
        "{text}"
    );
    assert!(!office.tmux(&["list-sessions"]).contains("alpha"), "{text}");

    let (code, text) = go_on(&["--on", "server"]);
    assert!(code == Some(0) && text.contains("session alpha is ready: tmux attach -t =alpha"), "{text}");
    wait_until(SOON, "the agent is up there", || office.sandbox.home().join("said.codex").exists());
    let there = cwd(&office.sandbox, "codex");
    assert!(there.starts_with(office.sandbox.dev_dir().canonicalize().unwrap().join("console.worktrees")), "{there:?}");
    assert!(there.join("half.txt").exists(), "the pushed branch is checked out");
    let prompt = arguments(&office.sandbox, "codex")[0].clone();
    let id = prompt.split('`').nth(1).unwrap().rsplit(' ').next().unwrap();
    let shown = all(&ctxnode(&office.sandbox, &["handoff", "show", id]));
    assert!(shown.contains("Half of it") && !prompt.contains("Half of it"), "{prompt}: {shown}");
    assert_eq!(of_cli(&mac, "claude")["end_reason"], "error");
    let goes_on = |sandbox: &Sandbox| {
        let session = sessions(sandbox).into_iter().find(|session| session["cli"] == "codex");
        session.is_some_and(|session| session["thread"].is_string() && session["branch"] == "dev/mac/parser")
    };
    wait_until(SOON, "the session there goes on in the thread", || goes_on(&office.sandbox));
    let log = home_file(&mac, "ssh.log");
    assert!(log.contains("BatchMode=yes") && log.contains("bo@127.0.0.1"), "{log}");

    wait_until(SOON, "the first machine has heard of it", || goes_on(&mac));
    // Once more: a second window, in which the worktree of the first is not taken away, and which shows why.
    let (code, text) = go_on(&["--on", "server"]);
    assert!(code == Some(0) && text.contains("has not told its last state"), "{text}");
    wait_until(SOON, "the second window says why", || {
        office.tmux(&["capture-pane", "-p", "-J", "-t", "=alpha:"]).contains("is in use by process")
    });
    assert_eq!(office.tmux(&["list-windows", "-t", "=alpha", "-F", "#{window_name}"]), "codex\ncodex\n");
}
