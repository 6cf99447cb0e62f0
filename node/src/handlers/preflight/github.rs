//! The check of the GitHub login: one authenticated call by `gh`, and what its answer means.

use std::io::ErrorKind;
use std::time::Duration;

use ctxnode_api::node::{CheckRow, CheckState};

use super::check;

/// How long `gh` may take.
const LIMIT: Duration = Duration::from_secs(5);
const LOGIN: &str = "run `gh auth login`";

/// What became of the call.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    /// There is no `gh`.
    Absent,
    /// It ended with this exit code and printed this.
    Ended { code: Option<i32>, output: String, errors: String },
    /// It did not end in time or could not be started.
    Unknown(String),
}

/// Exercises the login.
pub(super) async fn login() -> CheckRow {
    #[expect(
        clippy::disallowed_methods,
        reason = "whether the child inherits a credential; nothing is configured by it"
    )]
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    judge(&ask().await, credential_source(is_set))
}

async fn ask() -> Outcome {
    let mut command = tokio::process::Command::new("gh");
    command
        .args(["api", "user", "--jq", ".login"])
        .env("GH_PROMPT_DISABLED", "1")
        .env("GH_NO_UPDATE_NOTIFIER", "1")
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true);
    match tokio::time::timeout(LIMIT, command.output()).await {
        Ok(Ok(output)) => Outcome::Ended {
            code: output.status.code(),
            output: String::from_utf8_lossy(&output.stdout).trim().to_owned(),
            errors: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        },
        Ok(Err(error)) if error.kind() == ErrorKind::NotFound => Outcome::Absent,
        Ok(Err(error)) => Outcome::Unknown(format!("gh cannot be started: {error}")),
        Err(_) => Outcome::Unknown(format!("gh did not answer within {} s", LIMIT.as_secs())),
    }
}

/// Returns where `gh` takes its credential from, in its own order of precedence (`gh help environment`).
fn credential_source(is_set: impl Fn(&str) -> bool) -> &'static str {
    match () {
        () if is_set("GH_TOKEN") => "GH_TOKEN",
        () if is_set("GITHUB_TOKEN") => "GITHUB_TOKEN",
        () => "gh's own configuration",
    }
}

/// Says what an outcome means. Only a 401 says that the login is dead; what could not be asked is unknown.
fn judge(outcome: &Outcome, source: &str) -> CheckRow {
    let row = |state, message: String, fix| check("GitHub login", state, message, fix);
    let (code, output, errors) = match outcome {
        Outcome::Absent => {
            let message = "gh is not installed; GitHub parts are left out".to_owned();
            return row(CheckState::Warn, message, Some("install it from https://cli.github.com"));
        }
        Outcome::Unknown(reason) => return row(CheckState::Warn, format!("unknown: {reason}"), None),
        Outcome::Ended { code, output, errors } => (*code, output, errors),
    };
    let first = errors.lines().next().unwrap_or("no message");
    if code == Some(0) {
        row(CheckState::Pass, format!("{output}, credential from {source}"), None)
    } else if errors.contains("HTTP 401") {
        row(CheckState::Fail, format!("login dead (401), credential from {source}"), Some(LOGIN))
    } else if errors.contains("HTTP 403") {
        let message = format!("forbidden (403), credential from {source}: {first}");
        row(CheckState::Fail, message, Some("give the token the right, or wait when it is a rate limit"))
    } else if code == Some(4) {
        // `gh help exit-codes`: the command requires authentication.
        row(CheckState::Fail, "not logged in".to_owned(), Some(LOGIN))
    } else {
        row(CheckState::Warn, format!("unknown: {first}"), None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(code: i32, errors: &str) -> CheckRow {
        let outcome = Outcome::Ended { code: Some(code), output: String::new(), errors: errors.to_owned() };
        judge(&outcome, "GH_TOKEN")
    }

    #[test]
    fn m_10_only_a_401_says_that_the_login_is_dead() {
        let rows = [
            judge(&Outcome::Absent, "GH_TOKEN"),
            ended(1, "gh: Bad credentials (HTTP 401)\nTry authenticating with:  gh auth login"),
            ended(1, "gh: Resource not accessible by personal access token (HTTP 403)"),
            ended(1, "error connecting to api.github.com\ncheck your internet connection"),
            ended(4, "To get started with GitHub CLI, please run:  gh auth login"),
            judge(&Outcome::Unknown("gh did not answer within 5 s".to_owned()), "GH_TOKEN"),
        ];
        let dead: Vec<bool> = rows.iter().map(|row| row.message.contains("login dead")).collect();
        assert_eq!(dead, [false, true, false, false, false, false]);
        let messages: std::collections::BTreeSet<&str> = rows.iter().map(|row| row.message.as_str()).collect();
        assert_eq!(messages.len(), rows.len(), "each is told apart");
        assert!(rows[1].message.contains("GH_TOKEN") && rows.iter().all(|row| !row.critical));
        assert_eq!((rows[3].state, rows[1].state), (CheckState::Warn, CheckState::Fail));
    }

    #[test]
    fn the_source_of_the_credential_follows_the_precedence_of_gh() {
        assert_eq!(credential_source(|_| true), "GH_TOKEN");
        assert_eq!(credential_source(|name| name == "GITHUB_TOKEN"), "GITHUB_TOKEN");
        assert_eq!(credential_source(|_| false), "gh's own configuration");
    }
}
