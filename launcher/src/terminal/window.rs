//! One more window of a venture's tmux session, with an agent in it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use ctxnode_config::Environment;

use super::agent_pane::{self, AgentPane};
use super::attach;
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
        let (name, directory) = (Some(self.name), Some(self.directory));
        let pane = AgentPane { session: self.session, name, directory, words: self.words };
        if agent_pane::is_there(self.session)? {
            pane.add()?
        } else {
            pane.create()?
        }
        attach(screen, self.session, self.inside)
    }
}
