//! `dev-session`: one tmux session per venture, with the launcher as its pane's command. `window` adds one to it, `title`
//! is the terminal's, `settings` and `terminfo` are what ctxnode looks after.
//!
//! A pane that stays after its agent ended (`remain-on-exit`) is how a second call knows that there is something to start
//! again. Which pane that is the session remembers: people open others beside it.

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

pub use window::Window;

/// The option of a session in which the agent's pane is remembered.
const AGENT_PANE: &str = "@ctxnode_agent_pane";

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
            Action::Create => self.create()?,
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

    /// The target that names this session and no other that begins alike.
    fn exact(&self) -> String {
        format!("={}", self.venture)
    }

    fn pane(&self) -> String {
        format!("={}:", self.venture)
    }

    /// Looks how the session stands.
    ///
    /// # Errors
    /// When tmux cannot be run.
    pub fn standing(&self) -> Result<Standing, Refusal> {
        if !run(["has-session", "-t", &self.exact()])?.status.success() {
            return Ok(Standing::Absent);
        }
        let (agent, panes) = (self.agent_pane()?, self.panes()?);
        let ended = match &agent {
            // Closed is as ended as dead.
            Some(agent) => panes.iter().find(|(id, _)| id == agent).is_none_or(|(_, dead)| *dead),
            // A session that somebody else made.
            None => panes.iter().all(|(_, dead)| *dead),
        };
        Ok(if ended { Standing::Ended } else { Standing::Running })
    }

    /// Returns the pane that is remembered as the agent's.
    fn agent_pane(&self) -> Result<Option<String>, Refusal> {
        let found = run(["show-options", "-qv", "-t", &self.pane(), AGENT_PANE])?;
        let id = String::from_utf8_lossy(&found.stdout).trim().to_owned();
        Ok(Some(id).filter(|id| id.starts_with('%')))
    }

    /// Returns all panes of the session, and whether what ran in them has ended.
    fn panes(&self) -> Result<Vec<(String, bool)>, Refusal> {
        let found = run(["list-panes", "-s", "-t", &self.exact(), "-F", "#{pane_id} #{pane_dead}"])?;
        let text = String::from_utf8_lossy(&found.stdout).into_owned();
        let pane = |line: &str| line.split_once(' ').map(|(id, dead)| (id.to_owned(), dead == "1"));
        Ok(text.lines().filter_map(pane).collect())
    }

    fn create(&self) -> Result<(), Refusal> {
        let mut words = self.words(&["new-session", "-d", "-s", self.venture]);
        words.extend(self.remembered());
        // What the launcher says of itself becomes the title of the terminal that is attached.
        let titles = [("set-titles", "on"), ("set-titles-string", "#{pane_title}")];
        for (name, value) in titles {
            words.extend([";", "set-option", "-t", &self.pane(), name, value].map(OsString::from));
        }
        run_ok(&words)
    }

    /// What is said of the pane that was just made, in the same call: an agent that ends at once must not take its session
    /// with it.
    fn remembered(&self) -> Vec<OsString> {
        let pane = self.pane();
        let stays = [";", "set-option", "-t", &pane, "remain-on-exit", "on"];
        let known = [";", "set-option", "-F", "-t", &pane, AGENT_PANE, "#{pane_id}"];
        stays.into_iter().chain(known).map(OsString::from).collect()
    }

    /// Starts the launcher again in the agent's pane, or in a window of its own when that pane was closed.
    fn restart(&self) -> Result<(), Refusal> {
        let (agent, panes) = (self.agent_pane()?, self.panes()?);
        let pane = match agent {
            Some(agent) if panes.iter().any(|(id, _)| *id == agent) => agent,
            Some(_) => {
                let mut words = self.words(&["new-window", "-t", &self.pane()]);
                words.extend(self.remembered());
                return run_ok(&words);
            }
            None => self.pane(),
        };
        let mut words = self.words(&["respawn-pane", "-t", &pane]);
        // It is what whoever called wants to see.
        words.extend([";", "select-window", "-t", &pane, ";", "select-pane", "-t", &pane].map(OsString::from));
        run_ok(&words)
    }

    /// A tmux command that runs the launcher as words, not as a line for a shell.
    fn words(&self, command: &[&str]) -> Vec<OsString> {
        let mut words: Vec<OsString> = command.iter().map(OsString::from).collect();
        words.push("--".into());
        words.extend([self.launcher.as_os_str().to_owned(), self.venture.into()]);
        words.extend(self.options.iter().cloned());
        // A word that ends with `;` would end the command for tmux.
        words.into_iter().map(escaped).collect()
    }
}

/// Shows a session on this terminal until it is left. Without a terminal it is there for whoever comes.
fn attach(screen: &Screen, session: &str, inside: bool) -> Result<(), Refusal> {
    let exact = format!("={session}");
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
