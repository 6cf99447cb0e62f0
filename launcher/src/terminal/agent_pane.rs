//! The pane of an agent in the tmux session of its venture: how it is made, and how a later call knows it.
//!
//! Every way to start an agent in tmux goes through here, so that `dev-session` finds what `ctxnode continue` has opened. A pane
//! stays after its agent ended (`remain-on-exit`): what it said last can be read, and there is something to start again. Panes
//! that people open beside it are theirs.

use std::ffi::OsString;
use std::path::Path;

use super::{escaped, run, run_ok};
use crate::refusal::Refusal;

/// The option of a session: the pane in which its last agent was started.
const LAST: &str = "@ctxnode_agent_pane";
/// The option of a pane in which an agent was started.
const MARK: &str = "@ctxnode_agent";

/// A pane to be made.
#[derive(Debug)]
pub(super) struct AgentPane<'a> {
    /// The session, which has the venture's code as its name.
    pub(super) session: &'a str,
    /// The window's name; tmux finds one when there is none.
    pub(super) name: Option<&'a str>,
    /// Where the command runs; where tmux was called when there is none.
    pub(super) directory: Option<&'a Path>,
    /// The command, as words and not as a line for a shell.
    pub(super) words: &'a [OsString],
}

/// A pane that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pane {
    id: String,
    ended: bool,
    is_agents: bool,
}

/// All panes of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Panes {
    all: Vec<Pane>,
    /// The pane in which an agent was started last; it may be closed by now.
    last: Option<String>,
}

/// The target that names a session and no other that begins alike.
pub(super) fn exact(session: &str) -> String {
    format!("={session}")
}

/// The current pane of a session.
fn current(session: &str) -> String {
    format!("={session}:")
}

/// Whether there is a session of that name.
pub(super) fn is_there(session: &str) -> Result<bool, Refusal> {
    Ok(run(["has-session", "-t", &exact(session)])?.status.success())
}

impl AgentPane<'_> {
    /// Starts the command in a session of its own.
    pub(super) fn create(&self) -> Result<(), Refusal> {
        let target = current(self.session);
        let mut words = self.command(&["new-session", "-d", "-s", self.session]);
        // What the launcher says of itself becomes the title of the terminal that is attached.
        let titles = [("set-titles", "on"), ("set-titles-string", "#{pane_title}")];
        for (name, value) in titles {
            words.extend([";", "set-option", "-t", &target, name, value].map(OsString::from));
        }
        run_ok(&words)
    }

    /// Starts the command in a window of the session that is there.
    pub(super) fn add(&self) -> Result<(), Refusal> {
        run_ok(&self.command(&["new-window", "-t", &current(self.session)]))
    }

    /// Starts the command again in a pane whose command has ended, and shows that pane: it is what whoever called wants to
    /// see.
    pub(super) fn respawn(&self, pane: &str) -> Result<(), Refusal> {
        let mut words: Vec<OsString> = ["respawn-pane", "-t", pane, "--"].map(OsString::from).into();
        words.extend(self.words.iter().cloned().map(escaped));
        words.extend([";", "select-window", "-t", pane, ";", "select-pane", "-t", pane].map(OsString::from));
        run_ok(&words)
    }

    fn command(&self, how: &[&str]) -> Vec<OsString> {
        let mut words: Vec<OsString> = how.iter().map(OsString::from).collect();
        words.extend(self.name.into_iter().flat_map(|name| ["-n".into(), name.into()]));
        words.extend(self.directory.into_iter().flat_map(|folder| ["-c".into(), folder.into()]));
        words.push("--".into());
        // A word that ends with `;` would end the command for tmux.
        words.extend(self.words.iter().cloned().map(escaped));
        // In the same call: an agent that ends at once must not take its window, and what it said, with it.
        let pane = current(self.session);
        let stays = [";", "set-option", "-w", "-t", &pane, "remain-on-exit", "on"];
        let marked = [";", "set-option", "-p", "-t", &pane, MARK, "1"];
        let known = [";", "set-option", "-F", "-t", &pane, LAST, "#{pane_id}"];
        words.extend(stays.into_iter().chain(marked).chain(known).map(OsString::from));
        words
    }
}

impl Panes {
    /// Looks at a session that is there.
    pub(super) fn of(session: &str) -> Result<Self, Refusal> {
        let last = run(["show-options", "-qv", "-t", &current(session), LAST])?;
        let last = String::from_utf8_lossy(&last.stdout).trim().to_owned();
        let format = format!("#{{pane_id}} #{{pane_dead}} #{{{MARK}}}");
        let found = run(["list-panes", "-s", "-t", &exact(session), "-F", &format])?;
        Ok(Self::read(&last, &String::from_utf8_lossy(&found.stdout)))
    }

    fn read(last: &str, lines: &str) -> Self {
        let last = Some(last.to_owned()).filter(|id| id.starts_with('%'));
        let pane = |line: &str| {
            let mut words = line.split_whitespace();
            let (id, ended, mark) = (words.next()?.to_owned(), words.next() == Some("1"), words.next());
            let is_agents = mark.is_some() || last.as_ref() == Some(&id);
            Some(Pane { id, ended, is_agents })
        };
        Self { all: lines.lines().filter_map(pane).collect(), last }
    }

    /// Whether no agent runs. In a session that somebody else made, whatever runs counts as one.
    pub(super) fn has_ended(&self) -> bool {
        let of_agents = |pane: &&Pane| pane.is_agents || self.last.is_none();
        // A pane that was closed is as ended as a dead one.
        self.all.iter().filter(of_agents).all(|pane| pane.ended)
    }

    /// The pane in which the agent is started again; `None` when it was closed.
    pub(super) fn to_respawn(&self, session: &str) -> Option<String> {
        match &self.last {
            Some(last) => self.all.iter().find(|pane| pane.id == *last).map(|pane| pane.id.clone()),
            None => Some(current(session)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t_03_an_agent_has_ended_when_none_of_its_panes_lives() {
        let ended = |last: &str, lines: &str| Panes::read(last, lines).has_ended();
        assert!(!ended("%1", "%1 0 1\n%2 0 \n"));
        assert!(ended("%1", "%1 1 1\n%2 0 \n"), "the other pane is a person's");
        assert!(!ended("%2", "%1 0 1\n%2 1 1\n"), "the first of two agents still runs");
        assert!(ended("%2", "%1 1 1\n%2 1 1\n"));
        assert!(ended("%3", "%1 0 \n"), "its pane was closed");
        assert!(!ended("%1", "%1 0\n"), "one that an earlier build started has no mark");
        assert!(!ended("", "%1 0 \n%2 1 \n") && ended("", "%1 1 \n"), "somebody else's session");
    }

    #[test]
    fn t_03_it_is_started_again_where_it_was() {
        let at = |last: &str| Panes::read(last, "%1 1 1\n%2 0 \n").to_respawn("alpha");
        assert_eq!((at("%1"), at("%9"), at("")), (Some("%1".into()), None, Some("=alpha:".into())));
    }
}
