//! Reads the files, compares, and writes what differs: atomically, with one backup of a file that was there before.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Map, Value};
use thiserror::Error;

use super::edit::{missing_defaults, removal};
use super::files::{back_up, backup, drop_backup, exchange, in_checkout, read, retried};
use super::ledger::{Held, Ledger, Row};
use super::probe::Probe;
use super::{
    Broken, Content, Edit, Places, Scope, Trust, Wanted, blockers, confirm, edit, offers, trust, usual_scope, wanted,
};
use crate::agents::Agent;

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Write what differs.
    Apply,
    /// Say what differs.
    Check,
    /// Take everything out again, whoever put it in.
    Remove,
    /// Take out what this machine put in, and nothing else.
    Undo,
    /// Say what that would do.
    UndoPlan,
}

impl Mode {
    fn looks(self) -> bool {
        matches!(self, Self::Check | Self::UndoPlan)
    }

    fn removes(self) -> bool {
        matches!(self, Self::Remove | Self::Undo | Self::UndoPlan)
    }

    fn undoes(self) -> bool {
        matches!(self, Self::Undo | Self::UndoPlan)
    }
}

/// What happened to a file, or would.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It is as it should be.
    Unchanged,
    /// Made.
    Created,
    /// Changed.
    Changed,
    /// Deleted.
    Deleted,
    /// Left alone, since a human wrote it.
    Kept,
    /// Left alone, since it cannot be understood.
    Broken,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Done {
    /// The agent CLI.
    pub cli: &'static str,
    /// The file.
    pub path: PathBuf,
    /// What it is for.
    pub what: &'static str,
    /// What happened, or would.
    pub action: Action,
    /// Why it was left alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Every file.
    pub files: Vec<Done>,
    /// Settings that keep hooks or servers from working.
    pub blockers: Vec<String>,
    /// What the human must confirm, and where; `cli: what`.
    pub confirm: Vec<String>,
    /// How the trust in it stands, per CLI, as the CLI's own files say.
    pub trust: Vec<Trust>,
    /// What can be had besides; `cli: what`.
    pub offers: Vec<String>,
}

impl Report {
    /// Whether something was changed, or would be.
    #[must_use]
    pub fn differs(&self) -> bool {
        self.files.iter().any(|done| matches!(done.action, Action::Created | Action::Changed | Action::Deleted))
    }

    /// Returns how it stands with the entry of the MCP server; of the first CLI, when there are several.
    #[must_use]
    pub fn server(&self) -> Option<Action> {
        self.files.iter().find(|done| done.what.starts_with("MCP server")).map(|done| done.action)
    }

    /// Whether a file could not be understood.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.files.iter().any(|done| done.action == Action::Broken)
    }
}

/// A file cannot be read or written.
#[derive(Debug, Error)]
pub enum SetupError {
    /// The system refuses.
    #[error("{path} cannot be used")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Somebody else writes it all the time.
    #[error("{path} was written by another program meanwhile; run this again")]
    Changing {
        /// The file.
        path: PathBuf,
    },
    /// Project scope outside a checkout.
    #[error("this directory is no git checkout, and project scope needs one")]
    NoProject,
}

/// Sets agent CLIs up, checks them, or removes what was set up.
///
/// # Errors
/// When a file cannot be read or written. What was written before stays written, and is in the ledger.
pub fn run(
    agents: &[Agent],
    scope: Option<Scope>,
    places: &Places,
    state_dir: &Path,
    mode: Mode,
) -> Result<Report, SetupError> {
    if scope == Some(Scope::Project) && places.project.is_none() {
        return Err(SetupError::NoProject);
    }
    let mut report = Report::default();
    for agent in agents {
        let scope = scope.unwrap_or_else(|| usual_scope(*agent, places));
        let user = match (scope, &places.project) {
            (Scope::Project, Some(project)) => format!("{} {}", agent.name(), project.display()),
            _ => agent.name().to_owned(),
        };
        let probe = Probe::of(*agent, scope, places);
        report.files.extend(run_probed(agent.name(), &user, wanted(*agent, scope, places), state_dir, mode, probe)?);
        if !mode.removes() {
            let read = |path: &Path| read(path).ok().flatten();
            report.blockers.extend(blockers(*agent, scope, places, &read));
            report.trust.push(trust(*agent, scope, places, &read));
            let offered = offers(*agent, scope, places, &read);
            report.offers.extend(offered.into_iter().map(|line| format!("{}: {line}", agent.name())));
            report.confirm.extend(confirm(*agent, scope).into_iter().map(|line| format!("{}: {line}", agent.name())));
        }
    }
    Ok(report)
}

/// Brings files to what they should hold, checks them, or takes out what was put in, for one user of them.
///
/// # Errors
/// As [`run`]. When everything is taken out, a file that cannot be used is said, and the others go.
pub fn run_files(
    name: &'static str,
    user: &str,
    files: Vec<Wanted>,
    state_dir: &Path,
    mode: Mode,
) -> Result<Vec<Done>, SetupError> {
    run_probed(name, user, files, state_dir, mode, None)
}

fn run_probed(
    name: &'static str,
    user: &str,
    files: Vec<Wanted>,
    state_dir: &Path,
    mode: Mode,
    probe: Option<Probe>,
) -> Result<Vec<Done>, SetupError> {
    let mut held = if mode.looks() || (mode.removes() && !state_dir.is_dir()) {
        Held::to_read(state_dir)
    } else {
        Held::to_change(state_dir)?
    };
    let work = Work { user, state_dir, mode, probe };
    let mut all = Vec::new();
    for file in files {
        let (action, reason) = match work.one(&file, &mut held.ledger) {
            Ok(outcome) => outcome,
            Err(error) if mode.undoes() => {
                let source = std::error::Error::source(&error);
                (Action::Broken, Some(source.map_or_else(|| error.to_string(), ToString::to_string)))
            }
            Err(error) => {
                // What was done so far is known, whatever comes next.
                held.save()?;
                return Err(error);
            }
        };
        if action == Action::Unchanged && matches!(file.content, Content::Gone) {
            continue;
        }
        all.push(Done { cli: name, path: file.path, what: file.what, action, reason });
    }
    if !mode.looks() {
        held.save()?;
    }
    Ok(all)
}

type Outcome = (Action, Option<String>);

/// Why something of ours stays when this machine forgets us.
const NOT_FROM_HERE: &str = "written elsewhere or by hand, kept; `ctxnode setup CLI --remove` takes it out";
/// Why a file got its bytes back.
const REFUSED: &str = "its CLI does not start with our entries in it; its bytes are as they were";

/// What is done to the files of one user of them.
struct Work<'a> {
    user: &'a str,
    state_dir: &'a Path,
    mode: Mode,
    probe: Option<Probe>,
}

fn left_alone(broken: &Broken) -> Outcome {
    (if broken.is_fault() { Action::Broken } else { Action::Kept }, Some(broken.to_string()))
}

impl Work<'_> {
    fn one(&self, file: &Wanted, ledger: &mut Ledger) -> Result<Outcome, SetupError> {
        retried(|| {
            let now = read(&file.path)?;
            if self.mode.removes() {
                self.take(file, now.as_deref(), ledger)
            } else {
                self.put(file, now.as_deref(), ledger)
            }
        })
    }

    fn put(&self, file: &Wanted, now: Option<&str>, ledger: &mut Ledger) -> Result<Outcome, SetupError> {
        let refused = ledger.files.get(&file.path).map(|row| row.refused.clone()).unwrap_or_default();
        let file = &file.without_defaults(&refused);
        let edit = match edit(file, now) {
            Ok(edit) => edit,
            Err(broken) => return Ok(left_alone(&broken)),
        };
        let action = match (&edit, now) {
            (Edit::Keep, _) => Action::Unchanged,
            (Edit::Delete, _) => Action::Deleted,
            (Edit::Write(_), None) => Action::Created,
            (Edit::Write(_), Some(_)) => Action::Changed,
        };
        if self.mode == Mode::Check {
            return Ok((action, None));
        }
        match edit {
            // A file that somebody else's commit brought is one of ours all the same.
            Edit::Keep if now.is_some() && !matches!(file.content, Content::Gone) => {
                ledger.files.entry(file.path.clone()).or_default().users.insert(self.user.to_owned());
            }
            Edit::Keep => {}
            Edit::Delete => {
                exchange(&file.path, now.map(str::as_bytes), None)?;
                ledger.files.remove(&file.path);
            }
            Edit::Write(after) => {
                let whole = matches!(file.content, Content::Whole(_));
                if let Some(before) = now.filter(|_| !whole) {
                    back_up(&file.path, before, self.state_dir)?;
                }
                let Some(written) = self.write(file, now, after)? else {
                    drop_backup(&file.path, self.state_dir)?;
                    return Ok((Action::Broken, Some(REFUSED.to_owned())));
                };
                let row = ledger.files.entry(file.path.clone()).or_default();
                row.users.insert(self.user.to_owned());
                row.defaults.extend(missing_defaults(&written.file, now));
                row.refused.extend(written.refused);
                row.wrote(now, &written.text);
                return Ok((action, written.reason));
            }
        }
        Ok((action, None))
    }

    /// Writes a file, and asks its CLI whether it starts with it; `None` when it does not, whatever is tried.
    fn write(&self, file: &Wanted, now: Option<&str>, text: String) -> Result<Option<Written>, SetupError> {
        let bytes = |text: Option<&str>| text.map(|text| text.as_bytes().to_owned());
        exchange(&file.path, bytes(now).as_deref(), Some(text.as_bytes()))?;
        let probe = self.probe.as_ref().filter(|probe| probe.file == file.path);
        let Some(probe) = probe.filter(|probe| !probe.accepts()) else {
            return Ok(Some(Written { file: file.clone(), text, refused: BTreeSet::new(), reason: None }));
        };
        let mut last = text;
        for variant in file.variants() {
            let text = match edit(&variant.file, now) {
                Ok(Edit::Write(text)) => text,
                _ => now.unwrap_or_default().to_owned(),
            };
            exchange(&file.path, Some(last.as_bytes()), Some(text.as_bytes()))?;
            if probe.accepts() {
                let reason = Some(variant.reason);
                return Ok(Some(Written { file: variant.file, text, refused: variant.refused, reason }));
            }
            last = text;
        }
        exchange(&file.path, Some(last.as_bytes()), now.map(str::as_bytes))?;
        Ok(None)
    }

    fn take(&self, file: &Wanted, now: Option<&str>, ledger: &mut Ledger) -> Result<Outcome, SetupError> {
        let row = ledger.files.get(&file.path).cloned().unwrap_or_default();
        let shared = row.users.iter().any(|other| other != self.user);
        if shared && self.mode.looks() {
            // All of its users go; the last one takes it out.
            let goes = self.mode.undoes() && self.is_from_here(&row, &file.path);
            return Ok((if goes { Action::Changed } else { Action::Unchanged }, None));
        }
        if shared {
            if let Some(row) = ledger.files.get_mut(&file.path) {
                row.users.remove(self.user);
            }
            return Ok((Action::Unchanged, None));
        }
        let edit = match self.exact(&row, &file.path, now)? {
            Some(edit) => edit,
            None => match removal(file, now, row.created, &row.defaults) {
                Ok(edit) => edit,
                Err(broken) => return Ok(left_alone(&broken)),
            },
        };
        if self.mode.undoes() && edit != Edit::Keep && !self.is_from_here(&row, &file.path) {
            return Ok((Action::Kept, Some(NOT_FROM_HERE.to_owned())));
        }
        let action = match &edit {
            Edit::Keep => Action::Unchanged,
            Edit::Delete => Action::Deleted,
            Edit::Write(_) => Action::Changed,
        };
        if self.mode.looks() {
            return Ok((action, None));
        }
        let before = now.map(str::as_bytes);
        match &edit {
            Edit::Keep => {}
            Edit::Delete => exchange(&file.path, before, None)?,
            Edit::Write(text) => exchange(&file.path, before, Some(text.as_bytes()))?,
        }
        if ledger.files.remove(&file.path).is_some() {
            drop_backup(&file.path, self.state_dir)?;
        }
        Ok((action, None))
    }

    /// Whether this machine put it there. What lies in a checkout may have come with somebody else's commit, and taking it
    /// out would be a change of theirs.
    fn is_from_here(&self, row: &Row, path: &Path) -> bool {
        row.users.contains(self.user) && (row.is_written() || !in_checkout(path))
    }

    /// What brings back the very bytes, when nobody else has written since.
    fn exact(&self, row: &Row, path: &Path, now: Option<&str>) -> Result<Option<Edit>, SetupError> {
        if !now.is_some_and(|now| row.is_untouched(now)) {
            return Ok(None);
        }
        if row.created {
            return Ok(Some(Edit::Delete));
        }
        let Some(hash) = &row.before else { return Ok(None) };
        Ok(backup(path, self.state_dir, hash)?.map(Edit::Write))
    }
}

/// What was written, and what its CLI made of it.
struct Written {
    file: Wanted,
    text: String,
    refused: BTreeSet<String>,
    reason: Option<String>,
}

/// Returns the fields of an object.
pub(super) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}
