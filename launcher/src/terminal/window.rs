//! One more window of a venture's tmux session, with a command of ours in it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use ctxnode_config::Environment;

use super::{attach, escaped, run, run_ok};
use crate::program::find;
use crate::refusal::{Refusal, Step};
use crate::screen::Screen;

/// A window.
#[derive(Debug)]
pub struct Window<'a> {
    /// The session's name, which is the venture's code.
    pub session: &'a str,
    /// The window's name.
    pub name: &'a str,
    /// Where the command runs.
    pub directory: &'a Path,
    /// The command, as words.
    pub words: &'a [OsString],
    /// Whether this terminal is inside tmux already.
    pub inside: bool,
}

impl Window<'_> {
    /// Makes sure that tmux is installed.
    ///
    /// # Errors
    /// When it is not on the PATH.
    pub fn check(env: &Environment) -> Result<(), Refusal> {
        let missing = || Refusal::Run {
            step: Step::Machine,
            program: PathBuf::from("tmux"),
            source: std::io::Error::new(std::io::ErrorKind::NotFound, "it is not installed"),
        };
        find("tmux", env).map(drop).ok_or_else(missing)
    }

    /// Opens the window, in a new session when there is none, and shows it when there is a terminal.
    ///
    /// # Errors
    /// When tmux cannot be run or refuses.
    pub fn open(&self, screen: &Screen) -> Result<(), Refusal> {
        let exact = format!("={}", self.session);
        let target = format!("{exact}:");
        let directory = self.directory.display().to_string();
        let is_there = run(["has-session", "-t", exact.as_str()])?.status.success();
        let mut words: Vec<OsString> = if is_there {
            ["new-window", "-t", &target, "-n", self.name, "-c", &directory, "--"].map(OsString::from).into()
        } else {
            ["new-session", "-d", "-s", self.session, "-n", self.name, "-c", &directory, "--"]
                .map(OsString::from)
                .into()
        };
        words.extend(self.words.iter().cloned().map(escaped));
        // In the same call: an agent that ends at once must not take what it said with it.
        words.extend([";", "set-option", "-w", "-t", &target, "remain-on-exit", "on"].map(OsString::from));
        run_ok(&words)?;
        attach(screen, self.session, self.inside)
    }
}
