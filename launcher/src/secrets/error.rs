//! How secrets can fail to arrive. Fields name programs, names and positions; never a part of an output.

use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

/// The secrets cannot be had.
#[derive(Debug, Error)]
pub enum SecretError {
    /// There is no Infisical CLI, and no credentials for its API either.
    #[error("the Infisical CLI is not installed")]
    CliMissing,
    /// The provider failed.
    #[error("`{program}` failed with exit code {code}{}", if *.login_needed { ": login needed" } else { "" })]
    Failed {
        /// The program.
        program: String,
        /// Its exit code; 128 + n after signal n.
        code: i32,
        /// Whether the check of the login failed too.
        login_needed: bool,
    },
    /// A program says by its exit code that what it asks cannot be reached.
    #[error("`{program}` cannot reach its source (exit code {code})")]
    Away {
        /// The program.
        program: String,
        /// Its exit code.
        code: i32,
    },
    /// The provider said nothing.
    #[error("`{program}` printed nothing")]
    Empty {
        /// The program.
        program: String,
    },
    /// The provider's output is of no known form.
    #[error("the output of `{program}` is malformed at line {line}, column {column}")]
    Malformed {
        /// The program.
        program: String,
        /// The line, from 1.
        line: usize,
        /// The column, from 1; 0 when only the line is known.
        column: usize,
    },
    /// The provider has no secrets there.
    #[error("`{program}` has no entries there")]
    NoEntries {
        /// The program.
        program: String,
    },
    /// Names that must be there are not.
    #[error("required secrets are absent: {}; found are: {}", .missing.join(", "), names(.found))]
    Missing {
        /// The absent names.
        missing: Vec<String>,
        /// The names that were found.
        found: Vec<String>,
    },
    /// The provider took too long.
    #[error("`{program}` did not answer within {} s and was stopped", .limit.as_secs())]
    TooSlow {
        /// The program, or the service.
        program: String,
        /// How long it had.
        limit: Duration,
    },
    /// The provider cannot be run.
    #[error("`{program}` cannot be run")]
    Run {
        /// The program.
        program: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A venture's command is named nowhere on this machine.
    #[error("the command that prints the secrets of `{venture}` is not set on this machine")]
    NoCommand {
        /// The venture.
        venture: String,
    },
    /// There are no credentials for Universal Auth.
    #[error("no credentials for Universal Auth: INFISICAL_CLIENT_ID and INFISICAL_CLIENT_SECRET are not set and {} is absent", .0.display())]
    NoCredentials(PathBuf),
    /// Others can read the credentials.
    #[error("{} has mode {mode:03o}, so others may read it", .path.display())]
    WideMode {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A file of ours cannot be used.
    #[error("{} cannot be used: {reason}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why, without a part of its text.
        reason: String,
    },
    /// The project is not named.
    #[error("the Infisical project is not known")]
    NoProject,
    /// The service refused.
    #[error("Infisical answered {status} to {action}")]
    Refused {
        /// What was asked.
        action: &'static str,
        /// The status.
        status: u16,
    },
    /// The service cannot be reached.
    #[error("Infisical cannot be reached for {action}")]
    Unreachable {
        /// What was asked.
        action: &'static str,
    },
    /// The provider keeps no secrets, so that none can be stored in it.
    #[error("the provider `{0}` cannot store a secret")]
    ReadOnly(&'static str),
    /// This machine has no keychain that could be used.
    #[error("there is no keychain to use: {0}")]
    NoKeychain(&'static str),
    /// The login of the agent CLI lies in a locked keychain, and nobody can be asked, or did not open it.
    #[error("the keychain with the login of Claude Code is locked")]
    KeychainLocked,
    /// A name that no variable can have.
    #[error("`{0}` cannot name a variable")]
    BadName(String),
    /// The venture has no secrets.
    #[error("`{0}` has no secrets provider")]
    NoProvider(String),
}

fn names(found: &[String]) -> String {
    if found.is_empty() { "none".to_owned() } else { found.join(", ") }
}

impl SecretError {
    /// Returns what to do about it.
    #[must_use]
    pub fn fix(&self) -> String {
        let text = match self {
            Self::CliMissing => {
                "install it (https://infisical.com/docs/cli/overview), or put credentials for Universal Auth in place"
            }
            Self::Failed { login_needed: true, .. } => "log in: infisical login",
            Self::Failed { program, .. } => return format!("run `{program}` by hand to see what it says"),
            Self::Empty { .. } | Self::Malformed { .. } => {
                "it must print a JSON object of texts, or lines of NAME=value"
            }
            Self::NoEntries { .. } => "check the path and the environment of the venture",
            Self::Missing { .. } => "add them at the provider, or take them off the venture's list",
            Self::TooSlow { .. } | Self::Unreachable { .. } | Self::Away { .. } => "check the network, then try again",
            Self::Run { .. } => "check that it is installed and may be run",
            Self::NoCommand { venture } => {
                return format!(
                    "set it in ctxnode/secrets.toml of your configuration folder: [venture.{venture}] command = [\"...\"]"
                );
            }
            Self::NoCredentials(path) => {
                return format!(
                    "make a machine identity in Infisical; then write client_id=... and client_secret=... into {0} and type: chmod 600 {0}",
                    path.display()
                );
            }
            Self::WideMode { path, .. } => return format!("type: chmod 600 {}", path.display()),
            Self::File { .. } => "correct or remove the file",
            Self::NoProject => {
                "set [infisical] project in ctxnode/secrets.toml, or INFISICAL_PROJECT_ID, or keep .infisical.json in the repo"
            }
            Self::Refused { status: 401 | 403, .. } => "check the machine identity's credentials and its rights",
            Self::Refused { .. } => "check the project, the path and the environment",
            Self::ReadOnly(_) => "store it where that provider takes it from",
            Self::NoKeychain(_) => "put the identity into variables or the file instead; the cache needs a keychain",
            Self::KeychainLocked => {
                "type: security unlock-keychain   in this session, or set ANTHROPIC_API_KEY; then try again"
            }
            Self::BadName(_) => "use letters, digits and `_`, not beginning with a digit",
            Self::NoProvider(code) => return format!("set one with `ctxnode venture set {code}`"),
        };
        text.to_owned()
    }
}
