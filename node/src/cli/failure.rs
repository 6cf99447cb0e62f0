//! Why a command ended without its answer: one enum, one exit code each, one hint each.
//!
//! Not here: printing (`screen`). Refusals of the daemon carry their own code, details and hint.

use std::io;
use std::path::PathBuf;

use ctxnode_api::{ClientError, ErrorBody};
use ctxnode_config::{ConfigError, ConfigErrors};
use ctxnode_store::OpenError;
use serde_json::{Value, json};
use thiserror::Error;

use crate::daemon::InitError;

/// How a command ended that has given its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// Everything is as it should be.
    Done,
    /// The answer names something that failed.
    Failed,
    /// The answer names something that should be seen to.
    Warned,
}

impl Exit {
    /// Returns the exit code of the process.
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Warned => 2,
        }
    }
}

/// Why a command has no answer.
#[derive(Debug, Error)]
pub(super) enum Failure {
    /// The daemon refused.
    #[error("{}", .0.message)]
    Refused(Box<ErrorBody>),
    /// The daemon cannot be asked, or its answer cannot be used.
    #[error(transparent)]
    Client(ClientError),
    /// The daemon could not be started.
    #[error("the daemon does not start")]
    Start(#[from] ctxnode_api::autostart::StartError),
    /// There is nothing to serve.
    #[error("no replica at {}", .0.display())]
    NoReplica(PathBuf),
    /// The daemon stands in the way.
    #[error("a daemon is running (pid {0})")]
    Running(u32),
    /// The settings are not valid.
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    /// The settings have no place.
    #[error(transparent)]
    Place(#[from] ConfigError),
    /// The arguments do not fit each other.
    #[error("{message}")]
    Usage {
        /// What is wrong.
        message: &'static str,
        /// What is right.
        hint: &'static str,
    },
    /// A file or directory cannot be used.
    #[error("{} cannot be used", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A replica could not be made.
    #[error(transparent)]
    Init(#[from] InitError),
    /// The text that was typed is no invitation.
    #[error("this is no invitation")]
    Code(#[source] ctxnode_sync::CodeError),
    /// A backup could not be brought back.
    #[error("the backup cannot be restored")]
    Restore(#[source] OpenError),
    /// A command that this one needs did not work.
    #[error("`{command}` failed")]
    Command {
        /// The command line.
        command: String,
        /// What the system said, when it could not even start.
        #[source]
        source: Option<io::Error>,
    },
    /// A step of a piece of work failed; what was done before it stays done.
    #[error("{step}: {reason}{}", if .done.is_empty() { String::new() } else { format!(" (done before: {})", .done.join("; ")) })]
    Work {
        /// The step.
        step: &'static str,
        /// Why.
        reason: String,
        /// What was done before it.
        done: Vec<String>,
    },
    /// The launcher could not do a step.
    #[error(transparent)]
    Launch(#[from] ctxnode_launcher::refusal::Refusal),
    /// The answer cannot be written.
    #[error("the output cannot be written")]
    Output(#[source] io::Error),
    /// A human said no.
    #[error("nothing was done")]
    Declined,
    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted,
    /// The machinery below could not be set up.
    #[error("the runtime cannot be set up")]
    Runtime(#[source] io::Error),
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Refused(body) => Self::Refused(body),
            other => Self::Client(other),
        }
    }
}

impl Failure {
    /// Makes the failure of a file.
    pub(super) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }

    /// Returns the exit code of the process.
    pub(super) fn code(&self) -> u8 {
        match self {
            Self::Refused(body) if body.code.status() == 500 => 70,
            Self::Client(ClientError::Unreachable { .. } | ClientError::TooSlow(_) | ClientError::Broken(_))
            | Self::Start(_) => 3,
            Self::Client(ClientError::Unreadable(_) | ClientError::NoOperation(_)) | Self::Runtime(_) => 70,
            Self::Usage { .. } | Self::Config(_) | Self::Place(_) | Self::Code(_) => 2,
            Self::Interrupted => 130,
            _ => 1,
        }
    }

    /// Returns what to do about it.
    pub(super) fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Refused(body) => return body.hint.clone(),
            Self::Launch(refusal) => return Some(refusal.fix()),
            Self::Client(ClientError::Unreachable { .. }) => "run `ctxnode daemon start`, or `ctxnode doctor`",
            Self::Client(ClientError::TooSlow(_) | ClientError::Broken(_)) | Self::Start(_) => "run `ctxnode doctor`",
            Self::Client(ClientError::Unreadable(_) | ClientError::NoOperation(_)) => {
                "the daemon may be of another version: run `ctxnode daemon handover`"
            }
            Self::NoReplica(_) => "run `ctxnode init`",
            Self::Running(_) => "run `ctxnode daemon stop` first",
            Self::Usage { hint, .. } => hint,
            Self::Init(InitError::Exists(_)) => {
                "use it: `ctxnode status`; to be in another fleet, stop the daemon and move that directory away"
            }
            Self::Init(InitError::Join(_)) => {
                "nothing was made here; `ctxnode invite` on that machine makes a new code"
            }
            Self::Restore(_) => "nothing was changed; try the backup before this one",
            _ => return None,
        };
        Some(text.to_owned())
    }

    /// Returns the failure as one JSON object: the daemon's own error, or one of the same form.
    pub(super) fn json(&self) -> Value {
        match self {
            Self::Refused(body) => serde_json::to_value(body).unwrap_or_default(),
            other => {
                let mut error = json!({ "code": other.word(), "message": other.message() });
                if let Some(hint) = other.hint() {
                    error["hint"] = Value::String(hint);
                }
                error
            }
        }
    }

    /// Returns what happened with every cause, on one line.
    pub(super) fn message(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        text
    }

    fn word(&self) -> &'static str {
        match self {
            Self::Refused(body) => body.code.name(),
            Self::Client(_) | Self::Start(_) => "daemon_unreachable",
            Self::NoReplica(_) => "no_replica",
            Self::Running(_) => "daemon_running",
            Self::Config(_) | Self::Place(_) => "bad_configuration",
            Self::Code(_) => "bad_code",
            Self::Usage { .. } => "bad_usage",
            Self::File { .. } | Self::Output(_) => "bad_file",
            Self::Init(_) => "init_failed",
            Self::Restore(_) => "restore_failed",
            Self::Command { .. } => "command_failed",
            Self::Launch(_) => "launch_failed",
            Self::Work { .. } => "step_failed",
            Self::Declined => "declined",
            Self::Interrupted => "interrupted",
            Self::Runtime(_) => "internal",
        }
    }
}

#[cfg(test)]
mod tests {
    use ctxnode_api::ErrorCode;

    use super::*;

    #[test]
    fn each_kind_of_failure_has_its_exit_code() {
        let refused = |code| Failure::from(ClientError::Refused(Box::new(ErrorBody::new(code, "no"))));
        let unreachable = ClientError::Unreachable { endpoint: "x".into(), source: io::ErrorKind::NotFound.into() };
        assert_eq!(refused(ErrorCode::NotFound).code(), 1);
        assert_eq!(refused(ErrorCode::Internal).code(), 70);
        assert_eq!(Failure::from(unreachable).code(), 3);
        assert_eq!(Failure::Usage { message: "a", hint: "b" }.code(), 2);
        assert_eq!(Failure::Interrupted.code(), 130);
        assert_eq!(Failure::NoReplica("/x".into()).code(), 1);
    }

    #[test]
    fn a_refusal_is_printed_as_the_daemon_sent_it() {
        let body = ErrorBody::field("tags", "too many").hint("fewer");
        let failure = Failure::from(ClientError::Refused(Box::new(body.clone())));
        assert_eq!(failure.json(), serde_json::to_value(body).unwrap());
        assert_eq!(failure.hint().as_deref(), Some("fewer"));
    }

    #[test]
    fn other_failures_have_a_code_a_message_with_causes_and_a_hint() {
        let unreachable = ClientError::Unreachable { endpoint: "/s".into(), source: io::ErrorKind::NotFound.into() };
        let json = Failure::from(unreachable).json();
        assert_eq!(json["code"], "daemon_unreachable");
        assert_eq!(json["message"], "the daemon does not answer at /s: entity not found");
        assert!(json["hint"].as_str().unwrap().contains("daemon start"));
    }
}
