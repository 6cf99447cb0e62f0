//! Files of somebody else: read whole, replaced as a whole, and only when they are what was read.
//!
//! Not here: what should be in them, and what was in them before ([`super::ledger`]).

use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::SetupError;
use super::ledger::hash_of;

/// The largest file that is read; configuration and instructions stay far below.
const MAX_FILE: u64 = 32 << 20;
/// The folder of backups below the state directory.
pub(super) const BACKUPS: &str = "setup-backups";

pub(super) fn at(path: &Path) -> impl FnOnce(std::io::Error) -> SetupError + use<> {
    let path = path.to_owned();
    move |source| SetupError::File { path, source }
}

pub(super) fn read(path: &Path) -> Result<Option<String>, SetupError> {
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

/// Replaces a file that still holds `before` by one with other bytes, in one step; without `after` it goes.
///
/// # Errors
/// [`SetupError::Changing`] when it holds something else by now, which then stays.
pub fn exchange(path: &Path, before: Option<&[u8]>, after: Option<&[u8]>) -> Result<(), SetupError> {
    let Some(after) = after else {
        unchanged(path, before)?;
        return delete(path);
    };
    // Dotfiles are often links into a repository of their owner: the file behind is meant.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let mode = std::fs::metadata(&path).ok().map(|found| found.permissions());
    let new = beside(&path, after, mode)?;
    unchanged(&path, before)?;
    new.persist(&path).map_err(|error| at(&path)(error.error))?;
    Ok(())
}

fn unchanged(path: &Path, before: Option<&[u8]>) -> Result<(), SetupError> {
    let now = match std::fs::read(path) {
        Ok(bytes) => Some(bytes),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(at(path)(error)),
    };
    if now.as_deref() == before { Ok(()) } else { Err(SetupError::Changing { path: path.to_owned() }) }
}

/// Reads, decides and writes once more when somebody else wrote in between: their program may do so at any time, and does
/// not do so all the time.
pub(super) fn retried<T>(mut attempt: impl FnMut() -> Result<T, SetupError>) -> Result<T, SetupError> {
    match attempt() {
        Err(SetupError::Changing { .. }) => attempt(),
        done => done,
    }
}

/// Writes a file that nobody else writes.
pub(super) fn write(path: &Path, text: &str, mode: Option<std::fs::Permissions>) -> Result<(), SetupError> {
    beside(path, text.as_bytes(), mode)?.persist(path).map_err(|error| at(path)(error.error))?;
    Ok(())
}

fn beside(
    path: &Path,
    bytes: &[u8],
    mode: Option<std::fs::Permissions>,
) -> Result<tempfile::NamedTempFile, SetupError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(at(folder))?;
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(at(path))?;
    file.write_all(bytes).map_err(at(path))?;
    let mode = mode.unwrap_or_else(|| std::fs::Permissions::from_mode(0o644));
    file.as_file().set_permissions(mode).map_err(at(path))?;
    file.as_file().sync_all().map_err(at(path))?;
    Ok(file)
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

/// Whether a file lies in a checkout, where a second file beside it would be somebody's next commit.
pub(super) fn in_checkout(path: &Path) -> bool {
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    real.ancestors().skip(1).any(|folder| folder.join(".git").exists())
}

/// Where the bytes are kept that were there before us: beside the file, or below the state directory when the file lies in
/// a checkout. The place that is meant comes first; a backup of an earlier version may lie at the other.
fn backups(path: &Path, state_dir: &Path) -> [PathBuf; 2] {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".ctxnode.bak");
    let near = path.with_file_name(name);
    let far = state_dir.join(BACKUPS).join(format!("{}.bak", hash_of(path.as_os_str().as_bytes())));
    if in_checkout(path) { [far, near] } else { [near, far] }
}

/// Keeps what was there before the first change. A later one would hold our own text.
pub(super) fn back_up(path: &Path, before: &str, state_dir: &Path) -> Result<(), SetupError> {
    let [place, other] = backups(path, state_dir);
    if place.exists() || other.exists() {
        return Ok(());
    }
    write(&place, before, std::fs::metadata(path).ok().map(|found| found.permissions()))
}

/// Returns the backup of a file with this hash.
pub(super) fn backup(path: &Path, state_dir: &Path, hash: &str) -> Result<Option<String>, SetupError> {
    for place in backups(path, state_dir) {
        if let Some(text) = read(&place)?.filter(|text| hash_of(text.as_bytes()) == hash) {
            return Ok(Some(text));
        }
    }
    Ok(None)
}

/// Deletes the backups that equal the file: they say nothing any more.
pub(super) fn drop_backup(path: &Path, state_dir: &Path) -> Result<(), SetupError> {
    let now = read(path).ok().flatten();
    for place in backups(path, state_dir) {
        if read(&place)?.is_some_and(|text| now.as_ref() == Some(&text)) {
            std::fs::remove_file(&place).map_err(at(&place))?;
        }
    }
    // With its last file the folder goes; one that is not empty stays, which is no error.
    let _ = std::fs::remove_dir(state_dir.join(BACKUPS));
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn c_02_what_somebody_wrote_meanwhile_is_read_again_and_kept() {
        let home = tempfile::TempDir::new().unwrap();
        let path = home.path().join("settings.json");
        fs::write(&path, "theirs").unwrap();
        let mut writes = ["theirs, newer"].into_iter();
        let append = |writes: &mut dyn Iterator<Item = &'static str>| {
            let before = fs::read_to_string(&path).unwrap();
            // What another program writes between our reading and our writing.
            writes.next().into_iter().for_each(|text| fs::write(&path, text).unwrap());
            let after = format!("{before} and ours");
            exchange(&path, Some(before.as_bytes()), Some(after.as_bytes()))
        };
        retried(|| append(&mut writes)).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "theirs, newer and ours");
        let mut writes = (0..9).map(|at| ["a", "b"][at % 2]);
        let busy = retried(|| append(&mut writes)).unwrap_err();
        assert!(matches!(busy, SetupError::Changing { .. }), "{busy}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "b", "once more, and then it is theirs");
        let gone = exchange(&path, Some(b"old"), None).unwrap_err();
        assert!(matches!(gone, SetupError::Changing { .. }) && path.exists(), "{gone}");
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1, "no half file is left");
    }
}
