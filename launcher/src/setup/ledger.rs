//! What setup did to which file, so that it can be undone to the byte.
//!
//! A file of the state directory. Losing it loses exactness and nothing else: our entries are found by what they are.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::files::{at, write};
use super::{Scope, SetupError};
use crate::agents::Agent;

/// An agent CLI that was set up here.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Known {
    /// Which.
    pub agent: Agent,
    /// The checkout, when it was set up for one.
    pub project: Option<PathBuf>,
}

impl Known {
    /// Returns for whom it was set up.
    #[must_use]
    pub fn scope(&self) -> Scope {
        if self.project.is_some() { Scope::Project } else { Scope::User }
    }
}

/// Returns every agent CLI that was set up and not taken out again, by what the ledger of the state directory says.
#[must_use]
pub fn known(state_dir: &Path) -> BTreeSet<Known> {
    let ledger = Ledger::load(&state_dir.join(FILE));
    let users = ledger.files.into_values().flat_map(|row| row.users);
    let read = |user: String| {
        let (name, project) = match user.split_once(' ') {
            Some((name, project)) => (name, Some(PathBuf::from(project))),
            None => (user.as_str(), None),
        };
        Some(Known { agent: Agent::of_name(name)?, project })
    };
    users.filter_map(read).collect()
}

/// How long a set-up waits for another one. Each holds the ledger for its own files alone, and for two starts of a CLI.
const PATIENCE: Duration = Duration::from_secs(30);

/// Its name in the state directory.
pub(super) const FILE: &str = "setup.json";

/// Every file that setup changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Ledger {
    pub(super) files: BTreeMap<PathBuf, Row>,
}

/// One file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Row {
    /// For which CLIs and scopes; several share `AGENTS.md` and the skills.
    pub(super) users: BTreeSet<String>,
    /// Whether there was no file before.
    pub(super) created: bool,
    /// The hash of what we wrote last.
    pub(super) after: String,
    /// Whether somebody else wrote between two writes of ours: then there is no state to go back to.
    pub(super) mixed: bool,
    /// The defaults that we set because there was no value. What somebody else had set to the same is not in it, and stays.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) defaults: BTreeSet<String>,
    /// The defaults that its CLI refuses, so that they are not tried again.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) refused: BTreeSet<String>,
    /// The hash of what was there before us.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) before: Option<String>,
}

impl Ledger {
    /// Reads the ledger. One that is absent or cannot be read is empty.
    pub(super) fn load(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    pub(super) fn text(&self) -> String {
        format!("{:#}\n", serde_json::to_value(self).unwrap_or_default())
    }
}

/// The ledger, kept from others from reading it to writing it: two launches at once would lose each other's rows.
///
/// The lock lies on the state directory itself, so that it needs no file that somebody would have to take away again.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) ledger: Ledger,
    was: Ledger,
    path: PathBuf,
    _lock: Option<File>,
}

impl Held {
    /// Reads the ledger to look at it. Nothing is locked, and nothing can be saved.
    pub(super) fn to_read(state_dir: &Path) -> Self {
        let path = state_dir.join(FILE);
        let ledger = Ledger::load(&path);
        Self { was: ledger.clone(), ledger, path, _lock: None }
    }

    /// Waits for whoever has it, and reads the ledger.
    pub(super) fn to_change(state_dir: &Path) -> Result<Self, SetupError> {
        let mut folder = std::fs::DirBuilder::new();
        folder.recursive(true).mode(0o700).create(state_dir).map_err(at(state_dir))?;
        let lock = locked(state_dir)?;
        Ok(Self { _lock: Some(lock), ..Self::to_read(state_dir) })
    }

    /// Writes what changed.
    pub(super) fn save(&mut self) -> Result<(), SetupError> {
        if self.ledger != self.was {
            write(&self.path, &self.ledger.text(), None)?;
            self.was = self.ledger.clone();
        }
        Ok(())
    }
}

#[expect(clippy::disallowed_methods, reason = "a lock of a directory tells nobody when it is free")]
fn locked(folder: &Path) -> Result<File, SetupError> {
    let until = Instant::now() + PATIENCE;
    let lock = File::open(folder).map_err(at(folder))?;
    loop {
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(lock),
            Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) if Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(2));
            }
            Err(errno) => return Err(at(folder)(errno.into())),
        }
    }
}

impl Row {
    /// Whether this machine has ever written the file: some files are as they should be because somebody else's commit
    /// brought them.
    pub(super) fn is_written(&self) -> bool {
        self.created || self.before.is_some()
    }

    /// Notes a write.
    pub(super) fn wrote(&mut self, before: Option<&str>, after: &str) {
        let untouched = before.is_some_and(|text| hash(text) == self.after);
        let first = self.after.is_empty();
        if first {
            self.created = before.is_none();
            self.before = before.map(hash);
        } else if !untouched {
            self.mixed = true;
        }
        self.after = hash(after);
    }

    /// Whether nobody but us has written to the file.
    pub(super) fn is_untouched(&self, now: &str) -> bool {
        !self.mixed && hash(now) == self.after
    }
}

pub(super) fn hash(text: &str) -> String {
    hash_of(text.as_bytes())
}

pub(super) fn hash_of(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
