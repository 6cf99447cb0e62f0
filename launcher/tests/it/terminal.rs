//! `dev-session` in a real tmux of its own.

use std::process::{Command, Output};

use ctxnode_testkit::{Sandbox, wait_until};

use super::support::{ALPHA, SOON, all, checkout, ctxnode, errors, home_file, ready, start};

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

impl Tmux<'_> {
    /// Whether tmux is missing, which is said.
    #[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
    fn is_missing(&self) -> bool {
        let missing = self.command("tmux").arg("-V").output().is_err();
        if missing {
            eprintln!("SKIP: tmux is not installed");
        }
        missing
    }

    /// The value of an option, to the byte.
    fn option(&self, scope: &str, name: &str) -> String {
        let done = self.command("tmux").args(["show-options", scope, name]).output().unwrap();
        String::from_utf8(done.stdout).unwrap().trim_end_matches('\n').to_owned()
    }
}

impl Drop for Tmux<'_> {
    fn drop(&mut self) {
        self.run(&["-L", "inner", "kill-server"]);
        self.run(&["kill-server"]);
    }
}

#[test]
fn t_03_one_session_per_venture_whose_agent_is_started_again() {
    let sandbox = ready();
    let tmux = Tmux(&sandbox);
    if tmux.is_missing() {
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

/// T-03: an agent that ended beside a pane that somebody opened is started again, in its own pane; without that pane, in a
/// window.
#[test]
fn t_03_an_ended_agent_is_seen_beside_a_pane_that_lives() {
    let sandbox = ready();
    let tmux = Tmux(&sandbox);
    if tmux.is_missing() {
        return;
    }
    let _daemon = start(&sandbox, ALPHA);
    let _repo = checkout(&sandbox);
    let agent =
        r#"echo "$TMUX_PANE" >>"$HOME/runs"; while [ ! -e "$HOME/end" ]; do sleep 0.05; done; rm "$HOME/end"; exit 3"#;
    sandbox.fake_program("claude", agent);
    let runs = |count: usize| {
        wait_until(SOON, "the agent was started", || home_file(&sandbox, "runs").lines().count() == count);
        home_file(&sandbox, "runs").lines().last().unwrap().to_owned()
    };
    assert!(tmux.dev_session(&["alpha"]).status.success());
    let first = runs(1);
    tmux.run(&["split-window", "-t", "=alpha:", "cat"]);
    let panes = || tmux.run(&["list-panes", "-s", "-t", "=alpha", "-F", "#{pane_id} #{pane_dead}"]);
    assert_eq!(panes().lines().filter(|line| line.ends_with(" 0")).count(), 2, "{}", panes());
    std::fs::write(sandbox.home().join("end"), "").unwrap();
    wait_until(SOON, "the agent has ended", || panes().contains(&format!("{first} 1")));
    assert!(tmux.dev_session(&["alpha"]).status.success());
    assert_eq!(runs(2), first, "in its own pane");
    assert_eq!(panes().lines().filter(|line| line.ends_with(" 0")).count(), 2, "the other pane lives: {}", panes());
    assert!(tmux.dev_session(&["alpha"]).status.success());
    assert_eq!(home_file(&sandbox, "runs").lines().count(), 2, "a running one is let be");

    tmux.run(&["kill-pane", "-t", &first]);
    wait_until(SOON, "the pane is gone", || !panes().contains(&first));
    assert!(tmux.dev_session(&["alpha"]).status.success());
    let third = runs(3);
    assert_ne!(third, first);
    assert_eq!(tmux.run(&["show-options", "-qv", "-t", "=alpha:", "@ctxnode_agent_pane"]), third);
    std::fs::write(sandbox.home().join("end"), "").unwrap();
    wait_until(SOON, "the agent has ended again", || panes().contains(&format!("{third} 1")));
    assert!(tmux.dev_session(&["alpha"]).status.success());
    assert_eq!(runs(4), third);
}

/// T-03: an agent that `ctxnode continue` opened in the session is one of the venture's: nobody is started beside it while it
/// runs, and it is started again in its own pane.
#[test]
fn t_03_an_agent_that_continue_opened_is_known() {
    let sandbox = ready();
    let tmux = Tmux(&sandbox);
    if tmux.is_missing() {
        return;
    }
    let _daemon = start(&sandbox, ALPHA);
    let repo = checkout(&sandbox);
    let began = r#"printf '{"session_id":"c-%s","cwd":"%s"}' $$ "$PWD" | ctxnode hook claude session-start >/dev/null"#;
    sandbox.fake_program("claude", &format!("{began}; exit 1"));
    assert_eq!(super::support::launcher(&sandbox, &["alpha"]).status.code(), Some(1));
    let stays = r#"case "$1" in features) exit 0 ;; esac
echo "$TMUX_PANE" >>"$HOME/runs"; while [ ! -e "$HOME/end.$TMUX_PANE" ]; do sleep 0.05; done; rm "$HOME/end.$TMUX_PANE""#;
    sandbox.fake_program("codex", stays);
    sandbox.fake_program("claude", stays);
    let runs = |count: usize| {
        wait_until(SOON, "the agent was started", || home_file(&sandbox, "runs").lines().count() == count);
        home_file(&sandbox, "runs").lines().last().unwrap().to_owned()
    };
    let end = |pane: &str| {
        std::fs::write(sandbox.home().join(format!("end.{pane}")), "").unwrap();
        let panes = || tmux.run(&["list-panes", "-s", "-t", "=alpha", "-F", "#{pane_id} #{pane_dead}"]);
        wait_until(SOON, "the agent has ended", || panes().contains(&format!("{pane} 1")));
    };
    let go_on = || {
        let mut command = tmux.command("ctxnode");
        let done = command.args(["continue", "--with", "codex", "--tmux"]).current_dir(repo.path()).output().unwrap();
        assert!(done.status.success(), "{}", all(&done));
    };
    let dev_session = || assert!(tmux.dev_session(&["alpha"]).status.success());

    go_on();
    let first = runs(1);
    dev_session();
    assert_eq!(home_file(&sandbox, "runs").lines().count(), 1, "it runs");
    end(&first);
    dev_session();
    assert_eq!(runs(2), first, "in its own pane");
    // Two agents, of which the later one ends: the venture's agent has not.
    go_on();
    let second = runs(3);
    assert_ne!(second, first);
    end(&second);
    dev_session();
    assert_eq!(home_file(&sandbox, "runs").lines().count(), 3, "the first one runs");
    end(&first);
    dev_session();
    assert_eq!(runs(4), second, "both have ended");
}

/// T-01: the same bytes twice, every other byte of the user's file kept, the settings as listed in a running tmux, and
/// everything as before once it is taken out.
#[test]
fn t_01_settings_are_written_beside_the_users_own_and_taken_out_again() {
    let sandbox = ready();
    let tmux = Tmux(&sandbox);
    if tmux.is_missing() {
        return;
    }
    let file = sandbox.home().join(".tmux.conf");
    let own = "# mine\r\nset -g status-interval 7\n  set -g status-right 'mine'   \n\n";
    std::fs::write(&file, own).unwrap();
    let setup = |words: &[&str]| {
        let done = ctxnode(&sandbox, &[&["tmux", "setup"], words].concat());
        (done.status.code(), all(&done))
    };
    assert_eq!(setup(&["--check"]).0, Some(1));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), own, "a check writes nothing");
    let (code, text) = setup(&[]);
    assert_eq!(code, Some(0), "{text}");
    let read =
        || (std::fs::read(&file).unwrap(), std::fs::read(sandbox.home().join(".config/ctxnode/tmux.conf")).unwrap());
    let written = read();
    let line = "source-file -q ~/.config/ctxnode/tmux.conf\n";
    assert_eq!(String::from_utf8(written.0.clone()).unwrap(), format!("{line}{own}"));
    assert_eq!(setup(&[]).0, Some(0));
    assert_eq!(read(), written, "twice is the same");
    assert_eq!(setup(&["--check"]).0, Some(0));

    tmux.run(&["new-session", "-d", "-s", "any", "cat"]);
    // As the key does that reads it again.
    tmux.run(&["source-file", &file.display().to_string()]);
    for (scope, name, value) in [
        ("-sv", "default-terminal", "tmux-256color"),
        ("-sv", "escape-time", "10"),
        ("-sv", "set-clipboard", "on"),
        ("-gv", "mouse", "on"),
        ("-gv", "history-limit", "50000"),
        ("-gv", "base-index", "1"),
        ("-gv", "status-left", "[#h] "),
        ("-gv", "status-left-length", "20"),
        ("-gv", "status-interval", "7"),
        ("-gv", "status-right", "mine"),
    ] {
        assert_eq!(tmux.option(scope, name), value, "{name}");
    }
    let overrides = tmux.option("-sv", "terminal-overrides");
    assert_eq!(overrides.matches("xterm-ghostty:Tc").count(), 1, "{overrides}");
    assert!(tmux.run(&["list-keys", "-T", "prefix", "r"]).contains("source-file"));
    let released = tmux.run(&["list-keys", "-T", "copy-mode", "MouseDragEnd1Pane"]);
    assert!(released.ends_with("copy-selection"), "releasing the mouse does not leave: {released}");
    // Where nobody says otherwise, the clock is the list's.
    std::fs::write(&file, line).unwrap();
    tmux.run(&["source-file", &file.display().to_string()]);
    assert_eq!(tmux.option("-gv", "status-right"), "%H:%M");
    std::fs::write(&file, &written.0).unwrap();
    // True colour needs a description of each terminal.
    let described = |name: &str| tmux.command("infocmp").arg(name).output().is_ok_and(|done| done.status.success());
    if tmux.command("tic").arg("-V").output().is_ok() {
        assert!(described("xterm-ghostty") && described("tmux-256color"));
    }

    let (code, text) = setup(&["--remove"]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), own);
    for path in [".config/ctxnode/tmux.conf", ".config/ctxnode/terminfo", ".terminfo", ".tmux.conf.ctxnode.bak"] {
        assert!(!sandbox.home().join(path).exists(), "{path}");
    }
    // Without a file of the user's there is none afterwards.
    std::fs::remove_file(&file).unwrap();
    assert_eq!((setup(&[]).0, std::fs::read_to_string(&file).unwrap().as_str()), (Some(0), line));
    assert_eq!((setup(&["--remove"]).0, file.exists()), (Some(0), false));
}

/// T-04: what is copied inside tmux goes to the outer terminal, here another tmux that takes it for its clipboard.
#[test]
fn t_04_a_copy_inside_tmux_reaches_the_outer_terminal() {
    let sandbox = ready();
    let tmux = Tmux(&sandbox);
    if tmux.is_missing() {
        return;
    }
    assert!(ctxnode(&sandbox, &["tmux", "setup"]).status.success());
    let inner = |words: &[&str]| tmux.run(&[&["-L", "inner"], words].concat());
    inner(&["new-session", "-d", "-s", "work", "printf 'copied text\\n'; exec cat"]);
    let log = sandbox.root().join("terminal.log");
    tmux.run(&["new-session", "-d", "-s", "outer", "-x", "100", "-y", "20", "cat"]);
    tmux.run(&["pipe-pane", "-t", "=outer:", &format!("cat >{}", log.display())]);
    let attach = "env -u TMUX TERM=xterm-256color tmux -L inner attach-session -t =work";
    tmux.run(&["respawn-pane", "-k", "-t", "=outer:", attach]);
    wait_until(SOON, "the inner tmux is shown", || {
        tmux.run(&["capture-pane", "-p", "-t", "=outer:"]).contains("copied text")
            && !inner(&["list-clients"]).is_empty()
    });
    inner(&["copy-mode", "-t", "=work:"]);
    for command in ["history-top", "start-of-line", "begin-selection", "end-of-line", "copy-selection"] {
        inner(&["send-keys", "-t", "=work:", "-X", command]);
    }
    let seen = || String::from_utf8_lossy(&std::fs::read(&log).unwrap_or_default()).into_owned();
    // "copied text" in base64, for the clipboard: what mosh passes on too.
    wait_until(SOON, "the sequence was sent", || seen().contains("\u{1b}]52;c;Y29waWVkIHRleH"));
    wait_until(SOON, "the outer terminal took it", || tmux.run(&["show-buffer"]) == "copied text");
}

/// The title of the terminal names venture, branch and agent while it runs, and is as before afterwards.
#[test]
fn the_title_is_that_of_the_work_and_comes_back() {
    let sandbox = ready();
    let tmux = Tmux(&sandbox);
    if tmux.is_missing() {
        return;
    }
    let _daemon = start(&sandbox, ALPHA);
    let _repo = checkout(&sandbox);
    sandbox.fake_program("claude", r#"touch "$HOME/up"; while [ ! -e "$HOME/end" ]; do sleep 0.05; done"#);
    tmux.run(&["new-session", "-d", "-s", "outer", "-x", "100", "-y", "20", "sh"]);
    tmux.run(&["select-pane", "-t", "=outer:", "-T", "before"]);
    let title = || tmux.run(&["display-message", "-p", "-t", "=outer:", "#{pane_title}"]);
    assert_eq!(title(), "before");
    tmux.run(&["send-keys", "-t", "=outer:", "launcher alpha", "Enter"]);
    wait_until(SOON, "the agent is up", || sandbox.home().join("up").exists());
    assert_eq!(title(), "alpha main claude");
    std::fs::write(sandbox.home().join("end"), "").unwrap();
    wait_until(SOON, "the title is back", || title() == "before");
}
