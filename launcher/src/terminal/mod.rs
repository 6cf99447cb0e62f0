//! `dev-session`: one tmux session per venture, with the launcher as its pane's command. `window` adds one to it, `title`
//! is the terminal's, `settings` and `terminfo` are what ctxnode looks after.
//!
//! Which pane is an agent's, and how one is made, `agent_pane` knows.

mod agent_pane;
pub mod settings;
pub mod terminfo;
pub mod title;
mod window;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ctxnode_config::Environment;

use crate::refusal::{Refusal, Step};
use crate::screen::Screen;

use agent_pane::{AgentPane, Panes};

pub use window::Window;

/// How the tmux session of a venture stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// There is none.
    Absent,
    /// Its agent runs.
    Running,
    /// Its agent has ended.
    Ended,
}

/// What is done about it, before the terminal is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make it.
    Create,
    /// Start the launcher again in its pane.
    Restart,
    /// Nothing.
    Keep,
}

/// Decides; `wanted` is what the person said about a restart, `None` when there is nobody to ask.
#[must_use]
pub fn decide(standing: Standing, wanted: impl FnOnce() -> Option<bool>) -> Action {
    match standing {
        Standing::Absent => Action::Create,
        Standing::Running => Action::Keep,
        Standing::Ended if wanted().unwrap_or(true) => Action::Restart,
        Standing::Ended => Action::Keep,
    }
}

/// tmux, and the session of a venture in it.
#[derive(Debug)]
pub struct Session<'a> {
    /// The venture's code, which names the session.
    pub venture: &'a str,
    /// The launcher.
    pub launcher: &'a Path,
    /// Its options.
    pub options: &'a [OsString],
    /// Whether this terminal is inside tmux already.
    pub inside: bool,
}

impl Session<'_> {
    /// Attaches to the session, after it was made or its agent started again, and brings the terminal's title back when
    /// it was left.
    ///
    /// # Errors
    /// When tmux cannot be run or refuses.
    pub fn enter(&self, screen: &Screen, env: &Environment) -> Result<(), Refusal> {
        let standing = self.standing()?;
        let asked = || {
            screen.can_ask.then(|| screen.confirm(&format!("The agent of {} has ended. Start it again?", self.venture)))
        };
        match decide(standing, asked) {
            Action::Create => self.pane(&self.words()).create()?,
            Action::Restart => self.restart()?,
            Action::Keep => {}
        }
        // Inside, the title is the outer client's own affair.
        let env = Some(env).filter(|_| !self.inside && screen.can_ask);
        env.and_then(|env| title::set(env, &[self.venture])).iter().for_each(|text| screen.obey(text));
        let left = attach(screen, self.venture, self.inside);
        env.and_then(title::restore).iter().for_each(|text| screen.obey(text));
        left
    }

    /// Looks how the session stands.
    ///
    /// # Errors
    /// When tmux cannot be run.
    pub fn standing(&self) -> Result<Standing, Refusal> {
        if !agent_pane::is_there(self.venture)? {
            return Ok(Standing::Absent);
        }
        Ok(if Panes::of(self.venture)?.has_ended() { Standing::Ended } else { Standing::Running })
    }

    /// Starts the launcher again in the agent's pane, or in a window of its own when that pane was closed.
    fn restart(&self) -> Result<(), Refusal> {
        let words = self.words();
        match Panes::of(self.venture)?.to_respawn(self.venture) {
            Some(pane) => self.pane(&words).respawn(&pane),
            None => self.pane(&words).add(),
        }
    }

    fn pane<'a>(&'a self, words: &'a [OsString]) -> AgentPane<'a> {
        AgentPane { session: self.venture, name: None, directory: None, words }
    }

    fn words(&self) -> Vec<OsString> {
        let mut words = vec![self.launcher.as_os_str().to_owned(), self.venture.into()];
        words.extend(self.options.iter().cloned());
        words
    }
}

/// Shows a session on this terminal until it is left. Without a terminal it is there for whoever comes.
fn attach(screen: &Screen, session: &str, inside: bool) -> Result<(), Refusal> {
    let exact = agent_pane::exact(session);
    if !screen.can_ask {
        screen.print(&format!("session {session} is ready: tmux attach -t {exact}"));
        return Ok(());
    }
    let word = if inside { "switch-client" } else { "attach-session" };
    let done = Command::new("tmux").args([word, "-t", &exact]).status().map_err(cannot)?;
    if done.success() { Ok(()) } else { Err(cannot(std::io::Error::other(format!("{word} ended with {done}")))) }
}

fn run<A: AsRef<std::ffi::OsStr>>(words: impl IntoIterator<Item = A>) -> Result<Output, Refusal> {
    Command::new("tmux").args(words).output().map_err(cannot)
}

fn run_ok(words: &[OsString]) -> Result<(), Refusal> {
    let done = run(words)?;
    if done.status.success() {
        return Ok(());
    }
    let reason = String::from_utf8_lossy(&done.stderr).trim().to_owned();
    Err(cannot(std::io::Error::other(reason)))
}

fn escaped(word: OsString) -> OsString {
    match word.to_str().and_then(|text| text.strip_suffix(';')) {
        Some(text) => format!("{text}\\;").into(),
        None => word,
    }
}

fn cannot(source: std::io::Error) -> Refusal {
    Refusal::Run { step: Step::Spawn, program: PathBuf::from("tmux"), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t_03_an_ended_agent_is_started_again_when_wanted_or_nobody_can_be_asked() {
        assert_eq!(decide(Standing::Absent, || None), Action::Create);
        assert_eq!(decide(Standing::Running, || Some(true)), Action::Keep);
        assert_eq!(decide(Standing::Ended, || Some(true)), Action::Restart);
        assert_eq!(decide(Standing::Ended, || None), Action::Restart);
        assert_eq!(decide(Standing::Ended, || Some(false)), Action::Keep);
    }
}
