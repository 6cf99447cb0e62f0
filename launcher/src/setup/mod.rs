//! What makes an agent CLI know ctxnode: its MCP entry, hooks, skills and instructions, and how they come and go.
//!
//! Pure halves: the adapters say which file gets what ([`wanted`]), the editors put it into text ([`edit`]). [`run`] reads
//! and writes. Never here: trust. What a human must confirm is said, not done.

mod agy;
mod block;
mod blockers;
mod claude;
mod codex;
mod edit;
mod files;
mod gemini;
pub mod json;
mod ledger;
pub mod marked;
mod probe;
mod registered;
mod run;
pub mod status_line;
pub mod toml;
mod trust;

use std::fmt;
use std::path::{Path, PathBuf};

use crate::agents::Agent;
use crate::skills;

pub use blockers::blockers;
pub use edit::{Edit, edit};
pub use files::exchange;
pub use ledger::{Known, known};
pub use registered::{Registered, registered};
pub use run::{Action, Done, Mode, Report, SetupError, run, run_files};
pub use trust::{Trust, trust};

/// For whom an agent CLI is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// The user, in every directory.
    User,
    /// One checkout, for everybody who clones it.
    Project,
}

impl Scope {
    /// Returns the word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Project => "project",
        }
    }
}

/// Where the CLIs keep their files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// The user's home.
    pub home: PathBuf,
    /// Where Claude Code keeps its files, when it was moved (`CLAUDE_CONFIG_DIR`).
    pub claude: Option<PathBuf>,
    /// Where Codex keeps its files, when it was moved (`CODEX_HOME`).
    pub codex: Option<PathBuf>,
    /// The top of the checkout, when there is one.
    pub project: Option<PathBuf>,
    /// The program of Codex, when it is installed: it is asked whether it starts with what was written.
    pub codex_program: Option<PathBuf>,
    /// Whether ours is added to a status line that somebody has: only when they ask for it.
    pub wrap_status_line: bool,
}

impl Places {
    /// Returns the places of a user who has moved none of them, outside of any checkout.
    #[must_use]
    pub fn of(home: impl Into<PathBuf>) -> Self {
        let home = home.into();
        Self { home, claude: None, codex: None, project: None, codex_program: None, wrap_status_line: false }
    }

    fn codex_home(&self) -> PathBuf {
        self.codex.clone().unwrap_or_else(|| self.home.join(".codex"))
    }

    fn claude_home(&self) -> PathBuf {
        self.claude.clone().unwrap_or_else(|| self.home.join(".claude"))
    }

    /// The file in which Claude Code keeps its servers; a moved one lies inside its directory.
    fn claude_state(&self) -> PathBuf {
        self.claude.as_ref().map_or_else(|| self.home.join(".claude.json"), |moved| moved.join(".claude.json"))
    }
}

/// What a file should hold.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// Values in a JSON file.
    Json {
        /// What the file may look like.
        dialect: json::Dialect,
        /// The values.
        entries: Vec<json::Entry>,
    },
    /// Values in a TOML file.
    Toml(Vec<toml::Entry>),
    /// A block between markers.
    Block(String),
    /// One line before everything else, so that what follows it wins.
    FirstLine(String),
    /// The whole file, with its seal.
    Whole(String),
    /// No file any more: a command of an earlier version.
    Gone,
}

/// A file, and what should be in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// The file.
    pub path: PathBuf,
    /// What it is for, in a word or two.
    pub what: &'static str,
    /// What should be in it.
    pub content: Content,
}

impl Wanted {
    fn json(path: PathBuf, what: &'static str, dialect: json::Dialect, entries: Vec<json::Entry>) -> Self {
        Self { path, what, content: Content::Json { dialect, entries } }
    }
}

/// Why a file is left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    /// It does not parse.
    Syntax {
        /// The line.
        line: usize,
        /// What is wrong.
        what: String,
    },
    /// Something else stands where an object or a list is needed.
    Shape {
        /// The name of the value.
        name: String,
    },
    /// It is ours, and somebody changed it by hand.
    Changed,
    /// It was there before and is not ours.
    Foreign,
}

impl Broken {
    fn shape(name: &str) -> Self {
        Self::Shape { name: name.to_owned() }
    }

    /// Whether the file is wrong, rather than somebody's choice.
    #[must_use]
    pub fn is_fault(&self) -> bool {
        matches!(self, Self::Syntax { .. } | Self::Shape { .. })
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax { line, what } => write!(f, "line {line} does not parse: {what}"),
            Self::Shape { name } => write!(f, "{name} is not what its CLI expects"),
            Self::Changed => f.write_str("changed by hand, kept"),
            Self::Foreign => f.write_str("not written by ctxnode, kept"),
        }
    }
}

/// Returns the scope that is meant when nobody says which.
#[must_use]
pub fn usual_scope(agent: Agent, places: &Places) -> Scope {
    match agent {
        Agent::Claude if places.project.is_some() => Scope::Project,
        _ => Scope::User,
    }
}

/// Returns every file of an agent CLI and what should be in it.
#[must_use]
pub fn wanted(agent: Agent, scope: Scope, places: &Places) -> Vec<Wanted> {
    match agent {
        Agent::Claude => claude::wanted(scope, places),
        Agent::Codex => codex::wanted(scope, places),
        Agent::Gemini => gemini::wanted(scope, places),
        Agent::Antigravity => agy::wanted(scope, places),
    }
}

/// Returns what the human must confirm, and where.
#[must_use]
pub fn confirm(agent: Agent, scope: Scope) -> Vec<String> {
    match agent {
        Agent::Claude => claude::confirm(scope),
        Agent::Codex => codex::confirm(),
        Agent::Gemini => gemini::confirm(),
        Agent::Antigravity => agy::confirm(),
    }
}

/// Returns what a CLI could have besides, each in a line; only what somebody has to ask for.
#[must_use]
pub fn offers(agent: Agent, scope: Scope, places: &Places, read: &dyn Fn(&Path) -> Option<String>) -> Vec<String> {
    match agent {
        Agent::Claude => claude::offer(scope, places, read).into_iter().collect(),
        Agent::Codex | Agent::Gemini | Agent::Antigravity => Vec::new(),
    }
}

/// Returns the hooks of a CLI, as a plugin or an extension of it holds them; `None` where that has another form.
#[must_use]
pub fn plugin_hooks(agent: Agent) -> Option<serde_json::Value> {
    match agent {
        Agent::Claude => Some(claude::hooks()),
        Agent::Codex => Some(codex::hooks()),
        Agent::Gemini => Some(gemini::hooks()),
        Agent::Antigravity => None,
    }
}

/// Returns the instructions for a CLI whose hooks inject the start.
#[must_use]
pub fn instructions() -> &'static str {
    block::WITH_HOOKS
}

/// Where skills of the shared form lie.
fn shared_skills(scope: Scope, places: &Places) -> PathBuf {
    root(scope, places).join(".agents/skills")
}

/// The directory below which a scope's files lie. Without a checkout the home stands in, which [`run`] refuses before.
fn root(scope: Scope, places: &Places) -> PathBuf {
    match (scope, &places.project) {
        (Scope::Project, Some(project)) => project.clone(),
        _ => places.home.clone(),
    }
}

/// The skills of one CLI, and the places of those that ceased to exist.
fn skill_files(agent: Agent, folder: &Path) -> Vec<Wanted> {
    let current = skills::files(agent).into_iter().map(|(name, text)| (name, Content::Whole(text)));
    let gone = skills::gone(agent).into_iter().map(|name| (name, Content::Gone));
    let files = current.chain(gone);
    files.map(|(name, content)| Wanted { path: folder.join(name), what: "command", content }).collect()
}

#[cfg(test)]
mod tests;
