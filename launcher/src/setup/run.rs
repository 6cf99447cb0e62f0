//! Reads the files, compares, and writes what differs: atomically, with one backup beside a file that was there before.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Map, Value};
use thiserror::Error;

use super::edit::{missing_defaults, removal};
use super::ledger::{self, Ledger, Row, hash};
use super::{
    Broken, Content, Edit, Places, Scope, Trust, Wanted, blockers, confirm, edit, offers, trust, usual_scope, wanted,
};
use crate::agents::Agent;

/// The largest file that is read; configuration and instructions stay far below.
const MAX_FILE: u64 = 32 << 20;

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Write what differs.
    Apply,
    /// Say what differs.
    Check,
    /// Take everything out again.
    Remove,
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
        report.files.extend(run_files(agent.name(), &user, wanted(*agent, scope, places), state_dir, mode)?);
        if mode != Mode::Remove {
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
/// As [`run`].
pub fn run_files(
    name: &'static str,
    user: &str,
    files: Vec<Wanted>,
    state_dir: &Path,
    mode: Mode,
) -> Result<Vec<Done>, SetupError> {
    let ledger_file = state_dir.join(ledger::FILE);
    let mut ledger = Ledger::load(&ledger_file);
    let was = ledger.clone();
    let mut all = Vec::new();
    for file in files {
        let done = one(user, &file, &mut ledger, mode);
        // What was done so far is known, whatever comes next.
        let (action, reason) = match done {
            Ok(outcome) => outcome,
            Err(error) => {
                save(&ledger_file, &ledger, &was)?;
                return Err(error);
            }
        };
        if action == Action::Unchanged && matches!(file.content, Content::Gone) {
            continue;
        }
        all.push(Done { cli: name, path: file.path, what: file.what, action, reason });
    }
    if mode != Mode::Check {
        save(&ledger_file, &ledger, &was)?;
    }
    Ok(all)
}

type Outcome = (Action, Option<String>);

fn one(user: &str, file: &Wanted, ledger: &mut Ledger, mode: Mode) -> Result<Outcome, SetupError> {
    let now = read(&file.path)?;
    match mode {
        Mode::Apply | Mode::Check => put(user, file, now.as_deref(), ledger, mode),
        Mode::Remove => take(user, file, now.as_deref(), ledger),
    }
}

fn left_alone(broken: &Broken) -> Outcome {
    (if broken.is_fault() { Action::Broken } else { Action::Kept }, Some(broken.to_string()))
}

fn put(user: &str, file: &Wanted, now: Option<&str>, ledger: &mut Ledger, mode: Mode) -> Result<Outcome, SetupError> {
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
    if mode == Mode::Check {
        return Ok((action, None));
    }
    match &edit {
        Edit::Keep => {
            if let Some(row) = ledger.files.get_mut(&file.path) {
                row.users.insert(user.to_owned());
            }
        }
        Edit::Delete => {
            delete(&file.path)?;
            ledger.files.remove(&file.path);
        }
        Edit::Write(after) => {
            let whole = matches!(file.content, Content::Whole(_));
            if let Some(before) = now.filter(|_| !whole) {
                back_up(&file.path, before)?;
            }
            write(&file.path, after)?;
            let row = ledger.files.entry(file.path.clone()).or_default();
            row.users.insert(user.to_owned());
            row.defaults.extend(missing_defaults(file, now));
            row.wrote(now, after);
        }
    }
    Ok((action, None))
}

fn take(user: &str, file: &Wanted, now: Option<&str>, ledger: &mut Ledger) -> Result<Outcome, SetupError> {
    let row = ledger.files.get(&file.path).cloned().unwrap_or_default();
    let shared = row.users.iter().any(|other| other != user);
    if shared {
        if let Some(row) = ledger.files.get_mut(&file.path) {
            row.users.remove(user);
        }
        return Ok((Action::Unchanged, None));
    }
    let edit = match exact(&row, &file.path, now)? {
        Some(edit) => edit,
        None => match removal(file, now, row.created, &row.defaults) {
            Ok(edit) => edit,
            Err(broken) => return Ok(left_alone(&broken)),
        },
    };
    let action = match &edit {
        Edit::Keep => Action::Unchanged,
        Edit::Delete => Action::Deleted,
        Edit::Write(_) => Action::Changed,
    };
    match &edit {
        Edit::Keep => {}
        Edit::Delete => delete(&file.path)?,
        Edit::Write(text) => write(&file.path, text)?,
    }
    // A backup that equals the file says nothing any more.
    let kept = backup_of(&file.path);
    let same = |text: &String| read(&file.path).ok().flatten().as_ref() == Some(text);
    if ledger.files.contains_key(&file.path) && read(&kept)?.as_ref().is_some_and(same) {
        std::fs::remove_file(&kept).map_err(at(&kept))?;
    }
    ledger.files.remove(&file.path);
    Ok((action, None))
}

/// What brings back the very bytes, when nobody else has written since.
fn exact(row: &Row, path: &Path, now: Option<&str>) -> Result<Option<Edit>, SetupError> {
    if !now.is_some_and(|now| row.is_untouched(now)) {
        return Ok(None);
    }
    if row.created {
        return Ok(Some(Edit::Delete));
    }
    let backup = read(&backup_of(path))?;
    Ok(backup.filter(|text| row.before.as_deref() == Some(hash(text).as_str())).map(Edit::Write))
}

fn save(path: &Path, ledger: &Ledger, was: &Ledger) -> Result<(), SetupError> {
    if ledger == was {
        return Ok(());
    }
    write(path, &ledger.text())
}

fn at(path: &Path) -> impl FnOnce(std::io::Error) -> SetupError + use<> {
    let path = path.to_owned();
    move |source| SetupError::File { path, source }
}

fn read(path: &Path) -> Result<Option<String>, SetupError> {
    match std::fs::metadata(path) {
        Ok(found) if found.len() > MAX_FILE => {
            let source = std::io::Error::new(std::io::ErrorKind::FileTooLarge, "larger than any configuration");
            return Err(SetupError::File { path: path.to_owned(), source });
        }
        _ => {}
    }
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(SetupError::File { path: path.to_owned(), source }),
    }
}

fn backup_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".ctxnode.bak");
    path.with_file_name(name)
}

/// Keeps what was there before the first change. A later one would hold our own text.
fn back_up(path: &Path, before: &str) -> Result<(), SetupError> {
    let backup = backup_of(path);
    if backup.exists() {
        return Ok(());
    }
    write_with(&backup, before, std::fs::metadata(path).ok().map(|found| found.permissions()))
}

fn write(path: &Path, text: &str) -> Result<(), SetupError> {
    // Dotfiles are often links into a repository of their owner: the file behind is meant.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let mode = std::fs::metadata(&path).ok().map(|found| found.permissions());
    write_with(&path, text, mode)
}

fn write_with(path: &Path, text: &str, mode: Option<std::fs::Permissions>) -> Result<(), SetupError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(at(folder))?;
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(at(path))?;
    file.write_all(text.as_bytes()).map_err(at(path))?;
    let mode = mode.unwrap_or_else(|| std::fs::Permissions::from_mode(0o644));
    file.as_file().set_permissions(mode).map_err(at(path))?;
    file.as_file().sync_all().map_err(at(path))?;
    file.persist(path).map_err(|error| at(path)(error.error))?;
    Ok(())
}

/// Deletes a file and the directories that are empty then: they were made for it.
fn delete(path: &Path) -> Result<(), SetupError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(at(path)(error)),
        _ => {}
    }
    // The skill's own folder, the folder of skills, and the CLI's.
    for folder in path.ancestors().skip(1).take(3) {
        let ours = folder.file_name().is_some_and(|name| {
            let name = name.to_string_lossy();
            name.starts_with('.') || name == "skills" || name == "commands" || path.ends_with("SKILL.md")
        });
        if !ours || std::fs::remove_dir(folder).is_err() {
            break;
        }
    }
    Ok(())
}

/// Returns the fields of an object.
pub(super) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}
