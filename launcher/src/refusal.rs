//! Why nothing was started: which step, what is wrong with it, and what to do.

use std::path::PathBuf;

use ctxnode_api::{ClientError, ErrorCode};
use thiserror::Error;

use crate::agents::Agent;
use crate::secrets::SecretError;

/// A step of a launch, in the order in which they happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Which agent CLI.
    Agent,
    /// Its program.
    Program,
    /// The daemon, which knows the ventures.
    Daemon,
    /// Which venture.
    Venture,
    /// Its checkout.
    Repo,
    /// The session that is continued.
    Session,
    /// Its branch.
    Branch,
    /// The other machine.
    Machine,
    /// The session's own worktree.
    Worktree,
    /// The secrets.
    Secrets,
    /// The registration with the agent CLI.
    Setup,
    /// The start itself.
    Spawn,
}

impl Step {
    /// Returns the name that people see.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Program => "program",
            Self::Daemon => "daemon",
            Self::Venture => "venture",
            Self::Repo => "repo",
            Self::Session => "session",
            Self::Branch => "branch",
            Self::Machine => "machine",
            Self::Worktree => "worktree",
            Self::Secrets => "secrets",
            Self::Setup => "setup",
            Self::Spawn => "start",
        }
    }
}

/// A launch ended before its agent was started.
#[derive(Debug, Error)]
pub enum Refusal {
    /// Two agents were asked for.
    #[error("--{first} and --{second} were both given")]
    TwoAgents {
        /// One.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
    /// A name that is none.
    #[error("{origin} names no known agent: `{name}`")]
    UnknownAgent {
        /// Who said it: a flag or a variable.
        origin: &'static str,
        /// What it said.
        name: String,
    },
    /// The agent CLI is not installed.
    #[error("{} is not installed: there is no `{}` on the PATH", .0.title(), .0.name())]
    NoProgram(Agent),
    /// The settings are not valid.
    #[error(transparent)]
    Settings(#[from] ctxnode_config::ConfigErrors),
    /// The settings have no place.
    #[error(transparent)]
    NoHome(#[from] ctxnode_config::ConfigError),
    /// There is no replica on this machine.
    #[error("there is no replica in {}", .0.display())]
    NoReplica(PathBuf),
    /// The daemon does not run and may not be started here.
    #[error("the daemon does not run, and this call does not start it")]
    DaemonDown,
    /// The daemon does not start.
    #[error("the daemon does not start")]
    Start(#[from] ctxnode_api::autostart::StartError),
    /// The daemon did not answer, or refused.
    #[error("the daemon cannot be asked")]
    Ask(#[from] ClientError),
    /// A venture that nobody knows.
    #[error("venture `{code}` is not known{}; known are: {}", near_text(.near), list_text(.known))]
    UnknownVenture {
        /// What was typed, in lower case.
        code: String,
        /// What may have been meant.
        near: Vec<String>,
        /// All there are.
        known: Vec<String>,
    },
    /// The venture has no checkout here.
    #[error("`{code}` has no checkout in {}", .dev_dirs.iter().map(|dir| dir.display().to_string()).collect::<Vec<_>>().join(", "))]
    NoCheckout {
        /// The venture.
        code: String,
        /// The repo that would be cloned.
        repo: Option<String>,
        /// Where was looked.
        dev_dirs: Vec<PathBuf>,
    },
    /// A git command failed.
    #[error("`git {command}` failed: {reason}")]
    Git {
        /// The words of the command.
        command: String,
        /// What git said, on one line.
        reason: String,
    },
    /// A worktree has changes, or commits that are nowhere else.
    #[error("{} is not removed: {dirty} changed files, {unpushed} commits that are not pushed", .path.display())]
    NotClean {
        /// The worktree.
        path: PathBuf,
        /// Changed and untracked files.
        dirty: usize,
        /// Commits on no remote.
        unpushed: usize,
    },
    /// A living session works in the worktree.
    #[error("{} is in use by process {pid}", .path.display())]
    InUse {
        /// The worktree.
        path: PathBuf,
        /// The process that locked it.
        pid: u32,
    },
    /// Not one of this repository's worktrees.
    #[error("{} is no worktree that ctxnode made here", .0.display())]
    NoWorktree(PathBuf),
    /// The secrets cannot be had.
    #[error(transparent)]
    Secrets(#[from] SecretError),
    /// The registration with the agent CLI failed.
    #[error("the registration with {} failed (exit {code}){}", .agent.title(), said(.reason))]
    Setup {
        /// The agent CLI.
        agent: Agent,
        /// The exit code of the registration.
        code: i32,
        /// Its last line.
        reason: String,
    },
    /// A program cannot be run.
    #[error("{} cannot be run", .program.display())]
    Run {
        /// For what.
        step: Step,
        /// The program.
        program: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// There is no session to go on from.
    #[error("there is no session to continue {}", .place)]
    NothingToContinue {
        /// Where was looked, with its preposition.
        place: String,
        /// What could be meant: an id, and what it was about.
        candidates: Vec<String>,
    },
    /// The session's agent is still at work.
    #[error("{agent} is still at work there (process {pid}, session {session})")]
    AtWork {
        /// The agent id.
        agent: String,
        /// Its process.
        pid: u32,
        /// The session.
        session: String,
    },
    /// The branch is neither here nor on the remote.
    #[error("branch `{branch}` is neither in {} nor on its remote", .checkout.display())]
    NoBranch {
        /// The branch.
        branch: String,
        /// The checkout.
        checkout: PathBuf,
        /// Where its session worked.
        machine: String,
    },
    /// Work that no other machine can get.
    #[error("`{branch}` is not all on the remote: {unpushed} commits, {dirty} changed files")]
    NotPushed {
        /// The branch.
        branch: String,
        /// Its folder.
        path: PathBuf,
        /// Commits on no remote.
        unpushed: usize,
        /// Changed and untracked files.
        dirty: usize,
    },
    /// A machine that nobody knows.
    #[error("machine `{name}` is not known{}; known are: {}", near_text(.near), list_text(.known))]
    UnknownMachine {
        /// What was typed.
        name: String,
        /// What may have been meant.
        near: Vec<String>,
        /// All others there are.
        known: Vec<String>,
    },
    /// The machine is this one.
    #[error("`{0}` is this machine")]
    ThisMachine(String),
    /// A machine's record does not say how to reach it.
    #[error("the record of {machine} lacks: {}", .what.join(", "))]
    MachineLacks {
        /// The machine.
        machine: String,
        /// What is missing.
        what: Vec<&'static str>,
    },
    /// No address of a machine answers.
    #[error("{machine} is not reached over ssh: {}", .tried.join("; "))]
    Unreached {
        /// The machine.
        machine: String,
        /// Each address with the reason.
        tried: Vec<String>,
    },
    /// The other machine cannot do it.
    #[error("on {machine}: {step}: {why}")]
    Elsewhere {
        /// The machine.
        machine: String,
        /// The step that it cannot do.
        step: String,
        /// Why.
        why: String,
        /// What to do there.
        fix: String,
    },
    /// The person said no.
    #[error("nothing was done")]
    Declined(Step),
}

fn near_text(near: &[String]) -> String {
    near.first().map(|first| format!("; did you mean `{first}`?")).unwrap_or_default()
}

fn list_text(known: &[String]) -> String {
    if known.is_empty() { "none".to_owned() } else { known.join(", ") }
}

fn said(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason}") }
}

impl Refusal {
    /// Returns the step that could not be done.
    #[must_use]
    pub fn step(&self) -> Step {
        match self {
            Self::TwoAgents { .. } | Self::UnknownAgent { .. } => Step::Agent,
            Self::NoProgram(_) => Step::Program,
            Self::Settings(_)
            | Self::NoHome(_)
            | Self::NoReplica(_)
            | Self::DaemonDown
            | Self::Start(_)
            | Self::Ask(_) => Step::Daemon,
            Self::UnknownVenture { .. } => Step::Venture,
            Self::NoCheckout { .. } => Step::Repo,
            Self::Git { .. } | Self::NotClean { .. } | Self::InUse { .. } | Self::NoWorktree(_) => Step::Worktree,
            Self::NothingToContinue { .. } | Self::AtWork { .. } => Step::Session,
            Self::NoBranch { .. } | Self::NotPushed { .. } => Step::Branch,
            Self::UnknownMachine { .. }
            | Self::ThisMachine(_)
            | Self::MachineLacks { .. }
            | Self::Unreached { .. }
            | Self::Elsewhere { .. } => Step::Machine,
            Self::Secrets(_) => Step::Secrets,
            Self::Setup { .. } => Step::Setup,
            Self::Run { step, .. } | Self::Declined(step) => *step,
        }
    }

    /// Returns what to do about it.
    #[must_use]
    pub fn fix(&self) -> String {
        match self {
            Self::TwoAgents { .. } => "give one of them".to_owned(),
            Self::UnknownAgent { .. } => format!("known are: {}", Agent::ALL.map(Agent::name).join(", ")),
            Self::NoProgram(agent) => format!("install it: {}", agent.install_hint()),
            Self::Settings(_) => "correct the settings; `ctxnode config` shows who set what".to_owned(),
            Self::NoHome(_) => "set HOME to your home directory".to_owned(),
            Self::NoReplica(_) => "make one with `ctxnode init`, or join a fleet with `ctxnode join CODE`".to_owned(),
            Self::DaemonDown => "start it with `ctxnode daemon start`".to_owned(),
            Self::Ask(ClientError::Refused(body)) if body.code == ErrorCode::RateLimited => {
                format!("ask again in {} s", body.retry_after_seconds.unwrap_or(60))
            }
            Self::Start(_) | Self::Ask(_) => "run `ctxnode doctor`".to_owned(),
            Self::UnknownVenture { .. } => "an admin adds one with `ctxnode venture set CODE`".to_owned(),
            Self::NoCheckout { repo: Some(repo), dev_dirs, .. } => {
                let dir = dev_dirs.first().map(|dir| dir.display().to_string()).unwrap_or_else(|| ".".to_owned());
                format!("clone it: cd {dir} && {}", crate::checkout::clone::command(repo))
            }
            Self::NoCheckout { code, .. } => {
                format!("name its repos with `ctxnode venture set {code} --repos OWNER/NAME`")
            }
            Self::Git { .. } => "look with `git status` and `git worktree list`".to_owned(),
            Self::NotClean { .. } => "commit and push what is there, or remove it by hand".to_owned(),
            Self::InUse { .. } => "end that session first".to_owned(),
            Self::NoWorktree(_) => "`ctxnode worktree list` shows those that it made".to_owned(),
            Self::NothingToContinue { candidates, .. } if candidates.is_empty() => {
                "start one with `launcher VENTURE`".to_owned()
            }
            Self::NothingToContinue { candidates, .. } => {
                format!("name one with `ctxnode continue ID`: {}", candidates.join("; "))
            }
            Self::AtWork { .. } => {
                "end it there (/eod), or give --yes: its session ends with a draft, and its window is yours to close"
                    .to_owned()
            }
            Self::NoBranch { branch, machine, .. } => {
                format!("push it on {machine}: git push -u origin {branch}")
            }
            Self::NotPushed { branch, path, .. } => format!(
                "commit, then: git -C {} push -u origin {branch}; --yes goes on with what is on the remote",
                path.display()
            ),
            Self::UnknownMachine { .. } => "`ctxnode machine list` shows all".to_owned(),
            Self::ThisMachine(_) => "leave out --on".to_owned(),
            Self::MachineLacks { machine, .. } => {
                format!("its daemon keeps its record: run `ctxnode daemon start` on {machine}")
            }
            Self::Unreached { machine, .. } => format!(
                "is {machine} awake, does ssh run there, and is your key in its authorized_keys? Try by hand: ssh USER@ADDRESS true"
            ),
            Self::Elsewhere { fix, .. } => fix.clone(),
            Self::Secrets(error) => error.fix(),
            Self::Setup { .. } => "see the lines above; correct the file that they name".to_owned(),
            Self::Run { .. } => "run ./bootstrap.sh again".to_owned(),
            Self::Declined(_) => "answer yes, or do it by hand".to_owned(),
        }
    }

    /// Returns what happened with every cause, on one line.
    #[must_use]
    pub fn why(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        text.lines().collect::<Vec<_>>().join("; ")
    }
}
