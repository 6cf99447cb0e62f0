//! Whether a CLI starts with what was written into its file, and what is tried when it does not. One wrong value keeps
//! Codex from starting at all, and versions differ in the values that they take.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::{Content, Places, Scope, Wanted, toml};
use crate::agents::Agent;

/// How long the CLI may take. A slow one says nothing against its file.
const LIMIT: Duration = Duration::from_secs(8);
/// How often it is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(10);
/// Reads the configuration and starts nothing; `--version` does not read it.
const HARMLESS: [&str; 2] = ["features", "list"];

/// A CLI that can be asked whether it takes its file.
#[derive(Clone, Debug)]
pub(super) struct Probe {
    pub(super) file: PathBuf,
    program: PathBuf,
    home: PathBuf,
}

/// Another form of a file, for a CLI that refused the one before.
#[derive(Clone, Debug)]
pub(super) struct Variant {
    pub(super) file: Wanted,
    /// The defaults that are not in it any more.
    pub(super) refused: BTreeSet<String>,
    /// What to tell.
    pub(super) reason: String,
}

impl Probe {
    /// Only the user's file of Codex has a value that versions disagree about.
    pub(super) fn of(agent: Agent, scope: Scope, places: &Places) -> Option<Self> {
        if (agent, scope) != (Agent::Codex, Scope::User) {
            return None;
        }
        let home = places.codex_home();
        Some(Self { file: home.join("config.toml"), program: places.codex_program.clone()?, home })
    }

    /// Whether it starts. One that cannot be run, or does not end, does not say no.
    pub(super) fn accepts(&self) -> bool {
        let mut command = Command::new(&self.program);
        command.args(HARMLESS).env("CODEX_HOME", &self.home).current_dir("/");
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        child.ok().and_then(ended).is_none_or(|status| status.success())
    }
}

#[expect(clippy::disallowed_methods, reason = "a process of its own cannot be waited for with a limit")]
fn ended(mut child: Child) -> Option<ExitStatus> {
    let until = Instant::now() + LIMIT;
    while Instant::now() < until {
        match child.try_wait() {
            Ok(None) => std::thread::sleep(LOOK),
            done => return done.ok().flatten(),
        }
    }
    // Ended by itself meanwhile is as good.
    let _ = child.kill();
    let _ = child.wait();
    None
}

impl Wanted {
    /// Returns the file without some of its defaults.
    pub(super) fn without_defaults(&self, names: &BTreeSet<String>) -> Self {
        let Content::Toml(entries) = &self.content else { return self.clone() };
        let stays = |entry: &&toml::Entry| !(entry.is_default() && names.contains(&entry.name()));
        let entries = entries.iter().filter(stays).cloned().collect();
        Self { content: Content::Toml(entries), ..self.clone() }
    }

    /// Returns what can be tried when the CLI refuses the file: other values of its defaults, then none of them.
    pub(super) fn variants(&self) -> Vec<Variant> {
        let Content::Toml(entries) = &self.content else { return Vec::new() };
        let names: BTreeSet<String> =
            entries.iter().filter(|entry| entry.is_default()).map(toml::Entry::name).collect();
        let most = entries.iter().map(toml::Entry::values).max().unwrap_or(0);
        let list = names.iter().cloned().collect::<Vec<_>>().join(", ");
        let mut all: Vec<Variant> = (1..most)
            .map(|nth| Variant {
                file: Self {
                    content: Content::Toml(entries.iter().map(|entry| entry.preferring(nth)).collect()),
                    ..self.clone()
                },
                refused: BTreeSet::new(),
                reason: format!("this version refuses the usual value of {list}; it takes the older one"),
            })
            .collect();
        if !names.is_empty() {
            let reason = format!("this version refuses {list}, which is left out");
            all.push(Variant { file: self.without_defaults(&names), refused: names, reason });
        }
        all
    }
}
