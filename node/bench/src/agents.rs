//! What an agent waits for: its hooks, and its start by the launcher. Real programs in a home of their own, each beside the
//! cost of starting a program at all.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::stats::{Times, line, ratio, say};
use crate::whole::Running;

/// Sessions that take turns: as many as a busy machine has.
const SESSIONS: usize = 20;

/// A home with a replica, a running daemon, one venture and its checkout, and an agent CLI that does nothing.
struct Home {
    dir: TempDir,
    binaries: PathBuf,
    _daemon: Running,
}

impl Home {
    fn make(binaries: &Path) -> Self {
        // A socket's path has some hundred bytes; other temporary directories take half of them.
        let dir = TempDir::with_prefix_in("ctxb-", "/tmp").expect("a directory");
        let binaries = binaries.canonicalize().expect("the folder of the binaries");
        for folder in ["home/dev/console", "run", "bin"] {
            fs::create_dir_all(dir.path().join(folder)).expect("a directory");
        }
        let agent = dir.path().join("bin/claude");
        fs::write(&agent, "#!/bin/sh\nexit 0\n").expect("a file");
        fs::set_permissions(&agent, fs::Permissions::from_mode(0o755)).expect("own file");
        succeed(command(dir.path(), &binaries, "ctxnode").args(["init", "--name", "bench"]));
        let mut daemon = command(dir.path(), &binaries, "ctxnode");
        let daemon = Running(daemon.args(["daemon", "run"]).spawn().expect("the daemon"));
        let began = Instant::now();
        while !command(dir.path(), &binaries, "ctxnode").args(["daemon", "status"]).status().is_ok_and(|s| s.success())
        {
            assert!(began.elapsed() < Duration::from_secs(60), "the daemon did not become ready");
        }
        let venture = ["venture", "set", "alpha", "--name", "Alpha", "--org", "org", "--repos", "org/console"];
        succeed(command(dir.path(), &binaries, "ctxnode").args(venture));
        for words in [
            &["init", "--quiet", "--initial-branch=main"][..],
            &["remote", "add", "origin", "git@github.com:org/console.git"],
            &[
                "-c",
                "user.name=Ada",
                "-c",
                "user.email=ada@example.com",
                "commit",
                "--quiet",
                "--allow-empty",
                "-m",
                "first",
            ],
        ] {
            succeed(command(dir.path(), &binaries, "git").args(words).current_dir(dir.path().join("home/dev/console")));
        }
        Self { dir, binaries, _daemon: daemon }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = command(self.dir.path(), &self.binaries, program);
        command.current_dir(self.checkout());
        command
    }

    fn checkout(&self) -> PathBuf {
        self.dir.path().join("home/dev/console")
    }

    /// Runs a hook with its event on stdin and measures it from the start of the process to its end.
    fn hook(&self, times: &mut Times, event: &str, input: &Value) {
        let file = self.dir.path().join("event.json");
        fs::write(&file, input.to_string()).expect("a file");
        let mut hook = self.command("ctxnode");
        hook.args(["hook", "claude", event]).stdin(fs::File::open(&file).expect("a file"));
        let status = times.measure(|| hook.status().expect("ctxnode"));
        assert!(status.success(), "{event}: {status}");
    }
}

/// A program in the home, with nothing of the caller's environment: who measures may sit in an agent CLI.
fn command(root: &Path, binaries: &Path, program: &str) -> Command {
    let own = binaries.join(program);
    let mut command = Command::new(if own.exists() { own } else { program.into() });
    let path = format!("{}:{}:/usr/local/bin:/usr/bin:/bin", root.join("bin").display(), binaries.display());
    let home = root.join("home");
    command.env_clear().env("PATH", path).env("HOME", &home).env("XDG_RUNTIME_DIR", root.join("run"));
    command.env("CTXNODE_SYNC_BIND", "127.0.0.1").env("CTXNODE_SYNC_PORT", "0").env("CTXNODE_NO_AUTOSTART", "1");
    command.current_dir(home).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn succeed(command: &mut Command) {
    let status = command.status().expect("a program");
    assert!(status.success(), "{command:?}: {status}");
}

/// The hooks of twenty sessions, `count` of each kind of event.
pub(crate) fn hooks(binaries: &Path, count: usize) {
    let home = Home::make(binaries);
    let mut bare = Times::default();
    for _ in 0..count.min(200) {
        let mut command = home.command("ctxnode");
        bare.measure(|| succeed(command.arg("--version")));
    }
    let of = |session: usize, fields: Value| {
        let mut event = json!({ "session_id": format!("bench-{session}"), "cwd": home.checkout() });
        event.as_object_mut().expect("an object").extend(fields.as_object().cloned().unwrap_or_default());
        event
    };
    let mut starts = Times::default();
    for number in 0..count.div_ceil(10).max(SESSIONS) {
        let source = if number < SESSIONS { "startup" } else { "resume" };
        // Not two of one session at once: that would be one that fires twice.
        let session = if number < SESSIONS { number } else { SESSIONS + number };
        home.hook(&mut starts, "session-start", &of(session, json!({ "source": source })));
    }
    let mut kinds = [
        ("prompt", Times::default()),
        ("before-tool", Times::default()),
        ("after-tool", Times::default()),
        ("stop", Times::default()),
    ];
    for number in 0..count {
        for (event, times) in &mut kinds {
            let path = home.checkout().join(format!("src/f{}.rs", number % 50));
            let fields = json!({
                "prompt_id": format!("p{number}"), "tool_use_id": format!("t{number}"), "tool_name": "Edit",
                "tool_input": { "file_path": path }, "tool_response": { "filePath": path },
                "last_assistant_message": format!("message {number}"),
            });
            home.hook(times, event, &of(number % SESSIONS, fields));
        }
    }
    line("`ctxnode --version` (a process at all)", &bare);
    line("hook session-start", &starts);
    say(&format!(
        "  (goal: p99 < 300 ms; {:.1}x a bare process at p50)",
        ratio(starts.percentile(50), bare.percentile(50))
    ));
    for (event, times) in &kinds {
        line(&format!("hook {event}"), times);
    }
    let tool = &kinds[2].1;
    say(&format!(
        "  (goal: p99 < 50 ms; {:.1}x a bare process at p50)",
        ratio(tool.percentile(50), bare.percentile(50))
    ));
}

/// The launcher: its plan alone, and all that lies between its start and the end of an agent that ends at once.
pub(crate) fn launcher(binaries: &Path, count: usize) {
    let home = Home::make(binaries);
    let (mut agent, mut plan, mut launch) = (Times::default(), Times::default(), Times::default());
    // The first launch sets the agent CLI up; the others find that done.
    let mut first = Times::default();
    first.measure(|| succeed(home.command("launcher").args(["alpha", "--claude"])));
    for _ in 0..count {
        let mut command = Command::new(home.dir.path().join("bin/claude"));
        agent.measure(|| succeed(command.env_clear().stdin(Stdio::null())));
        plan.measure(|| succeed(home.command("launcher").args(["alpha", "--dry-run"])));
        launch.measure(|| succeed(home.command("launcher").args(["alpha", "--claude"])));
    }
    line("the agent alone", &agent);
    line("launcher --dry-run", &plan);
    line("launcher, first launch (sets the CLI up)", &first);
    line("launcher, to the end of that agent", &launch);
    let overhead = launch.percentile(50).saturating_sub(agent.percentile(50));
    say(&format!("launch overhead at p50: {overhead:.1?}"));
}
