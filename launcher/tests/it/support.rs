//! A ready home: a replica with two ventures, a checkout with a remote, a stand-in for an agent CLI.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use ctxnode_testkit::{Daemon, Repo, Sandbox, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// How long something that happens by itself may take on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// Makes a home with a replica.
pub(crate) fn ready() -> Sandbox {
    let sandbox = Sandbox::new();
    let made = sandbox.command("ctxnode").args(["init", "--name", "test"]).output().unwrap();
    assert!(made.status.success(), "{}", errors(&made));
    sandbox
}

/// Starts the daemon and imports ventures.
pub(crate) fn start<'a>(sandbox: &'a Sandbox, ventures: &str) -> Daemon<'a> {
    let daemon = Daemon::start(sandbox);
    import(sandbox, ventures);
    daemon
}

/// Imports ventures.
pub(crate) fn import(sandbox: &Sandbox, ventures: &str) {
    let file = sandbox.root().join("ventures.json");
    fs::write(&file, format!("{{\"ventures\":[{ventures}]}}")).unwrap();
    let done = sandbox.command("ctxnode").args(["venture", "import"]).arg(&file).output().unwrap();
    assert!(done.status.success(), "{}", errors(&done));
}

pub(crate) const ALPHA: &str = r#"{"code":"alpha","name":"Alpha","org":"alpha-org","repos":["alpha-org/console"]}"#;
pub(crate) const BETA: &str = r#"{"code":"beta","name":"Beta","org":"beta-org","repos":["beta-org/shop"]}"#;

/// Makes the checkout of alpha, whose remote is a bare repository of the sandbox.
pub(crate) fn checkout(sandbox: &Sandbox) -> Repo<'_> {
    let remote = remote(sandbox);
    let repo = Repo::with_origin(sandbox, "console", "git@github.com:alpha-org/console.git");
    let made = sandbox
        .command("git")
        .args(["init", "--quiet", "--bare", "--initial-branch=main"])
        .arg(&remote)
        .status()
        .unwrap();
    assert!(made.success());
    repo.git(&["push", "--quiet", "--set-upstream", "origin", "main"]);
    repo.git(&["remote", "set-head", "origin", "main"]);
    repo
}

/// Returns where alpha's remote lies, and lets git find it there.
pub(crate) fn remote(sandbox: &Sandbox) -> PathBuf {
    let remotes = sandbox.root().join("remotes");
    let config = format!("[url \"{}/\"]\n\tinsteadOf = git@github.com:\n", remotes.display());
    fs::write(sandbox.home().join(".gitconfig"), config).unwrap();
    remotes.join("alpha-org/console.git")
}

/// Pushes commits to alpha's remote as somebody else would.
pub(crate) fn push_elsewhere(sandbox: &Sandbox, count: usize) {
    let other = sandbox.root().join("other");
    let clone = sandbox.command("git").args(["clone", "--quiet"]).arg(remote(sandbox)).arg(&other).output().unwrap();
    assert!(clone.status.success(), "{}", errors(&clone));
    for index in 0..count {
        let name = ["-c", "user.name=Bo", "-c", "user.email=bo@example.com"];
        let git = |words: &[&str]| {
            let done = sandbox.command("git").args(name).args(words).current_dir(&other).output().unwrap();
            assert!(done.status.success(), "{}", errors(&done));
        };
        git(&["commit", "--quiet", "--allow-empty", "-m", &format!("elsewhere {index}")]);
        git(&["push", "--quiet"]);
    }
}

/// Runs the launcher and waits for its end.
pub(crate) fn launcher(sandbox: &Sandbox, words: &[&str]) -> Output {
    sandbox.command("launcher").args(words).output().unwrap()
}

pub(crate) fn ctxnode(sandbox: &Sandbox, words: &[&str]) -> Output {
    sandbox.command("ctxnode").args(words).output().unwrap()
}

/// Runs a command that must print an object.
pub(crate) fn json(sandbox: &Sandbox, words: &[&str]) -> Value {
    let done = ctxnode(sandbox, words);
    serde_json::from_slice(&done.stdout).unwrap_or_else(|_| panic!("{}", all(&done)))
}

pub(crate) fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Returns everything that a program printed.
pub(crate) fn all(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &errors(output)
}

/// An agent that writes down its arguments and its directory, says that it is up, and stays, under its own name, until a
/// signal ends it.
pub(crate) const STAYING: &str = r#"
printf '%s\n' "$@" >"$HOME/args"
pwd >"$HOME/cwd"
echo $$ >"$HOME/up.new" && mv "$HOME/up.new" "$HOME/up"
[ -p "$HOME/wait" ] || mkfifo "$HOME/wait"
read -r line <"$HOME/wait"
"#;

/// A launcher that runs beside the test; killed when dropped.
pub(crate) struct Running {
    child: Child,
    home: PathBuf,
}

impl Running {
    /// Starts the launcher and waits until its agent is up.
    pub(crate) fn start(sandbox: &Sandbox, mut command: Command) -> Self {
        let _ = fs::remove_file(sandbox.home().join("up"));
        let log = fs::File::create(sandbox.root().join("launcher.out")).unwrap();
        command.stdout(log.try_clone().unwrap()).stderr(log).stdin(Stdio::null());
        let mut running = Self { child: command.spawn().unwrap(), home: sandbox.home() };
        wait_until(SOON, "the agent is up", || {
            let ended = running.child.try_wait().unwrap();
            assert!(ended.is_none(), "{ended:?}: {}", printed(sandbox));
            running.home.join("up").exists()
        });
        running
    }

    /// Returns the agent's process.
    pub(crate) fn agent(&self) -> Pid {
        let text = fs::read_to_string(self.home.join("up")).unwrap();
        Pid::from_raw(text.trim().parse().unwrap()).unwrap()
    }

    pub(crate) fn launcher(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap()
    }

    /// Sends a signal to a process and waits for the launcher's end.
    pub(crate) fn end(mut self, to: Pid, signal: Signal) -> ExitStatus {
        kill_process(to, signal).unwrap();
        self.child.wait().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = kill_process(self.agent(), Signal::KILL);
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Returns what the running launcher printed.
pub(crate) fn printed(sandbox: &Sandbox) -> String {
    fs::read_to_string(sandbox.root().join("launcher.out")).unwrap_or_default()
}

/// Returns a file of the home.
pub(crate) fn home_file(sandbox: &Sandbox, name: &str) -> String {
    fs::read_to_string(sandbox.home().join(name)).unwrap_or_default()
}

/// Returns the files below a folder that contain some bytes.
pub(crate) fn files_with(folder: &Path, needle: &[u8]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        if kind.is_dir() {
            found.extend(files_with(&path, needle));
        } else if kind.is_file() && contains(&fs::read(&path).unwrap_or_default(), needle) {
            found.push(path);
        }
    }
    found
}

/// Returns the processes of this machine whose arguments contain some bytes.
pub(crate) fn processes_with(needle: &[u8]) -> Vec<String> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let lines = entries.flatten().map(|entry| entry.path().join("cmdline"));
    let hits = lines.filter(|path| contains(&fs::read(path).unwrap_or_default(), needle));
    hits.map(|path| path.display().to_string()).collect()
}

pub(crate) fn contains(text: &[u8], needle: &[u8]) -> bool {
    text.windows(needle.len()).any(|part| part == needle)
}
