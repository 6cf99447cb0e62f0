//! Infisical through its CLI, with the login that the CLI has; and what is common to all programs that print secrets.

use std::path::Path;
use std::time::Duration;

use ctxnode_config::Environment;

use super::{MachineFile, SecretError, Secrets, Source, http, parse};
use crate::program::{Program, RunError};

/// How long a provider may take.
pub const EXPORT_LIMIT: Duration = Duration::from_secs(30);
/// How long the check of a login may take.
const LOGIN_LIMIT: Duration = Duration::from_secs(15);

/// With one of these exit codes a program says that what it asks cannot be reached now: EX_UNAVAILABLE and EX_TEMPFAIL of
/// `sysexits.h`. Every other one may be a refusal.
const AWAY: [i32; 2] = [69, 75];

/// Runs a venture's own command.
pub(super) async fn run_command(program: &Program) -> Result<Secrets, SecretError> {
    match run_provider(program).await {
        Err(SecretError::Failed { program, code, .. }) if AWAY.contains(&code) => {
            Err(SecretError::Away { program, code })
        }
        other => other,
    }
}

/// Runs a program that prints secrets.
async fn run_provider(program: &Program) -> Result<Secrets, SecretError> {
    let name = name_of(program);
    let done = program.run(EXPORT_LIMIT).await.map_err(failed)?;
    match code_of(done.status) {
        0 => parse(&name, &done.output),
        code => Err(SecretError::Failed { program: name, code, login_needed: false }),
    }
}

/// Exports the secrets of a path with the CLI.
///
/// # Errors
/// When it fails, says nothing, or something of another form.
pub async fn fetch_by_cli(
    cli: &Path,
    source: &Source,
    env: &Environment,
    machine: &MachineFile,
    directory: &Path,
) -> Result<Secrets, SecretError> {
    let mut words = vec!["export", "--format=json", "--silent", "--path", &source.path, "--env", source.env.name()];
    if let Some(project) = &machine.infisical.project {
        words.extend(["--projectId", project]);
    }
    let mut program = Program::new(cli, words).within(directory);
    if let Some(url) = &machine.infisical.url {
        program = program.with("INFISICAL_API_URL", url);
    }
    match run_provider(&program).await {
        Err(SecretError::Failed { program, code, .. }) => {
            // What it prints is a token; only how it ends is looked at.
            let check = Program::new(cli, ["user", "get", "token", "--silent"]).run(LOGIN_LIMIT).await;
            let login_needed = !check.is_ok_and(|done| done.status.success());
            // Its exit code is the same for a refusal and for a network that is down; the service itself tells them apart.
            if !login_needed && !http::is_reachable(env, machine).await {
                return Err(SecretError::Unreachable { action: "export" });
            }
            Err(SecretError::Failed { program, code, login_needed })
        }
        other => other,
    }
}

fn name_of(program: &Program) -> String {
    program.path.file_name().unwrap_or(program.path.as_os_str()).to_string_lossy().into_owned()
}

fn failed(error: RunError) -> SecretError {
    match error {
        RunError::Spawn { program, source } | RunError::Output { program, source } => {
            SecretError::Run { program, source }
        }
        RunError::TooSlow { program, limit } => SecretError::TooSlow { program, limit },
    }
}

fn code_of(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt as _;
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}
