//! What was typed. Pure: from words to values.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use serde::Serialize;

use crate::agents::Agent;

/// Starts a coding agent on a venture: in its repo, with its secrets, registered, and with the context of the team.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "launcher",
    version = ctxnode_api::version::BUILD,
    after_help = "Exit codes: that of the agent; 1 when a step failed before it was started, 2 bad usage,\n128 + n when it was ended by signal n (130 interrupted, 143 terminated)."
)]
pub struct Options {
    /// The code of the venture; without one, a menu on a terminal
    pub venture: Option<String>,
    /// Starts Claude Code (the default)
    #[arg(long)]
    pub claude: bool,
    /// Starts Codex
    #[arg(long)]
    pub codex: bool,
    /// Starts Antigravity
    #[arg(long)]
    pub agy: bool,
    /// Starts Gemini CLI
    #[arg(long)]
    pub gemini: bool,
    /// Starts the agent of this name; CTXNODE_AGENT sets the default
    #[arg(long, value_name = "NAME")]
    pub agent: Option<String>,
    /// The session's track; 0 is planning and backlog
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=9_999))]
    pub track: Option<u32>,
    /// Works on this branch in a worktree of its own
    #[arg(long, value_name = "BRANCH")]
    pub branch: Option<String>,
    /// Works in a worktree of its own, on a new branch
    #[arg(long)]
    pub worktree: bool,
    /// The environment of the secrets
    #[arg(long, value_name = "ENV")]
    pub env: Option<SecretsEnv>,
    /// Says what would be done, and does nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Prints the plan or the list as JSON
    #[arg(long)]
    pub json: bool,
    /// Lists every venture and where it is checked out
    #[arg(long, short = 'l', conflicts_with = "venture")]
    pub list: bool,
    /// Compares the shared secrets of all ventures, by hash
    #[arg(long, conflicts_with_all = ["venture", "list"])]
    pub secrets_audit: bool,
    /// With --secrets-audit: copies those that are missing
    #[arg(long, requires = "secrets_audit", conflicts_with = "venture")]
    pub fix: bool,
    /// Says how long each step took; never a value
    #[arg(long, short = 'd')]
    pub debug: bool,
    /// The binary was replaced once already while it ran.
    #[arg(long, hide = true)]
    pub replaced: bool,
    /// The handoff from which the session goes on.
    #[arg(long, hide = true, value_name = "ID")]
    pub continues: Option<String>,
    /// Another session that was in this worktree is over: its lock counts no longer.
    #[arg(long, hide = true)]
    pub take_over: bool,
    /// Arguments of the agent's own
    #[arg(last = true, value_name = "ARGS")]
    pub arguments: Vec<OsString>,
}

/// Which set of a venture's secrets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum SecretsEnv {
    /// What runs.
    #[default]
    Prod,
    /// What is being tried; only where the venture allows it.
    Dev,
}

impl SecretsEnv {
    /// Returns the name that providers know.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Prod => "prod",
            Self::Dev => "dev",
        }
    }
}

impl Options {
    /// Returns the agents that flags ask for.
    #[must_use]
    pub fn agent_flags(&self) -> Vec<Agent> {
        let flags = [
            (self.claude, Agent::Claude),
            (self.codex, Agent::Codex),
            (self.agy, Agent::Antigravity),
            (self.gemini, Agent::Gemini),
        ];
        flags.into_iter().filter_map(|(given, agent)| given.then_some(agent)).collect()
    }

    /// Whether the session wants a worktree of its own.
    #[must_use]
    pub fn wants_worktree(&self) -> bool {
        self.worktree || self.branch.is_some()
    }
}

/// Attaches to a venture's tmux session, or makes it and runs the launcher in it.
#[derive(Clone, Debug, Parser)]
#[command(name = "dev-session", version = ctxnode_api::version::BUILD)]
pub struct SessionOptions {
    /// The code of the venture
    pub venture: String,
    /// Options of the launcher, as they are
    #[arg(trailing_var_arg = true, value_name = "OPTIONS")]
    pub launcher: Vec<OsString>,
}

impl SessionOptions {
    /// Reads the first word; all that follows is the launcher's, dashes included.
    ///
    /// # Errors
    /// When the first word is missing, or asks for help.
    pub fn read(mut words: Vec<OsString>) -> Result<Self, clap::Error> {
        let launcher = words.split_off(words.len().min(2));
        Ok(Self { launcher, ..Self::try_parse_from(words)? })
    }
}

/// Where a command runs: the environment and directory of a call, as values.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The variables.
    pub env: ctxnode_config::Environment,
    /// The working directory.
    pub directory: PathBuf,
    /// The program that runs.
    pub program: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l_12_words_after_the_dashes_are_the_agents() {
        let options =
            Options::try_parse_from(["launcher", "alpha", "--track", "0", "--worktree", "--", "--model", "x"]).unwrap();
        assert_eq!((options.track, options.wants_worktree()), (Some(0), true));
        assert_eq!(options.arguments, ["--model", "x"]);
    }

    #[test]
    fn what_follows_the_venture_is_the_launchers() {
        let words = ["dev-session", "alpha", "--", "--model"].map(OsString::from);
        let options = SessionOptions::read(words.into()).unwrap();
        assert_eq!(
            (options.venture.as_str(), options.launcher),
            ("alpha", ["--", "--model"].map(OsString::from).into())
        );
        assert!(SessionOptions::read(vec!["dev-session".into()]).is_err());
    }

    #[test]
    fn options_that_make_no_sense_together_are_refused() {
        for words in
            [&["launcher", "alpha", "--fix"][..], &["launcher", "alpha", "--list"], &["launcher", "a", "--track", "x"]]
        {
            assert!(Options::try_parse_from(words).is_err(), "{words:?}");
        }
    }
}
