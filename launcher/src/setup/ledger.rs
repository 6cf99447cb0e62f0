//! What setup did to which file, so that it can be undone to the byte.
//!
//! A file of the state directory. Losing it loses exactness and nothing else: our entries are found by what they are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Scope;
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

impl Row {
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
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}
