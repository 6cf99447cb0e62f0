//! What a launch does with the keychain: unlocks it in a remote session on macOS, where Claude Code keeps its login in it, and
//! keeps the last secrets in it where that is asked for.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use ctxnode_config::{Environment, Platform};

use crate::agents::Agent;
use crate::program::{Program, find};
use crate::refusal::Refusal;
use crate::screen::Screen;
use crate::secrets::cache::{self, Kept};
use crate::secrets::keychain::Keychain;
use crate::secrets::{MachineFile, SecretError, Secrets, Source};
use crate::world::World;

/// The item in which Claude Code keeps its login.
const LOGIN: &str = "Claude Code-credentials";
/// What `security` answers when there is no such item: there is nothing to unlock then.
const ABSENT: i32 = 44;
/// How long a look may take; without a terminal the whole answer comes within two seconds.
const PROBE: Duration = Duration::from_millis(1_500);
/// How long a person may take to type the password.
const PROMPT: Duration = Duration::from_secs(30);
/// With one of these Claude Code needs no login.
const KEYS: [&str; 3] = ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"];

/// Where it is noted which items the keychain has, below the state directory. Names of ventures, no secrets.
const MARKS: &str = "kept-secrets";

/// What is done about the keychain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unlock {
    /// Nothing: it is open, or the agent does without.
    GoOn,
    /// A person is asked for the password, once.
    Prompt,
    /// The launch ends: the agent could not log in.
    Refuse,
}

/// Whether the keychain matters at all: elsewhere it is never called.
fn matters(platform: Platform, remote: bool, agent: Agent) -> bool {
    platform == Platform::MacOs && remote && agent == Agent::Claude
}

/// Decides what is done: no terminal, no prompt.
fn decide(locked: bool, terminal: bool, has_key: bool) -> Unlock {
    match (locked, terminal, has_key) {
        (false, ..) => Unlock::GoOn,
        (true, true, _) => Unlock::Prompt,
        (true, false, true) => Unlock::GoOn,
        (true, false, false) => Unlock::Refuse,
    }
}

/// Makes the login of the agent CLI readable, where a remote session needs that.
///
/// # Errors
/// When the keychain stays locked and the agent has no other way to log in.
pub(super) async fn unlock(
    platform: Platform,
    remote: bool,
    agent: Agent,
    env: &Environment,
    screen: &Screen,
) -> Result<(), Refusal> {
    if !matters(platform, remote, agent) {
        return Ok(());
    }
    let Some(security) = find("security", env) else { return Ok(()) };
    let has_key = KEYS.iter().any(|name| env.get(name).is_some_and(|value| !value.is_empty()));
    match decide(is_locked(&security).await, screen.can_ask, has_key) {
        Unlock::GoOn => Ok(()),
        Unlock::Refuse => Err(SecretError::KeychainLocked.into()),
        Unlock::Prompt => {
            screen.say("The keychain with the login of Claude Code is locked; this Mac's password opens it.");
            let mut ask = tokio::process::Command::new(&security);
            ask.arg("unlock-keychain").stdin(Stdio::inherit()).kill_on_drop(true);
            if let Ok(mut child) = ask.spawn()
                && tokio::time::timeout(PROMPT, child.wait()).await.is_err()
            {
                let _ = child.kill().await;
            }
            if is_locked(&security).await { Err(SecretError::KeychainLocked.into()) } else { Ok(()) }
        }
    }
}

/// Whether the login cannot be read. The value is read into memory that is wiped, and looked at by nobody.
async fn is_locked(security: &Path) -> bool {
    let probe = Program::new(security, ["find-generic-password", "-s", LOGIN, "-w"]).run(PROBE).await;
    !probe.is_ok_and(|done| matches!(done.status.code(), Some(0 | ABSENT)))
}

/// Takes what the provider said. With the cache switched on, its answer is kept, and what was kept stands in for a provider
/// that cannot be reached.
pub(super) async fn with_cache(
    answer: Result<Secrets, SecretError>,
    source: &Source,
    machine: &MachineFile,
    world: &World,
) -> Result<Secrets, SecretError> {
    let (env, screen) = (&world.around.env, &world.screen);
    let marks = world.config.paths.state_dir.join(MARKS);
    let hours = machine.cache.hours;
    if hours == 0 {
        forget_all(&marks, env).await;
        return answer;
    }
    let keychain = match Keychain::find(Platform::current(), env) {
        Ok(keychain) => keychain,
        Err(reason) => {
            screen.say(&format!("note: secrets are not kept: {reason}"));
            return answer;
        }
    };
    let now = jiff::Timestamp::now().as_second();
    let item = cache::item(&source.venture);
    let error = match answer {
        Ok(secrets) => {
            let kept = mark(&marks, &item).map_err(|_| SecretError::NoKeychain("what is in it cannot be noted"));
            let kept = match kept {
                Ok(()) => keychain.put(&item, &cache::seal(&secrets, source, now, hours)).await,
                Err(reason) => Err(reason),
            };
            if let Err(reason) = kept {
                screen.say(&format!("note: secrets are not kept: {reason}"));
            }
            return Ok(secrets);
        }
        Err(error) => error,
    };
    if !cache::may_stand_in(&error) {
        return Err(error);
    }
    match keychain.get(&item).await {
        Ok(Some(sealed)) => match cache::open(&sealed, source, now) {
            Kept::Fresh(secrets, age) => {
                let minutes = age / 60;
                screen.say(&format!("note: {error}; taking what the keychain has kept for {minutes} min"));
                secrets.require(&source.required)
            }
            Kept::Stale => {
                // What may not be used any more need not lie there either.
                let _ = keychain.remove(&item).await;
                Err(error)
            }
        },
        _ => Err(error),
    }
}

/// Notes that the keychain has an item, before it has: without a note nobody would look for it, and a look at each launch would
/// cost those who never wanted the cache.
fn mark(marks: &Path, item: &str) -> std::io::Result<()> {
    std::fs::create_dir_all(marks)?;
    std::fs::write(marks.join(item), "")
}

/// Takes out of the keychain all that was kept there; what cannot be taken out now is tried again at the next launch.
async fn forget_all(marks: &Path, env: &Environment) {
    let Ok(noted) = std::fs::read_dir(marks) else { return };
    let Ok(keychain) = Keychain::find(Platform::current(), env) else { return };
    for mark in noted.flatten() {
        if let Some(item) = mark.file_name().to_str()
            && keychain.remove(item).await.is_ok()
        {
            // A note too many costs one look.
            let _ = std::fs::remove_file(mark.path());
        }
    }
    let _ = std::fs::remove_dir(marks);
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::Instant;

    use super::*;

    /// A keychain that is locked until somebody unlocks it, and notes each call.
    const LOCKED: &str = r#"echo "$1" >>"$0.seen"
case $1 in
    unlock-keychain) [ -e "$0.deaf" ] || : >"$0.open" ;;
    *) [ -e "$0.open" ] || exit 36; echo login ;;
esac"#;

    fn home(dir: &Path, more: &[(&str, &str)]) -> Environment {
        let path = dir.join("security");
        std::fs::write(&path, format!("#!/bin/sh\n{LOCKED}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let own = [("PATH", dir.to_str().unwrap())];
        Environment::from_pairs(own.into_iter().chain(more.iter().copied()))
    }

    fn calls(dir: &Path) -> Vec<String> {
        let text = std::fs::read_to_string(dir.join("security.seen")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    async fn go(dir: &Path, env: &Environment, platform: Platform, terminal: bool) -> Result<(), Refusal> {
        let screen = Screen { can_ask: terminal, debug: false };
        let _ = dir;
        unlock(platform, true, Agent::Claude, env, &screen).await
    }

    /// L-09: with a terminal one prompt and a second look; still locked: refused with what to type.
    #[tokio::test]
    async fn l_09_a_locked_keychain_is_asked_for_once() {
        let dir = tempfile::tempdir().unwrap();
        let env = home(dir.path(), &[]);
        go(dir.path(), &env, Platform::MacOs, true).await.unwrap();
        assert_eq!(calls(dir.path()), ["find-generic-password", "unlock-keychain", "find-generic-password"]);
        go(dir.path(), &env, Platform::MacOs, true).await.unwrap();
        assert_eq!(calls(dir.path()).len(), 4, "it is open: a look, no prompt");

        let dir = tempfile::tempdir().unwrap();
        let env = home(dir.path(), &[]);
        std::fs::write(dir.path().join("security.deaf"), "").unwrap();
        let refused = go(dir.path(), &env, Platform::MacOs, true).await.unwrap_err();
        assert!(refused.fix().contains("security unlock-keychain"), "{}", refused.fix());
        assert_eq!(calls(dir.path()).len(), 3);
    }

    /// L-09: without a terminal no prompt and an answer within two seconds; with a key of its own the agent goes on.
    #[tokio::test]
    async fn l_09_without_a_terminal_nobody_is_asked() {
        let dir = tempfile::tempdir().unwrap();
        let env = home(dir.path(), &[]);
        let began = Instant::now();
        assert!(go(dir.path(), &env, Platform::MacOs, false).await.is_err());
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        assert_eq!(calls(dir.path()), ["find-generic-password"]);
        let env = home(dir.path(), &[("ANTHROPIC_API_KEY", "k")]);
        go(dir.path(), &env, Platform::MacOs, false).await.unwrap();
        assert_eq!(calls(dir.path()), ["find-generic-password"; 2]);
    }

    /// L-09: no call on Linux, none at the machine itself, none for another CLI.
    #[tokio::test]
    async fn l_09_elsewhere_the_keychain_is_not_called() {
        let dir = tempfile::tempdir().unwrap();
        let env = home(dir.path(), &[]);
        let screen = Screen { can_ask: true, debug: false };
        go(dir.path(), &env, Platform::Linux, true).await.unwrap();
        unlock(Platform::MacOs, false, Agent::Claude, &env, &screen).await.unwrap();
        for agent in [Agent::Codex, Agent::Gemini, Agent::Antigravity] {
            unlock(Platform::MacOs, true, agent, &env, &screen).await.unwrap();
        }
        assert_eq!(calls(dir.path()), Vec::<String>::new());
    }
}
