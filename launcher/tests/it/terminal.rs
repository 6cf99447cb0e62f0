//! `dev-session` in a real tmux of its own.

use std::process::{Command, Output};

use ctxnode_testkit::{Sandbox, wait_until};

use super::support::{ALPHA, SOON, all, checkout, errors, home_file, ready, start};

/// A tmux server of the sandbox; ended when dropped.
struct Tmux<'a>(&'a Sandbox);

impl Tmux<'_> {
    fn command(&self, program: &str) -> Command {
        let mut command = self.0.command(program);
        command.env("TMUX_TMPDIR", self.0.root().join("run")).env("TERM", "xterm-256color");
        command
    }

    fn run(&self, words: &[&str]) -> String {
        String::from_utf8_lossy(&self.command("tmux").args(words).output().unwrap().stdout).trim().to_owned()
    }

    fn dev_session(&self, words: &[&str]) -> Output {
        self.command("dev-session").args(words).output().unwrap()
    }
}

impl Drop for Tmux<'_> {
    fn drop(&mut self) {
        self.run(&["kill-server"]);
    }
}

#[test]
fn t_03_one_session_per_venture_whose_agent_is_started_again() {
    let sandbox = ready();
    let tmux = Tmux(&sandbox);
    if tmux.command("tmux").arg("-V").output().is_err() {
        eprintln!("SKIP: tmux is not installed");
        return;
    }
    let _daemon = start(&sandbox, ALPHA);
    let _repo = checkout(&sandbox);
    let agent = r#"echo $$ >"$HOME/pid"; echo "$@" >>"$HOME/runs"; echo ready; while [ ! -e "$HOME/end" ]; do sleep 0.05; done; rm "$HOME/end"; exit 3"#;
    sandbox.fake_program("claude", agent);

    let nothing = tmux.dev_session(&[]);
    assert_eq!(nothing.status.code(), Some(1));
    assert!(errors(&nothing).contains("Usage: dev-session"), "{}", errors(&nothing));
    let unknown = tmux.dev_session(&["alpah"]);
    assert!(
        unknown.status.code() == Some(1) && errors(&unknown).contains("did you mean `alpha`?"),
        "{}",
        all(&unknown)
    );

    let words = ["ALPHA", "--", "--prompt", "a;b $(c);"];
    let runs = |count: usize| {
        wait_until(SOON, "the agent was started", || home_file(&sandbox, "runs").lines().count() == count)
    };
    let first = tmux.dev_session(&words);
    assert!(first.status.success(), "{}", all(&first));
    runs(1);
    assert_eq!(home_file(&sandbox, "runs"), "--prompt a;b $(c);\n", "words arrive literally");
    assert!(tmux.dev_session(&words).status.success());
    assert_eq!(tmux.run(&["list-sessions", "-F", "#{session_name}"]), "alpha", "one session");
    assert_eq!(home_file(&sandbox, "runs").lines().count(), 1, "the second call only attaches");

    std::fs::write(sandbox.home().join("end"), "").unwrap();
    let dead = || tmux.run(&["list-panes", "-t", "=alpha:", "-F", "#{pane_dead} #{pane_dead_status}"]);
    // tmux does not always learn the status of a program whose terminal it saw closed first.
    let has_ended = |what: &str| wait_until(SOON, what, || matches!(dead().trim(), "1" | "1 3"));
    has_ended("the agent has ended");
    assert!(tmux.dev_session(&words).status.success());
    runs(2);
    assert!(dead().starts_with('0'), "{}", dead());

    // On a terminal, played by another tmux window: the question is asked, and a no leaves the pane as it is.
    std::fs::write(sandbox.home().join("end"), "").unwrap();
    has_ended("the agent has ended again");
    tmux.run(&["new-session", "-d", "-s", "outside", "-x", "100", "-y", "20", "dev-session alpha"]);
    let screen = || tmux.run(&["capture-pane", "-p", "-t", "=outside:"]);
    wait_until(SOON, "the question is there", || screen().contains("has ended. Start it again? [y/N]"));
    tmux.run(&["send-keys", "-t", "=outside:", "y", "Enter"]);
    runs(3);

    // The terminal goes away: nothing that ran in it stays.
    wait_until(SOON, "the agent has said who it is", || home_file(&sandbox, "pid").trim().parse::<u32>().is_ok());
    let pid = home_file(&sandbox, "pid");
    tmux.run(&["kill-server"]);
    let lives = || tmux.command("kill").args(["-0", pid.trim()]).output().is_ok_and(|done| done.status.success());
    wait_until(SOON, "the agent is gone with its terminal", || !lives());
}
